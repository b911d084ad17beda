/* SPDX-License-Identifier: MIT
 *
 * llm generate: continue a prompt, printing the text while it comes.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static llm_session *running;

static void stop(void)
{
    llm_session_cancel(running);
}

static int32_t print_piece(void *user, const llm_token *token)
{
    (void)user;
    fwrite(token->text, 1, token->text_size, stdout);
    fflush(stdout);
    return ferror(stdout) != 0;
}

static const char *reason_name(int32_t reason)
{
    static const char *const names[] = {"nothing",     "the token limit",        "the model",
                                        "a stop text", "the end of the context", "you"};

    return reason >= 0 && reason <= LLM_STOP_CANCELLED ? names[reason] : "something new";
}

struct settings {
    const char *model, *tokenizer, *prompt, *prompt_file;
    int64_t threads, seed, top_k, repetition_window;
    struct arg_list stops;
    int32_t quiet, special;
    llm_generate_options options;
};

static void print_speed(const struct settings *settings, const llm_session *session, double prefill,
                        double seconds, int64_t prompt_tokens)
{
    size_t count = 0;

    (void)llm_session_generated(session, &count);
    if (settings->quiet)
        return;
    fprintf(stderr,
            "\n%lld prompt tokens (%.1f tokens/s), %zu generated (%.1f tokens/s), ended by %s\n",
            (long long)prompt_tokens, (double)prompt_tokens / (prefill > 0.0 ? prefill : 1e-9),
            count, (double)count / (seconds > 0.0 ? seconds : 1e-9),
            reason_name(llm_session_stop_reason(session)));
}

static int generate(llm_context *context, struct settings *settings, const char *prompt,
                    size_t prompt_size)
{
    llm_model *model = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_session *session = NULL;
    llm_encode_options encode;
    double start, middle, end;
    llm_status status = llm_encode_options_init(&encode, sizeof encode);

    if (!status)
        status = llm_model_load(&model, context, settings->model, NULL);
    if (!status)
        status = llm_tokenizer_load(&tokenizer, context,
                                    settings->tokenizer ? settings->tokenizer : settings->model);
    if (!status)
        status = llm_session_new(&session, model, tokenizer, NULL);
    running = session;
    tool_catch_interrupt(stop);
    encode.parse_special = settings->special;
    start = tool_seconds();
    if (!status)
        status = llm_session_append_text(session, prompt, prompt_size, &encode);
    middle = tool_seconds();
    if (!status) {
        int64_t prompt_tokens = llm_session_length(session);

        if (!settings->quiet)
            fwrite(prompt, 1, prompt_size, stdout);
        status = llm_session_generate(session, &settings->options);
        end = tool_seconds();
        if (settings->quiet)
            printf("\n");
        print_speed(settings, session, middle - start, end - middle, prompt_tokens);
    }
    if (status == LLM_E_CANCELLED && tool_interrupted)
        status = LLM_OK;
    if (status)
        tool_fail("generate");
    llm_session_free(session);
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    return status != LLM_OK;
}

int command_generate(int argc, char **argv)
{
    struct settings s = {.prompt = "", .seed = 42};
    llm_generate_options *o = &s.options;
    static const struct arg_usage usage = {
        "generate", "", "Continues a prompt with a model from a directory. Ctrl-C stops.", 0, 0};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &s.model, "DIR", "model directory", 0, 0},
        {"--tokenizer", ARG_TEXT, &s.tokenizer, "PATH", "tokenizer.json, if not in DIR", 0, 0},
        {"--prompt", ARG_TEXT, &s.prompt, "TEXT", "text to continue", 0, 0},
        {"--prompt-file", ARG_TEXT, &s.prompt_file, "FILE", "read the prompt from here", 0, 0},
        {"--special", ARG_FLAG, &s.special, NULL, "special tokens in the prompt are such", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "Choosing tokens", 0, 0},
        {"--max-tokens", ARG_INT, &o->max_tokens, "N", "most tokens to generate", 0, 1e9},
        {"--temperature", ARG_NUMBER, &o->temperature, "T", "0: the most probable token", 0, 1e4},
        {"--top-k", ARG_INT, &s.top_k, "K", "only the K most probable; 0: all", 0, 1e9},
        {"--top-p", ARG_NUMBER, &o->top_p, "P", "only the most probable, summing to P", 0, 1},
        {"--min-p", ARG_NUMBER, &o->min_p, "P", "only above P times the best", 0, 1},
        {"--typical-p", ARG_NUMBER, &o->typical_p, "P", "locally typical sampling", 0, 1},
        {"--repetition-penalty", ARG_NUMBER, &o->repetition_penalty, "R", "1: none", 1e-6, 1e6},
        {"--repetition-window", ARG_INT, &s.repetition_window, "N", "of N last tokens; 0: all", 0,
         1e9},
        {"--frequency-penalty", ARG_NUMBER, &o->frequency_penalty, "F", "per occurrence", -100,
         100},
        {"--presence-penalty", ARG_NUMBER, &o->presence_penalty, "F", "once", -100, 100},
        {"--stop", ARG_LIST, &s.stops, "TEXT", "end before this text (repeatable)", 0, 0},
        {"--seed", ARG_INT, &s.seed, "N", "same seed, same text", 0, 9e15},
        {"", ARG_FLAG, NULL, NULL, "Running", 0, 0},
        {"--threads", ARG_INT, &s.threads, "N", "0: all cores", 0, 1024},
        {"--quiet", ARG_FLAG, &s.quiet, NULL, "print the new text only", 0, 0},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    llm_context *context = NULL;
    char *file = NULL;
    size_t count, size;
    int result;

    if (!positional || llm_generate_options_init(o, sizeof *o) != LLM_OK) {
        free(positional);
        return tool_fail("generate");
    }
    o->temperature = 0.8;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    free(positional);
    if (result)
        return result > 0 ? 0 : 2;
    if (!s.model) {
        fprintf(stderr, "llm generate: --model is missing\n");
        return 2;
    }
    size = strlen(s.prompt);
    if (s.prompt_file) {
        file = tool_read_file(s.prompt_file, &size);
        if (!file)
            return 1;
    }
    o->top_k = (int32_t)s.top_k;
    o->repetition_window = s.repetition_window;
    o->stop_strings = s.stops.count ? s.stops.items : NULL;
    o->stop_string_count = s.stops.count;
    o->seed = (uint64_t)s.seed;
    o->on_token = print_piece;
    if (tool_context(&context, s.threads, s.seed) != LLM_OK)
        result = tool_fail("generate");
    else
        result = generate(context, &s, file ? file : s.prompt, size);
    llm_context_free(context);
    free(file);
    return result;
}
