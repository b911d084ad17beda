/* SPDX-License-Identifier: MIT
 *
 * Running a grammar. The automata of grammar_build.h call one another, so a place in a text is a
 * set of (node, stack) pairs. Stacks are lists of frames that share their tails; frames and sets
 * are interned, so that a set is a small number, a step from one set by one byte is a table look-up
 * after the first time, and the tokens that may follow a set can be remembered.
 *
 * What makes masks cheap: most tokens can be judged within the rule that is running. So nodes are
 * also run on the empty stack HOLE, once per set of nodes; tokens that stay within the rule are
 * remembered as a mask, and of those that leave it only the places where they do (exits), from
 * which the real stack goes on. After XGrammar (Dong et al., 2024), on a trie that is walked depth
 * first.
 *
 * A grammar learns while it is used; a lock makes that safe for any number of sessions.
 */
#ifndef GENERATE_GRAMMAR_H
#define GENERATE_GRAMMAR_H

#include "generate/grammar_build.h"
#include "llm/grammar.h"
#include "tokenizer/byte_trie.h"

#include <pthread.h>

enum {
    FRAME_BOTTOM, /* the root rule was called by nobody: behind it the text is complete */
    FRAME_HOLE    /* not known who called */
};

enum {
    GRAMMAR_MOST_PLACES = 1 << 18, /* in one set: beyond, the text is too ambiguous */
    GRAMMAR_MOST_SETS = 1 << 20,   /* during one call */
    GRAMMAR_KEPT_SETS = 1 << 15,   /* between calls; then only those in use stay */
    GRAMMAR_KEPT_MASKS = 48 << 20, /* bytes */
    GRAMMAR_RECENT = 32,           /* whole masks remembered */
    GRAMMAR_MOST_TOP = 16          /* frames above the HOLE */
};

struct frame {
    int32_t node; /* where the caller goes on */
    int32_t parent;
};

struct place {
    int32_t node; /* NODE_BYTES */
    int32_t frame;
};

struct place_set {
    size_t first; /* in grammar->places */
    uint32_t count;
    uint64_t hash;
    int32_t *row;     /* [256] the sets that follow, -1: not known yet; NULL: none known */
    int32_t inner;    /* in grammar->inner, -1: not made; of sets on the HOLE alone */
    bool is_complete; /* the text may end here */
    bool has_left;    /* the HOLE was reached */
};

/* What is known about a set of places above the HOLE. */
struct inner_mask {
    uint32_t *mask;  /* NULL: too many tokens leave, look at more of the stack */
    uint32_t *exits; /* nodes of the trie behind which the rule was left */
    size_t exit_count, exit_capacity;
    size_t behind; /* nodes of the trie behind exits */
};

/* A table from hashes to numbers. */
struct index {
    int32_t *slots; /* number + 1; 0: free */
    size_t count, capacity;
};

struct recent_mask {
    int32_t set; /* -1: none */
    uint32_t *mask;
};

struct grammar_matcher {
    llm_grammar *grammar;
    int32_t set;
    struct grammar_matcher *previous, *next; /* all of a grammar */
};

struct llm_grammar {
    _Atomic int references;
    llm_context *context;
    llm_tokenizer *tokenizer;
    const struct byte_trie *trie;
    struct automaton automaton;
    struct arena names; /* of rules */
    size_t words;       /* of a mask */

    pthread_mutex_t lock; /* guards what follows */
    struct frame *frames;
    size_t frame_count, frame_capacity;
    struct index frame_index;
    struct place *places;
    size_t place_count, place_capacity;
    struct place_set *sets; /* 0: the empty one */
    size_t set_count, set_capacity;
    struct index set_index;
    struct inner_mask *inner;
    size_t inner_count, inner_capacity, inner_bytes;
    struct recent_mask recent[GRAMMAR_RECENT];
    size_t next_recent;
    int32_t start;                   /* the set before the first byte */
    struct grammar_matcher matchers; /* head of the list */

    struct place *queue; /* scratch of the closure */
    size_t queued, queue_capacity;
    struct index seen;
    struct place *fresh; /* the set that is being made */
    size_t fresh_count, fresh_capacity;
    int32_t *path; /* [longest token + 1] */
};

typedef void (*grammar_reader)(struct builder *builder, const char *text, size_t size);

/* grammar.c */
llm_status grammar_new(llm_grammar **out, llm_tokenizer *tokenizer, grammar_reader read,
                       const char *text, size_t size);
llm_grammar *grammar_retain(const llm_grammar *grammar);
void grammar_release(llm_grammar *grammar); /* NULL allowed */
llm_status grammar_match(int32_t *match_out, llm_grammar *grammar, const char *text, size_t size);

/* A text in progress. The matcher must not move. */
llm_status matcher_open(struct grammar_matcher *matcher, const llm_grammar *grammar);
void matcher_close(struct grammar_matcher *matcher); /* zeroed matcher allowed */
void matcher_reset(struct grammar_matcher *matcher);
/* One token more. LLM_E_RANGE: the grammar does not allow it; nothing changed. */
llm_status matcher_accept(struct grammar_matcher *matcher, int32_t id);
/* May the text end here; can anything follow? */
void matcher_state(struct grammar_matcher *matcher, bool *is_complete, bool *is_final);
/* The tokens that may follow, `words` of them. */
llm_status matcher_mask(struct grammar_matcher *matcher, uint32_t *mask);

/* grammar_run.c; the lock is held */
llm_status run_init(llm_grammar *grammar);
void run_free(llm_grammar *grammar);
/* The set after `set` and `byte` (0: none), from its row or computed; negative: a status. */
int32_t run_compute(llm_grammar *grammar, int32_t set, uint8_t byte);
/* The set of one way back from a frame. */
int32_t run_return(llm_grammar *grammar, int32_t frame);
/* `count` places from places[first] on, which share a frame, with `height` frames of their stack
 * and the HOLE below; *below receives the frame that the HOLE stands for. */
int32_t run_on_hole(llm_grammar *grammar, size_t first, size_t count, int height, int32_t *below);
/* Forgets all sets but those that matchers are in, when there are many. */
llm_status run_collect(llm_grammar *grammar);

static inline int32_t run_step(llm_grammar *grammar, int32_t set, uint8_t byte)
{
    const int32_t *row = grammar->sets[set].row;

    return row && row[byte] >= 0 ? row[byte] : run_compute(grammar, set, byte);
}

/* grammar_mask.c; the lock is held. The mask is valid until the next call. */
llm_status mask_of(const uint32_t **out, llm_grammar *grammar, int32_t set);
void masks_forget(llm_grammar *grammar);

#endif
