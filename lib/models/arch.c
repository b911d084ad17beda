/* SPDX-License-Identifier: MIT
 *
 * The table of architectures. Adding one is writing its file and adding a line here;
 * doc/howto-add-model.md walks through it.
 */
#include "models/arch.h"

#include <string.h>

static const struct arch *const archs[] = {&arch_gpt2};

const struct arch *arch_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (strcmp(archs[i]->name, model_type) == 0)
            return archs[i];
    }
    return NULL;
}

const char *arch_names(void)
{
    return "gpt2";
}
