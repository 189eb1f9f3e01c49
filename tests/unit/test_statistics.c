// SPDX-License-Identifier: Apache-2.0
/* Statistics against hand-computed and published values, closed forms and enumerations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "results/statistics.h"

static void near(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected)))
        fail_msg("expected %.17g, found %.17g", expected, found);
}

static struct moments moments_of(const double *values, size_t n)
{
    struct moments m = {0};
    for (size_t i = 0; i < n; i++)
        moments_add(&m, values[i]);
    return m;
}

static void test_moments(void **state)
{
    (void)state;
    static const double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
    const struct moments m = moments_of(values, 8);
    assert_int_equal(m.n, 8);
    near(moments_mean(&m), 5.0, 1e-15);
    near(moments_sd(&m), sqrt(32.0 / 7.0), 1e-15);
    near(m.min, 2.0, 0.0);
    near(m.max, 9.0, 0.0);
    static const double far_off[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
    const struct moments far = moments_of(far_off, 4);
    near(moments_sd(&far), sqrt(30.0), 1e-12);
}

static void test_interval(void **state)
{
    (void)state;
    static const double values[] = {-1, -2, -3};
    const struct moments m = moments_of(values, 3);
    near(moments_half_width(&m), 0.95 / sqrt(2.0 * 0.975 * 0.025) / sqrt(3.0), 1e-12);
    near(m.max, -1.0, 0.0);
}

static void test_what_n_does_not_allow(void **state)
{
    (void)state;
    struct moments m = {0};
    assert_true(isnan(moments_mean(&m)));
    moments_add(&m, 0.5);
    near(moments_mean(&m), 0.5, 0.0);
    assert_true(isnan(moments_sd(&m)));
    assert_true(isnan(moments_half_width(&m)));
    moments_add(&m, 0.5);
    near(moments_sd(&m), 0.0, 0.0);
}

/* Any textbook's table, two-sided 5 %. */
static void test_tabulated_quantiles(void **state)
{
    (void)state;
    static const struct {
        double df, t;
    } table[] = {
        {1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},  {5, 2.571},   {6, 2.447},   {7, 2.365},
        {8, 2.306},  {9, 2.262},  {10, 2.228}, {12, 2.179}, {15, 2.131},  {20, 2.086},  {25, 2.060},
        {30, 2.042}, {40, 2.021}, {60, 2.000}, {80, 1.990}, {100, 1.984}, {120, 1.980},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double t = student_quantile(0.975, table[i].df);
        if (fabs(t - table[i].t) > 0.00051)
            fail_msg("df %g: expected %.3f, found %.6f", table[i].df, table[i].t, t);
    }
}

/* Closed forms of 1, 2 and 4 degrees of freedom (Shaw, Journal of Computational Finance 9, 2006). */
static void test_closed_quantiles(void **state)
{
    (void)state;
    for (double p = 0.51; p < 0.9999; p += 0.0173) {
        const double alpha = 4.0 * p * (1.0 - p);
        near(student_quantile(p, 1), tan(M_PI * (p - 0.5)), 1e-11);
        near(student_quantile(p, 2), (2.0 * p - 1.0) * sqrt(2.0 / alpha), 1e-11);
        near(student_quantile(p, 4), 2.0 * sqrt(cos(acos(sqrt(alpha)) / 3.0) / sqrt(alpha) - 1.0),
             1e-10);
    }
}

/* The expansion about the normal quantile (Abramowitz and Stegun 26.7.5). */
static void test_many_degrees(void **state)
{
    (void)state;
    const double z = 1.959963984540054, z2 = z * z;
    for (double df = 1000; df <= 1e6; df *= 10)
        near(student_quantile(0.975, df),
             z + z * (z2 + 1) / (4 * df) + z * ((5 * z2 + 16) * z2 + 3) / (96 * df * df) +
                 z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * df * df * df),
             1e-8);
}

static double density(double t, double df)
{
    return tgamma((df + 1) / 2) / (sqrt(df * M_PI) * tgamma(df / 2)) *
           pow(1 + t * t / df, -(df + 1) / 2);
}

/* The density, integrated by Simpson's rule. */
static void test_tails(void **state)
{
    (void)state;
    enum { PARTS = 4000 };
    for (double df = 1; df <= 101; df += 4)
        for (double t = 0.25; t <= 6; t += 0.25) {
            const double h = t / PARTS;
            double sum = density(0, df) + density(t, df);
            for (int i = 1; i < PARTS; i++)
                sum += (i % 2 == 1 ? 4 : 2) * density(i * h, df);
            const double expected = 1 - 2 * sum * h / 3, found = student_tails(t, df);
            if (fabs(found - expected) > 1e-11)
                fail_msg("df %g, t %g: expected %.15g, found %.15g", df, t, expected, found);
        }
}

static struct wilcoxon test_of(const double *differences, size_t n)
{
    struct wilcoxon w;
    assert_int_equal(wilcoxon_signed_rank(&w, differences, n), TET_OK);
    return w;
}

/* n different magnitudes with that sum of positive ranks. */
static struct wilcoxon with_sum(size_t n, size_t sum)
{
    double d[200];
    for (size_t rank = n; rank > 0; rank--) {
        const bool positive = sum >= rank;
        sum -= positive ? rank : 0;
        d[rank - 1] = positive ? (double)rank : -(double)rank;
    }
    assert_int_equal(sum, 0);
    return test_of(d, n);
}

/* The published critical values, two-sided 5 %: the largest sum that is significant. */
static void test_critical_values(void **state)
{
    (void)state;
    static const struct {
        size_t n, sum;
    } table[] = {{6, 0},   {7, 2},   {8, 3},   {9, 5},   {10, 8},  {11, 10}, {12, 13}, {13, 17},
                 {14, 21}, {15, 25}, {16, 29}, {17, 34}, {18, 40}, {19, 46}, {20, 52}, {25, 89}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double at = with_sum(table[i].n, table[i].sum).p;
        const double above = with_sum(table[i].n, table[i].sum + 1).p;
        if (!(at <= 0.05 && above > 0.05))
            fail_msg("n %zu: p is %g at %zu, %g above", table[i].n, at, table[i].sum, above);
    }
}

/* Depression before and after, nine patients: Hollander, Wolfe and Chicken, table 3.1. */
static void test_published_example(void **state)
{
    (void)state;
    static const double before[] = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30};
    static const double after[] = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
    double d[9];
    for (int i = 0; i < 9; i++)
        d[i] = before[i] - after[i];
    const struct wilcoxon w = test_of(d, 9);
    near(w.w_plus, 40.0, 0.0);
    near(w.p, 0.0390625, 1e-15);
}

/* All signs tried, ranks by counting. */
static double enumerate(const double *d, int n)
{
    double rank[16], total = 0, plus = 0;
    for (int i = 0; i < n; i++) {
        rank[i] = 0.5;
        for (int k = 0; k < n; k++)
            rank[i] += fabs(d[k]) < fabs(d[i]) ? 1.0 : fabs(d[k]) == fabs(d[i]) ? 0.5 : 0.0;
        total += rank[i];
        plus += d[i] > 0 ? rank[i] : 0;
    }
    int extreme = 0;
    for (int signs = 0; signs < 1 << n; signs++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += signs >> i & 1 ? rank[i] : 0;
        extreme += fabs(sum - total / 2) >= fabs(plus - total / 2);
    }
    return (double)extreme / (double)(1 << n);
}

static void test_exact_with_ties(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int round = 0; round < 200; round++) {
        const int n = 1 + round % 12;
        double d[12];
        for (int i = 0; i < n; i++) {
            random = random * 1664525u + 1013904223u;
            const double magnitude = 1 + (random >> 16) % 6;
            d[i] = random >> 31 ? magnitude : -magnitude;
        }
        const struct wilcoxon w = test_of(d, (size_t)n);
        assert_true(w.exact);
        near(w.p, enumerate(d, n), 1e-15);
    }
}

static void test_smallest_p(void **state)
{
    (void)state;
    static const double d[] = {0.0, 3.0, 0.0, 1.0, 2.0, 0.0};
    const struct wilcoxon w = test_of(d, 6);
    assert_int_equal(w.n, 3);
    assert_int_equal(w.zeros, 3);
    near(w.p, 0.25, 0.0);
    near(w.p_min, 0.25, 0.0);
    near(with_sum(5, 3).p_min, 0.0625, 0.0);
    static const double nothing[] = {0.0, 0.0};
    const struct wilcoxon zeros = test_of(nothing, 2);
    assert_int_equal(zeros.n, 0);
    assert_int_equal(zeros.zeros, 2);
    near(zeros.p, 1.0, 0.0);
    near(zeros.p_min, 1.0, 0.0);
}

static void test_approximation(void **state)
{
    (void)state;
    assert_true(with_sum(WILCOXON_EXACT, 400).exact);
    near(with_sum(WILCOXON_EXACT, 0).p, ldexp(1.0, 1 - WILCOXON_EXACT), 1e-15);
    /* n 60: mean 915, variance 60 * 61 * 121 / 24. */
    const struct wilcoxon w = with_sum(60, 700);
    assert_false(w.exact);
    near(w.p, erfc(214.5 / sqrt(2.0 * 18452.5)), 1e-12);
    near(with_sum(60, 915).p, 1.0, 0.0);
    near(w.p_min, erfc(914.5 / sqrt(2.0 * 18452.5)), 1e-12);
    /* One magnitude 100 times, 60 of them positive: ranks of 50.5, deviation 50.5 * sqrt(100) / 2. */
    double d[100];
    for (int i = 0; i < 100; i++)
        d[i] = i < 60 ? 1.0 : -1.0;
    near(test_of(d, 100).p, erfc(504.5 / 252.5 / sqrt(2.0)), 1e-12);
}

static void test_holm(void **state)
{
    (void)state;
    double p[] = {0.01, 0.04, NAN, 0.03, 0.005, 0.9};
    assert_int_equal(holm_adjust(p, 6), TET_OK);
    near(p[0], 0.04, 1e-15);
    near(p[1], 0.09, 1e-15);
    assert_true(isnan(p[2]));
    near(p[3], 0.09, 1e-15);
    near(p[4], 0.025, 1e-15);
    near(p[5], 0.9, 1e-15);
    double large[] = {0.6, 0.7};
    assert_int_equal(holm_adjust(large, 2), TET_OK);
    near(large[0], 1.0, 0.0);
    near(large[1], 1.0, 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_what_n_does_not_allow),
        cmocka_unit_test(test_tabulated_quantiles),
        cmocka_unit_test(test_closed_quantiles),
        cmocka_unit_test(test_many_degrees),
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_critical_values),
        cmocka_unit_test(test_published_example),
        cmocka_unit_test(test_exact_with_ties),
        cmocka_unit_test(test_smallest_p),
        cmocka_unit_test(test_approximation),
        cmocka_unit_test(test_holm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
