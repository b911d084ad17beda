/* SPDX-License-Identifier: MIT
 *
 * Growing byte strings with a sticky failure: append freely, check `failed` (or text_finish) once.
 * Numbers are written and read without regard to the locale.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/memory.h"

#include <stdbool.h>

struct text {
    struct memory *memory;
    char *data; /* NUL-terminated when size > 0; may be NULL while empty */
    size_t size;
    size_t capacity;
    bool failed; /* an append ran out of memory; the message is set */
};

void text_init(struct text *text, struct memory *memory);
void text_free(struct text *text);
void text_append(struct text *text, const void *bytes, size_t size);
void text_append_z(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
void text_append_json(struct text *text, const char *bytes, size_t size); /* quoted and escaped */
/* Shortest decimal text that reads back as the same double; "null" for NaN and infinities. */
void text_append_double(struct text *text, double value);

bool text_ends_with(const char *text, const char *end);

/* Parse all of [text, text+size) as a decimal number; false when it is not one or out of range. */
bool text_parse_double(const char *text, size_t size, double *out);
bool text_parse_i64(const char *text, size_t size, int64_t *out);

/* One code point from [*cursor, end); advances by 1..4 bytes. An invalid byte gives U+FFFD and
 * advances by one; *valid tells which. Surrogates and overlong forms are invalid. */
uint32_t utf8_next(const unsigned char **cursor, const unsigned char *end, bool *valid);
int utf8_encode(uint32_t code_point, char out[4]); /* bytes written, 0 if not a scalar value */
/* Bytes of [data, data+size) that form whole characters: size less an unfinished tail (0..3 bytes).
 */
size_t utf8_complete(const char *data, size_t size);

#endif
