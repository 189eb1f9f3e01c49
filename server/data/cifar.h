// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets in the form of CIFAR's own binary version, plain or gzipped.
 * Format: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009): records of a
 * label byte (CIFAR-100: two, coarse and fine) and 3072 bytes, 32 x 32 of red, of green, of blue, row
 * by row.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_CIFAR_H
#define SERVER_DATA_CIFAR_H

#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

/* The files of a dataset's folder, each perhaps with ".gz" after its name; the last is to test on. */
enum { CIFAR10_FILES = 6, CIFAR100_FILES = 2 };
extern const char *const cifar10_names[CIFAR10_FILES];
extern const char *const cifar100_names[CIFAR100_FILES];

/* cifar10_load, cifar100_load: the folder's dataset: 3 channels of 32 x 32 bytes; 10 classes, or the
 * 100 fine ones. All files must be there, each any whole number of records but none. At most
 * max_bytes are allocated, and inflated of a file. The caller frees with tet_dataset_free. Errors:
 * TET_BAD_DATASET (which file, what is wrong), TET_IO, TET_NO_MEMORY; *dataset is then zero. */
TET_MUST_CHECK enum tet_err cifar10_load(struct tet_dataset *dataset, const char *folder,
                                         uint64_t max_bytes, struct tet_error *error);
TET_MUST_CHECK enum tet_err cifar100_load(struct tet_dataset *dataset, const char *folder,
                                          uint64_t max_bytes, struct tet_error *error);

#endif
