// SPDX-License-Identifier: Apache-2.0
/* Points of a sweep: see points.h. */
#include "definition/points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tetrad/draw.h>

/* To 6 significant digits: a number that people can read, and that JSON prints as they read it. */
static double rounded(double value, double low, double high)
{
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    value = strtod(text, NULL);
    return value < low ? low : value > high ? high : value;
}

static json_t *draw_one(const char *kind, const json_t *range, const struct tet_draw *draw)
{
    const json_t *first = json_array_get(range, 0), *second = json_array_get(range, 1);
    const double low = json_number_value(first), high = json_number_value(second);
    const int64_t from = json_integer_value(first), to = json_integer_value(second);
    if (strcmp(kind, "uniform") == 0)
        return json_real(rounded(tet_draw_uniform(draw, low, high), low, high));
    if (strcmp(kind, "log_uniform") == 0)
        return json_real(rounded(tet_draw_log_uniform(draw, low, high), low, high));
    if (strcmp(kind, "integer") == 0)
        return json_integer(tet_draw_integer(draw, from, to));
    if (strcmp(kind, "log_integer") == 0)
        return json_integer(tet_draw_log_integer(draw, from, to));
    const int64_t last = (int64_t)json_array_size(range) - 1;
    return json_incref(json_array_get(range, (size_t)tet_draw_integer(draw, 0, last)));
}

/* Whether there is something between the bounds. What the schema found fault with is null now, or
 * gone. */
static bool is_range(const char *kind, const json_t *range, const char *pointer,
                     struct faults *faults)
{
    const json_t *first = json_array_get(range, 0), *second = json_array_get(range, 1);
    if (strcmp(kind, "choice") == 0)
        return first != NULL;
    if (!json_is_number(first) || !json_is_number(second))
        return false;
    if (json_number_value(first) < json_number_value(second))
        return true;
    faults_add(faults, pointer, range, NULL, "two numbers, the first less than the second");
    return false;
}

json_t *points_draw(const json_t *random, const char *path, uint32_t axis, const char *pointer,
                    struct faults *faults)
{
    json_t *distribution = json_object_get(json_object_get(random, "values"), path);
    const json_t *n = json_object_get(random, "n"), *seed = json_object_get(random, "seed");
    const char *kind = json_object_iter_key(json_object_iter(distribution));
    if (kind == NULL || n == NULL || seed == NULL ||
        !is_range(kind, json_object_get(distribution, kind), pointer, faults))
        return NULL;
    json_t *values = json_array();
    struct tet_draw draw = {.seed = (uint64_t)json_integer_value(seed), .axis = axis};
    for (; draw.i < (uint64_t)json_integer_value(n); draw.i++)
        if (json_array_append_new(values,
                                  draw_one(kind, json_object_get(distribution, kind), &draw)) != 0)
            faults->no_memory = true;
    return values;
}
