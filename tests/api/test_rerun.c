// SPDX-License-Identifier: Apache-2.0
/* Reruns: the same digest, also of forks and of runs that diverge; where they part when a record is
 * changed behind the server's back; and when a run cannot be repeated. */
#include "api/contract.h"

#include <sqlite3.h>

#include "data/npz.h"

#define REST    "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"sal\"},"
#define STROKES "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50}," REST

enum { WORKERS = 2 };

static int start(void **state)
{
    (void)state;
    return server_start("2", NULL);
}

static json_int_t rerun(json_int_t run)
{
    char path[80];
    snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)run);
    json_t *made = ask(&server, "POST", path, NULL, 201);
    const json_int_t id = integer(made, "first_run");
    assert_int_equal(integer(made, "run_count"), 1);
    json_decref(made);
    return id;
}

/* The end of a rerun; what it says of itself, which the caller frees. */
static json_t *outcome(json_int_t run, json_int_t of, const char *state)
{
    json_t *json = await_end(&server, run, state),
           *result = json_incref(json_object_get(json, "rerun"));
    assert_int_equal(integer(result, "of"), of);
    json_decref(json);
    json_t *again = get(&server, 200, "/v1/runs/%lld", (long long)run);
    assert_true(json_equal(result, json_object_get(again, "rerun")));
    json_decref(again);
    return result;
}

static void assert_agrees(json_int_t run, json_int_t of, const char *state)
{
    json_t *result = outcome(run, of, state);
    assert_true(json_is_true(json_object_get(result, "agrees")));
    assert_true(json_is_null(json_object_get(result, "first_differing_step")));
    json_decref(result);
}

static void test_agrees(void **state)
{
    (void)state;
    const json_int_t run =
        submit(&server, "{" STROKES "\"training\":{\"epochs\":2,\"batch\":10},\"name\":\"x\"}");
    json_t *first = await_end(&server, run, "succeeded");
    assert_true(json_is_null(json_object_get(first, "rerun")));
    const json_int_t again = rerun(run);
    assert_agrees(again, run, "succeeded");
    json_t *second = get(&server, 200, "/v1/runs/%lld", (long long)again);
    assert_string_equal(text(first, "digest"), text(second, "digest"));
    assert_string_equal(text(first, "hash"), text(second, "hash"));
    assert_true(
        json_equal(json_object_get(first, "definition"), json_object_get(second, "definition")));
    json_decref(first);
    json_decref(second);
    assert_agrees(rerun(again), again, "succeeded");
}

/* A point of a sweep keeps its parameters. */
static void test_sweep(void **state)
{
    (void)state;
    const json_int_t run = submit(&server, "{" STROKES "\"training\":{\"epochs\":1,\"batch\":50},"
                                           "\"sweep\":{\"training.seed\":[3,4]}}");
    json_t *first = await_end(&server, run + 1, "succeeded");
    json_decref(await_end(&server, run, "succeeded"));
    const json_int_t again = rerun(run + 1);
    assert_agrees(again, run + 1, "succeeded");
    json_t *second = get(&server, 200, "/v1/runs/%lld", (long long)again);
    assert_true(
        json_equal(json_object_get(first, "parameters"), json_object_get(second, "parameters")));
    json_decref(first);
    json_decref(second);
}

static void test_diverged(void **state)
{
    (void)state;
    const json_int_t run =
        submit(&server, "{\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50},"
                        "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"bp\"},"
                        "\"optimizer\":{\"lr\":1e20},\"training\":{\"epochs\":2,\"batch\":10}}");
    json_decref(await_end(&server, run, "diverged"));
    assert_agrees(rerun(run), run, "diverged");
}

/* A record of the first run is changed: the rerun's say at which step and where. */
static void test_parts(void **state)
{
    (void)state;
    sqlite3 *db;
    char sql[600];
    const json_int_t run = submit(
        &server, "{" STROKES "\"training\":{\"epochs\":2,\"batch\":10},\"record\":{\"every\":1}}");
    json_decref(await_end(&server, run, "succeeded"));
    assert_int_equal(sqlite3_open(server.db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    snprintf(sql, sizeof sql,
             "UPDATE run SET digest = 'sha256:%064d' WHERE id = %lld;"
             "UPDATE metric SET value = value * (1.0 + 1e-12) WHERE run = %lld AND step = 7"
             " AND series IN (SELECT id FROM series WHERE name IN ('norm/W/2', 'norm/W/1'));"
             "DELETE FROM metric WHERE run = %lld AND step = 8",
             0, (long long)run, (long long)run, (long long)run);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    json_t *result = outcome(rerun(run), run, "succeeded");
    assert_true(json_is_false(json_object_get(result, "agrees")));
    assert_int_equal(integer(result, "first_differing_step"), 7);
    assert_string_equal(text(result, "first_differing_series"), "norm/W/1");
    json_decref(result);
    /* Of that run a record is missing. */
    snprintf(
        sql, sizeof sql,
        "UPDATE metric SET value = (SELECT b.value FROM metric b WHERE b.run = %lld"
        " AND b.step = metric.step AND b.series = metric.series) WHERE run = %lld AND step = 7",
        (long long)run + 1, (long long)run);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    result = outcome(rerun(run), run, "succeeded");
    assert_int_equal(integer(result, "first_differing_step"), 8);
    json_decref(result);
    sqlite3_close(db);
}

static void test_fork(void **state)
{
    (void)state;
    char path[80];
    const json_int_t run = submit(&server, "{" STROKES "\"training\":{\"epochs\":4,\"batch\":10},"
                                           "\"record\":{\"keep\":20}}");
    json_decref(await_end(&server, run, "succeeded"));
    snprintf(path, sizeof path, "/v1/runs/%lld/fork", (long long)run);
    json_t *made = ask(&server, "POST", path,
                       "{\"step\":40,\"changes\":{\"optimizer.lr\":0.01,\"record.keep\":20}}", 201);
    const json_int_t fork = integer(made, "first_run");
    json_decref(made);
    json_decref(await_end(&server, fork, "succeeded"));
    assert_agrees(rerun(fork), fork, "succeeded");

    /* Where it began is pinned, so that newer checkpoints do not remove it ... */
    static const char thrifty[] = "{\"step\":40,\"changes\":{\"record.keep\":1}}";
    made = ask(&server, "POST", path, thrifty, 201);
    const json_int_t kept = integer(made, "first_run");
    json_decref(made);
    json_decref(await_end(&server, kept, "succeeded"));
    assert_agrees(rerun(kept), kept, "succeeded");

    /* ... until somebody lets it go; the workers are taken, so that nothing is trained before. */
    json_int_t busy[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        busy[i] = submit(&server, "{" STROKES "\"optimizer\":{\"lr\":0.0001},"
                                  "\"training\":{\"epochs\":100000,\"batch\":1}}");
    for (int i = 0; i < WORKERS; i++)
        json_decref(daemon_wait(&server, busy[i], is_training));
    made = ask(&server, "POST", path, thrifty, 201);
    const json_int_t forgetful = integer(made, "first_run");
    json_decref(made);
    snprintf(path, sizeof path, "/v1/runs/%lld/pin", (long long)forgetful);
    json_decref(ask(&server, "POST", path, "{\"step\":40,\"pinned\":false}", 200));
    for (int i = 0; i < WORKERS; i++) {
        snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)busy[i]);
        json_decref(ask(&server, "POST", path, NULL, 200));
    }
    json_decref(await_end(&server, forgetful, "succeeded"));
    snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)forgetful);
    json_t *error = ask(&server, "POST", path, NULL, 409);
    assert_non_null(strstr(text(json_object_get(error, "error"), "message"), "step 40"));
    json_decref(error);
}

static void write_dataset(float first, int32_t labels)
{
    char file[160];
    struct tet_error error = {0};
    float x[40];
    int32_t t[20];
    for (int i = 0; i < 40; i++)
        x[i] = i > 0 ? (float)(i % 7) : first;
    for (int i = 0; i < 20; i++)
        t[i] = i % labels;
    const struct npy arrays[] = {
        {.name = "x", .type = NPY_F4, .rank = 2, .shape = {20, 2}, .n = 40, .data = x},
        {.name = "t", .type = NPY_I4, .rank = 1, .shape = {20}, .n = 20, .data = t}};
    snprintf(file, sizeof file, "%s/tiny.npz", server.data);
    assert_int_equal(npz_write(arrays, 2, file, &error), TET_OK);
}

static void test_dataset(void **state)
{
    (void)state;
    char path[80], file[160];
    write_dataset(1.0f, 2);
    const json_int_t run =
        submit(&server, "{\"dataset\":{\"name\":\"tiny\",\"train\":15,\"test\":5}," REST
                        "\"training\":{\"epochs\":1,\"batch\":5}}");
    json_decref(await_end(&server, run, "succeeded"));
    assert_agrees(rerun(run), run, "succeeded");
    write_dataset(2.0f, 2);
    snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)run);
    json_t *error = ask(&server, "POST", path, NULL, 409);
    assert_non_null(strstr(text(json_object_get(error, "error"), "message"), "tiny"));
    json_decref(error);
    snprintf(file, sizeof file, "%s/tiny.npz", server.data);
    assert_int_equal(unlink(file), 0);
    json_decref(ask(&server, "POST", path, NULL, 409));
}

static void test_refused(void **state)
{
    (void)state;
    char path[80];
    json_decref(ask(&server, "POST", "/v1/runs/99999/rerun", NULL, 404));
    json_decref(ask(&server, "POST", "/v1/runs/1/rerun?x=1", NULL, 400));
    const json_int_t run = submit(
        &server, "{" STROKES "\"optimizer\":{\"lr\":0.000001},\"training\":{\"epochs\":100000,"
                 "\"batch\":1}}"); // it does not diverge
    snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)run);
    json_decref(ask(&server, "POST", path, NULL, 409));
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)run);
    json_decref(ask(&server, "POST", path, NULL, 200));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees),   cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_diverged), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_fork),     cmocka_unit_test(test_dataset),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
