/* SPDX-License-Identifier: MIT
 *
 * Tests: x is name(argument).
 */
#include "chat/jinja_builtins.h"

#include <string.h>

#define TEST(name)                                                                                 \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)
#define TYPE_TEST(name, condition)                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)run, (void)self, (void)argv, (void)args;                                             \
        return jinja_bool(condition);                                                              \
    }
#define OPERATOR_TEST(name, op)                                                                    \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)args;                                                                                \
        return jinja_binary(run, op, self, argv[0]);                                               \
    }

TYPE_TEST(is_defined, self.type != JINJA_UNDEFINED)
TYPE_TEST(is_undefined, self.type == JINJA_UNDEFINED)
TYPE_TEST(is_none, self.type == JINJA_NONE)
TYPE_TEST(is_boolean, self.type == JINJA_BOOL)
TYPE_TEST(is_true, self.type == JINJA_BOOL && self.as.truth)
TYPE_TEST(is_false, self.type == JINJA_BOOL && !self.as.truth)
TYPE_TEST(is_integer, self.type == JINJA_INT)
TYPE_TEST(is_float, self.type == JINJA_FLOAT)
TYPE_TEST(is_number, jinja_is_number(self))
TYPE_TEST(is_string, self.type == JINJA_STRING)
TYPE_TEST(is_mapping, self.type == JINJA_DICT)
TYPE_TEST(is_iterable, self.type == JINJA_STRING || self.type == JINJA_LIST ||
                           self.type == JINJA_DICT || self.type == JINJA_UNDEFINED ||
                           self.type == JINJA_LOOP)
TYPE_TEST(is_sequence, self.type == JINJA_STRING || self.type == JINJA_DICT ||
                           self.type == JINJA_UNDEFINED ||
                           (self.type == JINJA_LIST && self.as.list->kind <= JINJA_SEQ_RANGE))
TYPE_TEST(is_callable, self.type == JINJA_MACRO || self.type == JINJA_METHOD ||
                           self.type == JINJA_FUNCTION || self.type == JINJA_LOOP ||
                           self.type == JINJA_CYCLER || self.type == JINJA_JOINER ||
                           self.type == JINJA_UNDEFINED)
TYPE_TEST(is_escaped, false)

OPERATOR_TEST(test_eq, JINJA_OP_EQ)
OPERATOR_TEST(test_ne, JINJA_OP_NE)
OPERATOR_TEST(test_lt, JINJA_OP_LT)
OPERATOR_TEST(test_le, JINJA_OP_LE)
OPERATOR_TEST(test_gt, JINJA_OP_GT)
OPERATOR_TEST(test_ge, JINJA_OP_GE)
OPERATOR_TEST(test_in, JINJA_OP_IN)

TEST(is_sameas)
{
    (void)args;
    if (self.type != argv[0].type)
        return jinja_bool(false);
    if (self.type == JINJA_LIST || self.type == JINJA_DICT || self.type >= JINJA_NAMESPACE)
        return jinja_bool(self.as.object == argv[0].as.object);
    return jinja_bool(jinja_equal(run, self, argv[0]));
}

static struct jinja_value remainder_is(struct jinja_run *run, struct jinja_value self,
                                       struct jinja_value divisor, int64_t expected)
{
    struct jinja_value rest = jinja_binary(run, JINJA_OP_MOD, self, divisor);

    return jinja_bool(!run->status && jinja_equal(run, rest, jinja_int(expected)));
}

TEST(is_odd)
{
    (void)argv, (void)args;
    return remainder_is(run, self, jinja_int(2), 1);
}

TEST(is_even)
{
    (void)argv, (void)args;
    return remainder_is(run, self, jinja_int(2), 0);
}

TEST(is_divisibleby)
{
    (void)args;
    return remainder_is(run, self, argv[0], 0);
}

static struct jinja_value has_case(struct jinja_run *run, struct jinja_value self, const char *name)
{
    struct jinja_arguments none = {NULL, 0, 0, NULL};
    struct jinja_value text = jinja_str(run, self);
    struct jinja_value method;

    if (run->status)
        return text;
    method = jinja_object_new(run, JINJA_METHOD,
                              (uint32_t)jinja_find_method(text, name, strlen(name)), text);
    return run->status ? method : jinja_call_object(run, method, &none);
}

TEST(is_lower)
{
    (void)argv, (void)args;
    return has_case(run, self, "islower");
}

TEST(is_upper)
{
    (void)argv, (void)args;
    return has_case(run, self, "isupper");
}

TEST(is_filter)
{
    (void)run, (void)argv, (void)args;
    return jinja_bool(self.type == JINJA_STRING &&
                      jinja_find_filter(self.as.string->data, self.as.string->size) >= 0);
}

TEST(is_test)
{
    (void)run, (void)argv, (void)args;
    return jinja_bool(self.type == JINJA_STRING &&
                      jinja_find_test(self.as.string->data, self.as.string->size) >= 0);
}

const struct jinja_builtin jinja_tests[] = {
    {"defined", "", is_defined},
    {"undefined", "", is_undefined},
    {"none", "", is_none},
    {"boolean", "", is_boolean},
    {"true", "", is_true},
    {"false", "", is_false},
    {"integer", "", is_integer},
    {"float", "", is_float},
    {"number", "", is_number},
    {"string", "", is_string},
    {"mapping", "", is_mapping},
    {"iterable", "", is_iterable},
    {"sequence", "", is_sequence},
    {"callable", "", is_callable},
    {"escaped", "", is_escaped},
    {"sameas", "other", is_sameas},
    {"odd", "", is_odd},
    {"even", "", is_even},
    {"divisibleby", "num", is_divisibleby},
    {"lower", "", is_lower},
    {"upper", "", is_upper},
    {"filter", "", is_filter},
    {"test", "", is_test},
    {"in", "seq", test_in},
    {"eq", "other", test_eq},
    {"equalto", "other", test_eq},
    {"==", "other", test_eq},
    {"ne", "other", test_ne},
    {"!=", "other", test_ne},
    {"lt", "other", test_lt},
    {"lessthan", "other", test_lt},
    {"<", "other", test_lt},
    {"le", "other", test_le},
    {"<=", "other", test_le},
    {"gt", "other", test_gt},
    {"greaterthan", "other", test_gt},
    {">", "other", test_gt},
    {"ge", "other", test_ge},
    {">=", "other", test_ge},
    {NULL, NULL, NULL},
};
