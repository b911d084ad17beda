/* SPDX-License-Identifier: MIT
 *
 * Losses between two tensors of one shape: squared error, binary cross-entropy on logits, binary
 * hinge; and the multi-class hinge of torch.nn.MultiMarginLoss. Sums are made over fixed chunks.
 */
#include "graph/cross_entropy.h"
#include "graph/op.h"
#include "graph/rows.h"

#include <math.h>

enum { CHUNK = 4096 };

/* One loss: its value, and its slopes by x and by the target t. */
struct loss {
    const char *name;
    double (*value)(double x, double t, double parameter);
    void (*slopes)(double x, double t, double parameter, double *dx, double *dt);
};

struct pointwise {
    const struct loss *loss;
    float parameter;
    int32_t reduction;
};

struct pointwise_job {
    struct pointwise pointwise;
    int64_t count;
    const float *x, *t, *dy;
    float *values;  /* REDUCE_NONE: one per element */
    double *chunks; /* else: one per chunk */
    float *dx, *dt, beta_x, beta_t;
};

static void value_chunk(void *arg, int64_t chunk)
{
    const struct pointwise_job *job = arg;
    const struct pointwise *p = &job->pointwise;
    int64_t end = (chunk + 1) * CHUNK < job->count ? (chunk + 1) * CHUNK : job->count;
    double sum = 0.0;

    for (int64_t i = chunk * CHUNK; i < end; i++) {
        double value = p->loss->value((double)job->x[i], (double)job->t[i], (double)p->parameter);

        if (job->values)
            job->values[i] = (float)value;
        sum += value;
    }
    if (job->chunks)
        job->chunks[chunk] = sum;
}

static void slope_chunk(void *arg, int64_t chunk)
{
    const struct pointwise_job *job = arg;
    const struct pointwise *p = &job->pointwise;
    int64_t end = (chunk + 1) * CHUNK < job->count ? (chunk + 1) * CHUNK : job->count;
    double scale = p->reduction == REDUCE_MEAN ? 1.0 / (double)job->count : 1.0;

    for (int64_t i = chunk * CHUNK; i < end; i++) {
        double dy = scale * (double)job->dy[p->reduction == REDUCE_NONE ? i : 0];
        double dx;
        double dt;

        p->loss->slopes((double)job->x[i], (double)job->t[i], (double)p->parameter, &dx, &dt);
        if (job->dx)
            job->dx[i] = (float)(dy * dx) + (job->beta_x == 0.0f ? 0.0f : job->dx[i]);
        if (job->dt)
            job->dt[i] = (float)(dy * dt) + (job->beta_t == 0.0f ? 0.0f : job->dt[i]);
    }
}

static int64_t chunks_of(int64_t count)
{
    return (count + CHUNK - 1) / CHUNK;
}

static void pointwise_backward(struct cx *cx, struct node *node)
{
    struct pointwise_job job = {.pointwise = *(const struct pointwise *)node->saved};
    llm_tensor *dx;
    llm_tensor *dt;

    job.count = tensor_count(node->in[0]);
    job.x = cx_values(cx, node->in[0]);
    job.t = cx_values(cx, node->in[1]);
    job.dy = cx_out_grad(node, 0);
    dx = cx_grad(cx, node->in[0], &job.beta_x);
    dt = cx_grad(cx, node->in[1], &job.beta_t);
    if (cx->status)
        return;
    job.dx = dx ? dx->data : NULL;
    job.dt = dt ? dt->data : NULL;
    parallel_each(cx->threads, chunks_of(job.count), slope_chunk, &job);
}

static const struct op pointwise_op = {"pointwise loss", pointwise_backward, NULL};

static bool pointwise_fits(struct cx *cx, const struct pointwise *pointwise, llm_tensor *const *in)
{
    const char *name = pointwise->loss->name;

    if (!cx_ready(cx, name, 2, in) || !rows_are_f32(cx, name, 2, in))
        return false;
    if (pointwise->reduction < REDUCE_NONE || pointwise->reduction > REDUCE_SUM) {
        cx_fail(cx, LLM_E_INVALID, "%s: reduction %d is not one of REDUCE_*", name,
                pointwise->reduction);
        return false;
    }
    if (!tensor_same_shape(in[0], in[1])) {
        cx_fail(cx, LLM_E_SHAPE, "%s: %s and %s differ", name, tensor_shape_text(in[0]),
                tensor_shape_text(in[1]));
        return false;
    }
    return true;
}

static llm_tensor *pointwise_run(struct cx *cx, const struct pointwise *pointwise,
                                 llm_tensor *const *in)
{
    struct pointwise_job job = {.pointwise = *pointwise, .count = tensor_count(in[0])};
    int64_t chunks = chunks_of(job.count);
    struct storage *sums = NULL;
    llm_tensor *y;
    double total = 0.0;

    if (pointwise->reduction == REDUCE_NONE)
        y = cx_output_like(cx, in[0]);
    else
        y = cx_output(cx, LLM_F32, 0, NULL);
    sums = y ? cx_take(cx, (size_t)chunks * sizeof(double)) : NULL;
    if (!sums)
        return NULL;
    job.x = in[0]->data;
    job.t = in[1]->data;
    job.values = pointwise->reduction == REDUCE_NONE ? y->data : NULL;
    job.chunks = sums->data;
    parallel_each(cx->threads, chunks, value_chunk, &job);
    for (int64_t i = 0; i < chunks; i++)
        total += job.chunks[i];
    if (pointwise->reduction == REDUCE_SUM)
        tensor_f32(y)[0] = (float)total;
    else if (pointwise->reduction == REDUCE_MEAN)
        tensor_f32(y)[0] = (float)(total / (double)job.count);
    storage_release(sums);
    return y;
}

static llm_tensor *pointwise(struct cx *cx, const struct loss *loss, llm_tensor *x, llm_tensor *t,
                             float parameter, int32_t reduction)
{
    struct pointwise made = {loss, parameter, reduction};
    llm_tensor *in[2] = {x, t};
    struct node *node;
    llm_tensor *y;

    if (!pointwise_fits(cx, &made, in))
        return NULL;
    in[0] = cx_contiguous(cx, x);
    in[1] = cx_contiguous(cx, t);
    y = in[0] && in[1] ? pointwise_run(cx, &made, in) : NULL;
    if (!y)
        return NULL;
    node = cx_record(cx, &pointwise_op, 2, in, 1, &y, sizeof made);
    if (node)
        *(struct pointwise *)node->saved = made;
    return cx->status ? NULL : y;
}

static double squared_value(double x, double t, double parameter)
{
    (void)parameter;
    return (x - t) * (x - t);
}

static void squared_slopes(double x, double t, double parameter, double *dx, double *dt)
{
    (void)parameter;
    *dx = 2.0 * (x - t);
    *dt = -*dx;
}

static double logistic_value(double x, double t, double parameter)
{
    (void)parameter;
    return (x > 0.0 ? x : 0.0) - x * t + log1p(exp(-fabs(x)));
}

static void logistic_slopes(double x, double t, double parameter, double *dx, double *dt)
{
    double e = exp(-fabs(x));

    (void)parameter;
    *dx = (x < 0.0 ? e : 1.0) / (1.0 + e) - t;
    *dt = -x;
}

static double hinge_value(double x, double y, double margin)
{
    double loss = margin - y * x;

    return loss < 0.0 ? 0.0 : loss; /* NaN stays NaN */
}

static void hinge_slopes(double x, double y, double margin, double *dx, double *dy)
{
    bool inside = margin - y * x > 0.0;

    *dx = inside ? -y : 0.0;
    *dy = inside ? -x : 0.0;
}

llm_tensor *op_mse(struct cx *cx, llm_tensor *x, llm_tensor *target, int32_t reduction)
{
    static const struct loss loss = {"mse", squared_value, squared_slopes};

    return pointwise(cx, &loss, x, target, 0.0f, reduction);
}

llm_tensor *op_bce_with_logits(struct cx *cx, llm_tensor *logits, llm_tensor *target,
                               int32_t reduction)
{
    static const struct loss loss = {"bce_with_logits", logistic_value, logistic_slopes};

    return pointwise(cx, &loss, logits, target, 0.0f, reduction);
}

llm_tensor *op_hinge(struct cx *cx, llm_tensor *x, llm_tensor *y, float margin, int32_t reduction)
{
    static const struct loss loss = {"hinge", hinge_value, hinge_slopes};

    return pointwise(cx, &loss, x, y, margin, reduction);
}

/* ---- multi-class hinge: sum over j != t of max(0, margin - x[t] + x[j]) / V -------------------
 */

struct margin {
    int32_t *targets;
    int64_t rows, n;
    float margin;
    int32_t reduction;
};

static float margin_loss(const struct margin *margin, const float *x, int32_t target)
{
    double sum = 0.0;

    for (int64_t j = 0; j < margin->n; j++) {
        double loss = (double)margin->margin - (double)x[target] + (double)x[j];

        if (j != target && !(loss < 0.0))
            sum += loss;
    }
    return (float)(sum / (double)margin->n);
}

static void margin_slopes(const struct margin *margin, const float *x, int32_t target, float dy,
                          float *dx, float beta)
{
    float share = dy / (float)margin->n;
    int64_t inside = 0;

    for (int64_t j = 0; j < margin->n; j++) {
        float slope = 0.0f;

        if (j != target && margin->margin - x[target] + x[j] > 0.0f) {
            slope = share;
            inside++;
        }
        dx[j] = beta == 0.0f ? slope : dx[j] + slope;
    }
    dx[target] -= share * (float)inside;
}

static void margin_backward(struct cx *cx, struct node *node)
{
    const struct margin *margin = node->saved;
    const float *dy = cx_out_grad(node, 0);
    const float *x = cx_values(cx, node->in[0]);
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);
    float scale = margin->reduction == REDUCE_MEAN ? 1.0f / (float)margin->rows : 1.0f;

    for (int64_t i = 0; dx && x && i < margin->rows; i++)
        margin_slopes(margin, x + i * margin->n, margin->targets[i],
                      scale * dy[margin->reduction == REDUCE_NONE ? i : 0],
                      tensor_f32(dx) + i * margin->n, beta);
}

static const struct op margin_op = {"multi_margin", margin_backward, NULL};

static llm_tensor *margin_run(struct cx *cx, const struct margin *margin, const float *x)
{
    llm_tensor *y = margin->reduction == REDUCE_NONE ? cx_output_1d(cx, margin->rows)
                                                     : cx_output(cx, LLM_F32, 0, NULL);
    double total = 0.0;

    if (!y)
        return NULL;
    for (int64_t i = 0; i < margin->rows; i++) {
        float loss = margin_loss(margin, x + i * margin->n, margin->targets[i]);

        if (margin->reduction == REDUCE_NONE)
            tensor_f32(y)[i] = loss;
        total += (double)loss;
    }
    if (margin->reduction != REDUCE_NONE)
        tensor_f32(y)[0] =
            (float)(margin->reduction == REDUCE_MEAN ? total / (double)margin->rows : total);
    return y;
}

llm_tensor *op_multi_margin(struct cx *cx, llm_tensor *logits, const int32_t *targets, float margin,
                            int32_t reduction)
{
    struct margin made = {.margin = margin, .reduction = reduction};
    struct node *node;
    llm_tensor *y;
    int64_t counted;

    if (!cx_ready(cx, "multi_margin", 1, &logits) || !rows_are_f32(cx, "multi_margin", 1, &logits))
        return NULL;
    if (reduction < REDUCE_NONE || reduction > REDUCE_SUM)
        return cx_fail(cx, LLM_E_INVALID, "multi_margin: reduction %d is not one of REDUCE_*",
                       reduction);
    if (logits->dimensions != 2)
        return cx_fail(cx, LLM_E_SHAPE, "multi_margin: logits %s are not [rows, classes]",
                       tensor_shape_text(logits));
    made.rows = logits->shape[0];
    made.n = logits->shape[1];
    /* no target is ignored: INT32_MIN is out of range as any negative one */
    made.targets =
        cross_entropy_targets(cx, "multi_margin", targets, made.rows, made.n, INT32_MIN, &counted);
    if (made.targets && counted < made.rows)
        return cx_fail(cx, LLM_E_RANGE, "multi_margin: a target is negative");
    logits = made.targets ? cx_contiguous(cx, logits) : NULL;
    y = logits ? margin_run(cx, &made, logits->data) : NULL;
    if (!y)
        return NULL;
    node = cx_record(cx, &margin_op, 1, &logits, 1, &y, sizeof made);
    if (node)
        *(struct margin *)node->saved = made;
    return cx->status ? NULL : y;
}
