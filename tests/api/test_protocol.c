// SPDX-License-Identifier: Apache-2.0
/*
 * Protocol runs through the real server and the command line: their table as JSON and CSV, sweeps,
 * cancelling, the same table after a kill, faults; and `tetrad audit`. Replies are held against
 * openapi.json.
 */
#include "api/contract.h"

#include <math.h>

#include "options.h"

#define NETWORK                                                                                    \
    "\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":10},\"network\":{\"layers\":["       \
    "{\"units\":6,\"activation\":\"tanh\"}]},\"rule\":{\"name\":\"sal\"}"

static const char small[] =
    "{\"type\":\"protocol\"," NETWORK ",\"protocol\":{\"afferents\":[\"both\",\"ascending\"],"
    "\"pairings\":7,\"patterns\":{\"n\":3}}}";
/* Does not end by itself while the tests run. */
static const char endless[] = "{\"type\":\"protocol\"," NETWORK
                              ",\"protocol\":{\"pairings\":1000000,\"patterns\":{\"n\":4000}}}";

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

static void test_run(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, small);
    json_t *run = await_end(&server, id, "succeeded"), *row;
    const json_t *progress = json_object_get(run, "progress"),
                 *rows = json_object_get(json_object_get(run, "protocol"), "rows");
    assert_int_equal(integer(progress, "step"), 3 * 7);
    assert_int_equal(integer(progress, "steps"), 3 * 7);
    assert_int_equal(integer(progress, "epoch"), 3);
    assert_int_equal(integer(progress, "epochs"), 3);
    assert_int_equal(json_array_size(rows), 3 * 4);
    size_t i;
    json_array_foreach(rows, i, row)
    {
        static const char *const conditions[] = {"neither", "ascending", "both"},
                                 *const synapses[] = {"W1", "B2", "V1", "U1"};
        assert_string_equal(text(row, "condition"), conditions[i / 4]);
        assert_string_equal(text(row, "synapses"), synapses[i % 4]);
        const double unchanged = json_number_value(json_object_get(row, "unchanged"));
        assert_true(i < 8 ? unchanged == 1.0 : unchanged < 0.1);
    }
    /* It stands by itself, and does not change any more. */
    json_t *table = get(&server, 200, "/v1/runs/%lld/protocol", id);
    assert_true(json_equal(json_object_get(table, "rows"), rows));
    json_decref(table);
    json_decref(get(&server, 404, "/v1/runs/%lld/weights", id));
    json_decref(get(&server, 400, "/v1/runs/%lld/protocol?x=1", id));
    json_decref(get(&server, 404, "/v1/runs/999999/protocol"));

    json_t *again = await_end(&server, submit(&server, small), "succeeded");
    assert_string_equal(text(again, "digest"), text(run, "digest"));
    assert_true(json_equal(json_object_get(again, "protocol"), json_object_get(run, "protocol")));
    json_decref(again);
    json_decref(run);
}

static void test_csv(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, small);
    json_decref(await_end(&server, id, "succeeded"));
    struct reply reply;
    char path[80], tags[2][256], header[600];
    snprintf(path, sizeof path, "/v1/runs/%lld/protocol", id);
    for (int csv = 0; csv < 2; csv++) {
        const char *const accept[] = {csv ? "Accept: text/csv" : "Accept: application/json", NULL};
        ask_with(&server, "GET", path, NULL, accept, &reply);
        expect(&reply, 200);
        assert_non_null(reply_header(&reply, "ETag", tags[csv]));
        if (csv) {
            static const char heading[] = "condition,synapses,n,change_mean,change_mean_abs,"
                                          "change_relative,driven_mean,driven_mean_abs,"
                                          "driven_relative,potentiated,depressed,unchanged,"
                                          "stimulated_n,stimulated_mean_abs,other_mean_abs\r\n"
                                          "neither,W1,4704,";
            size_t lines = 0;
            assert_memory_equal(reply.body, heading, sizeof heading - 1);
            for (size_t i = 0; i < reply.size; i++)
                lines += reply.body[i] == '\n';
            assert_int_equal(lines, 13);
        }
        reply_free(&reply);
        snprintf(header, sizeof header, "If-None-Match: %s", tags[csv]);
        const char *const unchanged[] = {accept[0], header, NULL};
        ask_with(&server, "GET", path, NULL, unchanged, &reply);
        expect(&reply, 304);
        reply_free(&reply);
    }
    assert_string_not_equal(tags[0], tags[1]);
}

static void test_sweep(void **state)
{
    (void)state;
    json_t *made = ask(&server, "POST", "/v1/experiments",
                       "{\"type\":\"protocol\"," NETWORK ",\"protocol\":{\"pairings\":3},"
                       "\"sweep\":{\"rule.name\":[\"bp\",\"fa\",\"kp\",\"sal\"],"
                       "\"training.seed\":[1,2]}}",
                       201);
    static const size_t groups[] = {1, 2, 2, 4};
    char digests[8][80];
    assert_int_equal(integer(made, "run_count"), 8);
    for (size_t i = 0; i < 8; i++) {
        json_t *run = await_end(&server, integer(made, "first_run") + (json_int_t)i, "succeeded");
        assert_int_equal(json_array_size(json_object_get(json_object_get(run, "protocol"), "rows")),
                         11 * groups[i / 2]);
        snprintf(digests[i], sizeof digests[i], "%s", text(run, "digest"));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(digests[k], digests[i]);
        json_decref(run);
    }
    json_decref(made);
}

/* A protocol has no series: its summary says so, and not that something was 0. */
static void test_summary(void **state)
{
    (void)state;
    json_t *run = await_end(&server, submit(&server, small), "succeeded");
    static const char *const queries[] = {"", "?at=best", "?metric=train/loss&steps=all"};
    for (size_t i = 0; i < 3; i++) {
        json_t *summary = get(&server, 200, "/v1/experiments/%lld/summary%s",
                              integer(run, "experiment"), queries[i]);
        const json_t *point = json_array_get(json_object_get(summary, "points"), 0);
        assert_int_equal(integer(json_object_get(summary, "runs"), "succeeded"), 1);
        assert_int_equal(integer(point, "n"), 0);
        assert_true(json_is_null(json_object_get(point, "mean")));
        assert_non_null(strstr(text(summary, "note"), "/v1/runs/{id}/protocol"));
        json_decref(summary);
    }
    json_decref(run);
}

/* Of training only the seed counts: the table is the same, whatever would stop or select. */
static void test_training_settings(void **state)
{
    (void)state;
    static const char settings[] =
        "\"training\":{\"epochs\":3,\"select\":\"best\",\"test\":\"end\",\"early_stopping\":{"
        "\"metric\":\"validation/loss\",\"patience\":1}}}";
    char body[600], *validation;
    snprintf(body, sizeof body, "%.*s,%s", (int)strlen(small) - 1, small, settings);
    validation = strstr(body, "\"test\":10");
    assert_non_null(validation);
    memmove(validation + 16, validation, strlen(validation) + 1);
    memcpy(validation, "\"validation\":20,", 16);
    json_t *plain = await_end(&server, submit(&server, small), "succeeded"),
           *set = await_end(&server, submit(&server, body), "succeeded");
    assert_string_equal(text(set, "digest"), text(plain, "digest"));
    json_decref(plain);
    json_decref(set);
}

static void test_training_has_none(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, "{" NETWORK ",\"training\":{\"epochs\":1,\"batch\":50}}");
    json_t *run = await_end(&server, id, "succeeded");
    assert_null(json_object_get(run, "protocol"));
    json_decref(get(&server, 404, "/v1/runs/%lld/protocol", id));
    json_decref(run);
}

static void test_cancel(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, endless);
    json_t *run = daemon_wait(&server, id, is_training);
    assert_true(json_is_null(json_object_get(run, "protocol")));
    json_decref(run);
    json_decref(get(&server, 404, "/v1/runs/%lld/protocol", id));
    char path[80];
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", id);
    json_decref(ask(&server, "POST", path, NULL, 200));
    json_decref(await_end(&server, id, "cancelled"));
}

/* Killed or stopped in the middle, it begins again, and comes to the same table. */
static void test_kill(void **state)
{
    (void)state;
    static const char longer[] = "{\"type\":\"protocol\"," NETWORK ",\"optimizer\":{\"lr\":0.001},"
                                 "\"protocol\":{\"pairings\":150,\"patterns\":{\"n\":100}}}";
    json_t *first = await_end(&server, submit(&server, longer), "succeeded");
    static const int signals[] = {SIGKILL, SIGTERM};
    for (size_t i = 0; i < 2; i++) {
        const json_int_t id = submit(&server, longer);
        json_decref(daemon_wait(&server, id, is_training));
        kill(server.pid, signals[i]);
        reap(server.pid, START_MS);
        server.pid = 0;
        daemon_start(&server, "1", NULL);
        json_t *run = await_end(&server, id, "succeeded");
        assert_int_equal(integer(run, "attempts"), 2);
        assert_string_equal(text(run, "digest"), text(first, "digest"));
        assert_true(
            json_equal(json_object_get(run, "protocol"), json_object_get(first, "protocol")));
        json_decref(run);
    }
    json_decref(first);
}

static void test_diverging(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, "{\"type\":\"protocol\"," NETWORK
                                          ",\"optimizer\":{\"lr\":1e29},\"protocol\":{}}");
    json_t *run = await_end(&server, id, "diverged");
    assert_non_null(strstr(text(run, "reason"), "not finite after condition \"both\""));
    json_decref(run);
}

/* ---- the command line ---- */

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_commands(void **state)
{
    (void)state;
    struct ended ended;
    char path[160];
    snprintf(path, sizeof path, "%s/protocol.json", server.folder);
    file_write(path, small, sizeof small - 1);
    json_t *run = await_end(&server, submit(&server, small), "succeeded");
    run_program(&server, &ended, ARGS("run", path, "--data", server.data));
    assert_int_equal(ended.status, STATUS_OK);
    assert_non_null(strstr(ended.out, "  both        W1"));
    assert_non_null(strstr(ended.out, text(run, "digest"))); // as on the server
    assert_null(strstr(ended.out, "test accuracy"));
    json_decref(run);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", server.port);
    run_program(&server, &ended, ARGS("submit", path, "--server", url, "--watch"));
    assert_int_equal(ended.status, STATUS_OK);
    assert_non_null(strstr(ended.out, "  both        W1"));
}

/* On a trained circuit: its weights, not drawn ones; and its neurons' thresholds are not 0. */
static void test_trained(void **state)
{
    (void)state;
    struct ended ended;
    char path[160], weights[160], body[600];
    snprintf(path, sizeof path, "%s/train.json", server.folder);
    snprintf(weights, sizeof weights, "%s/trained.npz", server.data);
    static const char training[] = "{" NETWORK ",\"training\":{\"epochs\":2,\"batch\":10}}";
    file_write(path, training, sizeof training - 1);
    run_program(&server, &ended, ARGS("run", path, "--data", server.data, "--out", weights));
    assert_int_equal(ended.status, STATUS_OK);
    snprintf(body, sizeof body, "%.*s,\"initial_weights\":\"trained.npz\"}", (int)strlen(small) - 1,
             small);
    json_t *naive = await_end(&server, submit(&server, small), "succeeded"),
           *trained = await_end(&server, submit(&server, body), "succeeded");
    assert_string_not_equal(text(naive, "digest"), text(trained, "digest"));
    assert_string_not_equal(text(naive, "hash"), text(trained, "hash"));
    json_decref(naive);
    json_decref(trained);
}

static void test_audit(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *words;
        int status;
    } cases[] = {
        {"sal", "sal, self-assembling learning: local\n", STATUS_OK},
        {"kp", "(paired one to one)", STATUS_OK},
        {"fa", "paired", STATUS_OK},
        {"bp", "reads W_{l+1}", STATUS_FAILED},
        {"usf", "reads the sign of W_l", STATUS_FAILED},
        {"frsf", "reads the sign of W_l", STATUS_FAILED},
        {"brsf", "reads the sign of W_l", STATUS_FAILED},
    };
    struct ended ended;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_program(&server, &ended, ARGS("audit", cases[i].rule));
        if (ended.status != cases[i].status || strstr(ended.out, cases[i].words) == NULL)
            fail_msg("audit %s: %d %s", cases[i].rule, ended.status, ended.out);
    }
    run_program(&server, &ended, ARGS("audit"));
    assert_int_equal(ended.status, STATUS_FAILED);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_non_null(strstr(ended.out, cases[i].words));
    run_program(&server, &ended, ARGS("audit", "backprop"));
    assert_int_equal(ended.status, STATUS_USAGE);
    assert_non_null(strstr(ended.err, "allowed: bp, fa, kp, sal"));
    run_program(&server, &ended, ARGS("audit", "sal", "bp"));
    assert_int_equal(ended.status, STATUS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_training_settings),
        cmocka_unit_test(test_training_has_none),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_diverging),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_trained),
        cmocka_unit_test(test_audit),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
