/* SPDX-License-Identifier: MIT
 *
 * The bytes behind tensors, reference-counted: owned by the context's allocator, borrowed from the
 * caller (release callback), or on loan from a pool. A pool keeps the buffers of one tape and hands
 * them out again step after step, so that training neither asks the system for memory nor touches
 * fresh pages after its first step. A pool and its storages belong to one thread at a time;
 * storage_escape() cuts a storage loose before it is shown to foreign code.
 */
#ifndef TENSOR_STORAGE_H
#define TENSOR_STORAGE_H

#include "base/context.h"

#include <stdbool.h>

struct pool;

struct storage {
    _Atomic int references;
    void *data;
    size_t bytes;
    llm_context *context;
    void (*release)(void *user, void *data); /* borrowed memory; NULL when ours or not wanted */
    void *user;
    bool is_borrowed;
    struct pool *pool;                         /* not NULL: returns there */
    struct storage *next;                      /* free list of the pool */
    struct storage *previous_live, *next_live; /* buffers the pool has lent out */
    int size_class;
};

llm_status storage_new(struct storage **out, llm_context *context, size_t bytes); /* not zeroed */
llm_status storage_wrap(struct storage **out, llm_context *context, void *data, size_t bytes,
                        void (*release)(void *user, void *data), void *user);
struct storage *storage_retain(struct storage *storage);
void storage_release(struct storage *storage); /* NULL allowed */
bool storage_is_shared(const struct storage *storage);
void storage_escape(struct storage *storage);

struct pool *pool_new(llm_context *context);                /* NULL on failure */
void pool_free(struct pool *pool);                          /* storages still out become owned */
struct storage *pool_take(struct pool *pool, size_t bytes); /* not zeroed; NULL on failure */
void pool_trim(struct pool *pool);                          /* give unused buffers back */

#endif
