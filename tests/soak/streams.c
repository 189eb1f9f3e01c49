// SPDX-License-Identifier: Apache-2.0
/* Listeners: see load.c. */
#include "soak/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE = 64, GREETING = 4096 };

/* An event that all streams of a group get. */
struct entry {
    uint64_t id;
    size_t bytes;
};

struct group {
    const char *types;
    size_t streams;
    uint64_t begin; // ids after it count
    struct entry *log;
    size_t n, capacity;
    struct group *next;
};

struct stream {
    struct group *group;
    int fd;
    size_t next; // in the group's log
    char line[LINE];
    size_t line_bytes, block_bytes; // of the line and of the event so far
    uint64_t id;                    // of the event; 0: none
    bool is_missed, is_event;
    struct stream *next_stream;
};

static struct group *groups;
static struct stream *streams;
static struct {
    size_t open, closed, events, counted, missed, unequal;
    uint64_t bytes;
} total;

/* ---- what comes ---- */

/* An event with an id, in its place among all. */
static void count(struct stream *s)
{
    struct group *g = s->group;
    if (s->id <= g->begin)
        return;
    total.counted++;
    if (s->next == g->n) {
        g->log = more(g->log, g->n, &g->capacity, sizeof *g->log);
        g->log[g->n++] = (struct entry){s->id, s->block_bytes};
    } else if (g->log[s->next].id != s->id || g->log[s->next].bytes != s->block_bytes) {
        total.unequal++;
        while (s->next < g->n && g->log[s->next].id < s->id) // go on from there: one loss is one
            s->next++;
        if (s->next == g->n || g->log[s->next].id != s->id)
            return;
    }
    s->next++;
}

static void end_line(struct stream *s)
{
    s->line[s->line_bytes < LINE ? s->line_bytes : LINE - 1] = '\0';
    if (s->line_bytes == 0) {
        total.events += s->is_event;
        total.missed += s->is_missed;
        if (s->is_event && s->id != 0)
            count(s);
        s->block_bytes = s->id = 0;
        s->is_event = s->is_missed = false;
    } else if (strncmp(s->line, "id: ", 4) == 0) {
        s->id = strtoull(s->line + 4, NULL, 10);
    } else if (strncmp(s->line, "event: ", 7) == 0) {
        s->is_event = true;
        s->is_missed = strcmp(s->line + 7, "missed") == 0;
    }
    s->line_bytes = 0;
}

static void take(struct stream *s, const char *bytes, size_t n)
{
    total.bytes += n;
    while (n > 0) {
        const char *end = memchr(bytes, '\n', n);
        const size_t part = end != NULL ? (size_t)(end - bytes) : n;
        if (s->line_bytes < LINE)
            memcpy(s->line + s->line_bytes, bytes,
                   part < LINE - s->line_bytes ? part : LINE - s->line_bytes);
        s->line_bytes += part;
        s->block_bytes += part;
        if (end == NULL)
            return;
        bytes += part + 1;
        n -= part + 1;
        end_line(s);
    }
}

void streams_read(void *context)
{
    static char bytes[1 << 18];
    struct stream *s = context;
    const ssize_t n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) {
        take(s, bytes, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(s->fd);
        s->fd = -1;
        total.open--;
        total.closed++;
    }
}

/* ---- how they begin ---- */

/* Reads the reply's head and the greeting; what came after that is taken later. */
static void greeted(struct stream *s, char rest[GREETING + 1], size_t *n)
{
    size_t used = 0;
    char *body = NULL, *end = NULL;
    while (end == NULL) {
        const ssize_t got = used < GREETING ? recv(s->fd, rest + used, GREETING - used, 0) : 0;
        if (got <= 0)
            fail("a stream's greeting");
        used += (size_t)got;
        rest[used] = '\0';
        body = strstr(rest, "\r\n\r\n");
        end = body != NULL ? strstr(body + 4, "\n\n") : NULL;
    }
    const char *id = strstr(body, "\nid: ");
    if (strncmp(rest, "HTTP/1.1 200 ", 13) != 0 || strstr(rest, "chunked") != NULL || id == NULL ||
        id > end) {
        fprintf(stderr, "load: this is no stream: %s\n", rest);
        exit(1);
    }
    const uint64_t begin = strtoull(id + 5, NULL, 10);
    if (begin > s->group->begin)
        s->group->begin = begin;
    *n = used - (size_t)(end + 2 - rest);
    memmove(rest, end + 2, *n);
}

struct waiting {
    struct stream *stream;
    size_t n;
    char bytes[];
};
static struct waiting **waiting;
static size_t n_waiting, max_waiting;

void streams_open(uint16_t port, size_t n, const char *types)
{
    struct group *g = calloc(1, sizeof *g);
    char request[512], rest[GREETING + 1];
    if (g == NULL)
        fail("memory");
    *g = (struct group){.types = types, .streams = n, .next = groups};
    groups = g;
    snprintf(request, sizeof request, "GET /v1/events?types=%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
             types);
    for (size_t i = 0; i < n; i++) {
        struct stream *s = calloc(1, sizeof *s);
        size_t left = 0;
        if (s == NULL)
            fail("memory");
        s->group = g;
        s->fd = dial(port);
        if (send(s->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
            fail("send");
        greeted(s, rest, &left);
        s->next_stream = streams;
        streams = s;
        total.open++;
        struct waiting *w = malloc(sizeof *w + left);
        if (w == NULL)
            fail("memory");
        w->stream = s;
        w->n = left;
        memcpy(w->bytes, rest, left);
        waiting = more(waiting, n_waiting, &max_waiting, sizeof(struct waiting *));
        waiting[n_waiting++] = w;
    }
}

void streams_begin(int poll_fd)
{
    for (size_t i = 0; i < n_waiting; i++) {
        struct stream *s = waiting[i]->stream;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
        take(s, waiting[i]->bytes, waiting[i]->n);
        free(waiting[i]);
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0)
            fail("epoll");
    }
    printf("ready\n");
    fflush(stdout);
}

/* ---- the report ---- */

void streams_report(void)
{
    size_t behind = 0, logged = 0, n = 0;
    for (const struct stream *s = streams; s != NULL; s = s->next_stream)
        behind += s->fd >= 0 && s->next < s->group->n;
    printf("{\"open\": %zu, \"closed\": %zu, \"bytes\": %llu, \"events\": %zu, \"counted\": %zu, "
           "\"missed\": %zu, "
           "\"unequal\": %zu, \"behind\": %zu, \"groups\": [",
           total.open, total.closed, (unsigned long long)total.bytes, total.events, total.counted,
           total.missed, total.unequal, behind);
    for (const struct group *g = groups; g != NULL; g = g->next, n++) {
        logged += g->n;
        printf("%s{\"types\": \"%s\", \"streams\": %zu, \"ids\": %zu}", n > 0 ? ", " : "", g->types,
               g->streams, g->n);
    }
    printf("], \"ids\": %zu}\n", logged);
    fflush(stdout);
}
