/* SPDX-License-Identifier: MIT */
#include "generate/mirostat.h"

#include <math.h>

enum { HEAD = 100 }; /* tokens that Zipf's exponent is estimated from */

/* The largest weights, in descending order. */
static size_t largest_weights(const struct candidates *candidates, float head[HEAD])
{
    size_t held = 0;

    for (size_t i = 0; i < candidates->count; i++) {
        float weight = candidates->weight[i];
        size_t place;

        if (held == HEAD && weight <= head[HEAD - 1])
            continue;
        place = held < HEAD ? held++ : HEAD - 1;
        for (; place > 0 && head[place - 1] < weight; place--)
            head[place] = head[place - 1];
        head[place] = weight;
    }
    return held;
}

/* Least squares of log(p_i / p_(i+1)) over log((i + 1) / i). */
static double zipf_exponent(const float *head, size_t count)
{
    double products = 0.0;
    double squares = 0.0;

    for (size_t i = 0; i + 1 < count && head[i + 1] > 0.0f; i++) {
        double t = log((double)(i + 2) / (double)(i + 1));

        products += t * log((double)head[i] / (double)head[i + 1]);
        squares += t * t;
    }
    return squares > 0.0 ? products / squares : (double)INFINITY;
}

/* How many tokens a Zipf distribution has above the surprise mu. */
static double tokens_for(double exponent, double mu, double vocabulary)
{
    double epsilon = exponent - 1.0;
    double base = fabs(epsilon) < 1e-9 ? pow(2.0, mu) / log(vocabulary)
                                       : epsilon * pow(2.0, mu) / (1.0 - pow(vocabulary, -epsilon));

    return pow(base, 1.0 / exponent);
}

void mirostat_narrow(const struct mirostat *mirostat, struct candidates *candidates, int version,
                     int64_t vocabulary)
{
    float head[HEAD];
    double k;

    candidates_weigh(candidates);
    if (version == 2) {
        filter_by_weight(candidates, pow(2.0, -mirostat->mu) * candidates_total(candidates));
        return;
    }
    k = tokens_for(zipf_exponent(head, largest_weights(candidates, head)), mirostat->mu,
                   (double)vocabulary);
    if (!(k < (double)candidates->count)) /* or not a number */
        return;
    filter_top_k(candidates, k > 1.0 ? (size_t)k : 1);
}

void mirostat_learn(struct mirostat *mirostat, const struct candidates *candidates, int32_t id,
                    double tau, double eta)
{
    double total = candidates_total(candidates);
    double surprise = tau;

    for (size_t i = 0; i < candidates->count; i++) {
        if (candidates->id[i] == id && candidates->weight[i] > 0.0f)
            surprise = -log2((double)candidates->weight[i] / total);
    }
    mirostat->mu -= eta * (surprise - tau);
}
