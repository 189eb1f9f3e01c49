// SPDX-License-Identifier: Apache-2.0
/* `tetrad import DIR` or `FILE.zip`: what export wrote, into another server. */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "client/client.h"
#include "client/commands.h"
#include "file.h"

enum { IMPORT_MAX = 1 << 30 };

/* Adds the regular files below the folder under their names within it; no links are followed. */
static enum tet_err add_files(zip_t *zip, const char *folder, struct tet_error *error)
{
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    enum tet_err err =
        walk != NULL ? TET_OK : tet_error_set(error, TET_IO, "%s: %s", folder, strerror(errno));
    for (FTSENT *entry; err == TET_OK && (entry = fts_read(walk)) != NULL;) {
        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
            err =
                tet_error_set(error, TET_IO, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
        if (entry->fts_info != FTS_F)
            continue;
        const char *name = entry->fts_path + strlen(folder);
        name += strspn(name, "/");
        zip_source_t *source = zip_source_file(zip, entry->fts_path, 0, -1);
        if (source == NULL || zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) < 0) {
            zip_source_free(source);
            err = tet_error_set(error, TET_IO, "%s: %s", entry->fts_path, zip_strerror(zip));
        }
    }
    if (walk != NULL)
        fts_close(walk);
    return err;
}

/* A folder as a zip file of a temporary name. */
static enum tet_err pack(const char *folder, char *file, struct tet_error *error)
{
    int why = 0;
    const int descriptor = mkstemp(file);
    if (descriptor < 0)
        return tet_error_set(error, TET_IO, "%s: %s", file, strerror(errno));
    close(descriptor);
    zip_t *zip = zip_open(file, ZIP_TRUNCATE, &why);
    if (zip == NULL)
        return tet_error_set(error, TET_IO, "%s: cannot be written", file);
    const enum tet_err err = add_files(zip, folder, error);
    if (err != TET_OK)
        zip_discard(zip);
    else if (zip_close(zip) != 0) {
        zip_discard(zip);
        return tet_error_set(error, TET_IO, "%s: cannot be packed", folder);
    }
    return err;
}

static enum tet_err read_archive(const char *path, char **bytes, size_t *size,
                                 struct tet_error *error)
{
    struct stat status;
    const char *folder = getenv("TMPDIR");
    char file[256];
    if (stat(path, &status) != 0)
        return tet_error_set(error, TET_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return file_read(path, IMPORT_MAX, bytes, size, error);
    snprintf(file, sizeof file, "%.200s/tetrad-import-XXXXXX", folder != NULL ? folder : "/tmp");
    enum tet_err err = pack(path, file, error);
    if (err == TET_OK)
        err = file_read(file, IMPORT_MAX, bytes, size, error);
    (void)unlink(file);
    return err;
}

static void say(const json_t *reply)
{
    size_t i;
    const json_t *run;
    printf("experiment %lld:", (long long)client_integer(reply, "experiment"));
    json_array_foreach(json_object_get(reply, "runs"), i, run)
    {
        printf(" r%lld (was r%lld)", (long long)client_integer(run, "run"),
               (long long)client_integer(run, "was"));
    }
    printf("\n");
}

int import_command(const struct options *options)
{
    struct client c = {0};
    struct tet_error error = {0};
    char *bytes = NULL;
    size_t size = 0;
    json_t *reply = NULL;
    int status = STATUS_OK;
    enum tet_err err = TET_OK;
    if (options->n_arguments != 1)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "import needs what export wrote: tetrad import DIR");
    if (err == TET_OK)
        err = read_archive(options->argument[0], &bytes, &size, &error);
    if (err == TET_OK)
        err = client_open(&c, options, &error);
    if (err == TET_OK) {
        const struct client_body body = {.bytes = bytes, .size = size, .type = "application/zip"};
        status = client_want(&c, "POST", "/v1/import", &body, &reply);
        if (status == STATUS_OK && c.json)
            client_print(&c);
        else if (status == STATUS_OK)
            say(reply);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    json_decref(reply);
    client_close(&c);
    free(bytes);
    return status;
}
