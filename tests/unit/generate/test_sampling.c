/* SPDX-License-Identifier: MIT
 *
 * Filters against the logits processors of `transformers` and against sorting; draws against their
 * probabilities; ties, infinities and options out of range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "generate/sampling.h"
#include "generate/select.h"
#include "llm.h"
#include "sampler_filters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static llm_context *context;

static int make_context(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL);
}

static int free_context(void **state)
{
    (void)state;
    llm_context_free(context);
    return 0;
}

static llm_generate_options defaults(void)
{
    llm_generate_options options;

    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.top_p = 1.0;
    options.typical_p = 1.0;
    options.repetition_penalty = 1.0;
    options.temperature = 1.0;
    options.xtc_threshold = 0.1;
    options.dry_base = 1.75;
    options.dynamic_exponent = 1.0;
    options.mirostat_tau = 5.0;
    options.mirostat_eta = 0.1;
    options.dry_allowed_length = 2;
    return options;
}

static void open_sampler(struct sampler *sampler, int64_t vocabulary)
{
    assert_int_equal(sampler_init(sampler, context, vocabulary), LLM_OK);
}

static const struct sampler_text no_text;

static float largest(const float *values, int count)
{
    float best = -INFINITY;

    for (int i = 0; i < count; i++)
        best = values[i] > best ? values[i] : best;
    return best;
}

/* Penalties change logits themselves; the filters leave the same tokens as there, with the same
 * logits up to a shift, which no probability depends on. */
static void compare_golden(struct sampler *sampler, const float *golden, bool is_penalty,
                           const llm_generate_options *options)
{
    const struct candidates *left = &sampler->candidates;
    float shift = largest(golden, GOLDEN_VOCABULARY);
    size_t kept = 0;

    for (int i = 0; is_penalty && i < GOLDEN_VOCABULARY; i++)
        assert_true(fabsf(sampler->logits[i] - golden[i]) < 1e-5f);
    assert_int_equal(sampler_narrow(sampler, &no_text, options, 0.0), LLM_OK);
    for (int i = 0; i < GOLDEN_VOCABULARY; i++) {
        if (golden[i] == -INFINITY)
            continue;
        assert_true(kept < left->count);
        assert_int_equal(left->id[kept], i);
        assert_true(fabsf(left->value[kept] - left->value[0] - (golden[i] - golden[left->id[0]])) <
                    1e-5f);
        assert_true(golden[i] <= shift);
        kept++;
    }
    assert_int_equal(left->count, kept);
}

static void test_golden(void **state)
{
    const struct sampler_text text = {.ids = golden_history, .length = GOLDEN_HISTORY};
    struct sampler sampler;

    (void)state;
    open_sampler(&sampler, GOLDEN_VOCABULARY);
    for (int i = 0; i < GOLDEN_CASES; i++) {
        const double *given = golden_options[i];
        llm_generate_options options = defaults();

        options.temperature = given[0];
        options.top_k = (int32_t)given[1];
        options.top_p = given[2];
        options.min_p = given[3];
        options.typical_p = given[4];
        options.repetition_penalty = given[5];
        options.frequency_penalty = given[6];
        options.presence_penalty = given[7];
        assert_int_equal(sampler_check(&options, GOLDEN_VOCABULARY), LLM_OK);
        assert_int_equal(sampler_penalize(&sampler, golden_logits, &text, &options), LLM_OK);
        compare_golden(&sampler, golden_scores[i],
                       given[0] == 1.0 && (given[5] != 1.0 || given[6] != 0.0 || given[7] != 0.0),
                       &options);
    }
    for (int i = 0; i < GOLDEN_VOCABULARY; i++)
        assert_int_equal(sampler.marks[i], 0);
    sampler_free(&sampler);
}

/* Frequency and presence look at generated tokens only, repetition at a window of the end. */
static void test_windows(void **state)
{
    const int32_t ids[] = {1, 2, 3, 3, 4};
    const float logits[6] = {1.0f, 1.0f, 1.0f, 1.0f, -1.0f, -1.0f};
    const struct sampler_text text = {.ids = ids, .length = 5, .appended = 2};
    llm_generate_options options = defaults();
    struct sampler sampler;

    (void)state;
    open_sampler(&sampler, 6);
    options.frequency_penalty = 0.25;
    options.presence_penalty = 0.5;
    assert_int_equal(sampler_penalize(&sampler, logits, &text, &options), LLM_OK);
    assert_true(sampler.logits[1] == 1.0f && sampler.logits[2] == 1.0f);
    assert_true(sampler.logits[3] == 0.0f && sampler.logits[4] == -1.75f);
    options = defaults();
    options.repetition_penalty = 2.0;
    options.repetition_window = 2;
    assert_int_equal(sampler_penalize(&sampler, logits, &text, &options), LLM_OK);
    assert_true(sampler.logits[2] == 1.0f && sampler.logits[3] == 0.5f);
    assert_true(sampler.logits[4] == -2.0f && sampler.logits[5] == -1.0f);
    sampler_free(&sampler);
}

static void test_bias(void **state)
{
    const float logits[4] = {1.0f, 3.0f, 2.0f, -INFINITY};
    const int32_t ids[] = {1, 0, 0};
    const float values[] = {-INFINITY, 0.25f, 1.0f};
    llm_generate_options options = defaults();
    struct sampler sampler;
    int32_t id;

    (void)state;
    open_sampler(&sampler, 4);
    options.temperature = 0.0;
    options.bias_ids = ids;
    options.bias_values = values;
    options.bias_count = 3;
    assert_int_equal(sampler_pick(&id, &sampler, logits, &no_text, &options), LLM_OK);
    assert_int_equal(id, 0);
    options.temperature = 1.0;
    for (uint64_t seed = 1; seed < 50; seed++) {
        options.seed = seed;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &no_text, &options), LLM_OK);
        assert_true(id == 0 || id == 2);
    }
    sampler_free(&sampler);
}

struct pair {
    uint32_t key;
    size_t index;
};

static int by_key(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Selection gives what sorting gives, among equals the first ones, for any target. */
static void check_selection(struct rng *rng, size_t count, uint32_t kinds, bool weighted)
{
    uint32_t *key = calloc(count, sizeof *key);
    float *weight = calloc(count, sizeof *weight);
    struct pair *sorted = calloc(count, sizeof *sorted);
    unsigned char *wanted = calloc(count, 1);
    struct selection selection;
    double total = 0.0;
    double target;
    double sum = 0.0;
    double rest;

    for (size_t i = 0; i < count; i++) {
        key[i] = kinds ? rng_u32(rng) % kinds * 0x01010101u : rng_u32(rng);
        weight[i] = (float)(rng_u32(rng) % 1024) / 1024.0f; /* sums are exact */
        sorted[i] = (struct pair){key[i], i};
        total += weighted ? (double)weight[i] : 1.0;
    }
    target = total * rng_uniform(rng);
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t i = 0; i < count && sum < target; i++) {
        wanted[sorted[i].index] = 1;
        sum += weighted ? (double)weight[sorted[i].index] : 1.0;
    }
    selection = select_smallest(key, weighted ? weight : NULL, count, target);
    rest = selection.rest;
    for (size_t i = 0; i < count; i++) {
        bool keep = key[i] < selection.threshold;

        if (key[i] == selection.threshold && rest > 0.0) {
            keep = true;
            rest -= weighted ? (double)weight[i] : 1.0;
        }
        if (weight[i] != 0.0f || !weighted)
            assert_int_equal(keep, wanted[i]);
    }
    free(key);
    free(weight);
    free(sorted);
    free(wanted);
}

static void test_selection(void **state)
{
    struct rng rng = rng_make(11, 0);

    (void)state;
    for (int round = 0; round < 400; round++) {
        size_t count = 1 + (size_t)rng_below(&rng, round % 10 ? 60 : 5000);

        check_selection(&rng, count, round % 3 == 0 ? 4 : 0, round % 2 == 0);
    }
}

static void test_keys_keep_order(void **state)
{
    const float rising[] = {-INFINITY, -3e38f, -1.5f, -1e-42f, 0.0f, 1e-42f, 1.0f, 2e38f, INFINITY};

    (void)state;
    for (size_t i = 1; i < sizeof rising / sizeof rising[0]; i++) {
        assert_true(select_descending(rising[i]) < select_descending(rising[i - 1]));
        if (rising[i - 1] >= 0.0f)
            assert_true(select_ascending(rising[i]) > select_ascending(rising[i - 1]));
    }
}

static void test_ties(void **state)
{
    const float logits[8] = {0.0f, 2.0f, 2.0f, 2.0f, 1.0f, 2.0f, -INFINITY, -INFINITY};
    llm_generate_options options = defaults();
    struct sampler sampler;
    int32_t id;

    (void)state;
    open_sampler(&sampler, 8);
    options.top_k = 3;
    assert_int_equal(sampler_penalize(&sampler, logits, &no_text, &options), LLM_OK);
    assert_int_equal(sampler_narrow(&sampler, &no_text, &options, 0.0), LLM_OK);
    assert_int_equal(sampler.candidates.count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sampler.candidates.id[i], i + 1);
    options.top_k = 1000;
    assert_int_equal(sampler_penalize(&sampler, logits, &no_text, &options), LLM_OK);
    assert_int_equal(sampler_narrow(&sampler, &no_text, &options, 0.0), LLM_OK);
    assert_int_equal(sampler.candidates.count, 6); /* -inf is never a candidate */
    options.temperature = 0.0;
    assert_int_equal(sampler_pick(&id, &sampler, logits, &no_text, &options), LLM_OK);
    assert_int_equal(id, 1);
    sampler_free(&sampler);
}

/* 20,000 draws of six tokens stay within five standard deviations of their probabilities. */
static void test_draw(void **state)
{
    enum { DRAWS = 20000 };
    const float logits[6] = {0.5f, -1.0f, 2.0f, 0.0f, -INFINITY, -60.0f};
    double total = 0.0;
    llm_generate_options options = defaults();
    struct sampler_text text = {.ids = NULL};
    struct sampler sampler;
    int hits[6] = {0};
    int32_t id;

    (void)state;
    open_sampler(&sampler, 6);
    for (int i = 0; i < 6; i++)
        total += exp((double)logits[i] / 0.8);
    options.temperature = 0.8;
    options.seed = 3;
    for (int i = 0; i < DRAWS; i++) {
        text.length = (size_t)i;
        text.appended = text.length;
        options.repetition_penalty = 1.0;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_OK);
        hits[id]++;
    }
    for (int i = 0; i < 6; i++) {
        double p = exp((double)logits[i] / 0.8) / total;
        double deviation = sqrt(DRAWS * p * (1.0 - p));

        assert_true(fabs(hits[i] - DRAWS * p) <= 5.0 * deviation + 1e-9);
    }
    assert_int_equal(hits[4], 0);
    sampler_free(&sampler);
}

/* A draw is a function of seed and position alone; equal logits make it exact. */
static void test_seed(void **state)
{
    float logits[16];
    llm_generate_options options = defaults();
    struct sampler_text text = {.ids = NULL};
    struct sampler sampler;
    int different = 0;

    (void)state;
    open_sampler(&sampler, 16);
    for (int i = 0; i < 16; i++)
        logits[i] = 0.0f;
    for (size_t position = 0; position < 64; position++) {
        struct rng rng = rng_make(99, position);
        int32_t id[3];

        text.length = position;
        text.appended = position;
        for (uint64_t seed = 0; seed < 3; seed++) {
            options.seed = seed == 2 ? 98 : 99;
            assert_int_equal(sampler_pick(&id[seed], &sampler, logits, &text, &options), LLM_OK);
        }
        assert_int_equal(id[0], (int32_t)(rng_uniform(&rng) * 16.0));
        assert_int_equal(id[0], id[1]);
        different += id[0] != id[2];
    }
    assert_true(different > 32);
    sampler_free(&sampler);
}

static void expect_numeric(struct sampler *sampler, const float *logits,
                           const llm_generate_options *options, const char *words)
{
    int32_t id = 0;

    assert_int_equal(sampler_pick(&id, sampler, logits, &no_text, options), LLM_E_NUMERIC);
    assert_non_null(strstr(llm_last_error(), words));
}

static void test_numeric(void **state)
{
    enum { V = 37 };
    const int32_t id = 4;
    const float minus_infinity = -INFINITY;
    float logits[V];
    llm_generate_options options = defaults();
    struct sampler sampler;

    (void)state;
    open_sampler(&sampler, V);
    for (int greedy = 0; greedy < 2; greedy++) {
        options.temperature = greedy ? 0.0 : 1.0;
        options.bias_count = 0;
        for (int i = 0; i < V; i++)
            logits[i] = -INFINITY;
        expect_numeric(&sampler, logits, &options, "every logit is -infinity");
        logits[4] = 1.0f;
        options.bias_ids = &id;
        options.bias_values = &minus_infinity;
        options.bias_count = 1;
        expect_numeric(&sampler, logits, &options, "after bias and penalties");
        logits[V - 1] = NAN;
        expect_numeric(&sampler, logits, &options, "NaN");
        logits[V - 1] = INFINITY;
        expect_numeric(&sampler, logits, &options, "infinite");
    }
    sampler_free(&sampler);
}

/* The filters in a row leave at least one token whatever the logits are. */
static void test_never_empty(void **state)
{
    enum { V = 1000 };
    struct rng rng = rng_make(5, 0);
    struct sampler sampler;
    float logits[V];

    (void)state;
    open_sampler(&sampler, V);
    for (int round = 0; round < 200; round++) {
        const double scale = round % 4 == 0   ? 0.0
                             : round % 4 == 1 ? 1e-3
                             : round % 4 == 2 ? 3.0
                                              : 1e30;
        llm_generate_options options = defaults();
        int32_t id = -1;

        for (int i = 0; i < V; i++)
            logits[i] = (float)(rng_normal(&rng) * scale);
        options.temperature = round % 5 == 0 ? 1e-4 : 1e4 * rng_uniform(&rng) + 1e-4;
        options.top_k = (int32_t)rng_below(&rng, 50);
        options.top_p = rng_uniform(&rng) * 0.5 + 1e-9;
        options.min_p = rng_uniform(&rng);
        options.typical_p = rng_uniform(&rng) * 0.5 + 1e-9;
        assert_int_equal(sampler_check(&options, V), LLM_OK);
        assert_int_equal(sampler_pick(&id, &sampler, logits, &no_text, &options), LLM_OK);
        assert_true(sampler.candidates.count >= 1);
        assert_true(id >= 0 && id < V);
        if (options.top_k)
            assert_true(sampler.candidates.count <= (size_t)options.top_k);
    }
    sampler_free(&sampler);
}

static void test_top(void **state)
{
    enum { V = 500 };
    struct rng rng = rng_make(6, 0);
    llm_token_choice top[64];
    float logits[V];

    (void)state;
    for (int i = 0; i < V; i++)
        logits[i] = (float)(rng_u32(&rng) % 40); /* many ties */
    sampler_top(top, 64, logits, V, 2.5f);
    for (int i = 0; i < 64; i++) {
        int better = 0;

        for (int j = 0; j < V; j++)
            better +=
                logits[j] > logits[top[i].id] || (logits[j] == logits[top[i].id] && j < top[i].id);
        assert_int_equal(better, i);
        assert_true(top[i].logprob == logits[top[i].id] - 2.5f);
    }
}

static void test_ranges(void **state)
{
    const double bad[][2] = {{-0.1, 0},
                             {1e-5, 0},
                             {2e4, 0},
                             {(double)NAN, 0},
                             {(double)INFINITY, 0},
                             {0.0, 1},
                             {1.01, 1},
                             {(double)NAN, 1},
                             {-0.1, 2},
                             {1.01, 2},
                             {0.0, 3},
                             {1.5, 3},
                             {0.0, 4},
                             {-1.0, 4},
                             {(double)NAN, 5},
                             {2e4, 5},
                             {-2e4, 6},
                             {(double)INFINITY, 6}};
    const int32_t id = 10;
    const float value = NAN;
    llm_generate_options options;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double *fields[7];

        options = defaults();
        fields[0] = &options.temperature;
        fields[1] = &options.top_p;
        fields[2] = &options.min_p;
        fields[3] = &options.typical_p;
        fields[4] = &options.repetition_penalty;
        fields[5] = &options.frequency_penalty;
        fields[6] = &options.presence_penalty;
        assert_int_equal(sampler_check(&options, 10), LLM_OK);
        *fields[(int)bad[i][1]] = bad[i][0];
        assert_int_equal(sampler_check(&options, 10), LLM_E_RANGE);
    }
    options = defaults();
    options.top_k = -1;
    assert_int_equal(sampler_check(&options, 10), LLM_E_RANGE);
    options = defaults();
    options.repetition_window = -1;
    assert_int_equal(sampler_check(&options, 10), LLM_E_RANGE);
    options = defaults();
    options.bias_count = 1;
    assert_int_equal(sampler_check(&options, 10), LLM_E_INVALID);
    options.bias_ids = &id;
    options.bias_values = &value;
    assert_int_equal(sampler_check(&options, 10), LLM_E_RANGE);
    assert_int_equal(sampler_check(&options, 11), LLM_E_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_keys_keep_order),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_draw),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_never_empty),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_ranges),
    };

    return cmocka_run_group_tests(tests, make_context, free_context);
}
