/* SPDX-License-Identifier: MIT
 *
 * What sessions do beyond one text, on GPT-2 with random weights; one JSON line per case:
 *
 *     bench_sessions [threads] [layers heads dim]      default: 1 thread, 12 12 768 (124M)
 *
 * cancel: milliseconds from llm_session_cancel() in another thread until a running append of 1000
 * tokens returns. batch: tokens per second of 1, 2, 4, 8, 16 sessions in one batch. guess: tokens
 * per second without guesses, with looking up, and with the model itself as draft (all guesses
 * right: what the checking costs). beams: the same with four beams. state: saving and restoring a
 * session of 512 tokens in memory.
 */
#include <llm.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VOCABULARY = 50257, CONTEXT = 1024, PROMPT = 128, TOKENS = 32 };

static int32_t prompt[CONTEXT];

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(llm_status status, const char *what)
{
    if (status == LLM_OK)
        return;
    (void)fprintf(stderr, "bench_sessions: %s: %s\n", what, llm_last_error());
    exit(1);
}

static llm_session *open_session(llm_model *model)
{
    llm_session *session = NULL;

    check(llm_session_new(&session, model, NULL, NULL), "session");
    return session;
}

static llm_generate_options options_of(void)
{
    llm_generate_options options;

    check(llm_generate_options_init(&options, sizeof options), "options");
    options.max_tokens = TOKENS;
    options.ignore_eos = 1;
    return options;
}

/* ---- cancel ------------------------------------------------------------------------------------
 */

struct canceller {
    llm_session *session;
    double after, asked;
};

static void *cancel_later(void *pointer)
{
    struct canceller *canceller = pointer;
    double end = now() + canceller->after;
    const struct timespec pause = {0, 100000};

    while (now() < end)
        (void)nanosleep(&pause, NULL);
    canceller->asked = now();
    llm_session_cancel(canceller->session);
    return NULL;
}

static void bench_cancel(llm_model *model)
{
    double worst = 0.0;
    double sum = 0.0;
    int rounds = 0;

    for (int i = 0; i < 12; i++) {
        llm_session *session = open_session(model);
        struct canceller canceller = {session, 0.02 + 0.017 * i, 0.0};
        pthread_t thread;
        llm_status status;
        double spent;

        if (pthread_create(&thread, NULL, cancel_later, &canceller))
            exit(1);
        status = llm_session_append(session, prompt, 1000);
        spent = now();
        (void)pthread_join(thread, NULL);
        spent -= canceller.asked;
        if (status == LLM_E_CANCELLED) {
            worst = spent > worst ? spent : worst;
            sum += spent;
            rounds++;
        }
        llm_session_free(session);
    }
    printf("{\"bench\":\"cancel\",\"rounds\":%d,\"mean_ms\":%.2f,\"worst_ms\":%.2f}\n", rounds,
           rounds ? 1e3 * sum / rounds : 0.0, 1e3 * worst);
}

/* ---- batches -----------------------------------------------------------------------------------
 */

static void bench_batch(llm_model *model, int count)
{
    llm_generate_options options = options_of();
    llm_session *sessions[16];
    llm_batch *batch = NULL;
    size_t running = 1;
    double start;

    check(llm_batch_new(&batch, model, NULL, NULL), "batch");
    for (int i = 0; i < count; i++) {
        check(llm_batch_session(&sessions[i], batch), "session");
        check(llm_batch_start(batch, sessions[i], prompt + i, PROMPT, &options), "start");
    }
    for (int i = 0; running && i < count; i++) /* the prompts */
        check(llm_batch_step(batch, &running), "step");
    start = now();
    check(llm_batch_run(batch), "run");
    printf("{\"bench\":\"batch\",\"sessions\":%d,\"tokens_per_s\":%.1f}\n", count,
           count * (TOKENS - 1) / (now() - start));
    for (int i = 0; i < count; i++)
        llm_session_free(sessions[i]);
    llm_batch_free(batch);
}

/* ---- guesses and beams -------------------------------------------------------------------------
 */

static void bench_guess(llm_model *model, const char *kind)
{
    llm_session *session = open_session(model);
    llm_session *draft = open_session(model);
    llm_generate_options options = options_of();
    double start;

    options.lookup_tokens = strcmp(kind, "lookup") == 0 ? 8 : 0;
    options.draft = strcmp(kind, "draft") == 0 ? draft : NULL;
    check(llm_session_append(session, prompt, PROMPT), "append");
    check(llm_session_append(draft, prompt, PROMPT), "append");
    start = now();
    check(llm_session_generate(session, &options), "generate");
    printf("{\"bench\":\"guess\",\"kind\":\"%s\",\"tokens_per_s\":%.1f}\n", kind,
           TOKENS / (now() - start));
    llm_session_free(session);
    llm_session_free(draft);
}

static void bench_beams(llm_model *model)
{
    llm_session *session = open_session(model);
    llm_beam_options options;
    double start;

    check(llm_beam_options_init(&options, sizeof options), "options");
    options.max_tokens = TOKENS;
    options.ignore_eos = 1;
    check(llm_session_append(session, prompt, PROMPT), "append");
    start = now();
    check(llm_session_beam_search(session, &options), "beams");
    printf("{\"bench\":\"beams\",\"beams\":4,\"tokens_per_s\":%.1f}\n", TOKENS / (now() - start));
    llm_session_free(session);
}

static void bench_state(llm_model *model)
{
    llm_session *session = open_session(model);
    size_t size = 0;
    void *bytes;
    double start;
    double middle;

    check(llm_session_append(session, prompt, 512), "append");
    (void)llm_session_save_memory(NULL, 0, &size, session);
    bytes = malloc(size);
    if (!bytes)
        exit(1);
    start = now();
    check(llm_session_save_memory(bytes, size, &size, session), "save");
    middle = now();
    check(llm_session_restore_memory(session, bytes, size), "restore");
    printf("{\"bench\":\"state\",\"tokens\":512,\"bytes\":%zu,\"save_ms\":%.1f,"
           "\"restore_ms\":%.1f}\n",
           size, 1e3 * (middle - start), 1e3 * (now() - middle));
    free(bytes);
    llm_session_free(session);
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"none", "lookup", "draft"};
    llm_context_options context_options;
    llm_context *context = NULL;
    llm_model *model = NULL;
    char config[256];
    int size = snprintf(config, sizeof config,
                        "{\"model_type\":\"gpt2\",\"n_layer\":%s,\"n_head\":%s,\"n_embd\":%s,"
                        "\"n_positions\":%d,\"vocab_size\":%d}",
                        argc > 4 ? argv[2] : "12", argc > 4 ? argv[3] : "12",
                        argc > 4 ? argv[4] : "768", CONTEXT, VOCABULARY);

    for (int i = 0; i < CONTEXT; i++)
        prompt[i] = (i * 7919 + 13) % VOCABULARY;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    check(llm_context_options_init(&context_options, sizeof context_options), "options");
    context_options.threads = argc > 1 ? atoi(argv[1]) : 1;
    check(llm_context_new(&context, &context_options), "context");
    check(llm_model_new(&model, context, config, (size_t)size, NULL), "model");
    bench_cancel(model);
    for (int count = 1; count <= 16; count *= 2)
        bench_batch(model, count);
    for (int i = 0; i < 3; i++)
        bench_guess(model, kinds[i]);
    bench_beams(model);
    bench_state(model);
    llm_model_free(model);
    llm_context_free(context);
    return 0;
}
