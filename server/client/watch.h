// SPDX-License-Identifier: Apache-2.0
/* Watching what a server trains, to its end. */
#ifndef SERVER_CLIENT_WATCH_H
#define SERVER_CLIENT_WATCH_H

#include "client/client.h"
#include "text.h"

/* watch: shows progress until all runs have ended, then the results; returns the exit status. SIGINT
 * ends it and leaves the runs to the server. */
int watch(struct client *client, struct client_id id);

/* results_show: the table of runs (an array as an experiment has it) that have ended. */
int results_show(struct client *client, const json_t *runs);

/* ---- server-sent events ---- */

/* A parser of the stream, fed piece by piece. Starts as zeros but for `take` and `context`. */
struct events {
    void (*take)(void *context, const char *event, const char *data);
    void *context;
    struct text line, event, data;
};
enum { EVENTS_MAX = 1 << 20 }; // bytes of one line, and of one event's data; more is an error
/* events_feed: false where the stream breaks the bounds, or memory fails. */
bool events_feed(struct events *events, const char *bytes, size_t n);
void events_free(struct events *events);

#endif
