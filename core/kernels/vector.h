// SPDX-License-Identifier: Apache-2.0
/*
 * Vectors of VL floats under one set of names, so that one body serves every instruction set. VL is
 * 16 (AVX-512), 8 (AVX2+FMA), 4 (NEON) or 1 (scalar). GCC's vector types give the arithmetic; only
 * fused multiply-add and broadcast need the processor's own names. Masks are all ones or all zeros
 * in each lane.
 */
#ifndef CORE_KERNELS_VECTOR_H
#define CORE_KERNELS_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(TET_ISA_AVX512) || defined(TET_ISA_AVX2)
#include <immintrin.h>
#elif defined(TET_ISA_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))

#if defined(TET_ISA_AVX512)
enum { VL = 16 };
#elif defined(TET_ISA_AVX2)
enum { VL = 8 };
#elif defined(TET_ISA_NEON)
enum { VL = 4 };
#else
enum { VL = 1 };
#define TET_ISA_SCALAR
#endif

#ifdef TET_ISA_SCALAR

typedef float vf;
typedef int32_t vi;

INLINE vf v_set(float x)
{
    return x;
}
INLINE vi v_seti(int32_t x)
{
    return x;
}
INLINE vf v_load(const float *p)
{
    return *p;
}
INLINE void v_store(float *p, vf x)
{
    *p = x;
}
INLINE vf v_bytes(const uint8_t *p)
{
    return (float)*p;
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return fmaf(a, b, c);
}
INLINE vi v_bits(vf x)
{
    vi i;
    memcpy(&i, &x, sizeof i);
    return i;
}
INLINE vf v_float(vi i)
{
    vf x;
    memcpy(&x, &i, sizeof x);
    return x;
}
INLINE vf v_from_int(vi i)
{
    return (float)i;
}
INLINE vi v_less(vf a, vf b)
{
    return -(a < b);
}
INLINE vi v_equal(vf a, vf b)
{
    return -(a == b);
}
INLINE vf v_interleave_low(vf a, vf b) // of one lane: transposing 1 x 1 never asks for it
{
    (void)b;
    return a;
}
INLINE vf v_interleave_high(vf a, vf b)
{
    (void)a;
    return b;
}
INLINE vi v_shift_left(vi a, int n)
{
    return (vi)((uint32_t)a << n);
}
INLINE vi v_add_int(vi a, vi b)
{
    return (vi)((uint32_t)a + (uint32_t)b);
}
INLINE vi v_sub_int(vi a, vi b)
{
    return (vi)((uint32_t)a - (uint32_t)b);
}

#else

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint32_t vu __attribute__((vector_size(4 * VL))); // wraps around
typedef float vf_unaligned __attribute__((vector_size(4 * VL), aligned(4), may_alias));

INLINE vf v_load(const float *p)
{
    return *(const vf_unaligned *)p;
}
INLINE void v_store(float *p, vf x)
{
    *(vf_unaligned *)p = x;
}
INLINE vi v_bits(vf x)
{
    return (vi)x;
}
INLINE vf v_float(vi i)
{
    return (vf)i;
}
INLINE vf v_from_int(vi i)
{
    return __builtin_convertvector(i, vf);
}
INLINE vi v_less(vf a, vf b)
{
    return (vi)(a < b);
}
INLINE vi v_equal(vf a, vf b)
{
    return (vi)(a == b);
}
INLINE vi v_shift_left(vi a, int n)
{
    return (vi)((vu)a << n);
}
INLINE vi v_add_int(vi a, vi b)
{
    return (vi)((vu)a + (vu)b);
}
INLINE vi v_sub_int(vi a, vi b)
{
    return (vi)((vu)a - (vu)b);
}

#if defined(TET_ISA_AVX512)
INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
INLINE vi v_seti(int32_t x)
{
    return (vi)_mm512_set1_epi32(x);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf v_bytes(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
/* a0 b0 a1 b1 ... of the lower and of the upper halves */
INLINE vf v_interleave_low(vf a, vf b)
{
    const __m512i at = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutex2var_ps(a, at, b);
}
INLINE vf v_interleave_high(vf a, vf b)
{
    const __m512i at =
        _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    return _mm512_permutex2var_ps(a, at, b);
}
#elif defined(TET_ISA_AVX2)
INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
INLINE vi v_seti(int32_t x)
{
    return (vi)_mm256_set1_epi32(x);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vf v_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
INLINE vf v_interleave_low(vf a, vf b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
INLINE vf v_interleave_high(vf a, vf b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#elif defined(TET_ISA_NEON)
INLINE vf v_set(float x)
{
    return (vf)vdupq_n_f32(x);
}
INLINE vi v_seti(int32_t x)
{
    return (vi)vdupq_n_s32(x);
}
INLINE vf v_fma(vf a, vf b, vf c)
{
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE vf v_bytes(const uint8_t *p)
{
    const float x[4] = {(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
    return v_load(x);
}
INLINE vf v_interleave_low(vf a, vf b)
{
    return (vf)vzip1q_f32((float32x4_t)a, (float32x4_t)b);
}
INLINE vf v_interleave_high(vf a, vf b)
{
    return (vf)vzip2q_f32((float32x4_t)a, (float32x4_t)b);
}
#endif

#endif

/* mask ? a : b */
INLINE vi v_choose_int(vi mask, vi a, vi b)
{
    return (mask & a) | (~mask & b);
}
INLINE vf v_choose(vi mask, vf a, vf b)
{
    return v_float(v_choose_int(mask, v_bits(a), v_bits(b)));
}

/* The 16 lanes of a sum, LANES vectors of them. */
enum { SUM_VECTORS = 16 / VL };

INLINE float v_sum16(const vf lanes[SUM_VECTORS])
{
    float t[16];
    for (int i = 0; i < SUM_VECTORS; i++)
        v_store(t + i * VL, lanes[i]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] = t[i] + t[i + half];
    return t[0];
}

#endif
