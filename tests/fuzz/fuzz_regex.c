/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a regular expression: it is refused, or a text is read and masks are made under it.
 */
#include "fuzz_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_grammar(llm_grammar_from_regex, data, size);
    return 0;
}
