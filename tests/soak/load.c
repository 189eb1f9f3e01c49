// SPDX-License-Identifier: Apache-2.0
/*
 * Clients of a server, many in one thread: those that listen and those that ask. Light, so that what is measured is
 * the server.
 *
 *     load PORT streams N TYPES [N TYPES ...]     listens to /v1/events?types=TYPES, N times
 *     load PORT ask                               asks, as the lines of standard input say:
 *         client RATE PATH [PATH ...]                 a client with a connection of its own, RATE requests a second at
 *                                                     random instants, each for one of its paths; {run} and
 *                                                     {experiment} in them stand for one of the latest 64 of
 *         run RUN EXPERIMENT
 *
 * `report` answers a line of JSON and goes on; so does the end of standard input, and ends.
 *
 * What a stream is held to: all with the same types get the same events with the same ids in the same order. All of
 * them are greeted before any is read, and the latest id of a greeting is where counting begins; the first stream to
 * have an event writes its id and its length down, every other must then have the same next.
 */
#include "soak/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *more(void *list, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return list;
    *capacity = *capacity > 0 ? 2 * *capacity : 64;
    list = realloc(list, *capacity * size);
    if (list == NULL)
        fail("memory");
    return list;
}

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int dial(uint16_t port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        fail("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

static void many_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Lines of standard input that are there; false: its end. */
static bool read_commands(bool asks)
{
    static char text[65536];
    static size_t n;
    const ssize_t got = read(STDIN_FILENO, text + n, sizeof text - n - 1);
    if (got <= 0)
        return false;
    n += (size_t)got;
    for (char *end; (end = memchr(text, '\n', n)) != NULL;) {
        *end = '\0';
        if (strcmp(text, "report") == 0)
            asks ? ask_report() : streams_report();
        else if (asks)
            ask_command(text);
        const size_t line = (size_t)(end - text) + 1;
        memmove(text, text + line, n - line);
        n -= line;
    }
    return true;
}

int main(int argc, char **argv)
{
    const bool asks = argc == 3 && strcmp(argv[2], "ask") == 0;
    if (!asks && (argc < 5 || argc % 2 == 0 || strcmp(argv[2], "streams") != 0)) {
        fprintf(stderr, "usage: load PORT ask | load PORT streams N TYPES ...\n");
        return 2;
    }
    const uint16_t port = (uint16_t)atoi(argv[1]);
    const int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[64], commands = {.events = EPOLLIN, .data.ptr = NULL};
    many_descriptors();
    if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &commands) != 0)
        fail("epoll");
    if (asks)
        ask_open(port, poll_fd);
    for (int i = 3; i + 1 < argc; i += 2)
        streams_open(port, (size_t)atoi(argv[i]), argv[i + 1]);
    if (!asks)
        streams_begin(poll_fd);
    for (bool go_on = true; go_on;) {
        const int n = epoll_wait(poll_fd, events, 64, asks ? ask_due() : -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr == NULL)
                go_on = read_commands(asks);
            else if (asks)
                ask_read(events[i].data.ptr);
            else
                streams_read(events[i].data.ptr);
    }
    asks ? ask_report() : streams_report();
    return 0;
}
