// SPDX-License-Identifier: Apache-2.0
/* fa: feedback alignment. The signal descends through fixed random synapses B. */
#include "rules/rules.h"

void tet_rule_descend_by_feedback_to(struct tet_net *net, uint32_t l)
{
    tet_net_descend(net, l);
    if (!net->plan.gate)
        tet_net_gate(net, l, net->s[l], net->m[l]);
}

void tet_rule_descend_by_feedback(struct tet_net *net)
{
    for (uint32_t l = net->L - 1; l >= 1; l--)
        tet_rule_descend_by_feedback_to(net, l);
}

const struct tet_rule tet_rule_fa = {
    .info = {.name = "fa",
             .title = "feedback alignment",
             .equation = "s_l = g_l * (B_{l+1} s_{l+1}), B fixed, m_l = s_l; dW_l = lr (<m_l "
                         "x_{l-1}^T> - decay W_l)",
             .source = "Lillicrap, Cownden, Tweed, Akerman 2016",
             .group = {[TET_W] = true, [TET_B] = true},
             .fixed = {[TET_B] = true},
             .takes_gate = true},
    .descend = tet_rule_descend_by_feedback,
    .change = tet_net_change_ascending,
    .reads = {"s_l: B_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l", "W_l: m_l x_{l-1}", "b_l: m_l"},
};
