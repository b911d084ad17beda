/* SPDX-License-Identifier: MIT
 *
 * Ops against PyTorch: repeats the computations of make_ops.py and compares results and gradients
 * with ops.safetensors, whose path is the first argument.
 */
#include "formats/tensor_source.h"
#include "graph/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { INPUTS = 8 };

static const char *path;

struct fixture {
    llm_context *context;
    struct tensor_source *source;
    struct cx cx;
    const char *name;
    llm_tensor *loaded[4 * INPUTS];
    int count;
};

static void open_case(struct fixture *f, const char *name)
{
    llm_context_options options;

    memset(f, 0, sizeof *f);
    f->name = name;
    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = 2;
    assert_int_equal(llm_context_new(&f->context, &options), LLM_OK);
    assert_int_equal(tensor_source_open(&f->source, &f->context->memory, path), LLM_OK);
    assert_int_equal(cx_init(&f->cx, f->context), LLM_OK);
    f->cx.recording = true;
}

static void close_case(struct fixture *f)
{
    cx_free(&f->cx);
    for (int i = 0; i < f->count; i++)
        tensor_release(f->loaded[i]);
    tensor_source_close(f->source);
    llm_context_free(f->context);
}

static llm_tensor *load(struct fixture *f, const char *prefix, const char *name)
{
    const struct tensor_entry *entry;
    llm_tensor *tensor = NULL;
    char full[64];

    (void)snprintf(full, sizeof full, "%s.%s%s", f->name, prefix, name);
    entry = tensor_source_find(f->source, full);
    if (!entry)
        fail_msg("%s is missing", full);
    assert_int_equal(tensor_new(&tensor, f->context, entry->dtype, entry->dimensions, entry->shape),
                     LLM_OK);
    assert_int_equal(tensor_source_load(f->source, entry, tensor, NULL, NULL), LLM_OK);
    f->loaded[f->count++] = tensor;
    return tensor;
}

static llm_tensor *input(struct fixture *f, const char *name)
{
    llm_tensor *tensor = load(f, "", name);

    tensor->requires_grad = true;
    return tensor;
}

static void expect(struct fixture *f, const char *prefix, const char *name, llm_tensor *is)
{
    llm_tensor *wanted = load(f, prefix, name);

    if (!is)
        fail_msg("%s: no %s%s: %s", f->name, prefix, name, f->cx.message);
    assert_true(tensor_same_shape(is, wanted));
    is = cx_contiguous(&f->cx, is);
    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        float a = tensor_f32(is)[i], b = tensor_f32(wanted)[i];

        if (!(fabsf(a - b) <= 2e-5f * fmaxf(1.0f, fabsf(b))))
            fail_msg("%s: %s%s [%lld] is %.9g, PyTorch gives %.9g", f->name, prefix, name,
                     (long long)i, (double)a, (double)b);
    }
}

/* Runs backward, compares the result and the gradients of the inputs named. */
static void compare(struct fixture *f, llm_tensor *y, llm_tensor *const *inputs,
                    const char *const *names, int count)
{
    expect(f, "", "y", y);
    assert_int_equal(cx_backward_from(&f->cx, y, load(f, "", "dy")), LLM_OK);
    for (int i = 0; i < count; i++)
        expect(f, "d_", names[i], inputs[i]->grad);
}

static void check_recurrent(const char *kind)
{
    static const char *const names[] = {"x",        "w_input", "w_hidden", "b_input",
                                        "b_hidden", "h0",      "c0"};
    int count = strcmp(kind, "lstm") == 0 ? 7 : 6;
    struct recurrent_weights weights;
    llm_tensor *in[7], *y, *h = NULL, *c = NULL;
    struct fixture f;

    open_case(&f, kind);
    for (int i = 0; i < count; i++)
        in[i] = input(&f, names[i]);
    weights = (struct recurrent_weights){in[1], in[2], in[3], in[4]};
    y = count == 7                 ? op_lstm(&f.cx, in[0], &weights, in[5], in[6], &h, &c)
        : strcmp(kind, "gru") == 0 ? op_gru(&f.cx, in[0], &weights, in[5], &h)
                                   : op_rnn(&f.cx, in[0], &weights, in[5], &h);
    expect(&f, "", "h", h);
    if (count == 7)
        expect(&f, "", "c", c);
    compare(&f, y, in, names, count);
    close_case(&f);
}

static void test_recurrent(void **state)
{
    (void)state;
    check_recurrent("rnn");
    check_recurrent("lstm");
    check_recurrent("gru");
}

static void check_convolution(const char *name, struct conv1d_options options)
{
    static const char *const names[] = {"x", "weight", "bias"};
    llm_tensor *in[3];
    struct fixture f;

    open_case(&f, name);
    for (int i = 0; i < 3; i++)
        in[i] = input(&f, names[i]);
    compare(&f, op_conv1d(&f.cx, in[0], in[1], in[2], &options), in, names, 3);
    close_case(&f);
}

static void test_convolution(void **state)
{
    (void)state;
    check_convolution("conv_causal", (struct conv1d_options){1, 4, 0, 1, true});
    check_convolution("conv_grouped", (struct conv1d_options){2, 2, 2, 2, false});
    check_convolution("conv_one", (struct conv1d_options){1, 1, 0, 1, false});
}

static llm_tensor *one_input(struct cx *cx, const char *name, llm_tensor *x)
{
    if (strcmp(name, "max_pool1d") == 0)
        return op_max_pool1d(cx, x, 3, 2);
    if (strcmp(name, "avg_pool1d") == 0)
        return op_avg_pool1d(cx, x, 4, 3);
    if (strcmp(name, "max_pool2d") == 0)
        return op_max_pool2d(cx, x, 2, 3, 2, 1);
    if (strcmp(name, "avg_pool2d") == 0)
        return op_avg_pool2d(cx, x, 3, 2, 2, 2);
    if (strcmp(name, "max") == 0)
        return op_max(cx, x, 5, false);
    return op_variance(cx, x, 5, false, 1);
}

static void test_pooling_and_reductions(void **state)
{
    static const char *const cases[] = {"max_pool1d", "avg_pool1d", "max_pool2d",
                                        "avg_pool2d", "max",        "variance"};
    static const char *const names[] = {"x"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        llm_tensor *x;

        open_case(&f, cases[i]);
        x = input(&f, "x");
        compare(&f, one_input(&f.cx, cases[i], x), &x, names, 1);
        close_case(&f);
    }
}

static void test_batch_norm(void **state)
{
    static const char *const names[] = {"x", "weight", "bias"};

    (void)state;
    for (int training = 0; training < 2; training++) {
        llm_tensor *in[3], *mean, *variance, *y;
        struct fixture f;

        open_case(&f, training ? "batch_norm_train" : "batch_norm_eval");
        f.cx.training = training != 0;
        for (int i = 0; i < 3; i++)
            in[i] = input(&f, names[i]);
        mean = load(&f, "", "mean_before");
        variance = load(&f, "", "var_before");
        y = op_batch_norm(&f.cx, in[0], in[1], in[2], mean, variance, 0.1f, 1e-5f);
        expect(&f, "", "mean_after", mean);
        expect(&f, "", "var_after", variance);
        compare(&f, y, in, names, 3);
        close_case(&f);
    }
}

static void test_indexing(void **state)
{
    static const char *const names[] = {"x", "source"};
    llm_tensor *in[2];
    struct fixture f;

    (void)state;
    open_case(&f, "gather");
    in[0] = input(&f, "x");
    compare(&f, op_gather(&f.cx, in[0], 1, load(&f, "", "index")), in, names, 1);
    close_case(&f);
    open_case(&f, "scatter_add");
    in[0] = input(&f, "x");
    in[1] = input(&f, "source");
    compare(&f, op_scatter_add(&f.cx, in[0], 1, load(&f, "", "index"), in[1]), in, names, 2);
    close_case(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recurrent),
        cmocka_unit_test(test_convolution),
        cmocka_unit_test(test_pooling_and_reductions),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_indexing),
    };

    if (argc != 2)
        return 1;
    path = argv[1];
    return cmocka_run_group_tests_name("ops against PyTorch", tests, NULL, NULL);
}
