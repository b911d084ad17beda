/* SPDX-License-Identifier: MIT
 *
 * The field "pre_tokenizer" of byte-level tokenizer.json files, read into a split rule and written
 * from one. Only forms that a rule of split.c reproduces exactly are taken.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

const char *stage_type(const json_t *stage)
{
    const char *type = json_string_value(json_object_get(stage, "type"));

    return type ? type : "null";
}

static llm_status unsupported(const char *what, const char *detail)
{
    return status_set(LLM_E_UNSUPPORTED, "pre_tokenizer: %s \"%.200s\" is not supported", what,
                      detail);
}

/* {"pattern": {"Regex": ...}, "behavior": ..., "invert": ...}. Removing what does not match equals
 * keeping what does, as our rules match everything. */
static llm_status read_split(llm_tokenizer *tokenizer, const json_t *stage)
{
    const json_t *pattern = json_object_get(stage, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *behavior = NULL;
    bool invert = false;
    llm_status status = json_read_text(stage, "behavior", &behavior);

    if (!status)
        status = json_read_bool(stage, "invert", &invert);
    if (status)
        return status_prefix(status, "pre_tokenizer");
    if (!behavior ||
        !(strcmp(behavior, "Isolated") == 0 || (strcmp(behavior, "Removed") == 0 && invert)))
        return unsupported("Split behavior", behavior ? behavior : "(none)");
    tokenizer->split = regex ? split_find_regex(regex) : NULL;
    if (!tokenizer->split)
        return unsupported("Split pattern", regex ? regex : "(no Regex)");
    return LLM_OK;
}

/* A ByteLevel stage; the rule is left as it is when it does not split. */
static llm_status read_byte_level(llm_tokenizer *tokenizer, const json_t *stage)
{
    bool use_regex = true;
    bool add_prefix_space = true;
    llm_status status = json_read_bool(stage, "use_regex", &use_regex);

    if (!status)
        status = json_read_bool(stage, "add_prefix_space", &add_prefix_space);
    if (status)
        return status_prefix(status, "pre_tokenizer");
    if (tokenizer->split && (use_regex || add_prefix_space))
        return unsupported("Split before ByteLevel with",
                           use_regex ? "use_regex" : "add_prefix_space");
    tokenizer->add_prefix_space = add_prefix_space;
    if (!tokenizer->split)
        tokenizer->split = split_find(use_regex ? LLM_SPLIT_GPT2 : LLM_SPLIT_NONE);
    return LLM_OK;
}

llm_status pre_tokenizer_read(llm_tokenizer *tokenizer, const json_t *stage)
{
    const char *type = stage_type(stage);
    const json_t *list = json_object_get(stage, "pretokenizers");
    const json_t *last = stage;
    size_t count = 0;
    llm_status status;

    tokenizer->split = NULL;
    if (strcmp(type, "Sequence") == 0) {
        count = json_array_size(list);
        if (count < 1 || count > 2)
            return unsupported("Sequence", "of other than one or two stages");
        last = json_array_get(list, count - 1);
    }
    if (count == 2) {
        const json_t *first = json_array_get(list, 0);

        if (strcmp(stage_type(first), "Split") != 0)
            return unsupported("stage", stage_type(first));
        status = read_split(tokenizer, first);
        if (status)
            return status;
    }
    if (strcmp(stage_type(last), "ByteLevel") != 0)
        return unsupported("stage", stage_type(last));
    return read_byte_level(tokenizer, last);
}

void pre_tokenizer_write(const llm_tokenizer *tokenizer, struct text *out)
{
    bool own_regex = tokenizer->split->id == LLM_SPLIT_GPT2;
    bool sequence = !own_regex && tokenizer->split->id != LLM_SPLIT_NONE;

    if (sequence) {
        text_append_z(out,
                      "{\"type\": \"Sequence\", \"pretokenizers\": [\n    {\"type\": \"Split\", "
                      "\"pattern\": {\"Regex\": ");
        text_append_json(out, tokenizer->split->regexes[0], strlen(tokenizer->split->regexes[0]));
        text_append_z(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n    ");
    }
    text_printf(out,
                "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": true, "
                "\"use_regex\": %s}",
                tokenizer->add_prefix_space ? "true" : "false", own_regex ? "true" : "false");
    if (sequence)
        text_append_z(out, "\n  ]}");
}

bool pre_tokenizer_is_characters(const json_t *stage)
{
    static const char *const patterns[] = {"[\\s\\S]", ".|\\n", "(?m:.)"};
    const char *regex =
        json_string_value(json_object_get(json_object_get(stage, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(stage, "behavior"));

    if (strcmp(stage_type(stage), "Split") != 0 || !regex || !behavior ||
        strcmp(behavior, "Isolated") != 0)
        return false;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (strcmp(patterns[i], regex) == 0)
            return true;
    }
    return false;
}
