/* SPDX-License-Identifier: MIT
 *
 * The header gives sizes only; every offset follows from them, and the file must be exactly as long
 * as they say. That is also how version 0, which has no magic number, is known for certain.
 */
#include "formats/llama2c.h"

#include "formats/gguf.h"

#include <stdio.h>
#include <string.h>

enum {
    MAGIC = 0x616b3432, /* "ak42" */
    HEADER = 256,       /* bytes, versions 1 and 2 */
    OLD_HEADER = 28     /* version 0 */
};

struct sizes {
    int32_t dim, hidden, layers, heads, kv_heads, vocabulary, context;
    int32_t version;
    int32_t group; /* version 2 */
    bool shared;   /* the output is the embedding */
};

static int32_t load_i32(const unsigned char *bytes)
{
    return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24);
}

/* Seven numbers in the order of struct sizes. */
static void load_sizes(struct sizes *sizes, const unsigned char *bytes)
{
    sizes->dim = load_i32(bytes);
    sizes->hidden = load_i32(bytes + 4);
    sizes->layers = load_i32(bytes + 8);
    sizes->heads = load_i32(bytes + 12);
    sizes->kv_heads = load_i32(bytes + 16);
    sizes->vocabulary = load_i32(bytes + 20);
    sizes->context = load_i32(bytes + 24);
}

static bool in_range(int32_t value, int32_t most)
{
    return value >= 1 && value <= most;
}

static llm_status check_sizes(const struct sizes *sizes)
{
    if (!in_range(sizes->dim, 1 << 20) || !in_range(sizes->hidden, 1 << 22) ||
        !in_range(sizes->layers, 1 << 14) || !in_range(sizes->heads, 1 << 16) ||
        !in_range(sizes->kv_heads, sizes->heads) || !in_range(sizes->vocabulary, 1 << 24) ||
        !in_range(sizes->context, 1 << 24))
        return status_set(LLM_E_FORMAT, "llama2.c header: a size is out of range");
    if (sizes->dim % sizes->heads || sizes->heads % sizes->kv_heads ||
        sizes->dim / sizes->heads % 2)
        return status_set(LLM_E_FORMAT, "llama2.c header: %d wide does not fit %d and %d heads",
                          sizes->dim, sizes->heads, sizes->kv_heads);
    if (sizes->version == 2 && !in_range(sizes->group, 1 << 20))
        return status_set(LLM_E_FORMAT, "llama2.c header: groups of %d", sizes->group);
    return LLM_OK;
}

static llm_status read_sizes(struct sizes *sizes, const struct file_reader *file)
{
    unsigned char header[41];
    llm_status status = file_reader_read(file, 0, header, OLD_HEADER);

    memset(sizes, 0, sizeof *sizes);
    if (status)
        return status;
    if (load_i32(header) != MAGIC) {
        load_sizes(sizes, header);
        sizes->shared = sizes->vocabulary > 0;
        if (sizes->vocabulary < 0 && sizes->vocabulary > INT32_MIN)
            sizes->vocabulary = -sizes->vocabulary;
        return check_sizes(sizes);
    }
    status = file_reader_read(file, 0, header, sizeof header);
    if (status)
        return status;
    load_sizes(sizes, header + 8);
    sizes->version = load_i32(header + 4);
    sizes->shared = header[36] != 0;
    sizes->group = load_i32(header + 37);
    if (sizes->version != 1 && sizes->version != 2)
        return status_set(LLM_E_UNSUPPORTED, "llama2.c version %d, not 0, 1 or 2", sizes->version);
    return check_sizes(sizes);
}

/* ---- tensors -----------------------------------------------------------------------------------
 */

struct layout {
    struct tensor_source *source;
    const struct sizes *sizes;
    uint64_t at; /* of the next tensor */
    uint32_t file;
    llm_status status;
};

/* One tensor of `rows` times `columns` (0: a vector of `rows`); `quantize`: groups in version 2. */
static void add(struct layout *layout, const char *name, int32_t rows, int32_t columns,
                bool quantize)
{
    int64_t count = (int64_t)rows * (columns ? columns : 1);
    struct tensor_entry entry = {.type_name = "f32",
                                 .dtype = LLM_F32,
                                 .dimensions = columns ? 2 : 1,
                                 .shape = {rows, columns},
                                 .offset = layout->at,
                                 .file = layout->file};

    if (layout->status)
        return;
    entry.bytes = (uint64_t)count * 4;
    layout->at += entry.bytes;
    if (quantize && layout->sizes->version == 2) {
        int32_t group = layout->sizes->group;

        if (count % group != 0) {
            layout->status =
                status_set(LLM_E_FORMAT, "tensor \"%s\" does not fill groups of %d", name, group);
            return;
        }
        entry.dtype = LLM_I8;
        entry.type_name = "q8 groups";
        entry.group = (uint32_t)group;
        entry.scales_offset = entry.offset + (uint64_t)count;
        entry.bytes = (uint64_t)count + (uint64_t)(count / group) * 4;
        layout->at = entry.offset + entry.bytes;
    }
    layout->status = tensor_source_add(layout->source, &entry, name, strlen(name));
}

/* The same tensor of every layer, one behind the other. */
static void add_layers(struct layout *layout, const char *name, int32_t rows, int32_t columns,
                       bool quantize)
{
    for (int32_t i = 0; i < layout->sizes->layers && !layout->status; i++) {
        char full[64];

        (void)snprintf(full, sizeof full, "blk.%d.%s.weight", i, name);
        add(layout, full, rows, columns, quantize);
    }
}

static void add_matrices(struct layout *layout)
{
    const struct sizes *sizes = layout->sizes;
    int32_t narrow = sizes->dim / sizes->heads * sizes->kv_heads;

    add_layers(layout, "attn_q", sizes->dim, sizes->dim, true);
    add_layers(layout, "attn_k", narrow, sizes->dim, true);
    add_layers(layout, "attn_v", narrow, sizes->dim, true);
    add_layers(layout, "attn_output", sizes->dim, sizes->dim, true);
}

static void add_feed_forward(struct layout *layout)
{
    const struct sizes *sizes = layout->sizes;

    add_layers(layout, "ffn_gate", sizes->hidden, sizes->dim, true);
    add_layers(layout, "ffn_down", sizes->dim, sizes->hidden, true);
    add_layers(layout, "ffn_up", sizes->hidden, sizes->dim, true);
}

static llm_status add_all(struct layout *layout)
{
    const struct sizes *sizes = layout->sizes;

    if (sizes->version == 0) {
        add(layout, "token_embd.weight", sizes->vocabulary, sizes->dim, false);
        add_layers(layout, "attn_norm", sizes->dim, 0, false);
        add_matrices(layout);
        add_layers(layout, "ffn_norm", sizes->dim, 0, false);
        add_feed_forward(layout);
        add(layout, "output_norm.weight", sizes->dim, 0, false);
        /* two tables of rotary angles, which follow from the sizes */
        layout->at += (uint64_t)sizes->context * (uint64_t)(sizes->dim / sizes->heads) * 4;
    } else {
        layout->at = HEADER;
        add_layers(layout, "attn_norm", sizes->dim, 0, false);
        add_layers(layout, "ffn_norm", sizes->dim, 0, false);
        add(layout, "output_norm.weight", sizes->dim, 0, false);
        add(layout, "token_embd.weight", sizes->vocabulary, sizes->dim, true);
        add_matrices(layout);
        add_feed_forward(layout);
    }
    if (!sizes->shared)
        add(layout, "output.weight", sizes->vocabulary, sizes->dim, true);
    return layout->status;
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static llm_status make_metadata(struct tensor_source *source, const struct sizes *sizes)
{
    struct gguf *gguf = memory_alloc_zeroed(source->memory, 1, sizeof *gguf);

    if (!gguf)
        return LLM_E_NOMEM;
    source->metadata = gguf;
    gguf_init(gguf, source->memory);
    gguf_put_text(gguf, "general.architecture", "llama", 5);
    gguf_put_u32(gguf, "llama.context_length", (uint32_t)sizes->context);
    gguf_put_u32(gguf, "llama.embedding_length", (uint32_t)sizes->dim);
    gguf_put_u32(gguf, "llama.feed_forward_length", (uint32_t)sizes->hidden);
    gguf_put_u32(gguf, "llama.block_count", (uint32_t)sizes->layers);
    gguf_put_u32(gguf, "llama.attention.head_count", (uint32_t)sizes->heads);
    gguf_put_u32(gguf, "llama.attention.head_count_kv", (uint32_t)sizes->kv_heads);
    gguf_put_f32(gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    gguf_put_f32(gguf, "llama.rope.freq_base", 10000.0);
    return gguf->status;
}

static llm_status read_header(struct tensor_source *source, uint32_t file)
{
    struct layout layout = {.source = source, .at = OLD_HEADER, .file = file};
    struct sizes sizes;
    uint64_t size = source->files[file].size;
    llm_status status = file ? status_set(LLM_E_FORMAT, "a llama2.c file beside others") : LLM_OK;

    if (!status)
        status = read_sizes(&sizes, &source->files[file]);
    layout.sizes = &sizes;
    if (!status)
        status = add_all(&layout);
    if (!status && layout.at != size)
        status = status_set(LLM_E_FORMAT,
                            "as a llama2.c checkpoint the file would hold %llu bytes, not %llu",
                            (unsigned long long)layout.at, (unsigned long long)size);
    return status ? status : make_metadata(source, &sizes);
}

/* The magic number, or four sizes that can be those of a model; the rest is for read_header(). */
static bool probe(const unsigned char magic[TENSOR_SOURCE_MAGIC])
{
    int32_t dim = load_i32(magic);
    int32_t heads = load_i32(magic + 12);

    if (dim == MAGIC)
        return true;
    return in_range(dim, 1 << 20) && in_range(load_i32(magic + 4), 1 << 22) &&
           in_range(load_i32(magic + 8), 1 << 14) && in_range(heads, dim) && dim % heads == 0;
}

const struct tensor_format llama2c_format = {"llama2c", probe, read_header};
