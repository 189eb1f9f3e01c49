// SPDX-License-Identifier: Apache-2.0
/* cancel, pause, resume, priority, delete: of experiments (3) and runs (r7), several at once. */
#include <errno.h>
#include <stdlib.h>

#include "client/client.h"
#include "client/commands.h"

struct act {
    const char *name;   // of the command
    const char *method; // "POST" to .../name, or "DELETE"
    const char *done;   // in the words of what is printed
    size_t n;           // arguments that are subjects
    const struct client_body *body;
};

static const char *plural(json_int_t n)
{
    return n == 1 ? "" : "s";
}

static void say(const struct act *act, const struct subject *subject, const json_t *reply)
{
    static const char *const counts[] = {"queued", "running", "paused", "finished", "runs"};
    printf("%s%lld %s", subject->run ? "r" : "", subject->id, act->done);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const json_t *count = json_object_get(reply, counts[i]);
        if (json_is_integer(count) && json_integer_value(count) > 0)
            printf(", %lld %s%s", (long long)json_integer_value(count), i < 4 ? counts[i] : "run",
                   i < 4 ? "" : plural(json_integer_value(count)));
    }
    printf("\n");
}

static int act_on(struct client *c, const struct act *act, const char *text)
{
    struct subject subject;
    struct tet_error error = {0};
    char path[CLIENT_PATH], rest[32];
    json_t *reply = NULL;
    const enum tet_err err = subject_read(&subject, text, &error);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        return status_of(err);
    }
    const bool delete = act->method[0] == 'D';
    snprintf(rest, sizeof rest, "%s%s", delete ? "" : "/", delete ? "" : act->name);
    const int status =
        client_want(c, act->method, subject_path(path, &subject, rest), act->body, &reply);
    if (status == STATUS_OK && c->json)
        client_print(c);
    else if (status == STATUS_OK)
        say(act, &subject, reply);
    json_decref(reply);
    return status;
}

/* All of them, whatever became of one; the first failure is the status. */
static int act_on_all(const struct options *options, const struct act *act)
{
    struct client c = {0};
    struct tet_error error = {0};
    int status = STATUS_OK;
    enum tet_err err = TET_OK;
    if (act->n == 0)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "%s needs experiments such as 3 or runs such as r7", act->name);
    if (err == TET_OK)
        err = client_open(&c, options, &error);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    }
    for (size_t i = 0; err == TET_OK && i < act->n; i++) {
        const int one = act_on(&c, act, options->argument[i]);
        status = status == STATUS_OK ? one : status;
    }
    client_close(&c);
    return status;
}

int cancel_command(const struct options *options)
{
    return act_on_all(options,
                      &(struct act){"cancel", "POST", "cancelled", options->n_arguments, NULL});
}

int pause_command(const struct options *options)
{
    return act_on_all(options,
                      &(struct act){"pause", "POST", "pauses", options->n_arguments, NULL});
}

int resume_command(const struct options *options)
{
    return act_on_all(options,
                      &(struct act){"resume", "POST", "goes on", options->n_arguments, NULL});
}

int delete_command(const struct options *options)
{
    return act_on_all(options,
                      &(struct act){"delete", "DELETE", "deleted", options->n_arguments, NULL});
}

int priority_command(const struct options *options)
{
    char *end = NULL, text[48];
    const size_t n = options->n_arguments;
    errno = 0;
    const long value = n >= 2 ? strtol(options->argument[n - 1], &end, 10) : 0;
    if (n < 2 || *end != '\0' || end == options->argument[n - 1] || errno != 0) {
        fprintf(stderr,
                "tetrad: priority needs experiments or runs, and a number: tetrad priority 3 10 "
                "(higher goes first, from -100 to 100)\n");
        return STATUS_USAGE;
    }
    const struct client_body body = {
        .bytes = text, .size = (size_t)snprintf(text, sizeof text, "{\"priority\":%ld}", value)};
    return act_on_all(options, &(struct act){"priority", "POST", "has its priority", n - 1, &body});
}
