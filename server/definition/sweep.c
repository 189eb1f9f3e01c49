// SPDX-License-Identifier: Apache-2.0
/* Checks sweeps and expands them. One thread per sweep. */
#include "definition/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"

/* What cannot be swept: names of the experiment, and what cannot change a run. */
static const char *const fixed[] = {"name",
                                    "tags",
                                    "sweep",
                                    "training.threads",
                                    "record.checkpoint_epochs",
                                    "record.keep",
                                    "initial_weights_sha256"};

static bool is_index(const char *name, size_t *index)
{
    if (name[0] == '\0' || strlen(name) > 6 || strspn(name, "0123456789") != strlen(name) ||
        (name[0] == '0' && name[1] != '\0'))
        return false;
    *index = (size_t)strtoul(name, NULL, 10);
    return true;
}

static const char *next_name(const char *name)
{
    return name + strlen(name) + 1;
}

static json_t *child(const json_t *value, const char *name)
{
    size_t index;
    if (json_is_array(value))
        return is_index(name, &index) ? json_array_get(value, index) : NULL;
    return json_object_get(value, name);
}

/* ---- paths ---- */

static void add_names(const json_t *schema, json_t *names, const char *prefix)
{
    size_t i;
    json_t *branch, *property;
    const char *key;
    schema = schema_deref(schema);
    json_array_foreach(json_object_get(schema, "anyOf"), i, branch)
    {
        add_names(branch, names, prefix);
    }
    json_object_foreach(json_object_get(schema, "properties"), key, property)
    {
        json_object_set_new(names, key, json_sprintf("%s%s", prefix, key));
    }
}

/* Follows a path through schema and definition. NULL where it leads nowhere; then `names` holds the
 * members {name: path} that there are where it was lost, `lost` is the name that is none of them.
 */
static const json_t *follow(const json_t *schema, const json_t *value, const char *name, size_t n,
                            struct text *prefix, json_t *names, const char **lost)
{
    schema = schema_deref(schema);
    if (n == 0)
        return schema;
    const json_t *branches = json_object_get(schema, "anyOf"), *found = NULL;
    const json_t *items = json_object_get(schema, "items");
    size_t i;
    json_t *branch;
    if (branches != NULL) {
        json_array_foreach(branches, i, branch)
        {
            if (found == NULL && child(json_object_get(schema_deref(branch), "properties"), name))
                found = follow(branch, value, name, n, prefix, names, lost);
        }
    } else if (items != NULL) {
        if (json_is_array(value) && child(value, name) != NULL)
            found = items;
    } else
        found = json_object_get(json_object_get(schema, "properties"), name);
    if (branches != NULL && found != NULL)
        return found;
    if (found == NULL) {
        *lost = name;
        add_names(schema, names, text_get(prefix));
        for (i = 0; items != NULL && i < json_array_size(value) && i < 64; i++) {
            char number[24];
            snprintf(number, sizeof number, "%zu", i);
            json_object_set_new(names, number, json_sprintf("%s%zu", text_get(prefix), i));
        }
        return NULL;
    }
    text_printf(prefix, "%s.", name);
    return follow(found, child(value, name), next_name(name), n - 1, prefix, names, lost);
}

static void put_paths(const json_t *names, struct text *text)
{
    const char *key, *between = "a path: ";
    json_t *path;
    json_object_foreach((json_t *)names, key, path)
    {
        bool is_fixed = false;
        for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
            is_fixed |= strcmp(json_string_value(path), fixed[i]) == 0;
        if (is_fixed)
            continue;
        text_printf(text, "%s%s", between, json_string_value(path));
        between = ", ";
    }
    if (text->size == 0)
        text_puts(text, "a path of the definition, with nothing below a single value");
}

static bool check_path(const struct sweep_axis *axis, const json_t *base, const char *pointer,
                       struct faults *faults)
{
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (strcmp(axis->path, fixed[i]) == 0) {
            faults_add(faults, pointer, axis->values, NULL,
                       "a path that changes a run; %s does not, and cannot be swept", fixed[i]);
            return false;
        }
    json_t *names = json_object();
    struct text prefix = {0}, words = {0}, hint = {0};
    const char *lost = "";
    const json_t *found =
        follow(schema_experiment(), base, axis->names, axis->n_names, &prefix, names, &lost);
    if (names == NULL || prefix.failed) {
        faults->no_memory = true;
    } else if (found == NULL) {
        const char *near = faults_nearest(lost, names);
        const char *end = axis->names + strlen(axis->path);
        if (near != NULL)
            text_puts(&hint, json_string_value(json_object_get(names, near)));
        for (lost = next_name(lost); near != NULL && lost < end; lost = next_name(lost))
            text_printf(&hint, ".%s", lost);
        put_paths(names, &words);
        faults_add(faults, pointer, axis->values, near != NULL ? text_get(&hint) : NULL, "%s",
                   text_get(&words));
    }
    faults->no_memory |= prefix.failed || words.failed || hint.failed || names == NULL;
    text_free(&prefix);
    text_free(&hint);
    text_free(&words);
    json_decref(names);
    return found != NULL;
}

static bool below(const char *pointer, const char *ancestor)
{
    size_t n = strlen(ancestor);
    return strncmp(pointer, ancestor, n) == 0 && (pointer[n] == '/' || pointer[n] == '\0');
}

/* ---- reading ---- */

static bool axis_init(struct sweep_axis *axis, const char *path, const json_t *values)
{
    struct text pointer = {0};
    *axis = (struct sweep_axis){
        .path = path, .values = values, .n = json_array_size(values), .n_names = 1};
    axis->names = strdup(path);
    if (axis->names == NULL)
        return false;
    for (char *p = axis->names; *p != '\0'; p++)
        if (*p == '.') {
            *p = '\0';
            axis->n_names++;
        }
    const char *name = axis->names;
    for (size_t i = 0; i < axis->n_names; i++, name = next_name(name))
        text_token(&pointer, name);
    axis->pointer = text_take(&pointer);
    return axis->pointer != NULL;
}

static void axis_free(struct sweep_axis *axis)
{
    free(axis->names);
    free(axis->pointer);
    *axis = (struct sweep_axis){0};
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

static void check_grid(const struct sweep *sweep, struct sweep_grid *grid, const json_t *base,
                       struct faults *faults)
{
    size_t kept = 0;
    for (size_t i = 0; i < grid->n_axes; i++) {
        struct sweep_axis axis = grid->axes[i];
        struct text pointer = {0};
        grid_pointer(sweep, grid, &pointer);
        text_token(&pointer, axis.path);
        faults->no_memory |= pointer.failed;
        check_duplicates(&axis, text_get(&pointer), faults);
        if (check_path(&axis, base, text_get(&pointer), faults))
            grid->axes[kept++] = axis;
        else
            axis_free(&axis);
        text_free(&pointer);
    }
    grid->n_axes = kept;
    for (size_t i = 0; i < grid->n_axes; i++) {
        struct text pointer = {0};
        grid_pointer(sweep, grid, &pointer);
        text_token(&pointer, grid->axes[i].path);
        check_overlap(grid, i, text_get(&pointer), faults);
        text_free(&pointer);
    }
}

static bool grid_init(struct sweep_grid *grid, const json_t *json)
{
    const char *path;
    json_t *values;
    size_t i = 0, n = json_object_size(json);
    grid->axes = calloc(n + 1, sizeof *grid->axes);
    if (grid->axes == NULL)
        return false;
    grid->n_axes = n;
    json_object_foreach((json_t *)json, path, values)
    {
        if (!axis_init(&grid->axes[i++], path, values))
            return false;
    }
    qsort(grid->axes, n, sizeof *grid->axes, compare_axes);
    return true;
}

/* How many runs; strides on the way. SIZE_MAX stands for all that is beyond it. */
static void count_runs(struct sweep *sweep)
{
    for (size_t g = 0; g < sweep->n_grids; g++) {
        struct sweep_grid *grid = &sweep->grids[g];
        grid->n_runs = 1;
        for (size_t i = grid->n_axes; i-- > 0;) {
            grid->axes[i].stride = grid->n_runs;
            if (__builtin_mul_overflow(grid->n_runs, grid->axes[i].n, &grid->n_runs))
                grid->n_runs = SIZE_MAX;
        }
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
    json_object_foreach((json_t *)grid, path, values)
    {
        struct sweep_axis axis;
        if ((!json_is_array(values) || json_array_size(values) == 0) &&
            axis_init(&axis, path, NULL)) {
            for (char *end = axis.pointer + strlen(axis.pointer); end != axis.pointer;
                 end = strrchr(axis.pointer, '/')) {
                *end = '\0';
                faults_excuse(faults, axis.pointer);
            }
            axis_free(&axis);
        }
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
        if (!grid_init(into, grid))
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

static size_t value_index(const struct sweep_axis *axis, size_t run)
{
    return run / axis->stride % axis->n;
}

/* Sets one value; where something on the way is not what the schema wants, leaves that to the
 * schema. */
static bool set_value(json_t *at, const char *name, size_t n, json_t *value)
{
    for (; n > 1; n--, name = next_name(name)) {
        json_t *next = child(at, name);
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
    if (json_is_array(at) && is_index(name, &index) && index < json_array_size(at))
        return json_array_set_new(at, index, copy) == 0;
    json_decref(copy);
    return true;
}

bool sweep_apply(const struct sweep_point *point, json_t *run)
{
    for (size_t i = 0; i < point->grid->n_axes; i++) {
        const struct sweep_axis *axis = &point->grid->axes[i];
        json_t *value = json_array_get(axis->values, value_index(axis, point->run));
        if (!set_value(run, axis->names, axis->n_names, value))
            return false;
    }
    return true;
}

json_t *sweep_parameters(const struct sweep_point *point, const json_t *resolved)
{
    json_t *parameters = json_object();
    for (size_t i = 0; i < point->grid->n_axes; i++) {
        const struct sweep_axis *axis = &point->grid->axes[i];
        const json_t *found = resolved;
        const char *name = axis->names;
        for (size_t k = 0; k < axis->n_names; k++, name = next_name(name))
            found = child(found, name);
        if (found == NULL)
            continue;
        json_t *value = json_array_get(axis->values, value_index(axis, point->run));
        if (!json_is_object(found) && !json_is_array(found))
            value = (json_t *)found; // as the schema normalised it
        if (json_object_set(parameters, axis->path, value) != 0) {
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
        if (!below(pointer, axis->pointer))
            continue;
        grid_pointer(point->sweep, point->grid, text);
        text_token(text, axis->path);
        text_printf(text, "/%zu%s", value_index(axis, point->run), pointer + strlen(axis->pointer));
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
