// SPDX-License-Identifier: Apache-2.0
/*
 * What flows through the stages of a network, dense and convolutional: see network.h.
 *
 *     up      x_{l-1} -- W_l --> phi(z_l) -- pooling --> x_l        x_l flattened for a dense layer
 *     down    s_{l+1} -- B_{l+1} --> on the grid of x_l -- to the winners --> s_l on that of z_l
 */
#include "network.h"

#include <string.h>

#include "noise.h"

static const enum tet_finish activate[] = {
    [TET_RELU] = TET_FINISH_RELU, [TET_TANH] = TET_FINISH_TANH, [TET_IDENTITY] = TET_FINISH_NONE};
static const enum tet_finish gates[] = {[TET_RELU] = TET_FINISH_GATE_RELU,
                                        [TET_TANH] = TET_FINISH_GATE_TANH,
                                        [TET_IDENTITY] = TET_FINISH_NONE};

static enum tet_activation activation(const struct tet_net *net, uint32_t l)
{
    return l < net->L ? net->plan.hidden[l - 1].activation : TET_IDENTITY;
}

/* What follows W_l x_{l-1} + b_l at once: the nonlinearity, unless noise comes before it. */
static enum tet_finish activated(const struct tet_net *net, uint32_t l)
{
    return tet_noise_is_in(net, l) ? TET_FINISH_NONE : activate[activation(net, l)];
}

static void gate(struct tet_net *net, uint32_t l, const float *s, float *y);

/* ---- jobs of the team: a kernel's share of what it is told to do ---- */

struct job {
    const struct tet_net *net;
    const void *what;
};

#define JOB(kernel, type)                                                                          \
    static void share_of_##kernel(void *context, const struct tet_share *share)                    \
    {                                                                                              \
        const struct job *job = context;                                                           \
        struct type what = *(const struct type *)job->what;                                        \
        what.rank = share;                                                                         \
        job->net->kernels->kernel(&what);                                                          \
    }

JOB(forward, tet_forward)
JOB(convolve, tet_convolution)
JOB(pool, tet_pooling)
JOB(unpool, tet_pooling)

/* Activities on their way between rows and volumes, or behind a gate. */
struct way {
    const struct tet_net *net;
    uint32_t l;
    const struct tet_volume *volume;
    const float *x;
    size_t ldx; // of rows
    float *y;
};

/* ---- between rows and volumes: channel by channel ---- */

/* Rows y (N, C * positions) = volume x, without padding. */
static void flatten_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_volume *v = w->volume;
    const size_t positions = (size_t)v->rows * v->columns, d = v->channels * positions;
    size_t first, last;
    tet_share_range(share, v->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        w->net->kernels->transpose(positions, w->net->n, w->x + tet_volume_at(v, c, 0, 0), v->ld,
                                   w->y + c * positions, tet_stride(d), positions);
}

/* Volume y = rows x (N, C * H * W), a row of each channel's image at a time; its padding stays. */
static void unflatten_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_volume *v = w->volume;
    const size_t wide = v->pad > 0 ? v->columns : (size_t)v->rows * v->columns,
                 high = v->pad > 0 ? v->rows : 1;
    size_t first, last;
    tet_share_range(share, v->channels * high, 1, &first, &last);
    for (size_t i = first; i < last; i++)
        w->net->kernels->transpose(w->net->n, wide, w->x + i * wide, w->ldx,
                                   w->y + tet_volume_at(v, i / high, i % high, 0), v->ld,
                                   tet_round(w->net->n));
}

/* Volume y, without padding = x (C * positions, N): the batch is along the row already. */
static void lay_out_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_volume *v = w->volume;
    const size_t positions = (size_t)v->rows * v->columns;
    size_t first, last;
    tet_share_range(share, v->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        for (size_t p = 0; p < positions; p++)
            memcpy(w->y + tet_volume_at(v, c, 0, 0) + p * v->ld,
                   w->x + (c * positions + p) * w->ldx, tet_round(w->net->n) * sizeof *w->y);
}

static void flatten(const struct tet_net *net, const struct tet_volume *volume, const float *x,
                    float *y)
{
    tet_team_run(net->team, flatten_share,
                 &(struct way){.net = net, .volume = volume, .x = x, .y = y});
}

static void unflatten(const struct tet_net *net, const float *x, size_t ldx,
                      const struct tet_volume *volume, float *y)
{
    tet_team_run(net->team, unflatten_share,
                 &(struct way){.net = net, .volume = volume, .x = x, .ldx = ldx, .y = y});
}

/* ---- products ---- */

/* y (N, R) = x (N, C) P^T, then bias or gate. */
static void multiply(const struct tet_net *net, const struct tet_packed *p, const float *x,
                     const float *bias, enum tet_finish finish, const float *gate, float *y)
{
    const struct tet_forward f = {.n = net->n,
                                  .x = x,
                                  .ldx = tet_stride(p->columns),
                                  .p = p,
                                  .bias = bias,
                                  .finish = finish,
                                  .gate = gate,
                                  .y = y,
                                  .ldy = tet_stride(p->rows)};
    tet_team_run(net->team, share_of_forward, &(struct job){net, &f});
}

static void convolve(const struct tet_net *net, struct tet_convolution c)
{
    c.n = net->n;
    tet_team_run(net->team, share_of_convolve, &(struct job){net, &c});
}

static void ascend_image(struct tet_net *net, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    convolve(net, (struct tet_convolution){.way = TET_CONVOLVE,
                                           .window = &layer->window,
                                           .p = &net->p[TET_W][l],
                                           .x = net->x[l - 1],
                                           .vx = net->layer[l - 1].x_d,
                                           .bias = net->b[l],
                                           .finish = activated(net, l),
                                           .y = net->a[l],
                                           .vy = layer->a});
    tet_noise_activity(net, l);
    if (layer->pool != TET_POOL_NONE) {
        const struct tet_pooling p = {.n = net->n,
                                      .window = &layer->pooling,
                                      .pool = layer->pool,
                                      .a = net->a[l],
                                      .va = layer->a,
                                      .x = net->image[l],
                                      .vx = layer->x_d};
        tet_team_run(net->team, share_of_pool, &(struct job){net, &p});
    }
    if (!net->layer[l + 1].image)
        flatten(net, &layer->x_d, net->image[l], net->x[l]);
}

void tet_net_ascend(struct tet_net *net)
{
    if (net->layer[1].image)
        unflatten(net, net->staged, tet_stride(tet_net_width(net, 0)), &net->layer[0].x_d,
                  net->x[0]);
    for (uint32_t l = 1; l <= net->L; l++)
        if (net->layer[l].image)
            ascend_image(net, l);
        else {
            multiply(net, &net->p[TET_W][l], net->x[l - 1], net->b[l], activated(net, l), NULL,
                     net->x[l]);
            tet_noise_activity(net, l);
        }
}

/* The signal `below` on the grid of x_l goes on to y on that of z_l; both have `channels` of them.
 * Where there is no pooling, it is there already. */
static void reach(struct tet_net *net, uint32_t l, uint32_t channels, const float *below, float *y,
                  bool gated)
{
    const struct tet_layer *layer = &net->layer[l];
    if (layer->pool != TET_POOL_NONE) {
        struct tet_pooling p = {.n = net->n,
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
        tet_team_run(net->team, share_of_unpool, &(struct job){net, &p});
    }
    if (gated)
        gate(net, l, y, y);
}

/* `way` of P from s of convolutional layer l+1 to y on the grid of z_l, `channels` of them. */
static void descend_between_images(struct tet_net *net, uint32_t l, enum tet_way way,
                                   const float *s, float *y, bool gated)
{
    const struct tet_layer *layer = &net->layer[l], *above = &net->layer[l + 1];
    const bool pooled = layer->pool != TET_POOL_NONE, adjoint = way == TET_ADJOINT;
    struct tet_convolution c = {.way = way,
                                .window = &above->window,
                                .p = adjoint ? &net->p[TET_W][l + 1] : &net->feedback[l + 1],
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
        reach(net, l, c.vy.channels, net->below, y, gated);
}

/* s_l from the rows `above`, through p, which has a row for each value of x_l. */
static void descend_from_rows(struct tet_net *net, uint32_t l, const struct tet_packed *p,
                              const float *above)
{
    const struct tet_layer *layer = &net->layer[l];
    const bool gated = net->plan.gate;
    if (!layer->image) {
        multiply(net, p, above, NULL, gated ? gates[activation(net, l)] : TET_FINISH_NONE,
                 gated ? net->x[l] : NULL, net->s[l]);
        return;
    }
    float *below = layer->pool != TET_POOL_NONE ? net->below : net->s[l];
    struct tet_volume v = layer->x_e;
    v.pad = 0; // a signal that comes down is not looked at by a window
    multiply(net, p, above, NULL, TET_FINISH_NONE, NULL, net->flat);
    unflatten(net, net->flat, tet_stride(p->rows), &v, below);
    reach(net, l, net->e[l], below, net->s[l], gated);
}

void tet_net_descend(struct tet_net *net, uint32_t l)
{
    tet_net_look(net, net->s[l], true);
    if (net->layer[l + 1].image)
        descend_between_images(net, l, TET_TRANSPOSED, net->s[l + 1], net->s[l], net->plan.gate);
    else
        descend_from_rows(net, l, &net->feedback[l + 1], net->s[l + 1]);
    tet_net_look(net, net->s[l], false);
}

void tet_net_descend_directly(struct tet_net *net, uint32_t l)
{
    tet_net_look(net, net->s[l], true);
    descend_from_rows(net, l, &net->p[TET_D][l], net->s[net->L]);
    tet_net_look(net, net->s[l], false);
}

void tet_net_respond(struct tet_net *net, uint32_t l)
{
    const struct tet_layer *above = &net->layer[l + 1];
    if (above->image)
        convolve(net, (struct tet_convolution){.way = TET_CONVOLVE,
                                               .window = &above->window,
                                               .p = &net->p[TET_W][l + 1],
                                               .x = net->x[l],
                                               .vx = net->layer[l].x_d,
                                               .y = net->s[l + 1],
                                               .vy = above->z_d});
    else
        multiply(net, &net->p[TET_W][l + 1], net->x[l], NULL, TET_FINISH_NONE, NULL, net->s[l + 1]);
}

static void modulate(struct tet_net *net, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    const enum tet_finish gate = gates[activation(net, l)];
    if (layer->image)
        convolve(net, (struct tet_convolution){.way = TET_CONVOLVE,
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
        multiply(net, &net->p[TET_V][l], net->s[l], NULL, gate, net->x[l], net->m[l]);
}

void tet_net_modulate(struct tet_net *net, uint32_t l)
{
    tet_net_look(net, net->m[l], true);
    modulate(net, l);
    tet_net_look(net, net->m[l], false);
}

static void instruct(struct tet_net *net, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    if (!layer->image) {
        multiply(net, &net->p[TET_U][l], net->x[l], NULL, TET_FINISH_NONE, NULL, net->u[l]);
        return;
    }
    const bool seen = net->layer[l + 1].image;
    convolve(net, (struct tet_convolution){.way = TET_CONVOLVE,
                                           .window = &layer->x,
                                           .p = &net->p[TET_U][l],
                                           .x = net->image[l],
                                           .vx = layer->x_d,
                                           .y = seen ? net->u[l] : net->below,
                                           .vy = layer->x_e});
    if (!seen)
        flatten(net, &layer->x_e, net->below, net->u[l]);
}

void tet_net_instruct(struct tet_net *net, uint32_t l)
{
    tet_net_look(net, net->u[l], true);
    instruct(net, l);
    tet_net_look(net, net->u[l], false);
}

/* Rows to columns, and back behind the gate, in stretches of sixteen: each share turns its own. */
static void turn_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_net *net = w->net;
    const size_t ld = tet_stride(net->capacity);
    size_t first, last;
    tet_share_range(share, net->p[TET_W][w->l + 1].rows, TET_LANES, &first, &last);
    if (first < last)
        net->kernels->transpose(net->n, last - first, w->x + first, w->ldx, w->y + first * ld, ld,
                                tet_round(net->n));
}

static void turn_back_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_net *net = w->net;
    const size_t ld = tet_stride(net->capacity), columns = net->p[TET_W][w->l + 1].columns;
    const size_t ldy = tet_stride(columns);
    size_t first, last;
    tet_share_range(share, columns, TET_LANES, &first, &last);
    if (first == last)
        return;
    net->kernels->transpose(last - first, net->n, w->x + first * ld, ld, w->y + first, ldy,
                            tet_round(last - first));
    net->kernels->gate(net->n, last - first, ldy, activation(net, w->l), w->y + first,
                       net->x[w->l] + first, w->y + first);
}

static void backward_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_net *net = w->net;
    const size_t ld = tet_stride(net->capacity);
    net->kernels->backward(share, &net->p[TET_W][w->l + 1], net->n, w->x, ld, w->y, ld);
}

/* By way of the signals with the batch along the row. */
static void backpropagate(struct tet_net *net, uint32_t l, const float *above, float *y)
{
    const struct tet_layer *layer = &net->layer[l];
    float *const *t = net->transposed;
    if (net->layer[l + 1].image) {
        descend_between_images(net, l, TET_ADJOINT, above, y, true);
        return;
    }
    struct way w = {.net = net, .l = l, .x = above, .ldx = tet_stride(net->d[l + 1]), .y = t[0]};
    tet_team_run(net->team, turn_share, &w);
    w = (struct way){.net = net, .l = l, .x = t[0], .y = t[1]};
    tet_team_run(net->team, backward_share, &w);
    w = (struct way){.net = net, .l = l, .x = t[1], .y = y};
    if (!layer->image) {
        tet_team_run(net->team, turn_back_share, &w);
        return;
    }
    w.volume = &layer->x_d;
    w.ldx = tet_stride(net->capacity);
    w.y = layer->pool != TET_POOL_NONE ? net->below : y;
    tet_team_run(net->team, lay_out_share, &w);
    reach(net, l, net->d[l], w.y, y, true);
}

void tet_net_backpropagate(struct tet_net *net, uint32_t l, const float *above, float *y)
{
    tet_net_look(net, y, true);
    backpropagate(net, l, above, y);
    tet_net_look(net, y, false);
}

/* Row by row of each channel's image. */
static void gate_image_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_net *net = w->net;
    const struct tet_layer *layer = &net->layer[w->l];
    const struct tet_volume *v = &layer->z_d;
    const size_t d = v->columns * v->ld;
    size_t first, last;
    tet_share_range(share, (size_t)v->channels * v->rows, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t c = i / v->rows, row = i % v->rows, at = tet_volume_at(v, c, row, 0);
        net->kernels->gate(1, d, d, activation(net, w->l), w->x + at,
                           net->a[w->l] + tet_volume_at(&layer->a, c, row, 0), w->y + at);
    }
}

static void gate_share(void *context, const struct tet_share *share)
{
    const struct way *w = context;
    const struct tet_net *net = w->net;
    const size_t d = net->d[w->l], ld = tet_stride(d);
    size_t first, last;
    tet_share_range(share, net->n, 1, &first, &last);
    net->kernels->gate(last - first, d, ld, activation(net, w->l), w->x + first * ld,
                       net->x[w->l] + first * ld, w->y + first * ld);
}

static void gate(struct tet_net *net, uint32_t l, const float *s, float *y)
{
    tet_team_run(net->team, net->layer[l].image ? gate_image_share : gate_share,
                 &(struct way){.net = net, .l = l, .x = s, .y = y});
}

void tet_net_gate(struct tet_net *net, uint32_t l, const float *s, float *y)
{
    tet_net_look(net, y, true);
    gate(net, l, s, y);
    tet_net_look(net, y, false);
}
