/* SPDX-License-Identifier: MIT
 *
 * Training through the public header: it learns; threads, sub-batches and gradient checkpointing do
 * not change the result; early stopping, range test, statistics, pictures; misuse, bad options, and
 * an allocator that fails at every allocation. What has to do with files is in test_checkpoint.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "failing_allocator.h"
#include "scratch.h"
#include "train_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASSERT_CLOSE(a, b, tolerance) assert_true(fabs((double)(a) - (double)(b)) <= (tolerance))

struct run {
    llm_context *context;
    llm_model *model;
    llm_dataset *dataset;
    llm_trainer *trainer;
};

static struct run start(int threads, const llm_trainer_options *options)
{
    struct run run;

    run.context = fixture_context(threads, NULL, NULL);
    run.model = fixture_model(run.context);
    run.dataset = fixture_dataset(run.context);
    assert_int_equal(llm_trainer_new(&run.trainer, run.model, run.dataset, options), LLM_OK);
    return run;
}

static void finish(struct run *run)
{
    uint64_t used = 1;

    llm_trainer_free(run->trainer);
    llm_dataset_free(run->dataset);
    llm_model_free(run->model);
    assert_int_equal(llm_context_memory(&used, NULL, run->context), LLM_OK);
    llm_context_free(run->context);
    assert_true(used < 65536); /* the context itself */
}

/* All weights in one array. */
static float *weights(const llm_model *model, size_t *count_out)
{
    float *all = malloc((size_t)llm_model_parameters(model) * sizeof *all + 1);
    size_t count = 0;

    for (size_t i = 0; i < llm_model_tensor_count(model); i++) {
        llm_tensor *tensor = llm_model_tensor(model, i);
        size_t size = (size_t)llm_tensor_count(tensor);

        assert_int_equal(llm_tensor_read_f32(tensor, all + count, size), LLM_OK);
        count += size;
    }
    *count_out = count;
    return all;
}

/* Trains `steps` steps; returns the weights. */
static float *train(int threads, const llm_trainer_options *options, int steps, double *loss_out,
                    size_t *count_out)
{
    struct run run = start(threads, options);
    llm_train_progress progress;
    float *all;

    for (int i = 0; i < steps; i++)
        assert_int_equal(llm_trainer_step(run.trainer, &progress, sizeof progress), LLM_OK);
    assert_int_equal(progress.step, steps);
    *loss_out = progress.loss;
    all = weights(run.model, count_out);
    finish(&run);
    return all;
}

struct seen {
    int calls, evaluations, stop_after;
    double first_loss, last_loss, last_validation;
    int64_t last_step;
};

static int32_t watch(void *user, const llm_train_progress *progress)
{
    struct seen *seen = user;

    assert_true(progress->struct_size >= sizeof *progress);
    assert_int_equal(progress->step, seen->last_step + 1);
    assert_true(progress->steps >= progress->step);
    assert_true(isfinite(progress->loss) && isfinite(progress->gradient_norm));
    assert_true(progress->seconds >= 0.0 && progress->tokens_per_second > 0.0);
    assert_true(progress->learning_rate > 0.0);
    seen->last_step = progress->step;
    if (seen->calls++ == 0)
        seen->first_loss = progress->loss;
    seen->last_loss = progress->loss;
    if (!isnan(progress->validation_loss)) {
        seen->evaluations++;
        seen->last_validation = progress->validation_loss;
    }
    return seen->stop_after && seen->calls == seen->stop_after;
}

static void test_learns(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct seen seen = {0};
    struct run run;
    double loss;

    (void)state;
    options.steps = 200;
    options.dropout = 0.0;
    options.progress = watch;
    options.progress_user = &seen;
    run = start(2, &options);
    assert_true(isnan(llm_trainer_best_loss(run.trainer)));
    assert_int_equal(llm_trainer_run(run.trainer), LLM_OK);
    assert_int_equal(seen.calls, 200);
    assert_int_equal(seen.evaluations, 20);
    assert_true(seen.first_loss > 3.2);      /* log 32 = 3.47 */
    assert_true(seen.last_validation < 1.6); /* one token in five cannot be known: 0.69 */
    assert_true(llm_trainer_best_loss(run.trainer) <= seen.last_validation);
    assert_int_equal(llm_trainer_steps_done(run.trainer), 200);
    assert_int_equal(llm_trainer_steps(run.trainer), 200);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, LLM_PART_VALIDATION, 0), LLM_OK);
    ASSERT_CLOSE(loss, seen.last_validation, 0.2);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, LLM_PART_TRAIN, 3), LLM_OK);
    assert_true(loss < 1.6);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, LLM_PART_TEST, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_OK); /* nothing left to do */
    assert_int_equal(seen.calls, 200);
    finish(&run);
}

static void test_same_bits(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    double loss, other_loss;
    size_t count, other_count;
    float *expected = train(1, &options, 8, &loss, &count);

    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        float *other = train(threads, &options, 8, &other_loss, &other_count);

        assert_memory_equal(expected, other, count * sizeof *expected);
        assert_memory_equal(&loss, &other_loss, sizeof loss);
        free(other);
    }
    options.gradient_checkpointing = 1; /* dropout included */
    {
        float *other = train(2, &options, 8, &other_loss, &other_count);

        assert_memory_equal(expected, other, count * sizeof *expected);
        free(other);
    }
    free(expected);
}

static void test_accumulation(void **state)
{
    static const int shapes[][2] = {{2, 2}, {1, 4}};
    llm_trainer_options options = fixture_options(NULL);
    double loss, other_loss;
    size_t count, other_count;
    float *expected;

    (void)state;
    options.dropout = 0.0;
    options.separate_documents = 1;
    expected = train(1, &options, 5, &loss, &count);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        float *other;

        options.batch = shapes[s][0];
        options.accumulation = shapes[s][1];
        other = train(1, &options, 5, &other_loss, &other_count);
        ASSERT_CLOSE(loss, other_loss, 1e-5);
        for (size_t i = 0; i < count; i++)
            ASSERT_CLOSE(expected[i], other[i], 2e-3); /* Adam's first steps amplify rounding */
        free(other);
    }
    free(expected);
}

static void test_early_stopping(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct seen seen = {0};
    struct run run;

    (void)state;
    options.learning_rate = 1e-30;
    options.min_learning_rate = 1e-31;
    options.dropout = 0.0;
    options.steps = 1000;
    options.patience = 3;
    options.progress = watch;
    options.progress_user = &seen;
    run = start(1, &options);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_OK);
    assert_int_equal(llm_trainer_steps_done(run.trainer), 40); /* the first, and three no better */
    finish(&run);
}

static void test_cancel(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct seen seen = {.stop_after = 7};
    struct run run;
    double loss;

    (void)state;
    options.progress = watch;
    options.progress_user = &seen;
    run = start(1, &options);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_E_CANCELLED);
    assert_int_equal(llm_trainer_steps_done(run.trainer), 7);
    llm_trainer_cancel(run.trainer);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_E_CANCELLED);
    assert_int_equal(llm_trainer_steps_done(run.trainer), 7);
    llm_trainer_cancel(run.trainer);
    assert_int_equal(llm_trainer_step(run.trainer, NULL, 0), LLM_E_CANCELLED);
    llm_trainer_cancel(run.trainer);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, LLM_PART_TRAIN, 1), LLM_E_CANCELLED);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_OK);
    assert_int_equal(seen.calls, 40);
    finish(&run);
}

static void test_numeric(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct run run = start(1, &options);
    llm_tensor *tensor = llm_model_tensor(run.model, 0);

    (void)state;
    assert_int_equal(llm_trainer_step(run.trainer, NULL, 0), LLM_OK);
    assert_int_equal(llm_tensor_fill(tensor, (double)NAN), LLM_OK);
    assert_int_equal(llm_trainer_step(run.trainer, NULL, 0), LLM_E_NUMERIC);
    assert_non_null(strstr(llm_last_error(), "step 2"));
    assert_int_equal(llm_trainer_steps_done(run.trainer), 1);
    finish(&run);
}

static void test_range_test(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct run run = start(1, &options);
    double rates[60], losses[60], suggestion;
    int64_t count;
    size_t weight_count;
    float *before, *after;

    (void)state;
    assert_int_equal(llm_trainer_step(run.trainer, NULL, 0), LLM_OK);
    before = weights(run.model, &weight_count);
    assert_int_equal(
        llm_trainer_find_rate(rates, losses, &count, &suggestion, run.trainer, 1e-5, 10.0, 60),
        LLM_OK);
    assert_in_range(count, 20, 60);
    ASSERT_CLOSE(rates[0], 1e-5, 1e-12);
    for (int64_t i = 1; i < count; i++)
        assert_true(rates[i] > rates[i - 1] && isfinite(losses[i]));
    assert_true(suggestion > 1e-5 && suggestion < 1.0);
    after = weights(run.model, &weight_count);
    assert_memory_equal(before, after, weight_count * sizeof *before);
    assert_int_equal(llm_trainer_steps_done(run.trainer), 1);
    free(before);
    free(after);
    assert_int_equal(llm_trainer_find_rate(rates, losses, &count, NULL, run.trainer, 1.0, 0.1, 9),
                     LLM_E_RANGE);
    assert_int_equal(llm_trainer_find_rate(rates, losses, &count, NULL, run.trainer, 0.1, 1.0, 1),
                     LLM_E_RANGE);
    assert_int_equal(llm_trainer_find_rate(NULL, losses, &count, NULL, run.trainer, 0.1, 1.0, 9),
                     LLM_E_INVALID);
    assert_int_equal(llm_trainer_find_rate(rates, NULL, &count, NULL, run.trainer, 0.1, 1.0, 9),
                     LLM_E_INVALID);
    assert_int_equal(llm_trainer_find_rate(rates, losses, NULL, NULL, run.trainer, 0.1, 1.0, 9),
                     LLM_E_INVALID);
    assert_int_equal(llm_trainer_find_rate(rates, losses, &count, NULL, NULL, 0.1, 1.0, 9),
                     LLM_E_INVALID);
    finish(&run);
}

/* Two trainers, one with statistics: the same weights, and the numbers in the metrics. */
static void test_statistics(void **state)
{
    struct scratch scratch;
    llm_trainer_options options;
    struct run plain, measured;
    float *a, *b;
    size_t count;
    char *lines, *line;

    (void)state;
    scratch_make(&scratch);
    options = fixture_options(NULL);
    plain = start(2, &options);
    options.output = scratch.path;
    options.statistics_interval = 20;
    measured = start(2, &options);
    assert_int_equal(llm_trainer_run(plain.trainer), LLM_OK);
    assert_int_equal(llm_trainer_run(measured.trainer), LLM_OK);
    a = weights(plain.model, &count);
    b = weights(measured.model, &count);
    assert_memory_equal(a, b, count * sizeof *a);
    free(a);
    free(b);
    lines = scratch_read(scratch_file(&scratch, "metrics.jsonl"), NULL);
    assert_non_null(lines);
    line = strstr(lines, "{\"step\":20,");
    assert_non_null(line);
    assert_non_null(strstr(line, "\"blocks\":[{\"mean\":"));
    assert_non_null(strstr(line, "\"transformer.wte.weight\":{\"weight\":"));
    assert_non_null(strstr(line, "\"update\":"));
    free(lines);
    finish(&plain);
    finish(&measured);
    scratch_remove(&scratch);
}

static void test_picture(void **state)
{
    struct scratch scratch;
    llm_trainer_options options;
    struct run run;
    char metrics[300], picture[300];
    char *svg;

    (void)state;
    scratch_make(&scratch);
    options = fixture_options(scratch.path);
    run = start(1, &options);
    assert_int_equal(llm_trainer_run(run.trainer), LLM_OK);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", scratch.path);
    snprintf(picture, sizeof picture, "%s/loss.svg", scratch.path);
    assert_int_equal(llm_plot_losses(run.context, picture, metrics, "a < b & c"), LLM_OK);
    svg = scratch_read(picture, NULL);
    assert_non_null(svg);
    assert_memory_equal(svg, "<svg ", 5);
    assert_non_null(strstr(svg, "a &lt; b &amp; c"));
    assert_non_null(strstr(svg, "validation"));
    assert_non_null(strstr(svg, "</svg>"));
    assert_null(strstr(svg, "nan"));
    free(svg);
    assert_int_equal(llm_plot_losses(NULL, picture, metrics, NULL), LLM_E_INVALID);
    assert_int_equal(llm_plot_losses(run.context, NULL, metrics, NULL), LLM_E_INVALID);
    assert_int_equal(llm_plot_losses(run.context, picture, NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_plot_losses(run.context, picture, metrics, "\xFF"), LLM_E_INVALID);
    assert_int_equal(llm_plot_losses(run.context, picture, "/nowhere/x", NULL), LLM_E_IO);
    scratch_write(&scratch, "metrics.jsonl", "", 0);
    assert_int_equal(llm_plot_losses(run.context, picture, metrics, NULL), LLM_E_FORMAT);
    scratch_write(&scratch, "metrics.jsonl", "{\"step\":1,\"loss\":2}\n", 20);
    assert_int_equal(llm_plot_losses(run.context, picture, metrics, NULL), LLM_OK);
    scratch_write(&scratch, "metrics.jsonl", "{\"loss\":2}\n", 11);
    assert_int_equal(llm_plot_losses(run.context, picture, metrics, NULL), LLM_E_FORMAT);
    finish(&run);
    scratch_remove(&scratch);
}

static void test_bad_options(void **state)
{
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_trainer_options o;
    llm_trainer *trainer;

    (void)state;
#define REFUSE(field, value, status)                                                               \
    do {                                                                                           \
        o = fixture_options(NULL);                                                                 \
        o.field = value;                                                                           \
        assert_int_equal(llm_trainer_new(&trainer, model, dataset, &o), status);                   \
        assert_null(trainer);                                                                      \
        assert_non_null(strstr(llm_last_error(), #field));                                         \
    } while (0)
    REFUSE(steps, -1, LLM_E_RANGE);
    REFUSE(warmup_steps, -1, LLM_E_RANGE);
    REFUSE(decay_steps, -1, LLM_E_RANGE);
    REFUSE(eval_interval, -1, LLM_E_RANGE);
    REFUSE(eval_batches, -1, LLM_E_RANGE);
    REFUSE(log_interval, 0, LLM_E_RANGE);
    REFUSE(checkpoint_interval, -1, LLM_E_RANGE);
    REFUSE(statistics_interval, -1, LLM_E_RANGE);
    REFUSE(epochs, -1.0, LLM_E_RANGE);
    REFUSE(learning_rate, (double)NAN, LLM_E_RANGE);
    REFUSE(min_learning_rate, 1.0, LLM_E_RANGE);
    REFUSE(weight_decay, -1.0, LLM_E_RANGE);
    REFUSE(beta1, 1.0, LLM_E_RANGE);
    REFUSE(beta2, 1.5, LLM_E_RANGE);
    REFUSE(epsilon, 0.0, LLM_E_RANGE);
    REFUSE(momentum, -0.5, LLM_E_RANGE);
    REFUSE(clip_norm, -1.0, LLM_E_RANGE);
    REFUSE(dropout, 1.0, LLM_E_RANGE);
    REFUSE(label_smoothing, 1.0, LLM_E_RANGE);
    REFUSE(batch, 0, LLM_E_RANGE);
    REFUSE(block, 17, LLM_E_RANGE);
    REFUSE(block, -1, LLM_E_RANGE);
    REFUSE(accumulation, 0, LLM_E_RANGE);
    REFUSE(optimizer, 5, LLM_E_INVALID);
    REFUSE(schedule, 4, LLM_E_RANGE);
    REFUSE(order, 3, LLM_E_RANGE);
    REFUSE(separate_documents, 2, LLM_E_RANGE);
    REFUSE(gradient_checkpointing, 2, LLM_E_RANGE);
    REFUSE(keep_checkpoints, 0, LLM_E_RANGE);
    REFUSE(patience, -1, LLM_E_RANGE);
    REFUSE(keep_best, 2, LLM_E_RANGE);
    REFUSE(tensorboard, 2, LLM_E_RANGE);
    REFUSE(reserved, 1, LLM_E_RANGE);
    REFUSE(struct_size, 2, LLM_E_INVALID);
    o = fixture_options(NULL);
    o.batch = 1 << 20;
    o.block = 16;
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &o), LLM_OK); /* large, but legal */
    llm_trainer_free(trainer);
    o = fixture_options(NULL);
    o.eval_interval = 0;
    o.patience = 1;
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &o), LLM_E_INVALID);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
}

static void test_bad_data(void **state)
{
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_model *model = fixture_model(context);
    int32_t ids[40] = {0};
    llm_dataset *dataset;
    llm_trainer *trainer, *second;

    (void)state;
    assert_int_equal(llm_dataset_from_ids(&dataset, context, ids, 40, 33, -1, NULL), LLM_OK);
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, NULL), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "vocabulary"));
    llm_dataset_free(dataset);
    assert_int_equal(llm_dataset_from_ids(&dataset, context, ids, 16, 32, -1, NULL), LLM_OK);
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, NULL), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "tokens"));
    llm_dataset_free(dataset);
    dataset = fixture_dataset(context);
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, NULL), LLM_OK);
    assert_int_equal(llm_trainer_new(&second, model, dataset, NULL), LLM_E_BUSY);
    assert_null(second);
    llm_context_free(context); /* any order */
    llm_model_free(model);
    llm_dataset_free(dataset);
    assert_int_equal(llm_trainer_step(trainer, NULL, 0), LLM_OK);
    llm_trainer_free(trainer);
}

static void test_misuse(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    struct run run = start(1, &options);
    llm_train_progress progress;
    llm_trainer *trainer;
    int64_t starts[4];
    double loss;

    (void)state;
    assert_int_equal(llm_trainer_options_init(NULL, sizeof options), LLM_E_INVALID);
    assert_int_equal(llm_trainer_new(NULL, run.model, run.dataset, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_new(&trainer, NULL, run.dataset, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_new(&trainer, run.model, NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_run(NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_step(NULL, NULL, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_step(run.trainer, &progress, 1), LLM_E_INVALID);
    assert_int_equal(llm_trainer_evaluate(NULL, run.trainer, 0, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_evaluate(&loss, NULL, 0, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, 3, 0), LLM_E_RANGE);
    assert_int_equal(llm_trainer_evaluate(&loss, run.trainer, 0, -1), LLM_E_RANGE);
    assert_int_equal(llm_trainer_resume(NULL, "x"), LLM_E_INVALID);
    assert_int_equal(llm_trainer_resume(run.trainer, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_resume(run.trainer, "/nowhere/at/all"), LLM_E_IO);
    assert_int_equal(llm_trainer_save(NULL, "x"), LLM_E_INVALID);
    assert_int_equal(llm_trainer_save(run.trainer, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_save(run.trainer, "/proc/no"), LLM_E_IO);
    assert_int_equal(llm_trainer_steps_done(NULL), 0);
    assert_int_equal(llm_trainer_steps(NULL), 0);
    assert_true(isnan(llm_trainer_best_loss(NULL)));
    assert_int_equal(llm_trainer_order(NULL, 4, run.trainer, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_order(starts, 4, NULL, 0), LLM_E_INVALID);
    assert_int_equal(llm_trainer_order(starts, 3, run.trainer, 0), LLM_E_BUFFER);
    assert_int_equal(llm_trainer_order(starts, 4, run.trainer, -1), LLM_E_RANGE);
    assert_int_equal(llm_trainer_order(starts, 4, run.trainer, 0), LLM_OK);
    llm_trainer_cancel(NULL);
    llm_trainer_free(NULL);
    finish(&run);
}

/* Everything at once, small. */
static llm_status scenario(llm_context *context, void *user)
{
    static const char config[] = "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":1,"
                                 "\"n_embd\":8,\"n_positions\":8,\"vocab_size\":256}";
    static const char *const texts[] = {"one two three four five six seven eight nine ten"};
    const size_t sizes[] = {48};
    llm_tokenizer_train_options kind;
    llm_trainer_options options = fixture_options(user);
    llm_tokenizer *tokenizer = NULL;
    llm_dataset *dataset = NULL;
    llm_trainer *trainer = NULL;
    llm_model *model = NULL;
    llm_status status = llm_tokenizer_train_options_init(&kind, sizeof kind);

    kind.kind = LLM_TOKENIZER_BYTES;
    options.steps = 3;
    options.batch = 1;
    options.eval_interval = 0;
    options.statistics_interval = 3;
    options.checkpoint_interval = 2;
    if (!status)
        status = llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &kind);
    if (!status)
        status = llm_dataset_from_texts(&dataset, context, tokenizer, texts, sizes, 1, NULL);
    if (!status)
        status = llm_model_new(&model, context, config, strlen(config), NULL);
    if (!status)
        status = llm_trainer_new(&trainer, model, dataset, &options);
    if (!status)
        status = llm_trainer_run(trainer);
    if (!status)
        status = llm_trainer_resume(trainer, NULL);
    llm_trainer_free(trainer);
    llm_model_free(model);
    llm_dataset_free(dataset);
    llm_tokenizer_free(tokenizer);
    return status;
}

static void test_failing_allocator(void **state)
{
    struct scratch scratch;

    (void)state;
    scratch_make(&scratch);
    assert_true(failing_allocator_run(scenario, scratch.path, 3) > 100);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_early_stopping),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_range_test),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
