/* SPDX-License-Identifier: MIT
 *
 * SentencePiece .model files: a protocol buffer (proto2) of which the fields of pieces, trainer and
 * normalizer that change ids are read and all others are skipped; and llama2.c's tokenizer.bin.
 */
#include "base/file.h"
#include "tokenizer/sentencepiece.h"

#include <string.h>

enum { CONFIG_LIMIT = 64 << 20 };

/* ---- the wire format ---- */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire {
    const unsigned char *p;
    const unsigned char *end;
};

struct field {
    uint32_t number;
    int type;
    uint64_t value;      /* varint and fixed */
    struct wire content; /* WIRE_BYTES */
};

static bool read_varint(struct wire *wire, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && wire->p < wire->end; shift += 7) {
        unsigned char byte = *wire->p++;

        if (shift == 63 && byte > 1)
            return false;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool read_fixed(struct wire *wire, int size, uint64_t *out)
{
    *out = 0;
    if (wire->end - wire->p < size)
        return false;
    for (int i = 0; i < size; i++)
        *out |= (uint64_t)wire->p[i] << (8 * i);
    wire->p += size;
    return true;
}

/* The next field; false at the end (*bad false) or where the bytes make no sense. */
static bool next_field(struct wire *wire, struct field *field, bool *bad)
{
    uint64_t key;

    *bad = false;
    if (wire->p == wire->end)
        return false;
    *bad = true;
    if (!read_varint(wire, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3)
        return false;
    field->number = (uint32_t)(key >> 3);
    field->type = (int)(key & 7);
    switch (field->type) {
    case WIRE_VARINT:
        if (!read_varint(wire, &field->value))
            return false;
        break;
    case WIRE_FIXED64:
        if (!read_fixed(wire, 8, &field->value))
            return false;
        break;
    case WIRE_FIXED32:
        if (!read_fixed(wire, 4, &field->value))
            return false;
        break;
    case WIRE_BYTES:
        if (!read_varint(wire, &field->value) || field->value > (uint64_t)(wire->end - wire->p))
            return false;
        field->content = (struct wire){wire->p, wire->p + field->value};
        wire->p = field->content.end;
        break;
    default: /* groups are not used by any version of the format */
        return false;
    }
    *bad = false;
    return true;
}

static llm_status bad_wire(const char *where)
{
    return status_set(LLM_E_FORMAT, "%s: not a protocol buffer of SentencePiece", where);
}

static float to_float(uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    float value;

    memcpy(&value, &word, sizeof value);
    return value;
}

/* ---- the messages ---- */

enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2, MODEL_WORD = 3, MODEL_CHAR = 4 };

struct model_file {
    struct vocabulary_arrays *arrays;
    struct vocabulary_text *tokens;
    float *scores;
    int32_t *types;
    size_t count;
    int64_t model_type;
    bool byte_fallback;
    int64_t special[4]; /* unk, bos, eos, pad as the trainer was told */
};

static llm_status read_piece(struct model_file *file, struct wire wire)
{
    struct field field;
    size_t id = file->count;
    bool bad;

    file->types[id] = PIECE_NORMAL;
    while (next_field(&wire, &field, &bad)) {
        if (field.number == 1 && field.type == WIRE_BYTES)
            file->tokens[id] =
                (struct vocabulary_text){(const char *)field.content.p, (size_t)field.value};
        else if (field.number == 2 && field.type == WIRE_FIXED32)
            file->scores[id] = to_float(field.value);
        else if (field.number == 3 && field.type == WIRE_VARINT)
            file->types[id] = field.value <= PIECE_BYTE ? (int32_t)field.value : 0;
        else if (field.number <= 3)
            return bad_wire("piece");
    }
    if (bad)
        return bad_wire("piece");
    if (file->tokens[id].size == 0)
        return status_set(LLM_E_FORMAT, "piece %zu is empty", id);
    file->count++;
    return LLM_OK;
}

static llm_status read_trainer(struct model_file *file, struct wire wire)
{
    struct field field;
    bool bad;

    while (next_field(&wire, &field, &bad)) {
        if (field.type != WIRE_VARINT)
            continue;
        if (field.number == 3)
            file->model_type = (int64_t)field.value;
        else if (field.number == 24)
            file->arrays->treat_whitespace_as_suffix = field.value != 0;
        else if (field.number == 35)
            file->byte_fallback = field.value != 0;
        else if (field.number >= 40 && field.number <= 43)
            file->special[field.number - 40] = (int64_t)field.value;
    }
    return bad ? bad_wire("trainer_spec") : LLM_OK;
}

static llm_status read_normalizer(struct model_file *file, struct wire wire)
{
    struct vocabulary_arrays *arrays = file->arrays;
    struct field field;
    bool bad;

    while (next_field(&wire, &field, &bad)) {
        if (field.number == 2 && field.type == WIRE_BYTES) {
            arrays->charsmap = (const char *)field.content.p;
            arrays->charsmap_size = (size_t)field.value;
        }
        if (field.type != WIRE_VARINT)
            continue;
        if (field.number == 3)
            arrays->add_space_prefix = field.value != 0;
        else if (field.number == 4)
            arrays->remove_extra_whitespaces = field.value != 0;
        else if (field.number == 5)
            arrays->escape_whitespaces = field.value != 0;
    }
    return bad ? bad_wire("normalizer_spec") : LLM_OK;
}

static size_t count_pieces(struct wire wire)
{
    struct field field;
    size_t count = 0;
    bool bad;

    while (next_field(&wire, &field, &bad))
        count += field.number == 1 && field.type == WIRE_BYTES;
    return count;
}

static llm_status read_messages(struct model_file *file, struct wire wire)
{
    struct field field;
    bool bad;
    llm_status status = LLM_OK;

    while (!status && next_field(&wire, &field, &bad)) {
        if (field.type != WIRE_BYTES)
            continue;
        if (field.number == 1)
            status = read_piece(file, field.content);
        else if (field.number == 2)
            status = read_trainer(file, field.content);
        else if (field.number == 3)
            status = read_normalizer(file, field.content);
    }
    if (!status && bad)
        status = bad_wire("the file");
    return status;
}

/* A role's id counts when its piece is what it should be. */
static int32_t role(const struct model_file *file, int index, int type)
{
    int64_t id = file->special[index];

    return id >= 0 && (uint64_t)id < file->count && file->types[id] == type ? (int32_t)id : -1;
}

static llm_status finish(const struct model_file *file)
{
    struct vocabulary_arrays *arrays = file->arrays;
    size_t unknowns = 0;
    size_t bytes = 0;

    for (size_t i = 0; i < file->count; i++) {
        unknowns += file->types[i] == PIECE_UNKNOWN;
        bytes += file->types[i] == PIECE_BYTE;
        if (file->types[i] == PIECE_UNKNOWN)
            arrays->unk = (int32_t)i;
    }
    if (unknowns != 1)
        return status_set(LLM_E_FORMAT, "%zu unknown pieces, not one", unknowns);
    if (bytes > 0 && !file->byte_fallback)
        return status_set(LLM_E_FORMAT, "byte pieces without byte_fallback");
    if (file->byte_fallback && bytes != 256)
        return status_set(LLM_E_FORMAT, "byte_fallback with %zu byte pieces, not 256", bytes);
    if (file->model_type == MODEL_WORD)
        return status_set(LLM_E_UNSUPPORTED, "trainer_spec.model_type WORD is not supported");
    if (file->model_type < MODEL_UNIGRAM || file->model_type > MODEL_CHAR)
        return status_set(LLM_E_FORMAT, "trainer_spec.model_type %lld is not known",
                          (long long)file->model_type);
    /* A vocabulary of characters merged by score is the character model. */
    arrays->model = file->model_type == MODEL_UNIGRAM ? "t5" : "llama";
    arrays->tokens = file->tokens;
    arrays->scores = file->scores;
    arrays->types = file->types;
    arrays->count = file->count;
    arrays->user_defined_inside = 1;
    arrays->add_bos = arrays->add_eos = 0;
    arrays->bos = role(file, 1, PIECE_CONTROL);
    arrays->eos = role(file, 2, PIECE_CONTROL);
    arrays->pad = role(file, 3, PIECE_CONTROL);
    return LLM_OK;
}

llm_status sentencepiece_read(struct vocabulary_arrays *out, struct arena *arena, const char *data,
                              size_t size)
{
    struct wire wire = {(const unsigned char *)data, (const unsigned char *)data + size};
    struct model_file file = {.arrays = out, .model_type = MODEL_UNIGRAM, .special = {0, 1, 2, -1}};
    size_t count = count_pieces(wire);
    llm_status status;

    vocabulary_arrays_init(out);
    out->add_space_prefix = 1;
    out->remove_extra_whitespaces = 1;
    if (count == 0 || count > VOCAB_MAX_ID)
        return status_set(LLM_E_FORMAT, "not a SentencePiece model: %zu pieces", count);
    file.tokens = arena_alloc(arena, count * sizeof *file.tokens);
    file.scores = arena_alloc(arena, count * sizeof *file.scores);
    file.types = arena_alloc(arena, count * sizeof *file.types);
    if (!file.tokens || !file.scores || !file.types)
        return LLM_E_NOMEM;
    status = read_messages(&file, wire);
    return status ? status : finish(&file);
}

/* ---- tokenizer_config.json ---- */

static llm_status read_switch(const json_t *root, const char *key, int8_t *out)
{
    bool set = *out == 1;
    llm_status status = json_read_bool(root, key, &set);
    const json_t *value = json_object_get(root, key);

    if (!status && value && !json_is_null(value))
        *out = set;
    return status;
}

/* Which tokens the class adds when the file does not say. */
static void set_class(struct vocabulary_arrays *arrays, const char *name)
{
    if (strstr(name, "Llama") || strstr(name, "Gemma"))
        arrays->add_bos = arrays->bos >= 0;
    if (strstr(name, "T5"))
        arrays->add_eos = arrays->eos >= 0;
}

llm_status sentencepiece_read_config(struct vocabulary_arrays *arrays, struct arena *arena,
                                     const char *path)
{
    const char *name = "";
    int8_t legacy = 1;
    json_t *root = NULL;
    char *text = NULL;
    size_t size;
    llm_status status;

    if (!file_exists(path))
        return LLM_OK;
    status = file_read(&text, &size, arena->memory, path, CONFIG_LIMIT);
    if (!status)
        status = json_open(&root, text, size, "tokenizer_config.json");
    if (!status)
        status = json_read_text(root, "tokenizer_class", &name);
    if (!status) {
        set_class(arrays, name);
        status = read_switch(root, "add_bos_token", &arrays->add_bos);
    }
    if (!status)
        status = read_switch(root, "add_eos_token", &arrays->add_eos);
    if (!status)
        status = read_switch(root, "add_prefix_space", &arrays->add_space_prefix);
    if (!status)
        status = read_switch(root, "legacy", &legacy);
    arrays->prefix_first_only = !legacy;
    json_decref(root);
    memory_release(arena->memory, text);
    return status;
}

/* ---- tokenizer.bin ---- */

/* The text of a token with its spaces as U+2581, and the names that llama2.c writes for the begin
 * and end tokens as they were. */
static llm_status respell(struct vocabulary_text *token, struct arena *arena)
{
    size_t spaces = 0;
    size_t size = 0;
    char *text;

    if (token->size == 5 && memcmp(token->data, "\n<s>\n", 5) == 0)
        *token = (struct vocabulary_text){"<s>", 3};
    else if (token->size == 6 && memcmp(token->data, "\n</s>\n", 6) == 0)
        *token = (struct vocabulary_text){"</s>", 4};
    for (size_t i = 0; i < token->size; i++)
        spaces += token->data[i] == ' ';
    if (spaces == 0)
        return LLM_OK;
    text = arena_alloc(arena, token->size + 2 * spaces);
    if (!text)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < token->size; i++) {
        if (token->data[i] == ' ') {
            memcpy(text + size, "\xE2\x96\x81", 3);
            size += 3;
        } else {
            text[size++] = token->data[i];
        }
    }
    *token = (struct vocabulary_text){text, size};
    return LLM_OK;
}

/* Llama's order: unknown, begin, end, 256 bytes, pieces. */
static int32_t bin_type(size_t id)
{
    return id == 0 ? PIECE_UNKNOWN : id <= 2 ? PIECE_CONTROL : id < 259 ? PIECE_BYTE : PIECE_NORMAL;
}

llm_status tokenizer_bin_read(struct vocabulary_arrays *out, struct arena *arena, const char *data,
                              size_t size)
{
    struct wire wire = {(const unsigned char *)data, (const unsigned char *)data + size};
    size_t most = size / 8; /* the smallest entry */
    struct vocabulary_text *tokens = arena_alloc(arena, most * sizeof *tokens);
    float *scores = arena_alloc(arena, most * sizeof *scores);
    int32_t *types = arena_alloc(arena, most * sizeof *types);
    size_t count = 0;
    uint64_t longest = 0;
    llm_status status = LLM_OK;

    vocabulary_arrays_init(out);
    if (!tokens || !scores || !types)
        return LLM_E_NOMEM;
    if (!read_fixed(&wire, 4, &longest) || longest > VOCAB_MAX_TOKEN)
        return status_set(LLM_E_FORMAT, "not a tokenizer.bin: longest token of %llu bytes",
                          (unsigned long long)longest);
    while (wire.p < wire.end && !status) {
        uint64_t score;
        uint64_t length;

        if (!read_fixed(&wire, 4, &score) || !read_fixed(&wire, 4, &length) ||
            length > (uint64_t)(wire.end - wire.p))
            return status_set(LLM_E_FORMAT, "token %zu is cut off", count);
        tokens[count] = (struct vocabulary_text){(const char *)wire.p, (size_t)length};
        scores[count] = to_float(score);
        types[count] = bin_type(count);
        wire.p += length;
        status = respell(&tokens[count++], arena);
    }
    if (!status && count < 259)
        status = status_set(LLM_E_FORMAT, "%zu tokens, fewer than the 259 each file has", count);
    out->model = "llama";
    out->tokens = tokens;
    out->scores = scores;
    out->types = types;
    out->count = count;
    out->unk = 0;
    out->bos = 1;
    out->eos = 2;
    out->add_bos = 1;
    return status;
}
