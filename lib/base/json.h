/* SPDX-License-Identifier: MIT
 *
 * Reading JSON: jansson parses (strict UTF-8, no duplicate keys, bounded depth), these getters
 * check types and ranges and say which field is wrong. Trees live in the C heap, outside the
 * context's allocator; writing JSON from scratch is done with base/text.h.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>

/* `what` names the document in messages. Free with json_decref(). */
llm_status json_open(json_t **out, const char *text, size_t size, const char *what);

/* Optional fields: absent or null leaves *out as it is (the default) and returns LLM_OK. A wrong
 * type is LLM_E_FORMAT, a value outside [min, max] LLM_E_RANGE, each naming the field. */
llm_status json_read_i64(const json_t *object, const char *key, int64_t min, int64_t max,
                         int64_t *out);
llm_status json_read_i32(const json_t *object, const char *key, int32_t min, int32_t max,
                         int32_t *out);
llm_status json_read_double(const json_t *object, const char *key, double min, double max,
                            double *out);
llm_status json_read_bool(const json_t *object, const char *key, bool *out);
llm_status json_read_text(const json_t *object, const char *key, const char **out); /* borrowed */

/* LLM_E_FORMAT "missing field ..." unless `key` is present and not null. */
llm_status json_require(const json_t *object, const char *key);

/* Appends `value` as indented text, members in their order, numbers in their shortest exact form.
 * LLM_E_UNSUPPORTED beyond 64 levels. */
llm_status json_write(struct text *text, const json_t *value);

#endif
