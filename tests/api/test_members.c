// SPDX-License-Identifier: Apache-2.0
/*
 * Two members and an administrator on one server: weights, caps and bounds steer whose runs are trained,
 * and a selection that finds others' work leaves it alone.
 */
#include "api/contract.h"

#include "store/users.h"

#define DEFINITION(train, epochs, more)                                                            \
    "{\"dataset\":{\"name\":\"strokes\",\"train\":" #train ",\"test\":20},"                        \
    "\"network\":{\"layers\":[{\"units\":32}]},\"rule\":{\"name\":\"bp\"},"                        \
    "\"training\":{\"epochs\":" #epochs ",\"batch\":20},\"tags\":[\"members\"]" more "}"
#define TWENTY "{\"training.seed\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}"

static const char endless[] = DEFINITION(500, 100000, "");
static const char quick[] = DEFINITION(60, 1, "");
/* Some hundredths of a second each, so that times in milliseconds say something. */
static const char twenty[] = DEFINITION(1000, 8, ",\"sweep\":" TWENTY);

enum { RUNS = 20, QUEUED = 50 }; // of twenty; in the queue at most
enum who { LIGHT, HEAVY, ADMIN, WHO_COUNT };
static const char *const names[WHO_COUNT] = {"light", "heavy", "admin"};
static char tokens[WHO_COUNT][TOKEN_TEXT];

static int start(void **state)
{
    (void)state;
    struct store *store;
    struct tet_error error = {0};
    const struct identity by = {.user = "test"};
    setenv("TETRAD_MAX_RUNNING_PER_USER", "1", 1);
    setenv("TETRAD_MAX_QUEUED", "50", 1);
    daemon_folder(&server);
    assert_int_equal(store_open(&store, server.db, &error), TET_OK);
    for (int who = LIGHT; who < WHO_COUNT; who++) {
        int64_t id;
        const struct store_token token = {.user = names[who],
                                          .role = who == ADMIN ? ROLE_ADMIN : ROLE_MEMBER};
        assert_int_equal(store_token_create(store, &token, &by, tokens[who], &id, &error), TET_OK);
    }
    store_close(store);
    daemon_start(&server, "1", NULL);
    return 0;
}

/* ---- requests ---- */

static void send_as(enum who who, const char *method, const char *path, const char *body,
                    long status, struct reply *reply)
{
    char header[128];
    snprintf(header, sizeof header, "Authorization: Bearer %s", tokens[who]);
    ask_with(&server, method, path, body, (const char *const[]){header, NULL}, reply);
    expect(reply, status);
}

static json_t *as(enum who who, const char *method, const char *path, const char *body, long status)
{
    struct reply reply;
    send_as(who, method, path, body, status, &reply);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

static json_t *run_of(json_int_t run)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/runs/%lld", (long long)run);
    return as(ADMIN, "GET", path, NULL, 200);
}

/* The first run. */
static json_int_t submit_as(enum who who, const char *definition)
{
    json_t *made = as(who, "POST", "/v1/experiments", definition, 201);
    const json_int_t run = integer(made, "first_run");
    json_decref(made);
    return run;
}

static void await(json_int_t run, daemon_done_fn *done)
{
    const struct timespec pause = {.tv_nsec = WAIT_NS};
    for (int i = 0; i < WAIT_TRIES; i++) {
        json_t *json = run_of(run);
        const bool there = done(json);
        json_decref(json);
        if (there)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("run %lld does not get there", (long long)run);
}

static bool is_queued(json_int_t run)
{
    json_t *json = run_of(run);
    const bool queued = strcmp(text(json, "state"), "queued") == 0;
    json_decref(json);
    return queued;
}

static void share(enum who who, const char *body)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/users/%s", names[who]);
    json_decref(as(ADMIN, "PUT", path, body, 200));
}

static void cancel_all(void)
{
    json_decref(as(ADMIN, "POST", "/v1/actions",
                   "{\"action\":\"cancel\",\"select\":{\"tag\":\"members\"}}", 200));
}

/* A user in GET /v1/users or in the shares of GET /v1/queue; NULL where they are not in it. */
static json_t *find(const char *path, const char *list, const char *key, enum who who)
{
    json_t *reply = as(ADMIN, "GET", path, NULL, 200), *one, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(reply, list), i, one)
    {
        if (strcmp(text(one, key), names[who]) == 0)
            found = json_incref(one);
    }
    json_decref(reply);
    return found;
}

/* Both show the same standing; the queue leaves out who has no runs and had less than a second. */
static void assert_standing(enum who who, json_int_t running, json_int_t queued)
{
    json_t *user = find("/v1/users", "users", "name", who);
    json_t *standing = find("/v1/queue", "shares", "user", who);
    const double had = json_number_value(json_object_get(user, "recent_seconds"));
    assert_int_equal(integer(user, "running"), running);
    assert_int_equal(integer(user, "queued"), queued);
    assert_true(had > 0.0);
    if (standing == NULL) {
        assert_true(running == 0 && queued == 0 && had < 1.0);
    } else {
        const double same = json_number_value(json_object_get(standing, "recent_seconds"));
        assert_int_equal(integer(standing, "running"), running);
        assert_int_equal(integer(standing, "queued"), queued);
        assert_true(running > 0 || (had - same < 0.01 && same - had < 0.01));
    }
    json_decref(user);
    json_decref(standing);
}

/* ---- weights ---- */

struct turn {
    double start, end; // seconds of the day
    enum who who;
};

static int by_start(const void *a, const void *b)
{
    const double x = ((const struct turn *)a)->start, y = ((const struct turn *)b)->start;
    return (x > y) - (x < y);
}

/* Of "2026-01-31T12:00:00.000Z". */
static double seconds_of(const char *time)
{
    int hour = 0, minute = 0;
    double second = 0;
    assert_int_equal(sscanf(time + 11, "%d:%d:%lf", &hour, &minute, &second), 3);
    return hour * 3600 + minute * 60 + second;
}

static struct turn turn_of(json_int_t run, enum who who)
{
    await(run, is_over);
    json_t *json = run_of(run);
    assert_string_equal(text(json, "state"), "succeeded");
    struct turn turn = {seconds_of(text(json, "started_at")), seconds_of(text(json, "ended_at")),
                        who};
    turn.end += turn.end < turn.start ? 24 * 3600 : 0; // over midnight
    json_decref(json);
    return turn;
}

/* One worker, all of both in the queue before it is free: three times the weight, three times the
 * worker's time. How many runs that are depends on how evenly the machine works; what holds exactly is
 * that, while both have runs in the queue, time by weight differs by no more than a run. */
static void test_weights(void **state)
{
    (void)state;
    struct turn turns[2 * RUNS];
    json_int_t first[2];
    share(LIGHT, "{\"weight\":1,\"cap\":null}");
    share(HEAVY, "{\"weight\":3,\"cap\":null}");
    const json_int_t busy = submit_as(ADMIN, endless);
    await(busy, is_training);
    first[LIGHT] = submit_as(LIGHT, twenty);
    first[HEAVY] = submit_as(HEAVY, twenty);
    char path[64];
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)busy);
    json_decref(as(ADMIN, "POST", path, NULL, 200));
    for (int who = LIGHT; who <= HEAVY; who++)
        for (int i = 0; i < RUNS; i++)
            turns[who * RUNS + i] = turn_of(first[who] + i, (enum who)who);
    qsort(turns, 2 * RUNS, sizeof *turns, by_start);
    double had[2] = {0, 0}, longest[2] = {0, 0}, most = 0;
    int n[2] = {0, 0}, i = 0;
    for (; n[LIGHT] < RUNS && n[HEAVY] < RUNS; i++) {
        const double took = turns[i].end - turns[i].start;
        const enum who who = turns[i].who;
        n[who]++;
        had[who] += took;
        longest[who] = took > longest[who] ? took : longest[who];
        const double apart =
            had[LIGHT] > had[HEAVY] / 3 ? had[LIGHT] - had[HEAVY] / 3 : had[HEAVY] / 3 - had[LIGHT];
        most = apart > most ? apart : most;
    }
    const double run = longest[LIGHT] > longest[HEAVY] / 3 ? longest[LIGHT] : longest[HEAVY] / 3;
    print_message(
        "# %d of light's runs (%.2f s), %d of heavy's (%.2f s); %.3f s apart, a run %.3f\n",
        n[LIGHT], had[LIGHT], n[HEAVY], had[HEAVY], most, run);
    assert_true(most <=
                1.5 * run + 0.002 * i + 0.01); // times are in milliseconds; what a run takes varies
    assert_standing(LIGHT, 0, 0);
    assert_standing(HEAVY, 0, 0);
}

/* ---- bounds ---- */

/* With the queue full, nothing of a submission is taken. */
static void test_full(void **state)
{
    (void)state;
    char definition[1024], value[256];
    struct reply reply;
    const json_int_t busy = submit_as(ADMIN, endless);
    await(busy, is_training);
    submit_as(LIGHT, twenty);
    submit_as(HEAVY, twenty);
    send_as(HEAVY, "POST", "/v1/experiments", twenty, 503, &reply); // 60
    assert_non_null(reply_header(&reply, "Retry-After", value));
    assert_non_null(strstr(reply.body, "50"));
    reply_free(&reply);
    snprintf(definition, sizeof definition, "%s", quick);
    for (int i = 0; i < QUEUED - 2 * RUNS; i++)
        submit_as(ADMIN, definition);
    json_decref(as(LIGHT, "POST", "/v1/experiments", quick, 503));
    json_decref(as(LIGHT, "POST", "/v1/experiments?dry_run=1", quick, 200));
    cancel_all();
    await(busy, is_over);
    const json_int_t run = submit_as(LIGHT, quick); // there is room again
    await(run, is_over);
}

/* Two workers: a second run of one user waits, though one is idle, until the cap is raised. */
static void test_caps(void **state)
{
    (void)state;
    daemon_stop(&server);
    daemon_start(&server, "2", NULL);
    static const char *const caps[] = {"{\"weight\":1,\"cap\":null}", // --max-running-per-user
                                       "{\"weight\":1,\"cap\":1}"};
    for (size_t i = 0; i < 2; i++) {
        share(LIGHT, caps[i]);
        const json_int_t one = submit_as(LIGHT, endless), two = submit_as(LIGHT, endless);
        await(one, is_training);
        await(submit_as(HEAVY, quick),
              is_over); // the other worker looks at the queue, and after it
        await(submit_as(HEAVY, quick), is_over);
        assert_true(is_queued(two));
        assert_standing(LIGHT, 1, 1);
        share(LIGHT, "{\"weight\":1,\"cap\":2}");
        await(two, is_training);
        assert_standing(LIGHT, 2, 0);
        cancel_all();
        await(one, is_over);
        await(two, is_over);
    }
}

/* ---- others' work ---- */

static void assert_done(json_t *done, json_int_t experiments, json_int_t runs, json_int_t refused)
{
    assert_int_equal(integer(done, "experiments"), experiments);
    assert_int_equal(integer(done, "runs"), runs);
    assert_int_equal(integer(done, "refused"), refused);
    json_decref(done);
}

static void test_others(void **state)
{
    (void)state;
#define OURS "\"select\":{\"q\":\"ours\"}"
    static const char definition[] = DEFINITION(500, 100000, ",\"name\":\"ours\"");
    submit_as(LIGHT, definition);
    submit_as(LIGHT, definition);
    submit_as(HEAVY, definition);
    static const char *const dry = "{\"action\":\"pause\",\"dry_run\":true," OURS "}",
                             *const wet = "{\"action\":\"pause\"," OURS "}",
                             *const cancel = "{\"action\":\"cancel\"," OURS "}",
                             *const gone = "{\"action\":\"delete\"," OURS "}";
    assert_done(as(HEAVY, "POST", "/v1/actions", dry, 200), 1, 1, 2);
    assert_done(as(HEAVY, "POST", "/v1/actions", wet, 200), 1, 1, 2);
    assert_done(as(LIGHT, "POST", "/v1/actions", dry, 200), 2, 2, 1); // theirs were left alone
    assert_done(as(LIGHT, "POST", "/v1/actions", cancel, 200), 2, 2, 1);
    assert_done(as(LIGHT, "POST", "/v1/actions", gone, 200), 2, 2, 1);
    assert_done(as(ADMIN, "POST", "/v1/actions", cancel, 200), 1, 1, 0);
    assert_done(as(ADMIN, "POST", "/v1/actions", gone, 200), 1, 1, 0);

    json_t *log = as(ADMIN, "GET", "/v1/audit?limit=500", NULL, 200), *entry;
    size_t i, n = 0;
    json_array_foreach(json_object_get(log, "entries"), i, entry)
    {
        n += strcmp(text(entry, "action"), "POST /v1/actions") == 0 &&
             strcmp(text(entry, "user"), "admin") != 0;
    }
    assert_int_equal(n, 3); // the dry runs are not in it
    json_decref(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights), cmocka_unit_test(test_full),
                                       cmocka_unit_test(test_caps), cmocka_unit_test(test_others)};
    return cmocka_run_group_tests(tests, start, server_stop);
}
