/* SPDX-License-Identifier: MIT */
#include "tokenizer/byte_alphabet.h"

static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/* The others are 0..0x20, 0x7F..0xA0 and 0xAD, numbered from U+0100. */
uint32_t byte_alphabet_character(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xAD ? 0x143u : 0x121u + (byte - 0x7Fu);
}

int byte_alphabet_byte(uint32_t c)
{
    if (c <= 0xFF)
        return stands_for_itself(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

void byte_alphabet_write_json(struct text *out, const char *bytes, size_t size)
{
    char utf8[4];

    text_append(out, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        uint32_t c = byte_alphabet_character((unsigned char)bytes[i]);

        if (c == '"' || c == '\\')
            text_append(out, "\\", 1);
        text_append(out, utf8, (size_t)utf8_encode(c, utf8));
    }
    text_append(out, "\"", 1);
}

bool byte_alphabet_read(const char *spelling, size_t size, char *out, size_t *size_out)
{
    const unsigned char *cursor = (const unsigned char *)spelling;
    const unsigned char *end = cursor + size;
    size_t count = 0;
    bool valid;

    while (cursor < end) {
        int byte = byte_alphabet_byte(utf8_next(&cursor, end, &valid));

        if (byte < 0)
            return false;
        out[count++] = (char)byte;
    }
    *size_out = count;
    return true;
}
