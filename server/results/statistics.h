// SPDX-License-Identifier: Apache-2.0
/*
 * Statistics over few values: mean, deviation, interval, and the signed-rank test of paired
 * differences. What n does not allow is NaN, never a number. Nothing here keeps state: any thread
 * may call it.
 */
#ifndef SERVER_RESULTS_STATISTICS_H
#define SERVER_RESULTS_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

#include <tetrad/error.h>

/* One pass over values, in constant memory. Begins as {0}; every value must be finite. */
struct moments {
    size_t n;
    double mean, squares; // squares: sum of squared deviations from the mean
    double min, max;
};

/* moments_add: by Welford's update (Technometrics 4, 1962, 419-420), which does not cancel. */
void moments_add(struct moments *moments, double value);

/* moments_mean: NaN where n is 0. */
double moments_mean(const struct moments *moments);

/* moments_sd: the sample's standard deviation, divisor n - 1; NaN where n < 2. */
double moments_sd(const struct moments *moments);

/* moments_half_width: the 95 % interval of the mean is mean -+ this: t(0.975, n - 1) sd / sqrt(n).
 * NaN where n < 2. */
double moments_half_width(const struct moments *moments);

/* student_tails: the probability that |T| >= t for df degrees of freedom; df >= 1, t >= 0.
 * It is the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2) (Abramowitz
 * and Stegun 26.7.1), taken from its continued fraction (DLMF 8.17.22). */
double student_tails(double t, double df);

/* student_quantile: the t with P(T <= t) = p; 0.5 <= p < 1, df >= 1. */
double student_quantile(double p, double df);

enum { WILCOXON_EXACT = 50 }; // up to so many differences the distribution is enumerated

struct wilcoxon {
    size_t n;      // differences that are not zero: those that the test is of
    size_t zeros;  // differences that are zero, dropped as Wilcoxon did (1945)
    double w_plus; // sum of the ranks of the positive differences
    double p;      // two-sided
    double p_min;  // the smallest p that so many ranks can give, whatever the signs
    bool exact;    // false: normal approximation
};

/*
 * wilcoxon_signed_rank: tests whether differences are symmetric about 0. Equal magnitudes share
 * their mean rank. Up to WILCOXON_EXACT differences p is exact, conditional on the ranks: the
 * share of the 2^n choices of signs that are at least as extreme, ties included. Beyond, normal
 * with correction for ties and continuity (Hollander, Wolfe and Chicken, Nonparametric Statistical
 * Methods, 3rd edition, section 3.1). With no difference but zeros p is 1. TET_OK, or
 * TET_NO_MEMORY, with *result all zeros.
 */
enum tet_err wilcoxon_signed_rank(struct wilcoxon *result, const double *differences, size_t n)
    __attribute__((warn_unused_result));

/* holm_adjust: p values of one family of n comparisons, adjusted in place by Holm's step-down method
 * (Scandinavian Journal of Statistics 6, 1979, 65-70). NaN stays NaN and is no comparison. TET_OK, or
 * TET_NO_MEMORY, with p unchanged. */
enum tet_err holm_adjust(double *p, size_t n) __attribute__((warn_unused_result));

#endif
