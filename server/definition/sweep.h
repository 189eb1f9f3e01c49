// SPDX-License-Identifier: Apache-2.0
/*
 * Sweeps: grids of values by dotted path, expanded to runs.
 *
 * A grid's axes are in the order of their paths' bytes, the first varying slowest, whatever order
 * they were written in: so canonical JSON, which sorts keys, still says what the runs' order is.
 *
 * A grid may also have points, random (points.c) or listed. These are axes too, one for each path
 * of the points, but tied: all of them take the value of the same point. Points vary slowest.
 *
 * Threads: one for each.
 */
#ifndef SERVER_DEFINITION_SWEEP_H
#define SERVER_DEFINITION_SWEEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <tetrad/error.h>

#include "definition/faults.h"
#include "definition/schema.h"
#include "text.h"

enum sweep_source { SWEEP_GRID, SWEEP_RANDOM, SWEEP_LIST };

struct sweep_axis {
    enum sweep_source source; // all but SWEEP_GRID are tied
    const char *path;         // "training.seed"; a key of the sweep's JSON
    char *pointer;            // "/training/seed"
    char *names;              // the path cut at its dots by NULs, n_names of them
    size_t n_names;
    const json_t *values; // array of at least one; SWEEP_LIST: the list of points
    json_t *drawn;        // SWEEP_RANDOM: the values, owned
    size_t n, stride;     // value of run r: (r / stride) % n
};

struct sweep_grid {
    size_t number;   // in the array of grids
    size_t n_points; // random or listed; 0: none
    size_t n_axes;
    struct sweep_axis *axes;
    size_t n_runs; // at most DEFINITION_MAX_RUNS where the sweep is not too large
};

struct sweep {
    json_t *json;  // as given; owned
    bool array;    // an array of grids
    bool too_many; // runs: there is nothing to expand
    size_t n_grids, n_runs;
    struct sweep_grid *grids;
};

/* One run of a sweep. */
struct sweep_point {
    const struct sweep *sweep;
    const struct sweep_grid *grid;
    size_t run; // within the grid
};

/* sweep_read: takes over `json`, the value of the member "sweep" (faulty parts are taken out of
 * it); base is the definition without it. Adds faults; the sweep holds what is usable. NULL where
 * memory fails. */
struct sweep *sweep_read(json_t *json, const json_t *base, struct faults *faults);
void sweep_free(struct sweep *sweep); // NULL is fine

/* sweep_value: the k-th value of an axis; NULL where a listed point does not have the path. */
const json_t *sweep_value(const struct sweep_axis *axis, size_t k);

/* sweep_apply: sets the point's values in a run's definition; false for lack of memory. */
bool sweep_apply(const struct sweep_point *point, json_t *run);

/* sweep_parameters: {path: value} of a point, a new object, without the paths that the run's rule has
 * no use for; what the resolved run leaves out because it is off is among them. NULL for lack of
 * memory. */
json_t *sweep_parameters(const struct sweep_point *point, const json_t *resolved);

/* sweep_pointer: where `pointer` is at or below a place that the point's grid sets, writes the
 * place in the sweep ("/sweep/training.seed/2", "/sweep/random/values/optimizer.lr",
 * "/sweep/list/2/optimizer.lr") and returns true. point NULL: false. */
bool sweep_pointer(const struct sweep_point *point, const char *pointer, struct text *text);

/* sweep_sets: whether any axis sets what is at the pointer, neither more nor less. */
bool sweep_sets(const struct sweep *sweep, const char *pointer);

/* sweep_touches: whether any axis sets something at, above or below the pointer. */
bool sweep_touches(const struct sweep *sweep, const char *pointer);

#endif
