/* SPDX-License-Identifier: MIT
 *
 * Rotary positions as a configuration asks for them: Hugging Face's "rope_theta" and "rope_scaling"
 * (before transformers 5) or "rope_parameters" (since), which may hold one entry per type of layer.
 * The scaling variants themselves are in kernels/rope.h.
 */
#ifndef NN_ROTARY_H
#define NN_ROTARY_H

#include "base/json.h"
#include "graph/cx.h"
#include "kernels/rope.h"
#include "nn/batch.h"

struct rotary {
    int32_t head_dim;
    bool extended;
    struct rope_parameters rope;
    const float *frequencies;      /* [rotary_dim / 2] */
    const float *long_frequencies; /* LongRoPE: of sequences beyond the original context */
    float scale;                   /* of cos and sin */
};

struct rotary_spec {
    int32_t head_dim;
    int64_t max_positions;
    int64_t original_positions; /* if the configuration does not say; 0: max_positions */
    double theta;               /* if the configuration does not say */
    const char *theta_field;    /* where it may say so outside the objects; NULL: "rope_theta" */
    double part;                /* of a head that turns, likewise; 0: all of it */
    const char *part_field;     /* NULL: "partial_rotary_factor" */
    const char *layer_type;     /* of "rope_parameters", for example "full_attention", or NULL */
    bool unscaled;              /* what is not said of this type is said of other layers */
    bool extended;              /* max_positions counts what scaling adds already */
};

/* Tables are allocated in `arena`. Errors name the field. */
llm_status rotary_read(struct rotary *rotary, struct arena *arena, const json_t *config,
                       const struct rotary_spec *spec);

/* Positions a model with these angles can use: more than max_positions where scaling extends them.
 */
int64_t rotary_context(const struct rotary *rotary);

/* x [N, heads * head_dim], turned by the batch's positions. Where angles depend on the length of a
 * sequence (dynamic, LongRoPE), batch->lengths counts: cached keys stay as they were turned. */
llm_tensor *rotary_forward(struct cx *cx, const struct rotary *rotary, const struct batch *batch,
                           llm_tensor *x);

#endif
