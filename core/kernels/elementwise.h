// SPDX-License-Identifier: Apache-2.0
/*
 * The kernels that are not matrix products, as one body for every VL (kernels.h has their
 * contracts). Sums keep 16 lanes whatever VL is, so that the order of additions is the same
 * everywhere.
 */
#ifndef CORE_KERNELS_ELEMENTWISE_H
#define CORE_KERNELS_ELEMENTWISE_H

#include "kernels/kernels.h"
#include "kernels/math.h"

#define UNROLL _Pragma("GCC unroll 16")

typedef vf unary_fn(vf x);

INLINE void map(unary_fn *f, size_t n, const float *x, float *y)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(y + i, f(v_load(x + i)));
    if (i < n) {
        float t[VL] = {0};
        memcpy(t, x + i, (n - i) * sizeof *t);
        v_store(t, f(v_load(t)));
        memcpy(y + i, t, (n - i) * sizeof *t);
    }
}

static void map_exp(size_t n, const float *x, float *y)
{
    map(v_exp, n, x, y);
}

static void map_log(size_t n, const float *x, float *y)
{
    map(v_log, n, x, y);
}

static void map_tanh(size_t n, const float *x, float *y)
{
    map(v_tanh, n, x, y);
}

/* s * phi'(z) from x = phi(z) */
INLINE vf gate_relu(vf s, vf x)
{
    return v_choose(v_less(v_set(0.0f), x), s, v_set(0.0f));
}

INLINE vf gate_tanh(vf s, vf x)
{
    return s * v_fma(v_float(v_bits(x) ^ v_seti((int32_t)0x80000000)), x, v_set(1.0f));
}

INLINE vf phi_relu(vf z)
{
    return v_choose(v_less(z, v_set(0.0f)), v_set(0.0f), z);
}

static void gate(size_t n, size_t d, size_t ld, enum tet_activation phi, const float *s,
                 const float *x, float *y)
{
    const size_t width = tet_round(d);
    for (size_t r = 0; r < n; r++, s += ld, x += ld, y += ld)
        for (size_t c = 0; c < width; c += VL) {
            vf a = v_load(s + c), b = v_load(x + c);
            v_store(y + c, phi == TET_RELU   ? gate_relu(a, b)
                           : phi == TET_TANH ? gate_tanh(a, b)
                                             : a);
        }
}

static void bias(size_t n, size_t r, const float *a, size_t lda, float lr, float *b)
{
    for (size_t c = 0; c < tet_round(r); c += VL) {
        vf lane[16];
        for (int i = 0; i < 16; i++)
            lane[i] = v_set(0.0f);
        const float *p = a + c;
        size_t k = 0;
        for (; k + 16 <= n; k += 16)
            for (int i = 0; i < 16; i++, p += lda)
                lane[i] = lane[i] + v_load(p);
        for (int i = 0; k < n; k++, i++, p += lda)
            lane[i] = lane[i] + v_load(p);
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                lane[i] = lane[i] + lane[i + half];
        v_store(b + c, v_fma(v_set(lr), lane[0], v_load(b + c)));
    }
}

/* The largest of the row, in a fixed order of comparisons (it decides which of +0 and -0). */
INLINE float row_max(size_t width, const float *z)
{
    float lane[16];
    for (int i = 0; i < 16; i++)
        lane[i] = -INFINITY;
    for (size_t c = 0; c < width; c += 16)
        for (int i = 0; i < 16; i += VL) {
            vf a = v_load(lane + i), b = v_load(z + c + (size_t)i);
            v_store(lane + i, v_choose(v_less(a, b), b, a));
        }
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] < lane[i + half] ? lane[i + half] : lane[i];
    return lane[0];
}

INLINE float first_lane(vf x)
{
    float t[VL];
    v_store(t, x);
    return t[0];
}

static size_t cross_entropy(size_t n, size_t d, size_t ld, float *z, const int32_t *labels,
                            float share, float *s, float *loss)
{
    const size_t width = tet_round(d);
    size_t correct = 0;
    for (size_t r = 0; r < n; r++, z += ld) {
        for (size_t c = d; c < width; c++)
            z[c] = -INFINITY;
        const float top = row_max(width, z);
        const size_t label = (size_t)labels[r];
        const float below = z[label] - top; // z is read before s, which may be z, is written
        size_t best = 0;
        for (size_t c = 1; c < d; c++)
            if (z[c] > z[best])
                best = c;
        correct += best == label;
        vf lanes[SUM_VECTORS];
        for (int i = 0; i < SUM_VECTORS; i++)
            lanes[i] = v_set(0.0f);
        for (size_t c = 0; c < width; c += 16)
            for (int i = 0; i < SUM_VECTORS; i++) {
                vf e = v_exp(v_load(z + c + (size_t)i * VL) - v_set(top));
                lanes[i] = lanes[i] + e;
                if (s != NULL)
                    v_store(s + c + (size_t)i * VL, e);
            }
        const float sum = v_sum16(lanes);
        loss[r] = first_lane(v_log(v_set(sum))) - below;
        if (s != NULL) {
            const float whole = 1.0f / sum;
            const float p = s[label] * whole;
            for (size_t c = 0; c < width; c += VL)
                v_store(s + c, v_load(s + c) * v_set(whole) * v_set(-share));
            s[label] = (1.0f - p) * share;
            s += ld;
        }
    }
    return correct;
}

static void mse(size_t n, size_t d, size_t ld, const float *z, const float *t, float share,
                float *s, float *loss)
{
    const size_t width = tet_round(d);
    for (size_t r = 0; r < n; r++, z += ld, t += ld) {
        vf lanes[SUM_VECTORS];
        for (int i = 0; i < SUM_VECTORS; i++)
            lanes[i] = v_set(0.0f);
        for (size_t c = 0; c < width; c += 16)
            for (int i = 0; i < SUM_VECTORS; i++) {
                const size_t at = c + (size_t)i * VL;
                vf e = v_load(t + at) - v_load(z + at);
                lanes[i] = v_fma(e, e, lanes[i]);
                if (s != NULL)
                    v_store(s + at, e * v_set(share));
            }
        loss[r] = 0.5f * v_sum16(lanes);
        if (s != NULL)
            s += ld;
    }
}

static float dot(size_t n, size_t d, const float *a, size_t lda, const float *b, size_t ldb)
{
    vf lanes[SUM_VECTORS];
    for (int i = 0; i < SUM_VECTORS; i++)
        lanes[i] = v_set(0.0f);
    for (size_t r = 0; r < n; r++, a += lda, b += ldb)
        for (size_t c = 0; c < tet_round(d); c += 16)
            for (int i = 0; i < SUM_VECTORS; i++) {
                const size_t at = c + (size_t)i * VL;
                lanes[i] = v_fma(v_load(a + at), v_load(b + at), lanes[i]);
            }
    return v_sum16(lanes);
}

static bool finite_all(const float *a, size_t n)
{
    vi good = v_seti(-1);
    for (size_t i = 0; i < tet_round(n); i += VL)
        good = good & v_equal(v_load(a + i) * v_set(0.0f), v_set(0.0f));
    float lane[VL];
    v_store(lane, v_float(good));
    int32_t bits[VL], all = -1;
    memcpy(bits, lane, sizeof bits);
    for (int i = 0; i < VL; i++)
        all &= bits[i];
    return all == -1;
}

static void standardize_bytes(size_t d, const uint8_t *x, const float *scale, const float *shift,
                              float *y)
{
    size_t i = 0;
    for (; i + VL <= d; i += VL)
        v_store(y + i, v_fma(v_bytes(x + i), v_load(scale + i), v_load(shift + i)));
    for (; i < d; i++)
        y[i] = fmaf((float)x[i], scale[i], shift[i]);
}

static void standardize_floats(size_t d, const float *x, const float *scale, const float *shift,
                               float *y)
{
    size_t i = 0;
    for (; i + VL <= d; i += VL)
        v_store(y + i, v_fma(v_load(x + i), v_load(scale + i), v_load(shift + i)));
    for (; i < d; i++)
        y[i] = fmaf(x[i], scale[i], shift[i]);
}

/* VL x VL values: log2 VL rounds, each of which interleaves the first half of the rows with the
 * second. */
INLINE void transpose_block(const float *a, size_t lda, float *b, size_t ldb)
{
    vf r[VL], t[VL];
    UNROLL for (int i = 0; i < VL; i++) r[i] = v_load(a + (size_t)i * lda);
    UNROLL for (int round = 1; round < VL; round *= 2)
    {
        UNROLL for (int i = 0; i < VL / 2; i++)
        {
            t[2 * i] = v_interleave_low(r[i], r[i + VL / 2]);
            t[2 * i + 1] = v_interleave_high(r[i], r[i + VL / 2]);
        }
        UNROLL for (int i = 0; i < VL; i++) r[i] = t[i];
    }
    UNROLL for (int i = 0; i < VL; i++) v_store(b + (size_t)i * ldb, r[i]);
}

/* The last blocks of a row and of a column overlap those before. */
static void transpose(size_t n, size_t d, const float *a, size_t lda, float *b, size_t ldb,
                      size_t width)
{
    for (size_t c = 0; c < d; c++)
        for (size_t r = n; r < width; r++)
            b[c * ldb + r] = 0.0f;
    if (n < VL || d < VL) {
        for (size_t c = 0; c < d; c++)
            for (size_t r = 0; r < n; r++)
                b[c * ldb + r] = a[r * lda + c];
        return;
    }
    for (size_t r = 0; r < n; r += VL) {
        r = r + VL <= n ? r : n - VL;
        for (size_t c = 0; c < d; c += VL) {
            c = c + VL <= d ? c : d - VL;
            transpose_block(a + r * lda + c, lda, b + c * ldb + r, ldb);
        }
    }
}

#define ELEMENTWISE_KERNELS                                                                        \
    .bias = bias, .gate = gate, .cross_entropy = cross_entropy, .mse = mse, .dot = dot,            \
    .finite = finite_all, .standardize_bytes = standardize_bytes,                                  \
    .standardize_floats = standardize_floats, .transpose = transpose, .exp = map_exp,              \
    .log = map_log, .tanh = map_tanh

#endif
