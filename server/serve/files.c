// SPDX-License-Identifier: Apache-2.0
/* The files folder and what of it the catalog sees: see start.h. */
#include "serve/start.h"

#include <stdio.h>

#include "data/files.h"
#include "data/uploaded.h"
#include "store/datasets.h"

struct adding {
    struct api *api;
    enum tet_err err;
    struct tet_error *error;
};

static bool add_upload(void *context, const struct store_dataset *d)
{
    struct adding *a = context;
    char path[FILES_PATH];
    files_content(a->api->files, d->sha256, path);
    a->err = uploaded_put(a->api->uploaded, d->name, path, d->sha256, a->error);
    return a->err == TET_OK;
}

static enum tet_err is_known(void *context, const char *sha256, bool *known,
                             struct tet_error *error)
{
    return store_dataset_known(context, sha256, known, error);
}

enum tet_err serve_files(struct api *api, const struct options *options, struct tet_error *error)
{
    char folder[FILES_PATH];
    const char *given = options->value[OPTION_FILES];
    struct adding adding = {.api = api, .error = error};
    if (snprintf(folder, sizeof folder, "%s%s", given != NULL ? given : options->value[OPTION_DB],
                 given != NULL ? "" : ".files") >= (int)sizeof folder)
        return tet_error_set(error, TET_IO, "the files folder's name is too long");
    enum tet_err err = files_open(&api->files, folder, error);
    if (err == TET_OK)
        err = files_recover(api->files, is_known, api->store, error);
    if (err == TET_OK && (api->uploaded = uploaded_create()) == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    if (err == TET_OK)
        err = store_datasets_read(api->store, NULL, add_upload, &adding, error);
    if (err == TET_OK)
        err = adding.err;
    if (err == TET_OK)
        catalog_uploads(api->catalog, api->uploaded);
    return err;
}
