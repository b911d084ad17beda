/* SPDX-License-Identifier: MIT
 *
 * llm_tokenizer_* and llm_decoder_*: arguments are checked here, the work is in lib/tokenizer.
 */
#include "api/check.h"
#include "models/gguf_vocabulary.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

llm_status llm_tokenizer_load(llm_tokenizer **out, llm_context *context, const char *path)
{
    if (!out)
        return null_argument("llm_tokenizer_load", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tokenizer_load", "context");
    if (!path)
        return null_argument("llm_tokenizer_load", "path");
    return tokenizer_of_path(out, context, path);
}

static const llm_tokenizer_load_options default_load = {
    .struct_size = sizeof(llm_tokenizer_load_options), .split = -1};

llm_status llm_tokenizer_load_options_init(llm_tokenizer_load_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_load, sizeof default_load,
                        "llm_tokenizer_load_options");
}

llm_status llm_tokenizer_load_with(llm_tokenizer **out, llm_context *context, const char *path,
                                   const llm_tokenizer_load_options *options)
{
    llm_tokenizer_load_options own = default_load;
    llm_status status;

    if (!out)
        return null_argument("llm_tokenizer_load_with", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tokenizer_load_with", "context");
    if (!path)
        return null_argument("llm_tokenizer_load_with", "path");
    status = options_read(&own, sizeof own, options, "llm_tokenizer_load_options");
    if (status)
        return status;
    if (own.split < -1 || own.split > LLM_SPLIT_O200K || own.reserved)
        return status_set(LLM_E_INVALID, "llm_tokenizer_load_options: split %d or reserved %d",
                          (int)own.split, (int)own.reserved);
    return own.split < 0 ? tokenizer_of_path(out, context, path)
                         : tokenizer_load_split(out, context, path, own.split);
}

llm_status llm_tokenizer_load_memory(llm_tokenizer **out, llm_context *context, const char *json,
                                     size_t size)
{
    if (!out)
        return null_argument("llm_tokenizer_load_memory", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tokenizer_load_memory", "context");
    if (!json)
        return null_argument("llm_tokenizer_load_memory", "json");
    return tokenizer_load_memory(out, context, json, size);
}

llm_status llm_tokenizer_save(const llm_tokenizer *tokenizer, const char *path)
{
    if (!tokenizer)
        return null_argument("llm_tokenizer_save", "tokenizer");
    if (!path)
        return null_argument("llm_tokenizer_save", "path");
    return tokenizer_save(tokenizer, path);
}

static llm_status copy_out(void *buffer, size_t capacity, const void *data, size_t size,
                           const char *function)
{
    if (size > capacity)
        return status_set(LLM_E_BUFFER, "%s: the buffer holds %zu, %zu are needed", function,
                          capacity, size);
    if (size)
        memcpy(buffer, data, size);
    return LLM_OK;
}

llm_status llm_tokenizer_save_memory(char *buffer, size_t capacity, size_t *size_out,
                                     const llm_tokenizer *tokenizer)
{
    struct text text;
    llm_status status;

    if (!tokenizer)
        return null_argument("llm_tokenizer_save_memory", "tokenizer");
    if (!size_out)
        return null_argument("llm_tokenizer_save_memory", "size_out");
    if (!buffer && capacity)
        return null_argument("llm_tokenizer_save_memory", "buffer");
    *size_out = 0;
    status = tokenizer_check_write(tokenizer);
    if (status)
        return status;
    text_init(&text, tokenizer_memory(tokenizer));
    tokenizer_write_json(tokenizer, &text);
    *size_out = text.failed ? 0 : text.size;
    status = text.failed
                 ? LLM_E_NOMEM
                 : copy_out(buffer, capacity, text.data, text.size, "llm_tokenizer_save_memory");
    text_free(&text);
    return status;
}

void llm_tokenizer_free(llm_tokenizer *tokenizer)
{
    tokenizer_release(tokenizer);
}

int32_t llm_tokenizer_kind(const llm_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer_kind(tokenizer) : 0;
}

int32_t llm_tokenizer_vocab_size(const llm_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer_vocab_size(tokenizer) : 0;
}

int32_t llm_tokenizer_special(const llm_tokenizer *tokenizer, int32_t role)
{
    return tokenizer ? tokenizer_special(tokenizer, role) : -1;
}

llm_status llm_tokenizer_token_text(const char **text_out, size_t *size_out,
                                    const llm_tokenizer *tokenizer, int32_t id)
{
    size_t size;

    if (!text_out)
        return null_argument("llm_tokenizer_token_text", "text_out");
    *text_out = NULL;
    if (size_out)
        *size_out = 0;
    if (!tokenizer)
        return null_argument("llm_tokenizer_token_text", "tokenizer");
    if (!tokenizer_has(tokenizer, id))
        return status_set(LLM_E_RANGE, "llm_tokenizer_token_text: there is no token with the id %d",
                          (int)id);
    *text_out = tokenizer_token(tokenizer, id, &size);
    if (size_out)
        *size_out = size;
    return LLM_OK;
}

llm_status llm_tokenizer_token_id(int32_t *id_out, const llm_tokenizer *tokenizer, const char *text,
                                  size_t size)
{
    if (!id_out)
        return null_argument("llm_tokenizer_token_id", "id_out");
    *id_out = -1;
    if (!tokenizer)
        return null_argument("llm_tokenizer_token_id", "tokenizer");
    if (!text)
        return null_argument("llm_tokenizer_token_id", "text");
    *id_out = tokenizer_find(tokenizer, text, size);
    if (*id_out < 0)
        return status_set(LLM_E_RANGE,
                          "llm_tokenizer_token_id: no token stands for these %zu bytes", size);
    return LLM_OK;
}

int32_t llm_tokenizer_is_special(const llm_tokenizer *tokenizer, int32_t id)
{
    return tokenizer && tokenizer_is_special(tokenizer, id);
}

llm_status llm_encode_options_init(llm_encode_options *options, size_t struct_size)
{
    llm_encode_options defaults = {sizeof defaults, 0, 1};

    return options_fill(options, struct_size, &defaults, sizeof defaults, "llm_encode_options");
}

/* Flags from the caller's options. */
static llm_status encode_flags(unsigned *flags, const llm_encode_options *theirs)
{
    llm_encode_options options = {sizeof options, 0, 1};
    llm_status status = options_read(&options, sizeof options, theirs, "llm_encode_options");

    if (status)
        return status;
    if ((options.parse_special | options.add_special) & ~1)
        return status_set(LLM_E_INVALID, "llm_encode_options: a field is neither 0 nor 1");
    *flags = (options.parse_special ? TOKENIZER_PARSE_SPECIAL : 0u) |
             (options.add_special ? TOKENIZER_ADD_SPECIAL : 0u);
    return LLM_OK;
}

size_t llm_tokenizer_max_tokens(const llm_tokenizer *tokenizer, size_t size)
{
    return tokenizer ? tokenizer_max_tokens(tokenizer, size) : 0;
}

/* Ids may have outgrown the caller's array while it was being filled. */
static llm_status hand_over(int32_t *ids, size_t capacity, size_t *count_out,
                            const struct token_list *list, const char *function)
{
    *count_out = list->count;
    if (list->count > capacity)
        return status_set(LLM_E_BUFFER, "%s: the buffer holds %zu ids, %zu are needed", function,
                          capacity, list->count);
    if (!list->fixed && list->count)
        memcpy(ids, list->ids, list->count * sizeof *ids);
    return LLM_OK;
}

static llm_status check_encode(const char *function, const void *ids, size_t capacity,
                               const void *count_out, const llm_tokenizer *tokenizer,
                               const char *text, size_t size)
{
    if (!count_out)
        return null_argument(function, "count_out");
    if (!tokenizer)
        return null_argument(function, "tokenizer");
    if (!text && size)
        return null_argument(function, "text");
    if (!ids && capacity)
        return null_argument(function, "ids");
    return LLM_OK;
}

llm_status llm_tokenizer_encode(int32_t *ids, size_t capacity, size_t *count_out,
                                const llm_tokenizer *tokenizer, const char *text, size_t size,
                                const llm_encode_options *options)
{
    struct token_list list;
    unsigned flags = 0;
    llm_status status =
        check_encode("llm_tokenizer_encode", ids, capacity, count_out, tokenizer, text, size);

    if (count_out)
        *count_out = 0;
    if (!status)
        status = encode_flags(&flags, options);
    if (status)
        return status;
    token_list_borrow(&list, tokenizer_memory(tokenizer), ids, capacity);
    status = tokenizer_encode(tokenizer, text ? text : "", size, flags, &list);
    if (!status)
        status = hand_over(ids, capacity, count_out, &list, "llm_tokenizer_encode");
    token_list_free(&list);
    return status;
}

llm_status llm_tokenizer_encode_offsets(int32_t *ids, size_t *begins, size_t *ends, size_t capacity,
                                        size_t *count_out, const llm_tokenizer *tokenizer,
                                        const char *text, size_t size,
                                        const llm_encode_options *options)
{
    struct token_list list;
    unsigned flags = 0;
    llm_status status = check_encode("llm_tokenizer_encode_offsets", ids, capacity, count_out,
                                     tokenizer, text, size);

    if (count_out)
        *count_out = 0;
    if (!status && capacity && (!begins || !ends))
        status = null_argument("llm_tokenizer_encode_offsets", "begins or ends");
    if (!status)
        status = encode_flags(&flags, options);
    if (status)
        return status;
    token_list_borrow(&list, tokenizer_memory(tokenizer), ids, capacity);
    status = tokenizer_encode_offsets(tokenizer, text ? text : "", size, flags, &list, begins, ends,
                                      capacity);
    if (!status)
        status = hand_over(ids, capacity, count_out, &list, "llm_tokenizer_encode_offsets");
    token_list_free(&list);
    return status;
}

static llm_status check_batch(const int32_t *ids, size_t capacity, const size_t *starts,
                              const llm_tokenizer *tokenizer, const char *const *texts,
                              const size_t *sizes, size_t count)
{
    if (!starts)
        return null_argument("llm_tokenizer_encode_batch", "starts");
    if (!tokenizer)
        return null_argument("llm_tokenizer_encode_batch", "tokenizer");
    if (count && (!texts || !sizes))
        return null_argument("llm_tokenizer_encode_batch", "texts or sizes");
    if (!ids && capacity)
        return null_argument("llm_tokenizer_encode_batch", "ids");
    for (size_t i = 0; i < count; i++) {
        if (!texts[i])
            return status_set(LLM_E_INVALID, "llm_tokenizer_encode_batch: texts[%zu] is NULL", i);
    }
    return LLM_OK;
}

llm_status llm_tokenizer_encode_batch(int32_t *ids, size_t capacity, size_t *starts,
                                      const llm_tokenizer *tokenizer, const char *const *texts,
                                      const size_t *sizes, size_t count,
                                      const llm_encode_options *options)
{
    struct token_list list;
    size_t total;
    unsigned flags = 0;
    llm_status status = check_batch(ids, capacity, starts, tokenizer, texts, sizes, count);

    if (!status)
        status = encode_flags(&flags, options);
    if (status)
        return status;
    starts[0] = 0;
    token_list_borrow(&list, tokenizer_memory(tokenizer), ids, capacity);
    status = tokenizer_encode_batch(tokenizer, texts, sizes, count, flags,
                                    tokenizer_threads(tokenizer), &list, starts + 1);
    if (!status) {
        for (size_t i = 0; i < count; i++)
            starts[i + 1] += starts[i];
        status = hand_over(ids, capacity, &total, &list, "llm_tokenizer_encode_batch");
    }
    token_list_free(&list);
    return status;
}

llm_status llm_decode_options_init(llm_decode_options *options, size_t struct_size)
{
    llm_decode_options defaults = {sizeof defaults, 0, 0};

    return options_fill(options, struct_size, &defaults, sizeof defaults, "llm_decode_options");
}

static llm_status decode_flags(unsigned *flags, const llm_decode_options *theirs)
{
    llm_decode_options options = {sizeof options, 0, 0};
    llm_status status = options_read(&options, sizeof options, theirs, "llm_decode_options");

    if (status)
        return status;
    if ((options.skip_special | options.replace_invalid) & ~1)
        return status_set(LLM_E_INVALID, "llm_decode_options: a field is neither 0 nor 1");
    *flags = (options.skip_special ? TOKENIZER_SKIP_SPECIAL : 0u) |
             (options.replace_invalid ? TOKENIZER_REPLACE_INVALID : 0u);
    return LLM_OK;
}

static llm_status decode_replacing(char *text, size_t capacity, size_t *size_out,
                                   const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                   unsigned flags)
{
    struct text whole;
    llm_status status;

    text_init(&whole, tokenizer_memory(tokenizer));
    status = tokenizer_decode(tokenizer, ids, count, flags, &whole);
    if (!status) {
        *size_out = whole.size;
        status = copy_out(text, capacity, whole.data, whole.size, "llm_tokenizer_decode");
    }
    text_free(&whole);
    return status;
}

llm_status llm_tokenizer_decode(char *text, size_t capacity, size_t *size_out,
                                const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                const llm_decode_options *options)
{
    unsigned flags = 0;
    llm_status status;

    if (!size_out)
        return null_argument("llm_tokenizer_decode", "size_out");
    *size_out = 0;
    if (!tokenizer)
        return null_argument("llm_tokenizer_decode", "tokenizer");
    if (!ids && count)
        return null_argument("llm_tokenizer_decode", "ids");
    if (!text && capacity)
        return null_argument("llm_tokenizer_decode", "text");
    status = decode_flags(&flags, options);
    if (status)
        return status;
    if ((flags & TOKENIZER_REPLACE_INVALID) || !tokenizer_decodes_plainly(tokenizer))
        return decode_replacing(text, capacity, size_out, tokenizer, ids, count, flags);
    status = tokenizer_decoded_size(tokenizer, ids, count, flags, size_out);
    if (status)
        return status;
    if (*size_out > capacity)
        return status_set(LLM_E_BUFFER,
                          "llm_tokenizer_decode: the buffer holds %zu bytes, %zu are needed",
                          capacity, *size_out);
    if (*size_out)
        tokenizer_copy_decoded(tokenizer, ids, count, flags, text, *size_out);
    return LLM_OK;
}

struct llm_decoder {
    llm_tokenizer *tokenizer;
    struct decode_stream stream;
    struct text text;
    unsigned flags;
};

llm_status llm_decoder_new(llm_decoder **out, llm_tokenizer *tokenizer,
                           const llm_decode_options *options)
{
    llm_decoder *decoder;
    unsigned flags = 0;
    llm_status status;

    if (!out)
        return null_argument("llm_decoder_new", "out");
    *out = NULL;
    if (!tokenizer)
        return null_argument("llm_decoder_new", "tokenizer");
    status = decode_flags(&flags, options);
    if (status)
        return status;
    decoder = memory_alloc_zeroed(tokenizer_memory(tokenizer), 1, sizeof *decoder);
    if (!decoder)
        return LLM_E_NOMEM;
    decoder->tokenizer = tokenizer_retain(tokenizer);
    decoder->flags = flags;
    text_init(&decoder->text, tokenizer_memory(tokenizer));
    *out = decoder;
    return LLM_OK;
}

static llm_status give_text(llm_decoder *decoder, const char **text_out, size_t *size_out)
{
    *text_out = decoder->text.size ? decoder->text.data : "";
    if (size_out)
        *size_out = decoder->text.size;
    return LLM_OK;
}

static llm_status begin_text(llm_decoder *decoder, const char **text_out, size_t *size_out,
                             const char *function)
{
    if (!text_out)
        return null_argument(function, "text_out");
    *text_out = "";
    if (size_out)
        *size_out = 0;
    if (!decoder)
        return null_argument(function, "decoder");
    decoder->text.size = 0;
    decoder->text.failed = false;
    return LLM_OK;
}

llm_status llm_decoder_push(llm_decoder *decoder, int32_t id, const char **text_out,
                            size_t *size_out)
{
    llm_status status = begin_text(decoder, text_out, size_out, "llm_decoder_push");

    if (!status)
        status = decode_stream_push(&decoder->stream, decoder->tokenizer, id, decoder->flags,
                                    &decoder->text);
    return status ? status : give_text(decoder, text_out, size_out);
}

llm_status llm_decoder_finish(llm_decoder *decoder, const char **text_out, size_t *size_out)
{
    llm_status status = begin_text(decoder, text_out, size_out, "llm_decoder_finish");

    if (status)
        return status;
    decode_stream_finish(&decoder->stream, &decoder->text);
    return decoder->text.failed ? LLM_E_NOMEM : give_text(decoder, text_out, size_out);
}

void llm_decoder_free(llm_decoder *decoder)
{
    llm_tokenizer *tokenizer;

    if (!decoder)
        return;
    tokenizer = decoder->tokenizer;
    text_free(&decoder->text);
    memory_release(tokenizer_memory(tokenizer), decoder);
    tokenizer_release(tokenizer);
}
