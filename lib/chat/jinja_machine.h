/* SPDX-License-Identifier: MIT
 *
 * The state of the stack machine, shared by its instructions (jinja_run.c) and its loops and calls
 * (jinja_calls.c).
 */
#ifndef CHAT_JINJA_MACHINE_H
#define CHAT_JINJA_MACHINE_H

#include "chat/jinja_builtins.h"

struct frame {
    int32_t back; /* instruction to return to */
    size_t variables, scopes, loops, captures, stack, base;
};

struct machine {
    struct jinja_run *run;
    const struct jinja_program *program;
    struct jinja_value *globals;
    struct jinja_value *stack;
    size_t count, capacity;
    struct jinja_variable *variables;
    size_t variable_count, variable_capacity;
    size_t base; /* variables of the running frame begin here */
    size_t *scopes;
    size_t scope_count, scope_capacity;
    struct jinja_loop **loops;
    size_t loop_count, loop_capacity;
    struct jinja_builder *captures;
    size_t capture_count, capture_capacity;
    struct frame *frames;
    size_t frame_count, frame_capacity;
    struct jinja_result *result;
    int32_t pc;
    int32_t at;        /* the running instruction, for messages */
    int32_t loop_name; /* of "loop"; -1: the template does not use it */
};

/* The stack of values. */
void machine_push(struct machine *m, struct jinja_value value);
struct jinja_value machine_pop(struct machine *m);
struct jinja_value *machine_top(struct machine *m, size_t count); /* the `count` on top; or NULL */

/* Variables and output. */
void machine_add_variable(struct machine *m, int32_t name, struct jinja_value value);
void machine_scope_begin(struct machine *m);
void machine_scope_end(struct machine *m);
void machine_capture_begin(struct machine *m);
struct jinja_value machine_capture_end(struct machine *m);

/* Loops: see the instructions of the same names. */
struct jinja_loop *machine_loop(struct machine *m); /* the innermost; NULL after failing */
void machine_for_begin(struct machine *m, const struct jinja_instruction *in);
bool machine_for_next(struct machine *m); /* true: an item was pushed */
bool machine_for_test(struct machine *m); /* true: the item is for the body, now */
void machine_for_enter(struct machine *m);
void machine_for_end(struct machine *m);

/* Calls. A new frame goes on at `entry`; its output is captured until it returns. */
bool machine_enter(struct machine *m, int32_t entry, size_t base);
void machine_leave(struct machine *m);
struct jinja_value machine_make_macro(struct machine *m, int32_t index);
void machine_call(struct machine *m, const struct jinja_site *site);
void machine_call_named(struct machine *m, const struct jinja_site *site, bool is_test);

#endif
