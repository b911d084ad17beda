/* SPDX-License-Identifier: MIT
 *
 * Sessions: a model reading and writing one text. Append a prompt, generate, look at logits, go
 * back, branch off.
 */
#ifndef LLM_SESSION_H
#define LLM_SESSION_H

#include "grammar.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One text in progress: its tokens and what the model remembers of them (keys and values, in
 *  pages). A session keeps its own references to model and tokenizer, so handles may be freed in
 *  any order; while sessions exist the model cannot be trained (LLM_E_BUSY).
 *  @threads one thread at a time, else LLM_E_BUSY; llm_session_cancel() from any. Different
 *  sessions run at the same time, on one model or forked from one another. */
typedef struct llm_session llm_session;

/** Options of llm_session_new(). Fill with llm_session_options_init(), then assign. */
typedef struct llm_session_options {
    size_t struct_size; /**< set by llm_session_options_init() */
    /** Most tokens the session holds; 0 (default): the model's context length. */
    int64_t max_tokens;
    /** Tokens of a prompt that run through the model at once; default 256. */
    int64_t prefill_chunk;
} llm_session_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_session_options). */
LLM_API llm_status llm_session_options_init(llm_session_options *options, size_t struct_size);

/** Create an empty session.
 *  @param out receives the session, NULL on failure; free with llm_session_free().
 *  @param tokenizer NULL: the session knows token ids only, no text.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_BUSY (the model is being trained),
 *  LLM_E_NOMEM. */
LLM_API llm_status llm_session_new(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                                   const llm_session_options *options);

/** NULL is allowed. */
LLM_API void llm_session_free(llm_session *session);

/** Append tokens and run the model over them.
 *  @param ids `count` ids below the model's vocabulary size; `count` 0 does nothing.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (an id, or more tokens than the session holds),
 *  LLM_E_BUSY, LLM_E_NOMEM: nothing was appended. LLM_E_CANCELLED: the tokens are appended, and the
 *  next call goes on with the work on them where this one stopped. */
LLM_API llm_status llm_session_append(llm_session *session, const int32_t *ids, size_t count);

/** Append text. As llm_session_append(); also LLM_E_INVALID without a tokenizer, and what
 *  llm_tokenizer_encode() returns.
 *  @param text `size` bytes of UTF-8.
 *  @param options how to encode; NULL: special tokens in the text are plain text, and what the
 *  tokenizer puts around a text is added if the session is empty. */
LLM_API llm_status llm_session_append_text(llm_session *session, const char *text, size_t size,
                                           const llm_encode_options *options);

/** Logits of the token that follows the last one.
 *  @param logits receives them; may be NULL when capacity is 0. @param capacity in floats.
 *  @param count_out receives the model's vocabulary size; may be NULL.
 *  @return LLM_OK, LLM_E_INVALID (also: the session is empty), LLM_E_BUFFER, LLM_E_BUSY,
 *  LLM_E_CANCELLED, LLM_E_NOMEM. */
LLM_API llm_status llm_session_logits(float *logits, size_t capacity, size_t *count_out,
                                      llm_session *session);

/** A token and the natural logarithm of its probability under the model, before bias, penalties,
 *  temperature and filters. */
typedef struct llm_token_choice {
    int32_t id;
    float logprob;
} llm_token_choice;

/** What a token callback sees. Everything is valid during the callback only. */
typedef struct llm_token {
    const char *text; /**< text that became certain with this token, valid UTF-8, NUL-terminated;
                           often "": a character or a possible stop string is not complete yet */
    size_t text_size; /**< in bytes */
    const llm_token_choice *top; /**< the most probable tokens, best first; NULL unless asked for */
    size_t top_count;
    int64_t index; /**< of this token in this call, from 0 */
    int32_t id;
    float logprob; /**< as in llm_token_choice */
} llm_token;

/** Called for each generated token, on the thread that called llm_session_generate(). Return 0 to
 *  go on, anything else to stop: the call then returns LLM_E_CANCELLED, and the token counts as
 *  generated. Must not call functions on the same session except llm_session_cancel(). */
typedef int32_t (*llm_token_fn)(void *user, const llm_token *token);

/** Why llm_session_generate() ended. */
enum {
    LLM_STOP_NONE = 0,       /**< it has not been called, or failed */
    LLM_STOP_MAX_TOKENS = 1, /**< max_tokens of them were generated */
    LLM_STOP_EOS = 2,        /**< the model ended the text (end token or one of stop_ids) */
    LLM_STOP_STRING = 3,     /**< a stop string came up */
    LLM_STOP_CONTEXT = 4,    /**< the session holds as many tokens as it can */
    LLM_STOP_CANCELLED = 5,  /**< by the callback or llm_session_cancel() */
    LLM_STOP_GRAMMAR = 6     /**< the text is complete and the grammar lets nothing follow */
};

/** A token that may still be drawn. */
typedef struct llm_candidate {
    int32_t id;
    float logit; /**< as the stages before left it; -INFINITY drops the token */
} llm_candidate;

/** A stage of the caller's own: changes the logits of `count` candidates, which stand in order of
 *  their ids; ids must stay. Return 0 to go on, anything else to stop: the call then returns
 *  LLM_E_CANCELLED without a token. At least one logit must stay finite and none may become NaN or
 *  +infinity (LLM_E_NUMERIC). As llm_token_fn about calls on the session. */
typedef int32_t (*llm_candidates_fn)(void *user, llm_candidate *candidates, size_t count);

/** The stages that narrow the choice; see llm_generate_options. */
enum {
    LLM_STAGE_TEMPERATURE = 1, /**< temperature and dynamic temperature */
    LLM_STAGE_TOP_N_SIGMA = 2,
    LLM_STAGE_TOP_K = 3,
    LLM_STAGE_TOP_P = 4,
    LLM_STAGE_MIN_P = 5,
    LLM_STAGE_TYPICAL_P = 6,
    LLM_STAGE_XTC = 7,
    LLM_STAGE_CALLBACK = 8
};

/** Well-known orders of those stages. */
enum {
    LLM_ORDER_DEFAULT = 0,  /**< temperature first, as in transformers */
    LLM_ORDER_LLAMA_CPP = 1 /**< temperature last, as in llama.cpp */
};

/** A well-known order, for llm_generate_options.stages.
 *  @param order LLM_ORDER_*. @param count_out receives the number of stages; may be NULL.
 *  @return static array; NULL for another value. @threads any. */
LLM_API const int32_t *llm_sampler_stages(int32_t order, size_t *count_out);

/** Options of llm_session_generate(). Fill with llm_generate_options_init(), then assign.
 *
 *  The logits go through the stages that are switched on, in this order: grammar, bias, repetition
 *  penalty, frequency and presence penalty, DRY; then, unless temperature is 0, the narrowing
 * stages in the order that `stages` gives (temperature, top_n_sigma, top_k, top_p, min_p,
 * typical_p, xtc, on_candidates if NULL), and a draw from what is left. Each stage works on the
 * distribution that the one before it left, and keeps at least one token. Mirostat, when it is on,
 * takes the place of all narrowing stages but temperature and on_candidates. The draw for the token
 * at position p of the session depends on (seed, p) alone, so that a text is the same however its
 * generation is cut into calls. */
typedef struct llm_generate_options {
    size_t struct_size; /**< set by llm_generate_options_init() */
    int64_t max_tokens; /**< default 256; 0: until something else ends it */
    uint64_t seed;      /**< 0 (default): the context's */

    double temperature; /**< 0 (default): greedy, the most probable token; else 1e-4 .. 1e4 */
    double top_p; /**< (0, 1]: the fewest tokens whose probabilities reach this sum; default 1 */
    double min_p; /**< [0, 1]: tokens at least this probable relative to the best; default 0 */
    double typical_p; /**< (0, 1]: the tokens nearest to the expected information content whose
                           probabilities reach this sum (locally typical sampling); default 1 */
    double repetition_penalty; /**< > 0: logits of tokens in the session are divided (positive) or
                                    multiplied (negative) by this; default 1 */
    double frequency_penalty;  /**< subtracted from a token's logit for each time it was generated
                                    since the last append; default 0 */
    double presence_penalty;   /**< subtracted once if it was; default 0 */
    /** Repetition penalty looks at so many last tokens; 0 (default): all. */
    int64_t repetition_window;

    const int32_t *bias_ids;  /**< `bias_count` ids whose logits bias_values are added to; */
    const float *bias_values; /**< -INFINITY forbids a token */
    size_t bias_count;

    const int32_t *stop_ids; /**< end tokens besides the tokenizer's and the model's */
    size_t stop_id_count;
    const char *const *stop_strings; /**< NUL-terminated UTF-8, not empty. Text ends before the
                                        first that comes up; needs a tokenizer */
    size_t stop_string_count;

    llm_token_fn on_token; /**< NULL: none */
    void *on_token_user;

    int32_t top_k;        /**< the k most probable tokens; 0 (default): all */
    int32_t top_logprobs; /**< 0..64: alternatives reported for each token; default 0 */
    int32_t ignore_eos; /**< 1: the tokenizer's and the model's end tokens do not end; default 0 */
    int32_t keep_special; /**< 1: special tokens appear in the text; default 0 */

    double top_n_sigma; /**< > 0: tokens whose logits lie within so many standard deviations of the
                             best one's; 0 (default): off */
    double xtc_probability; /**< [0, 1]: how often the stage XTC ("exclude top choices") acts at
                                 all; default 0 */
    double xtc_threshold;   /**< (0, 1]: when it acts, of the tokens at least this probable all but
                               the   least probable one go; default 0.1; beyond 0.5 it never acts */
    double dry_multiplier;  /**< >= 0: DRY ("don't repeat yourself") subtracts dry_multiplier *
                                 dry_base ^ (n - dry_allowed_length) from the logit of a token that
                                 would continue a repetition of n tokens; 0 (default): off */
    double dry_base;        /**< >= 1; default 1.75 */
    double dynamic_temperature; /**< >= 0, below temperature: the temperature moves between
                                     temperature - this and temperature + this with the entropy of
                                     the distribution; 0 (default): off */
    double dynamic_exponent;    /**< > 0: of the normalized entropy in that; default 1 */
    double mirostat_tau;        /**< > 0: surprise, in bits, that mirostat steers to; default 5 */
    double mirostat_eta;        /**< [0, 1]: how fast; default 0.1 */
    int64_t dry_allowed_length; /**< >= 1: repetitions shorter than this are free; default 2 */
    int64_t dry_window;         /**< DRY looks at so many last tokens; 0 (default): all */
    /** A repetition does not reach back beyond these texts; they need a tokenizer. NULL (default):
     *  line feed, ":", double quote, "*"; not NULL with dry_breaker_count 0: none. */
    const char *const *dry_breakers;
    size_t dry_breaker_count;
    const int32_t *stages; /**< LLM_STAGE_*, each at most once; those left out do not run. NULL
                                (default): the order above; also llm_sampler_stages() */
    size_t stage_count;
    llm_candidates_fn on_candidates; /**< the stage LLM_STAGE_CALLBACK, also when temperature is 0;
                                          NULL: none */
    void *on_candidates_user;
    /** What is generated after the last append follows this grammar; NULL (default): anything. The
     *  grammar must have been made with the session's tokenizer. */
    const llm_grammar *grammar;
    /** Another session, with a small model of the same vocabulary, that guesses the next tokens;
     *  the session checks all guesses in one run of its model. The ids are those that the session
     *  alone would generate, up to logits that differ in their last bits. Its text becomes a copy
     * of this one's. NULL (default): none. */
    llm_session *draft;
    int32_t draft_tokens;  /**< 1..64: guesses per run of the model; default 4 */
    int32_t lookup_tokens; /**< 0..64: as many guesses, by looking up what followed the last few
                                tokens earlier in the text, when there is no draft; default 0 */
    int32_t mirostat;      /**< 0 (default): off; 1, 2: that version */
    int32_t reserved;      /**< 0 */
} llm_generate_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_generate_options). */
LLM_API llm_status llm_generate_options_init(llm_generate_options *options, size_t struct_size);

/** Generate tokens after those in the session, and append them to it, the end token too. The
 *  results are read with the functions below until the next call of this one.
 *  @param options NULL for defaults.
 *  @return LLM_OK, whatever the reason it ended for; LLM_E_INVALID (also: the session is empty),
 *  LLM_E_RANGE, LLM_E_BUSY, LLM_E_NUMERIC (no finite logit, or NaN), LLM_E_NOMEM; LLM_E_CANCELLED:
 *  by the callback or by llm_session_cancel(). In all cases the session and the results hold the
 *  tokens that were generated, and another call goes on from there. */
LLM_API llm_status llm_session_generate(llm_session *session, const llm_generate_options *options);

/** Text that the last llm_session_generate() produced: valid UTF-8 (an unfinished character at its
 *  end became U+FFFD), NUL-terminated, without stop string. "" without a tokenizer or for NULL.
 *  @param size_out receives its size in bytes; may be NULL. */
LLM_API const char *llm_session_text(const llm_session *session, size_t *size_out);

/** Ids that the last llm_session_generate() produced, end token and stop string included; NULL if
 *  there are none. @param count_out receives their number; may be NULL. */
LLM_API const int32_t *llm_session_generated(const llm_session *session, size_t *count_out);

/** Log-probability of each of those tokens, see llm_token_choice. */
LLM_API const float *llm_session_logprobs(const llm_session *session, size_t *count_out);

/** The most probable tokens at the place of token `index` of those, best first; NULL unless
 *  top_logprobs asked for them. @param count_out receives their number; may be NULL. */
LLM_API const llm_token_choice *llm_session_top(const llm_session *session, size_t index,
                                                size_t *count_out);

/** Why the last llm_session_generate() ended: LLM_STOP_*. */
LLM_API int32_t llm_session_stop_reason(const llm_session *session);

/** Which of stop_strings ended it, counted from 0; -1: none. */
LLM_API int32_t llm_session_stop_string(const llm_session *session);

/** All tokens of the session, appended and generated ones; valid until it changes. NULL if there
 *  are none. @param count_out receives their number; may be NULL. */
LLM_API const int32_t *llm_session_ids(const llm_session *session, size_t *count_out);

/** Number of tokens in the session; 0 for NULL. */
LLM_API int64_t llm_session_length(const llm_session *session);

/** Bytes of keys and values that the session and those forked from it hold; 0 for NULL. */
LLM_API size_t llm_session_cache_bytes(const llm_session *session);

/** Forget the tokens from `length` on. Costs nothing; what follows is as if they had never been.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (beyond the length), LLM_E_BUSY. */
LLM_API llm_status llm_session_rewind(llm_session *session, int64_t length);

/** Forget everything: tokens, results, and a cancel that came too late. As llm_session_rewind(). */
LLM_API llm_status llm_session_reset(llm_session *session);

/** Take tokens out of the middle: those from `begin` on, `count` of them, so that a long text can
 * go on when the session is full. What follows them moves up and runs through the model again when
 * it is next needed: the result is that of a session that never had them.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (beyond the length), LLM_E_BUSY. */
LLM_API llm_status llm_session_erase(llm_session *session, int64_t begin, int64_t count);

/** A new session in the same state that shares memory with this one: only what either appends from
 *  here on is stored twice. Both live and are freed on their own, and may be used from two threads.
 *  @param out receives the session, NULL on failure; free with llm_session_free().
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_BUSY, LLM_E_NOMEM. */
LLM_API llm_status llm_session_fork(llm_session **out, llm_session *session);

/* ---- saving and restoring ---- */

/** Write the state of a session to a file: tokens, what the model remembers of them, and a
 *  fingerprint of the model. Results of the last generation are not part of it. The file appears
 *  whole or not at all.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_BUSY, LLM_E_NOMEM. */
LLM_API llm_status llm_session_save(llm_session *session, const char *path);

/** Bring a session, whatever it holds, into the state that was saved; it goes on with the same
 * bits.
 *  @param session of the same model, with room for the tokens.
 *  @return LLM_OK, LLM_E_INVALID (another model), LLM_E_FORMAT (damaged, or no such file format),
 *  LLM_E_UNSUPPORTED (a later version), LLM_E_RANGE (no room), LLM_E_IO, LLM_E_BUSY, LLM_E_NOMEM;
 *  after a failure the session is as it was. */
LLM_API llm_status llm_session_restore(llm_session *session, const char *path);

/** The same in the caller's memory.
 *  @param buffer may be NULL when capacity is 0, to ask for the size.
 *  @param size_out receives the size in bytes, in any case.
 *  @return also LLM_E_BUFFER. */
LLM_API llm_status llm_session_save_memory(void *buffer, size_t capacity, size_t *size_out,
                                           llm_session *session);
LLM_API llm_status llm_session_restore_memory(llm_session *session, const void *data, size_t size);

/* ---- beam search ---- */

/** When llm_session_beam_search() ends before max_tokens; the rules of transformers. */
enum {
    LLM_BEAM_HEURISTIC = 0, /**< no text is likely to become better than the finished ones */
    LLM_BEAM_EARLY = 1,     /**< as many texts as beams are finished */
    LLM_BEAM_NEVER = 2      /**< no text can become better than the finished ones */
};

/** Options of llm_session_beam_search(). Fill with llm_beam_options_init(), then assign. */
typedef struct llm_beam_options {
    size_t struct_size;
    int64_t max_tokens;    /**< > 0; default 256, or as many as fit */
    double length_penalty; /**< -100..100: scores are divided by length to this power; default 1 */
    const int32_t *stop_ids; /**< end tokens besides the tokenizer's and the model's */
    size_t stop_id_count;
    int32_t beams;      /**< 1..256; default 4 */
    int32_t stopping;   /**< LLM_BEAM_*; default LLM_BEAM_HEURISTIC */
    int32_t ignore_eos; /**< 1: only stop_ids end; default 0 */
    int32_t reserved;   /**< 0 */
} llm_beam_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_beam_options). */
LLM_API llm_status llm_beam_options_init(llm_beam_options *options, size_t struct_size);

/** Generate by beam search: the most probable texts as a whole rather than token by token. All
 * beams share the memory of what they have in common. The best text is appended to the session and
 * read as after llm_session_generate(); all of them with llm_session_beam().
 *  @param options NULL for defaults.
 *  @return as llm_session_generate(). After a failure the session is as it was. */
LLM_API llm_status llm_session_beam_search(llm_session *session, const llm_beam_options *options);

/** Text `index` of the last llm_session_beam_search(), best first: its ids, the end token included;
 *  NULL when there is none. @param count_out receives their number; may be NULL.
 *  @param score_out receives the sum of log-probabilities over length ^ length_penalty; may be
 * NULL.
 */
LLM_API const int32_t *llm_session_beam(const llm_session *session, size_t index, size_t *count_out,
                                        double *score_out);

/** Stop the call that is running on `session`, or else the next one: it returns LLM_E_CANCELLED
 *  soon, usually within a few milliseconds. NULL is allowed.
 *  @threads any; also from a signal handler. */
LLM_API void llm_session_cancel(llm_session *session);

#ifdef __cplusplus
}
#endif

#endif
