/* SPDX-License-Identifier: MIT
 *
 * What the two files of llm/task.h share: arguments that several calls take.
 */
#ifndef API_TASK_API_H
#define API_TASK_API_H

#include "api/check.h"
#include "base/checked.h"
#include "generate/beam.h"
#include "generate/sampling.h"
#include "generate/seq2seq.h"
#include "task/task.h"

/* The batch's texts; `function` for messages. */
llm_status task_read_batch(struct task_ids *ids, const llm_task *task, const llm_task_batch *given,
                           const char *function);

/* rows * width floats must fit; *only_size: the caller asks for the size alone. */
llm_status task_check_room(bool *only_size, const float *values, size_t capacity, size_t *needed,
                           size_t rows, size_t width);

llm_status task_read_answer(llm_answer_options *options, const llm_answer_options *given);

llm_status task_generate_ids(int32_t *ids, size_t capacity, size_t *count, const llm_task *task,
                             const int32_t *source, size_t source_count,
                             const llm_seq2seq_options *given);

#endif
