// SPDX-License-Identifier: Apache-2.0
/*
 * Metrics: records of runs, written in order, read by step.
 *
 * Each row carries its record's number in the run, so that a run that goes back to a checkpoint
 * loses exactly what it had reported since, though several records share a step.
 *
 * Threads: store_ functions from any; the others in the writer's jobs.
 */
#include "store/bins.h"
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metrics_job {
    struct job job;
    size_t n;
    struct tet_record records[];
};

/* ---- writing ---- */

enum tet_err series_insert(struct db *db, const char *name, int64_t *id, struct tet_error *error)
{
    struct query q = query_open(db, "SELECT id FROM series WHERE name = :name", error);
    query_bind_text(&q, ":name", name);
    bool known = query_row(&q);
    if (known)
        *id = query_int(&q, 0);
    enum tet_err err = query_close(&q);
    if (err != TET_OK || known)
        return err;
    q = query_open(db, "INSERT INTO series (name) VALUES (:name)", error);
    query_bind_text(&q, ":name", name);
    query_run(&q);
    *id = db_last_id(db);
    return query_close(&q);
}

/* The series' id. *last: the job has not written this series' last value yet; called from the
 * last record to the first. */
static enum tet_err series_id(struct store *store, const struct tet_record *record, int64_t *id,
                              bool *last, struct tet_error *error)
{
    struct series_cache *cache = &store->series;
    char name[TET_SERIES_NAME];
    *last = true;
    if (record->layer > TET_MAX_HIDDEN + 1 ||
        tet_series_kind(record->series) == TET_OF_SYNAPSE) { // of which there are too many to keep
        tet_record_text(record, name);
        return series_insert(&store->db, name, id, error);
    }
    int64_t *known = &cache->id[record->series][record->layer];
    uint64_t *stamp = &cache->stamp[record->series][record->layer];
    if (*known == 0) {
        tet_record_text(record, name);
        enum tet_err err = series_insert(&store->db, name, known, error);
        if (err != TET_OK)
            return err;
    }
    *id = *known;
    *last = *stamp != cache->job;
    *stamp = cache->job;
    return TET_OK;
}

/* Counts the records; *first: the number of the first of them; *level: of the run's smallest bins, 0:
 * it has none, being of a time before they were. */
static enum tet_err count_records(struct db *db, const struct metrics_job *job, int64_t *first,
                                  int64_t *level, bool *over, struct tet_error *error)
{
    int64_t cancelled = 0;
    enum tet_err err = run_is_cancelled(db, job->job.run, &cancelled, error);
    *over = cancelled != 0;
    if (err != TET_OK || *over)
        return err;
    struct query q = query_open(db,
                                "UPDATE run SET records = records + :n, step = max(step, :step)"
                                " WHERE id = :run RETURNING records - :n, draw_level",
                                error);
    query_bind_int(&q, ":n", (int64_t)job->n);
    query_bind_int(&q, ":step", (int64_t)job->records[job->n - 1].step);
    query_bind_int(&q, ":run", job->job.run);
    if (query_row(&q)) {
        *first = query_int(&q, 0);
        *level = query_int(&q, 1);
    } else {
        query_fail(&q, TET_NOT_FOUND, "there is no such run");
    }
    query_run(&q);
    err = query_close(&q);
    return err == TET_OK && *level == 0 && *first == 0 ? bins_choose(db, job->job.run, level, error)
                                                       : err;
}

/* What a job of records writes with. */
struct writing {
    struct store *store;
    const struct metrics_job *job;
    int64_t first;        // number of the job's first record
    int64_t *ids;         // (n) series of the records
    uint64_t again;       // first step at which a record was there already; UINT64_MAX: none
    struct query metric;  // a new record
    struct query instead; // one in the place of another
    struct query final;
    struct tet_error *error;
};

static void write_value(struct writing *w, struct query *q, size_t i)
{
    const struct tet_record *r = &w->job->records[i];
    query_bind_int(q, ":step", (int64_t)r->step);
    query_bind_int(q, ":series", w->ids[i]);
    query_bind_int(q, ":sequence", w->first + (int64_t)i);
    query_bind_real(q, ":value", r->value);
    query_run(q);
}

static enum tet_err write_record(struct writing *w, size_t i)
{
    const struct tet_record *r = &w->job->records[i];
    const struct db *db = &w->store->db;
    bool last = true;
    enum tet_err err = series_id(w->store, r, &w->ids[i], &last, w->error);
    if (err != TET_OK)
        return err;
    const int64_t before = db_changes(db);
    write_value(w, &w->metric, i);
    if (db_changes(db) == before && w->metric.err == TET_OK) {
        write_value(w, &w->instead, i);
        w->again = r->step < w->again ? r->step : w->again;
    }
    if (last) {
        query_bind_int(&w->final, ":step", (int64_t)r->step);
        query_bind_int(&w->final, ":series", w->ids[i]);
        query_bind_real(&w->final, ":value", r->value);
        query_run(&w->final);
    }
    return w->metric.err != TET_OK    ? w->metric.err
           : w->instead.err != TET_OK ? w->instead.err
                                      : w->final.err;
}

/* From the last record to the first, so that the first met of a series is its last value; where a
 * value is reported twice in one job, the later stays. */
static enum tet_err write_records(struct writing *w)
{
    struct db *db = &w->store->db;
    enum tet_err err = TET_OK;
    w->metric = query_open(db,
                           "INSERT INTO metric (run, step, series, sequence, value)"
                           " VALUES (:run, :step, :series, :sequence, :value)"
                           " ON CONFLICT (run, step, series) DO NOTHING",
                           w->error);
    w->instead =
        query_open(db,
                   "UPDATE metric SET sequence = :sequence, value = :value WHERE run = :run"
                   " AND step = :step AND series = :series AND sequence < :sequence",
                   w->error);
    w->final = query_open(db,
                          "INSERT INTO final (run, series, step, value)"
                          " VALUES (:run, :series, :step, :value)"
                          " ON CONFLICT (run, series) DO UPDATE"
                          " SET step = excluded.step, value = excluded.value"
                          " WHERE excluded.step >= step",
                          w->error);
    w->store->series.job++;
    query_bind_int(&w->metric, ":run", w->job->job.run);
    query_bind_int(&w->instead, ":run", w->job->job.run);
    query_bind_int(&w->final, ":run", w->job->job.run);
    for (size_t i = w->job->n; i-- > 0 && err == TET_OK;)
        err = write_record(w, i);
    const enum tet_err a = query_close(&w->metric), b = query_close(&w->instead),
                       c = query_close(&w->final);
    return err != TET_OK ? err : a != TET_OK ? a : b != TET_OK ? b : c;
}

static enum tet_err write_bins(struct writing *w, uint32_t level)
{
    const struct metrics_job *job = w->job;
    struct bins bins;
    enum tet_err err = bins_begin(&bins, &w->store->db, job->job.run, level, w->error);
    for (size_t i = 0; i < job->n && err == TET_OK; i++)
        err = bins_add(&bins, w->ids[i], job->records[i].step, job->records[i].value);
    const enum tet_err written = bins_end(&bins);
    if (err == TET_OK)
        err = written;
    return err == TET_OK && w->again != UINT64_MAX
               ? bins_remake(&w->store->db, job->job.run, level, w->again, w->error)
               : err;
}

static enum tet_err metrics_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct metrics_job *job = (struct metrics_job *)base;
    struct writing w = {.store = store, .job = job, .again = UINT64_MAX, .error = error};
    int64_t level = 0;
    bool over;
    enum tet_err err = count_records(&store->db, job, &w.first, &level, &over, error);
    if (err != TET_OK || over)
        return err;
    w.ids = calloc(job->n, sizeof *w.ids);
    if (w.ids == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    err = write_records(&w);
    if (err == TET_OK && level > 0)
        err = write_bins(&w, (uint32_t)level);
    free(w.ids);
    return err;
}

static void metrics_destroy(struct job *job)
{
    free(job);
}

void store_metrics(struct store *store, int64_t run, const struct tet_record *records, size_t n)
{
    if (n == 0)
        return;
    size_t bytes = sizeof(struct metrics_job) + n * sizeof *records;
    struct metrics_job *job = malloc(bytes);
    if (job == NULL) {
        writer_lost(store, run, "out of memory");
        return;
    }
    *job = (struct metrics_job){
        .job = {.work = metrics_work,
                .destroy = metrics_destroy,
                .run = run,
                .ordered = true,
                .bytes = bytes},
        .n = n,
    };
    memcpy(job->records, records, n * sizeof *records);
    struct tet_error why = {0};
    if (writer_post(store, &job->job, &why) != TET_OK)
        writer_lost(store, run, why.message);
}

/* ---- reading ---- */

/* The ids of the names that are known, as a JSON array: "[1,5]". *ids: the caller frees. */
static enum tet_err ids_of(struct db *db, const char *const *names, char **ids,
                           struct tet_error *error)
{
    size_t n = 0, used = 0;
    while (names[n] != NULL)
        n++;
    char *text = *ids = malloc(n * 21 + 3); // a comma and 20 characters each
    if (text == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    text[used++] = '[';
    struct query q = query_open(db, "SELECT id FROM series WHERE name = :name", error);
    for (size_t i = 0; i < n; i++) {
        query_bind_text(&q, ":name", names[i]);
        if (query_row(&q))
            used += (size_t)sprintf(text + used, "%s%lld", used > 1 ? "," : "",
                                    (long long)query_int(&q, 0));
        query_again(&q);
    }
    memcpy(text + used, "]", 2);
    return query_close(&q);
}

enum tet_err store_metrics_read(struct store *store, int64_t run, uint64_t after, uint64_t max_rows,
                                const char *const *names, store_metric_fn *visit, void *context,
                                uint64_t *next, bool *more, struct tet_error *error)
{
    static const char all[] = "SELECT m.step, s.name, m.value"
                              " FROM metric m CROSS JOIN series s ON s.id = m.series"
                              " WHERE m.run = :run AND m.step > :after ORDER BY m.step, s.name";
    static const char some[] = "SELECT m.step, s.name, m.value"
                               " FROM metric m CROSS JOIN series s ON s.id = m.series"
                               " WHERE m.run = :run AND m.step > :after"
                               " AND m.series IN (SELECT value FROM json_each(:ids))"
                               " ORDER BY m.step, s.name";
    struct db *db;
    char *ids = NULL;
    uint64_t rows = 0, step = after;
    *next = after;
    *more = false;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    if (names != NULL)
        err = ids_of(db, names, &ids, error);
    if (err != TET_OK)
        goto out;
    struct query q = query_open(db, names != NULL ? some : all, error);
    query_bind_int(&q, ":run", run);
    query_bind_int(&q, ":after", after > INT64_MAX ? INT64_MAX : (int64_t)after);
    if (names != NULL)
        query_bind_text(&q, ":ids", ids);
    while (!*more && query_row(&q)) {
        uint64_t row_step = (uint64_t)query_int(&q, 0);
        if (row_step != step) {
            *next = step; // that one is whole
            step = row_step;
            *more = rows >= max_rows;
        }
        if (!*more)
            *more = !visit(context, query_text(&q, 1), step, query_real(&q, 2));
        rows++;
    }
    if (!*more)
        *next = step;
    err = query_close(&q);
out:
    free(ids);
    reader_give(store, db);
    return err;
}

static enum tet_err read_last(struct store *store, const char *sql, int64_t run,
                              store_metric_fn *visit, void *context, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":run", run);
    while (query_row(&q))
        if (!visit(context, query_text(&q, 1), (uint64_t)query_int(&q, 0), query_real(&q, 2)))
            break;
    err = query_close(&q);
    reader_give(store, db);
    return err;
}

enum tet_err store_final_read(struct store *store, int64_t run, store_metric_fn *visit,
                              void *context, struct tet_error *error)
{
    return read_last(store,
                     "SELECT f.step, s.name, f.value"
                     " FROM final f CROSS JOIN series s ON s.id = f.series"
                     " WHERE f.run = :run ORDER BY s.name",
                     run, visit, context, error);
}

enum tet_err store_last_finite_read(struct store *store, int64_t run, store_metric_fn *visit,
                                    void *context, struct tet_error *error)
{
    /* Back from the end of the run's metrics, by their key. */
    return read_last(store,
                     "SELECT f.step, s.name, coalesce(f.value,"
                     " (SELECT m.value FROM metric m WHERE m.run = f.run AND m.series = f.series"
                     "   AND m.value IS NOT NULL ORDER BY m.step DESC LIMIT 1))"
                     " FROM final f CROSS JOIN series s ON s.id = f.series"
                     " WHERE f.run = :run ORDER BY s.name",
                     run, visit, context, error);
}
