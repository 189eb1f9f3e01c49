// SPDX-License-Identifier: Apache-2.0
/* Tokens: listed, made, revoked, by administrators. */
#include "access/token.h"

#include "access/admission.h"
#include "api/api.h"
#include "api/sent.h"
#include "store/users.h"

#include <stdio.h>
#include <string.h>

static bool add_token(void *context, const struct store_token *token)
{
    return json_array_append_new(context, token_json(token)) == 0;
}

void api_tokens(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *tokens = json_array();
    if (store_tokens_read(api->store, 0, add_token, tokens, &error) == TET_OK) {
        http_reply_json(reply, 200, json_pack("{s:o}", "tokens", tokens));
        return;
    }
    json_decref(tokens);
    http_reply_error(reply, &error, NULL);
}

static bool keep_token(void *context, const struct store_token *token)
{
    *(json_t **)context = token_json(token);
    return true;
}

static enum tet_err create(struct api *api, const struct http_request *request,
                           struct http_reply *reply, const struct store_token *token,
                           struct tet_error *error)
{
    char text[TOKEN_TEXT], location[48];
    int64_t id;
    json_t *value = NULL;
    enum tet_err err =
        store_token_create(api->store, token, http_identity(request), text, &id, error);
    if (err == TET_OK)
        err = admission_refresh(api->admission, error);
    if (err == TET_OK)
        err = store_tokens_read(api->store, id, keep_token, &value, error);
    if (err != TET_OK)
        return err;
    api_review(api); // with the first token, those without one have to go
    json_object_set_new(value, "token", json_string(text));
    snprintf(location, sizeof location, "/v1/tokens/%lld", (long long)id);
    http_reply_header(reply, "Location", location);
    http_reply_unchanged(reply); // the store has logged it, in the same transaction
    http_reply_json(reply, 201, value);
    return TET_OK;
}

void api_create_token(void *context, const struct http_request *request, struct http_reply *reply)
{
    static const char *const roles[] = {"viewer", "member", "admin", NULL}; // from ROLE_VIEWER on
    struct store_token token = {0};
    const char *expires = NULL;
    int role = 0;
    const struct field fields[] = {
        {"user", FIELD_TEXT, 1, USER_NAME - 1, .required = true, .to = &token.user},
        {"role", FIELD_CHOICE, .required = true, .words = roles, .to = &role},
        {"note", FIELD_TEXT, 0, TOKEN_NOTE, .to = &token.note},
        {"expires_at", FIELD_TEXT, 1, 40, .null = true, .to = &expires}};
    struct sent sent;
    struct tet_error error = {0};
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (sent_read(&sent, request, fields, sizeof fields / sizeof *fields, false, &error) ==
        TET_OK) {
        if (token.user != NULL && !user_name_good(token.user))
            faults_add(&sent.faults, "/user", json_object_get(sent.json, "user"), NULL,
                       "1 to %d letters, digits or . _ - @, not dots alone", USER_NAME - 1);
        if (expires != NULL && !token_time_parse(expires, &token.expires_ms))
            faults_add(&sent.faults, "/expires_at", json_object_get(sent.json, "expires_at"), NULL,
                       "a time such as 2026-12-31T12:00:00Z, a date, or null: never");
    }
    token.role = (enum role)(ROLE_VIEWER + role);
    if (sent_good(&sent, reply, &error) &&
        create(context, request, reply, &token, &error) != TET_OK)
        http_reply_error(reply, &error, NULL);
    sent_free(&sent);
}

static bool is_good(void *context, const struct identity *identity)
{
    const struct api *api = context;
    return admission_good(api->admission, identity);
}

void api_review(void *context)
{
    struct api *api = context;
    struct http_server *http = atomic_load(&api->http);
    if (http != NULL)
        http_streams_review(http, is_good, api);
}

void api_revoke_token(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    json_t *value = NULL;
    const int64_t id = http_id(request, 0);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    enum tet_err err = store_token_revoke(api->store, id, http_identity(request), &error);
    if (err == TET_OK)
        err = admission_refresh(api->admission, &error);
    if (err == TET_OK) {
        api_review(api);
        err = store_tokens_read(api->store, id, keep_token, &value, &error);
    }
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    http_reply_unchanged(reply); // the store has logged it, in the same transaction
    http_reply_json(reply, 200, value);
}
