// SPDX-License-Identifier: Apache-2.0
/* `tetrad submit`: a client of the HTTP interface, by libcurl. */
#include "submit.h"

#include <curl/curl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "definition/definition.h"
#include "file.h"
#include "protocol.h"
#include "table.h"
#include "terminal.h"

enum { REPLY_MAX = 256 << 20, RETRIES = 100 };

struct client {
    CURL *curl;
    const char *server;
    char *body; // of the last reply
    size_t size;
    long status; // of the last reply
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static size_t take(char *bytes, size_t one, size_t n, void *context)
{
    struct client *c = context;
    if (n > REPLY_MAX - c->size)
        return 0;
    char *grown = realloc(c->body, c->size + n + 1);
    if (grown == NULL)
        return 0;
    c->body = grown;
    memcpy(c->body + c->size, bytes, n * one);
    c->size += n;
    c->body[c->size] = '\0';
    return n;
}

/* One request; body NULL: GET. *reply is a new value, or NULL where the reply is not JSON. */
static enum tet_err ask(struct client *c, const char *path, const char *body, size_t size,
                        json_t **reply, struct tet_error *error)
{
    char url[1024], reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    *reply = NULL;
    if (snprintf(url, sizeof url, "%s%s", c->server, path) >= (int)sizeof url)
        return tet_error_set(error, TET_BAD_REQUEST, "the server's URL is too long");
    free(c->body);
    c->body = NULL;
    c->size = 0;
    curl_easy_reset(c->curl);
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, reason);
    if (body != NULL) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    }
    const CURLcode code = curl_easy_perform(c->curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return tet_error_set(error, TET_ADDRESS, "%s: %s", c->server,
                             *reason != '\0' ? reason : curl_easy_strerror(code));
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    *reply = json_loadb(c->body != NULL ? c->body : "", c->size, 0, NULL);
    if (*reply == NULL)
        return tet_error_set(error, TET_ADDRESS,
                             "%s does not answer in JSON: is it a Tetrad server?", c->server);
    return TET_OK;
}

/* Prints an error reply; returns the exit status. */
static int refuse(const struct client *c, const json_t *reply)
{
    const json_t *error = json_object_get(reply, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    fprintf(stderr, "tetrad: the server answers %ld: %s\n", c->status,
            message != NULL ? message : "?");
    faults_print(stderr, json_object_get(error, "details"));
    return c->status == 422 || c->status == 400 ? STATUS_DEFINITION : STATUS_SERVER;
}

static json_int_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool ended(const char *state)
{
    return state != NULL && strcmp(state, "queued") != 0 && strcmp(state, "running") != 0 &&
           strcmp(state, "paused") != 0;
}

/* Draws the experiment's progress; returns whether all its runs have ended. What is left is told
 * from the share of steps that the experiment has made since it was first shown. */
static bool show(struct terminal *terminal, const json_t *experiment)
{
    struct progress_line line = {.seconds_left = -1, .loss = NAN, .accuracy = NAN};
    size_t done = 0, paused = 0, i;
    const json_t *runs = json_object_get(experiment, "runs"), *run;
    json_array_foreach(runs, i, run)
    {
        const json_t *progress = json_object_get(run, "progress");
        const char *state = json_string_value(json_object_get(run, "state"));
        line.steps += (uint64_t)integer(progress, "steps");
        line.step +=
            (uint64_t)(ended(state) ? integer(progress, "steps") : integer(progress, "step"));
        done += ended(state);
        paused += state != NULL && strcmp(state, "paused") == 0;
        if (state != NULL && strcmp(state, "running") == 0)
            line.samples_per_second +=
                json_number_value(json_object_get(progress, "samples_per_s"));
    }
    const double now = (double)time(NULL), made = (double)(line.step - terminal->first_step);
    if (terminal->first_time == 0.0) {
        terminal->first_time = now;
        terminal->first_step = line.step;
    } else if (made > 0) {
        line.seconds_left = (now - terminal->first_time) / made * (double)(line.steps - line.step);
    }
    char title[96];
    const int n =
        snprintf(title, sizeof title, "%zu of %zu runs done", done, json_array_size(runs));
    if (paused > 0)
        snprintf(title + n, sizeof title - (size_t)n, ", %zu paused", paused);
    line.title = title;
    terminal_show(terminal, &line);
    return done == json_array_size(runs);
}

static bool series_of(const char *name, enum tet_series *series, uint32_t *layer)
{
    char text[TET_SERIES_NAME];
    const char *slash = strrchr(name, '/');
    *layer = slash != NULL ? (uint32_t)strtoul(slash + 1, NULL, 10) : 0;
    for (int s = 0; s < TET_SERIES_COUNT; s++) {
        tet_series_text((enum tet_series)s, *layer, text);
        if (strcmp(text, name) == 0) {
            *series = (enum tet_series)s;
            return true;
        }
    }
    return false;
}

static void take_series(struct outcome *outcome, const json_t *all)
{
    const char *name;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)all, name, one)
    {
        enum tet_series series;
        uint32_t layer;
        const json_t *steps = json_object_get(one, "steps"),
                     *values = json_object_get(one, "values");
        if (!series_of(name, &series, &layer))
            continue;
        for (size_t i = 0; i < json_array_size(steps); i++)
            outcome_take(outcome, series, layer,
                         (uint64_t)json_integer_value(json_array_get(steps, i)),
                         json_number_value(json_array_get(values, i)));
    }
}

/* All metrics of a run, page by page. */
static enum tet_err read_metrics(struct client *c, json_int_t run, struct outcome *outcome,
                                 struct tet_error *error)
{
    json_int_t after = 0;
    bool more = true;
    enum tet_err err = TET_OK;
    while (more && err == TET_OK) {
        char path[96];
        json_t *reply = NULL;
        snprintf(path, sizeof path, "/v1/runs/%lld/metrics?after=%lld", (long long)run,
                 (long long)after);
        err = ask(c, path, NULL, 0, &reply, error);
        take_series(outcome, json_object_get(reply, "series"));
        after = integer(reply, "next");
        more = json_is_true(json_object_get(reply, "more"));
        json_decref(reply);
    }
    return err;
}

/* Prints a protocol run's table; *printed counts them. */
static void show_protocol(const json_t *run, const struct outcome *outcome, size_t *printed)
{
    const json_t *rows = json_object_get(json_object_get(run, "protocol"), "rows");
    if (rows == NULL)
        return;
    printf("%s%s, seed %lld: %.8s\n", *printed > 0 ? "\n" : "", outcome->label,
           (long long)outcome->seed, outcome->digest + strlen("sha256:"));
    protocol_print(stdout, rows);
    (*printed)++;
}

static enum tet_err read_outcome(struct client *c, json_int_t id, struct outcome *outcome,
                                 size_t *protocols, struct tet_error *error)
{
    char path[64];
    json_t *run = NULL;
    snprintf(path, sizeof path, "/v1/runs/%lld", (long long)id);
    enum tet_err err = ask(c, path, NULL, 0, &run, error);
    if (err == TET_OK) {
        const json_t *progress = json_object_get(run, "progress");
        outcome_begin(outcome, json_object_get(run, "definition"),
                      json_object_get(run, "parameters"), (uint64_t)integer(progress, "steps"));
        const char *digest = json_string_value(json_object_get(run, "digest"));
        const char *state = json_string_value(json_object_get(run, "state"));
        snprintf(outcome->digest, sizeof outcome->digest, "%s", digest != NULL ? digest : "");
        outcome->state = RUN_FAILED;
        for (int s = 0; s < RUN_STATES_COUNT; s++)
            if (state != NULL && strcmp(state, run_state_text((enum run_state)s)) == 0)
                outcome->state = (enum run_state)s;
        const char *reason = json_string_value(json_object_get(run, "reason"));
        if (outcome->state != RUN_SUCCEEDED)
            fprintf(stderr, "tetrad: run %lld %s: %s\n", (long long)id, state,
                    reason != NULL ? reason : "");
        show_protocol(run, outcome, protocols);
        err = read_metrics(c, id, outcome, error);
    }
    json_decref(run);
    return err;
}

static int show_results(struct client *c, const json_t *experiment, struct tet_error *error)
{
    const json_t *runs = json_object_get(experiment, "runs");
    const size_t n = json_array_size(runs);
    struct outcome *outcomes = calloc(n + 1, sizeof *outcomes);
    size_t protocols = 0;
    int status = STATUS_OK;
    enum tet_err err =
        outcomes != NULL ? TET_OK : tet_error_set(error, TET_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n && err == TET_OK; i++) {
        err = read_outcome(c, integer(json_array_get(runs, i), "id"), &outcomes[i], &protocols,
                           error);
        if (err == TET_OK && outcomes[i].state != RUN_SUCCEEDED)
            status = outcomes[i].state == RUN_DIVERGED ? STATUS_DIVERGED : STATUS_FAILED;
    }
    if (err == TET_OK && protocols < n)
        table_print(stdout, outcomes, n);
    free(outcomes);
    return err == TET_OK ? status : STATUS_SERVER;
}

static void wait_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 300000000};
    nanosleep(&pause, NULL);
}

static int watch(struct client *c, json_int_t id, struct tet_error *error)
{
    char path[64];
    struct terminal terminal;
    json_t *experiment = NULL;
    int status = STATUS_OK;
    bool done = false;
    snprintf(path, sizeof path, "/v1/experiments/%lld", (long long)id);
    terminal_begin(&terminal, stderr);
    for (int failed = 0; !done && !interrupted && failed < RETRIES;) {
        struct tet_error now = {0};
        json_t *reply = NULL;
        const enum tet_err err = ask(c, path, NULL, 0, &reply, &now);
        failed = err == TET_OK && c->status != 503 ? 0 : failed + 1; // it may be restarting
        if (failed == RETRIES)
            *error = now;
        if (err == TET_OK && c->status == 200)
            done = show(&terminal, reply);
        json_decref(experiment);
        experiment = reply;
        if (failed == 0 && c->status != 200)
            break;
        if (!done)
            wait_a_little();
    }
    terminal_end(&terminal);
    if (interrupted) {
        status = STATUS_INTERRUPTED;
        fprintf(stderr,
                "experiment %lld goes on: %s%s; to cancel it: curl -X POST %s%s/cancel -H "
                "'Content-Type: "
                "application/json'\n",
                (long long)id, c->server, path, c->server, path);
    } else if (!done)
        status = error->err == TET_OK ? refuse(c, experiment) : STATUS_SERVER;
    else
        status = show_results(c, experiment, error);
    json_decref(experiment);
    return status;
}

static int submit(struct client *c, const struct options *options, const char *text, size_t size,
                  struct tet_error *error)
{
    json_t *reply = NULL;
    int status = STATUS_OK;
    if (ask(c, "/v1/experiments", text, size, &reply, error) != TET_OK)
        return STATUS_SERVER;
    if (c->status != 201 && c->status != 200) {
        status = refuse(c, reply);
    } else {
        const json_int_t id = integer(reply, "id");
        const json_int_t runs = integer(reply, "run_count"),
                         before = integer(reply, "queue_position");
        printf("experiment %lld, %lld run%s: %s/v1/experiments/%lld\n", (long long)id,
               (long long)runs, runs == 1 ? "" : "s", c->server, (long long)id);
        if (before > 0)
            printf("%lld run%s %s before it\n", (long long)before, before == 1 ? "" : "s",
                   before == 1 ? "is" : "are");
        fflush(stdout);
        if (options_switch(options, OPTION_WATCH))
            status = watch(c, id, error);
    }
    json_decref(reply);
    return status;
}

int submit_command(const struct options *options)
{
    char *server = options->value[OPTION_SERVER];
    struct client c = {.server = server};
    for (size_t n = strlen(server); n > 0 && server[n - 1] == '/'; n--)
        server[n - 1] = '\0';
    struct tet_error error = {0};
    char *text = NULL;
    size_t size = 0;
    int status = STATUS_FAILED;
    enum tet_err err = TET_OK;
    const struct sigaction action = {.sa_handler = on_interrupt};
    if (options->argument[0] == NULL)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "submit needs a definition: tetrad submit FILE.json");
    if (err == TET_OK)
        err = file_read(options->argument[0], DEFINITION_MAX_BYTES, &text, &size, &error);
    if (err == TET_OK &&
        (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (c.curl = curl_easy_init()) == NULL))
        err = tet_error_set(&error, TET_NO_MEMORY, "libcurl cannot start");
    if (err == TET_OK) {
        sigaction(SIGINT, &action, NULL);
        status = submit(&c, options, text, size, &error);
    } else {
        status = status_of(err);
    }
    if (error.err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error.message);
    if (c.curl != NULL)
        curl_easy_cleanup(c.curl);
    curl_global_cleanup();
    free(c.body);
    free(text);
    return status;
}
