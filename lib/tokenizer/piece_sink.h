/* SPDX-License-Identifier: MIT
 *
 * Where the ids of a word go: a list of ids and, when somebody asked for positions, where each of
 * them ends in the word.
 */
#ifndef TOKENIZER_PIECE_SINK_H
#define TOKENIZER_PIECE_SINK_H

#include "tokenizer/pipeline.h"

struct piece_sink {
    struct token_list *out;
    struct end_list *ends; /* NULL: nobody asked */
};

static inline llm_status piece_sink_put(struct piece_sink *sink, int32_t id, size_t end)
{
    struct token_list *out = sink->out;
    llm_status status = LLM_OK;

    if (out->count == out->capacity)
        status = token_list_reserve(out, 1);
    if (!status && sink->ends)
        status = end_list_add(sink->ends, end);
    if (!status)
        out->ids[out->count++] = id;
    return status;
}

/* The last token put goes on to `end`. */
static inline void piece_sink_extend(struct piece_sink *sink, size_t end)
{
    if (sink->ends && sink->ends->count > 0)
        sink->ends->list[sink->ends->count - 1] = end;
}

#endif
