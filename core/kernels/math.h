// SPDX-License-Identifier: Apache-2.0
/*
 * exp, log and tanh of a vector: the same operations in the same order on every instruction set. At
 * most 2 ulp from the exact value over all floats (tests/unit/test_math.c walks through them).
 * Source of the approximations: S. Moshier, Cephes library, single precision (expf, logf, tanhf),
 * with the steps of Horner's rule and of the argument reduction fused.
 */
#ifndef CORE_KERNELS_MATH_H
#define CORE_KERNELS_MATH_H

#include "kernels/vector.h"

/* exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2 */
INLINE vf v_exp(vf x)
{
    const vf high = v_set(89.0f), low = v_set(-104.0f); // beyond: infinity, 0
    x = v_choose(v_less(high, x), high, x);
    x = v_choose(v_less(x, low), low, x);
    const vf shifter =
        v_set(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer in the low bits
    vf t = v_fma(x, v_set(1.44269504088896341f), shifter);
    vi n = v_sub_int(v_bits(t), v_seti(0x4B400000));
    vf k = t - shifter;
    vf r = v_fma(k, v_set(-0.693359375f), x);
    r = v_fma(k, v_set(2.12194440e-4f), r);
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_fma(p, r * r, r) + v_set(1.0f);
    vi half = n >> 1; // in two factors, so that subnormal results round once
    vi rest = v_sub_int(n, half);
    vf scale_a = v_float(v_shift_left(v_add_int(half, v_seti(127)), 23));
    vf scale_b = v_float(v_shift_left(v_add_int(rest, v_seti(127)), 23));
    return p * scale_a * scale_b;
}

/* log(x) = e ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt(2) */
INLINE vf v_log(vf x)
{
    const vf tiny = v_set(1.17549435e-38f);
    vi subnormal = v_less(x, tiny);
    vf y = v_choose(subnormal, x * v_set(8388608.0f), x);
    vi bits = v_bits(y);
    vi e = v_sub_int(bits, v_seti(0x3F3504F3)) >> 23;
    vf f = v_float(v_sub_int(bits, v_shift_left(e, 23))) - v_set(1.0f);
    vf k = v_from_int(v_sub_int(e, subnormal & v_seti(23)));
    vf z = f * f;
    vf p = v_set(7.0376836292e-2f);
    p = v_fma(p, f, v_set(-1.1514610310e-1f));
    p = v_fma(p, f, v_set(1.1676998740e-1f));
    p = v_fma(p, f, v_set(-1.2420140846e-1f));
    p = v_fma(p, f, v_set(1.4249322787e-1f));
    p = v_fma(p, f, v_set(-1.6668057665e-1f));
    p = v_fma(p, f, v_set(2.0000714765e-1f));
    p = v_fma(p, f, v_set(-2.4999993993e-1f));
    p = v_fma(p, f, v_set(3.3333331174e-1f));
    vf r = p * f * z;
    r = v_fma(k, v_set(-2.12194440e-4f), r);
    r = v_fma(z, v_set(-0.5f), r);
    r = r + f;
    r = v_fma(k, v_set(0.693359375f), r);
    const vf zero = v_set(0.0f), infinite = v_set(INFINITY);
    r = v_choose(v_equal(x, zero), v_set(-INFINITY), r);
    r = v_choose(v_less(x, zero), v_set(NAN), r);
    r = v_choose(v_equal(x, infinite), infinite, r);
    return v_choose(v_equal(x, x), r, x); // NaN stays
}

/* tanh(x) = 1 - 2 / (exp(2|x|) + 1) with x's sign; an odd polynomial below 0.625 */
INLINE vf v_tanh(vf x)
{
    vi sign = v_bits(x) & v_seti((int32_t)0x80000000);
    vf a = v_float(v_bits(x) & v_seti(0x7FFFFFFF));
    vf large = v_set(1.0f) - v_set(2.0f) / (v_exp(a + a) + v_set(1.0f));
    vf z = x * x;
    vf p = v_set(-5.70498872745e-3f);
    p = v_fma(p, z, v_set(2.06390887954e-2f));
    p = v_fma(p, z, v_set(-5.37397155531e-2f));
    p = v_fma(p, z, v_set(1.33314422036e-1f));
    p = v_fma(p, z, v_set(-3.33332819422e-1f));
    vf small = v_fma(p * z, a, a); // of |x|, so that -0 stays -0
    vf y = v_choose(v_less(a, v_set(0.625f)), small, large);
    return v_float(v_bits(y) | sign);
}

#endif
