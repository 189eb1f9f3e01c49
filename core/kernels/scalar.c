// SPDX-License-Identifier: Apache-2.0
/*
 * The reference: every matrix product as plain loops over ascending k with fmaf. The other
 * instruction sets are tested to equal it bit for bit; it is also what runs on a processor without
 * any of them.
 */
#include "kernels/elementwise.h"

/* Element (r, c) of a packed matrix. */
static float at(const struct tet_packed *p, size_t r, size_t c)
{
    return p->w[tet_packed_at(p->rows, p->columns, r, c)];
}

static float finish(const struct tet_forward *f, float y, size_t i)
{
    switch (f->finish) {
    case TET_FINISH_RELU:
        return phi_relu(y);
    case TET_FINISH_TANH:
        return v_tanh(y);
    case TET_FINISH_GATE_RELU:
        return gate_relu(y, f->gate[i]);
    case TET_FINISH_GATE_TANH:
        return gate_tanh(y, f->gate[i]);
    case TET_FINISH_NONE:
        break;
    }
    return y;
}

static void forward(const struct tet_forward *f)
{
    size_t first, last;
    tet_share(f->rank, f->n, 1, &first, &last);
    for (size_t n = first; n < last; n++)
        for (size_t r = 0; r < tet_round(f->p->rows); r++) {
            float y = 0.0f;
            for (size_t c = 0; c < f->p->columns; c++)
                y = fmaf(f->x[n * f->ldx + c], at(f->p, r, c), y);
            if (f->bias != NULL)
                y = y + f->bias[r];
            f->y[n * f->ldy + r] = finish(f, y, n * f->ldy + r);
        }
}

static void backward(const struct tet_rank *rank, const struct tet_packed *p, size_t n,
                     const float *st, size_t ldst, float *yt, size_t ldyt)
{
    size_t first, last;
    tet_share(rank, p->columns, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        for (size_t i = 0; i < tet_round(n); i++) {
            float y = 0.0f;
            for (size_t r = 0; r < p->rows; r++)
                y = fmaf(at(p, r, c), st[r * ldst + i], y);
            yt[c * ldyt + i] = y;
        }
}

static void drive(const struct tet_drive *d, const struct tet_packed *p)
{
    size_t first, last;
    tet_share(d->rank, tet_round(p->rows), 1, &first, &last);
    for (size_t r = first; r < last; r++)
        for (size_t c = 0; c < p->columns; c++) {
            const size_t i = tet_packed_at(p->rows, p->columns, r, c);
            float g = 0.0f;
            for (size_t n = 0; n < d->n; n++)
                g = fmaf(d->x[n * d->ldx + c], d->a[n * d->lda + r], g);
            g = fmaf(-d->decay, p->w[i], g);
            if (p->v != NULL)
                g = p->v[i] = fmaf(d->momentum, p->v[i], g);
            p->w[i] = fmaf(d->lr, g, p->w[i]);
        }
}

static void panel_gram(const struct tet_packed *a, size_t r0, const struct tet_packed *b,
                       float *out, size_t ldo)
{
    for (size_t r = r0; r < r0 + TET_PANEL && r < a->rows; r++)
        for (size_t c = 0; c < tet_round(b->rows); c++) {
            float y = 0.0f;
            for (size_t k = 0; k < a->columns; k++)
                y = fmaf(at(a, r, k), at(b, c, k), y);
            out[(r - r0) * ldo + c] = y;
        }
}

static void panel_product(const struct tet_packed *a, size_t r0, const float *b, size_t ldb,
                          size_t nc, float *out, size_t ldo)
{
    for (size_t r = r0; r < r0 + TET_PANEL && r < a->rows; r++)
        for (size_t c = 0; c < nc; c++) {
            float y = 0.0f;
            for (size_t k = 0; k < a->columns; k++)
                y = fmaf(at(a, r, k), b[k * ldb + c], y);
            out[(r - r0) * ldo + c] = y;
        }
}

const struct tet_kernels tet_kernels_scalar = {
    .name = "scalar",
    .forward = forward,
    .backward = backward,
    .drive = drive,
    .panel_gram = panel_gram,
    .panel_product = panel_product,
    ELEMENTWISE_KERNELS,
};
