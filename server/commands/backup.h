// SPDX-License-Identifier: Apache-2.0
/* `tetrad backup FILE` and `tetrad restore FILE`: copies of a database, made while it is in use, and
 * put back. */
#ifndef SERVER_COMMANDS_BACKUP_H
#define SERVER_COMMANDS_BACKUP_H

#include "options.h"

int backup_command(const struct options *options);
int restore_command(const struct options *options);

#endif
