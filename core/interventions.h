// SPDX-License-Identifier: Apache-2.0
/*
 * Interventions: what an experimenter does to a network in the midst of its training.
 *
 * Number i of a plan happens at the beginning of mini-batch step + 1. What of it lasts (which
 * synapses are silenced, which groups are frozen, what rates are multiplied by) is not part of a
 * checkpoint: after a seek it is derived again, by replaying what lies before the cursor.
 *
 * Random numbers: stream (seed, TET_STREAM_INTERVENTION, index) with
 *
 *     index = nth << 16 | target << 8 | layer
 *
 * target: the group, or 254 for ascending and 255 for descending neurons; nth: how many earlier
 * interventions of the plan have the same target. So what is done to W is the same for a rule that
 * has no V, whatever is done to V.
 */
#ifndef CORE_INTERVENTIONS_H
#define CORE_INTERVENTIONS_H

#include "network.h"

/* tet_interventions_check: part of tet_plan_check, for a plan that is otherwise right. */
TET_MUST_CHECK enum tet_err tet_interventions_check(const struct tet_plan *plan,
                                                    struct tet_error *error);

/* What the plan's interventions need memory for; for a net with plan, rule and L. */
bool tet_may_silence(const struct tet_net *net, enum tet_group g, uint32_t l); // a synapse
bool tet_may_silence_neurons(const struct tet_net *net, bool descending, uint32_t l);
bool tet_may_change(const struct tet_net *net, enum tet_group g); // it learns at some time
bool tet_may_shuffle(const struct tet_net *net, enum tet_group g, uint32_t l);

/* tet_net_begin: masks, plasticity and rates as they are before any intervention. Leaves the
 * weights. */
void tet_net_begin(struct tet_net *net);

/* tet_net_intervene: the plan's number i. replay: only what lasts, not the weights. */
void tet_net_intervene(struct tet_net *net, uint32_t i, bool replay);

/* tet_net_cut_biases: biases of silenced neurons of layer l become 0. */
void tet_net_cut_biases(struct tet_net *net, uint32_t l);

#endif
