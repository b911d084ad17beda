/* SPDX-License-Identifier: MIT
 *
 * Where the ids of a text go: a list of ids and, when somebody asked for offsets, where each of
 * them ends in the text that the algorithm was given.
 */
#ifndef TOKENIZER_PIECE_SINK_H
#define TOKENIZER_PIECE_SINK_H

#include "tokenizer/tokenizer.h"

struct piece_sink {
    struct token_list *out;
    size_t *ends; /* ends[i] of out->ids[first + i]; grown as needed when `track` */
    size_t ends_capacity;
    size_t first;
    bool track;
};

/* Token `index` of the list ends at `end`. */
static inline llm_status piece_sink_note(struct piece_sink *sink, size_t index, size_t end)
{
    llm_status status;

    if (!sink->track)
        return LLM_OK;
    status = memory_grow(sink->out->memory, (void **)&sink->ends, &sink->ends_capacity,
                         index - sink->first + 1, sizeof *sink->ends);
    if (!status)
        sink->ends[index - sink->first] = end;
    return status;
}

static inline llm_status piece_sink_put(struct piece_sink *sink, int32_t id, size_t end)
{
    struct token_list *out = sink->out;
    llm_status status = LLM_OK;

    if (out->count == out->capacity)
        status = token_list_reserve(out, 1);
    if (!status)
        status = piece_sink_note(sink, out->count, end);
    if (!status)
        out->ids[out->count++] = id;
    return status;
}

/* The last token put goes on to `end`. */
static inline void piece_sink_extend(struct piece_sink *sink, size_t end)
{
    if (sink->track && sink->out->count > sink->first)
        sink->ends[sink->out->count - sink->first - 1] = end;
}

static inline void piece_sink_free(struct piece_sink *sink)
{
    memory_release(sink->out->memory, sink->ends);
    sink->ends = NULL;
    sink->ends_capacity = 0;
}

#endif
