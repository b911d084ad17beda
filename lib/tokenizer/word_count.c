/* SPDX-License-Identifier: MIT */
#include "tokenizer/word_count.h"

#include "base/map.h"
#include "base/parallel.h"

#include <string.h>

enum {
    PART_SIZE = 1 << 20,    /* what a thread takes at a time */
    BUFFER_SIZE = 32 << 20, /* small documents are counted when this many bytes wait */
    LARGE = 8 << 20,        /* a document that is counted where it lies */
    ENDS = 256
};

static void table_free(struct word_table *table)
{
    if (!table->memory)
        return;
    memory_release(table->memory, table->words);
    memory_release(table->memory, table->slots);
    arena_free(&table->arena);
    memset(table, 0, sizeof *table);
}

static llm_status grow_slots(struct word_table *table)
{
    size_t count = table->slot_count ? table->slot_count * 2 : 4096;
    uint32_t *slots = memory_alloc_zeroed(table->memory, count, sizeof *slots);

    if (!slots)
        return LLM_E_NOMEM;
    memory_release(table->memory, table->slots);
    table->slots = slots;
    table->slot_count = count;
    for (size_t i = 0; i < table->count; i++) {
        size_t slot = table->words[i].hash & (count - 1);

        while (slots[slot])
            slot = (slot + 1) & (count - 1);
        slots[slot] = (uint32_t)i + 1;
    }
    return LLM_OK;
}

static llm_status insert(struct word_table *table, const char *text, size_t size, uint32_t hash,
                         uint64_t count, size_t slot)
{
    struct word word = {NULL, (uint32_t)size, hash, count};
    llm_status status = LLM_OK;

    if (size > UINT32_MAX || table->count >= UINT32_MAX / 4)
        return status_set(LLM_E_RANGE, "too many or too long words to train on");
    if ((table->count + 1) * 2 > table->slot_count) {
        status = grow_slots(table);
        if (status)
            return status;
        slot = hash & (table->slot_count - 1);
        while (table->slots[slot])
            slot = (slot + 1) & (table->slot_count - 1);
    }
    status = memory_grow(table->memory, (void **)&table->words, &table->capacity, table->count + 1,
                         sizeof *table->words);
    if (status)
        return status;
    word.text = arena_copy_text(&table->arena, text, size);
    if (!word.text)
        return LLM_E_NOMEM;
    table->words[table->count++] = word;
    table->slots[slot] = (uint32_t)table->count;
    return LLM_OK;
}

static llm_status add_word(struct word_table *table, const char *text, size_t size, uint32_t hash,
                           uint64_t count)
{
    size_t mask = table->slot_count - 1;
    size_t slot = hash & mask;

    while (table->slot_count && table->slots[slot]) {
        struct word *word = &table->words[table->slots[slot] - 1];

        if (word->hash == hash && word->size == size && memcmp(word->text, text, size) == 0) {
            word->count += count;
            return LLM_OK;
        }
        slot = (slot + 1) & mask;
    }
    return insert(table, text, size, hash, count, slot);
}

static uint32_t word_hash(const char *text, size_t size)
{
    uint64_t hash = hash_bytes(text, size);

    return (uint32_t)(hash ^ hash >> 32);
}

static llm_status count_part(struct word_table *table, const struct split_rule *rule,
                             const char *text, size_t size)
{
    const unsigned char *ends[ENDS];
    const unsigned char *cursor = (const unsigned char *)text;
    const unsigned char *end = cursor + size;
    const unsigned char *word = cursor;
    llm_status status = LLM_OK;

    while (cursor < end && !status) {
        size_t count = rule->scan(&cursor, end, ends, ENDS);

        for (size_t i = 0; i < count && !status; i++) {
            size_t length = (size_t)(ends[i] - word);

            status = add_word(table, (const char *)word, length,
                              word_hash((const char *)word, length), 1);
            word = ends[i];
        }
    }
    return status;
}

llm_status word_counter_put(struct word_counter *counter, const char *word, size_t size)
{
    return add_word(&counter->tables[0], word, size, word_hash(word, size), 1);
}

llm_status word_counter_init(struct word_counter *counter, struct memory *memory,
                             const struct split_rule *rule, int threads)
{
    memset(counter, 0, sizeof *counter);
    counter->memory = memory;
    counter->rule = rule;
    counter->threads = threads < 1 ? 1 : threads;
    text_init(&counter->buffer, memory);
    counter->tables =
        memory_alloc_zeroed(memory, (size_t)counter->threads, sizeof *counter->tables);
    if (!counter->tables)
        return LLM_E_NOMEM;
    for (int i = 0; i < counter->threads; i++) {
        counter->tables[i].memory = memory;
        arena_init(&counter->tables[i].arena, memory);
    }
    return LLM_OK;
}

void word_counter_free(struct word_counter *counter)
{
    if (!counter->memory)
        return;
    for (int i = 0; counter->tables && i < counter->threads; i++)
        table_free(&counter->tables[i]);
    memory_release(counter->memory, counter->tables);
    memory_release(counter->memory, counter->parts);
    text_free(&counter->buffer);
    memset(counter, 0, sizeof *counter);
}

struct job {
    struct word_counter *counter;
    const char *text;
    _Atomic size_t next;
    _Atomic int32_t status;
    char message[256]; /* written by the thread that set status */
};

static void run_job(void *arg, int thread, int team)
{
    struct job *job = arg;
    struct word_counter *counter = job->counter;
    size_t index;

    (void)team;
    while ((index = atomic_fetch_add(&job->next, 1)) < counter->part_count &&
           atomic_load(&job->status) == LLM_OK) {
        int32_t expected = LLM_OK;
        llm_status status =
            count_part(&counter->tables[thread], counter->rule,
                       job->text + counter->parts[index].begin, counter->parts[index].size);

        if (status && atomic_compare_exchange_strong(&job->status, &expected, status)) {
            strncpy(job->message, status_message(), sizeof job->message - 1);
            return;
        }
    }
}

static llm_status count_parts(struct word_counter *counter, const char *text)
{
    struct job job = {.counter = counter, .text = text};
    int threads = counter->threads;

    if (counter->part_count < (size_t)threads)
        threads = (int)counter->part_count;
    parallel_team(threads, run_job, &job);
    counter->part_count = 0;
    if (atomic_load(&job.status))
        status_restore(job.message);
    return atomic_load(&job.status);
}

/* The parts of one document, cut where every rule cuts. */
static llm_status add_parts(struct word_counter *counter, const char *text, size_t begin,
                            size_t size)
{
    const unsigned char *base = (const unsigned char *)text + begin;
    size_t at = 0;

    while (at < size) {
        size_t step = size;
        llm_status status;

        if (counter->rule->id != LLM_SPLIT_NONE && size - at > PART_SIZE)
            step = (size_t)(split_safe_point(base + at + PART_SIZE, base + size) - base);
        status = memory_grow(counter->memory, (void **)&counter->parts, &counter->part_capacity,
                             counter->part_count + 1, sizeof *counter->parts);
        if (status)
            return status;
        counter->parts[counter->part_count++] = (struct word_part){begin + at, step - at};
        at = step;
    }
    return LLM_OK;
}

static llm_status flush(struct word_counter *counter)
{
    llm_status status = count_parts(counter, counter->buffer.data);

    counter->buffer.size = 0;
    return status;
}

llm_status word_counter_add(struct word_counter *counter, const char *text, size_t size)
{
    size_t begin = counter->buffer.size;
    llm_status status = LLM_OK;

    if (size >= LARGE) {
        status = flush(counter);
        if (!status)
            status = add_parts(counter, text, 0, size);
        return status ? status : count_parts(counter, text);
    }
    text_append(&counter->buffer, text, size);
    if (counter->buffer.failed)
        return LLM_E_NOMEM;
    status = add_parts(counter, counter->buffer.data, begin, size);
    if (!status && counter->buffer.size >= BUFFER_SIZE)
        status = flush(counter);
    return status;
}

llm_status word_counter_finish(struct word_counter *counter)
{
    llm_status status = flush(counter);

    for (int i = 1; i < counter->threads && !status; i++) {
        struct word_table *from = &counter->tables[i];

        for (size_t j = 0; j < from->count && !status; j++)
            status = add_word(&counter->tables[0], from->words[j].text, from->words[j].size,
                              from->words[j].hash, from->words[j].count);
        table_free(from);
    }
    return status;
}
