// SPDX-License-Identifier: Apache-2.0
/* What the tables of commands and options say, for a manual and for shells: `tetrad completion
 * man|bash|zsh|fish`. */
#ifndef SERVER_COMMANDS_HELP_H
#define SERVER_COMMANDS_HELP_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"

struct help_command {
    const char *name, *usage, *help;
    enum command command;
};

/* help_print: writes that form to standard output; false: there is no such form. */
bool help_print(const char *form, const struct help_command *commands, size_t n);

#endif
