/* SPDX-License-Identifier: MIT
 *
 * The normalizer "Precompiled" of tokenizer.json: SentencePiece's character map, followed the way
 * Hugging Face tokenizers does, which is not SentencePiece's (precompiled.h).
 */
#include "base/base64.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/precompiled.h"

#include <string.h>

static llm_status read_map(void **data, struct memory *memory, const json_t *stage)
{
    const json_t *field = json_object_get(stage, "precompiled_charsmap");
    struct charsmap *map;
    struct text bytes;
    llm_status status = LLM_OK;

    if (!field || json_is_null(field))
        return status_set(LLM_E_FORMAT, "missing field \"precompiled_charsmap\"");
    text_init(&bytes, memory);
    if (!json_is_string(field) ||
        !base64_read(&bytes, json_string_value(field), json_string_length(field)))
        status = status_set(LLM_E_FORMAT, "precompiled_charsmap is not base64");
    map = memory_alloc_zeroed(memory, 1, sizeof *map);
    *data = map;
    if (!status && (!map || bytes.failed))
        status = LLM_E_NOMEM;
    if (!status)
        status = charsmap_open(map, memory, bytes.data, bytes.size);
    text_free(&bytes);
    return status;
}

/* Without a map: what is not changed is copied in long stretches. */
static void apply_plainly(const struct charsmap *map, const struct mapped_text *in,
                          struct mapped_text *out)
{
    const unsigned char *text = (const unsigned char *)in->data;
    const unsigned char *end = text + in->size;
    const unsigned char *cluster_end = text;
    size_t plain = 0; /* not yet copied from here on */

    for (size_t at = 0; at < in->size && !out->failed;) {
        struct charsmap_match match = charsmap_cluster_step(map, text + at, end, &cluster_end);

        if (match.text) {
            mapped_copy(out, in, plain, at - plain);
            mapped_put(out, in, at, match.text, match.size);
            plain = at + match.length;
        }
        at += match.length;
    }
    mapped_copy(out, in, plain, in->size - plain);
}

/* A character put out, which waits because what follows may change how far it reaches. */
struct waiting {
    char bytes[4];
    size_t size;
    long change; /* 1: it is new; 0: in the place of a character; -n: of 1 + n characters */
};

/* The map as Hugging Face tokenizers makes it: each new character takes the place of the next old
 * one; surplus new ones are insertions; surplus old ones go with the character before them, also
 * across the borders of rules, and are lost at the start of the text, where there is none. */
static void flush(const struct mapped_text *in, size_t *from, struct waiting *waiting,
                  struct mapped_text *out)
{
    if (waiting->size == 0)
        return;
    if (waiting->change > 0 || *from >= in->size)
        mapped_insert(out, in, *from, waiting->bytes, waiting->size);
    else
        mapped_put(out, in, *from, waiting->bytes, waiting->size);
    for (; waiting->change <= 0 && *from < in->size; waiting->change++) {
        size_t length;

        (void)mapped_char(in->data, in->size, *from, &length);
        *from += length;
    }
    waiting->size = 0;
}

static long count_characters(const char *text, size_t size)
{
    long count = 0;
    size_t length;

    for (size_t at = 0; at < size; at += length, count++)
        (void)mapped_char(text, size, at, &length);
    return count;
}

static void apply_mapped(const struct charsmap *map, const struct mapped_text *in,
                         struct mapped_text *out)
{
    const unsigned char *text = (const unsigned char *)in->data;
    const unsigned char *end = text + in->size;
    const unsigned char *cluster_end = text;
    struct waiting waiting = {{0}, 0, 0};
    size_t from = 0;

    for (size_t at = 0; at < in->size && !out->failed;) {
        struct charsmap_match match = charsmap_cluster_step(map, text + at, end, &cluster_end);
        const char *new = match.text ? match.text : in->data + at;
        size_t size = match.text ? match.size : match.length;
        long old = count_characters(in->data + at, match.length);
        size_t length;

        for (size_t i = 0; i < size; i += length, old--) {
            (void)mapped_char(new, size, i, &length);
            flush(in, &from, &waiting, out);
            memcpy(waiting.bytes, new + i, length);
            waiting.size = length;
            waiting.change = old > 0 ? 0 : 1;
        }
        if (old > 0)
            waiting.change -= old;
        at += match.length;
    }
    flush(in, &from, &waiting, out);
}

static llm_status apply_map(const void *data, struct normalizer_work *work,
                            const struct mapped_text *in, struct mapped_text *out)
{
    (void)work;
    if (in->track)
        apply_mapped(data, in, out);
    else
        apply_plainly(data, in, out);
    return out->failed ? LLM_E_NOMEM : LLM_OK;
}

static bool leaves_text(const void *data, const char *text, size_t size)
{
    const struct charsmap *map = data;

    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] >= 128 || text[i] == '\r' || !map->plain[(int)text[i]])
            return false;
    }
    return true;
}

static size_t growth(const void *data)
{
    return ((const struct charsmap *)data)->growth;
}

static void free_map(void *data, struct memory *memory)
{
    if (data)
        charsmap_close(data);
    memory_release(memory, data);
}

const struct normalizer_type normalizer_precompiled = {
    .type = "Precompiled",
    .read = read_map,
    .apply = apply_map,
    .leaves = leaves_text,
    .growth = growth,
    .free = free_map,
};
