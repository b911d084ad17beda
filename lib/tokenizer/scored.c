/* SPDX-License-Identifier: MIT
 *
 * Merging by score as SentencePiece states it: a queue of pairs of neighbours whose joint text is a
 * piece, the best score first, the leftmost among equals. Unused pieces take part and are taken
 * apart again at the end. For the vocabularies that bpe.h cannot do: equal scores, pieces that
 * their own parts do not lead to, unused pieces. O(n log n).
 */
#include "tokenizer/sentencepiece.h"
#include "tokenizer/unicode.h"

#include <string.h>

static const uint32_t none = UINT32_MAX;

/* A stretch of text that is one piece so far. */
struct part {
    uint32_t begin;
    uint32_t size; /* 0: swallowed by its left neighbour */
    uint32_t previous;
    uint32_t next;
};

struct pair {
    float score;
    uint32_t left;
    uint32_t size; /* of both together; another size means that the pair is out of date */
};

struct merging {
    const struct sentencepiece *model;
    const struct vocab *vocab;
    struct scratch *scratch;
    const unsigned char *text;
    struct part *parts;
    struct pair *heap;
    size_t heap_count;
    uint32_t *left_sizes; /* by id: how the last unused piece of that id was made; NULL: none was */
};

static int32_t find_piece(const struct merging *merging, size_t begin, size_t size)
{
    int32_t id = size <= merging->vocab->longest
                     ? vocab_find(merging->vocab, (const char *)merging->text + begin, size)
                     : -1;
    int type =
        id >= 0 && (size_t)id < merging->model->count ? merging->model->types[id] : PIECE_CONTROL;

    return type == PIECE_NORMAL || type == PIECE_USER_DEFINED || type == PIECE_UNUSED ? id : -1;
}

static bool is_before(struct pair a, struct pair b)
{
    return a.score > b.score || (a.score == b.score && a.left < b.left);
}

static llm_status push(struct merging *merging, struct pair pair)
{
    struct scratch *scratch = merging->scratch;
    size_t i = merging->heap_count;
    llm_status status = memory_grow(scratch->memory, &scratch->work[3], &scratch->work_capacity[3],
                                    i + 1, sizeof *merging->heap);

    if (status)
        return status;
    merging->heap = scratch->work[3];
    merging->heap_count++;
    while (i > 0 && is_before(pair, merging->heap[(i - 1) / 2])) {
        merging->heap[i] = merging->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    merging->heap[i] = pair;
    return LLM_OK;
}

static struct pair pop(struct merging *merging)
{
    struct pair *heap = merging->heap;
    struct pair top = heap[0];
    struct pair moved = heap[--merging->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= merging->heap_count)
            break;
        if (child + 1 < merging->heap_count && is_before(heap[child + 1], heap[child]))
            child++;
        if (!is_before(heap[child], moved))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
    return top;
}

static llm_status note_split(struct merging *merging, int32_t id, uint32_t left)
{
    struct scratch *scratch = merging->scratch;
    size_t count = merging->vocab->size;

    if (!merging->left_sizes) {
        llm_status status = memory_grow(scratch->memory, &scratch->work[0],
                                        &scratch->work_capacity[0], count, sizeof(uint32_t));

        if (status)
            return status;
        merging->left_sizes = scratch->work[0];
        memset(merging->left_sizes, 0, count * sizeof(uint32_t));
    }
    merging->left_sizes[id] = left;
    return LLM_OK;
}

static llm_status queue(struct merging *merging, uint32_t left)
{
    const struct part *part = &merging->parts[left];
    uint32_t size;
    int32_t id;
    llm_status status = LLM_OK;

    if (part->next == none)
        return LLM_OK;
    size = part->size + merging->parts[part->next].size;
    id = find_piece(merging, part->begin, size);
    if (id < 0)
        return LLM_OK;
    if (merging->model->types[id] == PIECE_UNUSED)
        status = note_split(merging, id, part->size);
    return status ? status : push(merging, (struct pair){merging->model->scores[id], left, size});
}

static llm_status merge_all(struct merging *merging)
{
    llm_status status = LLM_OK;

    while (merging->heap_count > 0 && !status) {
        struct pair top = pop(merging);
        struct part *left = &merging->parts[top.left];
        struct part *right;

        if (left->size == 0 || left->next == none)
            continue;
        right = &merging->parts[left->next];
        if (left->size + right->size != top.size)
            continue;
        left->size = top.size;
        left->next = right->next;
        right->size = 0;
        if (left->next != none)
            merging->parts[left->next].previous = top.left;
        if (left->previous != none)
            status = queue(merging, left->previous);
        if (!status)
            status = queue(merging, top.left);
    }
    return status;
}

/* The part of the piece [begin, end) that holds the byte `at` and is not an unused piece, by
 * walking down the way it was made; its id, or -1. */
static int32_t find_leaf(const struct merging *merging, uint32_t at, uint32_t *begin, uint32_t *end)
{
    for (;;) {
        int32_t id = find_piece(merging, *begin, *end - *begin);
        uint32_t middle;

        if (id < 0 || merging->model->types[id] != PIECE_UNUSED || !merging->left_sizes ||
            merging->left_sizes[id] == 0)
            return id;
        middle = *begin + merging->left_sizes[id];
        if (at < middle)
            *end = middle;
        else
            *begin = middle;
    }
}

static llm_status put_piece(const struct merging *merging, const struct part *part, size_t base,
                            bool *behind_unknown, struct piece_sink *sink)
{
    uint32_t stop = part->begin + part->size;
    llm_status status = LLM_OK;

    for (uint32_t at = part->begin; at < stop && !status;) {
        uint32_t begin = part->begin;
        uint32_t end = stop;
        int32_t id = find_leaf(merging, at, &begin, &end);

        if (id >= 0) {
            status = piece_sink_put(sink, id, base + end);
            *behind_unknown = false;
        } else {
            status = sentencepiece_put_unknown(merging->model, merging->text, begin, end, base,
                                               behind_unknown, sink);
        }
        at = end;
    }
    return status;
}

static llm_status start(struct merging *merging, size_t size)
{
    struct scratch *scratch = merging->scratch;
    size_t count = 0;
    llm_status status;

    if (size >= none)
        return status_set(LLM_E_RANGE, "text of %zu bytes is too long", size);
    for (size_t at = 0; at < size; count++) {
        uint32_t c;
        size_t step = unicode_next(merging->text + at, merging->text + size, &c);

        status = memory_grow(scratch->memory, &scratch->work[2], &scratch->work_capacity[2],
                             count + 1, sizeof *merging->parts);
        if (status)
            return status;
        merging->parts = scratch->work[2];
        merging->parts[count] =
            (struct part){(uint32_t)at, (uint32_t)step, (uint32_t)count - 1, (uint32_t)count + 1};
        at += step;
    }
    merging->parts[count - 1].next = none;
    status = LLM_OK;
    for (size_t i = 0; i + 1 < count && !status; i++)
        status = queue(merging, (uint32_t)i);
    return status;
}

llm_status scored_encode(const struct sentencepiece *model, const struct vocab *vocab,
                         struct scratch *scratch, const unsigned char *text, size_t size,
                         size_t base, struct piece_sink *sink)
{
    struct merging merging = {.model = model, .vocab = vocab, .scratch = scratch, .text = text};
    bool behind_unknown = false;
    llm_status status;

    if (size == 0)
        return LLM_OK;
    status = start(&merging, size);
    if (!status)
        status = merge_all(&merging);
    for (uint32_t i = 0; i != none && !status; i = merging.parts[i].next)
        status = put_piece(&merging, &merging.parts[i], base, &behind_unknown, sink);
    return status;
}
