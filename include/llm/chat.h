/* SPDX-License-Identifier: MIT
 *
 * Chat: a conversation to the text that a model was trained on (chat templates), and what the model
 * answers to content, reasoning and tool calls.
 *
 * Templates are the Jinja texts that come with models. They run inside the library without access
 * to anything but the values given to them, within limits on steps, memory and output, and give the
 * same text as Hugging Face transformers.
 */
#ifndef LLM_CHAT_H
#define LLM_CHAT_H

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A chat template. Immutable after creation: any number of threads may render with one. */
typedef struct llm_chat_template llm_chat_template;

/** A rendered conversation: text that knows which of its parts came from the template and which
 *  from the messages. */
typedef struct llm_chat_prompt llm_chat_prompt;

/** How models write tool calls. New values may be added. */
enum {
    LLM_CHAT_PLAIN = 0,   /**< none known: all is content (and reasoning) */
    LLM_CHAT_HERMES = 1,  /**< <tool_call>{"name": .., "arguments": ..}</tool_call>: Hermes, Qwen */
    LLM_CHAT_LLAMA3 = 2,  /**< {"name": .., "parameters": ..}, <|python_tag|>: Llama 3.1, 3.2 */
    LLM_CHAT_MISTRAL = 3, /**< [TOOL_CALLS][{..}], and [TOOL_CALLS]name[ARGS]{..} */
    LLM_CHAT_DEEPSEEK = 4,  /**< DeepSeek V3, R1: tool calls between tokens of their own */
    LLM_CHAT_COMMAND_R = 5, /**< <|START_ACTION|>[..]<|END_ACTION|>: Command R7B and later */
    LLM_CHAT_JSON = 6       /**< the whole answer, or a part in <|tool_call|> or a fence, is JSON
                                 with a name and arguments: Gemma, Phi and others */
};

/** Make a template from its text.
 *  @param out receives the template, NULL on failure; free with llm_chat_template_free().
 *  @param context the template keeps its own reference.
 *  @param text `size` bytes of UTF-8, at most 1 MiB.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_FORMAT (the message names the line), LLM_E_UNSUPPORTED (a
 *  part of Jinja that is not there, such as include), LLM_E_RANGE (too long, nested too deeply),
 *  LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_chat_template_new(llm_chat_template **out, llm_context *context,
                                         const char *text, size_t size);

/** Load the template of a model.
 *  @param path UTF-8. A model directory: chat_template.jinja (and, beside it,
 *  additional_chat_templates) comes before the field chat_template of tokenizer_config.json, before
 *  chat_template.json; or one such file, or a GGUF file that has one. The special tokens that
 * tokenizer_config.json names (bos_token, eos_token, ..) become variables of the template.
 *  @param name which of several templates; NULL: "default", and "tool_use", if there is one, when
 *  tools are given.
 *  @return as llm_chat_template_new(); also LLM_E_IO (also: the model has no template),
 *  LLM_E_RANGE (no template of that name). @threads any. */
LLM_API llm_status llm_chat_template_load(llm_chat_template **out, llm_context *context,
                                          const char *path, const char *name);

/** The template's text, NUL-terminated, valid as long as the template; "" for NULL.
 *  @param size_out receives its size in bytes; may be NULL. */
LLM_API const char *llm_chat_template_text(const llm_chat_template *chat, size_t *size_out);

/** How the model that the template belongs to writes tool calls, judged by the template's text:
 *  LLM_CHAT_*; LLM_CHAT_PLAIN for NULL. @threads any. */
LLM_API int32_t llm_chat_template_format(const llm_chat_template *chat);

/** NULL is allowed. */
LLM_API void llm_chat_template_free(llm_chat_template *chat);

/** Options of llm_chat_render(). Fill with llm_chat_options_init(), then assign. JSON texts are
 *  UTF-8; NULL with size 0 (default): none. */
typedef struct llm_chat_options {
    size_t struct_size; /**< set by llm_chat_options_init() */
    /** Names begin, end, unknown and padding tokens where the template's own directory did not. */
    const llm_tokenizer *tokenizer;
    const char *tools; /**< JSON array: what the model may call, in OpenAI's form */
    size_t tools_size;
    const char *documents; /**< JSON array of objects: texts that the answer may lean on */
    size_t documents_size;
    const char *variables; /**< JSON object: further variables, such as enable_thinking; they come
                                before all others of the same name */
    size_t variables_size;
    int64_t now; /**< seconds since 1970 for templates that show the date, in UTC; INT64_MIN
                      (default): the clock, in local time */
    int32_t add_generation_prompt;  /**< 1 (default): end with the beginning of an answer */
    int32_t continue_final_message; /**< 1: end inside the last message, whose content the model
                                         goes on with; add_generation_prompt must then be 0 */
} llm_chat_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_chat_options). */
LLM_API llm_status llm_chat_options_init(llm_chat_options *options, size_t struct_size);

/** Render a conversation.
 *
 *  Arguments of tool calls may be objects or JSON strings; strings are read, because templates
 *  expect objects, and handed on as they are if the template fails that way. A message's reasoning
 *  (reasoning_content, thinking or reasoning) is passed under the first two names.
 *
 *  @param out receives the prompt, NULL on failure; free with llm_chat_prompt_free().
 *  @param messages JSON array of objects with role and content, `size` bytes of UTF-8.
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID (also: the template refuses the conversation; the message is the
 *  template's), LLM_E_FORMAT (JSON, or a value does not fit what the template does with it; the
 *  message names the line), LLM_E_UNSUPPORTED (an unknown filter or test), LLM_E_RANGE (a limit:
 *  10 million steps, 16 MiB of text, 256 MiB of values, 100 levels), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_chat_render(llm_chat_prompt **out, const llm_chat_template *chat,
                                   const char *messages, size_t size,
                                   const llm_chat_options *options);

/** The text, NUL-terminated, valid as long as the prompt; "" for NULL.
 *  @param size_out receives its size in bytes; may be NULL. */
LLM_API const char *llm_chat_prompt_text(const llm_chat_prompt *prompt, size_t *size_out);

/** The parts of the text that the template marks with {% generation %}: what the assistant says,
 *  which is what training on conversations should learn. Part i covers bytes begins[i] to ends[i]
 *  (exclusive).
 *  @param begins, ends receive at most `capacity` positions; may be NULL when capacity is 0.
 *  @param count_out receives the number of parts, also with LLM_E_BUFFER.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_BUFFER. @threads any. */
LLM_API llm_status llm_chat_prompt_spans(size_t *begins, size_t *ends, size_t capacity,
                                         size_t *count_out, const llm_chat_prompt *prompt);

/** The prompt as token ids. Special tokens are found in what the template wrote, never in what came
 *  in with the messages, tools or variables: a user who types "<|im_end|>" writes ten
 *  characters. (A role of letters counts as the template's.) Nothing is put around the text: the
 *  template itself writes the begin token where the model wants one.
 *  @param ids receives at most `capacity` ids; may be NULL when capacity is 0.
 *  @param mask receives 1 for each id that lies in a part of llm_chat_prompt_spans(), else 0;
 *  has room like `ids`; may be NULL.
 *  @param count_out receives the number of ids, also with LLM_E_BUFFER.
 *  @return as llm_tokenizer_encode(). @threads any. */
LLM_API llm_status llm_chat_prompt_encode(int32_t *ids, uint8_t *mask, size_t capacity,
                                          size_t *count_out, const llm_chat_prompt *prompt,
                                          const llm_tokenizer *tokenizer);

/** NULL is allowed. */
LLM_API void llm_chat_prompt_free(llm_chat_prompt *prompt);

/** Takes a model's answer apart while it is being written: content, reasoning, tool calls. */
typedef struct llm_chat_parser llm_chat_parser;

/** Kinds of events. New values may be added. */
enum {
    LLM_CHAT_CONTENT = 1,   /**< more of the content */
    LLM_CHAT_REASONING = 2, /**< more of the reasoning */
    LLM_CHAT_TOOL_CALL = 3  /**< a whole tool call */
};

/** What a parser found. Everything is valid during the callback only. */
typedef struct llm_chat_event {
    const char *text; /**< content, reasoning, or the call's arguments as JSON; NUL-terminated */
    size_t text_size; /**< in bytes */
    const char *name; /**< of the function called; NULL for other kinds */
    const char *id; /**< of the call: the model's own, or made up here (nine letters and digits) */
    int32_t kind;   /**< LLM_CHAT_CONTENT, .. */
    int32_t index;  /**< of the call, from 0 */
} llm_chat_event;

/** Called for each event on the thread that called in. Return 0 to go on, anything else to stop:
 *  the call then returns LLM_E_CANCELLED. Must not call functions on the same parser. */
typedef int32_t (*llm_chat_event_fn)(void *user, const llm_chat_event *event);

/** A tool call. Texts are NUL-terminated and valid as long as the parser. */
typedef struct llm_chat_call {
    const char *name;
    const char *id;
    const char *arguments; /**< JSON, an object unless the model wrote something else */
} llm_chat_call;

/** Create a parser for one answer.
 *  @param out receives the parser, NULL on failure; free with llm_chat_parser_free().
 *  @param context the parser keeps its own reference.
 *  @param format LLM_CHAT_*, see llm_chat_template_format().
 *  @param prompt what the answer follows: if it ends inside reasoning ("<think>"), the answer
 *  begins there. NULL: unknown.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (no such format), LLM_E_NOMEM. */
LLM_API llm_status llm_chat_parser_new(llm_chat_parser **out, llm_context *context, int32_t format,
                                       const llm_chat_prompt *prompt);

/** More of the answer, cut anywhere. Marks such as <tool_call> are special tokens for some models:
 *  generate with keep_special. What looks like a tool call but cannot be read is content.
 *  @param on_event NULL: none; the results below collect everything anyway.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_CANCELLED, LLM_E_NOMEM. One thread at a time. */
LLM_API llm_status llm_chat_parser_push(llm_chat_parser *parser, const char *text, size_t size,
                                        llm_chat_event_fn on_event, void *user);

/** The end of the answer: what was waiting for more comes out. As llm_chat_parser_push(). */
LLM_API llm_status llm_chat_parser_finish(llm_chat_parser *parser, llm_chat_event_fn on_event,
                                          void *user);

/** The content so far, NUL-terminated, valid until the parser is used again; "" for NULL.
 *  @param size_out receives its size in bytes; may be NULL. */
LLM_API const char *llm_chat_parser_content(const llm_chat_parser *parser, size_t *size_out);

/** The reasoning so far. As llm_chat_parser_content(). */
LLM_API const char *llm_chat_parser_reasoning(const llm_chat_parser *parser, size_t *size_out);

/** Number of tool calls so far; 0 for NULL. */
LLM_API size_t llm_chat_parser_call_count(const llm_chat_parser *parser);

/** Tool call `index`, counted from 0.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE. */
LLM_API llm_status llm_chat_parser_call(llm_chat_call *out, const llm_chat_parser *parser,
                                        size_t index);

/** NULL is allowed. */
LLM_API void llm_chat_parser_free(llm_chat_parser *parser);

#ifdef __cplusplus
}
#endif

#endif
