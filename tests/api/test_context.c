/* SPDX-License-Identifier: MIT
 *
 * Versions, status names, contexts, options structs of older and newer programs.
 */
#include <llm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_version(void **state)
{
    char text[32];

    (void)state;
    snprintf(text, sizeof text, "%d.%d.%d", LLM_VERSION_MAJOR, LLM_VERSION_MINOR,
             LLM_VERSION_PATCH);
    assert_string_equal(llm_version_string(), text);
    assert_int_equal(llm_version(),
                     LLM_VERSION_MAJOR * 1000000 + LLM_VERSION_MINOR * 1000 + LLM_VERSION_PATCH);
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(llm_status_name(LLM_OK), "LLM_OK");
    assert_string_equal(llm_status_name(LLM_E_NOMEM), "LLM_E_NOMEM");
    assert_string_equal(llm_status_name(LLM_E_BUFFER), "LLM_E_BUFFER");
    assert_string_equal(llm_status_name(LLM_E_INTERNAL), "LLM_E_INTERNAL");
    assert_string_equal(llm_status_name(1), "unknown");
    assert_string_equal(llm_status_name(-13), "unknown");
    assert_string_equal(llm_status_name(INT32_MIN), "unknown");
}

static void test_defaults(void **state)
{
    llm_context *context = NULL;
    uint64_t used = 0;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    assert_true(llm_context_threads(context) >= 1);
    assert_non_null(strstr(llm_context_description(context), "thread"));
    assert_int_equal(llm_context_memory(&used, NULL, context), LLM_OK);
    assert_true(used > 0);
    llm_context_free(context);
    llm_context_free(NULL);
    assert_int_equal(llm_context_threads(NULL), 0);
    assert_string_equal(llm_context_description(NULL), "");
}

static void test_bad_options(void **state)
{
    llm_context_options options;
    llm_context *context = (llm_context *)1;

    (void)state;
    assert_int_equal(llm_context_new(NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_context_options_init(NULL, sizeof options), LLM_E_INVALID);
    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = -1;
    assert_int_equal(llm_context_new(&context, &options), LLM_E_RANGE);
    assert_null(context);
    assert_non_null(strstr(llm_last_error(), "threads"));
    options.threads = 1;
    options.isa = 77;
    assert_int_equal(llm_context_new(&context, &options), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "isa"));
    options.isa = LLM_ISA_AUTO;
    options.reserved = 1;
    assert_int_equal(llm_context_new(&context, &options), LLM_E_INVALID);
    options.reserved = 0;
    options.alloc = (llm_alloc_fn)1;
    assert_int_equal(llm_context_new(&context, &options), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "release"));
}

/* A program compiled against a longer struct, and one against a shorter. */
static void test_struct_sizes(void **state)
{
    struct {
        llm_context_options known;
        int64_t newer[2];
    } longer;
    llm_context_options shorter;
    llm_context *context = NULL;

    (void)state;
    assert_int_equal(llm_context_options_init(&longer.known, sizeof longer), LLM_OK);
    assert_int_equal(longer.newer[0], 0);
    longer.known.threads = 3;
    assert_int_equal(llm_context_new(&context, &longer.known), LLM_OK);
    assert_int_equal(llm_context_threads(context), 3);
    llm_context_free(context);
    longer.newer[1] = 1; /* a field this library does not know, and it is wanted */
    assert_int_equal(llm_context_new(&context, &longer.known), LLM_E_INVALID);

    memset(&shorter, 0x7F, sizeof shorter);
    assert_int_equal(llm_context_options_init(&shorter, offsetof(llm_context_options, log_level)),
                     LLM_OK);
    assert_int_equal(shorter.log_level, 0x7F7F7F7F); /* beyond the caller's struct: untouched */
    assert_int_equal(llm_context_new(&context, &shorter), LLM_OK);
    llm_context_free(context);
    shorter.struct_size = 0;
    assert_int_equal(llm_context_new(&context, &shorter), LLM_E_INVALID);
    shorter.struct_size = (size_t)1 << 40;
    assert_int_equal(llm_context_new(&context, &shorter), LLM_E_INVALID);
}

static void test_memory_limit(void **state)
{
    llm_context_options options;
    llm_context *context = NULL;
    llm_tensor *tensor = NULL;
    int64_t shape[1] = {1 << 20};
    uint64_t used, peak;

    (void)state;
    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.memory_limit = 1 << 20;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 1, shape), LLM_E_NOMEM);
    assert_non_null(strstr(llm_last_error(), "limit"));
    shape[0] = 1000;
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 1, shape), LLM_OK);
    assert_int_equal(llm_context_memory(&used, &peak, context), LLM_OK);
    assert_true(used > 4000 && peak >= used && peak <= 1 << 20);
    llm_context_free(context); /* the tensor keeps it alive */
    llm_tensor_free(tensor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),      cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_struct_sizes), cmocka_unit_test(test_memory_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
