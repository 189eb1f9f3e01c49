// SPDX-License-Identifier: Apache-2.0
/* Following an experiment: see watch.h. */
#include "client/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/commands.h"
#include "protocol.h"
#include "table.h"
#include "terminal.h"

enum { RETRIES = 100, PAUSE_MS = 300 };

/* ---- progress ---- */

static bool ended(const char *state)
{
    return state != NULL && strcmp(state, "queued") != 0 && strcmp(state, "running") != 0 &&
           strcmp(state, "paused") != 0;
}

/* Draws the experiment's progress; returns whether all its runs have ended. What is left is told
 * from the share of steps that the experiment has made since it was first shown. */
static bool show(struct terminal *terminal, const json_t *experiment, bool quiet)
{
    struct progress_line line = {.seconds_left = -1, .loss = NAN, .accuracy = NAN};
    size_t done = 0, paused = 0, i;
    const json_t *runs = json_object_get(experiment, "runs"), *run;
    json_array_foreach(runs, i, run)
    {
        const json_t *progress = json_object_get(run, "progress");
        const char *state = json_string_value(json_object_get(run, "state"));
        line.steps += (uint64_t)client_integer(progress, "steps");
        line.step += (uint64_t)(ended(state) ? client_integer(progress, "steps")
                                             : client_integer(progress, "step"));
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
    if (!quiet)
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
        err = client_ask(c, "GET", path, NULL, &reply, error);
        take_series(outcome, json_object_get(reply, "series"));
        after = client_integer(reply, "next");
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
    enum tet_err err = client_ask(c, "GET", path, NULL, &run, error);
    if (err == TET_OK) {
        const json_t *progress = json_object_get(run, "progress");
        outcome_begin(outcome, json_object_get(run, "definition"),
                      json_object_get(run, "parameters"),
                      (uint64_t)client_integer(progress, "steps"));
        const char *digest = json_string_value(json_object_get(run, "digest"));
        const char *state = json_string_value(json_object_get(run, "state"));
        snprintf(outcome->digest, sizeof outcome->digest, "%s", digest != NULL ? digest : "");
        outcome->state = RUN_FAILED;
        for (int s = 0; s < RUN_STATES_COUNT; s++)
            if (state != NULL && strcmp(state, run_state_text((enum run_state)s)) == 0)
                outcome->state = (enum run_state)s;
        if (outcome->state != RUN_SUCCEEDED)
            fprintf(stderr, "tetrad: run %lld %s: %s\n", (long long)id, client_text(run, "state"),
                    client_text(run, "reason"));
        if (!c->json)
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
        err = read_outcome(c, client_integer(json_array_get(runs, i), "id"), &outcomes[i],
                           &protocols, error);
        if (err == TET_OK && outcomes[i].state != RUN_SUCCEEDED)
            status = outcomes[i].state == RUN_DIVERGED ? STATUS_DIVERGED : STATUS_FAILED;
    }
    if (err == TET_OK && protocols < n && !c->json)
        table_print(stdout, outcomes, n);
    free(outcomes);
    return err == TET_OK ? status : STATUS_SERVER;
}

/* ---- events ---- */

struct following {
    struct client *client;
    json_int_t id;
    struct terminal terminal;
    json_t *experiment; // as it was read, with what the events said since
    bool done, stale;   // stale: to be read again
};

/* The run of the experiment, a borrowed reference. */
static json_t *find_run(const json_t *experiment, json_int_t id)
{
    const json_t *runs = json_object_get(experiment, "runs");
    const json_int_t first = client_integer(json_array_get(runs, 0), "id");
    json_t *guess = id >= first ? json_array_get(runs, (size_t)(id - first)) : NULL;
    size_t i;
    json_t *run;
    if (guess != NULL && client_integer(guess, "id") == id)
        return guess; // ids of a submission are consecutive
    json_array_foreach((json_t *)(uintptr_t)runs, i, run)
    {
        if (client_integer(run, "id") == id)
            return run;
    }
    return NULL;
}

static void take_progress(struct following *f, const json_t *data)
{
    size_t i;
    const json_t *news;
    json_array_foreach(json_object_get(data, "runs"), i, news)
    {
        json_t *run = find_run(f->experiment, client_integer(news, "run"));
        if (run != NULL)
            json_object_update(json_object_get(run, "progress"), (json_t *)(uintptr_t)news);
    }
}

static bool take_news(void *context, const char *type, const json_t *data)
{
    struct following *f = context;
    if (f->client->json && data != NULL) {
        char *line = json_dumps(data, JSON_COMPACT);
        printf("{\"event\":\"%s\",\"data\":%s}\n",
               strcmp(type, "state") == 0      ? "state"
               : strcmp(type, "progress") == 0 ? "progress"
                                               : "other",
               line != NULL ? line : "null");
        fflush(stdout);
        free(line);
    }
    if (strcmp(type, "progress") == 0) {
        take_progress(f, data);
    } else if (strcmp(type, "state") == 0) {
        json_t *run = find_run(f->experiment, client_integer(data, "run"));
        if (run != NULL)
            json_object_set(run, "state", json_object_get(data, "state"));
    } else if (strcmp(type, "missed") == 0 || strcmp(type, "changed") == 0) {
        f->stale = true;
        return false;
    }
    f->done = show(&f->terminal, f->experiment, f->client->json);
    return !f->done;
}

static void wait_a_little(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    nanosleep(&pause, NULL);
}

/* Reads the experiment. false: the server cannot be reached now, or says no (*status). */
static bool read_again(struct following *f, int *status, struct tet_error *error)
{
    char path[64];
    json_t *reply = NULL;
    snprintf(path, sizeof path, "/v1/experiments/%lld", (long long)f->id);
    *error = (struct tet_error){0};
    *status = STATUS_OK;
    if (client_ask(f->client, "GET", path, NULL, &reply, error) != TET_OK ||
        f->client->status == 503) {
        json_decref(reply); // it may be restarting
        return false;
    }
    if (f->client->status != 200) {
        *status = client_refuse(f->client, reply);
        json_decref(reply);
        return false;
    }
    json_decref(f->experiment);
    f->experiment = reply;
    f->stale = false;
    f->done = show(&f->terminal, f->experiment, f->client->json);
    return true;
}

/* Until the end, an interruption, or no more hope. Events that come before the experiment is read are
 * lost to us, so it is read once more after the stream has begun to be asked for: by polling between
 * streams. */
static int follow(struct following *f, struct tet_error *error)
{
    char path[96];
    int status = STATUS_OK;
    bool events = true;
    snprintf(path, sizeof path, "/v1/events?types=state,progress&experiment=%lld",
             (long long)f->id);
    for (int failed = 0; !f->done && !client_interrupted() && failed < RETRIES;) {
        if (!read_again(f, &status, error)) {
            if (status != STATUS_OK)
                return status;
            failed++;
        } else {
            failed = 0;
        }
        if (f->done || client_interrupted())
            break;
        struct tet_error ignored = {0};
        if (events && failed == 0) {
            (void)!client_stream(f->client, path, take_news, f, &ignored);
            events = f->client->status == 200 || f->client->status == 503 || f->client->status == 0;
        }
        if (!f->done && !f->stale && !client_interrupted())
            wait_a_little();
    }
    return status == STATUS_OK && !f->done && !client_interrupted() ? STATUS_SERVER : status;
}

static void say_how_to_come_back(const struct following *f)
{
    fprintf(stderr,
            "experiment %lld goes on; to come back: tetrad watch %lld --server %s; to cancel it: "
            "tetrad cancel %lld --server %s\n",
            (long long)f->id, (long long)f->id, f->client->server, (long long)f->id,
            f->client->server);
}

int watch_experiment(struct client *c, json_int_t id)
{
    struct following f = {.client = c, .id = id};
    struct tet_error error = {0};
    client_watch_interrupts();
    terminal_begin(&f.terminal, stderr);
    int status = follow(&f, &error);
    if (!c->json)
        terminal_end(&f.terminal);
    if (client_interrupted() && !f.done) {
        status = STATUS_INTERRUPTED;
        say_how_to_come_back(&f);
    } else if (f.done) {
        error = (struct tet_error){0};
        status = show_results(c, f.experiment, &error);
    }
    if (error.err != TET_OK && !client_interrupted())
        fprintf(stderr, "tetrad: %s\n", error.message);
    json_decref(f.experiment);
    return status;
}

int watch_command(const struct options *options)
{
    struct client c = {0};
    struct subject subject;
    struct tet_error error = {0};
    int status = STATUS_OK;
    if (!client_subject(options, "watch", &subject, &status))
        return status;
    const enum tet_err err = client_open(&c, options, &error);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        status = status_of(err);
    } else if (subject.run) {
        char path[CLIENT_PATH];
        json_t *run = NULL;
        status = client_want(&c, "GET", subject_path(path, &subject, ""), NULL, &run);
        subject.id = client_integer(run, "experiment");
        json_decref(run);
    }
    if (err == TET_OK && status == STATUS_OK)
        status = watch_experiment(&c, subject.id);
    client_close(&c);
    return status;
}
