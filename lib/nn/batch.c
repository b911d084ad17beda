/* SPDX-License-Identifier: MIT */
#include "nn/batch.h"

#include "base/checked.h"

#include <string.h>

static llm_status check_offsets(const struct batch *batch)
{
    if (batch->segments < 1)
        return status_set(LLM_E_RANGE, "the batch has %d sequences", batch->segments);
    if (batch->offsets[0] != 0 || batch->offsets[batch->segments] != batch->tokens)
        return status_set(LLM_E_INVALID, "the batch's offsets do not cover its tokens");
    for (int32_t s = 0; s < batch->segments; s++) {
        if (batch->offsets[s] >= batch->offsets[s + 1])
            return status_set(LLM_E_INVALID, "sequence %d of the batch is empty", s);
    }
    return LLM_OK;
}

llm_status batch_check(const struct batch *batch, int64_t vocabulary, int64_t context_length)
{
    llm_status status;

    if (!batch->ids || !batch->positions || !batch->offsets || (batch->cache && !batch->sequences))
        return status_set(LLM_E_INVALID, "the batch lacks an array");
    if (batch->tokens < 1 || batch->tokens > INT32_MAX)
        return status_set(LLM_E_RANGE, "the batch has %lld tokens", (long long)batch->tokens);
    status = check_offsets(batch);
    for (int64_t i = 0; i < batch->tokens && !status; i++) {
        if (batch->ids[i] < 0 || batch->ids[i] >= vocabulary)
            status = status_set(LLM_E_RANGE, "token %lld has id %d, outside 0..%lld", (long long)i,
                                batch->ids[i], (long long)vocabulary - 1);
        else if (batch->positions[i] < 0 || batch->positions[i] >= context_length)
            status = status_set(LLM_E_RANGE,
                                "token %lld has position %d: the model's context is %lld tokens",
                                (long long)i, batch->positions[i], (long long)context_length);
    }
    return status;
}

static llm_status count_tokens(size_t *total, const size_t *lengths, size_t count)
{
    *total = 0;
    if (count < 1 || count > INT32_MAX)
        return status_set(LLM_E_RANGE, "the batch has %zu sequences", count);
    for (size_t s = 0; s < count; s++) {
        if (lengths[s] == 0)
            return status_set(LLM_E_RANGE, "sequence %zu of the batch is empty", s);
        if (!checked_add(*total, lengths[s], total) || *total > INT32_MAX)
            return status_set(LLM_E_RANGE, "the batch has more than %d tokens", INT32_MAX);
    }
    return LLM_OK;
}

llm_status batch_pack(struct batch *batch, struct arena *arena, const int32_t *ids,
                      const size_t *lengths, size_t count)
{
    int32_t *copy, *positions, *offsets;
    llm_status status;
    size_t total;

    memset(batch, 0, sizeof *batch);
    status = count_tokens(&total, lengths, count);
    if (status)
        return status;
    copy = arena_alloc(arena, total * sizeof *copy);
    positions = arena_alloc(arena, total * sizeof *positions);
    offsets = arena_alloc(arena, (count + 1) * sizeof *offsets);
    if (!copy || !positions || !offsets)
        return LLM_E_NOMEM;
    memcpy(copy, ids, total * sizeof *copy);
    for (size_t s = 0; s < count; s++) {
        offsets[s + 1] = offsets[s] + (int32_t)lengths[s];
        for (int32_t i = offsets[s]; i < offsets[s + 1]; i++)
            positions[i] = i - offsets[s];
    }
    batch->tokens = (int64_t)total;
    batch->ids = copy;
    batch->positions = positions;
    batch->segments = (int32_t)count;
    batch->offsets = offsets;
    return LLM_OK;
}

llm_status batch_set_types(struct batch *batch, struct arena *arena, const int32_t *types)
{
    int32_t *copy = arena_alloc(arena, (size_t)batch->tokens * sizeof *copy);

    if (!copy)
        return LLM_E_NOMEM;
    memcpy(copy, types, (size_t)batch->tokens * sizeof *copy);
    batch->types = copy;
    return LLM_OK;
}
