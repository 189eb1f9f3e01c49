// SPDX-License-Identifier: Apache-2.0
/* Forks: POST /v1/runs/{id}/fork makes an experiment of one run that begins at a kept checkpoint of
 * another. It gets a copy of the checkpoint and never asks for the parent again. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#include "api/sent.h"
#include "definition/fork.h"
#include "results/weights.h"
#include "text.h"

struct request {
    struct sent sent;
    int64_t step;          // 0: the newest
    const json_t *changes; // inside what was sent, or NULL
    char *resolved;        // the parent's definition
};

static bool keep_definition(void *context, const struct store_run *run)
{
    char **text = context;
    *text = strdup(run->definition);
    return true;
}

/* Whether there is a checkpoint at the step asked for; else which there are. */
static enum tet_err check_step(struct api *api, int64_t run, struct request *r,
                               struct tet_error *error)
{
    uint64_t steps[API_CHECKPOINTS];
    size_t n = 0;
    bool found = false;
    struct text kept = {0};
    const enum tet_err err =
        store_checkpoint_steps(api->store, run, steps, API_CHECKPOINTS, &n, error);
    if (err != TET_OK)
        return err;
    for (size_t i = 0; i < n && i < API_CHECKPOINTS; i++) {
        found = found || r->step == 0 || (uint64_t)r->step == steps[i];
        text_printf(&kept, "%s%llu", i > 0 ? ", " : "", (unsigned long long)steps[i]);
    }
    if (!found)
        faults_add(&r->sent.faults, "/step", json_object_get(r->sent.json, "step"), NULL, "%s%s",
                   n > 0 ? "a kept checkpoint: " : "nothing yet: the run has no checkpoint",
                   text_get(&kept));
    text_free(&kept);
    return TET_OK;
}

static enum tet_err read_request(struct api *api, const struct http_request *request,
                                 struct request *r, json_t **details, struct tet_error *error)
{
    const int64_t run = http_id(request, 0);
    const struct field fields[] = {{"step", FIELD_INTEGER, 1, FIELD_NO_BOUND, .to = &r->step},
                                   {"changes", FIELD_OBJECT, .to = &r->changes}};
    enum tet_err err = store_run_read(api->store, run, keep_definition, &r->resolved, error);
    if (err == TET_OK && r->resolved == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        err = sent_read(&r->sent, request, fields, 2, false, error);
    if (err == TET_OK && r->sent.faults.n == 0)
        err = check_step(api, run, r, error);
    return err == TET_OK ? sent_judge(&r->sent, details, error) : err;
}

/* A checkpoint may go between the look at the list and this. */
static enum tet_err read_checkpoint(struct api *api, int64_t run, const struct request *r,
                                    struct store_checkpoint *checkpoint, struct tet_error *error)
{
    struct tet_error why = {0};
    const enum tet_err err =
        store_checkpoint_read(api->store, run, (uint64_t)r->step, checkpoint, &why);
    if (err == TET_NOT_FOUND)
        return tet_error_set(error, TET_CONFLICT,
                             "the checkpoint was removed by a newer one just now");
    return err != TET_OK ? tet_error_set(error, err, "%s", why.message) : TET_OK;
}

void api_fork(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct request r = {0};
    struct store_checkpoint checkpoint = {0};
    struct definition *d = NULL;
    struct tet_error error = {0};
    json_t *details = NULL;
    const char *key = NULL;
    char digest[STORE_HASH];
    const int64_t run = http_id(request, 0);
    if (!http_query_only(request, reply, (const char *const[]){NULL}) ||
        !api_read_key(request, reply, &key))
        return;
    const struct definition_context where = {.catalog = api->catalog,
                                             .memory_bytes = api->memory_bytes,
                                             .weights_folder = api->data_folder};
    enum tet_err err = read_request(api, request, &r, &details, &error);
    if (err == TET_OK)
        err = read_checkpoint(api, run, &r, &checkpoint, &error);
    if (err == TET_OK) {
        weights_digest(digest, &checkpoint);
        const struct fork_parent parent = {run, r.resolved, digest, checkpoint.cursor,
                                           weights_are_final(&checkpoint)};
        err = fork_read(&d, &details, &parent, r.changes, &where, &error);
    }
    checkpoint.cursor.records = 0; // it has reported nothing itself
    if (err == TET_OK)
        api_submit_definition(api, request, reply, d, key, &checkpoint);
    else
        http_reply_error(reply, &error, details);
    store_checkpoint_free(&checkpoint);
    definition_free(d);
    sent_free(&r.sent);
    free(r.resolved);
}
