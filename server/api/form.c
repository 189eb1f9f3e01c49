// SPDX-License-Identifier: Apache-2.0
/* Forms of results: JSON, CSV, NDJSON; and checkpoints by their steps. */
#include "api/results.h"

#include <stdlib.h>
#include <string.h>

static const char *const types[] = {"application/json", "text/csv", "application/x-ndjson", NULL};

json_t *api_query_fault(const char *parameter, const char *found, const char *allowed)
{
    return json_pack("[{s:s, s:s, s:s}]", "parameter", parameter, "found", found, "allowed",
                     allowed);
}

static bool refuse(struct http_reply *reply, enum tet_err err, const char *what, const char *found,
                   bool lines)
{
    struct tet_error error = {0};
    const char *allowed = err == TET_BAD_REQUEST
                              ? (lines ? "json, csv or ndjson" : "json or csv")
                              : (lines ? "application/json, text/csv or application/x-ndjson"
                                       : "application/json or text/csv");
    tet_error_set(&error, err, "%s: found \"%.80s\", allowed %s", what, found, allowed);
    http_reply_error(reply, &error,
                     err == TET_BAD_REQUEST ? api_query_fault(what, found, allowed) : NULL);
    return false;
}

bool api_form(const struct http_request *request, struct http_reply *reply, bool lines,
              enum api_form *form)
{
    static const char *const names[] = {"json", "csv", "ndjson"};
    const char *const offered[] = {types[0], types[1], lines ? types[2] : NULL, NULL};
    const char *format = http_query(request, "format"), *type;
    const int n = lines ? 3 : 2;
    http_reply_header(reply, "Vary", "Accept");
    for (int i = 0; format != NULL && i < n; i++)
        if (strcmp(format, names[i]) == 0) {
            *form = (enum api_form)i;
            return true;
        }
    if (format != NULL)
        return refuse(reply, TET_BAD_REQUEST, "format", format, lines);
    type = http_accepts(request, offered);
    for (int i = 0; type != NULL && i < n; i++)
        if (strcmp(type, types[i]) == 0)
            *form = (enum api_form)i;
    return type != NULL ||
           refuse(reply, TET_NOT_ACCEPTABLE, "Accept", http_header(request, "Accept"), lines);
}

void api_reply_text(struct http_reply *reply, enum api_form form, struct text *text)
{
    const size_t size = text->size;
    const bool failed = text->failed;
    char *bytes = text_take(text);
    if (bytes == NULL && !failed)
        http_reply_static(reply, 200, types[form], "", 0);
    else if (bytes == NULL)
        http_reply_json(reply, 200, NULL); // out of memory
    else
        http_reply_bytes(reply, 200, types[form], bytes, size);
}

void api_csv_field(struct text *text, const char *field)
{
    if (strpbrk(field, ",\"\r\n") == NULL) {
        text_puts(text, field);
        return;
    }
    text_puts(text, "\"");
    for (; *field != '\0'; field++)
        text_printf(text, *field == '"' ? "\"%c" : "%c", *field);
    text_puts(text, "\"");
}

enum tet_err api_checkpoint_read(struct api *api, int64_t run, uint64_t step,
                                 struct store_checkpoint *checkpoint, struct tet_error *error)
{
    uint64_t steps[API_CHECKPOINTS];
    size_t n = 0;
    struct tet_error why = {0};
    enum tet_err err = store_checkpoint_read(api->store, run, step, checkpoint, &why);
    if (err == TET_OK)
        return TET_OK;
    if (err != TET_NOT_FOUND)
        return tet_error_set(error, err, "%s", why.message);
    err = store_checkpoint_steps(api->store, run, steps, API_CHECKPOINTS, &n, error);
    if (err != TET_OK)
        return err;
    struct text kept = {0};
    for (size_t i = 0; i < n && i < API_CHECKPOINTS; i++)
        text_printf(&kept, "%s%llu", i > 0 ? ", " : "", (unsigned long long)steps[i]);
    if (n == 0)
        tet_error_set(error, TET_NOT_FOUND, "run %lld has no checkpoint", (long long)run);
    else
        tet_error_set(error, TET_NOT_FOUND, "run %lld has no checkpoint at step %llu; kept are %s",
                      (long long)run, (unsigned long long)step, text_get(&kept));
    text_free(&kept);
    return TET_NOT_FOUND;
}
