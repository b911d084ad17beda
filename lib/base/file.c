/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static llm_status io_error(const char *action, const char *path)
{
    char reason[128];
    int code = errno;

    if (strerror_r(code, reason, sizeof reason) != 0)
        (void)snprintf(reason, sizeof reason, "error %d", code);
    return status_set(code == ENOMEM ? LLM_E_NOMEM : LLM_E_IO, "cannot %s %s: %s", action, path,
                      reason);
}

static llm_status open_regular(int *out, struct stat *info, const char *path)
{
    int fd;

    *out = -1;
    if (!path)
        return status_set(LLM_E_INVALID, "path is NULL");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_error("open", path);
    if (fstat(fd, info) != 0) {
        llm_status status = io_error("read", path);

        close(fd);
        return status;
    }
    if (S_ISDIR(info->st_mode)) {
        close(fd);
        return status_set(LLM_E_IO, "cannot read %s: it is a directory", path);
    }
    *out = fd;
    return LLM_OK;
}

/* Works for pipes too: reads until the end, whatever size fstat reported. */
static llm_status read_all(struct text *content, int fd, const char *path, uint64_t limit)
{
    char chunk[65536];

    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error("read", path);
        if (got == 0)
            return LLM_OK;
        text_append(content, chunk, (size_t)got);
        if (content->failed)
            return LLM_E_NOMEM;
        if (limit && content->size > limit)
            return status_set(LLM_E_RANGE, "%s is larger than %llu bytes", path,
                              (unsigned long long)limit);
    }
}

llm_status file_read(char **data_out, size_t *size_out, struct memory *memory, const char *path,
                     uint64_t limit)
{
    struct text content;
    struct stat info;
    llm_status status;
    int fd;

    *data_out = NULL;
    *size_out = 0;
    text_init(&content, memory);
    status = open_regular(&fd, &info, path);
    if (status)
        return status;
    if (limit && S_ISREG(info.st_mode) && (uint64_t)info.st_size > limit)
        status = status_set(LLM_E_RANGE, "%s is larger than %llu bytes", path,
                            (unsigned long long)limit);
    else
        status = read_all(&content, fd, path, limit);
    close(fd);
    text_append(&content, "", 0); /* an empty file still gives a NUL-terminated block */
    if (!status && content.failed)
        status = LLM_E_NOMEM;
    if (status) {
        text_free(&content);
        return status;
    }
    *data_out = content.data;
    *size_out = content.size;
    return LLM_OK;
}

static llm_status map_file(struct file_map *map, const char *path, int protection)
{
    struct stat info;
    llm_status status;
    void *mapping;
    int fd;

    memset(map, 0, sizeof *map);
    map->data = "";
    status = open_regular(&fd, &info, path);
    if (status)
        return status;
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return status_set(LLM_E_IO, "cannot map %s: it is not a regular file", path);
    }
    if (info.st_size == 0) {
        close(fd);
        return LLM_OK;
    }
    mapping = mmap(NULL, (size_t)info.st_size, protection, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        status = io_error("map", path);
    close(fd);
    if (status)
        return status;
    map->mapping = mapping;
    map->data = mapping;
    map->size = (size_t)info.st_size;
    return LLM_OK;
}

llm_status file_map_open(struct file_map *map, const char *path)
{
    return map_file(map, path, PROT_READ);
}

llm_status file_map_private(struct file_map *map, const char *path)
{
    return map_file(map, path, PROT_READ | PROT_WRITE);
}

void file_map_close(struct file_map *map)
{
    if (map->mapping)
        (void)munmap(map->mapping, map->size);
    memset(map, 0, sizeof *map);
}

llm_status file_reader_open(struct file_reader *reader, struct memory *memory, const char *path)
{
    struct stat info;
    llm_status status;
    int fd;

    memset(reader, 0, sizeof *reader);
    status = open_regular(&fd, &info, path);
    if (status)
        return status;
    reader->memory = memory;
    reader->fd = fd;
    reader->path = memory_copy_text(memory, path, strlen(path));
    if (!reader->path) {
        close(fd);
        return LLM_E_NOMEM;
    }
    if (!S_ISREG(info.st_mode)) {
        file_reader_close(reader);
        return status_set(LLM_E_IO, "cannot read %s: it is not a regular file", path);
    }
    reader->size = (uint64_t)info.st_size;
    return LLM_OK;
}

llm_status file_reader_over(struct file_reader *reader, struct memory *memory, const char *name,
                            const void *bytes, size_t size)
{
    memset(reader, 0, sizeof *reader);
    reader->memory = memory;
    reader->fd = -1;
    reader->bytes = bytes;
    reader->size = size;
    reader->path = memory_copy_text(memory, name, strlen(name));
    return reader->path ? LLM_OK : LLM_E_NOMEM;
}

llm_status file_reader_call(struct file_reader *reader, struct memory *memory, const char *name,
                            file_read_fn read_fn, void *user, uint64_t size)
{
    memset(reader, 0, sizeof *reader);
    reader->memory = memory;
    reader->fd = -1;
    reader->read = read_fn;
    reader->user = user;
    reader->size = size;
    reader->path = memory_copy_text(memory, name, strlen(name));
    return reader->path ? LLM_OK : LLM_E_NOMEM;
}

llm_status file_reader_read(const struct file_reader *reader, uint64_t offset, void *out,
                            size_t size)
{
    char *to = out;

    if (offset > reader->size || size > reader->size - offset)
        return status_set(LLM_E_FORMAT, "%s ends before byte %llu", reader->path,
                          (unsigned long long)offset + size);
    if (reader->bytes) {
        memcpy(out, reader->bytes + offset, size);
        return LLM_OK;
    }
    if (reader->read) {
        int32_t code = size ? reader->read(reader->user, offset, out, size) : 0;

        return code ? status_set(LLM_E_IO, "%s: the read callback returned %d at byte %llu",
                                 reader->path, code, (unsigned long long)offset)
                    : LLM_OK;
    }
    while (size) {
        size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        ssize_t got = pread(reader->fd, to, piece, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error("read", reader->path);
        if (got == 0)
            return status_set(LLM_E_FORMAT, "%s became shorter while it was read", reader->path);
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return LLM_OK;
}

void file_reader_close(struct file_reader *reader)
{
    if (!reader->path)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    memory_release(reader->memory, reader->path);
    memset(reader, 0, sizeof *reader);
}

/* A fresh file beside the target; O_EXCL and a counter keep concurrent writers apart. */
static int create_temporary(char **name_out, struct memory *memory, const char *path)
{
    static _Atomic unsigned counter;
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 0777 : 0666;

    for (int attempt = 0; attempt < 100; attempt++) {
        struct text name;
        int fd;

        text_init(&name, memory);
        text_printf(&name, "%s.%ld-%u.tmp", path, (long)getpid(), atomic_fetch_add(&counter, 1));
        if (name.failed) {
            text_free(&name);
            errno = ENOMEM;
            return -1;
        }
        fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0) {
            *name_out = name.data;
            return fd;
        }
        text_free(&name);
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

llm_status file_writer_open(struct file_writer *writer, struct memory *memory, const char *path)
{
    int fd;

    memset(writer, 0, sizeof *writer);
    writer->memory = memory;
    if (!path)
        return writer->status = status_set(LLM_E_INVALID, "path is NULL");
    writer->path = memory_copy_text(memory, path, strlen(path));
    if (!writer->path)
        return writer->status = LLM_E_NOMEM;
    fd = create_temporary(&writer->temporary, memory, path);
    if (fd >= 0)
        writer->stream = fdopen(fd, "wb");
    if (!writer->stream) {
        writer->status = io_error("write", path);
        if (fd >= 0)
            close(fd);
        file_writer_discard(writer);
    }
    return writer->status;
}

void file_writer_write(struct file_writer *writer, const void *data, size_t size)
{
    if (writer->status || !writer->stream || size == 0)
        return;
    if (fwrite(data, 1, size, writer->stream) != size)
        writer->status = io_error("write", writer->path);
}

/* Makes the rename itself durable; a file system that cannot is no reason to fail. */
static void sync_directory(const char *path)
{
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    int fd;

    if (length >= sizeof directory)
        return;
    (void)snprintf(directory, sizeof directory, "%.*s", (int)length, path);
    fd = open(length ? directory : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

llm_status file_writer_commit(struct file_writer *writer)
{
    llm_status status;

    if (!writer->status && (fflush(writer->stream) != 0 || fsync(fileno(writer->stream)) != 0))
        writer->status = io_error("write", writer->path);
    if (writer->stream && fclose(writer->stream) != 0 && !writer->status)
        writer->status = io_error("write", writer->path);
    writer->stream = NULL;
    if (!writer->status && rename(writer->temporary, writer->path) != 0)
        writer->status = io_error("replace", writer->path);
    if (!writer->status) {
        sync_directory(writer->path);
        memory_release(writer->memory, writer->temporary);
        writer->temporary = NULL;
    }
    status = writer->status;
    file_writer_discard(writer);
    return status;
}

void file_writer_discard(struct file_writer *writer)
{
    if (writer->stream)
        (void)fclose(writer->stream);
    if (writer->temporary)
        (void)unlink(writer->temporary);
    memory_release(writer->memory, writer->temporary);
    memory_release(writer->memory, writer->path);
    writer->stream = NULL;
    writer->temporary = NULL;
    writer->path = NULL;
}

llm_status file_write(struct memory *memory, const char *path, const void *data, size_t size)
{
    struct file_writer writer;
    llm_status status = file_writer_open(&writer, memory, path);

    if (status)
        return status;
    file_writer_write(&writer, data, size);
    return file_writer_commit(&writer);
}

llm_status file_appender_open(struct file_appender *appender, struct memory *memory,
                              const char *path)
{
    struct stat info;
    llm_status status;

    memset(appender, 0, sizeof *appender);
    appender->memory = memory;
    appender->path = memory_copy_text(memory, path, strlen(path));
    if (!appender->path)
        return LLM_E_NOMEM;
    appender->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (appender->fd < 0 || fstat(appender->fd, &info) != 0) {
        status = io_error("write", path);
        file_appender_close(appender);
        return status;
    }
    appender->size = (uint64_t)info.st_size;
    return LLM_OK;
}

llm_status file_appender_write(struct file_appender *appender, const void *data, size_t size)
{
    const char *from = data;
    size_t done = 0;

    while (done < size) {
        ssize_t written = write(appender->fd, from + done, size - done);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            llm_status status = io_error("write", appender->path);

            if (done && ftruncate(appender->fd, (off_t)appender->size) != 0)
                status_prefix(status, "half a record is left at its end");
            return status;
        }
        done += (size_t)written;
    }
    appender->size += size;
    return LLM_OK;
}

void file_appender_close(struct file_appender *appender)
{
    if (!appender->path)
        return;
    if (appender->fd >= 0)
        close(appender->fd);
    memory_release(appender->memory, appender->path);
    memset(appender, 0, sizeof *appender);
}

llm_status file_make_directory(struct memory *memory, const char *path)
{
    size_t length = strlen(path);
    char *part = memory_copy_text(memory, path, length);
    llm_status status = LLM_OK;

    if (!part)
        return LLM_E_NOMEM;
    for (size_t i = 1; i <= length && !status; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            status = io_error("create directory", part);
        part[i] = path[i];
    }
    if (!status && !file_is_directory(path))
        status = status_set(LLM_E_IO, "cannot create directory %s: a file is in the way", path);
    memory_release(memory, part);
    return status;
}

llm_status file_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? LLM_OK : io_error("remove", path);
}

bool file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

bool file_is_directory(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool file_info(const char *path, uint64_t *size_out, int64_t *modified_out)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return false;
    *size_out = (uint64_t)info.st_size;
    *modified_out = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return true;
}

char *file_join(struct memory *memory, const char *directory, const char *name)
{
    struct text joined;
    size_t length = strlen(directory);
    const char *separator = length && directory[length - 1] == '/' ? "" : "/";

    text_init(&joined, memory);
    text_printf(&joined, "%s%s%s", directory, separator, name);
    if (joined.failed) {
        text_free(&joined);
        return NULL;
    }
    return joined.data;
}
