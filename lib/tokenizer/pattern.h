/* SPDX-License-Identifier: MIT
 *
 * What "pattern" fields of tokenizer.json look for: a text, or a regular expression. Searching is
 * linear in the text for all of them; an expression
 * that would take longer is given up.
 */
#ifndef TOKENIZER_PATTERN_H
#define TOKENIZER_PATTERN_H

#include "base/json.h"
#include "tokenizer/regex.h"
#include "tokenizer/split.h"

struct pattern {
    char *text; /* the text looked for; NULL: a regular expression */
    size_t size;
    uint32_t *border;              /* for each prefix of the text: its longest border */
    const struct split_rule *rule; /* a known expression that has its own scanner, or NULL */
    struct regex *regex;
};

/* {"String": ...} or {"Regex": ...}. LLM_E_UNSUPPORTED names a pattern we cannot do. */
llm_status pattern_read(struct pattern *pattern, struct memory *memory, const json_t *json);
void pattern_free(struct pattern *pattern, struct memory *memory);

/* A walk over the matches in a text. */
struct pattern_walk {
    const struct pattern *pattern;
    const char *text;
    size_t size;
    size_t at; /* everything before is done */
    size_t budget;
};

struct pattern_walk pattern_walk(const struct pattern *pattern, const char *text, size_t size);
/* False: no more matches, or pattern_status() fails. */
bool pattern_next(struct pattern_walk *walk, size_t *begin, size_t *end);
/* LLM_E_UNSUPPORTED when the pattern took too long for this text. */
llm_status pattern_status(const struct pattern_walk *walk);

#endif
