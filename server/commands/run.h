// SPDX-License-Identifier: Apache-2.0
/* `tetrad run FILE.json`: an experiment without a server. */
#ifndef SERVER_COMMANDS_RUN_H
#define SERVER_COMMANDS_RUN_H

#include "options.h"

int run_command(const struct options *options); // returns the exit status

#endif
