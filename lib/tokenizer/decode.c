/* SPDX-License-Identifier: MIT
 *
 * Ids to text, whole and token by token.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pipeline.h"

#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Size of the longest prefix of a character at p that is valid so far, at least 1; *complete tells
 * whether it is a whole character. An invalid prefix becomes one U+FFFD (the Unicode Standard,
 * section 3.9, "maximal subpart"). */
static size_t character_prefix(const unsigned char *p, size_t size, bool *complete)
{
    unsigned char low = 0x80; /* range of the second byte */
    unsigned char high = 0xBF;
    size_t length;
    size_t i = 1;

    *complete = p[0] < 0x80;
    if (p[0] < 0x80)
        return 1;
    length = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
             : p[0] >= 0xE0 && p[0] <= 0xEF ? 3
             : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                            : 1;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    while (i < length && i < size && p[i] >= low && p[i] <= high) {
        low = 0x80;
        high = 0xBF;
        i++;
    }
    *complete = length > 1 && i == length;
    return i;
}

/* Append `data` with U+FFFD for what is not UTF-8. With `more` to come, an unfinished character at
 * the end stays out; the bytes taken are returned. */
size_t append_valid(struct text *out, const char *data, size_t size, bool more)
{
    const unsigned char *bytes = (const unsigned char *)data;
    size_t plain = 0; /* valid and not yet appended from here */
    size_t i = 0;

    while (i < size) {
        bool complete;
        size_t length = character_prefix(bytes + i, size - i, &complete);

        if (!complete) {
            text_append(out, data + plain, i - plain);
            plain = i + length;
            /* Cut off by the end of the data, and valid up to there: it may go on. */
            if (more && plain == size && bytes[i] >= 0xC2 && bytes[i] <= 0xF4)
                return i;
            text_append_z(out, replacement);
        }
        i += length;
    }
    text_append(out, data + plain, size - plain);
    return size;
}

static llm_status unknown_id(int32_t id)
{
    return status_set(LLM_E_RANGE, "there is no token with the id %d", (int)id);
}

llm_status tokenizer_decoded_size(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                  unsigned flags, size_t *size_out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    unsigned skip = flags & TOKENIZER_SKIP_SPECIAL ? VOCAB_SPECIAL : 0;
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        if (!vocab_has(vocab, ids[i]))
            return unknown_id(ids[i]);
        if (!(vocab->flags[ids[i]] & skip))
            size += vocab->entries[ids[i]].size;
    }
    *size_out = size;
    return LLM_OK;
}

/* Short tokens are copied as 16 bytes, the surplus being overwritten by the next; VOCAB_COPY_SLACK
 * makes reading them safe, `room` writing them. */
void tokenizer_copy_decoded(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            unsigned flags, char *out, size_t room)
{
    const struct vocab *vocab = &tokenizer->vocab;
    unsigned skip = flags & TOKENIZER_SKIP_SPECIAL ? VOCAB_SPECIAL : 0;
    char *end = out + room;

    for (size_t i = 0; i < count; i++) {
        struct vocab_entry entry = vocab->entries[ids[i]];

        if (vocab->flags[ids[i]] & skip)
            continue;
        if (entry.size <= 16 && end - out >= 16)
            memcpy(out, vocab->blob + entry.offset, 16);
        else
            memcpy(out, vocab->blob + entry.offset, entry.size);
        out += entry.size;
    }
}

/* What a token is called in the file; an added token that looks at normalized text, what it is
 * there.
 */
static void spell_token(const llm_tokenizer *tokenizer, int32_t id, struct text *out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    const char *bytes = vocab_bytes(vocab, id);
    const struct added_token *added =
        vocab->flags[id] & VOCAB_ADDED
            ? added_find(&tokenizer->added, bytes, vocab->entries[id].size)
            : NULL;
    char utf8[4];

    if (added && added->normal) {
        text_append_z(out, added->normal);
        return;
    }
    if (!tokenizer->spelled || (vocab->flags[id] & VOCAB_LITERAL)) {
        text_append(out, bytes, vocab->entries[id].size);
        return;
    }
    for (size_t i = 0; i < vocab->entries[id].size; i++) {
        uint32_t c = byte_alphabet_character((unsigned char)bytes[i]);

        text_append(out, utf8, (size_t)utf8_encode(c, utf8));
    }
}

/* Through the stages of the decoder. */
static llm_status decode_slowly(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                unsigned flags, struct text *out)
{
    unsigned skip = flags & TOKENIZER_SKIP_SPECIAL ? VOCAB_SPECIAL : 0;
    struct token_texts tokens;
    llm_status status;

    token_texts_init(&tokens, out->memory);
    for (size_t i = 0; i < count; i++) {
        if (tokenizer->vocab.flags[ids[i]] & skip)
            continue;
        spell_token(tokenizer, ids[i], &tokens.text);
        token_texts_end(&tokens);
    }
    status =
        token_decoder_run(&tokenizer->decoder, &tokens, !(flags & TOKENIZER_REPLACE_INVALID), out);
    token_texts_free(&tokens);
    return status;
}

llm_status tokenizer_decode(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            unsigned flags, struct text *out)
{
    struct text raw;
    struct text *target = flags & TOKENIZER_REPLACE_INVALID ? &raw : out;
    size_t size = 0;
    llm_status status = tokenizer_decoded_size(tokenizer, ids, count, flags, &size);

    text_init(&raw, out->memory);
    if (!status && !tokenizer->plain_decoding) {
        status = decode_slowly(tokenizer, ids, count, flags, target);
    } else if (!status) {
        status = memory_grow(target->memory, (void **)&target->data, &target->capacity,
                             target->size + size + 1, 1);
        if (status)
            goto done;
        tokenizer_copy_decoded(tokenizer, ids, count, flags, target->data + target->size, size);
        target->size += size;
        target->data[target->size] = '\0';
    }
    if (status)
        goto done;
    if (target == &raw)
        (void)append_valid(out, raw.size ? raw.data : "", raw.size, false);
    status = out->failed ? LLM_E_NOMEM : LLM_OK;
done:
    text_free(&raw);
    return status;
}

/* ---- token by token ---- */

static llm_status push_plain(struct decode_stream *stream, const llm_tokenizer *tokenizer,
                             int32_t id, struct text *out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    struct text joined;
    size_t taken;

    if (stream->tail_size == 0) {
        const char *bytes = vocab_bytes(vocab, id);
        size_t size = vocab->entries[id].size;

        taken = append_valid(out, bytes, size, true);
        if (!out->failed) {
            stream->tail_size = size - taken;
            memcpy(stream->tail, bytes + taken, size - taken);
        }
        return out->failed ? LLM_E_NOMEM : LLM_OK;
    }
    text_init(&joined, out->memory);
    text_append(&joined, stream->tail, stream->tail_size);
    text_append(&joined, vocab_bytes(vocab, id), vocab->entries[id].size);
    if (joined.failed) {
        text_free(&joined);
        return LLM_E_NOMEM;
    }
    taken = append_valid(out, joined.data, joined.size, true);
    if (!out->failed) {
        stream->tail_size = joined.size - taken;
        memcpy(stream->tail, joined.data + taken, stream->tail_size);
    }
    text_free(&joined);
    return out->failed ? LLM_E_NOMEM : LLM_OK;
}

static bool ends_unfinished(const struct text *text)
{
    return text->size >= 3 && memcmp(text->data + text->size - 3, replacement, 3) == 0;
}

/* What the ids that wait add to those given out. A decoder may treat the first and the last token
 * differently, so that a few tokens are decoded again each time, as Hugging Face tokenizers does.
 * With `all`, an unfinished character too. */
static llm_status advance(struct decode_stream *stream, const llm_tokenizer *tokenizer, bool all,
                          struct text *out)
{
    unsigned flags = TOKENIZER_REPLACE_INVALID;
    struct text before;
    struct text now;
    llm_status status;

    text_init(&before, out->memory);
    text_init(&now, out->memory);
    status = tokenizer_decode(tokenizer, stream->ids, stream->given, flags, &before);
    if (!status)
        status = tokenizer_decode(tokenizer, stream->ids, stream->count, flags, &now);
    if (!status && now.size > before.size && (all || !ends_unfinished(&now))) {
        text_append(out, now.data + before.size, now.size - before.size);
        status = out->failed ? LLM_E_NOMEM : LLM_OK;
        if (!status) {
            memmove(stream->ids, stream->ids + stream->given,
                    (stream->count - stream->given) * sizeof *stream->ids);
            stream->count -= stream->given;
            stream->given = stream->count;
        }
    }
    text_free(&before);
    text_free(&now);
    return status;
}

static llm_status push_slowly(struct decode_stream *stream, const llm_tokenizer *tokenizer,
                              int32_t id, struct text *out)
{
    llm_status status = LLM_OK;

    if (stream->count == DECODE_STREAM_IDS) {
        status = advance(stream, tokenizer, true, out);
        if (status)
            return status;
        stream->ids[0] = stream->ids[stream->count - 1];
        stream->count = stream->given = 1;
    }
    stream->ids[stream->count++] = id;
    status = advance(stream, tokenizer, false, out);
    if (status)
        stream->count--;
    return status;
}

llm_status decode_stream_push(struct decode_stream *stream, const llm_tokenizer *tokenizer,
                              int32_t id, unsigned flags, struct text *out)
{
    stream->tokenizer = tokenizer;
    if (!vocab_has(&tokenizer->vocab, id))
        return unknown_id(id);
    if ((flags & TOKENIZER_SKIP_SPECIAL) && (tokenizer->vocab.flags[id] & VOCAB_SPECIAL))
        return LLM_OK;
    return tokenizer->plain_decoding ? push_plain(stream, tokenizer, id, out)
                                     : push_slowly(stream, tokenizer, id, out);
}

void decode_stream_finish(struct decode_stream *stream, struct text *out)
{
    if (stream->tail_size > 0)
        text_append_z(out, replacement);
    if (stream->count > stream->given && advance(stream, stream->tokenizer, true, out))
        out->failed = true;
    memset(stream, 0, sizeof *stream);
}
