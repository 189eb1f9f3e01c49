// SPDX-License-Identifier: Apache-2.0
/* For the tests of datasets in folders: files that are written, plain and gzipped, and what a reader
 * must refuse. */
#ifndef TESTS_DATASET_FILES_H
#define TESTS_DATASET_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <tetrad/dataset.h>

static inline void write_plain(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void write_gz(const char *path, const void *bytes, size_t n)
{
    gzFile file = gzopen(path, "wb9");
    assert_non_null(file);
    if (n > 0)
        assert_int_equal(gzwrite(file, bytes, (unsigned)n), n);
    assert_int_equal(gzclose(file), Z_OK);
}

static inline size_t read_whole(const char *path, void *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(bytes, 1, room, file);
    fclose(file);
    return n;
}

/* That the reader refuses the folder with this error and words, and leaves an empty dataset. */
typedef enum tet_err load_fn(struct tet_dataset *dataset, const char *folder, uint64_t max_bytes,
                             struct tet_error *error);
static inline void refused_by(load_fn *load, const char *folder, uint64_t limit, enum tet_err err,
                              const char *says)
{
    struct tet_dataset d;
    struct tet_error error = {0};
    memset(&d, 0xff, sizeof d);
    enum tet_err got = load(&d, folder, limit, &error);
    if (got != err || error.err != err || !strstr(error.message, says))
        fail_msg("got %s \"%s\", expected %s \"%s\"", tet_err_code(got), error.message,
                 tet_err_code(err), says);
    assert_null(d.memory);
    assert_null(d.train.bytes);
}

#endif
