/* SPDX-License-Identifier: MIT
 *
 * T5 v1.0 and v1.1 against PyTorch: the buckets of distances, encoder states, logits, loss, every
 * gradient; the decoder with its caches against the decoder without.
 */
#include "heads.h"

#include "models/t5_buckets.h"
#include "nn/kv_cache.h"

#include <stdio.h>
#include <string.h>

static const char *const folders[] = {"t5-v1.0", "t5-v1.1"};

enum { FOLDERS = 2 };

/* Where the bucket changes, going away from the query: transformers' T5Attention with 32 buckets
 * and a distance of 128, in one direction and in both. */
static void buckets_agree(void **state)
{
    static const int one_way[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                  19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};
    static const int two_ways[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
    int32_t expected = 0;
    size_t next = 0;

    (void)state;
    for (int32_t distance = 0; distance <= 300; distance++) {
        if (next < sizeof one_way / sizeof one_way[0] && distance == one_way[next]) {
            expected++;
            next++;
        }
        assert_int_equal(expected, t5_bucket(-distance, false, 32, 128));
        assert_int_equal(0, t5_bucket(distance, false, 32, 128));
    }
    expected = 0;
    next = 0;
    for (int32_t distance = 0; distance <= 300; distance++) {
        if (next < sizeof two_ways / sizeof two_ways[0] && distance == two_ways[next]) {
            expected++;
            next++;
        }
        assert_int_equal(expected, t5_bucket(-distance, true, 32, 128));
        assert_int_equal(distance ? 16 + expected : 0, t5_bucket(distance, true, 32, 128));
    }
}

static void scores_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct head_golden golden;
        llm_tensor *x;
        struct cx cx;

        head_golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        x = model_hidden(&cx, golden.model, &golden.batch);
        check_cx(&cx, folders[i]);
        head_golden_compare(&golden, folders[i], "encoded", tensor_f32(x), tensor_count(x), 1e-4,
                            false);
        x = model_seq2seq_logits(&cx, golden.model, &golden.batch, &golden.target,
                                 golden.target.ids);
        check_cx(&cx, folders[i]);
        head_golden_compare(&golden, folders[i], "scores", tensor_f32(x), tensor_count(x), 1e-4,
                            false);
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

static void gradients_agree(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * FOLDERS; i++) {
        const char *folder = folders[i / 2];
        struct head_golden golden;
        llm_tensor *loss;
        struct cx cx;

        head_golden_open(&golden, folder, 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        cx.recording = true;
        cx.release_in_backward = true;
        cx.checkpointing = i % 2;
        loss = model_seq2seq_loss(&cx, golden.model, &golden.batch, &golden.target,
                                  golden.targets.classes);
        check_cx(&cx, folder);
        head_golden_compare(&golden, folder, "loss", tensor_f32(loss), 1, 1e-4, true);
        assert_int_equal(LLM_OK, cx_backward(&cx, loss, 1.0f));
        head_golden_compare_gradients(&golden, folder);
        cx_free(&cx);
        head_golden_close(&golden);
    }
}

/* All targets at once, one token after the other, with the keys of the source kept; and twice side
 * by side on one source. */
static void cached_equals_whole(void **state)
{
    enum { LAYERS = 8, STEPS = 9 };
    struct head_golden golden;
    struct cross_memory memory;
    struct kv_cache_shape shape;
    struct kv_cache *cache;
    llm_tensor *keys[LAYERS], *values[LAYERS], *whole;
    int32_t sequences[2], offsets[3] = {0, 1, 2}, source[2], rows[2] = {0, 2};
    struct cx encoder, whole_cx, cx;
    struct batch text;
    const int32_t *targets;

    (void)state;
    head_golden_open(&golden, "t5-v1.0", 2);
    assert_int_equal(LLM_OK, cx_init(&encoder, golden.context));
    assert_int_equal(LLM_OK, cx_init(&whole_cx, golden.context));
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    whole = model_seq2seq_logits(&whole_cx, golden.model, &golden.batch, &golden.target,
                                 golden.target.ids);
    check_cx(&whole_cx, "whole");
    /* text 3: its target has nine tokens */
    text = golden.batch;
    source[0] = 0;
    source[1] = text.offsets[4] - text.offsets[3];
    text.ids += text.offsets[3];
    text.positions += text.offsets[3];
    text.tokens = source[1];
    text.offsets = source;
    text.segments = 1;
    memory = (struct cross_memory){.hidden = model_hidden(&encoder, golden.model, &text),
                                   .sources = 1,
                                   .offsets = source,
                                   .q_offsets = rows,
                                   .keys = keys,
                                   .values = values};
    assert_true(golden.model->arch->remember(&encoder, golden.model, &memory));
    shape = (struct kv_cache_shape){golden.model->decoder_layers, golden.model->heads,
                                    golden.model->head_dim, LLM_F32, 0};
    assert_int_equal(LLM_OK, kv_cache_new(&cache, golden.context, &shape));
    assert_int_equal(LLM_OK, kv_cache_add(cache, &sequences[0]));
    assert_int_equal(LLM_OK, kv_cache_add(cache, &sequences[1]));
    targets = golden.target.ids + golden.target.offsets[3];
    for (int32_t i = 0; i < STEPS; i++) {
        int32_t id = i ? targets[i - 1] : golden.model->decoder_start;
        int32_t ids[2] = {id, id}, positions[2] = {i, i};
        struct batch step = {.tokens = 2,
                             .ids = ids,
                             .positions = positions,
                             .segments = 2,
                             .offsets = offsets,
                             .cache = cache,
                             .sequences = sequences};
        llm_tensor *logits;
        double error;

        cx_reset(&cx);
        for (int s = 0; s < 2; s++)
            assert_int_equal(LLM_OK, kv_cache_reserve(cache, sequences[s], 1));
        logits = model_decode(&cx, golden.model, &step, &memory);
        check_cx(&cx, "step");
        for (int s = 0; s < 2; s++)
            kv_cache_commit(cache, sequences[s], 1);
        error = largest_difference(tensor_f32(logits),
                                   tensor_f32(whole) +
                                       (golden.target.offsets[3] + i) * golden.model->vocabulary,
                                   golden.model->vocabulary, 1.0);
        if (!(error < 1e-5))
            fail_msg("step %d differs by %g", i, error);
        assert_memory_equal(tensor_f32(logits), tensor_f32(logits) + golden.model->vocabulary,
                            (size_t)golden.model->vocabulary * sizeof(float));
    }
    kv_cache_release(cache);
    cx_free(&cx);
    cx_free(&whole_cx);
    cx_free(&encoder);
    head_golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_agree),
        cmocka_unit_test(scores_agree),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(cached_equals_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
