// SPDX-License-Identifier: Apache-2.0
/*
 * wm: weight mirror. While B carries the signal it does not change. In the mirror phases between
 * mini-batches, noise xi stands in place of each hidden layer's activity x_l, the layer above
 * answers delta = W_{l+1} xi, and B_{l+1} learns from the two: the mean of xi delta^T is noise^2
 * W_{l+1}^T, so that B_{l+1} goes to (noise^2 / decay) W_{l+1}^T.
 *
 * Means are over the batch and, in a convolutional stage, over the positions of delta: what makes
 * them of sums is that xi is drawn with a standard deviation divided by the root of their number. A
 * batch of noise is as large as a mini-batch. The phase follows from the step and the numbers from
 * phase, batch and example, so that no state has to be kept.
 *
 * The locality audit is of mini-batches and does not look at mirror phases, so that its list below
 * has no B_l. In a phase B_{l+1} changes by xi at layer l and delta at layer l+1, both of the
 * ascending stream: paired with the neurons that B_{l+1} connects, as in kp.
 */
#include <math.h>

#include "philox.h"
#include "rules/rules.h"
#include "team.h"

struct noise {
    const struct tet_net *net;
    uint32_t l;
    uint64_t batch; // of the run
    double spread;
};

/* Where value u of example n lies in x_l; the values of a channel are its positions. */
static size_t place_of(const struct tet_net *net, uint32_t l, size_t n, size_t u)
{
    const struct tet_volume *v = &net->layer[l].x_d;
    if (!net->layer[l + 1].image)
        return n * tet_stride(tet_net_width(net, l)) + u;
    const size_t c = u / net->layer[l].positions, at = u % net->layer[l].positions;
    return tet_volume_at(v, c, at / v->columns, at % v->columns) + n;
}

/* The noise of example n: blocks of four numbers, as many as hold one for each value. */
static void draw_example(const struct noise *noise, size_t n)
{
    const struct tet_net *net = noise->net;
    const struct tet_stream stream = tet_stream_make(net->plan.seed, TET_STREAM_MIRROR, noise->l);
    const size_t width = tet_net_width(net, noise->l), blocks = (width + 3) / 4;
    const uint64_t first = (noise->batch * net->n + n) * blocks;
    for (size_t u = 0; u < width; u += 4) {
        uint32_t word[4];
        tet_philox(&stream, first + u / 4, word);
        for (size_t i = 0; i < 4 && u + i < width; i++)
            net->x[noise->l][place_of(net, noise->l, n, u + i)] =
                (float)(noise->spread * tet_normal_from_u32(word[i]));
    }
}

/* Shares are of sixteen examples, the width of a volume's vectors; those that there are not are
 * 0. */
static void draw_share(void *context, const struct tet_share *share)
{
    const struct noise *noise = context;
    const struct tet_net *net = noise->net;
    const bool image = net->layer[noise->l + 1].image;
    size_t first, last;
    tet_share_range(share, tet_round(net->n), image ? TET_LANES : 1, &first, &last);
    for (size_t n = first; n < last; n++)
        if (n < net->n)
            draw_example(noise, n);
        else
            for (size_t u = 0; image && u < tet_net_width(net, noise->l); u++)
                net->x[noise->l][place_of(net, noise->l, n, u)] = 0.0f;
}

static void mirror_batch(struct tet_net *net, uint64_t batch)
{
    for (uint32_t l = 1; l < net->L; l++) {
        if (!net->plastic[TET_B][l + 1])
            continue;
        const struct tet_layer *above = &net->layer[l + 1];
        const double places = above->image ? (double)above->z.rows * above->z.columns : 1.0;
        struct noise noise = {net, l, batch,
                              net->plan.mirror.noise / sqrt((double)net->n * places)};
        tet_team_run(net->team, draw_share, &noise);
        tet_net_respond(net, l);
        tet_net_change(net, TET_B, l + 1, net->x[l], net->s[l + 1]);
    }
}

static void prepare(struct tet_net *net)
{
    const struct tet_mirror_plan *mirror = &net->plan.mirror;
    if (net->step % mirror->every != 0)
        return;
    const size_t n = net->n;
    net->n = net->plan.batch;
    for (uint32_t i = 0; i < mirror->batches; i++)
        mirror_batch(net, net->step / mirror->every * mirror->batches + i);
    net->n = n;
}

const struct tet_rule tet_rule_wm = {
    .info = {.name = "wm",
             .title = "weight mirror",
             .equation =
                 "s_l = g_l * (B_{l+1} s_{l+1}), m_l = s_l; dW_l = lr (<m_l x_{l-1}^T> - decay "
                 "W_l); in mirror phases xi normal, delta = W_{l+1} xi, dB_{l+1} = mirror.lr (<xi "
                 "delta^T> - mirror.decay B_{l+1})",
             .source = "Akrout, Wilson, Humphreys, Lillicrap, Tweed 2019",
             .group = {[TET_W] = true, [TET_B] = true},
             .mirrors = true,
             .takes_gate = true},
    .prepare = prepare,
    .descend = tet_rule_descend_by_feedback,
    .change = tet_net_change_ascending,
    .reads = {"s_l: B_{l+1} s_{l+1} gate(g_l)", "m_l: s_l g_l", "W_l: m_l x_{l-1}", "b_l: m_l"},
};
