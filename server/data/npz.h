// SPDX-License-Identifier: Apache-2.0
/*
 * NumPy's .npy arrays and .npz archives of them (a zip, by libzip).
 * Format: numpy.lib.format, versions 1.0 to 3.0; C and Fortran order (the latter is transposed on
 * reading).
 *
 * Threads: one for each archive.
 */
#ifndef SERVER_DATA_NPZ_H
#define SERVER_DATA_NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

enum { NPY_NAME = 64, NPY_RANK = 8, NPY_HEADER = 256 };

enum npy_type { NPY_F4, NPY_F8, NPY_I1, NPY_U1, NPY_I2, NPY_U2, NPY_I4, NPY_U4, NPY_I8, NPY_U8 };

struct npy {
    char name[NPY_NAME]; // without ".npy"
    enum npy_type type;  // little-endian on disk and here
    uint32_t rank;
    uint64_t shape[NPY_RANK];
    uint64_t n; // elements
    void *data; // C order; owned by the npz it is in
};

struct npz {
    size_t n;
    struct npy *arrays;
};

/* npz_read: all arrays of the archive at `path`, a regular file, entries stored or deflated, in the
 * archive's order. numpy's bool is read as U1; half floats, complex numbers, text, objects, records
 * and big-endian arrays are refused. Nothing is allocated that the headers' sizes and
 * the archive's do not both justify; in all at most max_bytes. Errors: TET_NOT_FOUND, TET_IO,
 * TET_BAD_DATASET (what is wrong with which array), TET_NO_MEMORY; *npz is then empty. */
TET_MUST_CHECK enum tet_err npz_read(struct npz *npz, const char *path, uint64_t max_bytes,
                                     struct tet_error *error);
void npz_free(struct npz *npz);
const struct npy *npz_find(const struct npz *npz, const char *name); // NULL where it has none

size_t npy_type_bytes(enum npy_type type);

/* npy_header: the bytes before the data of an .npy file of version 1.0, a multiple of 64. Returns
 * their number. */
size_t npy_header(unsigned char header[NPY_HEADER], enum npy_type type, uint32_t rank,
                  const uint64_t *shape);

/* npz_write_memory: an archive (stored, not compressed; fixed times, so equal arrays give equal
 * bytes) in a new buffer that the caller frees; n at least 1. Errors: TET_NO_MEMORY, TET_IO. */
TET_MUST_CHECK enum tet_err npz_write_memory(const struct npy *arrays, size_t n, void **bytes,
                                             size_t *size, struct tet_error *error);
/* npz_write_new: such an archive in a new file, synced, without a copy in memory: for arrays that take
 * most of it. The folder is the caller's to sync. Errors: TET_BUSY (the disk is full), TET_IO; no file
 * is left then. */
TET_MUST_CHECK enum tet_err npz_write_new(const struct npy *arrays, size_t n, const char *path,
                                          struct tet_error *error);
/* npz_write: the same to a file, by way of a temporary file beside it, synced, and rename. */
TET_MUST_CHECK enum tet_err npz_write(const struct npy *arrays, size_t n, const char *path,
                                      struct tet_error *error);

/* npy_to_float: element i as a float, from any type; infinite where an F8 is beyond floats. */
float npy_to_float(const struct npy *array, uint64_t i);

bool npy_is_float(enum npy_type type);
/* npy_to_int: element i of an array of integers; a U8 over INT64_MAX gives INT64_MAX. */
int64_t npy_to_int(const struct npy *array, uint64_t i);

#endif
