// SPDX-License-Identifier: Apache-2.0
/* Runs: show; and the pieces of JSON that several handlers share. */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "results/protocol.h"
#include "store/retention.h"

json_t *api_parse(const char *text)
{
    json_t *value = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    return value != NULL ? value : json_null();
}

/* A run of which a part could not be read is not shown without it. */
static void spoil(enum tet_err err)
{
    if (err != TET_OK && err != TET_NOT_FOUND) // deleted meanwhile
        json_spoil();
}

static json_t *optional(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

/* Where a run stands: live from its worker while it is trained, else from the store. */
static json_t *progress_json(const struct pool_view *views, const struct store_run *run,
                             const json_t *definition)
{
    const json_t *training = json_object_get(definition, "training");
    const uint32_t patterns = protocol_patterns(definition);
    json_int_t epochs = json_integer_value(json_object_get(training, "epochs")),
               batch = json_integer_value(json_object_get(training, "batch"));
    if (patterns > 0) { // a protocol: pairings and conditions
        epochs = (json_int_t)json_array_size(
            json_object_get(json_object_get(definition, "protocol"), "afferents"));
        batch = patterns;
    }
    while (views != NULL && views->run != 0 && views->run != run->id)
        views++;
    const bool live = run->state == RUN_RUNNING && views != NULL && views->run != 0;
    struct pool_view view = live ? *views : (struct pool_view){0};
    if (!live || view.step < run->step)
        view.step = run->step;
    const double epoch_steps = epochs > 0 ? ceil((double)run->steps / (double)epochs) : 0.0;
    if (!live)
        view.epoch = epoch_steps > 0 ? (uint32_t)((double)view.step / epoch_steps) : 0;
    const double left = (double)(run->steps - view.step) * (double)batch;
    const bool timed = live && view.samples_per_second > 0;
    double speed = timed ? view.samples_per_second : NAN;
    if (!live && run->train_seconds > 0)
        speed = (double)view.step * (double)batch / run->train_seconds;
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "step", (json_int_t)view.step, "steps",
                     (json_int_t)run->steps, "epoch", (json_int_t)view.epoch, "epochs", epochs,
                     "samples_per_s", json_finite(speed), "eta_s",
                     run_state_final(run->state) ? json_real(0.0)
                     : timed                     ? json_real(left / view.samples_per_second)
                                                 : json_null(),
                     "loss", live ? json_finite(view.loss) : json_null());
}

static bool add_value(void *context, const char *series, uint64_t step, double value)
{
    (void)step;
    json_object_set_new(context, series, json_finite(value));
    return true;
}

/* What the arrays and losses were like before. */
struct before {
    json_t *norms, *losses;
};

static bool add_finite(void *context, const char *series, uint64_t step, double value)
{
    struct before *before = context;
    const char *slash = strrchr(series, '/');
    (void)step;
    if (strncmp(series, "norm/", strlen("norm/")) == 0)
        json_object_set_new(before->norms, series, json_finite(value));
    else if (slash != NULL && strcmp(slash, "/loss") == 0)
        json_object_set_new(before->losses, series, json_finite(value));
    return true;
}

/* What was stored when the run diverged, and the last finite records of it. */
static json_t *divergence_json(struct api *api, const struct store_run *run)
{
    json_t *value = api_parse(run->divergence);
    struct before before = {json_object(), json_object()};
    if (!json_is_object(value)) {
        json_decref(before.norms);
        json_decref(before.losses);
        return value;
    }
    spoil(store_last_finite_read(api->store, run->id, add_finite, &before, NULL));
    json_object_set_new(value, "norms", before.norms);
    json_object_set_new(value, "losses", before.losses);
    return value;
}

static void add_event(json_t *list, int64_t at_ms, uint64_t step, const char *event, json_t *detail)
{
    json_array_append_new(list, json_pack("{s:o, s:I, s:s, s:o}", "at", json_time(at_ms), "step",
                                          (json_int_t)step, "event", event, "detail", detail));
}

static bool take_event(void *context, const struct store_event *event)
{
    json_t *detail = event->detail != NULL   ? api_parse(event->detail)
                     : event->reason != NULL ? json_pack("{s:s}", "reason", event->reason)
                                             : json_object();
    add_event(context, event->at_ms, event->step, event->event, detail);
    return true;
}

/* The steps that a fork can begin at, ascending. */
static json_t *checkpoints_json(struct api *api, const struct store_run *run)
{
    uint64_t steps[API_CHECKPOINTS];
    size_t n = 0;
    json_t *list = json_array();
    spoil(store_checkpoint_steps(api->store, run->id, steps, API_CHECKPOINTS, &n, NULL));
    for (size_t i = 0; i < n && i < API_CHECKPOINTS; i++)
        json_array_append_new(list, json_integer((json_int_t)steps[i]));
    return list;
}

/* "pinned", the run itself, and "pinned_checkpoints", their steps. */
static void put_pins(struct api *api, int64_t run, json_t *value)
{
    struct store_pins pins;
    json_t *steps = json_array();
    spoil(store_pins_read(api->store, run, &pins, NULL));
    for (size_t i = 0; i < pins.n; i++)
        json_array_append_new(steps, json_integer((json_int_t)pins.steps[i]));
    json_object_set_new(value, "pinned", json_boolean(pins.run));
    json_object_set_new(value, "pinned_checkpoints", steps);
}

/* The submission, and what the store has. */
static json_t *timeline_json(struct api *api, const struct store_run *run, const json_t *definition)
{
    json_t *list = json_array();
    const json_t *fork = json_object_get(definition, "fork");
    add_event(list, run->created_ms, (uint64_t)json_integer_value(json_object_get(fork, "step")),
              "queued", json_object());
    spoil(store_timeline_read(api->store, run->id, take_event, list, NULL));
    return list;
}

json_t *api_run_json(struct api *api, const struct pool_view *views, const struct store_run *run,
                     bool brief)
{
    json_t *definition = api_parse(run->definition);
    json_t *final = json_object();
    spoil(store_final_read(api->store, run->id, add_value, final, NULL));
    json_t *value = json_pack(
        "{s:I, s:s, s:i, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)run->id, "owner",
        run->owner, "priority", (int)run->priority, "queue_position", api_queue_position(api, run),
        "state", run_state_text(run->state), "reason", optional(run->reason), "parameters",
        api_parse(run->parameters), "progress", progress_json(views, run, definition), "final",
        final, "digest", optional(run->digest));
    if (!brief) {
        json_object_set_new(value, "experiment", json_integer(run->experiment));
        json_object_set_new(value, "hash", json_string(run->hash));
        json_object_set(value, "definition", definition);
        json_object_set_new(value, "divergence", divergence_json(api, run));
        json_object_set_new(value, "worker",
                            run->worker > 0 ? json_integer(run->worker) : json_null());
        json_object_set_new(value, "attempts", json_integer(run->attempts));
        json_object_set_new(value, "memory_bytes", json_integer((json_int_t)run->memory_bytes));
        json_object_set_new(value, "train_seconds", json_real(run->train_seconds));
        json_object_set_new(value, "created_at", json_time(run->created_ms));
        json_object_set_new(value, "started_at", json_time(run->started_ms));
        json_object_set_new(value, "ended_at", json_time(run->ended_ms));
        if (protocol_patterns(definition) > 0)
            json_object_set_new(value, "protocol", api_protocol_json(api, run->id));
        json_object_set_new(value, "timeline", timeline_json(api, run, definition));
        json_object_set_new(value, "checkpoints", checkpoints_json(api, run));
        put_pins(api, run->id, value);
        json_object_set_new(value, "rerun", api_rerun_json(api, run));
    }
    json_decref(definition);
    return value;
}

/* ---- GET /v1/runs/{id} ---- */

static const char type_json[] = "application/json; charset=utf-8";

struct view {
    struct api *api;
    const struct http_request *request;
    struct http_reply *reply;
    struct pool_view *live;
    uint64_t version;
};

/* Takes over text. tag "": it has none. */
static void reply_text(const struct http_request *request, struct http_reply *reply, char *text,
                       size_t size, const char *tag)
{
    if (*tag != '\0' && http_reply_etag(request, reply, tag))
        free(text);
    else
        http_reply_bytes(reply, 200, type_json, text, size);
}

static bool reply_run(void *context, const struct store_run *run)
{
    struct view *view = context;
    char tag[RECENT_TAG] = "";
    json_t *value = api_run_json(view->api, view->live, run, false);
    char *text = value != NULL ? json_text(value) : NULL;
    json_decref(value);
    if (text == NULL) {
        http_reply_json(view->reply, 200, NULL);
        return true;
    }
    size_t size = strlen(text);
    text[size++] = '\n'; // in the place of its NUL
    if (run_state_final(run->state) || run->state == RUN_RUNNING)
        recent_put(&view->api->recent, run->id, view->version, run->state == RUN_RUNNING, text,
                   size, tag);
    reply_text(view->request, view->reply, text, size, tag);
    return true;
}

void api_run(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct view view = {.api = context, .request = request, .reply = reply};
    struct tet_error error = {0};
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    view.version = store_version(view.api->store, http_id(request, 0));
    view.live = pool_look(view.api->pool);
    if (store_run_read(view.api->store, http_id(request, 0), reply_run, &view, &error) != TET_OK)
        http_reply_error(reply, &error, NULL);
    free(view.live);
}

bool api_quick(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    char tag[RECENT_TAG];
    size_t size;
    if (http_handler(request) != api_run)
        return false;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return true; // with an error
    const int64_t run = http_id(request, 0);
    char *text = recent_get(&api->recent, run, store_version(api->store, run), &size, tag);
    if (text == NULL)
        return false;
    reply_text(request, reply, text, size, tag);
    return true;
}
