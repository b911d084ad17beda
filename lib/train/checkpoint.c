/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: directories "checkpoint-<step>" with the model as users load it, the optimizer's
 * state, the trainer's position and checksums of all of that. A checkpoint is made under a hidden
 * name and renamed when everything is on disk, so one that is there is complete; one that is
 * damaged later is found out by its checksums and the one before it is taken.
 */
#include "train/trainer.h"

#include "base/directory.h"
#include "train/checksums.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "checkpoint-";
static const char hidden_prefix[] = ".checkpoint-";  /* being removed */
static const char new_prefix[] = ".checkpoint-new-"; /* being made */
enum { STATE_LIMIT = 1 << 20, STATE_VERSION = 1 };

/* ---- the position ---- */

/* What decides the numbers of a run, as one line; a run that goes on with another is warned. */
static void put_recipe(struct text *out, const llm_trainer *trainer)
{
    const llm_trainer_options *o = &trainer->options;

    text_printf(out, "steps %lld, warmup %lld, decay %lld, batch %d, block %d, accumulation %d, ",
                (long long)o->steps, (long long)o->warmup_steps, (long long)o->decay_steps,
                o->batch, o->block, o->accumulation);
    text_printf(out, "optimizer %d, nesterov %d, schedule %d, order %d, separate_documents %d, ",
                o->optimizer, o->nesterov, o->schedule, o->order, o->separate_documents);
    text_printf(out, "seed %llu, rate %.17g, min_rate %.17g, weight_decay %.17g, ",
                (unsigned long long)o->seed, o->learning_rate, o->min_learning_rate,
                o->weight_decay);
    text_printf(out, "beta1 %.17g, beta2 %.17g, epsilon %.17g, momentum %.17g, clip_norm %.17g, ",
                o->beta1, o->beta2, o->epsilon, o->momentum, o->clip_norm);
    text_printf(out, "dropout %.17g, label_smoothing %.17g, training tokens %lld",
                o->dropout < 0.0 ? -1.0 : o->dropout, o->label_smoothing,
                (long long)trainer->sampler.tokens);
}

static void put_real(struct text *out, const char *name, double value)
{
    text_printf(out, ",\n  \"%s\": ", name);
    text_append_double(out, value);
}

static void put_state(struct text *out, const llm_trainer *trainer)
{
    struct text recipe;

    text_init(&recipe, out->memory);
    put_recipe(&recipe, trainer);
    text_printf(out, "{\n  \"version\": %d,\n  \"step\": %lld,\n  \"tokens\": %lld", STATE_VERSION,
                (long long)trainer->step, (long long)trainer->tokens);
    text_printf(out, ",\n  \"evaluated_step\": %lld,\n  \"bad_evaluations\": %d",
                (long long)trainer->evaluated_step, trainer->bad_evaluations);
    put_real(out, "best_loss", trainer->best_loss);
    put_real(out, "loss", trainer->loss);
    put_real(out, "gradient_norm", trainer->gradient_norm);
    put_real(out, "learning_rate", trainer->rate);
    text_append_z(out, ",\n  \"recipe\": ");
    text_append_json(out, recipe.size ? recipe.data : "", recipe.size);
    text_append_z(out, ",\n  \"machine\": ");
    text_append_json(out, trainer->context->description, strlen(trainer->context->description));
    text_append_z(out, ",\n  \"libllm\": ");
    text_append_json(out, llm_version_string(), strlen(llm_version_string()));
    text_append_z(out, "\n}\n");
    out->failed |= recipe.failed;
    text_free(&recipe);
}

struct state {
    int64_t step, tokens, evaluated_step;
    int32_t bad_evaluations;
    double best_loss, loss, gradient_norm, rate;
};

static void warn_if_other(const llm_trainer *trainer, const json_t *json, const char *key,
                          const char *now)
{
    const char *then = NULL;

    if (json_read_text(json, key, &then) == LLM_OK && then && strcmp(then, now) != 0)
        log_message(trainer->context, LLM_LOG_WARNING,
                    "resuming with another %s than before, the result will differ: was \"%s\", is "
                    "\"%s\"",
                    key, then, now);
}

static llm_status read_state(struct state *state, const llm_trainer *trainer, const char *path)
{
    struct memory *memory = &trainer->context->memory;
    struct text recipe;
    json_t *json = NULL;
    char *data = NULL;
    size_t size;
    int64_t version = 0;
    llm_status status = file_read(&data, &size, memory, path, STATE_LIMIT);

    *state = (struct state){0, 0, -1, 0, (double)NAN, (double)NAN, (double)NAN, 0.0};
    text_init(&recipe, memory);
    if (!status)
        status = json_open(&json, data, size, path);
    if (!status)
        status = json_require(json, "step");
    if (!status)
        status = json_read_i64(json, "version", STATE_VERSION, STATE_VERSION, &version);
    if (!status)
        status = json_read_i64(json, "step", 0, INT64_MAX, &state->step);
    if (!status)
        status = json_read_i64(json, "tokens", 0, INT64_MAX, &state->tokens);
    if (!status)
        status = json_read_i64(json, "evaluated_step", -1, INT64_MAX, &state->evaluated_step);
    if (!status)
        status = json_read_i32(json, "bad_evaluations", 0, INT32_MAX, &state->bad_evaluations);
    if (!status)
        status = json_read_double(json, "best_loss", -1e300, 1e300, &state->best_loss);
    if (!status)
        status = json_read_double(json, "loss", -1e300, 1e300, &state->loss);
    if (!status)
        status = json_read_double(json, "gradient_norm", 0.0, 1e300, &state->gradient_norm);
    if (!status)
        status = json_read_double(json, "learning_rate", 0.0, 1e300, &state->rate);
    if (!status) {
        put_recipe(&recipe, trainer);
        warn_if_other(trainer, json, "recipe", recipe.failed ? "" : recipe.data);
        warn_if_other(trainer, json, "machine", trainer->context->description);
    }
    text_free(&recipe);
    json_decref(json);
    memory_release(memory, data);
    return status;
}

/* ---- saving ---- */

static llm_status save_state(const llm_trainer *trainer, const char *path)
{
    struct text text;
    llm_status status;

    text_init(&text, &trainer->context->memory);
    put_state(&text, trainer);
    status = text.failed ? LLM_E_NOMEM
                         : file_write(&trainer->context->memory, path, text.data, text.size);
    text_free(&text);
    return status;
}

llm_status checkpoint_export(const llm_trainer *trainer, const char *directory)
{
    llm_status status = file_make_directory(&trainer->context->memory, directory);

    if (!status && trainer->dataset->tokenizer)
        status = tokenizer_save(trainer->dataset->tokenizer, directory);
    if (!status)
        status = trainable_save(trainer, directory);
    return status;
}

static llm_status fill(const llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    char *optimizer = file_join(memory, directory, "optimizer.safetensors");
    char *state = file_join(memory, directory, "trainer_state.json");
    llm_status status = optimizer && state ? checkpoint_export(trainer, directory) : LLM_E_NOMEM;

    if (!status)
        status = optimizer_save(trainer->optimizer, optimizer);
    if (!status)
        status = save_state(trainer, state);
    if (!status)
        status = checksums_write(memory, directory);
    memory_release(memory, optimizer);
    memory_release(memory, state);
    return status;
}

/* The step in a checkpoint's name, or -1. */
static int64_t step_of(const char *name)
{
    int64_t step;
    size_t length = strlen(name);

    if (strncmp(name, prefix, sizeof prefix - 1) != 0 ||
        !text_parse_i64(name + sizeof prefix - 1, length - (sizeof prefix - 1), &step) || step < 0)
        return -1;
    return step;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of the checkpoints in a directory, newest first; they live in `arena`. */
static llm_status list_steps(int64_t **steps_out, size_t *count_out, struct arena *arena,
                             const char *directory)
{
    char **names;
    size_t found;
    llm_status status = directory_list(&names, &found, arena, directory);

    *count_out = 0;
    *steps_out = NULL;
    if (status || !found)
        return status;
    *steps_out = arena_alloc(arena, found * sizeof **steps_out);
    if (!*steps_out)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < found; i++) {
        if (step_of(names[i]) >= 0)
            (*steps_out)[(*count_out)++] = step_of(names[i]);
    }
    if (*count_out)
        qsort(*steps_out, *count_out, sizeof **steps_out, newest_first);
    return LLM_OK;
}

static char *step_path(struct memory *memory, const char *directory, const char *start,
                       int64_t step)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%lld", start, (long long)step);
    return file_join(memory, directory, name);
}

/* What an interrupted run left unfinished. */
static llm_status remove_hidden(struct memory *memory, const char *directory)
{
    struct arena arena;
    char **names;
    size_t count;
    llm_status status;

    arena_init(&arena, memory);
    status = directory_list(&names, &count, &arena, directory);
    for (size_t i = 0; !status && i < count; i++) {
        char *path;

        if (strncmp(names[i], hidden_prefix, sizeof hidden_prefix - 1) != 0)
            continue;
        path = file_join(memory, directory, names[i]);
        status = path ? directory_remove(memory, path) : LLM_E_NOMEM;
        memory_release(memory, path);
    }
    arena_free(&arena);
    return status;
}

/* Renames first, so that a checkpoint is never seen half removed. */
static llm_status remove_step(struct memory *memory, const char *directory, int64_t step)
{
    char *path = step_path(memory, directory, prefix, step);
    char *hidden = step_path(memory, directory, hidden_prefix, step);
    llm_status status = path && hidden ? directory_remove(memory, hidden) : LLM_E_NOMEM;

    if (!status && rename(path, hidden) != 0)
        status = status_set(LLM_E_IO, "cannot remove %s", path);
    if (!status)
        status = directory_remove(memory, hidden);
    memory_release(memory, path);
    memory_release(memory, hidden);
    return status;
}

static llm_status prune(const llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    struct arena arena;
    int64_t *steps;
    size_t count;
    llm_status status;

    arena_init(&arena, memory);
    status = list_steps(&steps, &count, &arena, directory);
    for (size_t i = (size_t)trainer->options.keep_checkpoints; !status && i < count; i++)
        status = remove_step(memory, directory, steps[i]);
    arena_free(&arena);
    return status;
}

llm_status checkpoint_save(llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    char *hidden = step_path(memory, directory, new_prefix, trainer->step);
    char *target = step_path(memory, directory, prefix, trainer->step);
    llm_status status = hidden && target ? file_make_directory(memory, directory) : LLM_E_NOMEM;

    if (!status)
        status = remove_hidden(memory, directory);
    if (!status)
        status = fill(trainer, hidden);
    if (!status && file_exists(target))
        status = remove_step(memory, directory, trainer->step);
    if (!status)
        status = directory_publish(hidden, target);
    if (!status) {
        trainer->saved_step = trainer->step;
        status = prune(trainer, directory);
    }
    if (hidden && file_exists(hidden)) {
        char message[256];

        (void)snprintf(message, sizeof message, "%s", status_message());
        (void)directory_remove(memory, hidden); /* give the space back; the cause is known */
        status_restore(message);
    }
    memory_release(memory, hidden);
    memory_release(memory, target);
    return status;
}

/* ---- resuming ---- */

/* One checkpoint that is sound. The optimizer is loaded before the model because it can refuse. */
static llm_status load(llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    char *optimizer = file_join(memory, directory, "optimizer.safetensors");
    char *position = file_join(memory, directory, "trainer_state.json");
    struct state state;
    llm_status status = optimizer && position ? read_state(&state, trainer, position) : LLM_E_NOMEM;

    if (!status)
        status = trainable_check(trainer, directory);
    if (!status)
        status = optimizer_load(trainer->optimizer, optimizer);
    if (!status)
        status = trainable_load(trainer, directory);
    if (!status) {
        trainer->step = state.step;
        trainer->tokens = state.tokens;
        trainer->evaluated_step = state.evaluated_step;
        trainer->bad_evaluations = state.bad_evaluations;
        trainer->best_loss = state.best_loss;
        trainer->loss = state.loss;
        trainer->gradient_norm = state.gradient_norm;
        trainer->rate = state.rate;
        trainer->saved_step = state.step;
        trainer->started = trainer_clock();
        trainer->started_step = state.step;
        metrics_close(&trainer->metrics);
    }
    memory_release(memory, optimizer);
    memory_release(memory, position);
    return status;
}

static llm_status resume_newest(llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    struct arena arena;
    int64_t *steps;
    size_t count;
    llm_status status;

    arena_init(&arena, memory);
    status = list_steps(&steps, &count, &arena, directory);
    if (!status && count == 0)
        status = status_set(LLM_E_IO, "%s holds no checkpoint", directory);
    for (size_t i = 0; !status && i < count; i++) {
        char *path = step_path(memory, directory, prefix, steps[i]);
        llm_status sound = path ? checksums_verify(memory, path) : LLM_E_NOMEM;

        if (!sound) {
            status = status_prefix(load(trainer, path), "%s", path);
            memory_release(memory, path);
            break;
        }
        if (sound == LLM_E_NOMEM || i + 1 == count)
            status = path ? status_prefix(sound, "%s", path) : sound;
        else
            log_message(trainer->context, LLM_LOG_WARNING, "%s is skipped: %s", path,
                        status_message());
        memory_release(memory, path);
    }
    arena_free(&arena);
    return status;
}

llm_status checkpoint_resume(llm_trainer *trainer, const char *directory)
{
    struct memory *memory = &trainer->context->memory;
    char *list = file_join(memory, directory, "checksums");
    bool is_checkpoint = list && file_exists(list);
    llm_status status;

    memory_release(memory, list);
    if (!list)
        return LLM_E_NOMEM;
    if (!is_checkpoint)
        return resume_newest(trainer, directory);
    status = checksums_verify(memory, directory);
    if (!status)
        status = load(trainer, directory);
    return status_prefix(status, "%s", directory);
}
