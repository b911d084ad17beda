/* SPDX-License-Identifier: MIT
 *
 * A mixture of experts in place of one feed-forward: a router picks a few gated networks for each
 * token, whose outputs are added with the router's weights. Shazeer et al., "Outrageously large
 * neural networks" (2017); routing as in Jiang et al., "Mixtral of experts" (2024).
 */
#ifndef NN_EXPERTS_H
#define NN_EXPERTS_H

#include "base/arena.h"
#include "nn/gated_mlp.h"

enum { EXPERTS_MOST_USED = 16 };

struct experts {
    int32_t count;          /* E */
    int32_t used;           /* per token, at most EXPERTS_MOST_USED */
    struct linear router;   /* [E, D] */
    struct gated_mlp *list; /* [E] */
};

struct experts_spec {
    int64_t dim, inner;
    int32_t count, used;
    activation_fn activation;
    float deviation, down_deviation;
};

/* Declares the router and the experts of a layer under Mixtral's names. */
llm_status experts_declare(struct experts *experts, struct params *params, struct arena *arena,
                           const struct experts_spec *spec, int32_t layer);

/* x [N, D] -> [N, D]. Each expert sees only its own rows; experts that no row picked cost nothing
 * and get no gradient. */
llm_tensor *experts_forward(struct cx *cx, const struct experts *experts, llm_tensor *x);

#endif
