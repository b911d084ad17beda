/* SPDX-License-Identifier: MIT */
#include "base/crc32c.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct memory memory;
static char directory[64];

static int set_up(void **state)
{
    llm_context_options options;

    (void)state;
    (void)snprintf(directory, sizeof directory, "test_file.XXXXXX");
    if (llm_context_options_init(&options, sizeof options))
        return -1;
    memory_init(&memory, &options);
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(directory); /* fails when a test, or a temporary file, was left behind */
}

static void path_of(char out[128], const char *name)
{
    (void)snprintf(out, 128, "%s/%s", directory, name);
}

static void expect_content(const char *path, const char *content, size_t size)
{
    char *data = NULL;
    size_t read = 0;

    assert_int_equal(file_read(&data, &read, &memory, path, 0), LLM_OK);
    assert_int_equal(read, size);
    assert_memory_equal(data, content, size);
    assert_int_equal(data[size], 0);
    memory_release(&memory, data);
}

static void test_write_and_read(void **state)
{
    char path[128];
    char *data = NULL;
    size_t size;

    (void)state;
    path_of(path, "a");
    assert_int_equal(file_write(&memory, path, "hello\0x", 7), LLM_OK);
    expect_content(path, "hello\0x", 7);
    assert_int_equal(file_write(&memory, path, "", 0), LLM_OK); /* replaced */
    expect_content(path, "", 0);
    assert_int_equal(file_write(&memory, path, "12345", 5), LLM_OK);
    assert_int_equal(file_read(&data, &size, &memory, path, 4), LLM_E_RANGE);
    assert_null(data);
    assert_int_equal(file_read(&data, &size, &memory, "no/such/file", 0), LLM_E_IO);
    assert_non_null(strstr(status_message(), "no/such/file"));
    assert_int_equal(file_read(&data, &size, &memory, directory, 0), LLM_E_IO);
    assert_int_equal(file_write(&memory, "no/such/file", "", 0), LLM_E_IO);
    assert_int_equal(remove(path), 0);
    assert_true(memory.used == 0);
}

/* Until the commit the old file stands; a discarded writer leaves it and nothing else. */
static void test_atomic_writer(void **state)
{
    struct file_writer writer = {0};
    char path[128];

    (void)state;
    path_of(path, "b");
    assert_int_equal(file_write(&memory, path, "old", 3), LLM_OK);
    assert_int_equal(file_writer_open(&writer, &memory, path), LLM_OK);
    file_writer_write(&writer, "new ", 4);
    expect_content(path, "old", 3);
    file_writer_discard(&writer);
    file_writer_discard(&writer);
    expect_content(path, "old", 3);
    assert_int_equal(file_writer_open(&writer, &memory, path), LLM_OK);
    file_writer_write(&writer, "new ", 4);
    file_writer_write(&writer, "file", 4);
    assert_int_equal(file_writer_commit(&writer), LLM_OK);
    expect_content(path, "new file", 8);
    assert_int_equal(remove(path), 0);
    assert_true(memory.used == 0);
}

static void test_map(void **state)
{
    struct file_map map = {0};
    char path[128];

    (void)state;
    path_of(path, "c");
    assert_int_equal(file_write(&memory, path, "mapped", 6), LLM_OK);
    assert_int_equal(file_map_open(&map, path), LLM_OK);
    assert_int_equal(map.size, 6);
    assert_memory_equal(map.data, "mapped", 6);
    file_map_close(&map);
    file_map_close(&map);
    assert_int_equal(file_write(&memory, path, "", 0), LLM_OK);
    assert_int_equal(file_map_open(&map, path), LLM_OK);
    assert_true(map.size == 0 && map.data);
    file_map_close(&map);
    assert_int_equal(remove(path), 0);
    assert_int_equal(file_map_open(&map, path), LLM_E_IO);
    assert_int_equal(file_map_open(&map, directory), LLM_E_IO);
}

static void test_reader(void **state)
{
    struct file_reader reader = {0};
    char path[128];
    char part[8] = {0};

    (void)state;
    path_of(path, "d");
    assert_int_equal(file_write(&memory, path, "0123456789", 10), LLM_OK);
    assert_int_equal(file_reader_open(&reader, &memory, path), LLM_OK);
    assert_true(reader.size == 10);
    assert_int_equal(file_reader_read(&reader, 7, part, 3), LLM_OK);
    assert_string_equal(part, "789");
    assert_int_equal(file_reader_read(&reader, 10, part, 0), LLM_OK);
    assert_int_equal(file_reader_read(&reader, 8, part, 3), LLM_E_FORMAT);
    assert_int_equal(file_reader_read(&reader, UINT64_MAX, part, 1), LLM_E_FORMAT);
    file_reader_close(&reader);
    file_reader_close(&reader);
    assert_int_equal(remove(path), 0);
    assert_int_equal(file_reader_open(&reader, &memory, path), LLM_E_IO);
    assert_true(memory.used == 0);
}

static void test_appender(void **state)
{
    struct file_appender appender = {0};
    char path[128];

    (void)state;
    path_of(path, "e");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(file_appender_open(&appender, &memory, path), LLM_OK);
        assert_int_equal(file_appender_write(&appender, "line\n", 5), LLM_OK);
        file_appender_close(&appender);
        file_appender_close(&appender);
    }
    expect_content(path, "line\nline\n", 10);
    assert_int_equal(remove(path), 0);
    assert_int_equal(file_appender_open(&appender, &memory, "no/such/file"), LLM_E_IO);
    assert_true(memory.used == 0);
}

static void test_directories(void **state)
{
    char path[128];
    char *joined;
    uint64_t size = 9;
    int64_t modified = 0;

    (void)state;
    path_of(path, "x/y/z");
    assert_int_equal(file_make_directory(&memory, path), LLM_OK);
    assert_int_equal(file_make_directory(&memory, path), LLM_OK);
    assert_true(file_is_directory(path));
    joined = file_join(&memory, path, "f");
    assert_non_null(joined);
    assert_false(file_exists(joined));
    assert_int_equal(file_write(&memory, joined, "1234", 4), LLM_OK);
    assert_true(file_exists(joined) && !file_is_directory(joined));
    assert_true(file_info(joined, &size, &modified) && size == 4 && modified > 0);
    assert_int_equal(file_make_directory(&memory, joined), LLM_E_IO); /* a file is in the way */
    assert_int_equal(remove(joined), 0);
    assert_false(file_info(joined, &size, &modified));
    memory_release(&memory, joined);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rmdir(path), 0);
        *strrchr(path, '/') = '\0';
    }
    assert_true(memory.used == 0);
}

/* RFC 3720, appendix B.4. */
static void test_crc32c(void **state)
{
    unsigned char bytes[32];

    (void)state;
    memset(bytes, 0, sizeof bytes);
    assert_true(crc32c(0, bytes, 32) == 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_true(crc32c(0, bytes, 32) == 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_true(crc32c(0, bytes, 32) == 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++) /* in two parts, at any alignment */
        assert_true(crc32c(crc32c(0, bytes, cut), bytes + cut, 32 - cut) == 0x46dd794eu);
    assert_true(crc32c(0, "123456789", 9) == 0xe3069283u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_atomic_writer),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_appender),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_crc32c),
    };

    return cmocka_run_group_tests_name("file", tests, set_up, tear_down);
}
