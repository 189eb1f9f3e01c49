// SPDX-License-Identifier: Apache-2.0
/*
 * Resolving what came later to `record`, and dataset.augment: settings that are off are not written
 * out, so that definitions from before them keep their hashes; what the rule has no use for is
 * refused or, in a sweep with a rule that has, dropped.
 */
#include "definition/resolve.h"

#include <stdio.h>

static json_t *record_of(const struct resolve_work *w)
{
    return json_object_get(w->run, "record");
}

static void drop_false(json_t *object, const char *key)
{
    if (json_is_false(json_object_get(object, key)))
        json_object_del(object, key);
}

/* ---- augment ---- */

static void drop_plain_images(struct resolve_work *w)
{
    json_t *dataset = json_object_get(w->run, "dataset"),
           *augment = json_object_get(dataset, "augment");
    const json_t *crop = json_object_get(augment, "crop");
    if (crop != NULL && json_integer_value(crop) == 0)
        json_object_del(augment, "crop");
    drop_false(augment, "flip");
    if (augment != NULL && json_object_size(augment) == 0)
        json_object_del(dataset, "augment");
}

void resolve_augment(struct resolve_work *w, const struct dataset_info *info)
{
    const json_t *augment = json_object_get(json_object_get(w->run, "dataset"), "augment");
    const struct tet_shape *shape = &info->shape;
    const bool images = (uint64_t)shape->channels * shape->rows * shape->columns == shape->inputs &&
                        (shape->channels > 1 || shape->rows > 1);
    if (augment != NULL && !images)
        faults_add(w->faults, "/dataset/augment", augment, NULL,
                   "nothing: the examples of dataset %s are not images but %u numbers each",
                   info->name, shape->inputs);
}

/* ---- spectrum ---- */

static void resolve_spectrum(struct resolve_work *w)
{
    const json_t *layers = json_object_get(json_object_get(w->run, "network"), "layers"), *layer;
    const json_t *found = json_object_get(record_of(w), "spectrum");
    size_t i;
    if (found == NULL || w->info == NULL)
        return;
    if (!w->info->group[TET_V]) {
        if (!resolve_is_foreign(w, "/record/spectrum", TET_V))
            faults_add(w->faults, "/record/spectrum", found, NULL,
                       "false: rule %s has no laterals, and the spectrum is of W W^T - V V^T",
                       w->info->name);
        json_object_del(record_of(w), "spectrum");
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)layers, i, layer)
    {
        const json_t *units = json_object_get(layer, "units");
        const json_t *width = units != NULL ? units : json_object_get(layer, "channels");
        if (json_integer_value(width) <= TET_MAX_SPECTRUM)
            continue;
        faults_add(w->faults, "/record/spectrum", found, NULL,
                   "false: network.layers.%zu is %" JSON_INTEGER_FORMAT
                   " wide, and spectra are of layers of at most %d",
                   i, json_integer_value(width), TET_MAX_SPECTRUM);
        return;
    }
}

/* ---- traces ---- */

static void refuse_group(struct resolve_work *w, const char *pointer, const json_t *found, int g)
{
    if (!resolve_is_foreign(w, pointer, (enum tet_group)g))
        faults_add(w->faults, pointer, found, NULL, "a group that rule %s has, which %s is not",
                   w->info->name, tet_group_name((enum tet_group)g));
}

/* The groups that the rule has, in the order W, B, V, U, D: it means nothing. */
static void resolve_traces(struct resolve_work *w)
{
    const json_t *traces = json_object_get(record_of(w), "traces"),
                 *groups = json_object_get(traces, "groups"), *name;
    bool named[TET_GROUPS] = {false};
    size_t i;
    if (!json_is_array(groups) || w->info == NULL)
        return;
    json_array_foreach((json_t *)(uintptr_t)groups, i, name)
    {
        const int g = resolve_group(json_string_value(name));
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "/record/traces/groups/%zu", i);
        if (g >= 0 && w->info->group[g])
            named[g] = true;
        else if (g >= 0)
            refuse_group(w, pointer, name, g);
    }
    json_t *kept = json_array();
    for (unsigned g = 0; g < TET_GROUPS; g++)
        if (named[g] &&
            json_array_append_new(kept, json_string(tet_group_name((enum tet_group)g))) != 0)
            w->faults->no_memory = true;
    if (json_array_size(kept) == 0)
        json_object_del(record_of(w), "traces");
    else
        resolve_set(w, (json_t *)(uintptr_t)traces, "groups", json_incref(kept));
    json_decref(kept);
}

/* A number as it is written, without signs and leading zeros; *text goes behind it. */
static bool read_number(const char **text, uint32_t *value)
{
    uint64_t n = 0;
    const char *at = *text;
    if (*at < '0' || *at > '9' || (*at == '0' && at[1] >= '0' && at[1] <= '9'))
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        if ((n = n * 10 + (uint64_t)(*at - '0')) > UINT32_MAX)
            return false;
    *text = at;
    *value = (uint32_t)n;
    return true;
}

bool resolve_synapse(const char *text, struct tet_synapse *synapse)
{
    const char letter[2] = {text != NULL ? text[0] : '\0', '\0'};
    const int g = resolve_group(letter);
    if (g < 0)
        return false;
    synapse->group = (enum tet_group)g;
    text++;
    return read_number(&text, &synapse->layer) && *text++ == '/' &&
           read_number(&text, &synapse->row) && *text++ == '/' &&
           read_number(&text, &synapse->column) && *text == '\0';
}

/* How they are written, and their groups; those of another rule are dropped in resolve_synapses. */
static void check_synapses(struct resolve_work *w)
{
    const json_t *synapses = json_object_get(record_of(w), "synapses"), *text;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)synapses, i, text)
    {
        struct tet_synapse s = {0};
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "/record/synapses/%zu", i);
        if (!json_is_string(text))
            continue;
        if (!resolve_synapse(json_string_value(text), &s))
            faults_add(w->faults, pointer, text, NULL,
                       "array, row and column, from 0: \"W1/12/7\"; arrays are W, B, V, U and D "
                       "with their layer");
        else if (w->info != NULL && !w->info->group[s.group])
            refuse_group(w, pointer, text, (int)s.group);
    }
    if (synapses != NULL && json_array_size(synapses) == 0)
        json_object_del(record_of(w), "synapses");
}

static void check_place(struct resolve_work *w, const struct tet_plan *plan,
                        const struct tet_shape *shape, size_t i, const json_t *text,
                        const struct tet_synapse *s)
{
    uint32_t rows = 0, columns = 0;
    char pointer[RESOLVE_POINTER];
    const unsigned first = s->group == TET_B ? 2 : 1;
    const unsigned last = first + tet_plan_arrays(plan, s->group) - 1;
    snprintf(pointer, sizeof pointer, "/record/synapses/%zu", i);
    if (last < first)
        faults_add(w->faults, pointer, text, NULL, "another array: this network has no %s",
                   tet_group_name(s->group));
    else if (!tet_plan_array(plan, shape, s->group, s->layer, &rows, &columns))
        faults_add(w->faults, pointer, text, NULL, "array %s%u to %s%u", tet_group_name(s->group),
                   first, tet_group_name(s->group), last);
    else if (s->row >= rows || s->column >= columns)
        faults_add(w->faults, pointer, text, NULL, "row 0 to %u, column 0 to %u of %s%u", rows - 1,
                   columns - 1, tet_group_name(s->group), s->layer);
}

static void check_number_of_traces(struct resolve_work *w, const struct tet_plan *plan)
{
    uint32_t arrays = 0, synapses = 0;
    for (unsigned g = 0; g < TET_GROUPS; g++)
        arrays += plan->trace_group[g] ? tet_plan_arrays(plan, (enum tet_group)g) : 0;
    synapses = plan->n_synapses;
    if (arrays == 0 || (uint64_t)arrays * plan->traces + synapses <= TET_MAX_TRACES)
        return;
    const json_t *traces = json_object_get(record_of(w), "traces");
    faults_add(w->faults, "/record/traces/per_array", json_object_get(traces, "per_array"), NULL,
               "at most %u: there are %u arrays, and a run follows at most %d synapses, %u of them "
               "by record.synapses",
               (TET_MAX_TRACES - synapses) / arrays, arrays, TET_MAX_TRACES, synapses);
}

void resolve_synapses(struct resolve_work *w, const struct tet_plan *plan,
                      const struct tet_shape *shape)
{
    json_t *synapses = json_object_get(record_of(w), "synapses");
    for (size_t i = 0; i < json_array_size(synapses); i++) {
        const json_t *text = json_array_get(synapses, i);
        struct tet_synapse s = {0};
        if (resolve_synapse(json_string_value(text), &s) && w->info->group[s.group])
            check_place(w, plan, shape, i, text, &s);
    }
    for (size_t i = json_array_size(synapses); i-- > 0;) { // of the sweep's other rules
        struct tet_synapse s = {0};
        if (resolve_synapse(json_string_value(json_array_get(synapses, i)), &s) &&
            !w->info->group[s.group])
            json_array_remove(synapses, i);
    }
    if (synapses != NULL && json_array_size(synapses) == 0)
        json_object_del(record_of(w), "synapses");
    check_number_of_traces(w, plan);
}

/* ---- keep_best ---- */

static void resolve_keep_best(struct resolve_work *w)
{
    const json_t *best = json_object_get(record_of(w), "keep_best"),
                 *dataset = json_object_get(w->run, "dataset");
    if (json_is_integer(best) && json_integer_value(best) > 0 &&
        json_integer_value(json_object_get(dataset, "validation")) == 0)
        faults_add(w->faults, "/record/keep_best", best, NULL,
                   "0: the best are told by validation, and dataset.validation is 0");
    if (json_is_integer(best) && json_integer_value(best) == 0)
        json_object_del(record_of(w), "keep_best");
}

void resolve_record(struct resolve_work *w)
{
    static const char *const keys[] = {"assembly", "activity", "spectrum"};
    for (size_t i = 0; i < 3; i++)
        drop_false(record_of(w), keys[i]);
    resolve_keep_best(w);
    resolve_spectrum(w);
    resolve_traces(w);
    check_synapses(w);
    drop_plain_images(w);
}
