/* SPDX-License-Identifier: MIT
 *
 * llm bench: tokens per second of reading a prompt and of writing one token after another.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

/* Ids that mean nothing, the same in every run. */
static int32_t *make_ids(int64_t count, int64_t vocabulary)
{
    int32_t *ids = malloc((size_t)count * sizeof *ids);

    for (int64_t i = 0; ids && i < count; i++)
        ids[i] = (int32_t)((uint64_t)(i + 1) * 2654435761u % (uint64_t)vocabulary);
    return ids;
}

/* Seconds of reading ids[0 .. prompt) at once and the next `written` one by one. */
static llm_status run_once(llm_session *session, const int32_t *ids, int64_t prompt,
                           int64_t written, float *logits, size_t size, double *seconds)
{
    llm_status status = llm_session_reset(session);
    double start = tool_seconds();

    if (!status)
        status = llm_session_append(session, ids, (size_t)prompt);
    if (!status)
        status = llm_session_logits(logits, size, NULL, session);
    seconds[0] = tool_seconds() - start;
    start = tool_seconds();
    for (int64_t i = 0; i < written && !status; i++) {
        status = llm_session_append(session, ids + prompt + i, 1);
        if (!status)
            status = llm_session_logits(logits, size, NULL, session);
    }
    seconds[1] = tool_seconds() - start;
    return status;
}

static llm_status run_all(llm_model *model, int64_t prompt, int64_t written, int64_t repeat)
{
    size_t size = (size_t)llm_model_vocabulary(model);
    int32_t *ids = make_ids(prompt + written, (int64_t)size);
    float *logits = malloc(size * sizeof *logits);
    llm_session *session = NULL;
    llm_status status = ids && logits ? llm_session_new(&session, model, NULL, NULL) : LLM_E_NOMEM;
    double best[2] = {0.0, 0.0};

    for (int64_t i = 0; i < repeat && !status; i++) {
        double seconds[2];

        status = run_once(session, ids, prompt, written, logits, size, seconds);
        for (int k = 0; k < 2; k++)
            best[k] = i == 0 || seconds[k] < best[k] ? seconds[k] : best[k];
    }
    if (!status)
        printf("%-22s %.2f tokens/s (%lld tokens)\n%-22s %.2f tokens/s (%lld after them)\n",
               "reading", (double)prompt / best[0], (long long)prompt, "writing",
               (double)written / best[1], (long long)written);
    llm_session_free(session);
    free(logits);
    free(ids);
    return status;
}

int command_bench(int argc, char **argv)
{
    static const struct arg_usage usage = {"bench", "MODEL",
                                           "Measures tokens per second, the best of some runs: "
                                           "reading a prompt at once, then writing\n"
                                           "one token after another.",
                                           1, 1};
    int64_t prompt = 512, written = 64, repeat = 3, threads = 0;
    const char *weights = "keep";
    const struct arg table[] = {{"--prompt", ARG_INT, &prompt, "N", "tokens to read", 1, 1e6},
                                {"--write", ARG_INT, &written, "N", "tokens to write", 1, 1e6},
                                {"--repeat", ARG_INT, &repeat, "N", "runs", 1, 1000},
                                {"--weights", ARG_TEXT, &weights, "HOW", TOOL_WEIGHTS_HELP, 0, 0},
                                {"--threads", ARG_INT, &threads, "N", "0: all cores", 0, 1024},
                                {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    llm_context *context = NULL;
    llm_model *model = NULL;
    llm_model_info info;
    double start;
    size_t count = 0;
    int result = positional ? args_parse(&usage, table, argc, argv, positional, &count) : 1;
    const char *path = count ? positional[0] : "";

    free(positional);
    if (result)
        return result > 0 ? 0 : 2;
    if (!tool_check_weights("bench", weights))
        return 2;
    start = tool_seconds();
    if (tool_context(&context, threads, 0) || tool_load(&model, context, path, weights) ||
        llm_model_get_info(&info, sizeof info, model)) {
        result = tool_fail("bench");
    } else {
        printf("%-22s %s\n", "machine", llm_context_description(context));
        printf("%-22s %lld parameters (%s), %.1f MiB, loaded in %.2f s\n", "model",
               (long long)info.parameters, info.weight_types, (double)info.weight_bytes / 1048576.0,
               tool_seconds() - start);
        result = run_all(model, prompt, written, repeat) ? tool_fail("bench") : 0;
    }
    llm_model_free(model);
    llm_context_free(context);
    return result;
}
