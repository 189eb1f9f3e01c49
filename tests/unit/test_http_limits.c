// SPDX-License-Identifier: Apache-2.0
/* The HTTP server with all it can take: connections, helpers; and its end. */
#include <pthread.h>

#include "http_fixture.h"

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
        client_send(fds[k], "GET /healthz HTTP/1.1\r\n"); // not idle: it would give way
    }
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    get(f, "/healthz");
    assert_error(&f->answer, 503, "busy");
    assert_header(&f->answer, "Retry-After", "1");
    for (int k = 0; k < CONNECTIONS; k++)
        close(fds[k]);
    while (get(f, "/healthz") == 503) // until the server has seen the ends
        ;
    assert_int_equal(f->answer.status, 200);
}

static int set_up_one_thread(void **state)
{
    return set_up_with(state, 1);
}

/* The limit holds for connections that the library's thread has not taken up yet: while it is held,
 * the next connection is refused at once, and nothing piles up in the library. */
static void test_limit_while_the_thread_is_held(void **state)
{
    struct fixture *f = *state;
    int fds[CONNECTIONS];
    fds[0] = client_open(f->port);
    client_send(fds[0], "GET /v1/wedge HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sem_wait(&f->entered);
    for (int k = 1; k < CONNECTIONS; k++)
        assert_true((fds[k] = client_open(f->port)) >= 0);
    get(f, "/healthz");
    assert_error(&f->answer, 503, "busy");
    sem_post(&f->gate);
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

int main(int argc, char **argv)
{
    if (argc > 1) // a pattern of names
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CASE(test_many_connections),
        CASE(test_connection_limit),
        cmocka_unit_test_setup_teardown(test_limit_while_the_thread_is_held, set_up_one_thread,
                                        tear_down),
        CASE(test_blocked_helpers),
        CASE(test_drain),
        CASE(test_drain_times_out),
        CASE(test_stop_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
