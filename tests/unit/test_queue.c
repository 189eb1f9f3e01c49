// SPDX-License-Identifier: Apache-2.0
/*
 * Fair share: a whole lab on a clock of its own. Workers claim from the real store and end their
 * runs after the time that each is given; nothing waits.
 */
#include <unistd.h>

#include "store_fixture.h"

#include "store/share.h"

/* What reaches the disk is no matter here; a claim and an end cost microseconds without. */
int fdatasync(int file)
{
    (void)file;
    return 0;
}

enum { WORKERS = 8, USERS = 4, RUNS = 4000, HOUR = 3600 };

/* ---- a lab ---- */

struct lab {
    struct store *store;
    size_t workers;
    int64_t run[WORKERS]; // 0: idle
    int64_t end_ms[WORKERS], began[WORKERS];
    size_t user[WORKERS];
    uint8_t owner[RUNS]; // of a run, by its id
    uint32_t done[USERS], running[USERS], most[USERS];
    double seconds[USERS];  // of workers
    int64_t last_ms[USERS]; // end of the last run
    uint64_t seed;
};

static const char *const users[USERS] = {"ana", "bo", "cy", "di"};

static void lab_open(struct lab *lab, size_t workers)
{
    *lab = (struct lab){.store = open_store(), .workers = workers, .seed = 1};
    lab->store->clock_ms = 1000000000000;
}

/* The table is the users' own: whatever else it has keeps its default. */
static void set_user(struct lab *lab, const char *name, double weight, int cap)
{
    struct tet_error error = {0};
    char sql[300], limit[20] = "NULL";
    if (cap > 0)
        snprintf(limit, sizeof limit, "%d", cap);
    snprintf(sql, sizeof sql,
             "INSERT OR REPLACE INTO user (name, weight, cap, created_ms)"
             " VALUES ('%s', %f, %s, 1);",
             name, weight, limit);
    flush(lab->store); // the writer is idle from here on
    assert_ok(db_exec(&lab->store->db, sql, &error), &error);
}

static struct store_receipt submit_as(struct lab *lab, size_t user, size_t n, uint64_t memory)
{
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct store_new_run *runs = calloc(n, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < n; i++)
        runs[i] = (struct store_new_run){
            "{\"rule\":\"sal\"}", "sha256:run", "{\"seed\":1}", 100, memory, 0.0, 1};
    const struct store_submission s = {.name = "n",
                                       .owner = users[user],
                                       .definition = "{}",
                                       .hash = "sha256:a",
                                       .n_runs = n,
                                       .runs = runs};
    assert_ok(store_submit(lab->store, &s, &receipt, &error), &error);
    free(runs);
    for (size_t i = 0; i < n; i++) {
        assert_true(receipt.first_run + (int64_t)i < RUNS);
        lab->owner[receipt.first_run + (int64_t)i] = (uint8_t)user;
    }
    return receipt;
}

/* Numerical Recipes' generator. */
static double uniform(struct lab *lab)
{
    lab->seed = lab->seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(lab->seed >> 11) / 9007199254740992.0;
}

static void claim_all(struct lab *lab, double least_s, double most_s)
{
    for (size_t w = 0; w < lab->workers; w++) {
        const int64_t run = lab->run[w] == 0 ? claim(lab->store) : 0;
        if (run == 0)
            continue;
        const double s = least_s + (most_s - least_s) * uniform(lab);
        const size_t u = lab->owner[run];
        lab->run[w] = run;
        lab->user[w] = u;
        lab->began[w] = lab->store->clock_ms;
        lab->end_ms[w] = lab->store->clock_ms + (int64_t)(s * 1000.0);
        lab->running[u]++;
        if (lab->running[u] > lab->most[u])
            lab->most[u] = lab->running[u];
    }
}

/* To the next end, and all that end then; false: nothing runs. */
static bool go_on(struct lab *lab)
{
    int64_t next = INT64_MAX;
    for (size_t w = 0; w < lab->workers; w++)
        if (lab->run[w] != 0 && lab->end_ms[w] < next)
            next = lab->end_ms[w];
    if (next == INT64_MAX)
        return false;
    lab->store->clock_ms = next;
    for (size_t w = 0; w < lab->workers; w++) {
        const size_t u = lab->user[w];
        if (lab->run[w] == 0 || lab->end_ms[w] != next)
            continue;
        end(lab->store, lab->run[w], RUN_SUCCEEDED, "");
        lab->done[u]++;
        lab->running[u]--;
        lab->seconds[u] += (double)(next - lab->began[w]) / 1000.0;
        lab->last_ms[u] = next;
        lab->run[w] = 0;
    }
    return true;
}

static void assert_near(double got, double expected, double most)
{
    if (!(fabs(got - expected) <= most))
        fail_msg("%g is not within %g of %g", got, most, expected);
}

/* ---- equal users ---- */

/* Two with 50 runs each: at no time is one more than a run ahead, whoever came first. */
static void test_equal(void **state)
{
    (void)state;
    for (size_t workers = 1; workers <= 4; workers *= 2) {
        struct lab lab;
        lab_open(&lab, workers);
        submit_as(&lab, 0, 50, 1);
        submit_as(&lab, 1, 50, 1);
        do {
            claim_all(&lab, 10.0, 10.0);
            assert_in_range(lab.done[0] + 1, lab.done[1], lab.done[1] + 2);
        } while (go_on(&lab));
        assert_int_equal(lab.done[0] + lab.done[1], 100);
        assert_true(llabs(lab.last_ms[0] - lab.last_ms[1]) <= 10000);
        store_close(lab.store);
        assert_int_equal(teardown(NULL), 0);
        assert_int_equal(setup(NULL), 0);
    }
}

/* Runs of unlike lengths: time is shared, not runs. */
static void test_unlike_lengths(void **state)
{
    (void)state;
    for (size_t workers = 1; workers <= 4; workers *= 2) {
        struct lab lab;
        lab_open(&lab, workers);
        submit_as(&lab, 0, 50, 1);
        submit_as(&lab, 1, 50, 1);
        do {
            claim_all(&lab, 1.0, 19.0);
            if (lab.done[0] < 40 && lab.done[1] < 40)
                assert_true(fabs(lab.seconds[0] - lab.seconds[1]) <= 19.0 * ((double)workers + 1));
        } while (go_on(&lab));
        assert_int_equal(lab.done[0] + lab.done[1], 100);
        store_close(lab.store);
        assert_int_equal(teardown(NULL), 0);
        assert_int_equal(setup(NULL), 0);
    }
}

/* ---- weights and caps ---- */

static void test_weights(void **state)
{
    (void)state;
    for (size_t workers = 1; workers <= 4; workers *= 2) {
        struct lab lab;
        lab_open(&lab, workers);
        set_user(&lab, "bo", 3.0, 0);
        submit_as(&lab, 0, 400, 1);
        submit_as(&lab, 1, 400, 1);
        for (int i = 0; lab.done[1] < 300; i++) {
            claim_all(&lab, 5.0, 15.0);
            if (workers == 4 && i > 20)
                assert_in_range(lab.running[1], 2, 4);
            assert_true(go_on(&lab));
        }
        const double ratio = lab.seconds[1] / lab.seconds[0];
        if (ratio < 2.85 || ratio > 3.15)
            fail_msg("%zu workers: a weight of 3 has %g times the workers", workers, ratio);
        store_close(lab.store);
        assert_int_equal(teardown(NULL), 0);
        assert_int_equal(setup(NULL), 0);
    }
}

/* A cap of their own, and one for everybody; what a user may not have goes to others. */
static void test_caps(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, 4);
    lab.store->policy.max_running_each = 3;
    set_user(&lab, "ana", 1.0, 1);
    submit_as(&lab, 0, 20, 1);
    submit_as(&lab, 1, 40, 1);
    claim_all(&lab, 10.0, 10.0);
    assert_int_equal(lab.running[0], 1);
    assert_int_equal(lab.running[1], 3);
    while (go_on(&lab))
        claim_all(&lab, 10.0, 10.0);
    assert_int_equal(lab.most[0], 1);
    assert_int_equal(lab.most[1], 3); // alone at last, and still
    assert_int_equal(lab.done[0] + lab.done[1], 60);
    store_close(lab.store);
}

/* ---- over time ---- */

/* Who comes new is first, but not for ever: whoever was there has workers again within a half-life. */
static void test_newcomer(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, 2);
    lab.store->policy.half_life_s = 2.0 * HOUR;
    submit_as(&lab, 0, 1000, 1);
    for (int i = 0; i < 200; i++) { // 100 runs of 10 minutes on each worker: 16 hours
        claim_all(&lab, 600.0, 600.0);
        assert_true(go_on(&lab));
    }
    const int64_t came = lab.store->clock_ms;
    const uint32_t before = lab.done[0];
    submit_as(&lab, 1, 1000, 1);
    claim_all(&lab, 600.0, 600.0);
    assert_int_equal(lab.running[1], 2);
    while (lab.running[0] == 0) {
        assert_true(go_on(&lab));
        claim_all(&lab, 600.0, 600.0);
    }
    assert_int_equal(lab.done[0], before);
    const double hours = (double)(lab.store->clock_ms - came) / 3600e3;
    if (hours < 1.0 || hours > 2.0 + 0.2)
        fail_msg("the newcomer had all workers for %g hours, the half-life is 2", hours);
    const double from[2] = {lab.seconds[0], lab.seconds[1]};
    for (int i = 0; i < 100; i++) { // from now on they are equal
        assert_true(go_on(&lab));
        claim_all(&lab, 600.0, 600.0);
    }
    const double a = lab.seconds[0] - from[0], b = lab.seconds[1] - from[1];
    assert_true(a > 0.9 * b && b > 0.9 * a);
    store_close(lab.store);
}

/* A run that goes on and on counts while it does. */
static void test_long_run(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, 2);
    submit_as(&lab, 0, 1, 1);
    const int64_t long_run = claim(lab.store);
    lab.store->clock_ms += 1000 * HOUR;
    submit_as(&lab, 1, 1, 1);
    const int64_t other = claim(lab.store);
    lab.store->clock_ms += 500 * HOUR; // bo has had half of what ana has
    end(lab.store, other, RUN_SUCCEEDED, "");
    submit_as(&lab, 0, 2, 1);
    submit_as(&lab, 1, 2, 1);
    assert_int_equal(lab.owner[claim(lab.store)], 1);
    assert_int_equal(read_run(lab.store, long_run).state, RUN_RUNNING);
    store_close(lab.store);
}

static double recent(struct lab *lab, const char *user)
{
    struct tet_error error = {0};
    struct store_plan *plan;
    double seconds = 0.0;
    assert_ok(store_plan_take(lab->store, 2, NULL, 0, &plan, &error), &error);
    for (size_t i = 0; i < plan->n_shares; i++)
        if (strcmp(plan->shares[i].user, user) == 0)
            seconds = plan->shares[i].recent_seconds;
    store_plan_give(lab->store, plan);
    return seconds;
}

/* What a user has had halves, outlives the server, and has what runs now. */
static void test_recent(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, 1);
    submit_as(&lab, 0, 1, 1);
    const int64_t run = claim(lab.store);
    lab.store->clock_ms += 1000 * HOUR;
    assert_near(recent(&lab, "ana"), HOUR, 1.0);
    end(lab.store, run, RUN_SUCCEEDED, "");
    assert_near(recent(&lab, "ana"), HOUR, 1.0);
    const int64_t now = lab.store->clock_ms;
    store_close(lab.store);
    lab.store = open_store();
    lab.store->clock_ms = now + 1000 * (int64_t)STORE_HALF_LIFE_S;
    assert_near(recent(&lab, "ana"), HOUR / 2.0, 1.0);
    lab.store->clock_ms -= 2000 * (int64_t)STORE_HALF_LIFE_S; // a clock set back takes nothing
    assert_near(recent(&lab, "ana"), HOUR, 1.0);
    store_close(lab.store);
}

/* ---- what stays as it was ---- */

static void set_priority(struct lab *lab, int64_t run, int32_t priority)
{
    struct tet_error error = {0};
    struct store_acted acted;
    const struct store_order order = {.action = STORE_PRIORITY, .priority = priority, .run = run};
    assert_ok(store_act(lab->store, &order, &acted, &error), &error);
    assert_int_equal(acted.queued, 1);
}

/* Priority orders a user's own runs; a turn before others it is not. */
static void test_priority(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, 1);
    const int64_t a = submit_as(&lab, 0, 4, 1).first_run, b = submit_as(&lab, 1, 4, 1).first_run;
    set_priority(&lab, b + 2, 100);
    set_priority(&lab, a + 3, 1);
    set_priority(&lab, a, -100);
    const int64_t order[] = {b + 2, a + 3, b, a + 1, b + 1, a + 2, b + 3, a};
    int64_t first = claim(lab.store);
    assert_true(first == order[0] || first == order[1]);
    for (size_t i = 0; i < 8; i++) {
        const size_t k = first == order[0] ? i : i ^ 1; // whose turn is first: a tie
        assert_int_equal(i == 0 ? first : claim(lab.store), order[k]);
        lab.store->clock_ms += 60000;
        end(lab.store, order[k], RUN_SUCCEEDED, "");
    }
    store_close(lab.store);
}

/* A large run whose turn it is keeps its turn: nobody overtakes it, neither of its user's nor of
 * others'. */
static void test_memory(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct lab lab;
    struct store_claim got;
    bool found, blocked;
    lab_open(&lab, 2);
    const int64_t a = submit_as(&lab, 0, 3, 10).first_run;
    assert_int_equal(claim(lab.store), a);
    const int64_t b = submit_as(&lab, 1, 1, 1000).first_run;
    for (int i = 0; i < 3; i++) {
        assert_ok(store_claim(lab.store, 1, 100, &got, &found, &blocked, &error), &error);
        assert_true(blocked && !found);
        lab.store->clock_ms += 1000;
    }
    end(lab.store, a, RUN_SUCCEEDED, "");
    assert_int_equal(claim(lab.store), b);
    assert_int_equal(claim(lab.store), a + 1);
    store_close(lab.store);
}

/* ---- looking ahead ---- */

/* The plan's order is the order in which they are claimed, and its times are right. */
static void test_plan(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_plan *plan;
    struct lab lab;
    lab_open(&lab, 2);
    set_user(&lab, "bo", 2.0, 0);
    set_user(&lab, "cy", 1.0, 1);
    submit_as(&lab, 0, 1, 1);
    claim_all(&lab, 10.0, 10.0); // teaches how long a run takes
    assert_true(go_on(&lab));
    lab.done[0] = 0;
    submit_as(&lab, 0, 20, 1);
    submit_as(&lab, 1, 20, 1);
    const int64_t third = submit_as(&lab, 2, 20, 1).first_run;
    set_priority(&lab, third + 7, 5);
    claim_all(&lab, 10.0, 10.0);
    assert_ok(store_plan_take(lab.store, 2, NULL, 0, &plan, &error), &error);
    assert_int_equal(plan->length, 58);
    assert_int_equal(plan->n_ahead, 58);
    assert_int_equal(plan->n_going, 2);
    assert_int_equal(plan->n_shares, 3);
    assert_near(plan->going[0].left_s, 10.0, 0.01);
    const int64_t start = lab.store->clock_ms;
    for (size_t place = 0; place < plan->n_ahead; place += 2) {
        assert_true(go_on(&lab));
        claim_all(&lab, 10.0, 10.0);
        const double s = (double)(lab.store->clock_ms - start) / 1000.0;
        for (size_t k = place; k < place + 2; k++) {
            const struct store_ahead *a = &plan->ahead[k];
            assert_true(lab.run[0] == a->run || lab.run[1] == a->run);
            assert_int_equal(store_plan_place(plan, a->run), k + 1);
            assert_near(a->start_s, s, 0.01);
            assert_near(a->end_s, s + 10.0, 0.01);
            assert_string_equal(a->owner, users[lab.owner[a->run]]);
            assert_int_equal(a->priority, a->run == third + 7 ? 5 : 0);
        }
    }
    assert_int_equal(store_plan_place(plan, 999), 0);
    store_plan_give(lab.store, plan);
    assert_ok(store_plan_take(lab.store, 2, NULL, 0, &plan, &error), &error);
    assert_int_equal(plan->length, 0); // the queue has changed: another plan
    store_plan_give(lab.store, plan);
    store_close(lab.store);
}

/* Everybody at the cap: a plan ends all the same; and one that nobody can time has no times. */
static void test_plan_capped(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_plan *plan;
    struct lab lab;
    lab_open(&lab, 4);
    set_user(&lab, "ana", 1.0, 1);
    submit_as(&lab, 0, 1500, 1);
    assert_ok(store_plan_take(lab.store, 4, NULL, 0, &plan, &error), &error);
    assert_int_equal(plan->length, 1500);
    assert_int_equal(plan->n_ahead, STORE_AHEAD);
    assert_true(isnan(plan->ahead[1].start_s) && isnan(plan->ahead[0].end_s));
    for (size_t i = 1; i < plan->n_ahead; i++)
        assert_int_equal(plan->ahead[i].run, plan->ahead[i - 1].run + 1);
    store_plan_give(lab.store, plan);
    store_close(lab.store);
}

/* ---- bounds ---- */

static void test_bound_each(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct store_receipt receipt;
    struct lab lab;
    lab_open(&lab, 1);
    lab.store->policy.max_queued_each = 5;
    lab.store->policy.max_queued = 8;
    submit_as(&lab, 0, 4, 1);
    struct store_new_run runs[4] = {{"{}", "h", "{}", 1, 1, 0.0, 1},
                                    {"{}", "h", "{}", 1, 1, 0.0, 1},
                                    {"{}", "h", "{}", 1, 1, 0.0, 1},
                                    {"{}", "h", "{}", 1, 1, 0.0, 1}};
    struct store_submission s = {
        .name = "n", .owner = "ana", .definition = "{}", .hash = "h", .n_runs = 2, .runs = runs};
    assert_err(store_submit(lab.store, &s, &receipt, &error), TET_TOO_MANY, &error, "ana");
    submit_as(&lab, 1, 4, 1); // bo has room of their own
    s.n_runs = 1;
    error = (struct tet_error){0};
    assert_err(store_submit(lab.store, &s, &receipt, &error), TET_BUSY, &error, "at most 8");
    claim(lab.store);
    error = (struct tet_error){0};
    assert_ok(store_submit(lab.store, &s, &receipt, &error), &error);
    store_close(lab.store);
}

/* ---- databases from before ---- */

/* A database of version 6 with work in it: runs get their owners and threads, users their places. */
static void test_upgrade(void **state)
{
    (void)state;
    struct tet_error error = {0};
    struct db db;
    const char *const versions[] = {embed_sql_0001, embed_sql_0002, embed_sql_0003,
                                    embed_sql_0004, embed_sql_0005, embed_sql_0006};
    assert_ok(db_open(&db, path, false, &error), &error);
    for (size_t i = 0; i < 6; i++)
        assert_ok(db_exec(&db, versions[i], &error), &error);
    char mark[100];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = 6;",
             (int)STORE_APPLICATION_ID);
    assert_ok(db_exec(&db, mark, &error), &error);
    static const char work[] =
        "INSERT INTO experiment (id, owner, name, hash, created_ms, tags, definition)"
        " VALUES (1, 'ana', 'n', 'h', 1, '[]', '{}'), (2, 'bo', 'n', 'h', 1, '[]', '{}');"
        "INSERT INTO run (id, experiment, state, steps, memory_bytes, created_ms, hash, parameters)"
        " VALUES (1, 1, 'running', 9, 1, 1, 'h', '{}'), (2, 1, 'queued', 9, 1, 1, 'h', '{}'),"
        " (3, 2, 'queued', 9, 1, 1, 'h', '{}'), (4, 2, 'paused', 9, 1, 1, 'h', '{}');"
        "INSERT INTO run_definition VALUES (1, '{\"training\":{\"threads\":4}}'), (2, '{}'),"
        " (3, '{}'), (4, '{}');";
    assert_ok(db_exec(&db, work, &error), &error);
    db_close(&db);

    struct lab lab = {.store = open_store()};
    struct store_plan *plan;
    assert_ok(store_plan_take(lab.store, 1, NULL, 0, &plan, &error), &error);
    assert_int_equal(plan->length, 4); // the running one was given back, the paused one tried again
    assert_int_equal(plan->n_shares, 2);
    assert_string_equal(plan->shares[0].user, "ana");
    assert_int_equal(plan->shares[0].queued, 2);
    assert_int_equal(plan->shares[1].queued, 2);
    store_plan_give(lab.store, plan);
    lab.store->clock_ms = 1000000000000;
    assert_int_equal(claim(lab.store), 1);
    lab.store->clock_ms += 10000;
    end(lab.store, 1, RUN_SUCCEEDED, "");
    assert_near(recent(&lab, "ana"), 40.0, 0.1); // four threads
    assert_int_equal(claim(lab.store), 3);
    store_close(lab.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equal),   TEST(test_unlike_lengths), TEST(test_weights),
        TEST(test_caps),    TEST(test_newcomer),       TEST(test_long_run),
        TEST(test_recent),  TEST(test_priority),       TEST(test_memory),
        TEST(test_plan),    TEST(test_plan_capped),    TEST(test_bound_each),
        TEST(test_upgrade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
