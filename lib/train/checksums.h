/* SPDX-License-Identifier: MIT
 *
 * The file "checksums" of a checkpoint: one line with CRC-32C, size and name for each other file,
 * and a last line that vouches for the lines before it.
 */
#ifndef TRAIN_CHECKSUMS_H
#define TRAIN_CHECKSUMS_H

#include "base/memory.h"

/* Over all files that are in the directory now. */
llm_status checksums_write(struct memory *memory, const char *directory);

/* LLM_E_FORMAT names the file that is damaged, missing or of another size. */
llm_status checksums_verify(struct memory *memory, const char *directory);

#endif
