/* SPDX-License-Identifier: MIT
 *
 * What the files of a sentence-transformers directory say: modules.json lists the parts,
 * 1_Pooling/config.json the pooling, sentence_bert_config.json the longest text,
 * config_sentence_transformers.json a prompt. A directory without them says nothing.
 */
#include "base/file.h"
#include "base/json.h"
#include "task/task.h"

#include <string.h>

enum { FILE_LIMIT = 1 << 20 };

/* directory/folder/name as JSON; *out NULL when there is no such file. */
static llm_status open_file(json_t **out, struct memory *memory, const char *directory,
                            const char *folder, const char *name)
{
    char *inner = file_join(memory, directory, folder);
    char *path = inner ? file_join(memory, inner, name) : NULL;
    char *data = NULL;
    size_t size;
    llm_status status = path ? LLM_OK : LLM_E_NOMEM;

    *out = NULL;
    if (!status && file_exists(path)) {
        status = file_read(&data, &size, memory, path, FILE_LIMIT);
        if (!status)
            status = json_open(out, data, size, path);
        if (!status && !json_is_object(*out) && !json_is_array(*out))
            status = status_set(LLM_E_FORMAT, "%s: not a JSON object", path);
    }
    memory_release(memory, data);
    memory_release(memory, path);
    memory_release(memory, inner);
    return status;
}

/* ---- pooling ---- */

static const struct {
    const char *field; /* of files up to version 5: one is true */
    const char *name;  /* of "pooling_mode" in later ones */
    int32_t pooling;
} poolings[] = {
    {"pooling_mode_cls_token", "cls", LLM_POOL_CLS},
    {"pooling_mode_mean_tokens", "mean", LLM_POOL_MEAN},
    {"pooling_mode_max_tokens", "max", LLM_POOL_MAX},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", LLM_POOL_MEAN_SQRT},
    {"pooling_mode_lasttoken", "lasttoken", LLM_POOL_LAST},
    {"pooling_mode_weightedmean_tokens", "weightedmean", -1},
};

static llm_status read_pooling(struct task_modules *modules, const json_t *json)
{
    const char *mode = NULL;
    const char *unknown = NULL;
    llm_status status = json_read_text(json, "pooling_mode", &mode);
    int found = 0;

    for (size_t i = 0; i < sizeof poolings / sizeof poolings[0] && !status; i++) {
        bool is_set = mode && strcmp(mode, poolings[i].name) == 0;

        if (!mode)
            status = json_read_bool(json, poolings[i].field, &is_set);
        if (status || !is_set)
            continue;
        found++;
        modules->pooling = poolings[i].pooling;
        if (poolings[i].pooling < 0)
            unknown = poolings[i].field;
    }
    if (status)
        return status;
    if (unknown)
        return status_set(LLM_E_UNSUPPORTED, "field \"%s\": not supported", unknown);
    if (found != 1)
        return status_set(LLM_E_UNSUPPORTED, "%d kinds of pooling at once, 1 is supported", found);
    return LLM_OK;
}

static llm_status read_pooling_of(struct task_modules *modules, struct memory *memory,
                                  const char *directory, const char *folder)
{
    json_t *json;
    llm_status status = open_file(&json, memory, directory, folder, "config.json");

    if (!status && json)
        status = status_prefix(read_pooling(modules, json), "%s/%s/config.json", directory, folder);
    json_decref(json);
    return status;
}

/* ---- the list of modules ---- */

static llm_status read_module(struct task_modules *modules, struct memory *memory,
                              const char *directory, const json_t *module)
{
    const char *type = NULL;
    const char *path = "";
    const char *name;
    llm_status status = json_is_object(module)
                            ? json_read_text(module, "type", &type)
                            : status_set(LLM_E_FORMAT, "a module is not an object");

    if (!status)
        status = json_read_text(module, "path", &path);
    if (status)
        return status;
    if (!type || path[0] == '/' || strstr(path, ".."))
        return status_set(LLM_E_FORMAT, "a module has no type, or a path outside the directory");
    name = strrchr(type, '.');
    name = name ? name + 1 : type;
    if (strcmp(name, "Transformer") == 0) {
        memory_release(memory, modules->model_path);
        modules->model_path = path[0] ? file_join(memory, directory, path)
                                      : memory_copy_text(memory, directory, strlen(directory));
        return modules->model_path ? LLM_OK : LLM_E_NOMEM;
    }
    if (strcmp(name, "Pooling") == 0)
        return read_pooling_of(modules, memory, directory, path);
    if (strcmp(name, "Normalize") == 0) {
        modules->normalize = true;
        return LLM_OK;
    }
    return status_set(LLM_E_UNSUPPORTED, "the module \"%.100s\" is not supported", type);
}

static llm_status read_list(struct task_modules *modules, struct memory *memory,
                            const char *directory)
{
    json_t *list;
    llm_status status = open_file(&list, memory, directory, "", "modules.json");

    if (!status && !list) /* a plain model, perhaps with a pooling */
        status = read_pooling_of(modules, memory, directory, "1_Pooling");
    for (size_t i = 0; list && i < json_array_size(list) && !status; i++)
        status = status_prefix(read_module(modules, memory, directory, json_array_get(list, i)),
                               "%s/modules.json", directory);
    json_decref(list);
    return status;
}

/* ---- the rest ---- */

static llm_status read_length(struct task_modules *modules, struct memory *memory)
{
    json_t *json;
    bool lower_case = false;
    llm_status status =
        open_file(&json, memory, modules->model_path, "", "sentence_bert_config.json");

    if (!status && json)
        status = json_read_i64(json, "max_seq_length", 1, 1 << 30, &modules->max_tokens);
    if (!status && json)
        status = json_read_bool(json, "do_lower_case", &lower_case);
    if (!status && lower_case)
        status = status_set(LLM_E_UNSUPPORTED, "field \"do_lower_case\": not supported");
    json_decref(json);
    return status_prefix(status, "%s/sentence_bert_config.json", modules->model_path);
}

static llm_status read_prompt(struct task_modules *modules, struct memory *memory,
                              const char *directory)
{
    const char *name = NULL;
    const char *prompt;
    json_t *json;
    llm_status status =
        open_file(&json, memory, directory, "", "config_sentence_transformers.json");

    if (!status && json)
        status = json_read_text(json, "default_prompt_name", &name);
    if (!status && name) {
        prompt = json_string_value(json_object_get(json_object_get(json, "prompts"), name));
        if (!prompt)
            status = status_set(LLM_E_FORMAT, "field \"prompts\": there is no \"%.100s\"", name);
        else if (prompt[0])
            modules->prompt = memory_copy_text(memory, prompt, strlen(prompt));
        if (!status && prompt[0] && !modules->prompt)
            status = LLM_E_NOMEM;
    }
    json_decref(json);
    return status_prefix(status, "%s/config_sentence_transformers.json", directory);
}

llm_status task_read_modules(struct task_modules *modules, struct memory *memory,
                             const char *directory)
{
    llm_status status;

    memset(modules, 0, sizeof *modules);
    modules->model_path = memory_copy_text(memory, directory, strlen(directory));
    status = modules->model_path ? read_list(modules, memory, directory) : LLM_E_NOMEM;
    if (!status)
        status = read_length(modules, memory);
    if (!status)
        status = read_prompt(modules, memory, directory);
    return status;
}
