// SPDX-License-Identifier: Apache-2.0
/*
 * The kernels over volumes that are not products, as one body for every VL (kernels.h has their
 * contracts): pooling, its way back, and the drive of a convolution's biases. The examples lie along
 * the vector, so that sixteen lanes are sixteen examples whatever VL is.
 */
#ifndef CORE_KERNELS_VOLUMES_H
#define CORE_KERNELS_VOLUMES_H

#include "kernels/check.h"
#include "kernels/elementwise.h"

INLINE vf largest(const float *a, size_t row, size_t ld, uint32_t side)
{
    vf best = v_load(a);
    for (uint32_t ky = 0; ky < side; ky++)
        for (uint32_t kx = 0; kx < side; kx++) {
            const vf v = v_load(a + ky * row + kx * ld);
            best = v_choose(v_less(best, v), v, best);
        }
    return best;
}

INLINE vf mean(const float *a, size_t row, size_t ld, uint32_t side)
{
    vf sum = v_set(0.0f);
    for (uint32_t ky = 0; ky < side; ky++)
        for (uint32_t kx = 0; kx < side; kx++)
            sum = sum + v_load(a + ky * row + kx * ld);
    return sum * v_set(1.0f / (float)(side * side));
}

static void pool(const struct tet_pooling *p)
{
    const struct tet_window *w = p->window;
    const size_t row = tet_volume_row(&p->va), ld = p->va.ld;
    size_t first, last;
    tet_share_range(p->rank, (size_t)p->va.channels * w->out_rows, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t c = i / w->out_rows, oy = i % w->out_rows;
        for (size_t ox = 0; ox < w->out_columns; ox++) {
            const float *a = p->a + tet_volume_at(&p->va, c, oy * w->stride, ox * w->stride);
            float *x = p->x + tet_volume_at(&p->vx, c, oy, ox);
            for (size_t n = 0; n < tet_round(p->n); n += VL)
                v_store(x + n, p->pool == TET_POOL_MAX ? largest(a + n, row, ld, w->kernel)
                                                       : mean(a + n, row, ld, w->kernel));
        }
    }
}

/* To the first tap whose value is x. */
INLINE void to_winner(const float *a, vf x, vf signal, float *s, size_t row, size_t ld,
                      uint32_t side)
{
    vi open = v_seti(-1);
    for (uint32_t ky = 0; ky < side; ky++)
        for (uint32_t kx = 0; kx < side; kx++) {
            const size_t at = ky * row + kx * ld;
            const vi wins = v_equal(v_load(a + at), x) & open;
            open = open & ~wins;
            v_store(s + at, v_load(s + at) + v_choose(wins, signal, v_set(0.0f)));
        }
}

INLINE void to_all(vf signal, float *s, size_t row, size_t ld, uint32_t side)
{
    for (uint32_t ky = 0; ky < side; ky++)
        for (uint32_t kx = 0; kx < side; kx++) {
            const size_t at = ky * row + kx * ld;
            v_store(s + at, v_load(s + at) + signal);
        }
}

static void unpool(const struct tet_pooling *p)
{
    const struct tet_window *w = p->window;
    const size_t row = tet_volume_row(&p->va), ld = p->va.ld;
    const vf share = v_set(1.0f / (float)(w->kernel * w->kernel));
    size_t first, last;
    tet_share_range(p->rank, p->va.channels, 1, &first, &last);
    memset(p->s + first * tet_volume_plane(&p->va), 0,
           (last - first) * tet_volume_plane(&p->va) * sizeof *p->s);
    for (size_t c = first; c < last; c++)
        for (size_t oy = 0; oy < w->out_rows; oy++)
            for (size_t ox = 0; ox < w->out_columns; ox++) {
                const size_t at = tet_volume_at(&p->va, c, oy * w->stride, ox * w->stride);
                const float *above = p->above + tet_volume_at(&p->vabove, c, oy, ox);
                for (size_t n = 0; n < tet_round(p->n); n += VL)
                    if (p->pool == TET_POOL_MAX)
                        to_winner(p->a + at + n,
                                  v_load(p->x + tet_volume_at(&p->vx, c, oy, ox) + n),
                                  v_load(above + n), p->s + at + n, row, ld, w->kernel);
                    else
                        to_all(v_load(above + n) * share, p->s + at + n, row, ld, w->kernel);
            }
}

static void convolve_bias(const struct tet_share *rank, size_t n, const float *a,
                          const struct tet_volume *va, float lr, float *b)
{
    size_t first, last;
    tet_share_range(rank, va->channels, 1, &first, &last);
    for (size_t c = first; c < last; c++) {
        vf lanes[SUM_VECTORS];
        for (int i = 0; i < SUM_VECTORS; i++)
            lanes[i] = v_set(0.0f);
        for (size_t y = 0; y < va->rows; y++)
            for (size_t x = 0; x < va->columns; x++) {
                const float *at = a + tet_volume_at(va, c, y, x);
                for (size_t k = 0; k < tet_round(n); k += 16)
                    for (int i = 0; i < SUM_VECTORS; i++)
                        lanes[i] = lanes[i] + v_load(at + k + (size_t)i * VL);
            }
        b[c] = fmaf(lr, v_sum16(lanes), b[c]);
    }
}

#define VOLUME_KERNELS .pool = pool, .unpool = unpool, .convolve_bias = convolve_bias

#endif
