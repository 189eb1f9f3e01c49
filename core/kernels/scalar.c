// SPDX-License-Identifier: Apache-2.0
/*
 * The reference: every matrix product as plain loops over ascending k with fmaf. The other
 * instruction sets are tested to equal it bit for bit; it is also what runs on a processor without
 * any of them.
 */
#include "kernels/volumes.h"

/* Element (r, c) of a packed matrix. */
static float at(const struct tet_packed *p, size_t r, size_t c)
{
    return p->w[tet_packed_at(p->rows, p->columns, r, c)];
}

static float finished(enum tet_finish finish, float y, float gate)
{
    switch (finish) {
    case TET_FINISH_RELU:
        return phi_relu(y);
    case TET_FINISH_TANH:
        return v_tanh(y);
    case TET_FINISH_GATE_RELU:
        return gate_relu(y, gate);
    case TET_FINISH_GATE_TANH:
        return gate_tanh(y, gate);
    case TET_FINISH_NONE:
        break;
    }
    return y;
}

static void forward(const struct tet_forward *f)
{
    tet_check_forward(f);
    size_t first, last;
    tet_share_range(f->rank, f->n, 1, &first, &last);
    for (size_t n = first; n < last; n++)
        for (size_t r = 0; r < tet_round(f->p->rows); r++) {
            float y = 0.0f;
            for (size_t c = 0; c < f->p->columns; c++)
                y = fmaf(f->x[n * f->ldx + c], at(f->p, r, c), y);
            if (f->bias != NULL)
                y = y + f->bias[r];
            const size_t i = n * f->ldy + r;
            f->y[i] = finished(f->finish, y, f->gate != NULL ? f->gate[i] : 0.0f);
        }
}

static void backward(const struct tet_share *rank, const struct tet_packed *p, size_t n,
                     const float *st, size_t ldst, float *yt, size_t ldyt)
{
    tet_check_backward(p, n, st, ldst, yt, ldyt);
    size_t first, last;
    tet_share_range(rank, p->columns, 1, &first, &last);
    for (size_t c = first; c < last; c++)
        for (size_t i = 0; i < tet_round(n); i++) {
            float y = 0.0f;
            for (size_t r = 0; r < p->rows; r++)
                y = fmaf(at(p, r, c), st[r * ldst + i], y);
            yt[c * ldyt + i] = y;
        }
}

/* Weight i of P by the drive g. */
static void change(const struct tet_packed *p, size_t i, float g, float lr, float decay,
                   float momentum)
{
    g = fmaf(-decay, p->w[i], g);
    if (p->v != NULL)
        g = p->v[i] = fmaf(momentum, p->v[i], g);
    p->w[i] = fmaf(lr, g, p->w[i]);
}

static void drive(const struct tet_drive *d, const struct tet_packed *p)
{
    tet_check_drive(d, p);
    size_t first, last;
    tet_share_range(d->rank, tet_round(p->rows), 1, &first, &last);
    for (size_t r = first; r < last; r++)
        for (size_t c = 0; c < p->columns; c++) {
            float g = 0.0f;
            for (size_t n = 0; n < d->n; n++)
                g = fmaf(d->x[n * d->ldx + c], d->a[n * d->lda + r], g);
            change(p, tet_packed_at(p->rows, p->columns, r, c), g, d->lr, d->decay, d->momentum);
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

/* ---- convolutions ---- */

/* Output channel r at (y, x), example n, of any way: adds over the channels of x and the taps. */
static float convolved(const struct tet_convolution *c, size_t r, size_t y, size_t x, size_t n)
{
    const struct tet_window *w = c->window;
    const uint32_t k = w->kernel;
    float sum = 0.0f;
    for (size_t channel = 0; channel < c->vx.channels; channel++)
        for (size_t ky = 0; ky < k; ky++)
            for (size_t kx = 0; kx < k; kx++) {
                size_t iy = y * w->stride + ky, ix = x * w->stride + kx; // plus the padding
                if (c->way != TET_CONVOLVE) {
                    const size_t fy = y + w->padding, fx = x + w->padding;
                    if (fy < ky || fx < kx || (fy - ky) % w->stride || (fx - kx) % w->stride)
                        continue;
                    iy = (fy - ky) / w->stride;
                    ix = (fx - kx) / w->stride;
                    if (iy >= w->out_rows || ix >= w->out_columns)
                        continue;
                }
                const size_t tap = ky * k + kx;
                const float p = c->way == TET_ADJOINT ? at(c->p, channel, r * k * k + tap)
                                                      : at(c->p, r, channel * k * k + tap);
                const size_t from = channel * tet_volume_plane(&c->vx) +
                                    (iy + c->vx.pad) * tet_volume_row(&c->vx) +
                                    (ix + c->vx.pad) * c->vx.ld;
                const size_t back =
                    c->way == TET_CONVOLVE ? w->padding * (tet_volume_row(&c->vx) + c->vx.ld) : 0;
                sum = fmaf(p, c->x[from - back + n], sum);
            }
    return sum;
}

static void convolve(const struct tet_convolution *c)
{
    tet_check_convolution(c);
    size_t first, last;
    tet_share_range(c->rank, c->vy.channels, 1, &first, &last);
    for (size_t r = first; r < last; r++)
        for (size_t y = 0; y < c->vy.rows; y++)
            for (size_t x = 0; x < c->vy.columns; x++)
                for (size_t n = 0; n < tet_round(c->n); n++) {
                    float v = convolved(c, r, y, x, n);
                    if (c->bias != NULL)
                        v = v + c->bias[r];
                    const float g =
                        c->gate != NULL ? c->gate[tet_volume_at(&c->vgate, r, y, x) + n] : 0.0f;
                    c->y[tet_volume_at(&c->vy, r, y, x) + n] = finished(c->finish, v, g);
                }
}

/* The sum over positions and examples for channel i of the coarse grid, channel j of the fine and
 * tap (ky, kx). */
static float correlated(const struct tet_convolution_drive *d, size_t i, size_t j, size_t ky,
                        size_t kx)
{
    const struct tet_window *w = d->window;
    const struct tet_volume *fine_volume = &d->vfine;
    float lane[16] = {0};
    for (size_t oy = 0; oy < w->out_rows; oy++)
        for (size_t ox = 0; ox < w->out_columns; ox++) {
            const float *coarse = d->coarse + tet_volume_at(&d->vcoarse, i, oy, ox);
            const float *fine = d->fine + tet_volume_at(fine_volume, j, oy * w->stride + ky, 0) +
                                (ox * w->stride + kx) * fine_volume->ld -
                                w->padding * (tet_volume_row(fine_volume) + fine_volume->ld);
            for (size_t n = 0; n < tet_round(d->n); n++)
                lane[n % 16] = fmaf(coarse[n], fine[n], lane[n % 16]);
        }
    return v_sum16(lane);
}

static void convolve_drive(const struct tet_convolution_drive *d, const struct tet_packed *p)
{
    tet_check_convolution_drive(d, p);
    const size_t k = d->window->kernel;
    size_t first, last;
    tet_share_range(d->rank, p->rows, 1, &first, &last);
    for (size_t r = first; r < last; r++)
        for (size_t c = 0; c < p->columns; c++) {
            const size_t channel = c / (k * k), ky = c / k % k, kx = c % k;
            const float g = d->fine_rows ? correlated(d, channel, r, ky, kx)
                                         : correlated(d, r, channel, ky, kx);
            change(p, tet_packed_at(p->rows, p->columns, r, c), g, d->lr, d->decay, d->momentum);
        }
}

const struct tet_kernels tet_kernels_scalar = {
    .name = "scalar",
    .forward = forward,
    .backward = backward,
    .drive = drive,
    .panel_gram = panel_gram,
    .panel_product = panel_product,
    .convolve = convolve,
    .convolve_drive = convolve_drive,
    VOLUME_KERNELS,
    ELEMENTWISE_KERNELS,
};
