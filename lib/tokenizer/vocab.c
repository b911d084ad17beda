/* SPDX-License-Identifier: MIT */
#include "tokenizer/vocab.h"

#include "base/map.h"

#include <string.h>

static const size_t blob_limit = (size_t)1 << 30;

void vocab_init(struct vocab *vocab, struct memory *memory)
{
    memset(vocab, 0, sizeof *vocab);
    vocab->memory = memory;
}

void vocab_free(struct vocab *vocab)
{
    if (!vocab->memory)
        return;
    memory_release(vocab->memory, vocab->blob);
    memory_release(vocab->memory, vocab->entries);
    memory_release(vocab->memory, vocab->flags);
    memory_release(vocab->memory, vocab->slots);
    vocab_init(vocab, vocab->memory);
}

static size_t find_slot(const struct vocab *vocab, const char *bytes, size_t size)
{
    size_t mask = vocab->slot_count - 1;
    size_t slot = hash_bytes(bytes, size) & mask;

    while (vocab->slots[slot]) {
        uint32_t id = vocab->slots[slot] - 1;

        if (vocab->entries[id].size == size &&
            memcmp(vocab->blob + vocab->entries[id].offset, bytes, size) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static llm_status grow_slots(struct vocab *vocab)
{
    size_t count = vocab->slot_count ? vocab->slot_count * 2 : 1024;
    uint32_t *old = vocab->slots;
    size_t old_count = vocab->slot_count;
    uint32_t *slots = memory_alloc_zeroed(vocab->memory, count, sizeof *slots);

    if (!slots)
        return LLM_E_NOMEM;
    vocab->slots = slots;
    vocab->slot_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i]) {
            const struct vocab_entry *entry = &vocab->entries[old[i] - 1];

            slots[find_slot(vocab, vocab->blob + entry->offset, entry->size)] = old[i];
        }
    }
    memory_release(vocab->memory, old);
    return LLM_OK;
}

/* Room for `id` and for `size` more bytes. */
static llm_status make_room(struct vocab *vocab, size_t id, size_t size)
{
    size_t blob_needed = vocab->blob_size + size + 1 + VOCAB_COPY_SLACK;
    llm_status status;

    if (blob_needed > blob_limit)
        return status_set(LLM_E_RANGE, "vocabulary larger than %zu bytes", blob_limit);
    status =
        memory_grow(vocab->memory, (void **)&vocab->blob, &vocab->blob_capacity, blob_needed, 1);
    if (!status)
        status = memory_grow(vocab->memory, (void **)&vocab->entries, &vocab->capacity, id + 1,
                             sizeof *vocab->entries);
    if (!status)
        status =
            memory_grow(vocab->memory, (void **)&vocab->flags, &vocab->flags_capacity, id + 1, 1);
    if (!status && (vocab->used_slots + 1) * 2 > vocab->slot_count)
        status = grow_slots(vocab);
    if (!status && id >= vocab->size) {
        memset(vocab->entries + vocab->size, 0, (id + 1 - vocab->size) * sizeof *vocab->entries);
        memset(vocab->flags + vocab->size, 0, id + 1 - vocab->size);
        vocab->size = id + 1;
    }
    return status;
}

llm_status vocab_put(struct vocab *vocab, int64_t id, const char *bytes, size_t size,
                     unsigned flags)
{
    size_t slot;
    llm_status status;

    if (id < 0 || id > VOCAB_MAX_ID)
        return status_set(LLM_E_RANGE, "token id %lld is outside 0..%d", (long long)id,
                          VOCAB_MAX_ID);
    if (size > VOCAB_MAX_TOKEN)
        return status_set(LLM_E_RANGE, "token %lld has %zu bytes, more than %d", (long long)id,
                          size, VOCAB_MAX_TOKEN);
    if (vocab_has(vocab, id))
        return status_set(LLM_E_FORMAT, "two tokens have the id %lld", (long long)id);
    status = make_room(vocab, (size_t)id, size);
    if (status)
        return status;
    slot = find_slot(vocab, bytes, size);
    if (!vocab->slots[slot])
        vocab->used_slots++;
    if (!vocab->slots[slot] ||
        ((vocab->flags[vocab->slots[slot] - 1] & VOCAB_LITERAL) && !(flags & VOCAB_LITERAL)))
        vocab->slots[slot] = (uint32_t)id + 1;
    if (size)
        memcpy(vocab->blob + vocab->blob_size, bytes, size);
    memset(vocab->blob + vocab->blob_size + size, 0, 1 + VOCAB_COPY_SLACK);
    vocab->entries[id] = (struct vocab_entry){(uint32_t)vocab->blob_size, (uint32_t)size};
    vocab->flags[id] = (uint8_t)flags;
    vocab->blob_size += size + 1;
    if (size > vocab->longest)
        vocab->longest = (uint32_t)size;
    return LLM_OK;
}

int32_t vocab_find(const struct vocab *vocab, const char *bytes, size_t size)
{
    if (vocab->slot_count == 0)
        return -1;
    return (int32_t)vocab->slots[find_slot(vocab, bytes, size)] - 1;
}
