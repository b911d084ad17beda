/* SPDX-License-Identifier: MIT
 *
 * Softmax cross-entropy of rows of logits, with class targets or target distributions
 * (torch.nn.functional.cross_entropy). The backward pass computes each row's softmax again from the
 * logits: nothing of their size is kept. For logits that are a projection see
 * op_linear_cross_entropy.c, which never makes them all.
 */
#include "graph/cross_entropy.h"
#include "graph/op.h"
#include "graph/rows.h"

#include <math.h>
#include <string.h>

struct cross_entropy {
    struct cross_entropy_options options;
    int32_t *targets; /* [rows] in the arena; NULL: soft targets, input 1 */
    int64_t rows, n;
    int64_t counted; /* rows that are not ignored */
};

struct cross_entropy_job {
    const struct vector_kernels *vector;
    const struct cross_entropy *ce;
    const float *logits, *targets;
    float *losses;   /* forward */
    const float *dy; /* backward: one per row, or one */
    float *gradient; /* backward: [rows, n] */
};

static float row_scale(const struct cross_entropy_job *job, int64_t row)
{
    const struct cross_entropy *ce = job->ce;

    if (ce->options.reduction == REDUCE_NONE)
        return job->dy[row];
    return ce->options.reduction == REDUCE_SUM ? job->dy[0] : job->dy[0] / (float)ce->counted;
}

/* Loss of one row; its gradient goes to `gradient` unless that is NULL. */
static float one_row(const struct cross_entropy_job *job, int64_t row, float *gradient, float scale)
{
    const struct cross_entropy *ce = job->ce;
    const float *logits = job->logits + row * ce->n;

    if (!ce->targets)
        return job->vector->cross_entropy_soft(gradient, NULL, logits, job->targets + row * ce->n,
                                               ce->n, ce->options.label_smoothing, scale);
    if (ce->targets[row] != ce->options.ignore_index)
        return job->vector->cross_entropy(gradient, NULL, logits, ce->n, ce->targets[row],
                                          ce->options.label_smoothing, scale);
    if (gradient)
        job->vector->fill(gradient, 0.0f, ce->n);
    return 0.0f;
}

static void loss_rows(void *arg, int64_t begin, int64_t end)
{
    const struct cross_entropy_job *job = arg;

    for (int64_t row = begin; row < end; row++)
        job->losses[row] = one_row(job, row, NULL, 0.0f);
}

static void gradient_rows(void *arg, int64_t begin, int64_t end)
{
    const struct cross_entropy_job *job = arg;

    for (int64_t row = begin; row < end; row++)
        (void)one_row(job, row, job->gradient + row * job->ce->n, row_scale(job, row));
}

static void cross_entropy_backward(struct cx *cx, struct node *node)
{
    struct cross_entropy_job job = {.vector = &cx->kernels->vector, .ce = node->saved};
    llm_tensor *dx = cx_output_like(cx, node->in[0]);

    job.logits = cx_values(cx, node->in[0]);
    job.targets = node->in[1] ? cx_values(cx, node->in[1]) : NULL;
    job.dy = cx_out_grad(node, 0);
    if (!cx->status) {
        job.gradient = dx->data;
        parallel_for(cx->threads, job.ce->rows, rows_grain(job.ce->n * 4), gradient_rows, &job);
        cx_grad_add(cx, node->in[0], dx);
    }
    cx_release(cx, dx);
}

static const struct op cross_entropy_op = {"cross_entropy", cross_entropy_backward, NULL};

int32_t *cross_entropy_targets(struct cx *cx, const char *op, const int32_t *targets, int64_t rows,
                               int64_t classes, int32_t ignore_index, int64_t *counted)
{
    int32_t *copy;

    if (!targets && rows > 0)
        return cx_fail(cx, LLM_E_INVALID, "%s: targets is NULL", op);
    copy = arena_alloc(&cx->arena, (size_t)rows * sizeof *copy + 1);
    if (!copy)
        return cx_adopt(cx, LLM_E_NOMEM);
    *counted = 0;
    for (int64_t i = 0; i < rows; i++) {
        copy[i] = targets[i];
        if (targets[i] == ignore_index)
            continue;
        if (targets[i] < 0 || targets[i] >= classes)
            return cx_fail(cx, LLM_E_RANGE, "%s: target %d of row %lld is outside [0, %lld)", op,
                           targets[i], (long long)i, (long long)classes);
        *counted += 1;
    }
    return copy;
}

struct cross_entropy_options cross_entropy_defaults(const struct cross_entropy_options *options)
{
    const struct cross_entropy_options defaults = {-100, 0.0f, REDUCE_MEAN};

    return options ? *options : defaults;
}

bool cross_entropy_check(struct cx *cx, const char *op, const struct cross_entropy_options *options)
{
    if (!(options->label_smoothing >= 0.0f && options->label_smoothing <= 1.0f)) {
        cx_fail(cx, LLM_E_RANGE, "%s: label smoothing %g is outside [0, 1]", op,
                (double)options->label_smoothing);
        return false;
    }
    if (options->reduction < REDUCE_NONE || options->reduction > REDUCE_SUM) {
        cx_fail(cx, LLM_E_INVALID, "%s: reduction %d is not one of REDUCE_*", op,
                options->reduction);
        return false;
    }
    return true;
}

double cross_entropy_total(const float *losses, int64_t rows)
{
    double total = 0.0;

    for (int64_t i = 0; i < rows; i++)
        total += (double)losses[i];
    return total;
}

/* The row losses, reduced as asked; a mean over nothing is NaN as in PyTorch. */
static llm_tensor *reduced(struct cx *cx, const struct cross_entropy_job *job, llm_tensor *losses)
{
    const struct cross_entropy *ce = job->ce;
    llm_tensor *y;
    double total;

    if (ce->options.reduction == REDUCE_NONE)
        return losses;
    y = cx_output(cx, LLM_F32, 0, NULL);
    if (!y)
        return NULL;
    total = cross_entropy_total(losses->data, ce->rows);
    if (ce->options.reduction == REDUCE_MEAN)
        total = ce->counted > 0 ? total / (double)ce->counted : (double)NAN;
    tensor_f32(y)[0] = (float)total;
    cx_release(cx, losses);
    return y;
}

/* in[1] NULL: class targets */
static llm_tensor *cross_entropy(struct cx *cx, llm_tensor *const *in, struct cross_entropy *ce)
{
    struct cross_entropy_job job = {.vector = &cx->kernels->vector, .ce = ce};
    llm_tensor *losses = cx_output_1d(cx, ce->rows);
    struct node *node;
    llm_tensor *y;

    if (!losses)
        return NULL;
    job.logits = in[0]->data;
    job.targets = in[1] ? in[1]->data : NULL;
    job.losses = losses->data;
    parallel_for(cx->threads, ce->rows, rows_grain(ce->n * 4), loss_rows, &job);
    y = reduced(cx, &job, losses);
    if (!y)
        return NULL;
    node = cx_record(cx, &cross_entropy_op, 2, in, 1, &y, sizeof *ce);
    if (node)
        *(struct cross_entropy *)node->saved = *ce;
    return cx->status ? NULL : y;
}

llm_tensor *op_cross_entropy(struct cx *cx, llm_tensor *logits, const int32_t *targets,
                             const struct cross_entropy_options *options)
{
    struct cross_entropy ce = {.options = cross_entropy_defaults(options)};
    llm_tensor *in[2] = {logits, NULL};

    if (!cx_ready(cx, "cross_entropy", 1, in) || !rows_are_f32(cx, "cross_entropy", 1, in) ||
        !cross_entropy_check(cx, "cross_entropy", &ce.options))
        return NULL;
    if (logits->dimensions < 1)
        return cx_fail(cx, LLM_E_SHAPE, "cross_entropy: the logits are a scalar");
    ce.rows = tensor_rows(logits);
    ce.n = tensor_last(logits);
    ce.targets = cross_entropy_targets(cx, "cross_entropy", targets, ce.rows, ce.n,
                                       ce.options.ignore_index, &ce.counted);
    in[0] = ce.targets ? cx_contiguous(cx, logits) : NULL;
    return in[0] ? cross_entropy(cx, in, &ce) : NULL;
}

llm_tensor *op_cross_entropy_soft(struct cx *cx, llm_tensor *logits, llm_tensor *targets,
                                  int32_t reduction)
{
    struct cross_entropy ce = {.options = {0, 0.0f, reduction}};
    llm_tensor *in[2] = {logits, targets};

    if (!cx_ready(cx, "cross_entropy_soft", 2, in) ||
        !rows_are_f32(cx, "cross_entropy_soft", 2, in) ||
        !cross_entropy_check(cx, "cross_entropy_soft", &ce.options))
        return NULL;
    if (logits->dimensions < 1 || !tensor_same_shape(logits, targets))
        return cx_fail(cx, LLM_E_SHAPE, "cross_entropy_soft: targets %s do not fit logits %s",
                       tensor_shape_text(targets), tensor_shape_text(logits));
    ce.rows = ce.counted = tensor_rows(logits);
    ce.n = tensor_last(logits);
    in[0] = cx_contiguous(cx, logits);
    in[1] = cx_contiguous(cx, targets);
    return in[0] && in[1] ? cross_entropy(cx, in, &ce) : NULL;
}
