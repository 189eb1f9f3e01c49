// SPDX-License-Identifier: Apache-2.0
/* dfa: direct feedback alignment. The teaching signal reaches every hidden layer through fixed
 * random synapses of its own, D. */
#include "rules/rules.h"

static void descend(struct tet_net *net)
{
    for (uint32_t l = net->L - 1; l >= 1; l--) {
        tet_net_descend_directly(net, l);
        if (!net->plan.gate)
            tet_net_gate(net, l, net->s[l], net->m[l]);
    }
}

const struct tet_rule tet_rule_dfa = {
    .info = {.name = "dfa",
             .title = "direct feedback alignment",
             .equation = "s_l = g_l * (D_l s_L), D fixed, m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - "
                         "decay W_l)",
             .source = "Nokland 2016",
             .group = {[TET_W] = true, [TET_D] = true},
             .fixed = {[TET_D] = true},
             .takes_gate = true},
    .descend = descend,
    .change = tet_net_change_ascending,
    .reads = {"s_l: D_l s_L gate(g_l)", "m_l: s_l g_l", "W_l: m_l x_{l-1}", "b_l: m_l"},
};
