// SPDX-License-Identifier: Apache-2.0
/*
 * The queue: whose run is next, what users may do to their runs, what comes when.
 *
 * Fair share. What a user has had is seconds of workers' time times threads; it halves with each
 * half-life. The next run is the head (priority, then id) of the user with the least of
 *
 *     (had lately + what the running runs take) / weight
 *
 * among those with runs in the queue and below their cap; ties go to the older head. A running run
 * takes what it has taken or, where that is more, what it was thought to take when it began: so
 * that workers that become free at once, or one after the other within moments, do not all go to
 * the same user. A run that comes to its end is charged what it was thought to take, where that is
 * between half and twice of what training it took, else that.
 *
 * Threads: any function from any thread, but store_set_policy.
 */
#ifndef SERVER_STORE_QUEUE_H
#define SERVER_STORE_QUEUE_H

#include "access/identity.h"
#include "store/store.h"

struct store_policy {
    double half_life_s;        // of what a user has had
    uint64_t max_queued;       // runs in the queue; at most STORE_MAX_QUEUED
    uint64_t max_queued_each;  // of one user; 0: no bound
    uint32_t max_running_each; // of a user without a cap of their own; 0: no bound
};
enum { STORE_HALF_LIFE_S = 24 * 3600 };

/* store_set_policy: before anything else uses the store. */
void store_set_policy(struct store *store, const struct store_policy *policy);

/* store_set_speed: how fast a worker trains, FLOP/s: for estimates, and kept over restarts.
 * store_speed: the last, 0 before any. */
void store_set_speed(struct store *store, double flops_per_s);
double store_speed(struct store *store);

/* ---- acting (durable) ---- */

/*
 * cancel     queued, paused: cancelled; running: too, its worker stops and is not heard any more
 * pause      queued, paused for want of something: paused, until a user resumes; running: its
 *            worker stops at the next mini-batch and hands the run back, which is then paused
 * resume     paused: queued; running and about to pause: its worker hands it back all the same
 * priority   all that is not final
 * delete     an experiment, for everybody at once; its rows are removed little by little
 */
enum store_action { STORE_CANCEL, STORE_PAUSE, STORE_RESUME, STORE_PRIORITY, STORE_DELETE };

struct store_acted {
    uint64_t experiments; // concerned
    uint64_t queued;      // waited; changed at once. With delete: all runs
    uint64_t running;     // are running: the pool is to stop them (cancel, pause)
    uint64_t finished;    // stay as they are
    uint64_t skipped;     // experiments that cannot be deleted, for runs queued, running or pinned
    uint64_t bytes;       // delete: about how many the rows take
    int64_t *ids;         // new array of the running ones; the caller frees
};

struct store_order {
    enum store_action action;
    int32_t priority;           // STORE_PRIORITY: -100 to 100
    int64_t run;                // one run, of experiments[0] where n is 1; 0: all of `experiments`
    const int64_t *experiments; // (n)
    size_t n;
};
enum { STORE_PRIORITY_MAX = 100 };

/* store_act: all of it in one transaction. Errors: TET_NOT_FOUND (the run, or the only experiment;
 * several experiments: those that are gone are passed over), TET_CONFLICT (the only experiment
 * cannot be deleted yet), TET_BUSY, TET_DATABASE, TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err store_act(struct store *store, const struct store_order *order,
                                      struct store_acted *acted, struct tet_error *error);

/* ---- looking ahead ---- */

struct store_share {
    char user[USER_NAME];
    double weight;
    uint32_t cap; // runs at once; 0: none
    uint32_t running;
    uint64_t queued;
    double recent_seconds; // had lately, with what the running runs took so far
    double share;          // of the recent seconds of those listed, 0 to 1
};

struct store_ahead {
    int64_t run, experiment;
    char owner[USER_NAME];
    int32_t priority;
    double start_s, end_s; // from now; NaN: not known
};

struct store_going {
    int64_t run, experiment;
    char owner[USER_NAME];
    uint32_t worker;
    int64_t began_ms;
    double left_s; // NaN: not known
};

/* How far a run is. */
struct store_progress {
    int64_t run;
    uint64_t step;
};

enum { STORE_AHEAD = 1000 }; // places of the queue that are looked ahead

/* What comes when: the queue as it is, played forward. It takes no account of memory. */
struct store_plan {
    int64_t at_ms;    // of queue_now
    int64_t shown_ms; // the same moment by the machine's clock
    double half_life_s;
    uint64_t length; // runs in the queue
    size_t n_going, n_ahead, n_shares;
    struct store_going *going;
    struct store_ahead *ahead;  // in their order: place 1 first
    struct store_share *shares; // those who have runs, or had lately; by name
    struct store_ahead **by_id; // of ahead, ascending ids
    uint32_t users;             // the rest is the store's
    uint64_t version;
};

/* store_plan_take: the plan as of now (less than a second old where the queue did not change
 * since). progress: of the runs that are being trained, (n). The caller gives it back. */
TET_MUST_CHECK enum tet_err store_plan_take(struct store *store, uint32_t workers,
                                            const struct store_progress *progress, size_t n,
                                            struct store_plan **plan, struct tet_error *error);
void store_plan_give(struct store *store, struct store_plan *plan); // NULL is fine
/* store_plan_place: a run's place, from 1; 0: not among the first STORE_AHEAD. */
size_t store_plan_place(const struct store_plan *plan, int64_t run);

#endif
