/* SPDX-License-Identifier: MIT
 *
 * Rotary positions in GGUF files: base and turned part as keys, linear and YaRN scaling as keys,
 * Llama 3's and LongRoPE's as tensors of factors that divide the frequencies.
 */
#include "models/gguf_family.h"
#include "nn/rotary.h"

#include <math.h>
#include <string.h>

static llm_status out_of_memory(void)
{
    return status_set(LLM_E_NOMEM, "out of memory");
}

static llm_status set(json_t *object, const char *field, json_t *value)
{
    return json_object_set_new(object, field, value) == 0 ? LLM_OK : out_of_memory();
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Values of a one-dimensional tensor of floats; *out NULL when it is absent. */
static llm_status read_vector(float **out, int64_t *count, const struct tensor_source *source,
                              const char *name, struct arena *arena)
{
    const struct tensor_entry *entry = tensor_source_find(source, name);
    llm_status status;

    *out = NULL;
    if (!entry)
        return LLM_OK;
    if (entry->dtype != LLM_F32 || entry->dimensions != 1 || entry->shape[0] > 1 << 16)
        return status_set(LLM_E_FORMAT, "tensor \"%s\" is not a short list of floats", name);
    *count = entry->shape[0];
    *out = arena_alloc(arena, (size_t)entry->bytes + 1);
    if (!*out)
        return LLM_E_NOMEM;
    status =
        file_reader_read(&source->files[entry->file], entry->offset, *out, (size_t)entry->bytes);
    return status;
}

static json_t *number_list(const float *values, int64_t count)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < count; i++) {
        if (json_array_append_new(list, json_real((double)values[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The factors are all that a file keeps of Llama 3's scaling. Its published models differ in the
 * largest only; the whole table is checked. */
static llm_status read_llama3(json_t *group, const float *factors, int64_t count,
                              const struct rope_parameters *plain, struct arena *arena)
{
    struct rope_parameters scaled = *plain;
    float *expected = arena_alloc(arena, (size_t)count * sizeof *expected + 1);
    float *base = arena_alloc(arena, (size_t)count * sizeof *base + 1);
    llm_status status;

    if (!expected || !base)
        return LLM_E_NOMEM;
    if (count != plain->rotary_dim / 2)
        return status_set(LLM_E_FORMAT, "tensor \"rope_freqs.weight\" has %lld values, not %d",
                          (long long)count, plain->rotary_dim / 2);
    scaled.kind = ROPE_LLAMA3;
    scaled.factor = 1.0;
    for (int64_t i = 0; i < count; i++)
        scaled.factor = (double)factors[i] > scaled.factor ? (double)factors[i] : scaled.factor;
    scaled.low_freq_factor = 1.0;
    scaled.high_freq_factor = 4.0;
    scaled.original_positions = 8192;
    (void)rope_frequencies(plain, base);
    (void)rope_frequencies(&scaled, expected);
    for (int64_t i = 0; i < count; i++) {
        double ratio = (double)base[i] / (double)expected[i];

        if (!(fabs(ratio - (double)factors[i]) <= 1e-3 * ratio))
            return status_set(LLM_E_UNSUPPORTED,
                              "tensor \"rope_freqs.weight\": entry %lld is not what Llama 3's "
                              "scaling by %g gives",
                              (long long)i, scaled.factor);
    }
    status = set(group, "rope_type", json_string("llama3"));
    if (!status)
        status = set(group, "factor", json_real(scaled.factor));
    if (!status)
        status = set(group, "low_freq_factor", json_real(1.0));
    if (!status)
        status = set(group, "high_freq_factor", json_real(4.0));
    if (!status)
        status = set(group, "original_max_position_embeddings", json_integer(8192));
    return status;
}

static llm_status read_long(json_t *group, const struct tensor_source *source, const float *factors,
                            int64_t count, struct arena *arena)
{
    float *wide;
    int64_t wide_count = 0;
    llm_status status = read_vector(&wide, &wide_count, source, "rope_factors_long.weight", arena);

    if (!status && !wide)
        status = status_set(LLM_E_FORMAT, "tensor \"rope_factors_long.weight\" is missing");
    if (!status)
        status = set(group, "rope_type", json_string("longrope"));
    if (!status)
        status = set(group, "short_factor", number_list(factors, count));
    return status ? status : set(group, "long_factor", number_list(wide, wide_count));
}

/* A key of "<architecture>.rope.scaling." as a member of the group. */
static llm_status read_real(json_t *group, const struct gguf *gguf, const char *architecture,
                            const char *key, const char *field)
{
    char buffer[GGUF_KEY];
    double value = 0.0;
    llm_status status =
        gguf_read_double(gguf, gguf_key(buffer, architecture, key), 1e-6, 1e9, &value);

    return status || value == 0.0 ? status : set(group, field, json_real(value));
}

static llm_status read_scaling(json_t *group, const struct gguf_family *family,
                               const struct gguf *gguf)
{
    char buffer[GGUF_KEY];
    const char *type = "none";
    const char *architecture = family->architecture;
    int64_t original = 0;
    double scale = 0.0;
    llm_status status =
        gguf_read_text(gguf, gguf_key(buffer, architecture, "rope.scaling.type"), &type);

    if (!status)
        status = gguf_read_i64(
            gguf, gguf_key(buffer, architecture, "rope.scaling.original_context_length"), 1,
            INT32_MAX, &original);
    if (!status && original)
        status = set(group, "original_max_position_embeddings", json_integer(original));
    if (!status)
        status = gguf_read_double(gguf, gguf_key(buffer, architecture, "rope.scale_linear"), 1e-6,
                                  1e9, &scale);
    if (!status && strcmp(type, "none") == 0 && scale > 1.0) { /* the key of old files */
        status = set(group, "rope_type", json_string("linear"));
        return status ? status : set(group, "factor", json_real(scale));
    }
    if (status || strcmp(type, "none") == 0 || strcmp(type, "longrope") == 0)
        return status;
    if (strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0)
        return status_set(LLM_E_UNSUPPORTED, "key \"%s.rope.scaling.type\": \"%.100s\" is unknown",
                          architecture, type);
    status = set(group, "rope_type", json_string(type));
    if (!status)
        status = read_real(group, gguf, architecture, "rope.scaling.factor", "factor");
    if (!status)
        status = read_real(group, gguf, architecture, "rope.scaling.yarn_beta_fast", "beta_fast");
    if (!status)
        status = read_real(group, gguf, architecture, "rope.scaling.yarn_beta_slow", "beta_slow");
    return status;
}

static llm_status read_tables(json_t *group, const json_t *config, const struct gguf_family *family,
                              const struct tensor_source *source, struct arena *arena,
                              int32_t rotary_dim, double theta)
{
    struct rope_parameters plain = {
        .kind = ROPE_PLAIN,
        .rotary_dim = rotary_dim,
        .theta = theta,
        .max_positions = json_integer_value(json_object_get(config, "max_position_embeddings"))};
    char key[GGUF_KEY];
    float *factors = NULL;
    int64_t count = 0;
    double attention = 0.0;
    llm_status status = read_vector(&factors, &count, source, "rope_factors_short.weight", arena);

    if (!status && factors) {
        status = read_long(group, source, factors, count, arena);
        if (!status)
            status = gguf_read_double(
                source->metadata, gguf_key(key, family->architecture, "rope.scaling.attn_factor"),
                1e-6, 1e6, &attention);
        return status || attention == 0.0 ? status
                                          : set(group, "attention_factor", json_real(attention));
    }
    if (!status)
        status = read_vector(&factors, &count, source, "rope_freqs.weight", arena);
    if (!status && !factors) /* some files have one per layer, all alike */
        status = read_vector(&factors, &count, source, "blk.0.rope_freqs.weight", arena);
    return status || !factors ? status : read_llama3(group, factors, count, &plain, arena);
}

llm_status gguf_read_rope(json_t *config, const struct gguf_family *family,
                          const struct tensor_source *source, struct arena *arena)
{
    const struct gguf *gguf = source->metadata;
    char key[GGUF_KEY];
    double theta = family->theta;
    int64_t heads = json_integer_value(json_object_get(config, "num_attention_heads"));
    int64_t width = json_integer_value(json_object_get(config, "hidden_size"));
    int64_t head_dim = json_integer_value(json_object_get(config, "head_dim"));
    int64_t turned;
    json_t *group = json_object();
    llm_status status;

    if (!head_dim)
        head_dim = heads > 0 ? width / heads : 0;
    turned = head_dim;
    status = gguf_read_double(gguf, gguf_key(key, family->architecture, "rope.freq_base"), 1.0,
                              1e30, &theta);
    if (!status)
        status = gguf_read_i64(gguf, gguf_key(key, family->architecture, "rope.dimension_count"), 2,
                               INT32_MAX, &turned);
    if (!status && gguf_find(gguf, key) && (turned > head_dim || turned % 2))
        status = status_set(LLM_E_RANGE, "key \"%s\" is %lld, of heads %lld wide", key,
                            (long long)turned, (long long)head_dim);
    if (!status)
        status =
            set(config, family->theta_field ? family->theta_field : "rope_theta", json_real(theta));
    if (!status && (turned != head_dim || family->part != 0.0))
        status = set(config, family->part_field ? family->part_field : "partial_rotary_factor",
                     json_real((double)turned / (double)head_dim));
    if (!status)
        status = read_scaling(group, family, gguf);
    if (!status)
        status = read_tables(group, config, family, source, arena, (int32_t)turned, theta);
    if (!status && json_object_get(group, "rope_type"))
        status = json_object_set(config, "rope_scaling", group) ? out_of_memory() : LLM_OK;
    json_decref(group);
    return status;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static void put_factors(struct gguf_factors *out, const char *name, const double *factors,
                        float *values, int64_t count)
{
    for (int64_t i = 0; factors && i < count; i++)
        values[i] = (float)factors[i];
    *out = (struct gguf_factors){name, values, count};
}

static llm_status write_factors(struct gguf_factors factors[2], const struct rotary *rotary,
                                struct arena *arena)
{
    int64_t count = rotary->rope.rotary_dim / 2;
    float *values = arena_alloc(arena, (size_t)count * 2 * sizeof *values + 1);
    struct rope_parameters plain = rotary->rope;
    float *base = arena_alloc(arena, (size_t)count * sizeof *base + 1);

    if (!values || !base)
        return LLM_E_NOMEM;
    if (rotary->rope.kind == ROPE_LONG) {
        put_factors(&factors[0], "rope_factors_long.weight", rotary->rope.long_factor, values,
                    count);
        put_factors(&factors[1], "rope_factors_short.weight", rotary->rope.short_factor,
                    values + count, count);
        return LLM_OK;
    }
    plain.kind = ROPE_PLAIN;
    (void)rope_frequencies(&plain, base);
    for (int64_t i = 0; i < count; i++)
        values[i] = base[i] / rotary->frequencies[i];
    put_factors(&factors[0], "rope_freqs.weight", NULL, values, count);
    return LLM_OK;
}

static llm_status put_scaling(struct gguf *gguf, const char *architecture,
                              const struct rotary *rotary)
{
    const struct rope_parameters *rope = &rotary->rope;
    bool is_yarn = rope->kind == ROPE_YARN;
    const char *type = is_yarn ? "yarn" : rope->kind == ROPE_LONG ? "longrope" : "linear";
    char key[GGUF_KEY];
    double factor = rope->factor;

    if (rope->kind == ROPE_DYNAMIC)
        return status_set(LLM_E_UNSUPPORTED,
                          "field \"rope_type\": a GGUF file cannot say \"dynamic\"");
    if (is_yarn && (rope->attention_factor != 0.0 || rope->mscale != 0.0 || rope->no_truncate))
        return status_set(LLM_E_UNSUPPORTED, "field \"rope_scaling\": a GGUF file cannot say "
                                             "\"attention_factor\", \"mscale\" or \"truncate\"");
    if (factor == 0.0)
        factor = (double)rope->max_positions / (double)rope->original_positions;
    gguf_put_text(gguf, gguf_key(key, architecture, "rope.scaling.type"), type, strlen(type));
    if (rope->kind != ROPE_LONG) /* there the factors are tensors, and readers would apply both */
        gguf_put_f32(gguf, gguf_key(key, architecture, "rope.scaling.factor"), factor);
    if (is_yarn || rope->kind == ROPE_LONG)
        gguf_put_u32(gguf, gguf_key(key, architecture, "rope.scaling.original_context_length"),
                     (uint32_t)rope->original_positions);
    if (is_yarn && rope->beta_fast != 0.0)
        gguf_put_f32(gguf, gguf_key(key, architecture, "rope.scaling.yarn_beta_fast"),
                     rope->beta_fast);
    if (is_yarn && rope->beta_slow != 0.0)
        gguf_put_f32(gguf, gguf_key(key, architecture, "rope.scaling.yarn_beta_slow"),
                     rope->beta_slow);
    if (rope->kind == ROPE_LONG)
        gguf_put_f32(gguf, gguf_key(key, architecture, "rope.scaling.attn_factor"),
                     (double)rotary->scale);
    return LLM_OK;
}

llm_status gguf_write_rope(struct gguf *gguf, const llm_model *model, struct arena *arena,
                           struct gguf_factors factors[2])
{
    const struct gguf_family *family = gguf_family_of_model(model);
    struct rotary_spec spec = {.head_dim = model->head_dim,
                               .theta = family->theta,
                               .part = family->part,
                               .theta_field = family->theta_field,
                               .part_field = family->part_field,
                               .layer_type = "full_attention"};
    struct rotary rotary;
    char key[GGUF_KEY];
    llm_status status = LLM_OK;

    memset(factors, 0, 2 * sizeof *factors);
    if (family->theta == 0.0)
        return LLM_OK;
    spec.max_positions = model->context_length;
    status =
        json_read_i64(model->config, "max_position_embeddings", 1, INT32_MAX, &spec.max_positions);
    if (!status)
        status = rotary_read(&rotary, arena, model->config, &spec);
    if (status)
        return status;
    gguf_put_f32(gguf, gguf_key(key, family->architecture, "rope.freq_base"), rotary.rope.theta);
    gguf_put_u32(gguf, gguf_key(key, family->architecture, "rope.dimension_count"),
                 (uint32_t)rotary.rope.rotary_dim);
    if (rotary.rope.kind == ROPE_LLAMA3 || rotary.rope.kind == ROPE_LONG)
        status = write_factors(factors, &rotary, arena);
    if (!status && rotary.rope.kind != ROPE_PLAIN && rotary.rope.kind != ROPE_LLAMA3)
        status = put_scaling(gguf, family->architecture, &rotary);
    return status ? status : gguf->status;
}
