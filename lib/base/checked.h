/* SPDX-License-Identifier: MIT
 *
 * Checked arithmetic on sizes. Whatever comes from a file, a user or a shape goes through here.
 * Each function returns false on overflow and leaves *out unspecified.
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool checked_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool checked_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool checked_add_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Round up to a multiple of `alignment`, a power of two. */
static inline bool checked_align(size_t value, size_t alignment, size_t *out)
{
    size_t sum;

    if (!checked_add(value, alignment - 1, &sum))
        return false;
    *out = sum & ~(alignment - 1);
    return true;
}

#endif
