/* SPDX-License-Identifier: MIT
 *
 * llm/session.h, the numbers: one token at a time equals the whole text at once; forks and rewinds
 * leave no trace; threads change nothing; misuse, freed order, failing allocator. What generation
 * makes of them is in test_session_text.c.
 */
#include "failing_allocator.h"
#include "greedy_golden.h"
#include "session_models.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = RANDOM_VOCABULARY, LONG = 100 };

static llm_context *context;
static llm_model *model;
static int32_t text[RANDOM_CONTEXT];

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOM_CONTEXT; i++)
        text[i] = (i * i * 7 + 3 * i + 11) % V;
    return llm_context_new(&context, NULL) || random_model(&model, context, 1);
}

static int teardown(void **state)
{
    (void)state;
    llm_model_free(model);
    llm_context_free(context);
    return 0;
}

static llm_session *open_session(llm_model *of, int64_t chunk)
{
    llm_session_options options;
    llm_session *session = NULL;

    assert_int_equal(llm_session_options_init(&options, sizeof options), LLM_OK);
    options.prefill_chunk = chunk;
    assert_int_equal(llm_session_new(&session, of, NULL, &options), LLM_OK);
    return session;
}

static void append(llm_session *session, const int32_t *ids, size_t count)
{
    assert_int_equal(llm_session_append(session, ids, count), LLM_OK);
}

static void read_logits(float *logits, llm_session *session)
{
    size_t count = 0;

    assert_int_equal(llm_session_logits(logits, V, &count, session), LLM_OK);
    assert_int_equal(count, V);
}

static void assert_near(const float *a, const float *b, double tolerance)
{
    for (int i = 0; i < V; i++)
        assert_true(fabs((double)a[i] - (double)b[i]) < tolerance);
}

static void assert_same(llm_session *session, const float *expected)
{
    float logits[V];

    read_logits(logits, session);
    assert_memory_equal(logits, expected, sizeof logits);
}

/* ---- against the whole forward pass ------------------------------------------------------------
 */

static void test_whole_forward(void **state)
{
    const int64_t chunks[] = {1, 3, 32, 64, 4096};
    float *whole = malloc(sizeof(float) * V * LONG);
    float logits[V];

    (void)state;
    assert_int_equal(llm_model_logits(whole, (size_t)V * LONG, NULL, model, text, LONG), LLM_OK);
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        llm_session *session = open_session(model, chunks[c]);

        append(session, text, LONG);
        read_logits(logits, session);
        assert_near(logits, whole + (size_t)(LONG - 1) * V, 1e-4);
        assert_int_equal(llm_session_length(session), LONG);
        llm_session_free(session);
    }
    free(whole);
}

static void test_one_by_one(void **state)
{
    float *whole = malloc(sizeof(float) * V * LONG);
    llm_session *session = open_session(model, 256);
    float logits[V];

    (void)state;
    assert_int_equal(llm_model_logits(whole, (size_t)V * LONG, NULL, model, text, LONG), LLM_OK);
    for (size_t i = 0; i < LONG; i++) {
        append(session, text + i, 1);
        read_logits(logits, session);
        assert_near(logits, whole + i * V, 1e-4);
    }
    llm_session_free(session);
    free(whole);
}

/* ---- going back and branching off --------------------------------------------------------------
 */

static void test_rewind(void **state)
{
    llm_session *session = open_session(model, 16);
    llm_session *fresh = open_session(model, 16);
    float at_40[V];
    float at_70[V];

    (void)state;
    append(session, text, 40);
    read_logits(at_40, session);
    append(session, text + 40, 30);
    read_logits(at_70, session);
    assert_int_equal(llm_session_rewind(session, 40), LLM_OK);
    assert_int_equal(llm_session_length(session), 40);
    append(session, text + 3, 50); /* something else over the same pages */
    assert_int_equal(llm_session_rewind(session, 40), LLM_OK);
    append(session, text + 40, 30);
    assert_same(session, at_70);
    assert_int_equal(llm_session_rewind(session, 70), LLM_OK); /* nothing to forget */
    assert_same(session, at_70);

    /* without an append the last token is run again, by itself */
    assert_int_equal(llm_session_rewind(session, 40), LLM_OK);
    append(fresh, text, 32); /* in chunks of 16 as above */
    append(fresh, text + 32, 8);
    assert_same(fresh, at_40);
    assert_int_equal(llm_session_rewind(fresh, 39), LLM_OK);
    append(fresh, text + 39, 1);
    read_logits(at_40, fresh);
    assert_same(session, at_40);

    assert_int_equal(llm_session_rewind(session, 41), LLM_E_RANGE);
    assert_int_equal(llm_session_rewind(session, -1), LLM_E_RANGE);
    assert_int_equal(llm_session_reset(session), LLM_OK);
    assert_int_equal(llm_session_length(session), 0);
    append(session, text, 40);
    append(session, text + 40, 30);
    assert_same(session, at_70);
    llm_session_free(session);
    llm_session_free(fresh);
}

static void test_fork(void **state)
{
    llm_session *root = open_session(model, 256);
    llm_session *fork[3] = {NULL};
    float expected[3][V];
    float at_root[V];
    size_t bytes;
    size_t count;

    (void)state;
    append(root, text, 45);
    for (int i = 0; i < 3; i++) {
        append(root, text + 50 + i, 20);
        read_logits(expected[i], root);
        assert_int_equal(llm_session_rewind(root, 45), LLM_OK);
    }
    read_logits(at_root, root);
    bytes = llm_session_cache_bytes(root);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(llm_session_fork(&fork[i], i < 2 ? root : fork[0]), LLM_OK);
        assert_same(fork[i], at_root);
        assert_memory_equal(llm_session_ids(fork[i], &count), text, 45 * sizeof *text);
        assert_int_equal(count, 45);
    }
    assert_int_equal(llm_session_cache_bytes(root), bytes);
    for (int i = 0; i < 3; i++)
        append(fork[i], text + 50 + i, 20);
    append(root, text + 90, 60);
    for (int i = 0; i < 3; i++)
        assert_same(fork[i], expected[i]);
    llm_session_free(root);
    llm_session_free(fork[1]);
    append(fork[0], text, 10);
    assert_same(fork[2], expected[2]);
    llm_session_free(fork[0]);
    assert_same(fork[2], expected[2]);
    llm_session_free(fork[2]);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

static void run_with(float *logits, int32_t *ids, size_t count, int32_t threads)
{
    llm_context_options options;
    llm_generate_options generate;
    llm_context *own = NULL;
    llm_model *copy = NULL;
    llm_session *session;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = threads;
    assert_int_equal(llm_context_new(&own, &options), LLM_OK);
    assert_int_equal(random_model(&copy, own, 5), LLM_OK);
    session = open_session(copy, 64);
    append(session, text, LONG);
    assert_int_equal(llm_generate_options_init(&generate, sizeof generate), LLM_OK);
    generate.max_tokens = (int64_t)count;
    generate.temperature = 0.8;
    generate.top_p = 0.9;
    assert_int_equal(llm_session_generate(session, &generate), LLM_OK);
    memcpy(ids, llm_session_generated(session, NULL), count * sizeof *ids);
    read_logits(logits, session);
    llm_session_free(session);
    llm_model_free(copy);
    llm_context_free(own);
}

static void test_thread_counts(void **state)
{
    float logits[3][V];
    int32_t ids[3][20];

    (void)state;
    for (int32_t i = 0; i < 3; i++)
        run_with(logits[i], ids[i], 20, i + 1);
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(ids[i], ids[0], sizeof ids[0]);
        assert_memory_equal(logits[i], logits[0], sizeof logits[0]);
    }
}

struct worker {
    llm_session *session;
    int32_t ids[40];
    llm_status status;
};

static void *generate_in_thread(void *pointer)
{
    struct worker *worker = pointer;
    llm_generate_options options;

    worker->status = llm_generate_options_init(&options, sizeof options);
    options.max_tokens = 40;
    options.temperature = 1.0;
    if (!worker->status)
        worker->status = llm_session_generate(worker->session, &options);
    if (!worker->status)
        memcpy(worker->ids, llm_session_generated(worker->session, NULL), sizeof worker->ids);
    return NULL;
}

/* Four sessions on one model, two of them forked from one another, each in its own thread. */
static void test_sessions_in_threads(void **state)
{
    struct worker alone[4];
    struct worker together[4];
    pthread_t threads[4];

    (void)state;
    for (int round = 0; round < 2; round++) {
        struct worker *workers = round ? together : alone;

        for (int i = 0; i < 3; i++) {
            workers[i].session = open_session(model, 256);
            append(workers[i].session, text + 10 * i, 37);
        }
        assert_int_equal(llm_session_fork(&workers[3].session, workers[2].session), LLM_OK);
        for (int i = 0; i < 4; i++) {
            if (round)
                assert_int_equal(pthread_create(&threads[i], NULL, generate_in_thread, &workers[i]),
                                 0);
            else
                (void)generate_in_thread(&workers[i]);
        }
        for (int i = 0; i < 4; i++) {
            if (round)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(workers[i].status, LLM_OK);
            llm_session_free(workers[i].session);
        }
    }
    for (int i = 0; i < 4; i++)
        assert_memory_equal(alone[i].ids, together[i].ids, sizeof alone[i].ids);
    assert_memory_equal(alone[2].ids, alone[3].ids, sizeof alone[2].ids);
    assert_memory_not_equal(alone[0].ids, alone[1].ids, sizeof alone[0].ids);
}

/* ---- limits and misuse -------------------------------------------------------------------------
 */

static void test_limits(void **state)
{
    const int32_t bad[] = {5, V, -1};
    llm_session_options options;
    llm_session *session;
    float expected[V];
    float small[4];
    size_t count = 0;

    (void)state;
    assert_int_equal(llm_session_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = 50;
    assert_int_equal(llm_session_new(&session, model, NULL, &options), LLM_OK);
    assert_int_equal(llm_session_logits(expected, V, NULL, session), LLM_E_INVALID); /* empty */
    assert_int_equal(llm_session_generate(session, NULL), LLM_E_INVALID);
    append(session, text, 48);
    read_logits(expected, session);
    assert_int_equal(llm_session_append(session, bad, 2), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "ids[1] is 300"));
    assert_int_equal(llm_session_append(session, bad + 2, 1), LLM_E_RANGE);
    assert_int_equal(llm_session_append(session, text, 3), LLM_E_RANGE);
    assert_int_equal(llm_session_append(session, text, SIZE_MAX), LLM_E_RANGE);
    assert_int_equal(llm_session_append(session, NULL, 0), LLM_OK);
    assert_int_equal(llm_session_length(session), 48);
    assert_same(session, expected);
    assert_int_equal(llm_session_logits(small, 4, &count, session), LLM_E_BUFFER);
    assert_int_equal(llm_session_logits(NULL, 0, &count, session), LLM_E_BUFFER);
    assert_int_equal(count, V);
    append(session, text, 2);
    assert_int_equal(llm_session_append(session, text, 1), LLM_E_RANGE);
    assert_int_equal(llm_session_append_text(session, "x", 1, NULL), LLM_E_INVALID);
    llm_session_free(session);
    llm_session_free(NULL);
    llm_session_cancel(NULL);

    options.max_tokens = RANDOM_CONTEXT + 1;
    assert_int_equal(llm_session_new(&session, model, NULL, &options), LLM_E_RANGE);
    assert_null(session);
    options.max_tokens = 0;
    options.prefill_chunk = 0;
    assert_int_equal(llm_session_new(&session, model, NULL, &options), LLM_E_RANGE);
}

/* Options of a later library with something set there are refused, with zeros they are taken. */
static void test_options_size(void **state)
{
    struct {
        llm_generate_options known;
        int64_t unknown;
    } options;
    llm_session *session = open_session(model, 256);

    (void)state;
    append(session, text, 2);
    assert_int_equal(llm_generate_options_init(&options.known, sizeof options), LLM_OK);
    options.known.max_tokens = 1;
    assert_int_equal(llm_session_generate(session, &options.known), LLM_OK);
    options.unknown = 1;
    assert_int_equal(llm_session_generate(session, &options.known), LLM_E_INVALID);
    options.known.struct_size = 3;
    assert_int_equal(llm_session_generate(session, &options.known), LLM_E_INVALID);
    llm_session_free(session);
}

static void test_freed_order(void **state)
{
    llm_context *own = NULL;
    llm_model *mine = NULL;
    llm_tokenizer *tokenizer;
    llm_session *session = NULL;
    llm_session *fork = NULL;

    (void)state;
    assert_int_equal(llm_context_new(&own, NULL), LLM_OK);
    assert_int_equal(random_model(&mine, own, 3), LLM_OK);
    tokenizer = byte_tokenizer(own);
    assert_int_equal(llm_session_new(&session, mine, tokenizer, NULL), LLM_OK);
    llm_context_free(own);
    llm_model_free(mine);
    llm_tokenizer_free(tokenizer);
    assert_int_equal(llm_session_append_text(session, "abc", 3, NULL), LLM_OK);
    assert_int_equal(llm_session_fork(&fork, session), LLM_OK);
    llm_session_free(session);
    assert_int_equal(llm_session_generate(fork, NULL), LLM_OK);
    llm_session_free(fork);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static llm_status scenario(llm_context *failing, void *user)
{
    llm_model *small = NULL;
    llm_session *session = NULL;
    llm_session *fork = NULL;
    llm_generate_options options;
    llm_status status;

    (void)user;
    status = llm_generate_options_init(&options, sizeof options);
    if (!status)
        status = narrow_model(&small, failing);
    if (!status)
        status = llm_session_new(&session, small, NULL, NULL);
    if (!status)
        status = llm_session_append(session, text, 31);
    options.max_tokens = 4;
    options.temperature = 1.0;
    options.top_logprobs = 3;
    if (!status)
        status = llm_session_generate(session, &options);
    if (!status)
        status = llm_session_fork(&fork, session);
    if (!status)
        status = llm_session_append(fork, text, 40);
    llm_session_free(session);
    llm_session_free(fork);
    llm_model_free(small);
    return status;
}

static void test_failing_allocator(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(scenario, NULL, 1) > 50);
}

/* What a failed append leaves is what was there before it. */
static void test_failed_append(void **state)
{
    llm_context_options options;
    llm_context *limited = NULL;
    llm_model *mine = NULL;
    llm_session *session;
    uint64_t used;
    float expected[V];

    (void)state;
    assert_int_equal(llm_context_new(&limited, NULL), LLM_OK);
    assert_int_equal(random_model(&mine, limited, 1), LLM_OK);
    session = open_session(mine, 256);
    append(session, text, 20);
    assert_int_equal(llm_context_memory(&used, NULL, limited), LLM_OK);
    llm_session_free(session);
    llm_model_free(mine);
    llm_context_free(limited);

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.memory_limit = used + 20000; /* not enough for 120 more tokens */
    assert_int_equal(llm_context_new(&limited, &options), LLM_OK);
    assert_int_equal(random_model(&mine, limited, 1), LLM_OK);
    session = open_session(mine, 256);
    append(session, text, 20);
    read_logits(expected, session);
    assert_int_equal(llm_session_append(session, text, 120), LLM_E_NOMEM);
    assert_int_equal(llm_session_length(session), 20);
    assert_same(session, expected);
    append(session, text + 20, 1);
    llm_session_free(session);
    llm_model_free(mine);
    llm_context_free(limited);
}

static long allocations;

static void *counted_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    allocations++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void counted_release(void *user, void *pointer, size_t size)
{
    (void)user;
    (void)size;
    free(pointer);
}

/* After the first tokens, decoding allocates nothing but a page for every 32 of them. */
static void test_steady_memory(void **state)
{
    llm_context_options options;
    llm_generate_options generate;
    llm_context *counted = NULL;
    llm_model *mine = NULL;
    llm_session *session;
    long before;

    (void)state;
    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.alloc = counted_alloc;
    options.release = counted_release;
    assert_int_equal(llm_context_new(&counted, &options), LLM_OK);
    assert_int_equal(random_model(&mine, counted, 1), LLM_OK);
    session = open_session(mine, 256);
    append(session, text, 20);
    assert_int_equal(llm_generate_options_init(&generate, sizeof generate), LLM_OK);
    generate.temperature = 1.0;
    generate.top_logprobs = 2;
    generate.max_tokens = 100;
    assert_int_equal(llm_session_generate(session, &generate), LLM_OK);
    assert_int_equal(llm_session_rewind(session, 20), LLM_OK);
    before = allocations;
    assert_int_equal(llm_session_generate(session, &generate), LLM_OK);
    assert_int_equal(allocations, before); /* the second time even the pages are there */
    llm_session_free(session);
    llm_model_free(mine);
    llm_context_free(counted);
}

/* ---- published numbers -------------------------------------------------------------------------
 */

static void check_greedy(llm_session *session, const int32_t *ids, size_t given, size_t count)
{
    llm_generate_options options;

    assert_int_equal(llm_session_reset(session), LLM_OK);
    append(session, ids, given);
    assert_int_equal(llm_generate_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = (int64_t)(count - given);
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_memory_equal(llm_session_ids(session, NULL), ids, count * sizeof *ids);
}

/* A random GPT-2 of Hugging Face's, with the greedy texts that ONNX Runtime's tests expect. */
static void test_reference_model(void **state)
{
    static const int32_t expected[2][10] = {{0, 0, 0, 52, 204, 204, 204, 204, 204, 204},
                                            {0, 0, 195, 731, 731, 114, 114, 114, 114, 114}};
    const char *data = getenv("LLM_TEST_DATA");
    llm_model *reference = NULL;
    llm_session *session;
    char path[1024];

    (void)state;
    if (!data || !*data) {
        print_message("SKIPPED: LLM_TEST_DATA is not set\n");
        skip();
    }
    (void)snprintf(path, sizeof path, "%s/tiny-random-gpt2", data);
    assert_int_equal(llm_model_load(&reference, context, path, NULL), LLM_OK);
    session = open_session(reference, 256);
    for (int i = 0; i < 2; i++)
        check_greedy(session, expected[i], 4, 10);
    llm_session_free(session);
    llm_model_free(reference);
}

/* Greedy texts of transformers, with and without repetition penalty. */
static void test_transformers_greedy(void **state)
{
    const char *golden = getenv("LLM_TEST_GOLDEN");

    (void)state;
    assert_non_null(golden);
    for (size_t i = 0; i < sizeof greedy_rows / sizeof greedy_rows[0]; i++) {
        const struct greedy_row *row = &greedy_rows[i];
        llm_generate_options options;
        llm_model *small = NULL;
        llm_session *session;
        char path[1024];

        (void)snprintf(path, sizeof path, "%s/%s", golden, row->model);
        assert_int_equal(llm_model_load(&small, context, path, NULL), LLM_OK);
        session = open_session(small, 4);
        append(session, row->ids, (size_t)row->prompt);
        assert_int_equal(llm_generate_options_init(&options, sizeof options), LLM_OK);
        options.repetition_penalty = row->repetition_penalty;
        options.ignore_eos = 1;
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        assert_int_equal(llm_session_stop_reason(session), LLM_STOP_CONTEXT);
        assert_int_equal(llm_session_length(session), GREEDY_LENGTH);
        assert_memory_equal(llm_session_ids(session, NULL), row->ids, sizeof row->ids);
        llm_session_free(session);
        llm_model_free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_forward),   cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_rewind),          cmocka_unit_test(test_fork),
        cmocka_unit_test(test_thread_counts),   cmocka_unit_test(test_sessions_in_threads),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_options_size),
        cmocka_unit_test(test_freed_order),     cmocka_unit_test(test_failing_allocator),
        cmocka_unit_test(test_failed_append),   cmocka_unit_test(test_steady_memory),
        cmocka_unit_test(test_reference_model), cmocka_unit_test(test_transformers_greedy),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
