/* SPDX-License-Identifier: MIT
 *
 * Stop strings: text passes through, except its end as long as that could still become a stop
 * string. Called by generate.c with the text of each token.
 */
#ifndef GENERATE_STOP_H
#define GENERATE_STOP_H

#include "base/text.h"

struct stop {
    const char *const *strings; /* the caller's, not empty strings */
    size_t count;
    struct text held;
    int32_t found; /* index of the stop string that came up, -1: none so far */
};

void stop_init(struct stop *stop, struct memory *memory);
void stop_free(struct stop *stop);
/* Begin a text; `strings` must stay valid. Memory is kept. */
void stop_start(struct stop *stop, const char *const *strings, size_t count);

/* Text goes in, text that is certain to lie before any stop string comes out, appended to `out`.
 * Check out->failed and held.failed. After a stop string was found nothing comes out any more. Of
 * several stop strings the one that is complete first counts, then the longest, so that it does not
 * matter how the text is cut into pieces. */
void stop_push(struct stop *stop, const char *bytes, size_t size, struct text *out);
void stop_finish(struct stop *stop, struct text *out); /* what was held back is text after all */

#endif
