/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_KEYS = 64, SEED = 9, STREAM = 5 };

struct problem {
    struct attention_options options;
    int64_t nq, nk, span;
    bool fused;  /* one input [N, (heads + 2 kv_heads) * dim] */
    bool itself; /* one input in all three roles */
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct problem *p = arg;
    struct attention_options options = p->options;
    int64_t wide = (int64_t)options.heads * options.head_dim;
    int64_t narrow = (int64_t)options.kv_heads * options.head_dim;
    int bias = p->fused || p->itself ? 1 : 3;

    cx->seed = SEED;
    cx->stream = STREAM;
    if (p->span)
        options.relative_bias = cx_contiguous(cx, in[bias]);
    if (p->itself)
        return op_attention(cx, in[0], in[0], in[0], &options);
    if (p->fused)
        return op_attention(cx, op_slice(cx, in[0], 1, 0, wide, 1),
                            op_slice(cx, in[0], 1, wide, wide + narrow, 1),
                            op_slice(cx, in[0], 1, wide + narrow, wide + 2 * narrow, 1), &options);
    return op_attention(cx, in[0], in[1], in[2], &options);
}

struct rows {
    const double *at;
    int64_t stride;
};

static double score(const struct problem *p, const double *q, const double *k, const double *bias,
                    int32_t head, int64_t position, int64_t j)
{
    const struct attention_options *o = &p->options;
    double scale = o->scale != 0.0f ? (double)o->scale : 1.0 / sqrt((double)o->head_dim);
    double x = 0.0;

    for (int32_t c = 0; c < o->head_dim; c++)
        x += q[c] * k[c] * scale;
    if (o->soft_cap != 0.0f)
        x = (double)o->soft_cap * tanh(x / (double)o->soft_cap);
    if (o->alibi_slopes)
        x -= (double)o->alibi_slopes[head] * fabs((double)(position - j));
    if (bias) {
        int64_t at = j - position + o->relative_zero;

        x += bias[head * p->span + (at < 0 ? 0 : at >= p->span ? p->span - 1 : at)];
    }
    return x;
}

static bool is_visible(const struct attention_options *o, int64_t position, int64_t j)
{
    if (o->causal && j > position)
        return false;
    return o->window == 0 || (j > position - o->window && (o->causal || j < position + o->window));
}

/* The mask, as kernels/attention.h lays it out. */
static double kept(const struct attention_options *o, int64_t row, int32_t head, int64_t j)
{
    uint32_t word[4];

    if (o->dropout == 0.0f)
        return 1.0;
    philox(SEED, STREAM, ((uint64_t)(row * o->heads + head) << 24) + (uint64_t)(j % 16), word);
    return word[j / 16] < (double)o->dropout * 4294967296.0 ? 0.0
                                                            : 1.0 / (1.0 - (double)o->dropout);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct problem *p = arg;
    const struct attention_options *o = &p->options;
    const int32_t *kv_offsets = o->kv_offsets ? o->kv_offsets : o->q_offsets;
    int64_t wide = (int64_t)o->heads * o->head_dim, narrow = (int64_t)o->kv_heads * o->head_dim;
    int64_t stride = wide + 2 * narrow;
    struct rows q = {in[0], p->fused ? stride : wide};
    struct rows k = {p->fused    ? in[0] + wide
                     : p->itself ? in[0]
                                 : in[1],
                     p->fused ? stride : narrow};
    struct rows v = {p->fused ? k.at + narrow : p->itself ? in[0] : in[2], k.stride};
    const double *bias = p->span ? in[p->fused || p->itself ? 1 : 3] : NULL;

    memset(out, 0, sizeof *out * (size_t)count);
    for (int32_t s = 0; s < o->segments; s++) {
        int64_t nk = kv_offsets[s + 1] - kv_offsets[s], nq = o->q_offsets[s + 1] - o->q_offsets[s];

        for (int64_t at = 0; at < nq * o->heads; at++) {
            int64_t row = o->q_offsets[s] + at / o->heads;
            int64_t position = nk - nq + at / o->heads;
            int32_t head = (int32_t)(at % o->heads);
            int64_t kv = head / (o->heads / o->kv_heads) * o->head_dim;
            double e[MOST_KEYS], sum = 0.0;

            for (int64_t j = 0; j < nk; j++) {
                e[j] = 0.0;
                if (is_visible(o, position, j))
                    e[j] = exp(score(p, q.at + row * q.stride + head * o->head_dim,
                                     k.at + (kv_offsets[s] + j) * k.stride + kv, bias, head,
                                     position, j));
                sum += e[j];
            }
            for (int64_t j = 0; j < nk && sum > 0.0; j++) {
                for (int32_t c = 0; c < o->head_dim; c++)
                    out[row * wide + head * o->head_dim + c] +=
                        e[j] / sum * kept(o, row, head, j) *
                        v.at[(kv_offsets[s] + j) * v.stride + kv + c];
            }
        }
    }
}

static void check(const char *name, struct problem *p)
{
    const struct attention_options *o = &p->options;
    int64_t wide = (int64_t)o->heads * o->head_dim, narrow = (int64_t)o->kv_heads * o->head_dim;
    struct gradcheck check = {
        .name = name, .run = run, .reference = reference, .arg = p, .training = o->dropout != 0.0f};
    struct gradcheck_input bias = {.dimensions = 2, .shape = {o->heads, p->span}};

    p->nq = o->q_offsets[o->segments];
    p->nk = o->kv_offsets ? o->kv_offsets[o->segments] : p->nq;
    check.in[0] = (struct gradcheck_input){.dimensions = 2,
                                           .shape = {p->nq, p->fused ? wide + 2 * narrow : wide}};
    check.in[1] = check.in[2] = (struct gradcheck_input){.dimensions = 2, .shape = {p->nk, narrow}};
    check.inputs = p->fused || p->itself ? 1 : 3;
    if (p->span)
        check.in[check.inputs++] = bias;
    gradcheck_run(&check);
}

static const int32_t q_offsets[] = {0, 5, 6, 6, 20};
static const int32_t kv_offsets[] = {0, 7, 16, 18, 21};
static const float slopes[] = {0.5f, 0.25f, 0.125f, 0.0625f};

static void test_masks(void **state)
{
    struct problem p = {.options = {.heads = 2,
                                    .kv_heads = 2,
                                    .head_dim = 3,
                                    .causal = 1,
                                    .segments = 4,
                                    .q_offsets = q_offsets}};

    (void)state;
    check("attention: causal", &p);
    p.options.window = 4;
    check("attention: causal window", &p);
    p.options.causal = 0;
    check("attention: window", &p);
    p.options.window = 0;
    check("attention: bidirectional", &p);
    p.options.kv_offsets = kv_offsets;
    check("attention: cross", &p);
    p.options.causal = 1;
    check("attention: cross, causal", &p);
}

static void test_groups(void **state)
{
    struct problem p = {.options = {.heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 16,
                                    .causal = 1,
                                    .scale = 0.7f,
                                    .segments = 4,
                                    .q_offsets = q_offsets}};

    (void)state;
    check("attention: groups", &p);
    p.fused = true;
    check("attention: groups, fused", &p);
    p.options.kv_heads = 4;
    check("attention: fused", &p);
    p.options.kv_heads = 1;
    check("attention: one key head, fused", &p);
    p.options.kv_heads = 4;
    p.fused = false;
    p.itself = true;
    check("attention: of a tensor to itself", &p);
}

static void test_scores(void **state)
{
    struct problem p = {.options = {.heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 5,
                                    .causal = 1,
                                    .scale = 1.5f,
                                    .segments = 4,
                                    .q_offsets = q_offsets}};

    (void)state;
    p.options.soft_cap = 1.2f;
    check("attention: soft cap", &p);
    p.options.alibi_slopes = slopes;
    check("attention: soft cap, ALiBi", &p);
    p.span = 9;
    p.options.relative_zero = 6;
    check("attention: soft cap, ALiBi, relative bias", &p);
    p.options.alibi_slopes = NULL;
    p.options.soft_cap = 0.0f;
    p.options.causal = 0;
    p.fused = true;
    check("attention: relative bias", &p);
}

static void test_dropout(void **state)
{
    struct problem p = {.options = {.heads = 2,
                                    .kv_heads = 2,
                                    .head_dim = 6,
                                    .causal = 1,
                                    .dropout = 0.4f,
                                    .segments = 4,
                                    .q_offsets = q_offsets}};

    (void)state;
    check("attention: dropout", &p);
    p.options.soft_cap = 2.0f;
    p.fused = true;
    check("attention: dropout, soft cap", &p);
}

static void expect_refusal(struct cx *cx, llm_tensor *x, const struct attention_options *options,
                           llm_status want)
{
    assert_null(op_attention(cx, x, x, x, options));
    assert_int_equal(cx_status(cx), want);
    cx_reset(cx);
}

static void test_misuse(void **state)
{
    static const int32_t falling[] = {0, 7, 6, 6, 20};
    static const int32_t short_of[] = {0, 5, 6, 6, 19};
    const struct attention_options good = {
        .heads = 2, .kv_heads = 1, .head_dim = 3, .segments = 4, .q_offsets = q_offsets};
    struct attention_options bad;
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, (const int64_t[]){20, 6});
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect_refusal(&cx, x, &good, LLM_E_SHAPE); /* keys are too wide */
    expect_refusal(&cx, NULL, &good, LLM_E_INVALID);
    bad = good;
    bad.kv_heads = 2;
    bad.q_offsets = falling;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad.q_offsets = short_of;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad.q_offsets = NULL;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad = good;
    bad.heads = 3;
    bad.kv_heads = 2;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad = good;
    bad.kv_heads = 2;
    bad.dropout = 1.0f;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad.dropout = 0.0f;
    bad.window = -1;
    expect_refusal(&cx, x, &bad, LLM_E_INVALID);
    bad.window = 0;
    bad.relative_bias = x;
    expect_refusal(&cx, x, &bad, LLM_E_SHAPE);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),  cmocka_unit_test(test_groups),
        cmocka_unit_test(test_scores), cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_attention", tests, NULL, NULL);
}
