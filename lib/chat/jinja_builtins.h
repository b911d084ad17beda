/* SPDX-License-Identifier: MIT
 *
 * What templates can call: filters, tests, methods of values, global functions. Each is one row of
 * a table: name, parameters, function. The arguments of a call are matched with the parameters by
 * jinja_call_builtin(); `argv` holds one value for each, JINJA_MISSING where none was given.
 */
#ifndef CHAT_JINJA_BUILTINS_H
#define CHAT_JINJA_BUILTINS_H

#include "chat/jinja_interpreter.h"

/* Arguments as they stand in the template: positional values, then those with names. */
struct jinja_arguments {
    const struct jinja_value *values;
    size_t positional;
    size_t keywords;
    const struct jinja_string *const *names;
};

struct jinja_builtin {
    const char *name;
    const char *parameters; /* "a,b=,c=": = may be left out; "*": `args` is looked at instead */
    struct jinja_value (*call)(struct jinja_run *run, struct jinja_value self,
                               const struct jinja_value *argv, const struct jinja_arguments *args);
};

enum { JINJA_MOST_PARAMETERS = 8 };

extern const struct jinja_builtin jinja_string_filters[]; /* tables end with a NULL name */
extern const struct jinja_builtin jinja_sequence_filters[];
extern const struct jinja_builtin jinja_value_filters[];
extern const struct jinja_builtin jinja_tests[];
extern const struct jinja_builtin jinja_string_methods[];
extern const struct jinja_builtin jinja_container_methods[];
extern const struct jinja_builtin jinja_functions[];

/* Index for the calls below, or -1. */
int32_t jinja_find_filter(const char *name, size_t size);
int32_t jinja_find_test(const char *name, size_t size);
int32_t jinja_find_function(const char *name, size_t size);
int32_t jinja_find_method(struct jinja_value self, const char *name, size_t size);

struct jinja_value jinja_call_filter(struct jinja_run *run, int32_t index,
                                     const struct jinja_string *name, struct jinja_value self,
                                     const struct jinja_arguments *args);
bool jinja_call_test(struct jinja_run *run, int32_t index, const struct jinja_string *name,
                     struct jinja_value self, const struct jinja_arguments *args);
struct jinja_value jinja_call_function(struct jinja_run *run, uint32_t index,
                                       const struct jinja_arguments *args);
/* `value`: a method or joiner. */
struct jinja_value jinja_call_object(struct jinja_run *run, struct jinja_value value,
                                     const struct jinja_arguments *args);

/* For functions: an argument, or what stands for it. */
static inline bool jinja_given(struct jinja_value value)
{
    return value.type != JINJA_MISSING;
}
/* Fails unless an integer (or bool) was given. */
int64_t jinja_int_argument(struct jinja_run *run, struct jinja_value value, int64_t otherwise);
bool jinja_bool_argument(struct jinja_value value, bool otherwise);
/* The string, or NULL after failing. */
const struct jinja_string *jinja_string_argument(struct jinja_run *run, struct jinja_value value);

/* Strings, shared by filters, methods and operators (jinja_strings.c). */
struct jinja_value jinja_strip(struct jinja_run *run, const struct jinja_string *string,
                               const struct jinja_string *characters,
                               int sides); /* 1 left, 2 right */
struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_string *string,
                                 const struct jinja_string *old, const struct jinja_string *fresh,
                                 int64_t count); /* < 0: all */
size_t jinja_find_bytes(const struct jinja_string *string, const struct jinja_string *needle,
                        size_t from); /* SIZE_MAX: not there */
size_t jinja_find_last(const struct jinja_string *string, const struct jinja_string *needle,
                       size_t end); /* the last that ends at or before `end` */
enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_CAPITALIZE, JINJA_TITLE, JINJA_SWAPCASE };
struct jinja_value jinja_change_case(struct jinja_run *run, const struct jinja_string *string,
                                     enum jinja_case how);
/* The code point at byte `position`; *size its bytes. And the start of the one that ends there. */
uint32_t jinja_code_point(const struct jinja_string *string, size_t position, size_t *size);
size_t jinja_before(const struct jinja_string *string, size_t position);
bool jinja_is_cased(uint32_t c); /* upper, lower or title case */
bool jinja_is_white(uint32_t c); /* Python's str.isspace() of a character */

/* "..." % values, and "...".format() (jinja_format.c). */
struct jinja_value jinja_format_percent(struct jinja_run *run, const struct jinja_string *format,
                                        struct jinja_value values);
struct jinja_value jinja_format_braces(struct jinja_run *run, const struct jinja_string *format,
                                       const struct jinja_arguments *args);
struct jinja_value jinja_strftime(struct jinja_run *run, const struct jinja_string *format);

#endif
