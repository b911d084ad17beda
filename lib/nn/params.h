/* SPDX-License-Identifier: MIT
 *
 * THE parameter list of a model. Each parameter is declared once, with its Hugging Face name;
 * loading, saving, initializing, optimizing, counting and (later) quantizing and adapting all walk
 * this list.
 */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include "base/map.h"
#include "tensor/tensor.h"

enum {
    PARAM_DECAY = 1 << 0,      /* a matrix: weight decay applies */
    PARAM_TRANSPOSED = 1 << 1, /* 2-D, stored [in, out] in files (GPT-2's Conv1D), [out, in] here */
    PARAM_OPTIONAL = 1 << 2,   /* a file may lack it: it keeps its initial values */
    PARAM_LINEAR = 1 << 16     /* the weight of a linear layer: adapters may change it */
};

/* How a fresh model starts. */
enum param_init {
    PARAM_INIT_ZERO,
    PARAM_INIT_ONE,
    PARAM_INIT_NORMAL,
    PARAM_INIT_UNIFORM /* between -deviation and deviation */
};

struct param {
    const char *name;      /* "transformer.h.0.attn.c_attn.weight" */
    const char *gguf_name; /* "blk.0.attn_qkv.weight", NULL: none */
    llm_tensor *tensor;
    uint32_t flags;
    enum param_init init;
    float deviation; /* of PARAM_INIT_NORMAL and _UNIFORM */
};

/* What is behind the tensors. */
enum params_mode {
    PARAMS_NOW,         /* memory */
    PARAMS_SHAPES_ONLY, /* nothing: for questions about sizes */
    PARAMS_LATER        /* params_allocate() or params_adopt(), one by one, before they are used */
};

struct params {
    llm_context *context;
    struct arena arena; /* names */
    struct map names;   /* name -> index */
    struct param *list;
    size_t count;
    size_t capacity;
    llm_status status; /* sticky, so that declarations read as a list */
    int32_t mode;      /* enum params_mode */
    int64_t elements;  /* of all of them */
};

void params_init(struct params *params, llm_context *context, enum params_mode mode);
void params_free(struct params *params);

/* What a declaration says beside its name; .shape holds .dimensions sizes. */
struct param_spec {
    int32_t dimensions;
    int64_t shape[4];
    uint32_t flags;
    enum param_init init;
    float deviation;
};

/* Declares a parameter: an f32 tensor that wants gradients, values unspecified until loaded or
 * initialized. NULL after a failure, which params->status keeps. `gguf` may be NULL. A model that
 * cannot fit into the machine's memory fails here, before the system is asked for it. */
llm_tensor *params_declare(struct params *params, const struct param_spec *spec, const char *gguf,
                           const char *name_format, ...) PRINTF_LIKE(4, 5);

struct param *params_find(const struct params *params, const char *name); /* or NULL */

/* Fresh values; parameter i draws from Philox stream i of `seed`, so that adding a parameter does
 * not change the others. */
void params_initialize(struct params *params, uint64_t seed);
void params_initialize_one(const struct params *params, size_t index, uint64_t seed);

/* PARAMS_LATER: memory of its own for parameter `index`, unless it has some; or `data` in a storage
 * that others share, for example a mapped file. */
llm_status params_allocate(struct params *params, size_t index);
void params_adopt(struct params *params, size_t index, struct storage *storage, void *data);

/* LLM_E_UNSUPPORTED when a parameter is kept in a block type: `what` cannot be done then. */
llm_status params_check_plain(const struct params *params, const char *what);

/* The tensor as files store it: itself, or for PARAM_TRANSPOSED its transpose as a view. Fills
 * `view`, which borrows everything. */
void params_file_view(llm_tensor *view, const struct param *param);

#endif
