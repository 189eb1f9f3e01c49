// SPDX-License-Identifier: Apache-2.0
/*
 * Every route of the program, asked by everybody: without a token, with a wrong, a revoked and an
 * expired one, as a viewer, as another member, as the owner, as an administrator. A route that is not in
 * the table of expectations fails the test.
 */
#include "api/contract.h"

#include "api/api.h"
#include "store/internal.h"
#include "store/users.h"

enum who { NONE, WRONG, REVOKED, EXPIRED, VIEWER, OTHER, OWNER, ADMIN, WHO_COUNT };
static const char *const who_text[WHO_COUNT] = {
    "nobody",   "a wrong token",  "a revoked token", "an expired token",
    "a viewer", "another member", "the owner",       "an administrator"};

/* Who gets through; everybody else gets 401 without a good token and 403 with one. */
enum allowed { EVERYBODY, VIEWERS, MEMBERS, OWNERS, ADMINS };

/* A route of api_routes, a request to it, and the status for who gets through, be it that the request
 * then fails: run 1 is of the owner, ended and pinned; the dataset lab is theirs, and run 2 needs it. */
#define SMALL                                                                                      \
    "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"bp\"},\"training\":{\"batch\":" \
    "20"
static const struct expectation {
    const char *method, *route, *path;
    enum allowed allowed;
    long status;
    const char *body, *type; // type NULL: JSON
} expectations[] = {
    {"GET", "/", "/", EVERYBODY, 200, NULL, NULL},
    {"GET", "/assets/{name}", "/assets/app.js", EVERYBODY, 200, NULL, NULL},
    {"GET", "/assets/pages/{name}", "/assets/pages/users.js", EVERYBODY, 200, NULL, NULL},
    {"GET", "/v1", "/v1", EVERYBODY, 200, NULL, NULL},
    {"GET", "/healthz", "/healthz", EVERYBODY, 200, NULL, NULL},
    {"GET", "/readyz", "/readyz", EVERYBODY, 200, NULL, NULL},
    {"GET", "/openapi.json", "/openapi.json", EVERYBODY, 200, NULL, NULL},
    {"GET", "/metrics", "/metrics", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/me", "/v1/me", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/rules", "/v1/rules", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/series", "/v1/series", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/schema", "/v1/schema", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/examples", "/v1/examples", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/datasets", "/v1/datasets", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/datasets/{name}", "/v1/datasets/strokes", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/datasets/{name}/samples.png", "/v1/datasets/strokes/samples.png", VIEWERS, 200,
     NULL, NULL},
    {"GET", "/v1/queue", "/v1/queue", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/experiments", "/v1/experiments", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/experiments/{id}", "/v1/experiments/1", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/experiments/{id}/summary", "/v1/experiments/1/summary", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/runs/{id}", "/v1/runs/1", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/runs/{id}/metrics", "/v1/runs/1/metrics", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/runs/{id}/protocol", "/v1/runs/1/protocol", VIEWERS, 404, NULL, NULL},
    {"GET", "/v1/runs/{id}/weights", "/v1/runs/1/weights", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/runs/{id}/weights.npz", "/v1/runs/1/weights.npz", VIEWERS, 200, NULL, NULL},
    {"GET", "/v1/runs/{id}/weights/{name}.npy", "/v1/runs/1/weights/W1.npy", VIEWERS, 200, NULL,
     NULL},
    {"GET", "/v1/runs/{id}/weights/{name}.png", "/v1/runs/1/weights/W1.png", VIEWERS, 200, NULL,
     NULL},
    {"POST", "/v1/runs/{id}/predict", "/v1/runs/1/predict", VIEWERS, 200,
     "{\"part\":\"test\",\"indices\":[0]}", NULL},
    /* The streams, if they began, would not end. */
    {"GET", "/v1/events", "/v1/events?types=none", VIEWERS, 400, NULL, NULL},
    {"GET", "/v1/runs/{id}/events", "/v1/runs/1/events?types=none", VIEWERS, 400, NULL, NULL},
    {"POST", "/v1/experiments", "/v1/experiments?dry_run=1", MEMBERS, 200,
     "{\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":20}," SMALL "}}", NULL},
    {"POST", "/v1/runs/{id}/fork", "/v1/runs/1/fork", MEMBERS, 201, "{\"changes\":{}}", NULL},
    {"POST", "/v1/runs/{id}/rerun", "/v1/runs/1/rerun", MEMBERS, 201, NULL, NULL},
    {"POST", "/v1/import", "/v1/import", MEMBERS, 422, "PK", "application/zip"},
    {"PUT", "/v1/datasets/{name}", "/v1/datasets/other", MEMBERS, 422, "a,label\n", "text/csv"},
    {"POST", "/v1/actions", "/v1/actions", MEMBERS, 200,
     "{\"action\":\"cancel\",\"select\":{\"ids\":[1]}}", NULL}, // others': refused, and told so
    {"DELETE", "/v1/datasets/{name}", "/v1/datasets/lab", OWNERS, 409, NULL, NULL},
    {"DELETE", "/v1/experiments/{id}", "/v1/experiments/1", OWNERS, 409, NULL, NULL},
    {"POST", "/v1/experiments/{id}/cancel", "/v1/experiments/1/cancel", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/experiments/{id}/pause", "/v1/experiments/1/pause", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/experiments/{id}/resume", "/v1/experiments/1/resume", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/experiments/{id}/priority", "/v1/experiments/1/priority", OWNERS, 200,
     "{\"priority\":1}", NULL},
    {"POST", "/v1/runs/{id}/cancel", "/v1/runs/1/cancel", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/runs/{id}/pause", "/v1/runs/1/pause", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/runs/{id}/resume", "/v1/runs/1/resume", OWNERS, 200, NULL, NULL},
    {"POST", "/v1/runs/{id}/priority", "/v1/runs/1/priority", OWNERS, 200, "{\"priority\":1}",
     NULL},
    {"POST", "/v1/runs/{id}/pin", "/v1/runs/1/pin", OWNERS, 200, "{}", NULL},
    {"GET", "/v1/users", "/v1/users", ADMINS, 200, NULL, NULL},
    {"PUT", "/v1/users/{name}", "/v1/users/owner", ADMINS, 200, "{\"weight\":2,\"cap\":null}",
     NULL},
    {"GET", "/v1/tokens", "/v1/tokens", ADMINS, 200, NULL, NULL},
    {"POST", "/v1/tokens", "/v1/tokens", ADMINS, 201, "{\"user\":\"new\",\"role\":\"viewer\"}",
     NULL},
    {"DELETE", "/v1/tokens/{id}", "/v1/tokens/1", ADMINS, 200, NULL, NULL}, // the revoked one
    {"GET", "/v1/audit", "/v1/audit", ADMINS, 200, NULL, NULL},
    {"POST", "/v1/admin/backup", "/v1/admin/backup", ADMINS, 201, "{}", NULL},
    {"POST", "/v1/admin/retention", "/v1/admin/retention", ADMINS, 200,
     "{\"last\":1,\"dry_run\":true}", NULL},
};

static const struct expectation *expectation_of(const struct http_route *route)
{
    for (size_t i = 0; i < sizeof expectations / sizeof *expectations; i++)
        if (strcmp(expectations[i].method, route->method) == 0 &&
            strcmp(expectations[i].route, route->path) == 0)
            return &expectations[i];
    fail_msg("%s %s: test_roles.c does not say who may use it", route->method, route->path);
    return NULL;
}

static long expected_status(const struct expectation *e, enum who who)
{
    static const enum who least[] = {NONE, VIEWER, OTHER, OWNER, ADMIN};
    if (who == WRONG || who == REVOKED || who == EXPIRED) // whatever the route
        return 401;
    if (who >= least[e->allowed])
        return e->status;
    return who == NONE ? 401 : 403;
}

/* ---- the server and the tokens ---- */

static char tokens[WHO_COUNT][TOKEN_TEXT];
static int64_t ids[WHO_COUNT];

static void make_token(struct store *store, enum who who, const char *user, enum role role)
{
    struct tet_error error = {0};
    const struct store_token token = {.user = user, .role = role};
    const struct identity by = {.user = "test"};
    if (store_token_create(store, &token, &by, tokens[who], &ids[who], &error) != TET_OK)
        fail_msg("%s", error.message);
}

static int start(void **state)
{
    (void)state;
    struct store *store;
    struct db db;
    struct tet_error error = {0};
    daemon_folder(&server);
    assert_int_equal(store_open(&store, server.db, &error), TET_OK);
    make_token(store, REVOKED, "owner", ROLE_ADMIN); // 1
    make_token(store, EXPIRED, "owner", ROLE_ADMIN);
    make_token(store, VIEWER, "viewer", ROLE_VIEWER);
    make_token(store, OTHER, "other", ROLE_MEMBER);
    make_token(store, OWNER, "owner", ROLE_MEMBER);
    make_token(store, ADMIN, "admin", ROLE_ADMIN);
    assert_int_equal(ids[REVOKED], 1);
    strcpy(tokens[WRONG], tokens[ADMIN]);
    tokens[WRONG][10] = tokens[WRONG][10] == 'a' ? 'b' : 'a';
    const struct identity by = {.user = "test"};
    assert_int_equal(store_token_revoke(store, ids[REVOKED], &by, &error), TET_OK);
    store_close(store);
    assert_int_equal(db_open(&db, server.db, false, &error), TET_OK);
    assert_int_equal(db_exec(&db, "UPDATE token SET expires_ms = 1 WHERE id = 2", &error), TET_OK);
    db_close(&db);
    daemon_start(&server, "2", NULL);
    return 0;
}

/* type: of the body; NULL: JSON. */
static void send_as(enum who who, const char *method, const char *path, const char *body,
                    const char *type, struct reply *reply)
{
    char token[128], content[64];
    snprintf(token, sizeof token, who != NONE ? "Authorization: Bearer %s" : "Accept: */*%s",
             tokens[who]);
    snprintf(content, sizeof content, "Content-Type: %s", type != NULL ? type : "application/json");
    ask_with(&server, method, path, body,
             (const char *const[]){token, body != NULL ? content : NULL, NULL}, reply);
}

static void ask_as(enum who who, const char *method, const char *path, const char *body,
                   struct reply *reply)
{
    send_as(who, method, path, body, NULL, reply);
}

static json_t *json_as(enum who who, const char *method, const char *path, const char *body,
                       long status)
{
    struct reply reply;
    ask_as(who, method, path, body, &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

/* Run 1 of the owner, to its end; run 2, which needs a dataset of theirs, until it is paused. */
static void await_as(enum who who, const char *path, const char *state)
{
    const struct timespec pause = {.tv_nsec = WAIT_NS};
    for (int i = 0; i < WAIT_TRIES; i++) {
        json_t *run = json_as(who, "GET", path, NULL, 200);
        const bool there = strcmp(text(run, "state"), state) == 0;
        json_decref(run);
        if (there)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("%s does not get %s", path, state);
}

static void prepare(void)
{
    struct reply reply;
    json_decref(json_as(OWNER, "POST", "/v1/experiments",
                        "{\"name\":\"owned\",\"dataset\":{\"name\":\"strokes\",\"train\":60,"
                        "\"test\":20}," SMALL
                        ",\"epochs\":1},\"record\":{\"checkpoint_epochs\":1}}",
                        201));
    await_as(VIEWER, "/v1/runs/1", "succeeded");
    json_decref(json_as(OWNER, "POST", "/v1/runs/1/pin", "{}", 200));
    send_as(OWNER, "PUT", "/v1/datasets/lab",
            "a,label,b\n0.5,0,1\n1,2,2\n-1e-3,1,\"3\"\n4,1,5\n0,0,0\n", "text/csv", &reply);
    expect(&reply, 201);
    reply_free(&reply);
    json_decref(json_as(
        OWNER, "POST", "/v1/experiments",
        "{\"name\":\"needs lab\",\"dataset\":{\"name\":\"lab\"},"
        "\"network\":{\"layers\":[{\"units\":500},{\"units\":500}]},\"rule\":{\"name\":\"bp\"},"
        "\"training\":{\"batch\":1,\"epochs\":100000}}",
        201));
    json_decref(json_as(OWNER, "POST", "/v1/runs/2/pause", NULL, 200));
    await_as(VIEWER, "/v1/runs/2", "paused");
}

/* ---- tests ---- */

static void test_every_route(void **state)
{
    (void)state;
    char from[32], value[256];
    int failures = 0, asked = 0;
    prepare();
    for (const struct http_route *route = api_routes; route->method != NULL; route++) {
        const struct expectation *e = expectation_of(route);
        /* From an address of its own, so that the wrong tokens of other routes do not count. */
        snprintf(from, sizeof from, "127.0.1.%d", (int)(route - api_routes) + 1);
        request_from = from;
        for (enum who who = NONE; who < WHO_COUNT; who++) {
            struct reply reply;
            send_as(who, e->method, e->path, e->body, e->type, &reply);
            const long wanted = expected_status(e, who);
            if (reply.status != wanted) {
                print_message("# %s %s as %s: %ld, wanted %ld: %.300s\n", e->method, e->path,
                              who_text[who], reply.status, wanted,
                              reply.body != NULL ? reply.body : "");
                failures++;
            }
            if ((reply.status == 401) != (reply_header(&reply, "WWW-Authenticate", value) != NULL))
                failures++;
            reply_free(&reply);
            asked++;
        }
    }
    request_from = NULL;
    struct reply metered; // each under its own name
    ask_as(VIEWER, "GET", "/metrics", NULL, &metered);
    for (const struct http_route *route = api_routes; route->method != NULL; route++) {
        snprintf(value, sizeof value, "_count{method=\"%s\",route=\"%s\",", route->method,
                 route->path);
        if (strstr(metered.body, value) == NULL)
            fail_msg("GET /metrics has no %s", value);
    }
    reply_free(&metered);
    print_message("# %d requests\n", asked);
    assert_int_equal(failures, 0);
}

/* What was changed is in the log, with who did it; what was refused, read or tried is not. */
static void test_log(void **state)
{
    (void)state;
    json_t *page = json_as(ADMIN, "GET", "/v1/audit?limit=500", NULL, 200), *entry;
    size_t i, cancels = 0, forks = 0, submissions = 0, created = 0, others = 0, idle = 0;
    json_array_foreach(json_object_get(page, "entries"), i, entry)
    {
        const char *action = text(entry, "action"), *user = text(entry, "user");
        if (strcmp(action, "POST /v1/runs/{id}/cancel") == 0) {
            cancels++;
            assert_string_equal(text(entry, "object"), "/v1/runs/1/cancel");
            assert_true(strcmp(user, "owner") == 0 || strcmp(user, "admin") == 0);
            assert_int_equal(integer(entry, "token"),
                             ids[strcmp(user, "owner") == 0 ? OWNER : ADMIN]);
        }
        forks += strcmp(action, "POST /v1/runs/{id}/fork") == 0;
        submissions += strcmp(action, "POST /v1/experiments") == 0;
        created += strcmp(action, "token create") == 0 && strcmp(user, "admin") == 0;
        idle += strcmp(action, "POST /v1/actions") == 0 ||
                strcmp(action, "POST /v1/admin/retention") == 0 ||
                strstr(action, "predict") != NULL;
        others += strncmp(action, "GET", 3) == 0 || strcmp(user, "viewer") == 0;
    }
    json_decref(page);
    assert_int_equal(cancels, 2);
    assert_int_equal(forks, 3);
    assert_int_equal(submissions, 2); // the dry runs changed nothing
    assert_int_equal(idle, 0);        // nor did these
    assert_int_equal(created, 1);
    assert_int_equal(others, 0);
    page = json_as(ADMIN, "GET", "/v1/audit?user=owner&limit=1", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "entries")), 1);
    assert_true(json_is_string(json_object_get(page, "next")));
    json_decref(page);
}

/* A fork belongs to who made it, whosever the run was. */
static void test_fork_is_theirs(void **state)
{
    (void)state;
    char path[64];
    json_t *fork = json_as(OTHER, "POST", "/v1/runs/1/fork", "{\"changes\":{}}", 201);
    snprintf(path, sizeof path, "/v1/runs/%lld/cancel", (long long)integer(fork, "first_run"));
    json_decref(fork);
    json_decref(json_as(OWNER, "POST", path, NULL, 403));
    json_decref(json_as(OTHER, "POST", path, NULL, 200));
    json_decref(json_as(OTHER, "POST", "/v1/runs/999/cancel", NULL, 404));
    json_decref(json_as(OTHER, "POST", "/v1/experiments/999/cancel", NULL, 404));
}

/* Of both members each keeps their own idempotency keys. */
static void test_keys_are_theirs(void **state)
{
    (void)state;
    static const char definition[] =
        "{\"dataset\":{\"name\":\"strokes\",\"train\":60,\"test\":20},"
        "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"bp\"},"
        "\"training\":{\"epochs\":1,\"batch\":20}}";
    const enum who two[] = {OWNER, OTHER, OWNER};
    const long statuses[] = {201, 201, 200};
    char header[128];
    for (size_t i = 0; i < 3; i++) {
        struct reply reply;
        snprintf(header, sizeof header, "Authorization: Bearer %s", tokens[two[i]]);
        ask_with(&server, "POST", "/v1/experiments", definition,
                 (const char *const[]){header, "Idempotency-Key: same", NULL}, &reply);
        expect(&reply, statuses[i]);
        reply_free(&reply);
    }
}

/* ---- users and tokens by administrators ---- */

static void expect_fault(const char *method, const char *path, const char *body,
                         const char *pointer)
{
    json_t *reply = json_as(ADMIN, method, path, body, 422);
    json_t *details = json_object_get(json_object_get(reply, "error"), "details");
    assert_int_equal(json_array_size(details), 1);
    assert_string_equal(text(json_array_get(details, 0), "pointer"), pointer);
    json_decref(reply);
}

static void test_users(void **state)
{
    (void)state;
    json_t *user = json_as(ADMIN, "PUT", "/v1/users/ana@lab.org", "{\"weight\":3,\"cap\":2}", 200);
    assert_string_equal(text(user, "name"), "ana@lab.org");
    assert_int_equal(integer(user, "cap"), 2);
    assert_int_equal(integer(user, "tokens"), 0);
    assert_true(json_number_value(json_object_get(user, "weight")) == 3.0);
    json_decref(user);
    user = json_as(ADMIN, "PUT", "/v1/users/ana@lab.org", "{\"weight\":0.01,\"cap\":null}", 200);
    assert_true(json_is_null(json_object_get(user, "cap")));
    json_decref(user);
    static const struct {
        const char *body, *pointer;
    } bad[] = {
        {"{\"weight\":0.001,\"cap\":null}", "/weight"},
        {"{\"weight\":101,\"cap\":null}", "/weight"},
        {"{\"weight\":\"3\",\"cap\":null}", "/weight"},
        {"{\"cap\":null}", "/weight"},
        {"{\"weight\":1,\"cap\":0}", "/cap"},
        {"{\"weight\":1,\"cap\":1025}", "/cap"},
        {"{\"weight\":1,\"cap\":1.5}", "/cap"},
        {"{\"weight\":1}", "/cap"},
        {"{\"weight\":1,\"cap\":1,\"wait\":1}", "/wait"},
        {"[]", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_fault("PUT", "/v1/users/ana", bad[i].body, bad[i].pointer);
    json_decref(json_as(ADMIN, "PUT", "/v1/users/a%20b", "{\"weight\":1,\"cap\":1}", 400));
    json_decref(json_as(ADMIN, "PUT", "/v1/users/%3Cb%3E", "{\"weight\":1,\"cap\":1}", 400));
    json_decref(json_as(ADMIN, "PUT", "/v1/users/ana", "{", 400));
}

static void test_tokens(void **state)
{
    (void)state;
    char path[64];
    json_t *made = json_as(ADMIN, "POST", "/v1/tokens",
                           "{\"user\":\"eve\",\"role\":\"viewer\",\"note\":\"<script>\","
                           "\"expires_at\":\"2126-12-31\"}",
                           201);
    snprintf(path, sizeof path, "/v1/tokens/%lld", (long long)integer(made, "id"));
    snprintf(tokens[WRONG], TOKEN_TEXT, "%s", text(made, "token"));
    assert_string_equal(text(made, "expires_at"), "2127-01-01T00:00:00.000Z");
    json_decref(made);
    json_t *me = json_as(WRONG, "GET", "/v1/me", NULL, 200); // at once
    assert_string_equal(text(me, "user"), "eve");
    json_decref(me);
    json_t *revoked = json_as(ADMIN, "DELETE", path, NULL, 200);
    assert_true(json_is_string(json_object_get(revoked, "revoked_at")));
    json_decref(revoked);
    json_decref(json_as(WRONG, "GET", "/v1/me", NULL, 401)); // at once
    json_decref(json_as(ADMIN, "DELETE", "/v1/tokens/9999", NULL, 404));
    expect_fault("POST", "/v1/tokens", "{\"user\":\"a b\",\"role\":\"viewer\"}", "/user");
    expect_fault("POST", "/v1/tokens", "{\"role\":\"viewer\"}", "/user");
    expect_fault("POST", "/v1/tokens", "{\"user\":\"a\",\"role\":\"root\"}", "/role");
    expect_fault("POST", "/v1/tokens", "{\"user\":\"a\",\"role\":\"viewer\",\"note\":7}", "/note");
    expect_fault("POST", "/v1/tokens",
                 "{\"user\":\"a\",\"role\":\"viewer\",\"expires_at\":\"2126-02-30\"}",
                 "/expires_at");
    json_decref(json_as(ADMIN, "POST", "/v1/tokens",
                        "{\"user\":\"a\",\"role\":\"viewer\",\"expires_at\":\"2020-01-01\"}", 400));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route),    cmocka_unit_test(test_log),
        cmocka_unit_test(test_fork_is_theirs), cmocka_unit_test(test_keys_are_theirs),
        cmocka_unit_test(test_users),          cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
