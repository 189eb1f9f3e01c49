// SPDX-License-Identifier: Apache-2.0
/* How a network's synapses are wired and what they begin with, by streams (seed, group, layer). */
#include <math.h>
#include <string.h>

#include "exact.h"
#include "network.h"
#include "noise.h"
#include "philox.h"
#include "rules/signs.h"

/* He 2015 where the nonlinearity is relu, otherwise Glorot 2010. */
static double spread_of(enum tet_activation phi, double in, double out)
{
    return phi == TET_RELU ? sqrt(2.0 / in) : sqrt(2.0 / (in + out));
}

/* The spread of W_l before its scale. The output stage goes by the nonlinearity that feeds it. */
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
    return spread_of(phi, in, out);
}

/* The spread of group g's initial values of layer l, before its scale. B_l has that of W_l; D_l
 * that of an output stage directly above layer l. */
static double spread_of_group(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    if (g == TET_V || g == TET_U)
        return 1.0 / sqrt((double)p->columns);
    if (g == TET_D)
        return spread_of(net->plan.hidden[l - 1].activation, p->rows, p->columns);
    return ascending_spread(net, l);
}

/* The streams of group g: other purposes follow U's. */
static enum tet_stream_purpose weights_stream(enum tet_group g)
{
    return g == TET_D ? TET_STREAM_D : (enum tet_stream_purpose)(TET_STREAM_W + (int)g);
}

static enum tet_stream_purpose wiring_stream(enum tet_group g)
{
    return g == TET_D ? TET_STREAM_WIRING_D : (enum tet_stream_purpose)(TET_STREAM_WIRING + (int)g);
}

/* ---- which synapses may be there, and with which sign ---- */

struct synapses {
    const struct tet_packed *p;
    const uint16_t *mask; // NULL: all may be
    const float *sign;    // of the columns, NULL: any
};

/* By whole words, so that compilers make vectors of it. */
static void cut(uint16_t there, float *values) // 16 of them
{
    static const uint32_t bit[TET_LANES] = {
        1u << 0, 1u << 1, 1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
        1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15};
    uint32_t word[TET_LANES];
    memcpy(word, values, sizeof word);
    for (unsigned i = 0; i < TET_LANES; i++)
        word[i] &= (there & bit[i]) != 0 ? UINT32_MAX : 0;
    memcpy(values, word, sizeof word);
}

static void keep_sign(float sign, float *values) // likewise; NaN stays
{
    for (unsigned i = 0; i < TET_LANES; i++)
        values[i] = sign * values[i] < 0.0f ? 0.0f : values[i];
}

/* Shares are of the panels' columns. */
static void restrict_share(void *context, const struct tet_share *share)
{
    const struct synapses *s = context;
    const struct tet_packed *p = s->p;
    size_t first, last;
    tet_share_range(share, tet_panels(p->rows) * p->columns, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t r = i / p->columns * TET_PANEL, column = i % p->columns;
        const size_t begin = tet_packed_at(p->rows, p->columns, r, column);
        const size_t end = begin + tet_panel_width(p->rows, r);
        for (size_t at = begin; at < end; at += TET_LANES) {
            if (s->mask != NULL)
                cut(s->mask[at / TET_LANES], p->w + at);
            if (s->mask != NULL && p->v != NULL)
                cut(s->mask[at / TET_LANES], p->v + at);
            if (s->sign != NULL)
                keep_sign(s->sign[column], p->w + at);
        }
    }
}

void tet_net_restrict(struct tet_net *net, enum tet_group g, uint32_t l)
{
    struct synapses s = {&net->p[g][l], net->mask[g][l], net->sign[g][l]};
    if (s.mask != NULL || s.sign != NULL)
        tet_team_run(net->team, restrict_share, &s);
}

void tet_net_cut(struct tet_net *net, enum tet_group g, uint32_t l, const struct tet_packed *p)
{
    struct synapses s = {.p = p, .mask = net->mask[g][l]};
    if (s.mask != NULL)
        tet_team_run(net->team, restrict_share, &s);
}

/* All taps of a kernel are there or none. Number i of the stream is of the i-th pair, row by
 * row. */
void tet_net_wire(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const bool sparse = tet_group_is_sparse(&net->plan.group[g]);
    memset(net->mask[g][l], sparse ? 0 : 0xFF,
           tet_packed_floats(p->rows, p->columns) / TET_LANES * sizeof *net->mask[g][l]);
    if (!sparse)
        return;
    const uint32_t taps = g == TET_W || g == TET_B ? tet_net_taps(net, l) : 1;
    const size_t pairs = p->columns / taps;
    const double probability = net->plan.group[g].probability;
    const struct tet_stream stream = tet_stream_make(net->plan.seed, wiring_stream(g), l);
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
}

/* How many neighbouring columns of group g's matrix come from one neuron: the taps of a kernel, or
 * the positions of a channel below a dense layer. */
static size_t columns_of_neuron(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    if (net->layer[l].image)
        return g == TET_W || g == TET_B ? tet_net_taps(net, l) : 1;
    return g == TET_W ? net->layer[l - 1].positions : 1;
}

/* Number i of the stream is of presynaptic neuron i. */
static void draw_signs(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const size_t repeats = columns_of_neuron(net, g, l), columns = net->p[g][l].columns;
    const struct tet_stream stream =
        tet_stream_make(net->plan.seed, TET_STREAM_DALE + (unsigned)g, l);
    for (size_t c = 0; c < columns; c++) {
        const uint32_t word = tet_stream_u32(&stream, c / repeats);
        const bool excitatory =
            ((double)word + 0.5) * 0x1p-32 < (double)net->plan.group[g].excitatory;
        net->sign[g][l][c] = excitatory ? 1.0f : -1.0f;
    }
}

/* Log-normal: the magnitude is e^z of a normal z, whose root mean square is e, and the lowest bit,
 * which z hardly depends on, is the sign. */
static double drawn(enum tet_init init, double spread, uint32_t word)
{
    if (init == TET_INIT_UNIFORM)
        return spread * 1.7320508075688772 * (2.0 * tet_uniform(word) - 1.0);
    const double z = tet_normal_from_u32(word);
    if (init == TET_INIT_LOG_NORMAL)
        return (word & 1 ? -spread : spread) * tet_exact_exp(z - 1.0);
    return spread * z;
}

double tet_net_spread(const struct tet_net *net, uint32_t l)
{
    return net->plan.group[TET_W].scale * ascending_spread(net, l);
}

void tet_net_draw_values(struct tet_net *net, enum tet_group g, uint32_t l,
                         const struct tet_stream *stream)
{
    const struct tet_packed *p = &net->p[g][l];
    const struct tet_group_plan *plan = &net->plan.group[g];
    const double density = tet_group_is_sparse(plan) ? plan->probability : 1.0;
    const double spread = plan->scale * spread_of_group(net, g, l) / sqrt(density);
    const float *sign = net->sign[g][l];
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++) {
            float value = r == c ? plan->scale : 0.0f;
            if (plan->init != TET_INIT_IDENTITY)
                value =
                    (float)drawn(plan->init, spread, tet_stream_u32(stream, r * p->columns + c));
            if (sign != NULL)
                value = sign[c] * fabsf(value);
            p->w[tet_packed_at(p->rows, p->columns, r, c)] = value;
        }
}

void tet_net_draw(struct tet_net *net)
{
    if (net->half_normal != NULL)
        tet_half_normal(net->half_normal);
    if (net->normal != NULL)
        tet_noise_table(net->normal);
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            if (net->sign[g][l] != NULL)
                draw_signs(net, g, l);
            const struct tet_stream stream = tet_stream_make(net->plan.seed, weights_stream(g), l);
            tet_net_draw_values(net, g, l, &stream);
            tet_net_restrict(net, g, l);
        }
    }
}
