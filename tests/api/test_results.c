// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the real server through training and what comes out of it: progress, metrics, weights,
 * cancelling, diverging, and going on after a restart. Every reply is held against openapi.json.
 */
#include "api/contract.h"

#include <math.h>
#include <zip.h>

#define STROKES(train) "\"dataset\":{\"name\":\"strokes\",\"train\":" #train ",\"test\":100}"
#define SMALL                                                                                      \
    "\"network\":{\"layers\":[{\"units\":6},{\"units\":5}]},"                                      \
    "\"rule\":{\"name\":\"sal\"}"

/* Three checkpoints' worth of epochs, telemetry at every step. */
static const char trained[] =
    "{" STROKES(500) "," SMALL ",\"training\":{\"epochs\":3,\"batch\":50},"
                     "\"record\":{\"every\":5,\"keep\":2}}";
/* Does not end by itself while the tests run. */
static const char endless[] = "{" STROKES(500) "," SMALL ",\"training\":{\"epochs\":100000}}";

static int start(void **state)
{
    (void)state;
    return server_start("1", NULL);
}

/* ---- a run ---- */

static void test_run(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, trained);
    json_t *run = await_end(&server, id, "succeeded");
    const json_t *progress = json_object_get(run, "progress"),
                 *final = json_object_get(run, "final");
    static const char *const series[] = {
        "train/loss",           "train/accuracy", "test/loss",
        "test/accuracy",        "norm/W/1",       "alignment/modulation/1",
        "alignment/feedback/2", "norm/U/2",       "norm/V/1",
        "alignment/lateral/1"};
    assert_int_equal(integer(run, "id"), id);
    assert_true(json_is_null(json_object_get(run, "reason")));
    assert_int_equal(integer(progress, "step"), 30);
    assert_int_equal(integer(progress, "steps"), 30);
    assert_int_equal(integer(progress, "epoch"), 3);
    assert_int_equal(integer(progress, "epochs"), 3);
    assert_true(json_number_value(json_object_get(progress, "eta_s")) == 0.0);
    assert_int_equal(integer(run, "attempts"), 1);
    assert_int_equal(integer(run, "worker"), 1);
    assert_true(integer(run, "memory_bytes") > 600 * 784);
    assert_true(json_number_value(json_object_get(run, "train_seconds")) > 0.0);
    assert_true(strcmp(text(run, "created_at"), text(run, "started_at")) <= 0);
    assert_true(strcmp(text(run, "started_at"), text(run, "ended_at")) <= 0);
    assert_int_equal(json_object_size(json_object_get(run, "parameters")), 0);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++)
        if (!json_is_number(json_object_get(final, series[i])))
            fail_msg("no final %s", series[i]);
    assert_true(json_number_value(json_object_get(final, "test/accuracy")) <= 1.0);

    /* Equal definitions end with equal digests, and other seeds with others. */
    json_t *again = await_end(&server, submit(&server, trained), "succeeded");
    assert_string_equal(text(again, "digest"), text(run, "digest"));
    assert_string_equal(text(again, "hash"), text(run, "hash"));
    json_decref(again);
    json_t *made = ask(&server, "POST", "/v1/experiments",
                       "{" STROKES(500) "," SMALL ",\"training\":{\"epochs\":3,\"batch\":50,"
                                        "\"seed\":2},\"record\":{\"every\":5}}",
                       201);
    json_t *other = await_end(&server, integer(made, "first_run"), "succeeded");
    assert_string_not_equal(text(other, "digest"), text(run, "digest"));
    assert_string_not_equal(text(other, "hash"), text(run, "hash"));
    json_decref(other);
    json_decref(made);
    json_decref(run);
}

/* The ETag of a path; "" where it has none. With it, the path gives 304, for HEAD as well. */
static void check_unchanged(const char *path, char tag[256])
{
    struct reply reply;
    char header[300];
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    expect(&reply, 200);
    if (reply_header(&reply, "ETag", tag) == NULL)
        tag[0] = '\0';
    reply_free(&reply);
    if (*tag == '\0')
        return;
    snprintf(header, sizeof header, "If-None-Match: %s", tag);
    const char *const headers[] = {header, NULL};
    for (int i = 0; i < 2; i++) {
        ask_with(&server, i == 0 ? "GET" : "HEAD", path, NULL, headers, &reply);
        expect(&reply, 304);
        reply_free(&reply);
    }
}

static void test_unchanged(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, trained);
    static const char *const parts[] = {"", "/weights", "/weights.npz", "/weights/W1.npy",
                                        "/weights/b1.npy"};
    char path[100], tags[5][256];
    json_decref(await_end(&server, id, "succeeded"));
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "/v1/runs/%lld%s", id, parts[i]);
        check_unchanged(path, tags[i]);
        assert_string_not_equal(tags[i], "");
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(tags[i], tags[k]);
    }
    const json_int_t running = submit(&server, endless);
    json_decref(daemon_wait(&server, running, is_training));
    snprintf(path, sizeof path, "/v1/runs/%lld", running);
    check_unchanged(path, tags[0]);
    assert_string_equal(tags[0], ""); // it still changes
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", running);
    json_decref(ask(&server, "POST", path, NULL, 200));
    json_decref(await_end(&server, running, "cancelled"));
}

/* ---- metrics ---- */

/* Appends a page's series to those of `all`; returns its number of values. */
static size_t join(json_t *all, const json_t *page)
{
    const char *name;
    json_t *one;
    size_t n = 0;
    json_object_foreach(json_object_get(page, "series"), name, one)
    {
        json_t *steps = json_object_get(one, "steps"), *values = json_object_get(one, "values");
        json_t *into = json_object_get(all, name);
        assert_int_equal(json_array_size(steps), json_array_size(values));
        n += json_array_size(steps);
        if (into == NULL) {
            json_object_set(all, name, one);
            continue;
        }
        json_array_extend(json_object_get(into, "steps"), steps);
        json_array_extend(json_object_get(into, "values"), values);
    }
    return n;
}

static void test_metrics(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, trained);
    json_t *run = await_end(&server, id, "succeeded");
    json_t *whole = get(&server, 200, "/v1/runs/%lld/metrics", id);
    const json_t *series = json_object_get(whole, "series");
    assert_int_equal(integer(whole, "run"), id);
    assert_int_equal(integer(whole, "next"), 30);
    assert_true(json_is_false(json_object_get(whole, "more")));
    /* The last value of every series is the run's final one. */
    const char *name;
    json_t *one;
    json_object_foreach(json_object_get(whole, "series"), name, one)
    {
        const json_t *steps = json_object_get(one, "steps"),
                     *values = json_object_get(one, "values");
        const size_t n = json_array_size(values);
        for (size_t i = 1; i < n; i++)
            assert_true(json_integer_value(json_array_get(steps, i)) >
                        json_integer_value(json_array_get(steps, i - 1)));
        assert_true(json_equal(json_array_get(values, n - 1),
                               json_object_get(json_object_get(run, "final"), name)));
    }
    json_t *epochs = json_pack("[i,i,i]", 10, 20, 30);
    const json_t *accuracy = json_object_get(series, "test/accuracy");
    assert_true(json_equal(json_object_get(accuracy, "steps"), epochs));
    json_decref(epochs);

    json_t *late = get(&server, 200, "/v1/runs/%lld/metrics?after=29", id);
    assert_int_equal(
        json_array_size(json_object_get(
            json_object_get(json_object_get(late, "series"), "test/accuracy"), "steps")),
        1);
    json_decref(late);
    late = get(&server, 200, "/v1/runs/%lld/metrics?after=30", id);
    assert_int_equal(json_object_size(json_object_get(late, "series")), 0);
    assert_int_equal(integer(late, "next"), 30);
    json_decref(late);
    static const char *const filters[] = {"name=test/loss&name=norm/W/1",
                                          "name=test%2Floss,norm%2FW%2F1,none",
                                          "name=norm/W/1,test/loss&after=0"};
    for (size_t i = 0; i < 3; i++) {
        json_t *two = get(&server, 200, "/v1/runs/%lld/metrics?%s", id, filters[i]);
        const json_t *found = json_object_get(two, "series");
        assert_int_equal(json_object_size(found), 2);
        assert_true(
            json_equal(json_object_get(found, "test/loss"), json_object_get(series, "test/loss")));
        assert_true(
            json_equal(json_object_get(found, "norm/W/1"), json_object_get(series, "norm/W/1")));
        json_decref(two);
    }
    json_decref(get(&server, 400, "/v1/runs/%lld/metrics?after=x", id));
    json_decref(get(&server, 400, "/v1/runs/%lld/metrics?nam=test/loss", id));
    json_decref(whole);
    json_decref(run);
}

/* More rows than one page holds: pages of whole steps, together all rows once. */
static void test_pages(void **state)
{
    (void)state;
    const json_int_t id =
        submit(&server, "{" STROKES(500) "," SMALL ",\"training\":{\"epochs\":30,\"batch\":10},"
                                         "\"record\":{\"every\":1}}");
    json_decref(await_end(&server, id, "succeeded"));
    json_t *all = json_object();
    size_t pages = 0, rows = 0;
    json_int_t after = 0;
    bool more = true;
    while (more) {
        json_t *page = get(&server, 200, "/v1/runs/%lld/metrics?after=%lld", id, after);
        const size_t n = join(all, page);
        assert_true(n > 0);
        rows += n;
        pages++;
        more = json_is_true(json_object_get(page, "more"));
        assert_true(integer(page, "next") > after);
        after = integer(page, "next");
        json_decref(page);
    }
    assert_int_equal(after, 1500);
    assert_true(pages > 1 && rows > 20000);
    const json_t *steps = json_object_get(json_object_get(all, "norm/W/1"), "steps");
    assert_int_equal(json_array_size(steps), 1500);
    for (size_t i = 0; i < 1500; i++)
        assert_int_equal(json_integer_value(json_array_get(steps, i)), i + 1);
    json_decref(all);
}

/* ---- weights ---- */

/* Every array of the list is in the archive, byte for byte as its .npy. */
static void check_weights(json_int_t id, const char *query)
{
    struct reply npz, npy;
    char path[200], entry[64];
    zip_error_t error;
    json_t *list = get(&server, 200, "/v1/runs/%lld/weights%s", id, query), *array;
    size_t i, n = json_array_size(json_object_get(list, "arrays"));
    snprintf(path, sizeof path, "/v1/runs/%lld/weights.npz%s", id, query);
    ask_with(&server, "GET", path, NULL, NULL, &npz);
    expect(&npz, 200);
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(npz.body, npz.size, 0, &error);
    zip_t *zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    assert_non_null(zip);
    assert_int_equal(zip_get_num_entries(zip, 0), n);
    json_array_foreach(json_object_get(list, "arrays"), i, array)
    {
        size_t values = 1, k;
        json_t *side;
        json_array_foreach(json_object_get(array, "shape"), k, side)
        {
            values *= (size_t)json_integer_value(side);
        }
        snprintf(path, sizeof path, "/v1/runs/%lld/weights/%s.npy%s", id, text(array, "name"),
                 query);
        ask_with(&server, "GET", path, NULL, NULL, &npy);
        expect(&npy, 200);
        assert_memory_equal(npy.body, "\x93NUMPY", 6);
        assert_int_equal(npy.size % 64, values * 4 % 64);
        assert_true(npy.size > values * 4);
        char *bytes = malloc(npy.size + 1);
        snprintf(entry, sizeof entry, "%s.npy", text(array, "name"));
        zip_file_t *file = zip_fopen(zip, entry, 0);
        assert_non_null(file);
        assert_int_equal(zip_fread(file, bytes, npy.size + 1), npy.size);
        assert_memory_equal(bytes, npy.body, npy.size);
        zip_fclose(file);
        free(bytes);
        reply_free(&npy);
    }
    zip_discard(zip);
    reply_free(&npz);
    json_decref(list);
}

static void test_weights(void **state)
{
    (void)state;
    const json_int_t id = submit(&server, trained);
    json_t *run = await_end(&server, id, "succeeded");
    json_t *list = get(&server, 200, "/v1/runs/%lld/weights", id), *array;
    assert_int_equal(integer(list, "step"), 30);
    assert_true(json_is_true(json_object_get(list, "final")));
    assert_string_equal(text(list, "digest"), text(run, "digest"));
    bool found = false;
    size_t i;
    json_array_foreach(json_object_get(list, "arrays"), i, array)
    {
        json_t *shape = json_pack("[i,i]", 6, 784);
        if (strcmp(text(array, "name"), "W1") == 0)
            found = json_equal(json_object_get(array, "shape"), shape);
        json_decref(shape);
    }
    assert_true(found);
    json_decref(list);
    check_weights(id, "");
    check_weights(id, "?step=30");

    /* Two checkpoints are kept: at 30 and at 20. */
    check_weights(id, "?step=20");
    list = get(&server, 200, "/v1/runs/%lld/weights?step=20", id);
    assert_int_equal(integer(list, "step"), 20);
    assert_true(json_is_false(json_object_get(list, "final")));
    assert_true(json_is_null(json_object_get(list, "digest")));
    json_decref(list);
    struct reply early, late;
    char path[100];
    snprintf(path, sizeof path, "/v1/runs/%lld/weights/W1.npy?step=20", id);
    ask_with(&server, "GET", path, NULL, NULL, &early);
    *strchr(path, '?') = '\0';
    ask_with(&server, "GET", path, NULL, NULL, &late);
    assert_int_equal(early.size, late.size);
    assert_memory_not_equal(early.body, late.body, late.size);
    reply_free(&early);
    reply_free(&late);
    static const char *const missing[] = {
        "weights?step=10", "weights?step=25", "weights.npz?step=31", "weights/W9.npy",
        "weights/w1.npy",  "weights/W1",      "weights/W1.npz"};
    for (i = 0; i < sizeof missing / sizeof *missing; i++)
        json_decref(get(&server, 404, "/v1/runs/%lld/%s", id, missing[i]));
    json_decref(get(&server, 400, "/v1/runs/%lld/weights?step=0", id));
    json_decref(get(&server, 400, "/v1/runs/%lld/weights.npz?state=1", id));
    json_decref(get(&server, 400, "/v1/runs/%lld/weights?state=true", id));
    json_decref(run);
}

/* ---- cancelling ---- */

static json_t *cancel(const char *kind, json_int_t id)
{
    char path[100];
    snprintf(path, sizeof path, "/v1/%s/%lld/cancel", kind, id);
    return ask(&server, "POST", path, NULL, 200);
}

static void check_counts(json_t *counts, json_int_t queued, json_int_t running, json_int_t finished)
{
    assert_int_equal(integer(counts, "queued"), queued);
    assert_int_equal(integer(counts, "running"), running);
    assert_int_equal(integer(counts, "finished"), finished);
    json_decref(counts);
}

static void test_cancel_runs(void **state)
{
    (void)state;
    const json_int_t running = submit(&server, endless), queued = submit(&server, trained);
    json_t *run = daemon_wait(&server, running, is_training);
    assert_true(json_is_null(json_object_get(run, "ended_at")));
    json_decref(run);
    run = get(&server, 200, "/v1/runs/%lld", queued); // one worker, and it is taken
    assert_string_equal(text(run, "state"), "queued");
    assert_true(json_is_null(json_object_get(run, "started_at")));
    assert_true(json_is_null(json_object_get(run, "worker")));
    json_decref(run);
    json_decref(get(&server, 404, "/v1/runs/%lld/weights", queued));
    check_counts(cancel("runs", queued), 1, 0, 0);
    check_counts(cancel("runs", queued), 0, 0, 1);
    check_counts(cancel("runs", running), 0, 1, 0);
    run = await_end(&server, running, "cancelled");
    assert_string_equal(text(run, "reason"), "cancelled by a user");
    assert_true(json_is_null(json_object_get(run, "digest")));
    json_decref(run);
    json_decref(await_end(&server, queued, "cancelled"));
    /* The worker is free again. */
    json_decref(await_end(&server, submit(&server, trained), "succeeded"));
}

static void test_cancel_experiment(void **state)
{
    (void)state;
    json_t *made =
        ask(&server, "POST", "/v1/experiments",
            "{" STROKES(500) "," SMALL ",\"sweep\":[{\"training.epochs\":[1]},"
                             "{\"training.epochs\":[100000],\"training.seed\":[1,2,3]}]}",
            201);
    const json_int_t id = integer(made, "id"), first = integer(made, "first_run");
    json_decref(made);
    json_decref(await_end(&server, first, "succeeded"));
    json_decref(daemon_wait(&server, first + 1, is_training));
    json_t *experiment = get(&server, 200, "/v1/experiments/%lld", id);
    assert_string_equal(text(experiment, "state"), "running");
    json_decref(experiment);
    check_counts(cancel("experiments", id), 2, 1, 1);
    for (json_int_t i = 1; i <= 3; i++)
        json_decref(await_end(&server, first + i, "cancelled"));
    experiment = get(&server, 200, "/v1/experiments/%lld", id);
    assert_string_equal(text(experiment, "state"), "cancelled");
    assert_int_equal(integer(json_object_get(experiment, "counts"), "succeeded"), 1);
    json_decref(experiment);
    check_counts(cancel("experiments", id), 0, 0, 4);
}

/* ---- what is recorded on demand ---- */

static double last_of(const json_t *run, const char *series)
{
    const json_t *value = json_object_get(json_object_get(run, "final"), series);
    if (!json_is_real(value) && !json_is_integer(value))
        fail_msg("final has no number %s", series);
    return json_number_value(value);
}

static void test_probes(void **state)
{
    (void)state;
    const json_int_t id = submit(
        &server,
        "{\"dataset\":{\"name\":\"strokes\",\"train\":320,\"test\":50,\"augment\":{\"crop\":2,"
        "\"flip\":true}},\"network\":{\"layers\":[{\"units\":12},{\"units\":9}]},"
        "\"rule\":{\"name\":\"kp\"},\"training\":{\"epochs\":2,\"batch\":32},"
        "\"record\":{\"every\":1,\"assembly\":true,\"activity\":true,"
        "\"traces\":{\"groups\":[\"B\"],\"per_array\":3},\"synapses\":[\"W1/11/783\"]}}");
    json_t *run = await_end(&server, id, "succeeded");
    assert_true(json_is_null(json_object_get(run, "divergence")));
    const double c = last_of(run, "alignment/modulation/1");
    assert_true(fabs(last_of(run, "alignment/modulation_angle/1") - acos(c) * 57.29577951308232) <
                1e-6);
    const double share = last_of(run, "alignment/consistency/2"),
                 rank = last_of(run, "activity/effective_rank/1");
    assert_true(share >= 0.0 && share <= 1.0 && rank >= 1.0 && rank <= 12.0);
    size_t traces = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(run, "final"), name, value) traces +=
        strncmp(name, "trace/B", 7) == 0;
    assert_int_equal(traces, 6);
    json_t *page = get(&server, 200, "/v1/runs/%lld/metrics?name=trace/W1/11/783", id);
    const json_t *series = json_object_get(json_object_get(page, "series"), "trace/W1/11/783");
    const json_t *values = json_object_get(series, "values");
    assert_int_equal(json_object_size(json_object_get(page, "series")), 1);
    assert_int_equal(json_array_size(values), 20);
    assert_true(json_number_value(json_array_get(values, 19)) == last_of(run, "trace/W1/11/783"));
    json_decref(page);
    json_decref(run);
}

/* ---- diverging ---- */

/* A run that blows up is a result, beside others that do not. */
static void test_diverged(void **state)
{
    (void)state;
    json_t *made = ask(&server, "POST", "/v1/experiments",
                       "{\"dataset\":{\"name\":\"strokes\",\"train\":500,\"test\":100},\"network\":"
                       "{\"layers\":[{\"units\":8,\"activation\":\"identity\"}],\"loss\":\"mse\"},"
                       "\"rule\":{\"name\":\"bp\"},\"training\":{\"epochs\":3},"
                       "\"sweep\":{\"optimizer.lr\":[0.0001,1e6,0.0002]}}",
                       201);
    const json_int_t id = integer(made, "id"), first = integer(made, "first_run");
    json_decref(made);
    json_decref(await_end(&server, first, "succeeded"));
    json_decref(await_end(&server, first + 2, "succeeded"));
    json_t *run = await_end(&server, first + 1, "diverged");
    assert_non_null(strstr(text(run, "reason"), "is not finite at step "));
    assert_true(json_is_null(json_object_get(run, "digest")));
    assert_int_equal(integer(run, "attempts"), 1);
    assert_string_not_equal(text(run, "ended_at"), "");
    const json_t *divergence = json_object_get(run, "divergence"),
                 *norms = json_object_get(divergence, "norms");
    assert_true(integer(divergence, "step") > integer(divergence, "last_step"));
    assert_true(json_is_real(json_object_get(divergence, "last_loss")));
    assert_int_equal(json_object_size(norms), 2);
    assert_true(json_number_value(json_object_get(norms, "norm/W/1")) > 0.0);
    json_decref(run);
    json_decref(get(&server, 200, "/v1/runs/%lld/metrics", first + 1));
    json_t *experiment = get(&server, 200, "/v1/experiments/%lld", id);
    assert_string_equal(text(experiment, "state"), "diverged");
    json_decref(experiment);
    json_decref(get(&server, 200, "/healthz"));
}

/* Numbers beyond 64 bits come back as numbers that any reader of JSON takes. */
static void test_large_numbers(void **state)
{
    (void)state;
    const json_int_t id =
        submit(&server, "{" STROKES(500) "," SMALL ",\"optimizer\":{\"lr\":1e20}}");
    json_t *run = await_end(&server, id, "diverged");
    const json_t *optimizer = json_object_get(json_object_get(run, "definition"), "optimizer");
    assert_true(json_number_value(json_object_get(optimizer, "lr")) == 1e20);
    assert_true(integer(json_object_get(run, "progress"), "epochs") == 10);
    json_decref(get(&server, 200, "/v1/runs/%lld/metrics", id));
    json_decref(run);
}

/* ---- restarting ---- */

static json_t *metrics_of(json_int_t run)
{
    json_t *page = get(&server, 200, "/v1/runs/%lld/metrics", run);
    json_t *series = json_incref(json_object_get(page, "series"));
    assert_true(json_is_false(json_object_get(page, "more")));
    json_decref(page);
    return series;
}

/* SIGTERM in the middle of a run: it goes on after the start, and ends as if nothing had been. */
static void test_restart(void **state)
{
    (void)state;
    static const char definition[] = "{" STROKES(
        1000) ",\"network\":{\"layers\":[{\"units\":64},{\"units\":64}]},"
              "\"rule\":{\"name\":\"sal\"},\"optimizer\":{\"lr\":0.01,\"momentum\":0.5},"
              "\"training\":{\"epochs\":40,\"batch\":10},\"record\":{\"every\":100}}";
    const json_int_t whole = submit(&server, definition);
    json_t *undisturbed = await_end(&server, whole, "succeeded");
    const json_int_t halved = submit(&server, definition), waiting = submit(&server, trained);
    json_decref(daemon_wait(&server, halved, is_training));
    daemon_stop(&server);
    daemon_start(&server, "1", NULL);
    json_t *run = await_end(&server, halved, "succeeded");
    assert_true(integer(run, "attempts") >= 2);
    assert_string_equal(text(run, "digest"), text(undisturbed, "digest"));
    json_t *a = metrics_of(whole), *b = metrics_of(halved);
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    json_decref(run);
    json_decref(undisturbed);
    json_decref(await_end(&server, waiting, "succeeded"));
    /* What was there before is there still. */
    json_decref(await_end(&server, whole, "succeeded"));
    check_weights(whole, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),           cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_metrics),       cmocka_unit_test(test_pages),
        cmocka_unit_test(test_weights),       cmocka_unit_test(test_cancel_runs),
        cmocka_unit_test(test_probes),        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_large_numbers), cmocka_unit_test(test_cancel_experiment),
        cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
