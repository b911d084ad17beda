/* SPDX-License-Identifier: MIT
 *
 * The feed-forward halves of decoder blocks: down(f(gate(x)) * up(x)), after Shazeer, "GLU variants
 * improve transformer" (2020), and the older down(f(up(x))).
 */
#ifndef NN_GATED_MLP_H
#define NN_GATED_MLP_H

#include "nn/activation.h"
#include "nn/linear.h"

struct gated_mlp {
    struct linear gate; /* [F, D]; or, if `fused`, gate and up as the halves of [2F, D] */
    struct linear up;   /* [F, D] unless fused */
    struct linear down; /* [D, F] */
    activation_fn activation;
    bool fused;
};

llm_tensor *gated_mlp_forward(struct cx *cx, const struct gated_mlp *mlp, llm_tensor *x);

struct mlp {
    struct linear up;   /* [F, D] */
    struct linear down; /* [D, F] */
    activation_fn activation;
};

llm_tensor *mlp_forward(struct cx *cx, const struct mlp *mlp, llm_tensor *x);

#endif
