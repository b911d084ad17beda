/* SPDX-License-Identifier: MIT
 *
 * llm_session_generate(): what is drawn, why it ends, which text comes out and when. Most tests use
 * a model that recites a script, byte by byte.
 */
#include "failing_allocator.h"
#include "session_models.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = RANDOM_VOCABULARY, END = 256 };

static llm_context *context;
static llm_model *model; /* random */
static llm_tokenizer *tokenizer;

static int setup(void **state)
{
    (void)state;
    if (llm_context_new(&context, NULL) || random_model(&model, context, 1))
        return -1;
    tokenizer = byte_tokenizer(context);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    llm_context_free(context);
    return 0;
}

static llm_generate_options defaults(void)
{
    llm_generate_options options;

    assert_int_equal(llm_generate_options_init(&options, sizeof options), LLM_OK);
    return options;
}

/* A session that has read "?" and will say `script`, END standing for a 0x01 in it. */
static llm_session *reciter(const char *script, int32_t eos)
{
    int32_t ids[SCRIPT_CONTEXT] = {0};
    size_t size = strlen(script);
    llm_session *session = NULL;
    llm_model *actor;

    for (size_t i = 0; i < size; i++)
        ids[i] = script[i] == 1 ? END : (unsigned char)script[i];
    actor = script_model(context, ids, size, eos);
    assert_int_equal(llm_session_new(&session, actor, tokenizer, NULL), LLM_OK);
    llm_model_free(actor);
    assert_int_equal(llm_session_append_text(session, "?", 1, NULL), LLM_OK);
    return session;
}

static bool is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        unsigned char lead = (unsigned char)text[i];
        size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

        if (!length || i + length > size)
            return false;
        for (size_t j = 1; j < length; j++) {
            if (((unsigned char)text[i + j] & 0xC0) != 0x80)
                return false;
        }
        i += length;
    }
    return true;
}

/* What a callback saw. */
struct log {
    char text[1024];
    size_t size;
    size_t tokens;
    int32_t ids[256];
    float logprobs[256];
    size_t late;          /* bytes that have been generated but not shown, at most */
    size_t cancel_at;     /* token to cancel at, counted from 1; 0: none */
    llm_session *session; /* to try forbidden calls on */
};

static int32_t on_token(void *user, const llm_token *token)
{
    struct log *log = user;

    assert_int_equal(token->index, log->tokens);
    assert_int_equal(strlen(token->text), token->text_size);
    assert_true(is_utf8(token->text, token->text_size));
    memcpy(log->text + log->size, token->text, token->text_size);
    log->size += token->text_size;
    log->ids[log->tokens] = token->id;
    log->logprobs[log->tokens] = token->logprob;
    log->tokens++;
    if (log->tokens > log->size && log->tokens - log->size > log->late)
        log->late = log->tokens - log->size;
    if (log->session) {
        int32_t id = 1;

        assert_int_equal(llm_session_append(log->session, &id, 1), LLM_E_BUSY);
        assert_int_equal(llm_session_generate(log->session, NULL), LLM_E_BUSY);
        assert_int_equal(llm_session_reset(log->session), LLM_E_BUSY);
    }
    return log->tokens == log->cancel_at;
}

static void expect(llm_session *session, const struct log *log, const char *words, int32_t reason)
{
    size_t size = 0;
    size_t count = 0;
    const char *shown = llm_session_text(session, &size);
    const int32_t *ids = llm_session_generated(session, &count);

    assert_string_equal(shown, words);
    assert_int_equal(size, strlen(words));
    assert_int_equal(llm_session_stop_reason(session), reason);
    assert_int_equal(log->size, size);
    assert_memory_equal(log->text, shown, size);
    assert_int_equal(log->tokens, count);
    assert_memory_equal(log->ids, ids, count * sizeof *ids);
    assert_memory_equal(log->logprobs, llm_session_logprobs(session, NULL), count * sizeof(float));
    assert_memory_equal(llm_session_ids(session, NULL) + llm_session_length(session) - count, ids,
                        count * sizeof *ids);
}

struct play {
    const char *script;
    const char *stops[3];
    int64_t max_tokens;
    int32_t reason;
    const char *expected;
    int32_t stop_string;
    size_t late; /* most bytes held back at any time */
    size_t tokens;
};

static const struct play plays[] = {
    {"hello", {0}, 3, LLM_STOP_MAX_TOKENS, "hel", -1, 0, 3},
    {"hello\x01xx", {0}, 30, LLM_STOP_EOS, "hello", -1, 1, 6},
    {"h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80!\x01",
     {0},
     60,
     LLM_STOP_EOS,
     "h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80!",
     -1,
     3,
     17},
    {"ab\xe2\x82", {0}, 4, LLM_STOP_MAX_TOKENS, "ab\xef\xbf\xbd", -1, 1, 4},
    {"ab\xe2\x82zz", {0}, 6, LLM_STOP_MAX_TOKENS, "ab\xef\xbf\xbdzz", -1, 2, 6},
    {"\x80\xff ok", {0}, 5, LLM_STOP_MAX_TOKENS, "\xef\xbf\xbd\xef\xbf\xbd ok", -1, 0, 5},
    {"one\n\nUser: two", {"\n\nUser:"}, 60, LLM_STOP_STRING, "one", 0, 7, 10},
    {"one\n\nUse two", {"\n\nUser:"}, 12, LLM_STOP_MAX_TOKENS, "one\n\nUse two", -1, 5, 12},
    {"one\n\nUse", {"\n\nUser:"}, 8, LLM_STOP_MAX_TOKENS, "one\n\nUse", -1, 4, 8},
    {"one\n\nUse\x01", {"\n\nUser:"}, 30, LLM_STOP_EOS, "one\n\nUse", -1, 5, 9},
    {"aaab", {"zz", "aab"}, 30, LLM_STOP_STRING, "a", 1, 3, 4},
    {"caf\xc3\xa9s", {"\xc3\xa9"}, 30, LLM_STOP_STRING, "caf", 0, 2, 5},
    {"stop", {"s"}, 30, LLM_STOP_STRING, "", 0, 1, 1},
};

static void test_plays(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plays / sizeof plays[0]; i++) {
        const struct play *play = &plays[i];
        llm_session *session = reciter(play->script, END);
        llm_generate_options options = defaults();
        struct log log = {.session = session};

        options.max_tokens = play->max_tokens;
        options.stop_strings = play->stops;
        while (options.stop_string_count < 3 && play->stops[options.stop_string_count])
            options.stop_string_count++;
        options.on_token = on_token;
        options.on_token_user = &log;
        assert_int_equal(llm_session_generate(session, &options), LLM_OK);
        expect(session, &log, play->expected, play->reason);
        assert_int_equal(llm_session_stop_string(session), play->stop_string);
        assert_int_equal(log.late, play->late);
        assert_int_equal(log.tokens, play->tokens);
        llm_session_free(session);
    }
}

static void test_end_tokens(void **state)
{
    const int32_t stop = 'l';
    llm_session *session = reciter("hello\x01 on", END);
    llm_generate_options options = defaults();
    size_t count;

    (void)state;
    options.stop_ids = &stop;
    options.stop_id_count = 1;
    options.max_tokens = 8;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "he");
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_EOS);
    options.stop_id_count = 0;
    options.ignore_eos = 1;
    options.max_tokens = 5;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "lo o"); /* "<end>" is not shown */
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_MAX_TOKENS);
    assert_int_equal(llm_session_rewind(session, 6), LLM_OK);
    options.ignore_eos = 0;
    options.keep_special = 1;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "<end>");
    assert_int_equal(llm_session_generated(session, &count)[0], END);
    assert_int_equal(count, 1);
    llm_session_free(session);
}

static void test_context_full(void **state)
{
    llm_session *session = reciter("a", -1);
    llm_generate_options options = defaults();
    size_t count;

    (void)state;
    options.max_tokens = 0;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_CONTEXT);
    assert_int_equal(llm_session_length(session), SCRIPT_CONTEXT);
    (void)llm_session_generated(session, &count);
    assert_int_equal(count, SCRIPT_CONTEXT - 1);
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_CONTEXT);
    assert_null(llm_session_generated(session, &count));
    assert_int_equal(count, 0);
    assert_string_equal(llm_session_text(session, NULL), "");
    llm_session_free(session);
}

/* ---- drawing -----------------------------------------------------------------------------------
 */

static llm_session *random_session(void)
{
    const int32_t prompt[] = {7, 7, 99, 200, 3};
    llm_session *session = NULL;

    assert_int_equal(llm_session_new(&session, model, NULL, NULL), LLM_OK);
    assert_int_equal(llm_session_append(session, prompt, 5), LLM_OK);
    return session;
}

/* Greedy is the largest logit of the whole forward pass each time; log-probabilities are its
 * log-softmax, and `top` are the largest of them. */
static void test_greedy(void **state)
{
    llm_session *session = random_session();
    llm_generate_options options = defaults();
    float *logits = malloc(sizeof(float) * V * RANDOM_CONTEXT);
    const int32_t *ids;
    size_t length;

    (void)state;
    options.max_tokens = 30;
    options.top_logprobs = 4;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    ids = llm_session_ids(session, &length);
    assert_int_equal(length, 35);
    assert_int_equal(llm_model_logits(logits, (size_t)V * RANDOM_CONTEXT, NULL, model, ids, length),
                     LLM_OK);
    for (size_t i = 0; i < 30; i++) {
        const float *row = logits + (i + 4) * V;
        size_t count = 0;
        const llm_token_choice *top = llm_session_top(session, i, &count);
        double sum = 0.0;
        int better = 0;

        for (int j = 0; j < V; j++)
            sum += exp((double)row[j]);
        assert_int_equal(count, 4);
        assert_int_equal(top[0].id, ids[i + 5]);
        for (size_t k = 0; k < 4; k++) {
            assert_true(fabs((double)row[top[k].id] - log(sum) - (double)top[k].logprob) < 1e-3);
            assert_true(k == 0 || top[k].logprob <= top[k - 1].logprob);
        }
        for (int j = 0; j < V; j++)
            better += row[j] > row[top[3].id] + 1e-4f;
        assert_true(better <= 3);
        assert_true(top[0].logprob == llm_session_logprobs(session, NULL)[i]);
    }
    assert_null(llm_session_top(session, 30, NULL));
    free(logits);
    llm_session_free(session);
}

/* The same text whether it is generated in one call or several, after a rewind, after a cancel. */
static void test_cut_into_calls(void **state)
{
    llm_session *whole = random_session();
    llm_session *parts = random_session();
    llm_generate_options options = defaults();
    struct log log = {.cancel_at = 6};
    size_t count;

    (void)state;
    options.temperature = 1.2;
    options.top_k = 50;
    options.frequency_penalty = 0.5;
    options.repetition_penalty = 1.1;
    options.seed = 12;
    options.max_tokens = 40;
    assert_int_equal(llm_session_generate(whole, &options), LLM_OK);
    options.on_token = on_token;
    options.on_token_user = &log;
    assert_int_equal(llm_session_generate(parts, &options), LLM_E_CANCELLED);
    assert_int_equal(llm_session_stop_reason(parts), LLM_STOP_CANCELLED);
    (void)llm_session_generated(parts, &count);
    assert_int_equal(count, 6);
    options.on_token = NULL;
    options.max_tokens = 14;
    assert_int_equal(llm_session_generate(parts, &options), LLM_OK);
    options.max_tokens = 20;
    assert_int_equal(llm_session_generate(parts, &options), LLM_OK);
    assert_int_equal(llm_session_length(parts), 45);
    assert_memory_equal(llm_session_ids(parts, NULL), llm_session_ids(whole, NULL), 45 * 4);
    assert_int_equal(llm_session_rewind(parts, 15), LLM_OK);
    options.max_tokens = 30;
    assert_int_equal(llm_session_generate(parts, &options), LLM_OK);
    assert_memory_equal(llm_session_ids(parts, NULL), llm_session_ids(whole, NULL), 45 * 4);
    assert_int_equal(llm_session_rewind(parts, 5), LLM_OK);
    options.seed = 13;
    options.max_tokens = 40;
    assert_int_equal(llm_session_generate(parts, &options), LLM_OK);
    assert_memory_not_equal(llm_session_ids(parts, NULL), llm_session_ids(whole, NULL), 45 * 4);
    llm_session_free(whole);
    llm_session_free(parts);
}

static void test_bias_forbids(void **state)
{
    llm_session *session = random_session();
    llm_generate_options options = defaults();
    int32_t ids[V];
    float values[V];

    (void)state;
    for (int i = 0; i < V; i++) {
        ids[i] = i;
        values[i] = i == 123 || i == 45 ? 0.0f : -INFINITY;
    }
    options.bias_ids = ids;
    options.bias_values = values;
    options.bias_count = V;
    options.temperature = 2.0;
    options.max_tokens = 30;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    for (int i = 0; i < 30; i++) {
        int32_t id = llm_session_generated(session, NULL)[i];

        assert_true(id == 123 || id == 45);
    }
    values[123] = -INFINITY;
    values[45] = -INFINITY;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_NUMERIC);
    assert_int_equal(llm_session_length(session), 35);
    options.bias_count = 0;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    llm_session_free(session);
}

static void test_nan_weights(void **state)
{
    llm_model *broken = NULL;
    llm_session *session = NULL;
    int32_t id = 1;

    (void)state;
    assert_int_equal(random_model(&broken, context, 1), LLM_OK);
    assert_int_equal(
        llm_tensor_fill(llm_model_find_tensor(broken, "transformer.ln_f.weight"), (double)NAN),
        LLM_OK);
    assert_int_equal(llm_session_new(&session, broken, NULL, NULL), LLM_OK);
    assert_int_equal(llm_session_append(session, &id, 1), LLM_OK);
    assert_int_equal(llm_session_generate(session, NULL), LLM_E_NUMERIC);
    assert_int_equal(llm_session_length(session), 1);
    llm_session_free(session);
    llm_model_free(broken);
}

static void test_bad_options(void **state)
{
    const char *const stops[] = {"", NULL, "\xff"};
    llm_session *session = reciter("abc", END);
    llm_session *mute = random_session();
    llm_generate_options options = defaults();

    (void)state;
    options.temperature = -1.0;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "temperature"));
    options = defaults();
    options.max_tokens = -1;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    options = defaults();
    options.top_logprobs = 65;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_RANGE);
    options = defaults();
    options.stop_id_count = 1;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_INVALID);
    options = defaults();
    options.stop_string_count = 1;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_INVALID);
    for (int i = 0; i < 3; i++) {
        options.stop_strings = stops + i;
        assert_int_equal(llm_session_generate(session, &options), LLM_E_INVALID);
    }
    options.stop_strings = &plays[6].stops[0];
    assert_int_equal(llm_session_generate(mute, &options), LLM_E_INVALID); /* no tokenizer */
    assert_int_equal(llm_session_generate(mute, NULL), LLM_OK);
    assert_string_equal(llm_session_text(mute, NULL), "");
    llm_session_free(session);
    llm_session_free(mute);
}

/* ---- cancelling --------------------------------------------------------------------------------
 */

static void test_cancel_before(void **state)
{
    llm_session *session = reciter("hello", END);
    llm_generate_options options = defaults();
    const int32_t ids[2] = {'a', 'b'};

    (void)state;
    options.max_tokens = 3;
    llm_session_cancel(session);
    llm_session_cancel(session);
    assert_int_equal(llm_session_append(session, ids, 2), LLM_E_CANCELLED);
    assert_int_equal(llm_session_length(session), 3); /* the next call goes on with them */
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "llo");
    llm_session_cancel(session);
    assert_int_equal(llm_session_reset(session), LLM_OK);
    assert_int_equal(llm_session_append(session, ids, 2), LLM_OK);
    llm_session_free(session);
}

/* A character and a stop string that a cancel cuts apart: the character is put together again. */
static void test_cancel_inside_character(void **state)
{
    llm_session *session = reciter("a\xe2\x82\xac-b", END);
    llm_generate_options options = defaults();
    struct log log = {.cancel_at = 3};

    (void)state;
    options.max_tokens = 6;
    options.on_token = on_token;
    options.on_token_user = &log;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_CANCELLED);
    assert_string_equal(llm_session_text(session, NULL), "a");
    options.on_token = NULL;
    options.max_tokens = 3;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "\xe2\x82\xac-b");
    llm_session_free(session);
}

static void *cancel_in_thread(void *pointer)
{
    llm_session_cancel(pointer);
    return NULL;
}

static int32_t start_cancel(void *user, const llm_token *token)
{
    pthread_t thread;

    if (token->index == 2) {
        assert_int_equal(pthread_create(&thread, NULL, cancel_in_thread, user), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    return 0;
}

static void test_cancel_from_thread(void **state)
{
    llm_session *session = reciter("hello world", END);
    llm_generate_options options = defaults();

    (void)state;
    options.on_token = start_cancel;
    options.on_token_user = session;
    assert_int_equal(llm_session_generate(session, &options), LLM_E_CANCELLED);
    assert_string_equal(llm_session_text(session, NULL), "hel");
    assert_int_equal(llm_session_stop_reason(session), LLM_STOP_CANCELLED);
    options.on_token = NULL;
    options.max_tokens = 8;
    assert_int_equal(llm_session_generate(session, &options), LLM_OK);
    assert_string_equal(llm_session_text(session, NULL), "lo world");
    llm_session_free(session);
}

/* ---- text in -----------------------------------------------------------------------------------
 */

static void test_append_text(void **state)
{
    llm_session *session = reciter("x", END);
    llm_encode_options options;
    size_t count;

    (void)state;
    assert_int_equal(llm_session_append_text(session, "<end>", 5, NULL), LLM_OK);
    assert_int_equal(llm_session_length(session), 6); /* plain text */
    assert_int_equal(llm_encode_options_init(&options, sizeof options), LLM_OK);
    options.parse_special = 1;
    assert_int_equal(llm_session_append_text(session, "<end>", 5, &options), LLM_OK);
    assert_int_equal(llm_session_ids(session, &count)[6], END);
    assert_int_equal(count, 7);
    assert_int_equal(llm_session_append_text(session, NULL, 0, NULL), LLM_OK);
    assert_int_equal(llm_session_append_text(session, NULL, 1, NULL), LLM_E_INVALID);
    assert_int_equal(llm_session_length(session), 7);
    llm_session_free(session);
}

static llm_status text_scenario(llm_context *failing, void *user)
{
    const char *const stops[] = {"never"};
    llm_generate_options options = defaults();
    llm_tokenizer_train_options training;
    llm_tokenizer *bytes = NULL;
    llm_model *small = NULL;
    llm_session *session = NULL;
    llm_status status;

    (void)user;
    status = llm_tokenizer_train_options_init(&training, sizeof training);
    training.kind = LLM_TOKENIZER_BYTES;
    if (!status)
        status = llm_tokenizer_train(&bytes, failing, NULL, NULL, 0, &training);
    if (!status)
        status = narrow_model(&small, failing);
    if (!status)
        status = llm_session_new(&session, small, bytes, NULL);
    if (!status)
        status = llm_session_append_text(session, "some text", 9, NULL);
    options.max_tokens = 60;
    options.stop_strings = stops;
    options.stop_string_count = 1;
    options.top_logprobs = 2;
    if (!status) {
        status = llm_session_generate(session, &options);
        if (status) { /* whatever failed, it goes on from there */
            int64_t length = llm_session_length(session);
            size_t count;

            (void)llm_session_generated(session, &count);
            assert_int_equal(length, 9 + count);
            assert_true(
                is_utf8(llm_session_text(session, NULL), strlen(llm_session_text(session, NULL))));
        }
    }
    llm_session_free(session);
    llm_model_free(small);
    llm_tokenizer_free(bytes);
    return status;
}

static void test_failing_allocator(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(text_scenario, NULL, 1) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plays),
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_cut_into_calls),
        cmocka_unit_test(test_bias_forbids),
        cmocka_unit_test(test_nan_weights),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_cancel_before),
        cmocka_unit_test(test_cancel_inside_character),
        cmocka_unit_test(test_cancel_from_thread),
        cmocka_unit_test(test_append_text),
        cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
