// SPDX-License-Identifier: Apache-2.0
/* What users do to runs that are there: cancel, pause, resume, priority, delete; one by one, or all
 * that a selection finds. Each may change their own; administrators everything. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/faults.h"
#include "json.h"
#include "store/queue.h"
#include "store/retention.h"

enum {
    BULK_EXPERIMENTS = 256, // of one transaction of a bulk action
    BULK_RUNS = 2000,       // likewise, but for an experiment that has more
    BULK_MAX = 100000       // experiments that one selection may find
};

static const char *const names[] = {[STORE_CANCEL] = "cancel",
                                    [STORE_PAUSE] = "pause",
                                    [STORE_RESUME] = "resume",
                                    [STORE_PRIORITY] = "priority",
                                    [STORE_DELETE] = "delete"};
enum { ACTIONS = sizeof names / sizeof *names };

/* The pool learns of what the store has done. */
static void tell_pool(struct api *api, const struct store_order *order,
                      const struct store_acted *acted)
{
    if (order->action == STORE_CANCEL || order->action == STORE_PAUSE)
        pool_halt(api->pool, acted->ids, acted->running, order->action == STORE_PAUSE);
    pool_wake(api->pool);
}

static void refuse(struct http_reply *reply, struct faults *faults, struct tet_error *error)
{
    json_t *details = NULL;
    if (error->err == TET_OK && faults->no_memory)
        tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (error->err == TET_OK) {
        details = json_incref(faults->list);
        tet_error_set(error, TET_BAD_DEFINITION, "the action has %zu fault%s", faults->n,
                      faults->n == 1 ? "" : "s");
    }
    http_reply_error(reply, error, details);
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

static int32_t read_priority(const json_t *body, bool needed, struct faults *faults)
{
    const json_t *value = json_object_get(body, "priority");
    const json_int_t n = json_integer_value(value);
    const bool good = json_is_integer(value) && n >= -STORE_PRIORITY_MAX && n <= STORE_PRIORITY_MAX;
    if (needed ? !good : value != NULL)
        faults_add(faults, "/priority", value, NULL,
                   needed ? "integer, -%d to %d" : "only with the action priority",
                   STORE_PRIORITY_MAX, STORE_PRIORITY_MAX);
    return good ? (int32_t)n : 0;
}

/* Fields that are not known. at: "" or the object's place. */
static void check_fields(const json_t *object, const char *at, const char *const *known,
                         const char *allowed, struct faults *faults)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        faults_add(faults, at, object, NULL, "object");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; known[i] != NULL; i++)
            found = found || strcmp(known[i], key) == 0;
        char pointer[200];
        snprintf(pointer, sizeof pointer, "%s/%.150s", at, key);
        if (!found)
            faults_add(faults, pointer, value, NULL, "%s", allowed);
    }
}

static enum tet_err read_body(const struct http_request *request, json_t **body,
                              struct tet_error *error)
{
    size_t size = 0;
    const char *text = http_body(request, &size);
    return json_read(body, text != NULL ? text : "", size, error);
}

static void set_priority(void *context, const struct http_request *request,
                         struct http_reply *reply, bool one)
{
    const int64_t id = http_id(request, 0);
    struct tet_error error = {0};
    struct faults faults;
    json_t *body = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !api_owns(context, request, reply, one ? 0 : id, one ? id : 0))
        return;
    int32_t priority = 0;
    if (!faults_init(&faults))
        tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    else if (read_body(request, &body, &error) == TET_OK) {
        check_fields(body, "", (const char *const[]){"priority", NULL}, "priority", &faults);
        if (faults.n == 0)
            priority = read_priority(body, true, &faults);
    }
    if (error.err != TET_OK || faults.n > 0)
        refuse(reply, &faults, &error);
    else
        act(context, reply, one, id, STORE_PRIORITY, priority);
    faults_free(&faults);
    json_decref(body);
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
    enum store_action action;
    int32_t priority;
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

static const char *read_text(const json_t *object, const char *key, struct faults *faults)
{
    const json_t *value = json_object_get(object, key);
    char pointer[40];
    snprintf(pointer, sizeof pointer, "/select/%s", key);
    if (value != NULL && (!json_is_string(value) || json_string_length(value) == 0))
        faults_add(faults, pointer, value, NULL, "string, not empty");
    return json_string_value(value);
}

static void read_ids(const json_t *ids, struct faults *faults)
{
    size_t i;
    json_t *id;
    if (ids != NULL && !json_is_array(ids))
        faults_add(faults, "/select/ids", ids, NULL, "array of experiments' ids");
    json_array_foreach(ids, i, id)
    {
        char pointer[40];
        snprintf(pointer, sizeof pointer, "/select/ids/%zu", i);
        if (!json_is_integer(id) || json_integer_value(id) < 1)
            faults_add(faults, pointer, id, NULL, "integer >= 1: an experiment's id");
    }
}

static void read_state(const json_t *select, struct store_filter *filter, struct faults *faults)
{
    const json_t *value = json_object_get(select, "state");
    const char *text = json_string_value(value);
    for (int s = 0; text != NULL && s < RUN_STATES_COUNT; s++)
        if (strcmp(text, run_state_text((enum run_state)s)) == 0) {
            filter->by_state = true;
            filter->state = (enum run_state)s;
        }
    if (value != NULL && !filter->by_state)
        faults_add(faults, "/select/state", value, NULL,
                   "queued, running, paused, succeeded, diverged, failed, cancelled");
}

static void read_select(struct bulk *b, const json_t *body, struct faults *faults)
{
    const json_t *select = json_object_get(body, "select");
    if (select == NULL || (json_is_object(select) && json_object_size(select) == 0)) {
        faults_add(faults, "/select", select, NULL,
                   "object with at least one of ids, tag, owner, state, q");
        return;
    }
    check_fields(select, "/select",
                 (const char *const[]){"ids", "tag", "owner", "state", "q", NULL},
                 "ids, tag, owner, state, q", faults);
    b->wanted = json_object_get(select, "ids");
    read_ids(b->wanted, faults);
    b->filter.tag = read_text(select, "tag", faults);
    b->filter.owner = read_text(select, "owner", faults);
    b->filter.text = read_text(select, "q", faults);
    read_state(select, &b->filter, faults);
}

static void read_bulk(struct bulk *b, const json_t *body, struct faults *faults)
{
    check_fields(body, "", (const char *const[]){"action", "priority", "select", "dry_run", NULL},
                 "action, priority, select, dry_run", faults);
    if (faults->n > 0)
        return;
    const json_t *action = json_object_get(body, "action"), *dry = json_object_get(body, "dry_run");
    int k = 0;
    while (k < ACTIONS &&
           (!json_is_string(action) || strcmp(json_string_value(action), names[k]) != 0))
        k++;
    if (k == ACTIONS) {
        faults_add(faults, "/action", action, NULL, "cancel, pause, resume, priority, delete");
        return;
    }
    b->action = (enum store_action)k;
    b->priority = read_priority(body, b->action == STORE_PRIORITY, faults);
    if (dry != NULL && !json_is_boolean(dry))
        faults_add(faults, "/dry_run", dry, NULL, "boolean");
    b->dry_run = json_is_true(dry);
    read_select(b, body, faults);
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
        const struct store_order order = {
            .action = b->action, .priority = b->priority, .experiments = b->ids + from, .n = n};
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
    struct faults faults;
    struct bulk b = {.api = api, .error = &error, .who = http_identity(request)};
    json_t *body = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (!faults_init(&faults))
        tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    else if (read_body(request, &body, &error) == TET_OK)
        read_bulk(&b, body, &faults);
    enum tet_err err = error.err;
    if (err == TET_OK && faults.n == 0)
        err = find(api, &b, &error);
    if (err == TET_OK && faults.n == 0 && !b.dry_run)
        err = carry_out(api, &b, &error);
    if (b.dry_run || b.n == 0)
        http_reply_unchanged(reply);
    if (err != TET_OK || faults.n > 0)
        refuse(reply, &faults, &error);
    else
        http_reply_json(reply, 200,
                        json_pack("{s:s, s:I, s:I, s:I, s:b}", "action", names[b.action],
                                  "experiments", (json_int_t)b.n, "runs", (json_int_t)b.affected,
                                  "refused", (json_int_t)b.refused, "dry_run", b.dry_run));
    free(b.ids);
    free(b.runs);
    faults_free(&faults);
    json_decref(body);
}
