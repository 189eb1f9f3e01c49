// SPDX-License-Identifier: Apache-2.0
/*
 * For the HTTP server's tests: handlers, routes, a server for each test, what an answer must be.
 *
 * Each test starts a server on port 0 in this process and speaks to it over raw sockets.
 */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "http/http.h"
#include "http_client.h"

enum { HELPERS = 3, WAITING = 4, BODY = 1 << 16, TOTAL = 100000, CONNECTIONS = 300 };

struct fixture {
    struct http_server *server;
    uint16_t port;
    sem_t entered; // posted by a handler of /v1/block when it is called
    sem_t gate;    // ... which then waits here
    sem_t drained; // posted by the thread that drains
    atomic_int blocks;
    int descriptors;      // open before the start
    struct answer answer; // the latest
};

/* ---- handlers ---- */

static inline void health(void *context, const struct http_request *request,
                          struct http_reply *reply)
{
    (void)context, (void)request;
    http_reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
}

static inline void show(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    const char *second = http_part(request, 1);
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:s, s:s?}", "id", (json_int_t)http_id(request, 0), "part",
                              http_part(request, 0), "second", second));
}

static inline void npz(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    http_reply_bytes(reply, 200, "application/zip", strdup("PK"), 2);
}

static inline void size(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    size_t n;
    unsigned sum = 0;
    const char *body = http_body(request, &n);
    for (size_t k = 0; k < n; k++)
        sum += (unsigned char)body[k];
    http_reply_header(reply, "Location", "/v1/experiments/1");
    http_reply_json(reply, 201,
                    json_pack("{s:I, s:I}", "size", (json_int_t)n, "sum", (json_int_t)sum));
}

static inline void block(void *context, const struct http_request *request,
                         struct http_reply *reply)
{
    struct fixture *f = context;
    atomic_fetch_add(&f->blocks, 1);
    sem_post(&f->entered);
    while (sem_wait(&f->gate) != 0)
        ;
    health(context, request, reply);
}

static inline void tagged(void *context, const struct http_request *request,
                          struct http_reply *reply)
{
    (void)context;
    struct tet_error error = {0};
    if (http_reply_etag(request, reply, "sha256:ab"))
        return;
    if (http_query(request, "fail") == NULL) {
        http_reply_static(reply, 200, "text/plain", "tagged", 6);
        return;
    }
    (void)tet_error_set(&error, TET_CONFLICT, "no");
    http_reply_error(reply, &error, NULL);
}

static inline void query(void *context, const struct http_request *request,
                         struct http_reply *reply)
{
    (void)context;
    static const char *const keys[] = {"limit", "name", "q", NULL};
    uint64_t limit;
    if (!http_query_only(request, reply, keys) ||
        !http_query_uint(request, reply, "limit", 1, 100, 20, &limit))
        return;
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:s?, s:s?}", "limit", (json_int_t)limit, "q",
                              http_query(request, "q"), "name",
                              http_query_nth(request, "name", 1)));
}

static inline void silent(void *context, const struct http_request *request,
                          struct http_reply *reply)
{
    (void)context, (void)request, (void)reply;
}

static inline void split(void *context, const struct http_request *request,
                         struct http_reply *reply)
{
    health(context, request, reply);
    http_reply_header(reply, "X-Evil", "a\r\nX-Injected: b");
}

static const struct http_route routes[] = {
    {ROLE_VIEWER, "GET", "/", health, false, NULL},
    {ROLE_VIEWER, "GET", "/healthz", health, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/experiments", health, false, NULL},
    {ROLE_VIEWER, "POST", "/v1/experiments", size, true, "application/json"},
    {ROLE_VIEWER, "POST", "/v1/inline", size, false, "application/json"},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}", show, false, NULL},
    {ROLE_VIEWER, "POST", "/v1/runs/{id}/cancel", show, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights", show, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights/{name}.npy", show, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/runs/{id}/weights.npz", npz, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/datasets/{name}", show, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/block", block, true, NULL},
    {ROLE_VIEWER, "POST", "/v1/hold", block, true, "application/json"},
    {ROLE_VIEWER, "GET", "/v1/wedge", block, false, NULL}, // on the thread that answers others too
    {ROLE_VIEWER, "GET", "/v1/tagged", tagged, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/query", query, false, NULL},
    {ROLE_VIEWER, "GET", "/v1/silent", silent, true, NULL},
    {ROLE_VIEWER, "GET", "/v1/split", split, false, NULL},
    {ROLE_VIEWER, NULL, NULL, NULL, false, NULL},
};

/* ---- fixture ---- */

static inline int count_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static inline int set_up_with(void **state, uint32_t threads)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tet_error error = {0};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .threads = threads,
                                   .helpers = HELPERS,
                                   .max_body_bytes = BODY,
                                   .max_total_bytes = TOTAL,
                                   .max_connections = CONNECTIONS,
                                   .max_waiting = WAITING};
    sem_init(&f->entered, 0, 0);
    sem_init(&f->gate, 0, 0);
    sem_init(&f->drained, 0, 0);
    *state = f;
    f->descriptors = count_descriptors();
    if (http_start(&f->server, &options, routes, f, &f->port, &error) == TET_OK)
        return 0;
    print_error("http_start: %s\n", error.message);
    return -1;
}

static inline int set_up(void **state)
{
    return set_up_with(state, 0);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    for (int k = 0; k < 100; k++) // a failed test may have left handlers waiting
        sem_post(&f->gate);
    http_stop(f->server);
    int left = count_descriptors() - f->descriptors;
    if (left != 0)
        print_error("%d descriptors are left open\n", left);
    sem_destroy(&f->entered);
    sem_destroy(&f->gate);
    sem_destroy(&f->drained);
    free(f);
    return left != 0;
}

/* One request on a connection of its own; the answer is in f->answer. */
__attribute__((format(printf, 2, 3))) static inline int ask(struct fixture *f, const char *format,
                                                            ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    assert_true(n > 0);
    int fd = client_open(f->port);
    assert_true(fd >= 0);
    client_send_bytes(fd, text, (size_t)n);
    client_read(fd, strncmp(text, "HEAD", 4) == 0, &f->answer);
    close(fd);
    free(text);
    return f->answer.status;
}

static inline int get(struct fixture *f, const char *target)
{
    return ask(f, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
}

static inline void assert_has(const struct answer *answer, const char *text)
{
    if (strstr(answer->body, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, answer->body);
}

static inline void assert_header(const struct answer *answer, const char *name, const char *wanted)
{
    char value[256];
    if (strcmp(answer_header(answer, name, value), wanted) != 0)
        fail_msg("%s: '%s', wanted '%s'", name, value, wanted);
}

/* The answer is api.md's error with this code. */
static inline void assert_error(const struct answer *answer, int status, const char *code)
{
    json_error_t where;
    json_t *value = json_loads(answer->body, 0, &where);
    const char *found = "", *message = "";
    int bad = json_unpack(value, "{s:{s:s, s:s}}", "error", "code", &found, "message", &message);
    if (bad != 0 || answer->status != status || strcmp(found, code) != 0 || *message == '\0')
        fail_msg("%d %s, wanted %d %s: %s%s", answer->status, found, status, code, answer->head,
                 answer->body);
    json_decref(value);
    assert_header(answer, "Content-Type", "application/json; charset=utf-8");
    assert_header(answer, "Cache-Control", "no-store");
    assert_header(answer, "X-Content-Type-Options", "nosniff");
    assert_int_equal(answer->body[answer->size - 1], '\n');
}

static inline void get_error(struct fixture *f, const char *target, int status, const char *code)
{
    get(f, target);
    print_message("%.80s -> %d\n", target, f->answer.status);
    assert_error(&f->answer, status, code);
}

/* Of POST: the path, the type and the length of the body, more headers, the body. */
static const char json_post[] = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
                                "Content-Length: %d\r\n%s\r\n%s";

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
