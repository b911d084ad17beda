/* SPDX-License-Identifier: MIT
 *
 * Shared by the tests of models: contexts that fail the test when they cannot be made, and the
 * golden folders of tests/golden, found through LLM_TEST_GOLDEN.
 */
#ifndef TESTS_MODELS_FIXTURE_H
#define TESTS_MODELS_FIXTURE_H

#include "formats/tensor_source.h"
#include "models/model.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* A golden folder: the model and what PyTorch computed with it. */
struct golden {
    llm_context *context;
    llm_model *model;
    struct tensor_source *values;
    llm_tensor *ids, *targets, *offsets, *logits;
    struct batch batch;
    int32_t positions[64];
};

llm_context *make_context(int32_t threads);

/* Path of a golden folder or file, in a buffer that the next call overwrites. */
const char *golden_path(const char *name);

void golden_open(struct golden *golden, const char *name, int32_t threads);
void golden_close(struct golden *golden);

/* A tensor of golden.safetensors; release it with tensor_release(). */
llm_tensor *golden_tensor(const struct golden *golden, const char *name);

/* Largest |a - b| / (floor + |b|). */
double largest_difference(const float *a, const float *b, int64_t count, double floor);

#endif
