/* SPDX-License-Identifier: MIT
 *
 * Models in files through the public header: converted, loaded from a path, memory and a callback,
 * listed; misused; with every allocation failing in turn.
 */
#include <llm.h>

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":16,\"num_hidden_layers\":1,"
                             "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":11,"
                             "\"max_position_embeddings\":16}";

static char directory[64];

struct paths {
    char model[96], gguf[96], back[96];
};

static struct paths paths;

/* A directory with a model, and its GGUF file. */
static int setup(void **state)
{
    llm_context *context;
    llm_model *model;

    (void)state;
    strcpy(directory, "test-api-files-XXXXXX");
    if (!mkdtemp(directory))
        return 1;
    snprintf(paths.model, sizeof paths.model, "%s/model", directory);
    snprintf(paths.gguf, sizeof paths.gguf, "%s/model.gguf", directory);
    snprintf(paths.back, sizeof paths.back, "%s/back", directory);
    if (llm_context_new(&context, NULL) ||
        llm_model_new(&model, context, config, strlen(config), NULL) ||
        llm_model_save(model, paths.model, NULL) ||
        llm_model_convert(context, paths.model, paths.gguf, NULL))
        return 1;
    llm_model_free(model);
    llm_context_free(context);
    return 0;
}

static void remove_model(const char *folder)
{
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "generation_config.json"};
    char path[160];

    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

static int teardown(void **state)
{
    (void)state;
    remove_model(paths.model);
    remove_model(paths.back);
    unlink(paths.gguf);
    return rmdir(directory);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

struct file {
    unsigned char *data;
    size_t size;
};

static void read_file(struct file *file, const char *path)
{
    FILE *stream = fopen(path, "rb");

    assert_non_null(stream);
    assert_int_equal(0, fseek(stream, 0, SEEK_END));
    file->size = (size_t)ftell(stream);
    rewind(stream);
    file->data = malloc(file->size);
    assert_non_null(file->data);
    assert_int_equal(file->size, fread(file->data, 1, file->size, stream));
    fclose(stream);
}

static int32_t read_part(void *user, uint64_t offset, void *buffer, size_t size)
{
    const struct file *file = user;

    memcpy(buffer, file->data + offset, size);
    return 0;
}

static void same_weights(const llm_model *a, const llm_model *b)
{
    assert_int_equal(llm_model_tensor_count(a), llm_model_tensor_count(b));
    for (size_t i = 0; i < llm_model_tensor_count(a); i++) {
        const llm_tensor *x = llm_model_tensor(a, i);

        assert_memory_equal(llm_tensor_data(x), llm_tensor_data(llm_model_tensor(b, i)),
                            (size_t)llm_tensor_count(x) * sizeof(float));
    }
}

static int32_t count_keys(void *user, const char *key, const char *type, const char *value)
{
    int *seen = user;

    if (strcmp(key, "llama.block_count") == 0) {
        assert_string_equal("u32", type);
        assert_string_equal("1", value);
    }
    if (strcmp(key, "general.architecture") == 0)
        assert_string_equal("\"llama\"", value);
    return ++*seen == 1000;
}

static int32_t stop_listing(void *user, const char *key, const char *type, const char *value)
{
    (void)user;
    return key && type && value;
}

static void test_use(void **state)
{
    llm_context *context;
    llm_model *model, *other;
    llm_model_load_options options;
    struct file file;
    int seen = 0;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_model_load(&model, context, paths.model, NULL), LLM_OK);
    assert_int_equal(llm_model_load(&other, context, paths.gguf, NULL), LLM_OK);
    same_weights(model, other);
    llm_model_free(other);
    assert_int_equal(llm_model_load_options_init(&options, sizeof options), LLM_OK);
    assert_int_equal(options.map, 0);
    options.map = 1;
    assert_int_equal(llm_model_load(&other, context, paths.gguf, &options), LLM_OK);
    same_weights(model, other);
    llm_model_free(other);
    read_file(&file, paths.gguf);
    assert_int_equal(llm_model_load_memory(&other, context, file.data, file.size, NULL), LLM_OK);
    same_weights(model, other);
    llm_model_free(other);
    assert_int_equal(
        llm_model_load_callback(&other, context, read_part, &file, file.size, &options), LLM_OK);
    same_weights(model, other);
    llm_model_free(other);
    assert_int_equal(llm_model_convert(context, paths.gguf, paths.back, NULL), LLM_OK);
    assert_int_equal(llm_model_load(&other, context, paths.back, NULL), LLM_OK);
    same_weights(model, other);
    assert_string_equal("", llm_model_generation_config(other));
    llm_model_free(other);
    assert_int_equal(llm_model_metadata(context, paths.gguf, count_keys, &seen), LLM_OK);
    assert_true(seen > 10);
    assert_int_equal(llm_model_metadata(context, paths.gguf, stop_listing, NULL), LLM_E_CANCELLED);
    seen = 0;
    assert_int_equal(llm_model_metadata(context, paths.model, count_keys, &seen), LLM_OK);
    assert_int_equal(seen, 0);
    free(file.data);
    llm_model_free(model);
    llm_context_free(context);
}

static void test_types(void **state)
{
    (void)state;
    assert_string_equal(llm_dtype_name(LLM_F32), "f32");
    assert_string_equal(llm_dtype_name(LLM_Q4_K), "q4_k");
    assert_string_equal(llm_dtype_name(-1), "");
    assert_string_equal(llm_dtype_name(1000), "");
    assert_int_equal(llm_dtype_find("iq4_xs"), LLM_IQ4_XS);
    assert_int_equal(llm_dtype_find("q4"), -1);
    assert_int_equal(llm_dtype_find(NULL), -1);
}

/* ---- misuse ------------------------------------------------------------------------------------
 */

static void test_misuse(void **state)
{
    const int64_t shape[1] = {32};
    llm_model_convert_options options;
    llm_model_load_options load;
    llm_context *context;
    llm_tensor *tensor;
    llm_model *model;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_model_load(&model, context, "no/such/file.gguf", NULL), LLM_E_IO);
    assert_null(model);
    assert_int_equal(llm_model_load_memory(&model, context, "GGUF", 4, NULL), LLM_E_FORMAT);
    assert_int_equal(llm_model_load_memory(&model, context, NULL, 4, NULL), LLM_E_INVALID);
    assert_int_equal(llm_model_load_callback(&model, context, NULL, NULL, 4, NULL), LLM_E_INVALID);
    assert_int_equal(llm_model_load_options_init(&load, sizeof load), LLM_OK);
    load.weights = 2;
    assert_int_equal(llm_model_load(&model, context, paths.gguf, &load), LLM_E_INVALID);
    assert_int_equal(llm_model_convert_options_init(&options, sizeof options), LLM_OK);
    assert_int_equal(options.dtype, -1);
    options.dtype = LLM_BOOL;
    assert_int_equal(llm_model_convert(context, paths.gguf, paths.back, &options), LLM_E_INVALID);
    options.dtype = LLM_Q8_0;
    assert_int_equal(llm_model_convert(context, paths.gguf, paths.back, &options),
                     LLM_E_UNSUPPORTED);
    options.struct_size = 3;
    assert_int_equal(llm_model_convert(context, paths.gguf, paths.back, &options), LLM_E_INVALID);
    assert_int_equal(llm_model_convert(context, paths.gguf, NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_model_convert(context, "nowhere", paths.back, NULL), LLM_E_IO);
    assert_int_equal(llm_model_convert(context, paths.model, "no/such/place/x.gguf", NULL),
                     LLM_E_IO);
    assert_int_equal(llm_model_metadata(context, paths.gguf, NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_model_metadata(context, "nowhere", count_keys, NULL), LLM_E_IO);
    assert_string_equal(llm_model_generation_config(NULL), "");
    /* blocks are for files only */
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_Q8_0, 1, shape), LLM_E_UNSUPPORTED);
    assert_null(tensor);
    llm_context_free(context);
}

/* ---- failing allocations -----------------------------------------------------------------------
 */

static llm_status writing_scenario(llm_context *context, void *user)
{
    llm_status status = llm_model_convert(context, paths.model, paths.gguf, NULL);

    (void)user;
    return status ? status : llm_model_convert(context, paths.gguf, paths.back, NULL);
}

static llm_status reading_scenario(llm_context *context, void *user)
{
    const struct file *file = user;
    llm_model_load_options options;
    llm_model *model = NULL;
    llm_status status;

    llm_model_load_options_init(&options, sizeof options);
    options.map = 1;
    status = llm_model_load(&model, context, paths.gguf, &options);
    llm_model_free(model);
    model = NULL;
    if (!status)
        status = llm_model_load_memory(&model, context, file->data, file->size, NULL);
    llm_model_free(model);
    model = NULL;
    if (!status)
        status = llm_model_load_callback(&model, context, read_part, user, file->size, NULL);
    llm_model_free(model);
    return status ? status : llm_model_metadata(context, paths.gguf, count_keys, &(int){0});
}

/* Writing syncs files: every seventh allocation keeps the test short. */
static void test_failing_allocations(void **state)
{
    struct file file;

    (void)state;
    read_file(&file, paths.gguf);
    assert_true(failing_allocator_run(reading_scenario, &file, 1) > 100);
    assert_true(failing_allocator_run(writing_scenario, NULL, 7) > 100);
    free(file.data);
}

/* ---- the tokenizer inside ----------------------------------------------------------------------
 */

static llm_status tokenizer_scenario(llm_context *context, void *user)
{
    llm_tokenizer *tokenizer;
    llm_status status = llm_tokenizer_load(&tokenizer, context, user);

    llm_tokenizer_free(tokenizer);
    return status;
}

/* stories260K: ids of a text whose pieces are known, back to the same text. */
static void test_tokenizer(void **state)
{
    static const char text[] = "Once upon a time";
    static const int32_t expected[] = {1, 403, 407, 261, 378};
    const char *root = getenv("LLM_TEST_DATA");
    llm_tokenizer *tokenizer;
    llm_context *context;
    int32_t ids[8];
    size_t count = 0;
    char path[1024];

    (void)state;
    if (!root) {
        print_message("SKIPPED: LLM_TEST_DATA is not set\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/tinyllamas-260k/stories260K.gguf", root);
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, path), LLM_OK);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, text, strlen(text), NULL),
                     LLM_OK);
    assert_int_equal(count, 5);
    assert_memory_equal(ids, expected, sizeof expected);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    assert_true(failing_allocator_run(tokenizer_scenario, path, 1) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_use),       cmocka_unit_test(test_types),
        cmocka_unit_test(test_misuse),    cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_tokenizer),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
