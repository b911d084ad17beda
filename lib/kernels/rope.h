/* SPDX-License-Identifier: MIT
 *
 * Rotary positions: pairs of elements of each head are turned by position * frequency. Su et al.,
 * "RoFormer" (2021). Both ways of pairing, and the frequencies of the published scaling variants as
 * Hugging Face's models define them: linear, dynamic NTK, YaRN (Peng et al., 2023), Llama 3,
 * LongRoPE (Ding et al., 2024), proportional.
 */
#ifndef KERNELS_ROPE_H
#define KERNELS_ROPE_H

#include <stdint.h>

struct rope_args {
    int64_t rows;
    int32_t heads, head_dim;
    int32_t rotary_dim;       /* even, at most head_dim; elements behind it pass through */
    int32_t interleaved;      /* pairs (2i, 2i + 1), else (i, i + rotary_dim / 2) */
    int32_t inverse;          /* turn back: the gradient, and moving cached keys */
    int32_t add;              /* y += the result */
    const int32_t *positions; /* [rows] */
    const float *frequencies; /* [rotary_dim / 2], radians per position */
    float scale;              /* of cos and sin */
    const float *x;
    float *y; /* x itself allowed, with the same stride */
    int64_t x_stride, y_stride;
    int threads;
};

enum rope_kind {
    ROPE_PLAIN,
    ROPE_LINEAR,
    ROPE_DYNAMIC,
    ROPE_YARN,
    ROPE_LLAMA3,
    ROPE_LONG,
    ROPE_PROPORTIONAL
};

/* Names follow config.json's rope_parameters. Zero-initialize; 0 means the usual default. */
struct rope_parameters {
    int32_t kind;
    int32_t rotary_dim; /* proportional: all of the head */
    double theta;
    double factor;              /* 0: max_positions / original_positions */
    int64_t max_positions;      /* max_position_embeddings */
    int64_t original_positions; /* original_max_position_embeddings */
    int64_t length;             /* dynamic, long: of the longest sequence; 0: not known yet */
    double attention_factor;    /* YaRN, long: 0: derived from the factor */
    double beta_fast, beta_slow, mscale, mscale_all_dim;
    int32_t no_truncate;                      /* YaRN: keep fractions of the correction range */
    double low_freq_factor, high_freq_factor; /* Llama 3 */
    const double *short_factor, *long_factor; /* LongRoPE, [rotary_dim / 2] */
    double turned_part;                       /* proportional: share of the pairs that turn */
};

/* Fills frequencies[rotary_dim / 2]; returns the scale of cos and sin. */
float rope_frequencies(const struct rope_parameters *parameters, float *frequencies);

#endif
