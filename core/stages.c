// SPDX-License-Identifier: Apache-2.0
/*
 * What flows through the stages of a network, dense and convolutional: see network.h.
 *
 *     up      x_{l-1} -- W_l --> phi(z_l) -- pooling --> x_l        x_l flattened for a dense layer
 *     down    s_{l+1} -- B_{l+1} --> on the grid of x_l -- to the winners --> s_l on that of z_l
 */
#include "network.h"

#include <string.h>

static const enum tet_finish activate[] = {
    [TET_RELU] = TET_FINISH_RELU, [TET_TANH] = TET_FINISH_TANH, [TET_IDENTITY] = TET_FINISH_NONE};
static const enum tet_finish gates[] = {[TET_RELU] = TET_FINISH_GATE_RELU,
                                        [TET_TANH] = TET_FINISH_GATE_TANH,
                                        [TET_IDENTITY] = TET_FINISH_NONE};

static enum tet_activation activation(const struct tet_net *net, uint32_t l)
{
    return l < net->L ? net->plan.hidden[l - 1].activation : TET_IDENTITY;
}

/* ---- between rows and volumes: each rank turns its share of the channels round ---- */

/* y (N, C * positions), rows of stride ldy = volume x, without padding. */
static void flatten(struct tet_net *net, const struct tet_rank *rank, const struct tet_volume *vx,
                    const float *x, float *y)
{
    const size_t positions = (size_t)vx->rows * vx->columns, d = vx->channels * positions;
    const size_t ldy = tet_stride(d);
    size_t first, last;
    tet_share(rank, vx->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++) {
        const size_t rest = c + 1 < vx->channels ? 0 : tet_round(d) - d; // zeros at a row's end
        net->kernels->transpose(positions, net->n, x + tet_volume_at(vx, c, 0, 0), vx->ld,
                                y + c * positions, ldy, positions + rest);
    }
    tet_team_sync(rank);
}

/* Volume y, without padding = x (N, C * positions). */
static void unflatten(struct tet_net *net, const struct tet_rank *rank, const float *x,
                      const struct tet_volume *vy, float *y)
{
    const size_t positions = (size_t)vy->rows * vy->columns;
    const size_t ldx = tet_stride(vy->channels * positions);
    size_t first, last;
    tet_share(rank, vy->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        net->kernels->transpose(net->n, positions, x + c * positions, ldx,
                                y + tet_volume_at(vy, c, 0, 0), vy->ld, tet_round(net->n));
    tet_team_sync(rank);
}

/* Volume y = x (C * positions, N) with the batch along the row already, stride ldx. */
static void lay_out(struct tet_net *net, const struct tet_rank *rank, const float *x, size_t ldx,
                    const struct tet_volume *vy, float *y)
{
    const size_t positions = (size_t)vy->rows * vy->columns;
    size_t first, last;
    tet_share(rank, vy->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        for (size_t p = 0; p < positions; p++)
            memcpy(y + tet_volume_at(vy, c, 0, 0) + p * vy->ld, x + (c * positions + p) * ldx,
                   tet_round(net->n) * sizeof *y);
    tet_team_sync(rank);
}

/* The staged examples as volume x_0. */
static void lay_out_input(struct tet_net *net, const struct tet_rank *rank)
{
    const struct tet_volume *v = &net->layer[0].x_d;
    const size_t ldx = tet_stride(tet_net_width(net, 0));
    size_t first, last;
    tet_share(rank, (size_t)v->channels * v->rows, 1, &first, &last);
    for (size_t i = first; i < last; i++)
        net->kernels->transpose(net->n, v->columns, net->staged + i * v->columns, ldx,
                                net->x[0] + tet_volume_at(v, i / v->rows, i % v->rows, 0), v->ld,
                                tet_round(net->n));
    tet_team_sync(rank);
}

/* ---- products ---- */

/* y (N, R) = x (N, C) P^T, then bias or gate. */
static void multiply(struct tet_net *net, const struct tet_rank *rank, const struct tet_packed *p,
                     const float *x, const float *bias, enum tet_finish finish, const float *gate,
                     float *y)
{
    net->kernels->forward(&(struct tet_forward){.rank = rank,
                                                .n = net->n,
                                                .x = x,
                                                .ldx = tet_stride(p->columns),
                                                .p = p,
                                                .bias = bias,
                                                .finish = finish,
                                                .gate = gate,
                                                .y = y,
                                                .ldy = tet_stride(p->rows)});
    tet_team_sync(rank);
}

static void convolve(struct tet_net *net, struct tet_convolution c)
{
    c.n = net->n;
    net->kernels->convolve(&c);
    tet_team_sync(c.rank);
}

static void ascend_image(struct tet_net *net, const struct tet_rank *rank, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    convolve(net, (struct tet_convolution){.rank = rank,
                                           .way = TET_CONVOLVE,
                                           .window = &layer->window,
                                           .p = &net->p[TET_W][l],
                                           .x = net->x[l - 1],
                                           .vx = net->layer[l - 1].x_d,
                                           .bias = net->b[l],
                                           .finish = activate[activation(net, l)],
                                           .y = net->a[l],
                                           .vy = layer->a});
    if (layer->pool != TET_POOL_NONE) {
        net->kernels->pool(&(struct tet_pooling){.rank = rank,
                                                 .n = net->n,
                                                 .window = &layer->pooling,
                                                 .pool = layer->pool,
                                                 .a = net->a[l],
                                                 .va = layer->a,
                                                 .x = net->image[l],
                                                 .vx = layer->x_d});
        tet_team_sync(rank);
    }
    if (!net->layer[l + 1].image)
        flatten(net, rank, &layer->x_d, net->image[l], net->x[l]);
}

void tet_net_ascend(struct tet_net *net, const struct tet_rank *rank)
{
    if (net->layer[1].image)
        lay_out_input(net, rank);
    for (uint32_t l = 1; l <= net->L; l++)
        if (net->layer[l].image)
            ascend_image(net, rank, l);
        else
            multiply(net, rank, &net->p[TET_W][l], net->x[l - 1], net->b[l],
                     activate[activation(net, l)], NULL, net->x[l]);
}

/* The signal `below` on the grid of x_l goes on to y on that of z_l; both have `channels` of them.
 * Where there is no pooling, it is there already. */
static void reach(struct tet_net *net, const struct tet_rank *rank, uint32_t l, uint32_t channels,
                  const float *below, float *y, bool gated)
{
    const struct tet_layer *layer = &net->layer[l];
    if (layer->pool != TET_POOL_NONE) {
        struct tet_pooling p = {.rank = rank,
                                .n = net->n,
                                .window = &layer->pooling,
                                .pool = layer->pool,
                                .a = net->a[l],
                                .va = layer->a,
                                .x = net->image[l],
                                .vx = layer->x_d,
                                .above = below,
                                .vabove = layer->x_d,
                                .s = y};
        p.va.channels = p.vabove.channels = channels;
        p.vabove.pad = 0;
        net->kernels->unpool(&p);
        tet_team_sync(rank);
    }
    if (gated)
        tet_net_gate(net, rank, l, y, y);
}

/* `way` of P from s of convolutional layer l+1 to y on the grid of z_l, `channels` of them. */
static void descend_between_images(struct tet_net *net, const struct tet_rank *rank, uint32_t l,
                                   enum tet_way way, const float *s, float *y, bool gated)
{
    const struct tet_layer *layer = &net->layer[l], *above = &net->layer[l + 1];
    const bool pooled = layer->pool != TET_POOL_NONE, adjoint = way == TET_ADJOINT;
    struct tet_convolution c = {.rank = rank,
                                .way = way,
                                .window = &above->window,
                                .p = &net->p[adjoint ? TET_W : TET_B][l + 1],
                                .x = s,
                                .vx = adjoint ? above->z_d : above->z_e,
                                .y = pooled ? net->below : y,
                                .vy = adjoint ? layer->x_d : layer->x_e};
    c.vy.pad = 0; // a signal that comes down is not looked at by a window
    if (gated && !pooled) {
        c.finish = gates[activation(net, l)];
        c.gate = net->a[l];
        c.vgate = layer->a;
    }
    convolve(net, c);
    if (pooled)
        reach(net, rank, l, c.vy.channels, net->below, y, gated);
}

void tet_net_descend(struct tet_net *net, const struct tet_rank *rank, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    const struct tet_packed *b = &net->p[TET_B][l + 1];
    const bool gated = net->plan.gate;
    if (net->layer[l + 1].image) {
        descend_between_images(net, rank, l, TET_TRANSPOSED, net->s[l + 1], net->s[l], gated);
        return;
    }
    if (!layer->image) {
        multiply(net, rank, b, net->s[l + 1], NULL,
                 gated ? gates[activation(net, l)] : TET_FINISH_NONE, gated ? net->x[l] : NULL,
                 net->s[l]);
        return;
    }
    float *below = layer->pool != TET_POOL_NONE ? net->below : net->s[l];
    multiply(net, rank, b, net->s[l + 1], NULL, TET_FINISH_NONE, NULL, net->flat);
    unflatten(net, rank, net->flat, &layer->x_e, below);
    reach(net, rank, l, net->e[l], below, net->s[l], gated);
}

void tet_net_modulate(struct tet_net *net, const struct tet_rank *rank, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    const enum tet_finish gate = gates[activation(net, l)];
    if (layer->image)
        convolve(net, (struct tet_convolution){.rank = rank,
                                               .way = TET_CONVOLVE,
                                               .window = &layer->z,
                                               .p = &net->p[TET_V][l],
                                               .x = net->s[l],
                                               .vx = layer->z_e,
                                               .finish = gate,
                                               .gate = net->a[l],
                                               .vgate = layer->a,
                                               .y = net->m[l],
                                               .vy = layer->z_d});
    else
        multiply(net, rank, &net->p[TET_V][l], net->s[l], NULL, gate, net->x[l], net->m[l]);
}

void tet_net_instruct(struct tet_net *net, const struct tet_rank *rank, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    if (!layer->image) {
        multiply(net, rank, &net->p[TET_U][l], net->x[l], NULL, TET_FINISH_NONE, NULL, net->u[l]);
        return;
    }
    const bool seen = net->layer[l + 1].image;
    convolve(net, (struct tet_convolution){.rank = rank,
                                           .way = TET_CONVOLVE,
                                           .window = &layer->x,
                                           .p = &net->p[TET_U][l],
                                           .x = net->image[l],
                                           .vx = layer->x_d,
                                           .y = seen ? net->u[l] : net->below,
                                           .vy = layer->x_e});
    if (!seen)
        flatten(net, rank, &layer->x_e, net->below, net->u[l]);
}

/* By way of the transposed signals: each rank turns a share of the columns round, there and back.
 */
void tet_net_backpropagate(struct tet_net *net, const struct tet_rank *rank, uint32_t l,
                           const float *above, float *y)
{
    const struct tet_kernels *k = net->kernels;
    const struct tet_layer *layer = &net->layer[l];
    const struct tet_packed *w = &net->p[TET_W][l + 1];
    const size_t ld = tet_stride(net->capacity), ldy = tet_stride(w->columns);
    float *const *t = net->transposed;
    size_t first, last;
    if (net->layer[l + 1].image) {
        descend_between_images(net, rank, l, TET_ADJOINT, above, y, true);
        return;
    }
    tet_share(rank, w->rows, TET_LANES, &first, &last);
    if (first < last)
        k->transpose(net->n, last - first, above + first, tet_stride(w->rows), t[0] + first * ld,
                     ld, tet_round(net->n));
    tet_team_sync(rank);
    k->backward(rank, w, net->n, t[0], ld, t[1], ld);
    tet_team_sync(rank);
    if (layer->image) {
        float *below = layer->pool != TET_POOL_NONE ? net->below : y;
        lay_out(net, rank, t[1], ld, &layer->x_d, below);
        reach(net, rank, l, net->d[l], below, y, true);
        return;
    }
    tet_share(rank, w->columns, TET_LANES, &first, &last);
    if (first < last) {
        k->transpose(last - first, net->n, t[1] + first * ld, ld, y + first, ldy,
                     tet_round(last - first));
        k->gate(net->n, last - first, ldy, activation(net, l), y + first, net->x[l] + first,
                y + first);
    }
    tet_team_sync(rank);
}

/* Row by row of each channel's image. */
static void gate_image(struct tet_net *net, const struct tet_rank *rank, uint32_t l, const float *s,
                       float *y)
{
    const struct tet_layer *layer = &net->layer[l];
    const struct tet_volume *v = &layer->z_d;
    const size_t d = v->columns * v->ld;
    size_t first, last;
    tet_share(rank, (size_t)v->channels * v->rows, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t c = i / v->rows, row = i % v->rows, at = tet_volume_at(v, c, row, 0);
        net->kernels->gate(1, d, d, activation(net, l), s + at,
                           net->a[l] + tet_volume_at(&layer->a, c, row, 0), y + at);
    }
    tet_team_sync(rank);
}

void tet_net_gate(struct tet_net *net, const struct tet_rank *rank, uint32_t l, const float *s,
                  float *y)
{
    const size_t ld = tet_stride(net->d[l]);
    size_t first, last;
    if (net->layer[l].image) {
        gate_image(net, rank, l, s, y);
        return;
    }
    tet_share(rank, net->n, 1, &first, &last);
    net->kernels->gate(last - first, net->d[l], ld, activation(net, l), s + first * ld,
                       net->x[l] + first * ld, y + first * ld);
    tet_team_sync(rank);
}

/* ---- changes ---- */

static void change_image(struct tet_net *net, const struct tet_rank *rank, enum tet_group g,
                         uint32_t l, const float *a, const float *x)
{
    const struct tet_group_plan *plan = &net->plan.group[g];
    const struct tet_layer *layer = &net->layer[l], *below = &net->layer[l - 1];
    struct tet_convolution_drive d = {.rank = rank,
                                      .n = net->n,
                                      .window = &layer->window,
                                      .fine_rows = g == TET_B,
                                      .coarse = g == TET_B ? x : a,
                                      .fine = g == TET_B ? a : x,
                                      .lr = plan->lr * net->rate,
                                      .decay = plan->decay,
                                      .momentum = net->plan.momentum};
    switch (g) {
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
    net->kernels->convolve_drive(&d, &net->p[g][l]);
}

void tet_net_change(struct tet_net *net, const struct tet_rank *rank, enum tet_group g, uint32_t l,
                    const float *a, const float *x)
{
    const struct tet_group_plan *plan = &net->plan.group[g];
    const struct tet_packed *p = &net->p[g][l];
    if (!plan->plastic)
        return;
    if (net->layer[l].image) {
        change_image(net, rank, g, l, a, x);
        return;
    }
    net->kernels->drive(&(struct tet_drive){.rank = rank,
                                            .n = net->n,
                                            .a = a,
                                            .lda = tet_stride(p->rows),
                                            .x = x,
                                            .ldx = tet_stride(p->columns),
                                            .lr = plan->lr * net->rate,
                                            .decay = plan->decay,
                                            .momentum = net->plan.momentum},
                        p);
}

static void change_bias(struct tet_net *net, const struct tet_rank *rank, uint32_t l, float lr)
{
    size_t first, last;
    if (net->layer[l].image) {
        net->kernels->convolve_bias(rank, net->n, net->m[l], &net->layer[l].z_d, lr, net->b[l]);
        return;
    }
    tet_share(rank, net->d[l], TET_LANES, &first, &last);
    if (first < last)
        net->kernels->bias(net->n, last - first, net->m[l] + first, tet_stride(net->d[l]), lr,
                           net->b[l] + first);
}

void tet_net_change_ascending(struct tet_net *net, const struct tet_rank *rank)
{
    const struct tet_group_plan *plan = &net->plan.group[TET_W];
    for (uint32_t l = 1; l <= net->L; l++) {
        tet_net_change(net, rank, TET_W, l, net->m[l], net->x[l - 1]);
        if (plan->plastic)
            change_bias(net, rank, l, plan->lr * net->rate);
    }
}
