/* SPDX-License-Identifier: MIT
 *
 * Gradient check of one op: the values against a reference in double precision, every gradient
 * against central differences of that reference, and beside it what each op promises: the same bits
 * for 1, 2 and 3 threads, inputs that are strided views, gradients that accumulate, tapes that
 * release in the backward pass, and a failing allocator at every allocation without leak or crash.
 */
#ifndef TESTS_GRADCHECK_H
#define TESTS_GRADCHECK_H

#include "graph/op.h"

enum { GRADCHECK_INPUTS = 8 };

/* One differentiable input. */
struct gradcheck_input {
    int32_t dimensions;
    int64_t shape[LLM_MAX_DIMENSIONS];
    double low, high;     /* values are uniform in [low, high); both 0: [-1, 1) */
    const double *values; /* not NULL: these instead */
    bool is_constant;     /* no gradient is asked for */
    bool no_view;         /* leave this input alone in the run with strided views */
};

struct gradcheck {
    const char *name;
    int inputs;
    struct gradcheck_input in[GRADCHECK_INPUTS];
    /* The op under test; everything that is not an input comes from `arg`. */
    llm_tensor *(*run)(struct cx *cx, llm_tensor *const *in, const void *arg);
    /* The same in double precision: `count` values of the result. */
    void (*reference)(double *out, int64_t count, const double *const *in, const void *arg);
    const void *arg;
    double tolerance; /* relative to max(1, |value|); 0: 2e-5 */
    double step;      /* of the differences; 0: 1e-5 */
    bool training;    /* cx->training */
};

/* Fails the running cmocka test with the position and both values when something differs. */
void gradcheck_run(const struct gradcheck *check);

/* A context with `threads` threads; NULL never. */
llm_context *gradcheck_context(int32_t threads);

/* A heap tensor of f32 with uniform values in [-1, 1) from `seed`. */
llm_tensor *gradcheck_tensor(llm_context *context, bool requires_grad, uint64_t seed,
                             int32_t dimensions, const int64_t *shape);

/* An allocator that fails from allocation number `fail_at` on (counting from 0; negative: never)
 * and counts the blocks that are out. */
struct failing_allocator {
    long fail_at;
    long count;
    long live;
};
llm_context *gradcheck_failing_context(struct failing_allocator *allocator, int32_t threads);

#endif
