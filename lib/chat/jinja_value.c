/* SPDX-License-Identifier: MIT
 *
 * Making values: memory, strings, lists, dicts, and the way in from JSON.
 */
#include "base/checked.h"
#include "chat/jinja_interpreter.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct jinja_value jinja_fail(struct jinja_run *run, llm_status status, const char *format, ...)
{
    char text[512];
    va_list args;

    if (!run->status) {
        va_start(args, format);
        (void)vsnprintf(text, sizeof text, format, args);
        va_end(args);
        for (char *c = text; *c; c++) { /* a status is one line */
            if ((unsigned char)*c < ' ')
                *c = ' ';
        }
        run->status = status_set(status, "%s", text);
    }
    return jinja_undefined(NULL);
}

bool jinja_charge(struct jinja_run *run, size_t work)
{
    if (run->status)
        return false;
    if (work > (size_t)run->left.steps) {
        run->left.steps = 0;
        jinja_fail(run, LLM_E_RANGE, "the template does not come to an end (step limit)");
        return false;
    }
    run->left.steps -= (int64_t)work;
    return true;
}

void *jinja_alloc(struct jinja_run *run, size_t size)
{
    void *block;

    if (!jinja_charge(run, size / 64))
        return NULL;
    if (size > run->left.memory) {
        jinja_fail(run, LLM_E_RANGE, "the template's values grow too large (memory limit)");
        return NULL;
    }
    run->left.memory -= size;
    block = arena_alloc(run->arena, size);
    if (!block)
        run->status = LLM_E_NOMEM;
    return block;
}

/* Grow an array kept in the arena; the old one is left behind. */
bool jinja_grow(struct jinja_run *run, void **array, size_t *capacity, size_t needed, size_t size)
{
    size_t room = *capacity ? *capacity : 4;
    void *fresh;

    if (needed <= *capacity)
        return true;
    while (room < needed)
        room *= 2; /* needed is bounded by the memory limit */
    fresh = jinja_alloc(run, room * size);
    if (!fresh)
        return false;
    if (*capacity)
        memcpy(fresh, *array, *capacity * size);
    *array = fresh;
    *capacity = room;
    return true;
}

/* ---- strings -----------------------------------------------------------------------------------
 */

static struct jinja_value string_value(struct jinja_run *run, struct jinja_string content)
{
    struct jinja_string *string = jinja_alloc(run, sizeof *string);

    if (!string)
        return jinja_undefined(NULL);
    *string = content;
    return (struct jinja_value){.type = JINJA_STRING, .as.string = string};
}

struct jinja_value jinja_string_of(struct jinja_run *run, const char *data, size_t size,
                                   enum jinja_trust trust)
{
    return string_value(run, (struct jinja_string){.data = data, .size = size, .trust = trust});
}

struct jinja_value jinja_text(struct jinja_run *run, const char *literal)
{
    return jinja_string_of(run, literal, strlen(literal), JINJA_TRUSTED);
}

struct jinja_value jinja_slice_of(struct jinja_run *run, const struct jinja_string *string,
                                  size_t begin, size_t end)
{
    struct jinja_string part = {string->data + begin, end - begin, NULL, string->trust};

    if (string->trust == JINJA_MIXED)
        part.marks = string->marks + begin;
    return string_value(run, part);
}

void jinja_builder_init(struct jinja_builder *builder, struct jinja_run *run)
{
    *builder = (struct jinja_builder){.run = run};
}

static bool make_room(struct jinja_builder *builder, size_t more)
{
    size_t capacity = builder->capacity;
    size_t marks_capacity = builder->capacity;
    size_t needed;

    if (!checked_add(builder->size, more, &needed) || needed > (size_t)1 << 40) {
        jinja_fail(builder->run, LLM_E_RANGE, "the template's values grow too large");
        return false;
    }
    if (needed <= capacity)
        return true;
    if (needed < 64)
        needed = 64;
    if (!jinja_grow(builder->run, (void **)&builder->data, &capacity, needed, 1))
        return false;
    if (builder->marks &&
        !jinja_grow(builder->run, (void **)&builder->marks, &marks_capacity, needed, 1))
        return false;
    builder->capacity = capacity;
    return true;
}

/* Make the marks explicit when bytes of another kind come. */
static bool mark(struct jinja_builder *builder, enum jinja_trust trust)
{
    if (builder->size == 0 && !builder->marks) {
        builder->trust = trust;
        return trust != JINJA_MIXED;
    }
    if (builder->marks || builder->trust == trust)
        return true;
    builder->marks = jinja_alloc(builder->run, builder->capacity);
    if (!builder->marks)
        return false;
    memset(builder->marks, builder->trust == JINJA_INPUT, builder->size);
    return true;
}

void jinja_build(struct jinja_builder *builder, const char *data, size_t size,
                 enum jinja_trust trust)
{
    if (size == 0 || builder->run->status || !make_room(builder, size) || !mark(builder, trust))
        return;
    memcpy(builder->data + builder->size, data, size);
    if (builder->marks)
        memset(builder->marks + builder->size, trust == JINJA_INPUT, size);
    builder->size += size;
}

void jinja_build_z(struct jinja_builder *builder, const char *literal)
{
    jinja_build(builder, literal, strlen(literal), JINJA_TRUSTED);
}

void jinja_build_slice(struct jinja_builder *builder, const struct jinja_string *string,
                       size_t begin, size_t end)
{
    if (string->trust != JINJA_MIXED) {
        jinja_build(builder, string->data + begin, end - begin, string->trust);
        return;
    }
    while (begin < end) {
        size_t stop = begin + 1;

        while (stop < end && string->marks[stop] == string->marks[begin])
            stop++;
        jinja_build(builder, string->data + begin, stop - begin, jinja_trust_at(string, begin));
        begin = stop;
    }
}

void jinja_build_string(struct jinja_builder *builder, const struct jinja_string *string)
{
    jinja_build_slice(builder, string, 0, string->size);
}

struct jinja_value jinja_built(struct jinja_builder *builder)
{
    struct jinja_string string = {builder->data ? builder->data : "", builder->size, builder->marks,
                                  builder->trust};

    if (builder->marks)
        string.trust = JINJA_MIXED;
    return builder->run->status ? jinja_undefined(NULL) : string_value(builder->run, string);
}

size_t jinja_code_points(const struct jinja_string *string)
{
    size_t count = 0;

    for (size_t i = 0; i < string->size; i++)
        count += ((unsigned char)string->data[i] & 0xC0) != 0x80;
    return count;
}

size_t jinja_code_point_at(const struct jinja_string *string, size_t index)
{
    size_t position = 0;

    while (position < string->size) {
        if (((unsigned char)string->data[position] & 0xC0) != 0x80 && index-- == 0)
            break;
        position++;
    }
    return position;
}

bool jinja_is_text(struct jinja_value value, const char *literal)
{
    size_t size = strlen(literal);

    return value.type == JINJA_STRING && value.as.string->size == size &&
           memcmp(value.as.string->data, literal, size) == 0;
}

/* ---- lists and dicts ---------------------------------------------------------------------------
 */

struct jinja_value jinja_list_new(struct jinja_run *run, enum jinja_sequence kind, size_t capacity)
{
    struct jinja_list *list = jinja_alloc(run, sizeof *list);

    if (!list)
        return jinja_undefined(NULL);
    list->kind = kind;
    if (capacity &&
        !jinja_grow(run, (void **)&list->items, &list->capacity, capacity, sizeof *list->items))
        return jinja_undefined(NULL);
    return (struct jinja_value){.type = JINJA_LIST, .as.list = list};
}

bool jinja_list_add(struct jinja_run *run, struct jinja_value value, struct jinja_value item)
{
    struct jinja_list *list = value.as.list;

    if (run->status || !jinja_grow(run, (void **)&list->items, &list->capacity, list->count + 1,
                                   sizeof *list->items))
        return false;
    list->items[list->count++] = item;
    return true;
}

struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value pair = jinja_list_new(run, JINJA_SEQ_TUPLE, 2);

    if (!run->status && jinja_list_add(run, pair, a))
        jinja_list_add(run, pair, b);
    return pair;
}

struct jinja_value jinja_dict_new(struct jinja_run *run, size_t capacity)
{
    struct jinja_dict *dict = jinja_alloc(run, sizeof *dict);

    if (!dict || (capacity && !jinja_grow(run, (void **)&dict->entries, &dict->capacity, capacity,
                                          sizeof *dict->entries)))
        return jinja_undefined(NULL);
    return (struct jinja_value){.type = JINJA_DICT, .as.dict = dict};
}

/* Equal keys have equal hashes: 1, 1.0 and true are one key. */
static uint32_t key_hash(struct jinja_value key)
{
    uint32_t hash = 2166136261u;

    if (key.type != JINJA_STRING)
        return jinja_is_number(key) ? 2 : 1;
    for (size_t i = 0; i < key.as.string->size; i++)
        hash = (hash ^ (unsigned char)key.as.string->data[i]) * 16777619u;
    return hash;
}

static struct jinja_entry *find(struct jinja_run *run, const struct jinja_dict *dict,
                                struct jinja_value key, uint32_t hash)
{
    size_t length = key.type == JINJA_STRING ? key.as.string->size : 0;

    if (!jinja_charge(run, dict->count / 16 + length / 64))
        return NULL;
    for (size_t i = 0; i < dict->count; i++) {
        if (dict->entries[i].hash == hash && jinja_equal(run, dict->entries[i].key, key))
            return &dict->entries[i];
    }
    return NULL;
}

static bool check_key(struct jinja_run *run, struct jinja_value key)
{
    if (key.type == JINJA_DICT || (key.type == JINJA_LIST && key.as.list->kind == JINJA_SEQ_LIST)) {
        jinja_fail(run, LLM_E_FORMAT, "unhashable type: '%s'", jinja_type_name(key));
        return false;
    }
    return true;
}

bool jinja_dict_put(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value)
{
    uint32_t hash = key_hash(key);
    struct jinja_entry *entry = check_key(run, key) ? find(run, dict, key, hash) : NULL;

    if (run->status)
        return false;
    if (entry) {
        entry->value = value;
        return true;
    }
    if (!jinja_grow(run, (void **)&dict->entries, &dict->capacity, dict->count + 1,
                    sizeof *dict->entries))
        return false;
    dict->entries[dict->count++] = (struct jinja_entry){key, value, hash};
    return true;
}

struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *dict,
                                    struct jinja_value key)
{
    struct jinja_entry *entry = check_key(run, key) ? find(run, dict, key, key_hash(key)) : NULL;

    return entry ? &entry->value : NULL;
}

struct jinja_value *jinja_dict_find_z(struct jinja_run *run, const struct jinja_dict *dict,
                                      const char *key)
{
    struct jinja_string string = {key, strlen(key), NULL, JINJA_TRUSTED};
    struct jinja_value value = {.type = JINJA_STRING, .as.string = &string};

    return jinja_dict_find(run, dict, value);
}

struct jinja_value jinja_object_new(struct jinja_run *run, enum jinja_type type, uint32_t extra,
                                    struct jinja_value self)
{
    struct jinja_object *object = jinja_alloc(run, sizeof *object);

    if (!object)
        return jinja_undefined(NULL);
    object->self = self;
    return (struct jinja_value){.type = type, .extra = extra, .as.object = object};
}

/* ---- from JSON ---------------------------------------------------------------------------------
 */

static struct jinja_value copy_string(struct jinja_run *run, const char *data, size_t size,
                                      enum jinja_trust trust)
{
    char *copy = jinja_alloc(run, size + 1);

    if (!copy)
        return jinja_undefined(NULL);
    memcpy(copy, data, size);
    return jinja_string_of(run, copy, size, trust);
}

static struct jinja_value scalar(struct jinja_run *run, const json_t *json, enum jinja_trust trust)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return copy_string(run, json_string_value(json), json_string_length(json), trust);
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_TRUE:
        return jinja_bool(true);
    case JSON_FALSE:
        return jinja_bool(false);
    case JSON_ARRAY:
        return jinja_list_new(run, JINJA_SEQ_LIST, json_array_size(json));
    case JSON_OBJECT:
        return jinja_dict_new(run, json_object_size(json));
    default:
        return jinja_none();
    }
}

struct json_level {
    const json_t *json;
    struct jinja_value value;
    void *member;
    size_t index;
};

/* The next member of a level, copied into it; its JSON, or NULL at the end. */
static const json_t *copy_member(struct jinja_run *run, struct json_level *level,
                                 enum jinja_trust trust, struct jinja_value *out)
{
    const json_t *json;
    struct jinja_value key;

    if (json_is_array(level->json)) {
        json = json_array_get(level->json, level->index++);
        if (json) {
            *out = scalar(run, json, trust);
            jinja_list_add(run, level->value, *out);
        }
        return json;
    }
    if (!level->member)
        return NULL;
    json = json_object_iter_value(level->member);
    key = copy_string(run, json_object_iter_key(level->member),
                      json_object_iter_key_len(level->member), trust);
    *out = scalar(run, json, trust);
    if (!run->status) { /* keys are unique: the parser made sure */
        struct jinja_dict *dict = level->value.as.dict;

        dict->entries[dict->count++] = (struct jinja_entry){key, *out, key_hash(key)};
    }
    level->member = json_object_iter_next((json_t *)level->json, level->member);
    return json;
}

struct jinja_value jinja_from_json(struct jinja_run *run, const json_t *json,
                                   enum jinja_trust trust)
{
    struct json_level stack[JINJA_DEPTH];
    struct jinja_value whole = scalar(run, json, trust);
    struct jinja_value value = whole;
    int depth = 0;

    for (;;) {
        if (run->status)
            return jinja_undefined(NULL);
        if (json_is_array(json) || json_is_object(json)) {
            if (depth == JINJA_DEPTH)
                return jinja_fail(run, LLM_E_RANGE, "JSON nested deeper than %d levels",
                                  JINJA_DEPTH);
            stack[depth++] = (struct json_level){json, value, json_object_iter((json_t *)json), 0};
        }
        json = NULL;
        while (depth && !(json = copy_member(run, &stack[depth - 1], trust, &value)))
            depth--;
        if (!json)
            return whole;
    }
}
