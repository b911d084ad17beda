/* SPDX-License-Identifier: MIT */
#include "heads.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void check_cx(struct cx *cx, const char *folder)
{
    if (cx_status(cx))
        fail_msg("%s: %s", folder, status_message());
}

bool head_golden_has(const struct head_golden *golden, const char *name)
{
    return tensor_source_find(golden->values, name) != NULL;
}

const void *head_golden_values(struct head_golden *golden, const char *name, int64_t *count)
{
    const struct tensor_entry *entry = tensor_source_find(golden->values, name);
    llm_tensor view = {0};

    if (!entry)
        fail_msg("golden.safetensors has no \"%s\"", name);
    assert_int_equal(LLM_OK,
                     tensor_set_shape(&view, entry->dtype, entry->dimensions, entry->shape, count));
    view.data = arena_alloc(&golden->arena, (size_t)entry->bytes + 1);
    assert_non_null(view.data);
    assert_int_equal(LLM_OK, tensor_source_load(golden->values, entry, &view, NULL, NULL));
    return view.data;
}

/* The texts whose ids and offsets have these names, as a batch. */
static void open_batch(struct head_golden *golden, struct batch *batch, const char *ids_name,
                       const char *offsets_name)
{
    const int32_t *ids, *offsets;
    size_t lengths[16];
    int64_t count;

    ids = head_golden_values(golden, ids_name, &count);
    offsets = head_golden_values(golden, offsets_name, &count);
    for (int64_t i = 0; i + 1 < count; i++)
        lengths[i] = (size_t)(offsets[i + 1] - offsets[i]);
    assert_int_equal(LLM_OK, batch_pack(batch, &golden->arena, ids, lengths, (size_t)count - 1));
}

void head_golden_open(struct head_golden *golden, const char *folder, int32_t threads)
{
    char path[256];
    int64_t count;

    memset(golden, 0, sizeof *golden);
    golden->context = make_context(threads);
    arena_init(&golden->arena, &golden->context->memory);
    (void)snprintf(path, sizeof path, "encoders/%s", folder);
    if (model_load(&golden->model, golden->context, golden_path(path), NULL))
        fail_msg("%s: %s", folder, status_message());
    (void)snprintf(path, sizeof path, "encoders/%s/golden.safetensors", folder);
    if (tensor_source_open(&golden->values, &golden->context->memory, golden_path(path)))
        fail_msg("%s", status_message());
    open_batch(golden, &golden->batch, "ids", "offsets");
    if (head_golden_has(golden, "types"))
        assert_int_equal(LLM_OK, batch_set_types(&golden->batch, &golden->arena,
                                                 head_golden_values(golden, "types", &count)));
    if (head_golden_has(golden, "target_ids"))
        open_batch(golden, &golden->target, "target_ids", "target_offsets");
    if (head_golden_has(golden, "targets"))
        golden->targets.classes = head_golden_values(golden, "targets", &count);
    if (head_golden_has(golden, "values"))
        golden->targets.values = head_golden_values(golden, "values", &count);
    if (model_check(golden->model, &golden->batch))
        fail_msg("%s: %s", folder, status_message());
}

void head_golden_close(struct head_golden *golden)
{
    tensor_source_close(golden->values);
    arena_free(&golden->arena);
    model_release(golden->model);
    llm_context_free(golden->context);
}

void head_golden_compare(struct head_golden *golden, const char *folder, const char *name,
                         const float *got, int64_t count, double limit, bool relative)
{
    int64_t expected_count;
    const float *expected = head_golden_values(golden, name, &expected_count);
    double scale =
        relative ? 0.0 : 1.0; /* floor: the gradient of a key's bias is 0 but for noise */
    double error = 0.0;

    if (count != expected_count)
        fail_msg("%s: %s has %lld values, expected %lld", folder, name, (long long)count,
                 (long long)expected_count);
    for (int64_t i = 0; i < count && relative; i++)
        scale = fmax(scale, fabs((double)expected[i]));
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - (double)expected[i]) / fmax(scale, 1e-3);

        if (!(difference <= error))
            error = difference; /* NaN is kept */
    }
    if (!(error < limit))
        fail_msg("%s: %s differs by %g", folder, name, error);
}

void head_golden_compare_gradients(struct head_golden *golden, const char *folder)
{
    size_t compared = 0;

    for (size_t i = 0; i < golden->model->params.count; i++) {
        const struct param *param = &golden->model->params.list[i];
        struct param gradient = *param;
        llm_tensor view, copy = {0};
        char name[200];

        (void)snprintf(name, sizeof name, "grad.%s", param->name);
        if (!head_golden_has(golden, name)) {
            assert_null(param->tensor->grad);
            continue;
        }
        gradient.tensor = param->tensor->grad;
        if (!gradient.tensor)
            fail_msg("%s: no gradient of %s", folder, param->name);
        params_file_view(&view, &gradient);
        assert_int_equal(LLM_OK,
                         tensor_set_shape(&copy, LLM_F32, view.dimensions, view.shape, NULL));
        copy.data =
            arena_alloc(&golden->arena, (size_t)tensor_count(gradient.tensor) * sizeof(float));
        assert_non_null(copy.data);
        assert_int_equal(LLM_OK, tensor_copy(&copy, &view));
        head_golden_compare(golden, folder, name, copy.data, tensor_count(&copy), 1e-3, true);
        compared++;
    }
    assert_true(compared > 10);
}
