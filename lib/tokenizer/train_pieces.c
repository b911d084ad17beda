/* SPDX-License-Identifier: MIT
 *
 * From documents to a unigram tokenizer: words with their spaces in front, as U+2581, are counted,
 * pieces are learned from them (unigram_train.c), and the tokenizer is made from the text of its
 * tokenizer.json, which Hugging Face's Metaspace reads the same way.
 */
#include "tokenizer/pipeline.h"
#include "tokenizer/train.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unigram_train.h"
#include "tokenizer/word_count.h"

#include <stdlib.h>
#include <string.h>

static const char space_symbol[] = "\xE2\x96\x81";

enum {
    LONGEST_WORD = 256, /* bytes; longer ones are cut: no piece is that long */
    LONGEST_PIECE = 16, /* characters */
    SEED_SIZE = 1000000,
    SUB_ITERATIONS = 2
};

/* Every space begins a word. */
static size_t scan_spaces(const unsigned char **cursor, const unsigned char *end,
                          const unsigned char **ends, size_t max)
{
    const unsigned char *p = *cursor;
    size_t count = 0;

    while (p < end && count < max) {
        const unsigned char *next = memchr(p + 1, ' ', (size_t)(end - p - 1));

        p = next ? next : end;
        ends[count++] = p;
    }
    *cursor = p;
    return count;
}

static const struct split_rule split_spaces = {
    .id = LLM_SPLIT_NONE, .name = "spaces", .scan = scan_spaces};

struct word_array {
    struct training_word *list;
    size_t count;
    size_t capacity;
};

static llm_status check_text(const unsigned char *text, size_t size)
{
    for (const unsigned char *p = text; p < text + size;) {
        uint32_t c;
        size_t step = unicode_next(p, text + size, &c);

        if ((c == 0xFFFD && step == 1) || c == 0)
            return status_set(LLM_E_FORMAT, "a document holds the byte 0x%02X, which is not %s", *p,
                              c == 0 ? "taken into pieces" : "UTF-8");
        p += step;
    }
    return LLM_OK;
}

/* Add text[0..size) in stretches of LONGEST_WORD at most. */
static llm_status add_stretches(struct word_array *words, struct memory *memory,
                                const unsigned char *text, size_t size, uint64_t count)
{
    llm_status status = LLM_OK;

    while (size > 0 && !status) {
        size_t part = size <= LONGEST_WORD ? size : utf8_complete((const char *)text, LONGEST_WORD);

        status = memory_grow(memory, (void **)&words->list, &words->capacity, words->count + 1,
                             sizeof *words->list);
        if (!status)
            words->list[words->count++] = (struct training_word){text, (uint32_t)part, count};
        text += part;
        size -= part;
    }
    return status;
}

static int compare_words(const void *a, const void *b)
{
    const struct training_word *x = a;
    const struct training_word *y = b;
    uint32_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, size);

    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The counted words as U+2581 and text, equal ones joined, in the order of bytes: not that of the
 * threads that counted. */
static llm_status list_words(struct word_array *words, struct arena *arena,
                             const struct word_table *table)
{
    size_t kept = 0;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < table->count && !status; i++) {
        const struct word *word = &table->words[i];
        size_t space = word->text[0] == ' ' ? 1 : 0;
        size_t size = 3 + word->size - space;
        unsigned char *text = arena_alloc(arena, size);

        if (!text)
            return LLM_E_NOMEM;
        memcpy(text, space_symbol, 3);
        memcpy(text + 3, word->text + space, word->size - space);
        status = check_text(text, size);
        if (!status)
            status = add_stretches(words, arena->memory, text, size, word->count);
    }
    if (status || words->count == 0)
        return status;
    qsort(words->list, words->count, sizeof *words->list, compare_words);
    for (size_t i = 1; i < words->count; i++) {
        if (compare_words(&words->list[kept], &words->list[i]) == 0)
            words->list[kept].count += words->list[i].count;
        else
            words->list[++kept] = words->list[i];
    }
    words->count = kept + 1;
    return LLM_OK;
}

static void write_frame(const char *const *names, size_t count, struct text *out)
{
    text_append_z(out, "{\"added_tokens\":[");
    for (size_t i = 0; i < count; i++) {
        text_printf(out, "%s{\"id\":%zu,\"content\":", i ? "," : "", i);
        text_append_json(out, names[i], strlen(names[i]));
        text_append_z(out, ",\"special\":true}");
    }
    text_append_z(out,
                  "],\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                  "\"prepend_scheme\":\"always\",\"split\":true},\"decoder\":{\"type\":"
                  "\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\","
                  "\"split\":true},\"model\":{\"type\":\"Unigram\",\"vocab\":[");
    for (size_t i = 0; i < count; i++) {
        text_append_z(out, i ? ",[" : "[");
        text_append_json(out, names[i], strlen(names[i]));
        text_append_z(out, ",0]");
    }
}

/* `unknown`: its place among the special tokens, or -1. */
static llm_status make_tokenizer(llm_tokenizer *tokenizer, const char *const *names, size_t count,
                                 int64_t unknown, const struct piece_array *pieces)
{
    struct text json;
    llm_status status = LLM_E_NOMEM;

    text_init(&json, &tokenizer->context->memory);
    write_frame(names, count, &json);
    for (size_t i = 0; i < pieces->count && !json.failed; i++) {
        text_append_z(&json, i + count ? ",[" : "[");
        text_append_json(&json, (const char *)pieces->list[i].text, pieces->list[i].size);
        text_append_z(&json, ",");
        text_append_double(&json, pieces->list[i].score);
        text_append_z(&json, "]");
    }
    if (unknown >= 0)
        text_printf(&json, "],\"unk_id\":%lld}}", (long long)unknown);
    else
        text_append_z(&json, "],\"unk_id\":null}}");
    if (!json.failed)
        status = huggingface_read(tokenizer, json.data, json.size);
    text_free(&json);
    return status;
}

static llm_status learn(struct piece_array *pieces, llm_tokenizer *tokenizer,
                        const struct word_counter *counter, struct arena *arena,
                        const llm_tokenizer_train_options *options, size_t special_count)
{
    struct unigram_training training = {.memory = &tokenizer->context->memory,
                                        .threads = tokenizer->context->threads,
                                        .seed_size = SEED_SIZE,
                                        .longest_piece = LONGEST_PIECE,
                                        .shrink = 0.75,
                                        .sub_iterations = SUB_ITERATIONS,
                                        .progress = options->progress,
                                        .progress_user = options->progress_user};
    struct word_array words = {NULL, 0, 0};
    llm_status status = LLM_OK;

    if ((size_t)options->vocab_size <= special_count)
        return status_set(LLM_E_RANGE, "vocab_size %d leaves no room beside %zu special tokens",
                          (int)options->vocab_size, special_count);
    training.vocab_size = (size_t)options->vocab_size - special_count;
    status = list_words(&words, arena, &counter->tables[0]);
    if (!status && words.count == 0)
        status = status_set(LLM_E_INVALID, "no text to train on");
    if (!status)
        status = unigram_train(pieces, &training, words.list, words.count);
    memory_release(training.memory, words.list);
    return status;
}

llm_status tokenizer_train_pieces(llm_tokenizer *tokenizer, struct text_source source,
                                  const llm_tokenizer_train_options *options)
{
    struct memory *memory = &tokenizer->context->memory;
    const char **names = memory_alloc_array(memory, options->special_count + 1, sizeof *names);
    struct piece_array pieces = {NULL, 0, 0};
    struct word_counter counter = {0};
    size_t count = options->special_count;
    int64_t unknown = -1;
    struct arena arena;
    llm_status status;

    arena_init(&arena, memory);
    status = names ? word_counter_init(&counter, memory, &split_spaces, tokenizer->context->threads)
                   : LLM_E_NOMEM;
    for (size_t i = 0; i < count && names; i++) {
        names[i] = options->special_tokens[i];
        if (options->unknown_token && strcmp(names[i], options->unknown_token) == 0)
            unknown = (int64_t)i;
    }
    if (names && options->unknown_token && unknown < 0) {
        memmove(names + 1, names, count++ * sizeof *names);
        names[0] = options->unknown_token;
        unknown = 0;
    }
    while (!status) {
        const char *text;
        size_t size;
        int32_t more = source.next(source.user, &text, &size);

        if (more <= 0) {
            status = more < 0 ? more : word_counter_finish(&counter);
            break;
        }
        status = word_counter_add(&counter, text, size);
    }
    if (!status)
        status = learn(&pieces, tokenizer, &counter, &arena, options, count);
    if (!status)
        status = make_tokenizer(tokenizer, names, count, unknown, &pieces);
    memory_release(memory, pieces.list);
    memory_release(memory, names);
    word_counter_free(&counter);
    arena_free(&arena);
    return status;
}
