// SPDX-License-Identifier: Apache-2.0
/* Resolving one run: what depends on several fields, on the rule, on the dataset or on memory.
 * Threads: any; nothing is shared between calls. */
#ifndef SERVER_DEFINITION_RESOLVE_H
#define SERVER_DEFINITION_RESOLVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <tetrad/plan.h>

#include "definition/faults.h"
#include "definition/inputs.h"

/* Sets of rules, bit r for enum tet_rule_name r: whose settings a definition may hold besides those
 * of the run's own rule, because the sweep makes runs of those rules too. */
struct resolve_rules {
    unsigned experiment; // of all runs
    unsigned grid;       // of the runs of this run's grid
};

/* One run on its way. */
struct resolve_work {
    json_t *run;
    struct inputs *inputs;
    const struct resolve_rules *rules;
    struct faults *faults;
    int rule;                         // -1: unknown
    const struct tet_rule_info *info; // NULL: likewise
};

/* resolve_default_rate: the "lr" or "decay" of group g in optimizer.groups where the definition says
 * nothing, from the optimizer's own; a new value. */
json_t *resolve_default_rate(const json_t *run, unsigned g, const char *key);

/* resolve_rule: the rule's number, or -1. */
int resolve_rule(const char *name);

/* resolve_group: the number of a group of synapses, or -1. */
int resolve_group(const char *name);

/* Items of network.layers, and the names of their types. */
enum resolve_layer {
    LAYER_DENSE,
    LAYER_CONV2D,
    LAYER_MAX_POOL,
    LAYER_AVG_POOL,
    LAYER_FLATTEN,
    LAYER_TYPES
};
extern const char *const resolve_layer_types[LAYER_TYPES];

/* resolve_run: `run` is filled and checked against the schema; what had faults is not in it. Adds
 * what remains to be said. Where the run has no fault at all (faults->hits stays as it was before
 * schema_check, told by `clean`) also sets *memory_bytes and *steps. Errors: TET_NO_MEMORY, TET_IO
 * (reading a dataset). */
TET_MUST_CHECK enum tet_err resolve_run(json_t *run, struct inputs *inputs,
                                        const struct resolve_rules *rules, struct faults *faults,
                                        size_t clean, uint64_t *memory_bytes, uint64_t *steps,
                                        struct tet_error *error);

/* resolve_dataset: the part of it that concerns the dataset; *entry is NULL where it has none that
 * can be used. */
TET_MUST_CHECK enum tet_err resolve_dataset(json_t *run, struct inputs *inputs,
                                            struct faults *faults,
                                            const struct inputs_dataset **entry,
                                            struct tet_error *error);

/* resolve_foreign: takes out what the rule has no use for, of rule and of optimizer.groups. */
void resolve_foreign(struct resolve_work *work);

/* resolve_timing: noise, delay and order of the changes. */
void resolve_timing(struct resolve_work *work);

/* resolve_network: the layers by themselves: defaults, and which may stand above which. */
void resolve_network(struct resolve_work *work);

/* resolve_images: the layers against the dataset: whether it has images, whether the windows fit
 * into them, and whether there are not too many neurons and synapses. */
void resolve_images(struct resolve_work *work, const struct dataset_info *info);

/* resolve_protocol: `type` and `protocol` by themselves. */
void resolve_protocol(struct resolve_work *work);

/* resolve_protocol_plan: the protocol against a plan that passed its check, where the run is one:
 * adds what it takes to *bytes and sets *steps. false: there are faults. */
bool resolve_protocol_plan(struct resolve_work *work, const struct tet_plan *plan,
                           const struct tet_shape *shape, uint64_t *bytes, uint64_t *steps);

/* resolve_record: what is recorded besides the oldest settings, and dataset.augment: what is off is
 * taken out, and what the rule has no use for. */
void resolve_record(struct resolve_work *work);

/* resolve_augment: whether there are images to augment. */
void resolve_augment(struct resolve_work *work, const struct dataset_info *info);

/* resolve_synapses: record.synapses and record.traces against the run's plan, of a run without
 * faults so far; takes synapses out that only other rules of the sweep have, so that the plan is to
 * be made anew. */
void resolve_synapses(struct resolve_work *work, const struct tet_plan *plan,
                      const struct tet_shape *shape);

/* resolve_synapse: reads "W1/12/7"; false where it is not written so. */
bool resolve_synapse(const char *text, struct tet_synapse *synapse);

/* resolve_set: a member; want of memory is noted in work->faults. */
void resolve_set(struct resolve_work *work, json_t *object, const char *key, json_t *value);

/* resolve_has_rates: whether a rule's group has a rate and a decay in optimizer.groups. Fixed D has
 * none; where the rule mirrors, those of B are the mirror's. */
bool resolve_has_rates(const struct tet_rule_info *info, enum tet_group group);

/* resolve_is_homeostatic: whether a mini-batch changes groups of the rule besides W. */
bool resolve_is_homeostatic(const struct tet_rule_info *info);

/* resolve_is_foreign: whether a setting at `pointer`, which only rules with the group have a use
 * for, is meant for another rule of the sweep: any, where all grids share the setting; one of this
 * grid's, where this grid sets it. */
bool resolve_is_foreign(const struct resolve_work *work, const char *pointer, enum tet_group group);

/* resolve_is_foreign_plastic: likewise for a setting that only rules use whose group is plastic. */
bool resolve_is_foreign_plastic(const struct resolve_work *work, const char *pointer,
                                enum tet_group group);

/* resolve_interventions: their times and places; those that only another rule of the sweep has a
 * use for are dropped, and an empty list too. Needs the dataset's counts. */
void resolve_interventions(struct resolve_work *work);

/* The words of a pointer are short, so resolving uses this for most of its faults. */
#define RESOLVE_POINTER 96

#endif
