/* SPDX-License-Identifier: MIT
 *
 * Golden folders of models with heads (tests/golden/make_encoders.py): opened, run, compared.
 */
#ifndef TESTS_MODELS_HEADS_H
#define TESTS_MODELS_HEADS_H

#include "fixture.h"
#include "models/head.h"

struct head_golden {
    llm_context *context;
    llm_model *model;
    struct tensor_source *values;
    struct arena arena;
    struct batch batch;  /* with types, where the folder has them */
    struct batch target; /* T5: target texts */
    struct head_targets targets;
};

void head_golden_open(struct head_golden *golden, const char *folder, int32_t threads);
void head_golden_close(struct head_golden *golden);

/* Values of a tensor of golden.safetensors, in the arena; fails the test if there is none. */
const void *head_golden_values(struct head_golden *golden, const char *name, int64_t *count);
bool head_golden_has(const struct head_golden *golden, const char *name);

/* Fails the test when `got` is farther than `limit` from the golden tensor of that name, compared
 * with max(|expected|) if `relative`. */
void head_golden_compare(struct head_golden *golden, const char *folder, const char *name,
                         const float *got, int64_t count, double limit, bool relative);

/* Every gradient of the model against "grad.NAME"; a parameter without one has none there. */
void head_golden_compare_gradients(struct head_golden *golden, const char *folder);

void check_cx(struct cx *cx, const char *folder);

#endif
