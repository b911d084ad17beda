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
#include "chat/jinja_machine.h"

#include <string.h>

/* ---- the stack of values -----------------------------------------------------------------------
 */

void machine_push(struct machine *m, struct jinja_value value)
{
    if (jinja_grow(m->run, (void **)&m->stack, &m->capacity, m->count + 1, sizeof value))
        m->stack[m->count++] = value;
}

/* The compiler balances the stack; the check keeps a mistake there from becoming more. */
struct jinja_value machine_pop(struct machine *m)
{
    if (m->count == 0)
        return jinja_fail(m->run, LLM_E_INTERNAL, "the template's stack is empty");
    return m->stack[--m->count];
}

struct jinja_value *machine_top(struct machine *m, size_t count)
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

    jinja_charge(m->run, (m->variable_count - m->base) / 64); /* for the search */
    for (size_t i = m->variable_count; i > m->base; i--) {
        if (m->variables[i - 1].name == name) {
            value = m->variables[i - 1].value;
            break;
        }
    }
    /* Names are NUL-terminated in the program's arena. */
    return value.type == JINJA_MISSING ? jinja_undefined(m->program->names[name]->data) : value;
}

void machine_add_variable(struct machine *m, int32_t name, struct jinja_value value)
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
    jinja_charge(m->run, (m->variable_count - m->scopes[m->scope_count - 1]) / 64);
    for (size_t i = m->variable_count; i > m->scopes[m->scope_count - 1]; i--) {
        if (m->variables[i - 1].name == name) {
            m->variables[i - 1].value = value;
            return;
        }
    }
    machine_add_variable(m, name, value);
}

void machine_scope_begin(struct machine *m)
{
    if (jinja_grow(m->run, (void **)&m->scopes, &m->scope_capacity, m->scope_count + 1,
                   sizeof *m->scopes))
        m->scopes[m->scope_count++] = m->variable_count;
}

void machine_scope_end(struct machine *m)
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

void machine_capture_begin(struct machine *m)
{
    if (jinja_grow(m->run, (void **)&m->captures, &m->capture_capacity, m->capture_count + 1,
                   sizeof *m->captures))
        jinja_builder_init(&m->captures[m->capture_count++], m->run);
}

struct jinja_value machine_capture_end(struct machine *m)
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

/* ---- instructions ------------------------------------------------------------------------------
 */

static void make_list(struct machine *m, int32_t count, enum jinja_sequence kind)
{
    struct jinja_value *items = machine_top(m, (size_t)count);
    struct jinja_value list = jinja_list_new(m->run, kind, (size_t)count);

    for (int32_t i = 0; i < count && !m->run->status; i++)
        jinja_list_add(m->run, list, items[i]);
    m->count -= m->run->status ? 0 : (size_t)count;
    machine_push(m, list);
}

static void make_dict(struct machine *m, int32_t pairs)
{
    struct jinja_value *items = machine_top(m, (size_t)pairs * 2);
    struct jinja_value dict = jinja_dict_new(m->run, (size_t)pairs);

    for (int32_t i = 0; i < pairs && !m->run->status; i++)
        jinja_dict_put(m->run, dict.as.dict, items[2 * i], items[2 * i + 1]);
    m->count -= m->run->status ? 0 : (size_t)pairs * 2;
    machine_push(m, dict);
}

static void concatenate(struct machine *m, int32_t count)
{
    struct jinja_value *items = machine_top(m, (size_t)count);
    struct jinja_builder builder;

    jinja_builder_init(&builder, m->run);
    for (int32_t i = 0; i < count && !m->run->status; i++)
        jinja_build_str(&builder, items[i]);
    m->count -= m->run->status ? 0 : (size_t)count;
    machine_push(m, jinja_built(&builder));
}

static void unpack(struct machine *m, int32_t count)
{
    struct jinja_value items = jinja_walk(m->run, machine_pop(m));

    if (m->run->status)
        return;
    if (items.as.list->count != (size_t)count) {
        jinja_fail(m->run, LLM_E_FORMAT, "%s values to unpack (expected %d)",
                   items.as.list->count > (size_t)count ? "too many" : "not enough", (int)count);
        return;
    }
    while (count > 0)
        machine_push(m, items.as.list->items[--count]);
}

static void set_attribute(struct machine *m, const struct jinja_string *name)
{
    struct jinja_value space = machine_pop(m);
    struct jinja_value value = machine_pop(m);

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
    struct jinja_value b = machine_pop(m);
    struct jinja_value a = machine_pop(m);

    if (in->n)
        machine_push(m, b);
    machine_push(m, jinja_binary(m->run, (enum jinja_op)in->op, a, b));
}

static void slice(struct machine *m)
{
    struct jinja_value *bounds = machine_top(m, 3);
    struct jinja_value copy[3];
    struct jinja_value value;

    if (!bounds)
        return;
    memcpy(copy, bounds, sizeof copy);
    m->count -= 3;
    value = machine_pop(m);
    machine_push(m, jinja_slice(m->run, value, copy));
}

static void item(struct machine *m)
{
    struct jinja_value key = machine_pop(m);
    struct jinja_value value = machine_pop(m);

    machine_push(m, jinja_item(m->run, value, key));
}

static void swap(struct machine *m)
{
    struct jinja_value *two = machine_top(m, 2);

    if (two) {
        struct jinja_value other = two[0];

        two[0] = two[1];
        two[1] = other;
    }
}

/* Is the jump on the top of the stack taken? */
static bool jumps(struct machine *m, enum jinja_op op)
{
    bool truth = jinja_true(machine_pop(m));
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
        machine_push(m, m->program->constants[in->a]);
        break;
    case JINJA_OP_LOAD:
        machine_push(m, load(m, in->a));
        break;
    case JINJA_OP_STORE:
        store(m, in->a, machine_pop(m));
        break;
    case JINJA_OP_POP:
        machine_pop(m);
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
        value = machine_pop(m);
        machine_push(m, jinja_attribute(m->run, value, m->program->names[in->a]));
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
        machine_push(m, jinja_bool(!jinja_true(machine_pop(m))));
        break;
    case JINJA_OP_NEGATE:
        machine_push(m, jinja_negate(m->run, machine_pop(m)));
        break;
    case JINJA_OP_POSITIVE:
        machine_push(m, jinja_negate(m->run, jinja_negate(m->run, machine_pop(m))));
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
    struct jinja_loop *loop;

    switch (in->op) {
    case JINJA_OP_TEXT:
        print(m, m->program->constants[in->a]);
        break;
    case JINJA_OP_PRINT:
        print(m, machine_pop(m));
        break;
    case JINJA_OP_FOR_BEGIN:
        machine_for_begin(m, in);
        break;
    case JINJA_OP_FOR_ENTER:
        machine_for_enter(m);
        break;
    case JINJA_OP_FOR_DONE:
        loop = machine_loop(m);
        if (loop)
            loop->completed = true;
        break;
    case JINJA_OP_FOR_END:
        machine_for_end(m);
        break;
    case JINJA_OP_SCOPE_BEGIN:
        machine_scope_begin(m);
        break;
    case JINJA_OP_SCOPE_END:
        machine_scope_end(m);
        break;
    case JINJA_OP_CAPTURE_BEGIN:
        machine_capture_begin(m);
        break;
    case JINJA_OP_CAPTURE_END:
        machine_push(m, machine_capture_end(m));
        break;
    case JINJA_OP_SPAN_BEGIN:
        span_begin(m);
        break;
    case JINJA_OP_SPAN_END:
        span_end(m);
        break;
    case JINJA_OP_MACRO:
        machine_push(m, machine_make_macro(m, in->a));
        break;
    case JINJA_OP_FILTER:
    case JINJA_OP_TEST:
        machine_call_named(m, &m->program->sites[in->a], in->op == JINJA_OP_TEST);
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
        m->pc += machine_for_next(m) ? 1 : in->a;
        return true;
    case JINJA_OP_FOR_SKIP: {
        const struct jinja_loop *loop = machine_loop(m);

        m->pc += loop && (loop->flags & JINJA_LOOP_AHEAD) && !loop->collecting ? in->a : 1;
        return true;
    }
    case JINJA_OP_FOR_TEST:
        m->pc += machine_for_test(m) ? 1 : in->a;
        return true;
    case JINJA_OP_DEFAULT:
        m->pc += given(m, in->a) ? 1 : 2;
        return true;
    case JINJA_OP_CALL:
        m->pc++; /* where the callee returns to */
        machine_call(m, &m->program->sites[in->a]);
        return true;
    case JINJA_OP_RECURSE:
        value = machine_pop(m);
        m->pc++;
        if (machine_enter(m, in->a, m->base))
            machine_push(m, value);
        return true;
    case JINJA_OP_RETURN:
        machine_leave(m);
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
    if (set_globals(&m, variables) &&
        jinja_grow(run, (void **)&m.stack, &m.capacity, 64, sizeof *m.stack)) {
        while (!run->status && step(&m)) {
        }
    }
    if (run->status && run->status != LLM_E_NOMEM)
        return status_prefix(run->status, "line %u", program->code[m.at].line);
    return run->status;
}
