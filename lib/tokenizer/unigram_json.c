/* SPDX-License-Identifier: MIT
 *
 * The "Unigram" model of tokenizer.json, read and written, and the algorithm's row.
 */
#include "tokenizer/unigram.h"

#include <math.h>
#include <string.h>

static const double unknown_penalty = 10.0;

/* The double that Hugging Face's JSON reader makes of the shortest text of `value`: all digits as
 * one integer, rounded, divided by a power of ten, rounded again. It is off by a unit in the last
 * place now and then, which decides between ways through a text that cost the same. */
static llm_status round_twice(double *value, struct text *digits)
{
    uint64_t integer = 0;
    int exponent = 0;
    bool point = false;
    double result;

    digits->size = 0;
    text_append_double(digits, *value < 0 ? -*value : *value);
    if (digits->failed)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < digits->size; i++) {
        char c = digits->data[i];

        if (c == '.') {
            point = true;
        } else if (c >= '0' && c <= '9' && integer < UINT64_MAX / 10 - 1) {
            integer = integer * 10 + (uint64_t)(c - '0');
            exponent -= point;
        } else {
            return LLM_OK; /* an exponent, or more digits than a double has */
        }
    }
    result = (double)integer / pow(10.0, -exponent);
    *value = *value < 0 ? -result : result;
    return LLM_OK;
}

/* [piece, score], its place in the list being its id. */
static llm_status read_piece(struct vocab *vocab, struct unigram_piece *piece, const json_t *item,
                             size_t id)
{
    const json_t *text = json_array_get(item, 0);
    const json_t *score = json_array_get(item, 1);
    llm_status status;

    if (json_array_size(item) != 2 || !json_is_string(text) || !json_is_number(score))
        return status_set(LLM_E_FORMAT, "entry %zu is not a piece and its score", id);
    status = vocab_put(vocab, (int64_t)id, json_string_value(text), json_string_length(text),
                       VOCAB_MODEL);
    *piece = (struct unigram_piece){NULL, json_string_length(text), json_number_value(score),
                                    (int32_t)id};
    if (!status && !isfinite(piece->score))
        status = status_set(LLM_E_FORMAT, "the score of entry %zu is not a number", id);
    return status;
}

static llm_status read_pieces(llm_tokenizer *tokenizer, const json_t *list, double *lowest)
{
    struct memory *memory = &tokenizer->context->memory;
    size_t count = json_array_size(list);
    struct unigram_piece *pieces = memory_alloc_array(memory, count, sizeof *pieces);
    double *written = memory_alloc_array(memory, count, sizeof *written);
    struct unigram *unigram = NULL;
    struct text digits;
    llm_status status = pieces && written ? LLM_OK : LLM_E_NOMEM;

    text_init(&digits, memory);
    *lowest = HUGE_VAL;
    for (size_t i = 0; i < count && !status; i++) {
        status = read_piece(&tokenizer->vocab, &pieces[i], json_array_get(list, i), i);
        if (status)
            break;
        written[i] = pieces[i].score;
        status = round_twice(&pieces[i].score, &digits);
        if (!status && pieces[i].score < *lowest)
            *lowest = pieces[i].score;
    }
    for (size_t i = 0; i < count && !status; i++)
        pieces[i].bytes = vocab_bytes(&tokenizer->vocab, (int32_t)i);
    if (!status)
        status = unigram_build(&unigram, memory, pieces, count, tokenizer->vocab.size);
    if (!status)
        unigram->written = written;
    else
        memory_release(memory, written);
    tokenizer->model = unigram;
    text_free(&digits);
    memory_release(memory, pieces);
    return status;
}

static void find_bytes(struct unigram *unigram, const struct vocab *vocab)
{
    for (unsigned i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        char name[] = {'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'};

        unigram->bytes[i] = vocab_find(vocab, name, sizeof name);
    }
}

static llm_status read_model(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *list = json_object_get(model, "vocab");
    struct unigram *unigram;
    double lowest;
    llm_status status;

    if (!json_is_array(list) || json_array_size(list) > VOCAB_MAX_ID)
        return status_set(LLM_E_FORMAT, "model: field \"vocab\" is not a list of pieces");
    status = status_prefix(read_pieces(tokenizer, list, &lowest), "model: vocab");
    if (status)
        return status;
    unigram = tokenizer->model;
    unigram->unknown_score = lowest - unknown_penalty;
    unigram->fuse = true;
    status = json_read_i32(model, "unk_id", 0, INT32_MAX, &unigram->unknown);
    if (!status)
        status = json_read_bool(model, "byte_fallback", &unigram->byte_fallback);
    if (status)
        return status_prefix(status, "model");
    if (unigram->unknown >= (int64_t)json_array_size(list))
        return status_set(LLM_E_FORMAT, "model: unk_id %d is not in vocab", (int)unigram->unknown);
    find_bytes(unigram, &tokenizer->vocab);
    tokenizer->kind = LLM_TOKENIZER_UNIGRAM;
    tokenizer->special[LLM_TOKEN_UNK] = unigram->unknown;
    return LLM_OK;
}

void unigram_write(const struct unigram *unigram, const struct vocab *vocab, const float *scores,
                   struct text *out)
{
    text_append_z(out, "{\n    \"type\": \"Unigram\",\n    \"unk_id\": ");
    if (unigram->unknown >= 0)
        text_printf(out, "%d", (int)unigram->unknown);
    else
        text_append_z(out, "null");
    text_append_z(out, ",\n    \"vocab\": [");
    for (size_t i = 0; i < vocab->size && !out->failed; i++) {
        if (!(vocab->flags[i] & VOCAB_MODEL))
            continue;
        text_append_z(out, i ? ",\n      [" : "\n      [");
        text_append_json(out, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size);
        text_append_z(out, ", ");
        text_append_double(out, scores ? (double)scores[i] : unigram->written[i]);
        text_append_z(out, "]");
    }
    text_printf(out, "\n    ],\n    \"byte_fallback\": %s\n  }",
                unigram->byte_fallback ? "true" : "false");
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    unigram_write(tokenizer->model, &tokenizer->vocab, NULL, out);
}

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    struct piece_sink sink = {out, ends};

    return unigram_encode_cached(tokenizer->model, scratch, (const unsigned char *)word, size,
                                 &sink);
}

static void free_model(llm_tokenizer *tokenizer)
{
    unigram_free(tokenizer->model);
}

const struct tokenizer_algorithm algorithm_unigram = {
    .type = "Unigram",
    .read = read_model,
    .write_model = write_model,
    .encode_word = encode_word,
    .free = free_model,
};
