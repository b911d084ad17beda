/* SPDX-License-Identifier: MIT
 *
 * Finding what is built in and matching arguments with parameters; methods of lists and dicts;
 * global functions.
 */
#include "chat/jinja_builtins.h"

#include <string.h>

/* ---- finding -----------------------------------------------------------------------------------
 */

static int32_t find_in(const struct jinja_builtin *table, const char *name, size_t size)
{
    for (int32_t i = 0; table[i].name; i++) {
        if (strlen(table[i].name) == size && memcmp(table[i].name, name, size) == 0)
            return i;
    }
    return -1;
}

/* Filters lie in three tables; the index says which. */
enum { TABLE_STEP = 1000 };

static const struct jinja_builtin *const filter_tables[] = {
    jinja_string_filters, jinja_sequence_filters, jinja_value_filters};

int32_t jinja_find_filter(const char *name, size_t size)
{
    for (int32_t t = 0; t < 3; t++) {
        int32_t found = find_in(filter_tables[t], name, size);

        if (found >= 0)
            return t * TABLE_STEP + found;
    }
    return -1;
}

int32_t jinja_find_test(const char *name, size_t size)
{
    return find_in(jinja_tests, name, size);
}

int32_t jinja_find_function(const char *name, size_t size)
{
    return find_in(jinja_functions, name, size);
}

/* The table names the type first: d.get is of dicts, s of sequences, l of loops, c of cyclers. */
int32_t jinja_find_method(struct jinja_value self, const char *name, size_t size)
{
    char text[32];

    if (size + 2 > sizeof text)
        return -1;
    if (self.type == JINJA_STRING)
        return find_in(jinja_string_methods, name, size);
    text[0] = self.type == JINJA_DICT                                            ? 'd'
              : self.type == JINJA_LOOP                                          ? 'l'
              : self.type == JINJA_CYCLER                                        ? 'c'
              : self.type == JINJA_LIST && self.as.list->kind <= JINJA_SEQ_TUPLE ? 's'
                                                                                 : '?';
    text[1] = '.';
    memcpy(text + 2, name, size);
    return find_in(jinja_container_methods, text, size + 2);
}

/* ---- arguments ---------------------------------------------------------------------------------
 */

int64_t jinja_int_argument(struct jinja_run *run, struct jinja_value value, int64_t otherwise)
{
    if (!jinja_given(value))
        return otherwise;
    if (value.type == JINJA_INT || value.type == JINJA_BOOL)
        return jinja_as_int(value);
    if (value.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, value);
    else
        jinja_fail(run, LLM_E_FORMAT, "'%s' object cannot be interpreted as an integer",
                   jinja_type_name(value));
    return otherwise;
}

bool jinja_bool_argument(struct jinja_value value, bool otherwise)
{
    return jinja_given(value) ? jinja_true(value) : otherwise;
}

const struct jinja_string *jinja_string_argument(struct jinja_run *run, struct jinja_value value)
{
    if (value.type == JINJA_STRING)
        return value.as.string;
    if (value.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, value);
    else
        jinja_fail(run, LLM_E_FORMAT, "an argument must be str, not %s", jinja_type_name(value));
    return NULL;
}

/* Index of the parameter named `name`, or -1. */
static int parameter(const char *parameters, const struct jinja_string *name)
{
    const char *p = parameters;

    for (int i = 0; *p; i++) {
        size_t size = strcspn(p, "=,");

        if (size == name->size && memcmp(p, name->data, size) == 0)
            return i;
        p += size;
        p += *p == '=';
        p += *p == ',';
    }
    return -1;
}

static bool check_required(struct jinja_run *run, const struct jinja_builtin *builtin,
                           const struct jinja_value *argv, size_t positional)
{
    const char *p = builtin->parameters;
    size_t count = 0;

    for (; *p; count++) {
        size_t size = strcspn(p, "=,");

        p += size;
        if (*p != '=' && !jinja_given(argv[count])) {
            jinja_fail(run, LLM_E_FORMAT, "%s: the argument '%.*s' is missing", builtin->name,
                       (int)size, p - size);
            return false;
        }
        p += *p == '=';
        p += *p == ',';
    }
    if (positional > count)
        jinja_fail(run, LLM_E_FORMAT, "%s takes at most %zu argument(s)", builtin->name, count);
    return !run->status;
}

static struct jinja_value call_builtin(struct jinja_run *run, const struct jinja_builtin *builtin,
                                       struct jinja_value self, const struct jinja_arguments *args)
{
    struct jinja_value argv[JINJA_MOST_PARAMETERS];

    if (builtin->parameters[0] == '*')
        return builtin->call(run, self, NULL, args);
    for (size_t i = 0; i < JINJA_MOST_PARAMETERS; i++) {
        argv[i] = (struct jinja_value){.type = JINJA_MISSING};
        if (i < args->positional)
            argv[i] = args->values[i];
    }
    for (size_t i = 0; i < args->keywords; i++) {
        int at = parameter(builtin->parameters, args->names[i]);

        if (at < 0 || jinja_given(argv[at]))
            return jinja_fail(run, LLM_E_FORMAT, "%s: the argument '%s' is %s", builtin->name,
                              args->names[i]->data, at < 0 ? "unknown" : "given twice");
        argv[at] = args->values[args->positional + i];
    }
    if (!check_required(run, builtin, argv, args->positional))
        return jinja_undefined(NULL);
    return builtin->call(run, self, argv, args);
}

struct jinja_value jinja_call_filter(struct jinja_run *run, int32_t index,
                                     const struct jinja_string *name, struct jinja_value self,
                                     const struct jinja_arguments *args)
{
    if (index < 0)
        return jinja_fail(run, LLM_E_UNSUPPORTED, "No filter named '%.*s'", (int)name->size,
                          name->data);
    return call_builtin(run, &filter_tables[index / TABLE_STEP][index % TABLE_STEP], self, args);
}

bool jinja_call_test(struct jinja_run *run, int32_t index, const struct jinja_string *name,
                     struct jinja_value self, const struct jinja_arguments *args)
{
    if (index < 0) {
        jinja_fail(run, LLM_E_UNSUPPORTED, "No test named '%.*s'", (int)name->size, name->data);
        return false;
    }
    return jinja_true(call_builtin(run, &jinja_tests[index], self, args));
}

struct jinja_value jinja_call_function(struct jinja_run *run, uint32_t index,
                                       const struct jinja_arguments *args)
{
    return call_builtin(run, &jinja_functions[index], jinja_none(), args);
}

struct jinja_value jinja_call_object(struct jinja_run *run, struct jinja_value value,
                                     const struct jinja_arguments *args)
{
    struct jinja_object *object = value.as.object;

    if (value.type == JINJA_JOINER)
        return object->position++ ? object->self : jinja_text(run, "");
    if (object->self.type == JINJA_STRING)
        return call_builtin(run, &jinja_string_methods[value.extra], object->self, args);
    return call_builtin(run, &jinja_container_methods[value.extra], object->self, args);
}

/* ---- methods of dicts and lists ----------------------------------------------------------------
 */

#define BUILTIN(name)                                                                              \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)

BUILTIN(dict_get)
{
    struct jinja_value *found = jinja_dict_find(run, self.as.dict, argv[0]);

    (void)args;
    return found ? *found : jinja_given(argv[1]) ? argv[1] : jinja_none();
}

static struct jinja_value view(struct jinja_run *run, const struct jinja_dict *dict,
                               enum jinja_sequence kind)
{
    struct jinja_value list = jinja_list_new(run, kind, dict->count);

    for (size_t i = 0; i < dict->count && !run->status; i++) {
        const struct jinja_entry *e = &dict->entries[i];

        jinja_list_add(run, list,
                       kind == JINJA_SEQ_KEYS     ? e->key
                       : kind == JINJA_SEQ_VALUES ? e->value
                                                  : jinja_pair(run, e->key, e->value));
    }
    return list;
}

BUILTIN(dict_keys)
{
    (void)argv, (void)args;
    return view(run, self.as.dict, JINJA_SEQ_KEYS);
}

BUILTIN(dict_values)
{
    (void)argv, (void)args;
    return view(run, self.as.dict, JINJA_SEQ_VALUES);
}

BUILTIN(dict_items)
{
    (void)argv, (void)args;
    return view(run, self.as.dict, JINJA_SEQ_ITEMS);
}

static void put_all(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value from)
{
    if (from.type != JINJA_DICT) {
        struct jinja_value pairs = jinja_walk(run, from);

        for (size_t i = 0; !run->status && i < pairs.as.list->count; i++) {
            struct jinja_value pair = jinja_walk(run, pairs.as.list->items[i]);

            if (run->status)
                return;
            if (pair.as.list->count != 2)
                jinja_fail(run, LLM_E_FORMAT, "a dict is made of pairs");
            else
                jinja_dict_put(run, dict, pair.as.list->items[0], pair.as.list->items[1]);
        }
        return;
    }
    for (size_t i = 0; i < from.as.dict->count && !run->status; i++)
        jinja_dict_put(run, dict, from.as.dict->entries[i].key, from.as.dict->entries[i].value);
}

BUILTIN(dict_copy)
{
    struct jinja_value copy = jinja_dict_new(run, self.as.dict->count);

    (void)argv, (void)args;
    if (!run->status)
        put_all(run, copy.as.dict, self);
    return copy;
}

/* Changing a list: Jinja's immutable sandbox refuses it, other engines that templates are written
 * for do not. */
BUILTIN(list_append)
{
    (void)args;
    if (self.as.list->kind != JINJA_SEQ_LIST)
        return jinja_fail(run, LLM_E_FORMAT, "'tuple' object has no attribute 'append'");
    jinja_list_add(run, self, argv[0]);
    return jinja_none();
}

BUILTIN(list_pop)
{
    struct jinja_list *list = self.as.list;
    int64_t index = jinja_int_argument(run, argv[0], -1);
    struct jinja_value item;

    (void)args;
    if (index < 0)
        index += (int64_t)list->count;
    if (list->kind != JINJA_SEQ_LIST || index < 0 || index >= (int64_t)list->count)
        return jinja_fail(run, LLM_E_FORMAT, "pop index out of range");
    item = list->items[index];
    memmove(list->items + index, list->items + index + 1,
            (list->count - 1 - (size_t)index) * sizeof item);
    list->count--;
    jinja_charge(run, list->count / 16);
    return item;
}

BUILTIN(list_index)
{
    (void)args;
    for (size_t i = 0; i < self.as.list->count && !run->status; i++) {
        if (jinja_equal(run, self.as.list->items[i], argv[0]))
            return jinja_int((int64_t)i);
    }
    return jinja_fail(run, LLM_E_FORMAT, "the value is not in the list");
}

BUILTIN(list_count)
{
    int64_t count = 0;

    (void)args;
    for (size_t i = 0; i < self.as.list->count && !run->status; i++)
        count += jinja_equal(run, self.as.list->items[i], argv[0]);
    return jinja_int(count);
}

BUILTIN(loop_cycle)
{
    (void)argv;
    if (args->positional == 0)
        return jinja_fail(run, LLM_E_FORMAT, "no items for cycling given");
    return args->values[self.as.loop->index % args->positional];
}

BUILTIN(loop_changed)
{
    struct jinja_value now = jinja_list_new(run, JINJA_SEQ_TUPLE, args->positional);
    struct jinja_loop *loop = self.as.loop;
    bool same;

    (void)argv;
    for (size_t i = 0; i < args->positional && !run->status; i++)
        jinja_list_add(run, now, args->values[i]);
    same = loop->changed.type != JINJA_MISSING && jinja_equal(run, loop->changed, now);
    loop->changed = now;
    return jinja_bool(!same);
}

BUILTIN(cycler_next)
{
    struct jinja_list *items = self.as.object->self.as.list;

    (void)run, (void)argv, (void)args;
    return items->items[self.as.object->position++ % items->count];
}

BUILTIN(cycler_reset)
{
    (void)run, (void)argv, (void)args;
    self.as.object->position = 0;
    return jinja_none();
}

const struct jinja_builtin jinja_container_methods[] = {
    {"d.get", "key,default=", dict_get}, {"d.keys", "", dict_keys},
    {"d.values", "", dict_values},       {"d.items", "", dict_items},
    {"d.copy", "", dict_copy},           {"s.append", "object", list_append},
    {"s.pop", "index=", list_pop},       {"s.index", "value", list_index},
    {"s.count", "value", list_count},    {"l.cycle", "*", loop_cycle},
    {"l.changed", "*", loop_changed},    {"c.next", "", cycler_next},
    {"c.reset", "", cycler_reset},       {NULL, NULL, NULL},
};

/* ---- global functions --------------------------------------------------------------------------
 */

BUILTIN(range)
{
    int64_t start = 0;
    int64_t stop = jinja_int_argument(run, argv[0], 0);
    int64_t step = jinja_int_argument(run, argv[2], 1);
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_RANGE, 0);
    double count;

    (void)self, (void)args;
    if (jinja_given(argv[1])) {
        start = stop;
        stop = jinja_int_argument(run, argv[1], 0);
    }
    if (run->status)
        return list;
    if (step == 0)
        return jinja_fail(run, LLM_E_FORMAT, "range() arg 3 must not be zero");
    count = ((double)stop - (double)start) / (double)step;
    if (count > JINJA_RANGE_MAX)
        return jinja_fail(run, LLM_E_RANGE, "range of more than %d numbers", JINJA_RANGE_MAX);
    list.as.list->range[0] = start;
    list.as.list->range[1] = stop;
    list.as.list->range[2] = step;
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !run->status;) {
        jinja_list_add(run, list, jinja_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return list;
}

/* dict(...) and namespace(...): a mapping or pairs, then names. */
static struct jinja_value make_mapping(struct jinja_run *run, const struct jinja_arguments *args,
                                       uint32_t type)
{
    struct jinja_value dict = jinja_dict_new(run, args->keywords);

    if (args->positional > 1)
        return jinja_fail(run, LLM_E_FORMAT, "dict expected at most 1 argument");
    if (run->status)
        return dict;
    if (args->positional)
        put_all(run, dict.as.dict, args->values[0]);
    for (size_t i = 0; i < args->keywords && !run->status; i++)
        jinja_dict_put(run, dict.as.dict,
                       (struct jinja_value){.type = JINJA_STRING, .as.string = args->names[i]},
                       args->values[args->positional + i]);
    dict.type = type;
    return dict;
}

BUILTIN(dict)
{
    (void)self, (void)argv;
    return make_mapping(run, args, JINJA_DICT);
}

BUILTIN(make_namespace)
{
    (void)self, (void)argv;
    return make_mapping(run, args, JINJA_NAMESPACE);
}

BUILTIN(raise_exception)
{
    struct jinja_value text = jinja_str(run, argv[0]);

    (void)self, (void)args;
    if (run->status)
        return text;
    return jinja_fail(run, LLM_E_INVALID, "%.*s",
                      (int)(text.as.string->size < 400 ? text.as.string->size : 400),
                      text.as.string->data);
}

BUILTIN(strftime_now)
{
    const struct jinja_string *format = jinja_string_argument(run, argv[0]);

    (void)self, (void)args;
    return format ? jinja_strftime(run, format) : jinja_undefined(NULL);
}

BUILTIN(cycler)
{
    struct jinja_value items = jinja_list_new(run, JINJA_SEQ_LIST, args->positional);

    (void)self, (void)argv;
    if (args->positional == 0)
        return jinja_fail(run, LLM_E_FORMAT, "at least one item has to be provided");
    for (size_t i = 0; i < args->positional && !run->status; i++)
        jinja_list_add(run, items, args->values[i]);
    return jinja_object_new(run, JINJA_CYCLER, 0, items);
}

BUILTIN(joiner)
{
    (void)self, (void)args;
    return jinja_object_new(run, JINJA_JOINER, 0,
                            jinja_given(argv[0]) ? argv[0] : jinja_text(run, ", "));
}

const struct jinja_builtin jinja_functions[] = {
    {"range", "start,stop=,step=", range},
    {"dict", "*", dict},
    {"namespace", "*", make_namespace},
    {"raise_exception", "message", raise_exception},
    {"strftime_now", "format", strftime_now},
    {"cycler", "*", cycler},
    {"joiner", "sep=", joiner},
    {NULL, NULL, NULL},
};
