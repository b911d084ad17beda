/* SPDX-License-Identifier: MIT
 *
 * The first pieces: suffixes of all words sorted by as many characters as a piece may have, so that
 * equal substrings stand together. A substring counts where it branches: what is always followed by
 * the same character is left to the longer one.
 */
#include "tokenizer/unigram_train.h"
#include "tokenizer/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct suffix {
    uint64_t key; /* the first eight bytes, big end first */
    const unsigned char *text;
    uint32_t size; /* up to the end of the word, or as long as a piece may be */
    uint32_t rank; /* of the word: makes the order total */
    uint64_t count;
};

static int compare_suffixes(const void *a, const void *b)
{
    const struct suffix *x = a;
    const struct suffix *y = b;
    uint32_t size = x->size < y->size ? x->size : y->size;
    int order;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    order = memcmp(x->text, y->text, size);
    if (order != 0)
        return order;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static uint64_t first_bytes(const unsigned char *text, size_t size)
{
    uint64_t key = 0;

    for (size_t i = 0; i < 8; i++)
        key = key << 8 | (i < size ? text[i] : 0);
    return key;
}

/* Bytes of the first `most` characters. */
static uint32_t cut(const unsigned char *text, uint32_t size, size_t most)
{
    uint32_t at = 0;

    for (size_t i = 0; i < most && at < size; i++) {
        uint32_t c;

        at += (uint32_t)unicode_next(text + at, text + size, &c);
    }
    return at;
}

static uint32_t count_characters(const unsigned char *text, size_t size)
{
    uint32_t count = 0;

    for (size_t i = 0; i < size; i++)
        count += (text[i] & 0xC0) != 0x80;
    return count;
}

static llm_status list_suffixes(struct suffix **out, size_t *count_out,
                                const struct unigram_training *training,
                                const struct training_word *words, size_t count)
{
    struct suffix *suffixes;
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += count_characters(words[i].text, words[i].size);
    suffixes = memory_alloc_array(training->memory, total, sizeof *suffixes);
    if (!suffixes)
        return LLM_E_NOMEM;
    *out = suffixes;
    *count_out = 0;
    for (size_t i = 0; i < count; i++) {
        for (uint32_t at = 0; at < words[i].size; at++) {
            const unsigned char *text = words[i].text + at;
            uint32_t size;

            if ((*text & 0xC0) == 0x80)
                continue;
            size = cut(text, words[i].size - at, training->longest_piece);
            suffixes[(*count_out)++] =
                (struct suffix){first_bytes(text, size), text, size, (uint32_t)i, words[i].count};
        }
    }
    qsort(suffixes, *count_out, sizeof *suffixes, compare_suffixes);
    return LLM_OK;
}

/* Bytes that two suffixes have in common, whole characters. */
static uint32_t common(const struct suffix *a, const struct suffix *b)
{
    uint32_t size = a->size < b->size ? a->size : b->size;
    uint32_t at = 0;

    while (at < size && a->text[at] == b->text[at])
        at++;
    while (at > 0 && at < a->size && (a->text[at] & 0xC0) == 0x80)
        at--;
    return at;
}

static llm_status add_piece(struct piece_array *pieces, struct memory *memory,
                            const unsigned char *text, uint32_t size, uint64_t count)
{
    uint32_t characters = count_characters(text, size);
    llm_status status = memory_grow(memory, (void **)&pieces->list, &pieces->capacity,
                                    pieces->count + 1, sizeof *pieces->list);

    if (!status)
        pieces->list[pieces->count++] =
            (struct training_piece){text, size, characters, (double)count * characters};
    return status;
}

/* Substrings that are open: they started at suffix `first` and go on. */
struct open {
    uint32_t size;
    uint64_t before; /* sum of counts in front of its first suffix */
};

/* All branching substrings of two or more characters, and all characters (in *characters). */
static llm_status walk_suffixes(struct piece_array *pieces, struct piece_array *characters,
                                struct memory *memory, const struct suffix *suffixes, size_t count)
{
    struct open *stack = memory_alloc_array(memory, 4 * 256, sizeof *stack);
    size_t depth = 0;
    uint64_t sum = 0;
    uint64_t character_sum = 0;
    llm_status status = stack ? LLM_OK : LLM_E_NOMEM;

    for (size_t i = 0; i < count && !status; i++) {
        const struct suffix *suffix = &suffixes[i];
        uint32_t shared = i + 1 < count ? common(suffix, &suffixes[i + 1]) : 0;
        uint64_t before = sum;

        sum += suffix->count;
        while (depth > 0 && stack[depth - 1].size > shared && !status) {
            struct open top = stack[--depth];

            before = top.before;
            if (count_characters(suffix->text, top.size) > 1)
                status = add_piece(pieces, memory, suffix->text, top.size, sum - top.before);
        }
        if (shared > 0 && (depth == 0 || stack[depth - 1].size < shared) && depth < 1024)
            stack[depth++] = (struct open){shared, before};
        if (shared < cut(suffix->text, suffix->size, 1) && !status) {
            status = add_piece(characters, memory, suffix->text, cut(suffix->text, suffix->size, 1),
                               sum - character_sum);
            character_sum = sum;
        }
    }
    memory_release(memory, stack);
    return status;
}

/* The best first; ties in the order of bytes. */
static int compare_pieces(const void *a, const void *b)
{
    const struct training_piece *x = a;
    const struct training_piece *y = b;
    uint32_t size = x->size < y->size ? x->size : y->size;
    int order;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    order = memcmp(x->text, y->text, size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

llm_status unigram_seed(struct piece_array *out, const struct unigram_training *training,
                        const struct training_word *words, size_t count)
{
    struct piece_array characters = {NULL, 0, 0};
    struct suffix *suffixes = NULL;
    size_t suffix_count = 0;
    double sum = 0.0;
    llm_status status = list_suffixes(&suffixes, &suffix_count, training, words, count);

    if (!status)
        status = walk_suffixes(out, &characters, training->memory, suffixes, suffix_count);
    memory_release(training->memory, suffixes);
    if (!status && out->count > 1)
        qsort(out->list, out->count, sizeof *out->list, compare_pieces);
    if (!status && out->count > training->seed_size)
        out->count = training->seed_size;
    if (!status)
        status = memory_grow(training->memory, (void **)&out->list, &out->capacity,
                             out->count + characters.count + 1, sizeof *out->list);
    if (!status && characters.count > 0) {
        memmove(out->list + characters.count, out->list, out->count * sizeof *out->list);
        memcpy(out->list, characters.list, characters.count * sizeof *out->list);
        out->count += characters.count;
    }
    memory_release(training->memory, characters.list);
    for (size_t i = 0; i < out->count; i++)
        sum += out->list[i].score;
    for (size_t i = 0; i < out->count; i++)
        out->list[i].score = log(out->list[i].score) - log(sum);
    return status;
}
