/* SPDX-License-Identifier: MIT */
#include "tokenizer/mapped_text.h"

#include "base/text.h"

#include <string.h>

void mapped_init(struct mapped_text *text, struct memory *memory)
{
    memset(text, 0, sizeof *text);
    text->memory = memory;
}

void mapped_free(struct mapped_text *text)
{
    if (!text->memory)
        return;
    memory_release(text->memory, text->data);
    memory_release(text->memory, text->origins);
    mapped_init(text, text->memory);
}

void mapped_reset(struct mapped_text *text, bool track)
{
    text->size = 0;
    text->zero = 0;
    text->track = track;
    text->failed = false;
}

bool mapped_reserve(struct mapped_text *text, size_t more)
{
    if (text->failed)
        return false;
    if (more > text->capacity - text->size &&
        memory_grow(text->memory, (void **)&text->data, &text->capacity, text->size + more, 1))
        text->failed = true;
    if (text->track && more > text->origins_capacity - text->size &&
        memory_grow(text->memory, (void **)&text->origins, &text->origins_capacity,
                    text->size + more, sizeof *text->origins))
        text->failed = true;
    return !text->failed;
}

uint32_t mapped_char(const char *data, size_t size, size_t at, size_t *length)
{
    const unsigned char *p = (const unsigned char *)data + at;
    const unsigned char *cursor = p;
    bool valid;
    uint32_t c;

    if (*p < 0x80) {
        *length = 1;
        return *p;
    }
    c = utf8_next(&cursor, (const unsigned char *)data + size, &valid);
    *length = valid ? (size_t)(cursor - p) : 1;
    return valid ? c : 0x110000u + *p;
}

/* Is there a byte at or after `at` that is not UTF-8? Its place, or `size`. */
static size_t find_invalid(const char *data, size_t size, size_t at)
{
    while (at < size) {
        size_t length;

        if (mapped_char(data, size, at, &length) >= 0x110000)
            return at;
        at += length;
    }
    return size;
}

llm_status mapped_load(struct mapped_text *text, const char *data, size_t size, bool track,
                       bool first, bool raw)
{
    size_t invalid = raw ? size : find_invalid(data, size, 0);
    size_t done = 0;

    mapped_reset(text, track);
    if (track && size > UINT32_MAX)
        return status_set(LLM_E_RANGE, "text of more than 4 GiB between added tokens");
    while (done < size) {
        size_t stretch = text->size;

        if (!mapped_reserve(text, invalid - done + 3))
            return LLM_E_NOMEM;
        memcpy(text->data + stretch, data + done, invalid - done);
        for (size_t at = done; track && at < invalid;) {
            size_t length;

            (void)mapped_char(data, invalid, at, &length);
            for (size_t i = 0; i < length; i++)
                text->origins[stretch + at - done + i] =
                    (struct origin){(uint32_t)at, (uint32_t)(at + length)};
            at += length;
        }
        text->size += invalid - done;
        done = invalid;
        if (done == size)
            break;
        memcpy(text->data + text->size, "\xEF\xBF\xBD", 3);
        for (size_t i = 0; track && i < 3; i++)
            text->origins[text->size + i] = (struct origin){(uint32_t)done, (uint32_t)done + 1};
        text->size += 3;
        invalid = find_invalid(data, size, ++done);
    }
    if (first && text->size > 0)
        (void)mapped_char(text->data, text->size, 0, &text->zero);
    return LLM_OK;
}

void mapped_copy(struct mapped_text *out, const struct mapped_text *in, size_t from, size_t size)
{
    if (size == 0 || !mapped_reserve(out, size))
        return;
    memcpy(out->data + out->size, in->data + from, size);
    if (out->track)
        memcpy(out->origins + out->size, in->origins + from, size * sizeof *out->origins);
    if (from < in->zero && out->zero == out->size)
        out->zero += in->zero - from < size ? in->zero - from : size;
    out->size += size;
}

static void append(struct mapped_text *out, struct origin origin, bool zero, const char *bytes,
                   size_t size)
{
    if (size == 0 || !mapped_reserve(out, size))
        return;
    if (zero && out->zero == out->size)
        out->zero += size;
    for (size_t i = 0; i < size; i++)
        out->data[out->size + i] = bytes[i];
    for (size_t i = 0; out->track && i < size; i++)
        out->origins[out->size + i] = origin;
    out->size += size;
}

void mapped_put(struct mapped_text *out, const struct mapped_text *in, size_t from,
                const char *bytes, size_t size)
{
    struct origin origin = {0, 0};

    if (out->track)
        origin = in->origins[from];
    append(out, origin, from < in->zero, bytes, size);
}

void mapped_insert(struct mapped_text *out, const struct mapped_text *in, size_t at,
                   const char *bytes, size_t size)
{
    struct origin origin = {0, 0};

    if (out->track && at > 0)
        origin = in->origins[at - 1];
    append(out, origin, at > 0 && at - 1 < in->zero, bytes, size);
}

static size_t spell(uint32_t c, char bytes[4])
{
    if (c < 0x110000)
        return (size_t)utf8_encode(c, bytes);
    bytes[0] = (char)(c - 0x110000);
    return 1;
}

void mapped_put_char(struct mapped_text *out, const struct mapped_text *in, size_t from, uint32_t c)
{
    char bytes[4];
    size_t size = spell(c, bytes);

    mapped_put(out, in, from, bytes, size);
}

void mapped_insert_char(struct mapped_text *out, const struct mapped_text *in, size_t at,
                        uint32_t c)
{
    char bytes[4];
    size_t size = spell(c, bytes);

    mapped_insert(out, in, at, bytes, size);
}
