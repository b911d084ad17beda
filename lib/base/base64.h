/* SPDX-License-Identifier: MIT
 *
 * Base64 (RFC 4648, section 4).
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/text.h"

/* Append the bytes that [data, data + size) stands for; padding may be missing. False: it is not
 * base64 (check out->failed besides). */
bool base64_read(struct text *out, const char *data, size_t size);
/* Append the letters for `bytes`, with padding. */
void base64_write(struct text *out, const void *bytes, size_t size);

#endif
