/* SPDX-License-Identifier: MIT
 *
 * Backward attention: probabilities are computed again from the scores and the stored log-sum-exp.
 * With P the (dropped) probabilities and delta = rowsum(dO * O): dV = P^T dO     dP = dO V^T     dS
 * = P (dP - delta)     dQ = scale dS K     dK = scale dS^T Q One unit of work is a segment and kv
 * head: tiles of keys outside, groups of rows inside, so that keys are packed once and no two units
 * touch the same gradient. Where there are fewer units than threads the work is done in two passes,
 * dK and dV by tiles of keys, dQ by groups of rows: each element is the same chain of additions in
 * both forms, so the bits are the same. Included by attention_all.h; see attention_inner.h.
 */
#ifndef KERNELS_ATTENTION_BACKWARD_H
#define KERNELS_ATTENTION_BACKWARD_H

#include "kernels/attention_inner.h"
#include "base/parallel.h"

#include <stdatomic.h>

struct key_tile {
    int32_t begin;
    int keys;
    float *k_columns, *v_columns; /* [width][TILE_KEYS] */
    float *k_rows;                /* [TILE_KEYS][width] */
    float *dk, *dv;               /* [TILE_KEYS][width] */
};

/* A segment and kv head at work, and one thread's share of the scratch memory. */
struct gradient {
    const struct attention_backward_args *args;
    const float *delta; /* [heads, lse_stride] */
    int dim;
    int64_t width;
    struct scoring scoring;
    struct dropping dropping;
    int want_q, want_kv; /* this pass */

    int32_t kv_head, q_begin, kv_begin;
    int64_t nq, nk;
    int64_t rows_total; /* nq * heads in the group */

    struct key_tile tiles[MOST_TILES]; /* at hand, one after the other */
    int most_tiles;
    const struct key_tile *tile; /* at work */

    struct row rows[GROUP_ROWS]; /* the group of rows */
    int count;
    struct part parts[GROUP_ROWS / BLOCK_ROWS];
    float *q, *dout, *dq; /* [GROUP_ROWS][width] */
    float *p, *ds;        /* [GROUP_ROWS][TILE_KEYS] */
    struct ahead ahead;
};

static void gradient_open(struct gradient *g, const struct attention_backward_args *args,
                          const float *delta, float *scratch)
{
    int64_t size;

    g->args = args;
    g->delta = delta;
    g->dim = args->forward.shape.head_dim;
    g->width = attention_width(g->dim);
    g->scoring = scoring_of(&args->forward.shape);
    g->dropping = dropping_of(&args->forward);
    size = TILE_KEYS * g->width;
    g->most_tiles = attention_backward_tiles(g->dim);
    for (int i = 0; i < g->most_tiles; i++, scratch += 5 * size)
        g->tiles[i] = (struct key_tile){.k_columns = scratch,
                                        .v_columns = scratch + size,
                                        .k_rows = scratch + 2 * size,
                                        .dk = scratch + 3 * size,
                                        .dv = scratch + 4 * size};
    g->q = scratch;
    g->dout = g->q + GROUP_ROWS * g->width;
    g->dq = g->dout + GROUP_ROWS * g->width;
    g->p = g->dq + GROUP_ROWS * g->width;
    g->ds = g->p + GROUP_ROWS * TILE_KEYS;
}

static void enter_segment(struct gradient *g, int32_t segment, int32_t kv_head)
{
    const struct attention_args *args = &g->args->forward;

    g->kv_head = kv_head;
    g->q_begin = args->q_offsets[segment];
    g->kv_begin = args->kv_offsets[segment];
    g->nq = args->q_offsets[segment + 1] - g->q_begin;
    g->nk = args->kv_offsets[segment + 1] - g->kv_begin;
    g->rows_total = g->nq * (args->shape.heads / args->shape.kv_heads);
}

static void enter_tile(struct gradient *g, struct key_tile *tile, int32_t begin)
{
    const struct attention_args *args = &g->args->forward;
    int64_t at = g->kv_begin + begin;
    const float *k = args->k + at * args->k_stride + (int64_t)g->kv_head * g->dim;
    const float *v = args->v + at * args->v_stride + (int64_t)g->kv_head * g->dim;

    tile->begin = begin;
    tile->keys = (int)(g->nk - begin < TILE_KEYS ? g->nk - begin : TILE_KEYS);
    pack_columns(k, args->k_stride, tile->keys, g->dim, tile->k_columns);
    pack_columns(v, args->v_stride, tile->keys, g->dim, tile->v_columns);
    if (g->want_q)
        pack_rows(k, args->k_stride, tile->keys, g->dim, (int)g->width, tile->k_rows);
    if (g->want_kv) {
        memset(tile->dk, 0, sizeof *tile->dk * (size_t)(TILE_KEYS * g->width));
        memset(tile->dv, 0, sizeof *tile->dv * (size_t)(TILE_KEYS * g->width));
    }
}

static void leave_tile(const struct gradient *g, const struct key_tile *tile)
{
    const struct attention_backward_args *args = g->args;

    for (int i = 0; g->want_kv && i < tile->keys; i++) {
        int64_t at = g->kv_begin + tile->begin + i;
        int64_t head = (int64_t)g->kv_head * g->dim;

        if (args->dk)
            put_row(tile->dk + i * g->width, g->dim, 1.0f, args->accumulate & ATTENTION_ADD_DK,
                    args->dk + at * args->dk_stride + head);
        if (args->dv)
            put_row(tile->dv + i * g->width, g->dim, 1.0f, args->accumulate & ATTENTION_ADD_DV,
                    args->dv + at * args->dv_stride + head);
    }
}

/* The rows first..first+GROUP_ROWS: what they see, and copies of q and dout. */
static void enter_group(struct gradient *g, int64_t first)
{
    const struct attention_backward_args *args = g->args;
    int64_t left = g->rows_total - first;

    g->count = (int)(left < GROUP_ROWS ? left : GROUP_ROWS);
    rows_fill(g->rows, &args->forward.shape, g->kv_head, first, g->count, g->q_begin, g->nq, g->nk);
    for (int i = 0; i < g->count; i++) {
        const struct row *row = &g->rows[i];
        int64_t head = (int64_t)row->head * g->dim;

        copy_row(args->forward.q + row->token * args->forward.q_stride + head, g->dim,
                 (int)g->width, 1.0f, g->q + i * g->width);
        copy_row(args->dout + row->token * args->dout_stride + head, g->dim, (int)g->width, 1.0f,
                 g->dout + i * g->width);
    }
}

/* While a group is at work: the next one, a token's heads at a time. */
static void look_further(struct gradient *g, int64_t next_row)
{
    const struct attention_backward_args *args = g->args;
    int32_t group = args->forward.shape.heads / args->forward.shape.kv_heads;
    int64_t token = next_row / group;
    int64_t left = g->nq - token;
    int64_t head = (int64_t)g->kv_head * group * g->dim;
    int64_t tokens = (GROUP_ROWS + group - 1) / group;

    g->ahead = (struct ahead){.length = group * g->dim,
                              .rows = (int)(left < tokens ? left : tokens),
                              .pace = (int)(tokens + 15) / 16};
    token += g->q_begin;
    ahead_add(&g->ahead, args->forward.q + token * args->forward.q_stride + head,
              args->forward.q_stride);
    ahead_add(&g->ahead, args->dout + token * args->dout_stride + head, args->dout_stride);
    if (g->want_q)
        ahead_add(&g->ahead, args->dq + token * args->dq_stride + head, args->dq_stride);
}

/* --- one tile with one group ------------------------------------------------------------------ */

static void add_bias_gradient(const struct gradient *g, const struct row *row, int32_t j, vec ds)
{
    const struct scoring *scoring = &g->scoring;
    float *table = g->args->d_relative_bias + (int64_t)row->head * scoring->span;
    int64_t at = (int64_t)j - row->position + scoring->zero;
    float values[LANES];

    if (at >= 0 && at + LANES <= scoring->span) {
        v_store(table + at, v_add(v_load(table + at), ds));
        return;
    }
    v_store(values, ds);
    for (int i = 0; i < LANES; i++)
        table[clamp_to(at + i, scoring->span - 1)] += values[i];
}

/* A row of S and dP becomes P and dS. */
INLINE void gradient_row(const struct gradient *g, const struct row *row, struct part part,
                         const int plain, float *p, float *ds)
{
    const struct attention_args *args = &g->args->forward;
    int64_t at = row->head * args->lse_stride + row->token;
    float lse = args->lse[at] == -INFINITY ? 0.0f : args->lse[at] * LOG2_E;
    int32_t begin = g->tile->begin;
    int edge = row->lo > begin + part.first || row->hi < begin + part.last;
    vec scale = v_set(args->shape.scale);
    vec delta = v_set(g->delta[at]);
    vec factor = v_set(g->scoring.factor);
    float keep[TILE_KEYS];

    if (!plain && g->dropping.on)
        drop_factors(&g->dropping, row, begin, keep);
    for (int j = part.first; j < part.last; j += LANES) {
        vec tangent = v_zero();
        vec x = v_mul(v_load(p + j), factor);
        vec dp = v_load(ds + j);
        vec e;

        if (!plain)
            x = score(&g->scoring, row, begin + j, x, &tangent);
        e = v_exp2(v_sub(x, v_set(lse)));
        if (edge)
            e = v_keep(e, begin + j, row->lo, row->hi, v_zero());
        if (!plain && g->dropping.on) {
            v_store(p + j, v_mul(e, v_load(keep + j)));
            dp = v_mul(dp, v_load(keep + j));
        } else {
            v_store(p + j, e);
        }
        x = v_mul(e, v_sub(dp, delta));
        if (!plain) {
            if (g->args->d_relative_bias)
                add_bias_gradient(g, row, begin + j, x);
            x = v_sub(x, v_mul(x, v_mul(tangent, tangent)));
        }
        v_store(ds + j, v_mul(x, scale));
    }
}

static void score_group(struct gradient *g)
{
    struct product s = {.depth = g->dim, .lda = g->width, .ldb = TILE_KEYS, .ldc = TILE_KEYS};
    struct product dp = s;
    int plain = g->scoring.plain && !g->dropping.on;

    for (int b = 0; b < blocks_of(g->count); b++) {
        int r = b * BLOCK_ROWS;
        struct part part =
            part_of(&g->rows[r], block_rows(g->count, b), g->tile->begin, g->tile->keys);

        fetch(&g->ahead);
        g->parts[b] = part;
        s.a = g->q + r * g->width;
        s.b = g->tile->k_columns + part.first;
        s.c = g->p + r * TILE_KEYS + part.first;
        product_set(&s, block_rows(g->count, b), part.last - part.first);
    }
    for (int b = 0; b < blocks_of(g->count); b++) {
        int r = b * BLOCK_ROWS;
        struct part part = g->parts[b];

        fetch(&g->ahead);
        dp.a = g->dout + r * g->width;
        dp.b = g->tile->v_columns + part.first;
        dp.c = g->ds + r * TILE_KEYS + part.first;
        product_set(&dp, block_rows(g->count, b), part.last - part.first);
    }
    for (int i = 0; i < g->count; i++) {
        struct part part = g->parts[i / BLOCK_ROWS];

        if (plain)
            gradient_row(g, &g->rows[i], part, 1, g->p + i * TILE_KEYS, g->ds + i * TILE_KEYS);
        else
            gradient_row(g, &g->rows[i], part, 0, g->p + i * TILE_KEYS, g->ds + i * TILE_KEYS);
    }
}

/* Several heads of a token do not lie in rows of one stride, nor do unpadded heads take whole
 * vectors: those go through a buffer. */
static void add_query_gradient(struct gradient *g)
{
    const struct attention_backward_args *args = g->args;
    const struct attention_shape *shape = &args->forward.shape;
    int direct = shape->heads == shape->kv_heads && g->width == g->dim;
    struct product x = {.lda = TILE_KEYS, .ldb = g->width};

    for (int b = 0; b < blocks_of(g->count); b++) {
        int r = b * BLOCK_ROWS;
        int rows = block_rows(g->count, b);
        struct part part = g->parts[b];
        int end = part.last < g->tile->keys ? part.last : g->tile->keys;

        if (part.first >= part.last)
            continue;
        x.depth = end - part.first;
        x.a = g->ds + r * TILE_KEYS + part.first;
        x.b = g->tile->k_rows + part.first * g->width;
        if (direct) {
            x.c = args->dq + g->rows[r].token * args->dq_stride + (int64_t)g->kv_head * g->dim;
            x.ldc = args->dq_stride;
            product_add(&x, rows, (int)g->width);
            continue;
        }
        x.c = g->dq;
        x.ldc = g->width;
        for (int i = 0; i < rows; i++) {
            const struct row *row = &g->rows[r + i];

            copy_row(args->dq + row->token * args->dq_stride + (int64_t)row->head * g->dim, g->dim,
                     (int)g->width, 1.0f, g->dq + i * g->width);
        }
        product_add(&x, rows, (int)g->width);
        for (int i = 0; i < rows; i++) {
            const struct row *row = &g->rows[r + i];

            put_row(g->dq + i * g->width, g->dim, 1.0f, 0,
                    args->dq + row->token * args->dq_stride + (int64_t)row->head * g->dim);
        }
    }
}

/* dV += P^T dO, dK += dS^T Q, by blocks of keys over the rows that see them. */
static void add_key_gradients(struct gradient *g)
{
    struct product x = {.lda = TILE_KEYS, .ldb = g->width, .ldc = g->width};
    int blocks = blocks_of(g->count);

    for (int key = 0; key < g->tile->keys; key += STEP) {
        int b = 0;
        int first, end;

        while (b < blocks && !(g->parts[b].first <= key && key < g->parts[b].last))
            b++;
        first = b * BLOCK_ROWS;
        while (b < blocks && g->parts[b].first <= key && key < g->parts[b].last)
            b++;
        end = b * BLOCK_ROWS < g->count ? b * BLOCK_ROWS : g->count;
        if (first >= end)
            continue;
        x.depth = end - first;
        x.a = g->p + first * TILE_KEYS + key;
        x.b = g->dout + first * g->width;
        x.c = g->tile->dv + key * g->width;
        if (g->args->dv)
            product_add_turned(&x, STEP, (int)g->width);
        x.a = g->ds + first * TILE_KEYS + key;
        x.b = g->q + first * g->width;
        x.c = g->tile->dk + key * g->width;
        if (g->args->dk)
            product_add_turned(&x, STEP, (int)g->width);
    }
}

static void meet(struct gradient *g, const struct key_tile *tile)
{
    if (g->rows[0].lo >= tile->begin + tile->keys || g->rows[g->count - 1].hi <= tile->begin)
        return;
    g->tile = tile;
    score_group(g);
    if (g->want_q)
        add_query_gradient(g);
    if (g->want_kv)
        add_key_gradients(g);
}

/* --- units of work ---------------------------------------------------------------------------- */

/* The first group of rows that may see keys from `begin` on. */
static int64_t first_group(const struct gradient *g, int64_t begin, int64_t first_row)
{
    const struct attention_shape *shape = &g->args->forward.shape;
    int64_t token = begin - (g->nk - g->nq);
    int64_t row = token * (shape->heads / shape->kv_heads) / GROUP_ROWS * GROUP_ROWS;

    return shape->causal && row > first_row ? row : first_row;
}

/* The key tiles and the row groups [from, to) of a segment and kv head; a few tiles at a time share
 * the loading of rows. */
static void walk(struct gradient *g, int64_t first_tile, int64_t end_tile, int64_t first_row,
                 int64_t end_row)
{
    while (first_tile < end_tile) {
        int64_t left = end_tile - first_tile;
        int count = (int)(left < g->most_tiles ? left : g->most_tiles);

        for (int i = 0; i < count; i++)
            enter_tile(g, &g->tiles[i], (int32_t)((first_tile + i) * TILE_KEYS));
        for (int64_t row = first_group(g, first_tile * TILE_KEYS, first_row); row < end_row;
             row += GROUP_ROWS) {
            enter_group(g, row);
            look_further(g, row + GROUP_ROWS);
            for (int i = 0; i < count; i++)
                meet(g, &g->tiles[i]);
        }
        for (int i = 0; i < count; i++)
            leave_tile(g, &g->tiles[i]);
        first_tile += count;
    }
}

struct backward_job {
    const struct attention_backward_args *args;
    float *delta;
    float *scratch;
    int64_t first_token;
    int want_q, want_kv;
    _Atomic int64_t next;
};

/* delta[head, token] = sum of dout * out; clears what will be added to. */
static void prepare_rows(void *arg, int64_t begin, int64_t end)
{
    const struct backward_job *job = arg;
    const struct attention_backward_args *args = job->args;
    const struct attention_shape *shape = &args->forward.shape;
    int dim = shape->head_dim;

    for (int64_t t = job->first_token + begin; t < job->first_token + end; t++) {
        const float *out = args->forward.out + t * args->forward.out_stride;
        const float *dout = args->dout + t * args->dout_stride;

        for (int32_t h = 0; h < shape->heads; h++, out += dim, dout += dim) {
            vec sum = v_zero();
            float rest = 0.0f;
            int c = 0;

            for (; c + LANES <= dim; c += LANES)
                sum = v_fma(v_load(out + c), v_load(dout + c), sum);
            for (; c < dim; c++)
                rest += out[c] * dout[c];
            job->delta[h * args->forward.lse_stride + t] = v_total(sum) + rest;
        }
        if (args->dq && !(args->accumulate & ATTENTION_ADD_DQ))
            memset(args->dq + t * args->dq_stride, 0,
                   sizeof *args->dq * (size_t)shape->heads * (size_t)dim);
    }
}

static struct gradient *member_open(struct gradient *g, const struct backward_job *job, int thread)
{
    gradient_open(g, job->args, job->delta,
                  job->scratch + (size_t)thread *
                                     attention_backward_floats(job->args->forward.shape.head_dim));
    g->want_q = job->want_q;
    g->want_kv = job->want_kv;
    return g;
}

static int64_t tiles_of(const struct gradient *g)
{
    return (g->nk + TILE_KEYS - 1) / TILE_KEYS;
}

static void whole_member(void *arg, int thread, int team)
{
    struct backward_job *job = arg;
    const struct attention_args *args = &job->args->forward;
    int64_t kv_heads = args->shape.kv_heads;
    struct gradient g;
    (void)team;

    (void)member_open(&g, job, thread);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next, 1);

        if (unit >= args->segments * kv_heads)
            return;
        enter_segment(&g, (int32_t)(unit / kv_heads), (int32_t)(unit % kv_heads));
        walk(&g, 0, tiles_of(&g), 0, g.rows_total);
    }
}

/* The table of biases is shared by the segments: a unit is a kv head with all of them, in order. */
static void head_member(void *arg, int thread, int team)
{
    struct backward_job *job = arg;
    const struct attention_args *args = &job->args->forward;
    struct gradient g;
    (void)team;

    (void)member_open(&g, job, thread);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next, 1);

        if (unit >= args->shape.kv_heads)
            return;
        for (int32_t segment = 0; segment < args->segments; segment++) {
            enter_segment(&g, segment, (int32_t)unit);
            walk(&g, 0, tiles_of(&g), 0, g.rows_total);
        }
    }
}

/* Half of the work: a unit is a tile of keys (dK, dV) or a group of rows (dQ). */
static void half_member(void *arg, int thread, int team)
{
    struct backward_job *job = arg;
    const struct attention_args *args = &job->args->forward;
    int64_t kv_heads = args->shape.kv_heads;
    int64_t before = 0;
    int64_t pair = 0; /* segment and kv head */
    struct gradient g;
    (void)team;

    (void)member_open(&g, job, thread);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next, 1);
        int64_t parts = 0;

        for (; pair < args->segments * kv_heads; pair++) {
            enter_segment(&g, (int32_t)(pair / kv_heads), (int32_t)(pair % kv_heads));
            parts = job->want_q ? (g.rows_total + GROUP_ROWS - 1) / GROUP_ROWS : tiles_of(&g);
            if (unit < before + parts)
                break;
            before += parts;
        }
        if (pair == args->segments * kv_heads)
            return;
        unit -= before;
        if (job->want_q) {
            int64_t first = unit * GROUP_ROWS;
            int64_t left = g.rows_total - first;

            walk(&g, 0, tiles_of(&g), first, first + (left < GROUP_ROWS ? left : GROUP_ROWS));
        } else {
            walk(&g, unit, unit + 1, 0, g.rows_total);
        }
    }
}

static void backward_run(struct backward_job *job, int threads, int64_t units,
                         parallel_team_fn member)
{
    atomic_store(&job->next, 0);
    parallel_team(units < threads ? (int)units : threads, member, job);
}

static void backward(const struct attention_backward_args *args)
{
    const struct attention_args *f = &args->forward;
    struct backward_job job = {.args = args, .want_q = args->dq != NULL};
    int64_t rows = f->segments > 0 ? f->q_offsets[f->segments] : 0;
    int64_t units = (int64_t)f->segments * f->shape.kv_heads;

    if (args->d_relative_bias && !(args->accumulate & ATTENTION_ADD_BIAS))
        memset(args->d_relative_bias, 0,
               sizeof(float) * (size_t)f->shape.heads * (size_t)f->shape.relative_span);
    if (f->segments == 0)
        return;
    job.first_token = f->q_offsets[0];
    job.want_kv = args->dk || args->dv;
    job.delta = f->scratch;
    job.scratch = job.delta + attention_delta_floats(f);
    parallel_for(f->threads, rows - job.first_token, 16, prepare_rows, &job);
    if (args->d_relative_bias) {
        backward_run(&job, f->threads, f->shape.kv_heads, head_member);
    } else if (units >= f->threads) {
        backward_run(&job, f->threads, units, whole_member);
    } else {
        job.want_q = 0;
        if (job.want_kv)
            backward_run(&job, f->threads, f->threads, half_member);
        job.want_q = args->dq != NULL;
        job.want_kv = 0;
        if (job.want_q)
            backward_run(&job, f->threads, f->threads, half_member);
    }
}

#endif
