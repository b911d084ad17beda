/* SPDX-License-Identifier: MIT
 *
 * The regular expressions of tokenizer.json (Oniguruma with Ruby's syntax), as far as tokenizers
 * need them: classes, \p{..}, groups, alternatives, greedy and lazy repetition, possessive
 * repetition and looking ahead for single characters, (?i:..) for ASCII. An expression becomes a
 * deterministic automaton when it is read, so that nothing is ever tried twice from one place;
 * what it cannot express is refused by name. Matches are leftmost, first alternative first.
 */
#ifndef TOKENIZER_REGEX_H
#define TOKENIZER_REGEX_H

#include "base/memory.h"

#include <stdbool.h>

struct regex;

/* LLM_E_UNSUPPORTED: a construct we don't have, an expression that can match nothing (empty text),
 * or too large an automaton; LLM_E_FORMAT: not an expression. The message holds the pattern. */
llm_status regex_compile(struct regex **out, struct memory *memory, const char *pattern,
                         size_t size);
void regex_free(struct regex *regex); /* NULL allowed */

/* The next match in [from, size): false when there is none. Each character looked at takes one from
 * *budget; false with *budget 0: given up, as this pattern takes more than linear time here. */
bool regex_find(const struct regex *regex, const char *text, size_t size, size_t from,
                size_t *begin, size_t *end, size_t *budget);

#endif
