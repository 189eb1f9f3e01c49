// SPDX-License-Identifier: Apache-2.0
/*
 * Convolutions for every vector instruction set, on the register tile of products.h: its rows are
 * output channels, its vectors examples, at one position of the output; nothing is gathered.
 *
 *     way          tile's rows   a(i, k)              k                     b(k, v)
 *     CONVOLVE     rows of P     P[r + i][c, ky, kx]  c, ky, kx             x[c][position + tap]
 *     TRANSPOSED   rows of P     P[r + i][c, ky, kx]  c, the taps that      x[c][what the tap
 *     ADJOINT      channels of   P[k][r + i, ky, kx]  exist, which are        came from]
 *                  P's columns                        `stride` apart
 *
 * The drive has a tile of its own: DI channels by DJ columns of P, each a sum over positions and
 * examples that lie along the vector.
 */
#ifndef CORE_KERNELS_CONVOLUTION_H
#define CORE_KERNELS_CONVOLUTION_H

#include "kernels/products.h"

/* ---- the three ways ---- */

/* The i-th tile of `rows` channels. Rows of P lie in panels, which a tile does not cross. */
struct rows {
    size_t first, n, panel, width;
};

INLINE size_t row_tiles(const struct tet_convolution *c)
{
    const size_t rows = c->vy.channels;
    if (c->way == TET_ADJOINT)
        return tile_count(rows);
    return rows / TET_PANEL * tile_count(TET_PANEL) + tile_count(rows % TET_PANEL);
}

INLINE struct rows rows_of(const struct tet_convolution *c, size_t i)
{
    struct rows t = {.panel = 0};
    size_t rows = c->vy.channels;
    if (c->way != TET_ADJOINT) {
        t.panel = i / tile_count(TET_PANEL) * TET_PANEL;
        t.width = tet_panel_width(rows, t.panel);
        rows = rows - t.panel < TET_PANEL ? rows - t.panel : TET_PANEL;
        i = i % tile_count(TET_PANEL);
    }
    t.first = t.panel + tile_begin(i, rows);
    t.n = t.panel + tile_begin(i + 1, rows) - t.first;
    return t;
}

/* Along one axis, the taps of the fine position `at` that stop at a coarse one: `n` of them from
 * `first` on, `stride` apart; the first comes from coarse position `from`, every next from one
 * less. */
struct taps {
    size_t first, n, from;
};

INLINE struct taps taps_of(const struct tet_window *w, size_t at, size_t out)
{
    const size_t fine = at + w->padding, reach = (out - 1) * w->stride;
    struct taps t = {.first = fine % w->stride};
    if (fine > reach) // further taps come from inside
        t.first = fine - reach;
    const size_t last = fine < w->kernel ? fine : w->kernel - 1;
    if (t.first > last)
        return (struct taps){0};
    t.n = (last - t.first) / w->stride + 1;
    t.from = (fine - t.first) / w->stride;
    return t;
}

/* The innermost loop is the longest one where a window has a single tap. */
INLINE void set_turns(struct tile *t, struct turns channels, struct turns rows,
                      struct turns columns)
{
    const struct turns once = {1, 0, 0, 0};
    const bool single = rows.n == 1 && columns.n == 1;
    t->k[0] = single ? once : channels;
    t->k[1] = single ? once : rows;
    t->k[2] = single ? channels : columns;
}

/* Everything of the tile for output row y and column x, but where its examples begin. `q`: the
 * first row of a panel, ADJOINT. */
INLINE void aim(struct tile *t, const struct tet_convolution *c, const struct rows *r, size_t q,
                size_t y, size_t x)
{
    const struct tet_window *w = c->window;
    const size_t k = w->kernel, row = tet_volume_row(&c->vx), ld = c->vx.ld;
    const size_t plane = tet_volume_plane(&c->vx), columns = c->p->columns;
    if (c->way == TET_CONVOLVE) {
        const size_t pad = c->vx.pad - w->padding; // where the window's own corner is
        t->a = c->p->w + r->panel * columns + (r->first - r->panel);
        t->a_row = 1;
        t->b = c->x + (y * w->stride + pad) * row + (x * w->stride + pad) * ld;
        set_turns(
            t, (struct turns){c->vx.channels, (ptrdiff_t)(k * k * r->width), (ptrdiff_t)plane, 0},
            (struct turns){k, (ptrdiff_t)(k * r->width), (ptrdiff_t)row, 0},
            (struct turns){k, (ptrdiff_t)r->width, (ptrdiff_t)ld, 0});
        return;
    }
    const struct taps ty = taps_of(w, y, w->out_rows), tx = taps_of(w, x, w->out_columns);
    const size_t tap = ty.first * k + tx.first, step = w->stride;
    size_t width = r->width, channels = c->vx.channels;
    ptrdiff_t next = (ptrdiff_t)(k * k * width); // from one channel of x to the next, in a
    if (c->way == TET_TRANSPOSED) {
        t->a = c->p->w + r->panel * columns + tap * width + (r->first - r->panel);
        t->a_row = 1;
    } else {
        width = tet_panel_width(c->p->rows, q);
        channels = channels - q < TET_PANEL ? channels - q : TET_PANEL;
        next = 1;
        t->a = c->p->w + q * columns + (r->first * k * k + tap) * width;
        t->a_row = k * k * width;
    }
    t->b = c->x + tet_volume_at(&c->vx, q, ty.from, tx.from);
    set_turns(t, (struct turns){channels, next, (ptrdiff_t)plane, 0},
              (struct turns){ty.n, (ptrdiff_t)(step * k * width), -(ptrdiff_t)row, 0},
              (struct turns){tx.n, (ptrdiff_t)(step * width), -(ptrdiff_t)ld, 0});
}

/* One position: all its examples, and all panels that the sum runs over. */
INLINE void convolve_position(const struct tet_convolution *c, const struct rows *r,
                              enum epilogue epilogue, bool finishing, size_t y, size_t x)
{
    const size_t to = tet_volume_at(&c->vy, r->first, y, x);
    const size_t gate = c->gate != NULL ? tet_volume_at(&c->vgate, r->first, y, x) : 0;
    struct tile t = {.c_row = tet_volume_plane(&c->vy), .gate_row = tet_volume_plane(&c->vgate)};
    const size_t last = c->way == TET_ADJOINT ? (size_t)c->vx.channels : 1;
    for (size_t q = 0; q < last; q += TET_PANEL) {
        aim(&t, c, r, q, y, x);
        const float *b = t.b;
        t.ahead = b;
        for (size_t n = 0, m; n < tet_round(c->n); n += m) {
            m = tile_columns(tet_round(c->n) - n);
            t.b = b + n;
            t.c = c->y + to + n;
            t.bias = c->bias != NULL ? c->bias + r->first : NULL;
            t.gate = c->gate != NULL ? c->gate + gate + n : NULL;
            tiles[q > 0 ? STORE_ADD : epilogue][r->n][m / VL](&t);
            if (finishing && q + TET_PANEL >= last)
                finish_tile(c->finish, &t, r->n, m);
        }
    }
}

static void convolve(const struct tet_convolution *c)
{
    tet_check_convolution(c);
    const bool several = c->way == TET_ADJOINT && c->vx.channels > TET_PANEL;
    enum epilogue epilogue = STORE;
    bool finishing = c->finish != TET_FINISH_NONE;
    if (c->bias != NULL)
        epilogue = STORE_ROW_BIAS;
    if (c->bias != NULL && c->finish == TET_FINISH_RELU) {
        epilogue = STORE_ROW_RELU;
        finishing = false;
    }
    if (c->bias == NULL && c->finish == TET_FINISH_GATE_RELU && !several) {
        epilogue = STORE_GATE_RELU;
        finishing = false;
    }
    const size_t count = row_tiles(c);
    size_t first, last;
    tet_share_range(c->rank, c->vy.rows * count, 1, &first, &last);
    for (size_t i = first; i < last; i++) { // the rows of x that a window spans stay in the cache
        const struct rows r = rows_of(c, i % count);
        for (size_t x = 0; x < c->vy.columns; x++)
            convolve_position(c, &r, epilogue, finishing, i / count, x);
    }
}

/* ---- the drive ---- */

/* DI x DJ sums, DJ vectors of b and one of a fit the registers. */
enum { DI = 4, DJ = VL == 8 ? 3 : 6, SUMS = DI * DJ };

/* sums[j * DI + i][lane] = sum over y, x and blocks of sixteen examples of a(i) b(j) */
struct correlation {
    const float *a;
    size_t a_row;
    const float *b[DJ];
    size_t rows, columns, blocks;
    size_t a_y, a_x, b_y, b_x; // floats from one position to the next
};

INLINE void correlate_body(const int ni, const int nj, const struct correlation *t, size_t lane,
                           float *sums)
{
    vf acc[DI][DJ];
    UNROLL for (int i = 0; i < ni; i++) UNROLL for (int j = 0; j < nj; j++) acc[i][j] = v_set(0.0f);
    const size_t a_row = t->a_row, a_x = t->a_x, b_x = t->b_x;
    const float *b[DJ];
    UNROLL for (int j = 0; j < nj; j++) b[j] = t->b[j] + lane;
    for (size_t y = 0; y < t->rows; y++) {
        const float *a = t->a + lane + y * t->a_y;
        size_t at = y * t->b_y;
        for (size_t x = 0; x < t->columns; x++, a += a_x, at += b_x)
            for (size_t k = 0; k < t->blocks * 16; k += 16) {
                vf bv[DJ];
                UNROLL for (int j = 0; j < nj; j++) bv[j] = v_load(b[j] + at + k);
                UNROLL for (int i = 0; i < ni; i++)
                {
                    const vf av = v_load(a + (size_t)i * a_row + k);
                    UNROLL for (int j = 0; j < nj; j++) acc[i][j] = v_fma(av, bv[j], acc[i][j]);
                }
            }
    }
    UNROLL for (int j = 0; j < nj; j++) UNROLL for (int i = 0; i < ni; i++)
        v_store(sums + (j * DI + i) * 16, acc[i][j]);
}

typedef void correlate_fn(const struct correlation *t, size_t lane, float *sums);

#define CORRELATE(i, j)                                                                            \
    static __attribute__((noinline)) void correlate_##i##_##j(const struct correlation *t,         \
                                                              size_t lane, float *sums)            \
    {                                                                                              \
        correlate_body(i, j, t, lane, sums);                                                       \
    }
#define CORRELATE_NAME(i, j) [j] = correlate_##i##_##j,
#if defined(TET_ISA_AVX2)
#define CORRELATE_WIDTHS(X, i) X(i, 1) X(i, 2) X(i, 3)
#else
#define CORRELATE_WIDTHS(X, i) X(i, 1) X(i, 2) X(i, 3) X(i, 4) X(i, 5) X(i, 6)
#endif
#define CORRELATE_ROW(i) [i] = {CORRELATE_WIDTHS(CORRELATE_NAME, i)},
CORRELATE_WIDTHS(CORRELATE, 1)
CORRELATE_WIDTHS(CORRELATE, 2)
CORRELATE_WIDTHS(CORRELATE, 3)
CORRELATE_WIDTHS(CORRELATE, 4)
static correlate_fn *const correlates[DI + 1][DJ + 1] = {CORRELATE_ROW(1) CORRELATE_ROW(2)
                                                             CORRELATE_ROW(3) CORRELATE_ROW(4)};

/* n things in groups of at most `most`, as even as can be: where group i begins. */
INLINE size_t group_begin(size_t i, size_t n, size_t most)
{
    const size_t groups = (n + most - 1) / most;
    return n * i / groups;
}

/* P's rows in bands of at most DI, which end where a panel ends: the last panel's are even. */
INLINE size_t bands_of(size_t rows)
{
    return (rows + DI - 1) / DI;
}

INLINE size_t band_begin(size_t i, size_t rows)
{
    const size_t full = rows / TET_PANEL * TET_PANEL, rest = rows - full;
    return i * DI <= full ? i * DI : full + group_begin(i - full / DI, rest, DI);
}

/* The columns of P that a tile covers: nj from `column` on, `step` apart. */
struct columns {
    size_t column, n, step;
};

/* Group i of P's columns. Where P's rows are of the fine grid, a tap shifts what the rows meet, so
 * that a tile keeps to one tap. */
INLINE size_t column_groups(const struct tet_convolution_drive *d, const struct tet_packed *p)
{
    const size_t taps = (size_t)d->window->kernel * d->window->kernel;
    return d->fine_rows ? taps * ((p->columns / taps + DJ - 1) / DJ) : (p->columns + DJ - 1) / DJ;
}

INLINE struct columns columns_of(const struct tet_convolution_drive *d, const struct tet_packed *p,
                                 size_t i)
{
    const size_t taps = (size_t)d->window->kernel * d->window->kernel;
    struct columns c = {.step = d->fine_rows ? taps : 1};
    const size_t n = p->columns / c.step, tap = d->fine_rows ? i % taps : 0;
    const size_t group = d->fine_rows ? i / taps : i, first = group_begin(group, n, DJ);
    c.n = group_begin(group + 1, n, DJ) - first;
    c.column = first * c.step + tap;
    return c;
}

/* Where the fine image's channel meets coarse position (0, 0) through tap (ky, kx). */
INLINE const float *fine_at(const struct tet_convolution_drive *d, size_t channel, size_t ky,
                            size_t kx)
{
    const size_t pad = d->vfine.pad - d->window->padding;
    return d->fine + channel * tet_volume_plane(&d->vfine) +
           (ky + pad) * tet_volume_row(&d->vfine) + (kx + pad) * d->vfine.ld;
}

INLINE void aim_drive(struct correlation *t, const struct tet_convolution_drive *d, size_t row,
                      const struct columns *c)
{
    const size_t k = d->window->kernel;
    if (d->fine_rows) {
        t->a = fine_at(d, row, c->column / k % k, c->column % k);
        for (size_t j = 0; j < c->n; j++)
            t->b[j] = d->coarse + tet_volume_at(&d->vcoarse, c->column / (k * k) + j, 0, 0);
        return;
    }
    t->a = d->coarse + tet_volume_at(&d->vcoarse, row, 0, 0);
    for (size_t j = 0; j < c->n; j++) {
        const size_t column = c->column + j;
        t->b[j] = fine_at(d, column / (k * k), column / k % k, column % k);
    }
}

/* P's rows by columns of the tile, changed by the drives: the sums' lanes folded. */
static void change_tile(const struct tet_convolution_drive *d, const struct tet_packed *p,
                        const float *sums, size_t row, size_t ni, const struct columns *c)
{
    enum { LD = (SUMS + 15) / 16 * 16 };
    float lanes[16 * LD];
    transpose(SUMS, 16, sums, 16, lanes, LD, LD);
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half * LD; i += VL)
            v_store(lanes + i, v_load(lanes + i) + v_load(lanes + i + half * LD));
    const size_t width = tet_panel_width(p->rows, row / TET_PANEL * TET_PANEL);
    size_t at = tet_packed_at(p->rows, p->columns, row, c->column);
    for (size_t j = 0; j < c->n; j++, at += c->step * width)
        for (size_t i = 0; i < ni; i++) {
            float *w = p->w + at + i;
            float g = fmaf(-d->decay, *w, lanes[j * DI + i]);
            if (p->v != NULL)
                g = p->v[at + i] = fmaf(d->momentum, p->v[at + i], g);
            *w = fmaf(d->lr, g, *w);
        }
}

static void convolve_drive(const struct tet_convolution_drive *d, const struct tet_packed *p)
{
    tet_check_convolution_drive(d, p);
    const struct tet_window *w = d->window;
    const struct tet_volume *fine = &d->vfine, *coarse = &d->vcoarse;
    const size_t n = tet_round(d->n);
    const size_t fine_y = w->stride * tet_volume_row(fine), fine_x = w->stride * fine->ld;
    const size_t coarse_y = tet_volume_row(coarse), coarse_x = coarse->ld;
    struct correlation t = {.rows = w->out_rows, .columns = w->out_columns, .blocks = n / 16};
    t.a_row = tet_volume_plane(d->fine_rows ? fine : coarse);
    t.a_y = d->fine_rows ? fine_y : coarse_y;
    t.a_x = d->fine_rows ? fine_x : coarse_x;
    t.b_y = d->fine_rows ? coarse_y : fine_y;
    t.b_x = d->fine_rows ? coarse_x : fine_x;
    if (t.a_x == n && t.b_x == n) { // the positions of a row lie one after the other
        t.blocks *= t.columns;
        t.columns = 1;
    }
    const size_t groups = column_groups(d, p), bands = bands_of(p->rows);
    size_t first, last;
    tet_share_range(d->rank, bands * groups, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const size_t row = band_begin(i / groups, p->rows);
        const size_t ni = band_begin(i / groups + 1, p->rows) - row;
        const struct columns c = columns_of(d, p, i % groups);
        float sums[SUMS * 16] = {0};
        aim_drive(&t, d, row, &c);
        for (size_t lane = 0; lane < 16; lane += VL)
            correlates[ni][c.n](&t, lane, sums + lane);
        change_tile(d, p, sums, row, ni, &c);
    }
}

#define CONVOLUTION_KERNELS .convolve = convolve, .convolve_drive = convolve_drive

#endif
