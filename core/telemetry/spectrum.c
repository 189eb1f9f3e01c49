// SPDX-License-Identifier: Apache-2.0
/*
 * The spectrum of W_l W_l^T - V_l V_l^T, which says how much of the random start is left: where a
 * stage is linear it decays as exp(-2 lr decay t), whatever is learned (circuit.md, "Why it
 * assembles").
 *
 * The products are the kernels', in float32, so that eigenvalues are right to about 1e-6 of the
 * largest of W_l W_l^T.
 */
#include "telemetry/telemetry.h"

#include <math.h>

#include "eigenvalues.h"
#include "rules/rules.h"

/* a (d, d) = W W^T - V V^T, in blocks of 64 rows. */
static void difference_of_grams(struct tet_net *net, uint32_t l, double *a)
{
    const struct tet_packed *w = &net->p[TET_W][l], *v = &net->p[TET_V][l];
    const size_t d = w->rows, ld = tet_stride(d);
    for (size_t r0 = 0; r0 < d; r0 += TET_PANEL) {
        net->kernels->panel_gram(w, r0, w, net->block[0], ld);
        net->kernels->panel_gram(v, r0, v, net->block[1], ld);
        for (size_t r = r0; r < d && r < r0 + TET_PANEL; r++)
            for (size_t c = 0; c < d; c++)
                a[r * d + c] = (double)net->block[0][(r - r0) * ld + c] -
                               (double)net->block[1][(r - r0) * ld + c];
    }
    for (size_t r = 0; r < d; r++) // to the bit
        for (size_t c = 0; c < r; c++)
            a[c * d + r] = a[r * d + c];
}

/* Of n ascending values, 0 <= percent <= 100. */
static double quantile(const double *values, size_t n, unsigned percent)
{
    const size_t rank = (n - 1) * percent;
    const double beyond = (double)(rank % 100) / 100.0;
    const size_t i = rank / 100;
    return i + 1 < n ? values[i] + beyond * (values[i + 1] - values[i]) : values[i];
}

static void spectrum_of(struct tet_net *net, uint32_t l, const struct tet_emitter *to)
{
    static const unsigned percents[] = {0, 5, 25, 50, 75, 95, 100};
    const size_t d = net->d[l];
    double *a = net->spectrum, *values = a + d * d, sum = 0.0;
    difference_of_grams(net, l, a);
    const bool found = tet_eigenvalues(a, d, values, values + d);
    for (size_t i = 0; i < d && found; i++)
        sum += values[i] * values[i];
    tet_emit(to, TET_SERIES_SPECTRUM_NORM, l, found ? sqrt(sum) : (double)NAN);
    for (int q = 0; q < 7; q++)
        tet_emit(to, (enum tet_series)(TET_SERIES_SPECTRUM_Q00 + q), l,
                 found ? quantile(values, d, percents[q]) : (double)NAN);
}

void tet_telemetry_spectrum(struct tet_net *net, const struct tet_emitter *to)
{
    for (uint32_t l = 1; l < net->L && net->rule->info.group[TET_V]; l++)
        spectrum_of(net, l, to);
}
