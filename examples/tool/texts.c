/* SPDX-License-Identifier: MIT */
#include "texts.h"

#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct texts *texts, size_t count)
{
    texts->items = calloc(count + 1, sizeof *texts->items);
    texts->sizes = calloc(count + 1, sizeof *texts->sizes);
    if (texts->items && texts->sizes)
        return 0;
    fprintf(stderr, "llm: out of memory\n");
    return -1;
}

static int read_lines(struct texts *texts, const char *path)
{
    size_t size, most = 1;
    char *end;

    texts->data = tool_read_file(path, &size);
    if (!texts->data)
        return -1;
    for (size_t i = 0; i < size; i++)
        most += texts->data[i] == '\n';
    if (reserve(texts, most))
        return -1;
    end = texts->data + size;
    for (char *line = texts->data; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop ? stop : end) - line);

        if (length > 0 && line[length - 1] == '\r')
            length--;
        texts->items[texts->count] = line;
        texts->sizes[texts->count++] = length;
        line = stop ? stop + 1 : end;
    }
    return 0;
}

int texts_read(struct texts *texts, const char *lines, const char *const *arguments, size_t count)
{
    memset(texts, 0, sizeof *texts);
    if (lines)
        return read_lines(texts, lines);
    if (reserve(texts, count))
        return -1;
    for (size_t i = 0; i < count; i++) {
        texts->items[i] = arguments[i];
        texts->sizes[i] = strlen(arguments[i]);
    }
    texts->count = count;
    return 0;
}

void texts_free(struct texts *texts)
{
    free(texts->data);
    free((void *)texts->items);
    free(texts->sizes);
}

void texts_print_json(const char *text, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}
