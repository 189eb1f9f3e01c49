// SPDX-License-Identifier: Apache-2.0
/* usf: uniform sign-concordant feedback. The signs of W transposed, and one magnitude for all. */
#include <math.h>

#include "rules/rules.h"
#include "rules/signs.h"

static void magnitudes(const struct tet_net *net, uint32_t l, size_t column, size_t r, size_t n,
                       float *out)
{
    (void)column;
    (void)r;
    const double in = net->p[TET_W][l].columns, fan_out = (double)net->d[l] * tet_net_taps(net, l);
    const float all = (float)sqrt(2.0 / (in + fan_out));
    for (size_t k = 0; k < n; k++)
        out[k] = all;
}

const struct tet_rule tet_rule_usf = {
    .info = {.name = "usf",
             .title = "uniform sign-concordant feedback",
             .equation =
                 "s_l = g_l * (F_{l+1} s_{l+1}), F_{l+1} = sign(W_{l+1}^T) sqrt(2 / (fan_in + "
                 "fan_out)), m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - decay W_l)",
             .source = "Liao, Leibo, Poggio 2016",
             .group = {[TET_W] = true},
             .takes_gate = true},
    .descend = tet_rule_descend_by_signs,
    .magnitudes = magnitudes,
    .change = tet_net_change_ascending,
    .descend_to = tet_rule_descend_by_signs_to,
    .change_stage = tet_net_change_stage,
    .reads = {"F_l: sign(W_l)", "s_l: F_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l",
              "W_l: m_l x_{l-1}", "b_l: m_l"},
};
