// SPDX-License-Identifier: Apache-2.0
/* What a mini-batch's record has: see telemetry.h. */
#include "telemetry/telemetry.h"

#include <math.h>

#include "rules/rules.h"

static double norm(const struct tet_net *net, const struct tet_packed *p)
{
    const size_t n = tet_packed_floats(p->rows, p->columns);
    return sqrt((double)net->kernels->dot(1, n, p->w, n, p->w, n));
}

static void norms(const struct tet_net *net, const struct tet_emitter *to)
{
    double ascending[TET_LAYERS] = {0};
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last; l++) {
            const double value = norm(net, &net->p[g][l]);
            tet_emit(to, (enum tet_series)(TET_SERIES_NORM_W + (int)g), l, value);
            if (g == TET_W)
                ascending[l] = value;
            if (g == TET_B)
                tet_emit(to, TET_SERIES_NORM_RATIO, l,
                         ascending[l] == 0.0 ? 0.0 : value / ascending[l]);
        }
    }
}

void tet_telemetry(struct tet_net *net, uint64_t step, const struct tet_emitter *to)
{
    if (net->L > 1)
        tet_telemetry_alignment(net, step, to);
    norms(net, to);
    if (net->plan.record_activity)
        tet_telemetry_activity(net, to);
    tet_telemetry_traces(net, to);
}
