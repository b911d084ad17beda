/* SPDX-License-Identifier: MIT
 *
 * Filters on sequences and mappings.
 */
#include "chat/jinja_builtins.h"

#include <string.h>

#define FILTER(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)

/* x.a.b or x[0] for the attribute "a.b" or 0; `otherwise`, if given, wherever there is nothing. */
static struct jinja_value get_path(struct jinja_run *run, struct jinja_value value,
                                   struct jinja_value path, struct jinja_value otherwise)
{
    const struct jinja_string *s;
    size_t begin = 0;

    if (path.type == JINJA_INT) {
        value = jinja_item(run, value, path);
        return value.type == JINJA_UNDEFINED && jinja_given(otherwise) ? otherwise : value;
    }
    s = jinja_string_argument(run, path);
    while (s && !run->status) {
        struct jinja_string dot = {".", 1, NULL, JINJA_TRUSTED};
        size_t end = jinja_find_bytes(s, &dot, begin);
        struct jinja_value key = jinja_slice_of(run, s, begin, end == SIZE_MAX ? s->size : end);
        int64_t index;

        if (run->status)
            break;
        if (text_parse_i64(key.as.string->data, key.as.string->size, &index) && index >= 0)
            key = jinja_int(index);
        value = jinja_item(run, value, key);
        if (value.type == JINJA_UNDEFINED && jinja_given(otherwise))
            value = otherwise;
        if (end == SIZE_MAX)
            break;
        begin = end + 1;
    }
    return value;
}

static const struct jinja_value missing = {.type = JINJA_MISSING};

/* What items are compared by: an attribute, without case unless asked for. */
static struct jinja_value sort_key(struct jinja_run *run, struct jinja_value item,
                                   struct jinja_value attribute, bool case_sensitive)
{
    if (jinja_given(attribute) && attribute.type != JINJA_NONE)
        item = get_path(run, item, attribute, missing);
    if (item.type == JINJA_STRING && !case_sensitive && !run->status)
        item = jinja_change_case(run, item.as.string, JINJA_LOWER);
    return item;
}

/* ---- one item ---- */

FILTER(filter_first)
{
    struct jinja_value items;

    (void)argv, (void)args;
    if (self.type == JINJA_LIST && self.as.list->kind == JINJA_SEQ_GENERATOR) {
        struct jinja_list *list = self.as.list;

        return list->start < list->count ? list->items[list->start++]
                                         : jinja_undefined("the first item");
    }
    items = jinja_walk(run, self);
    if (run->status || items.as.list->count == 0)
        return jinja_undefined("the first item");
    return items.as.list->items[0];
}

FILTER(filter_last)
{
    struct jinja_value items;

    (void)argv, (void)args;
    if (self.type == JINJA_LIST && self.as.list->kind == JINJA_SEQ_GENERATOR)
        return jinja_fail(run, LLM_E_FORMAT, "'generator' object is not reversible");
    items = jinja_walk(run, self);
    if (run->status || items.as.list->count == 0)
        return jinja_undefined("the last item");
    return items.as.list->items[items.as.list->count - 1];
}

FILTER(filter_length)
{
    (void)argv, (void)args;
    return jinja_length(run, self);
}

/* ---- whole sequences ---- */

static struct jinja_value copy(struct jinja_run *run, struct jinja_value self,
                               enum jinja_sequence kind)
{
    struct jinja_value items = jinja_walk(run, self);
    struct jinja_value list;

    if (run->status)
        return items;
    list = jinja_list_new(run, kind, items.as.list->count);
    for (size_t i = 0; i < items.as.list->count && !run->status; i++)
        jinja_list_add(run, list, items.as.list->items[i]);
    return list;
}

FILTER(filter_list)
{
    (void)argv, (void)args;
    return copy(run, self, JINJA_SEQ_LIST);
}

FILTER(filter_reverse)
{
    struct jinja_value list;
    struct jinja_builder builder;
    bool is_text = self.type == JINJA_STRING;

    (void)argv, (void)args;
    list = copy(run, self, JINJA_SEQ_GENERATOR);
    for (size_t i = 0; !run->status && i < list.as.list->count / 2; i++) {
        struct jinja_value *items = list.as.list->items;
        struct jinja_value other = items[i];

        items[i] = items[list.as.list->count - 1 - i];
        items[list.as.list->count - 1 - i] = other;
    }
    if (!is_text || run->status)
        return list;
    jinja_builder_init(&builder, run);
    for (size_t i = 0; i < list.as.list->count; i++)
        jinja_build_string(&builder, list.as.list->items[i].as.string);
    return jinja_built(&builder);
}

FILTER(filter_join)
{
    struct jinja_value items = jinja_walk(run, self);
    struct jinja_builder builder;

    (void)args;
    jinja_builder_init(&builder, run);
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        struct jinja_value item = items.as.list->items[i];

        if (jinja_given(argv[1]) && argv[1].type != JINJA_NONE)
            item = get_path(run, item, argv[1], missing);
        if (i && jinja_given(argv[0]))
            jinja_build_str(&builder, argv[0]);
        jinja_build_str(&builder, item);
    }
    return jinja_built(&builder);
}

/* Stable merge sort of `count` keys and the items that go with them. */
static void merge_sort(struct jinja_run *run, struct jinja_value *keys, struct jinja_value *items,
                       size_t count, bool reverse)
{
    struct jinja_value *spare = jinja_alloc(run, 2 * count * sizeof *spare + 1);

    for (size_t width = 1; width < count && !run->status; width *= 2) {
        for (size_t begin = 0; begin < count && !run->status; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = begin + 2 * width < count ? begin + 2 * width : count;
            size_t a = begin;
            size_t b = middle;

            for (size_t to = begin; to < end; to++) {
                bool right = a == middle;

                if (!right && b < end) {
                    int order = jinja_order(run, keys[b], keys[a], "<");

                    right = reverse ? order > 0 : order < 0;
                }
                spare[2 * to] = keys[right ? b : a];
                spare[2 * to + 1] = items[right ? b : a];
                b += right;
                a += !right;
            }
        }
        for (size_t i = 0; i < count; i++) {
            keys[i] = spare[2 * i];
            items[i] = spare[2 * i + 1];
        }
    }
}

static struct jinja_value sorted(struct jinja_run *run, struct jinja_value self, bool reverse,
                                 bool case_sensitive, struct jinja_value attribute)
{
    struct jinja_value list = copy(run, self, JINJA_SEQ_LIST);
    struct jinja_value *keys;
    size_t count;

    if (run->status)
        return list;
    count = list.as.list->count;
    keys = jinja_alloc(run, count * sizeof *keys + 1);
    for (size_t i = 0; keys && i < count && !run->status; i++)
        keys[i] = sort_key(run, list.as.list->items[i], attribute, case_sensitive);
    if (!run->status)
        merge_sort(run, keys, list.as.list->items, count, reverse);
    return list;
}

FILTER(filter_sort)
{
    (void)args;
    return sorted(run, self, jinja_bool_argument(argv[0], false),
                  jinja_bool_argument(argv[1], false), argv[2]);
}

FILTER(filter_unique)
{
    struct jinja_value items = jinja_walk(run, self);
    struct jinja_value seen = jinja_dict_new(run, 0);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);
    bool case_sensitive = jinja_bool_argument(argv[0], false);

    (void)args;
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        struct jinja_value key = sort_key(run, items.as.list->items[i], argv[1], case_sensitive);

        if (!run->status && !jinja_dict_find(run, seen.as.dict, key)) {
            jinja_dict_put(run, seen.as.dict, key, jinja_none());
            jinja_list_add(run, list, items.as.list->items[i]);
        }
    }
    return list;
}

static struct jinja_value extreme(struct jinja_run *run, struct jinja_value self,
                                  const struct jinja_value *argv, int sign)
{
    struct jinja_value items = jinja_walk(run, self);
    bool case_sensitive = jinja_bool_argument(argv[0], false);
    struct jinja_value best_key = jinja_none();
    struct jinja_value best = jinja_undefined("the aggregated item of an empty sequence");

    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        struct jinja_value key = sort_key(run, items.as.list->items[i], argv[1], case_sensitive);

        if (run->status)
            break;
        if (i == 0 || jinja_order(run, key, best_key, "<") * sign > 0) {
            best = items.as.list->items[i];
            best_key = key;
        }
    }
    return best;
}

FILTER(filter_min)
{
    (void)args;
    return extreme(run, self, argv, -1);
}

FILTER(filter_max)
{
    (void)args;
    return extreme(run, self, argv, 1);
}

FILTER(filter_sum)
{
    struct jinja_value items = jinja_walk(run, self);
    struct jinja_value sum = jinja_given(argv[1]) ? argv[1] : jinja_int(0);

    (void)args;
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        struct jinja_value item = items.as.list->items[i];

        if (jinja_given(argv[0]) && argv[0].type != JINJA_NONE)
            item = get_path(run, item, argv[0], missing);
        sum = jinja_binary(run, JINJA_OP_ADD, sum, item);
    }
    return sum;
}

FILTER(filter_batch)
{
    struct jinja_value items = jinja_walk(run, self);
    int64_t size = jinja_int_argument(run, argv[0], 1);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);
    struct jinja_value row = jinja_none();

    (void)args;
    if (size < 1 || run->status)
        return jinja_fail(run, LLM_E_FORMAT, "batch: the size is less than 1");
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        if (i % (size_t)size == 0) {
            row = jinja_list_new(run, JINJA_SEQ_LIST, 0);
            jinja_list_add(run, list, row);
        }
        if (!run->status)
            jinja_list_add(run, row, items.as.list->items[i]);
    }
    if (!run->status && row.type == JINJA_LIST && jinja_given(argv[1]) &&
        argv[1].type != JINJA_NONE) {
        while (!run->status && row.as.list->count < (size_t)size)
            jinja_list_add(run, row, argv[1]);
    }
    return list;
}

/* Into `slices` columns of nearly equal length. */
FILTER(filter_slice)
{
    struct jinja_value items = jinja_walk(run, self);
    int64_t slices = jinja_int_argument(run, argv[0], 1);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);
    size_t at = 0;

    (void)args;
    if (slices < 1 || slices > JINJA_RANGE_MAX || run->status)
        return jinja_fail(run, LLM_E_FORMAT, "slice: the number is outside 1..%d", JINJA_RANGE_MAX);
    for (size_t i = 0; i < (size_t)slices && !run->status; i++) {
        size_t count = items.as.list->count / (size_t)slices;
        size_t extra = items.as.list->count % (size_t)slices;
        struct jinja_value row = jinja_list_new(run, JINJA_SEQ_LIST, 0);

        jinja_list_add(run, list, row);
        for (size_t k = 0; k < count + (i < extra) && !run->status; k++)
            jinja_list_add(run, row, items.as.list->items[at++]);
        if (!run->status && i >= extra && jinja_given(argv[1]) && argv[1].type != JINJA_NONE)
            jinja_list_add(run, row, argv[1]);
    }
    return list;
}

/* ---- mappings ---- */

FILTER(filter_items)
{
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);

    (void)argv, (void)args;
    if (self.type != JINJA_DICT && self.type != JINJA_UNDEFINED)
        return jinja_fail(run, LLM_E_FORMAT, "Can only get item pairs from a mapping.");
    for (size_t i = 0; self.type == JINJA_DICT && i < self.as.dict->count && !run->status; i++)
        jinja_list_add(
            run, list,
            jinja_pair(run, self.as.dict->entries[i].key, self.as.dict->entries[i].value));
    return list;
}

FILTER(filter_dictsort)
{
    bool by_value = jinja_given(argv[1]) && jinja_is_text(argv[1], "value");
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_LIST, 0);

    (void)args;
    if (self.type != JINJA_DICT)
        return jinja_fail(run, LLM_E_FORMAT, "'%s' object has no attribute 'items'",
                          jinja_type_name(self));
    if (jinja_given(argv[1]) && !by_value && !jinja_is_text(argv[1], "key"))
        return jinja_fail(run, LLM_E_FORMAT, "You can only sort by either \"key\" or \"value\"");
    for (size_t i = 0; i < self.as.dict->count && !run->status; i++)
        jinja_list_add(
            run, list,
            jinja_pair(run, self.as.dict->entries[i].key, self.as.dict->entries[i].value));
    return run->status ? list
                       : sorted(run, list, jinja_bool_argument(argv[2], false),
                                jinja_bool_argument(argv[0], false), jinja_int(by_value));
}

FILTER(filter_groupby)
{
    struct jinja_value items =
        sorted(run, self, false, jinja_bool_argument(argv[2], false), argv[0]);
    struct jinja_value groups = jinja_list_new(run, JINJA_SEQ_LIST, 0);
    struct jinja_value last = jinja_none();
    struct jinja_value group = jinja_none();

    (void)args;
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        struct jinja_value item = items.as.list->items[i];
        struct jinja_value key = sort_key(run, item, argv[0], jinja_bool_argument(argv[2], false));

        if (run->status)
            break;
        if (i == 0 || !jinja_equal(run, key, last)) {
            struct jinja_value shown = get_path(run, item, argv[0], missing);

            if (shown.type == JINJA_UNDEFINED && jinja_given(argv[1]))
                shown = argv[1];
            group = jinja_list_new(run, JINJA_SEQ_LIST, 0);
            jinja_list_add(run, groups, jinja_pair(run, shown, group));
            last = key;
        }
        if (!run->status)
            jinja_list_add(run, group, item);
    }
    return groups;
}

/* ---- map, select, reject ---- */

static const struct jinja_value *named(const struct jinja_arguments *args, const char *name)
{
    for (size_t i = 0; i < args->keywords; i++) {
        if (args->names[i]->size == strlen(name) &&
            memcmp(args->names[i]->data, name, args->names[i]->size) == 0)
            return &args->values[args->positional + i];
    }
    return NULL;
}

/* What is false (none, for one) is as good as empty. */
static struct jinja_value walk_if_true(struct jinja_run *run, struct jinja_value value)
{
    return jinja_true(value) ? jinja_walk(run, value) : jinja_list_new(run, JINJA_SEQ_LIST, 0);
}

/* map(attribute="x", default=y) or map("filter", arguments...) */
FILTER(filter_map)
{
    const struct jinja_value *attribute = named(args, "attribute");
    const struct jinja_value *otherwise = named(args, "default");
    struct jinja_value items = walk_if_true(run, self);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);
    struct jinja_arguments rest = *args;
    const struct jinja_string *name = NULL;
    int32_t filter = -1;

    (void)argv;
    if (!attribute) {
        if (args->positional == 0)
            return jinja_fail(run, LLM_E_FORMAT, "map requires a filter argument");
        name = jinja_string_argument(run, args->values[0]);
        if (name)
            filter = jinja_find_filter(name->data, name->size);
        rest.values++;
        rest.positional--;
    }
    for (size_t i = 0; !run->status && i < items.as.list->count && jinja_charge(run, 1); i++) {
        struct jinja_value item = items.as.list->items[i];

        if (attribute) {
            item = get_path(run, item, *attribute, otherwise ? *otherwise : missing);
        } else {
            item = jinja_call_filter(run, filter, name, item, &rest);
        }
        jinja_list_add(run, list, item);
    }
    return list;
}

/* select(test, ...), selectattr(attribute, test, ...) and their opposites. */
static struct jinja_value choose(struct jinja_run *run, struct jinja_value self,
                                 const struct jinja_arguments *args, bool by_attribute, bool keep)
{
    struct jinja_value items = walk_if_true(run, self);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_GENERATOR, 0);
    struct jinja_arguments rest = *args;
    const struct jinja_string *name = NULL;
    int32_t test = -1;

    if (by_attribute) {
        if (args->positional == 0)
            return jinja_fail(run, LLM_E_FORMAT, "Missing parameter for attribute name");
        rest.values++;
        rest.positional--;
    }
    if (rest.positional) {
        name = jinja_string_argument(run, rest.values[0]);
        if (name)
            test = jinja_find_test(name->data, name->size);
        rest.values++;
        rest.positional--;
    }
    for (size_t i = 0; !run->status && i < items.as.list->count && jinja_charge(run, 1); i++) {
        struct jinja_value item = items.as.list->items[i];
        bool passed;

        if (by_attribute)
            item = get_path(run, item, args->values[0], missing);
        passed = name ? jinja_call_test(run, test, name, item, &rest) : jinja_true(item);
        if (passed == keep)
            jinja_list_add(run, list, items.as.list->items[i]);
    }
    return list;
}

FILTER(filter_select)
{
    (void)argv;
    return choose(run, self, args, false, true);
}

FILTER(filter_reject)
{
    (void)argv;
    return choose(run, self, args, false, false);
}

FILTER(filter_selectattr)
{
    (void)argv;
    return choose(run, self, args, true, true);
}

FILTER(filter_rejectattr)
{
    (void)argv;
    return choose(run, self, args, true, false);
}

const struct jinja_builtin jinja_sequence_filters[] = {
    {"first", "", filter_first},
    {"last", "", filter_last},
    {"length", "", filter_length},
    {"count", "", filter_length},
    {"list", "", filter_list},
    {"reverse", "", filter_reverse},
    {"join", "d=,attribute=", filter_join},
    {"sort", "reverse=,case_sensitive=,attribute=", filter_sort},
    {"unique", "case_sensitive=,attribute=", filter_unique},
    {"min", "case_sensitive=,attribute=", filter_min},
    {"max", "case_sensitive=,attribute=", filter_max},
    {"sum", "attribute=,start=", filter_sum},
    {"batch", "linecount,fill_with=", filter_batch},
    {"slice", "slices,fill_with=", filter_slice},
    {"items", "", filter_items},
    {"dictsort", "case_sensitive=,by=,reverse=", filter_dictsort},
    {"groupby", "attribute,default=,case_sensitive=", filter_groupby},
    {"map", "*", filter_map},
    {"select", "*", filter_select},
    {"reject", "*", filter_reject},
    {"selectattr", "*", filter_selectattr},
    {"rejectattr", "*", filter_rejectattr},
    {NULL, NULL, NULL},
};
