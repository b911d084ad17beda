/* SPDX-License-Identifier: MIT
 *
 * Operators on values: arithmetic, comparison, membership, attributes, items, slices.
 */
#include "chat/jinja_builtins.h"

#include <math.h>
#include <string.h>

struct jinja_value jinja_fail_undefined(struct jinja_run *run, struct jinja_value value)
{
    return jinja_fail(run, LLM_E_FORMAT, "'%s' is undefined",
                      value.as.name ? value.as.name : "a value");
}

/* ---- arithmetic --------------------------------------------------------------------------------
 */

static struct jinja_value unsupported(struct jinja_run *run, const char *op, struct jinja_value a,
                                      struct jinja_value b)
{
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, a.type == JINJA_UNDEFINED ? a : b);
    return jinja_fail(run, LLM_E_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", op,
                      jinja_type_name(a), jinja_type_name(b));
}

static struct jinja_value overflow(struct jinja_run *run)
{
    return jinja_fail(run, LLM_E_RANGE, "an integer is beyond 64 bits");
}

static struct jinja_value real(struct jinja_run *run, double value, struct jinja_value a,
                               struct jinja_value b)
{
    if (isinf(value) && isfinite(jinja_as_double(a)) && isfinite(jinja_as_double(b)))
        return jinja_fail(run, LLM_E_RANGE, "a number is too large");
    return jinja_float(value);
}

/* Rounds towards minus infinity, as Python does. */
static struct jinja_value divide_integers(struct jinja_run *run, int64_t a, int64_t b, bool modulo)
{
    int64_t quotient;
    int64_t rest;

    if (b == -1 && a == INT64_MIN)
        return modulo ? jinja_int(0) : overflow(run);
    quotient = a / b;
    rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    return jinja_int(modulo ? rest : quotient);
}

static struct jinja_value integer_power(struct jinja_run *run, int64_t base, int64_t exponent)
{
    int64_t result = 1;

    for (; exponent > 0; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return overflow(run);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
            return overflow(run);
    }
    return jinja_int(result);
}

static struct jinja_value integers(struct jinja_run *run, enum jinja_op op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool failed;

    switch (op) {
    case JINJA_OP_ADD:
        failed = __builtin_add_overflow(a, b, &result);
        break;
    case JINJA_OP_SUB:
        failed = __builtin_sub_overflow(a, b, &result);
        break;
    case JINJA_OP_MUL:
        failed = __builtin_mul_overflow(a, b, &result);
        break;
    case JINJA_OP_POW:
        return b < 0 ? jinja_float(pow((double)a, (double)b)) : integer_power(run, a, b);
    default:
        return divide_integers(run, a, b, op == JINJA_OP_MOD);
    }
    return failed ? overflow(run) : jinja_int(result);
}

static struct jinja_value reals(struct jinja_run *run, enum jinja_op op, struct jinja_value a,
                                struct jinja_value b)
{
    double x = jinja_as_double(a);
    double y = jinja_as_double(b);
    double rest;

    switch (op) {
    case JINJA_OP_ADD:
        return real(run, x + y, a, b);
    case JINJA_OP_SUB:
        return real(run, x - y, a, b);
    case JINJA_OP_MUL:
        return real(run, x * y, a, b);
    case JINJA_OP_DIV:
        return real(run, x / y, a, b);
    case JINJA_OP_POW:
        if (x < 0 && floor(y) != y)
            return jinja_fail(run, LLM_E_UNSUPPORTED, "complex numbers");
        return real(run, pow(x, y), a, b);
    default:
        rest = fmod(x, y);
        if (rest != 0.0 && (rest < 0) != (y < 0))
            rest += y;
        else if (rest == 0.0)
            rest = copysign(0.0, y);
        return jinja_float(op == JINJA_OP_MOD ? rest : round((x - rest) / y));
    }
}

static struct jinja_value arithmetic(struct jinja_run *run, enum jinja_op op, struct jinja_value a,
                                     struct jinja_value b)
{
    bool divides = op == JINJA_OP_DIV || op == JINJA_OP_FLOORDIV || op == JINJA_OP_MOD;

    if ((divides && jinja_as_double(b) == 0.0) ||
        (op == JINJA_OP_POW && jinja_as_double(a) == 0.0 && jinja_as_double(b) < 0.0))
        return jinja_fail(run, LLM_E_FORMAT, "division by zero");
    if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT || op == JINJA_OP_DIV)
        return reals(run, op, a, b);
    return integers(run, op, jinja_as_int(a), jinja_as_int(b));
}

/* ---- sequences ---------------------------------------------------------------------------------
 */

static bool is_sequence(struct jinja_value value)
{
    return value.type == JINJA_LIST && value.as.list->kind <= JINJA_SEQ_TUPLE;
}

static struct jinja_value join_strings(struct jinja_run *run, const struct jinja_string *a,
                                       const struct jinja_string *b)
{
    struct jinja_builder builder;

    jinja_builder_init(&builder, run);
    jinja_build_string(&builder, a);
    jinja_build_string(&builder, b);
    return jinja_built(&builder);
}

static struct jinja_value join_lists(struct jinja_run *run, const struct jinja_list *a,
                                     const struct jinja_list *b)
{
    struct jinja_value list = jinja_list_new(run, a->kind, a->count + b->count);

    for (size_t i = 0; i < a->count && !run->status; i++)
        jinja_list_add(run, list, a->items[i]);
    for (size_t i = 0; i < b->count && !run->status; i++)
        jinja_list_add(run, list, b->items[i]);
    return list;
}

static struct jinja_value repeat(struct jinja_run *run, struct jinja_value value, int64_t count)
{
    struct jinja_value list;
    struct jinja_builder builder;

    if (value.type == JINJA_STRING) {
        jinja_builder_init(&builder, run);
        for (int64_t i = 0; i < count && value.as.string->size && jinja_charge(run, 1); i++)
            jinja_build_string(&builder, value.as.string);
        return jinja_built(&builder);
    }
    list = jinja_list_new(run, value.as.list->kind, 0);
    for (int64_t i = 0; i < count && value.as.list->count && jinja_charge(run, 1); i++) {
        for (size_t k = 0; k < value.as.list->count && !run->status; k++)
            jinja_list_add(run, list, value.as.list->items[k]);
    }
    return list;
}

bool jinja_contains(struct jinja_run *run, struct jinja_value container, struct jinja_value item)
{
    switch (container.type) {
    case JINJA_STRING:
        if (item.type != JINJA_STRING) {
            if (item.type == JINJA_UNDEFINED)
                jinja_fail_undefined(run, item);
            else
                jinja_fail(run, LLM_E_FORMAT,
                           "'in <string>' requires string as left operand, not %s",
                           jinja_type_name(item));
            return false;
        }
        return jinja_charge(run, container.as.string->size / 64) &&
               jinja_find_bytes(container.as.string, item.as.string, 0) != SIZE_MAX;
    case JINJA_DICT:
        return jinja_dict_find(run, container.as.dict, item) != NULL;
    case JINJA_LIST:
    case JINJA_UNDEFINED: {
        struct jinja_value items = jinja_walk(run, container);

        for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
            if (jinja_equal(run, items.as.list->items[i], item))
                return true;
        }
        return false;
    }
    default:
        jinja_fail(run, LLM_E_FORMAT, "argument of type '%s' is not iterable",
                   jinja_type_name(container));
        return false;
    }
}

static struct jinja_value compare(struct jinja_run *run, enum jinja_op op, struct jinja_value a,
                                  struct jinja_value b)
{
    static const char *const names[] = {"<", "<=", ">", ">="};
    bool unordered =
        (a.type == JINJA_FLOAT && isnan(a.as.real)) || (b.type == JINJA_FLOAT && isnan(b.as.real));
    int order;

    switch (op) {
    case JINJA_OP_EQ:
        return jinja_bool(jinja_equal(run, a, b));
    case JINJA_OP_NE:
        return jinja_bool(!jinja_equal(run, a, b));
    case JINJA_OP_IN:
        return jinja_bool(jinja_contains(run, b, a));
    case JINJA_OP_NOT_IN:
        return jinja_bool(!jinja_contains(run, b, a));
    default:
        order = jinja_order(run, a, b, names[op - JINJA_OP_LT]);
        if (unordered)
            return jinja_bool(false);
        return jinja_bool(op == JINJA_OP_LT   ? order < 0
                          : op == JINJA_OP_LE ? order <= 0
                          : op == JINJA_OP_GT ? order > 0
                                              : order >= 0);
    }
}

struct jinja_value jinja_binary(struct jinja_run *run, enum jinja_op op, struct jinja_value a,
                                struct jinja_value b)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

    if (op >= JINJA_OP_EQ)
        return compare(run, op, a, b);
    if (jinja_is_number(a) && jinja_is_number(b))
        return arithmetic(run, op, a, b);
    if (op == JINJA_OP_ADD && a.type == JINJA_STRING && b.type == JINJA_STRING)
        return join_strings(run, a.as.string, b.as.string);
    if (op == JINJA_OP_ADD && is_sequence(a) && is_sequence(b) &&
        a.as.list->kind == b.as.list->kind)
        return join_lists(run, a.as.list, b.as.list);
    if (op == JINJA_OP_MUL && (a.type == JINJA_INT || a.type == JINJA_BOOL) &&
        (b.type == JINJA_STRING || is_sequence(b)))
        return repeat(run, b, jinja_as_int(a));
    if (op == JINJA_OP_MUL && (b.type == JINJA_INT || b.type == JINJA_BOOL) &&
        (a.type == JINJA_STRING || is_sequence(a)))
        return repeat(run, a, jinja_as_int(b));
    if (op == JINJA_OP_MOD && a.type == JINJA_STRING && b.type != JINJA_UNDEFINED)
        return jinja_format_percent(run, a.as.string, b);
    return unsupported(run, names[op - JINJA_OP_ADD], a, b);
}

struct jinja_value jinja_negate(struct jinja_run *run, struct jinja_value value)
{
    if (value.type == JINJA_FLOAT)
        return jinja_float(-value.as.real);
    if (value.type == JINJA_INT || value.type == JINJA_BOOL)
        return integers(run, JINJA_OP_SUB, 0, jinja_as_int(value));
    if (value.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, value);
    return jinja_fail(run, LLM_E_FORMAT, "bad operand type for unary -: '%s'",
                      jinja_type_name(value));
}

/* ---- attributes and items ----------------------------------------------------------------------
 */

/* Undefined, remembering the name for the message if it is used. */
static struct jinja_value absent(struct jinja_run *run, const struct jinja_string *name)
{
    char *copy = jinja_alloc(run, name->size + 1);

    if (!copy)
        return jinja_undefined(NULL);
    memcpy(copy, name->data, name->size);
    return jinja_undefined(copy);
}

static struct jinja_value loop_attribute(struct jinja_run *run, struct jinja_loop *loop,
                                         const struct jinja_string *name)
{
    char text[16];

    if (name->size >= sizeof text)
        return jinja_undefined(NULL);
    memcpy(text, name->data, name->size);
    text[name->size] = '\0';
    return jinja_loop_attribute(run, loop, text);
}

/* x.name for what is not in x itself: an entry of a dict. */
static struct jinja_value entry(struct jinja_run *run, struct jinja_value value,
                                const struct jinja_string *name)
{
    struct jinja_value key = {.type = JINJA_STRING, .as.string = name};
    struct jinja_value *found = NULL;

    if (value.type == JINJA_DICT || value.type == JINJA_NAMESPACE)
        found = jinja_dict_find(run, value.as.dict, key);
    return found ? *found : absent(run, name);
}

static struct jinja_value own_attribute(struct jinja_run *run, struct jinja_value value,
                                        const struct jinja_string *name)
{
    int32_t method = -1;

    if (value.type == JINJA_LOOP) {
        struct jinja_value found = loop_attribute(run, value.as.loop, name);

        if (found.type != JINJA_UNDEFINED)
            return found;
    }
    if (name->size && name->data[0] != '_')
        method = jinja_find_method(value, name->data, name->size);
    if (method >= 0)
        return jinja_object_new(run, JINJA_METHOD, (uint32_t)method, value);
    return (struct jinja_value){.type = JINJA_MISSING};
}

struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value,
                                   const struct jinja_string *name)
{
    struct jinja_value own;

    if (value.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, value);
    own = own_attribute(run, value, name);
    return own.type == JINJA_MISSING ? entry(run, value, name) : own;
}

/* Index from the end if negative; false if there is no such place. */
static bool place(int64_t *index, int64_t count)
{
    if (*index < 0)
        *index += count;
    return *index >= 0 && *index < count;
}

struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value,
                              struct jinja_value key)
{
    struct jinja_value *found;
    struct jinja_value own;
    int64_t index;

    if (value.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, value);
    if (value.type == JINJA_DICT && key.type != JINJA_DICT && !is_sequence(key)) {
        found = jinja_dict_find(run, value.as.dict, key);
        if (found)
            return *found;
    }
    if (key.type == JINJA_INT || key.type == JINJA_BOOL) {
        index = jinja_as_int(key);
        if (value.type == JINJA_LIST && value.as.list->kind <= JINJA_SEQ_RANGE &&
            place(&index, (int64_t)value.as.list->count))
            return value.as.list->items[index];
        if (value.type == JINJA_STRING) {
            const struct jinja_string *string = value.as.string;

            if (jinja_charge(run, string->size / 64) &&
                place(&index, (int64_t)jinja_code_points(string)))
                return jinja_slice_of(run, string, jinja_code_point_at(string, (size_t)index),
                                      jinja_code_point_at(string, (size_t)index + 1));
        }
        return jinja_undefined("the item");
    }
    if (key.type != JINJA_STRING)
        return jinja_undefined("the item");
    own = own_attribute(run, value, key.as.string);
    if (own.type != JINJA_MISSING)
        return own;
    return value.type == JINJA_NAMESPACE ? entry(run, value, key.as.string)
                                         : absent(run, key.as.string);
}

/* Python's slice.indices(): first index, step, number of items. */
static bool slice_indices(struct jinja_run *run, const struct jinja_value bounds[3], int64_t count,
                          int64_t *start, int64_t *stop, int64_t *step, int64_t *length)
{
    int64_t ends[2];

    for (int i = 0; i < 3; i++) {
        if (bounds[i].type != JINJA_NONE && bounds[i].type != JINJA_INT &&
            bounds[i].type != JINJA_BOOL) {
            jinja_fail(run, LLM_E_FORMAT, "slice indices must be integers or None");
            return false;
        }
    }
    *step = bounds[2].type == JINJA_NONE ? 1 : jinja_as_int(bounds[2]);
    if (*step == 0) {
        jinja_fail(run, LLM_E_FORMAT, "slice step cannot be zero");
        return false;
    }
    for (int i = 0; i < 2; i++) {
        int64_t low = *step < 0 ? -1 : 0;
        int64_t high = *step < 0 ? count - 1 : count;

        if (bounds[i].type == JINJA_NONE) {
            ends[i] = (i == 0) == (*step > 0) ? low : high;
            continue;
        }
        ends[i] = jinja_as_int(bounds[i]);
        if (ends[i] < 0)
            ends[i] += count;
        ends[i] = ends[i] < low ? low : ends[i] > high ? high : ends[i];
    }
    *start = ends[0];
    *stop = ends[1];
    if (*step > 0)
        *length = ends[1] > ends[0] ? (ends[1] - ends[0] - 1) / *step + 1 : 0;
    else
        *length = ends[0] > ends[1] ? (ends[1] - ends[0] + 1) / *step + 1 : 0;
    return true;
}

static struct jinja_value slice_string(struct jinja_run *run, const struct jinja_string *string,
                                       const struct jinja_value bounds[3])
{
    int64_t count = (int64_t)jinja_code_points(string);
    struct jinja_builder builder;
    int64_t start;
    int64_t stop;
    int64_t step;
    int64_t length;

    if (!jinja_charge(run, string->size / 16) ||
        !slice_indices(run, bounds, count, &start, &stop, &step, &length))
        return jinja_undefined(NULL);
    if (length == 0)
        return jinja_text(run, "");
    if (step == 1) {
        size_t begin = jinja_code_point_at(string, (size_t)start);
        size_t end = jinja_code_point_at(string, (size_t)(start + length));

        return jinja_slice_of(run, string, begin, end);
    }
    {
        struct jinja_value items =
            jinja_walk(run, (struct jinja_value){.type = JINJA_STRING, .as.string = string});

        jinja_builder_init(&builder, run);
        for (int64_t i = 0; i < length && !run->status; i++)
            jinja_build_string(&builder, items.as.list->items[start + i * step].as.string);
    }
    return jinja_built(&builder);
}

struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value,
                               const struct jinja_value bounds[3])
{
    const struct jinja_list *from;
    struct jinja_value list;
    int64_t start;
    int64_t stop;
    int64_t step;
    int64_t length;

    if (value.type == JINJA_STRING)
        return slice_string(run, value.as.string, bounds);
    if (value.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, value);
    if (value.type != JINJA_LIST || value.as.list->kind > JINJA_SEQ_RANGE)
        return jinja_undefined("the slice");
    if (!slice_indices(run, bounds, (int64_t)value.as.list->count, &start, &stop, &step, &length))
        return jinja_undefined(NULL);
    from = value.as.list;
    list = jinja_list_new(run, from->kind, (size_t)length);
    if (from->kind == JINJA_SEQ_RANGE && !run->status) {
        list.as.list->range[0] = from->range[0] + start * from->range[2];
        list.as.list->range[1] = from->range[0] + stop * from->range[2];
        list.as.list->range[2] = from->range[2] * step;
    }
    for (int64_t i = 0; i < length && !run->status; i++)
        jinja_list_add(run, list, from->items[start + i * step]);
    return list;
}

/* ---- loop --------------------------------------------------------------------------------------
 */

struct jinja_value jinja_loop_attribute(struct jinja_run *run, struct jinja_loop *loop,
                                        const char *name)
{
    int64_t index = (int64_t)loop->index;
    int64_t length = (int64_t)loop->items.as.list->count;

    (void)run;
    if (strcmp(name, "index") == 0)
        return jinja_int(index + 1);
    if (strcmp(name, "index0") == 0)
        return jinja_int(index);
    if (strcmp(name, "first") == 0)
        return jinja_bool(index == 0);
    if (strcmp(name, "last") == 0)
        return jinja_bool(index + 1 == length);
    if (strcmp(name, "length") == 0)
        return jinja_int(length);
    if (strcmp(name, "revindex") == 0)
        return jinja_int(length - index);
    if (strcmp(name, "revindex0") == 0)
        return jinja_int(length - index - 1);
    if (strcmp(name, "depth") == 0)
        return jinja_int(loop->depth + 1);
    if (strcmp(name, "depth0") == 0)
        return jinja_int(loop->depth);
    if (strcmp(name, "previtem") == 0)
        return index > 0 ? loop->previous : jinja_undefined("there is no previous item");
    if (strcmp(name, "nextitem") == 0)
        return loop->position < (size_t)length ? loop->items.as.list->items[loop->position]
                                               : jinja_undefined("there is no next item");
    return jinja_undefined(NULL);
}
