// SPDX-License-Identifier: Apache-2.0
/* The result table: deviations, and differences from bp seed by seed, of outcomes made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "results/table.h"

/* One run; accuracy 0: it diverged; below: it succeeded and has none, as a protocol. */
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
    o->state = made->accuracy != 0.0 ? RUN_SUCCEEDED : RUN_DIVERGED;
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
    /* t(0.975, 2) 2.0817 / sqrt(3) = 5.171 */
    expect(made, 6, "92.67 +- 2.08 % [87.50, 97.84]", "nan");
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

/* Runs count where they succeeded, differences where there are accuracies. */
static void test_without_accuracy(void **state)
{
    (void)state;
    static const struct made made[] = {
        {"bp", 0.1, 1, -1}, {"sal", 0.1, 1, -1}, {"bp", 0.1, 2, 0.5}, {"sal", 0.1, 2, 0}};
    expect(made, 4, "sal, lr 0.1    1/2  -  ", "less bp");
    expect(made, 2, "sal, lr 0.1      1  -  ", "less bp");
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
    /* two points of bp: a point is compared with the one of its rate */
    expect(made, 4, "sal, lr 0.25 less bp, lr 0.25, seed by seed: -3.50 points", NULL);
    expect(made, 4, "sal, lr 0.5 less bp, lr 0.5, seed by seed: +1.00 points", "less bp, lr 0.125");
    static const struct made apart[] = {
        {"bp", 0.5, 1, 0.90}, {"bp", 0.25, 1, 0.91}, {"sal", 0.125, 1, 0.88}};
    expect(apart, 3, "sal, lr 0.125", "seed by seed"); // none of its rate, and a choice
}

/* A run that stops early: its last epoch is the last that there was. Epochs of 5 steps, planned
 * 4. */
static void test_early_end(void **state)
{
    (void)state;
    static const double cosines[] = {0.1, 0.2, 0.3, 0.5, 0.7};
    json_t *definition = json_pack("{s:{s:s}, s:{s:i, s:i}}", "rule", "name", "sal", "training",
                                   "epochs", 4, "seed", 1),
           *parameters = json_object();
    struct outcome o;
    outcome_begin(&o, definition, parameters, 20);
    for (uint64_t i = 0; i < 5; i++) // steps 1, 3, 5, 7, 9: the last two are of epoch 2
        outcome_take(&o, TET_SERIES_ALIGNMENT_MODULATION, 1, 2 * i + 1, cosines[i]);
    assert_true(o.n_last[0] == 2 && o.first[0] == 0.1);
    assert_true(o.last[0] == 0.5 + 0.7);
    for (uint64_t i = 0; i < 5; i++) // layer by layer, as a server's series come
        outcome_take(&o, TET_SERIES_ALIGNMENT_MODULATION, 2, 2 * i + 1, cosines[i]);
    assert_true(o.n_last[1] == 2 && o.first[1] == 0.1 && o.last[1] == 0.5 + 0.7);
    assert_true(o.n_last[0] == 2 && o.last[0] == 0.5 + 0.7);
    json_decref(definition);
    json_decref(parameters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_difference),       cmocka_unit_test(test_unequal_seeds),
        cmocka_unit_test(test_without_accuracy), cmocka_unit_test(test_several_points),
        cmocka_unit_test(test_early_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
