// SPDX-License-Identifier: Apache-2.0
/* Pausing, resuming, cancelling, priorities and deleting, in every state of a run and across
 * restarts. */
#include <unistd.h>

#include "store_fixture.h"

#include "store/share.h"

/* What reaches the disk is no matter here. */
int fdatasync(int file)
{
    (void)file;
    return 0;
}

static struct store_acted act(struct store *store, enum store_action action, int64_t experiment,
                              int64_t run)
{
    struct tet_error error = {0};
    struct store_acted acted;
    const struct store_order order = {.action = action,
                                      .run = run,
                                      .priority = 7,
                                      .experiments = &experiment,
                                      .n = run != 0 ? 0 : 1};
    assert_ok(store_act(store, &order, &acted, &error), &error);
    return acted;
}

static void refused(struct store *store, enum store_action action, int64_t experiment, int64_t run,
                    enum tet_err expected, const char *names)
{
    struct tet_error error = {0};
    struct store_acted acted;
    const struct store_order order = {
        .action = action, .run = run, .experiments = &experiment, .n = run != 0 ? 0 : 1};
    assert_err(store_act(store, &order, &acted, &error), expected, &error, names);
    assert_null(acted.ids);
}

static void assert_state(struct store *store, int64_t run, enum run_state state, const char *reason)
{
    const struct seen_run seen = read_run(store, run);
    if (seen.state != state || strcmp(seen.reason, reason) != 0)
        fail_msg("run %lld is %s (%s), expected %s (%s)", (long long)run,
                 run_state_text(seen.state), seen.reason, run_state_text(state), reason);
}

#define PAUSED STORE_PAUSED_BY_USER

static int64_t number(struct store *store, const char *sql)
{
    struct tet_error error = {0};
    struct db *db;
    int64_t n = 0;
    assert_ok(reader_take(store, &db, &error), &error);
    assert_ok(db_number(db, sql, &n, &error), &error);
    reader_give(store, db);
    return n;
}

/* ---- pause and resume ---- */

static void test_pause_queued(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "n", 3, 1);
    struct store_acted acted = act(store, STORE_PAUSE, 0, r.first_run);
    assert_int_equal(acted.queued, 1);
    assert_int_equal(acted.running + acted.finished, 0);
    assert_state(store, r.first_run, RUN_PAUSED, PAUSED);
    assert_int_equal(claim(store), r.first_run + 1);
    acted = act(store, STORE_PAUSE, r.experiment, 0);
    assert_int_equal(acted.queued, 1);
    assert_int_equal(acted.running, 1);
    assert_int_equal(acted.finished, 1); // paused already
    assert_int_equal(acted.ids[0], r.first_run + 1);
    free(acted.ids);
    assert_int_equal(claim(store), 0);

    store_close(store); // the running one was to stop: killed, it is paused as well
    store = open_store();
    for (int i = 0; i < 3; i++)
        assert_state(store, r.first_run + i, RUN_PAUSED, PAUSED);
    acted = act(store, STORE_RESUME, r.experiment, 0);
    assert_int_equal(acted.queued, 3);
    for (int i = 0; i < 3; i++)
        assert_state(store, r.first_run + i, RUN_QUEUED, "-");
    assert_int_equal(claim(store), r.first_run);
    store_close(store);
}

/* A running run is its worker's until it ends: then it is paused, with its checkpoint. */
static void test_pause_running(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const int64_t run = submit(store, "n", 1, 1).first_run;
    assert_int_equal(claim(store), run);
    struct store_acted acted = act(store, STORE_PAUSE, 0, run);
    assert_int_equal(acted.running, 1);
    free(acted.ids);
    assert_state(store, run, RUN_RUNNING, "-");
    struct store_checkpoint c = make_checkpoint(5, 0);
    struct store_ending e = {.state = RUN_QUEUED, .step = 5, .checkpoint = &c, .keep = KEEP_2};
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_state(store, run, RUN_PAUSED, PAUSED);
    assert_int_equal(read_run(store, run).step, 5);
    assert_int_equal(claim(store), 0);
    assert_int_equal(act(store, STORE_RESUME, 0, run).queued, 1);
    assert_int_equal(claim(store), run);
    assert_same_checkpoint(store, run, 0, 5, 0);
    end(store, run, RUN_SUCCEEDED, "");
    assert_state(store, run, RUN_SUCCEEDED, "-");
    store_close(store);
}

/* Resumed before the worker stopped: nobody else gets it until it has. */
static void test_resume_while_stopping(void **state)
{
    (void)state;
    struct store *store = open_store();
    const int64_t run = submit(store, "n", 1, 1).first_run;
    claim(store);
    free(act(store, STORE_PAUSE, 0, run).ids);
    const struct store_acted acted = act(store, STORE_RESUME, 0, run);
    assert_int_equal(acted.running, 1);
    assert_null(acted.ids);
    assert_int_equal(claim(store), 0);
    end(store, run, RUN_QUEUED, "given back");
    assert_state(store, run, RUN_QUEUED, "given back");
    assert_int_equal(claim(store), run);
    store_close(store);
}

/* The end comes first: it stands, and a hold is not left over for a later attempt. */
static void test_pause_races(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "n", 3, 1);
    const int64_t done = claim(store), gone = claim(store), hindered = claim(store);
    free(act(store, STORE_PAUSE, r.experiment, 0).ids);
    end(store, done, RUN_SUCCEEDED, "");
    assert_state(store, done, RUN_SUCCEEDED, "-");
    assert_int_equal(act(store, STORE_RESUME, 0, done).finished, 1);
    assert_int_equal(act(store, STORE_PAUSE, 0, done).finished, 1);

    struct store_acted acted = act(store, STORE_CANCEL, 0, gone);
    assert_int_equal(acted.running, 1);
    free(acted.ids);
    end(store, gone, RUN_QUEUED, "given back");
    assert_state(store, gone, RUN_CANCELLED, "cancelled by a user");

    end(store, hindered, RUN_PAUSED, "no dataset"); // cannot begin: paused it is
    assert_state(store, hindered, RUN_PAUSED, "no dataset");
    assert_int_equal(number(store, "SELECT count(*) FROM run WHERE held AND state <> 'paused'"), 0);
    assert_int_equal(number(store, "SELECT count(*) FROM attempt"), 0);
    store_close(store);
}

/* Paused for want of something is not paused by a user: a restart tries it again. */
static void test_hindered(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "n", 3, 1);
    for (int i = 0; i < 3; i++)
        end(store, claim(store), RUN_PAUSED, "no dataset");
    assert_int_equal(act(store, STORE_RESUME, 0, r.first_run).queued, 1);
    assert_state(store, r.first_run, RUN_QUEUED, "-");
    assert_int_equal(act(store, STORE_PAUSE, 0, r.first_run + 1).queued, 1);
    store_close(store);
    store = open_store();
    assert_state(store, r.first_run, RUN_QUEUED, "-");
    assert_state(store, r.first_run + 1, RUN_PAUSED, PAUSED);
    assert_state(store, r.first_run + 2, RUN_QUEUED, "-");
    assert_int_equal(act(store, STORE_CANCEL, 0, r.first_run + 1).queued, 1);
    assert_state(store, r.first_run + 1, RUN_CANCELLED, "cancelled by a user");
    store_close(store);
}

/* ---- priority ---- */

static bool see_priority(void *context, const struct store_experiment *experiment)
{
    *(int32_t *)context = experiment->priority;
    return true;
}

static void test_priority(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const struct store_receipt a = submit(store, "a", 3, 1), b = submit(store, "b", 2, 1);
    end(store, claim(store), RUN_SUCCEEDED, "");
    claim(store);
    const struct store_acted acted = act(store, STORE_PRIORITY, a.experiment, 0);
    assert_int_equal(acted.queued, 1);
    assert_int_equal(acted.running, 1);
    assert_int_equal(acted.finished, 1);
    assert_null(acted.ids); // nothing stops for it
    int32_t priority = 0;
    assert_ok(store_experiment_read(store, a.experiment, see_priority, &priority, &error), &error);
    assert_int_equal(priority, 7);
    act(store, STORE_PRIORITY, 0, b.first_run + 1);
    assert_int_equal(claim(store), a.first_run + 2);
    assert_int_equal(claim(store), b.first_run + 1);
    assert_int_equal(claim(store), b.first_run);
    refused(store, STORE_PRIORITY, 99, 0, TET_NOT_FOUND, "experiment");
    refused(store, STORE_PAUSE, 0, 99, TET_NOT_FOUND, "run");
    store_close(store);
}

/* ---- delete ---- */

/* A run with a row of every kind. */
static int64_t make_full(struct store *store, size_t metrics_of_run)
{
    struct tet_error error = {0};
    const int64_t run = claim(store);
    for (size_t i = 0; i < metrics_of_run; i++)
        report(store, run, i + 1, TET_SERIES_TRAIN_LOSS, 0, 0.5);
    store_intervention(store, run, 0, 1, "{}");
    write_checkpoint(store, run, 9, metrics_of_run, true);
    struct store_ending e = {
        .state = RUN_SUCCEEDED, .step = 10, .digest = "sha256:d", .protocol = "[]"};
    assert_ok(store_end(store, run, &e, &error), &error);
    return run;
}

static void by_hand(struct store *store, struct job job)
{
    struct tet_error error = {0};
    assert_ok(writer_do(store, &job, &error), &error);
}

static bool still_removing;

static enum tet_err look_work(struct store *store, struct job *job, struct tet_error *error)
{
    (void)job;
    still_removing = store->removing;
    return db_exec(&store->db, "UPDATE store SET probed_ms = 0;", error);
}

/* The writer removes between batches: a bounded step goes by with each question. */
static void await_removal(struct store *store)
{
    for (int i = 0; i < 100000; i++) {
        by_hand(store, (struct job){.work = look_work});
        if (!still_removing)
            return;
    }
    fail_msg("the removal does not end");
}

/* Every table that has to do with runs or experiments; one that a later version adds must be known
 * to the removal. */
static void assert_nothing_left(struct store *store, int64_t experiment)
{
    char sql[300];
    static const char *const by_run[] = {"run_definition", "metric",      "metric_bin",
                                         "final",          "timeline",    "attempt",
                                         "checkpoint",     "run_dataset", "protocol_result"};
    for (size_t i = 0; i < sizeof by_run / sizeof *by_run; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE run NOT IN (SELECT id FROM run)",
                 by_run[i]);
        assert_int_equal(number(store, sql), 0);
    }
    static const char *const by_experiment[] = {"run", "experiment_runs", "experiment_tag"};
    for (size_t i = 0; i < sizeof by_experiment / sizeof *by_experiment; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE experiment = %lld",
                 by_experiment[i], (long long)experiment);
        assert_int_equal(number(store, sql), 0);
    }
    snprintf(sql, sizeof sql, "SELECT count(*) FROM experiment WHERE id = %lld",
             (long long)experiment);
    assert_int_equal(number(store, sql), 0);
    assert_int_equal(number(store, "SELECT count(*) FROM checkpoint_array WHERE checkpoint NOT IN"
                                   " (SELECT id FROM checkpoint)"),
                     0);
    assert_int_equal(number(store, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

static void test_delete(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "goes", 3, 1),
                               other = submit(store, "stays", 1, 1);
    refused(store, STORE_DELETE, r.experiment, 0, TET_CONFLICT, "3 runs queued and 0 running");
    for (int i = 0; i < 3; i++)
        make_full(store, 20);
    make_full(store, 20);
    assert_int_equal(number(store, "SELECT count(DISTINCT run) FROM protocol_result"), 4);
    const struct store_acted acted = act(store, STORE_DELETE, r.experiment, 0);
    assert_int_equal(acted.queued, 3);
    assert_true(acted.bytes > 3 * ROWS * COLUMNS * sizeof(float));

    struct seen_run seen = {0}; // gone at once
    assert_err(store_run_read(store, r.first_run, see_run, &seen, &error), TET_NOT_FOUND, &error,
               "run");
    error = (struct tet_error){0};
    uint64_t runs[RUN_STATES_COUNT];
    assert_err(store_experiment_read(store, r.experiment, see_experiment, runs, &error),
               TET_NOT_FOUND, &error, "experiment");
    refused(store, STORE_DELETE, r.experiment, 0, TET_NOT_FOUND, "experiment");
    refused(store, STORE_CANCEL, 0, r.first_run, TET_NOT_FOUND, "run");

    await_removal(store);
    assert_nothing_left(store, r.experiment);
    struct text text;
    metrics(store, other.first_run, &text);
    assert_int_equal(text.rows, 20);
    assert_same_checkpoint(store, other.first_run, 0, 9, 20);
    assert_true(submit(store, "next", 1, 1).experiment > other.experiment); // no number twice
    store_close(store);
}

/* Which tables refer to what is removed: the list above, and removal.c's, know them all. */
static void test_delete_knows_tables(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(
        number(store,
               "SELECT count(*) FROM sqlite_schema s, pragma_foreign_key_list(s.name) f"
               " WHERE s.type = 'table' AND f.\"table\" IN ('run', 'experiment', 'checkpoint')"
               " AND f.on_delete NOT IN ('CASCADE', 'SET NULL') AND s.name NOT IN ('run', 'metric',"
               " 'final', 'timeline', 'checkpoint', 'attempt', 'removal')"),
        0);
    store_close(store);
}

/* Steps by hand: the writer is told that there is nothing to remove. */
static enum tet_err begin_work(struct store *store, struct job *job, struct tet_error *error)
{
    uint64_t bytes;
    const enum tet_err err = removal_begin(store, job->run, &bytes, error);
    store->removing = false;
    return err;
}

/* Many rows go in many short steps; a server that ends in between goes on. */
static void test_delete_in_steps(void **state)
{
    (void)state;
    enum { METRICS = 30000, STEP = 2001 };
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "large", 1, 1);
    make_full(store, METRICS);
    flush(store);
    const int64_t pages = number(store, "PRAGMA page_count");
    by_hand(store, (struct job){.work = begin_work, .run = r.experiment});
    for (int i = 1; i <= 3; i++) {
        by_hand(store, (struct job){.work = removal_step});
        assert_int_equal(number(store, "SELECT count(*) FROM metric"), METRICS - i * STEP);
    }
    store_close(store);
    store = open_store();
    await_removal(store);
    assert_nothing_left(store, r.experiment);
    assert_int_equal(number(store, "SELECT count(*) FROM metric"), 0);
    assert_true(number(store, "PRAGMA page_count") < pages / 3); // given back
    assert_int_not_equal(submit(store, "next", 1, 1).first_run, 0);
    assert_int_not_equal(claim(store), 0);
    store_close(store);
}

/* Paused runs of a deleted experiment are not what a restart tries again. */
static void test_delete_over_restart(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "goes", 2, 1),
                               other = submit(store, "stays", 1, 1);
    for (int i = 0; i < 3; i++)
        end(store, claim(store), RUN_PAUSED, "no dataset");
    by_hand(store, (struct job){.work = begin_work, .run = r.experiment});
    store_close(store);
    store = open_store();
    assert_int_equal(number(store, "SELECT queued FROM store"), 1);
    assert_int_equal(claim(store), other.first_run);
    assert_int_equal(claim(store), 0);
    await_removal(store);
    assert_nothing_left(store, r.experiment);
    assert_int_equal(number(store, "SELECT sum(queued) FROM usage"), 0);
    store_close(store);
}

/* A cancelled run whose worker is not done yet: what it still says falls on the floor. */
static void test_delete_while_stopping(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    const struct store_receipt r = submit(store, "n", 1, 1);
    claim(store);
    report(store, r.first_run, 1, TET_SERIES_TRAIN_LOSS, 0, 0.5);
    free(act(store, STORE_CANCEL, r.experiment, 0).ids);
    act(store, STORE_DELETE, r.experiment, 0);
    await_removal(store);
    report(store, r.first_run, 2, TET_SERIES_TRAIN_LOSS, 0, 0.5);
    store_intervention(store, r.first_run, 0, 1, "{}");
    struct store_checkpoint c = make_checkpoint(5, 0);
    assert_err(store_checkpoint_write(store, r.first_run, &c, KEEP_2, true, &error), TET_DATABASE,
               &error, "no such run");
    struct store_ending e = {.state = RUN_CANCELLED, .step = 5};
    error = (struct tet_error){0};
    assert_err(store_end(store, r.first_run, &e, &error), TET_NOT_FOUND, &error, "run");
    assert_nothing_left(store, r.experiment);
    assert_int_equal(store->n_lost, 0); // its worker has let it go
    error = (struct tet_error){0};
    assert_ok(store_health(store, &error), &error);
    store_close(store);
}

/* ---- several at once ---- */

static void test_several(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    int64_t ids[4];
    for (int i = 0; i < 3; i++)
        ids[i] = submit(store, "n", 2, 1).experiment;
    ids[3] = 99; // gone
    claim(store);
    claim(store);
    const struct store_order pause = {.action = STORE_PAUSE, .experiments = ids, .n = 4};
    struct store_acted acted;
    assert_ok(store_act(store, &pause, &acted, &error), &error);
    assert_int_equal(acted.experiments, 3);
    assert_int_equal(acted.queued, 4);
    assert_int_equal(acted.running, 2);
    assert_true(acted.ids[0] != acted.ids[1] && acted.ids[1] != 0);
    free(acted.ids);
    const struct store_order delete = {.action = STORE_DELETE, .experiments = ids, .n = 4};
    assert_ok(store_act(store, &delete, &acted, &error), &error);
    assert_int_equal(acted.skipped, 1); // has runs running
    assert_int_equal(acted.experiments, 2);
    assert_int_equal(acted.queued, 4);
    await_removal(store);
    assert_int_equal(number(store, "SELECT count(*) FROM experiment"), 1);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pause_queued),
        TEST(test_pause_running),
        TEST(test_resume_while_stopping),
        TEST(test_pause_races),
        TEST(test_hindered),
        TEST(test_priority),
        TEST(test_delete),
        TEST(test_delete_knows_tables),
        TEST(test_delete_in_steps),
        TEST(test_delete_over_restart),
        TEST(test_delete_while_stopping),
        TEST(test_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
