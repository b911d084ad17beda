/* SPDX-License-Identifier: MIT
 *
 * The loops around the kernels of the quantized matrix product. A team of threads rounds the rows
 * of activations to columns together, meets once, and then each thread computes rows of W of its
 * own: contiguous ones, so that it reads one stream of memory. Two paths:
 *
 *   direct   few columns: a panel of W is read in its own bits, once.
 *   tile     panels of W are unpacked, a stretch of k at a time, to bytes that stay in the
 *            first-level cache while all columns pass by.
 *
 * Both add up in the same order.
 */
#include "kernels/qgemm.h"

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/qgemm_kernel.h"

#include <string.h>

enum {
    TILE_BLOCKS = 16,       /* along k; a multiple of the longest block of a file */
    ROWS_AT_ONCE = 512,     /* of activations */
    SUM_BYTES = 256 * 1024, /* for tiles that meet the same columns, in the second-level cache */
    TILES_AT_ONCE = 8,
    PRODUCTS_PER_THREAD = 64 * 1024, /* below this a thread is not worth waking */
    MOST_THREADS = 1024
};

struct job {
    const struct qgemm_kernels *kernels;
    const struct qgemm *q;
    int64_t blocks; /* of 32, along k */
    int64_t rows;   /* of activations at once */
    bool direct;
    int64_t width; /* of the widest group of columns */
    int64_t batch; /* tiles at once */
    int threads;
    uint8_t *columns;
    char *scratch;         /* of the threads */
    int64_t bytes_columns; /* of scratch for all columns */
    int64_t bytes_codes, bytes_scales, bytes_sums;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + QGEMM_ALIGNMENT - 1) / QGEMM_ALIGNMENT * QGEMM_ALIGNMENT;
}

/* False when there is nothing to compute. */
static bool prepare(const struct qgemm_kernels *kernels, const struct qgemm *q, struct job *job)
{
    int64_t tile_rows = kernels->tile_panels * QGEMM_PANEL;
    int64_t useful = 0;
    int64_t planes = 1;
    int64_t tile_bytes;

    *job = (struct job){.kernels = kernels, .q = q};
    if (q->m <= 0 || q->outputs <= 0)
        return false;
    for (int i = 0; i < q->outputs; i++) {
        const struct qgemm_weights *weights = q->output[i].weights;

        useful += q->m * weights->n * q->k / PRODUCTS_PER_THREAD;
        if (qgemm_traits[weights->type].planes > planes)
            planes = qgemm_traits[weights->type].planes;
    }
    job->blocks = (q->k + QGEMM_BLOCK - 1) / QGEMM_BLOCK;
    job->rows = least(q->m, ROWS_AT_ONCE);
    job->threads = (int)least(least(q->threads > 0 ? q->threads : 1, useful + 1), MOST_THREADS);
    job->bytes_columns = aligned(job->rows * job->blocks * QGEMM_COLUMN_BYTES);
    job->direct = q->m <= kernels->direct_rows && q->k > 0;
    job->width = job->direct ? kernels->direct_columns : kernels->tile_columns;
    tile_bytes = job->rows * tile_rows * (int64_t)sizeof(float);
    job->batch = job->direct ? 1 : least(SUM_BYTES / tile_bytes, TILES_AT_ONCE);
    if (!job->direct) {
        job->bytes_codes = tile_rows * TILE_BLOCKS * QGEMM_BLOCK * planes;
        job->bytes_scales = tile_rows * TILE_BLOCKS * 2 * (int64_t)sizeof(float);
    }
    /* not the batch's own size, which shrinks where the batch does: more rows take more memory */
    job->bytes_sums = job->direct ? tile_bytes : least(TILES_AT_ONCE * tile_bytes, SUM_BYTES);
    return true;
}

static int64_t thread_bytes(const struct job *job)
{
    return job->bytes_codes + 2 * job->bytes_scales + job->bytes_sums;
}

/* The columns of activations lie in groups of nearly equal width, none above `width`. */
static int64_t groups_of(const struct job *job, int64_t rows)
{
    return (rows + job->width - 1) / job->width;
}

static int64_t group_begin(const struct job *job, int64_t rows, int64_t group)
{
    return rows * group / groups_of(job, rows);
}

static void quantize_rows(const struct job *job, int64_t first, int64_t rows, int thread, int team)
{
    const struct qgemm *q = job->q;
    int64_t groups = groups_of(job, rows);
    int64_t per_column = job->blocks * QGEMM_COLUMN_BYTES;

    for (int64_t group = groups * thread / team; group < groups * (thread + 1) / team; group++) {
        int64_t begin = group_begin(job, rows, group);
        int64_t width = group_begin(job, rows, group + 1) - begin;

        for (int64_t column = 0; column < width; column++)
            job->kernels->quantize(q->k, q->a + (first + begin + column) * q->lda,
                                   job->columns + begin * per_column, width, column);
    }
}

/* One row of sums to a row of the output, from column `at` on, with what else is added there. */
static void finish(const struct qgemm_output *output, const float *sums, int64_t count, int64_t row,
                   int64_t at)
{
    float *out = output->out + row * output->ldo + at;
    const float *bias = output->bias ? output->bias + at : NULL;
    const float *residual = output->residual ? output->residual + row * output->ldr + at : NULL;

    count = least(output->weights->n - at, count);
    if (bias && residual) {
        for (int64_t j = 0; j < count; j++)
            out[j] = sums[j] + bias[j] + residual[j];
    } else if (bias || residual) {
        const float *more = bias ? bias : residual;

        for (int64_t j = 0; j < count; j++)
            out[j] = sums[j] + more[j];
    } else {
        memcpy(out, sums, (size_t)count * sizeof *out);
    }
}

static void run_direct(const struct job *job, const struct qgemm_output *output, int64_t begin,
                       int64_t end, int64_t first, int64_t rows, char *scratch)
{
    const struct qgemm_kernels *kernels = job->kernels;
    const struct qgemm_weights *weights = output->weights;
    int64_t panels = (weights->n + QGEMM_PANEL - 1) / QGEMM_PANEL;
    float *sums = (float *)(void *)scratch;

    panels = least(end * kernels->tile_panels, panels);
    for (int64_t panel = begin * kernels->tile_panels; panel < panels; panel++) {
        for (int64_t group = 0; group < groups_of(job, rows); group++) {
            int64_t from = group_begin(job, rows, group);
            int64_t width = group_begin(job, rows, group + 1) - from;

            kernels->direct[weights->type](weights, panel,
                                           job->columns + from * job->blocks * QGEMM_COLUMN_BYTES,
                                           width, sums + from * QGEMM_PANEL);
        }
        for (int64_t row = 0; row < rows; row++)
            finish(output, sums + row * QGEMM_PANEL, QGEMM_PANEL, first + row, panel * QGEMM_PANEL);
    }
}

/* Blocks from `from` on of one tile, times all columns. */
static void multiply_tile(const struct job *job, const struct qgemm_weights *weights, int64_t tile,
                          int64_t from, int64_t rows, const struct qgemm_tile *room, float *sums)
{
    const struct qgemm_kernels *kernels = job->kernels;
    int64_t panels = (weights->n + QGEMM_PANEL - 1) / QGEMM_PANEL;
    int64_t blocks = least(job->blocks - from, TILE_BLOCKS);

    for (int64_t place = 0; place < kernels->tile_panels; place++)
        kernels->unpack[weights->type](weights,
                                       least(tile * kernels->tile_panels + place, panels - 1), from,
                                       blocks, room, place);
    for (int64_t group = 0; group < groups_of(job, rows); group++) {
        int64_t begin = group_begin(job, rows, group);
        int64_t width = group_begin(job, rows, group + 1) - begin;

        kernels->multiply[weights->type](
            room, blocks, job->columns + (begin * job->blocks + width * from) * QGEMM_COLUMN_BYTES,
            width, sums + begin * kernels->tile_panels * QGEMM_PANEL, from == 0);
    }
}

/* Tiles begin to end, a few at once: they share the columns that a stretch of k brings in. */
static void run_tiles(const struct job *job, const struct qgemm_output *output, int64_t begin,
                      int64_t end, int64_t first, int64_t rows, char *scratch)
{
    int64_t tile_rows = job->kernels->tile_panels * QGEMM_PANEL;
    struct qgemm_tile room = {
        .codes = (uint8_t *)scratch,
        .scales = (float *)(void *)(scratch + job->bytes_codes),
        .lows = (float *)(void *)(scratch + job->bytes_codes + job->bytes_scales)};
    float *sums = (float *)(void *)(scratch + job->bytes_codes + 2 * job->bytes_scales);
    int64_t size = rows * tile_rows;

    for (; begin < end; begin += job->batch) {
        int64_t count = least(job->batch, end - begin);

        for (int64_t from = 0; from < job->blocks; from += TILE_BLOCKS) {
            for (int64_t i = 0; i < count; i++)
                multiply_tile(job, output->weights, begin + i, from, rows, &room, sums + i * size);
        }
        if (job->blocks == 0)
            memset(sums, 0, (size_t)(count * size) * sizeof *sums);
        for (int64_t row = 0; row < rows; row++) { /* all tiles of a row: longer runs of memory */
            for (int64_t i = 0; i < count; i++)
                finish(output, sums + i * size + row * tile_rows, tile_rows, first + row,
                       (begin + i) * tile_rows);
        }
    }
}

static int64_t tiles_of(const struct job *job, const struct qgemm_output *output)
{
    int64_t tile_rows = job->kernels->tile_panels * QGEMM_PANEL;

    return (output->weights->n + tile_rows - 1) / tile_rows;
}

/* The first tile of the output that lies behind `bytes` of all weights, of which `before` belong to
 * outputs in front of it. */
static int64_t tile_after(int64_t bytes, int64_t before, int64_t tile_bytes, int64_t tiles)
{
    int64_t tile = bytes > before ? (bytes - before + tile_bytes - 1) / tile_bytes : 0;

    return least(tile, tiles);
}

static void multiply_rows(const struct job *job, int64_t first, int64_t rows, int thread, int team)
{
    const struct qgemm *q = job->q;
    char *scratch = job->scratch + thread * thread_bytes(job);
    int64_t total = 0;
    int64_t before = 0;

    for (int i = 0; i < q->outputs; i++)
        total += tiles_of(job, &q->output[i]) * (qgemm_block_bytes(q->output[i].weights->type) *
                                                 256 / qgemm_block(q->output[i].weights->type));
    for (int i = 0; i < q->outputs; i++) {
        const struct qgemm_output *output = &q->output[i];
        enum qgemm_type type = output->weights->type;
        int64_t tile_bytes = qgemm_block_bytes(type) * 256 / qgemm_block(type);
        int64_t tiles = tiles_of(job, output);
        int64_t begin = tile_after(total * thread / team, before, tile_bytes, tiles);
        int64_t end = tile_after(total * (thread + 1) / team, before, tile_bytes, tiles);

        if (job->direct)
            run_direct(job, output, begin, end, first, rows, scratch);
        else
            run_tiles(job, output, begin, end, first, rows, scratch);
        before += tiles * tile_bytes;
    }
}

static void run_member(void *arg, int thread, int team)
{
    const struct job *job = arg;

    for (int64_t first = 0; first < job->q->m; first += job->rows) {
        int64_t rows = least(job->rows, job->q->m - first);

        if (first > 0)
            parallel_barrier(team);
        quantize_rows(job, first, rows, thread, team);
        parallel_barrier(team);
        multiply_rows(job, first, rows, thread, team);
    }
}

size_t qgemm_scratch_bytes(const struct qgemm_kernels *kernels, const struct qgemm *product)
{
    struct job job;

    if (!prepare(kernels, product, &job))
        return QGEMM_ALIGNMENT;
    return (size_t)(job.bytes_columns + job.threads * thread_bytes(&job)) + QGEMM_ALIGNMENT;
}

void qgemm_run(const struct qgemm_kernels *kernels, const struct qgemm *product)
{
    struct job job;

    if (!prepare(kernels, product, &job))
        return;
    job.columns = product->scratch;
    job.scratch = (char *)product->scratch + job.bytes_columns;
    parallel_team(job.threads, run_member, &job);
}

void qgemm_fill(struct qgemm_kernels *kernels, uint32_t cpu)
{
    qgemm_fill_portable(kernels);
#if defined(__x86_64__)
    if (cpu & CPU_AVX2)
        qgemm_fill_avx2(kernels);
    if (cpu & CPU_AVX_VNNI)
        qgemm_fill_avxvnni(kernels);
    if (cpu & CPU_AVX512_VNNI)
        qgemm_fill_avx512vnni(kernels);
#elif defined(__aarch64__)
    if (cpu & CPU_NEON_DOTPROD)
        qgemm_fill_neon(kernels);
#else
    (void)cpu;
#endif
}
