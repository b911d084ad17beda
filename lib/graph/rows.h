/* SPDX-License-Identifier: MIT
 *
 * What ops on rows share: the check that inputs are f32, how many rows are worth a thread, and how
 * a sum over rows is cut into chunks so that its bits do not depend on the threads.
 */
#ifndef GRAPH_ROWS_H
#define GRAPH_ROWS_H

#include "base/parallel.h"
#include "graph/cx.h"

enum {
    ROWS_WORK = 16384, /* elements of cheap work that outweigh waking a thread */
    ROWS_CHUNKS = 16   /* most partial sums of a reduction over rows */
};

static inline int64_t rows_grain(int64_t n)
{
    return n >= ROWS_WORK || n < 1 ? 1 : ROWS_WORK / n;
}

/* Rows in each of at most ROWS_CHUNKS chunks; a function of the shape alone. */
static inline int64_t rows_per_chunk(int64_t rows)
{
    int64_t even = (rows + ROWS_CHUNKS - 1) / ROWS_CHUNKS;

    return even < 16 ? 16 : even;
}

/* Every input that is not NULL is f32, or the failure is recorded. */
static inline bool rows_are_f32(struct cx *cx, const char *op, int inputs, llm_tensor *const *in)
{
    for (int i = 0; i < inputs; i++) {
        if (in[i] && in[i]->dtype != LLM_F32) {
            const struct dtype *dtype = dtype_get(in[i]->dtype);

            cx_fail(cx, LLM_E_UNSUPPORTED, "%s: input %d is %s, must be f32", op, i,
                    dtype ? dtype->name : "of an unknown type");
            return false;
        }
    }
    return true;
}

#endif
