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

#include "kernels/volumes.h"

/* MR x NV accumulators, NV vectors of b and one of a fit the registers: 32 of AVX-512 and NEON, 16
 * of AVX2. */
enum { MR = 6, NV = VL == 8 ? 2 : 4, NR = NV * VL };

/* k runs over a nest of three loops, the innermost last; `a` and `b` are the floats from one turn to
 * the next, and `ahead` those of a stretch of memory that is wanted soon. */
struct turns {
    size_t n;
    ptrdiff_t a, b, ahead;
};

#define ONE_LOOP(n, a, b, ahead)                                                                   \
    {                                                                                              \
        {1, 0, 0, 0}, {1, 0, 0, 0},                                                                \
        {                                                                                          \
            n, (ptrdiff_t)(a), (ptrdiff_t)(b), ahead                                               \
        }                                                                                          \
    }

struct tile {
    const float *a; // a(i, k) = a[i * a_row + what k adds]
    size_t a_row;
    const float *b; // b(k, v) = b[v * VL + what k adds ...]
    struct turns k[3];
    const float *ahead; // fetched into the second cache meanwhile
    float *c;           // outputs: c[i * c_row + ...]
    size_t c_row;
    const float *bias; // along the vectors, or one for each row
    const float *gate; // as c, with a stride of its own
    size_t gate_row;
    float *v; // drive: velocity, as c
    float lr, minus_decay, momentum;
};

enum epilogue {
    STORE,
    STORE_ADD, // to what is there already
    STORE_BIAS,
    STORE_RELU,
    STORE_ROW_BIAS, // bias[i] for row i
    STORE_ROW_RELU,
    STORE_GATE_RELU,
    EPILOGUES
};

/* One vector of weights, and of velocities, by its drive. */
INLINE void update(const bool momentum, const struct tile *t, vf drive, float *w, float *v)
{
    const vf old = v_load(w);
    drive = v_fma(v_set(t->minus_decay), old, drive);
    if (momentum) {
        drive = v_fma(v_set(t->momentum), v_load(v), drive);
        v_store(v, drive);
    }
    v_store(w, v_fma(v_set(t->lr), drive, old));
}

INLINE void store_rows(const int mr, const int nv, const enum epilogue epilogue, vf acc[MR][NV],
                       const struct tile *t)
{
    const size_t row = t->c_row, gate_row = t->gate_row;
    const float *gate = t->gate, *bias = t->bias;
    float *c = t->c;
    UNROLL for (int i = 0; i < mr; i++, c += row)
    {
        UNROLL for (int v = 0; v < nv; v++)
        {
            vf y = acc[i][v];
            if (epilogue == STORE_BIAS || epilogue == STORE_RELU)
                y = y + v_load(bias + v * VL);
            if (epilogue == STORE_ROW_BIAS || epilogue == STORE_ROW_RELU)
                y = y + v_set(bias[i]);
            if (epilogue == STORE_RELU || epilogue == STORE_ROW_RELU)
                y = phi_relu(y);
            if (epilogue == STORE_GATE_RELU)
                y = gate_relu(y, v_load(gate + v * VL));
            v_store(c + v * VL, y);
        }
        if (epilogue == STORE_GATE_RELU)
            gate += gate_row;
    }
}

/* One k: a broadcast value of each row times the vectors of b. */
INLINE void multiply_add(const int mr, const int nv, vf acc[MR][NV], const float *a, size_t a_row,
                         const float *b)
{
    vf bv[NV];
    UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(b + v * VL);
    UNROLL for (int i = 0; i < mr; i++)
    {
        const vf av = v_set(a[(size_t)i * a_row]);
        UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(av, bv[v], acc[i][v]);
    }
}

INLINE void tile_body(const int mr, const int nv, const enum epilogue epilogue,
                      const struct tile *t)
{
    const struct turns k0 = t->k[0], k1 = t->k[1], k2 = t->k[2];
    const size_t a_row = t->a_row;
    const float *a0 = t->a, *b0 = t->b, *ahead0 = t->ahead;
    vf acc[MR][NV];
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) acc[i][v] =
        epilogue == STORE_ADD ? v_load(t->c + (size_t)i * t->c_row + v * VL) : v_set(0.0f);
    for (size_t i0 = 0; i0 < k0.n; i0++, a0 += k0.a, b0 += k0.b, ahead0 += k0.ahead) {
        const float *a1 = a0, *b1 = b0, *ahead = ahead0;
        for (size_t i1 = 0; i1 < k1.n; i1++, a1 += k1.a, b1 += k1.b) {
            const float *a = a1, *b = b1;
            for (size_t i2 = 0; i2 < k2.n; i2++, a += k2.a, b += k2.b, ahead += k2.ahead) {
                multiply_add(mr, nv, acc, a, a_row, b);
                __builtin_prefetch(ahead, 0, 2);
            }
        }
    }
    store_rows(mr, nv, epilogue, acc, t);
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
    X(STORE_ADD)                                                                                   \
    X(STORE_BIAS)                                                                                  \
    X(STORE_RELU)                                                                                  \
    X(STORE_ROW_BIAS) X(STORE_ROW_RELU) X(STORE_GATE_RELU)

EVERY(TILES)
static tile_fn *const tiles[EPILOGUES][MR + 1][NV + 1] = {EVERY(TABLE)};

/* ---- the drive's tile ----
 *
 * Its epilogue reads and writes weights and velocities, which takes longer than the processor can
 * hide behind the last of the multiplications. So where a tile is as wide as a panel, and its
 * weights lie in one piece, its drives wait in the nearest cache, and every k of the next tile
 * changes one vector of weights by them. */

enum { DEFERS = (int)NR == (int)TET_PANEL };

struct pending {
    _Alignas(64) float drive[DEFERS ? MR * NR : 1];
    float *w, *v; // of vector 0
    size_t n;     // vectors
};

INLINE void update_pending(const bool momentum, const struct tile *t, const struct pending *p,
                           size_t i)
{
    update(momentum, t, v_load(p->drive + i * VL), p->w + i * VL, p->v + (momentum ? i * VL : 0));
}

/* `count` tiles, one below the other. */
INLINE void drive_body(const int mr, const int nv, const bool momentum, const struct tile *t,
                       size_t count, struct pending *p)
{
    const size_t n = t->k[2].n, a_k = (size_t)t->k[2].a, b_k = (size_t)t->k[2].b;
    const float *a0 = t->a;
    float *w = t->c, *velocity = t->v;
    size_t vectors = p->n;
    for (; count > 0; count--, a0 += mr, w += (size_t)mr * t->c_row) {
        const size_t both = n < vectors ? n : vectors;
        const float *a = a0, *b = t->b;
        vf acc[MR][NV];
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) acc[i][v] =
            v_set(0.0f);
        size_t k = 0;
        for (; DEFERS && k < both; k++, a += a_k, b += b_k) {
            multiply_add(mr, nv, acc, a, 1, b);
            __builtin_prefetch(a + TET_LANES, 0, 2); // of the tile after the next
            update_pending(momentum, t, p, k);
            __builtin_prefetch(w + k * VL, 1); // for the next tile
            if (momentum)
                __builtin_prefetch(velocity + k * VL, 1);
        }
        for (; k < n; k++, a += a_k, b += b_k) {
            multiply_add(mr, nv, acc, a, 1, b);
            __builtin_prefetch(a + TET_LANES, 0, 2);
        }
        for (k = both; DEFERS && k < vectors; k++)
            update_pending(momentum, t, p, k);
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++)
        {
            const size_t at = (size_t)i * t->c_row + (size_t)v * VL;
            if (DEFERS)
                v_store(p->drive + (i * nv + v) * VL, acc[i][v]);
            else
                update(momentum, t, acc[i][v], w + at, velocity + (momentum ? at : 0));
        }
        p->w = w;
        p->v = velocity;
        vectors = DEFERS ? (size_t)(mr * nv) : 0;
        velocity += momentum ? (size_t)mr * t->c_row : 0;
    }
    p->n = vectors;
}

typedef void drive_fn(const struct tile *t, size_t count, struct pending *p);

#define DRIVE(MOMENTUM, m, v)                                                                      \
    static __attribute__((noinline)) void drive_##MOMENTUM##_##m##_##v(                            \
        const struct tile *t, size_t count, struct pending *p)                                     \
    {                                                                                              \
        drive_body(m, v, MOMENTUM, t, count, p);                                                   \
    }
#define DRIVE_NAME(MOMENTUM, m, v) [v] = drive_##MOMENTUM##_##m##_##v,
#define DRIVES(MOMENTUM)                                                                           \
    WIDTHS(DRIVE, MOMENTUM, 1)                                                                     \
    WIDTHS(DRIVE, MOMENTUM, 2)                                                                     \
    WIDTHS(DRIVE, MOMENTUM, 3)                                                                     \
    WIDTHS(DRIVE, MOMENTUM, 4) WIDTHS(DRIVE, MOMENTUM, 5) WIDTHS(DRIVE, MOMENTUM, 6)
#define DRIVE_ROW(MOMENTUM, m) [m] = {WIDTHS(DRIVE_NAME, MOMENTUM, m)},
#define DRIVE_TABLE(MOMENTUM)                                                                      \
    [MOMENTUM] = {DRIVE_ROW(MOMENTUM, 1) DRIVE_ROW(MOMENTUM, 2) DRIVE_ROW(MOMENTUM, 3)             \
                      DRIVE_ROW(MOMENTUM, 4) DRIVE_ROW(MOMENTUM, 5) DRIVE_ROW(MOMENTUM, 6)},

DRIVES(0)
DRIVES(1)
static drive_fn *const drives[2][MR + 1][NV + 1] = {DRIVE_TABLE(0) DRIVE_TABLE(1)};

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
static void finish_tile(enum tet_finish finish, const struct tile *t, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < width; c += VL) {
            float *y = t->c + i * t->c_row + c;
            vf z = v_load(y);
            if (finish == TET_FINISH_TANH)
                v_store(y, v_tanh(z));
            else if (finish == TET_FINISH_GATE_TANH)
                v_store(y, gate_tanh(z, v_load(t->gate + i * t->gate_row + c)));
            else if (finish == TET_FINISH_GATE_RELU)
                v_store(y, gate_relu(z, v_load(t->gate + i * t->gate_row + c)));
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

INLINE struct stretch stretch_of(const struct tet_share *rank, size_t panels, size_t rows)
{
    struct stretch s = {.rows = rows, .tiles = tile_count(rows)};
    tet_share_range(rank, panels * s.tiles, 1, &s.first, &s.last);
    return s;
}

/* The last tiles of a panel fetch the next one, a line of sixteen floats for each k: the part for
 * the tile with `left` more to come, or NULL. */
INLINE const float *next_panel(const struct tet_packed *p, size_t panel, size_t left)
{
    const size_t next = panel + TET_PANEL;
    if (next >= p->rows || left >= tet_panel_width(p->rows, next) / TET_LANES)
        return NULL;
    return p->w + next * p->columns + left * p->columns * TET_LANES;
}

static void forward(const struct tet_forward *f)
{
    tet_check_forward(f);
    const size_t columns = f->p->columns;
    const enum epilogue epilogue = forward_epilogue(f);
    const bool finishing = f->finish == TET_FINISH_TANH || f->finish == TET_FINISH_GATE_TANH ||
                           (f->finish == TET_FINISH_RELU && f->bias == NULL) ||
                           (f->finish == TET_FINISH_GATE_RELU && f->bias != NULL);
    const struct stretch s = stretch_of(f->rank, tet_panels(f->p->rows), f->n);
    for (size_t i = s.first; i < s.last; i++) {
        const size_t panel = i / s.tiles * TET_PANEL, width = tet_panel_width(f->p->rows, panel);
        const float *ahead = next_panel(f->p, panel, s.tiles - i % s.tiles - 1);
        const size_t n = tile_begin(i % s.tiles, s.rows),
                     m = tile_begin(i % s.tiles + 1, s.rows) - n;
        for (size_t at = 0, w; at < width; at += w) {
            w = tile_columns(width - at);
            const size_t r = panel + at, y = n * f->ldy + r;
            struct tile t = {.a = f->x + n * f->ldx,
                             .a_row = f->ldx,
                             .b = f->p->w + panel * columns + at,
                             .k = ONE_LOOP(columns, 1, width, ahead != NULL ? TET_LANES : 0),
                             .ahead = ahead != NULL ? ahead : f->x,
                             .c = f->y + y,
                             .c_row = f->ldy,
                             .bias = f->bias != NULL ? f->bias + r : NULL,
                             .gate = f->gate != NULL ? f->gate + y : NULL,
                             .gate_row = f->ldy};
            tiles[epilogue][m][w / VL](&t);
            if (finishing)
                finish_tile(f->finish, &t, m, w);
        }
    }
}

/* How many tiles from the k-th on are as high as it is and in one panel: all but the last two of a
 * panel are. */
INLINE size_t alike(const struct stretch *s, size_t k)
{
    const size_t panel = k / s->tiles * s->tiles, last = panel + s->tiles;
    const size_t full = s->tiles > 2 ? last - 2 : panel, end = full < s->last ? full : s->last;
    return k < end ? end - k : 1;
}

static void drive(const struct tet_drive *d, const struct tet_packed *p)
{
    tet_check_drive(d, p);
    const size_t columns = p->columns;
    const bool momentum = p->v != NULL;
    const struct stretch s = stretch_of(d->rank, tet_panels(p->rows), columns);
    struct pending pending = {.n = 0};
    struct tile t = {.a_row = 1,
                     .k = ONE_LOOP(d->n, d->ldx, d->lda, 0),
                     .lr = d->lr,
                     .minus_decay = -d->decay,
                     .momentum = d->momentum};
    for (size_t k = s.first, count; k < s.last; k += count) {
        const size_t panel = k / s.tiles * TET_PANEL, width = tet_panel_width(p->rows, panel);
        const size_t c = tile_begin(k % s.tiles, s.rows);
        const size_t m = tile_begin(k % s.tiles + 1, s.rows) - c;
        count = alike(&s, k);
        for (size_t at = 0, w; at < width; at += w) {
            w = tile_columns(width - at);
            const size_t i = panel * columns + c * width + at;
            t.a = d->x + c;
            t.b = d->a + panel + at;
            t.c = p->w + i;
            t.c_row = width;
            t.v = momentum ? p->v + i : NULL;
            drives[momentum][m][w / VL](&t, count, &pending);
        }
    }
    for (size_t i = 0; i < pending.n; i++)
        if (momentum)
            update_pending(true, &t, &pending, i);
        else
            update_pending(false, &t, &pending, i);
}

static void backward(const struct tet_share *rank, const struct tet_packed *p, size_t n,
                     const float *st, size_t ldst, float *yt, size_t ldyt)
{
    tet_check_backward(p, n, st, ldst, yt, ldyt);
    const size_t full = p->rows / TET_PANEL, columns = p->columns;
    const size_t rest = p->rows - full * TET_PANEL; // rows in the last, narrower panel
    const struct stretch s = stretch_of(rank, 1, columns);
    const ptrdiff_t panel = (ptrdiff_t)(columns * TET_PANEL);
    const size_t blocks = (tet_round(n) + NR - 1) / NR, count = s.last - s.first;
    /* Few examples: their signals stay in the cache, and the weights are read once. Many: one block
     * of signals stays, and the weights are read for each block. */
    const bool few = blocks <= TET_PANEL / NR * 2;
    for (size_t j = 0; j < count * blocks; j++) {
        const size_t i = s.first + (few ? j / blocks : j % count);
        const size_t at = NR * (few ? j % blocks : j / count);
        const size_t w = tile_columns(tet_round(n) - at);
        const size_t c = tile_begin(i, columns), m = tile_begin(i + 1, columns) - c;
        const size_t next = i + 1 < s.last ? c + m : c; // whose weights are fetched meanwhile
        struct tile t = {.a = p->w + c * TET_PANEL,
                         .a_row = TET_PANEL,
                         .b = st + at,
                         .k = {{full, panel, (ptrdiff_t)(TET_PANEL * ldst), panel},
                               {1, 0, 0, 0},
                               {TET_PANEL, 1, (ptrdiff_t)ldst, (ptrdiff_t)m}},
                         .ahead = p->w + next * TET_PANEL,
                         .c = yt + c * ldyt + at,
                         .c_row = ldyt};
        if (full > 0)
            tiles[STORE][m][w / VL](&t);
        if (rest > 0) {
            const size_t width = tet_panel_width(p->rows, full * TET_PANEL);
            t.a = p->w + full * TET_PANEL * columns + c * width;
            t.a_row = width;
            t.k[0].n = 1;
            t.k[2].n = rest;
            t.k[2].ahead = 0;
            t.b = st + full * TET_PANEL * ldst + at;
            t.ahead = t.b;
            tiles[full > 0 ? STORE_ADD : STORE][m][w / VL](&t);
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
                             .b = b + at,
                             .ahead = b + at,
                             .k = ONE_LOOP(a->columns, width, b_k, 0),
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
