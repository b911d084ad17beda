/* SPDX-License-Identifier: MIT
 *
 * Generating with a model directory, in three ways: free text that is printed while it comes, an
 * answer that follows a JSON schema, and four continuations at once in one batch.
 *
 *     generate DIRECTORY "In the beginning"
 */
#include <llm.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, llm_last_error());
    return 1;
}

static int32_t print_piece(void *user, const llm_token *token)
{
    (void)user;
    fwrite(token->text, 1, token->text_size, stdout);
    fflush(stdout);
    return 0; /* anything else stops */
}

static llm_status free_text(llm_model *model, llm_tokenizer *tokenizer, const char *prompt)
{
    llm_session *session = NULL;
    llm_generate_options options;
    llm_status status = llm_session_new(&session, model, tokenizer, NULL);

    if (!status)
        status = llm_session_append_text(session, prompt, strlen(prompt), NULL);
    if (!status)
        status = llm_generate_options_init(&options, sizeof options);
    if (!status) {
        options.max_tokens = 60;
        options.temperature = 0.8;
        options.top_p = 0.95;
        options.dry_multiplier = 0.8; /* no loops */
        options.lookup_tokens = 8;    /* several tokens at once where the text repeats itself */
        options.on_token = print_piece;
        printf("%s", prompt);
        status = llm_session_generate(session, &options);
        printf("\n\n");
    }
    llm_session_free(session);
    return status;
}

static llm_status json_answer(llm_model *model, llm_tokenizer *tokenizer, const char *prompt)
{
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"title\": {\"type\": \"string\", \"maxLength\": "
        "40},"
        " \"stars\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 5}},"
        " \"required\": [\"title\", \"stars\"], \"additionalProperties\": false}";
    llm_grammar *grammar = NULL;
    llm_session *session = NULL;
    llm_generate_options options;
    llm_status status;

    status = llm_grammar_from_json_schema(&grammar, tokenizer, schema, sizeof schema - 1);
    if (!status)
        status = llm_session_new(&session, model, tokenizer, NULL);
    if (!status)
        status = llm_session_append_text(session, prompt, strlen(prompt), NULL);
    if (!status)
        status = llm_generate_options_init(&options, sizeof options);
    if (!status) {
        options.temperature = 1.0;
        options.grammar = grammar;
        status = llm_session_generate(session, &options);
        printf("%s\n\n", llm_session_text(session, NULL));
    }
    llm_session_free(session);
    llm_grammar_free(grammar);
    return status;
}

static llm_status four_at_once(llm_model *model, llm_tokenizer *tokenizer, const char *prompt)
{
    llm_batch *batch = NULL;
    llm_session *sessions[4] = {NULL, NULL, NULL, NULL};
    llm_generate_options options;
    int32_t ids[256];
    size_t count = 0;
    llm_status status = llm_generate_options_init(&options, sizeof options);
    int i;

    if (!status)
        status = llm_tokenizer_encode(ids, 256, &count, tokenizer, prompt, strlen(prompt), NULL);
    if (!status)
        status = llm_batch_new(&batch, model, tokenizer, NULL);
    options.max_tokens = 20;
    options.temperature = 1.0;
    for (i = 0; i < 4 && !status; i++) {
        options.seed = (uint64_t)i + 1;
        status = llm_batch_session(&sessions[i], batch);
        if (!status)
            status = llm_batch_start(batch, sessions[i], ids, count, &options);
    }
    if (!status)
        status = llm_batch_run(batch); /* the prompt is read once: sessions share its memory */
    for (i = 0; i < 4; i++) {
        if (!status)
            printf("%d:%s\n", i + 1, llm_session_text(sessions[i], NULL));
        llm_session_free(sessions[i]);
    }
    llm_batch_free(batch);
    return status;
}

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "In the beginning";
    llm_context *context = NULL;
    llm_model *model = NULL;
    llm_tokenizer *tokenizer = NULL;
    int result = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: generate DIRECTORY [PROMPT]\n");
        return 2;
    }
    if (llm_context_new(&context, NULL) || llm_model_load(&model, context, argv[1], NULL) ||
        llm_tokenizer_load(&tokenizer, context, argv[1]))
        result = fail("loading");
    else if (free_text(model, tokenizer, prompt) || json_answer(model, tokenizer, prompt) ||
             four_at_once(model, tokenizer, prompt))
        result = fail("generating");
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    llm_context_free(context);
    return result;
}
