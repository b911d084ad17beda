/* SPDX-License-Identifier: MIT
 *
 * The recurrent kernels over x86/vector_lanes_avx2.h; compiled with that instruction set's flags.
 */
#include "kernels/x86/vector_lanes_avx2.h"

#include "kernels/recurrent.h"
#include "kernels/recurrent_table.h"

void recurrent_fill_avx2(struct recurrent_kernels *recurrent)
{
    *recurrent = table;
}
