/* SPDX-License-Identifier: MIT
 *
 * What the replay of make_pipeline.py does not reach: regular expressions by hand, texts of one
 * character repeated, bytes that are not UTF-8, long texts on several threads, BERT's vocab.txt.
 */
#include "fixtures.h"

#include "tokenizer/pattern.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- regular expressions ---- */

/* The matches of a pattern, each in brackets. */
static void check_matches(const char *pattern, const char *text, const char *expected)
{
    llm_context *context = make_context(1);
    struct pattern compiled = {0};
    struct pattern_walk walk;
    char found[1024] = "";
    size_t size = 0;
    size_t begin;
    size_t end;

    if (regex_compile(&compiled.regex, &context->memory, pattern, strlen(pattern)))
        fail_msg("%s: %s", pattern, llm_last_error());
    walk = pattern_walk(&compiled, text, strlen(text));
    while (pattern_next(&walk, &begin, &end))
        size += (size_t)snprintf(found + size, sizeof found - size, "[%.*s]", (int)(end - begin),
                                 text + begin);
    assert_int_equal(pattern_status(&walk), LLM_OK);
    assert_string_equal(found, expected);
    pattern_free(&compiled, &context->memory);
    llm_context_free(context);
}

static void test_regex(void **state)
{
    (void)state;
    check_matches("a|ab", "ab ab", "[a][a]"); /* the first alternative, not the longest */
    check_matches("ab|a", "ab a", "[ab][a]");
    check_matches("a+?b|a", "aab a", "[aab][a]");
    check_matches("(?:ab)+|b{2,3}", "abab bbbb", "[abab][bbb]");
    check_matches("a++a", "aaaa", ""); /* possessive: nothing is given back */
    check_matches("a?+a", "aa", "[aa]");
    check_matches("\\s+(?!\\S)|\\s+", "a   b  ", "[  ][ ][  ]");
    check_matches("\\s+$", " a  \n b  ", "[  ][  ]");
    check_matches("x(?=y)", "xyxz", "[x]");
    check_matches("(?i:'S)", "'s 'S '\xC5\xBF", "['s]['S]['\xC5\xBF]");
    check_matches("[^\\W\\d_]+", "ab1_\xC3\xA9z", "[ab][\xC3\xA9z]");
    check_matches("[a-z&&[^aeiou]]+", "abcde", "[bcd]");
    check_matches("\\p{Lu}\\p{Ll}*", "Ab\xC3\x89t x", "[Ab][\xC3\x89t]");
    check_matches("\\x41|\\u0042|\\x{1F600}", "AB\xF0\x9F\x98\x80", "[A][B][\xF0\x9F\x98\x80]");
    check_matches("(a|b)*c|[^abc]", "ababc d", "[ababc][ ][d]");
    check_matches(".", "a\nb", "[a][b]");
    check_matches("(?m:.)", "a\nb", "[a][\n][b]");
    check_matches("a{,2}b", "aaab b", "[aab][b]");
    check_matches("x{", "x{", "[x{]");
}

static void test_bad_regex(void **state)
{
    static const struct {
        const char *pattern;
        llm_status status;
        const char *message;
    } bad[] = {
        {"(", LLM_E_FORMAT, "without end"},
        {")", LLM_E_FORMAT, "unmatched"},
        {"[a", LLM_E_FORMAT, "without end"},
        {"*", LLM_E_FORMAT, "nothing"},
        {"a\\", LLM_E_FORMAT, "backslash"},
        {"[z-a]", LLM_E_FORMAT, "range"},
        {"\\p{L", LLM_E_FORMAT, "without end"},
        {"\\p{Klingon}", LLM_E_UNSUPPORTED, "Klingon"},
        {"a*", LLM_E_UNSUPPORTED, "nothing"},
        {"(?<=a)b", LLM_E_UNSUPPORTED, "group"},
        {"(a)\\1", LLM_E_UNSUPPORTED, "\\1"},
        {"(?:ab)++", LLM_E_UNSUPPORTED, "possessive"},
        {"(?!ab)c", LLM_E_UNSUPPORTED, "looking ahead"},
        {"^a", LLM_E_UNSUPPORTED, "^"},
        {"(a{200}){200}", LLM_E_UNSUPPORTED, "large"},
        {"(?i:ss)", LLM_E_UNSUPPORTED, "ss"},
        {"((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))))",
         LLM_E_UNSUPPORTED, "deep"},
    };
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct regex *regex = NULL;
        llm_status status =
            regex_compile(&regex, &context->memory, bad[i].pattern, strlen(bad[i].pattern));

        if (status != bad[i].status || !strstr(llm_last_error(), bad[i].message))
            fail_msg("%s: %d %s", bad[i].pattern, (int)status, llm_last_error());
        assert_null(regex);
    }
    llm_context_free(context);
}

/* A pattern that looks far ahead from every place is given up, not run for hours. */
static void test_slow_regex(void **state)
{
    enum { SIZE = 1 << 20 };
    llm_context *context = make_context(1);
    struct pattern compiled = {0};
    struct pattern_walk walk;
    char *text = malloc(SIZE);
    size_t begin;
    size_t end;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', SIZE);
    assert_int_equal(regex_compile(&compiled.regex, &context->memory, "a*b|a", 5), LLM_OK);
    walk = pattern_walk(&compiled, text, SIZE);
    while (pattern_next(&walk, &begin, &end)) {
    }
    assert_int_equal(pattern_status(&walk), LLM_E_UNSUPPORTED);
    pattern_free(&compiled, &context->memory);
    llm_context_free(context);
    free(text);
}

/* ---- whole tokenizers ---- */

#define VOCAB                                                                                      \
    "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##a\":4,\"b\":5,\"##b\":6,"          \
    "\"the\":7,\"e\":8,\"##e\":9,\".\":10,\"day\":11,\"##s\":12}"
#define PIECES "\"model\":{\"type\":\"WordPiece\"," VOCAB "}"
#define BERT                                                                                       \
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":"                    \
    "\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\"},"
#define ADDED                                                                                      \
    "\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true,\"lstrip\":true},"         \
    "{\"id\":11,\"content\":\"day\",\"single_word\":true}],"

static llm_tokenizer *load_json(llm_context *context, const char *json)
{
    llm_tokenizer *tokenizer = NULL;

    if (llm_tokenizer_load_memory(&tokenizer, context, json, strlen(json)))
        fail_msg("%s", llm_last_error());
    return tokenizer;
}

/* Megabytes of one character, whatever the stages: none may take more than linear time. */
static void test_repeated(void **state)
{
    static const char *const jsons[] = {
        "{" BERT PIECES "}",
        "{\"normalizer\":{\"type\":\"NFC\"}," PIECES "}",
        "{\"normalizer\":{\"type\":\"NFKD\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
        "\"replacement\":\"_\"}," PIECES "}",
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+|a{1,3}\"},"
        "\"content\":\"aaa\"},\"pre_tokenizer\":{\"type\":\"Whitespace\"}," PIECES "}",
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},"
        "{\"type\":\"UnicodeScripts\"},{\"type\":\"Punctuation\"},{\"type\":\"FixedLength\"}]}," //
        "\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":100000000," VOCAB "}}",
        "{\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":100000000," VOCAB "}}",
    };
    static const char *const units[] = {"^",        " ",
                                        "a",        "\n",
                                        "\xFF",     "\xCC\x81",
                                        "\xE4\xB8", "\xF0\x9F\x91\x8D",
                                        "",         "\xE1\x84\x80\xE1\x85\xA1"};
    enum { SIZE = 1 << 20 };
    llm_context *context = make_context(1);
    char *text = malloc(SIZE + 16);

    (void)state;
    assert_non_null(text);
    for (size_t j = 0; j < sizeof jsons / sizeof *jsons; j++) {
        llm_tokenizer *tokenizer = load_json(context, jsons[j]);

        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t unit = strlen(units[u]) ? strlen(units[u]) : 1; /* "": NUL */
            size_t size = 0;
            struct token_list ids;

            for (; size < SIZE; size += unit)
                memcpy(text + size, units[u], unit);
            token_list_init(&ids, &context->memory);
            assert_int_equal(tokenizer_encode(tokenizer, text, size, TOKENIZER_ADD_SPECIAL, &ids),
                             LLM_OK);
            assert_true(ids.count <= tokenizer_max_tokens(tokenizer, size));
            token_list_free(&ids);
        }
        llm_tokenizer_free(tokenizer);
    }
    free(text);
    llm_context_free(context);
}

/* Cut for the threads or not, the same ids. */
static void check_parallel(llm_tokenizer *tokenizer, bool cuts)
{
    static const char *const words[] = {"the ",      "days ", "day ", "[CLS]", " [CLS] ", "aab",
                                        "\xC3\xA9 ", ".",     "\n",   "\xFF",  "e ",      "  "};
    enum { SIZE = 5 << 20 };
    struct memory *memory = tokenizer_memory(tokenizer);
    char *text = malloc(SIZE + 16);
    size_t size = 0;
    uint32_t random = 1;
    struct token_list one;
    struct token_list many;

    assert_non_null(text);
    while (size < SIZE) {
        const char *word = words[next_random(&random) % 12];

        memcpy(text + size, word, strlen(word));
        size += strlen(word);
    }
    assert_int_equal(tokenizer->cuts_at_space, cuts);
    for (unsigned flags = 0; flags < 4; flags++) {
        token_list_init(&one, memory);
        token_list_init(&many, memory);
        assert_int_equal(tokenizer_encode(tokenizer, text, size, flags, &one), LLM_OK);
        assert_int_equal(tokenizer_encode_parallel(tokenizer, text, size, flags, 3, &many), LLM_OK);
        assert_int_equal(one.count, many.count);
        assert_memory_equal(one.ids, many.ids, one.count * sizeof *one.ids);
        token_list_free(&one);
        token_list_free(&many);
    }
    free(text);
}

static void test_parallel(void **state)
{
    llm_context *context = make_context(3);
    llm_tokenizer *tokenizer = load_json(
        context, "{" BERT ADDED "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"\",1],"
                 "\"sep\":[\"\",2]}," PIECES "}");

    (void)state;
    check_parallel(tokenizer, true);
    llm_tokenizer_free(tokenizer);
    tokenizer = load_json(context, "{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," PIECES "}");
    check_parallel(tokenizer, false);
    llm_tokenizer_free(tokenizer);
    tokenizer = load_fixture(context, "bpe_added");
    check_parallel(tokenizer, tokenizer->cuts_at_space);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void check_words(const char *text, const int32_t *expected, size_t wanted)
{
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    int32_t ids[32];
    size_t count;

    if (llm_tokenizer_load(&tokenizer, context, "."))
        fail_msg("%s", llm_last_error());
    assert_int_equal(llm_tokenizer_kind(tokenizer), LLM_TOKENIZER_WORDPIECE);
    assert_int_equal(llm_tokenizer_encode(ids, 32, &count, tokenizer, text, strlen(text), NULL),
                     LLM_OK);
    assert_int_equal(count, wanted);
    assert_memory_equal(ids, expected, wanted * sizeof *ids);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

static void test_vocab_text(void **state)
{
    /* "the" stands on two lines: the last one counts. */
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nday\n##s\r\n\nThe\nthe";
    char folder[] = "tokenizer_stages_XXXXXX";
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;

    (void)state;
    assert_true(mkdtemp(folder) && chdir(folder) == 0);
    write_text("vocab.txt", vocab);
    check_words("The days", (int32_t[]){2, 9, 5, 6, 3}, 5);
    write_text("tokenizer_config.json",
               "{\"do_lower_case\": false, \"model_max_length\": 1000000000000000019884624838656}");
    check_words("The days", (int32_t[]){2, 8, 5, 6, 3}, 5);
    write_text("tokenizer_config.json", "{\"do_lower_case\": 3}");
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "vocab.txt"), LLM_E_FORMAT);
    assert_int_equal(unlink("tokenizer_config.json"), 0);
    write_text("vocab.txt", "");
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "vocab.txt"), LLM_E_FORMAT);
    assert_int_equal(unlink("vocab.txt"), 0);
    assert_true(chdir("..") == 0 && rmdir(folder) == 0);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex),      cmocka_unit_test(test_bad_regex),
        cmocka_unit_test(test_slow_regex), cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_parallel),   cmocka_unit_test(test_vocab_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
