/* SPDX-License-Identifier: MIT
 *
 * Partial selection: which candidates make up the first so-and-so many, or the first so-and-so much
 * probability, without sorting. Linear in the number of candidates: a radix descent over histograms
 * of 32-bit keys. Used by the filters.
 */
#ifndef GENERATE_SELECT_H
#define GENERATE_SELECT_H

#include <stddef.h>
#include <stdint.h>

/* The larger the value, the smaller the key. */
uint32_t select_descending(float value);
/* For values >= 0: the smaller the value, the smaller the key. */
uint32_t select_ascending(float value);

/* Candidates below `threshold` are selected, and those at it, in their order, while what was
 * selected of them before is less than `rest`. */
struct selection {
    uint32_t threshold;
    double rest;
};

/* Selects the smallest keys whose weights add up to at least `target`; all if they do not.
 * `weight` NULL: 1 each. count > 0. */
struct selection select_smallest(const uint32_t *key, const float *weight, size_t count,
                                 double target);

#endif
