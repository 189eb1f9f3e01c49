// SPDX-License-Identifier: Apache-2.0
/* How a drive changes an array in the naive networks, in double: clipping, homeostatic scaling and
 * the running mean of a stage's power, from the schema's texts. */
#ifndef TESTS_NAIVE_STEP_H
#define TESTS_NAIVE_STEP_H

#include "training.h"

static inline double naive_norm(const double *a, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * a[i];
    return sqrt(sum);
}

/* The drive d of n values of group g changes p and its velocity v. rate: of the schedule; factor: of
 * the stage; w: the norm that B is to have. Drives are clipped, and left out where there is no
 * synapse. */
static inline void naive_change(const struct tet_plan *plan, int g, double rate, double factor,
                                double w, double *d, double *p, double *v, size_t n)
{
    const struct tet_group_plan *group = &plan->group[g];
    const double clip = (double)plan->clip, own = naive_norm(p, n);
    for (size_t i = 0; i < n; i++)
        if (is_sparse(plan, g) && p[i] == 0.0) // not there, from the start
            d[i] = 0.0;
    const double size = naive_norm(d, n);
    if (plan->homeostasis > 0.0f && g != TET_W) {
        const double share = (double)plan->homeostasis * rate;
        for (size_t i = 0; i < n; i++)
            p[i] = (1.0 - share) * p[i] + (size > 0.0 ? share * own * d[i] / size : 0.0);
        const double now = naive_norm(p, n), norm = g == TET_B ? w : own;
        for (size_t i = 0; i < n && now > 0.0; i++)
            p[i] *= norm / now;
        return;
    }
    const double scale = clip > 0.0 && size > clip ? clip / size : 1.0;
    for (size_t i = 0; i < n; i++) {
        v[i] = (double)plan->momentum * v[i] + scale * d[i] - (double)group->decay * p[i];
        p[i] += (double)group->lr * rate * factor * v[i];
    }
}

static inline double naive_probability(const struct tet_plan *plan, int g)
{
    return is_sparse(plan, g) ? (double)plan->group[g].probability : 1.0;
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
