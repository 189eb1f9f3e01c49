// SPDX-License-Identifier: Apache-2.0
/* The HTTP server: routes, hosts, replies, the address it listens on. */
#include "http_fixture.h"

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

/* ---- the address ---- */

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
        start_on(tokens[k], "access token");
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
    const struct CMUnitTest tests[] = {
        CASE(test_paths), CASE(test_methods),    CASE(test_queries), CASE(test_hosts),
        CASE(test_etag),  CASE(test_pipelining), CASE(test_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
