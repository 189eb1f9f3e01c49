// SPDX-License-Identifier: Apache-2.0
/* Streams: slow clients, how many there may be, other replies, and the end of a server that has some. */
#include "events_fixture.h"

/* A client that does not read holds a bounded amount and slows nobody; when it reads again it is told. */
static void test_slow_client(void **state)
{
    struct fixture *f = *state;
    enum { EVENTS = 12000 }; // more than the sockets' buffers and the ring take
    struct client slow, good;
    char reason[480];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    join(f, &slow, "");
    join(f, &good, "types=1");
    for (int i = 1; i <= EVENTS; i++) {
        happen(f, 1, 1, RUN_RUNNING, reason);
        if (i % 200 > 0)
            continue;
        char mark[40]; // and meanwhile the other one reads
        snprintf(mark, sizeof mark, "mark %d.", i);
        happen(f, 2, 2, RUN_RUNNING, mark);
        await(&good, mark);
        assert_int_equal(times(&good, "event: missed"), 0);
        good.n = 0;
        memset(good.text, 0, TEXT);
    }
    happen(f, 3, 3, RUN_SUCCEEDED, "the end");
    char *text = calloc(1, 2 * 65536 + 1), *found = NULL;
    size_t kept = 0;
    bool told = false;
    while (found == NULL) { // megabytes: only a window of them is kept
        const ssize_t n = recv(slow.fd, text + kept, 65536, 0);
        assert_true(n > 0);
        kept += (size_t)n;
        text[kept] = '\0';
        told = told || strstr(text, "{\"reason\":\"slow\"}") != NULL;
        found = strstr(text, "the end");
        const size_t tail = kept < 100 ? kept : 100;
        memmove(text, text + kept - tail, tail + 1);
        kept = tail;
    }
    assert_true(told);
    assert_true(events_missed(f->events) >= 1);
    free(text);
    leave(&slow), leave(&good);
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    struct client all[STREAMS];
    struct answer *answer = malloc(sizeof *answer);
    char value[256];
    for (int i = 0; i < STREAMS; i++)
        join(f, &all[i], "types=1"); // twice as many as there may be connections
    assert_int_equal(ask_count(f, "streams"), STREAMS);
    assert_true(ask_count(f, "connections") <= 3); // its own, and ones that are about to end
    int fd = client_open(f->port);
    client_send(fd, "GET /e HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, false, answer);
    assert_int_equal(answer->status, 503);
    assert_string_equal(answer_header(answer, "Retry-After", value), "10");
    assert_non_null(strstr(answer->body, "event streams"));
    close(fd);
    for (int i = 0; i < STREAMS; i++)
        leave(&all[i]);
    while (ask_count(f, "streams") > 0) // their ends show when something is sent to them
        happen(f, 1, 1, RUN_RUNNING, NULL);
    struct client again;
    join(f, &again, "");
    leave(&again);
    free(answer);
}

static void test_other_replies(void **state)
{
    struct fixture *f = *state;
    struct answer *answer = malloc(sizeof *answer);
    int fd = client_open(f->port);
    client_send(fd, "HEAD /e HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, true, answer);
    assert_int_equal(answer->status, 200);
    client_send(fd, "GET /fails HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, false, answer);
    assert_int_equal(answer->status, 409);
    close(fd);
    assert_int_equal(ask_count(f, "streams"), 0);
    fd = client_open(f->port);
    client_send(fd, "GET /e HTTP/1.0\r\nHost: localhost\r\n\r\n");
    size_t n = 0;
    while (strstr(answer->body, ": tetrad\n") == NULL && n + 1 < sizeof answer->body) {
        const ssize_t got = recv(fd, answer->body + n, 1, 0);
        assert_true(got == 1);
        answer->body[++n] = '\0';
    }
    assert_null(strstr(answer->body, "chunked"));
    close(fd);
    free(answer);
}

/* What did not fit is replaced, once, and what comes later follows: 65 texts fit, the 66th does not. */
static void test_overflow(void **state)
{
    struct fixture *f = *state;
    struct client c;
    char wanted[16];
    join_path(f, &c, "/overflow", "");
    await(&c, "<99>");
    assert_int_equal(strncmp(c.text, "INSTEAD;<66>.", 13), 0);
    assert_int_equal(times(&c, "INSTEAD"), 1);
    for (int i = 0; i < 100; i++) {
        snprintf(wanted, sizeof wanted, "<%d>", i);
        assert_int_equal(times(&c, wanted), i >= 66);
    }
    leave(&c);
}

/* A client that takes nothing keeps the server no longer than the grace. */
static void test_drain_stuck(void **state)
{
    struct fixture *f = *state;
    struct client stuck, idle;
    struct timespec begun, now;
    join_path(f, &stuck, "/stuffed", "");
    join(f, &idle, "");
    clock_gettime(CLOCK_MONOTONIC, &begun);
    http_drain(f->server, 60000);
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_true(now.tv_sec - begun.tv_sec < 20);
    await_end(&idle);
    leave(&stuck), leave(&idle);
}

/* The server stops with idle streams, with one that does not read, and with events still coming. */
static void *bustle(void *context)
{
    struct fixture *f = context;
    for (int i = 0; i < 3000; i++)
        happen(f, 1, 1, RUN_RUNNING, "bustle"), record(f, 1, 1, (uint64_t)i + 1, 1.0);
    return NULL;
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    struct client idle[8], busy;
    pthread_t thread;
    for (int i = 0; i < 8; i++)
        join(f, &idle[i], "experiment=50");
    join(f, &busy, "");
    assert_int_equal(pthread_create(&thread, NULL, bustle, f), 0);
    http_drain(f->server, 10000);
    for (int i = 0; i < 8; i++) {
        await_end(&idle[i]);
        assert_int_equal(times(&idle[i], "event: "), 0);
        leave(&idle[i]);
    }
    pthread_join(thread, NULL);
    leave(&busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_slow_client),   CASE(test_limit),
                                       CASE(test_other_replies), CASE(test_overflow),
                                       CASE(test_drain_stuck),   CASE(test_drain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
