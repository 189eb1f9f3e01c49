// SPDX-License-Identifier: Apache-2.0
/* Dotted paths of sweeps: see path.h. */
#include "definition/path.h"

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
                                    "record.keep_best",
                                    "initial_weights_sha256"};

bool sweep_index(const char *name, size_t *index)
{
    if (name[0] == '\0' || strlen(name) > 6 || strspn(name, "0123456789") != strlen(name) ||
        (name[0] == '0' && name[1] != '\0'))
        return false;
    *index = (size_t)strtoul(name, NULL, 10);
    return true;
}

const char *sweep_next(const char *name)
{
    return name + strlen(name) + 1;
}

json_t *sweep_child(const json_t *value, const char *name)
{
    size_t index;
    if (json_is_array(value))
        return sweep_index(name, &index) ? json_array_get(value, index) : NULL;
    return json_object_get(value, name);
}

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
            if (found == NULL &&
                sweep_child(json_object_get(schema_deref(branch), "properties"), name))
                found = follow(branch, value, name, n, prefix, names, lost);
        }
    } else if (items != NULL) {
        if (json_is_array(value) && sweep_child(value, name) != NULL)
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
    return follow(found, sweep_child(value, name), sweep_next(name), n - 1, prefix, names, lost);
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

bool sweep_check_path(const struct sweep_axis *axis, const json_t *base, const char *pointer,
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
        for (lost = sweep_next(lost); near != NULL && lost < end; lost = sweep_next(lost))
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
