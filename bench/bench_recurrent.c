/* SPDX-License-Identifier: MIT
 *
 * Training steps of a character model: embedding, one LSTM or GRU over the sequence, output
 * projection with cross-entropy, backward, AdamW. One JSON line per case:
 *
 *     bench_recurrent [threads] [repetitions]
 *     bench_recurrent -        cases from standard input, one step each (see
 *                              bench/peers/recurrent.py): cell vocabulary width steps batch threads
 *
 * Times are the best of the repetitions, by the wall clock, in milliseconds; layer_ms is forward
 * and backward of the recurrent layer alone.
 */
#include "graph/op.h"
#include "llm/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARAMETERS = 6 }; /* embedding, w_input, w_hidden, b_input, b_hidden, output */

struct shape {
    char cell[8];
    int vocabulary, width, steps, batch, threads;
};

struct model {
    struct shape shape;
    llm_context *context;
    struct cx cx;
    llm_tensor *parameter[PARAMETERS];
    llm_tensor *m[PARAMETERS], *v[PARAMETERS];
    int32_t *ids, *targets;
    int64_t step;
};

/* By the wall clock and of the process's threads. */
struct moment {
    double wall, cpu;
};

static double read_clock(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + 1e-6 * (double)t.tv_nsec;
}

static struct moment now(void)
{
    return (struct moment){read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct moment since(struct moment start)
{
    struct moment end = now();

    return (struct moment){end.wall - start.wall, end.cpu - start.cpu};
}

static void keep_best(struct moment *best, struct moment next)
{
    best->wall = next.wall < best->wall ? next.wall : best->wall;
    best->cpu = next.cpu < best->cpu ? next.cpu : best->cpu;
}

static void check(llm_status status)
{
    if (status) {
        (void)fprintf(stderr, "bench_recurrent: %s\n", llm_last_error());
        exit(1);
    }
}

static void model_open(struct model *model, const struct shape *shape)
{
    int64_t gates = strcmp(shape->cell, "lstm") == 0 ? 4 : 3;
    int64_t sizes[PARAMETERS][2] = {{shape->vocabulary, shape->width},
                                    {gates * shape->width, shape->width},
                                    {gates * shape->width, shape->width},
                                    {gates * shape->width},
                                    {gates * shape->width},
                                    {shape->vocabulary, shape->width}};
    int count = shape->steps * shape->batch;
    llm_context_options options;

    memset(model, 0, sizeof *model);
    model->shape = *shape;
    check(llm_context_options_init(&options, sizeof options));
    options.threads = shape->threads;
    check(llm_context_new(&model->context, &options));
    check(cx_init(&model->cx, model->context));
    model->cx.recording = model->cx.training = model->cx.release_in_backward = true;
    model->ids = calloc((size_t)count, sizeof *model->ids);
    model->targets = calloc((size_t)count, sizeof *model->targets);
    if (!model->ids || !model->targets)
        exit(1);
    for (int i = 0; i < count; i++) {
        model->ids[i] = i * 7919 % shape->vocabulary;
        model->targets[i] = i * 104729 % shape->vocabulary;
    }
    for (int p = 0; p < PARAMETERS; p++) {
        int32_t dimensions = sizes[p][1] ? 2 : 1;

        check(tensor_new(&model->parameter[p], model->context, LLM_F32, dimensions, sizes[p]));
        check(tensor_new_zeroed(&model->m[p], model->context, LLM_F32, dimensions, sizes[p]));
        check(tensor_new_zeroed(&model->v[p], model->context, LLM_F32, dimensions, sizes[p]));
        for (int64_t i = 0; i < tensor_count(model->parameter[p]); i++)
            tensor_f32(model->parameter[p])[i] =
                ((float)((uint32_t)(i * 2654435761u + (uint32_t)p) >> 8) * 0x1p-23f - 1.0f) * 0.06f;
        model->parameter[p]->requires_grad = true;
    }
}

static void model_close(struct model *model)
{
    cx_free(&model->cx);
    for (int p = 0; p < PARAMETERS; p++) {
        tensor_release(model->parameter[p]);
        tensor_release(model->m[p]);
        tensor_release(model->v[p]);
    }
    free(model->ids);
    free(model->targets);
    llm_context_free(model->context);
    memset(model, 0, sizeof *model);
}

static llm_tensor *layer(struct model *model, llm_tensor *x)
{
    struct recurrent_weights weights = {model->parameter[1], model->parameter[2],
                                        model->parameter[3], model->parameter[4]};

    if (strcmp(model->shape.cell, "lstm") == 0)
        return op_lstm(&model->cx, x, &weights, NULL, NULL, NULL, NULL);
    return op_gru(&model->cx, x, &weights, NULL, NULL);
}

static llm_tensor *embed(struct model *model)
{
    const struct shape *s = &model->shape;
    int64_t shape[3] = {s->steps, s->batch, s->width};

    return op_reshape(
        &model->cx, op_embedding(&model->cx, model->parameter[0], model->ids, s->steps * s->batch),
        3, shape);
}

static void optimize(struct model *model)
{
    struct vector_adamw step = vector_adamw_make(1e-3, 0.9, 0.999, 1e-8, 0.01, ++model->step, 1.0);

    for (int p = 0; p < PARAMETERS; p++) {
        llm_tensor *w = model->parameter[p];

        if (!w->grad)
            continue;
        model->cx.kernels->vector.adamw(tensor_f32(w), tensor_f32(model->m[p]),
                                        tensor_f32(model->v[p]), tensor_f32(w->grad),
                                        tensor_count(w), &step);
        w->grad_is_fresh = true;
    }
}

static struct moment train_step(struct model *model, float *loss_out)
{
    const struct shape *s = &model->shape;
    int64_t rows[2] = {s->steps * s->batch, s->width};
    struct moment start = now();
    llm_tensor *y = op_reshape(&model->cx, layer(model, embed(model)), 2, rows);
    llm_tensor *loss =
        op_linear_cross_entropy(&model->cx, y, model->parameter[5], model->targets, NULL);

    if (loss)
        *loss_out = tensor_f32(loss)[0];
    check(cx_backward(&model->cx, loss, 1.0f));
    cx_reset(&model->cx);
    optimize(model);
    return since(start);
}

static struct moment layer_step(struct model *model)
{
    llm_tensor *x = embed(model);
    struct moment start = now();
    llm_tensor *y = layer(model, x);

    check(cx_backward_from(&model->cx, y, y));
    start = since(start);
    cx_reset(&model->cx);
    optimize(model);
    return start;
}

static void print(const struct shape *s, struct moment step, struct moment layer_only, float loss)
{
    (void)printf("{\"bench\": \"recurrent\", \"cell\": \"%s\", \"vocabulary\": %d, \"width\": %d, "
                 "\"steps\": %d, \"batch\": %d, \"threads\": %d, \"step_ms\": %.3f, "
                 "\"layer_ms\": %.3f, \"step_cpu_ms\": %.3f, \"layer_cpu_ms\": %.3f, "
                 "\"loss\": %.4f}\n",
                 s->cell, s->vocabulary, s->width, s->steps, s->batch, s->threads, step.wall,
                 layer_only.wall, step.cpu, layer_only.cpu, (double)loss);
    (void)fflush(stdout);
}

static void from_input(void)
{
    struct model model = {0};
    struct shape shape = {0};
    float loss = 0.0f;

    while (scanf("%7s %d %d %d %d %d", shape.cell, &shape.vocabulary, &shape.width, &shape.steps,
                 &shape.batch, &shape.threads) == 6) {
        struct moment layer_only;

        if (memcmp(&shape, &model.shape, sizeof shape) != 0) {
            model_close(&model);
            model_open(&model, &shape);
        }
        layer_only = layer_step(&model);
        print(&shape, train_step(&model, &loss), layer_only, loss);
    }
    model_close(&model);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{"lstm", 65, 256, 64, 32, 1},
                                          {"gru", 65, 256, 64, 32, 1},
                                          {"lstm", 65, 128, 64, 12, 1},
                                          {"lstm", 65, 512, 128, 64, 1}};
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    long repetitions = argc > 2 ? strtol(argv[2], NULL, 10) : 10;

    if (argc > 1 && strcmp(argv[1], "-") == 0) {
        from_input();
        return 0;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct shape shape = shapes[i];
        struct model model;
        struct moment step = {1e30, 1e30}, layer_only = {1e30, 1e30};
        float loss = 0.0f;

        shape.threads = threads;
        model_open(&model, &shape);
        for (long r = 0; r < repetitions; r++) {
            keep_best(&layer_only, layer_step(&model));
            keep_best(&step, train_step(&model, &loss));
        }
        print(&shape, step, layer_only, loss);
        model_close(&model);
    }
    return 0;
}
