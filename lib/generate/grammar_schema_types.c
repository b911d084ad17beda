/* SPDX-License-Identifier: MIT
 *
 * Strings, integers, arrays and objects of a JSON schema.
 */
#include "generate/grammar_schema.h"

#include "base/text.h"

#include <math.h>
#include <string.h>

static const struct fragment no_fragment = {-1, -1};

/* A count such as minItems; `*out` keeps its value when there is none. False after a failure. */
static bool read_count(struct schema_reader *reader, const json_t *schema, const char *key,
                       int64_t *out)
{
    const json_t *value = json_object_get(schema, key);

    if (!value)
        return true;
    if (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value) &&
        json_real_value(value) >= 0.0 && json_real_value(value) < 1e15)
        *out = (int64_t)json_real_value(value);
    else if (json_is_integer(value) && json_integer_value(value) >= 0)
        *out = json_integer_value(value);
    else
        (void)schema_fail(reader, LLM_E_FORMAT, key, "not a count");
    return !reader->builder->status;
}

/* ---- strings ----------------------------------------------------------------------------------
 */

/* Formats that are obeyed, each as a part of what the format allows. */
static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$|^[0-9]{4}-(0[13-9]|1[0-2])-(29|30)$"
             "|^[0-9]{4}-(0[13578]|1[02])-31$"},
    {"time", "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?"
             "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"},
    {"date-time", "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T"
                  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?"
                  "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4", "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}"
             "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$"},
    {"email", "^[a-z0-9][a-z0-9_+-]{0,31}(\\.[a-z0-9_+-]{1,32}){0,3}"
              "@[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?){1,4}$"}};

static struct fragment quoted(struct schema_reader *reader, const char *pattern)
{
    struct fragment all = schema_text(reader, "\"");

    all = build_then(reader->builder, all,
                     regex_build(reader->builder, pattern, strlen(pattern), SPELL_JSON, false));
    return build_then(reader->builder, all, schema_text(reader, "\""));
}

static struct fragment write_format(struct schema_reader *reader, const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats && name; i++) {
        if (strcmp(formats[i].name, name) == 0)
            return quoted(reader, formats[i].pattern);
    }
    return schema_fail(reader, LLM_E_UNSUPPORTED, "format", "the format is not supported");
}

struct fragment schema_string(struct schema_reader *reader, const json_t *schema)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const json_t *format = json_object_get(schema, "format");
    bool has_length = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength");
    struct fragment characters;
    int64_t min = 0;
    int64_t max = -1;
    int32_t begin;

    if ((pattern != NULL) + (format != NULL) + has_length > 1)
        return schema_fail(reader, LLM_E_UNSUPPORTED, pattern ? "pattern" : "format",
                           "together with another keyword about the same string");
    if (pattern && !json_is_string(pattern))
        return schema_fail(reader, LLM_E_FORMAT, "pattern", "not a string");
    if (pattern) {
        characters = quoted(reader, json_string_value(pattern));
        if (reader->builder->status)
            (void)status_prefix(reader->builder->status, "JSON schema, %s/pattern", reader->path);
        return characters;
    }
    if (format)
        return write_format(reader, json_string_value(format));
    if (!has_length)
        return schema_basic(reader, "json-string");
    if (!read_count(reader, schema, "minLength", &min) ||
        !read_count(reader, schema, "maxLength", &max))
        return no_fragment;
    if (max >= 0 && max < min)
        return schema_fail(reader, LLM_E_FORMAT, "maxLength", "less than minLength");
    begin = builder_here(reader->builder);
    characters = schema_basic(reader, "json-char");
    characters = build_repeat(reader->builder, characters, begin, min, max);
    characters = build_then(reader->builder, schema_text(reader, "\""), characters);
    return build_then(reader->builder, characters, schema_text(reader, "\""));
}

/* ---- integers ---------------------------------------------------------------------------------
 */

enum { MOST_DIGITS = 16 };

/* Numbers of as many digits as both ends have, from `low` to `high`: at each digit it matters
 * whether all digits so far are those of an end. */
static void add_digits(struct schema_reader *reader, struct fragment all, const char *low,
                       const char *high)
{
    struct builder *builder = reader->builder;
    int32_t at[2][2]; /* [is at the low end][is at the high end] */

    for (int i = 0; i < 4; i++)
        at[i / 2][i % 2] = -1;
    at[1][1] = all.first;
    for (size_t i = 0; low[i] && !builder->status; i++) {
        int32_t next[2][2];

        for (int j = 0; j < 4; j++)
            next[j / 2][j % 2] = low[i + 1] ? build_jump(builder) : all.last;
        for (int from = 0; from < 4 && !builder->status; from++) {
            int is_low = from / 2;
            int is_high = from % 2;
            char first = is_low ? low[i] : '0';
            char last = is_high ? high[i] : '9';

            for (char d = first; d <= last && at[is_low][is_high] >= 0; d++) {
                struct fragment digit = build_bytes(builder, (uint8_t)d, (uint8_t)d);

                build_way(builder, at[is_low][is_high], digit.first);
                build_way(builder, digit.last,
                          next[is_low && d == low[i]][is_high && d == high[i]]);
            }
        }
        memcpy(at, next, sizeof at);
    }
}

/* 0 <= low <= high: numbers without leading zeros. */
static struct fragment build_range(struct schema_reader *reader, int64_t low, int64_t high)
{
    struct fragment all = {build_jump(reader->builder), build_jump(reader->builder)};
    int64_t least = 0; /* of `digits` digits */
    int64_t most = 9;

    for (int digits = 1; digits <= MOST_DIGITS && !reader->builder->status; digits++) {
        int64_t from = low > least ? low : least;
        int64_t to = high < most ? high : most;
        char first[24], last[24];
        struct fragment part = all;

        if (from <= to) {
            part.first = build_jump(reader->builder);
            (void)snprintf(first, sizeof first, "%lld", (long long)from);
            (void)snprintf(last, sizeof last, "%lld", (long long)to);
            build_way(reader->builder, all.first, part.first);
            add_digits(reader, part, first, last);
        }
        least = most + 1;
        most = 10 * most + 9;
    }
    return all;
}

/* One bound as an integer inside it; `up`: a lower bound. */
static bool read_bound(struct schema_reader *reader, const json_t *schema, const char *key, bool up,
                       bool is_exclusive, int64_t *bound)
{
    const json_t *value = json_object_get(schema, key);
    double real = json_number_value(value);
    int64_t inside;

    if (!value)
        return true;
    if (!json_is_number(value) || fabs(real) > 1e15) {
        (void)schema_fail(reader, json_is_number(value) ? LLM_E_UNSUPPORTED : LLM_E_FORMAT, key,
                          json_is_number(value) ? "bounds beyond 1e15 are not supported"
                                                : "not a number");
        return false;
    }
    inside = (int64_t)(up ? ceil(real) : floor(real));
    if (is_exclusive && (double)inside == real)
        inside += up ? 1 : -1;
    if (up ? inside > *bound : inside < *bound)
        *bound = inside;
    return true;
}

struct fragment schema_integer(struct schema_reader *reader, const json_t *schema)
{
    const int64_t most = INT64_C(9999999999999999);
    struct builder *builder = reader->builder;
    struct fragment all;
    struct fragment part;
    int64_t low = -most;
    int64_t high = most;

    if (!read_bound(reader, schema, "minimum", true, false, &low) ||
        !read_bound(reader, schema, "exclusiveMinimum", true, true, &low) ||
        !read_bound(reader, schema, "maximum", false, false, &high) ||
        !read_bound(reader, schema, "exclusiveMaximum", false, true, &high))
        return no_fragment;
    if (low == -most && high == most)
        return schema_basic(reader, "json-integer");
    all = (struct fragment){build_jump(builder), build_jump(builder)};
    if (low < 0 && low <= high) {
        part = build_then(builder, schema_text(reader, "-"),
                          build_range(reader, high < 0 ? -high : 1, -low));
        build_way(builder, all.first, part.first);
        build_way(builder, part.last, all.last);
    }
    if (high >= 0 && low <= high) {
        part = build_range(reader, low > 0 ? low : 0, high);
        build_way(builder, all.first, part.first);
        build_way(builder, part.last, all.last);
    }
    return all;
}

/* ---- arrays -----------------------------------------------------------------------------------
 */

/* An item, behind a comma unless it is the first one. */
static struct fragment write_item(struct schema_reader *reader, const json_t *schema,
                                  const char *key, bool is_first)
{
    struct fragment item =
        schema ? schema_call(reader, schema, key) : schema_basic(reader, "json-value");

    item = build_then(reader->builder, item, schema_basic(reader, "json-ws"));
    if (is_first)
        return item;
    return build_then(
        reader->builder,
        build_then(reader->builder, schema_text(reader, ","), schema_basic(reader, "json-ws")),
        item);
}

struct array_shape {
    const json_t *prefix, *items; /* items NULL: any */
    int64_t min, max;             /* max -1: none */
};

static bool read_array(struct schema_reader *reader, const json_t *schema,
                       struct array_shape *shape)
{
    const json_t *unique = json_object_get(schema, "uniqueItems");

    *shape = (struct array_shape){.max = -1};
    shape->prefix = json_object_get(schema, "prefixItems");
    shape->items = json_object_get(schema, "items");
    if (unique && !json_is_false(unique))
        (void)schema_fail(reader, LLM_E_UNSUPPORTED, "uniqueItems", "it is not supported");
    if (shape->prefix && !json_is_array(shape->prefix))
        (void)schema_fail(reader, LLM_E_FORMAT, "prefixItems", "not an array");
    if (json_is_array(shape->items))
        (void)schema_fail(reader, LLM_E_UNSUPPORTED, "items",
                          "a list of schemas is not supported, prefixItems is");
    if (!read_count(reader, schema, "minItems", &shape->min) ||
        !read_count(reader, schema, "maxItems", &shape->max))
        return false;
    if (shape->max >= 0 && shape->max < shape->min)
        (void)schema_fail(reader, LLM_E_FORMAT, "maxItems", "less than minItems");
    if (json_is_false(shape->items) &&
        (shape->max < 0 || shape->max > (int64_t)json_array_size(shape->prefix)))
        shape->max = (int64_t)json_array_size(shape->prefix);
    return !reader->builder->status;
}

/* What follows the items so far may be the end. */
static void may_end(struct schema_reader *reader, const struct array_shape *shape, int64_t count,
                    int32_t at, int32_t end)
{
    if (count >= shape->min)
        build_way(reader->builder, at, end);
}

struct fragment schema_array(struct schema_reader *reader, const json_t *schema)
{
    struct builder *builder = reader->builder;
    struct array_shape shape;
    struct fragment all;
    int64_t count = 0;
    int64_t prefix;
    int32_t at;
    int32_t end;

    if (!read_array(reader, schema, &shape))
        return no_fragment;
    prefix = (int64_t)json_array_size(shape.prefix);
    all = build_then(builder, schema_text(reader, "["), schema_basic(reader, "json-ws"));
    at = all.last;
    end = build_jump(builder);
    while (!builder->status && (shape.max < 0 || count < shape.max)) {
        bool is_rest = count >= prefix;
        char key[48] = "items";
        struct fragment item;

        may_end(reader, &shape, count, at, end);
        if (!is_rest)
            (void)snprintf(key, sizeof key, "prefixItems/%lld", (long long)count);
        item =
            write_item(reader, is_rest ? shape.items : json_array_get(shape.prefix, (size_t)count),
                       key, count == 0);
        build_way(builder, at, item.first);
        at = item.last;
        if (is_rest && shape.max < 0 && count > 0 && count + 1 >= shape.min) {
            may_end(reader, &shape, count + 1, at, end);
            build_way(builder, at, item.first); /* and so on */
            break;
        }
        count++;
    }
    if (shape.max >= 0)
        may_end(reader, &shape, count, at, end);
    return build_then(builder, (struct fragment){all.first, end}, schema_text(reader, "]"));
}

/* ---- objects ----------------------------------------------------------------------------------
 */

static int32_t rest_of_name(struct schema_reader *reader, int32_t end)
{
    struct builder *builder = reader->builder;
    int32_t begin = builder_here(builder);
    struct character_range all = {0, CHARACTER_MOST};
    const struct character_set any = {&all, 1, 1};
    struct fragment rest = build_set(builder, &any, SPELL_JSON);

    rest = build_repeat(builder, rest, begin, 0, -1);
    rest = build_then(builder, rest, schema_text(reader, "\""));
    build_way(builder, rest.last, end);
    return rest.first;
}

/* A place in the tree: which characters lead on, and whether a name ends here. */
struct tree_place {
    struct character_set known; /* as they were added: parallel to next */
    int32_t *next;
    size_t next_capacity;
    int32_t node;
    bool is_name;
};

struct tree {
    struct tree_place *places;
    size_t count, capacity;
};

static size_t add_place(struct builder *builder, struct tree *tree)
{
    llm_status status = memory_grow(builder->memory, (void **)&tree->places, &tree->capacity,
                                    tree->count + 1, sizeof *tree->places);

    if (status) {
        builder_fail(builder, status);
        return 0;
    }
    tree->places[tree->count] = (struct tree_place){.node = build_jump(builder)};
    return tree->count++;
}

static size_t follow(struct builder *builder, struct tree *tree, size_t at, uint32_t character)
{
    size_t known = tree->places[at].known.count;
    struct tree_place *place;
    llm_status status;
    size_t next;

    for (size_t i = 0; i < known; i++) {
        if (tree->places[at].known.ranges[i].low == character)
            return (size_t)tree->places[at].next[i];
    }
    next = add_place(builder, tree);
    place = &tree->places[at];
    status = memory_grow(builder->memory, (void **)&place->next, &place->next_capacity, known + 1,
                         sizeof *place->next);
    if (status)
        builder_fail(builder, status);
    set_add(builder, &place->known, character, character);
    if (!builder->status)
        place->next[known] = (int32_t)next;
    return builder->status ? 0 : next;
}

static void write_place(struct schema_reader *reader, struct tree *tree, size_t at, int32_t rest,
                        int32_t end)
{
    struct builder *builder = reader->builder;
    struct tree_place *place = &tree->places[at];
    struct fragment one;

    for (size_t i = 0; i < place->known.count && !builder->status; i++) {
        one = build_character(builder, place->known.ranges[i].low, SPELL_JSON);
        build_way(builder, place->node, one.first);
        build_way(builder, one.last, tree->places[place->next[i]].node);
    }
    set_finish(builder, &place->known, true);
    one = build_set(builder, &place->known, SPELL_JSON);
    build_way(builder, place->node, one.first);
    build_way(builder, one.last, rest);
    if (!place->is_name) {
        one = schema_text(reader, "\"");
        build_way(builder, place->node, one.first);
        build_way(builder, one.last, end);
    }
}

/* A name in quotes that is none of the properties. */
static struct fragment build_other_name(struct schema_reader *reader, const json_t *properties)
{
    struct builder *builder = reader->builder;
    struct fragment all = schema_text(reader, "\"");
    int32_t end = build_jump(builder);
    int32_t rest = rest_of_name(reader, end);
    struct tree tree = {NULL, 0, 0};
    const char *key;
    json_t *value;

    (void)add_place(builder, &tree);
    json_object_foreach((json_t *)properties, key, value)
    {
        const unsigned char *cursor = (const unsigned char *)key;
        const unsigned char *stop = cursor + strlen(key);
        size_t at = 0;
        bool valid;

        while (cursor < stop && !builder->status)
            at = follow(builder, &tree, at, utf8_next(&cursor, stop, &valid));
        if (!builder->status)
            tree.places[at].is_name = true;
    }
    for (size_t i = 0; i < tree.count && !builder->status; i++)
        write_place(reader, &tree, i, rest, end);
    if (!builder->status)
        build_way(builder, all.last, tree.places[0].node);
    for (size_t i = 0; i < tree.count; i++) {
        set_free(builder, &tree.places[i].known);
        memory_release(builder->memory, tree.places[i].next);
    }
    memory_release(builder->memory, tree.places);
    return (struct fragment){all.first, end};
}

/* ": value", behind a name. */
static struct fragment write_value(struct schema_reader *reader, struct fragment name,
                                   const json_t *schema, const char *key)
{
    struct builder *builder = reader->builder;
    struct fragment all = build_then(builder, name, schema_basic(reader, "json-ws"));

    all = build_then(builder, all, schema_text(reader, ":"));
    all = build_then(builder, all, schema_basic(reader, "json-ws"));
    all = build_then(builder, all,
                     json_is_true(schema) ? schema_basic(reader, "json-value")
                                          : schema_call(reader, schema, key));
    return build_then(builder, all, schema_basic(reader, "json-ws"));
}

static struct fragment write_property(struct schema_reader *reader, const char *name,
                                      const json_t *schema)
{
    struct fragment text = schema_text(reader, "\"");
    const unsigned char *cursor = (const unsigned char *)name;
    const unsigned char *stop = cursor + strlen(name);
    char key[120];
    bool valid;

    while (cursor < stop && !reader->builder->status)
        text = build_then(
            reader->builder, text,
            build_character(reader->builder, utf8_next(&cursor, stop, &valid), SPELL_JSON));
    text = build_then(reader->builder, text, schema_text(reader, "\""));
    (void)snprintf(key, sizeof key, "properties/%.100s", name);
    return write_value(reader, text, schema, key);
}

static bool is_required(const json_t *required, const char *name)
{
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *text = json_string_value(json_array_get(required, i));

        if (text && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

/* Where an object stands between members: nothing was written yet, or a comma comes first. */
struct members {
    int32_t none, some;
};

static void add_member(struct schema_reader *reader, struct members *at, struct fragment member,
                       struct members next)
{
    struct fragment comma =
        build_then(reader->builder, schema_text(reader, ","), schema_basic(reader, "json-ws"));

    if (at->none >= 0)
        build_way(reader->builder, at->none, member.first);
    build_way(reader->builder, at->some, comma.first);
    build_way(reader->builder, comma.last, member.first);
    build_way(reader->builder, member.last, next.some);
}

static struct members add_properties(struct schema_reader *reader, struct members at,
                                     const json_t *properties, const json_t *required)
{
    struct builder *builder = reader->builder;
    const char *name;
    json_t *schema;

    json_object_foreach((json_t *)properties, name, schema)
    {
        bool is_needed = is_required(required, name);
        struct members next = {is_needed ? -1 : build_jump(builder), build_jump(builder)};

        if (builder->status)
            break;
        add_member(reader, &at, write_property(reader, name, schema), next);
        if (!is_needed) {
            if (at.none >= 0)
                build_way(builder, at.none, next.none);
            build_way(builder, at.some, next.some);
        }
        at = next;
    }
    return at;
}

static bool check_object(struct schema_reader *reader, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");

    if (properties && !json_is_object(properties))
        (void)schema_fail(reader, LLM_E_FORMAT, "properties", "not an object");
    if (required && !json_is_array(required))
        (void)schema_fail(reader, LLM_E_FORMAT, "required", "not an array");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));

        if (!name)
            (void)schema_fail(reader, LLM_E_FORMAT, "required", "not an array of strings");
        else if (!json_object_get(properties, name))
            (void)schema_fail(reader, LLM_E_UNSUPPORTED, "required",
                              "a name that is not among the properties is not supported");
    }
    return !reader->builder->status;
}

struct fragment schema_object(struct schema_reader *reader, const json_t *schema)
{
    struct builder *builder = reader->builder;
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *more = json_object_get(schema, "additionalProperties");
    struct fragment all;
    struct members at;
    int32_t end;

    if (!check_object(reader, schema))
        return no_fragment;
    if (!json_object_size(properties) && (!more || json_is_true(more)))
        return schema_basic(reader, "json-object");
    all = build_then(builder, schema_text(reader, "{"), schema_basic(reader, "json-ws"));
    at = (struct members){all.last, build_jump(builder)};
    at = add_properties(reader, at, properties, json_object_get(schema, "required"));
    if (!json_is_false(more) && !builder->status) {
        struct fragment name = build_other_name(reader, properties);
        json_t *any = json_true();

        add_member(reader, &at,
                   write_value(reader, name, more ? more : any, "additionalProperties"), at);
    }
    end = build_jump(builder);
    if (at.none >= 0)
        build_way(builder, at.none, end);
    build_way(builder, at.some, end);
    return build_then(builder, (struct fragment){all.first, end}, schema_text(reader, "}"));
}
