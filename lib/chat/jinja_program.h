/* SPDX-License-Identifier: MIT
 *
 * A compiled template: instructions for a stack machine. The compiler writes them in one pass over
 * the tokens; jumps are relative, so that a piece of code can be moved. Nesting in the template is
 * nesting of blocks of code, not of C calls: what runs them (jinja_run.c) never recurses.
 */
#ifndef CHAT_JINJA_PROGRAM_H
#define CHAT_JINJA_PROGRAM_H

#include "chat/jinja_value.h"

enum jinja_op {
    JINJA_OP_CONST, /* push constant a */
    JINJA_OP_LOAD,  /* push the variable of name a */
    JINJA_OP_STORE, /* pop into the variable of name a, in the innermost scope */
    JINJA_OP_POP,   /* drop the top */
    JINJA_OP_SWAP,  /* exchange the two on top */
    JINJA_OP_TEXT,  /* write constant a */
    JINJA_OP_PRINT, /* pop and write */
    JINJA_OP_LIST,  /* pop a items, push a list */
    JINJA_OP_TUPLE,
    JINJA_OP_DICT,          /* pop a pairs */
    JINJA_OP_ATTRIBUTE,     /* x.name */
    JINJA_OP_ITEM,          /* x[y] */
    JINJA_OP_SLICE,         /* x[start:stop:step] */
    JINJA_OP_SET_ATTRIBUTE, /* pop namespace and value: namespace.name = value */
    JINJA_OP_UNPACK,        /* pop a sequence of exactly a items, push them, first on top */
    JINJA_OP_NOT,
    JINJA_OP_NEGATE,
    JINJA_OP_POSITIVE,
    JINJA_OP_ADD, /* binary operators, in the order of enum jinja_operator */
    JINJA_OP_SUB,
    JINJA_OP_MUL,
    JINJA_OP_DIV,
    JINJA_OP_FLOORDIV,
    JINJA_OP_MOD,
    JINJA_OP_POW,
    JINJA_OP_EQ, /* comparisons; n: push the right operand below the result (a chain goes on) */
    JINJA_OP_NE,
    JINJA_OP_LT,
    JINJA_OP_LE,
    JINJA_OP_GT,
    JINJA_OP_GE,
    JINJA_OP_IN,
    JINJA_OP_NOT_IN,
    JINJA_OP_CONCAT,          /* pop a values, push their texts joined */
    JINJA_OP_JUMP,            /* by a */
    JINJA_OP_JUMP_FALSE,      /* pop; by a if false */
    JINJA_OP_JUMP_FALSE_KEEP, /* by a if false, else pop */
    JINJA_OP_JUMP_TRUE_KEEP,
    JINJA_OP_FILTER, /* call site a */
    JINJA_OP_TEST,
    JINJA_OP_CALL,
    JINJA_OP_FOR_BEGIN, /* pop what to walk; n: JINJA_LOOP_* */
    JINJA_OP_FOR_NEXT,  /* push the next item, or by a */
    JINJA_OP_FOR_SKIP,  /* by a if the loop's condition has been looked at already */
    JINJA_OP_FOR_TEST,  /* pop the condition; by a if the item is not for the body */
    JINJA_OP_FOR_ENTER, /* the body begins */
    JINJA_OP_FOR_DONE,  /* the body came to its end */
    JINJA_OP_FOR_END,   /* push whether the body has come to its end once */
    JINJA_OP_SCOPE_BEGIN,
    JINJA_OP_SCOPE_END,
    JINJA_OP_CAPTURE_BEGIN, /* output goes into a string */
    JINJA_OP_CAPTURE_END,   /* push it */
    JINJA_OP_SPAN_BEGIN,    /* {% generation %} */
    JINJA_OP_SPAN_END,
    JINJA_OP_MACRO,   /* push macro a */
    JINJA_OP_DEFAULT, /* pass the next instruction by unless argument a was given */
    JINJA_OP_RECURSE, /* pop what to walk, run the loop function at a, push its text */
    JINJA_OP_RETURN,  /* from a macro or loop function, with the captured text */
    JINJA_OP_END
};

enum { JINJA_LOOP_TESTED = 1, JINJA_LOOP_AHEAD = 2, JINJA_LOOP_RECURSIVE = 4 };

struct jinja_instruction {
    uint16_t op;
    uint16_t n;
    int32_t a;
    uint32_t line;
};

/* A call in the text: what is called, and the shape of its arguments. */
struct jinja_site {
    const struct jinja_string *name; /* filter, test */
    int32_t builtin;                 /* its index, -1: unknown */
    uint32_t positional;
    uint32_t keywords;
    bool spread_list, spread_dict;     /* then *values and **values lie on top */
    const struct jinja_string **names; /* of the keywords, which follow the positional ones */
};

struct jinja_macro_code {
    int32_t name; /* -1: none */
    int32_t entry;
    uint32_t count;    /* of arguments */
    uint32_t required; /* the others have defaults */
    int32_t *names;
    int32_t caller, varargs, kwargs; /* names, if the body asks for them; else -1 */
};

struct jinja_program {
    struct memory *memory;
    struct arena arena; /* names, strings, argument lists */
    struct jinja_instruction *code;
    size_t count, capacity;
    struct jinja_value *constants;
    size_t constant_count, constant_capacity;
    const struct jinja_string **names;
    size_t name_count, name_capacity;
    struct jinja_site *sites;
    size_t site_count, site_capacity;
    struct jinja_macro_code *macros;
    size_t macro_count, macro_capacity;
    bool has_spans; /* {% generation %} occurs */
};

enum { JINJA_SOURCE_MAX = 1 << 20, JINJA_NESTING = 100 };

/* LLM_E_FORMAT names the line of a syntax error; LLM_E_UNSUPPORTED a part of Jinja that is not
 * there; LLM_E_RANGE: too long or nested too deeply. */
llm_status jinja_compile(struct jinja_program *program, struct memory *memory, const char *text,
                         size_t size);
void jinja_program_free(struct jinja_program *program); /* a zeroed one is fine */

#endif
