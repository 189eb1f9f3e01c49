// SPDX-License-Identifier: Apache-2.0
/*
 * The matrix products for every vector instruction set: one body, VL from vector.h.
 *
 * All five products are walks over one register tile: MR rows by NV vectors of outputs, accumulated
 * over ascending k,
 *
 *     acc[i][v] = fma(a(i, k), b(k, v), acc[i][v])
 *
 * where a is broadcast from memory (any strides) and b is loaded as vectors. What is done with the
 * finished sums is the tile's epilogue. Weights are read where they live, in panels (kernels.h):
 *
 *     product   tile's rows   vectors along  a(i, k)      b(k, v)      epilogue
 *     forward   examples      rows of P      x[i][k]      panel of P   bias, activation, gate
 *     drive     columns of P  rows of P      x[k][i]      a[k][...]    decay, momentum, update
 *     backward  columns of P  examples       panel of P   st[k][...]   none
 *     gram      rows of A     rows of B      panel of A   panel of B   none
 *     product   rows of A     columns of b   panel of A   b[k][...]    none
 */
#ifndef CORE_KERNELS_PRODUCTS_H
#define CORE_KERNELS_PRODUCTS_H

#include "kernels/elementwise.h"

/* MR x NV accumulators, NV vectors of b and one of a fit the registers: 32 of AVX-512 and NEON, 16
 * of AVX2. */
enum { MR = 6, NV = VL == 8 ? 2 : 4, NR = NV * VL };

struct tile {
    const float *a; // a(i, k) = a[i * a_row + k * a_k]
    size_t a_row, a_k;
    size_t segments,
        a_segment; // k runs over `segments` stretches of `depth`, `a_segment` apart in a; b goes on
    size_t depth;
    const float *b; // b(k, v) = b[k * b_k + v * VL ...]
    size_t b_k;
    float *c; // outputs: c[i * c_row + ...]
    size_t c_row;
    const float *bias; // forward
    const float *gate; // forward, as c
    float *v;          // drive: velocity, as c
    float lr, decay, momentum;
};

enum epilogue {
    STORE,
    STORE_ADD,
    STORE_BIAS,
    STORE_RELU,
    STORE_GATE_RELU,
    UPDATE,
    UPDATE_MOMENTUM,
    EPILOGUES
};

INLINE void tile_body(const int mr, const int nv, const enum epilogue epilogue,
                      const struct tile *t)
{
    vf acc[MR][NV];
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) acc[i][v] =
        epilogue == STORE_ADD ? v_load(t->c + (size_t)i * t->c_row + v * VL) : v_set(0.0f);
    if (epilogue == UPDATE || epilogue == UPDATE_MOMENTUM)
        UNROLL for (int i = 0; i < mr; i++) for (int at = 0; at < nv * VL; at += 16)
        {
            __builtin_prefetch(t->c + (size_t)i * t->c_row + at, 1);
            if (epilogue == UPDATE_MOMENTUM)
                __builtin_prefetch(t->v + (size_t)i * t->c_row + at, 1);
        }
    const size_t a_row = t->a_row, a_k = t->a_k, b_k = t->b_k;
    const float *b = t->b, *segment = t->a;
    for (size_t s = 0; s < t->segments; s++, segment += t->a_segment) {
        const float *a = segment;
        for (size_t k = 0; k < t->depth; k++, a += a_k, b += b_k) {
            vf bv[NV];
            UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(b + v * VL);
            UNROLL for (int i = 0; i < mr; i++)
            {
                vf av = v_set(a[(size_t)i * a_row]);
                UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(av, bv[v], acc[i][v]);
            }
        }
    }
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++)
    {
        float *c = t->c + (size_t)i * t->c_row + v * VL;
        vf y = acc[i][v];
        if (epilogue == UPDATE || epilogue == UPDATE_MOMENTUM) {
            vf w = v_load(c);
            y = v_fma(v_set(-t->decay), w, y);
            if (epilogue == UPDATE_MOMENTUM) {
                float *velocity = t->v + (size_t)i * t->c_row + v * VL;
                y = v_fma(v_set(t->momentum), v_load(velocity), y);
                v_store(velocity, y);
            }
            y = v_fma(v_set(t->lr), y, w);
        }
        if (epilogue == STORE_BIAS || epilogue == STORE_RELU)
            y = y + v_load(t->bias + v * VL);
        if (epilogue == STORE_RELU)
            y = phi_relu(y);
        if (epilogue == STORE_GATE_RELU)
            y = gate_relu(y, v_load(t->gate + (size_t)i * t->c_row + v * VL));
        v_store(c, y);
    }
}

typedef void tile_fn(const struct tile *t);

/* One function for each height, width and epilogue; tiles[epilogue][mr][nv]. */
#define TILE(E, m, v)                                                                              \
    static __attribute__((noinline)) void tile_##E##_##m##_##v(const struct tile *t)               \
    {                                                                                              \
        tile_body(m, v, E, t);                                                                     \
    }
#define TILE_NAME(E, m, v) [v] = tile_##E##_##m##_##v,
#if defined(TET_ISA_AVX512)
#define WIDTHS(X, E, m) X(E, m, 1) X(E, m, 2) X(E, m, 3) X(E, m, 4)
#elif defined(TET_ISA_AVX2)
#define WIDTHS(X, E, m) X(E, m, 2)
#else
#define WIDTHS(X, E, m) X(E, m, 4)
#endif
#define TILES(E)                                                                                   \
    WIDTHS(TILE, E, 1)                                                                             \
    WIDTHS(TILE, E, 2) WIDTHS(TILE, E, 3) WIDTHS(TILE, E, 4) WIDTHS(TILE, E, 5) WIDTHS(TILE, E, 6)
#define ROW(E, m) [m] = {WIDTHS(TILE_NAME, E, m)},
#define TABLE(E)  [E] = {ROW(E, 1) ROW(E, 2) ROW(E, 3) ROW(E, 4) ROW(E, 5) ROW(E, 6)},
#define EVERY(X)                                                                                   \
    X(STORE)                                                                                       \
    X(STORE_ADD) X(STORE_BIAS) X(STORE_RELU) X(STORE_GATE_RELU) X(UPDATE) X(UPDATE_MOMENTUM)

EVERY(TILES)
static tile_fn *const tiles[EPILOGUES][MR + 1][NV + 1] = {EVERY(TABLE)};

/* n rows in tiles of at most MR, the last two of nearly equal height: how many tiles, and where one
 * begins. */
INLINE size_t tile_count(size_t n)
{
    return (n + MR - 1) / MR;
}

INLINE size_t tile_begin(size_t i, size_t n)
{
    const size_t count = tile_count(n);
    if (i + 1 < count || count < 2)
        return i < count ? i * MR : n;
    const size_t two = (count - 2) * MR; // where the last two begin
    return i == count ? n : two + (n - two + 1) / 2;
}

INLINE size_t tile_columns(size_t rest)
{
    return rest < NR ? rest : NR;
}

static enum epilogue forward_epilogue(const struct tet_forward *f)
{
    if (f->finish == TET_FINISH_RELU && f->bias != NULL)
        return STORE_RELU;
    if (f->finish == TET_FINISH_GATE_RELU && f->bias == NULL)
        return STORE_GATE_RELU;
    return f->bias != NULL ? STORE_BIAS : STORE;
}

/* The finishes that are too long for a tile's epilogue, over the tile just stored. */
static void finish_tile(const struct tet_forward *f, size_t n, size_t m, size_t r, size_t width)
{
    for (size_t i = n; i < n + m; i++)
        for (size_t c = r; c < r + width; c += VL) {
            float *y = f->y + i * f->ldy + c;
            vf z = v_load(y);
            if (f->finish == TET_FINISH_TANH)
                v_store(y, v_tanh(z));
            else if (f->finish == TET_FINISH_GATE_TANH)
                v_store(y, gate_tanh(z, v_load(f->gate + i * f->ldy + c)));
            else if (f->finish == TET_FINISH_GATE_RELU)
                v_store(y, gate_relu(z, v_load(f->gate + i * f->ldy + c)));
            else
                v_store(y, phi_relu(z));
        }
}

/* The tiles of a product lie in a grid, panels by rows; a rank computes a stretch of them, panel
 * after panel, so that a panel's weights stay in its cache. */
struct stretch {
    size_t first, last; // tiles
    size_t rows, tiles; // rows of a panel's side, and the tiles that they make
};

INLINE struct stretch stretch_of(const struct tet_rank *rank, size_t panels, size_t rows)
{
    struct stretch s = {.rows = rows, .tiles = tile_count(rows)};
    tet_share(rank, panels * s.tiles, 1, &s.first, &s.last);
    return s;
}

static void forward(const struct tet_forward *f)
{
    const size_t columns = f->p->columns;
    const enum epilogue epilogue = forward_epilogue(f);
    const bool finishing = f->finish == TET_FINISH_TANH || f->finish == TET_FINISH_GATE_TANH ||
                           (f->finish == TET_FINISH_RELU && f->bias == NULL) ||
                           (f->finish == TET_FINISH_GATE_RELU && f->bias != NULL);
    const struct stretch s = stretch_of(f->rank, tet_panels(f->p->rows), f->n);
    for (size_t i = s.first; i < s.last; i++) {
        const size_t panel = i / s.tiles * TET_PANEL, width = tet_panel_width(f->p->rows, panel);
        const size_t n = tile_begin(i % s.tiles, s.rows),
                     m = tile_begin(i % s.tiles + 1, s.rows) - n;
        for (size_t at = 0, w; at < width; at += w) {
            w = tile_columns(width - at);
            const size_t r = panel + at, y = n * f->ldy + r;
            struct tile t = {.a = f->x + n * f->ldx,
                             .a_row = f->ldx,
                             .a_k = 1,
                             .segments = 1,
                             .depth = columns,
                             .b = f->p->w + panel * columns + at,
                             .b_k = width,
                             .c = f->y + y,
                             .c_row = f->ldy,
                             .bias = f->bias != NULL ? f->bias + r : NULL,
                             .gate = f->gate != NULL ? f->gate + y : NULL};
            tiles[epilogue][m][w / VL](&t);
            if (finishing)
                finish_tile(f, n, m, r, w);
        }
    }
}

static void drive(const struct tet_drive *d, const struct tet_packed *p)
{
    const size_t columns = p->columns;
    const enum epilogue epilogue = p->v != NULL ? UPDATE_MOMENTUM : UPDATE;
    const struct stretch s = stretch_of(d->rank, tet_panels(p->rows), columns);
    for (size_t k = s.first; k < s.last; k++) {
        const size_t panel = k / s.tiles * TET_PANEL, width = tet_panel_width(p->rows, panel);
        const size_t c = tile_begin(k % s.tiles, s.rows),
                     m = tile_begin(k % s.tiles + 1, s.rows) - c;
        for (size_t at = 0, w; at < width; at += w) {
            w = tile_columns(width - at);
            const size_t i = panel * columns + c * width + at;
            struct tile t = {.a = d->x + c,
                             .a_row = 1,
                             .a_k = d->ldx,
                             .segments = 1,
                             .depth = d->n,
                             .b = d->a + panel + at,
                             .b_k = d->lda,
                             .c = p->w + i,
                             .c_row = width,
                             .v = p->v != NULL ? p->v + i : NULL,
                             .lr = d->lr,
                             .decay = d->decay,
                             .momentum = d->momentum};
            tiles[epilogue][m][w / VL](&t);
        }
    }
}

static void backward(const struct tet_rank *rank, const struct tet_packed *p, size_t n,
                     const float *st, size_t ldst, float *yt, size_t ldyt)
{
    const size_t full = p->rows / TET_PANEL, columns = p->columns;
    const size_t rest = p->rows - full * TET_PANEL; // rows in the last, narrower panel
    const struct stretch s = stretch_of(rank, 1, columns);
    for (size_t at = 0, w; at < tet_round(n); at += w) {
        w = tile_columns(tet_round(n) - at);
        for (size_t i = s.first; i < s.last; i++) {
            const size_t c = tile_begin(i, columns), m = tile_begin(i + 1, columns) - c;
            struct tile t = {.a = p->w + c * TET_PANEL,
                             .a_row = TET_PANEL,
                             .a_k = 1,
                             .segments = full,
                             .a_segment = columns * TET_PANEL,
                             .depth = TET_PANEL,
                             .b = st + at,
                             .b_k = ldst,
                             .c = yt + c * ldyt + at,
                             .c_row = ldyt};
            if (full > 0)
                tiles[STORE][m][w / VL](&t);
            if (rest > 0) {
                const size_t width = tet_panel_width(p->rows, full * TET_PANEL);
                t.a = p->w + full * TET_PANEL * columns + c * width;
                t.a_row = width;
                t.segments = 1;
                t.depth = rest;
                t.b = st + full * TET_PANEL * ldst + at;
                tiles[full > 0 ? STORE_ADD : STORE][m][w / VL](&t);
            }
        }
    }
}

/* Rows r0.. of packed A times b: vectors of b at `b`, stride b_k, nc of them. */
static void panel_rows(const struct tet_packed *a, size_t r0, const float *b, size_t b_k, size_t nc,
                       float *out, size_t ldo)
{
    const size_t width = tet_panel_width(a->rows, r0);
    const size_t rows = a->rows - r0 < TET_PANEL ? a->rows - r0 : TET_PANEL;
    for (size_t i = 0; i < tile_count(rows); i++) {
        const size_t r = tile_begin(i, rows), m = tile_begin(i + 1, rows) - r;
        for (size_t at = 0, w; at < nc; at += w) {
            w = tile_columns(nc - at);
            struct tile t = {.a = a->w + r0 * a->columns + r,
                             .a_row = 1,
                             .a_k = width,
                             .segments = 1,
                             .depth = a->columns,
                             .b = b + at,
                             .b_k = b_k,
                             .c = out + r * ldo + at,
                             .c_row = ldo};
            tiles[STORE][m][w / VL](&t);
        }
    }
}

static void panel_gram(const struct tet_packed *a, size_t r0, const struct tet_packed *b,
                       float *out, size_t ldo)
{
    for (size_t panel = 0; panel < tet_round(b->rows); panel += TET_PANEL) {
        const size_t width = tet_panel_width(b->rows, panel);
        panel_rows(a, r0, b->w + panel * b->columns, width, width, out + panel, ldo);
    }
}

static void panel_product(const struct tet_packed *a, size_t r0, const float *b, size_t ldb,
                          size_t nc, float *out, size_t ldo)
{
    panel_rows(a, r0, b, ldb, nc, out, ldo);
}

#define PRODUCT_KERNELS                                                                            \
    .forward = forward, .backward = backward, .drive = drive, .panel_gram = panel_gram,            \
    .panel_product = panel_product

#endif
