/* SPDX-License-Identifier: MIT
 *
 * Encodings through the public header: a pair with types and offsets, pieces with stride, misuse,
 * and all of it under an allocator that fails.
 */
#include <llm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "failing_allocator.h"

/* A BERT of few words, with every kind of stage. */
static const char json[] =
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":"
    "\"Replace\",\"pattern\":{\"Regex\":\"-+\"},\"content\":\"-\"},{\"type\":\"BertNormalizer\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"BertPreTokenizer\"},"
    "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"MergedWithNext\"},{\"type\":"
    "\"Digits\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"WordPiece\"},{\"type\":"
    "\"Replace\","
    "\"pattern\":{\"String\":\"q\"},\"content\":\"Q\"}]},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1],\"sep\":[\"[SEP]\",2]},"
    "\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true},{\"id\":2,\"content\":"
    "\"[SEP]\",\"special\":true},{\"id\":9,\"content\":\"Day\",\"normalized\":true}],"
    "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"the\":3,"
    "\"q\":4,\"##q\":5,\"-\":6,\"1\":7,\"##1\":8,\"Day\":9,\"##ing\":10,\"th\":11}}}";
/* "The" with an accent, a full-width 1, two hyphens. */
static const char text[] = "Th\xC3\xA9 q--\xEF\xBC\x91\xEF\xBC\x91 Thing";
static const char pair[] = "day";

static void check_values(const llm_encoding *encoding, size_t piece, int32_t what,
                         const int32_t *expected, size_t wanted)
{
    size_t count;
    const int32_t *values = llm_encoding_values(encoding, piece, what, &count);

    assert_non_null(values);
    assert_int_equal(count, wanted);
    assert_memory_equal(values, expected, wanted * sizeof *expected);
}

static void test_pair(void **state)
{
    static const int32_t ids[] = {1, 3, 4, 6, 7, 8, 11, 10, 2, 9, 2};
    static const int32_t types[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
    static const int32_t special[] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1};
    static const int32_t words[] = {-1, 0, 1, 2, 3, 3, 4, 4, -1, 0, -1};
    static const int32_t sequences[] = {-1, 0, 0, 0, 0, 0, 0, 0, -1, 1, -1};
    static const size_t byte_begins[] = {0, 0, 5, 7, 8, 11, 15, 17, 0, 0, 0};
    static const size_t character_ends[] = {0, 3, 5, 7, 8, 9, 12, 15, 0, 3, 0};
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_encoding *encoding = NULL;
    size_t count;
    const size_t *offsets;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_tokenizer_load_memory(&tokenizer, context, json, sizeof json - 1), LLM_OK);
    llm_context_free(context);
    assert_int_equal(
        llm_encoding_new(&encoding, tokenizer, text, sizeof text - 1, pair, sizeof pair - 1, NULL),
        LLM_OK);
    llm_tokenizer_free(tokenizer); /* the encoding stands by itself */
    assert_int_equal(llm_encoding_pieces(encoding), 1);
    check_values(encoding, 0, LLM_ENCODING_IDS, ids, 11);
    check_values(encoding, 0, LLM_ENCODING_TYPES, types, 11);
    check_values(encoding, 0, LLM_ENCODING_SPECIAL, special, 11);
    check_values(encoding, 0, LLM_ENCODING_WORDS, words, 11);
    check_values(encoding, 0, LLM_ENCODING_SEQUENCES, sequences, 11);
    offsets = llm_encoding_offsets(encoding, 0, LLM_OFFSETS_BYTE_BEGIN, &count);
    assert_int_equal(count, 11);
    assert_memory_equal(offsets, byte_begins, sizeof byte_begins);
    offsets = llm_encoding_offsets(encoding, 0, LLM_OFFSETS_CHARACTER_END, NULL);
    assert_memory_equal(offsets, character_ends, sizeof character_ends);
    llm_encoding_free(encoding);
}

static void test_pieces(void **state)
{
    static const int32_t first[] = {1, 3, 4, 6, 2};
    static const int32_t second[] = {1, 6, 7, 8, 2};
    static const int32_t last_from_left[] = {1, 3, 2};
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_encoding *encoding = NULL;
    llm_encoding_options options;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_tokenizer_load_memory(&tokenizer, context, json, sizeof json - 1), LLM_OK);
    assert_int_equal(llm_encoding_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = 5;
    options.stride = 1;
    assert_int_equal(
        llm_encoding_new(&encoding, tokenizer, text, sizeof text - 1, NULL, 0, &options), LLM_OK);
    assert_int_equal(llm_encoding_pieces(encoding), 3);
    check_values(encoding, 0, LLM_ENCODING_IDS, first, 5);
    check_values(encoding, 1, LLM_ENCODING_IDS, second, 5);
    llm_encoding_free(encoding);
    options.stride = 0;
    options.truncation_side = LLM_TRUNCATE_LEFT;
    assert_int_equal(
        llm_encoding_new(&encoding, tokenizer, text, sizeof text - 1, NULL, 0, &options), LLM_OK);
    assert_int_equal(llm_encoding_pieces(encoding), 3);
    check_values(encoding, 2, LLM_ENCODING_IDS, last_from_left, 3);
    llm_encoding_free(encoding);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

static llm_status try_options(const llm_tokenizer *tokenizer, const llm_encoding_options *options)
{
    llm_encoding *encoding = (llm_encoding *)options;
    llm_status status =
        llm_encoding_new(&encoding, tokenizer, text, sizeof text - 1, NULL, 0, options);

    if (status)
        assert_null(encoding);
    llm_encoding_free(encoding);
    return status;
}

static void test_misuse(void **state)
{
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    llm_encoding *encoding = NULL;
    llm_encoding_options good;
    llm_encoding_options options;
    size_t count = 7;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_int_equal(llm_tokenizer_load_memory(&tokenizer, context, json, sizeof json - 1), LLM_OK);
    assert_int_equal(llm_encoding_options_init(&good, sizeof good), LLM_OK);
    options = good;
    options.max_tokens = 1; /* two tokens are put around the text */
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options.max_tokens = 2; /* nothing of the text is left: it is the second piece */
    assert_int_equal(try_options(tokenizer, &options), LLM_OK);
    options.max_tokens = 5;
    options.stride = 3;
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options.stride = -1;
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options = good;
    options.truncation_side = 2;
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options = good;
    options.truncation_strategy = -1;
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options = good;
    options.max_tokens = 4;
    options.truncation_strategy = LLM_TRUNCATE_ONLY_SECOND; /* there is none */
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    options = good;
    options.add_special = 2;
    assert_int_equal(try_options(tokenizer, &options), LLM_E_INVALID);
    assert_int_equal(llm_encoding_new(&encoding, tokenizer, NULL, 1, NULL, 0, NULL), LLM_E_INVALID);
    assert_int_equal(llm_encoding_new(&encoding, tokenizer, "", 0, NULL, 3, NULL), LLM_E_INVALID);
    assert_int_equal(llm_encoding_new(NULL, tokenizer, "", 0, NULL, 0, NULL), LLM_E_INVALID);
    assert_int_equal(llm_encoding_new(&encoding, tokenizer, "", 0, "", 0, NULL), LLM_OK);
    assert_null(llm_encoding_values(encoding, 1, LLM_ENCODING_IDS, &count));
    assert_int_equal(count, 0);
    assert_null(llm_encoding_values(encoding, 0, 5, NULL));
    assert_null(llm_encoding_values(NULL, 0, 0, NULL));
    assert_null(llm_encoding_offsets(encoding, 0, -1, NULL));
    assert_int_equal(llm_encoding_pieces(NULL), 0);
    llm_encoding_free(encoding);
    llm_encoding_free(NULL);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

/* Load, encode every way, decode, stream. */
static llm_status live_a_life(llm_context *context, void *user)
{
    llm_tokenizer *tokenizer = NULL;
    llm_encoding *encoding = NULL;
    llm_decoder *decoder = NULL;
    llm_encoding_options options;
    int32_t ids[64];
    size_t begins[64];
    size_t ends[64];
    char back[256];
    const char *part;
    size_t count = 0;
    size_t size;
    llm_status status = llm_tokenizer_load_memory(&tokenizer, context, json, sizeof json - 1);

    (void)user;
    if (!status)
        status = llm_encoding_options_init(&options, sizeof options);
    options.max_tokens = 6;
    if (!status)
        status = llm_encoding_new(&encoding, tokenizer, text, sizeof text - 1, pair,
                                  sizeof pair - 1, &options);
    if (!status)
        status = llm_tokenizer_encode_offsets(ids, begins, ends, 64, &count, tokenizer, text,
                                              sizeof text - 1, NULL);
    if (!status)
        status = llm_tokenizer_decode(back, sizeof back, &size, tokenizer, ids, count, NULL);
    if (!status)
        status = llm_decoder_new(&decoder, tokenizer, NULL);
    for (size_t i = 0; i < count && !status; i++)
        status = llm_decoder_push(decoder, ids[i], &part, &size);
    if (!status)
        status = llm_decoder_finish(decoder, &part, &size);
    llm_decoder_free(decoder);
    llm_encoding_free(encoding);
    llm_tokenizer_free(tokenizer);
    return status;
}

static llm_status train(llm_context *context, void *user)
{
    static const char *const texts[1] = {"the thing and the things, THE thing"};
    const size_t sizes[1] = {35};
    llm_tokenizer *tokenizer = NULL;
    llm_tokenizer_train_options options;
    llm_status status = llm_tokenizer_train_options_init(&options, sizeof options);

    (void)user;
    options.kind = LLM_TOKENIZER_WORDPIECE;
    options.vocab_size = 60;
    if (!status)
        status = llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options);
    llm_tokenizer_free(tokenizer);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(live_a_life, NULL, 1) > 50);
    assert_true(failing_allocator_run(train, NULL, 1) > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
