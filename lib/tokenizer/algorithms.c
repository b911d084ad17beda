/* SPDX-License-Identifier: MIT
 *
 * The table of algorithms, by model.type of tokenizer.json. doc/howto-add-tokenizer.md.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

static const struct tokenizer_algorithm *const algorithms[] = {
    &algorithm_bpe,
    &algorithm_characters,
};

const char *algorithm_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));

    if (!type && json_object_get(model, "merges"))
        return "BPE";
    return type;
}

const struct tokenizer_algorithm *algorithm_find(const json_t *model)
{
    const char *type = algorithm_type(model);

    for (size_t i = 0; type && i < sizeof algorithms / sizeof *algorithms; i++) {
        if (strcmp(algorithms[i]->type, type) == 0)
            return algorithms[i];
    }
    return NULL;
}
