// SPDX-License-Identifier: Apache-2.0
/* Who watches the server: each answered request and each change of a run is counted and logged. */
#ifndef SERVER_MONITOR_WATCH_H
#define SERVER_MONITOR_WATCH_H

#include "http/http.h"
#include "store/changes.h"

http_watch_fn watch_request;     // context: struct api
store_observer_fn watch_changes; // context: struct api; passes them on to its events

#endif
