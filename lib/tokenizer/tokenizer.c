/* SPDX-License-Identifier: MIT
 *
 * Lifetime of a tokenizer, its scratch memory, lists of ids, and the questions one can ask it.
 */
#include "base/checked.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/pipeline.h"

#include <string.h>

void token_list_init(struct token_list *list, struct memory *memory)
{
    *list = (struct token_list){.memory = memory};
}

void token_list_borrow(struct token_list *list, struct memory *memory, int32_t *ids,
                       size_t capacity)
{
    *list = (struct token_list){.memory = memory, .ids = ids, .capacity = capacity, .fixed = true};
}

llm_status token_list_reserve(struct token_list *list, size_t more)
{
    struct token_list own = {.memory = list->memory};
    llm_status status;

    if (more <= list->capacity - list->count)
        return LLM_OK;
    if (!list->fixed)
        return memory_grow(list->memory, (void **)&list->ids, &list->capacity, list->count + more,
                           sizeof *list->ids);
    status = memory_grow(list->memory, (void **)&own.ids, &own.capacity, list->count + more,
                         sizeof *own.ids);
    if (status)
        return status;
    if (list->count)
        memcpy(own.ids, list->ids, list->count * sizeof *own.ids);
    own.count = list->count;
    *list = own;
    return LLM_OK;
}

void token_list_free(struct token_list *list)
{
    if (list->memory && !list->fixed)
        memory_release(list->memory, list->ids);
    *list = (struct token_list){.memory = list->memory};
}

llm_status tokenizer_new(llm_tokenizer **out, llm_context *context)
{
    llm_tokenizer *tokenizer = memory_alloc_zeroed(&context->memory, 1, sizeof *tokenizer);

    *out = tokenizer;
    if (!tokenizer)
        return LLM_E_NOMEM;
    atomic_init(&tokenizer->references, 1);
    tokenizer->context = context_retain(context);
    vocab_init(&tokenizer->vocab, &context->memory);
    added_init(&tokenizer->added, &context->memory);
    for (size_t i = 0; i < sizeof tokenizer->special / sizeof *tokenizer->special; i++)
        tokenizer->special[i] = -1;
    return LLM_OK;
}

llm_tokenizer *tokenizer_retain(const llm_tokenizer *tokenizer)
{
    llm_tokenizer *shared = (llm_tokenizer *)tokenizer;

    atomic_fetch_add(&shared->references, 1);
    return shared;
}

static void scratch_free(struct scratch *scratch)
{
    if (!scratch)
        return;
    memory_release(scratch->memory, scratch->cache);
    memory_release(scratch->memory, scratch->memo);
    memory_release(scratch->memory, scratch->word_ends);
    for (size_t i = 0; i < sizeof scratch->work / sizeof *scratch->work; i++)
        memory_release(scratch->memory, scratch->work[i]);
    normalizer_work_free(&scratch->normalizing);
    mapped_free(&scratch->section);
    words_free(&scratch->words);
    memory_release(scratch->memory, scratch->ends.list);
    memory_release(scratch->memory, scratch);
}

llm_status end_list_add(struct end_list *ends, size_t end)
{
    if (ends->count == ends->capacity) {
        llm_status status = memory_grow(ends->memory, (void **)&ends->list, &ends->capacity,
                                        ends->count + 1, sizeof *ends->list);

        if (status)
            return status;
    }
    ends->list[ends->count++] = end;
    return LLM_OK;
}

void tokenizer_release(llm_tokenizer *tokenizer)
{
    llm_context *context;

    if (!tokenizer || atomic_fetch_sub(&tokenizer->references, 1) != 1)
        return;
    context = tokenizer->context;
    for (size_t i = 0; i < SCRATCH_SLOTS; i++)
        scratch_free(atomic_load(&tokenizer->scratches[i]));
    byte_trie_free(atomic_load(&tokenizer->byte_trie), &context->memory);
    if (tokenizer->algorithm && tokenizer->model)
        tokenizer->algorithm->free(tokenizer);
    post_free(tokenizer);
    normalizer_free(&tokenizer->normalizer);
    pre_tokenizer_free(&tokenizer->pre_tokenizer);
    token_decoder_free(&tokenizer->decoder);
    for (size_t i = 0; i < STAGE_COUNT; i++)
        memory_release(&context->memory, tokenizer->stage_json[i]);
    memory_release(&context->memory, tokenizer->config);
    added_free(&tokenizer->added);
    vocab_free(&tokenizer->vocab);
    memory_release(&context->memory, tokenizer);
    context_release(context);
}

struct scratch *scratch_take(const llm_tokenizer *tokenizer)
{
    llm_tokenizer *shared = (llm_tokenizer *)tokenizer;
    struct memory *memory = &tokenizer->context->memory;
    struct scratch *scratch;

    for (size_t i = 0; i < SCRATCH_SLOTS; i++) {
        if (!atomic_load_explicit(&shared->scratches[i], memory_order_relaxed))
            continue;
        scratch = atomic_exchange(&shared->scratches[i], NULL);
        if (scratch)
            return scratch;
    }
    scratch = memory_alloc_zeroed(memory, 1, sizeof *scratch);
    if (!scratch)
        return NULL;
    scratch->memory = memory;
    normalizer_work_init(&scratch->normalizing, memory);
    mapped_init(&scratch->section, memory);
    words_init(&scratch->words, memory);
    scratch->ends.memory = memory;
    scratch->word_ends = memory_alloc_array(memory, SCRATCH_ENDS, sizeof *scratch->word_ends);
    if (!scratch->word_ends) {
        scratch_free(scratch);
        return NULL;
    }
    return scratch;
}

enum { TRIM_BYTES = 1 << 20 };

/* Long words may have grown the work arrays; what one call in a million needs is not kept. */
static void scratch_trim(struct scratch *scratch)
{
    for (size_t i = 0; i < sizeof scratch->work / sizeof *scratch->work; i++) {
        if (scratch->work_capacity[i] > 65536) {
            memory_release(scratch->memory, scratch->work[i]);
            scratch->work[i] = NULL;
            scratch->work_capacity[i] = 0;
        }
    }
    if (scratch->section.capacity + scratch->words.text.capacity + scratch->words.spare.capacity +
            scratch->normalizing.texts[0].capacity + scratch->normalizing.items_capacity * 16 >
        TRIM_BYTES) {
        struct memory *memory = scratch->memory;

        normalizer_work_free(&scratch->normalizing);
        mapped_free(&scratch->section);
        words_free(&scratch->words);
        normalizer_work_init(&scratch->normalizing, memory);
        words_init(&scratch->words, memory);
    }
}

void scratch_give(const llm_tokenizer *tokenizer, struct scratch *scratch)
{
    llm_tokenizer *shared = (llm_tokenizer *)tokenizer;

    if (!scratch)
        return;
    scratch_trim(scratch);
    for (size_t i = 0; i < SCRATCH_SLOTS; i++) {
        struct scratch *expected = NULL;

        if (atomic_compare_exchange_strong(&shared->scratches[i], &expected, scratch))
            return;
    }
    scratch_free(scratch);
}

llm_context *tokenizer_context(const llm_tokenizer *tokenizer)
{
    return tokenizer->context;
}

struct memory *tokenizer_memory(const llm_tokenizer *tokenizer)
{
    return &tokenizer->context->memory;
}

int tokenizer_threads(const llm_tokenizer *tokenizer)
{
    return tokenizer->context->threads;
}

bool tokenizer_decodes_plainly(const llm_tokenizer *tokenizer)
{
    return tokenizer->plain_decoding;
}

int32_t tokenizer_kind(const llm_tokenizer *tokenizer)
{
    return tokenizer->kind;
}

int32_t tokenizer_vocab_size(const llm_tokenizer *tokenizer)
{
    return (int32_t)tokenizer->vocab.size;
}

int32_t tokenizer_special(const llm_tokenizer *tokenizer, int32_t role)
{
    return role >= LLM_TOKEN_BOS && role <= LLM_TOKEN_PAD ? tokenizer->special[role] : -1;
}

bool tokenizer_has(const llm_tokenizer *tokenizer, int32_t id)
{
    return vocab_has(&tokenizer->vocab, id);
}

bool tokenizer_is_special(const llm_tokenizer *tokenizer, int32_t id)
{
    return vocab_has(&tokenizer->vocab, id) && (tokenizer->vocab.flags[id] & VOCAB_SPECIAL);
}

const char *tokenizer_token(const llm_tokenizer *tokenizer, int32_t id, size_t *size_out)
{
    *size_out = tokenizer->vocab.entries[id].size;
    return vocab_bytes(&tokenizer->vocab, id);
}

int32_t tokenizer_find(const llm_tokenizer *tokenizer, const char *text, size_t size)
{
    int32_t id = vocab_find(&tokenizer->vocab, text, size);
    const struct added_token *token = id < 0 ? added_find(&tokenizer->added, text, size) : NULL;

    return token ? token->id : id;
}

void tokenizer_name_special(llm_tokenizer *tokenizer, int32_t role, const char *text, size_t size)
{
    const struct added_token *token = added_find(&tokenizer->added, text, size);

    if (tokenizer->special[role] >= 0)
        return;
    tokenizer->special[role] = token ? token->id : vocab_find(&tokenizer->vocab, text, size);
}

void tokenizer_guess_special(llm_tokenizer *tokenizer)
{
    static const struct {
        int32_t role;
        const char *text;
    } names[] = {
        {LLM_TOKEN_BOS, "<|begin_of_text|>"},
        {LLM_TOKEN_BOS, "<s>"},
        {LLM_TOKEN_BOS, "<bos>"},
        {LLM_TOKEN_BOS, "[BOS]"},
        {LLM_TOKEN_BOS, "<|endoftext|>"},
        {LLM_TOKEN_EOS, "<|end_of_text|>"},
        {LLM_TOKEN_EOS, "</s>"},
        {LLM_TOKEN_EOS, "<eos>"},
        {LLM_TOKEN_EOS, "[EOS]"},
        {LLM_TOKEN_EOS, "<|endoftext|>"},
        {LLM_TOKEN_UNK, "<unk>"},
        {LLM_TOKEN_UNK, "[UNK]"},
        {LLM_TOKEN_PAD, "<pad>"},
        {LLM_TOKEN_PAD, "[PAD]"},
        {LLM_TOKEN_PAD, "<|pad|>"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct added_token *token =
            added_find(&tokenizer->added, names[i].text, strlen(names[i].text));

        if (token && (token->flags & ADDED_SPECIAL) && tokenizer->special[names[i].role] < 0)
            tokenizer->special[names[i].role] = token->id;
    }
}

/* The decoder of tokenizers that were not read from JSON. */
static llm_status make_decoder(llm_tokenizer *tokenizer)
{
    const char *json = tokenizer->kind == LLM_TOKENIZER_CHARACTERS
                           ? "{\"type\": \"Fuse\"}"
                           : "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                             "\"trim_offsets\": true, \"use_regex\": true}";
    struct memory *memory = &tokenizer->context->memory;
    json_t *root = NULL;
    llm_status status = json_open(&root, json, strlen(json), "decoder");

    if (!status)
        status = token_decoder_read(&tokenizer->decoder, memory, root);
    if (!status)
        status = tokenizer_keep_json(tokenizer, &tokenizer->stage_json[STAGE_DECODER], root);
    json_decref(root);
    return status;
}

/* Added tokens that look at normalized text are looked for in their own normalized form. */
static llm_status normalize_added(llm_tokenizer *tokenizer)
{
    struct added_tokens *added = &tokenizer->added;
    struct scratch *scratch;
    llm_status status = LLM_OK;

    if (tokenizer->normalizer.count == 0 || added->count == 0)
        return LLM_OK;
    scratch = scratch_take(tokenizer);
    if (!scratch)
        return LLM_E_NOMEM;
    added_forget_normalized(added);
    for (size_t i = 0; i < added->count && !status; i++) {
        if (!(added->tokens[i].flags & ADDED_NORMALIZED))
            continue;
        status = mapped_load(&scratch->section, added->tokens[i].text, added->tokens[i].size, false,
                             true, true);
        if (!status)
            status = normalizer_run(&tokenizer->normalizer, &scratch->normalizing,
                                    &scratch->section, &scratch->words.spare);
        if (!status)
            status = added_put_normalized(added, i, scratch->section.data, scratch->section.size);
        if (added->tokens[i].normal)
            tokenizer->plain_decoding = false;
    }
    scratch_give(tokenizer, scratch);
    return status;
}

static bool is_letter(char c)
{
    return (unsigned)((c | 0x20) - 'a') < 26;
}

/* Can the text of a token stand across a cut in front of a space behind a letter, or does the token
 * look across one? */
static bool crosses_cuts(const struct added_token *token)
{
    for (size_t i = 1; i < token->size; i++) {
        if (token->text[i] == ' ' && is_letter(token->text[i - 1]))
            return true;
    }
    if (token->normal || ((token->flags & ADDED_SINGLE_WORD) && token->text[0] == ' '))
        return true;
    return (token->flags & ADDED_RSTRIP) && is_letter(token->text[token->size - 1]);
}

static bool cuts_at_space(const llm_tokenizer *tokenizer)
{
    bool cuts = true;

    for (size_t i = 0; i < tokenizer->added.count && cuts; i++)
        cuts = !crosses_cuts(&tokenizer->added.tokens[i]);
    for (size_t i = 0; i < tokenizer->normalizer.count && cuts; i++)
        cuts = tokenizer->normalizer.stages[i].type->local;
    if (tokenizer->direct) /* without words, the whole text is one */
        return cuts && ((tokenizer->split && tokenizer->split->id != LLM_SPLIT_NONE) ||
                        tokenizer->kind == LLM_TOKENIZER_BYTES ||
                        tokenizer->kind == LLM_TOKENIZER_CHARACTERS);
    for (size_t i = 0; i < tokenizer->pre_tokenizer.count && cuts; i++)
        cuts = tokenizer->pre_tokenizer.stages[i].type->local;
    if (tokenizer->pre_tokenizer.count == 0)
        return false;
    /* The first stage cuts at spaces, so the others see words that no cut of ours divides. */
    return cuts && tokenizer->pre_tokenizer.stages[0].type->cuts_spaces;
}

llm_status tokenizer_finish(llm_tokenizer *tokenizer)
{
    llm_status status = normalize_added(tokenizer);

    if (!status)
        status = post_finish(tokenizer);
    if (!status && tokenizer->direct && !tokenizer->stage_json[STAGE_PRE_TOKENIZER] &&
        (tokenizer->split || tokenizer->kind == LLM_TOKENIZER_CHARACTERS))
        status = pre_tokenizer_make(tokenizer);
    if (!status && tokenizer->plain_decoding && !tokenizer->stage_json[STAGE_DECODER])
        status = make_decoder(tokenizer);
    if (!tokenizer->direct || tokenizer->normalizer.count > 0) {
        size_t growth = normalizer_growth(&tokenizer->normalizer);

        if (!checked_mul(growth, pre_tokenizer_growth(&tokenizer->pre_tokenizer), &growth))
            growth = SIZE_MAX;
        /* A byte that is not UTF-8 becomes three, but one character. */
        if (tokenizer->kind != LLM_TOKENIZER_WORDPIECE && tokenizer->kind != LLM_TOKENIZER_WORDS &&
            !checked_mul(growth, 3, &growth))
            growth = SIZE_MAX;
        tokenizer->growth = growth;
    }
    tokenizer->cuts_at_space = !status && cuts_at_space(tokenizer);
    tokenizer_guess_special(tokenizer);
    return status;
}
