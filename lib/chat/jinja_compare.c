/* SPDX-License-Identifier: MIT
 *
 * Looking at values the way Python does: truth, equality, order, length, iteration.
 */
#include "chat/jinja_interpreter.h"

#include <math.h>
#include <string.h>

const char *jinja_type_name(struct jinja_value value)
{
    static const char *const sequences[] = {"list",        "tuple",      "range",    "dict_keys",
                                            "dict_values", "dict_items", "generator"};
    static const char *const names[] = {
        "Undefined", "NoneType", "bool",      "int",      "float",       "str",
        "",          "dict",     "Namespace", "Macro",    "LoopContext", "method",
        "function",  "Cycler",   "Joiner",    "Undefined"};

    return value.type == JINJA_LIST ? sequences[value.as.list->kind] : names[value.type];
}

bool jinja_is_number(struct jinja_value value)
{
    return value.type == JINJA_BOOL || value.type == JINJA_INT || value.type == JINJA_FLOAT;
}

int64_t jinja_as_int(struct jinja_value value)
{
    return value.type == JINJA_BOOL ? value.as.truth : value.as.integer;
}

double jinja_as_double(struct jinja_value value)
{
    return value.type == JINJA_FLOAT ? value.as.real : (double)jinja_as_int(value);
}

bool jinja_true(struct jinja_value value)
{
    switch (value.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
    case JINJA_MISSING:
        return false;
    case JINJA_BOOL:
        return value.as.truth;
    case JINJA_INT:
        return value.as.integer != 0;
    case JINJA_FLOAT:
        return value.as.real != 0.0;
    case JINJA_STRING:
        return value.as.string->size > 0;
    case JINJA_LIST:
        return value.as.list->kind == JINJA_SEQ_GENERATOR || value.as.list->count > 0;
    case JINJA_DICT:
        return value.as.dict->count > 0;
    default:
        return true;
    }
}

/* Exact where a double cannot hold the integer. */
static int order_numbers(struct jinja_value a, struct jinja_value b)
{
    double x = jinja_as_double(a);
    double y = jinja_as_double(b);

    if (a.type != JINJA_FLOAT && b.type != JINJA_FLOAT) {
        int64_t i = jinja_as_int(a);
        int64_t j = jinja_as_int(b);

        return (i > j) - (i < j);
    }
    return (x > y) - (x < y);
}

static bool numbers_equal(struct jinja_value a, struct jinja_value b)
{
    if ((a.type == JINJA_FLOAT && isnan(a.as.real)) || (b.type == JINJA_FLOAT && isnan(b.as.real)))
        return false;
    return order_numbers(a, b) == 0;
}

static bool equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b, int depth);

static bool dicts_equal(struct jinja_run *run, const struct jinja_dict *a,
                        const struct jinja_dict *b, int depth)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count && !run->status; i++) {
        struct jinja_value *other = jinja_dict_find(run, b, a->entries[i].key);

        if (!other || !equal(run, a->entries[i].value, *other, depth + 1))
            return false;
    }
    return true;
}

static bool lists_equal(struct jinja_run *run, const struct jinja_list *a,
                        const struct jinja_list *b, int depth)
{
    if (a == b)
        return true;
    if (a->kind != b->kind || a->count != b->count || a->kind == JINJA_SEQ_GENERATOR)
        return false;
    for (size_t i = 0; i < a->count && !run->status; i++) {
        if (!equal(run, a->items[i], b->items[i], depth + 1))
            return false;
    }
    return true;
}

/* Recursion is bounded by `depth`. */
static bool equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b, int depth)
{
    if (depth == JINJA_DEPTH) {
        jinja_fail(run, LLM_E_RANGE, "values nested deeper than %d levels", JINJA_DEPTH);
        return false;
    }
    if (!jinja_charge(run, 1))
        return false;
    if (jinja_is_number(a) && jinja_is_number(b))
        return numbers_equal(a, b);
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case JINJA_STRING:
        return a.as.string->size == b.as.string->size &&
               jinja_charge(run, a.as.string->size / 256) &&
               memcmp(a.as.string->data, b.as.string->data, a.as.string->size) == 0;
    case JINJA_LIST:
        return lists_equal(run, a.as.list, b.as.list, depth);
    case JINJA_DICT:
        return dicts_equal(run, a.as.dict, b.as.dict, depth);
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_FUNCTION:
        return a.extra == b.extra;
    default:
        return a.as.object == b.as.object;
    }
}

bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    return equal(run, a, b, 0);
}

static int order_strings(const struct jinja_string *a, const struct jinja_string *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size ? memcmp(a->data, b->data, size) : 0;

    return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* Recursion is bounded by `depth`. */
static int order_values(struct jinja_run *run, struct jinja_value a, struct jinja_value b,
                        const char *op, int depth)
{
    if (!jinja_charge(run, 1))
        return 0;
    if (depth == JINJA_DEPTH) {
        jinja_fail(run, LLM_E_RANGE, "values nested deeper than %d levels", JINJA_DEPTH);
        return 0;
    }
    if (jinja_is_number(a) && jinja_is_number(b))
        return order_numbers(a, b);
    if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        jinja_charge(run, a.as.string->size / 256);
        return order_strings(a.as.string, b.as.string);
    }
    if (a.type == JINJA_LIST && b.type == JINJA_LIST && a.as.list->kind == b.as.list->kind &&
        a.as.list->kind <= JINJA_SEQ_TUPLE) {
        const struct jinja_list *x = a.as.list;
        const struct jinja_list *y = b.as.list;

        for (size_t i = 0; i < x->count && i < y->count && !run->status; i++) {
            if (!jinja_equal(run, x->items[i], y->items[i]))
                return order_values(run, x->items[i], y->items[i], op, depth + 1);
        }
        return (x->count > y->count) - (x->count < y->count);
    }
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, a.type == JINJA_UNDEFINED ? a : b);
    else
        jinja_fail(run, LLM_E_FORMAT, "'%s' not supported between instances of '%s' and '%s'", op,
                   jinja_type_name(a), jinja_type_name(b));
    return 0;
}

int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b, const char *op)
{
    return order_values(run, a, b, op, 0);
}

struct jinja_value jinja_length(struct jinja_run *run, struct jinja_value value)
{
    switch (value.type) {
    case JINJA_UNDEFINED:
        return jinja_int(0);
    case JINJA_STRING:
        jinja_charge(run, value.as.string->size / 64);
        return jinja_int((int64_t)jinja_code_points(value.as.string));
    case JINJA_LIST:
        if (value.as.list->kind != JINJA_SEQ_GENERATOR)
            return jinja_int((int64_t)value.as.list->count);
        break;
    case JINJA_DICT:
        return jinja_int((int64_t)value.as.dict->count);
    case JINJA_LOOP:
        return jinja_loop_attribute(run, value.as.loop, "length");
    default:
        break;
    }
    return jinja_fail(run, LLM_E_FORMAT, "object of type '%s' has no len()",
                      jinja_type_name(value));
}

static struct jinja_value characters(struct jinja_run *run, const struct jinja_string *string)
{
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_LIST, string->size);
    size_t begin = 0;

    while (begin < string->size && !run->status) {
        size_t end = begin + 1;

        while (end < string->size && ((unsigned char)string->data[end] & 0xC0) == 0x80)
            end++;
        jinja_list_add(run, list, jinja_slice_of(run, string, begin, end));
        begin = end;
    }
    return list;
}

/* What a generator has left, as a list of its own; the generator is then empty. */
static struct jinja_value use_up(struct jinja_run *run, struct jinja_list *generator)
{
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_LIST, 0);

    if (!run->status) {
        list.as.list->items = generator->items ? generator->items + generator->start : NULL;
        list.as.list->count = generator->count - generator->start;
        list.as.list->capacity = list.as.list->count;
        generator->start = generator->count;
    }
    return list;
}

struct jinja_value jinja_walk(struct jinja_run *run, struct jinja_value value)
{
    struct jinja_value list;

    switch (value.type) {
    case JINJA_UNDEFINED:
        return jinja_list_new(run, JINJA_SEQ_LIST, 0);
    case JINJA_STRING:
        return characters(run, value.as.string);
    case JINJA_LIST:
        return value.as.list->kind == JINJA_SEQ_GENERATOR ? use_up(run, value.as.list) : value;
    case JINJA_DICT:
        list = jinja_list_new(run, JINJA_SEQ_LIST, value.as.dict->count);
        for (size_t i = 0; i < value.as.dict->count && !run->status; i++)
            jinja_list_add(run, list, value.as.dict->entries[i].key);
        return list;
    default:
        return jinja_fail(run, LLM_E_FORMAT, "'%s' object is not iterable", jinja_type_name(value));
    }
}
