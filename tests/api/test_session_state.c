/* SPDX-License-Identifier: MIT
 *
 * Grammars in generation, saved states, taking tokens out, cancelling; all of it, batches and beams
 * included, with failing allocations.
 */
#include "failing_allocator.h"
#include "generation_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- grammars ----------------------------------------------------------------------------------
 */

static llm_grammar *gbnf(const char *source)
{
    llm_grammar *grammar = NULL;

    assert_int_equal(llm_grammar_from_gbnf(&grammar, tokenizer, source, strlen(source)), LLM_OK);
    return grammar;
}

/* Whatever the model, the text follows the grammar, and calls can be cut anywhere. */
static void test_grammar(void **state)
{
    llm_grammar *grammar = gbnf("root ::= \"<\" [a-c]{3} (\"-\" [0-9]{2}){2} \">\"");
    llm_session *session = open_session(model, tokenizer);
    llm_generate_options options = options_of(0);
    char whole[64];
    int32_t match;
    size_t size;

    (void)state;
    options.grammar = grammar;
    for (uint64_t seed = 1; seed < 20; seed++) {
        options.seed = seed;
        options.temperature = seed % 3 ? 1.5 : 0.0;
        options.lookup_tokens = seed % 2 ? 4 : 0;
        options.max_tokens = 0;
        assert_int_equal(llm_session_reset(session), LLM_OK);
        assert_int_equal(llm_session_append(session, text, 30), LLM_OK);
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        assert_int_equal(llm_session_stop_reason(session), LLM_STOP_GRAMMAR);
        (void)snprintf(whole, sizeof whole, "%s", llm_session_text(session, &size));
        assert_int_equal(llm_grammar_match(&match, grammar, whole, size), LLM_OK);
        assert_int_equal(match, LLM_MATCH_COMPLETE);
        /* nothing can follow */
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        assert_int_equal(llm_session_stop_reason(session), LLM_STOP_GRAMMAR);
        assert_string_equal(llm_session_text(session, NULL), "");
        assert_int_equal(llm_session_rewind(session, 30), LLM_OK);
        options.max_tokens = 4;
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        assert_memory_equal(llm_session_text(session, NULL), whole, 4);
        options.max_tokens = 0;
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        assert_string_equal(llm_session_text(session, NULL), whole + 4);
    }
    llm_session_free(session);
    llm_grammar_free(grammar);
}

/* The end token may come where the text may end, and nowhere else. */
static void test_grammar_end(void **state)
{
    const int32_t script[] = {0, 0, 0, 256, 256, 256, 256, 256, 256};
    llm_model *reciter = script_model(context, script, 9, 256);
    llm_session *session = open_session(reciter, tokenizer);
    llm_grammar *grammar = gbnf("root ::= [x] [y] [z]*");
    llm_grammar *nothing = gbnf("root ::= \"\"");
    llm_grammar *dead_end = gbnf("root ::= \"\xc3\xa9\"");
    llm_generate_options options = options_of(0);

    (void)state;
    assert_int_equal(llm_session_append(session, text, 4), LLM_OK);
    options.grammar = grammar;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_EOS);
    assert_string_equal(llm_session_text(session, NULL), "xy");
    options.grammar = nothing;
    assert_int_equal(llm_session_append(session, text, 1), LLM_OK);
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_GRAMMAR);
    options.grammar = dead_end; /* not for a vocabulary of bytes */
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "\xc3\xa9");
    llm_grammar_free(nothing);
    llm_grammar_free(dead_end);
    llm_grammar_free(grammar);
    llm_session_free(session);
    llm_model_free(reciter);
}

static void test_grammar_misuse(void **state)
{
    llm_tokenizer *other = byte_tokenizer(context);
    llm_session *session = open_session(model, other);
    llm_grammar *grammar = gbnf("root ::= \"abc\"");
    llm_generate_options options = options_of(3);
    const int32_t x = 'x';
    uint32_t mask[16];
    size_t count = 0;
    int32_t match;

    (void)state;
    assert_int_equal(llm_session_append(session, text, 4), LLM_OK);
    options.grammar = grammar;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_INVALID);
    assert_int_equal(llm_grammar_mask(NULL, 0, &count, grammar, NULL, 0), LLM_E_BUFFER);
    assert_int_equal(count, 9); /* 257 tokens */
    assert_int_equal(llm_grammar_mask(mask, 16, NULL, grammar, &x, 1), LLM_E_RANGE);
    assert_int_equal(llm_grammar_mask(mask, 16, NULL, grammar, NULL, 0), LLM_OK);
    for (int i = 0; i < 9; i++)
        assert_int_equal(mask[i], i == 'a' / 32 ? 1u << 'a' % 32 : 0);
    assert_int_equal(llm_grammar_match(&match, grammar, NULL, 0), LLM_OK);
    assert_int_equal(match, LLM_MATCH_PARTIAL);
    llm_grammar_free(NULL);
    llm_session_free(session);
    llm_tokenizer_free(other);
    llm_grammar_free(grammar);
}

/* One grammar, sessions in threads. */
struct worker {
    llm_grammar *grammar;
    uint64_t seed;
    char result[64];
};

static void *generate_in_thread(void *pointer)
{
    struct worker *worker = pointer;
    llm_generate_options options = options_of(40);
    llm_session *session = open_session(model, tokenizer);

    options.grammar = worker->grammar;
    options.temperature = 1.0;
    options.seed = worker->seed;
    assert_int_equal(llm_session_append(session, text, 8), LLM_OK);
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    (void)snprintf(worker->result, sizeof worker->result, "%s", llm_session_text(session, NULL));
    llm_session_free(session);
    return NULL;
}

static void test_grammar_threads(void **state)
{
    struct worker workers[2][4];
    pthread_t threads[4];

    (void)state;
    for (int round = 0; round < 2; round++) {
        llm_grammar *grammar = gbnf("root ::= \"[\" (root (\",\" root)*)? \"]\"");

        for (int i = 0; i < 4; i++) {
            workers[round][i] = (struct worker){grammar, (uint64_t)i + 1, ""};
            if (round)
                assert_int_equal(
                    pthread_create(&threads[i], NULL, generate_in_thread, &workers[1][i]), 0);
            else
                (void)generate_in_thread(&workers[0][i]);
        }
        for (int i = 0; i < 4 && round; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        llm_grammar_free(grammar);
    }
    for (int i = 0; i < 4; i++)
        assert_string_equal(workers[0][i].result, workers[1][i].result);
}

/* ---- states ------------------------------------------------------------------------------------
 */

static void *save(llm_session *session, size_t *size)
{
    void *bytes;

    assert_int_equal(llm_session_save_memory(NULL, 0, size, session), LLM_E_BUFFER);
    bytes = malloc(*size);
    assert_int_equal(llm_session_save_memory(bytes, *size, size, session), LLM_OK);
    return bytes;
}

static void assert_same_logits(llm_session *a, llm_session *b)
{
    float x[V];
    float y[V];

    assert_int_equal(llm_session_logits(x, V, NULL, a), LLM_OK);
    assert_int_equal(llm_session_logits(y, V, NULL, b), LLM_OK);
    assert_memory_equal(x, y, sizeof x);
}

/* A restored session goes on with the same bits, from memory and from a file. */
static void test_state(void **state)
{
    const size_t lengths[] = {0, 1, 32, 45};
    char path[] = "/tmp/libllm-state-XXXXXX";
    int file = mkstemp(path);

    (void)state;
    assert_true(file >= 0);
    (void)close(file);
    for (int i = 0; i < 4; i++) {
        llm_session *session = open_session(model, NULL);
        llm_session *restored = open_session(model, NULL);
        llm_generate_options options = options_of(9);
        int32_t expected[9];
        size_t size;
        void *bytes;

        options.temperature = 0.7;
        assert_int_equal(llm_session_append(restored, text + 7, 50), LLM_OK);
        assert_int_equal(llm_session_append(session, text, lengths[i]), LLM_OK);
        if (i > 1)
            assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        bytes = save(session, &size);
        assert_int_equal(llm_session_save(session, path), LLM_OK);
        if (i % 2)
            assert_int_equal(llm_session_restore_memory(restored, bytes, size), LLM_OK);
        else
            assert_int_equal(llm_session_restore(restored, path), LLM_OK);
        assert_int_equal(llm_session_length(restored), llm_session_length(session));
        if (i) {
            assert_same_logits(session, restored);
            assert_int_equal(llm_session_generate(session, &options), LLM_OK);
            memcpy(expected, llm_session_generated(session, NULL), sizeof expected);
            assert_int_equal(llm_session_generate(restored, &options), LLM_OK);
            assert_generated(restored, expected, 9);
            assert_same_logits(session, restored);
        }
        free(bytes);
        llm_session_free(session);
        llm_session_free(restored);
    }
    (void)unlink(path);
    {
        llm_session *session = open_session(model, NULL);

        assert_int_equal(llm_session_restore(session, path), LLM_E_IO);
        assert_int_equal(llm_session_save(session, "/nonexistent/x"), LLM_E_IO);
        llm_session_free(session);
    }
}

/* Cut anywhere, changed anywhere, of another model, too long: refused, and nothing has changed. */
static void test_damaged_state(void **state)
{
    llm_session_options small;
    llm_model *other = NULL;
    llm_session *session = open_session(model, NULL);
    llm_session *target = open_session(model, NULL);
    llm_session *foreign;
    llm_session *tight = NULL;
    unsigned char *bytes;
    float before[V];
    float after[V];
    size_t size;

    (void)state;
    assert_int_equal(llm_session_append(session, text, 3), LLM_OK);
    assert_int_equal(llm_session_append(target, text + 5, 9), LLM_OK);
    assert_int_equal(llm_session_logits(before, V, NULL, target), LLM_OK);
    bytes = save(session, &size);
    for (size_t cut = 0; cut < size; cut += cut < 200 ? 1 : 997)
        assert_int_equal(llm_session_restore_memory(target, bytes, cut), LLM_E_FORMAT);
    for (size_t at = 0; at < size; at += at < 200 ? 1 : 997) {
        llm_status status;

        bytes[at] ^= (unsigned char)(1 << at % 8);
        status = llm_session_restore_memory(target, bytes, size);
        assert_true(status == LLM_E_FORMAT || status == LLM_E_INVALID ||
                    status == LLM_E_UNSUPPORTED);
        bytes[at] ^= (unsigned char)(1 << at % 8);
    }
    assert_int_equal(llm_session_length(target), 9);
    assert_int_equal(llm_session_logits(after, V, NULL, target), LLM_OK);
    assert_memory_equal(before, after, sizeof before);

    assert_int_equal(random_model(&other, context, 2), LLM_OK);
    foreign = open_session(other, NULL);
    assert_int_equal(llm_session_restore_memory(foreign, bytes, size), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "another model"));
    assert_int_equal(llm_session_options_init(&small, sizeof small), LLM_OK);
    small.max_tokens = 2;
    assert_int_equal(llm_session_new(&tight, model, NULL, &small), LLM_OK);
    assert_int_equal(llm_session_restore_memory(tight, bytes, size), LLM_E_RANGE);
    assert_int_equal(llm_session_restore_memory(target, bytes, size), LLM_OK);
    free(bytes);
    llm_session_free(tight);
    llm_session_free(foreign);
    llm_session_free(target);
    llm_session_free(session);
    llm_model_free(other);
}

/* ---- taking tokens out -------------------------------------------------------------------------
 */

static void test_erase(void **state)
{
    llm_session *session = open_session(model, NULL);
    llm_session *fresh = open_session(model, NULL);
    size_t count;

    (void)state;
    assert_int_equal(llm_session_append(session, text, 80), LLM_OK);
    assert_int_equal(llm_session_erase(session, 30, 25), LLM_OK);
    assert_memory_equal(llm_session_ids(session, &count), text, 30 * sizeof *text);
    assert_int_equal(count, 55);
    assert_memory_equal(llm_session_ids(session, NULL) + 30, text + 55, 25 * sizeof *text);
    assert_int_equal(llm_session_append(fresh, text, 30), LLM_OK);
    assert_int_equal(llm_session_append(fresh, text + 55, 25), LLM_OK);
    assert_same_logits(session, fresh);
    assert_int_equal(llm_session_erase(session, 0, 0), LLM_OK);
    assert_int_equal(llm_session_erase(session, -1, 2), LLM_E_RANGE);
    assert_int_equal(llm_session_erase(session, 3, -1), LLM_E_RANGE);
    assert_int_equal(llm_session_erase(session, 54, 2), LLM_E_RANGE);
    assert_int_equal(llm_session_erase(session, INT64_MAX, INT64_MAX), LLM_E_RANGE);
    assert_int_equal(llm_session_erase(session, 0, 55), LLM_OK);
    assert_int_equal(llm_session_length(session), 0);
    llm_session_free(session);
    llm_session_free(fresh);
}

/* ---- cancelling --------------------------------------------------------------------------------
 */

static void *cancel_in_thread(void *session)
{
    llm_session_cancel(session);
    return NULL;
}

/* From another thread, before or during a prompt: the work stops between two operations, and the
 * next call goes on with it. */
static void test_cancel_prompt(void **state)
{
    llm_session *whole = open_session(model, NULL);

    (void)state;
    assert_int_equal(llm_session_append(whole, text, 150), LLM_OK);
    for (int round = 0; round < 20; round++) {
        llm_session *session = open_session(model, NULL);
        llm_status status;
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, cancel_in_thread, session), 0);
        if (round % 2)
            assert_int_equal(pthread_join(thread, NULL), 0);
        status = llm_session_append(session, text, 150);
        assert_true(status == LLM_E_CANCELLED || (status == LLM_OK && round % 2 == 0));
        if (round % 2 == 0)
            assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(llm_session_length(session), 150);
        while (llm_session_logits((float[V]){0}, V, NULL, session) == LLM_E_CANCELLED)
            ;
        assert_same_logits(session, whole);
        llm_session_free(session);
    }
    llm_session_free(whole);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static llm_status scenario(llm_context *failing, void *user)
{
    static const char source[] = "root ::= \"a\" [bc]{1,4} | \"[\" root \"]\"";
    llm_model *small = NULL;
    llm_tokenizer *letters = NULL;
    llm_batch *batch = NULL;
    llm_session *sessions[2] = {NULL};
    llm_grammar *grammar = NULL;
    llm_tokenizer_train_options train;
    llm_generate_options options;
    llm_beam_options beams;
    llm_status status = llm_generate_options_init(&options, sizeof options);
    char buffer[40000];
    size_t size;

    (void)user;
    options.max_tokens = 3;
    options.temperature = 1.0;
    options.dry_multiplier = 1.0;
    if (!status)
        status = llm_tokenizer_train_options_init(&train, sizeof train);
    train.kind = LLM_TOKENIZER_BYTES;
    if (!status)
        status = llm_beam_options_init(&beams, sizeof beams);
    beams.max_tokens = 3;
    beams.beams = 2;
    if (!status)
        status = narrow_model(&small, failing);
    if (!status)
        status = llm_tokenizer_train(&letters, failing, NULL, NULL, 0, &train);
    if (!status)
        status = llm_grammar_from_gbnf(&grammar, letters, source, sizeof source - 1);
    if (!status)
        status = llm_batch_new(&batch, small, letters, NULL);
    for (int i = 0; i < 2 && !status; i++)
        status = llm_batch_session(&sessions[i], batch);
    options.grammar = grammar;
    for (size_t i = 0; i < 2 && !status; i++)
        status = llm_batch_start(batch, sessions[i], text, 5 + i, &options);
    if (!status)
        status = llm_batch_run(batch);
    options.grammar = NULL;
    options.draft = sessions[1];
    if (!status)
        status = llm_session_append(sessions[0], text, 2);
    if (!status)
        status = llm_session_generate(sessions[0], &options);
    if (!status)
        status = llm_session_beam_search(sessions[0], &beams);
    if (!status)
        status = llm_session_save_memory(buffer, sizeof buffer, &size, sessions[0]);
    if (!status)
        status = llm_session_restore_memory(sessions[1], buffer, size);
    if (!status)
        status = llm_session_erase(sessions[1], 1, 2);
    llm_session_free(sessions[0]);
    llm_batch_free(batch);
    llm_session_free(sessions[1]);
    llm_grammar_free(grammar);
    llm_tokenizer_free(letters);
    llm_model_free(small);
    return status;
}

static void test_failing_allocator(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(scenario, NULL, 1) > 100);
}

static llm_status schema_scenario(llm_context *failing, void *user)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,\"x\"]},\"b\":{\"type\":\"array\","
        "\"items\":{\"$ref\":\"#\"}},\"c\":{\"type\":\"integer\",\"minimum\":3,\"maximum\":20}},"
        "\"required\":[\"a\"]}";
    static const char pattern[] = "(a|[^b-d]{2,3})*\\d";
    llm_tokenizer_train_options train;
    llm_tokenizer *letters = NULL;
    llm_grammar *grammar = NULL;
    llm_grammar *regex = NULL;
    llm_status status = llm_tokenizer_train_options_init(&train, sizeof train);
    uint32_t mask[8];
    int32_t match;

    (void)user;
    train.kind = LLM_TOKENIZER_BYTES;
    if (!status)
        status = llm_tokenizer_train(&letters, failing, NULL, NULL, 0, &train);
    if (!status)
        status = llm_grammar_from_json_schema(&grammar, letters, schema, sizeof schema - 1);
    if (!status)
        status = llm_grammar_from_regex(&regex, letters, pattern, sizeof pattern - 1);
    if (!status)
        status = llm_grammar_match(&match, grammar, "{\"a\": 1, \"b\"", 12);
    if (!status)
        status = llm_grammar_mask(mask, 8, NULL, grammar, NULL, 0);
    if (!status)
        status = llm_grammar_mask(mask, 8, NULL, regex, NULL, 0);
    llm_grammar_free(regex);
    llm_grammar_free(grammar);
    llm_tokenizer_free(letters);
    return status;
}

static void test_failing_schema(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(schema_scenario, NULL, 1) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_grammar_end),
        cmocka_unit_test(test_grammar_misuse),
        cmocka_unit_test(test_grammar_threads),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_erase),
        cmocka_unit_test(test_cancel_prompt),
        cmocka_unit_test(test_failing_allocator),
        cmocka_unit_test(test_failing_schema),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
