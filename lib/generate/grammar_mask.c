/* SPDX-License-Identifier: MIT */
#include "generate/grammar.h"

#include <string.h>

static void allow(const llm_grammar *grammar, uint32_t *mask, uint32_t node)
{
    const struct byte_trie *trie = grammar->trie;

    for (uint32_t i = trie->nodes[node].first; i < trie->nodes[node + 1].first; i++)
        mask[(uint32_t)trie->ids[i] / 32] |= 1u << trie->ids[i] % 32;
}

static llm_status note_exit(llm_grammar *grammar, struct inner_mask *inner, uint32_t node)
{
    llm_status status =
        memory_grow(&grammar->context->memory, (void **)&inner->exits, &inner->exit_capacity,
                    inner->exit_count + 1, sizeof *inner->exits);

    if (status)
        return status;
    inner->exits[inner->exit_count++] = node;
    inner->behind += grammar->trie->nodes[node].end - node - 1;
    return LLM_OK;
}

/* So many nodes behind exits that it pays to look at more of the stack. */
static size_t most_behind(const llm_grammar *grammar)
{
    return grammar->trie->count / 32 + 256;
}

/* Sets the bits of the tokens below trie node `from`, where the automaton is in `set`. With `inner`
 * the places where the rule is left are noted. */
static llm_status walk(llm_grammar *grammar, int32_t set, uint32_t from, uint32_t *mask,
                       struct inner_mask *inner)
{
    const struct byte_trie_node *nodes = grammar->trie->nodes;
    uint32_t base = nodes[from].depth;
    uint32_t end = nodes[from].end;
    uint32_t at = from + 1;
    int32_t *path = grammar->path;

    path[0] = set;
    while (at < end) {
        uint32_t depth = nodes[at].depth - base;
        int32_t next = run_step(grammar, path[depth - 1], (uint8_t)nodes[at].byte);

        if (next < 0)
            return next;
        if (next == 0) {
            at = nodes[at].end;
            continue;
        }
        allow(grammar, mask, at);
        if (inner && grammar->sets[next].has_left && nodes[at].end > at + 1) {
            llm_status status = note_exit(grammar, inner, at);

            if (status || inner->behind > most_behind(grammar))
                return status;
        }
        path[depth] = next;
        at++;
    }
    return LLM_OK;
}

void masks_forget(llm_grammar *grammar)
{
    struct memory *memory = &grammar->context->memory;

    for (size_t i = 0; i < grammar->inner_count; i++) {
        memory_release(memory, grammar->inner[i].mask);
        memory_release(memory, grammar->inner[i].exits);
    }
    for (size_t i = 0; i < GRAMMAR_RECENT; i++) {
        memory_release(memory, grammar->recent[i].mask);
        grammar->recent[i] = (struct recent_mask){-1, NULL};
    }
    for (size_t i = 0; i < grammar->set_count; i++)
        grammar->sets[i].inner = -1;
    grammar->inner_count = 0;
    grammar->inner_bytes = 0;
}

static llm_status make_inner(llm_grammar *grammar, int32_t set)
{
    struct memory *memory = &grammar->context->memory;
    struct inner_mask inner = {NULL, NULL, 0, 0, 0};
    llm_status status = memory_grow(memory, (void **)&grammar->inner, &grammar->inner_capacity,
                                    grammar->inner_count + 1, sizeof *grammar->inner);

    if (status)
        return status;
    inner.mask = memory_alloc_zeroed(memory, grammar->words + 1, sizeof *inner.mask);
    if (!inner.mask)
        return LLM_E_NOMEM;
    status = walk(grammar, set, 0, inner.mask, &inner);
    if (status || inner.behind > most_behind(grammar)) {
        memory_release(memory, inner.mask);
        memory_release(memory, inner.exits);
        inner = (struct inner_mask){NULL, NULL, 0, 0, 0};
    }
    if (status)
        return status;
    grammar->inner_bytes += sizeof inner + inner.exit_capacity * sizeof *inner.exits +
                            (inner.mask ? grammar->words * sizeof *inner.mask : 0);
    grammar->sets[set].inner = (int32_t)grammar->inner_count;
    grammar->inner[grammar->inner_count++] = inner;
    return LLM_OK;
}

/* What is known about the lowest top of the stack that few tokens leave; NULL in *out: there is
 * none, the whole stack has to be looked at. */
static llm_status find_inner(const struct inner_mask **out, llm_grammar *grammar, size_t first,
                             size_t count, int32_t *below)
{
    llm_status status = LLM_OK;

    *out = NULL;
    for (int height = 0; height <= GRAMMAR_MOST_TOP && !status; height++) {
        int32_t set = run_on_hole(grammar, first, count, height, below);

        if (set < 0)
            return set;
        if (grammar->sets[set].inner < 0)
            status = make_inner(grammar, set);
        if (status)
            return status;
        *out = &grammar->inner[grammar->sets[set].inner];
        if ((*out)->mask)
            return LLM_OK;
        *out = NULL;
        if (*below == FRAME_BOTTOM)
            break;
    }
    return status;
}

/* The tokens that may follow places that share a frame. */
static llm_status add_group(llm_grammar *grammar, uint32_t *mask, int32_t whole, size_t first,
                            size_t count)
{
    const struct inner_mask *inner;
    int32_t below;
    int32_t after;
    llm_status status = find_inner(&inner, grammar, first, count, &below);

    if (status)
        return status;
    if (!inner)
        return walk(grammar, whole, 0, mask, NULL);
    for (size_t i = 0; i < grammar->words; i++)
        mask[i] |= inner->mask[i];
    if (below == FRAME_BOTTOM || !inner->exit_count)
        return LLM_OK;
    after = run_return(grammar, below);
    if (after < 0)
        return after;
    for (size_t i = 0; i < inner->exit_count && !status; i++)
        status = walk(grammar, after, inner->exits[i], mask, NULL);
    return status;
}

static llm_status make_mask(llm_grammar *grammar, uint32_t *mask, int32_t set)
{
    size_t first = grammar->sets[set].first;
    size_t end = first + grammar->sets[set].count;
    llm_status status = LLM_OK;

    memset(mask, 0, grammar->words * sizeof *mask);
    while (first < end && !status) {
        size_t next = first;

        while (next < end && grammar->places[next].frame == grammar->places[first].frame)
            next++;
        status = add_group(grammar, mask, set, first, next - first);
        first = next;
    }
    return status;
}

llm_status mask_of(const uint32_t **out, llm_grammar *grammar, int32_t set)
{
    struct recent_mask *recent;
    llm_status status;

    for (size_t i = 0; i < GRAMMAR_RECENT; i++) {
        if (grammar->recent[i].set == set) {
            *out = grammar->recent[i].mask;
            return LLM_OK;
        }
    }
    if (grammar->inner_bytes > GRAMMAR_KEPT_MASKS)
        masks_forget(grammar);
    recent = &grammar->recent[grammar->next_recent];
    grammar->next_recent = (grammar->next_recent + 1) % GRAMMAR_RECENT;
    recent->set = -1;
    if (!recent->mask)
        recent->mask =
            memory_alloc_array(&grammar->context->memory, grammar->words + 1, sizeof *recent->mask);
    if (!recent->mask)
        return LLM_E_NOMEM;
    status = make_mask(grammar, recent->mask, set);
    if (status)
        return status;
    recent->set = set;
    *out = recent->mask;
    return LLM_OK;
}
