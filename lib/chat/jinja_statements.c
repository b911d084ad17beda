/* SPDX-License-Identifier: MIT
 *
 * Statements: {% if %}, {% for %}, {% set %}, {% macro %}, {% call %}, {% filter %}, {% with %},
 * {% generation %}, {% break %}, {% continue %}; and the whole template.
 */
#include "base/text.h"
#include "chat/jinja_compiler.h"

#include <string.h>

static void body(struct jinja_compiler *c, const char *const *ends);

static void block_end(struct jinja_compiler *c)
{
    jinja_accept(c, JINJA_T_COLON);
    jinja_expect(c, JINJA_T_BLOCK_END, "the end of the tag");
}

/* `{% for ... %}body{% endfor %}`, at the end of the opening tag; the name of the end is taken. */
static void block(struct jinja_compiler *c, const char *end)
{
    const char *const ends[] = {end, NULL};

    block_end(c);
    body(c, ends);
    jinja_advance(c);
}

/* ---- targets of assignments --------------------------------------------------------------------
 */

enum { MOST_TARGETS = 16 };

struct targets {
    int32_t names[MOST_TARGETS];
    int32_t attribute; /* of a namespace; -1: none */
    int32_t count;
    bool tuple;
};

static void target_name(struct jinja_compiler *c, struct targets *t)
{
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None", NULL};

    for (const char *const *name = constants; *name; name++) {
        if (jinja_at_name(c, *name))
            jinja_compile_error(c, LLM_E_FORMAT, "can't assign to %s", *name);
    }
    if (t->count == MOST_TARGETS)
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "more than %d targets", MOST_TARGETS);
    if (c->token->type == JINJA_T_LPAREN)
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "nested targets");
    if (c->status)
        return;
    if (c->token->type == JINJA_T_NAME)
        t->names[t->count++] = jinja_name(c, c->token->text, c->token->size);
    jinja_expect(c, JINJA_T_NAME, "a name");
}

static struct targets read_targets(struct jinja_compiler *c, bool with_attribute)
{
    struct targets t = {.attribute = -1};
    bool parenthesis = jinja_accept(c, JINJA_T_LPAREN);

    target_name(c, &t);
    if (with_attribute && !c->status && jinja_accept(c, JINJA_T_DOT)) {
        t.attribute = jinja_name(c, c->token->text ? c->token->text : "", c->token->size);
        jinja_expect(c, JINJA_T_NAME, "a name");
    }
    while (!c->status && jinja_accept(c, JINJA_T_COMMA)) {
        t.tuple = true;
        if (c->token->type == JINJA_T_ASSIGN || c->token->type == JINJA_T_RPAREN ||
            jinja_at_name(c, "in"))
            break;
        target_name(c, &t);
    }
    if (parenthesis)
        jinja_expect(c, JINJA_T_RPAREN, ")");
    if (t.tuple && t.attribute >= 0)
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "an attribute among several targets");
    return t;
}

/* The value on top goes into the targets. */
static void store(struct jinja_compiler *c, const struct targets *t)
{
    if (t->attribute >= 0) {
        jinja_emit(c, JINJA_OP_LOAD, 0, t->names[0]);
        jinja_emit(c, JINJA_OP_SET_ATTRIBUTE, 0, t->attribute);
        return;
    }
    if (t->tuple)
        jinja_emit(c, JINJA_OP_UNPACK, 0, t->count);
    for (int32_t i = 0; i < t->count; i++)
        jinja_emit(c, JINJA_OP_STORE, 0, t->names[i]);
}

static void set(struct jinja_compiler *c)
{
    struct targets t = read_targets(c, true);
    const struct jinja_token *filters = NULL;
    const struct jinja_token *after;

    if (c->status)
        return;
    if (jinja_accept(c, JINJA_T_ASSIGN)) {
        jinja_expression_list(c, 0);
        store(c, &t);
        return;
    }
    if (jinja_accept(c, JINJA_T_PIPE)) {
        filters = c->token;
        while (c->token->type != JINJA_T_BLOCK_END && c->token->type != JINJA_T_END)
            jinja_advance(c);
    }
    jinja_emit(c, JINJA_OP_CAPTURE_BEGIN, 0, 0);
    jinja_emit(c, JINJA_OP_SCOPE_BEGIN, 0, 0);
    block(c, "endset");
    jinja_emit(c, JINJA_OP_SCOPE_END, 0, 0);
    jinja_emit(c, JINJA_OP_CAPTURE_END, 0, 0);
    if (filters && !c->status) { /* they stand before the body and work behind it */
        after = c->token;
        c->token = filters;
        jinja_filters_inline(c);
        if (!c->status && c->token->type != JINJA_T_BLOCK_END)
            jinja_compile_error(c, LLM_E_FORMAT, "the end of the tag was expected");
        c->token = after;
    }
    store(c, &t);
}

/* ---- branches and loops ------------------------------------------------------------------------
 */

static void branches(struct jinja_compiler *c)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    int32_t done = -1; /* jumps to the end, linked */
    bool more = true;

    while (more && !c->status) {
        int32_t jump;

        jinja_expression_list(c, JINJA_NO_CONDITION);
        jump = jinja_emit(c, JINJA_OP_JUMP_FALSE, 0, 0);
        block_end(c);
        body(c, ends);
        more = jinja_accept_name(c, "elif");
        if (more || jinja_at_name(c, "else"))
            done = jinja_emit(c, JINJA_OP_JUMP, 0, done);
        jinja_patch(c, jump, jinja_here(c));
    }
    if (jinja_accept_name(c, "else"))
        block(c, "endif");
    else
        jinja_advance(c);
    while (done >= 0 && !c->status) {
        int32_t before = c->program->code[done].a;

        jinja_patch(c, done, jinja_here(c));
        done = before;
    }
}

/* After the loop: {% else %} runs if the body never came to its end. */
static void loop_else(struct jinja_compiler *c)
{
    int32_t jump;
    int32_t skip;

    if (!jinja_accept_name(c, "else")) {
        jinja_advance(c);
        jinja_emit(c, JINJA_OP_POP, 0, 0);
        return;
    }
    jump = jinja_emit(c, JINJA_OP_JUMP_FALSE, 0, 0);
    skip = jinja_emit(c, JINJA_OP_JUMP, 0, 0);
    jinja_patch(c, jump, jinja_here(c));
    jinja_emit(c, JINJA_OP_SCOPE_BEGIN, 0, 0);
    block(c, "endfor");
    jinja_emit(c, JINJA_OP_SCOPE_END, 0, 0);
    jinja_patch(c, skip, jinja_here(c));
}

/* The loop itself; what it walks lies on the stack. */
static void loop_code(struct jinja_compiler *c, const struct targets *t,
                      const struct jinja_token *condition, bool recursive)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct jinja_for loop = {.outer = c->loop, .breaks = -1};
    int32_t begin = jinja_emit(c, JINJA_OP_FOR_BEGIN, recursive ? JINJA_LOOP_RECURSIVE : 0, 0);
    int32_t skip;

    loop.next = jinja_emit(c, JINJA_OP_FOR_NEXT, 0, 0);
    store(c, t);
    if (condition) {
        const struct jinja_token *after = c->token;
        int32_t failed;

        skip = jinja_emit(c, JINJA_OP_FOR_SKIP, 0, 0);
        c->token = condition;
        jinja_expression(c, 0);
        if (!c->status && c->token != after)
            jinja_compile_error(c, LLM_E_FORMAT, "the end of the tag was expected");
        c->token = after;
        failed = jinja_emit(c, JINJA_OP_FOR_TEST, 0, 0);
        jinja_patch(c, failed, loop.next);
        jinja_patch(c, skip, jinja_here(c));
    }
    jinja_emit(c, JINJA_OP_FOR_ENTER, 0, 0);
    c->loop = &loop;
    block_end(c);
    body(c, ends);
    c->loop = loop.outer;
    jinja_emit(c, JINJA_OP_FOR_DONE, 0, 0);
    jinja_patch(c, jinja_emit(c, JINJA_OP_JUMP, 0, 0), loop.next);
    while (loop.breaks >= 0 && !c->status) {
        int32_t before = c->program->code[loop.breaks].a;

        jinja_patch(c, loop.breaks, jinja_here(c));
        loop.breaks = before;
    }
    jinja_patch(c, loop.next, jinja_here(c));
    if (!c->status && condition)
        c->program->code[begin].n |=
            (uint16_t)(JINJA_LOOP_TESTED | (loop.ahead ? JINJA_LOOP_AHEAD : 0));
    jinja_emit(c, JINJA_OP_FOR_END, 0, 0);
    loop_else(c);
}

/* Walk over tokens of an expression without compiling it: the condition of a loop stands before the
 * code that it goes into. */
static const struct jinja_token *skip_condition(struct jinja_compiler *c)
{
    const struct jinja_token *condition;
    int open = 0;

    if (!jinja_accept_name(c, "if"))
        return NULL;
    condition = c->token;
    while (c->token->type != JINJA_T_END && c->token->type != JINJA_T_BLOCK_END &&
           !(open == 0 && jinja_at_name(c, "recursive"))) {
        open += c->token->type == JINJA_T_LPAREN || c->token->type == JINJA_T_LBRACKET;
        open -= c->token->type == JINJA_T_RPAREN || c->token->type == JINJA_T_RBRACKET;
        jinja_advance(c);
    }
    return condition;
}

static void loop_statement(struct jinja_compiler *c)
{
    struct targets t = read_targets(c, false);
    const struct jinja_token *condition;
    int32_t over = -1;

    if (!c->status && !jinja_accept_name(c, "in"))
        jinja_compile_error(c, LLM_E_FORMAT, "in was expected");
    jinja_expression_list(c, JINJA_NO_CONDITION);
    condition = skip_condition(c);
    if (jinja_accept_name(c, "recursive")) {
        over = jinja_emit(c, JINJA_OP_JUMP, 0, 0);
        loop_code(c, &t, condition, true);
        jinja_emit(c, JINJA_OP_RETURN, 0, 0);
        jinja_patch(c, over, jinja_here(c));
        jinja_emit(c, JINJA_OP_RECURSE, 0, over + 1);
        jinja_emit(c, JINJA_OP_PRINT, 0, 0);
    } else {
        loop_code(c, &t, condition, false);
    }
}

static void leave_loop(struct jinja_compiler *c, bool go_on)
{
    if (!c->loop) {
        jinja_compile_error(c, LLM_E_FORMAT, "%s outside a loop", go_on ? "continue" : "break");
        return;
    }
    if (go_on)
        jinja_patch(c, jinja_emit(c, JINJA_OP_JUMP, 0, 0), c->loop->next);
    else
        c->loop->breaks = jinja_emit(c, JINJA_OP_JUMP, 0, c->loop->breaks);
}

/* ---- macros ------------------------------------------------------------------------------------
 */

enum { MOST_ARGUMENTS = 64 };

/* (a, b=1): the names; code that sets defaults. */
static void signature(struct jinja_compiler *c, struct jinja_macro_code *macro)
{
    int32_t names[MOST_ARGUMENTS];

    jinja_expect(c, JINJA_T_LPAREN, "(");
    while (!c->status && c->token->type != JINJA_T_RPAREN) {
        int32_t name;

        if (macro->count)
            jinja_expect(c, JINJA_T_COMMA, ",");
        name = c->token->type == JINJA_T_NAME ? jinja_name(c, c->token->text, c->token->size) : 0;
        if (macro->count == MOST_ARGUMENTS)
            jinja_compile_error(c, LLM_E_UNSUPPORTED, "more than %d arguments", MOST_ARGUMENTS);
        jinja_expect(c, JINJA_T_NAME, "a name");
        if (c->status)
            break;
        names[macro->count++] = name;
        if (jinja_accept(c, JINJA_T_ASSIGN)) {
            int32_t jump;

            jinja_emit(c, JINJA_OP_DEFAULT, 0, name);
            jump = jinja_emit(c, JINJA_OP_JUMP, 0, 0);
            jinja_expression(c, 0);
            jinja_emit(c, JINJA_OP_STORE, 0, name);
            jinja_patch(c, jump, jinja_here(c));
        } else if (macro->required == macro->count - 1) {
            macro->required++;
        } else {
            jinja_compile_error(c, LLM_E_FORMAT, "non-default argument follows default argument");
        }
    }
    jinja_expect(c, JINJA_T_RPAREN, ")");
    if (c->status || !macro->count)
        return;
    macro->names = arena_alloc(&c->program->arena, macro->count * sizeof *names);
    if (macro->names)
        memcpy(macro->names, names, macro->count * sizeof *names);
    else
        c->status = LLM_E_NOMEM;
}

/* Code of a macro, jumped over; pushes the macro. The signature, if there is one, stands at
 * `names`, and the rest of the opening tag at `after` (NULL: behind the signature). */
static void macro_code(struct jinja_compiler *c, int32_t name, const struct jinja_token *names,
                       const struct jinja_token *after, const char *end)
{
    struct jinja_macro_code macro = {.name = name, .caller = -1, .varargs = -1, .kwargs = -1};
    struct jinja_macro_code *outer = c->macro;
    struct jinja_program *p = c->program;
    struct jinja_for *loop = c->loop;
    int32_t over = jinja_emit(c, JINJA_OP_JUMP, 0, 0);

    c->macro = &macro;
    c->loop = NULL;
    macro.entry = jinja_here(c);
    if (names) {
        c->token = names;
        signature(c, &macro);
    }
    if (after)
        c->token = after;
    block(c, end);
    jinja_emit(c, JINJA_OP_RETURN, 0, 0);
    jinja_patch(c, over, jinja_here(c));
    c->macro = outer;
    c->loop = loop;
    if (!c->status)
        c->status = memory_grow(p->memory, (void **)&p->macros, &p->macro_capacity,
                                p->macro_count + 1, sizeof macro);
    if (c->status)
        return;
    p->macros[p->macro_count] = macro;
    jinja_emit(c, JINJA_OP_MACRO, 0, (int32_t)p->macro_count++);
}

static void macro_statement(struct jinja_compiler *c)
{
    int32_t name =
        c->token->type == JINJA_T_NAME ? jinja_name(c, c->token->text, c->token->size) : 0;

    jinja_expect(c, JINJA_T_NAME, "a name");
    macro_code(c, name, c->token, NULL, "endmacro");
    jinja_emit(c, JINJA_OP_STORE, 0, name);
}

static void keep_tokens(struct jinja_compiler *c, enum jinja_token_type until)
{
    while (c->token->type != until && c->token->type != JINJA_T_END)
        jinja_advance(c);
}

/* The call just compiled gets one more argument, which lies on the stack: caller. */
static void add_caller(struct jinja_compiler *c, struct jinja_site site)
{
    static const char word[] = "caller";
    const struct jinja_string **names =
        arena_alloc(&c->program->arena, (site.keywords + 1) * sizeof *names);
    int32_t name = jinja_name(c, word, sizeof word - 1);

    if (!names)
        c->status = LLM_E_NOMEM;
    if (c->status)
        return;
    for (uint32_t i = 0; i < site.keywords; i++)
        names[i] = site.names[i];
    names[site.keywords++] = c->program->names[name];
    site.names = names;
    jinja_emit(c, JINJA_OP_CALL, 0, jinja_add_site(c, site));
}

/* {% call(args) macro(...) %}body{% endcall %}: the body becomes a macro named caller. */
static void call_statement(struct jinja_compiler *c)
{
    const struct jinja_token *names = c->token->type == JINJA_T_LPAREN ? c->token : NULL;
    struct jinja_program *p = c->program;
    const struct jinja_token *after;
    struct jinja_site site;

    if (names) {
        keep_tokens(c, JINJA_T_RPAREN);
        jinja_accept(c, JINJA_T_RPAREN);
    }
    jinja_expression(c, 0);
    if (c->status)
        return;
    if (!p->count || p->code[p->count - 1].op != JINJA_OP_CALL) {
        jinja_compile_error(c, LLM_E_FORMAT, "expected call");
        return;
    }
    site = p->sites[p->code[--p->count].a];
    if (site.spread_list || site.spread_dict)
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "* and ** in {%% call %%}");
    after = c->token;
    macro_code(c, -1, names, after, "endcall");
    add_caller(c, site);
    jinja_emit(c, JINJA_OP_PRINT, 0, 0);
}

/* ---- other blocks ------------------------------------------------------------------------------
 */

static void filter_statement(struct jinja_compiler *c)
{
    const struct jinja_token *filters = c->token;
    const struct jinja_token *after;

    keep_tokens(c, JINJA_T_BLOCK_END);
    jinja_emit(c, JINJA_OP_CAPTURE_BEGIN, 0, 0);
    jinja_emit(c, JINJA_OP_SCOPE_BEGIN, 0, 0);
    block(c, "endfilter");
    jinja_emit(c, JINJA_OP_SCOPE_END, 0, 0);
    jinja_emit(c, JINJA_OP_CAPTURE_END, 0, 0);
    after = c->token;
    c->token = filters;
    if (!c->status)
        jinja_filters_inline(c);
    if (!c->status && c->token->type != JINJA_T_BLOCK_END)
        jinja_compile_error(c, LLM_E_FORMAT, "the end of the tag was expected");
    c->token = after;
    jinja_emit(c, JINJA_OP_PRINT, 0, 0);
}

/* The values see the scope outside, all of them. */
static void with_statement(struct jinja_compiler *c)
{
    int32_t names[MOST_ARGUMENTS];
    int count = 0;

    while (!c->status && c->token->type != JINJA_T_BLOCK_END) {
        if (count == MOST_ARGUMENTS)
            jinja_compile_error(c, LLM_E_UNSUPPORTED, "more than %d variables", MOST_ARGUMENTS);
        if (count)
            jinja_expect(c, JINJA_T_COMMA, ",");
        if (c->status)
            return;
        if (c->token->type == JINJA_T_NAME)
            names[count++] = jinja_name(c, c->token->text, c->token->size);
        jinja_expect(c, JINJA_T_NAME, "a name");
        jinja_expect(c, JINJA_T_ASSIGN, "=");
        jinja_expression(c, 0);
    }
    jinja_emit(c, JINJA_OP_SCOPE_BEGIN, 0, 0);
    while (count > 0)
        jinja_emit(c, JINJA_OP_STORE, 0, names[--count]);
    block(c, "endwith");
    jinja_emit(c, JINJA_OP_SCOPE_END, 0, 0);
}

static void generation(struct jinja_compiler *c)
{
    struct jinja_for *loop = c->loop;

    c->program->has_spans = true;
    c->loop = NULL; /* Jinja does not let break and continue out of it either */
    jinja_emit(c, JINJA_OP_SPAN_BEGIN, 0, 0);
    jinja_emit(c, JINJA_OP_SCOPE_BEGIN, 0, 0);
    block(c, "endgeneration");
    jinja_emit(c, JINJA_OP_SCOPE_END, 0, 0);
    jinja_emit(c, JINJA_OP_SPAN_END, 0, 0);
    c->loop = loop;
}

static void statement(struct jinja_compiler *c)
{
    char name[32];
    size_t size = c->token->size < sizeof name ? c->token->size : sizeof name - 1;

    if (c->token->type != JINJA_T_NAME) {
        jinja_compile_error(c, LLM_E_FORMAT, "tag name expected");
        return;
    }
    memcpy(name, c->token->text, size);
    name[size] = '\0';
    if (jinja_accept_name(c, "if"))
        branches(c);
    else if (jinja_accept_name(c, "for"))
        loop_statement(c);
    else if (jinja_accept_name(c, "set"))
        set(c);
    else if (jinja_accept_name(c, "macro"))
        macro_statement(c);
    else if (jinja_accept_name(c, "call"))
        call_statement(c);
    else if (jinja_accept_name(c, "filter"))
        filter_statement(c);
    else if (jinja_accept_name(c, "with"))
        with_statement(c);
    else if (jinja_accept_name(c, "generation"))
        generation(c);
    else if (jinja_accept_name(c, "break"))
        leave_loop(c, false);
    else if (jinja_accept_name(c, "continue"))
        leave_loop(c, true);
    else if (jinja_at_name(c, "include") || jinja_at_name(c, "import") ||
             jinja_at_name(c, "from") || jinja_at_name(c, "extends") || jinja_at_name(c, "block") ||
             jinja_at_name(c, "autoescape"))
        jinja_compile_error(c, LLM_E_UNSUPPORTED, "the tag '%s'", name);
    else
        jinja_compile_error(c, LLM_E_FORMAT, "Encountered unknown tag '%s'", name);
}

static bool at_end(const struct jinja_compiler *c, const char *const *ends)
{
    for (; *ends; ends++) {
        if (jinja_at_name(c, *ends))
            return true;
    }
    return false;
}

/* Up to one of the tags `ends`, whose name becomes the current token; NULL: to the end. */
static void body(struct jinja_compiler *c, const char *const *ends)
{
    if (!jinja_enter(c))
        return;
    while (!c->status) {
        const struct jinja_token *token = c->token;

        if (token->type == JINJA_T_DATA) {
            jinja_emit(c, JINJA_OP_TEXT, 0, jinja_string_constant(c, token->text, token->size));
            jinja_advance(c);
        } else if (jinja_accept(c, JINJA_T_PRINT_BEGIN)) {
            jinja_expression_list(c, 0);
            jinja_emit(c, JINJA_OP_PRINT, 0, 0);
            jinja_expect(c, JINJA_T_PRINT_END, "}}");
        } else if (jinja_accept(c, JINJA_T_BLOCK_BEGIN)) {
            if (ends && at_end(c, ends))
                break;
            statement(c);
            jinja_expect(c, JINJA_T_BLOCK_END, "the end of the tag");
        } else {
            if (ends)
                jinja_compile_error(c, LLM_E_FORMAT, "the template ends where '%s' was expected",
                                    ends[0]);
            break;
        }
    }
    jinja_leave(c);
}

llm_status jinja_compile(struct jinja_program *program, struct memory *memory, const char *text,
                         size_t size)
{
    struct jinja_compiler c = {.program = program};
    struct jinja_token *tokens;
    struct arena arena;
    size_t count;

    *program = (struct jinja_program){.memory = memory};
    arena_init(&program->arena, memory);
    if (size > JINJA_SOURCE_MAX)
        return status_set(LLM_E_RANGE, "the template has %zu bytes, more than %d", size,
                          JINJA_SOURCE_MAX);
    arena_init(&arena, memory);
    map_init(&c.names, memory);
    c.status = jinja_lex(&tokens, &count, &arena, text, size);
    if (!c.status) {
        c.token = tokens;
        body(&c, NULL);
        jinja_emit(&c, JINJA_OP_END, 0, 0);
    }
    arena_free(&arena);
    map_free(&c.names);
    if (c.status)
        jinja_program_free(program);
    return c.status;
}
