// SPDX-License-Identifier: Apache-2.0
/* `tetrad token create|list|revoke`: on the database file itself, also while a server holds it. */
#ifndef SERVER_COMMANDS_TOKEN_H
#define SERVER_COMMANDS_TOKEN_H

#include "options.h"

int token_command(const struct options *options); // returns the exit status

#endif
