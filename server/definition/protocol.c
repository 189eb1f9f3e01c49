// SPDX-License-Identifier: Apache-2.0
/*
 * The protocol part of a definition: `type` and `protocol`, resolved, checked against the network,
 * and turned into the core's plan.
 *
 * Any thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/resolve.h"
#include "definition/schema.h"
#include "definition/sweep.h"

static bool is_protocol(const json_t *run)
{
    const char *type = json_string_value(json_object_get(run, "type"));
    return type != NULL && strcmp(type, "protocol") == 0;
}

static int condition_of(const json_t *name)
{
    const char *text = json_string_value(name);
    for (int c = 0; text != NULL && c < TET_CONDITIONS_COUNT; c++)
        if (strcmp(tet_condition_text((enum tet_condition)c), text) == 0)
            return c;
    return -1;
}

static uint32_t conditions_of(const json_t *protocol)
{
    uint32_t set = 1u << TET_CONDITION_NEITHER;
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(protocol, "afferents"), i, name)
    {
        const int c = condition_of(name);
        set |= c >= 0 ? 1u << c : 0u;
    }
    return set;
}

/* The conditions are a set: written in one order, and with the one that always takes part, so that
 * equal protocols are equal definitions. */
static void order_conditions(struct resolve_work *w, json_t *protocol)
{
    if (json_object_get(protocol, "afferents") == NULL)
        return;
    const uint32_t set = conditions_of(protocol);
    json_t *list = json_array();
    for (int c = 0; c < TET_CONDITIONS_COUNT; c++)
        if ((set >> c & 1u) != 0 &&
            json_array_append_new(list, json_string(tet_condition_text((enum tet_condition)c))) !=
                0)
            w->faults->no_memory = true;
    resolve_set(w, protocol, "afferents", list);
}

/* A protocol does nothing to the circuit but its conditions. */
static void drop_interventions(struct resolve_work *w, bool swept)
{
    const json_t *found = json_object_get(w->run, "interventions");
    if (json_array_size(found) > 0 && !swept)
        faults_add(w->faults, "/interventions", found, NULL,
                   "no interventions, if type is protocol: they belong to training");
    json_object_del(w->run, "interventions");
}

void resolve_protocol(struct resolve_work *w)
{
    const struct sweep_point *point = w->faults->point;
    const bool swept = point != NULL && sweep_sets(point->sweep, "/type"); // other runs' then
    const json_t *type = json_object_get(w->run, "type"),
                 *found = json_object_get(w->run, "protocol");
    if (!is_protocol(w->run)) {
        if (found != NULL && !swept && (type != NULL || !faults_known(w->faults, "/type")))
            faults_add(w->faults, "/protocol", found, NULL, "no protocol, unless type is protocol");
        json_object_del(w->run, "protocol");
        json_object_del(w->run, "type"); // what it is where nothing is said: as drop_full_wiring
        return;
    }
    if (faults_known(w->faults, "/protocol"))
        return;
    drop_interventions(w, swept);
    if (found == NULL)
        resolve_set(w, w->run, "protocol", json_object());
    json_t *protocol = json_object_get(w->run, "protocol");
    const json_t *schema =
        json_object_get(json_object_get(schema_experiment(), "properties"), "protocol");
    if (!schema_fill(schema, protocol, NULL, NULL, NULL))
        w->faults->no_memory = true;
    order_conditions(w, protocol);
}

/* ---- against the network ---- */

static void check_layer(struct resolve_work *w, const struct tet_plan *plan)
{
    const json_t *found = json_object_get(json_object_get(w->run, "protocol"), "layer");
    const json_int_t l = json_integer_value(found);
    uint32_t first = 1;
    while (first <= plan->n_hidden && plan->hidden[first - 1].type != TET_DENSE)
        first++;
    if (first > plan->n_hidden)
        faults_add(w->faults, "/protocol/layer", found, NULL,
                   "a dense hidden layer, and the network has none");
    else if (l < first || l > plan->n_hidden)
        faults_add(w->faults, "/protocol/layer", found, NULL,
                   "integer from %u to %u (the dense hidden layers)", first, plan->n_hidden);
}

static void check_patterns(struct resolve_work *w, const char *side, uint32_t width)
{
    const json_t *patterns = json_object_get(json_object_get(w->run, "protocol"), "patterns");
    const json_t *given = json_object_get(patterns, side);
    const size_t others = json_array_size(json_object_get(patterns, "ascending"));
    char pointer[RESOLVE_POINTER];
    snprintf(pointer, sizeof pointer, "/protocol/patterns/%s", side);
    if (json_array_size(given) != others) {
        json_t *n = json_integer((json_int_t)json_array_size(given));
        faults_add(w->faults, pointer, n, NULL, "%zu patterns, as many as ascending", others);
        json_decref(n);
    }
    for (size_t i = 0; i < json_array_size(given); i++) {
        const size_t n = json_array_size(json_array_get(given, i));
        if (n == width)
            continue;
        json_t *found = json_integer((json_int_t)n);
        snprintf(pointer, sizeof pointer, "/protocol/patterns/%s/%zu", side, i);
        faults_add(w->faults, pointer, found, NULL, "%u numbers, one for each neuron of %s", width,
                   side[0] == 'a' ? "the layer below" : "what the signal descends from");
        json_decref(found);
    }
}

static uint32_t width_of(const struct tet_plan *plan, const struct tet_shape *shape, uint32_t l)
{
    const struct tet_grid g = tet_plan_grid(plan, shape, l);
    return l == 0 ? shape->inputs : g.channels * g.pooled_rows * g.pooled_columns;
}

bool resolve_protocol_plan(struct resolve_work *w, const struct tet_plan *plan,
                           const struct tet_shape *shape, uint64_t *bytes, uint64_t *steps)
{
    struct tet_protocol_plan protocol;
    struct tet_error why = {0};
    if (!is_protocol(w->run))
        return true;
    const size_t before = w->faults->hits;
    check_layer(w, plan);
    if (w->faults->hits != before)
        return false;
    const uint32_t l =
        (uint32_t)json_integer_value(json_object_get(json_object_get(w->run, "protocol"), "layer"));
    check_patterns(w, "ascending", width_of(plan, shape, l - 1));
    const bool direct = tet_rule_info(plan->rule)->group[TET_D];
    check_patterns(w, "descending",
                   l < plan->n_hidden && !direct ? plan->hidden[l].descending_units
                                                 : shape->outputs);
    if (w->faults->hits != before)
        return false;
    enum tet_err err = definition_protocol(&protocol, w->run, &why);
    if (err == TET_OK)
        err = tet_protocol_check(&protocol, plan, shape, &why);
    if (err == TET_OK) {
        *bytes += tet_protocol_memory(&protocol, plan, shape);
        *steps = tet_protocol_steps(&protocol);
    } else if (err == TET_NO_MEMORY)
        w->faults->no_memory = true;
    else
        faults_add(w->faults, "/protocol", NULL, NULL, "%s", why.message);
    definition_protocol_free(&protocol);
    return err == TET_OK;
}

/* ---- the core's plan ---- */

static bool count(const json_t *object, const char *key, uint32_t most, uint32_t *into)
{
    const json_t *value = json_object_get(object, key);
    const double real = json_number_value(value);
    *into = json_is_number(value) && real >= 0 && real <= most ? (uint32_t)real : 0;
    return *into > 0;
}

/* Patterns that are written out, row by row, all as wide as the first; NULL where they are not. */
static float *read_given(const json_t *rows, size_t n)
{
    const size_t width = json_array_size(json_array_get(rows, 0));
    float *values = width > 0 ? calloc(n * width, sizeof *values) : NULL;
    bool good = values != NULL && json_array_size(rows) == n;
    for (size_t i = 0; good && i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        good = json_array_size(row) == width;
        for (size_t k = 0; good && k < width; k++)
            values[i * width + k] = (float)json_number_value(json_array_get(row, k));
    }
    if (good)
        return values;
    free(values);
    return NULL;
}

enum tet_err definition_protocol(struct tet_protocol_plan *plan, const json_t *resolved,
                                 struct tet_error *error)
{
    const json_t *protocol = json_object_get(resolved, "protocol"),
                 *patterns = json_object_get(protocol, "patterns"),
                 *given = json_object_get(patterns, "ascending");
    *plan = (struct tet_protocol_plan){.conditions = conditions_of(protocol)};
    bool good = count(protocol, "layer", TET_MAX_HIDDEN, &plan->layer) &&
                count(protocol, "pairings", TET_PROTOCOL_PAIRINGS, &plan->pairings);
    if (good && given == NULL) {
        good = count(patterns, "n", TET_PROTOCOL_PATTERNS, &plan->n);
        plan->sd = (float)json_number_value(json_object_get(patterns, "sd"));
    } else if (good) {
        plan->n = (uint32_t)json_array_size(given);
        plan->ascending = read_given(given, plan->n);
        plan->descending = read_given(json_object_get(patterns, "descending"), plan->n);
        good = plan->ascending != NULL && plan->descending != NULL;
    }
    if (good)
        return TET_OK;
    definition_protocol_free(plan);
    return tet_error_set(error, TET_BAD_DEFINITION,
                         "the resolved definition has no usable protocol");
}

void definition_protocol_free(struct tet_protocol_plan *plan)
{
    free((float *)(uintptr_t)plan->ascending);
    free((float *)(uintptr_t)plan->descending);
    plan->ascending = plan->descending = NULL;
}
