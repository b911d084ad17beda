/* SPDX-License-Identifier: MIT
 *
 * Command-line options as a table: parsing, checking and --help all come from it.
 */
#ifndef TOOL_ARGS_H
#define TOOL_ARGS_H

#include <stddef.h>
#include <stdint.h>

enum arg_type { ARG_FLAG, ARG_INT, ARG_NUMBER, ARG_TEXT, ARG_LIST };

enum { ARG_LIST_MAX = 16 };

/* Texts of an option that may be given several times. */
struct arg_list {
    const char *items[ARG_LIST_MAX];
    size_t count;
};

/* One option. `target` is an int32_t (flag: becomes 1), int64_t, double, const char * or struct
 * arg_list; what it holds before parsing is the default that --help shows. */
struct arg {
    const char *name; /* "--steps"; NULL ends the table; "" makes `help` a heading */
    enum arg_type type;
    void *target;
    const char *value; /* "N", "FILE": for --help */
    const char *help;
    double min, max; /* of ARG_INT and ARG_NUMBER, checked if min < max */
};

struct arg_usage {
    const char *command;     /* "train" */
    const char *positional;  /* "FILE..." or "" */
    const char *description; /* a few lines */
    size_t min_positional, max_positional;
};

/* Fills targets and the positional arguments (room for `argc`).
 * Returns 0, or 1 after --help was printed, or -1 after a message on stderr. */
int args_parse(const struct arg_usage *usage, const struct arg *table, int argc, char **argv,
               const char **positional, size_t *positional_count);

#endif
