// SPDX-License-Identifier: Apache-2.0
/* Validates values against the embedded schema and fills in its defaults. The schema is parsed once
 * and never changed after that, so any thread may read it; a value belongs to one thread. */
#include "definition/schema.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "definition/definition.h"
#include "embed.h"

static pthread_mutex_t experiment_lock = PTHREAD_MUTEX_INITIALIZER; // guards `experiment`
static json_t *experiment;

const json_t *schema_experiment(void)
{
    pthread_mutex_lock(&experiment_lock);
    if (experiment == NULL)
        experiment = json_loads(embed_experiment_schema, JSON_REJECT_DUPLICATES, NULL);
    pthread_mutex_unlock(&experiment_lock);
    return experiment;
}

void place_pointer(const struct place *place, struct text *text)
{
    if (place == NULL)
        return;
    place_pointer(place->parent, text);
    if (place->key != NULL)
        text_token(text, place->key);
    else
        text_printf(text, "/%zu", place->index);
}

const json_t *schema_deref(const json_t *schema)
{
    static const char defs[] = "#/$defs/";
    const char *name = json_string_value(json_object_get(schema, "$ref"));
    if (name == NULL || strncmp(name, defs, sizeof defs - 1) != 0)
        return schema;
    return json_object_get(json_object_get(experiment, "$defs"), name + sizeof defs - 1);
}

/* ---- unions ---- */

static bool is_whole(const json_t *value)
{
    double real = json_real_value(value);
    return json_is_real(value) && floor(real) == real && fabs(real) <= 0x1p53;
}

static bool has_type(const json_t *value, const char *type)
{
    return strcmp(type, "object") == 0    ? json_is_object(value)
           : strcmp(type, "array") == 0   ? json_is_array(value)
           : strcmp(type, "string") == 0  ? json_is_string(value)
           : strcmp(type, "boolean") == 0 ? json_is_boolean(value)
           : strcmp(type, "number") == 0  ? json_is_number(value)
           : strcmp(type, "integer") == 0 ? json_is_integer(value) || is_whole(value)
                                          : false;
}

static bool same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

/* The property of a branch that tells it from the others: the first with a const. */
static const char *tag(const json_t *branch, const json_t **schema)
{
    const char *key;
    json_t *property;
    json_object_foreach(json_object_get(branch, "properties"), key, property)
    {
        *schema = property;
        if (json_object_get(property, "const") != NULL)
            return key;
    }
    return NULL;
}

/* The branch of a union that the value means, or NULL. */
static const json_t *choose(const json_t *branches, const json_t *value)
{
    size_t i;
    json_t *branch;
    json_array_foreach(branches, i, branch)
    {
        const json_t *candidate = schema_deref(branch), *property = NULL;
        const char *type = json_string_value(json_object_get(candidate, "type"));
        if (type != NULL && !has_type(value, type))
            continue;
        const char *key = tag(candidate, &property);
        if (key == NULL)
            return candidate;
        const json_t *found = json_object_get(value, key);
        if (found == NULL)
            found = json_object_get(property, "default");
        if (found != NULL && same(found, json_object_get(property, "const")))
            return candidate;
    }
    return NULL;
}

/* ---- filling ---- */

bool schema_fill(const json_t *schema, json_t *value, const struct place *place,
                 schema_skip_fn *skip, const void *context)
{
    schema = schema_deref(schema);
    const json_t *branches = json_object_get(schema, "anyOf"), *items;
    if (branches != NULL) {
        if (skip != NULL && skip(place, context))
            return true;
        schema = choose(branches, value);
    }
    const char *key;
    json_t *property, *element;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(json_object_get(schema, "properties"), key, property)
        {
            json_t *member = json_object_get(value, key);
            if (member == NULL) {
                const json_t *preset = json_object_get(property, "default");
                if (preset == NULL)
                    preset = json_object_get(schema_deref(property), "default");
                if (preset == NULL)
                    continue;
                member = json_deep_copy(preset);
                if (json_object_set_new_nocheck(value, key, member) != 0)
                    return false;
            }
            struct place at = {place, key, 0};
            if (!schema_fill(property, member, &at, skip, context))
                return false;
        }
    } else if (json_is_array(value) && (items = json_object_get(schema, "items")) != NULL) {
        json_array_foreach(value, i, element)
        {
            struct place at = {place, NULL, i};
            if (!schema_fill(items, element, &at, skip, context))
                return false;
        }
    }
    return true;
}

/* ---- checking ---- */

static void fault(struct faults *faults, const struct place *place, const json_t *found,
                  const char *hint, const char *before, const json_t *schema)
{
    struct text pointer = {0}, words = {0};
    place_pointer(place, &pointer);
    schema_words(schema, &words);
    faults->no_memory |= pointer.failed || words.failed;
    faults_add(faults, text_get(&pointer), found, hint, "%s%s", before, text_get(&words));
    text_free(&pointer);
    text_free(&words);
}

/* "; units goes with type dense": where a field is one of the union's other branches. */
static void put_owners(const json_t *branches, const char *name, struct text *text)
{
    const json_t *property;
    json_t *branch;
    size_t i, n = 0;
    json_array_foreach(branches, i, branch)
    {
        const json_t *candidate = schema_deref(branch);
        const char *key = tag(candidate, &property);
        if (key == NULL || !json_object_get(json_object_get(candidate, "properties"), name))
            continue;
        if (n++ == 0)
            text_printf(text, "; %s goes with %s ", name, key);
        else
            text_puts(text, " or ");
        schema_words(property, text);
    }
}

static void put_names(const json_t *object, struct text *text)
{
    const char *key, *between = "one of ";
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        text_printf(text, "%s%s", between, key);
        between = ", ";
    }
}

/* branches: of the union that the object's schema was chosen from, or NULL. */
static void unknown_field(struct faults *faults, const struct place *place, const json_t *found,
                          const json_t *properties, const json_t *branches)
{
    struct text pointer = {0}, names = {0};
    place_pointer(place, &pointer);
    put_names(properties, &names);
    put_owners(branches, place->key, &names);
    faults->no_memory |= pointer.failed || names.failed;
    faults_add(faults, text_get(&pointer), found, faults_nearest(place->key, properties), "%s",
               text_get(&names));
    text_free(&pointer);
    text_free(&names);
}

/* None of a union's branches is meant: either the type is wrong, or the tag. */
static void no_branch(struct faults *faults, const struct place *place, const json_t *branches,
                      const json_t *value)
{
    json_t *tags = json_array(), *branch;
    const json_t *property;
    const char *key = NULL;
    size_t i;
    json_array_foreach(branches, i, branch)
    {
        const char *of_branch = tag(schema_deref(branch), &property);
        if (of_branch == NULL)
            continue;
        key = of_branch;
        json_array_append(tags, json_object_get(property, "const"));
    }
    struct place at = {place, key, 0};
    json_t *schema = key != NULL && json_is_object(value) ? json_pack("{s:O}", "enum", tags)
                                                          : json_pack("{s:O}", "anyOf", branches);
    if (tags == NULL || schema == NULL)
        faults->no_memory = true;
    else if (key != NULL && json_is_object(value)) {
        const json_t *found = json_object_get(value, key);
        const char *name = json_string_value(found);
        fault(faults, &at, found, name != NULL ? faults_nearest(name, tags) : NULL, "", schema);
    } else
        fault(faults, place, value, NULL, "", schema);
    json_decref(schema);
    json_decref(tags);
}

static bool check_value(const json_t *schema, json_t *value, const struct place *place,
                        struct faults *faults, json_t **replacement);

static void check_member(const json_t *schema, json_t *object, const char *key, json_t *value,
                         const struct place *place, struct faults *faults)
{
    json_t *replacement = NULL;
    if (!check_value(schema, value, place, faults, &replacement))
        json_object_del(object, key);
    else if (replacement != NULL && json_object_set_new_nocheck(object, key, replacement) != 0)
        faults->no_memory = true;
}

static void check_object(const json_t *schema, const json_t *branches, json_t *value,
                         const struct place *place, struct faults *faults)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *others = json_object_get(schema, "additionalProperties");
    json_t *name, *member;
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        const char *needed = json_string_value(name);
        struct place at = {place, needed, 0};
        if (json_object_get(value, needed) == NULL)
            fault(faults, &at, NULL, NULL, "required: ", json_object_get(properties, needed));
    }
    const char *key;
    void *next;
    json_object_foreach_safe(value, next, key, member)
    {
        struct place at = {place, key, 0};
        const json_t *property = json_object_get(properties, key);
        if (property == NULL && json_is_object(others))
            property = others;
        if (property != NULL) {
            check_member(property, value, key, member, &at, faults);
        } else if (json_is_false(others)) {
            unknown_field(faults, &at, member, properties, branches);
            json_object_del(value, key);
        }
    }
}

static void check_array(const json_t *schema, json_t *value, const struct place *place,
                        struct faults *faults)
{
    const json_t *items = json_object_get(schema, "items");
    json_t *element, *replacement;
    size_t i;
    if (json_is_true(json_object_get(schema, "uniqueItems"))) {
        json_array_foreach(value, i, element)
        {
            struct place at = {place, NULL, i};
            size_t j = 0; // lists with unique items are short: maxItems bounds them
            while (j < i && !same(json_array_get(value, j), element))
                j++;
            if (j < i)
                fault(faults, &at, element, NULL, "items that differ: ", items);
        }
    }
    if (items == NULL)
        return;
    json_array_foreach(value, i, element)
    {
        struct place at = {place, NULL, i};
        replacement = NULL;
        if (!check_value(items, element, &at, faults, &replacement))
            replacement = json_null();
        if (replacement != NULL && json_array_set_new(value, i, replacement) != 0)
            faults->no_memory = true;
    }
}

static size_t characters(const json_t *string)
{
    const char *text = json_string_value(string);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(string); i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

static bool within(const json_t *schema, const char *least, const char *most, size_t n)
{
    const json_t *lo = json_object_get(schema, least), *hi = json_object_get(schema, most);
    return (lo == NULL || n >= (size_t)json_integer_value(lo)) &&
           (hi == NULL || n <= (size_t)json_integer_value(hi));
}

/* -1, 0, 1: value below, equal to, above bound. Whole numbers are compared as such, beyond 2^53
 * too. */
static int compare(const json_t *value, const json_t *bound)
{
    if (json_is_integer(value) && json_is_integer(bound)) {
        const json_int_t a = json_integer_value(value), b = json_integer_value(bound);
        return (a > b) - (a < b);
    }
    const double a = json_number_value(value), b = json_number_value(bound);
    return (a > b) - (a < b);
}

static bool in_range(const json_t *schema, const json_t *value)
{
    const json_t *lo = json_object_get(schema, "minimum"), *hi = json_object_get(schema, "maximum"),
                 *above = json_object_get(schema, "exclusiveMinimum"),
                 *below = json_object_get(schema, "exclusiveMaximum");
    return (lo == NULL || compare(value, lo) >= 0) && (hi == NULL || compare(value, hi) <= 0) &&
           (above == NULL || compare(value, above) > 0) &&
           (below == NULL || compare(value, below) < 0);
}

/* Whether the value by itself, whatever it contains, is of the right type and size. */
static bool fits(const json_t *schema, const json_t *value)
{
    const json_t *values = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (type != NULL && !has_type(value, type))
        return false;
    if (one != NULL && !same(one, value))
        return false;
    if (values != NULL) {
        size_t i = 0, n = json_array_size(values);
        while (i < n && !same(json_array_get(values, i), value))
            i++;
        if (i == n)
            return false;
    }
    if (json_is_number(value) && !in_range(schema, value))
        return false;
    if (json_is_string(value) && !within(schema, "minLength", "maxLength", characters(value)))
        return false;
    if (json_is_array(value) && !within(schema, "minItems", "maxItems", json_array_size(value)))
        return false;
    return !json_is_object(value) ||
           within(schema, "minProperties", "maxProperties", json_object_size(value));
}

/* Integers for numbers and reals for integers, so that equal definitions are equal values. */
static void normalise(const json_t *schema, const json_t *value, struct faults *faults,
                      json_t **replacement)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (type == NULL)
        return;
    if (json_is_integer(value) && strcmp(type, "number") == 0)
        *replacement = json_real((double)json_integer_value(value));
    else if (json_is_real(value) && strcmp(type, "integer") == 0)
        *replacement = json_integer((json_int_t)json_real_value(value));
    else
        return;
    if (*replacement == NULL)
        faults->no_memory = true;
}

static bool check_value(const json_t *schema, json_t *value, const struct place *place,
                        struct faults *faults, json_t **replacement)
{
    schema = schema_deref(schema);
    const json_t *branches = json_object_get(schema, "anyOf");
    if (branches != NULL) {
        schema = choose(branches, value);
        if (schema == NULL) {
            no_branch(faults, place, branches, value);
            return false;
        }
    }
    if (!fits(schema, value)) {
        const json_t *names = json_object_get(schema, "enum");
        const char *name = json_string_value(value);
        fault(faults, place, value,
              names != NULL && name != NULL ? faults_nearest(name, names) : NULL, "", schema);
        return false;
    }
    normalise(schema, value, faults, replacement);
    if (json_is_object(value))
        check_object(schema, branches, value, place, faults);
    else if (json_is_array(value))
        check_array(schema, value, place, faults);
    return true;
}

bool schema_check(const json_t *schema, json_t *value, const struct place *place,
                  struct faults *faults)
{
    json_t *replacement = NULL;
    bool good = check_value(schema, value, place, faults, &replacement);
    json_decref(replacement);
    return good;
}
