/* SPDX-License-Identifier: MIT
 *
 * The GGUF container (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3:
 * typed metadata, then tensors. Tensors are read through formats/tensor_source.h, whose `metadata`
 * is what this header describes; the same struct, filled by hand, is what the writer writes.
 */
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H

#include "formats/tensor_source.h"

/* Types of values, with the numbers they have in files. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

enum {
    GGUF_ALIGNMENT = 32,  /* of tensors, unless a file says otherwise */
    GGUF_NAME_LIMIT = 63, /* bytes of a tensor's name that llama.cpp reads */
    GGUF_DIMENSIONS = 4
};

struct gguf_text {
    const char *data; /* NUL-terminated; may hold NULs before */
    size_t size;
};

/* A value. Which fields count depends on the type. */
struct gguf_value {
    uint32_t type;
    uint32_t element;      /* of an array */
    uint64_t bits;         /* integers and BOOL; signed ones extended to 64 bits */
    double real;           /* F32, F64 */
    struct gguf_text text; /* STRING */
    uint64_t count;        /* of an array */
    const void *items; /* of an array: struct gguf_text, or numbers as the file has them, packed */
};

struct gguf {
    struct memory *memory;
    struct arena arena; /* texts and arrays */
    struct map keys;    /* -> index in list, in the order of the file */
    struct gguf_value *list;
    size_t capacity;
    uint32_t version;
    llm_status status; /* sticky failure of gguf_put_*() */
};

extern const struct tensor_format gguf_format;

/* ---- metadata ---- */

void gguf_init(struct gguf *gguf, struct memory *memory);
void gguf_free(struct gguf *gguf); /* zeroed or freed allowed */

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key); /* or NULL */

/* As the getters of base/json.h: an absent key leaves *out alone, a wrong type is LLM_E_FORMAT, a
 * number outside [min, max] LLM_E_RANGE, each naming the key. Any integer type will do. */
llm_status gguf_read_i64(const struct gguf *gguf, const char *key, int64_t min, int64_t max,
                         int64_t *out);
llm_status gguf_read_double(const struct gguf *gguf, const char *key, double min, double max,
                            double *out);
llm_status gguf_read_bool(const struct gguf *gguf, const char *key, bool *out);
llm_status gguf_read_text(const struct gguf *gguf, const char *key, const char **out);
/* An array of `element`s; *value NULL when it is absent. */
llm_status gguf_read_array(const struct gguf *gguf, const char *key, uint32_t element,
                           const struct gguf_value **value);
/* Item `index` of an array of integers or floats. */
int64_t gguf_item_i64(const struct gguf_value *array, uint64_t index);
double gguf_item_double(const struct gguf_value *array, uint64_t index);

/* Adding, for files to write; a key that is there already keeps its place and gets the new value.
 * Failures stay in gguf->status. Everything is copied. */
void gguf_put(struct gguf *gguf, const char *key, const struct gguf_value *value);
void gguf_put_u32(struct gguf *gguf, const char *key, uint32_t number);
void gguf_put_f32(struct gguf *gguf, const char *key, double number);
void gguf_put_bool(struct gguf *gguf, const char *key, bool flag);
void gguf_put_text(struct gguf *gguf, const char *key, const char *text, size_t size);
/* `items` as in struct gguf_value. */
void gguf_put_array(struct gguf *gguf, const char *key, uint32_t element, const void *items,
                    uint64_t count);

size_t gguf_type_bytes(uint32_t type);     /* of a number; 0 for strings, arrays, unknown types */
const char *gguf_type_name(uint32_t type); /* "u32"; "unknown" */

/* ---- writing ---- */

/* One tensor to write: its values are made by `load` just before they are needed, so that a model
 * is converted without being in memory. */
struct gguf_item {
    const char *name;
    int32_t dimensions;
    int64_t shape[GGUF_DIMENSIONS]; /* outermost first */
    int32_t dtype;                  /* in the file; blocks must fit the last size */
};

/* Fills *out with a contiguous f32 tensor of the item's number of elements, which the writer
 * releases. */
typedef llm_status (*gguf_load_fn)(void *arg, size_t index, llm_tensor **out);

struct gguf_write {
    const struct gguf_item *items;
    size_t count;
    gguf_load_fn load;
    void *arg;
    uint64_t split_bytes; /* most bytes of tensors in one file; 0: a single file */
    int threads;
    tensor_tick tick; /* may be NULL; counts bytes written */
};

/* Writes `path`, or with split_bytes and more than one file, path with "-00001-of-0000N" before the
 * ".gguf", each in one step. `gguf` holds the metadata of the first. */
llm_status gguf_write(struct gguf *gguf, const char *path, const struct gguf_write *write);

#endif
