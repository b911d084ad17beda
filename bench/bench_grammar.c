/* SPDX-License-Identifier: MIT
 *
 * Time of masks under grammars; one JSON line per case:
 *
 *     bench_grammar [tokenizer]      a tokenizer file or directory; default: a made-up vocabulary
 * of 128,000 tokens (words, numbers, punctuation, JSON pieces)
 *
 * For each grammar random texts are generated token by token under its masks. us_mean is the mean
 * over all tokens of mask and step, what the first meeting with each state costs included;
 * us_median is the median once the grammar is warm; us_most the worst single mask.
 */
#include "base/context.h"
#include "base/rng.h"
#include "llm.h"
#include "generate/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VOCABULARY = 128000, TEXTS = 40, TOKENS = 64, MASK_WORDS = 1 << 16 };

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void check(llm_status status, const char *what)
{
    if (status == LLM_OK)
        return;
    (void)fprintf(stderr, "bench_grammar: %s: %s\n", what, llm_last_error());
    exit(1);
}

/* ---- a vocabulary ------------------------------------------------------------------------------
 */

static void add(char **text, const char *bytes)
{
    *text += sprintf(*text, "%s", bytes);
}

/* A tokenizer.json whose tokens look like those of a large model: all bytes, then words with and
 * without a space, numbers, runs of punctuation with quotes and brackets. */
static char *made_up_vocabulary(void)
{
    static const char *const ends[] = {
        "", "\\u0120", "\\\"", "\\\",", "\\\":", "},", "]", "();", ".", ","};
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz";
    struct rng rng = rng_make(1, 0);
    char *json = malloc((size_t)VOCABULARY * 64);
    char *at = json;
    int id = 0;

    add(&at, "{\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int c = 0x21; c < 0x7f; c++) {
        char piece[16];

        (void)snprintf(piece, sizeof piece, c == '"' || c == '\\' ? "\"\\%c\":" : "\"%c\":", c);
        add(&at, piece);
        at += sprintf(at, "%d,", id++);
    }
    for (int c = 0xa1; c < 0x144; c++) {
        if (c != 0xad)
            at += sprintf(at, "\"\\u%04x\":%d,", c, id++);
    }
    for (; id < VOCABULARY; id++) {
        int extra = (int)rng_below(&rng, 7);

        add(&at, "\"");
        add(&at, rng_below(&rng, 2) ? "\\u0120" : "");
        for (int i = 0; i < extra; i++)
            *at++ = letters[rng_below(&rng, 13)];
        for (int i = 0, n = id; i < 4; i++, n /= 26) /* no two are the same */
            *at++ = letters[n % 26];
        add(&at, ends[rng_below(&rng, 8) ? 0 : rng_below(&rng, 10)]);
        at += sprintf(at, "\":%d%s", id, id + 1 < VOCABULARY ? "," : "");
    }
    add(&at,
        "},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"}}");
    return json;
}

/* ---- cases -------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    grammar_reader read;
    const char *text;
} cases[] = {
    {"json", grammar_read_schema, "{}"},
    {"schema", grammar_read_schema,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\",\"minimum\":0,\"maximum\":150},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":"
     "[\"red\",\"green\",\"blue\"]}},\"address\":{\"type\":\"object\",\"properties\":{\"street\":"
     "{\"type\":\"string\"},\"zip\":{\"type\":\"string\",\"pattern\":\"^[0-9]{5}$\"}},\"required\":"
     "[\"street\"],\"additionalProperties\":false}},\"required\":[\"name\",\"age\",\"address\"],"
     "\"additionalProperties\":false}"},
    {"lengths", grammar_read_schema,
     "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":60}}"},
    {"regex", grammar_read_regex, "([A-Z][a-z]+ ){2,5}<[a-z0-9.]+@[a-z]+\\.(com|org)>(, .*)?"},
    {"arithmetic", grammar_read_gbnf,
     "root ::= expr (\"\\n\" expr)*\nexpr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | name | \"(\" "
     "expr \")\"\nname ::= letter (letter | [0-9])*\nletter ::= [a-zA-Z_]"},
    {"text", grammar_read_gbnf, "root ::= char* \"END\"\nchar ::= [^\\x00]"}};

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int32_t random_token(const uint32_t *mask, size_t words, struct rng *rng)
{
    size_t start = (size_t)rng_below(rng, words);

    for (size_t i = 0; i < words; i++) {
        size_t word = (start + i) % words;

        if (mask[word])
            return (int32_t)(32 * word) + __builtin_ctz(mask[word]);
    }
    return -1;
}

static void run(llm_tokenizer *tokenizer, size_t number)
{
    static double times[TEXTS * TOKENS];
    static uint32_t mask[MASK_WORDS];
    struct rng rng = rng_make(7, number);
    struct grammar_matcher matcher;
    llm_grammar *grammar;
    double start = now();
    double made, total = 0.0, most = 0.0;
    size_t count = 0;

    check(grammar_new(&grammar, tokenizer, cases[number].read, cases[number].text,
                      strlen(cases[number].text)),
          cases[number].name);
    made = now() - start;
    for (int text = 0; text < TEXTS; text++) {
        check(matcher_open(&matcher, grammar), "matcher");
        for (int i = 0; i < TOKENS; i++) {
            int32_t id;
            double spent;

            start = now();
            check(matcher_mask(&matcher, mask), "mask");
            spent = now() - start;
            id = random_token(mask, grammar->words, &rng);
            if (id < 0)
                break;
            start = now();
            check(matcher_accept(&matcher, id), "accept");
            spent += now() - start;
            times[count++] = spent;
            total += spent;
            most = spent > most ? spent : most;
        }
        matcher_close(&matcher);
    }
    qsort(times, count, sizeof *times, by_value);
    printf("{\"bench\":\"grammar\",\"grammar\":\"%s\",\"tokens\":%zu,\"trie_nodes\":%zu,"
           "\"compile_us\":%.0f,\"us_mean\":%.2f,\"us_median\":%.2f,\"us_most\":%.0f,"
           "\"states\":%zu}\n",
           cases[number].name, count, grammar->trie->count, made, total / (double)count,
           times[count / 2], most, grammar->set_count);
    grammar_release(grammar);
}

int main(int argc, char **argv)
{
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;
    double start;

    check(llm_context_new(&context, NULL), "context");
    if (argc > 1) {
        check(llm_tokenizer_load(&tokenizer, context, argv[1]), argv[1]);
    } else {
        char *json = made_up_vocabulary();

        check(llm_tokenizer_load_memory(&tokenizer, context, json, strlen(json)), "vocabulary");
        free(json);
    }
    start = now();
    if (!tokenizer_byte_trie(tokenizer))
        return 1;
    printf("{\"bench\":\"grammar\",\"vocabulary\":%d,\"trie_us\":%.0f}\n",
           llm_tokenizer_vocab_size(tokenizer), now() - start);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run(tokenizer, i);
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    return 0;
}
