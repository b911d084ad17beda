/* SPDX-License-Identifier: MIT
 *
 * Grammars that generated text has to follow: GBNF, regular expressions, JSON schemas.
 */
#ifndef LLM_GRAMMAR_H
#define LLM_GRAMMAR_H

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A compiled grammar over the vocabulary of one tokenizer. Any number of threads and sessions may
 *  use one at the same time; what it learns about the vocabulary on the way serves all of them.
 *  Reference-counted inside: freed when the last user is. */
typedef struct llm_grammar llm_grammar;

/** A grammar in GBNF, the notation of llama.cpp: rules `name ::= alternatives`, the first symbol is
 *  `root`. Texts in double quotes, classes of characters [a-z^...], `.` (any character), names,
 *  ( ), |, the suffixes * + ? {m} {m,} {m,n}, comments from # to the end of the line.
 *  @param out receives the grammar, NULL on failure; free with llm_grammar_free().
 *  @param tokenizer the grammar keeps its own reference.
 *  @param text `size` bytes of UTF-8.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_FORMAT (the message names line and column; also a rule that
 *  is not defined, that calls itself before it has read a character, or a grammar that no text
 *  follows), LLM_E_RANGE (too large), LLM_E_UNSUPPORTED, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_grammar_from_gbnf(llm_grammar **out, llm_tokenizer *tokenizer,
                                         const char *text, size_t size);

/** A regular expression that the whole text has to match, from its first to its last character (so
 *  that ^ and $ at the ends change nothing). Characters, `.` (all but line feed), classes [...],
 *  \d \w \s \D \W \S (ASCII), \n \r \t \f \v \xHH \uHHHH, groups (...) (?:...), |, * + ? {m} {m,}
 *  {m,n} and their lazy forms, which match the same texts. Look-around, back-references, \b, \p and
 *  flags are LLM_E_UNSUPPORTED. Otherwise as llm_grammar_from_gbnf(). */
LLM_API llm_status llm_grammar_from_regex(llm_grammar **out, llm_tokenizer *tokenizer,
                                          const char *pattern, size_t size);

/** JSON text that is valid under a JSON schema (draft 2020-12 and 7). Whatever the schema says is
 *  either obeyed or refused: a keyword that is not supported is LLM_E_UNSUPPORTED, and the message
 *  names its path. See doc/guide/grammar.md for the list.
 *  @param schema `size` bytes of JSON; "true" or "{}" is any JSON value. Otherwise as
 *  llm_grammar_from_gbnf(). */
LLM_API llm_status llm_grammar_from_json_schema(llm_grammar **out, llm_tokenizer *tokenizer,
                                                const char *schema, size_t size);

/** Give up the caller's reference. NULL is allowed. */
LLM_API void llm_grammar_free(llm_grammar *grammar);

/** How a text stands to a grammar. */
enum {
    LLM_MATCH_NONE = 0,    /**< no text that begins like this follows the grammar */
    LLM_MATCH_PARTIAL = 1, /**< the beginning of a text that does */
    LLM_MATCH_COMPLETE = 2 /**< it does; it may also be the beginning of a longer one */
};

/** Compare a text with a grammar.
 *  @param match_out receives LLM_MATCH_*. @param text `size` bytes, possibly ending within a
 *  character.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (the text is too ambiguous), LLM_E_NOMEM.
 *  @threads any. */
LLM_API llm_status llm_grammar_match(int32_t *match_out, llm_grammar *grammar, const char *text,
                                     size_t size);

/** The tokens that may follow `count` tokens.
 *  @param mask receives one bit for each id, bit id % 32 of word id / 32; may be NULL when capacity
 *  is 0. End tokens are not in it: see llm_grammar_match().
 *  @param capacity in words. @param count_out receives the number of words, the vocabulary size of
 *  the tokenizer / 32 rounded up; may be NULL.
 *  @param ids tokens of the text so far.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (an id, or the text does not follow the grammar),
 *  LLM_E_BUFFER, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_grammar_mask(uint32_t *mask, size_t capacity, size_t *count_out,
                                    llm_grammar *grammar, const int32_t *ids, size_t count);

#ifdef __cplusplus
}
#endif

#endif
