// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad export ID --out DIR`: an experiment as files that others can read, run again and import.
 *
 *     experiment.json  summary.json  README.md
 *     runs/ID/run.json  definition.json  metrics.csv  weights.npz
 *
 * Written into DIR.part, which gets its name at the end: a folder of that name is whole. No name comes
 * from a user's text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/client.h"
#include "client/commands.h"
#include "json.h"
#include "text.h"

struct export
{
    struct client client;
    json_int_t id;
    char folder[3000]; // DIR.part
    json_t *experiment;
    struct text readme;
};

static bool put(const char *folder, const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wbe");
    bool good = file != NULL && fputs(text, file) >= 0;
    good = file != NULL && fclose(file) == 0 && good;
    if (!good)
        fprintf(stderr, "tetrad: %s: %s\n", path, strerror(errno));
    return good;
}

/* A JSON value as an indented file. */
static int put_json(const char *folder, const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    const bool good = text != NULL && put(folder, name, text);
    free(text);
    return good ? STATUS_OK : STATUS_IO;
}

static int make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return STATUS_OK;
    fprintf(stderr, "tetrad: %s: %s\n", path, strerror(errno));
    return STATUS_IO;
}

static int fetch(struct client *c, const char *folder, const char *name, const char *path)
{
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", folder, name);
    return client_download(c, path, file);
}

static void describe_run(struct text *readme, const json_t *run)
{
    const char *digest = json_string_value(json_object_get(run, "digest"));
    const long long id = client_integer(run, "id");
    text_printf(readme, "| r%lld | %s | %s | `tetrad run runs/%lld/definition.json` |\n", id,
                client_text(run, "state"), digest != NULL ? client_text(run, "digest") : "-", id);
}

/* One run: what it is, what it measured, what it ended with. */
static int export_run(struct export *e, json_int_t id)
{
    char path[CLIENT_PATH], folder[3100];
    struct client *c = &e->client;
    json_t *run = NULL;
    snprintf(folder, sizeof folder, "%s/runs/%lld", e->folder, (long long)id);
    snprintf(path, sizeof path, "/v1/runs/%lld", (long long)id);
    int status = make_folder(folder);
    if (status == STATUS_OK)
        status = client_want(c, "GET", path, NULL, &run);
    if (status == STATUS_OK)
        status = put_json(folder, "run.json", run);
    if (status == STATUS_OK)
        status = put_json(folder, "definition.json", json_object_get(run, "definition"));
    snprintf(path, sizeof path, "/v1/runs/%lld/metrics?format=csv", (long long)id);
    if (status == STATUS_OK)
        status = fetch(c, folder, "metrics.csv", path);
    snprintf(path, sizeof path, "/v1/runs/%lld/weights.npz", (long long)id);
    const bool kept = json_array_size(json_object_get(run, "checkpoints")) > 0;
    if (status == STATUS_OK && kept)
        status = fetch(c, folder, "weights.npz", path);
    if (status == STATUS_OK)
        describe_run(&e->readme, run);
    json_decref(run);
    return status;
}

static int export_runs(struct export *e)
{
    const json_t *runs = json_object_get(e->experiment, "runs"), *run;
    char folder[3100];
    size_t i;
    snprintf(folder, sizeof folder, "%s/runs", e->folder);
    int status = make_folder(folder);
    text_printf(&e->readme, "| run | state | digest of the weights | again |\n|---|---|---|---|\n");
    json_array_foreach((json_t *)(uintptr_t)runs, i, run)
    {
        if (status == STATUS_OK)
            status = export_run(e, client_integer(run, "id"));
        if (!e->client.json && isatty(STDERR_FILENO))
            fprintf(stderr, "\r%zu of %zu runs", i + 1, json_array_size(runs));
    }
    if (!e->client.json && isatty(STDERR_FILENO))
        fprintf(stderr, "\n");
    return status;
}

static void begin_readme(struct export *e)
{
    char *name = json_dumps(json_object_get(e->experiment, "name"), JSON_ENCODE_ANY);
    text_printf(&e->readme,
                "# An experiment of Tetrad\n\n"
                "Its name: `%s`. Experiment %lld of %s, submitted %s, exported by tetrad %s.\n"
                "Hash of its definition: %s.\n\n"
                "`experiment.json` is the whole experiment, `summary.json` compares the points of "
                "its sweep over seeds,\n`runs/ID/` has of each run the definition with every "
                "default written out, the metrics, and the weights.\n\n"
                "## To reproduce\n\n"
                "A run's weights depend on its definition and its dataset alone, on no processor "
                "and no number of threads. So\nthe same program gives the digest below again; "
                "datasets that are files are named with their SHA-256 in the\ndefinition, and "
                "looked for in the folder that `--data` names. To put all of this into another "
                "server:\n`tetrad import .`, and then `tetrad rerun` of a run compares.\n\n",
                name != NULL ? name : "", (long long)e->id, client_text(e->experiment, "owner"),
                client_text(e->experiment, "created_at"), TETRAD_VERSION,
                client_text(e->experiment, "hash"));
    free(name);
}

static int export_all(struct export *e)
{
    char path[CLIENT_PATH];
    json_t *summary = NULL;
    snprintf(path, sizeof path, "/v1/experiments/%lld", (long long)e->id);
    int status = client_want(&e->client, "GET", path, NULL, &e->experiment);
    if (status == STATUS_OK)
        status = make_folder(e->folder);
    if (status == STATUS_OK)
        status = put_json(e->folder, "experiment.json", e->experiment);
    snprintf(path, sizeof path, "/v1/experiments/%lld/summary", (long long)e->id);
    if (status == STATUS_OK)
        status = client_want(&e->client, "GET", path, NULL, &summary);
    if (status == STATUS_OK)
        status = put_json(e->folder, "summary.json", summary);
    json_decref(summary);
    if (status != STATUS_OK)
        return status;
    begin_readme(e);
    status = export_runs(e);
    if (status == STATUS_OK && !put(e->folder, "README.md", text_get(&e->readme)))
        status = STATUS_IO;
    return status;
}

/* The folder must not be there, or be empty: then it is removed for the one that gets its name. */
static enum tet_err name_folders(struct export *e, const char *out, struct tet_error *error)
{
    char *end = strdup(out);
    if (end == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (size_t n = strlen(end); n > 1 && end[n - 1] == '/'; n--)
        end[n - 1] = '\0';
    const bool fits = snprintf(e->folder, sizeof e->folder, "%s.part", end) < (int)sizeof e->folder;
    free(end);
    if (!fits)
        return tet_error_set(error, TET_IO, "%.60s...: the name is too long", out);
    if (rmdir(out) != 0 && errno != ENOENT)
        return tet_error_set(error, TET_IO, "%s: %s", out,
                             errno == ENOTEMPTY || errno == EEXIST ? "is there already"
                                                                   : strerror(errno));
    return TET_OK;
}

int export_command(const struct options *options)
{
    struct export e = {0};
    struct subject subject;
    struct tet_error error = {0};
    const char *out = options->value[OPTION_OUT];
    int status = STATUS_OK;
    if (!client_subject(options, "export", &subject, &status))
        return status;
    enum tet_err err = TET_OK;
    if (subject.run || out == NULL)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "export is of an experiment into a folder: tetrad export 3 --out DIR");
    if (err == TET_OK)
        err = name_folders(&e, out, &error);
    if (err == TET_OK)
        err = client_open(&e.client, options, &error);
    if (err == TET_OK) {
        e.id = subject.id;
        status = export_all(&e);
        if (status == STATUS_OK && rename(e.folder, out) != 0)
            err = tet_error_set(&error, TET_IO, "%s: %s", out, strerror(errno));
        else if (status == STATUS_OK)
            printf("experiment %lld is in %s\n", (long long)e.id, out);
    }
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    json_decref(e.experiment);
    text_free(&e.readme);
    client_close(&e.client);
    return status;
}
