// SPDX-License-Identifier: Apache-2.0
/* Fair share: who gets the workers, by weight, cap, time and priority. */
#include "lab.h"

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

/* Priority orders a user's own runs; a turn before others it is not. */
static double charged(const char *user)
{
    struct tet_error error = {0};
    struct db db;
    assert_ok(db_open(&db, path, true, &error), &error);
    struct query q = query_open(&db, "SELECT seconds FROM usage WHERE user = :user", &error);
    query_bind_text(&q, ":user", user);
    const double seconds = query_row(&q) ? query_real(&q, 0) : NAN;
    assert_ok(query_close(&q), &error);
    db_close(&db);
    return seconds;
}

/* Equal runs cost the same, whatever else the machine did; one that took far longer costs that. */
static void test_cost(void **state)
{
    (void)state;
    static const struct {
        double busy_s, train_s, charged_s; // of a run that is thought to take 10 s
    } cases[] = {{14.0, 12.0, 10.0}, {30.0, 6.0, 10.0}, {25.0, 25.0, 25.0}, {9.0, 3.0, 3.0}};
    struct lab lab;
    lab_open(&lab, 1);
    store_set_speed(lab.store, 1e9);
    for (size_t i = 0; i < 4; i++) {
        struct tet_error error = {0};
        struct store_receipt receipt;
        const struct store_new_run run = {
            "{\"rule\":\"sal\"}", "sha256:run", "{\"seed\":1}", 100, 1, 1e10, 1};
        const struct store_submission s = {.name = "n",
                                           .owner = users[i],
                                           .definition = "{}",
                                           .hash = "sha256:a",
                                           .n_runs = 1,
                                           .runs = &run};
        assert_ok(store_submit(lab.store, &s, &receipt, &error), &error);
        assert_int_equal(claim(lab.store), receipt.first_run);
        lab.store->clock_ms += (int64_t)(1000.0 * cases[i].busy_s);
        struct store_ending e = {
            .state = RUN_SUCCEEDED, .step = 100, .train_seconds = cases[i].train_s};
        snprintf(e.digest, sizeof e.digest, "sha256:d");
        assert_ok(store_end(lab.store, receipt.first_run, &e, &error), &error);
        assert_near(charged(users[i]), cases[i].charged_s, 0.01);
    }
    store_close(lab.store);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equal),    TEST(test_unlike_lengths), TEST(test_weights), TEST(test_caps),
        TEST(test_newcomer), TEST(test_long_run),       TEST(test_recent),  TEST(test_cost),
        TEST(test_priority), TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
