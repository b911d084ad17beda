/* SPDX-License-Identifier: MIT
 *
 * Files. Reading: whole into memory, or mapped. Writing: to a temporary name in the same directory,
 * fsynced, then renamed over the target, so that a reader (or a crash) sees the old file or the new
 * one, never a mix. Every message names the path and the operating system's reason.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/memory.h"

#include <stdbool.h>
#include <stdio.h>

/* Whole file, NUL added after `*size_out` bytes. LLM_E_RANGE if larger than `limit` (0: no limit).
 */
llm_status file_read(char **data_out, size_t *size_out, struct memory *memory, const char *path,
                     uint64_t limit);

/* Read-only mapping of a regular file; an empty file gives data "" and size 0. */
struct file_map {
    const char *data;
    size_t size;
    void *mapping;
};
llm_status file_map_open(struct file_map *map, const char *path);
/* The same, but the caller may write: into its own copy of a page, never into the file. */
llm_status file_map_private(struct file_map *map, const char *path);
void file_map_close(struct file_map *map); /* zeroed or closed map allowed */

/* Fills `buffer` with bytes [offset, offset + size) of something; 0, or an error code of its own.
 */
typedef int32_t (*file_read_fn)(void *user, uint64_t offset, void *buffer, size_t size);

/* Reading parts by position: of a regular file, of memory, or through a callback. Unlike a mapping,
 * a file that shrinks meanwhile is an error, not a signal. */
struct file_reader {
    struct memory *memory;
    char *path; /* NULL: closed; else also the name of what is no file */
    uint64_t size;
    int fd;            /* -1: not a file */
    const char *bytes; /* memory, borrowed; NULL: a file or a callback */
    file_read_fn read;
    void *user;
};
llm_status file_reader_open(struct file_reader *reader, struct memory *memory, const char *path);
/* `name` is for messages; the bytes must outlive the reader. */
llm_status file_reader_over(struct file_reader *reader, struct memory *memory, const char *name,
                            const void *bytes, size_t size);
llm_status file_reader_call(struct file_reader *reader, struct memory *memory, const char *name,
                            file_read_fn read, void *user, uint64_t size);
llm_status file_reader_read(const struct file_reader *reader, uint64_t offset, void *out,
                            size_t size); /* all of it, or LLM_E_FORMAT: the file ends before */
void file_reader_close(struct file_reader *reader); /* zeroed or closed reader allowed */

/* Atomic writing. Errors are sticky: write on, then commit reports the first one. */
struct file_writer {
    FILE *stream;
    char *path;
    char *temporary;
    struct memory *memory;
    llm_status status;
};
llm_status file_writer_open(struct file_writer *writer, struct memory *memory, const char *path);
void file_writer_write(struct file_writer *writer, const void *data, size_t size);
llm_status file_writer_commit(struct file_writer *writer); /* flush, fsync, rename, fsync(dir) */
void file_writer_discard(struct file_writer *writer);      /* removes the temporary; idempotent */

/* One-call form of the above. */
llm_status file_write(struct memory *memory, const char *path, const void *data, size_t size);

/* Adding whole records to the end of a file. A record that cannot be written completely is taken
 * back, so that a full disk leaves no half line. */
struct file_appender {
    struct memory *memory;
    char *path; /* NULL: closed */
    uint64_t size;
    int fd;
};
llm_status file_appender_open(struct file_appender *appender, struct memory *memory,
                              const char *path);
llm_status file_appender_write(struct file_appender *appender, const void *data, size_t size);
void file_appender_close(struct file_appender *appender); /* zeroed or closed appender allowed */

/* Create a directory and its parents; an existing directory is fine. */
llm_status file_make_directory(struct memory *memory, const char *path);
llm_status file_remove(const char *path); /* one that does not exist is fine */
bool file_exists(const char *path);
bool file_is_directory(const char *path);
/* Size and time of the last change in nanoseconds since 1970; false when there is no such file. */
bool file_info(const char *path, uint64_t *size_out, int64_t *modified_out);
/* "directory/name", allocated; NULL on failure. */
char *file_join(struct memory *memory, const char *directory, const char *name);

#endif
