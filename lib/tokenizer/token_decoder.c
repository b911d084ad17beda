/* SPDX-License-Identifier: MIT
 *
 * The table of decoders, reading them, running them in a row.
 */
#include "tokenizer/token_decoder.h"

#include "tokenizer/stage_list.h"

#include <string.h>

static const struct token_decoder_type *const types[] = {
    &token_decoder_bpe,       &token_decoder_byte_level, &token_decoder_word_piece,
    &token_decoder_metaspace, &token_decoder_ctc,        &token_decoder_replace,
    &token_decoder_fuse,      &token_decoder_strip,      &token_decoder_byte_fallback,
};

void token_texts_init(struct token_texts *texts, struct memory *memory)
{
    memset(texts, 0, sizeof *texts);
    text_init(&texts->text, memory);
}

void token_texts_free(struct token_texts *texts)
{
    memory_release(texts->text.memory, texts->ends);
    text_free(&texts->text);
    texts->ends = NULL;
    texts->count = texts->capacity = 0;
}

void token_texts_clear(struct token_texts *texts)
{
    texts->text.size = 0;
    texts->count = 0;
}

void token_texts_end(struct token_texts *texts)
{
    if (texts->count == texts->capacity &&
        memory_grow(texts->text.memory, (void **)&texts->ends, &texts->capacity, texts->count + 1,
                    sizeof *texts->ends)) {
        texts->text.failed = true;
        return;
    }
    texts->ends[texts->count++] = texts->text.size;
}

static llm_status add_stage(void *user, const json_t *stage, const char *type)
{
    struct token_decoder *decoder = user;
    llm_status status;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i]->type, type) != 0)
            continue;
        status = memory_grow(decoder->memory, (void **)&decoder->stages, &decoder->capacity,
                             decoder->count + 1, sizeof *decoder->stages);
        if (status)
            return status;
        decoder->stages[decoder->count++] = (struct token_decoder_stage){types[i], NULL};
        if (!types[i]->read)
            return LLM_OK;
        return status_prefix(
            types[i]->read(&decoder->stages[decoder->count - 1].data, decoder->memory, stage),
            "decoder %s", type);
    }
    return status_set(LLM_E_UNSUPPORTED, "decoder \"%.60s\" is not supported", type);
}

llm_status token_decoder_read(struct token_decoder *decoder, struct memory *memory,
                              const json_t *json)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->memory = memory;
    return stage_list_walk(json, "decoder", "decoders", add_stage, decoder);
}

void token_decoder_free(struct token_decoder *decoder)
{
    if (!decoder->memory)
        return;
    for (size_t i = 0; i < decoder->count; i++) {
        struct token_decoder_stage *stage = &decoder->stages[i];

        if (stage->type->free)
            stage->type->free(stage->data, decoder->memory);
        else
            memory_release(decoder->memory, stage->data);
    }
    memory_release(decoder->memory, decoder->stages);
    memset(decoder, 0, sizeof *decoder);
}

bool token_decoder_is(const struct token_decoder *decoder, const char *type)
{
    return decoder->count == 1 && strcmp(decoder->stages[0].type->type, type) == 0;
}

bool token_decoder_has(const struct token_decoder *decoder, const char *type)
{
    for (size_t i = 0; i < decoder->count; i++) {
        if (strcmp(decoder->stages[i].type->type, type) == 0)
            return true;
    }
    return false;
}

static void join(const struct token_texts *tokens, const char *separator, struct text *out)
{
    for (size_t i = 0; i < tokens->count; i++) {
        size_t size;
        const char *text = token_text(tokens, i, &size);

        if (i > 0)
            text_append_z(out, separator);
        text_append(out, text, size);
    }
}

llm_status token_decoder_run(const struct token_decoder *decoder, struct token_texts *tokens,
                             bool raw, struct text *out)
{
    struct token_texts spare;
    llm_status status = tokens->text.failed ? LLM_E_NOMEM : LLM_OK;

    token_texts_init(&spare, out->memory);
    for (size_t i = 0; i < decoder->count && tokens->count > 0 && !status; i++) {
        const struct token_decoder_stage *stage = &decoder->stages[i];
        struct token_texts swap;

        token_texts_clear(&spare);
        status = stage->type->apply(stage->data, tokens, &spare, raw);
        if (!status && spare.text.failed)
            status = LLM_E_NOMEM;
        swap = *tokens;
        *tokens = spare;
        spare = swap;
    }
    if (!status)
        join(tokens, decoder->count ? "" : " ", out);
    token_texts_free(&spare);
    return status ? status : out->failed ? LLM_E_NOMEM : LLM_OK;
}
