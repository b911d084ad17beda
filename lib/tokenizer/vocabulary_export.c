/* SPDX-License-Identifier: MIT
 *
 * A tokenizer as flat arrays, for writers of GGUF files. What llama.cpp's kinds of tokenizer cannot
 * say is LLM_E_UNSUPPORTED.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pre_names.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/vocabulary_arrays.h"

#include <string.h>

static const char space_symbol[] = "\xE2\x96\x81";

/* The writable columns of the arrays being made. */
struct columns {
    const llm_tokenizer *tokenizer;
    struct vocabulary_arrays *arrays;
    struct arena *arena;
    struct vocabulary_text *tokens;
    float *scores;
    int32_t *types;
};

static llm_status unsupported(const char *what)
{
    return status_set(LLM_E_UNSUPPORTED, "a tokenizer with %s has no form in GGUF", what);
}

static llm_status make_columns(struct columns *columns, bool scores)
{
    size_t count = columns->tokenizer->vocab.size;

    columns->tokens = arena_alloc(columns->arena, (count + 1) * sizeof *columns->tokens);
    columns->types = arena_alloc(columns->arena, (count + 1) * sizeof *columns->types);
    if (scores)
        columns->scores = arena_alloc(columns->arena, (count + 1) * sizeof *columns->scores);
    if (!columns->tokens || !columns->types || (scores && !columns->scores))
        return LLM_E_NOMEM;
    columns->arrays->tokens = columns->tokens;
    columns->arrays->types = columns->types;
    columns->arrays->scores = columns->scores;
    columns->arrays->count = count;
    return LLM_OK;
}

static int32_t type_of(const llm_tokenizer *tokenizer, size_t id)
{
    uint8_t flags = tokenizer->vocab.flags[id];

    if (flags == 0)
        return PIECE_UNUSED;
    if ((int32_t)id == tokenizer->special[LLM_TOKEN_UNK])
        return PIECE_UNKNOWN;
    if (flags & VOCAB_SPECIAL)
        return PIECE_CONTROL;
    return flags & VOCAB_ADDED ? PIECE_USER_DEFINED : PIECE_NORMAL;
}

/* Texts that the arena holds. */
static llm_status set_text(struct columns *columns, size_t id, struct text *text)
{
    char *copy = text->failed
                     ? NULL
                     : arena_copy_text(columns->arena, text->data ? text->data : "", text->size);

    columns->tokens[id] = (struct vocabulary_text){copy, text->size};
    text->size = 0;
    return copy ? LLM_OK : LLM_E_NOMEM;
}

/* Ids without a token, as converters name them. */
static void write_hole(struct text *out, size_t id)
{
    text_printf(out, "[PAD%zu]", id);
}

/* ---- what all kinds share ---- */

/* The token right before, or right behind, the text in the template for one text; -1: none. Several
 * are more than GGUF can say. */
static llm_status find_around(const llm_tokenizer *tokenizer, int32_t *before, int32_t *after)
{
    const struct post_template *single = &tokenizer->post.single;
    bool behind = false;

    *before = *after = -1;
    for (size_t i = 0; i < single->count; i++) {
        int32_t *slot = behind ? after : before;

        if (single->items[i].sequence >= 0) {
            behind = true;
            continue;
        }
        if (*slot >= 0)
            return unsupported("several tokens in front of a text or behind it");
        *slot = single->items[i].id;
    }
    return LLM_OK;
}

static llm_status set_roles(struct columns *columns)
{
    const llm_tokenizer *tokenizer = columns->tokenizer;
    struct vocabulary_arrays *arrays = columns->arrays;
    int32_t before;
    int32_t after;
    llm_status status = find_around(tokenizer, &before, &after);

    if (status)
        return status;
    arrays->bos = before >= 0 ? before : tokenizer->special[LLM_TOKEN_BOS];
    arrays->eos = after >= 0 ? after : tokenizer->special[LLM_TOKEN_EOS];
    arrays->unk = tokenizer->special[LLM_TOKEN_UNK];
    arrays->pad = tokenizer->special[LLM_TOKEN_PAD];
    arrays->add_bos = before >= 0;
    arrays->add_eos = after >= 0;
    return LLM_OK;
}

static bool stage_has(const llm_tokenizer *tokenizer, int stage, const char *what)
{
    const char *json = tokenizer->stage_json[stage];

    return json && strstr(json, what);
}

/* ---- pieces: llama, t5 ---- */

static bool is_byte_piece(const struct vocab *vocab, size_t id)
{
    const char *text = vocab_bytes(vocab, (int32_t)id);

    return vocab->entries[id].size == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
           strspn(text + 3, "0123456789ABCDEF") == 2;
}

static llm_status fill_pieces(struct columns *columns, bool byte_fallback)
{
    const struct vocab *vocab = &columns->tokenizer->vocab;
    struct text text;
    llm_status status = make_columns(columns, true);

    text_init(&text, columns->arena->memory);
    for (size_t i = 0; i < vocab->size && !status; i++) {
        columns->types[i] = type_of(columns->tokenizer, i);
        if (byte_fallback && vocab->flags[i] && is_byte_piece(vocab, i))
            columns->types[i] = PIECE_BYTE;
        if (vocab->flags[i])
            text_append(&text, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size);
        else
            write_hole(&text, i);
        status = set_text(columns, i, &text);
    }
    text_free(&text);
    return status;
}

static llm_status export_sentencepiece(struct columns *columns)
{
    const struct sentencepiece *model = columns->tokenizer->model;
    struct vocabulary_arrays *arrays = columns->arrays;
    llm_status status = fill_pieces(columns, model->byte_fallback);

    if (status)
        return status;
    for (size_t i = 0; i < model->count; i++) {
        columns->scores[i] = model->scores[i];
        columns->types[i] = model->types[i];
    }
    arrays->model = model->unigram ? "t5" : "llama";
    arrays->charsmap = (const char *)model->rules.map.data;
    arrays->charsmap_size = model->rules.map.size;
    arrays->add_space_prefix = model->rules.add_dummy_prefix;
    arrays->remove_extra_whitespaces = model->rules.remove_extra_whitespaces;
    arrays->user_defined_inside = !model->rules.keep_invalid;
    if (!model->rules.escape_whitespaces)
        return unsupported("spaces that are not escaped");
    if (model->rules.whitespace_as_suffix)
        return unsupported("spaces at the ends of words");
    return LLM_OK;
}

/* Spaces become U+2581, one in front or not: what SentencePiece does without a character map. */
static llm_status read_spaces(struct columns *columns)
{
    const llm_tokenizer *tokenizer = columns->tokenizer;
    bool metaspace = stage_has(tokenizer, STAGE_PRE_TOKENIZER, "Metaspace");

    if (!metaspace && !stage_has(tokenizer, STAGE_NORMALIZER, space_symbol))
        return unsupported("a pre-tokenizer of characters that is not SentencePiece's");
    columns->arrays->add_space_prefix =
        stage_has(tokenizer, STAGE_NORMALIZER, "Prepend") ||
        (metaspace && !stage_has(tokenizer, STAGE_PRE_TOKENIZER, "\"never\""));
    return LLM_OK;
}

/* Scores that put the pieces in the order of their first merges. */
static llm_status export_characters(struct columns *columns)
{
    const struct bpe *bpe = columns->tokenizer->model;
    size_t count = columns->tokenizer->vocab.size;
    llm_status status = LLM_OK;

    if (!bpe->characters->byte_fallback || bpe->characters->prefix_size > 0 ||
        bpe->characters->suffix_size > 0)
        return unsupported("merges of characters without byte fallback");
    if (columns->tokenizer->normalizer.count > 2)
        return unsupported("this normalizer");
    status = read_spaces(columns);
    if (!status)
        status = fill_pieces(columns, true);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++)
        columns->scores[i] =
            columns->types[i] == PIECE_NORMAL ? -(float)(bpe->rule_count + i) : 0.0F;
    for (size_t i = bpe->rule_count; i-- > 0;)
        columns->scores[bpe->rules[i].result] = -(float)i;
    columns->arrays->model = "llama";
    columns->arrays->remove_extra_whitespaces = 0;
    return LLM_OK;
}

static llm_status export_unigram(struct columns *columns)
{
    const llm_tokenizer *tokenizer = columns->tokenizer;
    const struct unigram *unigram = tokenizer->model;
    struct vocabulary_arrays *arrays = columns->arrays;
    llm_status status;

    if (!stage_has(tokenizer, STAGE_PRE_TOKENIZER, "Metaspace"))
        return unsupported("pieces and no Metaspace");
    for (size_t i = 0; i < tokenizer->normalizer.count; i++) {
        const struct charsmap *map = tokenizer->normalizer.stages[i].data;

        if (strcmp(tokenizer->normalizer.stages[i].type->type, "Precompiled") != 0)
            continue;
        arrays->charsmap = (const char *)map->data;
        arrays->charsmap_size = map->size;
    }
    status = fill_pieces(columns, unigram->byte_fallback);
    if (status)
        return status;
    for (size_t i = 0; i < arrays->count; i++)
        columns->scores[i] =
            tokenizer->vocab.flags[i] & VOCAB_MODEL ? (float)unigram->scores[i] : 0.0F;
    arrays->model = "t5";
    arrays->add_space_prefix = stage_has(tokenizer, STAGE_NORMALIZER, "Prepend") ||
                               !stage_has(tokenizer, STAGE_PRE_TOKENIZER, "\"never\"");
    arrays->remove_extra_whitespaces =
        stage_has(tokenizer, STAGE_PRE_TOKENIZER, "WhitespaceSplit") ||
        stage_has(tokenizer, STAGE_NORMALIZER, " {2,}");
    return LLM_OK;
}

/* ---- gpt2 ---- */

static void spell(struct text *out, const struct vocab *vocab, int32_t id)
{
    const char *bytes = vocab_bytes(vocab, id);

    if (vocab->flags[id] & VOCAB_LITERAL)
        text_append(out, bytes, vocab->entries[id].size);
    for (size_t i = 0; i < vocab->entries[id].size && !(vocab->flags[id] & VOCAB_LITERAL); i++) {
        char utf8[4];

        text_append(out, utf8,
                    (size_t)utf8_encode(byte_alphabet_character((unsigned char)bytes[i]), utf8));
    }
}

static llm_status fill_merges(struct columns *columns)
{
    const struct bpe *bpe = columns->tokenizer->model;
    const struct vocab *vocab = &columns->tokenizer->vocab;
    struct vocabulary_text *merges =
        arena_alloc(columns->arena, (bpe->rule_count + 1) * sizeof *merges);
    struct text text;
    llm_status status = merges ? LLM_OK : LLM_E_NOMEM;

    text_init(&text, columns->arena->memory);
    for (size_t i = 0; i < bpe->rule_count && !status; i++) {
        char *copy;

        text.size = 0;
        spell(&text, vocab, bpe->rules[i].left);
        text_append_z(&text, " ");
        spell(&text, vocab, bpe->rules[i].right);
        copy = text.failed ? NULL : arena_copy_text(columns->arena, text.data, text.size);
        merges[i] = (struct vocabulary_text){copy, text.size};
        status = copy ? LLM_OK : LLM_E_NOMEM;
    }
    text_free(&text);
    columns->arrays->merges = merges;
    columns->arrays->merge_count = bpe->rule_count;
    return status;
}

static llm_status export_bpe(struct columns *columns)
{
    const llm_tokenizer *tokenizer = columns->tokenizer;
    const struct vocab *vocab = &tokenizer->vocab;
    const struct bpe *bpe = tokenizer->model;
    const char *json = tokenizer->stage_json[STAGE_PRE_TOKENIZER];
    const struct pre_name *pre = json ? pre_name_of(json, bpe->ignore_merges) : NULL;
    struct text text;
    llm_status status;

    if (!pre)
        return unsupported("this pre-tokenizer");
    if (tokenizer->normalizer.count > 0)
        return unsupported("a normalizer");
    status = make_columns(columns, false);
    text_init(&text, columns->arena->memory);
    for (size_t i = 0; i < vocab->size && !status; i++) {
        columns->types[i] = type_of(tokenizer, i);
        if (columns->types[i] == PIECE_UNKNOWN)
            columns->types[i] = vocab->flags[i] & VOCAB_SPECIAL ? PIECE_CONTROL : PIECE_NORMAL;
        if (vocab->flags[i])
            spell(&text, vocab, (int32_t)i);
        else
            write_hole(&text, i);
        status = set_text(columns, i, &text);
    }
    text_free(&text);
    columns->arrays->model = "gpt2";
    columns->arrays->pre = pre->name;
    return status ? status : fill_merges(columns);
}

/* ---- bert ---- */

static llm_status export_word_piece(struct columns *columns)
{
    const llm_tokenizer *tokenizer = columns->tokenizer;
    const struct vocab *vocab = &tokenizer->vocab;
    struct vocabulary_arrays *arrays = columns->arrays;
    struct text text;
    llm_status status;

    if (!stage_has(tokenizer, STAGE_NORMALIZER, "BertNormalizer"))
        return unsupported("WordPiece and no BertNormalizer");
    status = make_columns(columns, false);
    text_init(&text, columns->arena->memory);
    for (size_t i = 0; i < vocab->size && !status; i++) {
        const char *bytes = vocab_bytes(vocab, (int32_t)i);
        size_t size = vocab->entries[i].size;
        bool special = (vocab->flags[i] & VOCAB_SPECIAL) ||
                       (size > 1 && bytes[0] == '[' && bytes[size - 1] == ']');

        columns->types[i] = type_of(tokenizer, i);
        if (!vocab->flags[i])
            write_hole(&text, i);
        else if (special)
            text_append(&text, bytes, size);
        else if (size > 2 && memcmp(bytes, "##", 2) == 0)
            text_append(&text, bytes + 2, size - 2);
        else {
            text_append_z(&text, space_symbol);
            text_append(&text, bytes, size);
        }
        status = set_text(columns, i, &text);
    }
    text_free(&text);
    arrays->model = "bert";
    arrays->lowercase = stage_has(tokenizer, STAGE_NORMALIZER, "\"lowercase\":true");
    return status;
}

static void set_bert_roles(struct columns *columns)
{
    struct vocabulary_arrays *arrays = columns->arrays;

    arrays->cls = arrays->bos;
    arrays->sep = arrays->eos;
    arrays->add_sep = arrays->add_eos;
}

llm_status tokenizer_to_arrays(struct vocabulary_arrays *out, struct arena *arena,
                               const llm_tokenizer *tokenizer)
{
    struct columns columns = {.tokenizer = tokenizer, .arrays = out, .arena = arena};
    llm_status status;

    vocabulary_arrays_init(out);
    if (tokenizer->algorithm == &algorithm_sentencepiece)
        status = export_sentencepiece(&columns);
    else if (tokenizer->algorithm == &algorithm_bpe_characters)
        status = export_characters(&columns);
    else if (tokenizer->algorithm == &algorithm_unigram)
        status = export_unigram(&columns);
    else if (tokenizer->algorithm == &algorithm_bpe)
        status = export_bpe(&columns);
    else if (tokenizer->algorithm == &algorithm_word_piece)
        status = export_word_piece(&columns);
    else
        status = unsupported("this model");
    if (!status)
        status = set_roles(&columns);
    if (!status && tokenizer->algorithm == &algorithm_word_piece)
        set_bert_roles(&columns);
    return status;
}
