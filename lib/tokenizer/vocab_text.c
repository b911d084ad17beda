/* SPDX-License-Identifier: MIT
 *
 * BERT's vocab.txt: a token a line, its id being the number of the line, with tokenizer_config.json
 * beside it for what is not the default. The rest is made as transformers makes it for BERT:
 * "[CLS] A [SEP]" around a text, "[CLS] A [SEP] B [SEP]" around a pair.
 */
#include "base/file.h"
#include "tokenizer/word_piece.h"

#include <string.h>

enum { FILE_LIMIT = 256 << 20, MOST_LINES = VOCAB_MAX_ID };

struct line {
    const char *text;
    size_t size;
};

static llm_status list_lines(struct line **lines, size_t *count, struct memory *memory,
                             const char *text, size_t size)
{
    const char *end = text + size;
    size_t capacity = 0;
    llm_status status = LLM_OK;

    while (text < end && !status) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        struct line line = {text, length};

        text += length + (newline != NULL);
        if (line.size > 0 && line.text[line.size - 1] == '\r')
            line.size--;
        if (*count == MOST_LINES)
            return status_set(LLM_E_RANGE, "more than %d lines", MOST_LINES);
        status = memory_grow(memory, (void **)lines, &capacity, *count + 1, sizeof **lines);
        if (!status)
            (*lines)[(*count)++] = line;
    }
    return status;
}

/* A text that stands on several lines is the last of these tokens, so the last comes first here. */
static llm_status put_lines(struct vocab *vocab, struct memory *memory, const char *text,
                            size_t size)
{
    struct line *lines = NULL;
    size_t count = 0;
    llm_status status = list_lines(&lines, &count, memory, text, size);

    if (!status && count == 0)
        status = status_set(LLM_E_FORMAT, "the file is empty");
    for (size_t i = count; i-- > 0 && !status;) {
        if (memchr(lines[i].text, '\0', lines[i].size))
            status = status_set(LLM_E_FORMAT, "line %zu has a NUL", i + 1);
        else
            status = vocab_put(vocab, (int64_t)i, lines[i].text, lines[i].size, VOCAB_MODEL);
    }
    memory_release(memory, lines);
    return status;
}

/* ---- what is around the model ---- */

struct settings {
    bool lower;
    bool chinese;
    bool strip_set;
    bool strip;
    const char *names[5]; /* as in roles */
};

static const struct {
    const char *key;
    const char *name;
} roles[5] = {{"unk_token", "[UNK]"},
              {"cls_token", "[CLS]"},
              {"sep_token", "[SEP]"},
              {"pad_token", "[PAD]"},
              {"mask_token", "[MASK]"}};

enum { ROLE_UNK, ROLE_CLS, ROLE_SEP };

static llm_status read_settings(struct settings *settings, const json_t *config)
{
    const json_t *strip = json_object_get(config, "strip_accents");
    llm_status status;

    settings->lower = settings->chinese = true;
    settings->strip_set = strip && !json_is_null(strip);
    status = json_read_bool(config, "do_lower_case", &settings->lower);
    if (!status)
        status = json_read_bool(config, "tokenize_chinese_chars", &settings->chinese);
    if (!status)
        status = json_read_bool(config, "strip_accents", &settings->strip);
    for (size_t i = 0; i < 5; i++) {
        const json_t *value = json_object_get(config, roles[i].key);

        if (json_is_object(value))
            value = json_object_get(value, "content");
        settings->names[i] = json_is_string(value) ? json_string_value(value) : roles[i].name;
    }
    return status;
}

static int32_t find_role(const struct vocab *vocab, const struct settings *settings, int role)
{
    return vocab_find(vocab, settings->names[role], strlen(settings->names[role]));
}

static void write_special(struct text *out, const struct settings *settings,
                          const struct vocab *vocab, int role, const char *separator)
{
    text_printf(out, "%s", separator);
    text_append_json(out, settings->names[role], strlen(settings->names[role]));
    text_append_z(out, ":{\"id\":");
    text_append_json(out, settings->names[role], strlen(settings->names[role]));
    text_printf(out, ",\"ids\":[%d],\"tokens\":[", (int)find_role(vocab, settings, role));
    text_append_json(out, settings->names[role], strlen(settings->names[role]));
    text_append_z(out, "]}");
}

static void write_item(struct text *out, const struct settings *settings, int role, int type,
                       const char *separator)
{
    text_printf(out, "%s{\"SpecialToken\":{\"id\":", separator);
    text_append_json(out, settings->names[role], strlen(settings->names[role]));
    text_printf(out, ",\"type_id\":%d}}", type);
}

static void write_post(struct text *out, const struct settings *settings, const struct vocab *vocab)
{
    text_append_z(out, ",\"post_processor\":{\"type\":\"TemplateProcessing\"");
    for (int pair = 0; pair < 2; pair++) {
        text_append_z(out, pair ? ",\"pair\":[" : ",\"single\":[");
        write_item(out, settings, ROLE_CLS, 0, "");
        text_append_z(out, ",{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
        write_item(out, settings, ROLE_SEP, 0, ",");
        if (pair) {
            text_append_z(out, ",{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}");
            write_item(out, settings, ROLE_SEP, 1, ",");
        }
        text_append_z(out, "]");
    }
    text_append_z(out, ",\"special_tokens\":{");
    write_special(out, settings, vocab, ROLE_CLS, "");
    if (strcmp(settings->names[ROLE_CLS], settings->names[ROLE_SEP]) != 0)
        write_special(out, settings, vocab, ROLE_SEP, ",");
    text_append_z(out, "}}");
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

/* A tokenizer.json without its model. */
static void write_frame(struct text *out, const struct settings *settings,
                        const struct vocab *vocab)
{
    const char *separator = "";

    text_printf(out,
                "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                "\"handle_chinese_chars\":%s,\"strip_accents\":%s,\"lowercase\":%s},"
                "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
                "\"added_tokens\":[",
                boolean(settings->chinese), settings->strip_set ? boolean(settings->strip) : "null",
                boolean(settings->lower));
    for (int i = 0; i < 5; i++) {
        bool again = false;

        for (int j = 0; j < i; j++)
            again |= strcmp(settings->names[i], settings->names[j]) == 0;
        if (again || settings->names[i][0] == '\0' || find_role(vocab, settings, i) < 0)
            continue;
        text_printf(out, "%s{\"id\":%d,\"content\":", separator,
                    (int)find_role(vocab, settings, i));
        text_append_json(out, settings->names[i], strlen(settings->names[i]));
        text_append_z(out, ",\"special\":true}");
        separator = ",";
    }
    text_append_z(out, "]");
    if (find_role(vocab, settings, ROLE_CLS) >= 0 && find_role(vocab, settings, ROLE_SEP) >= 0)
        write_post(out, settings, vocab);
    text_append_z(out, "}");
}

static llm_status build(llm_tokenizer *tokenizer, const json_t *config)
{
    struct settings settings = {0};
    json_t *root = NULL;
    struct text frame;
    llm_status status = read_settings(&settings, config);

    if (status)
        return status_prefix(status, "tokenizer_config.json");
    text_init(&frame, &tokenizer->context->memory);
    write_frame(&frame, &settings, &tokenizer->vocab);
    status = frame.failed ? LLM_E_NOMEM : json_open(&root, frame.data, frame.size, "vocab.txt");
    text_free(&frame);
    if (!status)
        status = huggingface_read_stages(tokenizer, root);
    if (!status)
        status = word_piece_build(tokenizer, settings.names[ROLE_UNK], "##", 100);
    if (!status)
        status = huggingface_read_rest(tokenizer, root);
    json_decref(root);
    return status;
}

llm_status vocab_text_read(llm_tokenizer *tokenizer, const char *path, const char *config_path)
{
    struct memory *memory = &tokenizer->context->memory;
    json_t *config = NULL;
    char *text = NULL;
    size_t size;
    llm_status status = file_read(&text, &size, memory, path, FILE_LIMIT);

    if (!status)
        status = put_lines(&tokenizer->vocab, memory, text, size);
    memory_release(memory, text);
    text = NULL;
    if (!status && file_exists(config_path)) {
        status = file_read(&text, &size, memory, config_path, FILE_LIMIT);
        if (!status)
            status = json_open(&config, text, size, "tokenizer_config.json");
        memory_release(memory, text);
    }
    if (!status)
        status = build(tokenizer, config);
    json_decref(config);
    return status ? status : huggingface_read_config(tokenizer, config_path);
}
