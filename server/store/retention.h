// SPDX-License-Identifier: Apache-2.0
/*
 * Retention: pins, and which checkpoints of finished runs go. Metrics, digests and the newest
 * checkpoint, which are a run's result, always stay.
 *
 * Threads: any.
 */
#ifndef SERVER_STORE_RETENTION_H
#define SERVER_STORE_RETENTION_H

#include "store/store.h"

/* store_pin: pins a run (step 0), or its checkpoint at a step, or takes the pin away. Durable.
 * Errors: TET_NOT_FOUND (no such run or checkpoint), TET_CONFLICT (a run has STORE_MAX_PINS pinned
 * checkpoints already), TET_DATABASE. */
enum { STORE_MAX_PINS = 64 };
TET_MUST_CHECK enum tet_err store_pin(struct store *store, int64_t run, uint64_t step, bool pinned,
                                      struct tet_error *error);

/* store_pins_read: whether a run is pinned, and the steps of its pinned checkpoints, ascending, at
 * most STORE_MAX_PINS. A run that is not there has none. */
struct store_pins {
    bool run;
    size_t n;
    uint64_t steps[STORE_MAX_PINS];
};
TET_MUST_CHECK enum tet_err store_pins_read(struct store *store, int64_t run,
                                            struct store_pins *pins, struct tet_error *error);

/* store_pinned: how many of an experiment's runs are pinned: it cannot be deleted before that is 0. */
TET_MUST_CHECK enum tet_err store_pinned(struct store *store, int64_t experiment, uint64_t *n,
                                         struct tet_error *error);

/* What may go: checkpoints of runs that are final, not pinned, and ended before a time, but the
 * newest `keep.last` (at least 1), the best `keep.best`, and the pinned ones. */
struct store_retention {
    struct store_keep keep;
    int64_t ended_before_ms; // UTC since 1970
    const char *owner, *tag; // of the experiment; NULL: any
};

struct store_spare {
    int64_t checkpoint, run;
    uint64_t step, bytes;
};
typedef bool store_spare_fn(void *context, const struct store_spare *spare);

/* store_spares_read: what would go, ascending by run and step. */
TET_MUST_CHECK enum tet_err store_spares_read(struct store *store,
                                              const struct store_retention *retention,
                                              store_spare_fn *visit, void *context,
                                              struct tet_error *error);

/* store_spares_remove: removes checkpoints that store_spares_read told of, unless they were pinned
 * in the meantime or are their run's newest now; a few in a transaction, so that nobody waits long.
 * *removed: how many of them went; also after an error. */
TET_MUST_CHECK enum tet_err store_spares_remove(struct store *store,
                                                const struct store_spare *spares, size_t n,
                                                size_t *removed, struct tet_error *error);

#endif
