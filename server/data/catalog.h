// SPDX-License-Identifier: Apache-2.0
/*
 * The catalog: datasets by name, loaded once and shared by all runs that use them.
 *
 * A data folder holds datasets in one of these forms, NAME being letters, digits, '-', '_', at most
 * 63: NAME/ with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte,
 * t10k-labels-idx1-ubyte, each plain or with .gz (IDX; the test pair may be absent); NAME/ with
 * data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10), or train.bin and test.bin
 * (CIFAR-100), plain or with .gz as well; NAME.npz with arrays x (n, ...) and t (n) integers or (n,
 * d_L) floats, and perhaps x_test and t_test. The built-in `strokes` is made, not read; a file of
 * that name is an error at start.
 *
 * Many threads enter; one mutex inside, never held while a dataset is loaded or hashed.
 */
#ifndef SERVER_DATA_CATALOG_H
#define SERVER_DATA_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

enum { DATASET_NAME = 64, SHA256_TEXT = 72 };

/* Which dataset, as a definition says it. seed, train and test matter to `strokes` alone, and are 0
 * for others. */
struct dataset_spec {
    char name[DATASET_NAME];
    uint64_t seed;
    uint32_t train, test;
};

/* What can be said of a dataset without holding its examples. */
struct dataset_info {
    char name[DATASET_NAME];
    const char *kind; // "builtin", "idx", "cifar10", "cifar100", "npz"
    struct tet_shape shape;
    uint32_t n_train, n_test; // examples available; strokes: as asked for
    bool labels;              // class labels (false: real targets)
    uint64_t bytes;           // in memory
    char sha256[SHA256_TEXT]; // "sha256:..." of dataset_digest(); "" for strokes, which its seed
                              // and counts pin
};

struct catalog;

/* catalog_open: data_folder may be NULL (built-in datasets only) or not exist yet. memory_bytes
 * bounds one dataset in memory, with what loading it takes. Errors: TET_IO (not a folder, or one
 * that cannot be read), TET_BAD_DATASET (it holds `strokes`), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err catalog_open(struct catalog **catalog, const char *data_folder,
                                         uint64_t memory_bytes, struct tet_error *error);
/* catalog_uploads: looks for datasets there too; once, before others use the catalog. The caller keeps
 * `uploaded` until the catalog is closed. */
struct uploaded;
void catalog_uploads(struct catalog *catalog, struct uploaded *uploaded);
/* catalog_has_file: whether the name is the built-in dataset's, or one of the data folder. */
TET_MUST_CHECK enum tet_err catalog_has_file(struct catalog *catalog, const char *name, bool *has,
                                             struct tet_error *error);
void catalog_close(struct catalog *catalog); // NULL is fine; every dataset must have been released

/* catalog_info: describes a dataset; a file is read in full and checked the first time, and again
 * when its size, time or inode has changed. Errors: TET_NOT_FOUND (message lists what there is),
 * TET_BAD_DATASET (which file, what is wrong), TET_IO, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err catalog_info(struct catalog *catalog, const struct dataset_spec *spec,
                                         struct dataset_info *info, struct tet_error *error);

/* catalog_acquire: the dataset itself, shared; release with catalog_release. An unused dataset may
 * stay in memory until another is wanted. *info may be NULL. Errors as catalog_info. */
TET_MUST_CHECK enum tet_err catalog_acquire(struct catalog *catalog,
                                            const struct dataset_spec *spec,
                                            const struct tet_dataset **dataset,
                                            struct dataset_info *info, struct tet_error *error);
void catalog_release(struct catalog *catalog, const struct tet_dataset *dataset); // NULL is fine

/* catalog_list: the names there are now, sorted, strokes among them. The caller frees with
 * catalog_names_free. */
TET_MUST_CHECK enum tet_err catalog_list(struct catalog *catalog, char ***names, size_t *n,
                                         struct tet_error *error);
void catalog_names_free(char **names, size_t n);

#endif
