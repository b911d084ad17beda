/* SPDX-License-Identifier: MIT
 *
 * The table of normalizers, reading them, and running them in a row.
 */
#include "tokenizer/normalizer.h"

#include "base/checked.h"
#include "tokenizer/stage_list.h"

#include <string.h>

static const struct normalizer_type *const types[] = {
    &normalizer_bert,        &normalizer_strip,   &normalizer_strip_accents, &normalizer_nfc,
    &normalizer_nfd,         &normalizer_nfkc,    &normalizer_nfkd,          &normalizer_lowercase,
    &normalizer_nmt,         &normalizer_replace, &normalizer_prepend,       &normalizer_byte_level,
    &normalizer_precompiled,
};

void normalizer_work_init(struct normalizer_work *work, struct memory *memory)
{
    memset(work, 0, sizeof *work);
    for (size_t i = 0; i < sizeof work->texts / sizeof *work->texts; i++)
        mapped_init(&work->texts[i], memory);
}

void normalizer_work_free(struct normalizer_work *work)
{
    struct memory *memory = work->texts[0].memory;

    for (size_t i = 0; i < sizeof work->texts / sizeof *work->texts; i++)
        mapped_free(&work->texts[i]);
    memory_release(memory, work->items);
    memory_release(memory, work->more_items);
    work->items = work->more_items = NULL;
    work->items_capacity = work->more_capacity = 0;
}

static llm_status add_stage(void *user, const json_t *stage, const char *type)
{
    struct normalizer *normalizer = user;
    llm_status status;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct normalizer_stage added = {types[i], NULL};

        if (strcmp(types[i]->type, type) != 0)
            continue;
        status =
            memory_grow(normalizer->memory, (void **)&normalizer->stages, &normalizer->capacity,
                        normalizer->count + 1, sizeof *normalizer->stages);
        if (status)
            return status;
        normalizer->stages[normalizer->count++] = added;
        if (!types[i]->read)
            return LLM_OK;
        status = types[i]->read(&normalizer->stages[normalizer->count - 1].data, normalizer->memory,
                                stage);
        return status_prefix(status, "normalizer %s", type);
    }
    return status_set(LLM_E_UNSUPPORTED, "normalizer \"%.60s\" is not supported", type);
}

llm_status normalizer_read(struct normalizer *normalizer, struct memory *memory, const json_t *json)
{
    memset(normalizer, 0, sizeof *normalizer);
    normalizer->memory = memory;
    return stage_list_walk(json, "normalizer", "normalizers", add_stage, normalizer);
}

void normalizer_free(struct normalizer *normalizer)
{
    if (!normalizer->memory)
        return;
    for (size_t i = 0; i < normalizer->count; i++) {
        struct normalizer_stage *stage = &normalizer->stages[i];

        if (stage->type->free)
            stage->type->free(stage->data, normalizer->memory);
        else
            memory_release(normalizer->memory, stage->data);
    }
    memory_release(normalizer->memory, normalizer->stages);
    memset(normalizer, 0, sizeof *normalizer);
}

bool normalizer_leaves(const struct normalizer *normalizer, const char *text, size_t size)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        const struct normalizer_stage *stage = &normalizer->stages[i];

        if (!stage->type->leaves || !stage->type->leaves(stage->data, text, size))
            return false;
    }
    return true;
}

size_t normalizer_growth(const struct normalizer *normalizer)
{
    size_t growth = 1;

    for (size_t i = 0; i < normalizer->count; i++) {
        const struct normalizer_stage *stage = &normalizer->stages[i];

        if (stage->type->growth && !checked_mul(growth, stage->type->growth(stage->data), &growth))
            return SIZE_MAX;
    }
    return growth;
}

/* A file of many stages that put in much could make any text fill any memory. */
enum { MOST_GROWTH = 1024, FREE_GROWTH = 1 << 16 };

llm_status normalizer_run(const struct normalizer *normalizer, struct normalizer_work *work,
                          struct mapped_text *text, struct mapped_text *spare)
{
    size_t size = text->size;

    for (size_t i = 0; i < normalizer->count && text->size > 0; i++) {
        const struct normalizer_stage *stage = &normalizer->stages[i];
        struct mapped_text swap;
        llm_status status;

        if (stage->type->leaves && stage->type->leaves(stage->data, text->data, text->size))
            continue;
        mapped_reset(spare, text->track);
        status = stage->type->apply(stage->data, work, text, spare);
        if (status || spare->failed)
            return status ? status : LLM_E_NOMEM;
        if (spare->size > FREE_GROWTH && spare->size / MOST_GROWTH > size)
            return status_set(LLM_E_RANGE, "normalized text is more than %d times the text",
                              MOST_GROWTH);
        swap = *text;
        *text = *spare;
        *spare = swap;
    }
    return LLM_OK;
}
