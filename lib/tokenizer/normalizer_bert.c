/* SPDX-License-Identifier: MIT
 *
 * BERT's normalizer (google-research/bert, BasicTokenizer): control characters go, white space
 * becomes spaces, ideographs get spaces around them, accents go, letters become small. Stretches of
 * ASCII are done in one pass; the rest goes step by step.
 */
#include "tokenizer/codepoint.h"
#include "tokenizer/normalizer.h"

#include <string.h>

struct bert {
    bool clean;
    bool chinese;
    bool strip;
    bool lower;
    unsigned char ascii[128]; /* what becomes of a byte; 0xFF: nothing */
};

static llm_status read_bert(void **data, struct memory *memory, const json_t *stage)
{
    struct bert *bert = memory_alloc_zeroed(memory, 1, sizeof *bert);
    llm_status status;

    *data = bert;
    if (!bert)
        return LLM_E_NOMEM;
    bert->clean = bert->chinese = bert->lower = true;
    status = json_read_bool(stage, "clean_text", &bert->clean);
    if (!status)
        status = json_read_bool(stage, "handle_chinese_chars", &bert->chinese);
    if (!status)
        status = json_read_bool(stage, "lowercase", &bert->lower);
    bert->strip = bert->lower;
    if (!status)
        status = json_read_bool(stage, "strip_accents", &bert->strip);
    for (unsigned c = 0; c < 128; c++) {
        bert->ascii[c] = (unsigned char)(bert->lower && c - 'A' < 26 ? c | 0x20 : c);
        if (bert->clean && codepoint_is(c, CODEPOINT_CLEANED))
            bert->ascii[c] = 0xFF;
        else if (bert->clean && codepoint_is(c, CODEPOINT_SPACE))
            bert->ascii[c] = ' ';
    }
    return status;
}

static void clean(const struct bert *bert, const struct mapped_text *in, size_t begin, size_t end,
                  struct mapped_text *out)
{
    while (begin < end) {
        size_t length;
        uint32_t c = mapped_char(in->data, end, begin, &length);
        unsigned flags = codepoint_look(c)->flags;

        if (!bert->clean || !(flags & (CODEPOINT_CLEANED | CODEPOINT_SPACE)))
            mapped_copy(out, in, begin, length);
        else if (!(flags & CODEPOINT_CLEANED))
            mapped_put(out, in, begin, " ", 1);
        begin += length;
    }
}

static void space_chinese(const struct mapped_text *in, struct mapped_text *out)
{
    for (size_t at = 0; at < in->size;) {
        size_t length;
        uint32_t c = mapped_char(in->data, in->size, at, &length);

        if (codepoint_is_chinese(c)) {
            mapped_put(out, in, at, " ", 1);
            at += length;
            mapped_insert_char(out, in, at, c);
            mapped_insert(out, in, at, " ", 1);
        } else {
            mapped_copy(out, in, at, length);
            at += length;
        }
    }
}

static void strip_and_lower(const struct bert *bert, const struct mapped_text *in,
                            struct mapped_text *out)
{
    for (size_t at = 0; at < in->size;) {
        size_t length;
        uint32_t c = mapped_char(in->data, in->size, at, &length);
        uint32_t lower[2];

        if (bert->strip && codepoint_is(c, CODEPOINT_NONSPACING)) {
            at += length;
            continue;
        }
        if (!bert->lower || !codepoint_is(c, CODEPOINT_LOWERS)) {
            mapped_copy(out, in, at, length);
        } else {
            size_t count = codepoint_lower(c, lower);

            mapped_put_char(out, in, at, lower[0]);
            if (count == 2)
                mapped_insert_char(out, in, at + length, lower[1]);
        }
        at += length;
    }
}

/* A stretch with characters beyond ASCII. */
static void apply_slowly(const struct bert *bert, struct normalizer_work *work,
                         const struct mapped_text *in, size_t begin, size_t end,
                         struct mapped_text *out)
{
    const struct mapped_text *from;
    struct mapped_text *texts = work->texts;

    for (int i = 0; i < 3; i++)
        mapped_reset(&texts[i], in->track);
    clean(bert, in, begin, end, &texts[0]);
    from = &texts[0];
    if (bert->chinese) {
        space_chinese(from, &texts[1]);
        from = &texts[1];
    }
    if (bert->strip && !from->failed) {
        normalizer_form(0, work, from, 0, from->size, &texts[2]);
        from = &texts[2];
    }
    strip_and_lower(bert, from, out);
    out->failed |= texts[0].failed || texts[1].failed || texts[2].failed;
}

static size_t ascii_end(const char *data, size_t at, size_t end)
{
    const uint64_t high = UINT64_C(0x8080808080808080);

    while (end - at >= 8) {
        uint64_t bytes;

        memcpy(&bytes, data + at, 8);
        if (bytes & high)
            break;
        at += 8;
    }
    while (at < end && (unsigned char)data[at] < 0x80)
        at++;
    return at;
}

static void apply_ascii(const struct bert *bert, const struct mapped_text *in, size_t begin,
                        size_t end, struct mapped_text *out)
{
    const unsigned char *data = (const unsigned char *)in->data;
    size_t size;

    if (!mapped_reserve(out, end - begin))
        return;
    size = out->size;
    for (size_t i = begin; i < end; i++) {
        unsigned char c = bert->ascii[data[i]];

        out->data[size] = (char)c;
        if (out->track)
            out->origins[size] = in->origins[i];
        if (c != 0xFF && i < in->zero && out->zero == size)
            out->zero++;
        size += c != 0xFF;
    }
    out->size = size;
}

static llm_status apply_bert(const void *data, struct normalizer_work *work,
                             const struct mapped_text *in, struct mapped_text *out)
{
    const struct bert *bert = data;
    size_t at = 0;

    while (at < in->size && !out->failed) {
        size_t end = ascii_end(in->data, at, in->size);

        apply_ascii(bert, in, at, end, out);
        at = end;
        /* A short word of ASCII between others is not worth a change of gears. */
        while (end < in->size) {
            size_t next = end;

            while (next < in->size && (unsigned char)in->data[next] >= 0x80)
                next++;
            end = next;
            next = ascii_end(in->data, end, in->size);
            if (next - end > 32 || next == in->size)
                break;
            end = next;
        }
        if (at < end)
            apply_slowly(bert, work, in, at, end, out);
        at = end;
    }
    return LLM_OK;
}

/* U+1D160, 4 bytes, has a canonical decomposition of 12. */
static size_t growth(const void *data)
{
    (void)data;
    return 3;
}

const struct normalizer_type normalizer_bert = {.type = "BertNormalizer",
                                                .local = true,
                                                .read = read_bert,
                                                .apply = apply_bert,
                                                .growth = growth};
