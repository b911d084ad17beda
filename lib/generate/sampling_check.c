/* SPDX-License-Identifier: MIT
 *
 * What the sampling options may be, and the orders of stages that have a name.
 */
#include "generate/dry.h"
#include "generate/sampling.h"

#include <math.h>
#include <string.h>

static llm_status check_number(const char *name, double value, bool is_allowed, const char *range)
{
    if (is_allowed && isfinite(value))
        return LLM_OK;
    return status_set(LLM_E_RANGE, "llm_generate_options: %s is %g, outside %s", name, value,
                      range);
}

static llm_status check_numbers(const llm_generate_options *o)
{
    const double temperature = o->temperature;
    llm_status status;

    status = check_number("temperature", temperature,
                          temperature == 0.0 || (temperature >= 1e-4 && temperature <= 1e4),
                          "0 and 1e-4 .. 1e4");
    if (!status)
        status = check_number("top_p", o->top_p, o->top_p > 0.0 && o->top_p <= 1.0, "(0, 1]");
    if (!status)
        status = check_number("min_p", o->min_p, o->min_p >= 0.0 && o->min_p <= 1.0, "[0, 1]");
    if (!status)
        status = check_number("typical_p", o->typical_p, o->typical_p > 0.0 && o->typical_p <= 1.0,
                              "(0, 1]");
    if (!status)
        status = check_number("repetition_penalty", o->repetition_penalty,
                              o->repetition_penalty >= 1e-4 && o->repetition_penalty <= 1e4,
                              "1e-4 .. 1e4");
    if (!status)
        status = check_number("frequency_penalty", o->frequency_penalty,
                              fabs(o->frequency_penalty) <= 1e4, "-1e4 .. 1e4");
    if (!status)
        status = check_number("presence_penalty", o->presence_penalty,
                              fabs(o->presence_penalty) <= 1e4, "-1e4 .. 1e4");
    return status;
}

static llm_status check_new_numbers(const llm_generate_options *o)
{
    const struct {
        const char *name;
        double value, least, most;
        const char *range;
    } rows[] = {{"top_n_sigma", o->top_n_sigma, 0.0, 1e4, "0 .. 1e4"},
                {"xtc_probability", o->xtc_probability, 0.0, 1.0, "[0, 1]"},
                {"xtc_threshold", o->xtc_threshold, 1e-9, 1.0, "(0, 1]"},
                {"dry_multiplier", o->dry_multiplier, 0.0, 1e4, "0 .. 1e4"},
                {"dry_base", o->dry_base, 1.0, 1e4, "1 .. 1e4"},
                {"dynamic_temperature", o->dynamic_temperature, 0.0,
                 o->dynamic_temperature == 0.0 ? 0.0 : o->temperature - 1e-4,
                 "0 .. below temperature"},
                {"dynamic_exponent", o->dynamic_exponent, 1e-4, 1e4, "1e-4 .. 1e4"},
                {"mirostat_tau", o->mirostat_tau, 1e-4, 1e4, "1e-4 .. 1e4"},
                {"mirostat_eta", o->mirostat_eta, 0.0, 1.0, "[0, 1]"}};
    llm_status status = LLM_OK;

    for (size_t i = 0; i < sizeof rows / sizeof *rows && !status; i++)
        status = check_number(rows[i].name, rows[i].value,
                              rows[i].value >= rows[i].least && rows[i].value <= rows[i].most,
                              rows[i].range);
    return status;
}

static llm_status check_bias(const llm_generate_options *options, int64_t vocabulary)
{
    if (options->bias_count && (!options->bias_ids || !options->bias_values))
        return status_set(LLM_E_INVALID, "llm_generate_options: bias_ids or bias_values is NULL");
    for (size_t i = 0; i < options->bias_count; i++) {
        int32_t id = options->bias_ids[i];
        float value = options->bias_values[i];

        if (id < 0 || id >= vocabulary)
            return status_set(LLM_E_RANGE,
                              "llm_generate_options: bias_ids[%zu] is %d, outside "
                              "0..%lld",
                              i, id, (long long)vocabulary - 1);
        if (!isfinite(value) && value != -INFINITY)
            return status_set(LLM_E_RANGE, "llm_generate_options: bias_values[%zu] is %g", i,
                              (double)value);
    }
    return LLM_OK;
}

static llm_status check_breakers(const llm_generate_options *options)
{
    if (options->dry_allowed_length < 1 || options->dry_window < 0)
        return status_set(LLM_E_RANGE,
                          "llm_generate_options: dry_allowed_length is %lld, dry_window %lld",
                          (long long)options->dry_allowed_length, (long long)options->dry_window);
    if (!options->dry_breakers && options->dry_breaker_count)
        return status_set(LLM_E_INVALID, "llm_generate_options: dry_breakers is NULL");
    if (options->dry_breaker_count > DRY_BREAKERS_MOST)
        return status_set(LLM_E_RANGE, "llm_generate_options: %zu dry_breakers, at most %d",
                          options->dry_breaker_count, DRY_BREAKERS_MOST);
    for (size_t i = 0; i < options->dry_breaker_count; i++) {
        const char *text = options->dry_breakers[i];

        if (!text || !*text)
            return status_set(LLM_E_INVALID, "llm_generate_options: dry_breakers[%zu] is %s", i,
                              text ? "empty" : "NULL");
        if (strlen(text) > DRY_BREAKER_MOST)
            return status_set(LLM_E_RANGE,
                              "llm_generate_options: dry_breakers[%zu] is longer than %d bytes", i,
                              DRY_BREAKER_MOST);
    }
    return LLM_OK;
}

static llm_status check_stages(const llm_generate_options *options)
{
    uint32_t seen = 0;

    if (!options->stages && options->stage_count)
        return status_set(LLM_E_INVALID, "llm_generate_options: stages is NULL");
    for (size_t i = 0; i < options->stage_count; i++) {
        int32_t stage = options->stages[i];

        if (stage < LLM_STAGE_TEMPERATURE || stage > LLM_STAGE_CALLBACK)
            return status_set(LLM_E_RANGE, "llm_generate_options: stages[%zu] is %d", i, stage);
        if (seen >> stage & 1)
            return status_set(LLM_E_INVALID, "llm_generate_options: stages[%zu] is there twice", i);
        seen |= 1u << stage;
    }
    return LLM_OK;
}

static llm_status check_counts(const llm_generate_options *options)
{
    if (options->top_k < 0)
        return status_set(LLM_E_RANGE, "llm_generate_options: top_k is %d", options->top_k);
    if (options->repetition_window < 0)
        return status_set(LLM_E_RANGE, "llm_generate_options: repetition_window is %lld",
                          (long long)options->repetition_window);
    if (options->mirostat < 0 || options->mirostat > 2)
        return status_set(LLM_E_RANGE, "llm_generate_options: mirostat is %d, outside 0..2",
                          options->mirostat);
    return LLM_OK;
}

llm_status sampler_check(const llm_generate_options *options, int64_t vocabulary)
{
    llm_status status = check_numbers(options);

    if (!status)
        status = check_new_numbers(options);
    if (!status)
        status = check_bias(options, vocabulary);
    if (!status)
        status = check_counts(options);
    if (!status)
        status = check_breakers(options);
    if (!status)
        status = check_stages(options);
    return status;
}

const int32_t *sampler_order(int32_t order, size_t *count_out)
{
    static const int32_t usual[] = {
        LLM_STAGE_TEMPERATURE, LLM_STAGE_TOP_N_SIGMA, LLM_STAGE_TOP_K, LLM_STAGE_TOP_P,
        LLM_STAGE_MIN_P,       LLM_STAGE_TYPICAL_P,   LLM_STAGE_XTC,   LLM_STAGE_CALLBACK};
    static const int32_t llama_cpp[] = {
        LLM_STAGE_TOP_N_SIGMA, LLM_STAGE_TOP_K, LLM_STAGE_TYPICAL_P,   LLM_STAGE_TOP_P,
        LLM_STAGE_MIN_P,       LLM_STAGE_XTC,   LLM_STAGE_TEMPERATURE, LLM_STAGE_CALLBACK};

    *count_out = sizeof usual / sizeof *usual;
    if (order == LLM_ORDER_DEFAULT)
        return usual;
    if (order == LLM_ORDER_LLAMA_CPP)
        return llama_cpp;
    *count_out = 0;
    return NULL;
}
