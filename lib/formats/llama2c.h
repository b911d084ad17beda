/* SPDX-License-Identifier: MIT
 *
 * Checkpoints of llama2.c (https://github.com/karpathy/llama2.c, export.py): versions 0 (floats,
 * seven sizes for a header), 1 (floats, "ak42") and 2 (int8 groups). Presented as what they are in
 * GGUF: the same names, row order and metadata keys.
 */
#ifndef FORMATS_LLAMA2C_H
#define FORMATS_LLAMA2C_H

#include "formats/tensor_source.h"

extern const struct tensor_format llama2c_format;

#endif
