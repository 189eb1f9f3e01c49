// SPDX-License-Identifier: Apache-2.0
/* Clients that ask: see load.c. */
#include "soak/load.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATHS = 16, RUNS = 64, HEAD = 8192, STATUSES = 600, TARGET = 512 };
static const double PATIENCE = 30.0; // seconds without an answer: there will be none

/* Replies to one kind of request. */
struct kind {
    char *path;
    double *seconds;
    size_t n, capacity;
    size_t status[STATUSES];
    struct kind *next;
};

struct client {
    double rate, due, asked; // asked 0: nothing is under way
    size_t n_paths;
    struct kind *path[PATHS], *kind;
    int fd;
    char head[HEAD + 1];
    size_t head_bytes, left; // of the body
    bool in_body, closes;
    int status;
    struct client *next;
};

static uint16_t to_port;
static int poller;
static struct kind *kinds;
static struct client *clients;
static struct {
    long long run, experiment;
} runs[RUNS];
static size_t n_runs;
static size_t unanswered, reconnected;
static uint64_t state = 88172645463325252u;

static double uniform(void) // (0, 1)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

void ask_open(uint16_t port, int poll_fd)
{
    const struct sched_param first = {.sched_priority = 1};
    to_port = port;
    poller = poll_fd;
    /* Ahead of the other clients, where that is allowed: the server's wait for a processor is measured, not ours. */
    (void)sched_setscheduler(0, SCHED_FIFO, &first);
    printf("ready\n");
    fflush(stdout);
}

static struct kind *kind_of(const char *path)
{
    for (struct kind *k = kinds; k != NULL; k = k->next)
        if (strcmp(k->path, path) == 0)
            return k;
    struct kind *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL || (fresh->path = strdup(path)) == NULL)
        fail("memory");
    fresh->next = kinds;
    return kinds = fresh;
}

static void connect_client(struct client *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (c->fd >= 0)
        close(c->fd);
    c->fd = dial(to_port);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll");
}

void ask_command(char *line)
{
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    if (word != NULL && strcmp(word, "run") == 0) {
        runs[n_runs % RUNS].run = strtoll(rest, &rest, 10);
        runs[n_runs++ % RUNS].experiment = strtoll(rest, NULL, 10);
    } else if (word != NULL && strcmp(word, "client") == 0) {
        struct client *c = calloc(1, sizeof *c);
        if (c == NULL)
            fail("memory");
        c->fd = -1;
        c->rate = strtod(rest, &rest);
        while (c->n_paths < PATHS && (word = strtok_r(NULL, " ", &rest)) != NULL)
            c->path[c->n_paths++] = kind_of(word);
        connect_client(c);
        c->due = now() - log(uniform()) / c->rate;
        c->next = clients;
        clients = c;
    }
}

/* ---- asking ---- */

/* The path with {run} and {experiment} replaced. */
static void fill(char target[TARGET], const char *path)
{
    const size_t known = n_runs < RUNS ? n_runs : RUNS;
    const size_t which = known > 0 ? (size_t)(uniform() * (double)known) : 0;
    size_t n = 0;
    for (const char *at = path; *at != '\0' && n + 32 < TARGET;) {
        const bool run = strncmp(at, "{run}", 5) == 0,
                   experiment = strncmp(at, "{experiment}", 12) == 0;
        if (run || experiment) {
            n += (size_t)snprintf(target + n, TARGET - n, "%lld",
                                  run ? runs[which].run : runs[which].experiment);
            at += run ? 5 : 12;
        } else {
            target[n++] = *at++;
        }
    }
    target[n] = '\0';
}

static void ask(struct client *c)
{
    char target[TARGET], request[TARGET + 64];
    c->kind = c->path[(size_t)(uniform() * (double)c->n_paths)];
    fill(target, c->kind->path);
    const int n =
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    c->head_bytes = 0;
    c->in_body = c->closes = false;
    c->asked = now();
    c->due -= log(uniform()) / c->rate;
    if (c->due <
        c->asked) // it waits for each answer: what it could not ask meanwhile is not made up for
        c->due = c->asked - log(uniform()) / c->rate;
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) { // an idle connection that was ended
        connect_client(c);
        reconnected++;
        if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
            fail("send");
    }
}

int ask_due(void)
{
    const double t = now();
    double next = t + 1.0;
    for (struct client *c = clients; c != NULL; c = c->next) {
        if (c->asked > 0 && t - c->asked > PATIENCE) {
            fprintf(stderr, "load: no answer to %s within %.0f s\n", c->kind->path, PATIENCE);
            unanswered++;
            c->asked = 0;
            connect_client(c);
        }
        if (c->asked == 0 && c->due <= t && (n_runs > 0 || c->n_paths == 1))
            ask(c);
        if (c->asked == 0 && c->due < next)
            next = c->due;
    }
    return next > t ? (int)ceil(1e3 * (next - t)) : 1;
}

/* ---- answers ---- */

static void answered(struct client *c)
{
    struct kind *k = c->kind;
    k->seconds = more(k->seconds, k->n, &k->capacity, sizeof *k->seconds);
    k->seconds[k->n++] = now() - c->asked;
    k->status[c->status]++;
    c->asked = 0;
    if (c->closes) {
        connect_client(c);
        reconnected++;
    }
}

/* The end of the head is there: what the body is. Every reply here says how long it is. */
static void read_head(struct client *c, const char *end)
{
    const char *length = strcasestr(c->head, "\r\nContent-Length:");
    c->status = atoi(c->head + 9);
    if (strncmp(c->head, "HTTP/1.1 ", 9) != 0 || c->status < 100 || c->status >= STATUSES ||
        (length == NULL && c->status != 204 && c->status != 304)) {
        fprintf(stderr, "load: what is this to %s? %.*s\n", c->kind->path, (int)(end - c->head),
                c->head);
        exit(1);
    }
    c->left = length != NULL ? strtoull(length + 17, NULL, 10) : 0;
    c->closes = strcasestr(c->head, "\r\nConnection: close") != NULL;
    c->in_body = true;
}

static void take(struct client *c, const char *bytes, size_t n)
{
    if (!c->in_body) {
        const size_t part = n < HEAD - c->head_bytes ? n : HEAD - c->head_bytes,
                     before = c->head_bytes;
        memcpy(c->head + before, bytes, part);
        c->head_bytes += part;
        c->head[c->head_bytes] = '\0';
        char *end = strstr(c->head, "\r\n\r\n");
        if (end == NULL)
            return;
        end[2] = '\0'; // so that a body is not searched for headers
        read_head(c, end);
        const size_t used = (size_t)(end + 4 - c->head) - before;
        n -= used;
    }
    c->left -= n < c->left ? n : c->left;
    if (c->left == 0)
        answered(c);
}

void ask_read(void *context)
{
    static char bytes[1 << 18];
    struct client *c = context;
    const ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) {
        if (c->asked > 0)
            take(c, bytes, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (c->asked > 0) {
            fprintf(stderr, "load: the connection ended before the answer to %s\n", c->kind->path);
            unanswered++;
        }
        c->asked = 0;
        connect_client(c);
        reconnected++;
    }
}

/* ---- the report ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void ask_report(void)
{
    const char *comma = "";
    printf("{\"unanswered\": %zu, \"reconnected\": %zu, \"paths\": {", unanswered, reconnected);
    for (struct kind *k = kinds; k != NULL; k = k->next) {
        if (k->n == 0)
            continue;
        qsort(k->seconds, k->n, sizeof *k->seconds, ascending);
        printf("%s\"%s\": {\"n\": %zu, \"median\": %.4f, \"p99\": %.4f, \"max\": %.4f, "
               "\"statuses\": {",
               comma, k->path, k->n, 1e3 * k->seconds[k->n / 2],
               1e3 * k->seconds[(size_t)(0.99 * (double)k->n)], 1e3 * k->seconds[k->n - 1]);
        const char *between = "";
        for (int i = 0; i < STATUSES; i++)
            if (k->status[i] > 0) {
                printf("%s\"%d\": %zu", between, i, k->status[i]);
                between = ", ";
            }
        printf("}}");
        comma = ", ";
    }
    printf("}}\n");
    fflush(stdout);
}
