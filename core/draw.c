// SPDX-License-Identifier: Apache-2.0
/* Random numbers for sweeps: see draw.h. */
#include <tetrad/draw.h>

#include <math.h>

#include "exact.h"
#include "philox.h"

/* In (0, 1), from 32 bits. */
static double unit(const struct tet_draw *draw)
{
    const struct tet_stream stream = tet_stream_make(draw->seed, TET_STREAM_SWEEP, draw->axis);
    return ((double)tet_stream_u32(&stream, draw->i) + 0.5) * 0x1p-32;
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
    const double log = tet_exact_log(low) * (1.0 - u) + tet_exact_log(high) * u;
    return between(tet_exact_exp(log), low, high);
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
