// SPDX-License-Identifier: Apache-2.0
/*
 * Imports: one job that writes an experiment whose runs have ended elsewhere.
 *
 * Threads: store_import from any; the others in the writer's jobs.
 */
#include "store/imports.h"

#include <stdlib.h>

#include "store/bins.h"

struct import_job {
    struct job job;
    const struct store_import *import;
    int64_t experiment, first_run;
};

static enum tet_err put_run(struct db *db, int64_t experiment, const struct store_imported_run *r,
                            int64_t *id, struct tet_error *error)
{
    struct query q = query_open(
        db,
        "INSERT INTO run (experiment, state, reason, step, steps, records, memory_bytes, attempts,"
        " train_seconds, created_ms, started_ms, ended_ms, hash, digest, parameters, divergence,"
        " owner)"
        " VALUES (:experiment, :state, :reason, :step, :steps, :records, :memory, 1, :seconds,"
        " :created, :started, :ended, :hash, :digest, :parameters, :divergence,"
        " (SELECT owner FROM experiment WHERE id = :experiment))",
        error);
    query_bind_int(&q, ":experiment", experiment);
    query_bind_text(&q, ":state", run_state_text(r->state));
    query_bind_text(&q, ":reason", r->reason);
    query_bind_int(&q, ":step", (int64_t)r->step);
    query_bind_int(&q, ":steps", (int64_t)r->steps);
    query_bind_int(&q, ":records", (int64_t)r->n_rows);
    query_bind_int(&q, ":memory", (int64_t)r->memory_bytes);
    query_bind_real(&q, ":seconds", r->train_seconds);
    query_bind_int(&q, ":created", r->created_ms);
    query_bind_int(&q, ":started", r->started_ms);
    query_bind_int(&q, ":ended", r->ended_ms);
    query_bind_text(&q, ":hash", r->hash);
    query_bind_text(&q, ":digest", r->digest);
    query_bind_text(&q, ":parameters", r->parameters);
    query_bind_text(&q, ":divergence", r->divergence);
    query_run(&q);
    *id = db_last_id(db);
    return query_close(&q);
}

/* A statement about a run with one text. */
static enum tet_err put_text(struct db *db, const char *sql, int64_t run, const char *text,
                             struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":run", run);
    query_bind_text(&q, ":text", text);
    query_run(&q);
    return query_close(&q);
}

static enum tet_err put_rows(struct db *db, int64_t run, const struct store_imported_run *r,
                             struct tet_error *error)
{
    enum tet_err err = TET_OK;
    int64_t *ids = calloc(r->n_names + 1, sizeof *ids);
    if (ids == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < r->n_names && err == TET_OK; i++)
        err = series_insert(db, r->names[i], &ids[i], error);
    struct query q = query_open(db,
                                "INSERT INTO metric (run, step, series, sequence, value)"
                                " VALUES (:run, :step, :series, :sequence, :value)"
                                " ON CONFLICT (run, step, series) DO NOTHING",
                                error);
    query_bind_int(&q, ":run", run);
    for (size_t i = 0; i < r->n_rows && err == TET_OK && q.err == TET_OK; i++) {
        const int64_t before = db_changes(db);
        query_bind_int(&q, ":step", (int64_t)r->rows[i].step);
        query_bind_int(&q, ":series", ids[r->rows[i].name]);
        query_bind_int(&q, ":sequence", (int64_t)i);
        query_bind_real(&q, ":value", r->rows[i].value);
        query_run(&q);
        if (q.err == TET_OK && db_changes(db) == before)
            query_fail(&q, TET_BAD_REQUEST, "a step of a series comes twice");
    }
    free(ids);
    const enum tet_err closed = query_close(&q);
    return err != TET_OK ? err : closed;
}

static enum tet_err put_checkpoints(struct store *store, int64_t run,
                                    const struct store_imported_run *r, struct tet_error *error)
{
    const struct store_keep all = {0};
    enum tet_err err = TET_OK;
    if (r->start.n > 0)
        err = checkpoint_begin(store, run, &r->start, error);
    if (err == TET_OK && r->checkpoint.n > 0)
        err = checkpoint_put(store, run, &r->checkpoint, all, error);
    if (err != TET_OK)
        return err;
    /* It is the end's, whatever is known of the way to it. */
    struct query q = query_open(
        &store->db, "UPDATE run SET step = :step, records = :records WHERE id = :run", error);
    query_bind_int(&q, ":step", (int64_t)r->step);
    query_bind_int(&q, ":records", (int64_t)r->n_rows);
    query_bind_int(&q, ":run", run);
    query_run(&q);
    return query_close(&q);
}

static enum tet_err put_all(struct store *store, int64_t experiment,
                            const struct store_imported_run *r, int64_t *run,
                            struct tet_error *error)
{
    struct db *db = &store->db;
    int64_t level = 0;
    enum tet_err err = put_run(db, experiment, r, run, error);
    if (err == TET_OK)
        err = put_text(db, "INSERT INTO run_definition (run, definition) VALUES (:run, :text)",
                       *run, r->definition, error);
    if (err == TET_OK)
        err = put_text(db,
                       "INSERT INTO timeline (run, sequence, at_ms, step, event, detail)"
                       " SELECT id, 1, CAST(round((julianday('now') - 2440587.5) * 86400000.0)"
                       " AS INTEGER), step, 'imported', :text FROM run WHERE id = :run",
                       *run, r->detail, error);
    if (err == TET_OK && r->protocol != NULL)
        err = put_text(db, "INSERT INTO protocol_result (run, rows) VALUES (:run, :text)", *run,
                       r->protocol, error);
    if (err == TET_OK)
        err = put_rows(db, *run, r, error);
    if (err == TET_OK)
        err = remake_final(db, *run, error);
    if (err == TET_OK)
        err = bins_choose(db, *run, &level, error);
    if (err == TET_OK)
        err = bins_remake(db, *run, (uint32_t)level, 0, error);
    return err == TET_OK ? put_checkpoints(store, *run, r, error) : err;
}

static enum tet_err import_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct import_job *job = (struct import_job *)base;
    const struct store_import *import = job->import;
    const struct store_submission submission = {.name = import->name,
                                                .owner = import->owner,
                                                .definition = import->definition,
                                                .hash = import->hash,
                                                .tags = import->tags};
    enum tet_err err =
        insert_experiment(&store->db, &submission, store_now_ms(), &job->experiment, error);
    for (size_t i = 0; i < import->n_runs && err == TET_OK; i++) {
        int64_t run = 0;
        err = put_all(store, job->experiment, &import->runs[i], &run, error);
        if (i == 0)
            job->first_run = run;
    }
    return err;
}

enum tet_err store_import(struct store *store, const struct store_import *import,
                          int64_t *experiment, int64_t *first_run, struct tet_error *error)
{
    struct import_job job = {.job = {.work = import_work, .durable = true, .grows = true},
                             .import = import};
    const enum tet_err err = writer_do(store, &job.job, error);
    *experiment = job.experiment;
    *first_run = job.first_run;
    return err;
}
