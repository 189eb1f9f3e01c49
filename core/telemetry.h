// SPDX-License-Identifier: Apache-2.0
/* The self-assembly telemetry of circuit.md, from a network between `descend` and `change`. */
#ifndef CORE_TELEMETRY_H
#define CORE_TELEMETRY_H

#include <tetrad/trainer.h>

#include "network.h"

typedef void tet_emit_fn(void *context, enum tet_series series, uint32_t layer, double value);

/* tet_telemetry: emits every alignment and norm of the network's hidden layers. Needs the
 * activities of a mini-batch, descended, and the telemetry scratch that the plan's record_alignment
 * provides. */
void tet_telemetry(struct tet_net *net, tet_emit_fn *emit, void *context);

#endif
