/* SPDX-License-Identifier: MIT
 *
 * The execution context every op takes. Ops run at once (eager); while cx->recording is on, an op
 * whose input asks for a gradient also appends a node with its backward function to the tape.
 *
 * Failure is sticky: after the first error every op returns NULL, ops accept NULL inputs, and the
 * first message is kept, so model code reads as mathematics and checks once, with cx_status().
 *
 * Memory: tensor headers and nodes sit in an arena until cx_reset(); values come from a pool and go
 * back earlier. In training the backward pass releases what each node produced right after it ran
 * (release_in_backward); in inference a segment (cx_segment) releases its temporaries on return.
 */
#ifndef GRAPH_CX_H
#define GRAPH_CX_H

#include "base/arena.h"
#include "base/context.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

struct cx;
struct node;

/* What an op knows how to do; one static const object per op, next to its forward. */
struct op {
    const char *name;
    /* Read the gradients of node->out[], add to those of node->in[]. */
    void (*backward)(struct cx *cx, struct node *node);
    /* Compute the values of node->out[0] again after cx_release(); NULL: values cannot be dropped.
     */
    void (*recompute)(struct cx *cx, struct node *node);
};

enum { NODE_INPUTS = 12, NODE_OUTPUTS = 4, CX_SCRATCH_SLOTS = 4 };

struct node {
    const struct op *op;
    llm_tensor *in[NODE_INPUTS]; /* entries may be NULL (no bias) */
    llm_tensor *out[NODE_OUTPUTS];
    int inputs;
    int outputs;
    size_t first_tensor; /* tensors of the tape from here on belong to this node or later ones */
    void *saved;         /* the op's own struct, zeroed, in the arena */
    void (*forget)(struct node *node); /* NULL, or called when the tape lets go of the node */
};

struct cx {
    llm_context *context;
    const struct kernels *kernels;
    struct memory *memory;
    struct arena arena;
    struct pool *pool;
    int threads;

    bool recording;           /* build the tape */
    bool training;            /* dropout drops, batch norm uses the batch */
    bool checkpointing;       /* cx_segment keeps inputs only and runs again in the backward pass */
    bool release_in_backward; /* the tape owner does not read values after the backward pass */
    /* Gradients of parameters, too, live in buffers of the pool. Who sets this drops them
     * (tensor_drop_grad) before the next forward pass, so that activations and gradients, which
     * peak at different times, share memory. */
    bool pools_gradients;
    bool rerunning; /* a checkpointed segment runs again: no lasting side effects */

    uint64_t seed;   /* of everything random in this pass */
    uint64_t stream; /* next unused Philox stream; each random op takes one */

    struct node **nodes;
    size_t node_count, node_capacity;
    llm_tensor **tensors; /* every tensor made on this tape, in order */
    size_t tensor_count, tensor_capacity;
    size_t unclaimed; /* first tensor made since the last node was recorded */

    void *scratch[CX_SCRATCH_SLOTS];
    size_t scratch_bytes[CX_SCRATCH_SLOTS];

    const struct adapter_use *adapters; /* nn/adapter.h: what linear layers add to; or NULL */
    size_t adapter_count;

    /* Not NULL: the next op after it becomes non-zero fails with LLM_E_CANCELLED. */
    const _Atomic int32_t *cancel;

    float dropout; /* >= 0: every dropout's probability, instead of what the op is told; -1 */
    /* Not NULL: sees the output of every segment of a forward run. */
    void (*watch)(void *arg, const llm_tensor *y);
    void *watch_arg;

    llm_status status;
    char message[512];
};

llm_status cx_init(struct cx *cx, llm_context *context);
void cx_free(struct cx *cx);  /* zeroed cx allowed */
void cx_reset(struct cx *cx); /* forget tape, temporaries and error; buffers stay in the pool */

/* The sticky error: sets this thread's message as well. */
llm_status cx_status(const struct cx *cx);
/* Record the first error (later ones are ignored); returns NULL for `return cx_fail(...)`. */
void *cx_fail(struct cx *cx, llm_status status, const char *format, ...) PRINTF_LIKE(3, 4);
/* Adopt a failure whose message status_set() already holds. */
void *cx_adopt(struct cx *cx, llm_status status);

/* ---- for ops ---- */

/* True when the op may run: no error so far and no input NULL (which is an error of its own). */
bool cx_ready(struct cx *cx, const char *op, int inputs, llm_tensor *const *in);

/* A new contiguous tape tensor, contents unspecified. NULL after failure. */
llm_tensor *cx_output(struct cx *cx, int32_t dtype, int32_t dimensions, const int64_t *shape);
llm_tensor *cx_output_like(struct cx *cx, const llm_tensor *model);
llm_tensor *cx_output_1d(struct cx *cx, int64_t size);
llm_tensor *cx_output_2d(struct cx *cx, int64_t rows, int64_t columns);

/* A tape copy of a view filled in by tensor_view_*(); views need no node of their own, gradients
 * written to them land in the base. */
llm_tensor *cx_view(struct cx *cx, const llm_tensor *filled);

/* x itself if contiguous, else a recorded copy. dtype is kept. */
llm_tensor *cx_contiguous(struct cx *cx, llm_tensor *x);

/* Append a node when recording and some input requires a gradient; marks the outputs as requiring
 * one. Call it after the last cx_output of the op: every tensor made since the previous node
 * belongs to this one and is released with it. Returns the node, whose ->saved is `saved_size`
 * zeroed bytes, or NULL: nothing to save. */
struct node *cx_record(struct cx *cx, const struct op *op, int inputs, llm_tensor *const *in,
                       int outputs, llm_tensor *const *out, size_t saved_size);
/* Would cx_record() record? Lets an op skip computing what only backward needs. */
bool cx_will_record(const struct cx *cx, int inputs, llm_tensor *const *in);

/* Values of x, computed again if they had been released. NULL on failure. */
void *cx_values(struct cx *cx, llm_tensor *x);

/* For op->recompute: give a released output its buffer back, contents unspecified. */
bool cx_refill(struct cx *cx, llm_tensor *x);

/* Backward: the gradient that arrived at an output (contiguous unless the output is a view's base),
 * or NULL: none did. */
const float *cx_out_grad(const struct node *node, int index);

/* Backward: where to put the gradient of x. NULL if x wants none (or on failure). *beta is 0 when
 * the values there are undefined (overwrite), 1 when something arrived before (add). The tensor has
 * the shape of x and may be strided if x is a view: ops that need contiguous inputs take
 * cx_contiguous(x) as input and never see that. */
llm_tensor *cx_grad(struct cx *cx, llm_tensor *x, float *beta);

/* Backward: add `dy` (contiguous, shape of x) to the gradient of x; shares the buffer when it can.
 */
void cx_grad_add(struct cx *cx, llm_tensor *x, llm_tensor *dy);

/* Backward: dy, which nobody reads or writes afterwards, becomes the gradient of parameter x
 * without a copy. False: it cannot (x has a gradient, or cx does not pool them). */
bool cx_grad_give(struct cx *cx, llm_tensor *x, llm_tensor *dy);

/* The probability that dropout uses: `probability` or what cx->dropout says instead. */
static inline float cx_dropout(const struct cx *cx, float probability)
{
    return cx->dropout >= 0.0f ? cx->dropout : probability;
}

/* One buffer per slot, 64-byte aligned, valid until the next call for the same slot. */
void *cx_scratch(struct cx *cx, int slot, size_t bytes);

/* A private buffer from the pool; give it back with storage_release(). NULL on failure. */
struct storage *cx_take(struct cx *cx, size_t bytes);

/* ---- for model code ---- */

/* The values of x are not needed by later forward code: drop them now if nobody else can want them
 * (inference) or if its op can compute them again (training). Nothing happens otherwise. */
void cx_release(struct cx *cx, llm_tensor *x);

/* Run one block. In inference its temporaries are released on return; in training it is recorded,
 * or, with checkpointing, only its input is kept and the block runs again in the backward pass.
 * `arg` must stay valid until then. */
typedef llm_tensor *(*cx_block)(struct cx *cx, void *arg, llm_tensor *x);
llm_tensor *cx_segment(struct cx *cx, cx_block block, void *arg, llm_tensor *x);

/* Run the tape backwards from `loss` (one element), seeding its gradient with `scale`. Gradients of
 * heap tensors accumulate over calls. */
llm_status cx_backward(struct cx *cx, llm_tensor *loss, float scale);
/* As above from any tensor, with the gradient given (contiguous, same shape, read during the call).
 */
llm_status cx_backward_from(struct cx *cx, llm_tensor *y, llm_tensor *dy);

#endif
