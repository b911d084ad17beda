/* SPDX-License-Identifier: MIT
 *
 * A text from a text with T5: ./translate MODEL_DIR "translate English to German: How are you?"
 *
 *   cc translate.c -o translate $(pkg-config --cflags --libs libllm)
 *   ./translate MODEL_DIR TEXT [BEAMS]
 */
#include <llm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static char text[65536];
    llm_seq2seq_options options;
    llm_context *context = NULL;
    llm_task *task = NULL;
    size_t size = 0;
    int failed;

    if (argc < 3) {
        fprintf(stderr, "usage: translate MODEL_DIR TEXT [BEAMS]\n");
        return 2;
    }
    failed = llm_seq2seq_options_init(&options, sizeof options);
    options.num_beams = argc > 3 ? atoi(argv[3]) : 4;
    failed = failed || llm_context_new(&context, NULL) ||
             llm_task_load(&task, context, argv[1], NULL) ||
             llm_task_generate(text, sizeof text, &size, task, argv[2], strlen(argv[2]), &options);
    if (failed)
        fprintf(stderr, "translate: %s\n", llm_last_error());
    else
        printf("%.*s\n", (int)size, text);
    llm_task_free(task);
    llm_context_free(context);
    return failed;
}
