// SPDX-License-Identifier: Apache-2.0
/*
 * The telemetry of circuit.md, from a network between `descend` and `change`; what each series
 * means is said in TET_SERIES. Which are recorded is the plan's choice; network.c provides the
 * scratch.
 *
 * Sums that become records run in double and in a fixed order, or through the kernels, and nothing
 * of libm but sqrt is used: records are the same to the bit on every machine.
 */
#ifndef CORE_TELEMETRY_H
#define CORE_TELEMETRY_H

#include <tetrad/trainer.h>

#include "network.h"

enum { TET_RANK_EXAMPLES = 128 }; // of a batch that effective ranks look at

/* Takes records; fills in their step. */
struct tet_emitter {
    void (*emit)(void *context, struct tet_record record);
    void *context;
};

static inline void tet_emit(const struct tet_emitter *to, enum tet_series series, uint32_t layer,
                            double value)
{
    to->emit(to->context, (struct tet_record){.series = series, .layer = layer, .value = value});
}

/* tet_telemetry: everything that a mini-batch's record has, of step `step` (from 1). */
void tet_telemetry(struct tet_net *net, uint64_t step, const struct tet_emitter *to);

/* Its parts: cosines of signals and matrices; of activities; of single synapses. */
void tet_telemetry_alignment(struct tet_net *net, uint64_t step, const struct tet_emitter *to);
void tet_telemetry_activity(struct tet_net *net, const struct tet_emitter *to);
void tet_telemetry_traces(const struct tet_net *net, const struct tet_emitter *to);

/* tet_telemetry_spectrum: the spectrum of every hidden layer, at an epoch's end, for rules with
 * laterals. */
void tet_telemetry_spectrum(struct tet_net *net, const struct tet_emitter *to);

/* tet_traces_choose: sets net->trace: what the plan names, then what it has drawn. Once the wiring
 * is there. */
void tet_traces_choose(struct tet_net *net);

#endif
