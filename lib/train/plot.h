/* SPDX-License-Identifier: MIT
 *
 * Loss curves as an SVG picture, drawn from a metrics.jsonl.
 */
#ifndef TRAIN_PLOT_H
#define TRAIN_PLOT_H

#include "base/context.h"

/* `title` may be NULL. */
llm_status plot_losses(llm_context *context, const char *svg_path, const char *metrics_path,
                       const char *title);

#endif
