/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a GGUF file (or whatever else its first bytes say): metadata listed, small tensors
 * read, the tokenizer made, and if it is a model, loaded within a memory limit and run.
 */
#include "fuzz.h"

#include "base/context.h"
#include "formats/gguf.h"
#include "models/gguf_vocabulary.h"
#include "models/model.h"

#include <stdlib.h>

static void read_all(const struct tensor_source *source, llm_context *context)
{
    llm_tokenizer *tokenizer;

    for (size_t i = 0; i < source->count; i++) {
        const struct tensor_entry *entry = &source->list[i];
        llm_tensor *tensor;

        if (entry->bytes > 1 << 16 ||
            tensor_new(&tensor, context, LLM_F32, entry->dimensions, entry->shape))
            continue;
        (void)tensor_source_load(source, entry, tensor, NULL, NULL);
        tensor_release(tensor);
    }
    if (source->metadata && gguf_to_tokenizer(&tokenizer, context, source->metadata) == LLM_OK)
        tokenizer_release(tokenizer);
}

static void run(llm_context *context, const void *data, size_t size)
{
    static const int32_t ids[3] = {0, 0, 0};
    llm_model *model;
    double loss;

    if (llm_model_load_memory(&model, context, data, size, NULL))
        return;
    if (model->params.elements < 100000)
        (void)llm_model_loss(&loss, model, ids, ids, 3);
    llm_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    struct tensor_source *source;
    struct file_reader reader;
    llm_context_options options;

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)16 << 20;
        options.threads = 1;
        if (llm_context_new(&context, &options))
            abort();
    }
    if (file_reader_over(&reader, &context->memory, "input", data, size))
        abort();
    if (tensor_source_open_reader(&source, &context->memory, &reader) == LLM_OK)
        read_all(source, context);
    tensor_source_close(source);
    run(context, data, size);
    return 0;
}
