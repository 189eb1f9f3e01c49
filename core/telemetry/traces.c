// SPDX-License-Identifier: Apache-2.0
/*
 * Single synapses that are followed: those that the plan names, and some of every array of the
 * groups that it names, drawn from the seed.
 *
 * The k-th that is drawn of layer l's array of group g is number tet_below(stream, g 2^32 + k,
 * synapses) of the array, row by row, of stream (seed, TET_STREAM_TRACES, l), without those that
 * are followed already and those that the wiring leaves out. An array of no more synapses than are
 * wanted is followed whole.
 */
#include "telemetry/telemetry.h"

#include "philox.h"

static bool is_followed(const struct tet_net *net, const struct tet_synapse *s)
{
    for (uint32_t i = 0; i < net->n_traces; i++) {
        const struct tet_synapse *t = &net->trace[i];
        if (t->group == s->group && t->layer == s->layer && t->row == s->row &&
            t->column == s->column)
            return true;
    }
    return false;
}

/* Draws are bounded, since a sparse array may have fewer synapses than are wanted. */
static void choose(struct tet_net *net, enum tet_group g, uint32_t l)
{
    const struct tet_packed *p = &net->p[g][l];
    const struct tet_stream stream = tet_stream_make(net->plan.seed, TET_STREAM_TRACES, l);
    const uint64_t n = (uint64_t)p->rows * p->columns;
    const bool whole = n <= net->plan.traces;
    const uint64_t draws = whole ? n : (uint64_t)64 * net->plan.traces;
    const uint32_t most = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    uint32_t chosen = 0;
    for (uint64_t k = 0; k < draws && chosen < net->plan.traces; k++) {
        const uint64_t i = whole ? k : tet_below(&stream, ((uint64_t)g << 32) + k, most);
        const struct tet_synapse s = {g, l, (uint32_t)(i / p->columns), (uint32_t)(i % p->columns)};
        if (net->n_traces == TET_MAX_TRACES || is_followed(net, &s) ||
            !tet_net_is_there(net, g, l, s.row, s.column))
            continue;
        net->trace[net->n_traces++] = s;
        chosen++;
    }
}

void tet_traces_choose(struct tet_net *net)
{
    net->n_traces = 0;
    for (uint32_t i = 0; i < net->plan.n_synapses; i++)
        net->trace[net->n_traces++] = net->plan.synapse[i];
    for (enum tet_group g = 0; g < TET_GROUPS; g++) {
        uint32_t first, last;
        tet_net_range(net, g, &first, &last);
        for (uint32_t l = first; l <= last && net->plan.trace_group[g]; l++)
            choose(net, g, l);
    }
}

void tet_telemetry_traces(const struct tet_net *net, const struct tet_emitter *to)
{
    for (uint32_t i = 0; i < net->n_traces; i++) {
        const struct tet_synapse *s = &net->trace[i];
        const struct tet_packed *p = &net->p[s->group][s->layer];
        to->emit(to->context,
                 (struct tet_record){
                     .series = (enum tet_series)(TET_SERIES_TRACE_W + (int)s->group),
                     .layer = s->layer,
                     .value = p->w[tet_packed_at(p->rows, p->columns, s->row, s->column)],
                     .row = s->row,
                     .column = s->column});
    }
}
