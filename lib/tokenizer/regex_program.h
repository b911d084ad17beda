/* SPDX-License-Identifier: MIT
 *
 * Between the two halves of the regular expressions: regex_parse.c turns a pattern into sets of
 * characters and a program; regex.c turns the program into an automaton. Jumps are relative, so
 * that code can be moved and copied.
 */
#ifndef TOKENIZER_REGEX_PROGRAM_H
#define TOKENIZER_REGEX_PROGRAM_H

#include "base/memory.h"

#include <stdbool.h>

enum { REGEX_MAX_CODE = 4096, REGEX_MAX_SETS = 64, REGEX_MAX_ITEMS = 4096 };

/* A set is a little program of its own: items and operations on a stack, from `first` on. */
enum set_op {
    SET_RANGE,      /* low..high */
    SET_CATEGORIES, /* bits of `low` by general category */
    SET_WORD,       /* \w */
    SET_OR,
    SET_AND,
    SET_NOT
};

struct set_item {
    enum set_op op;
    uint32_t low;
    uint32_t high;
};

struct set {
    uint32_t first;
    uint32_t count;
};

enum code_op {
    CODE_SET,   /* one character of the set `x` */
    CODE_SPLIT, /* try x first, then y */
    CODE_JUMP,
    CODE_AHEAD,     /* the next character is of the set x; y 1: or the text ends */
    CODE_NOT_AHEAD, /* the next character is not of the set x */
    CODE_END,       /* the text ends */
    CODE_MATCH
};

struct code {
    enum code_op op;
    int32_t x;
    int32_t y;
};

struct regex_program {
    struct memory *memory;
    struct set_item *items;
    size_t item_count;
    size_t item_capacity;
    struct set sets[REGEX_MAX_SETS];
    size_t set_count;
    struct code *code;
    size_t code_count;
    size_t code_capacity;
};

llm_status regex_parse(struct regex_program *program, struct memory *memory, const char *pattern,
                       size_t size);
void regex_program_free(struct regex_program *program);

/* Does a set hold `c`, whose general category and membership in \w are given? */
bool regex_set_holds(const struct regex_program *program, size_t set, uint32_t c, unsigned category,
                     bool word);

#endif
