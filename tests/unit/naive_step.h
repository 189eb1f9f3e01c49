// SPDX-License-Identifier: Apache-2.0
/* How a drive changes an array in the naive networks, in double: clipping, homeostatic scaling and
 * the running mean of a stage's power, from the schema's texts. */
#ifndef TESTS_NAIVE_STEP_H
#define TESTS_NAIVE_STEP_H

#include "naive_circuit.h"
#include "training.h"

static inline double naive_norm(const double *a, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * a[i];
    return sqrt(sum);
}

/* An array as it lies: column c of row r at r * stride + c. A bias has no group, g < 0. */
struct naive_array {
    int g;
    uint32_t l, rows, columns, stride;
    uint32_t taps;      // columns that are there together
    uint32_t of_neuron; // columns of one presynaptic neuron
};

static inline bool naive_is_gap(const struct tet_plan *plan, const struct naive_array *at, size_t i)
{
    const size_t r = i / at->stride, c = i % at->stride;
    return r >= at->rows || c >= at->columns ||
           (at->g >= 0 && naive_is_absent(plan, at->g, at->l, (r * at->columns + c) / at->taps));
}

static inline void naive_scale(double share, double size, double norm, const double *d, double *p,
                               size_t n)
{
    const double own = naive_norm(p, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (1.0 - share) * p[i] + (size > 0.0 ? share * own * d[i] / size : 0.0);
    const double now = naive_norm(p, n);
    for (size_t i = 0; i < n && now > 0.0; i++)
        p[i] *= norm / now;
}

/* The drive d of an array changes p and its velocity v. rate: of the schedule; factor: of the
 * stage; w: the norm that B is to have. Drives are clipped, and left out where there is no
 * synapse. */
static inline void naive_change(const struct tet_plan *plan, const struct naive_array *at,
                                double rate, double factor, double w, double *d, double *p,
                                double *v)
{
    const size_t n = (size_t)at->rows * at->stride;
    const struct tet_group_plan *group = &plan->group[at->g < 0 ? TET_W : at->g];
    const double clip = (double)plan->clip;
    const double decay = at->g < 0 ? 0.0 : (double)group->decay;
    const bool mirrored = at->g == TET_B && plan->rule == TET_RULE_WM;
    const double momentum = at->g < 0 || mirrored ? 0.0 : (double)plan->momentum;
    for (size_t i = 0; i < n; i++)
        if (naive_is_gap(plan, at, i))
            d[i] = 0.0;
    const double size = naive_norm(d, n);
    const double scale = clip > 0.0 && size > clip ? clip / size : 1.0;
    const bool homeostatic = plan->homeostasis > 0.0f && at->g > TET_W && !mirrored;
    if (homeostatic)
        naive_scale((double)plan->homeostasis * rate, size, at->g == TET_B ? w : naive_norm(p, n),
                    d, p, n);
    for (size_t i = 0; i < n; i++) {
        if (naive_is_gap(plan, at, i))
            continue;
        if (!homeostatic) {
            v[i] = momentum * v[i] + scale * d[i] - decay * p[i];
            p[i] += (double)group->lr * rate * factor * v[i];
        }
        const uint32_t r = (uint32_t)(i / at->stride), c = (uint32_t)(i % at->stride);
        if (at->g >= 0)
            p[i] = naive_settled(plan, at->g, at->l, at->rows, at->columns, r, c, c / at->of_neuron,
                                 p[i]);
    }
}

static inline double naive_probability(const struct tet_plan *plan, int g)
{
    const double p = (double)plan->group[g].probability;
    return p > 0.0 ? p : 1.0;
}

/* Takes a mini-batch's power into the running mean; returns the factor on the stage's rates. */
static inline double naive_weigh(const struct tet_plan *plan, double *mean, double power)
{
    if (plan->normalize != TET_NORMALIZE_STAGE)
        return 1.0;
    *mean = *mean > 0.0 ? *mean + (power - *mean) / 16.0 : power;
    return 1.0 / fmax(*mean, 1.0);
}

#endif
