// SPDX-License-Identifier: Apache-2.0
/*
 * The log of who did what. The schema's trigger keeps it at 100,000 entries.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/internal.h"
#include "store/users.h"

#include <stdlib.h>
#include <string.h>

enum tet_err audit_put(struct db *db, const struct store_audit *entry, struct tet_error *error)
{
    struct query q = query_open(db,
                                "INSERT INTO audit (at_ms, user, token, action, object, detail)"
                                " VALUES (:at, :user, :token, :action, :object, :detail)",
                                error);
    query_bind_int(&q, ":at", entry->at_ms);
    query_bind_text(&q, ":user", entry->user);
    query_bind_int(&q, ":token", entry->token);
    query_bind_text(&q, ":action", entry->action);
    query_bind_text(&q, ":object", entry->object);
    query_bind_text(&q, ":detail", entry->detail != NULL ? entry->detail : "{}");
    query_run(&q);
    return query_close(&q);
}

/* The texts of an entry lie behind it. */
struct audit_job {
    struct job job;
    struct store_audit entry;
    char texts[];
};

static enum tet_err audit_work(struct store *store, struct job *base, struct tet_error *error)
{
    return audit_put(&store->db, &((struct audit_job *)base)->entry, error);
}

static void audit_destroy(struct job *job)
{
    free(job);
}

static const char *keep(char **place, const char *text)
{
    const char *kept = *place;
    *place = stpcpy(*place, text) + 1;
    return kept;
}

void store_audit_write(struct store *store, const struct store_audit *entry)
{
    const char *detail = entry->detail != NULL ? entry->detail : "{}";
    const size_t bytes = sizeof(struct audit_job) + strlen(entry->user) + strlen(entry->action) +
                         strlen(entry->object) + strlen(detail) + 4;
    struct audit_job *job = malloc(bytes);
    if (job == NULL)
        return; // what was done is done, and the log of requests has it
    char *place = job->texts;
    job->job = (struct job){.work = audit_work, .destroy = audit_destroy, .bytes = bytes};
    job->entry = (struct store_audit){.at_ms = store_now_ms(), .token = entry->token};
    job->entry.user = keep(&place, entry->user);
    job->entry.action = keep(&place, entry->action);
    job->entry.object = keep(&place, entry->object);
    job->entry.detail = keep(&place, detail);
    (void)!writer_post(store, &job->job, NULL);
}

static enum tet_err nothing(struct store *store, struct job *job, struct tet_error *error)
{
    (void)store, (void)job, (void)error;
    return TET_OK;
}

static enum tet_err read_entries(struct db *db, const char *user, int64_t before, uint32_t limit,
                                 store_audit_fn *visit, void *context, struct tet_error *error)
{
    struct query q = query_open(
        db,
        user != NULL ? "SELECT id, at_ms, user, token, action, object, detail FROM audit"
                       " WHERE user = :user AND (:before = 0 OR id < :before)"
                       " ORDER BY id DESC LIMIT :limit"
                     : "SELECT id, at_ms, user, token, action, object, detail FROM audit"
                       " WHERE :before = 0 OR id < :before ORDER BY id DESC LIMIT :limit",
        error);
    if (user != NULL)
        query_bind_text(&q, ":user", user);
    query_bind_int(&q, ":before", before);
    query_bind_int(&q, ":limit", limit);
    while (query_row(&q)) {
        const struct store_audit entry = {.id = query_int(&q, 0),
                                          .at_ms = query_int(&q, 1),
                                          .user = query_text(&q, 2),
                                          .token = query_int(&q, 3),
                                          .action = query_text(&q, 4),
                                          .object = query_text(&q, 5),
                                          .detail = query_text(&q, 6)};
        if (!visit(context, &entry))
            break;
    }
    return query_close(&q);
}

enum tet_err store_audit_read(struct store *store, const char *user, int64_t before, uint32_t limit,
                              store_audit_fn *visit, void *context, struct tet_error *error)
{
    struct db *db;
    struct job barrier = {.work = nothing,
                          .in_turn = true}; // what was queued before it is written after it
    enum tet_err err = writer_do(store, &barrier, error);
    if (err == TET_OK)
        err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = read_entries(db, user, before, limit, visit, context, error);
    reader_give(store, db);
    return err;
}
