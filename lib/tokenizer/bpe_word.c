/* SPDX-License-Identifier: MIT
 *
 * Encoding words: merging in place for short ones, backtracking or a heap for long ones (bpe.h),
 * and before all of them a cache of short words, because words repeat. The cache lives in the
 * scratch, so it needs no locks; entries are pure functions of the tokenizer.
 */
#include "tokenizer/bpe.h"
#include "tokenizer/unicode.h"

#include <string.h>

/* ---- short words ---- */

/* Merge sym[0..count) in place, lowest rank first and leftmost among equals; the new count. */
static size_t merge_short(const struct bpe *bpe, uint32_t *sym, size_t count)
{
    uint32_t rank[BPE_SHORT_WORD];

    for (size_t i = 0; i + 1 < count; i++)
        rank[i] = bpe_pair(bpe, sym[i], sym[i + 1]);
    while (count > 1) {
        uint32_t lowest = rank[0];
        size_t at = 0;

        for (size_t i = 1; i + 1 < count; i++) {
            if (rank[i] < lowest) {
                lowest = rank[i];
                at = i;
            }
        }
        if (lowest == bpe_none)
            break;
        sym[at] = bpe->made ? bpe->made[lowest] : lowest;
        count--;
        memmove(&sym[at + 1], &sym[at + 2], (count - at - 1) * sizeof *sym);
        if (at + 1 < count) {
            memmove(&rank[at + 1], &rank[at + 2], (count - at - 2) * sizeof *rank);
            rank[at] = bpe_pair(bpe, sym[at], sym[at + 1]);
        }
        if (at > 0)
            rank[at - 1] = bpe_pair(bpe, sym[at - 1], sym[at]);
    }
    return count;
}

static llm_status put_symbol(const struct bpe *bpe, uint32_t symbol, struct token_list *out)
{
    int32_t id = bpe->symbols[symbol].id;

    if (id < 0) {
        id = bpe->unknown;
        if (id < 0)
            return status_set(LLM_E_RANGE,
                              "no token stands for the byte 0x%02X and there is no unknown token",
                              (unsigned)symbol);
    }
    out->ids[out->count++] = id;
    return LLM_OK;
}

static llm_status put_symbols(const struct bpe *bpe, const uint32_t *symbols, size_t count,
                              struct token_list *out)
{
    llm_status status = token_list_reserve(out, count);

    for (size_t i = 0; i < count && !status; i++)
        status = put_symbol(bpe, symbols[i], out);
    return status;
}

/* ---- long words: backtracking ---- */

/* bpe_may_follow() for pairs that come again and again, as they do in repetitive text. */
enum { MEMO_SIZE = 4096 };

static bool may_follow(const struct bpe *bpe, uint64_t *memo, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 21 | right;
    uint64_t *entry = &memo[bpe_pair_slot(key, MEMO_SIZE - 1)];

    if (*entry >> 2 != key || !(*entry & 1))
        *entry = key << 2 | (bpe_may_follow(bpe, left, right) ? 2u : 0u) | 1u;
    return (*entry & 2) != 0;
}

/* A set bit: no valid sequence of tokens leads on from here. */
static bool is_dead(const uint64_t *bits, size_t position)
{
    return bits[position >> 6] >> (position & 63) & 1;
}

llm_status bpe_encode_backtrack(const struct bpe *bpe, struct scratch *scratch,
                                const unsigned char *word, size_t size, struct token_list *out)
{
    const unsigned char *end = word + size;
    size_t position = 0;
    size_t depth = 0;
    size_t length;
    uint32_t token;
    uint64_t *dead;
    uint32_t *stack;
    llm_status status;

    if (!scratch->memo)
        scratch->memo = memory_alloc_zeroed(scratch->memory, MEMO_SIZE, sizeof *scratch->memo);
    if (!scratch->memo)
        return LLM_E_NOMEM;
    status = memory_grow(scratch->memory, &scratch->work[0], &scratch->work_capacity[0],
                         size / 64 + 1, sizeof *dead);
    if (status)
        return status;
    dead = scratch->work[0];
    memset(dead, 0, (size / 64 + 1) * sizeof *dead);
    token = trie_longest(&bpe->trie, word, end, &length);
    while (position < size) {
        uint32_t last;

        status = memory_grow(scratch->memory, &scratch->work[1], &scratch->work_capacity[1],
                             depth + 1, sizeof *stack);
        if (status)
            return status;
        stack = scratch->work[1];
        last = depth > 0 ? stack[depth - 1] : bpe_none;
        while (token != bpe_none && (is_dead(dead, position + bpe->symbols[token].size) ||
                                     (depth > 0 && !may_follow(bpe, scratch->memo, last, token))))
            token = bpe->symbols[token].shorter;
        if (token != bpe_none) {
            stack[depth++] = token;
            position += bpe->symbols[token].size;
            token = trie_longest(&bpe->trie, word + position, end, &length);
        } else if (depth > 0) {
            dead[position >> 6] |= UINT64_C(1) << (position & 63);
            depth--;
            position -= bpe->symbols[last].size;
            token = last;
        } else {
            return status_set(LLM_E_INTERNAL, "byte-pair encoding found no way through a word");
        }
    }
    return put_symbols(bpe, scratch->work[1], depth, out);
}

/* ---- long words: a heap of pairs ---- */

struct link {
    size_t previous;
    size_t next;     /* size: none */
    uint32_t symbol; /* bpe_none: swallowed by its left neighbour */
    uint32_t rank;   /* of the merge with the next one */
};

struct candidate {
    size_t position;
    uint32_t rank;
};

static bool is_before(struct candidate a, struct candidate b)
{
    return a.rank < b.rank || (a.rank == b.rank && a.position < b.position);
}

static void heap_push(struct candidate *heap, size_t *count, struct candidate new)
{
    size_t i = (*count)++;

    while (i > 0 && is_before(new, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = new;
}

static struct candidate heap_pop(struct candidate *heap, size_t *count)
{
    struct candidate top = heap[0];
    struct candidate moved = heap[--*count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= *count)
            break;
        if (child + 1 < *count && is_before(heap[child + 1], heap[child]))
            child++;
        if (!is_before(heap[child], moved))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
    return top;
}

/* Rank the pair at `position` anew and queue it if it can merge. At most three candidates exist per
 * byte: one at the start and two for each merge. */
static void queue(const struct bpe *bpe, struct link *links, size_t position, size_t size,
                  struct candidate *heap, size_t *count)
{
    struct link *link = &links[position];

    link->rank =
        link->next < size ? bpe_pair(bpe, link->symbol, links[link->next].symbol) : bpe_none;
    if (link->rank != bpe_none)
        heap_push(heap, count, (struct candidate){position, link->rank});
}

/* Merge symbols[0..size), or the bytes word[0..size) when `symbols` is NULL. */
static llm_status encode_heap(const struct bpe *bpe, struct scratch *scratch,
                              const unsigned char *word, const uint32_t *symbols, size_t size,
                              struct token_list *out)
{
    struct candidate *heap;
    struct link *links;
    size_t queued = 0;
    llm_status status;

    status = memory_grow(scratch->memory, &scratch->work[2], &scratch->work_capacity[2], size,
                         sizeof *links);
    if (!status)
        status = memory_grow(scratch->memory, &scratch->work[3], &scratch->work_capacity[3],
                             3 * size, sizeof *heap);
    if (!status)
        status = token_list_reserve(out, size);
    if (status)
        return status;
    links = scratch->work[2];
    heap = scratch->work[3];
    for (size_t i = 0; i < size; i++)
        links[i] = (struct link){i - 1, i + 1, symbols ? symbols[i] : word[i], bpe_none};
    for (size_t i = 0; i < size; i++)
        queue(bpe, links, i, size, heap, &queued);
    while (queued > 0) {
        struct candidate top = heap_pop(heap, &queued);
        struct link *left = &links[top.position];
        struct link *right;

        if (left->symbol == bpe_none || left->rank != top.rank)
            continue;
        right = &links[left->next];
        left->symbol = bpe->made ? bpe->made[top.rank] : top.rank;
        left->next = right->next;
        right->symbol = bpe_none;
        if (left->next < size)
            links[left->next].previous = top.position;
        queue(bpe, links, top.position, size, heap, &queued);
        if (top.position > 0)
            queue(bpe, links, left->previous, size, heap, &queued);
    }
    for (size_t i = 0; i < size && !status; i = links[i].next)
        status = put_symbol(bpe, links[i].symbol, out);
    return status;
}

llm_status bpe_encode_heap(const struct bpe *bpe, struct scratch *scratch,
                           const unsigned char *word, size_t size, struct token_list *out)
{
    return encode_heap(bpe, scratch, word, NULL, size, out);
}

/* ---- words of characters ---- */

/* A word of characters and how far it is done. */
struct walk {
    const struct bpe *bpe;
    struct scratch *scratch;
    const unsigned char *word;
    size_t size;
    size_t at;
    bool behind_unknown;
};

static uint32_t follow(const struct double_array *index, uint32_t node, const void *bytes,
                       size_t size, bool *lost)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < size && !*lost; i++) {
        node = double_array_child(index, node, p[i]);
        *lost = node == 0;
    }
    return node;
}

/* The symbol of the character at `at`, bpe_none if it has none, and its size. The spelling of a
 * character may depend on where in the word it stands. */
static uint32_t find_character(const struct walk *walk, size_t at, size_t *size_out)
{
    const struct bpe_characters *characters = walk->bpe->characters;
    const struct double_array *index = &characters->index;
    bool lost = false;
    uint32_t node = 0;
    uint32_t c;

    *size_out = unicode_next(walk->word + at, walk->word + walk->size, &c);
    if (at > 0)
        node = follow(index, node, characters->prefix, characters->prefix_size, &lost);
    node = follow(index, node, walk->word + at, *size_out, &lost);
    if (at + *size_out == walk->size)
        node = follow(index, node, characters->suffix, characters->suffix_size, &lost);
    return lost || index->units[node].value < 0 ? bpe_none : (uint32_t)index->units[node].value;
}

/* Characters with a symbol from walk->at on: where they end. `symbols` gets the first ones. */
static size_t scan_run(const struct walk *walk, uint32_t *symbols, size_t capacity,
                       size_t *count_out)
{
    size_t count = 0;
    size_t at = walk->at;

    while (at < walk->size) {
        size_t size;
        uint32_t symbol = find_character(walk, at, &size);

        if (symbol == bpe_none)
            break;
        if (count < capacity)
            symbols[count] = symbol;
        count++;
        at += size;
    }
    *count_out = count;
    return at;
}

static llm_status encode_run(struct walk *walk, struct token_list *out)
{
    const struct bpe *bpe = walk->bpe;
    struct scratch *scratch = walk->scratch;
    uint32_t symbols[BPE_SHORT_WORD];
    size_t count;
    size_t begin = walk->at;
    size_t end = scan_run(walk, symbols, BPE_SHORT_WORD, &count);
    llm_status status;

    if (count > 0)
        walk->behind_unknown = false;
    if (count <= BPE_SHORT_WORD) {
        walk->at = end;
        return put_symbols(bpe, symbols, merge_short(bpe, symbols, count), out);
    }
    if (bpe->proper) {
        walk->at = end;
        return bpe_encode_backtrack(bpe, scratch, walk->word + begin, end - begin, out);
    }
    status = memory_grow(scratch->memory, &scratch->work[1], &scratch->work_capacity[1], count,
                         sizeof *symbols);
    if (status)
        return status;
    (void)scan_run(walk, scratch->work[1], count, &count);
    walk->at = end;
    return encode_heap(bpe, scratch, walk->word, scratch->work[1], count, out);
}

/* A character without symbol: its bytes, or the unknown token, or nothing, as Hugging Face
 * tokenizers does when a model has neither. */
static llm_status put_stranger(struct walk *walk, struct piece_sink *sink)
{
    const struct bpe_characters *characters = walk->bpe->characters;
    const unsigned char *p = walk->word + walk->at;
    bool bytes = characters->byte_fallback;
    size_t begin = walk->at;
    llm_status status = LLM_OK;
    size_t size;

    (void)find_character(walk, walk->at, &size);
    walk->at += size;
    for (size_t i = 0; i < size; i++)
        bytes = bytes && characters->bytes[p[i]] >= 0;
    for (size_t i = 0; i < size && bytes && !status; i++)
        status = piece_sink_put(sink, characters->bytes[p[i]], begin + i + 1);
    if (bytes || walk->bpe->unknown < 0) {
        walk->behind_unknown = false;
        return status;
    }
    if (walk->behind_unknown && walk->bpe->fuse_unknown)
        piece_sink_extend(sink, walk->at);
    else
        status = piece_sink_put(sink, walk->bpe->unknown, walk->at);
    walk->behind_unknown = true;
    return status;
}

/* Ends of the ids from `index` on, which cover the characters from `at` on. What spells the
 * place in the word is not text. */
static llm_status note_ends(const struct walk *walk, const struct vocab *vocab, size_t index,
                            size_t at, struct piece_sink *sink)
{
    const struct bpe_characters *characters = walk->bpe->characters;
    llm_status status = LLM_OK;

    for (; index < sink->out->count && !status; index++) {
        size_t size = vocab->entries[sink->out->ids[index]].size;

        size -= at > 0 && size > characters->prefix_size ? characters->prefix_size : 0;
        at = at + size < walk->size ? at + size : walk->size;
        status = end_list_add(sink->ends, at);
    }
    return status;
}

llm_status bpe_encode_characters(const struct bpe *bpe, const struct vocab *vocab,
                                 struct scratch *scratch, const unsigned char *word, size_t size,
                                 struct piece_sink *sink)
{
    struct walk walk = {bpe, scratch, word, size, 0, false};
    llm_status status = LLM_OK;

    while (walk.at < size && !status) {
        size_t begin = walk.at;
        size_t index = sink->out->count;

        status = encode_run(&walk, sink->out);
        if (!status && sink->ends)
            status = note_ends(&walk, vocab, index, begin, sink);
        if (!status && walk.at < size)
            status = put_stranger(&walk, sink);
    }
    return status;
}

llm_status bpe_encode_word(const struct bpe *bpe, struct scratch *scratch,
                           const unsigned char *word, size_t size, struct token_list *out)
{
    uint32_t symbols[BPE_SHORT_WORD];

    if (bpe->characters) {
        struct piece_sink sink = {out, NULL};

        return bpe_encode_characters(bpe, NULL, scratch, word, size, &sink);
    }
    if (size <= BPE_SHORT_WORD) {
        for (size_t i = 0; i < size; i++)
            symbols[i] = word[i];
        return put_symbols(bpe, symbols, merge_short(bpe, symbols, size), out);
    }
    if (bpe->proper)
        return bpe_encode_backtrack(bpe, scratch, word, size, out);
    return bpe_encode_heap(bpe, scratch, word, size, out);
}
