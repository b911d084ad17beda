/* SPDX-License-Identifier: MIT
 *
 * Matrices that stay in the block type of their GGUF file: which they are, and how their rows come
 * from the file into panels. Rows that the file has in another order are picked one by one.
 */
#include "models/model_weights.h"

#include "base/parallel.h"
#include "tensor/packed.h"

#include <string.h>

enum { READ_AT_ONCE = 8 << 20 /* bytes */ };

/* Do linear layers, embeddings and the output alone read it? */
static bool is_matrix(const llm_model *model, const struct param *param)
{
    return param->tensor->dimensions == 2 &&
           ((param->flags & PARAM_LINEAR) || param->tensor == model->output ||
            (param->gguf_name && strcmp(param->gguf_name, "token_embd.weight") == 0));
}

/* A part in the order of the file, made of whole rows of the parameter. */
static bool has_whole_rows(const struct gguf_part *part, int64_t width)
{
    int32_t last = part->dimensions - 1;

    if (last < 0 || part->shape[last] != width || part->stride[last] != 1 ||
        part->offset % width != 0 || part->begin % width != 0)
        return false;
    for (int32_t i = 0; i < last; i++) {
        if (part->stride[i] % width != 0)
            return false;
    }
    return true;
}

bool weights_keep(const struct weights *weights, size_t index, size_t *bytes)
{
    const struct param *param = &weights->model->params.list[index];
    const struct gguf_tensor *from = weights->source->metadata ? weights->tensors[index] : NULL;
    const struct tensor_entry *entry = from ? weights_entry(weights, index) : NULL;

    if (!entry || entry->group || from->plus_one || !is_matrix(weights->model, param) ||
        !packed_bytes(entry->dtype, param->tensor->shape[0], param->tensor->shape[1], bytes))
        return false;
    for (const struct gguf_part *part = from->parts; part; part = part->next) {
        if (part->param == index && !has_whole_rows(part, param->tensor->shape[1]))
            return false;
    }
    return true;
}

/* rows[i]: where row i of the parameter lies in the file's tensor. */
static void place_rows(int64_t *rows, const struct gguf_part *part, int64_t width)
{
    int64_t count = 1;

    for (int32_t i = 0; i + 1 < part->dimensions; i++)
        count *= part->shape[i];
    for (int64_t i = 0; i < count; i++) {
        int64_t at = part->offset;
        int64_t rest = i;

        for (int32_t d = part->dimensions - 2; d >= 0; d--) {
            at += rest % part->shape[d] * part->stride[d];
            rest /= part->shape[d];
        }
        rows[at / width] = part->begin / width + i;
    }
}

struct keep {
    const struct file_reader *file;
    const struct tensor_entry *entry;
    const struct qgemm_weights *to;
    const int64_t *rows;
    int64_t row_bytes;
    int64_t first, count; /* rows in the buffer */
    char *buffer;
};

/* Rows that follow each other in the file are read together. */
static llm_status read_rows(const struct keep *keep)
{
    llm_status status = LLM_OK;

    for (int64_t i = 0; i < keep->count && !status;) {
        const int64_t *rows = keep->rows + keep->first;
        int64_t run = 1;

        while (i + run < keep->count && rows[i + run] == rows[i] + run)
            run++;
        status = file_reader_read(
            keep->file, keep->entry->offset + (uint64_t)(rows[i] * keep->row_bytes),
            keep->buffer + i * keep->row_bytes, (size_t)(run * keep->row_bytes));
        i += run;
    }
    return status;
}

static void pack_panels(void *arg, int64_t begin, int64_t end)
{
    const struct keep *keep = arg;
    int64_t first = begin * QGEMM_PANEL;
    int64_t last = end * QGEMM_PANEL < keep->count ? end * QGEMM_PANEL : keep->count;
    struct qgemm_rows rows = {keep->buffer + first * keep->row_bytes, keep->row_bytes, NULL};

    qgemm_pack(keep->to, keep->first + first, last - first, &rows);
}

static llm_status load_rows(struct keep *keep, int64_t at_once, int threads,
                            struct model_progress *progress)
{
    llm_status status = LLM_OK;

    for (; keep->first < keep->to->n && !status; keep->first += at_once) {
        keep->count = keep->to->n - keep->first < at_once ? keep->to->n - keep->first : at_once;
        status = read_rows(keep);
        if (status)
            break;
        parallel_for(threads, (keep->count + QGEMM_PANEL - 1) / QGEMM_PANEL, 1, pack_panels, keep);
        status = model_progress_tick(progress, (uint64_t)(keep->count * keep->row_bytes));
    }
    return status;
}

llm_status weights_load_kept(struct weights *weights, size_t index, struct model_progress *progress)
{
    const struct gguf_tensor *from = weights->tensors[index];
    const struct tensor_entry *entry = weights_entry(weights, index);
    const struct dtype *type = dtype_get(entry->dtype);
    struct memory *memory = &weights->model->context->memory;
    llm_tensor *tensor = weights->model->params.list[index].tensor;
    int64_t row_bytes = tensor->shape[1] / type->block_elements * type->block_bytes;
    int64_t at_once = READ_AT_ONCE / row_bytes / QGEMM_PANEL * QGEMM_PANEL;
    struct keep keep = {
        .file = &weights->source->files[entry->file], .entry = entry, .row_bytes = row_bytes};
    int64_t *rows = NULL;
    llm_status status = weights_check_shape(weights, index);

    if (!status)
        status = packed_allocate(tensor, entry->dtype);
    if (status)
        return status;
    weights->used[entry - weights->source->list] = true;
    at_once = at_once < QGEMM_PANEL ? QGEMM_PANEL : at_once;
    at_once = at_once < tensor->shape[0] ? at_once : tensor->shape[0];
    rows = memory_alloc_array(memory, (size_t)tensor->shape[0], sizeof *rows);
    keep.buffer = memory_alloc_array(memory, (size_t)at_once, (size_t)row_bytes);
    status = rows && keep.buffer ? LLM_OK : LLM_E_NOMEM;
    for (int64_t i = 0; i < tensor->shape[0] && !status; i++)
        rows[i] = -1;
    for (const struct gguf_part *part = from->parts; part && !status; part = part->next) {
        if (part->param == index)
            place_rows(rows, part, tensor->shape[1]);
    }
    for (int64_t i = 0; i < tensor->shape[0] && !status; i++) {
        if (rows[i] < 0)
            status = status_set(LLM_E_INTERNAL, "tensor \"%s\" lacks a row", entry->name);
    }
    keep.to = tensor->packed;
    keep.rows = rows;
    if (!status)
        status = load_rows(&keep, at_once, tensor->context->threads, progress);
    memory_release(memory, keep.buffer);
    memory_release(memory, rows);
    return status;
}
