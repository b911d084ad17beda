/* SPDX-License-Identifier: MIT */
#include "generate/seq2seq.h"

#include "generate/beam.h"
#include "generate/sampling.h"
#include "graph/op.h"
#include "nn/kv_cache.h"

#include <string.h>

/* One source and the targets that are being written for it. */
struct writer {
    llm_model *model;
    struct cx encoder; /* holds what was made of the source */
    struct cx cx;      /* of a step */
    struct cross_memory memory;
    int32_t source_offsets[2], rows[2];
    struct kv_cache *cache;
    int32_t *sequences, *spare; /* [targets] of the cache; -1: none */
    int32_t *positions, *offsets;
    int32_t targets;
    int32_t length; /* tokens of each target in the cache */
};

static llm_status read_source(struct writer *writer, const int32_t *source, size_t count)
{
    llm_model *model = writer->model;
    struct cx *cx = &writer->encoder;
    size_t layers = (size_t)model->decoder_layers;
    struct cross_memory *memory = &writer->memory;
    struct batch batch;
    llm_status status = batch_pack(&batch, &cx->arena, source, &count, 1);

    if (!status)
        status = model_check(model, &batch);
    if (status)
        return status;
    memory->keys = arena_alloc(&cx->arena, layers * sizeof *memory->keys);
    memory->values = arena_alloc(&cx->arena, layers * sizeof *memory->values);
    if (!memory->keys || !memory->values)
        return LLM_E_NOMEM;
    writer->source_offsets[1] = (int32_t)count;
    memory->sources = 1;
    memory->offsets = writer->source_offsets;
    memory->q_offsets = writer->rows;
    memory->hidden = model_hidden(cx, model, &batch);
    (void)model->arch->remember(cx, model, memory);
    return cx_status(cx);
}

static llm_status open_writer(struct writer *writer, llm_model *model, int32_t targets)
{
    struct memory *memory = &model->context->memory;
    const struct kv_cache_shape shape = {.layers = model->decoder_layers,
                                         .kv_heads = model->heads,
                                         .head_dim = model->head_dim,
                                         .dtype = LLM_F32};
    size_t count = (size_t)targets;
    llm_status status;

    memset(writer, 0, sizeof *writer);
    writer->model = model;
    writer->targets = targets;
    status = cx_init(&writer->encoder, model->context);
    if (!status)
        status = cx_init(&writer->cx, model->context);
    if (!status)
        status = kv_cache_new(&writer->cache, model->context, &shape);
    if (status)
        return status;
    writer->sequences = memory_alloc_array(memory, count, sizeof *writer->sequences);
    writer->spare = memory_alloc_array(memory, count, sizeof *writer->spare);
    writer->positions = memory_alloc_zeroed(memory, count, sizeof *writer->positions);
    writer->offsets = memory_alloc_zeroed(memory, count + 1, sizeof *writer->offsets);
    if (!writer->sequences || !writer->spare || !writer->positions || !writer->offsets)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        writer->sequences[i] = writer->spare[i] = -1;
        writer->offsets[i + 1] = (int32_t)i + 1;
    }
    return kv_cache_add(writer->cache, &writer->sequences[0]);
}

static void close_writer(struct writer *writer)
{
    struct memory *memory = &writer->model->context->memory;

    cx_free(&writer->cx);
    cx_free(&writer->encoder);
    kv_cache_release(writer->cache);
    memory_release(memory, writer->sequences);
    memory_release(memory, writer->spare);
    memory_release(memory, writer->positions);
    memory_release(memory, writer->offsets);
}

/* One more token of the first `targets` targets; *logits_out [targets, V] until the next step. */
static llm_status step(const float **logits_out, struct writer *writer, const int32_t *ids,
                       int32_t targets)
{
    struct batch batch = {.tokens = targets,
                          .ids = ids,
                          .positions = writer->positions,
                          .segments = targets,
                          .offsets = writer->offsets,
                          .cache = writer->cache,
                          .sequences = writer->sequences};
    llm_tensor *logits;
    llm_status status = LLM_OK;

    cx_reset(&writer->cx);
    for (int32_t i = 0; i < targets && !status; i++) {
        writer->positions[i] = writer->length;
        status = kv_cache_reserve(writer->cache, writer->sequences[i], 1);
    }
    if (!status)
        status = model_check(writer->model, &batch);
    if (status)
        return status;
    writer->rows[1] = targets;
    logits = model_decode(&writer->cx, writer->model, &batch, &writer->memory);
    if (!logits)
        return cx_status(&writer->cx);
    for (int32_t i = 0; i < targets; i++)
        kv_cache_commit(writer->cache, writer->sequences[i], 1);
    writer->length++;
    *logits_out = tensor_f32(logits);
    return LLM_OK;
}

/* Target i goes on from what target parents[i] was. */
static llm_status follow(struct writer *writer, const int32_t *parents)
{
    int32_t *old = writer->sequences;
    llm_status status = LLM_OK;

    for (int32_t i = 0; i < writer->targets && !status; i++)
        status = kv_cache_fork(writer->cache, &writer->spare[i], old[parents[i]]);
    if (status)
        return status;
    for (int32_t i = 0; i < writer->targets; i++) {
        kv_cache_remove(writer->cache, old[i]);
        old[i] = -1;
    }
    writer->sequences = writer->spare;
    writer->spare = old;
    return LLM_OK;
}

/* ---- one target --------------------------------------------------------------------------------
 */

static llm_status write_one(int32_t *ids, size_t *count, struct writer *writer,
                            const struct seq2seq_options *options)
{
    llm_model *model = writer->model;
    struct sampler sampler = {0};
    int32_t last = model->decoder_start;
    llm_status status = sampler_init(&sampler, model->context, model->vocabulary);

    *count = 0;
    while (!status && (int64_t)*count < options->max_tokens) {
        struct sampler_text text = {.ids = ids, .length = *count};
        const float *logits;

        status = step(&logits, writer, &last, 1);
        if (!status)
            status = sampler_pick(&last, &sampler, logits, &text, options->sampling);
        if (status)
            break;
        ids[(*count)++] = last;
        if (last == model->end_token)
            break;
    }
    sampler_free(&sampler);
    return status;
}

/* ---- beams -------------------------------------------------------------------------------------
 */

static llm_status write_beams(int32_t *ids, size_t *count, struct writer *writer,
                              const struct seq2seq_options *options)
{
    llm_model *model = writer->model;
    const struct beam_options beams = {.beams = options->beams,
                                       .stopping = options->stopping,
                                       .vocabulary = model->vocabulary,
                                       .max_tokens = options->max_tokens,
                                       .length_penalty = options->length_penalty,
                                       .end_ids = &model->end_token,
                                       .end_count = model->end_token >= 0,
                                       .kernels = model->context->kernels};
    struct beam_search beam;
    const float *logits = NULL;
    int64_t length = 0;
    float score;
    llm_status status = beam_open(&beam, &model->context->memory, &beams);

    if (status)
        return status;
    status = step(&logits, writer, &model->decoder_start, 1);
    if (!status)
        status = beam_step(&beam, logits);
    while (!status && !beam.is_done) {
        status = follow(writer, beam.parents);
        if (!status)
            status = step(&logits, writer, beam.ids, options->beams);
        if (!status)
            status = beam_step(&beam, logits);
    }
    if (!status && !beam_result(&beam, 0, ids, &length, &score))
        status = status_set(LLM_E_INTERNAL, "beam search ended without a text");
    *count = (size_t)length;
    beam_close(&beam);
    return status;
}

llm_status seq2seq_generate(int32_t *ids, size_t capacity, size_t *count, llm_model *model,
                            const int32_t *source, size_t source_count,
                            const struct seq2seq_options *options)
{
    struct memory *memory = &model->context->memory;
    struct writer writer;
    int32_t *written = NULL;
    llm_status status = model_lock_shared(model);

    *count = 0;
    if (status)
        return status;
    status = open_writer(&writer, model, options->beams);
    if (!status)
        status = read_source(&writer, source, source_count);
    if (!status) {
        written = memory_alloc_array(memory, (size_t)options->max_tokens, sizeof *written);
        status = written ? LLM_OK : LLM_E_NOMEM;
    }
    if (!status && options->beams > 1)
        status = write_beams(written, count, &writer, options);
    else if (!status)
        status = write_one(written, count, &writer, options);
    if (!status && *count > capacity)
        status = status_set(LLM_E_BUFFER, "%zu tokens are needed, %zu fit", *count, capacity);
    else if (!status)
        memcpy(ids, written, *count * sizeof *ids);
    memory_release(memory, written);
    close_writer(&writer);
    model_unlock_shared(model);
    return status;
}
