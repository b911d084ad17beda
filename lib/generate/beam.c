/* SPDX-License-Identifier: MIT */
#include "generate/beam.h"

#include <math.h>
#include <string.h>

/* Far below any sum of log-probabilities, yet finite: what transformers puts on texts that do not
 * count. */
static const float out_of_the_race = -1.0e9f;

static llm_status check(const struct beam_options *options)
{
    if (options->beams < 1 || options->beams > BEAM_MOST)
        return status_set(LLM_E_RANGE, "beam search: %d beams, outside 1..%d", options->beams,
                          BEAM_MOST);
    if (options->vocabulary < 1 || options->max_tokens < 1 || options->max_tokens > INT32_MAX)
        return status_set(LLM_E_RANGE, "beam search: %lld tokens of a vocabulary of %lld",
                          (long long)options->max_tokens, (long long)options->vocabulary);
    if (!isfinite(options->length_penalty) || fabs(options->length_penalty) > 100.0)
        return status_set(LLM_E_RANGE, "beam search: length_penalty is %g, outside -100..100",
                          options->length_penalty);
    if (options->end_count > BEAM_END_IDS)
        return status_set(LLM_E_RANGE, "beam search: %zu end tokens, at most %d",
                          options->end_count, BEAM_END_IDS);
    return LLM_OK;
}

/* Enough continuations that as many go on as there are beams, even if every beam ends with every
 * end token. */
static size_t continuations(const struct beam_options *options)
{
    size_t each = options->end_count > 0 ? 1 + options->end_count : 2;
    size_t all = (size_t)options->beams * (size_t)options->vocabulary;
    size_t kept = each * (size_t)options->beams;

    return kept < all ? kept : all;
}

llm_status beam_open(struct beam_search *beam, struct memory *memory,
                     const struct beam_options *options)
{
    llm_status status = check(options);
    size_t beams = (size_t)options->beams;

    memset(beam, 0, sizeof *beam);
    if (status)
        return status;
    beam->memory = memory;
    beam->options = *options;
    if (options->end_count)
        memcpy(beam->end_ids, options->end_ids, options->end_count * sizeof *options->end_ids);
    beam->options.end_ids = beam->end_ids;
    beam->beams = options->beams;
    beam->can_improve = true;
    beam->kept = continuations(options);
    beam->scores = memory_alloc_array(memory, beams, sizeof *beam->scores);
    beam->ids = memory_alloc_zeroed(memory, beams, sizeof *beam->ids);
    beam->parents = memory_alloc_zeroed(memory, beams, sizeof *beam->parents);
    beam->nodes = memory_alloc_array(memory, beams, sizeof *beam->nodes);
    beam->finished = memory_alloc_array(memory, beams, sizeof *beam->finished);
    beam->merged = memory_alloc_array(memory, beams + beam->kept, sizeof *beam->merged);
    beam->best = memory_alloc_array(memory, beam->kept, sizeof *beam->best);
    if (!beam->scores || !beam->ids || !beam->parents || !beam->nodes || !beam->finished ||
        !beam->merged || !beam->best) {
        beam_close(beam);
        return LLM_E_NOMEM;
    }
    for (size_t b = 0; b < beams; b++) {
        beam->scores[b] = b ? out_of_the_race : 0.0f;
        beam->nodes[b] = -1;
        beam->finished[b] = (struct beam_text){out_of_the_race, -1, false};
    }
    return LLM_OK;
}

void beam_close(struct beam_search *beam)
{
    struct memory *memory = beam->memory;

    if (!memory)
        return;
    memory_release(memory, beam->scores);
    memory_release(memory, beam->ids);
    memory_release(memory, beam->parents);
    memory_release(memory, beam->nodes);
    memory_release(memory, beam->finished);
    memory_release(memory, beam->merged);
    memory_release(memory, beam->best);
    memory_release(memory, beam->tree);
    memset(beam, 0, sizeof *beam);
}

/* The best continuations of all beams, best first; among equals the one that comes first. Almost
 * every token fails the first comparison. */
static llm_status find_best(struct beam_search *beam, const float *logits)
{
    const struct vector_kernels *vector = &beam->options.kernels->vector;
    int64_t vocabulary = beam->options.vocabulary;
    int32_t rows = beam->length ? beam->beams : 1;
    size_t held = 0;

    for (int32_t b = 0; b < rows; b++) {
        const float *row = logits + b * vocabulary;
        float lse = vector->log_sum_exp(row, vocabulary);

        if (!isfinite(lse))
            return status_set(LLM_E_NUMERIC, "beam search: the logits of beam %d are not numbers",
                              b);
        for (int64_t i = 0; i < vocabulary; i++) {
            float score = row[i] - lse + beam->scores[b];
            size_t place;

            if (held == beam->kept && !(score > beam->best[held - 1].score))
                continue;
            place = held < beam->kept ? held++ : held - 1;
            for (; place > 0 && beam->best[place - 1].score < score; place--)
                beam->best[place] = beam->best[place - 1];
            beam->best[place] = (struct beam_candidate){score, b, (int32_t)i};
        }
    }
    while (held < beam->kept) /* a vocabulary smaller than what is asked for, in the first step */
        beam->best[held++] = (struct beam_candidate){-INFINITY, 0, 0};
    return LLM_OK;
}

static bool ends(const struct beam_search *beam, int32_t id)
{
    for (size_t i = 0; i < beam->options.end_count; i++) {
        if (beam->end_ids[i] == id)
            return true;
    }
    return beam->length + 1 >= beam->options.max_tokens;
}

static int32_t add_node(struct beam_search *beam, const struct beam_candidate *candidate)
{
    beam->tree[beam->tree_count] = (struct beam_node){beam->nodes[candidate->beam], candidate->id};
    return (int32_t)beam->tree_count++;
}

static float length_factor(const struct beam_search *beam, int64_t length)
{
    return (float)pow((double)length, beam->options.length_penalty);
}

/* The finished texts and those that end here, of which only the first `beams` continuations count;
 * the best of all of them stay. */
static void merge_finished(struct beam_search *beam)
{
    size_t beams = (size_t)beam->beams;
    size_t count = beams;
    bool is_full = true;
    float factor = length_factor(beam, beam->length + 1);

    for (size_t b = 0; b < beams; b++)
        is_full = is_full && beam->finished[b].is_finished;
    memcpy(beam->merged, beam->finished, beams * sizeof *beam->merged);
    for (size_t i = 0; i < beam->kept && i < beams; i++) {
        const struct beam_candidate *candidate = &beam->best[i];
        struct beam_text text = {candidate->score / factor, -1, true};
        size_t place = count;

        if (!ends(beam, candidate->id) || candidate->score == -INFINITY || !beam->can_improve ||
            (is_full && beam->options.stopping == BEAM_STOP_EARLY))
            continue;
        if (text.score > beam->merged[beams - 1].score)
            text.node = add_node(beam, candidate);
        for (; place > 0 && beam->merged[place - 1].score < text.score; place--)
            beam->merged[place] = beam->merged[place - 1];
        beam->merged[place] = text;
        count++;
    }
    memcpy(beam->finished, beam->merged, beams * sizeof *beam->merged);
}

/* The best continuations that do not end go on; texts that cannot are out of the race. */
static bool continue_best(struct beam_search *beam)
{
    int32_t nodes[BEAM_MOST];
    int32_t count = 0;
    bool all_end = true;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < beam->kept && count < beam->beams; i++) {
            const struct beam_candidate *candidate = &beam->best[i];
            bool is_end = ends(beam, candidate->id);

            all_end = all_end && is_end;
            if (is_end != (pass == 1))
                continue;
            beam->scores[count] = candidate->score + (is_end ? out_of_the_race : 0.0f);
            beam->ids[count] = candidate->id;
            beam->parents[count] = candidate->beam;
            nodes[count++] = add_node(beam, candidate);
        }
    }
    for (; count < beam->beams; count++) { /* fewer continuations than beams */
        beam->scores[count] = 2.0f * out_of_the_race;
        beam->ids[count] = beam->ids[0];
        beam->parents[count] = beam->parents[0];
        nodes[count] = nodes[0];
    }
    memcpy(beam->nodes, nodes, (size_t)beam->beams * sizeof *nodes);
    return !all_end;
}

/* Can a running text still become better than the worst finished one? */
static void judge(struct beam_search *beam, bool goes_on)
{
    const struct beam_options *options = &beam->options;
    bool to_the_end = options->stopping == BEAM_STOP_NEVER && options->length_penalty > 0.0;
    int64_t length = to_the_end ? options->max_tokens : beam->length;
    float possible = beam->scores[0] / length_factor(beam, length);
    float worst = beam->finished[beam->beams - 1].score;
    bool is_full = true;

    for (int32_t b = 0; b < beam->beams; b++)
        is_full = is_full && beam->finished[b].is_finished;
    beam->can_improve = beam->can_improve && possible > (is_full ? worst : out_of_the_race);
    beam->is_done =
        !beam->can_improve || !goes_on || (is_full && options->stopping == BEAM_STOP_EARLY);
}

llm_status beam_step(struct beam_search *beam, const float *logits)
{
    llm_status status = find_best(beam, logits);
    bool goes_on;

    if (!status)
        status = memory_grow(beam->memory, (void **)&beam->tree, &beam->tree_capacity,
                             beam->tree_count + 2 * (size_t)beam->beams, sizeof *beam->tree);
    if (status)
        return status;
    merge_finished(beam);
    goes_on = continue_best(beam);
    beam->length++;
    judge(beam, goes_on);
    return LLM_OK;
}

bool beam_result(const struct beam_search *beam, int32_t index, int32_t *ids, int64_t *count_out,
                 float *score_out)
{
    const struct beam_text *text;
    int64_t count = 0;
    int64_t place;

    if (index < 0 || index >= beam->beams || !beam->finished[index].is_finished)
        return false;
    text = &beam->finished[index];
    for (int32_t node = text->node; node >= 0; node = beam->tree[node].parent)
        count++;
    place = count;
    for (int32_t node = text->node; node >= 0 && ids; node = beam->tree[node].parent)
        ids[--place] = beam->tree[node].id;
    *count_out = count;
    *score_out = text->score;
    return true;
}
