/* SPDX-License-Identifier: MIT
 *
 * The command-line tool, on the public header alone: one command per file in tool/.
 */
#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"train", command_train, "train a model on text files"},
    {"finetune", command_finetune, "train a model further on examples (LoRA, DoRA, IA3, full)"},
    {"merge", command_merge, "fold an adapter into its model"},
    {"generate", command_generate, "continue a prompt"},
    {"chat", command_chat, "talk with a model"},
    {"tokenize", command_tokenize, "show the tokens of a text, or the text of tokens"},
    {"train-tokenizer", command_train_tokenizer, "learn a vocabulary from text files"},
    {"convert", command_convert, "a model between directories and GGUF files"},
    {"embed", command_embed, "texts as vectors, their similarity, reranking"},
    {"classify", command_classify, "labels of texts, entities in texts"},
    {"bench", command_bench, "how fast a model reads and writes on this machine"},
    {"info", command_info, "what a model or tokenizer is, without loading it"},
};

static void print_help(FILE *out)
{
    fprintf(out,
            "libllm %s: train language models and let them write, on the CPU\n\n"
            "usage: llm COMMAND [arguments]     llm COMMAND --help\n\n",
            llm_version_string());
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("libllm %s\n", llm_version_string());
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    }
    fprintf(stderr, "llm: unknown command %s (llm --help lists them)\n", argv[1]);
    return 2;
}
