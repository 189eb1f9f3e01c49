// SPDX-License-Identifier: Apache-2.0
/* Metrics over HTTP: globs, pages, points, and the same records as JSON, CSV and NDJSON. */
#include "api/contract.h"

#include <math.h>

static json_int_t run;

static int start(void **state)
{
    (void)state;
    server_start("1", NULL);
    run = submit(&server, "{\"dataset\":{\"name\":\"strokes\",\"train\":400,\"test\":100},"
                          "\"network\":{\"layers\":[{\"units\":12},{\"units\":10}]},"
                          "\"rule\":{\"name\":\"sal\"},\"training\":{\"epochs\":2,\"batch\":4},"
                          "\"record\":{\"every\":1}}");
    json_decref(await_end(&server, run, "succeeded"));
    return 0;
}

static void fetch(const char *query, const char *accept, struct reply *reply)
{
    char path[300], header[100];
    snprintf(path, sizeof path, "/v1/runs/%lld/metrics%s", (long long)run, query);
    snprintf(header, sizeof header, "Accept: %s", accept != NULL ? accept : "*/*");
    ask_with(&server, "GET", path, NULL, (const char *const[]){header, NULL}, reply);
}

static json_t *series_of(const char *query)
{
    struct reply reply;
    fetch(query, NULL, &reply);
    expect(&reply, 200);
    json_t *series = json_incref(json_object_get(reply.json, "series"));
    reply_free(&reply);
    return series;
}

static void test_globs(void **state)
{
    (void)state;
    json_t *all = series_of(""), *layer = series_of("?name=alignment/*/1"),
           *two = series_of("?name=norm/?/2,test/*&name=train/loss"),
           *none = series_of("?name=nope");
    const char *name;
    json_t *value;
    size_t expected = 0;
    json_object_foreach(all, name, value)
    {
        const char *last = strrchr(name, '/');
        const bool is = strncmp(name, "alignment/", 10) == 0 && strcmp(last, "/1") == 0;
        expected += is;
        assert_int_equal(json_object_get(layer, name) != NULL, is);
        if (is)
            assert_true(json_equal(value, json_object_get(layer, name)));
    }
    assert_true(expected > 3);
    assert_int_equal(json_object_size(layer), expected);
    assert_non_null(json_object_get(two, "norm/W/2"));
    assert_non_null(json_object_get(two, "test/accuracy"));
    assert_non_null(json_object_get(two, "train/loss"));
    assert_null(json_object_get(two, "norm/ratio/2"));
    assert_int_equal(json_object_size(none), 0);
    json_decref(all);
    json_decref(layer);
    json_decref(two);
    json_decref(none);
}

static void test_forms(void **state)
{
    (void)state;
    json_t *json = series_of("?name=norm/W/1,test/*");
    struct reply csv, lines;
    fetch("?name=norm/W/1,test/*", "text/csv", &csv);
    fetch("?name=norm/W/1,test/*&format=ndjson", "text/csv", &lines);
    expect(&csv, 200);
    expect(&lines, 200);
    char type[256], *rest = csv.body, *line = strsep(&rest, "\n");
    assert_non_null(strstr(reply_header(&csv, "Content-Type", type), "text/csv"));
    assert_string_equal(line, "run,step,series,value");
    char *more = lines.body;
    size_t n = 0, at[3] = {0};
    static const char *const names[] = {"norm/W/1", "test/accuracy", "test/loss"};
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        long long of;
        unsigned long long step;
        char series[64], *text = strsep(&more, "\n");
        double value;
        assert_int_equal(sscanf(line, "%lld,%llu,%63[^,],%lf", &of, &step, series, &value), 4);
        size_t s = 0;
        while (strcmp(series, names[s]) != 0)
            s++;
        const json_t *one = json_object_get(json, series);
        assert_int_equal(of, run);
        assert_int_equal(step,
                         json_integer_value(json_array_get(json_object_get(one, "steps"), at[s])));
        assert_true(value ==
                    json_number_value(json_array_get(json_object_get(one, "values"), at[s])));
        json_t *object = json_loads(text, 0, NULL);
        assert_int_equal(integer(object, "step"), step);
        assert_string_equal(json_string_value(json_object_get(object, "series")), series);
        assert_true(json_number_value(json_object_get(object, "value")) == value);
        json_decref(object);
        at[s]++;
        n++;
    }
    assert_int_equal(n, 204); // 200 steps, and two epochs of loss and accuracy
    assert_int_equal(*more, '\0');
    reply_free(&csv);
    reply_free(&lines);
    json_decref(json);
}

static void test_points(void **state)
{
    (void)state;
    json_t *all = series_of("?name=norm/W/1"), *few = series_of("?name=norm/W/1&points=20"),
           *whole = series_of("?name=norm/W/1&points=500");
    const json_t *values = json_object_get(json_object_get(all, "norm/W/1"), "values"),
                 *points = json_object_get(json_object_get(few, "norm/W/1"), "values"),
                 *steps = json_object_get(json_object_get(few, "norm/W/1"), "steps");
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    json_t *value;
    size_t i;
    json_array_foreach(values, i, value)
    {
        low[0] = fmin(low[0], json_number_value(value));
        high[0] = fmax(high[0], json_number_value(value));
    }
    json_array_foreach(points, i, value)
    {
        const json_int_t step = json_integer_value(json_array_get(steps, i));
        assert_true(json_equal(value, json_array_get(values, (size_t)step - 1)));
        low[1] = fmin(low[1], json_number_value(value));
        high[1] = fmax(high[1], json_number_value(value));
    }
    assert_in_range(json_array_size(points), 10, 20);
    assert_int_equal(json_integer_value(json_array_get(steps, 0)), 1);
    assert_int_equal(json_integer_value(json_array_get(steps, json_array_size(steps) - 1)), 200);
    assert_true(low[0] == low[1] && high[0] == high[1]);
    assert_true(json_equal(all, whole));
    json_decref(all);
    json_decref(few);
    json_decref(whole);
}

/* Page by page, the same lines as in one. */
static void test_pages(void **state)
{
    (void)state;
    struct reply part;
    char value[256], query[300];
    fetch("?after=150&name=norm/W/1&format=csv", NULL, &part);
    expect(&part, 200);
    assert_int_equal(strncmp(part.body, "run,", 4) != 0, 1);
    assert_null(reply_header(&part, "X-Next-After", value));
    reply_free(&part);
    /* A longer run, over one page. */
    const json_int_t longer =
        submit(&server, "{\"dataset\":{\"name\":\"strokes\",\"train\":6000,\"test\":10},"
                        "\"network\":{\"layers\":[{\"units\":4},{\"units\":4}]},"
                        "\"rule\":{\"name\":\"sal\"},\"training\":{\"epochs\":1,\"batch\":1},"
                        "\"record\":{\"every\":1}}");
    json_decref(await_end(&server, longer, "succeeded"));
    const json_int_t kept = run;
    run = longer;
    unsigned long long after = 0, rows = 0, pages = 0;
    const char *next = "0";
    while (next != NULL) {
        snprintf(query, sizeof query, "?after=%s&format=ndjson", next);
        fetch(query, NULL, &part);
        expect(&part, 200);
        for (const char *c = part.body; (c = strchr(c, '\n')) != NULL; c++)
            rows++;
        next = reply_header(&part, "X-Next-After", value);
        if (next != NULL) {
            assert_true(strtoull(next, NULL, 10) > after);
            after = strtoull(next, NULL, 10);
        }
        pages++;
        reply_free(&part);
    }
    json_t *names = series_of("?points=2");
    assert_true(pages > 1);
    assert_true(rows > 100000);
    assert_true(rows <= 6000 * json_object_size(names));
    json_decref(names);
    run = kept;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *query, *accept;
        long status;
    } cases[] = {
        {"?points=1", NULL, 400},        {"?points=5001", NULL, 400}, {"?points=x", NULL, 400},
        {"?format=xml", NULL, 400},      {"?form=csv", NULL, 400},    {"", "image/png", 406},
        {"?name=*a*a*a*a*b", NULL, 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply reply;
        fetch(cases[i].query, cases[i].accept, &reply);
        expect(&reply, cases[i].status);
        reply_free(&reply);
    }
    json_decref(get(&server, 404, "/v1/runs/99999/metrics?points=10"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs), cmocka_unit_test(test_forms),   cmocka_unit_test(test_points),
        cmocka_unit_test(test_pages), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, start, server_stop);
}
