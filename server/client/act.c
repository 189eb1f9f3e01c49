// SPDX-License-Identifier: Apache-2.0
/* `tetrad cancel|pause|resume|priority|delete`: changes what a server has. */
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "queued 2, running 1": the numbers of a reply. */
static void print_counts(const json_t *reply)
{
    const char *key, *before = " ";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)reply, key, value)
    {
        if (!json_is_integer(value) || strcmp(key, "experiment") == 0 || strcmp(key, "run") == 0 ||
            strcmp(key, "id") == 0)
            continue;
        printf("%s%s %lld", before, key, (long long)json_integer_value(value));
        before = ", ";
    }
}

struct action {
    const char *method, *name, *body; // name "": the thing itself
    json_t *results;
    int status; // the last refusal's
};

/* One request; what came of it is printed, or kept for --json. */
static enum tet_err act_on(struct client *c, struct action *a, struct client_id id)
{
    char path[96], text[32];
    json_t *reply = NULL;
    const bool json = c->json;
    const struct client_request request = {.method = a->method,
                                           .path = path,
                                           .body = a->body,
                                           .size = a->body != NULL ? strlen(a->body) : 0};
    snprintf(path, sizeof path, "/v1/%ss/%lld%s%s", client_kind(id), (long long)id.number,
             *a->name != '\0' ? "/" : "", a->name);
    client_id_text(id, text);
    const enum tet_err err = client_ask(c, &request, &reply);
    c->json = false; // one document, at the end
    const bool good = err == TET_OK && client_good(c, reply, &a->status);
    c->json = json;
    if (json && err == TET_OK) {
        json_array_append_new(a->results, json_pack("{s:s, s:I, s:O}", "id", text, "status",
                                                    (json_int_t)c->status, "reply", reply));
    } else if (good) {
        printf("%s %s %s:", *a->name != '\0' ? a->name : "delete", client_kind(id), text);
        print_counts(reply);
        putchar('\n');
    }
    json_decref(reply);
    return err;
}

/* The first n arguments; goes on after one that was refused. With --json:
 * {"results": [{"id", "status", "reply"}]}. */
static int act(struct client *c, const char *method, const char *name, const char *body, size_t n,
               int allowed)
{
    struct client_id ids[OPTIONS_ARGUMENTS];
    struct action a = {.method = method, .name = name, .body = body, .results = json_array()};
    enum tet_err err = n == 0 ? client_id(c, NULL, allowed, &ids[0]) : TET_OK;
    for (size_t i = 0; i < n && err == TET_OK; i++)
        err = client_id(c, c->options->argument[i], allowed, &ids[i]); // before anything is done
    for (size_t i = 0; i < n && err == TET_OK; i++)
        err = act_on(c, &a, ids[i]);
    if (c->json && err == TET_OK) {
        json_t *all = json_pack("{s:O}", "results", a.results);
        client_print(all);
        json_decref(all);
    }
    json_decref(a.results);
    return a.status;
}

static int simple(const struct options *options, const char *action)
{
    struct client c;
    int status = STATUS_FAILED;
    if (client_open(&c, options) == TET_OK)
        status =
            act(&c, "POST", action, NULL, options->n_arguments, CLIENT_EXPERIMENT + CLIENT_RUN);
    return client_close(&c, status);
}

int cancel_command(const struct options *options)
{
    return simple(options, "cancel");
}

int pause_command(const struct options *options)
{
    return simple(options, "pause");
}

int resume_command(const struct options *options)
{
    return simple(options, "resume");
}

int priority_command(const struct options *options)
{
    struct client c;
    int status = STATUS_FAILED;
    char *end = NULL, body[64];
    const size_t n = options->n_arguments;
    const char *text = n >= 2 ? options->argument[n - 1] : "";
    const long value = strtol(text, &end, 10);
    enum tet_err err = client_open(&c, options);
    if (err == TET_OK && (end == text || *end != '\0' || value < -100 || value > 100))
        err = tet_error_set(&c.error, TET_BAD_REQUEST,
                            "priority: found \"%.40s\", allowed identities and then a number from "
                            "-100 to 100",
                            text);
    snprintf(body, sizeof body, "{\"priority\":%ld}", value);
    if (err == TET_OK)
        status = act(&c, "POST", "priority", body, n - 1, CLIENT_EXPERIMENT + CLIENT_RUN);
    return client_close(&c, status);
}

/* Deleting cannot be undone: it takes --yes, or a yes on the terminal. */
static enum tet_err ask_first(struct client *c)
{
    char answer[16] = "";
    if (options_switch(c->options, OPTION_YES))
        return TET_OK;
    if (!isatty(STDIN_FILENO))
        return tet_error_set(&c->error, TET_BAD_REQUEST, "delete cannot be undone: add --yes");
    fprintf(stderr, "delete %zu experiment%s with all runs, weights and records? [y/N] ",
            c->options->n_arguments, c->options->n_arguments == 1 ? "" : "s");
    if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y'))
        return tet_error_set(&c->error, TET_BAD_REQUEST, "nothing was deleted");
    return TET_OK;
}

int delete_command(const struct options *options)
{
    struct client c;
    int status = STATUS_FAILED;
    if (client_open(&c, options) == TET_OK && ask_first(&c) == TET_OK)
        status = act(&c, "DELETE", "", NULL, options->n_arguments, CLIENT_EXPERIMENT);
    return client_close(&c, status);
}
