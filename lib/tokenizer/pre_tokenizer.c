/* SPDX-License-Identifier: MIT
 *
 * Between the field "pre_tokenizer" of byte-level tokenizer.json files and split rules: forms that
 * a rule of split.c reproduces exactly go the fast path; others are stages (words.h).
 */
#include "tokenizer/pipeline.h"

#include <string.h>

/* {"pattern": {"Regex": ...}, "behavior": ..., "invert": ...}. Removing what does not match equals
 * keeping what does, as our rules match everything. */
static const struct split_rule *find_rule(const json_t *stage)
{
    const char *regex =
        json_string_value(json_object_get(json_object_get(stage, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(stage, "behavior"));
    bool invert = json_is_true(json_object_get(stage, "invert"));

    if (strcmp(stage_type(stage), "Split") != 0 || !regex || !behavior)
        return NULL;
    if (strcmp(behavior, "Isolated") != 0 && !(strcmp(behavior, "Removed") == 0 && invert))
        return NULL;
    return split_find_regex(regex);
}

bool pre_tokenizer_is_rule(llm_tokenizer *tokenizer, const json_t *stage)
{
    const json_t *list = json_object_get(stage, "pretokenizers");
    const struct split_rule *rule = NULL;
    bool use_regex = true;
    bool add_prefix_space = true;

    if (strcmp(stage_type(stage), "Sequence") == 0) {
        size_t count = json_array_size(list);

        if (count < 1 || count > 2)
            return false;
        stage = json_array_get(list, count - 1);
        if (count == 2 && !(rule = find_rule(json_array_get(list, 0))))
            return false;
    }
    if (strcmp(stage_type(stage), "ByteLevel") != 0 ||
        json_read_bool(stage, "use_regex", &use_regex) ||
        json_read_bool(stage, "add_prefix_space", &add_prefix_space))
        return false;
    if (rule && (use_regex || add_prefix_space))
        return false;
    tokenizer->add_prefix_space = add_prefix_space;
    tokenizer->split = rule ? rule : split_find(use_regex ? LLM_SPLIT_GPT2 : LLM_SPLIT_NONE);
    return true;
}

static void write_rule(const llm_tokenizer *tokenizer, struct text *out)
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

llm_status pre_tokenizer_make(llm_tokenizer *tokenizer)
{
    char **json = &tokenizer->stage_json[STAGE_PRE_TOKENIZER];
    struct memory *memory = &tokenizer->context->memory;
    json_t *root = NULL;
    struct text text;
    llm_status status = LLM_E_NOMEM;

    text_init(&text, memory);
    if (tokenizer->kind == LLM_TOKENIZER_CHARACTERS)
        text_append_z(&text, "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                             "\"[\\\\s\\\\S]\"}, \"behavior\": \"Isolated\", "
                             "\"invert\": false}");
    else
        write_rule(tokenizer, &text);
    if (!text.failed)
        status = json_open(&root, text.data, text.size, "pre_tokenizer");
    if (!status)
        status = pre_tokenizer_read_stages(&tokenizer->pre_tokenizer, memory, root);
    memory_release(memory, *json);
    *json = NULL;
    if (!status)
        status = tokenizer_keep_json(tokenizer, json, root);
    json_decref(root);
    text_free(&text);
    if (status)
        return status;
    (void)pre_tokenizer_ends_in_bytes(&tokenizer->pre_tokenizer, true);
    return LLM_OK;
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
