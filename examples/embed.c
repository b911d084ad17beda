/* SPDX-License-Identifier: MIT
 *
 * libllm inside a C program: load a model directory, continue a prompt, print the text.
 *
 *   cc embed.c -o embed $(pkg-config --cflags --libs libllm)
 *   ./embed MODEL_DIR "In the beginning"
 */
#include <llm.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : "out/model";
    const char *prompt = argc > 2 ? argv[2] : "In the beginning";
    llm_context *context = NULL;
    llm_model *model = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_session *session = NULL;
    int failed = llm_context_new(&context, NULL) ||
                 llm_model_load(&model, context, directory, NULL) ||
                 llm_tokenizer_load(&tokenizer, context, directory) ||
                 llm_session_new(&session, model, tokenizer, NULL) ||
                 llm_session_append_text(session, prompt, strlen(prompt), NULL) ||
                 llm_session_generate(session, NULL);

    if (failed)
        fprintf(stderr, "embed: %s\n", llm_last_error());
    else
        printf("%s%s\n", prompt, llm_session_text(session, NULL));
    llm_session_free(session); /* any order, NULL allowed */
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    llm_context_free(context);
    return failed;
}
