// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the real server through a run's life as its owner decides it: paused, resumed, put before
 * others, deleted, one by one or by a selection; through the queue's view and its bounds. Every
 * reply is held against openapi.json.
 */
#include "api/contract.h"

#define STROKES(train)   "\"dataset\":{\"name\":\"strokes\",\"train\":" #train ",\"test\":50}"
#define SMALL            "\"network\":{\"layers\":[{\"units\":6},{\"units\":5}]},\"rule\":{\"name\":\"sal\"}"
#define TRAINING(epochs) "\"training\":{\"epochs\":" #epochs ",\"batch\":20}"
#define NAMED(name)      "\"name\":\"" name "\",\"tags\":[\"" name "\"],"

/* Long enough to be met in the middle. */
#define LONG                                                                                       \
    STROKES(500) "," SMALL ",\"training\":{\"epochs\":" LASTING("1500", "300") ",\"batch\":20}"
static const char long_one[] =
    "{" LONG ",\"record\":{\"every\":1000,\"checkpoint_epochs\":" LASTING("500", "100") "}}";
static const char endless[] = "{" NAMED("endless") STROKES(500) "," SMALL "," TRAINING(100000) "}";
static const char quick[] = "{" NAMED("quick") STROKES(60) "," SMALL "," TRAINING(1) "}";

enum { EACH = 40 }; // runs that a user may have in the queue

static int start(void **state)
{
    (void)state;
    setenv("TETRAD_MAX_QUEUED_PER_USER", "40", 1);
    setenv("TETRAD_HALF_LIFE", "12h", 1);
    return server_start("1", NULL);
}

__attribute__((format(printf, 4, 5))) static json_t *tell(const char *method, const char *body,
                                                          long status, const char *format, ...)
{
    char path[200];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return ask(&server, method, path, body, status);
}

static void assert_acted(json_t *reply, json_int_t queued, json_int_t running, json_int_t finished)
{
    assert_int_equal(integer(reply, "queued"), queued);
    assert_int_equal(integer(reply, "running"), running);
    assert_int_equal(integer(reply, "finished"), finished);
    json_decref(reply);
}

static bool is_paused(const json_t *run)
{
    return strcmp(text(run, "state"), "paused") == 0 || is_over(run);
}

static json_int_t experiment_of(json_int_t run)
{
    json_t *json = get(&server, 200, "/v1/runs/%lld", (long long)run);
    const json_int_t id = integer(json, "experiment");
    json_decref(json);
    return id;
}

static void cancel(json_int_t run)
{
    json_decref(tell("POST", "", 200, "/v1/runs/%lld/cancel", (long long)run));
    json_decref(daemon_wait(&server, run, is_over));
}

/* Every test leaves the queue empty: the worker is free once this has run. */
static void settle(void)
{
    json_decref(await_end(&server, submit(&server, quick), "succeeded"));
}

/* ---- pause and resume ---- */

static void pause_in_the_middle(json_int_t run)
{
    json_decref(daemon_wait(&server, run, is_training));
    assert_acted(tell("POST", "", 200, "/v1/runs/%lld/pause", (long long)run), 0, 1, 0);
    json_t *json = daemon_wait(&server, run, is_paused);
    assert_string_equal(text(json, "state"), "paused");
    assert_string_equal(text(json, "reason"), "paused by a user");
    const json_t *progress = json_object_get(json, "progress");
    assert_in_range(integer(progress, "step"), 1, integer(progress, "steps") - 1);
    assert_true(json_array_size(json_object_get(json, "checkpoints")) > 0);
    json_decref(json);
}

/* Paused twice, once over a restart: the weights are those of the run that nobody disturbed. */
static void test_same_digest(void **state)
{
    (void)state;
    json_t *whole = await_end(&server, submit(&server, long_one), "succeeded");
    const json_int_t run = submit(&server, long_one);
    pause_in_the_middle(run);
    settle(); // the worker is free for others
    daemon_stop(&server);
    daemon_start(&server, "1", NULL);
    json_t *still = get(&server, 200, "/v1/runs/%lld", (long long)run);
    assert_string_equal(text(still, "state"), "paused");
    assert_acted(tell("POST", "", 200, "/v1/runs/%lld/resume", (long long)run), 1, 0, 0);
    json_decref(still);
    pause_in_the_middle(run);
    assert_acted(
        tell("POST", "", 200, "/v1/experiments/%lld/resume", (long long)experiment_of(run)), 1, 0,
        0);
    json_t *resumed = await_end(&server, run, "succeeded");
    assert_string_equal(text(resumed, "digest"), text(whole, "digest"));
    assert_int_equal(integer(resumed, "attempts"), 3);
    json_decref(resumed);
    json_decref(whole);
}

/* A server that is killed while the worker stops: the run is paused all the same, or was before. */
static void test_killed_while_pausing(void **state)
{
    (void)state;
    const json_int_t run = submit(&server, endless);
    json_decref(daemon_wait(&server, run, is_training));
    json_decref(tell("POST", "", 200, "/v1/runs/%lld/pause", (long long)run));
    kill(server.pid, SIGKILL);
    assert_int_equal(reap(server.pid, STOP_MS), 1000 + SIGKILL);
    server.pid = 0;
    daemon_start(&server, "1", NULL);
    json_t *json = get(&server, 200, "/v1/runs/%lld", (long long)run);
    assert_string_equal(text(json, "state"), "paused");
    assert_string_equal(text(json, "reason"), "paused by a user");
    json_decref(json);
    json_decref(tell("POST", "", 200, "/v1/runs/%lld/resume", (long long)run));
    json_decref(daemon_wait(&server, run, is_training));
    cancel(run);
    assert_acted(tell("POST", "", 200, "/v1/runs/%lld/pause", (long long)run), 0, 0, 1);
    json_decref(tell("POST", "", 404, "/v1/runs/%lld/pause", 999999LL));
    settle();
}

/* ---- the queue ---- */

static void test_queue(void **state)
{
    (void)state;
    const json_int_t busy = submit(&server, endless), experiment = experiment_of(busy);
    json_decref(daemon_wait(&server, busy, is_training));
    json_int_t waiting[4];
    for (int i = 0; i < 4; i++)
        waiting[i] = submit(&server, quick);
    assert_acted(
        tell("POST", "{\"priority\":5}", 200, "/v1/runs/%lld/priority", (long long)waiting[2]), 1,
        0, 0);
    assert_acted(tell("POST", "{\"priority\":-100}", 200, "/v1/experiments/%lld/priority",
                      (long long)experiment_of(waiting[0])),
                 1, 0, 0);

    json_t *queue = get(&server, 200, "/v1/queue");
    const json_t *running = json_object_get(queue, "running"),
                 *queued = json_object_get(queue, "queued"),
                 *share = json_array_get(json_object_get(queue, "shares"), 0);
    assert_int_equal(integer(queue, "length"), 4);
    assert_int_equal(integer(queue, "workers"), 1);
    assert_int_equal(json_array_size(running), 1);
    assert_int_equal(integer(json_array_get(running, 0), "run"), busy);
    assert_int_equal(integer(json_array_get(running, 0), "experiment"), experiment);
    assert_true(json_number_value(json_object_get(queue, "half_life_s")) == 12 * 3600.0);
    assert_string_equal(text(share, "user"), "local");
    assert_int_equal(integer(share, "queued"), 4);
    assert_int_equal(integer(share, "running"), 1);
    const json_int_t order[] = {waiting[2], waiting[1], waiting[3], waiting[0]};
    for (int i = 0; i < 4; i++) {
        const json_t *place = json_array_get(queued, (size_t)i);
        assert_int_equal(integer(place, "position"), i + 1);
        assert_int_equal(integer(place, "run"), order[i]);
        assert_true(json_is_string(json_object_get(place, "estimated_start_at")));
        assert_true(strcmp(text(place, "estimated_start_at"), text(place, "estimated_end_at")) <=
                    0);
        json_t *run = get(&server, 200, "/v1/runs/%lld", (long long)order[i]);
        assert_int_equal(integer(run, "queue_position"), i + 1);
        assert_string_equal(text(run, "owner"), "local");
        assert_int_equal(integer(run, "priority"), i == 0 ? 5 : i == 3 ? -100 : 0);
        json_decref(run);
    }
    json_decref(queue);

    queue = get(&server, 200, "/v1/queue?limit=2&cursor=1");
    assert_int_equal(json_array_size(json_object_get(queue, "queued")), 2);
    assert_int_equal(integer(json_array_get(json_object_get(queue, "queued"), 0), "run"), order[1]);
    assert_string_equal(text(queue, "next"), "3");
    json_decref(queue);
    queue = get(&server, 200, "/v1/queue?cursor=3");
    assert_true(json_is_null(json_object_get(queue, "next")));
    json_decref(queue);
    json_decref(get(&server, 400, "/v1/queue?limit=0"));
    json_decref(get(&server, 400, "/v1/queue?page=2"));

    cancel(busy);
    for (int i = 0; i < 4; i++)
        json_decref(await_end(&server, waiting[i], "succeeded"));
    json_t *run = get(&server, 200, "/v1/runs/%lld", (long long)waiting[0]);
    json_t *before = get(&server, 200, "/v1/runs/%lld", (long long)waiting[2]);
    assert_true(json_is_null(json_object_get(run, "queue_position")));
    assert_true(strcmp(text(before, "started_at"), text(run, "started_at")) < 0);
    json_decref(before);
    json_decref(run);
}

/* ---- deleting ---- */

static void test_delete(void **state)
{
    (void)state;
    const json_int_t run = submit(&server, quick), experiment = experiment_of(run);
    json_decref(await_end(&server, run, "succeeded"));
    json_t *fork = tell("POST", "{\"changes\":{\"training.epochs\":2}}", 201, "/v1/runs/%lld/fork",
                        (long long)run);
    const json_int_t child = integer(fork, "first_run");
    json_decref(fork);
    json_t *gone = tell("DELETE", NULL, 200, "/v1/experiments/%lld", (long long)experiment);
    assert_int_equal(integer(gone, "experiment"), experiment);
    assert_int_equal(integer(gone, "runs"), 1);
    assert_true(integer(gone, "freed_bytes") > 784 * 6 * 4);
    json_decref(gone);
    json_decref(tell("DELETE", NULL, 404, "/v1/experiments/%lld", (long long)experiment));
    json_decref(get(&server, 404, "/v1/experiments/%lld", (long long)experiment));
    json_decref(get(&server, 404, "/v1/experiments/%lld/summary", (long long)experiment));
    json_decref(get(&server, 404, "/v1/runs/%lld", (long long)run));
    json_decref(get(&server, 404, "/v1/runs/%lld/metrics", (long long)run));
    json_decref(get(&server, 404, "/v1/runs/%lld/weights", (long long)run));
    json_decref(await_end(&server, child, "succeeded")); // it has its own beginning

    const json_int_t busy = submit(&server, endless);
    json_decref(daemon_wait(&server, busy, is_training));
    json_decref(tell("DELETE", NULL, 409, "/v1/experiments/%lld", (long long)experiment_of(busy)));
    const json_int_t other = experiment_of(busy);
    cancel(busy);
    json_decref(tell("DELETE", NULL, 200, "/v1/experiments/%lld", (long long)other));
    settle();
}

/* ---- many at once ---- */

static void assert_done(json_t *done, const char *action, json_int_t experiments, json_int_t runs,
                        json_int_t refused)
{
    assert_string_equal(text(done, "action"), action);
    assert_int_equal(integer(done, "experiments"), experiments);
    assert_int_equal(integer(done, "runs"), runs);
    assert_int_equal(integer(done, "refused"), refused);
    json_decref(done);
}

static json_t *bulk(const char *body)
{
    return ask(&server, "POST", "/v1/actions", body, 200);
}

static void test_bulk(void **state)
{
    (void)state;
    const json_int_t busy = submit(&server, endless);
    json_decref(daemon_wait(&server, busy, is_training));
    for (int i = 0; i < 3; i++)
        json_decref(ask(&server, "POST", "/v1/experiments",
                        "{" NAMED("many") STROKES(60) "," SMALL "," TRAINING(
                            1) ",\"sweep\":{\"training.seed\":[1,2]}}",
                        201));
#define MANY "\"select\":{\"tag\":\"many\"}"
    assert_done(bulk("{\"action\":\"pause\"," MANY ",\"dry_run\":true}"), "pause", 3, 6, 0);
    assert_done(bulk("{\"action\":\"pause\"," MANY "}"), "pause", 3, 6, 0);
    assert_done(bulk("{\"action\":\"pause\"," MANY "}"), "pause", 0, 0, 0);
    assert_done(bulk("{\"action\":\"priority\",\"priority\":9," MANY "}"), "priority", 3, 6, 0);
    assert_done(bulk("{\"action\":\"resume\",\"select\":{\"q\":\"MANY\",\"state\":\"paused\","
                     "\"owner\":\"local\"}}"),
                "resume", 3, 6, 0);
    assert_done(bulk("{\"action\":\"resume\",\"select\":{\"owner\":\"nobody\"}}"), "resume", 0, 0,
                0);
    assert_done(bulk("{\"action\":\"delete\"," MANY "}"), "delete", 0, 0, 3); // queued
    char body[200];
    snprintf(body, sizeof body, "{\"action\":\"cancel\",\"select\":{\"ids\":[%lld,%lld]}}",
             (long long)experiment_of(busy), (long long)experiment_of(busy) + 2);
    assert_done(bulk(body), "cancel", 2, 3, 0);
    json_decref(daemon_wait(&server, busy, is_over));
    assert_done(bulk("{\"action\":\"cancel\"," MANY "}"), "cancel", 2, 4, 0);
    assert_done(bulk("{\"action\":\"delete\"," MANY "}"), "delete", 3, 6, 0);
    json_t *list = get(&server, 200, "/v1/experiments?tag=many");
    assert_int_equal(json_array_size(json_object_get(list, "experiments")), 0);
    json_decref(list);
    settle();
}

static void test_bad_actions(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer;
    } cases[] = {
        {"{\"action\":\"stop\",\"select\":{\"q\":\"x\"}}", "/action"},
        {"{\"action\":1,\"select\":{\"q\":\"x\"}}", "/action"},
        {"{\"action\":\"cancel\"}", "/select"},
        {"{\"action\":\"cancel\",\"select\":{}}", "/select"},
        {"{\"action\":\"cancel\",\"select\":[]}", "/select"},
        {"{\"action\":\"cancel\",\"select\":{\"name\":\"x\"}}", "/select/name"},
        {"{\"action\":\"cancel\",\"select\":{\"q\":\"\"}}", "/select/q"},
        {"{\"action\":\"cancel\",\"select\":{\"state\":\"done\"}}", "/select/state"},
        {"{\"action\":\"cancel\",\"select\":{\"ids\":7}}", "/select/ids"},
        {"{\"action\":\"cancel\",\"select\":{\"ids\":[1,0]}}", "/select/ids/1"},
        {"{\"action\":\"cancel\",\"priority\":1,\"select\":{\"q\":\"x\"}}", "/priority"},
        {"{\"action\":\"priority\",\"select\":{\"q\":\"x\"}}", "/priority"},
        {"{\"action\":\"priority\",\"priority\":101,\"select\":{\"q\":\"x\"}}", "/priority"},
        {"{\"action\":\"cancel\",\"dry_run\":1,\"select\":{\"q\":\"x\"}}", "/dry_run"},
        {"{\"action\":\"cancel\",\"when\":1,\"select\":{\"q\":\"x\"}}", "/when"},
        {"[]", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *reply = ask(&server, "POST", "/v1/actions", cases[i].body, 422);
        const json_t *faults = json_object_get(json_object_get(reply, "error"), "details");
        assert_int_equal(json_array_size(faults), 1);
        assert_string_equal(text(json_array_get(faults, 0), "pointer"), cases[i].pointer);
        json_decref(reply);
    }
    json_decref(ask(&server, "POST", "/v1/actions", "{\"action\":", 400));
    const json_int_t run = submit(&server, quick);
    json_decref(tell("POST", "{\"priority\":-101}", 422, "/v1/runs/%lld/priority", (long long)run));
    json_decref(tell("POST", "{\"priority\":1.5}", 422, "/v1/runs/%lld/priority", (long long)run));
    json_decref(tell("POST", "{\"prio\":1}", 422, "/v1/runs/%lld/priority", (long long)run));
    json_decref(tell("POST", "{}", 422, "/v1/runs/%lld/priority", (long long)run));
    json_decref(tell("POST", "", 400, "/v1/runs/%lld/priority", (long long)run));
    json_decref(tell("POST", "{\"priority\":1}", 404, "/v1/experiments/999999/priority"));
    json_decref(await_end(&server, run, "succeeded"));
}

/* ---- bounds ---- */

static void test_bound(void **state)
{
    (void)state;
    const json_int_t busy = submit(&server, endless);
    json_decref(daemon_wait(&server, busy, is_training));
    for (int i = 0; i < EACH; i++)
        submit(&server, quick);
    struct reply reply;
    char value[256];
    ask_with(&server, "POST", "/v1/experiments", quick, NULL, &reply);
    expect(&reply, 429);
    assert_non_null(reply_header(&reply, "Retry-After", value));
    assert_non_null(strstr(reply.body, "40"));
    reply_free(&reply);
    json_decref(ask(&server, "POST", "/v1/experiments?dry_run=1", quick, 200));
    assert_done(bulk("{\"action\":\"cancel\",\"select\":{\"state\":\"queued\"}}"), "cancel", EACH,
                EACH, 0);
    cancel(busy);
    settle();
}

/* Options that mean nothing. */
static void test_options(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"--half-life", "0"},  {"--half-life", "24d"},          {"--half-life", "nan"},
        {"--max-queued", "0"}, {"--max-queued-per-user", "-1"}, {"--max-running-per-user", "x"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ended ended;
        char db[128];
        snprintf(db, sizeof db, "%s/other.db", server.folder);
        const char *const arguments[] = {"serve",       "--db",    db,        "--listen",
                                         "127.0.0.1:0", bad[i][0], bad[i][1], NULL};
        run_program(&server, &ended, arguments);
        if (ended.status != 2 || strstr(ended.err, bad[i][0]) == NULL)
            fail_msg("%s %s: status %d, %s", bad[i][0], bad[i][1], ended.status, ended.err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_digest), cmocka_unit_test(test_killed_while_pausing),
        cmocka_unit_test(test_queue),       cmocka_unit_test(test_delete),
        cmocka_unit_test(test_bulk),        cmocka_unit_test(test_bad_actions),
        cmocka_unit_test(test_bound),       cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
