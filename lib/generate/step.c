/* SPDX-License-Identifier: MIT */
#include "generate/step.h"

#include "graph/op.h"

#include <string.h>

llm_status stepper_init(struct stepper *stepper, llm_model *model, struct kv_cache *cache)
{
    llm_status status;

    memset(stepper, 0, sizeof *stepper);
    status = cx_init(&stepper->cx, model->context);
    if (status)
        return status;
    stepper->model = model;
    stepper->cache = kv_cache_retain(cache);
    return LLM_OK;
}

void stepper_free(struct stepper *stepper)
{
    struct memory *memory;

    if (!stepper->model)
        return;
    memory = &stepper->model->context->memory;
    memory_release(memory, stepper->ids);
    memory_release(memory, stepper->positions);
    memory_release(memory, stepper->offsets);
    memory_release(memory, stepper->sequences);
    memory_release(memory, stepper->wanted);
    memory_release(memory, stepper->lengths);
    kv_cache_release(stepper->cache);
    cx_free(&stepper->cx);
    memset(stepper, 0, sizeof *stepper);
}

/* The arrays of one capacity grow together; `*capacity` follows when all of them did. */
static llm_status grow(struct memory *memory, size_t *capacity, size_t needed, int32_t **arrays[],
                       size_t count)
{
    size_t wanted = *capacity;

    if (needed <= *capacity)
        return LLM_OK;
    for (size_t i = 0; i < count; i++) {
        wanted = 0; /* contents are not kept */
        memory_release(memory, *arrays[i]);
        *arrays[i] = NULL;
    }
    *capacity = 0;
    for (size_t i = 0; i < count; i++) {
        wanted = 0;
        if (memory_grow(memory, (void **)arrays[i], &wanted, needed, sizeof(int32_t)))
            return LLM_E_NOMEM;
    }
    *capacity = wanted;
    return LLM_OK;
}

static llm_status make_room(struct stepper *stepper, const struct step_part *parts, size_t count)
{
    struct memory *memory = &stepper->model->context->memory;
    int32_t **per_token[] = {&stepper->ids, &stepper->positions, &stepper->wanted};
    int32_t **per_part[] = {&stepper->offsets, &stepper->sequences, &stepper->lengths};
    llm_status status;
    int64_t tokens = 0;

    for (size_t i = 0; i < count; i++)
        tokens += parts[i].count;
    status = grow(memory, &stepper->token_capacity, (size_t)tokens, per_token, 3);
    if (!status)
        status = grow(memory, &stepper->part_capacity, count + 1, per_part, 3);
    for (size_t i = 0; i < count && !status; i++)
        status = kv_cache_reserve(stepper->cache, parts[i].sequence, parts[i].count);
    return status;
}

/* The number of tokens that logits are wanted of. */
static int64_t fill_batch(struct batch *batch, struct stepper *stepper,
                          const struct step_part *parts, size_t count)
{
    int32_t tokens = 0;
    int64_t wanted = 0;

    stepper->offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t start = kv_cache_length(stepper->cache, parts[i].sequence);

        for (int64_t t = 0; t < parts[i].count; t++) {
            stepper->ids[tokens] = parts[i].ids[t];
            stepper->positions[tokens++] = (int32_t)(start + t);
        }
        stepper->offsets[i + 1] = tokens;
        stepper->sequences[i] = parts[i].sequence;
        for (int64_t row = parts[i].rows ? parts[i].rows : 1; row > 0; row--)
            stepper->wanted[wanted++] = tokens - (int32_t)row;
        stepper->lengths[i] = (int32_t)(parts[i].length ? parts[i].length : start + parts[i].count);
    }
    *batch = (struct batch){.tokens = tokens,
                            .ids = stepper->ids,
                            .positions = stepper->positions,
                            .segments = (int32_t)count,
                            .offsets = stepper->offsets,
                            .cache = stepper->cache,
                            .sequences = stepper->sequences,
                            .lengths = stepper->lengths};
    return wanted;
}

static llm_status run_model(struct stepper *stepper, const struct batch *batch, int64_t count,
                            float *logits)
{
    struct cx *cx = &stepper->cx;
    llm_tensor *hidden = model_hidden(cx, stepper->model, batch); /* [N, D] */
    llm_tensor *rows = hidden;                                    /* [wanted, D] */
    llm_tensor *out;                                              /* [wanted, V] */

    if (!logits || !hidden)
        return cx_status(cx);
    if (count < batch->tokens)
        rows = op_select_rows(cx, hidden, stepper->wanted, count);
    out = model_logits(cx, stepper->model, rows);
    if (out)
        memcpy(logits, out->data, (size_t)(count * stepper->model->vocabulary) * sizeof *logits);
    return cx_status(cx);
}

llm_status stepper_run(struct stepper *stepper, const struct step_part *parts, size_t count,
                       float *logits)
{
    llm_status status = make_room(stepper, parts, count);
    struct batch batch;
    int64_t wanted = 0;

    if (!status) {
        wanted = fill_batch(&batch, stepper, parts, count);
        status = model_check(stepper->model, &batch);
    }
    if (!status)
        status = run_model(stepper, &batch, wanted, logits);
    cx_reset(&stepper->cx);
    for (size_t i = 0; i < count; i++) {
        int32_t sequence = parts[i].sequence;

        if (status) /* give back what was reserved */
            (void)kv_cache_rewind(stepper->cache, sequence,
                                  kv_cache_length(stepper->cache, sequence));
        else
            kv_cache_commit(stepper->cache, sequence, parts[i].count);
    }
    return status;
}
