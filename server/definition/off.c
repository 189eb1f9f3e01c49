// SPDX-License-Identifier: Apache-2.0
/* Values that a resolved definition leaves out: see off.h. */
#include "definition/off.h"

#include <string.h>
#include <tetrad/plan.h>

#include "definition/resolve.h"
#include "text.h"

static const struct {
    const char *path;
    const char *word; // NULL: false, 0, or an array or object of nothing
} offs[] = {
    {"type", "training"},
    {"dataset.augment", NULL},
    {"dataset.augment.crop", NULL},
    {"dataset.augment.flip", NULL},
    {"rule.normalize", "none"},
    {"rule.center", NULL},
    {"rule.homeostasis", NULL},
    {"rule.homeostasis.rate", NULL},
    {"rule.noise", NULL},
    {"rule.noise.activity", NULL},
    {"rule.noise.teaching", NULL},
    {"rule.noise.synapses", NULL},
    {"rule.delay", NULL},
    {"rule.delay.batches", NULL},
    {"rule.update_order", "together"},
    {"optimizer.clip", NULL},
    {"training.select", "last"},
    {"training.test", "every_epoch"},
    {"record.assembly", NULL},
    {"record.activity", NULL},
    {"record.spectrum", NULL},
    {"record.synapses", NULL},
    {"interventions", NULL},
};

/* Paths that a rule may have no use for. */
static bool is_lacking(const char *path, const struct tet_rule_info *rule)
{
    if (strncmp(path, "rule.homeostasis", strlen("rule.homeostasis")) == 0)
        return !resolve_is_homeostatic(rule);
    return strcmp(path, "record.spectrum") == 0 && !rule->group[TET_V];
}

/* "rule.groups.W.connection_probability" of a group that the rule has. */
static bool is_full_wiring(const char *path, const json_t *value, const struct tet_rule_info *rule)
{
    static const char section[] = "rule.groups.";
    if (strncmp(path, section, strlen(section)) != 0 || !json_is_number(value) ||
        json_number_value(value) != 1.0)
        return false;
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        if (rule->group[g] && *tet_group_name(g) == path[strlen(section)])
            return strcmp(path + strlen(section) + 1, ".connection_probability") == 0;
    return false;
}

/* delay without batches has no use for its eligibility. */
static bool members_are_off(const char *path, const json_t *object,
                            const struct tet_rule_info *rule)
{
    const char *key;
    json_t *member;
    bool off = true;
    json_object_foreach((json_t *)(uintptr_t)object, key, member)
    {
        struct text below = {0};
        text_printf(&below, "%s.%s", path, key);
        off = off && !below.failed &&
              (strcmp(text_get(&below), "rule.delay.eligibility") == 0 ||
               off_value(text_get(&below), member, rule));
        text_free(&below);
    }
    return off;
}

bool off_value(const char *path, const json_t *value, const struct tet_rule_info *rule)
{
    if (is_lacking(path, rule))
        return false;
    for (size_t i = 0; i < sizeof offs / sizeof *offs; i++) {
        if (strcmp(path, offs[i].path) != 0)
            continue;
        if (offs[i].word != NULL)
            return json_is_string(value) && strcmp(json_string_value(value), offs[i].word) == 0;
        return json_is_object(value)   ? members_are_off(path, value, rule)
               : json_is_array(value)  ? json_array_size(value) == 0
               : json_is_number(value) ? json_number_value(value) == 0.0
                                       : json_is_false(value);
    }
    return is_full_wiring(path, value, rule);
}
