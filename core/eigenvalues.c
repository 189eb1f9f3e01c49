// SPDX-License-Identifier: Apache-2.0
/* See eigenvalues.h. Sums run in ascending order, so that no compiler changes their bits. */
#include "eigenvalues.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Makes row k of a, left of its diagonal, the reflection v = x -+ |x| e_{k-1}; returns 2 / |v|^2,
 * or 0 where there is nothing to reflect. *beside: what stays beside the diagonal. */
static double reflect(double *v, size_t k, double *beside)
{
    double scale = 0.0, sum = 0.0;
    for (size_t i = 0; i + 1 < k; i++)
        scale = fmax(scale, fabs(v[i]));
    *beside = v[k - 1];
    if (scale == 0.0)
        return 0.0;
    scale = fmax(scale, fabs(v[k - 1]));
    for (size_t i = 0; i < k; i++) {
        v[i] /= scale;
        sum += v[i] * v[i];
    }
    const double length = v[k - 1] > 0.0 ? -sqrt(sum) : sqrt(sum);
    *beside = scale * length;
    const double half = sum - v[k - 1] * length; // |v|^2 / 2 once v's last is less by `length`
    v[k - 1] -= length;
    return 1.0 / half;
}

/* a := H a H of the leading (k, k), H = 1 - factor v v^T: a -= v w^T + w v^T, with p = factor a v
 * and w = p - (factor / 2) (p v) v. */
static void apply(double *a, size_t n, size_t k, const double *v, double factor, double *w)
{
    double along = 0.0;
    for (size_t i = 0; i < k; i++)
        w[i] = 0.0;
    for (size_t r = 0; r < k; r++) // a is symmetric: row r is column r
        for (size_t i = 0; i < k; i++)
            w[i] += a[r * n + i] * v[r];
    for (size_t i = 0; i < k; i++) {
        w[i] *= factor;
        along += w[i] * v[i];
    }
    for (size_t i = 0; i < k; i++)
        w[i] -= factor / 2.0 * along * v[i];
    for (size_t r = 0; r < k; r++)
        for (size_t i = 0; i < k; i++)
            a[r * n + i] -= v[r] * w[i] + w[r] * v[i];
}

/* d (n): the diagonal; e (n): e[k] beside it, between k - 1 and k. */
static void tridiagonalise(double *a, size_t n, double *d, double *e, double *w)
{
    e[0] = 0.0;
    for (size_t k = n; k-- > 1;) {
        const double factor = reflect(a + k * n, k, &e[k]);
        d[k] = a[k * n + k];
        if (factor != 0.0)
            apply(a, n, k, a + k * n, factor, w);
    }
    d[0] = a[0];
}

/* One sweep of plane rotations from m up to l, with Wilkinson's shift. */
static void sweep(double *d, double *e, size_t l, size_t m)
{
    double g = (d[l + 1] - d[l]) / (2.0 * e[l]), r = sqrt(g * g + 1.0);
    double s = 1.0, c = 1.0, p = 0.0;
    g = d[m] - d[l] + e[l] / (g + (g < 0.0 ? -r : r));
    for (size_t i = m; i-- > l;) {
        const double f = s * e[i], b = c * e[i];
        r = sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0.0) { // underflow: this eigenvalue is found
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

/* e[k] between k and k + 1 here; e[n - 1] is 0. */
static bool diagonalise(double *d, double *e, size_t n)
{
    enum { MOST = 60 }; // sweeps for one eigenvalue; two or three are usual
    for (size_t l = 0; l < n; l++)
        for (int sweeps = 0;; sweeps++) {
            size_t m = l;
            while (m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])))
                m++;
            if (m == l)
                break;
            if (sweeps == MOST)
                return false;
            sweep(d, e, l, m);
        }
    return true;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool tet_eigenvalues(double *a, size_t n, double *values, double *scratch)
{
    double *e = scratch, *w = scratch + n;
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(a[i]))
            return false;
    tridiagonalise(a, n, values, e, w);
    for (size_t i = 1; i < n; i++)
        e[i - 1] = e[i];
    e[n - 1] = 0.0;
    if (!diagonalise(values, e, n))
        return false;
    qsort(values, n, sizeof *values, ascending);
    return true;
}
