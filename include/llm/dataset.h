/* SPDX-License-Identifier: MIT
 *
 * Datasets: text turned into one long row of token ids, split into training, validation and test
 * parts. Made from files, memory, a callback or ids; kept in memory or in a cache file.
 */
#ifndef LLM_DATASET_H
#define LLM_DATASET_H

#include "chat.h"
#include "model.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Token ids and where they are split. Immutable after creation, so any number of threads may share
 *  it. Reference-counted inside; keeps its tokenizer alive. */
typedef struct llm_dataset llm_dataset;

/** The parts of a dataset. Values are pinned. */
enum { LLM_PART_TRAIN = 0, LLM_PART_VALIDATION = 1, LLM_PART_TEST = 2 };

/** What to do with text that is not valid UTF-8 or that holds NUL bytes. Values are pinned. */
enum {
    LLM_TEXT_STRICT = 0,  /**< LLM_E_FORMAT, naming the file and the byte */
    LLM_TEXT_REPLACE = 1, /**< invalid bytes become U+FFFD; NUL is kept */
    LLM_TEXT_RAW = 2      /**< bytes as they are, for byte-level tokenizers */
};

/** Options of the functions that create a dataset. Fill with llm_dataset_options_init(). */
typedef struct llm_dataset_options {
    size_t struct_size;         /**< set by llm_dataset_options_init() */
    double validation_fraction; /**< of the tokens, at the end, before the test part; default 0.1 */
    double test_fraction;       /**< of the tokens, at the very end; default 0 */
    /** Files (or directories of files) that are the validation part instead of a fraction. Only
     * with llm_dataset_from_files(). Each NUL-terminated; NULL with validation_count 0: none. */
    const char *const *validation_files;
    size_t validation_count;
    /** Path of a token cache: used if it was made from the same tokenizer, options and sources,
     * made (again) otherwise, atomically; then read through a memory map, so that text and tokens
     * may be larger than memory. NULL (default): tokens are kept in memory. */
    const char *cache;
    /** Names the content of a stream, which has no size or date to know it by; needed for `cache`
     *  with llm_dataset_from_stream(), added to what is compared elsewhere. NULL: none. */
    const char *cache_key;
    llm_progress_fn progress; /**< NULL: none. Fractions are of the bytes of the sources. */
    void *progress_user;
    int32_t append_eos;    /**< 1 (default): put the tokenizer's end-of-text token, if it has one,
                                after each document. 0: don't. */
    int32_t parse_special; /**< 1: special tokens written out in the text become those tokens, so
                                that "<|endoftext|>" separates documents; default 0 */
    int32_t invalid_text;  /**< LLM_TEXT_*; default LLM_TEXT_STRICT */
    int32_t split_by_document; /**< 1: splits begin at the next document; default 0 */
} llm_dataset_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_dataset_options). */
LLM_API llm_status llm_dataset_options_init(llm_dataset_options *options, size_t struct_size);

/** From text files; each is one document. A directory stands for all files below it whose names
 * (and whose directories' names) do not begin with '.', in the order of their names. Files are read
 * in pieces and tokenized on all threads; they may be larger than memory when there is a cache.
 *  @param out receives the dataset, NULL on failure; free with llm_dataset_free().
 *  @param paths `count` paths, each NUL-terminated UTF-8.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID (also: no text at all), LLM_E_RANGE, LLM_E_IO, LLM_E_FORMAT,
 *  LLM_E_CANCELLED, LLM_E_NOMEM; messages name the file. @threads any. */
LLM_API llm_status llm_dataset_from_files(llm_dataset **out, llm_context *context,
                                          llm_tokenizer *tokenizer, const char *const *paths,
                                          size_t count, const llm_dataset_options *options);

/** From texts in memory; each is one document. As llm_dataset_from_files(). */
LLM_API llm_status llm_dataset_from_texts(llm_dataset **out, llm_context *context,
                                          llm_tokenizer *tokenizer, const char *const *texts,
                                          const size_t *sizes, size_t count,
                                          const llm_dataset_options *options);

/** Source of documents: sets *text and *size to the next one, valid until the next call, and
 * returns 1; returns 0 after the last one and anything negative to give up (LLM_E_CANCELLED). */
typedef int32_t (*llm_dataset_text_fn)(void *user, const char **text, size_t *size);

/** From a callback, called on the calling thread. As llm_dataset_from_files(). */
LLM_API llm_status llm_dataset_from_stream(llm_dataset **out, llm_context *context,
                                           llm_tokenizer *tokenizer, llm_dataset_text_fn next,
                                           void *user, const llm_dataset_options *options);

/** From ids, which are copied. There is no tokenizer; ids are checked against `vocab_size`.
 *  @param end_id an id that ends a document, for split_by_document and trainers that keep documents
 *  apart; -1: none. */
LLM_API llm_status llm_dataset_from_ids(llm_dataset **out, llm_context *context, const int32_t *ids,
                                        size_t count, int32_t vocab_size, int32_t end_id,
                                        const llm_dataset_options *options);

/** Source of examples: sets *ids to the next one's tokens, *learn to one byte for each of them (1:
 * to be learned, 0: only read; NULL: all are learned) and *count, all valid until the next call,
 * and returns 1; returns 0 after the last one and anything negative to give up (LLM_E_CANCELLED).
 */
typedef int32_t (*llm_dataset_example_fn)(void *user, const int32_t **ids, const uint8_t **learn,
                                          size_t *count);

/** From examples of at least two tokens, for fine-tuning. A trainer takes whole examples, `batch`
 * of them per forward pass, packed without padding; each attends to itself only, and what is beyond
 *  `block` tokens is cut off its end. Loss and gradients are means over the learned tokens of a
 *  step. Parts split between examples, the last ones being test and validation.
 *  @param tokenizer saved with what is trained; its vocabulary bounds the ids. NULL: `vocab_size`
 *  does.
 *  @param options NULL for defaults; no cache and no validation_files.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (an id; the message names the example),
 *  LLM_E_CANCELLED, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_dataset_from_examples(llm_dataset **out, llm_context *context,
                                             llm_tokenizer *tokenizer, int32_t vocab_size,
                                             llm_dataset_example_fn next, void *user,
                                             const llm_dataset_options *options);

/** What is to be learned of conversations. Values are pinned. */
enum {
    LLM_LEARN_ANSWERS = 0, /**< what the assistant says, with the tokens that end it */
    LLM_LEARN_ALL = 1      /**< every token */
};

/** From files of conversations or of prompts with their completions: JSON lines, or one JSON array.
 *  Each row is an object of one of these forms:
 *  {"messages": [{"role", "content"}, ..]}, with "tools" if there are any;
 *  {"conversations": [{"from": "human" or "gpt" or "system", "value"}, ..]} (ShareGPT);
 *  {"prompt": .., "completion": ..}, texts or lists of messages;
 *  {"instruction": .., "input": .., "output": ..} (Alpaca; input may be missing or empty);
 *  {"text": ..}: all of it is learned.
 *  @param chat renders the conversations; prompts and instructions are then a user's message, their
 *  answers the assistant's. NULL: prompt, line break, completion, end token; rows with messages are
 *  LLM_E_INVALID.
 *  @param paths `count` files. @param learn LLM_LEARN_*. @param options as for
 *  llm_dataset_from_examples(); progress is called.
 *  @return also LLM_E_IO, LLM_E_FORMAT (the message names file and row), and what the template
 *  returns. @threads any. */
LLM_API llm_status llm_dataset_from_chats(llm_dataset **out, llm_context *context,
                                          llm_tokenizer *tokenizer, const llm_chat_template *chat,
                                          const char *const *paths, size_t count, int32_t learn,
                                          const llm_dataset_options *options);

/** Number of examples of a part; 0 unless the dataset was made of examples. @threads any. */
LLM_API int64_t llm_dataset_examples(const llm_dataset *dataset, int32_t part);

/** Give up the caller's reference. NULL is allowed. */
LLM_API void llm_dataset_free(llm_dataset *dataset);

/** Number of tokens of a part (LLM_PART_*); 0 for NULL or an unknown part. @threads any. */
LLM_API int64_t llm_dataset_tokens(const llm_dataset *dataset, int32_t part);

/** Number of documents over all parts; 0 for NULL. @threads any. */
LLM_API int64_t llm_dataset_documents(const llm_dataset *dataset);

/** Ids are below this; 0 for NULL. @threads any. */
LLM_API int32_t llm_dataset_vocab_size(const llm_dataset *dataset);

/** 1 if the tokens came from the cache file without tokenizing anew. @threads any. */
LLM_API int32_t llm_dataset_from_cache(const llm_dataset *dataset);

/** Which tokens of a part are to be learned: 1 for each that is, else 0. Without examples, all are.
 *  As llm_dataset_read(). */
LLM_API llm_status llm_dataset_learned(uint8_t *learned, const llm_dataset *dataset, int32_t part,
                                       int64_t first, int64_t count);

/** Copy ids out of a part.
 *  @param first,count a range within the part; `ids` has room for `count`.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE. @threads any. */
LLM_API llm_status llm_dataset_read(int32_t *ids, const llm_dataset *dataset, int32_t part,
                                    int64_t first, int64_t count);

#ifdef __cplusplus
}
#endif

#endif
