/* SPDX-License-Identifier: MIT
 *
 * Expressions, in Jinja's order of precedence: a if b else c, or, and, not, comparisons, + -, ~,
 * * / // %, **, unary - +, then postfix, filters and tests.
 */
#include "chat/jinja_builtins.h"
#include "chat/jinja_compiler.h"

#include <string.h>

static void negation(struct jinja_compiler *c);
static void unary(struct jinja_compiler *c, bool with_filter);

/* ---- calls -------------------------------------------------------------------------------------
 */

enum { MOST_KEYWORDS = 64 };

static void keyword(struct jinja_compiler *c, struct jinja_site *site,
                    const struct jinja_string **names)
{
    int32_t name = jinja_name(c, c->token->text, c->token->size);

    if (site->keywords == MOST_KEYWORDS) {
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "more than %d keyword arguments", MOST_KEYWORDS);
        return;
    }
    jinja_advance(c);
    jinja_advance(c);
    jinja_expression(c, 0);
    if (!c->status)
        names[site->keywords++] = c->program->names[name];
}

/* One argument: a, name=a, *a or **a. */
static void argument(struct jinja_compiler *c, struct jinja_site *site,
                     const struct jinja_string **names)
{
    if (site->spread_dict) {
        jinja_compile_error(c, LLM_E_FORMAT, "an argument behind **");
    } else if (jinja_accept(c, JINJA_T_POW)) {
        jinja_expression(c, 0);
        site->spread_dict = true;
    } else if (jinja_accept(c, JINJA_T_MUL)) {
        if (site->spread_list || site->keywords)
            jinja_compile_error(c, LLM_E_UNSUPPORTED, "* behind other arguments than plain ones");
        jinja_expression(c, 0);
        site->spread_list = true;
    } else if (c->token->type == JINJA_T_NAME && c->token[1].type == JINJA_T_ASSIGN) {
        if (site->spread_list)
            jinja_compile_error(c, LLM_E_UNSUPPORTED, "an argument with a name behind *");
        keyword(c, site, names);
    } else {
        if (site->keywords || site->spread_list)
            jinja_compile_error(c, LLM_E_FORMAT, "an argument without name after one with a name");
        jinja_expression(c, 0);
        site->positional++;
    }
}

/* (a, b, name=c, *d, **e): code for the values; the site without name. */
static struct jinja_site arguments(struct jinja_compiler *c)
{
    const struct jinja_string *names[MOST_KEYWORDS];
    struct jinja_site site = {.builtin = -1};
    bool more = false;

    jinja_expect(c, JINJA_T_LPAREN, "(");
    while (!c->status && c->token->type != JINJA_T_RPAREN) {
        if (more)
            jinja_expect(c, JINJA_T_COMMA, ",");
        if (c->token->type == JINJA_T_RPAREN)
            break;
        argument(c, &site, names);
        more = true;
    }
    jinja_expect(c, JINJA_T_RPAREN, ")");
    if (!c->status && site.keywords) {
        site.names = arena_alloc(&c->program->arena, site.keywords * sizeof *names);
        if (site.names)
            memcpy(site.names, names, site.keywords * sizeof *names);
        else
            c->status = LLM_E_NOMEM;
    }
    return site;
}

static const struct jinja_string *dotted_name(struct jinja_compiler *c)
{
    const struct jinja_token *first = c->token;
    int32_t name = -1;

    if (first->type == JINJA_T_NAME)
        name = jinja_name(c, first->text, first->size);
    jinja_expect(c, JINJA_T_NAME, "a name");
    if (c->token->type == JINJA_T_DOT)
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "filters and tests with a dot in their name");
    return c->status ? NULL : c->program->names[name];
}

static void filter(struct jinja_compiler *c)
{
    const struct jinja_string *name = dotted_name(c);
    struct jinja_site site = {0};

    if (c->token->type == JINJA_T_LPAREN)
        site = arguments(c);
    if (c->status)
        return;
    site.name = name;
    site.builtin = jinja_find_filter(name->data, name->size);
    jinja_emit(c, JINJA_OP_FILTER, 0, jinja_add_site(c, site));
}

void jinja_filters_inline(struct jinja_compiler *c)
{
    do {
        filter(c);
    } while (!c->status && jinja_accept(c, JINJA_T_PIPE));
}

/* ---- primaries ---------------------------------------------------------------------------------
 */

static bool list_ends(const struct jinja_compiler *c)
{
    return c->token->type == JINJA_T_PRINT_END || c->token->type == JINJA_T_BLOCK_END ||
           c->token->type == JINJA_T_RPAREN || jinja_at_name(c, "recursive");
}

/* Items up to the end of a tuple; true if there was a comma. */
static bool tuple_items(struct jinja_compiler *c, unsigned flags, int32_t *count)
{
    bool comma = false;

    for (*count = 0; !c->status && !list_ends(c); (*count)++) {
        jinja_expression(c, flags);
        if (!jinja_accept(c, JINJA_T_COMMA)) {
            (*count)++;
            break;
        }
        comma = true;
    }
    return comma;
}

void jinja_expression_list(struct jinja_compiler *c, unsigned flags)
{
    int32_t count;
    bool comma = tuple_items(c, flags, &count);

    if (comma)
        jinja_emit(c, JINJA_OP_TUPLE, 0, count);
    else if (count == 0)
        jinja_compile_error(c, LLM_E_FORMAT, "an expression is missing");
}

static void parenthesis(struct jinja_compiler *c)
{
    int32_t count;

    if (tuple_items(c, 0, &count) || count == 0)
        jinja_emit(c, JINJA_OP_TUPLE, 0, count);
    jinja_expect(c, JINJA_T_RPAREN, ")");
}

static void list(struct jinja_compiler *c)
{
    int32_t count = 0;

    while (!c->status && c->token->type != JINJA_T_RBRACKET) {
        if (count)
            jinja_expect(c, JINJA_T_COMMA, ",");
        if (c->token->type == JINJA_T_RBRACKET)
            break;
        jinja_expression(c, 0);
        count++;
    }
    jinja_expect(c, JINJA_T_RBRACKET, "]");
    jinja_emit(c, JINJA_OP_LIST, 0, count);
}

static void dict(struct jinja_compiler *c)
{
    int32_t count = 0;

    while (!c->status && c->token->type != JINJA_T_RBRACE) {
        if (count)
            jinja_expect(c, JINJA_T_COMMA, ",");
        if (c->token->type == JINJA_T_RBRACE)
            break;
        jinja_expression(c, 0);
        jinja_expect(c, JINJA_T_COLON, ":");
        jinja_expression(c, 0);
        count++;
    }
    jinja_expect(c, JINJA_T_RBRACE, "}");
    jinja_emit(c, JINJA_OP_DICT, 0, count);
}

static void push(struct jinja_compiler *c, struct jinja_value value)
{
    jinja_emit(c, JINJA_OP_CONST, 0, jinja_constant(c, value));
}

/* "a" "b" is one string. */
static void strings(struct jinja_compiler *c)
{
    const struct jinja_token *first = c->token;
    size_t size = 0;
    char *joined;

    for (; c->token->type == JINJA_T_STRING; jinja_advance(c))
        size += c->token->size;
    if (c->token == first + 1) {
        jinja_emit(c, JINJA_OP_CONST, 0, jinja_string_constant(c, first->text, first->size));
        return;
    }
    joined = arena_alloc(&c->program->arena, size + 1);
    if (!joined) {
        c->status = LLM_E_NOMEM;
        return;
    }
    size = 0;
    for (const struct jinja_token *token = first; token < c->token; token++) {
        memcpy(joined + size, token->text, token->size);
        size += token->size;
    }
    jinja_emit(c, JINJA_OP_CONST, 0, jinja_string_constant(c, joined, size));
}

/* `loop.first` needs no look ahead, `loop.last` and a bare `loop` do. */
static void watch_loop(struct jinja_compiler *c)
{
    static const char *const behind[] = {"index",    "index0", "first",   "depth", "depth0",
                                         "previtem", "cycle",  "changed", NULL};

    if (!c->loop || c->loop->ahead)
        return;
    c->loop->ahead = true;
    for (const char *const *name = behind; *name && c->token->type == JINJA_T_DOT; name++) {
        if (c->token[1].type == JINJA_T_NAME && c->token[1].size == strlen(*name) &&
            memcmp(c->token[1].text, *name, c->token[1].size) == 0)
            c->loop->ahead = false;
    }
}

static void name(struct jinja_compiler *c)
{
    static const struct {
        const char *name;
        uint32_t type;
        bool truth;
    } constants[] = {{"true", JINJA_BOOL, true},   {"True", JINJA_BOOL, true},
                     {"false", JINJA_BOOL, false}, {"False", JINJA_BOOL, false},
                     {"none", JINJA_NONE, false},  {"None", JINJA_NONE, false}};
    int32_t index;

    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (jinja_accept_name(c, constants[i].name)) {
            push(c,
                 constants[i].type == JINJA_BOOL ? jinja_bool(constants[i].truth) : jinja_none());
            return;
        }
    }
    index = jinja_name(c, c->token->text, c->token->size);
    if (c->macro) {
        c->macro->caller = jinja_at_name(c, "caller") ? index : c->macro->caller;
        c->macro->varargs = jinja_at_name(c, "varargs") ? index : c->macro->varargs;
        c->macro->kwargs = jinja_at_name(c, "kwargs") ? index : c->macro->kwargs;
    }
    if (jinja_accept_name(c, "loop"))
        watch_loop(c);
    else
        jinja_advance(c);
    jinja_emit(c, JINJA_OP_LOAD, 0, index);
}

static void primary(struct jinja_compiler *c)
{
    switch (c->token->type) {
    case JINJA_T_NAME:
        name(c);
        break;
    case JINJA_T_STRING:
        strings(c);
        break;
    case JINJA_T_INTEGER:
        push(c, jinja_int(c->token->as.integer));
        jinja_advance(c);
        break;
    case JINJA_T_FLOAT:
        push(c, jinja_float(c->token->as.real));
        jinja_advance(c);
        break;
    case JINJA_T_LPAREN:
        jinja_advance(c);
        parenthesis(c);
        break;
    case JINJA_T_LBRACKET:
        jinja_advance(c);
        list(c);
        break;
    case JINJA_T_LBRACE:
        jinja_advance(c);
        dict(c);
        break;
    default:
        jinja_compile_error(c, LLM_E_FORMAT, "an expression was expected");
        break;
    }
}

/* ---- postfix -----------------------------------------------------------------------------------
 */

/* One bound of a slice, or none. */
static void slice_bound(struct jinja_compiler *c)
{
    if (c->token->type == JINJA_T_COLON || c->token->type == JINJA_T_RBRACKET)
        push(c, jinja_none());
    else
        jinja_expression(c, 0);
}

static void subscript(struct jinja_compiler *c)
{
    if (c->token->type == JINJA_T_RBRACKET) {
        jinja_compile_error(c, LLM_E_FORMAT, "an expression was expected");
        return;
    }
    slice_bound(c);
    if (c->token->type == JINJA_T_RBRACKET) {
        jinja_emit(c, JINJA_OP_ITEM, 0, 0);
    } else {
        jinja_expect(c, JINJA_T_COLON, "] or :");
        slice_bound(c);
        if (jinja_accept(c, JINJA_T_COLON))
            slice_bound(c);
        else
            push(c, jinja_none());
        jinja_emit(c, JINJA_OP_SLICE, 0, 0);
    }
    jinja_expect(c, JINJA_T_RBRACKET, "]");
}

static void attribute(struct jinja_compiler *c)
{
    if (c->token->type == JINJA_T_INTEGER) {
        push(c, jinja_int(c->token->as.integer));
        jinja_emit(c, JINJA_OP_ITEM, 0, 0);
        jinja_advance(c);
        return;
    }
    if (c->token->type == JINJA_T_NAME)
        jinja_emit(c, JINJA_OP_ATTRIBUTE, 0, jinja_name(c, c->token->text, c->token->size));
    jinja_expect(c, JINJA_T_NAME, "a name or number");
}

static void call(struct jinja_compiler *c)
{
    struct jinja_site site = arguments(c);

    if (!c->status)
        jinja_emit(c, JINJA_OP_CALL, 0, jinja_add_site(c, site));
}

static void postfix(struct jinja_compiler *c)
{
    while (!c->status) {
        if (jinja_accept(c, JINJA_T_DOT))
            attribute(c);
        else if (jinja_accept(c, JINJA_T_LBRACKET))
            subscript(c);
        else if (c->token->type == JINJA_T_LPAREN)
            call(c);
        else
            break;
    }
}

/* x is [not] name, name(args) or name arg. */
static void test(struct jinja_compiler *c)
{
    bool negated = jinja_accept_name(c, "not");
    const struct jinja_string *name_of = dotted_name(c);
    struct jinja_site site = {0};

    switch (c->token->type) {
    case JINJA_T_LPAREN:
        site = arguments(c);
        break;
    case JINJA_T_NAME:
        if (jinja_at_name(c, "else") || jinja_at_name(c, "or") || jinja_at_name(c, "and"))
            break;
        if (jinja_at_name(c, "is")) {
            jinja_compile_error(c, LLM_E_FORMAT, "tests cannot be chained with is");
            break;
        }
        /* fall through */
    case JINJA_T_STRING:
    case JINJA_T_INTEGER:
    case JINJA_T_FLOAT:
    case JINJA_T_LBRACKET:
    case JINJA_T_LBRACE:
        primary(c);
        postfix(c);
        site.positional = 1;
        break;
    default:
        break;
    }
    if (c->status)
        return;
    site.name = name_of;
    site.builtin = jinja_find_test(name_of->data, name_of->size);
    jinja_emit(c, JINJA_OP_TEST, 0, jinja_add_site(c, site));
    if (negated)
        jinja_emit(c, JINJA_OP_NOT, 0, 0);
}

static void filters_and_tests(struct jinja_compiler *c)
{
    while (!c->status) {
        if (jinja_accept(c, JINJA_T_PIPE))
            jinja_filters_inline(c);
        else if (jinja_accept_name(c, "is"))
            test(c);
        else if (c->token->type == JINJA_T_LPAREN)
            call(c);
        else
            break;
    }
}

static void unary(struct jinja_compiler *c, bool with_filter)
{
    if (!jinja_enter(c))
        return;
    if (jinja_accept(c, JINJA_T_SUB)) {
        unary(c, false);
        jinja_emit(c, JINJA_OP_NEGATE, 0, 0);
    } else if (jinja_accept(c, JINJA_T_ADD)) {
        unary(c, false);
        jinja_emit(c, JINJA_OP_POSITIVE, 0, 0);
    } else {
        primary(c);
    }
    postfix(c);
    if (with_filter)
        filters_and_tests(c);
    jinja_leave(c);
}

/* ---- binary operators --------------------------------------------------------------------------
 */

static void power(struct jinja_compiler *c)
{
    unary(c, true);
    while (!c->status && jinja_accept(c, JINJA_T_POW)) {
        unary(c, true);
        jinja_emit(c, JINJA_OP_POW, 0, 0);
    }
}

static void product(struct jinja_compiler *c)
{
    power(c);
    while (!c->status) {
        enum jinja_op op = jinja_accept(c, JINJA_T_MUL)        ? JINJA_OP_MUL
                           : jinja_accept(c, JINJA_T_DIV)      ? JINJA_OP_DIV
                           : jinja_accept(c, JINJA_T_FLOORDIV) ? JINJA_OP_FLOORDIV
                           : jinja_accept(c, JINJA_T_MOD)      ? JINJA_OP_MOD
                                                               : JINJA_OP_END;

        if (op == JINJA_OP_END)
            break;
        power(c);
        jinja_emit(c, op, 0, 0);
    }
}

static void concatenation(struct jinja_compiler *c)
{
    int32_t count = 1;

    product(c);
    for (; !c->status && jinja_accept(c, JINJA_T_TILDE); count++)
        product(c);
    if (count > 1)
        jinja_emit(c, JINJA_OP_CONCAT, 0, count);
}

static void sum(struct jinja_compiler *c)
{
    concatenation(c);
    while (!c->status) {
        enum jinja_op op = jinja_accept(c, JINJA_T_ADD)   ? JINJA_OP_ADD
                           : jinja_accept(c, JINJA_T_SUB) ? JINJA_OP_SUB
                                                          : JINJA_OP_END;

        if (op == JINJA_OP_END)
            break;
        concatenation(c);
        jinja_emit(c, op, 0, 0);
    }
}

static enum jinja_op comparison_operator(struct jinja_compiler *c)
{
    static const struct {
        enum jinja_token_type token;
        enum jinja_op op;
    } table[] = {{JINJA_T_EQ, JINJA_OP_EQ}, {JINJA_T_NE, JINJA_OP_NE}, {JINJA_T_LT, JINJA_OP_LT},
                 {JINJA_T_LE, JINJA_OP_LE}, {JINJA_T_GT, JINJA_OP_GT}, {JINJA_T_GE, JINJA_OP_GE}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (jinja_accept(c, table[i].token))
            return table[i].op;
    }
    if (jinja_accept_name(c, "in"))
        return JINJA_OP_IN;
    if (jinja_at_name(c, "not") && c->token[1].type == JINJA_T_NAME && c->token[1].size == 2 &&
        memcmp(c->token[1].text, "in", 2) == 0) {
        jinja_advance(c);
        jinja_advance(c);
        return JINJA_OP_NOT_IN;
    }
    return JINJA_OP_END;
}

static bool comparison_follows(const struct jinja_compiler *c)
{
    struct jinja_compiler probe = *c;

    return comparison_operator(&probe) != JINJA_OP_END;
}

/* a < b < c stops at the first part that is false; the operand that waits is then dropped. */
static void comparison(struct jinja_compiler *c)
{
    int32_t failed = -1;
    enum jinja_op op;

    sum(c);
    op = comparison_operator(c);
    if (op == JINJA_OP_END)
        return;
    while (!c->status) {
        bool chain;

        sum(c);
        chain = comparison_follows(c);
        jinja_emit(c, op, chain, 0);
        if (!chain)
            break;
        failed = jinja_emit(c, JINJA_OP_JUMP_FALSE_KEEP, 0, failed);
        op = comparison_operator(c);
    }
    if (failed >= 0 && !c->status) {
        int32_t done = jinja_emit(c, JINJA_OP_JUMP, 0, 0);
        int32_t clean = jinja_here(c);

        while (failed >= 0 && !c->status) {
            int32_t before = c->program->code[failed].a;

            jinja_patch(c, failed, clean);
            failed = before;
        }
        jinja_emit(c, JINJA_OP_SWAP, 0, 0);
        jinja_emit(c, JINJA_OP_POP, 0, 0);
        jinja_patch(c, done, jinja_here(c));
    }
}

static void negation(struct jinja_compiler *c)
{
    if (!jinja_at_name(c, "not")) {
        comparison(c);
        return;
    }
    if (!jinja_enter(c))
        return;
    jinja_advance(c);
    negation(c);
    jinja_emit(c, JINJA_OP_NOT, 0, 0);
    jinja_leave(c);
}

static void conjunction(struct jinja_compiler *c)
{
    negation(c);
    while (!c->status && jinja_accept_name(c, "and")) {
        int32_t jump = jinja_emit(c, JINJA_OP_JUMP_FALSE_KEEP, 0, 0);

        negation(c);
        jinja_patch(c, jump, jinja_here(c));
    }
}

static void disjunction(struct jinja_compiler *c)
{
    conjunction(c);
    while (!c->status && jinja_accept_name(c, "or")) {
        int32_t jump = jinja_emit(c, JINJA_OP_JUMP_TRUE_KEEP, 0, 0);

        conjunction(c);
        jinja_patch(c, jump, jinja_here(c));
    }
}

/* ---- a if b else c -----------------------------------------------------------------------------
 */

static void reverse(struct jinja_instruction *code, int32_t begin, int32_t end)
{
    while (begin < --end) {
        struct jinja_instruction other = code[begin];

        code[begin++] = code[end];
        code[end] = other;
    }
}

/* Code of two neighbouring blocks changes places. */
static void exchange(struct jinja_program *program, int32_t begin, int32_t middle)
{
    reverse(program->code, begin, middle);
    reverse(program->code, middle, (int32_t)program->count);
    reverse(program->code, begin, (int32_t)program->count);
}

void jinja_expression(struct jinja_compiler *c, unsigned flags)
{
    int32_t begin = jinja_here(c);
    int depth = c->depth;

    if (!jinja_enter(c))
        return;
    disjunction(c);
    while (!c->status && !(flags & JINJA_NO_CONDITION) && jinja_accept_name(c, "if")) {
        int32_t middle = jinja_here(c);
        int32_t jump;
        int32_t done;

        if (!jinja_enter(c)) /* code moves once for each, which must not become often */
            break;
        disjunction(c);
        jump = jinja_emit(c, JINJA_OP_JUMP_FALSE, 0, 0);
        if (c->status)
            break;
        exchange(c->program, begin, middle);
        jump = begin + (jump - middle); /* where it stands now */
        done = jinja_emit(c, JINJA_OP_JUMP, 0, 0);
        jinja_patch(c, jump, jinja_here(c));
        if (jinja_accept_name(c, "else"))
            jinja_expression(c, 0);
        else
            push(c, jinja_undefined(NULL));
        jinja_patch(c, done, jinja_here(c));
    }
    c->depth = depth;
}
