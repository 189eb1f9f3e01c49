// SPDX-License-Identifier: Apache-2.0
/* `tetrad token`: see token.h. What it does is logged as done by "command line". */
#include "commands/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access/token.h"
#include "json.h"
#include "store/store.h"

static const struct identity command_line = {.user = "command line", .role = ROLE_ADMIN};

static void print_json(json_t *value)
{
    char *text = value != NULL ? json_text(value) : NULL;
    puts(text != NULL ? text : "null");
    free(text);
    json_decref(value);
}

/* ---- create ---- */

static enum tet_err read_token(const struct options *o, struct store_token *token,
                               struct tet_error *error)
{
    const char *role = o->value[OPTION_ROLE], *expires = o->value[OPTION_EXPIRES];
    *token = (struct store_token){.user = o->value[OPTION_USER], .note = o->value[OPTION_NOTE]};
    if (token->user == NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "whose token? --user NAME");
    if (role == NULL || !role_parse(role, &token->role))
        return tet_error_set(error, TET_BAD_REQUEST,
                             "--role: found \"%.40s\", allowed viewer, member or admin",
                             role != NULL ? role : "");
    if (expires != NULL && !token_time_parse(expires, &token->expires_ms))
        return tet_error_set(error, TET_BAD_REQUEST,
                             "--expires: found \"%.40s\", allowed a date such as 2026-12-31, or "
                             "2026-12-31T12:00:00Z",
                             expires);
    return TET_OK;
}

static bool keep_token(void *context, const struct store_token *token)
{
    *(json_t **)context = token_json(token);
    return true;
}

static enum tet_err create(struct store *store, const struct options *o, struct tet_error *error)
{
    struct store_token token;
    char text[TOKEN_TEXT];
    int64_t id;
    json_t *value = NULL;
    enum tet_err err = read_token(o, &token, error);
    if (err == TET_OK)
        err = store_token_create(store, &token, &command_line, text, &id, error);
    if (err == TET_OK && options_switch(o, OPTION_JSON))
        err = store_tokens_read(store, id, keep_token, &value, error);
    if (err != TET_OK)
        return err;
    if (options_switch(o, OPTION_JSON)) {
        json_object_set_new(value, "token", json_string(text));
        print_json(value);
        return TET_OK;
    }
    fprintf(stderr, "token %lld of %s, %s; it is shown this once:\n", (long long)id, token.user,
            role_text(token.role));
    puts(text);
    return TET_OK;
}

/* ---- list ---- */

static bool add_token(void *context, const struct store_token *token)
{
    return json_array_append_new(context, token_json(token)) == 0;
}

static const char *day(const json_t *token, const char *key)
{
    const char *text = json_string_value(json_object_get(token, key));
    return text != NULL ? text : "-";
}

static enum tet_err list(struct store *store, const struct options *o, struct tet_error *error)
{
    json_t *tokens = json_array(), *token;
    size_t i;
    const enum tet_err err = store_tokens_read(store, 0, add_token, tokens, error);
    if (err != TET_OK) {
        json_decref(tokens);
        return err;
    }
    if (options_switch(o, OPTION_JSON)) {
        print_json(json_pack("{s:o}", "tokens", tokens));
        return TET_OK;
    }
    printf("%4s  %-20s %-7s %-19s %-19s %-19s %-19s %s\n", "id", "user", "role", "created",
           "expires", "last used", "revoked", "note");
    json_array_foreach(tokens, i, token)
    {
        printf("%4lld  %-20s %-7s %-19.19s %-19.19s %-19.19s %-19.19s %s\n",
               (long long)json_integer_value(json_object_get(token, "id")), day(token, "user"),
               day(token, "role"), day(token, "created_at"), day(token, "expires_at"),
               day(token, "last_used_at"), day(token, "revoked_at"), day(token, "note"));
    }
    json_decref(tokens);
    return TET_OK;
}

/* ---- revoke ---- */

static enum tet_err revoke(struct store *store, const struct options *o, struct tet_error *error)
{
    char *end = NULL;
    const char *text = o->argument[1];
    errno = 0;
    const long long id = text != NULL ? strtoll(text, &end, 10) : 0;
    if (text == NULL || id <= 0 || errno != 0 || *end != '\0')
        return tet_error_set(error, TET_BAD_REQUEST,
                             "tetrad token revoke ID: found \"%.40s\", allowed a number that "
                             "`tetrad token list` shows",
                             text != NULL ? text : "");
    const enum tet_err err = store_token_revoke(store, id, &command_line, error);
    if (err == TET_OK && options_switch(o, OPTION_JSON))
        print_json(json_pack("{s:I, s:b}", "id", (json_int_t)id, "revoked", 1));
    else if (err == TET_OK)
        printf("token %lld is revoked\n", id);
    return err;
}

int token_command(const struct options *o)
{
    static const struct {
        const char *name;
        size_t arguments;
        enum tet_err (*act)(struct store *store, const struct options *o, struct tet_error *error);
    } actions[] = {{"create", 1, create}, {"list", 1, list}, {"revoke", 2, revoke}};
    const char *name = o->argument[0] != NULL ? o->argument[0] : "";
    struct tet_error error = {0};
    struct store *store = NULL;
    size_t i = 0;
    while (i < 3 && strcmp(actions[i].name, name) != 0)
        i++;
    enum tet_err err = TET_OK;
    if (i == 3)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "tetrad token: found \"%.40s\", allowed create, list or revoke", name);
    else if (o->n_arguments > actions[i].arguments)
        err = tet_error_set(&error, TET_BAD_REQUEST, "one argument too many: %.80s",
                            o->argument[actions[i].arguments]);
    if (err == TET_OK)
        err = store_open_beside(&store, o->value[OPTION_DB], &error);
    if (err == TET_OK)
        err = actions[i].act(store, o, &error);
    store_close(store);
    if (err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error.message);
    return err == TET_NOT_FOUND ? STATUS_FAILED : status_of(err);
}
