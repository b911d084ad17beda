/* SPDX-License-Identifier: MIT
 *
 * Sequence breakers of the DRY penalty (filter_dry() in filters.h): texts behind which a repetition
 * may begin anew, such as line feeds and the names of speakers. Used by sampling.c.
 */
#ifndef GENERATE_DRY_H
#define GENERATE_DRY_H

#include "generate/filters.h"
#include "llm/session.h"
#include "tokenizer/byte_trie.h"

enum { DRY_BREAKER_MOST = 64 /* bytes */, DRY_BREAKERS_MOST = 256 };

struct dry_breakers {
    const char *const *texts;
    size_t count;
};

struct dry_breakers dry_breakers_of(const llm_generate_options *options);

/* How many of the last ids come after the last breaker; all of them without a tokenizer. */
size_t dry_reach(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                 const struct dry_breakers *breakers);

#endif
