/* SPDX-License-Identifier: MIT
 *
 * The compiler's tools: emitting instructions, constants and names, looking at tokens.
 */
#include "chat/jinja_compiler.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void jinja_compile_error(struct jinja_compiler *c, llm_status status, const char *format, ...)
{
    char text[256];
    va_list args;

    if (c->status)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->status = status_set(status, "line %u: %s%s", c->token->line, text,
                           status == LLM_E_UNSUPPORTED ? " (not supported)" : "");
}

bool jinja_enter(struct jinja_compiler *c)
{
    if (c->depth == JINJA_NESTING)
        jinja_compile_error(c, LLM_E_RANGE, "nested deeper than %d levels", JINJA_NESTING);
    if (c->status)
        return false;
    c->depth++;
    return true;
}

static bool reserve(struct jinja_compiler *c, void **array, size_t *capacity, size_t count,
                    size_t size)
{
    if (!c->status)
        c->status = memory_grow(c->program->memory, array, capacity, count + 1, size);
    return !c->status;
}

int32_t jinja_emit(struct jinja_compiler *c, enum jinja_op op, uint32_t n, int32_t a)
{
    struct jinja_program *p = c->program;

    if (!reserve(c, (void **)&p->code, &p->capacity, p->count, sizeof *p->code))
        return 0;
    p->code[p->count] = (struct jinja_instruction){(uint16_t)op, (uint16_t)n, a, c->token->line};
    return (int32_t)p->count++;
}

void jinja_patch(struct jinja_compiler *c, int32_t index, int32_t target)
{
    if (!c->status)
        c->program->code[index].a = target - index;
}

int32_t jinja_constant(struct jinja_compiler *c, struct jinja_value value)
{
    struct jinja_program *p = c->program;

    if (!reserve(c, (void **)&p->constants, &p->constant_capacity, p->constant_count,
                 sizeof *p->constants))
        return 0;
    p->constants[p->constant_count] = value;
    return (int32_t)p->constant_count++;
}

static const struct jinja_string *keep_string(struct jinja_compiler *c, const char *data,
                                              size_t size)
{
    struct jinja_string *string = arena_alloc(&c->program->arena, sizeof *string);
    char *copy = string ? arena_copy_text(&c->program->arena, data ? data : "", size) : NULL;

    if (!copy) {
        c->status = LLM_E_NOMEM;
        return NULL;
    }
    *string = (struct jinja_string){copy, size, NULL, JINJA_TRUSTED};
    return string;
}

int32_t jinja_string_constant(struct jinja_compiler *c, const char *data, size_t size)
{
    const struct jinja_string *string = keep_string(c, data, size);

    return string
               ? jinja_constant(c, (struct jinja_value){.type = JINJA_STRING, .as.string = string})
               : 0;
}

int32_t jinja_name(struct jinja_compiler *c, const char *data, size_t size)
{
    struct jinja_program *p = c->program;

    const struct map_entry *known = map_find(&c->names, data, size);
    bool inserted;

    if (known)
        return (int32_t)known->value;
    if (p->name_count == 4096)
        jinja_compile_error(c, LLM_E_RANGE, "more than 4096 different names");
    if (!reserve(c, (void **)&p->names, &p->name_capacity, p->name_count, sizeof *p->names))
        return 0;
    p->names[p->name_count] = keep_string(c, data, size);
    if (!c->status)
        c->status = map_put(&c->names, data, size, (int64_t)p->name_count, &inserted);
    return c->status ? 0 : (int32_t)p->name_count++;
}

int32_t jinja_add_site(struct jinja_compiler *c, struct jinja_site site)
{
    struct jinja_program *p = c->program;

    if (!reserve(c, (void **)&p->sites, &p->site_capacity, p->site_count, sizeof *p->sites))
        return 0;
    p->sites[p->site_count] = site;
    return (int32_t)p->site_count++;
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

bool jinja_at_name(const struct jinja_compiler *c, const char *name)
{
    return c->token->type == JINJA_T_NAME && c->token->size == strlen(name) &&
           memcmp(c->token->text, name, c->token->size) == 0;
}

void jinja_advance(struct jinja_compiler *c)
{
    if (c->token->type != JINJA_T_END)
        c->token++;
}

bool jinja_accept(struct jinja_compiler *c, enum jinja_token_type type)
{
    bool found = c->token->type == type;

    if (found)
        jinja_advance(c);
    return found;
}

bool jinja_accept_name(struct jinja_compiler *c, const char *name)
{
    bool found = jinja_at_name(c, name);

    if (found)
        jinja_advance(c);
    return found;
}

void jinja_expect(struct jinja_compiler *c, enum jinja_token_type type, const char *what)
{
    if (!c->status && !jinja_accept(c, type))
        jinja_compile_error(c, LLM_E_FORMAT, "%s was expected", what);
}

void jinja_program_free(struct jinja_program *program)
{
    if (!program->memory)
        return;
    memory_release(program->memory, program->code);
    memory_release(program->memory, program->constants);
    memory_release(program->memory, program->names);
    memory_release(program->memory, program->sites);
    memory_release(program->memory, program->macros);
    arena_free(&program->arena);
    *program = (struct jinja_program){0};
}
