/* SPDX-License-Identifier: MIT
 *
 * Texts from texts with T5: greedy and beam search give the ids that transformers' generate()
 * gives; sampling repeats itself with a seed.
 */
#include "heads.h"

#include "generate/beam.h"
#include "generate/seq2seq.h"

#include <stdio.h>
#include <string.h>

enum { ROW = 16, NEW_TOKENS = 14, TEXTS = 5 }; /* make_encoders.py: generated() */

static llm_generate_options sampling_defaults(void)
{
    return (llm_generate_options){.struct_size = sizeof(llm_generate_options),
                                  .top_p = 1.0,
                                  .typical_p = 1.0,
                                  .repetition_penalty = 1.0,
                                  .xtc_threshold = 0.1,
                                  .dry_base = 1.75,
                                  .dynamic_exponent = 1.0,
                                  .mirostat_tau = 5.0,
                                  .mirostat_eta = 0.1,
                                  .dry_allowed_length = 2};
}

static size_t generate(int32_t *ids, struct head_golden *golden, int32_t text,
                       const struct seq2seq_options *options)
{
    const int32_t *offsets = golden->batch.offsets;
    size_t count;

    if (seq2seq_generate(ids, NEW_TOKENS, &count, golden->model, golden->batch.ids + offsets[text],
                         (size_t)(offsets[text + 1] - offsets[text]), options))
        fail_msg("%s", status_message());
    return count;
}

/* Row `text` of a golden tensor: the start token, the text, -1 or (after beams) padding. */
static void expect_row(struct head_golden *golden, const char *folder, const char *name,
                       int32_t text, const int32_t *ids, size_t count)
{
    int64_t values;
    const int32_t *row = head_golden_values(golden, name, &values);

    assert_int_equal(TEXTS * ROW, values);
    row += text * ROW;
    assert_int_equal(golden->model->decoder_start, row[0]);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] != row[1 + i])
            fail_msg("%s: %s, text %d: token %zu is %d, expected %d", folder, name, text, i, ids[i],
                     row[1 + i]);
    }
    if (count < NEW_TOKENS)
        assert_true(ids[count - 1] == golden->model->end_token || row[1 + count] <= 0);
    if (row[1 + count] > 0)
        fail_msg("%s: %s, text %d ends after %zu tokens", folder, name, text, count);
}

static void ids_agree(void **state)
{
    static const struct {
        const char *name;
        int32_t beams, stopping;
        double length_penalty;
    } ways[] = {{"greedy", 1, BEAM_STOP_HEURISTIC, 1.0},
                {"beams0", 3, BEAM_STOP_HEURISTIC, 1.0},
                {"beams1", 4, BEAM_STOP_EARLY, 2.0},
                {"beams2", 4, BEAM_STOP_NEVER, -1.0},
                {"beams3", 2, BEAM_STOP_HEURISTIC, 0.0}};
    static const char *const folders[] = {"t5-v1.0", "t5-v1.1"};
    const llm_generate_options sampling = sampling_defaults();

    (void)state;
    for (int f = 0; f < 2; f++) {
        struct head_golden golden;

        head_golden_open(&golden, folders[f], 2);
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            const struct seq2seq_options options = {NEW_TOKENS, ways[w].beams, ways[w].stopping,
                                                    ways[w].length_penalty, &sampling};

            for (int32_t text = 0; text < TEXTS; text++) {
                int32_t ids[NEW_TOKENS];
                size_t count = generate(ids, &golden, text, &options);

                expect_row(&golden, folders[f], ways[w].name, text, ids, count);
            }
        }
        head_golden_close(&golden);
    }
}

static void sampling_repeats(void **state)
{
    llm_generate_options sampling = sampling_defaults();
    const struct seq2seq_options options = {NEW_TOKENS, 1, 0, 1.0, &sampling};
    struct head_golden golden;
    int32_t ids[3][NEW_TOKENS] = {{0}};
    size_t counts[3];

    (void)state;
    head_golden_open(&golden, "t5-v1.1", 1);
    sampling.temperature = 1.5;
    for (int i = 0; i < 3; i++) {
        sampling.seed = i == 2 ? 8 : 7;
        counts[i] = generate(ids[i], &golden, 2, &options);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_true(counts[0] != counts[2] || memcmp(ids[0], ids[2], sizeof ids[0]) != 0);
    head_golden_close(&golden);
}

static void refuses(void **state)
{
    const llm_generate_options sampling = sampling_defaults();
    const struct seq2seq_options options = {NEW_TOKENS, 2, 0, 1.0, &sampling};
    struct head_golden golden;
    int32_t ids[NEW_TOKENS], bad = 61;
    size_t count;

    (void)state;
    head_golden_open(&golden, "t5-v1.0", 1);
    assert_int_equal(LLM_E_RANGE,
                     seq2seq_generate(ids, NEW_TOKENS, &count, golden.model, &bad, 1, &options));
    assert_int_equal(LLM_E_RANGE,
                     seq2seq_generate(ids, NEW_TOKENS, &count, golden.model, ids, 0, &options));
    assert_int_equal(LLM_E_BUFFER,
                     seq2seq_generate(ids, 3, &count, golden.model, golden.batch.ids, 7, &options));
    assert_true(count > 3);
    assert_int_equal(LLM_OK, model_lock_exclusive(golden.model));
    assert_int_equal(LLM_E_BUSY, seq2seq_generate(ids, NEW_TOKENS, &count, golden.model,
                                                  golden.batch.ids, 7, &options));
    model_unlock_exclusive(golden.model);
    head_golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_agree),
        cmocka_unit_test(sampling_repeats),
        cmocka_unit_test(refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
