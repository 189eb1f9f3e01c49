// SPDX-License-Identifier: Apache-2.0
/*
 * The part of JSON Schema 2020-12 that schema/experiment.schema.json uses: type (one), properties,
 * required, additionalProperties, minProperties, maxProperties, items, minItems, maxItems,
 * uniqueItems, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength,
 * maxLength, default, $ref to "#/$defs/NAME", and anyOf, whose branches differ in their type or in
 * a property with a const.
 *
 * A value is filled first (schema_fill), then checked (schema_check).
 *
 * Threads: any; the schema does not change.
 */
#ifndef SERVER_DEFINITION_SCHEMA_H
#define SERVER_DEFINITION_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "definition/faults.h"
#include "text.h"

/* Where one is: a chain up to the definition's root, turned into a pointer when there is a fault.
 */
struct place {
    const struct place *parent; // NULL: the root itself
    const char *key;            // NULL: an array's element `index`
    size_t index;
};
void place_pointer(const struct place *place, struct text *text); // place NULL: the root

/* schema_fill: writes out the defaults of what is missing, all the way down. Unions (anyOf) that
 * `skip` says yes to stay as they are; skip may be NULL. False for lack of memory. */
typedef bool schema_skip_fn(const struct place *place, const void *context);
bool schema_fill(const json_t *schema, json_t *value, const struct place *place,
                 schema_skip_fn *skip, const void *context);

/* schema_check: adds a fault for all that the schema does not allow and takes it out of the value:
 * a member is removed, an element becomes null. So what is left is of the right type and in range.
 * Integers in place of numbers become reals, and reals like 3.0 in place of integers integers.
 * False: the value itself is not allowed. */
bool schema_check(const json_t *schema, json_t *value, const struct place *place,
                  struct faults *faults);

/* schema_deref: the schema itself, or what its $ref names. */
const json_t *schema_deref(const json_t *schema);

/* schema_words: what is allowed, in words: "number > 0". */
void schema_words(const json_t *schema, struct text *text);

#endif
