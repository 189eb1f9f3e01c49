// SPDX-License-Identifier: Apache-2.0
/* Checks sweeps and expands them. One thread per sweep. */
#include "definition/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"
#include "definition/off.h"
#include "definition/path.h"
#include "definition/points.h"
#include "definition/resolve.h"

static bool below(const char *pointer, const char *ancestor)
{
    size_t n = strlen(ancestor);
    return strncmp(pointer, ancestor, n) == 0 && (pointer[n] == '/' || pointer[n] == '\0');
}

/* ---- reading ---- */

static bool axis_init(struct sweep_axis *axis, enum sweep_source source, const char *path,
                      const json_t *values)
{
    struct text pointer = {0};
    *axis = (struct sweep_axis){.source = source,
                                .path = path,
                                .values = values,
                                .n = json_array_size(values),
                                .n_names = 1};
    axis->names = strdup(path);
    if (axis->names == NULL)
        return false;
    for (char *p = axis->names; *p != '\0'; p++)
        if (*p == '.') {
            *p = '\0';
            axis->n_names++;
        }
    const char *name = axis->names;
    for (size_t i = 0; i < axis->n_names; i++, name = sweep_next(name))
        text_token(&pointer, name);
    axis->pointer = text_take(&pointer);
    return axis->pointer != NULL;
}

static void axis_free(struct sweep_axis *axis)
{
    free(axis->names);
    free(axis->pointer);
    json_decref(axis->drawn);
    *axis = (struct sweep_axis){0};
}

/* What the path would have set, if its values were usable, is not missing. */
static void excuse_path(const char *path, struct faults *faults)
{
    struct sweep_axis axis;
    if (axis_init(&axis, SWEEP_GRID, path, NULL)) {
        for (char *end = axis.pointer + strlen(axis.pointer); end != axis.pointer;
             end = strrchr(axis.pointer, '/')) {
            *end = '\0';
            faults_excuse(faults, axis.pointer);
        }
    }
    axis_free(&axis);
}

static int compare_axes(const void *a, const void *b)
{
    return strcmp(((const struct sweep_axis *)a)->path, ((const struct sweep_axis *)b)->path);
}

static void check_duplicates(const struct sweep_axis *axis, const char *pointer,
                             struct faults *faults)
{
    json_t *seen = json_object(), *value;
    size_t i;
    json_array_foreach(axis->values, i, value)
    {
        char *text = json_canonical(value);
        if (text == NULL || seen == NULL)
            faults->no_memory = true;
        else if (json_object_get(seen, text) != NULL) {
            struct text at = {0};
            text_printf(&at, "%s/%zu", pointer, i);
            faults_add(faults, text_get(&at), value, NULL, "values that differ from each other");
            text_free(&at);
        } else if (json_object_set_new(seen, text, json_true()) != 0)
            faults->no_memory = true;
        free(text);
    }
    json_decref(seen);
}

/* One path inside another would be overwritten by it. Axes are sorted, and few. */
static void check_overlap(const struct sweep_grid *grid, size_t i, const char *pointer,
                          struct faults *faults)
{
    for (size_t j = 0; j < grid->n_axes; j++)
        if (j != i && below(grid->axes[i].pointer, grid->axes[j].pointer))
            faults_add(faults, pointer, grid->axes[i].values, NULL,
                       "a path that is not inside %s, which is swept too", grid->axes[j].path);
}

static void grid_pointer(const struct sweep *sweep, const struct sweep_grid *grid,
                         struct text *text)
{
    text_puts(text, "/sweep");
    if (sweep->array)
        text_printf(text, "/%zu", grid->number);
}

/* Where an axis is written: of a listed path, in point k. */
static void axis_pointer(const struct sweep *sweep, const struct sweep_grid *grid,
                         const struct sweep_axis *axis, size_t k, struct text *text)
{
    grid_pointer(sweep, grid, text);
    if (axis->source == SWEEP_RANDOM)
        text_puts(text, "/random/values");
    if (axis->source == SWEEP_LIST)
        text_printf(text, "/list/%zu", k);
    text_token(text, axis->path);
}

/* The first listed point that has the path. */
static size_t first_point(const struct sweep_axis *axis)
{
    size_t k = 0;
    while (axis->source == SWEEP_LIST && sweep_value(axis, k) == NULL)
        k++;
    return k;
}

static void check_grid(const struct sweep *sweep, struct sweep_grid *grid, const json_t *base,
                       struct faults *faults)
{
    size_t kept = 0;
    for (size_t i = 0; i < grid->n_axes; i++) {
        struct sweep_axis axis = grid->axes[i];
        struct text pointer = {0};
        axis_pointer(sweep, grid, &axis, first_point(&axis), &pointer);
        faults->no_memory |= pointer.failed;
        if (axis.source == SWEEP_GRID)
            check_duplicates(&axis, text_get(&pointer), faults);
        if (sweep_check_path(&axis, base, text_get(&pointer), faults))
            grid->axes[kept++] = axis;
        else
            axis_free(&axis);
        text_free(&pointer);
    }
    grid->n_axes = kept;
    for (size_t i = 0; i < grid->n_axes; i++) {
        struct text pointer = {0};
        axis_pointer(sweep, grid, &grid->axes[i], first_point(&grid->axes[i]), &pointer);
        check_overlap(grid, i, text_get(&pointer), faults);
        text_free(&pointer);
    }
}

static bool add_axis(struct sweep_grid *grid, enum sweep_source source, const char *path,
                     const json_t *values)
{
    struct sweep_axis *more = realloc(grid->axes, (grid->n_axes + 1) * sizeof *grid->axes);
    if (more == NULL)
        return false;
    grid->axes = more;
    return axis_init(&grid->axes[grid->n_axes++], source, path, values);
}

/* An axis for each path that any of the listed points has. */
static bool add_list(struct sweep_grid *grid, const json_t *list)
{
    json_t *seen = json_object(), *point, *value;
    const char *path;
    size_t i;
    bool good = seen != NULL;
    json_array_foreach((json_t *)(uintptr_t)list, i, point)
    {
        json_object_foreach(point, path, value)
        {
            if (json_object_get(seen, path) == NULL)
                good = good && add_axis(grid, SWEEP_LIST, path, list) &&
                       json_object_set_new(seen, path, json_true()) == 0;
        }
    }
    grid->n_points = json_array_size(list);
    json_decref(seen);
    return good;
}

/* What the random axes draw; one that cannot is left out. Axes are sorted. */
static void draw_points(const struct sweep *sweep, struct sweep_grid *grid, const json_t *random,
                        struct faults *faults)
{
    size_t kept = 0;
    uint32_t n = 0;
    for (size_t i = 0; i < grid->n_axes; i++) {
        struct sweep_axis axis = grid->axes[i];
        if (axis.source == SWEEP_RANDOM) {
            struct text pointer = {0};
            axis_pointer(sweep, grid, &axis, 0, &pointer);
            axis.drawn = points_draw(random, axis.path, n++, text_get(&pointer), faults);
            axis.values = axis.drawn;
            axis.n = json_array_size(axis.drawn);
            text_free(&pointer);
            if (axis.drawn == NULL) {
                excuse_path(axis.path, faults);
                axis_free(&axis);
                continue;
            }
        }
        grid->axes[kept++] = axis;
    }
    grid->n_axes = kept;
}

static bool add_random(struct sweep_grid *grid, const json_t *random)
{
    const char *path;
    json_t *value;
    json_object_foreach(json_object_get(random, "values"), path, value)
    {
        if (!add_axis(grid, SWEEP_RANDOM, path, NULL))
            return false;
    }
    grid->n_points = (size_t)json_integer_value(json_object_get(random, "n"));
    return true;
}

static bool grid_init(const struct sweep *sweep, struct sweep_grid *grid, const json_t *json,
                      struct faults *faults)
{
    const char *path;
    json_t *values;
    const json_t *random = json_object_get(json, "random"), *list = json_object_get(json, "list");
    if (random != NULL && list != NULL) {
        struct text pointer = {0};
        grid_pointer(sweep, grid, &pointer);
        text_puts(&pointer, "/list");
        faults_add(faults, text_get(&pointer), list, NULL,
                   "random or listed points, not both in one grid: an array of grids has both");
        text_free(&pointer);
        list = NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)json, path, values)
    {
        if (values != random && strcmp(path, "list") != 0 &&
            !add_axis(grid, SWEEP_GRID, path, values))
            return false;
    }
    if ((random != NULL && !add_random(grid, random)) || (list != NULL && !add_list(grid, list)))
        return false;
    if (grid->n_axes > 0)
        qsort(grid->axes, grid->n_axes, sizeof *grid->axes, compare_axes);
    draw_points(sweep, grid, random, faults);
    return true;
}

/* How many runs; strides on the way. SIZE_MAX stands for all that is beyond it. */
static void count_runs(struct sweep *sweep)
{
    for (size_t g = 0; g < sweep->n_grids; g++) {
        struct sweep_grid *grid = &sweep->grids[g];
        grid->n_runs = 1;
        for (size_t i = grid->n_axes; i-- > 0;) {
            if (grid->axes[i].source != SWEEP_GRID)
                continue;
            grid->axes[i].stride = grid->n_runs;
            if (__builtin_mul_overflow(grid->n_runs, grid->axes[i].n, &grid->n_runs))
                grid->n_runs = SIZE_MAX;
        }
        for (size_t i = 0; i < grid->n_axes; i++)
            if (grid->axes[i].source != SWEEP_GRID)
                grid->axes[i].stride = grid->n_runs;
        if (grid->n_points > 0 &&
            __builtin_mul_overflow(grid->n_runs, grid->n_points, &grid->n_runs))
            grid->n_runs = SIZE_MAX;
        if (__builtin_add_overflow(sweep->n_runs, grid->n_runs, &sweep->n_runs))
            sweep->n_runs = SIZE_MAX;
    }
}

static void too_many(struct sweep *sweep, struct faults *faults)
{
    json_t *found = sweep->n_runs < (size_t)1 << 53 ? json_integer((json_int_t)sweep->n_runs)
                                                    : json_string("more than 2^53 runs");
    faults_add(faults, "/sweep", found, NULL, "at most %d runs", DEFINITION_MAX_RUNS);
    json_decref(found);
    sweep->too_many = true;
}

/* Paths whose values are unusable still say that something would have been there. */
static void excuse(const json_t *grid, struct faults *faults)
{
    const char *path;
    json_t *values;
    json_object_foreach((json_t *)(uintptr_t)grid, path, values)
    {
        if (!json_is_array(values) || json_array_size(values) == 0)
            excuse_path(path, faults);
    }
    json_object_foreach(json_object_get(json_object_get(grid, "random"), "values"), path, values)
    {
        const char *kind = json_object_iter_key(json_object_iter(values));
        if (kind == NULL || !json_is_array(json_object_get(values, kind)))
            excuse_path(path, faults);
    }
}

struct sweep *sweep_read(json_t *json, const json_t *base, struct faults *faults)
{
    struct sweep *sweep = calloc(1, sizeof *sweep);
    const json_t *schema =
        json_object_get(json_object_get(schema_experiment(), "properties"), "sweep");
    const struct place place = {NULL, "sweep", 0};
    json_t *grid = json;
    if (sweep == NULL) {
        json_decref(json);
        return NULL;
    }
    sweep->json = json;
    sweep->array = json_is_array(json);
    for (size_t g = 0; g < (sweep->array ? json_array_size(json) : 1); g++)
        excuse(sweep->array ? json_array_get(json, g) : json, faults);
    if (!schema_fill(schema, json, &place, NULL, NULL))
        goto fail;
    if (!schema_check(schema, json, &place, faults))
        return sweep;
    size_t n = sweep->array ? json_array_size(json) : 1;
    sweep->grids = calloc(n, sizeof *sweep->grids);
    if (sweep->grids == NULL)
        goto fail;
    for (size_t g = 0; g < n; g++) {
        if (sweep->array)
            grid = json_array_get(json, g);
        if (!json_is_object(grid))
            continue;
        struct sweep_grid *into = &sweep->grids[sweep->n_grids++];
        into->number = g;
        if (!grid_init(sweep, into, grid, faults))
            goto fail;
        check_grid(sweep, into, base, faults);
    }
    count_runs(sweep);
    if (sweep->n_runs > DEFINITION_MAX_RUNS)
        too_many(sweep, faults);
    return sweep;
fail:
    sweep_free(sweep);
    return NULL;
}

void sweep_free(struct sweep *sweep)
{
    if (sweep == NULL)
        return;
    for (size_t g = 0; g < sweep->n_grids; g++) {
        for (size_t i = 0; i < sweep->grids[g].n_axes; i++)
            axis_free(&sweep->grids[g].axes[i]);
        free(sweep->grids[g].axes);
    }
    free(sweep->grids);
    json_decref(sweep->json);
    free(sweep);
}

/* ---- using ---- */

const json_t *sweep_value(const struct sweep_axis *axis, size_t k)
{
    const json_t *value = json_array_get(axis->values, k);
    return axis->source == SWEEP_LIST ? json_object_get(value, axis->path) : value;
}

static size_t value_index(const struct sweep_axis *axis, size_t run)
{
    return run / axis->stride % axis->n;
}

/* Sets one value; where something on the way is not what the schema wants, leaves that to the
 * schema. */
static bool set_value(json_t *at, const char *name, size_t n, const json_t *value)
{
    for (; n > 1; n--, name = sweep_next(name)) {
        json_t *next = sweep_child(at, name);
        if (next == NULL && json_is_object(at)) {
            next = json_object();
            if (json_object_set_new(at, name, next) != 0)
                return false;
        }
        at = next;
    }
    size_t index;
    json_t *copy = json_clone(value); // a run's definition is changed while it is resolved
    if (copy == NULL)
        return false;
    if (json_is_object(at))
        return json_object_set_new(at, name, copy) == 0;
    if (json_is_array(at) && sweep_index(name, &index) && index < json_array_size(at))
        return json_array_set_new(at, index, copy) == 0;
    json_decref(copy);
    return true;
}

bool sweep_apply(const struct sweep_point *point, json_t *run)
{
    for (size_t i = 0; i < point->grid->n_axes; i++) {
        const struct sweep_axis *axis = &point->grid->axes[i];
        const json_t *value = sweep_value(axis, value_index(axis, point->run));
        if (value != NULL && !set_value(run, axis->names, axis->n_names, value))
            return false;
    }
    return true;
}

json_t *sweep_parameters(const struct sweep_point *point, const json_t *resolved)
{
    json_t *parameters = json_object();
    const int rule =
        resolve_rule(json_string_value(json_object_get(json_object_get(resolved, "rule"), "name")));
    for (size_t i = 0; i < point->grid->n_axes; i++) {
        const struct sweep_axis *axis = &point->grid->axes[i];
        const json_t *found = resolved;
        const char *name = axis->names;
        for (size_t k = 0; k < axis->n_names; k++, name = sweep_next(name))
            found = sweep_child(found, name);
        const json_t *value = sweep_value(axis, value_index(axis, point->run));
        if (value == NULL ||
            (found == NULL &&
             (rule < 0 || !off_value(axis->path, value, tet_rule_info((enum tet_rule_name)rule)))))
            continue;
        if (found != NULL && !json_is_object(found) && !json_is_array(found))
            value = found; // as the schema normalised it
        if (json_object_set(parameters, axis->path, (json_t *)(uintptr_t)value) != 0) {
            json_decref(parameters);
            return NULL;
        }
    }
    return parameters;
}

bool sweep_pointer(const struct sweep_point *point, const char *pointer, struct text *text)
{
    if (point == NULL)
        return false;
    for (size_t i = 0; i < point->grid->n_axes; i++) {
        const struct sweep_axis *axis = &point->grid->axes[i];
        const size_t k = value_index(axis, point->run);
        if (!below(pointer, axis->pointer) || sweep_value(axis, k) == NULL)
            continue;
        const char *rest = pointer + strlen(axis->pointer);
        axis_pointer(point->sweep, point->grid, axis, k, text);
        if (axis->source == SWEEP_GRID)
            text_printf(text, "/%zu%s", k, rest);
        if (axis->source == SWEEP_LIST)
            text_puts(text, rest);
        return true;
    }
    return false;
}

bool sweep_sets(const struct sweep *sweep, const char *pointer)
{
    for (size_t g = 0; g < sweep->n_grids; g++)
        for (size_t i = 0; i < sweep->grids[g].n_axes; i++)
            if (strcmp(pointer, sweep->grids[g].axes[i].pointer) == 0)
                return true;
    return false;
}

bool sweep_touches(const struct sweep *sweep, const char *pointer)
{
    for (size_t g = 0; g < sweep->n_grids; g++)
        for (size_t i = 0; i < sweep->grids[g].n_axes; i++)
            if (below(pointer, sweep->grids[g].axes[i].pointer) ||
                below(sweep->grids[g].axes[i].pointer, pointer))
                return true;
    return false;
}
