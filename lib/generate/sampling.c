/* SPDX-License-Identifier: MIT */
#include "generate/sampling.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

llm_status sampler_init(struct sampler *sampler, llm_context *context, int64_t vocabulary)
{
    struct memory *memory = &context->memory;
    size_t size = (size_t)vocabulary;
    struct candidates *candidates = &sampler->candidates;

    memset(sampler, 0, sizeof *sampler);
    sampler->context = context_retain(context);
    sampler->vocabulary = vocabulary;
    candidates->kernels = context->kernels;
    sampler->logits = memory_alloc_array(memory, size, sizeof(float));
    sampler->marks = memory_alloc_zeroed(memory, size, sizeof(int32_t));
    candidates->id = memory_alloc_array(memory, size, sizeof(int32_t));
    candidates->value = memory_alloc_array(memory, size, sizeof(float));
    candidates->weight = memory_alloc_array(memory, size, sizeof(float));
    candidates->key = memory_alloc_array(memory, size, sizeof(uint32_t));
    if (sampler->logits && sampler->marks && candidates->id && candidates->value &&
        candidates->weight && candidates->key)
        return LLM_OK;
    sampler_free(sampler);
    return LLM_E_NOMEM;
}

void sampler_free(struct sampler *sampler)
{
    llm_context *context = sampler->context;

    if (!context)
        return;
    memory_release(&context->memory, sampler->logits);
    memory_release(&context->memory, sampler->marks);
    memory_release(&context->memory, sampler->candidates.id);
    memory_release(&context->memory, sampler->candidates.value);
    memory_release(&context->memory, sampler->candidates.weight);
    memory_release(&context->memory, sampler->candidates.key);
    memset(sampler, 0, sizeof *sampler);
    context_release(context);
}

/* ---- checks -----------------------------------------------------------------------------------
 */

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

llm_status sampler_check(const llm_generate_options *options, int64_t vocabulary)
{
    llm_status status = check_numbers(options);

    if (!status)
        status = check_bias(options, vocabulary);
    if (!status && options->top_k < 0)
        status = status_set(LLM_E_RANGE, "llm_generate_options: top_k is %d", options->top_k);
    if (!status && options->repetition_window < 0)
        status = status_set(LLM_E_RANGE, "llm_generate_options: repetition_window is %lld",
                            (long long)options->repetition_window);
    return status;
}

/* ---- picking ----------------------------------------------------------------------------------
 */

static llm_status check_logits(const struct sampler *sampler, const char *where)
{
    const struct vector_kernels *vector = &sampler->candidates.kernels->vector;
    float best = vector->max(sampler->logits, sampler->vocabulary);
    const char *what = "every logit is -infinity";

    if (isfinite(best))
        return LLM_OK;
    if (isnan(best))
        what = "a logit is NaN";
    else if (best > 0.0f)
        what = "a logit is infinite";
    return status_set(LLM_E_NUMERIC, "%s: %s", where, what);
}

static llm_status penalize(struct sampler *sampler, const struct sampler_text *text,
                           const llm_generate_options *options)
{
    size_t first = 0;

    if (options->repetition_window > 0 && (uint64_t)options->repetition_window < text->length)
        first = text->length - (size_t)options->repetition_window;
    if (options->bias_count)
        filter_bias(sampler->logits, options->bias_ids, options->bias_values, options->bias_count);
    if (options->repetition_penalty != 1.0)
        filter_repetition(sampler->logits, text->ids + first, text->length - first,
                          options->repetition_penalty, sampler->marks);
    if (options->frequency_penalty != 0.0 || options->presence_penalty != 0.0)
        filter_frequency(sampler->logits, text->ids + text->appended, text->length - text->appended,
                         options->frequency_penalty, options->presence_penalty, sampler->marks);
    return check_logits(sampler, "after bias and penalties");
}

static int32_t first_best(const struct sampler *sampler)
{
    const struct vector_kernels *vector = &sampler->candidates.kernels->vector;
    float best = vector->max(sampler->logits, sampler->vocabulary);
    int64_t i = 0;

    while (i < sampler->vocabulary - 1 && sampler->logits[i] != best)
        i++;
    return (int32_t)i;
}

llm_status sampler_penalize(struct sampler *sampler, const float *logits,
                            const struct sampler_text *text, const llm_generate_options *options)
{
    llm_status status;

    memcpy(sampler->logits, logits, (size_t)sampler->vocabulary * sizeof *logits);
    status = check_logits(sampler, "the model's output");
    return status ? status : penalize(sampler, text, options);
}

void sampler_narrow(struct sampler *sampler, const llm_generate_options *options)
{
    struct candidates *candidates = &sampler->candidates;

    candidates_collect(candidates, sampler->logits, (size_t)sampler->vocabulary);
    filter_temperature(candidates, options->temperature);
    filter_top_k(candidates, (size_t)options->top_k);
    candidates_weigh(candidates);
    filter_top_p(candidates, options->top_p);
    filter_min_p(candidates, options->min_p);
    filter_typical(candidates, options->typical_p);
}

llm_status sampler_pick(int32_t *id_out, struct sampler *sampler, const float *logits,
                        const struct sampler_text *text, const llm_generate_options *options)
{
    uint64_t seed = options->seed ? options->seed : sampler->context->seed;
    struct rng rng = rng_make(seed, text->length);
    llm_status status = sampler_penalize(sampler, logits, text, options);

    if (status)
        return status;
    if (options->temperature == 0.0) {
        *id_out = first_best(sampler);
        return LLM_OK;
    }
    sampler_narrow(sampler, options);
    *id_out = candidates_draw(&sampler->candidates, rng_uniform(&rng));
    return LLM_OK;
}

/* Insertion into a short sorted list: almost every logit fails the first comparison. */
void sampler_top(llm_token_choice *top, size_t count, const float *logits, int64_t vocabulary,
                 float log_sum_exp)
{
    size_t held = 0;

    for (int64_t i = 0; i < vocabulary; i++) {
        size_t place;

        if (held == count && logits[i] <= top[held - 1].logprob)
            continue;
        place = held < count ? held++ : held - 1;
        for (; place > 0 && top[place - 1].logprob < logits[i]; place--)
            top[place] = top[place - 1];
        top[place].id = (int32_t)i;
        top[place].logprob = logits[i];
    }
    for (size_t i = 0; i < held; i++)
        top[i].logprob -= log_sum_exp;
}
