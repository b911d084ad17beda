/* SPDX-License-Identifier: MIT */
#include "tokenizer/unigram_train.h"

#include "base/parallel.h"
#include "tokenizer/double_array.h"
#include "tokenizer/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PARTS = 8,         /* of the words; fixed, so that sums do not depend on the threads */
    LONGEST_WORD = 512 /* bytes; longer ones are cut before */
};

static const double unknown_penalty = 10.0;
static const double expected_least = 0.5; /* a piece expected less often goes */
static const double character_lift = 5.0; /* per character: keeps products in range */
static const double surplus = 1.1;        /* cutting stops at so many times the vocabulary */

struct trainer {
    const struct unigram_training *training;
    const struct training_word *words;
    size_t word_count;
    struct piece_array pieces;
    struct double_array trie;
    double *lifted;      /* exp(score + lift * characters) */
    double *sums[PARTS]; /* [pieces]: expected counts, or counts on the best path */
    double unknown_score;
};

/* One way through a word ends or begins here. */
struct lattice {
    double forward[LONGEST_WORD + 1];
    double backward[LONGEST_WORD + 1];
    int32_t piece[LONGEST_WORD + 1];
    uint32_t back[LONGEST_WORD + 1];
};

static llm_status prepare(struct trainer *trainer)
{
    struct memory *memory = trainer->training->memory;
    const struct piece_array *pieces = &trainer->pieces;
    struct double_array_key *keys = memory_alloc_array(memory, pieces->count, sizeof *keys);
    llm_status status = LLM_E_NOMEM;

    double_array_close(&trainer->trie);
    memory_release(memory, trainer->lifted);
    trainer->lifted = memory_alloc_array(memory, pieces->count, sizeof *trainer->lifted);
    trainer->unknown_score = 0.0;
    if (!keys || !trainer->lifted)
        goto done;
    for (size_t i = 0; i < pieces->count; i++) {
        const struct training_piece *piece = &pieces->list[i];

        keys[i] = (struct double_array_key){piece->text, piece->size, (int32_t)i};
        trainer->lifted[i] = exp(piece->score + character_lift * piece->characters);
        if (piece->score < trainer->unknown_score)
            trainer->unknown_score = piece->score;
    }
    trainer->unknown_score -= unknown_penalty;
    status = double_array_build(&trainer->trie, memory, keys, pieces->count);
done:
    memory_release(memory, keys);
    return status;
}

static llm_status make_sums(struct trainer *trainer)
{
    struct memory *memory = trainer->training->memory;

    for (int i = 0; i < PARTS; i++) {
        memory_release(memory, trainer->sums[i]);
        trainer->sums[i] = memory_alloc_zeroed(memory, trainer->pieces.count + 1, sizeof(double));
        if (!trainer->sums[i])
            return LLM_E_NOMEM;
    }
    return LLM_OK;
}

static size_t step(const unsigned char *text, size_t at, size_t size)
{
    uint32_t c;

    return unicode_next(text + at, text + size, &c);
}

/* ---- expectation: how often each piece is used, over all ways through all words ---- */

/* The pieces that begin at `at`: visit(end, piece) for each, piece -1 for an unknown character. */
struct edge {
    size_t end;
    int32_t piece;
};

static size_t list_edges(const struct trainer *trainer, const unsigned char *text, size_t at,
                         size_t size, struct edge *edges)
{
    const struct double_array *trie = &trainer->trie;
    size_t character = at + step(text, at, size);
    uint32_t node = 0;
    bool covered = false;
    size_t count = 0;

    for (size_t i = at; i < size; i++) {
        int32_t piece;

        node = double_array_child(trie, node, text[i]);
        if (node == 0)
            break;
        piece = trie->units[node].value;
        if (piece < 0)
            continue;
        covered = covered || i + 1 == character;
        edges[count++] = (struct edge){i + 1, piece};
    }
    if (!covered)
        edges[count++] = (struct edge){character, -1};
    return count;
}

static double weight(const struct trainer *trainer, int32_t piece)
{
    return piece >= 0 ? trainer->lifted[piece] : exp(trainer->unknown_score + character_lift);
}

static void expect_word(const struct trainer *trainer, const struct training_word *word,
                        struct lattice *lattice, double *sums)
{
    const unsigned char *text = word->text;
    size_t size = word->size;
    struct edge edges[LONGEST_WORD + 1];
    double *forward = lattice->forward;
    double *backward = lattice->backward;
    double scale;

    memset(forward, 0, (size + 1) * sizeof *forward);
    memset(backward, 0, (size + 1) * sizeof *backward);
    forward[0] = 1.0;
    for (size_t at = 0; at < size; at += step(text, at, size)) {
        size_t count = list_edges(trainer, text, at, size, edges);

        for (size_t i = 0; i < count; i++)
            forward[edges[i].end] += forward[at] * weight(trainer, edges[i].piece);
    }
    if (!(forward[size] > 0.0) || !isfinite(forward[size]))
        return;
    scale = (double)word->count / forward[size];
    backward[size] = 1.0;
    for (size_t at = size; at-- > 0;) {
        size_t count;

        if ((text[at] & 0xC0) == 0x80)
            continue;
        count = list_edges(trainer, text, at, size, edges);
        for (size_t i = 0; i < count; i++) {
            double onward = weight(trainer, edges[i].piece) * backward[edges[i].end];

            backward[at] += onward;
            if (edges[i].piece >= 0)
                sums[edges[i].piece] += forward[at] * onward * scale;
        }
    }
}

/* ---- the best way ---- */

/* `barred`: a piece that may not be used, or -1. */
static void best_path(const struct trainer *trainer, const unsigned char *text, size_t size,
                      int32_t barred, struct lattice *lattice)
{
    struct edge edges[LONGEST_WORD + 1];
    double *best = lattice->forward;

    memset(lattice->back, 0, (size + 1) * sizeof *lattice->back);
    best[0] = 0.0;
    for (size_t at = 0; at < size; at += step(text, at, size)) {
        size_t count = list_edges(trainer, text, at, size, edges);

        for (size_t i = 0; i < count; i++) {
            int32_t piece = edges[i].piece;
            size_t end = edges[i].end;
            double score = best[at] + (piece >= 0 ? trainer->pieces.list[piece].score
                                                  : trainer->unknown_score);

            if (piece >= 0 && piece == barred)
                continue;
            if (lattice->back[end] == 0 || score > best[end]) {
                best[end] = score;
                lattice->back[end] = (uint32_t)(end - at);
                lattice->piece[end] = piece;
            }
        }
    }
}

static void count_word(const struct trainer *trainer, const struct training_word *word,
                       struct lattice *lattice, double *sums)
{
    best_path(trainer, word->text, word->size, -1, lattice);
    for (size_t at = word->size; at > 0; at -= lattice->back[at]) {
        if (lattice->piece[at] >= 0)
            sums[lattice->piece[at]] += (double)word->count;
    }
}

/* ---- running over all words ---- */

struct pass {
    struct trainer *trainer;
    void (*visit)(const struct trainer *trainer, const struct training_word *word,
                  struct lattice *lattice, double *sums);
};

static void run_part(void *arg, int64_t part)
{
    struct pass *pass = arg;
    struct trainer *trainer = pass->trainer;
    struct lattice lattice;

    for (size_t i = (size_t)part; i < trainer->word_count; i += PARTS)
        pass->visit(trainer, &trainer->words[i], &lattice, trainer->sums[part]);
}

/* The sums of all parts end up in sums[0]. */
static llm_status run_pass(struct trainer *trainer,
                           void (*visit)(const struct trainer *, const struct training_word *,
                                         struct lattice *, double *))
{
    struct pass pass = {trainer, visit};
    llm_status status = make_sums(trainer);

    if (status)
        return status;
    parallel_each(trainer->training->threads, PARTS, run_part, &pass);
    for (int part = 1; part < PARTS; part++) {
        for (size_t i = 0; i < trainer->pieces.count; i++)
            trainer->sums[0][i] += trainer->sums[part][i];
    }
    return LLM_OK;
}

/* d/dx log gamma(x), x > 0: recurrence up to 7, then the asymptotic series. */
static double digamma(double x)
{
    double result = 0.0;
    double square;

    for (; x < 7.0; x += 1.0)
        result -= 1.0 / x;
    x -= 0.5;
    square = 1.0 / (x * x);
    return result + log(x) +
           square * (1.0 / 24.0 -
                     square * (7.0 / 960.0 - square * (31.0 / 8064.0 - square * 127.0 / 30720.0)));
}

/* Drop what is hardly used; the digamma of a count in the place of its log is the Bayesian choice
 * that pulls rare pieces down. */
static void maximize(struct trainer *trainer)
{
    struct piece_array *pieces = &trainer->pieces;
    const double *expected = trainer->sums[0];
    double sum = 0.0;
    size_t kept = 0;

    for (size_t i = 0; i < pieces->count; i++) {
        if (expected[i] < expected_least)
            continue;
        pieces->list[kept] = pieces->list[i];
        pieces->list[kept++].score = expected[i];
        sum += expected[i];
    }
    pieces->count = kept;
    for (size_t i = 0; i < kept; i++)
        pieces->list[i].score = digamma(pieces->list[i].score) - digamma(sum);
}

/* ---- pruning ---- */

struct candidate {
    double loss;
    size_t piece;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    if (x->loss != y->loss)
        return x->loss > y->loss ? -1 : 1;
    return (x->piece > y->piece) - (x->piece < y->piece);
}

/* What the likelihood loses with piece `i`: what it stands for is spelled by other pieces.
 * *keep: it cannot go, nothing else spells it. Returns false when it can go without loss. */
static bool find_loss(const struct trainer *trainer, size_t i, double sum, double words,
                      struct lattice *lattice, double *loss, bool *keep)
{
    const struct training_piece *piece = &trainer->pieces.list[i];
    const double *counts = trainer->sums[0];
    double frequency = counts[i];
    double alternative = 0.0;
    double all;
    size_t parts = 0;

    *keep = false;
    best_path(trainer, piece->text, piece->size, -1, lattice);
    if (frequency == 0.0 || lattice->back[piece->size] != piece->size)
        return false;
    *keep = piece->characters == 1;
    if (*keep)
        return true;
    best_path(trainer, piece->text, piece->size, (int32_t)i, lattice);
    for (size_t at = piece->size; at > 0; at -= lattice->back[at])
        parts++;
    all = log(sum + frequency * ((double)parts - 1.0));
    for (size_t at = piece->size; at > 0; at -= lattice->back[at])
        alternative +=
            log((lattice->piece[at] >= 0 ? counts[lattice->piece[at]] : 0.0) + frequency) - all;
    *loss = frequency / words * (log(frequency) - log(sum) - alternative);
    return true;
}

static llm_status prune(struct trainer *trainer, size_t wanted)
{
    struct piece_array *pieces = &trainer->pieces;
    struct memory *memory = trainer->training->memory;
    struct candidate *candidates = memory_alloc_array(memory, pieces->count, sizeof *candidates);
    bool *stays = memory_alloc_zeroed(memory, pieces->count, sizeof *stays);
    size_t room = (size_t)(trainer->training->shrink * (double)pieces->count);
    struct lattice lattice;
    size_t count = 0;
    size_t kept = 0;
    double words = 0.0;
    double sum = 0.0;
    llm_status status = candidates && stays ? LLM_OK : LLM_E_NOMEM;

    room = room > wanted ? room : wanted;
    if (!status)
        status = run_pass(trainer, count_word);
    for (size_t i = 0; i < trainer->word_count; i++)
        words += (double)trainer->words[i].count;
    for (size_t i = 0; i < pieces->count && !status; i++)
        sum += trainer->sums[0][i];
    for (size_t i = 0; i < pieces->count && !status; i++) {
        candidates[count].piece = i;
        if (!find_loss(trainer, i, sum, words, &lattice, &candidates[count].loss, &stays[i]))
            continue;
        if (stays[i])
            kept++;
        else
            count++;
    }
    if (!status) {
        qsort(candidates, count, sizeof *candidates, compare_candidates);
        for (size_t i = 0; i < count && kept < room; i++, kept++)
            stays[candidates[i].piece] = true;
        kept = 0;
        for (size_t i = 0; i < pieces->count; i++) {
            if (stays[i])
                pieces->list[kept++] = pieces->list[i];
        }
        pieces->count = kept;
    }
    memory_release(memory, candidates);
    memory_release(memory, stays);
    return status;
}

/* ---- the whole ---- */

static int compare_scores(const void *a, const void *b)
{
    const struct training_piece *x = a;
    const struct training_piece *y = b;
    uint32_t size = x->size < y->size ? x->size : y->size;
    int order;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    order = memcmp(x->text, y->text, size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* All characters first, those that were dropped with a score below all others; then the best of the
 * rest. */
static llm_status finish(struct piece_array *out, struct trainer *trainer,
                         const struct piece_array *characters)
{
    struct piece_array *pieces = &trainer->pieces;
    double lowest = trainer->unknown_score + unknown_penalty;
    size_t wanted = trainer->training->vocab_size;
    llm_status status;

    for (size_t i = 0; i < characters->count; i++) {
        const struct training_piece *character = &characters->list[i];
        struct training_piece piece = *character;
        uint32_t node = 0;

        for (uint32_t j = 0; j < character->size && (j == 0 || node); j++)
            node = double_array_child(&trainer->trie, node, character->text[j]);
        if (node && trainer->trie.units[node].value >= 0) {
            piece = pieces->list[trainer->trie.units[node].value];
            pieces->list[trainer->trie.units[node].value].size = 0; /* taken */
        } else {
            lowest -= 0.0001;
            piece.score = lowest;
        }
        status = memory_grow(trainer->training->memory, (void **)&out->list, &out->capacity,
                             out->count + 1, sizeof *out->list);
        if (status)
            return status;
        out->list[out->count++] = piece;
    }
    qsort(pieces->list, pieces->count, sizeof *pieces->list, compare_scores);
    for (size_t i = 0; i < pieces->count && out->count < wanted; i++) {
        if (pieces->list[i].size == 0)
            continue;
        status = memory_grow(trainer->training->memory, (void **)&out->list, &out->capacity,
                             out->count + 1, sizeof *out->list);
        if (status)
            return status;
        out->list[out->count++] = pieces->list[i];
    }
    if (out->count > 1)
        qsort(out->list, out->count, sizeof *out->list, compare_scores);
    return LLM_OK;
}

static llm_status report(const struct trainer *trainer, const char *stage)
{
    const struct unigram_training *training = trainer->training;

    if (training->progress && training->progress(training->progress_user, stage,
                                                 trainer->pieces.count, training->vocab_size))
        return status_set(LLM_E_CANCELLED, "tokenizer training was cancelled");
    return LLM_OK;
}

/* Expectation maximization and cuts, until about `wanted` pieces are left. */
static llm_status improve(struct trainer *trainer, size_t wanted)
{
    llm_status status = LLM_OK;

    for (;;) {
        for (int i = 0; i < trainer->training->sub_iterations && !status; i++) {
            status = report(trainer, "estimate pieces");
            if (!status)
                status = prepare(trainer);
            if (!status)
                status = run_pass(trainer, expect_word);
            if (!status)
                maximize(trainer);
        }
        if (!status)
            status = prepare(trainer);
        if (status || trainer->pieces.count <= wanted)
            return status;
        status = prune(trainer, wanted);
        if (status)
            return status;
    }
}

llm_status unigram_train(struct piece_array *out, const struct unigram_training *training,
                         const struct training_word *words, size_t count)
{
    struct trainer trainer = {.training = training, .words = words, .word_count = count};
    struct piece_array characters = {NULL, 0, 0};
    size_t wanted = (size_t)((double)training->vocab_size * surplus);
    llm_status status = unigram_seed(&trainer.pieces, training, words, count);

    while (!status && characters.count < trainer.pieces.count &&
           trainer.pieces.list[characters.count].characters == 1)
        characters.count++;
    if (!status) {
        characters.list =
            memory_alloc_array(training->memory, characters.count, sizeof *characters.list);
        if (!characters.list)
            status = LLM_E_NOMEM;
        else if (characters.count > 0)
            memcpy(characters.list, trainer.pieces.list,
                   characters.count * sizeof *characters.list);
    }
    if (!status)
        status = improve(&trainer, wanted > characters.count ? wanted : characters.count);
    if (!status)
        status = finish(out, &trainer, &characters);
    double_array_close(&trainer.trie);
    memory_release(training->memory, trainer.lifted);
    for (int i = 0; i < PARTS; i++)
        memory_release(training->memory, trainer.sums[i]);
    memory_release(training->memory, trainer.pieces.list);
    memory_release(training->memory, characters.list);
    return status;
}
