/* SPDX-License-Identifier: MIT */
#include "args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_default(const struct arg *arg)
{
    switch (arg->type) {
    case ARG_INT:
        printf(" [%lld]", (long long)*(const int64_t *)arg->target);
        break;
    case ARG_NUMBER:
        printf(" [%g]", *(const double *)arg->target);
        break;
    case ARG_TEXT:
        if (*(const char *const *)arg->target)
            printf(" [%s]", *(const char *const *)arg->target);
        break;
    case ARG_FLAG:
    case ARG_LIST:
        break;
    }
}

static void print_help(const struct arg_usage *usage, const struct arg *table)
{
    printf("usage: llm %s%s%s [options]\n\n%s\n", usage->command, usage->positional[0] ? " " : "",
           usage->positional, usage->description);
    for (const struct arg *arg = table; arg->name; arg++) {
        char left[64];

        if (!arg->name[0]) {
            printf("\n%s:\n", arg->help);
            continue;
        }
        snprintf(left, sizeof left, "%s%s%s", arg->name, arg->value ? " " : "",
                 arg->value ? arg->value : "");
        printf("  %-26s %s", left, arg->help);
        print_default(arg);
        printf("\n");
    }
    printf("  %-26s %s\n", "--help", "show this");
}

static int fail(const struct arg_usage *usage, const char *what, const char *name)
{
    fprintf(stderr, "llm %s: %s %s (llm %s --help shows the options)\n", usage->command, what, name,
            usage->command);
    return -1;
}

static int out_of_range(const struct arg_usage *usage, const struct arg *arg, const char *text)
{
    fprintf(stderr, "llm %s: %s is %s, outside %g..%g\n", usage->command, arg->name, text, arg->min,
            arg->max);
    return -1;
}

static int set_number(const struct arg_usage *usage, const struct arg *arg, const char *text)
{
    char *end = NULL;
    double number;

    errno = 0;
    number = strtod(text, &end);
    if (end == text || *end != '\0' || errno || !isfinite(number) ||
        (arg->type == ARG_INT && floor(number) != number))
        return fail(usage, "not a number:", text);
    if (arg->min < arg->max && (number < arg->min || number > arg->max))
        return out_of_range(usage, arg, text);
    if (arg->type == ARG_INT && fabs(number) > 9e15)
        return fail(usage, "number too large:", text);
    if (arg->type == ARG_INT)
        *(int64_t *)arg->target = (int64_t)number;
    else
        *(double *)arg->target = number;
    return 0;
}

static int set_value(const struct arg_usage *usage, const struct arg *arg, const char *text)
{
    struct arg_list *list = arg->target;

    switch (arg->type) {
    case ARG_INT:
    case ARG_NUMBER:
        return set_number(usage, arg, text);
    case ARG_TEXT:
        *(const char **)arg->target = text;
        return 0;
    case ARG_LIST:
        if (list->count == ARG_LIST_MAX)
            return fail(usage, "given too often:", arg->name);
        list->items[list->count++] = text;
        return 0;
    case ARG_FLAG:
        return fail(usage, "takes no value:", arg->name);
    }
    return 0;
}

static const struct arg *find(const struct arg *table, const char *name, size_t length)
{
    for (const struct arg *arg = table; arg->name; arg++) {
        if (arg->name[0] && strlen(arg->name) == length && strncmp(arg->name, name, length) == 0)
            return arg;
    }
    return NULL;
}

int args_parse(const struct arg_usage *usage, const struct arg *table, int argc, char **argv,
               const char **positional, size_t *positional_count)
{
    int only_positional = 0;

    *positional_count = 0;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        const char *equals = strchr(text, '=');
        const struct arg *arg;

        if (only_positional || text[0] != '-' || text[1] == '\0') {
            positional[(*positional_count)++] = text;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            only_positional = 1;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            print_help(usage, table);
            return 1;
        }
        arg = find(table, text, equals ? (size_t)(equals - text) : strlen(text));
        if (!arg)
            return fail(usage, "unknown option", text);
        if (arg->type == ARG_FLAG && !equals) {
            *(int32_t *)arg->target = 1;
            continue;
        }
        if (!equals && i + 1 == argc)
            return fail(usage, "a value is missing after", text);
        if (set_value(usage, arg, equals ? equals + 1 : argv[++i]))
            return -1;
    }
    if (*positional_count < usage->min_positional)
        return fail(usage, "missing:", usage->positional);
    if (*positional_count > usage->max_positional)
        return fail(usage, "not expected:", positional[usage->max_positional]);
    return 0;
}
