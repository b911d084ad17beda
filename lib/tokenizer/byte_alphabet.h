/* SPDX-License-Identifier: MIT
 *
 * GPT-2's alphabet: a printable character for each byte, so that byte strings can stand in JSON.
 * Bytes that are printable in Latin-1 stand for themselves; the other 68 become U+0100 and up, in
 * order.
 */
#ifndef TOKENIZER_BYTE_ALPHABET_H
#define TOKENIZER_BYTE_ALPHABET_H

#include "base/text.h"

/* Code point for a byte, 33..323. */
uint32_t byte_alphabet_character(unsigned char byte);

/* Byte for a code point; -1 when it is not in the alphabet. */
int byte_alphabet_byte(uint32_t character);

/* Append the spelling of `bytes` in the alphabet, quoted for JSON. */
void byte_alphabet_write_json(struct text *out, const char *bytes, size_t size);

/* Turn a spelling into bytes, at most `size` of them, into `out`. False: some character is not of
 * the alphabet, *size_out unchanged. */
bool byte_alphabet_read(const char *spelling, size_t size, char *out, size_t *size_out);

#endif
