// SPDX-License-Identifier: Apache-2.0
/* POST /v1/import: takes in an experiment that was exported. One at a time, for it is held in memory
 * and written in one transaction. */
#include "api/results.h"

#include <stdio.h>

#include "import/import.h"

#define PACKED_MAX   ((uint64_t)256 << 20) // bytes of an archive
#define UNPACKED_MAX ((uint64_t)1 << 30)   // and of what is in it

static atomic_flag at_work = ATOMIC_FLAG_INIT;

static void reply_imported(struct http_reply *reply, const struct import *import,
                           int64_t experiment, int64_t first_run)
{
    json_t *runs = json_array();
    char location[64];
    for (size_t i = 0; i < import->store.n_runs; i++)
        json_array_append_new(runs,
                              json_pack("{s:I, s:I}", "run", (json_int_t)first_run + (json_int_t)i,
                                        "was", (json_int_t)import->was[i]));
    snprintf(location, sizeof location, "/v1/experiments/%lld", (long long)experiment);
    http_reply_header(reply, "Location", location);
    http_reply_json(reply, 201,
                    json_pack("{s:I, s:o}", "experiment", (json_int_t)experiment, "runs", runs));
}

void api_import(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = context;
    struct import import = {0};
    struct tet_error error = {0};
    int64_t experiment = 0, first_run = 0;
    const struct http_file file = http_body_file(request);
    if (!http_query_only(request, reply, (const char *const[]){NULL}))
        return;
    enum tet_err err = TET_OK;
    if (file.size > PACKED_MAX)
        err = tet_error_set(&error, TET_TOO_LARGE,
                            "the archive has %llu bytes; at most %llu are "
                            "taken",
                            (unsigned long long)file.size, (unsigned long long)PACKED_MAX);
    else if (api->stopping)
        err = tet_error_set(&error, TET_BUSY, "the server is stopping");
    else if (atomic_flag_test_and_set(&at_work))
        err = tet_error_set(&error, TET_BUSY, "another archive is being read; try again soon");
    else {
        err = storage_takes(api->storage, STORAGE_DATABASE, file.size, &error);
        if (err == TET_OK)
            err = import_read(&import, file.fd, UNPACKED_MAX, &error);
        import.store.owner = http_identity(request)->user;
        if (err == TET_OK)
            err = store_import(api->store, &import.store, &experiment, &first_run, &error);
        if (err == TET_BAD_REQUEST) { // of the metrics
            struct tet_error bad = {0};
            err = tet_error_set(&bad, TET_BAD_DEFINITION, "metrics.csv: %s", error.message);
            error = bad;
        }
        atomic_flag_clear(&at_work);
    }
    if (err == TET_OK)
        reply_imported(reply, &import, experiment, first_run);
    else
        http_reply_error(reply, &error, NULL);
    import_free(&import);
}
