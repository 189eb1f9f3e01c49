// SPDX-License-Identifier: Apache-2.0
/*
 * A file of a dataset's folder, plain or gzipped: the two read alike. Threads: one for each file.
 */
#ifndef SERVER_DATA_GZ_H
#define SERVER_DATA_GZ_H

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

#include <tetrad/error.h>

struct gz_file {
    char *path; // NULL: there is no such file
    gzFile gz;
    uint64_t size;     // bytes on disk
    const char *bound; // what says how long the content is, for messages: "its header"
};

/* gz_path: the path of a file in a new string that the caller frees: the plain file where there is
 * one, else the .gz. Returns NULL where there is neither (errno ENOENT) or memory is short (errno
 * ENOMEM). */
char *gz_path(const char *folder, const char *name);

/* gz_open: opens file->path, which must be a regular file that is not empty, and gzipped if and
 * only if it is named so. Never waits on a pipe. Errors: TET_IO, TET_BAD_DATASET, TET_NO_MEMORY; the
 * caller closes in either case. */
TET_MUST_CHECK enum tet_err gz_open(struct gz_file *file, struct tet_error *error);
void gz_close(struct gz_file *file); // frees the path too; all zeros are fine

/* gz_most: no content of a file of this size has more bytes. */
uint64_t gz_most(const struct gz_file *file);

/* gz_measure: how many bytes the content has. A gzipped one is inflated to its end for that, though
 * never much beyond `most`, and read anew from its start afterwards. Errors: TET_BAD_DATASET (more
 * than `most`, truncated, damaged), TET_IO, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err gz_measure(struct gz_file *file, uint64_t most, uint64_t *bytes,
                                       struct tet_error *error);

/* gz_read: the next n bytes. Errors: TET_BAD_DATASET (truncated, damaged), TET_IO, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err gz_read(struct gz_file *file, uint8_t *to, uint64_t n,
                                    struct tet_error *error);

/* gz_end: that the content ends here; for gzip, that its checksum is right too. Errors:
 * TET_BAD_DATASET. */
TET_MUST_CHECK enum tet_err gz_end(struct gz_file *file, struct tet_error *error);

/* gz_bad: TET_BAD_DATASET, "PATH: what". */
enum tet_err gz_bad(const struct gz_file *file, const char *what, struct tet_error *error);

#endif
