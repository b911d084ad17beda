/* SPDX-License-Identifier: MIT
 *
 * Every component of tokenizer.json and combinations, replayed from what Hugging Face tokenizers
 * gave (tests/golden/make_pipeline.py): ids, types, words, offsets, pieces, decoded text, streamed
 * text, and the same after writing and reading again.
 */
#include "fixtures.h"

enum { LINE = 1 << 16, MOST = 4096 };

struct replay {
    FILE *file;
    char *line;
    char *models[64];
    size_t model_count;
    llm_context *context;
    llm_tokenizer *tokenizer;
    llm_tokenizer *again; /* written and read */
    size_t tokenizers;
    size_t cases;
    llm_encoding *encoding;
    llm_encoding *encoding_again;
    size_t piece;
    char text[MOST];
    size_t text_size;
};

static size_t unhex(char *out, const char *word)
{
    size_t size = 0;

    for (; word[0] != '-' && word[2 * size] && word[2 * size] != '\n'; size++) {
        unsigned value;

        assert_true(size < MOST - 1);
        assert_int_equal(sscanf(word + 2 * size, "%2x", &value), 1);
        out[size] = (char)value;
    }
    out[size] = '\0';
    return size;
}

static void load(struct replay *replay, const char *line)
{
    char *end;
    size_t model = strtoul(line, &end, 10);
    char *json = malloc(2 * LINE);
    int size;
    size_t needed;
    char *written;

    assert_true(model < replay->model_count && json);
    size =
        snprintf(json, 2 * LINE, "{\"model\":%s,%s", replay->models[model], strchr(end, '{') + 1);
    llm_tokenizer_free(replay->tokenizer);
    llm_tokenizer_free(replay->again);
    if (llm_tokenizer_load_memory(&replay->tokenizer, replay->context, json, (size_t)size))
        fail_msg("%s in %s", llm_last_error(), json);
    assert_int_equal(llm_tokenizer_save_memory(NULL, 0, &needed, replay->tokenizer), LLM_E_BUFFER);
    written = malloc(needed);
    assert_non_null(written);
    assert_int_equal(llm_tokenizer_save_memory(written, needed, &needed, replay->tokenizer),
                     LLM_OK);
    if (llm_tokenizer_load_memory(&replay->again, replay->context, written, needed))
        fail_msg("%s in %s", llm_last_error(), written);
    free(written);
    free(json);
    replay->tokenizers++;
}

static void read_option(llm_encoding_options *options, const char *word)
{
    int64_t value = strtol(strchr(word, '=') + 1, NULL, 10);

    if (strncmp(word, "add_special", 11) == 0)
        options->add_special = (int32_t)value;
    else if (strncmp(word, "max_tokens", 10) == 0)
        options->max_tokens = value;
    else if (strncmp(word, "stride", 6) == 0)
        options->stride = value;
    else if (strncmp(word, "truncation_side", 15) == 0)
        options->truncation_side = (int32_t)value;
    else if (strncmp(word, "truncation_strategy", 19) == 0)
        options->truncation_strategy = (int32_t)value;
    else
        fail_msg("option %s", word);
}

static void encode(struct replay *replay, char *line)
{
    llm_encoding_options options;
    char pair[MOST];
    size_t pair_size = 0;
    bool has_pair = false;
    char *word = strtok(line, " \n");

    assert_int_equal(llm_encoding_options_init(&options, sizeof options), LLM_OK);
    options.parse_special = 1;
    replay->text_size = unhex(replay->text, word);
    while ((word = strtok(NULL, " \n")) != NULL) {
        if (strchr(word, '=')) {
            read_option(&options, word);
        } else {
            pair_size = unhex(pair, word);
            has_pair = true;
        }
    }
    llm_encoding_free(replay->encoding);
    llm_encoding_free(replay->encoding_again);
    if (llm_encoding_new(&replay->encoding, replay->tokenizer, replay->text, replay->text_size,
                         has_pair ? pair : NULL, pair_size, &options))
        fail_msg("%s", llm_last_error());
    assert_int_equal(llm_encoding_new(&replay->encoding_again, replay->again, replay->text,
                                      replay->text_size, has_pair ? pair : NULL, pair_size,
                                      &options),
                     LLM_OK);
    replay->piece = SIZE_MAX;
    replay->cases++;
}

static void check_values(const struct replay *replay, int32_t what, const char *line)
{
    const llm_encoding *encodings[2] = {replay->encoding, replay->encoding_again};

    for (int e = 0; e < 2; e++) {
        size_t count;
        const int32_t *values = llm_encoding_values(encodings[e], replay->piece, what, &count);
        char *end;
        const char *p = line;

        assert_non_null(values);
        for (size_t i = 0; i < count; i++, p = end) {
            long expected = strtol(p, &end, 10);

            if (p == end || expected != values[i])
                fail_msg("tokenizer %zu, case %zu, piece %zu, values %d, token %zu: %d, not %s",
                         replay->tokenizers, replay->cases, replay->piece, (int)what, i,
                         (int)values[i], p);
        }
        assert_int_equal(p[strspn(p, " \n")], '\0');
    }
}

static void check_offsets(const struct replay *replay, const char *line)
{
    size_t count;
    const size_t *begins =
        llm_encoding_offsets(replay->encoding, replay->piece, LLM_OFFSETS_CHARACTER_BEGIN, &count);
    const size_t *ends =
        llm_encoding_offsets(replay->encoding, replay->piece, LLM_OFFSETS_CHARACTER_END, NULL);
    char *end;

    for (size_t i = 0; i < 2 * count; i++, line = end) {
        size_t value = i % 2 ? ends[i / 2] : begins[i / 2];

        if (strtoul(line, &end, 10) != value)
            fail_msg("tokenizer %zu, case %zu, piece %zu, offset %zu: %zu, not %s",
                     replay->tokenizers, replay->cases, replay->piece, i, value, line);
    }
    assert_int_equal(line[strspn(line, " \n")], '\0');
}

/* Pushed one by one, the ids give the same text. */
static void check_stream(const struct replay *replay, const int32_t *ids, size_t count,
                         const char *expected, size_t size)
{
    llm_decoder *decoder;
    char back[MOST];
    size_t at = 0;

    assert_int_equal(llm_decoder_new(&decoder, replay->tokenizer, NULL), LLM_OK);
    for (size_t i = 0; i <= count; i++) {
        const char *text;
        size_t more;

        if (i < count)
            assert_int_equal(llm_decoder_push(decoder, ids[i], &text, &more), LLM_OK);
        else
            assert_int_equal(llm_decoder_finish(decoder, &text, &more), LLM_OK);
        assert_true(at + more <= sizeof back);
        memcpy(back + at, text, more);
        at += more;
    }
    llm_decoder_free(decoder);
    if (at != size || memcmp(back, expected, size) != 0)
        fail_msg("tokenizer %zu, case %zu: streamed \"%.*s\", not \"%s\"", replay->tokenizers,
                 replay->cases, (int)at, back, expected);
}

/* The decoders that look at the last token, or at tokens that repeat, are not streamed alike. */
static bool streams(const llm_tokenizer *tokenizer)
{
    return !token_decoder_has(&tokenizer->decoder, "BPEDecoder") &&
           !token_decoder_has(&tokenizer->decoder, "CTC");
}

static void check_text(const struct replay *replay, const char *word)
{
    llm_decode_options options;
    size_t count;
    const int32_t *ids = llm_encoding_values(replay->encoding, 0, LLM_ENCODING_IDS, &count);
    char expected[MOST];
    char back[MOST];
    size_t size;
    size_t wanted = unhex(expected, word);

    assert_int_equal(llm_decode_options_init(&options, sizeof options), LLM_OK);
    options.replace_invalid = 1;
    assert_int_equal(
        llm_tokenizer_decode(back, sizeof back, &size, replay->tokenizer, ids, count, &options),
        LLM_OK);
    if (size != wanted || memcmp(back, expected, size) != 0)
        fail_msg("tokenizer %zu, case %zu: \"%.*s\", not \"%s\"", replay->tokenizers, replay->cases,
                 (int)size, back, expected);
    if (streams(replay->tokenizer))
        check_stream(replay, ids, count, expected, wanted);
}

static void replay_line(struct replay *replay)
{
    char *line = replay->line;

    switch (line[0]) {
    case 'M':
        assert_true(replay->model_count < 64);
        line[strcspn(line, "\n")] = '\0';
        replay->models[replay->model_count] = strdup(line + 2);
        assert_non_null(replay->models[replay->model_count++]);
        break;
    case 'T':
        load(replay, line + 2);
        break;
    case 'C':
        if (replay->encoding)
            assert_int_equal(replay->piece + 1, llm_encoding_pieces(replay->encoding));
        encode(replay, line + 2);
        break;
    case 'I':
        replay->piece++;
        check_values(replay, LLM_ENCODING_IDS, line + 1);
        break;
    case 'Y':
        check_values(replay, LLM_ENCODING_TYPES, line + 1);
        break;
    case 'W':
        check_values(replay, LLM_ENCODING_WORDS, line + 1);
        break;
    case 'O':
        check_offsets(replay, line + 1);
        break;
    case 'D':
        check_text(replay, line + 2);
        break;
    default:
        assert_int_equal(line[0], '#');
    }
}

static void test_replay(void **state)
{
    struct replay replay = {.line = malloc(LINE)};

    (void)state;
    assert_non_null(replay.line);
    replay.context = make_context(1);
    replay.file = fopen(FIXTURES "/pipeline.txt", "rb");
    assert_non_null(replay.file);
    while (fgets(replay.line, LINE, replay.file))
        replay_line(&replay);
    assert_true(replay.tokenizers > 200);
    assert_true(replay.cases > 450);
    (void)fclose(replay.file);
    llm_encoding_free(replay.encoding);
    llm_encoding_free(replay.encoding_again);
    llm_tokenizer_free(replay.tokenizer);
    llm_tokenizer_free(replay.again);
    llm_context_free(replay.context);
    for (size_t i = 0; i < replay.model_count; i++)
        free(replay.models[i]);
    free(replay.line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
