/* SPDX-License-Identifier: MIT
 *
 * Templates rendered here and by jinja2 (make_templates.py): every case of templates.json gives the
 * same text, or fails where jinja2 fails.
 */
#include <jansson.h>
#include <llm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *golden;
static llm_context *context;

/* Renders; NULL if any step fails. */
static llm_chat_prompt *render(const char *template, const char *messages,
                               const llm_chat_options *options)
{
    llm_chat_template *chat;
    llm_chat_prompt *prompt = NULL;

    if (llm_chat_template_new(&chat, context, template, strlen(template)))
        return NULL;
    if (llm_chat_render(&prompt, chat, messages, strlen(messages), options))
        assert_null(prompt);
    llm_chat_template_free(chat);
    return prompt;
}

/* 1 if the result is not what is expected, after printing both. */
static int compare(const char *what, llm_chat_prompt *prompt, const json_t *expected)
{
    size_t size;
    const char *text = llm_chat_prompt_text(prompt, &size);
    int same = prompt ? json_is_string(expected) && json_string_length(expected) == size &&
                            memcmp(json_string_value(expected), text, size) == 0
                      : json_is_null(expected);

    if (!same)
        fprintf(stderr, "%s\n  expected: %s\n  got:      %s\n", what,
                json_is_string(expected) ? json_string_value(expected) : "(failure)",
                prompt ? text : llm_last_error());
    llm_chat_prompt_free(prompt);
    return !same;
}

static llm_chat_options plain_options(const char *variables)
{
    llm_chat_options options;

    assert_int_equal(llm_chat_options_init(&options, sizeof options), LLM_OK);
    options.add_generation_prompt = 0;
    options.variables = variables;
    options.variables_size = strlen(variables);
    return options;
}

static void test_cases(void **state)
{
    char *variables = json_dumps(json_object_get(golden, "context"), 0);
    llm_chat_options options = plain_options(variables);
    const json_t *cases = json_object_get(golden, "cases");
    const json_t *row;
    size_t i;
    int bad = 0;

    (void)state;
    assert_true(json_array_size(cases) > 800);
    json_array_foreach((json_t *)cases, i, row)
    {
        const char *template = json_string_value(json_array_get(row, 0));

        bad += compare(template, render(template, "[]", &options), json_array_get(row, 1));
    }
    free(variables);
    assert_int_equal(bad, 0);
}

static void test_families(void **state)
{
    llm_chat_options options = plain_options("{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    char *tools = json_dumps(json_object_get(golden, "tools"), 0);
    const json_t *conversations = json_object_get(golden, "conversations");
    const char *name;
    json_t *family;
    int texts = 0;
    int bad = 0;

    (void)state;
    json_object_foreach(json_object_get(golden, "families"), name, family)
    {
        const char *template = json_string_value(json_object_get(family, "template"));
        const json_t *row;
        size_t i;

        json_array_foreach(json_object_get(family, "rows"), i, row)
        {
            size_t number = (size_t)json_integer_value(json_array_get(row, 0));
            char *messages = json_dumps(json_array_get(conversations, number), 0);

            options.tools = json_is_true(json_array_get(row, 1)) ? tools : NULL;
            options.tools_size = options.tools ? strlen(tools) : 0;
            options.add_generation_prompt = json_is_true(json_array_get(row, 2));
            bad += compare(name, render(template, messages, &options), json_array_get(row, 3));
            texts += json_is_string(json_array_get(row, 3));
            free(messages);
        }
    }
    free(tools);
    assert_true(texts > 80);
    assert_int_equal(bad, 0);
}

static int setup(void **state)
{
    json_error_t error;
    const char *path = getenv("LLM_TEMPLATES");

    (void)state;
    golden = json_load_file(path ? path : "templates.json", 0, &error);
    return !golden || llm_context_new(&context, NULL) != LLM_OK;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(golden);
    llm_context_free(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_families)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
