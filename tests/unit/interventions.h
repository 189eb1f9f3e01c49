// SPDX-License-Identifier: Apache-2.0
/* What the programs that test interventions share: plans of 15 mini-batches, and trainers in their
 * midst. */
#ifndef TESTS_INTERVENTIONS_H
#define TESTS_INTERVENTIONS_H

#include "training.h"

static struct data data;

enum { STEPS = 15, AT = 7 }; // of odd plans with 3 epochs of 5 steps; in the midst of the second

static inline struct tet_plan plan_of(enum tet_rule_name rule, int variant)
{
    struct tet_plan p = odd_plan(rule, variant);
    p.epochs = 3;
    p.record_every = 0;
    odd_data(&data, 50, variant);
    return p;
}

static inline void add(struct tet_plan *p, uint64_t step, enum tet_intervention_type type,
                       enum tet_group group, uint32_t layer, float amount)
{
    p->interventions[p->n_interventions++] = (struct tet_intervention){
        .step = step, .type = type, .group = group, .layer = layer, .amount = amount};
}

/* A trainer of the plan that has made `steps` mini-batches and the evaluations before the next. */
static inline struct tet_trainer *train_to(const struct tet_plan *p, uint64_t steps)
{
    struct tet_trainer *t = make(p, &data, NULL);
    while (tet_trainer_cursor(t).step < steps)
        (void)tet_trainer_step(t);
    return t;
}

#endif
