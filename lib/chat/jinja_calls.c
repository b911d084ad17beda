/* SPDX-License-Identifier: MIT
 *
 * The stack machine's loops and calls.
 */
#include "chat/jinja_machine.h"

#include <string.h>

/* ---- loops -------------------------------------------------------------------------------------
 */

struct jinja_loop *machine_loop(struct machine *m)
{
    if (m->loop_count == 0)
        jinja_fail(m->run, LLM_E_INTERNAL, "no loop is running");
    return m->loop_count ? m->loops[m->loop_count - 1] : NULL;
}

void machine_for_begin(struct machine *m, const struct jinja_instruction *in)
{
    struct jinja_loop *loop = jinja_alloc(m->run, sizeof *loop);
    struct jinja_value walked = machine_pop(m);

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
    machine_scope_begin(m);
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
bool machine_for_next(struct machine *m)
{
    struct jinja_loop *loop = machine_loop(m);

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
    machine_push(m, loop->items.as.list->items[loop->position++]);
    return true;
}

bool machine_for_test(struct machine *m)
{
    struct jinja_loop *loop = machine_loop(m);
    bool passed = jinja_true(machine_pop(m));

    if (!loop || !loop->collecting)
        return passed;
    if (passed && loop->position)
        jinja_list_add(m->run, loop->kept, loop->items.as.list->items[loop->position - 1]);
    return false;
}

void machine_for_enter(struct machine *m)
{
    struct jinja_loop *loop = machine_loop(m);

    if (!loop || !loop->position)
        return;
    loop->index = loop->entered ? loop->index + 1 : 0;
    loop->entered = true;
    loop->previous = loop->current;
    loop->current = loop->items.as.list->items[loop->position - 1];
    if (m->loop_name >= 0)
        machine_add_variable(m, m->loop_name,
                             (struct jinja_value){.type = JINJA_LOOP, .as.loop = loop});
}

void machine_for_end(struct machine *m)
{
    struct jinja_loop *loop = machine_loop(m);

    if (loop) {
        unwind(m, loop);
        machine_scope_end(m);
        m->loop_count--;
        machine_push(m, jinja_bool(loop->completed));
    }
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* A new frame that goes on at `entry`; output is captured until it returns. */
bool machine_enter(struct machine *m, int32_t entry, size_t base)
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
    machine_scope_begin(m);
    machine_capture_begin(m);
    m->pc = entry;
    return !m->run->status;
}

void machine_leave(struct machine *m)
{
    struct jinja_value text = machine_capture_end(m);
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
    machine_push(m, text);
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
    machine_add_variable(m, code->varargs, list);
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
        machine_add_variable(m, code->kwargs, dict);
}

static void call_macro(struct machine *m, const struct jinja_macro *macro,
                       const struct jinja_arguments *args)
{
    const struct jinja_macro_code *code = macro->code;
    size_t base = m->variable_count;
    size_t before;

    if (!machine_enter(m, code->entry, base))
        return;
    for (size_t i = 0; i < macro->closure_count; i++)
        machine_add_variable(m, macro->closure[i].name, macro->closure[i].value);
    if (code->name >= 0 && macro->closure_count)
        machine_add_variable(
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
        machine_add_variable(m, code->names[i], value);
    }
    if (code->caller >= 0) {
        const struct jinja_value *caller = keyword(args, m->program->names[code->caller]);

        machine_add_variable(m, code->caller, caller ? *caller : jinja_undefined("caller"));
    }
    bind_rest(m, code, args);
    bind_keywords(m, code, args);
}

struct jinja_value machine_make_macro(struct machine *m, int32_t index)
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

/* How many values of a call lie on the stack. */
static size_t site_count(const struct jinja_site *site)
{
    return (size_t)site->positional + site->keywords + site->spread_list + site->spread_dict;
}

/* Arguments with those that *values and **values stand for. */
static struct jinja_arguments spread(struct machine *m, const struct jinja_site *site,
                                     const struct jinja_value *values)
{
    struct jinja_arguments args = {NULL, site->positional, site->keywords, NULL};
    size_t plain = (size_t)site->positional + site->keywords;
    struct jinja_value list = jinja_list_new(m->run, JINJA_SEQ_LIST, 0);
    const struct jinja_dict *dict = NULL;
    struct jinja_value *all;
    const struct jinja_string **names;

    if (site->spread_list)
        list = jinja_walk(m->run, values[plain]);
    if (site->spread_dict && values[plain + site->spread_list].type == JINJA_DICT)
        dict = values[plain + site->spread_list].as.dict;
    else if (site->spread_dict)
        jinja_fail(m->run, LLM_E_FORMAT, "argument after ** must be a mapping");
    if (m->run->status)
        return args;
    args.positional += list.as.list->count;
    args.keywords += dict ? dict->count : 0;
    all = jinja_alloc(m->run, (args.positional + args.keywords + 1) * sizeof *all);
    names = jinja_alloc(m->run, (args.keywords + 1) * sizeof *names);
    if (m->run->status)
        return args;
    memcpy(all, values, site->positional * sizeof *all);
    for (size_t i = 0; i < list.as.list->count; i++)
        all[site->positional + i] = list.as.list->items[i];
    for (size_t i = 0; i < site->keywords; i++) {
        all[args.positional + i] = values[site->positional + i];
        names[i] = site->names[i];
    }
    for (size_t i = 0; dict && i < dict->count; i++) {
        all[args.positional + site->keywords + i] = dict->entries[i].value;
        names[site->keywords + i] = jinja_string_argument(m->run, dict->entries[i].key);
    }
    args.values = all;
    args.names = names;
    return args;
}

static struct jinja_arguments site_arguments(struct machine *m, const struct jinja_site *site)
{
    struct jinja_arguments args = {machine_top(m, site_count(site)), site->positional,
                                   site->keywords, site->names};

    if (args.values && (site->spread_list || site->spread_dict))
        return spread(m, site, args.values);
    return args;
}

/* {{ loop(items) }}: the loop again, on other items. */
static void call_loop(struct machine *m, const struct jinja_loop *loop,
                      const struct jinja_arguments *args, size_t count)
{
    struct jinja_value items;

    if (!(loop->flags & JINJA_LOOP_RECURSIVE) || args->positional != 1 || args->keywords) {
        jinja_fail(m->run, LLM_E_FORMAT, "The loop must have the 'recursive' marker to be called");
        return;
    }
    items = args->values[0];
    m->count -= count + 1;
    if (machine_enter(m, loop->begin, m->base))
        machine_push(m, items);
}

void machine_call(struct machine *m, const struct jinja_site *site)
{
    struct jinja_arguments args = site_arguments(m, site);
    size_t count = site_count(site);
    struct jinja_value *callee = machine_top(m, count + 1);
    struct jinja_value value;

    if (!callee || m->run->status)
        return;
    value = *callee;
    if (value.type == JINJA_LOOP) {
        call_loop(m, value.as.loop, &args, count);
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
    machine_push(m, value);
}

/* Filters and tests: the value lies below its arguments. */
void machine_call_named(struct machine *m, const struct jinja_site *site, bool is_test)
{
    struct jinja_arguments args = site_arguments(m, site);
    size_t count = site_count(site);
    struct jinja_value *self = machine_top(m, count + 1);
    struct jinja_value value;

    if (!self || m->run->status)
        return;
    value = *self;
    if (is_test)
        value = jinja_bool(jinja_call_test(m->run, site->builtin, site->name, value, &args));
    else
        value = jinja_call_filter(m->run, site->builtin, site->name, value, &args);
    m->count -= count + 1;
    machine_push(m, value);
}
