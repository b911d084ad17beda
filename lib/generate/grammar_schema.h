/* SPDX-License-Identifier: MIT
 *
 * JSON schema to rules. Every schema becomes a rule of its own, named by its path; schemas wait in
 * a list until their rule is written, so nothing recurses and references to schemas around them are
 * calls. grammar_schema.c goes through the list, grammar_schema_types.c writes strings, integers,
 * arrays and objects.
 */
#ifndef GENERATE_GRAMMAR_SCHEMA_H
#define GENERATE_GRAMMAR_SCHEMA_H

#include "base/json.h"
#include "generate/grammar_build.h"

struct schema_job {
    const json_t *schema;
    const char *path; /* "#/properties/name" */
    int32_t rule;
};

struct schema_reader {
    struct builder *builder;
    struct arena paths;
    struct map rules; /* by address of the schema */
    json_t *root;
    struct schema_job *jobs;
    size_t job_count, job_capacity;
    const char *path; /* of the schema that is being written */
};

/* The rule of a schema that stands at `path`/`key`; it is written later. */
struct fragment schema_call(struct schema_reader *reader, const json_t *schema, const char *key);
struct fragment schema_basic(struct schema_reader *reader, const char *rule);
struct fragment schema_text(struct schema_reader *reader, const char *text);
/* "schema, #/a/b: ..." and nothing. */
struct fragment schema_fail(struct schema_reader *reader, llm_status status, const char *key,
                            const char *what);

struct fragment schema_string(struct schema_reader *reader, const json_t *schema);
struct fragment schema_integer(struct schema_reader *reader, const json_t *schema);
struct fragment schema_array(struct schema_reader *reader, const json_t *schema);
struct fragment schema_object(struct schema_reader *reader, const json_t *schema);

#endif
