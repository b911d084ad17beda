/* SPDX-License-Identifier: MIT
 *
 * Adapters of models: made from options, read from and written to PEFT directories, folded into new
 * models. What they compute is in nn/adapter.h.
 */
#ifndef MODELS_ADAPTER_MAKE_H
#define MODELS_ADAPTER_MAKE_H

#include "models/model.h"
#include "nn/adapter.h"

llm_status adapter_new(llm_adapter **out, llm_model *model, const llm_adapter_options *options);

/* peft.c */
llm_status adapter_load(llm_adapter **out, llm_model *model, const char *directory);
llm_status adapter_save(const llm_adapter *adapter, const char *directory);
/* The values of an adapter that is there already. The check first: names, count, shapes. */
llm_status adapter_check_file(const llm_adapter *adapter, const char *directory);
llm_status adapter_load_values(llm_adapter *adapter, const char *directory);
/* Fill adapter->config from what adapter_new() was told. */
llm_status adapter_describe(llm_adapter *adapter, const llm_model *model,
                            const llm_adapter_options *options);

/* LLM_E_INVALID unless the adapter was made for a model with these parameters. */
llm_status adapter_check(const llm_adapter *adapter, const llm_model *model);
llm_status adapter_merge(llm_model **out, llm_model *model, const llm_adapter *adapter,
                         float weight);

/* "transformer.h.0.attn.c_attn" is "attn.c_attn" or ends in it behind a dot. */
bool adapter_target_matches(const char *path, size_t length, const char *target);

#endif
