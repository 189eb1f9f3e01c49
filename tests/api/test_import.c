// SPDX-License-Identifier: Apache-2.0
/* An experiment goes from one server to another: its runs are there as they were, and a rerun agrees.
 * Archives that lie, that are cut, or that are after something else are refused, and leave nothing. */
#include "api/contract.h"

#include <zip.h>

static struct daemon other;
static json_int_t experiment, first;

static int start(void **state)
{
    (void)state;
    server_start("2", NULL);
    daemon_folder(&other);
    daemon_start(&other, "2", NULL);
    json_t *made =
        ask(&server, "POST", "/v1/experiments",
            "{\"name\":\"travels <b>\",\"tags\":[\"a\",\"b\"],"
            "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50,\"validation\":20},"
            "\"network\":{\"layers\":[{\"units\":8}]},\"rule\":{\"name\":\"sal\"},"
            "\"training\":{\"epochs\":2,\"batch\":7},\"record\":{\"every\":1},"
            "\"sweep\":[{\"optimizer.lr\":[0.05,1e20],\"training.seed\":[1]},"
            "{\"optimizer.momentum\":[0.9],\"training.seed\":[2]}]}",
            201);
    experiment = integer(made, "id");
    first = integer(made, "first_run");
    for (json_int_t i = 0; i < integer(made, "run_count"); i++)
        json_decref(daemon_wait(&server, first + i, is_over));
    json_decref(made);
    return 0;
}

static int stop(void **state)
{
    daemon_stop(&other);
    daemon_remove(&other);
    return server_stop(state);
}

/* ---- the archive ---- */

/* What is done to it: replaces, drops or adds a member. */
struct tamper {
    const char *member; // its name ends so
    const char *bytes;  // in its place; NULL: it is left out
    const char *name;   // it is called so
    const char *path;   // JSON: a member of the object ...
    const char *value;  // ... is this JSON
};

static void add(zip_t *zip, const char *name, char *bytes, size_t size)
{
    zip_source_t *source = zip_source_buffer(zip, bytes, size, 1);
    assert_non_null(source);
    assert_true(zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) >= 0);
}

static void put(zip_t *zip, const char *name, const char *url, const json_t *json,
                const struct tamper *t)
{
    struct reply reply = {0};
    if (json == NULL) {
        ask_with(&server, "GET", url, NULL, NULL, &reply);
        if (reply.status == 404) { // no weights
            reply_free(&reply);
            return;
        }
        expect(&reply, 200);
    }
    const size_t n = strlen(name), m = t != NULL ? strlen(t->member) : 0;
    const bool hit = t != NULL && n >= m && strcmp(name + n - m, t->member) == 0;
    json_t *value = json != NULL ? json_deep_copy(json) : json_incref(reply.json);
    if (hit && t->path != NULL)
        json_object_set_new(value, t->path, json_loads(t->value, JSON_DECODE_ANY, NULL));
    char *bytes = value != NULL ? json_dumps(value, JSON_REAL_PRECISION(17))
                                : memcpy(malloc(reply.size + 1), reply.body, reply.size + 1);
    size_t size = value != NULL ? strlen(bytes) : reply.size;
    const bool left = hit && t->path == NULL && t->bytes == NULL && t->name == NULL;
    if (hit && t->bytes != NULL) {
        free(bytes);
        bytes = strdup(t->bytes);
        size = strlen(bytes);
    }
    if (left)
        free(bytes);
    else
        add(zip, hit && t->name != NULL ? t->name : name, bytes, size);
    json_decref(value);
    reply_free(&reply);
}

/* As `tetrad export` writes it. The caller frees. */
static char *archive(json_int_t id, size_t *size, const struct tamper *t)
{
    char file[160], url[100], name[100];
    snprintf(file, sizeof file, "%s/export.zip", server.folder);
    unlink(file);
    zip_t *zip = zip_open(file, ZIP_CREATE | ZIP_EXCL, NULL);
    assert_non_null(zip);
    json_t *e = get(&server, 200, "/v1/experiments/%lld", (long long)id), *run;
    size_t i;
    put(zip, "experiment.json", "", e, t);
    snprintf(url, sizeof url, "/v1/experiments/%lld/summary", (long long)id);
    put(zip, "summary.json", url, NULL, t);
    add(zip, "README.md", strdup("# x\n"), 4);
    json_array_foreach(json_object_get(e, "runs"), i, run)
    {
        const long long r = integer(run, "id");
        json_t *whole = get(&server, 200, "/v1/runs/%lld", r);
        snprintf(name, sizeof name, "runs/%lld/run.json", r);
        put(zip, name, "", whole, t);
        snprintf(name, sizeof name, "runs/%lld/definition.json", r);
        put(zip, name, "", json_object_get(whole, "definition"), t);
        snprintf(name, sizeof name, "runs/%lld/metrics.csv", r);
        snprintf(url, sizeof url, "/v1/runs/%lld/metrics?format=csv", r);
        put(zip, name, url, NULL, t);
        snprintf(name, sizeof name, "runs/%lld/weights.npz", r);
        snprintf(url, sizeof url, "/v1/runs/%lld/weights.npz", r);
        put(zip, name, url, NULL, t);
        json_decref(whole);
    }
    json_decref(e);
    assert_int_equal(zip_close(zip), 0);
    FILE *f = fopen(file, "re");
    assert_non_null(f);
    char *bytes = calloc(1, 1 << 24);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 24, f);
    fclose(f);
    return bytes;
}

/* Sends it; the reply's JSON, which the caller frees. */
static json_t *import_bytes(const char *bytes, size_t size, long status)
{
    struct reply reply;
    request(&other, "POST", "/v1/import", bytes, size,
            (const char *const[]){"Content-Type: application/zip", NULL}, &reply);
    contract_check("POST", "/v1/import", &reply);
    expect(&reply, status);
    json_t *json = json_incref(reply.json);
    reply_free(&reply);
    return json;
}

/* ---- tests ---- */

static void same_member(const json_t *a, const json_t *b, const char *key)
{
    if (!json_equal(json_object_get(a, key), json_object_get(b, key)))
        fail_msg("%s is not the same", key);
}

static void same_metrics(json_int_t was, json_int_t is, const char *query)
{
    json_t *a = get(&server, 200, "/v1/runs/%lld/metrics%s", (long long)was, query),
           *b = get(&other, 200, "/v1/runs/%lld/metrics%s", (long long)is, query);
    same_member(a, b, "series");
    json_decref(a);
    json_decref(b);
}

static void same_weights(json_int_t was, json_int_t is)
{
    char path[100];
    struct reply a, b;
    snprintf(path, sizeof path, "/v1/runs/%lld/weights.npz", (long long)was);
    ask_with(&server, "GET", path, NULL, NULL, &a);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights.npz", (long long)is);
    ask_with(&other, "GET", path, NULL, NULL, &b);
    assert_int_equal(a.status, b.status);
    if (a.status == 200) {
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.body, b.body, a.size);
    }
    reply_free(&a);
    reply_free(&b);
}

static void same_run(json_int_t was, json_int_t is)
{
    static const char *const keys[] = {"state",      "reason",     "parameters", "final",
                                       "digest",     "hash",       "definition", "divergence",
                                       "created_at", "started_at", "ended_at",   "train_seconds"};
    json_t *a = get(&server, 200, "/v1/runs/%lld", (long long)was),
           *b = get(&other, 200, "/v1/runs/%lld", (long long)is);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        same_member(a, b, keys[i]);
    const json_t *event = json_array_get(json_object_get(b, "timeline"), 1);
    assert_string_equal(text(event, "event"), "imported");
    assert_int_equal(integer(json_object_get(event, "detail"), "was"), was);
    same_metrics(was, is, "");
    same_metrics(was, is, "?points=10");
    same_weights(was, is);
    const bool ended =
        strcmp(text(b, "state"), "succeeded") == 0 || strcmp(text(b, "state"), "diverged") == 0;
    assert_true(ended);
    char path[100];
    snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)is);
    json_t *made = ask(&other, "POST", path, NULL, 201);
    json_t *again = await_end(&other, integer(made, "first_run"), text(b, "state"));
    assert_true(json_is_true(json_object_get(json_object_get(again, "rerun"), "agrees")));
    same_member(a, again, "digest");
    json_decref(made);
    json_decref(again);
    json_decref(a);
    json_decref(b);
}

/* The second server has other numbers already. */
static void test_travels(void **state)
{
    (void)state;
    check_alive(&other);
    size_t size, i;
    char *bytes = archive(experiment, &size, NULL);
    json_t *made = import_bytes(bytes, size, 201), *pair;
    json_t *here = get(&server, 200, "/v1/experiments/%lld", (long long)experiment),
           *there =
               get(&other, 200, "/v1/experiments/%lld", (long long)integer(made, "experiment"));
    static const char *const keys[] = {"name", "tags", "hash", "definition", "counts", "state"};
    for (i = 0; i < sizeof keys / sizeof *keys; i++)
        same_member(here, there, keys[i]);
    assert_int_equal(json_array_size(json_object_get(made, "runs")), 3);
    json_array_foreach(json_object_get(made, "runs"), i, pair)
    {
        assert_true(integer(pair, "run") != integer(pair, "was"));
        same_run(integer(pair, "was"), integer(pair, "run"));
    }
    json_t *a = get(&server, 200, "/v1/experiments/%lld/summary", (long long)experiment),
           *b = get(&other, 200, "/v1/experiments/%lld/summary",
                    (long long)integer(made, "experiment"));
    same_member(a, b, "points");
    json_decref(a);
    json_decref(b);
    json_decref(here);
    json_decref(there);
    json_decref(made);
    free(bytes);
}

/* What an imported run predicts is what its twin does. */
static void test_predicts(void **state)
{
    (void)state;
    size_t size;
    char path[100], *bytes = archive(experiment, &size, NULL);
    json_t *made = import_bytes(bytes, size, 201);
    const json_t *pairs = json_object_get(made, "runs");
    for (size_t i = 0; i < json_array_size(pairs); i += 2) { // the second diverged
        const json_t *pair = json_array_get(pairs, i);
        static const char body[] = "{\"part\":\"test\",\"indices\":[0,1,2,3,4,5,6,7,8,9]}";
        snprintf(path, sizeof path, "/v1/runs/%lld/predict", (long long)integer(pair, "was"));
        json_t *a = ask(&server, "POST", path, body, 200);
        snprintf(path, sizeof path, "/v1/runs/%lld/predict", (long long)integer(pair, "run"));
        json_t *b = ask(&other, "POST", path, body, 200);
        same_member(a, b, "probabilities");
        json_decref(a);
        json_decref(b);
    }
    json_decref(made);
    free(bytes);
}

static size_t experiments(void)
{
    json_t *page = get(&other, 200, "/v1/experiments?limit=500");
    const size_t n = json_array_size(json_object_get(page, "experiments"));
    json_decref(page);
    return n;
}

static void test_lies(void **state)
{
    (void)state;
    static const char zeros[] =
        "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"";
    static const struct {
        struct tamper tamper;
        const char *says;
    } cases[] = {
        {{"experiment.json", NULL, NULL, NULL, NULL}, "no experiment.json"},
        {{"experiment.json", "[1]", NULL, NULL, NULL}, "no object"},
        {{"experiment.json", "{", NULL, NULL, NULL}, "experiment.json"},
        {{"experiment.json", NULL, NULL, "hash", zeros}, "hash"},
        {{"experiment.json", NULL, NULL, "runs", "[]"}, "runs"},
        {{"experiment.json", NULL, NULL, "runs", "[{\"id\":-3}]"}, "/runs/0/id"},
        {{"experiment.json", NULL, NULL, "runs", "[{\"id\":77}]"}, "runs/77/run.json"},
        {{"experiment.json", NULL, NULL, "definition", "{\"name\":\"x\"}"}, "hash"},
        {{"run.json", NULL, NULL, "state", "\"running\""}, "ended"},
        {{"run.json", NULL, NULL, "state", "7"}, "ended"},
        {{"run.json", NULL, NULL, "digest", zeros}, "digest"},
        {{"run.json", NULL, NULL, "digest", "null"}, "digest"},
        {{"run.json", NULL, NULL, "hash", zeros}, "hash"},
        {{"run.json", NULL, NULL, "id", "99"}, "/id"},
        {{"run.json", NULL, NULL, "progress", "{\"step\":5,\"steps\":4}"}, "step 5 of 4"},
        {{"run.json", NULL, NULL, "created_at", "\"yesterday\""}, "created_at"},
        {{"run.json", NULL, NULL, "parameters", "[]"}, "parameters"},
        {{"run.json", NULL, NULL, "parameters", "{\"=cmd\":1}"}, "parameters"},
        {{"run.json", NULL, NULL, "parameters", "{\"a\\n\":1}"}, "parameters"},
        {{"run.json", NULL, NULL, "parameters", "{\"rule.name\":\"=1+1\"}"}, "parameters"},
        {{"run.json", NULL, NULL, "progress", "{\"step\":1,\"steps\":9007199254740993}"}, "steps"},
        {{"definition.json", NULL, NULL, "training", "{\"epochs\":2,\"batch\":9}"}, "hash"},
        {{"definition.json", NULL, NULL, "training", "{\"epochs\":-2}"}, "/training/epochs"},
        {{"definition.json", NULL, NULL, "nonsense", "1"}, "/nonsense"},
        {{"weights.npz", NULL, NULL, NULL, NULL}, "weights.npz"},
        {{"weights.npz", "PK", NULL, NULL, NULL}, "weights.npz"},
        {{"metrics.csv", "\n", NULL, NULL, NULL}, "metrics.csv"},
        {{"metrics.csv", "run,step,series,value\n1,2,x\n", NULL, NULL, NULL}, "line 2"},
        {{"metrics.csv", "run,step,series,value\n9999,2,x,1\n", NULL, NULL, NULL}, "line 2"},
        {{"metrics.csv", "run,step,series,value\n1,-2,x,1\n", NULL, NULL, NULL}, "line 2"},
        {{"s/1/metrics.csv", "run,step,series,value\n1,999999,x,1\n", NULL, NULL, NULL},
         "line 2 is of step 999999"},
        {{"metrics.csv", "run,step,series,value\n1,2,<b>,1\n", NULL, NULL, NULL}, "line 2"},
        {{"metrics.csv", "run,step,series,value\n1,2,x,0x10\n", NULL, NULL, NULL}, "line 2"},
        {{"metrics.csv", "run,step,series,value\n1,2,x,1e999\n", NULL, NULL, NULL}, "line 2"},
        {{"s/1/metrics.csv", "run,step,series,value\n1,2,x,1\n1,2,x,2\n", NULL, NULL, NULL},
         "twice"},
        {{"summary.json", NULL, "../../etc/passwd", NULL, NULL}, "passwd"},
        {{"summary.json", NULL, "/etc/passwd", NULL, NULL}, "passwd"},
        {{"summary.json", NULL, "runs/1/../../x", NULL, NULL}, "does not have"},
        {{"summary.json", NULL, "runs/01/run.json", NULL, NULL}, "does not have"},
    };
    const size_t before = experiments();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        char *bytes = archive(experiment, &size, &cases[i].tamper);
        json_t *error = import_bytes(bytes, size, 422);
        const char *message = text(json_object_get(error, "error"), "message");
        if (strstr(message, cases[i].says) == NULL)
            fail_msg("case %zu: %s, not of %s", i, message, cases[i].says);
        json_decref(error);
        free(bytes);
    }
    assert_int_equal(experiments(), before);
}

/* Cut anywhere, or with a byte changed anywhere, it is refused or comes to the same: no crash. */
static void test_damage(void **state)
{
    (void)state;
    size_t size;
    char *bytes = archive(experiment, &size, NULL), *copy = malloc(size);
    assert_non_null(copy);
    for (size_t i = 0; i < 40; i++) {
        json_t *error = import_bytes(bytes, size * i / 40, 422);
        json_decref(error);
        memcpy(copy, bytes, size);
        copy[size * i / 40 + 3] ^= (char)(1 << i % 8);
        struct reply reply;
        request(&other, "POST", "/v1/import", copy, size,
                (const char *const[]){"Content-Type: application/zip", NULL}, &reply);
        contract_check("POST", "/v1/import", &reply);
        assert_true(reply.status == 422 || reply.status == 201);
        reply_free(&reply);
    }
    free(copy);
    free(bytes);
    check_alive(&other);
}

/* Says that its one member has `size` bytes, in both places. */
static void set_size(char *bytes, size_t n, uint32_t size)
{
    for (size_t i = 0; i + 30 < n; i++)
        if (memcmp(bytes + i, "PK\x03\x04", 4) == 0)
            memcpy(bytes + i + 22, &size, sizeof size);
        else if (memcmp(bytes + i, "PK\x01\x02", 4) == 0)
            memcpy(bytes + i + 24, &size, sizeof size);
}

/* A member that says it has 2 GiB; and one of 1 MiB in a thousand bytes that says it has 100. */
static void test_bomb(void **state)
{
    (void)state;
    static char zeros[1 << 20], bytes[1 << 14];
    char file[160];
    snprintf(file, sizeof file, "%s/bomb.zip", server.folder);
    zip_t *zip = zip_open(file, ZIP_CREATE | ZIP_EXCL, NULL);
    assert_non_null(zip);
    const zip_int64_t at =
        zip_file_add(zip, "experiment.json", zip_source_buffer(zip, zeros, sizeof zeros, 0), 0);
    assert_true(at >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)at, ZIP_CM_DEFLATE, 9), 0);
    assert_int_equal(zip_close(zip), 0);
    FILE *f = fopen(file, "re");
    assert_non_null(f);
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(size < sizeof bytes);
    static const struct {
        uint32_t size;
        const char *says;
    } cases[] = {{0x7fffffff, "unpacks to more"}, {100, "damaged"}, {1 << 20, "experiment.json"}};
    for (size_t i = 0; i < 3; i++) {
        set_size(bytes, size, cases[i].size);
        json_t *error = import_bytes(bytes, size, 422);
        const char *message = text(json_object_get(error, "error"), "message");
        if (strstr(message, cases[i].says) == NULL)
            fail_msg("%s, not of %s", message, cases[i].says);
        json_decref(error);
    }
}

static void test_requests(void **state)
{
    (void)state;
    struct reply reply;
    request(&other, "POST", "/v1/import", "{}", 2, NULL, &reply);
    contract_check("POST", "/v1/import", &reply);
    expect(&reply, 415);
    reply_free(&reply);
    json_decref(import_bytes("", 0, 422));
    json_decref(import_bytes("PK\x05\x06", 4, 422));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_travels), cmocka_unit_test(test_predicts),
        cmocka_unit_test(test_lies),    cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bomb),    cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
