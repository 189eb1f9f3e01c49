// SPDX-License-Identifier: Apache-2.0
/*
 * Whether the circuit assembles: cosines by the same kernels that train, in blocks of 64 rows or
 * columns, so that the scratch grows with the width and not with its square.
 */
#include "telemetry/telemetry.h"

#include <math.h>
#include <string.h>

#include "exact.h"
#include "rules/rules.h"

static const struct tet_share alone = {.of = 1};

/* The three sums that make a cosine, gathered over blocks. */
struct cosine {
    double ab, aa, bb;
};

/* Takes in the blocks a and b, both (n, d). */
static void gather(struct cosine *c, const struct tet_net *net, size_t n, size_t d, const float *a,
                   size_t lda, const float *b, size_t ldb)
{
    c->ab += net->kernels->dot(n, d, a, lda, b, ldb);
    c->aa += net->kernels->dot(n, d, a, lda, a, lda);
    c->bb += net->kernels->dot(n, d, b, ldb, b, ldb);
}

/* 0 where one of them is zero: no direction. */
static double value_of(const struct cosine *c)
{
    const double n = sqrt(c->aa) * sqrt(c->bb);
    return n == 0.0 ? 0.0 : c->ab / n;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* out (R, nc) = columns c0, c0 + step, ... of a packed matrix, stride TET_PANEL; the columns up to
 * nc rounded up are 0. */
static void unpack_columns(const struct tet_packed *p, size_t c0, size_t step, size_t nc,
                           float *out)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < tet_round(nc); c++)
            out[r * TET_PANEL + c] =
                c < nc ? p->w[tet_packed_at(p->rows, p->columns, r, c0 + c * step)] : 0.0f;
}

static double modulation_cosine(const struct tet_net *net, uint32_t l, const float *signal)
{
    struct cosine c = {0};
    const struct tet_volume *v = &net->layer[l].z_d;
    const size_t ld = tet_stride(net->d[l]);
    if (net->layer[l].image) // every position of a channel is a row of examples
        for (size_t i = 0; i < v->channels; i++) {
            const size_t at = tet_volume_at(v, i, 0, 0);
            gather(&c, net, (size_t)v->rows * v->columns, net->n, net->m[l] + at, v->ld,
                   signal + at, v->ld);
        }
    else
        gather(&c, net, net->n, net->d[l], net->m[l], ld, signal, ld);
    return value_of(&c);
}

/* Neurons that differ over the batch, those that agree in sign, and the sum of correlations. */
struct consistency {
    double neurons, positive, sum;
};

/* Pearson's correlation of one neuron's modulation and signal over (rows, n), a row every `ld`
 * floats, a value every `step`. Of equal floats the mean is exact, so a constant has no
 * variance. */
static void correlate(struct consistency *to, const float *m, const float *s, size_t rows,
                      size_t ld, size_t n, size_t step)
{
    const double count = (double)rows * (double)n;
    double mean_m = 0.0, mean_s = 0.0, ms = 0.0, mm = 0.0, ss = 0.0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            mean_m += m[r * ld + i * step];
            mean_s += s[r * ld + i * step];
        }
    mean_m /= count;
    mean_s /= count;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double a = m[r * ld + i * step] - mean_m, b = s[r * ld + i * step] - mean_s;
            ms += a * b;
            mm += a * a;
            ss += b * b;
        }
    const double spread = sqrt(mm) * sqrt(ss);
    if (spread == 0.0)
        return;
    to->neurons++;
    to->positive += ms > 0.0;
    to->sum += ms / spread;
}

static struct consistency consistency_of(const struct tet_net *net, uint32_t l, const float *signal)
{
    struct consistency c = {0};
    const struct tet_volume *v = &net->layer[l].z_d;
    for (size_t i = 0; i < net->d[l]; i++)
        if (net->layer[l].image) {
            const size_t at = tet_volume_at(v, i, 0, 0);
            correlate(&c, net->m[l] + at, signal + at, (size_t)v->rows * v->columns, v->ld, net->n,
                      1);
        } else
            correlate(&c, net->m[l] + i, signal + i, 1, 0, net->n, tet_stride(net->d[l]));
    return c;
}

/* What a run goes on from: whether the layer has had each cosine. */
static void reach(struct tet_net *net, uint32_t l, double value, uint64_t step,
                  const struct tet_emitter *to)
{
    static const double thresholds[] = {0.5, 0.9};
    for (int i = 0; i < 2; i++) {
        float *reached = &net->reached[2 * (l - 1) + (uint32_t)i];
        if (*reached != 0.0f || !(value >= thresholds[i]))
            continue;
        *reached = 1.0f;
        tet_emit(to, (enum tet_series)(TET_SERIES_ALIGNMENT_REACHED_HALF + i), l, (double)step);
    }
}

/* m_l against the backpropagated signal of the same batch. */
static void modulation(struct tet_net *net, uint64_t step, const struct tet_emitter *to)
{
    const float *above = net->s[net->L];
    for (uint32_t l = net->L - 1; l >= 1; l--) {
        const float *signal = net->s[l];
        if (!net->rule->backward) {
            float *below = net->signal[l % 2];
            tet_net_backpropagate(net, l, above, below);
            signal = below;
        }
        const double value = modulation_cosine(net, l, signal);
        if (net->plan.record_alignment)
            tet_emit(to, TET_SERIES_ALIGNMENT_MODULATION, l, value);
        if (net->plan.record_assembly) {
            const struct consistency c = consistency_of(net, l, signal);
            const double n = c.neurons > 0.0 ? c.neurons : 1.0;
            tet_emit(to, TET_SERIES_ALIGNMENT_MODULATION_ANGLE, l, tet_exact_degrees(value));
            tet_emit(to, TET_SERIES_ALIGNMENT_CONSISTENCY, l, c.positive / n);
            tet_emit(to, TET_SERIES_ALIGNMENT_CONSISTENCY_MEAN, l, c.sum / n);
            reach(net, l, value, step, to);
        }
        above = signal;
    }
}

/* How stage l+1 repeats itself: a convolution at each tap of its kernels, which its columns number,
 * (channel, tap); a dense layer above an image at each position of it, which number W's columns and
 * B's rows, (channel, position). Laterals are the same for all. */
struct repeats {
    size_t n;
    bool taps; // B's columns are numbered by them too, not its rows
};

static struct repeats repeats_of(const struct tet_net *net, uint32_t l)
{
    const bool taps = net->layer[l + 1].image;
    return (struct repeats){taps ? tet_net_taps(net, l + 1) : net->layer[l].positions, taps};
}

/* V_l B_{l+1} against W_{l+1}^T V_{l+1}, in blocks of 64 neurons of layer l+1. */
static double feedback_with_laterals(struct tet_net *net, uint32_t l)
{
    const struct tet_kernels *k = net->kernels;
    const struct tet_packed *v = &net->p[TET_V][l], *b = &net->p[TET_B][l + 1],
                            *w = &net->p[TET_W][l + 1];
    const struct repeats at = repeats_of(net, l);
    const size_t step = at.taps ? at.n : 1, neurons = b->columns / step;
    struct cosine sum = {0};
    for (size_t c = 0; c < neurons; c += TET_PANEL) {
        const size_t nc = least(TET_PANEL, neurons - c);
        const float *gradient =
            w->w + c * w->columns; // V_L = I: the panel of W_L is the block of W_L^T
        size_t ldg = tet_panel_width(w->rows, c);
        if (l + 1 < net->L) {
            unpack_columns(&net->p[TET_V][l + 1], c, 1, nc, net->block[1]);
            k->backward(&alone, w, nc, net->block[1], TET_PANEL, net->block[2], TET_PANEL);
            gradient = net->block[2];
            ldg = TET_PANEL;
        }
        for (size_t i = 0; i < at.n; i++) {
            if (at.taps || i == 0)
                unpack_columns(b, c * step + i, step, nc, net->block[0]);
            const float *feedback = net->block[0] + (at.taps ? 0 : i * TET_PANEL);
            const size_t ldf = at.taps ? TET_PANEL : at.n * TET_PANEL;
            for (size_t r = 0; r < v->rows; r += TET_PANEL) {
                const size_t nr = least(TET_PANEL, v->rows - r);
                k->panel_product(v, r, feedback, ldf, tet_round(nc), net->corner, TET_PANEL);
                gather(&sum, net, nr, nc, net->corner, TET_PANEL, gradient + (r * at.n + i) * ldg,
                       at.n * ldg);
            }
        }
    }
    return value_of(&sum);
}

/* The feedback of stage l+1 against W_{l+1}^T, in blocks of 64 neurons of layer l+1. */
static double feedback_without_laterals(struct tet_net *net, uint32_t l)
{
    const struct tet_packed *b = &net->feedback[l + 1], *w = &net->p[TET_W][l + 1];
    const size_t taps = tet_net_taps(net, l + 1), neurons = b->columns / taps;
    struct cosine sum = {0};
    for (size_t c = 0; c < neurons; c += TET_PANEL) {
        const size_t nc = least(TET_PANEL, neurons - c), width = tet_panel_width(w->rows, c);
        for (size_t i = 0; i < taps; i++) {
            unpack_columns(b, c * taps + i, taps, nc, net->block[0]);
            gather(&sum, net, b->rows, nc, net->block[0], TET_PANEL,
                   w->w + c * w->columns + i * width, taps * width);
        }
    }
    return value_of(&sum);
}

/* D_l against W_{l+1}^T ... W_L^T, what the gradient would go by if all gates were open, in blocks
 * of 64 outputs, for the layers that have dense ones alone above them: each block goes down from
 * W_L^T, stage by stage. */
static void direct_feedback(struct tet_net *net, const struct tet_emitter *to)
{
    const uint32_t outputs = net->d[net->L];
    struct cosine sum[TET_LAYERS] = {0};
    uint32_t lowest = net->L;
    while (lowest > 1 && !net->layer[lowest].image)
        lowest--;
    for (size_t c = 0; c < outputs; c += TET_PANEL) {
        const size_t nc = least(TET_PANEL, outputs - c);
        const struct tet_packed *w = &net->p[TET_W][net->L];
        const float *path = w->w + c * w->columns; // the panel of W_L is the block of W_L^T
        size_t ld = tet_panel_width(w->rows, c);
        for (uint32_t l = net->L - 1; l >= lowest; l--) {
            const struct tet_packed *d = &net->p[TET_D][l];
            if (l < net->L - 1) {
                float *below = net->block[1 + l % 2];
                net->kernels->backward(&alone, &net->p[TET_W][l + 1], nc, path, ld, below,
                                       TET_PANEL);
                path = below;
                ld = TET_PANEL;
            }
            unpack_columns(d, c, 1, nc, net->block[0]);
            gather(&sum[l], net, d->rows, nc, net->block[0], TET_PANEL, path, ld);
        }
    }
    for (uint32_t l = lowest; l < net->L; l++)
        tet_emit(to, TET_SERIES_ALIGNMENT_FEEDBACK, l, value_of(&sum[l]));
}

/* The rows of P from r on, r a multiple of 64. */
static struct tet_packed rows_from(const struct tet_packed *p, size_t r)
{
    return (struct tet_packed){
        .rows = p->rows - (uint32_t)r, .columns = p->columns, .w = p->w + r * p->columns};
}

/* A A^T against B B^T, both (R, R), in blocks of 64 rows. Both are symmetric: what lies right of
 * the blocks on the diagonal counts twice, what lies left of them is not computed. */
static double grams(struct tet_net *net, const struct tet_packed *a, const struct tet_packed *b)
{
    const size_t ld = tet_stride(a->rows);
    float *const *block = net->block;
    struct cosine diagonal = {0}, right = {0};
    for (size_t r = 0; r < a->rows; r += TET_PANEL) {
        const struct tet_packed a_rest = rows_from(a, r), b_rest = rows_from(b, r);
        const size_t nr = least(TET_PANEL, a_rest.rows);
        net->kernels->panel_gram(a, r, &a_rest, block[0], ld);
        net->kernels->panel_gram(b, r, &b_rest, block[1], ld);
        gather(&diagonal, net, nr, nr, block[0], ld, block[1], ld);
        if (a_rest.rows > nr)
            gather(&right, net, nr, a_rest.rows - nr, block[0] + nr, ld, block[1] + nr, ld);
    }
    return value_of(&(struct cosine){diagonal.ab + 2.0 * right.ab, diagonal.aa + 2.0 * right.aa,
                                     diagonal.bb + 2.0 * right.bb});
}

/* Adds to out (64, R) the products of rows r0.. of B with all its rows, over the columns c0.. to
 * c0 + nc and all positions; a row of B is (channel, position). block (R * positions, 64):
 * scratch. */
static void add_gram_over_positions(struct tet_net *net, const struct tet_packed *b,
                                    size_t positions, size_t r0, size_t c0, size_t nc, float *block,
                                    float *out, size_t ldo)
{
    const size_t channels = b->rows / positions, row = positions * TET_PANEL;
    unpack_columns(b, c0, 1, nc, block);
    for (size_t r = r0; r < least(r0 + TET_PANEL, channels); r++)
        for (size_t c = 0; c < channels; c++)
            out[(r - r0) * ldo + c] += net->kernels->dot(positions, nc, block + r * row, TET_PANEL,
                                                         block + c * row, TET_PANEL);
}

/* B_{l+1} B_{l+1}^T, of channels, summed over the positions of an image below a dense layer,
 * against U_l U_l^T. */
static double grams_over_positions(struct tet_net *net, uint32_t l)
{
    const struct tet_packed *b = &net->p[TET_B][l + 1], *u = &net->p[TET_U][l];
    const size_t positions = net->layer[l].positions, ld = tet_stride(u->rows);
    struct cosine sum = {0};
    for (size_t r = 0; r < u->rows; r += TET_PANEL) {
        memset(net->block[1], 0, TET_PANEL * ld * sizeof *net->block[1]);
        for (size_t c = 0; c < b->columns; c += TET_PANEL)
            add_gram_over_positions(net, b, positions, r, c, least(TET_PANEL, b->columns - c),
                                    net->block[0], net->block[1], ld);
        net->kernels->panel_gram(u, r, u, net->block[0], ld);
        gather(&sum, net, least(TET_PANEL, u->rows - r), u->rows, net->block[1], ld, net->block[0],
               ld);
    }
    return value_of(&sum);
}

void tet_telemetry_alignment(struct tet_net *net, uint64_t step, const struct tet_emitter *to)
{
    const bool *has = net->rule->info.group;
    if (net->plan.record_alignment || net->plan.record_assembly)
        modulation(net, step, to);
    if (!net->plan.record_alignment)
        return;
    if (has[TET_D])
        direct_feedback(net, to);
    for (uint32_t l = 1; l < net->L && net->feedback[l + 1].w != NULL; l++)
        tet_emit(to, TET_SERIES_ALIGNMENT_FEEDBACK, l,
                 has[TET_V] ? feedback_with_laterals(net, l) : feedback_without_laterals(net, l));
    for (uint32_t l = 1; l < net->L && has[TET_V]; l++) {
        tet_emit(to, TET_SERIES_ALIGNMENT_LATERAL, l,
                 grams(net, &net->p[TET_W][l], &net->p[TET_V][l]));
        tet_emit(to, TET_SERIES_ALIGNMENT_LATERAL_DESCENDING, l,
                 net->layer[l + 1].image || net->layer[l].positions == 1
                     ? grams(net, &net->p[TET_B][l + 1], &net->p[TET_U][l])
                     : grams_over_positions(net, l));
    }
}
