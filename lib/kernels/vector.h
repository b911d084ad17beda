/* SPDX-License-Identifier: MIT
 *
 * Vector kernels: float rows in contiguous memory, one thread, no allocation. The ops of graph/
 * call them on ranges that base/parallel.h hands out; the optimizers of train/ call them on whole
 * parameters. Pointers need no alignment; an output may be the same array as an input of the same
 * length (never a shifted overlap).
 *
 * One source (vector_*.inc.h) is compiled per instruction set over the lane types of
 * vector_lanes.h and x86/vector_lanes_*.h. Elementwise results do not depend on an element's
 * position or on the length, so a caller may split a row anywhere; reductions depend on the length
 * alone. Different instruction sets may differ in the last bits.
 *
 * "beta" of an accumulating output is 0 (write; the old value is not read, so it may be NaN) or 1.
 */
#ifndef KERNELS_VECTOR_H
#define KERNELS_VECTOR_H

#include <stdint.h>

enum vector_unary {
    VECTOR_EXP,
    VECTOR_LOG,
    VECTOR_SQRT,
    VECTOR_TANH,
    VECTOR_SIGMOID,
    VECTOR_RELU,
    VECTOR_LEAKY_RELU, /* slope for x < 0 = parameter */
    VECTOR_GELU,       /* x Phi(x) */
    VECTOR_GELU_TANH,  /* GPT-2's approximation */
    VECTOR_SILU,
    VECTOR_SOFTPLUS, /* log(1 + exp(x)) */
    VECTOR_SQUARE,
    VECTOR_ABS,
    VECTOR_RECIPROCAL,
    VECTOR_UNARY_COUNT
};

/* What the backward kernel of each unary function reads besides dy; the other pointer may be NULL.
 */
enum { VECTOR_READS_X = 1, VECTOR_READS_Y = 2 };
extern const uint8_t vector_unary_reads[VECTOR_UNARY_COUNT];

enum vector_binary {
    VECTOR_ADD,
    VECTOR_SUB,
    VECTOR_MUL,
    VECTOR_DIV,
    VECTOR_MAX,
    VECTOR_MIN,
    VECTOR_BINARY_COUNT
};

/* Dropout of elements first .. first + n - 1 of a tensor: element e uses word e % 4 of
 * philox(seed, stream, e / 4) and is dropped when that word < threshold = p 2^32. */
struct vector_dropout {
    uint64_t seed;
    uint64_t stream;
    uint64_t first;
    uint32_t threshold;
    float scale; /* 1 / (1 - p) */
};

/* AdamW as torch.optim.AdamW; `l2` is Adam's coupled weight decay (torch.optim.Adam). Fill with
 * vector_adamw_make(). The gradient is multiplied by gradient_scale (clipping, averaging) first. */
struct vector_adamw {
    float gradient_scale;
    float l2;
    float decay; /* 1 - lr * weight_decay */
    float one_minus_beta1;
    float beta2;
    float one_minus_beta2;
    float inverse_root_correction2; /* 1 / sqrt(1 - beta2^step) */
    float step_size;                /* lr / (1 - beta1^step) */
    float epsilon;
};

/* SGD as torch.optim.SGD. `first` is set on a parameter's first step with momentum: the buffer then
 * starts as the gradient and its old content is not read. */
struct vector_sgd {
    float gradient_scale;
    float learning_rate;
    float weight_decay;
    float momentum;
    float dampening;
    int nesterov;
    int first;
};

struct vector_kernels {
    /* y[i] = f(x[i]); dx[i] = beta dx[i] + dy[i] f'(x[i]). `parameter`: see the enum, else ignored.
     */
    void (*unary[VECTOR_UNARY_COUNT])(float *y, const float *x, int64_t n, float parameter);
    void (*unary_backward[VECTOR_UNARY_COUNT])(float *dx, float beta, const float *dy,
                                               const float *x, const float *y, int64_t n,
                                               float parameter);

    /* y = beta y + a op b; scalar: a[i] op s; scalar_left: s op a[i]. max/min of a NaN is NaN. */
    void (*binary[VECTOR_BINARY_COUNT])(float *y, float beta, const float *a, const float *b,
                                        int64_t n);
    void (*binary_scalar[VECTOR_BINARY_COUNT])(float *y, float beta, const float *a, float s,
                                               int64_t n);
    void (*binary_scalar_left[VECTOR_BINARY_COUNT])(float *y, float beta, float s, const float *a,
                                                    int64_t n);
    void (*fill)(float *y, float value, int64_t n);
    void (*axpy)(float *y, float a, const float *x, int64_t n);            /* y += a x */
    void (*affine)(float *y, float beta, const float *x, float a, float b, /* beta y + a x + b */
                   int64_t n);
    void (*mul3)(float *y, float beta, float s, const float *a, const float *b, const float *c,
                 int64_t n);                                                 /* beta y + s a b c */
    void (*pow)(float *y, const float *x, const float *exponent, int64_t n); /* C's powf */

    /* y = silu(gate) up */
    void (*swiglu)(float *y, const float *gate, const float *up, int64_t n);
    void (*swiglu_backward)(float *dgate, float *dup, float beta, const float *dy,
                            const float *gate, const float *up, int64_t n);

    /* Reductions of one row. Sums of blocks are float, sums over blocks double. Empty: 0, -inf. */
    double (*sum)(const float *x, int64_t n);
    double (*dot)(const float *a, const float *b, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    double (*sum_squared_difference)(const float *a, const float *b, int64_t n);
    float (*max)(const float *x, int64_t n);    /* NaN if any element is NaN */
    float (*absmax)(const float *x, int64_t n); /* likewise */
    void (*mean_variance)(double *mean, double *variance, const float *x,
                          int64_t n); /* two passes; biased variance */

    /* One row of n. A row of -inf alone gives NaN, as everywhere. */
    void (*softmax)(float *y, const float *x, int64_t n);
    void (*softmax_backward)(float *dx, float beta, const float *dy, const float *y, int64_t n);
    void (*log_softmax)(float *y, const float *x, int64_t n);
    void (*log_softmax_backward)(float *dx, float beta, const float *dy, const float *y, int64_t n);
    float (*log_sum_exp)(const float *x, int64_t n);

    /* Softmax cross-entropy of one row; returns the loss. `gradient` (NULL: none; may be the
     * logits) receives gradient_scale * dloss/dlogits; lse may be NULL. With label smoothing e the
     * target distribution is (1 - e) target + e / n. 0 <= target < n is the caller's duty. */
    float (*cross_entropy)(float *gradient, float *lse, const float *logits, int64_t n,
                           int64_t target, float smoothing, float gradient_scale);
    float (*cross_entropy_soft)(float *gradient, float *lse, const float *logits,
                                const float *target, int64_t n, float smoothing,
                                float gradient_scale);

    /* Norms of `rows` contiguous rows of n; weight, bias (of n), mean, rstd (of rows), dx, dweight
     * and dbias may be NULL. dweight and dbias are added to: give every fixed chunk of rows its own
     * and add the chunks in order. rms_norm multiplies by weight + weight_offset (Gemma: 1). */
    void (*layer_norm)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                       const float *bias, int64_t rows, int64_t n, float epsilon);
    void (*layer_norm_backward)(float *dx, float beta, float *dweight, float *dbias,
                                const float *dy, const float *x, const float *weight,
                                const float *mean, const float *rstd, int64_t rows, int64_t n);
    void (*rms_norm)(float *y, float *rstd, const float *x, const float *weight,
                     float weight_offset, int64_t rows, int64_t n, float epsilon);
    void (*rms_norm_backward)(float *dx, float beta, float *dweight, const float *dy,
                              const float *x, const float *weight, float weight_offset,
                              const float *rstd, int64_t rows, int64_t n);

    /* y[j] = beta y[j] + sum over rows of x[row * stride + j] */
    void (*column_sums)(float *y, float beta, const float *x, int64_t rows, int64_t n,
                        int64_t stride);

    /* y = beta y + (kept ? scale x : 0). Its own backward, on dy. */
    void (*dropout)(float *y, float beta, const float *x, int64_t n,
                    const struct vector_dropout *dropout);

    /* y[r] = table[ids[r]]; table[ids[r]] += y[r]; rows of n floats, strides in floats. Ids are
     * valid. Threads may split the columns of a scatter, never its rows. */
    void (*gather_rows)(float *y, int64_t y_stride, const float *table, int64_t table_stride,
                        const int32_t *ids, int64_t rows, int64_t n);
    void (*scatter_add_rows)(float *table, int64_t table_stride, const float *y, int64_t y_stride,
                             const int32_t *ids, int64_t rows, int64_t n);

    /* One optimizer step in one pass over memory. momentum buffer b: NULL without momentum. */
    void (*adamw)(float *w, float *m, float *v, const float *g, int64_t n,
                  const struct vector_adamw *step);
    void (*sgd)(float *w, float *b, const float *g, int64_t n, const struct vector_sgd *step);

    /* 16-bit storage, round to nearest even, NaN stays NaN. */
    void (*f16_to_f32)(float *y, const uint16_t *x, int64_t n);
    void (*f32_to_f16)(uint16_t *y, const float *x, int64_t n);
    void (*bf16_to_f32)(float *y, const uint16_t *x, int64_t n);
    void (*f32_to_bf16)(uint16_t *y, const float *x, int64_t n);
};

/* Portable C, then what `cpu` (CPU_* flags of base/cpu.h) allows. */
void vector_fill(struct vector_kernels *vector, uint32_t cpu);

void vector_fill_portable(struct vector_kernels *vector);
void vector_fill_avx2(struct vector_kernels *vector);
void vector_fill_avx512(struct vector_kernels *vector);

/* `step` counts from 1. */
struct vector_adamw vector_adamw_make(double learning_rate, double beta1, double beta2,
                                      double epsilon, double weight_decay, int64_t step,
                                      double gradient_scale);

#endif
