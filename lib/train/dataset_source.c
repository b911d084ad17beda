/* SPDX-License-Identifier: MIT
 *
 * Where the documents of a dataset come from: files and directories, memory, a callback, ids. Knows
 * when a token cache may stand in for all of that.
 */
#include "train/dataset.h"

#include "base/checked.h"
#include "base/crc32c.h"
#include "base/directory.h"
#include "base/map.h"

#include <stdatomic.h>
#include <string.h>

enum { READ_BYTES = 1 << 20, MAX_NESTED = 64 };

/* Everything one build needs; freed by finish(). */
struct build {
    llm_context *context;
    llm_tokenizer *tokenizer;
    const llm_dataset_options *options;
    struct memory *memory;
    struct arena arena;
    char **paths; /* files only; directories are expanded */
    struct token_source *sources;
    size_t source_count, path_capacity, source_capacity;
    const char *const *texts; /* memory */
    const size_t *sizes;
    size_t text_count;
    llm_dataset_text_fn next; /* a stream */
    void *user;
    uint64_t bytes, total; /* progress */
    uint64_t fingerprint;
    struct token_sink sink;
    struct builder *builder;
    char *buffer;
};

static llm_status report(struct build *build)
{
    double fraction = build->total ? (double)build->bytes / (double)build->total : 0.0;

    if (!build->options->progress || build->options->progress(build->options->progress_user,
                                                              fraction < 1.0 ? fraction : 1.0) == 0)
        return LLM_OK;
    return status_set(LLM_E_CANCELLED, "cancelled while reading the dataset");
}

static llm_status add_file(struct build *build, const char *path, bool is_validation)
{
    struct token_source source = {.is_validation = is_validation,
                                  .name = hash_bytes(path, strlen(path))};
    size_t count = build->source_count;
    llm_status status = memory_grow(build->memory, (void **)&build->sources,
                                    &build->source_capacity, count + 1, sizeof *build->sources);

    if (!status)
        status = memory_grow(build->memory, (void **)&build->paths, &build->path_capacity,
                             count + 1, sizeof *build->paths);
    if (status)
        return status;
    if (!file_info(path, &source.size, &source.modified))
        return status_set(LLM_E_IO, "cannot open %s: no such file", path);
    build->paths[count] = arena_copy_text(&build->arena, path, strlen(path));
    if (!build->paths[count])
        return LLM_E_NOMEM;
    build->sources[build->source_count++] = source;
    build->total += source.size;
    return LLM_OK;
}

/* A directory's entries wait on a stack; sorted, so that the order is the same everywhere. */
struct level {
    const char *path;
    char **names;
    size_t count, next;
};

static llm_status enter(struct build *build, struct level *levels, size_t *depth, const char *path)
{
    struct level *level = &levels[*depth];

    if (*depth == MAX_NESTED)
        return status_set(LLM_E_RANGE, "%s: more than %d nested directories", path, MAX_NESTED);
    (*depth)++;
    level->path = path;
    level->next = 0;
    return directory_list(&level->names, &level->count, &build->arena, path);
}

static llm_status visit(struct build *build, struct level *levels, size_t *depth,
                        bool is_validation)
{
    struct level *level = &levels[*depth - 1];
    const char *name;
    char *joined, *path;
    llm_status status = LLM_OK;

    if (level->next == level->count) {
        (*depth)--;
        return LLM_OK;
    }
    name = level->names[level->next++];
    if (name[0] == '.')
        return LLM_OK;
    joined = file_join(build->memory, level->path, name);
    path = joined ? arena_copy_text(&build->arena, joined, strlen(joined)) : NULL;
    memory_release(build->memory, joined);
    if (!path)
        status = LLM_E_NOMEM;
    else if (file_is_directory(path))
        status = enter(build, levels, depth, path);
    else
        status = add_file(build, path, is_validation);
    return status;
}

static llm_status add_path(struct build *build, const char *path, bool is_validation)
{
    struct level levels[MAX_NESTED];
    size_t before = build->source_count;
    size_t depth = 0;
    llm_status status;

    if (!file_is_directory(path))
        return add_file(build, path, is_validation);
    status = enter(build, levels, &depth, path);
    while (!status && depth)
        status = visit(build, levels, &depth, is_validation);
    if (!status && build->source_count == before)
        status = status_set(LLM_E_INVALID, "%s: the directory holds no files", path);
    return status;
}

/* Calls `each` with the content of a file in pieces; it may stop with a status. */
static llm_status read_pieces(struct build *build, size_t index, uint32_t *crc_out, bool feed)
{
    struct file_reader reader;
    uint64_t position = 0;
    llm_status status = file_reader_open(&reader, build->memory, build->paths[index]);

    *crc_out = 0;
    if (!status && !build->buffer) {
        build->buffer = memory_alloc(build->memory, READ_BYTES);
        if (!build->buffer)
            status = LLM_E_NOMEM;
    }
    while (!status && position < reader.size) {
        uint64_t left = reader.size - position;
        size_t piece = left < READ_BYTES ? (size_t)left : READ_BYTES;

        status = file_reader_read(&reader, position, build->buffer, piece);
        if (status)
            break;
        position += piece;
        *crc_out = crc32c(*crc_out, build->buffer, piece);
        if (feed) {
            build->bytes += piece;
            status = builder_feed(build->builder, build->buffer, piece);
        }
        if (!status)
            status = report(build);
    }
    file_reader_close(&reader);
    return status;
}

static llm_status source_crc(void *arg, size_t index, uint32_t *crc_out)
{
    struct build *build = arg;

    if (build->paths)
        return read_pieces(build, index, crc_out, false);
    *crc_out = build->sources[index].crc;
    return LLM_OK;
}

static llm_status feed_files(struct build *build)
{
    llm_status status = LLM_OK;
    bool in_validation = false;

    for (size_t i = 0; i < build->source_count && !status; i++) {
        struct token_source *source = &build->sources[i];

        if (source->is_validation && !in_validation) {
            status = builder_flush(build->builder);
            if (status)
                break;
            token_sink_begin_validation(&build->sink);
            in_validation = true;
        }
        builder_begin(build->builder, build->paths[i], 0);
        status = read_pieces(build, i, &source->crc, true);
        if (!status)
            status = builder_end(build->builder);
    }
    return status;
}

static llm_status feed_text(struct build *build, const char *text, size_t size, int64_t number)
{
    llm_status status = LLM_OK;

    builder_begin(build->builder, NULL, number);
    while (size && !status) {
        size_t piece = size < READ_BYTES ? size : READ_BYTES;

        status = builder_feed(build->builder, text, piece);
        text += piece;
        size -= piece;
        build->bytes += piece;
        if (!status)
            status = report(build);
    }
    return status ? status : builder_end(build->builder);
}

static llm_status feed_stream(struct build *build)
{
    llm_status status = LLM_OK;

    for (int64_t number = 0; !status; number++) {
        const char *text = NULL;
        size_t size = 0;
        int32_t more = build->next(build->user, &text, &size);

        if (more == 0)
            break;
        if (more < 0)
            return status_set(LLM_E_CANCELLED, "the source of documents gave up at document %lld",
                              (long long)number);
        if (!text && size)
            return status_set(LLM_E_INVALID, "document %lld: text is NULL, size is %zu",
                              (long long)number, size);
        status = feed_text(build, text, size, number);
    }
    return status;
}

static llm_status feed_all(struct build *build)
{
    llm_status status = LLM_OK;

    if (build->paths)
        status = feed_files(build);
    else if (build->next)
        status = feed_stream(build);
    for (size_t i = 0; i < build->text_count && !status; i++)
        status = feed_text(build, build->texts[i], build->sizes[i], (int64_t)i);
    return status ? status : builder_flush(build->builder);
}

/* What else than the sources decides the tokens. */
static llm_status take_fingerprint(struct build *build)
{
    const llm_dataset_options *o = build->options;
    struct text text;

    text_init(&text, build->memory);
    tokenizer_write_json(build->tokenizer, &text);
    text_printf(&text, "\n%d %d %d %d ", o->append_eos, o->parse_special, o->invalid_text,
                tokenizer_special(build->tokenizer, LLM_TOKEN_EOS));
    if (o->cache_key)
        text_append_z(&text, o->cache_key);
    if (!text.failed)
        build->fingerprint = hash_bytes(text.data, text.size);
    text_free(&text);
    return text.failed ? LLM_E_NOMEM : LLM_OK;
}

static llm_status make_tokens(struct build *build, llm_dataset *dataset)
{
    const char *cache = build->options->cache;
    llm_status status =
        token_sink_open(&build->sink, build->memory, cache, dataset->vocab_size, dataset->end_id);

    if (!status)
        status = builder_new(&build->builder, build->context, build->tokenizer, &build->sink,
                             build->options);
    if (!status)
        status = feed_all(build);
    if (status)
        return status;
    if (build->sink.count == 0)
        return status_set(LLM_E_INVALID, "the dataset is empty: there is no text in its source");
    if (!cache) {
        token_sink_finish(&build->sink, &dataset->tokens);
        return LLM_OK;
    }
    return token_cache_commit(&build->sink, build->sources, build->source_count,
                              build->fingerprint);
}

static llm_status open_cache(struct build *build, llm_dataset *dataset, bool must_exist)
{
    char reason[128] = "";
    llm_status status = token_cache_open(&dataset->tokens, build->memory, build->options->cache,
                                         build->sources, build->source_count, build->fingerprint,
                                         dataset->vocab_size, source_crc, build, reason);

    if (status || dataset->tokens.ids)
        return status;
    if (must_exist)
        return status_set(LLM_E_IO, "%s: cannot use the cache just written: %s",
                          build->options->cache, reason);
    log_message(build->context, LLM_LOG_INFO, "%s: making the token cache: %s",
                build->options->cache, reason);
    return LLM_OK;
}

static int64_t next_document(const struct tokens *tokens, int64_t position)
{
    int64_t low = 0, high = tokens->documents;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (tokens->ends[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tokens->documents ? tokens->ends[low] : tokens->count;
}

static void split(llm_dataset *dataset, const llm_dataset_options *o)
{
    const struct tokens *tokens = &dataset->tokens;
    bool has_files = tokens->validation_start >= 0;
    int64_t main = has_files ? tokens->validation_start : tokens->count;
    double validation = has_files ? 0.0 : o->validation_fraction;
    int64_t train_end = (int64_t)((double)main * (1.0 - validation - o->test_fraction));
    int64_t test_begin = (int64_t)((double)main * (1.0 - o->test_fraction));

    if (o->split_by_document) {
        train_end = next_document(tokens, train_end);
        test_begin = next_document(tokens, test_begin);
    }
    train_end = train_end < main ? train_end : main;
    test_begin = test_begin < main ? test_begin : main;
    dataset->end[LLM_PART_TRAIN] = train_end;
    dataset->begin[LLM_PART_VALIDATION] = has_files ? main : train_end;
    dataset->end[LLM_PART_VALIDATION] = has_files ? tokens->count : test_begin;
    dataset->begin[LLM_PART_TEST] = has_files ? train_end : test_begin;
    dataset->end[LLM_PART_TEST] = main;
}

static llm_status start(struct build *build, llm_dataset **out, llm_context *context,
                        llm_tokenizer *tokenizer, const llm_dataset_options *options)
{
    llm_status status = dataset_check_options(options);
    llm_dataset *dataset;

    memset(build, 0, sizeof *build);
    build->context = context;
    build->memory = &context->memory;
    build->tokenizer = tokenizer;
    build->options = options;
    arena_init(&build->arena, build->memory);
    *out = NULL;
    if (status)
        return status;
    dataset = memory_alloc_zeroed(build->memory, 1, sizeof *dataset);
    if (!dataset)
        return LLM_E_NOMEM;
    atomic_init(&dataset->references, 1);
    dataset->context = context_retain(context);
    dataset->end_id = -1;
    if (tokenizer) {
        dataset->tokenizer = tokenizer_retain(tokenizer);
        dataset->vocab_size = tokenizer_vocab_size(tokenizer);
        dataset->end_id = tokenizer_special(tokenizer, LLM_TOKEN_EOS);
    }
    *out = dataset;
    return LLM_OK;
}

static llm_status run(struct build *build, llm_dataset *dataset)
{
    bool has_cache = build->options->cache != NULL;
    llm_status status = report(build);

    if (!status && has_cache)
        status = take_fingerprint(build);
    if (!status && has_cache)
        status = open_cache(build, dataset, false);
    dataset->is_from_cache = dataset->tokens.ids != NULL;
    if (!status && !dataset->is_from_cache)
        status = make_tokens(build, dataset);
    if (!status && has_cache && !dataset->is_from_cache)
        status = open_cache(build, dataset, true);
    return status;
}

/* The end of every llm_dataset_from_*(): splits, cleans up, hands over or gives up. */
static llm_status finish(struct build *build, llm_dataset **out, llm_status status)
{
    if (!status)
        split(*out, build->options);
    builder_free(build->builder);
    token_sink_free(&build->sink);
    memory_release(build->memory, build->buffer);
    memory_release(build->memory, build->paths);
    memory_release(build->memory, build->sources);
    arena_free(&build->arena);
    if (status) {
        dataset_release(*out);
        *out = NULL;
    }
    return status;
}

llm_status dataset_from_files(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                              const char *const *paths, size_t count,
                              const llm_dataset_options *options)
{
    struct build build;
    llm_status status = start(&build, out, context, tokenizer, options);

    for (size_t i = 0; i < count && !status; i++)
        status = add_path(&build, paths[i], false);
    for (size_t i = 0; i < options->validation_count && !status; i++)
        status = add_path(&build, options->validation_files[i], true);
    if (!status)
        status = run(&build, *out);
    return finish(&build, out, status);
}

/* One record stands for all texts of a call. */
static llm_status describe_texts(struct build *build)
{
    struct token_source *source = memory_alloc_zeroed(build->memory, 1, sizeof *source);

    if (!source)
        return LLM_E_NOMEM;
    build->sources = source;
    build->source_count = 1;
    for (size_t i = 0; i < build->text_count; i++) {
        uint64_t size = build->sizes[i];

        build->total += size;
        if (!build->options->cache)
            continue;
        source->crc = crc32c(source->crc, &size, sizeof size);
        source->crc = crc32c(source->crc, build->texts[i], build->sizes[i]);
    }
    source->size = build->total;
    source->modified = (int64_t)source->crc; /* a fast answer that is right as well */
    return LLM_OK;
}

llm_status dataset_from_texts(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                              const char *const *texts, const size_t *sizes, size_t count,
                              const llm_dataset_options *options)
{
    struct build build;
    llm_status status = start(&build, out, context, tokenizer, options);

    build.texts = texts;
    build.sizes = sizes;
    build.text_count = count;
    if (!status)
        status = describe_texts(&build);
    if (!status)
        status = run(&build, *out);
    return finish(&build, out, status);
}

llm_status dataset_from_stream(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                               llm_dataset_text_fn next, void *user,
                               const llm_dataset_options *options)
{
    struct build build;
    llm_status status = start(&build, out, context, tokenizer, options);

    build.next = next;
    build.user = user;
    if (!status && options->cache && !options->cache_key)
        status = status_set(LLM_E_INVALID, "a stream needs cache_key to be cached");
    if (!status)
        status = describe_texts(&build);
    if (!status)
        status = run(&build, *out);
    return finish(&build, out, status);
}

llm_status dataset_from_ids(llm_dataset **out, llm_context *context, const int32_t *ids,
                            size_t count, int32_t vocab_size, int32_t end_id,
                            const llm_dataset_options *options)
{
    struct build build;
    llm_status status = start(&build, out, context, NULL, options);

    if (!status && options->cache)
        status = status_set(LLM_E_INVALID, "cache: ids need none");
    for (size_t i = 0; i < count && !status; i++) {
        if (ids[i] < 0 || ids[i] >= vocab_size)
            status =
                status_set(LLM_E_RANGE, "ids[%zu] is %d, outside 0..%d", i, ids[i], vocab_size - 1);
    }
    if (!status && count == 0)
        status = status_set(LLM_E_INVALID, "the dataset is empty: count is 0");
    if (!status)
        status = token_sink_open(&build.sink, build.memory, NULL, vocab_size, end_id);
    if (!status)
        status = token_sink_append(&build.sink, ids, count);
    if (!status)
        status = token_sink_end_document(&build.sink);
    if (!status) {
        (*out)->vocab_size = vocab_size;
        (*out)->end_id = end_id;
        token_sink_finish(&build.sink, &(*out)->tokens);
    }
    return finish(&build, out, status);
}
