// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the real server through sweeps: random points, replicates by seed, runs that diverge, that
 * stop early and that choose their epoch; and through the summary of them. Every reply is held
 * against openapi.json.
 */
#include "api/contract.h"

#include <math.h>

#define NETWORK "\"network\":{\"layers\":[{\"units\":6}]}"

static int start(void **state)
{
    (void)state;
    return server_start("2", NULL);
}

static json_int_t experiment(const char *definition, json_int_t runs)
{
    json_t *made = ask(&server, "POST", "/v1/experiments", definition, 201);
    const json_int_t id = integer(made, "id"), first = integer(made, "first_run");
    assert_int_equal(integer(made, "run_count"), runs);
    for (json_int_t i = 0; i < runs; i++)
        json_decref(daemon_wait(&server, first + i, is_over));
    json_decref(made);
    return id;
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* The metric of each run that succeeded, by an independent way: the runs' own series. */
static size_t values_of(const json_t *runs, const char *rule, const char *metric, double *values)
{
    size_t n = 0, i;
    json_t *run;
    json_array_foreach(runs, i, run)
    {
        const json_t *parameters = json_object_get(run, "parameters");
        if (strcmp(text(parameters, "rule.name"), rule) == 0 &&
            strcmp(text(run, "state"), "succeeded") == 0)
            values[n++] = real(json_object_get(run, "final"), metric);
    }
    return n;
}

static void test_summary(void **state)
{
    (void)state;
    const json_int_t id = experiment(
        "{\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":100,\"validation\":50}," NETWORK
        ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":2,\"batch\":50},\"record\":"
        "{\"every\":0},\"sweep\":[{\"rule.name\":[\"bp\",\"sal\"],\"training.seed\":[1,2,3]},"
        "{\"rule.name\":[\"fa\"],\"optimizer.lr\":[1e20],\"training.seed\":[1,2]}]}",
        8);
    json_t *all = get(&server, 200, "/v1/experiments/%lld", id),
           *summary = get(&server, 200, "/v1/experiments/%lld/summary", id);
    const json_t *runs = json_object_get(all, "runs"), *points = json_object_get(summary, "points");
    double bp[3], sal[3], mean = 0, square = 0, difference = 0;
    assert_string_equal(text(summary, "metric"), "test/accuracy");
    assert_int_equal(json_array_size(points), 3);
    assert_int_equal(integer(json_object_get(summary, "runs"), "succeeded"), 6);
    assert_int_equal(integer(json_object_get(summary, "runs"), "diverged"), 2);
    assert_int_equal(values_of(runs, "bp", "test/accuracy", bp), 3);
    assert_int_equal(values_of(runs, "sal", "test/accuracy", sal), 3);
    for (int i = 0; i < 3; i++) {
        mean += sal[i] / 3;
        difference += (sal[i] - bp[i]) / 3;
    }
    for (int i = 0; i < 3; i++)
        square += (sal[i] - mean) * (sal[i] - mean);
    const json_t *point = json_array_get(points, 1), *other = json_object_get(point, "difference");
    assert_int_equal(integer(point, "n"), 3);
    assert_true(fabs(real(point, "mean") - mean) < 1e-12);
    assert_true(fabs(real(point, "sd") - sqrt(square / 2)) < 1e-12);
    assert_true(fabs(real(other, "mean") - difference) < 1e-12);
    assert_int_equal(integer(other, "n"), 3);
    point = json_array_get(points, 2); // diverged: nothing counts
    assert_int_equal(integer(point, "n"), 0);
    assert_true(json_is_null(json_object_get(point, "mean")));
    assert_int_equal(integer(json_object_get(point, "difference"), "n"), 0);
    json_decref(summary);

    /* The end of epoch 2 is step 6, and that is the last. */
    static const char *const same[] = {"at=final", "at=step:6", "at=epoch:2"};
    double value[3];
    for (int i = 0; i < 3; i++) {
        summary = get(&server, 200, "/v1/experiments/%lld/summary?metric=validation/loss&%s", id,
                      same[i]);
        value[i] = real(json_array_get(json_object_get(summary, "points"), 0), "mean");
        json_decref(summary);
    }
    assert_true(value[0] > 0 && value[1] == value[0] && value[2] == value[0]);
    static const char *const nothing[] = {"at=step:5", "at=epoch:3", "metric=norm/V/9"};
    for (int i = 0; i < 3; i++) {
        summary = get(&server, 200, "/v1/experiments/%lld/summary?%s", id, nothing[i]);
        assert_int_equal(integer(json_array_get(json_object_get(summary, "points"), 0), "n"), 0);
        json_decref(summary);
    }
    summary = get(&server, 200,
                  "/v1/experiments/%lld/summary?metric=test/loss&steps=all&at=best&baseline="
                  "rule.name:sal",
                  id);
    points = json_object_get(summary, "points");
    const json_t *series = json_object_get(json_array_get(points, 0), "series");
    assert_int_equal(json_array_size(json_object_get(series, "steps")), 2);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(series, "steps"), 1)), 6);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(series, "n"), 1)), 3);
    assert_int_equal(integer(json_array_get(points, 0), "n"), 3);
    assert_int_equal(integer(json_object_get(json_array_get(points, 0), "difference"), "baseline"),
                     1);
    json_decref(summary);
    json_decref(all);

    static const char *const bad[] = {"metric=test/acc",
                                      "at=last",
                                      "at=step:0",
                                      "at=epoch:x",
                                      "at=step:-1",
                                      "steps=some",
                                      "baseline=rule.name",
                                      "baseline=:bp",
                                      "baseline=rule.name:",
                                      "baseline=rule.name:kp",
                                      "baseline=rule.name:bp,",
                                      "baseline=rule.name:bp,rule.name:sal",
                                      "point=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        json_decref(get(&server, 400, "/v1/experiments/%lld/summary?%s", id, bad[i]));
    json_decref(get(&server, 404, "/v1/experiments/%lld/summary", id + 1));
}

/* Validation alone decides: the run ends early, and its weights are the best epoch's. */
static void test_early_stopping(void **state)
{
    (void)state;
    const json_int_t run = submit(
        &server,
        "{\"dataset\":{\"name\":\"strokes\",\"train\":120,\"test\":100,\"validation\":40}," NETWORK
        ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":400,\"batch\":10,\"select\":\"best\","
        "\"test\":\"end\",\"early_stopping\":{\"patience\":3}},\"record\":{\"every\":0}}");
    json_t *end = await_end(&server, run, "succeeded"),
           *metrics = get(&server, 200, "/v1/runs/%lld/metrics", run);
    const json_t *series = json_object_get(metrics, "series"),
                 *losses = json_object_get(json_object_get(series, "validation/loss"), "values"),
                 *progress = json_object_get(end, "progress"),
                 *final = json_object_get(end, "final");
    const size_t epochs = json_array_size(losses);
    size_t best = 0;
    for (size_t i = 1; i < epochs; i++)
        if (json_number_value(json_array_get(losses, i)) <
            json_number_value(json_array_get(losses, best)))
            best = i;
    assert_true(epochs < 400);
    assert_int_equal(best + 1 + 3, epochs);
    assert_int_equal((int)real(final, "selected/epoch"), (int)best + 1);
    assert_int_equal(integer(progress, "step"), (json_int_t)epochs * 8);
    assert_int_equal(integer(progress, "steps"), 3200);
    assert_int_equal(integer(progress, "epoch"), (json_int_t)epochs);
    assert_non_null(strstr(text(end, "reason"), "stopped early after epoch"));
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(series, "test/loss"), "steps")), 1);
    json_decref(metrics);
    json_decref(end);
}

/* A baseline that is an object, whose commas are not between paths; its control is what is off. */
static void test_object_baseline(void **state)
{
    (void)state;
    static const char *const baselines[] = {
        "rule.noise:%7B%22activity%22:0.1,%22teaching%22:0.2%7D",
        "rule.noise:%7B%7D,optimizer.lr:0.05"};
    const json_int_t id = experiment(
        "{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":50}," NETWORK
        ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":1},\"record\":{\"every\":0},"
        "\"sweep\":{\"rule.noise\":[{},{\"activity\":0.1,\"teaching\":0.2}],"
        "\"optimizer.lr\":[0.05],\"training.seed\":[1,2]}}",
        4);
    for (size_t i = 0; i < 2; i++) {
        json_t *summary = get(&server, 200, "/v1/experiments/%lld/summary?baseline=%s",
                              (long long)id, baselines[i]);
        assert_int_equal(integer(summary, "comparisons"), 1);
        json_decref(summary);
    }
}

static void test_random_sweep(void **state)
{
    (void)state;
    const json_int_t id = experiment(
        "{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":50}," NETWORK
        ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":1},\"record\":{\"every\":0},"
        "\"sweep\":{\"random\":{\"n\":4,\"values\":{\"optimizer.lr\":{\"log_uniform\":[0.01,0.1]}}}"
        ","
        "\"training.seed\":[1,2]}}",
        8);
    json_t *summary = get(&server, 200, "/v1/experiments/%lld/summary", id), *point;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(summary, "points")), 4);
    assert_true(json_is_null(json_object_get(summary, "baseline")));
    json_array_foreach(json_object_get(summary, "points"), i, point)
    {
        const double lr = real(json_object_get(point, "parameters"), "optimizer.lr");
        assert_int_equal(integer(point, "n"), 2);
        assert_true(lr >= 0.01 && lr <= 0.1);
    }
    json_decref(summary);
}

/* The CSV has the JSON's numbers; and a bad query says which parameter is bad. */
static void test_csv(void **state)
{
    (void)state;
    const json_int_t id = experiment(
        "{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":50}," NETWORK
        ",\"training\":{\"epochs\":1,\"batch\":50},\"sweep\":{\"rule.name\":[\"bp\",\"fa\"],"
        "\"training.seed\":[1,2,3]}}",
        6);
    json_t *json = get(&server, 200, "/v1/experiments/%lld/summary", id), *point;
    char path[120], parameters[100];
    struct reply reply;
    double n, mean, sd, low, high;
    size_t i;
    snprintf(path, sizeof path, "/v1/experiments/%lld/summary", (long long)id);
    ask_with(&server, "GET", path, NULL, (const char *const[]){"Accept: text/csv", NULL}, &reply);
    expect(&reply, 200);
    char *rest = reply.body, *line = strsep(&rest, "\n");
    assert_string_equal(line, "rule.name,n,mean,sd,low,high,min,max,difference_n,difference_mean,"
                              "difference_low,difference_high,p,p_holm");
    json_array_foreach(json_object_get(json, "points"), i, point)
    {
        line = strsep(&rest, "\n");
        assert_int_equal(
            sscanf(line, "%99[^,],%lf,%lf,%lf,%lf,%lf", parameters, &n, &mean, &sd, &low, &high),
            6);
        assert_string_equal(parameters, text(json_object_get(point, "parameters"), "rule.name"));
        assert_true(n == real(point, "n") && mean == real(point, "mean") &&
                    sd == real(point, "sd"));
        assert_true(low ==
                    json_number_value(json_array_get(json_object_get(point, "interval"), 0)));
        assert_true(high ==
                    json_number_value(json_array_get(json_object_get(point, "interval"), 1)));
    }
    assert_string_equal(rest, "");
    reply_free(&reply);
    json_decref(json);
    static const char *const bad[][2] = {{"metric=x", "metric"},
                                         {"at=never", "at"},
                                         {"steps=some", "steps"},
                                         {"baseline=zz", "baseline"},
                                         {"baseline=rule.name:kp", "baseline"},
                                         {"format=xml", "format"}};
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *error = get(&server, 400, "/v1/experiments/%lld/summary?%s", id, bad[i][0]);
        const json_t *fault =
            json_array_get(json_object_get(json_object_get(error, "error"), "details"), 0);
        assert_string_equal(text(fault, "parameter"), bad[i][1]);
        json_decref(error);
    }
}

/* A sweep of parts: a point has not every parameter, and its field is empty. */
static void test_csv_of_parts(void **state)
{
    (void)state;
    const json_int_t id =
        experiment("{\"dataset\":{\"name\":\"strokes\",\"train\":100,\"test\":50}," NETWORK
                   ",\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":1,\"batch\":50},"
                   "\"sweep\":[{\"optimizer.lr\":[0.5]},{\"training.batch\":[25]}]}",
                   2);
    char path[120];
    struct reply reply;
    snprintf(path, sizeof path, "/v1/experiments/%lld/summary?format=csv", (long long)id);
    ask_with(&server, "GET", path, NULL, (const char *const[]){NULL}, &reply);
    expect(&reply, 200);
    assert_non_null(strstr(reply.body, "optimizer.lr,training.batch,n,"));
    assert_non_null(strstr(reply.body, "\n0.5,,1,"));
    assert_non_null(strstr(reply.body, "\n,25,1,"));
    reply_free(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_summary, start, server_stop),
        cmocka_unit_test_setup_teardown(test_early_stopping, start, server_stop),
        cmocka_unit_test_setup_teardown(test_object_baseline, start, server_stop),
        cmocka_unit_test_setup_teardown(test_random_sweep, start, server_stop),
        cmocka_unit_test_setup_teardown(test_csv, start, server_stop),
        cmocka_unit_test_setup_teardown(test_csv_of_parts, start, server_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
