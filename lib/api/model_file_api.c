/* SPDX-License-Identifier: MIT
 *
 * Models in files: the part of llm/model.h that loads, converts and lists.
 */
#include "api/check.h"
#include "models/model.h"

/* ---- loading -----------------------------------------------------------------------------------
 */

static const llm_model_load_options default_load = {.struct_size = sizeof default_load};
static const llm_model_convert_options default_convert = {.struct_size = sizeof default_convert,
                                                          .dtype = -1};

llm_status llm_model_load_options_init(llm_model_load_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_load, sizeof default_load,
                        "llm_model_load_options");
}

static llm_status read_load_options(llm_model_load_options *options,
                                    const llm_model_load_options *given)
{
    llm_status status;

    *options = default_load;
    status = options_read(options, sizeof *options, given, "llm_model_load_options");
    if (!status && (options->map < 0 || options->map > 1))
        status = status_set(LLM_E_INVALID, "map is %d, not 0 or 1", options->map);
    if (!status && options->weights != LLM_WEIGHTS_FLOAT && options->weights != LLM_WEIGHTS_KEEP)
        status =
            status_set(LLM_E_INVALID, "weights is %d, not one of LLM_WEIGHTS_*", options->weights);
    return status;
}

llm_status llm_model_load(llm_model **out, llm_context *context, const char *path,
                          const llm_model_load_options *given)
{
    llm_model_load_options options;
    llm_status status;

    if (!out)
        return null_argument("llm_model_load", "out");
    *out = NULL;
    if (!context || !path)
        return null_argument("llm_model_load", context ? "path" : "context");
    status = read_load_options(&options, given);
    return status ? status : model_load(out, context, path, &options);
}

llm_status llm_model_load_memory(llm_model **out, llm_context *context, const void *data,
                                 size_t size, const llm_model_load_options *given)
{
    llm_model_load_options options;
    struct file_reader reader;
    llm_status status;

    if (!out)
        return null_argument("llm_model_load_memory", "out");
    *out = NULL;
    if (!context || !data)
        return null_argument("llm_model_load_memory", context ? "data" : "context");
    status = read_load_options(&options, given);
    if (!status)
        status = file_reader_over(&reader, &context->memory, "model in memory", data, size);
    return status ? status : model_load_reader(out, context, &reader, &options);
}

llm_status llm_model_load_callback(llm_model **out, llm_context *context, llm_read_fn read,
                                   void *user, uint64_t size, const llm_model_load_options *given)
{
    llm_model_load_options options;
    struct file_reader reader;
    llm_status status;

    if (!out)
        return null_argument("llm_model_load_callback", "out");
    *out = NULL;
    if (!context || !read)
        return null_argument("llm_model_load_callback", context ? "read" : "context");
    status = read_load_options(&options, given);
    if (!status)
        status = file_reader_call(&reader, &context->memory, "model behind a callback", read, user,
                                  size);
    return status ? status : model_load_reader(out, context, &reader, &options);
}

/* ---- converting, listing -----------------------------------------------------------------------
 */

llm_status llm_model_convert_options_init(llm_model_convert_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_convert, sizeof default_convert,
                        "llm_model_convert_options");
}

static bool is_weight_type(int32_t dtype)
{
    return dtype == -1 || dtype == LLM_F32 || dtype == LLM_F16 || dtype == LLM_BF16 ||
           (dtype >= LLM_Q4_0 && dtype <= LLM_TQ2_0);
}

llm_status llm_model_convert(llm_context *context, const char *from, const char *to,
                             const llm_model_convert_options *given)
{
    llm_model_convert_options options = default_convert;
    llm_status status;

    if (!context || !from || !to)
        return null_argument("llm_model_convert", !context ? "context" : !from ? "from" : "to");
    status = options_read(&options, sizeof options, given, "llm_model_convert_options");
    if (!status && !is_weight_type(options.dtype))
        status = status_set(LLM_E_INVALID, "dtype %d is no type of weights", options.dtype);
    return status ? status : model_convert(context, from, to, &options);
}

llm_status llm_model_metadata(llm_context *context, const char *path, llm_metadata_fn fn,
                              void *user)
{
    if (!context || !path || !fn)
        return null_argument("llm_model_metadata", !context ? "context" : !path ? "path" : "fn");
    return model_list_metadata(context, path, fn, user);
}
