// SPDX-License-Identifier: Apache-2.0
/* Tokens as the interface and the command line take and show them. No state: any thread. */
#ifndef SERVER_ACCESS_TOKEN_H
#define SERVER_ACCESS_TOKEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/users.h"

/* token_time_parse: "2026-12-31" (to the end of that day) or "2026-12-31T12:00:00Z", UTC, to ms since
 * 1970; false: it is neither. */
bool token_time_parse(const char *text, int64_t *ms);

/* token_json: a token as the interface and the command line show it; without its hash. */
json_t *token_json(const struct store_token *token);

#endif
