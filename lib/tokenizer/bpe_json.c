/* SPDX-License-Identifier: MIT
 *
 * The "BPE" model of tokenizer.json, read and written, and the algorithm's row.
 */
#include "tokenizer/bpe.h"
#include "tokenizer/byte_alphabet.h"

#include <string.h>

static llm_status refuse(const char *field)
{
    return status_set(LLM_E_UNSUPPORTED, "model: %s is not supported", field);
}

/* Fields that change the algorithm into one that is not ours. */
static llm_status check_fields(const json_t *model)
{
    const char *prefix = "";
    const char *suffix = "";
    bool byte_fallback = false;
    double dropout = 0.0;
    llm_status status = json_read_text(model, "continuing_subword_prefix", &prefix);

    if (!status)
        status = json_read_text(model, "end_of_word_suffix", &suffix);
    if (!status)
        status = json_read_bool(model, "byte_fallback", &byte_fallback);
    if (!status)
        status = json_read_double(model, "dropout", 0.0, 1.0, &dropout);
    if (status)
        return status_prefix(status, "model");
    if (prefix[0])
        return refuse("continuing_subword_prefix");
    if (suffix[0])
        return refuse("end_of_word_suffix");
    if (byte_fallback)
        return refuse("byte_fallback");
    if (dropout > 0.0)
        return refuse("dropout");
    return LLM_OK;
}

/* "left right" or ["left", "right"]. */
bool bpe_merge_halves(const json_t *merge, const char *halves[2], size_t sizes[2])
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *half = json_array_get(merge, i);

            if (!json_is_string(half))
                return false;
            halves[i] = json_string_value(half);
            sizes[i] = json_string_length(half);
        }
        return true;
    }
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        const char *end = text + json_string_length(merge);
        const char *space = memchr(text, ' ', (size_t)(end - text));

        if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1)))
            return false;
        halves[0] = text;
        sizes[0] = (size_t)(space - text);
        halves[1] = space + 1;
        sizes[1] = (size_t)(end - space - 1);
        return true;
    }
    return false;
}

static llm_status read_rule(struct bpe_rule *rule, const struct vocab *vocab, const json_t *merge,
                            size_t index, struct text *joined)
{
    const char *halves[2];
    size_t sizes[2];
    int32_t ids[2];

    if (!bpe_merge_halves(merge, halves, sizes))
        return status_set(LLM_E_FORMAT, "merges: entry %zu is not a pair of tokens", index);
    joined->size = 0;
    for (int i = 0; i < 2; i++) {
        ids[i] = vocab_find_spelled(vocab, halves[i], sizes[i]);
        if (ids[i] < 0 || vocab->entries[ids[i]].size == 0)
            return status_set(LLM_E_FORMAT, "merges: entry %zu names \"%.60s\", not in vocab",
                              index, halves[i]);
        if (vocab->flags[ids[i]] & VOCAB_LITERAL)
            return status_set(LLM_E_UNSUPPORTED,
                              "merges: entry %zu: \"%.60s\" is not in the byte alphabet", index,
                              halves[i]);
        text_append(joined, vocab_bytes(vocab, ids[i]), vocab->entries[ids[i]].size);
    }
    if (joined->failed)
        return LLM_E_NOMEM;
    *rule = (struct bpe_rule){ids[0], ids[1], vocab_find(vocab, joined->data, joined->size)};
    if (rule->result < 0 || (vocab->flags[rule->result] & VOCAB_LITERAL))
        return status_set(LLM_E_FORMAT, "merges: what entry %zu makes is not in vocab", index);
    return LLM_OK;
}

static llm_status read_rules(struct bpe_rule **out, struct memory *memory,
                             const struct vocab *vocab, const json_t *merges)
{
    size_t count = json_array_size(merges);
    struct bpe_rule *rules = NULL;
    struct text joined;
    llm_status status = LLM_OK;

    text_init(&joined, memory);
    rules = memory_alloc_array(memory, count, sizeof *rules);
    if (!rules)
        status = LLM_E_NOMEM;
    for (size_t i = 0; i < count && !status; i++)
        status = read_rule(&rules[i], vocab, json_array_get(merges, i), i, &joined);
    if (status)
        memory_release(memory, rules);
    else
        *out = rules;
    text_free(&joined);
    return status;
}

/* No merges and a token for each byte: the byte-level kind. */
static bool is_bytes(const struct bpe *bpe)
{
    for (uint32_t i = 0; i < 256; i++) {
        if (bpe->symbols[i].id < 0)
            return false;
    }
    return bpe->rule_count == 0;
}

static llm_status read_unknown(struct bpe *bpe, const struct vocab *vocab, const json_t *model)
{
    const char *unknown = NULL;
    llm_status status = json_read_text(model, "unk_token", &unknown);

    if (!status)
        status = json_read_bool(model, "fuse_unk", &bpe->fuse_unknown);
    if (!status)
        status = json_read_bool(model, "ignore_merges", &bpe->ignore_merges);
    if (status || !unknown)
        return status;
    bpe->unknown = vocab_find_spelled(vocab, unknown, strlen(unknown));
    if (bpe->unknown < 0)
        return status_set(LLM_E_FORMAT, "unk_token \"%.60s\" is not in vocab", unknown);
    for (uint32_t i = 0; i < 256 && bpe->fuse_unknown; i++) {
        if (bpe->symbols[i].id < 0)
            return refuse("fuse_unk without a token for every byte");
    }
    return LLM_OK;
}

static llm_status find_byte_level(void *user, const json_t *stage, const char *type)
{
    (void)stage;
    if (strcmp(type, "ByteLevel") == 0)
        *(bool *)user = true;
    return LLM_OK;
}

static bool is_text(const json_t *value)
{
    return json_string_length(value) > 0;
}

/* Byte-level files: some stage spells text in the byte alphabet, and nothing else is spelled. */
static bool is_byte_level(const json_t *root)
{
    static const char *const fields[] = {"pre_tokenizer", "normalizer"};
    const json_t *model = json_object_get(root, "model");
    bool found = false;

    if (is_text(json_object_get(model, "continuing_subword_prefix")) ||
        is_text(json_object_get(model, "end_of_word_suffix")))
        return false;

    for (size_t i = 0; i < 2 && !found; i++)
        (void)stage_list_walk(json_object_get(root, fields[i]), fields[i],
                              i ? "normalizers" : "pretokenizers", find_byte_level, &found);
    return found;
}

llm_status bpe_read(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *merges = json_object_get(model, "merges");
    struct bpe_rule *rules = NULL;
    struct bpe *bpe = NULL;
    llm_status status = check_fields(model);

    if (!status)
        status = vocab_read(&tokenizer->vocab, json_object_get(model, "vocab"), true);
    if (!status && !json_is_array(merges))
        status = status_set(LLM_E_FORMAT, "model: field \"merges\" is not a list");
    if (!status)
        status = read_rules(&rules, &tokenizer->context->memory, &tokenizer->vocab, merges);
    if (!status)
        status = bpe_build(&bpe, tokenizer, rules, json_array_size(merges));
    if (status)
        return status;
    tokenizer->model = bpe;
    status = read_unknown(bpe, &tokenizer->vocab, model);
    if (status)
        return status_prefix(status, "model");
    status = bpe_mark_whole(bpe, &tokenizer->vocab);
    if (status)
        return status;
    tokenizer->kind = is_bytes(bpe) ? LLM_TOKENIZER_BYTES : LLM_TOKENIZER_BPE;
    tokenizer->spelled = true;
    tokenizer->plain_decoding = token_decoder_is(&tokenizer->decoder, "ByteLevel");
    tokenizer->direct = pre_tokenizer_is_rule(tokenizer, json_object_get(root, "pre_tokenizer"));
    tokenizer->unspell = !pre_tokenizer_ends_in_bytes(&tokenizer->pre_tokenizer, true);
    tokenizer->special[LLM_TOKEN_UNK] = bpe->unknown;
    return LLM_OK;
}

static void write_spelled(const struct vocab *vocab, int32_t id, struct text *out)
{
    if (vocab->flags[id] & VOCAB_LITERAL)
        text_append_json(out, vocab_bytes(vocab, id), vocab->entries[id].size);
    else
        byte_alphabet_write_json(out, vocab_bytes(vocab, id), vocab->entries[id].size);
}

/* Hugging Face tokenizers numbers added tokens anew, in the order of the file, behind the
 * vocabulary. It keeps ids only if that gives the same ones, or if the tokens are in the vocabulary
 * too. */
static bool needs_ids(const llm_tokenizer *tokenizer)
{
    const struct vocab *vocab = &tokenizer->vocab;
    size_t next = 0;

    for (size_t i = 0; i < vocab->size; i++)
        next += vocab->flags[i] & VOCAB_MODEL;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        int32_t id = tokenizer->added.tokens[i].id;

        if (!(vocab->flags[id] & VOCAB_MODEL) && (size_t)id != next++)
            return true;
    }
    return false;
}

void bpe_write(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct bpe *bpe = tokenizer->model;

    text_append_z(out, "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (bpe->unknown >= 0)
        write_spelled(&tokenizer->vocab, bpe->unknown, out);
    else
        text_append_z(out, "null");
    text_printf(out,
                ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
                "    \"fuse_unk\": %s,\n    \"byte_fallback\": false,\n    \"ignore_merges\": %s,\n"
                "    \"vocab\": ",
                bpe->fuse_unknown ? "true" : "false", bpe->ignore_merges ? "true" : "false");
    vocab_write(&tokenizer->vocab, true, needs_ids(tokenizer), out);
    text_append_z(out, ",\n    \"merges\": [");
    for (size_t i = 0; i < bpe->rule_count && !out->failed; i++) {
        text_append_z(out, i ? ",\n      [" : "\n      [");
        write_spelled(&tokenizer->vocab, bpe->rules[i].left, out);
        text_append_z(out, ", ");
        write_spelled(&tokenizer->vocab, bpe->rules[i].right, out);
        text_append_z(out, "]");
    }
    text_append_z(out, "\n    ]\n  }");
}

static void free_model(llm_tokenizer *tokenizer)
{
    bpe_free(tokenizer->model);
}

const struct tokenizer_algorithm algorithm_bpe = {
    .type = "BPE",
    .takes = is_byte_level,
    .read = bpe_read,
    .write_model = bpe_write,
    .encode_word = bpe_encode_cached,
    .encode = bpe_encode,
    .free = free_model,
};
