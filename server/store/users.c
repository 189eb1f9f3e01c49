// SPDX-License-Identifier: Apache-2.0
/*
 * Users, and whose things are.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/users.h"
#include "store/share.h"

#include <stdio.h>

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
    store->queue_changed = true;
    return query_close(&q);
}

enum tet_err store_user_write(struct store *store, const char *name, double weight, int64_t cap,
                              struct tet_error *error)
{
    struct write_job job = {
        .job = {.work = write_work, .durable = true}, .name = name, .weight = weight, .cap = cap};
    return writer_do(store, &job.job, error);
}

static const char users_sql[] =
    "SELECT u.name, u.weight, coalesce(u.cap, 0),"
    " (SELECT count(*) FROM token t WHERE t.user = u.name AND t.revoked_ms = 0"
    "  AND (t.expires_ms = 0 OR t.expires_ms > :now)),"
    " u.created_ms, coalesce((SELECT max(t.used_ms) FROM token t WHERE t.user = u.name), 0)"
    " FROM user u WHERE :name IS NULL OR u.name = :name ORDER BY u.name";

/* What a user's runs are and have had is what the queue goes by. */
enum tet_err store_users_read(struct store *store, const char *name, store_user_fn *visit,
                              void *context, struct tet_error *error)
{
    struct db *db;
    bool found = false;
    enum tet_err err = reader_take(store, &db, error), shared = TET_OK;
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, users_sql, error);
    query_bind_int(&q, ":now", store_now_ms());
    query_bind_text(&q, ":name", name);
    while (shared == TET_OK && query_row(&q)) {
        struct share share;
        const char *user = query_text(&q, 0);
        shared = share_read(store, db, user, queue_now(store), &share, error);
        found = true;
        if (shared == TET_OK &&
            !visit(context, &(struct store_user){.name = user,
                                                 .weight = query_real(&q, 1),
                                                 .cap = query_int(&q, 2),
                                                 .running = share.running,
                                                 .queued = share.queued,
                                                 .recent_seconds = share.recent,
                                                 .tokens = (uint64_t)query_int(&q, 3),
                                                 .created_ms = query_int(&q, 4),
                                                 .used_ms = query_int(&q, 5)}))
            break;
    }
    err = query_close(&q);
    reader_give(store, db);
    if (err == TET_OK)
        err = shared;
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
    /* What is being removed has neither a definition nor counts. */
    struct query q =
        query_open(db,
                   run != 0 ? "SELECT r.owner FROM run r JOIN run_definition d ON d.run = r.id"
                              " WHERE r.id = :id"
                            : "SELECT e.owner FROM experiment e JOIN experiment_runs n"
                              " ON n.experiment = e.id WHERE e.id = :id",
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
