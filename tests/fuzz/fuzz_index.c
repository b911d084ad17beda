/* SPDX-License-Identifier: MIT
 *
 * Any bytes as model.safetensors.index.json, beside one small shard.
 */
#include "fuzz.h"

#include "base/context.h"
#include "formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static char index_path[128], shard_path[128];
static FILE *file;

static void clean_up(void)
{
    (void)unlink(index_path);
    (void)unlink(shard_path);
    (void)rmdir(directory);
}

static llm_context *prepare(void)
{
    static float values[2] = {1.0f, 2.0f};
    const int64_t shape[1] = {2};
    struct safetensors_item item = {.name = "a", .dtype = LLM_F32};
    llm_context *context;
    llm_tensor *tensor;

    strcpy(directory, "fuzz-index-XXXXXX");
    if (llm_context_new(&context, NULL) || !mkdtemp(directory))
        abort();
    (void)snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", directory);
    (void)snprintf(shard_path, sizeof shard_path, "%s/model-00001-of-00001.safetensors", directory);
    if (llm_tensor_wrap(&tensor, context, LLM_F32, 1, shape, NULL, values, NULL, NULL))
        abort();
    item.tensor = tensor;
    if (safetensors_write(&context->memory, shard_path, &item, 1, NULL, NULL))
        abort();
    llm_tensor_free(tensor);
    file = fopen(index_path, "wb");
    if (!file)
        abort();
    (void)atexit(clean_up);
    return context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    struct tensor_source *source;

    if (!context)
        context = prepare();
    rewind(file);
    if (fwrite(data, 1, size, file) != size || fflush(file) != 0 ||
        ftruncate(fileno(file), (off_t)size) != 0)
        abort();
    (void)tensor_source_open(&source, &context->memory, directory);
    tensor_source_close(source);
    return 0;
}
