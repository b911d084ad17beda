/* SPDX-License-Identifier: MIT
 *
 * A classifier from scratch with tape and optimizer: which of several texts does a line come from?
 * Each line becomes counts of its character pairs and triples, hashed into 1024 features; a network
 * with one hidden layer learns the texts apart. Every tenth line is kept for the test.
 *
 *   mlp FILE_A FILE_B [FILE_C ...]
 *   mlp /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/Artistic
 */
#include <llm.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 1024, HIDDEN = 64, BATCH = 64, STEPS = 600, CLASSES_MAX = 16, LINE = 512 };

struct lines {
    float *features; /* [count, FEATURES] */
    int32_t *labels; /* [count] */
    size_t count, capacity;
};

/* Character pairs and triples, hashed (FNV-1a), scaled to length one. */
static void featurize(float *features, const char *line)
{
    size_t length = strlen(line);
    double norm = 0.0;

    memset(features, 0, FEATURES * sizeof *features);
    for (size_t i = 0; i < length; i++) {
        uint32_t hash = 2166136261u;

        for (size_t n = 0; n < 3 && i + n < length; n++) {
            hash = (hash ^ (unsigned char)line[i + n]) * 16777619u;
            if (n > 0)
                features[hash % FEATURES] += 1.0f;
        }
    }
    for (int i = 0; i < FEATURES; i++)
        norm += (double)features[i] * (double)features[i];
    for (int i = 0; i < FEATURES && norm > 0.0; i++)
        features[i] = (float)((double)features[i] / sqrt(norm));
}

static int add_line(struct lines *lines, const char *text, int32_t label)
{
    if (lines->count == lines->capacity) {
        size_t capacity = lines->capacity ? 2 * lines->capacity : 256;
        float *features = realloc(lines->features, capacity * FEATURES * sizeof *features);
        int32_t *labels;

        if (!features)
            return 1;
        lines->features = features;
        labels = realloc(lines->labels, capacity * sizeof *labels);
        if (!labels)
            return 1;
        lines->labels = labels;
        lines->capacity = capacity;
    }
    featurize(lines->features + lines->count * FEATURES, text);
    lines->labels[lines->count++] = label;
    return 0;
}

static int read_file(struct lines *train, struct lines *test, const char *path, int32_t label)
{
    FILE *file = fopen(path, "r");
    char line[LINE];
    int failed = 0;

    if (!file) {
        perror(path);
        return 1;
    }
    for (size_t n = 0; !failed && fgets(line, sizeof line, file);) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strlen(line) >= 20 && n < 20000)
            failed = add_line(n++ % 10 == 9 ? test : train, line, label);
    }
    fclose(file);
    return failed;
}

struct network {
    llm_tensor *w1, *b1, *w2, *b2;
};

/* logits = W2 relu(W1 x + b1) + b2 */
static llm_tensor *forward(llm_tape *tape, const struct network *net, llm_tensor *x)
{
    llm_tensor *h = NULL;

    llm_op_linear(&h, tape, x, net->w1, net->b1);
    llm_op_relu(&h, tape, h);
    llm_op_linear(&h, tape, h, net->w2, net->b2);
    return h;
}

static llm_tensor *parameter(llm_context *context, llm_optimizer *optimizer, int64_t rows,
                             int64_t columns, uint64_t seed)
{
    int64_t shape[2];
    llm_tensor *tensor = NULL;

    shape[0] = rows;
    shape[1] = columns;
    /* A vector has one dimension; matrices start as He et al. (2015) advise. */
    if (llm_tensor_new(&tensor, context, LLM_F32, columns ? 2 : 1, shape) == LLM_OK) {
        if (columns)
            llm_tensor_fill_normal(tensor, 0.0, sqrt(2.0 / (double)columns), seed);
        llm_tensor_set_requires_grad(tensor, 1);
        if (llm_optimizer_add(optimizer, tensor, NULL, 0) != LLM_OK)
            fprintf(stderr, "mlp: %s\n", llm_last_error());
    }
    return tensor;
}

/* Wraps rows of our own memory as a tensor: nothing is copied. */
static llm_tensor *wrap_rows(llm_context *context, float *rows, size_t count)
{
    int64_t shape[2];
    llm_tensor *x = NULL;

    shape[0] = (int64_t)count;
    shape[1] = FEATURES;
    (void)llm_tensor_wrap(&x, context, LLM_F32, 2, shape, NULL, rows, NULL, NULL);
    return x;
}

static llm_status train_step(llm_context *context, llm_tape *tape, llm_optimizer *optimizer,
                             const struct network *net, const struct lines *lines, float *loss_out)
{
    static float rows[BATCH * FEATURES];
    int32_t labels[BATCH];
    llm_tensor *x, *logits, *loss = NULL;
    llm_status status;

    for (int i = 0; i < BATCH; i++) {
        size_t pick = (size_t)rand() % lines->count;

        memcpy(rows + i * FEATURES, lines->features + pick * FEATURES, FEATURES * sizeof *rows);
        labels[i] = lines->labels[pick];
    }
    x = wrap_rows(context, rows, BATCH);
    logits = forward(tape, net, x);
    llm_op_cross_entropy(&loss, tape, logits, labels, BATCH, -100, 0.0, LLM_REDUCE_MEAN);
    status = llm_backward(tape, loss);
    if (status == LLM_OK)
        status = llm_tensor_read_f32(loss, loss_out, 1);
    if (status == LLM_OK)
        status = llm_optimizer_step(optimizer);
    llm_optimizer_zero_grad(optimizer);
    llm_tape_reset(tape);
    llm_tensor_free(x);
    return status;
}

static double accuracy(llm_context *context, llm_tape *tape, const struct network *net,
                       const struct lines *lines, int classes)
{
    llm_tensor *x = wrap_rows(context, lines->features, lines->count);
    llm_tensor *logits = forward(tape, net, x);
    const float *values = llm_tensor_data(logits);
    size_t right = 0;

    for (size_t i = 0; values && i < lines->count; i++) {
        int32_t best = 0;

        for (int32_t c = 1; c < classes; c++) {
            if (values[i * (size_t)classes + (size_t)c] >
                values[i * (size_t)classes + (size_t)best])
                best = c;
        }
        right += best == lines->labels[i];
    }
    llm_tape_reset(tape);
    llm_tensor_free(x);
    return (double)right / (double)lines->count;
}

int main(int argc, char **argv)
{
    struct lines train = {0}, test = {0};
    struct network net = {0};
    llm_context *context = NULL;
    llm_optimizer *optimizer = NULL;
    llm_tape *tape = NULL;
    int classes = argc - 1;
    int failed = 0;

    if (classes < 2 || classes > CLASSES_MAX || strcmp(argv[1], "--help") == 0) {
        fprintf(stderr,
                "usage: mlp FILE_A FILE_B [up to %d files]\n"
                "Learns which file a line of text comes from.\n",
                CLASSES_MAX);
        return 2;
    }
    for (int i = 0; i < classes && !failed; i++)
        failed = read_file(&train, &test, argv[i + 1], i);
    if (!failed && (train.count == 0 || test.count == 0)) {
        fprintf(stderr, "mlp: the files have too few lines of 20 characters or more\n");
        failed = 1;
    }
    if (!failed && (llm_context_new(&context, NULL) || llm_tape_new(&tape, context, NULL) ||
                    llm_optimizer_new(&optimizer, context, NULL)))
        failed = 1;
    if (!failed) {
        net.w1 = parameter(context, optimizer, HIDDEN, FEATURES, 1);
        net.b1 = parameter(context, optimizer, HIDDEN, 0, 0);
        net.w2 = parameter(context, optimizer, classes, HIDDEN, 2);
        net.b2 = parameter(context, optimizer, classes, 0, 0);
        printf("%zu lines to learn from, %zu to test on\n", train.count, test.count);
    }
    for (int step = 0; step < STEPS && !failed; step++) {
        float loss = 0.0f;

        failed = train_step(context, tape, optimizer, &net, &train, &loss) != LLM_OK;
        if (!failed && (step % 100 == 0 || step == STEPS - 1))
            printf("step %3d  loss %.4f\n", step, (double)loss);
    }
    if (!failed)
        printf("test accuracy: %.1f %%\n", 100.0 * accuracy(context, tape, &net, &test, classes));
    else if (context || train.count)
        fprintf(stderr, "mlp: %s\n", llm_last_error());
    llm_tensor_free(net.w1);
    llm_tensor_free(net.b1);
    llm_tensor_free(net.w2);
    llm_tensor_free(net.b2);
    llm_optimizer_free(optimizer);
    llm_tape_free(tape);
    llm_context_free(context);
    free(train.features);
    free(train.labels);
    free(test.features);
    free(test.labels);
    return failed;
}
