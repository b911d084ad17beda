/* SPDX-License-Identifier: MIT */
#include "nn/rotary.h"

#include "graph/op.h"
#include "nn/stack.h"

#include <math.h>
#include <string.h>

/* ---- configuration -----------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int32_t kind; /* enum rope_kind */
} kinds[] = {
    {"default", ROPE_PLAIN}, {"linear", ROPE_LINEAR}, {"dynamic", ROPE_DYNAMIC},
    {"yarn", ROPE_YARN},     {"llama3", ROPE_LLAMA3}, {"longrope", ROPE_LONG},
    {"su", ROPE_LONG}, /* the first name of LongRoPE */
};

static llm_status find_kind(struct rope_parameters *rope, const json_t *group)
{
    const char *name = "default";
    llm_status status = json_read_text(group, "type", &name);

    if (!status)
        status = json_read_text(group, "rope_type", &name);
    if (status)
        return status;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            rope->kind = kinds[i].kind;
            return LLM_OK;
        }
    }
    return status_set(LLM_E_UNSUPPORTED, "field \"rope_type\": \"%.100s\" is unknown", name);
}

/* The object that speaks of these layers, or NULL: plain angles. */
static llm_status find_group(const json_t **out, const json_t *config,
                             const struct rotary_spec *spec)
{
    const char *field = "rope_parameters";
    const json_t *group = json_object_get(config, field);
    bool nested = json_object_get(group, "full_attention") != NULL ||
                  json_object_get(group, "sliding_attention") != NULL;

    if (nested && !spec->layer_type)
        return status_set(LLM_E_UNSUPPORTED, "field \"%s\": one entry per type of layer", field);
    if (nested) {
        group = json_object_get(group, spec->layer_type);
    } else if (spec->unscaled) {
        group = NULL;
    } else if (!group || json_is_null(group)) {
        field = "rope_scaling";
        group = json_object_get(config, field);
    }
    *out = json_is_object(group) ? group : NULL;
    if (group && !json_is_null(group) && !*out)
        return status_set(LLM_E_FORMAT, "field \"%s\" is not an object", field);
    return LLM_OK;
}

/* What may stand in the configuration itself or in the group, which decides. */
static llm_status read_either(const json_t *config, const json_t *group, const char *field,
                              const char *group_field, double min, double max, double *out)
{
    llm_status status = json_read_double(config, field, min, max, out);

    return status ? status : json_read_double(group, group_field, min, max, out);
}

static llm_status read_size(struct rotary *rotary, const json_t *config, const json_t *group,
                            const struct rotary_spec *spec)
{
    const char *theta_field = spec->theta_field ? spec->theta_field : "rope_theta";
    const char *part_field = spec->part_field ? spec->part_field : "partial_rotary_factor";
    double part = spec->part != 0.0 ? spec->part : 1.0;
    llm_status status;

    rotary->head_dim = spec->head_dim;
    rotary->extended = spec->extended;
    rotary->rope.theta = spec->theta;
    status = read_either(config, group, theta_field, "rope_theta", 1.0, 1e30, &rotary->rope.theta);
    if (!status)
        status = read_either(config, group, part_field, "partial_rotary_factor", 0.0, 1.0, &part);
    rotary->rope.rotary_dim = (int32_t)((double)spec->head_dim * part);
    if (!status && rotary->rope.rotary_dim % 2 != 0)
        status = status_set(LLM_E_UNSUPPORTED, "field \"%s\": %d elements of a head cannot turn",
                            part_field, rotary->rope.rotary_dim);
    return status;
}

static llm_status read_lengths(struct rope_parameters *rope, const json_t *config,
                               const json_t *group, const struct rotary_spec *spec)
{
    const char *field = "original_max_position_embeddings";
    bool has_factor = json_is_number(json_object_get(group, "factor"));
    llm_status status;

    rope->max_positions = spec->max_positions;
    rope->original_positions =
        spec->original_positions ? spec->original_positions : spec->max_positions;
    status = json_read_i64(group, field, 1, INT32_MAX, &rope->original_positions);
    if (!status)
        status = json_read_i64(config, field, 1, INT32_MAX, &rope->original_positions);
    if (!status)
        status = json_read_double(group, "factor", 1e-6, 1e6, &rope->factor);
    if (!status && !has_factor &&
        (rope->kind == ROPE_LINEAR || rope->kind == ROPE_DYNAMIC || rope->kind == ROPE_LLAMA3))
        status = status_set(LLM_E_FORMAT, "missing field \"factor\" of the rotary scaling");
    return status;
}

static llm_status read_scaling(struct rope_parameters *rope, const json_t *group)
{
    bool truncate = true;
    llm_status status =
        json_read_double(group, "attention_factor", 1e-6, 1e6, &rope->attention_factor);

    if (!status)
        status = json_read_double(group, "beta_fast", 0.0, 1e6, &rope->beta_fast);
    if (!status)
        status = json_read_double(group, "beta_slow", 0.0, 1e6, &rope->beta_slow);
    if (!status)
        status = json_read_double(group, "mscale", 0.0, 1e6, &rope->mscale);
    if (!status)
        status = json_read_double(group, "mscale_all_dim", 0.0, 1e6, &rope->mscale_all_dim);
    if (!status)
        status = json_read_bool(group, "truncate", &truncate);
    rope->no_truncate = !truncate;
    if (!status)
        status = json_read_double(group, "low_freq_factor", 1e-6, 1e6, &rope->low_freq_factor);
    if (!status)
        status = json_read_double(group, "high_freq_factor", 1e-6, 1e6, &rope->high_freq_factor);
    if (!status && rope->low_freq_factor != 0.0 && rope->high_freq_factor <= rope->low_freq_factor)
        status =
            status_set(LLM_E_RANGE, "field \"high_freq_factor\" is not above \"low_freq_factor\"");
    return status;
}

static llm_status read_factors(const double **out, struct arena *arena, const json_t *group,
                               const char *field, int32_t count)
{
    const json_t *list = json_object_get(group, field);
    double *factors;

    if (!json_is_array(list) || json_array_size(list) != (size_t)count)
        return status_set(LLM_E_FORMAT, "field \"%s\" is not a list of %d numbers", field, count);
    factors = arena_alloc(arena, sizeof *factors * ((size_t)count + 1));
    if (!factors)
        return LLM_E_NOMEM;
    for (int32_t i = 0; i < count; i++) {
        factors[i] = json_number_value(json_array_get(list, (size_t)i));
        if (!(factors[i] >= 1e-6 && factors[i] <= 1e6))
            return status_set(LLM_E_RANGE, "field \"%s\": entry %d is no factor", field, i);
    }
    *out = factors;
    return LLM_OK;
}

static const float *make_table(struct rotary *rotary, struct arena *arena, int64_t length)
{
    size_t pairs = (size_t)rotary->rope.rotary_dim / 2;
    float *table = arena_alloc(arena, sizeof *table * (pairs + 1));
    struct rope_parameters rope = rotary->rope;

    rope.length = length;
    if (table)
        rotary->scale = rope_frequencies(&rope, table);
    return table;
}

llm_status rotary_read(struct rotary *rotary, struct arena *arena, const json_t *config,
                       const struct rotary_spec *spec)
{
    struct rope_parameters *rope = &rotary->rope;
    const json_t *group;
    llm_status status;

    memset(rotary, 0, sizeof *rotary);
    status = find_group(&group, config, spec);
    if (!status)
        status = find_kind(rope, group);
    if (!status)
        status = read_size(rotary, config, group, spec);
    if (!status)
        status = read_lengths(rope, config, group, spec);
    if (!status)
        status = read_scaling(rope, group);
    if (!status && rope->kind == ROPE_LONG) {
        status =
            read_factors(&rope->short_factor, arena, group, "short_factor", rope->rotary_dim / 2);
        if (!status)
            status =
                read_factors(&rope->long_factor, arena, group, "long_factor", rope->rotary_dim / 2);
    }
    if (status)
        return status;
    rotary->frequencies = make_table(rotary, arena, 0);
    if (rope->kind == ROPE_LONG)
        rotary->long_frequencies = make_table(rotary, arena, rope->original_positions + 1);
    if (!rotary->frequencies || (rope->kind == ROPE_LONG && !rotary->long_frequencies))
        return LLM_E_NOMEM;
    return LLM_OK;
}

int64_t rotary_context(const struct rotary *rotary)
{
    const struct rope_parameters *rope = &rotary->rope;
    double extended = (double)rope->max_positions;

    if (rope->kind == ROPE_LINEAR || rope->kind == ROPE_DYNAMIC)
        extended *= rope->factor;
    else if (rope->kind == ROPE_YARN && rope->factor != 0.0)
        extended = (double)rope->original_positions * rope->factor;
    if (rotary->extended || !(extended > (double)rope->max_positions))
        return rope->max_positions;
    return extended < (double)INT32_MAX ? (int64_t)extended : INT32_MAX;
}

/* ---- forward -----------------------------------------------------------------------------------
 */

/* The length that decides a segment's angles: 0 where all angles are the usual ones. */
static int64_t deciding_length(const struct rotary *rotary, const struct batch *batch, int32_t s)
{
    int64_t length = (int64_t)batch->positions[batch->offsets[s + 1] - 1] + 1;

    if (batch->lengths && batch->lengths[s] > length)
        length = batch->lengths[s];

    if (rotary->rope.kind == ROPE_LONG)
        return length > rotary->rope.original_positions ? rotary->rope.original_positions + 1 : 0;
    if (rotary->rope.kind == ROPE_DYNAMIC)
        return length > rotary->rope.max_positions ? length : 0;
    return 0;
}

static const float *find_table(struct cx *cx, const struct rotary *rotary, int64_t length)
{
    struct rotary own = *rotary;
    const float *table;

    if (length == 0)
        return rotary->frequencies;
    if (rotary->long_frequencies)
        return rotary->long_frequencies;
    table = make_table(&own, &cx->arena, length);
    return table ? table : cx_adopt(cx, LLM_E_NOMEM);
}

static llm_tensor *turn(struct cx *cx, const struct rotary *rotary, const int32_t *positions,
                        int64_t length, llm_tensor *x)
{
    const struct rope_options options = {.head_dim = rotary->head_dim,
                                         .rotary_dim = rotary->rope.rotary_dim,
                                         .frequencies = find_table(cx, rotary, length),
                                         .scale = rotary->scale};

    return op_rope(cx, x, positions, &options);
}

/* Segments whose angles differ are turned apart. */
llm_tensor *rotary_forward(struct cx *cx, const struct rotary *rotary, const struct batch *batch,
                           llm_tensor *x)
{
    int64_t length = deciding_length(rotary, batch, 0);
    llm_tensor **parts = NULL;
    int64_t count = 0;
    int32_t begin = 0;

    for (int32_t s = 1; s <= batch->segments; s++) {
        int64_t next = s < batch->segments ? deciding_length(rotary, batch, s) : -1;

        if (next == length)
            continue;
        if (begin == 0 && s == batch->segments)
            return turn(cx, rotary, batch->positions, length, x);
        if (!parts)
            parts = arena_alloc(&cx->arena, sizeof(llm_tensor *) * (size_t)batch->segments);
        if (!parts)
            return cx_adopt(cx, LLM_E_NOMEM);
        parts[count++] = turn(cx, rotary, batch->positions + begin, length,
                              op_slice(cx, x, 0, begin, batch->offsets[s], 1));
        begin = batch->offsets[s];
        length = next;
    }
    return stack_rows(cx, parts, count);
}
