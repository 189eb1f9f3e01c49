// SPDX-License-Identifier: Apache-2.0
/*
 * Series for drawing: as few points as asked for, with every spike.
 *
 * A series' records after `after` fall into bins of 2^k steps, counted from step 0. Of a bin are
 * kept the least and the greatest value (the first of equal ones) and the first record that has no
 * number; of the series also the first and the last record. k is the smallest that leaves at most
 * n points of those allowed: 0; where the series spans at most 2^(d - 2) n steps, any; else those
 * from the smallest level of d, d + 4, d + 8, d + 12 on whose bins number at most 8 n. d is 6 and
 * the base-two logarithm of the steps between two records (record.every), rounded down. Where even
 * one bin has more than n points, the first and the last record are left.
 *
 * The bins of levels d to d + 12 are kept in metric_bin as records come; those of runs from before
 * are made when first asked for.
 *
 * Threads: as store.h.
 */
#ifndef SERVER_STORE_POINTS_H
#define SERVER_STORE_POINTS_H

#include "store/store.h"

enum { STORE_LEVELS = 4, STORE_LEVEL_STEP = 4, STORE_LEVEL_LEAST = 6 };

/* What is known of the records of a bin. */
struct store_bin {
    uint64_t at; // a step in it
    uint64_t n;  // records
    bool finite; // low and high are set
    uint64_t low_step, high_step;
    double low, high;
    uint64_t null_step; // UINT64_MAX: none
};

/* store_bin_of, store_bin_merge: of one record (NaN: no number); of two, into the first. */
struct store_bin store_bin_of(uint64_t step, double value);
void store_bin_merge(struct store_bin *into, const struct store_bin *from);

/* store_points_read: for each series in `names` (exact, NULL-terminated; each must be one of the
 * run's), in that order, its points, ascending. n from 2. Errors: TET_NO_MEMORY, TET_DATABASE. */
TET_MUST_CHECK enum tet_err store_points_read(struct store *store, int64_t run, uint64_t after,
                                              uint32_t n, const char *const *names,
                                              store_metric_fn *visit, void *context,
                                              struct tet_error *error);

/* store_names_read: the names of a run's series, sorted; an array of *n that the caller frees with
 * store_names_free. A run that is not there has none. */
TET_MUST_CHECK enum tet_err store_names_read(struct store *store, int64_t run, char ***names,
                                             size_t *n, struct tet_error *error);
void store_names_free(char **names, size_t n); // NULL is fine

#endif
