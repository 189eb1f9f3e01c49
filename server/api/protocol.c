// SPDX-License-Identifier: Apache-2.0
/* GET /v1/runs/{id}/protocol: what a protocol run ended with, as JSON or CSV by Accept. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "results/protocol.h"

json_t *api_protocol_json(struct api *api, int64_t run)
{
    char *text = NULL;
    if (store_protocol_read(api->store, run, &text, NULL) != TET_OK)
        return json_null();
    json_t *value = json_pack("{s:o}", "rows", api_parse(text));
    free(text);
    return value;
}

static bool wants_csv(const struct http_request *request)
{
    const char *accept = http_header(request, "Accept");
    return accept != NULL && strcasestr(accept, "text/csv") != NULL;
}

static bool keep_digest(void *context, const struct store_run *run)
{
    snprintf(context, STORE_HASH, "%s", run->digest != NULL ? run->digest : "");
    return true;
}

static void reply_rows(const struct http_request *request, struct http_reply *reply, json_t *rows)
{
    if (!wants_csv(request)) {
        http_reply_json(reply, 200, json_pack("{s:o}", "rows", rows));
        return;
    }
    char *csv = protocol_csv(rows);
    json_decref(rows);
    if (csv == NULL)
        http_reply_json(reply, 200, NULL); // out of memory
    else
        http_reply_bytes(reply, 200, "text/csv; charset=utf-8", csv, strlen(csv));
}

void api_protocol(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    char digest[STORE_HASH], tag[STORE_HASH + 8], *text = NULL;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    const int64_t run = http_id(request, 0);
    enum tet_err err = store_run_read(api->store, run, keep_digest, digest, &error);
    if (err == TET_OK)
        err = store_protocol_read(api->store, run, &text, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    http_reply_header(reply, "Vary", "Accept");
    snprintf(tag, sizeof tag, "%s-%s", digest, wants_csv(request) ? "csv" : "json");
    if (!http_reply_etag(request, reply, tag))
        reply_rows(request, reply, api_parse(text));
    free(text);
}
