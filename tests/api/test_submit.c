// SPDX-License-Identifier: Apache-2.0
/*
 * Submitting and listing, on the real server: what is stored, keys and dry runs, sweeps, and the pages
 * of all filters. Every reply is held against openapi.json.
 */
#include "api/contract.h"

#include "json.h"

#define STROKES "\"dataset\":{\"name\":\"strokes\",\"train\":500,\"test\":100}"
#define NETWORK "\"network\":{\"layers\":[{\"units\":8}]}"
#define QUICK   "\"training\":{\"epochs\":1,\"batch\":50}"

static int start(void **state)
{
    (void)state;
    return server_start("2", NULL);
}

/* ---- submitting ---- */

/* Equal as JSON: 0 is 0.0. */
static void assert_same(const json_t *a, const json_t *b)
{
    char *x = json_canonical(a), *y = json_canonical(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static void test_submit(void **state)
{
    (void)state;
    static const char definition[] = "{\"name\":\"First\",\"tags\":[\"a\",\"b\"]," STROKES
                                     "," NETWORK ",\"rule\":{\"name\":\"sal\"}," QUICK "}";
    struct reply reply;
    char location[256], expected[64];
    ask_with(&server, "POST", "/v1/experiments", definition, NULL, &reply);
    expect(&reply, 201);
    const json_t *resolved = json_object_get(reply.json, "definition");
    snprintf(expected, sizeof expected, "/v1/experiments/%lld", integer(reply.json, "id"));
    assert_string_equal(reply_header(&reply, "Location", location), expected);
    assert_int_equal(integer(reply.json, "run_count"), 1);
    assert_int_equal(json_array_size(json_object_get(reply.json, "runs")), 1);
    assert_true(json_is_false(json_object_get(reply.json, "replayed")));
    assert_true(json_is_true(json_object_get(json_object_get(resolved, "rule"), "gate")));
    assert_int_equal(integer(json_object_get(resolved, "training"), "seed"), 1);
    assert_int_equal(integer(json_object_get(resolved, "record"), "every"), 100);
    const json_t *rates = json_object_get(json_object_get(resolved, "optimizer"), "groups");
    assert_int_equal(json_object_size(rates), 4);

    json_t *experiment = get(&server, 200, "%s", location);
    assert_string_equal(text(experiment, "name"), "First");
    assert_string_equal(text(experiment, "owner"), "local");
    assert_string_equal(text(experiment, "hash"), text(reply.json, "hash"));
    assert_same(json_object_get(experiment, "definition"), resolved);
    const json_t *run = json_array_get(json_object_get(experiment, "runs"), 0);
    assert_int_equal(integer(run, "id"), integer(reply.json, "first_run"));
    json_decref(await_end(&server, integer(run, "id"), "succeeded"));
    json_decref(experiment);

    /* What came back can be submitted again, and is the same. */
    char *again = json_dumps(resolved, JSON_INDENT(2));
    json_t *second = ask(&server, "POST", "/v1/experiments", again, 201);
    assert_string_equal(text(second, "hash"), text(reply.json, "hash"));
    assert_int_not_equal(integer(second, "id"), integer(reply.json, "id"));
    json_decref(second);
    free(again);
    reply_free(&reply);
}

static void test_idempotency(void **state)
{
    (void)state;
    static const char first[] = "{" STROKES "," NETWORK ",\"rule\":{\"name\":\"bp\"}," QUICK "}",
                      same[] = "{ " QUICK ", \"rule\": {\"name\": \"bp\"},\n" NETWORK "," STROKES
                               ",\"name\":\"untitled\"}",
                      other[] = "{" STROKES "," NETWORK ",\"rule\":{\"name\":\"fa\"}," QUICK "}";
    static const char *const key[] = {"Idempotency-Key: paper-figure-3", NULL};
    struct reply made, again, conflict;
    char a[256], b[256];
    ask_with(&server, "POST", "/v1/experiments", first, key, &made);
    expect(&made, 201);
    json_decref(await_end(&server, integer(made.json, "first_run"), "succeeded"));
    for (int i = 0; i < 2; i++) {
        ask_with(&server, "POST", "/v1/experiments", i == 0 ? first : same, key, &again);
        expect(&again, 200);
        assert_true(json_is_true(json_object_get(again.json, "replayed")));
        assert_int_equal(integer(again.json, "id"), integer(made.json, "id"));
        assert_true(
            json_equal(json_object_get(again.json, "runs"), json_object_get(made.json, "runs")));
        assert_string_equal(text(again.json, "state"), "succeeded");
        assert_string_equal(reply_header(&again, "Location", a),
                            reply_header(&made, "Location", b));
        reply_free(&again);
    }
    ask_with(&server, "POST", "/v1/experiments", other, key, &conflict);
    expect(&conflict, 409);
    assert_string_equal(text(json_object_get(conflict.json, "error"), "code"), "conflict");
    reply_free(&conflict);
    reply_free(&made);
    static const char *const bad[] = {"Idempotency-Key: two words", NULL};
    ask_with(&server, "POST", "/v1/experiments", first, bad, &conflict);
    expect(&conflict, 400);
    reply_free(&conflict);
}

static void test_dry_run(void **state)
{
    (void)state;
    json_t *before = get(&server, 200, "/v1/experiments?limit=1"), *after, *dry;
    dry = ask(&server, "POST", "/v1/experiments?dry_run=1",
              "{" STROKES "," NETWORK ",\"rule\":{\"name\":\"bp\"}," QUICK
              ",\"sweep\":{\"training.seed\":[1,2,3]}}",
              200);
    assert_int_equal(integer(dry, "run_count"), 3);
    assert_int_equal(integer(dry, "steps"), 30);
    assert_true(integer(dry, "memory_bytes") > 600 * 784);
    json_decref(dry);
    after = get(&server, 200, "/v1/experiments?limit=1");
    assert_true(json_equal(json_object_get(before, "next"), json_object_get(after, "next")));
    json_decref(before);
    json_decref(after);
    json_decref(ask(&server, "POST", "/v1/experiments?dry_run=2", "{}", 400));
    json_decref(ask(&server, "POST", "/v1/experiments?dry_run=1", "{}", 422));
}

static void test_sweep(void **state)
{
    (void)state;
    json_t *made = ask(&server, "POST", "/v1/experiments",
                       "{" STROKES "," NETWORK ",\"rule\":{\"name\":\"bp\"}," QUICK
                       ",\"sweep\":{\"training.seed\":[5,6,7],\"rule.name\":[\"sal\",\"kp\"]}}",
                       201);
    const json_int_t id = integer(made, "id"), first = integer(made, "first_run");
    assert_int_equal(integer(made, "run_count"), 6);
    json_decref(made);
    for (json_int_t i = 0; i < 6; i++)
        json_decref(await_end(&server, first + i, "succeeded"));
    json_t *experiment = get(&server, 200, "/v1/experiments/%lld", id), *run;
    size_t i;
    assert_string_equal(text(experiment, "state"), "succeeded");
    assert_int_equal(integer(json_object_get(experiment, "counts"), "succeeded"), 6);
    assert_int_equal(json_array_size(json_object_get(experiment, "runs")), 6);
    json_array_foreach(json_object_get(experiment, "runs"), i, run)
    {
        const json_t *set = json_object_get(run, "parameters");
        assert_int_equal(integer(run, "id"), first + (json_int_t)i);
        assert_int_equal(json_object_size(set), 2);
        assert_string_equal(text(set, "rule.name"), i < 3 ? "sal" : "kp");
        assert_int_equal(integer(set, "training.seed"), 5 + (json_int_t)i % 3);
    }
    json_decref(experiment);
}

/* ---- listing ---- */

/* All pages of a filter; the number of experiments, which come newest first and each once. */
static size_t count_pages(const char *filter, unsigned limit)
{
    char path[300];
    json_int_t last = INT64_MAX;
    size_t n = 0, i;
    json_t *one;
    snprintf(path, sizeof path, "/v1/experiments?limit=%u%s", limit, filter);
    for (;;) {
        json_t *page = get(&server, 200, "%s", path);
        const json_t *list = json_object_get(page, "experiments");
        const char *next = json_string_value(json_object_get(page, "next"));
        assert_true(json_array_size(list) <= limit);
        assert_true(next == NULL || json_array_size(list) == limit);
        json_array_foreach(list, i, one)
        {
            assert_true(integer(one, "id") < last);
            last = integer(one, "id");
            n++;
        }
        if (next != NULL)
            snprintf(path, sizeof path, "/v1/experiments?limit=%u%s&cursor=%s", limit, filter,
                     next);
        json_decref(page);
        if (next == NULL)
            return n;
    }
}

static void test_list(void **state)
{
    (void)state;
    static const char *const names[] = {"Listed one", "listed TWO", "50% more_listed", "hidden",
                                        "listed three"};
    const size_t before = count_pages("", 500);
    for (size_t i = 0; i < 5; i++) {
        char definition[600];
        snprintf(definition, sizeof definition,
                 "{\"name\":\"%s\",\"tags\":[\"list\"%s]," STROKES "," NETWORK
                 ",\"rule\":{\"name\":\"bp\"}," QUICK "}",
                 names[i], i % 2 ? ",\"odd\"" : "");
        json_decref(await_end(&server, submit(&server, definition), "succeeded"));
    }
    assert_int_equal(count_pages("", 500), before + 5);
    assert_int_equal(count_pages("", 2), before + 5);
    assert_int_equal(count_pages("&tag=list", 1), 5);
    assert_int_equal(count_pages("&tag=list", 5), 5);
    assert_int_equal(count_pages("&tag=odd", 50), 2);
    assert_int_equal(count_pages("&tag=lis", 50), 0);
    assert_int_equal(count_pages("&q=LISTED", 2), 4);
    assert_int_equal(count_pages("&q=%25", 50), 1); // not a wildcard
    assert_int_equal(count_pages("&q=_", 50), 1);
    assert_int_equal(count_pages("&owner=local", 50), before + 5);
    assert_int_equal(count_pages("&owner=nobody", 50), 0);
    assert_int_equal(count_pages("&state=succeeded&tag=list&q=listed", 3), 4);
    assert_int_equal(count_pages("&state=failed", 50), 0);
    assert_int_equal(count_pages("&state=running&tag=list", 50), 0);
    static const char *const bad[] = {"?limit=0",   "?limit=501",      "?limit=x",
                                      "?cursor=0",  "?cursor=-1",      "?state=done",
                                      "?tags=list", "?limit=1&limit=2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        json_decref(get(&server, 400, "/v1/experiments%s", bad[i]));
    json_t *error = get(&server, 400, "/v1/experiments?stat=running");
    const json_t *detail =
        json_array_get(json_object_get(json_object_get(error, "error"), "details"), 0);
    assert_string_equal(text(detail, "parameter"), "stat");
    assert_string_equal(text(detail, "hint"), "state");
    json_decref(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit),  cmocka_unit_test(test_idempotency),
        cmocka_unit_test(test_dry_run), cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
