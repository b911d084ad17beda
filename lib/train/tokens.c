/* SPDX-License-Identifier: MIT */
#include "train/tokens.h"

#include "base/checked.h"
#include "base/crc32c.h"

#include <string.h>

enum { SINK_BUFFER = 1 << 20, CACHE_HEADER = 64 };

void tokens_free(struct tokens *tokens)
{
    file_map_close(&tokens->map);
    if (tokens->memory) {
        memory_release(tokens->memory, tokens->owned_ids);
        memory_release(tokens->memory, tokens->owned_ends);
        memory_release(tokens->memory, tokens->learned);
    }
    memset(tokens, 0, sizeof *tokens);
}

void tokens_read(const struct tokens *tokens, int64_t first, int64_t count, int32_t *out)
{
    if (tokens->width == 4) {
        memcpy(out, (const int32_t *)tokens->ids + first, (size_t)count * sizeof *out);
    } else {
        const uint16_t *ids = (const uint16_t *)tokens->ids + first;

        for (int64_t i = 0; i < count; i++)
            out[i] = ids[i];
    }
}

llm_status token_sink_open(struct token_sink *sink, struct memory *memory, const char *cache,
                           int32_t vocab_size, int32_t end_id)
{
    unsigned char header[CACHE_HEADER] = "LLMTOKEN";
    uint32_t fields[2] = {1, 0};
    llm_status status;

    memset(sink, 0, sizeof *sink);
    sink->memory = memory;
    sink->width = vocab_size <= 65536 ? 2 : 4;
    sink->end_id = end_id;
    sink->validation_start = -1;
    if (!cache)
        return LLM_OK;
    sink->capacity = SINK_BUFFER;
    sink->ids = memory_alloc(memory, sink->capacity);
    if (!sink->ids)
        return LLM_E_NOMEM;
    status = file_writer_open(&sink->writer, memory, cache);
    if (status)
        return status;
    sink->to_file = true;
    fields[1] = (uint32_t)sink->width;
    memcpy(header + 8, fields, sizeof fields);
    file_writer_write(&sink->writer, header, sizeof header);
    sink->crc = crc32c(0, header, sizeof header);
    return sink->writer.status;
}

static llm_status drain(struct token_sink *sink)
{
    sink->crc = crc32c(sink->crc, sink->ids, sink->bytes);
    file_writer_write(&sink->writer, sink->ids, sink->bytes);
    sink->bytes = 0;
    return sink->writer.status;
}

static llm_status make_room(struct token_sink *sink, size_t bytes)
{
    size_t needed;

    if (sink->to_file)
        return sink->bytes + bytes > sink->capacity ? drain(sink) : LLM_OK;
    if (!checked_add(sink->bytes, bytes, &needed))
        return status_set(LLM_E_NOMEM, "out of memory: too many tokens");
    return memory_grow(sink->memory, (void **)&sink->ids, &sink->capacity, needed, 1);
}

/* At most SINK_BUFFER bytes' worth. */
static llm_status append_some(struct token_sink *sink, const int32_t *ids, size_t count)
{
    llm_status status = make_room(sink, count * (size_t)sink->width);

    if (status)
        return status;
    if (sink->width == 4) {
        memcpy(sink->ids + sink->bytes, ids, count * sizeof *ids);
    } else {
        uint16_t *to = (uint16_t *)(void *)(sink->ids + sink->bytes);

        for (size_t i = 0; i < count; i++)
            to[i] = (uint16_t)ids[i];
    }
    sink->bytes += count * (size_t)sink->width;
    return LLM_OK;
}

static llm_status note_end(struct token_sink *sink, int64_t end)
{
    llm_status status;

    if (end == 0 || (sink->documents && sink->ends[sink->documents - 1] == end))
        return LLM_OK; /* an empty document is none */
    status = memory_grow(sink->memory, (void **)&sink->ends, &sink->end_capacity,
                         sink->documents + 1, sizeof *sink->ends);
    if (!status)
        sink->ends[sink->documents++] = end;
    return status;
}

llm_status token_sink_append(struct token_sink *sink, const int32_t *ids, size_t count)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; sink->end_id >= 0 && i < count && !status; i++) {
        if (ids[i] == sink->end_id)
            status = note_end(sink, sink->count + (int64_t)i + 1);
    }
    for (size_t done = 0; done < count && !status;) {
        size_t piece = count - done < SINK_BUFFER / 4 ? count - done : SINK_BUFFER / 4;

        status = append_some(sink, ids + done, piece);
        done += piece;
    }
    sink->count += (int64_t)count;
    return status;
}

llm_status token_sink_end_document(struct token_sink *sink)
{
    return note_end(sink, sink->count);
}

void token_sink_begin_validation(struct token_sink *sink)
{
    sink->validation_start = sink->count;
}

void token_sink_finish(struct token_sink *sink, struct tokens *tokens)
{
    memset(tokens, 0, sizeof *tokens);
    tokens->memory = sink->memory;
    tokens->owned_ids = sink->ids;
    tokens->owned_ends = sink->ends;
    tokens->ids = sink->ids;
    tokens->width = sink->width;
    tokens->count = sink->count;
    tokens->ends = sink->ends;
    tokens->documents = (int64_t)sink->documents;
    tokens->validation_start = sink->validation_start;
    sink->ids = NULL;
    sink->ends = NULL;
}

void token_sink_free(struct token_sink *sink)
{
    if (sink->to_file)
        file_writer_discard(&sink->writer);
    sink->to_file = false;
    if (sink->memory) {
        memory_release(sink->memory, sink->ids);
        memory_release(sink->memory, sink->ends);
    }
    sink->ids = NULL;
    sink->ends = NULL;
}
