/* SPDX-License-Identifier: MIT
 *
 * The metadata of GGUF files in memory: lookup with checks of type and range, and adding.
 */
#include "formats/gguf.h"

#include "base/checked.h"

#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

size_t gguf_type_bytes(uint32_t type)
{
    return type < sizeof types / sizeof types[0] ? types[type].bytes : 0;
}

const char *gguf_type_name(uint32_t type)
{
    return type < sizeof types / sizeof types[0] ? types[type].name : "unknown";
}

void gguf_init(struct gguf *gguf, struct memory *memory)
{
    memset(gguf, 0, sizeof *gguf);
    gguf->memory = memory;
    arena_init(&gguf->arena, memory);
    map_init(&gguf->keys, memory);
}

void gguf_free(struct gguf *gguf)
{
    if (!gguf->memory)
        return;
    memory_release(gguf->memory, gguf->list);
    map_free(&gguf->keys);
    arena_free(&gguf->arena);
    memset(gguf, 0, sizeof *gguf);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    const struct map_entry *entry = map_find(&gguf->keys, key, strlen(key));

    return entry ? &gguf->list[entry->value] : NULL;
}

static bool is_integer(uint32_t type)
{
    return type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

static bool is_real(uint32_t type)
{
    return type == GGUF_F32 || type == GGUF_F64;
}

static llm_status wrong_type(const char *key, const struct gguf_value *value, const char *wanted)
{
    return status_set(LLM_E_FORMAT, "key \"%s\" is of type %s, not %s", key,
                      gguf_type_name(value->type), wanted);
}

llm_status gguf_read_i64(const struct gguf *gguf, const char *key, int64_t min, int64_t max,
                         int64_t *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    int64_t number;

    if (!value)
        return LLM_OK;
    if (!is_integer(value->type))
        return wrong_type(key, value, "an integer");
    if (value->type == GGUF_U64 && value->bits > INT64_MAX)
        return status_set(LLM_E_RANGE, "key \"%s\" is %llu, outside %lld..%lld", key,
                          (unsigned long long)value->bits, (long long)min, (long long)max);
    number = (int64_t)value->bits;
    if (number < min || number > max)
        return status_set(LLM_E_RANGE, "key \"%s\" is %lld, outside %lld..%lld", key,
                          (long long)number, (long long)min, (long long)max);
    *out = number;
    return LLM_OK;
}

llm_status gguf_read_double(const struct gguf *gguf, const char *key, double min, double max,
                            double *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);

    if (!value)
        return LLM_OK;
    if (!is_real(value->type))
        return wrong_type(key, value, "f32");
    if (!(value->real >= min && value->real <= max))
        return status_set(LLM_E_RANGE, "key \"%s\" is %g, outside %g..%g", key, value->real, min,
                          max);
    *out = value->real;
    return LLM_OK;
}

llm_status gguf_read_bool(const struct gguf *gguf, const char *key, bool *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);

    if (!value)
        return LLM_OK;
    if (value->type != GGUF_BOOL)
        return wrong_type(key, value, "bool");
    *out = value->bits != 0;
    return LLM_OK;
}

llm_status gguf_read_text(const struct gguf *gguf, const char *key, const char **out)
{
    const struct gguf_value *value = gguf_find(gguf, key);

    if (!value)
        return LLM_OK;
    if (value->type != GGUF_STRING)
        return wrong_type(key, value, "a string");
    if (strlen(value->text.data) != value->text.size)
        return status_set(LLM_E_FORMAT, "key \"%s\" holds a NUL character", key);
    *out = value->text.data;
    return LLM_OK;
}

llm_status gguf_read_array(const struct gguf *gguf, const char *key, uint32_t element,
                           const struct gguf_value **out)
{
    const struct gguf_value *value = gguf_find(gguf, key);

    *out = NULL;
    if (!value)
        return LLM_OK;
    if (value->type != GGUF_ARRAY)
        return wrong_type(key, value, "an array");
    if (value->element != element)
        return status_set(LLM_E_FORMAT, "key \"%s\" is an array of %s, not of %s", key,
                          gguf_type_name(value->element), gguf_type_name(element));
    *out = value;
    return LLM_OK;
}

static uint64_t item_bits(const struct gguf_value *array, uint64_t index)
{
    size_t size = gguf_type_bytes(array->element);
    const unsigned char *bytes = (const unsigned char *)array->items + index * size;
    uint64_t bits = 0;

    for (size_t i = size; i-- > 0;)
        bits = bits << 8 | bytes[i];
    return bits;
}

int64_t gguf_item_i64(const struct gguf_value *array, uint64_t index)
{
    uint64_t bits = item_bits(array, index);

    switch (array->element) {
    case GGUF_I8:
        return (int8_t)bits;
    case GGUF_I16:
        return (int16_t)bits;
    case GGUF_I32:
        return (int32_t)bits;
    default:
        return (int64_t)bits;
    }
}

double gguf_item_double(const struct gguf_value *array, uint64_t index)
{
    uint64_t bits = item_bits(array, index);
    uint32_t low = (uint32_t)bits;
    float narrow;
    double wide;

    if (array->element == GGUF_F32) {
        memcpy(&narrow, &low, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* ---- adding ------------------------------------------------------------------------------------
 */

/* Copies what the value points to into the arena. */
static llm_status own(struct gguf *gguf, struct gguf_value *value)
{
    if (value->type == GGUF_STRING) {
        value->text.data = arena_copy_text(&gguf->arena, value->text.data, value->text.size);
        return value->text.data ? LLM_OK : LLM_E_NOMEM;
    }
    if (value->type == GGUF_ARRAY && value->element == GGUF_STRING) {
        const struct gguf_text *from = value->items;
        struct gguf_text *to;
        size_t bytes;

        if (!checked_mul((size_t)value->count, sizeof *to, &bytes))
            return status_set(LLM_E_RANGE, "an array is too long");
        to = arena_alloc(&gguf->arena, bytes ? bytes : 1);
        if (!to)
            return LLM_E_NOMEM;
        for (uint64_t i = 0; i < value->count; i++) {
            to[i].size = from[i].size;
            to[i].data = arena_copy_text(&gguf->arena, from[i].data, from[i].size);
            if (!to[i].data)
                return LLM_E_NOMEM;
        }
        value->items = to;
    } else if (value->type == GGUF_ARRAY) {
        size_t bytes;
        void *copy;

        if (!checked_mul((size_t)value->count, gguf_type_bytes(value->element), &bytes))
            return status_set(LLM_E_RANGE, "an array is too long");
        copy = arena_alloc(&gguf->arena, bytes ? bytes : 1);
        if (!copy)
            return LLM_E_NOMEM;
        if (bytes)
            memcpy(copy, value->items, bytes);
        value->items = copy;
    }
    return LLM_OK;
}

void gguf_put(struct gguf *gguf, const char *key, const struct gguf_value *value)
{
    const struct map_entry *entry;
    struct gguf_value copy = *value;
    bool inserted;

    if (!gguf->status)
        gguf->status = memory_grow(gguf->memory, (void **)&gguf->list, &gguf->capacity,
                                   gguf->keys.count + 1, sizeof *gguf->list);
    if (!gguf->status)
        gguf->status = own(gguf, &copy);
    if (!gguf->status)
        gguf->status = map_put(&gguf->keys, key, strlen(key), (int64_t)gguf->keys.count, &inserted);
    entry = gguf->status ? NULL : map_find(&gguf->keys, key, strlen(key));
    if (entry)
        gguf->list[entry->value] = copy;
}

void gguf_put_u32(struct gguf *gguf, const char *key, uint32_t number)
{
    gguf_put(gguf, key, &(struct gguf_value){.type = GGUF_U32, .bits = number});
}

void gguf_put_f32(struct gguf *gguf, const char *key, double number)
{
    gguf_put(gguf, key, &(struct gguf_value){.type = GGUF_F32, .real = (double)(float)number});
}

void gguf_put_bool(struct gguf *gguf, const char *key, bool flag)
{
    gguf_put(gguf, key, &(struct gguf_value){.type = GGUF_BOOL, .bits = flag});
}

void gguf_put_text(struct gguf *gguf, const char *key, const char *text, size_t size)
{
    gguf_put(gguf, key, &(struct gguf_value){.type = GGUF_STRING, .text = {text, size}});
}

void gguf_put_array(struct gguf *gguf, const char *key, uint32_t element, const void *items,
                    uint64_t count)
{
    gguf_put(gguf, key,
             &(struct gguf_value){
                 .type = GGUF_ARRAY, .element = element, .items = items, .count = count});
}
