/* SPDX-License-Identifier: MIT
 *
 * One line per architecture; the rows of the table in arch.c.
 */
#ifndef MODELS_ARCH_H
#define MODELS_ARCH_H

#include "models/model.h"

extern const struct arch arch_gpt2;     /* gpt2.c */
extern const struct arch arch_llama;    /* llama.c */
extern const struct arch arch_mistral;  /* mistral.c */
extern const struct arch arch_mixtral;  /* mixtral.c */
extern const struct arch arch_qwen2;    /* qwen2.c */
extern const struct arch arch_qwen3;    /* qwen3.c */
extern const struct arch arch_gemma;    /* gemma.c */
extern const struct arch arch_gemma2;   /* gemma2.c */
extern const struct arch arch_gemma3;   /* gemma3.c */
extern const struct arch arch_phi;      /* phi.c */
extern const struct arch arch_phi3;     /* phi3.c */
extern const struct arch arch_gpt_neox; /* gpt_neox.c */
extern const struct arch arch_falcon;   /* falcon.c */

extern const struct arch arch_bert;        /* bert.c */
extern const struct arch arch_distilbert;  /* distilbert.c */
extern const struct arch arch_roberta;     /* roberta.c */
extern const struct arch arch_xlm_roberta; /* roberta.c */
extern const struct arch arch_t5;          /* t5.c */

#endif
