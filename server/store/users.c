// SPDX-License-Identifier: Apache-2.0
/*
 * Users, and whose things are.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/users.h"
#include "store/internal.h"

#include <stdio.h>

enum { DAY_MS = 24 * 3600 * 1000 };

enum tet_err user_put(struct db *db, const char *name, int64_t now_ms, struct tet_error *error)
{
    struct query q =
        query_open(db, "INSERT OR IGNORE INTO user (name, created_ms) VALUES (:name, :now)", error);
    query_bind_text(&q, ":name", name);
    query_bind_int(&q, ":now", now_ms);
    query_run(&q);
    return query_close(&q);
}

struct write_job {
    struct job job;
    const char *name;
    double weight;
    int64_t cap;
};

static enum tet_err write_work(struct store *store, struct job *base, struct tet_error *error)
{
    const struct write_job *job = (struct write_job *)base;
    enum tet_err err = user_put(&store->db, job->name, store_now_ms(), error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(
        &store->db, "UPDATE user SET weight = :weight, cap = nullif(:cap, 0) WHERE name = :name",
        error);
    query_bind_real(&q, ":weight", job->weight);
    query_bind_int(&q, ":cap", job->cap);
    query_bind_text(&q, ":name", job->name);
    query_run(&q);
    return query_close(&q);
}

enum tet_err store_user_write(struct store *store, const char *name, double weight, int64_t cap,
                              struct tet_error *error)
{
    struct write_job job = {
        .job = {.work = write_work, .durable = true}, .name = name, .weight = weight, .cap = cap};
    return writer_do(store, &job.job, error);
}

/* Runs by state come from the counters, so that a long queue is not read. */
static const char users_sql[] =
    "SELECT u.name, u.weight, coalesce(u.cap, 0), coalesce(n.running, 0), coalesce(n.queued, 0),"
    " coalesce(s.seconds, 0.0),"
    " (SELECT count(*) FROM token t WHERE t.user = u.name AND t.revoked_ms = 0"
    "  AND (t.expires_ms = 0 OR t.expires_ms > :now)),"
    " u.created_ms, coalesce((SELECT max(t.used_ms) FROM token t WHERE t.user = u.name), 0)"
    " FROM user u"
    " LEFT JOIN (SELECT e.owner, sum(r.running) AS running, sum(r.queued) AS queued"
    "  FROM experiment e JOIN experiment_runs r ON r.experiment = e.id GROUP BY e.owner) n"
    "  ON n.owner = u.name"
    " LEFT JOIN (SELECT e.owner, sum(r.train_seconds) AS seconds"
    "  FROM run r JOIN experiment e ON e.id = r.experiment WHERE r.ended_ms > :since"
    "  GROUP BY e.owner) s ON s.owner = u.name"
    " WHERE :name IS NULL OR u.name = :name ORDER BY u.name";

enum tet_err store_users_read(struct store *store, const char *name, store_user_fn *visit,
                              void *context, struct tet_error *error)
{
    struct db *db;
    bool found = false;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, users_sql, error);
    query_bind_int(&q, ":now", store_now_ms());
    query_bind_int(&q, ":since", store_now_ms() - DAY_MS);
    query_bind_text(&q, ":name", name);
    while (query_row(&q)) {
        const struct store_user user = {.name = query_text(&q, 0),
                                        .weight = query_real(&q, 1),
                                        .cap = query_int(&q, 2),
                                        .running = (uint64_t)query_int(&q, 3),
                                        .queued = (uint64_t)query_int(&q, 4),
                                        .recent_seconds = query_real(&q, 5),
                                        .tokens = (uint64_t)query_int(&q, 6),
                                        .created_ms = query_int(&q, 7),
                                        .used_ms = query_int(&q, 8)};
        found = true;
        if (!visit(context, &user))
            break;
    }
    err = query_close(&q);
    reader_give(store, db);
    if (err == TET_OK && name != NULL && !found)
        return tet_error_set(error, TET_NOT_FOUND, "there is no user %s", name);
    return err;
}

enum tet_err store_owner(struct store *store, int64_t experiment, int64_t run,
                         char owner[USER_NAME], struct tet_error *error)
{
    struct db *db;
    bool found = false;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                run != 0 ? "SELECT e.owner FROM run r JOIN experiment e"
                                           " ON e.id = r.experiment WHERE r.id = :id"
                                         : "SELECT owner FROM experiment WHERE id = :id",
                                error);
    query_bind_int(&q, ":id", run != 0 ? run : experiment);
    if (query_row(&q)) {
        found = true;
        snprintf(owner, USER_NAME, "%s", query_text(&q, 0));
    }
    err = query_close(&q);
    reader_give(store, db);
    if (err == TET_OK && !found)
        return tet_error_set(error, TET_NOT_FOUND, "there is no %s %lld",
                             run != 0 ? "run" : "experiment",
                             (long long)(run != 0 ? run : experiment));
    return err;
}
