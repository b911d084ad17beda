/* SPDX-License-Identifier: MIT
 *
 * The kernel table: for each family (matrix products, vectors, attention, ...) one struct of
 * function pointers with its own header and its own fill function. A family is added with one
 * include, one member and one call in kernels.c. Raw pointers only: no tensors, no errors, no
 * allocation.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/qgemm.h"
#include "kernels/recurrent.h"
#include "kernels/vector.h"

#include <stdint.h>

struct kernels {
    uint32_t cpu; /* CPU_* flags that the table was filled for */
    struct gemm_kernels gemm;
    struct qgemm_kernels qgemm;
    struct attention_kernels attention;
    struct recurrent_kernels recurrent;
    struct vector_kernels vector;
};

/* Portable C first, then each instruction set in `cpu` overrides what it speeds up. */
void kernels_fill(struct kernels *kernels, uint32_t cpu);

#endif
