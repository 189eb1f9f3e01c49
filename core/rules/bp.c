// SPDX-License-Identifier: Apache-2.0
/* bp: backpropagation, s_l = g_l * (W_{l+1}^T s_{l+1}). What the others are measured against. */
#include "rules/rules.h"

static void descend_to(struct tet_net *net, uint32_t l)
{
    tet_net_backpropagate(net, l, net->s[l + 1], net->s[l]);
}

static void descend(struct tet_net *net)
{
    for (uint32_t l = net->L - 1; l >= 1; l--)
        descend_to(net, l);
}

const struct tet_rule tet_rule_bp = {
    .info =
        {.name = "bp",
         .title = "backpropagation",
         .equation =
             "s_l = g_l * (W_{l+1}^T s_{l+1}), m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - decay W_l)",
         .source = "Rumelhart, Hinton, Williams 1986",
         .group = {[TET_W] = true}},
    .backward = true,
    .descend = descend,
    .change = tet_net_change_ascending,
    .descend_to = descend_to,
    .change_stage = tet_net_change_stage,
    .reads = {"s_l: W_{l+1} s_{l+1} g_l", "W_l: m_l x_{l-1}", "b_l: m_l"},
};
