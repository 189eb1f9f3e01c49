// SPDX-License-Identifier: Apache-2.0
/* A network's arrays and products: see network.h. */
#include "network.h"

#include <math.h>

#include "philox.h"
#include "rules/rules.h"

/* ---- arrays ---- */

struct carver {
    char *base;
    size_t used;
};

static float *carve(struct carver *c, size_t floats)
{
    float *at = c->base != NULL ? (float *)(void *)(c->base + c->used) : NULL;
    c->used += (floats * sizeof(float) + 63) / 64 * 64;
    return at;
}

static void carve_activities(struct tet_net *net, struct carver *c)
{
    const bool laterals = net->rule->info.group[TET_V];
    const size_t n = net->capacity;
    for (uint32_t l = 0; l <= net->L; l++)
        net->x[l] = carve(c, n * tet_stride(net->d[l]));
    for (uint32_t l = 1; l <= net->L; l++) {
        const bool hidden = l < net->L;
        net->s[l] = carve(c, n * tet_stride(net->e[l]));
        net->m[l] = hidden && (laterals || !net->plan.gate) ? carve(c, n * tet_stride(net->d[l]))
                                                            : net->s[l];
        net->u[l] = hidden && laterals ? carve(c, n * tet_stride(net->e[l])) : NULL;
    }
}

static void carve_weights(struct tet_net *net, struct carver *c)
{
    for (uint32_t l = 1; l <= net->L; l++)
        net->b[l] = carve(c, tet_round(net->d[l]));
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const uint32_t *d = net->d, *e = net->e;
            struct tet_packed *p = &net->p[g][l];
            p->rows = g == TET_W || g == TET_V ? d[l] : g == TET_B ? e[l - 1] : e[l];
            p->columns = g == TET_W ? d[l - 1] : g == TET_U ? d[l] : e[l];
            const size_t floats = tet_packed_floats(p->rows, p->columns);
            p->w = carve(c, floats);
            p->v =
                net->plan.momentum > 0.0f && net->plan.group[g].plastic ? carve(c, floats) : NULL;
        }
    }
}

static void carve_scratch(struct tet_net *net, struct carver *c)
{
    size_t widest = 0, widest_above = 0;
    for (uint32_t l = 1; l <= net->L; l++) {
        const size_t wider = net->d[l] > net->e[l] ? net->d[l] : net->e[l];
        widest = wider > widest ? wider : widest;
        widest_above = net->d[l] > widest_above ? net->d[l] : widest_above;
    }
    const bool telemetry = net->plan.record_every > 0 && net->plan.record_alignment;
    const bool backward = net->plan.rule == TET_RULE_BP || telemetry;
    for (int i = 0; i < 2; i++)
        net->transposed[i] = backward ? carve(c, widest_above * tet_stride(net->capacity)) : NULL;
    for (int i = 0; i < 2; i++)
        net->signal[i] = telemetry ? carve(c, net->capacity * tet_stride(widest_above)) : NULL;
    for (int i = 0; i < 3; i++)
        net->block[i] = telemetry ? carve(c, TET_PANEL * tet_stride(widest)) : NULL;
    net->corner = telemetry ? carve(c, TET_PANEL * TET_PANEL) : NULL;
}

size_t tet_net_layout(struct tet_net *net, const struct tet_plan *plan,
                      const struct tet_shape *shape, char *base)
{
    net->plan = *plan;
    net->rule = tet_rule(plan->rule);
    net->L = plan->n_hidden + 1;
    net->d[0] = shape->inputs;
    for (uint32_t l = 1; l < net->L; l++) {
        net->d[l] = plan->hidden[l - 1].units;
        net->e[l] = plan->hidden[l - 1].descending_units;
    }
    net->d[net->L] = net->e[net->L] = shape->outputs;
    net->capacity = plan->batch;
    struct carver c = {.base = base};
    carve_weights(net, &c);
    carve_activities(net, &c);
    carve_scratch(net, &c);
    return c.used;
}

void tet_net_range(const struct tet_net *net, enum tet_group g, uint32_t *first, uint32_t *last)
{
    *first = g == TET_B ? 2 : 1;
    *last = g == TET_V || g == TET_U ? net->L - 1 : net->L;
    if (!net->rule->info.group[g])
        *first = *last + 1;
}

void tet_net_pack(const struct tet_packed *p, float *packed, const float *values)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            packed[tet_packed_at(p->rows, p->columns, r, c)] = values[r * p->columns + c];
}

void tet_net_unpack(const struct tet_packed *p, const float *packed, float *values)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->columns; c++)
            values[r * p->columns + c] = packed[tet_packed_at(p->rows, p->columns, r, c)];
}

/* ---- initial values ---- */

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
    const double in = net->d[l - 1], out = net->d[l];
    return phi == TET_RELU ? sqrt(2.0 / in) : sqrt(2.0 / (in + out));
}

static void draw(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const struct tet_group_plan *plan = &net->plan.group[g];
    const bool lateral = g == TET_V || g == TET_U;
    const double spread =
        plan->scale * (lateral ? 1.0 / sqrt((double)p->columns) : ascending_spread(net, l));
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
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++)
            draw(net, g, l);
    }
}

/* ---- products ---- */

static enum tet_activation activation(const struct tet_net *net, uint32_t l)
{
    return l < net->L ? net->plan.hidden[l - 1].activation : TET_IDENTITY;
}

void tet_net_ascend(struct tet_net *net, const struct tet_rank *rank)
{
    static const enum tet_finish finish[] = {[TET_RELU] = TET_FINISH_RELU,
                                             [TET_TANH] = TET_FINISH_TANH,
                                             [TET_IDENTITY] = TET_FINISH_NONE};
    for (uint32_t l = 1; l <= net->L; l++) {
        net->kernels->forward(&(struct tet_forward){.rank = rank,
                                                    .n = net->n,
                                                    .x = net->x[l - 1],
                                                    .ldx = tet_stride(net->d[l - 1]),
                                                    .p = &net->p[TET_W][l],
                                                    .bias = net->b[l],
                                                    .finish = finish[activation(net, l)],
                                                    .y = net->x[l],
                                                    .ldy = tet_stride(net->d[l])});
        tet_team_sync(rank);
    }
}

void tet_net_carry(struct tet_net *net, const struct tet_rank *rank, const struct tet_packed *p,
                   const float *x, float *y, uint32_t gate_layer)
{
    static const enum tet_finish finish[] = {[TET_RELU] = TET_FINISH_GATE_RELU,
                                             [TET_TANH] = TET_FINISH_GATE_TANH,
                                             [TET_IDENTITY] = TET_FINISH_NONE};
    const bool gated = gate_layer > 0;
    net->kernels->forward(&(struct tet_forward){
        .rank = rank,
        .n = net->n,
        .x = x,
        .ldx = tet_stride(p->columns),
        .p = p,
        .finish = gated ? finish[activation(net, gate_layer)] : TET_FINISH_NONE,
        .gate = gated ? net->x[gate_layer] : NULL,
        .y = y,
        .ldy = tet_stride(p->rows)});
    tet_team_sync(rank);
}

/* By way of the transposed signals: each rank turns a share of the columns round, there and back.
 */
void tet_net_backpropagate(struct tet_net *net, const struct tet_rank *rank, uint32_t l,
                           const float *above, float *y)
{
    const struct tet_kernels *k = net->kernels;
    const struct tet_packed *w = &net->p[TET_W][l + 1];
    const size_t ld = tet_stride(net->capacity), ldy = tet_stride(w->columns);
    float *const *t = net->transposed;
    size_t first, last;
    tet_share(rank, w->rows, TET_LANES, &first, &last);
    if (first < last)
        k->transpose(net->n, last - first, above + first, tet_stride(w->rows), t[0] + first * ld,
                     ld);
    tet_team_sync(rank);
    k->backward(rank, w, net->n, t[0], ld, t[1], ld);
    tet_team_sync(rank);
    tet_share(rank, w->columns, TET_LANES, &first, &last);
    if (first < last) {
        k->transpose(last - first, net->n, t[1] + first * ld, ld, y + first, ldy);
        k->gate(net->n, last - first, ldy, activation(net, l), y + first, net->x[l] + first,
                y + first);
    }
    tet_team_sync(rank);
}

void tet_net_gate(struct tet_net *net, const struct tet_rank *rank, uint32_t l, const float *s,
                  float *y)
{
    const size_t ld = tet_stride(net->d[l]);
    size_t first, last;
    tet_share(rank, net->n, 1, &first, &last);
    net->kernels->gate(last - first, net->d[l], ld, activation(net, l), s + first * ld,
                       net->x[l] + first * ld, y + first * ld);
    tet_team_sync(rank);
}

void tet_net_change(struct tet_net *net, const struct tet_rank *rank, enum tet_group g, uint32_t l,
                    const float *a, const float *x)
{
    const struct tet_group_plan *plan = &net->plan.group[g];
    const struct tet_packed *p = &net->p[g][l];
    if (plan->plastic)
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

void tet_net_change_ascending(struct tet_net *net, const struct tet_rank *rank)
{
    const struct tet_group_plan *plan = &net->plan.group[TET_W];
    for (uint32_t l = 1; l <= net->L; l++) {
        tet_net_change(net, rank, TET_W, l, net->m[l], net->x[l - 1]);
        size_t first, last;
        tet_share(rank, net->d[l], TET_LANES, &first, &last);
        if (plan->plastic && first < last)
            net->kernels->bias(net->n, last - first, net->m[l] + first, tet_stride(net->d[l]),
                               plan->lr * net->rate, net->b[l] + first);
    }
}
