/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_tensor. Two lives: heap tensors (parameters, user data) are reference-counted;
 * tape tensors (results of ops) sit in a cx's arena and die when it is reset, their bytes earlier.
 * A view has no storage of its own values: `base` is the tensor it looks at, never a view itself.
 */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "llm/tensor.h"
#include "tensor/dtype.h"
#include "tensor/storage.h"

struct node;          /* graph/tape.h */
struct qgemm_weights; /* kernels/qgemm.h */

struct llm_tensor {
    _Atomic int references; /* heap tensors; unused on a tape */
    int32_t dtype;
    int32_t dimensions;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t stride[LLM_MAX_DIMENSIONS]; /* in elements */
    struct storage *storage;            /* NULL: values released */
    void *data;                         /* first element, NULL: values released */
    /* Not NULL: values kept in a block type, `data` is NULL (tensor/packed.h). In the storage. */
    const struct qgemm_weights *packed;
    llm_context *context;
    llm_tensor *base;  /* views: the tensor whose gradient receives ours */
    int64_t offset;    /* views: of the first element in base, in elements */
    llm_tensor *grad;  /* same shape, contiguous */
    struct node *node; /* tape: what computed it */
    bool requires_grad;
    bool grad_is_fresh; /* grad holds no values yet: the first writer overwrites */
    bool is_on_tape;
    const void *tape; /* the cx it lives on, NULL for heap tensors */
    char name[32];    /* "" unless the user gave one */
};

/* Heap tensors. Contents unspecified; tensor_new_zeroed clears. */
llm_status tensor_new(llm_tensor **out, llm_context *context, int32_t dtype, int32_t dimensions,
                      const int64_t *shape);
llm_status tensor_new_zeroed(llm_tensor **out, llm_context *context, int32_t dtype,
                             int32_t dimensions, const int64_t *shape);
/* Without values: storage and data are NULL until somebody sets them. */
llm_status tensor_new_empty(llm_tensor **out, llm_context *context, int32_t dtype,
                            int32_t dimensions, const int64_t *shape);
/* Over an existing storage, of which a reference is taken; `data` points into it. */
llm_status tensor_over(llm_tensor **out, struct storage *storage, void *data, int32_t dtype,
                       int32_t dimensions, const int64_t *shape);
llm_tensor *tensor_retain(llm_tensor *tensor);
void tensor_release(llm_tensor *tensor);   /* NULL allowed; no-op on tape tensors */
void tensor_drop_grad(llm_tensor *tensor); /* of a heap tensor, with its memory; none is fine */

/* Checks dtype and sizes, fills row-major strides. *count_out may be NULL. */
llm_status tensor_set_shape(llm_tensor *tensor, int32_t dtype, int32_t dimensions,
                            const int64_t *shape, int64_t *count_out);

int64_t tensor_count(const llm_tensor *tensor);
bool tensor_is_contiguous(const llm_tensor *tensor);
bool tensor_same_shape(const llm_tensor *a, const llm_tensor *b);
/* Product of the sizes of all axes but the last: [.., n] seen as [rows, n]. Scalars give 1. */
int64_t tensor_rows(const llm_tensor *tensor);
int64_t tensor_last(const llm_tensor *tensor); /* size of the last axis; 1 for scalars */
/* -1 -> last axis and so on; -1 when out of range. */
int32_t tensor_axis(const llm_tensor *tensor, int32_t axis);
/* "[2,3]" in a thread-local buffer; a few may be alive at once, for messages. */
const char *tensor_shape_text(const llm_tensor *tensor);

/* Shape arithmetic of views: fills `view` (dtype, shape, stride, base, offset, data, storage
 * borrowed without a reference) from `tensor`. The caller owns the struct: heap or tape. */
llm_status tensor_view_reshape(llm_tensor *view, const llm_tensor *tensor, int32_t dimensions,
                               const int64_t *shape);
llm_status tensor_view_slice(llm_tensor *view, const llm_tensor *tensor, int32_t axis,
                             int64_t start, int64_t end, int64_t step);
llm_status tensor_view_permute(llm_tensor *view, const llm_tensor *tensor, const int32_t *axes);

/* A heap view made of a filled-in one; holds references to base and storage. */
llm_status tensor_new_view(llm_tensor **out, const llm_tensor *filled);

/* Values in row-major order, any strides, any dtype (tensor_convert.c). */
llm_status tensor_copy(llm_tensor *to, const llm_tensor *from); /* same shape, converts dtype */
llm_status tensor_add(llm_tensor *to, const llm_tensor *from);  /* f32: to += from */
void tensor_zero(llm_tensor *tensor);                           /* any strides */

static inline float *tensor_f32(const llm_tensor *tensor)
{
    return tensor->data;
}

#endif
