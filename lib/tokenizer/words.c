/* SPDX-License-Identifier: MIT
 *
 * The table of pre-tokenizers, reading them, running them in a row; cutting by matches.
 */
#include "tokenizer/words.h"

#include "base/checked.h"
#include "tokenizer/stage_list.h"

#include <string.h>

static const struct pre_tokenizer_type *const types[] = {
    &pre_tokenizer_bert,      &pre_tokenizer_byte_level,   &pre_tokenizer_char_delimiter,
    &pre_tokenizer_metaspace, &pre_tokenizer_whitespace,   &pre_tokenizer_whitespace_split,
    &pre_tokenizer_split,     &pre_tokenizer_punctuation,  &pre_tokenizer_digits,
    &pre_tokenizer_scripts,   &pre_tokenizer_fixed_length,
};

void words_init(struct words *words, struct memory *memory)
{
    memset(words, 0, sizeof *words);
    words->memory = memory;
    mapped_init(&words->text, memory);
    mapped_init(&words->spare, memory);
}

void words_free(struct words *words)
{
    if (!words->memory)
        return;
    mapped_free(&words->text);
    mapped_free(&words->spare);
    memory_release(words->memory, words->words.list);
    memory_release(words->memory, words->spare_words.list);
    memset(words, 0, sizeof *words);
}

void words_add(struct words *words, size_t begin, size_t end)
{
    struct word_list *spare = &words->spare_words;

    if (begin == end || words->failed)
        return;
    if (spare->count == spare->capacity &&
        memory_grow(words->memory, (void **)&spare->list, &spare->capacity, spare->count + 1,
                    sizeof *spare->list)) {
        words->failed = true;
        return;
    }
    spare->list[spare->count++] = (struct word_span){begin, end};
}

void words_swap(struct words *words, bool text_too)
{
    struct word_list list = words->words;

    words->words = words->spare_words;
    words->spare_words = list;
    words->spare_words.count = 0;
    if (text_too) {
        struct mapped_text text = words->text;

        words->text = words->spare;
        words->spare = text;
    }
}

/* ---- reading and running ---- */

static llm_status add_stage(void *user, const json_t *stage, const char *type)
{
    struct pre_tokenizer *list = user;
    llm_status status;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i]->type, type) != 0)
            continue;
        status = memory_grow(list->memory, (void **)&list->stages, &list->capacity, list->count + 1,
                             sizeof *list->stages);
        if (status)
            return status;
        list->stages[list->count++] = (struct pre_tokenizer_stage){types[i], NULL};
        if (!types[i]->read)
            return LLM_OK;
        return status_prefix(
            types[i]->read(&list->stages[list->count - 1].data, list->memory, stage),
            "pre_tokenizer %s", type);
    }
    return status_set(LLM_E_UNSUPPORTED, "pre_tokenizer \"%.60s\" is not supported", type);
}

llm_status pre_tokenizer_read_stages(struct pre_tokenizer *out, struct memory *memory,
                                     const json_t *json)
{
    memset(out, 0, sizeof *out);
    out->memory = memory;
    return stage_list_walk(json, "pre_tokenizer", "pretokenizers", add_stage, out);
}

void pre_tokenizer_free(struct pre_tokenizer *pre_tokenizer)
{
    if (!pre_tokenizer->memory)
        return;
    for (size_t i = 0; i < pre_tokenizer->count; i++) {
        struct pre_tokenizer_stage *stage = &pre_tokenizer->stages[i];

        if (stage->type->free)
            stage->type->free(stage->data, pre_tokenizer->memory);
        else
            memory_release(pre_tokenizer->memory, stage->data);
    }
    memory_release(pre_tokenizer->memory, pre_tokenizer->stages);
    memset(pre_tokenizer, 0, sizeof *pre_tokenizer);
}

size_t pre_tokenizer_growth(const struct pre_tokenizer *pre_tokenizer)
{
    size_t growth = 1;

    for (size_t i = 0; i < pre_tokenizer->count; i++) {
        size_t factor = pre_tokenizer->stages[i].type->growth;

        if (factor && !checked_mul(growth, factor, &growth))
            return SIZE_MAX;
    }
    return growth;
}

llm_status pre_tokenizer_run(const struct pre_tokenizer *pre_tokenizer, struct words *words)
{
    for (size_t i = 0; i < pre_tokenizer->count; i++) {
        const struct pre_tokenizer_stage *stage = &pre_tokenizer->stages[i];
        llm_status status;

        words->spare_words.count = 0;
        words->failed = false;
        mapped_reset(&words->spare, words->text.track);
        status = stage->type->apply(stage->data, words);
        if (status || words->failed || words->text.failed || words->spare.failed)
            return status ? status : LLM_E_NOMEM;
    }
    return LLM_OK;
}

/* ---- cutting ---- */

llm_status split_behavior_read(enum split_behavior *out, const json_t *stage)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    llm_status status = json_read_text(stage, "behavior", &name);

    if (status || !name)
        return status;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum split_behavior)i;
            return LLM_OK;
        }
    }
    return status_set(LLM_E_UNSUPPORTED, "behavior \"%.60s\" is not supported", name);
}

/* Does a segment grow the word that waits? */
static bool grows(const struct word_cutter *cutter, bool match)
{
    if (!cutter->waiting)
        return false;
    switch (cutter->behavior) {
    case SPLIT_CONTIGUOUS:
        return match == cutter->match;
    case SPLIT_WITH_PREVIOUS:
        return match && !cutter->match;
    case SPLIT_WITH_NEXT:
        return !match && cutter->match;
    case SPLIT_REMOVED:
    case SPLIT_ISOLATED:
        break;
    }
    return false;
}

void word_cutter_segment(struct word_cutter *cutter, size_t begin, size_t end, bool match)
{
    if (begin == end)
        return;
    if (grows(cutter, match)) {
        cutter->end = end;
    } else {
        word_cutter_finish(cutter);
        cutter->begin = begin;
        cutter->end = end;
        cutter->waiting = !(match && cutter->behavior == SPLIT_REMOVED);
    }
    cutter->match = match;
}

void word_cutter_finish(struct word_cutter *cutter)
{
    if (cutter->waiting)
        words_add(cutter->words, cutter->begin, cutter->end);
    cutter->waiting = false;
}
