// SPDX-License-Identifier: Apache-2.0
/* Random numbers for sweeps: see draw.h. */
#include <tetrad/draw.h>

#include <math.h>

#include "philox.h"

/* In (0, 1), from 32 bits. */
static double unit(const struct tet_draw *draw)
{
    const struct tet_stream stream = tet_stream_make(draw->seed, TET_STREAM_SWEEP, draw->axis);
    return ((double)tet_stream_u32(&stream, draw->i) + 0.5) * 0x1p-32;
}

/* e^x: 2^k e^r, |r| <= ln 2 / 2, by the series of e^r up to r^18 / 18! (the next term is below
 * 1e-25). */
static double exponential(double x)
{
    static const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    const double k = floor(x * 1.4426950408889634 + 0.5);
    const double r = (x - k * ln2_high) - k * ln2_low;
    double sum = 1.0;
    for (int n = 18; n > 0; n--)
        sum = 1.0 + sum * r / n;
    return ldexp(sum, (int)k);
}

static double between(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

double tet_draw_uniform(const struct tet_draw *draw, double low, double high)
{
    const double u = unit(draw);
    return between(low * (1.0 - u) + high * u, low, high);
}

double tet_draw_log_uniform(const struct tet_draw *draw, double low, double high)
{
    const double u = unit(draw);
    return between(exponential(tet_log(low) * (1.0 - u) + tet_log(high) * u), low, high);
}

int64_t tet_draw_integer(const struct tet_draw *draw, int64_t low, int64_t high)
{
    const double k = floor(unit(draw) * ((double)(high - low) + 1.0));
    return low + (int64_t)between(k, 0.0, (double)(high - low));
}

int64_t tet_draw_log_integer(const struct tet_draw *draw, int64_t low, int64_t high)
{
    const double k = floor(tet_draw_log_uniform(draw, (double)low, (double)high + 1.0));
    return (int64_t)between(k, (double)low, (double)high);
}
