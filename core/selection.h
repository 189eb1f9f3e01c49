// SPDX-License-Identifier: Apache-2.0
/*
 * Selection: what the validation part decides - which epoch's weights are the run's, and whether
 * training ends before its last epoch.
 *
 *     going on --judge says so, or all steps are done--> ending --the last evaluation--> ended
 *
 * All of it lies in state arrays of the network, so that a run which is saved anywhere goes on as
 * if it had not been: "selection" (metric of the best epoch, its number from 1, the phase) and,
 * where the best epoch's weights are to be the run's, "selected_weights": a copy of all weights and
 * biases as they lie in memory, which is the same on every machine.
 */
#ifndef CORE_SELECTION_H
#define CORE_SELECTION_H

#include "network.h"

enum tet_phase { TET_GOING_ON, TET_ENDING, TET_ENDED };

/* tet_selection_phase: TET_GOING_ON too where the plan selects nothing. */
enum tet_phase tet_selection_phase(const struct tet_net *net);
void tet_selection_set_phase(struct tet_net *net, enum tet_phase phase);

/* tet_selection_judge: takes the metric of epoch 1, 2, ..., and copies the weights where it is the
 * best so far. Returns whether training is to stop: `patience` epochs in a row were not better. To
 * be asked again about the same epoch changes nothing. */
bool tet_selection_judge(struct tet_net *net, uint32_t epoch, double metric);

/* tet_selection_restore: the best epoch's weights become the network's. */
void tet_selection_restore(struct tet_net *net);

/* The best epoch, from 1; 0 before any. */
uint32_t tet_selection_epoch(const struct tet_net *net);

/* tet_selection_floats: of the copy. */
size_t tet_selection_floats(const struct tet_net *net);

enum { TET_SELECTION = 3 }; // floats of the state "selection"

#endif
