/* SPDX-License-Identifier: MIT
 *
 * Encoding through all stages, on one thread and on many.
 */
#include "base/checked.h"
#include "base/parallel.h"
#include "tokenizer/pipeline.h"

#include <string.h>

/* Where tokens stand, in the caller's arrays. */
struct offsets {
    size_t *begins;
    size_t *ends;
    size_t capacity;
};

/* A running call. */
struct run {
    const llm_tokenizer *tokenizer;
    struct scratch *scratch;
    struct token_list *out;
    const struct offsets *offsets; /* NULL: not wanted */
    struct token_details *details; /* NULL: not wanted */
    size_t first;                  /* out->count at the start */
    int32_t word;                  /* number of the current word */
};

static bool wants_positions(const struct run *run)
{
    return run->offsets || run->details;
}

static llm_status note(const struct run *run, size_t index, size_t begin, size_t end)
{
    const struct offsets *offsets = run->offsets;

    if (offsets && index - run->first < offsets->capacity) {
        offsets->begins[index - run->first] = begin;
        offsets->ends[index - run->first] = end;
    }
    if (!run->details)
        return LLM_OK;
    return token_details_add(run->details, (struct token_detail){begin, end, run->word});
}

static llm_status put_token(const struct run *run, int32_t id, size_t begin, size_t end)
{
    llm_status status = token_list_reserve(run->out, 1);

    if (!status && wants_positions(run))
        status = note(run, run->out->count, begin, end);
    if (!status)
        run->out->ids[run->out->count++] = id;
    return status;
}

/* ---- the straight way: the algorithm takes the text as it is ---- */

/* Offsets of the ids from `index` on, which cover `text`; with `prefix`, a space that the text does
 * not have stands before it. */
static llm_status note_section(const struct run *run, size_t index, const char *text, size_t size,
                               size_t position, size_t prefix)
{
    const llm_tokenizer *tokenizer = run->tokenizer;
    size_t at = 0; /* in the text with its prefix */
    llm_status status = LLM_OK;

    for (; index < run->out->count && !status; index++) {
        int32_t id = run->out->ids[index];
        size_t length = tokenizer->vocab.entries[id].size;
        size_t begin = at < prefix ? 0 : at - prefix;

        if (tokenizer->algorithm->covers)
            length = tokenizer->algorithm->covers(tokenizer, id, text + begin, size - begin);
        at += length;
        status = note(run, index, position + begin, position + (at < prefix ? 0 : at - prefix));
    }
    return status;
}

/* Text without added tokens. */
static llm_status encode_straight(const struct run *run, const char *text, size_t size,
                                  size_t position)
{
    const llm_tokenizer *tokenizer = run->tokenizer;
    size_t index = run->out->count;
    bool prefix = tokenizer->add_prefix_space && size > 0 && text[0] != ' ';
    char *copy = NULL;
    llm_status status;

    if (prefix) {
        copy = memory_alloc(&tokenizer->context->memory, size + 1);
        if (!copy)
            return LLM_E_NOMEM;
        copy[0] = ' ';
        memcpy(copy + 1, text, size);
    }
    status = tokenizer->algorithm->encode(tokenizer, run->scratch, copy ? copy : text,
                                          size + prefix, run->out);
    if (!status && run->offsets)
        status = note_section(run, index, text, size, position, prefix);
    memory_release(&tokenizer->context->memory, copy);
    return status;
}

/* Normalized text, between added tokens that look at raw text. */
static llm_status walk_straight(const struct run *run, const char *text, size_t size,
                                size_t position, bool parse_special)
{
    struct added_walk walk = added_walk(&run->tokenizer->added, 1, text, size, parse_special);
    struct added_piece piece;
    llm_status status = LLM_OK;

    while (!status && added_next(&walk, &piece)) {
        size_t begin = position + piece.begin;

        status = piece.token
                     ? put_token(run, piece.token->id, begin, position + piece.end)
                     : encode_straight(run, text + piece.begin, piece.end - piece.begin, begin);
    }
    return status;
}

/* ---- the long way: normalizer, words, the algorithm for each ---- */

/* The bytes that [begin, end) of a mapped text come from. An empty range is as far into the text as
 * it is into its word, as in Hugging Face tokenizers. */
static struct origin find_origin(const struct mapped_text *text, struct word_span word,
                                 size_t begin, size_t end)
{
    struct origin origin = {0, 0};

    if (begin < end) {
        origin.begin = text->origins[begin].begin;
        origin.end = text->origins[end - 1].end;
    } else {
        origin.begin = text->origins[word.begin].begin + (uint32_t)(begin - word.begin);
        origin.end = origin.begin;
    }
    return origin;
}

static llm_status encode_word(struct run *run, struct word_span word, size_t position)
{
    const llm_tokenizer *tokenizer = run->tokenizer;
    struct scratch *scratch = run->scratch;
    const struct mapped_text *text = &scratch->words.text;
    size_t index = run->out->count;
    size_t begin = word.begin;
    bool positions = wants_positions(run);
    llm_status status;

    scratch->ends.count = 0;
    status = tokenizer->algorithm->encode_word(tokenizer, scratch, text->data + word.begin,
                                               word.end - word.begin, run->out,
                                               positions ? &scratch->ends : NULL);
    for (size_t i = 0; positions && i < scratch->ends.count && !status; i++) {
        size_t end = word.begin + scratch->ends.list[i];
        struct origin origin = find_origin(text, word, begin, end);

        status = note(run, index + i, position + origin.begin, position + origin.end);
        begin = end;
    }
    run->word++;
    return status;
}

/* Cut scratch->words.text, which holds no added token, into words and encode them. */
static llm_status encode_piece(struct run *run, size_t position)
{
    const llm_tokenizer *tokenizer = run->tokenizer;
    struct words *words = &run->scratch->words;
    llm_status status;

    words->failed = false;
    words->spare_words.count = 0;
    words_add(words, 0, words->text.size);
    words_swap(words, false);
    status = words->failed ? LLM_E_NOMEM : pre_tokenizer_run(&tokenizer->pre_tokenizer, words);
    if (!status && tokenizer->unspell)
        status = words_unspell(words);
    for (size_t i = 0; i < words->words.count && !status; i++)
        status = encode_word(run, words->words.list[i], position);
    return status;
}

static void swap_texts(struct mapped_text *a, struct mapped_text *b)
{
    struct mapped_text swap = *a;

    *a = *b;
    *b = swap;
}

/* scratch->section is normalized text; look for added tokens in it. */
static llm_status walk_section(struct run *run, size_t position, bool parse_special)
{
    struct scratch *scratch = run->scratch;
    struct mapped_text *section = &scratch->section;
    struct added_walk walk =
        added_walk(&run->tokenizer->added, 1, section->data, section->size, parse_special);
    struct added_piece piece;
    llm_status status = LLM_OK;

    while (!status && added_next(&walk, &piece)) {
        if (piece.token) {
            struct origin origin = {0, 0};

            if (section->track)
                origin = find_origin(section, (struct word_span){0, 0}, piece.begin, piece.end);
            status =
                put_token(run, piece.token->id, position + origin.begin, position + origin.end);
            run->word++;
        } else if (piece.begin == 0 && piece.end == section->size) {
            swap_texts(section, &scratch->words.text);
            return encode_piece(run, position);
        } else {
            mapped_reset(&scratch->words.text, section->track);
            mapped_copy(&scratch->words.text, section, piece.begin, piece.end - piece.begin);
            status = scratch->words.text.failed ? LLM_E_NOMEM : encode_piece(run, position);
        }
    }
    return status;
}

/* ---- both ---- */

/* Text between added tokens that look at raw text. */
static llm_status encode_section(struct run *run, const char *text, size_t size, size_t position,
                                 bool parse_special)
{
    const llm_tokenizer *tokenizer = run->tokenizer;
    struct scratch *scratch = run->scratch;
    /* Where the tokens stand follows from their sizes for byte-level tokenizers alone. */
    bool direct = tokenizer->direct && !run->details && (!run->offsets || tokenizer->split);
    bool raw = tokenizer->spelled || tokenizer->kind == LLM_TOKENIZER_CHARACTERS ||
               tokenizer->algorithm == &algorithm_sentencepiece;
    llm_status status;

    if (direct && tokenizer->split && normalizer_leaves(&tokenizer->normalizer, text, size))
        return walk_straight(run, text, size, position, parse_special);
    status = mapped_load(&scratch->section, text, size, wants_positions(run), position == 0, raw);
    if (!status)
        status = normalizer_run(&tokenizer->normalizer, &scratch->normalizing, &scratch->section,
                                &scratch->words.spare);
    if (status)
        return status;
    if (direct && !run->offsets)
        return walk_straight(run, scratch->section.data, scratch->section.size, position,
                             parse_special);
    return walk_section(run, position, parse_special);
}

static llm_status encode_text(struct run *run, const char *text, size_t size, bool parse_special)
{
    struct added_walk raw = added_walk(&run->tokenizer->added, 0, text, size, parse_special);
    struct added_piece piece;
    llm_status status = LLM_OK;

    while (!status && added_next(&raw, &piece)) {
        if (piece.token) {
            status = put_token(run, piece.token->id, piece.begin, piece.end);
            run->word++;
        } else {
            status = encode_section(run, text + piece.begin, piece.end - piece.begin, piece.begin,
                                    parse_special);
        }
    }
    return status;
}

static llm_status encode(const llm_tokenizer *tokenizer, const char *text, size_t size,
                         unsigned flags, struct token_list *out, const struct offsets *offsets)
{
    const struct post_template *template = &tokenizer->post.single;
    bool parse_special = (flags & TOKENIZER_PARSE_SPECIAL) != 0;
    struct run run = {
        tokenizer, scratch_take(tokenizer), out, offsets, NULL, out->count, 0,
    };
    llm_status status = run.scratch ? LLM_OK : LLM_E_NOMEM;
    size_t position = 0;

    if (!status && !(flags & TOKENIZER_ADD_SPECIAL)) {
        status = encode_text(&run, text, size, parse_special);
        template = NULL;
    }
    for (size_t i = 0; template && i < template->count && !status; i++) {
        if (template->items[i].sequence < 0) {
            status = put_token(&run, template->items[i].id, position, position);
        } else {
            status = encode_text(&run, text, size, parse_special);
            position = size;
        }
    }
    scratch_give(tokenizer, run.scratch);
    return status;
}

llm_status token_details_add(struct token_details *details, struct token_detail detail)
{
    llm_status status = LLM_OK;

    if (details->count == details->capacity)
        status = memory_grow(details->memory, (void **)&details->list, &details->capacity,
                             details->count + 1, sizeof *details->list);
    if (!status)
        details->list[details->count++] = detail;
    return status;
}

llm_status tokenizer_encode_details(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                    bool parse_special, struct token_list *out,
                                    struct token_details *details)
{
    struct run run = {
        tokenizer, scratch_take(tokenizer), out, NULL, details, out->count, 0,
    };
    llm_status status = run.scratch ? LLM_OK : LLM_E_NOMEM;

    if (!status)
        status = encode_text(&run, text, size, parse_special);
    scratch_give(tokenizer, run.scratch);
    return status;
}

llm_status tokenizer_encode(const llm_tokenizer *tokenizer, const char *text, size_t size,
                            unsigned flags, struct token_list *out)
{
    return encode(tokenizer, text, size, flags, out, NULL);
}

llm_status tokenizer_encode_offsets(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                    unsigned flags, struct token_list *out, size_t *begins,
                                    size_t *ends, size_t capacity)
{
    struct offsets offsets = {begins, ends, capacity};

    return encode(tokenizer, text, size, flags, out, &offsets);
}

size_t tokenizer_max_tokens(const llm_tokenizer *tokenizer, size_t size)
{
    const struct post_template *template = &tokenizer->post.single;
    size_t extra = template->count - template->sequences;
    size_t bound;

    if (!checked_mul(size, template->sequences, &bound))
        return SIZE_MAX;
    /* A prefix space can come before every other byte, the rest being added tokens. */
    if (tokenizer->add_prefix_space && !checked_mul(bound, 2, &bound))
        return SIZE_MAX;
    if (!checked_mul(bound, tokenizer->growth ? tokenizer->growth : 1, &bound))
        return SIZE_MAX;
    return checked_add(bound, extra, &bound) ? bound : SIZE_MAX;
}

/* ---- many texts, or one long one, on several threads ---- */

/* A task encodes texts [first, last) one after the other into its own list. */
struct task {
    size_t first;
    size_t last;
    struct token_list list;
    llm_status status;
    char message[256];
};

struct batch {
    const llm_tokenizer *tokenizer;
    const char *const *texts;
    const size_t *sizes;
    size_t *counts; /* per text */
    unsigned flags;
    struct task *tasks;
};

static void run_task(void *arg, int64_t index)
{
    struct batch *batch = arg;
    struct task *task = &batch->tasks[index];

    for (size_t i = task->first; i < task->last && !task->status; i++) {
        size_t before = task->list.count;

        task->status = encode(batch->tokenizer, batch->texts[i], batch->sizes[i], batch->flags,
                              &task->list, NULL);
        if (task->status)
            (void)status_prefix(task->status, "text %zu", i);
        batch->counts[i] = task->list.count - before;
    }
    if (task->status) {
        const char *message = status_message();
        size_t size = strlen(message);

        size = size < sizeof task->message - 1 ? size : sizeof task->message - 1;
        memcpy(task->message, message, size);
        task->message[size] = '\0';
    }
}

/* Texts [*first, ...) for one task: about 64 KiB. */
static size_t task_end(const size_t *sizes, size_t first, size_t count)
{
    size_t bytes = 0;

    while (first < count && bytes < 65536)
        bytes += sizes[first++] + 16;
    return first;
}

static size_t count_tasks(const size_t *sizes, size_t count)
{
    size_t tasks = 0;

    for (size_t i = 0; i < count; i = task_end(sizes, i, count))
        tasks++;
    return tasks;
}

/* Append what the tasks made. */
static llm_status gather(struct task *tasks, size_t task_count, struct token_list *out)
{
    size_t total = 0;
    llm_status status;

    for (size_t i = 0; i < task_count; i++) {
        if (tasks[i].status) {
            status_restore(tasks[i].message);
            return tasks[i].status;
        }
        total += tasks[i].list.count;
    }
    status = token_list_reserve(out, total);
    for (size_t i = 0; i < task_count && !status; i++) {
        if (tasks[i].list.count)
            memcpy(out->ids + out->count, tasks[i].list.ids,
                   tasks[i].list.count * sizeof *out->ids);
        out->count += tasks[i].list.count;
    }
    return status;
}

llm_status tokenizer_encode_batch(const llm_tokenizer *tokenizer, const char *const *texts,
                                  const size_t *sizes, size_t count, unsigned flags, int threads,
                                  struct token_list *out, size_t *counts)
{
    struct memory *memory = &tokenizer->context->memory;
    size_t task_count = count_tasks(sizes, count);
    struct batch batch = {tokenizer, texts, sizes, counts, flags, NULL};
    size_t first = 0;
    llm_status status;

    batch.tasks = memory_alloc_zeroed(memory, task_count, sizeof *batch.tasks);
    if (!batch.tasks)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < task_count; i++) {
        batch.tasks[i].first = first;
        batch.tasks[i].last = task_end(sizes, first, count);
        first = batch.tasks[i].last;
        token_list_init(&batch.tasks[i].list, memory);
    }
    parallel_each(threads, (int64_t)task_count, run_task, &batch);
    status = gather(batch.tasks, task_count, out);
    for (size_t i = 0; i < task_count; i++)
        token_list_free(&batch.tasks[i].list);
    memory_release(memory, batch.tasks);
    return status;
}

/* A long text is cut in front of a space behind a letter. The cuts depend on the text alone. */
enum { PART = 1 << 20 };

static llm_status encode_parts(const llm_tokenizer *tokenizer, const char *text, size_t size,
                               unsigned flags, int threads, struct token_list *out)
{
    struct memory *memory = &tokenizer->context->memory;
    size_t most = size / PART + 1;
    const char **texts = memory_alloc_array(memory, most, sizeof *texts);
    size_t *sizes = memory_alloc_array(memory, 2 * most, sizeof *sizes);
    size_t count = 0;
    llm_status status = LLM_E_NOMEM;

    if (!texts || !sizes)
        goto done;
    for (size_t at = 0; at < size; count++) {
        const unsigned char *base = (const unsigned char *)text;
        size_t step = size - at > PART ? PART : size - at;

        texts[count] = text + at;
        sizes[count] = (size_t)(split_safe_point(base + at + step, base + size) - (base + at));
        at += sizes[count];
    }
    status =
        tokenizer_encode_batch(tokenizer, texts, sizes, count, flags, threads, out, sizes + most);
done:
    memory_release(memory, texts);
    memory_release(memory, sizes);
    return status;
}

llm_status tokenizer_encode_parallel(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                     unsigned flags, int threads, struct token_list *out)
{
    const struct post_template *template = &tokenizer->post.single;
    bool add = (flags & TOKENIZER_ADD_SPECIAL) != 0;
    unsigned bare = flags & ~(unsigned)TOKENIZER_ADD_SPECIAL;
    llm_status status = LLM_OK;

    if (threads <= 1 || !tokenizer->cuts_at_space || size < 2 * (size_t)PART)
        return tokenizer_encode(tokenizer, text, size, flags, out);
    if (!add)
        return encode_parts(tokenizer, text, size, bare, threads, out);
    for (size_t i = 0; i < template->count && !status; i++) {
        if (template->items[i].sequence >= 0) {
            status = encode_parts(tokenizer, text, size, bare, threads, out);
            continue;
        }
        status = token_list_reserve(out, 1);
        if (!status)
            out->ids[out->count++] = template->items[i].id;
    }
    return status;
}
