/* SPDX-License-Identifier: MIT
 *
 * The "vocab" object of tokenizer.json and of vocab.json: token to id.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pipeline.h"

#include <string.h>

enum { SPELLING_LIMIT = 4 * VOCAB_MAX_TOKEN };

llm_status vocab_put_spelled(struct vocab *vocab, int64_t id, const char *spelling, size_t size,
                             unsigned flags)
{
    char small[256];
    char *bytes = small;
    size_t count = 0;
    llm_status status;

    if (size > SPELLING_LIMIT)
        return status_set(LLM_E_RANGE, "token %lld is longer than %d bytes", (long long)id,
                          SPELLING_LIMIT);
    if (size > sizeof small)
        bytes = memory_alloc(vocab->memory, size);
    if (!bytes)
        return LLM_E_NOMEM;
    if (byte_alphabet_read(spelling, size, bytes, &count))
        status = vocab_put(vocab, id, bytes, count, flags);
    else
        status = vocab_put(vocab, id, spelling, size, flags | VOCAB_LITERAL);
    if (bytes != small)
        memory_release(vocab->memory, bytes);
    return status;
}

int32_t vocab_find_spelled(const struct vocab *vocab, const char *spelling, size_t size)
{
    char bytes[SPELLING_LIMIT < 4096 ? SPELLING_LIMIT : 4096];
    bool literal = true;
    size_t count = size;
    int32_t id;

    if (size <= sizeof bytes && byte_alphabet_read(spelling, size, bytes, &count))
        literal = false;
    id = vocab_find(vocab, literal ? spelling : bytes, count);
    if (id >= 0 && ((vocab->flags[id] & VOCAB_LITERAL) != 0) != literal)
        return -1;
    return id;
}

/* A small file must not make us allocate by its largest id. */
static llm_status check_ids(const json_t *object)
{
    int64_t limit = (int64_t)json_object_size(object) * 8 + 65536;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;

        if (id < 0)
            return status_set(LLM_E_FORMAT, "vocab: the id of token \"%.60s\" is not a number >= 0",
                              key);
        if (id >= limit || id > VOCAB_MAX_ID)
            return status_set(LLM_E_RANGE, "vocab: id %lld of token \"%.60s\" is out of range",
                              (long long)id, key);
    }
    return LLM_OK;
}

llm_status vocab_read(struct vocab *vocab, const json_t *object, bool spelled)
{
    const char *key;
    json_t *value;
    llm_status status;

    if (!json_is_object(object))
        return status_set(LLM_E_FORMAT, "field \"vocab\" is not an object");
    status = check_ids(object);
    if (status)
        return status;
    json_object_foreach((json_t *)object, key, value)
    {
        int64_t id = json_integer_value(value);

        status = spelled ? vocab_put_spelled(vocab, id, key, strlen(key), VOCAB_MODEL)
                         : vocab_put(vocab, id, key, strlen(key), VOCAB_MODEL);
        if (status)
            return status_prefix(status, "vocab");
    }
    return LLM_OK;
}

void vocab_write(const struct vocab *vocab, bool spelled, bool all, struct text *out)
{
    const char *separator = "";

    text_append_z(out, "{");
    for (size_t i = 0; i < vocab->size && !out->failed; i++) {
        if (!(vocab->flags[i] & (all ? 0xFF : VOCAB_MODEL)))
            continue;
        text_append_z(out, separator);
        text_append_z(out, "\n      ");
        separator = ",";
        if (spelled && !(vocab->flags[i] & VOCAB_LITERAL))
            byte_alphabet_write_json(out, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size);
        else
            text_append_json(out, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size);
        text_printf(out, ": %zu", i);
    }
    text_append_z(out, "\n    }");
}
