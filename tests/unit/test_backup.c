// SPDX-License-Identifier: Apache-2.0
/* Backups: made while the writer writes, whole, refused where they would destroy something. */
#include "unit/store_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "store/backup.h"

static const char *file_in(const char *name)
{
    static char names[4][400];
    static unsigned next;
    char *text = names[next++ % 4];
    snprintf(text, sizeof names[0], "%s/%s", folder, name);
    return text;
}

static void assert_absent(const char *name)
{
    if (access(name, F_OK) == 0)
        fail_msg("%s was left behind", name);
}

/* Keeps the writer busy with records, which arrive in the order of their steps. */
struct scribe {
    struct store *store;
    int64_t run;
    _Atomic bool stop;
    _Atomic uint64_t step;
};

static void *scribble(void *context)
{
    struct scribe *s = context;
    for (uint64_t step = 1; !s->stop; step++) {
        report(s->store, s->run, step, TET_SERIES_TRAIN_LOSS, 0, (double)step);
        s->step = step;
    }
    return NULL;
}

/* Opens a backup as a database and returns how many records its run has; they must be 1, 2, 3, ... */
struct tally {
    uint64_t n;
    bool in_order;
};

static bool see_step(void *context, const char *series, uint64_t step, double value)
{
    struct tally *t = context;
    (void)series;
    t->n++;
    t->in_order = t->in_order && step == t->n && value == (double)step;
    return true;
}

static uint64_t count_records(struct store *store, int64_t run)
{
    struct tet_error error = {0};
    struct tally tally = {.in_order = true};
    uint64_t next;
    bool more;
    assert_ok(
        store_metrics_read(store, run, 0, UINT64_MAX, NULL, see_step, &tally, &next, &more, &error),
        &error);
    assert_true(tally.in_order);
    return tally.n;
}

/* One file, of one moment: the records 1 to n, with n at least `least`. */
static void look_at_copy(const char *name, int64_t least)
{
    struct tet_error error = {0};
    struct db db;
    int64_t n = 0, last = 0;
    char log[420];
    snprintf(log, sizeof log, "%s-wal", name);
    assert_absent(log);
    assert_ok(db_open(&db, name, true, &error), &error);
    assert_ok(db_number(&db, "SELECT count(*) FROM metric", &n, &error), &error);
    assert_ok(db_number(&db, "SELECT max(step) FROM metric", &last, &error), &error);
    db_close(&db);
    assert_int_equal(n, last);
    assert_in_range(n, least, INT64_MAX);
    assert_absent(log);
}

static void test_while_writing(void **state)
{
    struct tet_error error = {0};
    struct backup_report report_;
    struct store *store = open_store();
    const struct store_receipt receipt = submit(store, "a", 3, 1);
    const int64_t run = claim(store);
    struct scribe scribe = {.store = store, .run = run};
    static const char *const copies[4] = {"copy-1.db", "copy-2.db", "copy-3.db", "copy-4.db"};
    pthread_t thread;
    (void)state;
    write_checkpoint(store, run, 1, 0, true);
    assert_int_equal(pthread_create(&thread, NULL, scribble, &scribe), 0);
    int64_t least[4];
    for (int i = 0; i < 4; i++) {
        const uint64_t seen = scribe.step; // posted before the flush: written after it
        flush(store);
        least[i] = (int64_t)seen;
        assert_ok(backup_write(path, NULL, file_in(copies[i]), &report_, &error), &error);
        assert_int_equal(report_.experiments, 1);
        assert_int_equal(report_.runs, 3);
    }
    scribe.stop = true;
    pthread_join(thread, NULL);
    store_close(store);
    for (int i = 0; i < 4; i++)
        look_at_copy(file_in(copies[i]), least[i]);
    snprintf(path, sizeof path, "%s", file_in(copies[3]));
    store = open_store(); // the run goes on from its checkpoint
    assert_int_equal(read_run(store, run).state, RUN_QUEUED);
    assert_same_checkpoint(store, run, 1, 1, 0);
    assert_counts(store, receipt.experiment, 3, 0, 0, 0);
    store_close(store);
}

static void test_restore(void **state)
{
    struct tet_error error = {0};
    struct backup_report r;
    char kept[BACKUP_NAME];
    struct store *store = open_store();
    (void)state;
    submit(store, "first", 2, 1);
    const int64_t run = claim(store);
    for (uint64_t step = 1; step <= 9; step++)
        report(store, run, step, TET_SERIES_TRAIN_LOSS, 0, (double)step);
    flush(store);
    end(store, run, RUN_SUCCEEDED, "");
    assert_ok(backup_write(path, NULL, file_in("b.db"), &r, &error), &error);
    submit(store, "second", 1, 1);

    assert_err(backup_restore(file_in("b.db"), path, NULL, kept, &r, &error), TET_CONFLICT, &error,
               "in use by another server");
    store_close(store);
    error = (struct tet_error){0};
    assert_ok(backup_restore(file_in("b.db"), path, NULL, kept, &r, &error), &error);
    assert_int_equal(r.experiments, 1);
    assert_int_equal(r.runs, 2);

    store = open_store();
    assert_int_equal(read_run(store, run).state, RUN_SUCCEEDED);
    assert_int_equal(count_records(store, run), 9);
    store_close(store);
    assert_true(strlen(kept) < sizeof path);
    memcpy(path, kept, strlen(kept) + 1); // what was there is whole
    store = open_store();
    assert_int_equal(count_records(store, run), 9);
    assert_int_equal(read_run(store, 3).state, RUN_QUEUED);
    store_close(store);
}

static void test_restore_to_nothing(void **state)
{
    struct tet_error error = {0};
    struct backup_report r;
    char kept[BACKUP_NAME];
    struct store *store = open_store();
    (void)state;
    submit(store, "first", 2, 1);
    assert_ok(backup_write(path, NULL, file_in("b.db"), &r, &error), &error);
    store_close(store);
    snprintf(path, sizeof path, "%s", file_in("new.db"));
    assert_ok(backup_restore(file_in("b.db"), path, NULL, kept, &r, &error), &error);
    assert_string_equal(kept, "");
    store = open_store();
    assert_int_equal(read_run(store, 2).state, RUN_QUEUED);
    store_close(store);
}

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A copy of a file with `n` bytes spoilt from `at`, or cut there where n is 0. */
static void spoil(const char *from, const char *to, size_t at, size_t n)
{
    static char bytes[1 << 20];
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(size > at + n && size < sizeof bytes);
    memset(bytes + at, 0xA5, n);
    write_bytes(to, bytes, n > 0 ? size : at);
}

static void test_refusals(void **state)
{
    struct tet_error error = {0};
    struct backup_report r;
    char kept[BACKUP_NAME];
    struct store *store = open_store();
    (void)state;
    submit(store, "a", 40, 1);
    assert_ok(backup_write(path, NULL, file_in("b.db"), &r, &error), &error);
    assert_err(backup_write(path, NULL, file_in("b.db"), &r, &error), TET_CONFLICT, &error, "b.db");
    error = (struct tet_error){0};
    assert_err(backup_write(path, NULL, file_in("no/where.db"), &r, &error), TET_DATABASE, &error,
               "where.db");
    error = (struct tet_error){0};
    assert_err(backup_write(file_in("none.db"), NULL, file_in("c.db"), &r, &error), TET_NOT_FOUND,
               &error, "none.db");
    assert_absent(file_in("none.db"));
    store_close(store);

    static const struct {
        size_t at, n;
        enum tet_err err;
    } cases[] = {{0, 16, TET_DATABASE},           // no database
                 {68, 4, TET_DATABASE},           // of another program
                 {60, 4, TET_CONFLICT},           // of a newer version
                 {4096 * 6, 0, TET_DATABASE},     // cut
                 {4096 * 3, 4096, TET_DATABASE}}; // a page is spoilt
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *bad = file_in("bad.db");
        spoil(file_in("b.db"), bad, cases[i].at, cases[i].n);
        error = (struct tet_error){0};
        assert_err(backup_restore(bad, path, NULL, kept, &r, &error), cases[i].err, &error,
                   "bad.db");
        assert_string_equal(kept, "");
    }
    assert_absent(file_in("lab.db.part"));
    store = open_store(); // it was not touched
    assert_int_equal(read_run(store, 40).state, RUN_QUEUED);
    store_close(store);
}

/* A file size limit stands for a full disk. */
static void test_no_room(void **state)
{
    struct tet_error error = {0};
    struct backup_report r;
    struct rlimit before, small;
    struct store *store = open_store();
    (void)state;
    submit(store, "a", 2000, 1);
    store_close(store);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const enum tet_err err = backup_write(path, NULL, file_in("b.db"), &r, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    if (err != TET_STORAGE_FULL && err != TET_STORAGE_FAILS)
        fail_msg("%s: %s", tet_err_code(err), error.message);
    assert_absent(file_in("b.db"));
    assert_absent(file_in("b.db.part"));
    assert_ok(backup_write(path, NULL, file_in("b.db"), &r, &error), &error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_while_writing), TEST(test_restore),
                                       TEST(test_restore_to_nothing), TEST(test_refusals),
                                       TEST(test_no_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
