/* SPDX-License-Identifier: MIT */
#include "train/metrics.h"

#include "base/directory.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char event_prefix[] = "events.out.tfevents.";

void metrics_init(struct metrics *metrics, struct memory *memory)
{
    memset(metrics, 0, sizeof *metrics);
    metrics->memory = memory;
}

static double wall_clock(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whole lines of steps <= `step`. */
static void keep_lines(struct text *out, const char *data, size_t size, int64_t step)
{
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) + 1 : 0;
        int64_t found = INT64_MAX;
        json_t *object = NULL;

        if (!end)
            return;
        if (json_open(&object, data, length, "metrics") == LLM_OK) {
            (void)json_read_i64(object, "step", 0, INT64_MAX, &found);
            json_decref(object);
        }
        if (found <= step)
            text_append(out, data, length);
        data += length;
        size -= length;
    }
}

typedef void (*keep_fn)(struct text *out, const char *data, size_t size, int64_t step);

/* Rewrites `path` with what may stay; a file that needs no change is not touched. */
static llm_status take_back(struct memory *memory, const char *path, int64_t step, keep_fn keep)
{
    struct text kept;
    char *data;
    size_t size;
    llm_status status;

    if (!file_exists(path))
        return LLM_OK;
    status = file_read(&data, &size, memory, path, 0);
    if (status)
        return status;
    text_init(&kept, memory);
    if (step > 0)
        keep(&kept, data, size, step);
    if (kept.failed)
        status = LLM_E_NOMEM;
    else if (kept.size != size)
        status = file_write(memory, path, kept.size ? kept.data : "", kept.size);
    text_free(&kept);
    memory_release(memory, data);
    return status;
}

static llm_status open_lines(struct metrics *metrics, const char *directory, int64_t step)
{
    char *path = file_join(metrics->memory, directory, "metrics.jsonl");
    llm_status status = path ? take_back(metrics->memory, path, step, keep_lines) : LLM_E_NOMEM;

    if (!status)
        status = file_appender_open(&metrics->lines, metrics->memory, path);
    memory_release(metrics->memory, path);
    return status;
}

/* An event file that is there already, or the name for a new one. */
static llm_status event_path(char **path_out, struct metrics *metrics, const char *directory)
{
    struct arena arena;
    char **names;
    size_t count;
    char fresh[64];
    const char *name = NULL;
    llm_status status;

    *path_out = NULL;
    arena_init(&arena, metrics->memory);
    status = directory_list(&names, &count, &arena, directory);
    for (size_t i = 0; i < count && !status; i++) {
        size_t length = strlen(names[i]);

        if (strncmp(names[i], event_prefix, sizeof event_prefix - 1) == 0 &&
            strcmp(names[i] + length - 7, ".libllm") == 0)
            name = names[i];
    }
    if (!name) {
        (void)snprintf(fresh, sizeof fresh, "%s%010lld.libllm", event_prefix,
                       (long long)wall_clock());
        name = fresh;
    }
    if (!status) {
        *path_out = file_join(metrics->memory, directory, name);
        if (!*path_out)
            status = LLM_E_NOMEM;
    }
    arena_free(&arena);
    return status;
}

static llm_status open_events(struct metrics *metrics, const char *directory, int64_t step)
{
    struct text header;
    char *path;
    llm_status status = event_path(&path, metrics, directory);

    if (status)
        return status;
    text_init(&header, metrics->memory);
    status = take_back(metrics->memory, path, step, tensorboard_keep);
    if (!status)
        status = file_appender_open(&metrics->events, metrics->memory, path);
    if (!status && metrics->events.size == 0) {
        tensorboard_begin(&header, wall_clock());
        status = header.failed ? LLM_E_NOMEM
                               : file_appender_write(&metrics->events, header.data, header.size);
    }
    text_free(&header);
    memory_release(metrics->memory, path);
    return status;
}

bool metrics_is_open(const struct metrics *metrics)
{
    return metrics->lines.path != NULL;
}

llm_status metrics_open(struct metrics *metrics, const char *directory, int64_t step,
                        bool tensorboard)
{
    llm_status status = file_make_directory(metrics->memory, directory);

    if (!status)
        status = open_lines(metrics, directory, step);
    if (!status && tensorboard)
        status = open_events(metrics, directory, step);
    if (status)
        metrics_close(metrics);
    return status;
}

void metrics_close(struct metrics *metrics)
{
    file_appender_close(&metrics->lines);
    file_appender_close(&metrics->events);
}

static void put_number(struct text *line, const char *name, double value)
{
    if (isnan(value))
        return;
    text_printf(line, ",\"%s\":", name);
    text_append_double(line, value);
}

static llm_status write_events(struct metrics *metrics, const struct metrics_record *record)
{
    const struct scalar all[] = {
        {"loss/train", (float)record->loss},
        {"loss/validation", (float)record->validation_loss},
        {"learning_rate", (float)record->learning_rate},
        {"gradient_norm", (float)record->gradient_norm},
        {"tokens_per_second", (float)record->tokens_per_second},
    };
    struct scalar known[sizeof all / sizeof *all];
    size_t count = 0;
    struct text frame;
    llm_status status;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!isnan(all[i].value))
            known[count++] = all[i];
    }
    text_init(&frame, metrics->memory);
    tensorboard_scalars(&frame, wall_clock(), record->step, known, count);
    status =
        frame.failed ? LLM_E_NOMEM : file_appender_write(&metrics->events, frame.data, frame.size);
    text_free(&frame);
    return status;
}

llm_status metrics_write(struct metrics *metrics, const struct metrics_record *record,
                         const struct text *extra)
{
    struct text line;
    llm_status status;

    text_init(&line, metrics->memory);
    text_printf(&line, "{\"step\":%lld,\"tokens\":%lld", (long long)record->step,
                (long long)record->tokens);
    put_number(&line, "loss", record->loss);
    put_number(&line, "validation_loss", record->validation_loss);
    put_number(&line, "learning_rate", record->learning_rate);
    put_number(&line, "gradient_norm", record->gradient_norm);
    put_number(&line, "tokens_per_second", record->tokens_per_second);
    put_number(&line, "seconds", record->seconds);
    if (extra && extra->size)
        text_append(&line, extra->data, extra->size);
    text_append_z(&line, "}\n");
    status = line.failed ? LLM_E_NOMEM : file_appender_write(&metrics->lines, line.data, line.size);
    text_free(&line);
    if (!status && metrics->events.path)
        status = write_events(metrics, record);
    return status;
}
