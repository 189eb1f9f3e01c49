// SPDX-License-Identifier: Apache-2.0
/* Datasets: what there is, and what is wrong with those that cannot be used. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "store/datasets.h"

enum { STROKES_TRAIN = 20000, STROKES_TEST = 5000 };

/* Of an upload: whose, and in which form it came. */
struct upload {
    bool there;
    char owner[USER_NAME], kind[16];
};

static bool see_upload(void *context, const struct store_dataset *d)
{
    struct upload *upload = context;
    upload->there = true;
    snprintf(upload->owner, sizeof upload->owner, "%s", d->owner);
    snprintf(upload->kind, sizeof upload->kind, "%s", d->kind);
    return false;
}

static json_t *dataset_json(struct api *api, const char *name, enum tet_err *err,
                            struct tet_error *error)
{
    struct dataset_spec spec = {0};
    struct dataset_info info;
    struct upload upload = {0};
    uint64_t uses = 0;
    snprintf(spec.name, sizeof spec.name, "%s", name);
    if (strcmp(name, "strokes") == 0) {
        spec.seed = 1;
        spec.train = STROKES_TRAIN;
        spec.test = STROKES_TEST;
    }
    *err = strlen(name) < sizeof spec.name
               ? catalog_info(api->catalog, &spec, &info, error)
               : tet_error_set(error, TET_NOT_FOUND, "there is no dataset of that name");
    if (*err == TET_OK)
        *err = store_datasets_read(api->store, name, see_upload, &upload, error);
    if (*err == TET_OK)
        *err = store_dataset_uses(api->store, name, &uses, error);
    if (*err != TET_OK)
        return json_pack("{s:s, s:s}", "name", name, "error", error->message);
    const bool builtin = strcmp(info.kind, "builtin") == 0;
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:o, "
                     "s:n}",
                     "name", info.name, "kind", upload.there ? upload.kind : info.kind, "source",
                     builtin        ? "builtin"
                     : upload.there ? "upload"
                                    : "file",
                     "owner", upload.there ? json_string(upload.owner) : json_null(), "in_use",
                     (json_int_t)uses, "inputs", (json_int_t)info.shape.inputs, "outputs",
                     (json_int_t)info.shape.outputs, "channels", (json_int_t)info.shape.channels,
                     "rows", (json_int_t)info.shape.rows, "columns", (json_int_t)info.shape.columns,
                     "train", (json_int_t)info.n_train, "test", (json_int_t)info.n_test, "labels",
                     info.labels, "bytes", (json_int_t)info.bytes, "sha256",
                     info.sha256[0] != '\0' ? json_string(info.sha256) : json_null(), "error");
}

void api_datasets(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct tet_error error = {0};
    char **names = NULL;
    size_t n = 0;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    if (catalog_list(api->catalog, &names, &n, &error) != TET_OK) {
        http_reply_error(reply, &error, NULL);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct tet_error one = {0};
        enum tet_err err;
        json_array_append_new(list, dataset_json(api, names[i], &err, &one));
    }
    catalog_names_free(names, n);
    http_reply_json(reply, 200, json_pack("{s:o}", "datasets", list));
}

void api_dataset(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct tet_error error = {0};
    enum tet_err err;
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    json_t *value = dataset_json(context, http_part(request, 0), &err, &error);
    if (err == TET_OK) {
        http_reply_json(reply, 200, value);
    } else {
        json_decref(value);
        http_reply_error(reply, &error, NULL);
    }
}

void api_reply_dataset(struct api *api, struct http_reply *reply, int status, const char *name)
{
    struct tet_error error = {0};
    enum tet_err err;
    char location[DATASET_NAME + 16];
    json_t *value = dataset_json(api, name, &err, &error);
    if (err != TET_OK) {
        json_decref(value);
        http_reply_error(reply, &error, NULL);
        return;
    }
    snprintf(location, sizeof location, "/v1/datasets/%.63s", name);
    if (status == 201)
        http_reply_header(reply, "Location", location);
    http_reply_json(reply, status, value);
}
