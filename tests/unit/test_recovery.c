// SPDX-License-Identifier: Apache-2.0
/*
 * What the store gets over: crashes, a full disk, another program's write. Crashes are real: a
 * child opens the store, works, and dies without closing it.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

/* ---- crashes ---- */

/* Runs work in a child that never closes the store, and waits for its end. */
static void crash(void (*work)(struct store *store), bool kill_it)
{
    pid_t child = fork();
    if (child == 0) {
        work(open_store());
        if (kill_it)
            (void)raise(SIGKILL);
        _exit(42);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (kill_it)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    else
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

/* Three runs: one without a checkpoint, one saved before the evaluation of its last step, one
 * saved twice. A fourth waits. */
static void work_then_crash(struct store *store)
{
    submit(store, "crash", 4, 1);
    int64_t none = claim(store), before = claim(store), after = claim(store);
    report(store, none, 1, TET_SERIES_TRAIN_LOSS, 0, 1);

    report(store, before, 4, TET_SERIES_NORM_W, 1, 0.5);
    write_checkpoint(store, before, 4, 1, false);
    report(store, before, 4, TET_SERIES_TEST_ACCURACY, 0, 0.5); // the same step, but later
    report(store, before, 5, TET_SERIES_NORM_W, 1, 0.75);

    report(store, after, 4, TET_SERIES_NORM_W, 1, 0.5);
    write_checkpoint(store, after, 4, 1, false);
    report(store, after, 4, TET_SERIES_TEST_ACCURACY, 0, 0.5);
    write_checkpoint(store, after, 4, 2, false);
    report(store, after, 5, TET_SERIES_NORM_W, 1, 0.75);
    flush(store);
}

static void check_recovery(bool kill_it)
{
    struct text text;
    crash(work_then_crash, kill_it);
    struct store *store = open_store();
    assert_counts(store, 1, 4, 0, 0, 0);
    assert_string_equal(metrics(store, 1, &text), "");
    assert_string_equal(finals(store, 1, &text), "");
    assert_string_equal(metrics(store, 2, &text), "4:norm/W/1=0.5 ");
    assert_string_equal(finals(store, 2, &text), "4:norm/W/1=0.5 ");
    assert_string_equal(metrics(store, 3, &text), "4:norm/W/1=0.5 4:test/accuracy=0.5 ");
    assert_string_equal(finals(store, 3, &text), "4:norm/W/1=0.5 4:test/accuracy=0.5 ");
    assert_same_checkpoint(store, 2, 0, 4, 1);
    assert_same_checkpoint(store, 3, 0, 4, 2);

    struct seen_run seen = read_run(store, 2);
    assert_int_equal(seen.state, RUN_QUEUED);
    assert_string_equal(seen.reason, "server restarted");
    assert_int_equal(seen.step, 4);
    assert_string_equal(read_run(store, 4).reason, "-");

    /* What it reports again is counted on from the checkpoint, and crashes again exactly. */
    assert_int_equal(claim(store), 1);
    assert_int_equal(claim(store), 2);
    report(store, 2, 4, TET_SERIES_TEST_ACCURACY, 0, 0.5);
    report(store, 2, 5, TET_SERIES_NORM_W, 1, 0.75);
    write_checkpoint(store, 2, 5, 3, true);
    report(store, 2, 5, TET_SERIES_TEST_ACCURACY, 0, 0.9);
    store_close(store); // with runs that still run
    store = open_store();
    assert_string_equal(metrics(store, 2, &text),
                        "4:norm/W/1=0.5 4:test/accuracy=0.5 5:norm/W/1=0.75 ");
    store_close(store);
}

static void test_crash_exit(void **state)
{
    (void)state;
    check_recovery(false);
}

static void test_crash_kill(void **state)
{
    (void)state;
    check_recovery(true);
}

static void submit_then_crash(struct store *store)
{
    submit(store, "durable", 100, 1);
}

static void test_acknowledged_survives(void **state)
{
    (void)state;
    crash(submit_then_crash, true);
    struct store *store = open_store();
    assert_counts(store, 1, 100, 0, 0, 0);
    struct store_receipt r = submit(store, "next", 1, 1);
    assert_int_equal(r.first_run, 101);
    assert_int_equal(r.ahead, 100);
    store_close(store);
}

/* ---- a full disk ---- */

static void fill(struct store *store)
{
    struct tet_error error = {0};
    assert_ok(store_max_pages(store, 1, &error), &error); // as many as there are now
}

static void test_full_disk(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    static struct tet_record records[2000];
    struct store *store = open_store();
    submit(store, "f", 1, 1);
    int64_t run = claim(store);
    for (size_t i = 0; i < 2000; i++)
        records[i] = (struct tet_record){i + 1, TET_SERIES_TRAIN_LOSS, 0, (double)i, 0, 0};
    fill(store);
    store_metrics(store, run, records, 1000);
    store_metrics(store, run, records + 1000, 1000);

    struct store_receipt receipt;
    struct store_new_run new_run = {"{}", "h", "{}", 1, 1, 0.0, 1};
    char *long_text = malloc(1 << 20);
    assert_non_null(long_text);
    memset(long_text, ' ', (1 << 20) - 1);
    long_text[(1 << 20) - 1] = '\0';
    struct store_submission s = {.name = "n",
                                 .owner = "o",
                                 .definition = long_text,
                                 .hash = "h",
                                 .n_runs = 1,
                                 .runs = &new_run};
    assert_err(store_submit(store, &s, &receipt, &error), TET_STORAGE_FULL, &error, "disk is full");
    error = (struct tet_error){0};
    assert_err(store_health(store, &error), TET_STORAGE_FULL, &error, "disk is full");

    /* Small enough to fit, but not before the run's metrics. */
    struct store_ending e = {.state = RUN_SUCCEEDED, .step = 2000, .digest = "sha256:d"};
    error = (struct tet_error){0};
    assert_err(store_end(store, run, &e, &error), TET_STORAGE_FULL, &error, "disk is full");
    struct store_checkpoint small = {.cursor = {.step = 2000, .records = 2000}};
    error = (struct tet_error){0};
    assert_err(store_checkpoint_write(store, run, &small, KEEP_2, true, &error), TET_STORAGE_FULL,
               &error, "disk is full");
    assert_no_checkpoint(store, run, 0);
    assert_string_equal(metrics(store, run, &text), "");
    assert_int_equal(read_run(store, run).state, RUN_RUNNING);

    flush(store); // there is room again
    error = (struct tet_error){0};
    assert_ok(store_end(store, run, &e, &error), &error);
    metrics(store, run, &text);
    assert_int_equal(text.rows, 2000);
    assert_ok(store_submit(store, &s, &receipt, &error), &error);
    assert_ok(store_health(store, &error), &error);
    free(long_text);
    store_close(store);
}

/* Without anybody writing, the store finds out by itself that there is room again. */
static void test_recovers_alone(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    static struct tet_record records[2000];
    struct store *store = open_store();
    submit(store, "f", 1, 1);
    for (size_t i = 0; i < 2000; i++)
        records[i] = (struct tet_record){i + 1, TET_SERIES_TRAIN_LOSS, 0, (double)i, 0, 0};
    fill(store);
    store_metrics(store, 1, records, 2000);
    while (store_health(store, &error) == TET_OK)
        sched_yield();
    flush(store);
    error = (struct tet_error){0};
    while (store_health(store, NULL) != TET_OK)
        sched_yield();
    metrics(store, 1, &text);
    assert_int_equal(text.rows, 2000);
    store_close(store);
}

/* Another program in the middle of a write. */
static void test_held(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    struct store_receipt receipt;
    struct store_new_run run = {"{}", "h", "{}", 1, 1, 0.0, 1};
    struct store_submission s = {
        .name = "n", .owner = "o", .definition = "{}", .hash = "h", .n_runs = 1, .runs = &run};
    struct db db;
    struct store *store = open_store();
    submit(store, "first", 1, 1);
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_begin(&db, false, &error), &error);
    report(store, 1, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    assert_err(store_submit(store, &s, &receipt, &error), TET_BUSY, &error, "another program");
    assert_string_equal(metrics(store, 1, &text), "");
    db_rollback(&db);
    db_close(&db);
    error = (struct tet_error){0};
    assert_ok(store_submit(store, &s, &receipt, &error), &error);
    assert_string_equal(metrics(store, 1, &text), "1:train/loss=1 ");
    assert_ok(store_health(store, &error), &error);
    store_close(store);
}

struct blocked {
    struct store *store;
    struct tet_record *records;
};

static void *post_much(void *argument)
{
    struct blocked *b = argument;
    for (int i = 0; i < 20; i++) // far over the bound: waits
        store_metrics(b->store, 1, b->records, 2000);
    return NULL;
}

static void test_full_disk_at_shutdown(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    static struct tet_record records[2000];
    struct store_limits limits = STORE_LIMITS;
    struct store *store;
    pthread_t thread;
    limits.pending_bytes = 200000;
    assert_ok(store_open_limited(&store, path, &limits, &error), &error);
    submit(store, "f", 1, 1);
    int64_t run = claim(store);
    report(store, run, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    write_checkpoint(store, run, 1, 1, true);
    for (size_t i = 0; i < 2000; i++)
        records[i] = (struct tet_record){i + 2, TET_SERIES_TRAIN_LOSS, 0, (double)i, 0, 0};
    fill(store);
    struct blocked b = {store, records};
    assert_int_equal(pthread_create(&thread, NULL, post_much, &b), 0);
    while (store_health(store, NULL) == TET_OK)
        sched_yield();
    store_no_wait(store);
    assert_int_equal(pthread_join(thread, NULL), 0);
    flush(store);

    struct store_checkpoint c = make_checkpoint(2, 2);
    assert_err(store_checkpoint_write(store, run, &c, KEEP_2, true, &error), TET_DATABASE, &error,
               "records of run 1 were lost");
    struct store_ending e = {.state = RUN_SUCCEEDED, .step = 2, .digest = "sha256:d"};
    error = (struct tet_error){0};
    assert_ok(store_end(store, run, &e, &error), &error);
    struct seen_run seen = read_run(store, run);
    assert_int_equal(seen.state, RUN_QUEUED);
    assert_string_equal(seen.digest, "-");
    assert_non_null(strstr(seen.reason, "were lost"));
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 ");
    assert_int_equal(claim(store), run); // a new attempt is whole
    write_checkpoint(store, run, 2, 1, true);

    fill(store); // closed while full: what could not be written is gone, the rest whole
    store_metrics(store, run, records + 1, 1999);
    write_checkpoint(store, run, 2000, 2000, false);
    store_close(store);
    store = open_store();
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 ");
    assert_same_checkpoint(store, run, 0, 2, 1);
    assert_int_equal(claim(store), run);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_crash_exit), TEST(test_crash_kill),     TEST(test_acknowledged_survives),
        TEST(test_full_disk),  TEST(test_recovers_alone), TEST(test_full_disk_at_shutdown),
        TEST(test_held),
    };
    return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
