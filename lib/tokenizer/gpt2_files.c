/* SPDX-License-Identifier: MIT
 *
 * GPT-2's own pair of files: vocab.json (encoder.json), token to id in the byte alphabet, and
 * merges.txt (vocab.bpe), one merge a line after a "#version" line.
 */
#include "base/file.h"
#include "tokenizer/bpe.h"

#include <string.h>

enum { FILE_LIMIT = 256 << 20 };

static llm_status read_vocab(llm_tokenizer *tokenizer, const char *path)
{
    struct memory *memory = &tokenizer->context->memory;
    json_t *root = NULL;
    char *text = NULL;
    size_t size;
    llm_status status = file_read(&text, &size, memory, path, FILE_LIMIT);

    if (!status)
        status = json_open(&root, text, size, "vocab.json");
    if (!status)
        status = vocab_read(&tokenizer->vocab, root, true);
    json_decref(root);
    memory_release(memory, text);
    return status;
}

static llm_status read_line(struct bpe_rule *rule, const struct vocab *vocab, const char *line,
                            size_t size, size_t number, struct text *joined)
{
    const char *space = memchr(line, ' ', size);
    size_t left = space ? (size_t)(space - line) : 0;
    int32_t ids[2];

    if (!space || memchr(space + 1, ' ', size - left - 1))
        return status_set(LLM_E_FORMAT, "merges: line %zu is not two tokens", number);
    ids[0] = vocab_find_spelled(vocab, line, left);
    ids[1] = vocab_find_spelled(vocab, space + 1, size - left - 1);
    joined->size = 0;
    for (int i = 0; i < 2; i++) {
        if (ids[i] < 0 || vocab->entries[ids[i]].size == 0 ||
            (vocab->flags[ids[i]] & VOCAB_LITERAL))
            return status_set(LLM_E_FORMAT, "merges: line %zu names a token that is not in vocab",
                              number);
        text_append(joined, vocab_bytes(vocab, ids[i]), vocab->entries[ids[i]].size);
    }
    if (joined->failed)
        return LLM_E_NOMEM;
    *rule = (struct bpe_rule){ids[0], ids[1], vocab_find(vocab, joined->data, joined->size)};
    if (rule->result < 0)
        return status_set(LLM_E_FORMAT, "merges: what line %zu makes is not in vocab", number);
    return LLM_OK;
}

static llm_status read_merges(struct bpe_rule **rules, size_t *count,
                              const llm_tokenizer *tokenizer, const char *text, size_t size)
{
    struct memory *memory = &tokenizer->context->memory;
    const char *end = text + size;
    size_t capacity = 0;
    size_t number = 0;
    struct text joined;
    llm_status status = LLM_OK;

    text_init(&joined, memory);
    while (text < end && !status) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        const char *line = text;

        text += length + (newline != NULL);
        number++;
        if (length > 0 && line[length - 1] == '\r')
            length--;
        if (length == 0 || (number == 1 && length >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        status = memory_grow(memory, (void **)rules, &capacity, *count + 1, sizeof **rules);
        if (!status)
            status = read_line(&(*rules)[*count], &tokenizer->vocab, line, length, number, &joined);
        if (!status)
            (*count)++;
    }
    text_free(&joined);
    return status;
}

/* GPT-2's vocabulary ends with the token that separates documents; no merge makes it. */
static llm_status add_end_of_text(llm_tokenizer *tokenizer)
{
    static const char name[] = "<|endoftext|>";
    int32_t id = vocab_find(&tokenizer->vocab, name, sizeof name - 1);

    if (id < 0)
        return LLM_OK;
    tokenizer->vocab.flags[id] |= VOCAB_ADDED | VOCAB_SPECIAL;
    return added_put(&tokenizer->added, id, name, sizeof name - 1, ADDED_SPECIAL);
}

llm_status gpt2_files_read(llm_tokenizer *tokenizer, const char *vocab_path,
                           const char *merges_path)
{
    struct memory *memory = &tokenizer->context->memory;
    struct bpe_rule *rules = NULL;
    struct bpe *bpe = NULL;
    size_t count = 0;
    char *text = NULL;
    size_t size;
    llm_status status = read_vocab(tokenizer, vocab_path);

    if (!status)
        status = file_read(&text, &size, memory, merges_path, FILE_LIMIT);
    if (!status)
        status = read_merges(&rules, &count, tokenizer, text, size);
    memory_release(memory, text);
    if (status) {
        memory_release(memory, rules);
        return status;
    }
    status = bpe_build(&bpe, tokenizer, rules, count);
    if (status)
        return status;
    tokenizer->model = bpe;
    tokenizer->algorithm = &algorithm_bpe;
    tokenizer->kind = LLM_TOKENIZER_BPE;
    tokenizer->direct = tokenizer->spelled = tokenizer->plain_decoding = true;
    tokenizer->split = split_find(LLM_SPLIT_GPT2);
    status = bpe_mark_whole(bpe, &tokenizer->vocab);
    if (!status)
        status = add_end_of_text(tokenizer);
    return status ? status : tokenizer_finish(tokenizer);
}
