/* SPDX-License-Identifier: MIT
 *
 * Matrices whose values stay in a block type in memory, as the panels of kernels/qgemm.h: dtype is
 * the block type, `data` is NULL, `packed` tells where the panels are. Linear layers, embeddings
 * and the output read them; everything else refuses such a tensor by its type.
 */
#ifndef TENSOR_PACKED_H
#define TENSOR_PACKED_H

#include "kernels/qgemm.h"
#include "tensor/tensor.h"

/* Bytes of a [rows, columns] matrix kept as `dtype`; false: this type or width cannot be. */
bool packed_bytes(int32_t dtype, int64_t rows, int64_t columns, size_t *bytes);

/* Gives a 2-D tensor without values memory for panels, which the caller fills with qgemm_pack(). It
 * wants no gradient from then on. */
llm_status packed_allocate(llm_tensor *tensor, int32_t dtype);

/* Rows first .. first + count - 1 of a contiguous f32 or a packed matrix as floats. */
void packed_read_rows(const llm_tensor *tensor, int64_t first, int64_t count, float *out,
                      int threads);

#endif
