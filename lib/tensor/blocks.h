/* SPDX-License-Identifier: MIT
 *
 * Block-quantized element types of GGUF files: rows of the table in dtype.c. Layouts as in ggml
 * (https://github.com/ggml-org/ggml), little-endian on every machine. Blocks of 32 values are in
 * blocks.c, blocks of 256 in superblocks.c.
 */
#ifndef TENSOR_BLOCKS_H
#define TENSOR_BLOCKS_H

#include <stdint.h>

#define BLOCK_TYPE(name)                                                                           \
    void name##_load(float *out, const void *in, int64_t count);                                   \
    void name##_store(void *out, const float *in, int64_t count)

BLOCK_TYPE(q4_0);
BLOCK_TYPE(q4_1);
BLOCK_TYPE(q5_0);
BLOCK_TYPE(q5_1);
BLOCK_TYPE(q8_0);
BLOCK_TYPE(iq4_nl);
BLOCK_TYPE(mxfp4);

BLOCK_TYPE(q2_k);
BLOCK_TYPE(q3_k);
BLOCK_TYPE(q4_k);
BLOCK_TYPE(q5_k);
BLOCK_TYPE(q6_k);
BLOCK_TYPE(iq4_xs);
BLOCK_TYPE(tq1_0);
BLOCK_TYPE(tq2_0);

#undef BLOCK_TYPE

/* The 16 values of IQ4_NL and IQ4_XS, ascending. */
extern const int8_t iq4_values[16];

/* Index of the value nearest to `x`. */
int iq4_nearest(float x);

/* The best scale for 32 values; 0 when they are all zero or not finite. */
float iq4_fit(const float *in);

#endif
