/* SPDX-License-Identifier: MIT
 *
 * Beam search against transformers, on a model that is a table of logits (make_beam.py); texts that
 * run out; numbers that are none; options out of range; failing allocations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/context.h"
#include "beam_golden.h"
#include "generate/beam.h"
#include "llm.h"

#include <math.h>
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

/* The beams' texts, kept as the caller of a beam search keeps its caches. */
struct texts {
    int32_t ids[BEAM_MOST][16];
    int length;
};

static void follow(struct texts *texts, const struct beam_search *beam)
{
    struct texts old = *texts;

    for (int32_t b = 0; b < beam->beams; b++) {
        memcpy(texts->ids[b], old.ids[beam->parents[b]], sizeof texts->ids[b]);
        texts->ids[b][texts->length] = beam->ids[b];
    }
    texts->length++;
}

static llm_status search(struct beam_search *beam, const struct beam_options *options)
{
    static struct texts texts;
    static float logits[BEAM_MOST][BEAM_V];
    llm_status status = beam_open(beam, &context->memory, options);

    texts.length = 2;
    for (int b = 0; b < options->beams; b++) {
        texts.ids[b][0] = 1;
        texts.ids[b][1] = 4;
    }
    while (!status && !beam->is_done) {
        for (int b = 0; b < options->beams; b++) {
            int row = (texts.ids[b][texts.length - 1] + 3 * texts.length) % BEAM_V;

            memcpy(logits[b], beam_table[row], sizeof logits[b]);
        }
        /* rows of BEAM_V floats, as beam_step() wants them */
        status = beam_step(beam, logits[0]);
        if (!status)
            follow(&texts, beam);
    }
    return status;
}

static struct beam_options options_of(int i)
{
    static const int32_t ends[] = {5, 2};

    return (struct beam_options){.beams = beam_cases[i].beams,
                                 .stopping = beam_cases[i].stopping,
                                 .vocabulary = BEAM_V,
                                 .max_tokens = beam_cases[i].tokens,
                                 .length_penalty = beam_cases[i].penalty,
                                 .end_ids = ends,
                                 .end_count = (size_t)beam_cases[i].ends,
                                 .kernels = context->kernels};
}

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < BEAM_CASES; i++) {
        struct beam_options options = options_of(i);
        struct beam_search beam;
        int32_t ids[16];
        int64_t count;
        float score;

        assert_int_equal(search(&beam, &options), LLM_OK);
        assert_true(beam_result(&beam, beam_cases[i].index, ids, &count, &score));
        assert_int_equal(count, beam_cases[i].count);
        assert_memory_equal(ids, beam_cases[i].ids, (size_t)count * sizeof *ids);
        assert_true(fabsf(score - beam_cases[i].score) < 1e-4f);
        beam_close(&beam);
    }
}

/* One beam is greedy search; without end tokens and penalty its score is the mean. */
static void test_one_beam(void **state)
{
    struct beam_options options = {.beams = 1,
                                   .vocabulary = BEAM_V,
                                   .max_tokens = 6,
                                   .length_penalty = 1.0,
                                   .kernels = context->kernels};
    struct beam_search beam;
    int32_t ids[16];
    int64_t count;
    float score;
    int32_t last = 4;

    (void)state;
    assert_int_equal(search(&beam, &options), LLM_OK);
    assert_true(beam_result(&beam, 0, ids, &count, &score));
    assert_int_equal(count, 6);
    for (int i = 0; i < 6; i++) {
        const float *row = beam_table[(last + 3 * (i + 2)) % BEAM_V];
        int best = 0;

        for (int j = 1; j < BEAM_V; j++)
            best = row[j] > row[best] ? j : best;
        assert_int_equal(ids[i], best);
        last = best;
    }
    assert_false(beam_result(&beam, 1, ids, &count, &score));
    assert_false(beam_result(&beam, -1, ids, &count, &score));
    beam_close(&beam);
}

/* More beams than the vocabulary has continuations. */
static void test_more_beams_than_tokens(void **state)
{
    struct beam_options options = {.beams = 64,
                                   .vocabulary = 2,
                                   .max_tokens = 3,
                                   .length_penalty = 1.0,
                                   .kernels = context->kernels};
    float logits[64][2];
    struct beam_search beam;
    int32_t ids[4];
    int64_t count;
    float score;
    float last = INFINITY;

    (void)state;
    for (int b = 0; b < 64; b++) {
        logits[b][0] = 1.0f;
        logits[b][1] = 0.0f;
    }
    assert_int_equal(beam_open(&beam, &context->memory, &options), LLM_OK);
    while (!beam.is_done)
        assert_int_equal(beam_step(&beam, logits[0]), LLM_OK);
    for (int i = 0; i < 8; i++) { /* all texts of three tokens */
        assert_true(beam_result(&beam, i, ids, &count, &score));
        assert_int_equal(count, 3);
        assert_true(score <= last);
        last = score;
    }
    beam_close(&beam);
}

static void test_refusals(void **state)
{
    struct beam_options options = options_of(0);
    struct beam_search beam;
    float logits[2][BEAM_V];

    (void)state;
    for (int i = 0; i < 5; i++) {
        options = options_of(0);
        options.beams = i == 0 ? 0 : i == 1 ? BEAM_MOST + 1 : 2;
        options.max_tokens = i == 2 ? 0 : 5;
        options.length_penalty = i == 3 ? (double)NAN : 1.0;
        options.end_count = i == 4 ? BEAM_END_IDS + 1 : 1;
        assert_int_equal(beam_open(&beam, &context->memory, &options), LLM_E_RANGE);
    }
    options = options_of(0);
    assert_int_equal(beam_open(&beam, &context->memory, &options), LLM_OK);
    for (int i = 0; i < BEAM_V; i++)
        logits[0][i] = -INFINITY;
    assert_int_equal(beam_step(&beam, logits[0]), LLM_E_NUMERIC);
    logits[0][3] = NAN;
    assert_int_equal(beam_step(&beam, logits[0]), LLM_E_NUMERIC);
    assert_int_equal(beam.length, 0);
    beam_close(&beam);
    beam_close(&beam);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_one_beam),
        cmocka_unit_test(test_more_beams_than_tokens), cmocka_unit_test(test_refusals)};

    return cmocka_run_group_tests(tests, make_context, free_context);
}
