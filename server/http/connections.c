// SPDX-License-Identifier: Apache-2.0
/*
 * The connections, each with a time until which it must have come further.
 *
 * libmicrohttpd ends a connection that is silent for IDLE_TIMEOUT_S; one that says a byte now and then
 * would live for ever. So each phase has a time of its own:
 *
 *     headers  patience from the connection's start, or from the request line; an idle connection
 *              IDLE_TIMEOUT_S and patience from its last reply
 *     body     patience, and its bytes at RATE
 *     handler  none: that is ours
 *     reply    in each patience but the first, RATE is acknowledged; no limit where its size is not
 *              known
 *
 * A thread looks at all of them several times within a patience, and shuts down the sockets of those
 * that are late; libmicrohttpd then ends the connection as if the client had.
 *
 * So ends a body whose client closed its end before it was whole: libmicrohttpd, which waits for edges
 * of epoll, misses an end that comes together with bytes, and the body would hold its room (one of few
 * uploads) for all of its time.
 *
 * An entry is made by the acceptor and freed when libmicrohttpd says that the connection is closed,
 * which it does before it closes the socket: a socket in the list is open. An entry's body_* belong to
 * its connection's thread, acknowledged and cut to ours, until_ms and the flags are atomic; `lock`
 * guards the rest.
 */
#include "http/http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { RATE = 1024 }; // bytes a second, at least

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- peers ---- */

static void peer_of(const struct sockaddr *from, struct http_peer *peer)
{
    static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    *peer = (struct http_peer){0};
    if (from->sa_family == AF_INET) {
        memcpy(peer->address, mapped, sizeof mapped);
        memcpy(peer->address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        memcpy(peer->address, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    }
    peer_settle(peer);
}

bool http_peer_is_v4(const struct http_peer *peer)
{
    static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(peer->address, mapped, sizeof mapped) == 0;
}

void http_peer_text(const struct http_peer *peer, char text[64])
{
    const bool v4 = http_peer_is_v4(peer);
    if (inet_ntop(v4 ? AF_INET : AF_INET6, peer->address + (v4 ? 12 : 0), text, 64) == NULL)
        text[0] = '\0';
}

/* ---- the list ---- */

/* Room in by_fd for a descriptor. */
static bool make_room(struct connections *all, size_t fd)
{
    size_t size = all->size > 0 ? all->size : 64;
    while (size <= fd)
        size *= 2;
    if (size == all->size)
        return true;
    struct connected **grown = realloc(all->by_fd, size * sizeof(struct connected *));
    if (grown == NULL)
        return false;
    memset(grown + all->size, 0, (size - all->size) * sizeof(struct connected *));
    all->by_fd = grown;
    all->size = size;
    return true;
}

static size_t count_from(const struct connections *all, const struct http_peer *peer)
{
    size_t n = 0;
    for (const struct connected *c = all->first; c != NULL; c = c->next)
        n += memcmp(c->peer.address, peer->address, sizeof peer->address) == 0;
    return n;
}

bool connections_add(struct connections *all, int fd, const struct sockaddr *from)
{
    struct connected *c = calloc(1, sizeof *c);
    if (c == NULL)
        return false;
    c->fd = fd;
    peer_of(from, &c->peer);
    atomic_init(&c->until_ms, now_ms() + all->patience_ms);
    pthread_mutex_lock(&all->lock);
    const bool room =
        make_room(all, (size_t)fd) && (c->peer.loopback || proxy_trusted(all->trusted, &c->peer) ||
                                       count_from(all, &c->peer) < all->per_address);
    if (room) {
        c->next = all->first;
        if (c->next != NULL)
            c->next->previous = c;
        all->first = all->by_fd[fd] = c;
    }
    pthread_mutex_unlock(&all->lock);
    if (!room)
        free(c);
    return room;
}

struct connected *connections_find(struct connections *all, int fd)
{
    pthread_mutex_lock(&all->lock);
    struct connected *c = fd >= 0 && (size_t)fd < all->size ? all->by_fd[fd] : NULL;
    pthread_mutex_unlock(&all->lock);
    return c;
}

void connections_remove(struct connections *all, struct connected *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&all->lock);
    if (c->next != NULL)
        c->next->previous = c->previous;
    *(c->previous != NULL ? &c->previous->next : &all->first) = c->next;
    all->by_fd[c->fd] = NULL;
    pthread_mutex_unlock(&all->lock);
    free(c);
}

/* ---- phases ---- */

static void until(struct connected *c, int64_t ms)
{
    atomic_store_explicit(&c->until_ms, ms, memory_order_relaxed);
}

void connected_line(struct connections *all, struct connected *c)
{
    const int64_t limit = now_ms() + all->patience_ms;
    if (c != NULL && atomic_load(&c->until_ms) > limit)
        until(c, limit);
}

void connected_body(struct connections *all, struct connected *c, size_t bytes)
{
    if (c == NULL)
        return;
    if (bytes == 0) { // it begins
        c->body_from_ms = now_ms();
        c->body_bytes = 0;
    }
    c->body_bytes += bytes;
    atomic_store_explicit(&c->receiving, true, memory_order_relaxed);
    until(c, c->body_from_ms + all->patience_ms + (int64_t)(c->body_bytes * 1000 / RATE));
}

void connected_handled(struct connected *c)
{
    if (c == NULL)
        return;
    atomic_store_explicit(&c->receiving, false, memory_order_relaxed);
    until(c, 0);
}

void connected_reply(struct connections *all, struct connected *c, size_t bytes)
{
    if (c == NULL)
        return;
    atomic_store_explicit(&c->receiving, false, memory_order_relaxed);
    atomic_store_explicit(&c->measured, false, memory_order_relaxed);
    atomic_store_explicit(&c->replying, bytes > 0, memory_order_relaxed);
    until(c, bytes > 0 ? now_ms() + all->patience_ms : 0);
}

void connected_idle(struct connections *all, struct connected *c)
{
    if (c == NULL)
        return;
    atomic_store_explicit(&c->replying, false, memory_order_relaxed);
    until(c, now_ms() + IDLE_TIMEOUT_S * 1000 + all->patience_ms);
}

/* ---- the thread that ends what is late ---- */

/* Whether a client whose time is up has read enough of its reply since the last look: then it gets
 * another patience. */
static bool is_reading(const struct connections *all, struct connected *c)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (!atomic_load_explicit(&c->replying, memory_order_relaxed) ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    const uint64_t before = c->acknowledged;
    const bool measured = atomic_exchange_explicit(&c->measured, true, memory_order_relaxed);
    c->acknowledged = info.tcpi_bytes_acked;
    return !measured || c->acknowledged - before >= (uint64_t)(all->patience_ms * RATE / 1000);
}

/* Whether the client has closed its end and the rest of a body will never come. Only the second look
 * believes it: between the last bytes and the call of connected_handled is a moment. */
static bool is_cut(struct connected *c)
{
    struct pollfd end = {.fd = c->fd, .events = POLLRDHUP};
    int unread = 0;
    const bool ended = atomic_load_explicit(&c->receiving, memory_order_relaxed) &&
                       poll(&end, 1, 0) == 1 && (end.revents & POLLRDHUP) != 0 &&
                       ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0;
    c->cut = ended ? c->cut + 1 : 0;
    return c->cut > 1;
}

static void end_late(struct connections *all)
{
    const int64_t now = now_ms();
    for (struct connected *c = all->first; c != NULL; c = c->next) {
        const int64_t limit = atomic_load_explicit(&c->until_ms, memory_order_relaxed);
        const bool cut = is_cut(c);
        if (limit == 0 || (limit > now && !cut))
            continue;
        if (is_reading(all, c)) {
            until(c, now + all->patience_ms);
            continue;
        }
        shutdown(c->fd, SHUT_RDWR);
        until(c, 0);
    }
}

static void *run(void *argument)
{
    struct connections *all = argument;
    const int64_t every_ms = all->patience_ms / 8 + 1;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&all->lock);
    while (!all->stop) {
        next.tv_sec += every_ms / 1000;
        next.tv_nsec += every_ms % 1000 * 1000000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        while (!all->stop && pthread_cond_timedwait(&all->wake, &all->lock, &next) != ETIMEDOUT)
            ;
        end_late(all);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

void connections_init(struct connections *all, size_t per_address, uint32_t patience_ms)
{
    pthread_condattr_t monotonic;
    all->per_address = per_address;
    all->patience_ms = patience_ms;
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum tet_err connections_start(struct connections *all, struct tet_error *error)
{
    const int e = pthread_create(&all->thread, NULL, run, all);
    all->started = e == 0;
    return e == 0
               ? TET_OK
               : tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s", strerror(e));
}

void connections_stop(struct connections *all)
{
    if (all->started) {
        pthread_mutex_lock(&all->lock);
        all->stop = true;
        pthread_cond_signal(&all->wake);
        pthread_mutex_unlock(&all->lock);
        pthread_join(all->thread, NULL);
    }
    while (all->first != NULL) // none, once the daemon is stopped
        connections_remove(all, all->first);
    free(all->by_fd);
    pthread_cond_destroy(&all->wake);
    pthread_mutex_destroy(&all->lock);
}
