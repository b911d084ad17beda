/* SPDX-License-Identifier: MIT
 *
 * Grammars: which texts follow them, what is refused and why, and masks against trying every token
 * of the vocabulary. tests/golden/check_grammars.py compares regular expressions with Python's and
 * generated JSON with the package jsonschema.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "generate/grammar.h"
#include "llm.h"

#include <stdlib.h>
#include <string.h>

static llm_context *context;
static llm_tokenizer *tokenizer; /* tokens of several bytes, some of them parts of characters */

static int setup(void **state)
{
    static const char text[] =
        "{\"name\": \"value\", \"list\": [1, 2, 30, 4.5e6, true, false, null], \"text\": "
        "\"caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80\"}\n[[[]]] {\"a\": {\"b\": "
        "\"\\n\"}} "
        "{\"name\": \"other\", \"list\": [], \"text\": \"\"}, \"name\": \"value\", \"list\": [1, 2]"
        " caf\xc3\xa9 caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80 true, false, null";
    const char *texts = text;
    const size_t size = sizeof text - 1;
    const char *special = "<end>";
    llm_tokenizer_train_options options;

    (void)state;
    if (llm_context_new(&context, NULL) ||
        llm_tokenizer_train_options_init(&options, sizeof options))
        return 1;
    options.vocab_size = 420;
    options.split = LLM_SPLIT_NONE;
    options.special_tokens = &special;
    options.special_count = 1;
    return llm_tokenizer_train(&tokenizer, context, &texts, &size, 1, &options);
}

static int teardown(void **state)
{
    (void)state;
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    return 0;
}

typedef llm_status (*maker)(llm_grammar **, llm_tokenizer *, const char *, size_t);

static llm_grammar *make(maker from, const char *text)
{
    llm_grammar *grammar = NULL;

    assert_int_equal(from(&grammar, tokenizer, text, strlen(text)), LLM_OK);
    return grammar;
}

struct row {
    maker maker;
    const char *grammar;
    const char *complete[8], *partial[6], *none[8];
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        llm_grammar *grammar = make(rows[i].maker, rows[i].grammar);
        int32_t match;

        for (int j = 0; j < 8 && rows[i].complete[j]; j++) {
            const char *text = rows[i].complete[j];

            assert_int_equal(llm_grammar_match(&match, grammar, text, strlen(text)), LLM_OK);
            assert_int_equal(match, LLM_MATCH_COMPLETE);
        }
        for (int j = 0; j < 6 && rows[i].partial[j]; j++) {
            const char *text = rows[i].partial[j];

            assert_int_equal(llm_grammar_match(&match, grammar, text, strlen(text)), LLM_OK);
            assert_int_equal(match, LLM_MATCH_PARTIAL);
        }
        for (int j = 0; j < 8 && rows[i].none[j]; j++) {
            const char *text = rows[i].none[j];

            assert_int_equal(llm_grammar_match(&match, grammar, text, strlen(text)), LLM_OK);
            assert_int_equal(match, LLM_MATCH_NONE);
        }
        llm_grammar_free(grammar);
    }
}

#define GBNF llm_grammar_from_gbnf
#define REGEX llm_grammar_from_regex
#define SCHEMA llm_grammar_from_json_schema

static const struct row gbnf_rows[] = {
    {GBNF,
     "root ::= \"a\"* | b\nb ::= \"x\" [0-9]{2,3} # comment\n",
     {"", "a", "aaa", "x12", "x123"},
     {"x", "x1"},
     {"b", "x1234", "ab"}},
    {GBNF,
     "root ::= expr\nexpr ::= term (\n  [-+*/] term )*\nterm ::= [0-9]+\n  | \"(\" expr \")\"",
     {"1", "1+2*(3-4)", "((((7))))"},
     {"1+", "((1)", "("},
     {")", "1+)", "+1"}},
    {GBNF,
     "root ::= [^\"\\x41-\\x43] \"\\u00e9\" . | \"\\t\\\"\\\\\"",
     {"z\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xc3\xa9x", "\t\"\\"},
     {"z\xc3", "z\xc3\xa9\xf0\x9f"},
     {"A", "\"", "z\xc3\xaa", "\xff", "\xed\xa0\x80", "\xc0\x80"}},
    /* loops around nothing, rules that can be empty, right recursion */
    {GBNF,
     "root ::= ((((\"\")*)*)* | a)* \"k\"\na ::= \"\" | a-2\na-2 ::= ()+",
     {"k"},
     {""},
     {"a", "kk"}},
    {GBNF, "root ::= \"a\" root | \"a\"", {"a", "aaaaaa"}, {""}, {"b", "aab"}},
    {GBNF, "root ::= \"a\" root \"b\" | \"\"", {"", "ab", "aabb"}, {"a", "aab"}, {"abb", "b"}},
    /* ambiguous */
    {GBNF,
     "root ::= x x x\nx ::= y | y y\ny ::= \"a\" | \"aa\"",
     {"aaa", "aaaaaaaaaaaa"},
     {"aa"},
     {"aaaaaaaaaaaaa", "b"}},
    /* a way that never ends is no way */
    {GBNF, "root ::= \"a\" | \"b\" forever\nforever ::= \"c\" forever", {"a"}, {""}, {"b", "bc"}},
};

static const struct row regex_rows[] = {
    {REGEX, "^(a|b)*c{1,2}$", {"c", "abacc"}, {"", "aba"}, {"ccc", "d"}},
    {REGEX, "\\d{3}-[^\\s\\d]+?", {"123-abc", "000-\xc3\xa9"}, {"12", "123-"}, {"123- ", "a"}},
    {REGEX, "[]a-]+|\\x41\\u00e9", {"]", "a-]", "A\xc3\xa9"}, {"", "A"}, {"b", "A]"}},
    {REGEX, "", {""}, {NULL}, {"a"}},
    {REGEX, ".", {"a", "\xe4\xbd\xa0"}, {"", "\xe4\xbd"}, {"\n", "ab"}},
};

static const struct row schema_rows[] = {
    {SCHEMA,
     "{}",
     {"1", "-0.5e10", "\"\\ud83d\\ude00\"", "[1, {\"a\":[]}]", "null"},
     {"nul", "{\"a\":1", "\"\\ud83d"},
     {"01", "[1,]", "\"\\ud83d\"", "{a:1}", "\"\n\""}},
    {SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{},\"c\":{\"const\":"
     "1}},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     {"{\"b\":null}", "{\"a\":1,\"b\":[]}", "{\"a\": 1, \"b\": 2, \"c\": 1}", "{\"b\":1,\"c\":1}"},
     {"{", "{\"a\":1"},
     {"{}", "{\"a\":1}", "{\"b\":1,\"c\":2}", "{\"b\":1,\"a\":1}", "{\"d\":1}", "{\"a\":1.5,",
      "{,"}},
    {SCHEMA,
     "{\"properties\":{\"ab\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}"
     "}",
     {"{}", "{\"ab\":null}", "{\"a\":1}", "{\"abc\":1,\"\":2}", "{\"b\":1}"},
     {"{\"ab\":n"},
     {"{\"ab\":1", "{\"a\":null", "{\"\\u0061b\":1"}},
    {SCHEMA,
     "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"}],\"items\":{\"type\":\"integer\"},"
     "\"minItems\":1,\"maxItems\":3}",
     {"[\"a\"]", "[\"a\",1,2]", "[ \"a\" , 1 ]"},
     {"[\"a\",1,2"},
     {"[]", "[1", "[\"a\",1,2,3"}},
    {SCHEMA,
     "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2}",
     {"[1,2]", "[1,2,3,4,5]"},
     {"[1,"},
     {"[]", "[1]"}},
    {SCHEMA,
     "{\"type\":[\"integer\",\"null\"],\"minimum\":-12,\"exclusiveMaximum\":105}",
     {"null", "-12", "-9", "0", "104", "99"},
     {"-", ""},
     {"-13", "105", "110", "-0", "1.0"}},
    {SCHEMA,
     "{\"type\":\"string\",\"pattern\":\"^a\\\"?$|b\\\\d\"}",
     {"\"a\"", "\"a\\\"\"", "\"b1\"", "\"xxb1\\n\""},
     {"\"x"},
     {"\"ab\"", "\"a\\u0022\""}},
    {SCHEMA,
     "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\\n\xe4\xbd\xa0\\u00e9\""},
     {"\"a"},
     {"\"a\"", "\"abcd"}},
    {SCHEMA,
     "{\"enum\":[\"x\",\"xy\",12,{\"a\":[1]},null]}",
     {"\"x\"", "\"xy\"", "12", "{\"a\":[1]}", "null"},
     {"\"x"},
     {"1 ", "{\"a\": "}},
    {SCHEMA,
     "{\"$ref\":\"#/$defs/t~1x\",\"$defs\":{\"t/x\":{\"type\":\"array\",\"items\":{\"$ref\":"
     "\"#/$defs/t~1x\"}}}}",
     {"[]", "[[],[[]]]"},
     {"[["},
     {"1", "[1"}},
    {SCHEMA,
     "{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"p\"}},\"required\":[\"k\"],"
     "\"additionalProperties\":false},{\"properties\":{\"k\":{\"const\":\"q\"},\"v\":{}},"
     "\"required\":[\"k\"],\"additionalProperties\":false}]}",
     {"{\"k\":\"p\"}", "{\"k\":\"q\",\"v\":1}"},
     {"{\"k\":\""},
     {"{\"k\":\"r", "{\"k\":\"p\",\"v"}},
};

static void test_rows(void **state)
{
    (void)state;
    check_rows(gbnf_rows, sizeof gbnf_rows / sizeof *gbnf_rows);
    check_rows(regex_rows, sizeof regex_rows / sizeof *regex_rows);
    check_rows(schema_rows, sizeof schema_rows / sizeof *schema_rows);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

struct refusal {
    maker maker;
    const char *grammar;
    llm_status status;
    const char *words; /* of the message */
};

static const struct refusal refusals[] = {
    {GBNF, "root ::= root \"a\" | \"b\"", LLM_E_FORMAT, "rule \"root\" calls itself"},
    {GBNF, "root ::= a\na ::= b* \"x\"\nb ::= c \"y\"\nc ::= \"\" | a", LLM_E_FORMAT,
     "calls itself"},
    {GBNF, "root ::= x", LLM_E_FORMAT, "rule \"x\" is not defined"},
    {GBNF, "foo ::= \"x\"", LLM_E_FORMAT, "rule \"root\" is not defined"},
    {GBNF, "", LLM_E_FORMAT, "rule \"root\" is not defined"},
    {GBNF, "root ::= \"a\" root", LLM_E_FORMAT, "no text follows"},
    {GBNF, "root ::= [\\x61-]", LLM_OK, ""},
    {GBNF, "root ::= []", LLM_E_FORMAT, "no text follows"},
    {GBNF, "root ::= \"a\"\nroot ::= \"b\"", LLM_E_FORMAT, "line 2, column 1"},
    {GBNF, "root ::= (\"a\"\n", LLM_E_FORMAT, "( is not closed"},
    {GBNF, "root ::= \"a\")", LLM_E_FORMAT, ") without ("},
    {GBNF, "root ::= \"a", LLM_E_FORMAT, "not closed"},
    {GBNF, "root ::= [a", LLM_E_FORMAT, "not closed"},
    {GBNF, "root ::= [z-a]", LLM_E_FORMAT, "backwards"},
    {GBNF, "root ::= *", LLM_E_FORMAT, "nothing stands before"},
    {GBNF, "root ::= \"\\q\"", LLM_E_FORMAT, "unknown escape"},
    {GBNF, "root ::= \"\\uD800\"", LLM_E_FORMAT, "no such character"},
    {GBNF, "root ::= \"\\U00110000\"", LLM_E_FORMAT, "no such character"},
    {GBNF, "root ::= \"\xff\"", LLM_E_FORMAT, "UTF-8"},
    {GBNF, "root ::= \"a\"{3,2}", LLM_E_FORMAT, "backwards"},
    {GBNF, "root ::= \"a\"{1000000000}", LLM_E_RANGE, "too large"},
    {GBNF, "root ::= ((\"a\"{1000}){1000}){1000}", LLM_E_RANGE, "too large"},
    {GBNF, "root ::= \"a\" <token>", LLM_E_FORMAT, "does not end here"},
    {REGEX, "(?=a)", LLM_E_UNSUPPORTED, "look-around"},
    {REGEX, "(a)\\1", LLM_E_UNSUPPORTED, "back-references"},
    {REGEX, "\\bx", LLM_E_UNSUPPORTED, "word boundaries"},
    {REGEX, "\\p{L}", LLM_E_UNSUPPORTED, "\\p"},
    {REGEX, "a^b", LLM_E_UNSUPPORTED, "^ and $"},
    {REGEX, "(a$)b", LLM_E_UNSUPPORTED, "^ and $"},
    {REGEX, "a++", LLM_E_UNSUPPORTED, "possessive"},
    {REGEX, "[[:alpha:]]", LLM_E_UNSUPPORTED, "named classes"},
    {REGEX, "a**", LLM_E_FORMAT, "repetition of a repetition"},
    {REGEX, "(a", LLM_E_FORMAT, "not closed"},
    {REGEX, "a)", LLM_E_FORMAT, ") without ("},
    {REGEX, "[a", LLM_E_FORMAT, "not closed"},
    {REGEX, "a\\", LLM_E_FORMAT, "\\ at the end"},
    {REGEX, "a{2,1}", LLM_E_FORMAT, "backwards"},
    {REGEX, "((((a{100}){100}){100}){100}){100}", LLM_E_RANGE, "too large"},
    {REGEX, "\xc3", LLM_E_FORMAT, "UTF-8"},
    {SCHEMA, "{\"properties\":{\"x\":{\"items\":{\"not\":{}}}}}", LLM_E_UNSUPPORTED,
     "#/properties/x/items/not: the keyword is not supported"},
    {SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true}", LLM_E_UNSUPPORTED, "#/uniqueItems"},
    {SCHEMA, "{\"type\":\"number\",\"multipleOf\":2}", LLM_E_UNSUPPORTED, "#/multipleOf"},
    {SCHEMA, "{\"type\":\"number\",\"minimum\":0.5}", LLM_E_UNSUPPORTED, "integers only"},
    {SCHEMA, "{\"allOf\":[{},{}]}", LLM_E_UNSUPPORTED, "#/allOf"},
    {SCHEMA, "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", LLM_E_UNSUPPORTED,
     "#/oneOf"},
    {SCHEMA, "{\"anyOf\":[{}],\"type\":\"object\"}", LLM_E_UNSUPPORTED, "#/anyOf"},
    {SCHEMA, "{\"$ref\":\"http://example.com\"}", LLM_E_UNSUPPORTED, "#/$ref"},
    {SCHEMA, "{\"$ref\":\"#/nowhere\"}", LLM_E_FORMAT, "there is no such schema"},
    {SCHEMA, "{\"$ref\":\"#\"}", LLM_E_FORMAT, "calls itself"},
    {SCHEMA, "{\"type\":\"string\",\"format\":\"color\"}", LLM_E_UNSUPPORTED, "#/format"},
    {SCHEMA, "{\"type\":\"string\",\"pattern\":\"(?=x)\"}", LLM_E_UNSUPPORTED, "#/pattern"},
    {SCHEMA, "{\"pattern\":\"x\",\"minLength\":2}", LLM_E_UNSUPPORTED, "#/pattern"},
    {SCHEMA, "{\"required\":[\"x\"]}", LLM_E_UNSUPPORTED, "#/required"},
    {SCHEMA, "{\"minLength\":1,\"minItems\":1}", LLM_E_UNSUPPORTED, "#/type: it is missing"},
    {SCHEMA, "{\"type\":\"thing\"}", LLM_E_FORMAT, "#/type: no such type"},
    {SCHEMA, "{\"type\":\"array\",\"minItems\":1000000000}", LLM_E_RANGE, "too large"},
    {SCHEMA, "{\"type\":\"string\",\"minLength\":1000000000}", LLM_E_RANGE, "too large"},
    {SCHEMA, "{\"minItems\":-1}", LLM_E_FORMAT, "#/minItems"},
    {SCHEMA, "false", LLM_E_FORMAT, "no text follows"},
    {SCHEMA, "{\"enum\":[]}", LLM_E_FORMAT, "no text follows"},
    {SCHEMA, "[]", LLM_E_FORMAT, "a schema is an object"},
    {SCHEMA, "{", LLM_E_FORMAT, "line 1"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *row = &refusals[i];
        llm_grammar *grammar = NULL;

        assert_int_equal(row->maker(&grammar, tokenizer, row->grammar, strlen(row->grammar)),
                         row->status);
        if (row->status)
            assert_null(grammar);
        if (row->status && !strstr(llm_last_error(), row->words))
            fail_msg("%s: %s", row->grammar, llm_last_error());
        llm_grammar_free(grammar);
    }
}

/* What is nested, long or has many alternatives is refused or taken, never too much. */
static void test_large(void **state)
{
    const size_t most = 1 << 20;
    char *text = malloc(most + 100);
    llm_grammar *grammar = NULL;
    size_t size;

    (void)state;
    memset(text, '(', most);
    assert_int_equal(REGEX(&grammar, tokenizer, text, most), LLM_E_RANGE);
    memcpy(text, "root ::= ", 9);
    assert_int_equal(GBNF(&grammar, tokenizer, text, most), LLM_E_FORMAT);
    memset(text, '[', most);
    assert_int_equal(SCHEMA(&grammar, tokenizer, text, most), LLM_E_FORMAT);
    size = 9;
    memcpy(text, "root ::= ", 9);
    while (size < most / 4) { /* many alternatives, all alike */
        memcpy(text + size, "\"x\"|", 4);
        size += 4;
    }
    memcpy(text + size, "\"y\"", 3);
    assert_int_equal(GBNF(&grammar, tokenizer, text, size + 3), LLM_OK);
    llm_grammar_free(grammar);
    free(text);
}

/* ---- masks -------------------------------------------------------------------------------------
 */

/* A token may follow if the text with it is not out. */
static bool may_follow(llm_grammar *grammar, const char *text, size_t size, int32_t id)
{
    char longer[2048];
    size_t token_size = 0;
    const char *token;
    int32_t match = -1;

    if (!tokenizer_has(tokenizer, id) || tokenizer_is_special(tokenizer, id))
        return false;
    token = tokenizer_token(tokenizer, id, &token_size);
    assert_true(token_size && size + token_size < sizeof longer);
    memcpy(longer, text, size);
    memcpy(longer + size, token, token_size);
    assert_int_equal(llm_grammar_match(&match, grammar, longer, size + token_size), LLM_OK);
    return match != LLM_MATCH_NONE;
}

/* Random texts of the grammar, token by token, with the mask at each place. */
static void walk_masks(llm_grammar *grammar, struct rng *rng, int tokens)
{
    int32_t vocabulary = llm_tokenizer_vocab_size(tokenizer);
    uint32_t mask[64];
    int32_t ids[64];
    char text[1024];
    size_t size = 0;
    size_t words = 0;

    for (int n = 0; n < tokens; n++) {
        int32_t allowed[1024];
        size_t count = 0;
        size_t token_size;
        const char *token;

        assert_int_equal(llm_grammar_mask(mask, 64, &words, grammar, ids, (size_t)n), LLM_OK);
        assert_int_equal(words, (vocabulary + 31) / 32);
        for (int32_t id = 0; id < vocabulary; id++) {
            bool is_set = mask[id / 32] >> id % 32 & 1;

            assert_int_equal(is_set, may_follow(grammar, text, size, id));
            if (is_set)
                allowed[count++] = id;
        }
        if (!count)
            return;
        ids[n] = allowed[rng_below(rng, count)];
        token = tokenizer_token(tokenizer, ids[n], &token_size);
        assert_true(size + token_size < sizeof text);
        memcpy(text + size, token, token_size);
        size += token_size;
    }
}

static void test_masks(void **state)
{
    static const char *const more[] = {
        "root ::= char* \"\\n\"\nchar ::= [^x\\n]",
        "root ::= \"[\" (root (\", \" root)*)? \"]\" | word\nword ::= \"\\\"\" [a-z]* \"\\\"\"",
        "root ::= x x x\nx ::= y | y y\ny ::= [a-f] | [a-f] [a-f] | \"true, \"",
        "root ::= s\ns ::= \"(\" s \")\" s | \"\"", "root ::= .*"};
    struct rng rng = rng_make(1, 0);

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
            llm_grammar *grammar = make(GBNF, more[i]);

            walk_masks(grammar, &rng, 16);
            llm_grammar_free(grammar);
        }
        for (size_t i = 0; i < sizeof schema_rows / sizeof *schema_rows; i++) {
            llm_grammar *grammar = make(SCHEMA, schema_rows[i].grammar);

            walk_masks(grammar, &rng, 12);
            llm_grammar_free(grammar);
        }
    }
}

/* When a grammar has seen more sets than it keeps, matchers stay where they are. */
static void test_collect(void **state)
{
    llm_grammar *grammar = make(GBNF, "root ::= s\ns ::= \"(\" s \")\" s | \"[\" s \"]\" s | \"\"");
    struct grammar_matcher matcher, other;
    int32_t open = tokenizer_find(tokenizer, "(", 1);
    int32_t close = tokenizer_find(tokenizer, ")", 1);
    int32_t bracket = tokenizer_find(tokenizer, "[", 1);
    size_t most = 0;
    bool is_complete;
    bool is_final;

    (void)state;
    assert_int_equal(matcher_open(&matcher, grammar), LLM_OK);
    assert_int_equal(matcher_open(&other, grammar), LLM_OK);
    assert_int_equal(matcher_accept(&other, bracket), LLM_OK);
    for (int i = 0; i < 3 * GRAMMAR_KEPT_SETS; i++) {
        assert_int_equal(matcher_accept(&matcher, open), LLM_OK);
        most = grammar->set_count > most ? grammar->set_count : most;
    }
    assert_true(most > GRAMMAR_KEPT_SETS && most < GRAMMAR_KEPT_SETS + 1000);
    assert_true(grammar->set_count < most);
    assert_int_equal(matcher_accept(&other, close), LLM_E_RANGE);
    for (int i = 0; i < 3 * GRAMMAR_KEPT_SETS; i++)
        assert_int_equal(matcher_accept(&matcher, close), LLM_OK);
    matcher_state(&matcher, &is_complete, &is_final);
    assert_true(is_complete && !is_final);
    assert_int_equal(matcher_accept(&matcher, close), LLM_E_RANGE);
    matcher_close(&matcher);
    matcher_reset(&other);
    matcher_state(&other, &is_complete, &is_final);
    assert_true(is_complete);
    assert_int_equal(matcher_accept(&other, 999999), LLM_E_RANGE);
    assert_int_equal(matcher_accept(&other, 0), LLM_E_RANGE); /* special */
    matcher_close(&other);
    llm_grammar_free(grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_large), cmocka_unit_test(test_masks),
                                       cmocka_unit_test(test_collect)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
