/* SPDX-License-Identifier: MIT
 *
 * What the files that read patterns share: regex_parse.c (structure) and regex_set.c (classes).
 */
#ifndef TOKENIZER_REGEX_READER_H
#define TOKENIZER_REGEX_READER_H

#include "base/text.h"
#include "tokenizer/regex_program.h"

struct regex_reader {
    struct regex_program *program;
    const char *pattern; /* NUL-terminated, for messages */
    const char *p;
    const char *end;
    bool fold;  /* inside (?i:..) */
    bool lines; /* inside (?m:..): "." is any character */
};

llm_status regex_refuse(const struct regex_reader *reader, const char *what);
llm_status regex_malformed(const struct regex_reader *reader, const char *what);

/* Append to the items of the set that is being made. */
llm_status regex_add_item(struct regex_reader *reader, enum set_op op, uint32_t low, uint32_t high);
llm_status regex_add_range(struct regex_reader *reader, uint32_t low, uint32_t high);

/* After a backslash: a set, whose items are appended, or one character in *c. */
llm_status regex_read_escape(struct regex_reader *reader, bool *is_set, uint32_t *c);
llm_status regex_read_char(struct regex_reader *reader, uint32_t *c);
/* At "[": its items are appended. */
llm_status regex_read_class(struct regex_reader *reader);

#endif
