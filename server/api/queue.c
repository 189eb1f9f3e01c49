// SPDX-License-Identifier: Apache-2.0
/* The queue: what runs, what comes next and about when, who has which share. */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "store/queue.h"

enum { PAGE = 50, PAGE_MAX = 500 };

static enum tet_err take_plan(struct api *api, struct store_plan **plan, struct tet_error *error)
{
    struct pool_view *views = pool_look(api->pool);
    const uint32_t workers = pool_workers(api->pool);
    struct store_progress *progress = calloc((size_t)workers + 1, sizeof *progress);
    size_t n = 0;
    for (; views != NULL && progress != NULL && n < workers && views[n].run != 0; n++)
        progress[n] = (struct store_progress){views[n].run, views[n].step};
    const enum tet_err err = store_plan_take(api->store, workers, progress, n, plan, error);
    free(progress);
    free(views);
    return err;
}

json_t *api_queue_position(struct api *api, const struct store_run *run)
{
    struct store_plan *plan = NULL;
    size_t place = 0;
    if (run->state == RUN_QUEUED && take_plan(api, &plan, NULL) == TET_OK)
        place = store_plan_place(plan, run->id);
    store_plan_give(api->store, plan);
    return place > 0 ? json_integer((json_int_t)place) : json_null();
}

static json_t *at(const struct store_plan *plan, double seconds)
{
    return isfinite(seconds) && seconds < 1e9
               ? json_time(plan->shown_ms + (int64_t)(seconds * 1000.0))
               : json_null();
}

static json_t *running_json(const struct store_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < plan->n_going; i++) {
        const struct store_going *g = &plan->going[i];
        json_array_append_new(list,
                              json_pack("{s:I, s:I, s:s, s:I, s:o, s:o}", "run", (json_int_t)g->run,
                                        "experiment", (json_int_t)g->experiment, "owner", g->owner,
                                        "worker", (json_int_t)g->worker, "started_at",
                                        json_time(g->began_ms), "eta_s", json_finite(g->left_s)));
    }
    return list;
}

static json_t *queued_json(const struct store_plan *plan, size_t from, size_t to)
{
    json_t *list = json_array();
    for (size_t i = from; i < to; i++) {
        const struct store_ahead *a = &plan->ahead[i];
        json_array_append_new(
            list, json_pack("{s:I, s:I, s:I, s:s, s:i, s:o, s:o}", "position", (json_int_t)i + 1,
                            "run", (json_int_t)a->run, "experiment", (json_int_t)a->experiment,
                            "owner", a->owner, "priority", (int)a->priority, "estimated_start_at",
                            at(plan, a->start_s), "estimated_end_at", at(plan, a->end_s)));
    }
    return list;
}

static json_t *shares_json(const struct store_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < plan->n_shares; i++) {
        const struct store_share *s = &plan->shares[i];
        json_array_append_new(
            list, json_pack("{s:s, s:f, s:o, s:I, s:I, s:f, s:f}", "user", s->user, "weight",
                            s->weight, "cap", s->cap > 0 ? json_integer(s->cap) : json_null(),
                            "running", (json_int_t)s->running, "queued", (json_int_t)s->queued,
                            "recent_seconds", s->recent_seconds, "share", s->share));
    }
    return list;
}

void api_queue(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct store_plan *plan = NULL;
    struct tet_error error = {0};
    uint64_t limit = 0, cursor = 0;
    if (!http_query_only(request, reply, (const char *const[]){"limit", "cursor", NULL}) ||
        !http_query_uint(request, reply, "limit", 1, PAGE_MAX, PAGE, &limit) ||
        !http_query_uint(request, reply, "cursor", 1, INT64_MAX, 0, &cursor))
        return;
    if (take_plan(api, &plan, &error) != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    const size_t from = cursor < plan->n_ahead ? (size_t)cursor : plan->n_ahead;
    const size_t to = limit < plan->n_ahead - from ? from + (size_t)limit : plan->n_ahead;
    char next[24];
    snprintf(next, sizeof next, "%zu", to);
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:I, s:o, s:o, s:o, s:f, s:o}", "length",
                              (json_int_t)plan->length, "workers",
                              (json_int_t)pool_workers(api->pool), "running", running_json(plan),
                              "queued", queued_json(plan, from, to), "next",
                              to < plan->n_ahead ? json_string(next) : json_null(), "half_life_s",
                              plan->half_life_s, "shares", shares_json(plan)));
    store_plan_give(api->store, plan);
}
