/* SPDX-License-Identifier: MIT
 *
 * A SentencePiece model from flat arrays, and encoding with it.
 */
#include "tokenizer/sentencepiece.h"

#include "tokenizer/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double unknown_penalty = 10.0;

/* ---- reading ---- */

static int piece_type(const struct vocabulary_arrays *arrays, size_t id)
{
    return arrays->types ? arrays->types[id] : PIECE_NORMAL;
}

static llm_status copy_pieces(struct sentencepiece *model, llm_tokenizer *tokenizer,
                              const struct vocabulary_arrays *arrays)
{
    llm_status status = LLM_OK;

    model->scores = memory_alloc_array(model->memory, arrays->count, sizeof *model->scores);
    model->types = memory_alloc_array(model->memory, arrays->count, 1);
    if (!model->scores || !model->types)
        return LLM_E_NOMEM;
    model->count = arrays->count;
    for (size_t i = 0; i < arrays->count && !status; i++) {
        const struct vocabulary_text *token = &arrays->tokens[i];
        int type = piece_type(arrays, i);
        float score = arrays->scores ? arrays->scores[i] : 0.0F;

        if (type < PIECE_NORMAL || type > PIECE_BYTE)
            return status_set(LLM_E_FORMAT, "token %zu has the type %d, not 1..6", i, type);
        if (!isfinite(score))
            return status_set(LLM_E_FORMAT, "the score of token %zu is not a number", i);
        model->scores[i] = score;
        model->types[i] = (uint8_t)type;
        status = vocab_put(
            &tokenizer->vocab, (int64_t)i, token->data, token->size,
            VOCAB_MODEL | (type == PIECE_CONTROL || type == PIECE_UNKNOWN ? VOCAB_SPECIAL : 0u));
    }
    return status;
}

/* The value of "<0x0A>", or -1. */
static int byte_value(const char *text, size_t size)
{
    int value = 0;

    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Byte pieces and the unknown one. Fallback needs all 256 bytes. */
static llm_status find_bytes(struct sentencepiece *model, const struct vocabulary_arrays *arrays)
{
    size_t count = 0;

    memset(model->bytes, 0xFF, sizeof model->bytes);
    model->unknown = arrays->unk;
    for (size_t i = 0; i < arrays->count; i++) {
        int value;

        if (model->types[i] == PIECE_UNKNOWN && model->unknown < 0)
            model->unknown = (int32_t)i;
        if (model->types[i] != PIECE_BYTE)
            continue;
        value = byte_value(arrays->tokens[i].data, arrays->tokens[i].size);
        if (value < 0)
            return status_set(LLM_E_FORMAT, "token %zu has the type of a byte and is not <0x..>",
                              i);
        if (model->bytes[value] >= 0)
            return status_set(LLM_E_FORMAT, "two tokens stand for the byte 0x%02X",
                              (unsigned)value);
        model->bytes[value] = (int32_t)i;
        count++;
    }
    model->byte_fallback = count == 256;
    if (count != 0 && count != 256)
        return status_set(LLM_E_FORMAT, "byte tokens for %zu bytes, not for all 256", count);
    return LLM_OK;
}

static bool take(int8_t value, bool otherwise)
{
    return value < 0 ? otherwise : value != 0;
}

static llm_status read_rules(struct sentencepiece *model, const llm_tokenizer *tokenizer,
                             const struct vocabulary_arrays *arrays)
{
    struct sentencepiece_rules *rules = &model->rules;
    struct double_array_key *keys = NULL;
    size_t count = 0;
    llm_status status =
        charsmap_open(&rules->map, model->memory, arrays->charsmap, arrays->charsmap_size);

    rules->add_dummy_prefix = take(arrays->add_space_prefix, true);
    rules->remove_extra_whitespaces =
        take(arrays->remove_extra_whitespaces, model->unigram != NULL);
    rules->escape_whitespaces = take(arrays->escape_whitespaces, true);
    rules->whitespace_as_suffix = take(arrays->treat_whitespace_as_suffix, false);
    rules->prefix_first_only = take(arrays->prefix_first_only, false);
    rules->keep_invalid = !take(arrays->user_defined_inside, false) && model->byte_fallback;
    if (status || !take(arrays->user_defined_inside, false))
        return status;
    keys = memory_alloc_array(model->memory, arrays->count, sizeof *keys);
    if (!keys)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < arrays->count; i++) {
        if (model->types[i] == PIECE_USER_DEFINED && tokenizer->vocab.entries[i].size > 0)
            keys[count++] = (struct double_array_key){
                (const unsigned char *)vocab_bytes(&tokenizer->vocab, (int32_t)i),
                tokenizer->vocab.entries[i].size, (int32_t)i};
    }
    if (count > 0)
        status = double_array_build(&rules->user, model->memory, keys, count);
    memory_release(model->memory, keys);
    return status;
}

/* ---- the unigram model ---- */

static llm_status build_unigram(struct sentencepiece *model, const struct vocab *vocab)
{
    struct unigram_piece *pieces = memory_alloc_array(model->memory, vocab->size, sizeof *pieces);
    float lowest = 0.0F;
    float highest = 0.0F;
    bool any = false;
    size_t count = 0;
    llm_status status;

    if (!pieces)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < vocab->size; i++) {
        if (model->types[i] != PIECE_NORMAL)
            continue;
        lowest = any && lowest < model->scores[i] ? lowest : model->scores[i];
        highest = any && highest > model->scores[i] ? highest : model->scores[i];
        any = true;
    }
    for (size_t i = 0; i < vocab->size; i++) {
        struct unigram_piece piece = {vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size,
                                      (double)model->scores[i], (int32_t)i};

        if (model->types[i] == PIECE_USER_DEFINED)
            piece.score = (double)((float)piece.size * highest) - 0.1;
        if (model->types[i] == PIECE_NORMAL || model->types[i] == PIECE_USER_DEFINED)
            pieces[count++] = piece;
    }
    status = unigram_build(&model->unigram, model->memory, pieces, count, vocab->size);
    memory_release(model->memory, pieces);
    if (status)
        return status;
    model->unigram->unknown_score = (double)(lowest - (float)unknown_penalty);
    model->unigram->unknown = model->unknown;
    model->unigram->single = true;
    model->unigram->fuse = true;
    model->unigram->byte_fallback = model->byte_fallback;
    memcpy(model->unigram->bytes, model->bytes, sizeof model->bytes);
    return LLM_OK;
}

/* ---- merging by score ---- */

struct ranked {
    float score;
    int32_t id;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

enum { MOST_CHARACTERS = 256 };

static int32_t find_normal(const struct sentencepiece *model, const struct vocab *vocab,
                           const char *bytes, size_t size)
{
    int32_t id = vocab_find(vocab, bytes, size);

    return id >= 0 && model->types[id] == PIECE_NORMAL ? id : -1;
}

/* Merge the characters of a piece by better scores than its own until two parts remain: the halves
 * of its merge. `stuck`: it does not come to that, though some two pieces make it. */
static bool find_halves(const struct sentencepiece *model, const struct vocab *vocab, int32_t id,
                        struct bpe_rule *rule, bool *stuck)
{
    const unsigned char *bytes = (const unsigned char *)vocab_bytes(vocab, id);
    size_t size = vocab->entries[id].size;
    size_t starts[MOST_CHARACTERS + 1] = {0};
    size_t count = 0;
    uint32_t c;

    for (size_t at = 0; at < size && count < MOST_CHARACTERS; count++) {
        starts[count] = at;
        at += unicode_next(bytes + at, bytes + size, &c);
        starts[count + 1] = at;
    }
    *stuck = starts[count] != size;
    while (count > 2 && !*stuck) {
        float best = model->scores[id];
        size_t at = count;

        for (size_t i = 0; i + 1 < count; i++) {
            int32_t pair = find_normal(model, vocab, (const char *)bytes + starts[i],
                                       starts[i + 2] - starts[i]);

            if (pair >= 0 && model->scores[pair] > best) {
                best = model->scores[pair];
                at = i;
            }
        }
        if (at == count)
            break;
        memmove(&starts[at + 1], &starts[at + 2], (count - at - 1) * sizeof *starts);
        count--;
    }
    if (count != 2) {
        for (size_t i = 1; i < size && !*stuck; i++)
            *stuck = find_normal(model, vocab, (const char *)bytes, i) >= 0 &&
                     find_normal(model, vocab, (const char *)bytes + i, size - i) >= 0;
        return false;
    }
    rule->left = find_normal(model, vocab, (const char *)bytes, starts[1]);
    rule->right = find_normal(model, vocab, (const char *)bytes + starts[1], size - starts[1]);
    rule->result = id;
    return rule->left >= 0 && rule->right >= 0;
}

/* The pieces of more than one character, best first. */
static size_t rank_pieces(const struct sentencepiece *model, const struct vocab *vocab,
                          struct ranked *ranked)
{
    size_t count = 0;

    for (size_t i = 0; i < vocab->size; i++) {
        const unsigned char *bytes = (const unsigned char *)vocab_bytes(vocab, (int32_t)i);
        size_t size = vocab->entries[i].size;
        uint32_t c;

        if (model->types[i] == PIECE_NORMAL && size > 0 &&
            unicode_next(bytes, bytes + size, &c) < size)
            ranked[count++] = (struct ranked){model->scores[i], (int32_t)i};
    }
    qsort(ranked, count, sizeof *ranked, compare_ranked);
    return count;
}

/* Pieces that merging by rank does not do: unused ones, those with a score that is not theirs
 * alone, those that better scores do not lead to. */
static llm_status find_odd(struct sentencepiece *model, const struct vocab *vocab,
                           const struct ranked *ranked, size_t count, struct double_array_key *odd,
                           size_t *odd_count)
{
    struct bpe_rule rule;

    *odd_count = 0;
    for (size_t i = 0; i < vocab->size + count; i++) {
        size_t rank = i - vocab->size;
        int32_t id = i < vocab->size ? (int32_t)i : ranked[rank].id;
        bool is_odd = i < vocab->size && model->types[i] == PIECE_UNUSED;

        if (i >= vocab->size)
            is_odd = (rank > 0 && ranked[rank - 1].score == ranked[rank].score) ||
                     (rank + 1 < count && ranked[rank + 1].score == ranked[rank].score);
        if (i >= vocab->size && !is_odd)
            (void)find_halves(model, vocab, id, &rule, &is_odd);
        if (is_odd)
            odd[(*odd_count)++] = (struct double_array_key){
                (const unsigned char *)vocab_bytes(vocab, id), vocab->entries[id].size, id};
    }
    for (size_t i = 0; i < *odd_count; i++)
        model->odd_first[odd[i].bytes[0]] = true;
    return *odd_count ? double_array_build(&model->odd, model->memory, odd, *odd_count) : LLM_OK;
}

/* Size of an odd piece that starts [p, end); 0: none. */
static size_t match_odd(const struct sentencepiece *model, const unsigned char *p,
                        const unsigned char *end)
{
    uint32_t node = 0;

    if (!model->odd_first[*p])
        return 0;
    for (size_t i = 0; p + i < end; i++) {
        node = double_array_child(&model->odd, node, p[i]);
        if (node == 0)
            return 0;
        if (model->odd.units[node].value >= 0)
            return i + 1;
    }
    return 0;
}

static bool has_odd(const struct sentencepiece *model, const struct vocab *vocab, int32_t id)
{
    const unsigned char *bytes = (const unsigned char *)vocab_bytes(vocab, id);
    const unsigned char *end = bytes + vocab->entries[id].size;

    for (const unsigned char *p = bytes; p < end; p++) {
        if (match_odd(model, p, end) > 0)
            return true;
    }
    return false;
}

/* Take out of the alphabet what is not a normal piece: bytes of the byte pieces never are one
 * character, but control pieces may be. */
static bool has_odd_characters(const struct sentencepiece *model, const struct bpe *bpe)
{
    for (uint32_t i = 0; i < bpe->alphabet; i++) {
        if (model->types[bpe->symbols[i].id] != PIECE_NORMAL)
            return true;
    }
    return false;
}

/* The merges of all pieces that hold no odd one. */
static llm_status list_rules(struct sentencepiece *model, const struct vocab *vocab,
                             struct bpe_rule *rules, size_t *rule_count)
{
    struct ranked *ranked = memory_alloc_array(model->memory, vocab->size, sizeof *ranked);
    struct double_array_key *odd = memory_alloc_array(model->memory, 2 * vocab->size, sizeof *odd);
    size_t count = 0;
    size_t odd_count;
    bool stuck;
    llm_status status = ranked && odd ? LLM_OK : LLM_E_NOMEM;

    if (!status) {
        count = rank_pieces(model, vocab, ranked);
        status = find_odd(model, vocab, ranked, count, odd, &odd_count);
    }
    for (size_t i = 0; i < count && !status; i++) {
        if (!has_odd(model, vocab, ranked[i].id) &&
            find_halves(model, vocab, ranked[i].id, &rules[*rule_count], &stuck))
            ++*rule_count;
    }
    memory_release(model->memory, ranked);
    memory_release(model->memory, odd);
    return status;
}

static llm_status build_merges(struct sentencepiece *model, llm_tokenizer *tokenizer)
{
    struct bpe_rule *rules =
        memory_alloc_array(model->memory, tokenizer->vocab.size, sizeof *rules);
    size_t rule_count = 0;
    llm_status status =
        rules ? list_rules(model, &tokenizer->vocab, rules, &rule_count) : LLM_E_NOMEM;

    if (status) {
        memory_release(model->memory, rules);
        return status;
    }
    status = bpe_build_characters(&model->bpe, tokenizer, rules, rule_count, NULL, NULL);
    if (!status && (!model->bpe->proper || has_odd_characters(model, model->bpe))) {
        bpe_free(model->bpe);
        model->bpe = NULL;
    }
    if (status || !model->bpe)
        return status;
    model->bpe->unknown = model->unknown;
    model->bpe->fuse_unknown = true;
    model->bpe->characters->byte_fallback = model->byte_fallback;
    memcpy(model->bpe->characters->bytes, model->bytes, sizeof model->bytes);
    return bpe_mark_whole(model->bpe, &tokenizer->vocab);
}

void sentencepiece_free(struct sentencepiece *model)
{
    if (!model)
        return;
    sentencepiece_rules_close(&model->rules);
    double_array_close(&model->odd);
    unigram_free(model->unigram);
    bpe_free(model->bpe);
    memory_release(model->memory, model->scores);
    memory_release(model->memory, model->types);
    memory_release(model->memory, model);
}

llm_status sentencepiece_build(struct sentencepiece **out, llm_tokenizer *tokenizer,
                               const struct vocabulary_arrays *arrays)
{
    struct memory *memory = &tokenizer->context->memory;
    struct sentencepiece *model = memory_alloc_zeroed(memory, 1, sizeof *model);
    llm_status status;

    if (!model)
        return LLM_E_NOMEM;
    model->memory = memory;
    status = copy_pieces(model, tokenizer, arrays);
    if (!status)
        status = find_bytes(model, arrays);
    if (!status)
        status = strcmp(arrays->model, "t5") == 0 ? build_unigram(model, &tokenizer->vocab)
                                                  : build_merges(model, tokenizer);
    if (!status)
        status = read_rules(model, tokenizer, arrays);
    if (status)
        sentencepiece_free(model);
    else
        *out = model;
    return status;
}

/* ---- encoding ---- */

llm_status sentencepiece_put_unknown(const struct sentencepiece *model, const unsigned char *text,
                                     size_t begin, size_t end, size_t base, bool *behind_unknown,
                                     struct piece_sink *sink)
{
    llm_status status = LLM_OK;

    if (model->byte_fallback) {
        for (size_t i = begin; i < end && !status; i++)
            status = piece_sink_put(sink, model->bytes[text[i]], base + i + 1);
        return status;
    }
    if (*behind_unknown) {
        piece_sink_extend(sink, base + end);
        return LLM_OK;
    }
    if (model->unknown < 0)
        return status_set(LLM_E_RANGE,
                          "no piece covers the byte 0x%02X and there is no unknown token",
                          text[begin]);
    *behind_unknown = true;
    return piece_sink_put(sink, model->unknown, base + end);
}

/* Words that bpe.h does. */
static llm_status encode_words(const llm_tokenizer *tokenizer, struct scratch *scratch,
                               const unsigned char *text, size_t size, size_t base,
                               struct piece_sink *sink)
{
    const struct sentencepiece *model = tokenizer->model;
    size_t first = sink->ends ? sink->ends->count : 0;
    llm_status status;

    if (size == 0)
        return LLM_OK;
    if (!sink->ends)
        return bpe_encode_text(model->bpe, &tokenizer->vocab, scratch, text, size, sink->out);
    status = bpe_encode_characters(model->bpe, &tokenizer->vocab, scratch, text, size, sink);
    for (size_t i = first; i < sink->ends->count; i++)
        sink->ends->list[i] += base;
    return status;
}

/* Text without user-defined pieces, which stands at `base` of the whole. Where an odd piece stands
 * in it, the word around that is merged by score. */
static llm_status encode_stretch(const llm_tokenizer *tokenizer, struct scratch *scratch,
                                 const unsigned char *text, size_t size, size_t base,
                                 struct piece_sink *sink)
{
    const struct sentencepiece *model = tokenizer->model;
    size_t begin = 0; /* everything before is done */
    llm_status status = LLM_OK;

    if (!model->bpe)
        return scored_encode(model, &tokenizer->vocab, scratch, text, size, base, sink);
    for (size_t at = 0; model->odd.units && at < size && !status; at++) {
        size_t first = at;
        size_t last = at + match_odd(model, text + at, text + size);

        if (last == at)
            continue;
        while (first > begin && !bpe_is_cut(model->bpe, text, size, first))
            first--;
        while (last < size && !bpe_is_cut(model->bpe, text, size, last))
            last++;
        status = encode_words(tokenizer, scratch, text + begin, first - begin, base + begin, sink);
        if (!status)
            status = scored_encode(model, &tokenizer->vocab, scratch, text + first, last - first,
                                   base + first, sink);
        begin = last;
        at = last - 1;
    }
    return status
               ? status
               : encode_words(tokenizer, scratch, text + begin, size - begin, base + begin, sink);
}

llm_status sentencepiece_encode(const llm_tokenizer *tokenizer, struct scratch *scratch,
                                const char *text, size_t size, struct piece_sink *sink)
{
    const struct sentencepiece *model = tokenizer->model;
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + size;
    size_t begin = 0;
    llm_status status = LLM_OK;

    if (model->unigram)
        return unigram_encode(model->unigram, scratch, p, size, sink);
    for (size_t at = 0; model->rules.user.units && at < size && !status;) {
        int32_t id = -1;
        size_t length = sentencepiece_user_match(&model->rules, p + at, end, &id);
        uint32_t c;

        if (length == 0) {
            at += unicode_next(p + at, end, &c);
            continue;
        }
        status = encode_stretch(tokenizer, scratch, p + begin, at - begin, begin, sink);
        if (!status)
            status = piece_sink_put(sink, id, at + length);
        at += length;
        begin = at;
    }
    return status ? status
                  : encode_stretch(tokenizer, scratch, p + begin, size - begin, begin, sink);
}
