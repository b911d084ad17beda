/* SPDX-License-Identifier: MIT
 *
 * Texts and pairs of texts as token ids with the special tokens that the tokenizer puts around
 * them. Which ones these are is learned once from the tokenizer itself, so that texts can be cut
 * into windows and cut off as the task needs it.
 */
#include "base/checked.h"
#include "task/task.h"

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
    struct memory *memory = texts->memory;
    struct {
        void **array;
        size_t *capacity;
        size_t needed, size;
    } rows[] = {
        {(void **)&texts->ids, &texts->capacity[0], texts->tokens + more, sizeof *texts->ids},
        {(void **)&texts->types, &texts->capacity[1], texts->tokens + more, sizeof *texts->types},
        {(void **)&texts->begins, &texts->capacity[2], texts->tokens + more, sizeof *texts->begins},
        {(void **)&texts->ends, &texts->capacity[3], texts->tokens + more, sizeof *texts->ends},
        {(void **)&texts->parts, &texts->capacity[4], texts->tokens + more, sizeof *texts->parts},
        {(void **)&texts->lengths, &texts->capacity[5], texts->count + 1, sizeof *texts->lengths},
        {(void **)&texts->owners, &texts->capacity[6], texts->count + 1, sizeof *texts->owners},
        {(void **)&texts->contents, &texts->capacity[7], texts->count + 1, sizeof *texts->contents},
    };
    llm_status status = LLM_OK;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !status; i++)
        status = memory_grow(memory, rows[i].array, rows[i].capacity, rows[i].needed, rows[i].size);
    return status;
}

/* ---- tokens without special ones ---------------------------------------------------------------
 */

struct tokens {
    struct token_list list;
    size_t *begins, *ends;
};

static void free_tokens(struct tokens *tokens, struct memory *memory)
{
    token_list_free(&tokens->list);
    memory_release(memory, tokens->begins);
    memory_release(memory, tokens->ends);
}

static llm_status encode(struct tokens *tokens, const llm_task *task, const char *text, size_t size,
                         bool special)
{
    struct memory *memory = &task->context->memory;
    unsigned flags = special ? TOKENIZER_PARSE_SPECIAL : 0;
    size_t most = tokenizer_max_tokens(task->tokenizer, size);

    memset(tokens, 0, sizeof *tokens);
    token_list_init(&tokens->list, memory);
    if (most == SIZE_MAX)
        return status_set(LLM_E_RANGE, "a text of %zu bytes is too long", size);
    tokens->begins = memory_alloc_array(memory, most + 1, sizeof *tokens->begins);
    tokens->ends = memory_alloc_array(memory, most + 1, sizeof *tokens->ends);
    if (!tokens->begins || !tokens->ends)
        return LLM_E_NOMEM;
    return tokenizer_encode_offsets(task->tokenizer, text, size, flags, &tokens->list,
                                    tokens->begins, tokens->ends, most);
}

/* ---- putting texts together --------------------------------------------------------------------
 */

static void put_special(struct task_texts *texts, const struct task_wrap *wrap, int place)
{
    for (size_t i = 0; i < wrap->counts[place]; i++) {
        size_t at = texts->tokens++;

        texts->ids[at] = wrap->ids[place][i];
        texts->types[at] = wrap->types[place][i];
        texts->begins[at] = texts->ends[at] = 0;
        texts->parts[at] = 0;
    }
}

struct range {
    size_t begin, count;
};

static void put_tokens(struct task_texts *texts, const struct tokens *tokens, struct range range,
                       int8_t part, int32_t type)
{
    for (size_t i = range.begin; i < range.begin + range.count; i++) {
        size_t at = texts->tokens++;

        texts->ids[at] = tokens->list.ids[i];
        texts->types[at] = type;
        texts->begins[at] = tokens->begins[i];
        texts->ends[at] = tokens->ends[i];
        texts->parts[at] = part;
    }
}

/* One text of the model: special tokens, a part of the first text, of the second one. */
static llm_status put(struct task_texts *texts, const struct task_wrap *wrap,
                      const struct tokens *tokens /* [2] */, const struct range *ranges, bool pair,
                      size_t owner)
{
    size_t begin = texts->tokens;
    llm_status status = reserve(texts, ranges[0].count + ranges[1].count + (size_t)3 * TASK_WRAP);

    if (status)
        return status;
    put_special(texts, wrap, 0);
    put_tokens(texts, &tokens[0], ranges[0], 1, 0);
    put_special(texts, wrap, 1);
    if (pair) {
        put_tokens(texts, &tokens[1], ranges[1], 2, wrap->second_type);
        put_special(texts, wrap, 2);
    }
    if (texts->tokens == begin)
        return status_set(LLM_E_RANGE, "text %zu has no tokens", owner);
    texts->owners[texts->count] = owner;
    texts->contents[texts->count] = ranges[0].count + ranges[1].count;
    texts->lengths[texts->count++] = texts->tokens - begin;
    return LLM_OK;
}

/* Like the strategy "longest_first" of Hugging Face tokenizers. */
static void cut_longest(size_t *a, size_t *b, size_t room)
{
    size_t *small = *a > *b ? b : a;
    size_t *large = *a > *b ? a : b;

    if (*a + *b <= room)
        return;
    *large = *small > room ? *small : (*small > room - *small ? *small : room - *small);
    if (*small + *large > room) {
        *small = room / 2;
        *large = *small + room % 2;
    }
}

static llm_status fit_and_put(struct task_texts *texts, const llm_task *task,
                              const struct tokens *tokens, const struct task_text *text,
                              enum task_fit fit, int64_t overlap)
{
    bool pair = text->pair != NULL;
    const struct task_wrap *wrap = pair ? &task->pair : &task->single;
    struct range ranges[2] = {{0, tokens[0].list.count}, {0, pair ? tokens[1].list.count : 0}};
    size_t special = wrap->counts[0] + wrap->counts[1] + (pair ? wrap->counts[2] : 0);
    size_t fixed = pair ? ranges[0].count : 0; /* what every window repeats */
    size_t room, step, total;
    struct range *moving = &ranges[pair ? 1 : 0];
    llm_status status = LLM_OK;

    if ((int64_t)special >= task->max_tokens)
        return status_set(LLM_E_RANGE, "%lld tokens leave no room beside %zu special ones",
                          (long long)task->max_tokens, special);
    room = (size_t)task->max_tokens - special;
    if (fit == TASK_CUT) {
        if (pair)
            cut_longest(&ranges[0].count, &ranges[1].count, room);
        else if (ranges[0].count > room)
            ranges[0].count = room;
        return put(texts, wrap, tokens, ranges, pair, text->owner);
    }
    if (fixed + (size_t)overlap >= room)
        return status_set(LLM_E_RANGE,
                          "%zu tokens and an overlap of %lld leave no room for a window", fixed,
                          (long long)overlap);
    room -= fixed;
    step = room - (size_t)overlap;
    total = moving->count;
    for (;; moving->begin += step) {
        moving->count = total - moving->begin < room ? total - moving->begin : room;
        status = put(texts, wrap, tokens, ranges, pair, text->owner);
        if (status || moving->begin + moving->count == total)
            return status;
    }
}

llm_status task_texts_add(struct task_texts *texts, const llm_task *task,
                          const struct task_text *text, enum task_fit fit, int64_t overlap)
{
    struct tokens tokens[2] = {{{0}, NULL, NULL}, {{0}, NULL, NULL}};
    llm_status status = LLM_OK;

    if (!task->tokenizer)
        return status_set(LLM_E_UNSUPPORTED, "the task has no tokenizer");
    if (text->pair && !task->pair.is_known)
        return status_set(LLM_E_UNSUPPORTED, "the tokenizer does not say how pairs are put "
                                             "together");
    status = encode(&tokens[0], task, text->text, text->size, text->special);
    if (!status && text->pair)
        status = encode(&tokens[1], task, text->pair, text->pair_size, text->special);
    if (!status)
        status = fit_and_put(texts, task, tokens, text, fit, overlap);
    free_tokens(&tokens[0], &task->context->memory);
    if (text->pair)
        free_tokens(&tokens[1], &task->context->memory);
    return status;
}

/* ---- special tokens ----------------------------------------------------------------------------
 */

/* Where `part` begins in `whole` from `from` on; whole->count: nowhere. */
static size_t find(const struct token_list *whole, const struct token_list *part, size_t from)
{
    for (size_t i = from; part->count && i + part->count <= whole->count; i++) {
        if (memcmp(whole->ids + i, part->ids, part->count * sizeof *part->ids) == 0)
            return i;
    }
    return whole->count;
}

static llm_status keep(struct task_wrap *wrap, int place, const struct token_list *whole,
                       const int32_t *types, size_t begin, size_t end)
{
    if (end - begin > TASK_WRAP)
        return status_set(LLM_E_UNSUPPORTED, "the tokenizer puts %zu tokens in one place",
                          end - begin);
    wrap->counts[place] = end - begin;
    for (size_t i = begin; i < end; i++) {
        wrap->ids[place][i - begin] = whole->ids[i];
        wrap->types[place][i - begin] = types ? types[i] : 0;
    }
    return LLM_OK;
}

static bool marks_words(const llm_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < tokenizer_vocab_size(tokenizer); id++) {
        size_t size = 0;
        const char *token =
            tokenizer_has(tokenizer, id) ? tokenizer_token(tokenizer, id, &size) : "";

        if (size > 2 && memcmp(token, "##", 2) == 0)
            return true;
    }
    return false;
}

llm_status task_learn_wraps(llm_task *task)
{
    struct memory *memory = &task->context->memory;
    struct token_list plain, whole;
    llm_status status;
    size_t at;

    token_list_init(&plain, memory);
    token_list_init(&whole, memory);
    status = tokenizer_encode(task->tokenizer, "a", 1, 0, &plain);
    if (!status)
        status = tokenizer_encode(task->tokenizer, "a", 1, TOKENIZER_ADD_SPECIAL, &whole);
    at = status ? 0 : find(&whole, &plain, 0);
    if (!status && at + plain.count > whole.count)
        status = status_set(LLM_E_UNSUPPORTED, "the tokenizer changes a text when it adds special "
                                               "tokens");
    if (!status)
        status = keep(&task->single, 0, &whole, NULL, 0, at);
    if (!status)
        status = keep(&task->single, 1, &whole, NULL, at + plain.count, whole.count);
    task->single.is_known = !status;
    task->marks_words = !status && marks_words(task->tokenizer);
    token_list_free(&plain);
    token_list_free(&whole);
    return status;
}
