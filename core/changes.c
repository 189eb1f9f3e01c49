// SPDX-License-Identifier: Apache-2.0
/*
 * How synapses change: see network.h.
 *
 * As a rule the kernel that sums a drive changes the weights in the same breath. Where the drive's
 * norm is asked for, by clipping and by homeostatic scaling, the drive is formed by itself, by the
 * same kernel from zero with rate 1; norms are sums of the squares of one panel of weights each, by
 * 16 lanes, added in double in the order of the panels.
 */
#include "network.h"

#include <math.h>
#include <string.h>

#include "interventions.h"
#include "noise.h"
#include "rules/rules.h"

struct change {
    const struct tet_net *net;
    enum tet_group group;
    uint32_t l;
    const float *a, *x;
    const struct tet_packed *p; // what changes: the group's weights, or zeros that become its drive
    float lr, decay, momentum;
};

/* Of stage l, to which W_l, V_l, B_l and U_{l-1} belong. No mini-batch weighs what a mirror phase
 * changes. */
static float rate_of(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    const float lr = net->plan.group[g].lr * net->rate * net->group_factor[g];
    return g == TET_B && net->rule->info.mirrors ? lr
                                                 : lr * net->stage_factor[g == TET_U ? l + 1 : l];
}

static void change_image(const struct change *c, const struct tet_share *share)
{
    const struct tet_net *net = c->net;
    const struct tet_layer *layer = &net->layer[c->l], *below = &net->layer[c->l - 1];
    const bool descending = c->group == TET_B;
    struct tet_convolution_drive d = {.rank = share,
                                      .n = net->n,
                                      .window = &layer->window,
                                      .fine_rows = descending,
                                      .coarse = descending ? c->x : c->a,
                                      .fine = descending ? c->a : c->x,
                                      .lr = c->lr,
                                      .decay = c->decay,
                                      .momentum = c->momentum};
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
    net->kernels->convolve_drive(&d, c->p);
}

static void change_share(void *context, const struct tet_share *share)
{
    const struct change *c = context;
    if (c->net->layer[c->l].image)
        change_image(c, share);
    else
        c->net->kernels->drive(&(struct tet_drive){.rank = share,
                                                   .n = c->net->n,
                                                   .a = c->a,
                                                   .lda = tet_stride(c->p->rows),
                                                   .x = c->x,
                                                   .ldx = tet_stride(c->p->columns),
                                                   .lr = c->lr,
                                                   .decay = c->decay,
                                                   .momentum = c->momentum},
                               c->p);
}

/* ---- drives by themselves ---- */

struct sums {
    const struct tet_net *net;
    const struct tet_packed *p;
};

static void square_share(void *context, const struct tet_share *share)
{
    const struct sums *s = context;
    size_t first, last;
    tet_share_range(share, tet_panels(s->p->rows), 1, &first, &last);
    for (size_t k = first; k < last; k++) {
        const size_t r = k * TET_PANEL;
        const size_t n = tet_panel_width(s->p->rows, r) * s->p->columns;
        const float *w = s->p->w + r * s->p->columns;
        s->net->sums[k] = s->net->kernels->dot(1, n, w, n, w, n);
    }
}

static double norm(const struct tet_net *net, const struct tet_packed *p)
{
    double sum = 0.0;
    tet_team_run(net->team, square_share, &(struct sums){net, p});
    for (size_t k = 0; k < tet_panels(p->rows); k++)
        sum += (double)net->sums[k];
    return sqrt(sum);
}

/* The drive of c's group into scratch, those synapses left out that are not there. */
static struct tet_packed form_drive(struct tet_net *net, struct change c)
{
    struct tet_packed drive = *c.p;
    drive.w = net->drive;
    drive.v = NULL;
    memset(drive.w, 0, tet_packed_floats(drive.rows, drive.columns) * sizeof *drive.w);
    c.p = &drive;
    c.lr = 1.0f;
    c.decay = c.momentum = 0.0f;
    tet_team_run(net->team, change_share, &c);
    tet_net_cut(net, c.group, c.l, &drive);
    return drive;
}

/* P <- keep P + add D, or with a rate by the drive `add` D. */
struct step {
    const struct tet_packed *p, *drive;
    float keep, add;
    float lr, decay, momentum;
};

static void keep_share(void *context, const struct tet_share *share)
{
    const struct step *s = context;
    float *w = s->p->w;
    const float *d = s->drive->w;
    size_t first, last;
    tet_share_range(share, tet_packed_floats(s->p->rows, s->p->columns), TET_LANES, &first, &last);
    for (size_t i = first; i < last; i++)
        w[i] = s->keep * w[i] + s->add * d[i];
}

static void step_share(void *context, const struct tet_share *share)
{
    const struct step *s = context;
    float *w = s->p->w, *v = s->p->v;
    const float *d = s->drive->w;
    size_t first, last;
    tet_share_range(share, tet_packed_floats(s->p->rows, s->p->columns), TET_LANES, &first, &last);
    for (size_t i = first; i < last; i++) {
        float g = s->add * d[i] - s->decay * w[i];
        if (v != NULL)
            g = v[i] = s->momentum * v[i] + g;
        w[i] = w[i] + s->lr * g;
    }
}

static float clipped(const struct tet_net *net, double size) // the factor on a drive of that norm
{
    const double clip = (double)net->plan.clip;
    return size > clip ? (float)(clip / size) : 1.0f;
}

/* Synapses of a group that there are, on average over wirings. */
static double count(const struct tet_net *net, enum tet_group g, uint32_t l)
{
    const float p = net->plan.group[g].probability;
    return (double)net->p[g][l].rows * net->p[g][l].columns * (p > 0.0f ? (double)p : 1.0);
}

/* The norm that P is to have: its own; B that of W in its stage, synapse for synapse. */
static double target(const struct tet_net *net, enum tet_group g, uint32_t l, double own)
{
    if (g != TET_B)
        return own;
    return norm(net, &net->p[TET_W][l]) * sqrt(count(net, TET_B, l) / count(net, TET_W, l));
}

static void scale(struct tet_net *net, const struct change *c, const struct tet_packed *drive)
{
    const float share = net->plan.homeostasis * net->rate;
    const double size = norm(net, drive), own = norm(net, c->p);
    struct step s = {.p = c->p, .drive = drive, .keep = 1.0f - share};
    if (size > 0.0) {
        s.add = (float)((double)share * own / size);
        tet_team_run(net->team, keep_share, &s);
    }
    const double now = norm(net, c->p);
    s.keep = now > 0.0 ? (float)(target(net, c->group, c->l, own) / now) : 1.0f;
    s.add = 0.0f;
    tet_team_run(net->team, keep_share, &s);
}

/* Where the drive's norm is asked for. */
static void change_by_drive(struct tet_net *net, const struct change *c)
{
    const struct tet_packed drive = form_drive(net, *c);
    if (tet_net_homeostatic(net, c->group)) {
        scale(net, c, &drive);
        return;
    }
    struct step s = {.p = c->p,
                     .drive = &drive,
                     .add = clipped(net, norm(net, &drive)),
                     .lr = c->lr,
                     .decay = c->decay,
                     .momentum = c->momentum};
    tet_team_run(net->team, step_share, &s);
}

void tet_net_change(struct tet_net *net, enum tet_group g, uint32_t l, const float *a,
                    const float *x)
{
    const struct tet_group_plan *plan = &net->plan.group[g];
    if (!net->plastic[g][l])
        return;
    struct change c = {.net = net,
                       .group = g,
                       .l = l,
                       .a = a,
                       .x = x,
                       .p = &net->p[g][l],
                       .lr = rate_of(net, g, l),
                       .decay = plan->decay,
                       .momentum = net->plan.momentum};
    tet_net_look(net, c.p->w, true);
    if (tet_net_homeostatic(net, g) || net->plan.clip > 0.0f)
        change_by_drive(net, &c);
    else
        tet_team_run(net->team, change_share, &c);
    tet_noise_synapses(net, g, l);
    tet_net_restrict(net, g, l);
    tet_net_look(net, c.p->w, false);
}

/* ---- biases ---- */

struct biases {
    const struct tet_net *net;
    uint32_t l;
    float lr;
    float *b;
};

static void change_bias_share(void *context, const struct tet_share *share)
{
    const struct biases *c = context;
    const struct tet_net *net = c->net;
    const uint32_t l = c->l;
    size_t first, last;
    tet_share_range(share, net->d[l], TET_LANES, &first, &last);
    if (net->layer[l].image)
        net->kernels->convolve_bias(share, net->n, net->m[l], &net->layer[l].z_d, c->lr, c->b);
    else if (first < last)
        net->kernels->bias(net->n, last - first, net->m[l] + first, tet_stride(net->d[l]), c->lr,
                           c->b + first);
}

static void sum_bias(struct tet_net *net, uint32_t l)
{
    struct biases c = {net, l, rate_of(net, TET_W, l), net->b[l]};
    if (net->plan.clip == 0.0f) {
        tet_team_run(net->team, change_bias_share, &c);
        return;
    }
    const size_t d = tet_round(net->d[l]);
    const float lr = c.lr;
    c.lr = 1.0f;
    c.b = net->drive;
    memset(c.b, 0, d * sizeof *c.b);
    tet_team_run(net->team, change_bias_share, &c);
    const double size = sqrt((double)net->kernels->dot(1, d, c.b, d, c.b, d));
    const float factor = clipped(net, size);
    for (size_t i = 0; i < d; i++)
        net->b[l][i] = net->b[l][i] + lr * (factor * c.b[i]);
}

static void change_bias(struct tet_net *net, uint32_t l)
{
    if (!net->plastic[TET_W][l])
        return;
    tet_net_look(net, net->b[l], true);
    sum_bias(net, l);
    tet_net_cut_biases(net, l);
    tet_net_look(net, net->b[l], false);
}

void tet_net_change_ascending(struct tet_net *net)
{
    for (uint32_t l = 1; l <= net->L; l++)
        tet_net_change(net, TET_W, l, net->m[l], net->x[l - 1]);
    for (uint32_t l = 1; l <= net->L; l++)
        change_bias(net, l);
}

void tet_net_change_stage(struct tet_net *net, uint32_t l)
{
    tet_net_change(net, TET_W, l, net->m[l], net->x[l - 1]);
    change_bias(net, l);
}
