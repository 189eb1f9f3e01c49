// SPDX-License-Identifier: Apache-2.0
/* Tokens: listed, made, revoked, by administrators. */
#include "access/token.h"

#include "access/admission.h"
#include "api/api.h"
#include "definition/faults.h"
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

/* The fields of a body as a token; borrows its texts. */
static void read_token(const json_t *body, struct store_token *token, struct faults *faults)
{
    const json_t *user = json_object_get(body, "user"), *role = json_object_get(body, "role"),
                 *note = json_object_get(body, "note"),
                 *expires = json_object_get(body, "expires_at");
    *token = (struct store_token){.user = json_string_value(user), .note = json_string_value(note)};
    if (token->user == NULL || !user_name_good(token->user))
        faults_add(faults, "/user", user, NULL, "1 to %d letters, digits or . _ - @",
                   USER_NAME - 1);
    if (!json_is_string(role) || !role_parse(json_string_value(role), &token->role))
        faults_add(faults, "/role", role, NULL, "viewer, member or admin");
    if (note != NULL && (token->note == NULL || strlen(token->note) > TOKEN_NOTE))
        faults_add(faults, "/note", note, NULL, "a text of at most %d bytes", TOKEN_NOTE);
    if (expires != NULL && !json_is_null(expires) &&
        (!json_is_string(expires) ||
         !token_time_parse(json_string_value(expires), &token->expires_ms)))
        faults_add(faults, "/expires_at", expires, NULL,
                   "a time such as 2026-12-31T12:00:00Z, a date, or null: never");
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
    json_object_set_new(value, "token", json_string(text));
    snprintf(location, sizeof location, "/v1/tokens/%lld", (long long)id);
    http_reply_header(reply, "Location", location);
    http_reply_unchanged(reply); // the store has logged it, in the same transaction
    http_reply_json(reply, 201, value);
    return TET_OK;
}

void api_create_token(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct store_token token;
    struct tet_error error = {0};
    struct faults faults;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *body = api_body(
        request, reply, (const char *const[]){"user", "role", "note", "expires_at", NULL}, &faults);
    if (body == NULL)
        return;
    if (json_is_object(body))
        read_token(body, &token, &faults);
    if (!api_faulty(reply, &faults, "token") &&
        create(api, request, reply, &token, &error) != TET_OK)
        http_reply_error(reply, &error, NULL);
    json_decref(body);
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
    if (err == TET_OK)
        err = store_tokens_read(api->store, id, keep_token, &value, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    http_reply_unchanged(reply); // the store has logged it, in the same transaction
    http_reply_json(reply, 200, value);
}
