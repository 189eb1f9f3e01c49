// SPDX-License-Identifier: Apache-2.0
/*
 * sal: self-assembling learning, the four-synapse motif. Every synapse changes by the product of
 * its own presynaptic activity and the signal that the other afferent brings to the same neuron,
 * and decays:
 *
 *     W_l      m_l  x_{l-1}^T        the ascending neuron is modulated through V_l
 *     V_l      x_l  s_l^T            ... and V_l sees what W_l drives it to, before any pooling
 *     B_{l+1}  u_l  s_{l+1}^T        the descending neuron is told by U_l (u_l = U_l x_l, no gate)
 *     U_l      s_l  x_l^T            ... and U_l sees what B_{l+1} drives it to
 */
#include "rules/rules.h"

static void descend(struct tet_net *net)
{
    for (uint32_t l = net->L - 1; l >= 1; l--) {
        tet_net_descend(net, l);
        tet_net_modulate(net, l);
        if (net->plastic[TET_B][l + 1])
            tet_net_instruct(net, l);
    }
}

static void change(struct tet_net *net)
{
    tet_net_change_ascending(net);
    for (uint32_t l = 1; l < net->L; l++) {
        tet_net_change(net, TET_V, l, net->a[l], net->s[l]);
        tet_net_change(net, TET_B, l + 1, net->u[l], net->s[l + 1]);
        tet_net_change(net, TET_U, l, net->s[l], net->a[l]);
    }
}

static void descend_to(struct tet_net *net, uint32_t l)
{
    tet_net_descend(net, l);
    tet_net_modulate(net, l);
}

/* u_{l-1} is what U_{l-1} tells before it changes, with its own layer. */
static void change_stage(struct tet_net *net, uint32_t l)
{
    tet_net_change_stage(net, l);
    if (l < net->L) {
        tet_net_change(net, TET_V, l, net->a[l], net->s[l]);
        tet_net_change(net, TET_U, l, net->s[l], net->a[l]);
    }
    if (l > 1 && net->plastic[TET_B][l]) {
        tet_net_instruct(net, l - 1);
        tet_net_change(net, TET_B, l, net->u[l - 1], net->s[l]);
    }
}

const struct tet_rule tet_rule_sal = {
    .info =
        {.name = "sal",
         .title = "self-assembling learning",
         .equation =
             "s_l = g_l * (B_{l+1} s_{l+1}), m_l = g_l * (V_l s_l), u_l = U_l x_l; "
             "dW_l = lr (<m_l x_{l-1}^T> - decay W_l), dV_l = lr (<x_l s_l^T> - decay V_l), "
             "dB_{l+1} = lr (<u_l s_{l+1}^T> - decay B_{l+1}), dU_l = lr (<s_l x_l^T> - decay U_l)",
         .source = "Liao, Ziyin, Gan, Cheung, Harnett, Poggio 2024, arXiv 2412.20018",
         .group = {[TET_W] = true, [TET_B] = true, [TET_V] = true, [TET_U] = true},
         .takes_gate = true},
    .descend = descend,
    .change = change,
    .descend_to = descend_to,
    .change_stage = change_stage,
    .reads = {"s_l: B_{l+1} s_{l+1} gate(g_l)", "m_l: V_l s_l g_l", "u_l: U_l x_l",
              "W_l: m_l x_{l-1}", "b_l: m_l", "V_l: x_l s_l", "B_l: u_{l-1} s_l", "U_l: s_l x_l"},
};
