/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target without a fuzzer: every file of the corpus folder as it is, cut short at many
 * lengths, and with bytes changed, inserted and removed in a repeatable way.
 *
 * Usage: fuzz_NAME_replay FOLDER
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 1 << 20, CUTS = 300, CHANGES = 600 };

static uint64_t random_state;

/* xorshift64*, seeded by the file's name. */
static uint64_t next_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Du;
}

/* The target gets a block of exactly the input's size, so that sanitizers see a read past its end.
 */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        return;
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t change(uint8_t *data, size_t size)
{
    static const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '9', '-', ',', '\\'};
    size_t at = size ? (size_t)(next_random() % size) : 0;
    size_t length = 1 + (size_t)(next_random() % 8);

    switch (size ? next_random() % 4 : 3) {
    case 0:
        data[at] ^= (uint8_t)(1u << (next_random() % 8));
        return size;
    case 1:
        data[at] = bytes[next_random() % sizeof bytes];
        return size;
    case 2:
        length = length < size - at ? length : size - at;
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    default:
        memmove(data + at + length, data + at, size - at);
        memset(data + at, bytes[next_random() % sizeof bytes], length);
        return size + length;
    }
}

static void replay(const uint8_t *data, size_t size)
{
    size_t step = size / CUTS + 1;
    uint8_t *changed = malloc(size + 64);

    if (!changed)
        return;
    run(data, size);
    for (size_t cut = 0; cut < size; cut += step)
        run(data, cut);
    for (int i = 0; i < CHANGES; i++) {
        size_t now = size;

        memcpy(changed, data, size);
        for (uint64_t n = 1 + next_random() % 3; n > 0; n--)
            now = change(changed, now);
        run(changed, now);
    }
    free(changed);
}

static int replay_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    uint8_t *data = malloc(LIMIT);
    size_t size;

    if (!stream || !data) {
        fprintf(stderr, "cannot read %s\n", path);
        free(data);
        if (stream)
            fclose(stream);
        return 0;
    }
    size = fread(data, 1, LIMIT, stream);
    fclose(stream);
    random_state = 0x9E3779B97F4A7C15u;
    for (const char *c = path; *c; c++)
        random_state = random_state * 31 + (unsigned char)*c;
    replay(data, size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    int files = 0;
    DIR *folder;

    if (argc != 2 || !(folder = opendir(argv[1]))) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(folder)) != NULL) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        files += replay_file(path);
    }
    closedir(folder);
    printf("%d files survived\n", files);
    return files ? 0 : 1;
}
