// SPDX-License-Identifier: Apache-2.0
/* frsf: sign-concordant feedback of fixed random magnitudes, those of B. */
#include <math.h>

#include "rules/rules.h"
#include "rules/signs.h"

static void magnitudes(const struct tet_net *net, uint32_t l, size_t column, size_t r, size_t n,
                       float *out)
{
    const struct tet_packed *b = &net->p[TET_B][l];
    const float *fixed = b->w + tet_packed_at(b->rows, b->columns, r, column);
    for (size_t k = 0; k < n; k++)
        out[k] = fabsf(fixed[k]);
}

const struct tet_rule tet_rule_frsf = {
    .info = {.name = "frsf",
             .title = "sign-concordant feedback of fixed random magnitudes",
             .equation =
                 "s_l = g_l * (F_{l+1} s_{l+1}), F_{l+1} = sign(W_{l+1}^T) * abs(B_{l+1}), B "
                 "fixed, m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - decay W_l)",
             .source = "Liao, Leibo, Poggio 2016",
             .group = {[TET_W] = true, [TET_B] = true},
             .fixed = {[TET_B] = true},
             .takes_gate = true},
    .descend = tet_rule_descend_by_signs,
    .magnitudes = magnitudes,
    .change = tet_net_change_ascending,
    .descend_to = tet_rule_descend_by_signs_to,
    .change_stage = tet_net_change_stage,
    .reads = {"F_l: sign(W_l) B_l", "s_l: F_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l",
              "W_l: m_l x_{l-1}", "b_l: m_l"},
};
