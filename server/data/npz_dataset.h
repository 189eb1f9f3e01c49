// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets in an .npz archive: x and t to train on, perhaps x_test and t_test.
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_NPZ_DATASET_H
#define SERVER_DATA_NPZ_DATASET_H

#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

/* npz_dataset_load: x of any type of npz.h: (n, inputs), or images (n, rows, columns) or (n,
 * channels, rows, columns); bytes (u1) stay bytes, all else becomes floats. t: integers (n) or (n,
 * 1) are labels, outputs the greatest in t + 1, at least 2; floats (n, outputs) or (n) are targets.
 * The test arrays likewise, of the same shape but for n. Numbers that are not finite as floats are
 * refused. Archive and dataset together take at most max_bytes. The caller frees with
 * tet_dataset_free. Errors: TET_NOT_FOUND, TET_BAD_DATASET, TET_IO, TET_NO_MEMORY; *dataset is then
 * zero. */
TET_MUST_CHECK enum tet_err npz_dataset_load(struct tet_dataset *dataset, const char *path,
                                             uint64_t max_bytes, struct tet_error *error);

/* npz_dataset_write: the dataset in a new file, in the form that reads back as the same, with the same
 * digest. Errors: TET_BAD_DATASET (no example to train on is of the last class, so it would not),
 * TET_BUSY (the disk is full), TET_IO. */
TET_MUST_CHECK enum tet_err npz_dataset_write(const struct tet_dataset *dataset, const char *path,
                                              struct tet_error *error);

#endif
