// SPDX-License-Identifier: Apache-2.0
/* Reruns: POST /v1/runs/{id}/rerun makes an experiment of one run with the same definition; once it
 * has ended, the run says whether it came to the same, and else where it parted. */
#include "api/results.h"

#include <stdlib.h>
#include <string.h>

#include "definition/definition.h"
#include "store/reruns.h"

/* ---- what a rerun came to ---- */

struct outcome {
    enum run_state state;
    char digest[STORE_HASH], divergence[STORE_REASON];
};

static bool keep_outcome(void *context, const struct store_run *run)
{
    struct outcome *o = context;
    o->state = run->state;
    snprintf(o->digest, sizeof o->digest, "%s", run->digest != NULL ? run->digest : "");
    snprintf(o->divergence, sizeof o->divergence, "%s",
             run->divergence != NULL ? run->divergence : "");
    return true;
}

static bool is_end(enum run_state state)
{
    return state == RUN_SUCCEEDED || state == RUN_DIVERGED;
}

/* A run that was cancelled or failed has come to nothing that could be compared. */
static json_t *compare(struct api *api, const struct store_run *run)
{
    struct outcome was = {0}, is = {0};
    struct store_parting parting = {0};
    (void)keep_outcome(&is, run);
    if (!is_end(is.state) ||
        store_run_read(api->store, run->rerun_of, keep_outcome, &was, NULL) != TET_OK ||
        !is_end(was.state))
        return NULL;
    const bool same = is.state == was.state && strcmp(is.digest, was.digest) == 0 &&
                      strcmp(is.divergence, was.divergence) == 0;
    /* Equal digests say it all; where there is none, the metrics have to. */
    if ((!same || is.state != RUN_SUCCEEDED) &&
        store_compare(api->store, run->rerun_of, run->id, 0, &parting, NULL) != TET_OK)
        return NULL;
    return json_pack("{s:b, s:o, s:o}", "agrees", same && !parting.found, "first_differing_step",
                     parting.found ? json_integer((json_int_t)parting.step) : json_null(),
                     "first_differing_series",
                     parting.found ? json_string(parting.series) : json_null());
}

json_t *api_rerun_json(struct api *api, const struct store_run *run)
{
    if (run->rerun_of == 0)
        return json_null();
    json_t *value = run->rerun_result != NULL ? api_parse(run->rerun_result) : compare(api, run);
    if (value == NULL)
        value = json_pack("{s:n, s:n, s:n}", "agrees", "first_differing_step",
                          "first_differing_series");
    else if (run->rerun_result == NULL) { // it will not change: found out once
        char *text = json_canonical(value);
        if (text != NULL)
            (void)!store_rerun_write(api->store, run->id, text, NULL);
        free(text);
    }
    json_object_set_new(value, "of", json_integer(run->rerun_of));
    return value;
}

/* ---- asking for one ---- */

/* What is repeated. */
struct original {
    json_t *definition, *parameters;
    char hash[STORE_HASH];
    bool ended;
};

static bool keep_original(void *context, const struct store_run *run)
{
    struct original *o = context;
    o->definition = api_parse(run->definition);
    o->parameters = api_parse(run->parameters);
    o->ended = is_end(run->state);
    snprintf(o->hash, sizeof o->hash, "%s", run->hash);
    return true;
}

static enum tet_err check_dataset(struct api *api, const struct original *o,
                                  struct tet_error *error)
{
    struct dataset_spec spec;
    struct dataset_info info;
    struct tet_error why = {0};
    const char *sum =
        json_string_value(json_object_get(json_object_get(o->definition, "dataset"), "sha256"));
    enum tet_err err = definition_dataset(&spec, o->definition, &why);
    if (err == TET_OK)
        err = catalog_info(api->catalog, &spec, &info, &why);
    if (err == TET_NOT_FOUND || err == TET_BAD_DATASET)
        return tet_error_set(error, TET_CONFLICT,
                             "the run's dataset %s cannot be used any more: %s", spec.name,
                             why.message);
    if (err != TET_OK)
        return tet_error_set(error, err, "%s", why.message);
    if (sum != NULL && strcmp(sum, info.sha256) != 0)
        return tet_error_set(error, TET_CONFLICT,
                             "the dataset %s is not the one that the run was trained on: it is %s, "
                             "was %s",
                             spec.name, info.sha256, sum);
    return TET_OK;
}

/* The same definition, read again: it must come out as it was. */
static enum tet_err read_again(struct api *api, const struct original *o, struct definition **d,
                               struct tet_error *error)
{
    const struct definition_context where = {.catalog = api->catalog,
                                             .memory_bytes = api->memory_bytes,
                                             .weights_folder = api->data_folder,
                                             .forking = true};
    struct tet_error why = {0};
    json_t *details = NULL;
    char *text = json_canonical(o->definition);
    if (text == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    enum tet_err err = definition_read(d, &details, text, strlen(text), &where, &why);
    free(text);
    const json_t *fault = json_array_get(details, 0);
    if (err == TET_BAD_DEFINITION)
        err = tet_error_set(error, TET_CONFLICT,
                            "the definition cannot be run here any more: %.60s must be %.200s",
                            json_string_value(json_object_get(fault, "pointer")),
                            json_string_value(json_object_get(fault, "allowed")));
    else if (err != TET_OK)
        err = tet_error_set(error, err, "%s", why.message);
    else if ((*d)->n_runs != 1 || strcmp((*d)->runs[0].hash, o->hash) != 0)
        err = tet_error_set(error, TET_CONFLICT,
                            "this server reads the definition as another run's: %s, was %s",
                            (*d)->runs[0].hash, o->hash);
    json_decref(details);
    return err;
}

/* Where a fork began; others begin at the start. */
static enum tet_err read_start(struct api *api, int64_t run, const struct original *o,
                               struct store_checkpoint *start, struct tet_error *error)
{
    const json_t *step = json_object_get(json_object_get(o->definition, "fork"), "step");
    struct tet_error why = {0};
    if (step == NULL)
        return TET_OK;
    const uint64_t at = (uint64_t)json_integer_value(step);
    const enum tet_err err = store_checkpoint_read(api->store, run, at, start, &why);
    start->cursor.records = 0; // it has reported nothing itself
    if (err == TET_NOT_FOUND)
        return tet_error_set(error, TET_CONFLICT,
                             "the checkpoint at step %llu, where this fork began, is not kept any "
                             "more",
                             (unsigned long long)at);
    return err != TET_OK ? tet_error_set(error, err, "%s", why.message) : TET_OK;
}

void api_rerun(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct original o = {0};
    struct definition *d = NULL;
    struct store_checkpoint start = {0};
    struct tet_error error = {0};
    const char *key = NULL;
    const int64_t run = http_id(request, 0);
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !api_read_key(request, reply, &key))
        return;
    enum tet_err err = store_run_read(api->store, run, keep_original, &o, &error);
    if (err == TET_OK && !o.ended)
        err = tet_error_set(&error, TET_CONFLICT,
                            "run %lld has not succeeded or diverged: there is nothing to compare "
                            "with",
                            (long long)run);
    if (err == TET_OK)
        err = check_dataset(api, &o, &error);
    if (err == TET_OK)
        err = read_again(api, &o, &d, &error);
    if (err == TET_OK)
        err = read_start(api, run, &o, &start, &error);
    if (err == TET_OK) {
        json_decref(d->runs[0].parameters);
        d->runs[0].parameters = json_incref(o.parameters);
        api_submit_rerun(api, request, reply, d, key, start.n > 0 ? &start : NULL, run);
    } else {
        http_reply_error(reply, &error, NULL);
    }
    store_checkpoint_free(&start);
    definition_free(d);
    json_decref(o.definition);
    json_decref(o.parameters);
}
