// SPDX-License-Identifier: Apache-2.0
/*
 * Resolves one run: drops or refuses what its rule has no use for, writes out the defaults that
 * depend on other fields, and checks what no schema can say.
 *
 * The run's definition may lack anything that the schema found fault with, so every look-up here
 * takes "not there" for an answer and then says nothing.
 *
 * One thread per definition.
 */
#include "definition/resolve.h"

#include <stdio.h>
#include <math.h>
#include <string.h>

#include <tetrad/plan.h>

#include "definition/sweep.h"

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

/* ---- settings of other rules ---- */

enum need { NEED_GROUP, NEED_GATE = TET_GROUPS, NEED_PLASTIC_B };

static bool uses(int rule, unsigned need)
{
    const struct tet_rule_info *info = tet_rule_info((enum tet_rule_name)rule);
    if (need == NEED_GATE)
        return info->takes_gate;
    if (need == NEED_PLASTIC_B)
        return info->group[TET_B] && !info->fixed_feedback;
    return info->group[need - NEED_GROUP];
}

/* As resolve_is_foreign, for any need. */
static bool meant_for_another(const struct resolve_work *w, const char *pointer, unsigned need)
{
    struct text place = {0};
    bool swept = sweep_pointer(w->faults->point, pointer, &place);
    unsigned rules = swept ? w->rules->grid : w->rules->experiment;
    text_free(&place);
    for (int rule = 0; rule < TET_RULES; rule++)
        if ((rules >> rule & 1u) != 0 && uses(rule, need))
            return true;
    return false;
}

bool resolve_is_foreign(const struct resolve_work *w, const char *pointer, enum tet_group group)
{
    return meant_for_another(w, pointer, NEED_GROUP + group);
}

bool resolve_is_foreign_plastic(const struct resolve_work *w, const char *pointer)
{
    return meant_for_another(w, pointer, NEED_PLASTIC_B);
}

static void put_groups(const struct tet_rule_info *info, char text[16])
{
    size_t n = 0;
    for (unsigned g = 0; g < TET_GROUPS; g++)
        if (info->group[g])
            n += (size_t)snprintf(text + n, 16 - n, "%s%s", n > 0 ? ", " : "",
                                  tet_group_name((enum tet_group)g));
}

static void refuse_group(struct resolve_work *w, const char *pointer, const json_t *found,
                         unsigned g)
{
    char has[16];
    put_groups(w->info, has);
    if (!meant_for_another(w, pointer, NEED_GROUP + g))
        faults_add(w->faults, pointer, found, NULL, "groups of rule %s: %s", w->info->name, has);
}

/* A group that the rule lacks. Where the sweep sets one of its members, that is where it comes
 * from. */
static void drop_group(struct resolve_work *w, const char *section, json_t *groups, unsigned g)
{
    const char *name = tet_group_name((enum tet_group)g), *key;
    const json_t *group = json_object_get(groups, name);
    json_t *member;
    char pointer[RESOLVE_POINTER];
    size_t swept = 0;
    json_object_foreach((json_t *)group, key, member)
    {
        struct text place = {0};
        snprintf(pointer, sizeof pointer, "/%s/groups/%s/%s", section, name, key);
        if (sweep_pointer(w->faults->point, pointer, &place)) {
            refuse_group(w, pointer, member, g);
            swept++;
        }
        text_free(&place);
    }
    snprintf(pointer, sizeof pointer, "/%s/groups/%s", section, name);
    if (swept == 0 || swept < json_object_size(group))
        refuse_group(w, pointer, group, g);
    json_object_del(groups, name);
}

/* In rule.groups and in optimizer.groups. */
static void drop_groups(struct resolve_work *w, const char *section)
{
    json_t *groups = get(w->run, section, "groups");
    for (unsigned g = 0; g < TET_GROUPS; g++)
        if (!w->info->group[g] &&
            json_object_get(groups, tet_group_name((enum tet_group)g)) != NULL)
            drop_group(w, section, groups, g);
}

static void drop_gate(struct resolve_work *w)
{
    json_t *rule = json_object_get(w->run, "rule");
    const json_t *gate = json_object_get(rule, "gate");
    if (gate == NULL || w->info->takes_gate)
        return;
    if (!meant_for_another(w, "/rule/gate", NEED_GATE))
        faults_add(w->faults, "/rule/gate", gate, NULL, "no gate: rule %s has no such choice",
                   w->info->name);
    json_object_del(rule, "gate");
}

static void drop_plastic(struct resolve_work *w)
{
    json_t *group = json_object_get(get(w->run, "rule", "groups"), "B");
    const json_t *plastic = json_object_get(group, "plastic");
    if (!w->info->fixed_feedback || !json_is_true(plastic))
        return;
    if (!meant_for_another(w, "/rule/groups/B/plastic", NEED_PLASTIC_B))
        faults_add(w->faults, "/rule/groups/B/plastic", plastic, NULL,
                   "false: the feedback of rule %s is fixed", w->info->name);
    json_object_del(group, "plastic");
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

/* Defaults that are the same for every rule come from the schema, which did not see groups that
 * were not there yet. */
static void resolve_groups(struct resolve_work *w)
{
    const json_t *sections = json_object_get(schema_experiment(), "properties"),
                 *optimizer = json_object_get(w->run, "optimizer");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        if (!w->info->group[g])
            continue;
        json_t *group = make_group(w, "rule", name), *rates = make_group(w, "optimizer", name);
        if (group != NULL && json_object_get(group, "plastic") == NULL)
            resolve_set(w, group, "plastic", json_boolean(g != TET_B || !w->info->fixed_feedback));
        static const char *const keys[] = {"lr", "decay"};
        for (size_t k = 0; k < 2; k++)
            if (rates != NULL && json_object_get(rates, keys[k]) == NULL &&
                json_object_get(optimizer, keys[k]) != NULL)
                resolve_set(w, rates, keys[k], json_copy(json_object_get(optimizer, keys[k])));
    }
    if (!schema_fill(json_object_get(sections, "rule"), json_object_get(w->run, "rule"), NULL, NULL,
                     NULL))
        w->faults->no_memory = true;
    for (unsigned g = TET_V; g < TET_GROUPS; g++) {
        json_t *group =
            json_object_get(get(w->run, "rule", "groups"), tet_group_name((enum tet_group)g));
        const char *init = json_string_value(json_object_get(group, "init"));
        if (init != NULL && json_object_get(group, "scale") == NULL)
            resolve_set(w, group, "scale", json_real(strcmp(init, "identity") == 0 ? 1.0 : 0.5));
    }
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

static void check_reals(struct resolve_work *w)
{
    const json_t *optimizer = json_object_get(w->run, "optimizer");
    const json_t *momentum = json_object_get(optimizer, "momentum");
    check_real(w, optimizer, "lr", "/optimizer");
    check_real(w, optimizer, "decay", "/optimizer");
    check_real(w, optimizer, "momentum", "/optimizer");
    check_real(w, json_object_get(optimizer, "schedule"), "factor", "/optimizer/schedule");
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
        snprintf(place, sizeof place, "/rule/groups/%s", name);
        const json_t *group = json_object_get(get(w->run, "rule", "groups"), name);
        check_real(w, group, "scale", place);
        check_real(w, group, "connection_probability", place);
    }
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
        drop_groups(&w, "rule");
        drop_groups(&w, "optimizer");
        drop_gate(&w);
        drop_plastic(&w);
        if (w.info->takes_gate && json_object_get(rule, "gate") == NULL &&
            !faults_known(faults, "/rule/gate"))
            resolve_set(&w, rule, "gate", json_true());
        resolve_groups(&w);
        drop_full_wiring(&w);
    }
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
