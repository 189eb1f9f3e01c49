// SPDX-License-Identifier: Apache-2.0
/*
 * The files of an upload: put into a folder of their own, then read as the dataset that they are.
 *
 * Files are known by their names alone: those of IDX and CIFAR folders, perhaps with .gz; one
 * NAME.npz; or one or two tables NAME.csv, of which the one called test.csv is to test on.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_STAGED_H
#define SERVER_DATA_STAGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

enum staged_form {
    STAGED_NONE,
    STAGED_IDX,
    STAGED_CIFAR10,
    STAGED_CIFAR100,
    STAGED_NPZ,
    STAGED_CSV
};

struct staged {
    const char *folder; // borrowed
    enum staged_form form;
    unsigned seen;                           // bits: files of the form
    int fd;                                  // of the file that is written; -1: none
    char path[4096];                         // ... and its path
    char npz[4096], train[4096], test[4096]; // paths of archive and tables; "": none
};

void staged_begin(struct staged *staged, const char *folder);
/* staged_file: the next file begins. Errors: TET_BAD_DATASET (an unknown name, one that was there,
 * one that does not go with those before), TET_BUSY, TET_IO. */
TET_MUST_CHECK enum tet_err staged_file(struct staged *staged, const char *name,
                                        struct tet_error *error);
TET_MUST_CHECK enum tet_err staged_write(struct staged *staged, const char *bytes, size_t size,
                                         struct tet_error *error);
void staged_end(struct staged *staged); // closes what is open
/* staged_load: the dataset, and in *kind its form's name. label and test_fraction are for tables
 * (csv.h). Errors: TET_BAD_DATASET, TET_IO, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err staged_load(const struct staged *staged, const char *label,
                                        double test_fraction, uint64_t max_bytes,
                                        struct tet_dataset *dataset, const char **kind,
                                        struct tet_error *error);

#endif
