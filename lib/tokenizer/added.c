/* SPDX-License-Identifier: MIT */
#include "tokenizer/added.h"

#include "tokenizer/codepoint.h"
#include "tokenizer/unicode.h"

#include <string.h>

void added_init(struct added_tokens *added, struct memory *memory)
{
    memset(added, 0, sizeof *added);
    added->memory = memory;
    trie_init(&added->tries[0], memory);
    trie_init(&added->tries[1], memory);
    trie_init(&added->names, memory);
}

void added_free(struct added_tokens *added)
{
    if (!added->memory)
        return;
    for (size_t i = 0; i < added->count; i++) {
        memory_release(added->memory, added->tokens[i].text);
        memory_release(added->memory, added->tokens[i].normal);
    }
    memory_release(added->memory, added->tokens);
    trie_free(&added->tries[0]);
    trie_free(&added->tries[1]);
    trie_free(&added->names);
    added_init(added, added->memory);
}

llm_status added_put(struct added_tokens *added, int32_t id, const char *text, size_t size,
                     unsigned flags)
{
    struct added_token token = {.id = id, .flags = flags, .size = size};
    int stage = flags & ADDED_NORMALIZED ? 1 : 0;
    llm_status status;

    if (size == 0)
        return status_set(LLM_E_FORMAT, "added token %d is empty", (int)id);
    if (added_find(added, text, size))
        return status_set(LLM_E_FORMAT, "added token %d: the text of another one again", (int)id);
    status = memory_grow(added->memory, (void **)&added->tokens, &added->capacity, added->count + 1,
                         sizeof *added->tokens);
    if (!status)
        status = trie_put(&added->tries[stage], text, size, (uint32_t)added->count);
    if (!status)
        status = trie_put(&added->names, text, size, (uint32_t)added->count);
    if (status)
        return status;
    token.text = memory_copy_text(added->memory, text, size);
    if (!token.text)
        return LLM_E_NOMEM;
    added->tokens[added->count++] = token;
    added->first[stage][(unsigned char)text[0]] = 1;
    return LLM_OK;
}

const struct added_token *added_find(const struct added_tokens *added, const char *text,
                                     size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t found = 0;
    uint32_t index = trie_longest(&added->names, bytes, bytes + size, &found);

    return index != trie_none && found == size ? &added->tokens[index] : NULL;
}

void added_forget_normalized(struct added_tokens *added)
{
    trie_free(&added->tries[1]);
    memset(added->first[1], 0, sizeof added->first[1]);
}

llm_status added_put_normalized(struct added_tokens *added, size_t index, const char *text,
                                size_t size)
{
    struct added_token *token = &added->tokens[index];

    if (size != token->size || memcmp(text, token->text, size) != 0) {
        token->normal = memory_copy_text(added->memory, text, size);
        if (!token->normal)
            return LLM_E_NOMEM;
    }
    if (size == 0)
        return LLM_OK;
    added->first[1][(unsigned char)text[0]] = 1;
    return trie_put(&added->tries[1], text, size, (uint32_t)index);
}

struct added_walk added_walk(const struct added_tokens *added, int stage, const char *text,
                             size_t size, bool parse_special)
{
    return (struct added_walk){.added = added,
                               .text = (const unsigned char *)text,
                               .size = size,
                               .stage = stage,
                               .parse_special = parse_special};
}

static bool is_word_at(const struct added_walk *walk, size_t position)
{
    uint32_t c;

    (void)unicode_next(walk->text + position, walk->text + walk->size, &c);
    return codepoint_is(c, CODEPOINT_WORD);
}

static bool is_word_before(const struct added_walk *walk, size_t position)
{
    uint32_t c;

    (void)unicode_before(walk->text, walk->text + position, &c);
    return codepoint_is(c, CODEPOINT_WORD);
}

static bool is_white(uint32_t c)
{
    unsigned class = unicode_look(c) & UNICODE_CLASS;

    return class == UNICODE_SPACE || class == UNICODE_NEWLINE;
}

/* The match of `token` at [begin, end) by the token's own conditions; widened by the white space
 * that it takes. */
static bool settle(const struct added_walk *walk, const struct added_token *token, size_t begin,
                   size_t end, struct added_piece *piece)
{
    const unsigned char *text = walk->text;
    uint32_t c;

    /* White space that the token before took with it cannot match again. */
    if (begin < walk->done || ((token->flags & ADDED_SPECIAL) && !walk->parse_special))
        return false;
    if (token->flags & ADDED_SINGLE_WORD) {
        if ((begin > 0 && is_word_before(walk, begin)) ||
            (end < walk->size && is_word_at(walk, end)))
            return false;
    }
    while ((token->flags & ADDED_LSTRIP) && begin > walk->done) {
        const unsigned char *before = unicode_before(text, text + begin, &c);

        if (!is_white(c) || before < text + walk->done)
            break;
        begin = (size_t)(before - text);
    }
    while ((token->flags & ADDED_RSTRIP) && end < walk->size) {
        size_t size = unicode_next(text + end, text + walk->size, &c);

        if (!is_white(c))
            break;
        end += size;
    }
    *piece = (struct added_piece){token, begin, end};
    return true;
}

/* Next match at or after walk->position. A text that a token's conditions turn down stays text, and
 * matching goes on behind it. */
static bool find_match(struct added_walk *walk, struct added_piece *piece)
{
    const struct trie *trie = &walk->added->tries[walk->stage];
    const unsigned char *first = walk->added->first[walk->stage];
    const unsigned char *end = walk->text + walk->size;

    if (trie->node_count == 0)
        return false;
    while (walk->position < walk->size) {
        const unsigned char *p = walk->text + walk->position;
        size_t size = 0;
        uint32_t index;

        while (p < end && !first[*p])
            p++;
        walk->position = (size_t)(p - walk->text);
        if (p == end)
            return false;
        index = trie_longest(trie, p, end, &size);
        if (index == trie_none) {
            walk->position++;
            continue;
        }
        walk->position += size;
        if (settle(walk, &walk->added->tokens[index], (size_t)(p - walk->text), walk->position,
                   piece))
            return true;
    }
    return false;
}

bool added_next(struct added_walk *walk, struct added_piece *piece)
{
    struct added_piece match;

    if (walk->waiting.token) {
        *piece = walk->waiting;
        walk->waiting.token = NULL;
        return true;
    }
    if (find_match(walk, &match)) {
        size_t done = walk->done;

        walk->done = match.end;
        *piece = match;
        if (done < match.begin) {
            *piece = (struct added_piece){NULL, done, match.begin};
            walk->waiting = match;
        }
        return true;
    }
    if (walk->done >= walk->size)
        return false;
    *piece = (struct added_piece){NULL, walk->done, walk->size};
    walk->done = walk->size;
    return true;
}
