/* SPDX-License-Identifier: MIT
 *
 * Datasets: every source gives the tokens that encoding its documents gives; splits; the token
 * cache is used, and made anew when anything changed or a byte was damaged; bad text, files and
 * options.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "llm.h"
#include "scratch.h"
#include "train/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utime.h>

struct fixture {
    struct scratch scratch;
    llm_context *context;
    llm_tokenizer *bytes; /* has an end-of-text token */
};

static const char *const special[] = {"<|endoftext|>"};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    llm_context_options context_options;
    llm_tokenizer_train_options options;
    static const char *const texts[] = {"the cat sat on the mat, the cat ate the rat. "};
    size_t sizes[] = {strlen(texts[0])};

    scratch_make(&f->scratch);
    assert_int_equal(llm_context_options_init(&context_options, sizeof context_options), LLM_OK);
    context_options.threads = 2;
    assert_int_equal(llm_context_new(&f->context, &context_options), LLM_OK);
    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.vocab_size = 270;
    options.special_tokens = special;
    options.special_count = 1;
    assert_int_equal(llm_tokenizer_train(&f->bytes, f->context, texts, sizes, 1, &options), LLM_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    llm_tokenizer_free(f->bytes);
    llm_context_free(f->context);
    scratch_remove(&f->scratch);
    free(f);
    return 0;
}

static llm_dataset_options defaults(void)
{
    llm_dataset_options options;

    assert_int_equal(llm_dataset_options_init(&options, sizeof options), LLM_OK);
    return options;
}

/* All ids of all parts, in order. */
static int32_t *all_ids(const llm_dataset *dataset, int64_t *count)
{
    int32_t *ids;
    int64_t at = 0;

    *count = 0;
    for (int32_t part = 0; part < 3; part++)
        *count += llm_dataset_tokens(dataset, part);
    ids = malloc((size_t)*count * sizeof *ids + 1);
    for (int32_t part = 0; part < 3; part++) {
        int64_t tokens = llm_dataset_tokens(dataset, part);

        assert_int_equal(llm_dataset_read(ids + at, dataset, part, 0, tokens), LLM_OK);
        at += tokens;
    }
    return ids;
}

static void assert_same(const llm_dataset *a, const llm_dataset *b)
{
    int64_t count_a, count_b;
    int32_t *ids_a = all_ids(a, &count_a);
    int32_t *ids_b = all_ids(b, &count_b);

    assert_int_equal(count_a, count_b);
    assert_memory_equal(ids_a, ids_b, (size_t)count_a * sizeof *ids_a);
    assert_int_equal(llm_dataset_documents(a), llm_dataset_documents(b));
    free(ids_a);
    free(ids_b);
}

/* Encoded in one go, each document followed by the end-of-text token. */
static void assert_encodes(const struct fixture *f, const llm_dataset *dataset,
                           const char *const *texts, const size_t *sizes, size_t documents)
{
    int32_t eos = llm_tokenizer_special(f->bytes, LLM_TOKEN_EOS);
    int64_t count, at = 0;
    int32_t *ids = all_ids(dataset, &count);

    assert_true(eos >= 0);
    for (size_t i = 0; i < documents; i++) {
        size_t room = llm_tokenizer_max_tokens(f->bytes, sizes[i]);
        int32_t *expected = malloc(room * sizeof *expected + 1);
        size_t found;

        assert_int_equal(
            llm_tokenizer_encode(expected, room, &found, f->bytes, texts[i], sizes[i], NULL),
            LLM_OK);
        assert_true(at + (int64_t)found + 1 <= count);
        assert_memory_equal(ids + at, expected, found * sizeof *expected);
        at += (int64_t)found;
        assert_int_equal(ids[at++], eos);
        free(expected);
    }
    assert_int_equal(at, count);
    assert_int_equal(llm_dataset_documents(dataset), documents);
    free(ids);
}

struct stream {
    const char *const *texts;
    const size_t *sizes;
    size_t count, next;
    int32_t end;
};

static int32_t next_text(void *user, const char **text, size_t *size)
{
    struct stream *stream = user;

    if (stream->next == stream->count)
        return stream->end;
    *text = stream->texts[stream->next];
    *size = stream->sizes[stream->next++];
    return 1;
}

static void test_sources(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"the cat sat", "on the mat\nthe end", "a"};
    size_t sizes[] = {strlen(texts[0]), strlen(texts[1]), 1};
    struct stream stream = {texts, sizes, 3, 0, 0};
    const char *paths[3];
    llm_dataset *memory, *streamed, *files;

    assert_int_equal(llm_dataset_from_texts(&memory, f->context, f->bytes, texts, sizes, 3, NULL),
                     LLM_OK);
    assert_encodes(f, memory, texts, sizes, 3);
    assert_int_equal(
        llm_dataset_from_stream(&streamed, f->context, f->bytes, next_text, &stream, NULL), LLM_OK);
    assert_same(memory, streamed);
    paths[0] = scratch_write(&f->scratch, "a.txt", texts[0], sizes[0]);
    paths[1] = scratch_write(&f->scratch, "b.txt", texts[1], sizes[1]);
    paths[2] = scratch_write(&f->scratch, "c.txt", texts[2], sizes[2]);
    assert_int_equal(llm_dataset_from_files(&files, f->context, f->bytes, paths, 3, NULL), LLM_OK);
    assert_same(memory, files);
    assert_int_equal(llm_dataset_vocab_size(files), llm_tokenizer_vocab_size(f->bytes));
    llm_dataset_free(files);
    /* the directory gives the same files, in order of name; hidden ones are left out */
    scratch_write(&f->scratch, ".hidden", "x", 1);
    paths[0] = f->scratch.path;
    assert_int_equal(llm_dataset_from_files(&files, f->context, f->bytes, paths, 1, NULL), LLM_OK);
    assert_same(memory, files);
    llm_dataset_free(files);
    llm_dataset_free(streamed);
    llm_dataset_free(memory);
    stream = (struct stream){texts, sizes, 3, 0, -1};
    assert_int_equal(
        llm_dataset_from_stream(&streamed, f->context, f->bytes, next_text, &stream, NULL),
        LLM_E_CANCELLED);
    assert_null(streamed);
}

/* Longer than a piece, so that it is cut; with and without places to cut at. */
static void test_long_documents(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)20 << 20;
    char *text = malloc(size);
    const char *texts[2];
    size_t sizes[2];
    llm_dataset *dataset;
    uint32_t random = 1;

    for (size_t i = 0; i < size; i++) {
        random = random * 1664525u + 1013904223u;
        text[i] = "etaoin shrdlu \n.,4'"[(random >> 16) % 19];
    }
    texts[0] = text;
    sizes[0] = size;
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 1, NULL),
                     LLM_OK);
    assert_encodes(f, dataset, texts, sizes, 1);
    llm_dataset_free(dataset);
    size = (size_t)9 << 20;
    for (size_t i = 0; i < size; i++)
        text[i] = " 12"[i % 3];
    sizes[0] = size;
    texts[1] = "end";
    sizes[1] = 3;
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 2, NULL),
                     LLM_OK);
    assert_encodes(f, dataset, texts, sizes, 2);
    llm_dataset_free(dataset);
    free(text);
}

static void test_splits(void **state)
{
    struct fixture *f = *state;
    llm_dataset_options options = defaults();
    int32_t ids[100];
    int32_t part[100];
    llm_dataset *dataset;

    for (int i = 0; i < 100; i++)
        ids[i] = i % 10; /* 9 ends a document */
    options.validation_fraction = 0.25;
    options.test_fraction = 0.12;
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, ids, 100, 10, 9, &options), LLM_OK);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_TRAIN), 63);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_VALIDATION), 25);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_TEST), 12);
    assert_int_equal(llm_dataset_documents(dataset), 10);
    assert_int_equal(llm_dataset_read(part, dataset, LLM_PART_VALIDATION, 1, 3), LLM_OK);
    assert_memory_equal(part, ids + 64, 3 * sizeof *part);
    llm_dataset_free(dataset);
    options.split_by_document = 1;
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, ids, 100, 10, 9, &options), LLM_OK);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_TRAIN), 70);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_VALIDATION), 20);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_TEST), 10);
    llm_dataset_free(dataset);
}

static void test_validation_files(void **state)
{
    struct fixture *f = *state;
    llm_dataset_options options = defaults();
    const char *train = scratch_write(&f->scratch, "train.txt", "the cat sat on the mat", 22);
    const char *validation = scratch_write(&f->scratch, "validation.txt", "the rat", 7);
    llm_dataset *dataset, *alone;
    int64_t count;
    int32_t *ids;
    int32_t part[32];

    assert_int_equal(llm_dataset_from_files(&alone, f->context, f->bytes, &validation, 1, NULL),
                     LLM_OK);
    ids = all_ids(alone, &count);
    options.validation_files = &validation;
    options.validation_count = 1;
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &train, 1, &options),
                     LLM_OK);
    assert_int_equal(llm_dataset_tokens(dataset, LLM_PART_VALIDATION), count);
    assert_int_equal(llm_dataset_read(part, dataset, LLM_PART_VALIDATION, 0, count), LLM_OK);
    assert_memory_equal(part, ids, (size_t)count * sizeof *ids);
    free(ids);
    llm_dataset_free(alone);
    llm_dataset_free(dataset);
}

static llm_dataset *open_cached(const struct fixture *f, const char *path, const char *cache,
                                int expect_cached)
{
    llm_dataset_options options = defaults();
    llm_dataset *dataset;

    options.cache = cache;
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, &options),
                     LLM_OK);
    assert_int_equal(llm_dataset_from_cache(dataset), expect_cached);
    return dataset;
}

static void test_cache(void **state)
{
    struct fixture *f = *state;
    char cache[300], path[300];
    llm_dataset *fresh, *again, *plain;
    struct utimbuf times = {1000000, 1000000};
    const char *paths[1] = {path};
    size_t size;
    char *data;

    snprintf(cache, sizeof cache, "%s/tokens.cache", f->scratch.path);
    snprintf(path, sizeof path, "%s",
             scratch_write(&f->scratch, "book.txt", "the cat sat on the mat\nthe end", 30));
    fresh = open_cached(f, path, cache, 0);
    again = open_cached(f, path, cache, 1);
    assert_int_equal(llm_dataset_from_files(&plain, f->context, f->bytes, paths, 1, NULL), LLM_OK);
    assert_same(fresh, plain);
    assert_same(again, plain);
    llm_dataset_free(fresh);
    llm_dataset_free(again);
    llm_dataset_free(plain);
    /* touched only: the content decides */
    assert_int_equal(utime(path, &times), 0);
    llm_dataset_free(open_cached(f, path, cache, 1));
    /* same size, other content */
    scratch_write(&f->scratch, "book.txt", "the cat sat on the bat\nthe end", 30);
    assert_int_equal(utime(path, &times), 0);
    times.modtime++;
    assert_int_equal(utime(path, &times), 0);
    llm_dataset_free(open_cached(f, path, cache, 0));
    llm_dataset_free(open_cached(f, path, cache, 1));
    /* every byte of the cache matters */
    data = scratch_read(cache, &size);
    free(data);
    for (size_t i = 0; i < size; i++) {
        scratch_damage(cache, i);
        llm_dataset_free(open_cached(f, path, cache, 0));
    }
    /* cut short, at any length */
    data = scratch_read(cache, &size);
    for (size_t cut = 0; cut < size; cut += 7) {
        scratch_write(&f->scratch, "tokens.cache", data, cut);
        llm_dataset_free(open_cached(f, path, cache, 0));
    }
    free(data);
}

static void test_cache_of_others(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"the cat", "the rat"};
    size_t sizes[] = {7, 7};
    struct stream stream = {texts, sizes, 2, 0, 0};
    llm_dataset_options options = defaults();
    llm_dataset *dataset;
    char cache[300];

    snprintf(cache, sizeof cache, "%s/tokens.cache", f->scratch.path);
    options.cache = cache;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 2, &options),
            LLM_OK);
        assert_int_equal(llm_dataset_from_cache(dataset), i);
        llm_dataset_free(dataset);
    }
    options.append_eos = 0; /* other options: made anew */
    assert_int_equal(
        llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 2, &options), LLM_OK);
    assert_int_equal(llm_dataset_from_cache(dataset), 0);
    llm_dataset_free(dataset);
    assert_int_equal(
        llm_dataset_from_stream(&dataset, f->context, f->bytes, next_text, &stream, &options),
        LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "cache_key"));
    options.cache_key = "cats 1";
    for (int i = 0; i < 2; i++) {
        stream.next = 0;
        assert_int_equal(
            llm_dataset_from_stream(&dataset, f->context, f->bytes, next_text, &stream, &options),
            LLM_OK);
        assert_int_equal(llm_dataset_from_cache(dataset), i);
        llm_dataset_free(dataset);
    }
}

static void test_bad_text(void **state)
{
    struct fixture *f = *state;
    llm_dataset_options options = defaults();
    static const char *const texts[] = {"ab\xFFgh", "ab\xEF\xBF\xBDgh"};
    size_t sizes[] = {5, 7};
    const char *path = scratch_write(&f->scratch, "bad.txt", texts[0], sizes[0]);
    const char *paths[1];
    llm_dataset *dataset;

    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, NULL),
                     LLM_E_FORMAT);
    assert_null(dataset);
    assert_non_null(strstr(llm_last_error(), "bad.txt: byte 2 is not valid UTF-8"));
    options.invalid_text = LLM_TEXT_REPLACE;
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, &options),
                     LLM_OK);
    assert_encodes(f, dataset, texts + 1, sizes + 1, 1);
    llm_dataset_free(dataset);
    options.invalid_text = LLM_TEXT_RAW;
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, &options),
                     LLM_OK);
    assert_encodes(f, dataset, texts, sizes, 1);
    llm_dataset_free(dataset);

    path = scratch_write(&f->scratch, "binary.bin", "ab\0cd", 5);
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, NULL),
                     LLM_E_FORMAT);
    assert_non_null(strstr(llm_last_error(), "binary.bin"));
    path = scratch_write(&f->scratch, "empty.txt", "", 0);
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, NULL),
                     LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "empty"));
    path = scratch_file(&f->scratch, "missing.txt");
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, &path, 1, NULL),
                     LLM_E_IO);
    assert_non_null(strstr(llm_last_error(), "missing.txt"));
    paths[0] = scratch_file(&f->scratch, "nothing");
    assert_int_equal(mkdir(paths[0], 0777), 0);
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, paths, 1, NULL),
                     LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "holds no files"));
}

static int32_t stop(void *user, double fraction)
{
    (void)fraction;
    return ++*(int *)user > 1;
}

static void test_bad_options(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"the cat"};
    size_t sizes[] = {7};
    int32_t id = 1;
    int calls = 0;
    llm_dataset_options o;
    llm_dataset *dataset;

#define REFUSE(field, value, status)                                                               \
    do {                                                                                           \
        o = defaults();                                                                            \
        o.field = value;                                                                           \
        assert_int_equal(                                                                          \
            llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 1, &o), status);  \
        assert_null(dataset);                                                                      \
        assert_non_null(strstr(llm_last_error(), #field));                                         \
    } while (0)
    REFUSE(validation_fraction, 1.0, LLM_E_RANGE);
    REFUSE(validation_fraction, -0.1, LLM_E_RANGE);
    REFUSE(test_fraction, 1.5, LLM_E_RANGE);
    REFUSE(test_fraction, 0.95, LLM_E_RANGE);
    REFUSE(append_eos, 2, LLM_E_RANGE);
    REFUSE(parse_special, -1, LLM_E_RANGE);
    REFUSE(invalid_text, 7, LLM_E_RANGE);
    REFUSE(split_by_document, 2, LLM_E_RANGE);
    REFUSE(struct_size, 1, LLM_E_INVALID);
    o = defaults();
    o.progress = stop;
    o.progress_user = &calls;
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, sizes, 1, &o),
                     LLM_E_CANCELLED);
    assert_int_equal(llm_dataset_from_texts(NULL, f->context, f->bytes, texts, sizes, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_texts(&dataset, NULL, f->bytes, texts, sizes, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, NULL, texts, sizes, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, f->bytes, NULL, sizes, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_texts(&dataset, f->context, f->bytes, texts, NULL, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_files(&dataset, f->context, f->bytes, NULL, 1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_stream(&dataset, f->context, f->bytes, NULL, NULL, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, NULL, 1, 2, -1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, &id, 0, 2, -1, NULL),
                     LLM_E_INVALID);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, &id, 1, 1, -1, NULL), LLM_E_RANGE);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, &id, 1, 0, -1, NULL), LLM_E_RANGE);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, &id, 1, 2, 2, NULL), LLM_E_RANGE);
    assert_int_equal(llm_dataset_from_ids(&dataset, f->context, &id, 1, 2, -1, NULL), LLM_OK);
    assert_int_equal(llm_dataset_read(&id, dataset, 3, 0, 0), LLM_E_RANGE);
    assert_int_equal(llm_dataset_read(&id, dataset, LLM_PART_TRAIN, 0, 2), LLM_E_RANGE);
    assert_int_equal(llm_dataset_read(&id, dataset, LLM_PART_TRAIN, -1, 1), LLM_E_RANGE);
    assert_int_equal(llm_dataset_read(&id, dataset, LLM_PART_TRAIN, 0, INT64_MAX), LLM_E_RANGE);
    assert_int_equal(llm_dataset_read(NULL, dataset, LLM_PART_TRAIN, 0, 0), LLM_E_INVALID);
    assert_int_equal(llm_dataset_read(&id, NULL, LLM_PART_TRAIN, 0, 0), LLM_E_INVALID);
    llm_dataset_free(dataset);
    assert_int_equal(llm_dataset_tokens(NULL, 0), 0);
    assert_int_equal(llm_dataset_documents(NULL), 0);
    assert_int_equal(llm_dataset_vocab_size(NULL), 0);
    assert_int_equal(llm_dataset_from_cache(NULL), 0);
    assert_int_equal(llm_dataset_options_init(NULL, sizeof o), LLM_E_INVALID);
    llm_dataset_free(NULL);
}

/* Shuffled epochs visit every window once; random windows stay inside; both repeat. */
static void test_sampler(void **state)
{
    struct sampler sampler = {1000, 7, 5, 3, LLM_ORDER_SHUFFLED, 0};
    int64_t windows = sampler_windows(&sampler);
    int seen[200] = {0};
    int moved = 0;

    (void)state;
    assert_int_equal(windows, 142);
    for (int64_t i = 0; i < 3 * windows; i++) {
        int64_t start = sampler_start(&sampler, i / 5, i % 5);

        assert_int_equal(start % 7, 0);
        assert_true(start + 7 < 1000);
        seen[start / 7]++;
        moved += start / 7 != i % windows;
        if ((i + 1) % windows == 0) {
            for (int64_t w = 0; w < windows; w++)
                assert_int_equal(seen[w], (i + 1) / windows);
        }
    }
    assert_true(moved > 2 * windows);
    sampler.order = LLM_ORDER_RANDOM;
    for (int64_t step = 0; step < 500; step++) {
        for (int64_t i = 0; i < 5; i++) {
            int64_t start = sampler_start(&sampler, step, i);

            assert_in_range(start, 0, 1000 - 7 - 1);
            assert_int_equal(start, sampler_start(&sampler, step, i));
        }
    }
    sampler.order = LLM_ORDER_SEQUENTIAL;
    assert_int_equal(sampler_start(&sampler, 0, 0), 0);
    assert_int_equal(sampler_start(&sampler, 1, 2), 49);
    for (int64_t count = 1; count < 70; count++) {
        uint64_t low = 0, high = 0;

        for (int64_t i = 0; i < count; i++) {
            int64_t to = sampler_permute(9, 4, count, i);

            assert_in_range(to, 0, count - 1);
            if (to < 64)
                low |= (uint64_t)1 << to;
            else
                high |= (uint64_t)1 << (to - 64);
        }
        assert_int_equal(__builtin_popcountll(low) + __builtin_popcountll(high), count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_documents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_splits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_validation_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cache_of_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_options, set_up, tear_down),
        cmocka_unit_test(test_sampler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
