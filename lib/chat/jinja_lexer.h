/* SPDX-License-Identifier: MIT
 *
 * Template text to tokens, as Jinja's lexer does with trim_blocks and lstrip_blocks: the first
 * newline after a block tag goes, and so do blanks between the start of a line and a block tag.
 */
#ifndef CHAT_JINJA_LEXER_H
#define CHAT_JINJA_LEXER_H

#include "base/arena.h"

enum jinja_token_type {
    JINJA_T_END,
    JINJA_T_DATA,
    JINJA_T_BLOCK_BEGIN,
    JINJA_T_BLOCK_END,
    JINJA_T_PRINT_BEGIN,
    JINJA_T_PRINT_END,
    JINJA_T_NAME,
    JINJA_T_STRING,
    JINJA_T_INTEGER,
    JINJA_T_FLOAT,
    JINJA_T_FLOORDIV, /* the rest are operators, see the table in jinja_lexer.c */
    JINJA_T_POW,
    JINJA_T_EQ,
    JINJA_T_NE,
    JINJA_T_GE,
    JINJA_T_LE,
    JINJA_T_GT,
    JINJA_T_LT,
    JINJA_T_ASSIGN,
    JINJA_T_ADD,
    JINJA_T_SUB,
    JINJA_T_DIV,
    JINJA_T_MUL,
    JINJA_T_MOD,
    JINJA_T_TILDE,
    JINJA_T_LBRACKET,
    JINJA_T_RBRACKET,
    JINJA_T_LPAREN,
    JINJA_T_RPAREN,
    JINJA_T_LBRACE,
    JINJA_T_RBRACE,
    JINJA_T_DOT,
    JINJA_T_COLON,
    JINJA_T_PIPE,
    JINJA_T_COMMA,
    JINJA_T_SEMICOLON
};

struct jinja_token {
    enum jinja_token_type type;
    uint32_t line;    /* from 1 */
    const char *text; /* DATA, NAME, STRING (escapes resolved): bytes in the arena */
    size_t size;
    union {
        int64_t integer;
        double real;
    } as;
};

/* All tokens of `text`, ending with JINJA_T_END, in the arena. */
llm_status jinja_lex(struct jinja_token **tokens_out, size_t *count_out, struct arena *arena,
                     const char *text, size_t size);

#endif
