/* SPDX-License-Identifier: MIT
 *
 * llm/dataset.h: argument checks in front of train/dataset.c.
 */
#include "api/check.h"
#include "train/dataset.h"

static const llm_dataset_options default_options = {
    .struct_size = sizeof default_options, .validation_fraction = 0.1, .append_eos = 1};

llm_status llm_dataset_options_init(llm_dataset_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_dataset_options");
}

/* What the functions that read text have in common. */
static llm_status check(const char *function, llm_dataset **out, const llm_context *context,
                        const llm_tokenizer *tokenizer, llm_dataset_options *options,
                        const llm_dataset_options *given)
{
    *options = default_options;
    if (!out)
        return null_argument(function, "out");
    *out = NULL;
    if (!context)
        return null_argument(function, "context");
    if (!tokenizer)
        return null_argument(function, "tokenizer");
    return options_read(options, sizeof *options, given, "llm_dataset_options");
}

static llm_status no_validation_files(const llm_dataset_options *options)
{
    if (options->validation_count)
        return status_set(LLM_E_INVALID, "validation_files go with llm_dataset_from_files() only");
    return LLM_OK;
}

llm_status llm_dataset_from_files(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                                  const char *const *paths, size_t count,
                                  const llm_dataset_options *given)
{
    llm_dataset_options options;
    llm_status status = check("llm_dataset_from_files", out, context, tokenizer, &options, given);

    if (status)
        return status;
    if (!paths)
        return null_argument("llm_dataset_from_files", "paths");
    for (size_t i = 0; i < count; i++) {
        if (!paths[i])
            return status_set(LLM_E_INVALID, "llm_dataset_from_files: paths[%zu] is NULL", i);
    }
    return dataset_from_files(out, context, tokenizer, paths, count, &options);
}

llm_status llm_dataset_from_texts(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                                  const char *const *texts, const size_t *sizes, size_t count,
                                  const llm_dataset_options *given)
{
    llm_dataset_options options;
    llm_status status = check("llm_dataset_from_texts", out, context, tokenizer, &options, given);

    if (!status)
        status = no_validation_files(&options);
    if (status)
        return status;
    if (!texts)
        return null_argument("llm_dataset_from_texts", "texts");
    if (!sizes)
        return null_argument("llm_dataset_from_texts", "sizes");
    for (size_t i = 0; i < count; i++) {
        if (!texts[i] && sizes[i])
            return status_set(LLM_E_INVALID, "llm_dataset_from_texts: texts[%zu] is NULL", i);
    }
    return dataset_from_texts(out, context, tokenizer, texts, sizes, count, &options);
}

llm_status llm_dataset_from_stream(llm_dataset **out, llm_context *context,
                                   llm_tokenizer *tokenizer, llm_dataset_text_fn next, void *user,
                                   const llm_dataset_options *given)
{
    llm_dataset_options options;
    llm_status status = check("llm_dataset_from_stream", out, context, tokenizer, &options, given);

    if (!status)
        status = no_validation_files(&options);
    if (status)
        return status;
    if (!next)
        return null_argument("llm_dataset_from_stream", "next");
    return dataset_from_stream(out, context, tokenizer, next, user, &options);
}

struct caller {
    llm_dataset_example_fn next;
    void *user;
};

static llm_status ask_caller(void *arg, struct example *example)
{
    struct caller *caller = arg;
    int32_t more = caller->next(caller->user, &example->ids, &example->learn, &example->count);

    if (more < 0)
        return status_set(LLM_E_CANCELLED, "the source of examples gave up");
    if (more == 0)
        *example = (struct example){0};
    else if (!example->ids)
        return status_set(LLM_E_INVALID, "the source of examples gave NULL for ids");
    return LLM_OK;
}

llm_status llm_dataset_from_examples(llm_dataset **out, llm_context *context,
                                     llm_tokenizer *tokenizer, int32_t vocab_size,
                                     llm_dataset_example_fn next, void *user,
                                     const llm_dataset_options *given)
{
    llm_dataset_options options = default_options;
    struct caller caller = {next, user};
    llm_status status;

    if (!out)
        return null_argument("llm_dataset_from_examples", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_dataset_from_examples", "context");
    if (!next)
        return null_argument("llm_dataset_from_examples", "next");
    if (tokenizer)
        vocab_size = tokenizer_vocab_size(tokenizer);
    if (vocab_size < 1)
        return status_set(LLM_E_RANGE, "vocab_size is %d, not positive", vocab_size);
    status = options_read(&options, sizeof options, given, "llm_dataset_options");
    return status ? status
                  : dataset_from_examples(out, context, tokenizer, vocab_size, ask_caller, &caller,
                                          &options);
}

int64_t llm_dataset_examples(const llm_dataset *dataset, int32_t part)
{
    return dataset && part >= 0 && part < DATASET_PARTS ? dataset->examples[part] : 0;
}

llm_status llm_dataset_from_ids(llm_dataset **out, llm_context *context, const int32_t *ids,
                                size_t count, int32_t vocab_size, int32_t end_id,
                                const llm_dataset_options *given)
{
    llm_dataset_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_dataset_from_ids", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_dataset_from_ids", "context");
    if (!ids)
        return null_argument("llm_dataset_from_ids", "ids");
    if (vocab_size < 1)
        return status_set(LLM_E_RANGE, "vocab_size is %d, not positive", vocab_size);
    if (end_id < -1 || end_id >= vocab_size)
        return status_set(LLM_E_RANGE, "end_id is %d, outside -1..%d", end_id, vocab_size - 1);
    status = options_read(&options, sizeof options, given, "llm_dataset_options");
    if (!status)
        status = no_validation_files(&options);
    if (status)
        return status;
    return dataset_from_ids(out, context, ids, count, vocab_size, end_id, &options);
}

void llm_dataset_free(llm_dataset *dataset)
{
    dataset_release(dataset);
}

static bool is_part(int32_t part)
{
    return part >= 0 && part < DATASET_PARTS;
}

int64_t llm_dataset_tokens(const llm_dataset *dataset, int32_t part)
{
    return dataset && is_part(part) ? dataset_count(dataset, part) : 0;
}

int64_t llm_dataset_documents(const llm_dataset *dataset)
{
    return dataset ? dataset->tokens.documents : 0;
}

int32_t llm_dataset_vocab_size(const llm_dataset *dataset)
{
    return dataset ? dataset->vocab_size : 0;
}

int32_t llm_dataset_from_cache(const llm_dataset *dataset)
{
    return dataset && dataset->is_from_cache;
}

static llm_status check_range(const llm_dataset *dataset, int32_t part, int64_t first,
                              int64_t count)
{
    if (!is_part(part))
        return status_set(LLM_E_RANGE, "part is %d, outside 0..%d", part, DATASET_PARTS - 1);
    if (first < 0 || count < 0 || first > dataset_count(dataset, part) ||
        count > dataset_count(dataset, part) - first)
        return status_set(LLM_E_RANGE, "tokens %lld to %lld lie outside the part's %lld",
                          (long long)first, (long long)first + (long long)count,
                          (long long)dataset_count(dataset, part));
    return LLM_OK;
}

llm_status llm_dataset_read(int32_t *ids, const llm_dataset *dataset, int32_t part, int64_t first,
                            int64_t count)
{
    llm_status status;

    if (!ids)
        return null_argument("llm_dataset_read", "ids");
    if (!dataset)
        return null_argument("llm_dataset_read", "dataset");
    status = check_range(dataset, part, first, count);
    if (!status)
        dataset_read(dataset, part, first, count, ids);
    return status;
}

llm_status llm_dataset_learned(uint8_t *learned, const llm_dataset *dataset, int32_t part,
                               int64_t first, int64_t count)
{
    llm_status status;

    if (!learned)
        return null_argument("llm_dataset_learned", "learned");
    if (!dataset)
        return null_argument("llm_dataset_learned", "dataset");
    status = check_range(dataset, part, first, count);
    for (int64_t i = 0; i < count && !status; i++)
        learned[i] =
            dataset->tokens.learned ? dataset->tokens.learned[dataset->begin[part] + first + i] : 1;
    return status;
}
