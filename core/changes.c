// SPDX-License-Identifier: Apache-2.0
/* How synapses change: see network.h. */
#include "network.h"

struct change {
    const struct tet_net *net;
    enum tet_group group;
    uint32_t l;
    const float *a, *x;
};

static void change_image(const struct change *c, const struct tet_rank *share)
{
    const struct tet_net *net = c->net;
    const struct tet_group_plan *plan = &net->plan.group[c->group];
    const struct tet_layer *layer = &net->layer[c->l], *below = &net->layer[c->l - 1];
    const bool descending = c->group == TET_B;
    struct tet_convolution_drive d = {.rank = share,
                                      .n = net->n,
                                      .window = &layer->window,
                                      .fine_rows = descending,
                                      .coarse = descending ? c->x : c->a,
                                      .fine = descending ? c->a : c->x,
                                      .lr = plan->lr * net->rate,
                                      .decay = plan->decay,
                                      .momentum = net->plan.momentum};
    switch (c->group) {
    case TET_W:
        d.vcoarse = layer->z_d;
        d.vfine = below->x_d;
        break;
    case TET_B:
        d.vcoarse = layer->z_e;
        d.vfine = below->x_e;
        break;
    case TET_V:
        d.window = &layer->z;
        d.vcoarse = layer->a;
        d.vfine = layer->z_e;
        break;
    default:
        d.window = &layer->z;
        d.vcoarse = layer->z_e;
        d.vfine = layer->a;
    }
    net->kernels->convolve_drive(&d, &net->p[c->group][c->l]);
}

static void change_share(void *context, const struct tet_rank *share)
{
    const struct change *c = context;
    const struct tet_net *net = c->net;
    const struct tet_group_plan *plan = &net->plan.group[c->group];
    const struct tet_packed *p = &net->p[c->group][c->l];
    if (net->layer[c->l].image)
        change_image(c, share);
    else
        net->kernels->drive(&(struct tet_drive){.rank = share,
                                                .n = net->n,
                                                .a = c->a,
                                                .lda = tet_stride(p->rows),
                                                .x = c->x,
                                                .ldx = tet_stride(p->columns),
                                                .lr = plan->lr * net->rate,
                                                .decay = plan->decay,
                                                .momentum = net->plan.momentum},
                            p);
}

static void cut(uint16_t there, float *values) // 16 of them
{
    for (unsigned i = 0; i < TET_LANES; i++)
        values[i] = ((unsigned)there >> i & 1u) != 0 ? values[i] : 0.0f;
}

static void cut_share(void *context, const struct tet_rank *share)
{
    const struct change *c = context;
    const struct tet_packed *p = &c->net->p[c->group][c->l];
    const uint16_t *mask = c->net->mask[c->group][c->l];
    size_t first, last;
    tet_share(share, tet_packed_floats(p->rows, p->columns) / TET_LANES, 1, &first, &last);
    for (size_t k = first; k < last; k++) {
        cut(mask[k], p->w + k * TET_LANES);
        if (p->v != NULL)
            cut(mask[k], p->v + k * TET_LANES);
    }
}

void tet_net_cut(struct tet_net *net, enum tet_group g, uint32_t l)
{
    if (net->mask[g][l] != NULL)
        tet_team_run(net->team, cut_share, &(struct change){.net = net, .group = g, .l = l});
}

void tet_net_change(struct tet_net *net, enum tet_group g, uint32_t l, const float *a,
                    const float *x)
{
    if (!net->plan.group[g].plastic)
        return;
    tet_team_run(net->team, change_share,
                 &(struct change){.net = net, .group = g, .l = l, .a = a, .x = x});
    tet_net_cut(net, g, l);
}

static void change_biases_share(void *context, const struct tet_rank *share)
{
    const struct tet_net *net = context;
    const float lr = net->plan.group[TET_W].lr * net->rate;
    for (uint32_t l = 1; l <= net->L; l++) {
        size_t first, last;
        tet_share(share, net->d[l], TET_LANES, &first, &last);
        if (net->layer[l].image)
            net->kernels->convolve_bias(share, net->n, net->m[l], &net->layer[l].z_d, lr,
                                        net->b[l]);
        else if (first < last)
            net->kernels->bias(net->n, last - first, net->m[l] + first, tet_stride(net->d[l]), lr,
                               net->b[l] + first);
    }
}

void tet_net_change_ascending(struct tet_net *net)
{
    for (uint32_t l = 1; l <= net->L; l++)
        tet_net_change(net, TET_W, l, net->m[l], net->x[l - 1]);
    if (net->plan.group[TET_W].plastic)
        tet_team_run(net->team, change_biases_share, net);
}
