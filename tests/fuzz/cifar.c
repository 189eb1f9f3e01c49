// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets of CIFAR files, plain and gzipped. Input: which form, how each file is (2 bits), and for each
 * a length in units of which a record has about two, and what is repeated up to it: real records are too
 * long to find by mutation. A raw file has the bytes alone.
 */
#include "fuzz.h"

#include "data/cifar.h"
#include "data/dataset_digest.h"
#include "gzipped.h"

enum { MAX_BYTES = 1 << 21, RECORD = 3072, MOST_RECORDS = 8 };

static char folders[2][4096];

static void make_folder(char folder[4096], const char *const *names, int n, const char *name)
{
    static char texts[2 * CIFAR10_FILES][64];
    char path[4096];
    const char *list[2 * CIFAR10_FILES];
    for (int i = 0; i < 2 * n; i++) {
        snprintf(texts[i], sizeof texts[i], "%s/%s%s", name, names[i / 2], i % 2 == 1 ? ".gz" : "");
        list[i] = texts[i];
    }
    make_links(folder, NULL, 0);
    HOLDS(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    (void)mkdir(path, 0777);
    make_links(folder, list, 2 * n);
    memcpy(folder, path, sizeof path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    make_folder(folders[0], cifar10_names, CIFAR10_FILES, "10");
    make_folder(folders[1], cifar100_names, CIFAR100_FILES, "100");
    return 0;
}

/* A file of whole records, or nearly: `records`, and `off` bytes more or less. */
static void put_records(int slot, enum gzipped how, struct input part, size_t label_bytes)
{
    static uint8_t bytes[MOST_RECORDS * (RECORD + 2) + 256];
    if (how != GZIPPED_RAW) {
        const size_t records = (size_t)take_number(&part, 1) % (MOST_RECORDS + 1);
        const int8_t off = (int8_t)take_number(&part, 1);
        const size_t whole = records * (RECORD + label_bytes);
        const size_t size = off < 0 && whole < (size_t)-off ? 0 : whole + (size_t)(ptrdiff_t)off;
        for (size_t i = 0; i < size; i++)
            bytes[i] = part.left > 0 ? part.at[i % part.left] : 0;
        part = (struct input){bytes, size};
    }
    put_gzipped(slot, how, part);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size};
    const bool fine = take_number(&in, 1) % 2 == 1;
    const unsigned how = (unsigned)take_number(&in, 2);
    struct tet_dataset d;
    struct tet_error error = {0};
    drop_files();
    for (int i = 0; i < (fine ? CIFAR100_FILES : CIFAR10_FILES); i++)
        put_records(2 * i, (enum gzipped)(how >> 2 * i & 3), take_part(&in), fine ? 2 : 1);
    const enum tet_err err = fine ? cifar100_load(&d, folders[1], MAX_BYTES, &error)
                                  : cifar10_load(&d, folders[0], MAX_BYTES, &error);
    check_error(err, &error);
    check_dataset(err, &d);
    HOLDS(err == TET_OK || err == TET_BAD_DATASET);
    if (err == TET_OK) {
        HOLDS(dataset_bytes(&d) <= MAX_BYTES && d.shape.channels == 3 && d.test.n > 0);
        HOLDS(d.shape.outputs == (fine ? 100 : 10));
    }
    tet_dataset_free(&d);
    return 0;
}
