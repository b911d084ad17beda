/* SPDX-License-Identifier: MIT
 *
 * SentencePiece models and the kinds of tokenizer.json that come from them: the fixtures of
 * tests/golden/sentencepiece, flat arrays there and back, broken files, and, with LLM_TEST_DATA,
 * the test vectors of llama.cpp.
 */
#include "fixtures.h"
#include "base/file.h"
#include "tokenizer/sentencepiece.h"

enum { MOST = 4096, LINE = 65536 };

struct test_case {
    char text[MOST];
    size_t size;
    int32_t ids[MOST];
    size_t begins[MOST];
    size_t ends[MOST];
    size_t count;
    char decoded[MOST];
    size_t decoded_size;
};

static size_t read_hex(char *out, const char *hex)
{
    size_t size = 0;
    unsigned byte;

    for (; sscanf(hex, "%2x", &byte) == 1 && hex[0] != '-' && hex[0] != ' ' && hex[0] != '\n';
         hex += 2)
        out[size++] = (char)byte;
    return size;
}

/* "hex | ids | begin:end ... | hex" */
static void read_case(struct test_case *one, char *line)
{
    char *fields[4] = {line, NULL, NULL, NULL};
    char *end;
    size_t places = 0;

    for (int i = 1; i < 4; i++) {
        fields[i] = strchr(fields[i - 1], '|');
        assert_non_null(fields[i]);
        *fields[i]++ = '\0';
    }
    one->size = read_hex(one->text, fields[0]);
    one->count = 0;
    for (char *at = fields[1];; at = end) {
        long id = strtol(at, &end, 10);

        if (end == at)
            break;
        assert_true(one->count < MOST);
        one->ids[one->count++] = (int32_t)id;
    }
    for (char *at = fields[2];; at = end + 1, places++) {
        unsigned long begin = strtoul(at, &end, 10);

        if (end == at)
            break;
        one->begins[places] = begin;
        one->ends[places] = strtoul(end + 1, &end, 10);
    }
    assert_int_equal(places, one->count);
    one->decoded_size = read_hex(one->decoded, fields[3] + 1);
}

static void check_ids(const struct test_case *one, const int32_t *ids, size_t count,
                      const char *what)
{
    if (count == one->count && memcmp(ids, one->ids, count * sizeof *ids) == 0)
        return;
    for (size_t i = 0; i < count || i < one->count; i++)
        print_error("%zu: %d, expected %d\n", i, i < count ? ids[i] : -1,
                    i < one->count ? one->ids[i] : -1);
    fail_msg("%s of \"%.*s\"", what, (int)one->size, one->text);
}

/* What a fixture says beyond ids. */
enum { ONLY_IDS, PLACES, PLACES_AND_TEXT };

static void check_case(const llm_tokenizer *tokenizer, const struct test_case *one, int extent,
                       bool parse_special)
{
    static int32_t ids[MOST];
    static size_t begins[MOST];
    static size_t ends[MOST];
    static char back[MOST];
    llm_encode_options options;
    llm_decode_options decoding;
    size_t count;
    size_t size;

    assert_int_equal(llm_encode_options_init(&options, sizeof options), LLM_OK);
    options.parse_special = parse_special;
    assert_int_equal(
        llm_tokenizer_encode(ids, MOST, &count, tokenizer, one->text, one->size, &options), LLM_OK);
    check_ids(one, ids, count, "ids");
    assert_true(count <= llm_tokenizer_max_tokens(tokenizer, one->size));
    assert_int_equal(llm_tokenizer_encode_offsets(ids, begins, ends, MOST, &count, tokenizer,
                                                  one->text, one->size, &options),
                     LLM_OK);
    check_ids(one, ids, count, "ids with places");
    for (size_t i = 0; i < count && extent >= PLACES; i++) {
        if (begins[i] != one->begins[i] || ends[i] != one->ends[i])
            fail_msg("token %zu of \"%.*s\": %zu:%zu, expected %zu:%zu", i, (int)one->size,
                     one->text, begins[i], ends[i], one->begins[i], one->ends[i]);
    }
    if (extent < PLACES_AND_TEXT)
        return;
    assert_int_equal(llm_decode_options_init(&decoding, sizeof decoding), LLM_OK);
    decoding.replace_invalid = 1;
    assert_int_equal(
        llm_tokenizer_decode(back, sizeof back, &size, tokenizer, ids, count, &decoding), LLM_OK);
    assert_int_equal(size, one->decoded_size);
    assert_memory_equal(back, one->decoded, size);
}

static llm_tokenizer *load(llm_context *context, const char *name)
{
    llm_tokenizer *tokenizer = NULL;
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/%s", SENTENCEPIECE_FIXTURES, name);
    if (llm_tokenizer_load(&tokenizer, context, path))
        fail_msg("%s", llm_last_error());
    return tokenizer;
}

/* All cases of the fixture; how many is returned. */
static size_t check_cases(const llm_tokenizer *tokenizer, const char *name, int extent)
{
    static struct test_case one;
    static char line[LINE];
    char path[1024];
    size_t cases = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%.*s.cases", SENTENCEPIECE_FIXTURES,
                   (int)strcspn(name, "."), name);
    file = fopen(path, "rb");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); cases++) {
        read_case(&one, line);
        check_case(tokenizer, &one, extent, !strstr(name, ".model"));
    }
    (void)fclose(file);
    return cases;
}

static const char *const models[] = {"unigram.model",   "unigram_bytes.model", "bpe_bytes.model",
                                     "bpe_rules.model", "suffix.model",        "char.model"};
static const char *const jsons[] = {"hf_bytes.json",  "hf_words.json",  "hf_unknown.json",
                                    "hf_fused.json",  "hf_suffix.json", "hf_prefix.json",
                                    "hf_ignore.json", "hf_unigram.json"};

static void test_models(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        llm_tokenizer *tokenizer = load(context, models[i]);

        assert_true(check_cases(tokenizer, models[i], PLACES) > 50);
        llm_tokenizer_free(tokenizer);
    }
    llm_context_free(context);
}

static void test_jsons(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++) {
        llm_tokenizer *tokenizer = load(context, jsons[i]);

        assert_true(check_cases(tokenizer, jsons[i], PLACES_AND_TEXT) > 50);
        llm_tokenizer_free(tokenizer);
    }
    llm_context_free(context);
}

/* What is saved gives the same again, and the same text when saved again. */
static void test_save_again(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++) {
        llm_tokenizer *first = load(context, jsons[i]);
        llm_tokenizer *second = NULL;
        struct text a;
        struct text b;

        text_init(&a, &context->memory);
        text_init(&b, &context->memory);
        tokenizer_write_json(first, &a);
        assert_int_equal(tokenizer_load_memory(&second, context, a.data, a.size), LLM_OK);
        assert_true(check_cases(second, jsons[i], PLACES_AND_TEXT) > 50);
        tokenizer_write_json(second, &b);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        text_free(&a);
        text_free(&b);
        llm_tokenizer_free(first);
        llm_tokenizer_free(second);
    }
    llm_context_free(context);
}

/* What no tokenizer.json can say is not saved as one. */
static void test_save_refused(void **state)
{
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = load(context, "suffix.model");
    size_t size = 1;

    (void)state;
    assert_int_equal(LLM_E_UNSUPPORTED, llm_tokenizer_save(tokenizer, "test_refused.json"));
    assert_non_null(strstr(llm_last_error(), "treat_whitespace_as_suffix"));
    assert_int_equal(LLM_E_UNSUPPORTED, llm_tokenizer_save_memory(NULL, 0, &size, tokenizer));
    assert_int_equal(0, size);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

/* Models through their arrays are the same models; a tokenizer.json keeps its ids. */
static void test_arrays(void **state)
{
    static const char *const names[] = {"unigram_bytes.model", "bpe_rules.model", "hf_bytes.json"};
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        llm_tokenizer *first = load(context, names[i]);
        llm_tokenizer *second = NULL;
        struct vocabulary_arrays arrays;
        struct arena arena;

        arena_init(&arena, &context->memory);
        if (tokenizer_to_arrays(&arrays, &arena, first) ||
            tokenizer_from_arrays(&second, context, &arrays))
            fail_msg("%s: %s", names[i], llm_last_error());
        assert_true(check_cases(second, names[i], strstr(names[i], ".model") ? PLACES : ONLY_IDS) >
                    50);
        arena_free(&arena);
        llm_tokenizer_free(first);
        llm_tokenizer_free(second);
    }
    llm_context_free(context);
}

/* ---- broken files ---- */

static const struct {
    const char *bytes;
    size_t size;
    llm_status status;
    const char *message;
} bad[] = {
    {"", 0, LLM_E_FORMAT, "0 pieces"},
    {"hello", 5, LLM_E_FORMAT, "pieces"},
    {"\x0A\x03\x0A\x01", 4, LLM_E_FORMAT, "pieces"}, /* longer than the file */
    {"\x0A\x02\x0A\x05", 4, LLM_E_FORMAT, "piece"},  /* longer than the message */
    {"\x0A\x02\x18\x01", 4, LLM_E_FORMAT, "empty"},  /* no text */
    {"\x0A\x03\x0A\x01"
     "a",
     5, LLM_E_FORMAT, "unknown"}, /* no unknown piece */
    {"\x0A\x05\x0A\x01"
     "a\x18\x02",
     7, LLM_OK, ""}, /* one, and nothing else */
    {"\x0A\x05\x0A\x01"
     "a\x18\x09",
     7, LLM_E_FORMAT, "unknown"}, /* a type there is not */
    {"\x0A\x05\x0A\x01"
     "a\x18\x02\x12\x02\x18\x03",
     11, LLM_E_UNSUPPORTED, "WORD"},
    {"\x0A\x05\x0A\x01"
     "a\x18\x02\x12\x03\x98\x02\x01",
     12, LLM_E_FORMAT, "byte_fallback"},
    {"\x0A\x05\x0A\x01"
     "a\x18\x02\x1A\x03\x12\x01x",
     12, LLM_E_FORMAT, "precompiled_charsmap"},
    {"\x0A\x05\x0A\x01"
     "a\x18\x02\x0A\x0D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
     "a",
     20, LLM_E_FORMAT, "protocol buffer"}, /* a number of more than ten bytes */
};

static void test_bad_models(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vocabulary_arrays arrays;
        llm_tokenizer *tokenizer = NULL;
        struct arena arena;
        llm_status status;

        arena_init(&arena, &context->memory);
        status = sentencepiece_read(&arrays, &arena, bad[i].bytes, bad[i].size);
        if (!status)
            status = tokenizer_from_arrays(&tokenizer, context, &arrays);
        if (status != bad[i].status || (status && !strstr(llm_last_error(), bad[i].message)))
            fail_msg("case %zu: %s, \"%s\"", i, llm_status_name(status), llm_last_error());
        llm_tokenizer_free(tokenizer);
        arena_free(&arena);
    }
    llm_context_free(context);
}

static void test_bad_arrays(void **state)
{
    static const struct vocabulary_text tokens[] = {{"<unk>", 5}, {"a", 1}, {"<0x41>", 6}};
    static const float scores[] = {0, 0, 0};
    static const int32_t bytes[] = {2, 1, 6};
    static const int32_t types[] = {2, 1, 7};
    llm_context *context = make_context(1);
    struct vocabulary_arrays arrays;
    llm_tokenizer *tokenizer;

    (void)state;
    vocabulary_arrays_init(&arrays);
    arrays.tokens = tokens;
    arrays.scores = scores;
    arrays.count = 3;
    arrays.model = "rwkv";
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_UNSUPPORTED);
    assert_non_null(strstr(llm_last_error(), "rwkv"));
    arrays.model = "gpt2";
    arrays.pre = "magic";
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_UNSUPPORTED);
    assert_non_null(strstr(llm_last_error(), "magic"));
    arrays.model = "llama";
    arrays.bos = 3;
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_RANGE);
    arrays.bos = -1;
    arrays.add_bos = 1;
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_FORMAT);
    arrays.add_bos = 0;
    arrays.types = types;
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_FORMAT);
    arrays.types = bytes;
    assert_int_equal(tokenizer_from_arrays(&tokenizer, context, &arrays), LLM_E_FORMAT);
    assert_non_null(strstr(llm_last_error(), "not for all 256"));
    assert_null(tokenizer);
    llm_context_free(context);
}

/* ---- long texts of one character ---- */

static void test_long(void **state)
{
    static const char *const names[] = {"bpe_bytes.model", "bpe_rules.model", "unigram.model",
                                        "unigram_bytes.model", "hf_bytes.json"};
    static const char characters[] = {'a', ' ', '\n', '^', '\0', '\xFF'};
    size_t size = (size_t)1 << 20;
    llm_context *context = make_context(1);
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        llm_tokenizer *tokenizer = load(context, names[i]);

        for (size_t j = 0; j < sizeof characters; j++) {
            struct token_list ids;

            memset(text, characters[j], size);
            token_list_init(&ids, &context->memory);
            assert_int_equal(tokenizer_encode(tokenizer, text, size, 0, &ids), LLM_OK);
            assert_true(ids.count <= tokenizer_max_tokens(tokenizer, size));
            token_list_free(&ids);
        }
        llm_tokenizer_free(tokenizer);
    }
    free(text);
    llm_context_free(context);
}

/* ---- training ---- */

static llm_tokenizer *train(llm_context *context, const char *text, size_t size, int32_t vocab_size)
{
    llm_tokenizer_train_options options;
    llm_tokenizer *tokenizer = NULL;

    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.kind = LLM_TOKENIZER_UNIGRAM;
    options.vocab_size = vocab_size;
    options.unknown_token = "<unk>";
    if (llm_tokenizer_train(&tokenizer, context, &text, &size, 1, &options))
        fail_msg("%s", llm_last_error());
    return tokenizer;
}

/* Words that repeat become pieces; any number of threads learns the same; what is known comes back.
 */
static void test_train(void **state)
{
    static const char *const words[] = {"walking ", "walked ", "talking ", "talked ",
                                        "caf\xC3\xA9 "};
    llm_context *one = make_context(1);
    llm_context *three = make_context(3);
    llm_tokenizer *tokenizer;
    llm_tokenizer *again;
    char text[8192] = "";
    char back[64];
    char *json[2] = {NULL, NULL};
    int32_t ids[64];
    uint32_t random = 7;
    size_t sizes[2];
    size_t count;
    size_t size;
    int32_t id;

    (void)state;
    while (strlen(text) < sizeof text - 16)
        strcat(text, words[next_random(&random) % 5]);
    tokenizer = train(one, text, strlen(text), 40);
    again = train(three, text, strlen(text), 40);
    for (int i = 0; i < 2; i++) {
        const llm_tokenizer *each = i ? again : tokenizer;

        assert_int_equal(llm_tokenizer_save_memory(NULL, 0, &sizes[i], each), LLM_E_BUFFER);
        json[i] = malloc(sizes[i]);
        assert_int_equal(llm_tokenizer_save_memory(json[i], sizes[i], &sizes[i], each), LLM_OK);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(json[0], json[1], sizes[0]);
    assert_int_equal(llm_tokenizer_kind(tokenizer), LLM_TOKENIZER_UNIGRAM);
    assert_true(llm_tokenizer_vocab_size(tokenizer) <= 40);
    assert_int_equal(llm_tokenizer_special(tokenizer, LLM_TOKEN_UNK), 0);
    assert_int_equal(llm_tokenizer_token_id(&id, tokenizer, "\xE2\x96\x81walk", 7), LLM_OK);
    assert_int_equal(
        llm_tokenizer_encode(ids, 64, &count, tokenizer, "talking caf\xC3\xA9", 13, NULL), LLM_OK);
    assert_true(count < 8);
    assert_int_equal(llm_tokenizer_decode(back, sizeof back, &size, tokenizer, ids, count, NULL),
                     LLM_OK);
    assert_int_equal(size, 13);
    assert_memory_equal(back, "talking caf\xC3\xA9", 13);
    assert_int_equal(llm_tokenizer_encode(ids, 64, &count, tokenizer, "#", 1, NULL), LLM_OK);
    assert_int_equal(ids[count - 1], 0);
    free(json[0]);
    free(json[1]);
    llm_tokenizer_free(tokenizer);
    llm_tokenizer_free(again);
    llm_context_free(one);
    llm_context_free(three);
}

static void test_train_refused(void **state)
{
    static const char *const texts[] = {"", "a\xFF"
                                            "b"};
    llm_context *context = make_context(1);
    llm_tokenizer_train_options options;
    llm_tokenizer *tokenizer;

    (void)state;
    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.kind = LLM_TOKENIZER_UNIGRAM;
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(texts[i]);

        assert_int_equal(llm_tokenizer_train(&tokenizer, context, &texts[i], &size, 1, &options),
                         i ? LLM_E_FORMAT : LLM_E_INVALID);
        assert_null(tokenizer);
    }
    llm_context_free(context);
}

/* ---- llama.cpp's vectors ---- */

static void check_vectors(llm_context *context, const char *folder, const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    llm_tokenizer *tokenizer = NULL;
    llm_encode_options options;
    char path[1024];
    char *texts;
    char *rows;
    char *text;
    char *row;
    size_t size;

    (void)snprintf(path, sizeof path, "%s/vocab-llamacpp/%s", folder, name);
    if (llm_tokenizer_load(&tokenizer, context, path))
        fail_msg("%s", llm_last_error());
    assert_int_equal(llm_encode_options_init(&options, sizeof options), LLM_OK);
    options.add_special = 0;
    (void)snprintf(path, sizeof path, "%s/vocab-llamacpp/%s.inp", folder, name);
    assert_int_equal(file_read(&texts, &size, &context->memory, path, 0), LLM_OK);
    (void)snprintf(path, sizeof path, "%s/vocab-llamacpp/%s.out", folder, name);
    assert_int_equal(file_read(&rows, &size, &context->memory, path, 0), LLM_OK);
    for (text = texts, row = rows; text;) {
        char *next = strstr(text, separator);
        static int32_t ids[MOST];
        char *end = row;
        size_t count;

        assert_int_equal(llm_tokenizer_encode(ids, MOST, &count, tokenizer, text,
                                              next ? (size_t)(next - text) : strlen(text),
                                              &options),
                         LLM_OK);
        for (size_t i = 0; i < count; i++) {
            long expected = strtol(row, &end, 10);

            if (end == row || ids[i] != expected || memchr(row, '\n', (size_t)(end - row)))
                fail_msg("%s: token %zu of \"%.60s\"", name, i, text);
            row = end;
        }
        assert_true(strcspn(row, "0123456789") >= strcspn(row, "\n"));
        row = strchr(row, '\n');
        row = row ? row + 1 : end;
        text = next ? next + sizeof separator - 1 : NULL;
    }
    memory_release(&context->memory, texts);
    memory_release(&context->memory, rows);
    llm_tokenizer_free(tokenizer);
}

static void test_vectors(void **state)
{
    static const char *const names[] = {"ggml-vocab-bert-bge.gguf", "ggml-vocab-falcon.gguf",
                                        "ggml-vocab-gpt-2.gguf",    "ggml-vocab-llama-spm.gguf",
                                        "ggml-vocab-mpt.gguf",      "ggml-vocab-phi-3.gguf"};
    const char *folder = getenv("LLM_TEST_DATA");
    llm_context *context;

    (void)state;
    if (!folder) {
        print_message("SKIPPED: LLM_TEST_DATA is not set, llama.cpp's vectors were not tried\n");
        skip();
    }
    context = make_context(1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_vectors(context, folder, names[i]);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),        cmocka_unit_test(test_jsons),
        cmocka_unit_test(test_save_again),    cmocka_unit_test(test_save_refused),
        cmocka_unit_test(test_arrays),        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_bad_arrays),    cmocka_unit_test(test_long),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_train),
        cmocka_unit_test(test_train_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
