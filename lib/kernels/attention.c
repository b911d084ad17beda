/* SPDX-License-Identifier: MIT */
#include "kernels/attention_plan.h"
#include "base/cpu.h"

void attention_fill(struct attention_kernels *kernels, uint32_t cpu)
{
    attention_fill_portable(kernels);
#if defined(__x86_64__)
    if (cpu & CPU_AVX2)
        attention_fill_avx2(kernels);
    if (cpu & CPU_AVX512)
        attention_fill_avx512(kernels);
#else
    (void)cpu;
#endif
}

static size_t team(int threads)
{
    return threads > 1 ? (size_t)threads : 1;
}

size_t attention_scratch_bytes(const struct attention_args *args)
{
    return sizeof(float) * team(args->threads) * attention_forward_floats(args->shape.head_dim);
}

size_t attention_backward_scratch_bytes(const struct attention_backward_args *args)
{
    const struct attention_args *forward = &args->forward;

    return sizeof(float) *
           (attention_delta_floats(forward) +
            team(forward->threads) * attention_backward_floats(forward->shape.head_dim));
}

size_t attention_page_bytes(const struct attention_cache *cache)
{
    return sizeof(float) * 2 * (size_t)cache->kv_heads * (size_t)cache->page_tokens *
           (size_t)attention_width(cache->head_dim);
}

size_t attention_paged_scratch_bytes(const struct attention_paged_args *args)
{
    const struct attention_shape *shape = &args->shape;
    size_t floats = team(args->threads) * attention_forward_floats(shape->head_dim);

    for (int32_t s = 0; s < args->sequences; s++) {
        int64_t nq = args->q_offsets[s + 1] - args->q_offsets[s];
        int64_t nk = args->kv_lengths[s];

        if (attention_is_split(shape, nq, nk))
            floats += (size_t)(nq * shape->heads * attention_chunks(nk) *
                               attention_partial_floats(shape->head_dim));
    }
    return sizeof(float) * floats;
}
