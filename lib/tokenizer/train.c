/* SPDX-License-Identifier: MIT */
#include "tokenizer/train.h"

#include "tokenizer/bpe_train.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/characters.h"
#include "tokenizer/unicode.h"
#include "tokenizer/word_piece.h"

#include <stdlib.h>
#include <string.h>

/* ---- the vocabulary before training ---- */

/* In byte-level files a special token is spelled like any other; one whose spelling would be read
 * as other bytes cannot be told apart. */
static llm_status check_special(const char *text, bool byte_level)
{
    char bytes[256];
    size_t size = strlen(text);
    size_t count;

    if (size == 0 || size > sizeof bytes)
        return status_set(LLM_E_INVALID, "a special token is empty or longer than %zu bytes",
                          sizeof bytes);
    if (byte_level && byte_alphabet_read(text, size, bytes, &count) &&
        (count == 1 || count != size || memcmp(bytes, text, size) != 0))
        return status_set(LLM_E_UNSUPPORTED,
                          "special token \"%s\" reads as bytes in a byte-level file", text);
    return LLM_OK;
}

static llm_status put_special(llm_tokenizer *tokenizer, const char *text, bool byte_level)
{
    size_t size = strlen(text);
    int32_t id = (int32_t)tokenizer->vocab.size;
    unsigned flags = VOCAB_MODEL | VOCAB_ADDED | VOCAB_SPECIAL;
    llm_status status = check_special(text, byte_level);

    if (!status && added_find(&tokenizer->added, text, size))
        status = status_set(LLM_E_INVALID, "special token \"%s\" is given twice", text);
    if (!status)
        status = byte_level ? vocab_put_spelled(&tokenizer->vocab, id, text, size, flags)
                            : vocab_put(&tokenizer->vocab, id, text, size, flags);
    return status ? status : added_put(&tokenizer->added, id, text, size, ADDED_SPECIAL);
}

static llm_status put_all_special(llm_tokenizer *tokenizer, const char *const *texts, size_t count,
                                  bool byte_level)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < count && !status; i++)
        status = put_special(tokenizer, texts[i], byte_level);
    return status;
}

/* The 256 bytes in the order of their characters in the byte alphabet. */
static llm_status put_alphabet(struct vocab *vocab)
{
    llm_status status = LLM_OK;

    for (uint32_t c = 0; c < 0x144 && !status; c++) {
        int byte = byte_alphabet_byte(c);
        char text = (char)byte;

        if (byte >= 0)
            status = vocab_put(vocab, (int64_t)vocab->size, &text, 1, VOCAB_MODEL);
    }
    return status;
}

/* ---- documents ---- */

struct reader {
    struct text_source source;
    const llm_tokenizer_train_options *options;
    uint64_t bytes;
};

/* 1, 0 or a negative status, as the source; counts and reports. */
static int32_t next_document(struct reader *reader, const char *stage, const char **text,
                             size_t *size)
{
    const llm_tokenizer_train_options *options = reader->options;
    int32_t more;

    if (options->progress && options->progress(options->progress_user, stage, reader->bytes, 0))
        return status_set(LLM_E_CANCELLED, "tokenizer training was cancelled");
    more = reader->source.next(reader->source.user, text, size);
    if (more > 0)
        reader->bytes += *size;
    return more;
}

static int32_t next_reported(void *user, const char **text, size_t *size)
{
    return next_document(user, "count words", text, size);
}

static llm_status count_words(struct reader *reader, struct word_counter *counter)
{
    const char *text;
    size_t size;
    int32_t more;

    while ((more = next_document(reader, "count words", &text, &size)) > 0) {
        llm_status status = word_counter_add(counter, text, size);

        if (status)
            return status;
    }
    return more < 0 ? more : word_counter_finish(counter);
}

/* ---- the kinds ---- */

static llm_status finish_bpe(llm_tokenizer *tokenizer, struct bpe_rule *rules, size_t count,
                             int32_t kind)
{
    struct bpe *bpe = NULL;
    llm_status status = bpe_build(&bpe, tokenizer, rules, count);

    if (status)
        return status;
    tokenizer->model = bpe;
    tokenizer->algorithm = &algorithm_bpe;
    tokenizer->kind = kind;
    tokenizer->direct = tokenizer->spelled = tokenizer->plain_decoding = true;
    status = bpe_mark_whole(bpe, &tokenizer->vocab);
    return status ? status : tokenizer_finish(tokenizer);
}

static llm_status train_bpe(llm_tokenizer *tokenizer, struct reader *reader)
{
    const llm_tokenizer_train_options *options = reader->options;
    struct bpe_training training = {.min_frequency = options->min_frequency,
                                    .vocab_size = (size_t)options->vocab_size,
                                    .progress = options->progress,
                                    .progress_user = options->progress_user};
    struct word_counter counter = {0};
    struct bpe_rule *rules = NULL;
    size_t count = 0;
    llm_status status =
        put_all_special(tokenizer, options->special_tokens, options->special_count, true);

    if (!status)
        status = put_alphabet(&tokenizer->vocab);
    if (!status && tokenizer->vocab.size > training.vocab_size)
        status =
            status_set(LLM_E_RANGE, "vocab_size %zu is less than 256 bytes and %zu special tokens",
                       training.vocab_size, options->special_count);
    tokenizer->split = split_find(options->split);
    if (!status)
        status = word_counter_init(&counter, &tokenizer->context->memory, tokenizer->split,
                                   tokenizer->context->threads);
    if (!status)
        status = count_words(reader, &counter);
    if (!status)
        status = bpe_train(&rules, &count, &tokenizer->vocab, &counter.tables[0], &training);
    word_counter_free(&counter);
    return status ? status : finish_bpe(tokenizer, rules, count, LLM_TOKENIZER_BPE);
}

/* Mark the characters of a document in a bitmap of all code points. */
static llm_status collect(uint64_t *seen, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + size;

    while (p < end) {
        uint32_t c;
        size_t step = unicode_next(p, end, &c);

        if (c == 0xFFFD && step == 1)
            return status_set(LLM_E_FORMAT, "byte %zu of a document, 0x%02X, is not UTF-8",
                              (size_t)(p - (const unsigned char *)text), *p);
        if (c == 0) /* JSON libraries do not take it as a key */
            return status_set(LLM_E_FORMAT, "byte %zu of a document is NUL",
                              (size_t)(p - (const unsigned char *)text));
        seen[c >> 6] |= UINT64_C(1) << (c & 63);
        p += step;
    }
    return LLM_OK;
}

static llm_status put_characters(llm_tokenizer *tokenizer, const uint64_t *seen)
{
    llm_status status = LLM_OK;

    for (uint32_t c = 0; c < 0x110000 && !status; c++) {
        char utf8[4];
        size_t size;

        if (!(seen[c >> 6] >> (c & 63) & 1))
            continue;
        size = (size_t)utf8_encode(c, utf8);
        if (vocab_find(&tokenizer->vocab, utf8, size) < 0)
            status = vocab_put(&tokenizer->vocab, (int64_t)tokenizer->vocab.size, utf8, size,
                               VOCAB_MODEL);
    }
    return status;
}

static llm_status train_characters(llm_tokenizer *tokenizer, struct reader *reader)
{
    const llm_tokenizer_train_options *options = reader->options;
    struct memory *memory = &tokenizer->context->memory;
    uint64_t *seen = memory_alloc_zeroed(memory, 0x110000 / 64, sizeof *seen);
    bool listed = false;
    const char *text;
    size_t size;
    int32_t more;
    llm_status status = seen ? LLM_OK : LLM_E_NOMEM;

    for (size_t i = 0; options->unknown_token && i < options->special_count; i++)
        listed = listed || strcmp(options->special_tokens[i], options->unknown_token) == 0;
    if (!status && options->unknown_token && !listed)
        status = put_special(tokenizer, options->unknown_token, false);
    if (!status)
        status = put_all_special(tokenizer, options->special_tokens, options->special_count, false);
    while (!status && (more = next_document(reader, "collect characters", &text, &size)) != 0)
        status = more < 0 ? more : collect(seen, text, size);
    if (!status)
        status = put_characters(tokenizer, seen);
    memory_release(memory, seen);
    if (!status)
        status =
            characters_build(tokenizer, options->unknown_token
                                            ? vocab_find(&tokenizer->vocab, options->unknown_token,
                                                         strlen(options->unknown_token))
                                            : -1);
    return status ? status : tokenizer_finish(tokenizer);
}

static llm_status build_bytes(llm_tokenizer *tokenizer, const char *const *special_tokens,
                              size_t special_count)
{
    struct bpe_rule *rules;
    llm_status status = LLM_OK;

    for (int i = 0; i < 256 && !status; i++) {
        char byte = (char)i;

        status = vocab_put(&tokenizer->vocab, i, &byte, 1, VOCAB_MODEL);
    }
    if (!status)
        status = put_all_special(tokenizer, special_tokens, special_count, true);
    if (status)
        return status;
    tokenizer->split = split_find(LLM_SPLIT_NONE);
    rules = memory_alloc(&tokenizer->context->memory, 0);
    return rules ? finish_bpe(tokenizer, rules, 0, LLM_TOKENIZER_BYTES) : LLM_E_NOMEM;
}

/* Count the words of all documents as the tokenizer's own stages cut them. */
static llm_status count_cut_words(const llm_tokenizer *tokenizer, struct reader *reader,
                                  struct word_counter *counter)
{
    struct scratch *scratch = scratch_take(tokenizer);
    const char *text;
    size_t size;
    int32_t more = 0;
    llm_status status = scratch ? LLM_OK : LLM_E_NOMEM;

    while (!status && (more = next_document(reader, "count words", &text, &size)) > 0)
        status = word_piece_count(tokenizer, scratch, text, size, counter);
    scratch_give(tokenizer, scratch);
    return status ? status : more < 0 ? more : LLM_OK;
}

static llm_status train_word_piece(llm_tokenizer *tokenizer, struct reader *reader)
{
    const llm_tokenizer_train_options *options = reader->options;
    struct bpe_training training = {.min_frequency = options->min_frequency,
                                    .vocab_size = (size_t)options->vocab_size,
                                    .prefix = "##",
                                    .progress = options->progress,
                                    .progress_user = options->progress_user};
    const char *unknown = options->unknown_token ? options->unknown_token : "[UNK]";
    struct word_counter counter = {0};
    struct bpe_rule *rules = NULL;
    size_t count = 0;
    bool listed = false;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < options->special_count; i++)
        listed = listed || strcmp(options->special_tokens[i], unknown) == 0;
    if (!listed)
        status = put_special(tokenizer, unknown, false);
    if (!status)
        status = put_all_special(tokenizer, options->special_tokens, options->special_count, false);
    if (!status)
        status = word_piece_stages(tokenizer, options->keep_case == 0);
    if (!status)
        status =
            word_counter_init(&counter, &tokenizer->context->memory, split_find(LLM_SPLIT_NONE), 1);
    if (!status)
        status = count_cut_words(tokenizer, reader, &counter);
    if (!status)
        status = word_piece_alphabet(&tokenizer->vocab, &counter.tables[0], training.prefix);
    if (!status)
        status = bpe_train(&rules, &count, &tokenizer->vocab, &counter.tables[0], &training);
    word_counter_free(&counter);
    memory_release(&tokenizer->context->memory, rules);
    if (!status)
        status = word_piece_build(tokenizer, unknown, training.prefix, 100);
    return status ? status : tokenizer_finish(tokenizer);
}

llm_status tokenizer_new_bytes(llm_tokenizer **out, llm_context *context,
                               const char *const *special_tokens, size_t special_count)
{
    llm_status status = tokenizer_new(out, context);

    if (!status)
        status = build_bytes(*out, special_tokens, special_count);
    if (status) {
        tokenizer_release(*out);
        *out = NULL;
    }
    return status;
}

llm_status tokenizer_train(llm_tokenizer **out, llm_context *context, struct text_source source,
                           const llm_tokenizer_train_options *options)
{
    struct reader reader = {source, options, 0};
    llm_status status = tokenizer_new(out, context);

    if (!status && options->kind == LLM_TOKENIZER_CHARACTERS)
        status = train_characters(*out, &reader);
    else if (!status && options->kind == LLM_TOKENIZER_BYTES)
        status = build_bytes(*out, options->special_tokens, options->special_count);
    else if (!status && options->kind == LLM_TOKENIZER_WORDPIECE)
        status = train_word_piece(*out, &reader);
    else if (!status && options->kind == LLM_TOKENIZER_UNIGRAM)
        status =
            tokenizer_train_pieces(*out, (struct text_source){next_reported, &reader}, options);
    else if (!status)
        status = train_bpe(*out, &reader);
    if (status) {
        tokenizer_release(*out);
        *out = NULL;
    }
    return status;
}
