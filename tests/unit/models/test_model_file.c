/* SPDX-License-Identifier: MIT
 *
 * Model directories: saved and loaded again, refused with the name of the field or tensor that is
 * wrong, cancelled. Failing allocations: tests/api/test_model.c.
 */
#include "fixture.h"

#include "formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL                                                                                      \
    "\"model_type\":\"gpt2\",\"n_embd\":8,\"n_head\":2,\"n_layer\":2,\"n_positions\":16,"          \
    "\"vocab_size\":32"

static const char small[] =
    "{" SMALL ",\"task\":{\"nested\":[1,2.5,true,null,\"x\"],\"empty\":{}}}";

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "test-model-file-XXXXXX");
    return mkdtemp(directory) ? 0 : 1;
}

static const char *in_directory(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)unlink(in_directory("config.json"));
    (void)unlink(in_directory("model.safetensors"));
    return rmdir(directory); /* fails when a temporary file was left behind */
}

static void put_file(const char *name, const char *text)
{
    FILE *stream = fopen(in_directory(name), "wb");

    assert_non_null(stream);
    assert_int_equal(strlen(text), fwrite(text, 1, strlen(text), stream));
    assert_int_equal(0, fclose(stream));
}

static llm_model *make_small(llm_context *context)
{
    llm_model *model;

    if (llm_model_new(&model, context, small, strlen(small), NULL))
        fail_msg("%s", status_message());
    return model;
}

static void same_parameters(const llm_model *a, const llm_model *b, double tolerance)
{
    assert_int_equal(a->params.count, b->params.count);
    for (size_t i = 0; i < a->params.count; i++) {
        const llm_tensor *x = a->params.list[i].tensor;
        const llm_tensor *y = b->params.list[i].tensor;

        assert_string_equal(a->params.list[i].name, b->params.list[i].name);
        if (tolerance == 0.0)
            assert_memory_equal(x->data, y->data, (size_t)tensor_count(x) * sizeof(float));
        else
            assert_true(largest_difference(tensor_f32(x), tensor_f32(y), tensor_count(x), 1e-3) <
                        tolerance);
    }
}

static void saves_and_loads(void **state)
{
    static const struct {
        int32_t dtype;
        double tolerance;
        const char *types;
    } rows[] = {{LLM_F32, 0.0, "f32"}, {LLM_F16, 1e-3, "f16"}, {LLM_BF16, 8e-3, "bf16"}};
    llm_context *context = make_context(2);
    llm_model *model = make_small(context);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_model_save_options options;
        llm_model_info info;
        llm_model *loaded;

        assert_int_equal(LLM_OK, llm_model_save_options_init(&options, sizeof options));
        options.dtype = rows[i].dtype;
        assert_int_equal(LLM_OK, llm_model_save(model, directory, &options));
        if (llm_model_load(&loaded, context, directory, NULL))
            fail_msg("%s", status_message());
        same_parameters(model, loaded, rows[i].tolerance);
        assert_non_null(strstr(llm_model_config(loaded), "\"nested\""));
        assert_non_null(strstr(llm_model_config(loaded), "2.5"));
        assert_int_equal(LLM_OK, llm_model_info_of(&info, sizeof info, context, directory));
        assert_string_equal(rows[i].types, info.weight_types);
        assert_string_equal("gpt2", info.architecture);
        assert_int_equal(llm_model_parameters(model), info.parameters);
        assert_int_equal(2 * 2 * 8 * 4 * 1000, info.cache_bytes);
        llm_model_free(loaded);
    }
    llm_model_free(model);
    llm_context_free(context);
}

/* The same parameters on any number of threads, other ones for another seed, 0.02 wide. */
static void initializes(void **state)
{
    llm_context *one = make_context(1);
    llm_context *five = make_context(5);
    llm_model *a = make_small(one);
    llm_model *b = make_small(five);
    llm_model_new_options options;
    llm_model *other;
    double sum = 0.0, squares = 0.0;
    const llm_tensor *table = llm_model_find_tensor(a, "transformer.wte.weight");

    (void)state;
    same_parameters(a, b, 0.0);
    assert_int_equal(LLM_OK, llm_model_new_options_init(&options, sizeof options));
    options.seed = 7;
    assert_int_equal(LLM_OK, llm_model_new(&other, one, small, strlen(small), &options));
    assert_true(memcmp(table->data, llm_model_find_tensor(other, "transformer.wte.weight")->data,
                       32 * 8 * sizeof(float)) != 0);
    for (int i = 0; i < 32 * 8; i++) {
        sum += (double)tensor_f32(table)[i];
        squares += (double)tensor_f32(table)[i] * (double)tensor_f32(table)[i];
    }
    assert_true(sum / 256 > -0.006 && sum / 256 < 0.006);
    assert_true(squares / 256 > 0.016 * 0.016 && squares / 256 < 0.024 * 0.024);
    assert_true(tensor_f32(llm_model_find_tensor(a, "transformer.ln_f.weight"))[3] == 1.0f);
    assert_true(tensor_f32(llm_model_find_tensor(a, "transformer.ln_f.bias"))[3] == 0.0f);
    assert_null(llm_model_find_tensor(a, "lm_head.weight"));
    llm_model_free(a);
    llm_model_free(b);
    llm_model_free(other);
    llm_context_free(one);
    llm_context_free(five);
}

static void refuses_bad_configs(void **state)
{
    static const struct {
        const char *config;
        llm_status status;
        const char *message;
    } rows[] = {
        {"", LLM_E_FORMAT, "config"},
        {"\xff\xfe", LLM_E_FORMAT, "config"},
        {"[]", LLM_E_FORMAT, "not a JSON object"},
        {"{}", LLM_E_FORMAT, "model_type"},
        {"{\"model_type\":7}", LLM_E_FORMAT, "model_type"},
        {"{\"model_type\":\"gpt9\"}", LLM_E_UNSUPPORTED, "gpt9"},
        {"{" SMALL ",\"n_embd\":8}", LLM_E_FORMAT, "duplicate"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":0}", LLM_E_RANGE, "n_embd"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":-8}", LLM_E_RANGE, "n_embd"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":7.5}", LLM_E_FORMAT, "n_embd"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":1e300}", LLM_E_FORMAT, "n_embd"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":\"8\"}", LLM_E_FORMAT, "n_embd"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":10,\"n_head\":3}", LLM_E_RANGE, "n_head"},
        {"{\"model_type\":\"gpt2\",\"n_head\":0}", LLM_E_RANGE, "n_head"},
        {"{\"model_type\":\"gpt2\",\"n_layer\":0}", LLM_E_RANGE, "n_layer"},
        {"{\"model_type\":\"gpt2\",\"n_layer\":2147483648}", LLM_E_RANGE, "n_layer"},
        {"{\"model_type\":\"gpt2\",\"vocab_size\":0}", LLM_E_RANGE, "vocab_size"},
        {"{\"model_type\":\"gpt2\",\"vocab_size\":4294967296}", LLM_E_RANGE, "vocab_size"},
        {"{\"model_type\":\"gpt2\",\"n_positions\":0}", LLM_E_RANGE, "n_positions"},
        {"{\"model_type\":\"gpt2\",\"n_inner\":0}", LLM_E_RANGE, "n_inner"},
        {"{\"model_type\":\"gpt2\",\"layer_norm_epsilon\":-1}", LLM_E_RANGE, "layer_norm_epsilon"},
        {"{\"model_type\":\"gpt2\",\"resid_pdrop\":1.0}", LLM_E_RANGE, "resid_pdrop"},
        {"{\"model_type\":\"gpt2\",\"attn_pdrop\":null,\"embd_pdrop\":\"a\"}", LLM_E_FORMAT,
         "embd_pdrop"},
        {"{\"model_type\":\"gpt2\",\"activation_function\":\"mish\"}", LLM_E_UNSUPPORTED,
         "activation_function"},
        {"{\"model_type\":\"gpt2\",\"activation_function\":\"a\\u0000\"}", LLM_E_FORMAT,
         "activation_function"},
        {"{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", LLM_E_UNSUPPORTED,
         "add_cross_attention"},
        {"{\"model_type\":\"gpt2\",\"pruned_heads\":{\"0\":[1]}}", LLM_E_UNSUPPORTED,
         "pruned_heads"},
        {"{\"model_type\":\"gpt2\",\"quantization_config\":{}}", LLM_E_UNSUPPORTED,
         "quantization_config"},
        {"{\"model_type\":\"gpt2\",\"n_head\":16,\"n_embd\":1048576,\"n_inner\":4194304,\"n_"
         "layer\":16384}",
         LLM_E_NOMEM, "memory"},
    };
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_model *model;
        llm_status status =
            llm_model_new(&model, context, rows[i].config, strlen(rows[i].config), NULL);

        if (status != rows[i].status || !strstr(llm_last_error(), rows[i].message))
            fail_msg("%s: status %d, \"%s\"", rows[i].config, status, llm_last_error());
        assert_null(model);
    }
    llm_context_free(context);
}

/* Nesting that would overflow a stack, if anything recursed on it. */
static void refuses_deep_configs(void **state)
{
    enum { DEPTH = 100000 };
    static const size_t depths[] = {100, 3000, DEPTH};
    llm_context *context = make_context(1);
    char *text = malloc(2 * DEPTH + 256);
    llm_model *model;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < 3; i++) {
        size_t start = (size_t)sprintf(text, "{" SMALL ",\"x\":");

        memset(text + start, '[', depths[i]);
        memset(text + start + depths[i], ']', depths[i]);
        strcpy(text + start + 2 * depths[i], "}");
        assert_true(llm_model_new(&model, context, text, strlen(text), NULL) < 0);
        assert_null(model);
    }
    free(text);
    llm_context_free(context);
}

static llm_status load_status(llm_context *context)
{
    llm_model *model;
    llm_status status = llm_model_load(&model, context, directory, NULL);

    llm_model_free(model);
    return status;
}

static void refuses_wrong_directories(void **state)
{
    llm_context *context = make_context(1);
    llm_model *model = make_small(context);

    (void)state;
    assert_int_equal(LLM_E_IO, load_status(context)); /* empty */
    assert_non_null(strstr(llm_last_error(), "config.json"));
    put_file("config.json", small);
    assert_int_equal(LLM_E_IO, load_status(context)); /* no weights */
    assert_non_null(strstr(llm_last_error(), "model.safetensors"));
    put_file("model.safetensors", "");
    assert_int_equal(LLM_E_FORMAT, load_status(context));
    put_file("model.safetensors", "PK\3\4 a pickle in its archive");
    assert_int_equal(LLM_E_UNSUPPORTED, load_status(context));
    assert_non_null(strstr(llm_last_error(), "pickle"));
    assert_int_equal(LLM_OK, llm_model_save(model, directory, NULL));
    put_file("config.json", "{" SMALL "1}"); /* 321 tokens instead of 32 */
    assert_int_equal(LLM_E_SHAPE, load_status(context));
    assert_non_null(strstr(llm_last_error(), "transformer.wte.weight"));
    put_file("config.json", "{" SMALL ",\"tie_word_embeddings\":false}");
    assert_int_equal(LLM_E_FORMAT, load_status(context));
    assert_non_null(strstr(llm_last_error(), "\"lm_head.weight\" is missing"));
    put_file("config.json", "");
    assert_int_equal(LLM_E_FORMAT, load_status(context));
    assert_int_equal(LLM_OK, llm_model_save(model, directory, NULL));
    assert_int_equal(LLM_OK, load_status(context));
    llm_model_free(model);
    llm_context_free(context);
}

/* Names without "transformer." and the masks of old files, as in the first GPT-2 checkpoints. */
static void accepts_old_names(void **state)
{
    llm_context *context = make_context(1);
    llm_model *model = make_small(context);
    llm_model *loaded;
    size_t count = model->params.count;
    struct safetensors_item items[64];
    llm_tensor views[64];
    const int64_t shape[4] = {1, 1, 16, 16};
    llm_tensor *mask;

    (void)state;
    assert_true(count + 1 < 64);
    assert_int_equal(LLM_OK, tensor_new_zeroed(&mask, context, LLM_U8, 4, shape));
    for (size_t i = 0; i < count; i++) {
        params_file_view(&views[i], &model->params.list[i]);
        items[i] = (struct safetensors_item){model->params.list[i].name + strlen("transformer."),
                                             &views[i], LLM_F32};
    }
    items[count] = (struct safetensors_item){"h.0.attn.bias", mask, LLM_U8};
    put_file("config.json", small);
    assert_int_equal(LLM_OK, safetensors_write(&context->memory, in_directory("model.safetensors"),
                                               items, count + 1, NULL, NULL));
    if (llm_model_load(&loaded, context, directory, NULL))
        fail_msg("%s", llm_last_error());
    same_parameters(model, loaded, 0.0);
    llm_model_free(loaded);
    llm_model_free(model);
    tensor_release(mask);
    llm_context_free(context);
}

static int32_t stop_at_half(void *user, double fraction)
{
    *(double *)user = fraction;
    return fraction > 0.5;
}

static void cancels(void **state)
{
    llm_context *context = make_context(1);
    llm_model *model = make_small(context);
    llm_model_load_options load;
    llm_model_save_options save;
    double reached = 0.0;
    llm_model *loaded;

    (void)state;
    assert_int_equal(LLM_OK, llm_model_save(model, directory, NULL));
    assert_int_equal(LLM_OK, llm_model_load_options_init(&load, sizeof load));
    load.progress = stop_at_half;
    load.progress_user = &reached;
    assert_int_equal(LLM_E_CANCELLED, llm_model_load(&loaded, context, directory, &load));
    assert_null(loaded);
    assert_true(reached > 0.5 && reached <= 1.0);
    assert_int_equal(LLM_OK, llm_model_save_options_init(&save, sizeof save));
    save.progress = stop_at_half;
    save.progress_user = &reached;
    assert_int_equal(LLM_E_CANCELLED, llm_model_save(model, directory, &save));
    assert_int_equal(LLM_OK, load_status(context)); /* the old files still stand */
    llm_model_free(model);
    llm_context_free(context);
}

static void honours_the_memory_limit(void **state)
{
    llm_context_options options;
    llm_context *context;
    llm_model *model;

    (void)state;
    assert_int_equal(LLM_OK, llm_context_options_init(&options, sizeof options));
    options.memory_limit = 1 << 20;
    assert_int_equal(LLM_OK, llm_context_new(&context, &options));
    assert_int_equal(LLM_E_NOMEM,
                     llm_model_new(&model, context, "{\"model_type\":\"gpt2\"}", 21, NULL));
    assert_non_null(strstr(llm_last_error(), "memory limit"));
    llm_context_free(context);
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(saves_and_loads),
        cmocka_unit_test(initializes),
        cmocka_unit_test(refuses_bad_configs),
        cmocka_unit_test(refuses_deep_configs),
        IN_DIRECTORY(refuses_wrong_directories),
        IN_DIRECTORY(accepts_old_names),
        IN_DIRECTORY(cancels),
        cmocka_unit_test(honours_the_memory_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
