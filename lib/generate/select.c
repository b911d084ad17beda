/* SPDX-License-Identifier: MIT */
#include "generate/select.h"

#include <string.h>

enum { BINS = 2048 };

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint32_t select_descending(float value)
{
    uint32_t bits = bits_of(value);

    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

uint32_t select_ascending(float value)
{
    return bits_of(value) & 0x7fffffffu;
}

/* One step of the descent: among the keys whose bits above `shift + width` equal those of
 * `*prefix`, find the bin of the next `width` bits in which `*target` is reached, add it to
 * `*prefix` and take from `*target` what lies in the bins before it. A target beyond all bins,
 * which rounding can cause, ends in the last one that is not empty. */
static void descend(const uint32_t *key, const float *weight, size_t count, int shift, int width,
                    uint32_t *prefix, double *target)
{
    uint64_t above = (uint64_t)*prefix >> (shift + width);
    uint32_t last = (1u << width) - 1;
    double mass[BINS] = {0};
    uint32_t bin = 0;
    uint32_t reached;
    unsigned char used[BINS] = {0};

    for (size_t i = 0; i < count; i++) {
        if ((uint64_t)key[i] >> (shift + width) == above) {
            bin = key[i] >> shift & last;
            mass[bin] += weight ? (double)weight[i] : 1.0;
            used[bin] = 1;
        }
    }
    reached = 0;
    for (bin = 0; bin <= last; bin++) {
        if (!used[bin])
            continue;
        reached = bin;
        if (mass[bin] >= *target)
            break;
        *target -= mass[bin];
    }
    if (bin > last)
        *target += mass[reached];
    *prefix |= reached << shift;
}

struct selection select_smallest(const uint32_t *key, const float *weight, size_t count,
                                 double target)
{
    struct selection selection = {0, target};

    descend(key, weight, count, 21, 11, &selection.threshold, &selection.rest);
    descend(key, weight, count, 10, 11, &selection.threshold, &selection.rest);
    descend(key, weight, count, 0, 10, &selection.threshold, &selection.rest);
    return selection;
}
