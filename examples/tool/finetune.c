/* SPDX-License-Identifier: MIT
 *
 * llm finetune: a model and examples in; an adapter, or the model trained further, out.
 * llm merge: an adapter folded into its model.
 */
#include "tool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *model, *weights, *out, *template, *learn;
    int64_t threads, seed, rank, batch, block, accumulation, warmup;
    int32_t full, dora, rank_stabilized, resume, quiet, checkpointing, ia3;
    double alpha, dropout, validation_fraction;
    struct arg_list targets;
    llm_trainer_options options;
};

struct run {
    llm_context *context;
    llm_tokenizer *tokenizer;
    llm_chat_template *chat;
    llm_dataset *dataset;
    llm_model *model;
    llm_adapter *adapter;
    llm_trainer *trainer;
    struct progress progress;
};

static llm_trainer *running;

static void stop(void)
{
    llm_trainer_cancel(running);
}

/* The model's own template, or a file; conversations need one, prompts with answers do not. */
static llm_status get_template(struct run *run, const struct settings *s)
{
    llm_status status;

    if (s->template && strcmp(s->template, "none") == 0)
        return LLM_OK;
    status = llm_chat_template_load(&run->chat, run->context, s->template ? s->template : s->model,
                                    NULL);
    return status == LLM_E_IO && !s->template ? LLM_OK : status;
}

static llm_status get_dataset(struct run *run, const struct settings *s, const char **files,
                              size_t count)
{
    int32_t learn = strcmp(s->learn, "all") == 0 ? LLM_LEARN_ALL : LLM_LEARN_ANSWERS;
    llm_dataset_options options;
    llm_status status = llm_dataset_options_init(&options, sizeof options);

    options.validation_fraction = s->validation_fraction;
    options.progress = s->quiet ? NULL : progress_show_reading;
    options.progress_user = &run->progress;
    progress_start(&run->progress, "reading ");
    if (!status)
        status = llm_dataset_from_chats(&run->dataset, run->context, run->tokenizer, run->chat,
                                        files, count, learn, &options);
    progress_end(&run->progress);
    return status;
}

static llm_status get_adapter(struct run *run, const struct settings *s)
{
    llm_adapter_options options;
    llm_status status = llm_adapter_options_init(&options, sizeof options);

    if (status || s->full)
        return status;
    options.kind = s->ia3 ? LLM_ADAPTER_IA3 : LLM_ADAPTER_LORA;
    options.rank = (int32_t)s->rank;
    options.alpha = s->alpha;
    options.dropout = s->dropout;
    options.dora = s->dora;
    options.rank_stabilized = s->rank_stabilized;
    options.targets = s->targets.items;
    options.target_count = s->targets.count;
    return llm_adapter_new(&run->adapter, run->model, &options);
}

static llm_status train(struct run *run, struct settings *s)
{
    char metrics[4096], plot[4096];
    llm_status status, ended;

    s->options.adapter = run->adapter;
    s->options.progress = s->quiet ? NULL : progress_show_training;
    s->options.progress_user = &run->progress;
    if (llm_dataset_examples(run->dataset, LLM_PART_VALIDATION) == 0)
        s->options.eval_interval = 0;
    progress_start(&run->progress, "training");
    status = llm_trainer_new(&run->trainer, run->model, run->dataset, &s->options);
    running = run->trainer;
    if (!status && s->resume)
        status = llm_trainer_resume(run->trainer, NULL);
    if (status)
        return status;
    ended = llm_trainer_run(run->trainer);
    progress_end(&run->progress);
    if (ended != LLM_OK && ended != LLM_E_CANCELLED)
        return ended;
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", s->out);
    snprintf(plot, sizeof plot, "%s/loss.svg", s->out);
    status = llm_plot_losses(run->context, plot, metrics, s->out);
    if (status)
        return status;
    printf("%s after %lld steps; %s in %s, losses in %s\n", ended ? "stopped" : "done",
           (long long)llm_trainer_steps_done(run->trainer), s->full ? "model" : "adapter", s->out,
           plot);
    if (ended)
        printf("the same command with --resume goes on\n");
    else if (s->full)
        printf("try: llm generate --model %s --prompt TEXT\n", s->out);
    else
        printf("try: llm generate --model %s --adapter %s --prompt TEXT\n"
               "or:  llm merge --model %s --adapter %s --out MERGED\n",
               s->model, s->out, s->model, s->out);
    return LLM_OK;
}

static int run_all(struct settings *s, const char **files, size_t count)
{
    struct run run = {0};
    llm_status status = tool_context(&run.context, s->threads, s->seed);

    tool_catch_interrupt(stop);
    tool_make_directory(s->out);
    if (!status)
        status = llm_tokenizer_load(&run.tokenizer, run.context, s->model);
    if (!status)
        status = get_template(&run, s);
    if (!status)
        status = get_dataset(&run, s, files, count);
    if (!status)
        status = tool_load(&run.model, run.context, s->model, s->weights);
    if (!status)
        status = get_adapter(&run, s);
    if (!status && !s->quiet)
        printf("%lld of %lld parameters are trained; %lld training and %lld validation examples%s; "
               "%s\n",
               (long long)(s->full ? llm_model_parameters(run.model)
                                   : llm_adapter_parameters(run.adapter)),
               (long long)llm_model_parameters(run.model),
               (long long)llm_dataset_examples(run.dataset, LLM_PART_TRAIN),
               (long long)llm_dataset_examples(run.dataset, LLM_PART_VALIDATION),
               run.chat ? ", chat template" : "", llm_context_description(run.context));
    fflush(stdout);
    if (!status)
        status = train(&run, s);
    progress_end(&run.progress);
    if (status && llm_last_error()[0])
        tool_fail("finetune");
    llm_trainer_free(run.trainer);
    llm_adapter_free(run.adapter);
    llm_model_free(run.model);
    llm_dataset_free(run.dataset);
    llm_chat_template_free(run.chat);
    llm_tokenizer_free(run.tokenizer);
    llm_context_free(run.context);
    return status != LLM_OK;
}

static int finish_options(struct settings *s)
{
    llm_trainer_options *o = &s->options;

    if (!s->model || !s->out) {
        fprintf(stderr, "llm finetune: %s is missing\n", s->model ? "--out" : "--model");
        return -1;
    }
    if (strcmp(s->learn, "answers") != 0 && strcmp(s->learn, "all") != 0) {
        fprintf(stderr, "llm finetune: --learn %s is neither answers nor all\n", s->learn);
        return -1;
    }
    if (!tool_check_weights("finetune", s->weights))
        return -1;
    if (o->learning_rate == 0.0)
        o->learning_rate = s->full ? 2e-5 : s->ia3 ? 5e-3 : 2e-4;
    o->min_learning_rate = o->learning_rate / 10.0;
    o->warmup_steps = s->warmup;
    o->output = s->out;
    o->seed = (uint64_t)s->seed;
    o->batch = (int32_t)s->batch;
    o->block = (int32_t)s->block;
    o->accumulation = (int32_t)s->accumulation;
    o->order = LLM_ORDER_SHUFFLED;
    o->gradient_checkpointing = s->checkpointing;
    return 0;
}

int command_finetune(int argc, char **argv)
{
    struct settings s = {.weights = "float",
                         .learn = "answers",
                         .seed = 42,
                         .rank = 8,
                         .alpha = 16.0,
                         .batch = 4,
                         .accumulation = 1,
                         .validation_fraction = 0.05};
    llm_trainer_options *o = &s.options;
    static const struct arg_usage usage = {
        "finetune", "FILE...",
        "Trains a model further on examples, by default as a LoRA adapter that PEFT loads.\n"
        "FILE: JSON lines or an array of {\"messages\": ..}, {\"prompt\", \"completion\"},\n"
        "{\"instruction\", \"input\", \"output\"}, ShareGPT conversations or {\"text\": ..}.\n"
        "Ctrl-C stops in good order; --resume goes on with the same result.",
        1, 10000};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &s.model, "DIR", "the model to start from", 0, 0},
        {"--weights", ARG_TEXT, &s.weights, "HOW", TOOL_WEIGHTS_HELP, 0, 0},
        {"--out", ARG_TEXT, &s.out, "DIR", "where adapter, metrics and checkpoints go", 0, 0},
        {"--resume", ARG_FLAG, &s.resume, NULL, "go on from the newest checkpoint in --out", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "The adapter", 0, 0},
        {"--full", ARG_FLAG, &s.full, NULL, "train the model itself", 0, 0},
        {"--rank", ARG_INT, &s.rank, "N", "of LoRA", 1, 65536},
        {"--alpha", ARG_NUMBER, &s.alpha, "F", "the change is scaled by alpha / rank", 0, 1e6},
        {"--dropout", ARG_NUMBER, &s.dropout, "F", "of the adapter's input", 0, 0.99},
        {"--target", ARG_LIST, &s.targets, "NAME", "layers, such as q_proj; default: all", 0, 0},
        {"--rslora", ARG_FLAG, &s.rank_stabilized, NULL, "scale by alpha / sqrt(rank)", 0, 0},
        {"--dora", ARG_FLAG, &s.dora, NULL, "learn the norms of rows apart", 0, 0},
        {"--ia3", ARG_FLAG, &s.ia3, NULL, "factors instead of LoRA", 0, 0},
        {"", ARG_FLAG, NULL, NULL, "The examples", 0, 0},
        {"--template", ARG_TEXT, &s.template, "FILE", "chat template; none; default: the model's",
         0, 0},
        {"--learn", ARG_TEXT, &s.learn, "WHAT", "answers, or all tokens", 0, 0},
        {"--validation-fraction", ARG_NUMBER, &s.validation_fraction, "F", "of the examples", 0,
         0.9},
        {"", ARG_FLAG, NULL, NULL, "The training", 0, 0},
        {"--epochs", ARG_NUMBER, &o->epochs, "N", "passes over the examples", 0, 1e6},
        {"--steps", ARG_INT, &o->steps, "N", "instead of --epochs", 0, 1e12},
        {"--batch", ARG_INT, &s.batch, "N", "examples per pass", 1, 1e6},
        {"--accumulation", ARG_INT, &s.accumulation, "N", "passes per step", 1, 1e6},
        {"--block", ARG_INT, &s.block, "N", "tokens where examples are cut; 0: the context", 0,
         1e7},
        {"--learning-rate", ARG_NUMBER, &o->learning_rate, "R",
         "highest; 0: 2e-4, full 2e-5, IA3 5e-3", 0, 100},
        {"--warmup", ARG_INT, &s.warmup, "N", "steps of rising rate", 0, 1e12},
        {"--weight-decay", ARG_NUMBER, &o->weight_decay, "F", "of matrices", 0, 100},
        {"--gradient-checkpointing", ARG_FLAG, &s.checkpointing, NULL, "less memory, more time", 0,
         0},
        {"--eval-interval", ARG_INT, &o->eval_interval, "N", "steps; 0: never", 0, 1e12},
        {"--checkpoint-interval", ARG_INT, &o->checkpoint_interval, "N", "steps; 0: when stopped",
         0, 1e12},
        {"", ARG_FLAG, NULL, NULL, "Running", 0, 0},
        {"--seed", ARG_INT, &s.seed, "N", "same seed, same result", 0, 9e15},
        {"--threads", ARG_INT, &s.threads, "N", "0: all cores", 0, 1024},
        {"--quiet", ARG_FLAG, &s.quiet, NULL, "no progress", 0, 0},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **files = malloc(((size_t)argc + 1) * sizeof *files);
    size_t count = 0;
    int result;

    if (!files || llm_trainer_options_init(o, sizeof *o) != LLM_OK)
        return 1;
    o->steps = 0;
    o->epochs = 1.0;
    o->learning_rate = 0.0;
    o->weight_decay = 0.0;
    o->eval_interval = 50;
    o->eval_batches = 0;
    result = args_parse(&usage, table, argc, argv, files, &count);
    if (result == 0)
        result = finish_options(&s) ? 2 : run_all(&s, files, count);
    else
        result = result > 0 ? 0 : 2;
    free(files);
    return result;
}

int command_merge(int argc, char **argv)
{
    const char *path = NULL, *adapter_path = NULL, *out = NULL;
    double weight = 1.0;
    static const struct arg_usage usage = {
        "merge", "", "Folds an adapter (a PEFT directory) into its model: a model of its own.", 0,
        0};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &path, "DIR", "the model", 0, 0},
        {"--adapter", ARG_TEXT, &adapter_path, "DIR", "its adapter", 0, 0},
        {"--out", ARG_TEXT, &out, "DIR", "where the new model goes", 0, 0},
        {"--weight", ARG_NUMBER, &weight, "F", "how much of the adapter", -100, 100},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char *none[2];
    size_t count = 0;
    llm_context *context = NULL;
    llm_model *model = NULL, *merged = NULL;
    llm_adapter *adapter = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_status status;
    int result = args_parse(&usage, table, argc, argv, none, &count);

    if (result)
        return result > 0 ? 0 : 2;
    if (!path || !adapter_path || !out) {
        fprintf(stderr, "llm merge: %s is missing\n",
                !path           ? "--model"
                : !adapter_path ? "--adapter"
                                : "--out");
        return 2;
    }
    status = tool_context(&context, 0, 42);
    if (!status)
        status = llm_model_load(&model, context, path, NULL);
    if (!status)
        status = llm_adapter_load(&adapter, model, adapter_path);
    if (!status)
        status = llm_adapter_merge(&merged, model, adapter, weight);
    tool_make_directory(out);
    if (!status)
        status = llm_model_save(merged, out, NULL);
    if (!status && llm_tokenizer_load(&tokenizer, context, path) == LLM_OK)
        status = llm_tokenizer_save(tokenizer, out);
    if (status)
        tool_fail("merge");
    llm_tokenizer_free(tokenizer);
    llm_adapter_free(adapter);
    llm_model_free(merged);
    llm_model_free(model);
    llm_context_free(context);
    return status != LLM_OK;
}
