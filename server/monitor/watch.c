// SPDX-License-Identifier: Apache-2.0
/* Counts and logs: see watch.h. */
#include "monitor/watch.h"

#include <string.h>

#include "api/api.h"
#include "events/events.h"
#include "monitor/log.h"
#include "monitor/meters.h"

/* Failures of the server itself are what somebody should look at; health checks are what nobody should have to. */
static enum log_level level_of(const struct http_seen *seen)
{
    const bool health = seen->route != NULL && (strcmp(seen->route->path, "/healthz") == 0 ||
                                                strcmp(seen->route->path, "/readyz") == 0);
    return seen->status >= 500 && seen->status != 503 ? LOG_AT_ERROR
           : health                                   ? LOG_AT_DEBUG
                                                      : LOG_AT_INFO;
}

void watch_request(void *context, const struct http_seen *seen)
{
    (void)context;
    const enum log_level level = level_of(seen);
    const size_t route =
        seen->route != NULL ? (size_t)(seen->route - api_routes) : METER_ROUTES - 1;
    meters_http(route, seen->status, seen->seconds);
    if (!log_takes(level))
        return;
    const struct log_field fields[] = {LOG_FIELD_TEXT("method", seen->method),
                                       LOG_FIELD_TEXT("path", seen->path),
                                       LOG_FIELD_INTEGER("status", seen->status),
                                       LOG_FIELD_REAL("ms", 1e3 * seen->seconds),
                                       LOG_FIELD_INTEGER("bytes", (int64_t)seen->bytes),
                                       LOG_FIELD_TEXT("user", seen->user),
                                       LOG_FIELD_TEXT("request_id", seen->id)};
    log_line(level, "request", fields, sizeof fields / sizeof *fields);
}

static void see_run(const struct store_change *c)
{
    meters_run(c->state, c->reason);
    if (!log_takes(LOG_AT_INFO))
        return;
    const struct log_field fields[] = {
        LOG_FIELD_INTEGER("run", c->run), LOG_FIELD_INTEGER("experiment", c->experiment),
        LOG_FIELD_TEXT("state", run_state_text(c->state)),
        LOG_FIELD_INTEGER("step", (int64_t)c->step), LOG_FIELD_TEXT("reason", c->reason)};
    log_line(LOG_AT_INFO, "run", fields, sizeof fields / sizeof *fields);
}

static void watch_changes(void *context, const struct store_changes *changes)
{
    struct api *api = context;
    for (size_t i = 0; i < changes->n; i++)
        see_run(&changes->runs[i]);
    if (changes->n_experiments > 0 && log_takes(LOG_AT_INFO)) {
        const struct log_field fields[] = {
            LOG_FIELD_INTEGER("experiments", (int64_t)changes->n_experiments),
            LOG_FIELD_INTEGER("first", changes->experiments[0])};
        log_line(LOG_AT_INFO, "runs", fields, sizeof fields / sizeof *fields);
    }
    events_changed(api->events, changes);
}

static struct event_progress *look(void *context)
{
    struct pool *pool = atomic_load(&((struct api *)context)->look_at);
    return pool != NULL ? pool_progress(pool) : NULL;
}

enum tet_err watch_start(struct api *api, uint32_t heartbeat_ms, struct tet_error *error)
{
    const struct events_options options = {
        .look = look, .context = api, .heartbeat_ms = heartbeat_ms};
    const enum tet_err err = events_start(&api->events, &options, error);
    if (err == TET_OK)
        store_observe(api->store, watch_changes, api);
    return err;
}
