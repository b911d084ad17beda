/* SPDX-License-Identifier: MIT
 *
 * BERT, RoBERTa, XLM-R and DistilBERT with every head, and decoders with a classification head,
 * against PyTorch: scores, losses, every gradient; and against themselves: packed or one by one,
 * saved and loaded, checkpointed or not, on any number of threads.
 */
#include "heads.h"

#include "base/json.h"
#include "graph/op.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const folders[] = {
    "bert-base",        "bert-mlm",         "bert-untied",         "bert-sequence",
    "bert-regression",  "bert-multi",       "bert-tokens",         "bert-spans",
    "roberta-mlm",      "roberta-sequence", "roberta-tokens",      "roberta-spans",
    "xlm-roberta-base", "distilbert-mlm",   "distilbert-sequence", "distilbert-tokens",
    "distilbert-spans", "gpt2-sequence",    "llama-sequence",      "t5-encoder",
};

enum { FOLDERS = sizeof folders / sizeof folders[0] };

static llm_tensor *scores_of(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    return model_head(cx, model, batch, model_hidden(cx, model, batch));
}

static void scores_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct head_golden golden;
        llm_tensor *scores;
        struct cx cx;

        head_golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        scores = scores_of(&cx, golden.model, &golden.batch);
        check_cx(&cx, folders[i]);
        head_golden_compare(&golden, folders[i], "scores", tensor_f32(scores), tensor_count(scores),
                            1e-4, false);
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

/* The loss; folders without a head have a made-up one: sum(scores * a ramp from -1 to 1). */
static llm_tensor *loss_of(struct cx *cx, const struct head_golden *golden)
{
    llm_tensor *hidden, *ramp;
    int64_t count;

    if (golden->model->head.kind != LLM_HEAD_NONE)
        return model_head_loss(cx, golden->model, &golden->batch, &golden->targets);
    hidden = model_hidden(cx, golden->model, &golden->batch);
    ramp = hidden ? cx_output_like(cx, hidden) : NULL;
    if (!ramp)
        return NULL;
    count = tensor_count(ramp);
    for (int64_t i = 0; i < count; i++)
        tensor_f32(ramp)[i] = (float)(-1.0 + 2.0 * (double)i / (double)(count - 1));
    return op_sum(cx, op_mul(cx, hidden, ramp), 0, false);
}

static void gradients_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct head_golden golden;
        llm_tensor *loss;
        struct cx cx;

        head_golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        cx.recording = true;
        cx.release_in_backward = true;
        loss = loss_of(&cx, &golden);
        check_cx(&cx, folders[i]);
        head_golden_compare(&golden, folders[i], "loss", tensor_f32(loss), 1, 1e-4, true);
        assert_int_equal(LLM_OK, cx_backward(&cx, loss, 1.0f));
        head_golden_compare_gradients(&golden, folders[i]);
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

static void pooler_agrees(void **state)
{
    static const char *const with_pooler[] = {"bert-base", "xlm-roberta-base"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct head_golden golden;
        llm_tensor *pooled;
        struct cx cx;

        head_golden_open(&golden, with_pooler[i], 1);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        pooled = golden.model->arch->pool(&cx, golden.model, &golden.batch,
                                          model_hidden(&cx, golden.model, &golden.batch));
        check_cx(&cx, with_pooler[i]);
        head_golden_compare(&golden, with_pooler[i], "pooled", tensor_f32(pooled),
                            tensor_count(pooled), 1e-4, false);
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

/* ---- against itself ----------------------------------------------------------------------------
 */

static void packed_equals_separate(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct head_golden golden;
        llm_tensor *packed;
        int64_t row = 0;
        struct cx cx;

        head_golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        packed = scores_of(&cx, golden.model, &golden.batch);
        check_cx(&cx, folders[i]);
        for (int32_t s = 0; s < golden.batch.segments; s++) {
            int32_t begin = golden.batch.offsets[s];
            int32_t offsets[2] = {0, golden.batch.offsets[s + 1] - begin};
            struct batch one = {.tokens = offsets[1],
                                .ids = golden.batch.ids + begin,
                                .positions = golden.batch.positions + begin,
                                .types = golden.batch.types ? golden.batch.types + begin : NULL,
                                .segments = 1,
                                .offsets = offsets};
            llm_tensor *alone = scores_of(&cx, golden.model, &one);
            int64_t width = tensor_last(packed);

            check_cx(&cx, folders[i]);
            assert_memory_equal(tensor_f32(alone), tensor_f32(packed) + row * width,
                                (size_t)tensor_count(alone) * sizeof(float));
            row += tensor_rows(alone);
        }
        assert_int_equal(row, tensor_rows(packed));
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

static float *gradients(const char *folder, int32_t threads, bool checkpointing, size_t *size)
{
    struct head_golden golden;
    float *all;
    size_t count = 0;
    struct cx cx;

    head_golden_open(&golden, folder, threads);
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    cx.recording = true;
    cx.checkpointing = checkpointing;
    assert_int_equal(LLM_OK, cx_backward(&cx, loss_of(&cx, &golden), 1.0f));
    all = calloc((size_t)golden.model->params.elements, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < golden.model->params.count; i++) {
        const llm_tensor *grad = golden.model->params.list[i].tensor->grad;

        if (!grad)
            continue;
        memcpy(all + count, grad->data, (size_t)tensor_count(grad) * sizeof *all);
        count += (size_t)tensor_count(grad);
    }
    cx_free(&cx);
    head_golden_close(&golden);
    *size = count * sizeof *all;
    return all;
}

static void ways_to_train_agree(void **state)
{
    static const char *const some[] = {"bert-sequence", "roberta-spans", "distilbert-mlm",
                                       "t5-encoder"};

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        size_t size, other_size;
        float *base = gradients(some[i], 1, false, &size);

        for (int way = 1; way < 4; way++) {
            float *other = gradients(some[i], way, way == 2, &other_size);

            assert_int_equal(size, other_size);
            if (memcmp(base, other, size) != 0)
                fail_msg("%s: way %d changes the gradients", some[i], way);
            free(other);
        }
        free(base);
    }
}

static void remove_saved(const char *directory)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[256];

    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        assert_int_equal(0, unlink(path));
    }
    assert_int_equal(0, rmdir(directory));
}

static void saved_equals_loaded(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        const llm_model_save_options options = {.struct_size = sizeof options, .dtype = LLM_F32};
        char directory[] = "test-encoders-XXXXXX";
        struct head_golden golden;
        llm_tensor *scores, *again;
        llm_model *loaded;
        struct cx cx;

        head_golden_open(&golden, folders[i], 1);
        assert_non_null(mkdtemp(directory));
        assert_int_equal(LLM_OK, model_save(golden.model, directory, &options));
        if (model_load(&loaded, golden.context, directory, NULL))
            fail_msg("%s: %s", folders[i], status_message());
        assert_string_equal(golden.model->head.class_name, loaded->head.class_name);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        scores = scores_of(&cx, golden.model, &golden.batch);
        again = scores_of(&cx, loaded, &golden.batch);
        check_cx(&cx, folders[i]);
        assert_memory_equal(tensor_f32(scores), tensor_f32(again),
                            (size_t)tensor_count(scores) * sizeof(float));
        cx_free(&cx);
        model_release(loaded);
        remove_saved(directory);
        head_golden_close(&golden);
    }
}

/* ---- configurations ----------------------------------------------------------------------------
 */

static llm_status make(llm_model **model, llm_context *context, const char *config)
{
    return model_new(model, context, config, strlen(config), "config", true);
}

static void heads_are_chosen(void **state)
{
    static const struct {
        const char *config;
        int32_t head;
        int64_t labels;
        const char *label; /* of index 1 */
        int32_t problem;
    } rows[] = {
        {"{\"model_type\":\"bert\"}", LLM_HEAD_NONE, 0, NULL, 0},
        {"{\"model_type\":\"t5\"}", LLM_HEAD_SEQ2SEQ, 0, NULL, 0},
        {"{\"model_type\":\"t5\",\"architectures\":[\"T5WithLMHeadModel\"]}", LLM_HEAD_SEQ2SEQ, 0,
         NULL, 0},
        {"{\"model_type\":\"gpt2\",\"architectures\":null}", LLM_HEAD_CAUSAL_LM, 0, NULL, 0},
        {"{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"]}",
         LLM_HEAD_SEQUENCE, 2, "LABEL_1", LLM_PROBLEM_SINGLE_LABEL},
        {"{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"],"
         "\"num_labels\":1}",
         LLM_HEAD_SEQUENCE, 1, NULL, LLM_PROBLEM_REGRESSION},
        {"{\"model_type\":\"xlm-roberta\",\"architectures\":"
         "[\"XLMRobertaForTokenClassification\"],\"id2label\":{\"1\":\"b\",\"0\":\"a\","
         "\"2\":\"c\"}}",
         LLM_HEAD_TOKENS, 3, "b", LLM_PROBLEM_SINGLE_LABEL},
        {"{\"model_type\":\"distilbert\",\"architectures\":[\"DistilBertForQuestionAnswering\"]}",
         LLM_HEAD_SPANS, 2, "LABEL_1", LLM_PROBLEM_SINGLE_LABEL},
    };
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_model *model;

        if (make(&model, context, rows[i].config))
            fail_msg("%s: %s", rows[i].config, status_message());
        assert_int_equal(rows[i].head, model->head.kind);
        assert_int_equal(rows[i].labels, model->head.labels);
        assert_int_equal(rows[i].problem, model->head.problem);
        if (rows[i].label)
            assert_string_equal(rows[i].label, model->head.names[1]);
        model_release(model);
    }
    llm_context_free(context);
}

static void refuses_bad_configs(void **state)
{
#define BERT "{\"model_type\":\"bert\","
#define SEQUENCE BERT "\"architectures\":[\"BertForSequenceClassification\"],"
    static const struct {
        const char *config, *message;
        llm_status status;
    } rows[] = {
        {BERT "\"architectures\":[\"BertForNextSentencePrediction\"]}", "BertForNextSentence",
         LLM_E_UNSUPPORTED},
        {BERT "\"architectures\":[\"BertForMultipleChoice\"]}", "architectures", LLM_E_UNSUPPORTED},
        {BERT "\"architectures\":[\"Model\"]}", "architectures", LLM_E_UNSUPPORTED},
        {BERT "\"position_embedding_type\":\"relative_key\"}", "position_embedding_type",
         LLM_E_UNSUPPORTED},
        {BERT "\"is_decoder\":true}", "is_decoder", LLM_E_UNSUPPORTED},
        {BERT "\"add_cross_attention\":true}", "add_cross_attention", LLM_E_UNSUPPORTED},
        {BERT "\"pruned_heads\":{\"0\":[1]}}", "pruned_heads", LLM_E_UNSUPPORTED},
        {BERT "\"hidden_act\":\"mish\"}", "mish", LLM_E_UNSUPPORTED},
        {BERT "\"hidden_size\":13}", "13", LLM_E_RANGE},
        {BERT "\"hidden_size\":0}", "hidden_size", LLM_E_RANGE},
        {BERT "\"num_hidden_layers\":\"two\"}", "num_hidden_layers", LLM_E_FORMAT},
        {BERT "\"vocab_size\":-1}", "vocab_size", LLM_E_RANGE},
        {SEQUENCE "\"num_labels\":0}", "num_labels", LLM_E_RANGE},
        {SEQUENCE "\"num_labels\":99999999}", "num_labels", LLM_E_RANGE},
        {SEQUENCE "\"id2label\":[\"a\"]}", "id2label", LLM_E_FORMAT},
        {SEQUENCE "\"id2label\":{}}", "id2label", LLM_E_FORMAT},
        {SEQUENCE "\"id2label\":{\"0\":\"a\",\"2\":\"b\"}}", "label 1", LLM_E_FORMAT},
        {SEQUENCE "\"id2label\":{\"0\":7}}", "label 0", LLM_E_FORMAT},
        {SEQUENCE "\"problem_type\":\"ranking\"}", "ranking", LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"roberta\",\"max_position_embeddings\":2}", "max_position_embeddings",
         LLM_E_RANGE},
        {"{\"model_type\":\"roberta\",\"pad_token_id\":-1}", "pad_token_id", LLM_E_RANGE},
        {"{\"model_type\":\"distilbert\",\"dim\":770,\"n_heads\":12}", "770", LLM_E_RANGE},
        {"{\"model_type\":\"distilbert\",\"architectures\":[\"DistilBertForQuestionAnswering\"],"
         "\"id2label\":{\"0\":\"a\"}}",
         "question answering", LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"modernbert\"}", "modernbert", LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"nomic_bert\"}", "nomic_bert", LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"t5\",\"feed_forward_proj\":\"gated-mish\"}", "gated-mish",
         LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"t5\",\"relative_attention_num_buckets\":30}", "num_buckets",
         LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"t5\",\"relative_attention_max_distance\":9}", "distance",
         LLM_E_UNSUPPORTED},
        {"{\"model_type\":\"t5\",\"decoder_start_token_id\":40000}", "decoder_start_token_id",
         LLM_E_RANGE},
        {"{\"model_type\":\"t5\",\"d_kv\":0}", "d_kv", LLM_E_RANGE},
        {"{\"model_type\":\"t5\",\"architectures\":[\"T5ForSequenceClassification\"]}",
         "T5ForSequenceClassification", LLM_E_UNSUPPORTED},
    };
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_model *model;

        if (make(&model, context, rows[i].config) != rows[i].status)
            fail_msg("%s: %s", rows[i].config, status_message());
        assert_null(model);
        if (!strstr(status_message(), rows[i].message))
            fail_msg("%s: the message is \"%s\"", rows[i].config, status_message());
    }
    llm_context_free(context);
}

/* Names before PyTorch, and a prefix that is there or not. */
static void old_names_are_known(void **state)
{
    char other[64];

    (void)state;
    {
        struct head_golden golden;
        const struct arch *arch;

        head_golden_open(&golden, "bert-base", 1);
        arch = golden.model->arch;
        assert_true(arch->alias(other, sizeof other, "embeddings.LayerNorm.weight", 0));
        assert_string_equal("embeddings.LayerNorm.gamma", other);
        assert_true(arch->alias(other, sizeof other, "embeddings.LayerNorm.bias", 0));
        assert_string_equal("embeddings.LayerNorm.beta", other);
        assert_false(arch->alias(other, sizeof other, "embeddings.LayerNorm.bias", 1));
        assert_false(arch->alias(other, sizeof other, "pooler.dense.bias", 0));
        head_golden_close(&golden);
    }
}

static void refuses_what_it_cannot_do(void **state)
{
    static const struct {
        const char *folder;
        llm_status status;
    } rows[] = {{"bert-base", LLM_E_UNSUPPORTED},
                {"bert-sequence", LLM_E_INVALID},
                {"bert-multi", LLM_E_INVALID},
                {"bert-tokens", LLM_E_INVALID}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct head_targets none = {NULL, NULL};
        struct head_golden golden;
        struct cx cx;

        head_golden_open(&golden, rows[i].folder, 1);
        assert_int_equal(LLM_E_UNSUPPORTED, model_check_causal(golden.model));
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        assert_null(model_head_loss(&cx, golden.model, &golden.batch, &none));
        assert_int_equal(rows[i].status, cx_status(&cx));
        cx_reset(&cx);
        assert_null(
            model_logits(&cx, golden.model, model_hidden(&cx, golden.model, &golden.batch)));
        assert_int_equal(LLM_E_UNSUPPORTED, cx_status(&cx));
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_agree),        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(pooler_agrees),       cmocka_unit_test(packed_equals_separate),
        cmocka_unit_test(ways_to_train_agree), cmocka_unit_test(saved_equals_loaded),
        cmocka_unit_test(heads_are_chosen),    cmocka_unit_test(refuses_bad_configs),
        cmocka_unit_test(old_names_are_known), cmocka_unit_test(refuses_what_it_cannot_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
