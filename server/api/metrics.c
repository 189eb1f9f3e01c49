// SPDX-License-Identifier: Apache-2.0
/* GET /v1/runs/{id}/metrics: series as steps and values, in pages of whole steps. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 20000, NAMES_MAX = 64 };

static bool add_row(void *context, const char *series, uint64_t step, double value)
{
    json_t *all = context, *one = json_object_get(all, series);
    if (one == NULL) {
        one = json_pack("{s:[], s:[]}", "steps", "values");
        json_object_set_new(all, series, one);
    }
    json_array_append_new(json_object_get(one, "steps"), json_integer((json_int_t)step));
    json_array_append_new(json_object_get(one, "values"), api_number(value));
    return true;
}

static bool exists(void *context, const struct store_run *run)
{
    (void)context;
    (void)run;
    return true;
}

/* ?name=a,b&name=c as a list of pointers into *copy; both freed by the caller. */
static const char **read_names(const struct http_request *request, char **copy, size_t *count)
{
    size_t n = 0, length = 1;
    const char *value;
    for (size_t i = 0; (value = http_query_nth(request, "name", i)) != NULL; i++)
        length += strlen(value) + 1;
    const char **names = calloc(NAMES_MAX + 1, sizeof *names);
    *copy = calloc(length, 1);
    if (names == NULL || *copy == NULL) {
        free(names);
        return NULL;
    }
    for (size_t i = 0; (value = http_query_nth(request, "name", i)) != NULL; i++) {
        strcat(*copy, value);
        strcat(*copy, ",");
    }
    char *rest = *copy, *name;
    while ((name = strsep(&rest, ",")) != NULL)
        if (*name != '\0' && n++ < NAMES_MAX)
            names[n - 1] = name;
    *count = n;
    return names;
}

void api_metrics(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    uint64_t after = 0, next = 0;
    bool more = false;
    char *copy = NULL;
    if (!http_query_only(request, reply, (const char *const[]){"after", "name", NULL}) ||
        !http_query_uint(request, reply, "after", 0, INT64_MAX, 0, &after))
        return;
    const int64_t run = http_id(request, 0);
    json_t *series = json_object();
    size_t count = 0;
    const char **names = read_names(request, &copy, &count);
    enum tet_err err =
        names != NULL ? TET_OK : tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    if (count > NAMES_MAX)
        err = tet_error_set(&error, TET_BAD_REQUEST, "name: found %zu series, allowed at most %d",
                            count, NAMES_MAX);
    if (err == TET_OK)
        err = store_run_read(api->store, run, exists, NULL, &error);
    if (err == TET_OK)
        err = store_metrics_read(api->store, run, after, ROWS, names[0] != NULL ? names : NULL,
                                 add_row, series, &next, &more, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        http_reply_json(reply, 200,
                        json_pack("{s:I, s:O, s:I, s:b}", "run", (json_int_t)run, "series", series,
                                  "next", (json_int_t)next, "more", more));
    json_decref(series);
    free(names);
    free(copy);
}
