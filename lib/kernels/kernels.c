/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <string.h>

void kernels_fill(struct kernels *kernels, uint32_t cpu)
{
    memset(kernels, 0, sizeof *kernels);
    kernels->cpu = cpu;
    gemm_fill(&kernels->gemm, cpu);
    qgemm_fill(&kernels->qgemm, cpu);
    attention_fill(&kernels->attention, cpu);
    recurrent_fill(&kernels->recurrent, cpu);
    vector_fill(&kernels->vector, cpu);
}
