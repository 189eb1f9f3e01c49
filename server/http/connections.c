// SPDX-License-Identifier: Apache-2.0
/*
 * The connections, each with a time until which it must have come further.
 *
 * libmicrohttpd ends a connection that is silent for IDLE_TIMEOUT_S; one that says a byte now and then
 * would live for ever. So each phase has a time of its own:
 *
 *     headers  patience from the connection's start, or from the request line; an idle connection
 *              IDLE_TIMEOUT_S and patience from its last reply
 *     body     patience, and its bytes at their rate, of which no more than WINDOW patiences are
 *              saved up: over any longer time the rate is kept
 *     handler  none: that is ours, as is the writing of a body
 *     reply    in each patience but the first, RATE is acknowledged; no limit where its size is not
 *              known
 *
 * A thread looks at all of them several times within a patience, and shuts down the sockets of those
 * that are late; libmicrohttpd then ends the connection as if the client had. Who is late in the middle
 * of a request (its line was read) is told 408 before: `phase` decides who has the request, this thread
 * or the connection's, so that what was answered 408 is never acted on.
 *
 * Where the server is full, each new connection ends the one that was idle for longest: one that
 * waits for its next request, or has sent no whole request line. So connections without requests, however
 * many, keep nobody out.
 *
 * No address has more than its share of connections, event streams among them; of IPv6 addresses the
 * first 64 bits count, as whoever has one has them all. Loopback has no bound unless it was asked for:
 * all that a proxy on this machine brings comes from there.
 *
 * So ends a body whose client closed its end before it was whole: libmicrohttpd, which waits for edges
 * of epoll, misses an end that comes together with bytes, and the body would hold its room (one of few
 * uploads) for all of its time.
 *
 * An entry is made by the acceptor and freed when libmicrohttpd says that the connection is closed,
 * which it does before it closes the socket: a socket in the list is open. An entry's held_ms and left_ms
 * belong to its connection's thread, acknowledged and cut to ours, the atomic ones to both; `lock` guards
 * the rest.
 */
#include "http/http_private.h"

#include "clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    RATE = 1024,   // bytes a second at which replies are to be read
    WINDOW = 3,    // patiences
    GRACE_MS = 250 // a connection is not idle yet
};

static const char late[] =
    "HTTP/1.1 408 Request Timeout\r\n"
    "Connection: close\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Length: 69\r\n"
    "\r\n"
    "{\"error\":{\"code\":\"timeout\",\"message\":\"the request came too slowly\"}}\n";

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
    const size_t bytes = http_peer_is_v4(peer) ? sizeof peer->address : sizeof peer->address / 2;
    size_t n = 0;
    for (const struct connected *c = all->first; c != NULL; c = c->next)
        n += memcmp(c->peer.address, peer->address, bytes) == 0;
    return n;
}

bool connections_add(struct connections *all, int fd, const struct sockaddr *from)
{
    struct connected *c = calloc(1, sizeof *c);
    if (c == NULL)
        return false;
    c->fd = fd;
    peer_of(from, &c->peer);
    atomic_init(&c->until_ms, clock_ms() + all->patience_ms);
    atomic_init(&c->idle_ms, clock_ms());
    pthread_mutex_lock(&all->lock);
    const bool room = make_room(all, (size_t)fd) && ((c->peer.loopback && !all->loopback_too) ||
                                                     proxy_trusted(all->trusted, &c->peer) ||
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

bool connections_make_room(struct connections *all)
{
    const int64_t now = clock_ms();
    struct connected *oldest = NULL;
    int64_t since = now - GRACE_MS;
    pthread_mutex_lock(&all->lock);
    for (struct connected *c = all->first; c != NULL; c = c->next) {
        const int64_t idle = atomic_load_explicit(&c->idle_ms, memory_order_relaxed);
        if (idle == 0 || idle > since)
            continue;
        since = idle;
        oldest = c;
    }
    if (oldest != NULL) {
        atomic_store(&oldest->idle_ms, 0);
        shutdown(oldest->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&all->lock);
    return oldest != NULL;
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

/* From one phase to another; false: the other thread has given the connection up. */
static bool move(struct connected *c, enum connected_phase from, enum connected_phase to)
{
    int expected = (int)from;
    return atomic_compare_exchange_strong(&c->phase, &expected, (int)to);
}

void connected_line(struct connections *all, struct connected *c)
{
    const int64_t limit = clock_ms() + all->patience_ms;
    if (c == NULL)
        return;
    if (atomic_load(&c->until_ms) > limit)
        until(c, limit);
    atomic_store(&c->idle_ms, 0);
    atomic_store(&c->phase, CONNECTED_RECEIVING);
}

bool connected_headers(struct connections *all, struct connected *c)
{
    if (c == NULL)
        return true;
    c->held_ms = 0;
    until(c, clock_ms() + all->patience_ms);
    return atomic_load(&c->phase) == CONNECTED_RECEIVING;
}

bool connected_body(struct connections *all, struct connected *c, size_t bytes, uint32_t rate)
{
    if (c == NULL)
        return true;
    const int64_t now = clock_ms(), most = now + WINDOW * all->patience_ms;
    int64_t limit = atomic_load_explicit(&c->until_ms, memory_order_relaxed);
    if (c->held_ms != 0) // that time was ours; the bytes are those that were counted before
        limit = now + c->left_ms;
    else
        limit += (int64_t)(bytes * 1000 / rate);
    until(c, limit < most ? limit : most);
    if (c->held_ms == 0)
        return atomic_load(&c->phase) == CONNECTED_RECEIVING;
    c->held_ms = 0;
    return move(c, CONNECTED_OURS, CONNECTED_RECEIVING);
}

void connected_held(struct connected *c)
{
    if (c == NULL)
        return;
    c->held_ms = clock_ms();
    c->left_ms = atomic_load_explicit(&c->until_ms, memory_order_relaxed) - c->held_ms;
    (void)connected_handled(c); // where it was late, its next piece tells
}

bool connected_handled(struct connected *c)
{
    if (c == NULL)
        return true;
    const bool ours = move(c, CONNECTED_RECEIVING, CONNECTED_OURS);
    if (ours)
        until(c, 0);
    return ours;
}

void connected_reply(struct connections *all, struct connected *c, size_t bytes)
{
    if (c == NULL)
        return;
    atomic_store_explicit(&c->measured, false, memory_order_relaxed);
    until(c, bytes > 0 ? clock_ms() + all->patience_ms : 0);
    atomic_store(&c->phase, bytes > 0 ? CONNECTED_REPLYING : CONNECTED_OURS);
}

void connected_idle(struct connections *all, struct connected *c)
{
    if (c == NULL)
        return;
    const int64_t now = clock_ms();
    until(c, now + IDLE_TIMEOUT_S * 1000 + all->patience_ms);
    atomic_store(&c->phase, CONNECTED_IDLE);
    atomic_store(&c->idle_ms, now);
}

/* ---- the thread that ends what is late ---- */

/* Whether a client whose time is up has read enough of its reply since the last look: then it gets
 * another patience. */
static bool is_reading(const struct connections *all, struct connected *c)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (atomic_load(&c->phase) != CONNECTED_REPLYING ||
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
    const bool ended = atomic_load(&c->phase) == CONNECTED_RECEIVING && poll(&end, 1, 0) == 1 &&
                       (end.revents & POLLRDHUP) != 0 && ioctl(c->fd, FIONREAD, &unread) == 0 &&
                       unread == 0;
    c->cut = ended ? c->cut + 1 : 0;
    return c->cut > 1;
}

/* A few hundred bytes on a socket to which nothing of this request was written: they fit, or the client
 * has gone. What it still sends is read for a while: a reset would take the answer from it. */
static void tell_late(struct connections *all, const struct connected *c)
{
    if (all->silent)
        return;
    (void)!send(c->fd, late, sizeof late - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (all->linger != NULL)
        linger_add(all->linger, c->fd);
}

static void end_late(struct connections *all)
{
    const int64_t now = clock_ms();
    for (struct connected *c = all->first; c != NULL; c = c->next) {
        const int64_t limit = atomic_load_explicit(&c->until_ms, memory_order_relaxed);
        const bool cut = is_cut(c);
        if (limit == 0 || (limit > now && !cut))
            continue;
        if (is_reading(all, c)) {
            until(c, now + all->patience_ms);
            continue;
        }
        if (!cut && move(c, CONNECTED_RECEIVING, CONNECTED_LATE))
            tell_late(all, c);
        shutdown(c->fd, SHUT_RDWR);
        until(c, 0);
    }
}

static void *run(void *argument)
{
    struct connections *all = argument;
    const int64_t every_ms = all->patience_ms / 8 + 1;
    struct timespec next;
    pthread_mutex_lock(&all->lock);
    while (!all->stop) {
        clock_in(&next, every_ms);
        while (!all->stop && pthread_cond_timedwait(&all->wake, &all->lock, &next) != ETIMEDOUT)
            ;
        end_late(all);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

void connections_init(struct connections *all, size_t max, size_t per_address, uint32_t patience_ms,
                      struct lingerer *linger)
{
    const size_t quarter = max / 4 + 1;
    all->loopback_too = per_address > 0;
    all->per_address = per_address > 0                 ? per_address
                       : quarter < DEFAULT_PER_ADDRESS ? quarter
                                                       : DEFAULT_PER_ADDRESS;
    all->linger = linger;
    all->patience_ms = patience_ms;
    pthread_mutex_init(&all->lock, NULL);
    clock_cond(&all->wake);
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
