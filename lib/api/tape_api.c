/* SPDX-License-Identifier: MIT
 *
 * llm/tape.h: the tape itself. The operations are in op_arithmetic_api.c and op_network_api.c.
 */
#include "api/tape_api.h"

#include "base/text.h"
#include "nn/adapter.h"

#include <string.h>

llm_status enter(llm_tensor **out, llm_tape *tape, const char *name, int inputs,
                 llm_tensor *const *in)
{
    if (!out)
        return null_argument(name, "out");
    *out = NULL;
    if (!tape)
        return null_argument(name, "tape");
    if (tape->cx.status)
        return cx_status(&tape->cx);
    for (int i = 0; i < inputs; i++) {
        if (!in[i]) {
            cx_fail(&tape->cx, LLM_E_INVALID, "%s: input %d is NULL", name, i + 1);
            return cx_status(&tape->cx);
        }
        if (in[i]->dtype != LLM_F32) {
            cx_fail(&tape->cx, LLM_E_UNSUPPORTED, "%s: input %d is %s, not f32", name, i + 1,
                    dtype_get(in[i]->dtype)->name);
            return cx_status(&tape->cx);
        }
        if (enter_optional(tape, name, "an input", in[i]))
            return cx_status(&tape->cx);
    }
    return LLM_OK;
}

llm_status enter_optional(llm_tape *tape, const char *name, const char *argument,
                          const llm_tensor *in)
{
    if (in && in->is_on_tape && in->tape != &tape->cx)
        cx_fail(&tape->cx, LLM_E_INVALID, "%s: %s belongs to another tape", name, argument);
    return cx_status(&tape->cx);
}

llm_status leave(llm_tensor **out, const llm_tape *tape, llm_tensor *result)
{
    *out = result;
    return result ? LLM_OK : cx_status(&tape->cx);
}

llm_status llm_tape_options_init(llm_tape_options *options, size_t struct_size)
{
    static const llm_tape_options defaults = {
        .struct_size = sizeof defaults, .seed = 42, .recording = 1};

    return options_fill(options, struct_size, &defaults, sizeof defaults, "llm_tape_options");
}

llm_status llm_tape_new(llm_tape **out, llm_context *context, const llm_tape_options *given)
{
    llm_tape_options options = {.struct_size = sizeof options, .recording = 1};
    llm_tape *tape;
    llm_status status;

    if (!out)
        return null_argument("llm_tape_new", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tape_new", "context");
    options.seed = context->seed;
    status = options_read(&options, sizeof options, given, "llm_tape_options");
    if (status)
        return status;
    if (options.reserved != 0)
        return status_set(LLM_E_INVALID, "llm_tape_new: reserved is not 0");
    tape = memory_alloc_zeroed(&context->memory, 1, sizeof *tape);
    if (!tape)
        return LLM_E_NOMEM;
    status = cx_init(&tape->cx, context);
    if (status) {
        memory_release(&context->memory, tape);
        return status;
    }
    tape->cx.seed = options.seed;
    tape->cx.recording = options.recording != 0;
    tape->cx.training = options.training != 0;
    tape->cx.release_in_backward = options.release_values != 0;
    *out = tape;
    return LLM_OK;
}

void llm_tape_free(llm_tape *tape)
{
    llm_context *context;

    if (!tape)
        return;
    context = context_retain(tape->cx.context);
    (void)adapter_uses_set(&tape->cx, NULL, NULL, 0);
    cx_free(&tape->cx);
    memory_release(&context->memory, tape);
    context_release(context);
}

llm_status llm_tape_reset(llm_tape *tape)
{
    if (!tape)
        return null_argument("llm_tape_reset", "tape");
    cx_reset(&tape->cx);
    return LLM_OK;
}

llm_status llm_tape_status(const llm_tape *tape)
{
    return tape ? cx_status(&tape->cx) : null_argument("llm_tape_status", "tape");
}

llm_status llm_tape_set_training(llm_tape *tape, int32_t training)
{
    if (!tape)
        return null_argument("llm_tape_set_training", "tape");
    tape->cx.training = training != 0;
    return LLM_OK;
}

llm_status llm_tape_set_recording(llm_tape *tape, int32_t recording)
{
    if (!tape)
        return null_argument("llm_tape_set_recording", "tape");
    tape->cx.recording = recording != 0;
    return LLM_OK;
}

llm_status llm_backward(llm_tape *tape, llm_tensor *loss)
{
    if (!tape)
        return null_argument("llm_backward", "tape");
    if (!tape->cx.status && enter_optional(tape, "llm_backward", "the loss", loss))
        return cx_status(&tape->cx);
    return cx_backward(&tape->cx, loss, 1.0f);
}

llm_status llm_backward_from(llm_tape *tape, llm_tensor *y, llm_tensor *gradient)
{
    if (!tape)
        return null_argument("llm_backward_from", "tape");
    if (!tape->cx.status && (enter_optional(tape, "llm_backward_from", "y", y) ||
                             enter_optional(tape, "llm_backward_from", "the gradient", gradient)))
        return cx_status(&tape->cx);
    return cx_backward_from(&tape->cx, y, gradient);
}

/* ---- the graph as text ---- */

static void dot_values(struct text *text, const llm_tensor *tensor)
{
    if (tensor->dtype != LLM_F32 || tensor_count(tensor) != 1)
        return;
    if (tensor->data)
        text_printf(text, "|value %.4g", (double)*tensor_f32(tensor));
    if (tensor->grad && !tensor->grad_is_fresh && tensor->grad->data)
        text_printf(text, "|grad %.4g", (double)*tensor_f32(tensor->grad));
}

static void dot_tensor(struct text *text, const llm_tensor *tensor)
{
    text_printf(text, "  t%p [shape=record,label=\"{", (const void *)tensor);
    for (const char *c = tensor->name; *c; c++) {
        if (strchr("\"\\{}|<>", *c))
            text_append(text, "\\", 1);
        text_append(text, c, 1);
    }
    text_printf(text, "%s%s", tensor->name[0] ? "|" : "", tensor_shape_text(tensor));
    dot_values(text, tensor);
    text_append_z(text, "}\"];\n");
}

/* A view is drawn as the tensor it looks at. */
static const llm_tensor *root_of(const llm_tensor *tensor)
{
    return tensor->base ? tensor->base : tensor;
}

static void dot_node(struct text *text, const struct node *node)
{
    text_printf(text, "  n%p [label=\"%s\"];\n", (const void *)node, node->op->name);
    for (int i = 0; i < node->inputs; i++) {
        if (!node->in[i])
            continue;
        if (!root_of(node->in[i])->node)
            dot_tensor(text, root_of(node->in[i]));
        text_printf(text, "  t%p -> n%p;\n", (const void *)root_of(node->in[i]),
                    (const void *)node);
    }
    for (int i = 0; i < node->outputs; i++) {
        if (!node->out[i])
            continue;
        dot_tensor(text, node->out[i]);
        text_printf(text, "  n%p -> t%p;\n", (const void *)node, (const void *)node->out[i]);
    }
}

llm_status llm_tape_dot(const llm_tape *tape, char *buffer, size_t capacity, size_t *needed_out)
{
    llm_status status = LLM_OK;
    struct text text;

    if (!tape)
        return null_argument("llm_tape_dot", "tape");
    if (!needed_out)
        return null_argument("llm_tape_dot", "needed_out");
    text_init(&text, tape->cx.memory);
    text_append_z(&text, "digraph tape {\n  rankdir=LR;\n  node [fontsize=10];\n");
    for (size_t i = 0; i < tape->cx.node_count; i++)
        dot_node(&text, tape->cx.nodes[i]);
    text_append_z(&text, "}\n");
    *needed_out = text.size + 1;
    if (text.failed)
        status = LLM_E_NOMEM;
    else if (buffer && capacity < text.size + 1)
        status = status_set(LLM_E_BUFFER, "llm_tape_dot: %zu bytes needed", text.size + 1);
    else if (buffer)
        memcpy(buffer, text.data, text.size + 1);
    text_free(&text);
    return status;
}
