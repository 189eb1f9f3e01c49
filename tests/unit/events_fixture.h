// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of events: a server with the hub behind it, clients over raw sockets, and things that happen.
 *
 * Every wait for the server has a limit, after which the test fails.
 */
#ifndef TESTS_EVENTS_FIXTURE_H
#define TESTS_EVENTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "events/events.h"
#include "http_client.h"

enum { STREAMS = 40, HEARTBEAT_MS = 300, RING = 400000, TEXT = 1 << 20 };

struct fixture {
    struct events *events;
    struct http_server *server;
    uint16_t port;
    atomic_int running; // runs that `look` shows
};

static inline struct event_progress *look(void *context)
{
    struct fixture *f = context;
    const int n = atomic_load(&f->running);
    struct event_progress *all = calloc((size_t)n + 1, sizeof *all);
    for (int i = 0; i < n; i++)
        all[i] = (struct event_progress){.run = i + 1,
                                         .experiment = 1 + i / 2,
                                         .step = 5,
                                         .steps = 10,
                                         .samples_per_s = 100.0,
                                         .eta_s = NAN,
                                         .loss = 0.5};
    return all;
}

/* /e?run=&experiment=&types=&last= as numbers */
static inline void listen_to(void *context, const struct http_request *request,
                             struct http_reply *reply)
{
    struct fixture *f = context;
    struct tet_error error = {0};
    uint64_t run, experiment, types;
    struct event_filter filter = {.resume = http_query(request, "last") != NULL};
    assert_true(http_query_uint(request, reply, "run", 0, INT64_MAX, 0, &run));
    assert_true(http_query_uint(request, reply, "experiment", 0, INT64_MAX, 0, &experiment));
    assert_true(http_query_uint(request, reply, "types", 0, 7, 7, &types));
    assert_true(http_query_uint(request, reply, "last", 0, UINT64_MAX, 0, &filter.last));
    filter.run = (int64_t)run;
    filter.experiment = (int64_t)experiment;
    filter.types = (unsigned)types;
    struct http_stream *stream = http_reply_stream(request, reply, "text/event-stream");
    if (stream != NULL)
        assert_int_equal(events_listen(f->events, stream, &filter, &error), TET_OK);
}

/* A hundred texts of a thousand bytes, before the client can have taken any. */
static inline void overflow(void *context, const struct http_request *request,
                            struct http_reply *reply)
{
    (void)context;
    char bytes[1000];
    struct http_shared *instead = http_shared_new("INSTEAD;", 8);
    struct http_stream *stream = http_reply_stream(request, reply, "text/event-stream");
    memset(bytes, '.', sizeof bytes);
    for (int i = 0; i < 100; i++) {
        bytes[snprintf(bytes, sizeof bytes, "<%d>", i)] = '.';
        struct http_shared *text = http_shared_new(bytes, sizeof bytes);
        assert_true(http_stream_push(stream, &text, 1, instead));
        assert_true(http_stream_waiting(stream) <= HTTP_STREAM_BYTES);
        http_shared_release(text);
    }
    http_shared_release(instead);
    http_stream_release(stream);
}

/* More than the sockets' buffers take. */
static inline void stuffed(void *context, const struct http_request *request,
                           struct http_reply *reply)
{
    (void)context;
    const size_t size = (size_t)32 << 20;
    char *bytes = calloc(1, size);
    struct http_stream *stream = http_reply_stream(request, reply, "text/event-stream");
    struct http_shared *text = http_shared_new(bytes, size);
    assert_true(http_stream_push(stream, &text, 1, text));
    http_shared_release(text);
    http_stream_release(stream);
    free(bytes);
}

static inline void fails(void *context, const struct http_request *request,
                         struct http_reply *reply)
{
    struct tet_error error = {0};
    (void)context;
    struct http_stream *stream = http_reply_stream(request, reply, "text/event-stream");
    (void)tet_error_set(&error, TET_CONFLICT, "after all not");
    http_reply_error(reply, &error, NULL);
    http_stream_release(stream);
}

static inline void count(void *context, const struct http_request *request,
                         struct http_reply *reply)
{
    struct fixture *f = context;
    (void)request;
    http_reply_json(reply, 200,
                    json_pack("{s:i, s:i}", "streams", (int)http_streams(f->server), "connections",
                              (int)http_connections(f->server)));
}

static const struct http_route routes[] = {
    {ROLE_VIEWER, "GET", "/e", listen_to, true, NULL},
    {ROLE_VIEWER, "GET", "/inline", listen_to, false, NULL},
    {ROLE_VIEWER, "GET", "/overflow", overflow, true, NULL},
    {ROLE_VIEWER, "GET", "/stuffed", stuffed, true, NULL},
    {ROLE_VIEWER, "GET", "/fails", fails, true, NULL},
    {ROLE_VIEWER, "GET", "/count", count, false, NULL},
    {ROLE_VIEWER, NULL, NULL, NULL, false, NULL},
};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tet_error error = {0};
    const struct events_options options = {
        .look = look, .context = f, .heartbeat_ms = HEARTBEAT_MS, .ring_bytes = RING};
    const struct http_options http = {
        .listen = "127.0.0.1:0", .max_connections = 20, .max_streams = STREAMS};
    *state = f;
    return events_start(&f->events, &options, &error) != TET_OK ||
           http_start(&f->server, &http, routes, f, &f->port, &error) != TET_OK;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    http_stop(f->server);
    events_stop(f->events);
    free(f);
    return 0;
}

/* ---- a client ---- */

struct client {
    int fd;
    size_t n;
    char *text; // all that came; terminated
};

static inline void join_path(struct fixture *f, struct client *c, const char *path,
                             const char *query)
{
    struct answer *answer = malloc(sizeof *answer);
    *c = (struct client){.text = calloc(1, TEXT)};
    c->fd = client_open(f->port);
    assert_true(c->fd >= 0);
    client_send(c->fd, "GET %s?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path, query);
    client_read(c->fd, true, answer);
    assert_int_equal(answer->status, 200);
    char value[256];
    assert_string_equal(answer_header(answer, "Content-Type", value),
                        "text/event-stream; charset=utf-8");
    assert_null(strstr(answer->head, "Transfer-Encoding:")); // it ends with the connection
    free(answer);
}

static inline void join(struct fixture *f, struct client *c, const char *query)
{
    join_path(f, c, "/e", query);
}

static inline void leave(struct client *c)
{
    close(c->fd);
    free(c->text);
}

/* Reads some more; false: the stream has ended. */
static inline bool read_more(struct client *c)
{
    assert_true(c->n + 4096 < TEXT);
    const ssize_t n = recv(c->fd, c->text + c->n, 4096, 0);
    assert_true(n >= 0);
    c->n += (size_t)n;
    return n > 0;
}

/* Reads until `wanted` has come; fails where the stream ends or nothing comes for the client's patience. */
static inline void await(struct client *c, const char *wanted)
{
    while (strstr(c->text, wanted) == NULL)
        if (!read_more(c))
            fail_msg("\"%s\" does not come after: %s", wanted, c->text);
}

static inline void await_end(struct client *c)
{
    while (read_more(c))
        continue;
}

static inline int times(const struct client *c, const char *what)
{
    int n = 0;
    for (const char *at = c->text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* The id of the event whose data holds `what`; 0: it has none. */
static inline unsigned long long id_of(const struct client *c, const char *what)
{
    const char *at = strstr(c->text, what);
    assert_non_null(at);
    while (at > c->text + 1 && !(at[-1] == '\n' && at[-2] == '\n'))
        at--;
    return strncmp(at, "id: ", 4) == 0 ? strtoull(at + 4, NULL, 10) : 0;
}

/* ---- what happens ---- */

static inline void happen(struct fixture *f, int64_t run, int64_t experiment, enum run_state state,
                          const char *reason)
{
    const struct store_change change = {.run = run,
                                        .experiment = experiment,
                                        .state = state,
                                        .experiment_state = RUN_RUNNING,
                                        .step = 3,
                                        .reason = (char *)(uintptr_t)reason};
    const struct store_changes changes = {.at_ms = 1700000000123, .n = 1, .runs = &change};
    events_changed(f->events, &changes);
}

static inline void record(struct fixture *f, int64_t run, int64_t experiment, uint64_t step,
                          double value)
{
    const struct tet_record records[] = {
        {.step = step, .series = TET_SERIES_TRAIN_LOSS, .value = value},
        {.step = step, .series = TET_SERIES_TRAIN_ACCURACY, .value = NAN}};
    events_records(f->events, run, experiment, records, 2);
}

static inline int ask_count(struct fixture *f, const char *what)
{
    struct answer *answer = malloc(sizeof *answer);
    do { // until the server has seen the ends of connections before
        const int fd = client_open(f->port);
        client_send(fd, "GET /count HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(fd, false, answer);
        close(fd);
    } while (answer->status == 503);
    assert_int_equal(answer->status, 200);
    json_t *value = json_loads(answer->body, 0, NULL);
    const int n = (int)json_integer_value(json_object_get(value, what));
    json_decref(value);
    free(answer);
    return n;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
