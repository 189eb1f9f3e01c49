// SPDX-License-Identifier: Apache-2.0
/* Reruns: whether a run that repeats another comes to the same. Threads: as store.h. */
#ifndef SERVER_STORE_RERUNS_H
#define SERVER_STORE_RERUNS_H

#include "store/store.h"

enum { STORE_SERIES_NAME = 64 };

/* Where two runs' metrics part. */
struct store_parting {
    bool found;
    uint64_t step; // the first at which a value differs by its bits, or one run has none
    char series[STORE_SERIES_NAME]; // the first such series of that step, by name
};

/* store_compare: the metrics of two runs from step `after` on. */
TET_MUST_CHECK enum tet_err store_compare(struct store *store, int64_t a, int64_t b, uint64_t after,
                                          struct store_parting *parting, struct tet_error *error);

/* store_rerun_write: keeps what comparing a rerun came to, a JSON object. */
TET_MUST_CHECK enum tet_err store_rerun_write(struct store *store, int64_t run, const char *result,
                                              struct tet_error *error);

#endif
