/* SPDX-License-Identifier: MIT
 *
 * llm tokenize: text to token ids and back. llm train-tokenizer: learn a vocabulary from text.
 */
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tokenize {
    const char *tokenizer, *text;
    int32_t ids_only, count_only, decode, special;
};

/* One token as it would be written in C, so that spaces and newlines can be seen. */
static void print_visible(const char *bytes, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_tokens(const struct tokenize *t, const llm_tokenizer *tokenizer,
                         const int32_t *ids, size_t count)
{
    if (t->count_only) {
        printf("%zu\n", count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *piece = "";
        size_t size = 0;

        if (t->ids_only) {
            printf(i + 1 == count ? "%d\n" : "%d ", ids[i]);
            continue;
        }
        (void)llm_tokenizer_token_text(&piece, &size, tokenizer, ids[i]);
        printf("%7d  ", ids[i]);
        print_visible(piece, size);
        putchar('\n');
    }
}

static llm_status encode(const struct tokenize *t, const llm_tokenizer *tokenizer, const char *text,
                         size_t size)
{
    llm_encode_options options;
    size_t capacity = llm_tokenizer_max_tokens(tokenizer, size);
    int32_t *ids = malloc((capacity ? capacity : 1) * sizeof *ids);
    size_t count = 0;
    llm_status status = llm_encode_options_init(&options, sizeof options);

    options.parse_special = t->special;
    if (!ids)
        return LLM_E_NOMEM;
    if (!status)
        status = llm_tokenizer_encode(ids, capacity, &count, tokenizer, text, size, &options);
    if (!status)
        print_tokens(t, tokenizer, ids, count);
    free(ids);
    return status;
}

/* Ids as decimal numbers with anything between them. */
static llm_status decode(const llm_tokenizer *tokenizer, const char *text, size_t size)
{
    int32_t *ids = malloc((size / 2 + 1) * sizeof *ids);
    const char *end = text + size;
    size_t count = 0, length = 0;
    char *out = NULL;
    llm_status status;

    if (!ids)
        return LLM_E_NOMEM;
    while (text < end) {
        if (*text >= '0' && *text <= '9') {
            int64_t id = 0;

            while (text < end && *text >= '0' && *text <= '9' && id < INT32_MAX)
                id = 10 * id + (*text++ - '0');
            ids[count++] = id > INT32_MAX ? INT32_MAX : (int32_t)id;
        } else {
            text++;
        }
    }
    status = llm_tokenizer_decode(NULL, 0, &length, tokenizer, ids, count, NULL);
    if (status == LLM_E_BUFFER || (status == LLM_OK && length == 0)) {
        out = malloc(length + 1);
        status = out ? llm_tokenizer_decode(out, length + 1, &length, tokenizer, ids, count, NULL)
                     : LLM_E_NOMEM;
    }
    if (!status && out)
        fwrite(out, 1, length, stdout);
    free(out);
    free(ids);
    return status;
}

int command_tokenize(int argc, char **argv)
{
    struct tokenize t = {0};
    static const struct arg_usage usage = {
        "tokenize", "[FILE]",
        "Shows the tokens of a text (FILE, standard input, or --text), or turns ids into text.", 0,
        1};
    const struct arg table[] = {
        {"--tokenizer", ARG_TEXT, &t.tokenizer, "PATH", "tokenizer.json or a model directory", 0,
         0},
        {"--text", ARG_TEXT, &t.text, "TEXT", "this text instead of a file", 0, 0},
        {"--ids", ARG_FLAG, &t.ids_only, NULL, "print the ids on one line", 0, 0},
        {"--count", ARG_FLAG, &t.count_only, NULL, "print the number of tokens", 0, 0},
        {"--decode", ARG_FLAG, &t.decode, NULL, "the input holds ids; print their text", 0, 0},
        {"--special", ARG_FLAG, &t.special, NULL, "special tokens in the text are such", 0, 0},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    const char *path = "-";
    char *file = NULL;
    size_t count = 0, size = 0;
    llm_status status;
    int result;

    if (!positional)
        return 1;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    if (count)
        path = positional[0];
    free(positional);
    if (result)
        return result > 0 ? 0 : 2;
    if (!t.tokenizer) {
        fprintf(stderr, "llm tokenize: --tokenizer is missing\n");
        return 2;
    }
    if (t.text)
        size = strlen(t.text);
    else if ((file = tool_read_file(path, &size)) == NULL)
        return 1;
    status = tool_context(&context, 0, 0);
    if (!status)
        status = llm_tokenizer_load(&tokenizer, context, t.tokenizer);
    if (!status)
        status = t.decode ? decode(tokenizer, t.text ? t.text : file, size)
                          : encode(&t, tokenizer, t.text ? t.text : file, size);
    if (status)
        tool_fail("tokenize");
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    free(file);
    return status != LLM_OK;
}

/* ---- training ---- */

static int32_t show_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    progress_show(user, total ? (double)done / (double)total : 0.0, stage);
    return tool_interrupted;
}

struct name_value {
    const char *name;
    int32_t value;
};

static int find_name(const struct name_value *names, const char *name, int32_t *out)
{
    for (; names->name; names++) {
        if (strcmp(names->name, name) == 0) {
            *out = names->value;
            return 0;
        }
    }
    return -1;
}

int command_train_tokenizer(int argc, char **argv)
{
    static const struct name_value kinds[] = {{"bpe", LLM_TOKENIZER_BPE},
                                              {"characters", LLM_TOKENIZER_CHARACTERS},
                                              {"bytes", LLM_TOKENIZER_BYTES},
                                              {NULL, 0}};
    static const struct name_value splits[] = {
        {"none", LLM_SPLIT_NONE},   {"gpt2", LLM_SPLIT_GPT2},   {"cl100k", LLM_SPLIT_CL100K},
        {"qwen2", LLM_SPLIT_QWEN2}, {"o200k", LLM_SPLIT_O200K}, {NULL, 0}};
    const char *kind = "bpe", *split = "cl100k", *out = NULL;
    int64_t vocab_size = 8192, min_frequency = 2, threads = 0;
    struct arg_list specials = {0};
    static const struct arg_usage usage = {
        "train-tokenizer", "FILE...",
        "Learns a vocabulary from text files and saves it as DIR/tokenizer.json.", 1, 10000};
    const struct arg table[] = {
        {"--out", ARG_TEXT, &out, "DIR", "where to save", 0, 0},
        {"--kind", ARG_TEXT, &kind, "KIND", "bpe, characters or bytes", 0, 0},
        {"--vocab-size", ARG_INT, &vocab_size, "N", "most tokens (bpe)", 256, 16e6},
        {"--split", ARG_TEXT, &split, "RULE", "none, gpt2, cl100k, qwen2, o200k (bpe)", 0, 0},
        {"--min-frequency", ARG_INT, &min_frequency, "N", "merge pairs this frequent (bpe)", 1,
         1e15},
        {"--special", ARG_LIST, &specials, "TOKEN", "special token (repeatable)", 0, 0},
        {"--threads", ARG_INT, &threads, "N", "0: all cores", 0, 1024},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **files = malloc(((size_t)argc + 1) * sizeof *files);
    llm_tokenizer_train_options options;
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    struct progress progress;
    char path[4096];
    size_t count;
    llm_status status;
    int result;

    if (!files || llm_tokenizer_train_options_init(&options, sizeof options) != LLM_OK) {
        free(files);
        return tool_fail("train-tokenizer");
    }
    result = args_parse(&usage, table, argc, argv, files, &count);
    if (!result && (!out || find_name(kinds, kind, &options.kind) ||
                    find_name(splits, split, &options.split))) {
        fprintf(stderr, "llm train-tokenizer: %s\n",
                out ? "--kind or --split is not one of those --help lists" : "--out is missing");
        result = -1;
    }
    if (result) {
        free(files);
        return result > 0 ? 0 : 2;
    }
    if (specials.count == 0 && options.kind == LLM_TOKENIZER_BPE)
        specials.items[specials.count++] = "<|endoftext|>";
    options.vocab_size = (int32_t)vocab_size;
    options.min_frequency = min_frequency;
    options.special_tokens = specials.items;
    options.special_count = specials.count;
    options.progress = show_progress;
    options.progress_user = &progress;
    progress_start(&progress, "tokenizer");
    tool_catch_interrupt(NULL);
    status = tool_context(&context, threads, 0);
    if (!status)
        status = llm_tokenizer_train_files(&tokenizer, context, files, count, &options);
    progress_end(&progress);
    if (!status) {
        tool_make_directory(out);
        snprintf(path, sizeof path, "%s/tokenizer.json", out);
        status = llm_tokenizer_save(tokenizer, path);
    }
    if (!status)
        printf("%s: %d tokens\n", path, llm_tokenizer_vocab_size(tokenizer));
    if (status)
        tool_fail("train-tokenizer");
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    free(files);
    return status != LLM_OK;
}
