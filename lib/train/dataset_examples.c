/* SPDX-License-Identifier: MIT
 *
 * Datasets of examples: each is trained on whole, by itself, and says which of its tokens are to be
 * learned. The parts split between examples.
 */
#include "train/dataset.h"

#include <string.h>

/* Everything that is being collected. */
struct collection {
    struct memory *memory;
    struct token_sink sink;
    uint8_t *learned;
    size_t capacity;
};

static llm_status add(struct collection *c, const struct example *example, int32_t vocab_size)
{
    size_t before = (size_t)c->sink.count;
    llm_status status;

    if (example->count < 2)
        return status_set(LLM_E_INVALID, "fewer than two tokens");
    for (size_t i = 0; i < example->count; i++) {
        if (example->ids[i] < 0 || example->ids[i] >= vocab_size)
            return status_set(LLM_E_RANGE, "id %d is outside 0..%d", example->ids[i],
                              vocab_size - 1);
    }
    status = memory_grow(c->memory, (void **)&c->learned, &c->capacity, before + example->count, 1);
    if (!status)
        status = token_sink_append(&c->sink, example->ids, example->count);
    if (status)
        return status;
    for (size_t i = 0; i < example->count; i++)
        c->learned[before + i] = !example->learn || example->learn[i] ? 1 : 0;
    return token_sink_end_document(&c->sink);
}

static llm_status collect(struct collection *c, int32_t vocab_size, example_source next, void *user)
{
    for (size_t number = 0;; number++) {
        struct example example = {0};
        llm_status status = next(user, &example);

        if (!status && !example.ids)
            return number ? LLM_OK
                          : status_set(LLM_E_INVALID, "the dataset is empty: there is no example");
        if (!status)
            status = status_prefix(add(c, &example, vocab_size), "example %zu", number);
        if (status)
            return status;
    }
}

/* Validation and test take the last examples, at least one each where a fraction asks for any. */
static llm_status split(llm_dataset *dataset, const llm_dataset_options *o)
{
    const double fractions[DATASET_PARTS] = {0.0, o->validation_fraction, o->test_fraction};
    int64_t left = dataset->tokens.documents;
    int64_t all = left;

    for (int32_t part = DATASET_PARTS - 1; part > 0; part--) {
        int64_t count = (int64_t)((double)all * fractions[part]);

        if (fractions[part] > 0.0 && count == 0 && left > 1)
            count = 1;
        dataset->examples[part] = count;
        left -= count;
        dataset->first_example[part] = left;
    }
    dataset->examples[LLM_PART_TRAIN] = left;
    for (int32_t part = 0; part < DATASET_PARTS; part++) {
        int64_t first = dataset->first_example[part];
        int64_t last = first + dataset->examples[part];

        dataset->begin[part] = first ? dataset->tokens.ends[first - 1] : 0;
        dataset->end[part] = last ? dataset->tokens.ends[last - 1] : 0;
    }
    return left > 0 ? LLM_OK : status_set(LLM_E_INVALID, "no example is left to train on");
}

static llm_status make(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                       int32_t vocab_size)
{
    llm_dataset *dataset = memory_alloc_zeroed(&context->memory, 1, sizeof *dataset);

    *out = dataset;
    if (!dataset)
        return LLM_E_NOMEM;
    atomic_init(&dataset->references, 1);
    dataset->context = context_retain(context);
    dataset->vocab_size = vocab_size;
    dataset->end_id = -1;
    dataset->is_examples = true;
    if (tokenizer) {
        dataset->tokenizer = tokenizer_retain(tokenizer);
        dataset->end_id = tokenizer_special(tokenizer, LLM_TOKEN_EOS);
    }
    return LLM_OK;
}

llm_status dataset_from_examples(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                                 int32_t vocab_size, example_source next, void *user,
                                 const llm_dataset_options *options)
{
    struct collection c = {.memory = &context->memory};
    llm_dataset *dataset = NULL;
    llm_status status = dataset_check_options(options);

    *out = NULL;
    if (!status && (options->cache || options->validation_count))
        status = status_set(LLM_E_INVALID, "%s: not for examples",
                            options->cache ? "cache" : "validation_files");
    if (!status)
        status = make(&dataset, context, tokenizer, vocab_size);
    if (!status) /* end tokens inside an example end nothing */
        status = token_sink_open(&c.sink, c.memory, NULL, vocab_size, -1);
    if (!status)
        status = collect(&c, vocab_size, next, user);
    if (!status) {
        token_sink_finish(&c.sink, &dataset->tokens);
        dataset->tokens.learned = c.learned;
        c.learned = NULL;
        status = split(dataset, options);
    }
    token_sink_free(&c.sink);
    memory_release(c.memory, c.learned);
    if (status)
        dataset_release(dataset);
    else
        *out = dataset;
    return status;
}
