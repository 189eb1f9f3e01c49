// SPDX-License-Identifier: Apache-2.0
/*
 * The only place that turns a resolved definition into a plan of the core.
 *
 * It trusts nothing but the types that it asks for, since the text may come back from a store that
 * another version wrote: whatever is missing or of the wrong type is an error that names the place.
 * Ranges are the business of tet_plan_check.
 *
 * Any thread.
 */
#include "definition/definition.h"

#include <string.h>

#include "definition/resolve.h"

struct reader {
    struct tet_error *error;
    enum tet_err err;
};

/* Follows "a/b/c". NULL, without an error, where there is nothing. */
static const json_t *find(const json_t *value, const char *path)
{
    char name[RESOLVE_POINTER];
    while (value != NULL && *path != '\0') {
        size_t n = strcspn(path, "/");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        value = json_object_get(value, name);
        path += n + (path[n] == '/');
    }
    return value;
}

static void missing(struct reader *r, const char *path, const char *what)
{
    if (r->err == TET_OK)
        r->err = tet_error_set(r->error, TET_BAD_DEFINITION,
                               "the resolved definition has no usable %s at %s", what, path);
}

static uint64_t read_integer(struct reader *r, const json_t *root, const char *path, uint64_t most)
{
    const json_t *value = find(root, path);
    double real = json_number_value(value);
    if (!json_is_number(value) || !(real >= 0 && real <= (double)most) ||
        (double)(uint64_t)real != real) {
        missing(r, path, "integer");
        return 0;
    }
    return (uint64_t)real;
}

static uint32_t read_count(struct reader *r, const json_t *root, const char *path)
{
    return (uint32_t)read_integer(r, root, path, UINT32_MAX);
}

static float read_real(struct reader *r, const json_t *root, const char *path)
{
    const json_t *value = find(root, path);
    double real = json_number_value(value);
    if (!json_is_number(value) || !(real >= -1e30 && real <= 1e30)) {
        missing(r, path, "number");
        return 0;
    }
    return (float)real;
}

static bool read_bool(struct reader *r, const json_t *root, const char *path)
{
    const json_t *value = find(root, path);
    if (!json_is_boolean(value))
        missing(r, path, "true or false");
    return json_is_true(value);
}

static int read_name(struct reader *r, const json_t *root, const char *path,
                     const char *const *names, int n)
{
    const char *name = json_string_value(find(root, path));
    for (int i = 0; name != NULL && i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    missing(r, path, "name");
    return 0;
}

/* One item: a layer, or something about the one before. */
static void read_layer(struct reader *r, const json_t *item, struct tet_plan *plan)
{
    static const char *const activations[] = {"relu", "tanh", "identity"};
    const enum resolve_layer type =
        (enum resolve_layer)read_name(r, item, "type", resolve_layer_types, LAYER_TYPES);
    struct tet_layer_plan *layer = &plan->hidden[plan->n_hidden];
    if (type == LAYER_FLATTEN)
        return;
    if (type == LAYER_MAX_POOL || type == LAYER_AVG_POOL) {
        if (plan->n_hidden == 0 || layer[-1].pool != TET_POOL_NONE) {
            missing(r, "network/layers", "convolution before a pooling");
            return;
        }
        layer[-1].pool = type == LAYER_MAX_POOL ? TET_POOL_MAX : TET_POOL_AVG;
        layer[-1].pool_size = read_count(r, item, "size");
        layer[-1].pool_stride = read_count(r, item, "stride");
        return;
    }
    const bool dense = type == LAYER_DENSE;
    layer->type = dense ? TET_DENSE : TET_CONV2D;
    layer->units = read_count(r, item, dense ? "units" : "channels");
    layer->descending_units =
        read_count(r, item, dense ? "descending_units" : "descending_channels");
    layer->activation = (enum tet_activation)read_name(r, item, "activation", activations, 3);
    if (!dense) {
        layer->kernel = read_count(r, item, "kernel");
        layer->stride = read_count(r, item, "stride");
        layer->padding = read_count(r, item, "padding");
    }
    plan->n_hidden++;
}

static void read_layers(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    const json_t *layers = find(root, "network/layers");
    size_t n = json_array_size(layers);
    if (!json_is_array(layers) || n > TET_MAX_HIDDEN) {
        missing(r, "network/layers", "array");
        return;
    }
    for (size_t i = 0; i < n; i++)
        read_layer(r, json_array_get(layers, i), plan);
}

/* Groups that the rule lacks are left as something harmless. */
static void read_groups(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    static const char *const inits[] = {"normal", "uniform", "identity", "log_normal"};
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        const json_t *group = json_object_get(find(root, "rule/groups"), name),
                     *rates = json_object_get(find(root, "optimizer/groups"), name);
        struct tet_group_plan *into = &plan->group[g];
        *into = (struct tet_group_plan){.init = TET_INIT_NORMAL, .scale = 1.0f, .plastic = false};
        if (!tet_rule_info(plan->rule)->group[g])
            continue;
        into->init = (enum tet_init)read_name(r, group, "init", inits, 4);
        into->scale = read_real(r, group, "scale");
        into->plastic = read_bool(r, group, "plastic");
        into->probability = 1.0f; // where it is not written: see resolve.c
        if (json_object_get(group, "connection_probability") != NULL)
            into->probability = read_real(r, group, "connection_probability");
        if (json_object_get(group, "dale") != NULL)
            into->excitatory = read_real(r, group, "dale/excitatory");
        if (!resolve_has_rates(tet_rule_info(plan->rule), (enum tet_group)g))
            continue;
        into->lr = read_real(r, rates, "lr");
        into->decay = read_real(r, rates, "decay");
    }
}

/* What is off is not written: see timing.c. */
static void read_timing(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    static const char *const orders[] = {"together", "top_down"};
    const json_t *noise = find(root, "rule/noise");
    const struct {
        const char *key;
        float *sd;
    } noises[] = {{"activity", &plan->noise.activity},
                  {"teaching", &plan->noise.teaching},
                  {"synapses", &plan->noise.synapses}};
    for (size_t i = 0; i < 3; i++)
        if (json_object_get(noise, noises[i].key) != NULL)
            *noises[i].sd = read_real(r, noise, noises[i].key);
    if (find(root, "rule/delay") != NULL) {
        plan->delay.batches = (uint32_t)read_integer(r, root, "rule/delay/batches", TET_MAX_DELAY);
        plan->delay.eligibility = read_bool(r, root, "rule/delay/eligibility");
    }
    if (find(root, "rule/update_order") != NULL)
        plan->top_down = read_name(r, root, "rule/update_order", orders, 2) == 1;
}

static void read_mirror(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    if (!tet_rule_info(plan->rule)->mirrors)
        return;
    plan->mirror = (struct tet_mirror_plan){.every = read_count(r, root, "rule/mirror/every"),
                                            .batches = read_count(r, root, "rule/mirror/batches"),
                                            .noise = read_real(r, root, "rule/mirror/noise")};
    plan->group[TET_B].lr = read_real(r, root, "rule/mirror/lr");
    plan->group[TET_B].decay = read_real(r, root, "rule/mirror/decay");
}

/* What is not written is off: see resolve.c. */
static void read_changes(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    static const char *const normalize[] = {"none", "stage"};
    if (find(root, "rule/normalize") != NULL)
        plan->normalize = (enum tet_normalize)read_name(r, root, "rule/normalize", normalize, 2);
    if (find(root, "rule/center") != NULL)
        plan->center = read_bool(r, root, "rule/center");
    if (find(root, "rule/homeostasis") != NULL)
        plan->homeostasis = read_real(r, root, "rule/homeostasis/rate");
    if (find(root, "optimizer/clip") != NULL)
        plan->clip = read_real(r, root, "optimizer/clip");
}

static void read_schedule(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    static const char *const types[] = {"constant", "step", "cosine"};
    const json_t *schedule = find(root, "optimizer/schedule"),
                 *epochs = json_object_get(schedule, "epochs");
    struct tet_schedule_plan *into = &plan->schedule;
    into->type = (enum tet_schedule_type)read_name(r, schedule, "type", types, 3);
    into->factor = 1.0f;
    if (into->type != TET_SCHEDULE_CONSTANT)
        into->factor = read_real(r, schedule, "factor");
    if (into->type != TET_SCHEDULE_STEP)
        return;
    size_t n = json_array_size(epochs);
    if (n < 1 || n > TET_MAX_DROPS) {
        missing(r, "optimizer/schedule/epochs", "array");
        return;
    }
    for (size_t i = 0; i < n; i++)
        into->epochs[i] = read_count(r, json_array_get(epochs, i), "");
    into->n_epochs = (uint32_t)n;
}

/* Settings that came later are written only where they say something: see resolve.c. Without early
 * stopping the best epoch is the one with the lowest loss. */
static void read_selection(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    static const char *const metrics[] = {"validation/loss", "validation/accuracy"},
                             *const selections[] = {"last", "best"},
                             *const tests[] = {"every_epoch", "end"};
    const json_t *stopping = find(root, "training/early_stopping");
    struct tet_selection_plan *into = &plan->selection;
    if (find(root, "training/select") != NULL)
        into->best = read_name(r, root, "training/select", selections, 2) == 1;
    if (find(root, "training/test") != NULL)
        plan->test_at_end = read_name(r, root, "training/test", tests, 2) == 1;
    into->metric = into->best ? TET_METRIC_LOSS : TET_METRIC_NONE;
    if (stopping == NULL)
        return;
    into->metric =
        read_name(r, stopping, "metric", metrics, 2) == 0 ? TET_METRIC_LOSS : TET_METRIC_ACCURACY;
    into->patience = read_count(r, stopping, "patience");
    into->min_delta = read_real(r, stopping, "min_delta");
}

static void read_place(struct reader *r, const json_t *item, struct tet_intervention *into)
{
    const int group = resolve_group(json_string_value(json_object_get(item, "group")));
    into->group = group >= 0 ? (enum tet_group)group : TET_GROUPS;
    if (json_object_get(item, "layer") != NULL)
        into->layer = read_count(r, item, "layer");
}

/* Times are counted in mini-batches. */
static void read_intervention(struct reader *r, const json_t *item, const struct tet_plan *plan,
                              struct tet_intervention *into)
{
    static const char *const types[] = {"lesion",      "freeze", "unfreeze", "shuffle",
                                        "rerandomise", "scale",  "noise",    "rate"};
    static const enum tet_intervention_type kinds[] = {TET_LESION,  TET_FREEZE,      TET_UNFREEZE,
                                                       TET_SHUFFLE, TET_RERANDOMISE, TET_SCALE,
                                                       TET_NOISE,   TET_RATE};
    static const char *const amounts[] = {"fraction", "factor", "sd"};
    static const char *const streams[] = {"ascending", "descending"};
    *into = (struct tet_intervention){.type = kinds[read_name(r, item, "type", types, 8)]};
    read_place(r, item, into);
    if (json_object_get(item, "neurons") != NULL)
        into->type = read_name(r, item, "neurons", streams, 2) == 0 ? TET_SILENCE_ASCENDING
                                                                    : TET_SILENCE_DESCENDING;
    for (size_t k = 0; k < 3; k++)
        if (json_object_get(item, amounts[k]) != NULL)
            into->amount = read_real(r, item, amounts[k]);
    if (json_object_get(item, "epoch") != NULL)
        into->step = read_count(r, item, "epoch") * tet_plan_steps_per_epoch(plan);
    else
        into->step = read_integer(r, item, "step", (uint64_t)1 << 53);
}

/* Needs the batch and the examples trained on. */
static void read_interventions(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    const json_t *list = find(root, "interventions");
    const size_t n = json_array_size(list);
    if (list != NULL && (!json_is_array(list) || n > TET_MAX_INTERVENTIONS)) {
        missing(r, "interventions", "array");
        return;
    }
    if (plan->batch == 0)
        return; // noted already
    for (size_t i = 0; i < n; i++)
        read_intervention(r, json_array_get(list, i), plan, &plan->interventions[i]);
    plan->n_interventions = (uint32_t)n;
}

/* n_test: the first examples of the test part; where the dataset has none (info->n_test is 0), the
 * last n_test examples of the training part, which resolving made sure are not trained on. */
static void read_dataset(struct reader *r, const json_t *root, const struct dataset_info *info,
                         struct tet_plan *plan)
{
    const json_t *dataset = find(root, "dataset"),
                 *standardize = json_object_get(dataset, "standardize");
    const char *sha256 = json_string_value(json_object_get(dataset, "sha256"));
    uint32_t train = read_count(r, root, "dataset/train");
    plan->n_validation = read_count(r, root, "dataset/validation");
    plan->n_test = read_count(r, root, "dataset/test");
    if (plan->n_validation >= train)
        missing(r, "dataset/validation", "count");
    else
        plan->n_train = train - plan->n_validation;
    plan->standardize = json_is_string(standardize) ? TET_STANDARDIZE_FEATURE
                        : json_is_true(standardize) ? TET_STANDARDIZE_ALL
                                                    : TET_STANDARDIZE_NONE;
    if (find(dataset, "augment/crop") != NULL)
        plan->augment_crop = read_count(r, dataset, "augment/crop");
    plan->augment_flip = json_is_true(find(dataset, "augment/flip"));
    bool enough = info->n_test > 0 ? train <= info->n_train && plan->n_test <= info->n_test
                                   : (uint64_t)train + plan->n_test <= info->n_train;
    if (r->err == TET_OK && sha256 != NULL && strcmp(sha256, info->sha256) != 0)
        r->err = tet_error_set(r->error, TET_BAD_DATASET,
                               "dataset %s is not what it was when the run was defined: %s, now %s",
                               info->name, sha256, info->sha256);
    if (r->err == TET_OK && !enough)
        r->err = tet_error_set(r->error, TET_BAD_DATASET,
                               "dataset %s has fewer examples than the run was defined with",
                               info->name);
}

/* Where a setting is not written it is off: see record.c. */
static void read_record(struct reader *r, const json_t *root, struct tet_plan *plan)
{
    const json_t *groups = find(root, "record/traces/groups"),
                 *synapses = find(root, "record/synapses");
    plan->record_every = read_count(r, root, "record/every");
    plan->record_alignment = read_bool(r, root, "record/alignment");
    plan->record_assembly = json_is_true(find(root, "record/assembly"));
    plan->record_activity = json_is_true(find(root, "record/activity"));
    plan->record_spectrum = json_is_true(find(root, "record/spectrum"));
    if (groups != NULL)
        plan->traces = read_count(r, root, "record/traces/per_array");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const int group = resolve_group(json_string_value(json_array_get(groups, i)));
        if (group >= 0)
            plan->trace_group[group] = true;
    }
    for (size_t i = 0; i < json_array_size(synapses) && i < TET_MAX_TRACES; i++)
        if (resolve_synapse(json_string_value(json_array_get(synapses, i)),
                            &plan->synapse[plan->n_synapses]))
            plan->n_synapses++;
        else
            missing(r, "record/synapses", "synapse");
}

enum tet_err definition_plan(struct tet_plan *plan, const json_t *resolved,
                             const struct dataset_info *info, struct tet_error *error)
{
    static const char *const losses[] = {"cross_entropy", "mse"};
    struct reader r = {.error = error};
    int rule = resolve_rule(json_string_value(find(resolved, "rule/name")));
    *plan = (struct tet_plan){0};
    if (rule < 0)
        missing(&r, "rule/name", "name");
    plan->rule = rule < 0 ? TET_RULE_BP : (enum tet_rule_name)rule;
    plan->gate = true; // a rule without the choice always gates
    if (tet_rule_info(plan->rule)->takes_gate)
        plan->gate = read_bool(&r, resolved, "rule/gate");
    plan->loss = (enum tet_loss)read_name(&r, resolved, "network/loss", losses, 2);
    plan->momentum = read_real(&r, resolved, "optimizer/momentum");
    plan->epochs = read_count(&r, resolved, "training/epochs");
    plan->batch = read_count(&r, resolved, "training/batch");
    plan->seed = read_integer(&r, resolved, "training/seed", (uint64_t)1 << 53);
    plan->shuffle = read_bool(&r, resolved, "training/shuffle");
    plan->threads = (uint32_t)read_integer(&r, resolved, "training/threads", TET_MAX_THREADS);
    if (find(resolved, "training/max_steps") != NULL)
        plan->max_steps = read_integer(&r, resolved, "training/max_steps", (uint64_t)1 << 53);
    read_record(&r, resolved, plan);
    read_layers(&r, resolved, plan);
    read_groups(&r, resolved, plan);
    read_timing(&r, resolved, plan);
    read_mirror(&r, resolved, plan);
    read_changes(&r, resolved, plan);
    read_schedule(&r, resolved, plan);
    read_selection(&r, resolved, plan);
    read_dataset(&r, resolved, info, plan);
    read_interventions(&r, resolved, plan);
    return r.err;
}

enum tet_err definition_dataset(struct dataset_spec *spec, const json_t *resolved,
                                struct tet_error *error)
{
    const char *name = json_string_value(find(resolved, "dataset/name"));
    struct reader r = {.error = error};
    *spec = (struct dataset_spec){0};
    if (name == NULL)
        return tet_error_set(error, TET_BAD_DEFINITION,
                             "the resolved definition has no usable name at dataset/name");
    snprintf(spec->name, sizeof spec->name, "%s", name);
    if (strcmp(name, "strokes") != 0)
        return TET_OK;
    spec->seed = read_integer(&r, resolved, "dataset/seed", (uint64_t)1 << 53);
    spec->train = read_count(&r, resolved, "dataset/train");
    spec->test = read_count(&r, resolved, "dataset/test");
    return r.err;
}
