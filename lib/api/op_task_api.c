/* SPDX-License-Identifier: MIT
 *
 * Heads: facts, and as operations on a tape. The beginning of llm/task.h.
 */
#include "api/tape_api.h"
#include "models/head.h"

int32_t llm_model_head(const llm_model *model)
{
    return model ? model->head.kind : LLM_HEAD_NONE;
}

int32_t llm_model_problem(const llm_model *model)
{
    return model ? model->head.problem : 0;
}

size_t llm_model_label_count(const llm_model *model)
{
    return model ? (size_t)model->head.labels : 0;
}

const char *llm_model_label(const llm_model *model, size_t index)
{
    return model && index < (size_t)model->head.labels ? model->head.names[index] : NULL;
}

static const llm_task_batch default_batch = {.struct_size = sizeof default_batch};

llm_status llm_task_batch_init(llm_task_batch *batch, size_t struct_size)
{
    return options_fill(batch, struct_size, &default_batch, sizeof default_batch, "llm_task_batch");
}

/* ---- on a tape ---- */

static llm_status pack(struct batch *batch, struct cx *cx, const llm_model *model,
                       const llm_task_batch *given)
{
    llm_status status = batch_pack(batch, &cx->arena, given->ids, given->lengths, given->count);

    if (!status)
        status = model_check(model, batch);
    if (status || !given->type_ids)
        return status;
    return batch_set_types(batch, &cx->arena, given->type_ids);
}

static llm_tensor *seq2seq(struct cx *cx, llm_model *model, const llm_task_batch *given,
                           const struct batch *source, bool loss)
{
    struct batch target;
    llm_status status;

    if (!given->targets || !given->target_lengths)
        return cx_fail(cx, LLM_E_INVALID, "%s: needs targets and target_lengths",
                       model->head.class_name);
    status = batch_pack(&target, &cx->arena, given->targets, given->target_lengths, given->count);
    if (status)
        return cx_adopt(cx, status);
    if (loss)
        return model_seq2seq_loss(cx, model, source, &target, given->targets);
    return model_seq2seq_logits(cx, model, source, &target, given->targets);
}

static llm_tensor *run(struct cx *cx, llm_model *model, const llm_task_batch *given, bool loss)
{
    struct head_targets targets = {given->targets, given->values};
    struct batch batch;
    llm_status status = pack(&batch, cx, model, given);

    if (status)
        return cx_adopt(cx, status);
    if (model->head.kind == LLM_HEAD_SEQ2SEQ)
        return seq2seq(cx, model, given, &batch, loss);
    if (loss)
        return model_head_loss(cx, model, &batch, &targets);
    return model_head(cx, model, &batch, model_hidden(cx, model, &batch));
}

static llm_status run_checked(llm_tensor **out, llm_tape *tape, llm_model *model,
                              const llm_task_batch *given, const char *name, bool loss)
{
    llm_status status = enter(out, tape, name, 0, NULL);
    llm_task_batch batch = default_batch;
    llm_tensor *result = NULL;
    struct cx *cx;

    if (status)
        return status;
    cx = &tape->cx;
    if (!model || !given)
        status = null_argument(name, model ? "batch" : "model");
    if (!status)
        status = options_read(&batch, sizeof batch, given, "llm_task_batch");
    if (!status && (!batch.ids || !batch.lengths))
        status = null_argument(name, batch.ids ? "lengths" : "ids");
    if (!status)
        status = model_lock_shared(model);
    if (!status) {
        result = run(cx, model, &batch, loss);
        model_unlock_shared(model);
    }
    if (status)
        cx_adopt(cx, status);
    return leave(out, tape, result);
}

llm_status llm_op_task_scores(llm_tensor **out, llm_tape *tape, llm_model *model,
                              const llm_task_batch *batch)
{
    return run_checked(out, tape, model, batch, "llm_op_task_scores", false);
}

llm_status llm_op_task_loss(llm_tensor **out, llm_tape *tape, llm_model *model,
                            const llm_task_batch *batch)
{
    return run_checked(out, tape, model, batch, "llm_op_task_loss", true);
}
