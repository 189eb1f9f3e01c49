// SPDX-License-Identifier: Apache-2.0
/*
 * One series over all runs of an experiment: what a summary is made of.
 *
 * Read in portions of runs, each a query of its own, so that no long-lived snapshot keeps the WAL
 * from being written back. A portion goes by the index of an experiment's runs, and then by the
 * primary key of final or metric: one look-up a run, except where a run's rows have to be walked
 * (the best epoch, all steps).
 *
 * Threads: any.
 */
#include "store/internal.h"

enum { PORTION = 500 }; // runs

#define COLUMNS "SELECT r.id, r.state, r.parameters, v.step, v.value"
#define RUNS                                                                                       \
    "(SELECT id, state, parameters, steps FROM run WHERE experiment = :experiment AND id > :after" \
    " ORDER BY id LIMIT :portion) r"

static const char *const queries[] = {
    [STORE_AT_FINAL] = COLUMNS " FROM " RUNS " LEFT JOIN final v"
                               " ON v.run = r.id AND v.series = :series ORDER BY r.id",
    [STORE_AT_STEP] = COLUMNS " FROM " RUNS " LEFT JOIN metric v ON v.run = r.id"
                              " AND v.step = :number AND v.series = :series ORDER BY r.id",
    /* The step at which an epoch ends follows from the definition. */
    [STORE_AT_EPOCH] = COLUMNS " FROM " RUNS " LEFT JOIN run_definition d ON d.run = r.id"
                               " LEFT JOIN metric v ON v.run = r.id AND v.series = :series"
                               " AND :number <= json_extract(d.definition, '$.training.epochs')"
                               " AND v.step = min(r.steps, :number *"
                               " ((json_extract(d.definition, '$.dataset.train')"
                               " - json_extract(d.definition, '$.dataset.validation')"
                               " + json_extract(d.definition, '$.training.batch') - 1)"
                               " / json_extract(d.definition, '$.training.batch'))) ORDER BY r.id",
    [STORE_AT_LOWEST] = COLUMNS " FROM " RUNS " LEFT JOIN metric v ON v.run = r.id"
                                " AND v.series = :series AND v.step ="
                                " (SELECT b.step FROM metric b WHERE b.run = r.id"
                                " AND b.series = :watched AND b.value IS NOT NULL"
                                " ORDER BY b.value, b.step LIMIT 1) ORDER BY r.id",
    [STORE_AT_HIGHEST] = COLUMNS " FROM " RUNS " LEFT JOIN metric v ON v.run = r.id"
                                 " AND v.series = :series AND v.step ="
                                 " (SELECT b.step FROM metric b WHERE b.run = r.id"
                                 " AND b.series = :watched AND b.value IS NOT NULL"
                                 " ORDER BY b.value DESC, b.step LIMIT 1) ORDER BY r.id",
    [STORE_AT_ALL] = COLUMNS " FROM " RUNS " LEFT JOIN metric v ON v.run = r.id"
                             " AND v.series = :series ORDER BY r.id, v.step",
};

/* 0: no run has reported it yet. */
static enum tet_err id_of(struct db *db, const char *name, int64_t *id, struct tet_error *error)
{
    struct query q = query_open(db, "SELECT id FROM series WHERE name = :name", error);
    query_bind_text(&q, ":name", name);
    *id = query_row(&q) ? query_int(&q, 0) : 0;
    return query_close(&q);
}

/* Visits a portion of runs; *after moves to its last, *go_on: there may be another. */
static enum tet_err read_portion(struct db *db, const struct store_question *question,
                                 const int64_t series[2], int64_t *after, bool *go_on,
                                 store_value_fn *visit, void *context, struct tet_error *error)
{
    struct query q = query_open(db, queries[question->at], error);
    const enum store_at at = question->at;
    size_t runs = 0;
    query_bind_int(&q, ":experiment", question->experiment);
    query_bind_int(&q, ":after", *after);
    query_bind_int(&q, ":portion", PORTION);
    query_bind_int(&q, ":series", series[0]);
    if (at == STORE_AT_STEP || at == STORE_AT_EPOCH)
        query_bind_int(&q, ":number", (int64_t)question->number);
    if (at == STORE_AT_LOWEST || at == STORE_AT_HIGHEST)
        query_bind_int(&q, ":watched", series[1]);
    *go_on = true;
    while (*go_on && query_row(&q)) {
        struct store_value value = {.run = query_int(&q, 0),
                                    .parameters = query_text(&q, 2),
                                    .step = (uint64_t)query_int(&q, 3),
                                    .value = query_real(&q, 4)};
        if (!run_state_parse(query_text(&q, 1), &value.state))
            query_fail(&q, TET_DATABASE, "a run is in an unknown state");
        runs += value.run != *after;
        *after = value.run;
        *go_on = visit(context, &value);
    }
    *go_on = *go_on && runs == PORTION;
    return query_close(&q);
}

enum tet_err store_values_read(struct store *store, const struct store_question *question,
                               store_value_fn *visit, void *context, struct tet_error *error)
{
    struct db *db;
    int64_t series[2] = {0}, after = 0;
    bool go_on = true;
    enum tet_err err = reader_take(store, &db, error);
    if (err == TET_OK)
        err = id_of(db, question->series, &series[0], error);
    if (err == TET_OK && question->watched != NULL)
        err = id_of(db, question->watched, &series[1], error);
    while (err == TET_OK && go_on)
        err = read_portion(db, question, series, &after, &go_on, visit, context, error);
    reader_give(store, db);
    return err;
}
