/* SPDX-License-Identifier: MIT
 *
 * TensorBoard event files: TFRecord framing (length, masked CRC-32C of it, data, masked CRC-32C of
 * that) around protocol-buffer messages, of which only the few fields used here are encoded by
 * hand: Event {wall_time = 1 double, step = 2 int64, file_version = 3 string, summary = 5}, Summary
 * {value = 1}, Summary.Value {tag = 1 string, simple_value = 2 float}.
 */
#include "train/metrics.h"

#include "base/crc32c.h"

#include <string.h>

enum { FRAME_HEADER = 12, FRAME_FOOTER = 4 };

static void put_bytes(struct text *out, uint64_t value, int count)
{
    unsigned char bytes[8];

    for (int i = 0; i < count; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    text_append(out, bytes, (size_t)count);
}

static void put_varint(struct text *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t count = 0;

    do {
        bytes[count] = (unsigned char)(value & 0x7F);
        value >>= 7;
        bytes[count++] |= value ? 0x80 : 0;
    } while (value);
    text_append(out, bytes, count);
}

enum { WIRE_VARINT = 0, WIRE_DOUBLE = 1, WIRE_BYTES = 2, WIRE_FLOAT = 5 };

static void put_key(struct text *out, uint64_t field, uint64_t wire)
{
    put_varint(out, field << 3 | wire);
}

static void put_block(struct text *out, uint64_t field, const void *data, size_t size)
{
    put_key(out, field, WIRE_BYTES);
    put_varint(out, size);
    text_append(out, data, size);
}

static void put_wall_time(struct text *out, double wall_time)
{
    uint64_t bits;

    memcpy(&bits, &wall_time, sizeof bits);
    put_key(out, 1, WIRE_DOUBLE);
    put_bytes(out, bits, 8);
}

static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static void put_frame(struct text *out, const struct text *event)
{
    size_t start = out->size;

    put_bytes(out, event->size, 8);
    if (!out->failed)
        put_bytes(out, masked(crc32c(0, out->data + start, 8)), 4);
    text_append(out, event->data, event->size);
    put_bytes(out, masked(crc32c(0, event->data, event->size)), 4);
    if (event->failed)
        out->failed = true;
}

void tensorboard_begin(struct text *out, double wall_time)
{
    struct text event;

    text_init(&event, out->memory);
    put_wall_time(&event, wall_time);
    put_block(&event, 3, "brain.Event:2", 13);
    put_frame(out, &event);
    text_free(&event);
}

void tensorboard_scalars(struct text *out, double wall_time, int64_t step,
                         const struct scalar *scalars, size_t count)
{
    struct text event, summary, value;

    text_init(&event, out->memory);
    text_init(&summary, out->memory);
    text_init(&value, out->memory);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        value.size = 0;
        memcpy(&bits, &scalars[i].value, sizeof bits);
        put_block(&value, 1, scalars[i].tag, strlen(scalars[i].tag));
        put_key(&value, 2, WIRE_FLOAT);
        put_bytes(&value, bits, 4);
        put_block(&summary, 1, value.data, value.size);
    }
    put_wall_time(&event, wall_time);
    put_key(&event, 2, WIRE_VARINT);
    put_varint(&event, (uint64_t)step);
    put_block(&event, 5, summary.data, summary.size);
    event.failed |= summary.failed | value.failed;
    put_frame(out, &event);
    text_free(&event);
    text_free(&summary);
    text_free(&value);
}

static uint64_t get_bytes(const char *data, int count)
{
    uint64_t value = 0;

    for (int i = count; i-- > 0;)
        value = value << 8 | (unsigned char)data[i];
    return value;
}

/* Field 2 of an event as written above: after the nine bytes of wall_time. 0 when there is none. */
static int64_t event_step(const char *data, size_t size)
{
    uint64_t value = 0;

    if (size < 10 || data[0] != 9 || data[9] != 16)
        return 0;
    for (size_t i = 10, shift = 0; i < size && shift < 64; i++, shift += 7) {
        value |= (uint64_t)((unsigned char)data[i] & 0x7F) << shift;
        if (!((unsigned char)data[i] & 0x80))
            break;
    }
    return (int64_t)value;
}

void tensorboard_keep(struct text *out, const char *data, size_t size, int64_t step)
{
    while (size >= FRAME_HEADER + FRAME_FOOTER) {
        uint64_t length = get_bytes(data, 8);
        size_t whole;

        if (get_bytes(data + 8, 4) != masked(crc32c(0, data, 8)) ||
            length > size - FRAME_HEADER - FRAME_FOOTER)
            return;
        whole = FRAME_HEADER + (size_t)length + FRAME_FOOTER;
        if (get_bytes(data + whole - FRAME_FOOTER, 4) !=
            masked(crc32c(0, data + FRAME_HEADER, (size_t)length)))
            return;
        if (event_step(data + FRAME_HEADER, (size_t)length) <= step)
            text_append(out, data, whole);
        data += whole;
        size -= whole;
    }
}
