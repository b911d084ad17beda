/* SPDX-License-Identifier: MIT
 *
 * Running a compiled template. What happens to values lies in jinja_operators.c, what is built in
 * in jinja_builtins.h.
 */
#ifndef CHAT_JINJA_INTERPRETER_H
#define CHAT_JINJA_INTERPRETER_H

#include "chat/jinja_program.h"

/* A loop that runs, and what {{ loop }} is. */
struct jinja_loop {
    struct jinja_value items; /* a sequence */
    struct jinja_value kept;  /* looking ahead: those that passed the condition */
    size_t position;          /* next item */
    size_t index;             /* of the item in the body, from 0 */
    struct jinja_value previous, current;
    struct jinja_value changed; /* arguments of the last loop.changed() */
    int32_t begin;              /* its FOR_BEGIN */
    int32_t depth;
    uint16_t flags; /* JINJA_LOOP_* */
    bool collecting, entered, completed;
    size_t scopes, captures, stack; /* how much there was when it began */
};

struct jinja_variable {
    int32_t name;
    struct jinja_value value;
};

struct jinja_macro {
    const struct jinja_macro_code *code;
    const struct jinja_program *program;
    struct jinja_variable *closure; /* the variables around its definition */
    size_t closure_count;
};

/* A range of bytes of the output. */
struct jinja_span {
    size_t begin, end;
};

struct jinja_result {
    struct jinja_builder output;
    struct jinja_span *spans; /* {% generation %}, in order */
    size_t span_count, span_capacity;
};

/* Run `program`; run->arena keeps the result. */
llm_status jinja_execute(struct jinja_run *run, const struct jinja_program *program,
                         const struct jinja_dict *variables, struct jinja_result *result);

/* "'name' is undefined". */
struct jinja_value jinja_fail_undefined(struct jinja_run *run, struct jinja_value value);
bool jinja_grow(struct jinja_run *run, void **array, size_t *capacity, size_t needed, size_t size);

/* Operators. */
struct jinja_value jinja_binary(struct jinja_run *run, enum jinja_op op, struct jinja_value a,
                                struct jinja_value b);
struct jinja_value jinja_negate(struct jinja_run *run, struct jinja_value value);
struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value,
                                   const struct jinja_string *name);
struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value,
                              struct jinja_value key);
struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value,
                               const struct jinja_value bounds[3]);
bool jinja_contains(struct jinja_run *run, struct jinja_value container, struct jinja_value item);
struct jinja_value jinja_loop_attribute(struct jinja_run *run, struct jinja_loop *loop,
                                        const char *name);

#endif
