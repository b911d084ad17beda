/* SPDX-License-Identifier: MIT
 *
 * Forward attention over packed segments. A unit of work is up to MOST_ROWS rows of one segment and
 * kv head; it walks over the tiles of keys its rows see with a running maximum and sum per row.
 * Included by attention_all.h; see attention_inner.h.
 */
#ifndef KERNELS_ATTENTION_FORWARD_H
#define KERNELS_ATTENTION_FORWARD_H

#include "kernels/attention_inner.h"
#include "base/parallel.h"

#include <stdatomic.h>

/* TILE_KEYS keys in pieces of 16, 32 or 64: one piece packed here, or parts of cache pages. */
struct tile {
    int32_t begin; /* index of the first key, a multiple of TILE_KEYS */
    int keys;
    int piece;
    int64_t k_stride;
    const float *k[TILE_KEYS / 16]; /* [width][piece], rows k_stride apart */
    const float *v[TILE_KEYS / 16]; /* [piece][width] */
};

/* A unit of work and its share of the scratch memory. */
struct state {
    int dim;
    int64_t width;
    struct scoring scoring;
    struct dropping dropping;
    struct row rows[MOST_ROWS];
    int count;
    float *k, *v;   /* a tile: [width][TILE_KEYS], [TILE_KEYS][width] */
    float *q;       /* [count, width], multiplied by scoring.factor */
    float *o;       /* [count, width], to be divided by the sum */
    float *maximum; /* [count], log2 */
    float *sum;     /* [count][LANES], to be added up */
    float *s;       /* [GROUP_ROWS][TILE_KEYS] */
    struct ahead ahead;
};

static void state_open(struct state *state, const struct attention_shape *shape, float *scratch)
{
    state->dim = shape->head_dim;
    state->width = attention_width(shape->head_dim);
    state->scoring = scoring_of(shape);
    state->dropping = (struct dropping){0};
    state->ahead = (struct ahead){0};
    state->k = scratch;
    state->v = state->k + TILE_KEYS * state->width;
    state->q = state->v + TILE_KEYS * state->width;
    state->o = state->q + MOST_ROWS * state->width;
    state->s = state->o + MOST_ROWS * state->width;
    state->maximum = state->s + GROUP_ROWS * TILE_KEYS;
    state->sum = state->maximum + MOST_ROWS;
}

static void state_reset(struct state *state)
{
    memset(state->o, 0, sizeof *state->o * (size_t)(state->count * state->width));
    for (int i = 0; i < state->count; i++) {
        state->maximum[i] = -INFINITY;
        v_store(state->sum + i * LANES, v_zero());
    }
}

static void state_load_queries(struct state *state, const float *q, int64_t stride)
{
    for (int i = 0; i < state->count; i++) {
        const struct row *row = &state->rows[i];

        copy_row(q + row->token * stride + (int64_t)row->head * state->dim, state->dim,
                 (int)state->width, state->scoring.factor, state->q + i * state->width);
    }
}

/* Raw scores of a row to final ones, -infinity where the row sees nothing; the largest of them. */
INLINE float finish_scores(const struct state *state, const struct row *row, int32_t begin,
                           struct part part, float *s)
{
    vec top = v_set(-INFINITY);

    if (state->scoring.plain && row->lo <= begin + part.first && row->hi >= begin + part.last) {
        for (int j = part.first; j < part.last; j += LANES)
            top = v_max(top, v_load(s + j));
        return v_highest(top);
    }
    for (int j = part.first; j < part.last; j += LANES) {
        vec tangent = v_zero();
        vec x = score(&state->scoring, row, begin + j, v_load(s + j), &tangent);

        x = v_keep(x, begin + j, row->lo, row->hi, v_set(-INFINITY));
        v_store(s + j, x);
        top = v_max(top, x);
    }
    return v_highest(top);
}

/* Scores of a block of rows to probabilities relative to each row's running maximum. What a row
 * gathered so far has to be multiplied by factor[row]. Rows go through each step together, so that
 * none waits for another's result. */
static void softmax_block(struct state *state, int r, int rows, const struct tile *tile,
                          struct part part, float *s, float *factor)
{
    float base[BLOCK_ROWS];

    for (int i = 0; i < rows; i++) {
        float old = state->maximum[r + i];
        float top = finish_scores(state, &state->rows[r + i], tile->begin, part, s + i * TILE_KEYS);
        float maximum = top > old ? top : old;

        base[i] = maximum == -INFINITY ? 0.0f : maximum;
        factor[i] = old - base[i];
        state->maximum[r + i] = maximum;
    }
    for (int i = 0; i < BLOCK_ROWS; i += LANES)
        v_store(factor + i, v_exp2(v_load(factor + i)));
    for (int i = 0; i < rows; i++) {
        float *at = state->sum + (r + i) * LANES;
        vec sum = v_mul(v_load(at), v_set(factor[i]));

        for (int j = part.first; j < part.last; j += LANES) {
            vec p = v_exp2(v_sub(v_load(s + i * TILE_KEYS + j), v_set(base[i])));

            sum = v_add(sum, p);
            v_store(s + i * TILE_KEYS + j, p);
        }
        v_store(at, sum);
    }
}

static void drop_row(struct state *state, int r, const struct tile *tile, struct part part,
                     float *s)
{
    float factors[TILE_KEYS];

    drop_factors(&state->dropping, &state->rows[r], tile->begin, factors);
    for (int j = part.first; j < part.last; j += LANES)
        v_store(s + j, v_mul(v_load(s + j), v_load(factors + j)));
}

/* S = Q K^T for the rows of a block */
static void score_block(const struct state *state, int r, int rows, const struct tile *tile,
                        struct part part, float *s)
{
    struct product x = {.depth = state->dim,
                        .a = state->q + r * state->width,
                        .lda = state->width,
                        .ldb = tile->k_stride,
                        .ldc = TILE_KEYS};

    for (int begin = 0, i = 0; begin < part.last; begin += tile->piece, i++) {
        int first = part.first > begin ? part.first : begin;
        int last = part.last < begin + tile->piece ? part.last : begin + tile->piece;

        if (first >= last)
            continue;
        x.b = tile->k[i] + (first - begin);
        x.c = s + first;
        product_set(&x, rows, last - first);
    }
}

/* O = factor O + P V */
static void value_block(const struct state *state, int r, int rows, const struct tile *tile,
                        struct part part, const float *s, const float *factor)
{
    int end = part.last < tile->keys ? part.last : tile->keys;
    int is_first = 1;
    struct product x = {.lda = TILE_KEYS,
                        .ldb = state->width,
                        .c = state->o + r * state->width,
                        .ldc = state->width,
                        .scale = factor};

    for (int begin = 0, i = 0; begin < end; begin += tile->piece, i++) {
        int first = part.first > begin ? part.first : begin;
        int last = end < begin + tile->piece ? end : begin + tile->piece;

        if (first >= last)
            continue;
        x.depth = last - first;
        x.a = s + first;
        x.b = tile->v[i] + (first - begin) * state->width;
        if (is_first)
            product_scale(&x, rows, (int)state->width);
        else
            product_add(&x, rows, (int)state->width);
        is_first = 0;
    }
}

/* At most GROUP_ROWS rows from `group` on meet a tile. */
static void attend_group(struct state *state, const struct tile *tile, int group, int rows)
{
    float factor[GROUP_ROWS + STEP] = {0.0f};
    struct part parts[GROUP_ROWS / BLOCK_ROWS];
    int blocks = blocks_of(rows);

    for (int b = 0; b < blocks; b++) {
        int r = b * BLOCK_ROWS;
        int count = block_rows(rows, b);

        parts[b] = part_of(&state->rows[group + r], count, tile->begin, tile->keys);
        fetch(&state->ahead);
        if (parts[b].first < parts[b].last)
            score_block(state, group + r, count, tile, parts[b], state->s + r * TILE_KEYS);
    }
    for (int b = 0; b < blocks; b++) {
        int r = b * BLOCK_ROWS;
        int count = block_rows(rows, b);

        if (parts[b].first >= parts[b].last)
            continue;
        softmax_block(state, group + r, count, tile, parts[b], state->s + r * TILE_KEYS,
                      factor + r);
        for (int i = 0; state->dropping.on && i < count; i++)
            drop_row(state, group + r + i, tile, parts[b], state->s + (r + i) * TILE_KEYS);
    }
    for (int b = 0; b < blocks; b++) {
        int r = b * BLOCK_ROWS;

        fetch(&state->ahead);
        if (parts[b].first < parts[b].last)
            value_block(state, group + r, block_rows(rows, b), tile, parts[b],
                        state->s + r * TILE_KEYS, factor + r);
    }
}

static void attend_tile(struct state *state, const struct tile *tile)
{
    for (int group = 0; group < state->count; group += GROUP_ROWS) {
        int rows = state->count - group < GROUP_ROWS ? state->count - group : GROUP_ROWS;

        attend_group(state, tile, group, rows);
    }
}

/* --- packed segments -------------------------------------------------------------------------- */

struct forward_job {
    const struct attention_args *args;
    int unit_rows;
    _Atomic int64_t next;
};

static void forward_store(const struct state *state, const struct attention_args *args)
{
    for (int i = 0; i < state->count; i++) {
        const struct row *row = &state->rows[i];
        float sum = v_total(v_load(state->sum + i * LANES));

        put_row(state->o + i * state->width, state->dim, sum == 0.0f ? 0.0f : 1.0f / sum, 0,
                args->out + row->token * args->out_stride + (int64_t)row->head * state->dim);
        if (args->lse)
            args->lse[row->head * args->lse_stride + row->token] =
                sum == 0.0f ? -INFINITY : (state->maximum[i] + log2f(sum)) * LN_2;
    }
}

/* While a tile is at work: the next one comes, or after the last the first of the neighbouring
 * head, whose unit is the next in the list. */
static void look_ahead(struct state *state, const struct attention_args *args,
                       const struct tile *tile, int32_t kv_head, int32_t kv_begin, int32_t nk)
{
    int calls = 2 * blocks_of(state->count);
    int32_t next = tile->begin + TILE_KEYS;

    state->ahead = (struct ahead){.length = state->dim, .pace = (TILE_KEYS + calls - 1) / calls};
    if (next >= state->rows[state->count - 1].hi) {
        next = state->rows[0].lo / TILE_KEYS * TILE_KEYS;
        kv_head++;
        if (kv_head == args->shape.kv_heads)
            return;
        ahead_add(&state->ahead,
                  args->q + state->rows[0].token * args->q_stride +
                      (int64_t)kv_head * (args->shape.heads / args->shape.kv_heads) * state->dim,
                  args->q_stride);
    }
    state->ahead.rows = nk - next < TILE_KEYS ? nk - next : TILE_KEYS;
    ahead_add(&state->ahead,
              args->k + (kv_begin + next) * args->k_stride + (int64_t)kv_head * state->dim,
              args->k_stride);
    ahead_add(&state->ahead,
              args->v + (kv_begin + next) * args->v_stride + (int64_t)kv_head * state->dim,
              args->v_stride);
}

static void forward_unit(struct state *state, const struct attention_args *args, int32_t segment,
                         int32_t kv_head, int64_t first, int count)
{
    int32_t q_begin = args->q_offsets[segment];
    int32_t kv_begin = args->kv_offsets[segment];
    int32_t nq = args->q_offsets[segment + 1] - q_begin;
    int32_t nk = args->kv_offsets[segment + 1] - kv_begin;
    const float *k = args->k + kv_begin * args->k_stride + (int64_t)kv_head * state->dim;
    const float *v = args->v + kv_begin * args->v_stride + (int64_t)kv_head * state->dim;
    struct tile tile = {
        .piece = TILE_KEYS, .k_stride = TILE_KEYS, .k = {state->k}, .v = {state->v}};

    state->count = count;
    rows_fill(state->rows, &args->shape, kv_head, first, count, q_begin, nq, nk);
    state_load_queries(state, args->q, args->q_stride);
    state_reset(state);

    int32_t end = state->rows[count - 1].hi;

    for (tile.begin = state->rows[0].lo / TILE_KEYS * TILE_KEYS; tile.begin < end;
         tile.begin += TILE_KEYS) {
        tile.keys = nk - tile.begin < TILE_KEYS ? nk - tile.begin : TILE_KEYS;
        pack_columns(k + tile.begin * args->k_stride, args->k_stride, tile.keys, state->dim,
                     state->k);
        pack_rows(v + tile.begin * args->v_stride, args->v_stride, tile.keys, state->dim,
                  (int)state->width, state->v);
        look_ahead(state, args, &tile, kv_head, kv_begin, nk);
        attend_tile(state, &tile);
    }
    forward_store(state, args);
}

/* Units are numbered by segment, then from a segment's last rows, which see most, to its first,
 * then by kv head. Every thread takes the next number and walks on from where it stood. */
static void forward_member(void *arg, int thread, int team)
{
    struct forward_job *job = arg;
    const struct attention_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    int64_t group = shape->heads / shape->kv_heads;
    struct state state;
    int64_t before = 0; /* units of the segments behind us */
    int32_t segment = 0;
    (void)team;

    state_open(&state, shape,
               (float *)args->scratch + (size_t)thread * attention_forward_floats(shape->head_dim));
    state.dropping = dropping_of(args);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next, 1);
        int64_t rows = 0;
        int64_t parts = 0;

        for (; segment < args->segments; segment++) {
            rows = (args->q_offsets[segment + 1] - args->q_offsets[segment]) * group;
            parts = (rows + job->unit_rows - 1) / job->unit_rows;
            if (unit < before + parts * shape->kv_heads)
                break;
            before += parts * shape->kv_heads;
        }
        if (segment == args->segments)
            return;

        int64_t part = parts - 1 - (unit - before) / shape->kv_heads;
        int64_t first = part * job->unit_rows;
        int count = (int)(rows - first < job->unit_rows ? rows - first : job->unit_rows);

        forward_unit(&state, args, segment, (int32_t)((unit - before) % shape->kv_heads), first,
                     count);
    }
}

static void forward(const struct attention_args *args)
{
    struct forward_job job = {.args = args};
    int64_t rows = args->segments > 0 ? args->q_offsets[args->segments] - args->q_offsets[0] : 0;
    int64_t units;
    int threads = args->threads;

    rows *= args->shape.heads;
    job.unit_rows = rows >= (int64_t)4 * MOST_ROWS * threads ? MOST_ROWS : GROUP_ROWS;
    units = rows / job.unit_rows + 1;
    if (threads > units)
        threads = (int)units;
    atomic_init(&job.next, 0);
    parallel_team(threads, forward_member, &job);
}

#endif
