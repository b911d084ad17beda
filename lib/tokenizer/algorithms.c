/* SPDX-License-Identifier: MIT
 *
 * The table of algorithms, by model.type of tokenizer.json. doc/howto-add-tokenizer.md.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

static const struct tokenizer_algorithm *const algorithms[] = {
    &algorithm_bpe,        &algorithm_bpe_characters, &algorithm_unigram,
    &algorithm_characters, &algorithm_word_level,     &algorithm_word_piece,
};

const char *algorithm_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));

    if (type)
        return type;
    if (json_object_get(model, "merges"))
        return "BPE";
    if (json_is_array(json_object_get(model, "vocab")))
        return "Unigram";
    if (json_object_get(model, "continuing_subword_prefix"))
        return "WordPiece";
    return json_object_get(model, "vocab") ? "WordLevel" : NULL;
}

const struct tokenizer_algorithm *algorithm_find(const json_t *root)
{
    const char *type = algorithm_type(json_object_get(root, "model"));

    for (size_t i = 0; type && i < sizeof algorithms / sizeof *algorithms; i++) {
        if (strcmp(algorithms[i]->type, type) == 0 &&
            (!algorithms[i]->takes || algorithms[i]->takes(root)))
            return algorithms[i];
    }
    return NULL;
}
