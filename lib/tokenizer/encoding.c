/* SPDX-License-Identifier: MIT
 *
 * Texts are encoded one by one, truncated into parts that overlap by the stride, and put together
 * by the post-processor's template; with several parts, every combination of parts is a piece. The
 * order of pieces and all numbers are those of Hugging Face tokenizers.
 */
#include "tokenizer/encoding.h"

#include "base/checked.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/codepoint.h"
#include "tokenizer/pipeline.h"

#include <string.h>

enum { MOST_PIECES = 1 << 16 };

/* Tokens [first, first + count) of a text. */
struct part {
    size_t first;
    size_t count;
};

/* An encoded text. */
struct sequence {
    struct token_list ids;
    struct token_details details;
    size_t *characters; /* begin and end of each token */
    struct part *parts;
    size_t part_count;
    size_t part_capacity;
};

/* Which part of each text of the template a piece has. */
struct choice {
    uint32_t parts[POST_SEQUENCES];
};

struct builder {
    const llm_tokenizer *tokenizer;
    struct memory *memory;
    const struct post_template *template;
    bool add_special;
    struct sequence sequences[2];
    struct choice *choices;
    size_t choice_count;
};

/* ---- the texts ---- */

/* Characters before each begin and end; offsets need not be in order. */
static llm_status count_characters(struct sequence *sequence, struct memory *memory,
                                   const char *text, size_t size)
{
    size_t count = sequence->details.count;
    size_t at = 0;
    size_t characters = 0;

    sequence->characters = memory_alloc_array(memory, 2 * count, sizeof *sequence->characters);
    if (!sequence->characters)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < 2 * count; i++) {
        const struct token_detail *detail = &sequence->details.list[i / 2];
        size_t wanted = i % 2 ? detail->end : detail->begin;

        if (wanted < at)
            at = characters = 0;
        while (at < wanted) {
            size_t length;

            (void)mapped_char(text, size, at, &length);
            if (at + length > wanted)
                break;
            at += length;
            characters++;
        }
        sequence->characters[i] = characters;
    }
    return LLM_OK;
}

static llm_status encode_sequence(struct builder *builder, struct sequence *sequence,
                                  const char *text, size_t size, bool parse_special)
{
    llm_status status;

    token_list_init(&sequence->ids, builder->memory);
    sequence->details.memory = builder->memory;
    status = tokenizer_encode_details(builder->tokenizer, text, size, parse_special, &sequence->ids,
                                      &sequence->details);
    return status ? status : count_characters(sequence, builder->memory, text, size);
}

/* ---- truncation ---- */

static llm_status add_part(struct builder *builder, struct sequence *sequence, size_t first,
                           size_t count)
{
    llm_status status = LLM_OK;

    if (sequence->part_count == MOST_PIECES)
        return status_set(LLM_E_RANGE, "truncation gives more than %d pieces", MOST_PIECES);
    status = memory_grow(builder->memory, (void **)&sequence->parts, &sequence->part_capacity,
                         sequence->part_count + 1, sizeof *sequence->parts);
    if (!status)
        sequence->parts[sequence->part_count++] = (struct part){first, count};
    return status;
}

/* Cut a text into parts of `most` tokens. */
static llm_status cut(struct builder *builder, struct sequence *sequence, size_t most,
                      const llm_encoding_options *options)
{
    size_t total = sequence->ids.count;
    size_t stride = (size_t)options->stride;
    size_t done = 0; /* tokens that are in a part, from the end where cutting began */
    llm_status status;

    if (most >= total)
        return add_part(builder, sequence, 0, total);
    if (most == 0) {
        status = add_part(builder, sequence, 0, 0);
        return status ? status : add_part(builder, sequence, 0, total);
    }
    if (stride >= most)
        return status_set(LLM_E_INVALID, "stride %zu is not less than the %zu tokens of a text",
                          stride, most);
    for (size_t start = 0; done < total; start += most - stride) {
        done = total - start < most ? total : start + most;
        status = add_part(builder, sequence,
                          options->truncation_side == LLM_TRUNCATE_LEFT ? total - done : start,
                          done - start);
        if (status)
            return status;
    }
    return LLM_OK;
}

/* How many tokens of each text stay, of `room`. */
static llm_status share(const struct builder *builder, bool pair, size_t room, int32_t strategy,
                        size_t keep[2])
{
    size_t remove;

    keep[0] = builder->sequences[0].ids.count;
    keep[1] = builder->sequences[1].ids.count;
    if (keep[0] + keep[1] <= room)
        return LLM_OK;
    remove = keep[0] + keep[1] - room;
    if (room == 0) {
        keep[0] = keep[1] = 0;
    } else if (strategy != LLM_TRUNCATE_LONGEST_FIRST) {
        size_t which = strategy == LLM_TRUNCATE_ONLY_SECOND;

        if (which == 1 && !pair)
            return status_set(LLM_E_INVALID, "the second text is to be truncated, there is none");
        if (keep[which] <= remove)
            return status_set(LLM_E_RANGE,
                              "the text to be truncated is too short: %zu tokens, %zu "
                              "too many",
                              keep[which], remove);
        keep[which] -= remove;
    } else if (!pair) {
        keep[0] = room;
    } else {
        size_t shorter = keep[0] > keep[1];
        size_t n = keep[shorter];
        size_t other = n > room ? n : n > room - n ? n : room - n;

        keep[shorter] = n + other > room ? room / 2 : n;
        keep[!shorter] = n + other > room ? room / 2 + room % 2 : other;
    }
    return LLM_OK;
}

static llm_status truncate(struct builder *builder, bool pair, const llm_encoding_options *options)
{
    size_t keep[2] = {SIZE_MAX, SIZE_MAX};
    llm_status status = LLM_OK;

    if (options->max_tokens > 0) {
        size_t room = (size_t)options->max_tokens;
        size_t added = builder->template->count - builder->template->sequences;

        if (builder->add_special && room < added)
            return status_set(LLM_E_INVALID, "max_tokens %zu is less than the %zu added tokens",
                              room, added);
        status = share(builder, pair, room - (builder->add_special ? added : 0),
                       options->truncation_strategy, keep);
    }
    for (int i = 0; i < 1 + pair && !status; i++)
        status = cut(builder, &builder->sequences[i], keep[i], options);
    return status;
}

/* ---- pieces ---- */

/* Every combination of parts: first those of the texts before with the parts of this one, then the
 * first parts with the other parts of this one. */
static llm_status combine(struct builder *builder)
{
    struct choice *next = NULL;
    size_t occurrence = 0;

    builder->choices = memory_alloc_zeroed(builder->memory, 1, sizeof *builder->choices);
    if (!builder->choices)
        return LLM_E_NOMEM;
    builder->choice_count = 1;
    for (size_t i = 0; i < builder->template->count; i++) {
        int32_t which = builder->template->items[i].sequence;
        size_t parts = which < 0 ? 0 : builder->sequences[which].part_count;
        size_t count = 0;

        if (which < 0)
            continue;
        if (builder->choice_count * parts > MOST_PIECES)
            return status_set(LLM_E_RANGE, "truncation gives more than %d pieces", MOST_PIECES);
        next = memory_alloc_array(builder->memory, builder->choice_count * parts, sizeof *next);
        if (!next)
            return LLM_E_NOMEM;
        next[count++] = builder->choices[0];
        for (size_t j = 1; j < builder->choice_count; j++) {
            for (size_t part = 0; part < parts; part++) {
                next[count] = builder->choices[j];
                next[count++].parts[occurrence] = (uint32_t)part;
            }
        }
        for (size_t part = 1; part < parts; part++) {
            next[count] = builder->choices[0];
            next[count++].parts[occurrence] = (uint32_t)part;
        }
        memory_release(builder->memory, builder->choices);
        builder->choices = next;
        builder->choice_count = count;
        occurrence++;
    }
    return LLM_OK;
}

/* White space at the ends of a token's text, in characters. */
static void count_spaces(const llm_tokenizer *tokenizer, int32_t id, size_t *leading,
                         size_t *trailing)
{
    const char *bytes = vocab_bytes(&tokenizer->vocab, id);
    size_t size = tokenizer->vocab.entries[id].size;
    bool spelled = tokenizer->spelled && !(tokenizer->vocab.flags[id] & VOCAB_LITERAL);
    bool inside = false;

    *leading = *trailing = 0;
    for (size_t at = 0; at < size;) {
        size_t length = 1;
        /* In the byte alphabet a space is a character that is not white: U+0120, counted too. */
        uint32_t c = spelled ? (unsigned char)bytes[at] : mapped_char(bytes, size, at, &length);
        bool space = spelled ? c == ' ' : c == 0x120 || codepoint_is(c, CODEPOINT_SPACE);

        inside |= !space;
        *leading += space && !inside;
        *trailing = space ? *trailing + 1 : 0;
        at += length;
    }
}

static void trim(const struct builder *builder, llm_encoding *encoding, size_t at, bool first)
{
    size_t leading;
    size_t trailing;

    count_spaces(builder->tokenizer, encoding->arrays[LLM_ENCODING_IDS][at], &leading, &trailing);
    for (int unit = 0; unit < ENCODING_OFFSETS; unit += 2) {
        size_t *begin = &encoding->offsets[unit][at];
        size_t *end = &encoding->offsets[unit + 1][at];
        bool added = (first || *begin == 0) && builder->tokenizer->post.trim_prefix && leading == 1;

        if (leading > 0 && !added)
            *begin = *begin + leading < *end ? *begin + leading : *end;
        if (trailing > 0 && *end >= trailing)
            *end = *end - trailing > *begin ? *end - trailing : *begin;
    }
}

static void put_part(const struct builder *builder, llm_encoding *encoding, size_t at,
                     const struct post_item *item, struct part part)
{
    const struct sequence *sequence = &builder->sequences[item->sequence];

    for (size_t i = 0; i < part.count; i++, at++) {
        size_t from = part.first + i;

        encoding->arrays[LLM_ENCODING_IDS][at] = sequence->ids.ids[from];
        encoding->arrays[LLM_ENCODING_TYPES][at] = item->type;
        encoding->arrays[LLM_ENCODING_SPECIAL][at] = 0;
        encoding->arrays[LLM_ENCODING_WORDS][at] = sequence->details.list[from].word;
        encoding->arrays[LLM_ENCODING_SEQUENCES][at] = item->sequence;
        encoding->offsets[LLM_OFFSETS_BYTE_BEGIN][at] = sequence->details.list[from].begin;
        encoding->offsets[LLM_OFFSETS_BYTE_END][at] = sequence->details.list[from].end;
        encoding->offsets[LLM_OFFSETS_CHARACTER_BEGIN][at] = sequence->characters[2 * from];
        encoding->offsets[LLM_OFFSETS_CHARACTER_END][at] = sequence->characters[2 * from + 1];
        if (builder->tokenizer->post.trim)
            trim(builder, encoding, at, i == 0);
    }
}

static void put_special(llm_encoding *encoding, size_t at, const struct post_item *item)
{
    encoding->arrays[LLM_ENCODING_IDS][at] = item->id;
    encoding->arrays[LLM_ENCODING_TYPES][at] = item->type;
    encoding->arrays[LLM_ENCODING_SPECIAL][at] = 1;
    encoding->arrays[LLM_ENCODING_WORDS][at] = -1;
    encoding->arrays[LLM_ENCODING_SEQUENCES][at] = -1;
    for (int i = 0; i < ENCODING_OFFSETS; i++)
        encoding->offsets[i][at] = 0;
}

/* The tokens of one piece, from `at` on, or only their number. */
static size_t put_piece(const struct builder *builder, llm_encoding *encoding, size_t at,
                        const struct choice *choice, bool put)
{
    size_t occurrence = 0;
    size_t count = 0;

    for (size_t i = 0; i < builder->template->count; i++) {
        const struct post_item *item = &builder->template->items[i];
        struct part part;

        if (item->sequence < 0) {
            if (put && builder->add_special)
                put_special(encoding, at + count, item);
            count += builder->add_special;
            continue;
        }
        part = builder->sequences[item->sequence].parts[choice->parts[occurrence++]];
        if (put)
            put_part(builder, encoding, at + count, item, part);
        count += part.count;
    }
    return count;
}

static llm_status build(struct builder *builder, llm_encoding *encoding)
{
    struct memory *memory = builder->memory;
    size_t total = 0;

    encoding->pieces = memory_alloc_array(memory, builder->choice_count, sizeof *encoding->pieces);
    if (!encoding->pieces)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < builder->choice_count; i++) {
        size_t count = put_piece(builder, encoding, 0, &builder->choices[i], false);

        encoding->pieces[i] = (struct encoding_piece){total, count};
        if (!checked_add(total, count, &total))
            return status_set(LLM_E_RANGE, "more tokens than can be counted");
    }
    encoding->piece_count = builder->choice_count;
    for (int i = 0; i < ENCODING_ARRAYS; i++) {
        encoding->arrays[i] = memory_alloc_array(memory, total, sizeof *encoding->arrays[i]);
        if (!encoding->arrays[i])
            return LLM_E_NOMEM;
    }
    for (int i = 0; i < ENCODING_OFFSETS; i++) {
        encoding->offsets[i] = memory_alloc_array(memory, total, sizeof *encoding->offsets[i]);
        if (!encoding->offsets[i])
            return LLM_E_NOMEM;
    }
    for (size_t i = 0; i < builder->choice_count; i++)
        (void)put_piece(builder, encoding, encoding->pieces[i].first, &builder->choices[i], true);
    return LLM_OK;
}

static void free_builder(struct builder *builder)
{
    for (int i = 0; i < 2; i++) {
        struct sequence *sequence = &builder->sequences[i];

        token_list_free(&sequence->ids);
        memory_release(builder->memory, sequence->details.list);
        memory_release(builder->memory, sequence->characters);
        memory_release(builder->memory, sequence->parts);
    }
    memory_release(builder->memory, builder->choices);
}

llm_status encoding_new(llm_encoding **out, const llm_tokenizer *tokenizer, const char *text,
                        size_t size, const char *pair, size_t pair_size,
                        const llm_encoding_options *options)
{
    struct memory *memory = &tokenizer->context->memory;
    struct builder builder = {.tokenizer = tokenizer,
                              .memory = memory,
                              .template = pair ? &tokenizer->post.pair : &tokenizer->post.single,
                              .add_special = options->add_special != 0};
    llm_encoding *encoding = memory_alloc_zeroed(memory, 1, sizeof *encoding);
    llm_status status = LLM_E_NOMEM;

    *out = NULL;
    if (encoding) {
        encoding->memory = memory;
        encoding->context = context_retain(tokenizer->context);
        status = encode_sequence(&builder, &builder.sequences[0], text, size,
                                 options->parse_special != 0);
    }
    if (!status && pair)
        status = encode_sequence(&builder, &builder.sequences[1], pair, pair_size,
                                 options->parse_special != 0);
    if (!status)
        status = truncate(&builder, pair != NULL, options);
    if (!status)
        status = combine(&builder);
    if (!status)
        status = build(&builder, encoding);
    free_builder(&builder);
    if (status)
        encoding_free(encoding);
    else
        *out = encoding;
    return status;
}

void encoding_free(llm_encoding *encoding)
{
    llm_context *context;

    if (!encoding)
        return;
    context = encoding->context;
    for (int i = 0; i < ENCODING_ARRAYS; i++)
        memory_release(encoding->memory, encoding->arrays[i]);
    for (int i = 0; i < ENCODING_OFFSETS; i++)
        memory_release(encoding->memory, encoding->offsets[i]);
    memory_release(encoding->memory, encoding->pieces);
    memory_release(encoding->memory, encoding);
    context_release(context);
}
