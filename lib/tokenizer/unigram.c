/* SPDX-License-Identifier: MIT */
#include "tokenizer/unigram.h"

#include "tokenizer/unicode.h"
#include "tokenizer/word_key.h"

#include <string.h>

/* The best way to a position. */
struct node {
    double score;
    uint32_t back; /* bytes of the last piece; 0: no way yet */
    int32_t id;
};

enum {
    UNKNOWN = -1,
    FLUSH = 4096,     /* bytes that are worth putting out early */
    NODES_AHEAD = 512 /* made ready at once */
};

llm_status unigram_build(struct unigram **out, struct memory *memory,
                         const struct unigram_piece *pieces, size_t count, size_t vocab_size)
{
    struct unigram *unigram = memory_alloc_zeroed(memory, 1, sizeof *unigram);
    struct double_array_key *keys = memory_alloc_array(memory, count, sizeof *keys);
    size_t used = 0;
    llm_status status = LLM_E_NOMEM;

    if (unigram)
        unigram->memory = memory;
    if (!unigram || !keys)
        goto done;
    unigram->unknown = -1;
    unigram->longest = 4;
    memset(unigram->bytes, 0xFF, sizeof unigram->bytes);
    unigram->scores = memory_alloc_zeroed(memory, vocab_size, sizeof *unigram->scores);
    if (!unigram->scores)
        goto done;
    for (size_t i = 0; i < count; i++) {
        unigram->scores[pieces[i].id] = pieces[i].score;
        if (pieces[i].size > 0)
            keys[used++] = (struct double_array_key){(const unsigned char *)pieces[i].bytes,
                                                     pieces[i].size, pieces[i].id};
        if (pieces[i].size > unigram->longest)
            unigram->longest = pieces[i].size;
    }
    status = double_array_build(&unigram->trie, memory, keys, used);
done:
    memory_release(memory, keys);
    if (status)
        unigram_free(unigram);
    else
        *out = unigram;
    return status;
}

void unigram_free(struct unigram *unigram)
{
    if (!unigram)
        return;
    double_array_close(&unigram->trie);
    memory_release(unigram->memory, unigram->scores);
    memory_release(unigram->memory, unigram->written);
    memory_release(unigram->memory, unigram);
}

static double add(const struct unigram *unigram, double score, double sum)
{
    return unigram->single ? (double)(float)(score + sum) : score + sum;
}

static void improve(struct node *node, double score, size_t back, int32_t id)
{
    if (node->back != 0 && score <= node->score)
        return;
    node->score = score;
    node->back = (uint32_t)back;
    node->id = id;
}

/* Walk the pieces that start at p; how far the longest reaches. */
static size_t extend(const struct unigram *unigram, const unsigned char *p, size_t size,
                     size_t character, struct node *nodes)
{
    const struct double_array *trie = &unigram->trie;
    double sum = nodes[0].score;
    bool covered = false;
    size_t longest = character;
    uint32_t at = 0;

    for (size_t i = 0; i < size; i++) {
        int32_t id;

        at = double_array_child(trie, at, p[i]);
        if (at == 0)
            break;
        id = trie->units[at].value;
        if (id < 0)
            continue;
        improve(&nodes[i + 1], add(unigram, unigram->scores[id], sum), i + 1, id);
        covered = covered || i + 1 == character;
        if (i + 1 > longest)
            longest = i + 1;
    }
    if (!covered)
        improve(&nodes[character], add(unigram, unigram->unknown_score, sum), character, UNKNOWN);
    return longest;
}

static bool has_bytes(const struct unigram *unigram, const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (unigram->bytes[p[i]] < 0)
            return false;
    }
    return unigram->byte_fallback;
}

/* Characters [begin, end) of the text that no piece covers. */
static llm_status put_unknown(const struct unigram *unigram, const unsigned char *text,
                              size_t begin, size_t end, size_t base, struct piece_sink *sink)
{
    llm_status status = LLM_OK;

    if (has_bytes(unigram, text + begin, end - begin)) {
        for (size_t i = begin; i < end && !status; i++)
            status = piece_sink_put(sink, unigram->bytes[text[i]], base + i + 1);
        return status;
    }
    if (unigram->unknown < 0)
        return status_set(LLM_E_RANGE,
                          "no piece covers the byte 0x%02X and there is no unknown token",
                          text[begin]);
    return piece_sink_put(sink, unigram->unknown, base + end);
}

/* Turn the best way to nodes[size] round: then nodes[at] tells the piece that begins at `at`. */
static void reverse_path(struct node *nodes, size_t size)
{
    uint32_t step = nodes[size].back;
    int32_t id = nodes[size].id;

    for (size_t at = size; at > 0;) {
        struct node saved;

        at -= step;
        saved = nodes[at];
        nodes[at].back = step;
        nodes[at].id = id;
        step = saved.back;
        id = saved.id;
    }
}

/* Put the pieces of the best way through text[0, size); `base` is where it stands in the whole. */
static llm_status put_path(const struct unigram *unigram, const unsigned char *text, size_t size,
                           struct node *nodes, size_t base, struct piece_sink *sink)
{
    llm_status status = LLM_OK;

    reverse_path(nodes, size);
    for (size_t at = 0; at < size && !status;) {
        size_t end = at + nodes[at].back;

        if (nodes[at].id != UNKNOWN) {
            status = piece_sink_put(sink, nodes[at].id, base + end);
        } else {
            while (unigram->fuse && end < size && nodes[end].id == UNKNOWN)
                end += nodes[end].back;
            status = put_unknown(unigram, text, at, end, base, sink);
        }
        at = end;
    }
    return status;
}

/* A table of nodes for text[begin..]; `clean` of them are ready. */
struct table {
    struct node *nodes;
    size_t clean;
};

static llm_status make_nodes(struct scratch *scratch, struct table *table, size_t count)
{
    llm_status status;

    if (count <= table->clean)
        return LLM_OK;
    count += NODES_AHEAD;
    status = memory_grow(scratch->memory, &scratch->work[0], &scratch->work_capacity[0], count,
                         sizeof *table->nodes);
    if (status)
        return status;
    table->nodes = scratch->work[0];
    memset(table->nodes + table->clean, 0, (count - table->clean) * sizeof *table->nodes);
    table->clean = count;
    return LLM_OK;
}

/* A place that no piece reaches across is on every way: what stands before it is put out there, so
 * that the table stays about as short as the longest stretch between two such places. */
llm_status unigram_encode(const struct unigram *unigram, struct scratch *scratch,
                          const unsigned char *text, size_t size, struct piece_sink *sink)
{
    struct table table = {NULL, 0};
    size_t begin = 0; /* everything before was put out */
    size_t reach = 0; /* how far the pieces reach that begin before `at` */
    llm_status status = make_nodes(scratch, &table, unigram->longest + 1);

    for (size_t at = 0; at < size && !status;) {
        uint32_t c;
        size_t character = unicode_next(text + at, text + size, &c);
        size_t length;

        if (at == reach && at - begin >= FLUSH && table.nodes[at - begin].id != UNKNOWN) {
            double sum = table.nodes[at - begin].score;

            status = put_path(unigram, text + begin, at - begin, table.nodes, begin, sink);
            table.clean = 0;
            begin = at;
            if (!status)
                status = make_nodes(scratch, &table, unigram->longest + 1);
            if (status)
                break;
            table.nodes[0].score = sum;
        }
        status = make_nodes(scratch, &table, at - begin + unigram->longest + 1);
        if (status)
            break;
        length = extend(unigram, text + at, size - at, character, &table.nodes[at - begin]);
        if (at + length > reach)
            reach = at + length;
        at += character;
    }
    if (!status && size > begin)
        status = put_path(unigram, text + begin, size - begin, table.nodes, begin, sink);
    return status;
}

/* ---- the cache ---- */

enum { CACHE_BITS = 13, CACHE_IDS = 3 };

struct cache_entry {
    struct word_key key;
    int32_t ids[CACHE_IDS];
    uint32_t count;
};

llm_status unigram_encode_cached(const struct unigram *unigram, struct scratch *scratch,
                                 const unsigned char *word, size_t size, struct piece_sink *sink)
{
    struct token_list *out = sink->out;
    struct word_key key = word_key_load(word, size, word + size);
    struct cache_entry *entry;
    size_t before = out->count;
    llm_status status;

    if (size > WORD_KEY_MAX || sink->ends)
        return unigram_encode(unigram, scratch, word, size, sink);
    if (!scratch->cache)
        scratch->cache =
            memory_alloc_zeroed(scratch->memory, (size_t)1 << CACHE_BITS, sizeof *entry);
    if (!scratch->cache)
        return LLM_E_NOMEM;
    entry = (struct cache_entry *)scratch->cache + (word_key_hash(key) >> (64 - CACHE_BITS));
    if (word_key_equal(entry->key, key)) {
        status = token_list_reserve(out, CACHE_IDS);
        if (status)
            return status;
        memcpy(out->ids + before, entry->ids, sizeof entry->ids);
        out->count += entry->count;
        return LLM_OK;
    }
    status = unigram_encode(unigram, scratch, word, size, sink);
    if (!status && out->count - before <= CACHE_IDS) {
        entry->key = key;
        entry->count = (uint32_t)(out->count - before);
        memcpy(entry->ids, out->ids + before, entry->count * sizeof *entry->ids);
    }
    return status;
}
