/* SPDX-License-Identifier: MIT
 *
 * The "BPE" model of tokenizer.json files that are not byte-level: merges of characters, with bytes
 * as a last resort (Llama 2, Mistral, Gemma, Phi-3) or with marks for places in the word (CLIP).
 */
#include "tokenizer/bpe.h"

#include <string.h>

static llm_status check_dropout(const json_t *model)
{
    double dropout = 0.0;
    llm_status status = json_read_double(model, "dropout", 0.0, 1.0, &dropout);

    if (!status && dropout > 0.0)
        status = status_set(LLM_E_UNSUPPORTED, "dropout is not supported");
    return status;
}

/* What a merge makes: both halves, the right one without its prefix. */
static llm_status read_rule(struct bpe_rule *rule, const struct vocab *vocab, const json_t *merge,
                            size_t index, size_t prefix_size, struct text *joined)
{
    const char *halves[2];
    size_t sizes[2];
    int32_t ids[2];

    if (!bpe_merge_halves(merge, halves, sizes))
        return status_set(LLM_E_FORMAT, "merges: entry %zu is not a pair of tokens", index);
    for (int i = 0; i < 2; i++) {
        ids[i] = vocab_find(vocab, halves[i], sizes[i]);
        if (ids[i] < 0 || sizes[i] == 0)
            return status_set(LLM_E_FORMAT, "merges: entry %zu names \"%.60s\", not in vocab",
                              index, halves[i]);
    }
    if (sizes[1] < prefix_size)
        return status_set(LLM_E_FORMAT, "merges: entry %zu: \"%.60s\" lacks the prefix", index,
                          halves[1]);
    joined->size = 0;
    text_append(joined, halves[0], sizes[0]);
    text_append(joined, halves[1] + prefix_size, sizes[1] - prefix_size);
    if (joined->failed)
        return LLM_E_NOMEM;
    *rule = (struct bpe_rule){ids[0], ids[1], vocab_find(vocab, joined->data, joined->size)};
    if (rule->result < 0)
        return status_set(LLM_E_FORMAT, "merges: what entry %zu makes is not in vocab", index);
    return LLM_OK;
}

static llm_status read_rules(struct bpe_rule **out, struct memory *memory,
                             const struct vocab *vocab, const json_t *merges, size_t prefix_size)
{
    size_t count = json_array_size(merges);
    struct bpe_rule *rules = memory_alloc_array(memory, count, sizeof *rules);
    struct text joined;
    llm_status status = rules ? LLM_OK : LLM_E_NOMEM;

    text_init(&joined, memory);
    for (size_t i = 0; i < count && !status; i++)
        status = read_rule(&rules[i], vocab, json_array_get(merges, i), i, prefix_size, &joined);
    text_free(&joined);
    if (status)
        memory_release(memory, rules);
    else
        *out = rules;
    return status;
}

static void find_bytes(struct bpe_characters *characters, const struct vocab *vocab)
{
    for (unsigned i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        char name[] = {'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'};

        characters->bytes[i] = vocab_find(vocab, name, sizeof name);
    }
}

static llm_status read_options(struct bpe *bpe, const struct vocab *vocab, const json_t *model)
{
    const char *unknown = NULL;
    llm_status status = json_read_text(model, "unk_token", &unknown);

    if (!status)
        status = json_read_bool(model, "fuse_unk", &bpe->fuse_unknown);
    if (!status)
        status = json_read_bool(model, "ignore_merges", &bpe->ignore_merges);
    if (!status)
        status = json_read_bool(model, "byte_fallback", &bpe->characters->byte_fallback);
    if (status)
        return status;
    find_bytes(bpe->characters, vocab);
    if (bpe->ignore_merges)
        bpe->characters->cut_at_spaces = false;
    if (!unknown)
        return LLM_OK;
    bpe->unknown = vocab_find(vocab, unknown, strlen(unknown));
    if (bpe->unknown < 0)
        return status_set(LLM_E_FORMAT, "unk_token \"%.60s\" is not in vocab", unknown);
    return LLM_OK;
}

static llm_status build(llm_tokenizer *tokenizer, const json_t *model)
{
    const json_t *merges = json_object_get(model, "merges");
    const char *prefix = "";
    const char *suffix = "";
    struct bpe_rule *rules = NULL;
    struct bpe *bpe = NULL;
    llm_status status = check_dropout(model);

    if (!status)
        status = json_read_text(model, "continuing_subword_prefix", &prefix);
    if (!status)
        status = json_read_text(model, "end_of_word_suffix", &suffix);
    if (!status)
        status = vocab_read(&tokenizer->vocab, json_object_get(model, "vocab"), false);
    if (!status && !json_is_array(merges))
        status = status_set(LLM_E_FORMAT, "field \"merges\" is not a list");
    if (!status)
        status = read_rules(&rules, &tokenizer->context->memory, &tokenizer->vocab, merges,
                            strlen(prefix));
    if (!status)
        status =
            bpe_build_characters(&bpe, tokenizer, rules, json_array_size(merges), prefix, suffix);
    if (status)
        return status;
    tokenizer->model = bpe;
    status = read_options(bpe, &tokenizer->vocab, model);
    return status ? status : bpe_mark_whole(bpe, &tokenizer->vocab);
}

static llm_status read_model(llm_tokenizer *tokenizer, const json_t *root)
{
    llm_status status = build(tokenizer, json_object_get(root, "model"));

    if (status)
        return status_prefix(status, "model");
    tokenizer->kind = LLM_TOKENIZER_BPE;
    tokenizer->direct = tokenizer->pre_tokenizer.count == 0;
    tokenizer->special[LLM_TOKEN_UNK] = ((struct bpe *)tokenizer->model)->unknown;
    return LLM_OK;
}

static void write_text(const struct vocab *vocab, int32_t id, struct text *out)
{
    text_append_json(out, vocab_bytes(vocab, id), vocab->entries[id].size);
}

static void write_mark(struct text *out, const char *key, const char *text, size_t size)
{
    text_printf(out, ",\n    \"%s\": ", key);
    if (size > 0)
        text_append_json(out, text, size);
    else
        text_append_z(out, "null");
}

void bpe_write_characters(const struct bpe *bpe, const struct vocab *vocab,
                          const struct bpe_rule *rules, size_t rule_count, struct text *out)
{
    const struct bpe_characters *characters = bpe->characters;

    text_append_z(out, "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (bpe->unknown >= 0)
        write_text(vocab, bpe->unknown, out);
    else
        text_append_z(out, "null");
    write_mark(out, "continuing_subword_prefix", characters->prefix, characters->prefix_size);
    write_mark(out, "end_of_word_suffix", characters->suffix, characters->suffix_size);
    text_printf(out,
                ",\n    \"fuse_unk\": %s,\n    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n"
                "    \"vocab\": ",
                bpe->fuse_unknown ? "true" : "false", characters->byte_fallback ? "true" : "false",
                bpe->ignore_merges ? "true" : "false");
    vocab_write(vocab, false, false, out);
    text_append_z(out, ",\n    \"merges\": [");
    for (size_t i = 0; i < rule_count && !out->failed; i++) {
        text_append_z(out, i ? ",\n      [" : "\n      [");
        write_text(vocab, rules[i].left, out);
        text_append_z(out, ", ");
        write_text(vocab, rules[i].right, out);
        text_append_z(out, "]");
    }
    text_append_z(out, "\n    ]\n  }");
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct bpe *bpe = tokenizer->model;

    bpe_write_characters(bpe, &tokenizer->vocab, bpe->rules, bpe->rule_count, out);
}

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    const struct bpe *bpe = tokenizer->model;
    const struct vocab *vocab = &tokenizer->vocab;
    struct piece_sink sink = {out, ends};
    int32_t id;

    if (!ends)
        return bpe_encode_text(bpe, vocab, scratch, (const unsigned char *)word, size, out);
    id = bpe->ignore_merges ? vocab_find(vocab, word, size) : -1;
    if (id >= 0 && (vocab->flags[id] & VOCAB_WHOLE))
        return piece_sink_put(&sink, id, size);
    return bpe_encode_characters(bpe, vocab, scratch, (const unsigned char *)word, size, &sink);
}

/* Without pre-tokenizer all of the text is one word. */
static llm_status encode(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                         size_t size, struct token_list *out)
{
    return bpe_encode_text(tokenizer->model, &tokenizer->vocab, scratch,
                           (const unsigned char *)text, size, out);
}

static void free_model(llm_tokenizer *tokenizer)
{
    bpe_free(tokenizer->model);
}

const struct tokenizer_algorithm algorithm_bpe_characters = {
    .type = "BPE",
    .read = read_model,
    .write_model = write_model,
    .encode_word = encode_word,
    .encode = encode,
    .free = free_model,
};
