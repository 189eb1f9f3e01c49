// SPDX-License-Identifier: Apache-2.0
/* GET /v1/experiments/{id}/summary: a metric over the seeds of each point, and its differences from
 * a baseline. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#include "summary.h"

/* What is asked for. */
struct question {
    struct store_question store;
    bool steps;
    json_t *baseline; // NULL: the default
};

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

static enum tet_err read_at(struct store_question *q, const char *at, const char *metric,
                            struct tet_error *error)
{
    if (strcmp(at, "final") == 0)
        q->at = STORE_AT_FINAL;
    else if (strcmp(at, "best") == 0)
        read_best(q, metric);
    else if (read_number(at, "step:", &q->number))
        q->at = STORE_AT_STEP;
    else if (read_number(at, "epoch:", &q->number))
        q->at = STORE_AT_EPOCH;
    else
        return tet_error_set(
            error, TET_BAD_REQUEST,
            "at: found \"%.40s\", allowed final, best, step:N or epoch:N, N from 1", at);
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
static enum tet_err read_baseline(const char *text, json_t **baseline, struct tet_error *error)
{
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
            err = tet_error_set(error, TET_BAD_REQUEST,
                                "baseline: found \"%.80s\", allowed path:value, several with "
                                "commas: rule.name:bp,optimizer.lr:0.1",
                                text);
        else if (json_object_get(*baseline, name) != NULL)
            err = tet_error_set(error, TET_BAD_REQUEST,
                                "baseline: found \"%.80s\" twice, allowed one value for a path",
                                name);
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
        err = tet_error_set(error, TET_BAD_REQUEST,
                            "metric: found \"%.80s\", allowed the name of a series, such as "
                            "test/accuracy, validation/loss or alignment/modulation/1",
                            metric);
    if (err == TET_OK && at != NULL)
        err = read_at(&q->store, at, metric != NULL ? metric : "test/accuracy", error);
    if (err == TET_OK && steps != NULL && strcmp(steps, "all") != 0)
        err = tet_error_set(error, TET_BAD_REQUEST, "steps: found \"%.40s\", allowed all", steps);
    q->steps = steps != NULL;
    return err == TET_OK && baseline != NULL ? read_baseline(baseline, &q->baseline, error) : err;
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
            err = read_at(&q->store, at, metrics[i], error);
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
        err = tet_error_set(error, TET_BAD_REQUEST,
                            "baseline: found \"%.200s\", allowed values that a point of the sweep "
                            "has",
                            http_query(request, "baseline"));
    } else if (err == TET_OK)
        err = error->err;
    return err;
}

void api_summary(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct question q = {0};
    struct summary *summary = NULL;
    struct tet_error error = {0};
    if (!http_query_only(request, reply,
                         (const char *const[]){"metric", "at", "steps", "baseline", NULL}))
        return;
    enum tet_err err = read_question(request, &q, &error);
    if (err == TET_OK)
        err = summarise(api, request, &q, &summary, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
    } else {
        const char *at = http_query(request, "at");
        const bool empty = summary_values(summary) == 0;
        json_t *value = summary_json(summary, q.steps);
        json_object_set_new(value, "experiment", json_integer(q.store.experiment));
        json_object_set_new(value, "metric", json_string(q.store.series));
        json_object_set_new(value, "at", json_string(at != NULL ? at : "final"));
        json_object_set_new(value, "note", json_string(empty ? no_values : note));
        http_reply_json(reply, 200, value);
    }
    summary_free(summary);
    json_decref(q.baseline);
}
