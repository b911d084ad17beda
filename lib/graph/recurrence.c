/* SPDX-License-Identifier: MIT */
#include "graph/recurrence.h"

#include "base/parallel.h"
#include "graph/product.h"

#include <string.h>

enum { TEAM_WORK = 1 << 17 }; /* multiply-adds of a step below which threads do not pay */

enum { IN_X, IN_W_INPUT, IN_W_HIDDEN, IN_B_INPUT, IN_B_HIDDEN, IN_H0, IN_C0, INPUTS };

struct layer {
    enum recurrent_cell cell;
    int64_t gates, steps, rows, in, hidden;
    llm_tensor *activations; /* [steps, rows, gates * hidden] */
    llm_tensor *c;           /* LSTM: [steps, rows, hidden] */
    llm_tensor *product;     /* GRU: [steps, rows, hidden] */
};

static const char *const names[RECURRENT_CELLS] = {"rnn", "lstm", "gru"};

/* ---- the time steps, on a team ---- */

/* The arrays of all steps, with the distance from one step to the next; the team's members keep
 * their blocks of units through all steps and wait for each other after each. */
struct sequence {
    const struct recurrent_kernels *kernels;
    const struct layer *layer;
    const float *w_hidden;
    float *packed;
    int64_t blocks;
    struct recurrent_step step; /* forward: as at step 0 */
    struct recurrent_back back; /* backward: as at the last step */
    const float *h0, *c0;
};

static void forward_member(void *arg, int thread, int team)
{
    const struct sequence *s = arg;
    const struct layer *layer = s->layer;
    int64_t begin = s->blocks * thread / team;
    int64_t end = s->blocks * (thread + 1) / team;
    int64_t size = layer->rows * layer->hidden;
    struct recurrent_step step = s->step;

    step.packed = s->packed;
    s->kernels->pack_forward(s->packed, s->w_hidden, layer->gates, layer->hidden, begin, end);
    for (int64_t t = 0; t < layer->steps; t++) {
        s->kernels->forward[layer->cell](&step, begin, end);
        step.before = step.y;
        step.y += size;
        step.gates += layer->gates * size;
        step.c_before = step.c;
        if (step.c && step.keep)
            step.c += size;
        if (step.product)
            step.product += size;
        parallel_barrier(team);
    }
}

static void backward_member(void *arg, int thread, int team)
{
    const struct sequence *s = arg;
    const struct layer *layer = s->layer;
    int64_t begin = s->blocks * thread / team;
    int64_t end = s->blocks * (thread + 1) / team;
    int64_t size = layer->rows * layer->hidden;
    struct recurrent_back step;

    s->kernels->pack_backward(s->packed, s->w_hidden, layer->gates, layer->hidden, begin, end);
    for (int64_t t = layer->steps - 1; t >= 0; t--) {
        step = s->back;
        step.packed = s->packed;
        step.d_gates_next =
            t + 1 < layer->steps ? step.d_gates + (t + 1) * layer->gates * size : NULL;
        step.dy = step.dy ? step.dy + t * size : NULL;
        step.gates += t * layer->gates * size;
        step.d_gates += t * layer->gates * size;
        step.before = t > 0 ? step.y + (t - 1) * size : s->h0;
        step.y += t * size;
        if (step.c) {
            step.c_before = t > 0 ? step.c + (t - 1) * size : s->c0;
            step.c += t * size;
        }
        if (step.product) {
            step.product += t * size;
            step.d_new += t * size;
        }
        s->kernels->backward[layer->cell](&step, begin, end);
        parallel_barrier(team);
    }
}

/* Scratch slot 1 holds the packed weights. */
static bool run_sequence(struct cx *cx, struct sequence *s, int64_t units, parallel_team_fn fn)
{
    const struct layer *layer = s->layer;
    int64_t work = layer->rows * layer->gates * layer->hidden * layer->hidden;
    int threads = work < TEAM_WORK ? 1 : cx->threads;

    s->kernels = &cx->kernels->recurrent;
    s->blocks = (layer->hidden + units - 1) / units;
    s->packed = cx_scratch(
        cx, 1, (size_t)(s->blocks * units * layer->gates * layer->hidden) * sizeof(float));
    if (!s->packed)
        return false;
    parallel_team(threads > s->blocks ? (int)s->blocks : threads, fn, s);
    return true;
}

/* ---- forward ---- */

/* The bias of the product with the input: both biases, where they may be added up. */
static const float *input_bias(struct cx *cx, const struct layer *layer, llm_tensor *const *in)
{
    int64_t size = layer->gates * layer->hidden;
    int64_t shared = layer->cell == RECURRENT_GRU ? 2 * layer->hidden : size;
    const llm_tensor *b_hidden = in[IN_B_HIDDEN];
    float *bias;

    if (!in[IN_B_INPUT] && !b_hidden)
        return NULL;
    bias = cx_scratch(cx, 2, (size_t)size * sizeof *bias);
    for (int64_t i = 0; bias && i < size; i++)
        bias[i] = (in[IN_B_INPUT] ? tensor_f32(in[IN_B_INPUT])[i] : 0.0f) +
                  (b_hidden && i < shared ? tensor_f32(b_hidden)[i] : 0.0f);
    return bias;
}

static void project_input(struct cx *cx, const struct layer *layer, float *gates,
                          llm_tensor *const *in)
{
    struct gemm product =
        product_make(layer->steps * layer->rows, layer->gates * layer->hidden, layer->in);

    product.a = in[IN_X]->data;
    product.lda = layer->in;
    product.b = in[IN_W_INPUT]->data;
    product.ldb = layer->in;
    product.trans_b = true;
    product.c = gates;
    product.ldc = product.n;
    product.bias = input_bias(cx, layer, in);
    product_run(cx, &product);
}

static float *data_of(const llm_tensor *tensor)
{
    return tensor ? tensor->data : NULL;
}

/* `c_last` is where an unrecorded LSTM keeps its one cell state. */
static void run_forward(struct cx *cx, const struct layer *layer, llm_tensor *const *in,
                        llm_tensor *y, float *gates, float *c_last)
{
    struct sequence s = {.layer = layer, .w_hidden = in[IN_W_HIDDEN]->data};

    project_input(cx, layer, gates, in);
    s.step = (struct recurrent_step){.rows = layer->rows,
                                     .hidden = layer->hidden,
                                     .before = data_of(in[IN_H0]),
                                     .y = y->data,
                                     .gates = gates,
                                     .keep = layer->activations != NULL,
                                     .c_before = data_of(in[IN_C0]),
                                     .c = layer->c ? layer->c->data : c_last,
                                     .product = data_of(layer->product)};
    if (layer->cell == RECURRENT_GRU && in[IN_B_HIDDEN])
        s.step.bias_new = tensor_f32(in[IN_B_HIDDEN]) + 2 * layer->hidden;
    if (!cx->status)
        (void)run_sequence(cx, &s, cx->kernels->recurrent.forward_units, forward_member);
}

/* ---- backward ---- */

/* W (+)= D^T A over all rows; beta 0 overwrites. */
static void add_outer(struct cx *cx, float *w, float beta, const float *d, int64_t d_width,
                      const float *a, int64_t a_width, int64_t rows)
{
    struct gemm product = product_make(d_width, a_width, rows);

    product.a = d;
    product.lda = d_width;
    product.trans_a = true;
    product.b = a;
    product.ldb = a_width;
    product.c = w;
    product.ldc = a_width;
    product.beta = beta;
    product_run(cx, &product);
}

/* X (+)= D W */
static void add_through(struct cx *cx, float *x, float beta, const float *d, int64_t d_width,
                        const float *w, int64_t x_width, int64_t rows)
{
    struct gemm product = product_make(rows, x_width, d_width);

    product.a = d;
    product.lda = d_width;
    product.b = w;
    product.ldb = x_width;
    product.c = x;
    product.ldc = x_width;
    product.beta = beta;
    product_run(cx, &product);
}

/* w_hidden, b_hidden and h0, from the gates' gradients as the hidden weights see them. */
static void hidden_gradients(struct cx *cx, const struct layer *layer, struct node *node,
                             const float *d_gates, const float *carry)
{
    int64_t width = layer->gates * layer->hidden;
    llm_tensor *const *in = node->in;
    llm_tensor *grad;
    float beta;

    grad = cx_grad(cx, in[IN_W_HIDDEN], &beta);
    if (grad) {
        add_outer(cx, grad->data, beta, d_gates + layer->rows * width, width, node->out[0]->data,
                  layer->hidden, (layer->steps - 1) * layer->rows);
        if (in[IN_H0])
            add_outer(cx, grad->data, 1.0f, d_gates, width, in[IN_H0]->data, layer->hidden,
                      layer->rows);
    }
    grad = in[IN_B_HIDDEN] ? cx_grad(cx, in[IN_B_HIDDEN], &beta) : NULL;
    if (grad)
        product_column_sums(cx, grad->data, beta, d_gates, layer->steps * layer->rows, width,
                            width);
    grad = in[IN_H0] ? cx_grad(cx, in[IN_H0], &beta) : NULL;
    if (grad) {
        add_through(cx, grad->data, beta, d_gates, width, in[IN_W_HIDDEN]->data, layer->hidden,
                    layer->rows);
        if (layer->cell == RECURRENT_GRU)
            cx->kernels->vector.axpy(grad->data, 1.0f, carry, layer->rows * layer->hidden);
    }
}

/* w_input, b_input and x, from the gates' gradients as the input weights see them. */
static void input_gradients(struct cx *cx, const struct layer *layer, struct node *node,
                            const float *d_gates)
{
    int64_t width = layer->gates * layer->hidden;
    int64_t rows = layer->steps * layer->rows;
    llm_tensor *const *in = node->in;
    llm_tensor *grad;
    float beta;

    grad = cx_grad(cx, in[IN_W_INPUT], &beta);
    if (grad)
        add_outer(cx, grad->data, beta, d_gates, width, in[IN_X]->data, layer->in, rows);
    grad = in[IN_B_INPUT] ? cx_grad(cx, in[IN_B_INPUT], &beta) : NULL;
    if (grad)
        product_column_sums(cx, grad->data, beta, d_gates, rows, width, width);
    grad = cx_grad(cx, in[IN_X], &beta);
    if (grad)
        add_through(cx, grad->data, beta, d_gates, width, in[IN_W_INPUT]->data, layer->in, rows);
}

/* The GRU's new gate has another gradient on the side of the input. */
static void replace_new_gate(const struct layer *layer, float *d_gates, const float *d_new)
{
    for (int64_t row = 0; row < layer->steps * layer->rows; row++)
        memcpy(d_gates + row * 3 * layer->hidden + 2 * layer->hidden, d_new + row * layer->hidden,
               (size_t)layer->hidden * sizeof *d_new);
}

static void run_backward(struct cx *cx, const struct layer *layer, struct node *node,
                         float *d_gates, float *d_new, float *carry)
{
    llm_tensor *const *in = node->in;
    struct sequence s = {.layer = layer, .w_hidden = in[IN_W_HIDDEN]->data};
    const float *d_c = cx_out_grad(node, 1);
    size_t carry_bytes = (size_t)(layer->rows * layer->hidden) * sizeof *carry;
    llm_tensor *grad;
    float beta;

    if (d_c)
        memcpy(carry, d_c, carry_bytes);
    else
        memset(carry, 0, carry_bytes);
    s.h0 = data_of(in[IN_H0]);
    s.c0 = data_of(in[IN_C0]);
    s.back = (struct recurrent_back){.rows = layer->rows,
                                     .hidden = layer->hidden,
                                     .dy = cx_out_grad(node, 0),
                                     .gates = layer->activations->data,
                                     .y = node->out[0]->data,
                                     .c = data_of(layer->c),
                                     .product = data_of(layer->product),
                                     .d_gates = d_gates,
                                     .d_new = d_new,
                                     .carry = carry};
    if (!run_sequence(cx, &s, cx->kernels->recurrent.backward_units, backward_member))
        return;
    hidden_gradients(cx, layer, node, d_gates, carry);
    if (layer->cell == RECURRENT_GRU)
        replace_new_gate(layer, d_gates, d_new);
    input_gradients(cx, layer, node, d_gates);
    grad = in[IN_C0] ? cx_grad(cx, in[IN_C0], &beta) : NULL;
    if (grad && beta == 0.0f)
        memcpy(grad->data, carry, carry_bytes);
    else if (grad)
        cx->kernels->vector.axpy(grad->data, 1.0f, carry, layer->rows * layer->hidden);
}

static bool values_present(struct cx *cx, const struct node *node, const struct layer *layer)
{
    for (int i = 0; i < node->inputs; i++) {
        if (node->in[i] && !cx_values(cx, node->in[i]))
            return false;
    }
    return cx_values(cx, node->out[0]) && cx_values(cx, layer->activations) &&
           (!layer->c || cx_values(cx, layer->c)) &&
           (!layer->product || cx_values(cx, layer->product));
}

/* The activations make room for their gradients when nobody can ask for them again. */
static void recurrent_backward(struct cx *cx, struct node *node)
{
    const struct layer *layer = node->saved;
    size_t size = (size_t)(layer->rows * layer->hidden) * sizeof(float);
    bool in_place = cx->release_in_backward;
    struct storage *d_gates = NULL, *d_new = NULL, *carry = NULL;

    if (!values_present(cx, node, layer))
        return;
    carry = cx_take(cx, size);
    if (!in_place) {
        d_gates = cx_take(cx, size * (size_t)(layer->steps * layer->gates));
        d_new = layer->product ? cx_take(cx, size * (size_t)layer->steps) : NULL;
    }
    if (!cx->status)
        run_backward(cx, layer, node, in_place ? layer->activations->data : d_gates->data,
                     in_place ? data_of(layer->product)
                     : d_new  ? d_new->data
                              : NULL,
                     carry->data);
    storage_release(carry);
    storage_release(d_gates);
    storage_release(d_new);
}

static const struct op recurrent_op = {"recurrent", recurrent_backward, NULL};

/* ---- the layer ---- */

static bool has_shape(const llm_tensor *tensor, int64_t first, int64_t second)
{
    return !tensor || (tensor->dtype == LLM_F32 && tensor->dimensions == (second ? 2 : 1) &&
                       tensor->shape[0] == first && (!second || tensor->shape[1] == second));
}

static bool plan(struct cx *cx, struct layer *layer, llm_tensor *const *in)
{
    static const int64_t gates_of[RECURRENT_CELLS] = {1, 4, 3};
    static const char *const inputs[INPUTS] = {"x",        "w_input", "w_hidden", "b_input",
                                               "b_hidden", "h0",      "c0"};
    const llm_tensor *x = in[IN_X];
    const llm_tensor *w = in[IN_W_HIDDEN];
    int64_t wanted[INPUTS][2] = {{0}};

    layer->gates = gates_of[layer->cell];
    if (x->dtype != LLM_F32 || x->dimensions != 3 || x->shape[0] < 1 || x->shape[1] < 1 ||
        x->shape[2] < 1 || w->dimensions != 2 || w->shape[1] < 1) {
        cx_fail(cx, LLM_E_SHAPE, "%s: x %s is not f32 [T, B, in] or w_hidden %s not a matrix",
                names[layer->cell], tensor_shape_text(x), tensor_shape_text(w));
        return false;
    }
    layer->steps = x->shape[0];
    layer->rows = x->shape[1];
    layer->in = x->shape[2];
    layer->hidden = w->shape[1];
    for (int i = IN_W_INPUT; i <= IN_B_HIDDEN; i++)
        wanted[i][0] = layer->gates * layer->hidden;
    wanted[IN_W_INPUT][1] = layer->in;
    wanted[IN_H0][0] = wanted[IN_C0][0] = layer->rows;
    wanted[IN_W_HIDDEN][1] = wanted[IN_H0][1] = wanted[IN_C0][1] = layer->hidden;
    for (int i = IN_W_INPUT; i < INPUTS; i++) {
        if (!has_shape(in[i], wanted[i][0], wanted[i][1])) {
            cx_fail(cx, LLM_E_SHAPE, "%s: %s %s does not fit x %s and w_hidden %s (or is not f32)",
                    names[layer->cell], inputs[i], tensor_shape_text(in[i]), tensor_shape_text(x),
                    tensor_shape_text(w));
            return false;
        }
    }
    return true;
}

static bool inputs_ready(struct cx *cx, const struct layer *layer, llm_tensor *const *in)
{
    llm_tensor *required[3] = {in[IN_X], in[IN_W_INPUT], in[IN_W_HIDDEN]};

    if (!cx_ready(cx, names[layer->cell], 3, required))
        return false;
    for (int i = 0; i < INPUTS; i++) {
        if (in[i] && !cx_values(cx, in[i]))
            return false;
    }
    return true;
}

/* What the backward pass will need, beside y. */
static void make_saved(struct cx *cx, struct layer *layer)
{
    int64_t shape[3] = {layer->steps, layer->rows, layer->hidden};

    if (layer->cell == RECURRENT_LSTM)
        layer->c = cx_output(cx, LLM_F32, 3, shape);
    if (layer->cell == RECURRENT_GRU)
        layer->product = cx_output(cx, LLM_F32, 3, shape);
    shape[2] *= layer->gates;
    layer->activations = cx_output(cx, LLM_F32, 3, shape);
}

static void run_layer(struct cx *cx, struct layer *layer, llm_tensor *const *in,
                      llm_tensor *const *out)
{
    size_t size = (size_t)(layer->rows * layer->hidden) * sizeof(float);
    struct storage *gates = NULL, *c = NULL;

    if (cx_will_record(cx, INPUTS, in)) {
        make_saved(cx, layer);
    } else {
        gates = cx_take(cx, size * (size_t)(layer->gates * layer->steps));
        c = layer->cell == RECURRENT_LSTM ? cx_take(cx, size) : NULL;
    }
    if (!cx->status) {
        run_forward(cx, layer, in, out[0], gates ? gates->data : layer->activations->data,
                    c ? c->data : NULL);
        if (out[1])
            memcpy(out[1]->data,
                   c ? (float *)c->data
                     : tensor_f32(layer->c) + (layer->steps - 1) * layer->rows * layer->hidden,
                   size);
    }
    storage_release(gates);
    storage_release(c);
}

/* The last state: a view of y, so that its gradient arrives there by itself. */
static llm_tensor *last_of(struct cx *cx, llm_tensor *y)
{
    return op_reshape(cx, op_slice(cx, y, 0, y->shape[0] - 1, y->shape[0], 1), 2, &y->shape[1]);
}

llm_tensor *recurrent_layer(struct cx *cx, enum recurrent_cell cell, llm_tensor *x,
                            const struct recurrent_weights *weights, llm_tensor *h0, llm_tensor *c0,
                            llm_tensor **h_out, llm_tensor **c_out)
{
    struct layer layer = {.cell = cell};
    llm_tensor *in[INPUTS] = {[IN_X] = x, [IN_H0] = h0, [IN_C0] = c0};
    llm_tensor *out[2] = {NULL, NULL};
    int64_t shape[3];
    struct node *node;

    if (h_out)
        *h_out = NULL;
    if (c_out)
        *c_out = NULL;
    if (!weights)
        return cx_fail(cx, LLM_E_INVALID, "%s: the weights are NULL", names[cell]);
    in[IN_W_INPUT] = weights->w_input;
    in[IN_W_HIDDEN] = weights->w_hidden;
    in[IN_B_INPUT] = weights->b_input;
    in[IN_B_HIDDEN] = weights->b_hidden;
    if (!inputs_ready(cx, &layer, in) || !plan(cx, &layer, in))
        return NULL;
    for (int i = 0; i < INPUTS; i++)
        in[i] = cx_contiguous(cx, in[i]);
    shape[0] = layer.steps;
    shape[1] = layer.rows;
    shape[2] = layer.hidden;
    out[0] = cx_output(cx, LLM_F32, 3, shape);
    out[1] = c_out ? cx_output_2d(cx, layer.rows, layer.hidden) : NULL;
    run_layer(cx, &layer, in, out);
    node = cx_record(cx, &recurrent_op, INPUTS, in, 2, out, sizeof layer);
    if (node)
        memcpy(node->saved, &layer, sizeof layer);
    if (h_out && !cx->status)
        *h_out = last_of(cx, out[0]);
    if (c_out && !cx->status)
        *c_out = out[1];
    return cx->status ? NULL : out[0];
}
