/* SPDX-License-Identifier: MIT */
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int tool_fail(const char *command)
{
    fprintf(stderr, "llm %s: %s\n", command, llm_last_error());
    return 1;
}

static void print_log(void *user, int32_t level, const char *message)
{
    (void)user;
    fprintf(stderr, "%s: %s\n", level == LLM_LOG_ERROR ? "error" : "warning", message);
}

llm_status tool_context(llm_context **out, int64_t threads, int64_t seed)
{
    llm_context_options options;
    llm_status status = llm_context_options_init(&options, sizeof options);

    if (status)
        return status;
    options.log = print_log;
    options.threads = (int32_t)threads;
    options.seed = (uint64_t)seed;
    return llm_context_new(out, &options);
}

llm_status tool_load(llm_model **model, llm_context *context, const char *path, const char *weights)
{
    llm_model_load_options options;
    llm_status status = llm_model_load_options_init(&options, sizeof options);

    if (status)
        return status;
    options.weights = strcmp(weights, "keep") == 0 ? LLM_WEIGHTS_KEEP : LLM_WEIGHTS_FLOAT;
    return llm_model_load(model, context, path, &options);
}

int tool_check_weights(const char *command, const char *weights)
{
    if (strcmp(weights, "keep") == 0 || strcmp(weights, "float") == 0)
        return 1;
    fprintf(stderr, "llm %s: --weights is \"keep\" or \"float\"\n", command);
    return 0;
}

char *tool_read_file(const char *path, size_t *size_out)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t capacity = 65536;
    char *data = malloc(capacity);
    size_t size = 0;

    if (!file || !data) {
        fprintf(stderr, "llm: cannot open %s: %s\n", path, strerror(errno));
        free(data);
        return NULL;
    }
    for (;;) {
        size += fread(data + size, 1, capacity - size, file);
        if (size < capacity)
            break;
        char *bigger = realloc(data, 2 * capacity);

        if (!bigger)
            break;
        data = bigger;
        capacity *= 2;
    }
    if (ferror(file) || !feof(file)) {
        fprintf(stderr, "llm: cannot read %s: %s\n", path, strerror(errno));
        free(data);
        data = NULL;
    }
    if (file != stdin)
        fclose(file);
    *size_out = size;
    return data;
}

double tool_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int progress_is_terminal(void)
{
    return isatty(STDERR_FILENO);
}

void progress_start(struct progress *progress, const char *label)
{
    progress->label = label;
    progress->last_fraction = -1.0;
    progress->last_drawn = 0.0;
    progress->validation = (double)NAN;
}

void progress_show(struct progress *progress, double fraction, const char *detail)
{
    enum { WIDTH = 30 };
    double now = tool_seconds();
    int filled;

    fraction = fraction < 0.0 ? 0.0 : fraction > 1.0 ? 1.0 : fraction;
    if (!progress_is_terminal()) {
        if (progress->last_fraction >= 0.0 && fraction < 1.0 &&
            (int)(fraction * 10.0) == (int)(progress->last_fraction * 10.0))
            return;
        fprintf(stderr, "%s %3.0f %%  %s\n", progress->label, 100.0 * fraction, detail);
    } else {
        if (progress->last_fraction >= 0.0 && fraction < 1.0 && now - progress->last_drawn < 0.1)
            return;
        filled = (int)(fraction * WIDTH);
        fprintf(stderr, "\r\033[K%s [%.*s%*s] %3.0f %%  %s", progress->label, filled,
                "##############################", WIDTH - filled, "", 100.0 * fraction, detail);
        fflush(stderr);
    }
    progress->last_fraction = fraction;
    progress->last_drawn = now;
}

void progress_end(struct progress *progress)
{
    if (progress->last_fraction >= 0.0 && progress_is_terminal())
        fputc('\n', stderr);
    progress->last_fraction = -1.0;
}

volatile sig_atomic_t tool_interrupted;
static void (*interrupt_action)(void);

static void on_signal(int number)
{
    if (tool_interrupted)
        _exit(128 + number);
    tool_interrupted = 1;
    if (interrupt_action)
        interrupt_action();
}

void tool_catch_interrupt(void (*action)(void))
{
    struct sigaction handler;

    interrupt_action = action;
    memset(&handler, 0, sizeof handler);
    handler.sa_handler = on_signal;
    sigaction(SIGINT, &handler, NULL);
    sigaction(SIGTERM, &handler, NULL);
}

llm_status tool_adapt(llm_model **model, const char *path)
{
    llm_adapter *adapter = NULL;
    llm_model *merged = NULL;
    llm_status status = llm_adapter_load(&adapter, *model, path);

    if (!status)
        status = llm_adapter_merge(&merged, *model, adapter, 1.0);
    llm_adapter_free(adapter);
    if (status)
        return status;
    llm_model_free(*model);
    *model = merged;
    return LLM_OK;
}

void tool_make_directory(const char *path)
{
    char part[4096];
    size_t size = strlen(path);

    for (size_t i = 1; i <= size && i < sizeof part; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        (void)mkdir(part, 0777);
    }
}

static void print_duration(char *text, size_t size, double seconds)
{
    long left = isfinite(seconds) && seconds < 1e7 ? lround(seconds) : -1;

    if (left < 0)
        snprintf(text, size, "-");
    else if (left >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
    else
        snprintf(text, size, "%ld:%02ld", left / 60, left % 60);
}

int32_t progress_show_training(void *user, const llm_train_progress *p)
{
    struct progress *progress = user;
    char left[32], detail[160], validation[32] = "";

    if (isfinite(p->validation_loss))
        progress->validation = p->validation_loss;
    if (isfinite(progress->validation))
        snprintf(validation, sizeof validation, ", validation %.3f", progress->validation);
    print_duration(left, sizeof left, p->seconds_left);
    snprintf(detail, sizeof detail, "step %lld/%lld  loss %.3f%s  %.0f tokens/s  %s left",
             (long long)p->step, (long long)p->steps, p->loss, validation, p->tokens_per_second,
             left);
    progress_show(progress, (double)p->step / (double)p->steps, detail);
    return 0;
}

int32_t progress_show_reading(void *progress, double fraction)
{
    progress_show(progress, fraction, "");
    return tool_interrupted;
}
