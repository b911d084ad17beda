/* SPDX-License-Identifier: MIT
 *
 * Panels of quantized weights, from the blocks of files and back. The table in qgemm_types.c says
 * which fields a block has; a panel holds the same fields of 16 rows beside each other.
 */
#include "base/checked.h"
#include "kernels/qgemm_kernel.h"

#include <string.h>

static bool four_bit_floats(enum qgemm_type type)
{
    return type == QGEMM_NF4 || type == QGEMM_FP4;
}

int64_t qgemm_units(const struct qgemm_weights *weights)
{
    int64_t unit = qgemm_traits[weights->type].unit;

    return (weights->k + unit - 1) / unit;
}

/* ---- where things are -------------------------------------------------------------------------
 */

static int64_t panel_scale_bytes(enum qgemm_type type, int64_t units)
{
    int64_t bytes = type == QGEMM_I8 ? 4 : units * qgemm_traits[type].scale_bytes;

    return (bytes * QGEMM_PANEL + 63) / 64 * 64;
}

static int64_t unit_code_bytes(enum qgemm_type type)
{
    return (int64_t)QGEMM_PANEL * (qgemm_traits[type].unit_bytes - qgemm_traits[type].scale_bytes);
}

static int64_t panel_bytes(const struct qgemm_weights *weights)
{
    int64_t units = qgemm_units(weights);

    return panel_scale_bytes(weights->type, units) + units * unit_code_bytes(weights->type);
}

bool qgemm_packed_bytes(enum qgemm_type type, int64_t n, int64_t k, size_t *bytes)
{
    struct qgemm_weights one = {type, QGEMM_PANEL, k, NULL};
    int64_t most = INT64_MAX / 4096; /* a panel's bytes per value are fewer */

    if (n < 0 || k < 0 || k > most || n > INT64_MAX - QGEMM_PANEL || k % qgemm_block(type) != 0)
        return false;
    n = (n + QGEMM_PANEL - 1) / QGEMM_PANEL;
    return checked_mul((size_t)n, (size_t)panel_bytes(&one), bytes);
}

const uint8_t *qgemm_scales(const struct qgemm_weights *weights, int64_t panel)
{
    return (const uint8_t *)weights->packed + panel * panel_bytes(weights);
}

const uint8_t *qgemm_codes(const struct qgemm_weights *weights, int64_t panel)
{
    return qgemm_scales(weights, panel) + panel_scale_bytes(weights->type, qgemm_units(weights));
}

/* ---- blocks to fields and back ----------------------------------------------------------------
 */

/* Bits 0, 4, ... 28 to the low byte. */
static uint32_t every_fourth(uint32_t bits)
{
    bits &= 0x11111111u;
    bits = (bits | bits >> 3) & 0x03030303u;
    bits = (bits | bits >> 6) & 0x000f000fu;
    return (bits | bits >> 12) & 0xffu;
}

static uint32_t spread_fourth(uint32_t bits)
{
    bits = (bits | bits << 12) & 0x000f000fu;
    bits = (bits | bits << 6) & 0x03030303u;
    return (bits | bits << 3) & 0x11111111u;
}

/* The fifth bits of 32 values: bit 4 j + i of the block is bit j of byte i in the panel. */
static void turn_bits(uint8_t bits[4], bool pack)
{
    uint32_t from = (uint32_t)bits[0] | (uint32_t)bits[1] << 8 | (uint32_t)bits[2] << 16 |
                    (uint32_t)bits[3] << 24;
    uint32_t to = 0;

    for (int i = 0; i < 4; i++)
        to |= pack ? every_fourth(from >> i) << (8 * i) : spread_fourth(from >> (8 * i) & 255) << i;
    for (int i = 0; i < 4; i++)
        bits[i] = (uint8_t)(to >> (8 * i));
}

/* bitsandbytes has value 2 i in the high half of byte i; panels have value i of 32 in the low half
 * of byte i, and value 16 + i in its high half. */
static void turn_nibbles(uint8_t *codes, bool pack)
{
    for (int block = 0; block < 2; block++, codes += 16) {
        uint8_t from[16];

        memcpy(from, codes, 16);
        for (int i = 0; i < 16; i++) {
            if (pack)
                codes[i] = (uint8_t)((from[i / 2] >> (i % 2 ? 0 : 4) & 15) |
                                     (from[8 + i / 2] >> (i % 2 ? 0 : 4) & 15) << 4);
            else
                codes[i] = i < 8 ? (uint8_t)((from[2 * i] & 15) << 4 | (from[2 * i + 1] & 15))
                                 : (uint8_t)((from[2 * i - 16] & 0xf0) | from[2 * i - 15] >> 4);
        }
    }
}

/* A block as panels want it: `unit_bytes` bytes in `block`, perhaps through `room`. */
static const uint8_t *stage(const struct qgemm_weights *weights, const struct qgemm_rows *rows,
                            int64_t row, int64_t unit, uint8_t room[QGEMM_BYTES_MOST])
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    const uint8_t *from = (const uint8_t *)rows->blocks + row * rows->stride;
    int64_t left = weights->k - 32 * unit;

    switch (weights->type) {
    case QGEMM_Q5_0:
    case QGEMM_Q5_1:
        memcpy(room, from + unit * traits->unit_bytes, (size_t)traits->unit_bytes);
        turn_bits(room + traits->scale_bytes, true);
        return room;
    case QGEMM_NF4:
    case QGEMM_FP4:
        memcpy(room, rows->scales + row * (weights->k / 64) + unit, 4);
        memcpy(room + 4, from + 32 * unit, 32);
        turn_nibbles(room + 4, true);
        return room;
    case QGEMM_I8:
        if (left >= 32)
            return from + 32 * unit;
        memset(room, 0, 32);
        memcpy(room, from + 32 * unit, (size_t)left);
        return room;
    default:
        return from + unit * traits->unit_bytes;
    }
}

/* One element (a constant count of bytes makes it one move). */
static inline void move_element(uint8_t *to, const uint8_t *from, int width)
{
    if (width == 4)
        memcpy(to, from, 4);
    else if (width == 2)
        memcpy(to, from, 2);
    else
        *to = *from;
}

/* Fields of a block to (or from) row `lane` of its unit in a panel. */
static void move_unit(const struct qgemm_traits *traits, uint8_t *scales, uint8_t *codes,
                      int64_t lane, uint8_t *block, bool pack)
{
    for (int f = 0; f < 5 && traits->field[f].count; f++) {
        const struct qgemm_field *field = &traits->field[f];
        uint8_t **area = field->code ? &codes : &scales;
        uint8_t *in_panel = *area + lane * field->width;
        uint8_t *in_block = block + field->at;

        for (int i = 0; i < field->count; i++, in_block += field->width) {
            if (pack)
                move_element(in_panel, in_block, field->width);
            else
                move_element(in_block, in_panel, field->width);
            in_panel += QGEMM_PANEL * field->width;
        }
        *area += QGEMM_PANEL * field->width * field->count;
    }
}

static void pack_panel(const struct qgemm_weights *weights, int64_t panel,
                       const struct qgemm_rows *rows, int64_t first, int64_t count)
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    static const uint8_t nothing[QGEMM_BYTES_MOST];
    uint8_t *scales = (uint8_t *)weights->packed + panel * panel_bytes(weights);
    uint8_t *codes = scales + panel_scale_bytes(weights->type, qgemm_units(weights));
    int64_t units = qgemm_units(weights);

    if (weights->type == QGEMM_I8) {
        memset(scales, 0, 4 * QGEMM_PANEL);
        memcpy(scales, rows->scales + first, (size_t)count * sizeof *rows->scales);
    }
    for (int64_t unit = 0; unit < units; unit++) {
        for (int64_t lane = 0; lane < QGEMM_PANEL; lane++) {
            uint8_t room[QGEMM_BYTES_MOST];
            const uint8_t *block =
                lane < count ? stage(weights, rows, first + lane, unit, room) : nothing;

            move_unit(traits, scales, codes, lane, (uint8_t *)(uintptr_t)block, true);
        }
        scales += QGEMM_PANEL * traits->scale_bytes;
        codes += unit_code_bytes(weights->type);
    }
}

void qgemm_pack(const struct qgemm_weights *weights, int64_t first, int64_t count,
                const struct qgemm_rows *rows)
{
    for (int64_t row = 0; row < count; row += QGEMM_PANEL)
        pack_panel(weights, (first + row) / QGEMM_PANEL, rows, row,
                   count - row < QGEMM_PANEL ? count - row : QGEMM_PANEL);
}

void qgemm_restore(const struct qgemm_weights *weights, int64_t row, int64_t unit, uint8_t *block)
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    int64_t panel = row / QGEMM_PANEL;
    const uint8_t *scales = qgemm_scales(weights, panel) + unit * QGEMM_PANEL * traits->scale_bytes;
    const uint8_t *codes = qgemm_codes(weights, panel) + unit * unit_code_bytes(weights->type);

    move_unit(traits, (uint8_t *)(uintptr_t)scales, (uint8_t *)(uintptr_t)codes, row % QGEMM_PANEL,
              block, false);
}

void qgemm_unpack(const struct qgemm_weights *weights, int64_t row, void *blocks, float *scales)
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    uint8_t *to = blocks;

    for (int64_t unit = 0; unit < qgemm_units(weights); unit++) {
        uint8_t room[QGEMM_BYTES_MOST];
        int64_t left = weights->k - unit * traits->unit;

        qgemm_restore(weights, row, unit, room);
        if (four_bit_floats(weights->type)) {
            memcpy(scales + unit, room, 4);
            turn_nibbles(room + 4, false);
            memcpy(to + 32 * unit, room + 4, 32);
        } else if (weights->type == QGEMM_I8) {
            memcpy(to + 32 * unit, room, (size_t)(left < 32 ? left : 32));
        } else {
            if (weights->type == QGEMM_Q5_0 || weights->type == QGEMM_Q5_1)
                turn_bits(room + traits->scale_bytes, false);
            memcpy(to + unit * traits->unit_bytes, room, (size_t)traits->unit_bytes);
        }
    }
    if (weights->type == QGEMM_I8)
        memcpy(scales, qgemm_scales(weights, row / QGEMM_PANEL) + row % QGEMM_PANEL * 4, 4);
}
