/* SPDX-License-Identifier: MIT */
#include "nn/experts.h"

#include "graph/op.h"
#include "nn/stack.h"

#include <stdio.h>
#include <string.h>

/* Mixtral's files call gate, up and down w1, w3 and w2. */
static void declare_expert(struct gated_mlp *mlp, struct params *params,
                           const struct experts_spec *spec, int32_t layer, int32_t expert)
{
    const struct {
        struct linear *linear;
        struct linear_spec spec;
        const char *name, *gguf;
    } parts[] = {
        {&mlp->gate, {spec->dim, spec->inner, false, 0, spec->deviation}, "w1", "gate"},
        {&mlp->down, {spec->inner, spec->dim, false, 0, spec->down_deviation}, "w2", "down"},
        {&mlp->up, {spec->dim, spec->inner, false, 0, spec->deviation}, "w3", "up"},
    };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[128], gguf[128];

        (void)snprintf(name, sizeof name, "model.layers.%d.block_sparse_moe.experts.%d.%s", layer,
                       expert, parts[i].name);
        (void)snprintf(gguf, sizeof gguf, "blk.%d.ffn_%s.%d", layer, parts[i].gguf, expert);
        linear_declare(parts[i].linear, params, &parts[i].spec, name, gguf);
    }
    mlp->activation = spec->activation;
}

llm_status experts_declare(struct experts *experts, struct params *params, struct arena *arena,
                           const struct experts_spec *spec, int32_t layer)
{
    struct linear_spec router = {spec->dim, spec->count, false, 0, spec->deviation};
    char name[128], gguf[128];

    experts->count = spec->count;
    experts->used = spec->used;
    experts->list = arena_alloc(arena, sizeof *experts->list * (size_t)spec->count);
    if (!experts->list)
        return LLM_E_NOMEM;
    memset(experts->list, 0, sizeof *experts->list * (size_t)spec->count);
    (void)snprintf(name, sizeof name, "model.layers.%d.block_sparse_moe.gate", layer);
    (void)snprintf(gguf, sizeof gguf, "blk.%d.ffn_gate_inp", layer);
    linear_declare(&experts->router, params, &router, name, gguf);
    for (int32_t e = 0; e < spec->count && !params->status; e++)
        declare_expert(&experts->list[e], params, spec, layer, e);
    return params->status;
}

/* ---- routing -----------------------------------------------------------------------------------
 *
 * A choice is a pair of token and slot (first, second, .. pick of that token), numbered
 * token * used + slot. Sorted by expert they are the rows that the experts compute.
 */

struct routes {
    int32_t *picked; /* [N * used]: the expert of each choice */
    int32_t *flat;   /* [N * used]: of each choice, its place in [N, E] probabilities */
    int32_t *tokens; /* [N * used]: the token of each row */
    int32_t *rows;   /* [N * used]: the row of each choice */
    int32_t *begins; /* [E + 1]: the rows of each expert */
};

/* The most probable experts of one token, best first; of equals the first. */
static void pick(int32_t *picked, int32_t used, const float *probabilities, int32_t count)
{
    for (int32_t slot = 0; slot < used; slot++) {
        int32_t best = -1;

        for (int32_t e = 0; e < count; e++) {
            bool taken = false;

            for (int32_t s = 0; s < slot; s++)
                taken |= picked[s] == e;
            if (!taken && (best < 0 || probabilities[e] > probabilities[best]))
                best = e;
        }
        picked[slot] = best;
    }
}

static bool find_routes(struct cx *cx, struct routes *routes, const struct experts *experts,
                        llm_tensor *probabilities /* [N, E] */)
{
    const float *values = cx_values(cx, probabilities);
    size_t tokens = values ? (size_t)probabilities->shape[0] : 0;
    size_t choices = tokens * (size_t)experts->used;
    int32_t *memory =
        arena_alloc(&cx->arena, sizeof *memory * (4 * choices + (size_t)experts->count + 1));

    if (!values)
        return false;
    if (!memory) {
        cx_adopt(cx, LLM_E_NOMEM);
        return false;
    }
    *routes = (struct routes){memory, memory + choices, memory + 2 * choices, memory + 3 * choices,
                              memory + 4 * choices};
    memset(routes->begins, 0, sizeof *memory * ((size_t)experts->count + 1));
    for (size_t t = 0; t < tokens; t++)
        pick(routes->picked + t * (size_t)experts->used, experts->used,
             values + t * (size_t)experts->count, experts->count);
    for (size_t c = 0; c < choices; c++)
        routes->begins[routes->picked[c] + 1]++;
    for (int32_t e = 0; e < experts->count; e++)
        routes->begins[e + 1] += routes->begins[e];
    for (size_t c = 0; c < choices; c++) {
        int32_t row = routes->begins[routes->picked[c]]++;

        routes->tokens[row] = (int32_t)(c / (size_t)experts->used);
        routes->rows[c] = row;
        routes->flat[c] = routes->tokens[row] * experts->count + routes->picked[c];
    }
    memmove(routes->begins + 1, routes->begins, sizeof *memory * (size_t)experts->count);
    routes->begins[0] = 0;
    return true;
}

/* The picked probabilities of each token, made to sum to one: [N, used, 1]. */
static llm_tensor *weigh(struct cx *cx, const struct routes *routes, llm_tensor *probabilities,
                         int64_t tokens, int64_t used)
{
    int64_t column[2] = {tokens * tensor_last(probabilities), 1};
    int64_t shape[3] = {tokens, used, 1};
    llm_tensor *picked =
        op_select_rows(cx, op_reshape(cx, probabilities, 2, column), routes->flat, tokens * used);

    picked = op_reshape(cx, picked, 3, shape);
    return op_div(cx, picked, op_sum(cx, picked, 1u << 1, true));
}

/* All rows of all experts, end to end: [N * used, D]. */
static llm_tensor *compute(struct cx *cx, const struct experts *experts,
                           const struct routes *routes, llm_tensor *x)
{
    llm_tensor **parts = arena_alloc(&cx->arena, sizeof(llm_tensor *) * (size_t)experts->count);
    int64_t count = 0;

    if (!parts)
        return cx_adopt(cx, LLM_E_NOMEM);
    for (int32_t e = 0; e < experts->count; e++) {
        int32_t begin = routes->begins[e];
        int32_t rows = routes->begins[e + 1] - begin;
        llm_tensor *own;

        if (!rows)
            continue;
        own = op_select_rows(cx, x, routes->tokens + begin, rows);
        parts[count++] = gated_mlp_forward(cx, &experts->list[e], own);
        cx_release(cx, own);
    }
    return stack_rows(cx, parts, count);
}

llm_tensor *experts_forward(struct cx *cx, const struct experts *experts, llm_tensor *x)
{
    llm_tensor *probabilities = op_softmax(cx, linear_forward(cx, &experts->router, x), -1);
    struct routes routes;
    llm_tensor *weights, *rows, *weighted;
    int64_t shape[3];

    if (!probabilities || !find_routes(cx, &routes, experts, probabilities))
        return NULL;
    shape[0] = x->shape[0];
    shape[1] = experts->used;
    shape[2] = x->shape[1];
    weights = weigh(cx, &routes, probabilities, shape[0], shape[1]);
    rows = op_select_rows(cx, compute(cx, experts, &routes, x), routes.rows, shape[0] * shape[1]);
    weighted = op_mul(cx, op_reshape(cx, rows, 3, shape), weights); /* [N, used, D] */
    return op_sum(cx, weighted, 1u << 1, false);
}
