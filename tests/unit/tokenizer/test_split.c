/* SPDX-License-Identifier: MIT
 *
 * Split rules by hand-made cases (words between '|'), and what holds for all of them: no gaps, the
 * same words whatever the batch size, safe points that are cuts.
 */
#include "fixtures.h"

static void check_words(int32_t rule, const char *expected)
{
    unsigned char text[256];
    size_t cuts[256];
    size_t size = 0;
    size_t count = 0;
    const unsigned char *cursor = text;
    const unsigned char *ends[4];
    size_t at = 0;

    for (const char *c = expected; *c; c++) {
        if (*c == '|')
            cuts[count++] = size;
        else
            text[size++] = (unsigned char)*c;
    }
    cuts[count++] = size;
    while (cursor < text + size) {
        size_t got = split_find(rule)->scan(&cursor, text + size, ends, 3);

        assert_true(got >= 1 && got <= 3);
        for (size_t i = 0; i < got; i++, at++) {
            if (at >= count || ends[i] != text + cuts[at])
                fail_msg("rule %d, \"%s\": word %zu ends at %td", (int)rule, expected, at,
                         ends[i] - text);
        }
    }
    assert_int_equal(at, count);
}

static void test_gpt2(void **state)
{
    (void)state;
    check_words(LLM_SPLIT_GPT2, "Hello| world|,| it|'s| 1234| '|s|'|S");
    check_words(LLM_SPLIT_GPT2, "a|  | b|\n\n\n| c|  ");
    check_words(LLM_SPLIT_GPT2, "we|'re|'ve|'m|'ll|'d|'t| ''|\xC3\xA9t\xC3\xA9| \xE4\xB8\xAD");
    check_words(LLM_SPLIT_GPT2, "a|\xC2\xA0|b");      /* no-break space */
    check_words(LLM_SPLIT_GPT2, "a|\xCC\x81|b");      /* a mark is no letter */
    check_words(LLM_SPLIT_GPT2, "a|\xFF\xFE|b| \t"); /* invalid bytes are symbols */
    check_words(LLM_SPLIT_GPT2, " ");
}

static void test_cl100k(void **state)
{
    (void)state;
    check_words(LLM_SPLIT_CL100K, "Hello| world|,| it|'S| |123|4| '|s");
    check_words(LLM_SPLIT_CL100K, "it|'\xC5\xBF|x| !?\n\n|a|\tb|(c|)");
    check_words(LLM_SPLIT_CL100K, "a|  \n\n|  | b|\n|  ");
    check_words(SPLIT_CL100K_TIKTOKEN, "a|  \n\n|  | b|\n  ");
    check_words(LLM_SPLIT_QWEN2, "a| |1|2|3|\r\n");
}

static void test_o200k(void **state)
{
    (void)state;
    check_words(LLM_SPLIT_O200K, "camel|Case|HTTPServer's| ABC'LL| x");
    check_words(LLM_SPLIT_O200K, "a|!/\n/|b| |123|4|\n|\xCC\x81"
                                 "a|ABc");
    check_words(LLM_SPLIT_O200K, "\xE4\xB8\xAD|ABC| \xE4\xB8\xAD"
                                 "a");
}

static void test_none(void **state)
{
    (void)state;
    check_words(LLM_SPLIT_NONE, "all of this");
    assert_null(split_find(77));
    assert_null(split_find_regex("\\w+"));
}

/* Random bytes, all rules: words cover the text, and a safe point is a cut. */
static void test_random(void **state)
{
    static const char bytes[] = "aZ '\n\r\t1!/.\xC3\xA9\xE4\xB8\xAD\xFF";
    unsigned char text[600];
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        int32_t rule = round % 5;
        size_t size = next_random(&seed) % sizeof text;
        const unsigned char *cursor = text;
        const unsigned char *safe;
        const unsigned char *ends[7];
        const unsigned char *last = text;
        bool found = false;

        for (size_t i = 0; i < size; i++)
            text[i] = (unsigned char)bytes[next_random(&seed) % (sizeof bytes - 1)];
        safe = split_safe_point(text + size / 3, text + size);
        while (cursor < text + size) {
            size_t count = split_find(rule)->scan(&cursor, text + size, ends, 7);

            for (size_t i = 0; i < count; i++) {
                assert_true(ends[i] > last && ends[i] <= text + size);
                last = ends[i];
                found = found || last == safe;
            }
        }
        assert_ptr_equal(last, text + size);
        assert_true(found || rule == LLM_SPLIT_NONE || size == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2), cmocka_unit_test(test_cl100k), cmocka_unit_test(test_o200k),
        cmocka_unit_test(test_none), cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
