/* SPDX-License-Identifier: MIT
 *
 * The table of architectures. Adding one is writing its file and adding a line here;
 * doc/howto-add-model.md walks through it.
 */
#include "models/arch.h"

#include <stdio.h>
#include <string.h>

static const struct arch *const archs[] = {
    &arch_gpt2,
    &arch_llama,
    &arch_mistral,
    &arch_mixtral,
    &arch_qwen2,
    &arch_qwen3,
    &arch_gemma,
    &arch_gemma2,
    &arch_gemma3,
    &arch_phi,
    &arch_phi3,
    &arch_gpt_neox,
    &arch_falcon,

    &arch_bert,
    &arch_distilbert,
    &arch_roberta,
    &arch_xlm_roberta,
    &arch_t5,
};

const struct arch *arch_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (strcmp(archs[i]->name, model_type) == 0)
            return archs[i];
    }
    return NULL;
}

void arch_names(char *text, size_t capacity)
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof archs / sizeof archs[0] && length < capacity; i++)
        length += (size_t)snprintf(text + length, capacity - length, "%s%s", i ? ", " : "",
                                   archs[i]->name);
}
