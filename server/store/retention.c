// SPDX-License-Identifier: Apache-2.0
/* Retention: see retention.h. The writer's jobs are bounded; what they free is used again by later
 * rows. */
#include "store/retention.h"

#include "store/internal.h"

enum { TOGETHER = 16 }; // checkpoints removed in one job

/* ---- pins ---- */

struct pin_job {
    struct job job;
    uint64_t step;
    bool pinned;
};

static enum tet_err pin_run(struct db *db, int64_t run, bool pinned, struct tet_error *error)
{
    struct query q =
        query_open(db, "UPDATE run SET pinned = :pinned WHERE id = :run RETURNING id", error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":pinned", pinned);
    if (!query_row(&q))
        query_fail(&q, TET_NOT_FOUND, "there is no such run");
    query_run(&q);
    return query_close(&q);
}

static enum tet_err pin_checkpoint(struct db *db, int64_t run, uint64_t step, bool pinned,
                                   struct tet_error *error)
{
    int64_t pins = 0;
    struct query q = query_open(
        db, "SELECT count(*) FROM checkpoint WHERE run = :run AND pinned AND step <> :step", error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":step", (int64_t)step);
    if (query_row(&q))
        pins = query_int(&q, 0);
    enum tet_err err = query_close(&q);
    if (err == TET_OK && pinned && pins >= STORE_MAX_PINS)
        err = tet_error_set(error, TET_CONFLICT, "a run can have %d pinned checkpoints",
                            (int)STORE_MAX_PINS);
    if (err != TET_OK)
        return err;
    q = query_open(db,
                   "UPDATE checkpoint SET pinned = :pinned WHERE run = :run AND step = :step"
                   " RETURNING id",
                   error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":step", (int64_t)step);
    query_bind_int(&q, ":pinned", pinned);
    if (!query_row(&q))
        query_fail(&q, TET_NOT_FOUND, "the run has no checkpoint at this step");
    query_run(&q);
    return query_close(&q);
}

static enum tet_err pin_work(struct store *store, struct job *base, struct tet_error *error)
{
    const struct pin_job *job = (const struct pin_job *)base;
    return job->step == 0 ? pin_run(&store->db, base->run, job->pinned, error)
                          : pin_checkpoint(&store->db, base->run, job->step, job->pinned, error);
}

enum tet_err store_pin(struct store *store, int64_t run, uint64_t step, bool pinned,
                       struct tet_error *error)
{
    struct pin_job job = {
        .job = {.work = pin_work, .run = run, .durable = true}, .step = step, .pinned = pinned};
    return writer_do(store, &job.job, error);
}

enum tet_err store_pins_read(struct store *store, int64_t run, struct store_pins *pins,
                             struct tet_error *error)
{
    struct db *db;
    *pins = (struct store_pins){0};
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, "SELECT pinned FROM run WHERE id = :run", error);
    query_bind_int(&q, ":run", run);
    pins->run = query_row(&q) && query_int(&q, 0) != 0;
    err = query_close(&q);
    if (err == TET_OK) {
        q = query_open(db, "SELECT step FROM checkpoint WHERE run = :run AND pinned ORDER BY step",
                       error);
        query_bind_int(&q, ":run", run);
        while (pins->n < STORE_MAX_PINS && query_row(&q))
            pins->steps[pins->n++] = (uint64_t)query_int(&q, 0);
        err = query_close(&q);
    }
    reader_give(store, db);
    return err;
}

enum tet_err pinned_count(struct db *db, int64_t experiment, uint64_t *n, struct tet_error *error)
{
    struct query q = query_open(
        db, "SELECT count(*) FROM run WHERE experiment = :experiment AND pinned = 1", error);
    query_bind_int(&q, ":experiment", experiment);
    *n = query_row(&q) ? (uint64_t)query_int(&q, 0) : 0;
    return query_close(&q);
}

enum tet_err store_pinned(struct store *store, int64_t experiment, uint64_t *n,
                          struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = pinned_count(db, experiment, n, error);
    reader_give(store, db);
    return err;
}

/* ---- what may go ---- */

enum tet_err store_spares_read(struct store *store, const struct store_retention *retention,
                               store_spare_fn *visit, void *context, struct tet_error *error)
{
    static const char sql[] =
        "SELECT p.id, p.run, p.step,"
        " (SELECT coalesce(sum(a.n), 0) * 4 FROM checkpoint_array a WHERE a.checkpoint = p.id)"
        " FROM run r JOIN experiment e ON e.id = r.experiment JOIN checkpoint p ON p.run = r.id"
        " WHERE r.state IN ('succeeded', 'diverged', 'failed', 'cancelled') AND NOT r.pinned"
        " AND r.ended_ms < :before AND NOT p.pinned"
        " AND e.id NOT IN (SELECT experiment FROM removal)"
        " AND (:owner IS NULL OR e.owner = :owner)"
        " AND (:tag IS NULL OR e.id IN (SELECT experiment FROM experiment_tag WHERE tag = :tag))"
        " AND p.step NOT IN (SELECT step FROM checkpoint WHERE run = r.id"
        "  ORDER BY step DESC LIMIT :last)"
        " AND p.step NOT IN (" CHECKPOINT_BEST("r.id", ":best") ")"
                                                                " ORDER BY p.run, p.step";
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":before", retention->ended_before_ms);
    query_bind_text(&q, ":owner", retention->owner);
    query_bind_text(&q, ":tag", retention->tag);
    query_bind_int(&q, ":last", retention->keep.last > 0 ? retention->keep.last : 1);
    query_bind_int(&q, ":best", retention->keep.best);
    while (query_row(&q)) {
        const struct store_spare spare = {.checkpoint = query_int(&q, 0),
                                          .run = query_int(&q, 1),
                                          .step = (uint64_t)query_int(&q, 2),
                                          .bytes = (uint64_t)query_int(&q, 3)};
        if (!visit(context, &spare))
            break;
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

struct remove_job {
    struct job job;
    const struct store_spare *spares;
    size_t n, removed;
};

static enum tet_err remove_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct remove_job *job = (struct remove_job *)base;
    job->removed = 0;
    struct query q = query_open(&store->db,
                                "DELETE FROM checkpoint WHERE id = :id AND NOT pinned"
                                " AND run IN (SELECT id FROM run WHERE id = checkpoint.run"
                                "  AND NOT pinned)"
                                " AND step < (SELECT max(step) FROM checkpoint o"
                                "  WHERE o.run = checkpoint.run) RETURNING id",
                                error);
    for (size_t i = 0; i < job->n && q.err == TET_OK; i++) {
        query_bind_int(&q, ":id", job->spares[i].checkpoint);
        job->removed += query_row(&q);
        query_run(&q);
    }
    return query_close(&q);
}

enum tet_err store_spares_remove(struct store *store, const struct store_spare *spares, size_t n,
                                 size_t *removed, struct tet_error *error)
{
    enum tet_err err = TET_OK;
    *removed = 0;
    for (size_t at = 0; at < n && err == TET_OK; at += TOGETHER) {
        struct remove_job job = {.job = {.work = remove_work, .in_turn = true, .frees = true},
                                 .spares = spares + at,
                                 .n = n - at < TOGETHER ? n - at : TOGETHER};
        err = writer_do(store, &job.job, error);
        if (err == TET_OK)
            *removed += job.removed;
    }
    return err;
}
