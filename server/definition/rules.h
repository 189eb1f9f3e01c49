// SPDX-License-Identifier: Apache-2.0
/* The learning rules and their parameters, as the interface describes them.
 * Threads: any; nothing is shared between calls. */
#ifndef SERVER_DEFINITION_RULES_H
#define SERVER_DEFINITION_RULES_H

#include <jansson.h>

/* definition_rules: {"rules": [...]}: of each rule its name, title, equation, source, groups of
 * synapses, which of them are plastic, whether it has a gate, and its parameters, each with its
 * path in a definition, type, what is allowed, default (null where it depends on other fields) and
 * description: schema/openapi.json has the form. New; NULL for lack of memory. */
json_t *definition_rules(void);

#endif
