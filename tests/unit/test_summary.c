// SPDX-License-Identifier: Apache-2.0
/* Summaries of few values, worked out by hand; which runs count, and what is compared with what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/summary.h"

static int64_t runs;

static void add(struct summary *s, enum run_state state, const char *parameters, double value)
{
    const struct store_value v = {
        .run = ++runs, .state = state, .parameters = parameters, .step = 10, .value = value};
    assert_true(summary_add(s, &v));
}

static void add_step(struct summary *s, int64_t run, const char *parameters, uint64_t step,
                     double value)
{
    const struct store_value v = {
        .run = run, .state = RUN_SUCCEEDED, .parameters = parameters, .step = step, .value = value};
    assert_true(summary_add_step(s, &v));
}

static json_t *show(struct summary *s, const char *baseline)
{
    struct tet_error error = {0};
    json_t *assignment = baseline != NULL ? json_loads(baseline, 0, NULL) : NULL;
    if (summary_compare(s, assignment, &error) != TET_OK)
        fail_msg("%s", error.message);
    json_t *value = summary_json(s, true);
    assert_non_null(value);
    json_decref(assignment);
    summary_free(s);
    return value;
}

static const json_t *at(const json_t *value, const char *path)
{
    char name[64];
    while (*path != '\0') {
        const size_t n = strcspn(path, "/");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name))
                                     : json_object_get(value, name);
        path += n + (path[n] == '/');
    }
    return value;
}

static void expect(const json_t *value, const char *path, double expected)
{
    const json_t *found = at(value, path);
    if (!json_is_number(found) ||
        !(fabs(json_number_value(found) - expected) <= 1e-9 * (1 + fabs(expected))))
        fail_msg("%s: got %.17g (type %d), expected %.17g", path, json_number_value(found),
                 found != NULL ? (int)json_typeof(found) : -1, expected);
}

static void expect_null(const json_t *value, const char *path)
{
    if (!json_is_null(at(value, path)))
        fail_msg("%s is not null", path);
}

/* bp: 1, 2, 3 and 6; sal: 2, 4, 9 of the same seeds, then one that bp lacks and one that diverged.
 * Differences 1, 2, 6: mean 3, sd sqrt(7), t(0.975, 2) = 4.30265272974946. Of 3 ranks, all
 * positive, p = 2 / 2^3. */
static void by_hand(void **state)
{
    (void)state;
    struct summary *s = summary_create();
    static const double bp[] = {1, 2, 3, 6}, sal[] = {2, 4, 9};
    char text[100];
    for (int i = 3; i >= 0; i--) {
        snprintf(text, sizeof text, "{\"rule.name\":\"bp\",\"training.seed\":%d}", i);
        add(s, RUN_SUCCEEDED, text, bp[i]);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "{\"rule.name\":\"sal\",\"training.seed\":%d}", i);
        add(s, RUN_SUCCEEDED, text, sal[i]);
    }
    add(s, RUN_SUCCEEDED, "{\"rule.name\":\"sal\",\"training.seed\":9}", 5);
    add(s, RUN_DIVERGED, "{\"rule.name\":\"sal\",\"training.seed\":3}", 100);
    add(s, RUN_SUCCEEDED, "{\"rule.name\":\"fa\",\"training.seed\":1}", 2);
    add(s, RUN_SUCCEEDED, "{\"rule.name\":\"fa\",\"training.seed\":2}", NAN); // has no such metric
    add(s, RUN_RUNNING, "{\"rule.name\":\"fa\",\"training.seed\":3}", 7);
    add(s, RUN_FAILED, "{\"rule.name\":\"kp\",\"training.seed\":1}", 7);
    assert_int_equal(summary_values(s), 9);
    json_t *v = show(s, NULL);
    expect(v, "runs/succeeded", 10);
    expect(v, "runs/diverged", 1);
    expect(v, "runs/running", 1);
    expect(v, "runs/failed", 1);
    assert_string_equal(json_string_value(at(v, "baseline/rule.name")), "bp");
    expect(v, "points/0/n", 4);
    expect(v, "points/0/mean", 3);
    expect(v, "points/0/sd", sqrt(14.0 / 3));
    expect(v, "points/0/interval/0", 3 - 3.18244630528371 * sqrt(14.0 / 3) / 2); // t(0.975, 3)
    expect(v, "points/0/interval/1", 3 + 3.18244630528371 * sqrt(14.0 / 3) / 2);
    expect(v, "points/0/min", 1);
    expect(v, "points/0/max", 6);
    expect_null(v, "points/0/difference");
    expect(v, "points/1/n", 4);
    expect(v, "points/1/runs/diverged", 1);
    expect(v, "points/1/mean", 5);
    expect(v, "points/1/difference/n", 3);
    expect(v, "points/1/difference/baseline", 0);
    expect(v, "points/1/difference/mean", 3);
    expect(v, "points/1/difference/sd", sqrt(7));
    expect(v, "points/1/difference/interval/0", 3 - 4.30265272974946 * sqrt(7.0 / 3));
    expect(v, "points/1/difference/wilcoxon/p", 0.25);
    expect(v, "points/1/difference/wilcoxon/p_min", 0.25);
    expect(v, "points/1/difference/wilcoxon/w_plus", 6);
    /* fa: one value, one difference of zero */
    expect(v, "points/2/n", 1);
    expect(v, "points/2/runs/succeeded", 2);
    expect(v, "points/2/mean", 2);
    expect_null(v, "points/2/sd");
    expect_null(v, "points/2/interval");
    expect(v, "points/2/difference/n", 1);
    expect_null(v, "points/2/difference/sd");
    expect_null(v, "points/2/difference/interval");
    expect(v, "points/2/difference/wilcoxon/zeros", 1);
    expect(v, "points/2/difference/p_holm", 1);
    /* kp: nothing that counts */
    expect(v, "points/3/n", 0);
    expect_null(v, "points/3/mean");
    expect_null(v, "points/3/min");
    expect(v, "points/3/difference/n", 0);
    expect_null(v, "points/3/difference/mean");
    expect_null(v, "points/3/difference/wilcoxon");
    expect_null(v, "points/3/difference/p_holm");
    expect(v, "comparisons", 2);
    expect(v, "points/1/difference/p_holm", 0.5); // 2 x 0.25
    json_decref(v);
}

/* Two rules by two rates: a point is compared with the baseline of its rate. A parameter that the
 * baseline's rule has no use for does not count. */
static void matched(void **state)
{
    (void)state;
    struct summary *s = summary_create();
    for (int lr = 1; lr <= 2; lr++)
        for (int seed = 1; seed <= 2; seed++) {
            char text[200];
            snprintf(text, sizeof text,
                     "{\"optimizer.lr\":%d.0,\"rule.name\":\"bp\",\"training.seed\":%d}", lr, seed);
            add(s, RUN_SUCCEEDED, text, 10 * lr + seed);
            snprintf(text, sizeof text,
                     "{\"optimizer.groups.V.lr\":3,\"optimizer.lr\":%d.0,\"rule.name\":\"sal\","
                     "\"training.seed\":%d}",
                     lr, seed);
            add(s, RUN_SUCCEEDED, text, 11 * lr + seed);
        }
    add(s, RUN_SUCCEEDED, "{\"optimizer.lr\":7.0,\"rule.name\":\"sal\",\"training.seed\":1}", 0);
    struct summary *same = s;
    json_t *v = show(same, "{\"rule.name\":\"bp\"}");
    expect(v, "points/1/difference/baseline", 0);
    expect(v, "points/1/difference/mean", 1);
    expect(v, "points/3/difference/baseline", 2);
    expect(v, "points/3/difference/mean", 2);
    expect(v, "points/3/difference/sd", 0);
    expect_null(v, "points/2/difference");
    expect_null(v, "points/4/difference"); // there is no bp with its rate
    json_decref(v);
}

static void no_baseline(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) { // none, or more than one
        struct summary *s = summary_create();
        add(s, RUN_SUCCEEDED, k ? "{\"a\":1,\"rule.name\":\"bp\"}" : "{\"a\":1}", 1);
        add(s, RUN_SUCCEEDED, k ? "{\"a\":2,\"rule.name\":\"bp\"}" : "{\"a\":2}", 2);
        json_t *v = show(s, NULL);
        expect_null(v, "baseline");
        expect_null(v, "points/1/difference");
        expect(v, "comparisons", 0);
        json_decref(v);
    }
    struct summary *s = summary_create();
    struct tet_error error = {0};
    add(s, RUN_SUCCEEDED, "{\"a\":1}", 1);
    json_t *wrong = json_pack("{s:i}", "a", 2), *number = json_pack("{s:f}", "a", 1.0);
    assert_int_equal(summary_compare(s, wrong, &error), TET_NOT_FOUND);
    summary_free(s);
    s = summary_create();
    add(s, RUN_SUCCEEDED, "{\"a\":1}", 1);
    assert_int_equal(summary_compare(s, number, NULL), TET_OK); // 1 is 1.0
    summary_free(s);
    json_decref(wrong);
    json_decref(number);
}

static void by_step(void **state)
{
    (void)state;
    struct summary *s = summary_create();
    static const char *const seeds[] = {"{\"training.seed\":1}", "{\"training.seed\":2}"};
    for (int i = 0; i < 2; i++)
        add(s, RUN_SUCCEEDED, seeds[i], 1);
    add_step(s, 100, seeds[0], 5, 1);
    add_step(s, 100, seeds[0], 15, 3);
    add_step(s, 101, seeds[1], 5, 2);
    add_step(s, 101, seeds[1], 10, 4);
    add_step(s, 101, seeds[1], 15, 5);
    json_t *v = show(s, NULL);
    expect(v, "points/0/series/steps/0", 5);
    expect(v, "points/0/series/steps/1", 10);
    expect(v, "points/0/series/steps/2", 15);
    expect(v, "points/0/series/n/0", 2);
    expect(v, "points/0/series/n/1", 1);
    expect(v, "points/0/series/mean/0", 1.5);
    expect(v, "points/0/series/mean/2", 4);
    expect(v, "points/0/series/sd/2", sqrt(2));
    expect(v, "points/0/series/max/2", 5);
    expect_null(v, "points/0/series/sd/1");
    expect_null(v, "points/0/series/low/1");
    expect(v, "points/0/series/low/0", 1.5 - 12.7062047361747 * 0.5); // t(0.975, 1) sd / sqrt(2)
    assert_int_equal(json_array_size(at(v, "points/0/series/max")), 3);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(matched),
        cmocka_unit_test(no_baseline),
        cmocka_unit_test(by_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
