/* SPDX-License-Identifier: MIT
 *
 * Texts and pairs of texts as token ids with the special tokens that the tokenizer puts around
 * them, cut off or in windows where they are longer than the model takes.
 */
#include "task/task.h"
#include "tokenizer/encoding.h"

#include <string.h>

void task_texts_init(struct task_texts *texts, struct memory *memory)
{
    memset(texts, 0, sizeof *texts);
    texts->memory = memory;
}

void task_texts_free(struct task_texts *texts)
{
    memory_release(texts->memory, texts->ids);
    memory_release(texts->memory, texts->types);
    memory_release(texts->memory, texts->begins);
    memory_release(texts->memory, texts->ends);
    memory_release(texts->memory, texts->parts);
    memory_release(texts->memory, texts->lengths);
    memory_release(texts->memory, texts->owners);
    memory_release(texts->memory, texts->contents);
}

struct task_ids task_texts_ids(const struct task_texts *texts)
{
    return (struct task_ids){texts->ids, texts->types, texts->lengths, texts->count};
}

/* Each array has a capacity of its own: all have room for `more` tokens and one text. */
static llm_status reserve(struct task_texts *texts, size_t more)
{
    size_t tokens = texts->tokens + more;
    size_t count = texts->count + 1;
    struct {
        void **array;
        size_t needed, size;
    } rows[TASK_TEXTS_ARRAYS] = {
        {(void **)&texts->ids, tokens, sizeof *texts->ids},
        {(void **)&texts->types, tokens, sizeof *texts->types},
        {(void **)&texts->begins, tokens, sizeof *texts->begins},
        {(void **)&texts->ends, tokens, sizeof *texts->ends},
        {(void **)&texts->parts, tokens, sizeof *texts->parts},
        {(void **)&texts->lengths, count, sizeof *texts->lengths},
        {(void **)&texts->owners, count, sizeof *texts->owners},
        {(void **)&texts->contents, count, sizeof *texts->contents},
    };
    llm_status status = LLM_OK;

    for (size_t i = 0; i < TASK_TEXTS_ARRAYS && !status; i++)
        status = memory_grow(texts->memory, rows[i].array, &texts->capacity[i], rows[i].needed,
                             rows[i].size);
    return status;
}

static llm_status put_piece(struct task_texts *texts, const llm_encoding *encoding, size_t piece,
                            size_t owner)
{
    size_t first = encoding->pieces[piece].first;
    size_t count = encoding->pieces[piece].count;
    size_t at = texts->tokens;
    size_t contents = 0;
    llm_status status = reserve(texts, count);

    if (status)
        return status;
    if (count == 0)
        return status_set(LLM_E_RANGE, "text %zu has no tokens", owner);
    memcpy(texts->ids + at, encoding->arrays[LLM_ENCODING_IDS] + first, count * sizeof *texts->ids);
    memcpy(texts->types + at, encoding->arrays[LLM_ENCODING_TYPES] + first,
           count * sizeof *texts->types);
    memcpy(texts->begins + at, encoding->offsets[LLM_OFFSETS_BYTE_BEGIN] + first,
           count * sizeof *texts->begins);
    memcpy(texts->ends + at, encoding->offsets[LLM_OFFSETS_BYTE_END] + first,
           count * sizeof *texts->ends);
    for (size_t i = 0; i < count; i++) {
        texts->parts[at + i] = (int8_t)(encoding->arrays[LLM_ENCODING_SEQUENCES][first + i] + 1);
        contents += texts->parts[at + i] != 0;
    }
    texts->tokens += count;
    texts->lengths[texts->count] = count;
    texts->owners[texts->count] = owner;
    texts->contents[texts->count++] = contents;
    return LLM_OK;
}

llm_status task_texts_add(struct task_texts *texts, const llm_task *task,
                          const struct task_text *text, enum task_fit fit, int64_t overlap)
{
    const llm_encoding_options options = {.struct_size = sizeof options,
                                          .max_tokens = task->max_tokens,
                                          .stride = fit == TASK_WINDOWS ? overlap : 0,
                                          .truncation_strategy = fit == TASK_WINDOWS && text->pair
                                                                     ? LLM_TRUNCATE_ONLY_SECOND
                                                                     : LLM_TRUNCATE_LONGEST_FIRST,
                                          .parse_special = text->special,
                                          .add_special = 1};
    llm_encoding *encoding = NULL;
    llm_status status;

    if (!task->tokenizer)
        return status_set(LLM_E_UNSUPPORTED, "the task has no tokenizer");
    status = encoding_new(&encoding, task->tokenizer, text->text, text->size, text->pair,
                          text->pair_size, &options);
    for (size_t i = 0; !status && i < encoding->piece_count; i++) {
        status = put_piece(texts, encoding, i, text->owner);
        if (fit == TASK_CUT)
            break;
    }
    encoding_free(encoding);
    return status_prefix(status, "text %zu", text->owner);
}
