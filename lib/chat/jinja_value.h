/* SPDX-License-Identifier: MIT
 *
 * Values of the template language and what one rendering owns. Values live in an arena that dies
 * with the rendering; nothing is freed before. Every byte of a string is either the template's own
 * or input (came in with the messages): special tokens are only ever parsed from the former.
 *
 * Functions that can fail leave the reason in run->status and return undefined; the interpreter
 * looks after every step.
 */
#ifndef CHAT_JINJA_VALUE_H
#define CHAT_JINJA_VALUE_H

#include "base/arena.h"
#include "base/text.h"

#include <jansson.h>

enum jinja_type {
    JINJA_UNDEFINED, /* name: what was not there, or NULL */
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST, /* every sequence: enum jinja_sequence */
    JINJA_DICT,
    JINJA_NAMESPACE, /* dict */
    JINJA_MACRO,
    JINJA_LOOP,
    JINJA_METHOD,   /* of a value: object->self, extra: index into the methods */
    JINJA_FUNCTION, /* global; extra: index into the functions */
    JINJA_CYCLER,
    JINJA_JOINER,
    JINJA_MISSING /* no value at all: an empty variable, an argument not given */
};

enum jinja_sequence {
    JINJA_SEQ_LIST,
    JINJA_SEQ_TUPLE,
    JINJA_SEQ_RANGE,
    JINJA_SEQ_KEYS,
    JINJA_SEQ_VALUES,
    JINJA_SEQ_ITEMS,
    JINJA_SEQ_GENERATOR /* can be walked once, has no length */
};

enum jinja_trust { JINJA_TRUSTED, JINJA_INPUT, JINJA_MIXED };

struct jinja_string {
    const char *data; /* UTF-8, not NUL-terminated */
    size_t size;
    const unsigned char *marks; /* JINJA_MIXED: 1 for each byte of input */
    enum jinja_trust trust;
};

struct jinja_value {
    uint32_t type;
    uint32_t extra;
    union {
        const char *name;
        bool truth;
        int64_t integer;
        double real;
        const struct jinja_string *string;
        struct jinja_list *list;
        struct jinja_dict *dict;
        struct jinja_macro *macro;
        struct jinja_loop *loop;
        struct jinja_object *object;
    } as;
};

struct jinja_list {
    struct jinja_value *items;
    size_t count;
    size_t capacity;
    size_t start; /* generator: items before it are used up */
    enum jinja_sequence kind;
    int64_t range[3]; /* JINJA_SEQ_RANGE: start, stop, step */
};

struct jinja_entry {
    struct jinja_value key;
    struct jinja_value value;
    uint32_t hash;
};

struct jinja_dict {
    struct jinja_entry *entries; /* in the order of insertion */
    size_t count;
    size_t capacity;
};

/* The state behind a method, cycler or joiner. */
struct jinja_object {
    struct jinja_value self;
    size_t position;
};

struct jinja_limits {
    int64_t steps; /* instructions, and work of built-in functions in proportion */
    size_t memory; /* bytes of values */
    size_t output; /* bytes of text */
    int depth;     /* nested values, calls, loops */
};

struct jinja_run {
    struct arena *arena;
    struct jinja_limits left;
    llm_status status;
    int64_t now;    /* seconds since 1970 */
    bool local_now; /* in the machine's time zone; else UTC */
};

enum { JINJA_DEPTH = 100, JINJA_RANGE_MAX = 100000 };

/* ---- failure, budgets, memory ---- */

/* The first failure stays. Returns undefined, to be returned. */
struct jinja_value jinja_fail(struct jinja_run *run, llm_status status, const char *format, ...)
    PRINTF_LIKE(3, 4);
bool jinja_charge(struct jinja_run *run, size_t work); /* false: the budget is used up */
void *jinja_alloc(struct jinja_run *run, size_t size); /* NULL: failed */

/* ---- making values ---- */

static inline struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.type = JINJA_NONE};
}
static inline struct jinja_value jinja_undefined(const char *name)
{
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.name = name};
}
static inline struct jinja_value jinja_bool(bool truth)
{
    return (struct jinja_value){.type = JINJA_BOOL, .as.truth = truth};
}
static inline struct jinja_value jinja_int(int64_t integer)
{
    return (struct jinja_value){.type = JINJA_INT, .as.integer = integer};
}
static inline struct jinja_value jinja_float(double real)
{
    return (struct jinja_value){.type = JINJA_FLOAT, .as.real = real};
}

/* `data` is kept, not copied. */
struct jinja_value jinja_string_of(struct jinja_run *run, const char *data, size_t size,
                                   enum jinja_trust trust);
struct jinja_value jinja_text(struct jinja_run *run, const char *literal); /* static text */
struct jinja_value jinja_slice_of(struct jinja_run *run, const struct jinja_string *string,
                                  size_t begin, size_t end); /* bytes; shares the data */
struct jinja_value jinja_list_new(struct jinja_run *run, enum jinja_sequence kind, size_t capacity);
bool jinja_list_add(struct jinja_run *run, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_dict_new(struct jinja_run *run, size_t capacity);
bool jinja_dict_put(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value);
/* The value, or NULL. */
struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *dict,
                                    struct jinja_value key);
struct jinja_value *jinja_dict_find_z(struct jinja_run *run, const struct jinja_dict *dict,
                                      const char *key);
struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_object_new(struct jinja_run *run, enum jinja_type type, uint32_t extra,
                                    struct jinja_value self);

/* A copy of a JSON tree; its strings are `trust`, keys too. */
struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json,
                                   enum jinja_trust trust);

/* ---- strings that grow ---- */

struct jinja_builder {
    struct jinja_run *run;
    char *data;
    unsigned char *marks; /* NULL: all bytes are `trust` */
    size_t size;
    size_t capacity;
    enum jinja_trust trust;
};
void jinja_builder_init(struct jinja_builder *builder, struct jinja_run *run);
void jinja_build(struct jinja_builder *builder, const char *data, size_t size,
                 enum jinja_trust trust);
void jinja_build_z(struct jinja_builder *builder, const char *literal); /* trusted */
void jinja_build_string(struct jinja_builder *builder, const struct jinja_string *string);
void jinja_build_slice(struct jinja_builder *builder, const struct jinja_string *string,
                       size_t begin, size_t end);
struct jinja_value jinja_built(struct jinja_builder *builder);
/* Whether the byte at `index` is input. */
static inline enum jinja_trust jinja_trust_at(const struct jinja_string *string, size_t index)
{
    if (string->trust == JINJA_MIXED)
        return string->marks[index] ? JINJA_INPUT : JINJA_TRUSTED;
    return string->trust;
}

/* ---- looking at values ---- */

const char *jinja_type_name(struct jinja_value value); /* as Python names it */
bool jinja_is_number(struct jinja_value value);        /* bool, int or float */
double jinja_as_double(struct jinja_value value);
int64_t jinja_as_int(struct jinja_value value); /* of a bool or int */
bool jinja_true(struct jinja_value value);
bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
/* < 0, 0, > 0; fails for types without order. */
int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b, const char *op);
bool jinja_is_text(struct jinja_value value, const char *literal);
struct jinja_value jinja_length(struct jinja_run *run, struct jinja_value value);
size_t jinja_code_points(const struct jinja_string *string);
/* Byte position of code point `index`, at most size. */
size_t jinja_code_point_at(const struct jinja_string *string, size_t index);

/* The items of anything that can be walked, as a sequence; a generator is used up by it. */
struct jinja_value jinja_walk(struct jinja_run *run, struct jinja_value value);

/* Python's str() and repr(), and json.dumps(). */
struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value);
void jinja_build_str(struct jinja_builder *builder, struct jinja_value value);
void jinja_build_repr(struct jinja_builder *builder, struct jinja_value value);
struct jinja_json_style {
    const char *item_separator;
    const char *key_separator;
    struct jinja_value indent; /* none, int or string */
    bool ascii;
    bool sort_keys;
};
void jinja_build_json(struct jinja_builder *builder, struct jinja_value value,
                      const struct jinja_json_style *style);

#endif
