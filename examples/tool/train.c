/* SPDX-License-Identifier: MIT
 *
 * llm train: text files in; a model directory, metrics and a picture of the losses out.
 */
#include "tool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A size that is known to work well, as a starting point. */
static const struct preset {
    const char *name;
    int64_t layers, heads, width, context, batch, steps;
    double rate, dropout;
    const char *help;
} presets[] = {
    {"quick", 4, 4, 192, 128, 12, 800, 2e-3, 0.0, "about two minutes on two cores"},
    {"cpu", 4, 4, 128, 64, 12, 2000, 1e-3, 0.0, "nanoGPT's configuration for CPUs"},
    {"char", 6, 6, 384, 256, 64, 5000, 1e-3, 0.2, "nanoGPT's characters of Shakespeare"},
    {"gpt2", 12, 12, 768, 1024, 4, 10000, 6e-4, 0.0, "the size of GPT-2, 124 million parameters"},
};

struct settings {
    const char *out, *tokenizer, *config, *preset, *schedule, *order, *optimizer, *validation,
        *model;
    int64_t layers, heads, width, context, batch, block, accumulation, threads, seed, patience,
        keep, warmup;
    int32_t resume, checkpointing, separate, find_rate, quiet, no_tensorboard, keep_best;
    double validation_fraction;
    llm_trainer_options options;
};

struct run {
    llm_context *context;
    llm_tokenizer *tokenizer;
    llm_dataset *dataset;
    llm_model *model;
    llm_trainer *trainer;
    struct progress progress;
};

static llm_trainer *running;

static void stop(void)
{
    llm_trainer_cancel(running);
}

/* A tokenizer from a path, or made for these files: "characters" or "bytes". */
static llm_status get_tokenizer(struct run *run, const struct settings *s, const char **files,
                                size_t count)
{
    llm_tokenizer_train_options options;
    llm_status status;

    if (strcmp(s->tokenizer, "characters") != 0 && strcmp(s->tokenizer, "bytes") != 0)
        return llm_tokenizer_load(&run->tokenizer, run->context, s->tokenizer);
    status = llm_tokenizer_train_options_init(&options, sizeof options);
    options.kind = s->tokenizer[0] == 'c' ? LLM_TOKENIZER_CHARACTERS : LLM_TOKENIZER_BYTES;
    return status
               ? status
               : llm_tokenizer_train_files(&run->tokenizer, run->context, files, count, &options);
}

static llm_status get_dataset(struct run *run, const struct settings *s, const char **files,
                              size_t count)
{
    llm_dataset_options options;
    llm_status status = llm_dataset_options_init(&options, sizeof options);

    options.validation_fraction = s->validation ? 0.0 : s->validation_fraction;
    options.validation_files = s->validation ? &s->validation : NULL;
    options.validation_count = s->validation ? 1 : 0;
    options.parse_special = 1;
    options.progress = s->quiet ? NULL : progress_show_reading;
    options.progress_user = &run->progress;
    progress_start(&run->progress, "reading ");
    if (!status)
        status = llm_dataset_from_files(&run->dataset, run->context, run->tokenizer, files, count,
                                        &options);
    progress_end(&run->progress);
    return status;
}

static llm_status new_model(struct run *run, const struct settings *s)
{
    char config[1024];

    snprintf(config, sizeof config,
             "{\"model_type\": \"gpt2\", \"vocab_size\": %d, \"n_positions\": %lld, "
             "\"n_embd\": %lld, \"n_layer\": %lld, \"n_head\": %lld, "
             "\"bos_token_id\": null, \"eos_token_id\": null, "
             "\"resid_pdrop\": 0.0, \"embd_pdrop\": 0.0, \"attn_pdrop\": 0.0}",
             llm_tokenizer_vocab_size(run->tokenizer), (long long)s->context, (long long)s->width,
             (long long)s->layers, (long long)s->heads);
    return llm_model_new(&run->model, run->context, config, strlen(config), NULL);
}

static llm_status get_model(struct run *run, const struct settings *s)
{
    size_t size = 0;
    char *config;
    llm_status status;

    if (s->model)
        return llm_model_load(&run->model, run->context, s->model, NULL);
    if (!s->config)
        return new_model(run, s);
    config = tool_read_file(s->config, &size);
    if (!config)
        return LLM_E_IO;
    status = llm_model_new(&run->model, run->context, config, size, NULL);
    free(config);
    return status;
}

static llm_status find_rate(struct run *run)
{
    enum { STEPS = 100 };
    double rates[STEPS], losses[STEPS], suggestion = 0.0;
    int64_t count = 0;
    llm_status status =
        llm_trainer_find_rate(rates, losses, &count, &suggestion, run->trainer, 1e-5, 1.0, STEPS);

    for (int64_t i = 0; !status && i < count; i++)
        printf("%.3e  %.4f\n", rates[i], losses[i]);
    if (!status)
        printf("suggested learning rate: %.2e\n", suggestion);
    return status;
}

/* What the model writes by itself, for a first impression. */
static void print_sample(struct run *run)
{
    llm_session *session = NULL;
    llm_generate_options options;

    if (llm_generate_options_init(&options, sizeof options) != LLM_OK)
        return;
    options.max_tokens = 120;
    options.temperature = 0.8;
    if (llm_session_new(&session, run->model, run->tokenizer, NULL) == LLM_OK &&
        llm_session_append_text(session, "\n", 1, NULL) == LLM_OK &&
        llm_session_generate(session, &options) == LLM_OK)
        printf("\nA sample:\n%s\n", llm_session_text(session, NULL));
    llm_session_free(session);
}

static llm_status save_extras(struct run *run, const struct settings *s)
{
    char path[4096], metrics[4096];
    llm_status status;

    snprintf(path, sizeof path, "%s/tokenizer.json", s->out);
    status = llm_tokenizer_save(run->tokenizer, path);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", s->out);
    snprintf(path, sizeof path, "%s/loss.svg", s->out);
    if (!status)
        status = llm_plot_losses(run->context, path, metrics, s->out);
    return status;
}

static llm_status train(struct run *run, struct settings *s)
{
    llm_status status, ended;
    double best;

    progress_start(&run->progress, "training");
    status = llm_trainer_new(&run->trainer, run->model, run->dataset, &s->options);
    running = run->trainer;
    if (!status && s->find_rate)
        return find_rate(run);
    if (!status && s->resume)
        status = llm_trainer_resume(run->trainer, NULL);
    if (status)
        return status;
    ended = llm_trainer_run(run->trainer);
    progress_end(&run->progress);
    if (ended != LLM_OK && ended != LLM_E_CANCELLED)
        return ended;
    status = save_extras(run, s);
    if (status)
        return status;
    best = llm_trainer_best_loss(run->trainer);
    printf("%s after %lld steps", ended ? "stopped" : "done",
           (long long)llm_trainer_steps_done(run->trainer));
    if (isfinite(best))
        printf(", best validation loss %.4f (perplexity %.2f)", best, exp(best));
    printf("\nmodel in %s, losses in %s/loss.svg\n", s->out, s->out);
    if (ended)
        printf("the same command with --resume goes on\n");
    llm_trainer_free(run->trainer); /* the model is free for a session again */
    run->trainer = running = NULL;
    if (!ended && !s->quiet)
        print_sample(run);
    return LLM_OK;
}

static int run_all(struct settings *s, const char **files, size_t count)
{
    struct run run = {0};
    llm_status status = tool_context(&run.context, s->threads, s->seed);

    s->options.progress = s->quiet ? NULL : progress_show_training;
    s->options.progress_user = &run.progress;
    tool_catch_interrupt(stop);
    tool_make_directory(s->out);
    if (!status)
        status = get_tokenizer(&run, s, files, count);
    if (!status)
        status = get_dataset(&run, s, files, count);
    if (!status)
        status = get_model(&run, s);
    if (!status && !s->quiet)
        printf("%lld parameters, %lld training and %lld validation tokens, vocabulary %d; %s\n",
               (long long)llm_model_parameters(run.model),
               (long long)llm_dataset_tokens(run.dataset, LLM_PART_TRAIN),
               (long long)llm_dataset_tokens(run.dataset, LLM_PART_VALIDATION),
               llm_tokenizer_vocab_size(run.tokenizer), llm_context_description(run.context));
    fflush(stdout);
    if (!status)
        status = train(&run, s);
    progress_end(&run.progress);
    if (status && llm_last_error()[0])
        tool_fail("train");
    llm_trainer_free(run.trainer);
    llm_model_free(run.model);
    llm_dataset_free(run.dataset);
    llm_tokenizer_free(run.tokenizer);
    llm_context_free(run.context);
    return status != LLM_OK;
}

/* A name of a list -> its position, or -1 after a message. */
static int32_t choose(const char *option, const char *value, const char *const *names)
{
    for (int32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], value) == 0)
            return i;
    }
    fprintf(stderr, "llm train: %s %s is not one of those --help lists\n", option, value);
    return -1;
}

/* The preset is found before the other options are read, so that they can change it. */
static int apply_preset(struct settings *s, int argc, char **argv)
{
    const char *name = "cpu";

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--preset") == 0 && i + 1 < argc)
            name = argv[i + 1];
        else if (strncmp(argv[i], "--preset=", 9) == 0)
            name = argv[i] + 9;
    }
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const struct preset *p = &presets[i];

        if (strcmp(p->name, name) != 0)
            continue;
        s->preset = p->name;
        s->layers = p->layers;
        s->heads = p->heads;
        s->width = p->width;
        s->context = p->context;
        s->batch = p->batch;
        s->options.steps = p->steps;
        s->options.learning_rate = p->rate;
        s->options.min_learning_rate = p->rate / 10.0;
        s->options.dropout = p->dropout;
        return 0;
    }
    fprintf(stderr, "llm train: unknown preset %s; there are", name);
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        fprintf(stderr, " %s", presets[i].name);
    fprintf(stderr, "\n");
    return -1;
}

static int finish_options(struct settings *s)
{
    static const char *const schedules[] = {"constant", "linear", "cosine", "wsd", NULL};
    static const char *const orders[] = {"random", "shuffled", "sequential", NULL};
    static const char *const optimizers[] = {"adamw", "sgd", NULL};
    llm_trainer_options *o = &s->options;

    o->schedule = choose("--schedule", s->schedule, schedules);
    o->order = choose("--order", s->order, orders);
    o->optimizer = choose("--optimizer", s->optimizer, optimizers);
    if (!s->out)
        fprintf(stderr, "llm train: --out is missing\n");
    if (!s->out || o->schedule < 0 || o->order < 0 || o->optimizer < 0)
        return -1;
    o->output = s->out;
    o->warmup_steps = s->warmup < 0 ? o->steps / 20 : s->warmup;
    o->seed = (uint64_t)s->seed;
    o->batch = (int32_t)s->batch;
    o->block = (int32_t)s->block;
    o->accumulation = (int32_t)s->accumulation;
    o->patience = (int32_t)s->patience;
    o->keep_checkpoints = (int32_t)s->keep;
    o->gradient_checkpointing = s->checkpointing;
    o->separate_documents = s->separate;
    o->keep_best = s->keep_best;
    o->tensorboard = !s->no_tensorboard;
    return 0;
}

int command_train(int argc, char **argv)
{
    struct settings s = {.tokenizer = "characters",
                         .schedule = "cosine",
                         .order = "random",
                         .optimizer = "adamw",
                         .seed = 42,
                         .warmup = -1,
                         .accumulation = 1,
                         .keep = 2,
                         .validation_fraction = 0.1};
    llm_trainer_options *o = &s.options;
    static const struct arg_usage usage = {
        "train", "FILE...",
        "Trains a GPT on text files and saves it as a model directory that Hugging Face\n"
        "transformers loads. Ctrl-C stops in good order; --resume goes on with the same result.\n"
        "Presets: quick (about two minutes on two cores), cpu and char (nanoGPT's), gpt2 (124M).",
        1, 10000};
    const struct arg table[] = {
        {"--out", ARG_TEXT, &s.out, "DIR", "where model, metrics and checkpoints go", 0, 0},
        {"--resume", ARG_FLAG, &s.resume, NULL, "go on from the newest checkpoint in DIR", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "The model", 0, 0},
        {"--preset", ARG_TEXT, &s.preset, "NAME", "sizes to start from", 0, 0},
        {"--layers", ARG_INT, &s.layers, "N", "blocks", 1, 1000},
        {"--heads", ARG_INT, &s.heads, "N", "attention heads", 1, 1000},
        {"--width", ARG_INT, &s.width, "N", "a multiple of the heads", 1, 1e6},
        {"--context", ARG_INT, &s.context, "N", "most tokens of a sequence", 2, 1e7},
        {"--config", ARG_TEXT, &s.config, "FILE", "config.json instead of these sizes", 0, 0},
        {"--model", ARG_TEXT, &s.model, "DIR", "go on training this model", 0, 0},
        {"--tokenizer", ARG_TEXT, &s.tokenizer, "PATH", "tokenizer.json, characters or bytes", 0,
         0},
        {"", ARG_FLAG, NULL, NULL, "The data", 0, 0},
        {"--validation", ARG_TEXT, &s.validation, "FILE", "text to evaluate on", 0, 0},
        {"--validation-fraction", ARG_NUMBER, &s.validation_fraction, "F", "or the end of FILE...",
         0, 0.9},
        {"--order", ARG_TEXT, &s.order, "ORDER", "random, shuffled, sequential", 0, 0},
        {"--separate-documents", ARG_FLAG, &s.separate, NULL, "no attention across them", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "The training", 0, 0},
        {"--steps", ARG_INT, &o->steps, "N", "optimizer steps; 0: by --epochs", 0, 1e12},
        {"--epochs", ARG_NUMBER, &o->epochs, "N", "passes over the data, with --steps 0", 0, 1e6},
        {"--batch", ARG_INT, &s.batch, "N", "sequences per pass", 1, 1e6},
        {"--block", ARG_INT, &s.block, "N", "tokens per sequence; 0: the context", 0, 1e7},
        {"--accumulation", ARG_INT, &s.accumulation, "N", "passes per step", 1, 1e6},
        {"--optimizer", ARG_TEXT, &s.optimizer, "NAME", "adamw or sgd", 0, 0},
        {"--learning-rate", ARG_NUMBER, &o->learning_rate, "R", "highest", 0, 100},
        {"--min-learning-rate", ARG_NUMBER, &o->min_learning_rate, "R", "last", 0, 100},
        {"--schedule", ARG_TEXT, &s.schedule, "NAME", "constant, linear, cosine, wsd", 0, 0},
        {"--warmup", ARG_INT, &s.warmup, "N", "steps of rising rate; -1: a twentieth", -1, 1e12},
        {"--weight-decay", ARG_NUMBER, &o->weight_decay, "F", "of matrices", 0, 100},
        {"--clip", ARG_NUMBER, &o->clip_norm, "F", "gradient norm; 0: don't", 0, 1e9},
        {"--dropout", ARG_NUMBER, &o->dropout, "F", "probability", 0, 0.99},
        {"--label-smoothing", ARG_NUMBER, &o->label_smoothing, "F", "share of the others", 0, 0.99},
        {"--gradient-checkpointing", ARG_FLAG, &s.checkpointing, NULL, "less memory, more time", 0,
         0},
        {"--find-learning-rate", ARG_FLAG, &s.find_rate, NULL, "range test instead of training", 0,
         0},
        {"", ARG_FLAG, NULL, NULL, "Watching and saving", 0, 0},
        {"--eval-interval", ARG_INT, &o->eval_interval, "N", "steps; 0: never", 0, 1e12},
        {"--eval-batches", ARG_INT, &o->eval_batches, "N", "0: all", 0, 1e12},
        {"--patience", ARG_INT, &s.patience, "N", "evaluations without progress; 0: off", 0, 1e9},
        {"--keep-best", ARG_FLAG, &s.keep_best, NULL, "save the best model, not the last", 0, 0},
        {"--checkpoint-interval", ARG_INT, &o->checkpoint_interval, "N", "steps; 0: when stopped",
         0, 1e12},
        {"--keep-checkpoints", ARG_INT, &s.keep, "N", "newest ones", 1, 1e6},
        {"--statistics-interval", ARG_INT, &o->statistics_interval, "N", "per layer; 0: off", 0,
         1e12},
        {"--no-tensorboard", ARG_FLAG, &s.no_tensorboard, NULL, "no event files", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "Running", 0, 0},
        {"--seed", ARG_INT, &s.seed, "N", "same seed, same result", 0, 9e15},
        {"--threads", ARG_INT, &s.threads, "N", "0: all cores", 0, 1024},
        {"--quiet", ARG_FLAG, &s.quiet, NULL, "no progress", 0, 0},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **files = malloc(((size_t)argc + 1) * sizeof *files);
    size_t count = 0;
    int result;

    if (!files || llm_trainer_options_init(o, sizeof *o) != LLM_OK) {
        free(files);
        return tool_fail("train");
    }
    result = apply_preset(&s, argc, argv);
    if (!result)
        result = args_parse(&usage, table, argc, argv, files, &count);
    if (!result)
        result = finish_options(&s);
    if (!result)
        result = run_all(&s, files, count);
    else
        result = result > 0 ? 0 : 2;
    free(files);
    return result;
}
