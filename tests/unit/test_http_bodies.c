// SPDX-License-Identifier: Apache-2.0
/* The HTTP server's request bodies: types, lengths true and false, the memory that they share. */
#include "http_fixture.h"

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
                                       ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1"
                                        "\r\n\r\n")};
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

int main(int argc, char **argv)
{
    if (argc > 1) // a pattern of names
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(test_bodies),        CASE(test_too_large),   CASE(test_expect),
        CASE(test_cut_and_lying), CASE(test_body_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
