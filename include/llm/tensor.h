/* SPDX-License-Identifier: MIT
 *
 * Tensors: typed n-dimensional arrays with strides; created, wrapped around foreign memory, viewed,
 * converted, and exchanged with other libraries through DLPack without copying.
 */
#ifndef LLM_TENSOR_H
#define LLM_TENSOR_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A tensor. Two kinds share the type: tensors made by llm_tensor_*() are reference-counted and
 *  freed with llm_tensor_free(); tensors made by an operation belong to the tape (llm/tape.h), live
 *  until it is reset, and llm_tensor_free() on them does nothing.
 *  @threads reading is safe from several threads; writing needs the tensor to itself. */
typedef struct llm_tensor llm_tensor;

/** Element types. Values are pinned. From LLM_Q4_0 on they are the block types of GGUF files: 32 or
 *  256 values with common scales, for weights in files (llm_model_convert()); only parameters of
 *  models loaded with LLM_WEIGHTS_KEEP have them. */
enum {
    LLM_F32 = 0,
    LLM_F16 = 1,
    LLM_BF16 = 2,
    LLM_F64 = 3,
    LLM_I8 = 4,
    LLM_U8 = 5,
    LLM_I16 = 6,
    LLM_I32 = 7,
    LLM_I64 = 8,
    LLM_BOOL = 9,
    LLM_Q4_0 = 10,
    LLM_Q4_1 = 11,
    LLM_Q5_0 = 12,
    LLM_Q5_1 = 13,
    LLM_Q8_0 = 14,
    LLM_Q2_K = 15,
    LLM_Q3_K = 16,
    LLM_Q4_K = 17,
    LLM_Q5_K = 18,
    LLM_Q6_K = 19,
    LLM_IQ4_NL = 20,
    LLM_IQ4_XS = 21,
    LLM_MXFP4 = 22,
    LLM_TQ1_0 = 23,
    LLM_TQ2_0 = 24
};

/** Name of an element type, "f32" or "q4_k"; "" for a number that is none. */
LLM_API const char *llm_dtype_name(int32_t dtype);

/** The element type of a name, or -1 (also for NULL). */
LLM_API int32_t llm_dtype_find(const char *name);

/** Most dimensions a tensor has. */
#define LLM_MAX_DIMENSIONS 8

/** Called when wrapped memory is no longer used. */
typedef void (*llm_tensor_release_fn)(void *user, void *data);

/** Create a zeroed tensor.
 *  @param out receives the tensor, NULL on failure; free with llm_tensor_free().
 *  @param dtype LLM_F32 ... @param shape `dimensions` sizes >= 0, outermost first; 0 dimensions
 * make a scalar. @return LLM_OK, LLM_E_INVALID, LLM_E_SHAPE, LLM_E_NOMEM. */
LLM_API llm_status llm_tensor_new(llm_tensor **out, llm_context *context, int32_t dtype,
                                  int32_t dimensions, const int64_t *shape);

/** Wrap memory the caller owns, without copying.
 *  @param stride in elements, NULL for row-major. @param release NULL, or called with (user, data)
 *  when the last tensor that uses the memory is freed; not called when this function fails. */
LLM_API llm_status llm_tensor_wrap(llm_tensor **out, llm_context *context, int32_t dtype,
                                   int32_t dimensions, const int64_t *shape, const int64_t *stride,
                                   void *data, llm_tensor_release_fn release, void *user);

/** Give up the caller's reference. NULL and tape tensors are allowed and ignored. */
LLM_API void llm_tensor_free(llm_tensor *tensor);

/** Properties; NULL gives 0 (dtype: LLM_F32). `axis` counts from 0, negative from the end; outside
 *  gives 0. */
LLM_API int32_t llm_tensor_dtype(const llm_tensor *tensor);
LLM_API int32_t llm_tensor_dimensions(const llm_tensor *tensor);
LLM_API int64_t llm_tensor_size(const llm_tensor *tensor, int32_t axis);
LLM_API int64_t llm_tensor_stride(const llm_tensor *tensor, int32_t axis);
LLM_API int64_t llm_tensor_count(const llm_tensor *tensor);

/** The first element, for direct access with the strides above. NULL for a tape tensor whose values
 *  were released. Valid as long as the tensor. */
LLM_API void *llm_tensor_data(const llm_tensor *tensor);

/** Views share memory; they keep it alive on their own.
 *  reshape: one size may be -1; LLM_E_SHAPE if the elements are not contiguous.
 *  slice: elements start, start + step, ... below `end` along `axis`.
 *  permute: axes[i] is the source axis that becomes axis i. */
LLM_API llm_status llm_tensor_reshape(llm_tensor **out, const llm_tensor *tensor,
                                      int32_t dimensions, const int64_t *shape);
LLM_API llm_status llm_tensor_slice(llm_tensor **out, const llm_tensor *tensor, int32_t axis,
                                    int64_t start, int64_t end, int64_t step);
LLM_API llm_status llm_tensor_permute(llm_tensor **out, const llm_tensor *tensor,
                                      const int32_t *axes);

/** New contiguous tensor with the values converted to `dtype` (to integers: towards zero,
 * saturating; NaN becomes 0). */
LLM_API llm_status llm_tensor_convert(llm_tensor **out, const llm_tensor *tensor, int32_t dtype);

/** Copy all values in row-major order as float.
 *  @param capacity elements that fit in `values`. @return LLM_E_BUFFER if they do not fit. */
LLM_API llm_status llm_tensor_read_f32(const llm_tensor *tensor, float *values, size_t capacity);
LLM_API llm_status llm_tensor_write_f32(llm_tensor *tensor, const float *values, size_t count);

/** Fill with one value; with uniform numbers from [low, high); with normal numbers. The same seed
 *  gives the same numbers on every platform. */
LLM_API llm_status llm_tensor_fill(llm_tensor *tensor, double value);
LLM_API llm_status llm_tensor_fill_uniform(llm_tensor *tensor, double low, double high,
                                           uint64_t seed);
LLM_API llm_status llm_tensor_fill_normal(llm_tensor *tensor, double mean, double deviation,
                                          uint64_t seed);

/** Ask for gradients. Float32, contiguous tensors only, before the tensor is used on a tape. */
LLM_API llm_status llm_tensor_set_requires_grad(llm_tensor *tensor, int32_t requires_grad);
LLM_API int32_t llm_tensor_requires_grad(const llm_tensor *tensor);

/** The gradient llm_backward() accumulated, or NULL; owned by `tensor`, overwritten by later calls.
 */
LLM_API llm_tensor *llm_tensor_grad(const llm_tensor *tensor);

/** A name for graphs and messages, at most 31 bytes; "" for none. */
LLM_API llm_status llm_tensor_set_name(llm_tensor *tensor, const char *name);
LLM_API const char *llm_tensor_name(const llm_tensor *tensor);

/** Forget the gradient: the next llm_backward() starts from zero. */
LLM_API void llm_tensor_zero_grad(llm_tensor *tensor);

/** DLPack (https://dmlc.github.io/dlpack, version 1). Export gives a DLManagedTensorVersioned *
 * whose deleter must be called once by the consumer; import takes ownership of one (CPU, strided)
 * and calls its deleter when the tensor is freed, or not at all when it fails. */
LLM_API llm_status llm_tensor_to_dlpack(void **managed_out, llm_tensor *tensor);
LLM_API llm_status llm_tensor_from_dlpack(llm_tensor **out, llm_context *context, void *managed);

#ifdef __cplusplus
}
#endif

#endif
