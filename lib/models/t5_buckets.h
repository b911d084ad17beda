/* SPDX-License-Identifier: MIT
 *
 * T5's relative positions: distances in buckets, exact ones near by, logarithmic ones farther away.
 */
#ifndef MODELS_T5_BUCKETS_H
#define MODELS_T5_BUCKETS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Bucket of `distance` = position of the key - position of the query. With `both_ways` half of the
 * `buckets` are for keys behind the query. All distances of `reach` and more share one. The
 * logarithm is taken in single precision, as the reference takes it. */
static inline int32_t t5_bucket(int32_t distance, bool both_ways, int32_t buckets, int32_t reach)
{
    int32_t first = 0;
    int32_t exact, bucket;

    if (both_ways) {
        buckets /= 2;
        first = distance > 0 ? buckets : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    exact = buckets / 2;
    if (distance < exact)
        return first + distance;
    bucket =
        exact + (int32_t)(logf((float)distance / (float)exact) /
                          (float)log((double)reach / (double)exact) * (float)(buckets - exact));
    return first + (bucket < buckets - 1 ? bucket : buckets - 1);
}

#endif
