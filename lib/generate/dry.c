/* SPDX-License-Identifier: MIT
 *
 * The DRY penalty, and the search for its sequence breakers.
 */
#include "generate/dry.h"

#include <math.h>
#include <string.h>

static const char *const usual_breakers[] = {"\n", ":", "\"", "*"};

struct dry_breakers dry_breakers_of(const llm_generate_options *options)
{
    if (options->dry_breakers)
        return (struct dry_breakers){options->dry_breakers, options->dry_breaker_count};
    return (struct dry_breakers){usual_breakers, sizeof usual_breakers / sizeof *usual_breakers};
}

/* The text of a token and what follows it, as far as a breaker can reach. */
struct window {
    char bytes[2 * DRY_BREAKER_MOST];
    size_t size;
};

/* Largest end, in bytes behind the token's own text, of a breaker that begins in the token: 0 when
 * it ends within it; -1: none. */
static int64_t breaker_end(const char *token, size_t token_size, const struct window *after,
                           const struct dry_breakers *breakers)
{
    int64_t furthest = -1;

    for (size_t b = 0; b < breakers->count; b++) {
        const char *breaker = breakers->texts[b];
        size_t size = strlen(breaker);

        for (size_t at = 0; at < token_size; at++) {
            size_t inside = token_size - at < size ? token_size - at : size;
            int64_t end = (int64_t)(size - inside);

            if (size - inside > after->size || memcmp(token + at, breaker, inside) != 0 ||
                memcmp(after->bytes, breaker + inside, size - inside) != 0)
                continue;
            furthest = end > furthest ? end : furthest;
        }
    }
    return furthest;
}

static void put_in_front(struct window *window, const char *bytes, size_t size)
{
    size_t keep = size < DRY_BREAKER_MOST ? size : DRY_BREAKER_MOST;
    size_t rest = window->size < DRY_BREAKER_MOST ? window->size : DRY_BREAKER_MOST;

    /* bytes that lie further behind than a breaker is long can no longer be part of one */
    memmove(window->bytes + keep, window->bytes, rest);
    memcpy(window->bytes, bytes, keep);
    window->size = keep == size ? keep + rest : keep;
}

static const char *token_text(const llm_tokenizer *tokenizer, const struct byte_trie *texts,
                              int32_t id, size_t *size_out)
{
    *size_out = 0;
    return tokenizer_has(tokenizer, id) ? byte_trie_text(texts, id, size_out) : "";
}

size_t dry_reach(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                 const struct dry_breakers *breakers)
{
    const struct byte_trie *texts =
        tokenizer && breakers->count ? tokenizer_byte_trie(tokenizer) : NULL;
    struct window after = {{0}, 0};

    for (size_t i = count; i-- > 0 && texts;) {
        size_t size;
        const char *text = token_text(tokenizer, texts, ids[i], &size);
        int64_t end = breaker_end(text, size, &after, breakers);
        size_t last = i;

        if (end >= 0) {
            while (end > 0 && ++last < count) {
                (void)token_text(tokenizer, texts, ids[last], &size);
                end -= (int64_t)size;
            }
            return count - 1 - last;
        }
        put_in_front(&after, text, size);
    }
    return count;
}

/* repeats[k] = how many tokens before and with the one at distance k from the end equal the text's
 * last ones: the Z function of the reversed text (Gusfield, 1997). */
static void count_repeats(int32_t *repeats, const int32_t *ids, size_t count)
{
    const int32_t *end = ids + count - 1;
    size_t left = 0;
    size_t right = 0; /* [left, right) is the occurrence that ends furthest */

    for (size_t k = 1; k < count; k++) {
        size_t n = 0;

        if (k < right) {
            n = (size_t)repeats[k - left];
            n = n < right - k ? n : right - k;
        }
        while (k + n < count && end[-(ptrdiff_t)n] == end[-(ptrdiff_t)(k + n)])
            n++;
        if (k + n > right) {
            left = k;
            right = k + n;
        }
        repeats[k] = (int32_t)n;
    }
}

void filter_dry(float *logits, const int32_t *ids, size_t count, const struct dry *dry,
                int32_t *repeats, int32_t *marks)
{
    const double largest_exponent = 88.0; /* of e: the penalty stays a float */
    double most = dry->base > 1.000001 ? largest_exponent / log(dry->base) : (double)INFINITY;

    if (count <= dry->allowed || dry->reach < dry->allowed)
        return;
    count_repeats(repeats, ids, count);
    for (size_t k = 1; k < count; k++) {
        size_t n = (size_t)repeats[k] < dry->reach ? (size_t)repeats[k] : dry->reach;
        int32_t follower = ids[count - k];

        if (n >= dry->allowed && marks[follower] < (int32_t)n)
            marks[follower] = (int32_t)n;
    }
    for (size_t k = 1; k < count; k++) {
        int32_t follower = ids[count - k];
        double exponent = (double)marks[follower] - (double)dry->allowed;

        if (marks[follower])
            logits[follower] -=
                (float)(dry->multiplier * pow(dry->base, exponent < most ? exponent : most));
        marks[follower] = 0;
    }
}
