/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the compiler share: statements (jinja_statements.c) and expressions
 * (jinja_expressions.c). After the first failure the functions do nothing. C recursion follows the
 * nesting of the template and is bounded by JINJA_NESTING.
 */
#ifndef CHAT_JINJA_COMPILER_H
#define CHAT_JINJA_COMPILER_H

#include "base/map.h"
#include "chat/jinja_lexer.h"
#include "chat/jinja_program.h"

struct jinja_for { /* the loop whose body is being compiled */
    struct jinja_for *outer;
    int32_t next;   /* its FOR_NEXT */
    int32_t breaks; /* last jump to its end, linked through `a`; -1: none */
    bool ahead;     /* the body looks at what lies ahead: loop.last, loop.length */
};

struct jinja_compiler {
    struct jinja_program *program;
    struct map names;                /* index of each name */
    const struct jinja_token *token; /* the current one; never past JINJA_T_END */
    int depth;
    struct jinja_for *loop;
    struct jinja_macro_code *macro; /* being compiled: which special names it asks for */
    llm_status status;
};

void jinja_compile_error(struct jinja_compiler *c, llm_status status, const char *format, ...)
    PRINTF_LIKE(3, 4);
bool jinja_enter(struct jinja_compiler *c); /* one level deeper; false: too deep or failed */
static inline void jinja_leave(struct jinja_compiler *c)
{
    c->depth--;
}

/* Emitting; the index of the instruction. */
int32_t jinja_emit(struct jinja_compiler *c, enum jinja_op op, uint32_t n, int32_t a);
static inline int32_t jinja_here(const struct jinja_compiler *c)
{
    return (int32_t)c->program->count;
}
/* The jump at `index` leads to `target`. */
void jinja_patch(struct jinja_compiler *c, int32_t index, int32_t target);
int32_t jinja_constant(struct jinja_compiler *c, struct jinja_value value);
int32_t jinja_string_constant(struct jinja_compiler *c, const char *data, size_t size);
int32_t jinja_name(struct jinja_compiler *c, const char *data, size_t size);
int32_t jinja_add_site(struct jinja_compiler *c, struct jinja_site site);

/* Tokens. */
bool jinja_at_name(const struct jinja_compiler *c, const char *name);
bool jinja_accept(struct jinja_compiler *c, enum jinja_token_type type);
bool jinja_accept_name(struct jinja_compiler *c, const char *name);
void jinja_expect(struct jinja_compiler *c, enum jinja_token_type type, const char *what);
void jinja_advance(struct jinja_compiler *c);

/* Expressions: code that leaves one value. */
enum { JINJA_NO_CONDITION = 1 }; /* `if` does not belong to the expression */
void jinja_expression(struct jinja_compiler *c, unsigned flags);
void jinja_expression_list(struct jinja_compiler *c, unsigned flags); /* a, b is a tuple */
void jinja_filters_inline(struct jinja_compiler *c); /* name(args) | name ..., on the top value */

#endif
