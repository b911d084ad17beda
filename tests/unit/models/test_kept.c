/* SPDX-License-Identifier: MIT
 *
 * Models whose matrices stay in the block types of their file: the values are those of the file,
 * whatever the order of its rows; results are near those of the dequantized model and the same for
 * any number of tokens and threads; adapters train on them; what cannot be done says so.
 */
#include "failing_allocator.h"
#include "fixture.h"

#include "base/directory.h"
#include "graph/op.h"
#include "tensor/packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

enum { VOCABULARY = 320, TOKENS = 24, TYPES = 5 };

static const char llama[] =
    "{\"model_type\":\"llama\",\"hidden_size\":256,\"intermediate_size\":256,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"max_position_embeddings\":64,\"vocab_size\":320}";

/* Rows in the order of rotary halves, by groups, of many experts; a tied output. */
static const struct {
    const char *name, *config;
} families[] = {
    {"llama", llama},
    {"llama-tied",
     "{\"model_type\":\"llama\",\"hidden_size\":256,\"intermediate_size\":256,"
     "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"max_position_embeddings\":64,"
     "\"vocab_size\":320,\"tie_word_embeddings\":true}"},
    {"mixtral", "{\"model_type\":\"mixtral\",\"hidden_size\":256,\"intermediate_size\":256,"
                "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
                "\"num_local_experts\":4,\"num_experts_per_tok\":2,\"max_position_embeddings\":64,"
                "\"vocab_size\":320}"},
    {"gpt_neox", "{\"model_type\":\"gpt_neox\",\"hidden_size\":256,\"intermediate_size\":256,"
                 "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"max_position_embeddings\":64,"
                 "\"vocab_size\":320}"},
    {"phi3", "{\"model_type\":\"phi3\",\"hidden_size\":256,\"intermediate_size\":256,"
             "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
             "\"max_position_embeddings\":64,\"original_max_position_embeddings\":64,"
             "\"vocab_size\":320,\"pad_token_id\":0}"},
    {"gemma", "{\"model_type\":\"gemma\",\"hidden_size\":256,\"intermediate_size\":256,"
              "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":1,"
              "\"head_dim\":64,\"max_position_embeddings\":64,\"vocab_size\":320}"},
    {"gpt2",
     "{\"model_type\":\"gpt2\",\"n_embd\":256,\"n_layer\":1,\"n_head\":4,\"n_positions\":64,"
     "\"vocab_size\":320}"},
};

static const int32_t types[TYPES] = {LLM_Q4_K, LLM_Q8_0, LLM_Q5_1, LLM_Q6_K, LLM_Q4_0};

static const char *in_directory(const char *name)
{
    static char path[4][160];
    static int next;

    next = (next + 1) % 4;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

static void check(llm_status status)
{
    if (status)
        fail_msg("%s", llm_last_error());
}

static void convert(llm_context *context, const char *to, int32_t dtype)
{
    llm_model_convert_options options;

    check(llm_model_convert_options_init(&options, sizeof options));
    options.dtype = dtype;
    options.skip_tokenizer = 1;
    check(llm_model_convert(context, in_directory("model"), to, &options));
}

/* A fresh model as directory "model". */
static void make(llm_context *context, const char *config)
{
    llm_model *model;

    check(llm_model_new(&model, context, config, strlen(config), NULL));
    check(llm_model_save(model, in_directory("model"), NULL));
    llm_model_free(model);
}

static llm_status load_as(llm_model **out, llm_context *context, const char *path, int32_t weights)
{
    llm_model_load_options options;

    check(llm_model_load_options_init(&options, sizeof options));
    assert_int_equal(LLM_WEIGHTS_FLOAT, options.weights);
    options.weights = weights;
    return llm_model_load(out, context, path, &options);
}

static llm_model *load(llm_context *context, const char *path, int32_t weights)
{
    llm_model *model;

    check(load_as(&model, context, path, weights));
    return model;
}

static int start(void **state)
{
    llm_context *context;

    (void)state;
    strcpy(directory, "test-kept-XXXXXX");
    if (!mkdtemp(directory))
        return 1;
    context = make_context(1);
    make(context, llama);
    convert(context, in_directory("q4_k.gguf"), LLM_Q4_K);
    convert(context, in_directory("q8_0.gguf"), LLM_Q8_0);
    llm_context_free(context);
    return 0;
}

static int stop(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    check(directory_remove(&context->memory, in_directory("model")));
    check(directory_remove(&context->memory, directory));
    llm_context_free(context);
    return 0;
}

static void fill_ids(int32_t ids[TOKENS])
{
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * i * 7 + 3) % VOCABULARY;
}

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t count)
{
    double difference = 0.0;
    double size = 0.0;

    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

/* ---- values ------------------------------------------------------------------------------------
 */

static size_t same_values(const llm_model *kept, const llm_model *plain, const char *what)
{
    size_t packed = 0;

    assert_int_equal(kept->params.count, plain->params.count);
    for (size_t i = 0; i < kept->params.count; i++) {
        const llm_tensor *a = kept->params.list[i].tensor;
        const llm_tensor *b = plain->params.list[i].tensor;
        size_t bytes = (size_t)tensor_count(b) * sizeof(float);
        float *values = malloc(bytes);

        assert_non_null(values);
        if (a->packed)
            packed_read_rows(a, 0, a->shape[0], values, 2);
        else
            memcpy(values, a->data, bytes);
        packed += a->packed != NULL;
        if (memcmp(values, b->data, bytes) != 0)
            fail_msg("%s: %s differs", what, kept->params.list[i].name);
        free(values);
    }
    return packed;
}

static void near_logits(llm_model *kept, llm_model *plain, double most, const char *what)
{
    size_t count = (size_t)TOKENS * VOCABULARY;
    float *a = malloc(count * sizeof *a);
    float *b = malloc(count * sizeof *b);
    int32_t ids[TOKENS];
    double error;

    assert_true(a && b);
    fill_ids(ids);
    check(llm_model_logits(a, count, NULL, kept, ids, TOKENS));
    check(llm_model_logits(b, count, NULL, plain, ids, TOKENS));
    error = distance(a, b, count);
    if (!(error > 0.0 && error < most))
        fail_msg("%s: logits are %g away", what, error);
    free(a);
    free(b);
}

static void values_are_the_files(void **state)
{
    llm_context *context = make_context(2);

    (void)state;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        make(context, families[f].config);
        for (size_t i = f; i < (f ? f + 1 : TYPES); i++) {
            int32_t type = types[i % TYPES];
            const char *path = in_directory("other.gguf");
            llm_model *kept, *plain;
            llm_model_info info, facts;
            char what[64];

            convert(context, path, type);
            kept = load(context, path, LLM_WEIGHTS_KEEP);
            plain = load(context, path, LLM_WEIGHTS_FLOAT);
            (void)snprintf(what, sizeof what, "%s %s", families[f].name, llm_dtype_name(type));
            assert_true(same_values(kept, plain, what) >= 5);
            near_logits(kept, plain, 0.02, what);
            check(llm_model_info_of(&info, sizeof info, context, path));
            check(llm_model_get_info(&facts, sizeof facts, kept));
            assert_int_equal(info.kept_bytes, facts.weight_bytes);
            assert_int_equal(info.weight_bytes, (uint64_t)info.parameters * sizeof(float));
            assert_true(facts.weight_bytes < info.weight_bytes / 2);
            assert_non_null(strstr(facts.weight_types, llm_dtype_name(type)));
            llm_model_free(kept);
            llm_model_free(plain);
            assert_int_equal(0, unlink(path));
        }
    }
    make(context, llama);
    llm_context_free(context);
}

/* A directory has no block types: the option changes nothing. */
static void plain_files_stay_plain(void **state)
{
    llm_context *context = make_context(1);
    llm_model *kept = load(context, in_directory("model"), LLM_WEIGHTS_KEEP);
    llm_model *plain = load(context, in_directory("model"), LLM_WEIGHTS_FLOAT);

    (void)state;
    assert_int_equal(0, same_values(kept, plain, "directory"));
    llm_model_free(kept);
    llm_model_free(plain);
    llm_context_free(context);
}

/* ---- the same bits -----------------------------------------------------------------------------
 */

static void rows_do_not_depend(void **state)
{
    size_t count = (size_t)TOKENS * VOCABULARY;
    float *first = malloc(count * sizeof *first);
    float *other = malloc(count * sizeof *other);
    int32_t ids[TOKENS];

    (void)state;
    assert_true(first && other);
    fill_ids(ids);
    for (int threads = 1; threads <= 3; threads++) {
        llm_context *context = make_context(threads);
        llm_model *model = load(context, in_directory("q4_k.gguf"), LLM_WEIGHTS_KEEP);
        llm_session *session;

        check(llm_model_logits(threads == 1 ? first : other, count, NULL, model, ids, TOKENS));
        if (threads > 1)
            assert_memory_equal(first, other, count * sizeof *first);
        check(llm_session_new(&session, model, NULL, NULL));
        for (size_t i = 0; i < TOKENS; i++) {
            size_t got;

            check(llm_session_append(session, ids + i, 1));
            check(llm_session_logits(other, count, &got, session));
            assert_int_equal(VOCABULARY, got);
            if (memcmp(other, first + i * VOCABULARY, VOCABULARY * sizeof *other) != 0)
                fail_msg("%d threads: row %zu depends on the rows beside it", threads, i);
        }
        llm_session_free(session);
        llm_model_free(model);
        llm_context_free(context);
    }
    free(first);
    free(other);
}

/* ---- gradients ---------------------------------------------------------------------------------
 */

/* The gradient of x through a packed and through the same plain weight. */
static void input_gradients_agree(void **state)
{
    llm_context *context = make_context(2);
    static const int64_t rows[] = {320, 1100}; /* one tile, and more */

    (void)state;
    for (int i = 0; i < 2; i++) {
        const int64_t n = rows[i];
        int64_t shape[2] = {n, 256};
        int64_t x_shape[2] = {9, 256};
        llm_tensor *plain, *packed, *x, *y, *dy, *gradients[2];
        struct cx cx;
        int32_t targets[9];

        check(tensor_new(&plain, context, LLM_F32, 2, shape));
        check(tensor_new_empty(&packed, context, LLM_F32, 2, shape));
        check(tensor_new(&x, context, LLM_F32, 2, x_shape));
        check(packed_allocate(packed, LLM_Q8_0));
        for (int64_t j = 0; j < n * 256; j++)
            tensor_f32(plain)[j] = sinf((float)(j % 8191) * 0.37f);
        for (int64_t j = 0; j < 9 * 256; j++)
            tensor_f32(x)[j] = cosf((float)j * 0.11f);
        for (int32_t j = 0; j < 9; j++)
            targets[j] = j * 31;
        {
            size_t bytes = (size_t)(n * 256 / 32) * 34;
            char *blocks = malloc(bytes);
            struct qgemm_rows from = {blocks, 256 / 32 * 34, NULL};

            assert_non_null(blocks);
            dtype_get(LLM_Q8_0)->from_f32(blocks, tensor_f32(plain), n * 256);
            dtype_get(LLM_Q8_0)->to_f32(tensor_f32(plain), blocks, n * 256);
            qgemm_pack(packed->packed, 0, n, &from);
            free(blocks);
        }
        x->requires_grad = true;
        check(cx_init(&cx, context));
        for (int kind = 0; kind < 2; kind++) {
            cx_reset(&cx);
            cx.recording = true;
            tensor_drop_grad(x);
            y = op_linear(&cx, x, kind ? packed : plain, NULL);
            dy = cx_output_2d(&cx, 9, n);
            check(cx_status(&cx));
            for (int64_t j = 0; j < 9 * n; j++)
                tensor_f32(dy)[j] = sinf((float)j);
            check(cx_backward_from(&cx, y, dy));
            gradients[kind] = tensor_retain(x->grad);
        }
        assert_true(distance(tensor_f32(gradients[1]), tensor_f32(gradients[0]), 9 * 256) < 5e-6);
        if (n <= 512)
            assert_memory_equal(gradients[0]->data, gradients[1]->data, 9 * 256 * sizeof(float));
        tensor_release(gradients[0]);
        tensor_release(gradients[1]);
        /* the fused loss: its gradient starts from rounded logits */
        for (int kind = 0; kind < 2; kind++) {
            cx_reset(&cx);
            cx.recording = true;
            tensor_drop_grad(x);
            y = op_linear_cross_entropy(&cx, x, kind ? packed : plain, targets, NULL);
            check(cx_status(&cx));
            check(cx_backward(&cx, y, 1.0f));
            gradients[kind] = tensor_retain(x->grad);
        }
        assert_true(distance(tensor_f32(gradients[1]), tensor_f32(gradients[0]), 9 * 256) < 0.05);
        tensor_release(gradients[0]);
        tensor_release(gradients[1]);
        cx_reset(&cx);
        assert_null(op_add(&cx, packed, packed));
        assert_int_equal(LLM_E_UNSUPPORTED, cx_status(&cx));
        assert_non_null(strstr(status_message(), "q8_0"));
        cx_free(&cx);
        tensor_release(plain);
        tensor_release(packed);
        tensor_release(x);
    }
    llm_context_free(context);
}

enum { STEPS = 8 };

static void train(float losses[STEPS], llm_model *model, bool dora)
{
    const size_t length = TOKENS;
    llm_adapter_options adapter_options;
    llm_optimizer_options options;
    llm_optimizer *optimizer;
    llm_adapter *adapter;
    llm_tape *tape;
    int32_t ids[TOKENS];
    int32_t targets[TOKENS];

    fill_ids(ids);
    memcpy(targets, ids + 1, (TOKENS - 1) * sizeof *ids);
    targets[TOKENS - 1] = 5;
    check(llm_adapter_options_init(&adapter_options, sizeof adapter_options));
    adapter_options.dora = dora;
    adapter_options.seed = 7;
    check(llm_adapter_new(&adapter, model, &adapter_options));
    check(llm_optimizer_options_init(&options, sizeof options));
    options.learning_rate = 3e-3;
    check(llm_optimizer_new(&optimizer, model->context, &options));
    for (size_t i = 0; i < llm_adapter_tensor_count(adapter); i++)
        check(llm_optimizer_add(optimizer, llm_adapter_tensor(adapter, i),
                                llm_adapter_tensor_name(adapter, i), 0));
    for (size_t i = 0; i < llm_model_tensor_count(model); i++)
        check(llm_tensor_set_requires_grad(llm_model_tensor(model, i), 0));
    check(llm_tape_new(&tape, model->context, NULL));
    check(llm_tape_set_adapters(tape, &adapter, NULL, 1));
    for (int step = 0; step < STEPS; step++) {
        llm_tensor *loss;

        check(llm_tape_reset(tape));
        llm_optimizer_zero_grad(optimizer);
        check(llm_op_model_loss(&loss, tape, model, ids, targets, &length, 1));
        check(llm_tensor_read_f32(loss, &losses[step], 1));
        check(llm_backward(tape, loss));
        check(llm_optimizer_step(optimizer));
    }
    { /* folded into a model of floats, it says the same */
        size_t count = (size_t)TOKENS * VOCABULARY;
        float *merged_logits = malloc(count * sizeof(float));
        llm_tensor *logits;
        llm_model *merged;

        assert_non_null(merged_logits);
        check(llm_adapter_merge(&merged, model, adapter, 1.0));
        check(llm_model_logits(merged_logits, count, NULL, merged, ids, TOKENS));
        check(llm_tape_reset(tape));
        check(llm_op_model_logits(&logits, tape, model, ids, &length, 1));
        assert_true(distance(tensor_f32(logits), merged_logits, count) < 0.05);
        llm_model_free(merged);
        free(merged_logits);
    }
    llm_tape_free(tape);
    llm_optimizer_free(optimizer);
    llm_adapter_free(adapter);
}

/* Activations have 8 bits, so the losses differ a little. */
static void adapters_train(void **state)
{
    static const char *const files[] = {"q4_k.gguf", "q8_0.gguf"};
    llm_context *context = make_context(2);

    (void)state;
    for (int i = 0; i < 4; i++) {
        llm_model *kept = load(context, in_directory(files[i % 2]), LLM_WEIGHTS_KEEP);
        llm_model *plain = load(context, in_directory(files[i % 2]), LLM_WEIGHTS_FLOAT);
        float a[STEPS], b[STEPS];

        train(a, kept, i >= 2);
        train(b, plain, i >= 2);
        assert_true(b[STEPS - 1] < b[0] - 0.5f);
        for (int step = 0; step < STEPS; step++) {
            if (!(fabsf(a[step] - b[step]) < 0.005f * b[step]))
                fail_msg("%s: step %d: loss %g, %g with floats", files[i % 2], step,
                         (double)a[step], (double)b[step]);
        }
        llm_model_free(kept);
        llm_model_free(plain);
    }
    llm_context_free(context);
}

/* The trainer, computing blocks again in the backward pass. */
static float trained_loss(llm_context *context, const char *path, int32_t weights)
{
    llm_model *model = load(context, path, weights);
    llm_dataset_options data;
    llm_trainer_options options;
    llm_train_progress progress;
    llm_dataset *dataset;
    llm_trainer *trainer;
    int32_t ids[512];

    for (int32_t i = 0; i < 512; i++)
        ids[i] = i % 97;
    check(llm_dataset_options_init(&data, sizeof data));
    check(llm_dataset_from_ids(&dataset, context, ids, 512, VOCABULARY, -1, &data));
    check(llm_trainer_options_init(&options, sizeof options));
    options.steps = 6;
    options.batch = 2;
    options.block = 32;
    options.eval_interval = 0;
    options.gradient_checkpointing = 1;
    check(llm_adapter_new(&options.adapter, model, NULL));
    check(llm_trainer_new(&trainer, model, dataset, &options));
    for (int64_t i = 0; i < options.steps; i++)
        check(llm_trainer_step(trainer, &progress, sizeof progress));
    llm_trainer_free(trainer);
    llm_adapter_free(options.adapter);
    llm_dataset_free(dataset);
    llm_model_free(model);
    return (float)progress.loss;
}

static void trainers_train_adapters(void **state)
{
    llm_context *context = make_context(2);
    float kept = trained_loss(context, in_directory("q4_k.gguf"), LLM_WEIGHTS_KEEP);
    float plain = trained_loss(context, in_directory("q4_k.gguf"), LLM_WEIGHTS_FLOAT);

    (void)state;
    assert_true(plain > 1.0f && plain < 6.0f);
    assert_true(kept != plain && fabsf(kept - plain) < 0.005f * plain);
    llm_context_free(context);
}

/* ---- misuse, memory ----------------------------------------------------------------------------
 */

static void refuses(void **state)
{
    llm_context *context = make_context(1);
    llm_model *model = load(context, in_directory("q4_k.gguf"), LLM_WEIGHTS_KEEP);
    llm_tensor *tensor = llm_model_find_tensor(model, "model.embed_tokens.weight");
    llm_dataset_options options;
    llm_dataset *dataset;
    llm_trainer *trainer;
    int32_t ids[512];
    float value[1];

    (void)state;
    assert_non_null(tensor);
    assert_int_equal(LLM_Q4_K, llm_tensor_dtype(tensor));
    assert_null(llm_tensor_data(tensor));
    assert_int_equal(LLM_E_UNSUPPORTED, llm_tensor_read_f32(tensor, value, 1));
    assert_non_null(strstr(llm_last_error(), "q4_k"));
    assert_int_equal(LLM_E_UNSUPPORTED, llm_tensor_write_f32(tensor, value, 1));
    assert_int_equal(LLM_E_UNSUPPORTED, llm_model_save(model, in_directory("saved"), NULL));
    assert_non_null(strstr(llm_last_error(), "LLM_WEIGHTS_FLOAT"));
    for (int32_t i = 0; i < 512; i++)
        ids[i] = i % VOCABULARY;
    check(llm_dataset_options_init(&options, sizeof options));
    check(llm_dataset_from_ids(&dataset, context, ids, 512, VOCABULARY, -1, &options));
    assert_int_equal(LLM_E_UNSUPPORTED, llm_trainer_new(&trainer, model, dataset, NULL));
    assert_non_null(strstr(llm_last_error(), "without an adapter"));
    llm_dataset_free(dataset);
    assert_int_equal(LLM_E_UNSUPPORTED, model_load_weights(model, in_directory("model"), NULL));
    llm_model_free(model);
    assert_int_equal(LLM_E_INVALID, load_as(&model, context, in_directory("q4_k.gguf"), 2));
    llm_context_free(context);
}

/* A limit that the floats do not fit into, but the blocks do. */
static void fits_where_floats_do_not(void **state)
{
    llm_context *context = make_context(1);
    llm_context_options options;
    llm_model_info info;
    llm_context *small;
    llm_model *model;

    (void)state;
    check(llm_model_info_of(&info, sizeof info, context, in_directory("q4_k.gguf")));
    check(llm_context_options_init(&options, sizeof options));
    options.memory_limit = info.weight_bytes / 2;
    check(llm_context_new(&small, &options));
    assert_int_equal(LLM_E_NOMEM,
                     load_as(&model, small, in_directory("q4_k.gguf"), LLM_WEIGHTS_FLOAT));
    check(load_as(&model, small, in_directory("q4_k.gguf"), LLM_WEIGHTS_KEEP));
    llm_model_free(model);
    llm_context_free(small);
    options.memory_limit = info.kept_bytes / 2;
    check(llm_context_new(&small, &options));
    assert_int_equal(LLM_E_NOMEM,
                     load_as(&model, small, in_directory("q4_k.gguf"), LLM_WEIGHTS_KEEP));
    assert_non_null(strstr(llm_last_error(), "limit"));
    llm_context_free(small);
    llm_context_free(context);
}

static int32_t cancel_at_once(void *user, double fraction)
{
    (void)user;
    (void)fraction;
    return 1;
}

static void can_be_cancelled(void **state)
{
    llm_context *context = make_context(1);
    llm_model_load_options options;
    llm_model *model;

    (void)state;
    check(llm_model_load_options_init(&options, sizeof options));
    options.weights = LLM_WEIGHTS_KEEP;
    options.progress = cancel_at_once;
    assert_int_equal(LLM_E_CANCELLED,
                     llm_model_load(&model, context, in_directory("q8_0.gguf"), &options));
    assert_null(model);
    llm_context_free(context);
}

static llm_status scenario(llm_context *context, void *user)
{
    int32_t ids[TOKENS];
    llm_model *model;
    double loss;
    llm_status status = load_as(&model, context, user, LLM_WEIGHTS_KEEP);

    fill_ids(ids);
    if (!status)
        status = llm_model_loss(&loss, model, ids, ids, TOKENS);
    llm_model_free(model);
    return status;
}

static void survives_failing_allocations(void **state)
{
    char path[160];

    (void)state;
    (void)snprintf(path, sizeof path, "%s", in_directory("q4_k.gguf"));
    assert_true(failing_allocator_run(scenario, path, 1) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_the_files),
        cmocka_unit_test(plain_files_stay_plain),
        cmocka_unit_test(rows_do_not_depend),
        cmocka_unit_test(input_gradients_agree),
        cmocka_unit_test(adapters_train),
        cmocka_unit_test(trainers_train_adapters),
        cmocka_unit_test(refuses),
        cmocka_unit_test(fits_where_floats_do_not),
        cmocka_unit_test(can_be_cancelled),
        cmocka_unit_test(survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
