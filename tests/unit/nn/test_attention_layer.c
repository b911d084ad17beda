/* SPDX-License-Identifier: MIT
 *
 * One attention layer, two ways: sequences whole in one packed batch, and the same in steps through
 * the paged cache, must agree with every part of the scores switched on in turn; against a plain
 * double-precision loop, so that both cannot be wrong alike.
 */
#include "nn/attention_layer.h"

#include "llm/context.h"
#include "nn/kv_cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { HEADS = 4, KV_HEADS = 2, WIDTH = 8, SPAN = 7, SEQUENCES = 3, TOKENS = 61 };

static const int32_t offsets[SEQUENCES + 1] = {0, 41, 42, TOKENS};

struct fixture {
    llm_context *context;
    llm_tensor *q, *k, *v, *bias;
    struct cx cx;
};

static llm_tensor *make_rows(llm_context *context, int64_t rows, int64_t columns, float phase)
{
    const int64_t shape[2] = {rows, columns};
    llm_tensor *tensor;

    assert_int_equal(LLM_OK, tensor_new(&tensor, context, LLM_F32, 2, shape));
    for (int64_t i = 0; i < rows * columns; i++)
        tensor_f32(tensor)[i] = 1.5f * sinf(phase + 0.37f * (float)(i % 1009));
    return tensor;
}

static void set_up(struct fixture *fixture)
{
    assert_int_equal(LLM_OK, llm_context_new(&fixture->context, NULL));
    fixture->q = make_rows(fixture->context, TOKENS, HEADS * WIDTH, 0.1f);
    fixture->k = make_rows(fixture->context, TOKENS, KV_HEADS * WIDTH, 0.7f);
    fixture->v = make_rows(fixture->context, TOKENS, KV_HEADS * WIDTH, 1.9f);
    fixture->bias = make_rows(fixture->context, HEADS, SPAN, 2.3f);
    assert_int_equal(LLM_OK, cx_init(&fixture->cx, fixture->context));
}

static void tear_down(struct fixture *fixture)
{
    cx_free(&fixture->cx);
    tensor_release(fixture->q);
    tensor_release(fixture->k);
    tensor_release(fixture->v);
    tensor_release(fixture->bias);
    llm_context_free(fixture->context);
}

/* ---- the plain loop ----------------------------------------------------------------------------
 */

static double score(const struct attention *a, const struct fixture *f, int32_t head, int32_t row,
                    int32_t key, int32_t distance /* key - row, in positions */)
{
    const float *q = tensor_f32(f->q) + (row * HEADS + head) * WIDTH;
    const float *k = tensor_f32(f->k) + (key * KV_HEADS + head / (HEADS / KV_HEADS)) * WIDTH;
    double x = 0.0;

    for (int i = 0; i < WIDTH; i++)
        x += (double)q[i] * (double)k[i];
    x *= (double)a->scale;
    if (a->soft_cap > 0.0f)
        x = (double)a->soft_cap * tanh(x / (double)a->soft_cap);
    if (a->alibi_slopes)
        x -= (double)a->alibi_slopes[head] * abs(distance);
    if (a->relative_bias) {
        int32_t at = distance + a->relative_zero;

        at = at < 0 ? 0 : at >= SPAN ? SPAN - 1 : at;
        x += (double)tensor_f32(a->relative_bias)[head * SPAN + at];
    }
    return x;
}

static bool is_seen(const struct attention *a, int32_t distance)
{
    if (a->bidirectional)
        return !a->window || abs(distance) < a->window;
    return distance <= 0 && (!a->window || distance > -a->window);
}

static void reference(float *out, const struct attention *a, const struct fixture *f)
{
    for (int32_t s = 0; s < SEQUENCES; s++) {
        for (int32_t row = offsets[s]; row < offsets[s + 1]; row++) {
            for (int32_t head = 0; head < HEADS; head++) {
                double sum = 0.0, mix[WIDTH] = {0};

                for (int32_t key = offsets[s]; key < offsets[s + 1]; key++) {
                    const float *v =
                        tensor_f32(f->v) + (key * KV_HEADS + head / (HEADS / KV_HEADS)) * WIDTH;
                    double weight;

                    if (!is_seen(a, key - row))
                        continue;
                    weight = exp(score(a, f, head, row, key, key - row));
                    sum += weight;
                    for (int i = 0; i < WIDTH; i++)
                        mix[i] += weight * (double)v[i];
                }
                for (int i = 0; i < WIDTH; i++)
                    out[(row * HEADS + head) * WIDTH + i] = (float)(mix[i] / sum);
            }
        }
    }
}

/* ---- the layer ------------------------------------------------------------------------------- */

static void packed(float *out, const struct attention *a, struct fixture *f)
{
    const struct batch batch = {.tokens = TOKENS, .segments = SEQUENCES, .offsets = offsets};
    llm_tensor *y = attention_forward(&f->cx, a, &batch, 0, f->q, f->k, f->v);

    if (!y)
        fail_msg("%s", f->cx.message);
    memcpy(out, y->data, sizeof(float) * TOKENS * HEADS * WIDTH);
    cx_reset(&f->cx);
}

/* One sequence after the other, in chunks. */
static void cached(float *out, const struct attention *a, struct fixture *f, int32_t chunk)
{
    const struct kv_cache_shape shape = {1, KV_HEADS, WIDTH, LLM_F32, 0};
    struct kv_cache *cache;

    assert_int_equal(LLM_OK, kv_cache_new(&cache, f->context, &shape));
    for (int32_t s = 0; s < SEQUENCES; s++) {
        int32_t sequence;

        assert_int_equal(LLM_OK, kv_cache_add(cache, &sequence));
        for (int32_t row = offsets[s]; row < offsets[s + 1]; row += chunk) {
            int32_t end = row + chunk < offsets[s + 1] ? row + chunk : offsets[s + 1];
            int32_t bounds[2] = {0, end - row};
            const struct batch batch = {.tokens = end - row,
                                        .segments = 1,
                                        .offsets = bounds,
                                        .cache = cache,
                                        .sequences = &sequence};
            llm_tensor *in[3] = {f->q, f->k, f->v};
            llm_tensor *y;

            for (int i = 0; i < 3; i++) {
                llm_tensor view;

                assert_int_equal(LLM_OK, tensor_view_slice(&view, in[i], 0, row, end, 1));
                in[i] = cx_view(&f->cx, &view);
            }
            assert_int_equal(LLM_OK, kv_cache_reserve(cache, sequence, end - row));
            y = attention_forward(&f->cx, a, &batch, 0, in[0], in[1], in[2]);
            if (!y)
                fail_msg("%s", f->cx.message);
            memcpy(out + row * HEADS * WIDTH, y->data,
                   sizeof(float) * (size_t)(end - row) * HEADS * WIDTH);
            kv_cache_commit(cache, sequence, end - row);
            cx_reset(&f->cx);
        }
    }
    kv_cache_release(cache);
}

static void expect_close(const char *what, const char *way, const float *got, const float *expected)
{
    for (int i = 0; i < TOKENS * HEADS * WIDTH; i++) {
        if (!(fabsf(got[i] - expected[i]) < 1e-5f))
            fail_msg("%s, %s: element %d is %g, expected %g", what, way, i, (double)got[i],
                     (double)expected[i]);
    }
}

static void every_part_works_both_ways(void **state)
{
    static const float slopes[HEADS] = {0.5f, 0.25f, 0.125f, 0.0625f};
    static float expected[TOKENS * HEADS * WIDTH], got[TOKENS * HEADS * WIDTH];
    struct fixture f;

    (void)state;
    set_up(&f);
    {
        const struct attention plain = {
            .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = WIDTH, .scale = 0.3f};
        struct attention window = plain, cap = plain, alibi = plain, bias = plain, all;
        const struct {
            const char *name;
            const struct attention *attention;
        } rows[] = {{"plain", &plain}, {"window", &window}, {"cap", &cap},
                    {"ALiBi", &alibi}, {"bias", &bias},     {"all", &all}};

        window.window = 5;
        cap.soft_cap = 0.8f;
        alibi.alibi_slopes = slopes;
        bias.relative_bias = f.bias;
        bias.relative_zero = SPAN - 1;
        all = bias;
        all.window = 33; /* beyond a page of the cache */
        all.soft_cap = 2.0f;
        all.alibi_slopes = slopes;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            reference(expected, rows[i].attention, &f);
            packed(got, rows[i].attention, &f);
            expect_close(rows[i].name, "packed", got, expected);
            cached(got, rows[i].attention, &f, 1);
            expect_close(rows[i].name, "token by token", got, expected);
            cached(got, rows[i].attention, &f, 19);
            expect_close(rows[i].name, "in chunks", got, expected);
        }
    }
    tear_down(&f);
}

static void both_directions_need_the_whole_text(void **state)
{
    static float expected[TOKENS * HEADS * WIDTH], got[TOKENS * HEADS * WIDTH];
    const struct kv_cache_shape shape = {1, KV_HEADS, WIDTH, LLM_F32, 0};
    struct attention attention = {.heads = HEADS,
                                  .kv_heads = KV_HEADS,
                                  .head_dim = WIDTH,
                                  .scale = 0.3f,
                                  .bidirectional = true,
                                  .window = 6};
    struct batch batch = {.tokens = TOKENS, .segments = 1, .offsets = (int32_t[]){0, TOKENS}};
    struct fixture f;
    int32_t sequence;

    (void)state;
    set_up(&f);
    reference(expected, &attention, &f);
    packed(got, &attention, &f);
    expect_close("bidirectional", "packed", got, expected);

    assert_int_equal(LLM_OK, kv_cache_new(&batch.cache, f.context, &shape));
    assert_int_equal(LLM_OK, kv_cache_add(batch.cache, &sequence));
    assert_int_equal(LLM_OK, kv_cache_reserve(batch.cache, sequence, TOKENS));
    batch.sequences = &sequence;
    assert_null(attention_forward(&f.cx, &attention, &batch, 0, f.q, f.k, f.v));
    assert_int_equal(LLM_E_INTERNAL, cx_status(&f.cx));
    kv_cache_release(batch.cache);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_works_both_ways),
        cmocka_unit_test(both_directions_need_the_whole_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
