/* SPDX-License-Identifier: MIT
 *
 * Files that are wrong: each is refused with the right code and a message that names the cause, and
 * cutting a good file anywhere never does harm.
 */
#include "fixtures.h"

#include "base/file.h"

#include <unistd.h>

#define BYTE_LEVEL                                                                                 \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"decoder\":{\"type\":\"ByteLevel\"},"
#define MODEL(vocab, merges)                                                                       \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}"

static const struct {
    const char *json;
    llm_status status;
    const char *message;
} bad[] = {
    {"", LLM_E_FORMAT, "line 1"},
    {"[]", LLM_E_FORMAT, "model"},
    {"{\"model\":3}", LLM_E_FORMAT, "model"},
    {"{\"model\":{\"type\":\"Unigram\"}}", LLM_E_FORMAT, "vocab"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", LLM_E_FORMAT, "entry 0"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[7,0]]}}", LLM_E_FORMAT, "entry 1"},
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}", LLM_E_FORMAT,
     "unk_id"},
    {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"},"
     "\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
     LLM_E_FORMAT, "precompiled_charsmap"},
    {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"?\"},"
     "\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
     LLM_E_FORMAT, "base64"},
    {"{\"model\":{}}", LLM_E_UNSUPPORTED, "model type"},
    {"{\"normalizer\":{\"type\":\"Magic\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}", LLM_E_UNSUPPORTED,
     "Magic"},
    {"{\"normalizer\":7," BYTE_LEVEL MODEL("\"a\":0", "") "}", LLM_E_FORMAT, "normalizer"},
    {"{\"normalizer\":{\"type\":\"Sequence\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}", LLM_E_FORMAT,
     "normalizers"},
    {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}"
     "," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "empty pattern"},
    {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a+)+$(?=bc)\"},"
     "\"content\":\"x\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "looking ahead"},
    {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a{1,1000000}\"},"
     "\"content\":\"x\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "256 times"},
    {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?=\"},"
     "\"content\":\"x\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_FORMAT, "without end"},
    {"{\"decoder\":{\"type\":\"Magic\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," MODEL(
         "\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "Magic"},
    {"{\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
     "\"pretokenizers\":[{\"type\":\"Magic\"},{\"type\":\"ByteLevel\"}]}," MODEL("\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "Magic"},
    {"{\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
     "\"pretokenizers\":[{\"type\":\"FixedLength\",\"length\":0},{\"type\":\"ByteLevel\"}]}," MODEL(
         "\"a\":0", "") "}",
     LLM_E_RANGE, "length"},
    {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", LLM_E_FORMAT,
     "vocab"},
    {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", LLM_E_FORMAT, "merges"},
    {"{" BYTE_LEVEL MODEL("\"a\":-1", "") "}", LLM_E_FORMAT, "id"},
    {"{" BYTE_LEVEL MODEL("\"a\":\"x\"", "") "}", LLM_E_FORMAT, "id"},
    {"{" BYTE_LEVEL MODEL("\"a\":4000000000", "") "}", LLM_E_RANGE, "4000000000"},
    {"{" BYTE_LEVEL MODEL("\"a\":16000000", "") "}", LLM_E_RANGE, "16000000"},
    {"{" BYTE_LEVEL MODEL("\"a\":1,\"b\":1", "") "}", LLM_E_FORMAT, "two tokens"},
    {"{" BYTE_LEVEL MODEL("\"a\":1,\"a\":2", "") "}", LLM_E_FORMAT, "duplicate"},
    {"{" BYTE_LEVEL MODEL("\"a\":0", "\"a\"") "}", LLM_E_FORMAT, "merges"},
    {"{" BYTE_LEVEL MODEL("\"a\":0", "\"a b c\"") "}", LLM_E_FORMAT, "merges"},
    {"{" BYTE_LEVEL MODEL("\"a\":0", "\"a b\"") "}", LLM_E_FORMAT, "not in vocab"},
    {"{" BYTE_LEVEL MODEL("\"a\":0,\"b\":1", "[\"a\",\"b\"]") "}", LLM_E_FORMAT, "not in vocab"},
    {"{" BYTE_LEVEL MODEL("\"a\":0,\"b\":1", "[\"a\",2]") "}", LLM_E_FORMAT, "merges"},
    {"{" BYTE_LEVEL MODEL("\"a\":0,\"\":1", "[\"a\",\"\"]") "}", LLM_E_FORMAT, "merges"},
    {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}",
     LLM_E_UNSUPPORTED, "dropout"},
    {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{},"
     "\"merges\":[]}}",
     LLM_E_UNSUPPORTED, "byte_fallback"},
    {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", LLM_E_UNSUPPORTED,
     "dropout"},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", LLM_E_FORMAT,
     "not in vocab"},
    {"{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\",\"vocab\":{\"a\":0,\"b\":1}"
     ","
     "\"merges\":[\"a b\"]}}",
     LLM_E_FORMAT, "prefix"},
    {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{\"a\":0},"
     "\"merges\":[]}}",
     LLM_E_FORMAT, "unk_token"},
    {"{\"added_tokens\":[{\"id\":1}]," BYTE_LEVEL MODEL("\"a\":0", "") "}", LLM_E_FORMAT,
     "added_tokens[0]"},
    {"{\"added_tokens\":[{\"id\":1,\"content\":\"\"}]," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_FORMAT, "added_tokens[0]"},
    {"{\"added_tokens\":[{\"id\":9000000,\"content\":\"x\"}]," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_RANGE, "added_tokens[0]"},
    {"{\"added_tokens\":[{\"id\":3,\"content\":\"a\"}]," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_FORMAT, "added_tokens[0]"},
    {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\"},{\"id\":4,\"content\":\"x\"}]," BYTE_LEVEL
         MODEL("\"a\":0", "") "}",
     LLM_E_FORMAT, "added_tokens[1]"},
    {"{\"post_processor\":{\"type\":\"Magic\"}," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_UNSUPPORTED, "Magic"},
    {"{\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"s\",7],\"cls\":[\"c\",0]}"
     "," BYTE_LEVEL MODEL("\"a\":0", "") "}",
     LLM_E_FORMAT, "post_processor"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-3}}}", LLM_E_FORMAT, "id"},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"max_input_chars_per_word\":-1}}",
     LLM_E_RANGE, "max_input_chars_per_word"},
};

static void test_bad_json(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llm_tokenizer *tokenizer = (llm_tokenizer *)1;
        llm_status status =
            llm_tokenizer_load_memory(&tokenizer, context, bad[i].json, strlen(bad[i].json));

        if (status != bad[i].status || tokenizer || !strstr(llm_last_error(), bad[i].message))
            fail_msg("case %zu: %s, \"%s\"", i, llm_status_name(status), llm_last_error());
    }
    llm_context_free(context);
}

/* A good file, cut short at every place and with every byte changed. */
static void test_damaged(void **state)
{
    llm_context *context = make_context(1);
    char path[1024];
    char *text = NULL;
    size_t size;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/characters.json", FIXTURES);
    assert_int_equal(file_read(&text, &size, &context->memory, path, 0), LLM_OK);
    for (size_t i = 0; i < size; i++) {
        llm_tokenizer *tokenizer = NULL;
        char kept = text[i];

        assert_true(llm_tokenizer_load_memory(&tokenizer, context, text, i) < 0);
        assert_null(tokenizer);
        text[i] = (char)(kept ^ (1 << i % 7));
        (void)llm_tokenizer_load_memory(&tokenizer, context, text, size);
        llm_tokenizer_free(tokenizer);
        text[i] = kept;
    }
    memory_release(&context->memory, text);
    llm_context_free(context);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static llm_status load_text(llm_context *context, const char *name, const char *text)
{
    llm_tokenizer *tokenizer = NULL;
    llm_status status;

    write_file(name, text);
    status = llm_tokenizer_load(&tokenizer, context, name);
    if (status)
        assert_non_null(strstr(llm_last_error(), name));
    llm_tokenizer_free(tokenizer);
    assert_int_equal(unlink(name), 0);
    return status;
}

static void test_tiktoken(void **state)
{
    static const char good[] = "YQ== 0\nYg== 1\nYWI= 2\nYWJh 3\n";
    llm_context *context = make_context(1);
    llm_tokenizer_load_options options;
    llm_tokenizer *tokenizer = NULL;
    int32_t ids[8];
    size_t count;

    (void)state;
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ= 0\nYg"), LLM_E_FORMAT);
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ== x\n"), LLM_E_FORMAT);
    assert_int_equal(load_text(context, "bad.tiktoken", "Y*== 0\n"), LLM_E_FORMAT);
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ== 0\nYQ== 1\n"), LLM_E_FORMAT);
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ== 0\nYg== 0\n"), LLM_E_FORMAT);
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ== 9999999\n"), LLM_E_RANGE);
    assert_int_equal(load_text(context, "bad.tiktoken", "YQ== -1\n"), LLM_E_RANGE);
    write_file("good.tiktoken", good);
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "good.tiktoken"),
                     LLM_E_UNSUPPORTED); /* nobody knows its split rule */
    assert_non_null(strstr(llm_last_error(), "4 ranks"));
    assert_int_equal(llm_tokenizer_load_options_init(&options, sizeof options), LLM_OK);
    options.split = 7;
    assert_int_equal(llm_tokenizer_load_with(&tokenizer, context, "good.tiktoken", &options),
                     LLM_E_INVALID);
    options.split = LLM_SPLIT_CL100K;
    assert_int_equal(llm_tokenizer_load_with(&tokenizer, context, "good.tiktoken", &options),
                     LLM_OK);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "abab", 4, NULL), LLM_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], 2);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "aba", 3, NULL), LLM_OK);
    assert_int_equal(count, 1);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "x", 1, NULL), LLM_E_RANGE);
    llm_tokenizer_free(tokenizer);
    assert_int_equal(unlink("good.tiktoken"), 0);
    llm_context_free(context);
}

static void test_gpt2_pair(void **state)
{
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    int32_t ids[8];
    size_t count;

    (void)state;
    write_file("merges.txt", "#version: 0.2\na b\nab \xC4\xA0\n");
    assert_int_equal(load_text(context, "vocab.json", "{\"a\":0,\"b\":1}"), LLM_E_FORMAT);
    write_file("vocab.json", "{\"a\":0,\"b\":1,\"ab\":2,\"\xC4\xA0\":3,\"ab\xC4\xA0\":4,"
                             "\"<|endoftext|>\":5}");
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "vocab.json"), LLM_OK);
    assert_int_equal(llm_tokenizer_encode(ids, 8, &count, tokenizer, "aab b", 5, NULL), LLM_OK);
    assert_int_equal(count, 4); /* a, ab, space, b */
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_EOS), 5);
    llm_tokenizer_free(tokenizer);
    tokenizer = NULL;
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "."), LLM_OK);
    llm_tokenizer_free(tokenizer);
    write_file("merges.txt", "a\n");
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "merges.txt"), LLM_E_FORMAT);
    assert_int_equal(unlink("vocab.json"), 0);
    assert_int_equal(unlink("merges.txt"), 0);
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "vocab.json"), LLM_E_IO);
    assert_int_equal(llm_tokenizer_load(&tokenizer, context, "none.json"), LLM_E_IO);
    assert_non_null(strstr(llm_last_error(), "none.json"));
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_tiktoken),
        cmocka_unit_test(test_gpt2_pair),
    };
    char folder[] = "tokenizer_files_XXXXXX";
    int failures;

    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("..") != 0 || rmdir(folder) != 0)
        return 1;
    return failures;
}
