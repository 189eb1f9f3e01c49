// SPDX-License-Identifier: Apache-2.0
/*
 * GET /v1/runs/{id}/metrics: series in pages of whole steps, or thinned out for drawing; as JSON,
 * CSV or NDJSON. A page has a bounded number of rows, and says where the next begins: JSON in
 * `next`, the others in the header X-Next-After, which is absent where there is no more.
 */
#include "api/results.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "store/points.h"

enum {
    ROWS = 20000,   // of a page in JSON
    LINES = 100000, // of a page in CSV and NDJSON
    NAMES_MAX = 64, // names asked for
    STARS_MAX = 4,  // of a name
    POINTS_MIN = 2, // of a series
    POINTS_MAX = 5000,
    POINTS_ALL = 500000 // of all series together
};

/* What is asked for, and what has been read. */
struct asked {
    int64_t run;
    uint64_t after, points; // points 0: all
    enum api_form form;
    size_t n_patterns;
    const char **patterns; // into copy, NULL-terminated
    char *copy;
    char **all; // the run's series
    size_t n_all;
    const char **names; // the ones that match; NULL-terminated, into all
    size_t n_names;
    json_t *series;   // JSON
    struct text text; // the others
    uint64_t next;
    bool more;
};

/* ---- rows ---- */

static void add_json(json_t *all, const char *series, uint64_t step, double value)
{
    json_t *one = json_object_get(all, series);
    if (one == NULL) {
        one = json_pack("{s:[], s:[]}", "steps", "values");
        json_object_set_new(all, series, one);
    }
    json_array_append_new(json_object_get(one, "steps"), json_integer((json_int_t)step));
    json_array_append_new(json_object_get(one, "values"), json_finite(value));
}

/* As `tetrad run --metrics` writes them; names of series have neither commas nor quotes. */
static void add_line(struct asked *asked, const char *series, uint64_t step, double value)
{
    const long long run = (long long)asked->run;
    const unsigned long long at = (unsigned long long)step;
    if (asked->form == API_CSV && isfinite(value))
        text_printf(&asked->text, "%lld,%llu,%s,%.17g\n", run, at, series, value);
    else if (asked->form == API_CSV)
        text_printf(&asked->text, "%lld,%llu,%s,nan\n", run, at, series);
    else if (isfinite(value))
        text_printf(&asked->text,
                    "{\"run\":%lld,\"step\":%llu,\"series\":\"%s\",\"value\":%.17g}\n", run, at,
                    series, value);
    else
        text_printf(&asked->text, "{\"run\":%lld,\"step\":%llu,\"series\":\"%s\",\"value\":null}\n",
                    run, at, series);
}

static bool add_row(void *context, const char *series, uint64_t step, double value)
{
    struct asked *asked = context;
    if (asked->points > 0 && step > asked->next)
        asked->next = step;
    if (asked->form == API_JSON)
        add_json(asked->series, series, step, value);
    else
        add_line(asked, series, step, value);
    return true;
}

/* ---- names ---- */

/* To match takes time that is exponential in the asterisks. */
static bool is_bounded(const char *pattern)
{
    int stars = 0;
    for (; *pattern != '\0'; pattern++)
        stars += *pattern == '*';
    return stars <= STARS_MAX;
}

/* ?name=a,b&name=c as a list of pointers into copy. */
static enum tet_err read_patterns(const struct http_request *request, struct asked *asked,
                                  struct tet_error *error)
{
    size_t length = 1;
    const char *value;
    for (size_t i = 0; (value = http_query_nth(request, "name", i)) != NULL; i++)
        length += strlen(value) + 1;
    asked->patterns = calloc(NAMES_MAX + 1, sizeof *asked->patterns);
    asked->copy = calloc(length, 1);
    if (asked->patterns == NULL || asked->copy == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    char *end = asked->copy;
    for (size_t i = 0; (value = http_query_nth(request, "name", i)) != NULL; i++) {
        end = stpcpy(end, value);
        end = stpcpy(end, ",");
    }
    char *rest = asked->copy, *name;
    while ((name = strsep(&rest, ",")) != NULL)
        if (*name != '\0' && asked->n_patterns++ < NAMES_MAX)
            asked->patterns[asked->n_patterns - 1] = name;
    for (size_t i = 0; i < asked->n_patterns && i < NAMES_MAX; i++)
        if (!is_bounded(asked->patterns[i]))
            return tet_error_set(error, TET_BAD_REQUEST,
                                 "name: found \"%.80s\", allowed at most %d asterisks in a name",
                                 asked->patterns[i], STARS_MAX);
    return asked->n_patterns <= NAMES_MAX
               ? TET_OK
               : tet_error_set(error, TET_BAD_REQUEST, "name: found %zu series, allowed at most %d",
                               asked->n_patterns, NAMES_MAX);
}

static bool is_asked_for(const struct asked *asked, const char *name)
{
    bool found = asked->n_patterns == 0;
    for (size_t i = 0; i < asked->n_patterns && !found; i++)
        found = fnmatch(asked->patterns[i], name, 0) == 0;
    return found;
}

/* A name that no series of the run has is no error: it may come later. */
static enum tet_err find_names(struct api *api, struct asked *asked, struct tet_error *error)
{
    enum tet_err err = store_names_read(api->store, asked->run, &asked->all, &asked->n_all, error);
    if (err != TET_OK)
        return err;
    asked->names = calloc(asked->n_all + 1, sizeof *asked->names);
    if (asked->names == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < asked->n_all; i++)
        if (is_asked_for(asked, asked->all[i]))
            asked->names[asked->n_names++] = asked->all[i];
    return asked->n_names * asked->points <= POINTS_ALL
               ? TET_OK
               : tet_error_set(
                     error, TET_BAD_REQUEST,
                     "points: found %llu of each of %zu series, allowed at most %d of all "
                     "together; choose some by name",
                     (unsigned long long)asked->points, asked->n_names, POINTS_ALL);
}

/* ---- the handler ---- */

static bool exists(void *context, const struct store_run *run)
{
    (void)context;
    (void)run;
    return true;
}

static enum tet_err read_rows(struct api *api, struct asked *asked, struct tet_error *error)
{
    enum tet_err err = store_run_read(api->store, asked->run, exists, NULL, error);
    if (err == TET_OK)
        err = find_names(api, asked, error);
    if (err != TET_OK)
        return err;
    if (asked->form == API_CSV && asked->after == 0)
        text_puts(&asked->text, "run,step,series,value\n");
    asked->next = asked->after;
    if (asked->points > 0)
        return store_points_read(api->store, asked->run, asked->after, (uint32_t)asked->points,
                                 asked->names, add_row, asked, error);
    return store_metrics_read(api->store, asked->run, asked->after,
                              asked->form == API_JSON ? ROWS : LINES,
                              asked->n_patterns > 0 ? asked->names : NULL, add_row, asked,
                              &asked->next, &asked->more, error);
}

static void reply_rows(struct http_reply *reply, struct asked *asked)
{
    if (asked->form == API_JSON) {
        http_reply_json(reply, 200,
                        json_pack("{s:I, s:O, s:I, s:b}", "run", (json_int_t)asked->run, "series",
                                  asked->series, "next", (json_int_t)asked->next, "more",
                                  asked->more));
        return;
    }
    char next[24];
    snprintf(next, sizeof next, "%llu", (unsigned long long)asked->next);
    if (asked->more)
        http_reply_header(reply, "X-Next-After", next);
    api_reply_text(reply, asked->form, &asked->text);
}

void api_metrics(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct asked asked = {.run = http_id(request, 0)};
    struct tet_error error = {0};
    if (!http_query_only(request, reply,
                         (const char *const[]){"after", "format", "name", "points", NULL}) ||
        !http_query_uint(request, reply, "after", 0, INT64_MAX, 0, &asked.after) ||
        !http_query_uint(request, reply, "points", POINTS_MIN, POINTS_MAX, 0, &asked.points) ||
        !api_form(request, reply, true, &asked.form))
        return;
    asked.series = json_object();
    enum tet_err err = read_patterns(request, &asked, &error);
    if (err == TET_OK)
        err = read_rows(context, &asked, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    else
        reply_rows(reply, &asked);
    json_decref(asked.series);
    text_free(&asked.text);
    store_names_free(asked.all, asked.n_all);
    free(asked.names);
    free(asked.patterns);
    free(asked.copy);
}
