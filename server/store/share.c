// SPDX-License-Identifier: Apache-2.0
/*
 * Fair share: what users have had, and whose run is next. See queue.h.
 *
 * Times are of queue_now, which a test may set. What is charged is charged when it was used: at a
 * run's end, at its checkpoints, and at claims.
 *
 * Threads: the writer's jobs, but where it says any.
 */
#include "store/share.h"

#include "clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CHARGE_MS = 60000 }; // claims charge what was not charged for so long

void queue_begin(struct store *store)
{
    store->epoch_ms = store_now_ms() - clock_ms();
}

int64_t queue_now(const struct store *store)
{
    return store->clock_ms != 0 ? store->clock_ms : store->epoch_ms + clock_ms();
}

int64_t queue_shown(const struct store *store, int64_t at_ms)
{
    return at_ms + (store->clock_ms != 0 ? 0 : store_now_ms() - queue_now(store));
}

double share_decay(double seconds, int64_t since_ms, int64_t now_ms, double half_life_s)
{
    const double age = now_ms > since_ms ? (double)(now_ms - since_ms) / 1000.0 : 0.0;
    return seconds * exp2(-age / half_life_s);
}

double share_level(const struct share *s)
{
    return (s->recent + s->pending) / (s->weight > 1e-9 ? s->weight : 1e-9);
}

bool share_may_run(const struct share *s)
{
    return s->queued > 0 && (s->cap == 0 || s->running < s->cap);
}

size_t share_next(const struct share *shares, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (!share_may_run(&shares[i]))
            continue;
        const double level = share_level(&shares[i]);
        const double least = best < n ? share_level(&shares[best]) : INFINITY;
        if (best == n || level < least || (level == least && shares[i].head < shares[best].head))
            best = i;
    }
    return best;
}

/* ---- the users, from the database ---- */

#define RUNNING_OF "FROM attempt a WHERE a.owner = u.user"
#define SHARES                                                                                     \
    "SELECT u.user, u.seconds, u.at_ms, u.queued, coalesce(w.weight, 1.0), w.cap,"                 \
    " (SELECT count(*) " RUNNING_OF "),"                                                           \
    " (SELECT total(max(0, :now - a.charged_ms) * a.threads) " RUNNING_OF "),"                     \
    " (SELECT total(max(0, a.began_ms + a.expected_ms - max(a.charged_ms, :now)) * a.threads)"     \
    " " RUNNING_OF "),"                                                                            \
    " coalesce((SELECT r.id FROM run r INDEXED BY run_queue WHERE r.owner = u.user"                \
    " AND r.state = 'queued' ORDER BY r.priority DESC, r.id LIMIT 1), 0)"                          \
    " FROM usage u LEFT JOIN user w ON w.name = u.user "
static const char users_sql[] = SHARES "WHERE u.queued > 0 OR :all ORDER BY u.user";
static const char user_sql[] = SHARES "WHERE u.user = :user";
#undef SHARES
#undef RUNNING_OF

struct query share_users(const struct store *store, struct db *db, bool all, int64_t now,
                         struct tet_error *error)
{
    (void)store;
    struct query q = query_open(db, users_sql, error);
    query_bind_int(&q, ":now", now);
    query_bind_int(&q, ":all", all);
    return q;
}

void share_from_row(const struct store *store, const struct query *q, int64_t now, struct share *s)
{
    const int64_t cap = query_int(q, 5);
    const char *user = query_text(q, 0);
    *s = (struct share){
        .weight = query_real(q, 4),
        .cap = cap > 0 ? (uint32_t)cap : store->policy.max_running_each,
        .running = (uint32_t)query_int(q, 6),
        .queued = (uint64_t)query_int(q, 3),
        .recent = share_decay(query_real(q, 1), query_int(q, 2), now, store->policy.half_life_s) +
                  query_real(q, 7) / 1000.0,
        .pending = query_real(q, 8) / 1000.0,
        .head = query_int(q, 9),
    };
    (void)snprintf(s->user, sizeof s->user, "%s", user != NULL ? user : "");
}

enum tet_err share_read(const struct store *store, struct db *db, const char *user, int64_t now,
                        struct share *s, struct tet_error *error)
{
    *s = (struct share){0};
    struct query q = query_open(db, user_sql, error);
    query_bind_int(&q, ":now", now);
    query_bind_text(&q, ":user", user);
    if (query_row(&q))
        share_from_row(store, &q, now, s);
    return query_close(&q);
}

/* In one pass: only the best so far is kept. */
enum tet_err share_choose(struct store *store, int64_t *head, struct tet_error *error)
{
    const int64_t now = queue_now(store);
    struct share pair[2] = {0}; // the best so far, and one more
    struct query q = share_users(store, &store->db, false, now, error);
    *head = 0;
    while (query_row(&q)) {
        share_from_row(store, &q, now, &pair[1]);
        if (share_next(pair, 2) == 1)
            pair[0] = pair[1];
    }
    if (share_may_run(&pair[0]))
        *head = pair[0].head;
    return query_close(&q);
}

/* ---- charging ---- */

struct charge {
    char user[USER_NAME];
    double seconds;
};

static enum tet_err take_charge(struct db *db, int64_t run, int64_t now, struct charge *charge,
                                struct tet_error *error)
{
    *charge = (struct charge){0};
    struct query q =
        query_open(db, "SELECT owner, threads, charged_ms FROM attempt WHERE run = :run", error);
    query_bind_int(&q, ":run", run);
    if (query_row(&q)) {
        const int64_t ms = now - query_int(&q, 2);
        (void)snprintf(charge->user, sizeof charge->user, "%s", query_text(&q, 0));
        charge->seconds = ms > 0 ? (double)ms / 1000.0 * (double)query_int(&q, 1) : 0.0;
    }
    return query_close(&q);
}

static enum tet_err add_usage(struct store *store, const struct charge *charge, int64_t now,
                              struct tet_error *error)
{
    double seconds = 0.0;
    struct query q =
        query_open(&store->db, "SELECT seconds, at_ms FROM usage WHERE user = :user", error);
    query_bind_text(&q, ":user", charge->user);
    if (query_row(&q))
        seconds = share_decay(query_real(&q, 0), query_int(&q, 1), now, store->policy.half_life_s);
    enum tet_err err = query_close(&q);
    if (err != TET_OK)
        return err;
    q = query_open(&store->db,
                   "INSERT INTO usage (user, seconds, at_ms) VALUES (:user, :seconds, :now)"
                   " ON CONFLICT (user) DO UPDATE SET seconds = :seconds, at_ms = :now",
                   error);
    query_bind_text(&q, ":user", charge->user);
    query_bind_real(&q, ":seconds", fmax(0.0, seconds + charge->seconds));
    query_bind_int(&q, ":now", now);
    query_run(&q);
    return query_close(&q);
}

enum tet_err share_charge(struct store *store, int64_t run, struct tet_error *error)
{
    const int64_t now = queue_now(store);
    struct charge charge;
    enum tet_err err = take_charge(&store->db, run, now, &charge, error);
    if (err != TET_OK || charge.seconds <= 0.0)
        return err;
    err = add_usage(store, &charge, now, error);
    if (err != TET_OK)
        return err;
    struct query q =
        query_open(&store->db, "UPDATE attempt SET charged_ms = :now WHERE run = :run", error);
    query_bind_int(&q, ":now", now);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

/* A run that goes on for days is in its user's account all the while. */
enum tet_err share_charge_old(struct store *store, struct tet_error *error)
{
    const int64_t now = queue_now(store);
    for (;;) {
        int64_t run = 0;
        struct query q = query_open(
            &store->db, "SELECT run FROM attempt WHERE charged_ms < :before LIMIT 1", error);
        query_bind_int(&q, ":before", now - CHARGE_MS);
        if (query_row(&q))
            run = query_int(&q, 0);
        enum tet_err err = query_close(&q);
        if (err == TET_OK && run != 0)
            err = share_charge(store, run, error);
        if (err != TET_OK || run == 0)
            return err;
    }
}

/* ---- attempts ---- */

double share_expected(const struct pace *pace, double flops, uint64_t step, uint64_t steps)
{
    const double left = steps > 0 && step < steps ? 1.0 - (double)step / (double)steps : 0.0;
    if (flops > 0.0 && pace->speed > 0.0)
        return flops * left / pace->speed;
    return pace->run_seconds > 0.0 ? pace->run_seconds : NAN;
}

enum tet_err share_pace(struct db *db, struct pace *pace, struct tet_error *error)
{
    struct query q = query_open(db, "SELECT speed, run_seconds FROM store", error);
    if (query_row(&q))
        *pace = (struct pace){query_real(&q, 0), query_real(&q, 1)};
    return query_close(&q);
}

enum { UNKNOWN_MS = 1000 }; // an attempt whose length nobody knows

enum tet_err share_begin(struct store *store, int64_t run, struct tet_error *error)
{
    struct pace pace = {0};
    double seconds = NAN;
    enum tet_err err = share_pace(&store->db, &pace, error);
    if (err != TET_OK)
        return err;
    struct query q =
        query_open(&store->db, "SELECT flops, step, steps FROM run WHERE id = :run", error);
    query_bind_int(&q, ":run", run);
    if (query_row(&q))
        seconds = share_expected(&pace, query_real(&q, 0), (uint64_t)query_int(&q, 1),
                                 (uint64_t)query_int(&q, 2));
    err = query_close(&q);
    if (err != TET_OK)
        return err;
    q = query_open(&store->db,
                   "INSERT OR REPLACE INTO attempt"
                   " (owner, run, threads, began_ms, charged_ms, expected_ms, step)"
                   " SELECT owner, id, threads, :now, :now, :expected, step FROM run"
                   " WHERE id = :run",
                   error);
    query_bind_int(&q, ":now", queue_now(store));
    query_bind_int(&q, ":expected",
                   isfinite(seconds) && seconds < 1e12 ? (int64_t)(seconds * 1000.0) : UNKNOWN_MS);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

/* How long attempts take that came to an end. */
static enum tet_err learn(struct store *store, int64_t run, struct tet_error *error)
{
    struct query q = query_open(&store->db,
                                "UPDATE store SET run_seconds = iif(run_seconds = 0.0, a.s,"
                                " 0.8 * run_seconds + 0.2 * a.s) FROM (SELECT"
                                " max(0, :now - began_ms) / 1000.0 AS s FROM attempt"
                                " WHERE run = :run) a",
                                error);
    query_bind_int(&q, ":now", queue_now(store));
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

/* A run that came to its end costs what it was thought to, where that is not far from what training
 * it took, else what that took: what else the machine had to do meanwhile, and what a dataset took to
 * be read for all, is not its user's doing. So equal runs cost the same. */
static enum tet_err even_out(struct store *store, int64_t run, double train_seconds,
                             struct tet_error *error)
{
    const int64_t now = queue_now(store);
    const double trained = 1000.0 * train_seconds; // ms
    struct charge charge = {0};
    struct query q = query_open(&store->db,
                                "SELECT a.owner, a.threads, a.expected_ms, a.began_ms"
                                " FROM attempt a JOIN run r ON r.id = a.run"
                                " WHERE a.run = :run AND r.flops > 0.0",
                                error);
    query_bind_int(&q, ":run", run);
    if (query_row(&q)) {
        const double expected = (double)query_int(&q, 2);
        const double cost =
            expected <= 2.0 * trained && trained <= 2.0 * expected ? expected : trained;
        (void)snprintf(charge.user, sizeof charge.user, "%s", query_text(&q, 0));
        charge.seconds =
            (cost - (double)(now - query_int(&q, 3))) / 1000.0 * (double)query_int(&q, 1);
    }
    const enum tet_err err = query_close(&q);
    return err != TET_OK || charge.seconds == 0.0 ? err : add_usage(store, &charge, now, error);
}

enum tet_err share_end(struct store *store, int64_t run, bool whole, double train_seconds,
                       struct tet_error *error)
{
    enum tet_err err = share_charge(store, run, error);
    if (err == TET_OK && whole)
        err = learn(store, run, error);
    return err == TET_OK && whole && train_seconds > 0.0
               ? even_out(store, run, train_seconds, error)
               : err;
}

/* ---- settings (any thread) ---- */

void store_set_policy(struct store *store, const struct store_policy *policy)
{
    store->policy = *policy;
}

struct speed_job {
    struct job job;
    double speed;
};

static enum tet_err speed_work(struct store *store, struct job *job, struct tet_error *error)
{
    struct query q = query_open(&store->db, "UPDATE store SET speed = :speed", error);
    query_bind_real(&q, ":speed", ((struct speed_job *)job)->speed);
    query_run(&q);
    return query_close(&q);
}

void store_set_speed(struct store *store, double flops_per_s)
{
    struct speed_job job = {.job.work = speed_work, .speed = flops_per_s};
    if (isfinite(flops_per_s) && flops_per_s > 0.0)
        (void)!writer_do(store, &job.job, NULL); // an estimate: it can do without
}

double store_speed(struct store *store)
{
    struct db *db;
    struct pace pace = {0};
    if (reader_take(store, &db, NULL) == TET_OK) {
        (void)!share_pace(db, &pace, NULL);
        reader_give(store, db);
    }
    return pace.speed;
}
