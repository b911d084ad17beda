/* SPDX-License-Identifier: MIT
 *
 * What the commands of the tool share. Each command is one file with one function.
 */
#ifndef TOOL_H
#define TOOL_H

#include "args.h"

#include <llm.h>
#include <signal.h>

/* Commands: arguments after the command's name; the result is the exit status. */
int command_train(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_chat(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_train_tokenizer(int argc, char **argv);
int command_embed(int argc, char **argv);
int command_classify(int argc, char **argv);
int command_finetune(int argc, char **argv);
int command_merge(int argc, char **argv);
int command_info(int argc, char **argv);
int command_convert(int argc, char **argv);
int command_bench(int argc, char **argv);

/* Prints "llm COMMAND: what failed" for the last error of the library; returns 1. */
int tool_fail(const char *command);

/* A context with the given number of threads (0: all cores) and seed, warnings going to stderr. */
llm_status tool_context(llm_context **out, int64_t threads, int64_t seed);

/* Loads a model for use without training it: `weights` "keep" leaves the block types of GGUF files
 * as they are in memory, "float" makes them f32. */
llm_status tool_load(llm_model **model, llm_context *context, const char *path,
                     const char *weights);
/* 1 when `weights` is one of these, 0 after a message. */
int tool_check_weights(const char *command, const char *weights);
#define TOOL_WEIGHTS_HELP "of GGUF files: keep (in blocks) or float"

/* Folds an adapter into *model, in place of the model. */
llm_status tool_adapt(llm_model **model, const char *adapter);

/* Makes a directory and those above it, as far as they are missing. Whoever writes there says why
 * if this did not work. */
void tool_make_directory(const char *path);

/* Whole file, or standard input for "-". NULL after a message on stderr; free() it. */
char *tool_read_file(const char *path, size_t *size_out);

/* Progress on stderr: a bar that is redrawn on a terminal; elsewhere a line every ten percent. */
struct progress {
    const char *label;
    double last_fraction; /* -1: nothing drawn yet */
    double last_drawn;    /* seconds */
    double validation;    /* loss that was last told; NaN: none yet */
};
void progress_start(struct progress *progress, const char *label);
void progress_show(struct progress *progress, double fraction, const char *detail);
void progress_end(struct progress *progress);
int progress_is_terminal(void);

/* Callbacks of the library; `progress` is a struct progress. */
int32_t progress_show_reading(void *progress, double fraction);
int32_t progress_show_training(void *progress, const llm_train_progress *state);

/* Seconds of a monotonic clock. */
double tool_seconds(void);

/* 1 after Ctrl-C or SIGTERM. The first one asks the running work to stop in good order; a second
 * one ends the program. tool_on_interrupt() sets what else the first one does. */
extern volatile sig_atomic_t tool_interrupted;
void tool_catch_interrupt(void (*action)(void));

#endif
