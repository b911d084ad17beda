/* SPDX-License-Identifier: MIT
 *
 * Windows of a dataset as a packed batch: token i + 1 of a window is the target of token i.
 */
#include "train/trainer.h"

#include <string.h>

llm_status train_batch_new(struct train_batch *batch, struct memory *memory, int64_t tokens)
{
    size_t room = (size_t)tokens + 1; /* a window's last target, and the last offset */

    memset(batch, 0, sizeof *batch);
    batch->ids = memory_alloc_array(memory, room, sizeof(int32_t));
    batch->positions = memory_alloc_array(memory, room, sizeof(int32_t));
    batch->targets = memory_alloc_array(memory, room, sizeof(int32_t));
    batch->offsets = memory_alloc_array(memory, room, sizeof(int32_t));
    if (!batch->ids || !batch->positions || !batch->targets || !batch->offsets)
        return LLM_E_NOMEM;
    return LLM_OK;
}

void train_batch_free(struct train_batch *batch, struct memory *memory)
{
    memory_release(memory, batch->ids);
    memory_release(memory, batch->positions);
    memory_release(memory, batch->targets);
    memory_release(memory, batch->offsets);
    memset(batch, 0, sizeof *batch);
}

/* Targets of an example that are not to be learned. */
static void leave_out(int32_t *targets, const llm_dataset *dataset, int32_t part,
                      struct window window)
{
    const uint8_t *learned = dataset->tokens.learned;

    if (!learned)
        return;
    learned += dataset->begin[part] + window.first + 1;
    for (int64_t i = 0; i < window.length; i++) {
        if (!learned[i])
            targets[i] = -100;
    }
}

void train_batch_fill(struct train_batch *batch, const llm_dataset *dataset, int32_t part,
                      const struct window *windows, int64_t count, bool separate_documents)
{
    int64_t n = 0;
    int32_t segments = 0;

    for (int64_t w = 0; w < count; w++) {
        int64_t length = windows[w].length;
        int32_t position = 0;

        dataset_read(dataset, part, windows[w].first, length, batch->ids + n);
        dataset_read(dataset, part, windows[w].first + 1, length, batch->targets + n);
        leave_out(batch->targets + n, dataset, part, windows[w]);
        for (int64_t i = n; i < n + length; i++) {
            bool is_new = separate_documents && !dataset->is_examples && i > n &&
                          batch->ids[i - 1] == dataset->end_id;

            if (i == n || is_new) {
                batch->offsets[segments++] = (int32_t)i;
                position = 0;
            }
            batch->positions[i] = position++;
        }
        n += length;
    }
    batch->offsets[segments] = (int32_t)n;
    batch->batch = (struct batch){.tokens = n,
                                  .ids = batch->ids,
                                  .positions = batch->positions,
                                  .segments = segments,
                                  .offsets = batch->offsets};
}
