/* SPDX-License-Identifier: MIT
 *
 * Directories: listing in a fixed order, and publishing a finished directory under its final name
 * in one step, so that a reader (or a crash) sees all of its files or none.
 */
#ifndef BASE_DIRECTORY_H
#define BASE_DIRECTORY_H

#include "base/arena.h"

/* Names in `path` without "." and "..", sorted by bytes; they live in `arena`. */
llm_status directory_list(char ***names_out, size_t *count_out, struct arena *arena,
                          const char *path);

/* Remove a directory and the files in it; its own subdirectories make it fail. A directory that
 * does not exist is fine. */
llm_status directory_remove(struct memory *memory, const char *path);

/* fsync `path`, rename it to `target` (which must not exist), fsync the parent. */
llm_status directory_publish(const char *path, const char *target);

#endif
