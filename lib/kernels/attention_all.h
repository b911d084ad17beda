/* SPDX-License-Identifier: MIT
 *
 * Included last by each instruction set's file, which has defined the vector operations (see
 * attention_portable.c) and ATTENTION_FILL, the name of the function that fills its table.
 */
#include "kernels/attention_inner.h"
#include "kernels/attention_forward.h"
#include "kernels/attention_backward.h"
#include "kernels/attention_paged.h"
#include "kernels/attention_rope.h"

void ATTENTION_FILL(struct attention_kernels *kernels)
{
    kernels->forward = forward;
    kernels->backward = backward;
    kernels->paged = paged;
    kernels->cache_write = cache_write;
    kernels->rope = rope;
}
