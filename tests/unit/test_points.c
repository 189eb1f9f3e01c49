// SPDX-License-Identifier: Apache-2.0
/* Sweeps with random or listed points, and what early stopping and selection need of a
 * definition. */
#include <math.h>

#include <tetrad/draw.h>

#include "definition_fixture.h"

#define VALID                                                                                      \
    "\"dataset\":{\"name\":\"strokes\",\"train\":200,\"test\":50,\"validation\":40},"              \
    "\"network\":{\"layers\":[{\"units\":16}]},\"rule\":{\"name\":\"sal\"}"

static double real_at(const json_t *value, const char *path)
{
    return json_number_value(json_object_get(value, path));
}

/* ---- numbers ---- */

/* A number of a stream by its definition: Philox is tested elsewhere, so here the distribution. */
static void test_draws(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct tet_draw draw = {.seed = 5, .axis = 2};
    double mean = 0, log_mean = 0;
    int64_t count[5] = {0}, log_count[8] = {0};
    for (; draw.i < N; draw.i++) {
        const double u = tet_draw_uniform(&draw, -1.0, 3.0), unit = (u + 1.0) / 4.0;
        const double g = tet_draw_log_uniform(&draw, 1e-4, 10.0);
        assert_true(u >= -1.0 && u <= 3.0 && g >= 1e-4 && g <= 10.0);
        /* one number of the stream, so both are of the same quantile; libm's pow is the oracle */
        const double expected = 1e-4 * pow(1e5, unit);
        if (fabs(g / expected - 1.0) > 1e-12)
            fail_msg("log-uniform %llu: got %.17g, expected %.17g", (unsigned long long)draw.i, g,
                     expected);
        mean += u / N;
        log_mean += log10(g) / N;
        const int64_t k = tet_draw_integer(&draw, 7, 11), m = tet_draw_log_integer(&draw, 1, 7);
        assert_true(k >= 7 && k <= 11 && m >= 1 && m <= 7);
        count[k - 7]++;
        log_count[m]++;
    }
    assert_true(fabs(mean - 1.0) < 5 * 4.0 / sqrt(12.0 * N)); // five standard errors
    assert_true(fabs(log_mean + 1.5) < 5 * 5.0 / sqrt(12.0 * N));
    for (int k = 0; k < 5; k++)
        assert_true(fabs((double)count[k] - N / 5.0) < 5 * sqrt(N * 0.2 * 0.8));
    for (int k = 1; k < 8; k++) {
        const double p = log((k + 1.0) / k) / log(8.0);
        assert_true(fabs((double)log_count[k] - N * p) < 5 * sqrt(N * p * (1 - p)));
    }
    draw.i = 3;
    assert_true(tet_draw_integer(&draw, 4, 4) == 4 && tet_draw_log_integer(&draw, 1, 1) == 1);
    assert_true(tet_draw_integer(&draw, 0, INT64_C(1) << 53) <= INT64_C(1) << 53);
}

/* ---- random ---- */

static const char random_text[] =
    "{" SAL ",\"sweep\":{\"random\":{\"n\":%d,\"seed\":%d,\"values\":{"
    "\"optimizer.lr\":{\"log_uniform\":[0.001,1]},"
    "\"optimizer.decay\":{\"uniform\":[0,0.01]},"
    "\"network.layers.0.units\":{\"log_integer\":[32,512]},"
    "\"training.batch\":{\"integer\":[1,8]},"
    "\"rule.name\":{\"choice\":[\"sal\",\"bp\",\"fa\"]}}},"
    "\"training.seed\":[1,2,3]}}";

static struct definition *read_random(int n, int seed)
{
    char text[1000];
    snprintf(text, sizeof text, random_text, n, seed);
    return read_good(text);
}

static void test_random(void **state)
{
    (void)state;
    struct definition *d = read_random(20, 7), *more = read_random(30, 7),
                      *other = read_random(20, 8);
    assert_int_equal(d->n_runs, 60);
    int rules[3] = {0}, same = 0;
    for (size_t i = 0; i < d->n_runs; i++) {
        const json_t *p = d->runs[i].parameters, *r = d->runs[i].resolved;
        assert_int_equal(json_object_size(p), 6);
        assert_int_equal((int)real_at(p, "training.seed"), (int)(i % 3) + 1);
        const double lr = real_at(p, "optimizer.lr"), decay = real_at(p, "optimizer.decay"),
                     units = real_at(p, "network.layers.0.units"),
                     batch = real_at(p, "training.batch");
        assert_true(lr >= 0.001 && lr <= 1 && decay >= 0 && decay <= 0.01 && units >= 32 &&
                    units <= 512 && batch >= 1 && batch <= 8);
        char six[40];
        snprintf(six, sizeof six, "%.6g", lr);
        assert_true(strtod(six, NULL) == lr);
        assert_true(json_number_value(member(r, "optimizer.lr")) == lr);
        assert_true(json_number_value(member(r, "network.layers.0.units")) == units);
        const char *rule = json_string_value(json_object_get(p, "rule.name"));
        assert_string_equal(rule, json_string_value(member(r, "rule.name")));
        rules[rule[0] == 's' ? 0 : rule[0] == 'b' ? 1 : 2]++;
        /* replicates share their point; a longer search begins with the shorter one */
        assert_true(lr == real_at(d->runs[i - i % 3].parameters, "optimizer.lr"));
        assert_true(json_equal(p, more->runs[i].parameters));
        same += json_equal(p, other->runs[i].parameters);
    }
    assert_true(rules[0] > 0 && rules[1] > 0 && rules[2] > 0);
    assert_int_equal(same, 0);
    expect_at(d->resolved, "sweep.random.seed", "7");
    definition_free(d);
    definition_free(more);
    definition_free(other);
    char text[1000];
    snprintf(text, sizeof text, random_text, 5, 7);
    expect_idempotent(text);
}

/* The k-th path, in the order of their bytes, has stream k of the seed: checked against the core's
 * numbers, and so whatever order they are written in. */
static void test_streams(void **state)
{
    (void)state;
    struct definition *d = read_good("{" SAL ",\"sweep\":{\"random\":{\"n\":4,\"values\":{"
                                     "\"optimizer.momentum\":{\"uniform\":[0,0.5]},"
                                     "\"optimizer.lr\":{\"log_uniform\":[0.25,0.5]}}}}}");
    assert_int_equal(d->n_runs, 4);
    for (uint64_t i = 0; i < 4; i++) {
        const struct tet_draw first = {1, 0, i}, second = {1, 1, i};
        const double lr = real_at(d->runs[i].parameters, "optimizer.lr"),
                     momentum = real_at(d->runs[i].parameters, "optimizer.momentum");
        assert_true(fabs(lr - tet_draw_log_uniform(&first, 0.25, 0.5)) < 1e-6);
        assert_true(fabs(momentum - tet_draw_uniform(&second, 0, 0.5)) < 1e-6);
    }
    definition_free(d);
}

static void test_list(void **state)
{
    (void)state;
    struct definition *d =
        read_good("{" SAL ",\"sweep\":[{\"list\":[{\"optimizer.lr\":0.5,\"optimizer.decay\":0.25},"
                  "{\"optimizer.lr\":0.125},{\"rule.name\":\"bp\"}],\"training.seed\":[1,2]},"
                  "{\"optimizer.lr\":[0.75]}]}");
    static const char *const expected[] = {
        "{\"optimizer.decay\":0.25,\"optimizer.lr\":0.5,\"training.seed\":1}",
        "{\"optimizer.decay\":0.25,\"optimizer.lr\":0.5,\"training.seed\":2}",
        "{\"optimizer.lr\":0.125,\"training.seed\":1}",
        "{\"optimizer.lr\":0.125,\"training.seed\":2}",
        "{\"rule.name\":\"bp\",\"training.seed\":1}",
        "{\"rule.name\":\"bp\",\"training.seed\":2}",
        "{\"optimizer.lr\":0.75}"};
    assert_int_equal(d->n_runs, 7);
    for (size_t i = 0; i < 7; i++)
        expect_at(d->runs[i].parameters, "", expected[i]);
    expect_at(d->runs[2].resolved, "rule.name", "\"sal\"");
    expect_at(d->runs[4].resolved, "optimizer.lr", "0.1");
    definition_free(d);
    /* a setting for a rule of another point */
    d = read_good(
        "{" BASE ",\"rule\":{\"name\":\"bp\"},\"sweep\":{\"list\":["
        "{\"rule.name\":\"sal\",\"optimizer.groups.V.lr\":0.5},{\"optimizer.lr\":0.5}]}}");
    assert_int_equal(d->n_runs, 2);
    definition_free(d);
}

/* ---- faults ---- */

static void expect_fault(const char *sweep, const char *pointer, const char *allowed)
{
    char text[1000];
    snprintf(text, sizeof text, "{" SAL ",\"sweep\":%s}", sweep);
    json_t *details = read_faults(text);
    const char *at = json_string_value(member(details, "0.pointer")),
               *words = json_string_value(member(details, "0.allowed"));
    if (json_array_size(details) != 1 || strcmp(at, pointer) != 0 || strstr(words, allowed) == NULL)
        fail_msg("%s: %zu faults, %s: %s; expected %s: ... %s", sweep, json_array_size(details), at,
                 words, pointer, allowed);
    json_decref(details);
}

#define RANDOM(values) "{\"random\":{\"n\":3,\"values\":{" values "}}}"

static void test_point_faults(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"random\":3}", "/sweep/random", "object"},
        {"{\"random\":{\"n\":0,\"values\":{\"optimizer.lr\":{\"uniform\":[1,2]}}}}",
         "/sweep/random/n", "integer from 1 to 10000"},
        {"{\"random\":{\"values\":{\"optimizer.lr\":{\"uniform\":[1,2]}}}}", "/sweep/random/n",
         "required"},
        {"{\"random\":{\"n\":1}}", "/sweep/random/values", "required"},
        {"{\"random\":{\"n\":1,\"count\":1,\"values\":{\"optimizer.lr\":{\"uniform\":[1,2]}}}}",
         "/sweep/random/count", "n"},
        {RANDOM("\"optimizer.lr\":{\"uniform\":[2,1]}"), "/sweep/random/values/optimizer.lr",
         "the first less than the second"},
        {RANDOM("\"optimizer.lr\":{\"uniform\":[1]}"), "/sweep/random/values/optimizer.lr/uniform",
         "array of 2 items"},
        {RANDOM("\"optimizer.lr\":{\"log_uniform\":[0,1]}"),
         "/sweep/random/values/optimizer.lr/log_uniform/0", "number"},
        {RANDOM("\"optimizer.lr\":{\"normal\":[0,1]}"), "/sweep/random/values/optimizer.lr/normal",
         "log_uniform"},
        {RANDOM("\"optimizer.lr\":{\"uniform\":[1,2],\"integer\":[1,2]}"),
         "/sweep/random/values/optimizer.lr", "1"},
        {RANDOM("\"optimizer.lr\":[1,2]"), "/sweep/random/values/optimizer.lr", "object"},
        {RANDOM("\"optimizer.rate\":{\"uniform\":[1,2]}"), "/sweep/random/values/optimizer.rate",
         "optimizer.lr"},
        {RANDOM("\"training.batch\":{\"uniform\":[1,2]}"), "/sweep/random/values/training.batch",
         "integer"},
        {RANDOM("\"rule.name\":{\"choice\":[\"backprop\"]}"), "/sweep/random/values/rule.name",
         "bp"},
        {RANDOM("\"training.threads\":{\"integer\":[1,2]}"),
         "/sweep/random/values/training.threads", "cannot be swept"},
        {"{\"list\":[]}", "/sweep/list", "1 to 10000"},
        {"{\"list\":[{\"optimizer.lr\":1},{}]}", "/sweep/list/1", "object"},
        {"{\"list\":[{\"optimizer.lr\":1},{\"optimizer.lr\":-1}]}", "/sweep/list/1/optimizer.lr",
         "number >"},
        {"{\"list\":[{\"optimizer.lr\":1}],\"random\":{\"n\":1,\"values\":{\"optimizer.decay\":"
         "{\"uniform\":[0,1]}}}}",
         "/sweep/list", "not both"},
        {"{\"list\":[{\"training.seed\":1}],\"random.n\":[1]}", "/sweep/random.n", "path"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_fault(cases[i][0], cases[i][1], cases[i][2]);
    json_t *details = read_faults("{" SAL ",\"sweep\":{\"list\":[{\"optimizer.lr\":1}],"
                                  "\"optimizer.lr\":[2]}}");
    assert_int_equal(json_array_size(details), 2); // each is swept by the other
    json_decref(details);
    details = read_faults("{" SAL ",\"sweep\":{\"random\":{\"n\":5001,\"values\":{\"optimizer.lr\":"
                          "{\"uniform\":[1,2]}}},\"training.seed\":[1,2]}}");
    expect_at(details, "0.pointer", "\"/sweep\"");
    expect_at(details, "0.found", "10002");
    json_decref(details);
}

/* ---- selection ---- */

static void test_selection(void **state)
{
    (void)state;
    struct definition *plain = read_good("{" VALID "}"),
                      *said = read_good("{" VALID ",\"training\":{\"select\":\"last\","
                                        "\"test\":\"every_epoch\"}}"),
                      *best = read_good("{" VALID ",\"training\":{\"select\":\"best\",\"test\":"
                                        "\"end\",\"early_stopping\":{\"patience\":3,\"metric\":"
                                        "\"validation/accuracy\",\"min_delta\":0.5}}}"),
                      *loss = read_good("{" VALID ",\"training\":{\"select\":\"best\"}}");
    assert_string_equal(plain->runs[0].hash, said->runs[0].hash);
    assert_string_equal(plain->hash, said->hash);
    assert_string_not_equal(plain->hash, best->hash);
    expect_at(plain->resolved, "training.select", "(nothing)");
    expect_at(said->resolved, "training.test", "(nothing)");
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    assert_int_equal(definition_dataset(&spec, best->resolved, NULL), TET_OK);
    assert_int_equal(catalog_info(catalog, &spec, &info, NULL), TET_OK);
    assert_int_equal(definition_plan(&plan, plain->resolved, &info, NULL), TET_OK);
    assert_true(plan.selection.metric == TET_METRIC_NONE && !plan.test_at_end);
    assert_int_equal(definition_plan(&plan, best->resolved, &info, NULL), TET_OK);
    assert_true(plan.selection.metric == TET_METRIC_ACCURACY && plan.selection.best &&
                plan.test_at_end && plan.selection.patience == 3 &&
                plan.selection.min_delta == 0.5f);
    assert_int_equal(definition_plan(&plan, loss->resolved, &info, NULL), TET_OK);
    assert_true(plan.selection.metric == TET_METRIC_LOSS && plan.selection.best &&
                plan.selection.patience == 0);
    assert_true(best->runs[0].memory_bytes > plain->runs[0].memory_bytes);
    definition_free(plain);
    definition_free(said);
    definition_free(best);
    definition_free(loss);
    expect_idempotent("{" VALID ",\"training\":{\"early_stopping\":{\"patience\":3}},"
                      "\"sweep\":{\"training.early_stopping.min_delta\":[0,0.5]}}");
}

static void expect_training_fault(const char *start, const char *training, const char *pointer)
{
    char text[1000];
    snprintf(text, sizeof text, "{%s,\"training\":{%s}}", start, training);
    json_t *details = read_faults(text);
    const char *at = json_string_value(member(details, "0.pointer"));
    if (json_array_size(details) != 1 || strcmp(at, pointer) != 0)
        fail_msg("%s: %zu faults, at %s; expected %s", text, json_array_size(details), at, pointer);
    json_decref(details);
}

static void test_selection_faults(void **state)
{
    (void)state;
    static const char reals[] = "\"dataset\":{\"name\":\"reals\",\"validation\":4},\"network\":{"
                                "\"layers\":[{\"units\":4}],\"loss\":\"mse\"},"
                                "\"rule\":{\"name\":\"bp\"},\"record\":{\"every\":0}";
    expect_training_fault(SAL, "\"select\":\"best\"", "/training/select");
    expect_training_fault(SAL, "\"early_stopping\":{\"patience\":3}", "/training/early_stopping");
    expect_training_fault(VALID, "\"early_stopping\":{}", "/training/early_stopping/patience");
    expect_training_fault(VALID, "\"early_stopping\":{\"patience\":0}",
                          "/training/early_stopping/patience");
    expect_training_fault(VALID, "\"early_stopping\":{\"patience\":1,\"metric\":\"test/loss\"}",
                          "/training/early_stopping/metric");
    expect_training_fault(VALID, "\"early_stopping\":{\"patience\":1,\"min_delta\":-1}",
                          "/training/early_stopping/min_delta");
    expect_training_fault(VALID, "\"early_stopping\":{\"patience\":1,\"min_delta\":1e-50}",
                          "/training/early_stopping/min_delta");
    expect_training_fault(VALID, "\"select\":\"first\"", "/training/select");
    expect_training_fault(VALID, "\"test\":\"never\"", "/training/test");
    expect_training_fault(reals,
                          "\"batch\":4,\"early_stopping\":{\"patience\":1,\"metric\":"
                          "\"validation/accuracy\"}",
                          "/training/early_stopping/metric");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_point_faults),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_selection_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
