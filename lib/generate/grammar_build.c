/* SPDX-License-Identifier: MIT */
#include "generate/grammar_build.h"

#include "base/checked.h"

#include <string.h>

static const struct fragment no_fragment = {-1, -1};

void builder_open(struct builder *builder, struct memory *memory)
{
    memset(builder, 0, sizeof *builder);
    builder->memory = memory;
    arena_init(&builder->arena, memory);
    map_init(&builder->names, memory);
}

void builder_close(struct builder *builder)
{
    memory_release(builder->memory, builder->automaton.nodes);
    memory_release(builder->memory, builder->automaton.rules);
    map_free(&builder->names);
    arena_free(&builder->arena);
    memset(&builder->automaton, 0, sizeof builder->automaton);
}

void builder_fail(struct builder *builder, llm_status status)
{
    if (!builder->status)
        builder->status = status;
}

/* ---- rules ------------------------------------------------------------------------------------
 */

int32_t builder_add_rule(struct builder *builder, const char *name, size_t size)
{
    struct automaton *automaton = &builder->automaton;
    char *copy = arena_copy_text(&builder->arena, name, size);
    llm_status status = copy ? builder->status : LLM_E_NOMEM;

    if (!status && automaton->rule_count >= GRAMMAR_MOST_RULES)
        status = status_set(LLM_E_RANGE, "more than %d rules", GRAMMAR_MOST_RULES);
    if (!status)
        status = memory_grow(builder->memory, (void **)&automaton->rules, &automaton->rule_capacity,
                             automaton->rule_count + 1, sizeof *automaton->rules);
    if (status) {
        builder_fail(builder, status);
        return 0;
    }
    automaton->rules[automaton->rule_count] = (struct rule){.name = copy, .start = -1};
    return (int32_t)automaton->rule_count++;
}

int32_t builder_rule(struct builder *builder, const char *name, size_t size)
{
    bool inserted = false;
    llm_status status;

    if (builder->status)
        return 0;
    status =
        map_put(&builder->names, name, size, (int64_t)builder->automaton.rule_count, &inserted);
    if (status) {
        builder_fail(builder, status);
        return 0;
    }
    return inserted ? builder_add_rule(builder, name, size)
                    : (int32_t)map_find(&builder->names, name, size)->value;
}

static int32_t add_node(struct builder *builder, enum node_kind kind)
{
    struct automaton *automaton = &builder->automaton;
    llm_status status = LLM_OK;

    if (builder->status)
        return -1;
    if (automaton->count >= GRAMMAR_MOST_NODES)
        status = status_set(LLM_E_RANGE, "the grammar is too large");
    if (!status)
        status = memory_grow(builder->memory, (void **)&automaton->nodes, &automaton->capacity,
                             automaton->count + 1, sizeof *automaton->nodes);
    if (status) {
        builder_fail(builder, status);
        return -1;
    }
    automaton->nodes[automaton->count] =
        (struct grammar_node){.kind = (uint8_t)kind, .next = -1, .other = -1, .rule = -1};
    return (int32_t)automaton->count++;
}

void builder_define(struct builder *builder, int32_t rule, struct fragment body)
{
    int32_t end = add_node(builder, NODE_END);

    if (builder->status)
        return;
    builder->automaton.nodes[body.last].next = end;
    builder->automaton.rules[rule].start = body.first;
}

/* ---- fragments --------------------------------------------------------------------------------
 */

int32_t builder_here(const struct builder *builder)
{
    return (int32_t)builder->automaton.count;
}

int32_t build_jump(struct builder *builder)
{
    return add_node(builder, NODE_JUMP);
}

struct fragment build_empty(struct builder *builder)
{
    int32_t node = build_jump(builder);

    return (struct fragment){node, node};
}

/* `node` and the jump behind it. */
static struct fragment close_node(struct builder *builder, int32_t node)
{
    int32_t last = build_jump(builder);

    if (builder->status)
        return no_fragment;
    builder->automaton.nodes[node].next = last;
    return (struct fragment){node, last};
}

struct fragment build_bytes(struct builder *builder, uint8_t low, uint8_t high)
{
    int32_t node = add_node(builder, NODE_BYTES);

    if (builder->status)
        return no_fragment;
    builder->automaton.nodes[node].low = low;
    builder->automaton.nodes[node].high = high;
    return close_node(builder, node);
}

struct fragment build_text(struct builder *builder, const char *bytes, size_t size)
{
    struct fragment all = build_empty(builder);

    for (size_t i = 0; i < size && !builder->status; i++) {
        uint8_t byte = (uint8_t)bytes[i];

        all = build_then(builder, all, build_bytes(builder, byte, byte));
    }
    return all;
}

struct fragment build_call(struct builder *builder, int32_t rule)
{
    int32_t node = add_node(builder, NODE_CALL);

    if (builder->status)
        return no_fragment;
    builder->automaton.nodes[node].rule = rule;
    return close_node(builder, node);
}

struct fragment build_then(struct builder *builder, struct fragment a, struct fragment b)
{
    if (builder->status)
        return no_fragment;
    builder->automaton.nodes[a.last].next = b.first;
    return (struct fragment){a.first, b.last};
}

void build_way(struct builder *builder, int32_t at, int32_t to)
{
    struct grammar_node *nodes;
    int32_t more;

    if (builder->status)
        return;
    nodes = builder->automaton.nodes;
    if (nodes[at].next < 0) {
        nodes[at].next = to;
        return;
    }
    more = build_jump(builder);
    if (builder->status)
        return;
    nodes = builder->automaton.nodes;
    nodes[more].next = to;
    nodes[more].other = nodes[at].other;
    nodes[at].other = more;
}

struct fragment build_either(struct builder *builder, struct fragment a, struct fragment b)
{
    int32_t first = build_jump(builder);
    int32_t last = build_jump(builder);

    build_way(builder, first, a.first);
    build_way(builder, first, b.first);
    build_way(builder, a.last, last);
    build_way(builder, b.last, last);
    return (struct fragment){first, last};
}

/* Nodes [begin, end) once more; they lead to one another only. */
static struct fragment copy_nodes(struct builder *builder, struct fragment fragment, int32_t begin,
                                  int32_t end)
{
    struct automaton *automaton = &builder->automaton;
    size_t count = (size_t)(end - begin);
    int32_t offset = (int32_t)automaton->count - begin;
    llm_status status = LLM_OK;

    if (builder->status)
        return no_fragment;
    if (automaton->count + count > GRAMMAR_MOST_NODES)
        status = status_set(LLM_E_RANGE, "a repetition makes the grammar too large");
    if (!status)
        status = memory_grow(builder->memory, (void **)&automaton->nodes, &automaton->capacity,
                             automaton->count + count, sizeof *automaton->nodes);
    if (status) {
        builder_fail(builder, status);
        return no_fragment;
    }
    for (size_t i = 0; i < count; i++) {
        struct grammar_node node = automaton->nodes[(size_t)begin + i];

        node.next += node.next >= 0 ? offset : 0;
        node.other += node.other >= 0 ? offset : 0;
        automaton->nodes[automaton->count + i] = node;
    }
    automaton->count += count;
    return (struct fragment){fragment.first + offset, fragment.last + offset};
}

/* Any number of times. */
static struct fragment build_star(struct builder *builder, struct fragment item)
{
    int32_t first = build_jump(builder);
    int32_t last = build_jump(builder);

    build_way(builder, first, item.first);
    build_way(builder, first, last);
    build_way(builder, item.last, first);
    return (struct fragment){first, last};
}

struct fragment build_repeat(struct builder *builder, struct fragment fragment, int32_t begin,
                             int64_t min, int64_t max)
{
    int32_t end = builder_here(builder);
    struct fragment all;
    int32_t last;

    if (builder->status || (min == 1 && max == 1))
        return fragment;
    if (min == 0 && max < 0)
        return build_star(builder, fragment);
    if ((max < 0 ? min : max) > GRAMMAR_MOST_NODES / (end - begin)) {
        builder_fail(builder, status_set(LLM_E_RANGE, "a repetition makes the grammar too large"));
        return no_fragment;
    }
    all = build_empty(builder);
    last = build_jump(builder);
    for (int64_t i = 0; i < (max < 0 ? min : max) && !builder->status; i++) {
        struct fragment copy = copy_nodes(builder, fragment, begin, end);

        if (i >= min)
            build_way(builder, all.last, last);
        build_way(builder, all.last, copy.first);
        all.last = copy.last;
    }
    if (max < 0) {
        struct fragment more = copy_nodes(builder, fragment, begin, end);

        all = build_then(builder, all, build_star(builder, more));
    }
    build_way(builder, all.last, last);
    return (struct fragment){all.first, last};
}

/* ---- groups -----------------------------------------------------------------------------------
 */

static void enter_group(struct pattern *pattern, int32_t begin)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    memset(group, 0, sizeof *group);
    group->begin = begin;
    group->sequence = build_empty(pattern->builder);
}

void pattern_begin(struct pattern *pattern, struct builder *builder)
{
    pattern->builder = builder;
    pattern->depth = 0;
    enter_group(pattern, builder_here(builder));
}

bool pattern_open(struct pattern *pattern)
{
    int32_t begin = builder_here(pattern->builder);

    if (pattern->depth >= GRAMMAR_MOST_NESTING)
        return false;
    pattern->depth++;
    enter_group(pattern, begin);
    return true;
}

static void flush_item(struct pattern *pattern)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    if (group->has_item)
        group->sequence = build_then(pattern->builder, group->sequence, group->item);
    group->has_item = false;
}

static void flush_sequence(struct pattern *pattern)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    flush_item(pattern);
    group->alternatives = group->has_alternatives
                              ? build_either(pattern->builder, group->alternatives, group->sequence)
                              : group->sequence;
    group->has_alternatives = true;
}

void pattern_item(struct pattern *pattern, struct fragment item, int32_t begin)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    flush_item(pattern);
    group->item = item;
    group->item_begin = begin;
    group->has_item = true;
}

bool pattern_repeat(struct pattern *pattern, int64_t min, int64_t max)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    if (!group->has_item)
        return false;
    group->item = build_repeat(pattern->builder, group->item, group->item_begin, min, max);
    return true;
}

void pattern_alternative(struct pattern *pattern)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    flush_sequence(pattern);
    group->sequence = build_empty(pattern->builder);
}

bool pattern_close(struct pattern *pattern)
{
    struct pattern_group *group = &pattern->groups[pattern->depth];

    if (pattern->depth == 0)
        return false;
    flush_sequence(pattern);
    pattern->depth--;
    pattern_item(pattern, group->alternatives, group->begin);
    return true;
}

struct fragment pattern_end(struct pattern *pattern)
{
    flush_sequence(pattern);
    return pattern->groups[0].alternatives;
}
