/* SPDX-License-Identifier: MIT */
#include "generate/grammar_schema.h"

#include <stdlib.h>
#include <string.h>

/* JSON itself. White space is short, or a model may write nothing else; numbers are such that every
 * reader takes them as finite. */
static const char json_rules[] =
    "root ::= the-schema\n"
    "json-ws ::= \"\" | \" \" | \"\\n\" [ \\t]{0,20}\n"
    "json-hex ::= [0-9a-fA-F]\n"
    "json-char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" json-unit)\n"
    "json-unit ::= [0-9a-cefA-CEF] json-hex{3} | [dD] [0-7] json-hex{2}\n"
    "  | [dD] [89abAB] json-hex{2} \"\\\\u\" [dD] [c-fC-F] json-hex{2}\n"
    "json-string ::= \"\\\"\" json-char* \"\\\"\"\n"
    "json-integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "json-number ::= json-integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "json-boolean ::= \"true\" | \"false\"\n"
    "json-null ::= \"null\"\n"
    "json-array ::= \"[\" json-ws (json-value json-ws (\",\" json-ws json-value json-ws)*)? \"]\"\n"
    "json-member ::= json-string json-ws \":\" json-ws json-value json-ws\n"
    "json-object ::= \"{\" json-ws (json-member (\",\" json-ws json-member)*)? \"}\"\n"
    "json-value ::= json-object | json-array | json-string | json-number | json-boolean\n"
    "  | json-null\n";

enum keyword_class {
    ANNOTATION,
    ALONE, /* decides by itself what the value may be */
    TYPE,
    OF_STRING,
    OF_NUMBER,
    OF_ARRAY,
    OF_OBJECT
};

static const struct {
    const char *name;
    enum keyword_class class;
} keywords[] = {{"$schema", ANNOTATION},
                {"$id", ANNOTATION},
                {"$comment", ANNOTATION},
                {"$defs", ANNOTATION},
                {"definitions", ANNOTATION},
                {"title", ANNOTATION},
                {"description", ANNOTATION},
                {"default", ANNOTATION},
                {"examples", ANNOTATION},
                {"deprecated", ANNOTATION},
                {"readOnly", ANNOTATION},
                {"writeOnly", ANNOTATION},
                {"$ref", ALONE},
                {"const", ALONE},
                {"enum", ALONE},
                {"anyOf", ALONE},
                {"oneOf", ALONE},
                {"allOf", ALONE},
                {"type", TYPE},
                {"minLength", OF_STRING},
                {"maxLength", OF_STRING},
                {"pattern", OF_STRING},
                {"format", OF_STRING},
                {"minimum", OF_NUMBER},
                {"maximum", OF_NUMBER},
                {"exclusiveMinimum", OF_NUMBER},
                {"exclusiveMaximum", OF_NUMBER},
                {"items", OF_ARRAY},
                {"prefixItems", OF_ARRAY},
                {"minItems", OF_ARRAY},
                {"maxItems", OF_ARRAY},
                {"uniqueItems", OF_ARRAY},
                {"properties", OF_OBJECT},
                {"required", OF_OBJECT},
                {"additionalProperties", OF_OBJECT}};

enum {
    NULLS = 1,
    BOOLEANS = 2,
    INTEGERS = 4,
    NUMBERS = 8,
    STRINGS = 16,
    ARRAYS = 32,
    OBJECTS = 64
};

static const struct {
    const char *name;
    unsigned bits; /* integers are numbers */
} types[] = {{"null", NULLS},       {"boolean", BOOLEANS},
             {"integer", INTEGERS}, {"number", NUMBERS | INTEGERS},
             {"string", STRINGS},   {"array", ARRAYS},
             {"object", OBJECTS}};

static const struct fragment no_fragment = {-1, -1};

struct fragment schema_fail(struct schema_reader *reader, llm_status status, const char *key,
                            const char *what)
{
    if (!reader->builder->status)
        builder_fail(reader->builder, status_set(status, "JSON schema, %s%s%s: %s", reader->path,
                                                 key ? "/" : "", key ? key : "", what));
    return no_fragment;
}

struct fragment schema_basic(struct schema_reader *reader, const char *rule)
{
    return build_call(reader->builder, builder_rule(reader->builder, rule, strlen(rule)));
}

struct fragment schema_text(struct schema_reader *reader, const char *text)
{
    return build_text(reader->builder, text, strlen(text));
}

/* ---- the list of schemas ----------------------------------------------------------------------
 */

/* Long paths lose their middle. */
static const char *join_path(struct schema_reader *reader, const char *path, const char *key)
{
    enum { MOST = 300, HEAD = 100 };
    char text[MOST + 8];
    size_t size = strlen(path);
    size_t key_size = strlen(key) < HEAD ? strlen(key) : HEAD;
    char *copy;

    if (size + key_size + 1 > MOST) {
        memcpy(text, path, HEAD);
        memcpy(text + HEAD, "...", 3);
        size = HEAD + 3;
    } else {
        memcpy(text, path, size);
    }
    text[size++] = '/';
    memcpy(text + size, key, key_size);
    copy = arena_copy_text(&reader->paths, text, size + key_size);
    if (!copy)
        builder_fail(reader->builder, LLM_E_NOMEM);
    return copy ? copy : "";
}

/* `path` NULL: where the schema that is being written stands, and `key`. */
static int32_t rule_of(struct schema_reader *reader, const json_t *schema, const char *path,
                       const char *key)
{
    struct map_entry *entry = map_find(&reader->rules, (const char *)&schema, sizeof schema);
    llm_status status;
    bool inserted;
    int32_t rule;

    if (reader->builder->status)
        return 0;
    if (entry)
        return (int32_t)entry->value;
    if (!path)
        path = join_path(reader, reader->path, key);
    rule = builder_add_rule(reader->builder, path, strlen(path));
    status = map_put(&reader->rules, (const char *)&schema, sizeof schema, rule, &inserted);
    if (!status)
        status = memory_grow(reader->builder->memory, (void **)&reader->jobs, &reader->job_capacity,
                             reader->job_count + 1, sizeof *reader->jobs);
    if (status)
        builder_fail(reader->builder, status);
    else
        reader->jobs[reader->job_count++] = (struct schema_job){schema, path, rule};
    return rule;
}

struct fragment schema_call(struct schema_reader *reader, const json_t *schema, const char *key)
{
    return build_call(reader->builder, rule_of(reader, schema, NULL, key));
}

/* ---- references -------------------------------------------------------------------------------
 */

/* One step of a JSON pointer: [*at, next slash), with ~0, ~1 and %XX undone, into `out`. */
static bool pointer_step(const char **at, char *out, size_t capacity)
{
    size_t size = 0;

    while (**at && **at != '/') {
        char c = *(*at)++;

        if (c == '~' && (**at == '0' || **at == '1')) {
            c = *(*at)++ == '0' ? '~' : '/';
        } else if (c == '%' && (*at)[0] && (*at)[1]) {
            const char digits[3] = {(*at)[0], (*at)[1], '\0'};
            char *end;

            c = (char)strtoul(digits, &end, 16);
            if (*end || !c)
                return false;
            *at += 2;
        }
        if (size + 1 >= capacity)
            return false;
        out[size++] = c;
    }
    out[size] = '\0';
    return true;
}

static const json_t *resolve(const struct schema_reader *reader, const char *reference)
{
    const json_t *found = reader->root;
    const char *at = reference + 1;
    char key[512];

    if (reference[0] != '#' || (*at && *at != '/'))
        return NULL;
    while (found && *at == '/') {
        at++;
        if (!pointer_step(&at, key, sizeof key))
            return NULL;
        if (json_is_array(found)) {
            char *end;
            unsigned long index = strtoul(key, &end, 10);

            found = *end || !*key ? NULL : json_array_get(found, index);
        } else {
            found = json_object_get(found, key);
        }
    }
    return found;
}

static struct fragment write_reference(struct schema_reader *reader, const json_t *value)
{
    const char *text = json_string_value(value);
    const json_t *target = text ? resolve(reader, text) : NULL;

    if (!text || text[0] != '#')
        return schema_fail(reader, text ? LLM_E_UNSUPPORTED : LLM_E_FORMAT, "$ref",
                           "only references within the schema are supported");
    if (!target)
        return schema_fail(reader, LLM_E_FORMAT, "$ref", "there is no such schema");
    return build_call(reader->builder, rule_of(reader, target, text, NULL));
}

/* ---- values that are given --------------------------------------------------------------------
 */

static unsigned types_of_value(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return NULLS;
    case JSON_TRUE:
    case JSON_FALSE:
        return BOOLEANS;
    case JSON_INTEGER:
        return INTEGERS;
    case JSON_REAL:
        return NUMBERS;
    case JSON_STRING:
        return STRINGS;
    case JSON_ARRAY:
        return ARRAYS;
    default:
        return OBJECTS;
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Texts as a tree, so that many of them begin with one step. They are sorted. `open` has room for
 * the longest and one more. */
static struct fragment build_texts(struct builder *builder, char *const *texts, size_t count,
                                   int32_t *open)
{
    int32_t first = build_jump(builder);
    int32_t last = build_jump(builder);

    open[0] = first;
    for (size_t i = 0; i < count && !builder->status; i++) {
        size_t at = 0;

        if (i && strcmp(texts[i], texts[i - 1]) == 0)
            continue;
        while (i && texts[i][at] && texts[i][at] == texts[i - 1][at])
            at++;
        for (; texts[i][at] && !builder->status; at++) {
            uint8_t byte = (uint8_t)texts[i][at];
            struct fragment step = build_bytes(builder, byte, byte);

            build_way(builder, open[at], step.first);
            open[at + 1] = step.last;
        }
        build_way(builder, open[at], last);
    }
    return (struct fragment){first, last};
}

static struct fragment write_values(struct schema_reader *reader, const json_t *const *values,
                                    size_t count)
{
    struct memory *memory = reader->builder->memory;
    char **texts = memory_alloc_zeroed(memory, count + 1, sizeof *texts);
    int32_t *open = NULL;
    struct fragment all = no_fragment;
    size_t longest = 0;
    bool is_complete = texts != NULL;

    for (size_t i = 0; i < count && is_complete; i++) {
        texts[i] = json_dumps(values[i], JSON_ENCODE_ANY | JSON_COMPACT);
        is_complete = texts[i] != NULL;
        if (is_complete && strlen(texts[i]) > longest)
            longest = strlen(texts[i]);
    }
    if (is_complete)
        open = memory_alloc_array(memory, longest + 1, sizeof *open);
    if (!open) {
        builder_fail(reader->builder,
                     status_set(LLM_E_NOMEM, "JSON schema: no memory for given values"));
    } else {
        qsort(texts, count, sizeof *texts, by_text);
        all = build_texts(reader->builder, texts, count, open);
    }
    for (size_t i = 0; i < count && texts; i++)
        free(texts[i]); /* jansson's */
    memory_release(memory, texts);
    memory_release(memory, open);
    return all;
}

static struct fragment write_enum(struct schema_reader *reader, const json_t *list, unsigned wanted)
{
    struct memory *memory = reader->builder->memory;
    size_t size = json_array_size(list);
    const json_t **values = memory_alloc_array(memory, size + 1, sizeof *values);
    struct fragment all = no_fragment;
    size_t count = 0;

    if (!json_is_array(list)) {
        memory_release(memory, values);
        return schema_fail(reader, LLM_E_FORMAT, "enum", "not an array");
    }
    if (!values)
        builder_fail(reader->builder, LLM_E_NOMEM);
    for (size_t i = 0; i < size && values; i++) {
        values[count] = json_array_get(list, i);
        count += (types_of_value(values[count]) & wanted) != 0;
    }
    if (values)
        all = write_values(reader, values, count);
    memory_release(memory, values);
    return all;
}

/* ---- choices ----------------------------------------------------------------------------------
 */

static unsigned type_bits(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types && name; i++) {
        if (strcmp(types[i].name, name) == 0)
            return types[i].bits;
    }
    return 0;
}

/* Bits of "type"; 0: it is not one. */
static unsigned read_types(const json_t *type)
{
    unsigned all = 0;

    if (json_is_string(type))
        return type_bits(json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++) {
        unsigned bits = type_bits(json_string_value(json_array_get(type, i)));

        if (!bits)
            return 0;
        all |= bits;
    }
    return all;
}

/* The types that a branch can have, as far as they are plain to see; all bits if they are not. */
static unsigned branch_types(const struct schema_reader *reader, const json_t *branch)
{
    const json_t *value;
    unsigned all = 0;

    for (int i = 0; i < 16 && json_is_string(json_object_get(branch, "$ref")); i++)
        branch = resolve(reader, json_string_value(json_object_get(branch, "$ref")));
    if (json_object_get(branch, "type"))
        return read_types(json_object_get(branch, "type"));
    value = json_object_get(branch, "const");
    if (value)
        return types_of_value(value);
    value = json_object_get(branch, "enum");
    for (size_t i = 0; i < json_array_size(value); i++)
        all |= types_of_value(json_array_get(value, i));
    return all ? all : ~0u;
}

/* The text that property `key` of an object must have; NULL: none is given. */
static const char *tag_of(const struct schema_reader *reader, const json_t *branch, const char *key)
{
    const json_t *required;

    for (int i = 0; i < 16 && json_is_string(json_object_get(branch, "$ref")); i++)
        branch = resolve(reader, json_string_value(json_object_get(branch, "$ref")));
    required = json_object_get(branch, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        const json_t *property = json_object_get(json_object_get(branch, "properties"), key);

        if (name && strcmp(name, key) == 0)
            return json_string_value(json_object_get(property, "const"));
    }
    return NULL;
}

static bool differ_by_tag(const struct schema_reader *reader, const json_t *a, const json_t *b)
{
    const json_t *required;

    required = json_object_get(a, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *key = json_string_value(json_array_get(required, i));
        const char *x = key ? tag_of(reader, a, key) : NULL;
        const char *y = key ? tag_of(reader, b, key) : NULL;

        if (x && y && strcmp(x, y) != 0)
            return true;
    }
    return false;
}

/* No value is valid under two branches: they differ in type, or in a property that both need. */
static bool are_apart(const struct schema_reader *reader, const json_t *branches)
{
    size_t count = json_array_size(branches);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            const json_t *a = json_array_get(branches, i);
            const json_t *b = json_array_get(branches, j);

            for (int k = 0; k < 16 && json_is_string(json_object_get(a, "$ref")); k++)
                a = resolve(reader, json_string_value(json_object_get(a, "$ref")));
            if ((branch_types(reader, a) & branch_types(reader, b)) && !differ_by_tag(reader, a, b))
                return false;
        }
    }
    return true;
}

static struct fragment write_choice(struct schema_reader *reader, const json_t *branches,
                                    const char *key)
{
    enum { MOST_ONE_OF = 256 };
    struct fragment all = {build_jump(reader->builder), build_jump(reader->builder)};
    size_t count = json_array_size(branches);
    char name[48];

    if (!json_is_array(branches) || !count)
        return schema_fail(reader, LLM_E_FORMAT, key, "not an array of schemas");
    if (strcmp(key, "allOf") == 0 && count > 1)
        return schema_fail(reader, LLM_E_UNSUPPORTED, key,
                           "more than one schema at once is not supported");
    if (strcmp(key, "oneOf") == 0 && (count > MOST_ONE_OF || !are_apart(reader, branches)))
        return schema_fail(reader, LLM_E_UNSUPPORTED, key,
                           "schemas that one value may follow at once are not supported");
    for (size_t i = 0; i < count && !reader->builder->status; i++) {
        struct fragment one;

        (void)snprintf(name, sizeof name, "%s/%zu", key, i);
        one = schema_call(reader, json_array_get(branches, i), name);
        build_way(reader->builder, all.first, one.first);
        build_way(reader->builder, one.last, all.last);
    }
    return all;
}

/* ---- one schema -------------------------------------------------------------------------------
 */

/* What kinds of keywords there are, as bits; the one that stands alone. */
static unsigned find_keywords(struct schema_reader *reader, const json_t *schema,
                              const char **alone)
{
    unsigned classes = 0;
    const char *key;
    json_t *value;

    *alone = NULL;
    json_object_foreach((json_t *)schema, key, value)
    {
        size_t i = 0;

        while (i < sizeof keywords / sizeof *keywords && strcmp(keywords[i].name, key) != 0)
            i++;
        if (i == sizeof keywords / sizeof *keywords) {
            (void)schema_fail(reader, LLM_E_UNSUPPORTED, key, "the keyword is not supported");
            return 0;
        }
        classes |= 1u << keywords[i].class;
        if (keywords[i].class == ALONE) {
            if (*alone)
                (void)schema_fail(reader, LLM_E_UNSUPPORTED, key,
                                  "together with another keyword that says what is valid");
            *alone = keywords[i].name;
        }
    }
    return classes;
}

/* Without "type" the keywords tell: a text that has the type they are about is valid anyway. */
static unsigned guess_types(struct schema_reader *reader, unsigned classes)
{
    static const struct {
        enum keyword_class class;
        unsigned bits;
    } rows[] = {{OF_STRING, STRINGS},
                {OF_NUMBER, NUMBERS | INTEGERS},
                {OF_ARRAY, ARRAYS},
                {OF_OBJECT, OBJECTS}};
    unsigned bits = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(classes >> rows[i].class & 1))
            continue;
        if (bits)
            (void)schema_fail(reader, LLM_E_UNSUPPORTED, "type", "it is missing");
        bits |= rows[i].bits;
    }
    return bits;
}

static bool has_bounds(const json_t *schema)
{
    return json_object_get(schema, "minimum") || json_object_get(schema, "maximum") ||
           json_object_get(schema, "exclusiveMinimum") ||
           json_object_get(schema, "exclusiveMaximum");
}

static struct fragment write_type(struct schema_reader *reader, const json_t *schema, unsigned bit)
{
    switch (bit) {
    case NULLS:
        return schema_basic(reader, "json-null");
    case BOOLEANS:
        return schema_basic(reader, "json-boolean");
    case INTEGERS:
        return schema_integer(reader, schema);
    case NUMBERS:
        if (has_bounds(schema))
            return schema_fail(reader, LLM_E_UNSUPPORTED, "minimum",
                               "bounds are supported for integers only");
        return schema_basic(reader, "json-number");
    case STRINGS:
        return schema_string(reader, schema);
    case ARRAYS:
        return schema_array(reader, schema);
    default:
        return schema_object(reader, schema);
    }
}

static struct fragment write_types(struct schema_reader *reader, const json_t *schema,
                                   unsigned bits)
{
    struct fragment all = {build_jump(reader->builder), build_jump(reader->builder)};

    if (bits & NUMBERS)
        bits &= ~(unsigned)INTEGERS;
    for (unsigned bit = 1; bit <= OBJECTS && !reader->builder->status; bit <<= 1) {
        struct fragment one;

        if (!(bits & bit))
            continue;
        one = write_type(reader, schema, bit);
        build_way(reader->builder, all.first, one.first);
        build_way(reader->builder, one.last, all.last);
    }
    return all;
}

static struct fragment write_alone(struct schema_reader *reader, const json_t *schema,
                                   const char *key, unsigned classes)
{
    const json_t *value = json_object_get(schema, key);
    const json_t *type = json_object_get(schema, "type");
    unsigned wanted = type ? read_types(type) : ~0u;
    bool is_const = strcmp(key, "const") == 0;
    bool is_list = strcmp(key, "enum") == 0;

    if (classes & ~(1u << ANNOTATION | 1u << ALONE | (is_const || is_list ? 1u << TYPE : 0)))
        return schema_fail(reader, LLM_E_UNSUPPORTED, key,
                           "together with another keyword that says what is valid");
    if (strcmp(key, "$ref") == 0)
        return write_reference(reader, value);
    if (is_const)
        return write_values(reader, &value, (types_of_value(value) & wanted) != 0);
    if (is_list)
        return write_enum(reader, value, wanted);
    return write_choice(reader, value, key);
}

static struct fragment write_schema(struct schema_reader *reader, const json_t *schema)
{
    const char *alone;
    unsigned classes;
    unsigned bits;

    if (json_is_true(schema))
        return schema_basic(reader, "json-value");
    if (json_is_false(schema)) { /* nothing is valid: two jumps that do not meet */
        int32_t first = build_jump(reader->builder);

        return (struct fragment){first, build_jump(reader->builder)};
    }
    if (!json_is_object(schema))
        return schema_fail(reader, LLM_E_FORMAT, NULL, "a schema is an object, true or false");
    classes = find_keywords(reader, schema, &alone);
    if (reader->builder->status)
        return no_fragment;
    if (alone)
        return write_alone(reader, schema, alone, classes);
    if (!(classes & ~(1u << ANNOTATION)))
        return schema_basic(reader, "json-value");
    bits = classes >> TYPE & 1 ? read_types(json_object_get(schema, "type"))
                               : guess_types(reader, classes);
    if (!bits)
        return schema_fail(reader, LLM_E_FORMAT, "type", "no such type");
    return write_types(reader, schema, bits);
}

static void write_all(struct schema_reader *reader)
{
    struct fragment root;

    reader->path = "#";
    grammar_read_gbnf(reader->builder, json_rules, sizeof json_rules - 1);
    root = build_call(reader->builder, rule_of(reader, reader->root, "#", NULL));
    if (!reader->builder->status)
        builder_define(reader->builder, builder_rule(reader->builder, "the-schema", 10), root);
    for (size_t i = 0; i < reader->job_count && !reader->builder->status; i++) {
        struct schema_job job = reader->jobs[i];
        struct fragment body;

        reader->path = job.path;
        body = write_schema(reader, job.schema);
        if (!reader->builder->status)
            builder_define(reader->builder, job.rule, body);
    }
}

void grammar_read_schema(struct builder *builder, const char *text, size_t size)
{
    struct schema_reader reader = {.builder = builder};
    json_error_t error;

    reader.root = json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!reader.root) {
        builder_fail(builder, status_set(LLM_E_FORMAT, "JSON schema, line %d, column %d: %s",
                                         error.line, error.column, error.text));
        return;
    }
    arena_init(&reader.paths, builder->memory);
    map_init(&reader.rules, builder->memory);
    write_all(&reader);
    memory_release(builder->memory, reader.jobs);
    map_free(&reader.rules);
    arena_free(&reader.paths);
    json_decref(reader.root);
}
