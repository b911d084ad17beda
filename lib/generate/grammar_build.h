/* SPDX-License-Identifier: MIT
 *
 * Grammars as automata over bytes that call one another, and the means to build them: fragments
 * after Thompson ("Regular expression search algorithm", 1968), sets of characters as sequences of
 * UTF-8 bytes, groups with their suffixes. The front ends (grammar_gbnf.c, grammar_regex.c,
 * grammar_schema*.c) parse text and call these; grammar_check.c makes sure that the result is
 * sound; grammar_run.c runs it. Nothing here recurses.
 */
#ifndef GENERATE_GRAMMAR_BUILD_H
#define GENERATE_GRAMMAR_BUILD_H

#include "base/arena.h"
#include "base/map.h"

#include <stdbool.h>

enum {
    GRAMMAR_MOST_NODES = 1 << 20,
    GRAMMAR_MOST_RULES = 65536,
    GRAMMAR_MOST_NESTING = 256,
    GRAMMAR_MOST_TEXT = 16 << 20, /* bytes */
};

enum node_kind {
    NODE_JUMP,  /* to next and to other, -1: nowhere */
    NODE_BYTES, /* low .. high, then next */
    NODE_CALL,  /* rule, then next */
    NODE_END    /* of the rule */
};

struct grammar_node {
    int32_t next, other;
    int32_t rule;
    uint8_t kind, low, high;
    bool is_tail;       /* a call behind which the rule ends */
    bool is_productive; /* the end can be reached from here */
};

struct rule {
    const char *name;
    int32_t start; /* -1: not defined yet */
    bool is_nullable;
};

/* The rules; rule 0 is the root. */
struct automaton {
    struct grammar_node *nodes;
    size_t count, capacity;
    struct rule *rules;
    size_t rule_count, rule_capacity;
};

struct builder {
    struct memory *memory;
    struct arena arena;
    struct automaton automaton;
    struct map names;  /* of rules */
    llm_status status; /* the first failure; after it nothing happens any more */
};

/* Part of an automaton with one entry and one exit, a jump that leads nowhere yet. */
struct fragment {
    int32_t first, last;
};

void builder_open(struct builder *builder, struct memory *memory);
void builder_close(struct builder *builder); /* the automaton too, unless it was taken */
/* Records the first failure, whose message is set already. */
void builder_fail(struct builder *builder, llm_status status);

/* The rule of that name, made if it is new. 0 after a failure. */
int32_t builder_rule(struct builder *builder, const char *name, size_t size);
/* A new rule; its name is for messages only. */
int32_t builder_add_rule(struct builder *builder, const char *name, size_t size);
/* Gives a rule its body. */
void builder_define(struct builder *builder, int32_t rule, struct fragment body);

/* ---- fragments ---- */

int32_t builder_here(const struct builder *builder); /* number of nodes */
struct fragment build_empty(struct builder *builder);
struct fragment build_bytes(struct builder *builder, uint8_t low, uint8_t high);
struct fragment build_text(struct builder *builder, const char *bytes, size_t size);
struct fragment build_call(struct builder *builder, int32_t rule);
struct fragment build_then(struct builder *builder, struct fragment a, struct fragment b);
struct fragment build_either(struct builder *builder, struct fragment a, struct fragment b);
/* A fragment that was built last, from node `begin` on, `min` to `max` times; max -1: any number.
 */
struct fragment build_repeat(struct builder *builder, struct fragment fragment, int32_t begin,
                             int64_t min, int64_t max);
/* One more way from `at`, a jump, to `to`. */
void build_way(struct builder *builder, int32_t at, int32_t to);
int32_t build_jump(struct builder *builder);

/* ---- sets of characters ---- */

enum { CHARACTER_MOST = 0x10ffff };

struct character_range {
    uint32_t low, high;
};

struct character_set {
    struct character_range *ranges; /* sorted and apart after set_finish() */
    size_t count, capacity;
};

void set_add(struct builder *builder, struct character_set *set, uint32_t low, uint32_t high);
void set_finish(struct builder *builder, struct character_set *set, bool is_negated);
void set_free(struct builder *builder, struct character_set *set);
/* How characters stand in the text: as they are, or within a JSON string, where quotes, backslashes
 * and control characters are escaped. */
enum spelling { SPELL_PLAIN, SPELL_JSON };
/* One character of a finished set. An empty set matches nothing. */
struct fragment build_set(struct builder *builder, const struct character_set *set,
                          enum spelling spelling);
struct fragment build_character(struct builder *builder, uint32_t character,
                                enum spelling spelling);

/* ---- groups, alternatives, suffixes ---- */

struct pattern_group {
    struct fragment alternatives, sequence, item;
    int32_t begin, item_begin;
    bool has_alternatives, has_item;
};

struct pattern {
    struct builder *builder;
    struct pattern_group groups[GRAMMAR_MOST_NESTING + 1];
    int32_t depth;
};

void pattern_begin(struct pattern *pattern, struct builder *builder);
bool pattern_open(struct pattern *pattern);  /* false: nested too deep, nothing is set */
bool pattern_close(struct pattern *pattern); /* false: nothing is open */
void pattern_item(struct pattern *pattern, struct fragment item, int32_t begin);
bool pattern_repeat(struct pattern *pattern, int64_t min, int64_t max); /* false: no item */
void pattern_alternative(struct pattern *pattern);
struct fragment pattern_end(struct pattern *pattern);

/* ---- front ends: define rule 0 and what it needs; sticky failure in the builder ---- */

void grammar_read_gbnf(struct builder *builder, const char *text, size_t size);
void grammar_read_regex(struct builder *builder, const char *pattern, size_t size);
void grammar_read_schema(struct builder *builder, const char *text, size_t size);

/* A regular expression as a fragment; `is_anchored`: it spans all of the text, else what stands
 * before and behind it is free unless ^ and $ say otherwise. */
struct fragment regex_build(struct builder *builder, const char *pattern, size_t size,
                            enum spelling spelling, bool is_anchored);

/* ---- grammar_check.c ---- */

/* All rules are defined, none is left-recursive, some text follows the root; the flags of nodes are
 * set. */
llm_status automaton_finish(struct builder *builder);

#endif
