// SPDX-License-Identifier: Apache-2.0
/*
 * Philox4x32-10, and normal numbers, bounded integers and permutations made of it. See philox.h.
 */
#include "philox.h"

#include <math.h>
#include <stddef.h>

#include "exact.h"

enum { ROUNDS = 10 };

void tet_philox(const struct tet_stream *stream, uint64_t block, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = stream->index, c3 = stream->purpose;
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0;
        uint64_t p1 = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += UINT32_C(0x9E3779B9); // golden ratio
        k1 += UINT32_C(0xBB67AE85); // sqrt(3) - 1
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void tet_philox_run(const struct tet_stream *stream, uint64_t block,
                    uint32_t out[4][TET_PHILOX_RUN])
{
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    for (size_t i = 0; i < TET_PHILOX_RUN; i++) {
        out[0][i] = (uint32_t)(block + i);
        out[1][i] = (uint32_t)((block + i) >> 32);
        out[2][i] = stream->index;
        out[3][i] = stream->purpose;
    }
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 1
        for (size_t i = 0; i < TET_PHILOX_RUN; i++) {
            const uint64_t p0 = UINT64_C(0xD2511F53) * out[0][i];
            const uint64_t p1 = UINT64_C(0xCD9E8D57) * out[2][i];
            out[0][i] = (uint32_t)(p1 >> 32) ^ out[1][i] ^ k0;
            out[1][i] = (uint32_t)p1;
            out[2][i] = (uint32_t)(p0 >> 32) ^ out[3][i] ^ k1;
            out[3][i] = (uint32_t)p0;
        }
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
}

uint32_t tet_stream_u32(const struct tet_stream *stream, uint64_t i)
{
    uint32_t out[4];
    tet_philox(stream, i / 4, out);
    return out[i % 4];
}

/* c[0] + c[1] x + ... + c[7] x^7, by Horner. */
static double polynomial(const double c[8], double x)
{
    double y = c[7];
    for (int i = 6; i >= 0; i--)
        y = y * x + c[i];
    return y;
}

double tet_normal_from_u32(uint32_t r)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double p = ((double)r + 0.5) * 0x1p-32, q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        double x = 0.180625 - q * q;
        return q * polynomial(a, x) / polynomial(b, x);
    }
    double tail = sqrt(-tet_exact_log(q < 0.0 ? p : 1.0 - p));
    double z = tail <= 5.0 ? polynomial(c, tail - 1.6) / polynomial(d, tail - 1.6)
                           : polynomial(e, tail - 5.0) / polynomial(f, tail - 5.0);
    return q < 0.0 ? -z : z;
}

uint32_t tet_below(const struct tet_stream *stream, uint64_t i, uint32_t n)
{
    uint32_t out[4];
    tet_philox(stream, i, out);
    return (uint32_t)(((uint64_t)out[1] * n + ((uint64_t)out[0] * n >> 32)) >> 32);
}

void tet_shuffle(const struct tet_stream *stream, uint32_t *permutation, uint32_t n)
{
    for (uint32_t i = n; i-- > 1;) {
        uint32_t j = tet_below(stream, i, i + 1);
        uint32_t kept = permutation[i];
        permutation[i] = permutation[j];
        permutation[j] = kept;
    }
}
