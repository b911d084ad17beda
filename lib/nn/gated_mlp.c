/* SPDX-License-Identifier: MIT */
#include "nn/gated_mlp.h"

#include "graph/op.h"

/* f(gate) * up; SiLU, which nearly every model uses, in one pass. */
static llm_tensor *gated(struct cx *cx, activation_fn activation, llm_tensor *gate, llm_tensor *up)
{
    llm_tensor *active, *product;

    if (activation == op_silu)
        return op_swiglu(cx, gate, up);
    active = activation(cx, gate);
    product = op_mul(cx, active, up);
    cx_release(cx, active);
    return product;
}

llm_tensor *gated_mlp_forward(struct cx *cx, const struct gated_mlp *mlp, llm_tensor *x)
{
    llm_tensor *gate = linear_forward(cx, &mlp->gate, x); /* [N, F], or [N, 2F] */
    llm_tensor *up, *inner, *y;

    if (mlp->fused) {
        int64_t width = gate ? tensor_last(gate) / 2 : 0;

        up = op_slice(cx, gate, 1, width, 2 * width, 1);
        gate = op_slice(cx, gate, 1, 0, width, 1);
    } else {
        up = linear_forward(cx, &mlp->up, x);
    }
    inner = gated(cx, mlp->activation, gate, up); /* [N, F] */
    y = linear_forward(cx, &mlp->down, inner);
    cx_release(cx, inner);
    return y;
}

llm_tensor *mlp_forward(struct cx *cx, const struct mlp *mlp, llm_tensor *x)
{
    llm_tensor *active = mlp->activation(cx, linear_forward(cx, &mlp->up, x)); /* [N, F] */
    llm_tensor *y = linear_forward(cx, &mlp->down, active);

    cx_release(cx, active);
    return y;
}
