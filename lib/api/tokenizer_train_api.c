/* SPDX-License-Identifier: MIT
 *
 * llm_tokenizer_train*(): the options checked, and documents from memory, files or a callback.
 */
#include "api/check.h"
#include "base/file.h"
#include "tokenizer/split.h"
#include "tokenizer/train.h"

#include <string.h>

static const llm_tokenizer_train_options train_defaults = {.struct_size = sizeof train_defaults,
                                                           .min_frequency = 2,
                                                           .kind = LLM_TOKENIZER_BPE,
                                                           .vocab_size = 32768,
                                                           .split = LLM_SPLIT_CL100K};

llm_status llm_tokenizer_train_options_init(llm_tokenizer_train_options *options,
                                            size_t struct_size)
{
    return options_fill(options, struct_size, &train_defaults, sizeof train_defaults,
                        "llm_tokenizer_train_options");
}

static llm_status check_options(const llm_tokenizer_train_options *options)
{
    if ((options->kind < LLM_TOKENIZER_BPE || options->kind > LLM_TOKENIZER_BYTES) &&
        options->kind != LLM_TOKENIZER_WORDPIECE && options->kind != LLM_TOKENIZER_UNIGRAM)
        return status_set(LLM_E_INVALID, "llm_tokenizer_train_options: kind is %d",
                          (int)options->kind);
    if (options->split < LLM_SPLIT_NONE || options->split > LLM_SPLIT_O200K)
        return status_set(LLM_E_INVALID, "llm_tokenizer_train_options: split is %d",
                          (int)options->split);
    if (options->vocab_size < 1 || options->vocab_size > 1 << 21)
        return status_set(LLM_E_RANGE,
                          "llm_tokenizer_train_options: vocab_size %d is outside 1..%d",
                          (int)options->vocab_size, 1 << 21);
    if (options->min_frequency < 0)
        return status_set(LLM_E_RANGE, "llm_tokenizer_train_options: min_frequency is negative");
    if (options->keep_case & ~1)
        return status_set(LLM_E_INVALID,
                          "llm_tokenizer_train_options: keep_case is neither 0 nor 1");
    if (options->special_count && !options->special_tokens)
        return null_argument("llm_tokenizer_train_options", "special_tokens");
    if (options->special_count > 65536)
        return status_set(LLM_E_RANGE,
                          "llm_tokenizer_train_options: more than 65536 special tokens");
    for (size_t i = 0; i < options->special_count; i++) {
        const char *text = options->special_tokens[i];

        if (!text || !text_is_utf8(text, strlen(text)))
            return status_set(
                LLM_E_INVALID,
                "llm_tokenizer_train_options: special_tokens[%zu] is NULL or not UTF-8", i);
    }
    if (options->unknown_token &&
        !text_is_utf8(options->unknown_token, strlen(options->unknown_token)))
        return status_set(LLM_E_INVALID, "llm_tokenizer_train_options: unknown_token is not UTF-8");
    return LLM_OK;
}

static llm_status train(llm_tokenizer **out, llm_context *context, struct text_source source,
                        const llm_tokenizer_train_options *theirs, const char *function)
{
    llm_tokenizer_train_options options = train_defaults;
    llm_status status;

    if (!out)
        return null_argument(function, "out");
    *out = NULL;
    if (!context)
        return null_argument(function, "context");
    status = options_read(&options, sizeof options, theirs, "llm_tokenizer_train_options");
    if (!status)
        status = check_options(&options);
    return status ? status : tokenizer_train(out, context, source, &options);
}

struct text_array {
    const char *const *texts;
    const size_t *sizes;
    size_t count;
    size_t next;
};

static int32_t next_text(void *user, const char **text, size_t *size)
{
    struct text_array *array = user;

    if (array->next == array->count)
        return 0;
    *text = array->texts[array->next];
    *size = array->sizes[array->next++];
    return 1;
}

llm_status llm_tokenizer_train(llm_tokenizer **out, llm_context *context, const char *const *texts,
                               const size_t *sizes, size_t count,
                               const llm_tokenizer_train_options *options)
{
    struct text_array array = {texts, sizes, count, 0};

    if (out)
        *out = NULL;
    if (count && (!texts || !sizes))
        return null_argument("llm_tokenizer_train", "texts or sizes");
    for (size_t i = 0; i < count; i++) {
        if (!texts[i])
            return status_set(LLM_E_INVALID, "llm_tokenizer_train: texts[%zu] is NULL", i);
    }
    return train(out, context, (struct text_source){next_text, &array}, options,
                 "llm_tokenizer_train");
}

struct file_array {
    const char *const *paths;
    size_t count;
    size_t next;
    struct file_map map;
};

static int32_t next_file(void *user, const char **text, size_t *size)
{
    struct file_array *array = user;
    llm_status status;

    file_map_close(&array->map);
    if (array->next == array->count)
        return 0;
    status = file_map_open(&array->map, array->paths[array->next++]);
    if (status)
        return status;
    *text = array->map.data;
    *size = array->map.size;
    return 1;
}

llm_status llm_tokenizer_train_files(llm_tokenizer **out, llm_context *context,
                                     const char *const *paths, size_t count,
                                     const llm_tokenizer_train_options *options)
{
    struct file_array array = {.paths = paths, .count = count};
    llm_status status;

    if (out)
        *out = NULL;
    if (count && !paths)
        return null_argument("llm_tokenizer_train_files", "paths");
    for (size_t i = 0; i < count; i++) {
        if (!paths[i])
            return status_set(LLM_E_INVALID, "llm_tokenizer_train_files: paths[%zu] is NULL", i);
    }
    status = train(out, context, (struct text_source){next_file, &array}, options,
                   "llm_tokenizer_train_files");
    if (status == LLM_E_FORMAT && array.next > 0)
        status = status_prefix(status, "%s", paths[array.next - 1]);
    file_map_close(&array.map);
    return status;
}

struct callback {
    llm_tokenizer_text_fn next;
    void *user;
};

static int32_t next_from_callback(void *user, const char **text, size_t *size)
{
    struct callback *callback = user;
    int32_t more;

    *text = NULL;
    *size = 0;
    more = callback->next(callback->user, text, size);
    if (more < 0)
        return status_set(LLM_E_CANCELLED, "the text callback gave up with %d", (int)more);
    if (more > 0 && !*text && *size)
        return status_set(LLM_E_INVALID, "the text callback gave a NULL text");
    if (more > 0 && !*text)
        *text = "";
    return more > 0 ? 1 : 0;
}

llm_status llm_tokenizer_train_stream(llm_tokenizer **out, llm_context *context,
                                      llm_tokenizer_text_fn next, void *user,
                                      const llm_tokenizer_train_options *options)
{
    struct callback callback = {next, user};

    if (out)
        *out = NULL;
    if (!next)
        return null_argument("llm_tokenizer_train_stream", "next");
    return train(out, context, (struct text_source){next_from_callback, &callback}, options,
                 "llm_tokenizer_train_stream");
}
