// SPDX-License-Identifier: Apache-2.0
/*
 * What changed among the runs: told by the store itself after each commit, so that nobody who changes a run's state
 * has to remember to say so.
 */
#ifndef SERVER_STORE_CHANGES_H
#define SERVER_STORE_CHANGES_H

#include "store/store.h"

enum {
    STORE_MAX_CHANGES = 200,     // runs of one transaction that are told one by one
    STORE_MAX_EXPERIMENTS = 1000 // else their experiments
};

struct store_change {
    int64_t run, experiment;
    enum run_state state, experiment_state;
    uint64_t step;
    char *reason; // NULL: none
};

/* The changes of one transaction, in order. */
struct store_changes {
    int64_t at_ms; // UTC since 1970
    size_t n;      // runs; 0 where there were too many of them
    const struct store_change *runs;
    size_t n_experiments; // whose runs were too many, or are gone: ascending, each once
    const int64_t *experiments;
    bool uncounted; // there were more experiments than can be told
};

/* An observer: called on the writer's thread after a commit, before those are answered who asked for the change.
 * What it is given is valid during the call. It must not wait, nor call the store. */
typedef void store_observer_fn(void *context, const struct store_changes *changes);

/* store_observe: from the next transaction on; NULL: nobody observes. Returns when the former observer is no longer
 * being called. */
void store_observe(struct store *store, store_observer_fn *observer, void *context);

/* Commits since the store was opened: their number, and how long they took. */
enum { STORE_COMMIT_BOUNDS = 12 };
extern const double store_commit_bounds[STORE_COMMIT_BOUNDS]; // seconds, ascending
struct store_commits {
    uint64_t at_most[STORE_COMMIT_BOUNDS + 1]; // of each bucket alone; the last: longer
    uint64_t n;
    double seconds;
};

/* What the store weighs and what waits in it, for those who watch over it. */
struct store_measures {
    int64_t file_bytes, wal_bytes;
    uint64_t runs[RUN_STATES_COUNT]; // in each state
    int64_t oldest_queued_ms;        // when it was submitted, UTC since 1970; 0: none waits
    struct store_commits commits;
};
TET_MUST_CHECK enum tet_err store_measure(struct store *store, struct store_measures *measures,
                                          struct tet_error *error);

#endif
