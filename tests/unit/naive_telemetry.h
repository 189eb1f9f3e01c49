// SPDX-License-Identifier: Apache-2.0
/*
 * What telemetry says of signals and activities, in plain double loops: for the naive networks,
 * whose activities are (example, neuron, position), WIDTH for each example. Included by them.
 */
#ifndef TESTS_NAIVE_TELEMETRY_H
#define TESTS_NAIVE_TELEMETRY_H

#include "follow.h"

/* Singular values of a (rows, columns), destroyed, by one-sided Jacobi rotations of its rows
 * (Hestenes 1958): the norms of the rows once they are orthogonal. */
static inline void naive_singular(double *a, uint32_t rows, uint32_t columns, double *values)
{
    for (int sweep = 0; sweep < 40; sweep++)
        for (uint32_t p = 0; p < rows; p++)
            for (uint32_t q = p + 1; q < rows; q++) {
                double pp = 0.0, qq = 0.0, pq = 0.0, *x = a + p * columns, *y = a + q * columns;
                for (uint32_t c = 0; c < columns; c++) {
                    pp += x[c] * x[c];
                    qq += y[c] * y[c];
                    pq += x[c] * y[c];
                }
                if (fabs(pq) <= 1e-15 * sqrt(pp * qq) || pq == 0.0)
                    continue;
                const double tau = (qq - pp) / (2.0 * pq);
                const double t = (tau < 0.0 ? -1.0 : 1.0) / (fabs(tau) + sqrt(1.0 + tau * tau));
                const double c_ = 1.0 / sqrt(1.0 + t * t), s_ = t * c_;
                for (uint32_t c = 0; c < columns; c++) {
                    const double u = x[c], v = y[c];
                    x[c] = c_ * u - s_ * v;
                    y[c] = s_ * u + c_ * v;
                }
            }
    for (uint32_t p = 0; p < rows; p++) {
        double sum = 0.0;
        for (uint32_t c = 0; c < columns; c++)
            sum += a[p * columns + c] * a[p * columns + c];
        values[p] = sqrt(sum);
    }
}

static inline double naive_effective_rank(double *a, uint32_t rows, uint32_t columns)
{
    static double values[WIDTH];
    double sum = 0.0, entropy = 0.0;
    assert_true(rows <= WIDTH);
    naive_singular(a, rows, columns, values);
    for (uint32_t i = 0; i < rows; i++)
        sum += values[i];
    for (uint32_t i = 0; i < rows && sum > 0.0; i++)
        if (values[i] > 1e-9 * sum)
            entropy -= values[i] / sum * log(values[i] / sum);
    return sum > 0.0 ? exp(entropy) : 0.0;
}

static inline double naive_largest(const double *x, uint32_t n, uint32_t first, uint32_t last)
{
    double largest = 0.0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = first; k < last; k++)
            largest = fmax(largest, fabs(x[i * WIDTH + k]));
    return largest;
}

/* Correlations over examples and positions. Those that rounding may turn are unsure: they are near
 * 0, or the neuron's signals cancel (usf: feedback of one sign sums the teaching signal, to 0). */
static inline void check_consistency(const struct log *log, uint64_t step, uint32_t n, uint32_t l,
                                     uint32_t positions)
{
    double neurons = 0.0, positive = 0.0, unsure = 0.0, total = 0.0;
    const double count = (double)n * positions;
    const double tiny = 1e-5 * naive_largest(net.m[l], n, 0, net.d[l] * positions);
    for (uint32_t c = 0; c < net.d[l]; c++) {
        double mean_m = 0.0, mean_s = 0.0, mm = 0.0, ss = 0.0, ms = 0.0;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t k = c * positions; k < (c + 1) * positions; k++) {
                mean_m += net.m[l][i * WIDTH + k] / count;
                mean_s += net.bp[l][i * WIDTH + k] / count;
            }
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t k = c * positions; k < (c + 1) * positions; k++) {
                const double m = net.m[l][i * WIDTH + k] - mean_m;
                const double s = net.bp[l][i * WIDTH + k] - mean_s;
                mm += m * m;
                ss += s * s;
                ms += m * s;
            }
        if (mm == 0.0 || ss == 0.0)
            continue;
        const double correlation = ms / sqrt(mm * ss);
        neurons++;
        positive += correlation > 0.0;
        unsure += fabs(correlation) < 1e-3 ||
                  naive_largest(net.m[l], n, c * positions, (c + 1) * positions) < tiny;
        total += correlation;
    }
    const double divisor = neurons > 0.0 ? neurons : 1.0;
    check_record(log, step, TET_SERIES_ALIGNMENT_CONSISTENCY, l, positive / divisor,
                 2.0 * unsure / divisor + 1e-9);
    check_record(log, step, TET_SERIES_ALIGNMENT_CONSISTENCY_MEAN, l, total / divisor,
                 2.0 * unsure / divisor + 1e-3);
}

static inline void check_moments(const struct log *log, uint64_t step, uint32_t n, uint32_t l,
                                 uint32_t width)
{
    const double count = (double)n * width;
    double sum = 0.0, squares = 0.0, active = 0.0, unsure = 0.0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < width; k++) {
            const double x = net.x[l][i * WIDTH + k];
            sum += x;
            squares += x * x;
            active += x > 0.0;
            unsure += fabs(x) < 1e-5 && x != 0.0;
        }
    const double variance = squares / count - sum / count * (sum / count);
    check_record(log, step, TET_SERIES_ACTIVITY_ACTIVE, l, active / count, unsure / count + 1e-9);
    check_record(log, step, TET_SERIES_ACTIVITY_MEAN, l, sum / count,
                 1e-5 * (1.0 + sqrt(squares / count)));
    check_record(log, step, TET_SERIES_ACTIVITY_VARIANCE, l, variance,
                 1e-4 * (1e-3 + squares / count));
}

static inline void check_ranks(const struct log *log, uint64_t step, uint32_t n, uint32_t l,
                               uint32_t width, uint32_t below, bool dense)
{
    static double a[WIDTH * WIDTH];
    assert_true(n * width <= WIDTH * WIDTH && n <= 128);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < width; k++)
            a[i * width + k] = net.x[l][i * WIDTH + k];
    check_record(log, step, TET_SERIES_ACTIVITY_EFFECTIVE_RANK, l,
                 naive_effective_rank(a, n, width), 2e-3);
    if (!dense)
        return;
    assert_true(width * below <= WIDTH * WIDTH);
    for (uint32_t r = 0; r < width; r++)
        for (uint32_t c = 0; c < below; c++) {
            a[r * below + c] = 0.0;
            for (uint32_t i = 0; i < n; i++)
                a[r * below + c] += net.m[l][i * WIDTH + r] * net.x[l - 1][i * WIDTH + c];
        }
    check_record(log, step, TET_SERIES_ACTIVITY_DRIVE_RANK, l,
                 naive_effective_rank(a, width, below), 2e-3);
}

/* Of layer l: x_l has `width` values an example, x_{l-1} has `below`, m_l d_l * positions.
 * `cosine`: of its modulation. Returns how many records there are. */
static inline size_t check_more_telemetry(const struct log *log, uint64_t step, uint32_t n,
                                          uint32_t l, uint32_t positions, uint32_t width,
                                          uint32_t below, bool dense, double cosine)
{
    static uint64_t reached[2][LAYERS];
    size_t records = 0;
    if (net.plan.record_assembly) {
        check_consistency(log, step, n, l, positions);
        /* Near 0 and 180 degrees a small error of the cosine is a large one of the angle. */
        check_record(log, step, TET_SERIES_ALIGNMENT_MODULATION_ANGLE, l,
                     acos(fmax(-1.0, fmin(1.0, cosine))) * 180.0 / acos(-1.0),
                     0.05 + (1.0 - fabs(cosine) < 1e-4 ? 1.0 : 0.0));
        records += 3;
        for (int i = 0; i < 2; i++) {
            const enum tet_series series = (enum tet_series)(TET_SERIES_ALIGNMENT_REACHED_HALF + i);
            const double threshold = i == 0 ? 0.5 : 0.9;
            double value;
            if (step == 1)
                reached[i][l] = 0;
            if (!find(log, step, series, l, &value)) {
                assert_true(reached[i][l] != 0 || cosine < threshold + 1e-4);
                continue;
            }
            assert_true(reached[i][l] == 0 && cosine > threshold - 1e-4);
            assert_true(value == (double)step);
            reached[i][l] = step;
            records++;
        }
    }
    if (net.plan.record_activity) {
        check_moments(log, step, n, l, width);
        check_ranks(log, step, n, l, width, below, dense);
        records += dense ? 5 : 4;
    }
    return records;
}

#endif
