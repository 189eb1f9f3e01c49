// SPDX-License-Identifier: Apache-2.0
/* Values that say "as without": a resolved definition leaves them out, so that definitions from before
 * there was such a setting keep their hashes. A sweep that compares without and with still has to
 * name them. Threads: any; nothing is shared between calls. */
#ifndef SERVER_DEFINITION_OFF_H
#define SERVER_DEFINITION_OFF_H

#include <jansson.h>
#include <stdbool.h>

struct tet_rule_info;

/* off_value: whether the value at a dotted path is left out because it changes nothing, under a rule
 * that would have a use for another value there. */
bool off_value(const char *path, const json_t *value, const struct tet_rule_info *rule);

#endif
