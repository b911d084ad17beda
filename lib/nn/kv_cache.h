/* SPDX-License-Identifier: MIT
 *
 * Keys and values of past tokens, in pages shared by reference count: sequences fork, share a
 * prefix and rewind without copying. One cache holds all layers and any number of sequences. A
 * sequence belongs to one thread at a time; different sequences of one cache may be used from
 * different threads. After "Efficient memory management for large language model serving with
 * PagedAttention" (Kwon et al., SOSP 2023).
 */
#ifndef NN_KV_CACHE_H
#define NN_KV_CACHE_H

#include "base/context.h"

enum { KV_PAGE_TOKENS = 32 };

struct kv_cache;

struct kv_cache_shape {
    int32_t layers, kv_heads, head_dim;
    int32_t dtype;      /* LLM_F32 now */
    int64_t max_tokens; /* most pages times KV_PAGE_TOKENS over all sequences, rounded up to a page,
                         * LLM_E_RANGE beyond; 0: no limit. Pages are allocated on demand. */
};

llm_status kv_cache_new(struct kv_cache **out, llm_context *context,
                        const struct kv_cache_shape *shape);
struct kv_cache *kv_cache_retain(struct kv_cache *cache);
void kv_cache_release(struct kv_cache *cache); /* NULL allowed; the last one frees */
const struct kv_cache_shape *kv_cache_shape_of(const struct kv_cache *cache);

/* Sequences are small integers, reused after removal. */
llm_status kv_cache_add(struct kv_cache *cache, int32_t *sequence_out);
llm_status kv_cache_fork(struct kv_cache *cache, int32_t *sequence_out, int32_t from);
void kv_cache_remove(struct kv_cache *cache, int32_t sequence); /* negative: nothing */
int64_t kv_cache_length(struct kv_cache *cache, int32_t sequence);
/* Forget the tokens from `length` on, and what was reserved. */
llm_status kv_cache_rewind(struct kv_cache *cache, int32_t sequence, int64_t length);

/* Makes room for `count` more tokens in a sequence (own, unshared pages); the forward pass then
 * writes them layer by layer, and kv_cache_commit() makes them count. Without commit nothing
 * happened. */
llm_status kv_cache_reserve(struct kv_cache *cache, int32_t sequence, int64_t count);
void kv_cache_commit(struct kv_cache *cache, int32_t sequence, int64_t count);

/* Pages of one layer of a sequence, in order, reserved tokens included. Layout of a page:
 * kernels/attention.h. Valid until the next reserve, rewind, fork or remove of this sequence. */
void *const *kv_cache_pages(struct kv_cache *cache, int32_t sequence, int32_t layer,
                            int64_t *count_out);

/* Pages that no sequence uses are kept for the next one until they are trimmed. */
size_t kv_cache_bytes(struct kv_cache *cache); /* held now, in pages */
void kv_cache_trim(struct kv_cache *cache);

#endif
