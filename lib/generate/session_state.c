/* SPDX-License-Identifier: MIT
 *
 * A session as bytes. Little-endian:
 *
 *     header      struct state_header below
 *     ids         [length] i32
 *     logits      [V] f32, if logits_length is not 0: those after the text
 *     layers      of each layer and each page in use, the page as kernels/attention.h lays it out;
 *                 positions that hold no token are zero
 *     checksum    u32, CRC-32C of all bytes before
 *
 * Nothing of it is believed before the sizes agree with the model and the checksum with the bytes.
 */
#include "base/checked.h"
#include "base/crc32c.h"
#include "base/map.h"
#include "generate/session.h"
#include "kernels/attention.h"

#include <string.h>

enum { STATE_VERSION = 1 };

static const char magic[8] = {'L', 'L', 'M', 'S', 'T', 'A', 'T', 'E'};

struct state_header {
    char magic[8];
    uint32_t version;
    uint32_t page_tokens;
    uint64_t fingerprint;
    int32_t layers, kv_heads, head_dim, is_long;
    int64_t vocabulary;
    int64_t length, appended, held, logits_length;
};

_Static_assert(sizeof(struct state_header) == 80, "no padding");

/* ---- fingerprint ------------------------------------------------------------------------------
 */

/* Configuration, names and shapes of all parameters, and some bytes of each. */
static uint64_t fingerprint(const llm_model *model)
{
    enum { SAMPLE = 4096 };
    uint64_t hash = hash_bytes(model->text.data, model->text.size);

    for (size_t i = 0; i < model->params.count; i++) {
        const llm_tensor *tensor = model->params.list[i].tensor;
        const char *name = model->params.list[i].name;
        size_t bytes = 0;
        uint64_t parts[5] = {
            hash, hash_bytes(name, strlen(name)),
            hash_bytes(tensor->shape, sizeof tensor->shape[0] * (size_t)tensor->dimensions),
            (uint64_t)tensor->dtype, 0};

        if (tensor->storage && dtype_bytes(tensor->dtype, tensor_count(tensor), &bytes)) {
            const char *data = tensor->packed ? tensor->storage->data : tensor->data;
            size_t sample = bytes < SAMPLE ? bytes : SAMPLE;

            parts[4] = hash_bytes(data, sample) ^ hash_bytes(data + (bytes - sample) / 2, sample) ^
                       hash_bytes(data + bytes - sample, sample) << 1;
        }
        hash = hash_bytes(parts, sizeof parts);
    }
    return hash;
}

/* ---- sizes ------------------------------------------------------------------------------------
 */

static size_t layer_bytes(const llm_model *model)
{
    const struct attention_cache layout = {.type = ATTENTION_CACHE_F32,
                                           .kv_heads = model->kv_heads,
                                           .head_dim = model->head_dim,
                                           .page_tokens = KV_PAGE_TOKENS};

    return attention_page_bytes(&layout);
}

static bool state_size(const struct state_header *header, const llm_model *model, size_t *out)
{
    size_t pages = (size_t)((header->held + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS);
    size_t cells = header->logits_length ? (size_t)header->vocabulary : 0;
    size_t bytes;

    return checked_mul(pages, (size_t)model->layers, &bytes) &&
           checked_mul(bytes, layer_bytes(model), &bytes) &&
           checked_add(cells, (size_t)header->length, &cells) && checked_mul(cells, 4, &cells) &&
           checked_add(bytes, cells, &bytes) &&
           checked_add(bytes, sizeof *header + sizeof(uint32_t), out);
}

/* ---- saving -----------------------------------------------------------------------------------
 */

static struct state_header describe(llm_session *session)
{
    const llm_model *model = session->model;
    struct state_header header = {.version = STATE_VERSION,
                                  .page_tokens = KV_PAGE_TOKENS,
                                  .fingerprint = fingerprint(model),
                                  .layers = model->layers,
                                  .kv_heads = model->kv_heads,
                                  .head_dim = model->head_dim,
                                  .is_long = session->is_long,
                                  .vocabulary = model->vocabulary,
                                  .length = (int64_t)session->length,
                                  .appended = (int64_t)session->appended,
                                  .held = kv_cache_length(session->cache, session->sequence),
                                  .logits_length = 0};

    if (session->logits_length == session->length) /* else they are of another text */
        header.logits_length = header.length;
    memcpy(header.magic, magic, sizeof magic);
    return header;
}

/* Keys stand in columns, values in rows, head after head. */
static void clear_unused(char *page, const llm_model *model, int64_t used)
{
    size_t width = ((size_t)model->head_dim + 15) / 16 * 16;
    float *values = (float *)(void *)page;

    for (int32_t head = 0; head < model->kv_heads; head++) {
        for (size_t d = 0; d < width; d++) {
            for (int64_t t = d < (size_t)model->head_dim ? used : 0; t < KV_PAGE_TOKENS; t++)
                values[d * KV_PAGE_TOKENS + (size_t)t] = 0.0f;
        }
        values += width * KV_PAGE_TOKENS;
        for (int64_t t = 0; t < KV_PAGE_TOKENS; t++) {
            for (size_t d = t < used ? (size_t)model->head_dim : 0; d < width; d++)
                values[(size_t)t * width + d] = 0.0f;
        }
        values += width * KV_PAGE_TOKENS;
    }
}

static void append_pages(struct text *out, llm_session *session, int64_t held)
{
    size_t bytes = layer_bytes(session->model);
    int64_t pages = (held + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;

    for (int32_t layer = 0; layer < session->model->layers; layer++) {
        int64_t count;
        void *const *data = kv_cache_pages(session->cache, session->sequence, layer, &count);

        for (int64_t p = 0; p < pages && !out->failed; p++) {
            int64_t used = held - p * KV_PAGE_TOKENS;

            text_append(out, data[p], bytes);
            if (!out->failed)
                clear_unused(out->data + out->size - bytes, session->model,
                             used < KV_PAGE_TOKENS ? used : KV_PAGE_TOKENS);
        }
    }
}

llm_status session_save(llm_session *session, struct text *out)
{
    struct state_header header = describe(session);
    uint32_t checksum;

    text_append(out, &header, sizeof header);
    text_append(out, session->ids, session->length * sizeof *session->ids);
    if (header.logits_length)
        text_append(out, session->logits, (size_t)header.vocabulary * sizeof(float));
    append_pages(out, session, header.held);
    if (out->failed)
        return LLM_E_NOMEM;
    checksum = crc32c(0, out->data, out->size);
    text_append(out, &checksum, sizeof checksum);
    return out->failed ? LLM_E_NOMEM : LLM_OK;
}

/* ---- restoring --------------------------------------------------------------------------------
 */

static llm_status check_header(const struct state_header *header, const llm_session *session,
                               size_t size)
{
    const llm_model *model = session->model;
    size_t wanted;

    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return status_set(LLM_E_FORMAT, "session state: it does not begin as one");
    if (header->version != STATE_VERSION)
        return status_set(LLM_E_UNSUPPORTED, "session state: version %u, known is %d",
                          header->version, STATE_VERSION);
    if (header->layers != model->layers || header->kv_heads != model->kv_heads ||
        header->head_dim != model->head_dim || header->vocabulary != model->vocabulary ||
        header->page_tokens != KV_PAGE_TOKENS || header->fingerprint != fingerprint(model))
        return status_set(LLM_E_INVALID, "session state: it is of another model");
    if (header->length < 0 || header->length > INT32_MAX || header->held < 0 ||
        header->held > header->length || header->appended < 0 ||
        header->appended > header->length || header->is_long < 0 || header->is_long > 1 ||
        (header->logits_length != 0 && header->logits_length != header->length) ||
        !state_size(header, model, &wanted) || wanted != size)
        return status_set(LLM_E_FORMAT, "session state: its sizes do not agree");
    if (header->length > session->limit)
        return status_set(LLM_E_RANGE, "session state: %lld tokens, room for %lld",
                          (long long)header->length, (long long)session->limit);
    return LLM_OK;
}

static llm_status check_content(const struct state_header *header, const llm_session *session,
                                const char *data, size_t size)
{
    const char *at = data + sizeof *header;
    uint32_t checksum;

    memcpy(&checksum, data + size - sizeof checksum, sizeof checksum);
    if (crc32c(0, data, size - sizeof checksum) != checksum)
        return status_set(LLM_E_FORMAT, "session state: the checksum is wrong");
    for (int64_t i = 0; i < header->length; i++) {
        int32_t id;

        memcpy(&id, at + (size_t)i * sizeof id, sizeof id);
        if (id < 0 || id >= session->model->vocabulary)
            return status_set(LLM_E_FORMAT, "session state: token %lld is %d", (long long)i, id);
    }
    return LLM_OK;
}

/* A new sequence that holds the saved pages. */
static llm_status read_pages(int32_t *sequence, llm_session *session, int64_t held,
                             const char *data)
{
    size_t bytes = layer_bytes(session->model);
    int64_t pages = (held + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    llm_status status = kv_cache_add(session->cache, sequence);

    if (!status)
        status = kv_cache_reserve(session->cache, *sequence, held);
    if (status)
        return status;
    for (int32_t layer = 0; layer < session->model->layers; layer++) {
        int64_t count;
        void *const *to = kv_cache_pages(session->cache, *sequence, layer, &count);

        for (int64_t p = 0; p < pages; p++, data += bytes)
            memcpy(to[p], data, bytes);
    }
    kv_cache_commit(session->cache, *sequence, held);
    return LLM_OK;
}

llm_status session_restore(llm_session *session, const char *data, size_t size)
{
    struct state_header header;
    const char *at = data + sizeof header;
    int32_t sequence = -1;
    llm_status status;

    if (size < sizeof header + sizeof(uint32_t))
        return status_set(LLM_E_FORMAT, "session state: %zu bytes are too few", size);
    memcpy(&header, data, sizeof header);
    status = check_header(&header, session, size);
    if (!status)
        status = check_content(&header, session, data, size);
    if (!status)
        status = memory_grow(&session->context->memory, (void **)&session->ids, &session->capacity,
                             (size_t)header.length, sizeof *session->ids);
    if (!status)
        status = read_pages(&sequence, session, header.held,
                            at + (size_t)header.length * sizeof(int32_t) +
                                (header.logits_length ? (size_t)header.vocabulary * 4 : 0));
    if (status) {
        kv_cache_remove(session->cache, sequence);
        return status;
    }
    session_reset(session);
    kv_cache_remove(session->cache, session->sequence);
    session->sequence = sequence;
    if (header.length)
        memcpy(session->ids, at, (size_t)header.length * sizeof *session->ids);
    at += (size_t)header.length * sizeof *session->ids;
    if (header.logits_length)
        memcpy(session->logits, at, (size_t)header.vocabulary * sizeof *session->logits);
    session->length = (size_t)header.length;
    session->appended = (size_t)header.appended;
    session->logits_length = (size_t)header.logits_length;
    session->is_long = header.is_long != 0;
    return LLM_OK;
}
