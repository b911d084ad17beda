/* SPDX-License-Identifier: MIT */
#ifndef LLM_H
#define LLM_H
#include "llm/status.h"
#include "llm/context.h"
#include "llm/tensor.h"
#include "llm/tape.h"
#include "llm/tokenizer.h"
#include "llm/grammar.h"
#include "llm/chat.h"
#include "llm/model.h"
#include "llm/session.h"
#include "llm/adapter.h"
#include "llm/batch.h"
#include "llm/task.h"
#include "llm/optimizer.h"
#include "llm/dataset.h"
#include "llm/trainer.h"
#endif
