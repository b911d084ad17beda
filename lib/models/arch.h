/* SPDX-License-Identifier: MIT
 *
 * One line per architecture; the rows of the table in arch.c.
 */
#ifndef MODELS_ARCH_H
#define MODELS_ARCH_H

#include "models/model.h"

extern const struct arch arch_gpt2;  /* gpt2.c */
extern const struct arch arch_llama; /* llama.c */

#endif
