/* SPDX-License-Identifier: MIT
 *
 * llm_encoding_*: arguments are checked here, the work is in lib/tokenizer/encoding.c.
 */
#include "api/check.h"
#include "tokenizer/encoding.h"

static const llm_encoding_options default_options = {.struct_size = sizeof(llm_encoding_options),
                                                     .add_special = 1};

llm_status llm_encoding_options_init(llm_encoding_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_encoding_options");
}

static llm_status check_options(const llm_encoding_options *options)
{
    if (options->max_tokens < 0 || options->stride < 0)
        return status_set(LLM_E_INVALID, "llm_encoding_options: max_tokens or stride is negative");
    if (options->truncation_side < LLM_TRUNCATE_RIGHT ||
        options->truncation_side > LLM_TRUNCATE_LEFT)
        return status_set(LLM_E_INVALID, "llm_encoding_options: truncation_side is %d",
                          (int)options->truncation_side);
    if (options->truncation_strategy < LLM_TRUNCATE_LONGEST_FIRST ||
        options->truncation_strategy > LLM_TRUNCATE_ONLY_SECOND)
        return status_set(LLM_E_INVALID, "llm_encoding_options: truncation_strategy is %d",
                          (int)options->truncation_strategy);
    if ((options->parse_special | options->add_special) & ~1)
        return status_set(LLM_E_INVALID,
                          "llm_encoding_options: parse_special or add_special is neither 0 nor 1");
    return LLM_OK;
}

llm_status llm_encoding_new(llm_encoding **out, const llm_tokenizer *tokenizer, const char *text,
                            size_t size, const char *pair, size_t pair_size,
                            const llm_encoding_options *options)
{
    llm_encoding_options own = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_encoding_new", "out");
    *out = NULL;
    if (!tokenizer)
        return null_argument("llm_encoding_new", "tokenizer");
    if (!text && size)
        return null_argument("llm_encoding_new", "text");
    if (!pair && pair_size)
        return null_argument("llm_encoding_new", "pair");
    status = options_read(&own, sizeof own, options, "llm_encoding_options");
    if (!status)
        status = check_options(&own);
    return status ? status
                  : encoding_new(out, tokenizer, text ? text : "", size, pair, pair_size, &own);
}

void llm_encoding_free(llm_encoding *encoding)
{
    encoding_free(encoding);
}

size_t llm_encoding_pieces(const llm_encoding *encoding)
{
    return encoding ? encoding->piece_count : 0;
}

const int32_t *llm_encoding_values(const llm_encoding *encoding, size_t piece, int32_t what,
                                   size_t *count_out)
{
    if (count_out)
        *count_out = 0;
    if (!encoding || piece >= encoding->piece_count || what < 0 || what >= ENCODING_ARRAYS)
        return NULL;
    if (count_out)
        *count_out = encoding->pieces[piece].count;
    return encoding->arrays[what] + encoding->pieces[piece].first;
}

const size_t *llm_encoding_offsets(const llm_encoding *encoding, size_t piece, int32_t what,
                                   size_t *count_out)
{
    if (count_out)
        *count_out = 0;
    if (!encoding || piece >= encoding->piece_count || what < 0 || what >= ENCODING_OFFSETS)
        return NULL;
    if (count_out)
        *count_out = encoding->pieces[piece].count;
    return encoding->offsets[what] + encoding->pieces[piece].first;
}
