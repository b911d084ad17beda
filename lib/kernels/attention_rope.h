/* SPDX-License-Identifier: MIT
 *
 * Turning heads by their positions (rope.h). Plain loops that compilers turn into vectors of the
 * instruction set they are compiled for. Included by attention_all.h.
 */
#ifndef KERNELS_ATTENTION_ROPE_H
#define KERNELS_ATTENTION_ROPE_H

#include "kernels/rope.h"
#include "base/parallel.h"

enum { PAIRS = 64 }; /* turned at a time */

/* The angle is rounded to single precision, as in models trained with tables of cosines; its sine
 * and cosine are then exact to 1 ulp: reduced by pi/2 in double precision, Taylor series. */
static void turns(const float *frequencies, int count, float position, float scale, float *cosine,
                  float *sine)
{
    const double round = 6755399441055744.0; /* 1.5 * 2^52: adding it leaves the nearest integer */

    for (int i = 0; i < count; i++) {
        float angle = position * frequencies[i];
        double shifted = (double)angle * 0.6366197723675814 + round;
        double r = (double)angle - (shifted - round) * 1.5707963267948966;
        double z = r * r;
        double s =
            r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880))));
        double c =
            1.0 + z * (-0.5 +
                       z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 - z * (1.0 / 3628800)))));
        int64_t quadrant;
        double x, y;

        memcpy(&quadrant, &shifted, sizeof quadrant);
        x = quadrant & 1 ? s : c;
        y = quadrant & 1 ? c : s;
        cosine[i] = (float)((quadrant + 1) & 2 ? -x : x) * scale;
        sine[i] = (float)(quadrant & 2 ? -y : y) * scale;
    }
}

static void turn_pairs(const struct rope_args *args, const float *x, float *y, int first, int count,
                       const float *cosine, const float *sine)
{
    int step = args->interleaved ? 2 : 1;
    int half = args->interleaved ? 1 : args->rotary_dim / 2;
    float a[PAIRS], b[PAIRS];

    x += first * step;
    y += first * step;
    for (int i = 0; i < count; i++) {
        float left = x[i * step];
        float right = x[i * step + half];

        a[i] = left * cosine[i] - right * sine[i];
        b[i] = right * cosine[i] + left * sine[i];
    }
    if (args->add) {
        for (int i = 0; i < count; i++) {
            a[i] += y[i * step];
            b[i] += y[i * step + half];
        }
    }
    for (int i = 0; i < count; i++) {
        y[i * step] = a[i];
        y[i * step + half] = b[i];
    }
}

static void pass_rest(const struct rope_args *args, const float *x, float *y)
{
    if (x == y && !args->add)
        return;
    for (int i = args->rotary_dim; i < args->head_dim; i++)
        y[i] = args->add ? y[i] + x[i] : x[i];
}

static void turn_rows(void *arg, int64_t begin, int64_t end)
{
    const struct rope_args *args = arg;
    int pairs = args->rotary_dim / 2;
    float cosine[PAIRS], sine[PAIRS];

    for (int64_t r = begin; r < end; r++) {
        const float *x = args->x + r * args->x_stride;
        float *y = args->y + r * args->y_stride;

        for (int first = 0; first < pairs; first += PAIRS) {
            int count = pairs - first < PAIRS ? pairs - first : PAIRS;

            turns(args->frequencies + first, count, (float)args->positions[r], args->scale, cosine,
                  sine);
            for (int i = 0; args->inverse && i < count; i++)
                sine[i] = -sine[i];
            for (int32_t h = 0; h < args->heads; h++)
                turn_pairs(args, x + h * args->head_dim, y + h * args->head_dim, first, count,
                           cosine, sine);
        }
        for (int32_t h = 0; h < args->heads; h++)
            pass_rest(args, x + h * args->head_dim, y + h * args->head_dim);
    }
}

static void rope(const struct rope_args *args)
{
    parallel_for(args->threads, args->rows, 16, turn_rows, (void *)(uintptr_t)args);
}

#endif
