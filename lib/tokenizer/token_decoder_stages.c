/* SPDX-License-Identifier: MIT
 *
 * The decoders of tokenizer.json.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/mapped_text.h"
#include "tokenizer/pattern.h"
#include "tokenizer/stage_list.h"

#include <string.h>

/* Append `text` with every `from` become `to`; `from` is not empty. */
static void replace_all(struct text *out, const char *text, size_t size, const char *from,
                        const char *to)
{
    size_t length = strlen(from);
    size_t done = 0;

    for (size_t at = 0; at + length <= size;) {
        const char *p = memchr(text + at, from[0], size - at - length + 1);

        if (!p)
            break;
        at = (size_t)(p - text);
        if (memcmp(p, from, length) != 0) {
            at++;
            continue;
        }
        text_append(out, text + done, at - done);
        text_append_z(out, to);
        done = at += length;
    }
    text_append(out, text + done, size - done);
}

/* One or two texts of a stage. */
struct two_texts {
    char *first;
    char *second;
    bool cleanup;
};

static llm_status read_text_field(char **out, struct memory *memory, const json_t *stage,
                                  const char *key, const char *fallback)
{
    const char *value = fallback;
    llm_status status = json_read_text(stage, key, &value);

    if (status)
        return status;
    *out = memory_copy_text(memory, value, strlen(value));
    return *out ? LLM_OK : LLM_E_NOMEM;
}

static void free_two(void *data, struct memory *memory)
{
    struct two_texts *texts = data;

    if (!texts)
        return;
    memory_release(memory, texts->first);
    memory_release(memory, texts->second);
    memory_release(memory, texts);
}

static llm_status read_two(void **data, struct memory *memory, const json_t *stage,
                           const char *const keys[2], const char *const fallbacks[2])
{
    struct two_texts *texts = memory_alloc_zeroed(memory, 1, sizeof *texts);
    llm_status status;

    *data = texts;
    if (!texts)
        return LLM_E_NOMEM;
    texts->cleanup = true;
    status = json_read_bool(stage, "cleanup", &texts->cleanup);
    if (!status)
        status = read_text_field(&texts->first, memory, stage, keys[0], fallbacks[0]);
    if (!status && keys[1])
        status = read_text_field(&texts->second, memory, stage, keys[1], fallbacks[1]);
    return status;
}

/* ---- BPEDecoder: the suffix of a word becomes a space ---- */

static llm_status read_bpe(void **data, struct memory *memory, const json_t *stage)
{
    static const char *const keys[2] = {"suffix", NULL};
    static const char *const fallbacks[2] = {"</w>", NULL};
    llm_status status = read_two(data, memory, stage, keys, fallbacks);

    if (!status && ((struct two_texts *)*data)->first[0] == '\0')
        return status_set(LLM_E_UNSUPPORTED, "an empty suffix is not supported");
    return status;
}

static llm_status apply_bpe(const void *data, const struct token_texts *in, struct token_texts *out,
                            bool raw)
{
    const struct two_texts *texts = data;

    (void)raw;
    for (size_t i = 0; i < in->count; i++) {
        size_t size;
        const char *text = token_text(in, i, &size);

        replace_all(&out->text, text, size, texts->first, i + 1 == in->count ? "" : " ");
        token_texts_end(out);
    }
    return LLM_OK;
}

const struct token_decoder_type token_decoder_bpe = {
    .type = "BPEDecoder", .read = read_bpe, .apply = apply_bpe, .free = free_two};

/* ---- ByteLevel: all tokens are one string of bytes ---- */

static llm_status apply_byte_level(const void *data, const struct token_texts *in,
                                   struct token_texts *out, bool raw)
{
    struct text bytes;
    llm_status status = LLM_OK;

    (void)data;
    text_init(&bytes, out->text.memory);
    for (size_t i = 0; i < in->count; i++) {
        size_t before = bytes.size;
        size_t size;
        const char *text = token_text(in, i, &size);

        for (size_t at = 0; at < size;) {
            size_t length;
            int byte = byte_alphabet_byte(mapped_char(text, size, at, &length));
            char character = (char)byte;

            at += length;
            if (byte < 0) {
                bytes.size = before;
                text_append(&bytes, text, size);
                break;
            }
            text_append(&bytes, &character, 1);
        }
    }
    if (bytes.failed)
        status = LLM_E_NOMEM;
    else if (raw)
        text_append(&out->text, bytes.data ? bytes.data : "", bytes.size);
    else
        (void)append_valid(&out->text, bytes.data ? bytes.data : "", bytes.size, false);
    text_free(&bytes);
    token_texts_end(out);
    return status;
}

const struct token_decoder_type token_decoder_byte_level = {.type = "ByteLevel",
                                                            .apply = apply_byte_level};

/* ---- WordPiece ---- */

static const char *const artifacts[][2] = {
    {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

/* Take spaces before punctuation and the like out of text[from..]. */
static void clean_up(struct text *text, size_t from)
{
    struct text copy;

    if (text->size == from || !memchr(text->data + from, ' ', text->size - from))
        return;
    text_init(&copy, text->memory);
    for (size_t i = 0; i < sizeof artifacts / sizeof *artifacts && !text->failed; i++) {
        copy.size = 0;
        replace_all(&copy, text->data + from, text->size - from, artifacts[i][0], artifacts[i][1]);
        text->failed |= copy.failed;
        if (copy.size == text->size - from)
            continue;
        text->size = from;
        text_append(text, copy.data, copy.size);
    }
    text_free(&copy);
}

static llm_status read_word_piece(void **data, struct memory *memory, const json_t *stage)
{
    static const char *const keys[2] = {"prefix", NULL};
    static const char *const fallbacks[2] = {"##", NULL};

    return read_two(data, memory, stage, keys, fallbacks);
}

static llm_status apply_word_piece(const void *data, const struct token_texts *in,
                                   struct token_texts *out, bool raw)
{
    const struct two_texts *texts = data;
    size_t prefix = strlen(texts->first);

    (void)raw;
    for (size_t i = 0; i < in->count; i++) {
        size_t begin = out->text.size;
        size_t size;
        const char *text = token_text(in, i, &size);
        bool goes_on = i > 0 && size >= prefix && memcmp(text, texts->first, prefix) == 0;

        if (i > 0 && !goes_on)
            text_append(&out->text, " ", 1);
        text_append(&out->text, text + (goes_on ? prefix : 0), size - (goes_on ? prefix : 0));
        if (texts->cleanup)
            clean_up(&out->text, begin);
        token_texts_end(out);
    }
    return LLM_OK;
}

const struct token_decoder_type token_decoder_word_piece = {
    .type = "WordPiece", .read = read_word_piece, .apply = apply_word_piece, .free = free_two};

/* ---- Metaspace ---- */

struct metaspace {
    char *replacement;
    bool prepends;
};

static llm_status read_metaspace(void **data, struct memory *memory, const json_t *stage)
{
    struct metaspace *metaspace = memory_alloc_zeroed(memory, 1, sizeof *metaspace);
    const char *scheme = "always";
    bool add_prefix_space = true;
    llm_status status;

    *data = metaspace;
    if (!metaspace)
        return LLM_E_NOMEM;
    status = read_text_field(&metaspace->replacement, memory, stage, "replacement", "\xE2\x96\x81");
    if (!status)
        status = json_read_text(stage, "prepend_scheme", &scheme);
    if (!status)
        status = json_read_bool(stage, "add_prefix_space", &add_prefix_space);
    metaspace->prepends = add_prefix_space && strcmp(scheme, "never") != 0;
    if (!status && metaspace->replacement[0] == '\0')
        return status_set(LLM_E_FORMAT, "field \"replacement\" is empty");
    return status;
}

static llm_status apply_metaspace(const void *data, const struct token_texts *in,
                                  struct token_texts *out, bool raw)
{
    const struct metaspace *metaspace = data;

    (void)raw;
    for (size_t i = 0; i < in->count; i++) {
        size_t size;
        const char *text = token_text(in, i, &size);

        replace_all(&out->text, text, size, metaspace->replacement,
                    i == 0 && metaspace->prepends ? "" : " ");
        token_texts_end(out);
    }
    return LLM_OK;
}

static void free_metaspace(void *data, struct memory *memory)
{
    struct metaspace *metaspace = data;

    if (metaspace)
        memory_release(memory, metaspace->replacement);
    memory_release(memory, metaspace);
}

const struct token_decoder_type token_decoder_metaspace = {
    .type = "Metaspace", .read = read_metaspace, .apply = apply_metaspace, .free = free_metaspace};

/* ---- CTC: repeated tokens count once ---- */

static llm_status read_ctc(void **data, struct memory *memory, const json_t *stage)
{
    static const char *const keys[2] = {"pad_token", "word_delimiter_token"};
    static const char *const fallbacks[2] = {"<pad>", "|"};
    llm_status status = read_two(data, memory, stage, keys, fallbacks);
    const struct two_texts *texts = *data;

    if (!status && (texts->first[0] == '\0' || texts->second[0] == '\0'))
        return status_set(LLM_E_UNSUPPORTED, "an empty token is not supported");
    return status;
}

static llm_status apply_ctc(const void *data, const struct token_texts *in, struct token_texts *out,
                            bool raw)
{
    const struct two_texts *texts = data;
    struct text copy;
    llm_status status;

    (void)raw;
    text_init(&copy, out->text.memory);
    for (size_t i = 0; i < in->count; i++) {
        size_t begin = out->text.size;
        size_t size;
        size_t last_size = 0;
        const char *text = token_text(in, i, &size);
        const char *last = i ? token_text(in, i - 1, &last_size) : NULL;

        if (last && size == last_size && memcmp(text, last, size) == 0)
            continue;
        replace_all(&out->text, text, size, texts->first, "");
        if (texts->cleanup) {
            clean_up(&out->text, begin);
            copy.size = 0;
            text_append(&copy, out->text.size ? out->text.data + begin : "",
                        out->text.size - begin);
            out->text.size = begin;
            replace_all(&out->text, copy.size ? copy.data : "", copy.size, texts->second, " ");
        }
        if (out->text.size > begin)
            token_texts_end(out);
    }
    status = copy.failed ? LLM_E_NOMEM : LLM_OK;
    text_free(&copy);
    return status;
}

const struct token_decoder_type token_decoder_ctc = {
    .type = "CTC", .read = read_ctc, .apply = apply_ctc, .free = free_two};

/* ---- Replace ---- */

struct replace {
    struct pattern pattern;
    char *content;
};

static llm_status read_replace(void **data, struct memory *memory, const json_t *stage)
{
    struct replace *replace = memory_alloc_zeroed(memory, 1, sizeof *replace);
    llm_status status;

    *data = replace;
    if (!replace)
        return LLM_E_NOMEM;
    status = pattern_read(&replace->pattern, memory, json_object_get(stage, "pattern"));
    return status ? status : read_text_field(&replace->content, memory, stage, "content", "");
}

static llm_status apply_replace(const void *data, const struct token_texts *in,
                                struct token_texts *out, bool raw)
{
    const struct replace *replace = data;
    llm_status status = LLM_OK;

    (void)raw;
    for (size_t i = 0; i < in->count && !status; i++) {
        size_t size;
        const char *text = token_text(in, i, &size);
        struct pattern_walk walk = pattern_walk(&replace->pattern, text, size);
        size_t done = 0;
        size_t begin;
        size_t end;

        while (pattern_next(&walk, &begin, &end)) {
            text_append(&out->text, text + done, begin - done);
            text_append_z(&out->text, replace->content);
            done = end;
        }
        text_append(&out->text, text + done, size - done);
        token_texts_end(out);
        status = pattern_status(&walk);
    }
    return status;
}

static void free_replace(void *data, struct memory *memory)
{
    struct replace *replace = data;

    if (!replace)
        return;
    pattern_free(&replace->pattern, memory);
    memory_release(memory, replace->content);
    memory_release(memory, replace);
}

const struct token_decoder_type token_decoder_replace = {
    .type = "Replace", .read = read_replace, .apply = apply_replace, .free = free_replace};

/* ---- Fuse ---- */

static llm_status apply_fuse(const void *data, const struct token_texts *in,
                             struct token_texts *out, bool raw)
{
    (void)data;
    (void)raw;
    text_append(&out->text, in->text.data ? in->text.data : "", in->text.size);
    token_texts_end(out);
    return LLM_OK;
}

const struct token_decoder_type token_decoder_fuse = {.type = "Fuse", .apply = apply_fuse};

/* ---- Strip ---- */

struct strip {
    char *content;
    int64_t start;
    int64_t stop;
};

static llm_status read_strip(void **data, struct memory *memory, const json_t *stage)
{
    struct strip *strip = memory_alloc_zeroed(memory, 1, sizeof *strip);
    llm_status status;

    *data = strip;
    if (!strip)
        return LLM_E_NOMEM;
    status = json_read_i64(stage, "start", 0, INT32_MAX, &strip->start);
    if (!status)
        status = json_read_i64(stage, "stop", 0, INT32_MAX, &strip->stop);
    if (!status)
        status = read_text_field(&strip->content, memory, stage, "content", "");
    if (!status && strip->content[0] == '\0')
        return status_set(LLM_E_FORMAT, "field \"content\" is empty");
    return status;
}

static llm_status apply_strip(const void *data, const struct token_texts *in,
                              struct token_texts *out, bool raw)
{
    const struct strip *strip = data;
    size_t length = strlen(strip->content);

    (void)raw;
    for (size_t i = 0; i < in->count; i++) {
        size_t size;
        const char *text = token_text(in, i, &size);

        for (int64_t n = 0;
             n < strip->start && size >= length && memcmp(text, strip->content, length) == 0; n++) {
            text += length;
            size -= length;
        }
        for (int64_t n = 0; n < strip->stop && size >= length &&
                            memcmp(text + size - length, strip->content, length) == 0;
             n++)
            size -= length;
        text_append(&out->text, text, size);
        token_texts_end(out);
    }
    return LLM_OK;
}

static void free_strip(void *data, struct memory *memory)
{
    struct strip *strip = data;

    if (strip)
        memory_release(memory, strip->content);
    memory_release(memory, strip);
}

const struct token_decoder_type token_decoder_strip = {
    .type = "Strip", .read = read_strip, .apply = apply_strip, .free = free_strip};

/* ---- ByteFallback: "<0x61>" is a byte ---- */

static int digit(char c)
{
    if ((unsigned)(c - '0') < 10)
        return c - '0';
    return (unsigned)((c | 0x20) - 'a') < 6 ? (c | 0x20) - 'a' + 10 : -1;
}

static int fallback_byte(const char *text, size_t size)
{
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || digit(text[3]) < 0 ||
        digit(text[4]) < 0)
        return -1;
    return digit(text[3]) * 16 + digit(text[4]);
}

/* The bytes waiting in `bytes` are a token if they are UTF-8, and a U+FFFD each if not. */
static void end_bytes(struct text *bytes, struct token_texts *out, bool raw)
{
    bool valid = true;

    for (size_t at = 0; at < bytes->size && valid;) {
        size_t length;

        valid = mapped_char(bytes->data, bytes->size, at, &length) < 0x110000;
        at += length;
    }
    if (valid || raw) {
        text_append(&out->text, bytes->data, bytes->size);
        token_texts_end(out);
    } else {
        for (size_t i = 0; i < bytes->size; i++) {
            text_append_z(&out->text, "\xEF\xBF\xBD");
            token_texts_end(out);
        }
    }
    bytes->size = 0;
}

static llm_status apply_byte_fallback(const void *data, const struct token_texts *in,
                                      struct token_texts *out, bool raw)
{
    struct text bytes;
    llm_status status;

    (void)data;
    text_init(&bytes, out->text.memory);
    for (size_t i = 0; i < in->count && !bytes.failed; i++) {
        size_t size;
        const char *text = token_text(in, i, &size);
        int byte = fallback_byte(text, size);
        char character = (char)byte;

        if (byte >= 0) {
            text_append(&bytes, &character, 1);
            continue;
        }
        if (bytes.size > 0)
            end_bytes(&bytes, out, raw);
        text_append(&out->text, text, size);
        token_texts_end(out);
    }
    if (bytes.size > 0 && !bytes.failed)
        end_bytes(&bytes, out, raw);
    status = bytes.failed ? LLM_E_NOMEM : LLM_OK;
    text_free(&bytes);
    return status;
}

const struct token_decoder_type token_decoder_byte_fallback = {.type = "ByteFallback",
                                                               .apply = apply_byte_fallback};
