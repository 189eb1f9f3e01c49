// SPDX-License-Identifier: Apache-2.0
/* GET /v1/experiments/{id}/summary: a metric over the seeds of each point, and its differences from
 * a baseline. */
#include "api/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "summary.h"

/* What is asked for. */
struct question {
    struct store_question store;
    bool steps;
    json_t *baseline; // NULL: the default
    json_t *details;  // of what is wrong with the query; NULL: nothing
};

/* Says what a parameter may be, in the message and in the details. */
static enum tet_err refuse(struct question *q, const char *parameter, const char *found,
                           const char *allowed, struct tet_error *error)
{
    char start[81];
    snprintf(start, sizeof start, "%s", found);
    if (q->details == NULL)
        q->details = api_query_fault(parameter, found, allowed);
    return tet_error_set(error, TET_BAD_REQUEST, "%s: found \"%s\", allowed %s", parameter, start,
                         allowed);
}

static const char note[] =
    "Only runs that succeeded and have the metric count. Intervals are of 95 %, by Student's t, "
    "each for itself alone. Differences are of pairs with one seed; wilcoxon.p is two-sided, of "
    "the signed ranks, p_min the least that so many pairs can give, and p_holm is p adjusted for "
    "all comparisons of this summary.";
static const char no_values[] =
    "No run that succeeded has this metric there. A protocol run has none at all: what it ended "
    "with is at /v1/runs/{id}/protocol.";

static bool is_series(const char *name)
{
    char text[TET_SERIES_NAME];
    for (int s = 0; s < TET_SERIES_COUNT; s++)
        for (uint32_t layer = 0; layer <= TET_MAX_HIDDEN + 1; layer++) {
            tet_series_text((enum tet_series)s, layer, text);
            if (strcmp(text, name) == 0)
                return true;
        }
    return false;
}

static bool read_number(const char *text, const char *prefix, uint64_t *number)
{
    const size_t n = strlen(prefix);
    if (strncmp(text, prefix, n) != 0)
        return false;
    text += n;
    const size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 18 || text[digits] != '\0')
        return false;
    *number = strtoull(text, NULL, 10);
    return *number > 0;
}

/* The epoch that the validation part says is the best: by its loss for losses, else by accuracy. */
static void read_best(struct store_question *q, const char *metric)
{
    const bool loss = strlen(metric) > 5 && strcmp(metric + strlen(metric) - 5, "/loss") == 0;
    q->at = loss ? STORE_AT_LOWEST : STORE_AT_HIGHEST;
    q->watched = loss ? "validation/loss" : "validation/accuracy";
}

static enum tet_err read_at(struct question *question, const char *at, const char *metric,
                            struct tet_error *error)
{
    struct store_question *q = &question->store;
    if (strcmp(at, "final") == 0)
        q->at = STORE_AT_FINAL;
    else if (strcmp(at, "best") == 0)
        read_best(q, metric);
    else if (read_number(at, "step:", &q->number))
        q->at = STORE_AT_STEP;
    else if (read_number(at, "epoch:", &q->number))
        q->at = STORE_AT_EPOCH;
    else
        return refuse(question, "at", at, "final, best, step:N or epoch:N, N from 1", error);
    return TET_OK;
}

/* A value, JSON or a word, and how long it is: JSON may have commas inside. NULL where it is neither. */
static json_t *read_value(const char *text, size_t *n)
{
    json_error_t read;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &read);
    *n = value != NULL ? (size_t)read.position : 0;
    if (value != NULL && (text[*n] == ',' || text[*n] == '\0'))
        return value;
    json_decref(value);
    *n = strcspn(text, ",");
    return *n > 0 ? json_stringn(text, *n) : NULL;
}

/* "rule.name:bp,optimizer.lr:0.1" as {path: value}. */
static enum tet_err read_baseline(struct question *q, const char *text, struct tet_error *error)
{
    const char *const whole = text;
    json_t **baseline = &q->baseline;
    enum tet_err err = TET_OK;
    *baseline = json_object();
    for (bool more = true; more && err == TET_OK;) {
        const size_t path = strcspn(text, ":,");
        size_t n = 0;
        json_t *value = path > 0 && text[path] == ':' ? read_value(text + path + 1, &n) : NULL;
        char *name = strndup(text, path);
        if (name == NULL || *baseline == NULL)
            err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
        else if (value == NULL)
            err = refuse(q, "baseline", text,
                         "path:value, several with commas: rule.name:bp,optimizer.lr:0.1", error);
        else if (json_object_get(*baseline, name) != NULL)
            err = refuse(q, "baseline", whole, "one value for a path", error);
        else if (json_object_set(*baseline, name, value) != 0)
            err = tet_error_set(error, TET_BAD_REQUEST, "baseline: it is not valid UTF-8");
        json_decref(value);
        free(name);
        text += path + (text[path] == ':') + n;
        more = *text == ',';
        text += more;
    }
    return err;
}

static enum tet_err read_question(const struct http_request *request, struct question *q,
                                  struct tet_error *error)
{
    const char *metric = http_query(request, "metric"), *at = http_query(request, "at"),
               *steps = http_query(request, "steps"), *baseline = http_query(request, "baseline");
    enum tet_err err = TET_OK;
    q->store = (struct store_question){.experiment = http_id(request, 0), .series = metric};
    if (metric != NULL && !is_series(metric))
        err = refuse(q, "metric", metric,
                     "the name of a series, such as test/accuracy, validation/loss or "
                     "alignment/modulation/1",
                     error);
    if (err == TET_OK && at != NULL)
        err = read_at(q, at, metric != NULL ? metric : "test/accuracy", error);
    if (err == TET_OK && steps != NULL && strcmp(steps, "all") != 0)
        err = refuse(q, "steps", steps, "all", error);
    q->steps = steps != NULL;
    return err == TET_OK && baseline != NULL ? read_baseline(q, baseline, error) : err;
}

static enum tet_err collect(struct api *api, const struct store_question *q,
                            struct summary **summary, struct tet_error *error)
{
    summary_free(*summary);
    *summary = summary_create();
    if (*summary == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    const enum tet_err err = store_values_read(api->store, q, summary_add, *summary, error);
    return err == TET_OK ? summary_failed(*summary, error) : err;
}

/* With no metric asked for, the first of these that any run has. */
static enum tet_err collect_first(struct api *api, struct question *q, const char *at,
                                  struct summary **summary, struct tet_error *error)
{
    static const char *const metrics[] = {"test/accuracy", "validation/accuracy", "train/loss",
                                          "test/accuracy"};
    enum tet_err err = TET_OK;
    for (size_t i = 0; i < 4 && err == TET_OK; i++) {
        q->store.series = metrics[i];
        if (at != NULL)
            err = read_at(q, at, metrics[i], error);
        if (err == TET_OK)
            err = collect(api, &q->store, summary, error);
        if (err == TET_OK && summary_values(*summary) > 0)
            break;
    }
    return err;
}

static bool exists(void *context, const struct store_experiment *experiment)
{
    (void)context;
    (void)experiment;
    return true;
}

static enum tet_err summarise(struct api *api, const struct http_request *request,
                              struct question *q, struct summary **summary, struct tet_error *error)
{
    enum tet_err err = store_experiment_read(api->store, q->store.experiment, exists, NULL, error);
    if (err == TET_OK && q->store.series != NULL)
        err = collect(api, &q->store, summary, error);
    else if (err == TET_OK)
        err = collect_first(api, q, http_query(request, "at"), summary, error);
    if (err == TET_OK && q->steps) {
        struct store_question all = q->store;
        all.at = STORE_AT_ALL;
        all.watched = NULL;
        err = store_values_read(api->store, &all, summary_add_step, *summary, error);
        if (err == TET_OK)
            err = summary_failed(*summary, error);
    }
    if (err == TET_OK && summary_compare(*summary, q->baseline, error) == TET_NOT_FOUND) {
        *error = (struct tet_error){0};
        err = refuse(q, "baseline", http_query(request, "baseline"),
                     "values that a point of the sweep has", error);
    } else if (err == TET_OK)
        err = error->err;
    return err;
}

/* ---- as CSV ---- */

static void put_number(struct text *text, const json_t *value)
{
    text_puts(text, ",");
    if (json_is_number(value))
        text_printf(text, "%.17g", json_number_value(value));
}

/* value: NULL where the point lacks the parameter, as in a sweep of several parts. */
static void put_parameter(struct text *text, const json_t *value)
{
    if (value == NULL)
        return;
    char *canonical = json_is_string(value) ? NULL : json_canonical(value);
    api_csv_field(text, json_is_string(value) ? json_string_value(value)
                        : canonical != NULL   ? canonical
                                              : "");
    free(canonical);
}

/* {path: null} of all parameters that a point has, in the order they are met. */
static json_t *columns_of(const json_t *points)
{
    json_t *columns = json_object(), *point, *value;
    const char *path;
    size_t i;
    json_array_foreach(points, i, point)
    {
        json_object_foreach(json_object_get(point, "parameters"), path, value)
        {
            json_object_set_new(columns, path, json_null());
        }
    }
    return columns;
}

static void put_point(struct text *text, const json_t *point, json_t *columns)
{
    static const char *const numbers[] = {"n", "mean", "sd"};
    const json_t *interval = json_object_get(point, "interval"),
                 *difference = json_object_get(point, "difference"),
                 *between = json_object_get(difference, "interval");
    const char *path;
    json_t *unused;
    bool first = true;
    json_object_foreach(columns, path, unused)
    {
        text_puts(text, first ? "" : ",");
        put_parameter(text, json_object_get(json_object_get(point, "parameters"), path));
        first = false;
    }
    if (first)
        text_puts(text, "all");
    for (size_t i = 0; i < 3; i++)
        put_number(text, json_object_get(point, numbers[i]));
    put_number(text, json_array_get(interval, 0));
    put_number(text, json_array_get(interval, 1));
    put_number(text, json_object_get(point, "min"));
    put_number(text, json_object_get(point, "max"));
    put_number(text, json_object_get(difference, "n"));
    put_number(text, json_object_get(difference, "mean"));
    put_number(text, json_array_get(between, 0));
    put_number(text, json_array_get(between, 1));
    put_number(text, json_object_get(json_object_get(difference, "wilcoxon"), "p"));
    put_number(text, json_object_get(difference, "p_holm"));
    text_puts(text, "\n");
}

static void reply_csv(struct http_reply *reply, const json_t *summary)
{
    struct text text = {0};
    const json_t *points = json_object_get(summary, "points");
    json_t *columns = columns_of(points), *point;
    const char *path;
    size_t i = 0;
    json_object_foreach(columns, path, point)
    {
        text_puts(&text, i++ > 0 ? "," : "");
        api_csv_field(&text, path);
    }
    text_puts(&text, i == 0 ? "point" : "");
    text_puts(&text, ",n,mean,sd,low,high,min,max,difference_n,difference_mean,difference_low,"
                     "difference_high,p,p_holm\n");
    json_array_foreach(points, i, point)
    {
        put_point(&text, point, columns);
    }
    json_decref(columns);
    api_reply_text(reply, API_CSV, &text);
    text_free(&text);
}

void api_summary(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct question q = {0};
    struct summary *summary = NULL;
    struct tet_error error = {0};
    enum api_form form = API_JSON;
    if (!http_query_only(
            request, reply,
            (const char *const[]){"metric", "at", "steps", "baseline", "format", NULL}) ||
        !api_form(request, reply, false, &form))
        return;
    enum tet_err err = read_question(request, &q, &error);
    if (err == TET_OK)
        err = summarise(api, request, &q, &summary, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, json_incref(q.details));
    } else {
        const char *at = http_query(request, "at");
        const bool empty = summary_values(summary) == 0;
        json_t *value = summary_json(summary, q.steps);
        json_object_set_new(value, "experiment", json_integer(q.store.experiment));
        json_object_set_new(value, "metric", json_string(q.store.series));
        json_object_set_new(value, "at", json_string(at != NULL ? at : "final"));
        json_object_set_new(value, "note", json_string(empty ? no_values : note));
        if (form == API_CSV) {
            reply_csv(reply, value);
            json_decref(value);
        } else
            http_reply_json(reply, 200, value);
    }
    summary_free(summary);
    json_decref(q.details);
    json_decref(q.baseline);
}
