/* SPDX-License-Identifier: MIT
 *
 * llm chat: talk with a model. The conversation is one JSON array, as the OpenAI API and training
 * data have it; small templates change it (leave the oldest turn out, set the system prompt).
 */
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For models that bring no template. */
static const char plain_template[] =
    "{% for m in messages %}{{ m.role|capitalize ~ ': ' ~ m.content ~ '\\n' }}{% endfor %}"
    "{{ 'Assistant:' if add_generation_prompt }}";
static const char *const plain_stops[] = {"\nUser:", "\nSystem:"};

/* Tokens that end an answer in one family or another, whatever the tokenizer calls its end. */
static const char *const end_tokens[] = {
    "<|im_end|>",    "<|eot_id|>", "<|eom_id|>",      "<|end|>",    "<|endoftext|>",
    "<end_of_turn>", "</s>",       "<|end_of_text|>", "<|return|>", "<|END_OF_TURN_TOKEN|>"};

enum { MOST_END_TOKENS = sizeof end_tokens / sizeof *end_tokens, SPARE_TOKENS = 16 };

struct chat {
    llm_context *context;
    llm_model *model;
    llm_tokenizer *tokenizer;
    llm_session *session;
    llm_chat_template *chat_template;
    llm_chat_parser *parser;
    llm_generate_options options;
    int32_t end_ids[MOST_END_TOKENS];
    char *messages; /* JSON array */
    const char *system, *weights;
    int terminal, reasoning, plain;
};

static llm_session *running;
static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
    (void)number;
    interrupts++;
    llm_session_cancel(running);
}

static void catch_interrupt(void)
{
    struct sigaction handler;

    memset(&handler, 0, sizeof handler); /* without SA_RESTART: reading a line ends */
    handler.sa_handler = on_interrupt;
    sigaction(SIGINT, &handler, NULL);
}

/* ---- the conversation --------------------------------------------------------------------------
 */

/* Text as a JSON string; free() it. */
static char *quote(const char *text)
{
    char *out = malloc(6 * strlen(text) + 3);
    char *to = out;

    if (!out)
        return NULL;
    *to++ = '"';
    for (; *text; text++) {
        if ((unsigned char)*text < ' ')
            to += sprintf(to, "\\u%04x", (unsigned)*text);
        else if (*text == '"' || *text == '\\')
            to += sprintf(to, "\\%c", *text);
        else
            *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return out;
}

/* Replace the conversation by what a template makes of it; `text` is a variable of the template. */
static llm_status change(struct chat *c, const char *with, const char *text)
{
    llm_chat_options options;
    llm_chat_template *changer = NULL;
    llm_chat_prompt *prompt = NULL;
    char *quoted = quote(text);
    char *variables = quoted ? malloc(strlen(quoted) + 16) : NULL;
    char *fresh = NULL;
    llm_status status = variables ? llm_chat_options_init(&options, sizeof options) : LLM_E_NOMEM;

    if (!status) {
        (void)sprintf(variables, "{\"text\": %s}", quoted);
        options.variables = variables;
        options.variables_size = strlen(variables);
        status = llm_chat_template_new(&changer, c->context, with, strlen(with));
    }
    if (!status)
        status = llm_chat_render(&prompt, changer, c->messages, strlen(c->messages), &options);
    if (!status) {
        fresh = strdup(llm_chat_prompt_text(prompt, NULL));
        if (fresh) {
            free(c->messages);
            c->messages = fresh;
        }
    }
    llm_chat_prompt_free(prompt);
    llm_chat_template_free(changer);
    free(variables);
    free(quoted);
    return status ? status : fresh ? LLM_OK : LLM_E_NOMEM;
}

static llm_status add_message(struct chat *c, const char *role, const char *text)
{
    char with[128];

    (void)snprintf(with, sizeof with, "{{ (messages + [{'role': '%s', 'content': text}])|tojson }}",
                   role);
    return change(c, with, text);
}

static llm_status drop_last(struct chat *c)
{
    return change(c, "{{ messages[:-1]|tojson }}", "");
}

/* The oldest question and its answer go; a system prompt stays. */
static llm_status drop_oldest(struct chat *c)
{
    return change(c,
                  "{% set s = messages[:1] if messages and messages[0].role == 'system' else [] %}"
                  "{{ (s + messages[s|length + 2:])|tojson }}",
                  "");
}

static llm_status set_system(struct chat *c, const char *text)
{
    return change(c,
                  "{% set rest = messages|rejectattr('role', 'equalto', 'system')|list %}"
                  "{% set first = [{'role': 'system', 'content': text}] if text else [] %}"
                  "{{ (first + rest)|tojson }}",
                  text);
}

static llm_status reset(struct chat *c)
{
    llm_status status = change(c, "[]", "");

    return status || !c->system ? status : set_system(c, c->system);
}

/* ---- one answer --------------------------------------------------------------------------------
 */

static int32_t show(void *user, const llm_chat_event *event)
{
    struct chat *c = user;
    int thinking = event->kind == LLM_CHAT_REASONING;

    if (c->reasoning != thinking && c->terminal)
        fputs(thinking ? "\033[2m" : "\033[0m", stdout);
    if (c->reasoning && !thinking)
        fputs("\n\n", stdout);
    c->reasoning = thinking;
    if (event->kind == LLM_CHAT_TOOL_CALL)
        printf("[call %s %s]\n", event->name, event->text);
    else
        fwrite(event->text, 1, event->text_size, stdout);
    fflush(stdout);
    return ferror(stdout) != 0;
}

/* The text of an end token is not part of the answer. */
static int32_t on_token(void *user, const llm_token *token)
{
    struct chat *c = user;
    size_t size = token->text_size;
    const char *end;
    size_t end_size;

    for (size_t i = 0; i < c->options.stop_id_count; i++) {
        if (c->end_ids[i] == token->id &&
            llm_tokenizer_token_text(&end, &end_size, c->tokenizer, token->id) == LLM_OK &&
            size >= end_size && memcmp(token->text + size - end_size, end, end_size) == 0)
            size -= end_size;
    }
    return llm_chat_parser_push(c->parser, token->text, size, show, c) != LLM_OK;
}

/* Run the model over what the session does not hold yet. */
static llm_status feed(struct chat *c, const int32_t *ids, size_t count)
{
    size_t held;
    const int32_t *have = llm_session_ids(c->session, &held);
    size_t same = 0;
    llm_status status;

    while (same < held && same + 1 < count && have[same] == ids[same])
        same++;
    status = llm_session_rewind(c->session, (int64_t)same);
    if (status) { /* a model that cannot go back reads everything again */
        same = 0;
        status = llm_session_reset(c->session);
    }
    return status ? status : llm_session_append(c->session, ids + same, count - same);
}

/* The prompt's ids; free() them. */
static llm_status encode(struct chat *c, llm_chat_prompt *prompt, int32_t **ids, size_t *count)
{
    llm_status status = llm_chat_prompt_encode(NULL, NULL, 0, count, prompt, c->tokenizer);

    if (status && status != LLM_E_BUFFER)
        return status;
    *ids = malloc((*count + 1) * sizeof **ids);
    return *ids ? llm_chat_prompt_encode(*ids, NULL, *count, count, prompt, c->tokenizer)
                : LLM_E_NOMEM;
}

/* Render the conversation and let the model read it, leaving old turns out until it fits. */
static llm_status read_prompt(struct chat *c, llm_chat_prompt **prompt)
{
    int64_t room = llm_model_context_length(c->model) - SPARE_TOKENS;
    llm_chat_options options;
    llm_status status = llm_chat_options_init(&options, sizeof options);
    int dropped = 0;

    options.tokenizer = c->tokenizer;
    while (!status) {
        int32_t *ids = NULL;
        size_t count = 0;
        size_t before = strlen(c->messages);

        status = llm_chat_render(prompt, c->chat_template, c->messages, before, &options);
        if (!status)
            status = encode(c, *prompt, &ids, &count);
        if (!status && (int64_t)count <= room) {
            if (dropped)
                fprintf(stderr, "(the conversation is too long: %d old turns left out)\n", dropped);
            status = feed(c, ids, count);
            free(ids);
            return status;
        }
        free(ids);
        llm_chat_prompt_free(*prompt);
        *prompt = NULL;
        if (!status)
            status = drop_oldest(c);
        if (!status && (strcmp(c->messages, "[]") == 0 || strlen(c->messages) >= before)) {
            fprintf(stderr, "llm chat: the message is longer than the model's context\n");
            return LLM_E_RANGE;
        }
        dropped++;
    }
    fprintf(stderr, "llm chat: %s\n", llm_last_error());
    return status;
}

/* The answer to the conversation, shown while it comes, and kept. */
static llm_status answer(struct chat *c)
{
    llm_chat_prompt *prompt = NULL;
    llm_status status = read_prompt(c, &prompt);

    if (status) {
        if (status != LLM_E_CANCELLED)
            (void)drop_last(c);
        llm_chat_prompt_free(prompt);
        return status;
    }
    status = llm_chat_parser_new(&c->parser, c->context, llm_chat_template_format(c->chat_template),
                                 prompt);
    if (!status) {
        status = llm_session_generate(c->session, &c->options);
        (void)llm_chat_parser_finish(c->parser, show, c);
    }
    if (c->reasoning && c->terminal)
        fputs("\033[0m", stdout);
    c->reasoning = 0;
    printf("%s\n", status == LLM_E_CANCELLED ? " (stopped)" : "");
    fflush(stdout);
    if (status && status != LLM_E_CANCELLED)
        fprintf(stderr, "llm chat: %s\n", llm_last_error());
    else
        status = add_message(c, "assistant", llm_chat_parser_content(c->parser, NULL));
    llm_chat_parser_free(c->parser);
    c->parser = NULL;
    llm_chat_prompt_free(prompt);
    return status;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

static void save(const struct chat *c, const char *path)
{
    FILE *file = *path ? fopen(path, "wb") : NULL;

    if (!file || fprintf(file, "%s\n", c->messages) < 0 || fclose(file) != 0)
        fprintf(stderr, "llm chat: cannot write %s: %s\n", *path ? path : "without a file name",
                *path ? strerror(errno) : "/save FILE");
    else
        fprintf(stderr, "(saved)\n");
}

static void load(struct chat *c, const char *path)
{
    size_t size;
    char *text = *path ? tool_read_file(path, &size) : NULL;
    char *before = c->messages;
    char *fresh = text ? malloc(size + 1) : NULL;

    if (!fresh) {
        free(text);
        return;
    }
    memcpy(fresh, text, size);
    fresh[size] = '\0';
    free(text);
    c->messages = fresh;
    if (change(c, "{{ messages|tojson }}", "")) { /* also checks what it is */
        fprintf(stderr, "llm chat: %s: %s\n", path, llm_last_error());
        free(c->messages);
        c->messages = before;
        return;
    }
    free(before);
    fprintf(stderr, "(loaded)\n");
}

static const char *argument(const char *line, const char *command)
{
    size_t size = strlen(command);

    if (strncmp(line, command, size) != 0 || (line[size] && line[size] != ' '))
        return NULL;
    return line + size + strspn(line + size, " ");
}

/* 1: the line was a command; -1: leave. */
static int run_command(struct chat *c, const char *line)
{
    const char *rest;
    llm_status status = LLM_OK;

    if (line[0] != '/')
        return 0;
    if (argument(line, "/exit") || argument(line, "/quit"))
        return -1;
    if (argument(line, "/reset"))
        status = reset(c);
    else if ((rest = argument(line, "/system")) != NULL)
        status = set_system(c, rest);
    else if ((rest = argument(line, "/save")) != NULL)
        save(c, rest);
    else if ((rest = argument(line, "/load")) != NULL)
        load(c, rest);
    else
        fprintf(stderr, "/reset  /system TEXT  /save FILE  /load FILE  /exit\n");
    if (status)
        fprintf(stderr, "llm chat: %s\n", llm_last_error());
    return 1;
}

/* A line without its end; 0 at the end of input, or after a second Ctrl-C. */
static int read_line(const struct chat *c, char **line, size_t *capacity)
{
    for (;;) {
        ssize_t size;

        if (c->terminal) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        errno = 0;
        size = getline(line, capacity, stdin);
        if (size >= 0) {
            (*line)[strcspn(*line, "\r\n")] = '\0';
            return 1;
        }
        if (errno != EINTR || interrupts > 1)
            return 0;
        clearerr(stdin);
        fprintf(stderr, "\n(Ctrl-C again or /exit leaves)\n");
    }
}

static int talk(struct chat *c)
{
    size_t capacity = 0;
    char *line = NULL;
    int left = 0;
    int failed = 0;

    while (!left && read_line(c, &line, &capacity)) {
        int command = run_command(c, line);

        interrupts = 0;
        left = command < 0;
        if (command || !line[strspn(line, " \t")])
            continue;
        failed = add_message(c, "user", line) != LLM_OK;
        if (failed) {
            fprintf(stderr, "llm chat: %s\n", llm_last_error());
            continue;
        }
        failed = answer(c) != LLM_OK;
        interrupts = 0;
    }
    free(line);
    return failed && !c->terminal;
}

/* ---- starting ----------------------------------------------------------------------------------
 */

static llm_status find_template(struct chat *c, const char *model, const char *path)
{
    llm_status status =
        llm_chat_template_load(&c->chat_template, c->context, path ? path : model, NULL);

    if (status != LLM_E_IO || path)
        return status;
    fprintf(stderr,
            "warning: the model has no chat template; plain \"User:\" and \"Assistant:\"\n");
    c->plain = 1;
    c->options.stop_strings = plain_stops;
    c->options.stop_string_count = sizeof plain_stops / sizeof *plain_stops;
    return llm_chat_template_new(&c->chat_template, c->context, plain_template,
                                 sizeof plain_template - 1);
}

/* What ends an answer: the tokenizer's end token, and those that chat models are known to use. */
static void find_end_tokens(struct chat *c)
{
    for (size_t i = 0; i < MOST_END_TOKENS; i++) {
        int32_t id;

        if (llm_tokenizer_token_id(&id, c->tokenizer, end_tokens[i], strlen(end_tokens[i])) ==
                LLM_OK &&
            llm_tokenizer_is_special(c->tokenizer, id))
            c->end_ids[c->options.stop_id_count++] = id;
    }
    c->options.stop_ids = c->options.stop_id_count ? c->end_ids : NULL;
    c->options.keep_special = !c->plain; /* tool calls stand between special tokens */
    c->options.on_token = on_token;
    c->options.on_token_user = c;
}

static int start(struct chat *c, const char *model, const char *tokenizer, const char *path)
{
    llm_status status = tool_load(&c->model, c->context, model, c->weights);

    if (!status)
        status = llm_tokenizer_load(&c->tokenizer, c->context, tokenizer ? tokenizer : model);
    if (!status)
        status = llm_session_new(&c->session, c->model, c->tokenizer, NULL);
    if (!status)
        status = find_template(c, model, path);
    c->messages = strdup("[]");
    if (!status && c->messages)
        status = reset(c);
    if (status || !c->messages)
        return tool_fail("chat");
    find_end_tokens(c);
    c->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    running = c->session;
    catch_interrupt();
    return talk(c);
}

int command_chat(int argc, char **argv)
{
    struct chat c = {.weights = "keep"};
    llm_generate_options *o = &c.options;
    const char *model = NULL, *tokenizer = NULL, *path = NULL;
    int64_t threads = 0, seed = 42, top_k = 0;
    static const struct arg_usage usage = {
        "chat", "",
        "Talks with a model. Ctrl-C stops an answer, twice at the prompt leaves;\n"
        "/help lists the commands. Reads questions from a pipe as well, one a line.",
        0, 0};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &model, "DIR", "model directory", 0, 0},
        {"-m", ARG_TEXT, &model, "DIR", "the same", 0, 0},
        {"--weights", ARG_TEXT, &c.weights, "HOW", TOOL_WEIGHTS_HELP, 0, 0},
        {"--tokenizer", ARG_TEXT, &tokenizer, "PATH", "tokenizer.json, if not in DIR", 0, 0},
        {"--template", ARG_TEXT, &path, "PATH", "chat template, if not the model's own", 0, 0},
        {"--system", ARG_TEXT, &c.system, "TEXT", "system prompt", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "Choosing tokens", 0, 0},
        {"--max-tokens", ARG_INT, &o->max_tokens, "N", "most tokens of an answer; 0: no limit", 0,
         1e9},
        {"--temperature", ARG_NUMBER, &o->temperature, "T", "0: the most probable token", 0, 1e4},
        {"--top-k", ARG_INT, &top_k, "K", "only the K most probable; 0: all", 0, 1e9},
        {"--top-p", ARG_NUMBER, &o->top_p, "P", "only the most probable, summing to P", 0, 1},
        {"--min-p", ARG_NUMBER, &o->min_p, "P", "only above P times the best", 0, 1},
        {"--repetition-penalty", ARG_NUMBER, &o->repetition_penalty, "R", "1: none", 1e-6, 1e6},
        {"--seed", ARG_INT, &seed, "N", "same seed, same text", 0, 9e15},
        {"--threads", ARG_INT, &threads, "N", "0: all cores", 0, 1024},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    size_t count;
    int result;

    if (!positional || llm_generate_options_init(o, sizeof *o) != LLM_OK) {
        free(positional);
        return tool_fail("chat");
    }
    o->temperature = 0.7;
    o->max_tokens = 1024;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    free(positional);
    if (result)
        return result > 0 ? 0 : 2;
    if (!model) {
        fprintf(stderr, "llm chat: --model is missing\n");
        return 2;
    }
    if (!tool_check_weights("chat", c.weights))
        return 2;
    o->top_k = (int32_t)top_k;
    o->seed = (uint64_t)seed;
    if (tool_context(&c.context, threads, seed) != LLM_OK)
        result = tool_fail("chat");
    else
        result = start(&c, model, tokenizer, path);
    running = NULL;
    free(c.messages);
    llm_chat_template_free(c.chat_template);
    llm_session_free(c.session);
    llm_tokenizer_free(c.tokenizer);
    llm_model_free(c.model);
    llm_context_free(c.context);
    return result;
}
