// SPDX-License-Identifier: Apache-2.0
/* What the cases of kernels and of runs share: digests, and memory for arrays. */
#ifndef TESTS_NEON_DIGEST_H
#define TESTS_NEON_DIGEST_H

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../random.h"
#include "kernels/kernels.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* digest_kernels: prints a line for each elementary function, at every stride-th of all floats, and
 * for each kernel. */
void digest_kernels(const struct tet_kernels *kernels, uint64_t stride);

/* ---- digests: FNV-1a, 64 bits ---- */

static uint64_t digest;

static inline void begin(void)
{
    digest = UINT64_C(0xCBF29CE484222325);
}

static inline void add(uint64_t value, int bytes) // the lowest first, on every machine
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        digest = (digest ^ (value & 0xFF)) * UINT64_C(0x100000001B3);
}

static inline void add_float(float x)
{
    uint32_t u = 0x7FC00000; // any NaN
    if (!isnan(x))
        memcpy(&u, &x, sizeof u);
    add(u, 4);
}

static inline void add_double(double x)
{
    uint64_t u = UINT64_C(0x7FF8000000000000);
    if (!isnan(x))
        memcpy(&u, &x, sizeof u);
    add(u, 8);
}

/* The first d of every row of a (n, ...), stride ld. */
static inline void add_rows(const float *a, size_t n, size_t d, size_t ld)
{
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d; c++)
            add_float(a[r * ld + c]);
}

/* ---- memory ---- */

static float memory[1 << 19];
static size_t taken;

static inline float *take(size_t n) // zeros
{
    if (n > COUNT(memory) - taken)
        abort();
    float *a = memory + taken;
    taken += n;
    memset(a, 0, n * sizeof *a);
    return a;
}

#endif
