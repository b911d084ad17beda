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
                                        "a stop text", "the end of the context", "you",
                                        "the grammar"};

    return reason >= 0 && reason <= LLM_STOP_GRAMMAR ? names[reason] : "something new";
}

struct settings {
    const char *model, *weights, *adapter, *tokenizer, *prompt, *prompt_file;
    int64_t threads, seed, top_k, repetition_window;
    struct arg_list stops;
    int32_t quiet, special;
    const char *grammar, *schema, *regex; /* two files and an expression */
    const char *draft, *order, *load_session, *save_session;
    int64_t draft_tokens, lookup, mirostat, beams;
    double length_penalty;
    llm_generate_options options;
};

/* What one run holds; closed in one place. */
struct run {
    llm_model *model, *draft_model;
    llm_tokenizer *tokenizer;
    llm_session *session, *draft;
    llm_grammar *grammar;
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

static llm_status read_grammar(struct run *run, const struct settings *settings)
{
    const char *path = settings->grammar ? settings->grammar : settings->schema;
    char *text;
    size_t size;
    llm_status status;

    if (settings->regex)
        return llm_grammar_from_regex(&run->grammar, run->tokenizer, settings->regex,
                                      strlen(settings->regex));
    if (!path)
        return LLM_OK;
    text = tool_read_file(path, &size);
    if (!text)
        return LLM_E_IO;
    status = settings->grammar
                 ? llm_grammar_from_gbnf(&run->grammar, run->tokenizer, text, size)
                 : llm_grammar_from_json_schema(&run->grammar, run->tokenizer, text, size);
    free(text);
    return status;
}

static llm_status open_run(struct run *run, llm_context *context, const struct settings *settings)
{
    const char *tokenizer = settings->tokenizer ? settings->tokenizer : settings->model;
    llm_status status = tool_load(&run->model, context, settings->model, settings->weights);

    if (!status && settings->adapter)
        status = tool_adapt(&run->model, settings->adapter);
    if (!status)
        status = llm_tokenizer_load(&run->tokenizer, context, tokenizer);
    if (!status)
        status = llm_session_new(&run->session, run->model, run->tokenizer, NULL);
    if (!status && settings->draft)
        status = tool_load(&run->draft_model, context, settings->draft, settings->weights);
    if (!status && settings->draft)
        status = llm_session_new(&run->draft, run->draft_model, NULL, NULL);
    if (!status)
        status = read_grammar(run, settings);
    if (!status && settings->load_session)
        status = llm_session_restore(run->session, settings->load_session);
    return status;
}

static void close_run(struct run *run)
{
    llm_session_free(run->session);
    llm_session_free(run->draft);
    llm_grammar_free(run->grammar);
    llm_tokenizer_free(run->tokenizer);
    llm_model_free(run->draft_model);
    llm_model_free(run->model);
}

/* Beams are known when all of them are finished: the text comes at once. */
static llm_status search(const struct run *run, const struct settings *settings)
{
    llm_beam_options options;
    llm_status status = llm_beam_options_init(&options, sizeof options);

    options.beams = (int32_t)settings->beams;
    options.length_penalty = settings->length_penalty;
    if (settings->options.max_tokens)
        options.max_tokens = settings->options.max_tokens;
    if (!status)
        status = llm_session_beam_search(run->session, &options);
    if (!status)
        fputs(llm_session_text(run->session, NULL), stdout);
    return status;
}

static llm_status speak(struct run *run, struct settings *settings, const char *prompt,
                        size_t prompt_size)
{
    int64_t known = llm_session_length(run->session);
    llm_encode_options encode;
    llm_status status = llm_encode_options_init(&encode, sizeof encode);
    double start = tool_seconds();
    double middle;
    int64_t prompt_tokens;

    encode.parse_special = settings->special;
    encode.add_special = known == 0;
    if (!status)
        status = llm_session_append_text(run->session, prompt, prompt_size, &encode);
    middle = tool_seconds();
    if (status)
        return status;
    prompt_tokens = llm_session_length(run->session) - known;
    if (!settings->quiet)
        fwrite(prompt, 1, prompt_size, stdout);
    settings->options.grammar = run->grammar;
    settings->options.draft = run->draft;
    status = settings->beams > 1 ? search(run, settings)
                                 : llm_session_generate(run->session, &settings->options);
    if (settings->quiet)
        printf("\n");
    print_speed(settings, run->session, middle - start, tool_seconds() - middle, prompt_tokens);
    return status;
}

static int generate(llm_context *context, struct settings *settings, const char *prompt,
                    size_t prompt_size)
{
    struct run run = {NULL, NULL, NULL, NULL, NULL, NULL};
    llm_status status = open_run(&run, context, settings);

    running = run.session;
    tool_catch_interrupt(stop);
    if (!status)
        status = speak(&run, settings, prompt, prompt_size);
    if (status == LLM_E_CANCELLED && tool_interrupted)
        status = LLM_OK;
    if (!status && settings->save_session)
        status = llm_session_save(run.session, settings->save_session);
    if (status)
        tool_fail("generate");
    running = NULL;
    close_run(&run);
    return status != LLM_OK;
}

/* What belongs together, and what excludes one another. */
static int check(struct settings *s)
{
    int grammars = (s->grammar != NULL) + (s->schema != NULL) + (s->regex != NULL);
    const char *problem = NULL;

    if (!s->model)
        problem = "--model is missing";
    else if (grammars > 1)
        problem = "only one of --grammar, --json-schema and --regex";
    else if (grammars && s->beams > 1)
        problem = "--beams knows no grammar";
    else if (s->order && strcmp(s->order, "llama.cpp") != 0)
        problem = "--sampler-order is \"llama.cpp\" or absent";
    if (problem)
        fprintf(stderr, "llm generate: %s\n", problem);
    return problem || !tool_check_weights("generate", s->weights);
}

static void take_over(struct settings *s)
{
    llm_generate_options *o = &s->options;

    o->top_k = (int32_t)s->top_k;
    o->repetition_window = s->repetition_window;
    o->stop_strings = s->stops.count ? s->stops.items : NULL;
    o->stop_string_count = s->stops.count;
    o->seed = (uint64_t)s->seed;
    o->draft_tokens = (int32_t)s->draft_tokens;
    o->lookup_tokens = (int32_t)s->lookup;
    o->mirostat = (int32_t)s->mirostat;
    if (s->order)
        o->stages = llm_sampler_stages(LLM_ORDER_LLAMA_CPP, &o->stage_count);
    o->on_token = print_piece;
}

int command_generate(int argc, char **argv)
{
    struct settings s = {.weights = "keep",
                         .prompt = "",
                         .seed = 42,
                         .draft_tokens = 4,
                         .beams = 1,
                         .length_penalty = 1.0};
    llm_generate_options *o = &s.options;
    static const struct arg_usage usage = {
        "generate", "", "Continues a prompt with a model from a directory. Ctrl-C stops.", 0, 0};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &s.model, "DIR", "model directory", 0, 0},
        {"--weights", ARG_TEXT, &s.weights, "HOW", TOOL_WEIGHTS_HELP, 0, 0},
        {"--adapter", ARG_TEXT, &s.adapter, "DIR", "with this adapter (PEFT directory)", 0, 0},
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
        {"--top-n-sigma", ARG_NUMBER, &o->top_n_sigma, "N", "within N deviations of the best", 0,
         1e4},
        {"--xtc-probability", ARG_NUMBER, &o->xtc_probability, "P", "how often XTC acts", 0, 1},
        {"--xtc-threshold", ARG_NUMBER, &o->xtc_threshold, "P", "what XTC takes for a top choice",
         0, 1},
        {"--dynamic-temperature", ARG_NUMBER, &o->dynamic_temperature, "R", "T - R .. T + R", 0,
         1e4},
        {"--mirostat", ARG_INT, &s.mirostat, "V", "version 1 or 2; 0: off", 0, 2},
        {"--mirostat-tau", ARG_NUMBER, &o->mirostat_tau, "T", "surprise in bits", 0, 1e4},
        {"--mirostat-eta", ARG_NUMBER, &o->mirostat_eta, "E", "how fast it is reached", 0, 1},
        {"--dry-multiplier", ARG_NUMBER, &o->dry_multiplier, "M", "against repetitions; 0: off", 0,
         1e4},
        {"--dry-base", ARG_NUMBER, &o->dry_base, "B", "growth with their length", 1, 1e4},
        {"--dry-allowed-length", ARG_INT, &o->dry_allowed_length, "N", "what is free", 1, 1e6},
        {"--sampler-order", ARG_TEXT, &s.order, "NAME", "llama.cpp: temperature last", 0, 0},
        {"--beams", ARG_INT, &s.beams, "N", "beam search with N beams", 1, 256},
        {"--length-penalty", ARG_NUMBER, &s.length_penalty, "P", "of beam search", -100, 100},
        {"", ARG_FLAG, NULL, NULL, "What the text must follow", 0, 0},
        {"--grammar", ARG_TEXT, &s.grammar, "FILE", "a grammar in GBNF", 0, 0},
        {"--json-schema", ARG_TEXT, &s.schema, "FILE", "a JSON schema", 0, 0},
        {"--regex", ARG_TEXT, &s.regex, "TEXT", "a regular expression", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "Where it ends", 0, 0},
        {"--stop", ARG_LIST, &s.stops, "TEXT", "end before this text (repeatable)", 0, 0},
        {"--seed", ARG_INT, &s.seed, "N", "same seed, same text", 0, 9e15},
        {"", ARG_FLAG, NULL, NULL, "Running", 0, 0},
        {"--draft", ARG_TEXT, &s.draft, "DIR", "a small model that guesses tokens", 0, 0},
        {"--draft-tokens", ARG_INT, &s.draft_tokens, "N", "guesses at once", 1, 64},
        {"--lookup", ARG_INT, &s.lookup, "N", "guess N tokens from the text; 0: off", 0, 64},
        {"--load-session", ARG_TEXT, &s.load_session, "FILE", "go on from a saved session", 0, 0},
        {"--save-session", ARG_TEXT, &s.save_session, "FILE", "save the session in the end", 0, 0},
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
    if (check(&s))
        return 2;
    size = strlen(s.prompt);
    if (s.prompt_file) {
        file = tool_read_file(s.prompt_file, &size);
        if (!file)
            return 1;
    }
    take_over(&s);
    if (tool_context(&context, s.threads, s.seed) != LLM_OK)
        result = tool_fail("generate");
    else
        result = generate(context, &s, file ? file : s.prompt, size);
    llm_context_free(context);
    free(file);
    return result;
}
