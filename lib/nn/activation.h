/* SPDX-License-Identifier: MIT
 *
 * Activation functions by the names config.json files use: a table of name and op.
 */
#ifndef NN_ACTIVATION_H
#define NN_ACTIVATION_H

#include "graph/cx.h"

typedef llm_tensor *(*activation_fn)(struct cx *cx, llm_tensor *x);

activation_fn activation_find(const char *name); /* NULL: unknown */

#endif
