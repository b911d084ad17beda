/* SPDX-License-Identifier: MIT
 *
 * Answers that stand in a text: ./question_answering MODEL_DIR "Who wrote it?" FILE
 *
 *   cc question_answering.c -o question_answering $(pkg-config --cflags --libs libllm)
 *   ./question_answering MODEL_DIR QUESTION FILE
 */
#include <llm.h>

#include <stdio.h>
#include <string.h>

enum { BEST = 3, MOST_BYTES = 1 << 20 };

int main(int argc, char **argv)
{
    static char text[MOST_BYTES];
    llm_answer answers[BEST];
    llm_answer_options options;
    llm_context *context = NULL;
    llm_task *task = NULL;
    size_t size = 0, count = 0;
    FILE *file;
    int failed;

    if (argc < 4) {
        fprintf(stderr, "usage: question_answering MODEL_DIR QUESTION FILE\n");
        return 2;
    }
    file = fopen(argv[3], "rb");
    if (!file) {
        fprintf(stderr, "question_answering: cannot open %s\n", argv[3]);
        return 1;
    }
    size = fread(text, 1, sizeof text, file);
    fclose(file);
    failed = llm_answer_options_init(&options, sizeof options) || llm_context_new(&context, NULL) ||
             llm_task_load(&task, context, argv[1], NULL);
    if (!failed && llm_task_max_tokens(task) <= 256)
        options.overlap = llm_task_max_tokens(task) / 4;
    failed = failed || llm_task_answer(answers, BEST, &count, task, argv[2], strlen(argv[2]), text,
                                       size, &options);
    if (failed)
        fprintf(stderr, "question_answering: %s\n", llm_last_error());
    for (size_t i = 0; i < count; i++)
        printf("%7.4f  %.*s\n", (double)answers[i].score, (int)(answers[i].end - answers[i].begin),
               text + answers[i].begin);
    llm_task_free(task);
    llm_context_free(context);
    return failed;
}
