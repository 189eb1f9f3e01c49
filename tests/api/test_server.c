// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the real server through what is asked before and beside training: documents, health,
 * datasets. Every reply is held against openapi.json (contract.h). Submitting is test_submit.c, what
 * comes out of training test_results.c, bad input test_input.c.
 */
#include "api/contract.h"

#include <zlib.h>

#include <tetrad/trainer.h>

#include "data/npz.h"

#define STROKES "\"dataset\":{\"name\":\"strokes\",\"train\":500,\"test\":100}"
#define NETWORK "\"network\":{\"layers\":[{\"units\":8}]}"

static int start(void **state)
{
    (void)state;
    return server_start("2", NULL);
}

/* ---- documents ---- */

static void check_etag(const char *path)
{
    struct reply reply;
    char tag[256], header[300], value[256];
    ask_with(&server, "GET", path, NULL, NULL, &reply);
    expect(&reply, 200);
    assert_non_null(reply_header(&reply, "ETag", tag));
    reply_free(&reply);
    const char *const tries[] = {"%s", "W/%s", "\"other\", %s", "*"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(header, sizeof header, "If-None-Match: ");
        const char *at = strstr(tries[i], "%s");
        const int before = at != NULL ? (int)(at - tries[i]) : (int)strlen(tries[i]);
        snprintf(header + 15, sizeof header - 15, "%.*s%s", before, tries[i],
                 at != NULL ? tag : "");
        ask_with(&server, "GET", path, NULL, (const char *const[]){header, NULL}, &reply);
        expect(&reply, 304);
        assert_string_equal(reply_header(&reply, "ETag", value), tag);
        reply_free(&reply);
    }
    ask_with(&server, "GET", path, NULL, (const char *const[]){"If-None-Match: \"x\"", NULL},
             &reply);
    expect(&reply, 200);
    reply_free(&reply);
}

static void test_documents(void **state)
{
    (void)state;
    struct reply reply;
    ask_with(&server, "GET", "/openapi.json", NULL, NULL, &reply);
    expect(&reply, 200);
    assert_string_equal(reply.body, embed_openapi);
    reply_free(&reply);
    ask_with(&server, "GET", "/v1/schema", NULL, NULL, &reply);
    expect(&reply, 200);
    assert_string_equal(reply.body, embed_experiment_schema);
    reply_free(&reply);
    check_etag("/openapi.json");
    check_etag("/v1/rules");
    check_etag("/v1/schema");
}

/* The routes and the document's paths are the same. */
static void test_routes(void **state)
{
    (void)state;
    json_t *index = get(&server, 200, "/v1"), *route, *item, *operation;
    const json_t *paths = json_object_get(contract(), "paths"),
                 *routes = json_object_get(index, "routes");
    const char *path, *method;
    size_t i, n = 0;
    json_array_foreach(routes, i, route)
    {
        char lower[16] = "";
        for (size_t k = 0; text(route, "method")[k] != '\0'; k++)
            lower[k] = (char)tolower(text(route, "method")[k]);
        const json_t *found = json_object_get(paths, text(route, "path"));
        if (json_object_get(found, lower) == NULL)
            fail_msg("openapi.json lacks %s %s", lower, text(route, "path"));
    }
    json_object_foreach((json_t *)(uintptr_t)paths, path, item)
    {
        json_object_foreach(item, method, operation)
        {
            n++;
        }
    }
    assert_int_equal(json_array_size(routes), n);
    assert_string_equal(text(index, "contract"), "/openapi.json");
    json_decref(index);
}

static void test_rules(void **state)
{
    (void)state;
    static const char *const names[] = {"bp",   "fa",   "kp",  "sal", "usf",
                                        "frsf", "brsf", "dfa", "wm"};
    static const size_t counts[] = {1, 2, 2, 4, 1, 2, 1, 2, 2},
                        plastic[] = {1, 1, 2, 4, 1, 1, 1, 1, 2};
    json_t *rules = get(&server, 200, "/v1/rules"), *rule;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(rules, "rules")), 9);
    json_array_foreach(json_object_get(rules, "rules"), i, rule)
    {
        assert_string_equal(text(rule, "name"), names[i]);
        assert_int_equal(json_array_size(json_object_get(rule, "groups")), counts[i]);
        assert_int_equal(json_array_size(json_object_get(rule, "plastic")), plastic[i]);
        assert_true(strlen(text(rule, "equation")) > 0 && strlen(text(rule, "source")) > 0);
    }
    json_decref(rules);
}

/* Rule `name`'s parameter at `path`; NULL where it has none. */
static const json_t *parameter(const json_t *rules, const char *name, const char *path)
{
    size_t i, k;
    json_t *rule, *found;
    json_array_foreach(json_object_get(rules, "rules"), i, rule)
    {
        if (strcmp(text(rule, "name"), name) != 0)
            continue;
        json_array_foreach(json_object_get(rule, "parameters"), k, found)
        {
            if (strcmp(text(found, "path"), path) == 0)
                return found;
        }
    }
    return NULL;
}

static void test_parameters(void **state)
{
    (void)state;
    json_t *rules = get(&server, 200, "/v1/rules");
    static const struct {
        const char *rule, *path, *type, *allowed, *value; // the default; NULL: not there
    } cases[] = {{"bp", "rule.gate", NULL, NULL, NULL},
                 {"bp", "rule.groups.B.init", NULL, NULL, NULL},
                 {"bp", "rule.groups.W.plastic", "boolean", "true or false", "true"},
                 {"fa", "rule.gate", "boolean", "true or false", "true"},
                 {"fa", "rule.groups.B.plastic", "boolean", "false", "false"},
                 {"kp", "rule.groups.B.plastic", "boolean", "true or false", "true"},
                 {"kp", "rule.mirror.lr", NULL, NULL, NULL},
                 {"sal", "rule.groups.V.init", "string",
                  "one of normal, uniform, log_normal, identity", "null"},
                 {"kp", "rule.homeostasis.rate", "number", "number from 0 to 1", "null"},
                 {"wm", "rule.homeostasis.rate", NULL, NULL, NULL},
                 {"sal", "rule.groups.U.scale", "number", "number >= 0", "null"},
                 {"sal", "optimizer.groups.V.lr", "number", "number >= 0", "null"},
                 {"dfa", "rule.groups.D.scale", "number", "number >= 0", "1"},
                 {"dfa", "rule.groups.D.plastic", "boolean", "false", "false"},
                 {"dfa", "optimizer.groups.W.decay", "number", "number >= 0", "null"},
                 {"dfa", "optimizer.groups.D.lr", NULL, NULL, NULL},
                 {"wm", "rule.mirror.every", "integer", "integer from 1 to 1048576", "100"},
                 {"wm", "rule.mirror.decay", "number", "number >= 0", "null"},
                 {"wm", "optimizer.groups.B.lr", NULL, NULL, NULL},
                 {"wm", "rule.name", NULL, NULL, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const json_t *p = parameter(rules, cases[i].rule, cases[i].path);
        if ((p != NULL) != (cases[i].type != NULL))
            fail_msg("%s: %s is %s", cases[i].rule, cases[i].path, p != NULL ? "there" : "missing");
        if (p == NULL)
            continue;
        char *value = json_dumps(json_object_get(p, "default"), JSON_ENCODE_ANY);
        assert_string_equal(text(p, "type"), cases[i].type);
        assert_string_equal(text(p, "allowed"), cases[i].allowed);
        assert_string_equal(value, cases[i].value);
        assert_true(strlen(text(p, "description")) > 0);
        free(value);
    }
    json_decref(rules);
}

static void test_series(void **state)
{
    (void)state;
    json_t *reply = get(&server, 200, "/v1/series"), *one;
    size_t i, synapses = 0;
    assert_int_equal(json_array_size(json_object_get(reply, "series")), TET_SERIES_COUNT);
    json_array_foreach(json_object_get(reply, "series"), i, one)
    {
        char name[TET_SERIES_NAME], layered[TET_SERIES_NAME];
        tet_series_text((enum tet_series)i, 3, name);
        snprintf(layered, sizeof layered, "%s%s", text(one, "name"),
                 strcmp(text(one, "of"), "layer") == 0     ? "/3"
                 : strcmp(text(one, "of"), "synapse") == 0 ? "3"
                                                           : "");
        assert_string_equal(layered, name);
        assert_true(strlen(text(one, "definition")) > 10);
        synapses += strcmp(text(one, "of"), "synapse") == 0;
    }
    assert_int_equal(synapses, TET_GROUPS);
    json_decref(reply);
}

static void test_health(void **state)
{
    (void)state;
    json_decref(get(&server, 200, "/healthz"));
    json_t *ready = get(&server, 200, "/readyz");
    assert_string_equal(text(ready, "status"), "ready");
    assert_int_equal(integer(ready, "workers"), 2);
    json_decref(ready);
}

static void test_methods(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/",         "/healthz",   "/readyz",      "/openapi.json",        "/v1/schema",
        "/v1/rules", "/v1/series", "/v1/datasets", "/v1/datasets/strokes", "/v1/experiments"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct reply head, whole;
        char a[256], b[256];
        ask_with(&server, "HEAD", paths[i], NULL, NULL, &head);
        ask_with(&server, "GET", paths[i], NULL, NULL, &whole);
        expect(&head, 200);
        assert_int_equal(head.size, 0);
        assert_string_equal(reply_header(&head, "Content-Type", a),
                            reply_header(&whole, "Content-Type", b));
        assert_string_equal(reply_header(&head, "Content-Length", a),
                            reply_header(&whole, "Content-Length", b));
        assert_int_equal(whole.size, (size_t)atol(b));
        reply_free(&head);
        reply_free(&whole);
        request(&server, "OPTIONS", paths[i], NULL, 0, NULL, &head);
        expect(&head, 204);
        assert_non_null(strstr(reply_header(&head, "Allow", a), "GET, HEAD"));
        reply_free(&head);
        ask_with(&server, "PATCH", paths[i], NULL, NULL, &head);
        expect(&head, 405);
        assert_non_null(strstr(reply_header(&head, "Allow", a), "GET, HEAD"));
        reply_free(&head);
    }
    json_decref(ask(&server, "GET", "/v1/experiments/1/cancel", NULL, 405));
    json_decref(ask(&server, "POST", "/v1/runs/1", "{}", 405));
}

static void test_nothing_there(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/",
                                        "/v2/runs",
                                        "/favicon.ico",
                                        "/v1/experiments/",
                                        "/v1/experiments/x",
                                        "/v1/experiments/0",
                                        "/v1/experiments/-1",
                                        "/v1/experiments/01",
                                        "/v1/experiments/9223372036854775808",
                                        "/v1/experiments/999999999",
                                        "/v1/runs/999999999",
                                        "/v1/runs/999999999/metrics",
                                        "/v1/runs/999999999/weights",
                                        "/v1/runs/999999999/weights.npz",
                                        "/v1/runs/999999999/weights/W1.npy",
                                        "/v1/datasets/nothing",
                                        "/v1/datasets/..%2Fdata",
                                        "/v1/runs/1/../1"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        json_t *error = get(&server, 404, "%s", paths[i]);
        assert_string_equal(text(json_object_get(error, "error"), "code"), "not_found");
        json_decref(error);
    }
    json_decref(ask(&server, "POST", "/v1/experiments/999999999/cancel", NULL, 404));
    json_decref(ask(&server, "POST", "/v1/runs/999999999/cancel", NULL, 404));
}

/* ---- datasets ---- */

static void big_endian(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* n images of 2 x 2 and their labels 0, 1, 0, 1, ... */
static void write_idx(const char *folder, unsigned n, bool gz)
{
    unsigned char images[16 + 400] = {0, 0, 8, 3}, labels[8 + 100] = {0, 0, 8, 1};
    const unsigned char *const bytes[] = {images, labels};
    const size_t sizes[] = {16 + 4 * n, 8 + n};
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};
    big_endian(images + 4, n);
    big_endian(images + 8, 2);
    big_endian(images + 12, 2);
    big_endian(labels + 4, n);
    for (unsigned i = 0; i < n; i++) {
        labels[8 + i] = i % 2;
        memset(images + 16 + 4 * i, i % 2 ? 200 : (int)i, 4);
    }
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int k = 0; k < 2; k++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s%s", folder, names[k], gz ? ".gz" : "");
        gzFile file = gzopen(path, gz ? "wb" : "wbT");
        assert_int_equal(gzwrite(file, bytes[k], (unsigned)sizes[k]), (int)sizes[k]);
        assert_int_equal(gzclose(file), Z_OK);
    }
}

static void write_npz(const char *path)
{
    float x[40];
    float t[20];
    for (int i = 0; i < 40; i++)
        x[i] = (float)i / 40.0f;
    for (int i = 0; i < 20; i++)
        t[i] = x[2 * i] - x[2 * i + 1];
    const struct npy arrays[] = {
        {.name = "x", .type = NPY_F4, .rank = 2, .shape = {20, 2}, .n = 40, .data = x},
        {.name = "t", .type = NPY_F4, .rank = 1, .shape = {20}, .n = 20, .data = t}};
    assert_int_equal(npz_write(arrays, 2, path, NULL), TET_OK);
}

static const json_t *dataset_named(const json_t *list, const char *name)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(list, "datasets"), i, one)
    {
        if (strcmp(text(one, "name"), name) == 0)
            return one;
    }
    fail_msg("no dataset %s in the list", name);
    return NULL;
}

static void test_datasets(void **state)
{
    (void)state;
    char path[200];
    snprintf(path, sizeof path, "%s/pairs", server.data);
    write_idx(path, 20, false);
    snprintf(path, sizeof path, "%s/pairs-gz", server.data);
    write_idx(path, 20, true);
    snprintf(path, sizeof path, "%s/curve.npz", server.data);
    write_npz(path);
    snprintf(path, sizeof path, "%s/broken.npz", server.data);
    file_write(path, "not a zip", 9);
    snprintf(path, sizeof path, "%s/notes.txt", server.data);
    file_write(path, "x", 1);

    json_t *list = get(&server, 200, "/v1/datasets");
    assert_int_equal(json_array_size(json_object_get(list, "datasets")), 5);
    const json_t *broken = dataset_named(list, "broken"), *strokes = dataset_named(list, "strokes"),
                 *idx = dataset_named(list, "pairs"), *gz = dataset_named(list, "pairs-gz"),
                 *npz = dataset_named(list, "curve");
    assert_non_null(strstr(text(broken, "error"), "broken.npz"));
    assert_string_equal(text(strokes, "kind"), "builtin");
    assert_int_equal(integer(strokes, "inputs"), 784);
    assert_int_equal(integer(strokes, "outputs"), 10);
    assert_true(json_is_null(json_object_get(strokes, "sha256")));
    assert_string_equal(text(idx, "kind"), "idx");
    assert_int_equal(integer(idx, "inputs"), 4);
    assert_int_equal(integer(idx, "outputs"), 2);
    assert_int_equal(integer(idx, "rows"), 2);
    assert_int_equal(integer(idx, "train"), 20);
    assert_int_equal(integer(idx, "test"), 0);
    assert_string_equal(text(idx, "sha256"), text(gz, "sha256")); // of the content
    assert_string_equal(text(npz, "kind"), "npz");
    assert_true(json_is_false(json_object_get(npz, "labels")));

    json_t *one = get(&server, 200, "/v1/datasets/pairs");
    assert_true(json_equal(one, idx));
    json_decref(one);
    json_t *error = get(&server, 422, "/v1/datasets/broken");
    assert_string_equal(text(json_object_get(error, "error"), "code"), "bad_dataset");
    json_decref(error);
    json_decref(list);
}

/* Both kinds of file datasets can be trained on; the run keeps the sum of what it saw. */
static void test_training_on_files(void **state)
{
    (void)state;
    json_t *run = await_end(&server,
                            submit(&server, "{\"dataset\":{\"name\":\"pairs-gz\"}," NETWORK
                                            ",\"rule\":{\"name\":\"bp\"},"
                                            "\"training\":{\"epochs\":2,\"batch\":10}}"),
                            "succeeded");
    json_t *dataset = get(&server, 200, "/v1/datasets/pairs-gz");
    assert_string_equal(
        text(json_object_get(json_object_get(run, "definition"), "dataset"), "sha256"),
        text(dataset, "sha256"));
    json_decref(dataset);
    json_decref(run);
    run = await_end(&server,
                    submit(&server, "{\"dataset\":{\"name\":\"curve\",\"test\":4},\"network\":{"
                                    "\"layers\":[],\"loss\":\"mse\"},\"rule\":{\"name\":\"bp\"},"
                                    "\"training\":{\"epochs\":2,\"batch\":4}}"),
                    "succeeded");
    assert_true(json_is_number(json_object_get(json_object_get(run, "final"), "test/loss")));
    json_decref(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_rules),     cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_series),    cmocka_unit_test(test_health),
        cmocka_unit_test(test_methods),   cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_datasets),  cmocka_unit_test(test_training_on_files),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
