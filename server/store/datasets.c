// SPDX-License-Identifier: Apache-2.0
/* Names of uploaded datasets: see datasets.h. Threads: store_ functions from any; the others in the
 * writer's jobs. */
#include "store/datasets.h"

#include <string.h>

#include "store/internal.h"

struct put_job {
    struct job job;
    const struct store_dataset *dataset;
    bool *created;
};

static enum tet_err put_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct put_job *job = (struct put_job *)base;
    const struct store_dataset *d = job->dataset;
    struct query q = query_open(&store->db, "SELECT sha256 FROM dataset WHERE name = :name", error);
    query_bind_text(&q, ":name", d->name);
    *job->created = !query_row(&q);
    if (!*job->created && strcmp(query_text(&q, 0), d->sha256) != 0)
        query_fail(&q, TET_CONFLICT,
                   "the name has another content; delete it first, or take another name");
    const enum tet_err err = query_close(&q);
    if (err != TET_OK || !*job->created)
        return err;
    q = query_open(&store->db,
                   "INSERT INTO dataset (name, owner, kind, sha256, bytes, created_ms)"
                   " VALUES (:name, :owner, :kind, :sha256, :bytes, :now)",
                   error);
    query_bind_text(&q, ":name", d->name);
    query_bind_text(&q, ":owner", d->owner);
    query_bind_text(&q, ":kind", d->kind);
    query_bind_text(&q, ":sha256", d->sha256);
    query_bind_int(&q, ":bytes", (int64_t)d->bytes);
    query_bind_int(&q, ":now", store_now_ms());
    query_run(&q);
    return query_close(&q);
}

enum tet_err store_dataset_put(struct store *store, const struct store_dataset *dataset,
                               bool *created, struct tet_error *error)
{
    struct put_job job = {.job = {.work = put_work, .durable = true, .grows = true},
                          .dataset = dataset,
                          .created = created};
    return writer_do(store, &job.job, error);
}

struct delete_job {
    struct job job;
    const char *name;
    bool *last;
};

static enum tet_err count_uses(struct db *db, const char *name, uint64_t *runs,
                               struct tet_error *error)
{
    struct query q = query_open(db, "SELECT runs FROM dataset_use WHERE name = :name", error);
    query_bind_text(&q, ":name", name);
    *runs = query_row(&q) ? (uint64_t)query_int(&q, 0) : 0;
    return query_close(&q);
}

static enum tet_err delete_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct delete_job *job = (struct delete_job *)base;
    struct db *db = &store->db;
    uint64_t runs = 0;
    enum tet_err err = count_uses(db, job->name, &runs, error);
    if (err == TET_OK && runs > 0)
        err = tet_error_set(error, TET_CONFLICT,
                            "%llu run%s wait%s for this dataset or use%s it; cancel them first",
                            (unsigned long long)runs, runs == 1 ? "" : "s", runs == 1 ? "s" : "",
                            runs == 1 ? "s" : "");
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                "SELECT NOT EXISTS (SELECT 1 FROM dataset o WHERE o.sha256 ="
                                " d.sha256 AND o.name <> d.name) FROM dataset d WHERE name = :name",
                                error);
    query_bind_text(&q, ":name", job->name);
    if (query_row(&q))
        *job->last = query_int(&q, 0) != 0;
    else
        query_fail(&q, TET_NOT_FOUND, "there is no uploaded dataset of that name");
    if ((err = query_close(&q)) != TET_OK)
        return err;
    q = query_open(db, "DELETE FROM dataset WHERE name = :name", error);
    query_bind_text(&q, ":name", job->name);
    query_run(&q);
    return query_close(&q);
}

enum tet_err store_dataset_delete(struct store *store, const char *name, bool *last,
                                  struct tet_error *error)
{
    struct delete_job job = {
        .job = {.work = delete_work, .durable = true, .frees = true}, .name = name, .last = last};
    return writer_do(store, &job.job, error);
}

enum tet_err store_datasets_read(struct store *store, const char *name, store_dataset_fn *visit,
                                 void *context, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                "SELECT name, owner, kind, sha256, bytes, created_ms FROM dataset"
                                " WHERE :name IS NULL OR name = :name ORDER BY name",
                                error);
    query_bind_text(&q, ":name", name);
    bool go_on = true;
    while (go_on && query_row(&q)) {
        const struct store_dataset d = {
            .name = query_text(&q, 0),
            .owner = query_text(&q, 1),
            .kind = query_text(&q, 2),
            .sha256 = query_text(&q, 3),
            .bytes = (uint64_t)query_int(&q, 4),
            .created_ms = query_int(&q, 5),
        };
        go_on = visit(context, &d);
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

enum tet_err store_dataset_known(struct store *store, const char *sha256, bool *known,
                                 struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, "SELECT 1 FROM dataset WHERE sha256 = :sha256 LIMIT 1", error);
    query_bind_text(&q, ":sha256", sha256);
    *known = query_row(&q);
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

enum tet_err store_dataset_uses(struct store *store, const char *name, uint64_t *runs,
                                struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = count_uses(db, name, runs, error);
    reader_give(store, db);
    return err;
}
