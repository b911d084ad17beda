/* SPDX-License-Identifier: MIT
 *
 * Stop strings: the same text comes out however it is cut into pieces, nothing that could still be
 * part of a stop string comes out early, and what comes out late is never more than that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/context.h"
#include "base/rng.h"
#include "generate/stop.h"
#include "llm.h"

#include <string.h>

static llm_context *context;

static int make_context(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL);
}

static int free_context(void **state)
{
    (void)state;
    llm_context_free(context);
    return 0;
}

struct row {
    const char *text;
    const char *stops[4];
    const char *expected;
    int32_t found;
};

static const struct row rows[] = {
    {"hello world", {NULL}, "hello world", -1},
    {"hello world", {"world"}, "hello ", 0},
    {"hello world", {"hello"}, "", 0},
    {"hello world", {"worlds", "xyz"}, "hello world", -1},
    {"hello world", {"worlds", "orl"}, "hello w", 1},
    {"abcX", {"abcX", "bc"}, "a", 1},    /* complete first */
    {"abcabd", {"bd", "abd"}, "abc", 1}, /* the longest of those that end together */
    {"abcabd", {"abd", "bd"}, "abc", 0},
    {"aaab", {"aab"}, "a", 0}, /* overlaps itself */
    {"abababc", {"ababc"}, "ab", 0},
    {"User: hi\nUser: ho", {"\nUser:"}, "User: hi", 0},
    {"caf\xc3\xa9 au lait", {"\xc3\xa9"}, "caf", 0},
    {"x", {"x"}, "", 0},
    {"", {"x"}, "", -1},
};

static size_t count_of(const char *const *stops)
{
    size_t count = 0;

    while (count < 4 && stops[count])
        count++;
    return count;
}

/* No byte may be held back that is not the beginning of a stop string. */
static void check_held(const struct stop *stop)
{
    bool is_prefix = stop->held.size == 0;

    for (size_t i = 0; i < stop->count; i++)
        is_prefix = is_prefix || (strlen(stop->strings[i]) > stop->held.size &&
                                  memcmp(stop->strings[i], stop->held.data, stop->held.size) == 0);
    assert_true(is_prefix);
}

static void check_row(const struct row *row, struct rng *rng)
{
    size_t size = strlen(row->text);
    struct stop stop;
    struct text out;

    stop_init(&stop, &context->memory);
    text_init(&out, &context->memory);
    for (int round = 0; round < 30; round++) {
        size_t at = 0;

        out.size = 0;
        stop_start(&stop, row->stops, count_of(row->stops));
        while (at < size) {
            size_t piece = round == 0 ? size : round == 1 ? 1 : (size_t)rng_below(rng, 5);

            piece = piece < size - at ? piece : size - at;
            stop_push(&stop, row->text + at, piece, &out);
            check_held(&stop);
            at += piece;
        }
        stop_finish(&stop, &out);
        assert_int_equal(stop.found, row->found);
        assert_int_equal(out.size, strlen(row->expected));
        if (out.size)
            assert_memory_equal(out.data, row->expected, out.size);
    }
    text_free(&out);
    stop_free(&stop);
}

static void test_rows(void **state)
{
    struct rng rng = rng_make(1, 0);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(&rows[i], &rng);
}

/* Random texts over two letters, where stop strings come up often, against a plain search. */
static void test_random(void **state)
{
    struct rng rng = rng_make(2, 0);

    (void)state;
    for (int round = 0; round < 500; round++) {
        char text[41] = {0};
        char stops[3][6] = {{0}};
        char expected[41];
        struct row row = {text, {stops[0], stops[1], stops[2]}, expected, -1};
        size_t longest = 0;
        size_t end;

        for (int i = 0; i < 40; i++)
            text[i] = "ab"[rng_below(&rng, 2)];
        for (int s = 0; s < 3; s++)
            for (size_t i = 0, n = 2 + (size_t)rng_below(&rng, 4); i < n; i++)
                stops[s][i] = "aabc"[rng_below(&rng, 4)];
        for (end = 1; end <= 40 && row.found < 0; end++) {
            for (int32_t s = 0; s < 3; s++) {
                size_t n = strlen(stops[s]);

                if (n <= end && n > longest && memcmp(text + end - n, stops[s], n) == 0) {
                    longest = n;
                    row.found = s;
                }
            }
        }
        memcpy(expected, text, sizeof expected);
        if (row.found >= 0)
            expected[end - 1 - longest] = '\0';
        check_row(&row, &rng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, make_context, free_context);
}
