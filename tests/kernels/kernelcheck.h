/* SPDX-License-Identifier: MIT
 *
 * What kernel tests share: every table the machine can run, arrays between guard values at any
 * alignment, repeatable random numbers, comparison with a double-precision reference.
 */
#ifndef TESTS_KERNELCHECK_H
#define TESTS_KERNELCHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "kernels/kernels.h"

/* The tables to test: portable, then each wider instruction set of this machine. */
int kernelcheck_tables(const struct kernels **tables);
const char *kernelcheck_name(const struct kernels *kernels);

/* `n` floats, all NaN, `offset` (0..15) floats past a cache line, guards around. */
enum { KERNELCHECK_GUARD = 32 };
float *guarded_new(int64_t n, int64_t offset);
void guarded_check(const float *data, int64_t n); /* fails the test if a guard changed */
void guarded_free(float *data);

/* Uniform in [low, high], normal; a fixed sequence per test program. */
float random_between(float low, float high);
float random_normal(void);
void random_fill(float *x, int64_t n, float low, float high);

/* Units in the last place of float between got and want; 0 when both are NaN or equal. */
double ulp_error(float got, double want);

/* Fails the test unless |got - want| <= tolerance (NaN equals NaN, infinities exactly). */
void expect_close(const char *what, int64_t index, double got, double want, double tolerance);

/* The lengths every kernel is tried with. */
extern const int64_t kernelcheck_lengths[];
extern const int kernelcheck_length_count;

#endif
