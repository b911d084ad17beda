/* SPDX-License-Identifier: MIT
 *
 * What every fuzz target offers: the entry point of libFuzzer. In ordinary builds replay.c calls it
 * with the corpus and with deterministic changes of it.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
