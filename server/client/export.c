// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad export ID --out DIR`: an experiment as files that a journal could keep, made in DIR.part
 * and renamed when whole. No name of a file comes from the server's texts: only numbers.
 */
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "text.h"

enum { PATH = 4096 };

struct export
{
    struct client *client;
    char part[PATH]; // the folder while it is made
    json_int_t id;
    struct text readme;
};

static enum tet_err failed(struct export *e, const char *path)
{
    return tet_error_set(&e->client->error, TET_IO, "%s: %s", path, strerror(errno));
}

static FILE *create(struct export *e, const char *name, char path[PATH])
{
    if (snprintf(path, PATH, "%s/%s", e->part, name) >= PATH)
        errno = ENAMETOOLONG;
    else {
        FILE *file = fopen(path, "wxe");
        if (file != NULL)
            return file;
    }
    (void)failed(e, path);
    return NULL;
}

static enum tet_err finish(struct export *e, FILE *file, const char *path)
{
    const bool good = fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && good ? TET_OK : failed(e, path);
}

static enum tet_err write_text(struct export *e, const char *name, const char *text)
{
    char path[PATH];
    FILE *file = create(e, name, path);
    if (file == NULL)
        return e->client->error.err;
    fputs(text != NULL ? text : "", file);
    return finish(e, file, path);
}

static enum tet_err write_json(struct export *e, const char *name, const json_t *value)
{
    char *text = json_text(value);
    const enum tet_err err = text != NULL
                                 ? write_text(e, name, text)
                                 : tet_error_set(&e->client->error, TET_NO_MEMORY, "out of memory");
    free(text);
    return err;
}

/* A folder that is not there, or is empty; the one that is made first must not be there. */
static enum tet_err begin(struct export *e, const char *out)
{
    char runs[PATH];
    if (out == NULL)
        return tet_error_set(&e->client->error, TET_BAD_REQUEST, "export needs --out DIR");
    if (snprintf(e->part, sizeof e->part, "%s.part", out) >= (int)sizeof e->part - 100)
        return tet_error_set(&e->client->error, TET_IO, "--out: the name is too long");
    if (rmdir(out) != 0 && errno != ENOENT)
        return tet_error_set(&e->client->error, TET_IO, "%s: %s; export makes a new folder", out,
                             errno == ENOTEMPTY || errno == EEXIST ? "is not empty"
                                                                   : strerror(errno));
    if (mkdir(e->part, 0777) != 0) {
        const enum tet_err err = failed(e, e->part);
        e->part[0] = '\0'; // another's: it stays
        return err;
    }
    snprintf(runs, sizeof runs, "%.4000s/runs", e->part);
    return mkdir(runs, 0777) == 0 ? TET_OK : failed(e, runs);
}

/* ---- metrics ---- */

struct record {
    json_int_t step;
    const char *series;
    const json_t *value;
};

static int by_step(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return x->step != y->step ? (x->step < y->step ? -1 : 1) : strcmp(x->series, y->series);
}

/* A page of whole steps, step by step. */
static enum tet_err write_page(struct export *e, FILE *file, json_int_t run, const json_t *all)
{
    size_t n = 0, k = 0;
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)all, name, one)
    {
        n += json_array_size(json_object_get(one, "steps"));
    }
    struct record *records = calloc(n + 1, sizeof *records);
    if (records == NULL)
        return tet_error_set(&e->client->error, TET_NO_MEMORY, "out of memory");
    json_object_foreach((json_t *)(uintptr_t)all, name, one)
    {
        const json_t *steps = json_object_get(one, "steps");
        for (size_t i = 0; i < json_array_size(steps); i++)
            records[k++] = (struct record){json_integer_value(json_array_get(steps, i)), name,
                                           json_array_get(json_object_get(one, "values"), i)};
    }
    qsort(records, n, sizeof *records, by_step);
    for (size_t i = 0; i < n; i++) {
        char *value = json_is_number(records[i].value) ? json_text(records[i].value) : NULL;
        fprintf(file, "%lld,%lld,%.60s,%s\n", (long long)run, (long long)records[i].step,
                records[i].series, value != NULL ? value : "nan");
        free(value);
    }
    free(records);
    return TET_OK;
}

static enum tet_err write_metrics(struct export *e, json_int_t run, const char *name)
{
    char path[PATH];
    json_int_t after = 0;
    FILE *file = create(e, name, path);
    bool more = file != NULL;
    enum tet_err err = file != NULL ? TET_OK : e->client->error.err;
    int status = STATUS_SERVER;
    if (file != NULL)
        fputs("run,step,series,value\n", file);
    while (more && err == TET_OK) {
        json_t *reply = NULL;
        err = client_get(e->client, &reply, "/v1/runs/%lld/metrics?after=%lld", (long long)run,
                         (long long)after);
        if (err == TET_OK && !client_good(e->client, reply, &status))
            err = tet_error_set(&e->client->error, TET_ADDRESS, "the metrics of r%lld are missing",
                                (long long)run);
        if (err == TET_OK)
            err = write_page(e, file, run, json_object_get(reply, "series"));
        more =
            json_is_true(json_object_get(reply, "more")) && client_integer(reply, "next") > after;
        after = client_integer(reply, "next");
        json_decref(reply);
    }
    if (file == NULL)
        return err;
    const enum tet_err closed = finish(e, file, path);
    return err == TET_OK ? closed : err;
}

/* Weights at a checkpoint: query "" is the newest; *there: a run may have none. */
static enum tet_err write_weights(struct export *e, json_int_t run, const char *query,
                                  const char *name, bool *there)
{
    char path[PATH];
    json_t *reply = NULL;
    FILE *file = create(e, name, path);
    if (file == NULL)
        return e->client->error.err;
    e->client->file = file;
    enum tet_err err =
        client_get(e->client, &reply, "/v1/runs/%lld/weights.npz%s", (long long)run, query);
    e->client->file = NULL;
    const bool none = err == TET_OK && e->client->status == 404;
    if (err == TET_OK && e->client->status != 200 && !none)
        err = tet_error_set(&e->client->error, TET_ADDRESS,
                            "the server answers %ld for the weights of r%lld", e->client->status,
                            (long long)run);
    json_decref(reply);
    const enum tet_err closed = finish(e, file, path);
    *there = !none;
    if (none)
        remove(path);
    return err == TET_OK ? closed : err;
}

/* ---- runs ---- */

/* Names of datasets are of letters, digits, - and _; a stranger's server may say otherwise. */
static void describe_dataset(struct export *e, const json_t *dataset)
{
    const char *sum = client_text(dataset, "sha256"), *name = client_text(dataset, "name");
    const bool plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "-_") == strlen(name);
    if (*name == '\0')
        return;
    text_printf(&e->readme, "- dataset `%s`, ", plain ? name : "?");
    if (*sum != '\0')
        text_printf(&e->readme, "`%.71s`\n", sum);
    else
        text_puts(&e->readme, "made anew from the definition\n");
}

/* started: start.npz is there. */
static void describe(struct export *e, const json_t *run, bool started)
{
    const json_t *definition = json_object_get(run, "definition");
    const json_int_t id = client_integer(run, "id");
    text_printf(&e->readme, "\n## Run r%lld: %s\n\n- hash `%s`\n", (long long)id,
                client_text(run, "state"), client_text(run, "hash"));
    describe_dataset(e, json_object_get(definition, "dataset"));
    if (json_object_get(definition, "fork") != NULL)
        text_puts(&e->readme,
                  started ? "- began at a checkpoint of another run, start.npz: `tetrad import` "
                            "this folder, then `tetrad rerun` the run's new number\n"
                          : "- began at a checkpoint of another run that is not kept any more: "
                            "`tetrad fork` makes it again where that run is\n");
    else
        text_printf(&e->readme, "- `tetrad run runs/%lld/definition.json`\n", (long long)id);
    if (*client_text(run, "digest") != '\0')
        text_printf(&e->readme, "- must end with digest `%s`\n", client_text(run, "digest"));
}

static enum tet_err export_run(struct export *e, json_int_t id)
{
    char name[96], path[PATH], query[64];
    bool there = false, started = false;
    json_t *run = NULL;
    int status = STATUS_SERVER;
    enum tet_err err = client_get(e->client, &run, "/v1/runs/%lld", (long long)id);
    if (err == TET_OK && !client_good(e->client, run, &status))
        err = tet_error_set(&e->client->error, TET_ADDRESS, "run r%lld is not to be had",
                            (long long)id);
    snprintf(path, sizeof path, "%.4000s/runs/%lld", e->part, (long long)id);
    if (err == TET_OK && mkdir(path, 0777) != 0)
        err = failed(e, path);
#define NAME(file) (snprintf(name, sizeof name, "runs/%lld/" file, (long long)id), name)
    if (err == TET_OK)
        err = write_json(e, NAME("run.json"), run);
    if (err == TET_OK)
        err = write_json(e, NAME("definition.json"), json_object_get(run, "definition"));
    if (err == TET_OK && json_is_object(json_object_get(run, "protocol")))
        err = write_json(e, NAME("protocol.json"), json_object_get(run, "protocol"));
    if (err == TET_OK)
        err = write_metrics(e, id, NAME("metrics.csv"));
    if (err == TET_OK)
        err = write_weights(e, id, "", NAME("weights.npz"), &there);
    const json_t *fork = json_object_get(json_object_get(run, "definition"), "fork");
    snprintf(query, sizeof query, "?state=true&step=%lld", (long long)client_integer(fork, "step"));
    if (err == TET_OK && fork != NULL)
        err = write_weights(e, id, query, NAME("start.npz"), &started);
#undef NAME
    describe(e, run, started);
    json_decref(run);
    return err;
}

static enum tet_err export_all(struct export *e)
{
    json_t *experiment = NULL, *summary = NULL;
    const json_t *run;
    size_t i;
    int status = STATUS_SERVER;
    enum tet_err err = client_get(e->client, &experiment, "/v1/experiments/%lld", (long long)e->id);
    if (err == TET_OK && !client_good(e->client, experiment, &status))
        err = tet_error_set(&e->client->error, TET_ADDRESS, "experiment %lld is not to be had",
                            (long long)e->id);
    text_printf(
        &e->readme,
        "# Experiment %lld\n\nExported by tetrad %s. `experiment.json` is what the server "
        "says of it, hash `%s`; `summary.json` compares its points.\nDatasets are not part "
        "of this folder: a run on one with a checksum needs `--data DIR`. The same bits come out "
        "on any machine.\n",
        (long long)e->id, TETRAD_VERSION, client_text(experiment, "hash"));
    if (err == TET_OK)
        err = write_json(e, "experiment.json", experiment);
    if (err == TET_OK)
        err = client_get(e->client, &summary, "/v1/experiments/%lld/summary", (long long)e->id);
    if (err == TET_OK && e->client->status == 200)
        err = write_json(e, "summary.json", summary);
    json_array_foreach(json_object_get(experiment, "runs"), i, run)
    {
        if (err == TET_OK && client_interrupted)
            err = tet_error_set(&e->client->error, TET_IO, "interrupted");
        if (err == TET_OK)
            err = export_run(e, client_integer(run, "id"));
    }
    if (err == TET_OK)
        err = write_text(e, "README.md", text_get(&e->readme));
    json_decref(experiment);
    json_decref(summary);
    return err;
}

/* Takes away what was made: only what export makes has these names. */
static void remove_part(const struct export *e, const json_t *runs)
{
    static const char *const files[] = {"run.json",    "definition.json", "protocol.json",
                                        "metrics.csv", "weights.npz",     "start.npz"};
    static const char *const tops[] = {"experiment.json", "summary.json", "README.md", "runs"};
    char path[PATH];
    size_t i;
    const json_t *run;
    json_array_foreach(runs, i, run)
    {
        const long long id = client_integer(run, "id");
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            snprintf(path, sizeof path, "%.4000s/runs/%lld/%s", e->part, id, files[k]);
            remove(path);
        }
        snprintf(path, sizeof path, "%.4000s/runs/%lld", e->part, id);
        remove(path);
    }
    for (size_t k = 0; k < sizeof tops / sizeof *tops; k++) {
        snprintf(path, sizeof path, "%.4000s/%s", e->part, tops[k]);
        remove(path);
    }
    remove(e->part);
}

static void undo(const struct export *e)
{
    char path[PATH], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%.4000s/experiment.json", e->part);
    json_t *experiment = file_read(path, (size_t)256 << 20, &text, &size, NULL) == TET_OK
                             ? json_loadb(text, size, 0, NULL)
                             : NULL;
    remove_part(e, json_object_get(experiment, "runs"));
    json_decref(experiment);
    free(text);
}

int export_command(const struct options *options)
{
    struct client c;
    struct export e = {.client = &c};
    struct client_id id;
    const char *out = options->value[OPTION_OUT];
    enum tet_err err = client_open(&c, options);
    c.raw = true;
    client_catch_interrupt();
    if (err == TET_OK)
        err = client_id(&c, options->argument[0], CLIENT_EXPERIMENT, &id);
    if (err == TET_OK)
        err = begin(&e, out);
    if (err == TET_OK) {
        e.id = id.number;
        err = export_all(&e);
    }
    if (err == TET_OK && rename(e.part, out) != 0)
        err = failed(&e, out);
    if (err == TET_OK && c.json)
        printf("{\"experiment\":%lld}\n", (long long)e.id);
    else if (err == TET_OK)
        printf("experiment %lld is in %s; its README.md says how to reproduce it\n",
               (long long)e.id, out);
    if (err != TET_OK && e.part[0] != '\0')
        undo(&e);
    text_free(&e.readme);
    return client_close(&c, err == TET_OK ? STATUS_OK : STATUS_FAILED);
}
