// SPDX-License-Identifier: Apache-2.0
/* Server-sent events: who listens to what, and from where on. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "api/results.h"
#include "events/events.h"

static const struct {
    const char *name;
    unsigned type;
} types[] = {{"state", EVENT_STATE}, {"progress", EVENT_PROGRESS}, {"metrics", EVENT_METRICS}};

static void refuse(struct http_reply *reply, const char *what, const char *parameter,
                   const char *found, const char *allowed)
{
    struct tet_error error = {0};
    (void)tet_error_set(&error, TET_BAD_REQUEST, "%s; allowed: %s", what, allowed);
    http_reply_error(reply, &error, api_query_fault(parameter, found, allowed));
}

/* "state,metrics" */
static bool read_types(const struct http_request *request, struct http_reply *reply,
                       unsigned *wanted)
{
    const char *text = http_query(request, "types");
    if (text == NULL)
        return true;
    *wanted = 0;
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, ",");
        unsigned found = 0;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if (strlen(types[i].name) == n && strncmp(types[i].name, at, n) == 0)
                found = types[i].type;
        if (found == 0) {
            refuse(reply, "the query parameter 'types' is bad", "types", text,
                   "state, progress and metrics, with commas between them");
            return false;
        }
        *wanted |= found;
        at += n;
        if (*at == '\0')
            return true;
    }
}

/* The id of the last event that the client saw: of the header, which a browser that reconnects by itself sends, or
 * else of the query. */
static bool read_last(const struct http_request *request, struct http_reply *reply,
                      struct event_filter *filter)
{
    const char *text = http_header(request, "Last-Event-ID");
    const char *where = text != NULL ? "Last-Event-ID" : "last_event_id";
    if (text == NULL)
        text = http_query(request, "last_event_id");
    if (text == NULL)
        return true;
    const size_t digits = strspn(text, "0123456789");
    filter->resume = true;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(filter->last, 10u, &filter->last) ||
            __builtin_add_overflow(filter->last, (uint64_t)(*c - '0'), &filter->last))
            filter->last = UINT64_MAX; // of the future, in any case
    if (digits > 0 && digits <= 20 && text[digits] == '\0')
        return true;
    refuse(reply, "the last event's id is bad", where, text,
           "the decimal number of an event's `id:` line");
    return false;
}

static bool keep_experiment(void *context, const struct store_run *run)
{
    *(int64_t *)context = run->experiment;
    return true;
}

static bool keep_nothing(void *context, const struct store_experiment *experiment)
{
    (void)context, (void)experiment;
    return false;
}

/* Whether run and experiment are there; a run brings its experiment. */
static bool look_up(struct api *api, struct http_reply *reply, struct event_filter *filter)
{
    struct tet_error error = {0};
    int64_t experiment = 0;
    enum tet_err err = TET_OK;
    if (filter->run != 0)
        err = store_run_read(api->store, filter->run, keep_experiment, &experiment, &error);
    if (err == TET_OK && filter->run != 0 && filter->experiment != 0 &&
        filter->experiment != experiment)
        err = tet_error_set(&error, TET_NOT_FOUND, "the run is of another experiment");
    if (err == TET_OK && filter->run != 0)
        filter->experiment = experiment;
    else if (err == TET_OK && filter->experiment != 0)
        err = store_experiment_read(api->store, filter->experiment, keep_nothing, NULL, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    return err == TET_OK;
}

static void listen_to(struct api *api, const struct http_request *request, struct http_reply *reply,
                      struct event_filter *filter)
{
    struct tet_error error = {0};
    if (!read_last(request, reply, filter) || !look_up(api, reply, filter))
        return;
    struct http_stream *stream = http_reply_stream(request, reply, "text/event-stream");
    if (stream == NULL || events_listen(api->events, stream, filter, &error) == TET_OK)
        return;
    http_reply_error(reply, &error, NULL);
    http_stream_release(stream);
}

void api_events(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct event_filter filter = {.types = EVENT_STATE | EVENT_PROGRESS};
    uint64_t run, experiment;
    if (!http_query_only(
            request, reply,
            (const char *const[]){"types", "experiment", "run", "last_event_id", NULL}) ||
        !read_types(request, reply, &filter.types) ||
        !http_query_uint(request, reply, "run", 1, INT64_MAX, 0, &run) ||
        !http_query_uint(request, reply, "experiment", 1, INT64_MAX, 0, &experiment))
        return;
    filter.run = (int64_t)run;
    filter.experiment = (int64_t)experiment;
    listen_to(context, request, reply, &filter);
}

void api_run_events(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct event_filter filter = {.types = EVENT_STATE | EVENT_PROGRESS | EVENT_METRICS,
                                  .run = http_id(request, 0)};
    if (http_query_only(request, reply, (const char *const[]){"last_event_id", NULL}))
        listen_to(context, request, reply, &filter);
}
