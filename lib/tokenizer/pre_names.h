/* SPDX-License-Identifier: MIT
 *
 * The names of tokenizer.ggml.pre and the pre-tokenizer of tokenizer.json that each stands for.
 */
#ifndef TOKENIZER_PRE_NAMES_H
#define TOKENIZER_PRE_NAMES_H

#include <stdbool.h>

struct pre_name {
    const char *name;
    const char *json; /* "pre_tokenizer" */
    bool ignore_merges;
};

/* NULL: no such name is known. */
const struct pre_name *pre_name_find(const char *name);
/* The first name of a pre-tokenizer, given as compact JSON; NULL: none. */
const struct pre_name *pre_name_of(const char *json, bool ignore_merges);

#endif
