// SPDX-License-Identifier: Apache-2.0
/*
 * Resolves one run: writes out the defaults that depend on other fields, and checks what no schema
 * can say. Parts of it have files of their own: see resolve.h.
 *
 * The run's definition may lack anything that the schema found fault with, so every look-up here
 * takes "not there" for an answer and then says nothing.
 *
 * One thread per definition.
 */
#include "definition/resolve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <tetrad/plan.h>

#include "definition/schema.h"

/* float32 with room for products: what core/plan.c accepts. */
static const double most_real = 1e30, least_real = 0x1p-126;

int resolve_rule(const char *name)
{
    for (int rule = 0; name != NULL && rule < TET_RULES; rule++)
        if (strcmp(tet_rule_info((enum tet_rule_name)rule)->name, name) == 0)
            return rule;
    return -1;
}

int resolve_group(const char *name)
{
    for (int g = 0; name != NULL && g < TET_GROUPS; g++)
        if (strcmp(tet_group_name((enum tet_group)g), name) == 0)
            return g;
    return -1;
}

static json_t *get(const json_t *value, const char *key, const char *key2)
{
    return json_object_get(json_object_get(value, key), key2);
}

void resolve_set(struct resolve_work *w, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        w->faults->no_memory = true;
}

/* ---- rule and rates ---- */

static json_t *make_group(struct resolve_work *w, const char *section, const char *name)
{
    json_t *groups = get(w->run, section, "groups"), *group = json_object_get(groups, name);
    if (group == NULL && groups != NULL) {
        resolve_set(w, groups, name, json_object());
        group = json_object_get(groups, name);
    }
    return group;
}

static bool has_convolutions(const json_t *run)
{
    const json_t *layers = get(run, "network", "layers"), *layer;
    size_t i;
    json_array_foreach((json_t *)layers, i, layer)
    {
        const char *type = json_string_value(json_object_get(layer, "type"));
        if (type != NULL && strcmp(type, resolve_layer_types[LAYER_CONV2D]) == 0)
            return true;
    }
    return false;
}

/* In convolutional networks the drives of V and U are sums over positions and feed on each other:
 * there they are slower by this, and decay faster, so that lr * decay is that of all groups. */
static const double slower = 32.0;

json_t *resolve_default_rate(const json_t *run, unsigned g, const char *key)
{
    const json_t *own = get(run, "optimizer", key);
    const double value = json_number_value(own);
    if ((g != TET_V && g != TET_U) || !has_convolutions(run))
        return json_copy((json_t *)own);
    return json_real(strcmp(key, "lr") == 0 ? value / slower : value * slower);
}

/* optimizer.groups: rates that are not given follow the optimizer's own. */
static void resolve_rates(struct resolve_work *w, unsigned g)
{
    json_t *rates = make_group(w, "optimizer", tet_group_name((enum tet_group)g));
    static const char *const keys[] = {"lr", "decay"};
    for (size_t k = 0; k < 2; k++)
        if (rates != NULL && json_object_get(rates, keys[k]) == NULL &&
            get(w->run, "optimizer", keys[k]) != NULL)
            resolve_set(w, rates, keys[k], resolve_default_rate(w->run, g, keys[k]));
}

/* B begins small where it learns from convolutions through laterals: what it has learned then soon
 * outweighs what it began with, in a stage that is slow to forget. */
static const double small = 0.1;

static void resolve_feedback_scale(struct resolve_work *w, bool images)
{
    json_t *group = json_object_get(get(w->run, "rule", "groups"), "B");
    if (group != NULL && json_object_get(group, "scale") == NULL &&
        !faults_known(w->faults, "/rule/groups/B/scale"))
        resolve_set(w, group, "scale",
                    images && w->info->group[TET_V] ? json_real(small) : json_integer(1));
}

/* Defaults that are the same for every rule come from the schema, which did not see groups that
 * were not there yet. */
static void resolve_groups(struct resolve_work *w)
{
    const json_t *sections = json_object_get(schema_experiment(), "properties");
    const bool images = has_convolutions(w->run);
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        if (!w->info->group[g])
            continue;
        json_t *group = make_group(w, "rule", name);
        if (group != NULL && json_object_get(group, "plastic") == NULL)
            resolve_set(w, group, "plastic", json_boolean(!w->info->fixed[g]));
        if (resolve_has_rates(w->info, (enum tet_group)g))
            resolve_rates(w, g);
    }
    resolve_feedback_scale(w, images);
    if (!schema_fill(json_object_get(sections, "rule"), json_object_get(w->run, "rule"), NULL, NULL,
                     NULL))
        w->faults->no_memory = true;
    for (unsigned g = TET_V; g <= TET_U; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        json_t *group = json_object_get(get(w->run, "rule", "groups"), name);
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "/rule/groups/%s/init", name);
        if (group != NULL && json_object_get(group, "init") == NULL &&
            !faults_known(w->faults, pointer))
            resolve_set(w, group, "init", json_string(images ? "identity" : "normal"));
        const char *init = json_string_value(json_object_get(group, "init"));
        if (init != NULL && json_object_get(group, "scale") == NULL)
            resolve_set(w, group, "scale", json_real(strcmp(init, "identity") == 0 ? 1.0 : 0.5));
    }
}

/* The mirror that a rule needs. */
static void make_mirror(struct resolve_work *w)
{
    json_t *rule = json_object_get(w->run, "rule");
    if (w->info->mirrors && json_object_get(rule, "mirror") == NULL &&
        !faults_known(w->faults, "/rule/mirror"))
        resolve_set(w, rule, "mirror", json_object());
}

/* A setting that came later and means "as before" is not written out: the definitions from before
 * it keep their hashes, and whoever writes the default asks for the same run. */
static void drop_full_wiring(struct resolve_work *w)
{
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        json_t *group =
            json_object_get(get(w->run, "rule", "groups"), tet_group_name((enum tet_group)g));
        if (json_number_value(json_object_get(group, "connection_probability")) == 1.0)
            json_object_del(group, "connection_probability");
    }
}

/* How drives become changes: "off" is not written out, as with the wiring. */
static void resolve_changes(struct resolve_work *w)
{
    json_t *rule = json_object_get(w->run, "rule"),
           *optimizer = json_object_get(w->run, "optimizer");
    const json_t *homeostasis = json_object_get(rule, "homeostasis");
    const char *normalize = json_string_value(json_object_get(rule, "normalize"));
    if (normalize != NULL && strcmp(normalize, "none") == 0)
        json_object_del(rule, "normalize");
    const json_t *rate = json_object_get(homeostasis, "rate");
    if (json_is_number(rate) && json_number_value(rate) == 0.0)
        json_object_del(rule, "homeostasis");
    if (json_is_false(json_object_get(rule, "center")))
        json_object_del(rule, "center");
    const json_t *clip = json_object_get(optimizer, "clip");
    if (json_is_number(clip) && json_number_value(clip) == 0.0)
        json_object_del(optimizer, "clip");
}

/* The same of the training section. */
static void drop_unselected(struct resolve_work *w)
{
    static const char *const unselected[][2] = {{"select", "last"}, {"test", "every_epoch"}};
    json_t *training = json_object_get(w->run, "training");
    for (size_t i = 0; i < 2; i++) {
        const char *name = json_string_value(json_object_get(training, unselected[i][0]));
        if (name != NULL && strcmp(name, unselected[i][1]) == 0)
            json_object_del(training, unselected[i][0]);
    }
}

static void check_real(struct resolve_work *w, const json_t *object, const char *key,
                       const char *place)
{
    const json_t *found = json_object_get(object, key);
    double value = fabs(json_number_value(found));
    char pointer[RESOLVE_POINTER];
    if (value == 0 || (value >= least_real && value <= most_real))
        return;
    snprintf(pointer, sizeof pointer, "%s/%s", place, key);
    faults_add(w->faults, pointer, found, NULL,
               "a number that 32 bits hold: 0 where that is allowed, or from 1.2e-38 to 1e30");
}

/* The shares and standard deviations of the circuit. */
static void check_circuit(struct resolve_work *w)
{
    const json_t *noise = get(w->run, "rule", "noise");
    for (const char *const *key = (const char *const[]){"activity", "teaching", "synapses", NULL};
         *key != NULL; key++)
        check_real(w, noise, *key, "/rule/noise");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        const json_t *group = json_object_get(get(w->run, "rule", "groups"), name),
                     *dale = json_object_get(group, "dale"),
                     *excitatory = json_object_get(dale, "excitatory");
        char place[RESOLVE_POINTER / 2], pointer[RESOLVE_POINTER];
        snprintf(place, sizeof place, "/rule/groups/%s", name);
        check_real(w, group, "scale", place);
        check_real(w, group, "connection_probability", place);
        snprintf(place, sizeof place, "/rule/groups/%s/dale", name);
        check_real(w, dale, "excitatory", place);
        snprintf(pointer, sizeof pointer, "%s/excitatory", place);
        if ((float)json_number_value(excitatory) >= 1.0f)
            faults_add(w->faults, pointer, excitatory, NULL,
                       "number > 0 and < 1, also when rounded to 32 bits");
    }
}

/* B goes to (noise^2 / decay) W^T, by default to W^T. */
static void resolve_mirror(struct resolve_work *w)
{
    json_t *mirror = get(w->run, "rule", "mirror");
    const json_t *noise = json_object_get(mirror, "noise");
    if (noise != NULL && json_object_get(mirror, "decay") == NULL &&
        !faults_known(w->faults, "/rule/mirror/decay"))
        resolve_set(w, mirror, "decay",
                    json_real(json_number_value(noise) * json_number_value(noise)));
    for (const char *const *key = (const char *const[]){"noise", "lr", "decay", NULL}; *key != NULL;
         key++)
        check_real(w, mirror, *key, "/rule/mirror");
}

static void check_reals(struct resolve_work *w)
{
    const json_t *optimizer = json_object_get(w->run, "optimizer");
    const json_t *momentum = json_object_get(optimizer, "momentum");
    check_real(w, optimizer, "lr", "/optimizer");
    check_real(w, optimizer, "decay", "/optimizer");
    check_real(w, optimizer, "momentum", "/optimizer");
    check_real(w, optimizer, "clip", "/optimizer");
    check_real(w, get(w->run, "rule", "homeostasis"), "rate", "/rule/homeostasis");
    check_real(w, get(w->run, "training", "early_stopping"), "min_delta",
               "/training/early_stopping");
    check_real(w, json_object_get(optimizer, "schedule"), "factor", "/optimizer/schedule");
    check_real(w, get(w->run, "protocol", "patterns"), "sd", "/protocol/patterns");
    if ((float)json_number_value(momentum) >= 1.0f)
        faults_add(w->faults, "/optimizer/momentum", momentum, NULL,
                   "number >= 0 and < 1, also when rounded to 32 bits");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        const json_t *rates = json_object_get(json_object_get(optimizer, "groups"), name);
        char place[RESOLVE_POINTER / 2];
        snprintf(place, sizeof place, "/optimizer/groups/%s", name);
        /* What a group has from the optimizer is the optimizer's fault. */
        for (const char *const *key = (const char *const[]){"lr", "decay", NULL}; *key != NULL;
             key++)
            if (!json_equal(json_object_get(rates, *key), json_object_get(optimizer, *key)))
                check_real(w, rates, *key, place);
    }
    check_circuit(w);
}

static void check_schedule(struct resolve_work *w)
{
    const json_t *epochs = json_object_get(get(w->run, "optimizer", "schedule"), "epochs");
    for (size_t i = 1; i < json_array_size(epochs); i++) {
        const json_t *before = json_array_get(epochs, i - 1), *found = json_array_get(epochs, i);
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "/optimizer/schedule/epochs/%zu", i);
        if (json_is_integer(before) && json_is_integer(found) &&
            json_integer_value(found) <= json_integer_value(before))
            faults_add(w->faults, pointer, found, NULL,
                       "integer > %" JSON_INTEGER_FORMAT " (epochs ascend)",
                       json_integer_value(before));
    }
}

/* ---- against the dataset ---- */

/* What goes by the validation part needs one, and an accuracy needs class labels. */
static void check_selection(struct resolve_work *w, const struct inputs_dataset *entry)
{
    static const char *const keys[] = {"early_stopping", "select"};
    const json_t *training = json_object_get(w->run, "training"),
                 *metric = json_object_get(json_object_get(training, keys[0]), "metric"),
                 *validation = get(w->run, "dataset", "validation");
    for (size_t i = 0; i < 2; i++) {
        const json_t *found = json_object_get(training, keys[i]);
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "/training/%s", keys[i]);
        if (found != NULL && json_is_integer(validation) && json_integer_value(validation) == 0 &&
            !faults_known(w->faults, "/dataset/validation"))
            faults_add(w->faults, pointer, found, NULL,
                       "%s only with a dataset.validation of 1 or more: it goes by the validation "
                       "part, never by the test part",
                       keys[i]);
    }
    if (entry != NULL && !entry->info.labels && metric != NULL &&
        strcmp(json_string_value(metric), "validation/accuracy") == 0)
        faults_add(w->faults, "/training/early_stopping/metric", metric, NULL,
                   "validation/loss: dataset %s has real targets, not class labels",
                   entry->info.name);
}

static void check_against_dataset(struct resolve_work *w, const struct inputs_dataset *entry)
{
    const json_t *dataset = json_object_get(w->run, "dataset"),
                 *batch = get(w->run, "training", "batch"), *loss = get(w->run, "network", "loss");
    json_int_t n = json_integer_value(json_object_get(dataset, "train")) -
                   json_integer_value(json_object_get(dataset, "validation"));
    if (n > 0 && json_integer_value(batch) > n && !faults_known(w->faults, "/dataset/train") &&
        !faults_known(w->faults, "/dataset/validation"))
        faults_add(w->faults, "/training/batch", batch, NULL,
                   "integer from 1 to %" JSON_INTEGER_FORMAT " (the examples trained on)",
                   n < TET_MAX_BATCH ? n : (json_int_t)TET_MAX_BATCH);
    if (entry != NULL && !entry->info.labels && loss != NULL &&
        strcmp(json_string_value(loss), "cross_entropy") == 0)
        faults_add(w->faults, "/network/loss", loss, NULL,
                   "mse: dataset %s has real targets, not class labels", entry->info.name);
    check_selection(w, entry);
    if (entry != NULL) {
        resolve_images(w, &entry->info);
        resolve_augment(w, &entry->info);
    }
}

static enum tet_err resolve_weights(struct resolve_work *w)
{
    const json_t *name = json_object_get(w->run, "initial_weights"),
                 *given = json_object_get(w->run, "initial_weights_sha256");
    const char *sha256, *allowed;
    if (name == NULL) {
        if (given != NULL && !faults_known(w->faults, "/initial_weights"))
            faults_add(w->faults, "/initial_weights_sha256", given, NULL,
                       "no sum: there is no initial_weights");
        return TET_OK;
    }
    enum tet_err err = inputs_weights(w->inputs, json_string_value(name), &sha256, &allowed);
    if (err != TET_OK)
        return err;
    if (sha256 == NULL)
        faults_add(w->faults, "/initial_weights", name, NULL, "%s", allowed);
    else if (given == NULL)
        resolve_set(w, w->run, "initial_weights_sha256", json_string(sha256));
    else if (strcmp(json_string_value(given), sha256) != 0)
        faults_add(w->faults, "/initial_weights_sha256", given, NULL, "%s, the file's sum now",
                   sha256);
    return TET_OK;
}

/* Only the interface's fork may say where a run began: the checkpoint has to come with it. */
static void check_fork(struct resolve_work *w)
{
    const json_t *fork = json_object_get(w->run, "fork");
    if (fork != NULL && !w->inputs->context->forking)
        faults_add(w->faults, "/fork", fork, NULL,
                   "nothing: POST /v1/runs/{id}/fork is how a run begins where another was");
}

static void check_memory(struct resolve_work *w, const struct inputs_dataset *entry,
                         uint64_t *memory_bytes, uint64_t *steps)
{
    const struct dataset_info *info = &entry->info;
    struct tet_plan plan;
    struct tet_error why = {0};
    uint64_t limit = w->inputs->context->memory_bytes, bytes;
    const size_t clean = w->faults->hits;
    enum tet_err err = definition_plan(&plan, w->run, info, &why);
    if (err == TET_OK)
        resolve_synapses(w, &plan, &info->shape);
    if (w->faults->hits != clean)
        return;
    if (err != TET_OK || definition_plan(&plan, w->run, info, &why) != TET_OK ||
        tet_plan_check(&plan, &info->shape, &why) != TET_OK) {
        faults_add(w->faults, "", NULL, NULL, "%s", why.message);
        return;
    }
    bytes = tet_plan_memory(&plan, &info->shape);
    *steps = tet_plan_steps(&plan);
    if (!resolve_protocol_plan(w, &plan, &info->shape, &bytes, steps))
        return;
    bool overflow = __builtin_add_overflow(bytes, info->bytes, memory_bytes);
    if (!overflow && *memory_bytes <= (uint64_t)INT64_MAX && *memory_bytes <= limit)
        return;
    json_t *found = overflow || *memory_bytes > (uint64_t)INT64_MAX
                        ? json_string("more than 2^63 bytes")
                        : json_integer((json_int_t)*memory_bytes);
    faults_add(w->faults, "/network", found, NULL,
               "at most %llu bytes of memory (of which the dataset takes %llu)",
               (unsigned long long)limit, (unsigned long long)info->bytes);
    json_decref(found);
}

enum tet_err resolve_run(json_t *run, struct inputs *inputs, const struct resolve_rules *rules,
                         struct faults *faults, size_t clean, uint64_t *memory_bytes,
                         uint64_t *steps, struct tet_error *error)
{
    const struct inputs_dataset *entry;
    struct resolve_work w = {.run = run, .inputs = inputs, .rules = rules, .faults = faults};
    w.rule = resolve_rule(json_string_value(get(run, "rule", "name")));
    if (w.rule >= 0) {
        json_t *rule = json_object_get(run, "rule");
        w.info = tet_rule_info((enum tet_rule_name)w.rule);
        resolve_foreign(&w);
        make_mirror(&w);
        if (w.info->takes_gate && json_object_get(rule, "gate") == NULL &&
            !faults_known(faults, "/rule/gate"))
            resolve_set(&w, rule, "gate", json_true());
        resolve_groups(&w);
        resolve_mirror(&w);
        drop_full_wiring(&w);
        resolve_timing(&w);
        resolve_changes(&w);
    }
    drop_unselected(&w);
    resolve_protocol(&w);
    resolve_network(&w);
    resolve_record(&w);
    check_reals(&w);
    check_schedule(&w);
    check_fork(&w);
    enum tet_err err = resolve_dataset(run, inputs, faults, &entry, error);
    if (err == TET_OK)
        err = resolve_weights(&w);
    if (err == TET_OK)
        check_against_dataset(&w, entry);
    if (err == TET_OK)
        resolve_interventions(&w);
    if (err == TET_OK && faults->no_memory)
        err = TET_NO_MEMORY;
    if (err != TET_OK)
        return tet_error_set(error, err, "%s", tet_err_message(err));
    if (faults->hits == clean && entry != NULL)
        check_memory(&w, entry, memory_bytes, steps);
    return TET_OK;
}
