/* SPDX-License-Identifier: MIT
 *
 * The output projection fused with cross-entropy: logits of a chunk of rows are made, turned into
 * the loss and, in place, into their own gradient, multiplied out into dX and dW, and overwritten
 * by the next chunk's. Memory is one chunk of logits instead of all of them (the idea of Liger
 * Kernel, Hsu et al. 2024). The backward pass only scales what is there by the loss's gradient.
 */
#include "graph/cross_entropy.h"
#include "graph/op.h"
#include "graph/product.h"
#include "graph/rows.h"

#include <math.h>

enum { CHUNK_ELEMENTS = 1 << 24, CHUNK_ROWS = 128 };

struct fused {
    llm_tensor *dx; /* [N, D]; NULL: not wanted */
    llm_tensor *dw; /* [V, D] */
};

struct fused_job {
    const struct vector_kernels *vector;
    struct cross_entropy_options options;
    const int32_t *targets;
    float *logits; /* of the chunk; become their gradient */
    float *losses;
    int64_t classes;
    float scale;
    bool with_gradient;
};

static void chunk_rows(void *arg, int64_t begin, int64_t end)
{
    const struct fused_job *job = arg;

    for (int64_t row = begin; row < end; row++) {
        float *logits = job->logits + row * job->classes;
        float *gradient = job->with_gradient ? logits : NULL;

        if (job->targets[row] != job->options.ignore_index) {
            job->losses[row] =
                job->vector->cross_entropy(gradient, NULL, logits, job->classes, job->targets[row],
                                           job->options.label_smoothing, job->scale);
        } else {
            job->losses[row] = 0.0f;
            if (gradient)
                job->vector->fill(gradient, 0.0f, job->classes);
        }
    }
}

/* Rows in a chunk: enough for full speed, few enough for memory, all chunks alike. */
static int64_t chunk_size(int64_t rows, int64_t classes)
{
    int64_t most = CHUNK_ELEMENTS / (classes > 0 ? classes : 1);
    int64_t chunks;

    if (most < CHUNK_ROWS)
        most = CHUNK_ROWS;
    chunks = (rows + most - 1) / most;
    return chunks > 0 ? (rows + chunks - 1) / chunks : 1;
}

static enum gemm_type type_of(const llm_tensor *weight)
{
    return weight->dtype == LLM_BF16 ? GEMM_BF16 : weight->dtype == LLM_F16 ? GEMM_F16 : GEMM_F32;
}

static void multiply_out(struct cx *cx, const struct fused *fused, const float *x,
                         const llm_tensor *weight, const float *gradient, int64_t start,
                         int64_t rows)
{
    int64_t classes = weight->shape[0];
    int64_t width = weight->shape[1];

    if (fused->dx && weight->packed) {
        product_packed_gradient(cx, tensor_f32(fused->dx) + start * width, width, 0.0f, gradient,
                                rows, weight);
    } else if (fused->dx) { /* dX = G W */
        struct gemm product = product_make(rows, width, classes);

        product.a = gradient;
        product.lda = classes;
        product.b = weight->data;
        product.b_type = type_of(weight);
        product.ldb = width;
        product.c = tensor_f32(fused->dx) + start * width;
        product.ldc = width;
        product_run(cx, &product);
    }
    if (fused->dw) { /* dW += transposed G times X */
        struct gemm product = product_make(classes, width, rows);

        product.a = gradient;
        product.lda = classes;
        product.trans_a = true;
        product.b = x + start * width;
        product.ldb = width;
        product.c = fused->dw->data;
        product.ldc = width;
        product.beta = start == 0 ? 0.0f : 1.0f;
        product_run(cx, &product);
    }
}

/* Logits of `rows` rows of x. */
static void multiply(struct cx *cx, float *logits, const float *x, const llm_tensor *weight,
                     int64_t rows)
{
    struct gemm product = product_make(rows, weight->shape[0], weight->shape[1]);

    if (weight->packed) {
        product_packed(cx, logits, x, weight->shape[1], rows, weight, NULL);
        return;
    }
    product.a = x;
    product.lda = weight->shape[1];
    product.b = weight->data;
    product.b_type = type_of(weight);
    product.ldb = weight->shape[1];
    product.trans_b = true;
    product.c = logits;
    product.ldc = weight->shape[0];
    product_run(cx, &product);
}

/* Losses of all rows; gradients into `fused` where that has room for them. */
static void run_chunks(struct cx *cx, struct fused_job *job, const struct fused *fused,
                       const llm_tensor *x, const llm_tensor *weight)
{
    int64_t total = x->shape[0];
    int64_t chunk = chunk_size(total, weight->shape[0]);
    struct storage *logits = cx_take(cx, (size_t)(chunk * weight->shape[0]) * sizeof(float));
    const int32_t *targets = job->targets;
    float *losses = job->losses;

    for (int64_t start = 0; logits && start < total && !cx->status; start += chunk) {
        int64_t rows = total - start < chunk ? total - start : chunk;

        multiply(cx, logits->data, tensor_f32(x) + start * weight->shape[1], weight, rows);
        if (cx->status)
            break;
        job->logits = logits->data;
        job->targets = targets + start;
        job->losses = losses + start;
        parallel_for(cx->threads, rows, rows_grain(job->classes * 4), chunk_rows, job);
        if (job->with_gradient)
            multiply_out(cx, fused, x->data, weight, logits->data, start, rows);
    }
    if (total == 0 && fused->dw)
        tensor_zero(fused->dw);
    storage_release(logits);
    job->targets = targets;
    job->losses = losses;
}

struct scale_job {
    const struct vector_kernels *vector;
    float *to;
    const float *from;
    float beta, scale;
};

static void scale_range(void *arg, int64_t begin, int64_t end)
{
    const struct scale_job *job = arg;

    job->vector->affine(job->to + begin, job->beta, job->from + begin, job->scale, 0.0f,
                        end - begin);
}

/* gradient of x += scale * part */
static void hand_over(struct cx *cx, llm_tensor *x, llm_tensor *part, float scale)
{
    struct scale_job job = {.vector = &cx->kernels->vector, .scale = scale};
    llm_tensor *grad;

    if (!part || !x->requires_grad)
        return;
    if (scale == 1.0f && x->is_on_tape) {
        cx_grad_add(cx, x, part);
        return;
    }
    job.from = part->data;
    if (scale == 1.0f && cx_grad_give(cx, x, part))
        return;
    grad = cx_grad(cx, x, &job.beta);
    if (!grad)
        return;
    job.to = grad->data;
    parallel_for(cx->threads, tensor_count(grad), ROWS_WORK, scale_range, &job);
}

static void linear_cross_entropy_backward(struct cx *cx, struct node *node)
{
    const struct fused *fused = node->saved;
    float scale = cx_out_grad(node, 0)[0];

    hand_over(cx, node->in[0], fused->dx, scale);
    hand_over(cx, node->in[1], fused->dw, scale);
}

static const struct op linear_cross_entropy_op = {"linear_cross_entropy",
                                                  linear_cross_entropy_backward, NULL};

/* The same from the ordinary ops, for losses per row, whose gradients differ from row to row. */
static llm_tensor *unfused(struct cx *cx, llm_tensor *x, llm_tensor *weight, const int32_t *targets,
                           const struct cross_entropy_options *options)
{
    llm_tensor *logits = op_linear(cx, x, weight, NULL);

    return logits ? op_cross_entropy(cx, logits, targets, options) : NULL;
}

static bool fits(struct cx *cx, llm_tensor *const *in)
{
    if (in[1]->dtype != LLM_F32 && in[1]->dtype != LLM_F16 && in[1]->dtype != LLM_BF16 &&
        !in[1]->packed) {
        cx_fail(cx, LLM_E_UNSUPPORTED,
                "linear_cross_entropy: the weight must be f32, f16, bf16 or packed");
        return false;
    }
    if (in[0]->dimensions != 2 || in[1]->dimensions != 2 || in[0]->shape[1] != in[1]->shape[1]) {
        cx_fail(cx, LLM_E_SHAPE, "linear_cross_entropy: x %s does not fit weight %s",
                tensor_shape_text(in[0]), tensor_shape_text(in[1]));
        return false;
    }
    return true;
}

/* Room for the gradients that somebody will want. */
static bool make_room(struct cx *cx, struct fused *fused, llm_tensor *const *in)
{
    if (!cx_will_record(cx, 2, in))
        return true;
    if (in[0]->requires_grad)
        fused->dx = cx_output_like(cx, in[0]);
    if (in[1]->requires_grad && in[1]->dtype == LLM_F32)
        fused->dw = cx_output_like(cx, in[1]);
    return cx->status == LLM_OK;
}

/* The scalar result and its node. */
static llm_tensor *finish(struct cx *cx, llm_tensor *const *in, const struct fused *fused,
                          double loss)
{
    llm_tensor *y = cx_output(cx, LLM_F32, 0, NULL);
    struct node *node;

    if (!y)
        return NULL;
    tensor_f32(y)[0] = (float)loss;
    node = cx_record(cx, &linear_cross_entropy_op, 2, in, 1, &y, sizeof *fused);
    if (node)
        *(struct fused *)node->saved = *fused;
    return cx->status ? NULL : y;
}

llm_tensor *op_linear_cross_entropy(struct cx *cx, llm_tensor *x, llm_tensor *weight,
                                    const int32_t *targets,
                                    const struct cross_entropy_options *options)
{
    struct fused_job job = {.options = cross_entropy_defaults(options)};
    llm_tensor *in[2] = {x, weight};
    struct fused fused = {0};
    llm_tensor *losses;
    int64_t counted;
    double loss;

    if (!cx_ready(cx, "linear_cross_entropy", weight && weight->packed ? 1 : 2, in) ||
        !rows_are_f32(cx, "linear_cross_entropy", 1, in) || !fits(cx, in) ||
        !cross_entropy_check(cx, "linear_cross_entropy", &job.options))
        return NULL;
    if (job.options.reduction == REDUCE_NONE)
        return unfused(cx, x, weight, targets, options);
    job.targets = cross_entropy_targets(cx, "linear_cross_entropy", targets, x->shape[0],
                                        weight->shape[0], job.options.ignore_index, &counted);
    in[0] = cx_contiguous(cx, x);
    in[1] = weight->packed ? weight : cx_contiguous(cx, weight);
    losses = cx->status ? NULL : cx_output_1d(cx, x->shape[0]);
    if (!losses || !make_room(cx, &fused, in))
        return NULL;
    job.vector = &cx->kernels->vector;
    job.losses = losses->data;
    job.classes = weight->shape[0];
    job.with_gradient = fused.dx || fused.dw;
    job.scale = job.options.reduction == REDUCE_MEAN && counted > 0 ? 1.0f / (float)counted : 1.0f;
    run_chunks(cx, &job, &fused, in[0], in[1]);
    if (cx->status)
        return NULL;
    loss = cross_entropy_total(losses->data, x->shape[0]);
    cx_release(cx, losses);
    if (job.options.reduction == REDUCE_MEAN)
        loss = counted > 0 ? loss / (double)counted : (double)NAN;
    return finish(cx, in, &fused, loss);
}
