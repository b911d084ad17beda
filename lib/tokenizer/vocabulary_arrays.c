/* SPDX-License-Identifier: MIT
 *
 * Tokenizers from flat arrays. SentencePiece's kinds are sentencepiece_tokenizer.c's; the
 * byte-level one is built here, around the pre-tokenizer that its name stands for; BERT's goes
 * through the text of a tokenizer.json, being small.
 */
#include "tokenizer/vocabulary_arrays.h"

#include "tokenizer/pre_names.h"
#include "tokenizer/sentencepiece.h"

#include <string.h>

static const char space_symbol[] = "\xE2\x96\x81";

void vocabulary_arrays_init(struct vocabulary_arrays *arrays)
{
    memset(arrays, 0, sizeof *arrays);
    arrays->bos = arrays->eos = arrays->unk = arrays->sep = -1;
    arrays->pad = arrays->cls = arrays->mask = -1;
    arrays->add_bos = arrays->add_eos = arrays->add_sep = -1;
    arrays->add_space_prefix = arrays->remove_extra_whitespaces = -1;
    arrays->escape_whitespaces = arrays->treat_whitespace_as_suffix = -1;
    arrays->user_defined_inside = arrays->prefix_first_only = -1;
    arrays->lowercase = arrays->strip_accents = -1;
}

static int type_of(const struct vocabulary_arrays *arrays, size_t id)
{
    return arrays->types ? arrays->types[id] : PIECE_NORMAL;
}

static bool is_special(int type)
{
    return type == PIECE_CONTROL || type == PIECE_UNKNOWN;
}

static llm_status check_ids(const struct vocabulary_arrays *arrays)
{
    const struct {
        const char *name;
        int32_t id;
    } ids[] = {
        {"begin", arrays->bos}, {"end", arrays->eos}, {"unknown", arrays->unk},
        {"sep", arrays->sep},   {"pad", arrays->pad}, {"cls", arrays->cls},
        {"mask", arrays->mask},
    };

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (ids[i].id < -1 || (ids[i].id >= 0 && (size_t)ids[i].id >= arrays->count))
            return status_set(LLM_E_RANGE, "the %s token %d is not in the vocabulary of %zu",
                              ids[i].name, (int)ids[i].id, arrays->count);
    }
    if (arrays->add_bos == 1 && arrays->bos < 0)
        return status_set(LLM_E_FORMAT, "a begin token is to be added and there is none");
    if (arrays->add_eos == 1 && arrays->eos < 0)
        return status_set(LLM_E_FORMAT, "an end token is to be added and there is none");
    return LLM_OK;
}

static void set_roles(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays)
{
    tokenizer->special[LLM_TOKEN_BOS] = arrays->bos;
    tokenizer->special[LLM_TOKEN_EOS] = arrays->eos;
    tokenizer->special[LLM_TOKEN_UNK] = arrays->unk;
    tokenizer->special[LLM_TOKEN_PAD] = arrays->pad;
}

static void write_added(const struct vocabulary_arrays *arrays, const struct vocab *vocab,
                        struct text *out)
{
    const char *separator = "";

    text_append_z(out, "\"added_tokens\":[");
    for (size_t i = 0; i < arrays->count; i++) {
        int type = type_of(arrays, i);
        const struct vocabulary_text *token = &arrays->tokens[i];

        if ((!is_special(type) && type != PIECE_USER_DEFINED) || token->size == 0 ||
            (vocab && !(vocab->flags[i] & VOCAB_LITERAL) &&
             vocab_find_spelled(vocab, token->data, token->size) != (int32_t)i))
            continue;
        text_printf(out, "%s{\"id\":%zu,\"content\":", separator, i);
        text_append_json(out, token->data, token->size);
        text_printf(out, ",\"special\":%s}", is_special(type) ? "true" : "false");
        separator = ",";
    }
    text_append_z(out, "]");
}

/* ---- gpt2: byte-level byte-pair encoding ---- */

static llm_status put_tokens(struct vocab *vocab, const struct vocabulary_arrays *arrays)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < arrays->count && !status; i++)
        status = vocab_put_spelled(vocab, (int64_t)i, arrays->tokens[i].data,
                                   arrays->tokens[i].size, VOCAB_MODEL);
    return status;
}

/* "left right"; neither half holds a space, which the byte alphabet spells otherwise. */
static llm_status read_rule(struct bpe_rule *rule, const struct vocab *vocab,
                            const struct vocabulary_text *merge, size_t index, struct text *joined)
{
    const char *space = merge->size > 2 ? memchr(merge->data + 1, ' ', merge->size - 1) : NULL;
    size_t left = space ? (size_t)(space - merge->data) : 0;

    if (!space || left + 1 == merge->size)
        return status_set(LLM_E_FORMAT, "merges: entry %zu is not a pair of tokens", index);
    joined->size = 0;
    text_append(joined, merge->data, left);
    text_append(joined, space + 1, merge->size - left - 1);
    if (joined->failed)
        return LLM_E_NOMEM;
    rule->left = vocab_find_spelled(vocab, merge->data, left);
    rule->right = vocab_find_spelled(vocab, space + 1, merge->size - left - 1);
    rule->result = vocab_find_spelled(vocab, joined->data, joined->size);
    if (rule->left < 0 || rule->right < 0 || rule->result < 0)
        return status_set(LLM_E_FORMAT, "merges: entry %zu names a token that does not exist",
                          index);
    return LLM_OK;
}

static llm_status build_bpe(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays,
                            bool ignore_merges)
{
    struct memory *memory = &tokenizer->context->memory;
    struct bpe_rule *rules = memory_alloc_array(memory, arrays->merge_count, sizeof *rules);
    struct bpe *bpe = NULL;
    struct text joined;
    llm_status status = rules ? put_tokens(&tokenizer->vocab, arrays) : LLM_E_NOMEM;

    text_init(&joined, memory);
    for (size_t i = 0; i < arrays->merge_count && !status; i++)
        status = read_rule(&rules[i], &tokenizer->vocab, &arrays->merges[i], i, &joined);
    text_free(&joined);
    if (status) {
        memory_release(memory, rules);
        return status;
    }
    status = bpe_build(&bpe, tokenizer, rules, arrays->merge_count);
    if (status)
        return status;
    tokenizer->model = bpe;
    tokenizer->algorithm = &algorithm_bpe;
    bpe->ignore_merges = ignore_merges;
    return bpe_mark_whole(bpe, &tokenizer->vocab);
}

static llm_status open_frame(json_t **out, llm_tokenizer *tokenizer,
                             const struct vocabulary_arrays *arrays, const struct pre_name *pre)
{
    struct text frame;
    llm_status status = LLM_E_NOMEM;

    text_init(&frame, &tokenizer->context->memory);
    text_append_z(&frame, "{");
    write_added(arrays, &tokenizer->vocab, &frame);
    text_append_z(&frame, ",\"pre_tokenizer\":");
    text_append_z(&frame, pre->json);
    text_append_z(&frame, ",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                          "\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":");
    template_write(&tokenizer->vocab, arrays->add_bos == 1 ? arrays->bos : -1,
                   arrays->add_eos == 1 ? arrays->eos : -1, &frame);
    text_append_z(&frame, "}");
    if (!frame.failed)
        status = json_open(out, frame.data, frame.size, "the tokenizer's frame");
    text_free(&frame);
    return status;
}

static llm_status make_bpe(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays)
{
    const struct pre_name *pre = arrays->pre ? pre_name_find(arrays->pre) : NULL;
    json_t *root = NULL;
    llm_status status = LLM_OK;

    if (!pre)
        return status_set(LLM_E_UNSUPPORTED, "tokenizer.ggml.pre \"%.60s\" is not supported",
                          arrays->pre ? arrays->pre : "(none)");
    status = build_bpe(tokenizer, arrays, pre->ignore_merges);
    if (!status)
        status = open_frame(&root, tokenizer, arrays, pre);
    if (!status)
        status = huggingface_read_stages(tokenizer, root);
    if (!status) {
        tokenizer->kind = LLM_TOKENIZER_BPE;
        tokenizer->spelled = true;
        tokenizer->plain_decoding = true;
        tokenizer->direct =
            pre_tokenizer_is_rule(tokenizer, json_object_get(root, "pre_tokenizer"));
        tokenizer->unspell = !pre_tokenizer_ends_in_bytes(&tokenizer->pre_tokenizer, true);
        set_roles(tokenizer, arrays);
        status = huggingface_read_rest(tokenizer, root);
    }
    json_decref(root);
    return status;
}

/* ---- bert: WordPiece ---- */

static bool in_brackets(const char *text, size_t size)
{
    return size > 1 && text[0] == '[' && text[size - 1] == ']';
}

/* A token that starts a word has U+2581 in front there, and one that goes on "##" here; what is
 * special, or in brackets, is the same. */
static llm_status respell(struct text *out, const struct vocabulary_arrays *arrays, size_t id)
{
    const struct vocabulary_text *token = &arrays->tokens[id];
    struct text spelled;

    text_init(&spelled, out->memory);
    if (token->size >= 3 && memcmp(token->data, space_symbol, 3) == 0) {
        text_append(&spelled, token->data + 3, token->size - 3);
    } else {
        if (!is_special(type_of(arrays, id)) && !in_brackets(token->data, token->size))
            text_append_z(&spelled, "##");
        text_append(&spelled, token->data, token->size);
    }
    text_append_json(out, spelled.data ? spelled.data : "", spelled.size);
    if (spelled.failed)
        out->failed = true;
    text_free(&spelled);
    return out->failed ? LLM_E_NOMEM : LLM_OK;
}

static void write_name(const struct vocabulary_arrays *arrays, int32_t id, struct text *out)
{
    text_append_json(out, arrays->tokens[id].data, arrays->tokens[id].size);
}

static llm_status write_bert(const struct vocabulary_arrays *arrays, int32_t unk, int32_t cls,
                             int32_t sep, struct text *out)
{
    bool lowercase = arrays->lowercase != 0;
    llm_status status = LLM_OK;

    text_append_z(out, "{");
    write_added(arrays, NULL, out);
    text_printf(out,
                ",\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                "\"handle_chinese_chars\":true,\"strip_accents\":%s,\"lowercase\":%s},"
                "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":"
                "\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"post_processor\":{\"type\":"
                "\"BertProcessing\",\"sep\":[",
                arrays->strip_accents < 0    ? "null"
                : arrays->strip_accents != 0 ? "true"
                                             : "false",
                lowercase ? "true" : "false");
    write_name(arrays, sep, out);
    text_printf(out, ",%d],\"cls\":[", (int)sep);
    write_name(arrays, cls, out);
    text_printf(out, ",%d]},\"model\":{\"type\":\"WordPiece\",\"unk_token\":", (int)cls);
    write_name(arrays, unk, out);
    text_append_z(out, ",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
                       "\"vocab\":{");
    for (size_t i = 0; i < arrays->count && !status; i++) {
        if (i > 0)
            text_append_z(out, ",");
        status = respell(out, arrays, i);
        text_printf(out, ":%zu", i);
    }
    text_append_z(out, "}}}");
    return out->failed ? LLM_E_NOMEM : status;
}

static llm_status make_bert(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays)
{
    int32_t unk = arrays->unk >= 0 ? arrays->unk : 100;
    int32_t cls = arrays->cls >= 0 ? arrays->cls : arrays->bos >= 0 ? arrays->bos : 101;
    int32_t sep = arrays->sep >= 0 ? arrays->sep : arrays->eos >= 0 ? arrays->eos : 102;
    struct text json;
    llm_status status = LLM_OK;

    if ((size_t)unk >= arrays->count || (size_t)cls >= arrays->count ||
        (size_t)sep >= arrays->count)
        return status_set(LLM_E_RANGE,
                          "unknown, cls and sep token are not in the vocabulary of %zu",
                          arrays->count);
    text_init(&json, &tokenizer->context->memory);
    status = write_bert(arrays, unk, cls, sep, &json);
    if (!status)
        status = huggingface_read(tokenizer, json.data, json.size);
    text_free(&json);
    if (!status) {
        set_roles(tokenizer, arrays);
        tokenizer->special[LLM_TOKEN_UNK] = unk;
    }
    return status;
}

/* ---- all ---- */

static llm_status check_texts(const struct vocabulary_arrays *arrays)
{
    if (!arrays->model)
        return status_set(LLM_E_FORMAT, "a vocabulary without the name of its model");
    if (arrays->count == 0 || arrays->count > VOCAB_MAX_ID)
        return status_set(LLM_E_FORMAT, "a vocabulary of %zu tokens", arrays->count);
    for (size_t i = 0; i < arrays->count; i++) {
        if (arrays->tokens[i].size > VOCAB_MAX_TOKEN)
            return status_set(LLM_E_RANGE, "token %zu has %zu bytes", i, arrays->tokens[i].size);
    }
    return LLM_OK;
}

static llm_status make(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays)
{
    if (strcmp(arrays->model, "llama") == 0 || strcmp(arrays->model, "t5") == 0)
        return sentencepiece_make(tokenizer, arrays);
    if (strcmp(arrays->model, "gpt2") == 0)
        return make_bpe(tokenizer, arrays);
    if (strcmp(arrays->model, "bert") == 0)
        return make_bert(tokenizer, arrays);
    return status_set(LLM_E_UNSUPPORTED, "tokenizer.ggml.model \"%.60s\" is not supported",
                      arrays->model);
}

llm_status tokenizer_from_arrays(llm_tokenizer **out, llm_context *context,
                                 const struct vocabulary_arrays *arrays)
{
    llm_status status = tokenizer_new(out, context);

    if (!status)
        status = check_texts(arrays);
    if (!status)
        status = check_ids(arrays);
    if (!status)
        status = make(*out, arrays);
    if (status) {
        tokenizer_release(*out);
        *out = NULL;
    }
    return status;
}
