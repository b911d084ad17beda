/* SPDX-License-Identifier: MIT
 *
 * A vocabulary as a trie over bytes, laid out in the order of a depth-first walk: the children of a
 * node follow it, and a subtree that is of no interest is skipped by one assignment. The bytes are
 * those that a token adds to a text that has begun, whatever the vocabulary spells it as. Special
 * tokens and tokens without bytes are not in it. Made once per tokenizer, when it is first asked
 * for.
 */
#ifndef TOKENIZER_BYTE_TRIE_H
#define TOKENIZER_BYTE_TRIE_H

#include "tokenizer/tokenizer.h"

struct byte_trie_node {
    uint32_t end;   /* node behind the subtree */
    uint32_t first; /* in ids: of the node's own tokens, which end at the next node's */
    uint32_t depth : 24;
    uint32_t byte : 8; /* that leads here; depth 0: the root */
};

struct byte_trie {
    struct byte_trie_node *nodes; /* [count + 1], the last one closes the lists of ids */
    size_t count;
    int32_t *ids; /* in the order of their bytes */
    size_t id_count;
    uint32_t longest; /* bytes */
    char *blob;       /* of all tokens */
    size_t *offsets;  /* [vocabulary + 1] in it; special tokens are empty */
};

/* What token `id`, below the vocabulary's size, adds to a text. */
static inline const char *byte_trie_text(const struct byte_trie *trie, int32_t id, size_t *size_out)
{
    *size_out = trie->offsets[id + 1] - trie->offsets[id];
    return trie->blob + trie->offsets[id];
}

/* NULL: out of memory. Valid as long as the tokenizer. Any thread. */
const struct byte_trie *tokenizer_byte_trie(const llm_tokenizer *tokenizer);
void byte_trie_free(struct byte_trie *trie, struct memory *memory); /* NULL allowed */

#endif
