/* SPDX-License-Identifier: MIT
 *
 * The texts that a command works on: its arguments, or the lines of a file.
 */
#ifndef TOOL_TEXTS_H
#define TOOL_TEXTS_H

#include <stddef.h>

struct texts {
    char *data; /* of the file */
    const char **items;
    size_t *sizes;
    size_t count;
};

/* `lines`: a file with a text on each line ("-": standard input), or NULL: the `count` arguments.
 * Returns 0, or -1 after a message on stderr. */
int texts_read(struct texts *texts, const char *lines, const char *const *arguments, size_t count);
void texts_free(struct texts *texts);

/* `size` bytes as a JSON string on stdout, quotes included. */
void texts_print_json(const char *text, size_t size);

#endif
