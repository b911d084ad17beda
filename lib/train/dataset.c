/* SPDX-License-Identifier: MIT */
#include "train/dataset.h"

#include <stdatomic.h>
#include <string.h>

llm_dataset *dataset_retain(llm_dataset *dataset)
{
    atomic_fetch_add(&dataset->references, 1);
    return dataset;
}

void dataset_release(llm_dataset *dataset)
{
    llm_context *context;

    if (!dataset || atomic_fetch_sub(&dataset->references, 1) != 1)
        return;
    context = dataset->context;
    tokens_free(&dataset->tokens);
    tokenizer_release(dataset->tokenizer);
    memory_release(&context->memory, dataset);
    context_release(context);
}

static bool is_flag(int32_t value)
{
    return value == 0 || value == 1;
}

llm_status dataset_check_options(const llm_dataset_options *o)
{
    if (!(o->validation_fraction >= 0.0 && o->validation_fraction < 1.0))
        return status_set(LLM_E_RANGE, "validation_fraction is %g, outside [0, 1)",
                          o->validation_fraction);
    if (!(o->test_fraction >= 0.0 && o->test_fraction < 1.0))
        return status_set(LLM_E_RANGE, "test_fraction is %g, outside [0, 1)", o->test_fraction);
    if (o->validation_fraction + o->test_fraction >= 1.0)
        return status_set(LLM_E_RANGE,
                          "validation_fraction + test_fraction is %g: nothing is left to train on",
                          o->validation_fraction + o->test_fraction);
    if (o->validation_count && !o->validation_files)
        return status_set(LLM_E_INVALID, "validation_files is NULL, validation_count is %zu",
                          o->validation_count);
    for (size_t i = 0; i < o->validation_count; i++) {
        if (!o->validation_files[i])
            return status_set(LLM_E_INVALID, "validation_files[%zu] is NULL", i);
    }
    if (o->invalid_text < LLM_TEXT_STRICT || o->invalid_text > LLM_TEXT_RAW)
        return status_set(LLM_E_RANGE, "invalid_text is %d, outside %d..%d", o->invalid_text,
                          LLM_TEXT_STRICT, LLM_TEXT_RAW);
    if (!is_flag(o->append_eos))
        return status_set(LLM_E_RANGE, "append_eos is %d, neither 0 nor 1", o->append_eos);
    if (!is_flag(o->parse_special))
        return status_set(LLM_E_RANGE, "parse_special is %d, neither 0 nor 1", o->parse_special);
    if (!is_flag(o->split_by_document))
        return status_set(LLM_E_RANGE, "split_by_document is %d, neither 0 nor 1",
                          o->split_by_document);
    return LLM_OK;
}

int64_t dataset_count(const llm_dataset *dataset, int32_t part)
{
    return dataset->end[part] - dataset->begin[part];
}

/* First token of document i, over all parts. */
static int64_t document_begin(const struct tokens *tokens, int64_t i)
{
    return i ? tokens->ends[i - 1] : 0;
}

struct window dataset_example(const llm_dataset *dataset, int32_t part, int64_t index,
                              int64_t block)
{
    int64_t document = dataset->first_example[part] + index;
    int64_t begin = document_begin(&dataset->tokens, document);
    int64_t length = dataset->tokens.ends[document] - begin - 1;

    return (struct window){begin - dataset->begin[part], length < block ? length : block};
}

int64_t dataset_learned(const llm_dataset *dataset, int32_t part, struct window window)
{
    const uint8_t *learned = dataset->tokens.learned;
    int64_t count = 0;

    if (!learned)
        return window.length;
    learned += dataset->begin[part] + window.first + 1;
    for (int64_t i = 0; i < window.length; i++)
        count += learned[i];
    return count;
}

void dataset_read(const llm_dataset *dataset, int32_t part, int64_t first, int64_t count,
                  int32_t *ids)
{
    tokens_read(&dataset->tokens, dataset->begin[part] + first, count, ids);
}
