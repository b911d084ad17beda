/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product: panels against the formats' own dequantization, products against
 * double precision, and the promise of equal bits (every instruction set, any number of rows and of
 * threads) against portable C. Operands end at pages that may not be touched.
 */
#define _GNU_SOURCE
#include "check.h"

#include "kernels/half.h"
#include "kernels/qgemm_kernel.h"
#include "llm/tensor.h"
#include "tensor/dtype.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- memory that ends where a page does --------------------------------------------------------
 */

struct fenced {
    char *map;
    size_t bytes;
};

static void *fenced_new(struct fenced *fenced, size_t bytes, size_t alignment)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inside = (bytes + alignment - 1) / alignment * alignment;

    fenced->bytes = (inside + page - 1) / page * page + 2 * page;
    fenced->map =
        mmap(NULL, fenced->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(fenced->map != MAP_FAILED);
    assert_int_equal(mprotect(fenced->map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(fenced->map + fenced->bytes - page, page, PROT_NONE), 0);
    memset(fenced->map + page, 0xff, fenced->bytes - 2 * page); /* NaN */
    return fenced->map + fenced->bytes - page - inside;
}

static void fenced_free(struct fenced *fenced)
{
    assert_int_equal(munmap(fenced->map, fenced->bytes), 0);
}

/* ---- weights -----------------------------------------------------------------------------------
 */

struct matrix {
    struct qgemm_weights weights;
    struct qgemm_rows rows;
    uint8_t *blocks;
    float *scales;
    size_t row_bytes;
    int64_t row_scales;
    size_t packed_bytes;
    struct fenced block_memory, packed_memory;
};

static uint16_t random_half(uint64_t *state)
{
    return half_f32_to_f16(check_float(state) * 0.1f);
}

static void fill_block(uint64_t *state, enum qgemm_type type, uint8_t *block)
{
    const struct qgemm_traits *traits = &qgemm_traits[type];
    int64_t bytes = qgemm_block_bytes(type);

    for (int64_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)check_random(state);
    if (check_random(state) % 8 == 0) /* the ends of what codes can be */
        memset(block, check_random(state) % 2 ? 0xff : 0x00, (size_t)bytes);
    if (type == QGEMM_MXFP4)
        block[0] = (uint8_t)check_between(state, 110, 130);
    if (type < QGEMM_NF4 && traits->field[0].width == 2) {
        for (int i = 0; i < traits->field[0].count; i++) {
            uint16_t half = random_half(state);

            memcpy(block + traits->field[0].at + 2 * i, &half, 2);
        }
    }
}

static void make_matrix(struct matrix *matrix, uint64_t *state, enum qgemm_type type, int64_t n,
                        int64_t k)
{
    int64_t per_row = k / qgemm_block(type);

    *matrix = (struct matrix){.weights = {type, n, k, NULL}};
    matrix->row_bytes = (size_t)(per_row * qgemm_block_bytes(type));
    matrix->row_scales = type == QGEMM_I8 ? 1 : type >= QGEMM_NF4 ? k / 64 : 0;
    matrix->blocks = fenced_new(&matrix->block_memory, (size_t)n * matrix->row_bytes, 1);
    for (int64_t i = 0; i < n * per_row; i++)
        fill_block(state, type, matrix->blocks + i * qgemm_block_bytes(type));
    matrix->scales = malloc((size_t)(n * matrix->row_scales + 1) * sizeof(float));
    for (int64_t i = 0; i < n * matrix->row_scales; i++)
        matrix->scales[i] = fabsf(check_float(state)) * 0.01f;
    matrix->rows = (struct qgemm_rows){matrix->blocks, (int64_t)matrix->row_bytes, matrix->scales};
    assert_true(qgemm_packed_bytes(type, n, k, &matrix->packed_bytes));
    matrix->weights.packed =
        fenced_new(&matrix->packed_memory, matrix->packed_bytes, QGEMM_ALIGNMENT);
    qgemm_pack(&matrix->weights, 0, n, &matrix->rows);
}

static void free_matrix(struct matrix *matrix)
{
    fenced_free(&matrix->block_memory);
    fenced_free(&matrix->packed_memory);
    free(matrix->scales);
}

static int64_t a_length(uint64_t *state, enum qgemm_type type, int64_t blocks)
{
    int64_t k = blocks * qgemm_traits[type].unit;

    return type == QGEMM_I8 && k > 0 ? k - check_between(state, 0, 31) : k;
}

static void same_bits(const char *what, const float *got, const float *want, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (isnan(got[i]) && isnan(want[i]))
            continue;
        if (memcmp(got + i, want + i, sizeof *got) != 0)
            fail_msg("%s [%d]: got %.9g, want %.9g", what, (int)i, (double)got[i], (double)want[i]);
    }
}

/* A row of a panel gives the floats and the bytes that it was made of. */
static void test_panels(void **unused)
{
    static const int64_t sizes[] = {1, 15, 16, 17, 40};
    uint64_t state = 11;

    (void)unused;
    for (int type = 0; type < QGEMM_TYPES; type++) {
        const struct dtype *dtype = type < QGEMM_NF4 ? dtype_get(LLM_Q4_0 + type) : NULL;

        if (dtype) {
            assert_string_equal(dtype->name, qgemm_type_name((enum qgemm_type)type));
            assert_int_equal(dtype->block_elements, qgemm_block((enum qgemm_type)type));
            assert_int_equal(dtype->block_bytes, qgemm_block_bytes((enum qgemm_type)type));
        }
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            int64_t k = a_length(&state, (enum qgemm_type)type, check_between(&state, 1, 5));
            struct matrix matrix;
            float *got = malloc((size_t)k * sizeof *got);
            float *want = malloc((size_t)k * sizeof *want);
            uint8_t *bytes;
            float scales[64];

            make_matrix(&matrix, &state, (enum qgemm_type)type, sizes[s], k);
            bytes = malloc(matrix.row_bytes);
            for (int64_t row = 0; row < sizes[s]; row++) {
                const uint8_t *blocks = matrix.blocks + (size_t)row * matrix.row_bytes;

                qgemm_unpack(&matrix.weights, row, bytes, scales);
                assert_memory_equal(bytes, blocks, matrix.row_bytes);
                assert_memory_equal(scales, matrix.scales + row * matrix.row_scales,
                                    (size_t)matrix.row_scales * sizeof(float));
                qgemm_load_row(&matrix.weights, row, got);
                if (dtype)
                    dtype->to_f32(want, blocks, k);
                for (int64_t i = 0; !dtype && i < k; i++) {
                    int8_t byte = (int8_t)blocks[i / (type == QGEMM_I8 ? 1 : 2)];
                    int code = i % 2 ? byte & 15 : byte >> 4 & 15;
                    const int8_t(*planes)[16];
                    float scale =
                        matrix.scales[row * matrix.row_scales + (type == QGEMM_I8 ? 0 : i / 64)];

                    if (type == QGEMM_I8) {
                        want[i] = (float)byte * scale;
                        continue;
                    }
                    planes = type == QGEMM_NF4 ? qgemm_nf4_planes : qgemm_fp4_planes;
                    want[i] = (float)(256 * planes[0][code] + planes[1][code]) * 0x1p-14f * scale;
                    assert_true(fabsf(got[i] - want[i]) <= scale * 0x1.1p-15f);
                    want[i] = got[i];
                }
                same_bits(qgemm_type_name((enum qgemm_type)type), got, want, k);
            }
            free(bytes);
            free(got);
            free(want);
            free_matrix(&matrix);
        }
    }
}

static void test_sizes(void **unused)
{
    size_t bytes;

    (void)unused;
    assert_false(qgemm_packed_bytes(QGEMM_Q4_0, 16, 33, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_Q4_K, 16, 128, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_NF4, 16, 32, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_Q8_0, -1, 32, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_Q8_0, 1, -32, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_I8, INT64_MAX / 2, INT64_MAX / 8192, &bytes));
    assert_false(qgemm_packed_bytes(QGEMM_I8, 1, INT64_MAX, &bytes));
    assert_true(qgemm_packed_bytes(QGEMM_Q4_0, 16, 64, &bytes));
    assert_int_equal(bytes, 16 * 2 * 18);
    assert_true(qgemm_packed_bytes(QGEMM_Q4_K, 17, 512, &bytes));
    assert_int_equal(bytes, 32 * 2 * 144);
    assert_true(qgemm_packed_bytes(QGEMM_Q4_K, 0, 0, &bytes));
    assert_int_equal(bytes, 0);
}

/* ---- products ----------------------------------------------------------------------------------
 */

struct operands {
    int64_t m, lda, ldo, ldr;
    float *a, *out, *bias, *residual;
    struct fenced memory[4];
};

static void make_operands(struct operands *o, uint64_t *state, int64_t m, int64_t n, int64_t k)
{
    o->m = m;
    o->lda = k + check_between(state, 0, 3);
    o->ldo = n + check_between(state, 0, 3);
    o->ldr = n + check_between(state, 0, 3);
    o->a = fenced_new(&o->memory[0], (size_t)((m - 1) * o->lda + k) * sizeof(float), 4);
    o->out = fenced_new(&o->memory[1], (size_t)((m - 1) * o->ldo + n) * sizeof(float), 4);
    o->bias = fenced_new(&o->memory[2], (size_t)n * sizeof(float), 4);
    o->residual = fenced_new(&o->memory[3], (size_t)((m - 1) * o->ldr + n) * sizeof(float), 4);
    for (int64_t i = 0; i < m * k; i++)
        o->a[i / k * o->lda + i % k] = check_float(state);
    for (int64_t i = 0; i < n; i++)
        o->bias[i] = check_float(state);
    for (int64_t i = 0; i < m * n; i++)
        o->residual[i / n * o->ldr + i % n] = check_float(state);
}

static void free_operands(struct operands *o)
{
    for (int i = 0; i < 4; i++)
        fenced_free(&o->memory[i]);
}

static struct qgemm describe(const struct operands *o, const struct qgemm_weights *weights,
                             bool extras)
{
    struct qgemm q = {.m = o->m, .k = weights->k, .a = o->a, .lda = o->lda, .outputs = 1};

    q.output[0] = (struct qgemm_output){.weights = weights, .out = o->out, .ldo = o->ldo};
    if (extras) {
        q.output[0].bias = o->bias;
        q.output[0].residual = o->residual;
        q.output[0].ldr = o->ldr;
    }
    return q;
}

static void run(const struct qgemm_kernels *kernels, struct qgemm *q, int threads)
{
    struct fenced memory;

    q->threads = threads;
    q->scratch = fenced_new(&memory, qgemm_scratch_bytes(kernels, q), QGEMM_ALIGNMENT);
    qgemm_run(kernels, q);
    fenced_free(&memory);
}

/* The instruction sets to try; the first is portable C. */
static int tables(const struct qgemm_kernels **out)
{
    static const uint32_t masks[] = {0, CPU_AVX2, CPU_AVX2 | CPU_AVX_VNNI, UINT32_MAX};
    static struct qgemm_kernels filled[4];
    uint32_t all = cpu_features(LLM_ISA_AUTO);
    int count = 0;

    for (int i = 0; i < 4; i++) {
        memset(&filled[count], 0, sizeof *filled);
        qgemm_fill(&filled[count], all & masks[i]);
        if (count == 0 || strcmp(filled[count].name, filled[count - 1].name) != 0)
            count++;
    }
    *out = filled;
    return count;
}

/* What 8 bits make of 32 activations, in double precision but for the float scale. */
static void round_activations(const float *a, int64_t k, double *out)
{
    for (int64_t from = 0; from < k; from += 32) {
        int64_t count = k - from < 32 ? k - from : 32;
        float largest = 0.0f;

        for (int64_t i = 0; i < count; i++)
            largest = fmaxf(largest, fabsf(a[from + i]));
        for (int64_t i = 0; i < count; i++) {
            float scaled = largest >= 0x1p-100f ? a[from + i] * (127.0f / largest) : 0.0f;

            out[from + i] = nearbyint((double)scaled) * (double)(largest / 127.0f);
        }
    }
}

static void compare(const char *name, const struct qgemm *q, const struct operands *o)
{
    const struct qgemm_weights *weights = q->output[0].weights;
    bool inexact = weights->type == QGEMM_NF4 || weights->type == QGEMM_FP4;
    double *x = malloc((size_t)weights->k * sizeof *x);
    float *w = malloc((size_t)weights->k * sizeof *w);

    for (int64_t i = 0; i < q->m; i++) {
        round_activations(o->a + i * o->lda, weights->k, x);
        for (int64_t j = 0; j < weights->n; j++) {
            double want = (double)o->bias[j] + (double)o->residual[i * o->ldr + j];
            double size = fabs((double)o->bias[j]) + fabs((double)o->residual[i * o->ldr + j]);
            double got = (double)o->out[i * o->ldo + j];
            double allowed;

            qgemm_load_row(weights, j, w);
            for (int64_t p = 0; p < weights->k; p++) {
                want += x[p] * (double)w[p];
                size += fabs(x[p] * (double)w[p]);
                if (inexact) /* a hundredth of a scale each */
                    size += fabs(x[p]) * 0.01;
            }
            /* lows may cancel what codes give: their sizes stand apart in the sum */
            if (qgemm_traits[weights->type].low)
                size *= 4.0;
            allowed = size * (inexact ? 0x1p-14 : 0x1p-20) + 1e-30;
            if (!(fabs(got - want) <= allowed))
                fail_msg("%s %s m %d n %d k %d: row %d column %d: got %.9g, want %.9g, allowed %g",
                         name, qgemm_type_name(weights->type), (int)q->m, (int)weights->n,
                         (int)weights->k, (int)i, (int)j, got, want, allowed);
        }
    }
    free(x);
    free(w);
}

/* Every instruction set and number of threads gives the bits that each row alone gives in portable
 * C; those are right. */
static void check_product(uint64_t *state, enum qgemm_type type, int64_t m, int64_t n, int64_t k,
                          bool sane)
{
    static const int threads[] = {1, 2, 3, 8};
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    struct operands o;
    struct matrix matrix;
    struct qgemm q;
    float *want = malloc((size_t)(m * n) * sizeof *want);
    char what[96];

    make_matrix(&matrix, state, type, n, k);
    make_operands(&o, state, m, n, k);
    q = describe(&o, &matrix.weights, true);
    for (int64_t i = 0; i < m; i++) {
        struct qgemm row = q;

        row.m = 1;
        row.a += i * o.lda;
        row.output[0].out += i * o.ldo;
        row.output[0].residual += i * o.ldr;
        run(&kernels[0], &row, 1);
        memcpy(want + i * n, o.out + i * o.ldo, (size_t)n * sizeof *want);
    }
    if (sane)
        compare("portable", &q, &o);
    for (int i = 0; i < count; i++) {
        for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
            memset(o.out, 0xff, (size_t)((m - 1) * o.ldo + n) * sizeof(float));
            run(&kernels[i], &q, threads[t]);
            (void)snprintf(what, sizeof what, "%s %s m %d n %d k %d threads %d", kernels[i].name,
                           qgemm_type_name(type), (int)m, (int)n, (int)k, threads[t]);
            for (int64_t row = 0; row < m; row++) {
                same_bits(what, o.out + row * o.ldo, want + row * n, n);
                for (int64_t j = n; row + 1 < m && j < o.ldo; j++)
                    assert_true(isnan(o.out[row * o.ldo + j]));
            }
        }
    }
    free(want);
    free_operands(&o);
    free_matrix(&matrix);
}

static void test_products(void **unused)
{
    static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 17, 31, 32, 33, 40, 67};
    static const int64_t columns[] = {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 80};
    uint64_t state = 5;

    (void)unused;
    for (int type = 0; type < QGEMM_TYPES; type++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int64_t unit = qgemm_traits[type].unit;
            int64_t blocks = check_between(&state, 1, unit == 256 ? 4 : 35);
            int64_t n = columns[check_random(&state) % (sizeof columns / sizeof *columns)];

            check_product(&state, (enum qgemm_type)type, rows[i], n,
                          a_length(&state, (enum qgemm_type)type, blocks), true);
        }
    }
}

/* More rows than are taken at once. */
static void test_many_rows(void **unused)
{
    uint64_t state = 21;

    (void)unused;
    for (int more = 1; more <= 6; more++) {
        static const enum qgemm_type types[] = {QGEMM_Q8_0, QGEMM_Q4_1, QGEMM_NF4, QGEMM_MXFP4};

        for (int i = 0; i < 4; i++)
            check_product(&state, types[i], 512 + more, 17 + more, 64, false);
        check_product(&state, QGEMM_Q2_K, 512 + more, 33, 256, false);
    }
    check_product(&state, QGEMM_Q6_K, 1030, 33, 256, false);
}

/* Several matrices of unlike types at once give what each gives alone. */
static void test_shared_activations(void **unused)
{
    static const enum qgemm_type types[] = {QGEMM_Q4_K, QGEMM_Q6_K, QGEMM_Q8_0, QGEMM_NF4};
    static const int64_t sizes[] = {70, 5, 33, 16};
    static const int64_t rows[] = {1, 3, 7, 40};
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    uint64_t state = 77;

    (void)unused;
    for (int i = 0; i < count; i++) {
        for (int r = 0; r < 4; r++) {
            struct matrix matrix[4];
            struct operands o[4];
            struct qgemm q = {.m = rows[r], .k = 512, .outputs = 4};
            float *alone[4];

            for (int t = 0; t < 4; t++) {
                struct qgemm one;
                size_t bytes;

                make_matrix(&matrix[t], &state, types[t], sizes[t], 512);
                make_operands(&o[t], &state, rows[r], sizes[t], 512);
                one = describe(&o[t], &matrix[t].weights, t % 2 == 0);
                one.a = o[0].a;
                one.lda = o[0].lda;
                run(&kernels[0], &one, 1);
                bytes = (size_t)((rows[r] - 1) * o[t].ldo + sizes[t]) * sizeof(float);
                alone[t] = malloc(bytes);
                memcpy(alone[t], o[t].out, bytes);
                memset(o[t].out, 0xff, bytes);
                q.output[t] = one.output[0];
            }
            q.a = o[0].a;
            q.lda = o[0].lda;
            run(&kernels[i], &q, 1 + r);
            for (int t = 0; t < 4; t++) {
                same_bits("shared", o[t].out, alone[t], (rows[r] - 1) * o[t].ldo + sizes[t]);
                free(alone[t]);
                free_operands(&o[t]);
                free_matrix(&matrix[t]);
            }
        }
    }
}

/* The residual may be the output itself. */
static void test_in_place(void **unused)
{
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    uint64_t state = 9;

    (void)unused;
    for (int i = 0; i < count; i++) {
        struct matrix matrix;
        struct operands o;
        struct qgemm q;
        float *want;

        make_matrix(&matrix, &state, QGEMM_Q5_1, 37, 96);
        make_operands(&o, &state, 5, 37, 96);
        o.ldo = o.ldr;
        q = describe(&o, &matrix.weights, true);
        want = malloc((size_t)(5 * o.ldr) * sizeof *want);
        q.output[0].out = want;
        run(&kernels[0], &q, 1);
        q.output[0].out = o.residual;
        run(&kernels[i], &q, 2);
        for (int64_t row = 0; row < 5; row++)
            same_bits("in place", o.residual + row * o.ldr, want + row * o.ldr, 37);
        free(want);
        free_operands(&o);
        free_matrix(&matrix);
    }
}

/* ---- extremes ----------------------------------------------------------------------------------
 */

static void spoil(struct matrix *matrix, uint64_t *state)
{
    static const uint16_t halves[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x7bff,
                                      0xfbff, 0x7c00, 0xfc00, 0x7e01, 0x7d00};
    static const float floats[] = {0.0f, -0.0f, 0x1p-149f, 0x1p-126f, 3.4e38f, -3.4e38f};
    const struct qgemm_traits *traits = &qgemm_traits[matrix->weights.type];
    int64_t bytes = qgemm_block_bytes(matrix->weights.type);
    int64_t blocks = matrix->weights.k / qgemm_block(matrix->weights.type);

    for (int64_t i = 0; i < matrix->weights.n * blocks; i++) {
        uint8_t *block = matrix->blocks + i * bytes;

        if (matrix->weights.type == QGEMM_MXFP4)
            block[0] = (uint8_t)(check_random(state) % 2 ? check_random(state)
                                                         : 255 * (check_random(state) % 2));
        if (matrix->weights.type >= QGEMM_NF4 || traits->field[0].width != 2)
            continue;
        for (int j = 0; j < traits->field[0].count; j++)
            memcpy(block + traits->field[0].at + 2 * j, &halves[check_random(state) % 10], 2);
    }
    for (int64_t i = 0; i < matrix->weights.n * matrix->row_scales; i++) {
        matrix->scales[i] = floats[check_random(state) % 6];
        if (check_random(state) % 16 == 0)
            matrix->scales[i] = check_random(state) % 2 ? INFINITY : NAN;
    }
    qgemm_pack(&matrix->weights, 0, matrix->weights.n, &matrix->rows);
}

static void spoil_activations(struct operands *o, uint64_t *state, int64_t k)
{
    static const float floats[] = {0.0f, -0.0f, 0x1p-149f, -0x1p-126f, 3.4e38f, -3.4e38f, 1.0f};

    for (int64_t i = 0; i < o->m; i++) {
        for (int64_t p = 0; p < k; p++) {
            float *x = o->a + i * o->lda + p;

            if (i % 5 == 1)
                *x = floats[check_random(state) % 7];
            else if (i % 5 == 2)
                *x *= 0x1p-120f;
            else if (i % 5 == 3)
                *x *= ldexpf(1.0f, (int)check_between(state, -110, 110));
            else if (i % 5 == 4)
                *x = 0.0f;
        }
        if (i % 7 == 3)
            o->a[i * o->lda + check_between(state, 0, k - 1)] = i % 2 ? INFINITY : NAN;
    }
}

static void check_extremes(uint64_t *state, enum qgemm_type type, bool weights)
{
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    struct matrix matrix;
    struct operands o;
    struct qgemm q;
    float *want;
    int64_t m = 39;
    int64_t n = 50;

    make_matrix(&matrix, state, type, n, 1024);
    make_operands(&o, state, m, n, 1024);
    if (weights)
        spoil(&matrix, state);
    spoil_activations(&o, state, 1024);
    q = describe(&o, &matrix.weights, true);
    o.ldo = n;
    q.output[0].ldo = n;
    want = malloc((size_t)(m * n) * sizeof *want);
    run(&kernels[0], &q, 1);
    memcpy(want, o.out, (size_t)(m * n) * sizeof *want);
    for (int64_t i = 0; i < m * n; i++) {
        if (i / n % 7 == 3)
            assert_true(isnan(want[i]));
        else if (!weights && i / n % 5 != 1 && i / n % 5 != 3)
            assert_true(isfinite(want[i]));
    }
    for (int i = 1; i < count; i++) {
        memset(o.out, 0xff, (size_t)(m * n) * sizeof *want);
        run(&kernels[i], &q, 1);
        same_bits(kernels[i].name, o.out, want, m * n);
        for (int64_t row = 0; row < m; row++) {
            struct qgemm one = q;

            one.m = 1 + row % 3 > m - row ? 1 : 1 + row % 3;
            one.a += row * o.lda;
            one.output[0].out += row * n;
            one.output[0].residual += row * o.ldr;
            run(&kernels[i], &one, 1);
        }
        same_bits(kernels[i].name, o.out, want, m * n);
    }
    free(want);
    free_operands(&o);
    free_matrix(&matrix);
}

static void test_extremes(void **unused)
{
    uint64_t state = 3;

    (void)unused;
    for (int type = 0; type < QGEMM_TYPES; type++) {
        check_extremes(&state, (enum qgemm_type)type, false);
        check_extremes(&state, (enum qgemm_type)type, true);
    }
}

static void test_nothing(void **unused)
{
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    uint64_t state = 8;

    (void)unused;
    for (int i = 0; i < count; i++) {
        struct matrix matrix;
        struct qgemm q = {.m = 2, .outputs = 1};
        float out[6] = {0.0f};
        float bias[3] = {1.0f, 2.0f, 3.0f};

        make_matrix(&matrix, &state, QGEMM_Q8_0, 3, 0);
        q.output[0] = (struct qgemm_output){&matrix.weights, out, 3, bias, NULL, 0};
        run(&kernels[i], &q, 2); /* k of 0: the bias */
        same_bits("empty", out, bias, 3);
        same_bits("empty", out + 3, bias, 3);
        q.m = 0;
        out[0] = 7.0f;
        run(&kernels[i], &q, 2);
        assert_true(out[0] == 7.0f);
        free_matrix(&matrix);
    }
}

/* Scratch memory for many rows serves fewer. */
static void test_scratch(void **unused)
{
    const struct qgemm_kernels *kernels;
    int count = tables(&kernels);
    struct qgemm_weights weights = {QGEMM_NF4, 100, 2048, NULL};

    (void)unused;
    for (int i = 0; i < count; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            size_t before = 0;

            for (int64_t m = 0; m < 1100; m++) {
                struct qgemm q = {.m = m, .k = 2048, .outputs = 1, .threads = threads};
                size_t bytes;

                q.output[0].weights = &weights;
                bytes = qgemm_scratch_bytes(&kernels[i], &q);
                assert_true(bytes >= before && bytes > 0);
                before = bytes;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_panels),
        cmocka_unit_test(test_products), cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_shared_activations),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_scratch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
