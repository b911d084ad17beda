/* SPDX-License-Identifier: MIT
 *
 * A chat in fifty lines: the model's own template makes the prompt, the answer comes piece by
 * piece.
 *
 *   cc chat.c -o chat $(pkg-config --cflags --libs libllm)
 *   ./chat MODEL_DIR "What is the capital of Peru?"
 */
#include <llm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t print_piece(void *user, const llm_token *token)
{
    (void)user;
    fwrite(token->text, 1, token->text_size, stdout);
    fflush(stdout);
    return 0;
}

/* [{"role": "user", "content": question}] as JSON. */
static void make_messages(char *out, size_t room, const char *question)
{
    size_t size = (size_t)snprintf(out, room, "[{\"role\": \"user\", \"content\": \"");

    for (; *question && size + 16 < room; question++) {
        if (*question == '"' || *question == '\\')
            out[size++] = '\\';
        if ((unsigned char)*question < ' ')
            size += (size_t)snprintf(out + size, room - size, "\\u%04x", (unsigned)*question);
        else
            out[size++] = *question;
    }
    (void)snprintf(out + size, room - size, "\"}]");
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : "out/model";
    const char *question = argc > 2 ? argv[2] : "What is the capital of Peru?";
    llm_context *context = NULL;
    llm_model *model = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_session *session = NULL;
    llm_chat_template *chat = NULL;
    llm_chat_prompt *prompt = NULL;
    llm_chat_options options;
    llm_generate_options generate;
    char messages[4096];
    int32_t ids[4096];
    size_t count;
    int failed;

    make_messages(messages, sizeof messages, question);
    failed = llm_context_new(&context, NULL) || llm_model_load(&model, context, directory, NULL) ||
             llm_tokenizer_load(&tokenizer, context, directory) ||
             llm_chat_template_load(&chat, context, directory, NULL) ||
             llm_session_new(&session, model, tokenizer, NULL) ||
             llm_chat_options_init(&options, sizeof options) ||
             llm_generate_options_init(&generate, sizeof generate);
    if (!failed) {
        options.tokenizer = tokenizer; /* names the special tokens for the template */
        generate.on_token = print_piece;
        failed = llm_chat_render(&prompt, chat, messages, strlen(messages), &options) ||
                 llm_chat_prompt_encode(ids, NULL, 4096, &count, prompt, tokenizer) ||
                 llm_session_append(session, ids, count) ||
                 llm_session_generate(session, &generate);
    }
    if (failed)
        fprintf(stderr, "chat: %s\n", llm_last_error());
    else
        printf("\n");
    llm_chat_prompt_free(prompt);
    llm_chat_template_free(chat);
    llm_session_free(session);
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    llm_context_free(context);
    return failed;
}
