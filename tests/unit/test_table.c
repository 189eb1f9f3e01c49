// SPDX-License-Identifier: Apache-2.0
/* The result table: deviations, and differences from bp seed by seed, of outcomes made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "table.h"

/* One run; accuracy 0: it diverged. */
struct made {
    const char *rule;
    double lr;
    int seed;
    double accuracy;
};

static void make_outcome(struct outcome *o, const struct made *made)
{
    json_t *definition = json_pack("{s:{s:s}, s:{s:i, s:i}}", "rule", "name", made->rule,
                                   "training", "epochs", 1, "seed", made->seed);
    json_t *parameters = json_pack("{s:s, s:f, s:i}", "rule.name", made->rule, "optimizer.lr",
                                   made->lr, "training.seed", made->seed);
    outcome_begin(o, definition, parameters, 10);
    o->state = made->accuracy > 0.0 ? RUN_SUCCEEDED : RUN_DIVERGED;
    if (made->accuracy > 0.0)
        outcome_take(o, TET_SERIES_TEST_ACCURACY, 0, 10, made->accuracy);
    strcpy(o->digest, "sha256:0123456789abcdef");
    json_decref(definition);
    json_decref(parameters);
}

static char *print_table(const struct made *made, size_t n)
{
    struct outcome *outcomes = calloc(n, sizeof *outcomes);
    assert_non_null(outcomes);
    for (size_t i = 0; i < n; i++)
        make_outcome(&outcomes[i], &made[i]);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    table_print(out, outcomes, n);
    fclose(out);
    free(outcomes);
    return text;
}

static void expect(const struct made *made, size_t n, const char *there, const char *not_there)
{
    char *text = print_table(made, n);
    if (strstr(text, there) == NULL || (not_there != NULL && strstr(text, not_there) != NULL))
        fail_msg("expected \"%s\", not \"%s\", found:\n%s", there,
                 not_there != NULL ? not_there : "", text);
    free(text);
}

/* Differences 1, 2 and 3 points: mean 2, deviation 1, half width 4.30265 / sqrt(3) = 2.484. */
static void test_difference(void **state)
{
    (void)state;
    static const struct made made[] = {
        {"sal", 0.5, 1, 0.91}, {"sal", 0.5, 2, 0.92}, {"sal", 0.5, 3, 0.95},
        {"bp", 0.5, 3, 0.92},  {"bp", 0.5, 1, 0.90},  {"bp", 0.5, 2, 0.90},
    };
    expect(made, 6,
           "sal, lr 0.5 less bp, lr 0.5, seed by seed: +2.00 points, 95 % interval -0.48 to +4.48, "
           "n 3\n",
           "comparisons");
    expect(made, 6, "92.67 +- 2.08 %", "nan");
    expect(made, 3, "92.67 +- 2.08 %", "seed by seed");
}

/* Only seeds that both points have, and only runs that succeeded. */
static void test_unequal_seeds(void **state)
{
    (void)state;
    static const struct made made[] = {
        {"sal", 0.5, 1, 0.91}, {"sal", 0.5, 2, 0.0}, {"sal", 0.5, 4, 0.95},
        {"bp", 0.5, 1, 0.90},  {"bp", 0.5, 2, 0.90}, {"bp", 0.5, 3, 0.92},
    };
    expect(made, 6, "seed by seed: +1.00 points, n 1: no interval\n", "n 2");
    expect(made, 6, "  2/3  ", "nan");
    expect(made + 1, 5, "  1/2  ", "seed by seed"); // no seed in common
}

static void test_several_points(void **state)
{
    (void)state;
    static const struct made made[] = {
        {"bp", 0.5, 1, 0.90},
        {"sal", 0.5, 1, 0.91},
        {"sal", 0.25, 1, 0.88},
        {"bp", 0.25, 1, 0.915},
    };
    expect(made, 3, "  2 comparisons: each interval is for itself alone\n", "nan");
    expect(made, 3, "sal, lr 0.25 less bp, lr 0.5, seed by seed: -2.00 points", NULL);
    expect(made, 4, "bp, lr 0.25", "seed by seed"); // two points of bp: none is the baseline
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_unequal_seeds),
        cmocka_unit_test(test_several_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
