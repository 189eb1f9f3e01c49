// SPDX-License-Identifier: Apache-2.0
/* fork and rerun: a run once more, from a checkpoint with changes, or as it was. */
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/watch.h"
#include "definition/definition.h"
#include "file.h"

/* A run, and nothing else. */
static bool read_run(const struct options *options, const char *command, struct subject *subject,
                     int *status)
{
    if (!client_subject(options, command, subject, status))
        return false;
    if (subject->run)
        return true;
    fprintf(stderr, "tetrad: %s is of a run, such as r%lld\n", command, subject->id);
    *status = STATUS_USAGE;
    return false;
}

/* --changes: JSON itself, or a file of it. */
static enum tet_err read_changes(const struct options *options, json_t **changes,
                                 struct tet_error *error)
{
    const char *given = options->value[OPTION_CHANGES];
    char *text = NULL;
    size_t size = 0;
    json_error_t why;
    enum tet_err err = TET_OK;
    *changes = json_object();
    if (given == NULL)
        return TET_OK;
    if (given[strspn(given, " \n")] != '{')
        err = file_read(given, DEFINITION_MAX_BYTES, &text, &size, error);
    if (err == TET_OK) {
        json_decref(*changes);
        *changes = json_loads(text != NULL ? text : given, JSON_REJECT_DUPLICATES, &why);
        if (*changes == NULL)
            err = tet_error_set(error, TET_BAD_JSON, "--changes: %s, line %d", why.text, why.line);
    }
    free(text);
    return err;
}

static enum tet_err fork_body(const struct options *options, char **text, struct tet_error *error)
{
    uint64_t step = 0;
    json_t *changes = NULL;
    enum tet_err err = options_count(options, OPTION_STEP, 1, INT64_MAX, 0, &step, error);
    if (err == TET_OK)
        err = read_changes(options, &changes, error);
    if (err == TET_OK) {
        json_t *body = json_pack("{s:O}", "changes", changes);
        if (step > 0)
            json_object_set_new(body, "step", json_integer((json_int_t)step));
        *text = json_dumps(body, JSON_COMPACT);
        json_decref(body);
        if (*text == NULL)
            err = tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    json_decref(changes);
    return err;
}

static int begin_again(struct client *c, const struct options *options,
                       const struct subject *subject, const char *rest, const char *text,
                       json_int_t *run)
{
    char path[CLIENT_PATH];
    json_t *reply = NULL;
    const struct client_body body = {.bytes = text, .size = text != NULL ? strlen(text) : 0};
    int status = client_want(c, "POST", subject_path(path, subject, rest), &body, &reply);
    if (status != STATUS_OK)
        return status;
    *run = client_integer(reply, "first_run");
    if (c->json)
        client_print(c);
    else
        printf("run r%lld, experiment %lld\n", (long long)*run,
               (long long)client_integer(reply, "id"));
    fflush(stdout);
    if (options_switch(options, OPTION_WATCH))
        status = watch_experiment(c, client_integer(reply, "id"));
    json_decref(reply);
    return status;
}

int fork_command(const struct options *options)
{
    struct client c = {0};
    struct subject subject;
    struct tet_error error = {0};
    char *text = NULL;
    json_int_t run;
    int status = STATUS_OK;
    if (!read_run(options, "fork", &subject, &status))
        return status;
    enum tet_err err = fork_body(options, &text, &error);
    if (err == TET_OK)
        err = client_open(&c, options, &error);
    if (err == TET_OK) {
        status = begin_again(&c, options, &subject, "/fork", text, &run);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    client_close(&c);
    free(text);
    return status;
}

/* What came of a rerun: whether the digests agree, and else where they part. */
static int say_whether(struct client *c, json_int_t id)
{
    char path[64];
    json_t *run = NULL;
    snprintf(path, sizeof path, "/v1/runs/%lld", (long long)id);
    int status = client_want(c, "GET", path, NULL, &run);
    if (status != STATUS_OK)
        return status;
    const json_t *rerun = json_object_get(run, "rerun"), *agrees = json_object_get(rerun, "agrees");
    if (json_is_true(agrees)) {
        printf("r%lld agrees with r%lld: %s\n", (long long)id,
               (long long)client_integer(rerun, "of"), client_text(run, "digest"));
    } else if (json_is_false(agrees)) {
        printf("r%lld DIFFERS from r%lld: first at step %lld, in %s\n", (long long)id,
               (long long)client_integer(rerun, "of"),
               (long long)client_integer(rerun, "first_differing_step"),
               client_text(rerun, "first_differing_series"));
        status = STATUS_FAILED;
    }
    json_decref(run);
    return status;
}

int rerun_command(const struct options *options)
{
    struct client c = {0};
    struct subject subject;
    struct tet_error error = {0};
    json_int_t run = 0;
    int status = STATUS_OK;
    if (!read_run(options, "rerun", &subject, &status))
        return status;
    const enum tet_err err = client_open(&c, options, &error);
    if (err == TET_OK) {
        status = begin_again(&c, options, &subject, "/rerun", NULL, &run);
        if (status == STATUS_OK && options_switch(options, OPTION_WATCH) && !c.json)
            status = say_whether(&c, run);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    client_close(&c);
    return status;
}
