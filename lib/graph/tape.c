/* SPDX-License-Identifier: MIT
 *
 * The tape: recording, gradients, the backward pass, segments. Reverse-mode differentiation as in
 * Baydin et al., "Automatic differentiation in machine learning: a survey" (2018); checkpointing as
 * in Chen et al., "Training deep nets with sublinear memory cost" (2016).
 *
 * Nodes and tensors are appended in order of execution, so walking nodes backwards meets every
 * consumer before its producer, and after a node has run nothing made at or after it is needed.
 */
#include "graph/cx.h"

#include <string.h>

/* Drop the bytes of a tape tensor, not its header: messages and shapes stay readable. */
static void drop_values(llm_tensor *tensor)
{
    storage_release(tensor->storage);
    tensor->storage = NULL;
    tensor->data = NULL;
}

static void drop_grad(llm_tensor *tensor)
{
    if (tensor->grad && tensor->grad->is_on_tape)
        drop_values(tensor->grad);
    tensor->grad = NULL;
}

static void drop_from(struct cx *cx, size_t first, const llm_tensor *kept)
{
    for (size_t i = first; i < cx->tensor_count; i++) {
        llm_tensor *tensor = cx->tensors[i];

        if (tensor == kept || (kept && tensor == kept->base))
            continue;
        drop_values(tensor);
        drop_grad(tensor);
    }
}

static void forget_nodes(struct cx *cx, size_t first)
{
    while (cx->node_count > first) {
        struct node *node = cx->nodes[--cx->node_count];

        if (node->forget)
            node->forget(node);
    }
}

void cx_reset(struct cx *cx)
{
    forget_nodes(cx, 0);
    drop_from(cx, 0, NULL);
    cx->tensor_count = 0;
    cx->unclaimed = 0;
    cx->status = LLM_OK;
    cx->message[0] = '\0';
    arena_reset(&cx->arena);
}

bool cx_will_record(const struct cx *cx, int inputs, llm_tensor *const *in)
{
    for (int i = 0; cx->recording && i < inputs; i++) {
        if (in[i] && in[i]->requires_grad)
            return true;
    }
    return false;
}

static struct node *append_node(struct cx *cx, const struct op *op, int inputs,
                                llm_tensor *const *in, int outputs, llm_tensor *const *out,
                                size_t saved_size)
{
    struct node *node;

    if (memory_grow(cx->memory, (void **)&cx->nodes, &cx->node_capacity, cx->node_count + 1,
                    sizeof *cx->nodes))
        return cx_adopt(cx, LLM_E_NOMEM);
    node = arena_alloc(&cx->arena, sizeof *node);
    if (!node)
        return cx_adopt(cx, LLM_E_NOMEM);
    if (saved_size) {
        node->saved = arena_alloc(&cx->arena, saved_size);
        if (!node->saved)
            return cx_adopt(cx, LLM_E_NOMEM);
    }
    node->op = op;
    node->inputs = inputs;
    node->outputs = outputs;
    node->first_tensor = cx->unclaimed;
    cx->unclaimed = cx->tensor_count;
    for (int i = 0; i < inputs; i++)
        node->in[i] = in[i];
    for (int i = 0; i < outputs; i++) {
        node->out[i] = out[i];
        if (out[i]) {
            out[i]->node = node;
            out[i]->requires_grad = true;
        }
    }
    cx->nodes[cx->node_count++] = node;
    return node;
}

struct node *cx_record(struct cx *cx, const struct op *op, int inputs, llm_tensor *const *in,
                       int outputs, llm_tensor *const *out, size_t saved_size)
{
    if (cx->status || !cx_will_record(cx, inputs, in))
        return NULL;
    return append_node(cx, op, inputs, in, outputs, out, saved_size);
}

bool cx_refill(struct cx *cx, llm_tensor *x)
{
    size_t bytes = 0;

    if (cx->status)
        return false;
    (void)dtype_bytes(x->dtype, tensor_count(x), &bytes);
    x->storage = cx_take(cx, bytes);
    x->data = x->storage ? x->storage->data : NULL;
    return x->data != NULL;
}

void *cx_values(struct cx *cx, llm_tensor *x)
{
    llm_tensor *root = x->base ? x->base : x;

    if (x->data)
        return x->data;
    if (root->packed)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "the tensor's values are kept as %s",
                       dtype_get(root->dtype)->name);
    if (!root->data) {
        if (!root->node || !root->node->op->recompute)
            return cx_fail(cx, LLM_E_INVALID, "the tensor's values were released");
        root->node->op->recompute(cx, root->node);
        if (cx->status)
            return NULL;
    }
    if (x != root) {
        x->storage = storage_retain(root->storage);
        x->data = (char *)root->data + x->offset * dtype_get(x->dtype)->block_bytes;
    }
    return x->data;
}

const float *cx_out_grad(const struct node *node, int index)
{
    const llm_tensor *out = node->out[index];

    if (!out || !out->grad || out->grad_is_fresh)
        return NULL;
    return out->grad->data;
}

static llm_status parameter_grad(struct cx *cx, llm_tensor *root)
{
    struct storage *storage;
    llm_status status;

    if (!cx->pools_gradients)
        return tensor_new(&root->grad, root->context, LLM_F32, root->dimensions, root->shape);
    storage = cx_take(cx, (size_t)tensor_count(root) * sizeof(float));
    if (!storage)
        return LLM_E_NOMEM;
    status =
        tensor_over(&root->grad, storage, storage->data, LLM_F32, root->dimensions, root->shape);
    storage_release(storage);
    return status;
}

/* The gradient tensor of a root, made when first asked for. */
static llm_tensor *root_grad(struct cx *cx, llm_tensor *root)
{
    if (!root->grad) {
        if (root->is_on_tape) {
            root->grad = cx_output(cx, LLM_F32, root->dimensions, root->shape);
        } else {
            llm_status status = parameter_grad(cx, root);

            if (status)
                return cx_adopt(cx, status);
        }
        root->grad_is_fresh = true;
    }
    return root->grad;
}

/* A gradient buffer shared with another tensor is copied before it is added to. */
static llm_tensor *own_grad(struct cx *cx, llm_tensor *root)
{
    llm_tensor *copy;

    if (!root->grad->storage || !storage_is_shared(root->grad->storage))
        return root->grad;
    copy = cx_output_like(cx, root->grad);
    if (!copy)
        return NULL;
    memcpy(copy->data, root->grad->data, (size_t)tensor_count(copy) * sizeof(float));
    drop_values(root->grad);
    root->grad = copy;
    return copy;
}

llm_tensor *cx_grad(struct cx *cx, llm_tensor *x, float *beta)
{
    llm_tensor *root = x && x->base ? x->base : x;
    llm_tensor view;
    llm_tensor *grad;
    bool is_partial;

    *beta = 0.0f;
    if (cx->status || !x || !x->requires_grad)
        return NULL;
    grad = root_grad(cx, root);
    if (grad && root->is_on_tape && !root->grad_is_fresh)
        grad = own_grad(cx, root);
    if (!grad)
        return NULL;
    is_partial = x != root && tensor_count(x) != tensor_count(root);
    if (is_partial && root->grad_is_fresh) {
        tensor_zero(grad);
        root->grad_is_fresh = false;
    }
    *beta = root->grad_is_fresh ? 0.0f : 1.0f;
    root->grad_is_fresh = false;
    if (x == root)
        return grad;
    view = *x;
    view.storage = NULL; /* no reference: whether a buffer is shared must stay visible */
    view.data = (float *)grad->data + x->offset;
    view.base = NULL;
    view.requires_grad = false;
    view.node = NULL;
    return cx_view(cx, &view);
}

void cx_grad_add(struct cx *cx, llm_tensor *x, llm_tensor *dy)
{
    llm_tensor *grad;
    llm_tensor alias;
    float beta;

    if (cx->status || !x || !x->requires_grad || !dy)
        return;
    if (x->is_on_tape && !x->base && !x->grad && dy->is_on_tape && tensor_is_contiguous(dy)) {
        alias = *dy; /* the first gradient of a temporary: share the buffer, copy on write */
        alias.dimensions = x->dimensions;
        memcpy(alias.shape, x->shape, sizeof alias.shape);
        memcpy(alias.stride, x->stride, sizeof alias.stride);
        alias.base = NULL;
        alias.node = NULL;
        alias.requires_grad = false;
        x->grad = cx_view(cx, &alias);
        x->grad_is_fresh = false;
        return;
    }
    grad = cx_grad(cx, x, &beta);
    if (!grad)
        return;
    cx_adopt(cx, beta == 0.0f ? tensor_copy(grad, dy) : tensor_add(grad, dy));
}

bool cx_grad_give(struct cx *cx, llm_tensor *x, llm_tensor *dy)
{
    llm_status status;

    if (cx->status || !cx->pools_gradients || x->is_on_tape || x->base || x->grad || !dy->storage ||
        dy->data != dy->storage->data || storage_is_shared(dy->storage))
        return false;
    status = tensor_over(&x->grad, dy->storage, dy->data, LLM_F32, x->dimensions, x->shape);
    x->grad_is_fresh = false;
    if (status)
        cx_adopt(cx, status);
    else
        drop_values(dy);
    return true;
}

/* ---- backward ---- */

static bool has_gradient(const struct node *node)
{
    for (int i = 0; i < node->outputs; i++) {
        if (cx_out_grad(node, i))
            return true;
    }
    return false;
}

/* Nodes [first, count) in reverse. With `release`, what a node and everything after it made, up to
 * tensor `top`, is dropped once it ran. `top` is where the forward run ended: gradients are made
 * later and are dropped through the tensor they belong to, so that of a loss outlives the nodes
 * recorded after the loss. */
static void run_backward(struct cx *cx, size_t first, size_t top, bool release)
{
    bool recording = cx->recording;

    cx->recording = false;
    for (size_t i = cx->node_count; i-- > first && !cx->status;) {
        struct node *node = cx->nodes[i];

        if (has_gradient(node))
            node->op->backward(cx, node);
        if (!release)
            continue;
        for (size_t t = node->first_tensor; t < top; t++) {
            drop_grad(cx->tensors[t]);
            drop_values(cx->tensors[t]);
        }
        if (node->first_tensor < top)
            top = node->first_tensor;
    }
    cx->recording = recording;
}

/* y may be a view of a parameter, whose gradient holds what earlier passes left there. */
static llm_status start_gradient(struct cx *cx, llm_tensor *y, llm_tensor *dy, float seed)
{
    llm_status status = LLM_OK;
    llm_tensor *grad;
    float beta;

    if (!y->requires_grad || !y->is_on_tape) {
        cx_fail(cx, LLM_E_INVALID,
                "backward: the tensor does not depend on one that requires a "
                "gradient, or was not recorded");
        return cx_status(cx);
    }
    grad = cx_grad(cx, y, &beta);
    if (!grad)
        return cx_status(cx);
    if (dy)
        status = beta == 0.0f ? tensor_copy(grad, dy) : tensor_add(grad, dy);
    else
        tensor_f32(grad)[0] = beta == 0.0f ? seed : tensor_f32(grad)[0] + seed;
    cx_adopt(cx, status);
    return cx_status(cx);
}

static llm_status backward_all(struct cx *cx, llm_tensor *y, llm_tensor *dy, float seed)
{
    llm_status status = cx_status(cx);
    size_t top = cx->tensor_count;

    for (size_t i = 0; i < cx->tensor_count; i++)
        drop_grad(cx->tensors[i]); /* of an earlier backward pass over the same tape */
    if (!status)
        status = start_gradient(cx, y, dy, seed);
    if (status)
        return status;
    run_backward(cx, 0, top, cx->release_in_backward);
    return cx_status(cx);
}

llm_status cx_backward(struct cx *cx, llm_tensor *loss, float scale)
{
    if (!loss) {
        cx_fail(cx, LLM_E_INVALID, "backward: the loss is NULL");
        return cx_status(cx);
    }
    if (tensor_count(loss) != 1) {
        cx_fail(cx, LLM_E_SHAPE, "backward: the loss has shape %s, not one element",
                tensor_shape_text(loss));
        return cx_status(cx);
    }
    return backward_all(cx, loss, NULL, scale);
}

llm_status cx_backward_from(struct cx *cx, llm_tensor *y, llm_tensor *dy)
{
    if (!y || !dy) {
        cx_fail(cx, LLM_E_INVALID, "backward: tensor or gradient is NULL");
        return cx_status(cx);
    }
    return backward_all(cx, y, dy, 1.0f);
}

/* ---- releasing and segments ---- */

void cx_release(struct cx *cx, llm_tensor *x)
{
    if (!x || !x->is_on_tape || x->base)
        return;
    if (x->node ? x->node->op->recompute != NULL : !cx->recording)
        drop_values(x);
}

struct segment {
    cx_block block;
    void *arg;
    uint64_t stream;
};

static llm_tensor *root_of(llm_tensor *x)
{
    return x->base ? x->base : x;
}

/* Runs the block again, this time recorded, and then backwards. The block gets the very tensor it
 * got before, so that gradients of it and of all other outside tensors grow in the same order, to
 * the same bits, as without checkpointing. Only what the second run made is dropped. */
static void segment_backward(struct cx *cx, struct node *node)
{
    const struct segment *segment = node->saved;
    uint64_t stream = cx->stream;
    size_t first_node = cx->node_count;
    size_t first_tensor = cx->tensor_count;
    size_t end_tensor;
    llm_tensor *y;

    if (!cx_values(cx, node->in[0]))
        return;
    cx->unclaimed = cx->tensor_count;
    cx->recording = true;
    cx->stream = segment->stream;
    cx->rerunning = true;
    y = segment->block(cx, segment->arg, node->in[0]);
    cx->rerunning = false;
    cx->recording = false;
    cx->stream = stream;
    end_tensor = cx->tensor_count;
    if (y && !cx->status) {
        cx_grad_add(cx, root_of(y), node->out[0]->grad);
        run_backward(cx, first_node, end_tensor, cx->release_in_backward);
    }
    forget_nodes(cx, first_node);
    for (size_t i = first_tensor; i < end_tensor; i++) {
        drop_grad(cx->tensors[i]);
        drop_values(cx->tensors[i]);
    }
}

static const struct op segment_op = {"segment", segment_backward, NULL};

static bool made_since(const struct cx *cx, size_t first, const llm_tensor *x)
{
    for (size_t i = first; i < cx->tensor_count; i++) {
        if (cx->tensors[i] == x)
            return true;
    }
    return false;
}

llm_tensor *cx_segment(struct cx *cx, cx_block block, void *arg, llm_tensor *x)
{
    size_t first = cx->tensor_count;
    bool recording = cx->recording;
    uint64_t stream = cx->stream;
    struct segment *saved;
    struct node *node;
    llm_tensor *root;
    llm_tensor *y;

    if (cx->status || !x)
        return NULL;
    if (cx->cancel && atomic_load_explicit(cx->cancel, memory_order_relaxed))
        return cx_fail(cx, LLM_E_CANCELLED, "cancelled");
    cx->recording = recording && !cx->checkpointing;
    y = block(cx, arg, x);
    cx->recording = recording;
    if (y && cx->watch && !cx->status)
        cx->watch(cx->watch_arg, y);
    if (!y || (recording && !cx->checkpointing))
        return y;
    drop_from(cx, first, y);
    root = root_of(y);
    /* A result that is, or looks at, an outside tensor has its gradient there already. */
    if (!recording || !made_since(cx, first, root))
        return y;
    /* Parameters inside may want gradients even when x does not, so the node is always recorded. */
    node = append_node(cx, &segment_op, 1, &x, 1, &root, sizeof *saved);
    if (!node)
        return NULL;
    y->requires_grad = true;
    saved = node->saved;
    saved->block = block;
    saved->arg = arg;
    saved->stream = stream;
    return y;
}
