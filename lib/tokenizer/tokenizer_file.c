/* SPDX-License-Identifier: MIT
 *
 * Loading by path: which kind of file it is, and what lies beside it. Saving.
 */
#include "base/file.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/sentencepiece.h"

#include <string.h>

enum { FILE_LIMIT = 256 << 20 };

static bool ends_with(const char *path, const char *suffix)
{
    size_t size = strlen(path);
    size_t tail = strlen(suffix);

    return size >= tail && strcmp(path + size - tail, suffix) == 0;
}

/* The file `name` in the folder of `path`; NULL on failure. */
static char *beside(struct memory *memory, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    struct text text;

    text_init(&text, memory);
    text_append(&text, path, folder);
    text_append_z(&text, name);
    if (text.failed)
        text_free(&text);
    return text.data;
}

static llm_status read_json_file(llm_tokenizer *tokenizer, const char *path)
{
    struct memory *memory = &tokenizer->context->memory;
    char *config = NULL;
    char *text = NULL;
    size_t size;
    llm_status status = file_read(&text, &size, memory, path, FILE_LIMIT);

    if (!status)
        status = huggingface_read(tokenizer, text, size);
    memory_release(memory, text);
    if (status)
        return status;
    config = beside(memory, path, "tokenizer_config.json");
    if (!config)
        return LLM_E_NOMEM;
    status = huggingface_read_config(tokenizer, config);
    memory_release(memory, config);
    return status;
}

/* GPT-2's two files, found from either. */
static llm_status read_pair(llm_tokenizer *tokenizer, const char *path)
{
    static const char *const vocab_names[] = {"vocab.json", "encoder.json"};
    static const char *const merges_names[] = {"merges.txt", "vocab.bpe"};
    struct memory *memory = &tokenizer->context->memory;
    char *vocab = NULL;
    char *merges = NULL;
    llm_status status = LLM_OK;

    for (int i = 0; i < 2 && !(vocab && file_exists(vocab)); i++) {
        memory_release(memory, vocab);
        vocab = beside(memory, path, vocab_names[i]);
    }
    for (int i = 0; i < 2 && !(merges && file_exists(merges)); i++) {
        memory_release(memory, merges);
        merges = beside(memory, path, merges_names[i]);
    }
    if (!vocab || !merges)
        status = LLM_E_NOMEM;
    else
        status = gpt2_files_read(tokenizer, vocab, merges);
    memory_release(memory, vocab);
    memory_release(memory, merges);
    return status;
}

/* A SentencePiece model, or llama2.c's file. */
static llm_status read_arrays_file(llm_tokenizer *tokenizer, const char *path,
                                   llm_status (*read)(struct vocabulary_arrays *, struct arena *,
                                                      const char *, size_t))
{
    struct memory *memory = &tokenizer->context->memory;
    struct vocabulary_arrays arrays;
    char *config = beside(memory, path, "tokenizer_config.json");
    struct arena arena;
    char *data = NULL;
    size_t size;
    llm_status status = config ? file_read(&data, &size, memory, path, FILE_LIMIT) : LLM_E_NOMEM;

    arena_init(&arena, memory);
    if (!status)
        status = read(&arrays, &arena, data, size);
    if (!status)
        status = sentencepiece_read_config(&arrays, &arena, config);
    if (!status)
        status = sentencepiece_make(tokenizer, &arrays);
    if (!status)
        status = huggingface_read_config(tokenizer, config);
    arena_free(&arena);
    memory_release(memory, data);
    memory_release(memory, config);
    return status;
}

static bool is_sentencepiece(const char *path)
{
    const char *slash = strrchr(path, '/');

    return ends_with(path, ".model") || ends_with(path, ".spm") ||
           strstr(slash ? slash : path, ".model.") != NULL;
}

/* BERT's vocabulary. */
static llm_status read_vocab_text(llm_tokenizer *tokenizer, const char *path)
{
    struct memory *memory = &tokenizer->context->memory;
    char *config = beside(memory, path, "tokenizer_config.json");
    llm_status status = config ? vocab_text_read(tokenizer, path, config) : LLM_E_NOMEM;

    memory_release(memory, config);
    return status;
}

/* By the file's name. `split` as for tiktoken_read(). */
static llm_status read_file(llm_tokenizer *tokenizer, const char *path, int32_t split)
{
    if (ends_with(path, ".tiktoken"))
        return tiktoken_read(tokenizer, path, split);
    if (ends_with(path, "vocab.txt"))
        return read_vocab_text(tokenizer, path);
    if (ends_with(path, "vocab.json") || ends_with(path, "encoder.json") ||
        ends_with(path, "merges.txt") || ends_with(path, "vocab.bpe"))
        return read_pair(tokenizer, path);
    if (is_sentencepiece(path))
        return read_arrays_file(tokenizer, path, sentencepiece_read);
    if (ends_with(path, ".bin"))
        return read_arrays_file(tokenizer, path, tokenizer_bin_read);
    return read_json_file(tokenizer, path);
}

static llm_status read_directory(llm_tokenizer *tokenizer, const char *path)
{
    static const char *const names[] = {
        "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
        "vocab.json",     "encoder.json",    "vocab.txt",    "tokenizer.bin"};
    struct memory *memory = &tokenizer->context->memory;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = file_join(memory, path, names[i]);
        llm_status status = LLM_OK;
        bool found;

        if (!file)
            return LLM_E_NOMEM;
        found = file_exists(file);
        if (found)
            status = i == 0 ? read_json_file(tokenizer, file) : read_file(tokenizer, file, -1);
        memory_release(memory, file);
        if (found)
            return status;
    }
    return status_set(LLM_E_IO, "%s: no tokenizer.json, vocab.json, tokenizer.model or vocab.txt",
                      path);
}

llm_status tokenizer_load(llm_tokenizer **out, llm_context *context, const char *path)
{
    return tokenizer_load_split(out, context, path, -1);
}

llm_status tokenizer_load_split(llm_tokenizer **out, llm_context *context, const char *path,
                                int32_t split)
{
    llm_status status = tokenizer_new(out, context);

    if (status)
        return status;
    status = file_is_directory(path) ? read_directory(*out, path) : read_file(*out, path, split);
    if (status) {
        tokenizer_release(*out);
        *out = NULL;
        return status_prefix(status, "%s", path);
    }
    return status;
}

static llm_status save_text(const llm_tokenizer *tokenizer, const char *path,
                            void (*write)(const llm_tokenizer *, struct text *))
{
    struct memory *memory = &tokenizer->context->memory;
    struct text text;
    llm_status status = LLM_E_NOMEM;

    text_init(&text, memory);
    write(tokenizer, &text);
    if (!text.failed)
        status = file_write(memory, path, text.data, text.size);
    text_free(&text);
    return status;
}

llm_status tokenizer_save(const llm_tokenizer *tokenizer, const char *path)
{
    struct memory *memory = &tokenizer->context->memory;
    char *json = NULL;
    char *config = NULL;
    llm_status status = tokenizer_check_write(tokenizer);

    if (status)
        return status_prefix(status, "%s", path);
    if (!file_is_directory(path))
        return save_text(tokenizer, path, tokenizer_write_json);
    status = LLM_E_NOMEM;
    json = file_join(memory, path, "tokenizer.json");
    config = file_join(memory, path, "tokenizer_config.json");
    if (json && config)
        status = save_text(tokenizer, json, tokenizer_write_json);
    if (!status)
        status = save_text(tokenizer, config, huggingface_write_config);
    memory_release(memory, json);
    memory_release(memory, config);
    return status;
}
