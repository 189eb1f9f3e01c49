// SPDX-License-Identifier: Apache-2.0
/* Following an experiment to its end. */
#ifndef SERVER_CLIENT_WATCH_H
#define SERVER_CLIENT_WATCH_H

#include "client/client.h"

/* watch_experiment: shows progress until all runs have ended, then the results; with --json a line for
 * each event instead. Follows the server's events; asks now and then where there are none, and
 * outlives restarts of the server. Ctrl-C leaves the experiment to the server. Returns the exit
 * status: STATUS_DIVERGED or STATUS_FAILED where a run did not succeed. */
int watch_experiment(struct client *client, json_int_t id);

#endif
