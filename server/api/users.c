// SPDX-License-Identifier: Apache-2.0
/* Who asks and what they may do; users and their shares; the log. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "access/admission.h"
#include "api/sent.h"
#include "json.h"
#include "store/users.h"

enum { PAGE = 50, PAGE_MAX = 500 };

enum tet_err api_admit(void *context, const struct http_request *request, struct identity *identity,
                       struct tet_error *error)
{
    const struct api *api = context;
    struct http_peer peer;
    http_peer(request, &peer);
    return admission_judge(api->admission, http_header(request, "Authorization"), &peer, identity,
                           error);
}

/* The one place where requests come into the log. */
void api_done(void *context, const struct http_request *request, int status, const char *object)
{
    const struct api *api = context;
    const struct identity *who = http_identity(request);
    const struct http_route *route = http_route(request);
    char action[128], detail[32];
    snprintf(action, sizeof action, "%s %s", route->method, route->path);
    snprintf(detail, sizeof detail, "{\"status\":%d}", status);
    const struct store_audit entry = {.user = who->user,
                                      .token = who->token,
                                      .action = action,
                                      .object = object,
                                      .detail = detail};
    store_audit_write(api->store, &entry);
}

bool api_may_change(const struct http_request *request, struct http_reply *reply, const char *kind,
                    const char *owner)
{
    const struct identity *who = http_identity(request);
    struct tet_error error = {0};
    if (who->role == ROLE_ADMIN || (who->role == ROLE_MEMBER && strcmp(who->user, owner) == 0))
        return true;
    tet_error_set(&error, TET_FORBIDDEN, "this %s is %s's; you are %s", kind, owner, who->user);
    http_reply_error(reply, &error, NULL);
    return false;
}

bool api_owns(struct api *api, const struct http_request *request, struct http_reply *reply,
              int64_t experiment, int64_t run)
{
    struct tet_error error = {0};
    char owner[USER_NAME];
    if (store_owner(api->store, experiment, run, owner, &error) == TET_OK)
        return api_may_change(request, reply, run != 0 ? "run" : "experiment", owner);
    http_reply_error(reply, &error, NULL);
    return false;
}

/* ---- GET /v1/me ---- */

void api_me(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    const struct identity *who = http_identity(request);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    http_reply_json(reply, 200,
                    json_pack("{s:s, s:s, s:o}", "user", who->user, "role", role_text(who->role),
                              "token", who->token != 0 ? json_integer(who->token) : json_null()));
}

/* ---- /v1/users ---- */

static json_t *user_json(const struct store_user *user)
{
    return json_pack("{s:s, s:f, s:o, s:I, s:I, s:f, s:I, s:o, s:o}", "name", user->name, "weight",
                     user->weight, "cap", user->cap > 0 ? json_integer(user->cap) : json_null(),
                     "running", (json_int_t)user->running, "queued", (json_int_t)user->queued,
                     "recent_seconds", user->recent_seconds, "tokens", (json_int_t)user->tokens,
                     "created_at", json_time(user->created_ms), "last_seen_at",
                     json_time(user->used_ms));
}

static bool add_user(void *context, const struct store_user *user)
{
    return json_array_append_new(context, user_json(user)) == 0;
}

void api_users(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *users = json_array();
    if (store_users_read(api->store, NULL, add_user, users, &error) == TET_OK) {
        http_reply_json(reply, 200, json_pack("{s:o}", "users", users));
        return;
    }
    json_decref(users);
    http_reply_error(reply, &error, NULL);
}

static bool keep_user(void *context, const struct store_user *user)
{
    *(json_t **)context = user_json(user);
    return true;
}

/* Both fields are given: a PUT says all. */
void api_put_user(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    const char *name = http_part(request, 0);
    double weight = 0;
    int64_t cap = 0;
    const struct field fields[] = {
        {"weight", FIELD_NUMBER, USER_WEIGHT_MIN, USER_WEIGHT_MAX, .required = true, .to = &weight},
        {"cap", FIELD_INTEGER, 1, USER_CAP_MAX, .required = true, .null = true, .to = &cap}};
    struct sent sent;
    json_t *user = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (!user_name_good(name)) {
        tet_error_set(&error, TET_BAD_REQUEST,
                      "a user's name is 1 to %d letters, digits or . _ - @, not dots alone",
                      USER_NAME - 1);
        http_reply_error(reply, &error, NULL);
        return;
    }
    if (!sent_take(&sent, request, reply, fields, 2, false))
        return;
    sent_free(&sent);
    enum tet_err err = store_user_write(api->store, name, weight, cap, &error);
    pool_wake(api->pool); // they may have more at once now
    if (err == TET_OK)
        err = store_users_read(api->store, name, keep_user, &user, &error);
    if (err == TET_OK)
        http_reply_json(reply, 200, user);
    else
        http_reply_error(reply, &error, NULL);
}

/* ---- GET /v1/audit ---- */

struct audit_page {
    json_t *entries;
    uint64_t limit;
    int64_t last; // the oldest one shown
    bool more;
};

static bool add_entry(void *context, const struct store_audit *entry)
{
    struct audit_page *page = context;
    if (json_array_size(page->entries) == page->limit) {
        page->more = true;
        return false;
    }
    page->last = entry->id;
    return json_array_append_new(
               page->entries,
               json_pack("{s:I, s:o, s:s, s:o, s:s, s:s, s:o}", "id", (json_int_t)entry->id, "at",
                         json_time(entry->at_ms), "user", entry->user, "token",
                         entry->token != 0 ? json_integer(entry->token) : json_null(), "action",
                         entry->action, "object", entry->object, "detail",
                         api_parse(entry->detail))) == 0;
}

void api_audit(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct audit_page page = {0};
    struct tet_error error = {0};
    uint64_t cursor = 0;
    char next[24];
    if (!http_query_only(request, reply, (const char *const[]){"user", "limit", "cursor", NULL}) ||
        !http_query_uint(request, reply, "limit", 1, PAGE_MAX, PAGE, &page.limit) ||
        !http_query_uint(request, reply, "cursor", 1, INT64_MAX, 0, &cursor))
        return;
    page.entries = json_array();
    if (store_audit_read(api->store, http_query(request, "user"), (int64_t)cursor,
                         (uint32_t)page.limit + 1, add_entry, &page, &error) != TET_OK) {
        json_decref(page.entries);
        http_reply_error(reply, &error, NULL);
        return;
    }
    snprintf(next, sizeof next, "%lld", (long long)page.last);
    http_reply_json(reply, 200,
                    json_pack("{s:o, s:o}", "entries", page.entries, "next",
                              page.more ? json_string(next) : json_null()));
}
