// SPDX-License-Identifier: Apache-2.0
/* Datasets and weight files as a definition names them. One thread per definition. */
#include "definition/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"

void inputs_init(struct inputs *inputs, const struct definition_context *context)
{
    *inputs = (struct inputs){.context = context, .weights = json_object()};
}

void inputs_free(struct inputs *inputs)
{
    json_decref(inputs->weights);
    *inputs = (struct inputs){0};
}

static bool same_spec(const struct dataset_spec *a, const struct dataset_spec *b)
{
    return strcmp(a->name, b->name) == 0 && a->seed == b->seed && a->train == b->train &&
           a->test == b->test;
}

const struct inputs_dataset *inputs_dataset(struct inputs *inputs, const struct dataset_spec *spec)
{
    size_t n = inputs->n_datasets < INPUTS_DATASETS ? inputs->n_datasets : INPUTS_DATASETS;
    for (size_t i = 0; i < n; i++)
        if (same_spec(&inputs->datasets[i].spec, spec))
            return &inputs->datasets[i];
    struct inputs_dataset *entry = &inputs->datasets[inputs->n_datasets++ % INPUTS_DATASETS];
    *entry = (struct inputs_dataset){.spec = *spec};
    entry->err = catalog_info(inputs->context->catalog, spec, &entry->info, &entry->why);
    return entry;
}

json_t *inputs_names(const struct inputs *inputs)
{
    char **names = NULL;
    size_t n = 0;
    const enum tet_err err = catalog_list(inputs->context->catalog, &names, &n, NULL);
    if (err == TET_NO_MEMORY)
        json_spoil(); // a fault that lists half of what is allowed would mislead
    if (err != TET_OK)
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    catalog_names_free(names, n);
    return list;
}

/* NULL, or why the name is not allowed. */
static const char *refuse_name(const struct definition_context *context, const char *name)
{
    if (context->weights_folder == NULL)
        return "no initial weights: this server has no folder for them";
    if (!context->weights_paths && (strchr(name, '/') != NULL || name[0] == '.'))
        return "the name of a file in the weights folder, without '/' and not beginning with '.'";
    return NULL;
}

static json_t *look(const struct definition_context *context, const char *name)
{
    char hash[DEFINITION_HASH];
    struct tet_error why = {0};
    const char *refusal = refuse_name(context, name);
    if (refusal != NULL)
        return json_pack("[s]", refusal);
    char *path = file_join(context->weights_folder, name);
    if (path == NULL)
        return NULL;
    const enum tet_err err = file_sha256(path, hash, &why);
    free(path);
    return err == TET_OK ? json_string(hash)
                         : json_pack("[s]", "a regular file that exists and can be read");
}

enum tet_err inputs_weights(struct inputs *inputs, const char *name, const char **sha256,
                            const char **allowed)
{
    json_t *known = json_object_get(inputs->weights, name);
    if (known == NULL) {
        known = look(inputs->context, name);
        if (json_object_set_new(inputs->weights, name, known) != 0)
            return TET_NO_MEMORY;
    }
    *sha256 = json_string_value(known);
    *allowed = json_string_value(json_array_get(known, 0));
    return TET_OK;
}
