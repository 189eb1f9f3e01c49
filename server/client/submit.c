// SPDX-License-Identifier: Apache-2.0
/* `tetrad submit FILE`, `tetrad fork RUN`, `tetrad rerun RUN`: what makes an experiment. */
#include "client/client.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/watch.h"
#include "definition/definition.h"
#include "file.h"

/* A key of the caller's, or a new one: a submission whose answer was lost is then sent again. */
static const char *make_key(const struct options *options, char key[33])
{
    unsigned char bytes[16];
    if (options->value[OPTION_KEY] != NULL)
        return options->value[OPTION_KEY];
    randombytes_buf(bytes, sizeof bytes);
    return sodium_bin2hex(key, 33, bytes, sizeof bytes);
}

/* Sends it, and says what became of it; *id is the experiment. */
static bool post(struct client *c, const char *path, const char *body, size_t size, json_t **reply,
                 int *status)
{
    char key[33];
    const struct client_request request = {.method = "POST",
                                           .path = path,
                                           .body = body,
                                           .size = size,
                                           .key = make_key(c->options, key)};
    return client_ask(c, &request, reply) == TET_OK && client_good(c, *reply, status);
}

static void say(const struct client *c, const json_t *reply)
{
    const json_int_t id = client_integer(reply, "id"), runs = client_integer(reply, "run_count"),
                     before = client_integer(reply, "queue_position");
    if (json_is_true(json_object_get(reply, "dry_run")))
        printf("fine: %lld run%s, %lld steps, %.1f MiB at most for one run\n", (long long)runs,
               runs == 1 ? "" : "s", (long long)client_integer(reply, "steps"),
               (double)client_integer(reply, "memory_bytes") / 1048576.0);
    else
        printf("experiment %lld, %lld run%s: %s/v1/experiments/%lld\n", (long long)id,
               (long long)runs, runs == 1 ? "" : "s", c->server, (long long)id);
    if (before > 0)
        printf("%lld run%s before it\n", (long long)before, before == 1 ? " is" : "s are");
    fflush(stdout);
}

static int submit(struct client *c, const char *path, const char *body, size_t size,
                  json_int_t *run)
{
    json_t *reply = NULL;
    int status = STATUS_SERVER;
    if (post(c, path, body, size, &reply, &status)) {
        const bool dry = json_is_true(json_object_get(reply, "dry_run"));
        const struct client_id id = {.number = client_integer(reply, "id")};
        const bool watched = options_switch(c->options, OPTION_WATCH) && !dry;
        *run = client_integer(reply, "first_run");
        if (c->json && !watched)
            client_print(reply);
        else if (!c->json)
            say(c, reply);
        status = watched ? watch(c, id) : STATUS_OK;
    }
    json_decref(reply);
    return status;
}

int submit_command(const struct options *options)
{
    struct client c;
    char *text = NULL;
    size_t size = 0;
    json_int_t run = 0;
    int status = STATUS_FAILED;
    const char *path =
        options_switch(options, OPTION_DRY_RUN) ? "/v1/experiments?dry_run=1" : "/v1/experiments";
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK && options->argument[0] == NULL)
        err = tet_error_set(&c.error, TET_BAD_REQUEST,
                            "submit needs a definition: tetrad submit FILE.json");
    if (err == TET_OK)
        err = file_read(options->argument[0], DEFINITION_MAX_BYTES, &text, &size, &c.error);
    if (err == TET_OK)
        status = submit(&c, path, text, size, &run);
    free(text);
    return client_close(&c, status);
}

/* {"step": n, "changes": {...}}; NULL: said why. */
static json_t *fork_body(struct client *c)
{
    uint64_t step = 0;
    const char *changes = c->options->value[OPTION_CHANGES];
    char *text = NULL;
    size_t size = 0;
    json_t *value = json_object();
    enum tet_err err = options_count(c->options, OPTION_STEP, 1, INT64_MAX, 0, &step, &c->error);
    if (err == TET_OK && step == 0)
        err = tet_error_set(&c->error, TET_BAD_REQUEST, "fork needs --step N, a kept checkpoint");
    if (err == TET_OK && changes != NULL) {
        json_decref(value);
        if (changes[strspn(changes, " \t\n")] != '{')
            err = file_read(changes, DEFINITION_MAX_BYTES, &text, &size, &c->error);
        json_error_t at;
        value = err == TET_OK
                    ? json_loads(text != NULL ? text : changes, JSON_REJECT_DUPLICATES, &at)
                    : NULL;
        if (err == TET_OK && !json_whole())
            err = tet_error_set(&c->error, TET_NO_MEMORY, "--changes: out of memory");
        else if (err == TET_OK && !json_is_object(value))
            err = tet_error_set(&c->error, TET_BAD_JSON, "--changes: line %d: %s", at.line,
                                value == NULL ? at.text : "not an object");
    }
    free(text);
    json_t *body =
        err == TET_OK ? json_pack("{s:I, s:O}", "step", (json_int_t)step, "changes", value) : NULL;
    json_decref(value);
    return body;
}

int fork_command(const struct options *options)
{
    struct client c;
    struct client_id id;
    char path[96];
    json_int_t run = 0;
    int status = STATUS_FAILED;
    json_t *body = NULL;
    if (client_open(&c, options) == TET_OK &&
        client_id(&c, options->argument[0], CLIENT_RUN, &id) == TET_OK)
        body = fork_body(&c);
    if (body != NULL) {
        char *text = json_dumps(body, JSON_COMPACT);
        snprintf(path, sizeof path, "/v1/runs/%lld/fork", (long long)id.number);
        if (text != NULL)
            status = submit(&c, path, text, strlen(text), &run);
        free(text);
    }
    json_decref(body);
    return client_close(&c, status);
}

/* What a rerun came to; returns the exit status. */
static int say_agreement(struct client *c, json_int_t run)
{
    json_t *reply = NULL;
    int status = STATUS_SERVER;
    if (client_get(c, &reply, "/v1/runs/%lld", (long long)run) == TET_OK &&
        client_good(c, reply, &status)) {
        const json_t *rerun = json_object_get(reply, "rerun");
        const bool agrees = json_is_true(json_object_get(rerun, "agrees"));
        const json_t *step = json_object_get(rerun, "first_differing_step");
        status = agrees ? STATUS_OK : STATUS_FAILED;
        if (c->json)
            client_print(reply);
        else if (agrees && *client_text(reply, "digest") != '\0')
            printf("the digests agree: %s\n", client_text(reply, "digest"));
        else if (agrees)
            printf("both diverged at the same step, with the same metrics until then\n");
        else if (json_is_integer(step))
            printf("the runs differ, first at step %lld in %s\n",
                   (long long)json_integer_value(step),
                   client_text(rerun, "first_differing_series"));
        else if (json_is_false(json_object_get(rerun, "agrees")))
            printf("the digests do not agree\n");
        else
            printf("there is nothing to compare with: one of the two has no digest\n");
    }
    json_decref(reply);
    return status;
}

int rerun_command(const struct options *options)
{
    struct client c;
    struct client_id id;
    char path[96];
    json_int_t run = 0;
    int status = STATUS_FAILED;
    if (client_open(&c, options) == TET_OK &&
        client_id(&c, options->argument[0], CLIENT_RUN, &id) == TET_OK) {
        snprintf(path, sizeof path, "/v1/runs/%lld/rerun", (long long)id.number);
        status = submit(&c, path, NULL, 0, &run);
        /* A rerun that diverges as the original did has come out as it should. */
        if ((status == STATUS_OK || status == STATUS_DIVERGED) &&
            options_switch(options, OPTION_WATCH))
            status = say_agreement(&c, run);
    }
    return client_close(&c, status);
}
