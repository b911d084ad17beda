/* SPDX-License-Identifier: MIT
 *
 * Lifetime of grammars and matchers.
 */
#include "generate/grammar.h"

#include <string.h>

/* ---- grammars ---------------------------------------------------------------------------------
 */

static llm_status compile(llm_grammar *grammar, grammar_reader read, const char *text, size_t size)
{
    struct builder builder;
    llm_status status;

    if (size > GRAMMAR_MOST_TEXT)
        return status_set(LLM_E_RANGE, "a grammar of %zu bytes, at most %d", size,
                          GRAMMAR_MOST_TEXT);
    builder_open(&builder, &grammar->context->memory);
    read(&builder, text, size);
    status = automaton_finish(&builder);
    if (!status) {
        grammar->automaton = builder.automaton;
        grammar->names = builder.arena;
        memset(&builder.automaton, 0, sizeof builder.automaton);
        arena_init(&builder.arena, builder.memory);
    }
    builder_close(&builder);
    return status;
}

static llm_status prepare(llm_grammar *grammar)
{
    size_t vocabulary = (size_t)tokenizer_vocab_size(grammar->tokenizer);

    grammar->trie = tokenizer_byte_trie(grammar->tokenizer);
    if (!grammar->trie)
        return LLM_E_NOMEM;
    grammar->words = (vocabulary + 31) / 32;
    grammar->path = memory_alloc_array(&grammar->context->memory,
                                       (size_t)grammar->trie->longest + 1, sizeof *grammar->path);
    return grammar->path ? run_init(grammar) : LLM_E_NOMEM;
}

llm_status grammar_new(llm_grammar **out, llm_tokenizer *tokenizer, grammar_reader read,
                       const char *text, size_t size)
{
    struct memory *memory = tokenizer_memory(tokenizer);
    llm_grammar *grammar = memory_alloc_zeroed(memory, 1, sizeof *grammar);
    llm_status status;

    *out = NULL;
    if (!grammar)
        return LLM_E_NOMEM;
    if (pthread_mutex_init(&grammar->lock, NULL)) {
        memory_release(memory, grammar);
        return status_set(LLM_E_NOMEM, "grammar: no mutex");
    }
    atomic_init(&grammar->references, 1);
    grammar->tokenizer = tokenizer_retain(tokenizer);
    grammar->context = context_retain(tokenizer_context(tokenizer));
    grammar->matchers.previous = grammar->matchers.next = &grammar->matchers;
    arena_init(&grammar->names, memory);
    status = compile(grammar, read, text, size);
    if (!status)
        status = prepare(grammar);
    if (status)
        grammar_release(grammar);
    else
        *out = grammar;
    return status;
}

llm_grammar *grammar_retain(const llm_grammar *grammar)
{
    llm_grammar *shared = (llm_grammar *)grammar;

    atomic_fetch_add(&shared->references, 1);
    return shared;
}

void grammar_release(llm_grammar *grammar)
{
    llm_context *context;

    if (!grammar || atomic_fetch_sub(&grammar->references, 1) != 1)
        return;
    context = grammar->context;
    run_free(grammar);
    memory_release(&context->memory, grammar->automaton.nodes);
    memory_release(&context->memory, grammar->automaton.rules);
    arena_free(&grammar->names);
    (void)pthread_mutex_destroy(&grammar->lock);
    tokenizer_release(grammar->tokenizer);
    memory_release(&context->memory, grammar);
    context_release(context);
}

llm_status grammar_match(int32_t *match_out, llm_grammar *grammar, const char *text, size_t size)
{
    int32_t set;
    llm_status status;

    pthread_mutex_lock(&grammar->lock);
    status = run_collect(grammar);
    set = grammar->start;
    for (size_t i = 0; i < size && !status && set > 0; i++) {
        set = run_step(grammar, set, (uint8_t)text[i]);
        status = set < 0 ? set : LLM_OK;
    }
    if (!status)
        *match_out = set == 0                         ? LLM_MATCH_NONE
                     : grammar->sets[set].is_complete ? LLM_MATCH_COMPLETE
                                                      : LLM_MATCH_PARTIAL;
    pthread_mutex_unlock(&grammar->lock);
    return status;
}

/* ---- matchers ---------------------------------------------------------------------------------
 */

llm_status matcher_open(struct grammar_matcher *matcher, const llm_grammar *grammar)
{
    llm_grammar *shared = grammar_retain(grammar);

    matcher->grammar = shared;
    pthread_mutex_lock(&shared->lock);
    matcher->set = shared->start;
    matcher->previous = &shared->matchers;
    matcher->next = shared->matchers.next;
    matcher->next->previous = matcher;
    shared->matchers.next = matcher;
    pthread_mutex_unlock(&shared->lock);
    return LLM_OK;
}

void matcher_close(struct grammar_matcher *matcher)
{
    llm_grammar *grammar = matcher->grammar;

    if (!grammar)
        return;
    pthread_mutex_lock(&grammar->lock);
    matcher->previous->next = matcher->next;
    matcher->next->previous = matcher->previous;
    pthread_mutex_unlock(&grammar->lock);
    grammar_release(grammar);
    memset(matcher, 0, sizeof *matcher);
}

void matcher_reset(struct grammar_matcher *matcher)
{
    pthread_mutex_lock(&matcher->grammar->lock);
    matcher->set = matcher->grammar->start;
    pthread_mutex_unlock(&matcher->grammar->lock);
}

llm_status matcher_accept(struct grammar_matcher *matcher, int32_t id)
{
    llm_grammar *grammar = matcher->grammar;
    const unsigned char *bytes;
    size_t size = 0;
    llm_status status;
    int32_t set;

    if (!tokenizer_has(grammar->tokenizer, id))
        return status_set(LLM_E_RANGE, "grammar: there is no token %d", id);
    bytes = (const unsigned char *)byte_trie_text(grammar->trie, id, &size);
    if (!size)
        return status_set(LLM_E_RANGE, "grammar: token %d is special or has no text", id);
    pthread_mutex_lock(&grammar->lock);
    status = run_collect(grammar);
    set = matcher->set;
    for (size_t i = 0; i < size && !status && set > 0; i++) {
        set = run_step(grammar, set, bytes[i]);
        status = set < 0 ? set : LLM_OK;
    }
    if (!status && set == 0)
        status = status_set(LLM_E_RANGE, "grammar: it does not allow token %d here", id);
    if (!status)
        matcher->set = set;
    pthread_mutex_unlock(&grammar->lock);
    return status;
}

void matcher_state(struct grammar_matcher *matcher, bool *is_complete, bool *is_final)
{
    llm_grammar *grammar = matcher->grammar;

    pthread_mutex_lock(&grammar->lock);
    *is_complete = grammar->sets[matcher->set].is_complete;
    *is_final = grammar->sets[matcher->set].count == 0;
    pthread_mutex_unlock(&grammar->lock);
}

llm_status matcher_mask(struct grammar_matcher *matcher, uint32_t *mask)
{
    llm_grammar *grammar = matcher->grammar;
    const uint32_t *made;
    llm_status status;

    pthread_mutex_lock(&grammar->lock);
    status = run_collect(grammar);
    if (!status)
        status = mask_of(&made, grammar, matcher->set);
    if (!status)
        memcpy(mask, made, grammar->words * sizeof *mask);
    pthread_mutex_unlock(&grammar->lock);
    return status;
}
