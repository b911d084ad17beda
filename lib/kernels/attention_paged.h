/* SPDX-License-Identifier: MIT
 *
 * Attention to a paged key/value cache, and writing to one. Keys are taken CHUNK_KEYS at a time and
 * the chunks' results merged in order; rows that are few (decoding) make each chunk a unit of work,
 * many rows (prefill) are units themselves: the arithmetic of a row is the same. Included by
 * attention_all.h; see attention_inner.h.
 */
#ifndef KERNELS_ATTENTION_PAGED_H
#define KERNELS_ATTENTION_PAGED_H

#include "kernels/attention_forward.h"

struct paged_job {
    const struct attention_paged_args *args;
    float *partials; /* of the split sequences: [kv_heads][chunks][rows][partial] */
    _Atomic int64_t next;
    _Atomic int64_t next_merge;
};

/* Where a thread stands in the list of units. */
struct paged_cursor {
    int32_t sequence;
    int64_t before;         /* units of the sequences behind */
    int64_t before_partial; /* floats of their partial results */
    int64_t rows, nq, nk;
    int64_t parts; /* units per kv head */
    int split;
};

static void cursor_read(struct paged_cursor *at, const struct attention_paged_args *args)
{
    at->nq = args->q_offsets[at->sequence + 1] - args->q_offsets[at->sequence];
    at->nk = args->kv_lengths[at->sequence];
    at->rows = at->nq * (args->shape.heads / args->shape.kv_heads);
    at->split = attention_is_split(&args->shape, at->nq, at->nk);
    at->parts = at->split ? attention_chunks(at->nk) : (at->rows + GROUP_ROWS - 1) / GROUP_ROWS;
}

/* Move to the sequence that holds `unit`; 0 at the end. */
static int cursor_find(struct paged_cursor *at, const struct attention_paged_args *args,
                       int64_t unit)
{
    int64_t kv_heads = args->shape.kv_heads;

    for (; at->sequence < args->sequences; at->sequence++) {
        cursor_read(at, args);
        if (unit < at->before + at->parts * kv_heads)
            return 1;
        at->before += at->parts * kv_heads;
        if (at->split)
            at->before_partial +=
                at->parts * kv_heads * at->rows * attention_partial_floats(args->shape.head_dim);
    }
    return 0;
}

/* --- units ------------------------------------------------------------------------------------ */

static void enter_pages(struct tile *tile, const struct state *state,
                        const struct attention_paged_args *args, void *const *pages,
                        int32_t kv_head, int32_t begin, int64_t nk)
{
    int32_t tokens = args->cache.page_tokens;
    int64_t block = state->width * tokens;

    tile->begin = begin;
    tile->keys = (int)(nk - begin < TILE_KEYS ? nk - begin : TILE_KEYS);
    tile->piece = tokens < TILE_KEYS ? tokens : TILE_KEYS;
    tile->k_stride = tokens;
    for (int i = 0; i * tile->piece < tile->keys; i++) {
        int32_t key = begin + i * tile->piece;
        const float *page = pages[key / tokens];
        int64_t within = key % tokens;

        tile->k[i] = page ? page + 2 * kv_head * block + within : NULL;
        tile->v[i] = page ? page + (2 * kv_head + 1) * block + within * state->width : NULL;
    }
}

/* The rows of `state` meet the keys of one chunk, from a fresh start. */
static void attend_chunk(struct state *state, const struct attention_paged_args *args,
                         int32_t sequence, int32_t kv_head, int64_t chunk)
{
    int32_t nk = args->kv_lengths[sequence];
    int64_t begin = chunk * CHUNK_KEYS;
    int64_t end = begin + CHUNK_KEYS;
    struct tile tile;

    state_reset(state);
    if (begin < state->rows[0].lo)
        begin = state->rows[0].lo / TILE_KEYS * TILE_KEYS;
    if (end > state->rows[state->count - 1].hi)
        end = state->rows[state->count - 1].hi;
    for (; begin < end; begin += TILE_KEYS) {
        enter_pages(&tile, state, args, args->pages[sequence], kv_head, (int32_t)begin, nk);
        attend_tile(state, &tile);
    }
}

static void paged_rows(struct state *state, const struct attention_paged_args *args,
                       const struct paged_cursor *at, int32_t kv_head, int64_t first)
{
    int64_t left = at->rows - first;

    state->count = (int)(left < GROUP_ROWS ? left : GROUP_ROWS);
    rows_fill(state->rows, &args->shape, kv_head, first, state->count,
              args->q_offsets[at->sequence], at->nq, at->nk);
    state_load_queries(state, args->q, args->q_stride);
}

INLINE float exp2_of(float x)
{
    float values[LANES];

    v_store(values, v_exp2(v_set(x)));
    return values[0];
}

/* What a row gathered: to be divided by `sum`, relative to `maximum`. */
struct gathered {
    float *o;
    float maximum, sum;
};

static struct gathered gathered_of(const struct state *state, int row)
{
    return (struct gathered){state->o + row * state->width, state->maximum[row],
                             v_total(v_load(state->sum + row * LANES))};
}

static void merge(const struct state *state, struct gathered *total, const struct gathered *part)
{
    float maximum = total->maximum > part->maximum ? total->maximum : part->maximum;
    float base = maximum == -INFINITY ? 0.0f : maximum;
    float a = exp2_of(total->maximum - base);
    float b = exp2_of(part->maximum - base);

    for (int64_t c = 0; c < state->width; c += LANES)
        v_store(total->o + c,
                v_fma(v_load(part->o + c), v_set(b), v_mul(v_load(total->o + c), v_set(a))));
    total->sum = total->sum * a + part->sum * b;
    total->maximum = maximum;
}

static void paged_store(const struct state *state, const struct attention_paged_args *args,
                        const struct row *row, const struct gathered *total)
{
    put_row(total->o, state->dim, total->sum == 0.0f ? 0.0f : 1.0f / total->sum, 0,
            args->out + row->token * args->out_stride + (int64_t)row->head * state->dim);
}

/* Rows that are many: chunk after chunk, merged into a second set of sums behind the first. */
static void paged_unit(struct state *state, const struct attention_paged_args *args,
                       const struct paged_cursor *at, int32_t kv_head, int64_t first)
{
    struct gathered total[GROUP_ROWS];

    paged_rows(state, args, at, kv_head, first);
    for (int i = 0; i < state->count; i++)
        total[i] = (struct gathered){state->o + (GROUP_ROWS + i) * state->width, -INFINITY, 0.0f};
    memset(total[0].o, 0, sizeof *total[0].o * (size_t)(state->count * state->width));
    for (int64_t chunk = 0; chunk < attention_chunks(at->nk); chunk++) {
        attend_chunk(state, args, at->sequence, kv_head, chunk);
        for (int i = 0; i < state->count; i++) {
            struct gathered part = gathered_of(state, i);

            merge(state, &total[i], &part);
        }
    }
    for (int i = 0; i < state->count; i++)
        paged_store(state, args, &state->rows[i], &total[i]);
}

static float *partial_of(const struct paged_job *job, const struct paged_cursor *at,
                         int32_t kv_head, int64_t chunk)
{
    int64_t size = attention_partial_floats(job->args->shape.head_dim);

    return job->partials + at->before_partial + (kv_head * at->parts + chunk) * at->rows * size;
}

/* Rows that are few: one chunk, its result kept for the merge. */
static void paged_part(struct state *state, const struct paged_job *job,
                       const struct paged_cursor *at, int32_t kv_head, int64_t chunk)
{
    float *partial = partial_of(job, at, kv_head, chunk);

    paged_rows(state, job->args, at, kv_head, 0);
    attend_chunk(state, job->args, at->sequence, kv_head, chunk);
    for (int i = 0; i < state->count; i++, partial += state->width + 2) {
        struct gathered part = gathered_of(state, i);

        memcpy(partial, part.o, sizeof *partial * (size_t)state->width);
        partial[state->width] = part.maximum;
        partial[state->width + 1] = part.sum;
    }
}

static void paged_merge(struct state *state, const struct paged_job *job,
                        const struct paged_cursor *at, int32_t kv_head)
{
    struct gathered total[GROUP_ROWS];

    state->count = (int)at->rows;
    rows_fill(state->rows, &job->args->shape, kv_head, 0, state->count,
              job->args->q_offsets[at->sequence], at->nq, at->nk);
    state_reset(state);
    for (int i = 0; i < state->count; i++)
        total[i] = gathered_of(state, i);
    for (int64_t chunk = 0; chunk < at->parts; chunk++) {
        float *partial = partial_of(job, at, kv_head, chunk);

        for (int i = 0; i < state->count; i++, partial += state->width + 2) {
            struct gathered part = {partial, partial[state->width], partial[state->width + 1]};

            merge(state, &total[i], &part);
        }
    }
    for (int i = 0; i < state->count; i++)
        paged_store(state, job->args, &state->rows[i], &total[i]);
}

static void paged_member(void *arg, int thread, int team)
{
    struct paged_job *job = arg;
    const struct attention_paged_args *args = job->args;
    struct paged_cursor at = {0};
    struct state state;
    float *scratch =
        (float *)args->scratch + (size_t)thread * attention_forward_floats(args->shape.head_dim);

    state_open(&state, &args->shape, scratch);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next, 1);
        int32_t kv_head;

        if (!cursor_find(&at, args, unit))
            break;
        kv_head = (int32_t)((unit - at.before) / at.parts);
        unit = (unit - at.before) % at.parts;
        if (at.split)
            paged_part(&state, job, &at, kv_head, unit);
        else
            paged_unit(&state, args, &at, kv_head, unit * GROUP_ROWS);
    }
    parallel_barrier(team);
    memset(&at, 0, sizeof at);
    for (;;) {
        int64_t unit = atomic_fetch_add(&job->next_merge, 1);

        if (!cursor_find(&at, args, unit))
            return;
        if (at.split && (unit - at.before) % at.parts == 0)
            paged_merge(&state, job, &at, (int32_t)((unit - at.before) / at.parts));
    }
}

static void paged(const struct attention_paged_args *args)
{
    struct paged_job job = {.args = args};
    int64_t units = 0;
    int threads = args->threads;

    for (int32_t s = 0; s < args->sequences; s++) {
        struct paged_cursor at = {.sequence = s};

        cursor_read(&at, args);
        units += at.parts * args->shape.kv_heads;
    }
    if (threads > units)
        threads = units > 1 ? (int)units : 1;
    job.partials = (float *)args->scratch + (size_t)(args->threads > 1 ? args->threads : 1) *
                                                attention_forward_floats(args->shape.head_dim);
    atomic_init(&job.next, 0);
    atomic_init(&job.next_merge, 0);
    parallel_team(threads, paged_member, &job);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_heads(void *arg, int64_t begin, int64_t end)
{
    const struct attention_cache_write *args = arg;
    int32_t tokens = args->cache.page_tokens;
    int dim = args->cache.head_dim;
    int64_t width = attention_width(dim);

    for (int32_t s = 0; s < args->sequences; s++) {
        int64_t row = args->offsets[s];
        int64_t position = args->positions[s];

        while (row < args->offsets[s + 1]) {
            int64_t within = position % tokens;
            int64_t run = tokens - within;
            float *page = args->pages[s][position / tokens];

            if (run > args->offsets[s + 1] - row)
                run = args->offsets[s + 1] - row;
            for (int64_t head = begin; head < end; head++) {
                float *k = page + 2 * head * width * tokens + within;
                float *v = page + (2 * head + 1) * width * tokens + within * width;

                transpose(args->k + row * args->k_stride + head * dim, args->k_stride, (int)run,
                          dim, k, tokens);
                pack_rows(args->v + row * args->v_stride + head * dim, args->v_stride, (int)run,
                          dim, (int)width, v);
            }
            row += run;
            position += run;
        }
    }
}

static void cache_write(const struct attention_cache_write *args)
{
    int64_t rows = args->sequences > 0 ? args->offsets[args->sequences] - args->offsets[0] : 0;

    parallel_for(rows >= 32 ? args->threads : 1, args->cache.kv_heads, 1, write_heads,
                 (void *)(uintptr_t)args);
}

#endif
