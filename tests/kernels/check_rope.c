/* SPDX-License-Identifier: MIT
 *
 * Rotary positions: frequencies against Hugging Face transformers'
 * (tests/golden/rope_frequencies.py prints them), rotation against a reference in double precision.
 */
#include "check.h"

/* --- frequencies ------------------------------------------------------------------------------ */

static const double short_factor[] = {1.0, 1.1, 1.2, 1.5};
static const double long_factor[] = {1.5, 4.0, 16.0, 60.0};

static const struct golden {
    struct rope_parameters parameters;
    double scale;
    float frequencies[16];
} goldens[] = {
    {{.kind = ROPE_LINEAR, .rotary_dim = 16, .theta = 10000.0, .factor = 3.0},
     1.0,
     {0.333333343f, 0.105409257f, 0.0333333351f, 0.0105409259f, 0.00333333318f, 0.00105409266f,
      0.000333333359f, 0.000105409265f}},
    {{.kind = ROPE_DYNAMIC,
      .rotary_dim = 16,
      .theta = 10000.0,
      .factor = 2.0,
      .max_positions = 2048,
      .length = 5000},
     1.0,
     {1.0f, 0.260517091f, 0.0678691566f, 0.0176810753f, 0.00460622227f, 0.00119999971f,
      0.000312620425f, 8.14429659e-05f}},
    {{.kind = ROPE_YARN,
      .rotary_dim = 32,
      .theta = 1000000.0,
      .factor = 4.0,
      .max_positions = 32768,
      .original_positions = 8192},
     1.13862944,
     {1.0f, 0.421696514f, 0.177827939f, 0.0749894157f, 0.0316227786f, 0.0113349333f, 0.00393638946f,
      0.00130425557f, 0.000400000019f, 0.000105424122f, 4.44569851e-05f, 1.87473561e-05f,
      7.90569356e-06f, 3.33380353e-06f, 1.40585337e-06f, 5.92843435e-07f}},
    {{.kind = ROPE_YARN,
      .rotary_dim = 32,
      .theta = 10000.0,
      .max_positions = 163840, /* the factor, 40, follows */
      .original_positions = 4096,
      .beta_fast = 24.0,
      .beta_slow = 2.0,
      .mscale = 1.0,
      .mscale_all_dim = 0.7,
      .no_truncate = 1},
     1.08795461,
     {1.0f, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f, 0.0562341288f, 0.0297362674f,
      0.012705408f, 0.0048861187f, 0.00147753034f, 0.00011662647f, 4.44569851e-05f, 2.49999994e-05f,
      1.40585325e-05f, 7.90569447e-06f, 4.44569832e-06f}},
    {{.kind = ROPE_LLAMA3,
      .rotary_dim = 32,
      .theta = 500000.0,
      .factor = 8.0,
      .original_positions = 8192},
     1.0,
     {1.0f, 0.440366626f, 0.193922758f, 0.0853971019f, 0.0376060307f, 0.0165604409f, 0.00729266508f,
      0.00321144611f, 0.000524846022f, 7.78465546e-05f, 3.42810235e-05f, 1.50962178e-05f,
      6.64786967e-06f, 2.92749974e-06f, 1.28917316e-06f, 5.6770881e-07f}},
    {{.kind = ROPE_LONG,
      .rotary_dim = 8,
      .theta = 10000.0,
      .factor = 32.0,
      .original_positions = 4096,
      .length = 4096,
      .short_factor = short_factor,
      .long_factor = long_factor},
     1.19023807,
     {1.0f, 0.0909090936f, 0.00833333284f, 0.00066666666f}},
    {{.kind = ROPE_LONG,
      .rotary_dim = 8,
      .theta = 10000.0,
      .factor = 32.0,
      .original_positions = 4096,
      .length = 4097,
      .short_factor = short_factor,
      .long_factor = long_factor},
     1.19023807,
     {0.666666687f, 0.0250000004f, 0.000624999986f, 1.66666669e-05f}},
    {{.kind = ROPE_PROPORTIONAL, .rotary_dim = 16, .theta = 1000000.0, .turned_part = 0.5},
     1.0,
     {1.0f, 0.177827939f, 0.0316227786f, 0.00562341325f, 0.0f, 0.0f, 0.0f, 0.0f}},
};

static void test_frequencies(void **state)
{
    (void)state;
    for (size_t g = 0; g < sizeof goldens / sizeof *goldens; g++) {
        const struct golden *golden = &goldens[g];
        float frequencies[16];
        double scale = (double)rope_frequencies(&golden->parameters, frequencies);

        if (fabs(scale - golden->scale) > 2e-7)
            fail_msg("case %zu: scale %.9g, not %.9g", g, scale, golden->scale);
        for (int32_t i = 0; i < golden->parameters.rotary_dim / 2; i++) {
            double want = (double)golden->frequencies[i];

            if (fabs((double)frequencies[i] - want) > 4e-7 * want)
                fail_msg("case %zu: frequency %d is %.9g, not %.9g", g, i, (double)frequencies[i],
                         want);
        }
    }
}

/* --- rotation --------------------------------------------------------------------------------- */

enum { ROWS = 37 };

struct rotation {
    struct rope_args args;
    int32_t positions[ROWS];
    float frequencies[128];
    float *x, *y;
    void *blocks[2];
};

static void rotation_open(struct rotation *t, const struct rope_args *args, uint64_t *state)
{
    int64_t wide = (int64_t)args->heads * args->head_dim;

    t->args = *args;
    t->args.rows = ROWS;
    t->args.x_stride = wide + check_between(state, 0, 3);
    t->args.y_stride = wide + check_between(state, 0, 3);
    t->args.scale = 1.25f;
    t->x = check_operand(ROWS * t->args.x_stride, sizeof *t->x, &t->blocks[0]);
    t->y = check_operand(ROWS * t->args.y_stride, sizeof *t->y, &t->blocks[1]);
    for (int64_t i = 0; i < ROWS * t->args.x_stride; i++)
        t->x[i] = check_float(state);
    for (int64_t i = 0; args->add && i < ROWS * t->args.y_stride; i++)
        t->y[i] = check_float(state);
    for (int i = 0; i < ROWS; i++)
        t->positions[i] = (int32_t)check_between(state, 0, 4) * 50000 + i;
    for (int i = 0; i < args->rotary_dim / 2; i++)
        t->frequencies[i] = powf(10000.0f, -2.0f * (float)i / (float)args->rotary_dim);
    t->args.positions = t->positions;
    t->args.frequencies = t->frequencies;
    t->args.x = t->x;
    t->args.y = t->y;
}

static void compare_row(const struct rope_args *a, int64_t row, const float *x, const float *y,
                        const float *before)
{
    int32_t half = a->rotary_dim / 2;

    for (int32_t i = 0; i < a->head_dim; i++) {
        double want = (double)x[i];

        if (i < a->rotary_dim) {
            int32_t pair = a->interleaved ? i / 2 : i % half;
            int second = a->interleaved ? i % 2 : i >= half;
            float angle = (float)a->positions[row] * a->frequencies[pair];
            double left = (double)x[a->interleaved ? 2 * pair : pair];
            double right = (double)x[a->interleaved ? 2 * pair + 1 : pair + half];
            double c = cos((double)angle) * (double)a->scale;
            double s = (a->inverse ? -1.0 : 1.0) * sin((double)angle) * (double)a->scale;

            want = second ? right * c + left * s : left * c - right * s;
        }
        want += before ? (double)before[i] : 0.0;
        if (!(fabs((double)y[i] - want) <= 4e-7 * (1.0 + fabs(want))))
            fail_msg("row %lld, element %d: %.9g, not %.9g", (long long)row, i, (double)y[i], want);
    }
}

static void check_rotation(const struct kernels *kernels, const struct rope_args *args,
                           uint64_t *state)
{
    struct rotation t;
    size_t size;
    float *before, *result;

    rotation_open(&t, args, state);
    size = sizeof *t.y * (size_t)(ROWS * t.args.y_stride);
    before = malloc(size);
    result = malloc(size);
    assert_non_null(before);
    assert_non_null(result);
    memcpy(before, t.y, size);
    kernels->attention.rope(&t.args);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int32_t h = 0; h < args->heads; h++) {
            int64_t at = r * t.args.y_stride + h * args->head_dim;

            compare_row(&t.args, r, t.x + r * t.args.x_stride + h * args->head_dim, t.y + at,
                        args->add ? before + at : NULL);
        }
    }
    memcpy(result, t.y, size);
    memcpy(t.y, before, size);
    t.args.threads = 3;
    kernels->attention.rope(&t.args);
    assert_memory_equal(t.y, result, size);
    if (!args->add) { /* in place */
        t.args.y = t.x;
        t.args.y_stride = t.args.x_stride;
        kernels->attention.rope(&t.args);
        for (int64_t r = 0; r < ROWS; r++)
            assert_memory_equal(t.x + r * t.args.x_stride,
                                result + r * (int64_t)(size / sizeof *t.y / ROWS),
                                sizeof *t.x * (size_t)(args->heads * args->head_dim));
    }
    free(before);
    free(result);
    free(t.blocks[0]);
    free(t.blocks[1]);
}

static void check_rotations(const struct kernels *kernels)
{
    static const int32_t dims[][2] = {{64, 64}, {16, 16}, {20, 6}, {2, 2}, {150, 140}, {8, 0}};
    uint64_t state = 4711;

    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (int32_t options = 0; options < 8; options++) {
            struct rope_args args = {.heads = 1 + options % 3,
                                     .head_dim = dims[d][0],
                                     .rotary_dim = dims[d][1],
                                     .interleaved = options & 1,
                                     .inverse = options >> 1 & 1,
                                     .add = options >> 2 & 1,
                                     .threads = 1};

            check_rotation(kernels, &args, &state);
        }
    }
}

static void test_rotation(void **state)
{
    (void)state;
    check_each_isa(check_rotations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frequencies),
                                       cmocka_unit_test(test_rotation)};

    return cmocka_run_group_tests_name("rope", tests, NULL, NULL);
}
