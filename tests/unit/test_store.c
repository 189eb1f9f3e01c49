// SPDX-License-Identifier: Apache-2.0
/* The store: submissions, a run's life, the list, and many clients at once. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store_fixture.h"

/* ---- what reaches the disk ---- */

/* SQLite syncs through these. */
static atomic_int syncs;

int fdatasync(int file)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file)
{
    syncs++;
    return (int)syscall(SYS_fsync, file);
}

/* ---- submitting ---- */

static void test_submit(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_receipt a = submit(store, "one", 3, 10), b = submit(store, "two", 1, 10);
    assert_false(a.replayed);
    assert_int_equal(a.ahead, 0);
    assert_int_equal(b.ahead, 3);
    assert_true(b.experiment > a.experiment);
    assert_int_equal(b.first_run, a.first_run + 3);
    assert_counts(store, a.experiment, 3, 0, 0, 0);

    struct seen_run seen = {0};
    assert_ok(store_runs_read(store, a.experiment, see_run, &seen, &error), &error);
    assert_int_equal(seen.n, 3);
    assert_int_equal(seen.id, a.first_run + 2);
    assert_err(store_run_read(store, 999, see_run, &seen, &error), TET_NOT_FOUND, &error, "run");

    struct store_submission none = {.name = "x", .owner = "local", .definition = "{}", .hash = "h"};
    error = (struct tet_error){0};
    assert_err(store_submit(store, &none, &a, &error), TET_BAD_REQUEST, &error, "run");
    store_close(store);
}

static void test_idempotency(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_new_run run = {"{\"rule\":\"sal\"}", "sha256:r", "{\"seed\":1}", 1, 1, 0.0, 1};
    struct store_submission s = {.name = "n",
                                 .owner = "local",
                                 .definition = "{}",
                                 .hash = "sha256:a",
                                 .tags = "[]",
                                 .idempotency_key = "k",
                                 .n_runs = 1,
                                 .runs = &run};
    struct store_receipt first, again, other;
    submit(store, "before", 2, 1);
    assert_ok(store_submit(store, &s, &first, &error), &error);
    submit(store, "after", 2, 1);
    assert_ok(store_submit(store, &s, &again, &error), &error);
    assert_true(again.replayed);
    assert_int_equal(again.experiment, first.experiment);
    assert_int_equal(again.first_run, first.first_run);
    assert_int_equal(again.ahead, 2);

    s.owner = "somebody";
    assert_ok(store_submit(store, &s, &other, &error), &error);
    assert_false(other.replayed);
    assert_true(other.experiment > first.experiment);
    s.hash = "sha256:b";
    assert_err(store_submit(store, &s, &again, &error), TET_CONFLICT, &error, "idempotency key");
    assert_int_equal(again.experiment, 0);
    store_close(store);

    store = open_store();
    error = (struct tet_error){0};
    s.hash = "sha256:a";
    assert_ok(store_submit(store, &s, &again, &error), &error);
    assert_true(again.replayed);
    assert_int_equal(again.experiment, other.experiment);
    store_close(store);
}

/* What must survive a power loss is synced before it is answered; what need not is not. */
static void test_durable(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_cancelled counts;
    int64_t *ids;
    int before = syncs;
    struct store *store = open_store();
    assert_true(syncs - before >= 2); // the file and its folder
    flush(store);
    for (int i = 0; i < 3; i++) {
        before = syncs;
        submit(store, "d", 2, 1);
        assert_true(syncs > before);
        before = syncs;
        int64_t run = claim(store);
        report(store, run, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
        flush(store);
        assert_int_equal(syncs, before);
        assert_ok(store_cancel(store, 0, run + 1, &counts, &ids, &error), &error);
        assert_true(syncs > before);
        before = syncs;
        end(store, run, RUN_SUCCEEDED, "");
        assert_true(syncs > before);
    }
    store_close(store);
}

static void test_queue_bound(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_limits limits = STORE_LIMITS;
    struct store *store;
    struct store_receipt receipt;
    limits.max_queued = 5;
    assert_ok(store_open_limited(&store, path, &limits, &error), &error);
    submit(store, "fits", 4, 1);
    struct store_new_run runs[2] = {{"{}", "h", "{}", 1, 1, 0.0, 1},
                                    {"{}", "h", "{}", 1, 1, 0.0, 1}};
    struct store_submission s = {
        .name = "n", .owner = "o", .definition = "{}", .hash = "h", .n_runs = 2, .runs = runs};
    assert_err(store_submit(store, &s, &receipt, &error), TET_BUSY, &error, "queue");
    error = (struct tet_error){0};
    assert_ok(store_health(store, &error), &error);
    assert_int_not_equal(claim(store), 0);
    assert_ok(store_submit(store, &s, &receipt, &error), &error);
    assert_int_equal(receipt.ahead, 3);
    store_close(store);
}

/* ---- the queue and a run's life ---- */

static void test_claim_order(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_receipt a = submit(store, "small", 2, 100), b = submit(store, "large", 1, 1000);
    struct store_receipt c = submit(store, "small", 1, 100);
    struct store_claim got;
    bool found, blocked;
    assert_ok(store_claim(store, 3, 100, &got, &found, &blocked, &error), &error);
    assert_true(found && !blocked);
    assert_int_equal(got.run, a.first_run);
    assert_int_equal(got.experiment, a.experiment);
    assert_int_equal(got.memory_bytes, 100);
    assert_string_equal(got.definition, "{\"rule\":\"sal\"}");
    assert_false(got.resumed);
    store_claim_free(&got);
    assert_int_equal(claim(store), a.first_run + 1);

    assert_ok(store_claim(store, 3, 999, &got, &found, &blocked, &error), &error);
    assert_true(blocked && !found); // the head waits for room; nobody overtakes it
    assert_null(got.definition);
    assert_int_equal(claim(store), b.first_run);
    assert_int_equal(claim(store), c.first_run);
    assert_int_equal(claim(store), 0);
    assert_ok(store_claim(store, 3, 1, &got, &found, &blocked, &error), &error);
    assert_true(!blocked && !found);
    store_close(store);
}

static void test_life(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_receipt r = submit(store, "life", 3, 1);
    int64_t run = claim(store);
    struct seen_run seen = read_run(store, run);
    assert_int_equal(seen.state, RUN_RUNNING);
    assert_int_equal(seen.attempts, 1);
    assert_true(seen.started_ms > 0 && seen.ended_ms == 0);
    assert_counts(store, r.experiment, 2, 1, 0, 0);

    end(store, run, RUN_SUCCEEDED, "");
    seen = read_run(store, run);
    assert_int_equal(seen.state, RUN_SUCCEEDED);
    assert_string_equal(seen.reason, "-");
    assert_string_equal(seen.digest, "sha256:d");
    assert_int_equal(seen.step, 7);
    assert_true(seen.ended_ms >= seen.started_ms);
    assert_counts(store, r.experiment, 2, 0, 1, 0);

    run = claim(store);
    end(store, run, RUN_QUEUED, "server stopped");
    seen = read_run(store, run);
    assert_int_equal(seen.state, RUN_QUEUED);
    assert_string_equal(seen.reason, "server stopped");
    assert_int_equal(seen.step, 0); // it has no checkpoint
    assert_int_equal(claim(store), run);
    end(store, run, RUN_DIVERGED, "step 9");
    seen = read_run(store, run);
    assert_int_equal(seen.attempts, 2);
    assert_true(seen.seconds == 3.0);
    assert_string_equal(seen.reason, "step 9");

    struct store_ending e = {.state = RUN_FAILED};
    assert_err(store_end(store, run, &e, &error), TET_CONFLICT, &error, "diverged");
    error = (struct tet_error){0};
    assert_err(store_end(store, 999, &e, &error), TET_NOT_FOUND, &error, "run");
    store_close(store);
}

static void test_cancel(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_receipt r = submit(store, "cancel", 4, 1), other = submit(store, "stays", 1, 1);
    struct store_cancelled counts;
    int64_t *ids, done = claim(store), running = claim(store);
    end(store, done, RUN_SUCCEEDED, "");

    assert_ok(store_cancel(store, 0, r.first_run + 3, &counts, &ids, &error), &error);
    assert_int_equal(counts.queued, 1);
    assert_null(ids);
    assert_ok(store_cancel(store, r.experiment, 0, &counts, &ids, &error), &error);
    assert_int_equal(counts.queued, 1);
    assert_int_equal(counts.running, 1);
    assert_int_equal(counts.finished, 2);
    assert_int_equal(ids[0], running);
    free(ids);
    assert_counts(store, r.experiment, 0, 0, 1, 3);
    assert_counts(store, other.experiment, 1, 0, 0, 0);
    assert_int_equal(read_run(store, done).state, RUN_SUCCEEDED);

    end(store, running, RUN_SUCCEEDED, ""); // the worker learns of it late
    struct seen_run seen = read_run(store, running);
    assert_int_equal(seen.state, RUN_CANCELLED);
    assert_string_equal(seen.reason, "cancelled by a user");
    assert_string_equal(seen.digest, "-");
    assert_true(seen.ended_ms > 0);

    assert_ok(store_cancel(store, r.experiment, 0, &counts, &ids, &error), &error);
    assert_int_equal(counts.finished, 4);
    assert_int_equal(counts.queued + counts.running, 0);
    assert_err(store_cancel(store, 99, 0, &counts, &ids, &error), TET_NOT_FOUND, &error,
               "experiment");
    error = (struct tet_error){0};
    assert_err(store_cancel(store, 0, 99, &counts, &ids, &error), TET_NOT_FOUND, &error, "run");
    error = (struct tet_error){0};
    assert_err(store_cancel(store, other.experiment, done, &counts, &ids, &error), TET_NOT_FOUND,
               &error, "run");
    assert_int_equal(claim(store), other.first_run);
    store_close(store);
}

/* ---- the list ---- */

struct list {
    int64_t ids[64];
    size_t n;
};

static bool see_listed(void *context, const struct store_experiment *e)
{
    struct list *list = context;
    list->ids[list->n++] = e->id;
    return list->n < 64;
}

static struct list list(struct store *store, struct store_filter filter)
{
    struct tet_error error = {0};
    struct list l = {0};
    if (filter.limit == 0)
        filter.limit = 50;
    assert_ok(store_experiments_read(store, &filter, see_listed, &l, &error), &error);
    return l;
}

static void test_list(void **state)
{
    (void)state;
    struct store *store = open_store();
    int64_t id[4];
    const char *const names[4] = {"Alpha", "beta 100%", "alphabet", "gamma"};
    for (int i = 0; i < 4; i++)
        id[i] = submit(store, names[i], 1, 1).experiment;
    end(store, claim(store), RUN_SUCCEEDED, "");
    int64_t running = claim(store);

    struct list l = list(store, (struct store_filter){.limit = 2});
    assert_int_equal(l.n, 2);
    assert_int_equal(l.ids[0], id[3]);
    l = list(store, (struct store_filter){.before = l.ids[1]});
    assert_int_equal(l.n, 2);
    assert_int_equal(l.ids[0], id[1]);
    l = list(store, (struct store_filter){.text = "ALPHA"});
    assert_int_equal(l.n, 2);
    assert_int_equal(l.ids[1], id[0]);
    assert_int_equal(list(store, (struct store_filter){.text = "100%"}).n, 1);
    assert_int_equal(list(store, (struct store_filter){.text = "%"}).n, 1);
    assert_int_equal(list(store, (struct store_filter){.owner = "nobody"}).n, 0);
    assert_int_equal(list(store, (struct store_filter){.owner = "local", .tag = "x"}).n, 4);
    assert_int_equal(list(store, (struct store_filter){.tag = "fas"}).n, 0);
    l = list(store, (struct store_filter){.by_state = true, .state = RUN_QUEUED, .tag = "fast"});
    assert_int_equal(l.n, 2);
    assert_int_equal(l.ids[0], id[3]);
    l = list(store, (struct store_filter){.by_state = true, .state = RUN_RUNNING, .before = id[2]});
    assert_int_equal(l.n, 1);
    assert_int_equal(l.ids[0], id[1]);
    end(store, running, RUN_FAILED, "x");
    l = list(store, (struct store_filter){.by_state = true, .state = RUN_FAILED});
    assert_int_equal(l.n, 1);
    store_close(store);
}

/* The state of an experiment is said twice, in C and in the schema: for every set of states. */
static void test_experiment_state(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    store_close(open_store());
    assert_ok(db_open(&db, path, false, &error), &error);
    for (unsigned set = 0; set < 1u << RUN_STATES_COUNT; set++) {
        char sql[400] = "UPDATE experiment_runs SET experiment = 1";
        uint64_t runs[RUN_STATES_COUNT];
        for (int i = 0; i < RUN_STATES_COUNT; i++) {
            size_t n = strlen(sql);
            runs[i] = set >> i & 1;
            snprintf(sql + n, sizeof sql - n, ", %s = %llu", run_state_text((enum run_state)i),
                     (unsigned long long)runs[i]);
        }
        assert_ok(db_exec(&db,
                          "PRAGMA foreign_keys = OFF;"
                          "INSERT OR IGNORE INTO experiment_runs (experiment) VALUES (1);",
                          &error),
                  &error);
        assert_ok(db_exec(&db, sql, &error), &error);
        struct query q = query_open(&db, "SELECT state FROM experiment_runs", &error);
        assert_true(query_row(&q));
        assert_string_equal(query_text(&q, 0), run_state_text(experiment_state(runs)));
        assert_ok(query_close(&q), &error);
    }
    db_close(&db);
}

/* ---- many at once ---- */

enum { THREADS = 8, EACH = 25 };

struct client {
    pthread_t thread;
    struct store *store;
    struct store_receipt receipts[EACH];
    struct tet_error error;
};

/* Asserts belong to the main thread: a client only notes what went wrong. */
static void *client_main(void *argument)
{
    struct client *c = argument;
    struct store_new_run runs[3];
    for (int i = 0; i < 3; i++)
        runs[i] = (struct store_new_run){"{\"rule\":\"sal\"}", "h", "{\"seed\":1}", 1, 1, 0.0, 1};
    struct store_submission s = {.name = "many",
                                 .owner = "local",
                                 .definition = "{}",
                                 .hash = "h",
                                 .tags = "[]",
                                 .n_runs = 3,
                                 .runs = runs};
    for (int i = 0; i < EACH && c->error.err == TET_OK; i++) {
        struct store_filter filter = {.limit = 3};
        struct list l = {0};
        struct text text = {0};
        (void)!store_submit(c->store, &s, &c->receipts[i], &c->error);
        (void)!store_experiments_read(c->store, &filter, see_listed, &l, &c->error);
        if (l.n == 0 || l.ids[0] < c->receipts[i].experiment)
            (void)tet_error_set(&c->error, TET_INTERNAL, "its own submission is not in the list");
        report(c->store, c->receipts[i].first_run, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
        (void)!store_final_read(c->store, c->receipts[i].first_run, see_metric, &text, &c->error);
        (void)store_health(c->store, &c->error);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    enum { RUNS = THREADS * EACH * 3 };
    static struct client clients[THREADS];
    struct text text;
    bool seen[RUNS + 1] = {false};
    struct store *store = open_store();
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < THREADS; i++) {
        clients[i].store = store;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
    flush(store);
    for (int i = 0; i < THREADS; i++) {
        assert_ok(clients[i].error.err, &clients[i].error);
        for (int k = 0; k < EACH; k++) {
            int64_t first = clients[i].receipts[k].first_run;
            assert_true(first >= 1 && first + 2 <= RUNS);
            assert_counts(store, clients[i].receipts[k].experiment, 3, 0, 0, 0);
            metrics(store, first, &text);
            assert_int_equal(text.rows, 1);
            for (int r = 0; r < 3; r++) {
                assert_false(seen[first + r]);
                seen[first + r] = true;
            }
        }
    }
    for (int64_t run = 1; run <= RUNS; run++)
        assert_int_equal(claim(store), run);
    assert_int_equal(claim(store), 0);
    store_close(store);
}

static void test_large_queue(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_cancelled counts;
    int64_t *ids;
    struct store *store = open_store();
    for (int i = 0; i < 10; i++) {
        struct store_receipt r = submit(store, "large", 10000, 1);
        assert_int_equal(r.ahead, i * 10000);
        assert_int_equal(r.first_run, i * 10000 + 1);
    }
    for (int64_t run = 1; run <= 200; run++)
        assert_int_equal(claim(store), run);
    assert_counts(store, 1, 9800, 200, 0, 0);
    struct list l =
        list(store, (struct store_filter){.by_state = true, .state = RUN_QUEUED, .limit = 4});
    assert_int_equal(l.n, 4);
    assert_int_equal(l.ids[0], 10);
    assert_ok(store_cancel(store, 1, 0, &counts, &ids, &error), &error);
    assert_int_equal(counts.queued, 9800);
    assert_int_equal(counts.running, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(ids[i], i + 1);
    free(ids);
    assert_int_equal(claim(store), 10001);
    assert_int_equal(submit(store, "last", 1, 1).ahead, 89999);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_submit),       TEST(test_idempotency), TEST(test_durable),
        TEST(test_queue_bound),  TEST(test_claim_order), TEST(test_life),
        TEST(test_cancel),       TEST(test_list),        TEST(test_experiment_state),
        TEST(test_many_threads), TEST(test_large_queue),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
