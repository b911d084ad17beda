/* SPDX-License-Identifier: MIT */
#include "tokenizer/double_array.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 256,
    TRIALS = 64 /* free places looked at before a node with many children goes to the end */
};

/* Keys [first, last) share their first `depth` bytes, which lead to `node`. */
struct range {
    size_t first;
    size_t last;
    size_t depth;
    uint32_t node;
};

struct builder {
    struct double_array *array;
    size_t capacity;
    uint32_t *next_free; /* per unit, the free unit behind it; lazily skipped when taken */
    size_t next_capacity;
    uint32_t first_free;
    uint8_t *used_base; /* per unit: is the base of some node */
    size_t used_capacity;
    struct range *queue;
    size_t queue_capacity;
    size_t queue_count;
};

static int compare_keys(const void *a, const void *b)
{
    const struct double_array_key *x = a;
    const struct double_array_key *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->bytes, y->bytes, size);

    if (order != 0)
        return order;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

static llm_status add_block(struct builder *builder)
{
    struct double_array *array = builder->array;
    size_t count = array->count + BLOCK;
    llm_status status;

    if (count > UINT32_MAX / 2)
        return status_set(LLM_E_RANGE, "the vocabulary is too large for its index");
    status = memory_grow(array->memory, (void **)&array->units, &builder->capacity, count,
                         sizeof *array->units);
    if (!status)
        status = memory_grow(array->memory, (void **)&builder->next_free, &builder->next_capacity,
                             count, sizeof *builder->next_free);
    if (!status)
        status = memory_grow(array->memory, (void **)&builder->used_base, &builder->used_capacity,
                             count, 1);
    if (status)
        return status;
    for (size_t i = array->count; i < count; i++) {
        array->units[i] = (struct double_array_unit){0, double_array_free, -1};
        builder->next_free[i] = (uint32_t)i + 1;
        builder->used_base[i] = 0;
    }
    array->count = count;
    return LLM_OK;
}

/* The first free unit at or behind `unit`; the path is shortened on the way. */
static uint32_t find_free(struct builder *builder, uint32_t unit)
{
    const struct double_array *array = builder->array;
    uint32_t at = unit;

    while (at < array->count && array->units[at].check != double_array_free)
        at = builder->next_free[at];
    while (unit < at) {
        uint32_t next = builder->next_free[unit];

        builder->next_free[unit] = at;
        unit = next;
    }
    return at;
}

static bool fits(const struct builder *builder, uint32_t base, const unsigned char *labels,
                 size_t count)
{
    if (builder->used_base[base])
        return false;
    for (size_t i = 0; i < count; i++) {
        if (builder->array->units[base ^ labels[i]].check != double_array_free)
            return false;
    }
    return true;
}

/* A base under which all labels are free. Unit 0 is the root and never free. */
static llm_status find_base(struct builder *builder, const unsigned char *labels, size_t count,
                            uint32_t *base_out)
{
    const struct double_array *array = builder->array;
    uint32_t at = find_free(builder, builder->first_free);
    llm_status status = LLM_OK;

    builder->first_free = at;
    for (int i = 0; i < TRIALS && at < array->count; i++) {
        uint32_t base = at ^ labels[0];

        if (fits(builder, base, labels, count)) {
            *base_out = base;
            return LLM_OK;
        }
        at = find_free(builder, at + 1);
    }
    /* Places that took many trials are left behind: what stays empty there is little. */
    if (at < array->count && at - builder->first_free > 4 * BLOCK)
        builder->first_free = at;
    status = add_block(builder);
    *base_out = (uint32_t)(array->count - BLOCK);
    return status;
}

static llm_status push(struct builder *builder, struct range range)
{
    llm_status status =
        memory_grow(builder->array->memory, (void **)&builder->queue, &builder->queue_capacity,
                    builder->queue_count + 1, sizeof *builder->queue);

    if (!status)
        builder->queue[builder->queue_count++] = range;
    return status;
}

/* Place the children of one node and queue them. */
static llm_status expand(struct builder *builder, const struct double_array_key *keys,
                         struct range range)
{
    struct double_array *array = builder->array;
    unsigned char labels[256];
    size_t starts[257];
    size_t count = 0;
    uint32_t base;
    llm_status status;

    while (range.first < range.last && keys[range.first].size == range.depth)
        array->units[range.node].value = keys[range.first++].value;
    if (range.first == range.last)
        return LLM_OK;
    for (size_t i = range.first; i < range.last; i++) {
        unsigned char label = keys[i].bytes[range.depth];

        if (count == 0 || labels[count - 1] != label) {
            starts[count] = i;
            labels[count++] = label;
        }
    }
    starts[count] = range.last;
    status = find_base(builder, labels, count, &base);
    if (status)
        return status;
    builder->used_base[base] = 1;
    array->units[range.node].base = base;
    for (size_t i = 0; i < count; i++)
        array->units[base ^ labels[i]].check = range.node;
    for (size_t i = 0; i < count && !status; i++)
        status = push(builder,
                      (struct range){starts[i], starts[i + 1], range.depth + 1, base ^ labels[i]});
    return status;
}

llm_status double_array_build(struct double_array *array, struct memory *memory,
                              struct double_array_key *keys, size_t count)
{
    struct builder builder = {.array = array, .first_free = 1};
    llm_status status;

    *array = (struct double_array){.memory = memory};
    if (count > 1)
        qsort(keys, count, sizeof *keys, compare_keys);
    status = add_block(&builder);
    if (!status) {
        array->units[0].check = 0; /* the root is nobody's child, as base 0 ^ 0 never is a step */
        status = push(&builder, (struct range){0, count, 0, 0});
    }
    while (builder.queue_count > 0 && !status) {
        struct range range = builder.queue[--builder.queue_count];

        status = expand(&builder, keys, range);
    }
    memory_release(memory, builder.next_free);
    memory_release(memory, builder.used_base);
    memory_release(memory, builder.queue);
    if (status)
        double_array_close(array);
    return status;
}

void double_array_close(struct double_array *array)
{
    if (array->memory)
        memory_release(array->memory, array->units);
    *array = (struct double_array){.memory = NULL};
}
