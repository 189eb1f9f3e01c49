// SPDX-License-Identifier: Apache-2.0
/*
 * Changes: what triggers of the writer's connection see is collected during a transaction, thrown away with what is
 * rolled back, and told after the commit. See changes.h.
 *
 * Threads: store_ functions from any; the others on the writer's.
 */
#include "store/internal.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

const double store_commit_bounds[STORE_COMMIT_BOUNDS] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5};

void changes_create(struct changes *changes)
{
    (void)pthread_mutex_init(&changes->lock, NULL);
    (void)pthread_mutex_init(&changes->commits_lock, NULL);
}

void changes_destroy(struct changes *changes)
{
    changes_forget(changes, 0);
    (void)pthread_mutex_destroy(&changes->lock);
    (void)pthread_mutex_destroy(&changes->commits_lock);
}

/* ---- collecting ---- */

void changes_forget(struct changes *changes, size_t n)
{
    while (changes->n > n)
        free(changes->runs[--changes->n].reason);
    if (n > 0)
        return;
    changes->too_many = changes->uncounted = false;
    changes->n_experiments = 0;
}

/* Keeps the experiments ascending, each once. */
static void note_experiment(struct changes *changes, int64_t experiment)
{
    int64_t *all = changes->experiments;
    size_t low = 0, high = changes->n_experiments;
    if (high > 0 && all[high - 1] < experiment)
        low = high;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (all[middle] < experiment)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < changes->n_experiments && all[low] == experiment)
        return;
    if (changes->n_experiments == STORE_MAX_EXPERIMENTS) {
        changes->uncounted = true;
        return;
    }
    memmove(&all[low + 1], &all[low], (changes->n_experiments - low) * sizeof *all);
    all[low] = experiment;
    changes->n_experiments++;
}

void changes_seen(void *context, int64_t run, int64_t experiment, const char *state,
                  const char *reason, int64_t step)
{
    struct changes *changes = context;
    enum run_state known;
    if (!run_state_parse(state, &known))
        return; // the schema allows none other
    if (changes->n == STORE_MAX_CHANGES && !changes->too_many) {
        changes->too_many = true;
        for (size_t i = 0; i < changes->n; i++)
            note_experiment(changes, changes->runs[i].experiment);
    }
    if (changes->too_many) {
        note_experiment(changes, experiment);
        return;
    }
    changes->runs[changes->n++] =
        (struct store_change){.run = run,
                              .experiment = experiment,
                              .state = known,
                              .step = (uint64_t)step,
                              .reason = reason != NULL ? strdup(reason) : NULL};
}

void changes_removed(struct changes *changes, int64_t experiment)
{
    note_experiment(changes, experiment);
}

/* ---- telling ---- */

static enum run_state state_of_experiment(struct db *db, int64_t experiment)
{
    enum run_state state = RUN_QUEUED;
    struct query q =
        query_open(db, "SELECT state FROM experiment_runs WHERE experiment = :experiment", NULL);
    query_bind_int(&q, ":experiment", experiment);
    if (query_row(&q))
        (void)run_state_parse(query_text(&q, 0), &state);
    (void)!query_close(&q);
    return state;
}

void changes_tell(struct store *store)
{
    struct changes *changes = &store->changes;
    if (changes->n == 0 && changes->n_experiments == 0)
        return;
    (void)pthread_mutex_lock(&changes->lock);
    if (changes->observer != NULL) {
        const struct store_changes told = {.at_ms = store_now_ms(),
                                           .n = changes->too_many ? 0 : changes->n,
                                           .runs = changes->runs,
                                           .n_experiments = changes->n_experiments,
                                           .experiments = changes->experiments,
                                           .uncounted = changes->uncounted};
        for (size_t i = 0; i < told.n; i++)
            changes->runs[i].experiment_state =
                state_of_experiment(&store->db, changes->runs[i].experiment);
        changes->observer(changes->context, &told);
    }
    (void)pthread_mutex_unlock(&changes->lock);
    changes_forget(changes, 0);
}

void store_observe(struct store *store, store_observer_fn *observer, void *context)
{
    (void)pthread_mutex_lock(&store->changes.lock);
    store->changes.observer = observer;
    store->changes.context = context;
    (void)pthread_mutex_unlock(&store->changes.lock);
}

/* ---- measures ---- */

enum tet_err changes_commit(struct store *store, struct tet_error *error)
{
    struct changes *changes = &store->changes;
    const double begun = clock_s();
    const enum tet_err err = db_commit(&store->db, error);
    const double took = clock_s() - begun;
    size_t bucket = 0;
    while (bucket < STORE_COMMIT_BOUNDS && took > store_commit_bounds[bucket])
        bucket++;
    (void)pthread_mutex_lock(&changes->commits_lock);
    changes->commits.at_most[bucket]++;
    changes->commits.n++;
    changes->commits.seconds += took;
    (void)pthread_mutex_unlock(&changes->commits_lock);
    return err;
}

static int64_t size_of(const char *path, const char *suffix)
{
    char name[4096];
    struct stat status;
    const int n = snprintf(name, sizeof name, "%s%s", path, suffix);
    return n < (int)sizeof name && stat(name, &status) == 0 ? (int64_t)status.st_size : 0;
}

enum tet_err store_measure(struct store *store, struct store_measures *m, struct tet_error *error)
{
    struct db *db;
    *m = (struct store_measures){.file_bytes = size_of(store->path, ""),
                                 .wal_bytes = size_of(store->path, "-wal")};
    (void)pthread_mutex_lock(&store->changes.commits_lock);
    m->commits = store->changes.commits;
    (void)pthread_mutex_unlock(&store->changes.commits_lock);
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    /* Ids ascend with time, and the queue's index has them. */
    err = db_number(db,
                    "SELECT created_ms FROM run"
                    " WHERE id = (SELECT min(id) FROM run WHERE state = 'queued')",
                    &m->oldest_queued_ms, error);
    struct query q = query_open(db,
                                "SELECT sum(queued), sum(running), sum(paused), sum(succeeded),"
                                " sum(diverged), sum(failed), sum(cancelled) FROM experiment_runs",
                                error);
    if (query_row(&q))
        for (int i = 0; i < RUN_STATES_COUNT; i++)
            m->runs[i] = (uint64_t)query_int(&q, i);
    const enum tet_err counted = query_close(&q);
    reader_give(store, db);
    return err != TET_OK ? err : counted;
}
