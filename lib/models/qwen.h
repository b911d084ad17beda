/* SPDX-License-Identifier: MIT
 *
 * What the generations of Qwen share (qwen.c).
 */
#ifndef MODELS_QWEN_H
#define MODELS_QWEN_H

#include "models/decoder.h"

struct decoder_config qwen_defaults(void);

/* Which layers slide. */
llm_status qwen_read_windows(struct decoder_config *config, llm_model *model);

#endif
