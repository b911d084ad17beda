/* SPDX-License-Identifier: MIT
 *
 * Whole models as operations on a tape: the end of llm/model.h.
 */
#include "api/tape_api.h"
#include "models/model.h"

/* `targets` NULL: logits. */
static llm_status run(llm_tensor **out, llm_tape *tape, llm_model *model, const int32_t *ids,
                      const int32_t *targets, const size_t *lengths, size_t sequences)
{
    struct cx *cx = &tape->cx;
    llm_tensor *result = NULL;
    struct batch batch;
    llm_status status = model_lock_shared(model);

    if (!status) {
        status = batch_pack(&batch, &cx->arena, ids, lengths, sequences);
        if (!status)
            status = model_check(model, &batch);
        if (!status)
            result = targets ? model_loss(cx, model, &batch, targets, 0.0f)
                             : model_logits(cx, model, model_hidden(cx, model, &batch));
        model_unlock_shared(model);
    }
    if (status)
        cx_adopt(cx, status);
    return leave(out, tape, result);
}

/* Like every failure on a tape, a missing argument sticks to it. */
static llm_status missing(llm_tape *tape, const char *function, const char *argument)
{
    cx_adopt(&tape->cx, null_argument(function, argument));
    return cx_status(&tape->cx);
}

llm_status llm_op_model_logits(llm_tensor **out, llm_tape *tape, llm_model *model,
                               const int32_t *ids, const size_t *lengths, size_t sequences)
{
    static const char name[] = "llm_op_model_logits";
    llm_status status = enter(out, tape, name, 0, NULL);

    if (status)
        return status;
    if (!model || !ids || !lengths)
        return missing(tape, name, !model ? "model" : !ids ? "ids" : "lengths");
    return run(out, tape, model, ids, NULL, lengths, sequences);
}

llm_status llm_op_model_loss(llm_tensor **out, llm_tape *tape, llm_model *model, const int32_t *ids,
                             const int32_t *targets, const size_t *lengths, size_t sequences)
{
    static const char name[] = "llm_op_model_loss";
    llm_status status = enter(out, tape, name, 0, NULL);

    if (status)
        return status;
    if (!model || !ids || !targets)
        return missing(tape, name, !model ? "model" : !ids ? "ids" : "targets");
    if (!lengths)
        return missing(tape, name, "lengths");
    return run(out, tape, model, ids, targets, lengths, sequences);
}
