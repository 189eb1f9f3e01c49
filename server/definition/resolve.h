// SPDX-License-Identifier: Apache-2.0
/* Resolving one run: what depends on several fields, on the rule, on the dataset or on memory. */
#ifndef SERVER_DEFINITION_RESOLVE_H
#define SERVER_DEFINITION_RESOLVE_H

#include <jansson.h>
#include <stdint.h>

#include "definition/faults.h"
#include "definition/inputs.h"

/* Sets of rules, bit r for enum tet_rule_name r: whose settings a definition may hold besides those
 * of the run's own rule, because the sweep makes runs of those rules too. */
struct resolve_rules {
    unsigned experiment; // of all runs
    unsigned grid;       // of the runs of this run's grid
};

/* resolve_rule: the rule's number, or -1. */
int resolve_rule(const char *name);

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

/* The words of a pointer are short, so resolving uses this for most of its faults. */
#define RESOLVE_POINTER 96

#endif
