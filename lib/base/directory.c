/* SPDX-License-Identifier: MIT */
#include "base/directory.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static llm_status directory_error(const char *action, const char *path)
{
    char reason[128];
    int code = errno;

    if (strerror_r(code, reason, sizeof reason) != 0)
        (void)snprintf(reason, sizeof reason, "error %d", code);
    return status_set(code == ENOMEM ? LLM_E_NOMEM : LLM_E_IO, "cannot %s %s: %s", action, path,
                      reason);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

llm_status directory_list(char ***names_out, size_t *count_out, struct arena *arena,
                          const char *path)
{
    DIR *stream = opendir(path);
    size_t capacity = 0;
    size_t count = 0;
    char **names = NULL; /* grown here, then copied to the arena */
    llm_status status = LLM_OK;
    const struct dirent *entry;

    *names_out = NULL;
    *count_out = 0;
    if (!stream)
        return directory_error("read directory", path);
    errno = 0;
    while (!status && (entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        status = memory_grow(arena->memory, (void **)&names, &capacity, count + 1, sizeof *names);
        if (status)
            break;
        names[count] = arena_copy_text(arena, entry->d_name, strlen(entry->d_name));
        if (!names[count++])
            status = LLM_E_NOMEM;
        errno = 0;
    }
    if (!status && errno)
        status = directory_error("read directory", path);
    (void)closedir(stream);
    if (!status && count) {
        *names_out = arena_alloc(arena, count * sizeof *names);
        if (!*names_out)
            status = LLM_E_NOMEM;
    }
    if (!status && count) {
        qsort(names, count, sizeof *names, compare_names);
        memcpy(*names_out, names, count * sizeof *names);
        *count_out = count;
    }
    memory_release(arena->memory, names);
    return status;
}

llm_status directory_remove(struct memory *memory, const char *path)
{
    struct arena arena;
    char **names;
    size_t count;
    llm_status status;

    if (!file_exists(path))
        return LLM_OK;
    arena_init(&arena, memory);
    status = directory_list(&names, &count, &arena, path);
    for (size_t i = 0; i < count && !status; i++) {
        char *file = file_join(memory, path, names[i]);

        if (!file)
            status = LLM_E_NOMEM;
        else if (unlink(file) != 0)
            status = directory_error("remove", file);
        memory_release(memory, file);
    }
    if (!status && rmdir(path) != 0)
        status = directory_error("remove directory", path);
    arena_free(&arena);
    return status;
}

static llm_status sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    llm_status status = LLM_OK;

    if (fd < 0)
        return directory_error("open directory", path);
    if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = directory_error("write directory", path);
    close(fd);
    return status;
}

static llm_status sync_parent(const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;

    if (length >= sizeof parent)
        return status_set(LLM_E_RANGE, "path too long: %s", path);
    (void)snprintf(parent, sizeof parent, "%.*s", (int)length, path);
    return sync_path(length ? parent : slash ? "/" : ".");
}

llm_status directory_publish(const char *path, const char *target)
{
    llm_status status = sync_path(path);

    if (!status && rename(path, target) != 0)
        status = directory_error("create", target);
    return status ? status : sync_parent(target);
}
