/* SPDX-License-Identifier: MIT
 *
 * Fields of config.json as a table: where each goes in an architecture's own struct, which holds
 * the defaults before, and what it may be.
 */
#ifndef MODELS_CONFIG_H
#define MODELS_CONFIG_H

#include "base/json.h"

#include <stddef.h>

enum config_kind {
    CONFIG_I64,
    CONFIG_I32,
    CONFIG_DOUBLE,
    CONFIG_BOOL,
    CONFIG_TEXT,   /* borrowed from the JSON */
    CONFIG_OR_NULL /* an int32_t that an explicit null sets to 0 */
};

struct config_field {
    const char *name;
    enum config_kind kind;
    size_t offset;   /* offsetof(the struct, member) */
    double min, max; /* of numbers */
};

llm_status config_read(void *config, const json_t *json, const struct config_field *fields,
                       size_t count);

/* LLM_E_UNSUPPORTED, naming the field, if it is there and neither false, null nor 0. */
llm_status config_refuse(const json_t *json, const char *field);

#endif
