// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of the kernels over volumes: volumes of random values, where things lie in them, and
 * what a kernel has written there.
 *
 * All of a volume that a kernel has no business with is spoiled: rings of padding that no window
 * looks at, columns past the examples rounded up, the odd position that ends a plane.
 */
#ifndef TESTS_KERNEL_VOLUMES_H
#define TESTS_KERNEL_VOLUMES_H

#include "kernel_arrays.h"

/* Every instruction set of this processor. */
#define EVERY_ISA(isa)                                                                             \
    for (size_t isa_ = 0; isa_ < n_isas; isa_++)                                                   \
        for (const struct tet_kernels *isa = isas[isa_]; isa != NULL; isa = NULL)

/* ---- where things lie ---- */

/* Where a window stops along one side. */
static inline uint32_t stops(uint32_t side, uint32_t kernel, uint32_t stride, uint32_t padding)
{
    uint32_t n = 0;
    while (n * stride + kernel <= side + 2 * padding)
        n++;
    return n;
}

static inline struct tet_window window_over(uint32_t rows, uint32_t columns, uint32_t kernel,
                                            uint32_t stride, uint32_t padding)
{
    const struct tet_window w = {.kernel = kernel,
                                 .stride = stride,
                                 .padding = padding,
                                 .rows = rows,
                                 .columns = columns,
                                 .out_rows = stops(rows, kernel, stride, padding),
                                 .out_columns = stops(columns, kernel, stride, padding)};
    assert_int_equal(w.out_rows, tet_window_count(rows, kernel, stride, padding));
    assert_int_equal(w.out_columns, tet_window_count(columns, kernel, stride, padding));
    assert_true(w.out_rows > 0 && w.out_columns > 0);
    return w;
}

/* Room for n examples or for more. */
static inline struct tet_volume volume(size_t channels, uint32_t rows, uint32_t columns,
                                       uint32_t pad, size_t n)
{
    return (struct tet_volume){.channels = (uint32_t)channels,
                               .rows = rows,
                               .columns = columns,
                               .pad = pad,
                               .ld = tet_round(n) + (below(3) == 0 ? TET_LANES : 0)};
}

static inline struct tet_volume fine_volume(const struct tet_window *w, size_t channels,
                                            uint32_t pad, size_t n)
{
    return volume(channels, w->rows, w->columns, pad, n);
}

static inline struct tet_volume coarse_volume(const struct tet_window *w, size_t channels,
                                              uint32_t pad, size_t n)
{
    return volume(channels, w->out_rows, w->out_columns, pad, n);
}

static inline size_t positions_of(const struct tet_volume *v) // of a channel
{
    const size_t n = ((size_t)v->rows + 2 * v->pad) * (v->columns + 2 * v->pad);
    return n % 2 == 0 ? n + 1 : n;
}

static inline size_t floats_of(const struct tet_volume *v)
{
    const size_t n = v->channels * positions_of(v) * v->ld;
    assert_int_equal(n, tet_volume_floats(v));
    return n;
}

/* Example 0 of channel c at (y, x), which may lie in the padding. */
static inline size_t place(const struct tet_volume *v, size_t c, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t pad = v->pad, wide = (ptrdiff_t)v->columns + 2 * pad;
    return (c * positions_of(v) + (size_t)((y + pad) * wide + x + pad)) * v->ld;
}

static inline bool inside(const struct tet_volume *v, ptrdiff_t y, ptrdiff_t x)
{
    return y >= 0 && x >= 0 && y < (ptrdiff_t)v->rows && x < (ptrdiff_t)v->columns;
}

/* The fine position that tap k of the coarse position o looks at. */
static inline ptrdiff_t looked_at(const struct tet_window *w, size_t o, size_t k)
{
    return (ptrdiff_t)(o * w->stride + k) - (ptrdiff_t)w->padding;
}

/* ---- what lies there ---- */

/* Random values in all columns that count, the examples rounded up; zeros in the innermost `rings`
 * of the padding. */
static inline float *images(enum mode mode, const struct tet_volume *v, size_t n, uint32_t rings)
{
    float *a = new_array(floats_of(v));
    const ptrdiff_t around = rings;
    for (size_t c = 0; c < v->channels; c++)
        for (ptrdiff_t y = -around; y < (ptrdiff_t)v->rows + around; y++)
            for (ptrdiff_t x = -around; x < (ptrdiff_t)v->columns + around; x++)
                for (size_t i = 0; i < tet_round(n); i++)
                    a[place(v, c, y, x) + i] = inside(v, y, x) ? value_of(mode) : 0.0f;
    return a;
}

/* Zeros in the columns past n. */
static inline void clear_past(const struct tet_volume *v, float *a, size_t n)
{
    for (size_t c = 0; c < v->channels; c++)
        for (ptrdiff_t y = 0; y < (ptrdiff_t)v->rows; y++)
            for (ptrdiff_t x = 0; x < (ptrdiff_t)v->columns; x++)
                for (size_t i = n; i < tet_round(n); i++)
                    a[place(v, c, y, x) + i] = 0.0f;
}

/* Of an output: everywhere in the image something was written, and nothing else anywhere, but zeros
 * where `zeros`. */
static inline void check_written(const float *y, const struct tet_volume *v, size_t n, bool zeros)
{
    const size_t wide = v->columns + 2 * (size_t)v->pad, positions = positions_of(v);
    for (size_t p = 0; p < v->channels * positions; p++) {
        const size_t q = p % positions;
        const bool image = inside(v, (ptrdiff_t)(q / wide) - (ptrdiff_t)v->pad,
                                  (ptrdiff_t)(q % wide) - (ptrdiff_t)v->pad);
        for (size_t i = 0; i < v->ld; i++) {
            const float value = y[p * v->ld + i];
            const bool written = bits_of(value) != spoiled;
            if (image && i < tet_round(n) ? !written : written && !(zeros && value == 0.0f))
                fail_msg("seed %llu, %s: channel %zu, position %zu of %u x %u, pad %u, column %zu "
                         "of %zu is %a",
                         (unsigned long long)seed, what, p / positions, q, v->rows, v->columns,
                         v->pad, i, n, (double)value);
        }
    }
}

/* Takes a rank's part into the whole. What two ranks have written is a fault. */
static inline void take_in(float *whole, const float *part, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bits_of(part[i]) == spoiled)
            continue;
        if (bits_of(whole[i]) != spoiled)
            fail_msg("seed %llu, %s: two ranks wrote float %zu", (unsigned long long)seed, what, i);
        whole[i] = part[i];
    }
}

/* Sum of a * b over the images of two volumes of one grid, in double, and of the values' sizes. */
static inline double inner(const struct tet_volume *va, const float *a, const struct tet_volume *vb,
                           const float *b, size_t n, double *size)
{
    double sum = 0.0;
    *size = 0.0;
    for (size_t c = 0; c < va->channels; c++)
        for (ptrdiff_t y = 0; y < (ptrdiff_t)va->rows; y++)
            for (ptrdiff_t x = 0; x < (ptrdiff_t)va->columns; x++)
                for (size_t i = 0; i < n; i++) {
                    const double product =
                        (double)a[place(va, c, y, x) + i] * b[place(vb, c, y, x) + i];
                    sum += product;
                    *size += fabs(product);
                }
    return sum;
}

#endif
