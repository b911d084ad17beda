/* SPDX-License-Identifier: MIT */
#include "tokenizer/byte_trie.h"

#include "tokenizer/pipeline.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const unsigned char *bytes;
    uint32_t size;
    int32_t id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    size_t common = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->bytes, y->bytes, common);

    if (order)
        return order;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* ---- what tokens say --------------------------------------------------------------------------
 */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* <0x0A> where such tokens stand for bytes; -1: it is none. */
static int fallback_byte(const llm_tokenizer *tokenizer, const char *spelling, size_t size)
{
    int high;
    int low;

    if (size != 6 || memcmp(spelling, "<0x", 3) != 0 || spelling[5] != '>' ||
        !token_decoder_has(&tokenizer->decoder, "ByteFallback"))
        return -1;
    high = hex_digit(spelling[3]);
    low = hex_digit(spelling[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* An ordinary token, in front of which and behind which others can stand; -1: none. */
static int32_t find_ordinary(const llm_tokenizer *tokenizer)
{
    int32_t vocabulary = tokenizer_vocab_size(tokenizer);

    for (int32_t id = 0; id < vocabulary; id++) {
        size_t size = 0;
        const char *spelling;

        if (!tokenizer_has(tokenizer, id) || tokenizer_is_special(tokenizer, id))
            continue;
        spelling = tokenizer_token(tokenizer, id, &size);
        if (size == 1 && spelling[0] >= 'a' && spelling[0] <= 'z')
            return id;
    }
    return -1;
}

/* What `id` adds behind `ordinary`; `scratch` holds two texts in turn. */
static llm_status append_decoded(struct text *out, const llm_tokenizer *tokenizer, int32_t ordinary,
                                 int32_t id, struct text *scratch)
{
    const int32_t both[2] = {ordinary, id};
    size_t before;
    llm_status status;

    scratch->size = 0;
    status = tokenizer_decode(tokenizer, both, 1, 0, scratch);
    before = scratch->size;
    if (!status)
        status = tokenizer_decode(tokenizer, both, 2, 0, scratch);
    if (!status && scratch->size > 2 * before &&
        memcmp(scratch->data, scratch->data + before, before) == 0)
        text_append(out, scratch->data + 2 * before, scratch->size - 2 * before);
    return status;
}

static llm_status append_token(struct text *out, const llm_tokenizer *tokenizer, int32_t ordinary,
                               int32_t id, struct text *scratch)
{
    size_t size = 0;
    const char *spelling;
    int byte;

    if (!tokenizer_has(tokenizer, id) || tokenizer_is_special(tokenizer, id))
        return LLM_OK;
    spelling = tokenizer_token(tokenizer, id, &size);
    byte = fallback_byte(tokenizer, spelling, size);
    if (byte >= 0) {
        char one = (char)byte;

        text_append(out, &one, 1);
    } else if (tokenizer->plain_decoding || ordinary < 0) {
        text_append(out, spelling, size);
    } else {
        return append_decoded(out, tokenizer, ordinary, id, scratch);
    }
    return LLM_OK;
}

static bool read_tokens(struct byte_trie *trie, const llm_tokenizer *tokenizer)
{
    struct memory *memory = tokenizer_memory(tokenizer);
    int32_t vocabulary = tokenizer_vocab_size(tokenizer);
    int32_t ordinary = tokenizer->plain_decoding ? -1 : find_ordinary(tokenizer);
    struct text blob, scratch;
    llm_status status = LLM_OK;

    text_init(&blob, memory);
    text_init(&scratch, memory);
    trie->offsets = memory_alloc_zeroed(memory, (size_t)vocabulary + 1, sizeof *trie->offsets);
    for (int32_t id = 0; id < vocabulary && trie->offsets && !status; id++) {
        status = append_token(&blob, tokenizer, ordinary, id, &scratch);
        trie->offsets[id + 1] = blob.size;
    }
    text_append(&blob, "", 1); /* never NULL */
    text_free(&scratch);
    trie->blob = blob.data;
    return trie->offsets && !status && !blob.failed;
}

/* ---- the trie ---------------------------------------------------------------------------------
 */

static size_t collect(struct entry *entries, const struct byte_trie *trie, int32_t vocabulary)
{
    size_t count = 0;

    for (int32_t id = 0; id < vocabulary; id++) {
        size_t size;

        entries[count].bytes = (const unsigned char *)byte_trie_text(trie, id, &size);
        entries[count].size = (uint32_t)size;
        entries[count].id = id;
        count += size > 0;
    }
    return count;
}

static size_t common_prefix(const struct entry *a, const struct entry *b)
{
    size_t most = a->size < b->size ? a->size : b->size;
    size_t n = 0;

    while (n < most && a->bytes[n] == b->bytes[n])
        n++;
    return n;
}

static size_t count_nodes(const struct entry *entries, size_t count, uint32_t *longest)
{
    size_t nodes = 1;

    *longest = 0;
    for (size_t i = 0; i < count; i++) {
        nodes += entries[i].size - (i ? common_prefix(&entries[i - 1], &entries[i]) : 0);
        *longest = entries[i].size > *longest ? entries[i].size : *longest;
    }
    return nodes;
}

/* `open` [longest + 1]: the nodes on the way to the token before. */
static void lay_out(struct byte_trie *trie, const struct entry *entries, uint32_t *open)
{
    size_t count = 1;
    size_t depth = 0;

    trie->nodes[0] = (struct byte_trie_node){0};
    open[0] = 0;
    for (size_t i = 0; i < trie->id_count; i++) {
        size_t shared = i ? common_prefix(&entries[i - 1], &entries[i]) : 0;

        while (depth > shared)
            trie->nodes[open[depth--]].end = (uint32_t)count;
        while (depth < entries[i].size) {
            unsigned byte = entries[i].bytes[depth++];

            open[depth] = (uint32_t)count;
            trie->nodes[count++] = (struct byte_trie_node){
                .first = (uint32_t)i, .depth = (uint32_t)depth & 0xffffff, .byte = byte & 255};
        }
        trie->ids[i] = entries[i].id;
    }
    for (; depth > 0; depth--)
        trie->nodes[open[depth]].end = (uint32_t)count;
    trie->nodes[0].end = (uint32_t)count;
    trie->nodes[count] = (struct byte_trie_node){.first = (uint32_t)trie->id_count};
    trie->count = count;
}

void byte_trie_free(struct byte_trie *trie, struct memory *memory)
{
    if (!trie)
        return;
    memory_release(memory, trie->nodes);
    memory_release(memory, trie->ids);
    memory_release(memory, trie->blob);
    memory_release(memory, trie->offsets);
    memory_release(memory, trie);
}

static struct byte_trie *make(const llm_tokenizer *tokenizer)
{
    struct memory *memory = tokenizer_memory(tokenizer);
    size_t most = (size_t)tokenizer_vocab_size(tokenizer);
    struct entry *entries = memory_alloc_array(memory, most + 1, sizeof *entries);
    struct byte_trie *trie = memory_alloc_zeroed(memory, 1, sizeof *trie);
    uint32_t *open = NULL;
    bool is_made = false;

    if (!entries || !trie || !read_tokens(trie, tokenizer))
        goto done;
    trie->id_count = collect(entries, trie, (int32_t)most);
    qsort(entries, trie->id_count, sizeof *entries, by_bytes);
    trie->count = count_nodes(entries, trie->id_count, &trie->longest);
    trie->nodes = memory_alloc_array(memory, trie->count + 1, sizeof *trie->nodes);
    trie->ids = memory_alloc_array(memory, trie->id_count + 1, sizeof *trie->ids);
    open = memory_alloc_array(memory, (size_t)trie->longest + 1, sizeof *open);
    if (!trie->nodes || !trie->ids || !open)
        goto done;
    lay_out(trie, entries, open);
    is_made = true;
done:
    memory_release(memory, entries);
    memory_release(memory, open);
    if (!is_made) {
        byte_trie_free(trie, memory);
        return NULL;
    }
    return trie;
}

const struct byte_trie *tokenizer_byte_trie(const llm_tokenizer *tokenizer)
{
    llm_tokenizer *shared = (llm_tokenizer *)tokenizer;
    struct byte_trie *none = NULL;
    struct byte_trie *trie = atomic_load(&shared->byte_trie);

    if (trie)
        return trie;
    trie = make(tokenizer);
    if (trie && !atomic_compare_exchange_strong(&shared->byte_trie, &none, trie)) {
        byte_trie_free(trie, tokenizer_memory(tokenizer)); /* another thread was faster */
        trie = none;
    }
    return trie;
}
