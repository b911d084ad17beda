/* SPDX-License-Identifier: MIT
 *
 * What the forward, backward and paged kernels share: rows and what they see, the small matrix
 * products on tiles, scores. Written once over a few vector operations; each instruction set's file
 * defines those (attention_portable.c is the plainest) and includes attention_all.h, which pulls
 * this in.
 *
 *   LANES       floats in a `vec`: 4, 8 or 16
 *   TILE_ROWS   rows of the outer-product tile, two vectors wide: 4 or 8
 *
 * The rows of one unit of work are pairs (token, head) of one kv head, tokens outermost, so that
 * all heads that share keys pass over them together. Keys come in tiles of TILE_KEYS, whose places
 * do not depend on the rows; that is why a row's bits do not depend on its neighbours.
 */
#ifndef KERNELS_ATTENTION_INNER_H
#define KERNELS_ATTENTION_INNER_H

#include "kernels/attention_plan.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define LOG2_E 1.44269504088896341f
#define LN_2 0.69314718055994531f

enum { STEP = LANES > 8 ? LANES : 8 }; /* keys are masked away in whole steps */

struct row {
    int32_t lo, hi; /* sees the keys lo <= j < hi */
    int32_t position;
    int32_t head;
    int32_t token; /* row of q */
    float slope;   /* in units of log2 */
    const float *bias;
};

/* Scores in units of log2, so that exp2 applies: soft cap, then biases. */
struct scoring {
    float factor; /* of dot(q, k) */
    float cap;    /* in units of log2; 0: none */
    int32_t span, zero;
    int32_t plain; /* none of the options */
};

static struct scoring scoring_of(const struct attention_shape *shape)
{
    struct scoring scoring = {.factor = shape->scale * LOG2_E,
                              .span = shape->relative_span,
                              .zero = shape->relative_zero};

    if (shape->soft_cap != 0.0f) {
        scoring.factor = shape->scale / shape->soft_cap;
        scoring.cap = shape->soft_cap * LOG2_E;
    }
    scoring.plain = shape->soft_cap == 0.0f && !shape->alibi_slopes && !shape->relative_bias;
    return scoring;
}

/* --- rows ------------------------------------------------------------------------------------- */

static int32_t clamp_to(int64_t value, int64_t most)
{
    return (int32_t)(value < 0 ? 0 : value > most ? most : value);
}

/* Rows first..first+count of the (token, head) pairs of `kv_head` in a segment. */
static void rows_fill(struct row *rows, const struct attention_shape *shape, int32_t kv_head,
                      int64_t first, int count, int32_t q_begin, int64_t nq, int64_t nk)
{
    int32_t group = shape->heads / shape->kv_heads;

    for (int i = 0; i < count; i++) {
        struct row *row = &rows[i];
        int64_t token = (first + i) / group;
        int64_t position = nk - nq + token;
        int64_t lo = shape->window > 0 ? position - shape->window + 1 : 0;
        int64_t hi = nk;

        if (shape->causal)
            hi = position + 1;
        else if (shape->window > 0)
            hi = position + shape->window;
        row->head = kv_head * group + (int32_t)((first + i) % group);
        row->token = q_begin + (int32_t)token;
        row->position = (int32_t)position;
        row->lo = clamp_to(lo, nk);
        row->hi = clamp_to(hi, nk);
        if (row->hi < row->lo)
            row->hi = row->lo;
        row->slope = shape->alibi_slopes ? shape->alibi_slopes[row->head] * LOG2_E : 0.0f;
        row->bias = shape->relative_bias
                        ? shape->relative_bias + (int64_t)row->head * shape->relative_span
                        : NULL;
    }
}

/* The part first..last of the tile [begin, begin + count) that rows of a block may see; rounded to
 * steps in front and behind. `last` may exceed count. Bounds rise from row to row. */
struct part {
    int first, last;
};

static struct part part_of(const struct row *rows, int count, int32_t begin, int keys)
{
    struct part part = {0, 0};
    int64_t lo = (int64_t)rows[0].lo - begin;
    int64_t hi = (int64_t)rows[count - 1].hi - begin;

    if (hi > keys)
        hi = keys;
    if (lo < 0)
        lo = 0;
    if (lo < hi) {
        part.first = (int)lo / STEP * STEP;
        part.last = ((int)hi + STEP - 1) / STEP * STEP;
    }
    return part;
}

static int blocks_of(int rows)
{
    return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

static int block_rows(int rows, int block)
{
    int left = rows - block * BLOCK_ROWS;

    return left < BLOCK_ROWS ? left : BLOCK_ROWS;
}

/* --- products on tiles ------------------------------------------------------------------------ */

enum { FETCH_AHEAD = 1024 }; /* elements; keys and values of a head lie one behind the other */

/* What becomes of C's old values. */
enum { SET, ADD, SCALE };

/* C[r][vectors] (+)= sum over p of a[r * row + p * step] * b[p * ldb ...]: one chain of additions
 * for each element, in the order of p, whatever the shape of the tile. */
INLINE void outer(const int rows, const int vectors, const int old, const float *scale,
                  int64_t depth, const float *a, int64_t row, int64_t step, const float *b,
                  int64_t ldb, float *c, int64_t ldc)
{
    vec sum[TILE_ROWS][4];

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            sum[r][j] = old == SET ? v_zero() : v_load(c + r * ldc + j * LANES);
            if (old == SCALE)
                sum[r][j] = v_mul(sum[r][j], v_set(scale[r]));
        }
    }
    for (int64_t p = 0; p < depth; p++) {
        vec bv[4];

#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            bv[j] = v_load(b + j * LANES);
        if (rows <= 2) { /* nothing is reused: as fast as memory gives */
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                __builtin_prefetch(b + FETCH_AHEAD + j * LANES, 0, 3);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec av = v_set(a[r * row]);

#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sum[r][j] = v_fma(av, bv[j], sum[r][j]);
        }
        a += step;
        b += ldb;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            v_store(c + r * ldc + j * LANES, sum[r][j]);
    }
}

struct product {
    int64_t depth;
    const float *a;
    int64_t lda;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    const float *scale; /* [rows]: factors of what C holds, for product_scale() */
};

#define SWEEP(NAME, ROWS, VECTORS, OLD, ROW, STEP_OF_A)                                            \
    static int NAME(const struct product *x, int r, int j, int columns)                            \
    {                                                                                              \
        for (; j + (VECTORS)*LANES <= columns; j += (VECTORS)*LANES)                               \
            outer(ROWS, VECTORS, OLD, (OLD) == SCALE ? x->scale + r : NULL, x->depth,              \
                  x->a + r * (ROW), ROW, STEP_OF_A, x->b + j, x->ldb, x->c + r * x->ldc + j,       \
                  x->ldc);                                                                         \
        return j;                                                                                  \
    }
SWEEP(set_tile_2, TILE_ROWS, 2, SET, x->lda, 1)
SWEEP(set_tile_1, TILE_ROWS, 1, SET, x->lda, 1)
SWEEP(set_two_4, 2, 4, SET, x->lda, 1)
SWEEP(set_two_2, 2, 2, SET, x->lda, 1)
SWEEP(set_two_1, 2, 1, SET, x->lda, 1)
SWEEP(set_one_4, 1, 4, SET, x->lda, 1)
SWEEP(set_one_2, 1, 2, SET, x->lda, 1)
SWEEP(set_one_1, 1, 1, SET, x->lda, 1)
SWEEP(add_tile_2, TILE_ROWS, 2, ADD, x->lda, 1)
SWEEP(add_tile_1, TILE_ROWS, 1, ADD, x->lda, 1)
SWEEP(add_two_4, 2, 4, ADD, x->lda, 1)
SWEEP(add_two_2, 2, 2, ADD, x->lda, 1)
SWEEP(add_two_1, 2, 1, ADD, x->lda, 1)
SWEEP(add_one_4, 1, 4, ADD, x->lda, 1)
SWEEP(add_one_2, 1, 2, ADD, x->lda, 1)
SWEEP(add_one_1, 1, 1, ADD, x->lda, 1)
SWEEP(scale_tile_2, TILE_ROWS, 2, SCALE, x->lda, 1)
SWEEP(scale_tile_1, TILE_ROWS, 1, SCALE, x->lda, 1)
SWEEP(scale_two_4, 2, 4, SCALE, x->lda, 1)
SWEEP(scale_two_2, 2, 2, SCALE, x->lda, 1)
SWEEP(scale_two_1, 2, 1, SCALE, x->lda, 1)
SWEEP(scale_one_4, 1, 4, SCALE, x->lda, 1)
SWEEP(scale_one_2, 1, 2, SCALE, x->lda, 1)
SWEEP(scale_one_1, 1, 1, SCALE, x->lda, 1)
SWEEP(add_turned_2, TILE_ROWS, 2, ADD, 1, x->lda)
SWEEP(add_turned_1, TILE_ROWS, 1, ADD, 1, x->lda)
#undef SWEEP

#define PRODUCT(KIND)                                                                              \
    static void product_##KIND(const struct product *x, int rows, int columns)                     \
    {                                                                                              \
        int r = 0;                                                                                 \
                                                                                                   \
        for (; r + TILE_ROWS <= rows; r += TILE_ROWS)                                              \
            (void)KIND##_tile_1(x, r, KIND##_tile_2(x, r, 0, columns), columns);                   \
        for (; r + 2 <= rows; r += 2) {                                                            \
            int j = KIND##_two_2(x, r, KIND##_two_4(x, r, 0, columns), columns);                   \
            (void)KIND##_two_1(x, r, j, columns);                                                  \
        }                                                                                          \
        for (; r < rows; r++) {                                                                    \
            int j = KIND##_one_2(x, r, KIND##_one_4(x, r, 0, columns), columns);                   \
            (void)KIND##_one_1(x, r, j, columns);                                                  \
        }                                                                                          \
    }
PRODUCT(set)   /* C[rows][columns] = A[rows][depth] B[depth][columns]; columns: whole vectors */
PRODUCT(add)   /* C += A B */
PRODUCT(scale) /* C[r] = scale[r] C[r] + A[r] B */
#undef PRODUCT

/* C[rows][columns] += A[depth][rows]^T B[depth][columns]; rows a multiple of TILE_ROWS. */
static void product_add_turned(const struct product *x, int rows, int columns)
{
    for (int r = 0; r < rows; r += TILE_ROWS)
        (void)add_turned_1(x, r, add_turned_2(x, r, 0, columns), columns);
}

/* --- copies ----------------------------------------------------------------------------------- */

typedef float quad __attribute__((vector_size(16)));

INLINE quad quad_load(const float *from)
{
    quad value;

    memcpy(&value, from, sizeof value);
    return value;
}

/* to[c][r] = from[r][c] */
static void transpose(const float *from, int64_t stride, int rows, int columns, float *to,
                      int64_t to_stride)
{
    int r = 0;

    for (; r + 4 <= rows; r += 4) {
        int c = 0;

        for (; c + 4 <= columns; c += 4) {
            const float *at = from + r * stride + c;
            quad a0 = quad_load(at);
            quad a1 = quad_load(at + stride);
            quad a2 = quad_load(at + 2 * stride);
            quad a3 = quad_load(at + 3 * stride);
            quad b0 = __builtin_shufflevector(a0, a1, 0, 4, 1, 5);
            quad b1 = __builtin_shufflevector(a2, a3, 0, 4, 1, 5);
            quad b2 = __builtin_shufflevector(a0, a1, 2, 6, 3, 7);
            quad b3 = __builtin_shufflevector(a2, a3, 2, 6, 3, 7);
            quad turned[4] = {__builtin_shufflevector(b0, b1, 0, 1, 4, 5),
                              __builtin_shufflevector(b0, b1, 2, 3, 6, 7),
                              __builtin_shufflevector(b2, b3, 0, 1, 4, 5),
                              __builtin_shufflevector(b2, b3, 2, 3, 6, 7)};

            for (int i = 0; i < 4; i++)
                memcpy(to + (c + i) * to_stride + r, &turned[i], sizeof turned[i]);
        }
        for (; c < columns; c++) {
            for (int i = 0; i < 4; i++)
                to[c * to_stride + r + i] = from[(r + i) * stride + c];
        }
    }
    for (; r < rows; r++) {
        for (int c = 0; c < columns; c++)
            to[c * to_stride + r] = from[r * stride + c];
    }
}

/* Keys of a tile as columns; those behind `keys`, up to the next step, are zero. */
static void pack_columns(const float *from, int64_t stride, int keys, int dim, float *to)
{
    transpose(from, stride, keys, dim, to, TILE_KEYS);
    if (keys % STEP != 0) {
        for (int c = 0; c < dim; c++)
            memset(to + (int64_t)c * TILE_KEYS + keys, 0,
                   sizeof *to * (size_t)(STEP - keys % STEP));
    }
}

/* to[width] = factor * from[dim], then zeros */
INLINE void copy_row(const float *from, int dim, int width, float factor, float *to)
{
    int c = 0;

    for (; c + LANES <= dim; c += LANES)
        v_store(to + c, v_mul(v_set(factor), v_load(from + c)));
    for (; c < dim; c++)
        to[c] = factor * from[c];
    for (; c < width; c++)
        to[c] = 0.0f;
}

static void pack_rows(const float *from, int64_t stride, int keys, int dim, int width, float *to)
{
    for (int i = 0; i < keys; i++)
        copy_row(from + i * stride, dim, width, 1.0f, to + (int64_t)i * width);
}

/* to[dim] = factor * from + (add ? to : 0) */
INLINE void put_row(const float *from, int dim, float factor, int add, float *to)
{
    int c = 0;

    for (; c + LANES <= dim; c += LANES) {
        vec value = v_mul(v_set(factor), v_load(from + c));

        v_store(to + c, add ? v_add(v_load(to + c), value) : value);
    }
    for (; c < dim; c++)
        to[c] = factor * from[c] + (add ? to[c] : 0.0f);
}

/* Rows that will be read next, brought near a few at a time between products: heads are short
 * pieces of long rows, which processors do not foresee. */
struct ahead {
    const float *at[3];
    int64_t stride[3];
    int arrays, length; /* elements of a row */
    int rows, next;
    int pace; /* rows at a time */
};

static void ahead_add(struct ahead *ahead, const float *at, int64_t stride)
{
    ahead->at[ahead->arrays] = at;
    ahead->stride[ahead->arrays++] = stride;
}

static void fetch(struct ahead *ahead)
{
    int end = ahead->next + ahead->pace < ahead->rows ? ahead->next + ahead->pace : ahead->rows;

    for (; ahead->next < end; ahead->next++) {
        for (int a = 0; a < ahead->arrays; a++) {
            const float *row = ahead->at[a] + ahead->next * ahead->stride[a];

            for (int c = 0; c < ahead->length; c += 16)
                __builtin_prefetch(row + c, 0, 2);
        }
    }
}

/* --- scores ----------------------------------------------------------------------------------- */

INLINE vec v_tanh(vec x)
{
    vec e = v_exp2(v_min(v_mul(x, v_set(2.0f * LOG2_E)), v_set(100.0f)));

    return v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(e, v_set(1.0f))));
}

INLINE vec load_bias(const struct scoring *scoring, const float *bias, int64_t at)
{
    float values[LANES];

    if (at >= 0 && at + LANES <= scoring->span)
        return v_load(bias + at);
    for (int i = 0; i < LANES; i++)
        values[i] = bias[clamp_to(at + i, scoring->span - 1)];
    return v_load(values);
}

/* From factor * dot(q, k) of keys j, j+1, ... to scores; *tangent gets the tanh if there is a cap.
 */
INLINE vec score(const struct scoring *scoring, const struct row *row, int32_t j, vec x,
                 vec *tangent)
{
    if (scoring->cap != 0.0f) {
        *tangent = v_tanh(x);
        x = v_mul(*tangent, v_set(scoring->cap));
    }
    if (row->slope != 0.0f) {
        vec distance = v_abs(v_add(v_set((float)(j - row->position)), v_iota()));

        x = v_fma(distance, v_set(-row->slope), x);
    }
    if (row->bias) {
        vec bias = load_bias(scoring, row->bias, (int64_t)j - row->position + scoring->zero);

        x = v_fma(bias, v_set(LOG2_E), x);
    }
    return x;
}

/* --- dropout ---------------------------------------------------------------------------------- */

struct dropping {
    uint64_t seed, stream;
    uint64_t heads;
    uint32_t below; /* a word under this drops its element */
    float keep;     /* 1 / (1 - p) */
    int32_t on;
};

static struct dropping dropping_of(const struct attention_args *args)
{
    struct dropping dropping = {.seed = args->seed,
                                .stream = args->stream,
                                .heads = (uint64_t)args->shape.heads,
                                .on = args->dropout > 0.0f};

    if (dropping.on) {
        double below = (double)args->dropout * 4294967296.0;

        dropping.below = below < 4294967295.0 ? (uint32_t)below : 4294967295u;
        dropping.keep = args->dropout < 1.0f ? 1.0f / (1.0f - args->dropout) : 0.0f;
    }
    return dropping;
}

/* Factors 0 or 1/(1-p) of the TILE_KEYS elements from key `begin`, a multiple of TILE_KEYS. Element
 * 16 w + i of a tile takes word w of the Philox block i of that tile: a vector's worth of blocks
 * runs through the rounds at once. */
static void drop_factors(const struct dropping *dropping, const struct row *row, int32_t begin,
                         float *factors)
{
    uint64_t base = ((uint64_t)row->token * dropping->heads + (uint64_t)row->head) << 24;
    uint64_t block = base + (uint64_t)(begin / TILE_KEYS) * 16;
    uint32_t key[2] = {(uint32_t)dropping->seed, (uint32_t)(dropping->seed >> 32)};
    uint32_t word[4][16];

    for (uint32_t i = 0; i < 16; i++) {
        word[0][i] = (uint32_t)block + i; /* block is a multiple of 16: no carry */
        word[1][i] = (uint32_t)(block >> 32);
        word[2][i] = (uint32_t)dropping->stream;
        word[3][i] = (uint32_t)(dropping->stream >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 16; i++) {
            uint64_t a = (uint64_t)0xD2511F53u * word[0][i];
            uint64_t b = (uint64_t)0xCD9E8D57u * word[2][i];

            word[0][i] = (uint32_t)(b >> 32) ^ word[1][i] ^ key[0];
            word[1][i] = (uint32_t)b;
            word[2][i] = (uint32_t)(a >> 32) ^ word[3][i] ^ key[1];
            word[3][i] = (uint32_t)a;
        }
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    for (int w = 0; w < 4; w++) {
        for (int i = 0; i < 16; i++)
            factors[w * 16 + i] = word[w][i] < dropping->below ? 0.0f : dropping->keep;
    }
}

#endif
