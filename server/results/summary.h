// SPDX-License-Identifier: Apache-2.0
/*
 * What an experiment says: for each point of its sweep - the parameters without training.seed - a
 * metric over the seeds, and its differences from a baseline, seed by seed.
 *
 * Only runs that succeeded count, and of those only the ones that have the metric: n is how many
 * these are. What n does not allow is null. One thread per summary.
 */
#ifndef SERVER_RESULTS_SUMMARY_H
#define SERVER_RESULTS_SUMMARY_H

#include <jansson.h>

#include "store/store.h"

struct summary;

enum { SUMMARY_MAX_STEPS = 1000000 }; // points times steps of a summary of all steps

/* summary_create: NULL for lack of memory. */
struct summary *summary_create(void);
void summary_free(struct summary *summary); // NULL is fine

/* summary_add, summary_add_step: take a run's value, and one of many by step (STORE_AT_ALL; after
 * all of summary_add). Both are store_value_fn, with the summary as context; false: see
 * summary_failed. */
bool summary_add(void *summary, const struct store_value *value);
bool summary_add_step(void *summary, const struct store_value *value);

/* summary_failed: TET_OK; TET_NO_MEMORY, or TET_BAD_REQUEST where there are more than
 * SUMMARY_MAX_STEPS. */
TET_MUST_CHECK enum tet_err summary_failed(const struct summary *summary, struct tet_error *error);

size_t summary_values(const struct summary *summary); // of all points together

/* summary_compare: chooses the baseline: the points that have all values of `assignment` ({path:
 * value}). Where it is one point, all others are compared with it; where there are several, a point
 * is compared with the one that it agrees with in all other parameters that baselines have. NULL:
 * the point whose rule.name is bp, if there is one and no more. Errors: TET_NOT_FOUND (no point has
 * these values), TET_NO_MEMORY. */
TET_MUST_CHECK enum tet_err summary_compare(struct summary *summary, const json_t *assignment,
                                            struct tet_error *error);

/* summary_json: {"runs", "baseline", "comparisons", "points"} as schema/openapi.json has them, new;
 * with steps, each point has its "series". NULL for lack of memory. */
json_t *summary_json(const struct summary *summary, bool steps);

#endif
