// SPDX-License-Identifier: Apache-2.0
/* `tetrad submit FILE.json`: sends an experiment to a server, and may watch it to its end. */
#include <stdlib.h>

#include "client/commands.h"
#include "client/watch.h"
#include "definition/definition.h"
#include "file.h"

static void say_submitted(const struct client *c, const json_t *reply)
{
    const long long id = client_integer(reply, "id"), runs = client_integer(reply, "run_count"),
                    before = client_integer(reply, "queue_position");
    printf("experiment %lld, %lld run%s: %s/v1/experiments/%lld\n", id, runs, runs == 1 ? "" : "s",
           c->server, id);
    if (before > 0)
        printf("%lld run%s %s before it\n", before, before == 1 ? "" : "s",
               before == 1 ? "is" : "are");
}

static void say_checked(const json_t *reply)
{
    const json_t *seconds = json_object_get(reply, "estimated_seconds");
    printf("no faults: %lld runs, %lld steps, at most %.1f MiB each",
           (long long)client_integer(reply, "run_count"), (long long)client_integer(reply, "steps"),
           (double)client_integer(reply, "memory_bytes") / 1048576.0);
    if (json_is_number(seconds))
        printf(", about %.0f s on idle workers", json_number_value(seconds));
    printf("\n%s\n", client_text(reply, "hash"));
}

static int submit(struct client *c, const struct options *options, const struct client_body *body)
{
    const bool dry = options_switch(options, OPTION_DRY_RUN);
    json_t *reply = NULL;
    int status =
        client_want(c, "POST", dry ? "/v1/experiments?dry_run=1" : "/v1/experiments", body, &reply);
    if (status != STATUS_OK)
        return status;
    if (c->json)
        client_print(c);
    else if (dry)
        say_checked(reply);
    else
        say_submitted(c, reply);
    fflush(stdout);
    if (!dry && options_switch(options, OPTION_WATCH))
        status = watch_experiment(c, client_integer(reply, "id"));
    json_decref(reply);
    return status;
}

int submit_command(const struct options *options)
{
    struct client c = {0};
    struct tet_error error = {0};
    char *text = NULL;
    size_t size = 0;
    int status = STATUS_FAILED;
    enum tet_err err = TET_OK;
    if (options->n_arguments != 1)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "submit needs a definition: tetrad submit FILE.json");
    if (err == TET_OK)
        err = file_read(options->argument[0], DEFINITION_MAX_BYTES, &text, &size, &error);
    if (err == TET_OK)
        err = client_open(&c, options, &error);
    if (err == TET_OK) {
        client_watch_interrupts();
        const struct client_body body = {
            .bytes = text, .size = size, .key = options->value[OPTION_KEY]};
        status = submit(&c, options, &body);
    } else {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    client_close(&c);
    free(text);
    return status;
}
