/* SPDX-License-Identifier: MIT
 *
 * What the generations of Gemma share (gemma.c).
 */
#ifndef MODELS_GEMMA_H
#define MODELS_GEMMA_H

#include "models/decoder.h"

struct decoder_config gemma_defaults(void);

/* The fields of Gemma 2 and 3 beyond the family's: windows, caps, the scale of queries. Layer i
 * sees everything where "layer_types" says so or, without it, where i + 1 is a multiple of
 * `period`. */
llm_status gemma_read(struct decoder_config *config, llm_model *model, int32_t period);

#endif
