/* SPDX-License-Identifier: MIT */
#include "train/checksums.h"

#include "base/crc32c.h"
#include "base/directory.h"
#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { READ_BYTES = 1 << 20, LIST_LIMIT = 1 << 20 };
static const char list_name[] = "checksums";

static llm_status file_crc(struct memory *memory, const char *directory, const char *name,
                           uint32_t *crc, uint64_t *size)
{
    char *path = file_join(memory, directory, name);
    char *buffer = memory_alloc(memory, READ_BYTES);
    struct file_reader reader = {0};
    llm_status status = path && buffer ? file_reader_open(&reader, memory, path) : LLM_E_NOMEM;

    *crc = 0;
    *size = reader.size;
    for (uint64_t at = 0; at < reader.size && !status;) {
        size_t piece = reader.size - at < READ_BYTES ? (size_t)(reader.size - at) : READ_BYTES;

        status = file_reader_read(&reader, at, buffer, piece);
        if (!status)
            *crc = crc32c(*crc, buffer, piece);
        at += piece;
    }
    file_reader_close(&reader);
    memory_release(memory, buffer);
    memory_release(memory, path);
    return status;
}

llm_status checksums_write(struct memory *memory, const char *directory)
{
    struct arena arena;
    struct text list;
    char *path = file_join(memory, directory, list_name);
    char **names;
    size_t count;
    llm_status status;

    arena_init(&arena, memory);
    text_init(&list, memory);
    status = path ? directory_list(&names, &count, &arena, directory) : LLM_E_NOMEM;
    for (size_t i = 0; !status && i < count; i++) {
        uint32_t crc;
        uint64_t size;

        if (strcmp(names[i], list_name) == 0)
            continue;
        status = file_crc(memory, directory, names[i], &crc, &size);
        text_printf(&list, "%08x %llu %s\n", crc, (unsigned long long)size, names[i]);
    }
    if (!status && !list.failed)
        text_printf(&list, "%08x %s\n", crc32c(0, list.data, list.size), list_name);
    if (!status && list.failed)
        status = LLM_E_NOMEM;
    if (!status)
        status = file_write(memory, path, list.data, list.size);
    text_free(&list);
    arena_free(&arena);
    memory_release(memory, path);
    return status;
}

/* "%08x " at `text`. */
static bool parse_crc(const char *text, size_t size, uint32_t *crc)
{
    *crc = 0;
    if (size < 10 || text[8] != ' ')
        return false;
    for (int i = 0; i < 8; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0)
            return false;
        *crc = *crc << 4 | (uint32_t)digit;
    }
    return true;
}

static llm_status verify_line(struct memory *memory, const char *directory, char *line,
                              size_t length)
{
    uint32_t expected, crc;
    uint64_t size;
    int64_t expected_size;
    char *space;
    const char *name;
    llm_status status;

    if (!parse_crc(line, length, &expected))
        return status_set(LLM_E_FORMAT, "%s is damaged", list_name);
    space = memchr(line + 9, ' ', length - 9);
    if (!space || !text_parse_i64(line + 9, (size_t)(space - line) - 9, &expected_size))
        return status_set(LLM_E_FORMAT, "%s is damaged", list_name);
    name = space + 1;
    if (*name == '\0' || strchr(name, '/'))
        return status_set(LLM_E_FORMAT, "%s is damaged", list_name);
    status = file_crc(memory, directory, name, &crc, &size);
    if (status)
        return status;
    if (size != (uint64_t)expected_size)
        return status_set(LLM_E_FORMAT, "%s has %llu bytes instead of %lld", name,
                          (unsigned long long)size, (long long)expected_size);
    if (crc != expected)
        return status_set(LLM_E_FORMAT, "%s is damaged: its checksum is %08x instead of %08x", name,
                          crc, expected);
    return LLM_OK;
}

/* The start of the last line, which holds the checksum of what stands before it. */
static llm_status check_list(const char *data, size_t size, size_t *last_out)
{
    size_t last = size;
    uint32_t crc;

    if (size && data[size - 1] == '\n') {
        last = size - 1;
        while (last && data[last - 1] != '\n')
            last--;
    }
    *last_out = last;
    if (last == size || size - last != 9 + sizeof list_name ||
        !parse_crc(data + last, size - last, &crc) || crc != crc32c(0, data, last) ||
        memcmp(data + last + 9, list_name, sizeof list_name - 1) != 0)
        return status_set(LLM_E_FORMAT, "%s is damaged", list_name);
    return LLM_OK;
}

llm_status checksums_verify(struct memory *memory, const char *directory)
{
    char *path = file_join(memory, directory, list_name);
    char *data = NULL;
    size_t size = 0;
    size_t last = 0;
    llm_status status = path ? file_read(&data, &size, memory, path, LIST_LIMIT) : LLM_E_NOMEM;

    if (!status)
        status = check_list(data, size, &last);
    for (size_t at = 0; at < last && !status;) {
        char *end = memchr(data + at, '\n', size - at);

        *end = '\0';
        status = verify_line(memory, directory, data + at, (size_t)(end - data) - at);
        at = (size_t)(end - data) + 1;
    }
    memory_release(memory, data);
    memory_release(memory, path);
    return status;
}
