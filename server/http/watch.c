// SPDX-License-Identifier: Apache-2.0
/*
 * Watching: a request's id, how long it took, and telling whoever watches.
 *
 * A client's X-Request-Id is taken where it is short and plain, so that it can be followed through a proxy and our
 * log; otherwise one is made. Called on the request's thread.
 */
#include "http/http_private.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_sane(const char *id)
{
    const size_t n = strlen(id);
    return n > 0 && n < REQUEST_ID &&
           n == strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
}

/* Unlikely to be met twice, which is all that is asked of it: time and a counter, mixed (splitmix64). */
static void make_id(char id[REQUEST_ID])
{
    static _Atomic uint64_t counter;
    uint64_t z = (uint64_t)now_ns(CLOCK_REALTIME) +
                 atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    snprintf(id, REQUEST_ID, "%016llx", (unsigned long long)(z ^ (z >> 31)));
}

void watch_begin(struct http_request *request, const char *method, const char *url)
{
    const char *given = http_header(request, "X-Request-Id");
    request->begun_ns = now_ns(CLOCK_MONOTONIC);
    request->method = method;
    request->url = url;
    if (given != NULL && is_sane(given))
        strcpy(request->id, given);
    else
        make_id(request->id);
}

void watch_end(const struct http_request *request, size_t bytes)
{
    const struct http_server *server = request->server;
    if (server->watch == NULL || request->begun_ns == 0)
        return;
    const struct http_seen seen = {
        .method = request->method,
        .path = request->url,
        .route = request->route,
        .status = request->reply.status,
        .seconds = 1e-9 * (double)(now_ns(CLOCK_MONOTONIC) - request->begun_ns),
        .bytes = request->head ? 0 : bytes,
        .user = request->identity.user[0] != '\0' ? request->identity.user : NULL,
        .id = request->id};
    server->watch(server->context, &seen);
}
