/* SPDX-License-Identifier: MIT
 *
 * Top-n-sigma, XTC, DRY, dynamic temperature, mirostat, orders of stages and the caller's own stage
 * against plain references in double precision that sort, as llama.cpp does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "generate/dry.h"
#include "generate/sampling.h"
#include "llm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { V = 50, ROUNDS = 300 };

static llm_context *context;
static llm_tokenizer *bytes; /* token i is byte i */
static struct sampler sampler;
static float logits[V];

static int setup(void **state)
{
    llm_tokenizer_train_options options;

    (void)state;
    return llm_context_new(&context, NULL) || sampler_init(&sampler, context, V) ||
           llm_tokenizer_train_options_init(&options, sizeof options) ||
           (options.kind = LLM_TOKENIZER_BYTES) != LLM_TOKENIZER_BYTES ||
           llm_tokenizer_train(&bytes, context, NULL, NULL, 0, &options);
}

static int teardown(void **state)
{
    (void)state;
    sampler_free(&sampler);
    llm_tokenizer_free(bytes);
    llm_context_free(context);
    return 0;
}

static llm_generate_options defaults(void)
{
    llm_generate_options options;

    assert_int_equal(llm_generate_options_init(&options, sizeof options), LLM_OK);
    options.temperature = 1.0;
    return options;
}

static void random_logits(struct rng *rng, double scale)
{
    for (int i = 0; i < V; i++)
        logits[i] = (float)(rng_normal(rng) * scale);
}

/* ---- the reference: a sorted list of logits and probabilities ----------------------------------
 */

struct reference {
    int count;
    int id[V];
    double logit[V], p[V];
};

static void softmax(struct reference *r)
{
    double best = -1e300;
    double total = 0.0;

    for (int i = 0; i < r->count; i++)
        best = r->logit[i] > best ? r->logit[i] : best;
    for (int i = 0; i < r->count; i++)
        total += r->p[i] = exp(r->logit[i] - best);
    for (int i = 0; i < r->count; i++)
        r->p[i] /= total;
}

static struct reference sorted_reference(void)
{
    struct reference r = {.count = V};

    for (int i = 0; i < V; i++) {
        int place = i;

        for (; place > 0 && r.logit[place - 1] < (double)logits[i]; place--) {
            r.logit[place] = r.logit[place - 1];
            r.id[place] = r.id[place - 1];
        }
        r.logit[place] = (double)logits[i];
        r.id[place] = i;
    }
    softmax(&r);
    return r;
}

static void drop_first(struct reference *r, int count)
{
    r->count -= count;
    memmove(r->id, r->id + count, (size_t)r->count * sizeof *r->id);
    memmove(r->logit, r->logit + count, (size_t)r->count * sizeof *r->logit);
    softmax(r);
}

/* The sampler kept the same tokens with the same probabilities. */
static void compare(const struct reference *r)
{
    struct candidates *left = &sampler.candidates;
    double total;

    candidates_weigh(left);
    total = candidates_total(left);
    assert_int_equal(left->count, r->count);
    for (int i = 0; i < r->count; i++) {
        size_t at = 0;

        while (at < left->count && left->id[at] != r->id[i])
            at++;
        assert_true(at < left->count);
        assert_true(fabs((double)left->weight[at] / total - r->p[i]) < 1e-5);
    }
}

static void narrow(const llm_generate_options *options, double chance)
{
    const struct sampler_text text = {.ids = NULL};

    assert_int_equal(sampler_check(options, V), LLM_OK);
    assert_int_equal(sampler_penalize(&sampler, logits, &text, options), LLM_OK);
    assert_int_equal(sampler_narrow(&sampler, &text, options, chance), LLM_OK);
}

/* ---- one stage at a time -----------------------------------------------------------------------
 */

static void test_top_n_sigma(void **state)
{
    struct rng rng = rng_make(1, 0);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        llm_generate_options options = defaults();
        struct reference r;
        double mean = 0.0;
        double deviation = 0.0;

        random_logits(&rng, 3.0);
        r = sorted_reference();
        for (int i = 0; i < V; i++)
            mean += r.logit[i] / V;
        for (int i = 0; i < V; i++)
            deviation += (r.logit[i] - mean) * (r.logit[i] - mean) / V;
        options.top_n_sigma = 0.05 + 3.0 * rng_uniform(&rng);
        while (r.count > 1 &&
               r.logit[r.count - 1] < r.logit[0] - options.top_n_sigma * sqrt(deviation))
            r.count--;
        softmax(&r);
        narrow(&options, 0.0);
        compare(&r);
    }
}

static void test_xtc(void **state)
{
    struct rng rng = rng_make(2, 0);
    int acted = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        llm_generate_options options = defaults();
        struct reference r;
        double chance = rng_uniform(&rng);
        int above = 0;

        random_logits(&rng, 2.0);
        r = sorted_reference();
        options.xtc_probability = rng_uniform(&rng);
        options.xtc_threshold = 0.01 + 0.6 * rng_uniform(&rng);
        while (above < V && r.p[above] >= options.xtc_threshold)
            above++;
        if (chance < options.xtc_probability && options.xtc_threshold <= 0.5 && above > 1) {
            drop_first(&r, above - 1);
            acted++;
        }
        narrow(&options, chance);
        compare(&r);
    }
    assert_true(acted > 20);
}

static void test_dynamic_temperature(void **state)
{
    struct rng rng = rng_make(3, 0);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        llm_generate_options options = defaults();
        struct reference r;
        double entropy = 0.0;
        double temperature;

        random_logits(&rng, 2.5);
        r = sorted_reference();
        for (int i = 0; i < V; i++)
            entropy -= r.p[i] * log(r.p[i]);
        options.temperature = 1.0 + rng_uniform(&rng);
        options.dynamic_temperature = rng_uniform(&rng) * 0.9;
        options.dynamic_exponent = 0.5 + 2.0 * rng_uniform(&rng);
        temperature = options.temperature - options.dynamic_temperature +
                      2.0 * options.dynamic_temperature *
                          pow(entropy / log((double)V), options.dynamic_exponent);
        for (int i = 0; i < V; i++)
            r.logit[i] /= temperature;
        softmax(&r);
        narrow(&options, 0.0);
        compare(&r);
    }
}

/* ---- DRY ---------------------------------------------------------------------------------------
 */

/* The longest repetition that each token would continue, by trying all of them. */
static void dry_reference(double *penalty, const int32_t *ids, int count, int reach,
                          const llm_generate_options *options)
{
    for (int token = 0; token < V; token++)
        penalty[token] = 0.0;
    if (count <= options->dry_allowed_length || reach < options->dry_allowed_length)
        return;
    for (int at = 1; at < count; at++) { /* ids[at] follows a repetition that ends at at - 1 */
        int n = 0;
        double cost;

        while (n < at && n < reach && ids[at - 1 - n] == ids[count - 1 - n])
            n++;
        if (n < options->dry_allowed_length)
            continue;
        cost = options->dry_multiplier *
               pow(options->dry_base, (double)(n - options->dry_allowed_length));
        if (cost > penalty[ids[at]])
            penalty[ids[at]] = cost;
    }
}

static void test_dry(void **state)
{
    const char *const breakers[] = {"\x05", "\x06\x07"};
    struct rng rng = rng_make(4, 0);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        llm_generate_options options = defaults();
        int32_t ids[80];
        int count = 1 + (int)rng_below(&rng, 80);
        int first = 0;
        int reach;
        double penalty[V];
        struct sampler_text text = {.ids = ids, .length = (size_t)count, .tokenizer = bytes};

        for (int i = 0; i < count; i++)
            ids[i] = 1 + (int32_t)rng_below(&rng, round % 3 ? 3 : 8);
        options.dry_multiplier = 0.1 + rng_uniform(&rng);
        options.dry_base = 1.0 + rng_uniform(&rng);
        options.dry_allowed_length = 1 + (int64_t)rng_below(&rng, 3);
        options.dry_window = (int64_t)rng_below(&rng, 2) * 40;
        options.dry_breakers = breakers;
        options.dry_breaker_count = 2;
        if (options.dry_window && count > 40)
            first = count - 40;
        for (reach = 0; reach < count - first; reach++) {
            int32_t id = ids[count - 1 - reach];

            if (id == 5 || (id == 7 && reach + 1 < count - first && ids[count - 2 - reach] == 6))
                break;
        }
        random_logits(&rng, 1.0);
        dry_reference(penalty, ids + first, count - first, reach, &options);
        assert_int_equal(sampler_check(&options, V), LLM_OK);
        assert_int_equal(sampler_penalize(&sampler, logits, &text, &options), LLM_OK);
        for (int i = 0; i < V; i++) {
            assert_true(fabs((double)sampler.logits[i] - ((double)logits[i] - penalty[i])) < 1e-4);
            assert_int_equal(sampler.marks[i], 0);
        }
    }
}

/* A long repetition costs a finite number; one text of a single token takes linear time. */
static void test_dry_extremes(void **state)
{
    enum { LONG = 200000 };
    int32_t *ids = calloc(LONG, sizeof *ids);
    llm_generate_options options = defaults();
    struct sampler_text text = {.ids = ids, .length = LONG};

    (void)state;
    assert_non_null(ids);
    memset(logits, 0, sizeof logits);
    options.dry_multiplier = 1.0;
    options.dry_base = 4.0;
    assert_int_equal(sampler_penalize(&sampler, logits, &text, &options), LLM_OK);
    assert_true(isfinite(sampler.logits[0]) && sampler.logits[0] < -1e30f);
    assert_true(sampler.logits[1] == 0.0f);
    free(ids);
}

/* ---- mirostat ----------------------------------------------------------------------------------
 */

static int zipf_count(const struct reference *r, double mu)
{
    double products = 0.0;
    double squares = 0.0;
    double exponent;
    double epsilon;

    for (int i = 0; i < 99 && i < r->count - 1; i++) {
        double t = log((i + 2.0) / (i + 1.0));

        products += t * log(r->p[i] / r->p[i + 1]);
        squares += t * t;
    }
    exponent = products / squares;
    epsilon = exponent - 1.0;
    return (int)pow(epsilon * pow(2.0, mu) / (1.0 - pow(V, -epsilon)), 1.0 / exponent);
}

/* A generation of 40 tokens: the sets of candidates and mu follow the reference. */
static void check_mirostat(int version, uint64_t seed)
{
    struct rng rng = rng_make(seed, 0);
    llm_generate_options options = defaults();
    int32_t ids[41] = {0};
    double mu;

    options.mirostat = version;
    options.mirostat_tau = 1.0 + 4.0 * rng_uniform(&rng);
    options.mirostat_eta = 0.3 * rng_uniform(&rng);
    options.seed = seed;
    mu = 2.0 * options.mirostat_tau;
    for (size_t step = 0; step < 40; step++) {
        struct sampler_text text = {.ids = ids, .length = step + 1, .appended = 1};
        struct reference r;
        int32_t id = -1;
        int keep = 1;

        random_logits(&rng, 2.0);
        r = sorted_reference();
        if (version == 1)
            keep = zipf_count(&r, mu);
        while (version == 2 && keep < V && -log2(r.p[keep]) <= mu)
            keep++;
        r.count = keep < 1 ? 1 : keep > V ? V : keep;
        softmax(&r);
        assert_int_equal(sampler_check(&options, V), LLM_OK);
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_OK);
        compare(&r);
        for (int i = 0; i < r.count; i++) {
            if (r.id[i] == id)
                mu -= options.mirostat_eta * (-log2(r.p[i]) - options.mirostat_tau);
        }
        assert_true(fabs(mu - sampler.mirostat.mu) < 1e-4);
        mu = sampler.mirostat.mu;
        ids[step + 1] = id;
    }
}

static void test_mirostat(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        check_mirostat(1, seed);
        check_mirostat(2, seed);
    }
}

/* ---- orders ------------------------------------------------------------------------------------
 */

/* llama.cpp's order: top-k, typical, top-p, min-p, XTC, temperature, each on a sorted list. */
static void llama_cpp_reference(struct reference *r, const llm_generate_options *o)
{
    double sum = 0.0;
    int keep = 0;

    if (r->count > o->top_k)
        r->count = o->top_k;
    softmax(r);
    while (keep < r->count && sum < o->top_p)
        sum += r->p[keep++];
    r->count = keep;
    softmax(r);
    while (r->count > 1 && r->p[r->count - 1] < o->min_p * r->p[0])
        r->count--;
    softmax(r);
    for (keep = 0; keep < r->count && r->p[keep] >= o->xtc_threshold;)
        keep++;
    if (keep > 1)
        drop_first(r, keep - 1);
    for (int i = 0; i < r->count; i++)
        r->logit[i] /= o->temperature;
    softmax(r);
}

static void test_llama_cpp_order(void **state)
{
    struct rng rng = rng_make(6, 0);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        llm_generate_options options = defaults();
        struct reference r;

        random_logits(&rng, 1.5);
        options.stages = llm_sampler_stages(LLM_ORDER_LLAMA_CPP, &options.stage_count);
        options.temperature = 0.3 + rng_uniform(&rng);
        options.top_k = 1 + (int32_t)rng_below(&rng, 40);
        options.top_p = 0.5 + 0.49 * rng_uniform(&rng);
        options.min_p = 0.2 * rng_uniform(&rng);
        options.xtc_probability = 1.0;
        options.xtc_threshold = 0.05 + 0.3 * rng_uniform(&rng);
        r = sorted_reference();
        llama_cpp_reference(&r, &options);
        narrow(&options, 0.5);
        compare(&r);
    }
}

static void test_order_matters(void **state)
{
    const int32_t late[] = {LLM_STAGE_TOP_P, LLM_STAGE_TEMPERATURE};
    const int32_t nothing[] = {LLM_STAGE_TYPICAL_P};
    llm_generate_options options = defaults();
    size_t count = 9;
    size_t early_count;

    (void)state;
    for (int i = 0; i < V; i++)
        logits[i] = -0.3f * (float)i;
    options.temperature = 4.0;
    options.top_p = 0.5;
    narrow(&options, 0.0);
    early_count = sampler.candidates.count;
    options.stages = late;
    options.stage_count = 2;
    narrow(&options, 0.0);
    assert_true(sampler.candidates.count < early_count);
    options.stages = nothing; /* top-p is left out: it does not run */
    options.stage_count = 1;
    narrow(&options, 0.0);
    assert_int_equal(sampler.candidates.count, V);
    assert_null(llm_sampler_stages(7, &count));
    assert_int_equal(count, 0);
    assert_non_null(llm_sampler_stages(LLM_ORDER_DEFAULT, NULL));
}

/* ---- the caller's stage ------------------------------------------------------------------------
 */

struct caller {
    int32_t favourite;
    float value;
    int32_t answer;
    size_t calls;
};

static int32_t prefer(void *user, llm_candidate *candidates, size_t count)
{
    struct caller *caller = user;

    caller->calls++;
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || candidates[i].id > candidates[i - 1].id);
        candidates[i].logit = candidates[i].id == caller->favourite ? caller->value : -INFINITY;
    }
    return caller->answer;
}

static void test_callback(void **state)
{
    struct rng rng = rng_make(8, 0);
    const struct sampler_text text = {.ids = NULL};

    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        struct caller caller = {17, 1.0f, 0, 0};
        llm_generate_options options = defaults();
        int32_t id = -1;

        random_logits(&rng, 1.0);
        options.temperature = greedy ? 0.0 : 0.7;
        options.on_candidates = prefer;
        options.on_candidates_user = &caller;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_OK);
        assert_int_equal(id, 17);
        assert_int_equal(caller.calls, 1);
        caller.value = NAN;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_E_NUMERIC);
        caller.value = -INFINITY;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_E_NUMERIC);
        caller.value = 1.0f;
        caller.answer = 1;
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_E_CANCELLED);
        options.stages = llm_sampler_stages(LLM_ORDER_DEFAULT, NULL);
        options.stage_count = 2; /* without the callback */
        assert_int_equal(sampler_pick(&id, &sampler, logits, &text, &options), LLM_OK);
        assert_int_equal(caller.calls, 4);
    }
}

/* ---- options out of range ----------------------------------------------------------------------
 */

static void test_ranges(void **state)
{
    const double bad[][3] = {{0, -1, 1e5},
                             {1, -0.1, 1.1},
                             {2, 0.0, 1.1},
                             {3, -1.0, (double)NAN},
                             {4, 0.5, (double)INFINITY},
                             {5, -1.0, 1.0},
                             {6, 0.0, -1.0},
                             {7, 0.0, (double)NAN},
                             {8, -0.1, 1.5}};
    const char *const broken[] = {"", NULL};
    const int32_t twice[] = {LLM_STAGE_TOP_K, LLM_STAGE_TOP_K};
    const int32_t unknown[] = {9};
    llm_generate_options o;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof bad / sizeof *bad; i++) {
        double *fields[9] = {&o.top_n_sigma,      &o.xtc_probability, &o.xtc_threshold,
                             &o.dry_multiplier,   &o.dry_base,        &o.dynamic_temperature,
                             &o.dynamic_exponent, &o.mirostat_tau,    &o.mirostat_eta};

        o = defaults();
        assert_int_equal(sampler_check(&o, V), LLM_OK);
        *fields[(int)bad[i / 2][0]] = bad[i / 2][1 + i % 2];
        assert_int_equal(sampler_check(&o, V), LLM_E_RANGE);
    }
    o = defaults();
    o.mirostat = 3;
    assert_int_equal(sampler_check(&o, V), LLM_E_RANGE);
    o = defaults();
    o.dry_allowed_length = 0;
    assert_int_equal(sampler_check(&o, V), LLM_E_RANGE);
    o = defaults();
    o.dry_breaker_count = 1;
    assert_int_equal(sampler_check(&o, V), LLM_E_INVALID);
    for (size_t i = 0; i < 2; i++) {
        o.dry_breakers = broken + i;
        assert_int_equal(sampler_check(&o, V), LLM_E_INVALID);
    }
    o = defaults();
    o.stage_count = 1;
    assert_int_equal(sampler_check(&o, V), LLM_E_INVALID);
    o.stages = unknown;
    assert_int_equal(sampler_check(&o, V), LLM_E_RANGE);
    o.stages = twice;
    o.stage_count = 2;
    assert_int_equal(sampler_check(&o, V), LLM_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_n_sigma),
        cmocka_unit_test(test_xtc),
        cmocka_unit_test(test_dynamic_temperature),
        cmocka_unit_test(test_dry),
        cmocka_unit_test(test_dry_extremes),
        cmocka_unit_test(test_mirostat),
        cmocka_unit_test(test_llama_cpp_order),
        cmocka_unit_test(test_order_matters),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_ranges),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
