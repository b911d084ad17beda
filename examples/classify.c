/* SPDX-License-Identifier: MIT
 *
 * Labels of a text: ./classify MODEL_DIR "what a wonderful film" ["the second text of a pair"]
 * With a model for token classification: the entities in it.
 *
 *   cc classify.c -o classify $(pkg-config --cflags --libs libllm)
 */
#include <llm.h>

#include <stdio.h>
#include <string.h>

enum { MOST_LABELS = 64, MOST_ENTITIES = 64 };

static int label(const llm_task *task, const char *text, const char *pair)
{
    const llm_model *model = llm_task_model(task);
    const size_t size = strlen(text);
    const size_t pair_size = pair ? strlen(pair) : 0;
    float values[MOST_LABELS];
    size_t count;

    if (llm_task_classify(values, MOST_LABELS, &count, task, &text, &size, pair ? &pair : NULL,
                          pair ? &pair_size : NULL, 1))
        return 1;
    for (size_t i = 0; i < count; i++)
        printf("%7.4f  %s\n", (double)values[i], llm_model_label(model, i));
    return 0;
}

static int tag(const llm_task *task, const char *text)
{
    llm_entity found[MOST_ENTITIES];
    size_t count;

    if (llm_task_tag(found, MOST_ENTITIES, &count, task, text, strlen(text), LLM_TAGS_FIRST))
        return 1;
    for (size_t i = 0; i < count; i++)
        printf("%7.4f  %s  %.*s\n", (double)found[i].score, found[i].name,
               (int)(found[i].end - found[i].begin), text + found[i].begin);
    return 0;
}

int main(int argc, char **argv)
{
    llm_context *context = NULL;
    llm_task *task = NULL;
    int failed;

    if (argc < 3) {
        fprintf(stderr, "usage: classify MODEL_DIR TEXT [SECOND_TEXT]\n");
        return 2;
    }
    failed = llm_context_new(&context, NULL) || llm_task_load(&task, context, argv[1], NULL);
    if (!failed && llm_model_head(llm_task_model(task)) == LLM_HEAD_TOKENS)
        failed = tag(task, argv[2]);
    else if (!failed)
        failed = label(task, argv[2], argc > 3 ? argv[3] : NULL);
    if (failed)
        fprintf(stderr, "classify: %s\n", llm_last_error());
    llm_task_free(task);
    llm_context_free(context);
    return failed;
}
