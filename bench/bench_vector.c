/* SPDX-License-Identifier: MIT
 *
 * The vector kernels, one thread, operands in the nearest cache (a row of 1,024 floats, or 64 rows)
 * and beyond every cache (16 Mi floats); one JSON line per kernel, instruction set and size on
 * standard output, with nanoseconds per element and bytes moved per second:
 *
 *     bench_vector [kernel name]
 *
 * Times are processor time, the best of many repetitions.
 */
#define _GNU_SOURCE
#include "base/cpu.h"
#include "kernels/kernels.h"
#include "llm/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct data {
    float *a, *b, *c, *d, *e;
    int64_t n, row;
    const struct vector_kernels *vector;
};

struct bench {
    const char *name;
    void (*run)(const struct data *data);
    int bytes; /* moved per element */
};

static double processor_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run_add(const struct data *d)
{
    d->vector->binary[VECTOR_ADD](d->c, 0.0f, d->a, d->b, d->n);
}

static void run_exp(const struct data *d)
{
    d->vector->unary[VECTOR_EXP](d->c, d->a, d->n, 0.0f);
}

static void run_log(const struct data *d)
{
    d->vector->unary[VECTOR_LOG](d->c, d->b, d->n, 0.0f);
}

static void run_tanh(const struct data *d)
{
    d->vector->unary[VECTOR_TANH](d->c, d->a, d->n, 0.0f);
}

static void run_gelu(const struct data *d)
{
    d->vector->unary[VECTOR_GELU](d->c, d->a, d->n, 0.0f);
}

static void run_gelu_tanh(const struct data *d)
{
    d->vector->unary[VECTOR_GELU_TANH](d->c, d->a, d->n, 0.0f);
}

static void run_gelu_tanh_backward(const struct data *d)
{
    d->vector->unary_backward[VECTOR_GELU_TANH](d->c, 0.0f, d->b, d->a, NULL, d->n, 0.0f);
}

static void run_swiglu(const struct data *d)
{
    d->vector->swiglu(d->c, d->a, d->b, d->n);
}

static void run_sum(const struct data *d)
{
    d->c[0] = (float)d->vector->sum(d->a, d->n);
}

static void run_softmax(const struct data *d)
{
    for (int64_t i = 0; i < d->n; i += d->row)
        d->vector->softmax(d->c + i, d->a + i, d->row);
}

static void run_cross_entropy(const struct data *d)
{
    for (int64_t i = 0; i < d->n; i += d->row)
        d->d[0] = d->vector->cross_entropy(d->c + i, NULL, d->a + i, d->row, 5, 0.0f, 1.0f);
}

static void run_layer_norm(const struct data *d)
{
    d->vector->layer_norm(d->c, d->d, d->e, d->a, d->b, d->b, d->n / d->row, d->row, 1e-5f);
}

static void run_layer_norm_backward(const struct data *d)
{
    d->vector->layer_norm_backward(d->c, 0.0f, d->b, d->b + d->row, d->a, d->a, d->b + 2 * d->row,
                                   d->d, d->d, d->n / d->row, d->row);
}

static void run_column_sums(const struct data *d)
{
    d->vector->column_sums(d->c, 0.0f, d->a, d->n / d->row, d->row, d->row);
}

static void run_dropout(const struct data *d)
{
    static const struct vector_dropout dropout = {1, 2, 0, 1u << 29, 1.15f};

    d->vector->dropout(d->c, 0.0f, d->a, d->n, &dropout);
}

static void run_adamw(const struct data *d)
{
    struct vector_adamw step = vector_adamw_make(1e-9, 0.9, 0.999, 1e-8, 0.01, 3, 1.0);

    d->vector->adamw(d->c, d->d, d->b, d->a, d->n, &step);
}

static void run_f32_to_bf16(const struct data *d)
{
    d->vector->f32_to_bf16((uint16_t *)d->c, d->a, d->n);
}

static const struct bench benches[] = {
    {"add", run_add, 12},
    {"exp", run_exp, 8},
    {"log", run_log, 8},
    {"tanh", run_tanh, 8},
    {"gelu", run_gelu, 8},
    {"gelu_tanh", run_gelu_tanh, 8},
    {"gelu_tanh_backward", run_gelu_tanh_backward, 12},
    {"swiglu", run_swiglu, 12},
    {"sum", run_sum, 4},
    {"softmax", run_softmax, 8},
    {"cross_entropy", run_cross_entropy, 8},
    {"layer_norm", run_layer_norm, 8},
    {"layer_norm_backward", run_layer_norm_backward, 12},
    {"column_sums", run_column_sums, 4},
    {"dropout", run_dropout, 8},
    {"adamw", run_adamw, 28},
    {"f32_to_bf16", run_f32_to_bf16, 6},
};

static double best_seconds(const struct bench *bench, const struct data *data)
{
    double best = 1e9;
    int repeats = data->n < 1000000 ? 200 : 5;
    int inner = data->n < 1000000 ? (int)(200000 / data->n) + 1 : 1;

    for (int r = 0; r < repeats; r++) {
        double start = processor_seconds();

        for (int i = 0; i < inner; i++)
            bench->run(data);
        start = (processor_seconds() - start) / inner;
        best = start < best ? start : best;
    }
    return best;
}

static void fill(float *x, int64_t n, float low)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = low + (float)(i * 2654435761u % 4096) * (1.0f / 1024.0f);
}

static float *array(int64_t n)
{
    float *x = aligned_alloc(64, (size_t)(n + 4096) * sizeof *x);

    if (x)
        fill(x, n + 4096, 0.1f);
    return x;
}

static void bench_table(const struct kernels *kernels, struct data *data, const char *only)
{
    static const int64_t sizes[] = {1024, 1024 * 64, 1024 * 1024 * 16};

    data->vector = &kernels->vector;
    data->row = 1024;
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        if (only && strcmp(only, benches[i].name) != 0)
            continue;
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            double seconds;

            data->n = sizes[s];
            fill(data->a, data->n, -2.0f);
            fill(data->b, data->n, 0.1f);
            seconds = best_seconds(&benches[i], data);
            printf("{\"bench\":\"vector\",\"kernel\":\"%s\",\"isa\":\"%s\",\"n\":%lld,"
                   "\"ns_per_element\":%.4f,\"gb_per_s\":%.1f}\n",
                   benches[i].name, cpu_level_name(kernels->cpu), (long long)data->n,
                   seconds * 1e9 / (double)data->n,
                   1e-9 * (double)data->n * benches[i].bytes / seconds);
        }
    }
}

int main(int argc, char **argv)
{
    static const int32_t caps[] = {LLM_ISA_SCALAR, LLM_ISA_AVX2, LLM_ISA_AUTO};
    const int64_t most = 1024 * 1024 * 16;
    struct data data = {array(most), array(most), array(most), array(most),
                        array(most), 0,           0,           NULL};
    uint32_t before = UINT32_MAX;

    if (data.a && data.b && data.c && data.d && data.e) {
        for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
            struct kernels kernels;

            if (cpu_features(caps[i]) == before)
                continue;
            before = cpu_features(caps[i]);
            kernels_fill(&kernels, before);
            bench_table(&kernels, &data, argc > 1 ? argv[1] : NULL);
        }
    }
    free(data.a);
    free(data.b);
    free(data.c);
    free(data.d);
    free(data.e);
    return 0;
}
