/* SPDX-License-Identifier: MIT
 *
 * Answers of models taken apart: every family, whole and cut at every place, byte by byte.
 */
#include <llm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MARK(name) "<\xEF\xBD\x9C" name "\xEF\xBD\x9C>"
#define BLOCK "\xE2\x96\x81"

/* `calls`: "name|id|arguments" joined by newlines; an id that begins with "call0" was made up. */
static const struct answer {
    int32_t format;
    const char *text, *content, *reasoning, *calls;
} answers[] = {
    {LLM_CHAT_PLAIN, "Hello there.\n", "Hello there.\n", "", ""},
    {LLM_CHAT_PLAIN, "", "", "", ""},
    {LLM_CHAT_PLAIN, " a < b <thin ", " a < b <thin ", "", ""},
    {LLM_CHAT_PLAIN, "<think>\nhm, <b>\n</think>\n\nSo: 4", "So: 4", "hm, <b>", ""},
    {LLM_CHAT_PLAIN, "<think>\n\n</think>\n\nSo", "So", "", ""},
    {LLM_CHAT_PLAIN, "<think>never closed", "", "never closed", ""},
    {LLM_CHAT_PLAIN, "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", "", ""},
    {LLM_CHAT_HERMES,
     "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"M\xC3\xA1laga\", \"n\": 1.5}}\n"
     "</tool_call>",
     "", "", "get|call00000|{\"city\": \"M\xC3\xA1laga\", \"n\": 1.5}"},
    {LLM_CHAT_HERMES,
     "<think>\nweather\n</think>\n\nLet me see.\n\n<tool_call>\n{\"name\": \"a\", \"arguments\": "
     "{}}\n"
     "</tool_call>\n<tool_call>\n{\"name\": \"b\", \"arguments\": {\"x\": [1, null]}}\n</tool_call>"
     "<|im_end|>",
     "Let me see.", "weather", "a|call00000|{}\nb|call00001|{\"x\": [1, null]}"},
    {LLM_CHAT_HERMES, "Use <tool_call>nonsense</tool_call> here",
     "Use <tool_call>nonsense</tool_call> here", "", ""},
    {LLM_CHAT_HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "", "",
     "f|call00000|{\"a\": 1}"},
    {LLM_CHAT_HERMES, "<tool_call>{\"name\": \"f\", \"arg", "<tool_call>{\"name\": \"f\", \"arg",
     "", ""},
    {LLM_CHAT_HERMES,
     "<tool_call>\n<function=get>\n<parameter=city>\nRome\n</parameter>\n<parameter=q>\na \"b\"\n"
     "</parameter>\n</function>\n</tool_call>",
     "", "", "get|call00000|{\"city\": \"Rome\", \"q\": \"a \\\"b\\\"\"}"},
    {LLM_CHAT_LLAMA3, "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}<|eot_id|>", "", "",
     "f|call00000|{\"a\": \"b\"}"},
    {LLM_CHAT_LLAMA3,
     "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
     "", "", "f|call00000|{}\ng|call00001|{}"},
    {LLM_CHAT_LLAMA3, "<|python_tag|>brave_search.call(query=\"rain, in Rome\")<|eom_id|>", "", "",
     "brave_search|call00000|{\"query\": \"rain, in Rome\"}"},
    {LLM_CHAT_LLAMA3, "<|python_tag|>print(\"x\")\n", "", "",
     "python|call00000|{\"code\": \"print(\\\"x\\\")\"}"},
    {LLM_CHAT_LLAMA3, "{not json} but text", "{not json} but text", "", ""},
    {LLM_CHAT_LLAMA3, "{\"a\": 1}", "{\"a\": 1}", "", ""},
    {LLM_CHAT_LLAMA3, "Sure: {\"name\": \"f\", \"parameters\": {}}",
     "Sure: {\"name\": \"f\", \"parameters\": {}}", "", ""},
    {LLM_CHAT_MISTRAL,
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abc123XYZ\"}, "
     "{\"name\": "
     "\"g\", \"arguments\": {}}]</s>",
     "", "", "f|abc123XYZ|{\"a\": 1}\ng|call00001|{}"},
    {LLM_CHAT_MISTRAL, "On it.[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]123456789[ARGS]{}",
     "On it.", "", "f|call00000|{\"a\": 1}\ng|123456789|{}"},
    {LLM_CHAT_MISTRAL, "[THINK]so[/THINK]Yes", "Yes", "so", ""},
    {LLM_CHAT_MISTRAL, "[TOOL_CALLS] oops", "[TOOL_CALLS] oops", "", ""},
    {LLM_CHAT_DEEPSEEK,
     "ok" MARK("tool" BLOCK "calls" BLOCK "begin")
         MARK("tool" BLOCK "call" BLOCK "begin") "function" MARK(
             "tool" BLOCK
             "sep") "get\n```json\n{\"a\": 1}\n```" MARK("tool" BLOCK "call" BLOCK "end")
             MARK("tool" BLOCK "calls" BLOCK "end") MARK("end" BLOCK "of" BLOCK "sentence"),
     "ok", "", "get|call00000|{\"a\": 1}"},
    {LLM_CHAT_DEEPSEEK,
     "<think>a</think>" MARK("tool" BLOCK "calls" BLOCK "begin")
         MARK("tool" BLOCK "call" BLOCK
              "begin") "f" MARK("tool" BLOCK "sep") "{}" MARK("tool" BLOCK "call" BLOCK "end")
             MARK("tool" BLOCK "call" BLOCK "begin") "g" MARK("tool" BLOCK "sep") "{\"b\": 2}" MARK(
                 "tool" BLOCK "call" BLOCK "end") MARK("tool" BLOCK "calls" BLOCK "end"),
     "", "a", "f|call00000|{}\ng|call00001|{\"b\": 2}"},
    {LLM_CHAT_COMMAND_R,
     "<|START_THINKING|>plan<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", "
     "\"tool_name\": \"f\", \"parameters\": {\"a\": 1}}\n]<|END_ACTION|>",
     "", "plan", "f|0|{\"a\": 1}"},
    {LLM_CHAT_COMMAND_R, "<|START_RESPONSE|>Hello<|END_RESPONSE|>", "Hello", "", ""},
    {LLM_CHAT_JSON, "```json\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n```", "", "",
     "f|call00000|{\"a\": 1}"},
    {LLM_CHAT_JSON, "Like so:\n```json\n{\"a\": 1}\n```\ndone",
     "Like so:\n```json\n{\"a\": 1}\n```\ndone", "", ""},
    {LLM_CHAT_JSON,
     "[{\"name\": \"f\", \"parameters\": {}}, {\"function\": {\"name\": \"g\", "
     "\"arguments\": \"{\\\"x\\\":1}\"}, \"id\": \"i\"}]",
     "", "", "f|call00000|{}\ng|i|{\"x\":1}"},
    {LLM_CHAT_JSON, "{\"tool_calls\": [{\"name\": \"f\", \"arguments\": {}}]}", "", "",
     "f|call00000|{}"},
    {LLM_CHAT_JSON, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>", "", "",
     "f|call00000|{}"},
    {LLM_CHAT_JSON, "{\"name\": \"f\", \"arguments\"", "{\"name\": \"f\", \"arguments\"", "", ""},
};

static llm_context *context;

struct heard {
    char content[1024], reasoning[1024], calls[1024];
};

static int32_t hear(void *user, const llm_chat_event *event)
{
    struct heard *heard = user;
    char line[512];

    assert_int_equal(strlen(event->text), event->text_size);
    if (event->kind == LLM_CHAT_CONTENT) {
        strcat(heard->content, event->text);
    } else if (event->kind == LLM_CHAT_REASONING) {
        strcat(heard->reasoning, event->text);
    } else {
        (void)snprintf(line, sizeof line, "%s%s|%s|%s", event->index ? "\n" : "", event->name,
                       event->id, event->text);
        strcat(heard->calls, line);
    }
    return 0;
}

static llm_chat_parser *parser_for(int32_t format)
{
    llm_chat_parser *parser;

    assert_int_equal(llm_chat_parser_new(&parser, context, format, NULL), LLM_OK);
    return parser;
}

/* The parts [0, a), [a, b), [b, end) of an answer. */
static void check_parts(const struct answer *answer, size_t a, size_t b)
{
    llm_chat_parser *parser = parser_for(answer->format);
    size_t size = strlen(answer->text);
    struct heard heard = {"", "", ""};

    assert_int_equal(llm_chat_parser_push(parser, answer->text, a, hear, &heard), LLM_OK);
    assert_int_equal(llm_chat_parser_push(parser, answer->text + a, b - a, hear, &heard), LLM_OK);
    assert_int_equal(llm_chat_parser_push(parser, answer->text + b, size - b, hear, &heard),
                     LLM_OK);
    assert_int_equal(llm_chat_parser_finish(parser, hear, &heard), LLM_OK);
    if (strcmp(heard.content, answer->content) || strcmp(heard.reasoning, answer->reasoning) ||
        strcmp(heard.calls, answer->calls))
        fail_msg("%s\ncut at %zu, %zu gives\ncontent \"%s\"\nreasoning \"%s\"\ncalls %s",
                 answer->text, a, b, heard.content, heard.reasoning, heard.calls);
    assert_string_equal(llm_chat_parser_content(parser, NULL), answer->content);
    assert_string_equal(llm_chat_parser_reasoning(parser, NULL), answer->reasoning);
    llm_chat_parser_free(parser);
}

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        size_t size = strlen(answers[i].text);

        for (size_t a = 0; a <= size; a++) {
            check_parts(&answers[i], a, a);
            check_parts(&answers[i], a, a + (size - a) / 2);
        }
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        llm_chat_parser *parser = parser_for(answers[i].format);
        struct heard heard = {"", "", ""};

        for (const char *c = answers[i].text; *c; c++)
            assert_int_equal(llm_chat_parser_push(parser, c, 1, hear, &heard), LLM_OK);
        assert_int_equal(llm_chat_parser_finish(parser, hear, &heard), LLM_OK);
        assert_string_equal(heard.content, answers[i].content);
        assert_string_equal(heard.reasoning, answers[i].reasoning);
        assert_string_equal(heard.calls, answers[i].calls);
        llm_chat_parser_free(parser);
    }
}

/* Text that is certain is told at once. */
static void test_streams(void **state)
{
    llm_chat_parser *parser = parser_for(LLM_CHAT_HERMES);
    struct heard heard = {"", "", ""};

    (void)state;
    assert_int_equal(llm_chat_parser_push(parser, "Hello <to", 9, hear, &heard), LLM_OK);
    assert_string_equal(heard.content, "Hello");
    assert_int_equal(llm_chat_parser_push(parser, "ast>", 4, hear, &heard), LLM_OK);
    assert_string_equal(heard.content, "Hello <toast>");
    llm_chat_parser_free(parser);
}

static void test_prompt(void **state)
{
    static const char text[] = "{{ messages[0].content }}<think>\n";
    static const char messages[] = "[{\"role\": \"user\", \"content\": \"x\"}]";
    llm_chat_template *chat;
    llm_chat_prompt *prompt;
    llm_chat_parser *parser;

    (void)state;
    assert_int_equal(llm_chat_template_new(&chat, context, text, sizeof text - 1), LLM_OK);
    assert_int_equal(llm_chat_render(&prompt, chat, messages, sizeof messages - 1, NULL), LLM_OK);
    assert_int_equal(llm_chat_parser_new(&parser, context, LLM_CHAT_PLAIN, prompt), LLM_OK);
    assert_int_equal(llm_chat_parser_push(parser, "so\n</think>\n\nyes", 16, NULL, NULL), LLM_OK);
    assert_int_equal(llm_chat_parser_finish(parser, NULL, NULL), LLM_OK);
    assert_string_equal(llm_chat_parser_content(parser, NULL), "yes");
    assert_string_equal(llm_chat_parser_reasoning(parser, NULL), "so");
    llm_chat_parser_free(parser);
    llm_chat_prompt_free(prompt);
    llm_chat_template_free(chat);
}

static void test_formats(void **state)
{
    static const struct {
        const char *text;
        int32_t format;
    } rows[] = {{"{{ messages }}", LLM_CHAT_PLAIN},
                {"{{ tools }}", LLM_CHAT_JSON},
                {"<tool_call>", LLM_CHAT_HERMES},
                {"[TOOL_CALLS]", LLM_CHAT_MISTRAL},
                {"<|START_ACTION|>", LLM_CHAT_COMMAND_R},
                {"{{ '<|python_tag|>' }}", LLM_CHAT_LLAMA3},
                {"<\xEF\xBD\x9Ctool\xE2\x96\x81"
                 "calls",
                 LLM_CHAT_DEEPSEEK}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        llm_chat_template *chat;

        assert_int_equal(llm_chat_template_new(&chat, context, rows[i].text, strlen(rows[i].text)),
                         LLM_OK);
        assert_int_equal(llm_chat_template_format(chat), rows[i].format);
        llm_chat_template_free(chat);
    }
    assert_int_equal(llm_chat_template_format(NULL), LLM_CHAT_PLAIN);
}

static int32_t refuse(void *user, const llm_chat_event *event)
{
    (void)user;
    (void)event;
    return 1;
}

static void test_misuse(void **state)
{
    llm_chat_parser *parser;
    llm_chat_call call;

    (void)state;
    assert_int_equal(llm_chat_parser_new(&parser, context, 99, NULL), LLM_E_RANGE);
    assert_int_equal(llm_chat_parser_new(&parser, context, -1, NULL), LLM_E_RANGE);
    assert_null(parser);
    parser = parser_for(LLM_CHAT_HERMES);
    assert_int_equal(llm_chat_parser_push(parser, "a ", 2, refuse, NULL), LLM_E_CANCELLED);
    assert_int_equal(llm_chat_parser_push(parser, "b", 1, NULL, NULL), LLM_OK);
    assert_string_equal(llm_chat_parser_content(parser, NULL), "a b");
    assert_int_equal(llm_chat_parser_call(&call, parser, 0), LLM_E_RANGE);
    assert_int_equal(llm_chat_parser_call_count(parser), 0);
    assert_int_equal(
        llm_chat_parser_push(parser, "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
                             54, NULL, NULL),
        LLM_OK);
    assert_int_equal(llm_chat_parser_call_count(parser), 1);
    assert_int_equal(llm_chat_parser_call(&call, parser, 0), LLM_OK);
    assert_string_equal(call.name, "f");
    assert_string_equal(call.arguments, "{}");
    llm_chat_parser_free(parser);
    llm_chat_parser_free(NULL);
    assert_int_equal(llm_chat_parser_call_count(NULL), 0);
    assert_string_equal(llm_chat_parser_content(NULL, NULL), "");
}

/* A megabyte of marks takes time in proportion. */
static void test_long(void **state)
{
    static const char unit[] = "<think>a</think><tool_call>[[[</tool_call>{";
    llm_chat_parser *parser;
    size_t size = 25000 * (sizeof unit - 1);
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = unit[i % (sizeof unit - 1)];
    for (int32_t format = LLM_CHAT_PLAIN; format <= LLM_CHAT_JSON; format++) {
        parser = parser_for(format);
        assert_int_equal(llm_chat_parser_push(parser, "{", 1, NULL, NULL), LLM_OK);
        assert_int_equal(llm_chat_parser_push(parser, text, size, NULL, NULL), LLM_OK);
        assert_int_equal(llm_chat_parser_finish(parser, NULL, NULL), LLM_OK);
        llm_chat_parser_free(parser);
    }
    free(text);
}

static int setup(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL) != LLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    llm_context_free(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_streams), cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_formats), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
