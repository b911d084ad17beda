/* SPDX-License-Identifier: MIT
 *
 * Frequencies of rotary positions. Steps that Hugging Face's models do in single precision are done
 * in it here, so that long contexts turn by the same angles.
 */
#include "kernels/rope.h"

#include <math.h>

static const double TWO_PI = 6.283185307179586;

/* 1 / theta^(2 i / dim) */
static float inverse_power(double theta, int32_t i, int32_t dim)
{
    float exponent = (float)(2 * i) / (float)dim;

    return 1.0f / (float)pow((double)(float)theta, (double)exponent);
}

static double factor_of(const struct rope_parameters *p)
{
    if (p->factor != 0.0)
        return p->factor;
    return p->original_positions > 0 ? (double)p->max_positions / (double)p->original_positions
                                     : 1.0;
}

static double dynamic_theta(const struct rope_parameters *p)
{
    double length = (double)(p->length > p->max_positions ? p->length : p->max_positions);
    double stretch = factor_of(p) * length / (double)p->max_positions - (factor_of(p) - 1.0);

    if (p->rotary_dim <= 2)
        return p->theta;
    return p->theta * pow(stretch, (double)p->rotary_dim / (double)(p->rotary_dim - 2));
}

/* The pair that makes `rotations` turns over the original context. */
static double correction(const struct rope_parameters *p, double rotations)
{
    return (double)p->rotary_dim * log((double)p->original_positions / (rotations * TWO_PI)) /
           (2.0 * log(p->theta));
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static double yarn(const struct rope_parameters *p, float *frequencies)
{
    double factor = factor_of(p);
    double low = correction(p, p->beta_fast != 0.0 ? p->beta_fast : 32.0);
    double high = correction(p, p->beta_slow != 0.0 ? p->beta_slow : 1.0);

    if (!p->no_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0.0 ? low : 0.0;
    high = high < p->rotary_dim - 1 ? high : p->rotary_dim - 1;
    if (low == high)
        high += 0.001;
    for (int32_t i = 0; i < p->rotary_dim / 2; i++) {
        float power =
            (float)pow((double)(float)p->theta, (double)((float)(2 * i) / (float)p->rotary_dim));
        float ramp = ((float)i - (float)low) / (float)(high - low);
        float own; /* share of the unscaled frequency */

        ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
        own = 1.0f - ramp;
        frequencies[i] = 1.0f / ((float)factor * power) * (1.0f - own) + 1.0f / power * own;
    }
    if (p->attention_factor != 0.0)
        return p->attention_factor;
    if (p->mscale != 0.0 && p->mscale_all_dim != 0.0)
        return yarn_mscale(factor, p->mscale) / yarn_mscale(factor, p->mscale_all_dim);
    return yarn_mscale(factor, 1.0);
}

static float llama3(const struct rope_parameters *p, float frequency)
{
    double low = p->low_freq_factor != 0.0 ? p->low_freq_factor : 1.0;
    double high = p->high_freq_factor != 0.0 ? p->high_freq_factor : 4.0;
    float factor = (float)factor_of(p);
    float length = (float)p->original_positions;
    float wave = (float)TWO_PI / frequency;
    float smooth;

    if (wave > (float)((double)length / low))
        return frequency / factor;
    if (wave < (float)((double)length / high))
        return frequency;
    smooth = (length / wave - (float)low) / (float)(high - low);
    return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

static double longrope(const struct rope_parameters *p, float *frequencies)
{
    const double *factors = p->length > p->original_positions ? p->long_factor : p->short_factor;
    double factor = factor_of(p);

    for (int32_t i = 0; i < p->rotary_dim / 2; i++) {
        float exponent = (float)(2 * i) / (float)p->rotary_dim;

        frequencies[i] =
            1.0f / ((float)factors[i] * (float)pow((double)(float)p->theta, (double)exponent));
    }
    if (p->attention_factor != 0.0)
        return p->attention_factor;
    return factor <= 1.0 ? 1.0 : sqrt(1.0 + log(factor) / log((double)p->original_positions));
}

float rope_frequencies(const struct rope_parameters *parameters, float *frequencies)
{
    const struct rope_parameters *p = parameters;
    double theta = p->kind == ROPE_DYNAMIC ? dynamic_theta(p) : p->theta;
    int32_t pairs = p->rotary_dim / 2;
    int32_t turned = pairs;

    if (p->kind == ROPE_YARN)
        return (float)yarn(p, frequencies);
    if (p->kind == ROPE_LONG)
        return (float)longrope(p, frequencies);
    if (p->kind == ROPE_PROPORTIONAL)
        turned = (int32_t)(p->turned_part * (double)p->rotary_dim / 2.0);
    for (int32_t i = 0; i < pairs; i++) {
        frequencies[i] = i < turned ? inverse_power(theta, i, p->rotary_dim) : 0.0f;
        if (p->kind == ROPE_LINEAR || (p->kind == ROPE_PROPORTIONAL && p->factor != 0.0))
            frequencies[i] /= (float)factor_of(p);
        else if (p->kind == ROPE_LLAMA3)
            frequencies[i] = llama3(p, frequencies[i]);
    }
    return 1.0f;
}
