/* SPDX-License-Identifier: MIT */
#include "base/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(struct text *out, const char *data, size_t size)
{
    uint32_t bits = 0;
    int count = 0;

    while (size > 0 && data[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++) {
        int value = digit(data[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            char byte = (char)(bits >> (count - 8) & 0xFF);

            text_append(out, &byte, 1);
            count -= 8;
        }
    }
    return size % 4 != 1;
}

void base64_write(struct text *out, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)p[i] << 16 | (i + 1 < size ? (uint32_t)p[i + 1] << 8 : 0) |
                        (i + 2 < size ? (uint32_t)p[i + 2] : 0);
        char four[4] = {letters[bits >> 18], letters[bits >> 12 & 63],
                        i + 1 < size ? letters[bits >> 6 & 63] : '=',
                        i + 2 < size ? letters[bits & 63] : '='};

        text_append(out, four, 4);
    }
}
