// SPDX-License-Identifier: Apache-2.0
/* Weights of a run: the list, one array as .npy, all as .npz; of the newest kept checkpoint or the
 * one at ?step=. */
#include "api/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/npz.h"
#include "results/weights.h"

static bool keep_facts(void *context, const struct store_run *run)
{
    struct api_facts *facts = context;
    facts->state = run->state;
    facts->step = run->step;
    snprintf(facts->digest, sizeof facts->digest, "%s", run->digest != NULL ? run->digest : "");
    return true;
}

bool api_weights_begin(struct api *api, const struct http_request *request,
                       struct http_reply *reply, const char *kind, struct api_facts *facts,
                       struct store_checkpoint *checkpoint)
{
    struct tet_error error = {0};
    uint64_t step = 0;
    if (!http_query_uint(request, reply, "step", 1, INT64_MAX, 0, &step))
        return false;
    const int64_t run = http_id(request, 0);
    enum tet_err err = store_run_read(api->store, run, keep_facts, facts, &error);
    if (err == TET_OK && facts->state == RUN_SUCCEEDED && (step == 0 || step == facts->step)) {
        char tag[STORE_HASH + API_KIND];
        snprintf(tag, sizeof tag, "%s-%s", facts->digest, kind);
        if (strlen(kind) < API_KIND && http_reply_etag(request, reply, tag))
            return false;
    }
    if (err == TET_OK)
        err = api_checkpoint_read(api, run, step, checkpoint, &error);
    if (err != TET_OK)
        http_reply_error(reply, &error, NULL);
    return err == TET_OK;
}

/* Whether ?state=true asks for more than the weights; false: it is something else, and replied to. */
static bool read_whole(const struct http_request *request, struct http_reply *reply, bool *whole)
{
    const char *text = http_query(request, "state");
    struct tet_error error = {0};
    *whole = text != NULL && strcmp(text, "true") == 0;
    if (text == NULL || *whole || strcmp(text, "false") == 0)
        return true;
    tet_error_set(&error, TET_BAD_REQUEST, "state: found \"%.40s\", allowed true or false", text);
    http_reply_error(reply, &error, api_query_fault("state", text, "true or false"));
    return false;
}

static bool begin(struct api *api, const struct http_request *request, struct http_reply *reply,
                  const char *kind, struct api_facts *facts, struct store_checkpoint *checkpoint)
{
    return http_query_only(request, reply, (const char *const[]){"step", NULL}) &&
           api_weights_begin(api, request, reply, kind, facts, checkpoint);
}

void api_weights(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api_facts facts;
    struct store_checkpoint checkpoint = {0};
    if (!begin(context, request, reply, "list", &facts, &checkpoint))
        return;
    json_t *arrays = json_array();
    for (size_t i = 0; i < checkpoint.n; i++) {
        const struct store_array *a = &checkpoint.arrays[i];
        json_t *shape = json_array();
        for (uint32_t k = 0; k < a->rank; k++)
            json_array_append_new(shape, json_integer(a->shape[k]));
        json_t *row = json_pack("{s:s, s:o}", "name", a->name, "shape", shape);
        if (a->state)
            json_decref(row);
        else
            json_array_append_new(arrays, row);
    }
    const bool final = facts.state == RUN_SUCCEEDED && checkpoint.cursor.step == facts.step;
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:I, s:b, s:o, s:o}", "run", (json_int_t)http_id(request, 0),
                              "step", (json_int_t)checkpoint.cursor.step, "final", final, "digest",
                              final ? json_string(facts.digest) : json_null(), "arrays", arrays));
    store_checkpoint_free(&checkpoint);
}

void api_weights_npy(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api_facts facts;
    struct store_checkpoint checkpoint = {0};
    struct tet_error error = {0};
    const char *name = http_part(request, 1);
    if (!begin(context, request, reply, name, &facts, &checkpoint))
        return;
    const struct store_array *array = NULL;
    for (size_t i = 0; i < checkpoint.n; i++)
        if (!checkpoint.arrays[i].state && strcmp(checkpoint.arrays[i].name, name) == 0)
            array = &checkpoint.arrays[i];
    unsigned char header[NPY_HEADER], *bytes = NULL;
    size_t n = 0, size = 0;
    if (array == NULL) {
        tet_error_set(&error, TET_NOT_FOUND,
                      "run %lld has no array \"%.40s\"; /v1/runs/%lld/weights lists them",
                      (long long)http_id(request, 0), name, (long long)http_id(request, 0));
    } else {
        const struct npy npy = weights_npy(array);
        n = npy_header(header, npy.type, npy.rank, npy.shape);
        size = n + array->n * sizeof(float);
        bytes = malloc(size);
        if (bytes == NULL)
            tet_error_set(&error, TET_NO_MEMORY, "out of memory");
    }
    if (bytes == NULL) {
        http_reply_error(reply, &error, NULL);
    } else {
        memcpy(bytes, header, n);
        memcpy(bytes + n, array->data, array->n * sizeof(float));
        http_reply_bytes(reply, 200, "application/octet-stream", bytes, size);
    }
    store_checkpoint_free(&checkpoint);
}

void api_weights_npz(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api_facts facts;
    struct store_checkpoint checkpoint = {0};
    struct tet_error error = {0};
    struct npy *arrays = NULL;
    void *bytes = NULL;
    size_t n = 0, size = 0;
    double cursor[WEIGHTS_CURSOR];
    bool whole = false;
    if (!http_query_only(request, reply, (const char *const[]){"step", "state", NULL}) ||
        !read_whole(request, reply, &whole) ||
        !api_weights_begin(context, request, reply, whole ? "npz-whole" : "npz", &facts,
                           &checkpoint))
        return;
    enum tet_err err = whole ? weights_whole(&arrays, &n, cursor, &checkpoint, &error)
                             : weights_npz(&arrays, &n, &checkpoint, &error);
    if (err == TET_OK)
        err = npz_write_memory(arrays, n, &bytes, &size, &error);
    if (err != TET_OK) {
        http_reply_error(reply, &error, NULL);
    } else {
        char name[80];
        snprintf(name, sizeof name, "attachment; filename=\"run-%lld.npz\"",
                 (long long)http_id(request, 0));
        http_reply_header(reply, "Content-Disposition", name);
        http_reply_bytes(reply, 200, "application/zip", bytes, size);
    }
    free(arrays);
    store_checkpoint_free(&checkpoint);
}
