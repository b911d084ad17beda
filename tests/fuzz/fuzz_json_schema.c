/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a JSON schema: it is refused, or a text is read and masks are made under it.
 */
#include "fuzz_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_grammar(llm_grammar_from_json_schema, data, size);
    return 0;
}
