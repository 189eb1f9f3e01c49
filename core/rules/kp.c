// SPDX-License-Identifier: Apache-2.0
/* kp: Kolen-Pollack. B receives the transpose of W's drive and the same decay, so that B - W^T
 * decays away. */
#include "rules/rules.h"

static void change(struct tet_net *net)
{
    tet_net_change_ascending(net);
    for (uint32_t l = 2; l <= net->L; l++)
        tet_net_change(net, TET_B, l, net->x[l - 1], net->m[l]);
}

static void change_stage(struct tet_net *net, uint32_t l)
{
    tet_net_change_stage(net, l);
    if (l > 1)
        tet_net_change(net, TET_B, l, net->x[l - 1], net->m[l]);
}

const struct tet_rule tet_rule_kp = {
    .info =
        {.name = "kp",
         .title = "Kolen-Pollack",
         .equation =
             "s_l = g_l * (B_{l+1} s_{l+1}), m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - decay W_l), "
             "dB_l = lr (<m_l x_{l-1}^T>^T - decay B_l)",
         .source = "Akrout, Wilson, Humphreys, Lillicrap, Tweed 2019",
         .group = {[TET_W] = true, [TET_B] = true},
         .takes_gate = true},
    .descend = tet_rule_descend_by_feedback,
    .change = change,
    .descend_to = tet_rule_descend_by_feedback_to,
    .change_stage = change_stage,
    .reads = {"s_l: B_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l", "W_l: m_l x_{l-1}", "b_l: m_l",
              "B_l: x_{l-1} m_l"},
};
