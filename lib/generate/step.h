/* SPDX-License-Identifier: MIT
 *
 * One run of the model over new tokens of one or several sequences of a KV cache, laid end to end:
 * prefill of a prompt, decoding of one token, and any mix of both are the same call.
 */
#ifndef GENERATE_STEP_H
#define GENERATE_STEP_H

#include "models/model.h"
#include "nn/kv_cache.h"

struct step_part {
    int32_t sequence;
    const int32_t *ids; /* in the model's vocabulary */
    int64_t count;      /* > 0 */
    int64_t length;     /* tokens of the sequence when the whole text is read; 0: with these */
    int64_t rows;       /* its last tokens that logits are wanted of; 0: one */
};

struct stepper {
    llm_model *model; /* borrowed */
    struct kv_cache *cache;
    struct cx cx;
    int32_t *ids, *positions;     /* [tokens] of the batch */
    int32_t *wanted;              /* [tokens], which of them logits are wanted of */
    int32_t *offsets, *sequences; /* [parts + 1], [parts] */
    int32_t *lengths;             /* [parts] */
    size_t token_capacity, part_capacity;
};

/* Takes a reference to `cache`; `model` must outlive the stepper. */
llm_status stepper_init(struct stepper *stepper, llm_model *model, struct kv_cache *cache);
void stepper_free(struct stepper *stepper); /* zeroed stepper allowed */

/* Runs the model and appends the tokens to their sequences. `logits` NULL, or those
 * after the wanted tokens of each part, one row of V after the other. After a failure,
 * LLM_E_CANCELLED included, nothing changed. */
llm_status stepper_run(struct stepper *stepper, const struct step_part *parts, size_t count,
                       float *logits);

#endif
