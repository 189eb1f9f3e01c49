// SPDX-License-Identifier: Apache-2.0
/*
 * The store: submissions, a run's life, metrics, checkpoints, crashes, foreign files, a full disk.
 *
 * Each test works in a folder of its own under $TMPDIR, which is removed. Crashes are real: a child
 * opens the store, works, and dies without closing it. Nothing sleeps to wait for something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/internal.h"

/* ---- the folder ---- */

static char folder[256];
static char path[300];

static int remove_one(const char *name, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(name);
}

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/tetrad-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/lab.db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

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

/* ---- helpers ---- */

static void assert_ok(enum tet_err err, const struct tet_error *error)
{
    if (err != TET_OK)
        fail_msg("%s: %s", tet_err_code(err), error->message);
}

/* That it failed so, with a sentence that names what it is about. */
static void assert_err(enum tet_err err, enum tet_err expected, const struct tet_error *error,
                       const char *names)
{
    if (err != expected || error->err != expected)
        fail_msg("got %s (%s), expected %s", tet_err_code(err), error->message,
                 tet_err_code(expected));
    if (strstr(error->message, names) == NULL || strchr(error->message, '\n') != NULL)
        fail_msg("\"%s\" does not name \"%s\" in one line", error->message, names);
}

static struct store *open_store(void)
{
    struct tet_error error = {0};
    struct store *store;
    assert_ok(store_open(&store, path, &error), &error);
    return store;
}

static struct store_receipt submit(struct store *store, const char *name, size_t n,
                                   uint64_t memory_bytes)
{
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_new_run *runs = calloc(n, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < n; i++)
        runs[i] = (struct store_new_run){"{\"rule\":\"sal\"}", "sha256:run", "{\"seed\":1}", 100,
                                         memory_bytes};
    struct store_submission s = {.name = name,
                                 .owner = "local",
                                 .definition = "{}",
                                 .hash = "sha256:a",
                                 .tags = "[\"fast\",\"x\"]",
                                 .n_runs = n,
                                 .runs = runs};
    enum tet_err err = store_submit(store, &s, &receipt, &error);
    free(runs);
    assert_ok(err, &error);
    return receipt;
}

static int64_t claim(struct store *store)
{
    struct tet_error error = {0};
    struct store_claim c;
    bool found, blocked;
    assert_ok(store_claim(store, 1, UINT64_MAX, &c, &found, &blocked, &error), &error);
    int64_t run = found ? c.run : 0;
    store_claim_free(&c);
    return run;
}

struct seen_run {
    enum run_state state;
    char reason[STORE_REASON], digest[STORE_HASH];
    uint64_t step;
    uint32_t attempts;
    double seconds;
    int64_t id, started_ms, ended_ms;
    size_t n;
};

static bool see_run(void *context, const struct store_run *run)
{
    struct seen_run *seen = context;
    seen->n++;
    seen->id = run->id;
    seen->state = run->state;
    snprintf(seen->reason, sizeof seen->reason, "%s", run->reason != NULL ? run->reason : "-");
    snprintf(seen->digest, sizeof seen->digest, "%s", run->digest != NULL ? run->digest : "-");
    seen->step = run->step;
    seen->attempts = run->attempts;
    seen->seconds = run->train_seconds;
    seen->started_ms = run->started_ms;
    seen->ended_ms = run->ended_ms;
    assert_string_equal(run->definition, "{\"rule\":\"sal\"}");
    assert_string_equal(run->parameters, "{\"seed\":1}");
    return true;
}

static struct seen_run read_run(struct store *store, int64_t run)
{
    struct tet_error error = {0};
    struct seen_run seen = {0};
    assert_ok(store_run_read(store, run, see_run, &seen, &error), &error);
    assert_int_equal(seen.n, 1);
    return seen;
}

static bool see_experiment(void *context, const struct store_experiment *experiment)
{
    memcpy(context, experiment->runs, sizeof experiment->runs);
    return true;
}

static void assert_counts(struct store *store, int64_t experiment, uint64_t queued,
                          uint64_t running, uint64_t succeeded, uint64_t cancelled)
{
    struct tet_error error = {0};
    uint64_t runs[RUN_STATES_COUNT] = {0};
    assert_ok(store_experiment_read(store, experiment, see_experiment, runs, &error), &error);
    assert_int_equal(runs[RUN_QUEUED], queued);
    assert_int_equal(runs[RUN_RUNNING], running);
    assert_int_equal(runs[RUN_SUCCEEDED], succeeded);
    assert_int_equal(runs[RUN_CANCELLED], cancelled);
    assert_int_equal(runs[RUN_PAUSED] + runs[RUN_DIVERGED] + runs[RUN_FAILED], 0);
}

static void end(struct store *store, int64_t run, enum run_state state, const char *reason)
{
    struct tet_error error = {0};
    struct store_ending e = {.state = state, .step = 7, .train_seconds = 1.5};
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    if (state == RUN_SUCCEEDED)
        snprintf(e.digest, sizeof e.digest, "sha256:d");
    assert_ok(store_end(store, run, &e, &error), &error);
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum { ROWS = 37, COLUMNS = 29 };

/* Two arrays with every kind of float, a cursor with every kind of number. */
static struct store_checkpoint make_checkpoint(uint64_t step, uint64_t records)
{
    uint64_t nan_bits = 0x7ff8dead0000beef;
    struct store_checkpoint c = {
        .cursor = {.step = step,
                   .records = records,
                   .loss_sum = -0.0,
                   .correct = UINT64_MAX - 3,
                   .epoch = UINT32_MAX,
                   .batch = 3},
        .n = 2,
        .arrays = calloc(2, sizeof *c.arrays),
    };
    memcpy(&c.cursor.last_loss, &nan_bits, sizeof nan_bits);
    assert_non_null(c.arrays);
    c.arrays[0] = (struct store_array){
        .name = "W1", .rank = 2, .shape = {ROWS, COLUMNS}, .n = ROWS * COLUMNS};
    c.arrays[1] = (struct store_array){
        .name = "velocity/b1", .rank = 1, .shape = {5, 1}, .n = 5, .velocity = true};
    for (size_t i = 0; i < c.n; i++) {
        c.arrays[i].data = calloc(c.arrays[i].n, sizeof(float));
        assert_non_null(c.arrays[i].data);
        for (size_t k = 0; k < c.arrays[i].n; k++)
            c.arrays[i].data[k] = float_of((uint32_t)(step * 2654435761u + k * 40503u + i));
    }
    const uint32_t special[5] = {0x7fc0beef, 0x80000000, 0xff800000, 0x00000001, 0x7f812345};
    memcpy(c.arrays[1].data, special, sizeof special);
    return c;
}

static void write_checkpoint(struct store *store, int64_t run, uint64_t step, uint64_t records,
                             bool wait)
{
    struct tet_error error = {0};
    struct store_checkpoint c = make_checkpoint(step, records);
    assert_ok(store_checkpoint_write(store, run, &c, 2, wait, &error), &error);
    assert_null(c.arrays);
}

static void assert_same_checkpoint(struct store *store, int64_t run, uint64_t ask, uint64_t step,
                                   uint64_t records)
{
    struct tet_error error = {0};
    struct store_checkpoint got, want = make_checkpoint(step, records);
    assert_ok(store_checkpoint_read(store, run, ask, &got, &error), &error);
    assert_int_equal(got.cursor.step, want.cursor.step);
    assert_int_equal(got.cursor.records, want.cursor.records);
    assert_int_equal(got.cursor.correct, want.cursor.correct);
    assert_int_equal(got.cursor.epoch, want.cursor.epoch);
    assert_int_equal(got.cursor.batch, want.cursor.batch);
    assert_memory_equal(&got.cursor.loss_sum, &want.cursor.loss_sum, sizeof(double));
    assert_memory_equal(&got.cursor.last_loss, &want.cursor.last_loss, sizeof(double));
    assert_int_equal(got.n, want.n);
    for (size_t i = 0; i < want.n; i++) {
        const struct store_array *g = &got.arrays[i], *w = &want.arrays[i];
        assert_string_equal(g->name, w->name);
        assert_int_equal(g->rank, w->rank);
        assert_int_equal(g->shape[0], w->shape[0]);
        assert_int_equal(g->shape[1], w->shape[1]);
        assert_int_equal(g->velocity, w->velocity);
        assert_int_equal(g->n, w->n);
        assert_memory_equal(g->data, w->data, w->n * sizeof(float));
    }
    store_checkpoint_free(&got);
    store_checkpoint_free(&want);
}

static void assert_no_checkpoint(struct store *store, int64_t run, uint64_t step)
{
    struct tet_error error = {0};
    struct store_checkpoint c;
    assert_err(store_checkpoint_read(store, run, step, &c, &error), TET_NOT_FOUND, &error,
               "checkpoint");
    assert_null(c.arrays);
}

/* Metrics as text: "step:name=value " each. */
struct text {
    char s[4096];
    size_t rows, stop_after;
};

static bool see_metric(void *context, const char *series, uint64_t step, double value)
{
    struct text *text = context;
    size_t n = strlen(text->s);
    snprintf(text->s + n, sizeof text->s - n, "%llu:%s=%g ", (unsigned long long)step, series,
             isnan(value) ? -99.0 : value);
    return ++text->rows != text->stop_after;
}

static const char *metrics(struct store *store, int64_t run, struct text *text)
{
    struct tet_error error = {0};
    uint64_t next;
    bool more;
    *text = (struct text){0};
    assert_ok(
        store_metrics_read(store, run, 0, UINT64_MAX, NULL, see_metric, text, &next, &more, &error),
        &error);
    assert_false(more);
    return text->s;
}

static const char *finals(struct store *store, int64_t run, struct text *text)
{
    struct tet_error error = {0};
    *text = (struct text){0};
    assert_ok(store_final_read(store, run, see_metric, text, &error), &error);
    return text->s;
}

static void report(struct store *store, int64_t run, uint64_t step, enum tet_series series,
                   uint32_t layer, double value)
{
    struct tet_record record = {.step = step, .series = series, .layer = layer, .value = value};
    store_metrics(store, run, &record, 1);
}

/* Everything posted before is in the database once this returns. */
static void flush(struct store *store)
{
    struct tet_error error = {0};
    assert_ok(store_max_pages(store, 0, &error), &error);
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
    struct store_new_run run = {"{\"rule\":\"sal\"}", "sha256:r", "{\"seed\":1}", 1, 1};
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
    struct store_new_run runs[2] = {{"{}", "h", "{}", 1, 1}, {"{}", "h", "{}", 1, 1}};
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

/* ---- metrics ---- */

static void test_metrics(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    struct store *store = open_store();
    int64_t other = submit(store, "m", 2, 1).first_run, run = other + 1;
    struct tet_record records[] = {
        {10, TET_SERIES_NORM_W, 2, 0.5},         {10, TET_SERIES_NORM_W, 1, 0.25},
        {20, TET_SERIES_NORM_W, 1, NAN},         {20, TET_SERIES_TRAIN_LOSS, 0, INFINITY},
        {20, TET_SERIES_TEST_ACCURACY, 0, 0.75}, {30, TET_SERIES_NORM_W, 1, 4},
    };
    store_metrics(store, run, records, 4);
    store_metrics(store, run, records + 4, 2);
    store_metrics(store, run, records, 0);
    report(store, other, 15, TET_SERIES_NORM_W, 1, 8);
    flush(store);
    assert_string_equal(metrics(store, run, &text),
                        "10:norm/W/1=0.25 10:norm/W/2=0.5 20:norm/W/1=-99 20:test/accuracy=0.75 "
                        "20:train/loss=-99 30:norm/W/1=4 ");
    assert_string_equal(finals(store, run, &text),
                        "30:norm/W/1=4 10:norm/W/2=0.5 20:test/accuracy=0.75 20:train/loss=-99 ");
    assert_int_equal(read_run(store, run).step, 30);

    uint64_t next;
    bool more;
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 0, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 5); // step 20 is whole
    assert_true(more);
    assert_int_equal(next, 20);
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 20, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_string_equal(text.s, "30:norm/W/1=4 ");
    assert_false(more);
    assert_int_equal(next, 30);
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 30, 3, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 0);
    assert_int_equal(next, 30);

    assert_ok(store_metrics_read(store, run, 0, 2, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 2); // the bound is met at a step's end
    assert_true(more);
    assert_int_equal(next, 10);

    text = (struct text){.stop_after = 3}; // inside step 20
    assert_ok(store_metrics_read(store, run, 0, 99, NULL, see_metric, &text, &next, &more, &error),
              &error);
    assert_int_equal(text.rows, 3);
    assert_true(more);
    assert_int_equal(next, 10);

    const char *const names[] = {"test/accuracy", "unknown", "norm/W/2", NULL};
    text = (struct text){0};
    assert_ok(store_metrics_read(store, run, 0, 99, names, see_metric, &text, &next, &more, &error),
              &error);
    assert_string_equal(text.s, "10:norm/W/2=0.5 20:test/accuracy=0.75 ");
    text = (struct text){0};
    assert_ok(
        store_metrics_read(store, run, 0, 99, names + 3, see_metric, &text, &next, &more, &error),
        &error);
    assert_int_equal(text.rows, 0);

    struct tet_record twice[2] = {{30, TET_SERIES_NORM_W, 1, 6}, {30, TET_SERIES_NORM_W, 1, 5}};
    store_metrics(store, run, twice, 2); // again: takes its place, the last one
    flush(store);
    assert_non_null(strstr(metrics(store, run, &text), " 30:norm/W/1=5 "));
    assert_string_equal(finals(store, run, &text),
                        "30:norm/W/1=5 10:norm/W/2=0.5 20:test/accuracy=0.75 20:train/loss=-99 ");
    metrics(store, run, &text);
    assert_int_equal(text.rows, 6);
    store_close(store);
}

/* Records of a run that is not there cannot be kept; the loss shows at its checkpoint, not before
 * it. */
static void test_lost_records(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store *store = open_store();
    struct store_checkpoint c = make_checkpoint(1, 1);
    submit(store, "x", 1, 1);
    int64_t run = claim(store);
    report(store, 77, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    assert_err(store_checkpoint_write(store, 77, &c, 2, true, &error), TET_DATABASE, &error, "77");
    assert_null(c.arrays);
    report(store, run, 1, TET_SERIES_TRAIN_LOSS, 0, 1);
    write_checkpoint(store, run, 1, 1, true);
    store_close(store);
}

/* ---- checkpoints ---- */

static void test_checkpoint(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_limits limits = STORE_LIMITS;
    struct store *store;
    limits.chunk_bytes = 100; // many chunks, the last one shorter
    assert_ok(store_open_limited(&store, path, &limits, &error), &error);
    submit(store, "c", 2, 1);
    int64_t run = claim(store);
    assert_no_checkpoint(store, run, 0);
    write_checkpoint(store, run, 5, 2, true);
    assert_same_checkpoint(store, run, 0, 5, 2);
    assert_same_checkpoint(store, run, 5, 5, 2);
    assert_no_checkpoint(store, run, 4);

    write_checkpoint(store, run, 6, 2, false);
    write_checkpoint(store, run, 7, 2, true);
    assert_no_checkpoint(store, run, 5);
    assert_same_checkpoint(store, run, 6, 6, 2);
    write_checkpoint(store, run, 7, 9, true); // after the evaluation at the same step
    assert_same_checkpoint(store, run, 0, 7, 9);
    assert_same_checkpoint(store, run, 6, 6, 2);
    assert_int_equal(read_run(store, run).step, 7);

    struct store_checkpoint last = make_checkpoint(8, 9);
    struct store_ending e = {.state = RUN_SUCCEEDED, .step = 8, .checkpoint = &last, .keep = 1};
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_null(last.arrays);
    assert_no_checkpoint(store, run, 7);
    assert_same_checkpoint(store, run, 0, 8, 9);

    struct store_checkpoint empty = {.cursor = {.step = 3}};
    run = claim(store);
    assert_ok(store_checkpoint_write(store, run, &empty, 0, true, &error), &error);
    assert_ok(store_checkpoint_read(store, run, 0, &empty, &error), &error);
    assert_int_equal(empty.n, 0);
    store_checkpoint_free(&empty);

    struct store_checkpoint nobodys = make_checkpoint(1, 1);
    assert_err(store_checkpoint_write(store, 99, &nobodys, 2, true, &error), TET_NOT_FOUND, &error,
               "99");
    store_close(store);
}

/* A shutdown: the run goes back with its checkpoint and goes on. */
static void test_give_back(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct text text;
    struct store *store = open_store();
    submit(store, "g", 1, 1);
    int64_t run = claim(store);
    struct tet_record records[] = {{1, TET_SERIES_TRAIN_LOSS, 0, 1},
                                   {2, TET_SERIES_TRAIN_LOSS, 0, 2},
                                   {2, TET_SERIES_TEST_LOSS, 0, 2}}; // one more than the cursor's
    store_metrics(store, run, records, 3);
    struct store_checkpoint c = make_checkpoint(2, 2);
    struct store_ending e = {
        .state = RUN_QUEUED, .reason = "server stopped", .step = 2, .checkpoint = &c};
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 2:train/loss=2 ");

    struct store_claim again;
    bool found, blocked;
    assert_ok(store_claim(store, 0, 9, &again, &found, &blocked, &error), &error);
    assert_true(found && again.resumed);
    store_claim_free(&again);
    assert_same_checkpoint(store, run, 0, 2, 2);
    report(store, run, 3, TET_SERIES_TRAIN_LOSS, 0, 3);
    e = (struct store_ending){.state = RUN_QUEUED, .step = 3}; // without: back to the last one
    assert_ok(store_end(store, run, &e, &error), &error);
    assert_string_equal(metrics(store, run, &text), "1:train/loss=1 2:train/loss=2 ");
    assert_int_equal(read_run(store, run).step, 2);
    store_close(store);
}

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

/* ---- whose file ---- */

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static char *read_file(size_t *n)
{
    static char content[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    *n = fread(content, 1, sizeof content, file);
    (void)fclose(file);
    return content;
}

static void refuse(const char *name, enum tet_err expected, const char *says)
{
    struct tet_error error = {0};
    struct store *store;
    assert_err(store_open(&store, name, &error), expected, &error, says);
    assert_null(store);
    if (*name != '\0' && strstr(error.message, "lab") == NULL)
        fail_msg("\"%s\" does not name the file", error.message);
}

/* A foreign file stays as it is, and nothing appears beside it. */
static void refuse_untouched(enum tet_err expected, const char *says)
{
    char before[1 << 16], name[320];
    size_t n, m;
    memcpy(before, read_file(&n), sizeof before);
    refuse(path, expected, says);
    char *content = read_file(&m);
    assert_int_equal(m, n);
    assert_memory_equal(content, before, n);
    for (const char *const *suffix = (const char *const[]){".lock", "-wal", "-shm", NULL};
         *suffix != NULL; suffix++) {
        snprintf(name, sizeof name, "%s%s", path, *suffix);
        assert_int_equal(access(name, F_OK), -1);
    }
}

static void test_foreign_files(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    write_file(path, "Dear diary, this is not a database at all.");
    refuse_untouched(TET_DATABASE, "not a database");
    assert_int_equal(remove(path), 0);

    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "CREATE TABLE theirs (x); PRAGMA user_version = 1;", &error), &error);
    db_close(&db);
    refuse_untouched(TET_DATABASE, "another program");
    assert_int_equal(remove(path), 0);

    write_file(path, ""); // as mktemp leaves it: fine
    store_close(open_store());

    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, "PRAGMA user_version = 2;", &error), &error);
    db_close(&db);
    refuse(path, TET_CONFLICT, "schema version 2");

    int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, "\0\0\0\1", 4, 60),
                     4); // the version again, but pages are cut off
    assert_int_equal(ftruncate(file, 4096 + 100), 0);
    assert_int_equal(close(file), 0);
    refuse(path, TET_DATABASE, "damaged");
}

static void test_unusable_paths(void **state)
{
    (void)state;
    char name[320];
    refuse("", TET_IO, "");
    snprintf(name, sizeof name, "%s/none/lab.db", folder);
    refuse(name, TET_IO, "No such file");
    assert_int_equal(mkdir(path, 0700), 0);
    refuse(path, TET_IO, "folder");
    snprintf(name, sizeof name, "%s/lab.fifo", folder);
    assert_int_equal(mkfifo(name, 0600), 0);
    refuse(name, TET_IO, "ordinary file");
    refuse("/proc/lab.db", TET_IO, "lock file");
    if (geteuid() != 0) { // root may write anywhere
        snprintf(name, sizeof name, "%s/lab.sealed", folder);
        assert_int_equal(mkdir(name, 0500), 0);
        strcat(name, "/lab.db");
        refuse(name, TET_IO, "Permission denied");
    }
}

static void test_in_use(void **state)
{
    (void)state;
    char link[320], name[320];
    struct store *store = open_store();
    refuse(path, TET_CONFLICT, "in use");
    snprintf(link, sizeof link, "%s/lab.link", folder);
    assert_int_equal(symlink(path, link), 0);
    refuse(link, TET_CONFLICT, "in use");
    snprintf(name, sizeof name, "%s/../%s/lab.db", folder, strrchr(folder, '/') + 1);
    refuse(name, TET_CONFLICT, "in use");
    submit(store, "still works", 1, 1);
    store_close(store);
    store = open_store();
    assert_counts(store, 1, 1, 0, 0, 0);
    store_close(store);
    store_close(NULL);
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
        runs[i] = (struct store_new_run){"{\"rule\":\"sal\"}", "h", "{\"seed\":1}", 1, 1};
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
        records[i] = (struct tet_record){i + 1, TET_SERIES_TRAIN_LOSS, 0, (double)i};
    fill(store);
    store_metrics(store, run, records, 1000);
    store_metrics(store, run, records + 1000, 1000);

    struct store_receipt receipt;
    struct store_new_run new_run = {"{}", "h", "{}", 1, 1};
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
    assert_err(store_submit(store, &s, &receipt, &error), TET_BUSY, &error, "disk is full");
    error = (struct tet_error){0};
    assert_err(store_health(store, &error), TET_BUSY, &error, "disk is full");

    /* Small enough to fit, but not before the run's metrics. */
    struct store_ending e = {.state = RUN_SUCCEEDED, .step = 2000, .digest = "sha256:d"};
    error = (struct tet_error){0};
    assert_err(store_end(store, run, &e, &error), TET_BUSY, &error, "disk is full");
    struct store_checkpoint small = {.cursor = {.step = 2000, .records = 2000}};
    error = (struct tet_error){0};
    assert_err(store_checkpoint_write(store, run, &small, 2, true, &error), TET_BUSY, &error,
               "disk is full");
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
        records[i] = (struct tet_record){i + 1, TET_SERIES_TRAIN_LOSS, 0, (double)i};
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
    struct store_new_run run = {"{}", "h", "{}", 1, 1};
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
        records[i] = (struct tet_record){i + 2, TET_SERIES_TRAIN_LOSS, 0, (double)i};
    fill(store);
    struct blocked b = {store, records};
    assert_int_equal(pthread_create(&thread, NULL, post_much, &b), 0);
    while (store_health(store, NULL) == TET_OK)
        sched_yield();
    store_no_wait(store);
    assert_int_equal(pthread_join(thread, NULL), 0);
    flush(store);

    struct store_checkpoint c = make_checkpoint(2, 2);
    assert_err(store_checkpoint_write(store, run, &c, 2, true, &error), TET_DATABASE, &error,
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_submit),
        TEST(test_idempotency),
        TEST(test_durable),
        TEST(test_queue_bound),
        TEST(test_claim_order),
        TEST(test_life),
        TEST(test_cancel),
        TEST(test_list),
        TEST(test_experiment_state),
        TEST(test_metrics),
        TEST(test_lost_records),
        TEST(test_checkpoint),
        TEST(test_give_back),
        TEST(test_crash_exit),
        TEST(test_crash_kill),
        TEST(test_acknowledged_survives),
        TEST(test_foreign_files),
        TEST(test_unusable_paths),
        TEST(test_in_use),
        TEST(test_many_threads),
        TEST(test_large_queue),
        TEST(test_full_disk),
        TEST(test_recovers_alone),
        TEST(test_full_disk_at_shutdown),
        TEST(test_held),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
