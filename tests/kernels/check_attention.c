/* SPDX-License-Identifier: MIT
 *
 * Attention against a plain reference in double precision: every combination of options, odd sizes,
 * strided rows, any number of threads; and the paged form against the packed one.
 */
#include "check.h"

#include "base/rng.h"

enum { MOST_SEGMENTS = 5 };

struct problem {
    struct attention_args args;
    struct attention_backward_args back;
    int32_t q_offsets[MOST_SEGMENTS + 1], kv_offsets[MOST_SEGMENTS + 1];
    int64_t nq, nk; /* rows in all, those before the first segment included */
    float *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv, *dbias, *slopes, *bias;
    double *r_out, *r_lse, *r_dq, *r_dk, *r_dv, *r_dbias;
    void *blocks[40];
    int block_count;
};

static void *take(struct problem *p, int64_t count, size_t size)
{
    void *block;
    void *memory = check_operand(count, size, &block);

    p->blocks[p->block_count++] = block;
    return memory;
}

static float *random_floats(struct problem *p, int64_t count, uint64_t *state)
{
    float *x = take(p, count, sizeof *x);

    for (int64_t i = 0; i < count; i++)
        x[i] = check_float(state);
    return x;
}

static double *zero_doubles(struct problem *p, int64_t count)
{
    double *x = take(p, count, sizeof *x);

    memset(x, 0, (size_t)count * sizeof *x);
    return x;
}

static void problem_free(struct problem *p)
{
    for (int i = 0; i < p->block_count; i++)
        free(p->blocks[i]);
}

/* Keys and values may be slices of wider rows; gradients go to rows of another width. */
static void problem_open(struct problem *p, const struct attention_shape *shape, float dropout,
                         const int32_t (*sizes)[2], int segments, uint64_t *state)
{
    int64_t dq = (int64_t)shape->heads * shape->head_dim;
    int64_t dk = (int64_t)shape->kv_heads * shape->head_dim;
    int64_t table = (int64_t)shape->heads * shape->relative_span;
    struct attention_args *a = &p->args;

    memset(p, 0, sizeof *p);
    p->q_offsets[0] = 2;
    p->kv_offsets[0] = 1;
    for (int s = 0; s < segments; s++) {
        p->q_offsets[s + 1] = p->q_offsets[s] + sizes[s][0];
        p->kv_offsets[s + 1] = p->kv_offsets[s] + sizes[s][1];
    }
    p->nq = p->q_offsets[segments];
    p->nk = p->kv_offsets[segments];
    a->shape = *shape;
    a->segments = segments;
    a->q_offsets = p->q_offsets;
    a->kv_offsets = p->kv_offsets;
    a->q_stride = dq + check_between(state, 0, 5);
    a->k_stride = dk + check_between(state, 0, 5);
    a->v_stride = dk + check_between(state, 0, 5);
    a->out_stride = dq + check_between(state, 0, 5);
    a->lse_stride = p->nq;
    a->dropout = dropout;
    a->seed = 0x123456789abcdefu;
    a->stream = 77;
    p->q = random_floats(p, p->nq * a->q_stride, state);
    p->k = random_floats(p, p->nk * a->k_stride, state);
    p->v = random_floats(p, p->nk * a->v_stride, state);
    p->out = take(p, p->nq * a->out_stride, sizeof(float));
    p->lse = take(p, p->nq * shape->heads, sizeof(float));
    a->q = p->q;
    a->k = p->k;
    a->v = p->v;
    a->out = p->out;
    a->lse = p->lse;
    if (shape->alibi_slopes) {
        p->slopes = random_floats(p, shape->heads, state);
        for (int32_t h = 0; h < shape->heads; h++)
            p->slopes[h] *= 0.0625f;
        a->shape.alibi_slopes = p->slopes;
    }
    if (shape->relative_bias) {
        p->bias = random_floats(p, table, state);
        a->shape.relative_bias = p->bias;
        p->dbias = random_floats(p, table, state);
        p->r_dbias = zero_doubles(p, table);
    }
    p->back.dout_stride = dq + check_between(state, 0, 5);
    p->back.dq_stride = dq + check_between(state, 0, 5);
    p->back.dk_stride = dk + check_between(state, 0, 5);
    p->back.dv_stride = dk + check_between(state, 0, 5);
    p->dout = random_floats(p, p->nq * p->back.dout_stride, state);
    p->dq = random_floats(p, p->nq * p->back.dq_stride, state);
    p->dk = random_floats(p, p->nk * p->back.dk_stride, state);
    p->dv = random_floats(p, p->nk * p->back.dv_stride, state);
    p->back.dout = p->dout;
    p->back.dq = p->dq;
    p->back.dk = p->dk;
    p->back.dv = p->dv;
    p->back.d_relative_bias = p->dbias;
    p->r_out = zero_doubles(p, p->nq * dq);
    p->r_lse = zero_doubles(p, p->nq * shape->heads);
    p->r_dq = zero_doubles(p, p->nq * dq);
    p->r_dk = zero_doubles(p, p->nk * dk);
    p->r_dv = zero_doubles(p, p->nk * dk);
}

/* --- the reference ---------------------------------------------------------------------------- */

static int is_visible(const struct attention_shape *shape, int64_t position, int64_t key)
{
    if (shape->causal && key > position)
        return 0;
    if (shape->window > 0) {
        if (key <= position - shape->window)
            return 0;
        if (!shape->causal && key >= position + shape->window)
            return 0;
    }
    return 1;
}

static int64_t bias_index(const struct attention_shape *shape, int64_t position, int64_t key)
{
    int64_t at = key - position + shape->relative_zero;

    return at < 0 ? 0 : at >= shape->relative_span ? shape->relative_span - 1 : at;
}

static double keep_factor(const struct attention_args *a, int64_t row, int64_t head, int64_t key)
{
    uint32_t word[4];
    uint64_t block =
        ((uint64_t)(row * a->shape.heads + head) << 24) + (uint64_t)(key / 64 * 16 + key % 16);

    if (a->dropout == 0.0f)
        return 1.0;
    philox(a->seed, a->stream, block, word);
    return (double)word[key % 64 / 16] < (double)a->dropout * 4294967296.0
               ? 0.0
               : 1.0 / (1.0 - (double)a->dropout);
}

static double dot(const float *a, const float *b, int32_t n)
{
    double sum = 0.0;

    for (int32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* One query row of one head, forward and backward. */
static void reference_row(struct problem *p, int segment, int64_t row, int64_t head, double *s,
                          double *slope_of_cap)
{
    const struct attention_args *a = &p->args;
    const struct attention_shape *shape = &a->shape;
    int32_t d = shape->head_dim;
    int64_t kv_begin = p->kv_offsets[segment];
    int64_t nk = p->kv_offsets[segment + 1] - kv_begin;
    int64_t nq = p->q_offsets[segment + 1] - p->q_offsets[segment];
    int64_t position = nk - nq + (row - p->q_offsets[segment]);
    int64_t kv_head = head / (shape->heads / shape->kv_heads);
    const float *q = p->q + row * a->q_stride + head * d;
    const float *dout = p->dout + row * p->back.dout_stride + head * d;
    double *out = p->r_out + (row * shape->heads + head) * d;
    double maximum = -HUGE_VAL, sum = 0.0, delta = 0.0;

    for (int64_t j = 0; j < nk; j++) {
        double x =
            (double)shape->scale * dot(q, p->k + (kv_begin + j) * a->k_stride + kv_head * d, d);

        slope_of_cap[j] = 1.0;
        if (shape->soft_cap != 0.0f) {
            double t = tanh(x / (double)shape->soft_cap);

            x = (double)shape->soft_cap * t;
            slope_of_cap[j] = 1.0 - t * t;
        }
        if (shape->alibi_slopes)
            x -= (double)shape->alibi_slopes[head] * fabs((double)(position - j));
        if (shape->relative_bias)
            x += (double)shape
                     ->relative_bias[head * shape->relative_span + bias_index(shape, position, j)];
        s[j] = is_visible(shape, position, j) ? x : -HUGE_VAL;
        maximum = s[j] > maximum ? s[j] : maximum;
    }
    for (int64_t j = 0; j < nk; j++)
        sum += s[j] == -HUGE_VAL ? 0.0 : exp(s[j] - maximum);
    p->r_lse[head * p->nq + row] = sum > 0.0 ? maximum + log(sum) : -HUGE_VAL;
    for (int64_t j = 0; j < nk; j++) {
        const float *v = p->v + (kv_begin + j) * a->v_stride + kv_head * d;

        s[j] = s[j] == -HUGE_VAL ? 0.0 : exp(s[j] - maximum) / sum;
        for (int32_t c = 0; c < d; c++)
            out[c] += s[j] * keep_factor(a, row, head, j) * (double)v[c];
    }
    for (int32_t c = 0; c < d; c++)
        delta += out[c] * (double)dout[c];
    for (int64_t j = 0; j < nk; j++) {
        int64_t at = (kv_begin + j) * shape->kv_heads + kv_head;
        const float *k = p->k + (kv_begin + j) * a->k_stride + kv_head * d;
        const float *v = p->v + (kv_begin + j) * a->v_stride + kv_head * d;
        double keep = keep_factor(a, row, head, j);
        double ds = s[j] * (keep * dot(dout, v, d) - delta);

        if (s[j] == 0.0)
            continue;
        if (shape->relative_bias)
            p->r_dbias[head * shape->relative_span + bias_index(shape, position, j)] += ds;
        ds *= slope_of_cap[j] * (double)shape->scale;
        for (int32_t c = 0; c < d; c++) {
            p->r_dv[at * d + c] += s[j] * keep * (double)dout[c];
            p->r_dk[at * d + c] += ds * (double)q[c];
            p->r_dq[(row * shape->heads + head) * d + c] += ds * (double)k[c];
        }
    }
}

static void reference(struct problem *p)
{
    double *s = malloc(sizeof *s * (size_t)(2 * p->nk + 2));

    assert_non_null(s);
    for (int segment = 0; segment < p->args.segments; segment++) {
        for (int64_t row = p->q_offsets[segment]; row < p->q_offsets[segment + 1]; row++) {
            for (int64_t head = 0; head < p->args.shape.heads; head++)
                reference_row(p, segment, row, head, s, s + p->nk + 1);
        }
    }
    free(s);
}

/* --- comparison ------------------------------------------------------------------------------- */

static double tolerance = 2e-5;

static void compare(const char *what, const float *x, int64_t stride, const double *reference_rows,
                    int64_t first, int64_t rows, int64_t columns, const float *base)
{
    double top = 1.0;

    for (int64_t i = first * columns; i < rows * columns; i++)
        top = fabs(reference_rows[i]) > top && isfinite(reference_rows[i]) ? fabs(reference_rows[i])
                                                                           : top;
    for (int64_t r = first; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            double want =
                reference_rows[r * columns + c] + (base ? (double)base[r * stride + c] : 0.0);
            double have = (double)x[r * stride + c];

            if (have == want)
                continue; /* infinities */
            if (!(fabs(have - want) <= tolerance * top))
                fail_msg("%s[%lld][%lld]: %.9g, not %.9g", what, (long long)r, (long long)c, have,
                         want);
        }
    }
}

static void run(const struct kernels *kernels, struct problem *p, int threads)
{
    void *scratch;
    size_t bytes, more;

    p->args.threads = threads;
    p->back.forward = p->args;
    bytes = attention_scratch_bytes(&p->args);
    more = attention_backward_scratch_bytes(&p->back);
    bytes = more > bytes ? more : bytes;
    scratch = aligned_alloc(ATTENTION_ALIGNMENT, (bytes + 63) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, 0xFF, bytes);
    p->args.scratch = scratch;
    p->back.forward.scratch = scratch;
    kernels->attention.forward(&p->args);
    memset(scratch, 0xFF, bytes);
    kernels->attention.backward(&p->back);
    free(scratch);
}

static float *copy_of(const float *x, int64_t count)
{
    float *copy = malloc(sizeof *copy * (size_t)count + 1);

    assert_non_null(copy);
    if (count > 0)
        memcpy(copy, x, sizeof *copy * (size_t)count);
    return copy;
}

static void check_problem(const struct kernels *kernels, struct problem *p, uint64_t *state)
{
    static const int thread_counts[] = {1, 2, 3, 5, 13};
    const struct attention_shape *shape = &p->args.shape;
    const struct attention_backward_args *b = &p->back;
    int64_t dq = (int64_t)shape->heads * shape->head_dim;
    int64_t dk = (int64_t)shape->kv_heads * shape->head_dim;
    int64_t table = p->dbias ? (int64_t)shape->heads * shape->relative_span : 0;
    int64_t first_q = p->q_offsets[0], first_k = p->kv_offsets[0];
    float *arrays[] = {p->out, p->dq, p->dk, p->dv, p->dbias, p->lse};
    int64_t counts[] = {p->nq * p->args.out_stride,
                        p->nq * b->dq_stride,
                        p->nk * b->dk_stride,
                        p->nk * b->dv_stride,
                        table,
                        p->nq * shape->heads};
    float *before[6], *result[6];
    uint32_t add = check_random(state) & 15;

    p->back.accumulate = add;
    for (int i = 0; i < 6; i++)
        before[i] = copy_of(arrays[i], counts[i]);
    run(kernels, p, 1);
    compare("out", p->out, p->args.out_stride, p->r_out, first_q, p->nq, dq, NULL);
    for (int64_t h = 0; h < shape->heads; h++)
        compare("lse", p->lse + h * p->nq + first_q, 1, p->r_lse + h * p->nq + first_q, 0,
                p->nq - first_q, 1, NULL);
    compare("dq", p->dq, b->dq_stride, p->r_dq, first_q, p->nq, dq,
            add & ATTENTION_ADD_DQ ? before[1] : NULL);
    compare("dk", p->dk, b->dk_stride, p->r_dk, first_k, p->nk, dk,
            add & ATTENTION_ADD_DK ? before[2] : NULL);
    compare("dv", p->dv, b->dv_stride, p->r_dv, first_k, p->nk, dk,
            add & ATTENTION_ADD_DV ? before[3] : NULL);
    compare("dbias", p->dbias, shape->relative_span, p->r_dbias, 0, table ? shape->heads : 0,
            shape->relative_span, add & ATTENTION_ADD_BIAS ? before[4] : NULL);
    for (int i = 0; i < 6; i++)
        result[i] = copy_of(arrays[i], counts[i]);
    for (size_t t = 1; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        for (int i = 0; i < 6; i++) {
            if (counts[i])
                memcpy(arrays[i], before[i], sizeof(float) * (size_t)counts[i]);
        }
        run(kernels, p, thread_counts[t]);
        for (int i = 0; i < 6; i++) {
            if (counts[i])
                assert_memory_equal(arrays[i], result[i], sizeof(float) * (size_t)counts[i]);
        }
    }
    for (int i = 0; i < 6; i++) {
        free(before[i]);
        free(result[i]);
    }
}

/* --- cases ------------------------------------------------------------------------------------ */

static const int32_t small_sizes[MOST_SEGMENTS][2] = {{37, 37}, {1, 1}, {5, 70}, {0, 3}, {9, 4}};
static const int32_t long_sizes[2][2] = {{203, 203}, {70, 150}};
static const float present = 1.0f; /* marks an option as wanted; problem_open() makes the values */

static void check_options(const struct kernels *kernels)
{
    static const int32_t dims[] = {16, 32, 64, 5, 24, 80, 1, 128, 33};
    static const int32_t heads[][2] = {{2, 2}, {4, 2}, {3, 1}, {1, 1}, {9, 1}};
    uint64_t state = 0x9E3779B97F4A7C15u;

    for (int options = 0; options < 64; options++) {
        int32_t dim = dims[options % 9];
        struct attention_shape shape = {.heads = heads[options % 5][0],
                                        .kv_heads = heads[options % 5][1],
                                        .head_dim = dim,
                                        .scale = 3.0f / sqrtf((float)dim),
                                        .causal = options & 1};
        struct problem p;

        if (options & 2)
            shape.window = options & 32 ? 3 : 40;
        if (options & 4)
            shape.soft_cap = 1.5f;
        if (options & 8)
            shape.alibi_slopes = &present;
        if (options & 16) {
            shape.relative_bias = &present;
            shape.relative_span = options & 1 ? 19 : 90;
            shape.relative_zero = options & 1 ? 18 : 45;
        }
        problem_open(&p, &shape, options & 32 ? 0.3f : 0.0f, options % 3 ? small_sizes : long_sizes,
                     options % 3 ? MOST_SEGMENTS : 2, &state);
        reference(&p);
        check_problem(kernels, &p, &state);
        problem_free(&p);
    }
}

static void check_long(const struct kernels *kernels)
{
    static const int32_t sizes[1][2] = {{700, 700}};
    struct attention_shape shape = {
        .heads = 2, .kv_heads = 1, .head_dim = 20, .scale = 0.5f, .causal = 1};
    uint64_t state = 77;
    struct problem p;

    problem_open(&p, &shape, 0.0f, sizes, 1, &state);
    reference(&p);
    check_problem(kernels, &p, &state);
    problem_free(&p);
}

/* Scores far outside of what exp can hold, and NaN that must come through. */
static void check_extremes(const struct kernels *kernels)
{
    static const int32_t sizes[1][2] = {{70, 70}};
    struct attention_shape shape = {
        .heads = 1, .kv_heads = 1, .head_dim = 16, .scale = 1.0f, .causal = 1};
    uint64_t state = 78;
    struct problem p;

    problem_open(&p, &shape, 0.0f, sizes, 1, &state);
    for (int64_t i = 0; i < p.nq * p.args.q_stride; i++)
        p.q[i] *= 200.0f;
    reference(&p);
    run(kernels, &p, 1);
    tolerance = 2e-4; /* scores of hundreds have fewer digits left */
    compare("out", p.out, p.args.out_stride, p.r_out, 2, p.nq, 16, NULL);
    tolerance = 2e-5;
    p.k[(p.kv_offsets[0] + 40) * p.args.k_stride + 3] = NAN;
    run(kernels, &p, 1);
    assert_true(!isnan(p.out[(p.q_offsets[0] + 39) * p.args.out_stride]));
    assert_true(isnan(p.out[(p.q_offsets[0] + 40) * p.args.out_stride]));
    problem_free(&p);
}

/* --- paged ------------------------------------------------------------------------------------ */

static void *alloc_bytes(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);

    assert_non_null(memory);
    memset(memory, 0xFF, bytes);
    return memory;
}

/* The cache of a problem's segments: its keys and values in pages, in shuffled places, written in
 * pieces of odd sizes. */
struct paging {
    struct attention_cache cache;
    void **pages[MOST_SEGMENTS];
    char *memory;
    int32_t lengths[MOST_SEGMENTS];
};

static void paging_open(const struct kernels *kernels, struct paging *g, const struct problem *p,
                        int32_t page_tokens, int threads)
{
    size_t bytes, count = 0, next;

    memset(g, 0, sizeof *g);
    g->cache = (struct attention_cache){ATTENTION_CACHE_F32, p->args.shape.kv_heads,
                                        p->args.shape.head_dim, page_tokens};
    bytes = attention_page_bytes(&g->cache);
    for (int s = 0; s < p->args.segments; s++) {
        g->lengths[s] = p->kv_offsets[s + 1] - p->kv_offsets[s];
        count += (size_t)((g->lengths[s] + page_tokens - 1) / page_tokens);
    }
    g->memory = alloc_bytes(bytes * count);
    next = count;
    for (int s = 0; s < p->args.segments; s++) {
        int32_t pages = (g->lengths[s] + page_tokens - 1) / page_tokens;

        g->pages[s] = alloc_bytes(sizeof(void *) * (size_t)pages + 1);
        for (int32_t i = 0; i < pages; i++)
            g->pages[s][i] = g->memory + bytes * --next;
    }
    for (int32_t done = 0, more = 1; more; done += 19) {
        more = 0;
        for (int s = 0; s < p->args.segments; s++) {
            int32_t left = g->lengths[s] - done;
            int32_t first = p->kv_offsets[s] + done;
            int32_t offsets[2] = {first, first + (left < 19 ? left : 19)};
            void *const *pages = g->pages[s];
            struct attention_cache_write write = {
                g->cache,         1,      offsets, &done, &pages, p->k, p->v, p->args.k_stride,
                p->args.v_stride, threads};

            if (left <= 0)
                continue;
            kernels->attention.cache_write(&write);
            more = 1;
        }
    }
}

static void paging_close(struct paging *g)
{
    for (int s = 0; s < MOST_SEGMENTS; s++)
        free(g->pages[s]);
    free(g->memory);
}

static void run_paged(const struct kernels *kernels, const struct paging *g,
                      const struct problem *p, int first, int segments, const int32_t *q_offsets,
                      const int32_t *lengths, float *out, int threads)
{
    void *const *pages[MOST_SEGMENTS];
    struct attention_paged_args args = {.shape = p->args.shape,
                                        .cache = g->cache,
                                        .sequences = segments,
                                        .q_offsets = q_offsets,
                                        .kv_lengths = lengths,
                                        .pages = pages,
                                        .q = p->q,
                                        .q_stride = p->args.q_stride,
                                        .out = out,
                                        .out_stride = p->args.out_stride,
                                        .threads = threads};
    for (int s = 0; s < segments; s++)
        pages[s] = g->pages[first + s];
    args.scratch = alloc_bytes(attention_paged_scratch_bytes(&args));
    kernels->attention.paged(&args);
    free(args.scratch);
}

static void check_paged_problem(const struct kernels *kernels, struct problem *p,
                                int32_t page_tokens)
{
    static const int thread_counts[] = {2, 3, 5};
    int64_t dim = (int64_t)p->args.shape.heads * p->args.shape.head_dim;
    int64_t count = p->nq * p->args.out_stride;
    float *again = alloc_bytes(sizeof *again * (size_t)count);
    struct paging g;

    paging_open(kernels, &g, p, page_tokens, 2);
    memset(p->out, 0xFF, sizeof *p->out * (size_t)count);
    run_paged(kernels, &g, p, 0, p->args.segments, p->q_offsets, g.lengths, p->out, 1);
    compare("paged", p->out, p->args.out_stride, p->r_out, p->q_offsets[0], p->nq, dim, NULL);
    for (int t = 0; t < 3; t++) {
        memset(again, 0xFF, sizeof *again * (size_t)count);
        run_paged(kernels, &g, p, 0, p->args.segments, p->q_offsets, g.lengths, again,
                  thread_counts[t]);
        assert_memory_equal(p->out, again, sizeof *again * (size_t)count);
    }
    /* One row at a time, alone in the batch, as if the later keys were not there yet. */
    memset(again, 0xFF, sizeof *again * (size_t)count);
    for (int s = 0; s < p->args.segments; s++) {
        int32_t nq = p->q_offsets[s + 1] - p->q_offsets[s];

        for (int32_t i = nq > 40 ? nq - 40 : 0; i < nq; i++) {
            int32_t offsets[2] = {p->q_offsets[s] + i, p->q_offsets[s] + i + 1};
            int32_t length = g.lengths[s] - (nq - 1 - i);
            int64_t at = offsets[0] * p->args.out_stride;

            if (!p->args.shape.causal || length <= 0)
                continue;
            run_paged(kernels, &g, p, s, 1, offsets, &length, again, 2);
            assert_memory_equal(p->out + at, again + at, sizeof *again * (size_t)dim);
        }
    }
    paging_close(&g);
    free(again);
}

static void check_paged(const struct kernels *kernels)
{
    static const int32_t page_sizes[] = {16, 32, 64, 128};
    static const int32_t mixed[4][2] = {{1, 2500}, {90, 1300}, {5, 1100}, {2, 3}};
    static const int32_t heads[][2] = {{2, 2}, {6, 2}, {9, 1}, {1, 1}};
    static const int32_t dims[] = {64, 20, 16, 80};
    uint64_t state = 79;

    for (int c = 0; c < 16; c++) {
        int32_t dim = dims[c % 4];
        struct attention_shape shape = {.heads = heads[c / 2 % 4][0],
                                        .kv_heads = heads[c / 2 % 4][1],
                                        .head_dim = dim,
                                        .scale = 2.0f / sqrtf((float)dim),
                                        .causal = c % 8 != 0};
        struct problem p;

        if (c & 2)
            shape.window = 1100;
        if (c & 4)
            shape.soft_cap = 2.0f;
        if (c & 8)
            shape.alibi_slopes = &present;
        if (c % 5 == 3) {
            shape.relative_bias = &present;
            shape.relative_span = 50;
            shape.relative_zero = 40;
        }
        problem_open(&p, &shape, 0.0f, c % 2 ? mixed : small_sizes, c % 2 ? 4 : MOST_SEGMENTS,
                     &state);
        reference(&p);
        check_paged_problem(kernels, &p, page_sizes[c / 2 % 4]);
        problem_free(&p);
    }
}

static void test_options(void **state)
{
    (void)state;
    check_each_isa(check_options);
}

static void test_long(void **state)
{
    (void)state;
    check_each_isa(check_long);
}

static void test_extremes(void **state)
{
    (void)state;
    check_each_isa(check_extremes);
}

static void test_paged(void **state)
{
    (void)state;
    check_each_isa(check_paged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_options), cmocka_unit_test(test_long),
                                       cmocka_unit_test(test_extremes),
                                       cmocka_unit_test(test_paged)};

    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
