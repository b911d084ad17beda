/* SPDX-License-Identifier: MIT
 *
 * Element types as a table of traits: everything that depends on a dtype goes through a row of it.
 * A block-quantized type stores `block_elements` values in `block_bytes`; plain types have blocks
 * of one. Adding a type is adding a row (dtype.c).
 */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include "base/status.h"

#include <stdbool.h>

struct dtype {
    const char *name;        /* "f32" */
    const char *safetensors; /* "F32", NULL if that format has no such type */
    int64_t block_elements;
    int64_t block_bytes;
    bool is_float;
    /* `count` elements, a multiple of block_elements, between this type and float. */
    void (*to_f32)(float *out, const void *in, int64_t count);
    void (*from_f32)(void *out, const float *in, int64_t count);
    uint8_t dlpack_code; /* DLDataTypeCode */
    uint8_t dlpack_bits; /* 0: no such type there */
    int32_t gguf;        /* number of the type in GGUF files, -1 if they have none */
};

/* NULL for an unknown dtype. */
const struct dtype *dtype_get(int32_t dtype);

/* The LLM_* constant of a safetensors type name, or -1. */
int32_t dtype_from_safetensors(const char *name);

/* The LLM_* constant of a type number of GGUF files, or of a name of this table; or -1. */
int32_t dtype_from_gguf(uint32_t type);
int32_t dtype_from_name(const char *name);

/* Bytes of `count` elements; false on overflow, unknown type or a partial block. */
bool dtype_bytes(int32_t dtype, int64_t count, size_t *out);

float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value); /* round to nearest even */
float bf16_to_f32(uint16_t value);
uint16_t f32_to_bf16(float value); /* round to nearest even */

#endif
