/* SPDX-License-Identifier: MIT
 *
 * Training against the definition of byte-pair encoding done slowly, for any number of threads and
 * any way the text comes in; characters and bytes; cancelling; settings that make no sense.
 */
#include "fixtures.h"
#include "tokenizer/bpe.h"

#include "base/file.h"

#include <unistd.h>

enum { TEXT_SIZE = 3000, MAX_PIECES = TEXT_SIZE };

static char sample[TEXT_SIZE + 1];

static void make_sample(uint32_t seed)
{
    static const char *const words[] = {"aab",   "abab", "ba", "the", "then",
                                        "there", "1",    "\n", ","};
    size_t size = 0;

    while (size < TEXT_SIZE) {
        const char *word = words[next_random(&seed) % 9];

        if (size > 0)
            sample[size++] = ' ';
        for (; *word && size < TEXT_SIZE; word++)
            sample[size++] = *word;
    }
    sample[TEXT_SIZE] = '\0';
}

static llm_tokenizer_train_options default_options(void)
{
    llm_tokenizer_train_options options;

    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.split = LLM_SPLIT_GPT2;
    options.vocab_size = 300;
    return options;
}

static llm_tokenizer *train(int32_t threads, const llm_tokenizer_train_options *options)
{
    llm_context *context = make_context(threads);
    llm_tokenizer *tokenizer = NULL;
    const char *texts[1] = {sample};
    size_t sizes[1] = {TEXT_SIZE};

    if (llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, options))
        fail_msg("%s", llm_last_error());
    llm_context_free(context);
    return tokenizer;
}

static bool same(const llm_tokenizer *a, const llm_tokenizer *b)
{
    struct text left;
    struct text right;
    bool equal;

    text_init(&left, tokenizer_memory(a));
    text_init(&right, tokenizer_memory(b));
    tokenizer_write_json(a, &left);
    tokenizer_write_json(b, &right);
    equal = left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
    text_free(&left);
    text_free(&right);
    return equal;
}

/* The sample as ids with -1 between words; counts[] is filled for each pair anew every time. */
static void check_merges(const llm_tokenizer *tokenizer)
{
    const struct bpe *bpe = tokenizer->model;
    static int32_t pieces[2 * MAX_PIECES];
    static int counts[300][300];
    const unsigned char *cursor = (const unsigned char *)sample;
    const unsigned char *end = cursor + TEXT_SIZE;
    const unsigned char *word_end;
    size_t count = 0;

    while (cursor < end) {
        const unsigned char *p = cursor;

        assert_int_equal(tokenizer->split->scan(&cursor, end, &word_end, 1), 1);
        for (; p < word_end; p++) {
            char byte = (char)*p;

            pieces[count++] = vocab_find(&tokenizer->vocab, &byte, 1);
        }
        pieces[count++] = -1;
    }
    for (size_t rule = 0; rule < bpe->rule_count; rule++) {
        int32_t left = 0;
        int32_t right = 0;
        size_t kept = 0;

        memset(counts, 0, sizeof counts);
        for (size_t i = 0; i + 1 < count; i++) {
            if (pieces[i] >= 0 && pieces[i + 1] >= 0)
                counts[pieces[i]][pieces[i + 1]]++;
        }
        for (int32_t a = 0; a < 300; a++) {
            for (int32_t b = 0; b < 300; b++) {
                if (counts[a][b] > counts[left][right]) {
                    left = a;
                    right = b;
                }
            }
        }
        assert_true(counts[left][right] >= 2);
        assert_int_equal(bpe->rules[rule].left, left);
        assert_int_equal(bpe->rules[rule].right, right);
        for (size_t i = 0; i < count; i++) {
            bool merges = i + 1 < count && pieces[i] == left && pieces[i + 1] == right;

            pieces[kept++] = merges ? bpe->rules[rule].result : pieces[i];
            i += merges;
        }
        count = kept;
    }
}

static void test_definition(void **state)
{
    llm_tokenizer_train_options options = default_options();

    (void)state;
    for (uint32_t seed = 0; seed < 8; seed++) {
        llm_tokenizer *tokenizer;

        make_sample(seed);
        options.split = seed % 2 ? LLM_SPLIT_GPT2 : LLM_SPLIT_CL100K;
        tokenizer = train(1, &options);
        check_merges(tokenizer);
        llm_tokenizer_free(tokenizer);
    }
}

struct pieces {
    size_t at;
    size_t step;
};

static int32_t next_piece(void *user, const char **text, size_t *size)
{
    struct pieces *pieces = user;

    if (pieces->at >= TEXT_SIZE)
        return 0;
    *text = sample + pieces->at;
    *size = pieces->step < TEXT_SIZE - pieces->at ? pieces->step : TEXT_SIZE - pieces->at;
    pieces->at += *size;
    return 1;
}

static int32_t give_up(void *user, const char **text, size_t *size)
{
    (void)user;
    (void)text;
    (void)size;
    return -5;
}

static void test_sources(void **state)
{
    static const char path[] = "tokenizer_train_sample.txt";
    const char *paths[1] = {path};
    llm_tokenizer_train_options options = default_options();
    llm_context *context = make_context(2);
    struct pieces pieces = {0, TEXT_SIZE};
    llm_tokenizer *first;
    llm_tokenizer *other = NULL;
    FILE *file = fopen(path, "wb");

    (void)state;
    make_sample(3);
    first = train(1, &options);
    for (int32_t threads = 2; threads < 5; threads++) {
        other = train(threads, &options);
        assert_true(same(first, other));
        llm_tokenizer_free(other);
    }
    assert_non_null(file);
    assert_int_equal(fwrite(sample, 1, TEXT_SIZE, file), TEXT_SIZE);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(llm_tokenizer_train_files(&other, context, paths, 1, &options), LLM_OK);
    assert_true(same(first, other));
    llm_tokenizer_free(other);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(llm_tokenizer_train_files(&other, context, paths, 1, &options), LLM_E_IO);
    assert_null(other);
    assert_int_equal(llm_tokenizer_train_stream(&other, context, next_piece, &pieces, &options),
                     LLM_OK);
    assert_true(same(first, other));
    llm_tokenizer_free(other);
    assert_int_equal(llm_tokenizer_train_stream(&other, context, give_up, NULL, &options),
                     LLM_E_CANCELLED);
    llm_tokenizer_free(first);
    llm_context_free(context);
}

struct stop {
    int calls;
    int stop_at;
};

static int32_t count_down(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct stop *stop = user;

    assert_non_null(stage);
    assert_true(total == 0 || done <= total);
    return ++stop->calls == stop->stop_at;
}

static void test_cancel(void **state)
{
    llm_tokenizer_train_options options = default_options();
    llm_context *context = make_context(1);
    const char *texts[1] = {sample};
    size_t sizes[1] = {TEXT_SIZE};
    struct stop stop = {0, 0};
    llm_tokenizer *tokenizer = NULL;
    int calls;

    (void)state;
    make_sample(4);
    options.progress = count_down;
    options.progress_user = &stop;
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options), LLM_OK);
    llm_tokenizer_free(tokenizer);
    calls = stop.calls;
    assert_true(calls >= 3);
    for (int i = 1; i <= calls; i++) {
        stop = (struct stop){0, i};
        assert_int_equal(llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options),
                         LLM_E_CANCELLED);
        assert_null(tokenizer);
    }
    llm_context_free(context);
}

static void check_refused(const char *text, const llm_tokenizer_train_options *options,
                          llm_status expected)
{
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    size_t size = strlen(text);

    assert_int_equal(llm_tokenizer_train(&tokenizer, context, &text, &size, 1, options), expected);
    assert_null(tokenizer);
    assert_string_not_equal(llm_last_error(), "");
    llm_context_free(context);
}

static void test_settings(void **state)
{
    static const char *const twice[] = {"<s>", "<s>"};
    static const char *const byte[] = {"a"};
    static const char *const empty[] = {""};
    llm_tokenizer_train_options options = default_options();

    (void)state;
    options.vocab_size = 255;
    check_refused("text", &options, LLM_E_RANGE);
    options.vocab_size = 300;
    options.kind = 9;
    check_refused("text", &options, LLM_E_INVALID);
    options.kind = LLM_TOKENIZER_BPE;
    options.split = 9;
    check_refused("text", &options, LLM_E_INVALID);
    options.split = LLM_SPLIT_GPT2;
    options.min_frequency = -1;
    check_refused("text", &options, LLM_E_RANGE);
    options.min_frequency = 2;
    options.special_count = 2;
    check_refused("text", &options, LLM_E_INVALID);
    options.special_tokens = twice;
    check_refused("text", &options, LLM_E_INVALID);
    options.special_count = 1;
    options.special_tokens = byte;
    check_refused("text", &options, LLM_E_UNSUPPORTED);
    options.special_tokens = empty;
    check_refused("text", &options, LLM_E_INVALID);
    options.special_count = 0;
    options.kind = LLM_TOKENIZER_CHARACTERS;
    check_refused("te\xFFxt", &options, LLM_E_FORMAT);
}

static void test_characters(void **state)
{
    static const char text[] = "bca\xC3\xA9"
                               "ab\n";
    llm_tokenizer_train_options options = default_options();
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    const char *texts[1] = {text};
    size_t sizes[1] = {sizeof text - 1};
    int32_t ids[8];
    size_t count;

    (void)state;
    options.kind = LLM_TOKENIZER_CHARACTERS;
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options), LLM_OK);
    assert_int_equal(llm_tokenizer_kind(tokenizer), LLM_TOKENIZER_CHARACTERS);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 5);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "\na\xC3\xA9", 4, NULL),
                     LLM_OK);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], 0); /* sorted by code point */
    assert_int_equal(ids[1], 1);
    assert_int_equal(ids[2], 4);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "z", 1, NULL), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "U+007A"));
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "\xFF", 1, NULL), LLM_E_RANGE);
    llm_tokenizer_free(tokenizer);
    options.unknown_token = "<unk>";
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options), LLM_OK);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 6);
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_UNK), 0);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "z\xFF\n", 3, NULL), LLM_OK);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 0);
    assert_int_equal(ids[2], 1);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

static void test_bytes(void **state)
{
    static const char *const special[] = {"<|endoftext|>"};
    llm_tokenizer_train_options options = default_options();
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    char text[256];
    int32_t ids[256];
    char back[256];
    size_t count;
    size_t size;

    (void)state;
    options.kind = LLM_TOKENIZER_BYTES;
    options.special_tokens = special;
    options.special_count = 1;
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, NULL, NULL, 0, &options), LLM_OK);
    assert_int_equal(llm_tokenizer_kind(tokenizer), LLM_TOKENIZER_BYTES);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 257);
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_EOS), 256);
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    assert_int_equal(llm_tokenizer_encode(ids, 256, &count, tokenizer, text, 256, NULL), LLM_OK);
    assert_int_equal(count, 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal(ids[i], i);
    assert_int_equal(llm_tokenizer_decode(back, 256, &size, tokenizer, ids, count, NULL), LLM_OK);
    assert_int_equal(size, 256);
    assert_memory_equal(text, back, 256);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_cancel),     cmocka_unit_test(test_settings),
        cmocka_unit_test(test_characters), cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
