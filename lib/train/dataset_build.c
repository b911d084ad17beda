/* SPDX-License-Identifier: MIT
 *
 * From documents to tokens. Long documents are encoded in pieces of some megabytes; a piece ends
 * between an ASCII letter and a line feed, where every split rule of tokenizer/split.h cuts
 * whatever stands around it, so the ids do not depend on where pieces end.
 */
#include "train/dataset.h"

#include "base/parallel.h"

#include <string.h>

enum { PIECE_BYTES = 8 << 20, BATCH_PIECES = 4096 };

struct piece {
    size_t begin, size; /* in builder->ready */
    bool ends_document;
    const char *name;
    int64_t number;
    struct token_list ids;
    llm_status status;
};

struct builder {
    llm_context *context;
    struct memory *memory;
    const llm_tokenizer *tokenizer;
    struct token_sink *sink;
    int32_t end_id;
    int32_t invalid_text;
    unsigned flags;
    struct text current; /* of the document being fed: bytes not yet in a piece */
    struct text ready;   /* checked bytes of the pieces */
    struct piece *pieces;
    size_t piece_count, piece_capacity;
    const char *name;
    int64_t number;
    uint64_t position; /* of current.data[0] in its document */
    size_t unchecked;  /* no cut lies before this byte of `current` */
};

llm_status builder_new(struct builder **out, llm_context *context, const llm_tokenizer *tokenizer,
                       struct token_sink *sink, const llm_dataset_options *options)
{
    struct builder *builder = memory_alloc_zeroed(&context->memory, 1, sizeof *builder);

    *out = builder;
    if (!builder)
        return LLM_E_NOMEM;
    builder->context = context;
    builder->memory = &context->memory;
    builder->tokenizer = tokenizer;
    builder->sink = sink;
    builder->end_id = options->append_eos ? tokenizer_special(tokenizer, LLM_TOKEN_EOS) : -1;
    builder->invalid_text = options->invalid_text;
    builder->flags = options->parse_special ? TOKENIZER_PARSE_SPECIAL : 0;
    text_init(&builder->current, builder->memory);
    text_init(&builder->ready, builder->memory);
    return LLM_OK;
}

void builder_free(struct builder *builder)
{
    if (!builder)
        return;
    for (size_t i = 0; i < builder->piece_count; i++)
        token_list_free(&builder->pieces[i].ids);
    memory_release(builder->memory, builder->pieces);
    text_free(&builder->current);
    text_free(&builder->ready);
    memory_release(builder->memory, builder);
}

static llm_status name_status(llm_status status, const char *name, int64_t number)
{
    return name ? status_prefix(status, "%s", name)
                : status_prefix(status, "document %lld", (long long)number);
}

/* The first byte of [data, data + size) that is not part of valid UTF-8, or NUL; `size` if none. */
static size_t first_invalid(const char *data, size_t size, bool refuse_nul)
{
    const unsigned char *begin = (const unsigned char *)data;
    const unsigned char *cursor = begin;
    const unsigned char *end = begin + size;

    while (cursor < end) {
        const unsigned char *at = cursor;
        bool valid;

        if (*cursor < 0x80) {
            if (*cursor == 0 && refuse_nul)
                break;
            cursor++;
            continue;
        }
        (void)utf8_next(&cursor, end, &valid);
        if (!valid)
            return (size_t)(at - begin);
    }
    return (size_t)(cursor - begin);
}

static void append_replaced(struct text *to, const char *data, size_t size)
{
    while (size) {
        size_t good = first_invalid(data, size, false);

        text_append(to, data, good);
        if (good == size)
            return;
        text_append(to, "\xEF\xBF\xBD", 3);
        data += good + 1;
        size -= good + 1;
    }
}

/* `size` bytes of `current` become a piece. */
static llm_status finish_piece(struct builder *builder, size_t size, bool ends_document)
{
    struct text *current = &builder->current;
    struct piece piece = {.begin = builder->ready.size,
                          .ends_document = ends_document,
                          .name = builder->name,
                          .number = builder->number};
    llm_status status =
        memory_grow(builder->memory, (void **)&builder->pieces, &builder->piece_capacity,
                    builder->piece_count + 1, sizeof *builder->pieces);

    if (status)
        return status;
    if (builder->invalid_text == LLM_TEXT_STRICT) {
        size_t bad = first_invalid(current->data, size, true);

        if (bad < size)
            return name_status(
                status_set(LLM_E_FORMAT, "byte %llu is not %s",
                           (unsigned long long)(builder->position + bad),
                           current->data[bad] ? "valid UTF-8" : "text (NUL): a binary file?"),
                builder->name, builder->number);
    }
    if (builder->invalid_text == LLM_TEXT_REPLACE)
        append_replaced(&builder->ready, current->data, size);
    else
        text_append(&builder->ready, current->data, size);
    if (builder->ready.failed)
        return LLM_E_NOMEM;
    piece.size = builder->ready.size - piece.begin;
    token_list_init(&piece.ids, builder->memory);
    builder->pieces[builder->piece_count++] = piece;
    if (size)
        memmove(current->data, current->data + size, current->size - size);
    current->size -= size;
    builder->position += size;
    return LLM_OK;
}

static void encode_piece(void *arg, int64_t index)
{
    struct builder *builder = arg;
    struct piece *piece = &builder->pieces[index];

    piece->status = tokenizer_encode(builder->tokenizer, builder->ready.data + piece->begin,
                                     piece->size, builder->flags, &piece->ids);
}

/* A few long pieces are split over the threads by the tokenizer, many short ones here. */
static void encode_pieces(struct builder *builder)
{
    int threads = builder->context->threads;

    if (builder->piece_count >= (size_t)threads * 2) {
        parallel_each(threads, (int64_t)builder->piece_count, encode_piece, builder);
        return;
    }
    for (size_t i = 0; i < builder->piece_count; i++) {
        struct piece *piece = &builder->pieces[i];

        piece->status =
            tokenizer_encode_parallel(builder->tokenizer, builder->ready.data + piece->begin,
                                      piece->size, builder->flags, threads, &piece->ids);
    }
}

/* A worker's message stays on its thread: the failed piece is encoded again to hear it here. */
static llm_status failed_piece(struct builder *builder, struct piece *piece)
{
    struct token_list ids;
    llm_status status;

    token_list_init(&ids, builder->memory);
    status = tokenizer_encode(builder->tokenizer, builder->ready.data + piece->begin, piece->size,
                              builder->flags, &ids);
    token_list_free(&ids);
    if (!status)
        return status_set(piece->status, "out of memory while tokenizing");
    return name_status(status, piece->name, piece->number);
}

llm_status builder_flush(struct builder *builder)
{
    llm_status status = LLM_OK;

    encode_pieces(builder);
    for (size_t i = 0; i < builder->piece_count; i++) {
        struct piece *piece = &builder->pieces[i];

        if (!status && piece->status)
            status = failed_piece(builder, piece);
        if (!status)
            status = token_sink_append(builder->sink, piece->ids.ids, piece->ids.count);
        if (!status && piece->ends_document && builder->end_id >= 0)
            status = token_sink_append(builder->sink, &builder->end_id, 1);
        if (!status && piece->ends_document)
            status = token_sink_end_document(builder->sink);
        token_list_free(&piece->ids);
    }
    builder->piece_count = 0;
    builder->ready.size = 0;
    return status;
}

static llm_status flush_if_full(struct builder *builder)
{
    if (builder->ready.size < PIECE_BYTES && builder->piece_count < BATCH_PIECES)
        return LLM_OK;
    return builder_flush(builder);
}

/* Bytes before the last place where text can be cut, 0 if there is none at or after `from`. */
static size_t find_cut(const char *data, size_t size, size_t from)
{
    for (size_t i = size; i-- > from + 1;) {
        unsigned char letter = (unsigned char)data[i - 1] | 0x20;

        if (data[i] == '\n' && letter >= 'a' && letter <= 'z')
            return i;
    }
    return 0;
}

void builder_begin(struct builder *builder, const char *name, int64_t number)
{
    builder->name = name;
    builder->number = number;
    builder->position = 0;
    builder->unchecked = 0;
    builder->current.size = 0;
}

llm_status builder_feed(struct builder *builder, const char *text, size_t size)
{
    llm_status status;
    size_t cut;

    text_append(&builder->current, text, size);
    if (builder->current.failed)
        return LLM_E_NOMEM;
    if (builder->current.size < PIECE_BYTES)
        return LLM_OK;
    cut = find_cut(builder->current.data, builder->current.size, builder->unchecked);
    if (!cut) {
        builder->unchecked = builder->current.size - 1;
        return LLM_OK;
    }
    builder->unchecked = 0;
    status = finish_piece(builder, cut, false);
    return status ? status : flush_if_full(builder);
}

llm_status builder_end(struct builder *builder)
{
    llm_status status;

    if (builder->current.size == 0 && builder->position == 0)
        return LLM_OK; /* an empty document is none */
    status = finish_piece(builder, builder->current.size, true);
    return status ? status : flush_if_full(builder);
}
