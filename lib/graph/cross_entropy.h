/* SPDX-License-Identifier: MIT
 *
 * What the two cross-entropy ops share: options, targets, the sum of row losses.
 */
#ifndef GRAPH_CROSS_ENTROPY_H
#define GRAPH_CROSS_ENTROPY_H

#include "graph/op.h"

/* The options, or mean over all rows but those with target -100. */
struct cross_entropy_options cross_entropy_defaults(const struct cross_entropy_options *options);

/* False, with the failure recorded, for impossible options. */
bool cross_entropy_check(struct cx *cx, const char *op,
                         const struct cross_entropy_options *options);

/* A copy in the arena of `rows` targets, each in [0, classes) or ignore_index; *counted of them are
 * not ignored. NULL on failure. */
int32_t *cross_entropy_targets(struct cx *cx, const char *op, const int32_t *targets, int64_t rows,
                               int64_t classes, int32_t ignore_index, int64_t *counted);

/* In order, in double. */
double cross_entropy_total(const float *losses, int64_t rows);

#endif
