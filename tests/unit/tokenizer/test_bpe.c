/* SPDX-License-Identifier: MIT
 *
 * The three ways to encode a word against a slow one that follows the definition: merge the pair of
 * lowest rank, leftmost first, until none is left. Merges as training makes them and in random
 * order.
 */
#include "fixtures.h"
#include "tokenizer/bpe.h"

enum { LETTERS = 3, MAX_RULES = 60, MAX_WORD = 200 };

struct setup {
    llm_context *context;
    llm_tokenizer *tokenizer;
    struct bpe *bpe;
    struct bpe_rule rules[MAX_RULES];
    size_t count;
};

/* Of a pair listed twice, the last mention counts. */
static size_t rank_of(const struct setup *setup, int32_t left, int32_t right)
{
    size_t rank = SIZE_MAX;

    for (size_t i = 0; i < setup->count; i++) {
        if (setup->rules[i].left == left && setup->rules[i].right == right)
            rank = i;
    }
    return rank;
}

static bool is_listed(const struct setup *setup, int32_t left, int32_t right)
{
    return rank_of(setup, left, right) != SIZE_MAX;
}

/* Bytes as ids, then random tokens over a, b, c. */
static void make(struct setup *setup, uint32_t *seed, bool shuffled)
{
    struct bpe_rule *rules;
    int32_t pieces[MAX_RULES + LETTERS] = {'a', 'b', 'c'};
    size_t piece_count = LETTERS;
    size_t wanted = 1 + next_random(seed) % MAX_RULES;

    setup->context = make_context(1);
    setup->count = 0;
    assert_int_equal(tokenizer_new(&setup->tokenizer, setup->context), LLM_OK);
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;

        assert_int_equal(vocab_put(&setup->tokenizer->vocab, i, &byte, 1, VOCAB_MODEL), LLM_OK);
    }
    while (wanted-- > 0) {
        struct vocab *vocab = &setup->tokenizer->vocab;
        int32_t left = pieces[next_random(seed) % piece_count];
        int32_t right = pieces[next_random(seed) % piece_count];
        char joined[32];
        size_t size = (size_t)vocab->entries[left].size + vocab->entries[right].size;
        int32_t id;

        if (size > 12 || (!shuffled && is_listed(setup, left, right)))
            continue;
        memcpy(joined, vocab_bytes(vocab, left), vocab->entries[left].size);
        memcpy(joined + vocab->entries[left].size, vocab_bytes(vocab, right),
               vocab->entries[right].size);
        id = vocab_find(vocab, joined, size);
        if (id < 0) {
            id = (int32_t)vocab->size;
            assert_int_equal(vocab_put(vocab, id, joined, size, VOCAB_MODEL), LLM_OK);
            pieces[piece_count++] = id;
        }
        setup->rules[setup->count++] = (struct bpe_rule){left, right, id};
    }
    for (size_t i = setup->count; shuffled && i > 1; i--) {
        size_t j = next_random(seed) % i;
        struct bpe_rule swap = setup->rules[i - 1];

        setup->rules[i - 1] = setup->rules[j];
        setup->rules[j] = swap;
    }
    rules = memory_alloc(&setup->context->memory, sizeof setup->rules);
    assert_non_null(rules);
    memcpy(rules, setup->rules, sizeof setup->rules);
    assert_int_equal(bpe_build(&setup->bpe, setup->tokenizer, rules, setup->count), LLM_OK);
    assert_int_equal(bpe_mark_whole(setup->bpe, &setup->tokenizer->vocab), LLM_OK);
    setup->tokenizer->model = setup->bpe;
    setup->tokenizer->algorithm = &algorithm_bpe;
    setup->tokenizer->kind = LLM_TOKENIZER_BPE;
    setup->tokenizer->split = split_find(LLM_SPLIT_NONE);
}

static void unmake(struct setup *setup)
{
    llm_tokenizer_free(setup->tokenizer);
    llm_context_free(setup->context);
}

static size_t encode_slowly(const struct setup *setup, const char *word, size_t size, int32_t *ids)
{
    size_t count = size;

    for (size_t i = 0; i < size; i++)
        ids[i] = (unsigned char)word[i];
    for (;;) {
        size_t best = SIZE_MAX;
        size_t at = 0;

        for (size_t i = 0; i + 1 < count; i++) {
            size_t rank = rank_of(setup, ids[i], ids[i + 1]);

            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == SIZE_MAX)
            return count;
        ids[at] = setup->rules[best].result;
        count--;
        memmove(&ids[at + 1], &ids[at + 2], (count - at - 1) * sizeof *ids);
    }
}

static void check_list(struct token_list *list, const int32_t *ids, size_t count, const char *way)
{
    if (list->count != count || memcmp(list->ids, ids, count * sizeof *ids) != 0)
        fail_msg("%s differs from the definition", way);
    list->count = 0;
}

static void compare(const struct setup *setup, const char *word, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)word;
    struct scratch *scratch = scratch_take(setup->tokenizer);
    struct token_list list;
    int32_t ids[MAX_WORD];
    size_t count = encode_slowly(setup, word, size, ids);

    assert_non_null(scratch);
    token_list_init(&list, &setup->context->memory);
    assert_int_equal(bpe_encode_heap(setup->bpe, scratch, bytes, size, &list), LLM_OK);
    check_list(&list, ids, count, "the heap");
    assert_int_equal(bpe_encode_word(setup->bpe, scratch, bytes, size, &list), LLM_OK);
    check_list(&list, ids, count, "merging");
    if (setup->bpe->proper) {
        assert_int_equal(bpe_encode_backtrack(setup->bpe, scratch, bytes, size, &list), LLM_OK);
        check_list(&list, ids, count, "backtracking");
    }
    for (int again = 0; again < 2; again++) { /* the second time from the cache */
        assert_int_equal(bpe_encode(setup->tokenizer, scratch, word, size, &list), LLM_OK);
        check_list(&list, ids, count, "the cache");
    }
    token_list_free(&list);
    scratch_give(setup->tokenizer, scratch);
}

static void check_many(bool shuffled, int *proper)
{
    uint32_t seed = 7;

    *proper = 0;
    for (int round = 0; round < 150; round++) {
        struct setup setup;
        char word[MAX_WORD];

        make(&setup, &seed, shuffled);
        *proper += setup.bpe->proper;
        for (int i = 0; i < 60; i++) {
            size_t size = 1 + next_random(&seed) % (MAX_WORD - 1);
            uint32_t letters = 1 + next_random(&seed) % LETTERS;

            for (size_t j = 0; j < size; j++)
                word[j] = (char)('a' + next_random(&seed) % letters);
            compare(&setup, word, size);
        }
        unmake(&setup);
    }
}

static void test_order_of_training(void **state)
{
    int proper;

    (void)state;
    check_many(false, &proper);
    assert_true(proper > 50); /* a repeated pair makes the others improper */
}

static void test_any_order(void **state)
{
    int proper;

    (void)state;
    check_many(true, &proper);
    assert_true(proper < 150);
}

/* A megabyte of one letter, with tokens aa, aaaa, aaaaaaaa, ... : no quadratic time. */
static void test_long_run(void **state)
{
    size_t size = 1 << 20;
    llm_context *context = make_context(1);
    llm_tokenizer *tokenizer = NULL;
    llm_tokenizer_train_options options;
    char *text = malloc(size);
    const char *texts[1] = {text};
    size_t sizes[1] = {4096};
    size_t count = 0;
    int32_t *ids = malloc(size * sizeof *ids);

    (void)state;
    assert_true(text && ids);
    memset(text, 'a', size);
    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.vocab_size = 262;
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, texts, sizes, 1, &options), LLM_OK);
    assert_int_equal(llm_tokenizer_vocab_size(tokenizer), 262);
    assert_int_equal(llm_tokenizer_encode(ids, size, &count, tokenizer, text, size, NULL), LLM_OK);
    assert_int_equal(count, size / 64);
    free(text);
    free(ids);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_training),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_long_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
