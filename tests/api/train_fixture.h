/* SPDX-License-Identifier: MIT
 *
 * A model small enough to train in milliseconds and data that it can learn.
 */
#ifndef TESTS_TRAIN_FIXTURE_H
#define TESTS_TRAIN_FIXTURE_H

#include <llm.h>

enum { FIXTURE_VOCAB = 32, FIXTURE_BLOCK = 16 };

/* Aborts the program with a message on failure: for children that are killed as well. */
void fixture_check(llm_status status, const char *what);

llm_context *fixture_context(int threads, llm_log_fn log, void *user);
llm_model *fixture_model(llm_context *context);
llm_dataset *fixture_dataset(llm_context *context);
/* 40 steps, batch 4, dropout 0.1, evaluations every 10 steps, checkpoints every 5. */
llm_trainer_options fixture_options(const char *output);

#endif
