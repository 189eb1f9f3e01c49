// SPDX-License-Identifier: Apache-2.0
/*
 * Fair share, inside the store: a user's standing, whose run is next, what is charged. See queue.h
 * for the rule.
 *
 * Threads: whoever has the connection.
 */
#ifndef SERVER_STORE_SHARE_H
#define SERVER_STORE_SHARE_H

#include "store/internal.h"

struct share {
    char user[USER_NAME];
    double weight;
    uint32_t cap; // 0: none
    uint32_t running;
    uint64_t queued;
    double recent;  // had lately, s
    double pending; // what the running runs are thought to take yet, s
    int64_t head;   // the run that would be next of theirs, 0: none
};

/* share_decay: what is left of `seconds` that were had at since_ms. */
double share_decay(double seconds, int64_t since_ms, int64_t now_ms, double half_life_s);
double share_level(const struct share *share); // s
bool share_may_run(const struct share *share); // has runs, and is below the cap
/* share_next: whose run is next; n: nobody's. */
size_t share_next(const struct share *shares, size_t n);

/* share_users: a query whose rows are for share_from_row, by name; all: not only those who have
 * runs in the queue. The caller closes it. */
struct query share_users(const struct store *store, struct db *db, bool all, int64_t now,
                         struct tet_error *error);
void share_from_row(const struct store *store, const struct query *query, int64_t now,
                    struct share *share);
/* share_read: one user's; all zero for who never submitted. Any thread, on its own connection. */
TET_MUST_CHECK enum tet_err share_read(const struct store *store, struct db *db, const char *user,
                                       int64_t now, struct share *share, struct tet_error *error);

/* share_choose: the run that is next, 0: none. */
TET_MUST_CHECK enum tet_err share_choose(struct store *store, int64_t *head,
                                         struct tet_error *error);

/* How fast runs go. */
struct pace {
    double speed;       // FLOP/s, 0: not known
    double run_seconds; // of an attempt, 0: not known
};
TET_MUST_CHECK enum tet_err share_pace(struct db *db, struct pace *pace, struct tet_error *error);
/* share_expected: how long a run will take from `step` on, s; NaN: not known. */
double share_expected(const struct pace *pace, double flops, uint64_t step, uint64_t steps);

/* share_begin: a run is claimed. share_charge: its user has had its time until now. share_end: it
 * stops; before its state changes; whole: it came to its end, so that its length is worth knowing.
 * share_charge_old: all that were not charged for a minute. */
TET_MUST_CHECK enum tet_err share_begin(struct store *store, int64_t run, struct tet_error *error);
TET_MUST_CHECK enum tet_err share_charge(struct store *store, int64_t run, struct tet_error *error);
TET_MUST_CHECK enum tet_err share_charge_old(struct store *store, struct tet_error *error);
TET_MUST_CHECK enum tet_err share_end(struct store *store, int64_t run, bool whole,
                                      double train_seconds, struct tet_error *error);

/* queue_now: ms since 1970 by a clock that was set when the store was opened (queue_begin) and has gone evenly since:
 * what a run took is not what somebody set the machine's clock by. A test's own where it set store->clock_ms.
 * queue_shown: the same moment by the machine's clock as it is now. */
void queue_begin(struct store *store);
int64_t queue_shown(const struct store *store, int64_t at_ms);
int64_t queue_now(const struct store *store);

#endif
