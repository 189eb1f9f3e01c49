// SPDX-License-Identifier: Apache-2.0
/*
 * The rules as they are described to users: what the core's table says of each, and the fields of a
 * definition that it has a use for, as the schema describes them. A field that is added to the
 * schema's rule is listed without further ado.
 *
 * Any thread.
 */
#include "definition/rules.h"

#include <string.h>

#include <tetrad/plan.h>

#include "definition/definition.h"
#include "definition/resolve.h"
#include "definition/schema.h"

/* Takes over the value; false for lack of memory. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static const char *type_of(const json_t *schema)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    const json_t *first = json_array_get(json_object_get(schema, "enum"), 0);
    return type != NULL             ? type
           : json_is_string(first)  ? "string"
           : json_is_boolean(first) ? "boolean"
                                    : "any";
}

/* What the field is where nothing is said, null where that depends on other fields. */
static json_t *default_of(const json_t *schema, const json_t *fixed)
{
    const json_t *value = json_object_get(schema, "default");
    if (fixed != NULL)
        return json_deep_copy(fixed);
    return value != NULL ? json_deep_copy(value) : json_null();
}

static json_t *words_of(const json_t *schema)
{
    struct text words = {0};
    schema_words(schema, &words);
    json_t *text = words.failed ? NULL : json_string(text_get(&words));
    text_free(&words);
    return text;
}

/* Adds the field at `path`. `fixed`: the default that the rule gives it; with `only`, no other
 * value is allowed. */
static bool add_field(json_t *list, const char *path, const json_t *schema, const json_t *fixed,
                      bool only)
{
    static const char *const bounds[] = {"minimum", "exclusiveMinimum", "maximum",
                                         "exclusiveMaximum", "enum"};
    json_t *field = json_object();
    bool good = put(field, "path", json_string(path)) &&
                put(field, "type", json_string(type_of(schema))) &&
                put(field, "allowed", only ? json_string("false") : words_of(schema)) &&
                put(field, "default", default_of(schema, fixed)) &&
                put(field, "description", json_deep_copy(json_object_get(schema, "description")));
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds && good; i++) {
        const json_t *bound = json_object_get(schema, bounds[i]);
        good = bound == NULL || put(field, bounds[i], json_deep_copy(bound));
    }
    if (good && only)
        good = put(field, "enum", json_pack("[b]", 0));
    if (good)
        return json_array_append_new(list, field) == 0;
    json_decref(field);
    return false;
}

/* Adds what is below `path`: the fields of an object, or the field itself. */
static bool add_fields(json_t *list, const char *path, const json_t *schema)
{
    schema = schema_deref(schema);
    const char *key;
    json_t *member;
    const json_t *members = json_object_get(schema, "properties");
    if (members == NULL)
        return add_field(list, path, schema, NULL, false);
    json_object_foreach((json_t *)(uintptr_t)members, key, member)
    {
        char below[RESOLVE_POINTER];
        snprintf(below, sizeof below, "%s.%s", path, key);
        if (!add_fields(list, below, member))
            return false;
    }
    return true;
}

/* The fields of group g in the section's groups; plastic as the rule has it. */
static bool add_group(json_t *list, const struct tet_rule_info *info, const char *section,
                      const json_t *groups, enum tet_group g)
{
    const json_t *group =
        schema_deref(json_object_get(json_object_get(groups, "properties"), tet_group_name(g)));
    const char *key;
    json_t *member;
    json_object_foreach(json_object_get(group, "properties"), key, member)
    {
        char path[RESOLVE_POINTER];
        snprintf(path, sizeof path, "%s.groups.%s.%s", section, tet_group_name(g), key);
        const bool plastic = strcmp(key, "plastic") == 0;
        if (plastic ? !add_field(list, path, schema_deref(member), json_boolean(!info->fixed[g]),
                                 info->fixed[g])
                    : !add_fields(list, path, member))
            return false;
    }
    return true;
}

static bool add_groups(json_t *list, const struct tet_rule_info *info, const char *section,
                       const json_t *groups)
{
    const bool rates = strcmp(section, "optimizer") == 0;
    for (enum tet_group g = 0; g < TET_GROUPS; g++)
        if (rates ? resolve_has_rates(info, g) : info->group[g])
            if (!add_group(list, info, section, groups, g))
                return false;
    return true;
}

static const json_t *section_of(const char *name)
{
    const json_t *section =
        schema_deref(json_object_get(json_object_get(schema_experiment(), "properties"), name));
    return json_object_get(section, "properties");
}

/* Whether the rule has a use for the field of `rule`, which others may. */
static bool has_use_for(const struct tet_rule_info *info, const char *field)
{
    if (strcmp(field, "mirror") == 0)
        return info->mirrors;
    if (strcmp(field, "homeostasis") == 0)
        return resolve_is_homeostatic(info);
    return strcmp(field, "name") != 0;
}

/* Everything in rule but its name, and its groups' rates. */
static bool add_parameters(json_t *list, const struct tet_rule_info *info)
{
    const json_t *rule = section_of("rule");
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)rule, key, member)
    {
        char path[RESOLVE_POINTER];
        snprintf(path, sizeof path, "rule.%s", key);
        bool good = true;
        if (strcmp(key, "gate") == 0)
            good = !info->takes_gate || add_field(list, path, member, json_true(), false);
        else if (strcmp(key, "groups") == 0)
            good = add_groups(list, info, "rule", member);
        else if (has_use_for(info, key))
            good = add_fields(list, path, member);
        if (!good)
            return false;
    }
    return add_groups(list, info, "optimizer", json_object_get(section_of("optimizer"), "groups"));
}

static bool add_rule(json_t *rules, const struct tet_rule_info *info)
{
    json_t *groups = json_array(), *plastic = json_array(), *parameters = json_array();
    bool good = add_parameters(parameters, info);
    for (enum tet_group g = 0; g < TET_GROUPS && good; g++) {
        if (info->group[g])
            good = json_array_append_new(groups, json_string(tet_group_name(g))) == 0;
        if (good && info->group[g] && !info->fixed[g])
            good = json_array_append_new(plastic, json_string(tet_group_name(g))) == 0;
    }
    json_t *rule =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "name", info->name, "title",
                  info->title, "equation", info->equation, "source", info->source, "groups", groups,
                  "plastic", plastic, "gate", info->takes_gate, "parameters", parameters);
    if (good)
        return json_array_append_new(rules, rule) == 0;
    json_decref(rule);
    return false;
}

json_t *definition_rules(void)
{
    json_t *rules = json_array();
    for (int i = 0; i < TET_RULES; i++)
        if (!add_rule(rules, tet_rule_info((enum tet_rule_name)i))) {
            json_decref(rules);
            return NULL;
        }
    return json_pack("{s:o}", "rules", rules);
}
