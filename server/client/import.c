// SPDX-License-Identifier: Apache-2.0
/* `tetrad import DIR|FILE.zip`: sends what `tetrad export` wrote to a server. A folder is packed
 * first: only the files that an export has. */
#include "client/client.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { PATH = 4096, NAME = 128 };

static enum tet_err add(struct client *c, zip_t *zip, const char *folder, const char *name,
                        bool required)
{
    char path[PATH];
    struct stat st;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return tet_error_set(&c->error, TET_IO, "%s: the name is too long", folder);
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) // a folder from elsewhere may name our files
        return tet_error_set(&c->error, TET_IO, "%s: it is no regular file", path);
    if (access(path, R_OK) != 0)
        return required ? tet_error_set(&c->error, TET_IO, "%s: %s; is it an export?", path,
                                        strerror(errno))
                        : TET_OK;
    zip_source_t *source = zip_source_file(zip, path, 0, -1);
    if (source != NULL && zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) >= 0)
        return TET_OK;
    if (source != NULL)
        zip_source_free(source);
    if (zip_error_code_zip(zip_get_error(zip)) == ZIP_ER_MEMORY)
        return tet_error_set(&c->error, TET_NO_MEMORY, "%s: no memory for the archive", path);
    return tet_error_set(&c->error, TET_IO, "%s: %s", path, zip_strerror(zip));
}

static enum tet_err add_runs(struct client *c, zip_t *zip, const char *folder)
{
    static const char *const files[] = {"run.json",    "definition.json", "metrics.csv",
                                        "weights.npz", "protocol.json",   "start.npz"};
    char path[PATH];
    snprintf(path, sizeof path, "%.4000s/runs", folder);
    DIR *runs = opendir(path);
    const struct dirent *entry;
    enum tet_err err = runs != NULL ? TET_OK
                                    : tet_error_set(&c->error, TET_IO, "%s: %s; is it an export?",
                                                    path, strerror(errno));
    while (err == TET_OK && (entry = readdir(runs)) != NULL) {
        char name[NAME];
        const size_t n = strspn(entry->d_name, "0123456789");
        if (n == 0 || n > 18 || entry->d_name[n] != '\0')
            continue;
        for (size_t i = 0; i < sizeof files / sizeof *files && err == TET_OK; i++) {
            snprintf(name, sizeof name, "runs/%.18s/%s", entry->d_name, files[i]);
            err = add(c, zip, folder, name, i < 2);
        }
    }
    if (runs != NULL)
        closedir(runs);
    return err;
}

/* The folder as a zip in a file that is already unlinked; NULL: said why. */
static FILE *pack(struct client *c, const char *folder)
{
    const char *tmp = getenv("TMPDIR");
    char path[PATH];
    int code = 0;
    snprintf(path, sizeof path, "%.4000s/tetrad-import-XXXXXX", tmp != NULL ? tmp : "/tmp");
    const int fd = mkstemp(path);
    zip_t *zip = fd >= 0 ? zip_open(path, ZIP_TRUNCATE | ZIP_CREATE, &code) : NULL;
    if (fd >= 0)
        close(fd);
    enum tet_err err = zip != NULL ? TET_OK
                                   : tet_error_set(&c->error, TET_IO, "%s: %s", path,
                                                   fd < 0 ? strerror(errno)
                                                   : code == ZIP_ER_MEMORY || errno == ENOMEM
                                                       ? "no memory for the archive"
                                                       : "no zip");
    if (err == TET_OK)
        err = add(c, zip, folder, "experiment.json", true);
    if (err == TET_OK)
        err = add(c, zip, folder, "summary.json", false);
    if (err == TET_OK)
        err = add(c, zip, folder, "README.md", false);
    if (err == TET_OK)
        err = add_runs(c, zip, folder);
    if (err == TET_OK && zip_close(zip) != 0)
        err = tet_error_set(&c->error, TET_IO, "%s: %s", path, zip_strerror(zip));
    else if (err == TET_OK)
        zip = NULL;
    if (zip != NULL)
        zip_discard(zip);
    FILE *file = err == TET_OK ? fopen(path, "re") : NULL;
    if (fd >= 0)
        remove(path);
    if (err == TET_OK && file == NULL)
        (void)!tet_error_set(&c->error, TET_IO, "%s: %s", path, strerror(errno));
    return file;
}

static void say(const struct client *c, const json_t *reply)
{
    size_t i;
    const json_t *run;
    if (c->json) {
        client_print(reply);
        return;
    }
    printf("experiment %lld\n", (long long)client_integer(reply, "experiment"));
    json_array_foreach(json_object_get(reply, "runs"), i, run)
    {
        printf("  r%lld was r%lld\n", (long long)client_integer(run, "run"),
               (long long)client_integer(run, "was"));
    }
}

static int send_zip(struct client *c, FILE *file)
{
    struct stat st;
    json_t *reply = NULL;
    int status = STATUS_SERVER;
    if (fstat(fileno(file), &st) == 0 &&
        client_ask(c,
                   &(struct client_request){.method = "POST",
                                            .path = "/v1/import",
                                            .upload = file,
                                            .size = (size_t)st.st_size,
                                            .type = "application/zip"},
                   &reply) == TET_OK &&
        client_good(c, reply, &status)) {
        status = STATUS_OK;
        say(c, reply);
    }
    json_decref(reply);
    return status;
}

int import_command(const struct options *options)
{
    struct client c;
    struct stat st;
    FILE *file = NULL;
    int status = STATUS_FAILED;
    const char *path = options->argument[0];
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK && path == NULL)
        err = tet_error_set(&c.error, TET_BAD_REQUEST,
                            "import needs what export wrote: DIR|FILE.zip");
    if (err == TET_OK && stat(path, &st) != 0)
        err = tet_error_set(&c.error, TET_IO, "%s: %s", path, strerror(errno));
    if (err == TET_OK && S_ISDIR(st.st_mode))
        file = pack(&c, path);
    else if (err == TET_OK && (file = fopen(path, "re")) == NULL)
        err = tet_error_set(&c.error, TET_IO, "%s: %s", path, strerror(errno));
    if (err == TET_OK && file != NULL)
        status = send_zip(&c, file);
    if (file != NULL)
        fclose(file);
    return client_close(&c, status);
}
