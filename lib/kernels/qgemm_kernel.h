/* SPDX-License-Identifier: MIT
 *
 * The inside of the quantized matrix product: what the loops of qgemm.c and an instruction set's
 * kernels agree on. Everything is in blocks of 32 along k; "k4" are four consecutive values, a
 * step.
 *
 * A panel of W is 16 rows: first the scales of all blocks, then the codes of all blocks. Each field
 * of a file's block is stored as its elements (words of four bytes for codes, halves or bytes for
 * scales) for 16 rows beside each other, so one vector holds the same word of all rows.
 *
 * Activations are in columns: `width` rows of `a` beside each other, block after block,
 *     int8   code[8][width][4]
 *     float  scale[width]
 *     float  sum[3][width]       scale * (sum of the codes: all 32, the first 16, the last 16)
 *     int32  bias[3][width]      -128 * (sum of the codes: likewise)
 *
 * A tile is a few panels, unpacked to one byte per value for some blocks:
 *     uint8  code[8][rows][4]    value + a bias that `unpack` and `multiply` agree on; twice (high
 *                                byte, low byte) for types of two planes
 *     float  scale[groups][rows], low[groups][rows]      groups of 32 / groups values
 */
#ifndef KERNELS_QGEMM_KERNEL_H
#define KERNELS_QGEMM_KERNEL_H

#include "kernels/qgemm.h"

enum {
    QGEMM_BLOCK = 32,
    QGEMM_COLUMN_BYTES = 60, /* of one block of one column */
    QGEMM_SUM_AT = 36,       /* times width: offsets in a block of columns */
    QGEMM_SCALE_AT = 32,
    QGEMM_BIAS_AT = 48,
    QGEMM_UNIT_MOST = 256, /* values in the longest block of a file */
    QGEMM_BYTES_MOST = 210 /* of the largest */
};

struct qgemm_tile {
    uint8_t *codes;
    float *scales, *lows;
};

/* A field of a block: `count` elements of `width` bytes from `at` on. */
struct qgemm_field {
    uint8_t at, width, count;
    bool code; /* to the codes, not to the scales */
};

struct qgemm_traits {
    const char *name;
    int16_t unit, unit_bytes; /* values, bytes of a block in files */
    int16_t scale_bytes;      /* of the unit's scales, one row */
    int8_t groups;            /* scales per 32 values: 1 or 2 */
    int8_t planes;            /* bytes that a code takes once unpacked */
    bool low;                 /* value = scale * code + low, not scale * code */
    bool wide;                /* codes need all eight bits */
    struct qgemm_field field[5];
};

extern const struct qgemm_traits qgemm_traits[QGEMM_TYPES];

/* Blocks of a file along k, the last one perhaps not full. */
int64_t qgemm_units(const struct qgemm_weights *weights);

/* Where a panel's scales and codes begin. */
const uint8_t *qgemm_scales(const struct qgemm_weights *weights, int64_t panel);
const uint8_t *qgemm_codes(const struct qgemm_weights *weights, int64_t panel);

/* A block of one row: of a file, but for the order of bits within codes (Q5_0, Q5_1, NF4, FP4),
 * with its scale in front (NF4, FP4), filled up with zeros (I8). */
void qgemm_restore(const struct qgemm_weights *weights, int64_t row, int64_t unit, uint8_t *block);

/* One block of one row, decoded in plain C: `codes` as signed values, floats for groups of
 * 32 / groups. The reference that the kernels' unpacking is compared with. */
struct qgemm_decoded {
    int16_t codes[QGEMM_UNIT_MOST];
    float scales[16], lows[16];
};
void qgemm_decode(const struct qgemm_weights *weights, int64_t row, int64_t unit,
                  struct qgemm_decoded *out);

/* What codes of four bits mean: IQ4_NL and IQ4_XS; MXFP4, doubled; NF4 and FP4, times 2^14, as
 * 256 * [0] + [1]. */
extern const int8_t qgemm_iq4_values[16], qgemm_mxfp4_values[16];
extern const int8_t qgemm_nf4_planes[2][16], qgemm_fp4_planes[2][16];

void qgemm_fill_portable(struct qgemm_kernels *kernels);
void qgemm_fill_avx2(struct qgemm_kernels *kernels);
void qgemm_fill_avxvnni(struct qgemm_kernels *kernels);
void qgemm_fill_avx512vnni(struct qgemm_kernels *kernels);
void qgemm_fill_neon(struct qgemm_kernels *kernels);

#endif
