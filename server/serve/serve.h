// SPDX-License-Identifier: Apache-2.0
/* `tetrad serve`: the lab's server. */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include "options.h"

int serve_command(const struct options *options); // returns the exit status

#endif
