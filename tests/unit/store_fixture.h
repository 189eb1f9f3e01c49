// SPDX-License-Identifier: Apache-2.0
/*
 * For the store's tests: a folder for each, submissions, runs, metrics and checkpoints.
 *
 * Each test works in a folder of its own under $TMPDIR, which is removed. Nothing sleeps to wait
 * for something.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal.h"
#include "store/queue.h"

/* ---- the folder ---- */

static char folder[256];
static char path[300];

static inline int remove_one(const char *name, const struct stat *status, int type,
                             struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(name);
}

static inline int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/tetrad-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/lab.db", folder);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline void assert_ok(enum tet_err err, const struct tet_error *error)
{
    if (err != TET_OK)
        fail_msg("%s: %s", tet_err_code(err), error->message);
}

/* That it failed so, with a sentence that names what it is about. */
static inline void assert_err(enum tet_err err, enum tet_err expected,
                              const struct tet_error *error, const char *names)
{
    if (err != expected || error->err != expected)
        fail_msg("got %s (%s), expected %s", tet_err_code(err), error->message,
                 tet_err_code(expected));
    if (strstr(error->message, names) == NULL || strchr(error->message, '\n') != NULL)
        fail_msg("\"%s\" does not name \"%s\" in one line", error->message, names);
}

static inline struct store *open_store(void)
{
    struct tet_error error = {0};
    struct store *store;
    assert_ok(store_open(&store, path, &error), &error);
    return store;
}

static inline struct store_receipt submit(struct store *store, const char *name, size_t n,
                                          uint64_t memory_bytes)
{
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_new_run *runs = calloc(n, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < n; i++)
        runs[i] = (struct store_new_run){
            "{\"rule\":\"sal\"}", "sha256:run", "{\"seed\":1}", 100, memory_bytes, 0.0, 1};
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

static inline int64_t claim(struct store *store)
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
    char divergence[STORE_REASON];
};

static inline bool see_run(void *context, const struct store_run *run)
{
    struct seen_run *seen = context;
    seen->n++;
    seen->id = run->id;
    seen->state = run->state;
    snprintf(seen->reason, sizeof seen->reason, "%s", run->reason != NULL ? run->reason : "-");
    snprintf(seen->digest, sizeof seen->digest, "%s", run->digest != NULL ? run->digest : "-");
    snprintf(seen->divergence, sizeof seen->divergence, "%s",
             run->divergence != NULL ? run->divergence : "-");
    seen->step = run->step;
    seen->attempts = run->attempts;
    seen->seconds = run->train_seconds;
    seen->started_ms = run->started_ms;
    seen->ended_ms = run->ended_ms;
    assert_string_equal(run->definition, "{\"rule\":\"sal\"}");
    assert_string_equal(run->parameters, "{\"seed\":1}");
    return true;
}

static inline struct seen_run read_run(struct store *store, int64_t run)
{
    struct tet_error error = {0};
    struct seen_run seen = {0};
    assert_ok(store_run_read(store, run, see_run, &seen, &error), &error);
    assert_int_equal(seen.n, 1);
    return seen;
}

static inline bool see_experiment(void *context, const struct store_experiment *experiment)
{
    memcpy(context, experiment->runs, sizeof experiment->runs);
    return true;
}

static inline void assert_counts(struct store *store, int64_t experiment, uint64_t queued,
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

static inline void end(struct store *store, int64_t run, enum run_state state, const char *reason)
{
    struct tet_error error = {0};
    struct store_ending e = {.state = state, .step = 7, .train_seconds = 1.5};
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    if (state == RUN_SUCCEEDED)
        snprintf(e.digest, sizeof e.digest, "sha256:d");
    assert_ok(store_end(store, run, &e, &error), &error);
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum { ROWS = 37, COLUMNS = 29 };

/* Three arrays with every kind of float, a cursor with every kind of number. */
static inline struct store_checkpoint make_checkpoint(uint64_t step, uint64_t records)
{
    uint64_t nan_bits = 0x7ff8dead0000beef;
    struct store_checkpoint c = {
        .cursor = {.step = step,
                   .records = records,
                   .loss_sum = -0.0,
                   .correct = UINT64_MAX - 3,
                   .epoch = UINT32_MAX,
                   .batch = 3},
        .n = 3,
        .arrays = calloc(3, sizeof *c.arrays),
    };
    memcpy(&c.cursor.last_loss, &nan_bits, sizeof nan_bits);
    assert_non_null(c.arrays);
    c.arrays[0] = (struct store_array){
        .name = "W1", .rank = 2, .shape = {ROWS, COLUMNS}, .n = ROWS * COLUMNS};
    c.arrays[1] = (struct store_array){
        .name = "velocity/b1", .rank = 1, .shape = {5, 1}, .n = 5, .state = true};
    c.arrays[2] =
        (struct store_array){.name = "W2", .rank = 4, .shape = {3, 2, 4, 5}, .n = 3 * 2 * 4 * 5};
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

#define KEEP_2 ((struct store_keep){.last = 2})

static inline void write_checkpoint(struct store *store, int64_t run, uint64_t step,
                                    uint64_t records, bool wait)
{
    struct tet_error error = {0};
    struct store_checkpoint c = make_checkpoint(step, records);
    assert_ok(store_checkpoint_write(store, run, &c, KEEP_2, wait, &error), &error);
    assert_null(c.arrays);
}

static inline void assert_same_checkpoint(struct store *store, int64_t run, uint64_t ask,
                                          uint64_t step, uint64_t records)
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
        assert_memory_equal(g->shape, w->shape, sizeof w->shape);
        assert_int_equal(g->state, w->state);
        assert_int_equal(g->n, w->n);
        assert_memory_equal(g->data, w->data, w->n * sizeof(float));
    }
    store_checkpoint_free(&got);
    store_checkpoint_free(&want);
}

static inline void assert_no_checkpoint(struct store *store, int64_t run, uint64_t step)
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

static inline bool see_metric(void *context, const char *series, uint64_t step, double value)
{
    struct text *text = context;
    size_t n = strlen(text->s);
    snprintf(text->s + n, sizeof text->s - n, "%llu:%s=%g ", (unsigned long long)step, series,
             isnan(value) ? -99.0 : value);
    return ++text->rows != text->stop_after;
}

static inline const char *metrics(struct store *store, int64_t run, struct text *text)
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

static inline const char *finals(struct store *store, int64_t run, struct text *text)
{
    struct tet_error error = {0};
    *text = (struct text){0};
    assert_ok(store_final_read(store, run, see_metric, text, &error), &error);
    return text->s;
}

static inline void report(struct store *store, int64_t run, uint64_t step, enum tet_series series,
                          uint32_t layer, double value)
{
    struct tet_record record = {.step = step, .series = series, .layer = layer, .value = value};
    store_metrics(store, run, &record, 1);
}

/* Everything posted before is in the database once this returns. */
static inline void flush(struct store *store)
{
    struct tet_error error = {0};
    assert_ok(store_max_pages(store, 0, &error), &error);
}

struct store_cancelled {
    uint64_t queued, running, finished;
};

/* Cancels an experiment's runs (run = 0) or one run; *ids: the running ones', for the caller to free. */
static inline enum tet_err store_cancel(struct store *store, int64_t experiment, int64_t run,
                                        struct store_cancelled *counts, int64_t **ids,
                                        struct tet_error *error)
{
    struct store_order order = {
        .action = STORE_CANCEL, .run = run, .experiments = &experiment, .n = 1};
    struct store_acted acted;
    *ids = NULL;
    *counts = (struct store_cancelled){0};
    enum tet_err err = store_act(store, &order, &acted, error);
    if (err != TET_OK)
        return err;
    *counts = (struct store_cancelled){acted.queued, acted.running, acted.finished};
    *ids = acted.ids;
    return TET_OK;
}

#endif
