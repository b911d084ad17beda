/* SPDX-License-Identifier: MIT
 *
 * Encoding text: cut into words, and each word looked up in a cache before it is encoded, because
 * words repeat. The cache lives in the scratch, so it needs no locks; it starts small and grows
 * with the number of words that it did not know. Words are handled in batches: first all keys, with
 * the cache lines asked for, then all look-ups.
 */
#include "tokenizer/bpe.h"
#include "tokenizer/word_key.h"

#include <string.h>

enum {
    CACHE_FIRST_BITS = 8,
    CACHE_LAST_BITS = 15,
    CACHE_IDS = 3, /* most ids of a word in the cache */
    CACHE_WAYS = 2
};

struct cache_entry {
    struct word_key key;
    int32_t ids[CACHE_IDS];
    uint32_t count;
};

/* One cache line. The first way holds what was used twice, the second what came last. */
struct cache_set {
    struct cache_entry ways[CACHE_WAYS];
};

static size_t set_index(uint64_t hash, unsigned bits)
{
    return (size_t)(hash >> (64 - bits));
}

/* Four times the sets when as many words were new as there are entries. */
static llm_status grow_cache(struct scratch *scratch)
{
    unsigned bits = scratch->cache ? scratch->cache_bits + 2 : CACHE_FIRST_BITS;
    struct cache_set *old = scratch->cache;
    size_t old_count = old ? (size_t)1 << scratch->cache_bits : 0;
    struct cache_set *sets;

    if (bits > CACHE_LAST_BITS)
        bits = CACHE_LAST_BITS;
    sets = memory_alloc_zeroed(scratch->memory, (size_t)1 << bits, sizeof *sets);
    if (!sets)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < old_count; i++) {
        for (int way = CACHE_WAYS - 1; way >= 0; way--) {
            struct cache_entry entry = old[i].ways[way];
            struct cache_set *set;

            if (entry.count == 0)
                continue;
            set = &sets[set_index(word_key_hash(entry.key), bits)];
            set->ways[1] = set->ways[0];
            set->ways[0] = entry;
        }
    }
    memory_release(scratch->memory, old);
    scratch->cache = sets;
    scratch->cache_bits = bits;
    scratch->cache_misses = 0;
    return LLM_OK;
}

/* A word that the cache does not know: a token by itself, or else encoded. */
static llm_status encode_new(const struct bpe *bpe, const struct vocab *vocab,
                             struct scratch *scratch, const unsigned char *word, size_t size,
                             struct token_list *out)
{
    int32_t id = size <= vocab->longest ? vocab_find(vocab, (const char *)word, size) : -1;
    llm_status status;

    if (id >= 0 && (vocab->flags[id] & VOCAB_WHOLE)) {
        status = token_list_reserve(out, 1);
        if (!status)
            out->ids[out->count++] = id;
        return status;
    }
    return bpe_encode_word(bpe, scratch, word, size, out);
}

static llm_status encode_missed(const struct bpe *bpe, struct scratch *scratch,
                                const unsigned char *word, struct word_key key,
                                struct cache_set *set, struct token_list *out)
{
    size_t size = word_key_size(key);
    size_t before = out->count;
    int32_t id = word_index_find(&bpe->whole, key);
    struct cache_entry entry = {.key = key, .count = 1};
    llm_status status = id >= 0 ? token_list_reserve(out, 1) : LLM_OK;

    if (id >= 0 && !status)
        out->ids[out->count++] = id;
    else if (!status)
        status = bpe_encode_word(bpe, scratch, word, size, out);
    if (status || out->count - before > CACHE_IDS)
        return status;
    entry.count = (uint32_t)(out->count - before);
    memcpy(entry.ids, out->ids + before, entry.count * sizeof *entry.ids);
    set->ways[1] = entry;
    scratch->cache_misses++;
    return LLM_OK;
}

static inline void put_entry(const struct cache_entry *entry, struct token_list *out)
{
    int32_t *ids = out->ids + out->count;

    ids[0] = entry->ids[0];
    for (uint32_t i = 1; i < entry->count; i++)
        ids[i] = entry->ids[i];
    out->count += entry->count;
}

/* Words [begin, ends[0]), [ends[0], ends[1]) ... of text that ends at `end`. */
static llm_status encode_batch(const struct bpe *bpe, const struct vocab *vocab,
                               struct scratch *scratch, const unsigned char *word, size_t count,
                               const unsigned char *end, struct token_list *out)
{
    struct cache_set *sets = scratch->cache;
    struct word_key keys[SCRATCH_ENDS];
    uint32_t indices[SCRATCH_ENDS];
    const unsigned char *begin = word;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < count; i++) {
        keys[i] = word_key_load(begin, (size_t)(scratch->word_ends[i] - begin), end);
        indices[i] = (uint32_t)set_index(word_key_hash(keys[i]), scratch->cache_bits);
        __builtin_prefetch(&sets[indices[i]]);
        begin = scratch->word_ends[i];
    }
    for (size_t i = 0; i < count && !status; i++) {
        struct cache_set *set = &sets[indices[i]];
        size_t size = (size_t)(scratch->word_ends[i] - word);

        if (size > out->capacity - out->count && size <= WORD_KEY_MAX)
            status = token_list_reserve(out, size);
        if (status)
            break;
        if (word_key_equal(set->ways[0].key, keys[i])) {
            put_entry(&set->ways[0], out);
        } else if (word_key_equal(set->ways[1].key, keys[i])) {
            struct cache_entry entry = set->ways[1];

            set->ways[1] = set->ways[0];
            set->ways[0] = entry;
            put_entry(&entry, out);
        } else if (size <= WORD_KEY_MAX) {
            status = encode_missed(bpe, scratch, word, keys[i], set, out);
        } else {
            status = encode_new(bpe, vocab, scratch, word, size, out);
        }
        word = scratch->word_ends[i];
    }
    return status;
}

static llm_status encode_bytes(const struct bpe *bpe, const unsigned char *bytes, size_t size,
                               struct token_list *out)
{
    llm_status status = token_list_reserve(out, size);

    for (size_t i = 0; i < size && !status; i++)
        out->ids[out->count++] = bpe->symbols[bytes[i]].id;
    return status;
}

/* Room in the cache for what the last words taught. */
static llm_status prepare_cache(struct scratch *scratch)
{
    if (scratch->cache && (scratch->cache_misses >> (scratch->cache_bits + 1) == 0 ||
                           scratch->cache_bits == CACHE_LAST_BITS))
        return LLM_OK;
    return grow_cache(scratch);
}

/* Ends of the ids from `index` on; they cover `size` bytes. */
static llm_status add_ends(const llm_tokenizer *tokenizer, const struct token_list *out,
                           size_t index, size_t size, struct end_list *ends)
{
    const struct bpe *bpe = tokenizer->model;
    size_t at = 0;
    llm_status status = LLM_OK;

    for (; index < out->count && !status; index++) {
        int32_t id = out->ids[index];

        /* An unknown token stands for a byte. */
        at += id == bpe->unknown ? 1 : tokenizer->vocab.entries[id].size;
        status = end_list_add(ends, at < size ? at : size);
    }
    return status;
}

llm_status bpe_encode_cached(const llm_tokenizer *tokenizer, struct scratch *scratch,
                             const char *word, size_t size, struct token_list *out,
                             struct end_list *ends)
{
    size_t index = out->count;
    llm_status status = LLM_OK;

    if (tokenizer->kind == LLM_TOKENIZER_BYTES) {
        status = encode_bytes(tokenizer->model, (const unsigned char *)word, size, out);
    } else {
        status = prepare_cache(scratch);
        scratch->word_ends[0] = (const unsigned char *)word + size;
        if (!status)
            status = encode_batch(tokenizer->model, &tokenizer->vocab, scratch,
                                  (const unsigned char *)word, 1,
                                  (const unsigned char *)word + size, out);
    }
    return !status && ends ? add_ends(tokenizer, out, index, size, ends) : status;
}

llm_status bpe_encode(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                      size_t size, struct token_list *out)
{
    const unsigned char *cursor = (const unsigned char *)text;
    const unsigned char *end = cursor + size;
    llm_status status = LLM_OK;

    if (tokenizer->kind == LLM_TOKENIZER_BYTES)
        return encode_bytes(tokenizer->model, cursor, size, out);
    while (cursor < end && !status) {
        const unsigned char *begin = cursor;
        size_t count = tokenizer->split->scan(&cursor, end, scratch->word_ends, SCRATCH_ENDS);

        status = prepare_cache(scratch);
        if (!status)
            status =
                encode_batch(tokenizer->model, &tokenizer->vocab, scratch, begin, count, end, out);
    }
    return status;
}

/* ---- text of characters without words ---- */

/* No token reaches across a space that stands behind certain bytes, so that what lies between two
 * of them can be encoded by itself. */
static size_t cut_at_spaces(const struct bpe_characters *characters, const unsigned char **cursor,
                            const unsigned char *end, const unsigned char **ends, size_t capacity)
{
    const unsigned char *p = *cursor;
    size_t count = 0;

    while (p < end && count < capacity) {
        const unsigned char *at = p + 1;

        for (;; at++) {
            at = at < end ? memchr(at, 0xE2, (size_t)(end - at)) : NULL;
            if (!at || !characters->cut_at_spaces) {
                at = end;
                break;
            }
            if (end - at >= 3 && at[1] == 0x96 && at[2] == 0x81 &&
                !characters->joined_to_space[at[-1]])
                break;
        }
        ends[count++] = at;
        p = at;
    }
    *cursor = p;
    return count;
}

llm_status bpe_encode_text(const struct bpe *bpe, const struct vocab *vocab,
                           struct scratch *scratch, const unsigned char *text, size_t size,
                           struct token_list *out)
{
    const unsigned char *cursor = text;
    const unsigned char *end = text + size;
    llm_status status = LLM_OK;

    while (cursor < end && !status) {
        const unsigned char *begin = cursor;
        size_t count =
            cut_at_spaces(bpe->characters, &cursor, end, scratch->word_ends, SCRATCH_ENDS);

        status = prepare_cache(scratch);
        if (!status)
            status = encode_batch(bpe, vocab, scratch, begin, count, end, out);
    }
    return status;
}
