/* SPDX-License-Identifier: MIT
 *
 * Parameters and the tensors of GGUF files: most are the same, some have their rows in another
 * order, some are several in one. All of it is views, so that the same list reads and writes.
 */
#include "models/gguf_family.h"

#include <stdio.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static enum gguf_order order_of(const struct gguf_family *family, const char *name)
{
    for (const struct gguf_rule *rule = family->rules; rule->ending; rule++) {
        if (ends_with(name, rule->ending))
            return rule->order;
    }
    return GGUF_SAME;
}

/* "blk.0.ffn_gate.7.weight", one of many experts, lies in "blk.0.ffn_gate_exps.weight". */
static bool parse_expert(const char *name, char joined[64], int64_t *expert)
{
    static const char *const parts[] = {".ffn_gate.", ".ffn_up.", ".ffn_down."};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *at = strstr(name, parts[i]);
        const char *digits = at ? at + strlen(parts[i]) : NULL;
        int64_t number = 0;

        if (!digits || *digits < '0' || *digits > '9')
            continue;
        for (; *digits >= '0' && *digits <= '9'; digits++)
            number = number * 10 + (*digits - '0');
        if (strcmp(digits, ".weight") != 0)
            continue;
        (void)snprintf(joined, 64, "%.*s_exps.weight", (int)(at - name) + (int)strlen(parts[i]) - 1,
                       name);
        *expert = number;
        return true;
    }
    return false;
}

/* ---- parts -------------------------------------------------------------------------------------
 */

static struct gguf_part *add_part(struct gguf_tensor *tensor, struct arena *arena, size_t param)
{
    struct gguf_part *part = arena_alloc(arena, sizeof *part);
    struct gguf_part **end = &tensor->parts;

    if (!part)
        return NULL;
    part->param = param;
    while (*end)
        end = &(*end)->next;
    *end = part;
    return part;
}

/* All of the parameter as one row-major block. */
static llm_status add_whole(struct gguf_tensor *tensor, struct arena *arena, size_t param,
                            const llm_tensor *shape, int64_t begin)
{
    struct gguf_part *part = add_part(tensor, arena, param);

    if (!part)
        return LLM_E_NOMEM;
    part->begin = begin;
    part->dimensions = shape->dimensions;
    memcpy(part->shape, shape->shape, sizeof part->shape);
    memcpy(part->stride, shape->stride, sizeof part->stride);
    return LLM_OK;
}

/* Rows [head, half, i] of the parameter are rows [head, i, half] of the file. */
static llm_status add_interleaved(struct gguf_tensor *tensor, struct arena *arena, size_t param,
                                  const llm_tensor *shape, int64_t heads)
{
    struct gguf_part *part = add_part(tensor, arena, param);
    int64_t columns = shape->dimensions > 1 ? shape->shape[1] : 1;
    int64_t pairs = shape->shape[0] / heads / 2;

    if (!part)
        return LLM_E_NOMEM;
    part->dimensions = 4;
    part->shape[0] = heads;
    part->shape[1] = pairs;
    part->shape[2] = 2;
    part->shape[3] = columns;
    part->stride[0] = 2 * pairs * columns;
    part->stride[1] = columns;
    part->stride[2] = pairs * columns;
    part->stride[3] = 1;
    return LLM_OK;
}

/* Groups [q ... q k v] of rows become all q, all k, all v. */
static llm_status add_groups(struct gguf_tensor *tensor, struct arena *arena, size_t param,
                             const llm_tensor *shape, const llm_model *model)
{
    int64_t columns = shape->dimensions > 1 ? shape->shape[1] : 1;
    int64_t each = model->heads / model->kv_heads;
    int64_t heads[3] = {each, 1, 1};
    int64_t head = (int64_t)model->head_dim * columns;
    int64_t before = 0;
    int64_t begin = 0;

    for (int i = 0; i < 3; i++) {
        struct gguf_part *part = add_part(tensor, arena, param);

        if (!part)
            return LLM_E_NOMEM;
        part->dimensions = 3;
        part->shape[0] = model->kv_heads;
        part->shape[1] = heads[i] * model->head_dim;
        part->shape[2] = columns;
        part->stride[0] = (each + 2) * head;
        part->stride[1] = columns;
        part->stride[2] = 1;
        part->offset = before * head;
        part->begin = begin;
        before += heads[i];
        begin += model->kv_heads * heads[i] * head;
    }
    return LLM_OK;
}

static llm_status add_param(struct gguf_tensor *tensor, const llm_model *model,
                            const struct gguf_family *family, struct arena *arena, size_t index)
{
    const llm_tensor *shape = model->params.list[index].tensor;
    enum gguf_order order = order_of(family, tensor->name);

    tensor->dimensions = shape->dimensions;
    memcpy(tensor->shape, shape->shape, sizeof tensor->shape);
    tensor->plus_one = order == GGUF_PLUS_ONE;
    switch (order) {
    case GGUF_ROPE_QUERY:
        return add_interleaved(tensor, arena, index, shape, model->heads);
    case GGUF_ROPE_KEY:
        return add_interleaved(tensor, arena, index, shape, model->kv_heads);
    case GGUF_GROUPS:
        return add_groups(tensor, arena, index, shape, model);
    default:
        tensor->whole = !tensor->plus_one;
        return add_whole(tensor, arena, index, shape, 0);
    }
}

/* An expert's matrix as a slice of the joined tensor, whose first size is the number of experts. */
static llm_status add_expert(struct gguf_layout *layout, struct map *names, const char *joined,
                             int64_t expert, const llm_tensor *shape, struct arena *arena,
                             size_t index)
{
    struct gguf_tensor *tensor;
    bool inserted;
    llm_status status = map_put(names, joined, strlen(joined), (int64_t)layout->count, &inserted);

    if (status)
        return status;
    tensor = &layout->list[map_find(names, joined, strlen(joined))->value];
    if (inserted) {
        tensor->name = arena_copy_text(arena, joined, strlen(joined));
        if (!tensor->name)
            return LLM_E_NOMEM;
        tensor->dimensions = 3;
        tensor->shape[1] = shape->shape[0];
        tensor->shape[2] = shape->shape[1];
        layout->count++;
    }
    tensor->shape[0]++;
    return add_whole(tensor, arena, index, shape, expert * tensor_count(shape));
}

llm_status gguf_layout_make(struct gguf_layout *layout, const llm_model *model, struct arena *arena)
{
    const struct gguf_family *family = gguf_family_of_model(model);
    const struct params *params = &model->params;
    llm_status status = LLM_OK;
    struct map names;

    layout->count = 0;
    layout->list = arena_alloc(arena, (params->count + 1) * sizeof *layout->list);
    if (!layout->list)
        return LLM_E_NOMEM;
    if (!family)
        return status_set(LLM_E_UNSUPPORTED, "GGUF files of \"%s\" models are not supported",
                          model->arch->name);
    map_init(&names, &model->context->memory);
    for (size_t i = 0; i < params->count && !status; i++) {
        const struct param *param = &params->list[i];
        char joined[64];
        int64_t expert;

        if (!param->gguf_name) {
            if (!(param->flags & PARAM_OPTIONAL))
                status = status_set(LLM_E_UNSUPPORTED,
                                    "parameter \"%s\" has no place in GGUF files", param->name);
            continue;
        }
        if (parse_expert(param->gguf_name, joined, &expert)) {
            status = add_expert(layout, &names, joined, expert, param->tensor, arena, i);
            continue;
        }
        layout->list[layout->count].name = param->gguf_name;
        status = add_param(&layout->list[layout->count++], model, family, arena, i);
    }
    map_free(&names);
    return status;
}

void gguf_part_view(llm_tensor *view, const struct gguf_part *part, const llm_tensor *tensor)
{
    *view = *tensor;
    view->dimensions = part->dimensions;
    memcpy(view->shape, part->shape, sizeof view->shape);
    memcpy(view->stride, part->stride, sizeof view->stride);
    if (view->data)
        view->data = (char *)view->data + (size_t)part->offset * sizeof(float);
}
