// SPDX-License-Identifier: Apache-2.0
/*
 * Experiments: submitting, the list.
 *
 * Counts of runs by state are kept by the schema's triggers, so neither the list nor a submission
 * counts rows.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same order is in schema/sql/0001_initial.sql, experiment_runs.state. */
enum run_state experiment_state(const uint64_t runs[RUN_STATES_COUNT])
{
    static const enum run_state order[] = {RUN_RUNNING, RUN_QUEUED,   RUN_PAUSED,
                                           RUN_FAILED,  RUN_DIVERGED, RUN_CANCELLED};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (runs[order[i]] > 0)
            return order[i];
    return RUN_SUCCEEDED;
}

/* ---- submit ---- */

struct submit_job {
    struct job job;
    const struct store_submission *submission;
    struct store_receipt *receipt;
};

/* *known: the key is, with this hash, and the receipt is the first one's. */
static enum tet_err look_up_key(struct db *db, const struct store_submission *s,
                                struct store_receipt *receipt, bool *known, struct tet_error *error)
{
    *known = false;
    if (s->idempotency_key == NULL)
        return TET_OK;
    struct query q =
        query_open(db,
                   "SELECT e.id, e.hash, (SELECT min(r.id) FROM run r WHERE r.experiment = e.id)"
                   " FROM experiment e WHERE e.owner = :owner AND e.idempotency_key = :key",
                   error);
    query_bind_text(&q, ":owner", s->owner);
    query_bind_text(&q, ":key", s->idempotency_key);
    if (query_row(&q)) {
        const char *hash = query_text(&q, 1);
        *known = true;
        *receipt = (struct store_receipt){
            .experiment = query_int(&q, 0), .first_run = query_int(&q, 2), .replayed = true};
        if (hash == NULL || strcmp(hash, s->hash) != 0)
            query_fail(&q, TET_CONFLICT,
                       "this idempotency key was used for another definition before");
    }
    enum tet_err err = query_close(&q);
    if (err != TET_OK || !*known)
        return err;

    q = query_open(db,
                   "SELECT count(*) FROM run INDEXED BY run_queue"
                   " WHERE state = 'queued' AND id < :first",
                   error);
    query_bind_int(&q, ":first", receipt->first_run);
    if (query_row(&q))
        receipt->ahead = (uint64_t)query_int(&q, 0);
    return query_close(&q);
}

enum tet_err insert_experiment(struct db *db, const struct store_submission *s, int64_t now,
                               int64_t *id, struct tet_error *error)
{
    const char *tags = s->tags != NULL ? s->tags : "[]";
    struct query q = query_open(db,
                                "INSERT INTO experiment (owner, name, hash, idempotency_key,"
                                " created_ms, tags, definition)"
                                " VALUES (:owner, :name, :hash, :key, :now, :tags, :definition)",
                                error);
    query_bind_text(&q, ":owner", s->owner);
    query_bind_text(&q, ":name", s->name);
    query_bind_text(&q, ":hash", s->hash);
    query_bind_text(&q, ":key", s->idempotency_key);
    query_bind_int(&q, ":now", now);
    query_bind_text(&q, ":tags", tags);
    query_bind_text(&q, ":definition", s->definition);
    query_run(&q);
    *id = db_last_id(db);
    enum tet_err err = query_close(&q);
    if (err != TET_OK)
        return err;

    q = query_open(db,
                   "INSERT OR IGNORE INTO experiment_tag (tag, experiment)"
                   " SELECT value, :id FROM json_each(:tags) WHERE type = 'text'",
                   error);
    query_bind_int(&q, ":id", *id);
    query_bind_text(&q, ":tags", tags);
    query_run(&q);
    return query_close(&q);
}

/* One writer and AUTOINCREMENT: the ids are consecutive. */
static enum tet_err insert_runs(struct db *db, const struct store_submission *s, int64_t experiment,
                                int64_t now, int64_t *first, struct tet_error *error)
{
    struct query run = query_open(db,
                                  "INSERT INTO run (experiment, state, steps, memory_bytes,"
                                  " created_ms, hash, parameters, owner, threads, flops)"
                                  " VALUES (:experiment, 'queued', :steps, :memory, :now, :hash,"
                                  " :parameters, :owner, :threads, :flops)",
                                  error);
    struct query text = query_open(
        db, "INSERT INTO run_definition (run, definition) VALUES (:run, :definition)", error);
    query_bind_int(&run, ":experiment", experiment);
    query_bind_int(&run, ":now", now);
    query_bind_text(&run, ":owner", s->owner);
    for (size_t i = 0; i < s->n_runs && run.err == TET_OK && text.err == TET_OK; i++) {
        const struct store_new_run *r = &s->runs[i];
        query_bind_int(&run, ":steps", (int64_t)r->steps);
        query_bind_int(&run, ":memory", (int64_t)r->memory_bytes);
        query_bind_text(&run, ":hash", r->hash);
        query_bind_text(&run, ":parameters", r->parameters);
        query_bind_int(&run, ":threads", r->threads > 0 ? r->threads : 1);
        query_bind_real(&run, ":flops", isfinite(r->flops) && r->flops > 0.0 ? r->flops : 0.0);
        query_run(&run);
        int64_t id = db_last_id(db);
        if (i == 0)
            *first = id;
        query_bind_int(&text, ":run", id);
        query_bind_text(&text, ":definition", r->definition);
        if (run.err == TET_OK)
            query_run(&text);
    }
    enum tet_err err_run = query_close(&run), err_text = query_close(&text);
    return err_run != TET_OK ? err_run : err_text;
}

static enum tet_err note_rerun(struct db *db, int64_t run, int64_t of, struct tet_error *error)
{
    struct query q = query_open(db, "UPDATE run SET rerun_of = :of WHERE id = :run", error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":of", of);
    query_run(&q);
    return query_close(&q);
}

/* Which dataset each of the new runs has: see run_dataset in the schema. */
static enum tet_err insert_datasets(struct db *db, int64_t first, size_t n, struct tet_error *error)
{
    struct query q = query_open(db,
                                "INSERT INTO run_dataset (run, name)"
                                " SELECT run, json_extract(definition, '$.dataset.name')"
                                " FROM run_definition WHERE run >= :first AND run < :end"
                                " AND json_extract(definition, '$.dataset.name') IS NOT NULL",
                                error);
    query_bind_int(&q, ":first", first);
    query_bind_int(&q, ":end", first + (int64_t)n);
    query_run(&q);
    return query_close(&q);
}

/* The bounds: of the whole queue, and of one user's part. */
static enum tet_err check_bounds(struct store *store, const struct store_submission *s,
                                 uint64_t *queued, struct tet_error *error)
{
    const struct store_policy *policy = &store->policy;
    const uint64_t max = policy->max_queued < store->limits.max_queued ? policy->max_queued
                                                                       : store->limits.max_queued;
    const uint64_t each = policy->max_queued_each;
    int64_t all = 0, theirs = 0;
    enum tet_err err = db_number(&store->db, "SELECT queued FROM store", &all, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(&store->db, "SELECT queued FROM usage WHERE user = :user", error);
    query_bind_text(&q, ":user", s->owner);
    if (query_row(&q))
        theirs = query_int(&q, 0);
    err = query_close(&q);
    if (err != TET_OK)
        return err;
    *queued = (uint64_t)all;
    if (each > 0 && (s->n_runs > each || (uint64_t)theirs > each - s->n_runs))
        return tet_error_set(error, TET_TOO_MANY,
                             "%.64s has %lld runs in the queue; each user may have %llu there, and "
                             "this is %zu more",
                             s->owner, (long long)theirs, (unsigned long long)each, s->n_runs);
    if (s->n_runs > max || *queued > max - s->n_runs)
        return tet_error_set(error, TET_BUSY,
                             "the queue holds %lld runs and takes at most %llu; this is %zu more",
                             (long long)all, (unsigned long long)max, s->n_runs);
    return TET_OK;
}

static enum tet_err submit_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct submit_job *job = (struct submit_job *)base;
    const struct store_submission *s = job->submission;
    struct store_receipt receipt = {0};
    struct db *db = &store->db;
    const int64_t now = store_now_ms();
    bool known = false;

    enum tet_err err = look_up_key(db, s, &receipt, &known, error);
    if (err == TET_OK && !known)
        err = check_bounds(store, s, &receipt.ahead, error);
    if (err == TET_OK && !known)
        err = insert_experiment(db, s, now, &receipt.experiment, error);
    if (err == TET_OK && !known)
        err = insert_runs(db, s, receipt.experiment, now, &receipt.first_run, error);
    if (err == TET_OK && !known)
        err = insert_datasets(db, receipt.first_run, s->n_runs, error);
    if (err == TET_OK && !known && s->start != NULL)
        err = checkpoint_begin(store, receipt.first_run, s->start, error);
    if (err == TET_OK && !known && s->rerun_of != 0)
        err = note_rerun(db, receipt.first_run, s->rerun_of, error);
    if (err == TET_OK)
        *job->receipt = receipt;
    store->queue_changed = true;
    return err;
}

enum tet_err store_submit(struct store *store, const struct store_submission *submission,
                          struct store_receipt *receipt, struct tet_error *error)
{
    struct submit_job job = {
        .job = {.work = submit_work, .durable = true, .grows = true},
        .submission = submission,
        .receipt = receipt,
    };
    *receipt = (struct store_receipt){0};
    if (submission->n_runs == 0)
        return tet_error_set(error, TET_BAD_REQUEST, "an experiment needs at least one run");
    enum tet_err err = writer_do(store, &job.job, error);
    if (err != TET_OK)
        *receipt = (struct store_receipt){0};
    return err;
}

/* ---- reading ---- */

#define EXPERIMENT_COLUMNS                                                                         \
    "SELECT e.id, e.name, e.owner, e.definition, e.hash, e.tags, e.created_ms, s.queued,"          \
    " s.running, s.paused, s.succeeded, s.diverged, s.failed, s.cancelled, e.priority,"            \
    " s.flops - (SELECT total(r.flops * r.step / max(r.steps, 1)) FROM run r INDEXED BY "          \
    "run_running"                                                                                  \
    " WHERE r.experiment = e.id AND r.state = 'running')"

/* The columns from 7 on are in the order of enum run_state, the priority follows them. */
static void experiment_from_row(const struct query *q, struct store_experiment *e)
{
    *e = (struct store_experiment){
        .id = query_int(q, 0),
        .name = query_text(q, 1),
        .owner = query_text(q, 2),
        .definition = query_text(q, 3),
        .hash = query_text(q, 4),
        .tags = query_text(q, 5),
        .created_ms = query_int(q, 6),
        .priority = (int32_t)query_int(q, 7 + RUN_STATES_COUNT),
        .flops_left = query_real(q, 8 + RUN_STATES_COUNT),
    };
    for (int i = 0; i < RUN_STATES_COUNT; i++)
        e->runs[i] = (uint64_t)query_int(q, 7 + i);
}

enum tet_err store_experiment_read(struct store *store, int64_t experiment,
                                   store_experiment_fn *visit, void *context,
                                   struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db,
                                EXPERIMENT_COLUMNS
                                " FROM experiment e JOIN experiment_runs s ON s.experiment = e.id"
                                " WHERE e.id = :id",
                                error);
    query_bind_int(&q, ":id", experiment);
    if (query_row(&q)) {
        struct store_experiment e;
        experiment_from_row(&q, &e);
        (void)visit(context, &e);
    } else {
        query_fail(&q, TET_NOT_FOUND, "there is no such experiment");
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

/* The list's statement: what is filtered by decides which index leads, so that each page is read
 * from its newest row on. CROSS JOIN keeps the order of the tables. */
static void compose_list(const struct store_filter *f, char *sql, size_t size)
{
    const char *from, *order;
    if (f->by_state) {
        from = "experiment_runs s CROSS JOIN experiment e ON e.id = s.experiment";
        order = "s.experiment";
    } else if (f->tag != NULL) {
        from = "experiment_tag t CROSS JOIN experiment e ON e.id = t.experiment"
               " CROSS JOIN experiment_runs s ON s.experiment = t.experiment";
        order = "t.experiment";
    } else {
        from = "experiment e CROSS JOIN experiment_runs s ON s.experiment = e.id";
        order = "e.id";
    }
    (void)snprintf(sql, size,
                   EXPERIMENT_COLUMNS " FROM %s WHERE %s < :before%s%s%s%s ORDER BY %s DESC"
                                      " LIMIT :limit",
                   from, order, f->by_state ? " AND s.state = :state" : "",
                   f->owner != NULL ? " AND e.owner = :owner" : "",
                   f->tag == NULL ? ""
                   : f->by_state  ? " AND EXISTS (SELECT 1 FROM experiment_tag t WHERE t.tag = :tag"
                                    " AND t.experiment = s.experiment)"
                                  : " AND t.tag = :tag",
                   f->text != NULL ? " AND instr(lower(e.name), lower(:text)) > 0" : "", order);
}

enum tet_err store_experiments_read(struct store *store, const struct store_filter *filter,
                                    store_experiment_fn *visit, void *context,
                                    struct tet_error *error)
{
    char sql[1536];
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    compose_list(filter, sql, sizeof sql);
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":before", filter->before > 0 ? filter->before : INT64_MAX);
    query_bind_int(&q, ":limit", filter->limit);
    if (filter->by_state)
        query_bind_text(&q, ":state", run_state_text(filter->state));
    if (filter->owner != NULL)
        query_bind_text(&q, ":owner", filter->owner);
    if (filter->tag != NULL)
        query_bind_text(&q, ":tag", filter->tag);
    if (filter->text != NULL)
        query_bind_text(&q, ":text", filter->text);
    bool go_on = true;
    while (go_on && query_row(&q)) {
        struct store_experiment e;
        experiment_from_row(&q, &e);
        go_on = visit(context, &e);
    }
    err = query_close(&q);
    reader_give(store, db);
    return err;
}
