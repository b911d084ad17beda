/* SPDX-License-Identifier: MIT */
#include "kernels/vector_lanes.h"

#include "base/cpu.h"
#include "kernels/vector.h"
#include "kernels/vector_table.h"

const uint8_t vector_unary_reads[VECTOR_UNARY_COUNT] = {
    [VECTOR_EXP] = VECTOR_READS_Y,        [VECTOR_LOG] = VECTOR_READS_X,
    [VECTOR_SQRT] = VECTOR_READS_Y,       [VECTOR_TANH] = VECTOR_READS_Y,
    [VECTOR_SIGMOID] = VECTOR_READS_Y,    [VECTOR_RELU] = VECTOR_READS_Y,
    [VECTOR_LEAKY_RELU] = VECTOR_READS_X, [VECTOR_GELU] = VECTOR_READS_X,
    [VECTOR_GELU_TANH] = VECTOR_READS_X,  [VECTOR_SILU] = VECTOR_READS_X,
    [VECTOR_SOFTPLUS] = VECTOR_READS_X,   [VECTOR_SQUARE] = VECTOR_READS_X,
    [VECTOR_ABS] = VECTOR_READS_X,        [VECTOR_RECIPROCAL] = VECTOR_READS_Y,
};

void vector_fill_portable(struct vector_kernels *vector)
{
    *vector = table;
}

void vector_fill(struct vector_kernels *vector, uint32_t cpu)
{
    vector_fill_portable(vector);
#if defined(__x86_64__)
    if (cpu & CPU_AVX2)
        vector_fill_avx2(vector);
    if (cpu & CPU_AVX512)
        vector_fill_avx512(vector);
#else
    (void)cpu;
#endif
}

struct vector_adamw vector_adamw_make(double learning_rate, double beta1, double beta2,
                                      double epsilon, double weight_decay, int64_t step,
                                      double gradient_scale)
{
    double correction1 = 1.0 - pow(beta1, (double)step);
    double correction2 = 1.0 - pow(beta2, (double)step);
    struct vector_adamw made = {
        .gradient_scale = (float)gradient_scale,
        .l2 = 0.0f,
        .decay = (float)(1.0 - learning_rate * weight_decay),
        .one_minus_beta1 = (float)(1.0 - beta1),
        .beta2 = (float)beta2,
        .one_minus_beta2 = (float)(1.0 - beta2),
        .inverse_root_correction2 = (float)(1.0 / sqrt(correction2)),
        .step_size = (float)(learning_rate / correction1),
        .epsilon = (float)epsilon,
    };

    return made;
}
