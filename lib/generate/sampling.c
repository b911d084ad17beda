/* SPDX-License-Identifier: MIT */
#include "generate/sampling.h"

#include "base/rng.h"
#include "generate/dry.h"

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
    memory_release(&context->memory, sampler->shown);
    memory_release(&context->memory, sampler->repeats);
    memset(sampler, 0, sizeof *sampler);
    context_release(context);
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

/* What a grammar does not allow; words of bits beyond the vocabulary do not exist. */
static void forbid(struct sampler *sampler, const uint32_t *allowed)
{
    for (int64_t i = 0; i < sampler->vocabulary; i++) {
        if (!(allowed[i / 32] >> (i % 32) & 1))
            sampler->logits[i] = -INFINITY;
    }
}

static llm_status penalize_repetition(struct sampler *sampler, const struct sampler_text *text,
                                      const llm_generate_options *options)
{
    struct dry dry = {options->dry_multiplier, options->dry_base,
                      (size_t)options->dry_allowed_length, 0};
    struct dry_breakers breakers = dry_breakers_of(options);
    size_t first = 0;
    llm_status status;

    if (options->dry_window > 0 && (uint64_t)options->dry_window < text->length)
        first = text->length - (size_t)options->dry_window;
    status =
        memory_grow(&sampler->context->memory, (void **)&sampler->repeats,
                    &sampler->repeat_capacity, text->length - first + 1, sizeof *sampler->repeats);
    if (status)
        return status;
    dry.reach = dry_reach(text->tokenizer, text->ids + first, text->length - first, &breakers);
    filter_dry(sampler->logits, text->ids + first, text->length - first, &dry, sampler->repeats,
               sampler->marks);
    return LLM_OK;
}

static llm_status penalize(struct sampler *sampler, const struct sampler_text *text,
                           const llm_generate_options *options)
{
    llm_status status = LLM_OK;
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
    if (options->dry_multiplier > 0.0)
        status = penalize_repetition(sampler, text, options);
    return status ? status : check_logits(sampler, "after bias and penalties");
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
    if (!status && text->allowed) {
        forbid(sampler, text->allowed);
        status = check_logits(sampler, "among the tokens that the grammar allows");
    }
    return status ? status : penalize(sampler, text, options);
}

/* The caller's stage: sees candidates, changes logits. */
static llm_status ask(struct sampler *sampler, const llm_generate_options *options)
{
    struct candidates *candidates = &sampler->candidates;
    size_t kept = 0;
    bool is_broken = false;

    if (!options->on_candidates)
        return LLM_OK;
    if (!sampler->shown)
        sampler->shown = memory_alloc_array(&sampler->context->memory, (size_t)sampler->vocabulary,
                                            sizeof *sampler->shown);
    if (!sampler->shown)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < candidates->count; i++)
        sampler->shown[i] = (llm_candidate){candidates->id[i], candidates->value[i]};
    if (options->on_candidates(options->on_candidates_user, sampler->shown, candidates->count))
        return status_set(LLM_E_CANCELLED, "cancelled by on_candidates");
    for (size_t i = 0; i < candidates->count; i++) {
        float logit = sampler->shown[i].logit;

        is_broken = is_broken || (!isfinite(logit) && logit != -INFINITY);
        candidates->id[kept] = candidates->id[i];
        candidates->value[kept] = logit;
        kept += logit != -INFINITY;
    }
    if (is_broken || !kept)
        return status_set(LLM_E_NUMERIC, "after on_candidates: %s",
                          kept ? "a logit is NaN or infinite" : "every logit is -infinity");
    candidates->count = kept;
    candidates->is_weighed = false;
    return LLM_OK;
}

static llm_status run_stage(struct sampler *sampler, int32_t stage,
                            const llm_generate_options *options, double chance)
{
    struct candidates *candidates = &sampler->candidates;

    switch (stage) {
    case LLM_STAGE_TEMPERATURE:
        filter_dynamic_temperature(candidates, options->temperature, options->dynamic_temperature,
                                   options->dynamic_exponent);
        break;
    case LLM_STAGE_TOP_N_SIGMA:
        filter_top_n_sigma(candidates, options->top_n_sigma);
        break;
    case LLM_STAGE_TOP_K:
        filter_top_k(candidates, (size_t)options->top_k);
        break;
    case LLM_STAGE_TOP_P:
        filter_top_p(candidates, options->top_p);
        break;
    case LLM_STAGE_MIN_P:
        filter_min_p(candidates, options->min_p);
        break;
    case LLM_STAGE_TYPICAL_P:
        filter_typical(candidates, options->typical_p);
        break;
    case LLM_STAGE_XTC:
        if (chance < options->xtc_probability)
            filter_xtc(candidates, options->xtc_threshold);
        break;
    default:
        return ask(sampler, options);
    }
    return LLM_OK;
}

static bool runs_with_mirostat(int32_t stage)
{
    return stage == LLM_STAGE_TEMPERATURE || stage == LLM_STAGE_CALLBACK;
}

/* mu belongs to the text since the last append. */
static void mirostat_resume(struct sampler *sampler, const struct sampler_text *text,
                            const llm_generate_options *options)
{
    if (sampler->mirostat.length != text->length || text->length == text->appended)
        sampler->mirostat.mu = 2.0 * options->mirostat_tau;
}

llm_status sampler_narrow(struct sampler *sampler, const struct sampler_text *text,
                          const llm_generate_options *options, double chance)
{
    struct candidates *candidates = &sampler->candidates;
    const int32_t *stages = options->stages;
    size_t count = options->stage_count;
    llm_status status = LLM_OK;

    if (!stages)
        stages = sampler_order(LLM_ORDER_DEFAULT, &count);
    candidates_collect(candidates, sampler->logits, (size_t)sampler->vocabulary);
    for (size_t i = 0; i < count && !status; i++) {
        if (!options->mirostat || runs_with_mirostat(stages[i]))
            status = run_stage(sampler, stages[i], options, chance);
    }
    if (!status && options->mirostat) {
        mirostat_resume(sampler, text, options);
        mirostat_narrow(&sampler->mirostat, candidates, options->mirostat, sampler->vocabulary);
    }
    return status;
}

static bool has_callback(const llm_generate_options *options)
{
    bool is_listed = !options->stages;

    for (size_t i = 0; i < options->stage_count && options->stages; i++)
        is_listed = is_listed || options->stages[i] == LLM_STAGE_CALLBACK;
    return is_listed && options->on_candidates;
}

/* The most probable token, among equals the lowest id. */
static llm_status pick_best(int32_t *id_out, struct sampler *sampler,
                            const llm_generate_options *options)
{
    const struct candidates *candidates = &sampler->candidates;
    llm_status status = LLM_OK;
    size_t best = 0;

    if (!has_callback(options)) {
        *id_out = first_best(sampler);
        return LLM_OK;
    }
    candidates_collect(&sampler->candidates, sampler->logits, (size_t)sampler->vocabulary);
    status = ask(sampler, options);
    for (size_t i = 1; i < candidates->count && !status; i++)
        best = candidates->value[i] > candidates->value[best] ? i : best;
    if (!status)
        *id_out = candidates->id[best];
    return status;
}

llm_status sampler_pick(int32_t *id_out, struct sampler *sampler, const float *logits,
                        const struct sampler_text *text, const llm_generate_options *options)
{
    uint64_t seed = options->seed ? options->seed : sampler->context->seed;
    struct rng rng = rng_make(seed, text->length);
    double u = rng_uniform(&rng);
    llm_status status = sampler_penalize(sampler, logits, text, options);

    if (!status && options->temperature == 0.0)
        return pick_best(id_out, sampler, options);
    if (!status)
        status = sampler_narrow(sampler, text, options, rng_uniform(&rng));
    if (status)
        return status;
    *id_out = candidates_draw(&sampler->candidates, u);
    if (options->mirostat) {
        mirostat_learn(&sampler->mirostat, &sampler->candidates, *id_out, options->mirostat_tau,
                       options->mirostat_eta);
        sampler->mirostat.length = text->length + 1;
    }
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
