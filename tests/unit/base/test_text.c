/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/map.h"
#include "base/text.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct memory *plain_memory(void)
{
    static struct memory memory;
    llm_context_options options;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    memory_init(&memory, &options);
    return &memory;
}

static void test_appending(void **state)
{
    struct text text;

    (void)state;
    text_init(&text, plain_memory());
    text_append(&text, "a\0b", 3);
    text_append_z(&text, "cd");
    text_printf(&text, "-%d-%s", 42, "x");
    assert_int_equal(text.size, 10);
    assert_memory_equal(text.data, "a\0bcd-42-x", 11);
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "%0100d", i);
    assert_int_equal(text.size, 100010);
    assert_int_equal(strlen(text.data + 3), 100007);
    assert_false(text.failed);
    text_free(&text);
    text_free(&text);
}

static void test_out_of_memory(void **state)
{
    struct memory *memory = plain_memory();
    struct text text;

    (void)state;
    memory->limit = 4096;
    text_init(&text, memory);
    for (int i = 0; i < 100; i++)
        text_printf(&text, "%0100d", i);
    assert_true(text.failed);
    text_append_z(&text, "more"); /* stays failed, stays safe */
    assert_true(text.failed);
    text_free(&text);
    assert_true(memory->used == 0);
}

static void test_json_text(void **state)
{
    struct text text;

    (void)state;
    text_init(&text, plain_memory());
    text_append_json(&text, "q\"\\\n\t\x01/\xc3\xa9", 9);
    assert_string_equal(text.data, "\"q\\\"\\\\\\n\\t\\u0001/\xc3\xa9\"");
    text_free(&text);
}

static void test_doubles(void **state)
{
    static const double values[] = {0.0,  -0.0,        1.0,     0.1,     1.0 / 3.0, 1e300, 5e-324,
                                    -2.5, 123456789.0, DBL_MAX, DBL_MIN, 1e21,      3e-5};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct text text;
        double back = 7.0;

        text_init(&text, plain_memory());
        text_append_double(&text, values[i]);
        assert_true(text_parse_double(text.data, text.size, &back));
        assert_memory_equal(&back, &values[i], sizeof back);
        text_free(&text);
    }
    for (int i = 0; i < 2; i++) {
        struct text text;

        text_init(&text, plain_memory());
        text_append_double(&text, i ? (double)NAN : HUGE_VAL);
        assert_string_equal(text.data, "null");
        text_free(&text);
    }
}

static void test_shortest_double(void **state)
{
    struct text text;

    (void)state;
    text_init(&text, plain_memory());
    text_append_double(&text, 0.1);
    assert_string_equal(text.data, "0.1");
    text_free(&text);
}

static void test_parsing(void **state)
{
    static const char *const bad[] = {"",     "-",  "1x",  " 1",  "1 ",
                                      "0x10", "1e", "nan", "inf", "1e999"};
    double number;
    int64_t integer;

    (void)state;
    assert_true(text_parse_double("-12.5e2", 7, &number) && number == -1250.0);
    assert_true(text_parse_double("12", 1, &number) && number == 1.0); /* the size counts */
    assert_true(text_parse_i64("-9223372036854775808", 20, &integer) && integer == INT64_MIN);
    assert_true(text_parse_i64("9223372036854775807", 19, &integer) && integer == INT64_MAX);
    assert_false(text_parse_i64("9223372036854775808", 19, &integer));
    assert_false(text_parse_i64("1.5", 3, &integer));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (text_parse_double(bad[i], strlen(bad[i]), &number))
            fail_msg("\"%s\" was read as %g", bad[i], number);
        assert_false(text_parse_i64(bad[i], strlen(bad[i]), &integer));
    }
}

/* Every code point there and back; what is not one is refused. */
static void test_utf8(void **state)
{
    char bytes[4];

    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        int size = utf8_encode(c, bytes);
        const unsigned char *cursor = (const unsigned char *)bytes;
        bool valid = false;

        if (c >= 0xd800 && c < 0xe000) {
            assert_int_equal(size, 0);
            continue;
        }
        assert_int_equal(size, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        assert_int_equal(utf8_next(&cursor, cursor + size, &valid), c);
        assert_true(valid && cursor == (const unsigned char *)bytes + size);
        for (int cut = 1; cut < size; cut++)
            assert_int_equal(utf8_complete(bytes, (size_t)cut), 0);
        assert_int_equal(utf8_complete(bytes, (size_t)size), size);
    }
    assert_int_equal(utf8_encode(0x110000, bytes), 0);
}

static void test_broken_utf8(void **state)
{
    static const char *const broken[] = {"\x80",
                                         "\xc0\x80",
                                         "\xc3",
                                         "\xc3(",
                                         "\xe0\x80\x80",
                                         "\xed\xa0\x80",
                                         "\xe2\x82",
                                         "\xf0\x80\x80\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xf8\x88\x80",
                                         "\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const unsigned char *start = (const unsigned char *)broken[i];
        const unsigned char *cursor = start;
        bool valid = true;

        assert_int_equal(utf8_next(&cursor, start + strlen(broken[i]), &valid), 0xfffd);
        assert_true(!valid && cursor == start + 1);
    }
    assert_int_equal(utf8_complete("ab\xe2\x82", 4), 2);
    assert_int_equal(utf8_complete("ab\xe2\x82\xac", 5), 5);
    assert_int_equal(utf8_complete("ab\xff", 3), 3); /* no character will ever come of it */
    assert_int_equal(utf8_complete("", 0), 0);
}

static void test_map(void **state)
{
    struct memory *memory = plain_memory();
    struct map map;
    char key[32];

    (void)state;
    map_init(&map, memory);
    assert_null(map_find(&map, "a", 1));
    for (int64_t i = 0; i < 20000; i++) {
        bool inserted = false;
        int size = snprintf(key, sizeof key, "key %lld", (long long)i);

        assert_int_equal(map_put(&map, key, (size_t)size, i, &inserted), LLM_OK);
        assert_true(inserted);
        assert_int_equal(map_put(&map, key, (size_t)size, -1, &inserted), LLM_OK);
        assert_false(inserted);
    }
    assert_int_equal(map_put(&map, "\0\0", 2, 5, NULL), LLM_OK);
    assert_int_equal(map_put(&map, "", 0, 6, NULL), LLM_OK);
    assert_int_equal(map.count, 20002);
    for (int64_t i = 0; i < 20000; i++) {
        int size = snprintf(key, sizeof key, "key %lld", (long long)i);
        const struct map_entry *entry = map_find(&map, key, (size_t)size);

        assert_true(entry && entry->value == i && entry == &map.entries[i]);
        assert_string_equal(entry->key, key);
    }
    assert_true(map_find(&map, "\0\0", 2)->value == 5 && map_find(&map, "", 0)->value == 6);
    assert_null(map_find(&map, "\0", 1));
    map_free(&map);
    assert_true(memory->used == 0);
}

static void test_json(void **state)
{
    static const char document[] = "{\"a\": 5, \"b\": 1.5, \"c\": true, \"d\": \"x\", \"n\": null}";
    json_t *json = NULL;
    int64_t integer = 99;
    int32_t small = 98;
    double number = 0.0;
    bool flag = false;
    const char *text = NULL;

    (void)state;
    assert_int_equal(json_open(&json, document, sizeof document - 1, "test"), LLM_OK);
    assert_int_equal(json_read_i64(json, "a", 0, 10, &integer), LLM_OK);
    assert_int_equal(json_read_double(json, "b", 0.0, 2.0, &number), LLM_OK);
    assert_int_equal(json_read_bool(json, "c", &flag), LLM_OK);
    assert_int_equal(json_read_text(json, "d", &text), LLM_OK);
    assert_true(integer == 5 && number == 1.5 && flag);
    assert_string_equal(text, "x");
    assert_int_equal(json_read_i32(json, "n", 0, 1, &small), LLM_OK); /* null: the default stays */
    assert_int_equal(json_read_i32(json, "absent", 0, 1, &small), LLM_OK);
    assert_int_equal(small, 98);
    assert_int_equal(json_read_i64(json, "a", 6, 10, &integer), LLM_E_RANGE);
    assert_non_null(strstr(status_message(), "a"));
    assert_int_equal(json_read_i64(json, "b", 0, 10, &integer), LLM_E_FORMAT);
    assert_int_equal(json_read_text(json, "a", &text), LLM_E_FORMAT);
    assert_int_equal(json_read_bool(json, "d", &flag), LLM_E_FORMAT);
    assert_int_equal(json_require(json, "a"), LLM_OK);
    assert_int_equal(json_require(json, "n"), LLM_E_FORMAT);
    assert_int_equal(json_require(json, "absent"), LLM_E_FORMAT);
    json_decref(json);
}

static void test_broken_json(void **state)
{
    static const char *const broken[] = {
        "", "{", "{\"a\": }", "[1, 2", "{\"a\": 1, \"a\": 2}", "\"\xff\"", "{} x", "nul"};
    char deep[10000];

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        json_t *json = NULL;

        if (json_open(&json, broken[i], strlen(broken[i]), "the test") != LLM_E_FORMAT)
            fail_msg("%s was accepted", broken[i]);
        assert_null(json);
        assert_non_null(strstr(status_message(), "the test"));
    }
    memset(deep, '[', sizeof deep); /* no recursion without bound */
    {
        json_t *json = NULL;

        assert_int_equal(json_open(&json, deep, sizeof deep, "deep"), LLM_E_FORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appending),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_json_text),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_shortest_double),
        cmocka_unit_test(test_parsing),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_broken_utf8),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_broken_json),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
