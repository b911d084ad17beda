/* SPDX-License-Identifier: MIT
 *
 * Models in GGUF files and llama2.c checkpoints: every family from a directory to a file and back
 * without a bit changed; what a file cannot say is refused by its name, as are metadata that make
 * no model; real weights against a reference; mapping, memory, callbacks, splits, limits.
 */
#include "fixture.h"

#include "base/directory.h"
#include "models/model_weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "test-gguf-model-XXXXXX");
    return mkdtemp(directory) ? 0 : 1;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory); /* every test removes what it made */
}

static const char *in_directory(const char *name)
{
    static char path[4][160];
    static int next;

    next = (next + 1) % 4;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

static void clear(llm_context *context, const char *name)
{
    const char *path = in_directory(name);

    if (file_is_directory(path))
        assert_int_equal(LLM_OK, directory_remove(&context->memory, path));
    else
        assert_int_equal(0, unlink(path));
}

static llm_model *load(llm_context *context, const char *path)
{
    llm_model *model;

    if (model_load(&model, context, path, NULL))
        fail_msg("%s: %s", path, status_message());
    return model;
}

static llm_status convert(llm_context *context, const char *from, const char *to, int32_t dtype)
{
    llm_model_convert_options options;

    assert_int_equal(LLM_OK, llm_model_convert_options_init(&options, sizeof options));
    options.dtype = dtype;
    options.skip_tokenizer = 1;
    return llm_model_convert(context, from, to, &options);
}

static void same_parameters(const llm_model *a, const llm_model *b, const char *what)
{
    assert_int_equal(a->params.count, b->params.count);
    for (size_t i = 0; i < a->params.count; i++) {
        const struct param *x = &a->params.list[i];
        const struct param *y = &b->params.list[i];

        assert_string_equal(x->name, y->name);
        if (memcmp(x->tensor->data, y->tensor->data,
                   (size_t)tensor_count(x->tensor) * sizeof(float)) != 0)
            fail_msg("%s: %s differs", what, x->name);
    }
}

static void same_logits(llm_model *a, llm_model *b, const char *what)
{
    const int32_t ids[5] = {3, 1, 4, 1, 5};
    size_t count = 5 * (size_t)a->vocabulary;
    float *x = calloc(count, sizeof *x);
    float *y = calloc(count, sizeof *y);

    assert_true(x && y);
    if (a->arch->bidirectional || a->arch->decode || a->head.kind != LLM_HEAD_CAUSAL_LM)
        goto done;
    if (llm_model_logits(x, count, NULL, a, ids, 5) || llm_model_logits(y, count, NULL, b, ids, 5))
        fail_msg("%s: %s", what, status_message());
    if (memcmp(x, y, count * sizeof *x) != 0)
        fail_msg("%s: logits differ", what);
done:
    free(x);
    free(y);
}

/* ---- families ----------------------------------------------------------------------------------
 */

/* Folders of tests/golden; `refused`: the field or parameter a GGUF file has no place for. */
static const struct {
    const char *folder, *refused;
} folders[] = {
    {"gpt2-plain", NULL},
    {"gpt2-options", "activation_function"},
    {"decoders/llama", NULL},
    {"decoders/llama-bias", "hidden_act"},
    {"decoders/llama-linear", NULL},
    {"decoders/llama-dynamic", "dynamic"},
    {"decoders/llama-yarn", NULL},
    {"decoders/mistral", NULL},
    {"decoders/mistral-whole", NULL},
    {"decoders/mixtral", NULL},
    {"decoders/qwen2", "use_sliding_window"},
    {"decoders/qwen3", NULL},
    {"decoders/gemma", NULL},
    {"decoders/gemma2", "query_pre_attn_scalar"},
    {"decoders/gemma3", "layer_types"},
    {"decoders/phi", NULL},
    {"decoders/phi3", NULL},
    {"decoders/phi3-long", NULL},
    {"decoders/gpt-neox", NULL},
    {"decoders/gpt-neox-serial", "attention_bias"},
    {"decoders/falcon-7b", NULL},
    {"decoders/falcon-11b", NULL},
    {"decoders/falcon-40b", "bias"},
    {"decoders/falcon-rw", "alibi"},
    {"encoders/bert-mlm", "head"},
    {"encoders/bert-base", "hidden_act"},
    {"encoders/t5-v1.0", "relative_attention_max_distance"},
    {"encoders/roberta-mlm", "not supported"},
};

/* Configurations of published shapes, which the folders do not have. */
#define SIZES                                                                                      \
    "\"hidden_size\":32,\"intermediate_size\":48,\"num_attention_heads\":4,\"num_hidden_layers\":" \
    "6,"                                                                                           \
    "\"max_position_embeddings\":64,\"vocab_size\":40,"

static const char *const configs[] = {
    "{\"model_type\":\"llama\"," SIZES "\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":"
    "\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":8192}}",
    "{\"model_type\":\"llama\"," SIZES "\"attention_bias\":true,\"mlp_bias\":true}",
    "{\"model_type\":\"qwen2\"," SIZES "\"num_key_value_heads\":2}",
    "{\"model_type\":\"gemma2\"," SIZES "\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"query_pre_attn_scalar\":16,\"sliding_window\":3}",
    "{\"model_type\":\"gemma3_text\"," SIZES "\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"query_pre_attn_scalar\":16,\"sliding_window\":3,\"rope_local_base_freq\":5000.0}",
    "{\"model_type\":\"falcon\"," SIZES "\"new_decoder_architecture\":true,\"num_kv_heads\":2}",
    "{\"model_type\":\"bert\"," SIZES "\"architectures\":[\"BertModel\"]}",
    "{\"model_type\":\"bert\"," SIZES "\"architectures\":[\"BertForSequenceClassification\"],"
    "\"num_labels\":3}",
    "{\"model_type\":\"t5\",\"d_model\":32,\"d_kv\":10,\"d_ff\":48,\"num_heads\":3,\"num_layers\":"
    "2,"
    "\"num_decoder_layers\":3,\"vocab_size\":40,\"decoder_start_token_id\":0}",
    ("{\"model_type\":\"t5\",\"d_model\":32,\"d_kv\":8,\"d_ff\":48,\"num_heads\":4,\"num_layers\":"
     "2,"
     "\"vocab_size\":40,\"decoder_start_token_id\":0,\"feed_forward_proj\":\"gated-gelu\","
     "\"tie_word_embeddings\":false}"),
    ("{\"model_type\":\"t5\",\"architectures\":[\"T5EncoderModel\"],\"d_model\":32,\"d_kv\":8,"
     "\"d_ff\":48,\"num_heads\":4,\"num_layers\":2,\"vocab_size\":40}"),
};

static void there_and_back(llm_context *context, const char *folder)
{
    llm_model *a = load(context, folder);
    llm_model *b, *c;

    b = load(context, in_directory("b.gguf"));
    if (convert(context, in_directory("b.gguf"), in_directory("c"), -1))
        fail_msg("%s, back: %s", folder, status_message());
    c = load(context, in_directory("c"));
    same_parameters(a, b, folder);
    same_parameters(a, c, folder);
    same_logits(a, b, folder);
    same_logits(a, c, folder);
    llm_model_free(a);
    llm_model_free(b);
    llm_model_free(c);
    clear(context, "c");
}

static void goes_there_and_back(void **state)
{
    llm_context *context = make_context(2);

    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const char *folder = folders[i].folder;
        llm_status status = convert(context, golden_path(folder), in_directory("b.gguf"), LLM_F32);

        if (folders[i].refused) {
            if (status != LLM_E_UNSUPPORTED || !strstr(status_message(), folders[i].refused))
                fail_msg("%s: status %d, %s", folder, status, status_message());
            assert_false(file_exists(in_directory("b.gguf")));
            continue;
        }
        if (status)
            fail_msg("%s: %s", folder, status_message());
        there_and_back(context, golden_path(folder));
        clear(context, "b.gguf");
    }
    llm_context_free(context);
}

static void published_shapes_go_there_and_back(void **state)
{
    llm_context *context = make_context(2);

    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        llm_model *model;

        if (llm_model_new(&model, context, configs[i], strlen(configs[i]), NULL) ||
            llm_model_save(model, in_directory("a"), NULL) ||
            convert(context, in_directory("a"), in_directory("b.gguf"), LLM_F32))
            fail_msg("%s: %s", configs[i], status_message());
        llm_model_free(model);
        there_and_back(context, in_directory("a"));
        clear(context, "a");
        clear(context, "b.gguf");
    }
    llm_context_free(context);
}

/* Types other than f32: the file's own type is kept on the way back, blocks become f32. */
static void keeps_types(void **state)
{
    static const struct {
        int32_t dtype;
        const char *there, *back;
    } rows[] = {{LLM_F16, "f16, f32", "f16, f32"},
                {LLM_BF16, "bf16, f32", "bf16, f32"},
                {LLM_Q8_0, "q8_0, f32", "f32"},
                {LLM_Q4_K, "q5_0, f32", "f32"},
                {-1, "bf16, f32", "bf16, f32"}};
    static const char config[] =
        "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":64,"
        "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":1,"
        "\"max_position_embeddings\":16,\"vocab_size\":40,\"tie_word_embeddings\":true}";
    llm_context *context = make_context(2);
    llm_model_save_options save;
    llm_model *model;
    llm_model_info info;

    (void)state;
    assert_int_equal(LLM_OK, llm_model_new(&model, context, config, strlen(config), NULL));
    assert_int_equal(LLM_OK, llm_model_save_options_init(&save, sizeof save));
    save.dtype = LLM_BF16;
    assert_int_equal(LLM_OK, llm_model_save(model, in_directory("a"), &save));
    llm_model_free(model);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (convert(context, in_directory("a"), in_directory("b.gguf"), rows[i].dtype) ||
            llm_model_info_of(&info, sizeof info, context, in_directory("b.gguf")))
            fail_msg("%s", status_message());
        assert_string_equal(rows[i].there, info.weight_types);
        if (convert(context, in_directory("b.gguf"), in_directory("c"), -1) ||
            llm_model_info_of(&info, sizeof info, context, in_directory("c")))
            fail_msg("%s", status_message());
        assert_int_equal(strlen(rows[i].back), strlen(info.weight_types));
        clear(context, "b.gguf");
        clear(context, "c");
    }
    assert_int_equal(LLM_E_UNSUPPORTED,
                     convert(context, in_directory("a"), in_directory("c"), LLM_Q8_0));
    assert_int_equal(LLM_E_INVALID, convert(context, in_directory("a"), in_directory("c"), LLM_I8));
    clear(context, "a");
    llm_context_free(context);
}

/* ---- metadata ----------------------------------------------------------------------------------
 */

/* The metadata of a small LLaMA with one key changed, or left out (type -1). */
static const struct {
    const char *key;
    int32_t type;
    double value;
    const char *message;
} bad_metadata[] = {
    {"general.architecture", GGUF_U32, 1, "general.architecture"},
    {"general.architecture", -1, 0, "general.architecture"},
    {"general.type", GGUF_STRING, 0, "general.type"},
    {"llama.block_count", -1, 0, "llama.block_count"},
    {"llama.block_count", GGUF_F32, 1, "llama.block_count"},
    {"llama.block_count", GGUF_BOOL, 1, "llama.block_count"},
    {"llama.block_count", GGUF_STRING, 1, "llama.block_count"},
    {"llama.block_count", GGUF_I32, -1, "llama.block_count"},
    {"llama.block_count", GGUF_U32, 0, "num_hidden_layers"},
    {"llama.block_count", GGUF_U32, 4294967295.0, "llama.block_count"},
    {"llama.block_count", GGUF_U32, 2147483647.0, "num_hidden_layers"},
    {"llama.attention.head_count", GGUF_U32, 0, "num_attention_heads"},
    {"llama.attention.head_count", GGUF_U32, 3, "num_attention_heads"},
    {"llama.attention.head_count_kv", GGUF_U32, 3, "num_key_value_heads"},
    {"llama.attention.head_count_kv", GGUF_U32, 8, "num_key_value_heads"},
    {"llama.embedding_length", GGUF_U32, 0, "hidden_size"},
    {"llama.embedding_length", GGUF_U64, 1e18, "llama.embedding_length"},
    {"llama.context_length", GGUF_U32, 0, "max_position_embeddings"},
    {"llama.feed_forward_length", GGUF_U32, 0, "intermediate_size"},
    {"llama.attention.layer_norm_rms_epsilon", -1, 0, "layer_norm_rms_epsilon"},
    {"llama.attention.layer_norm_rms_epsilon", GGUF_U32, 1, "layer_norm_rms_epsilon"},
    {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, (double)NAN, "layer_norm_rms_epsilon"},
    {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, -1, "rms_norm_eps"},
    {"llama.rope.dimension_count", GGUF_U32, 3, "rope.dimension_count"},
    {"llama.rope.dimension_count", GGUF_U32, 0, "rope.dimension_count"},
    {"llama.rope.dimension_count", GGUF_U32, 64, "rope.dimension_count"},
    {"llama.rope.freq_base", GGUF_F32, (double)NAN, "rope.freq_base"},
    {"llama.rope.freq_base", GGUF_F32, 0, "rope.freq_base"},
    {"llama.rope.scaling.type", GGUF_STRING, 0, "rope.scaling.type"},
    {"llama.expert_count", GGUF_U32, 4, "expert_used_count"},
    {"tokenizer.ggml.eos_token_id", GGUF_F32, 1, "eos_token_id"},
};

static void put_sizes(struct gguf *gguf)
{
    gguf_put_text(gguf, "general.architecture", "llama", 5);
    gguf_put_u32(gguf, "llama.context_length", 16);
    gguf_put_u32(gguf, "llama.embedding_length", 16);
    gguf_put_u32(gguf, "llama.block_count", 1);
    gguf_put_u32(gguf, "llama.feed_forward_length", 8);
    gguf_put_u32(gguf, "llama.attention.head_count", 4);
    gguf_put_u32(gguf, "llama.attention.head_count_kv", 2);
    gguf_put_f32(gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5);
}

static void change(struct gguf *gguf, size_t row)
{
    const char *key = bad_metadata[row].key;
    struct gguf_value value = {.type = (uint32_t)bad_metadata[row].type,
                               .real = bad_metadata[row].value,
                               .text = {"odd", 3}};

    if (value.type <= GGUF_I32 || value.type == GGUF_BOOL || value.type == GGUF_U64)
        value.bits = (uint64_t)(int64_t)bad_metadata[row].value;
    if (bad_metadata[row].type >= 0)
        gguf_put(gguf, key, &value);
    else /* under another name */
        ((char *)(uintptr_t)map_find(&gguf->keys, key, strlen(key))->key)[0] = '?';
}

static void refuses_bad_metadata(void **state)
{
    struct tensor_entry table = {.type_name = "f32", .dimensions = 2, .shape = {20, 16}};
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof bad_metadata / sizeof bad_metadata[0]; i++) {
        struct tensor_source source = {.memory = &context->memory};
        struct model_input input = {.context = context};
        struct gguf gguf;
        json_t *config = NULL;
        llm_model *model = NULL;
        llm_status status;

        gguf_init(&gguf, &context->memory);
        map_init(&source.names, &context->memory);
        source.metadata = &gguf;
        assert_int_equal(LLM_OK, tensor_source_add(&source, &table, "token_embd.weight", 17));
        put_sizes(&gguf);
        change(&gguf, i);
        text_init(&input.config, &context->memory);
        status = gguf_to_config(&config, &source);
        if (!status)
            status = json_write(&input.config, config);
        if (!status)
            status = model_new(&model, context, input.config.data, input.config.size, "metadata",
                               PARAMS_SHAPES_ONLY);
        if (!status || !strstr(status_message(), bad_metadata[i].message))
            fail_msg("row %zu, %s: status %d, %s", i, bad_metadata[i].key, status,
                     status ? status_message() : "");
        assert_null(model);
        json_decref(config);
        text_free(&input.config);
        memory_release(&context->memory, source.list);
        map_free(&source.names);
        gguf_free(&gguf);
    }
    llm_context_free(context);
}

/* Lists with one entry per layer are fine if they agree. */
static void reads_lists_of_counts(void **state)
{
    struct tensor_entry table = {.type_name = "f32", .dimensions = 2, .shape = {20, 16}};
    const int32_t same[] = {2, 2}, mixed[] = {2, 1};
    llm_context *context = make_context(1);
    struct tensor_source source = {.memory = &context->memory};
    struct gguf gguf;
    json_t *config;

    (void)state;
    gguf_init(&gguf, &context->memory);
    map_init(&source.names, &context->memory);
    source.metadata = &gguf;
    assert_int_equal(LLM_OK, tensor_source_add(&source, &table, "token_embd.weight", 17));
    put_sizes(&gguf);
    gguf_put_array(&gguf, "llama.attention.head_count_kv", GGUF_I32, same, 2);
    assert_int_equal(LLM_OK, gguf_to_config(&config, &source));
    assert_int_equal(2, json_integer_value(json_object_get(config, "num_key_value_heads")));
    assert_true(json_real_value(json_object_get(config, "rms_norm_eps")) == 1e-5);
    assert_true(json_is_true(json_object_get(config, "tie_word_embeddings")));
    json_decref(config);
    gguf_put_array(&gguf, "llama.attention.head_count_kv", GGUF_I32, mixed, 2);
    assert_int_equal(LLM_E_UNSUPPORTED, gguf_to_config(&config, &source));
    assert_non_null(strstr(status_message(), "head_count_kv"));
    memory_release(&context->memory, source.list);
    map_free(&source.names);
    gguf_free(&gguf);
    llm_context_free(context);
}

/* ---- ways to load ------------------------------------------------------------------------------
 */

struct bytes {
    char *data;
    size_t size;
    int reads;
};

static int32_t read_bytes(void *user, uint64_t offset, void *buffer, size_t size)
{
    struct bytes *bytes = user;

    assert_true(offset <= bytes->size && size <= bytes->size - offset);
    memcpy(buffer, bytes->data + offset, size);
    bytes->reads++;
    return bytes->reads > 1000 ? 7 : 0;
}

static void loads_from_anywhere(void **state)
{
    llm_context *context = make_context(2);
    llm_model_load_options options;
    struct bytes bytes = {NULL, 0, 0};
    llm_model *plain, *other;
    uint64_t before, needed;

    (void)state;
    assert_int_equal(LLM_OK,
                     convert(context, golden_path("gpt2-plain"), in_directory("b.gguf"), LLM_F32));
    before = atomic_load(&context->memory.used);
    plain = load(context, in_directory("b.gguf"));
    needed = atomic_load(&context->memory.used) - before;
    assert_int_equal(
        LLM_OK, file_read(&bytes.data, &bytes.size, &context->memory, in_directory("b.gguf"), 0));

    assert_int_equal(LLM_OK, llm_model_load_memory(&other, context, bytes.data, bytes.size, NULL));
    same_parameters(plain, other, "memory");
    llm_model_free(other);
    assert_int_equal(LLM_E_FORMAT,
                     llm_model_load_memory(&other, context, bytes.data, bytes.size / 2, NULL));
    assert_null(other);

    assert_int_equal(
        LLM_OK, llm_model_load_callback(&other, context, read_bytes, &bytes, bytes.size, NULL));
    same_parameters(plain, other, "callback");
    llm_model_free(other);
    bytes.reads = 999; /* the second read of the file fails */
    assert_int_equal(
        LLM_E_IO, llm_model_load_callback(&other, context, read_bytes, &bytes, bytes.size, NULL));
    assert_non_null(strstr(status_message(), "returned 7"));

    assert_int_equal(LLM_OK, llm_model_load_options_init(&options, sizeof options));
    options.map = 1;
    before = atomic_load(&context->memory.used);
    assert_int_equal(LLM_OK, llm_model_load(&other, context, in_directory("b.gguf"), &options));
    assert_true(atomic_load(&context->memory.used) - before +
                    (uint64_t)plain->params.elements * sizeof(float) / 2 <
                needed);
    same_parameters(plain, other, "mapped");
    same_logits(plain, other, "mapped");
    tensor_f32(other->params.list[0].tensor)[0] = 5.0f; /* a page of its own */
    llm_model_free(other);
    other = load(context, in_directory("b.gguf"));
    same_parameters(plain, other, "after a mapped one was written");
    llm_model_free(other);
    options.map = 2;
    assert_int_equal(LLM_E_INVALID,
                     llm_model_load(&other, context, in_directory("b.gguf"), &options));

    memory_release(&context->memory, bytes.data);
    llm_model_free(plain);
    clear(context, "b.gguf");
    llm_context_free(context);
}

static void respects_the_memory_limit(void **state)
{
    llm_context *context = make_context(1);
    llm_context *small;
    llm_context_options options;
    llm_model *model;

    (void)state;
    assert_int_equal(LLM_OK,
                     convert(context, golden_path("gpt2-plain"), in_directory("b.gguf"), LLM_F16));
    assert_int_equal(LLM_OK, llm_context_options_init(&options, sizeof options));
    options.memory_limit = 400000;
    assert_int_equal(LLM_OK, llm_context_new(&small, &options));
    model = load(context, in_directory("b.gguf"));
    if ((uint64_t)model->params.elements * sizeof(float) < options.memory_limit) {
        llm_context_free(small);
        options.memory_limit = 330000; /* enough for the header's buffers, not for weights */
        assert_int_equal(LLM_OK, llm_context_new(&small, &options));
    }
    llm_model_free(model);
    assert_int_equal(LLM_E_NOMEM, llm_model_load(&model, small, in_directory("b.gguf"), NULL));
    assert_non_null(strstr(status_message(), "limit"));
    llm_context_free(small);
    clear(context, "b.gguf");
    llm_context_free(context);
}

static int32_t stop(void *user, double fraction)
{
    (void)user;
    return fraction > 0.3;
}

static void can_be_cancelled(void **state)
{
    llm_context *context = make_context(1);
    llm_model_convert_options options;

    (void)state;
    assert_int_equal(LLM_OK, llm_model_convert_options_init(&options, sizeof options));
    options.progress = stop;
    assert_int_equal(LLM_E_CANCELLED, llm_model_convert(context, golden_path("decoders/llama"),
                                                        in_directory("b.gguf"), &options));
    assert_false(file_exists(in_directory("b.gguf")));
    llm_context_free(context);
}

/* ---- several files -----------------------------------------------------------------------------
 */

static void splits_and_shards(void **state)
{
    llm_context *context = make_context(1);
    llm_model *plain = load(context, golden_path("decoders/llama"));
    llm_model_convert_options options;
    llm_model_save_options save;
    llm_model *other;

    (void)state;
    assert_int_equal(LLM_OK, file_make_directory(&context->memory, in_directory("set")));
    assert_int_equal(LLM_OK, llm_model_convert_options_init(&options, sizeof options));
    options.dtype = LLM_F32;
    options.split_bytes = 10000;
    if (llm_model_convert(context, golden_path("decoders/llama"), in_directory("set/b.gguf"),
                          &options))
        fail_msg("%s", status_message());
    assert_false(file_exists(in_directory("set/b.gguf")));
    other = load(context, in_directory("set")); /* the only model of the directory */
    same_parameters(plain, other, "split");
    llm_model_free(other);
    clear(context, "set");

    assert_int_equal(LLM_OK, llm_model_save_options_init(&save, sizeof save));
    for (int i = 0; i < 3; i++) { /* each set takes the place of the other */
        save.shard_bytes = i == 1 ? 10000 : 0;
        if (llm_model_save(plain, in_directory("set"), &save))
            fail_msg("%s", status_message());
        assert_int_equal(i == 1, file_exists(in_directory("set/model.safetensors.index.json")));
        assert_int_equal(i != 1, file_exists(in_directory("set/model.safetensors")));
        assert_int_equal(false, file_exists(in_directory("set/model-00001-of-00001.safetensors")));
        other = load(context, in_directory("set"));
        same_parameters(plain, other, "shards");
        llm_model_free(other);
    }
    save.shard_bytes = 10000;
    assert_int_equal(LLM_OK, llm_model_save(plain, in_directory("set"), &save));
    save.shard_bytes = 20000; /* fewer files: no old one may stay */
    assert_int_equal(LLM_OK, llm_model_save(plain, in_directory("set"), &save));
    other = load(context, in_directory("set"));
    same_parameters(plain, other, "fewer shards");
    llm_model_free(other);
    clear(context, "set");
    llm_model_free(plain);
    llm_context_free(context);
}

static void keeps_generation_config(void **state)
{
    static const char text[] = "{\"eos_token_id\": [2, 7], \"temperature\": 0.6}\n";
    llm_context *context = make_context(1);
    llm_model *model = load(context, golden_path("decoders/llama"));
    llm_model *other;

    (void)state;
    assert_string_equal("", llm_model_generation_config(model));
    assert_int_equal(LLM_OK, llm_model_save(model, in_directory("a"), NULL));
    assert_int_equal(LLM_OK, file_write(&context->memory, in_directory("a/generation_config.json"),
                                        text, strlen(text)));
    llm_model_free(model);
    model = load(context, in_directory("a"));
    assert_string_equal(text, llm_model_generation_config(model));
    assert_int_equal(LLM_OK, llm_model_save(model, in_directory("c"), NULL));
    other = load(context, in_directory("c"));
    assert_string_equal(text, llm_model_generation_config(other));
    llm_model_free(other);
    assert_int_equal(LLM_OK, convert(context, in_directory("a"), in_directory("d"), -1));
    other = load(context, in_directory("d"));
    assert_string_equal(text, llm_model_generation_config(other));
    llm_model_free(other);
    llm_model_free(model);
    clear(context, "a");
    clear(context, "c");
    clear(context, "d");
    llm_context_free(context);
}

/* ---- real weights ------------------------------------------------------------------------------
 */

struct reference {
    json_t *json;
    int32_t ids[256];
    size_t count;
};

static void read_reference(struct reference *reference, const char *root)
{
    char path[1024];
    json_t *ids;

    (void)snprintf(path, sizeof path, "%s/tinyllamas-260k/reference.json", root);
    reference->json = json_load_file(path, 0, NULL);
    ids = json_object_get(reference->json, "greedy_ids");
    reference->count = json_array_size(ids);
    assert_true(reference->count > 100 && reference->count <= 256);
    for (size_t i = 0; i < reference->count; i++)
        reference->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
}

/* The best token after every one of the reference's is its next; the first logits are equal. */
static void check_reference(llm_model *model, const struct reference *reference, double tolerance,
                            const char *what)
{
    size_t count = reference->count < (size_t)model->context_length ? reference->count
                                                                    : (size_t)model->context_length;
    size_t width = (size_t)model->vocabulary;
    float *logits = calloc(count * width, sizeof *logits);
    size_t agreed = 0;

    assert_non_null(logits);
    if (llm_model_logits(logits, count * width, NULL, model, reference->ids, count))
        fail_msg("%s: %s", what, status_message());
    for (size_t row = 0; row + 1 < count; row++) {
        size_t best = 0;

        for (size_t i = 1; i < width; i++)
            best = logits[row * width + i] > logits[row * width + best] ? i : best;
        agreed += best == (size_t)reference->ids[row + 1];
    }
    for (size_t row = 0; row < 16; row++) {
        const json_t *expected =
            json_array_get(json_object_get(reference->json, "logits_first16"), row);

        for (size_t i = 0; i < width; i++) {
            double want = json_number_value(json_array_get(expected, i));

            if (fabs((double)logits[row * width + i] - want) > tolerance)
                fail_msg("%s, row %zu: %g, not %g", what, row, (double)logits[row * width + i],
                         want);
        }
    }
    if (tolerance < 0.01 && agreed != count - 1)
        fail_msg("%s: %zu of %zu tokens", what, agreed, count - 1);
    assert_true(agreed * 10 > (count - 1) * 9);
    free(logits);
}

static void computes_as_the_reference(void **state)
{
    static const struct {
        const char *file;
        double tolerance;
    } rows[] = {{"stories260K.gguf", 1e-3},
                {"stories260K.bin", 1e-3},
                {"checkpoint_v1_zig.bin", 1e-3},
                {"stories260K-q8.bin", 0.5}}; /* eight bits a weight */
    const char *root = getenv("LLM_TEST_DATA");
    llm_context *context = make_context(2);
    struct reference reference;

    (void)state;
    if (!root) {
        llm_context_free(context);
        print_message("SKIPPED: LLM_TEST_DATA is not set\n");
        skip();
    }
    read_reference(&reference, root);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[1024];
        llm_model *model;

        (void)snprintf(path, sizeof path, "%s/tinyllamas-260k/%s", root, rows[i].file);
        model = load(context, path);
        check_reference(model, &reference, rows[i].tolerance, rows[i].file);
        llm_model_free(model);
    }
    json_decref(reference.json);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_there_and_back),
        cmocka_unit_test(published_shapes_go_there_and_back),
        cmocka_unit_test(keeps_types),
        cmocka_unit_test(refuses_bad_metadata),
        cmocka_unit_test(reads_lists_of_counts),
        cmocka_unit_test(loads_from_anywhere),
        cmocka_unit_test(respects_the_memory_limit),
        cmocka_unit_test(can_be_cancelled),
        cmocka_unit_test(splits_and_shards),
        cmocka_unit_test(keeps_generation_config),
        cmocka_unit_test(computes_as_the_reference),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
