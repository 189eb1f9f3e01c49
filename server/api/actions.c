// SPDX-License-Identifier: Apache-2.0
/* What users do to runs that are there: cancel, pause, resume, priority, delete; one by one, or all
 * that a selection finds. Each may change their own; administrators everything. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/sent.h"
#include "store/queue.h"
#include "store/retention.h"

enum {
    BULK_EXPERIMENTS = 256, // of one transaction of a bulk action
    BULK_RUNS = 2000,       // likewise, but for an experiment that has more
    BULK_MAX = 100000,      // experiments that one selection may find, and name
    TEXT_MAX = 1000         // bytes of a tag, an owner or a part of a name to look for
};

static const char *const names[] = {
    [STORE_CANCEL] = "cancel",     [STORE_PAUSE] = "pause",   [STORE_RESUME] = "resume",
    [STORE_PRIORITY] = "priority", [STORE_DELETE] = "delete", NULL};

/* The pool learns of what the store has done. */
static void tell_pool(struct api *api, const struct store_order *order,
                      const struct store_acted *acted)
{
    if (order->action == STORE_CANCEL || order->action == STORE_PAUSE)
        pool_halt(api->pool, acted->ids, acted->running, order->action == STORE_PAUSE);
    pool_wake(api->pool);
}

/* ---- one experiment or run ---- */

static void act(struct api *api, struct http_reply *reply, bool one, int64_t id,
                enum store_action action, int32_t priority)
{
    const struct store_order order = {.action = action,
                                      .priority = priority,
                                      .run = one ? id : 0,
                                      .experiments = &id,
                                      .n = one ? 0 : 1};
    struct store_acted acted;
    struct tet_error error = {0};
    if (store_act(api->store, &order, &acted, &error) != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    tell_pool(api, &order, &acted);
    free(acted.ids);
    const char *kind = one ? "run" : "experiment";
    json_t *value =
        action == STORE_DELETE
            ? json_pack("{s:I, s:I, s:I}", kind, (json_int_t)id, "runs", (json_int_t)acted.queued,
                        "freed_bytes", (json_int_t)acted.bytes)
            : json_pack("{s:I, s:I, s:I, s:I}", kind, (json_int_t)id, "queued",
                        (json_int_t)acted.queued, "running", (json_int_t)acted.running, "finished",
                        (json_int_t)acted.finished);
    http_reply_json(reply, 200, value);
}

static void act_plainly(void *context, const struct http_request *request, struct http_reply *reply,
                        bool one, enum store_action action)
{
    const int64_t id = http_id(request, 0);
    if (http_query_only(request, reply, (const char *const[]){NULL}) &&
        api_owns(context, request, reply, one ? 0 : id, one ? id : 0))
        act(context, reply, one, id, action, 0);
}

#define HANDLER(name, one, action)                                                                 \
    void name(void *context, const struct http_request *request, struct http_reply *reply)         \
    {                                                                                              \
        act_plainly(context, request, reply, one, action);                                         \
    }
HANDLER(api_cancel_experiment, false, STORE_CANCEL)
HANDLER(api_pause_experiment, false, STORE_PAUSE)
HANDLER(api_resume_experiment, false, STORE_RESUME)
HANDLER(api_delete_experiment, false, STORE_DELETE)
HANDLER(api_cancel_run, true, STORE_CANCEL)
HANDLER(api_pause_run, true, STORE_PAUSE)
HANDLER(api_resume_run, true, STORE_RESUME)

/* ---- priority ---- */

static void set_priority(void *context, const struct http_request *request,
                         struct http_reply *reply, bool one)
{
    const int64_t id = http_id(request, 0);
    int64_t priority = 0;
    const struct field fields[] = {{"priority", FIELD_INTEGER, -STORE_PRIORITY_MAX,
                                    STORE_PRIORITY_MAX, .required = true, .to = &priority}};
    struct sent sent;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !api_owns(context, request, reply, one ? 0 : id, one ? id : 0) ||
        !sent_take(&sent, request, reply, fields, 1, false))
        return;
    sent_free(&sent);
    act(context, reply, one, id, STORE_PRIORITY, (int32_t)priority);
}

void api_priority_experiment(void *context, const struct http_request *request,
                             struct http_reply *reply)
{
    set_priority(context, request, reply, false);
}

void api_priority_run(void *context, const struct http_request *request, struct http_reply *reply)
{
    set_priority(context, request, reply, true);
}

/* ---- POST /v1/actions ---- */

struct bulk {
    struct api *api;
    struct tet_error *error; // of what is read while the selection is gone through
    struct sent sent;        // what follows points into it
    int action;              // enum store_action
    int64_t priority;
    bool dry_run;
    struct store_filter filter;
    const json_t *wanted; // ids; NULL: all
    const struct identity *who;
    int64_t *ids;   // (n) that may be acted on, newest first
    uint64_t *runs; // (n) of each
    size_t n, room;
    uint64_t affected, refused;
    bool too_many, no_memory;
};

static enum tet_err read_bulk(struct bulk *b, const struct http_request *request, json_t **details,
                              struct tet_error *error)
{
    const char *states[RUN_STATES_COUNT + 1] = {NULL};
    int state = -1;
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        states[s] = run_state_text((enum run_state)s);
    const struct field id = {"id", FIELD_INTEGER, 1, FIELD_NO_BOUND, .to = NULL};
    const struct field select[] = {
        {"ids", FIELD_ARRAY, 0, BULK_MAX, .fields = &id, .to = &b->wanted},
        {"tag", FIELD_TEXT, 1, TEXT_MAX, .to = &b->filter.tag},
        {"owner", FIELD_TEXT, 1, TEXT_MAX, .to = &b->filter.owner},
        {"state", FIELD_CHOICE, .words = states, .to = &state},
        {"q", FIELD_TEXT, 1, TEXT_MAX, .to = &b->filter.text}};
    const struct field fields[] = {
        {"action", FIELD_CHOICE, .required = true, .words = names, .to = &b->action},
        {"priority", FIELD_INTEGER, -STORE_PRIORITY_MAX, STORE_PRIORITY_MAX, .to = &b->priority},
        {"select", FIELD_OBJECT, 1, .required = true, .fields = select, .n = 5},
        {"dry_run", FIELD_BOOLEAN, .to = &b->dry_run}};
    enum tet_err err = sent_read(&b->sent, request, fields, 4, false, error);
    if (err != TET_OK)
        return err;
    const bool given = sent_has(&b->sent, "priority");
    if (b->sent.faults.n == 0 && b->action == STORE_PRIORITY && !given)
        sent_missing(&b->sent, &fields[1]);
    if (b->sent.faults.n == 0 && b->action != STORE_PRIORITY && given)
        faults_add(&b->sent.faults, "/priority", json_object_get(b->sent.json, "priority"), NULL,
                   "only with the action priority");
    b->filter.by_state = state >= 0;
    b->filter.state = state >= 0 ? (enum run_state)state : RUN_QUEUED;
    return sent_judge(&b->sent, details, error);
}

/* Whether an experiment has nothing that keeps it from being deleted. */
static bool may_go(struct bulk *b, const struct store_experiment *e)
{
    uint64_t pinned = 0;
    if (e->runs[RUN_QUEUED] + e->runs[RUN_RUNNING] > 0)
        return false;
    if (b->error->err == TET_OK)
        (void)!store_pinned(b->api->store, e->id, &pinned, b->error);
    return pinned == 0;
}

/* How many runs of an experiment the action would change. */
static uint64_t runs_of(struct bulk *b, const struct store_experiment *e)
{
    const uint64_t open = e->runs[RUN_QUEUED] + e->runs[RUN_PAUSED] + e->runs[RUN_RUNNING];
    uint64_t all = 0;
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        all += e->runs[s];
    switch (b->action) {
    case STORE_DELETE:
        return may_go(b, e) ? all : 0;
    case STORE_RESUME:
        return e->runs[RUN_PAUSED];
    case STORE_PAUSE:
        return open - e->runs[RUN_PAUSED];
    default:
        return open;
    }
}

static bool is_wanted(const struct bulk *b, int64_t id)
{
    size_t i;
    json_t *one;
    if (b->wanted == NULL)
        return true;
    json_array_foreach(b->wanted, i, one)
    {
        if (json_integer_value(one) == id)
            return true;
    }
    return false;
}

static bool collect(void *context, const struct store_experiment *e)
{
    struct bulk *b = context;
    if (!is_wanted(b, e->id))
        return true;
    if (b->who->role != ROLE_ADMIN && strcmp(b->who->user, e->owner) != 0) {
        b->refused++;
        return true;
    }
    const uint64_t runs = runs_of(b, e);
    if (b->error->err != TET_OK)
        return false;
    if (runs == 0) { // nothing to do there
        b->refused += b->action == STORE_DELETE;
        return true;
    }
    b->too_many = b->n == BULK_MAX;
    if (b->n == b->room && !b->too_many) {
        const size_t room = b->room * 2 + 64;
        int64_t *ids = realloc(b->ids, room * sizeof *ids);
        b->ids = ids != NULL ? ids : b->ids;
        uint64_t *more = realloc(b->runs, room * sizeof *more);
        b->runs = more != NULL ? more : b->runs;
        b->no_memory = ids == NULL || more == NULL;
        b->room = room;
    }
    if (b->too_many || b->no_memory)
        return false;
    b->runs[b->n] = runs;
    b->ids[b->n++] = e->id;
    b->affected += runs;
    return true;
}

static enum tet_err find(struct api *api, struct bulk *b, struct tet_error *error)
{
    b->filter.limit = UINT32_MAX;
    enum tet_err err = store_experiments_read(api->store, &b->filter, collect, b, error);
    if (err == TET_OK)
        err = error->err; // of a visit
    if (err == TET_OK && b->no_memory)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK && b->too_many)
        return tet_error_set(error, TET_TOO_LARGE,
                             "the selection finds more than %d experiments: narrow it", BULK_MAX);
    return err;
}

/* Transactions of a bounded size, so that others' writes come in between. */
static enum tet_err carry_out(struct api *api, struct bulk *b, struct tet_error *error)
{
    uint64_t experiments = 0, runs = 0;
    enum tet_err err = TET_OK;
    for (size_t from = 0, n = 0; from < b->n && err == TET_OK; from += n) {
        uint64_t some = 0;
        for (n = 0; from + n < b->n && n < BULK_EXPERIMENTS && (n == 0 || some < BULK_RUNS); n++)
            some += b->runs[from + n];
        const struct store_order order = {.action = (enum store_action)b->action,
                                          .priority = (int32_t)b->priority,
                                          .experiments = b->ids + from,
                                          .n = n};
        struct store_acted acted;
        err = store_act(api->store, &order, &acted, error);
        if (err == TET_NOT_FOUND || err == TET_CONFLICT) { // the only one, and it changed meanwhile
            b->refused += err == TET_CONFLICT;
            err = TET_OK;
            *error = (struct tet_error){0};
            continue;
        }
        if (err == TET_OK)
            tell_pool(api, &order, &acted);
        free(acted.ids);
        experiments += acted.experiments;
        runs += acted.queued + acted.running;
        b->refused += acted.skipped;
    }
    b->n = (size_t)experiments;
    b->affected = runs;
    return err;
}

void api_actions(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    struct bulk b = {.api = api, .error = &error, .who = http_identity(request)};
    json_t *details = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    enum tet_err err = read_bulk(&b, request, &details, &error);
    if (err == TET_OK)
        err = find(api, &b, &error);
    if (err == TET_OK && !b.dry_run)
        err = carry_out(api, &b, &error);
    if (b.dry_run || b.n == 0)
        http_reply_unchanged(reply);
    if (err != TET_OK)
        http_reply_error(reply, &error, details);
    else
        http_reply_json(reply, 200,
                        json_pack("{s:s, s:I, s:I, s:I, s:b}", "action", names[b.action],
                                  "experiments", (json_int_t)b.n, "runs", (json_int_t)b.affected,
                                  "refused", (json_int_t)b.refused, "dry_run", b.dry_run));
    free(b.ids);
    free(b.runs);
    sent_free(&b.sent);
}
