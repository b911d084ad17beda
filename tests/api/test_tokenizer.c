/* SPDX-License-Identifier: MIT
 *
 * Tokenizers through the public header: every function used, misused, and run out of memory.
 */
#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char story[] =
    "Once upon a time there was a time, and the time was the time of times. "
    "We're 1234 \xC3\xA9t\xC3\xA9s late: don't wait!\n\n  The end.\n";
static const char *const special[] = {"<|endoftext|>", "<pad>"};

static llm_status train(llm_tokenizer **out, llm_context *context, int32_t kind)
{
    llm_tokenizer_train_options options;
    const char *texts[2] = {story, "another time"};
    size_t sizes[2] = {sizeof story - 1, 12};
    llm_status status = llm_tokenizer_train_options_init(&options, sizeof options);

    if (status)
        return status;
    options.kind = kind;
    options.vocab_size = 290;
    options.special_tokens = special;
    options.special_count = 2;
    return llm_tokenizer_train(out, context, texts, sizes, 2, &options);
}

static llm_tokenizer *make(int32_t kind)
{
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;

    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    if (train(&tokenizer, context, kind))
        fail_msg("%s", llm_last_error());
    llm_context_free(context); /* the tokenizer keeps it */
    return tokenizer;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int32_t kind = LLM_TOKENIZER_BPE; kind <= LLM_TOKENIZER_BYTES; kind++) {
        llm_tokenizer *tokenizer = make(kind);
        int32_t ids[256];
        char text[256];
        size_t count;
        size_t size;

        assert_int_equal(llm_tokenizer_kind(tokenizer), kind);
        assert_true(sizeof story - 1 <= llm_tokenizer_max_tokens(tokenizer, sizeof story - 1));
        assert_int_equal(
            llm_tokenizer_encode(ids, 256, &count, tokenizer, story, sizeof story - 1, NULL),
            LLM_OK);
        assert_true(count > 0 && count < sizeof story);
        assert_int_equal(
            llm_tokenizer_decode(text, sizeof text, &size, tokenizer, ids, count, NULL), LLM_OK);
        assert_int_equal(size, sizeof story - 1);
        assert_memory_equal(text, story, size);
        assert_int_equal(llm_tokenizer_encode(ids, 256, &count, tokenizer, NULL, 0, NULL), LLM_OK);
        assert_int_equal(count, 0);
        llm_tokenizer_free(tokenizer);
    }
    llm_tokenizer_free(NULL);
}

/* Buffers of every size: the needed size comes back, and nothing is written past the end. */
static void test_buffers(void **state)
{
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BPE);
    int32_t ids[256];
    int32_t small[256];
    char text[256];
    size_t needed;
    size_t count;
    size_t size;

    (void)state;
    assert_int_equal(
        llm_tokenizer_encode(NULL, 0, &needed, tokenizer, story, sizeof story - 1, NULL),
        LLM_E_BUFFER);
    assert_int_equal(
        llm_tokenizer_encode(ids, needed, &count, tokenizer, story, sizeof story - 1, NULL),
        LLM_OK);
    assert_int_equal(count, needed);
    for (size_t capacity = 0; capacity < needed; capacity++) {
        for (size_t i = 0; i < 256; i++)
            small[i] = -7;
        assert_int_equal(
            llm_tokenizer_encode(small, capacity, &count, tokenizer, story, sizeof story - 1, NULL),
            LLM_E_BUFFER);
        assert_int_equal(count, needed);
        for (size_t i = capacity; i < 256; i++)
            assert_int_equal(small[i], -7);
    }
    for (size_t capacity = 0; capacity < sizeof story - 1; capacity += 7) {
        memset(text, 'X', sizeof text);
        assert_int_equal(llm_tokenizer_decode(text, capacity, &size, tokenizer, ids, needed, NULL),
                         LLM_E_BUFFER);
        assert_int_equal(size, sizeof story - 1);
        assert_int_equal(text[capacity], 'X');
    }
    memset(text, 'X', sizeof text);
    assert_int_equal(
        llm_tokenizer_decode(text, sizeof story - 1, &size, tokenizer, ids, needed, NULL), LLM_OK);
    assert_int_equal(text[sizeof story - 1], 'X');
    llm_tokenizer_free(tokenizer);
}

static void test_special(void **state)
{
    static const char text[] = "end<|endoftext|>start";
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BPE);
    llm_encode_options encode;
    llm_decode_options decode;
    int32_t ids[64];
    char back[64];
    size_t plain;
    size_t count;
    size_t size;

    (void)state;
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_EOS), 0);
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_PAD), 1);
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_UNK), -1);
    assert_int_equal(llm_tokenizer_special(tokenizer, 99), -1);
    assert_int_equal(llm_tokenizer_special(NULL, LLM_TOKEN_EOS), -1);
    assert_int_equal(llm_tokenizer_is_special(tokenizer, 0), 1);
    assert_int_equal(llm_tokenizer_is_special(tokenizer, 5), 0);
    assert_int_equal(llm_tokenizer_is_special(tokenizer, -1), 0);
    assert_int_equal(llm_tokenizer_encode(ids, 64, &plain, tokenizer, text, sizeof text - 1, NULL),
                     LLM_OK);
    for (size_t i = 0; i < plain; i++)
        assert_int_not_equal(ids[i], 0); /* text stays text unless asked */
    assert_int_equal(llm_encode_options_init(&encode, sizeof encode), LLM_OK);
    encode.parse_special = 1;
    assert_int_equal(
        llm_tokenizer_encode(ids, 64, &count, tokenizer, text, sizeof text - 1, &encode), LLM_OK);
    assert_true(count < plain);
    assert_int_equal(llm_decode_options_init(&decode, sizeof decode), LLM_OK);
    decode.skip_special = 1;
    assert_int_equal(llm_tokenizer_decode(back, 64, &size, tokenizer, ids, count, &decode), LLM_OK);
    assert_int_equal(size, 8);
    assert_memory_equal(back, "endstart", 8);
    encode.parse_special = 2;
    assert_int_equal(llm_tokenizer_encode(ids, 64, &count, tokenizer, text, 3, &encode),
                     LLM_E_INVALID);
    decode.replace_invalid = -1;
    assert_int_equal(llm_tokenizer_decode(back, 64, &size, tokenizer, ids, count, &decode),
                     LLM_E_INVALID);
    llm_tokenizer_free(tokenizer);
}

static void test_tokens(void **state)
{
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BPE);
    const char *text = NULL;
    size_t size;
    int32_t id;

    (void)state;
    for (int32_t i = 0; i < llm_tokenizer_vocab_size(tokenizer); i++) {
        assert_int_equal(llm_tokenizer_token_text(&text, &size, tokenizer, i), LLM_OK);
        assert_true(size > 0);
        assert_int_equal(text[size], '\0');
        assert_int_equal(llm_tokenizer_token_id(&id, tokenizer, text, size), LLM_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(llm_tokenizer_token_text(&text, NULL, tokenizer, -1), LLM_E_RANGE);
    assert_null(text);
    assert_int_equal(llm_tokenizer_token_text(&text, &size, tokenizer, 100000), LLM_E_RANGE);
    assert_int_equal(llm_tokenizer_token_id(&id, tokenizer, "no such token", 13), LLM_E_RANGE);
    assert_int_equal(id, -1);
    id = 100000;
    assert_int_equal(llm_tokenizer_decode(NULL, 0, &size, tokenizer, &id, 1, NULL), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "100000"));
    assert_int_equal(llm_tokenizer_vocab_size(NULL), 0);
    assert_int_equal(llm_tokenizer_kind(NULL), 0);
    assert_int_equal(llm_tokenizer_max_tokens(NULL, 7), 0);
    llm_tokenizer_free(tokenizer);
}

static void test_offsets_and_batch(void **state)
{
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BPE);
    const char *texts[3] = {story, "", "times"};
    size_t sizes[3] = {sizeof story - 1, 0, 5};
    size_t starts[4];
    int32_t ids[256];
    int32_t batch[512];
    size_t begins[256];
    size_t ends[256];
    size_t count;

    (void)state;
    assert_int_equal(llm_tokenizer_encode_offsets(ids, begins, ends, 256, &count, tokenizer, story,
                                                  sizeof story - 1, NULL),
                     LLM_OK);
    assert_int_equal(begins[0], 0);
    assert_int_equal(ends[count - 1], sizeof story - 1);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(begins[i], ends[i - 1]);
    assert_int_equal(
        llm_tokenizer_encode_batch(batch, 512, starts, tokenizer, texts, sizes, 3, NULL), LLM_OK);
    assert_int_equal(starts[1], count);
    assert_memory_equal(batch, ids, count * sizeof *ids);
    assert_int_equal(starts[2], starts[1]);
    assert_true(starts[3] > starts[2]);
    count = starts[3];
    assert_int_equal(llm_tokenizer_encode_batch(NULL, 0, starts, tokenizer, texts, sizes, 3, NULL),
                     LLM_E_BUFFER);
    assert_int_equal(starts[3], count);
    assert_int_equal(llm_tokenizer_encode_batch(NULL, 0, starts, tokenizer, NULL, NULL, 0, NULL),
                     LLM_OK);
    assert_int_equal(starts[0], 0);
    texts[1] = NULL;
    assert_int_equal(
        llm_tokenizer_encode_batch(batch, 512, starts, tokenizer, texts, sizes, 3, NULL),
        LLM_E_INVALID);
    llm_tokenizer_free(tokenizer);
}

/* Each push gives whole characters; the pieces make the text. */
static void test_stream(void **state)
{
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BYTES);
    llm_decoder *decoder = NULL;
    const char *text;
    char joined[256];
    size_t size;
    size_t at = 0;

    (void)state;
    assert_int_equal(llm_decoder_new(&decoder, tokenizer, NULL), LLM_OK);
    llm_tokenizer_free(tokenizer); /* the decoder keeps it */
    for (size_t i = 0; i < sizeof story - 1; i++) {
        assert_int_equal(llm_decoder_push(decoder, (unsigned char)story[i], &text, &size), LLM_OK);
        if ((unsigned char)story[i] == 0xC3)
            assert_int_equal(size, 0);
        assert_int_equal(strlen(text), size);
        memcpy(joined + at, text, size);
        at += size;
    }
    assert_int_equal(at, sizeof story - 1);
    assert_memory_equal(joined, story, at);
    assert_int_equal(llm_decoder_push(decoder, 0xE4, &text, &size), LLM_OK);
    assert_int_equal(size, 0);
    assert_int_equal(llm_decoder_push(decoder, 100000, &text, NULL), LLM_E_RANGE);
    assert_int_equal(llm_decoder_push(decoder, 0xB8, &text, NULL), LLM_OK);
    assert_int_equal(llm_decoder_finish(decoder, &text, &size), LLM_OK);
    assert_string_equal(text, "\xEF\xBF\xBD");
    assert_int_equal(llm_decoder_finish(decoder, &text, &size), LLM_OK);
    assert_int_equal(size, 0);
    assert_int_equal(llm_decoder_push(decoder, 0xE4, &text, &size), LLM_OK);
    assert_int_equal(llm_decoder_push(decoder, 'a', &text, &size), LLM_OK);
    assert_string_equal(text, "\xEF\xBF\xBD"
                              "a");
    assert_int_equal(llm_decoder_push(decoder, 256, &text, &size), LLM_OK);
    assert_string_equal(text, "<|endoftext|>");
    llm_decoder_free(decoder);
    llm_decoder_free(NULL);
}

static void test_save_and_load(void **state)
{
    static const char folder[] = "test_tokenizer_folder";
    llm_tokenizer *tokenizer = make(LLM_TOKENIZER_BPE);
    llm_tokenizer *other = NULL;
    llm_context *context = NULL;
    char *json;
    size_t size;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(llm_tokenizer_save(tokenizer, folder), LLM_OK);
    assert_int_equal(llm_tokenizer_load(&other, context, folder), LLM_OK);
    assert_int_equal(llm_tokenizer_vocab_size(other), llm_tokenizer_vocab_size(tokenizer));
    assert_int_equal(llm_tokenizer_special(other, LLM_TOKEN_PAD), 1);
    llm_tokenizer_free(other);
    assert_int_equal(unlink("test_tokenizer_folder/tokenizer_config.json"), 0);
    assert_int_equal(llm_tokenizer_load(&other, context, "test_tokenizer_folder/tokenizer.json"),
                     LLM_OK);
    llm_tokenizer_free(other);
    assert_int_equal(unlink("test_tokenizer_folder/tokenizer.json"), 0);
    assert_int_equal(llm_tokenizer_load(&other, context, folder), LLM_E_IO);
    assert_null(other);
    assert_int_equal(llm_tokenizer_save(tokenizer, "no/such/folder/x.json"), LLM_E_IO);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(llm_tokenizer_save_memory(NULL, 0, &size, tokenizer), LLM_E_BUFFER);
    json = malloc(size);
    assert_non_null(json);
    assert_int_equal(llm_tokenizer_save_memory(json, size, &size, tokenizer), LLM_OK);
    assert_int_equal(llm_tokenizer_load_memory(&other, context, json, size), LLM_OK);
    llm_tokenizer_free(other);
    free(json);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

/* Train, save, load, encode with offsets and in a batch, decode, stream. */
static llm_status live_a_life(llm_context *context, void *user)
{
    llm_tokenizer *tokenizer = NULL;
    llm_tokenizer *loaded = NULL;
    llm_decoder *decoder = NULL;
    const char *texts[2] = {story, story};
    size_t sizes[2] = {sizeof story - 1, 9};
    size_t starts[3];
    int32_t ids[512];
    size_t begins[256];
    size_t ends[256];
    char *json = NULL;
    char text[512];
    const char *piece;
    size_t count = 0;
    size_t size = 0;
    llm_status status = train(&tokenizer, context, *(const int32_t *)user);

    if (!status) {
        status = llm_tokenizer_save_memory(NULL, 0, &size, tokenizer);
        status = status == LLM_E_BUFFER ? LLM_OK : status;
    }
    if (!status)
        json = malloc(size);
    if (json)
        status = llm_tokenizer_save_memory(json, size, &size, tokenizer);
    if (!status)
        status = llm_tokenizer_load_memory(&loaded, context, json, size);
    if (!status)
        status = llm_tokenizer_encode_batch(ids, 512, starts, loaded, texts, sizes, 2, NULL);
    if (!status)
        status = llm_tokenizer_encode_offsets(ids, begins, ends, 256, &count, loaded, story,
                                              sizeof story - 1, NULL);
    if (!status)
        status = llm_tokenizer_encode(NULL, 0, &count, loaded, story, sizeof story - 1, NULL);
    status = status == LLM_E_BUFFER ? LLM_OK : status;
    if (!status)
        status = llm_tokenizer_decode(text, sizeof text, &size, loaded, ids, count, NULL);
    if (!status)
        status = llm_decoder_new(&decoder, loaded, NULL);
    for (size_t i = 0; i < count && !status; i++)
        status = llm_decoder_push(decoder, ids[i], &piece, NULL);
    if (!status)
        status = llm_decoder_finish(decoder, &piece, NULL);
    llm_decoder_free(decoder);
    llm_tokenizer_free(loaded);
    llm_tokenizer_free(tokenizer);
    free(json);
    return status;
}

static void test_out_of_memory(void **state)
{
    int32_t unigram = LLM_TOKENIZER_UNIGRAM;
    (void)state;
    for (int32_t kind = LLM_TOKENIZER_BPE; kind <= LLM_TOKENIZER_BYTES; kind++)
        assert_true(failing_allocator_run(live_a_life, &kind, 1) > 20);
    assert_true(failing_allocator_run(live_a_life, &unigram, 1) > 20);
}

/* A SentencePiece model or a tokenizer.json that came from one: loaded, used, saved. */
static llm_status live_from_file(llm_context *context, void *user)
{
    llm_tokenizer *tokenizer = NULL;
    char *json = malloc(1 << 16);
    int32_t ids[64];
    size_t begins[64];
    size_t ends[64];
    size_t count = 0;
    size_t size = 0;
    llm_status status = llm_tokenizer_load(&tokenizer, context, user);

    assert_non_null(json);
    if (!status)
        status = llm_tokenizer_encode_offsets(ids, begins, ends, 64, &count, tokenizer,
                                              "the  best\xFF of", 13, NULL);
    if (!status)
        status = llm_tokenizer_decode(json, 1 << 16, &size, tokenizer, ids, count, NULL);
    if (!status)
        status = llm_tokenizer_save_memory(json, 1 << 16, &size, tokenizer);
    llm_tokenizer_free(tokenizer);
    free(json);
    return status;
}

static void test_out_of_memory_files(void **state)
{
    static const char *const names[] = {"unigram.model", "bpe_bytes.model", "bpe_rules.model",
                                        "hf_bytes.json", "hf_suffix.json",  "hf_unigram.json"};
    const char *golden = getenv("LLM_TEST_GOLDEN");
    char path[1024];

    (void)state;
    assert_non_null(golden);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/sentencepiece/%s", golden, names[i]);
        assert_true(failing_allocator_run(live_from_file, path, 1) > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_offsets_and_batch),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_out_of_memory_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
