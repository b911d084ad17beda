/* SPDX-License-Identifier: MIT
 *
 * From the merges of a file to symbols, the table of pairs and the trie. A merge is left out when
 * it can never fire: some lower merge breaks up its halves, or makes the same token first. Files
 * made from tiktoken ranks list every split of every token; one of them is alive.
 */
#include "tokenizer/bpe.h"
#include "tokenizer/unicode.h"

#include <string.h>

static llm_status place_pair(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t rank)
{
    uint64_t key = (uint64_t)left << 21 | right;
    size_t slot;

    if ((bpe->pair_count + 1) * 2 > bpe->pair_slots) {
        size_t count = bpe->pair_slots ? bpe->pair_slots * 2 : 1024;
        uint64_t *pairs = memory_alloc_zeroed(bpe->memory, count, sizeof *pairs);

        if (!pairs)
            return LLM_E_NOMEM;
        for (size_t i = 0; i < bpe->pair_slots; i++) {
            if (!bpe->pairs[i])
                continue;
            slot = bpe_pair_slot(bpe->pairs[i] >> 21, count - 1);
            while (pairs[slot])
                slot = (slot + 1) & (count - 1);
            pairs[slot] = bpe->pairs[i];
        }
        memory_release(bpe->memory, bpe->pairs);
        bpe->pairs = pairs;
        bpe->pair_slots = count;
    }
    slot = bpe_pair_slot(key, bpe->pair_slots - 1);
    while (bpe->pairs[slot] && bpe->pairs[slot] >> 21 != key)
        slot = (slot + 1) & (bpe->pair_slots - 1);
    if (!bpe->pairs[slot])
        bpe->pair_count++;
    /* A pair listed twice has the rank of its last mention, as in Hugging Face tokenizers. Ranks
     * are never 0, so no slot in use is 0. */
    bpe->pairs[slot] = key << 21 | rank;
    if (left < 256 && right < 256)
        bpe->byte_pairs[left << 8 | right] = rank;
    return LLM_OK;
}

/* Undo the merges of both sides, latest first, and see whether at some time the two neighbours
 * across the border would have merged. `limit`: merges below it were already done at that time. */
bool bpe_may_follow(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint32_t limit = bpe_none;

    for (;;) {
        uint32_t rank = bpe_pair(bpe, left, right);

        if (rank != bpe_none && rank < limit)
            return false;
        if (left > right) {
            if (left < bpe->alphabet)
                return true;
            limit = left;
            left = bpe->symbols[left].right;
        } else {
            if (right < bpe->alphabet)
                return true;
            limit = right + 1;
            right = bpe->symbols[right].left;
        }
    }
}

static llm_status add_symbol(struct bpe *bpe, struct bpe_symbol symbol)
{
    llm_status status;

    if (bpe->symbol_count >= BPE_MAX_SYMBOLS)
        return status_set(LLM_E_RANGE, "more than %d merges", BPE_MAX_SYMBOLS);
    status = memory_grow(bpe->memory, (void **)&bpe->symbols, &bpe->symbols_capacity,
                         (size_t)bpe->symbol_count + 1, sizeof *bpe->symbols);
    if (!status)
        bpe->symbols[bpe->symbol_count++] = symbol;
    return status;
}

/* The token that is the character of `key`; its value is the symbol. */
static llm_status add_character(struct bpe *bpe, const struct vocab *vocab,
                                const struct double_array_key *key, uint32_t *symbol_of)
{
    int32_t id = vocab_find(vocab, (const char *)key->bytes, key->size);

    symbol_of[id] = (uint32_t)key->value;
    return add_symbol(bpe, (struct bpe_symbol){(uint32_t)key->value, (uint32_t)key->value,
                                               (uint32_t)key->size, bpe_none, id});
}

static size_t count_characters(const unsigned char *bytes, size_t size)
{
    size_t count = 0;
    uint32_t c;

    for (size_t at = 0; at < size; count++)
        at += unicode_next(bytes + at, bytes + size, &c);
    return count;
}

/* All tokens of one character, in the order of ids; where characters are spelled with more, all
 * tokens that are no longer. The index is the same each time. */
static llm_status start_characters(struct bpe *bpe, const struct vocab *vocab, uint32_t *symbol_of)
{
    const struct bpe_characters *characters = bpe->characters;
    size_t most =
        1 + count_characters((const unsigned char *)characters->prefix, characters->prefix_size) +
        count_characters((const unsigned char *)characters->suffix, characters->suffix_size);
    struct double_array_key *keys = memory_alloc_array(bpe->memory, vocab->size, sizeof *keys);
    size_t count = 0;
    llm_status status = keys ? LLM_OK : LLM_E_NOMEM;

    for (size_t i = 0; i < vocab->size && !status; i++) {
        const unsigned char *bytes = (const unsigned char *)vocab_bytes(vocab, (int32_t)i);
        size_t size = vocab->entries[i].size;

        if (!(vocab->flags[i] & VOCAB_MODEL) || size == 0 || size > 4 * most ||
            count_characters(bytes, size) > most ||
            vocab_find(vocab, (const char *)bytes, size) != (int32_t)i)
            continue;
        keys[count] = (struct double_array_key){bytes, size, (int32_t)count};
        status = add_character(bpe, vocab, &keys[count++], symbol_of);
    }
    if (!status && !characters->index.units)
        status = double_array_build(&bpe->characters->index, bpe->memory, keys, count);
    memory_release(bpe->memory, keys);
    bpe->alphabet = bpe->symbol_count;
    return status;
}

/* The alphabet; symbol_of[id] = symbol for those that have a token. */
static llm_status start(struct bpe *bpe, const struct vocab *vocab, uint32_t *symbol_of)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < vocab->size; i++)
        symbol_of[i] = bpe_none;
    if (bpe->characters)
        return start_characters(bpe, vocab, symbol_of);
    bpe->alphabet = 256;
    for (uint32_t i = 0; i < 256 && !status; i++) {
        char byte = (char)i;
        int32_t id = vocab_find(vocab, &byte, 1);

        if (id >= 0 && (!(vocab->flags[id] & VOCAB_MODEL) || (vocab->flags[id] & VOCAB_LITERAL)))
            id = -1;
        if (id >= 0)
            symbol_of[id] = i;
        status = add_symbol(bpe, (struct bpe_symbol){i, i, 1, bpe_none, id});
    }
    return status;
}

/* The merges that can fire, if their order is proper; bpe->proper tells. */
static llm_status add_proper(struct bpe *bpe, const struct vocab *vocab, uint32_t *symbol_of)
{
    size_t waiting = 0; /* merges whose halves did not exist yet */
    llm_status status = LLM_OK;

    bpe->proper = true;
    for (size_t i = 0; i < bpe->rule_count && bpe->proper && !status; i++) {
        const struct bpe_rule *rule = &bpe->rules[i];
        uint32_t left = symbol_of[rule->left];
        uint32_t right = symbol_of[rule->right];

        if (left == bpe_none || right == bpe_none) {
            waiting++;
            continue;
        }
        if (bpe_pair(bpe, left, right) != bpe_none)
            bpe->proper = false;
        if (symbol_of[rule->result] != bpe_none || !bpe_may_follow(bpe, left, right))
            continue;
        symbol_of[rule->result] = bpe->symbol_count;
        status = place_pair(bpe, left, right, bpe->symbol_count);
        if (!status)
            status =
                add_symbol(bpe, (struct bpe_symbol){left, right, vocab->entries[rule->result].size,
                                                    bpe_none, rule->result});
    }
    /* A merge whose halves came to be after it would fire late and break the order, unless its
     * halves never stand side by side. If its token is made some other way, they don't: a text has
     * one encoding, and its last merge is that other one. */
    for (size_t i = 0; waiting > 0 && i < bpe->rule_count && !status; i++) {
        uint32_t left = symbol_of[bpe->rules[i].left];
        uint32_t right = symbol_of[bpe->rules[i].right];

        if (left != bpe_none && right != bpe_none && symbol_of[bpe->rules[i].result] == bpe_none &&
            bpe_may_follow(bpe, left, right))
            bpe->proper = false;
    }
    return status;
}

/* Every merge with its own rank, symbols in any order. */
static llm_status add_all(struct bpe *bpe, const struct vocab *vocab, uint32_t *symbol_of)
{
    llm_status status = LLM_OK;

    if (bpe->rule_count > BPE_MAX_SYMBOLS - 1)
        return status_set(LLM_E_RANGE, "more than %d merges", BPE_MAX_SYMBOLS - 1);
    bpe->made = memory_alloc_array(bpe->memory, bpe->rule_count + 1, sizeof *bpe->made);
    if (!bpe->made)
        return LLM_E_NOMEM;
    memset(bpe->pairs, 0, bpe->pair_slots * sizeof *bpe->pairs);
    memset(bpe->byte_pairs, 0xFF, 65536 * sizeof *bpe->byte_pairs);
    bpe->pair_count = 0;
    bpe->symbol_count = 0;
    status = start(bpe, vocab, symbol_of);
    for (size_t i = 0; i < bpe->rule_count && !status; i++) {
        const struct bpe_rule *rule = &bpe->rules[i];
        int32_t ids[3] = {rule->left, rule->right, rule->result};

        for (int j = 0; j < 3 && !status; j++) {
            if (symbol_of[ids[j]] != bpe_none)
                continue;
            symbol_of[ids[j]] = bpe->symbol_count;
            status =
                add_symbol(bpe, (struct bpe_symbol){bpe_none, bpe_none, vocab->entries[ids[j]].size,
                                                    bpe_none, ids[j]});
        }
        bpe->made[i + 1] = symbol_of[rule->result];
        if (!status)
            status =
                place_pair(bpe, symbol_of[rule->left], symbol_of[rule->right], (uint32_t)i + 1);
    }
    return status;
}

/* The trie of all symbols, and each symbol's longest proper prefix. */
static llm_status make_trie(struct bpe *bpe, const struct vocab *vocab)
{
    llm_status status = LLM_OK;

    for (uint32_t i = 0; i < bpe->symbol_count && !status; i++) {
        char byte = (char)i;

        status = i < 256 && !bpe->characters
                     ? trie_put(&bpe->trie, &byte, 1, i)
                     : trie_put(&bpe->trie, vocab_bytes(vocab, bpe->symbols[i].id),
                                bpe->symbols[i].size, i);
    }
    for (uint32_t i = bpe->alphabet; i < bpe->symbol_count && !status; i++) {
        const char *bytes = vocab_bytes(vocab, bpe->symbols[i].id);
        size_t found;

        bpe->symbols[i].shorter =
            trie_longest(&bpe->trie, (const unsigned char *)bytes,
                         (const unsigned char *)bytes + bpe->symbols[i].size - 1, &found);
    }
    return status;
}

/* Where a word may end before a space: behind bytes that no token has in front of one. */
static void find_joined(struct bpe_characters *characters, const struct vocab *vocab)
{
    memset(characters->bytes, 0xFF, sizeof characters->bytes);
    characters->cut_at_spaces = characters->prefix_size == 0 && characters->suffix_size == 0 &&
                                vocab_find(vocab, "\xE2\x96\x81", 3) >= 0;
    for (size_t i = 0; i < vocab->size; i++) {
        const char *bytes = vocab_bytes(vocab, (int32_t)i);

        for (size_t at = 1; vocab->flags[i] && at + 3 <= vocab->entries[i].size; at++) {
            if (memcmp(bytes + at, "\xE2\x96\x81", 3) == 0)
                characters->joined_to_space[(unsigned char)bytes[at - 1]] = true;
        }
    }
}

static llm_status make_symbols(struct bpe *bpe, const struct vocab *vocab)
{
    bool decorated =
        bpe->characters && (bpe->characters->prefix_size > 0 || bpe->characters->suffix_size > 0);
    uint32_t *symbol_of = memory_alloc_array(bpe->memory, vocab->size + 1, sizeof *symbol_of);
    llm_status status = LLM_E_NOMEM;

    bpe->byte_pairs = memory_alloc_array(bpe->memory, 65536, sizeof *bpe->byte_pairs);
    bpe->pairs = memory_alloc_zeroed(bpe->memory, 1024, sizeof *bpe->pairs);
    if (!symbol_of || !bpe->byte_pairs || !bpe->pairs)
        goto done;
    bpe->pair_slots = 1024;
    memset(bpe->byte_pairs, 0xFF, 65536 * sizeof *bpe->byte_pairs);
    status = start(bpe, vocab, symbol_of);
    if (!status && !decorated)
        status = add_proper(bpe, vocab, symbol_of);
    if (!status && !bpe->proper)
        status = add_all(bpe, vocab, symbol_of);
    if (!status && bpe->proper)
        status = make_trie(bpe, vocab);
done:
    memory_release(bpe->memory, symbol_of);
    return status;
}

static struct bpe *new_bpe(struct memory *memory, struct bpe_rule *rules, size_t rule_count)
{
    struct bpe *bpe = memory_alloc_zeroed(memory, 1, sizeof *bpe);

    if (!bpe) {
        memory_release(memory, rules);
        return NULL;
    }
    bpe->memory = memory;
    bpe->rules = rules;
    bpe->rule_count = rule_count;
    bpe->unknown = -1;
    trie_init(&bpe->trie, memory);
    return bpe;
}

llm_status bpe_build(struct bpe **out, llm_tokenizer *tokenizer, struct bpe_rule *rules,
                     size_t rule_count)
{
    struct bpe *bpe = new_bpe(&tokenizer->context->memory, rules, rule_count);
    llm_status status = bpe ? make_symbols(bpe, &tokenizer->vocab) : LLM_E_NOMEM;

    if (status)
        bpe_free(bpe);
    else
        *out = bpe;
    return status;
}

llm_status bpe_build_characters(struct bpe **out, llm_tokenizer *tokenizer, struct bpe_rule *rules,
                                size_t rule_count, const char *prefix, const char *suffix)
{
    struct memory *memory = &tokenizer->context->memory;
    struct bpe *bpe = new_bpe(memory, rules, rule_count);
    struct bpe_characters *characters;
    llm_status status = LLM_E_NOMEM;

    if (!bpe)
        return LLM_E_NOMEM;
    characters = bpe->characters = memory_alloc_zeroed(memory, 1, sizeof *bpe->characters);
    if (!characters)
        goto done;
    characters->prefix_size = prefix ? strlen(prefix) : 0;
    characters->suffix_size = suffix ? strlen(suffix) : 0;
    characters->prefix = memory_copy_text(memory, prefix ? prefix : "", characters->prefix_size);
    characters->suffix = memory_copy_text(memory, suffix ? suffix : "", characters->suffix_size);
    if (!characters->prefix || !characters->suffix)
        goto done;
    status = make_symbols(bpe, &tokenizer->vocab);
    if (!status)
        find_joined(characters, &tokenizer->vocab);
done:
    if (status)
        bpe_free(bpe);
    else
        *out = bpe;
    return status;
}

void bpe_free(struct bpe *bpe)
{
    if (!bpe)
        return;
    memory_release(bpe->memory, bpe->symbols);
    memory_release(bpe->memory, bpe->pairs);
    memory_release(bpe->memory, bpe->byte_pairs);
    memory_release(bpe->memory, bpe->made);
    memory_release(bpe->memory, bpe->rules);
    trie_free(&bpe->trie);
    word_index_free(&bpe->whole);
    if (bpe->characters) {
        double_array_close(&bpe->characters->index);
        memory_release(bpe->memory, bpe->characters->prefix);
        memory_release(bpe->memory, bpe->characters->suffix);
    }
    memory_release(bpe->memory, bpe->characters);
    memory_release(bpe->memory, bpe);
}

static bool is_whole(const struct vocab *vocab, size_t id)
{
    return vocab_find(vocab, vocab_bytes(vocab, (int32_t)id), vocab->entries[id].size) ==
           (int32_t)id;
}

llm_status bpe_mark_whole(struct bpe *bpe, struct vocab *vocab)
{
    llm_status status = word_index_init(&bpe->whole, bpe->memory, vocab->size);

    if (status)
        return status;
    for (size_t i = 0; i < vocab->size && bpe->ignore_merges; i++) {
        if ((vocab->flags[i] & VOCAB_MODEL) && !(vocab->flags[i] & VOCAB_LITERAL))
            vocab->flags[i] |= VOCAB_WHOLE;
    }
    for (uint32_t i = 0; i < bpe->symbol_count && bpe->proper && !bpe->ignore_merges; i++) {
        if (bpe->symbols[i].id >= 0 && bpe->symbols[i].id != bpe->unknown)
            vocab->flags[bpe->symbols[i].id] |= VOCAB_WHOLE;
    }
    for (size_t i = 0; i < vocab->size; i++) {
        const unsigned char *bytes = (const unsigned char *)vocab_bytes(vocab, (int32_t)i);
        size_t size = vocab->entries[i].size;

        if ((vocab->flags[i] & VOCAB_WHOLE) && size > 0 && size <= WORD_KEY_MAX &&
            is_whole(vocab, i))
            word_index_put(&bpe->whole, word_key_load(bytes, size, bytes + 16), (int32_t)i);
    }
    return LLM_OK;
}
