// SPDX-License-Identifier: Apache-2.0
/*
 * Kernels: the arithmetic of the core, once per instruction set, equal to the bit on all of them.
 *
 * Letters:  N  examples of a mini-batch (rows of an activity)
 *           R  rows of a weight matrix: the neurons that it leads to
 *           C  columns: the neurons that it comes from
 *
 * The contract that makes results independent of the machine (scalar.c states it as plain loops):
 *  - a matrix product accumulates each output over ascending k by fused multiply-add from +0 on;
 *  - a sum of many values runs over 16 lanes: value i goes to lane i mod 16, lanes add in ascending
 *    i, then lane i takes in lane i+8, i+4, i+2, i+1;
 *  - exp, log and tanh are the polynomials of math.h in this folder;
 *  - everything else is one rounding per written operation (-ffp-contract=off).
 * Where the reference yields NaN the others do too; payloads are not promised.
 *
 * Layouts. An activity is row-major (N, D) with a row stride `ld` (tet_stride) of at least D
 * rounded up to 16; columns from D on exist and hold zeros. A weight matrix (R, C) is *packed*:
 * panels of 64 rows, in each panel C groups of the 64 values of one column; the last panel is as
 * narrow as R rounded up to 16 allows. Rows from R on hold zeros.
 */
#ifndef CORE_KERNELS_H
#define CORE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/plan.h>

#include "team.h"

enum { TET_LANES = 16, TET_PANEL = 64 };

static inline size_t tet_round(size_t n) // up to whole vectors
{
    return (n + TET_LANES - 1) / TET_LANES * TET_LANES;
}

static inline size_t tet_round_bytes(size_t bytes) // up to whole cache lines
{
    return (bytes + 63) / 64 * 64;
}

/* Row stride of an activity: an odd number of cache lines, so that the rows of a tile never share a
 * cache set. */
static inline size_t tet_stride(size_t d)
{
    size_t n = tet_round(d);
    return n / TET_LANES % 2 == 0 ? n + TET_LANES : n;
}

struct tet_packed {
    uint32_t rows, columns; // R, C
    float *w;               // packed
    float *v;               // velocity, packed alike; NULL without momentum
};

static inline size_t tet_packed_floats(size_t rows, size_t columns)
{
    return tet_round(rows) * columns;
}

static inline size_t tet_panels(size_t rows)
{
    return (rows + TET_PANEL - 1) / TET_PANEL;
}

/* Width of the panel that begins at row r (a multiple of 64). */
static inline size_t tet_panel_width(size_t rows, size_t r)
{
    size_t rest = tet_round(rows) - r;
    return rest < TET_PANEL ? rest : TET_PANEL;
}

static inline size_t tet_packed_at(size_t rows, size_t columns, size_t r, size_t c)
{
    size_t panel = r / TET_PANEL * TET_PANEL;
    return panel * columns + c * tet_panel_width(rows, panel) + (r - panel);
}

/*
 * Images. A volume (C, H, W, N) holds N examples of C channels of H x W positions, the examples
 * innermost, so that a vector holds one position of sixteen examples and neither narrow layers nor
 * strides waste lanes. `pad` rings of zeros surround each channel's image: what a window with that
 * padding looks at. A dense activity is not a volume; flattened, a volume is (N, C * H * W) in the
 * order of PyTorch.
 */
struct tet_volume {
    uint32_t channels, rows, columns, pad; // C, H, W
    size_t ld;                             // floats from one position to the next: N rounded up
};

static inline size_t tet_volume_row(const struct tet_volume *v) // floats from one row to the next
{
    return ((size_t)v->columns + 2 * (size_t)v->pad) * v->ld;
}

/* Floats from one channel to the next: an odd number of positions, so that the channels of a tile
 * do not share cache sets. */
static inline size_t tet_volume_plane(const struct tet_volume *v)
{
    const size_t pad = 2 * (size_t)v->pad;
    return ((v->rows + pad) * (v->columns + pad) | 1) * v->ld;
}

static inline size_t tet_volume_floats(const struct tet_volume *v)
{
    return v->channels * tet_volume_plane(v);
}

/* Where example 0 of channel c at (y, x) of the image proper lies. */
static inline size_t tet_volume_at(const struct tet_volume *v, size_t c, size_t y, size_t x)
{
    return c * tet_volume_plane(v) + (y + v->pad) * tet_volume_row(v) + (x + v->pad) * v->ld;
}

/* A square window that slides over an image: a convolution's or a pooling's. The *fine* grid
 * (rows, columns) is what it looks at, the *coarse* grid (out_rows, out_columns) has a position for
 * each place that it stops at. Tap (ky, kx) of the coarse (oy, ox) is the fine
 * (oy * stride + ky - padding, ox * stride + kx - padding), zero outside the image. */
struct tet_window {
    uint32_t kernel, stride, padding;
    uint32_t rows, columns, out_rows, out_columns;
};

/* Which way a convolution's matrix P (R, C * K * K) is used; its columns are (channel, ky, kx). */
enum tet_way {
    TET_CONVOLVE,   // coarse y (R) = P fine x (C): the ascending stream
    TET_TRANSPOSED, // fine y (R) = P coarse x (C): the descending stream by a kernel of its own
    TET_ADJOINT     // fine y (C) = P^T coarse x (R): the gradient of TET_CONVOLVE
};

/* What follows a forward product before it is stored. */
enum tet_finish {
    TET_FINISH_NONE,
    TET_FINISH_RELU, // 0 > y ? 0 : y, so that NaN stays
    TET_FINISH_TANH,
    TET_FINISH_GATE_RELU, // gate > 0 ? y : 0     (gate: the activity x = phi(z))
    TET_FINISH_GATE_TANH  // y * (1 - gate^2)
};

struct tet_forward {
    const struct tet_share *rank; // whose share of the tiles to compute
    size_t n;
    const float *x; // (N, C), stride ldx
    size_t ldx;
    const struct tet_packed *p; // (R, C)
    const float *bias;          // (R rounded up), added once after the product; NULL: none
    enum tet_finish finish;
    const float *gate; // (N, R), stride ldy
    float *y;          // (N, R), stride ldy
    size_t ldy;
};

struct tet_drive {
    const struct tet_share *rank;
    size_t n;
    const float *a; // (N, R), stride lda
    size_t lda;
    const float *x; // (N, C), stride ldx
    size_t ldx;
    float lr, decay, momentum;
};

struct tet_convolution {
    const struct tet_share *rank;
    enum tet_way way;
    size_t n; // examples; columns up to n rounded up are computed
    const struct tet_window *window;
    const struct tet_packed *p;
    const float *x;
    struct tet_volume vx; // fine and looked at: its pad at least the window's padding
    const float *bias;    // (R rounded up), one for each channel; NULL: none. TET_CONVOLVE only
    enum tet_finish finish;
    const float *gate; // grid and channels of y
    struct tet_volume vgate;
    float *y;
    struct tet_volume vy;
};

struct tet_convolution_drive {
    const struct tet_share *rank;
    size_t n;
    const struct tet_window *window;
    bool fine_rows; // P (fine channels, coarse channels * K * K), as of a descending kernel;
                    // otherwise P (coarse channels, fine channels * K * K)
    const float *coarse;
    struct tet_volume vcoarse;
    const float *fine; // its pad at least the window's padding
    struct tet_volume vfine;
    float lr, decay, momentum;
};

/* Pooling: windows over each channel of fine `a` make coarse `x`. The volumes of a and s agree in
 * everything; those of x and above in all but pad. */
struct tet_pooling {
    const struct tet_share *rank;
    size_t n;                        // columns up to n rounded up are computed
    const struct tet_window *window; // padding 0
    enum tet_pool pool;
    const float *a; // fine (C, rows, columns, N)
    struct tet_volume va;
    float *x; // coarse (C, out_rows, out_columns, N)
    struct tet_volume vx;
    const float *above; // unpool: coarse, the signal that comes down
    struct tet_volume vabove;
    float *s; // unpool: fine, where it arrives
};

struct tet_kernels {
    const char *name;

    /* y (N, R) = finish(x (N, C) P^T + bias) */
    void (*forward)(const struct tet_forward *f);

    /* yt (C, N) = P^T st, with st (R, N): the backward product with the batch along the vector.
     * Strides ldst, ldyt; columns up to N rounded up are computed. The rank's share of the rows of
     * yt. */
    void (*backward)(const struct tet_share *rank, const struct tet_packed *p, size_t n,
                     const float *st, size_t ldst, float *yt, size_t ldyt);

    /* P <- P + lr g, g = sum over n of a[n] x[n]^T - decay P; with a velocity v <- momentum v + g,
     * P <- P + lr v. The sum over the batch is not divided: a or x carries 1/N already. */
    void (*drive)(const struct tet_drive *d, const struct tet_packed *p);

    /* out (nr, C) = A B^T for panels of A: rows r0..r0+nr of packed A (R, K) times packed B (C, K).
     * out has stride ldo. nr <= 64, r0 a multiple of 64. (A record's Gram matrices.) */
    void (*panel_gram)(const struct tet_packed *a, size_t r0, const struct tet_packed *b,
                       float *out, size_t ldo);

    /* out (nr, nc) = rows r0.. of packed A (R, K) times b (K, nc), stride ldb. nc a multiple of 16,
     * at most 64. */
    void (*panel_product)(const struct tet_packed *a, size_t r0, const float *b, size_t ldb,
                          size_t nc, float *out, size_t ldo);
    /* out (C, nc) = A^T b for packed A (K, C), b (K, nc) with stride ldb. nc a multiple of 16. The
     * same as backward. */

    /* The three ways of a convolution. Each output adds over ascending k by fused multiply-add, k
     * running over (channel of x, ky, kx) where the tap exists; CONVOLVE also over the zeros of the
     * padding. Then bias and finish, as in forward. */
    void (*convolve)(const struct tet_convolution *c);

    /* As drive, with the sum over coarse positions and examples: example n adds to lane n mod 16,
     * positions (oy, ox) ascending, then examples; a factor from the fine grid may be a zero of
     * the padding. Then the 16 lanes fold as in every sum. Examples from n to n rounded up count:
     * one of the factors must be zero there. */
    void (*convolve_drive)(const struct tet_convolution_drive *d, const struct tet_packed *p);

    /* b[c] <- b[c] + lr * sum over positions and examples (lanes as above) of a; the rank's share
     * of the channels. Examples from n to n rounded up count. */
    void (*convolve_bias)(const struct tet_share *rank, size_t n, const float *a,
                          const struct tet_volume *va, float lr, float *b);

    /* x = the largest or the mean of each window of a. Mean: taps add in the order (ky, kx), times
     * 1 / K^2. */
    void (*pool)(const struct tet_pooling *p);

    /* s = what reaches each fine position from above: through a maximum to its winner, the first
     * (ky, kx) whose a equals x; through a mean to all its taps, times 1 / K^2. Windows that share
     * a position add in the order (oy, ox). */
    void (*unpool)(const struct tet_pooling *p);

    /* b[r] <- b[r] + lr * sum over n (16 lanes) of a[n][r], r < R rounded up */
    void (*bias)(size_t n, size_t r, const float *a, size_t lda, float lr, float *b);

    /* y = s * phi'(z), where x = phi(z); all (N, D) with stride ld */
    void (*gate)(size_t n, size_t d, size_t ld, enum tet_activation phi, const float *s,
                 const float *x, float *y);

    /* z (N, D), stride ld -> s = share * (onehot(label) - softmax(z)), in place of z if s is z;
     * loss (N). D real columns. Returns how many rows have their largest value (the first of
     * equals) at the label. s NULL: only losses. share: 1 / the examples of the mini-batch. */
    size_t (*cross_entropy)(size_t n, size_t d, size_t ld, float *z, const int32_t *labels,
                            float share, float *s, float *loss);

    /* s = share * (t - z), loss = sum (t - z)^2 / 2 (16 lanes). t (N, D), stride ld. s NULL: only
     * losses. */
    void (*mse)(size_t n, size_t d, size_t ld, const float *z, const float *t, float share,
                float *s, float *loss);

    /* sum of a * b over (n, d) with strides; lane = column mod 16, rows in order */
    float (*dot)(size_t n, size_t d, const float *a, size_t lda, const float *b, size_t ldb);
    bool (*finite)(const float *a, size_t n); // whether all values are

    /* y[i] = fma(x[i], scale[i], shift[i]) */
    void (*standardize_bytes)(size_t d, const uint8_t *x, const float *scale, const float *shift,
                              float *y);
    void (*standardize_floats)(size_t d, const float *x, const float *scale, const float *shift,
                               float *y);

    /* b (d, n) = a (n, d)^T; columns of b from n up to width are set to 0 */
    void (*transpose)(size_t n, size_t d, const float *a, size_t lda, float *b, size_t ldb,
                      size_t width);

    void (*exp)(size_t n, const float *x, float *y); // at most 2 ulp from the exact value, each
    void (*log)(size_t n, const float *x, float *y);
    void (*tanh)(size_t n, const float *x, float *y);
};

extern const struct tet_kernels tet_kernels_scalar;
#if defined(__x86_64__)
extern const struct tet_kernels tet_kernels_avx2, tet_kernels_avx512;
#elif defined(__aarch64__)
extern const struct tet_kernels tet_kernels_neon;
#endif

/* tet_kernels_select: the fastest that this processor has, or the one named by the environment's
 * TETRAD_ISA. Errors: TET_BAD_REQUEST (unknown name, or the processor lacks it). */
TET_MUST_CHECK enum tet_err tet_kernels_select(const struct tet_kernels **kernels,
                                               struct tet_error *error);

#endif
