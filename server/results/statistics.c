// SPDX-License-Identifier: Apache-2.0
/* Statistics over few values: see statistics.h. */
#include "results/statistics.h"

#include <math.h>
#include <stdlib.h>

void moments_add(struct moments *m, double value)
{
    const double delta = value - m->mean;
    m->n++;
    m->mean += delta / (double)m->n;
    m->squares += delta * (value - m->mean);
    m->min = m->n == 1 || value < m->min ? value : m->min;
    m->max = m->n == 1 || value > m->max ? value : m->max;
}

double moments_mean(const struct moments *m)
{
    return m->n > 0 ? m->mean : NAN;
}

double moments_sd(const struct moments *m)
{
    return m->n > 1 ? sqrt(m->squares / (double)(m->n - 1)) : NAN;
}

double moments_half_width(const struct moments *m)
{
    if (m->n < 2)
        return NAN;
    return student_quantile(0.975, (double)(m->n - 1)) * moments_sd(m) / sqrt((double)m->n);
}

/* ---- Student's t -------------------------------------------------------------------------------- */

static double away_from_zero(double x)
{
    return fabs(x) < 1e-300 ? 1e-300 : x;
}

/* The continued fraction of DLMF 8.17.22, forwards by the modified method of Lentz (Thompson and
 * Barnett, Journal of Computational Physics 64, 1986, 490-509). It needs O(sqrt(max(a, b))) terms. */
static double beta_fraction(double a, double b, double x)
{
    double c = 1.0;
    double d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    double value = d;
    for (int i = 1; i < 100000; i++) {
        const double m = i;
        const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        value *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        value *= d * c;
        if (fabs(d * c - 1.0) < 1e-16)
            break;
    }
    return value;
}

/* I_x(a, b); y is 1 - x, given apart because it may be smaller than x can say. */
static double beta_share(double a, double b, double x, double y)
{
    if (x <= 0.0 || y <= 0.0)
        return x <= 0.0 ? 0.0 : 1.0;
    int sign; // lgamma writes a global variable, lgamma_r does not
    const double front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) +
                             a * log(x) + b * log(y));
    if (x < (a + 1.0) / (a + b + 2.0))
        return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, y) / b;
}

double student_tails(double t, double df)
{
    const double square = t * t;
    return beta_share(0.5 * df, 0.5, df / (df + square), square / (df + square));
}

/* The tails fall monotonically: halve the interval until doubles end. */
double student_quantile(double p, double df)
{
    const double tails = 2.0 * (1.0 - p);
    double low = 0.0, high = 1.0;
    while (student_tails(high, df) > tails && high < 1e150)
        high *= 2.0;
    for (;;) {
        const double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high)
            return middle;
        if (student_tails(middle, df) > tails)
            low = middle;
        else
            high = middle;
    }
}

/* ---- Wilcoxon's signed ranks ------------------------------------------------------------------- */

static int by_magnitude(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* Twice the mean rank of each of n magnitudes in ascending order, a whole number. Returns the sum
 * of t^3 - t over groups of t equal ones. */
static double rank_twice(size_t *twice, const double *sorted, size_t n)
{
    double ties = 0.0;
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && fabs(sorted[end]) == fabs(sorted[first]);)
            end++;
        for (size_t i = first; i < end; i++)
            twice[i] = first + 1 + end;
        const double t = (double)(end - first);
        ties += t * t * t - t;
    }
    return ties;
}

/* Of the 2^n choices of signs, the share whose sum of positive ranks, doubled, is at most limit,
 * twofold. Counts stay below 2^50: whole in a double. */
static double exact_p(const size_t *twice, size_t n, size_t limit)
{
    enum { SUMS = WILCOXON_EXACT * (WILCOXON_EXACT + 1) + 1 };
    double ways[SUMS] = {1.0};
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        most += twice[i];
        for (size_t sum = most; sum >= twice[i]; sum--)
            ways[sum] += ways[sum - twice[i]];
    }
    double count = 0.0;
    for (size_t sum = 0; sum <= limit; sum++)
        count += ways[sum];
    return fmin(1.0, 2.0 * ldexp(count, -(int)n));
}

static double normal_p(size_t n, double ties, double smaller)
{
    const double k = (double)n;
    const double mean = k * (k + 1.0) / 4.0;
    const double variance = k * (k + 1.0) * (2.0 * k + 1.0) / 24.0 - ties / 48.0;
    const double distance = fmax(0.0, mean - smaller - 0.5);
    return erfc(distance / sqrt(2.0 * variance));
}

enum tet_err wilcoxon_signed_rank(struct wilcoxon *result, const double *differences, size_t n)
{
    *result = (struct wilcoxon){0};
    double *sorted = calloc(n + 1, sizeof *sorted);
    size_t *twice = calloc(n + 1, sizeof *twice);
    enum tet_err err = TET_NO_MEMORY;
    if (sorted == NULL || twice == NULL)
        goto out;
    err = TET_OK;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (differences[i] != 0.0)
            sorted[kept++] = differences[i];
    qsort(sorted, kept, sizeof *sorted, by_magnitude);
    const double ties = rank_twice(twice, sorted, kept);
    size_t plus = 0, all = 0;
    for (size_t i = 0; i < kept; i++) {
        all += twice[i];
        plus += sorted[i] > 0.0 ? twice[i] : 0;
    }
    const size_t smaller = plus < all - plus ? plus : all - plus;
    const bool exact = kept <= WILCOXON_EXACT;
    *result = (struct wilcoxon){
        .n = kept,
        .zeros = n - kept,
        .w_plus = 0.5 * (double)plus,
        .p = exact ? exact_p(twice, kept, smaller) : normal_p(kept, ties, 0.5 * (double)smaller),
        .p_min = exact ? exact_p(twice, kept, 0) : normal_p(kept, ties, 0.0),
        .exact = exact,
    };
out:
    free(twice);
    free(sorted);
    return err;
}

/* ---- Many comparisons -------------------------------------------------------------------------- */

static int by_p(const void *a, const void *b)
{
    const double x = **(double *const *)a, y = **(double *const *)b;
    return (x > y) - (x < y);
}

enum tet_err holm_adjust(double *p, size_t n)
{
    double **order = calloc(n + 1, sizeof *order);
    if (order == NULL)
        return TET_NO_MEMORY;
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i]))
            order[m++] = &p[i];
    qsort(order, m, sizeof *order, by_p);
    double largest = 0.0;
    for (size_t i = 0; i < m; i++) {
        largest = fmax(largest, fmin(1.0, (double)(m - i) * *order[i]));
        *order[i] = largest;
    }
    free(order);
    return TET_OK;
}
