// SPDX-License-Identifier: Apache-2.0
/* Points of a sweep that are drawn at random. One thread per sweep. */
#ifndef SERVER_DEFINITION_POINTS_H
#define SERVER_DEFINITION_POINTS_H

#include <jansson.h>
#include <stdint.h>

#include "definition/faults.h"

/* points_draw: the values of a path of "random" ({"n", "seed", "values"}, as the schema wants it,
 * or with something missing), in a new array of n. axis: the path's place among the random ones, in
 * the order of their bytes. NULL: the distribution cannot be drawn from, and where that has not
 * been said yet there is a fault at `pointer`, the distribution's place; or no memory. */
json_t *points_draw(const json_t *random, const char *path, uint32_t axis, const char *pointer,
                    struct faults *faults);

#endif
