/* SPDX-License-Identifier: MIT */
#include "kernels/vector_lanes.h"

#include "base/cpu.h"
#include "kernels/recurrent.h"
#include "kernels/recurrent_table.h"

void recurrent_fill_portable(struct recurrent_kernels *recurrent)
{
    *recurrent = table;
}

void recurrent_fill(struct recurrent_kernels *recurrent, uint32_t cpu)
{
    recurrent_fill_portable(recurrent);
#if defined(__x86_64__)
    if (cpu & CPU_AVX2)
        recurrent_fill_avx2(recurrent);
    if (cpu & CPU_AVX512)
        recurrent_fill_avx512(recurrent);
#else
    (void)cpu;
#endif
}
