/* SPDX-License-Identifier: MIT
 *
 * Dropout, embedding rows, optimizer steps and 16-bit conversion of struct vector_kernels. Included
 * by one file per instruction set, after its lanes.
 */
#ifndef KERNELS_VECTOR_UPDATE_H
#define KERNELS_VECTOR_UPDATE_H

#include "base/rng.h"
#include "kernels/half.h"
#include "kernels/vector_norm.h"

/* Philox4x32-10 of LANES blocks from `block` on, in the lane order of v_block_offsets(): after the
 * transpose w[j] holds the words of elements j LANES .. (j + 1) LANES - 1. */
LANES_INLINE void random_words(vi w[4], uint64_t seed, uint64_t stream, uint64_t block)
{
    uint32_t key0 = (uint32_t)seed;
    uint32_t key1 = (uint32_t)(seed >> 32);

    w[0] = v_add_i(v_set_i((int32_t)(uint32_t)block), v_block_offsets());
    w[1] = v_set_i((int32_t)(uint32_t)(block >> 32));
    w[2] = v_set_i((int32_t)(uint32_t)stream);
    w[3] = v_set_i((int32_t)(uint32_t)(stream >> 32));
    for (int round = 0; round < 10; round++) {
        vi high_a = w[0];
        vi high_b = w[2];
        vi low_a = v_mul_wide(&high_a, w[0], 0xD2511F53u);
        vi low_b = v_mul_wide(&high_b, w[2], 0xCD9E8D57u);
        w[0] = v_xor(v_xor(high_b, w[1]), v_set_i((int32_t)key0));
        w[1] = low_b;
        w[2] = v_xor(v_xor(high_a, w[3]), v_set_i((int32_t)key1));
        w[3] = low_a;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    v_transpose(w);
}

/* Elements one at a time: at the ends, and where the counter's low word wraps. */
static void dropout_elements(float *y, float beta, const float *x, int64_t n, uint64_t first,
                             const struct vector_dropout *dropout)
{
    uint32_t words[4] = {0};

    for (int64_t i = 0; i < n; i++) {
        uint64_t element = first + (uint64_t)i;
        float value;

        if (i == 0 || element % 4 == 0)
            philox(dropout->seed, dropout->stream, element / 4, words);
        value = words[element % 4] < dropout->threshold ? 0.0f : x[i] * dropout->scale;
        y[i] = beta != 0.0f ? y[i] + value : value;
    }
}

static void row_dropout(float *y, float beta, const float *x, int64_t n,
                        const struct vector_dropout *dropout)
{
    const int64_t step = 4 * LANES;
    vi threshold = v_set_i((int32_t)dropout->threshold);
    vf scale = v_set(dropout->scale);
    uint64_t first = dropout->first;
    int64_t i = (int64_t)(-first & 3u);

    i = i < n ? i : n;
    dropout_elements(y, beta, x, i, first, dropout);
    while (i + step <= n) {
        uint64_t block = (first + (uint64_t)i) / 4;
        vi w[4];

        if ((uint32_t)block > UINT32_MAX - LANES) {
            dropout_elements(y + i, beta, x + i, step, first + (uint64_t)i, dropout);
            i += step;
            continue;
        }
        random_words(w, dropout->seed, dropout->stream, block);
        for (int j = 0; j < 4; j++, i += LANES) {
            vf value = v_mul(v_load(x + i), scale);
            value = v_select(v_less_unsigned(w[j], threshold), v_set(0.0f), value);
            v_store(y + i, beta != 0.0f ? v_add(v_load(y + i), value) : value);
        }
    }
    dropout_elements(y + i, beta, x + i, n - i, first + (uint64_t)i, dropout);
}

static void row_gather(float *y, int64_t y_stride, const float *table, int64_t table_stride,
                       const int32_t *ids, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(y + r * y_stride, table + ids[r] * table_stride, (size_t)n * sizeof *y);
}

static void row_scatter_add(float *table, int64_t table_stride, const float *y, int64_t y_stride,
                            const int32_t *ids, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) {
        float *to = table + ids[r] * table_stride;
        row_add(to, 0.0f, to, y + r * y_stride, n);
    }
}

static void row_adamw(float *w, float *m, float *v, const float *g, int64_t n,
                      const struct vector_adamw *step)
{
    const vf scale = v_set(step->gradient_scale);
    const vf l2 = v_set(step->l2);
    const vf decay = v_set(step->decay);
    const vf share1 = v_set(step->one_minus_beta1);
    const vf beta2 = v_set(step->beta2);
    const vf share2 = v_set(step->one_minus_beta2);
    const vf root = v_set(step->inverse_root_correction2);
    const vf size = v_set(-step->step_size);
    const vf epsilon = v_set(step->epsilon);

    for (int64_t i = 0; i < n; i += LANES) {
        int64_t rest = n - i;
        vf weight = load_some(w + i, rest);
        vf gradient = v_fma(l2, weight, v_mul(load_some(g + i, rest), scale));
        vf first = load_some(m + i, rest);
        vf second = load_some(v + i, rest);
        vf divisor;

        first = v_fma(share1, v_sub(gradient, first), first);
        second = v_fma(v_mul(share2, gradient), gradient, v_mul(beta2, second));
        divisor = v_fma(v_sqrt(second), root, epsilon);
        weight = v_fma(size, v_div(first, divisor), v_mul(weight, decay));
        store_some(w + i, weight, rest);
        store_some(m + i, first, rest);
        store_some(v + i, second, rest);
    }
}

static void row_sgd(float *w, float *b, const float *g, int64_t n, const struct vector_sgd *step)
{
    const vf scale = v_set(step->gradient_scale);
    const vf decay = v_set(step->weight_decay);
    const vf momentum = v_set(step->momentum);
    const vf share = v_set(1.0f - step->dampening);
    const vf rate = v_set(-step->learning_rate);

    for (int64_t i = 0; i < n; i += LANES) {
        int64_t rest = n - i;
        vf weight = load_some(w + i, rest);
        vf gradient = v_fma(decay, weight, v_mul(load_some(g + i, rest), scale));

        if (b) {
            vf moved = gradient;
            if (!step->first)
                moved = v_fma(momentum, load_some(b + i, rest), v_mul(share, gradient));
            store_some(b + i, moved, rest);
            gradient = step->nesterov ? v_fma(momentum, moved, gradient) : moved;
        }
        store_some(w + i, v_fma(rate, gradient, weight), rest);
    }
}

static void row_f16_to_f32(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_load_f16(x + i));
    for (; i < n; i++)
        y[i] = half_f16_to_f32(x[i]);
}

static void row_f32_to_f16(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store_f16(y + i, v_load(x + i));
    for (; i < n; i++)
        y[i] = half_f32_to_f16(x[i]);
}

static void row_bf16_to_f32(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_load_bf16(x + i));
    for (; i < n; i++)
        y[i] = half_bf16_to_f32(x[i]);
}

static void row_f32_to_bf16(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store_bf16(y + i, v_load(x + i));
    for (; i < n; i++)
        y[i] = half_f32_to_bf16(x[i]);
}

#endif
