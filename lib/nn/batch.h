/* SPDX-License-Identifier: MIT
 *
 * The packed batch every model consumes: N tokens of S sequences laid end to end, no padding.
 * Training packs documents with it, generation batches sequences with it.
 */
#ifndef NN_BATCH_H
#define NN_BATCH_H

#include "base/arena.h"

struct kv_cache; /* nn/kv_cache.h */

struct batch {
    int64_t tokens;           /* N */
    const int32_t *ids;       /* [N] */
    const int32_t *positions; /* [N], of each token in its sequence */
    const int32_t *types;     /* [N], which text of a pair a token belongs to; NULL: all 0 */
    int32_t segments;         /* S */
    const int32_t *offsets;   /* [S + 1]: sequence s holds tokens offsets[s] .. offsets[s+1]-1 */
    struct kv_cache
        *cache; /* NULL: training or a whole forward pass; else tokens are appended to */
    const int32_t *sequences; /* [S]: the cache's sequence of each segment */
    /* [S]: tokens of each sequence once the text it belongs to is read, if that happens in several
     * batches; NULL: up to here. Rotary angles may depend on it. */
    const int32_t *lengths;
};

/* Checks ids against the vocabulary, positions against the context length, offsets for order. */
llm_status batch_check(const struct batch *batch, int64_t vocabulary, int64_t context_length);

/* Fills `batch` with `count` sequences that lie end to end in `ids`, each from position 0.
 * Everything is copied into the arena. */
llm_status batch_pack(struct batch *batch, struct arena *arena, const int32_t *ids,
                      const size_t *lengths, size_t count);

/* Sets batch->types to a copy of types[N]. */
llm_status batch_set_types(struct batch *batch, struct arena *arena, const int32_t *types);

#endif
