// SPDX-License-Identifier: Apache-2.0
/* What the store tells its observer: after commits, in order, bounded, and nothing of what was undone. */
#include "store_fixture.h"

enum { TOLD = 1000 };

struct told {
    size_t calls, n, n_experiments;
    struct store_change runs[TOLD]; // without reasons
    char reason[TOLD][STORE_REASON];
    int64_t experiments[TOLD];
    bool uncounted;
};

static void keep(void *context, const struct store_changes *changes)
{
    struct told *t = context;
    t->calls++;
    for (size_t i = 0; i < changes->n; i++) {
        assert_true(t->n < TOLD);
        t->runs[t->n] = changes->runs[i];
        snprintf(t->reason[t->n++], STORE_REASON, "%s",
                 changes->runs[i].reason != NULL ? changes->runs[i].reason : "-");
    }
    for (size_t i = 0; i < changes->n_experiments; i++)
        t->experiments[t->n_experiments++] = changes->experiments[i];
    t->uncounted = t->uncounted || changes->uncounted;
    assert_true(changes->at_ms > 0);
    assert_true(changes->n == 0 || changes->n_experiments == 0);
}

static void assert_told(const struct told *t, size_t i, int64_t run, enum run_state state,
                        enum run_state experiment, const char *reason)
{
    assert_true(i < t->n);
    assert_int_equal(t->runs[i].run, run);
    assert_int_equal(t->runs[i].state, state);
    assert_int_equal(t->runs[i].experiment_state, experiment);
    assert_string_equal(t->reason[i], reason);
}

static void finish(struct store *store, int64_t run, enum run_state state, const char *reason)
{
    struct tet_error error = {0};
    struct store_ending ending = {.state = state, .step = 100};
    snprintf(ending.reason, sizeof ending.reason, "%s", reason);
    assert_ok(store_end(store, run, &ending, &error), &error);
}

static void test_life(void **state)
{
    (void)state;
    static struct told t;
    struct tet_error error = {0};
    struct store_cancelled counts;
    int64_t *ids;
    struct store *store = open_store();
    t = (struct told){0};
    store_observe(store, keep, &t);
    const int64_t first = submit(store, "a", 2, 1).first_run;
    assert_int_equal(t.n, 2); // told before the submission was answered
    assert_int_equal(claim(store), first);
    const struct tet_record record = {.step = 3, .series = TET_SERIES_TRAIN_LOSS, .value = 1.0};
    store_metrics(store, first, &record, 1); // a run's row changes, its state does not
    finish(store, first, RUN_SUCCEEDED, "why not");
    assert_ok(store_cancel(store, 0, first + 1, &counts, &ids, &error), &error);
    free(ids);
    assert_ok(store_cancel(store, 0, first + 1, &counts, &ids, &error), &error); // of no effect
    free(ids);
    assert_int_equal(t.n, 5);
    assert_told(&t, 0, first, RUN_QUEUED, RUN_QUEUED, "-");
    assert_told(&t, 1, first + 1, RUN_QUEUED, RUN_QUEUED, "-");
    assert_told(&t, 2, first, RUN_RUNNING, RUN_RUNNING, "-");
    assert_told(&t, 3, first, RUN_SUCCEEDED, RUN_QUEUED, "why not");
    assert_told(&t, 4, first + 1, RUN_CANCELLED, RUN_CANCELLED, "cancelled by a user");
    assert_int_equal(t.runs[3].step, 100);
    store_observe(store, NULL, NULL);
    submit(store, "b", 1, 1);
    assert_int_equal(t.n, 5);
    store_close(store);
}

static void test_bound(void **state)
{
    (void)state;
    static struct told t;
    struct tet_error error = {0};
    struct store_cancelled counts;
    int64_t *ids;
    struct store *store = open_store();
    t = (struct told){0};
    store_observe(store, keep, &t);
    submit(store, "many", STORE_MAX_CHANGES, 1);
    assert_int_equal(t.n, STORE_MAX_CHANGES);
    const int64_t experiment = submit(store, "too many", STORE_MAX_CHANGES + 1, 1).experiment;
    assert_int_equal(t.n, STORE_MAX_CHANGES);
    assert_int_equal(t.n_experiments, 1);
    assert_int_equal(t.experiments[0], experiment);
    assert_ok(store_cancel(store, experiment, 0, &counts, &ids, &error), &error);
    free(ids);
    assert_int_equal(t.n_experiments, 2);
    assert_false(t.uncounted);
    store_close(store);
}

/* A job that undoes what it did, in a transaction with others that stay. */
struct undone {
    struct job job;
    int64_t run;
};

static enum tet_err change_and_fail(struct store *store, struct job *base, struct tet_error *error)
{
    struct query q =
        query_open(&store->db, "UPDATE run SET state = 'paused' WHERE id = :run", error);
    query_bind_int(&q, ":run", ((struct undone *)base)->run);
    query_run(&q);
    assert_int_equal(query_close(&q), TET_OK);
    return tet_error_set(error, TET_CONFLICT, "changed my mind");
}

/* Of deleted experiments: their rows are removed between other jobs. */
static int64_t rows_left(struct store *store)
{
    struct tet_error error = {0};
    struct db *db;
    int64_t n = 0;
    assert_ok(reader_take(store, &db, &error), &error);
    assert_ok(db_number(db, "SELECT count(*) FROM run", &n, &error), &error);
    reader_give(store, db);
    return n;
}

static void test_undone_and_deleted(void **state)
{
    (void)state;
    static struct told t;
    struct tet_error error = {0};
    struct store *store = open_store();
    t = (struct told){0};
    const struct store_receipt a = submit(store, "a", 2, 1), b = submit(store, "b", 1, 1);
    store_observe(store, keep, &t);
    struct undone job = {.job.work = change_and_fail, .run = a.first_run};
    assert_err(writer_do(store, &job.job, &error), TET_CONFLICT, &error, "changed my mind");
    assert_int_equal(t.calls, 0);
    assert_int_equal(claim(store), a.first_run);
    assert_int_equal(t.n, 1);
    assert_told(&t, 0, a.first_run, RUN_RUNNING, RUN_RUNNING, "-");
    error = (struct tet_error){0};
    const int64_t both[] = {a.experiment, b.experiment};
    struct store_order order = {.action = STORE_CANCEL, .experiments = both, .n = 2};
    struct store_acted acted;
    assert_ok(store_act(store, &order, &acted, &error), &error);
    free(acted.ids);
    const size_t told = t.n;
    order.action = STORE_DELETE;
    assert_ok(store_act(store, &order, &acted, &error), &error);
    free(acted.ids);
    assert_int_equal(t.n_experiments, 2); // with the action, not when the rows go
    assert_int_equal(t.experiments[0], a.experiment);
    assert_int_equal(t.experiments[1], b.experiment);
    for (int i = 0; i < 10000 && rows_left(store) > 0; i++)
        flush(store);
    assert_int_equal(rows_left(store), 0);
    assert_int_equal(t.n, told);
    assert_int_equal(t.n_experiments, 2);
    store_close(store);
}

/* The file's own schema is as it was: another program does not meet our triggers. */
static void test_schema_untouched(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    int64_t n = -1;
    struct store *store = open_store();
    assert_ok(db_open(&db, path, true, &error), &error);
    assert_ok(
        db_number(&db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'watch%'", &n, &error),
        &error);
    assert_int_equal(n, 0);
    db_close(&db);
    store_close(store);
}

static void test_measures(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_measures m;
    struct store *store = open_store();
    assert_ok(store_measure(store, &m, &error), &error);
    assert_int_equal(m.runs[RUN_QUEUED], 0);
    assert_int_equal(m.oldest_queued_ms, 0);
    const uint64_t before = m.commits.n;
    const int64_t now = store_now_ms();
    submit(store, "a", 3, 1);
    submit(store, "b", 1, 1);
    claim(store);
    assert_ok(store_measure(store, &m, &error), &error);
    assert_int_equal(m.runs[RUN_QUEUED], 3);
    assert_int_equal(m.runs[RUN_RUNNING], 1);
    assert_true(m.oldest_queued_ms >= now && m.oldest_queued_ms <= store_now_ms());
    assert_true(m.file_bytes > 0 && m.wal_bytes > 0);
    assert_int_equal(m.commits.n, before + 3);
    assert_true(m.commits.seconds > 0);
    uint64_t sum = 0;
    for (size_t i = 0; i <= STORE_COMMIT_BOUNDS; i++)
        sum += m.commits.at_most[i];
    assert_int_equal(sum, m.commits.n);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_life), TEST(test_bound),
                                       TEST(test_undone_and_deleted), TEST(test_schema_untouched),
                                       TEST(test_measures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
