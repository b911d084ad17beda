/* SPDX-License-Identifier: MIT
 *
 * The optimizer's state as a safetensors file: for each parameter its moments under torch's names
 * ("<name>.exp_avg", "<name>.exp_avg_sq", "<name>.momentum_buffer") and "steps" with their counts.
 */
#include "train/optimizer.h"

#include "formats/safetensors.h"

#include <string.h>

struct state_list {
    struct memory *memory;
    struct arena arena; /* names */
    struct safetensors_item *items;
    llm_tensor *tensors; /* headers only, over the optimizer's arrays */
    int64_t *steps;
    size_t count;
};

static void state_list_free(struct state_list *list)
{
    memory_release(list->memory, list->items);
    memory_release(list->memory, list->tensors);
    memory_release(list->memory, list->steps);
    arena_free(&list->arena);
}

static llm_status add(struct state_list *list, llm_context *context, const char *name,
                      const char *suffix, int32_t dtype, int64_t elements, void *data)
{
    llm_tensor *tensor = &list->tensors[list->count];
    struct safetensors_item *item = &list->items[list->count];
    size_t length = strlen(name);
    char *full = arena_alloc(&list->arena, length + strlen(suffix) + 1);
    llm_status status;

    if (!full)
        return LLM_E_NOMEM;
    memcpy(full, name, length);
    memcpy(full + length, suffix, strlen(suffix) + 1);
    status = tensor_set_shape(tensor, dtype, 1, &elements, NULL);
    tensor->context = context;
    tensor->data = data;
    item->name = full;
    item->tensor = tensor;
    item->dtype = dtype;
    list->count++;
    return status;
}

/* Every array of the state as a named tensor; reading and writing walk the same list. */
static llm_status state_list_make(struct state_list *list, const llm_optimizer *optimizer)
{
    llm_context *context = optimizer->context;
    bool is_adamw = optimizer->options.kind == LLM_OPTIMIZER_ADAMW;
    size_t room = optimizer->param_count * 2 + 1;
    llm_status status = LLM_OK;

    memset(list, 0, sizeof *list);
    list->memory = &context->memory;
    arena_init(&list->arena, list->memory);
    list->items = memory_alloc_zeroed(list->memory, room, sizeof *list->items);
    list->tensors = memory_alloc_zeroed(list->memory, room, sizeof *list->tensors);
    list->steps = memory_alloc_zeroed(list->memory, room, sizeof *list->steps);
    if (!list->items || !list->tensors || !list->steps)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < optimizer->param_count && !status; i++) {
        const struct optimizer_param *param = &optimizer->params[i];

        list->steps[i] = param->steps;
        if (param->first)
            status = add(list, context, param->name, is_adamw ? ".exp_avg" : ".momentum_buffer",
                         LLM_F32, param->elements, param->first);
        if (!status && param->second)
            status = add(list, context, param->name, ".exp_avg_sq", LLM_F32, param->elements,
                         param->second);
    }
    if (!status)
        status =
            add(list, context, "steps", "", LLM_I64, (int64_t)optimizer->param_count, list->steps);
    return status;
}

llm_status optimizer_save(const llm_optimizer *optimizer, const char *path)
{
    struct state_list list;
    llm_status status = state_list_make(&list, optimizer);

    if (!status)
        status = safetensors_write(list.memory, path, list.items, list.count, NULL, NULL);
    state_list_free(&list);
    return status;
}

/* Names and shapes are all checked before the first value is touched. */
static llm_status check_entries(const struct tensor_source *source, const struct state_list *list)
{
    if (source->count != list->count)
        return status_set(LLM_E_INVALID, "it holds %zu tensors, this optimizer's state has %zu",
                          source->count, list->count);
    for (size_t i = 0; i < list->count; i++) {
        const struct safetensors_item *item = &list->items[i];
        const struct tensor_entry *entry = tensor_source_find(source, item->name);

        if (!entry)
            return status_set(LLM_E_INVALID, "tensor \"%s\" is missing", item->name);
        if (entry->dtype != item->dtype || entry->dimensions != 1 ||
            entry->shape[0] != item->tensor->shape[0])
            return status_set(LLM_E_SHAPE, "tensor \"%s\" is not %s of %lld elements", item->name,
                              dtype_get(item->dtype)->name, (long long)item->tensor->shape[0]);
    }
    return LLM_OK;
}

static llm_status check_steps(const int64_t *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (steps[i] < 0)
            return status_set(LLM_E_FORMAT, "\"steps\" holds a negative count");
    }
    return LLM_OK;
}

llm_status optimizer_load(llm_optimizer *optimizer, const char *path)
{
    struct tensor_source *source = NULL;
    struct state_list list;
    llm_status status = state_list_make(&list, optimizer);

    if (!status)
        status = tensor_source_open(&source, list.memory, path);
    if (status)
        goto done;
    status = check_entries(source, &list);
    /* The counts, last in the list, come first: they can be refused while nothing has changed. */
    for (size_t i = list.count; i-- > 0 && !status;) {
        status = tensor_source_load(source, tensor_source_find(source, list.items[i].name),
                                    (llm_tensor *)list.items[i].tensor, NULL, NULL);
        if (!status && i + 1 == list.count)
            status = check_steps(list.steps, optimizer->param_count);
    }
    for (size_t i = 0; i < optimizer->param_count && !status; i++)
        optimizer->params[i].steps = list.steps[i];
    if (status)
        status_prefix(status, "%s", path);
done:
    tensor_source_close(source);
    state_list_free(&list);
    return status;
}
