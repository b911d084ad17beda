/* SPDX-License-Identifier: MIT
 *
 * tiktoken rank files: a line for each token, "base64(bytes) rank". The merges follow from the
 * ranks: a token is made from the two tokens that its own bytes become under lower ranks. The split
 * rule and the special tokens are not in the file; they are known by the number of ranks.
 */
#include "base/base64.h"
#include "base/file.h"
#include "tokenizer/bpe.h"

#include <string.h>

enum { FILE_LIMIT = 256 << 20 };

static const struct {
    size_t ranks;
    int32_t split;
    struct {
        const char *text;
        int32_t id;
    } special[6];
} encodings[] = {
    {50256, LLM_SPLIT_GPT2, {{"<|endoftext|>", 50256}}},
    {100256,
     SPLIT_CL100K_TIKTOKEN,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}}},
    {199998, LLM_SPLIT_O200K, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
};

static llm_status read_ranks(struct vocab *vocab, const char *text, size_t size, size_t *count)
{
    const char *end = text + size;
    struct text token;
    llm_status status = LLM_OK;

    text_init(&token, vocab->memory);
    while (text < end && !status) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        const char *space = memchr(text, ' ', (size_t)(line_end - text));
        const char *line = text;
        int64_t rank;

        text = newline ? newline + 1 : end;
        if (line_end > line && line_end[-1] == '\r')
            line_end--;
        if (line == line_end)
            continue;
        token.size = 0;
        if (!space || !base64_read(&token, line, (size_t)(space - line)) || token.size == 0 ||
            !text_parse_i64(space + 1, (size_t)(line_end - space - 1), &rank))
            status = status_set(LLM_E_FORMAT, "line %zu is not \"base64 rank\"", *count + 1);
        else if (rank < 0 || (uint64_t)rank >= size) /* every rank takes a line */
            status = status_set(LLM_E_RANGE, "rank %lld is out of range", (long long)rank);
        else if (vocab_find(vocab, token.data, token.size) >= 0)
            status = status_set(LLM_E_FORMAT, "line %zu repeats a token", *count + 1);
        else
            status = vocab_put(vocab, rank, token.data, token.size, VOCAB_MODEL);
        (*count)++;
    }
    if (!status && token.failed)
        status = LLM_E_NOMEM;
    text_free(&token);
    return status;
}

enum { SHORT_TOKEN = 256, LONG_TOKEN = 1024 };

/* The merges of a file. */
struct rules {
    struct memory *memory;
    struct bpe_rule *list;
    size_t count;
    size_t capacity;
};

static llm_status add_rule(struct rules *rules, int32_t left, int32_t right, int32_t result)
{
    llm_status status = LLM_OK;

    if (rules->count == rules->capacity)
        status = memory_grow(rules->memory, (void **)&rules->list, &rules->capacity,
                             rules->count + 1, sizeof *rules->list);
    if (!status)
        rules->list[rules->count++] = (struct bpe_rule){left, right, result};
    return status;
}

/* Merge the bytes of token `id` by ranks below its own; a rule if two parts remain. */
static llm_status find_halves(struct rules *rules, const struct vocab *vocab, int32_t id)
{
    const char *bytes = vocab_bytes(vocab, id);
    size_t starts[SHORT_TOKEN + 1];
    size_t count = vocab->entries[id].size;
    int32_t left;
    int32_t right;

    for (size_t i = 0; i <= count; i++)
        starts[i] = i;
    while (count > 2) {
        int32_t lowest = id;
        size_t at = 0;

        for (size_t i = 0; i + 1 < count; i++) {
            int32_t pair = vocab_find(vocab, bytes + starts[i], starts[i + 2] - starts[i]);

            if (pair >= 0 && pair < lowest) {
                lowest = pair;
                at = i;
            }
        }
        if (lowest == id)
            return LLM_OK;
        memmove(&starts[at + 1], &starts[at + 2], (count - at - 1) * sizeof *starts);
        count--;
    }
    left = vocab_find(vocab, bytes, starts[1]);
    right = vocab_find(vocab, bytes + starts[1], starts[2] - starts[1]);
    return left >= 0 && right >= 0 ? add_rule(rules, left, right, id) : LLM_OK;
}

/* Long tokens: every way to make the token of two others; bpe_build() finds the one that fires. */
static llm_status add_splits(struct rules *rules, const struct vocab *vocab, int32_t id)
{
    const char *bytes = vocab_bytes(vocab, id);
    size_t size = vocab->entries[id].size;
    llm_status status = LLM_OK;

    if (size > LONG_TOKEN)
        return status_set(LLM_E_RANGE, "the token of rank %d has %zu bytes, more than %d", (int)id,
                          size, LONG_TOKEN);
    for (size_t i = 1; i < size && !status; i++) {
        int32_t left = vocab_find(vocab, bytes, i);
        int32_t right = vocab_find(vocab, bytes + i, size - i);

        if (left >= 0 && right >= 0 && left < id && right < id)
            status = add_rule(rules, left, right, id);
    }
    return status;
}

static llm_status make_rules(struct rules *rules, const struct vocab *vocab)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < vocab->size && !status; i++) {
        if (!vocab_has(vocab, (int64_t)i) || vocab->entries[i].size < 2)
            continue;
        status = vocab->entries[i].size <= SHORT_TOKEN ? find_halves(rules, vocab, (int32_t)i)
                                                       : add_splits(rules, vocab, (int32_t)i);
    }
    return status;
}

static llm_status add_special(llm_tokenizer *tokenizer, size_t ranks, int32_t split)
{
    llm_status status = LLM_OK;

    tokenizer->split = split < 0 ? NULL : split_find(split);
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        if (encodings[i].ranks != ranks)
            continue;
        if (split < 0)
            tokenizer->split = split_find(encodings[i].split);
        for (size_t j = 0; encodings[i].special[j].text && !status; j++) {
            const char *text = encodings[i].special[j].text;
            int32_t id = encodings[i].special[j].id;

            status = vocab_put(&tokenizer->vocab, id, text, strlen(text),
                               VOCAB_ADDED | VOCAB_SPECIAL | VOCAB_LITERAL);
            if (!status)
                status = added_put(&tokenizer->added, id, text, strlen(text), ADDED_SPECIAL);
        }
    }
    if (!status && !tokenizer->split)
        status = status_set(LLM_E_UNSUPPORTED,
                            "%zu ranks are none of the known encodings, so that the split rule is "
                            "not known; name it in the options of loading",
                            ranks);
    return status;
}

llm_status tiktoken_read(llm_tokenizer *tokenizer, const char *path, int32_t split)
{
    struct memory *memory = &tokenizer->context->memory;
    struct vocab *vocab = &tokenizer->vocab;
    struct rules rules = {.memory = memory};
    struct bpe *bpe = NULL;
    size_t ranks = 0;
    char *text = NULL;
    size_t size;
    llm_status status = file_read(&text, &size, memory, path, FILE_LIMIT);

    if (!status)
        status = read_ranks(vocab, text, size, &ranks);
    memory_release(memory, text);
    if (!status)
        status = make_rules(&rules, vocab);
    if (status) {
        memory_release(memory, rules.list);
        return status;
    }
    status = bpe_build(&bpe, tokenizer, rules.list, rules.count);
    if (status)
        return status;
    tokenizer->model = bpe;
    tokenizer->algorithm = &algorithm_bpe;
    tokenizer->kind = LLM_TOKENIZER_BPE;
    tokenizer->direct = tokenizer->spelled = tokenizer->plain_decoding = true;
    bpe->ignore_merges = true;
    status = bpe_mark_whole(bpe, vocab);
    if (!status)
        status = add_special(tokenizer, ranks, split);
    return status ? status : tokenizer_finish(tokenizer);
}
