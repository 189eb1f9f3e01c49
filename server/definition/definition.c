// SPDX-License-Identifier: Apache-2.0
/*
 * Reads definitions: the order of work, hashes, and what an experiment's resolved definition is.
 *
 * Every run of a sweep is a copy of the definition with its values set, filled from the schema,
 * checked against it and resolved. Faults go into one list, each at the place where its author
 * wrote it. A value that has a fault is taken out of the run, so the checks that follow see only
 * values of the right type and say nothing where one is missing.
 *
 * The resolved experiment has all defaults of the schema. Sections that no axis of the sweep
 * touches and that came out the same in all runs are taken from the runs, fully resolved. Resolving
 * it again gives the same bytes.
 *
 * Any thread; nothing is shared but the schema.
 */
#include "definition/definition.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "definition/faults.h"
#include "definition/inputs.h"
#include "definition/resolve.h"
#include "definition/schema.h"
#include "definition/sweep.h"

struct reading {
    struct definition *definition;
    json_t *base;        // as given, without the sweep
    struct sweep *sweep; // NULL: one run
    json_t *hashes;      // object: of the runs so far
    struct faults faults;
    struct inputs inputs;
    struct resolve_rules rules;
    struct tet_error *error;
};

/* ---- hashes ---- */

static bool hash(const json_t *value, char text[DEFINITION_HASH])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char *canonical = json_canonical(value);
    if (canonical == NULL)
        return false;
    crypto_hash_sha256(digest, (const unsigned char *)canonical, strlen(canonical));
    memcpy(text, "sha256:", 7);
    sodium_bin2hex(text + 7, DEFINITION_HASH - 7, digest, sizeof digest);
    free(canonical);
    return true;
}

/* The network without the layers that change nothing, in a copy. */
static bool drop_flatten(json_t *run)
{
    json_t *network = json_copy(json_object_get(run, "network")), *layers = json_array(), *layer;
    size_t i;
    bool good = json_object_size(network) == json_object_size(json_object_get(run, "network"));
    json_array_foreach(json_object_get(network, "layers"), i, layer)
    {
        const char *type = json_string_value(json_object_get(layer, "type"));
        if (type == NULL || strcmp(type, resolve_layer_types[LAYER_FLATTEN]) != 0)
            good = json_array_append(layers, layer) == 0 && good;
    }
    good = json_object_set_new(network, "layers", layers) == 0 && good;
    return json_object_set_new(run, "network", network) == 0 && good;
}

/* Without what can change neither results nor records. The path of initial weights is among that:
 * their sum is what counts. */
static bool hash_run(const json_t *run, char text[DEFINITION_HASH])
{
    static const char *const dropped[][2] = {{"training", "threads"},
                                             {"record", "keep"},
                                             {"record", "keep_best"},
                                             {"record", "checkpoint_epochs"}};
    json_t *copy = json_copy((json_t *)run);
    bool good = json_object_size(copy) == json_object_size(run); // json_copy hides want of memory
    json_object_del(copy, "name");
    json_object_del(copy, "tags");
    json_object_del(copy, "initial_weights");
    for (size_t i = 0; good && i < sizeof dropped / sizeof dropped[0]; i++) {
        const json_t *given = json_object_get(copy, dropped[i][0]);
        json_t *section = json_copy((json_t *)given);
        good = json_object_size(section) == json_object_size(given);
        json_object_del(section, dropped[i][1]);
        good = json_object_set_new(copy, dropped[i][0], section) == 0 && good;
    }
    good = good && drop_flatten(copy) && hash(copy, text);
    json_decref(copy);
    return good;
}

bool definition_hashes(const json_t *resolved, char experiment[DEFINITION_HASH],
                       char run[DEFINITION_HASH])
{
    return (experiment == NULL || hash(resolved, experiment)) &&
           (run == NULL || hash_run(resolved, run));
}

enum tet_err definition_check(const json_t *resolved, struct tet_error *error)
{
    struct faults faults;
    json_t *copy = json_deep_copy(resolved);
    enum tet_err err = TET_NO_MEMORY;
    if (faults_init(&faults) && copy != NULL && schema_experiment() != NULL) {
        const bool good = schema_check(schema_experiment(), copy, NULL, &faults);
        const json_t *fault = json_array_get(faults.list, 0);
        err = faults.no_memory ? TET_NO_MEMORY : TET_OK;
        if (err == TET_OK && (!good || faults.n > 0))
            err = tet_error_set(error, TET_BAD_DEFINITION, "%.100s: allowed: %.200s",
                                json_string_value(json_object_get(fault, "pointer")),
                                json_string_value(json_object_get(fault, "allowed")));
    }
    if (err == TET_NO_MEMORY)
        tet_error_set(error, err, "out of memory");
    faults_free(&faults);
    json_decref(copy);
    return err;
}

/* ---- runs ---- */

/* Lets `value` share with `other` what is equal in both, so that ten thousand runs that differ in a
 * seed take little more memory than one. */
static json_t *share(json_t *value, json_t *other)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_equal(value, other))
        return other;
    if (json_is_object(value) && json_is_object(other)) {
        json_object_foreach(value, key, member)
        {
            json_t *shared = share(member, json_object_get(other, key));
            if (shared != member)
                json_object_set_nocheck(value, key, shared); // replaces: cannot fail
        }
    } else if (json_is_array(value) && json_is_array(other)) {
        json_array_foreach(value, i, member)
        {
            json_t *shared = share(member, json_array_get(other, i));
            if (shared != member)
                json_array_set(value, i, shared);
        }
    }
    return value;
}

/* Keeps a run, unless the sweep has made it before: combinations that differ only in what the rule
 * has no use for are one run. Takes over `run`. */
static enum tet_err keep_run(struct reading *r, json_t *run, uint64_t memory_bytes, uint64_t steps)
{
    struct definition *d = r->definition;
    struct run_definition *into = &d->runs[d->n_runs];
    *into = (struct run_definition){.resolved = run, .memory_bytes = memory_bytes, .steps = steps};
    d->n_runs++;
    into->parameters =
        r->faults.point != NULL ? sweep_parameters(r->faults.point, run) : json_object();
    if (into->parameters == NULL || !hash_run(run, into->hash))
        return TET_NO_MEMORY;
    if (json_object_get(r->hashes, into->hash) != NULL) {
        json_decref(into->resolved);
        json_decref(into->parameters);
        *into = (struct run_definition){0};
        d->n_runs--;
        return TET_OK;
    }
    if (d->n_runs > 1)
        share(run, into[-1].resolved);
    return json_object_set_new(r->hashes, into->hash, json_true()) == 0 ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err make_run(struct reading *r, bool keep)
{
    json_t *run = json_clone(r->base);
    uint64_t memory_bytes = 0, steps = 0;
    size_t clean = r->faults.hits;
    enum tet_err err = TET_NO_MEMORY;
    if (run == NULL || (r->faults.point != NULL && !sweep_apply(r->faults.point, run)) ||
        !schema_fill(schema_experiment(), run, NULL, NULL, NULL))
        goto out;
    schema_check(schema_experiment(), run, NULL, &r->faults);
    err =
        resolve_run(run, &r->inputs, &r->rules, &r->faults, clean, &memory_bytes, &steps, r->error);
    if (err == TET_OK && keep && r->faults.n == 0) {
        err = keep_run(r, run, memory_bytes, steps);
        run = NULL;
    }
out:
    json_decref(run);
    return err;
}

/* ---- which rules a sweep makes runs of ---- */

static unsigned rule_bit(const json_t *name)
{
    int rule = resolve_rule(json_string_value(name));
    return rule < 0 ? 0 : 1u << rule;
}

static unsigned grid_rules(const struct sweep_grid *grid, const json_t *base)
{
    unsigned rules = 0;
    for (size_t i = 0; i < grid->n_axes; i++) {
        bool whole = strcmp(grid->axes[i].path, "rule") == 0;
        if (!whole && strcmp(grid->axes[i].path, "rule.name") != 0)
            continue;
        for (size_t k = 0; k < grid->axes[i].n; k++) {
            const json_t *value = sweep_value(&grid->axes[i], k);
            if (value == NULL) // a listed point that leaves the rule as it is
                value = json_object_get(json_object_get(base, "rule"), "name");
            else if (whole)
                value = json_object_get(value, "name");
            rules |= rule_bit(value);
        }
        return rules;
    }
    return rule_bit(json_object_get(json_object_get(base, "rule"), "name"));
}

static enum tet_err make_runs(struct reading *r)
{
    const struct sweep *sweep = r->sweep;
    size_t n = sweep == NULL || sweep->too_many ? 1 : sweep->n_runs;
    enum tet_err err = TET_OK;
    r->definition->runs = calloc(n + 1, sizeof *r->definition->runs);
    if (r->definition->runs == NULL)
        return TET_NO_MEMORY;
    if (sweep == NULL || sweep->n_grids == 0)
        return make_run(r, true);
    for (size_t g = 0; g < sweep->n_grids; g++)
        r->rules.experiment |= grid_rules(&sweep->grids[g], r->base);
    for (size_t g = 0; err == TET_OK && g < sweep->n_grids; g++) {
        const struct sweep_grid *grid = &sweep->grids[g];
        struct sweep_point point = {sweep, grid, 0};
        r->faults.point = &point;
        r->rules.grid = grid_rules(grid, r->base);
        /* Of a sweep that is too large only the first combination is looked at, for what else is
         * wrong. */
        for (; err == TET_OK && point.run < (sweep->too_many ? 1 : grid->n_runs); point.run++)
            err = make_run(r, !sweep->too_many);
        r->faults.point = NULL;
        if (sweep->too_many && g >= 16)
            break;
    }
    return err;
}

/* ---- the experiment ---- */

/* "training" is what an experiment is where nothing is said: left out, as in its runs. */
static void drop_type(json_t *resolved)
{
    const char *type = json_string_value(json_object_get(resolved, "type"));
    if (type != NULL && strcmp(type, "training") == 0)
        json_object_del(resolved, "type");
}

/* A union with a swept part below it: filling it would fix which branch it is. The branches of an
 * array's elements, layers, are told by their types alone. */
static bool skip_swept(const struct place *place, const void *context)
{
    struct text pointer = {0};
    place_pointer(place, &pointer);
    if (place->key == NULL)
        text_token(&pointer, "type");
    bool swept =
        pointer.failed || (place->key == NULL ? sweep_sets(context, text_get(&pointer))
                                              : sweep_touches(context, text_get(&pointer)));
    text_free(&pointer);
    return swept;
}

static bool same_in_all(const struct definition *d, const char *section, const json_t *value)
{
    for (size_t i = 1; i < d->n_runs; i++)
        if (!json_equal(json_object_get(d->runs[i].resolved, section), value))
            return false;
    return true;
}

static enum tet_err resolve_experiment(struct reading *r)
{
    struct definition *d = r->definition;
    if (r->sweep == NULL) {
        d->resolved = json_incref(d->runs[0].resolved);
    } else {
        const char *section;
        json_t *value;
        d->resolved = json_clone(r->base);
        if (d->resolved == NULL ||
            !schema_fill(schema_experiment(), d->resolved, NULL, skip_swept, r->sweep))
            return TET_NO_MEMORY;
        drop_type(d->resolved);
        json_object_foreach(d->runs[0].resolved, section, value)
        {
            struct text pointer = {0};
            text_token(&pointer, section);
            bool fixed = !pointer.failed && !sweep_touches(r->sweep, text_get(&pointer)) &&
                         same_in_all(d, section, value);
            text_free(&pointer);
            if (fixed && json_object_set(d->resolved, section, value) != 0)
                return TET_NO_MEMORY;
        }
        if (json_object_set(d->resolved, "sweep", r->sweep->json) != 0)
            return TET_NO_MEMORY;
    }
    d->name = json_string_value(json_object_get(d->resolved, "name"));
    return hash(d->resolved, d->hash) ? TET_OK : TET_NO_MEMORY;
}

static enum tet_err bad_definition(struct reading *r, json_t **details)
{
    const json_t *first = json_array_get(r->faults.list, 0);
    const char *pointer = json_string_value(json_object_get(first, "pointer"));
    size_t n = r->faults.n;
    *details = json_incref(r->faults.list);
    return tet_error_set(r->error, TET_BAD_DEFINITION,
                         "the definition has %zu fault%s; the first, at %s: allowed: %s", n,
                         n == 1 ? "" : "s",
                         pointer != NULL && *pointer != '\0' ? pointer : "its root",
                         json_string_value(json_object_get(first, "allowed")));
}

static enum tet_err read_all(struct reading *r, json_t **details)
{
    json_t *sweep = json_object_get(r->base, "sweep");
    if (!json_is_object(r->base)) {
        faults_add(&r->faults, "", r->base, NULL, "object");
        return bad_definition(r, details);
    }
    if (sweep != NULL) {
        json_incref(sweep);
        json_object_del(r->base, "sweep");
        r->sweep = sweep_read(sweep, r->base, &r->faults);
        if (r->sweep == NULL)
            return TET_NO_MEMORY;
    }
    enum tet_err err = make_runs(r);
    if (err != TET_OK || r->faults.no_memory)
        return err != TET_OK ? err : TET_NO_MEMORY;
    return r->faults.n > 0 ? bad_definition(r, details) : resolve_experiment(r);
}

enum tet_err definition_read(struct definition **definition, json_t **details, const char *text,
                             size_t size, const struct definition_context *context,
                             struct tet_error *error)
{
    struct reading r = {.error = error};
    *definition = NULL;
    *details = NULL;
    if (size > DEFINITION_MAX_BYTES)
        return tet_error_set(error, TET_TOO_LARGE,
                             "the definition has %zu bytes: allowed at most %d", size,
                             DEFINITION_MAX_BYTES);
    enum tet_err err = json_read(&r.base, text, size, error);
    if (err != TET_OK)
        return err;
    inputs_init(&r.inputs, context);
    r.hashes = json_object();
    r.definition = calloc(1, sizeof *r.definition);
    err = TET_NO_MEMORY;
    if (faults_init(&r.faults) && r.inputs.weights != NULL && r.hashes != NULL &&
        r.definition != NULL && schema_experiment() != NULL)
        err = read_all(&r, details);
    if (err == TET_OK) {
        *definition = r.definition;
        r.definition = NULL;
    } else
        tet_error_set(error, err, "%s", tet_err_message(err));
    definition_free(r.definition);
    sweep_free(r.sweep);
    inputs_free(&r.inputs);
    faults_free(&r.faults);
    json_decref(r.hashes);
    json_decref(r.base);
    return err;
}

void definition_free(struct definition *definition)
{
    if (definition == NULL)
        return;
    for (size_t i = 0; i < definition->n_runs; i++) {
        json_decref(definition->runs[i].resolved);
        json_decref(definition->runs[i].parameters);
    }
    free(definition->runs);
    json_decref(definition->resolved);
    free(definition);
}
