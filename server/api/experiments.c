// SPDX-License-Identifier: Apache-2.0
/* Experiments: submit, list, show. */
#include "api/api.h"
#include "api/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"
#include "json.h"
#include "results/protocol.h"

enum { KEY_MAX = 200, PAGE = 50, PAGE_MAX = 500 };

/* ---- POST /v1/experiments ---- */

bool api_read_key(const struct http_request *request, struct http_reply *reply, const char **key)
{
    *key = http_header(request, "Idempotency-Key");
    if (*key == NULL)
        return true;
    const size_t n = strlen(*key);
    bool good = n >= 1 && n <= KEY_MAX;
    for (size_t i = 0; i < n; i++)
        good = good && (*key)[i] > ' ' && (*key)[i] < 0x7F;
    if (good)
        return true;
    struct tet_error error = {0};
    tet_error_set(&error, TET_BAD_REQUEST,
                  "Idempotency-Key: found %zu characters, allowed 1 to %d visible ASCII characters",
                  n, KEY_MAX);
    http_reply_error(reply, &error, NULL);
    return false;
}

/* Floating-point operations of a whole run; 0: not known. */
static double flops_of(struct api *api, const struct run_definition *run)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_plan plan;
    if (definition_dataset(&spec, run->resolved, NULL) != TET_OK ||
        catalog_info(api->catalog, &spec, &info, NULL) != TET_OK ||
        definition_plan(&plan, run->resolved, &info, NULL) != TET_OK)
        return 0.0;
    const uint32_t patterns = protocol_patterns(run->resolved);
    return tet_plan_flops(&plan, &info.shape) * (patterns > 0 ? patterns : plan.batch) *
           (double)run->steps;
}

/* Whether two runs of a sweep differ in their seeds at most: they then cost the same. */
static bool differ_in_seed(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (other == NULL || (strcmp(key, "training.seed") != 0 && !json_equal(value, other)))
            return false;
    }
    return true;
}

/* flops_of run i, where the one before had `last`. */
static double next_flops(struct api *api, const struct definition *d, size_t i, double last)
{
    return i > 0 && differ_in_seed(d->runs[i - 1].parameters, d->runs[i].parameters)
               ? last
               : flops_of(api, &d->runs[i]);
}

static uint32_t threads_of(const struct run_definition *run)
{
    const json_t *training = json_object_get(run->resolved, "training");
    return (uint32_t)json_integer_value(json_object_get(training, "threads"));
}

/* The store's view of a definition: canonical texts that the caller frees with submission_free. */
static enum tet_err submission_make(struct api *api, struct store_submission *s, const char *owner,
                                    const struct definition *d, struct tet_error *error)
{
    struct store_new_run *runs = calloc(d->n_runs, sizeof *runs);
    *s = (struct store_submission){.name = d->name,
                                   .owner = owner,
                                   .definition = json_canonical(d->resolved),
                                   .hash = d->hash,
                                   .tags = json_canonical(json_object_get(d->resolved, "tags")),
                                   .n_runs = d->n_runs,
                                   .runs = runs};
    bool whole = runs != NULL && s->definition != NULL && s->tags != NULL;
    for (size_t i = 0; i < d->n_runs && whole; i++) {
        const struct run_definition *run = &d->runs[i];
        runs[i] =
            (struct store_new_run){.definition = json_canonical(run->resolved),
                                   .hash = run->hash,
                                   .parameters = json_canonical(run->parameters),
                                   .steps = run->steps,
                                   .memory_bytes = run->memory_bytes,
                                   .flops = next_flops(api, d, i, i > 0 ? runs[i - 1].flops : 0.0),
                                   .threads = threads_of(run)};
        whole = runs[i].definition != NULL && runs[i].parameters != NULL;
    }
    return whole ? TET_OK
                 : tet_error_set(error, TET_NO_MEMORY, "out of memory for %zu runs", d->n_runs);
}

static void submission_free(struct store_submission *s)
{
    for (size_t i = 0; s->runs != NULL && i < s->n_runs; i++) {
        free((char *)(uintptr_t)s->runs[i].definition);
        free((char *)(uintptr_t)s->runs[i].parameters);
    }
    free((struct store_new_run *)(uintptr_t)s->runs);
    free((char *)(uintptr_t)s->definition);
    free((char *)(uintptr_t)s->tags);
}

/* Seconds that the runs would take on idle workers at the speed of late, or null. */
static json_t *estimate(struct api *api, const struct definition *d)
{
    const double speed = pool_speed(api->pool);
    double flops = 0.0, one = 0.0;
    for (size_t i = 0; i < d->n_runs && speed > 0.0; i++) {
        one = next_flops(api, d, i, one);
        if (one <= 0.0)
            return json_null();
        flops += one;
    }
    const double workers =
        d->n_runs < pool_workers(api->pool) ? (double)d->n_runs : pool_workers(api->pool);
    return speed > 0.0 ? json_real(flops / speed / workers) : json_null();
}

static void reply_dry(struct api *api, struct http_reply *reply, const struct definition *d)
{
    http_reply_unchanged(reply);
    uint64_t memory = 0, steps = 0;
    for (size_t i = 0; i < d->n_runs; i++) {
        memory = d->runs[i].memory_bytes > memory ? d->runs[i].memory_bytes : memory;
        steps += d->runs[i].steps;
    }
    http_reply_json(reply, 200,
                    json_pack("{s:b, s:s, s:I, s:I, s:I, s:o, s:O}", "dry_run", 1, "hash", d->hash,
                              "run_count", (json_int_t)d->n_runs, "steps", (json_int_t)steps,
                              "memory_bytes", (json_int_t)memory, "estimated_seconds",
                              estimate(api, d), "definition", d->resolved));
}

static bool keep_state(void *context, const struct store_experiment *experiment)
{
    *(enum run_state *)context = experiment_state(experiment->runs);
    return true;
}

static void reply_submitted(struct api *api, struct http_reply *reply, const struct definition *d,
                            const struct store_receipt *receipt)
{
    enum run_state state = RUN_QUEUED;
    if (receipt->replayed) {
        http_reply_unchanged(reply);
        (void)!store_experiment_read(api->store, receipt->experiment, keep_state, &state, NULL);
    }
    json_t *ids = json_array();
    for (size_t i = 0; i < d->n_runs; i++)
        json_array_append_new(ids, json_integer(receipt->first_run + (json_int_t)i));
    char location[64];
    snprintf(location, sizeof location, "/v1/experiments/%lld", (long long)receipt->experiment);
    http_reply_header(reply, "Location", location);
    http_reply_json(reply, receipt->replayed ? 200 : 201,
                    json_pack("{s:I, s:s, s:s, s:o, s:I, s:I, s:I, s:b, s:O}", "id",
                              (json_int_t)receipt->experiment, "hash", d->hash, "state",
                              run_state_text(state), "runs", ids, "first_run",
                              (json_int_t)receipt->first_run, "run_count", (json_int_t)d->n_runs,
                              "queue_position", (json_int_t)receipt->ahead, "replayed",
                              receipt->replayed, "definition", d->resolved));
}

void api_submit_definition(struct api *api, const struct http_request *request,
                           struct http_reply *reply, const struct definition *d, const char *key,
                           const struct store_checkpoint *start)
{
    api_submit_rerun(api, request, reply, d, key, start, 0);
}

void api_submit_rerun(struct api *api, const struct http_request *request, struct http_reply *reply,
                      const struct definition *d, const char *key,
                      const struct store_checkpoint *start, int64_t rerun_of)
{
    struct store_submission submission = {0};
    struct store_receipt receipt;
    struct tet_error error = {0};
    enum tet_err err = TET_OK;
    if (api->stopping)
        err = tet_error_set(&error, TET_BUSY, "the server is stopping");
    if (err == TET_OK)
        err = storage_takes(api->storage, STORAGE_DATABASE, 0, &error);
    if (err == TET_OK)
        err = submission_make(api, &submission, http_identity(request)->user, d, &error);
    submission.idempotency_key = key;
    submission.start = start;
    submission.rerun_of = rerun_of;
    if (err == TET_OK)
        err = store_submit(api->store, &submission, &receipt, &error);
    if (err == TET_TOO_MANY || err == TET_BUSY)
        http_reply_header(reply, "Retry-After", err == TET_TOO_MANY ? "60" : "10");
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
    } else {
        if (!receipt.replayed)
            pool_wake(api->pool);
        reply_submitted(api, reply, d, &receipt);
    }
    submission_free(&submission);
}

void api_submit(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct definition *d = NULL;
    struct tet_error error = {0};
    json_t *details = NULL;
    const char *key = NULL;
    uint64_t dry = 0;
    size_t size = 0;
    if (!http_query_only(request, reply, (const char *const[]){"dry_run", NULL}) ||
        !http_query_uint(request, reply, "dry_run", 0, 1, 0, &dry) ||
        !api_read_key(request, reply, &key))
        return;
    const char *text = http_body(request, &size);
    const struct definition_context where = {.catalog = api->catalog,
                                             .memory_bytes = api->memory_bytes,
                                             .weights_folder = api->data_folder};
    enum tet_err err =
        definition_read(&d, &details, text != NULL ? text : "", size, &where, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, details);
    else if (dry)
        reply_dry(api, reply, d);
    else
        api_submit_definition(api, request, reply, d, key, NULL);
    definition_free(d);
}

/* ---- GET /v1/experiments ---- */

static json_t *counts_json(const uint64_t runs[RUN_STATES_COUNT])
{
    json_t *counts = json_object();
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        json_object_set_new(counts, run_state_text((enum run_state)s),
                            json_integer((json_int_t)runs[s]));
    return counts;
}

/* How long what has not ended would take if the workers were all its own; null: not known. */
static json_t *eta(struct api *api, const struct store_experiment *e)
{
    const uint64_t open = e->runs[RUN_QUEUED] + e->runs[RUN_RUNNING] + e->runs[RUN_PAUSED];
    const double speed = pool_speed(api->pool), workers = pool_workers(api->pool);
    if (open == 0)
        return json_real(0.0);
    return speed > 0.0 && e->flops_left > 0.0
               ? json_real(e->flops_left / speed /
                           ((double)open < workers ? (double)open : workers))
               : json_null();
}

static json_t *experiment_json(struct api *api, const struct store_experiment *e)
{
    return json_pack("{s:I, s:s, s:s, s:i, s:o, s:o, s:s, s:s, s:o, s:o}", "id", (json_int_t)e->id,
                     "name", e->name, "owner", e->owner, "priority", (int)e->priority, "eta_s",
                     eta(api, e), "tags", api_parse(e->tags), "state",
                     run_state_text(experiment_state(e->runs)), "hash", e->hash, "created_at",
                     json_time(e->created_ms), "counts", counts_json(e->runs));
}

struct page {
    struct api *api;
    json_t *experiments;
    uint32_t limit;
    int64_t last; // id
    bool more;
};

static bool add_experiment(void *context, const struct store_experiment *e)
{
    struct page *page = context;
    if (json_array_size(page->experiments) == page->limit) {
        page->more = true;
        return false;
    }
    page->last = e->id;
    json_array_append_new(page->experiments, experiment_json(page->api, e));
    return true;
}

static bool read_state(const struct http_request *request, struct http_reply *reply,
                       struct store_filter *filter)
{
    const char *text = http_query(request, "state");
    if (text == NULL)
        return true;
    for (int s = 0; s < RUN_STATES_COUNT; s++)
        if (strcmp(text, run_state_text((enum run_state)s)) == 0) {
            filter->by_state = true;
            filter->state = (enum run_state)s;
            return true;
        }
    static const char allowed[] = "queued, running, paused, succeeded, diverged, failed, cancelled";
    struct tet_error error = {0};
    tet_error_set(&error, TET_BAD_REQUEST, "state: found \"%.40s\", allowed %s", text, allowed);
    http_reply_error(reply, &error, api_query_fault("state", text, allowed));
    return false;
}

void api_experiments(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct store_filter filter = {.owner = http_query(request, "owner"),
                                  .tag = http_query(request, "tag"),
                                  .text = http_query(request, "q")};
    uint64_t limit = 0, cursor = 0;
    if (!http_query_only(
            request, reply,
            (const char *const[]){"owner", "state", "tag", "q", "limit", "cursor", NULL}) ||
        !http_query_uint(request, reply, "limit", 1, PAGE_MAX, PAGE, &limit) ||
        !http_query_uint(request, reply, "cursor", 1, INT64_MAX, 0, &cursor) ||
        !read_state(request, reply, &filter))
        return;
    struct page page = {.api = api, .experiments = json_array(), .limit = (uint32_t)limit};
    struct tet_error error = {0};
    filter.before = (int64_t)cursor;
    filter.limit = page.limit + 1; // one more tells whether there is a next page
    if (store_experiments_read(api->store, &filter, add_experiment, &page, &error) != TET_OK) {
        json_decref(page.experiments);
        http_reply_error(reply, &error, NULL);
        return;
    }
    char next[24];
    snprintf(next, sizeof next, "%lld", (long long)page.last);
    http_reply_json(reply, 200,
                    json_pack("{s:o, s:o}", "experiments", page.experiments, "next",
                              page.more ? json_string(next) : json_null()));
}

/* ---- GET /v1/experiments/{id} ---- */

struct view {
    struct api *api;
    json_t *experiment, *runs;
    struct pool_view *live;
};

static bool keep_experiment(void *context, const struct store_experiment *e)
{
    struct view *view = context;
    view->experiment = experiment_json(view->api, e);
    json_object_set_new(view->experiment, "definition", api_parse(e->definition));
    return true;
}

static bool add_run(void *context, const struct store_run *run)
{
    struct view *view = context;
    json_array_append_new(view->runs, api_run_json(view->api, view->live, run, true));
    return true;
}

void api_experiment(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct view view = {.api = context, .runs = json_array()};
    struct tet_error error = {0};
    const int64_t id = http_id(request, 0);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        goto out;
    view.live = pool_look(view.api->pool);
    enum tet_err err = store_experiment_read(view.api->store, id, keep_experiment, &view, &error);
    if (err == TET_OK)
        err = store_runs_read(view.api->store, id, add_run, &view, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
        goto out;
    }
    json_object_set(view.experiment, "runs", view.runs);
    http_reply_json(reply, 200, json_incref(view.experiment));
out:
    free(view.live);
    json_decref(view.experiment);
    json_decref(view.runs);
}
