// SPDX-License-Identifier: Apache-2.0
/*
 * Removal: an experiment that is deleted is gone for everybody in one short transaction, which
 * takes away what makes it seen: its counts, tags and key, its runs' definitions and uses of datasets. All other
 * rows follow little by little, between the writer's batches, so that nobody waits for millions of
 * metrics to go:
 *
 *     removal_begin --> removal_step: metrics, arrays, ... of one run --> the run --> ... -->
 *     the experiment --> free pages back to the file system
 *
 * A server that ends in between goes on with it when it opens the store. What others took from a
 * removed run (a fork's first checkpoint) is theirs.
 *
 * Threads: the writer's jobs, and store_open.
 */
#include "store/internal.h"

#include <stdlib.h>

enum {
    STEP_ROWS = 2000,  // metrics of a step
    STEP_PAGES = 200,  // given back in a step
    STEP_MS = 3,       // after which a step begins no other run
    METRIC_BYTES = 40, // about what a row takes
    RUN_BYTES = 1024
};

static enum tet_err change(struct db *db, const char *sql, int64_t id, struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":id", id);
    query_run(&q);
    return query_close(&q);
}

static enum tet_err number(struct db *db, const char *sql, int64_t id, int64_t *value,
                           struct tet_error *error)
{
    struct query q = query_open(db, sql, error);
    query_bind_int(&q, ":id", id);
    *value = query_row(&q) ? query_int(&q, 0) : 0;
    return query_close(&q);
}

/* ---- at once ---- */

static enum tet_err estimate(struct db *db, int64_t experiment, uint64_t *bytes,
                             struct tet_error *error)
{
    int64_t records = 0, runs = 0, elements = 0, text = 0;
    enum tet_err err = number(db, "SELECT total(records) FROM run WHERE experiment = :id",
                              experiment, &records, error);
    if (err == TET_OK)
        err =
            number(db, "SELECT count(*) FROM run WHERE experiment = :id", experiment, &runs, error);
    if (err == TET_OK)
        err = number(db,
                     "SELECT total(a.n) FROM run r CROSS JOIN checkpoint c ON c.run = r.id"
                     " CROSS JOIN checkpoint_array a ON a.checkpoint = c.id"
                     " WHERE r.experiment = :id",
                     experiment, &elements, error);
    if (err == TET_OK)
        err = number(db, "SELECT length(definition) FROM experiment WHERE id = :id", experiment,
                     &text, error);
    *bytes = (uint64_t)(records * METRIC_BYTES + runs * (RUN_BYTES + text) + elements * 4 + text);
    return err;
}

enum tet_err removal_begin(struct store *store, int64_t experiment, uint64_t *bytes,
                           struct tet_error *error)
{
    static const char *const steps[] = {
        "INSERT INTO removal (experiment) VALUES (:id)",
        "DELETE FROM run_definition WHERE run IN (SELECT id FROM run WHERE experiment = :id)",
        "DELETE FROM run_dataset WHERE run IN (SELECT id FROM run WHERE experiment = :id)",
        "DELETE FROM experiment_tag WHERE experiment = :id",
        "DELETE FROM experiment_runs WHERE experiment = :id",
        "UPDATE experiment SET idempotency_key = NULL WHERE id = :id",
    };
    enum tet_err err = estimate(&store->db, experiment, bytes, error);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == TET_OK; i++)
        err = change(&store->db, steps[i], experiment, error);
    changes_removed(&store->changes, experiment);
    store->removing = true; // a step that finds nothing ends it
    return err;
}

/* What a server that ended did not get to: rows, or pages that it had not given back. */
enum tet_err removal_recover(struct store *store, struct tet_error *error)
{
    int64_t n = 0, pages = 0;
    enum tet_err err = db_number(&store->db, "SELECT count(*) FROM removal", &n, error);
    if (err == TET_OK)
        err = db_number(&store->db, "PRAGMA freelist_count", &pages, error);
    store->removing = n > 0 || pages > STEP_PAGES;
    return err;
}

/* ---- little by little ---- */

/* Whether there is nothing of the run left but its row. */
static enum tet_err clear_run(struct db *db, int64_t run, bool *clear, struct tet_error *error)
{
    /* The largest first; each leaves something for a next step until it finds nothing. */
    static const char *const large[] = {
        "DELETE FROM metric WHERE run = :id AND step <= coalesce((SELECT step FROM metric"
        " WHERE run = :id ORDER BY step LIMIT 1 OFFSET :rows), 9223372036854775807)",
        "DELETE FROM metric_bin WHERE run = :id AND (series, level, bin) IN"
        " (SELECT series, level, bin FROM metric_bin WHERE run = :id LIMIT :rows)",
        "DELETE FROM checkpoint_chunk WHERE rowid = (SELECT k.rowid FROM checkpoint c"
        " CROSS JOIN checkpoint_chunk k ON k.checkpoint = c.id WHERE c.run = :id LIMIT 1)",
    };
    static const char *const small[] = {
        "DELETE FROM checkpoint WHERE run = :id",     "DELETE FROM final WHERE run = :id",
        "DELETE FROM timeline WHERE run = :id",       "DELETE FROM protocol_result WHERE run = :id",
        "DELETE FROM run_definition WHERE run = :id", "DELETE FROM attempt WHERE run = :id",
    };
    enum { CHUNKS = 2 }; // those come one by one
    enum tet_err err = TET_OK;
    *clear = false;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        const int64_t before = db_changes(db);
        struct query q = query_open(db, large[i], error);
        query_bind_int(&q, ":id", run);
        if (i < CHUNKS)
            query_bind_int(&q, ":rows", STEP_ROWS);
        query_run(&q);
        err = query_close(&q);
        if (err != TET_OK || db_changes(db) - before > STEP_ROWS / 4 ||
            (i == CHUNKS && db_changes(db) > before))
            return err;
    }
    for (size_t i = 0; i < sizeof small / sizeof *small && err == TET_OK; i++)
        err = change(db, small[i], run, error);
    *clear = err == TET_OK;
    return err;
}

/* Some of an experiment: runs, until a step's worth is done. */
static enum tet_err remove_some(struct db *db, int64_t experiment, struct tet_error *error)
{
    const int64_t before = db_changes(db), began = store_now_ms();
    enum tet_err err = TET_OK;
    while (err == TET_OK && db_changes(db) - before < STEP_ROWS / 4 &&
           llabs(store_now_ms() - began) < STEP_MS) {
        int64_t run = 0;
        bool clear = false;
        err = number(db, "SELECT id FROM run WHERE experiment = :id LIMIT 1", experiment, &run,
                     error);
        if (err == TET_OK && run == 0) {
            err = change(db, "DELETE FROM removal WHERE experiment = :id", experiment, error);
            return err == TET_OK
                       ? change(db, "DELETE FROM experiment WHERE id = :id", experiment, error)
                       : err;
        }
        if (err == TET_OK)
            err = clear_run(db, run, &clear, error);
        if (err != TET_OK || !clear)
            return err;
        err = change(db, "DELETE FROM run WHERE id = :id", run, error);
    }
    return err;
}

/* Pages at the file's end; nothing where the file was made without auto_vacuum. */
static enum tet_err give_back(struct store *store, struct tet_error *error)
{
    int64_t mode = 0, pages = 0;
    enum tet_err err = db_number(&store->db, "PRAGMA auto_vacuum", &mode, error);
    if (err == TET_OK && mode == 2)
        err = db_number(&store->db, "PRAGMA freelist_count", &pages, error);
    if (err != TET_OK || pages == 0) {
        store->removing = err != TET_OK;
        return err;
    }
    _Static_assert(STEP_PAGES == 200, "the number in the text below");
    return db_exec(&store->db, "PRAGMA incremental_vacuum(200);", error);
}

enum tet_err removal_step(struct store *store, struct job *job, struct tet_error *error)
{
    int64_t experiment = 0;
    (void)job;
    enum tet_err err =
        db_number(&store->db, "SELECT min(experiment) FROM removal", &experiment, error);
    if (err == TET_OK && experiment == 0)
        err = give_back(store, error);
    else if (err == TET_OK)
        err = remove_some(&store->db, experiment, error);
    if (err != TET_OK && store->db.trouble <= DB_STATEMENT)
        store->removing = false; // ours, and the same the next time: not again until a restart
    return err;
}
