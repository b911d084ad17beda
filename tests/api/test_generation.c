/* SPDX-License-Identifier: MIT
 *
 * llm/session.h and llm/batch.h beyond one text at a time: many sessions in one step, guessed
 * tokens, beams.
 */
#include "generation_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SESSIONS = 5, TOKENS = 20 };

/* ---- batches -----------------------------------------------------------------------------------
 */

static llm_batch *open_batch(int64_t max_tokens, int64_t step_tokens)
{
    llm_batch_options options;
    llm_batch *batch = NULL;

    assert_int_equal(llm_batch_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = max_tokens;
    options.step_tokens = step_tokens;
    assert_int_equal(llm_batch_new(&batch, model, NULL, &options), LLM_OK);
    return batch;
}

/* Prompts of five lengths, three of them beginning alike, greedy and sampled, started at different
 * times, in steps of several sizes: every text is what a session of its own makes. */
static void test_batch(void **state)
{
    const size_t lengths[SESSIONS] = {1, 37, 5, 64, 33};
    const int64_t steps[] = {1, 7, 256};

    (void)state;
    for (int size = 0; size < 3; size++) {
        llm_batch *batch = open_batch(0, steps[size]);
        llm_session *sessions[SESSIONS];
        llm_generate_options options[SESSIONS];
        int32_t expected[TOKENS];
        size_t running = 0;

        for (int i = 0; i < SESSIONS; i++) {
            options[i] = options_of(TOKENS - 2 * i);
            options[i].temperature = i % 2 ? 0.9 : 0.0;
            options[i].seed = (uint64_t)i + 1;
            assert_int_equal(llm_batch_session(&sessions[i], batch), LLM_OK);
            assert_int_equal(llm_batch_start(batch, sessions[i], text, lengths[i], &options[i]),
                             LLM_OK);
            assert_int_equal(llm_session_append(sessions[i], text, 1), LLM_E_BUSY);
            assert_int_equal(llm_batch_start(batch, sessions[i], text, 1, NULL), LLM_E_BUSY);
            for (int j = 0; j < 3; j++)
                assert_int_equal(llm_batch_step(batch, &running), LLM_OK);
        }
        assert_int_equal(llm_batch_run(batch), LLM_OK);
        assert_int_equal(llm_batch_step(batch, &running), LLM_OK);
        assert_int_equal(running, 0);
        for (int i = 0; i < SESSIONS; i++) {
            alone(expected, text, lengths[i], &options[i]);
            assert_generated(sessions[i], expected, (size_t)options[i].max_tokens);
            assert_int_equal(llm_session_stop_reason(sessions[i]), LLM_STOP_MAX_TOKENS);
        }
        /* a session goes on by itself, and in the batch again */
        assert_int_equal(llm_session_rewind(sessions[1], 37), LLM_OK);
        assert_int_equal(llm_session_generate(sessions[1], &options[1]), LLM_OK);
        alone(expected, text, 37, &options[1]);
        assert_generated(sessions[1], expected, (size_t)options[1].max_tokens);
        assert_int_equal(llm_session_rewind(sessions[1], 37), LLM_OK);
        assert_int_equal(llm_batch_start(batch, sessions[1], NULL, 0, &options[1]), LLM_OK);
        assert_int_equal(llm_batch_run(batch), LLM_OK);
        assert_generated(sessions[1], expected, (size_t)options[1].max_tokens);
        for (int i = 0; i < SESSIONS; i++) {
            if (i == 2)
                llm_batch_free(batch); /* in any order */
            llm_session_free(sessions[i]);
        }
    }
}

/* What a new session shares is not read again and not stored twice. */
static void test_shared_prefix(void **state)
{
    llm_batch *batch = open_batch(0, 256);
    llm_generate_options options = options_of(4);
    llm_session *first, *second;
    int32_t prompt[100];
    int32_t expected[4];
    size_t bytes;
    size_t page;

    (void)state;
    memcpy(prompt, text, sizeof prompt);
    prompt[98] = 7;
    assert_int_equal(llm_batch_session(&first, batch), LLM_OK);
    assert_int_equal(llm_batch_start(batch, first, text, 100, &options), LLM_OK);
    assert_int_equal(llm_batch_run(batch), LLM_OK);
    bytes = llm_session_cache_bytes(first);
    page = bytes / 4; /* 104 tokens lie in four pages of 32 */
    assert_int_equal(llm_batch_session(&second, batch), LLM_OK);
    assert_int_equal(llm_batch_start(batch, second, prompt, 100, &options), LLM_OK);
    assert_int_equal(llm_batch_run(batch), LLM_OK);
    assert_int_equal(llm_session_cache_bytes(second), bytes + page);
    alone(expected, prompt, 100, &options);
    assert_generated(second, expected, 4);
    llm_session_free(first);
    llm_session_free(second);
    llm_batch_free(batch);
}

static int32_t stop_at_three(void *user, const llm_token *token)
{
    (void)user;
    return token->index == 2;
}

/* Cancelled, stopped and failing sessions leave the others alone; a full cache can be relieved. */
static void test_batch_trouble(void **state)
{
    const float never = -INFINITY;
    llm_batch *batch = open_batch(128, 256);
    llm_session *sessions[4];
    llm_generate_options options[4];
    int32_t *all = malloc(sizeof(int32_t) * V);
    float *values = malloc(sizeof(float) * V);
    int32_t expected[TOKENS];
    size_t running;
    size_t count;

    (void)state;
    for (int i = 0; i < V; i++) {
        all[i] = i;
        values[i] = never;
    }
    for (int i = 0; i < 4; i++) {
        options[i] = options_of(TOKENS);
        assert_int_equal(llm_batch_session(&sessions[i], batch), LLM_OK);
    }
    options[1].on_token = stop_at_three;
    options[2].bias_ids = all; /* no token is left */
    options[2].bias_values = values;
    options[2].bias_count = V;
    for (int i = 0; i < 4; i++)
        assert_int_equal(llm_batch_start(batch, sessions[i], text + i, 9, &options[i]), LLM_OK);
    llm_session_cancel(sessions[3]);
    assert_int_equal(llm_batch_step(batch, &running), LLM_E_NUMERIC);
    assert_int_equal(running, 2);
    assert_int_equal(llm_session_stop_reason(sessions[2]), LLM_STOP_NONE);
    assert_int_equal(llm_session_stop_reason(sessions[3]), LLM_STOP_CANCELLED);
    assert_int_equal(llm_batch_run(batch), LLM_OK);
    assert_int_equal(llm_session_stop_reason(sessions[1]), LLM_STOP_CANCELLED);
    (void)llm_session_generated(sessions[1], &count);
    assert_int_equal(count, 3);
    alone(expected, text, 9, &options[0]);
    assert_generated(sessions[0], expected, TOKENS);

    /* four pages of 32 in all: two sessions of 60 and one of 10 do not fit */
    for (int i = 0; i < 4; i++)
        assert_int_equal(llm_session_reset(sessions[i]), LLM_OK);
    options[1] = options_of(10);
    options[2] = options_of(10);
    assert_int_equal(llm_batch_start(batch, sessions[0], text, 60, &options[2]), LLM_OK);
    assert_int_equal(llm_batch_start(batch, sessions[1], text + 1, 40, &options[1]), LLM_OK);
    assert_int_equal(llm_batch_start(batch, sessions[2], text + 2, 10, &options[2]), LLM_OK);
    assert_int_equal(llm_batch_run(batch), LLM_E_RANGE);
    assert_int_equal(llm_batch_stop(batch, sessions[1]), LLM_OK);
    assert_int_equal(llm_session_reset(sessions[1]), LLM_OK);
    assert_int_equal(llm_batch_run(batch), LLM_OK);
    alone(expected, text, 60, &options[2]);
    assert_generated(sessions[0], expected, 10);
    for (int i = 0; i < 4; i++)
        llm_session_free(sessions[i]);
    llm_batch_free(batch);
    free(all);
    free(values);
}

static void test_batch_misuse(void **state)
{
    llm_batch *batch = open_batch(0, 256);
    llm_session *other = open_session(model, NULL);
    llm_session *session = NULL;
    llm_generate_options options = options_of(1);
    llm_batch_options bad;
    const int32_t beyond = V;

    (void)state;
    assert_int_equal(llm_batch_session(&session, batch), LLM_OK);
    assert_int_equal(llm_batch_start(batch, other, text, 3, NULL), LLM_E_INVALID);
    assert_int_equal(llm_batch_stop(batch, other), LLM_E_INVALID);
    assert_int_equal(llm_batch_stop(batch, session), LLM_OK);
    assert_int_equal(llm_batch_start(batch, session, NULL, 0, NULL), LLM_E_INVALID);
    assert_int_equal(llm_batch_start(batch, session, &beyond, 1, NULL), LLM_E_RANGE);
    assert_int_equal(llm_session_length(session), 0);
    options.lookup_tokens = 3;
    assert_int_equal(llm_batch_start(batch, session, text, 3, &options), LLM_E_UNSUPPORTED);
    assert_int_equal(llm_session_append(session, text, 3), LLM_OK);
    llm_batch_free(batch);
    llm_batch_free(NULL);
    assert_int_equal(llm_session_append(session, text, 3), LLM_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(llm_batch_options_init(&bad, sizeof bad), LLM_OK);
        bad.max_tokens = i == 0 ? -1 : 0;
        bad.session_tokens = i == 1 ? RANDOM_CONTEXT + 1 : 0;
        bad.step_tokens = i == 2 ? 0 : 1;
        assert_int_equal(llm_batch_new(&batch, model, NULL, &bad), LLM_E_RANGE);
        assert_null(batch);
    }
    llm_session_free(session);
    llm_session_free(other);
}

/* ---- guessing ----------------------------------------------------------------------------------
 */

/* With guesses from the text or from a draft, good ones and bad ones, the ids are the same. */
static void test_guessing(void **state)
{
    llm_model *other = NULL;
    int32_t repeated[60];
    int32_t expected[40];

    (void)state;
    for (int i = 0; i < 60; i++)
        repeated[i] = text[i % 7];
    assert_int_equal(random_model(&other, context, 2), LLM_OK);
    for (int sampled = 0; sampled < 2; sampled++) {
        llm_generate_options options = options_of(40);

        options.temperature = sampled ? 0.8 : 0.0;
        options.repetition_penalty = sampled ? 1.1 : 1.0;
        alone(expected, repeated, 60, &options);
        for (int kind = 0; kind < 4; kind++) {
            llm_session *session = open_session(model, NULL);
            llm_session *draft = open_session(kind == 1 ? model : other, NULL);

            options.draft = kind > 0 ? draft : NULL;
            options.draft_tokens = kind == 3 ? 64 : 5;
            options.lookup_tokens = kind ? 0 : 8;
            assert_int_equal(llm_session_append(session, repeated, 60), LLM_OK);
            options.max_tokens = 15; /* in two calls */
            assert_int_equal(llm_session_generate(session, &options), LLM_OK);
            assert_generated(session, expected, 15);
            options.max_tokens = 25;
            assert_int_equal(llm_session_generate(session, &options), LLM_OK);
            assert_generated(session, expected + 15, 25);
            assert_int_equal(llm_session_length(session), 100);
            llm_session_free(session);
            llm_session_free(draft);
            options.max_tokens = 40;
        }
    }
    llm_model_free(other);
}

static void test_guessing_misuse(void **state)
{
    llm_session *session = open_session(model, NULL);
    llm_generate_options options = options_of(2);
    llm_model *script = script_model(context, text, 3, -1);
    llm_session *same_size = open_session(script, NULL);

    (void)state;
    assert_int_equal(llm_session_append(session, text, 3), LLM_OK);
    options.draft = session;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_INVALID);
    options.draft = same_size;
    options.draft_tokens = 0;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    options.draft_tokens = 65;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    options.draft_tokens = 4;
    options.lookup_tokens = -1;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    options.lookup_tokens = 0;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    llm_session_free(same_size);
    llm_session_free(session);
    llm_model_free(script);
}

/* ---- beams -------------------------------------------------------------------------------------
 */

static double log_probability(const int32_t *ids, size_t prompt, size_t count)
{
    float *logits = malloc(sizeof(float) * V * (prompt + count));
    double sum = 0.0;

    assert_int_equal(
        llm_model_logits(logits, (size_t)V * (prompt + count), NULL, model, ids, prompt + count),
        LLM_OK);
    for (size_t i = prompt; i < prompt + count; i++) {
        const float *row = logits + (i - 1) * V;
        double total = 0.0;

        for (int j = 0; j < V; j++)
            total += exp((double)row[j]);
        sum += (double)row[ids[i]] - log(total);
    }
    free(logits);
    return sum;
}

/* Scores are those of the texts; one beam is greedy; the session goes on from the best text. */
static void test_beams(void **state)
{
    llm_session *session = open_session(model, NULL);
    llm_generate_options greedy = options_of(12);
    llm_beam_options options;
    int32_t expected[12];
    int32_t whole[60];
    double last = HUGE_VAL;

    (void)state;
    assert_int_equal(llm_beam_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = 12;
    options.beams = 5;
    options.length_penalty = 0.5;
    memcpy(whole, text, 40 * sizeof *whole);
    assert_int_equal(llm_session_append(session, text, 40), LLM_OK);
    assert_int_equal(llm_session_beam_search(session, &options), LLM_OK);
    for (size_t i = 0; i < 5; i++) {
        size_t count;
        double score;
        const int32_t *ids = llm_session_beam(session, i, &count, &score);

        assert_non_null(ids);
        assert_int_equal(count, 12);
        memcpy(whole + 40, ids, count * sizeof *ids);
        assert_true(fabs(log_probability(whole, 40, count) / sqrt(12.0) - score) < 1e-3);
        assert_true(score <= last);
        last = score;
        if (i == 0)
            assert_generated(session, ids, count);
    }
    assert_null(llm_session_beam(session, 5, NULL, NULL));
    assert_int_equal(llm_session_length(session), 52);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_MAX_TOKENS);
    assert_int_equal(llm_session_generate(session, &greedy), LLM_OK);
    assert_null(llm_session_beam(session, 0, NULL, NULL));

    alone(expected, text, 40, &greedy);
    assert_int_equal(llm_session_rewind(session, 40), LLM_OK);
    options.beams = 1;
    assert_int_equal(llm_session_beam_search(session, &options), LLM_OK);
    assert_generated(session, expected, 12);

    /* the context ends: texts are as long as there is room */
    assert_int_equal(llm_session_append(session, text, RANDOM_CONTEXT - 52 - 3), LLM_OK);
    options.beams = 3;
    assert_int_equal(llm_session_beam_search(session, &options), LLM_OK);
    assert_int_equal(llm_session_length(session), RANDOM_CONTEXT);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_CONTEXT);
    assert_int_equal(llm_session_beam_search(session, &options), LLM_OK);
    assert_null(llm_session_beam(session, 0, NULL, NULL));
    llm_session_free(session);
}

static void test_beam_misuse(void **state)
{
    llm_session *session = open_session(model, NULL);
    llm_beam_options options;

    (void)state;
    assert_int_equal(llm_session_beam_search(session, NULL), LLM_E_INVALID); /* empty */
    assert_int_equal(llm_session_append(session, text, 4), LLM_OK);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(llm_beam_options_init(&options, sizeof options), LLM_OK);
        options.beams = i == 0 ? 0 : i == 1 ? 257 : 2;
        options.max_tokens = i == 2 ? 0 : 4;
        options.length_penalty = i == 3 ? (double)NAN : 1.0;
        options.stopping = i == 4 ? 3 : 0;
        options.stop_id_count = i == 5 ? 1 : 0;
        assert_int_equal(llm_session_beam_search(session, &options),
                         i == 5 ? LLM_E_INVALID : LLM_E_RANGE);
    }
    llm_session_cancel(session);
    assert_int_equal(llm_beam_options_init(&options, sizeof options), LLM_OK);
    assert_int_equal(llm_session_beam_search(session, &options), LLM_E_CANCELLED);
    assert_int_equal(llm_session_length(session), 4);
    llm_session_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),         cmocka_unit_test(test_shared_prefix),
        cmocka_unit_test(test_batch_trouble), cmocka_unit_test(test_batch_misuse),
        cmocka_unit_test(test_guessing),      cmocka_unit_test(test_guessing_misuse),
        cmocka_unit_test(test_beams),         cmocka_unit_test(test_beam_misuse),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
