/* SPDX-License-Identifier: MIT
 *
 * Tasks on token ids, and what they are made of: llm/task.h.
 */
#include "api/task_api.h"

#include <math.h>

/* ---- making ------------------------------------------------------------------------------------
 */

static const llm_task_options default_options = {.struct_size = sizeof default_options,
                                                 .normalize = -1};

llm_status llm_task_options_init(llm_task_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_task_options");
}

llm_status llm_task_load(llm_task **out, llm_context *context, const char *directory,
                         const llm_task_options *given)
{
    llm_task_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_task_load", "out");
    *out = NULL;
    if (!context || !directory)
        return null_argument("llm_task_load", context ? "directory" : "context");
    status = options_read(&options, sizeof options, given, "llm_task_options");
    return status ? status : task_load(out, context, directory, &options);
}

llm_status llm_task_new(llm_task **out, llm_model *model, llm_tokenizer *tokenizer,
                        const llm_task_options *given)
{
    llm_task_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_task_new", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_task_new", "model");
    status = options_read(&options, sizeof options, given, "llm_task_options");
    return status ? status : task_new(out, model, tokenizer, &options);
}

void llm_task_free(llm_task *task)
{
    task_free(task);
}

llm_model *llm_task_model(const llm_task *task)
{
    return task ? task->model : NULL;
}

llm_tokenizer *llm_task_tokenizer(const llm_task *task)
{
    return task ? task->tokenizer : NULL;
}

int64_t llm_task_max_tokens(const llm_task *task)
{
    return task ? task->max_tokens : 0;
}

/* ---- checks ------------------------------------------------------------------------------------
 */

llm_status task_read_batch(struct task_ids *ids, const llm_task *task, const llm_task_batch *given,
                           const char *function)
{
    llm_task_batch batch = {.struct_size = sizeof batch};
    llm_status status;

    if (!task || !given)
        return null_argument(function, task ? "batch" : "task");
    status = options_read(&batch, sizeof batch, given, "llm_task_batch");
    if (status)
        return status;
    if (!batch.ids || !batch.lengths)
        return null_argument(function, batch.ids ? "lengths" : "ids");
    for (size_t i = 0; i < batch.count; i++) {
        if (batch.lengths[i] < 1 || batch.lengths[i] > INT32_MAX)
            return status_set(LLM_E_RANGE, "text %zu has %zu tokens", i, batch.lengths[i]);
    }
    *ids = (struct task_ids){batch.ids, batch.type_ids, batch.lengths, batch.count};
    return LLM_OK;
}

llm_status task_check_room(bool *only_size, const float *values, size_t capacity,
                           size_t *needed_out, size_t rows, size_t width)
{
    size_t needed;

    *only_size = false;
    if (!checked_mul(rows, width, &needed) || needed > SIZE_MAX / sizeof(float))
        return status_set(LLM_E_RANGE, "%zu rows of %zu are too many", rows, width);
    if (needed_out)
        *needed_out = needed;
    if (!values && needed_out) {
        *only_size = true;
        return LLM_OK;
    }
    if (!values || capacity < needed)
        return status_set(LLM_E_BUFFER, "%zu floats are needed, %zu fit", needed,
                          values ? capacity : 0);
    return LLM_OK;
}

/* ---- on token ids ------------------------------------------------------------------------------
 */

llm_status llm_task_embed_ids(float *vectors, size_t capacity, size_t *needed, const llm_task *task,
                              const llm_task_batch *batch)
{
    struct task_ids ids;
    bool only_size;
    llm_status status;

    if (needed)
        *needed = 0;
    status = task_read_batch(&ids, task, batch, "llm_task_embed_ids");
    if (!status)
        status = task_check_room(&only_size, vectors, capacity, needed, ids.count,
                                 (size_t)task->model->dim);
    return status || only_size ? status : task_embed_ids(vectors, task, &ids);
}

static llm_status scores_of_ids(float *values, size_t capacity, size_t *needed,
                                const llm_task *task, const llm_task_batch *batch, int32_t head,
                                const char *function)
{
    struct task_ids ids;
    size_t rows = 0;
    bool only_size;
    llm_status status;

    if (needed)
        *needed = 0;
    status = task_read_batch(&ids, task, batch, function);
    if (!status)
        status = task_check_head(task, head);
    for (size_t i = 0; i < ids.count && !status; i++)
        rows += head == LLM_HEAD_SEQUENCE ? 1 : ids.lengths[i];
    if (!status)
        status = task_check_room(&only_size, values, capacity, needed, rows,
                                 (size_t)task->model->head.labels);
    return status || only_size ? status : task_scores(values, task, &ids, true);
}

llm_status llm_task_classify_ids(float *values, size_t capacity, size_t *needed,
                                 const llm_task *task, const llm_task_batch *batch)
{
    return scores_of_ids(values, capacity, needed, task, batch, LLM_HEAD_SEQUENCE,
                         "llm_task_classify_ids");
}

llm_status llm_task_tag_ids(float *values, size_t capacity, size_t *needed, const llm_task *task,
                            const llm_task_batch *batch)
{
    return scores_of_ids(values, capacity, needed, task, batch, LLM_HEAD_TOKENS,
                         "llm_task_tag_ids");
}

static const llm_answer_options default_answer = {
    .struct_size = sizeof default_answer, .max_answer = 15, .overlap = 128};

llm_status llm_answer_options_init(llm_answer_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_answer, sizeof default_answer,
                        "llm_answer_options");
}

llm_status task_read_answer(llm_answer_options *options, const llm_answer_options *given)
{
    llm_status status;

    *options = default_answer;
    status = options_read(options, sizeof *options, given, "llm_answer_options");
    if (status)
        return status;
    if (options->reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    if (options->max_answer < 1 || options->overlap < 0)
        return status_set(LLM_E_RANGE, "max_answer is %lld, overlap %lld",
                          (long long)options->max_answer, (long long)options->overlap);
    return LLM_OK;
}

llm_status llm_task_answer_ids(llm_answer *answers, size_t capacity, size_t *count,
                               const llm_task *task, const llm_task_batch *batch, size_t first,
                               size_t end, const llm_answer_options *given)
{
    static const char name[] = "llm_task_answer_ids";
    llm_answer_options options;
    struct task_ids ids;
    llm_status status;

    if (!answers || !count)
        return null_argument(name, answers ? "count" : "answers");
    *count = 0;
    if (capacity < 1)
        return status_set(LLM_E_BUFFER, "capacity is 0");
    status = task_read_batch(&ids, task, batch, name);
    if (!status)
        status = task_read_answer(&options, given);
    if (!status)
        status = task_answer_ids(answers, capacity, count, task, &ids, first, end, &options);
    return status;
}

llm_status llm_task_fill_mask_ids(llm_fill *fills, size_t capacity, size_t *masks,
                                  const llm_task *task, const llm_task_batch *batch,
                                  int32_t mask_id, size_t top)
{
    static const char name[] = "llm_task_fill_mask_ids";
    struct task_ids ids;
    llm_status status;

    if (!masks)
        return null_argument(name, "masks");
    *masks = 0;
    status = task_read_batch(&ids, task, batch, name);
    return status ? status : task_fill_mask_ids(fills, capacity, masks, task, &ids, mask_id, top);
}

/* ---- a text from a text ------------------------------------------------------------------------
 */

static const llm_seq2seq_options default_seq2seq = {.struct_size = sizeof default_seq2seq,
                                                    .max_tokens = 256,
                                                    .length_penalty = 1.0,
                                                    .top_p = 1.0,
                                                    .num_beams = 1};

llm_status llm_seq2seq_options_init(llm_seq2seq_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_seq2seq, sizeof default_seq2seq,
                        "llm_seq2seq_options");
}

static llm_status check_seq2seq(const llm_seq2seq_options *options)
{
    if (options->reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    if (options->max_tokens < 1 || options->max_tokens > 1 << 20)
        return status_set(LLM_E_RANGE, "max_tokens is %lld, outside 1..%d",
                          (long long)options->max_tokens, 1 << 20);
    if (options->num_beams < 1 || options->num_beams > BEAM_MOST)
        return status_set(LLM_E_RANGE, "num_beams is %d, outside 1..%d", options->num_beams,
                          BEAM_MOST);
    if (options->early_stopping < 0 || options->early_stopping > 2)
        return status_set(LLM_E_RANGE, "early_stopping is %d, outside 0..2",
                          options->early_stopping);
    if (options->num_beams > 1 && options->temperature != 0.0)
        return status_set(LLM_E_UNSUPPORTED, "temperature together with num_beams");
    if (!isfinite(options->length_penalty))
        return status_set(LLM_E_RANGE, "length_penalty is not a number");
    return LLM_OK;
}

llm_status task_generate_ids(int32_t *ids, size_t capacity, size_t *count, const llm_task *task,
                             const int32_t *source, size_t source_count,
                             const llm_seq2seq_options *given)
{
    llm_seq2seq_options options = default_seq2seq;
    llm_generate_options sampling;
    struct seq2seq_options inner = {.sampling = &sampling};
    llm_status status = options_read(&options, sizeof options, given, "llm_seq2seq_options");

    if (!status)
        status = check_seq2seq(&options);
    if (!status)
        status = task_check_head(task, LLM_HEAD_SEQ2SEQ);
    if (!status)
        status = llm_generate_options_init(&sampling, sizeof sampling);
    if (status)
        return status;
    sampling.temperature = options.temperature;
    sampling.top_p = options.top_p;
    sampling.top_k = options.top_k;
    sampling.seed = options.seed;
    status = sampler_check(&sampling, task->model->vocabulary);
    inner.max_tokens = options.max_tokens;
    inner.beams = options.num_beams;
    inner.stopping = options.early_stopping;
    inner.length_penalty = options.length_penalty;
    return status
               ? status
               : seq2seq_generate(ids, capacity, count, task->model, source, source_count, &inner);
}

llm_status llm_task_generate_ids(int32_t *ids, size_t capacity, size_t *count, const llm_task *task,
                                 const int32_t *source_ids, size_t source_count,
                                 const llm_seq2seq_options *options)
{
    static const char name[] = "llm_task_generate_ids";

    if (!count)
        return null_argument(name, "count");
    *count = 0;
    if (!task || !source_ids || (!ids && capacity))
        return null_argument(name, !task ? "task" : source_ids ? "ids" : "source_ids");
    return task_generate_ids(ids, capacity, count, task, source_ids, source_count, options);
}

/* ---- vectors -----------------------------------------------------------------------------------
 */

static double length_of(const float *v, size_t dim)
{
    double sum = 0.0;

    for (size_t d = 0; d < dim; d++)
        sum += (double)v[d] * (double)v[d];
    return sqrt(sum);
}

llm_status llm_similarity(float *matrix, const float *a, size_t a_count, const float *b,
                          size_t b_count, size_t dim)
{
    if (!matrix || !a || !b)
        return null_argument("llm_similarity", !matrix ? "matrix" : a ? "b" : "a");
    for (size_t i = 0; i < a_count; i++) {
        const float *u = a + i * dim;
        double u_length = length_of(u, dim);

        for (size_t j = 0; j < b_count; j++) {
            const float *v = b + j * dim;
            double v_length = length_of(v, dim);
            double dot = 0.0, cosine;

            for (size_t d = 0; d < dim; d++)
                dot += (double)u[d] * (double)v[d];
            cosine = u_length > 0.0 && v_length > 0.0 ? dot / (u_length * v_length) : 0.0;
            matrix[i * b_count + j] = (float)(cosine > 1.0 ? 1.0 : cosine < -1.0 ? -1.0 : cosine);
        }
    }
    return LLM_OK;
}
