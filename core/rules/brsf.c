// SPDX-License-Identifier: Apache-2.0
/*
 * brsf: sign-concordant feedback of magnitudes drawn anew for every mini-batch.
 *
 * |R| is half-normal with the spread of W's initial values, from a table of its quantiles: a normal
 * number for each synapse and mini-batch would take longer than the products. A block of the stream
 * (seed, purpose, layer) has the magnitudes of eight rows of a column, twelve bits for each; blocks
 * are numbered by mini-batch, column and rows, so that no state has to be kept.
 */
#include "philox.h"
#include "rules/rules.h"
#include "rules/signs.h"

static void magnitudes(const struct tet_net *net, uint32_t l, size_t column, size_t r, size_t n,
                       float *out)
{
    const struct tet_packed *f = &net->feedback[l];
    const struct tet_stream stream = tet_stream_make(net->plan.seed, TET_STREAM_MAGNITUDES, l);
    const uint64_t blocks = tet_round(f->rows) / 8;
    const uint64_t block = (net->step * f->columns + column) * blocks + r / 8;
    const float spread = (float)tet_net_spread(net, l);
    uint32_t word[4][TET_PHILOX_RUN];
    tet_philox_run(&stream, block, word);
    for (size_t k = 0; k < n / 8; k++)
        for (size_t w = 0; w < 4; w++) {
            const uint32_t high = word[w][k] >> 20, low = word[w][k] >> 4 & (TET_QUANTILES - 1);
            out[8 * k + 2 * w] = spread * net->half_normal[high];
            out[8 * k + 2 * w + 1] = spread * net->half_normal[low];
        }
}

const struct tet_rule tet_rule_brsf = {
    .info = {.name = "brsf",
             .title = "sign-concordant feedback of batchwise random magnitudes",
             .equation =
                 "s_l = g_l * (F_{l+1} s_{l+1}), F_{l+1} = sign(W_{l+1}^T) * abs(R), R normal, "
                 "drawn anew for every mini-batch, m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - "
                 "decay W_l)",
             .source = "Liao, Leibo, Poggio 2016",
             .group = {[TET_W] = true},
             .takes_gate = true},
    .half_normal = true,
    .descend = tet_rule_descend_by_signs,
    .magnitudes = magnitudes,
    .change = tet_net_change_ascending,
    .descend_to = tet_rule_descend_by_signs_to,
    .change_stage = tet_net_change_stage,
    .reads = {"F_l: sign(W_l)", "s_l: F_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l",
              "W_l: m_l x_{l-1}", "b_l: m_l"},
};
