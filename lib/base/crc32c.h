/* SPDX-License-Identifier: MIT
 *
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): checksums of caches and checkpoints, and the framing
 * of TensorBoard files. Uses the processor's instruction where it has one.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 to start) over `size` more bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);

#endif
