// SPDX-License-Identifier: Apache-2.0
/* Means and powers of the ascending activities, before the synapses change: see network.h. */
#include "network.h"

struct activity {
    const struct tet_net *net;
    float *x;
    size_t width;                    // of rows
    const struct tet_volume *volume; // NULL: rows
};

/* x_l as layer l+1 sees it. */
static struct activity seen(const struct tet_net *net, uint32_t l)
{
    return (struct activity){.net = net,
                             .x = net->x[l],
                             .width = tet_net_width(net, l),
                             .volume = net->layer[l + 1].image ? &net->layer[l].x_d : NULL};
}

/* ---- means ---- */

static void centre_rows_share(void *context, const struct tet_share *share)
{
    const struct activity *a = context;
    const struct tet_net *net = a->net;
    const size_t ld = tet_stride(a->width);
    const float part = 1.0f / (float)net->n;
    size_t first, last;
    tet_share_range(share, tet_round(a->width), TET_LANES, &first, &last);
    for (size_t c = first; c < last; c += TET_LANES) {
        float mean[TET_LANES] = {0};
        net->kernels->bias(net->n, TET_LANES, a->x + c, ld, part, mean);
        for (size_t n = 0; n < net->n; n++)
            for (size_t i = 0; i < TET_LANES; i++)
                a->x[n * ld + c + i] -= mean[i];
    }
}

/* Sum over the positions and examples of a channel: 16 lanes of examples, positions ascending. */
static float sum_of_channel(const struct activity *a, size_t channel)
{
    const struct tet_volume *v = a->volume;
    const size_t n = a->net->n, whole = n / TET_LANES * TET_LANES;
    float lane[TET_LANES] = {0};
    for (size_t p = 0; p < (size_t)v->rows * v->columns; p++) {
        const float *x = a->x + tet_volume_at(v, channel, p / v->columns, p % v->columns);
        for (size_t k = 0; k < whole; k += TET_LANES)
            for (size_t i = 0; i < TET_LANES; i++)
                lane[i] += x[k + i];
        for (size_t k = whole; k < n; k++)
            lane[k - whole] += x[k];
    }
    for (size_t half = TET_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* The padding stays zero, which now stands for the mean. */
static void centre_volume_share(void *context, const struct tet_share *share)
{
    const struct activity *a = context;
    const struct tet_volume *v = a->volume;
    const size_t positions = (size_t)v->rows * v->columns;
    size_t first, last;
    tet_share_range(share, v->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++) {
        const float mean = sum_of_channel(a, c) / ((float)positions * (float)a->net->n);
        for (size_t p = 0; p < positions; p++) {
            float *x = a->x + tet_volume_at(v, c, p / v->columns, p % v->columns);
            for (size_t n = 0; n < tet_round(a->net->n); n++)
                x[n] -= mean;
        }
    }
}

static void centre(struct activity a)
{
    tet_team_run(a.net->team, a.volume != NULL ? centre_volume_share : centre_rows_share, &a);
}

void tet_net_centre(struct tet_net *net)
{
    if (!net->plan.center)
        return;
    for (uint32_t l = 0; l < net->L; l++) {
        const struct tet_layer *layer = &net->layer[l];
        struct activity a = seen(net, l);
        centre(a);
        if (l > 0 && net->u[l] != NULL && net->plastic[TET_B][l + 1]) {
            a.x = net->u[l];
            a.width = net->e[l] * layer->positions;
            a.volume = a.volume != NULL ? &layer->x_e : NULL;
            centre(a);
        }
        if (l > 0 && net->a[l] != net->x[l]) // an image: pooled, or flattened
            centre((struct activity){.net = net, .x = net->a[l], .volume = &layer->a});
    }
}

/* ---- powers ---- */

/* Squares of a channel or of an example. */
static void weigh_share(void *context, const struct tet_share *share)
{
    const struct activity *a = context;
    const struct tet_net *net = a->net;
    const struct tet_volume *v = a->volume;
    const size_t ld = v != NULL ? v->ld : tet_stride(a->width);
    size_t first, last;
    tet_share_range(share, v != NULL ? v->channels : net->n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        double sum = 0.0;
        for (size_t row = 0; row < (v != NULL ? v->rows : 1); row++) {
            const float *x = a->x + (v != NULL ? tet_volume_at(v, i, row, 0) : i * ld);
            sum += (double)(v != NULL ? net->kernels->dot(v->columns, net->n, x, ld, x, ld)
                                      : net->kernels->dot(1, a->width, x, ld, x, ld));
        }
        net->sums[i] = (float)sum;
    }
}

static float power(struct tet_net *net, uint32_t l)
{
    struct activity a = seen(net, l - 1);
    const struct tet_window *w = &net->layer[l].window;
    const size_t n = a.volume != NULL ? a.volume->channels : net->n;
    double sum = 0.0, overlap = 1.0;
    if (a.volume != NULL)
        overlap = (double)w->out_rows * w->out_columns * w->kernel * w->kernel /
                  ((double)w->rows * w->columns);
    tet_team_run(net->team, weigh_share, &a);
    for (size_t i = 0; i < n; i++)
        sum += (double)net->sums[i];
    return (float)(sum * overlap / (256.0 * (double)net->n));
}

void tet_net_weigh(struct tet_net *net)
{
    if (net->plan.normalize != TET_NORMALIZE_STAGE)
        return;
    for (uint32_t l = 1; l <= net->L; l++) {
        float *mean = &net->power[l - 1];
        const float now = power(net, l);
        *mean = *mean > 0.0f ? *mean + TET_POWER_SHARE * (now - *mean) : now;
        net->stage_factor[l] = 1.0f / (*mean > TET_LEAST_POWER ? *mean : TET_LEAST_POWER);
    }
}
