/* SPDX-License-Identifier: MIT
 *
 * The vector kernels over x86/vector_lanes_avx2.h; compiled with that instruction set's flags.
 */
#include "kernels/x86/vector_lanes_avx2.h"

#include "kernels/vector.h"
#include "kernels/vector_table.h"

void vector_fill_avx2(struct vector_kernels *vector)
{
    *vector = table;
}
