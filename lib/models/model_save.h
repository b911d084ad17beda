/* SPDX-License-Identifier: MIT
 *
 * The small files of a model directory, for saving and converting.
 */
#ifndef MODELS_MODEL_SAVE_H
#define MODELS_MODEL_SAVE_H

#include "formats/safetensors.h"
#include "models/model_weights.h"

/* config.json: model->text with the type of the weights, which only the saver knows. */
llm_status model_save_config(const llm_model *model, const char *directory, int32_t dtype);
/* generation_config.json, if the model has one. */
llm_status model_save_generation(const llm_model *model, const char *directory);

#endif
