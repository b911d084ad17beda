/* SPDX-License-Identifier: MIT */
#include "generate/stop.h"

#include <string.h>

void stop_init(struct stop *stop, struct memory *memory)
{
    memset(stop, 0, sizeof *stop);
    stop->found = -1;
    text_init(&stop->held, memory);
}

void stop_free(struct stop *stop)
{
    text_free(&stop->held);
}

void stop_start(struct stop *stop, const char *const *strings, size_t count)
{
    stop->strings = strings;
    stop->count = count;
    stop->held.size = 0;
    stop->held.failed = false;
    stop->found = -1;
}

/* The first place at which a stop string is complete: then *begin is where it begins. Among those
 * that end together the longest is taken. */
static bool find_stop(struct stop *stop, size_t *begin)
{
    const char *data = stop->held.data;

    for (size_t end = 1; end <= stop->held.size; end++) {
        size_t longest = 0;

        for (size_t i = 0; i < stop->count; i++) {
            size_t size = strlen(stop->strings[i]);

            if (size <= longest || size > end ||
                memcmp(data + end - size, stop->strings[i], size) != 0)
                continue;
            longest = size;
            stop->found = (int32_t)i;
        }
        if (longest) {
            *begin = end - longest;
            return true;
        }
    }
    return false;
}

/* Size of the longest end of the text that a stop string begins with. */
static size_t open_end(const struct stop *stop)
{
    const struct text *held = &stop->held;
    size_t longest = 0;

    for (size_t i = 0; i < stop->count; i++) {
        size_t size = strlen(stop->strings[i]) - 1;

        if (size > held->size)
            size = held->size;
        while (size > longest &&
               memcmp(held->data + held->size - size, stop->strings[i], size) != 0)
            size--;
        if (size > longest)
            longest = size;
    }
    return longest;
}

void stop_push(struct stop *stop, const char *bytes, size_t size, struct text *out)
{
    size_t certain;

    if (stop->found >= 0 || !size)
        return;
    if (!stop->count) {
        text_append(out, bytes, size);
        return;
    }
    text_append(&stop->held, bytes, size);
    if (stop->held.failed)
        return;
    if (!find_stop(stop, &certain))
        certain = stop->held.size - open_end(stop);
    text_append(out, stop->held.data, certain);
    stop->held.size -= certain;
    memmove(stop->held.data, stop->held.data + certain, stop->held.size);
    if (stop->found >= 0)
        stop->held.size = 0;
}

void stop_finish(struct stop *stop, struct text *out)
{
    if (stop->held.size)
        text_append(out, stop->held.data, stop->held.size);
    stop->held.size = 0;
}
