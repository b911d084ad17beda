/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: an interrupted and resumed run ends with the same bytes as one that was not, whether
 * it was cancelled or killed at any moment; every damaged byte is found and named and the
 * checkpoint before is taken; a full disk leaves what was there; metrics are never there twice or
 * torn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "scratch.h"
#include "train_fixture.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct log {
    char text[8192];
};

static void keep_log(void *user, int32_t level, const char *message)
{
    struct log *log = user;
    size_t length = strlen(log->text);

    (void)level;
    snprintf(log->text + length, sizeof log->text - length, "%s\n", message);
}

struct counter {
    int left; /* calls until the run is stopped; 0: never */
};

static int32_t count_down(void *user, const llm_train_progress *progress)
{
    struct counter *counter = user;

    (void)progress;
    return counter->left > 0 && --counter->left == 0;
}

/* One process's worth of training: resumes if it can, runs, frees everything. */
static llm_status train(const char *output, int stop_after, struct log *log)
{
    struct counter counter = {stop_after};
    llm_trainer_options options = fixture_options(output);
    llm_context *context = fixture_context(1, log ? keep_log : NULL, log);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_trainer *trainer;
    llm_status status;

    options.progress = count_down;
    options.progress_user = &counter;
    fixture_check(llm_trainer_new(&trainer, model, dataset, &options), "trainer");
    status = llm_trainer_resume(trainer, NULL);
    if (status == LLM_OK || status == LLM_E_IO)
        status = llm_trainer_run(trainer);
    llm_trainer_free(trainer);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
    return status;
}

static void assert_same_file(const struct scratch *a, const struct scratch *b, const char *name)
{
    size_t size_a, size_b;
    char *data_a = scratch_read(scratch_file(a, name), &size_a);
    char *data_b = scratch_read(scratch_file(b, name), &size_b);

    assert_non_null(data_a);
    assert_non_null(data_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    free(data_a);
    free(data_b);
}

static void assert_same_end(const struct scratch *a, const struct scratch *b)
{
    assert_same_file(a, b, "model.safetensors");
    assert_same_file(a, b, "checkpoint-40/model.safetensors");
    assert_same_file(a, b, "checkpoint-40/optimizer.safetensors");
    assert_same_file(a, b, "checkpoint-40/trainer_state.json");
}

/* Steps 1 to 40, each once, each line complete. */
static void assert_metrics_whole(const struct scratch *scratch)
{
    size_t size;
    char *lines = scratch_read(scratch_file(scratch, "metrics.jsonl"), &size);
    char *line = lines;

    assert_non_null(lines);
    for (int step = 1; step <= 40; step++) {
        char start[32];
        char *end = strchr(line, '\n');

        snprintf(start, sizeof start, "{\"step\":%d,", step);
        assert_memory_equal(line, start, strlen(start));
        assert_non_null(end);
        assert_int_equal(end[-1], '}');
        line = end + 1;
    }
    assert_ptr_equal(line, lines + size);
    free(lines);
}

static int count_entries(const struct scratch *scratch, const char *start)
{
    DIR *directory = opendir(scratch->path);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        count += strncmp(entry->d_name, start, strlen(start)) == 0;
    closedir(directory);
    return count;
}

static void test_cancel_and_resume(void **state)
{
    static const int stops[] = {3, 7, 10, 1};
    struct scratch whole, parts;

    (void)state;
    scratch_make(&whole);
    scratch_make(&parts);
    assert_int_equal(train(whole.path, 0, NULL), LLM_OK);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        assert_int_equal(train(parts.path, stops[i], NULL), LLM_E_CANCELLED);
    assert_int_equal(train(parts.path, 0, NULL), LLM_OK);
    assert_same_end(&whole, &parts);
    assert_metrics_whole(&whole);
    assert_metrics_whole(&parts);
    assert_int_equal(count_entries(&parts, "checkpoint-"), 2);
    assert_int_equal(count_entries(&parts, ".checkpoint-"), 0);
    assert_int_equal(count_entries(&parts, "events.out.tfevents."), 1);
    scratch_remove(&whole);
    scratch_remove(&parts);
}

/* A child is killed again and again at random moments until one reaches the end. */
static void test_kill(void **state)
{
    struct scratch whole, parts;
    struct timespec before, after;
    unsigned random = 12345;
    long microseconds;
    int kills = 0;

    (void)state;
    scratch_make(&whole);
    scratch_make(&parts);
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(train(whole.path, 0, NULL), LLM_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    microseconds =
        (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
    for (int attempt = 0; attempt < 1000; attempt++) {
        pid_t child = fork();
        int result;

        assert_true(child >= 0);
        if (child == 0)
            _exit(train(parts.path, 0, NULL) == LLM_OK ? 0 : 1);
        random = random * 1664525u + 1013904223u;
        if (attempt < 60) {
            long wait = (long)((random >> 8) % 1000) * (microseconds / 1250); /* < 80 % of a run */
            struct timespec pause = {wait / 1000000, wait % 1000000 * 1000};

            nanosleep(&pause, NULL);
            kill(child, SIGKILL);
        }
        assert_int_equal(waitpid(child, &result, 0), child);
        if (WIFEXITED(result)) {
            assert_int_equal(WEXITSTATUS(result), 0);
            break;
        }
        kills++;
    }
    printf("killed %d times\n", kills);
    assert_true(kills > 0);
    assert_same_end(&whole, &parts);
    assert_metrics_whole(&parts);
    scratch_remove(&whole);
    scratch_remove(&parts);
}

/* The step a fresh trainer resumes at. */
static int64_t resumed_step(const char *output, struct log *log, llm_status *status)
{
    llm_trainer_options options = fixture_options(output);
    llm_context *context = fixture_context(1, keep_log, log);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_trainer *trainer;
    int64_t step;

    log->text[0] = '\0';
    fixture_check(llm_trainer_new(&trainer, model, dataset, &options), "trainer");
    *status = llm_trainer_resume(trainer, NULL);
    step = llm_trainer_steps_done(trainer);
    llm_trainer_free(trainer);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
    return step;
}

static void damage_each(const struct scratch *scratch, const char *checkpoint, const char *name,
                        size_t stride)
{
    char path[600];
    struct log log;
    llm_status status;
    size_t size;

    snprintf(path, sizeof path, "%s/%s/%s", scratch->path, checkpoint, name);
    free(scratch_read(path, &size));
    for (size_t at = 0; at < size; at += stride) {
        scratch_damage(path, at);
        assert_int_equal(resumed_step(scratch->path, &log, &status), 35);
        assert_int_equal(status, LLM_OK);
        assert_non_null(strstr(log.text, "checkpoint-40 is skipped"));
        assert_non_null(strstr(log.text, strcmp(name, "checksums") == 0 ? "damaged" : name));
        scratch_damage(path, at); /* and back */
    }
    assert_int_equal(resumed_step(scratch->path, &log, &status), 40);
    assert_string_equal(log.text, "");
}

static void test_damage(void **state)
{
    struct scratch scratch;
    struct log log;
    llm_status status;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(train(scratch.path, 0, NULL), LLM_OK);
    damage_each(&scratch, "checkpoint-40", "model.safetensors", 997);
    damage_each(&scratch, "checkpoint-40", "optimizer.safetensors", 3001);
    damage_each(&scratch, "checkpoint-40", "trainer_state.json", 41);
    damage_each(&scratch, "checkpoint-40", "config.json", 53);
    damage_each(&scratch, "checkpoint-40", "checksums", 11);
    /* a missing file, and nothing sound at all */
    assert_int_equal(unlink(scratch_file(&scratch, "checkpoint-40/config.json")), 0);
    assert_int_equal(resumed_step(scratch.path, &log, &status), 35);
    scratch_damage(scratch_file(&scratch, "checkpoint-35/model.safetensors"), 5000);
    assert_int_equal(resumed_step(scratch.path, &log, &status), 0);
    assert_int_equal(status, LLM_E_FORMAT);
    assert_non_null(strstr(llm_last_error(), "checkpoint-35: model.safetensors is damaged"));
    scratch_remove(&scratch);
}

static void test_other_model(void **state)
{
    static const char config[] = "{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_head\":2,"
                                 "\"n_embd\":24,\"n_positions\":16,\"vocab_size\":32}";
    struct scratch scratch;
    llm_trainer_options options;
    llm_context *context;
    llm_model *model;
    llm_dataset *dataset;
    llm_trainer *trainer;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(train(scratch.path, 6, NULL), LLM_E_CANCELLED);
    options = fixture_options(scratch.path);
    context = fixture_context(1, NULL, NULL);
    dataset = fixture_dataset(context);
    assert_int_equal(llm_model_new(&model, context, config, strlen(config), NULL), LLM_OK);
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &options), LLM_OK);
    assert_int_equal(llm_trainer_resume(trainer, NULL), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "another model"));
    llm_trainer_free(trainer);
    llm_model_free(model);
    /* same model, other optimizer: refused before anything changed */
    model = fixture_model(context);
    options.optimizer = LLM_OPTIMIZER_SGD;
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &options), LLM_OK);
    assert_int_equal(llm_trainer_resume(trainer, NULL), LLM_E_INVALID);
    assert_int_equal(llm_trainer_steps_done(trainer), 0);
    llm_trainer_free(trainer);
    llm_model_free(model);
    llm_dataset_free(dataset);
    llm_context_free(context);
    scratch_remove(&scratch);
}

/* Files may not grow beyond `limit` bytes: what a full disk looks like to a writer. */
static int train_limited(const char *output, rlim_t limit)
{
    pid_t child = fork();
    int result;

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit most = {limit, limit};
        llm_status status;

        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &most);
        status = train(output, 0, NULL);
        _exit(status == LLM_OK ? 0 : status == LLM_E_IO && *llm_last_error() ? 2 : 3);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static void test_full_disk(void **state)
{
    static const rlim_t limits[] = {100, 1000, 5000, 20000};
    struct scratch whole, parts;
    struct log log;
    llm_status status;

    (void)state;
    scratch_make(&whole);
    scratch_make(&parts);
    assert_int_equal(train(whole.path, 0, NULL), LLM_OK);
    assert_int_equal(train(parts.path, 12, NULL), LLM_E_CANCELLED);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(train_limited(parts.path, limits[i]), 2);
        assert_int_equal(resumed_step(parts.path, &log, &status), 12);
        assert_int_equal(status, LLM_OK);
        assert_int_equal(count_entries(&parts, ".checkpoint-"), 0);
    }
    assert_int_equal(train(parts.path, 0, NULL), LLM_OK);
    assert_same_end(&whole, &parts);
    assert_metrics_whole(&parts);
    scratch_remove(&whole);
    scratch_remove(&parts);
}

static void test_keep_best(void **state)
{
    struct scratch scratch;
    llm_trainer_options options;
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_trainer *trainer;
    double best;

    (void)state;
    scratch_make(&scratch);
    options = fixture_options(scratch.path);
    options.keep_best = 1;
    options.keep_checkpoints = 1;
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &options), LLM_OK);
    assert_int_equal(llm_trainer_run(trainer), LLM_OK);
    best = llm_trainer_best_loss(trainer);
    assert_int_equal(llm_trainer_save(trainer, NULL), LLM_OK); /* over the one that is there */
    assert_int_equal(count_entries(&scratch, "checkpoint-"), 1);
    llm_trainer_free(trainer);
    llm_model_free(model);
    assert_int_equal(llm_model_load(&model, context, scratch.path, NULL), LLM_OK);
    assert_int_equal(llm_trainer_new(&trainer, model, dataset, &options), LLM_OK);
    {
        double loss;

        assert_int_equal(llm_trainer_evaluate(&loss, trainer, LLM_PART_VALIDATION, 2), LLM_OK);
        assert_true(fabs(loss - best) < 1e-6);
    }
    llm_trainer_free(trainer);
    llm_model_free(model);
    llm_dataset_free(dataset);
    llm_context_free(context);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_and_resume),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_other_model),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_keep_best),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
