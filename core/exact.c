// SPDX-License-Identifier: Apache-2.0
/* See exact.h. */
#include "exact.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln 2 in two parts: a small integer times the first is exact. */
static const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;

/* 2 atanh((m - 1) / (m + 1)) of the mantissa m in [sqrt(1/2), sqrt(2)) by its series (the ratio is
 * at most 0.1716, the first term left out below 1e-18 of the result), plus the exponent's share in
 * two parts. */
double tet_exact_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & UINT64_C(0x000FFFFFFFFFFFFF)) | UINT64_C(0x3FF0000000000000);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) { // sqrt(2)
        m *= 0.5;
        exponent++;
    }
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    for (int k = 25; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * s2;
    return (double)exponent * ln2_high + (2.0 * s + (2.0 * s * sum + (double)exponent * ln2_low));
}

/* 2^k e^r with |r| at most ln 2 / 2, by Taylor's series: the first term left out is below 1e-19. */
double tet_exact_exp(double x)
{
    const int k = (int)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5));
    const double r = (x - (double)k * ln2_high) - (double)k * ln2_low;
    double sum = 1.0;
    for (int i = 15; i >= 1; i--)
        sum = 1.0 + sum * r / i;
    const uint64_t bits = (uint64_t)(k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* Of 0 <= t <= 1: halved twice, atan(t) = 2 atan(t / (1 + sqrt(1 + t^2))), then below 0.2 by its
 * series. */
static double arc_tangent(double t)
{
    for (int i = 0; i < 2; i++)
        t = t / (1.0 + sqrt(1.0 + t * t));
    const double t2 = t * t;
    double sum = 0.0;
    for (int k = 25; k >= 3; k -= 2)
        sum = (1.0 / k - sum) * t2;
    return 4.0 * (t - t * sum);
}

/* tan(angle / 2)^2 = (1 - c) / (1 + c). */
double tet_exact_degrees(double c)
{
    static const double degrees = 180.0 / 3.14159265358979323846;
    if (c >= 1.0 || c <= -1.0)
        return c > 0.0 ? 0.0 : 180.0;
    const double lower = 1.0 - c, upper = 1.0 + c;
    return lower <= upper ? 2.0 * degrees * arc_tangent(sqrt(lower / upper))
                          : 180.0 - 2.0 * degrees * arc_tangent(sqrt(upper / lower));
}
