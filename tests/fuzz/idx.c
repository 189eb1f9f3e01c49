// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets of IDX files, plain and gzipped. Input: how each of the four files is (2 bits), then their
 * parts. A file that the target itself gzips is one with a checksum that is right: no mutation of
 * bytes finds one.
 */
#include "fuzz.h"

#include "data/dataset_digest.h"
#include "data/idx.h"
#include "gzipped.h"

enum { MAX_BYTES = 1 << 22 };

static char folder[4096];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char names[2 * IDX_PARTS][64];
    const char *list[2 * IDX_PARTS];
    (void)argc;
    (void)argv;
    for (int i = 0; i < 2 * IDX_PARTS; i++) {
        snprintf(names[i], sizeof names[i], "%s%s", idx_names[i / 2], i % 2 == 1 ? ".gz" : "");
        list[i] = names[i];
    }
    make_links(folder, list, 2 * IDX_PARTS);
    return 0;
}

static enum tet_err load(struct tet_dataset *d, const struct input parts[IDX_PARTS], unsigned how)
{
    struct tet_error error = {0};
    drop_files();
    for (int i = 0; i < IDX_PARTS; i++)
        put_gzipped(2 * i, (enum gzipped)(how >> 2 * i & 3), parts[i]);
    const enum tet_err err = idx_load(d, folder, MAX_BYTES, &error);
    check_error(err, &error);
    check_dataset(err, d);
    HOLDS(err == TET_OK || err == TET_BAD_DATASET);
    HOLDS(err != TET_OK || dataset_bytes(d) <= MAX_BYTES);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input in = {bytes, size}, parts[IDX_PARTS];
    const unsigned how = (unsigned)take_number(&in, 1);
    unsigned other = 0;
    bool raw = false;
    struct tet_dataset d, again;
    for (int i = 0; i < IDX_PARTS; i++) {
        const unsigned one = how >> 2 * i & 3;
        parts[i] = take_part(&in);
        raw = raw || one == GZIPPED_RAW;
        other |= (one == GZIPPED_PLAIN ? (unsigned)GZIPPED_HERE : one) << 2 * i;
    }
    if (load(&d, parts, how) == TET_OK && !raw && other != how) { // gzipped or not, it is the same
        char before[SHA256_TEXT], after[SHA256_TEXT];
        HOLDS(load(&again, parts, other) == TET_OK);
        dataset_digest(&d, before);
        dataset_digest(&again, after);
        HOLDS(strcmp(before, after) == 0);
        tet_dataset_free(&again);
    }
    tet_dataset_free(&d);
    return 0;
}
