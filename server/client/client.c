// SPDX-License-Identifier: Apache-2.0
/* The client of the HTTP interface: see client.h. */
#include "client/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "terminal.h"

enum { REPLY_MAX = 256 << 20, TOKEN_MAX = 4096, EVENT_MAX = 4 << 20 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void client_watch_interrupts(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
}

bool client_interrupted(void)
{
    return interrupted;
}

/* ---- opening ---- */

static enum tet_err read_token(struct client *c, const struct options *options,
                               struct tet_error *error)
{
    const char *file = options->value[OPTION_TOKEN_FILE];
    size_t size = 0;
    if (options->value[OPTION_TOKEN] != NULL) {
        c->token = strdup(options->value[OPTION_TOKEN]);
        return c->token != NULL ? TET_OK : tet_error_set(error, TET_NO_MEMORY, "out of memory");
    }
    if (file == NULL)
        return TET_OK;
    const enum tet_err err = file_read(file, TOKEN_MAX, &c->token, &size, error);
    if (err == TET_OK)
        c->token[strcspn(c->token, " \t\r\n")] = '\0';
    return err;
}

enum tet_err client_open(struct client *c, const struct options *options, struct tet_error *error)
{
    *c = (struct client){.authorities = options->value[OPTION_CA],
                         .json = options_switch(options, OPTION_JSON)};
    enum tet_err err = read_token(c, options, error);
    c->server = strdup(options->value[OPTION_SERVER]);
    if (err == TET_OK && (c->server == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
                          (c->curl = curl_easy_init()) == NULL))
        err = tet_error_set(error, TET_NO_MEMORY, "libcurl cannot start");
    for (size_t n = err == TET_OK ? strlen(c->server) : 0; n > 0 && c->server[n - 1] == '/'; n--)
        c->server[n - 1] = '\0';
    if (err == TET_OK && c->token != NULL && strpbrk(c->token, "\r\n") != NULL)
        err = tet_error_set(error, TET_BAD_REQUEST, "a token is one line");
    return err;
}

void client_close(struct client *c)
{
    if (c->curl != NULL)
        curl_easy_cleanup(c->curl);
    curl_global_cleanup();
    free(c->server);
    free(c->token);
    free(c->body);
    *c = (struct client){0};
}

/* ---- one request ---- */

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

static int look_up(void *context, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
    (void)context, (void)a, (void)b, (void)d, (void)e;
    return interrupted;
}

struct call {
    struct curl_slist *headers;
    char reason[CURL_ERROR_SIZE];
    char url[2048];
    bool no_memory;
};

static void add_header(struct call *call, const char *name, const char *value)
{
    char line[TOKEN_MAX + 64];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    call->no_memory = call->no_memory || longer == NULL;
    call->headers = longer != NULL ? longer : call->headers;
}

static enum tet_err prepare(struct client *c, struct call *call, const char *method,
                            const char *path, const struct client_body *body,
                            struct tet_error *error)
{
    CURL *curl = c->curl;
    if (snprintf(call->url, sizeof call->url, "%s%s", c->server, path) >= (int)sizeof call->url)
        return tet_error_set(error, TET_BAD_REQUEST, "the server's URL is too long");
    free(c->body);
    c->body = NULL;
    c->size = 0;
    c->status = 0;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, call->url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    if (c->authorities != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, c->authorities);
    if (c->token != NULL) {
        char bearer[TOKEN_MAX + 16];
        snprintf(bearer, sizeof bearer, "Bearer %s", c->token);
        add_header(call, "Authorization", bearer);
    }
    if (strcmp(method, "GET") != 0) {
        const bool given = body != NULL && body->bytes != NULL;
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, given ? body->bytes : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(given ? body->size : 0));
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        add_header(call, "Content-Type",
                   body != NULL && body->type != NULL ? body->type : "application/json");
        add_header(call, "Expect", "");
        if (body != NULL && body->key != NULL)
            add_header(call, "Idempotency-Key", body->key);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
    return call->no_memory ? tet_error_set(error, TET_NO_MEMORY, "out of memory") : TET_OK;
}

static enum tet_err perform(struct client *c, struct call *call, struct tet_error *error)
{
    const CURLcode code = curl_easy_perform(c->curl);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    return code == CURLE_OK ? TET_OK
                            : tet_error_set(error, TET_ADDRESS, "%s: %s", c->server,
                                            interrupted             ? "interrupted"
                                            : *call->reason != '\0' ? call->reason
                                                                    : curl_easy_strerror(code));
}

enum tet_err client_ask(struct client *c, const char *method, const char *path,
                        const struct client_body *body, json_t **reply, struct tet_error *error)
{
    struct call call = {0};
    *reply = NULL;
    enum tet_err err = prepare(c, &call, method, path, body, error);
    if (err == TET_OK) {
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
        err = perform(c, &call, error);
    }
    curl_slist_free_all(call.headers);
    if (err != TET_OK)
        return err;
    *reply = json_loadb(c->body != NULL ? c->body : "", c->size, 0, NULL);
    if (*reply == NULL)
        return tet_error_set(error, TET_ADDRESS,
                             "%s does not answer in JSON: is it a Tetrad server?", c->server);
    return TET_OK;
}

int client_refuse(const struct client *c, const json_t *reply)
{
    const json_t *error = json_object_get(reply, "error");
    const char *message = client_text(error, "message");
    fprintf(stderr, "tetrad: the server answers %ld: %s\n", c->status,
            *message != '\0' ? message : "?");
    faults_print(stderr, json_object_get(error, "details"));
    if (c->status == 401 && c->token == NULL)
        fprintf(stderr, "tetrad: give a token by --token-file, TETRAD_TOKEN or the line `token = "
                        "...` in ~/.config/tetrad/config\n");
    return c->status == 422 || c->status == 400 ? STATUS_DEFINITION : STATUS_SERVER;
}

int client_want(struct client *c, const char *method, const char *path,
                const struct client_body *body, json_t **reply)
{
    struct tet_error error = {0};
    if (client_ask(c, method, path, body, reply, &error) != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        return STATUS_SERVER;
    }
    if (c->status >= 200 && c->status < 300)
        return STATUS_OK;
    const int status = client_refuse(c, *reply);
    json_decref(*reply);
    *reply = NULL;
    return status;
}

/* ---- downloads ---- */

struct download {
    struct client *client;
    FILE *file;
};

/* An error's body goes to client->body instead of the file. */
static size_t take_file(char *bytes, size_t one, size_t n, void *context)
{
    struct download *d = context;
    long status = 0;
    curl_easy_getinfo(d->client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 ? fwrite(bytes, one, n, d->file) : take(bytes, one, n, d->client);
}

int client_download(struct client *c, const char *path, const char *file)
{
    struct call call = {0};
    struct tet_error error = {0};
    struct download download = {c, fopen(file, "wbe")};
    enum tet_err err = download.file != NULL
                           ? prepare(c, &call, "GET", path, NULL, &error)
                           : tet_error_set(&error, TET_IO, "%s: %s", file, strerror(errno));
    if (err == TET_OK) {
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_file);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &download);
        err = perform(c, &call, &error);
    }
    curl_slist_free_all(call.headers);
    if (download.file != NULL && fclose(download.file) != 0 && err == TET_OK)
        err = tet_error_set(&error, TET_IO, "%s: %s", file, strerror(errno));
    if (err == TET_OK && c->status == 200)
        return STATUS_OK;
    remove(file);
    if (err != TET_OK) {
        fprintf(stderr, "tetrad: %s\n", error.message);
        return err == TET_IO ? STATUS_IO : STATUS_SERVER;
    }
    json_t *reply = json_loadb(c->body != NULL ? c->body : "", c->size, 0, NULL);
    const int status = client_refuse(c, reply);
    json_decref(reply);
    return status;
}

/* ---- events ---- */

struct stream {
    struct client *client;
    client_event_fn *event;
    void *context;
    char *line; // what came of the line so far
    size_t n, capacity;
    char *data; // of the event so far
    size_t data_n;
    char type[32];
    bool stopped;
};

static void finish_event(struct stream *s)
{
    if (s->data != NULL) {
        json_t *data = json_loadb(s->data, s->data_n, JSON_DECODE_ANY, NULL);
        s->stopped = !s->event(s->context, *s->type != '\0' ? s->type : "message", data);
        json_decref(data);
    }
    free(s->data);
    s->data = NULL;
    s->data_n = 0;
    s->type[0] = '\0';
}

static bool add_data(struct stream *s, const char *text)
{
    const size_t n = strlen(text);
    char *grown = s->data_n + n < EVENT_MAX ? realloc(s->data, s->data_n + n + 2) : NULL;
    if (grown == NULL)
        return false;
    s->data = grown;
    memcpy(s->data + s->data_n, text, n);
    s->data_n += n;
    s->data[s->data_n++] = '\n';
    return true;
}

/* https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6. */
static bool take_line(struct stream *s, char *line)
{
    char *value = strchr(line, ':');
    if (*line == '\0') {
        finish_event(s);
        return !s->stopped;
    }
    if (value == line)
        return true; // a comment
    if (value != NULL)
        *value++ = '\0';
    else
        value = line + strlen(line);
    value += *value == ' ';
    if (strcmp(line, "event") == 0)
        snprintf(s->type, sizeof s->type, "%s", value);
    else if (strcmp(line, "data") == 0)
        return add_data(s, value);
    return true;
}

static bool grow(struct stream *s)
{
    const size_t capacity = s->capacity > 0 ? 2 * s->capacity : 4096;
    char *grown = capacity <= EVENT_MAX ? realloc(s->line, capacity) : NULL;
    if (grown == NULL)
        return false;
    s->line = grown;
    s->capacity = capacity;
    return true;
}

static size_t take_events(char *bytes, size_t one, size_t n, void *context)
{
    struct stream *s = context;
    long status = 0;
    curl_easy_getinfo(s->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return take(bytes, one, n, s->client);
    for (size_t i = 0; i < n; i++) {
        if (s->n + 1 >= s->capacity && !grow(s))
            return 0;
        if (bytes[i] != '\n') {
            s->line[s->n++] = bytes[i];
            continue;
        }
        s->n -= s->n > 0 && s->line[s->n - 1] == '\r';
        s->line[s->n] = '\0';
        s->n = 0;
        if (!take_line(s, s->line))
            return 0;
    }
    return n;
}

enum tet_err client_stream(struct client *c, const char *path, client_event_fn *event,
                           void *context, struct tet_error *error)
{
    struct call call = {0};
    struct stream stream = {.client = c, .event = event, .context = context};
    enum tet_err err = prepare(c, &call, "GET", path, NULL, error);
    if (err == TET_OK) {
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_events);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &stream);
        curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L); // heartbeats come more often
        curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, 60L);
        err = perform(c, &call, error);
    }
    curl_slist_free_all(call.headers);
    free(stream.line);
    free(stream.data);
    return stream.stopped || interrupted ? TET_OK : err;
}

/* ---- words ---- */

void client_print(const struct client *c)
{
    const size_t n = c->size - (c->size > 0 && c->body[c->size - 1] == '\n');
    printf("%.*s\n", (int)n, c->body != NULL ? c->body : "");
}

enum tet_err subject_read(struct subject *subject, const char *text, struct tet_error *error)
{
    const char *digits = text[0] == 'r' ? text + 1 : text;
    char *end = NULL;
    errno = 0;
    *subject = (struct subject){.run = digits != text};
    subject->id = digits[0] >= '1' && digits[0] <= '9' ? strtoll(digits, &end, 10) : 0;
    return subject->id > 0 && *end == '\0' && errno == 0
               ? TET_OK
               : tet_error_set(error, TET_BAD_REQUEST,
                               "found \"%.40s\", allowed an experiment such as 3 or a run such as "
                               "r7",
                               text);
}

const char *subject_path(char *path, const struct subject *subject, const char *rest)
{
    snprintf(path, CLIENT_PATH, "/v1/%s/%lld%s", subject->run ? "runs" : "experiments", subject->id,
             rest);
    return path;
}

bool client_subject(const struct options *options, const char *command, struct subject *subject,
                    int *status)
{
    struct tet_error error = {0};
    enum tet_err err = TET_OK;
    if (options->n_arguments != 1)
        err = tet_error_set(&error, TET_BAD_REQUEST,
                            "%s needs an experiment such as 3 or a run such as r7", command);
    else
        err = subject_read(subject, options->argument[0], &error);
    if (err != TET_OK)
        fprintf(stderr, "tetrad: %s\n", error.message);
    *status = status_of(err);
    return err == TET_OK;
}

const char *client_text(const json_t *object, const char *key)
{
    static char buffers[8][512];
    static unsigned next;
    const char *text = json_string_value(json_object_get(object, key));
    char *buffer = buffers[next++ % 8];
    terminal_clean(buffer, sizeof buffers[0], text != NULL ? text : "");
    return buffer;
}

json_int_t client_integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
