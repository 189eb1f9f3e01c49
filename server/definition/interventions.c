// SPDX-License-Identifier: Apache-2.0
/*
 * Resolves interventions: times, places, and which of them the run's rule has no use for.
 *
 * The schema has checked each by itself; one that it took out is null here, or lacks what was
 * wrong.
 */
#include "definition/resolve.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* One of them, and where it is. */
struct item {
    struct resolve_work *w;
    json_t *value;
    size_t index;
    char pointer[RESOLVE_POINTER]; // of the member looked at last
};

static const char *at(struct item *i, const char *key)
{
    snprintf(i->pointer, sizeof i->pointer, "/interventions/%zu%s%s", i->index,
             *key != '\0' ? "/" : "", key);
    return i->pointer;
}

static const char *string(const struct item *i, const char *key)
{
    const char *text = json_string_value(json_object_get(i->value, key));
    return text != NULL ? text : "";
}

static json_int_t integer(const struct resolve_work *w, const char *section, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(w->run, section), key));
}

/* Exactly one of two members; a fault of one of them counts as its being there. */
static bool has_one(struct item *i, const char *a, const char *b)
{
    const bool has_a = json_object_get(i->value, a) != NULL || faults_known(i->w->faults, at(i, a)),
               has_b = json_object_get(i->value, b) != NULL || faults_known(i->w->faults, at(i, b));
    if (has_a != has_b)
        return true;
    faults_add(i->w->faults, at(i, has_a ? b : ""), has_a ? json_object_get(i->value, b) : i->value,
               NULL, has_a ? "either %s or %s, not both" : "either %s or %s: one is needed", a, b);
    return false;
}

/* ---- times ---- */

/* Mini-batches of an epoch and of the run; false where they cannot be told. */
static bool lengths(const struct resolve_work *w, json_int_t *epoch, json_int_t *all)
{
    const json_int_t n = integer(w, "dataset", "train") - integer(w, "dataset", "validation"),
                     batch = integer(w, "training", "batch"),
                     epochs = integer(w, "training", "epochs"),
                     most = integer(w, "training", "max_steps");
    if (n < 1 || batch < 1 || epochs < 1)
        return false;
    *epoch = (n + batch - 1) / batch;
    *all = *epoch * epochs;
    if (most > 0 && most < *all)
        *all = most;
    return true;
}

/* *last: the time of the one before, in mini-batches. */
static void check_time(struct item *i, json_int_t *last)
{
    json_int_t epoch = 0, all = 0;
    const json_t *epochs = json_object_get(i->value, "epoch"),
                 *steps = json_object_get(i->value, "step"),
                 *found = epochs != NULL ? epochs : steps;
    if (!has_one(i, "epoch", "step") || found == NULL || !lengths(i->w, &epoch, &all))
        return;
    const json_int_t each = epochs != NULL ? epoch : 1, time = json_integer_value(found) * each;
    const char *key = epochs != NULL ? "epoch" : "step";
    if (time >= all)
        faults_add(i->w->faults, at(i, key), found, NULL,
                   "integer from 0 to %" JSON_INTEGER_FORMAT ": the run has %" JSON_INTEGER_FORMAT
                   " mini-batches, %" JSON_INTEGER_FORMAT " an epoch",
                   (all - 1) / each, all, epoch);
    else if (time < *last)
        faults_add(i->w->faults, at(i, key), found, NULL,
                   "no earlier than the one before, which is after %" JSON_INTEGER_FORMAT
                   " mini-batches",
                   *last);
    else
        *last = time;
}

/* ---- places ---- */

static void put_groups(const struct resolve_work *w, struct text *text)
{
    const char *between = "";
    for (int g = 0; g < TET_GROUPS; g++)
        if (w->info->group[g]) {
            text_printf(text, "%s%s", between, tet_group_name((enum tet_group)g));
            between = ", ";
        }
}

static json_int_t hidden_layers(const struct resolve_work *w)
{
    const json_t *layers = json_object_get(json_object_get(w->run, "network"), "layers"), *layer;
    json_int_t n = 0;
    size_t k;
    json_array_foreach((json_t *)(uintptr_t)layers, k, layer)
    {
        const char *type = json_string_value(json_object_get(layer, "type"));
        n += type != NULL && (strcmp(type, resolve_layer_types[LAYER_DENSE]) == 0 ||
                              strcmp(type, resolve_layer_types[LAYER_CONV2D]) == 0);
    }
    return n;
}

/* Layers first..last are there. */
static void check_layer(struct item *i, json_int_t first, json_int_t last)
{
    const json_t *layer = json_object_get(i->value, "layer");
    const json_int_t number = json_integer_value(layer);
    if (first > last)
        faults_add(i->w->faults, at(i, *string(i, "neurons") != '\0' ? "neurons" : "group"),
                   json_object_get(i->value, *string(i, "neurons") != '\0' ? "neurons" : "group"),
                   NULL, "nothing of that kind: the network has too few layers");
    else if (layer != NULL && (number < first || number > last))
        faults_add(i->w->faults, at(i, "layer"), layer, NULL,
                   "integer from %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
                   ", or nothing for all",
                   first, last);
}

/* False: the run's rule has no use for it, and another of the sweep has. */
static bool keep_group(struct item *i, const char *type)
{
    const char *name = string(i, "group");
    const int g = resolve_group(name);
    const json_int_t hidden = hidden_layers(i->w);
    if (g < 0)
        return true; // the rate of all; or a fault of the schema
    if (!i->w->info->group[g]) {
        if (resolve_is_foreign(i->w, at(i, "group"), (enum tet_group)g))
            return false;
        struct text has = {0};
        put_groups(i->w, &has);
        faults_add(i->w->faults, at(i, "group"), json_object_get(i->value, "group"), NULL,
                   "groups of rule %s: %s", i->w->info->name, text_get(&has));
        text_free(&has);
        return true;
    }
    if (strcmp(type, "unfreeze") == 0 && i->w->info->fixed[g]) {
        if (resolve_is_foreign_plastic(i->w, at(i, "group"), (enum tet_group)g))
            return false;
        faults_add(i->w->faults, at(i, "group"), json_object_get(i->value, "group"), NULL,
                   "another group: that of rule %s is fixed", i->w->info->name);
    }
    if (strcmp(type, "rate") != 0)
        check_layer(i, g == TET_B ? 2 : 1, g == TET_W || g == TET_B ? hidden + 1 : hidden);
    return true;
}

static bool keep_neurons(struct item *i)
{
    const char *neurons = string(i, "neurons");
    if (strcmp(neurons, "descending") == 0 && !tet_rule_descends(i->w->info)) {
        if (resolve_is_foreign(i->w, at(i, "neurons"), TET_B) ||
            resolve_is_foreign(i->w, at(i, "neurons"), TET_D))
            return false;
        faults_add(i->w->faults, at(i, "neurons"), json_object_get(i->value, "neurons"), NULL,
                   "ascending: rule %s has no descending neurons", i->w->info->name);
    }
    check_layer(i, 1, hidden_layers(i->w));
    return true;
}

static void check_amount(struct item *i, const char *key)
{
    const json_t *found = json_object_get(i->value, key);
    const double value = json_number_value(found);
    if (found != NULL && value != 0.0 && value < 0x1p-126 && value > -0x1p-126)
        faults_add(i->w->faults, at(i, key), found, NULL,
                   "a number that 32 bits hold: 1.2e-38 or more");
}

static bool keep(struct item *i, json_int_t *last)
{
    const char *type = string(i, "type");
    bool kept = true;
    check_time(i, last);
    for (const char *const *key = (const char *const[]){"fraction", "factor", "sd", NULL};
         *key != NULL; key++)
        check_amount(i, *key);
    if (strcmp(type, "lesion") == 0 && !has_one(i, "group", "neurons"))
        return true;
    if (json_object_get(i->value, "group") != NULL)
        kept = keep_group(i, type);
    else if (json_object_get(i->value, "neurons") != NULL)
        kept = keep_neurons(i);
    return kept;
}

void resolve_interventions(struct resolve_work *w)
{
    json_t *list = json_object_get(w->run, "interventions");
    const size_t n = json_array_size(list);
    bool dropped[TET_MAX_INTERVENTIONS] = {false};
    json_int_t last = 0;
    for (size_t k = 0; k < n && k < TET_MAX_INTERVENTIONS && w->info != NULL; k++) {
        struct item item = {.w = w, .value = json_array_get(list, k), .index = k};
        if (json_is_object(item.value))
            dropped[k] = !keep(&item, &last);
    }
    for (size_t k = n < TET_MAX_INTERVENTIONS ? n : TET_MAX_INTERVENTIONS; k-- > 0;)
        if (dropped[k])
            json_array_remove(list, k);
    if (json_is_array(list) && json_array_size(list) == 0)
        json_object_del(w->run, "interventions");
}
