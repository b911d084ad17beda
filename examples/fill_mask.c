/* SPDX-License-Identifier: MIT
 *
 * What stands behind the mask? ./fill_mask MODEL_DIR "Paris is the [MASK] of France." [MASK]
 *
 *   cc fill_mask.c -o fill_mask $(pkg-config --cflags --libs libllm)
 *   ./fill_mask MODEL_DIR TEXT [MASK_TOKEN]      RoBERTa's mask token is <mask>
 */
#include <llm.h>

#include <stdio.h>
#include <string.h>

enum { TOP = 5, MOST_MASKS = 16 };

int main(int argc, char **argv)
{
    llm_fill fills[MOST_MASKS * TOP];
    const char *mask = argc > 3 ? argv[3] : "[MASK]";
    llm_context *context = NULL;
    llm_task *task = NULL;
    size_t masks = 0;
    int failed;

    if (argc < 3) {
        fprintf(stderr, "usage: fill_mask MODEL_DIR TEXT [MASK_TOKEN]\n");
        return 2;
    }
    failed = llm_context_new(&context, NULL) || llm_task_load(&task, context, argv[1], NULL) ||
             llm_task_fill_mask(fills, MOST_MASKS * TOP, &masks, task, argv[2], strlen(argv[2]),
                                mask, TOP);
    if (failed)
        fprintf(stderr, "fill_mask: %s\n", llm_last_error());
    for (size_t i = 0; !failed && i < masks * TOP; i++) {
        const char *token = "";

        (void)llm_tokenizer_token_text(&token, NULL, llm_task_tokenizer(task), fills[i].id);
        printf("%zu  %7.4f  %s\n", i / TOP + 1, (double)fills[i].probability, token);
    }
    llm_task_free(task);
    llm_context_free(context);
    return failed;
}
