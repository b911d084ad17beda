/* SPDX-License-Identifier: MIT
 *
 * Grammars: llm/grammar.h.
 */
#include "api/check.h"
#include "generate/grammar.h"

static llm_status make(llm_grammar **out, llm_tokenizer *tokenizer, const char *text, size_t size,
                       grammar_reader read, const char *function)
{
    if (!out)
        return null_argument(function, "out");
    *out = NULL;
    if (!tokenizer || !text)
        return null_argument(function, tokenizer ? "text" : "tokenizer");
    return grammar_new(out, tokenizer, read, text, size);
}

llm_status llm_grammar_from_gbnf(llm_grammar **out, llm_tokenizer *tokenizer, const char *text,
                                 size_t size)
{
    return make(out, tokenizer, text, size, grammar_read_gbnf, "llm_grammar_from_gbnf");
}

llm_status llm_grammar_from_regex(llm_grammar **out, llm_tokenizer *tokenizer, const char *pattern,
                                  size_t size)
{
    return make(out, tokenizer, pattern, size, grammar_read_regex, "llm_grammar_from_regex");
}

llm_status llm_grammar_from_json_schema(llm_grammar **out, llm_tokenizer *tokenizer,
                                        const char *schema, size_t size)
{
    return make(out, tokenizer, schema, size, grammar_read_schema, "llm_grammar_from_json_schema");
}

void llm_grammar_free(llm_grammar *grammar)
{
    grammar_release(grammar);
}

llm_status llm_grammar_match(int32_t *match_out, llm_grammar *grammar, const char *text,
                             size_t size)
{
    if (!match_out || !grammar || (!text && size))
        return null_argument("llm_grammar_match", !match_out ? "match_out"
                                                  : grammar  ? "text"
                                                             : "grammar");
    return grammar_match(match_out, grammar, text, size);
}

llm_status llm_grammar_mask(uint32_t *mask, size_t capacity, size_t *count_out,
                            llm_grammar *grammar, const int32_t *ids, size_t count)
{
    struct grammar_matcher matcher;
    llm_status status;

    if (!grammar || (!mask && capacity) || (!ids && count))
        return null_argument("llm_grammar_mask", !grammar          ? "grammar"
                                                 : (!ids && count) ? "ids"
                                                                   : "mask");
    if (count_out)
        *count_out = grammar->words;
    if (capacity < grammar->words)
        return status_set(LLM_E_BUFFER, "llm_grammar_mask: room for %zu words, %zu needed",
                          capacity, grammar->words);
    status = matcher_open(&matcher, grammar);
    for (size_t i = 0; i < count && !status; i++)
        status = matcher_accept(&matcher, ids[i]);
    if (!status)
        status = matcher_mask(&matcher, mask);
    matcher_close(&matcher);
    return status;
}
