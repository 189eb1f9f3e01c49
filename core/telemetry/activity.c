// SPDX-License-Identifier: Apache-2.0
/*
 * What the ascending activities of hidden layers are like: how many are above 0, their mean and
 * variance, and how many dimensions they and the drives of W use.
 */
#include "telemetry/telemetry.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "eigenvalues.h"
#include "exact.h"

/* The i-th piece of x_l that lies in one place, without padding: an example of a dense layer, a
 * position of a channel of all examples; NULL past the end. */
static const float *piece(const struct tet_net *net, uint32_t l, size_t i, size_t *n)
{
    const struct tet_volume *v = &net->layer[l].x_d;
    if (!net->layer[l].image) {
        *n = net->d[l];
        return i < net->n ? net->x[l] + i * tet_stride(net->d[l]) : NULL;
    }
    const size_t positions = (size_t)v->rows * v->columns, at = i % positions;
    *n = net->n;
    return i / positions < v->channels
               ? net->image[l] + tet_volume_at(v, i / positions, at / v->columns, at % v->columns)
               : NULL;
}

static void moments(const struct tet_net *net, uint32_t l, const struct tet_emitter *to)
{
    double sum = 0.0, squares = 0.0, active = 0.0, count = 0.0;
    const float *x;
    size_t n;
    for (size_t i = 0; (x = piece(net, l, i, &n)) != NULL; i++) {
        for (size_t k = 0; k < n; k++) {
            sum += x[k];
            active += x[k] > 0.0f;
        }
        count += (double)n;
    }
    const double mean = sum / count;
    for (size_t i = 0; (x = piece(net, l, i, &n)) != NULL; i++)
        for (size_t k = 0; k < n; k++)
            squares += (x[k] - mean) * (x[k] - mean);
    tet_emit(to, TET_SERIES_ACTIVITY_ACTIVE, l, active / count);
    tet_emit(to, TET_SERIES_ACTIVITY_MEAN, l, mean);
    tet_emit(to, TET_SERIES_ACTIVITY_VARIANCE, l, squares / count);
}

/* ---- effective ranks ---- */

static size_t looked_at(const struct tet_net *net)
{
    return net->n < TET_RANK_EXAMPLES ? net->n : TET_RANK_EXAMPLES;
}

/* The lower triangle of g (n, n) takes in the products of one neuron's activities, `from` every
 * `step` floats. */
static void add_neuron(double *g, size_t n, const float *from, size_t step)
{
    double x[TET_RANK_EXAMPLES];
    for (size_t i = 0; i < n; i++)
        x[i] = from[i * step];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            g[i * n + j] += x[i] * x[j];
}

static void mirror(double *g, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            g[j * n + i] = g[i * n + j];
}

/* g (n, n) = the products of the examples' rows of a (n, d), stride tet_stride(d). */
static void gram_of_rows(double *g, size_t n, const float *a, size_t d)
{
    memset(g, 0, n * n * sizeof *g);
    for (size_t c = 0; c < d; c++)
        add_neuron(g, n, a + c, tet_stride(d));
    mirror(g, n);
}

static void gram_of_activity(const struct tet_net *net, uint32_t l, double *g, size_t n)
{
    size_t all;
    const float *x;
    if (!net->layer[l].image) {
        gram_of_rows(g, n, net->x[l], net->d[l]);
        return;
    }
    memset(g, 0, n * n * sizeof *g);
    for (size_t i = 0; (x = piece(net, l, i, &all)) != NULL; i++)
        add_neuron(g, n, x, 1);
    mirror(g, n);
}

/* exp of the entropy of the square roots of a's eigenvalues, as shares of their sum; what rounding
 * leaves of a zero counts as one. Destroys a (n, n). */
static double effective_rank(double *a, size_t n, double *scratch)
{
    double *values = scratch, sum = 0.0, entropy = 0.0;
    if (!tet_eigenvalues(a, n, values, scratch + n))
        return NAN;
    const double least = values[n - 1] * DBL_EPSILON * 8.0 * (double)n;
    for (size_t i = 0; i < n; i++) {
        values[i] = values[i] > least ? sqrt(values[i]) : 0.0;
        sum += values[i];
    }
    for (size_t i = 0; i < n && sum > 0.0; i++) {
        const double share = values[i] / sum;
        if (share >= DBL_MIN)
            entropy -= share * tet_exact_log(share);
    }
    return sum > 0.0 ? tet_exact_exp(entropy) : 0.0;
}

/* Cholesky: g (n, n), positive semi-definite, becomes L with g = L L^T. A pivot that rounding
 * leaves of zero has a column of zeros. */
static void factorise(double *g, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = g[i * n + i] > largest ? g[i * n + i] : largest;
    const double least = largest * DBL_EPSILON * 8.0 * (double)n;
    for (size_t c = 0; c < n; c++) {
        double pivot = g[c * n + c];
        for (size_t k = 0; k < c; k++)
            pivot -= g[c * n + k] * g[c * n + k];
        const double root = pivot > least ? sqrt(pivot) : 0.0;
        for (size_t r = c; r < n; r++) {
            double sum = g[r * n + c];
            for (size_t k = 0; k < c; k++)
                sum -= g[r * n + k] * g[c * n + k];
            g[r * n + c] = root > 0.0 ? sum / root : 0.0;
        }
        for (size_t r = 0; r < c; r++)
            g[r * n + c] = 0.0;
    }
}

/* out = L^T g L, all (n, n), L lower triangular, g symmetric; t: scratch (n). */
static void conjugate(const double *lower, const double *g, size_t n, double *out, double *t)
{
    for (size_t r = 0; r < n; r++) { // row r of out = (g L e_r)^T L
        memset(t, 0, n * sizeof *t);
        memset(out + r * n, 0, n * sizeof *out);
        for (size_t k = r; k < n; k++)
            for (size_t i = 0; i < n; i++)
                t[i] += lower[k * n + r] * g[k * n + i];
        for (size_t k = 0; k < n; k++)
            for (size_t c = 0; c <= k; c++)
                out[r * n + c] += t[k] * lower[k * n + c];
    }
    for (size_t r = 0; r < n; r++) // to the bit
        for (size_t c = 0; c < r; c++)
            out[c * n + r] = out[r * n + c];
}

/* The singular values of M^T X, M (n, d_l), X (n, d_{l-1}), are the roots of the eigenvalues of
 * L^T X X^T L, where M M^T = L L^T: n of them however wide the layers are. */
static double drive_rank(const struct tet_net *net, uint32_t l, size_t n)
{
    double *lower = net->gram, *x = lower + n * n, *out = x + n * n, *scratch = out + n * n;
    gram_of_rows(lower, n, net->m[l], net->d[l]);
    gram_of_rows(x, n, net->x[l - 1], tet_net_width(net, l - 1));
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(lower[i]))
            return NAN;
    factorise(lower, n);
    conjugate(lower, x, n, out, scratch);
    return effective_rank(out, n, scratch);
}

void tet_telemetry_activity(struct tet_net *net, const struct tet_emitter *to)
{
    const size_t n = looked_at(net);
    for (uint32_t l = 1; l < net->L; l++) {
        moments(net, l, to);
        gram_of_activity(net, l, net->gram, n);
        tet_emit(to, TET_SERIES_ACTIVITY_EFFECTIVE_RANK, l,
                 effective_rank(net->gram, n, net->gram + n * n));
        if (!net->layer[l].image)
            tet_emit(to, TET_SERIES_ACTIVITY_DRIVE_RANK, l, drive_rank(net, l, n));
    }
}
