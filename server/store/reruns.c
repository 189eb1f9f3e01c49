// SPDX-License-Identifier: Apache-2.0
/*
 * Reruns: the metrics of two runs side by side, in the order of their key.
 *
 * Threads: any; rerun_work in the writer's jobs.
 */
#include "store/reruns.h"

#include "store/internal.h"

#include <stdio.h>
#include <string.h>

/* A run's rows, one at a time. */
struct side {
    struct query query;
    bool more;
    uint64_t step;
    int64_t series;
    double value;
};

static void advance(struct side *side)
{
    side->more = query_row(&side->query);
    if (!side->more)
        return;
    side->step = (uint64_t)query_int(&side->query, 0);
    side->series = query_int(&side->query, 1);
    side->value = query_real(&side->query, 2);
}

static bool is_before(const struct side *a, const struct side *b)
{
    return !b->more || a->step < b->step || (a->step == b->step && a->series < b->series);
}

/* The step at which the two part, and of that step's series the first by name. */
static enum tet_err find_series(struct db *db, int64_t a, int64_t b, struct store_parting *parting,
                                struct tet_error *error)
{
    struct query q =
        query_open(db,
                   "SELECT s.name FROM (SELECT series FROM metric WHERE run IN (:a, :b)"
                   " AND step = :step GROUP BY series"
                   " HAVING count(*) < 2 OR min(value) IS NOT max(value)"
                   "  OR count(value) = 1) m"
                   " JOIN series s ON s.id = m.series ORDER BY s.name LIMIT 1",
                   error);
    query_bind_int(&q, ":a", a);
    query_bind_int(&q, ":b", b);
    query_bind_int(&q, ":step", (int64_t)parting->step);
    if (query_row(&q))
        snprintf(parting->series, sizeof parting->series, "%s", query_text(&q, 0));
    return query_close(&q);
}

static enum tet_err compare(struct db *db, int64_t a, int64_t b, uint64_t after,
                            struct store_parting *parting, struct tet_error *error)
{
    static const char rows[] = "SELECT step, series, value FROM metric WHERE run = :run"
                               " AND step > :after ORDER BY step, series";
    struct side x = {.query = query_open(db, rows, error)},
                y = {.query = query_open(db, rows, error)};
    query_bind_int(&x.query, ":run", a);
    query_bind_int(&x.query, ":after", (int64_t)after);
    query_bind_int(&y.query, ":run", b);
    query_bind_int(&y.query, ":after", (int64_t)after);
    advance(&x);
    advance(&y);
    while (x.more && y.more && x.step == y.step && x.series == y.series &&
           memcmp(&x.value, &y.value, sizeof x.value) == 0) {
        advance(&x);
        advance(&y);
    }
    *parting = (struct store_parting){.found = x.more || y.more};
    if (parting->found)
        parting->step = x.more && is_before(&x, &y) ? x.step : y.more ? y.step : x.step;
    const enum tet_err of_x = query_close(&x.query), of_y = query_close(&y.query);
    return of_x != TET_OK ? of_x : of_y;
}

enum tet_err store_compare(struct store *store, int64_t a, int64_t b, uint64_t after,
                           struct store_parting *parting, struct tet_error *error)
{
    struct db *db;
    enum tet_err err = reader_take(store, &db, error);
    if (err != TET_OK)
        return err;
    err = compare(db, a, b, after, parting, error);
    if (err == TET_OK && parting->found)
        err = find_series(db, a, b, parting, error);
    reader_give(store, db);
    return err;
}

struct rerun_job {
    struct job job;
    const char *result;
};

static enum tet_err rerun_work(struct store *store, struct job *base, struct tet_error *error)
{
    struct query q =
        query_open(&store->db, "UPDATE run SET rerun_result = :result WHERE id = :run", error);
    query_bind_text(&q, ":result", ((struct rerun_job *)base)->result);
    query_bind_int(&q, ":run", base->run);
    query_run(&q);
    return query_close(&q);
}

enum tet_err store_rerun_write(struct store *store, int64_t run, const char *result,
                               struct tet_error *error)
{
    struct rerun_job job = {.job = {.work = rerun_work, .run = run}, .result = result};
    return writer_do(store, &job.job, error);
}
