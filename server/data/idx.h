// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets in MNIST's own form: IDX files of bytes, plain or gzipped.
 * Format: LeCun, Cortes, Burges, "The MNIST database": a magic number 0, 0, 8 (bytes), rank; then
 * each size, big-endian, 32 bits; then the values, last index fastest.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_IDX_H
#define SERVER_DATA_IDX_H

#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

/* The files of a dataset's folder, each perhaps with ".gz" after its name. */
enum idx_part { IDX_TRAIN_IMAGES, IDX_TRAIN_LABELS, IDX_TEST_IMAGES, IDX_TEST_LABELS, IDX_PARTS };
extern const char *const idx_names[IDX_PARTS];

/* idx_load: the folder's dataset; the test pair may be absent. Images are 1 channel of (rows,
 * columns) bytes, classes the greatest training label + 1, at least 2. A file must hold exactly
 * what its header declares: not a byte more is inflated (but one, to see the end) or allocated; in
 * all at most max_bytes. The caller frees with tet_dataset_free. Errors: TET_BAD_DATASET (which
 * file, what is wrong), TET_IO, TET_NO_MEMORY; *dataset is then zero. */
TET_MUST_CHECK enum tet_err idx_load(struct tet_dataset *dataset, const char *folder,
                                     uint64_t max_bytes, struct tet_error *error);

#endif
