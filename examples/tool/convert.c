/* SPDX-License-Identifier: MIT
 *
 * llm convert: a model from one kind of file to another, tensor by tensor.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t show(void *user, double fraction)
{
    progress_show(user, fraction, "");
    return tool_interrupted;
}

/* "500M", "4G", "1000": bytes; 0 after a message. */
static uint64_t parse_size(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    double unit = *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1.0;

    if (unit != 1.0)
        end++;
    if (end == text || *end || !(value * unit >= 1.0 && value * unit < 1e18)) {
        fprintf(stderr, "llm convert: --split-size %s is not a size such as 4G or 500M\n", text);
        return 0;
    }
    return (uint64_t)(value * unit);
}

static int parse_type(int32_t *dtype, const char *name)
{
    if (strcmp(name, "keep") == 0)
        return 0;
    *dtype = llm_dtype_find(name);
    if (*dtype >= 0)
        return 0;
    fprintf(stderr, "llm convert: --type %s is unknown (f32, f16, bf16, q8_0, q4_k ...)\n", name);
    return -1;
}

static int convert(const char *from, const char *to, llm_model_convert_options *options)
{
    struct progress progress;
    llm_context *context = NULL;
    llm_status status;

    if (tool_context(&context, 0, 0) != LLM_OK)
        return tool_fail("convert");
    tool_catch_interrupt(NULL);
    progress_start(&progress, "convert");
    options->progress = show;
    options->progress_user = &progress;
    status = llm_model_convert(context, from, to, options);
    progress_end(&progress);
    llm_context_free(context);
    return status ? tool_fail("convert") : 0;
}

int command_convert(int argc, char **argv)
{
    static const struct arg_usage usage = {
        "convert", "IN OUT",
        "Converts a model. IN: a directory with config.json and model.safetensors, a GGUF file, "
        "or\n"
        "a llama2.c checkpoint. OUT: a name that ends in .gguf, or a directory.",
        2, 2};
    const char *type = "keep";
    const char *size = NULL;
    int32_t no_tokenizer = 0;
    const struct arg table[] = {
        {"--type", ARG_TEXT, &type, "TYPE",
         "of the weights: f32, f16, bf16; in GGUF files also q8_0, q4_k and so on", 0, 0},
        {"--split-size", ARG_TEXT, &size, "SIZE", "most bytes of one file, for example 4G", 0, 0},
        {"--no-tokenizer", ARG_FLAG, &no_tokenizer, NULL, "leave the tokenizer out", 0, 0},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    llm_model_convert_options options;
    size_t count = 0;
    int result;

    if (!positional || llm_model_convert_options_init(&options, sizeof options) != LLM_OK)
        return 1;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    if (result == 0 && parse_type(&options.dtype, type))
        result = -1;
    if (result == 0 && size) {
        options.split_bytes = parse_size(size);
        result = options.split_bytes ? 0 : -1;
    }
    options.skip_tokenizer = no_tokenizer;
    if (result == 0)
        result = convert(positional[0], positional[1], &options);
    else
        result = result > 0 ? 0 : 2;
    free(positional);
    return result;
}
