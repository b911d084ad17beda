/* SPDX-License-Identifier: MIT
 *
 * What a GGUF file says differently from a Hugging Face directory, per architecture: metadata keys
 * for fields of config.json, and rows of tensors in another order. One table (gguf_family.c) serves
 * reading and writing. The names of tensors stand with the parameters, in params_declare().
 */
#ifndef MODELS_GGUF_FAMILY_H
#define MODELS_GGUF_FAMILY_H

#include "formats/gguf.h"
#include "models/model.h"

/* What a field is when config.json leaves it out: a size of the model, or a number of the table. */
enum gguf_default {
    GGUF_NO_DEFAULT, /* then the key is left out, too */
    GGUF_CONTEXT,
    GGUF_WIDTH,
    GGUF_LAYERS,
    GGUF_FEED_FORWARD, /* rows of "ffn_up" or "ffn_gate" */
    GGUF_HEADS,
    GGUF_KV_HEADS,
    GGUF_HEAD_DIM,
    GGUF_SIZE_KV_HEADS, /* as GGUF_KV_HEADS, whatever config.json says (Falcon) */
    GGUF_NUMBER         /* `number` */
};

enum gguf_kind { GGUF_COUNT, GGUF_REAL, GGUF_FLAG };

/* "<architecture>.<key>" <-> config.json's `field`. */
struct gguf_field {
    const char *key;
    const char *field;
    uint8_t kind;     /* enum gguf_kind */
    uint8_t missing;  /* enum gguf_default */
    uint8_t required; /* files without the key are refused */
    double number;
};

/* A field that GGUF files cannot express: readers assume `json`. */
struct gguf_fixed {
    const char *field;
    const char *json;
    const char *also; /* another spelling of the same, or NULL */
};

/* How the file's rows differ from ours, for tensors whose name ends in `ending`. */
enum gguf_order {
    GGUF_SAME,
    GGUF_ROPE_QUERY, /* halves of each head interleaved, as llama.cpp's "normal" rope wants it */
    GGUF_ROPE_KEY,
    GGUF_PLUS_ONE, /* the file holds 1 + w */
    GGUF_GROUPS    /* query, key and value rows together instead of by group of heads */
};

struct gguf_rule {
    const char *ending;
    enum gguf_order order;
};

struct gguf_family {
    const char *architecture; /* "general.architecture" */
    const char *model_type;   /* of config.json */
    const struct gguf_field *fields;
    size_t field_count;
    const struct gguf_fixed *fixed; /* ends with a NULL field */
    const struct gguf_rule *rules;  /* ends with a NULL ending */
    double theta;                   /* rotary base when nothing says; 0: no rotary positions */
    double part;                    /* of a head that turns, likewise */
    const char *theta_field, *part_field; /* NULL: the usual ones; see nn/rotary.h */
    /* What the tables cannot say; both may be NULL. */
    llm_status (*read)(json_t *config, const struct tensor_source *source);
    llm_status (*write)(struct gguf *gguf, const llm_model *model);
};

/* The family of an architecture that can be written, or of a file; or NULL. */
const struct gguf_family *gguf_family_of_model(const llm_model *model);
const struct gguf_family *gguf_family_of_file(const char *architecture);
const struct gguf_family *gguf_family_of_type(const char *model_type);

/* "<architecture>.<key>" in a buffer of the caller. */
enum { GGUF_KEY = 128 };
const char *gguf_key(char buffer[GGUF_KEY], const char *architecture, const char *key);

/* ---- configuration (gguf_config.c) ---- */

/* config.json of a file with metadata. Free with json_decref(). */
llm_status gguf_to_config(json_t **out, const struct tensor_source *source);
/* The model's part of the metadata: everything but tokenizer and type of the weights. */
llm_status gguf_from_config(struct gguf *gguf, const llm_model *model);

/* Rotary scaling, both ways (gguf_rope.c). `factors`: the tensors that some scalings need, to be
 * written beside the parameters. */
struct gguf_factors {
    const char *name; /* "rope_freqs.weight" */
    float *values;
    int64_t count;
};
llm_status gguf_read_rope(json_t *config, const struct gguf_family *family,
                          const struct tensor_source *source, struct arena *arena);
llm_status gguf_write_rope(struct gguf *gguf, const llm_model *model, struct arena *arena,
                           struct gguf_factors factors[2]);

/* ---- tensors (gguf_parts.c) ---- */

/* A piece of a file's tensor that is a view of a parameter. */
struct gguf_part {
    struct gguf_part *next; /* of the same tensor */
    size_t param;           /* index */
    int64_t begin;          /* elements of the file's tensor before it */
    int32_t dimensions;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t stride[LLM_MAX_DIMENSIONS];
    int64_t offset; /* elements of the parameter before it */
};

struct gguf_tensor {
    const char *name;
    int32_t dimensions;
    int64_t shape[GGUF_DIMENSIONS];
    struct gguf_part *parts;
    bool plus_one;
    bool whole; /* one part, which is the parameter as it is */
};

struct gguf_layout {
    struct gguf_tensor *list;
    size_t count;
};

/* The tensors that a GGUF file of the model has, in `arena`. LLM_E_UNSUPPORTED names a parameter
 * that has no place in one. */
llm_status gguf_layout_make(struct gguf_layout *layout, const llm_model *model,
                            struct arena *arena);
/* The part as a view of `tensor`, which holds the parameter. */
void gguf_part_view(llm_tensor *view, const struct gguf_part *part, const llm_tensor *tensor);

#endif
