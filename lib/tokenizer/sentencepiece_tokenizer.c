/* SPDX-License-Identifier: MIT
 *
 * A whole tokenizer around a SentencePiece model: its normalizer as a stage, the algorithm's row,
 * and the fields of tokenizer.json that say the same to Hugging Face tokenizers, for saving. Those
 * fields follow the conversion that transformers does.
 */
#include "base/base64.h"
#include "tokenizer/sentencepiece.h"

#include <stdlib.h>
#include <string.h>

/* ---- the normalizer as a stage ---- */

static llm_status apply_rules(const void *data, struct normalizer_work *work,
                              const struct mapped_text *in, struct mapped_text *out)
{
    (void)work;
    sentencepiece_normalize(data, in, out);
    return out->failed ? LLM_E_NOMEM : LLM_OK;
}

/* A space in front, or behind, is up to three bytes more. */
static size_t growth(const void *data)
{
    return ((const struct sentencepiece_rules *)data)->map.growth + 3;
}

static void keep_rules(void *data, struct memory *memory)
{
    (void)data; /* the model's */
    (void)memory;
}

static const struct normalizer_type normalizer_sentencepiece = {
    .type = "SentencePiece",
    .apply = apply_rules,
    .growth = growth,
    .free = keep_rules,
};

/* In the place of the stages that were read for the file. */
static llm_status set_normalizer(llm_tokenizer *tokenizer, struct sentencepiece *model)
{
    struct normalizer *normalizer = &tokenizer->normalizer;
    llm_status status;

    normalizer_free(normalizer);
    normalizer->memory = &tokenizer->context->memory;
    status = memory_grow(normalizer->memory, (void **)&normalizer->stages, &normalizer->capacity, 1,
                         sizeof *normalizer->stages);
    if (!status)
        normalizer->stages[normalizer->count++] =
            (struct normalizer_stage){&normalizer_sentencepiece, &model->rules};
    return status;
}

/* ---- the fields of tokenizer.json ---- */

/* Does the map leave no white space but spaces? Then stripping white space is stripping spaces. */
static bool only_spaces(const struct charsmap *map)
{
    return map->data && !map->plain['\t'] && !map->plain['\n'] && !map->plain['\v'] &&
           !map->plain['\f'] && !map->plain['\r'];
}

/* Metaspace puts no space in front of a text that begins with one, and SentencePiece does: so a
 * space in front of every text is a Prepend. Only in front of the first, it is what transformers
 * does. */
static void write_normalizer(const struct sentencepiece_rules *rules, struct text *out)
{
    const char *separator = "";

    text_append_z(out, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (rules->map.data) {
        text_append_z(out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
        base64_write(out, rules->map.data, rules->map.size);
        text_append_z(out, "\"}");
        separator = ",";
    }
    if (rules->remove_extra_whitespaces && only_spaces(&rules->map))
        text_printf(out,
                    "%s{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},"
                    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}",
                    separator);
    else if (rules->remove_extra_whitespaces)
        text_printf(out,
                    "%s{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^ +| +$\"},\"content\":\"\"},"
                    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}",
                    separator);
    if (rules->remove_extra_whitespaces)
        separator = ",";
    if (rules->add_dummy_prefix && !rules->prefix_first_only) {
        text_printf(out, "%s{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}", separator);
        separator = ",";
    }
    text_printf(out,
                "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
                "\"content\":\"\xE2\x96\x81\"}]}",
                separator);
}

static void write_stages(const struct sentencepiece *model, struct text *out)
{
    const struct sentencepiece_rules *rules = &model->rules;
    bool first = rules->add_dummy_prefix && rules->prefix_first_only;

    write_normalizer(rules, out);
    if (first || model->unigram)
        text_printf(out,
                    ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                    "\"prepend_scheme\":\"%s\",\"split\":%s}",
                    first ? "first" : "never", model->unigram ? "true" : "false");
    text_append_z(out, ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
                       "\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
                       "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}");
    if (rules->add_dummy_prefix)
        text_append_z(out, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    text_append_z(out, "]}");
}

static void write_added(const struct sentencepiece *model, const struct vocab *vocab,
                        bool user_defined, struct text *out)
{
    const char *separator = "";

    text_append_z(out, ",\"added_tokens\":[");
    for (size_t i = 0; i < vocab->size; i++) {
        int type = model->types[i];
        bool special = type == PIECE_CONTROL || type == PIECE_UNKNOWN;

        if ((!special && !(type == PIECE_USER_DEFINED && user_defined)) ||
            vocab->entries[i].size == 0 ||
            vocab_find(vocab, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size) != (int32_t)i)
            continue;
        text_printf(out, "%s{\"id\":%zu,\"content\":", separator, i);
        text_append_json(out, vocab_bytes(vocab, (int32_t)i), vocab->entries[i].size);
        text_printf(out, ",\"special\":%s}", special ? "true" : "false");
        separator = ",";
    }
    text_append_z(out, "]");
}

static void write_special(const struct vocab *vocab, int32_t id, int sequence, struct text *out)
{
    text_append_z(out, "{\"SpecialToken\":{\"id\":");
    text_append_json(out, vocab_bytes(vocab, id), vocab->entries[id].size);
    text_printf(out, ",\"type_id\":%d}}", sequence);
}

/* One text of a template: its begin token, itself, its end token. */
static void write_sequence(const struct vocab *vocab, int32_t before, int32_t after, int sequence,
                           struct text *out)
{
    if (before >= 0) {
        write_special(vocab, before, sequence, out);
        text_append_z(out, ",");
    }
    text_printf(out, "{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", sequence ? "B" : "A",
                sequence);
    if (after >= 0) {
        text_append_z(out, ",");
        write_special(vocab, after, sequence, out);
    }
}

void template_write(const struct vocab *vocab, int32_t before, int32_t after, struct text *out)
{
    const int32_t ids[2] = {before, after != before ? after : -1};
    const char *separator = "";

    if (before < 0 && after < 0) {
        text_append_z(out, "null");
        return;
    }
    text_append_z(out, "{\"type\":\"TemplateProcessing\",\"single\":[");
    write_sequence(vocab, before, after, 0, out);
    text_append_z(out, "],\"pair\":[");
    write_sequence(vocab, before, after, 0, out);
    text_append_z(out, ",");
    write_sequence(vocab, before, after, 1, out);
    text_append_z(out, "],\"special_tokens\":{");
    for (int i = 0; i < 2; i++) {
        struct vocab_entry entry;

        if (ids[i] < 0)
            continue;
        entry = vocab->entries[ids[i]];
        text_append_z(out, separator);
        text_append_json(out, vocab_bytes(vocab, ids[i]), entry.size);
        text_append_z(out, ":{\"id\":");
        text_append_json(out, vocab_bytes(vocab, ids[i]), entry.size);
        text_printf(out, ",\"ids\":[%d],\"tokens\":[", (int)ids[i]);
        text_append_json(out, vocab_bytes(vocab, ids[i]), entry.size);
        text_append_z(out, "]}");
        separator = ",";
    }
    text_append_z(out, "}}");
}

/* ---- the model for the file ---- */

struct written_rule {
    struct bpe_rule rule;
    float score;
    uint32_t left_size; /* characters */
    uint32_t right_size;
};

/* The order of transformers' conversion: scores, then the longer left half, the longer right half.
 */
static int compare_rules(const void *a, const void *b)
{
    const struct written_rule *x = a;
    const struct written_rule *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_size != y->left_size)
        return x->left_size > y->left_size ? -1 : 1;
    if (x->right_size != y->right_size)
        return x->right_size > y->right_size ? -1 : 1;
    if (x->rule.left != y->rule.left)
        return x->rule.left < y->rule.left ? -1 : 1;
    return (x->rule.right > y->rule.right) - (x->rule.right < y->rule.right);
}

static uint32_t count_characters(const char *bytes, size_t size)
{
    uint32_t count = 0;

    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)bytes[i] & 0xC0) != 0x80;
    return count;
}

struct rule_array {
    struct written_rule *list;
    size_t count;
    size_t capacity;
};

/* All pairs of pieces that make piece `id`. */
static llm_status add_rules(struct rule_array *rules, const struct sentencepiece *model,
                            const struct vocab *vocab, int32_t id)
{
    const char *bytes = vocab_bytes(vocab, id);
    size_t size = vocab->entries[id].size;
    llm_status status = LLM_OK;

    for (size_t at = 1; at < size && !status; at++) {
        struct written_rule rule = {.score = model->scores[id]};

        if (((unsigned char)bytes[at] & 0xC0) == 0x80)
            continue;
        rule.rule = (struct bpe_rule){vocab_find(vocab, bytes, at),
                                      vocab_find(vocab, bytes + at, size - at), id};
        if (rule.rule.left < 0 || rule.rule.right < 0)
            continue;
        rule.left_size = count_characters(bytes, at);
        rule.right_size = count_characters(bytes + at, size - at);
        status = memory_grow(model->memory, (void **)&rules->list, &rules->capacity,
                             rules->count + 1, sizeof *rules->list);
        if (!status)
            rules->list[rules->count++] = rule;
    }
    return status;
}

static void write_merges(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct sentencepiece *model = tokenizer->model;
    const struct vocab *vocab = &tokenizer->vocab;
    struct bpe_characters characters = {.byte_fallback = model->byte_fallback};
    struct bpe bpe = {.unknown = model->unknown, .fuse_unknown = true, .characters = &characters};
    struct rule_array rules = {NULL, 0, 0};
    struct bpe_rule *plain = NULL;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < model->count && !status; i++) {
        if (model->types[i] == PIECE_NORMAL)
            status = add_rules(&rules, model, vocab, (int32_t)i);
    }
    if (rules.count > 1)
        qsort(rules.list, rules.count, sizeof *rules.list, compare_rules);
    plain = memory_alloc_array(model->memory, rules.count, sizeof *plain);
    if (status || !plain) {
        out->failed = true;
    } else {
        for (size_t i = 0; i < rules.count; i++)
            plain[i] = rules.list[i].rule;
        bpe_write_characters(&bpe, vocab, plain, rules.count, out);
    }
    memory_release(model->memory, rules.list);
    memory_release(model->memory, plain);
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct sentencepiece *model = tokenizer->model;

    if (model->unigram)
        unigram_write(model->unigram, &tokenizer->vocab, model->scores, out);
    else
        write_merges(tokenizer, out);
}

/* ---- the row ---- */

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    struct piece_sink sink = {out, ends};

    return sentencepiece_encode(tokenizer, scratch, word, size, &sink);
}

static llm_status encode(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                         size_t size, struct token_list *out)
{
    return encode_word(tokenizer, scratch, text, size, out, NULL);
}

static void free_model(llm_tokenizer *tokenizer)
{
    sentencepiece_free(tokenizer->model);
}

static llm_status check_write(const llm_tokenizer *tokenizer)
{
    const struct sentencepiece *model = tokenizer->model;

    if (model->rules.whitespace_as_suffix)
        return status_set(LLM_E_UNSUPPORTED,
                          "treat_whitespace_as_suffix: a tokenizer.json has no way to say that");
    if (!model->rules.escape_whitespaces)
        return status_set(LLM_E_UNSUPPORTED,
                          "escape_whitespaces is off: a tokenizer.json has no way to say that");
    return LLM_OK;
}

const struct tokenizer_algorithm algorithm_sentencepiece = {
    .type = "SentencePiece",
    .check_write = check_write,
    .write_model = write_model,
    .encode_word = encode_word,
    .encode = encode,
    .free = free_model,
};

/* ---- making it ---- */

/* The decoder is used as it stands there; normalizer and pre-tokenizer are only for saving. */
static llm_status keep_stages(llm_tokenizer *tokenizer, json_t *root)
{
    json_t *decoder = json_pack("{s:O}", "decoder", json_object_get(root, "decoder"));
    llm_status status = decoder ? huggingface_read_stages(tokenizer, decoder) : LLM_E_NOMEM;

    json_decref(decoder);
    if (!status)
        status = tokenizer_keep_json(tokenizer, &tokenizer->stage_json[STAGE_NORMALIZER],
                                     json_object_get(root, "normalizer"));
    if (!status)
        status = tokenizer_keep_json(tokenizer, &tokenizer->stage_json[STAGE_PRE_TOKENIZER],
                                     json_object_get(root, "pre_tokenizer"));
    return status;
}

static llm_status read_frame(llm_tokenizer *tokenizer, struct sentencepiece *model,
                             const struct vocabulary_arrays *arrays)
{
    bool add_bos = arrays->add_bos < 0 ? strcmp(arrays->model, "llama") == 0 : arrays->add_bos != 0;
    json_t *root = NULL;
    struct text frame;
    llm_status status = LLM_E_NOMEM;

    text_init(&frame, model->memory);
    text_append_z(&frame, "{");
    write_stages(model, &frame);
    write_added(model, &tokenizer->vocab, model->rules.user.units == NULL, &frame);
    text_append_z(&frame, ",\"post_processor\":");
    template_write(&tokenizer->vocab, add_bos ? arrays->bos : -1,
                   arrays->add_eos == 1 ? arrays->eos : -1, &frame);
    text_append_z(&frame, "}");
    if (!frame.failed)
        status = json_open(&root, frame.data, frame.size, "the tokenizer's frame");
    if (!status)
        status = keep_stages(tokenizer, root);
    if (!status)
        status = set_normalizer(tokenizer, model);
    if (!status)
        status = huggingface_read_rest(tokenizer, root);
    json_decref(root);
    text_free(&frame);
    return status;
}

llm_status sentencepiece_make(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays)
{
    struct sentencepiece *model = NULL;
    llm_status status = sentencepiece_build(&model, tokenizer, arrays);

    if (status)
        return status;
    tokenizer->model = model;
    tokenizer->algorithm = &algorithm_sentencepiece;
    tokenizer->kind = model->unigram ? LLM_TOKENIZER_UNIGRAM : LLM_TOKENIZER_BPE;
    tokenizer->direct = true;
    tokenizer->special[LLM_TOKEN_BOS] = arrays->bos;
    tokenizer->special[LLM_TOKEN_EOS] = arrays->eos;
    tokenizer->special[LLM_TOKEN_UNK] = model->unknown;
    tokenizer->special[LLM_TOKEN_PAD] = arrays->pad;
    return read_frame(tokenizer, model, arrays);
}
