/* SPDX-License-Identifier: MIT
 *
 * The field "normalizer" of tokenizer.json: stages that change the text before it is cut into
 * words. A stage = one function and one line in the table of normalizer.c.
 */
#ifndef TOKENIZER_NORMALIZER_H
#define TOKENIZER_NORMALIZER_H

#include "base/json.h"
#include "tokenizer/mapped_text.h"

/* Working memory of a running call; zeroed at the start, freed with normalizer_work_free(). */
struct normalizer_work {
    struct mapped_text texts[3];
    void *items;
    size_t items_capacity;
    void *more_items;
    size_t more_capacity;
};

void normalizer_work_init(struct normalizer_work *work, struct memory *memory);
void normalizer_work_free(struct normalizer_work *work);

struct normalizer_type {
    const char *type; /* as in the file */
    /* Fill *data (may stay NULL) from the stage's object. */
    llm_status (*read)(void **data, struct memory *memory, const json_t *stage);
    /* Append what `in` becomes to `out`, which is empty. Out of memory may show in out->failed
     * alone. */
    llm_status (*apply)(const void *data, struct normalizer_work *work,
                        const struct mapped_text *in, struct mapped_text *out);
    /* True: the stage certainly leaves this text as it is. NULL: no telling. */
    bool (*leaves)(const void *data, const char *text, size_t size);
    /* No byte becomes more bytes than this; NULL: than one. */
    size_t (*growth)(const void *data);
    bool local; /* text cut in front of a space behind a letter becomes the same in its parts */
    void (*free)(void *data, struct memory *memory); /* NULL: memory_release(data) */
};

struct normalizer_stage {
    const struct normalizer_type *type;
    void *data;
};

/* All stages in a row, sequences laid flat. */
struct normalizer {
    struct memory *memory;
    struct normalizer_stage *stages;
    size_t count;
    size_t capacity;
};

/* `json` NULL or null: no stages. */
llm_status normalizer_read(struct normalizer *normalizer, struct memory *memory,
                           const json_t *json);
void normalizer_free(struct normalizer *normalizer);

/* True: the text certainly stays as it is. */
bool normalizer_leaves(const struct normalizer *normalizer, const char *text, size_t size);

/* No byte of text becomes more bytes than this. */
size_t normalizer_growth(const struct normalizer *normalizer);

/* Run all stages over *text; `spare` is used in turn with it, the result ends in *text. */
llm_status normalizer_run(const struct normalizer *normalizer, struct normalizer_work *work,
                          struct mapped_text *text, struct mapped_text *spare);

/* The stages, normalizer_*.c. */
extern const struct normalizer_type normalizer_bert;
extern const struct normalizer_type normalizer_strip;
extern const struct normalizer_type normalizer_strip_accents;
extern const struct normalizer_type normalizer_nfc;
extern const struct normalizer_type normalizer_nfd;
extern const struct normalizer_type normalizer_nfkc;
extern const struct normalizer_type normalizer_nfkd;
extern const struct normalizer_type normalizer_lowercase;
extern const struct normalizer_type normalizer_nmt;
extern const struct normalizer_type normalizer_replace;
extern const struct normalizer_type normalizer_prepend;
extern const struct normalizer_type normalizer_byte_level;
extern const struct normalizer_type normalizer_precompiled;

/* Forms of Unicode normalization. */
enum { FORM_COMPATIBLE = 1, FORM_COMPOSED = 2 };

/* Append bytes [begin, end) of `in` in a normalization form. The range begins and ends where the
 * text can be cut: before a character of combining class 0 that no other composes with. */
void normalizer_form(unsigned form, struct normalizer_work *work, const struct mapped_text *in,
                     size_t begin, size_t end, struct mapped_text *out);

#endif
