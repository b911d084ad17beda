/* SPDX-License-Identifier: MIT
 *
 * A temporary directory per test, and small files in it.
 */
#ifndef TESTS_TRAIN_SCRATCH_H
#define TESTS_TRAIN_SCRATCH_H

#include <stddef.h>

struct scratch {
    char path[256];
};

void scratch_make(struct scratch *scratch);
void scratch_remove(struct scratch *scratch); /* with everything below it */

/* "path/name" in one of a few rotating buffers. */
const char *scratch_file(const struct scratch *scratch, const char *name);
/* Writes it; returns its path. */
const char *scratch_write(const struct scratch *scratch, const char *name, const void *data,
                          size_t size);
/* Whole file, to be freed; NULL if there is none. */
char *scratch_read(const char *path, size_t *size_out);
/* Flips one bit. */
void scratch_damage(const char *path, size_t offset);

#endif
