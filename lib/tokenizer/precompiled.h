/* SPDX-License-Identifier: MIT
 *
 * SentencePiece's precompiled character map: rules "these bytes become those", as a double array
 * (Darts-clone: little-endian 32-bit units) that is walked byte by byte, and a block of NUL-ended
 * replacements. The layout: u32 size of the units in bytes, the units, the block.
 *
 * Every index of the file is checked where it is followed, so that any bytes are safe to walk.
 */
#ifndef TOKENIZER_PRECOMPILED_H
#define TOKENIZER_PRECOMPILED_H

#include "base/memory.h"

#include <stdbool.h>

struct charsmap {
    struct memory *memory;
    unsigned char *data; /* the whole map, to write it again; NULL: no map, no rules */
    size_t size;
    uint32_t *units;
    size_t unit_count;
    const char *strings; /* ends with NUL */
    size_t strings_size;
    size_t growth;       /* no byte becomes more bytes than this, spaces as U+2581 counted */
    bool plain[128]; /* an ASCII character that no rule changes before another one or the end */
};

/* `data` is copied; size 0 gives a map without rules. */
llm_status charsmap_open(struct charsmap *map, struct memory *memory, const void *data,
                         size_t size);
void charsmap_close(struct charsmap *map); /* zeroed map allowed */

/* The rules whose left sides start the text [p, end). */
struct charsmap_match {
    const char *text; /* the replacement; NULL: no rule */
    size_t size;
    size_t length; /* bytes of the left side */
};
struct charsmap_match charsmap_longest(const struct charsmap *map, const unsigned char *p,
                                       const unsigned char *end);
struct charsmap_match charsmap_shortest(const struct charsmap *map, const unsigned char *p,
                                        const unsigned char *end);

/* The step of Hugging Face's "Precompiled" normalizer at p: how many bytes of the text it takes,
 * and what they become (text NULL: themselves). A cluster of fewer than six bytes is looked up
 * whole, else each character by itself, and the *shortest* rule that starts it replaces all of it.
 * `cluster_end` is state between calls that walk one text: zero it. */
struct charsmap_match charsmap_cluster_step(const struct charsmap *map, const unsigned char *p,
                                            const unsigned char *end,
                                            const unsigned char **cluster_end);

#endif
