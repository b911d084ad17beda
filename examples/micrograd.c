/* SPDX-License-Identifier: MIT
 *
 * Automatic differentiation in one screen, after Andrej Karpathy's micrograd: scalars, an
 * expression, its gradients, and the graph as a drawing. A scalar is a tensor with no dimensions.
 *
 *   micrograd [graph.dot]        then: dot -Tsvg graph.dot > graph.svg
 */
#include <llm.h>

#include <stdio.h>
#include <stdlib.h>

static llm_tensor *scalar(llm_context *context, const char *name, double value)
{
    llm_tensor *tensor = NULL;

    if (llm_tensor_new(&tensor, context, LLM_F32, 0, NULL) == LLM_OK) {
        llm_tensor_fill(tensor, value);
        llm_tensor_set_name(tensor, name);
        llm_tensor_set_requires_grad(tensor, 1);
    }
    return tensor;
}

static double value_of(const llm_tensor *tensor)
{
    float value = 0.0f;

    (void)llm_tensor_read_f32(tensor, &value, 1);
    return (double)value;
}

/* llm_tape_dot() says how much room it needs; then the graph goes to a file. */
static llm_status draw(const llm_tape *tape, const char *path)
{
    size_t size = 0;
    char *text = NULL;
    FILE *file = NULL;
    llm_status status = llm_tape_dot(tape, NULL, 0, &size);

    if (status == LLM_OK && (text = malloc(size)) != NULL)
        status = llm_tape_dot(tape, text, size, &size);
    if (status == LLM_OK && text && (file = fopen(path, "w")) != NULL) {
        fputs(text, file);
        fclose(file);
        printf("graph written to %s\n", path);
    }
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    llm_context *context = NULL;
    llm_tape *tape = NULL;
    llm_tensor *x1, *x2, *w1, *w2, *b, *a, *c, *o;
    int failed;

    if (llm_context_new(&context, NULL) || llm_tape_new(&tape, context, NULL)) {
        fprintf(stderr, "micrograd: %s\n", llm_last_error());
        llm_context_free(context);
        return 1;
    }
    x1 = scalar(context, "x1", 2.0);
    x2 = scalar(context, "x2", 0.0);
    w1 = scalar(context, "w1", -3.0);
    w2 = scalar(context, "w2", 1.0);
    b = scalar(context, "b", 6.8813735870195432);

    /* o = tanh(x1 w1 + x2 w2 + b): one neuron. Errors are sticky, so llm_backward() tells of any.
     */
    llm_op_mul(&a, tape, x1, w1);
    llm_op_mul(&c, tape, x2, w2);
    llm_op_add(&a, tape, a, c);
    llm_op_add(&a, tape, a, b);
    llm_op_tanh(&o, tape, a);
    failed = llm_backward(tape, o) != LLM_OK;

    if (failed) {
        fprintf(stderr, "micrograd: %s\n", llm_last_error());
    } else {
        printf("o = %.6f\n", value_of(o));
        printf("do/dx1 = %.6f  do/dw1 = %.6f  do/dx2 = %.6f  do/dw2 = %.6f  do/db = %.6f\n",
               value_of(llm_tensor_grad(x1)), value_of(llm_tensor_grad(w1)),
               value_of(llm_tensor_grad(x2)), value_of(llm_tensor_grad(w2)),
               value_of(llm_tensor_grad(b)));
        failed = draw(tape, argc > 1 ? argv[1] : "micrograd.dot") != LLM_OK;
    }
    llm_tensor_free(x1);
    llm_tensor_free(x2);
    llm_tensor_free(w1);
    llm_tensor_free(w2);
    llm_tensor_free(b);
    llm_tape_free(tape);
    llm_context_free(context);
    return failed;
}
