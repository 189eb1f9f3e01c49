// SPDX-License-Identifier: Apache-2.0
/* Who watches the server: each answered request and each change of a run is counted and logged. Threads:
 * watch_request from any; watch_start from the one that starts the server. */
#ifndef SERVER_MONITOR_WATCH_H
#define SERVER_MONITOR_WATCH_H

#include "http/http.h"

struct api;

http_watch_fn watch_request; // context: struct api

/* watch_start: starts the events, and from now on counts, logs and tells them each change in the
 * store. Needs api's store; sets its events. Errors as events_start's. */
TET_MUST_CHECK enum tet_err watch_start(struct api *api, uint32_t heartbeat_ms,
                                        struct tet_error *error);

#endif
