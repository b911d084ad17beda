/* SPDX-License-Identifier: MIT
 *
 * What a grammar must be before it runs: every rule defined, no rule that calls itself before it
 * has read a byte, a text that follows the root. Ways that never lead to an end are marked, so that
 * the automaton does not go there.
 */
#include "generate/grammar_build.h"

#include <string.h>

/* Edges of a graph over nodes or rules, by their origin. */
struct edges {
    int32_t *starts; /* [count + 1] */
    int32_t *ends;
};

static void edges_free(struct memory *memory, struct edges *edges)
{
    memory_release(memory, edges->starts);
    memory_release(memory, edges->ends);
}

/* The predecessors of every node: origins of JUMP and BYTES by target, and calls by what follows.
 */
static llm_status edges_backward(struct edges *edges, struct memory *memory,
                                 const struct automaton *automaton)
{
    size_t count = automaton->count;
    size_t total = 0;

    edges->starts = memory_alloc_zeroed(memory, count + 2, sizeof *edges->starts);
    edges->ends = memory_alloc_array(memory, 2 * count + 1, sizeof *edges->ends);
    if (!edges->starts || !edges->ends)
        return LLM_E_NOMEM;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            const int32_t to[2] = {automaton->nodes[i].next, automaton->nodes[i].other};

            for (int j = 0; j < 2; j++) {
                if (to[j] < 0)
                    continue;
                if (pass == 0)
                    edges->starts[to[j] + 2]++;
                else
                    edges->ends[edges->starts[to[j] + 1]++] = (int32_t)i;
            }
        }
        for (size_t i = 0; i <= count && pass == 0; i++) {
            total += (size_t)edges->starts[i + 1];
            edges->starts[i + 1] = (int32_t)total;
        }
    }
    return LLM_OK;
}

/* The calls of each rule, as lists: the first one, and the next one after each. */
struct calls {
    int32_t *first, *next;
};

static void calls_free(struct calls *calls, struct memory *memory)
{
    memory_release(memory, calls->first);
    memory_release(memory, calls->next);
}

static llm_status calls_find(struct calls *calls, struct memory *memory,
                             const struct automaton *automaton)
{
    calls->first = memory_alloc_array(memory, automaton->rule_count + 1, sizeof(int32_t));
    calls->next = memory_alloc_array(memory, automaton->count + 1, sizeof(int32_t));
    if (!calls->first || !calls->next)
        return LLM_E_NOMEM;
    for (size_t r = 0; r < automaton->rule_count; r++)
        calls->first[r] = -1;
    for (size_t i = 0; i < automaton->count; i++) {
        const struct grammar_node *node = &automaton->nodes[i];

        if (node->kind == NODE_CALL) {
            calls->next[i] = calls->first[node->rule];
            calls->first[node->rule] = (int32_t)i;
        }
    }
    return LLM_OK;
}

/* ---- from which nodes can the end of the rule be reached --------------------------------------
 */

struct reach {
    struct memory *memory;
    struct automaton *automaton;
    struct edges backward;
    bool *node, *rule; /* reached */
    struct calls calls;
    int32_t *queue;
    size_t queued;
    bool reads; /* over bytes; else only over what can be empty */
};

static void reach_free(struct reach *reach)
{
    edges_free(reach->memory, &reach->backward);
    memory_release(reach->memory, reach->node);
    memory_release(reach->memory, reach->rule);
    calls_free(&reach->calls, reach->memory);
    memory_release(reach->memory, reach->queue);
}

static llm_status reach_init(struct reach *reach, struct memory *memory,
                             struct automaton *automaton)
{
    memset(reach, 0, sizeof *reach);
    reach->memory = memory;
    reach->automaton = automaton;
    reach->node = memory_alloc_zeroed(memory, automaton->count + 1, 1);
    reach->rule = memory_alloc_zeroed(memory, automaton->rule_count + 1, 1);
    reach->queue = memory_alloc_array(memory, automaton->count + 1, sizeof(int32_t));
    if (!reach->node || !reach->rule || !reach->queue ||
        calls_find(&reach->calls, memory, automaton))
        return LLM_E_NOMEM;
    return edges_backward(&reach->backward, memory, automaton);
}

static void mark(struct reach *reach, int32_t node)
{
    if (!reach->node[node]) {
        reach->node[node] = true;
        reach->queue[reach->queued++] = node;
    }
}

static void mark_predecessor(struct reach *reach, int32_t i)
{
    const struct grammar_node *node = &reach->automaton->nodes[i];

    if (node->kind == NODE_JUMP || (node->kind == NODE_BYTES && reach->reads) ||
        (node->kind == NODE_CALL && reach->rule[node->rule]))
        mark(reach, i);
}

static void reach_all(struct reach *reach, const int32_t *rule_of_start)
{
    const struct automaton *automaton = reach->automaton;

    for (size_t i = 0; i < automaton->count; i++) {
        if (automaton->nodes[i].kind == NODE_END)
            mark(reach, (int32_t)i);
    }
    for (size_t done = 0; done < reach->queued; done++) {
        int32_t at = reach->queue[done];
        int32_t rule = rule_of_start[at];

        for (int32_t e = reach->backward.starts[at]; e < reach->backward.starts[at + 1]; e++)
            mark_predecessor(reach, reach->backward.ends[e]);
        if (rule < 0)
            continue;
        reach->rule[rule] = true;
        for (int32_t call = reach->calls.first[rule]; call >= 0; call = reach->calls.next[call]) {
            if (reach->node[automaton->nodes[call].next])
                mark(reach, call);
        }
    }
}

/* Sets is_nullable of rules, or is_productive of nodes. */
static llm_status find_reach(struct memory *memory, struct automaton *automaton, bool reads)
{
    struct reach reach;
    int32_t *rule_of_start = memory_alloc_array(memory, automaton->count + 1, sizeof(int32_t));
    llm_status status = reach_init(&reach, memory, automaton);

    reach.reads = reads;
    if (!rule_of_start)
        status = LLM_E_NOMEM;
    if (!status) {
        for (size_t i = 0; i < automaton->count; i++)
            rule_of_start[i] = -1;
        for (size_t r = 0; r < automaton->rule_count; r++)
            rule_of_start[automaton->rules[r].start] = (int32_t)r;
        reach_all(&reach, rule_of_start);
        for (size_t i = 0; i < automaton->count && reads; i++)
            automaton->nodes[i].is_productive = reach.node[i];
        for (size_t r = 0; r < automaton->rule_count && !reads; r++)
            automaton->rules[r].is_nullable = reach.rule[r];
    }
    reach_free(&reach);
    memory_release(memory, rule_of_start);
    return status;
}

/* ---- walks over the body of a rule ------------------------------------------------------------
 */

struct walk {
    struct memory *memory;
    int32_t *nodes; /* in the order they were found; room for all */
    size_t count;
    int32_t *seen; /* per node: the walk that found it last */
    int32_t number;
};

static llm_status walk_init(struct walk *walk, struct memory *memory, size_t nodes)
{
    memset(walk, 0, sizeof *walk);
    walk->memory = memory;
    walk->nodes = memory_alloc_array(memory, nodes + 1, sizeof(int32_t));
    walk->seen = memory_alloc_zeroed(memory, nodes + 1, sizeof(int32_t));
    return walk->nodes && walk->seen ? LLM_OK : LLM_E_NOMEM;
}

static void walk_free(struct walk *walk)
{
    memory_release(walk->memory, walk->nodes);
    memory_release(walk->memory, walk->seen);
}

static void walk_to(struct walk *walk, int32_t node)
{
    if (node >= 0 && walk->seen[node] != walk->number) {
        walk->seen[node] = walk->number;
        walk->nodes[walk->count++] = node;
    }
}

/* The nodes of a body that are reached before a byte is read. */
static void walk_body(struct walk *walk, const struct automaton *automaton, int32_t rule)
{
    walk->number++;
    walk->count = 0;
    walk_to(walk, automaton->rules[rule].start);
    for (size_t i = 0; i < walk->count; i++) {
        const struct grammar_node *node = &automaton->nodes[walk->nodes[i]];
        bool is_passed = node->kind == NODE_JUMP ||
                         (node->kind == NODE_CALL && automaton->rules[node->rule].is_nullable);

        if (is_passed)
            walk_to(walk, node->next);
        if (node->kind == NODE_JUMP)
            walk_to(walk, node->other);
    }
}

/* Who calls whom before a byte is read, once per call, as edges from rule to rule. */
static llm_status edges_calls(struct edges *edges, struct memory *memory,
                              const struct automaton *automaton)
{
    struct walk walk;
    llm_status status = walk_init(&walk, memory, automaton->count);
    size_t capacity = 0;
    size_t total = 0;

    edges->starts = memory_alloc_zeroed(memory, automaton->rule_count + 1, sizeof(int32_t));
    if (!edges->starts)
        status = LLM_E_NOMEM;
    for (size_t r = 0; r < automaton->rule_count && !status; r++) {
        walk_body(&walk, automaton, (int32_t)r);
        for (size_t i = 0; i < walk.count && !status; i++) {
            const struct grammar_node *node = &automaton->nodes[walk.nodes[i]];

            if (node->kind != NODE_CALL)
                continue;
            status =
                memory_grow(memory, (void **)&edges->ends, &capacity, total + 1, sizeof(int32_t));
            if (!status)
                edges->ends[total++] = node->rule;
        }
        edges->starts[r + 1] = (int32_t)total;
    }
    walk_free(&walk);
    return status;
}

/* Rules such that each comes behind those that call it (Kahn, 1962); those on cycles, and those
 * called from there, are left out. */
static llm_status sort_rules(int32_t *order, size_t *count_out, const struct edges *edges,
                             struct memory *memory, size_t rules)
{
    int32_t *callers = memory_alloc_zeroed(memory, rules + 1, sizeof *callers);
    size_t count = 0;

    *count_out = 0;
    if (!callers)
        return LLM_E_NOMEM;
    for (int32_t e = 0; e < edges->starts[rules]; e++)
        callers[edges->ends[e]]++;
    for (size_t r = 0; r < rules; r++) {
        if (!callers[r])
            order[count++] = (int32_t)r;
    }
    for (size_t i = 0; i < count; i++) {
        for (int32_t e = edges->starts[order[i]]; e < edges->starts[order[i] + 1]; e++) {
            if (--callers[edges->ends[e]] == 0)
                order[count++] = edges->ends[e];
        }
    }
    memory_release(memory, callers);
    *count_out = count;
    return LLM_OK;
}

/* A rule on a cycle: from a rule that was left out, backwards through rules that were, for long
 * enough. */
static int32_t on_cycle(const struct edges *edges, const int32_t *order, size_t ordered,
                        struct memory *memory, size_t rules)
{
    int32_t *caller = memory_alloc_array(memory, rules, sizeof *caller);
    bool *is_sorted = memory_alloc_zeroed(memory, rules, 1);
    int32_t rule = 0;

    if (caller && is_sorted) {
        for (size_t i = 0; i < ordered; i++)
            is_sorted[order[i]] = true;
        for (size_t r = 0; r < rules; r++) {
            for (int32_t e = edges->starts[r]; e < edges->starts[r + 1] && !is_sorted[r]; e++)
                caller[edges->ends[e]] = (int32_t)r;
        }
        while (is_sorted[rule])
            rule++;
        for (size_t i = 0; i < rules; i++)
            rule = caller[rule];
    }
    memory_release(memory, caller);
    memory_release(memory, is_sorted);
    return rule;
}

static llm_status refuse_left_recursion(struct memory *memory, const struct automaton *automaton)
{
    size_t rules = automaton->rule_count;
    int32_t *order = memory_alloc_array(memory, rules, sizeof *order);
    struct edges edges = {NULL, NULL};
    size_t ordered = 0;
    llm_status status = edges_calls(&edges, memory, automaton);

    if (!order)
        status = LLM_E_NOMEM;
    if (!status)
        status = sort_rules(order, &ordered, &edges, memory, rules);
    if (!status && ordered < rules)
        status =
            status_set(LLM_E_FORMAT, "rule \"%.100s\" calls itself before it has read a character",
                       automaton->rules[on_cycle(&edges, order, ordered, memory, rules)].name);
    edges_free(memory, &edges);
    memory_release(memory, order);
    return status;
}

/* ---- all together -----------------------------------------------------------------------------
 */

static llm_status check_defined(const struct automaton *automaton)
{
    for (size_t r = 0; r < automaton->rule_count; r++) {
        if (automaton->rules[r].start < 0)
            return status_set(LLM_E_FORMAT, "rule \"%.100s\" is not defined",
                              automaton->rules[r].name);
    }
    return automaton->rule_count ? LLM_OK : status_set(LLM_E_FORMAT, "there are no rules");
}

/* Does nothing but the end follow? Looks a few jumps ahead. */
static bool leads_to_end(const struct automaton *automaton, int32_t at)
{
    for (int i = 0; i < 16 && at >= 0; i++) {
        const struct grammar_node *node = &automaton->nodes[at];

        if (node->kind == NODE_END)
            return true;
        if (node->kind != NODE_JUMP || node->other >= 0)
            return false;
        at = node->next;
    }
    return false;
}

/* Behind jumps that lead to one place only; not all of them when they are very many in a row. */
static int32_t skip_jumps(const struct automaton *automaton, int32_t at)
{
    for (int i = 0; i < 64 && at >= 0; i++) {
        const struct grammar_node *node = &automaton->nodes[at];

        if (node->kind != NODE_JUMP || node->other >= 0 || node->next < 0)
            return at;
        at = node->next;
    }
    return at;
}

static void shorten_ways(struct automaton *automaton)
{
    for (size_t i = 0; i < automaton->count; i++) {
        struct grammar_node *node = &automaton->nodes[i];

        node->next = skip_jumps(automaton, node->next);
        node->other = skip_jumps(automaton, node->other);
    }
}

llm_status automaton_finish(struct builder *builder)
{
    struct automaton *automaton = &builder->automaton;
    struct memory *memory = builder->memory;

    if (!builder->status)
        builder_fail(builder, check_defined(automaton));
    if (!builder->status)
        builder_fail(builder, find_reach(memory, automaton, false));
    if (!builder->status)
        builder_fail(builder, refuse_left_recursion(memory, automaton));
    if (!builder->status)
        builder_fail(builder, find_reach(memory, automaton, true));
    if (builder->status)
        return builder->status;
    shorten_ways(automaton);
    if (!automaton->nodes[automaton->rules[0].start].is_productive)
        return status_set(LLM_E_FORMAT, "no text follows the grammar: every way goes on forever");
    for (size_t i = 0; i < automaton->count; i++) {
        struct grammar_node *node = &automaton->nodes[i];

        node->is_tail = node->kind == NODE_CALL && leads_to_end(automaton, node->next);
    }
    return LLM_OK;
}
