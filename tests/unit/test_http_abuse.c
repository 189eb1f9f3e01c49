// SPDX-License-Identifier: Apache-2.0
/* The HTTP server and clients that mean harm or are broken: slow ones, floods, what they accept. */
#include <poll.h>
#include <sys/resource.h>
#include <time.h>

#include "http_fixture.h"

#include "http/http_private.h"

enum { PATIENCE_MS = 200, LONG_PATIENCE_MS = 4000, LARGE = 8 << 20, MANY = 10000 };

static char large_bytes[LARGE];

static void large(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context, (void)request;
    http_reply_static(reply, 200, "application/octet-stream", large_bytes, LARGE);
}

static const struct http_route abuse_routes[] = {
    {ROLE_VIEWER, "GET", "/healthz", health, false, NULL},
    {ROLE_VIEWER, "GET", "/large", large, false, NULL},
    {ROLE_VIEWER, "GET", "/npz", npz, false, NULL},
    {ROLE_VIEWER, "GET", "/block", block, true, NULL},
    {ROLE_VIEWER, "POST", "/size", size, true, "application/json"},
    {ROLE_VIEWER, NULL, NULL, NULL, false, NULL},
};

static int start_patient(void **state, uint32_t patience_ms)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tet_error error = {0};
    const struct http_options options = {.listen = "127.0.0.1:0",
                                         .helpers = HELPERS,
                                         .max_body_bytes = BODY,
                                         .max_total_bytes = TOTAL,
                                         .max_connections = CONNECTIONS,
                                         .max_waiting = WAITING,
                                         .patience_ms = patience_ms};
    sem_init(&f->entered, 0, 0);
    sem_init(&f->gate, 0, 0);
    sem_init(&f->drained, 0, 0);
    *state = f;
    f->descriptors = count_descriptors();
    if (http_start(&f->server, &options, abuse_routes, f, &f->port, &error) == TET_OK)
        return 0;
    print_error("http_start: %s\n", error.message);
    return -1;
}

static int start(void **state)
{
    return start_patient(state, PATIENCE_MS);
}

static int start_slow(void **state)
{
    return start_patient(state, LONG_PATIENCE_MS);
}

#define ABUSE(name) cmocka_unit_test_setup_teardown(name, start, tear_down)

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sends one byte again and again; whether the server ends the connection, in how many ms. */
static int64_t drip(int fd, const char *text)
{
    const int64_t from = now_ms();
    struct pollfd end = {.fd = fd, .events = POLLIN | POLLRDHUP};
    while (now_ms() - from < CLIENT_TIMEOUT_S * 1000) {
        if (poll(&end, 1, 10) == 1)
            return now_ms() - from;
        (void)!send(fd, *text != '\0' ? text++ : "x", 1, MSG_NOSIGNAL);
    }
    fail_msg("the server keeps the connection");
    return 0;
}

/* Of the server; a test waits for the last one to end. */
static void await_no_connection(struct fixture *f)
{
    const int64_t from = now_ms();
    while (atomic_load(&f->server->connections) > 0 && now_ms() - from < CLIENT_TIMEOUT_S * 1000)
        pause_ms(5);
    assert_int_equal(atomic_load(&f->server->connections), 0);
}

/* ---- slow senders ---- */

static void test_slow_headers(void **state)
{
    struct fixture *f = *state;
    static const char *const starts[] = {"", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: a",
                                         "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        const int fd = client_open(f->port);
        client_send_bytes(fd, starts[i], strlen(starts[i]));
        const int64_t took = drip(fd, "");
        print_message("# \"%.20s\": %lld ms\n", starts[i], (long long)took);
        assert_true(took >= PATIENCE_MS / 2);
        if (i >= 2) { // there is a request to be answered
            client_read(fd, false, &f->answer);
            assert_error(&f->answer, 408, "timeout");
        }
        assert_true(client_ended(fd));
        close(fd);
    }
    /* Silent from the start. */
    const int fd = client_open(f->port);
    assert_true(client_ended(fd));
    close(fd);
    await_no_connection(f);
    assert_int_equal(get(f, "/healthz"), 200);
}

static void test_slow_body(void **state)
{
    struct fixture *f = *state;
    int fd = client_open(f->port);
    client_send(fd, json_post, "/size", "application/json", 50000, "", "");
    const int64_t took = drip(fd, "123");
    print_message("# %lld ms\n", (long long)took);
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 408, "timeout");
    assert_true(client_ended(fd));
    close(fd);
    /* A body that is thrown away has its time too. */
    fd = client_open(f->port);
    client_send(fd, json_post, "/nothing", "application/json", 50000, "", "");
    drip(fd, "123");
    close(fd);
    await_no_connection(f);
    assert_int_equal(atomic_load(&f->server->budget.used), 0);
}

/* A body whose client is gone holds its room no longer, whatever time it would have. The end comes
 * with the last bytes, in one edge of epoll. */
static void test_cut_body(void **state)
{
    struct fixture *f = *state;
    char request[512];
    const int n =
        snprintf(request, sizeof request, json_post, "/size", "application/json", 50000, "", "123");
    const int64_t from = now_ms();
    for (int i = 0; i < 4; i++) {
        const int fd = client_open(f->port);
        client_send_bytes(fd, request, (size_t)n);
        close(fd);
    }
    pause_ms(50);
    await_no_connection(f);
    print_message("# %lld ms\n", (long long)(now_ms() - from));
    assert_true(now_ms() - from < LONG_PATIENCE_MS / 2);
    assert_int_equal(atomic_load(&f->server->budget.used), 0);
    /* One that closes its end once it has sent all has its answer. */
    const int fd = client_open(f->port);
    client_send(fd, json_post, "/size", "application/json", 1, "", "1");
    shutdown(fd, SHUT_WR);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    char line[16] = "";
    assert_int_equal(poll(&answer, 1, CLIENT_TIMEOUT_S * 1000), 1);
    assert_int_equal(recv(fd, line, 12, MSG_WAITALL), 12);
    assert_string_equal(line, "HTTP/1.1 201");
    close(fd);
}

/* What came fast at first is no credit for ever: after three patiences without a byte a body is late,
 * however much came before. */
static void test_stalled_body(void **state)
{
    struct fixture *f = *state;
    char bytes[BODY / 2];
    const int fd = client_open(f->port);
    memset(bytes, '1', sizeof bytes);
    client_send(fd, json_post, "/size", "application/json", BODY, "", "");
    client_send_bytes(fd, bytes, sizeof bytes); // 32 s at the rate
    const int64_t from = now_ms();
    client_read(fd, false, &f->answer);
    assert_error(&f->answer, 408, "timeout");
    print_message("# %lld ms\n", (long long)(now_ms() - from));
    assert_true(now_ms() - from >= 2 * PATIENCE_MS && now_ms() - from < 20 * PATIENCE_MS);
    close(fd);
    await_no_connection(f);
    assert_int_equal(atomic_load(&f->server->budget.used), 0);
}

/* Connections without a request give way to those that have one. */
static void test_idle_give_way(void **state)
{
    struct fixture *f = *state;
    int fds[CONNECTIONS];
    for (int k = 0; k < CONNECTIONS; k++) {
        assert_true((fds[k] = client_open(f->port)) >= 0);
        client_send(fds[k],
                    k % 2 == 0 ? "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" : "GET /he");
    }
    pause_ms(300);
    for (int k = 0; k < 2 * CONNECTIONS; k++)
        assert_int_equal(get(f, "/healthz"), 200);
    for (int k = 0; k < CONNECTIONS; k++)
        close(fds[k]);
}

/* Slower than the patience, but not too slow. */
static void test_steady_body(void **state)
{
    struct fixture *f = *state;
    char bytes[500];
    const int fd = client_open(f->port);
    memset(bytes, '1', sizeof bytes);
    client_send(fd, json_post, "/size", "application/json", 20 * 500, "", "");
    for (int i = 0; i < 20; i++) {
        client_send_bytes(fd, bytes, sizeof bytes);
        pause_ms(PATIENCE_MS / 6);
    }
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 201);
    close(fd);
}

/* What we take long for is not the client's fault. */
static void test_slow_handler(void **state)
{
    struct fixture *f = *state;
    const int fd = client_open(f->port);
    client_send(fd, "GET /block HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sem_wait(&f->entered);
    pause_ms(3 * PATIENCE_MS);
    sem_post(&f->gate);
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    /* ... and the connection goes on. */
    pause_ms(2 * PATIENCE_MS);
    client_send(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, false, &f->answer);
    assert_int_equal(f->answer.status, 200);
    close(fd);
}

/* ---- slow readers ---- */

static int open_narrow(struct fixture *f)
{
    const int fd = client_open(f->port), bytes = 16384;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    client_send(fd, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return fd;
}

static void test_slow_readers(void **state)
{
    struct fixture *f = *state;
    char bytes[1];
    int fds[20];
    for (int i = 0; i < 20; i++)
        fds[i] = open_narrow(f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(recv(fds[i], bytes, 1, 0), 1);
    await_no_connection(f); // they read no more
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    assert_int_equal(get(f, "/healthz"), 200);
}

static void test_steady_reader(void **state)
{
    struct fixture *f = *state;
    const int fd = open_narrow(f);
    static char bytes[1 << 18];
    const int64_t from = now_ms();
    size_t total = 0;
    for (ssize_t n = 1; n > 0 && total < LARGE;) {
        n = recv(fd, bytes, sizeof bytes, MSG_WAITALL);
        total += n > 0 ? (size_t)n : 0;
        pause_ms(PATIENCE_MS / 8);
    }
    print_message("# %zu bytes in %lld ms\n", total, (long long)(now_ms() - from));
    assert_true(total >= LARGE);
    close(fd);
}

/* ---- floods ---- */

static void test_header_floods(void **state)
{
    struct fixture *f = *state;
    char *flood = malloc(1 << 20);
    size_t n = (size_t)sprintf(flood, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 5000; i++)
        n += (size_t)sprintf(flood + n, "X-%d: %d\r\n", i, i);
    strcpy(flood + n, "\r\n");
    int fd = client_open(f->port);
    client_send_bytes(fd, flood, n + 2);
    client_read(fd, false, &f->answer);
    print_message("# 5000 headers: %d\n", f->answer.status);
    assert_true(f->answer.status == 431 || f->answer.status <= 0); // a reset may overtake it
    close(fd);
    n = (size_t)sprintf(flood, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(flood + n, 'a', 100000);
    strcpy(flood + n + 100000, "\r\n\r\n");
    fd = client_open(f->port);
    client_send_bytes(fd, flood, strlen(flood));
    client_read(fd, false, &f->answer);
    assert_true(f->answer.status == 431 || f->answer.status <= 0);
    close(fd);
    free(flood);
    assert_int_equal(get(f, "/healthz"), 200);
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 10,000 that connect and say half a request: the limit holds, memory with it, and the server is there
 * when they are gone. */
static void test_many_connections(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = MANY + CONNECTIONS + LINGER_MAX + 256;
    if (limit.rlim_cur > limit.rlim_max || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        print_message("# skipped: at most %ld files may be open\n", (long)limit.rlim_max);
        skip();
    }
    int *fds = malloc(MANY * sizeof *fds);
    const long kib = resident_kib();
    size_t most = 0;
    for (int k = 0; k < MANY; k++) {
        fds[k] = client_open(f->port);
        assert_true(fds[k] >= 0);
        client_send(fds[k], "GET /healthz HTTP/1.1\r\nHost: loc");
        const size_t now = atomic_load(&f->server->connections);
        most = now > most ? now : most;
    }
    const long grown = resident_kib() - kib;
    print_message("# at most %zu connections, %ld KiB\n", most, grown);
    assert_true(most <= CONNECTIONS);
    assert_true(grown < 64 * 1024); // the server's side of CONNECTIONS, whatever a sanitizer adds
    await_no_connection(f);         // their time is up, they need not close
    assert_int_equal(get(f, "/healthz"), 200);
    for (int k = 0; k < MANY; k++)
        close(fds[k]);
    free(fds);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* One address that is not this machine gets its share and no more. */
static void test_share_of_an_address(void **state)
{
    (void)state;
    struct connections all = {0};
    struct sockaddr_in from = {.sin_family = AF_INET};
    connections_init(&all, 8, 0, PATIENCE_MS, NULL); // a quarter
    inet_pton(AF_INET, "10.0.0.1", &from.sin_addr);
    for (int fd = 1000; fd < 1003; fd++)
        assert_true(connections_add(&all, fd, (struct sockaddr *)&from));
    assert_false(connections_add(&all, 1003, (struct sockaddr *)&from));
    connections_remove(&all, connections_find(&all, 1001));
    assert_null(connections_find(&all, 1001));
    assert_true(connections_add(&all, 1003, (struct sockaddr *)&from));
    inet_pton(AF_INET, "10.0.0.2", &from.sin_addr);
    assert_true(connections_add(&all, 1004, (struct sockaddr *)&from));
    inet_pton(AF_INET, "127.0.0.1", &from.sin_addr);
    for (int fd = 2000; fd < 2100; fd++)
        assert_true(connections_add(&all, fd, (struct sockaddr *)&from));
    connections_stop(&all);
}

/* What was asked for holds for loopback too; of IPv6 whoever has an address has its first 64 bits. */
static void test_share_that_was_asked_for(void **state)
{
    (void)state;
    struct connections all = {0};
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in6 from6 = {.sin6_family = AF_INET6};
    connections_init(&all, 1000, 2, PATIENCE_MS, NULL);
    inet_pton(AF_INET, "127.0.0.1", &from.sin_addr);
    assert_true(connections_add(&all, 1000, (struct sockaddr *)&from));
    assert_true(connections_add(&all, 1001, (struct sockaddr *)&from));
    assert_false(connections_add(&all, 1002, (struct sockaddr *)&from));
    static const char *const addresses[] = {"2001:db8:0:1::1", "2001:db8:0:1::2",
                                            "2001:db8:0:1:ffff::3", "2001:db8:0:2::1"};
    for (int i = 0; i < 4; i++) {
        inet_pton(AF_INET6, addresses[i], &from6.sin6_addr);
        assert_int_equal(connections_add(&all, 2000 + i, (struct sockaddr *)&from6), i != 2);
    }
    connections_stop(&all);
}

static void test_default_share(void **state)
{
    (void)state;
    struct connections all = {0};
    struct sockaddr_in from = {.sin_family = AF_INET};
    connections_init(&all, 4096, 0, PATIENCE_MS, NULL);
    inet_pton(AF_INET, "10.0.0.1", &from.sin_addr);
    for (int fd = 0; fd < DEFAULT_PER_ADDRESS; fd++)
        assert_true(connections_add(&all, fd, (struct sockaddr *)&from));
    assert_false(connections_add(&all, DEFAULT_PER_ADDRESS, (struct sockaddr *)&from));
    connections_stop(&all);
}

/* ---- headers ---- */

static void test_accept(void **state)
{
    struct fixture *f = *state;
    static const char format[] = "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n";
    assert_int_equal(ask(f, format, "/healthz", "text/html, */*;q=0.1"), 200);
    assert_int_equal(ask(f, format, "/healthz", "application/*"), 200);
    ask(f, format, "/healthz", "image/png");
    assert_error(&f->answer, 406, "not_acceptable");
    ask(f, format, "/healthz", "application/json;q=0, text/*");
    assert_error(&f->answer, 406, "not_acceptable");
    assert_int_equal(ask(f, format, "/npz", "application/json"), 200); // is no JSON: as ever
    assert_int_equal(ask(f, format, "/nothing", "image/png"), 404);    // an error is an error
    ask(f, json_post, "/size", "application/json", 1, "Accept: image/png\r\n", "1");
    assert_error(&f->answer, 406, "not_acceptable");
    ask(f, json_post, "/size", "application/json", 1, "Accept: application/json\r\n", "1");
    assert_int_equal(f->answer.status, 201);
}

static void test_guards(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/healthz", "/nothing", "/npz", "/healthz?x=%"};
    for (size_t i = 0; i < 4; i++) {
        get(f, paths[i]);
        assert_header(&f->answer, "X-Content-Type-Options", "nosniff");
        assert_header(&f->answer, "Referrer-Policy", "no-referrer");
        assert_header(&f->answer, "X-Frame-Options", "DENY");
        assert_header(&f->answer, "Cache-Control", "no-store");
        assert_header(&f->answer, "Access-Control-Allow-Origin", "");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) // a pattern of names
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        ABUSE(test_slow_headers),
        ABUSE(test_slow_body),
        cmocka_unit_test_setup_teardown(test_cut_body, start_slow, tear_down),
        ABUSE(test_steady_body),
        ABUSE(test_slow_handler),
        ABUSE(test_slow_readers),
        ABUSE(test_steady_reader),
        ABUSE(test_header_floods),
        ABUSE(test_stalled_body),
        cmocka_unit_test_setup_teardown(test_idle_give_way, start_slow, tear_down),
        ABUSE(test_many_connections),
        cmocka_unit_test(test_share_of_an_address),
        cmocka_unit_test(test_share_that_was_asked_for),
        cmocka_unit_test(test_default_share),
        ABUSE(test_accept),
        ABUSE(test_guards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
