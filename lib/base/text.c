/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include "base/checked.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool text_ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

void text_init(struct text *text, struct memory *memory)
{
    memset(text, 0, sizeof *text);
    text->memory = memory;
}

void text_free(struct text *text)
{
    memory_release(text->memory, text->data);
    text_init(text, text->memory);
}

static bool make_room(struct text *text, size_t more)
{
    size_t needed;

    if (text->failed)
        return false;
    if (!checked_add(text->size, more, &needed) || !checked_add(needed, 1, &needed)) {
        status_set(LLM_E_NOMEM, "out of memory: text too long");
        text->failed = true;
    } else if (memory_grow(text->memory, (void **)&text->data, &text->capacity, needed, 1)) {
        text->failed = true;
    }
    return !text->failed;
}

void text_append(struct text *text, const void *bytes, size_t size)
{
    if (!make_room(text, size))
        return;
    if (size)
        memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void text_append_z(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
    char small[512];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (length < 0)
        return;
    if ((size_t)length < sizeof small) {
        text_append(text, small, (size_t)length);
        return;
    }
    if (!make_room(text, (size_t)length))
        return;
    va_start(args, format);
    (void)vsnprintf(text->data + text->size, (size_t)length + 1, format, args);
    va_end(args);
    text->size += (size_t)length;
}

void text_append_json(struct text *text, const char *bytes, size_t size)
{
    size_t plain = 0;

    text_append(text, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_append(text, bytes + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            text_printf(text, "\\%c", c);
        else if (c == '\n')
            text_append_z(text, "\\n");
        else if (c == '\t')
            text_append_z(text, "\\t");
        else if (c == '\r')
            text_append_z(text, "\\r");
        else
            text_printf(text, "\\u%04x", c);
    }
    text_append(text, bytes + plain, size - plain);
    text_append(text, "\"", 1);
}

/* The C library writes and reads the decimal point of the host's locale; swap it for '.'. */
static void use_point(char *number)
{
    for (char *c = number; *c; c++) {
        if (*c == ',')
            *c = '.';
    }
}

void text_append_double(struct text *text, double value)
{
    char number[40];

    if (!isfinite(value)) {
        text_append_z(text, "null");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(number, sizeof number, "%.*g", digits, value);
        if (strtod(number, NULL) == value)
            break;
    }
    use_point(number);
    text_append_z(text, number);
}

bool text_parse_i64(const char *text, size_t size, int64_t *out)
{
    bool negative = size > 0 && text[0] == '-';
    int64_t value = 0;
    size_t i = negative || (size > 0 && text[0] == '+') ? 1 : 0;

    if (i == size)
        return false;
    for (; i < size; i++) {
        int64_t digit = text[i] - '0';

        if (digit < 0 || digit > 9 || !checked_mul_i64(value, 10, &value) ||
            !checked_add_i64(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool text_parse_double(const char *text, size_t size, double *out)
{
    char number[512];
    char point[8];
    char *end;

    if (size == 0 || size >= sizeof number || memchr(text, '\0', size) ||
        strspn(text, " \t\r\n") > 0)
        return false;
    (void)snprintf(point, sizeof point, "%.1f", 0.5); /* "0.5" or "0,5" */
    for (size_t i = 0; i < size; i++) {
        if (!strchr("0123456789+-.eE", text[i]))
            return false;
        number[i] = text[i] == '.' ? point[1] : text[i];
    }
    number[size] = '\0';
    *out = strtod(number, &end);
    return *end == '\0' && isfinite(*out);
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

uint32_t utf8_next(const unsigned char **cursor, const unsigned char *end, bool *valid)
{
    const unsigned char *p = *cursor;
    unsigned char lead = *p;
    ptrdiff_t left = end - p;
    uint32_t code;

    *valid = true;
    if (lead < 0x80) {
        *cursor = p + 1;
        return lead;
    }
    if (lead >= 0xC2 && lead <= 0xDF && left >= 2 && is_continuation(p[1])) {
        *cursor = p + 2;
        return (uint32_t)(lead & 0x1F) << 6 | (p[1] & 0x3Fu);
    }
    if ((lead & 0xF0) == 0xE0 && left >= 3 && is_continuation(p[1]) && is_continuation(p[2])) {
        code = (uint32_t)(lead & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3Fu);
        if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) {
            *cursor = p + 3;
            return code;
        }
    }
    if (lead >= 0xF0 && lead <= 0xF4 && left >= 4 && is_continuation(p[1]) &&
        is_continuation(p[2]) && is_continuation(p[3])) {
        code = (uint32_t)(lead & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
               (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3Fu);
        if (code >= 0x10000 && code <= 0x10FFFF) {
            *cursor = p + 4;
            return code;
        }
    }
    *valid = false;
    *cursor = p + 1;
    return 0xFFFD;
}

int utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        if (c >= 0xD800 && c <= 0xDFFF)
            return 0;
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    if (c > 0x10FFFF)
        return 0;
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t utf8_complete(const char *data, size_t size)
{
    size_t tail = 0;

    while (tail < size && tail < 3 && is_continuation((unsigned char)data[size - 1 - tail]))
        tail++;
    if (tail < size) {
        unsigned char lead = (unsigned char)data[size - 1 - tail];
        size_t length = lead >= 0xF0 && lead <= 0xF4   ? 4
                        : lead >= 0xE0 && lead < 0xF0  ? 3
                        : lead >= 0xC2 && lead <= 0xDF ? 2
                                                       : 1;

        if (length > tail + 1)
            return size - 1 - tail;
    }
    return size;
}
