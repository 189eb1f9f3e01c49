// SPDX-License-Identifier: Apache-2.0
/* The queue looked ahead, its bounds, and queues of databases from before. */
#include "lab.h"

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
        TEST(test_plan),
        TEST(test_plan_capped),
        TEST(test_bound_each),
        TEST(test_upgrade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
