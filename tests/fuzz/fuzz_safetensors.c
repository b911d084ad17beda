/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a safetensors file: opened, and every tensor that fits into a megabyte read as f32.
 */
#include "fuzz.h"

#include "base/context.h"
#include "formats/tensor_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void read_all(const struct tensor_source *source, llm_context *context)
{
    for (size_t i = 0; i < source->count; i++) {
        const struct tensor_entry *entry = &source->list[i];
        llm_tensor *tensor;

        if (entry->bytes > 1 << 20 ||
            tensor_new(&tensor, context, LLM_F32, entry->dimensions, entry->shape))
            continue;
        (void)tensor_source_load(source, entry, tensor, NULL, NULL);
        tensor_release(tensor);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    static FILE *file;
    struct tensor_source *source;
    llm_context_options options;
    char path[32];

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)512 << 20;
        options.threads = 1;
        file = tmpfile();
        if (!file || llm_context_new(&context, &options))
            abort();
    }
    rewind(file);
    if (fwrite(data, 1, size, file) != size || fflush(file) != 0 ||
        ftruncate(fileno(file), (off_t)size) != 0)
        abort();
    (void)snprintf(path, sizeof path, "/dev/fd/%d", fileno(file));
    if (tensor_source_open(&source, &context->memory, path) == LLM_OK)
        read_all(source, context);
    tensor_source_close(source);
    return 0;
}
