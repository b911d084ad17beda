/* SPDX-License-Identifier: MIT */
#include "generate/session_batch.h"

#include <string.h>

/* ---- making and freeing -----------------------------------------------------------------------
 */

llm_status session_batch_new(llm_batch **out, llm_model *model, llm_tokenizer *tokenizer,
                             const llm_batch_options *options)
{
    const struct kv_cache_shape shape = {.layers = model->layers,
                                         .kv_heads = model->kv_heads,
                                         .head_dim = model->head_dim,
                                         .dtype = LLM_F32,
                                         .max_tokens = options->max_tokens};
    llm_batch *batch = memory_alloc_zeroed(&model->context->memory, 1, sizeof *batch);
    llm_status status;

    *out = NULL;
    if (!batch)
        return LLM_E_NOMEM;
    batch->context = context_retain(model->context);
    batch->model = model_retain(model);
    batch->tokenizer = tokenizer ? tokenizer_retain(tokenizer) : NULL;
    batch->options = *options;
    status = model_check_causal(model);
    if (!status)
        status = model_lock_shared(model);
    batch->is_model_locked = !status;
    if (!status)
        status = kv_cache_new(&batch->cache, model->context, &shape);
    if (!status)
        status = stepper_init(&batch->stepper, model, batch->cache);
    if (status)
        session_batch_free(batch);
    else
        *out = batch;
    return status;
}

static void end_member(struct batch_member *member, llm_status status)
{
    session_end(member->session, status);
    member->is_running = false;
    (void)session_leave(member->session, status);
}

void session_batch_free(llm_batch *batch)
{
    llm_context *context;
    struct memory *memory;

    if (!batch)
        return;
    context = batch->context;
    memory = &context->memory;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->members[i].is_running)
            end_member(&batch->members[i], LLM_OK);
        batch->members[i].session->batch = NULL;
    }
    stepper_free(&batch->stepper);
    kv_cache_release(batch->cache);
    memory_release(memory, batch->members);
    memory_release(memory, batch->parts);
    memory_release(memory, batch->movers);
    memory_release(memory, batch->logits);
    if (batch->is_model_locked)
        model_unlock_shared(batch->model);
    model_release(batch->model);
    tokenizer_release(batch->tokenizer);
    memory_release(memory, batch);
    context_release(context);
}

llm_status session_batch_add(llm_session **out, llm_batch *batch)
{
    const llm_session_options options = {.struct_size = sizeof options,
                                         .max_tokens = batch->options.session_tokens,
                                         .prefill_chunk = batch->options.step_tokens};
    llm_status status;

    *out = NULL;
    status = memory_grow(&batch->context->memory, (void **)&batch->members, &batch->capacity,
                         batch->count + 1, sizeof *batch->members);
    if (!status)
        status = session_new_in(out, batch->model, batch->tokenizer, batch->cache, &options);
    if (status)
        return status;
    memset(&batch->members[batch->count], 0, sizeof *batch->members);
    batch->members[batch->count++].session = *out;
    (*out)->batch = batch;
    return LLM_OK;
}

static struct batch_member *find_member(llm_batch *batch, const llm_session *session)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->members[i].session == session)
            return &batch->members[i];
    }
    return NULL;
}

void session_batch_forget(llm_batch *batch, llm_session *session)
{
    struct batch_member *member = find_member(batch, session);
    size_t index;

    session->batch = NULL;
    if (!member)
        return;
    index = (size_t)(member - batch->members);
    memmove(member, member + 1, (batch->count - index - 1) * sizeof *member);
    batch->count--;
}

/* ---- starting and stopping --------------------------------------------------------------------
 */

/* How many of the first ids another session has in the cache; at most all but the last one, whose
 * logits are wanted. */
static size_t common_prefix(const llm_batch *batch, const llm_session *other, const int32_t *ids,
                            size_t count)
{
    size_t held = (size_t)kv_cache_length(batch->cache, other->sequence);
    size_t most = held < count - 1 ? held : count - 1;
    size_t same = 0;

    while (same < most && other->ids[same] == ids[same])
        same++;
    return same;
}

/* An empty session takes over what others hold of its prompt. */
static llm_status share_prefix(llm_batch *batch, llm_session *session)
{
    const llm_session *best = NULL;
    size_t longest = 0;
    llm_status status;
    int32_t sequence;

    for (size_t i = 0; i < batch->count; i++) {
        const llm_session *other = batch->members[i].session;
        size_t same;

        if (other == session)
            continue;
        same = common_prefix(batch, other, session->ids, session->length);
        if (same > longest) {
            longest = same;
            best = other;
        }
    }
    if (!best)
        return LLM_OK;
    status = kv_cache_fork(batch->cache, &sequence, best->sequence);
    if (status)
        return status;
    (void)kv_cache_rewind(batch->cache, sequence, (int64_t)longest);
    kv_cache_remove(batch->cache, session->sequence);
    session->sequence = sequence;
    return LLM_OK;
}

static llm_status start(llm_batch *batch, llm_session *session, const int32_t *ids, size_t count,
                        const llm_generate_options *options)
{
    size_t length = session->length;
    size_t appended = session->appended;
    llm_status status = session_append_lazily(session, ids, count);

    if (!status && !session->length)
        status = status_set(LLM_E_INVALID, "llm_batch_start: there are no tokens");
    if (!status && batch->options.share_prefixes && !batch->model->long_from &&
        kv_cache_length(batch->cache, session->sequence) == 0)
        status = share_prefix(batch, session);
    if (!status)
        status = session_begin(session, options);
    if (status) {
        (void)session_rewind(session, (int64_t)length);
        session->appended = appended;
    }
    return status;
}

llm_status session_batch_start(llm_batch *batch, llm_session *session, const int32_t *ids,
                               size_t count, const llm_generate_options *options)
{
    struct batch_member *member = find_member(batch, session);
    llm_status status;

    if (!member)
        return status_set(LLM_E_INVALID, "llm_batch_start: the session is not of this batch");
    if (options->draft || options->lookup_tokens)
        return status_set(LLM_E_UNSUPPORTED, "llm_batch_start: no guessing in batches");
    status = session_enter(session);
    if (status)
        return status;
    status = start(batch, session, ids, count, options);
    if (status || session->generated.reason)
        return session_leave(session, status);
    member->options = *options;
    member->is_running = true;
    return LLM_OK;
}

llm_status session_batch_stop(llm_batch *batch, llm_session *session)
{
    struct batch_member *member = find_member(batch, session);

    if (!member)
        return status_set(LLM_E_INVALID, "llm_batch_stop: the session is not of this batch");
    if (member->is_running)
        end_member(member, LLM_OK);
    return LLM_OK;
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static size_t count_running(const llm_batch *batch)
{
    size_t running = 0;

    for (size_t i = 0; i < batch->count; i++)
        running += batch->members[i].is_running;
    return running;
}

/* Tokens of a member that the cache does not hold yet. */
static int64_t pending(llm_batch *batch, const struct batch_member *member)
{
    const llm_session *session = member->session;

    return (int64_t)session->length - kv_cache_length(batch->cache, session->sequence);
}

static void end_cancelled(llm_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_member *member = &batch->members[i];

        if (member->is_running && atomic_load(&member->session->cancel))
            end_member(member, LLM_E_CANCELLED);
    }
}

static void add_part(llm_batch *batch, size_t index, int64_t count, size_t *parts)
{
    const llm_session *session = batch->members[index].session;
    int64_t held = kv_cache_length(batch->cache, session->sequence);

    batch->movers[*parts] = index;
    batch->parts[(*parts)++] = (struct step_part){.sequence = session->sequence,
                                                  .ids = session->ids + held,
                                                  .count = count,
                                                  .length = (int64_t)session->length};
}

/* One token of each session that generates, then prompts as far as there is room; one token of a
 * prompt in any case. */
static size_t choose_parts(llm_batch *batch)
{
    int64_t room = batch->options.step_tokens;
    size_t parts = 0;

    for (size_t i = 0; i < batch->count; i++) {
        if (batch->members[i].is_running && pending(batch, &batch->members[i]) == 1) {
            add_part(batch, i, 1, &parts);
            room--;
        }
    }
    for (size_t i = 0; i < batch->count; i++) {
        int64_t wanted = pending(batch, &batch->members[i]);

        if (!batch->members[i].is_running || wanted < 2 || (room < 1 && parts))
            continue;
        wanted = wanted < room ? wanted : room > 0 ? room : 1;
        add_part(batch, i, wanted, &parts);
        room -= wanted;
    }
    return parts;
}

/* A text that grows beyond the length where angles change is read anew, as session_evaluate() does;
 * a session whose logits are of another text runs its last token again. */
static llm_status prepare(llm_batch *batch)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < batch->count && !status; i++) {
        llm_session *session = batch->members[i].session;
        int64_t length = (int64_t)session->length;

        if (!batch->members[i].is_running)
            continue;
        (void)session_read_as(session, length);
        if (pending(batch, &batch->members[i]) == 0)
            status = kv_cache_rewind(batch->cache, session->sequence, length - 1);
    }
    return status;
}

static llm_status make_room(llm_batch *batch, size_t running)
{
    struct memory *memory = &batch->context->memory;
    llm_status status;

    status = memory_grow(memory, (void **)&batch->parts, &batch->part_capacity, running,
                         sizeof *batch->parts);
    if (!status)
        status = memory_grow(memory, (void **)&batch->movers, &batch->mover_capacity, running,
                             sizeof *batch->movers);
    if (!status)
        status = memory_grow(memory, (void **)&batch->logits, &batch->logit_capacity,
                             running * (size_t)batch->model->vocabulary, sizeof *batch->logits);
    return status;
}

/* The next token of a member whose text the model has read whole. */
static llm_status advance(struct batch_member *member, const float *logits)
{
    llm_session *session = member->session;
    size_t vocabulary = (size_t)session->model->vocabulary;
    llm_status status;

    memcpy(session->logits, logits, vocabulary * sizeof *logits);
    session->logits_length = session->length;
    status = session_draw(session, &member->options);
    if (status || session->generated.reason)
        end_member(member, status);
    return status == LLM_E_CANCELLED ? LLM_OK : status;
}

llm_status session_batch_step(llm_batch *batch, size_t *running_out)
{
    size_t vocabulary = (size_t)batch->model->vocabulary;
    llm_status first_failure = LLM_OK;
    llm_status status;
    size_t parts;

    end_cancelled(batch);
    *running_out = count_running(batch);
    if (!*running_out)
        return LLM_OK;
    status = make_room(batch, *running_out);
    if (!status)
        status = prepare(batch);
    if (status)
        return status;
    parts = choose_parts(batch);
    status = stepper_run(&batch->stepper, batch->parts, parts, batch->logits);
    if (status)
        return status;
    for (size_t p = 0; p < parts; p++) {
        struct batch_member *member = &batch->members[batch->movers[p]];

        if (pending(batch, member))
            continue; /* its prompt goes on in the next step */
        status = advance(member, batch->logits + p * vocabulary);
        first_failure = first_failure ? first_failure : status;
    }
    *running_out = count_running(batch);
    return first_failure;
}
