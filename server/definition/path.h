// SPDX-License-Identifier: Apache-2.0
/* Dotted paths of sweeps: "network.layers.0.units", and where they lead. One thread per sweep. */
#ifndef SERVER_DEFINITION_PATH_H
#define SERVER_DEFINITION_PATH_H

#include "definition/sweep.h"

/* sweep_index: whether a name is the index of an array's element. */
bool sweep_index(const char *name, size_t *index);

/* sweep_next: the name after this one, of those that sweep_axis.names holds. */
const char *sweep_next(const char *name);

/* sweep_child: the member or element of that name; borrowed, NULL where there is none. */
json_t *sweep_child(const json_t *value, const char *name);

/* sweep_check_path: whether the schema and the definition have a place at the axis' path that a
 * sweep can set; otherwise adds a fault at `pointer`. */
bool sweep_check_path(const struct sweep_axis *axis, const json_t *base, const char *pointer,
                      struct faults *faults);

#endif
