// SPDX-License-Identifier: Apache-2.0
/* Bins of series in the writer's jobs: see points.h for what they are. Threads: the writer. */
#ifndef SERVER_STORE_BINS_H
#define SERVER_STORE_BINS_H

#include "store/internal.h"
#include "store/points.h"

/* Bins that one job writes. Of each series, records must come by ascending step. */
struct bins {
    uint32_t level; // of the smallest
    struct query query;
    struct tet_error *error;
    struct open_bin *open;
    size_t n, capacity, last;
};

TET_MUST_CHECK enum tet_err bins_begin(struct bins *bins, struct db *db, int64_t run,
                                       uint32_t level, struct tet_error *error);
TET_MUST_CHECK enum tet_err bins_add(struct bins *bins, int64_t series, uint64_t step,
                                     double value);
TET_MUST_CHECK enum tet_err bins_end(struct bins *bins); // always, whatever failed before

/* bins_row: a bin from columns bin, n, low_step, low, high_step, high, null_step. */
struct store_bin bins_row(const struct query *query, int column, uint32_t level);

/* bins_remake: all bins that hold `from` or a later step, from the run's records. */
TET_MUST_CHECK enum tet_err bins_remake(struct db *db, int64_t run, uint32_t level, uint64_t from,
                                        struct tet_error *error);

/* bins_level: run.draw_level, 0: none yet. bins_choose: sets it from the run's definition. */
TET_MUST_CHECK enum tet_err bins_level(struct db *db, int64_t run, int64_t *level,
                                       struct tet_error *error);
TET_MUST_CHECK enum tet_err bins_choose(struct db *db, int64_t run, int64_t *level,
                                        struct tet_error *error);

#endif
