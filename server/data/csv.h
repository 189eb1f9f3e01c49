// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets in tables of comma-separated values (RFC 4180): a row is an example, one column its class,
 * the others its inputs.
 *
 * Threads: any; nothing is shared between calls.
 */
#ifndef SERVER_DATA_CSV_H
#define SERVER_DATA_CSV_H

#include <stdint.h>

#include <tetrad/dataset.h>
#include <tetrad/error.h>

struct csv_source {
    const char *train; // path
    const char *test;  // path of the table to test on; NULL: none
    const char *label; // the classes' column: its name, or its number from 0; NULL: the one called
                       // `label` or `t`, else the first
    double
        test_fraction; // of the rows of `train` that are to test on, 0 <= f < 1, taken evenly from
                       // first to last; 0: none
};

/* csv_load: the first row may be names (it is, where one of its fields is no number). Labels are whole
 * numbers from 0, classes the greatest to train on + 1, at least 2; inputs are finite floats. The
 * tables are read twice, in pieces: memory is the dataset's, at most max_bytes. The caller frees with
 * tet_dataset_free. Errors: TET_BAD_DATASET (file, line, column, what is wrong), TET_IO,
 * TET_NO_MEMORY; *dataset is then zero. */
TET_MUST_CHECK enum tet_err csv_load(struct tet_dataset *dataset, const struct csv_source *source,
                                     uint64_t max_bytes, struct tet_error *error);

#endif
