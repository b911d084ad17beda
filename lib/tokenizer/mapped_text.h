/* SPDX-License-Identifier: MIT
 *
 * Text that stages change, with a map back: each byte knows which bytes of the text that was handed
 * in it comes from. Stages read one such text and append to another. The map is the one of Hugging
 * Face tokenizers (NormalizedString): a byte comes from whole characters; a character put in shares
 * the origin of the one before it. The map is kept only when somebody asked for offsets.
 *
 * Bytes that are not UTF-8 become U+FFFD each, except for byte-level tokenizers: there they pass
 * through all stages as they are, each a character of its own.
 */
#ifndef TOKENIZER_MAPPED_TEXT_H
#define TOKENIZER_MAPPED_TEXT_H

#include "base/memory.h"

#include <stdbool.h>

/* Bytes [begin, end) of the section of text that is being encoded. */
struct origin {
    uint32_t begin;
    uint32_t end;
};

struct mapped_text {
    struct memory *memory;
    char *data;
    size_t size;
    size_t capacity;
    struct origin *origins; /* [size] when `track` */
    size_t origins_capacity;
    size_t zero; /* so many bytes at the start come from the first character of the whole text */
    bool track;
    bool failed; /* out of memory; the message is set */
};

void mapped_init(struct mapped_text *text, struct memory *memory);
void mapped_free(struct mapped_text *text);
/* Empty, with or without a map. */
void mapped_reset(struct mapped_text *text, bool track);

/* Take a section of the user's text; `first`: it starts the whole text; `raw`: bytes that are not
 * UTF-8 stay, instead of becoming U+FFFD each. LLM_E_RANGE: more than 4 GiB. */
llm_status mapped_load(struct mapped_text *text, const char *data, size_t size, bool track,
                       bool first, bool raw);

/* Room for `more` bytes; false: failed. */
bool mapped_reserve(struct mapped_text *text, size_t more);

/* Append bytes [from, from + size) of `in`, with their origins. */
void mapped_copy(struct mapped_text *out, const struct mapped_text *in, size_t from, size_t size);
/* Append `bytes` in the place of what stands at byte `from` of `in` (from < in->size). */
void mapped_put(struct mapped_text *out, const struct mapped_text *in, size_t from,
                const char *bytes, size_t size);
/* Append `bytes` that are new in front of byte `at` of `in`: they share the origin of byte at - 1.
 */
void mapped_insert(struct mapped_text *out, const struct mapped_text *in, size_t at,
                   const char *bytes, size_t size);
/* The same for a code point; 0x110000 + b stands for the lone byte b. */
void mapped_put_char(struct mapped_text *out, const struct mapped_text *in, size_t from,
                     uint32_t c);
void mapped_insert_char(struct mapped_text *out, const struct mapped_text *in, size_t at,
                        uint32_t c);

/* The character at `at` of the text and its size; a byte that is not UTF-8 is 0x110000 + byte. */
uint32_t mapped_char(const char *data, size_t size, size_t at, size_t *length);

#endif
