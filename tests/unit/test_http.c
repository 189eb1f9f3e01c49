// SPDX-License-Identifier: Apache-2.0
/*
 * Tests of the HTTP server: routes, bodies, replies, threads, the end. Each test starts a server on
 * port 0 in this process and speaks to it over raw sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
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

static void health(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    http_reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
}

static void show(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    const char *second = http_part(request, 1);
    http_reply_json(reply, 200,
                    json_pack("{s:I, s:s, s:s?}", "id", (json_int_t)http_id(request, 0), "part",
                              http_part(request, 0), "second", second));
}

static void npz(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    http_reply_bytes(reply, 200, "application/zip", strdup("PK"), 2);
}

static void size(void *context, const struct http_request *request, struct http_reply *reply)
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

static void block(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct fixture *f = context;
    atomic_fetch_add(&f->blocks, 1);
    sem_post(&f->entered);
    while (sem_wait(&f->gate) != 0)
        ;
    health(context, request, reply);
}

static void tagged(void *context, const struct http_request *request, struct http_reply *reply)
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

static void query(void *context, const struct http_request *request, struct http_reply *reply)
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

static void silent(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request, (void)reply;
}

static void split(void *context, const struct http_request *request, struct http_reply *reply)
{
    health(context, request, reply);
    http_reply_header(reply, "X-Evil", "a\r\nX-Injected: b");
}

static const struct http_route routes[] = {
    {"GET", "/", health, false, NULL},
    {"GET", "/healthz", health, false, NULL},
    {"GET", "/v1/experiments", health, false, NULL},
    {"POST", "/v1/experiments", size, true, "application/json"},
    {"POST", "/v1/inline", size, false, "application/json"},
    {"GET", "/v1/runs/{id}", show, false, NULL},
    {"POST", "/v1/runs/{id}/cancel", show, true, NULL},
    {"GET", "/v1/runs/{id}/weights", show, true, NULL},
    {"GET", "/v1/runs/{id}/weights/{name}.npy", show, true, NULL},
    {"GET", "/v1/runs/{id}/weights.npz", npz, true, NULL},
    {"GET", "/v1/datasets/{name}", show, false, NULL},
    {"GET", "/v1/block", block, true, NULL},
    {"POST", "/v1/hold", block, true, "application/json"},
    {"GET", "/v1/tagged", tagged, false, NULL},
    {"GET", "/v1/query", query, false, NULL},
    {"GET", "/v1/silent", silent, true, NULL},
    {"GET", "/v1/split", split, false, NULL},
    {NULL, NULL, NULL, false, NULL},
};

/* ---- fixture ---- */

static int count_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tet_error error = {0};
    struct http_options options = {.listen = "127.0.0.1:0",
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

static int tear_down(void **state)
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
__attribute__((format(printf, 2, 3))) static int ask(struct fixture *f, const char *format, ...)
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

static int get(struct fixture *f, const char *target)
{
    return ask(f, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
}

static void assert_has(const struct answer *answer, const char *text)
{
    if (strstr(answer->body, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, answer->body);
}

static void assert_header(const struct answer *answer, const char *name, const char *wanted)
{
    char value[256];
    if (strcmp(answer_header(answer, name, value), wanted) != 0)
        fail_msg("%s: '%s', wanted '%s'", name, value, wanted);
}

/* The answer is api.md's error with this code. */
static void assert_error(const struct answer *answer, int status, const char *code)
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

static void get_error(struct fixture *f, const char *target, int status, const char *code)
{
    get(f, target);
    print_message("%.80s -> %d\n", target, f->answer.status);
    assert_error(&f->answer, status, code);
}

/* ---- routes ---- */

static void test_paths(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/"), 200);
    assert_int_equal(get(f, "/healthz"), 200);
    assert_string_equal(f->answer.body, "{\"status\":\"ok\"}\n");
    assert_int_equal(get(f, "/v1/runs/7"), 200);
    assert_has(&f->answer, "\"id\":7");
    assert_int_equal(get(f, "/v1/runs/9223372036854775807"), 200);
    assert_has(&f->answer, "\"id\":9223372036854775807");
    assert_int_equal(get(f, "/v1/runs/7/weights"), 200);
    assert_int_equal(get(f, "/v1/runs/7/weights.npz"), 200);
    assert_string_equal(f->answer.body, "PK");
    assert_header(&f->answer, "Content-Type", "application/zip");
    assert_int_equal(get(f, "/v1/runs/7/weights/W1.npy"), 200);
    assert_has(&f->answer, "\"second\":\"W1\"");
    assert_int_equal(get(f, "/v1/runs/7/weights/a.b.npy"), 200);
    assert_has(&f->answer, "\"second\":\"a.b\"");
    assert_int_equal(get(f, "/v1/datasets/%C3%A4%20%2541+"), 200);
    assert_has(&f->answer, "\"part\":\"\xC3\xA4 %41+\"");
    assert_int_equal(get(f, "http://127.0.0.1:1/v1/runs/8?x=/"), 200);
    assert_has(&f->answer, "\"id\":8");
    static const char *const absent[] = {"/v1",
                                         "/v1/",
                                         "/healthz/",
                                         "//healthz",
                                         "/v1/runs",
                                         "/v1/runs/",
                                         "/v1/runs/0",
                                         "/v1/runs/-1",
                                         "/v1/runs/+1",
                                         "/v1/runs/007",
                                         "/v1/runs/7x",
                                         "/v1/runs/%20",
                                         "/v1/runs/9223372036854775808",
                                         "/v1/runs/99999999999999999999999",
                                         "/v1/runs/7/weights/.npy",
                                         "/v1/runs/7/weights/W1",
                                         "/v1/runs/7/weights/W1.npz",
                                         "/v1/runs/7/weights/a/b.npy",
                                         "/v1/runs/7/weights/a%2Fb.npy",
                                         "/v1%2Fruns/7",
                                         "/v1/datasets/..",
                                         "/v1/datasets/%2e%2e",
                                         "/v1/datasets/",
                                         "/a/b/c/d/e/f/g/h/i/j",
                                         "/HEALTHZ",
                                         "/v1/runs/7%2Fcancel"};
    for (size_t k = 0; k < sizeof absent / sizeof *absent; k++)
        get_error(f, absent[k], 404, "not_found");
    static const char *const bad[] = {"/v1/datasets/%00",
                                      "/v1/datasets/a%00b",
                                      "/v1/datasets/%0a",
                                      "/v1/datasets/%7F",
                                      "/v1/datasets/%",
                                      "/v1/datasets/%4",
                                      "/v1/datasets/%zz",
                                      "/v1/datasets/%ff",
                                      "/v1/datasets/%C0%80",
                                      "/v1/datasets/%ED%A0%80",
                                      "/healthz?a=%",
                                      "/healthz?%01",
                                      "healthz",
                                      "*",
                                      "ftp://localhost/healthz",
                                      "http://localhost"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        get_error(f, bad[k], 400, "bad_request");
}

static void test_methods(void **state)
{
    struct fixture *f = *state;
    static const char with[] = "Host: [::1]:80\r\nContent-Length: 0\r\n\r\n";
    ask(f, "DELETE /v1/experiments HTTP/1.1\r\n%s", with);
    assert_error(&f->answer, 405, "method_not_allowed");
    assert_header(&f->answer, "Allow", "GET, HEAD, POST, OPTIONS");
    ask(f, "POST /healthz HTTP/1.1\r\n%s", with);
    assert_error(&f->answer, 405, "method_not_allowed");
    assert_header(&f->answer, "Allow", "GET, HEAD, OPTIONS");
    ask(f, "BREW /v1/runs/7/cancel HTTP/1.1\r\n%s", with);
    assert_error(&f->answer, 405, "method_not_allowed");
    assert_header(&f->answer, "Allow", "POST, OPTIONS");
    ask(f, "POST /v1/nothing HTTP/1.1\r\n%s", with);
    assert_error(&f->answer, 404, "not_found");
    assert_int_equal(ask(f, "OPTIONS /v1/experiments HTTP/1.1\r\n%s", with), 204);
    assert_header(&f->answer, "Allow", "GET, HEAD, POST, OPTIONS");
    get(f, "/v1/runs/7");
    struct answer *full = malloc(sizeof *full);
    char length[256];
    *full = f->answer;
    assert_int_equal(ask(f, "HEAD /v1/runs/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    assert_header(&f->answer, "Content-Length", answer_header(full, "Content-Length", length));
    assert_header(&f->answer, "Content-Type", "application/json; charset=utf-8");
    free(full);
    /* What follows a HEAD's answer on the connection is the next answer, not a body. */
    int fd = client_open(f->port);
    client_send(fd, "HEAD /v1/runs/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, true, &f->answer);
    client_read(fd, false, &f->answer);
    close(fd);
    assert_string_equal(f->answer.body, "{\"status\":\"ok\"}\n");
}

static void test_queries(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/v1/query"), 200);
    assert_has(&f->answer, "{\"limit\":20,\"q\":null,\"name\":null}");
    assert_int_equal(get(f, "/v1/query?&limit=100&q=a+b%2B%26%3D&&name=x&name=y"), 200);
    assert_has(&f->answer, "{\"limit\":100,\"q\":\"a b+&=\",\"name\":\"y\"}");
    assert_int_equal(get(f, "/v1/query?q"), 200);
    assert_has(&f->answer, "\"q\":\"\"");
    static const char *const bad[] = {"limit=0",        "limit=101", "limit=",
                                      "limit=-1",       "limit=1e1", "limit=99999999999999999999",
                                      "limit=1&limit=2"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        char target[64];
        snprintf(target, sizeof target, "/v1/query?%s", bad[k]);
        get_error(f, target, 400, "bad_request");
        assert_has(&f->answer, "from 1 to 100");
        assert_has(&f->answer, "\"parameter\":\"limit\"");
    }
    get_error(f, "/v1/query?limt=3", 400, "bad_request");
    assert_has(&f->answer, "\"hint\":\"limit\"");
    get_error(f, "/v1/query?quite_different=3", 400, "bad_request");
    assert_has(&f->answer, "limit, name, q");
    char many[8192] = "/v1/query?";
    for (size_t k = strlen(many); k < sizeof many - 3; k += 2)
        memcpy(many + k, "a&", 3);
    get_error(f, many, 400, "bad_request");
    memset(many + 4, 'x', sizeof many - 5);
    get_error(f, many, 404, "not_found"); // long, but within the limit
    char *huge = malloc(100001);
    memset(huge, 'x', 100000);
    huge[0] = '/';
    huge[100000] = '\0';
    int status = get(f, huge);
    free(huge);
    assert_true(status == 414 || status == 413 || status == 431);
}

static void test_hosts(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"Host: localhost", 200},
        {"Host: LOCALHOST:8080", 200},
        {"Host: 127.0.0.1:1", 200},
        {"Host: 127.9.9.9", 200},
        {"Host: [::1]", 200},
        {"Host: [::1]:5", 200},
        {"Host: example.org", 403},
        {"Host: localhost.example.org", 403},
        {"Host: 10.0.0.1", 403},
        {"Host: 127.0.0.1.example.org", 403},
        {"Host: [::2]", 403},
        {"Host: [::1", 403},
        {"Host: localhost:x", 403},
        {"Host: ", 403},
        {"Host: localhost\r\nHost: evil", 400},
        {"Host: localhost:9\r\nOrigin: http://localhost:9", 200},
        {"Host: localhost\r\nOrigin: https://localhost", 200},
        {"Host: localhost:9\r\nOrigin: http://localhost:8", 403},
        {"Host: localhost:9\r\nOrigin: http://evil.example:9", 403},
        {"Host: localhost:9\r\nOrigin: null", 403},
        {"Host: localhost:9\r\nOrigin: ", 403},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int status = ask(f, "GET /healthz HTTP/1.1\r\n%s\r\n\r\n", cases[k].headers);
        if (status != cases[k].status)
            fail_msg("%s: %d, wanted %d", cases[k].headers, status, cases[k].status);
        if (status == 403)
            assert_error(&f->answer, 403, "forbidden");
    }
    ask(f, "GET /healthz HTTP/1.1\r\n\r\n");
    assert_error(&f->answer, 400, "bad_request");
    assert_int_equal(ask(f, "GET /healthz HTTP/1.0\r\n\r\n"), 200);
    assert_int_equal(ask(f, "GET http://evil/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 403);
}

/* ---- bodies ---- */

static const char json_post[] = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
                                "Content-Length: %d\r\n%s\r\n%s";

static void test_bodies(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/v1/experiments", "/v1/inline"};
    for (size_t k = 0; k < 2; k++) {
        const char *path = paths[k];
        assert_int_equal(ask(f, json_post, path, "application/json", 2, "", "ab"), 201);
        assert_string_equal(f->answer.body, "{\"size\":2,\"sum\":195}\n");
        assert_header(&f->answer, "Location", "/v1/experiments/1");
        assert_int_equal(ask(f, json_post, path, "application/json", 0, "", ""), 201);
        assert_has(&f->answer, "\"size\":0");
        static const char *const good[] = {"Application/JSON; charset=utf-8",
                                           "application/json;charset=\"UTF-8\"",
                                           "application/json ; profile=x; charset=UTF-8 ; q=1"};
        for (size_t j = 0; j < sizeof good / sizeof *good; j++)
            assert_int_equal(ask(f, json_post, path, good[j], 1, "", "1"), 201);
        static const char *const bad[] = {"text/plain",
                                          "application/jsonx",
                                          "application/json x",
                                          "application/json; charset=latin1",
                                          "application/json; charset=utf-16",
                                          "application/x-www-form-urlencoded",
                                          ""};
        for (size_t j = 0; j < sizeof bad / sizeof *bad; j++) {
            ask(f, json_post, path, bad[j], 1, "", "1");
            assert_error(&f->answer, 415, "unsupported_media_type");
        }
        ask(f, json_post, path, "application/json", 1, "Content-Encoding: gzip\r\n", "1");
        assert_error(&f->answer, 415, "unsupported_media_type");
        ask(f, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1", path);
        assert_error(&f->answer, 415, "unsupported_media_type");
        ask(f, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n",
            path);
        assert_error(&f->answer, 411, "length_required");
        ask(f, json_post, path, "application/json", 1, "Content-Length: 2\r\n", "1");
        assert_true(f->answer.status == 400);
    }
    /* chunked: refused, and the connection ends */
    int fd = client_open(f->port);
    client_send(fd, "POST /v1/inline HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 411, "length_required");
    assert_true(client_ended(fd));
    close(fd);
    /* a body that nobody wants is thrown away, and the connection goes on */
    fd = client_open(f->port);
    client_send(fd, json_post, "/v1/runs/7/cancel", "text/plain", 5, "", "abcde");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    client_send(fd, json_post, "/nothing", "text/plain", 5, "", "abcde");
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 404, "not_found");
    client_send(fd, json_post, "/v1/inline", "text/plain", 5, "", "abcde");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 415);
    client_send(fd, json_post, "/v1/inline", "application/json", 5, "", "abcde");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    close(fd);
    assert_int_equal(get(f, "/healthz"), 200);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    enum { MUCH = 32 << 20 };
    /* known from the headers alone */
    ask(f, json_post, "/v1/inline", "application/json", BODY + 1, "", "");
    assert_error(&f->answer, 413, "too_large");
    assert_has(&f->answer, "65537");
    assert_header(&f->answer, "Connection", "close");
    ask(f, json_post, "/v1/runs/7/cancel", "text/plain", BODY + 1, "",
        ""); // also where none is taken
    assert_int_equal(f->answer.status, 413);
    ask(f, "POST /v1/inline HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
           "Content-Length: 99999999999999999999999\r\n\r\n");
    assert_true(f->answer.status == 413 || f->answer.status == 400);
    /* a client that sends all of it first still gets the answer, and no reset */
    char *bytes = calloc(1, MUCH);
    int fd = client_open(f->port);
    client_send(fd, json_post, "/v1/inline", "application/json", MUCH, "", "");
    assert_true(client_send_bytes(fd, bytes, MUCH));
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 413, "too_large");
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    /* the largest allowed */
    fd = client_open(f->port);
    client_send(fd, json_post, "/v1/inline", "application/json", BODY, "", "");
    assert_true(client_send_bytes(fd, bytes, BODY));
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    assert_has(&f->answer, "\"size\":65536,\"sum\":0");
    close(fd);
    free(bytes);
}

static void test_expect(void **state)
{
    struct fixture *f = *state;
    int fd = client_open(f->port);
    client_send(fd, json_post, "/v1/experiments", "application/json", 3, "Expect: 100-continue\r\n",
                "");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 100);
    client_send(fd, "abc");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    close(fd);
    fd = client_open(f->port);
    client_send(fd, json_post, "/v1/experiments", "text/plain", 3, "Expect: 100-continue\r\n", "");
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 415, "unsupported_media_type");
    assert_true(client_ended(fd));
    close(fd);
}

static void test_cut_and_lying(void **state)
{
    struct fixture *f = *state;
    for (int k = 0; k < 50; k++) { // cut at different places
        int fd = client_open(f->port);
        char text[512];
        int n = snprintf(text, sizeof text, json_post, "/v1/experiments", "application/json", 100,
                         "", "some of it");
        client_send_bytes(fd, text, (size_t)(n - 3 * k > 0 ? n - 3 * k : 1));
        if (k % 2 == 0) { // with a reset
            struct linger now = {.l_onoff = 1, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        close(fd);
    }
    /* a length that is too short: the rest is a bad next request */
    int fd = client_open(f->port);
    client_send(fd, json_post, "/v1/inline", "application/json", 2, "", "abcdef\r\n\r\n");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    assert_has(&f->answer, "\"size\":2");
    close(fd);
    for (int k = 0; k < 3; k++) { // gone while a helper works for it, in three ways
        fd = client_open(f->port);
        client_send(fd, "GET /v1/block HTTP/1.1\r\nHost: localhost\r\n\r\n");
        sem_wait(&f->entered);
        if (k == 1)
            shutdown(fd, SHUT_RDWR);
        close(fd);
    }
    for (int k = 0; k < 3; k++)
        sem_post(&f->gate);
    assert_int_equal(ask(f, json_post, "/v1/experiments", "application/json", 1, "", "1"), 201);
    /* a length that is too long: what follows counts as body, and the answer comes after it */
    fd = client_open(f->port);
    client_send(fd, json_post, "/v1/inline", "application/json", 9, "", "abc");
    client_send(fd, "GET / H");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    assert_has(&f->answer, "\"size\":9");
    close(fd);
    /* what is no request: answered 4xx, or nothing but the end */
    static const char *const junk[] = {"GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                                       "GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
                                       "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1"
                                       "\r\n\r\n"};
    for (size_t k = 0; k < sizeof junk / sizeof *junk; k++) {
        fd = client_open(f->port);
        client_send(fd, "%s", junk[k]);
        client_read(fd, false, &f->answer);
        print_message("junk %zu -> %d\n", k, f->answer.status);
        assert_true(f->answer.status <= 0 || f->answer.status >= 400);
        close(fd);
    }
    static const char *const partial[] = {"",
                                          "\r\n\r\n",
                                          "G",
                                          "GET /healthz",
                                          "\x16\x03\x01\x02",
                                          "GET /healthz HTTP/1.1\r\nHost: local"};
    for (size_t k = 0; k < sizeof partial / sizeof *partial; k++) {
        fd = client_open(f->port);
        client_send(fd, "%s", partial[k]);
        close(fd);
    }
    assert_int_equal(get(f, "/healthz"), 200);
}

static int post_body(struct fixture *f, int fd, const char *path, const char *bytes)
{
    client_send(fd, json_post, path, "application/json", BODY, "", "");
    client_send_bytes(fd, bytes, BODY);
    client_read(fd, false, &f->answer);
    return f->answer.status;
}

static void test_body_memory(void **state)
{
    struct fixture *f = *state;
    char *bytes = calloc(1, BODY);
    int idle[10], first = client_open(f->port), second = client_open(f->port);
    for (int k = 0; k < 10; k++) { // announcing holds nothing
        idle[k] = client_open(f->port);
        client_send(idle[k], json_post, "/v1/inline", "application/json", BODY, "", "");
    }
    assert_int_equal(post_body(f, second, "/v1/inline", bytes), 201);
    /* A handler holds the first body; TOTAL is less than twice BODY. */
    client_send(first, json_post, "/v1/hold", "application/json", BODY, "", "");
    client_send_bytes(first, bytes, BODY);
    sem_wait(&f->entered);
    for (int k = 0; k < 3; k++) {
        post_body(f, second, "/v1/inline", bytes);
        assert_error(&f->answer, 503, "busy");
        assert_header(&f->answer, "Retry-After", "1");
    }
    assert_int_equal(ask(f, json_post, "/v1/inline", "application/json", 1, "", "1"), 201);
    sem_post(&f->gate);
    client_read(first, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    while (post_body(f, second, "/v1/inline", bytes) == 503) // until the first is freed
        ;
    assert_int_equal(f->answer.status, 201);
    for (int k = 0; k < 10; k++)
        close(idle[k]);
    close(first);
    close(second);
    free(bytes);
}

/* ---- replies ---- */

static void test_etag(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *list;
        int status;
    } cases[] = {{"\"sha256:ab\"", 304},
                 {"W/\"sha256:ab\"", 304},
                 {"*", 304},
                 {"\"x\", W/\"y\" , \"sha256:ab\"", 304},
                 {"\"x\"\r\nIf-None-Match: *", 304},
                 {"\"a,b\",\"sha256:ab\"", 304},
                 {"\"sha256:a\"", 200},
                 {"\"sha256:abc\"", 200},
                 {"sha256:ab", 200},
                 {"\"sha256:ab", 200},
                 {"", 200},
                 {"\"x\",", 200}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        static const char *const methods[] = {"GET", "HEAD"};
        for (size_t m = 0; m < 2; m++) {
            int status = ask(f,
                             "%s /v1/tagged HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %s"
                             "\r\n\r\n",
                             methods[m], cases[k].list);
            if (status != cases[k].status)
                fail_msg("%s: %d, wanted %d", cases[k].list, status, cases[k].status);
            assert_header(&f->answer, "ETag", "\"sha256:ab\"");
            assert_header(&f->answer, "Cache-Control", "private, no-cache");
            assert_header(&f->answer, "X-Content-Type-Options", "nosniff");
        }
    }
    get(f, "/v1/tagged");
    assert_string_equal(f->answer.body, "tagged");
    assert_header(&f->answer, "Content-Type", "text/plain; charset=utf-8");
    get_error(f, "/v1/tagged?fail", 409, "conflict"); // which asserts no-store
    assert_header(&f->answer, "ETag", "");
    get_error(f, "/v1/silent", 500, "internal_error");
    get_error(f, "/v1/split", 500, "internal_error");
    assert_null(strstr(f->answer.head, "Injected"));
}

static void test_pipelining(void **state)
{
    struct fixture *f = *state;
    char value[64];
    int fd = client_open(f->port);
    for (int k = 1; k <= 100; k++)
        assert_true(client_send(fd, "GET /v1/runs/%d%s HTTP/1.1\r\nHost: localhost\r\n\r\n", k,
                                k % 3 == 0 ? "/weights" : ""));
    for (int k = 1; k <= 100; k++) {
        client_read(fd, false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        snprintf(value, sizeof value, "\"id\":%d,", k);
        assert_has(&f->answer, value);
    }
    client_send(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    assert_true(client_ended(fd));
    close(fd);
    /* byte by byte, beside others */
    static const char slow[] = "POST /v1/experiments HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "application/json\r\nContent-Length: 3\r\n\r\nabc";
    fd = client_open(f->port);
    for (size_t k = 0; k < sizeof slow - 1; k++) {
        client_send_bytes(fd, slow + k, 1);
        if (k % 10 == 0)
            assert_int_equal(get(f, "/healthz"), 200);
    }
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    close(fd);
}

/* ---- threads ---- */

static void test_many_connections(void **state)
{
    enum { MANY = 200 };
    struct fixture *f = *state;
    int fds[MANY];
    for (int k = 0; k < MANY; k++)
        assert_true((fds[k] = client_open(f->port)) >= 0);
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < MANY; k++)
            client_send(fds[k], "GET /v1/runs/%d HTTP/1.1\r\nHost: localhost\r\n\r\n", k + 1);
        for (int k = MANY; k-- > 0;) {
            char id[32];
            snprintf(id, sizeof id, "\"id\":%d,", k + 1);
            client_read(fds[k], false, &f->answer);
            assert_int_equal(f->answer.status, 200);
            assert_has(&f->answer, id);
        }
    }
    /* posts to few helpers with a short queue: each is taken or refused, none is lost */
    int taken = 0, refused = 0;
    for (int k = 0; k < MANY; k++)
        client_send(fds[k], json_post, "/v1/experiments", "application/json", 1, "", "1");
    for (int k = 0; k < MANY; k++) {
        client_read(fds[k], false, &f->answer);
        taken += f->answer.status == 201;
        refused += f->answer.status == 503;
        close(fds[k]);
    }
    print_message("%d taken, %d refused\n", taken, refused);
    assert_int_equal(taken + refused, MANY);
    assert_true(taken >= 1);
}

static void test_connection_limit(void **state)
{
    struct fixture *f = *state;
    int fds[CONNECTIONS];
    for (int k = 0; k < CONNECTIONS; k++) {
        assert_true((fds[k] = client_open(f->port)) >= 0);
        client_send(fds[k], "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(fds[k], false, &f->answer);
        assert_int_equal(f->answer.status, 200);
    }
    get(f, "/healthz");
    assert_error(&f->answer, 503, "busy");
    assert_header(&f->answer, "Retry-After", "1");
    for (int k = 0; k < CONNECTIONS; k++)
        close(fds[k]);
    while (get(f, "/healthz") == 503) // until the server has seen the ends
        ;
    assert_int_equal(f->answer.status, 200);
}

/* Holds every helper in /v1/block. */
static void block_helpers(struct fixture *f, int fds[HELPERS])
{
    for (int k = 0; k < HELPERS; k++) {
        fds[k] = client_open(f->port);
        client_send(fds[k], "GET /v1/block HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (int k = 0; k < HELPERS; k++)
        sem_wait(&f->entered);
}

static void test_blocked_helpers(void **state)
{
    struct fixture *f = *state;
    int fds[HELPERS], waiting[WAITING + 1];
    block_helpers(f, fds);
    for (int k = 0; k < 100; k++)
        assert_int_equal(get(f, "/healthz"), 200);
    /* WAITING more find room; of WAITING + 1, whichever comes last is refused. */
    for (int k = 0; k <= WAITING; k++) {
        waiting[k] = client_open(f->port);
        client_send(waiting[k], "GET /v1/runs/1/weights HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_int_equal(get(f, "/healthz"), 200);
    /* Readable before the gate opens: the refused one alone. */
    fd_set ready;
    int last = 0, n = 0, refused = 0;
    FD_ZERO(&ready);
    for (int k = 0; k <= WAITING; k++) {
        FD_SET(waiting[k], &ready);
        last = waiting[k] > last ? waiting[k] : last;
    }
    n = select(last + 1, &ready, NULL, NULL, &(struct timeval){.tv_sec = CLIENT_TIMEOUT_S});
    assert_int_equal(n, 1);
    for (int k = 0; k < HELPERS; k++)
        sem_post(&f->gate);
    for (int k = 0; k <= WAITING; k++) {
        client_read(waiting[k], false, &f->answer);
        if (FD_ISSET(waiting[k], &ready)) {
            assert_error(&f->answer, 503, "busy");
            assert_header(&f->answer, "Retry-After", "1");
            refused++;
        } else {
            assert_int_equal(f->answer.status, 200);
        }
        close(waiting[k]);
    }
    assert_int_equal(refused, 1);
    for (int k = 0; k < HELPERS; k++) {
        client_read(fds[k], false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        close(fds[k]);
    }
}

/* ---- the end ---- */

static void *drain(void *context)
{
    struct fixture *f = context;
    http_drain(f->server, CLIENT_TIMEOUT_S * 1000);
    sem_post(&f->drained);
    return NULL;
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    int value, fds[HELPERS], kept = client_open(f->port), refused;
    client_send(kept, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(kept, false, &f->answer);
    block_helpers(f, fds);
    assert_int_equal(pthread_create(&thread, NULL, drain, f), 0);
    while ((refused = client_open(f->port)) >= 0) // until it listens no more
        close(refused);
    /* an old connection's new request is answered 503, and that is its end */
    client_send(kept, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(kept, false, &f->answer);
    assert_error(&f->answer, 503, "busy");
    assert_true(client_ended(kept));
    close(kept);
    sem_getvalue(&f->drained, &value);
    assert_int_equal(value, 0);
    for (int k = 0; k < HELPERS; k++)
        sem_post(&f->gate);
    for (int k = 0; k < HELPERS; k++) {
        client_read(fds[k], false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        assert_header(&f->answer, "Connection", "close");
        close(fds[k]);
    }
    pthread_join(thread, NULL); // with 30 s to go: it ended because nothing was in flight
}

static void test_drain_times_out(void **state)
{
    struct fixture *f = *state;
    int fds[HELPERS];
    block_helpers(f, fds);
    http_drain(f->server, 20);
    http_drain(f->server, 0); // twice is fine
    for (int k = 0; k < HELPERS; k++)
        sem_post(&f->gate);
    for (int k = 0; k < HELPERS; k++) {
        client_read(fds[k], false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        close(fds[k]);
    }
}

static void *stop(void *context)
{
    struct fixture *f = context;
    http_stop(f->server);
    return NULL;
}

static void test_stop_in_the_middle(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    int fds[HELPERS], waiting = client_open(f->port), half = client_open(f->port), probe;
    client_send(half, json_post, "/v1/inline", "application/json", 9, "", "abc");
    block_helpers(f, fds);
    client_send(waiting, "GET /v1/block HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(pthread_create(&thread, NULL, stop, f), 0);
    while ((probe = client_open(f->port)) >= 0)
        close(probe);
    client_read(waiting, false, &f->answer); // it waited, or came too late: 503 both ways
    assert_error(&f->answer, 503, "busy");
    for (int k = 0; k < HELPERS; k++)
        sem_post(&f->gate);
    for (int k = 0; k < HELPERS; k++) {
        client_read(fds[k], false, &f->answer);
        assert_int_equal(f->answer.status, 200);
        close(fds[k]);
    }
    pthread_join(thread, NULL);
    f->server = NULL; // stopped already
    client_read(half, false, &f->answer);
    assert_int_equal(f->answer.status, 0);
    assert_int_equal(atomic_load(&f->blocks), HELPERS);
    close(half);
    close(waiting);
}

/* Starts on `address`; the message must contain `words`, NULL: it must work. */
static void start_on(const char *address, const char *words)
{
    struct http_server *server;
    struct tet_error error = {0};
    struct http_options options = {.listen = address, .threads = 1, .max_body_bytes = BODY};
    uint16_t port = 0;
    enum tet_err err = http_start(&server, &options, routes, NULL, &port, &error);
    print_message("'%s': %s\n", address, err == TET_OK ? "ok" : error.message);
    if (words == NULL && err == TET_OK) {
        assert_int_not_equal(port, 0);
        http_stop(server);
        return;
    }
    if (words == NULL || err != TET_ADDRESS || strstr(error.message, words) == NULL)
        fail_msg("'%s': %s, wanted '%s'", address, error.message, words);
    assert_null(server);
}

static void test_listen(void **state)
{
    struct fixture *f = *state;
    char address[64], in_use[96];
    start_on("127.0.0.1:0", NULL);
    start_on("127.1.2.3:0", NULL);
    start_on("localhost:0", NULL);
    start_on("LocalHost:00000", NULL);
    int v6 = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 one = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (v6 >= 0 && bind(v6, (struct sockaddr *)&one, sizeof one) == 0)
        start_on("[::1]:0", NULL);
    close(v6);
    static const char *const tokens[] = {":8080", "0.0.0.0:0",    "10.1.2.3:80", "[::]:0",
                                         "*:80",  "[fe80::1]:80", "8.8.8.8:0"};
    for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++)
        start_on(tokens[k], "access tokens");
    static const char *const bad[] = {"",
                                      "8080",
                                      "localhost",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:8o",
                                      "::1:80",
                                      "[::1]",
                                      "[::1]80",
                                      "[]:80",
                                      "example.org:80",
                                      "[x]:1",
                                      "127.0.0.1: 80",
                                      "127.0.0.1:000000",
                                      "127.1:80"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        start_on(bad[k], "127.0.0.1:8080, [::1]:8080 or localhost:8080");
    snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
    snprintf(in_use, sizeof in_use, "%s is in use", address);
    start_on(address, in_use);
    assert_int_equal(get(f, "/healthz"), 200);
    http_stop(NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1) // a pattern of names
        cmocka_set_test_filter(argv[1]);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_paths),
        CASE(test_methods),
        CASE(test_queries),
        CASE(test_hosts),
        CASE(test_bodies),
        CASE(test_too_large),
        CASE(test_expect),
        CASE(test_cut_and_lying),
        CASE(test_body_memory),
        CASE(test_etag),
        CASE(test_pipelining),
        CASE(test_many_connections),
        CASE(test_connection_limit),
        CASE(test_blocked_helpers),
        CASE(test_drain),
        CASE(test_drain_times_out),
        CASE(test_stop_in_the_middle),
        CASE(test_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
