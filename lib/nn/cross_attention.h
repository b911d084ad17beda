/* SPDX-License-Identifier: MIT
 *
 * Attention of a decoder's tokens to what an encoder made of the source texts. The keys and values
 * of the source are computed in the pass (training), or once per source and kept (generating).
 */
#ifndef NN_CROSS_ATTENTION_H
#define NN_CROSS_ATTENTION_H

#include "graph/cx.h"

/* What a decoder can look at: the source texts of a batch, laid end to end. */
struct cross_memory {
    llm_tensor *hidden;       /* [M, D]: states of the encoder; may be NULL when keys are kept */
    int32_t sources;          /* source texts */
    const int32_t *offsets;   /* [sources + 1]: source i holds rows offsets[i] .. offsets[i+1]-1 */
    const int32_t *q_offsets; /* [sources + 1]: the rows of the decoder's batch that see source i;
                               * several target texts of one source lie side by side */
    llm_tensor **keys;        /* NULL, or [layers] tensors [M, H * d]; not owned */
    llm_tensor **values;      /* the same */
};

struct cross_attention {
    int32_t heads, head_dim;
    float scale;
    float dropout; /* in training */
};

/* q [N, H * d], k and v [M, H * d] -> [N, H * d]. Every row sees its whole source. */
llm_tensor *cross_attention_forward(struct cx *cx, const struct cross_attention *attention,
                                    const struct cross_memory *memory, llm_tensor *q, llm_tensor *k,
                                    llm_tensor *v);

#endif
