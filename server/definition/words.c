// SPDX-License-Identifier: Apache-2.0
/* What a schema allows, in words: see schema.h. Any thread. */
#include "definition/schema.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

static void put_plain(const json_t *value, struct text *text)
{
    if (json_is_string(value)) {
        text_puts(text, json_string_value(value));
        return;
    }
    char *canonical = json_canonical(value);
    if (canonical == NULL)
        text->failed = true;
    else
        text_puts(text, canonical);
    free(canonical);
}

static void put_list(const json_t *values, struct text *text)
{
    size_t i;
    json_t *value;
    text_puts(text, "one of ");
    json_array_foreach(values, i, value)
    {
        if (i > 0)
            text_puts(text, ", ");
        put_plain(value, text);
    }
}

/* "from 1 to 5", ">= 0 and < 1", "of 1 to 16 items": lo or hi may be NULL. */
static void put_range(const json_t *schema, struct text *text)
{
    static const struct {
        const char *key, *sign;
    } bounds[] = {
        {"minimum", ">="}, {"exclusiveMinimum", ">"}, {"maximum", "<="}, {"exclusiveMaximum", "<"}};
    const json_t *lo = json_object_get(schema, "minimum"), *hi = json_object_get(schema, "maximum");
    if (lo != NULL && hi != NULL) {
        text_puts(text, " from ");
        put_plain(lo, text);
        text_puts(text, " to ");
        put_plain(hi, text);
        return;
    }
    const char *between = " ";
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const json_t *bound = json_object_get(schema, bounds[i].key);
        if (bound == NULL)
            continue;
        text_printf(text, "%s%s ", between, bounds[i].sign);
        put_plain(bound, text);
        between = " and ";
    }
}

static void put_counts(const json_t *schema, const char *least, const char *most, const char *what,
                       struct text *text)
{
    const json_t *lo = json_object_get(schema, least), *hi = json_object_get(schema, most);
    if (lo != NULL && json_equal(lo, hi))
        text_printf(text, " of %" JSON_INTEGER_FORMAT " %s", json_integer_value(lo), what);
    else if (lo != NULL && hi != NULL)
        text_printf(text, " of %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " %s",
                    json_integer_value(lo), json_integer_value(hi), what);
    else if (lo != NULL)
        text_printf(text, " of at least %" JSON_INTEGER_FORMAT " %s", json_integer_value(lo), what);
    else if (hi != NULL)
        text_printf(text, " of at most %" JSON_INTEGER_FORMAT " %s", json_integer_value(hi), what);
}

static void put_branches(const json_t *branches, struct text *text)
{
    size_t i;
    json_t *branch;
    const char *last = "";
    json_array_foreach(branches, i, branch)
    {
        const char *type = json_string_value(json_object_get(schema_deref(branch), "type"));
        if (type == NULL || strcmp(type, last) == 0)
            continue;
        text_printf(text, "%s%s", last[0] != '\0' ? " or " : "", type);
        last = type;
    }
}

void schema_words(const json_t *schema, struct text *text)
{
    schema = schema_deref(schema);
    const json_t *values = json_object_get(schema, "enum"), *one = json_object_get(schema, "const"),
                 *branches = json_object_get(schema, "anyOf");
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (values != NULL)
        put_list(values, text);
    else if (one != NULL)
        put_plain(one, text);
    else if (branches != NULL)
        put_branches(branches, text);
    else if (type == NULL)
        text_puts(text, "any value");
    else if (strcmp(type, "boolean") == 0)
        text_puts(text, "true or false");
    else
        text_puts(text, type);
    if (values != NULL || one != NULL || type == NULL)
        return;
    put_range(schema, text);
    put_counts(schema, "minLength", "maxLength", "characters", text);
    put_counts(schema, "minItems", "maxItems", "items", text);
    put_counts(schema, "minProperties", "maxProperties", "fields", text);
}
