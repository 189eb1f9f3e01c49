// SPDX-License-Identifier: Apache-2.0
/* How a network's synapses are wired and what they begin with, by streams (seed, group, layer). */
#include <math.h>

#include "network.h"
#include "philox.h"
#include "rules/signs.h"

/* The spread of W_l before its scale: He 2015 where the stage's nonlinearity is relu, otherwise
 * Glorot 2010. The output stage goes by the nonlinearity that feeds it. */
static double ascending_spread(const struct tet_net *net, uint32_t l)
{
    const struct tet_layer_plan *hidden = net->plan.hidden;
    enum tet_activation phi = TET_IDENTITY;
    if (l < net->L)
        phi = hidden[l - 1].activation;
    else if (net->L > 1)
        phi = hidden[net->L - 2].activation;
    const double in = net->p[TET_W][l].columns;
    const double out = (double)net->d[l] * tet_net_taps(net, l);
    return phi == TET_RELU ? sqrt(2.0 / in) : sqrt(2.0 / (in + out));
}

/* All taps of a kernel are there or none. Number i of the stream is of the i-th pair, row by row. */
static void draw_wiring(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const uint32_t taps = g == TET_W || g == TET_B ? tet_net_taps(net, l) : 1;
    const size_t pairs = p->columns / taps;
    const double probability = net->plan.group[g].probability;
    const struct tet_stream stream =
        tet_stream_make(net->plan.seed, TET_STREAM_WIRING + (unsigned)g, l);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < pairs; c++) {
            const uint32_t word = tet_stream_u32(&stream, r * pairs + c);
            if (((double)word + 0.5) * 0x1p-32 >= probability)
                continue;
            for (size_t k = c * taps; k < (c + 1) * taps; k++) {
                const size_t at = tet_packed_at(p->rows, p->columns, r, k);
                net->mask[g][l][at / TET_LANES] |= (uint16_t)(1u << at % TET_LANES);
            }
        }
    tet_net_cut(net, g, l);
}

double tet_net_spread(const struct tet_net *net, uint32_t l)
{
    return net->plan.group[TET_W].scale * ascending_spread(net, l);
}

static void draw(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const struct tet_group_plan *plan = &net->plan.group[g];
    const bool lateral = g == TET_V || g == TET_U;
    const double density = tet_group_is_sparse(plan) ? plan->probability : 1.0;
    const double spread = plan->scale *
                          (lateral ? 1.0 / sqrt((double)p->columns) : ascending_spread(net, l)) /
                          sqrt(density);
    const struct tet_stream stream = tet_stream_make(net->plan.seed, TET_STREAM_W + (unsigned)g, l);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++) {
            float value = r == c ? plan->scale : 0.0f;
            if (plan->init != TET_INIT_IDENTITY) {
                const uint32_t word = tet_stream_u32(&stream, r * p->columns + c);
                value =
                    plan->init == TET_INIT_NORMAL
                        ? (float)(spread * tet_normal_from_u32(word))
                        : (float)(spread * 1.7320508075688772 * (2.0 * tet_uniform(word) - 1.0));
            }
            p->w[tet_packed_at(p->rows, p->columns, r, c)] = value;
        }
}

void tet_net_draw(struct tet_net *net)
{
    if (net->half_normal != NULL)
        tet_half_normal(net->half_normal);
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            draw(net, g, l);
            if (net->mask[g][l] != NULL)
                draw_wiring(net, g, l);
        }
    }
}
