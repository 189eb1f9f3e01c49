// SPDX-License-Identifier: Apache-2.0
/*
 * `tetrad watch ID`: what is read by GET is the truth; events say when to read it again, and how far
 * the runs are meanwhile. A server without events is asked again and again.
 */
#include "client/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "terminal.h"

enum { RETRIES = 100, REREAD_S = 10 };

struct watching {
    struct client *client;
    struct client_id id;
    struct terminal terminal;
    json_t *state;      // of an experiment, or {"runs": [a run]}
    json_t *known;      // state of each run, as it was last told
    bool stale, done;   // read again; all runs have ended
    bool refused;       // the server refused, and that was printed
    int status, failed; // exit status; failures in a row
    time_t read_at;
    CURL *stream;
};

/* One run of many, or the state of one. */
static size_t add_run(const json_t *run, struct progress_line *line)
{
    const json_t *progress = json_object_get(run, "progress");
    const char *state = client_text(run, "state");
    line->steps += (uint64_t)client_integer(progress, "steps");
    line->step += (uint64_t)client_integer(progress, client_ended(state) ? "steps" : "step");
    if (strcmp(state, "running") == 0)
        line->samples_per_second += json_number_value(json_object_get(progress, "samples_per_s"));
    return client_ended(state);
}

/* Draws the progress. What is left is told from the share of steps made since it was first shown. */
static void draw(struct watching *w)
{
    struct progress_line line = {.seconds_left = -1, .loss = NAN, .accuracy = NAN};
    struct terminal *t = &w->terminal;
    size_t done = 0, paused = 0, i;
    const json_t *runs = json_object_get(w->state, "runs"), *run;
    json_array_foreach(runs, i, run)
    {
        done += add_run(run, &line);
        paused += strcmp(client_text(run, "state"), "paused") == 0;
    }
    const double now = (double)time(NULL), made = (double)(line.step - t->first_step);
    if (t->first_time == 0.0) {
        t->first_time = now;
        t->first_step = line.step;
    } else if (made > 0) {
        line.seconds_left = (now - t->first_time) / made * (double)(line.steps - line.step);
    }
    char title[96];
    int n = snprintf(title, sizeof title, "%zu of %zu runs done", done, json_array_size(runs));
    if (w->id.run)
        n = snprintf(title, sizeof title, "r%lld %.20s", (long long)w->id.number,
                     client_text(json_array_get(runs, 0), "state"));
    if (paused > 0 && !w->id.run)
        snprintf(title + n, sizeof title - (size_t)n, ", %zu paused", paused);
    line.title = title;
    terminal_show(t, &line);
}

/* A line of JSON for each run whose state is new. */
static void print_changes(struct watching *w)
{
    size_t i;
    const json_t *run;
    json_array_foreach(json_object_get(w->state, "runs"), i, run)
    {
        char key[32];
        snprintf(key, sizeof key, "%lld", (long long)client_integer(run, "id"));
        json_t *state = json_object_get(run, "state");
        if (json_equal(json_object_get(w->known, key), state))
            continue;
        json_object_set(w->known, key, state);
        json_t *line = json_pack(
            "{s:s, s:I, s:O?, s:O?, s:O?, s:O?}", "event", "state", "run",
            client_integer(run, "id"), "state", state, "reason", json_object_get(run, "reason"),
            "progress", json_object_get(run, "progress"), "digest", json_object_get(run, "digest"));
        client_print(line);
        json_decref(line);
    }
}

static void look(struct watching *w)
{
    size_t i;
    const json_t *runs = json_object_get(w->state, "runs"), *run;
    w->done = json_array_size(runs) > 0;
    json_array_foreach(runs, i, run)
    {
        w->done = w->done && client_ended(client_text(run, "state"));
    }
    if (w->client->json)
        print_changes(w);
    else
        draw(w);
}

static void read_state(struct watching *w)
{
    struct client *c = w->client;
    json_t *reply = NULL;
    const enum tet_err err =
        client_get(c, &reply, "/v1/%ss/%lld", client_kind(w->id), (long long)w->id.number);
    w->failed = err == TET_OK && c->status != 503 ? 0 : w->failed + 1; // it may be restarting
    if (w->failed > 0 && w->failed < RETRIES) {
        c->error = (struct tet_error){0};
    } else if (w->failed == 0 && c->status != 200) {
        w->refused = !client_good(c, reply, &w->status);
    } else if (w->failed == 0) {
        json_decref(w->state);
        w->state = w->id.run ? json_pack("{s:[O]}", "runs", reply) : json_incref(reply);
        w->stale = false;
        w->read_at = time(NULL);
        look(w);
    }
    json_decref(reply);
}

/* ---- events ---- */

static void take_progress(struct watching *w, const json_t *data)
{
    size_t i, j;
    const json_t *news, *run;
    json_array_foreach(json_object_get(data, "runs"), i, news)
    {
        json_array_foreach(json_object_get(w->state, "runs"), j, run)
        {
            if (client_integer(run, "id") == client_integer(news, "run"))
                json_object_update_existing(json_object_get(run, "progress"),
                                            (json_t *)(uintptr_t)news);
        }
    }
    if (w->client->json) {
        json_t *line =
            json_pack("{s:s, s:O?}", "event", "progress", "runs", json_object_get(data, "runs"));
        client_print(line);
        json_decref(line);
    } else {
        draw(w);
    }
}

static void take_event(void *context, const char *event, const char *data)
{
    struct watching *w = context;
    json_t *value = json_loads(data, 0, NULL);
    if (strcmp(event, "progress") == 0 && w->state != NULL)
        take_progress(w, value);
    else if (strcmp(event, "state") == 0 || strcmp(event, "changed") == 0 ||
             strcmp(event, "missed") == 0)
        w->stale = true; // read once what is in the buffer has been taken
    json_decref(value);
}

struct stream {
    struct watching *watching;
    struct events events;
};

static size_t take_bytes(char *bytes, size_t one, size_t n, void *context)
{
    struct stream *s = context;
    long status = 0;
    (void)one;
    curl_easy_getinfo(s->watching->stream, CURLINFO_RESPONSE_CODE, &status);
    return status != 200 || events_feed(&s->events, bytes, n) ? n : 0;
}

/* Called at least once a second while the stream is open: the state is read by another handle, first
 * after the stream has begun, so that no change falls between the two. */
static int tend(void *context, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
    struct watching *w = ((struct stream *)context)->watching;
    long status = 0;
    (void)a, (void)b, (void)d, (void)e;
    curl_easy_getinfo(w->stream, CURLINFO_RESPONSE_CODE, &status);
    if ((status == 200 && w->stale) || time(NULL) - w->read_at >= REREAD_S)
        read_state(w);
    return w->done || w->refused || client_interrupted || w->failed >= RETRIES;
}

/* One connection of the stream. false: the server has none. */
static bool follow(struct watching *w)
{
    char path[128];
    long status = 0;
    struct stream s = {.watching = w, .events = {.take = take_event, .context = w}};
    struct curl_slist *headers;
    bool whole =
        client_headers(w->client, &headers) && client_header(&headers, "Accept: text/event-stream");
    snprintf(path, sizeof path, "/v1/events?types=state,progress&%s=%lld", client_kind(w->id),
             (long long)w->id.number);
    whole = client_prepare(w->client, w->stream, path, headers) && whole;
    curl_easy_setopt(w->stream, CURLOPT_LOW_SPEED_LIMIT, 1L); // a heartbeat comes every 15 s
    curl_easy_setopt(w->stream, CURLOPT_LOW_SPEED_TIME, 45L);
    curl_easy_setopt(w->stream, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(w->stream, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(w->stream, CURLOPT_XFERINFOFUNCTION, tend);
    curl_easy_setopt(w->stream, CURLOPT_XFERINFODATA, &s);
    w->stale = true;
    if (whole) // else it is asked again
        curl_easy_perform(w->stream);
    curl_easy_getinfo(w->stream, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    events_free(&s.events);
    return status == 200 || status == 0;
}

static void wait_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 300000000};
    nanosleep(&pause, NULL);
}

static int leave(const struct watching *w)
{
    char where[512], id[32];
    client_where(w->client, where);
    client_id_text(w->id, id);
    fprintf(stderr,
            "%s goes on at the server; tetrad watch %s%s comes back to it, tetrad cancel %s%s "
            "ends it\n",
            id, id, where, id, where);
    return STATUS_INTERRUPTED;
}

static int finish(struct watching *w)
{
    struct client *c = w->client;
    const json_t *runs = json_object_get(w->state, "runs");
    if (!c->json)
        return results_show(c, runs);
    json_t *line = json_pack("{s:s, s:O}", "event", "end", "runs", runs);
    client_print(line);
    json_decref(line);
    int status = STATUS_OK;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const char *state = client_text(json_array_get(runs, i), "state");
        if (strcmp(state, "succeeded") != 0)
            status = strcmp(state, "diverged") == 0 ? STATUS_DIVERGED : STATUS_FAILED;
    }
    return status;
}

int watch(struct client *c, struct client_id id)
{
    struct watching w = {.client = c, .id = id, .known = json_object(), .stream = curl_easy_init()};
    bool events = w.stream != NULL;
    client_catch_interrupt();
    terminal_begin(&w.terminal, stderr);
    read_state(&w);
    while (!w.done && !w.refused && !client_interrupted && w.failed < RETRIES) {
        if (events && w.failed == 0)
            events = follow(&w);
        if (w.done || client_interrupted)
            break;
        wait_a_little();
        read_state(&w);
    }
    if (!c->json)
        terminal_end(&w.terminal);
    if (client_interrupted)
        c->error = (struct tet_error){0};
    const int status = client_interrupted ? leave(&w)
                       : w.done           ? finish(&w)
                       : w.refused        ? w.status
                                          : STATUS_SERVER;
    curl_easy_cleanup(w.stream);
    json_decref(w.known);
    json_decref(w.state);
    return status;
}

int watch_command(const struct options *options)
{
    struct client c;
    struct client_id id;
    int status = STATUS_FAILED;
    if (client_open(&c, options) == TET_OK &&
        client_id(&c, options->argument[0], CLIENT_EXPERIMENT + CLIENT_RUN, &id) == TET_OK)
        status = watch(&c, id);
    return client_close(&c, status);
}
