// SPDX-License-Identifier: Apache-2.0
/* What the server is and how it is: rules, schema, contract, health. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/rules.h"
#include "embed.h"
#include "json.h"

/* The ETag of a text that is the same as long as the program is: its FNV-1a hash. */
static bool unchanged(const struct http_request *request, struct http_reply *reply,
                      const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    char tag[24];
    snprintf(tag, sizeof tag, "%016llx", (unsigned long long)hash);
    return http_reply_etag(request, reply, tag);
}

void api_rules(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *rules = definition_rules();
    char *text = rules != NULL ? json_text(rules) : NULL;
    if (text == NULL || !unchanged(request, reply, text))
        http_reply_json(reply, 200, text != NULL ? json_incref(rules) : NULL);
    free(text);
    json_decref(rules);
}

void api_series(void *context, const struct http_request *request, struct http_reply *reply)
{
    static const char *const kinds[] = {
        [TET_OF_RUN] = "run", [TET_OF_LAYER] = "layer", [TET_OF_SYNAPSE] = "synapse"};
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *all = json_array();
    for (int i = 0; i < TET_SERIES_COUNT; i++) {
        const enum tet_series series = (enum tet_series)i;
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", tet_series_name(series),
                                             "of", kinds[tet_series_kind(series)], "definition",
                                             tet_series_definition(series)));
    }
    http_reply_json(reply, 200, json_pack("{s:o}", "series", all));
}

void api_schema(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        unchanged(request, reply, embed_experiment_schema))
        return;
    http_reply_static(reply, 200, "application/schema+json; charset=utf-8", embed_experiment_schema,
                      strlen(embed_experiment_schema));
}

void api_examples(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        unchanged(request, reply, embed_examples))
        return;
    http_reply_static(reply, 200, "application/json; charset=utf-8", embed_examples,
                      strlen(embed_examples));
}

void api_openapi(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        unchanged(request, reply, embed_openapi))
        return;
    http_reply_static(reply, 200, "application/json; charset=utf-8", embed_openapi,
                      strlen(embed_openapi));
}

void api_health(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct storage_view view;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    storage_look(api->storage, &view);
    http_reply_json(
        reply, 200,
        json_pack("{s:s, s:s, s:o}", "status", "ok", "storage", storage_state_text(view.error.err),
                  "message",
                  view.error.err == TET_OK ? json_null() : json_string(view.error.message)));
}

void api_ready(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    struct storage_view view;
    enum tet_err err = store_health(api->store, &error);
    storage_look(api->storage, &view);
    if (err == TET_OK && view.of_database)
        err = tet_error_set(&error, view.error.err, "%s", view.error.message);
    if (err == TET_OK && api->stopping)
        err = tet_error_set(&error, TET_BUSY, "the server is stopping");
    const bool ready = err == TET_OK;
    http_reply_json(reply, ready ? 200 : 503,
                    json_pack("{s:s, s:o, s:I, s:s}", "status", ready ? "ready" : "not ready",
                              "reason", ready ? json_null() : json_string(error.message), "workers",
                              (json_int_t)pool_workers(api->pool), "kernels", tet_isa_name()));
}

void api_index(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *links = json_array();
    for (const struct http_route *route = api_routes; route->method != NULL; route++) {
        json_t *link = json_pack("{s:s, s:s}", "method", route->method, "path", route->path);
        json_array_append_new(links, link);
    }
    http_reply_json(reply, 200,
                    json_pack("{s:s, s:s, s:s, s:o}", "name", "tetrad", "version", TETRAD_VERSION,
                              "contract", "/openapi.json", "routes", links));
}
