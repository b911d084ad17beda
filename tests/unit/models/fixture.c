/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

llm_context *make_context(int32_t threads)
{
    llm_context_options options;
    llm_context *context;

    assert_int_equal(LLM_OK, llm_context_options_init(&options, sizeof options));
    options.threads = threads;
    assert_int_equal(LLM_OK, llm_context_new(&context, &options));
    return context;
}

const char *golden_path(const char *name)
{
    static char path[1024];
    const char *root = getenv("LLM_TEST_GOLDEN");

    if (!root)
        fail_msg("LLM_TEST_GOLDEN does not name the folder tests/golden");
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

llm_tensor *golden_tensor(const struct golden *golden, const char *name)
{
    const struct tensor_entry *entry = tensor_source_find(golden->values, name);
    llm_tensor *tensor;

    if (!entry)
        fail_msg("golden.safetensors has no \"%s\"", name);
    assert_int_equal(LLM_OK, tensor_new(&tensor, golden->context, entry->dtype, entry->dimensions,
                                        entry->shape));
    assert_int_equal(LLM_OK, tensor_source_load(golden->values, entry, tensor, NULL, NULL));
    return tensor;
}

void golden_open(struct golden *golden, const char *name, int32_t threads)
{
    char file[256];

    memset(golden, 0, sizeof *golden);
    golden->context = make_context(threads);
    if (model_load(&golden->model, golden->context, golden_path(name), NULL))
        fail_msg("%s: %s", name, status_message());
    (void)snprintf(file, sizeof file, "%s/golden.safetensors", name);
    if (tensor_source_open(&golden->values, &golden->context->memory, golden_path(file)))
        fail_msg("%s", status_message());
    golden->ids = golden_tensor(golden, "ids");
    golden->targets = golden_tensor(golden, "targets");
    golden->offsets = golden_tensor(golden, "offsets");
    golden->logits = golden_tensor(golden, "logits");
    golden->batch.tokens = golden->ids->shape[0];
    golden->batch.ids = golden->ids->data;
    golden->batch.positions = golden->positions;
    golden->batch.segments = (int32_t)golden->offsets->shape[0] - 1;
    golden->batch.offsets = golden->offsets->data;
    for (int32_t s = 0; s < golden->batch.segments; s++) {
        for (int32_t i = golden->batch.offsets[s]; i < golden->batch.offsets[s + 1]; i++)
            golden->positions[i] = i - golden->batch.offsets[s];
    }
    if (model_check(golden->model, &golden->batch))
        fail_msg("%s", status_message());
}

void golden_close(struct golden *golden)
{
    tensor_release(golden->ids);
    tensor_release(golden->targets);
    tensor_release(golden->offsets);
    tensor_release(golden->logits);
    tensor_source_close(golden->values);
    model_release(golden->model);
    llm_context_free(golden->context);
}

double largest_difference(const float *a, const float *b, int64_t count, double floor)
{
    double largest = 0.0;

    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]) / (floor + fabs((double)b[i]));

        if (!(difference <= largest))
            largest = difference; /* NaN is kept */
    }
    return largest;
}
