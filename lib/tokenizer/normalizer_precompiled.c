/* SPDX-License-Identifier: MIT
 *
 * The normalizer "Precompiled" of tokenizer.json: SentencePiece's character map, followed the way
 * Hugging Face tokenizers does, which is not SentencePiece's (precompiled.h).
 */
#include "base/base64.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/precompiled.h"

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

/* Put `match` in the place of bytes [at, at + match.length): as far as there are old characters,
 * new ones come from them one by one, and further ones from the last. */
static void put_match(const struct mapped_text *in, size_t at, struct charsmap_match match,
                      struct mapped_text *out)
{
    size_t end = at + match.length;
    size_t from = at;

    for (size_t i = 0; i < match.size;) {
        size_t length;
        size_t old;

        (void)mapped_char(match.text, match.size, i, &length);
        if (from < end) {
            (void)mapped_char(in->data, end, from, &old);
            mapped_put(out, in, from, match.text + i, length);
            from += old;
        } else {
            mapped_insert(out, in, end, match.text + i, length);
        }
        i += length;
    }
}

static llm_status apply_map(const void *data, struct normalizer_work *work,
                            const struct mapped_text *in, struct mapped_text *out)
{
    const unsigned char *text = (const unsigned char *)in->data;
    const unsigned char *end = text + in->size;
    const unsigned char *cluster_end = text;
    size_t plain = 0; /* not yet copied from here on */

    (void)work;
    for (size_t at = 0; at < in->size && !out->failed;) {
        struct charsmap_match match = charsmap_cluster_step(data, text + at, end, &cluster_end);

        if (match.text) {
            mapped_copy(out, in, plain, at - plain);
            put_match(in, at, match, out);
            plain = at + match.length;
        }
        at += match.length;
    }
    mapped_copy(out, in, plain, in->size - plain);
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
    .free = free_map,
};
