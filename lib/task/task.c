/* SPDX-License-Identifier: MIT */
#include "task/task.h"

#include "base/file.h"

#include <string.h>

static llm_status check_options(const llm_task_options *options)
{
    if (options->reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    if (options->max_tokens < 0 || options->overlap < 0)
        return status_set(LLM_E_RANGE, "%s is negative",
                          options->overlap < 0 ? "overlap" : "max_tokens");
    if (options->pooling < LLM_POOL_DEFAULT || options->pooling > LLM_POOL_MODEL)
        return status_set(LLM_E_RANGE, "pooling is %d, not one of LLM_POOL_*", options->pooling);
    if (options->normalize < -1 || options->normalize > 1)
        return status_set(LLM_E_RANGE, "normalize is %d, outside -1..1", options->normalize);
    return LLM_OK;
}

/* What the options leave open, the directory says; what it leaves open, the model. */
static llm_status settle(llm_task *task, const llm_task_options *options,
                         const struct task_modules *modules)
{
    int64_t longest = task->model->context_length;

    task->pooling = options->pooling ? options->pooling : modules->pooling;
    if (task->pooling == LLM_POOL_DEFAULT)
        task->pooling = LLM_POOL_MEAN;
    task->normalize = options->normalize < 0 ? modules->normalize : options->normalize;
    task->windows = options->windows != 0;
    task->overlap = options->overlap;
    task->max_tokens = options->max_tokens ? options->max_tokens : modules->max_tokens;
    if (options->max_tokens > longest)
        return status_set(LLM_E_RANGE, "max_tokens is %lld: the model's context is %lld tokens",
                          (long long)options->max_tokens, (long long)longest);
    if (task->max_tokens == 0 || task->max_tokens > longest)
        task->max_tokens = longest;
    if (task->overlap >= task->max_tokens)
        return status_set(LLM_E_RANGE, "overlap is %lld of %lld tokens", (long long)task->overlap,
                          (long long)task->max_tokens);
    return LLM_OK;
}

/* Does any token begin as WordPiece's tokens within words do? */
static bool marks_words(const llm_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < tokenizer_vocab_size(tokenizer); id++) {
        size_t size = 0;
        const char *token =
            tokenizer_has(tokenizer, id) ? tokenizer_token(tokenizer, id, &size) : "";

        if (size > 2 && memcmp(token, "##", 2) == 0)
            return true;
    }
    return false;
}

static llm_status make(llm_task **out, llm_model *model, llm_tokenizer *tokenizer,
                       const llm_task_options *options, const struct task_modules *modules)
{
    struct memory *memory = &model->context->memory;
    llm_task *task = memory_alloc_zeroed(memory, 1, sizeof *task);
    llm_status status;

    *out = NULL;
    if (!task)
        return LLM_E_NOMEM;
    task->context = context_retain(model->context);
    task->model = model_retain(model);
    task->tokenizer = tokenizer ? tokenizer_retain(tokenizer) : NULL;
    status = settle(task, options, modules);
    if (!status) {
        task->work = memory_alloc_zeroed(memory, 1, sizeof *task->work);
        status = task->work ? cx_init(&task->work->cx, model->context) : LLM_E_NOMEM;
    }
    if (!status && modules->prompt) {
        task->prompt = memory_copy_text(memory, modules->prompt, strlen(modules->prompt));
        status = task->prompt ? LLM_OK : LLM_E_NOMEM;
    }
    task->marks_words = tokenizer && marks_words(tokenizer);
    if (status)
        task_free(task);
    else
        *out = task;
    return status;
}

llm_status task_new(llm_task **out, llm_model *model, llm_tokenizer *tokenizer,
                    const llm_task_options *options)
{
    const struct task_modules none = {0};
    llm_status status = check_options(options);

    return status ? status : make(out, model, tokenizer, options, &none);
}

void task_free(llm_task *task)
{
    llm_context *context;

    if (!task)
        return;
    context = task->context;
    if (task->work)
        cx_free(&task->work->cx);
    memory_release(&context->memory, task->work);
    memory_release(&context->memory, task->prompt);
    tokenizer_release(task->tokenizer);
    model_release(task->model);
    memory_release(&context->memory, task);
    context_release(context);
}

/* The tokenizer of a directory; NULL when it holds none. */
static llm_status load_tokenizer(llm_tokenizer **out, llm_context *context, const char *directory)
{
    static const char *const files[] = {"tokenizer.json", "spiece.model", "tokenizer.model",
                                        "vocab.txt", "vocab.json"};
    bool there = false;

    *out = NULL;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !there; i++) {
        char *path = file_join(&context->memory, directory, files[i]);

        if (!path)
            return LLM_E_NOMEM;
        there = file_exists(path);
        memory_release(&context->memory, path);
    }
    return there ? tokenizer_load(out, context, directory) : LLM_OK;
}

llm_status task_load(llm_task **out, llm_context *context, const char *directory,
                     const llm_task_options *options)
{
    struct memory *memory = &context->memory;
    struct task_modules modules = {0};
    llm_tokenizer *tokenizer = NULL;
    llm_model *model = NULL;
    llm_status status = check_options(options);

    *out = NULL;
    if (!status)
        status = task_read_modules(&modules, memory, directory);
    if (!status)
        status = model_load(&model, context, modules.model_path, NULL);
    if (!status)
        status = load_tokenizer(&tokenizer, context, modules.model_path);
    if (!status)
        status = make(out, model, tokenizer, options, &modules);
    tokenizer_release(tokenizer);
    model_release(model);
    memory_release(memory, modules.model_path);
    memory_release(memory, modules.prompt);
    return status;
}
