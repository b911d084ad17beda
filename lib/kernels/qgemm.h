/* SPDX-License-Identifier: MIT
 *
 * Matrix product of float activations with quantized weights:
 *     out[m,n] = Q(a[m,k]) * W[n,k]^T + bias[n] + residual[m,n]
 * W keeps its 2 to 8 bits per value in memory; Q rounds the activations to 8 bits per value with
 * one scale per 32 of a row (as Q8_0 does, the scale kept in float). doc/quantization.md draws the
 * layouts.
 *
 * How a linear layer uses it
 *   load   struct qgemm_weights w = {type, n, k, memory of qgemm_packed_bytes()}: panels in an
 *          order that the kernels read straight through; qgemm_pack() fills any 16 rows or more of
 *          it, so a file can be repacked by several threads while it is read. The size is that of
 *          the file's blocks (rows padded to 16), so nothing of the file needs to stay in memory.
 *   run    struct qgemm with the activations and one output for each matrix that shares them
 *          (q, k and v; gate and up), in scratch memory of qgemm_scratch_bytes(): one call.
 *   else   qgemm_load_row() dequantizes a row (embeddings), qgemm_unpack() gives back the file's
 *          blocks, bit for bit.
 *
 * Every value of W is exactly the one its format defines (NF4 and FP4: within 2^-15 of the block's
 * largest); the products with the 8-bit activations are summed as integers, exactly, within 32 or
 * 16 values that share a scale, and these sums are added up as floats in the order of k with one
 * fused multiply-add each. So the bits of a row of `out` depend on that row of `a` and on W alone:
 * not on m, the threads, or the instruction set.
 *
 * Activations that are not finite make every output of their row NaN, as do scales in the file that
 * are not. Values of `a` in a run of 32 whose largest is below 2^-100 count as zero.
 *
 * Nothing here allocates.
 */
#ifndef KERNELS_QGEMM_H
#define KERNELS_QGEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first thirteen in the order of LLM_Q4_0 ... LLM_MXFP4 (llm/tensor.h). */
enum qgemm_type {
    QGEMM_Q4_0,
    QGEMM_Q4_1,
    QGEMM_Q5_0,
    QGEMM_Q5_1,
    QGEMM_Q8_0,
    QGEMM_Q2_K,
    QGEMM_Q3_K,
    QGEMM_Q4_K,
    QGEMM_Q5_K,
    QGEMM_Q6_K,
    QGEMM_IQ4_NL,
    QGEMM_IQ4_XS,
    QGEMM_MXFP4,
    QGEMM_NF4, /* bitsandbytes: 64 values share a float, the largest magnitude; k % 64 == 0 */
    QGEMM_FP4,
    QGEMM_I8, /* LLM.int8(): bytes, one float per row (SCB / 127); any k */
    QGEMM_TYPES
};

enum {
    QGEMM_PANEL = 16, /* rows of W that lie beside each other */
    QGEMM_OUTPUTS = 4,
    QGEMM_ALIGNMENT = 64 /* of packed weights and of scratch memory */
};

struct qgemm_weights {
    enum qgemm_type type;
    int64_t n, k; /* k a multiple of qgemm_block() */
    void *packed; /* aligned to QGEMM_ALIGNMENT; best on huge pages */
};

/* Rows of W as they lie in files. */
struct qgemm_rows {
    const void *blocks;  /* the first row that is meant */
    int64_t stride;      /* bytes from one row to the next */
    const float *scales; /* NF4, FP4: k / 64 for each row; I8: one; NULL for the others */
};

/* "q4_k"; values per block along k (1 for I8), and the bytes they take in files. */
const char *qgemm_type_name(enum qgemm_type type);
int64_t qgemm_block(enum qgemm_type type);
int64_t qgemm_block_bytes(enum qgemm_type type);

/* Bytes of packed weights; false when k does not fit the blocks or the size overflows. */
bool qgemm_packed_bytes(enum qgemm_type type, int64_t n, int64_t k, size_t *bytes);

/* Rows first .. first + count - 1, first a multiple of QGEMM_PANEL, and count too unless they are
 * the last. Threads may pack different rows at once. */
void qgemm_pack(const struct qgemm_weights *weights, int64_t first, int64_t count,
                const struct qgemm_rows *rows);

/* The inverse: the blocks of one row to `blocks`, its scales (where it has them) to `scales`. */
void qgemm_unpack(const struct qgemm_weights *weights, int64_t row, void *blocks, float *scales);

/* One row of W as k floats: the bits that the file's type gives. */
void qgemm_load_row(const struct qgemm_weights *weights, int64_t row, float *out);

/* One matrix and where its product goes. */
struct qgemm_output {
    const struct qgemm_weights *weights; /* [n,k] */
    float *out;                          /* [m,n] */
    int64_t ldo;                         /* elements from one row of out to the next */
    const float *bias;                   /* [n] or NULL */
    const float *residual;               /* [m,n] added, or NULL; may be `out` itself */
    int64_t ldr;
};

/* One set of activations times one to QGEMM_OUTPUTS matrices. out must not overlap a. */
struct qgemm {
    int64_t m, k;
    const float *a; /* [m,k] */
    int64_t lda;
    int outputs;
    struct qgemm_output output[QGEMM_OUTPUTS];
    int threads; /* 0 means 1 */
    void *scratch;
};

struct qgemm_kernels;

/* Bytes of scratch that qgemm_run() needs for this product; never 0; what is enough for
 * some m is for fewer, and for fewer threads. */
size_t qgemm_scratch_bytes(const struct qgemm_kernels *kernels, const struct qgemm *product);

void qgemm_run(const struct qgemm_kernels *kernels, const struct qgemm *product);

/* --- the inside: qgemm_kernel.h says more ---------------------------------------------------- */

struct qgemm_tile;

struct qgemm_kernels {
    const char *name;    /* "scalar", "avx2", "avxvnni", "avx512vnni", "neon" */
    int64_t tile_panels; /* panels of W that `multiply` takes at once */
    int64_t tile_columns;
    int64_t direct_columns; /* that `direct` takes at once */
    int64_t direct_rows;    /* up to so many rows of activations take `direct`, 0: never */
    void (*quantize)(int64_t k, const float *a, uint8_t *columns, int64_t width, int64_t column);
    void (*unpack[QGEMM_TYPES])(const struct qgemm_weights *weights, int64_t panel, int64_t from,
                                int64_t blocks, const struct qgemm_tile *tile, int64_t place);
    void (*multiply[QGEMM_TYPES])(const struct qgemm_tile *tile, int64_t blocks,
                                  const uint8_t *columns, int64_t width, float *sums, bool first);
    void (*direct[QGEMM_TYPES])(const struct qgemm_weights *weights, int64_t panel,
                                const uint8_t *columns, int64_t width, float *sums);
};

void qgemm_fill(struct qgemm_kernels *kernels, uint32_t cpu);

#endif
