// SPDX-License-Identifier: Apache-2.0
/* A delayed signal: see delay.h. */
#include "delay.h"

struct exchange {
    float *a, *b;
    size_t n;
};

static void exchange_share(void *context, const struct tet_share *share)
{
    const struct exchange *e = context;
    size_t first, last;
    tet_share_range(share, e->n, TET_LANES, &first, &last);
    for (size_t i = first; i < last; i++) {
        const float kept = e->a[i];
        e->a[i] = e->b[i];
        e->b[i] = kept;
    }
}

/* Examples of mini-batch `step`: the last of an epoch may have fewer. */
static size_t examples_of(const struct tet_plan *p, uint64_t step)
{
    const uint64_t first = step % tet_plan_steps_per_epoch(p) * p->batch;
    return p->n_train - first < p->batch ? (size_t)(p->n_train - first) : p->batch;
}

void tet_delay_exchange(struct tet_net *net)
{
    const struct tet_plan *p = &net->plan;
    const uint32_t k = p->delay.batches;
    struct exchange e = {net->delayed, net->slot[net->step % k], net->n_delayed};
    tet_team_run(net->team, exchange_share, &e);
    if (!tet_delay_is_over(net))
        return;
    const size_t then = examples_of(p, net->step - k);
    if (p->delay.eligibility || then < net->n)
        net->n = then;
}
