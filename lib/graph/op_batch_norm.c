/* SPDX-License-Identifier: MIT
 *
 * Batch norm (Ioffe & Szegedy 2015) of [B, C, ..]: every channel is normalized over the batch and
 * the trailing axes. In training with the batch's own mean and variance, which also move the
 * running statistics (the variance unbiased, as in PyTorch), else with the running statistics.
 */
#include "graph/op.h"
#include "graph/rows.h"

#include <math.h>

struct batch_norm {
    llm_tensor *stats; /* [2, C]: mean, rstd as used */
    bool uses_batch;
};

struct batch_norm_job {
    const struct vector_kernels *vector;
    int64_t batch, channels, length;
    const float *x, *weight, *bias, *dy;
    float *y, *mean, *rstd;
    float *running_mean, *running_var;
    float momentum, epsilon;
    bool uses_batch, moves_running;
    float *dx, beta;
    float *dweight, beta_weight, *dbias, beta_bias;
};

static int64_t row_at(const struct batch_norm_job *job, int64_t b, int64_t c)
{
    return (b * job->channels + c) * job->length;
}

static void batch_statistics(struct batch_norm_job *job, int64_t c, double *mean, double *variance)
{
    double count = (double)(job->batch * job->length);
    double sum = 0.0;
    double squares = 0.0;

    for (int64_t b = 0; b < job->batch; b++)
        sum += job->vector->sum(job->x + row_at(job, b, c), job->length);
    *mean = sum / count;
    for (int64_t b = 0; b < job->batch; b++) {
        const float *x = job->x + row_at(job, b, c);

        for (int64_t i = 0; i < job->length; i++) {
            double d = (double)x[i] - *mean;

            squares += d * d;
        }
    }
    *variance = squares / count;
    if (!job->moves_running)
        return;
    if (job->running_mean)
        job->running_mean[c] += job->momentum * ((float)*mean - job->running_mean[c]);
    if (job->running_var)
        job->running_var[c] +=
            job->momentum * ((float)(squares / (count - 1.0)) - job->running_var[c]);
}

static void forward_channels(void *arg, int64_t begin, int64_t end)
{
    struct batch_norm_job *job = arg;

    for (int64_t c = begin; c < end; c++) {
        double mean;
        double variance;
        double scale;

        if (job->uses_batch) {
            batch_statistics(job, c, &mean, &variance);
        } else {
            mean = (double)job->running_mean[c];
            variance = (double)job->running_var[c];
        }
        job->mean[c] = (float)mean;
        job->rstd[c] = (float)(1.0 / sqrt(variance + (double)job->epsilon));
        scale = (double)job->rstd[c] * (job->weight ? (double)job->weight[c] : 1.0);
        for (int64_t b = 0; b < job->batch; b++) {
            float *y = job->y + row_at(job, b, c);

            job->vector->binary_scalar[VECTOR_SUB](y, 0.0f, job->x + row_at(job, b, c),
                                                   job->mean[c], job->length);
            job->vector->affine(y, 0.0f, y, (float)scale, job->bias ? job->bias[c] : 0.0f,
                                job->length);
        }
    }
}

/* Sums of dy and of dy times the normalized x over one channel. */
static void channel_sums(const struct batch_norm_job *job, int64_t c, double *plain, double *along)
{
    *plain = 0.0;
    *along = 0.0;
    for (int64_t b = 0; b < job->batch; b++) {
        const float *x = job->x + row_at(job, b, c);
        const float *dy = job->dy + row_at(job, b, c);

        for (int64_t i = 0; i < job->length; i++) {
            *plain += (double)dy[i];
            *along += (double)dy[i] * ((double)x[i] - (double)job->mean[c]) * (double)job->rstd[c];
        }
    }
}

static void put(float *to, float beta, double value)
{
    *to = (float)value + (beta == 0.0f ? 0.0f : *to);
}

static void backward_channels(void *arg, int64_t begin, int64_t end)
{
    const struct batch_norm_job *job = arg;
    double count = (double)(job->batch * job->length);

    for (int64_t c = begin; c < end; c++) {
        double rstd = (double)job->rstd[c];
        double scale = rstd * (job->weight ? (double)job->weight[c] : 1.0);
        double plain;
        double along;

        channel_sums(job, c, &plain, &along);
        if (job->dweight)
            put(job->dweight + c, job->beta_weight, along);
        if (job->dbias)
            put(job->dbias + c, job->beta_bias, plain);
        if (!job->uses_batch)
            plain = along = 0.0; /* constants: nothing flows back through the statistics */
        for (int64_t b = 0; b < job->batch && job->dx; b++) {
            int64_t at = row_at(job, b, c);

            for (int64_t i = at; i < at + job->length; i++) {
                double h = ((double)job->x[i] - (double)job->mean[c]) * rstd;

                put(job->dx + i, job->beta,
                    scale * ((double)job->dy[i] - plain / count - h * along / count));
            }
        }
    }
}

static struct batch_norm_job make_job(struct cx *cx, llm_tensor *const *in, llm_tensor *stats)
{
    struct batch_norm_job job = {.vector = &cx->kernels->vector};

    job.batch = in[0]->shape[0];
    job.channels = in[0]->shape[1];
    job.length = 1;
    for (int32_t i = 2; i < in[0]->dimensions; i++)
        job.length *= in[0]->shape[i];
    job.x = cx_values(cx, in[0]);
    job.weight = in[1] ? in[1]->data : NULL;
    job.bias = in[2] ? in[2]->data : NULL;
    job.mean = stats->data;
    job.rstd = job.mean + job.channels;
    return job;
}

static int64_t channel_grain(const struct batch_norm_job *job)
{
    return rows_grain(job->batch * job->length);
}

static void batch_norm_backward(struct cx *cx, struct node *node)
{
    const struct batch_norm *saved = node->saved;
    struct batch_norm_job job = make_job(cx, node->in, saved->stats);
    llm_tensor *dx = cx_grad(cx, node->in[0], &job.beta);
    llm_tensor *dweight = cx_grad(cx, node->in[1], &job.beta_weight);
    llm_tensor *dbias = cx_grad(cx, node->in[2], &job.beta_bias);

    job.dy = cx_out_grad(node, 0);
    job.dx = dx ? dx->data : NULL;
    job.dweight = dweight ? dweight->data : NULL;
    job.dbias = dbias ? dbias->data : NULL;
    job.uses_batch = saved->uses_batch;
    if (!cx->status)
        parallel_for(cx->threads, job.channels, channel_grain(&job), backward_channels, &job);
}

static const struct op batch_norm_op = {"batch_norm", batch_norm_backward, NULL};

static bool batch_norm_fits(struct cx *cx, const llm_tensor *x, llm_tensor *const *channels)
{
    if (x->dimensions < 2) {
        cx_fail(cx, LLM_E_SHAPE, "batch_norm: x %s is not [B, C, ..]", tensor_shape_text(x));
        return false;
    }
    for (int i = 0; i < 4; i++) {
        const llm_tensor *c = channels[i];

        if (c && (c->dimensions != 1 || c->shape[0] != x->shape[1] || !tensor_is_contiguous(c))) {
            cx_fail(cx, LLM_E_SHAPE, "batch_norm: %s does not fit the channels of x %s",
                    tensor_shape_text(c), tensor_shape_text(x));
            return false;
        }
    }
    if (!cx->training && (!channels[2] || !channels[3])) {
        cx_fail(cx, LLM_E_INVALID, "batch_norm: running statistics are needed outside training");
        return false;
    }
    if (cx->training && tensor_count(x) == x->shape[1]) {
        cx_fail(cx, LLM_E_SHAPE, "batch_norm: x %s has one value per channel, training needs more",
                tensor_shape_text(x));
        return false;
    }
    return true;
}

llm_tensor *op_batch_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                          llm_tensor *running_mean, llm_tensor *running_var, float momentum,
                          float epsilon)
{
    llm_tensor *const channels[4] = {weight, bias, running_mean, running_var};
    llm_tensor *in[3] = {x, weight, bias};
    struct batch_norm saved = {.uses_batch = cx->training};
    struct batch_norm_job job;
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "batch_norm", 1, in) || !rows_are_f32(cx, "batch_norm", 1, in) ||
        !rows_are_f32(cx, "batch_norm", 4, channels) || !batch_norm_fits(cx, x, channels))
        return NULL;
    in[0] = cx_contiguous(cx, x);
    y = in[0] ? cx_output_like(cx, in[0]) : NULL;
    saved.stats = y ? cx_output_2d(cx, 2, x->shape[1]) : NULL;
    if (!saved.stats)
        return NULL;
    for (int i = 0; i < 4; i++) {
        if (channels[i] && !cx_values(cx, channels[i]))
            return NULL;
    }
    job = make_job(cx, in, saved.stats);
    job.y = y->data;
    job.running_mean = running_mean ? running_mean->data : NULL;
    job.running_var = running_var ? running_var->data : NULL;
    job.momentum = momentum;
    job.epsilon = epsilon;
    job.uses_batch = cx->training;
    job.moves_running = cx->training && !cx->rerunning;
    parallel_for(cx->threads, job.channels, channel_grain(&job), forward_channels, &job);
    node = cx_record(cx, &batch_norm_op, 3, in, 1, &y, sizeof saved);
    if (node)
        *(struct batch_norm *)node->saved = saved;
    return cx->status ? NULL : y;
}
