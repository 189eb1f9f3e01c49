// SPDX-License-Identifier: Apache-2.0
/* `tetrad rules [NAME]`: the learning rules, or one of them with its parameters. */
#ifndef SERVER_COMMANDS_RULES_H
#define SERVER_COMMANDS_RULES_H

#include "options.h"

int rules_command(const struct options *options); // returns the exit status

#endif
