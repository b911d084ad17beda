/* SPDX-License-Identifier: MIT
 *
 * llm info: facts about a model directory or a tokenizer, without loading any weights.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

/* "1.5 GiB", "17 KiB": three figures are enough to decide whether it fits. */
static void print_bytes(const char *label, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;

    while (value >= 1024.0 && unit < 4) {
        value /= 1024.0;
        unit++;
    }
    printf("%-22s %.*f %s\n", label, unit && value < 100.0 ? 1 : 0, value, units[unit]);
}

static void print_model(const llm_model_info *info)
{
    printf("%-22s %s\n", "architecture", info->architecture);
    printf("%-22s %lld (%s)\n", "parameters", (long long)info->parameters, info->weight_types);
    printf("%-22s %d layers, %d heads (%d for keys) of %d, %lld wide\n", "shape", info->layers,
           info->heads, info->kv_heads, info->head_dim, (long long)info->dim);
    printf("%-22s %lld tokens\n", "vocabulary", (long long)info->vocabulary);
    printf("%-22s %lld tokens\n", "context", (long long)info->context_length);
    print_bytes("weights on disk", info->file_bytes);
    print_bytes("weights in memory", info->weight_bytes);
    if (info->kept_bytes != info->weight_bytes)
        print_bytes("kept in blocks", info->kept_bytes);
    print_bytes("per 1000 tokens", info->cache_bytes);
}

static const char *kind_name(int32_t kind)
{
    switch (kind) {
    case LLM_TOKENIZER_BPE:
        return "byte-level BPE";
    case LLM_TOKENIZER_CHARACTERS:
        return "characters";
    case LLM_TOKENIZER_BYTES:
        return "bytes";
    default:
        return "other";
    }
}

static void print_tokenizer(const llm_tokenizer *tokenizer)
{
    printf("%-22s %s, %d tokens", "tokenizer", kind_name(llm_tokenizer_kind(tokenizer)),
           llm_tokenizer_vocab_size(tokenizer));
    if (llm_tokenizer_special(tokenizer, LLM_TOKEN_EOS) >= 0)
        printf(", end token %d", llm_tokenizer_special(tokenizer, LLM_TOKEN_EOS));
    printf("\n");
}

static int32_t print_pair(void *user, const char *key, const char *type, const char *value)
{
    (void)user;
    printf("%s (%s) = %s\n", key, type, value);
    return 0;
}

int command_info(int argc, char **argv)
{
    static const struct arg_usage usage = {
        "info", "[PATH]",
        "Shows what a model directory, GGUF file or tokenizer holds and the memory it needs, "
        "without\n"
        "loading weights. Without PATH: what libllm uses on this machine.",
        0, 1};
    int32_t metadata = 0;
    const struct arg table[] = {{"--metadata", ARG_FLAG, &metadata, NULL,
                                 "all keys of a GGUF file, with their types", 0, 0},
                                {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_model_info info;
    const char *path = NULL;
    size_t count = 0;
    int result, found = 0;

    if (!positional)
        return 1;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    if (count)
        path = positional[0];
    free(positional);
    if (result)
        return result > 0 ? 0 : 2;
    if (tool_context(&context, 0, 0) != LLM_OK)
        return tool_fail("info");
    if (!path) {
        printf("libllm %s, %s\n", llm_version_string(), llm_context_description(context));
        llm_context_free(context);
        return 0;
    }
    if (metadata) {
        result = llm_model_metadata(context, path, print_pair, NULL) ? tool_fail("info") : 0;
        llm_context_free(context);
        return result;
    }
    if (llm_model_info_of(&info, sizeof info, context, path) == LLM_OK) {
        print_model(&info);
        found = 1;
    } else {
        result = 1;
    }
    if (llm_tokenizer_load(&tokenizer, context, path) == LLM_OK) {
        print_tokenizer(tokenizer);
        found = 1;
    }
    if (!found) { /* the tokenizer's message would hide what is wrong with the model */
        (void)llm_model_info_of(&info, sizeof info, context, path);
        result = tool_fail("info");
    } else {
        result = 0;
    }
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    return result;
}
