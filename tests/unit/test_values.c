// SPDX-License-Identifier: Apache-2.0
/* One series over all runs of an experiment: which record is found, and how long it takes. */
#include "store_fixture.h"

#include <time.h>

#include "results/summary.h"

enum { RUNS = 10000, EPOCHS = 10 };

/* Ten thousand runs of 10 epochs of 3 steps, 50 seeds a point; run r has test/accuracy
 * (r % 7 + step) / 100, and a validation/loss that is lowest at epoch r % 10 + 1. All succeeded,
 * but every hundredth, which diverged and has nothing. Written past the writer, which has nothing
 * to do yet. */
static const char fill[] =
    "BEGIN;"
    "INSERT INTO experiment (owner, name, hash, created_ms, tags, definition)"
    " VALUES ('local', 'many', 'sha256:a', 1, '[]', '{}');"
    "INSERT INTO series (name) VALUES ('test/accuracy'), ('validation/loss'), ('norm/W/1');"
    "INSERT INTO run (experiment, state, steps, memory_bytes, created_ms, hash, parameters)"
    " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
    " SELECT 1, iif(i % 100 = 0, 'diverged', 'succeeded'), 30, 1, 1, 'sha256:run',"
    " json_object('optimizer.lr', i / 50, 'training.seed', i % 50) FROM n;"
    "INSERT INTO run_definition (run, definition) SELECT id, '{\"dataset\":{\"train\":60,"
    "\"validation\":10},\"training\":{\"batch\":20,\"epochs\":10}}' FROM run;"
    "INSERT INTO metric (run, step, series, sequence, value)"
    " WITH RECURSIVE e (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM e WHERE i < 10)"
    " SELECT r.id, 3 * e.i, s.id, 0, CASE s.id WHEN 1 THEN (r.id % 7 + 3 * e.i) / 100.0"
    " WHEN 2 THEN abs(e.i - (r.id % 10 + 1)) + 0.5 ELSE 1.0 END"
    " FROM run r, e, series s WHERE r.id % 100 <> 0;"
    "INSERT INTO final (run, series, step, value)"
    " SELECT run, series, step, value FROM metric WHERE step = 30;"
    "COMMIT;";

static struct store *open_filled(void)
{
    struct tet_error error = {0};
    struct store *store = open_store();
    struct db db;
    assert_ok(db_open(&db, path, false, &error), &error);
    assert_ok(db_exec(&db, fill, &error), &error);
    db_close(&db);
    return store;
}

struct check {
    enum store_at at;
    uint64_t number;
    size_t n;
    int64_t last;
};

static uint64_t expected_step(const struct check *c, int64_t run)
{
    const uint64_t best = 3 * ((uint64_t)run % 10 + 1);
    switch (c->at) {
    case STORE_AT_FINAL:
        return 30;
    case STORE_AT_STEP:
        return c->number;
    case STORE_AT_EPOCH:
        return 3 * c->number;
    case STORE_AT_LOWEST:
        return best;
    case STORE_AT_HIGHEST:
        return run % 10 < 5 ? 30 : 3; // farthest; of two the first
    case STORE_AT_ALL:
        break;
    }
    return c->last == run ? 3 * (c->n % 10 + 1) : 3;
}

static bool check(void *context, const struct store_value *v)
{
    struct check *c = context;
    if (c->at == STORE_AT_ALL && v->run != c->last)
        c->n = 0;
    const uint64_t step = expected_step(c, v->run);
    const bool diverged = v->run % 100 == 0;
    assert_int_equal(v->state, diverged ? RUN_DIVERGED : RUN_SUCCEEDED);
    if (diverged ? v->step != 0 || !isnan(v->value)
                 : v->step != step || v->value != ((double)(v->run % 7) + (double)step) / 100.0)
        fail_msg("at %d, run %lld: step %llu, value %g; expected step %llu", (int)c->at,
                 (long long)v->run, (unsigned long long)v->step, v->value,
                 (unsigned long long)step);
    assert_true(c->at == STORE_AT_ALL ? v->run >= c->last : v->run == c->last + 1);
    c->last = v->run;
    c->n++;
    return true;
}

static void records(struct store *store)
{
    struct tet_error error = {0};
    static const struct check checks[] = {{STORE_AT_FINAL, 0, 0, 0},   {STORE_AT_STEP, 12, 0, 0},
                                          {STORE_AT_EPOCH, 4, 0, 0},   {STORE_AT_LOWEST, 0, 0, 0},
                                          {STORE_AT_HIGHEST, 0, 0, 0}, {STORE_AT_ALL, 0, 0, 0}};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct check c = checks[i];
        const struct store_question q = {1, "test/accuracy", c.at, c.number, "validation/loss"};
        assert_ok(store_values_read(store, &q, check, &c, &error), &error);
        assert_int_equal(c.last, RUNS);
    }
}

static bool count_nothing(void *context, const struct store_value *v)
{
    assert_true(v->step == 0 && isnan(v->value));
    ++*(size_t *)context;
    return true;
}

static void missing(struct store *store)
{
    struct tet_error error = {0};
    const struct store_question questions[] = {
        {1, "train/loss", STORE_AT_FINAL, 0, NULL},          // nobody has it
        {1, "test/accuracy", STORE_AT_STEP, 13, NULL},       // not at this step
        {1, "test/accuracy", STORE_AT_EPOCH, 11, NULL},      // past the last
        {1, "test/accuracy", STORE_AT_LOWEST, 0, "none/at"}, // nothing to go by
    };
    for (size_t i = 0; i < 4; i++) {
        size_t n = 0;
        assert_ok(store_values_read(store, &questions[i], count_nothing, &n, &error), &error);
        assert_int_equal(n, RUNS);
    }
    size_t n = 0;
    const struct store_question none = {2, "test/accuracy", STORE_AT_FINAL, 0, NULL};
    assert_ok(store_values_read(store, &none, count_nothing, &n, &error), &error);
    assert_int_equal(n, 0);
}

/* What a summary of that many runs takes, with all its pairs. */
static void in_a_second(struct store *store)
{
    struct tet_error error = {0};
    struct summary *s = summary_create();
    json_t *baseline = json_pack("{s:i}", "optimizer.lr", 3);
    const struct store_question q = {1, "test/accuracy", STORE_AT_FINAL, 0, NULL};
    const clock_t start = clock();
    assert_ok(store_values_read(store, &q, summary_add, s, &error), &error);
    assert_ok(summary_compare(s, baseline, &error), &error);
    json_t *value = summary_json(s, false);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("a summary of %d runs: %.3f s\n", RUNS, seconds);
    assert_int_equal(summary_values(s), RUNS - RUNS / 100);
    assert_int_equal(json_integer_value(json_object_get(value, "comparisons")),
                     199);      // of 201 points: the last has one run alone, and that diverged
    assert_true(seconds < 2.0); // a sanitizer's build, too
    json_decref(value);
    json_decref(baseline);
    summary_free(s);
}

static void test_values(void **state)
{
    (void)state;
    struct store *store = open_filled();
    records(store);
    missing(store);
    in_a_second(store);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
