/* SPDX-License-Identifier: MIT
 *
 * Tokenizers: text to token ids and back; training on text; Hugging Face tokenizer.json files.
 */
#ifndef LLM_TOKENIZER_H
#define LLM_TOKENIZER_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A tokenizer. Immutable after creation, so any number of threads may use one at the same time.
 *  Reference-counted inside: models and sessions made with it keep it alive. */
typedef struct llm_tokenizer llm_tokenizer;

/** Kinds of tokenizer. */
enum {
    LLM_TOKENIZER_BPE = 1,        /**< byte-level byte-pair encoding (GPT-2, GPT-4, Llama 3, ...) */
    LLM_TOKENIZER_CHARACTERS = 2, /**< one token per Unicode character of a known set */
    LLM_TOKENIZER_BYTES = 3,      /**< one token per byte */
    LLM_TOKENIZER_WORDPIECE = 4,  /**< WordPiece (BERT) */
    LLM_TOKENIZER_WORDS = 5,      /**< one token per word of a known set */
    LLM_TOKENIZER_UNIGRAM = 6     /**< pieces of a unigram language model (T5, XLM-R) */
};

/** Rules that cut text into words before byte-pair encoding; no token crosses a cut. */
enum {
    LLM_SPLIT_NONE = 0,   /**< no cuts */
    LLM_SPLIT_GPT2 = 1,   /**< GPT-2's rule */
    LLM_SPLIT_CL100K = 2, /**< GPT-4's rule: digits by threes (also Llama 3's) */
    LLM_SPLIT_QWEN2 = 3,  /**< GPT-4's rule with single digits */
    LLM_SPLIT_O200K = 4   /**< GPT-4o's rule: cuts between lower and upper case */
};

/** Load a tokenizer.
 *  @param out receives the tokenizer, NULL on failure; free with llm_tokenizer_free().
 *  @param context the tokenizer keeps its own reference.
 *  @param path UTF-8. A tokenizer.json, a tiktoken rank file (.tiktoken), a GPT-2 vocab.json or
 *  merges file (the other one is looked for beside it), a BERT vocab.txt (tokenizer_config.json
 *  beside it says whether case counts), a GGUF file with a tokenizer in it, or a directory that
 *  holds one of these. Beside a
 *  tokenizer.json, tokenizer_config.json names the begin, end, unknown and padding tokens.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_FORMAT, LLM_E_RANGE, LLM_E_UNSUPPORTED (the
 *  message names the part of the file that libllm does not do), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_tokenizer_load(llm_tokenizer **out, llm_context *context, const char *path);

/** Options of llm_tokenizer_load_with(). Fill with llm_tokenizer_load_options_init(), then assign.
 */
typedef struct llm_tokenizer_load_options {
    size_t struct_size; /**< set by llm_tokenizer_load_options_init() */
    /** tiktoken files: LLM_SPLIT_*, the rule that goes with the ranks, which are all that the file
     *  holds. -1 (default): the rule of the encodings with as many ranks (r50k, cl100k, o200k);
     *  LLM_E_UNSUPPORTED for other files. */
    int32_t split;
    int32_t reserved; /**< 0 */
} llm_tokenizer_load_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_tokenizer_load_options). */
LLM_API llm_status llm_tokenizer_load_options_init(llm_tokenizer_load_options *options,
                                                   size_t struct_size);

/** As llm_tokenizer_load(), with options; NULL for defaults. */
LLM_API llm_status llm_tokenizer_load_with(llm_tokenizer **out, llm_context *context,
                                           const char *path,
                                           const llm_tokenizer_load_options *options);

/** Load a tokenizer from the text of a tokenizer.json. As llm_tokenizer_load(). */
LLM_API llm_status llm_tokenizer_load_memory(llm_tokenizer **out, llm_context *context,
                                             const char *json, size_t size);

/** Save as a Hugging Face tokenizer.json that the Python package `tokenizers` loads, with the same
 *  ids. The file appears whole or not at all.
 *  @param path UTF-8; a directory gets tokenizer.json and tokenizer_config.json.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_UNSUPPORTED (no tokenizer.json gives the
 *  same ids: some SentencePiece models), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_tokenizer_save(const llm_tokenizer *tokenizer, const char *path);

/** The text of tokenizer.json, as llm_tokenizer_save() writes it, into the caller's buffer.
 *  @param buffer may be NULL when capacity is 0, to ask for the size.
 *  @param size_out receives the size in bytes, in any case.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_BUFFER, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_tokenizer_save_memory(char *buffer, size_t capacity, size_t *size_out,
                                             const llm_tokenizer *tokenizer);

/** Progress of training: `done` of `total` units of `stage` ("count words", "merge"). `total` is 0
 *  while unknown. Called on the thread that called in. Return 0 to go on, anything else to stop:
 *  the call then returns LLM_E_CANCELLED. */
typedef int32_t (*llm_tokenizer_progress_fn)(void *user, const char *stage, uint64_t done,
                                             uint64_t total);

/** Options of the training functions. Fill with llm_tokenizer_train_options_init(), then assign. */
typedef struct llm_tokenizer_train_options {
    size_t struct_size; /**< set by llm_tokenizer_train_options_init() */
    /** Special tokens, NUL-terminated UTF-8; they get the first ids (bytes: the ids from 256).
     *  NULL with special_count 0: none. */
    const char *const *special_tokens;
    size_t special_count;
    /** WordPiece: text of the token that stands for words that no tokens make; default "[UNK]".
     *  Unigram: the token that stands for characters of no piece; NULL (default): none, and
     * encoding such a character is LLM_E_RANGE. Characters: the token that stands for characters
     * outside the set; NULL (default): none, and encoding such a character is LLM_E_RANGE. Added in
     * front of special_tokens when it is not one of them. */
    const char *unknown_token;
    llm_tokenizer_progress_fn progress; /**< NULL: none */
    void *progress_user;
    int64_t min_frequency; /**< BPE: merge only pairs that occur this often; default 2 */
    int32_t kind;          /**< LLM_TOKENIZER_*; default LLM_TOKENIZER_BPE */
    int32_t vocab_size;    /**< at most this many tokens, specials included; default 32768.
                                Unigram keeps all characters, even beyond it */
    int32_t split;         /**< BPE: LLM_SPLIT_*; default LLM_SPLIT_CL100K */
    int32_t keep_case;     /**< WordPiece: 1: capitals and accents stay; default 0: they go */
} llm_tokenizer_train_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_tokenizer_train_options). */
LLM_API llm_status llm_tokenizer_train_options_init(llm_tokenizer_train_options *options,
                                                    size_t struct_size);

/** Train on texts in memory; each is a document of its own. The result is the same for any number
 * of threads. Byte-pair merges equal those of Hugging Face tokenizers given the same texts and
 * settings.
 *  @param out receives the tokenizer, NULL on failure.
 *  @param texts `count` pointers to UTF-8 text (other bytes are taken as they are; for characters
 *  they are LLM_E_FORMAT).
 *  @param sizes `count` sizes in bytes.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_FORMAT, LLM_E_CANCELLED, LLM_E_NOMEM.
 *  @threads any. */
LLM_API llm_status llm_tokenizer_train(llm_tokenizer **out, llm_context *context,
                                       const char *const *texts, const size_t *sizes, size_t count,
                                       const llm_tokenizer_train_options *options);

/** Train on files; each is a document of its own. Also LLM_E_IO. As llm_tokenizer_train(). */
LLM_API llm_status llm_tokenizer_train_files(llm_tokenizer **out, llm_context *context,
                                             const char *const *paths, size_t count,
                                             const llm_tokenizer_train_options *options);

/** Source of documents: sets *text and *size to the next one, valid until the next call, and
 * returns 1; returns 0 after the last one and anything negative to give up (LLM_E_CANCELLED). */
typedef int32_t (*llm_tokenizer_text_fn)(void *user, const char **text, size_t *size);

/** Train on documents from a callback, called on the calling thread. As llm_tokenizer_train(). */
LLM_API llm_status llm_tokenizer_train_stream(llm_tokenizer **out, llm_context *context,
                                              llm_tokenizer_text_fn next, void *user,
                                              const llm_tokenizer_train_options *options);

/** Give up the caller's reference. NULL is allowed. */
LLM_API void llm_tokenizer_free(llm_tokenizer *tokenizer);

/** LLM_TOKENIZER_*; 0 for NULL. @threads any. */
LLM_API int32_t llm_tokenizer_kind(const llm_tokenizer *tokenizer);

/** One more than the highest id; 0 for NULL. @threads any. */
LLM_API int32_t llm_tokenizer_vocab_size(const llm_tokenizer *tokenizer);

/** Ids with a role. -1 when the tokenizer has no such token. @threads any. */
enum {
    LLM_TOKEN_BOS = 1, /**< begin of text */
    LLM_TOKEN_EOS = 2, /**< end of text */
    LLM_TOKEN_UNK = 3, /**< unknown */
    LLM_TOKEN_PAD = 4  /**< padding */
};
LLM_API int32_t llm_tokenizer_special(const llm_tokenizer *tokenizer, int32_t role);

/** The bytes a token stands for. They need not be valid UTF-8 by themselves.
 *  @param text_out receives a pointer that is valid as long as the tokenizer; NUL-terminated.
 *  @param size_out receives the size in bytes. May be NULL.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (no such id). @threads any. */
LLM_API llm_status llm_tokenizer_token_text(const char **text_out, size_t *size_out,
                                            const llm_tokenizer *tokenizer, int32_t id);

/** The id of the token that stands for exactly these bytes.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (no such token; *id_out is -1). @threads any. */
LLM_API llm_status llm_tokenizer_token_id(int32_t *id_out, const llm_tokenizer *tokenizer,
                                          const char *text, size_t size);

/** 1 if `id` is a special token (one that llm_tokenizer_decode() can skip), else 0. @threads any.
 */
LLM_API int32_t llm_tokenizer_is_special(const llm_tokenizer *tokenizer, int32_t id);

/** Options of encoding. Fill with llm_encode_options_init(), then assign. */
typedef struct llm_encode_options {
    size_t struct_size; /**< set by llm_encode_options_init() */
    /** 1: the text of a special token in the input becomes that token. 0 (default): it is text like
     *  any other, which is what untrusted input needs. Added tokens that are not special are always
     *  found. */
    int32_t parse_special;
    /** 1 (default): add what the tokenizer puts around a text, for example a begin token. 0: don't.
     */
    int32_t add_special;
} llm_encode_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_encode_options). */
LLM_API llm_status llm_encode_options_init(llm_encode_options *options, size_t struct_size);

/** No text of `size` bytes gives more tokens than this. Cheap; SIZE_MAX on overflow, 0 for NULL. */
LLM_API size_t llm_tokenizer_max_tokens(const llm_tokenizer *tokenizer, size_t size);

/** Text to ids. Any bytes are allowed; for byte-level kinds decoding gives back the same bytes.
 *  @param ids receives at most `capacity` ids; may be NULL when capacity is 0.
 *  @param count_out receives the number of ids the text has, also with LLM_E_BUFFER.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_BUFFER, LLM_E_RANGE (a character outside the set of a
 *  tokenizer without unknown token), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_tokenizer_encode(int32_t *ids, size_t capacity, size_t *count_out,
                                        const llm_tokenizer *tokenizer, const char *text,
                                        size_t size, const llm_encode_options *options);

/** As llm_tokenizer_encode(), and where each token stands: token i covers bytes begins[i] to
 *  ends[i] (exclusive) of `text`; an added special token covers nothing. Tokens of byte-level kinds
 *  cover exactly their bytes; llm_encoding_new() gives whole characters, words and more. All three
 * arrays have room for `capacity` elements. */
LLM_API llm_status llm_tokenizer_encode_offsets(int32_t *ids, size_t *begins, size_t *ends,
                                                size_t capacity, size_t *count_out,
                                                const llm_tokenizer *tokenizer, const char *text,
                                                size_t size, const llm_encode_options *options);

/** Encode many texts on all threads of the context. The ids of text i stand at
 *  ids[starts[i]] .. ids[starts[i + 1] - 1].
 *  @param starts has room for count + 1 elements; filled also with LLM_E_BUFFER, so that
 *  starts[count] is the capacity needed. */
LLM_API llm_status llm_tokenizer_encode_batch(int32_t *ids, size_t capacity, size_t *starts,
                                              const llm_tokenizer *tokenizer,
                                              const char *const *texts, const size_t *sizes,
                                              size_t count, const llm_encode_options *options);

/** All there is to know of an encoded text, or of a pair of texts. One piece, or several when the
 *  tokens were more than `max_tokens`: piece 0 is what a model reads, the others hold the rest.
 *  Immutable; any number of threads may read it. */
typedef struct llm_encoding llm_encoding;

/** Which end of a text goes when it is too long. */
enum {
    LLM_TRUNCATE_RIGHT = 0, /**< the end */
    LLM_TRUNCATE_LEFT = 1   /**< the beginning */
};

/** Which text of a pair is truncated. */
enum {
    LLM_TRUNCATE_LONGEST_FIRST = 0, /**< the longer one, then both alike */
    LLM_TRUNCATE_ONLY_FIRST = 1,    /**< the first */
    LLM_TRUNCATE_ONLY_SECOND = 2    /**< the second */
};

/** Options of llm_encoding_new(). Fill with llm_encoding_options_init(), then assign. The fields
 *  "truncation" and "padding" of a tokenizer.json are not used: truncation is asked for here, and
 *  models read batches without padding. */
typedef struct llm_encoding_options {
    size_t struct_size;      /**< set by llm_encoding_options_init() */
    int64_t max_tokens;      /**< a piece has at most this many, added ones included; 0: no limit */
    int64_t stride;          /**< tokens that a piece repeats of the one before; default 0 */
    int32_t truncation_side; /**< LLM_TRUNCATE_RIGHT (default) or LLM_TRUNCATE_LEFT */
    int32_t truncation_strategy; /**< LLM_TRUNCATE_LONGEST_FIRST (default), ... */
    int32_t parse_special;       /**< as in llm_encode_options; default 0 */
    int32_t add_special;         /**< as in llm_encode_options; default 1 */
} llm_encoding_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_encoding_options). */
LLM_API llm_status llm_encoding_options_init(llm_encoding_options *options, size_t struct_size);

/** Encode a text, or a pair of texts (question and context, premise and hypothesis) put together as
 *  the tokenizer's post-processor says.
 *  @param out receives the encoding, NULL on failure; free with llm_encoding_free().
 *  @param text `size` bytes, any.
 *  @param pair the second text, `pair_size` bytes; NULL: none (an empty one is "").
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID (max_tokens less than the added tokens; stride not less than the
 *  tokens that are left for a text), LLM_E_RANGE (as llm_tokenizer_encode(); the text to be
 * truncated is too short; more than 65536 pieces), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_encoding_new(llm_encoding **out, const llm_tokenizer *tokenizer,
                                    const char *text, size_t size, const char *pair,
                                    size_t pair_size, const llm_encoding_options *options);

/** NULL is allowed. */
LLM_API void llm_encoding_free(llm_encoding *encoding);

/** How many pieces; at least 1, 0 for NULL. @threads any. */
LLM_API size_t llm_encoding_pieces(const llm_encoding *encoding);

/** What llm_encoding_values() gives for each token. */
enum {
    LLM_ENCODING_IDS = 0,      /**< the token */
    LLM_ENCODING_TYPES = 1,    /**< its type: which text of a pair, for models that want it */
    LLM_ENCODING_SPECIAL = 2,  /**< 1: put around the texts, 0: of a text */
    LLM_ENCODING_WORDS = 3,    /**< number of its word in its text; -1: none */
    LLM_ENCODING_SEQUENCES = 4 /**< 0: of the first text, 1: of the second, -1: of neither */
};

/** One value for each token of a piece.
 *  @param what LLM_ENCODING_*.
 *  @param count_out receives the number of tokens; may be NULL.
 *  @return the values, valid as long as the encoding; NULL for a bad argument. @threads any. */
LLM_API const int32_t *llm_encoding_values(const llm_encoding *encoding, size_t piece, int32_t what,
                                           size_t *count_out);

/** What llm_encoding_offsets() gives for each token: where it stands in its text. Offsets are those
 *  of Hugging Face tokenizers: whole characters, after the tokenizer's post-processor has trimmed
 *  them, 0 and 0 for tokens put around the texts. A byte that is not UTF-8 is a character. */
enum {
    LLM_OFFSETS_BYTE_BEGIN = 0,
    LLM_OFFSETS_BYTE_END = 1, /**< exclusive */
    LLM_OFFSETS_CHARACTER_BEGIN = 2,
    LLM_OFFSETS_CHARACTER_END = 3 /**< exclusive */
};

/** As llm_encoding_values(), for offsets. @param what LLM_OFFSETS_*. @threads any. */
LLM_API const size_t *llm_encoding_offsets(const llm_encoding *encoding, size_t piece, int32_t what,
                                           size_t *count_out);

/** Options of decoding. Fill with llm_decode_options_init(), then assign. */
typedef struct llm_decode_options {
    size_t struct_size;   /**< set by llm_decode_options_init() */
    int32_t skip_special; /**< 1: leave special tokens out; default 0 */
    /** 1: bytes that are not UTF-8 become U+FFFD. 0 (default): the bytes as they are. The streaming
     *  decoder replaces in any case. */
    int32_t replace_invalid;
} llm_decode_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_decode_options). */
LLM_API llm_status llm_decode_options_init(llm_decode_options *options, size_t struct_size);

/** Ids to text.
 *  @param text receives at most `capacity` bytes, no NUL added; may be NULL when capacity is 0.
 *  @param size_out receives the size of the whole text, also with LLM_E_BUFFER.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_BUFFER, LLM_E_RANGE (no such id), LLM_E_NOMEM.
 *  @threads any. */
LLM_API llm_status llm_tokenizer_decode(char *text, size_t capacity, size_t *size_out,
                                        const llm_tokenizer *tokenizer, const int32_t *ids,
                                        size_t count, const llm_decode_options *options);

/** Decodes token by token and gives out whole characters only: the bytes of an unfinished character
 *  wait for the next token. One thread at a time. */
typedef struct llm_decoder llm_decoder;

/** @param out receives the decoder, NULL on failure; free with llm_decoder_free().
 *  @param tokenizer the decoder keeps its own reference.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_NOMEM. */
LLM_API llm_status llm_decoder_new(llm_decoder **out, llm_tokenizer *tokenizer,
                                   const llm_decode_options *options);

/** Add one token; *text_out is the text that it completes, *size_out its size, possibly 0. The text
 *  is valid UTF-8, NUL-terminated and valid until the next call on this decoder.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (no such id; nothing changes), LLM_E_NOMEM. */
LLM_API llm_status llm_decoder_push(llm_decoder *decoder, int32_t id, const char **text_out,
                                    size_t *size_out);

/** The end: an unfinished character comes out as U+FFFD. The decoder is then as new. */
LLM_API llm_status llm_decoder_finish(llm_decoder *decoder, const char **text_out,
                                      size_t *size_out);

/** NULL is allowed. */
LLM_API void llm_decoder_free(llm_decoder *decoder);

#ifdef __cplusplus
}
#endif

#endif
