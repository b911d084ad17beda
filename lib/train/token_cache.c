/* SPDX-License-Identifier: MIT
 *
 * The token cache: header (magic, version, width), ids, document ends, sources, trailer with the
 * counts and checksums, in the machine's byte order. A cache is never trusted: wrong checksums,
 * sizes or sources mean that it is made anew. Integers in the file are aligned to their size.
 */
#include "train/tokens.h"

#include "base/checked.h"
#include "base/crc32c.h"

#include <stdio.h>
#include <string.h>

enum { CACHE_HEADER = 64, CACHE_VERSION = 1 };

struct trailer {
    uint64_t count;
    uint64_t documents;
    int64_t validation_start;
    uint64_t sources;
    uint64_t fingerprint;
    uint32_t byte_order; /* 0x01020304 as written */
    uint32_t reserved;
    uint32_t crc;         /* of everything before the trailer */
    uint32_t trailer_crc; /* of the fields above */
    char magic[8];
};

_Static_assert(sizeof(struct trailer) == 64, "the trailer has no padding");
_Static_assert(sizeof(struct token_source) == 32, "a source record has no padding");

static void write_part(struct token_sink *sink, const void *data, size_t size)
{
    sink->crc = crc32c(sink->crc, data, size);
    file_writer_write(&sink->writer, data, size);
}

llm_status token_cache_commit(struct token_sink *sink, const struct token_source *sources,
                              size_t source_count, uint64_t fingerprint)
{
    static const unsigned char zeros[8];
    struct trailer trailer = {.count = (uint64_t)sink->count,
                              .documents = sink->documents,
                              .validation_start = sink->validation_start,
                              .sources = source_count,
                              .fingerprint = fingerprint,
                              .byte_order = 0x01020304u};
    size_t id_bytes = (size_t)sink->count * (size_t)sink->width;
    llm_status status;

    write_part(sink, sink->ids, sink->bytes);
    sink->bytes = 0;
    write_part(sink, zeros, (8 - id_bytes % 8) % 8);
    write_part(sink, sink->ends, sink->documents * sizeof *sink->ends);
    write_part(sink, sources, source_count * sizeof *sources);
    trailer.crc = sink->crc;
    memcpy(trailer.magic, "LLMTOKEN", sizeof trailer.magic);
    trailer.trailer_crc = crc32c(0, &trailer, offsetof(struct trailer, trailer_crc));
    write_part(sink, &trailer, sizeof trailer);
    status = file_writer_commit(&sink->writer);
    sink->to_file = false;
    return status;
}

/* Where things are in a file whose size fits its trailer; NULL, or why not. */
static const char *locate(const struct file_map *map, struct trailer *trailer, int *width,
                          size_t *ends_at, size_t *sources_at)
{
    uint32_t fields[2];
    size_t ids, ends, sources, total;

    if (map->size < CACHE_HEADER + sizeof *trailer || memcmp(map->data, "LLMTOKEN", 8) != 0)
        return "it is not a token cache";
    memcpy(fields, map->data + 8, sizeof fields);
    memcpy(trailer, map->data + map->size - sizeof *trailer, sizeof *trailer);
    if (fields[0] != CACHE_VERSION)
        return "another version wrote it";
    if (memcmp(trailer->magic, "LLMTOKEN", 8) != 0 || trailer->byte_order != 0x01020304u ||
        trailer->trailer_crc != crc32c(0, trailer, offsetof(struct trailer, trailer_crc)) ||
        (fields[1] != 2 && fields[1] != 4))
        return "it is damaged";
    *width = (int)fields[1];
    if (!checked_mul(trailer->count, fields[1], &ids) || !checked_add(ids, CACHE_HEADER, &ids) ||
        !checked_align(ids, 8, ends_at) || !checked_mul(trailer->documents, 8, &ends) ||
        !checked_add(*ends_at, ends, sources_at) ||
        !checked_mul(trailer->sources, sizeof(struct token_source), &sources) ||
        !checked_add(*sources_at, sources, &total) ||
        !checked_add(total, sizeof *trailer, &total) || total != map->size)
        return "it is damaged";
    return NULL;
}

static llm_status same_sources(bool *same, const char *data, const struct token_source *sources,
                               size_t count, token_source_crc crc, void *arg)
{
    *same = true;
    for (size_t i = 0; i < count && *same; i++) {
        struct token_source old;
        uint32_t now = 0;
        llm_status status;

        memcpy(&old, data + i * sizeof old, sizeof old);
        *same = old.size == sources[i].size && old.is_validation == sources[i].is_validation;
        if (!*same || (old.modified == sources[i].modified && old.name == sources[i].name))
            continue;
        status = crc(arg, i, &now);
        if (status)
            return status;
        *same = now == old.crc;
    }
    return LLM_OK;
}

/* Checksums find accidents; what was forged to have the right ones must not lead astray either. */
static bool contents_fit(const struct tokens *tokens, int32_t vocab_size)
{
    const uint16_t *narrow = tokens->ids;
    const int32_t *wide = tokens->ids;
    int64_t end = 0;
    bool fits = tokens->validation_start >= -1 && tokens->validation_start <= tokens->count;

    for (int64_t i = 0; i < tokens->documents && fits; i++) {
        fits = tokens->ends[i] >= end && tokens->ends[i] <= tokens->count;
        end = tokens->ends[i];
    }
    for (int64_t i = 0; i < tokens->count && fits; i++) {
        int32_t id = tokens->width == 2 ? narrow[i] : wide[i];

        fits = id >= 0 && id < vocab_size;
    }
    return fits;
}

llm_status token_cache_open(struct tokens *tokens, struct memory *memory, const char *path,
                            const struct token_source *sources, size_t source_count,
                            uint64_t fingerprint, int32_t vocab_size, token_source_crc crc,
                            void *arg, char reason[128])
{
    struct trailer trailer;
    size_t ends_at = 0, sources_at = 0;
    const char *why = NULL;
    bool same = false;
    llm_status status = LLM_OK;

    memset(tokens, 0, sizeof *tokens);
    tokens->memory = memory;
    if (!file_exists(path))
        why = "there is none";
    else if (file_map_open(&tokens->map, path))
        why = status_message();
    if (!why)
        why = locate(&tokens->map, &trailer, &tokens->width, &ends_at, &sources_at);
    if (!why && trailer.fingerprint != fingerprint)
        why = "it was made with another tokenizer or other options";
    if (!why && trailer.sources != source_count)
        why = "the sources have changed";
    if (!why) {
        status =
            same_sources(&same, tokens->map.data + sources_at, sources, source_count, crc, arg);
        if (!status && !same)
            why = "the sources have changed";
    }
    if (!why && !status &&
        trailer.crc != crc32c(0, tokens->map.data, tokens->map.size - sizeof trailer))
        why = "it is damaged";
    if (!why && !status) {
        tokens->ids = tokens->map.data + CACHE_HEADER;
        tokens->count = (int64_t)trailer.count;
        tokens->ends = (const int64_t *)(const void *)(tokens->map.data + ends_at);
        tokens->documents = (int64_t)trailer.documents;
        tokens->validation_start = trailer.validation_start;
        if (!contents_fit(tokens, vocab_size))
            why = "it is damaged";
    }
    if (why || status) {
        (void)snprintf(reason, 128, "%s", why ? why : "");
        tokens_free(tokens);
    }
    return status;
}
