// SPDX-License-Identifier: Apache-2.0
/*
 * A signal that changes synapses some mini-batches after its own, by a ring of slots: the
 * mini-batch of step t leaves its activities, or s_L alone, in slot t mod k and takes out those of
 * t - k. Slots are states of a checkpoint; how many examples wait in one follows from plan and
 * step.
 */
#ifndef CORE_DELAY_H
#define CORE_DELAY_H

#include "network.h"

/* Whether all that a change is made of waits. */
static inline bool tet_delay_keeps_activity(const struct tet_net *net)
{
    return net->plan.delay.batches > 0 && net->plan.delay.eligibility;
}

static inline bool tet_delay_keeps_signal(const struct tet_net *net)
{
    return net->plan.delay.batches > 0 && !net->plan.delay.eligibility;
}

/* Whether the mini-batch at hand changes synapses. */
static inline bool tet_delay_is_over(const struct tet_net *net)
{
    return net->step >= net->plan.delay.batches;
}

/* tet_delay_exchange: what waits at hand becomes that of k mini-batches before, zeros where there
 * was none; net->n the examples that change synapses: those of then, or where s_L waits alone and
 * meets the activities at hand, the fewer of both. */
void tet_delay_exchange(struct tet_net *net);

#endif
