// SPDX-License-Identifier: Apache-2.0
/*
 * Settings that the run's rule has no use for: refused or, where the sweep makes runs of a rule
 * that has, dropped.
 *
 * One thread per definition.
 */
#include "definition/resolve.h"

#include <stdio.h>
#include <string.h>

#include "definition/definition.h"
#include "definition/schema.h"
#include "definition/sweep.h"

/* What a setting needs of a rule; the first three of a group, by adding its number. */
enum need {
    NEED_GROUP,
    NEED_RATES = NEED_GROUP + TET_GROUPS,
    NEED_PLASTIC = NEED_RATES + TET_GROUPS,
    NEED_GATE = NEED_PLASTIC + TET_GROUPS,
    NEED_MIRROR,
    NEED_HOMEOSTASIS
};

bool resolve_has_rates(const struct tet_rule_info *info, enum tet_group group)
{
    return info->group[group] && group != TET_D && !(group == TET_B && info->mirrors);
}

bool resolve_is_homeostatic(const struct tet_rule_info *info)
{
    return info->group[TET_B] && !info->fixed[TET_B] && !info->mirrors;
}

static bool uses(const struct tet_rule_info *info, unsigned need)
{
    if (need == NEED_HOMEOSTASIS)
        return resolve_is_homeostatic(info);
    if (need == NEED_MIRROR)
        return info->mirrors;
    if (need == NEED_GATE)
        return info->takes_gate;
    if (need >= NEED_PLASTIC)
        return info->group[need - NEED_PLASTIC] && !info->fixed[need - NEED_PLASTIC];
    if (need >= NEED_RATES)
        return resolve_has_rates(info, (enum tet_group)(need - NEED_RATES));
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
        if ((rules >> rule & 1u) != 0 && uses(tet_rule_info((enum tet_rule_name)rule), need))
            return true;
    return false;
}

bool resolve_is_foreign(const struct resolve_work *w, const char *pointer, enum tet_group group)
{
    return meant_for_another(w, pointer, NEED_GROUP + group);
}

bool resolve_is_foreign_plastic(const struct resolve_work *w, const char *pointer,
                                enum tet_group group)
{
    return meant_for_another(w, pointer, NEED_PLASTIC + group);
}

/* What a rule says to a group that it has no use for. */
static void put_groups(const struct tet_rule_info *info, unsigned g, char text[RESOLVE_POINTER])
{
    size_t n = 0;
    if (info->group[g])
        n = (size_t)snprintf(text, RESOLVE_POINTER, "%s of rule %s changes by rule.mirror; ",
                             tet_group_name((enum tet_group)g), info->name);
    n += (size_t)snprintf(text + n, RESOLVE_POINTER - n, "groups of rule %s: ", info->name);
    const char *between = "";
    for (unsigned i = 0; i < TET_GROUPS; i++) {
        if (!info->group[i] || i == g)
            continue;
        n += (size_t)snprintf(text + n, RESOLVE_POINTER - n, "%s%s", between,
                              tet_group_name((enum tet_group)i));
        between = ", ";
    }
}

/* Whether a member is what the schema fills in: nobody need have said it. `place`: of the
 * object. */
static bool is_default(const char *place, const char *key, const json_t *member)
{
    const json_t *schema = schema_experiment();
    while (*place == '/') {
        char name[RESOLVE_POINTER];
        const size_t n = strcspn(++place, "/");
        snprintf(name, sizeof name, "%.*s", (int)n, place);
        schema = schema_deref(json_object_get(json_object_get(schema, "properties"), name));
        place += n;
    }
    const json_t *value = json_object_get(
        schema_deref(json_object_get(json_object_get(schema, "properties"), key)), "default");
    return json_is_number(value) && json_is_number(member)
               ? json_number_value(value) == json_number_value(member)
               : json_equal(value, member);
}

/* An object that the rule has no use for, member `name` of `parent` at `place`. Where the sweep
 * sets one of its members, that is where it comes from. */
static void drop_object(struct resolve_work *w, json_t *parent, const char *name, const char *place,
                        unsigned need, const char *allowed)
{
    const json_t *object = json_object_get(parent, name);
    const char *key;
    json_t *member;
    size_t swept = 0, said = 0;
    json_object_foreach((json_t *)object, key, member)
    {
        struct text set_at = {0};
        char pointer[RESOLVE_POINTER];
        snprintf(pointer, sizeof pointer, "%s/%s", place, key);
        if (sweep_pointer(w->faults->point, pointer, &set_at)) {
            if (!meant_for_another(w, pointer, need))
                faults_add(w->faults, pointer, member, NULL, "%s", allowed);
            swept++;
        } else if (!is_default(place, key, member))
            said++;
        text_free(&set_at);
    }
    if ((swept == 0 || said > 0) && !meant_for_another(w, place, need))
        faults_add(w->faults, place, object, NULL, "%s", allowed);
    json_object_del(parent, name);
}

/* In rule.groups and in optimizer.groups. */
static void drop_groups(struct resolve_work *w, const char *section, unsigned need)
{
    json_t *groups = json_object_get(json_object_get(w->run, section), "groups");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        char place[RESOLVE_POINTER / 2], allowed[RESOLVE_POINTER];
        if (uses(w->info, need + g) || json_object_get(groups, name) == NULL)
            continue;
        snprintf(place, sizeof place, "/%s/groups/%s", section, name);
        put_groups(w->info, g, allowed);
        drop_object(w, groups, name, place, need + g, allowed);
    }
}

static void drop_mirror(struct resolve_work *w)
{
    json_t *rule = json_object_get(w->run, "rule");
    char allowed[RESOLVE_POINTER];
    if (w->info->mirrors || json_object_get(rule, "mirror") == NULL)
        return;
    snprintf(allowed, sizeof allowed, "no mirror: rule %s has no mirror phases", w->info->name);
    drop_object(w, rule, "mirror", "/rule/mirror", NEED_MIRROR, allowed);
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

/* Homeostasis scales what is learned besides W. */
static void drop_homeostasis(struct resolve_work *w)
{
    static const char *const places[] = {"/rule/homeostasis", "/rule/homeostasis/rate"};
    json_t *rule = json_object_get(w->run, "rule");
    const json_t *found = json_object_get(rule, "homeostasis");
    if (found == NULL || uses(w->info, NEED_HOMEOSTASIS))
        return;
    struct text place = {0};
    const bool swept = sweep_pointer(w->faults->point, places[1], &place);
    text_free(&place);
    if (!meant_for_another(w, places[swept], NEED_HOMEOSTASIS))
        faults_add(w->faults, places[swept], swept ? json_object_get(found, "rate") : found, NULL,
                   "no homeostasis: rule %s learns neither B nor V and U", w->info->name);
    json_object_del(rule, "homeostasis");
}

static void drop_plastic(struct resolve_work *w)
{
    const json_t *groups = json_object_get(json_object_get(w->run, "rule"), "groups");
    for (unsigned g = 0; g < TET_GROUPS; g++) {
        const char *name = tet_group_name((enum tet_group)g);
        json_t *group = json_object_get(groups, name);
        const json_t *plastic = json_object_get(group, "plastic");
        char pointer[RESOLVE_POINTER];
        if (!w->info->fixed[g] || !json_is_true(plastic))
            continue;
        snprintf(pointer, sizeof pointer, "/rule/groups/%s/plastic", name);
        if (!meant_for_another(w, pointer, NEED_PLASTIC + g))
            faults_add(w->faults, pointer, plastic, NULL, "false: the feedback of rule %s is fixed",
                       w->info->name);
        json_object_del(group, "plastic");
    }
}

void resolve_foreign(struct resolve_work *w)
{
    drop_groups(w, "rule", NEED_GROUP);
    drop_groups(w, "optimizer", NEED_RATES);
    drop_mirror(w);
    drop_gate(w);
    drop_plastic(w);
    drop_homeostasis(w);
}
