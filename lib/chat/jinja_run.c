/* SPDX-License-Identifier: MIT
 *
 * The stack machine. Calls of macros and loops are entries on its own stacks, so that the depth of
 * a template never becomes depth of the C stack, and every instruction costs one step of the
 * budget.
 *
 * Variables: names set outside all blocks live in `globals`, one slot per name. Inside loops,
 * macros and blocks they lie on a stack that is searched from its top down to the start of the
 * frame; leaving a scope forgets what lies above its start.
 */
#include "chat/jinja_builtins.h"

#include <string.h>

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

/* ---- the stack of values -----------------------------------------------------------------------
 */

static void push(struct machine *m, struct jinja_value value)
{
    if (jinja_grow(m->run, (void **)&m->stack, &m->capacity, m->count + 1, sizeof value))
        m->stack[m->count++] = value;
}

/* The compiler balances the stack; the check keeps a mistake there from becoming more. */
static struct jinja_value pop(struct machine *m)
{
    if (m->count == 0)
        return jinja_fail(m->run, LLM_E_INTERNAL, "the template's stack is empty");
    return m->stack[--m->count];
}

static struct jinja_value *top(struct machine *m, size_t count)
{
    if (m->count < count) {
        jinja_fail(m->run, LLM_E_INTERNAL, "the template's stack is too short");
        return NULL;
    }
    return m->stack + m->count - count;
}

/* ---- variables ---------------------------------------------------------------------------------
 */

static struct jinja_value load(struct machine *m, int32_t name)
{
    struct jinja_value value = m->globals[name];

    for (size_t i = m->variable_count; i > m->base; i--) {
        if (m->variables[i - 1].name == name) {
            value = m->variables[i - 1].value;
            break;
        }
    }
    /* Names are NUL-terminated in the program's arena. */
    return value.type == JINJA_MISSING ? jinja_undefined(m->program->names[name]->data) : value;
}

static void add_variable(struct machine *m, int32_t name, struct jinja_value value)
{
    if (jinja_grow(m->run, (void **)&m->variables, &m->variable_capacity, m->variable_count + 1,
                   sizeof *m->variables))
        m->variables[m->variable_count++] = (struct jinja_variable){name, value};
}

static void store(struct machine *m, int32_t name, struct jinja_value value)
{
    if (m->scope_count == 0) {
        m->globals[name] = value;
        return;
    }
    for (size_t i = m->variable_count; i > m->scopes[m->scope_count - 1]; i--) {
        if (m->variables[i - 1].name == name) {
            m->variables[i - 1].value = value;
            return;
        }
    }
    add_variable(m, name, value);
}

static void scope_begin(struct machine *m)
{
    if (jinja_grow(m->run, (void **)&m->scopes, &m->scope_capacity, m->scope_count + 1,
                   sizeof *m->scopes))
        m->scopes[m->scope_count++] = m->variable_count;
}

static void scope_end(struct machine *m)
{
    if (m->scope_count)
        m->variable_count = m->scopes[--m->scope_count];
}

/* ---- output ------------------------------------------------------------------------------------
 */

static struct jinja_builder *output(struct machine *m)
{
    return m->capture_count ? &m->captures[m->capture_count - 1] : &m->result->output;
}

static void print(struct machine *m, struct jinja_value value)
{
    struct jinja_builder *out = output(m);

    jinja_build_str(out, value);
    if (out->size > m->run->left.output)
        jinja_fail(m->run, LLM_E_RANGE, "the text grows larger than %zu bytes",
                   m->run->left.output);
}

static void capture_begin(struct machine *m)
{
    if (jinja_grow(m->run, (void **)&m->captures, &m->capture_capacity, m->capture_count + 1,
                   sizeof *m->captures))
        jinja_builder_init(&m->captures[m->capture_count++], m->run);
}

static struct jinja_value capture_end(struct machine *m)
{
    if (m->capture_count == 0)
        return jinja_fail(m->run, LLM_E_INTERNAL, "no text is being captured");
    return jinja_built(&m->captures[--m->capture_count]);
}

/* Spans count in the text itself, not in text that is captured for something else. */
static void span_begin(struct machine *m)
{
    struct jinja_result *r = m->result;
    size_t at = r->output.size;

    if (m->capture_count == 0 && jinja_grow(m->run, (void **)&r->spans, &r->span_capacity,
                                            r->span_count + 1, sizeof *r->spans))
        r->spans[r->span_count++] = (struct jinja_span){at, at};
}

static void span_end(struct machine *m)
{
    struct jinja_result *r = m->result;

    if (m->capture_count == 0 && r->span_count)
        r->spans[r->span_count - 1].end = r->output.size;
}

/* ---- loops -------------------------------------------------------------------------------------
 */

static struct jinja_loop *current_loop(struct machine *m)
{
    if (m->loop_count == 0)
        jinja_fail(m->run, LLM_E_INTERNAL, "no loop is running");
    return m->loop_count ? m->loops[m->loop_count - 1] : NULL;
}

static void for_begin(struct machine *m, const struct jinja_instruction *in)
{
    struct jinja_loop *loop = jinja_alloc(m->run, sizeof *loop);
    struct jinja_value walked = pop(m);

    if (!loop)
        return;
    if (walked.type == JINJA_UNDEFINED && walked.as.name == NULL)
        walked = jinja_undefined("a value");
    loop->items = jinja_walk(m->run, walked);
    loop->flags = in->n;
    loop->collecting = (in->n & JINJA_LOOP_AHEAD) != 0;
    loop->begin = m->pc;
    loop->changed.type = JINJA_MISSING;
    if (in->n & JINJA_LOOP_RECURSIVE) {
        for (size_t i = 0; i < m->loop_count; i++)
            loop->depth += m->loops[i]->begin == m->pc;
    }
    if (loop->collecting)
        loop->kept = jinja_list_new(m->run, JINJA_SEQ_LIST, 0);
    if (jinja_grow(m->run, (void **)&m->loops, &m->loop_capacity, m->loop_count + 1,
                   sizeof *m->loops))
        m->loops[m->loop_count++] = loop;
    scope_begin(m);
    loop->scopes = m->scope_count;
    loop->captures = m->capture_count;
    loop->stack = m->count;
}

/* Back in the loop itself: a break or continue leaves blocks inside it half done. */
static void unwind(struct machine *m, const struct jinja_loop *loop)
{
    m->scope_count = loop->scopes;
    m->capture_count = loop->captures;
    m->count = loop->stack;
}

/* True: an item was pushed. */
static bool for_next(struct machine *m)
{
    struct jinja_loop *loop = current_loop(m);

    if (!loop)
        return false;
    unwind(m, loop);
    m->variable_count = m->scopes[m->scope_count - 1]; /* each item begins with nothing set */
    if (loop->collecting && loop->position == loop->items.as.list->count) {
        loop->items = loop->kept;
        loop->position = 0;
        loop->collecting = false;
    }
    if (loop->position >= loop->items.as.list->count)
        return false;
    push(m, loop->items.as.list->items[loop->position++]);
    return true;
}

static bool for_test(struct machine *m)
{
    struct jinja_loop *loop = current_loop(m);
    bool passed = jinja_true(pop(m));

    if (!loop || !loop->collecting)
        return passed;
    if (passed && loop->position)
        jinja_list_add(m->run, loop->kept, loop->items.as.list->items[loop->position - 1]);
    return false;
}

static void for_enter(struct machine *m)
{
    struct jinja_loop *loop = current_loop(m);

    if (!loop || !loop->position)
        return;
    loop->index = loop->entered ? loop->index + 1 : 0;
    loop->entered = true;
    loop->previous = loop->current;
    loop->current = loop->items.as.list->items[loop->position - 1];
    if (m->loop_name >= 0)
        add_variable(m, m->loop_name, (struct jinja_value){.type = JINJA_LOOP, .as.loop = loop});
}

static void for_end(struct machine *m)
{
    struct jinja_loop *loop = current_loop(m);

    if (loop) {
        unwind(m, loop);
        scope_end(m);
        m->loop_count--;
        push(m, jinja_bool(loop->entered));
    }
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* A new frame that goes on at `entry`; output is captured until it returns. */
static bool enter(struct machine *m, int32_t entry, size_t base)
{
    struct frame frame = {m->pc,         m->variable_count, m->scope_count,
                          m->loop_count, m->capture_count,  m->count,
                          m->base};

    if (m->frame_count >= (size_t)m->run->left.depth) {
        jinja_fail(m->run, LLM_E_RANGE, "macros call each other deeper than %d levels",
                   m->run->left.depth);
        return false;
    }
    if (!jinja_grow(m->run, (void **)&m->frames, &m->frame_capacity, m->frame_count + 1,
                    sizeof frame))
        return false;
    m->frames[m->frame_count++] = frame;
    m->base = base;
    scope_begin(m);
    capture_begin(m);
    m->pc = entry;
    return !m->run->status;
}

static void leave(struct machine *m)
{
    struct jinja_value text = capture_end(m);
    const struct frame *frame;

    if (m->frame_count == 0) {
        jinja_fail(m->run, LLM_E_INTERNAL, "a return without a call");
        return;
    }
    frame = &m->frames[--m->frame_count];
    m->variable_count = frame->variables;
    m->scope_count = frame->scopes;
    m->loop_count = frame->loops;
    m->capture_count = frame->captures;
    m->count = frame->stack;
    m->base = frame->base;
    m->pc = frame->back;
    push(m, text);
}

static const struct jinja_value *keyword(const struct jinja_arguments *args,
                                         const struct jinja_string *name)
{
    for (size_t i = 0; i < args->keywords; i++) {
        if (args->names[i]->size == name->size &&
            memcmp(args->names[i]->data, name->data, name->size) == 0)
            return &args->values[args->positional + i];
    }
    return NULL;
}

/* The variable that holds positional arguments without name, or fails if there are some. */
static void bind_rest(struct machine *m, const struct jinja_macro_code *code,
                      const struct jinja_arguments *args)
{
    struct jinja_value list;

    if (code->varargs < 0) {
        if (args->positional > code->count)
            jinja_fail(m->run, LLM_E_FORMAT, "macro '%s' takes not more than %u argument(s)",
                       code->name >= 0 ? m->program->names[code->name]->data : "caller",
                       code->count);
        return;
    }
    list = jinja_list_new(m->run, JINJA_SEQ_TUPLE, 0);
    for (size_t i = code->count; i < args->positional && !m->run->status; i++)
        jinja_list_add(m->run, list, args->values[i]);
    add_variable(m, code->varargs, list);
}

/* Keyword arguments that are not parameters. */
static void bind_keywords(struct machine *m, const struct jinja_macro_code *code,
                          const struct jinja_arguments *args)
{
    struct jinja_value dict = jinja_dict_new(m->run, 0);

    for (size_t i = 0; i < args->keywords && !m->run->status; i++) {
        bool known = code->caller >= 0 && args->names[i]->size == 6 &&
                     memcmp(args->names[i]->data, "caller", 6) == 0;

        for (uint32_t k = 0; k < code->count && !known; k++) {
            const struct jinja_string *name = m->program->names[code->names[k]];

            known = name->size == args->names[i]->size &&
                    memcmp(name->data, args->names[i]->data, name->size) == 0;
        }
        if (known)
            continue;
        if (code->kwargs < 0)
            jinja_fail(m->run, LLM_E_FORMAT, "macro '%s' takes no keyword argument '%s'",
                       code->name >= 0 ? m->program->names[code->name]->data : "caller",
                       args->names[i]->data);
        else
            jinja_dict_put(m->run, dict.as.dict,
                           (struct jinja_value){.type = JINJA_STRING, .as.string = args->names[i]},
                           args->values[args->positional + i]);
    }
    if (code->kwargs >= 0)
        add_variable(m, code->kwargs, dict);
}

static void call_macro(struct machine *m, const struct jinja_macro *macro,
                       const struct jinja_arguments *args)
{
    const struct jinja_macro_code *code = macro->code;
    size_t base = m->variable_count;
    size_t before;

    if (!enter(m, code->entry, base))
        return;
    for (size_t i = 0; i < macro->closure_count; i++)
        add_variable(m, macro->closure[i].name, macro->closure[i].value);
    if (code->name >= 0 && macro->closure_count)
        add_variable(
            m, code->name,
            (struct jinja_value){.type = JINJA_MACRO, .as.macro = (struct jinja_macro *)macro});
    before = m->variable_count;
    m->scopes[m->scope_count - 1] = before;
    for (uint32_t i = 0; i < code->count; i++) {
        const struct jinja_value *named = keyword(args, m->program->names[code->names[i]]);
        struct jinja_value value = {.type = JINJA_MISSING};

        if (i < args->positional && named)
            jinja_fail(m->run, LLM_E_FORMAT, "the argument '%s' is given twice",
                       m->program->names[code->names[i]]->data);
        if (i < args->positional)
            value = args->values[i];
        else if (named)
            value = *named;
        add_variable(m, code->names[i], value);
    }
    if (code->caller >= 0) {
        const struct jinja_value *caller = keyword(args, m->program->names[code->caller]);

        add_variable(m, code->caller, caller ? *caller : jinja_undefined("caller"));
    }
    bind_rest(m, code, args);
    bind_keywords(m, code, args);
}

static struct jinja_value make_macro(struct machine *m, int32_t index)
{
    struct jinja_macro *macro = jinja_alloc(m->run, sizeof *macro);
    size_t count = m->variable_count - m->base;

    if (!macro)
        return jinja_undefined(NULL);
    macro->code = &m->program->macros[index];
    macro->program = m->program;
    if (count) {
        macro->closure = jinja_alloc(m->run, count * sizeof *macro->closure);
        if (!macro->closure)
            return jinja_undefined(NULL);
        memcpy(macro->closure, m->variables + m->base, count * sizeof *macro->closure);
        macro->closure_count = count;
    }
    return (struct jinja_value){.type = JINJA_MACRO, .as.macro = macro};
}

static struct jinja_arguments site_arguments(struct machine *m, const struct jinja_site *site)
{
    size_t count = site->positional + site->keywords;

    return (struct jinja_arguments){top(m, count), site->positional, site->keywords, site->names};
}

/* {{ loop(items) }}: the loop again, on other items. */
static void call_loop(struct machine *m, const struct jinja_loop *loop,
                      const struct jinja_arguments *args)
{
    struct jinja_value items;

    if (!(loop->flags & JINJA_LOOP_RECURSIVE) || args->positional != 1 || args->keywords) {
        jinja_fail(m->run, LLM_E_FORMAT, "The loop must have the 'recursive' marker to be called");
        return;
    }
    items = args->values[0];
    m->count -= 2;
    if (enter(m, loop->begin, m->base))
        push(m, items);
}

static void call(struct machine *m, const struct jinja_site *site)
{
    struct jinja_arguments args = site_arguments(m, site);
    size_t count = args.positional + args.keywords;
    struct jinja_value *callee = top(m, count + 1);
    struct jinja_value value;

    if (!callee)
        return;
    value = *callee;
    if (value.type == JINJA_LOOP) {
        call_loop(m, value.as.loop, &args);
        return;
    }
    if (value.type == JINJA_MACRO) {
        m->count -= count + 1; /* the arguments stay readable until something is pushed */
        call_macro(m, value.as.macro, &args);
        return;
    }
    if (value.type == JINJA_FUNCTION)
        value = jinja_call_function(m->run, value.extra, &args);
    else if (value.type == JINJA_METHOD || value.type == JINJA_JOINER)
        value = jinja_call_object(m->run, value, &args);
    else if (value.type == JINJA_UNDEFINED)
        jinja_fail_undefined(m->run, value);
    else
        jinja_fail(m->run, LLM_E_FORMAT, "'%s' object is not callable", jinja_type_name(value));
    m->count -= count + 1;
    push(m, value);
}

/* Filters and tests: the value lies below its arguments. */
static void call_named(struct machine *m, const struct jinja_site *site, bool is_test)
{
    struct jinja_arguments args = site_arguments(m, site);
    size_t count = args.positional + args.keywords;
    struct jinja_value *self = top(m, count + 1);
    struct jinja_value value;

    if (!self)
        return;
    value = *self;
    if (is_test)
        value = jinja_bool(jinja_call_test(m->run, site->builtin, site->name, value, &args));
    else
        value = jinja_call_filter(m->run, site->builtin, site->name, value, &args);
    m->count -= count + 1;
    push(m, value);
}

/* ---- instructions ------------------------------------------------------------------------------
 */

static void make_list(struct machine *m, int32_t count, enum jinja_sequence kind)
{
    struct jinja_value *items = top(m, (size_t)count);
    struct jinja_value list = jinja_list_new(m->run, kind, (size_t)count);

    for (int32_t i = 0; i < count && !m->run->status; i++)
        jinja_list_add(m->run, list, items[i]);
    m->count -= m->run->status ? 0 : (size_t)count;
    push(m, list);
}

static void make_dict(struct machine *m, int32_t pairs)
{
    struct jinja_value *items = top(m, (size_t)pairs * 2);
    struct jinja_value dict = jinja_dict_new(m->run, (size_t)pairs);

    for (int32_t i = 0; i < pairs && !m->run->status; i++)
        jinja_dict_put(m->run, dict.as.dict, items[2 * i], items[2 * i + 1]);
    m->count -= m->run->status ? 0 : (size_t)pairs * 2;
    push(m, dict);
}

static void concatenate(struct machine *m, int32_t count)
{
    struct jinja_value *items = top(m, (size_t)count);
    struct jinja_builder builder;

    jinja_builder_init(&builder, m->run);
    for (int32_t i = 0; i < count && !m->run->status; i++)
        jinja_build_str(&builder, items[i]);
    m->count -= m->run->status ? 0 : (size_t)count;
    push(m, jinja_built(&builder));
}

static void unpack(struct machine *m, int32_t count)
{
    struct jinja_value items = jinja_walk(m->run, pop(m));

    if (m->run->status)
        return;
    if (items.as.list->count != (size_t)count) {
        jinja_fail(m->run, LLM_E_FORMAT, "%s values to unpack (expected %d)",
                   items.as.list->count > (size_t)count ? "too many" : "not enough", (int)count);
        return;
    }
    while (count > 0)
        push(m, items.as.list->items[--count]);
}

static void set_attribute(struct machine *m, const struct jinja_string *name)
{
    struct jinja_value space = pop(m);
    struct jinja_value value = pop(m);

    if (space.type != JINJA_NAMESPACE)
        jinja_fail(m->run, LLM_E_FORMAT, "cannot assign attribute on non-namespace object");
    else if (name->size && name->data[0] == '_')
        jinja_fail(m->run, LLM_E_FORMAT, "a namespace cannot hold the name '%s'", name->data);
    else
        jinja_dict_put(m->run, space.as.dict,
                       (struct jinja_value){.type = JINJA_STRING, .as.string = name}, value);
}

static void binary(struct machine *m, const struct jinja_instruction *in)
{
    struct jinja_value b = pop(m);
    struct jinja_value a = pop(m);

    if (in->n)
        push(m, b);
    push(m, jinja_binary(m->run, (enum jinja_op)in->op, a, b));
}

static void slice(struct machine *m)
{
    struct jinja_value *bounds = top(m, 3);
    struct jinja_value copy[3];
    struct jinja_value value;

    if (!bounds)
        return;
    memcpy(copy, bounds, sizeof copy);
    m->count -= 3;
    value = pop(m);
    push(m, jinja_slice(m->run, value, copy));
}

static void item(struct machine *m)
{
    struct jinja_value key = pop(m);
    struct jinja_value value = pop(m);

    push(m, jinja_item(m->run, value, key));
}

static void swap(struct machine *m)
{
    struct jinja_value *two = top(m, 2);

    if (two) {
        struct jinja_value other = two[0];

        two[0] = two[1];
        two[1] = other;
    }
}

/* Is the jump on the top of the stack taken? */
static bool jumps(struct machine *m, enum jinja_op op)
{
    bool truth = jinja_true(pop(m));
    bool taken = op == JINJA_OP_JUMP_TRUE_KEEP ? truth : !truth;

    if (taken && op != JINJA_OP_JUMP_FALSE && !m->run->status)
        m->count++; /* the value stays */
    return taken;
}

/* Was the argument given? */
static bool given(struct machine *m, int32_t name)
{
    for (size_t i = m->variable_count; i > m->base; i--) {
        if (m->variables[i - 1].name == name)
            return m->variables[i - 1].value.type != JINJA_MISSING;
    }
    return false;
}

static void values(struct machine *m, const struct jinja_instruction *in)
{
    struct jinja_value value;

    switch (in->op) {
    case JINJA_OP_CONST:
        push(m, m->program->constants[in->a]);
        break;
    case JINJA_OP_LOAD:
        push(m, load(m, in->a));
        break;
    case JINJA_OP_STORE:
        store(m, in->a, pop(m));
        break;
    case JINJA_OP_POP:
        pop(m);
        break;
    case JINJA_OP_SWAP:
        swap(m);
        break;
    case JINJA_OP_LIST:
    case JINJA_OP_TUPLE:
        make_list(m, in->a, in->op == JINJA_OP_LIST ? JINJA_SEQ_LIST : JINJA_SEQ_TUPLE);
        break;
    case JINJA_OP_DICT:
        make_dict(m, in->a);
        break;
    case JINJA_OP_ATTRIBUTE:
        value = pop(m);
        push(m, jinja_attribute(m->run, value, m->program->names[in->a]));
        break;
    case JINJA_OP_ITEM:
        item(m);
        break;
    case JINJA_OP_SLICE:
        slice(m);
        break;
    case JINJA_OP_SET_ATTRIBUTE:
        set_attribute(m, m->program->names[in->a]);
        break;
    case JINJA_OP_UNPACK:
        unpack(m, in->a);
        break;
    case JINJA_OP_NOT:
        push(m, jinja_bool(!jinja_true(pop(m))));
        break;
    case JINJA_OP_NEGATE:
        push(m, jinja_negate(m->run, pop(m)));
        break;
    case JINJA_OP_POSITIVE:
        push(m, jinja_negate(m->run, jinja_negate(m->run, pop(m))));
        break;
    case JINJA_OP_CONCAT:
        concatenate(m, in->a);
        break;
    default:
        binary(m, in);
        break;
    }
}

static void blocks(struct machine *m, const struct jinja_instruction *in)
{
    switch (in->op) {
    case JINJA_OP_TEXT:
        print(m, m->program->constants[in->a]);
        break;
    case JINJA_OP_PRINT:
        print(m, pop(m));
        break;
    case JINJA_OP_FOR_BEGIN:
        for_begin(m, in);
        break;
    case JINJA_OP_FOR_ENTER:
        for_enter(m);
        break;
    case JINJA_OP_FOR_END:
        for_end(m);
        break;
    case JINJA_OP_SCOPE_BEGIN:
        scope_begin(m);
        break;
    case JINJA_OP_SCOPE_END:
        scope_end(m);
        break;
    case JINJA_OP_CAPTURE_BEGIN:
        capture_begin(m);
        break;
    case JINJA_OP_CAPTURE_END:
        push(m, capture_end(m));
        break;
    case JINJA_OP_SPAN_BEGIN:
        span_begin(m);
        break;
    case JINJA_OP_SPAN_END:
        span_end(m);
        break;
    case JINJA_OP_MACRO:
        push(m, make_macro(m, in->a));
        break;
    case JINJA_OP_FILTER:
    case JINJA_OP_TEST:
        call_named(m, &m->program->sites[in->a], in->op == JINJA_OP_TEST);
        break;
    default:
        jinja_fail(m->run, LLM_E_INTERNAL, "unknown instruction %d", (int)in->op);
        break;
    }
}

/* One instruction; false at the end. */
static bool step(struct machine *m)
{
    const struct jinja_instruction *in = &m->program->code[m->pc];
    struct jinja_value value;

    m->at = m->pc;
    if (!jinja_charge(m->run, 1))
        return false;
    switch (in->op) {
    case JINJA_OP_END:
        return false;
    case JINJA_OP_JUMP:
        m->pc += in->a;
        return true;
    case JINJA_OP_JUMP_FALSE:
    case JINJA_OP_JUMP_FALSE_KEEP:
    case JINJA_OP_JUMP_TRUE_KEEP:
        m->pc += jumps(m, (enum jinja_op)in->op) ? in->a : 1;
        return true;
    case JINJA_OP_FOR_NEXT:
        m->pc += for_next(m) ? 1 : in->a;
        return true;
    case JINJA_OP_FOR_SKIP: {
        const struct jinja_loop *loop = current_loop(m);

        m->pc += loop && (loop->flags & JINJA_LOOP_AHEAD) && !loop->collecting ? in->a : 1;
        return true;
    }
    case JINJA_OP_FOR_TEST:
        m->pc += for_test(m) ? 1 : in->a;
        return true;
    case JINJA_OP_DEFAULT:
        m->pc += given(m, in->a) ? 1 : 2;
        return true;
    case JINJA_OP_CALL:
        m->pc++; /* where the callee returns to */
        call(m, &m->program->sites[in->a]);
        return true;
    case JINJA_OP_RECURSE:
        value = pop(m);
        m->pc++;
        if (enter(m, in->a, m->base))
            push(m, value);
        return true;
    case JINJA_OP_RETURN:
        leave(m);
        return true;
    default:
        break;
    }
    if (in->op < JINJA_OP_CONCAT + 1 && in->op != JINJA_OP_TEXT && in->op != JINJA_OP_PRINT)
        values(m, in);
    else
        blocks(m, in);
    m->pc++;
    return true;
}

/* Every name of the template: a variable, a global function, or nothing. */
static bool set_globals(struct machine *m, const struct jinja_dict *variables)
{
    const struct jinja_program *p = m->program;

    m->loop_name = -1;
    m->globals = jinja_alloc(m->run, (p->name_count + 1) * sizeof *m->globals);
    if (!m->globals)
        return false;
    for (size_t i = 0; i < p->name_count; i++) {
        struct jinja_value name = {.type = JINJA_STRING, .as.string = p->names[i]};
        struct jinja_value *value = jinja_dict_find(m->run, variables, name);
        int32_t function = jinja_find_function(p->names[i]->data, p->names[i]->size);

        m->globals[i].type = JINJA_MISSING;
        if (value)
            m->globals[i] = *value;
        else if (function >= 0)
            m->globals[i] =
                (struct jinja_value){.type = JINJA_FUNCTION, .extra = (uint32_t)function};
        if (jinja_is_text(name, "loop"))
            m->loop_name = (int32_t)i;
    }
    return !m->run->status;
}

llm_status jinja_execute(struct jinja_run *run, const struct jinja_program *program,
                         const struct jinja_dict *variables, struct jinja_result *result)
{
    struct machine m = {.run = run, .program = program, .result = result};

    *result = (struct jinja_result){0};
    jinja_builder_init(&result->output, run);
    if (set_globals(&m, variables)) {
        while (!run->status && step(&m)) {
        }
    }
    if (run->status && run->status != LLM_E_NOMEM)
        return status_prefix(run->status, "line %u", program->code[m.at].line);
    return run->status;
}
