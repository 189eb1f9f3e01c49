// SPDX-License-Identifier: Apache-2.0
/*
 * Telemetry: cosines and norms, by the same kernels that train, in blocks of 64 rows or columns, so
 * that the scratch grows with the width and not with its square.
 */
#include "telemetry.h"

#include <math.h>

#include "rules/rules.h"

static const struct tet_rank alone = {.size = 1}; // one rank gathers telemetry; the others wait

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

/* out (R, nc) = columns c0.. of a packed matrix, stride TET_PANEL; the columns up to nc rounded up
 * are 0. */
static void unpack_columns(const struct tet_packed *p, size_t c0, size_t nc, float *out)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < tet_round(nc); c++)
            out[r * TET_PANEL + c] =
                c < nc ? p->w[tet_packed_at(p->rows, p->columns, r, c0 + c)] : 0.0f;
}

/* m_l against the backpropagated signal of the same batch. */
static void modulation(struct tet_net *net, tet_emit_fn *emit, void *context)
{
    const float *above = net->s[net->L];
    for (uint32_t l = net->L - 1; l >= 1; l--) {
        const float *signal = net->s[l];
        if (net->plan.rule != TET_RULE_BP) {
            float *below = net->signal[l % 2];
            tet_net_backpropagate(net, &alone, l, above, below);
            signal = below;
        }
        struct cosine c = {0};
        const size_t ld = tet_stride(net->d[l]);
        gather(&c, net, net->n, net->d[l], net->m[l], ld, signal, ld);
        emit(context, TET_SERIES_ALIGNMENT_MODULATION, l, value_of(&c));
        above = signal;
    }
}

/* V_l B_{l+1} against W_{l+1}^T V_{l+1}, in blocks of 64 columns. */
static double feedback_with_laterals(struct tet_net *net, uint32_t l)
{
    const struct tet_kernels *k = net->kernels;
    const struct tet_packed *v = &net->p[TET_V][l], *b = &net->p[TET_B][l + 1],
                            *w = &net->p[TET_W][l + 1];
    struct cosine sum = {0};
    for (size_t c = 0; c < b->columns; c += TET_PANEL) {
        const size_t nc = least(TET_PANEL, b->columns - c);
        unpack_columns(b, c, nc, net->block[0]);
        const float *gradient =
            w->w + c * w->columns; // V_L = I: the panel of W_L is the block of W_L^T
        size_t ldg = tet_panel_width(w->rows, c);
        if (l + 1 < net->L) {
            unpack_columns(&net->p[TET_V][l + 1], c, nc, net->block[1]);
            k->backward(&alone, w, nc, net->block[1], TET_PANEL, net->block[2], TET_PANEL);
            gradient = net->block[2];
            ldg = TET_PANEL;
        }
        for (size_t r = 0; r < v->rows; r += TET_PANEL) {
            const size_t nr = least(TET_PANEL, v->rows - r);
            k->panel_product(v, r, net->block[0], TET_PANEL, tet_round(nc), net->corner, TET_PANEL);
            gather(&sum, net, nr, nc, net->corner, TET_PANEL, gradient + r * ldg, ldg);
        }
    }
    return value_of(&sum);
}

/* B_{l+1} against W_{l+1}^T, in blocks of 64 columns. */
static double feedback_without_laterals(struct tet_net *net, uint32_t l)
{
    const struct tet_packed *b = &net->p[TET_B][l + 1], *w = &net->p[TET_W][l + 1];
    struct cosine sum = {0};
    for (size_t c = 0; c < b->columns; c += TET_PANEL) {
        const size_t nc = least(TET_PANEL, b->columns - c);
        unpack_columns(b, c, nc, net->block[0]);
        gather(&sum, net, b->rows, nc, net->block[0], TET_PANEL, w->w + c * w->columns,
               tet_panel_width(w->rows, c));
    }
    return value_of(&sum);
}

/* A A^T against B B^T, both (R, R), in blocks of 64 rows. */
static double grams(struct tet_net *net, const struct tet_packed *a, const struct tet_packed *b)
{
    const size_t ld = tet_stride(a->rows);
    struct cosine sum = {0};
    for (size_t r = 0; r < a->rows; r += TET_PANEL) {
        net->kernels->panel_gram(a, r, a, net->block[0], ld);
        net->kernels->panel_gram(b, r, b, net->block[1], ld);
        gather(&sum, net, least(TET_PANEL, a->rows - r), a->rows, net->block[0], ld, net->block[1],
               ld);
    }
    return value_of(&sum);
}

static double norm(const struct tet_net *net, const struct tet_packed *p)
{
    const size_t n = tet_packed_floats(p->rows, p->columns);
    return sqrt((double)net->kernels->dot(1, n, p->w, n, p->w, n));
}

static void alignment(struct tet_net *net, tet_emit_fn *emit, void *context)
{
    const bool *has = net->rule->info.group;
    modulation(net, emit, context);
    for (uint32_t l = 1; l < net->L && has[TET_B]; l++)
        emit(context, TET_SERIES_ALIGNMENT_FEEDBACK, l,
             has[TET_V] ? feedback_with_laterals(net, l) : feedback_without_laterals(net, l));
    for (uint32_t l = 1; l < net->L && has[TET_V]; l++) {
        emit(context, TET_SERIES_ALIGNMENT_LATERAL, l,
             grams(net, &net->p[TET_W][l], &net->p[TET_V][l]));
        emit(context, TET_SERIES_ALIGNMENT_LATERAL_DESCENDING, l,
             grams(net, &net->p[TET_B][l + 1], &net->p[TET_U][l]));
    }
}

void tet_telemetry(struct tet_net *net, tet_emit_fn *emit, void *context)
{
    if (net->plan.record_alignment && net->L > 1)
        alignment(net, emit, context);
    double norms[TET_LAYERS] = {0};
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const double value = norm(net, &net->p[g][l]);
            emit(context, (enum tet_series)(TET_SERIES_NORM_W + (int)g), l, value);
            if (g == TET_W)
                norms[l] = value;
            if (g == TET_B)
                emit(context, TET_SERIES_NORM_RATIO, l, norms[l] == 0.0 ? 0.0 : value / norms[l]);
        }
    }
}
