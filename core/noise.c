// SPDX-License-Identifier: Apache-2.0
/* Noise by counter streams: see noise.h. */
#include "noise.h"

#include <math.h>

#include "philox.h"
#include "rules/rules.h"

struct noise {
    const struct tet_net *net;
    struct tet_stream stream;
    float sd;
    uint64_t first;  // block of line 0
    uint64_t blocks; // of a line
    uint32_t l;
    enum tet_group group;
};

static struct noise make(const struct tet_net *net, enum tet_stream_purpose purpose, uint32_t l,
                         float sd, size_t lines, size_t numbers)
{
    struct noise noise = {.net = net,
                          .stream = tet_stream_make(net->plan.seed, purpose, l),
                          .sd = sd,
                          .blocks = tet_round(numbers) / 8,
                          .l = l};
    noise.first = net->step * lines * noise.blocks;
    return noise;
}

/* Adds numbers from.. to n values; `from` a multiple of 8. */
static void add_line(const struct noise *noise, size_t line, size_t from, size_t n, float *values)
{
    const uint64_t first = noise->first + line * noise->blocks + from / 8;
    for (size_t i = 0; i < n; i += 8) {
        uint32_t word[4];
        tet_philox(&noise->stream, first + i / 8, word);
        for (size_t k = 0; k < 8 && i + k < n; k++)
            values[i + k] +=
                noise->sd * noise->net->normal[word[k / 2] >> (k % 2 ? 4 : 20) & (TET_NORMALS - 1)];
    }
}

void tet_noise_table(float *out)
{
    const uint32_t wide = UINT32_MAX / TET_NORMALS + 1;
    double squares = 0.0;
    for (uint32_t q = 0; q < TET_NORMALS; q++) {
        const double z = tet_normal_from_u32(q * wide + wide / 2);
        squares += z * z;
    }
    const double scale = 1.0 / sqrt(squares / TET_NORMALS);
    for (uint32_t q = 0; q < TET_NORMALS; q++)
        out[q] = (float)(scale * tet_normal_from_u32(q * wide + wide / 2));
}

/* ---- activity ---- */

static void activate(const struct tet_net *net, uint32_t l, size_t n, float *z)
{
    const enum tet_activation phi = net->plan.hidden[l - 1].activation;
    if (phi == TET_TANH)
        net->kernels->tanh(n, z, z);
    for (size_t i = 0; i < n && phi == TET_RELU; i++)
        z[i] = 0.0f > z[i] ? 0.0f : z[i]; // NaN stays
}

static void dense_share(void *context, const struct tet_share *share)
{
    const struct noise *noise = context;
    const struct tet_net *net = noise->net;
    const size_t d = net->d[noise->l];
    size_t first, last;
    tet_share_range(share, net->n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *z = net->x[noise->l] + i * tet_stride(d);
        add_line(noise, i, 0, d, z);
        activate(net, noise->l, d, z);
    }
}

/* The rows of each channel's image. */
static void image_share(void *context, const struct tet_share *share)
{
    const struct noise *noise = context;
    const struct tet_net *net = noise->net;
    const struct tet_volume *v = &net->layer[noise->l].a;
    size_t first, last;
    tet_share_range(share, (size_t)v->channels * v->rows, 1, &first, &last);
    for (size_t i = first; i < last; i++)
        for (size_t x = 0; x < v->columns; x++) {
            float *z = net->a[noise->l] + tet_volume_at(v, i / v->rows, i % v->rows, x);
            add_line(noise, i * v->columns + x, 0, net->n, z);
            activate(net, noise->l, tet_round(net->n), z);
        }
}

void tet_noise_activity(struct tet_net *net, uint32_t l)
{
    const struct tet_layer *layer = &net->layer[l];
    if (!tet_noise_is_in(net, l))
        return;
    const size_t places = (size_t)layer->a.channels * layer->a.rows * layer->a.columns;
    const size_t lines = layer->image ? places : net->capacity;
    const size_t numbers = layer->image ? net->capacity : net->d[l];
    struct noise noise =
        make(net, TET_STREAM_NOISE_ACTIVITY, l, net->plan.noise.activity, lines, numbers);
    tet_team_run(net->team, layer->image ? image_share : dense_share, &noise);
}

/* ---- teaching signal ---- */

static void teaching_share(void *context, const struct tet_share *share)
{
    const struct noise *noise = context;
    const struct tet_net *net = noise->net;
    const size_t d = net->d[net->L];
    size_t first, last;
    tet_share_range(share, net->n, 1, &first, &last);
    for (size_t i = first; i < last; i++)
        add_line(noise, i, 0, d, net->s[net->L] + i * tet_stride(d));
}

void tet_noise_teaching(struct tet_net *net)
{
    const float sd = net->plan.noise.teaching;
    if (sd == 0.0f)
        return;
    struct noise noise =
        make(net, TET_STREAM_NOISE_TEACHING, 0, sd / (float)net->n, net->capacity, net->d[net->L]);
    tet_team_run(net->team, teaching_share, &noise);
}

/* ---- synapses ---- */

/* The panels' columns. */
static void synapses_share(void *context, const struct tet_share *share)
{
    const struct noise *noise = context;
    const struct tet_packed *p = &noise->net->p[noise->group][noise->l];
    size_t first, last;
    tet_share_range(share, tet_panels(p->rows) * p->columns, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t r = i / p->columns * TET_PANEL, column = i % p->columns;
        const size_t rows = p->rows - r < TET_PANEL ? p->rows - r : TET_PANEL;
        add_line(noise, column, r, rows, p->w + tet_packed_at(p->rows, p->columns, r, column));
    }
}

void tet_noise_synapses(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const bool mirrored = g == TET_B && net->rule->info.mirrors; // no mini-batch changes it
    if (net->plan.noise.synapses == 0.0f || mirrored)
        return;
    struct noise noise = make(net, TET_STREAM_NOISE_SYNAPSES + (unsigned)g, l,
                              net->plan.noise.synapses, p->columns, p->rows);
    noise.group = g;
    tet_team_run(net->team, synapses_share, &noise);
}
