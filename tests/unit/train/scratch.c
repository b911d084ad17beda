/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(struct scratch *scratch)
{
    const char *base = getenv("TMPDIR");

    snprintf(scratch->path, sizeof scratch->path, "%s/libllm-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(scratch->path));
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

void scratch_remove(struct scratch *scratch)
{
    (void)nftw(scratch->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_file(const struct scratch *scratch, const char *name)
{
    static char buffers[8][1024];
    static int next;
    char *buffer = buffers[next++ % 8];

    snprintf(buffer, sizeof buffers[0], "%s/%s", scratch->path, name);
    return buffer;
}

const char *scratch_write(const struct scratch *scratch, const char *name, const void *data,
                          size_t size)
{
    const char *path = scratch_file(scratch, name);
    FILE *stream = fopen(path, "wb");

    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
    return path;
}

char *scratch_read(const char *path, size_t *size_out)
{
    FILE *stream = fopen(path, "rb");
    char *data = NULL;
    size_t size = 0;

    if (!stream)
        return NULL;
    for (;;) {
        size_t got;

        data = realloc(data, size + 65537);
        assert_non_null(data);
        got = fread(data + size, 1, 65536, stream);
        size += got;
        if (got == 0)
            break;
    }
    data[size] = '\0';
    fclose(stream);
    if (size_out)
        *size_out = size;
    return data;
}

void scratch_damage(const char *path, size_t offset)
{
    FILE *stream = fopen(path, "r+b");
    int byte;

    assert_non_null(stream);
    assert_int_equal(fseek(stream, (long)offset, SEEK_SET), 0);
    byte = fgetc(stream);
    assert_int_not_equal(byte, EOF);
    assert_int_equal(fseek(stream, (long)offset, SEEK_SET), 0);
    assert_int_not_equal(fputc(byte ^ 4, stream), EOF);
    assert_int_equal(fclose(stream), 0);
}
