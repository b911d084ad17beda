/* SPDX-License-Identifier: MIT
 *
 * The fixtures of tests/golden/tokenizers: the ids that Hugging Face tokenizers gave, the texts
 * back, the same again after saving and loading, offsets, batches, several threads.
 */
#include "fixtures.h"

enum { MAX_TEXT = 4096 };

struct test_case {
    char text[MAX_TEXT];
    size_t size;
    int32_t ids[MAX_TEXT];
    size_t count;
};

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void read_case(struct test_case *one, char *line)
{
    char *word = strtok(line, " \n");

    one->size = 0;
    one->count = 0;
    for (size_t i = 0; word[i] && word[0] != '-'; i += 2) {
        assert_true(one->size < MAX_TEXT);
        one->text[one->size++] = (char)(hex_digit(word[i]) << 4 | hex_digit(word[i + 1]));
    }
    while ((word = strtok(NULL, " \n")) != NULL)
        one->ids[one->count++] = (int32_t)strtol(word, NULL, 10);
}

static void check_ids(const struct test_case *one, const int32_t *ids, size_t count)
{
    if (count != one->count || memcmp(ids, one->ids, count * sizeof *ids) != 0) {
        for (size_t i = 0; i < count || i < one->count; i++)
            print_error("%zu: %d, expected %d\n", i, i < count ? ids[i] : -1,
                        i < one->count ? one->ids[i] : -1);
        fail_msg("ids of \"%.*s\"", (int)one->size, one->text);
    }
}

static void check_offsets(const llm_tokenizer *tokenizer, const struct test_case *one,
                          const llm_encode_options *options)
{
    static int32_t ids[MAX_TEXT];
    static size_t begins[MAX_TEXT];
    static size_t ends[MAX_TEXT];
    size_t count;
    size_t at = 0;

    assert_int_equal(llm_tokenizer_encode_offsets(ids, begins, ends, MAX_TEXT, &count, tokenizer,
                                                  one->text, one->size, options),
                     LLM_OK);
    check_ids(one, ids, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(begins[i] <= ends[i] && ends[i] <= one->size);
        if (begins[i] == ends[i])
            continue;
        assert_int_equal(begins[i], at);
        at = ends[i];
    }
    assert_int_equal(at, one->size);
}

/* `exact`: decoding gives the text back. */
static void check_file(const char *name, bool exact)
{
    static struct test_case one;
    static char line[16 * MAX_TEXT];
    static int32_t ids[MAX_TEXT];
    static char back[MAX_TEXT];
    llm_context *context = make_context(2);
    llm_tokenizer *tokenizer = load_fixture(context, name);
    llm_encode_options options;
    char path[1024];
    size_t cases = 0;
    FILE *file;

    assert_int_equal(llm_encode_options_init(&options, sizeof options), LLM_OK);
    options.parse_special = 1;
    (void)snprintf(path, sizeof path, "%s/%s.cases", FIXTURES, name);
    file = fopen(path, "rb");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        size_t count;
        size_t size;

        read_case(&one, line);
        assert_true(one.count <= llm_tokenizer_max_tokens(tokenizer, one.size));
        assert_int_equal(
            llm_tokenizer_encode(ids, MAX_TEXT, &count, tokenizer, one.text, one.size, &options),
            LLM_OK);
        check_ids(&one, ids, count);
        check_offsets(tokenizer, &one, &options);
        assert_int_equal(
            llm_tokenizer_decode(back, sizeof back, &size, tokenizer, ids, count, NULL), LLM_OK);
        if (exact) {
            assert_int_equal(size, one.size);
            assert_memory_equal(back, one.text, size);
        }
        cases++;
    }
    (void)fclose(file);
    assert_true(cases > 250);
    llm_context_free(context);
    llm_tokenizer_free(tokenizer);
}

static void test_gpt2(void **state)
{
    (void)state;
    check_file("bpe_gpt2", true);
}

static void test_cl100k(void **state)
{
    (void)state;
    check_file("bpe_cl100k", true);
}

static void test_qwen2(void **state)
{
    (void)state;
    check_file("bpe_qwen2", true);
}

static void test_o200k(void **state)
{
    (void)state;
    check_file("bpe_o200k", true);
}

static void test_added(void **state)
{
    (void)state;
    check_file("bpe_added", false); /* begin and end tokens, a prefix space, swallowed space */
}

static void test_characters(void **state)
{
    (void)state;
    check_file("characters", false); /* unknown characters */
}

/* Saving and loading again changes nothing, not even the text of the file. */
static void test_save_again(void **state)
{
    static const char *const names[] = {"bpe_gpt2",  "bpe_cl100k", "bpe_qwen2",
                                        "bpe_o200k", "bpe_added",  "characters"};
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        llm_tokenizer *first = load_fixture(context, names[i]);
        llm_tokenizer *second = NULL;
        struct text a;
        struct text b;

        text_init(&a, &context->memory);
        text_init(&b, &context->memory);
        tokenizer_write_json(first, &a);
        assert_int_equal(tokenizer_load_memory(&second, context, a.data, a.size), LLM_OK);
        tokenizer_write_json(second, &b);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        assert_int_equal(tokenizer_kind(first), tokenizer_kind(second));
        assert_int_equal(tokenizer_vocab_size(first), tokenizer_vocab_size(second));
        text_free(&a);
        text_free(&b);
        llm_tokenizer_free(first);
        llm_tokenizer_free(second);
    }
    llm_context_free(context);
}

/* One long text: the same ids on one thread, on many, and as a batch. */
static void test_threads(void **state)
{
    static const char words[] = "It was the best of times, it was 1234 worst of times \n\n we're ";
    size_t size = (size_t)5 << 20;
    llm_context *context = make_context(3);
    llm_tokenizer *tokenizer = load_fixture(context, "bpe_cl100k");
    char *text = malloc(size);
    struct token_list one;
    struct token_list many;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = words[i % (sizeof words - 1)];
    memset(text + size / 2, 'x', 700000); /* no cut for a while */
    tokenizer->added.count = 0;           /* added tokens would keep the text in one piece */
    token_list_init(&one, &context->memory);
    token_list_init(&many, &context->memory);
    assert_int_equal(tokenizer_encode(tokenizer, text, size, 0, &one), LLM_OK);
    assert_int_equal(tokenizer_encode_parallel(tokenizer, text, size, 0, 3, &many), LLM_OK);
    assert_int_equal(one.count, many.count);
    assert_memory_equal(one.ids, many.ids, one.count * sizeof *one.ids);
    token_list_free(&one);
    token_list_free(&many);
    free(text);
    tokenizer->added.count = 1;
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),       cmocka_unit_test(test_cl100k),
        cmocka_unit_test(test_qwen2),      cmocka_unit_test(test_o200k),
        cmocka_unit_test(test_added),      cmocka_unit_test(test_characters),
        cmocka_unit_test(test_save_again), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
