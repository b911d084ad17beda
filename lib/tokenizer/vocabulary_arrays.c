/* SPDX-License-Identifier: MIT */
#include "tokenizer/vocabulary_arrays.h"

#include <string.h>

void vocabulary_arrays_init(struct vocabulary_arrays *arrays)
{
    memset(arrays, 0, sizeof *arrays);
    arrays->bos = arrays->eos = arrays->unk = arrays->sep = -1;
    arrays->pad = arrays->cls = arrays->mask = -1;
    arrays->add_bos = arrays->add_eos = arrays->add_sep = -1;
    arrays->add_space_prefix = arrays->remove_extra_whitespaces = -1;
    arrays->escape_whitespaces = arrays->treat_whitespace_as_suffix = -1;
    arrays->user_defined_inside = arrays->prefix_first_only = -1;
    arrays->lowercase = arrays->strip_accents = -1;
}
