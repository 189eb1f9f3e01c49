// SPDX-License-Identifier: Apache-2.0
/* `tetrad submit FILE.json`: sends an experiment to a server, and may watch it to its end. */
#ifndef SERVER_SUBMIT_H
#define SERVER_SUBMIT_H

#include "options.h"

int submit_command(const struct options *options); // returns the exit status

#endif
