// SPDX-License-Identifier: Apache-2.0
/*
 * Streams: see stream.h.
 *
 *     epoll thread: take() -> nothing waits: suspend
 *     push(): suspended -> to the socket; what does not fit there: resume          streams_end(): resume
 *
 * A suspended connection is the stream's: libmicrohttpd neither reads nor writes it, and all that it was given before
 * has gone out, for it asks take() for more only then. So a text goes to the socket in one call, on the thread that
 * has it; by way of the epoll thread it takes five (its eventfd, the socket into the epoll and out of it, and two
 * reads). That needs a reply without chunks, whose bytes are the texts' and nothing else, and no TLS.
 *
 * Suspending and resuming happen under the stream's lock, so that a text pushed after take() found nothing always
 * resumes. A suspended connection is never closed by libmicrohttpd, so `connection` is valid where `suspended` is
 * set. libmicrohttpd's timeout runs only while a connection is not suspended: it ends the stream of a client that
 * takes nothing of what is sent for so long, and no other. A peer that is silently away is TCP_USER_TIMEOUT's.
 *
 * Locks: streams.lock before stream.lock before libmicrohttpd's own.
 */
#include "http/http_private.h"

#include "clock.h"
#include "http/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { BLOCK = 1024, FIRST_TEXTS = 4, TOGETHER = 64 /* texts in one call */ };

struct http_stream {
    struct http_server *server;
    atomic_size_t references; // its request's, and its holder's
    pthread_mutex_t lock;     // for what follows
    struct MHD_Connection *connection;
    struct identity who; // since its beginning
    int fd;              // the connection's socket; -1: texts go by libmicrohttpd alone
    bool gone, ended, suspended;
    const struct http_shared *instead; // that waits in the place of others; NULL: none
    struct http_shared **texts;        // (capacity), a ring
    size_t capacity, first, n;
    size_t taken;                               // bytes of the first text
    size_t bytes;                               // of all that wait
    struct http_stream *next_stream, **to_this; // under streams.lock
};

/* ---- shared texts ---- */

struct http_shared *http_shared_new(const void *bytes, size_t size)
{
    struct http_shared *shared = malloc(sizeof *shared + size);
    if (shared == NULL)
        return NULL;
    atomic_init(&shared->references, 1);
    shared->size = size;
    memcpy(shared->bytes, bytes, size);
    return shared;
}

struct http_shared *http_shared_hold(struct http_shared *shared)
{
    atomic_fetch_add(&shared->references, 1);
    return shared;
}

void http_shared_release(struct http_shared *shared)
{
    if (shared != NULL && atomic_fetch_sub(&shared->references, 1) == 1)
        free(shared);
}

/* ---- the queue of a stream, under its lock ---- */

static struct http_shared **at(struct http_stream *s, size_t i)
{
    return &s->texts[(s->first + i) % s->capacity];
}

static bool append(struct http_stream *s, struct http_shared *text)
{
    if (s->n == s->capacity) {
        const size_t capacity = s->capacity > 0 ? 2 * s->capacity : FIRST_TEXTS;
        struct http_shared **texts = calloc(capacity, sizeof(struct http_shared *));
        if (texts == NULL)
            return false;
        for (size_t i = 0; i < s->n; i++)
            texts[i] = *at(s, i);
        free(s->texts);
        s->texts = texts;
        s->capacity = capacity;
        s->first = 0;
    }
    s->n++;
    *at(s, s->n - 1) = http_shared_hold(text);
    s->bytes += text->size;
    return true;
}

static void drop_last(struct http_stream *s)
{
    struct http_shared *text = *at(s, --s->n);
    s->bytes -= text->size;
    http_shared_release(text);
}

static void drop_first(struct http_stream *s)
{
    struct http_shared *text = *at(s, 0);
    s->bytes -= text->size;
    s->first = (s->first + 1) % s->capacity;
    s->n--;
    s->taken = 0;
    if (text == s->instead)
        s->instead = NULL;
    http_shared_release(text);
}

/* All but what must stay: a text that is half sent, and what was put in the place of others. */
static void replace(struct http_stream *s, struct http_shared *instead)
{
    const size_t stay = (size_t)(s->taken > 0 && *at(s, 0) != s->instead) + (s->instead != NULL);
    while (s->n > stay)
        drop_last(s);
    if (s->instead == NULL && append(s, instead))
        s->instead = instead;
}

static void wake(struct http_stream *s)
{
    if (s->suspended)
        MHD_resume_connection(s->connection);
    s->suspended = false;
}

/* As much of what waits as one call takes; true: and there may be room for more. */
static bool send_some(struct http_stream *s)
{
    struct iovec parts[TOGETHER];
    struct msghdr message = {.msg_iov = parts};
    size_t all = 0;
    for (; message.msg_iovlen < TOGETHER && message.msg_iovlen < s->n; message.msg_iovlen++) {
        struct http_shared *text = *at(s, message.msg_iovlen);
        const size_t taken = message.msg_iovlen == 0 ? s->taken : 0;
        parts[message.msg_iovlen] =
            (struct iovec){.iov_base = text->bytes + taken, .iov_len = text->size - taken};
        all += text->size - taken;
    }
    const ssize_t sent = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (size_t left = sent > 0 ? (size_t)sent : 0; left > 0;) {
        const size_t first = (*at(s, 0))->size - s->taken, n = left < first ? left : first;
        s->taken += n;
        left -= n;
        if (n == first)
            drop_first(s);
    }
    return sent >= 0 && (size_t)sent == all;
}

/* What waits goes out. What the socket does not take, or refuses, is libmicrohttpd's: it waits for room, and ends the
 * connection of a client that has gone or takes nothing for too long. */
static void go_out(struct http_stream *s)
{
    while (s->suspended && s->fd >= 0 && s->n > 0)
        if (!send_some(s))
            break;
    if (s->n > 0)
        wake(s);
}

bool http_stream_push(struct http_stream *s, struct http_shared *const *texts, size_t n,
                      struct http_shared *instead)
{
    pthread_mutex_lock(&s->lock);
    const bool here = !s->gone && !s->ended;
    for (size_t i = 0; i < n && here; i++) {
        const bool fits = s->n == 0 || s->bytes + texts[i]->size <= HTTP_STREAM_BYTES;
        if (!fits || !append(s, texts[i]))
            replace(s, instead);
    }
    if (here)
        go_out(s);
    pthread_mutex_unlock(&s->lock);
    return here;
}

bool http_stream_gone(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    const bool gone = s->gone || s->ended;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

size_t http_stream_waiting(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    const size_t bytes = s->bytes;
    pthread_mutex_unlock(&s->lock);
    return bytes;
}

/* libmicrohttpd's: fills its buffer, or suspends the connection. */
static ssize_t take(void *context, uint64_t position, char *buffer, size_t size)
{
    struct http_stream *s = context;
    size_t used = 0;
    (void)position;
    pthread_mutex_lock(&s->lock);
    while (used < size && s->n > 0) {
        const struct http_shared *text = *at(s, 0);
        size_t n = text->size - s->taken;
        n = n < size - used ? n : size - used;
        memcpy(buffer + used, text->bytes + s->taken, n);
        used += n;
        s->taken += n;
        if (s->taken == text->size)
            drop_first(s);
    }
    const bool end = used == 0 && s->ended;
    if (used == 0 && !end) {
        s->suspended = true;
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return end ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)used;
}

/* ---- its life ---- */

static void unreference(struct http_stream *s)
{
    if (atomic_fetch_sub(&s->references, 1) > 1)
        return;
    while (s->n > 0)
        drop_last(s);
    free(s->texts);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void http_stream_release(struct http_stream *s)
{
    if (s != NULL)
        unreference(s);
}

/* Enters it among the server's; TET_BUSY. */
static enum tet_err enter(struct streams *all, struct http_stream *s, struct tet_error *error)
{
    enum tet_err err = TET_OK;
    pthread_mutex_lock(&all->lock);
    if (all->ending) {
        err = tet_error_set(error, TET_BUSY, "the server is stopping");
    } else if (all->n >= all->max) {
        err = tet_error_set(error, TET_BUSY, "there are %zu event streams already; try again later",
                            all->n);
    } else {
        s->next_stream = all->first;
        s->to_this = &all->first;
        if (all->first != NULL)
            all->first->to_this = &s->next_stream;
        all->first = s;
        all->n++;
    }
    pthread_mutex_unlock(&all->lock);
    return err;
}

struct http_stream *http_reply_stream(const struct http_request *request, struct http_reply *reply,
                                      const char *type)
{
    struct tet_error error = {0};
    if (request->head) {
        http_reply_static(reply, MHD_HTTP_OK, type, "", 0);
        return NULL;
    }
    struct http_stream *s = calloc(1, sizeof *s);
    enum tet_err err =
        s != NULL ? TET_OK : tet_error_set(&error, TET_NO_MEMORY, "no memory for a stream");
    if (err == TET_OK) { // whole before the server's end can find it
        s->server = request->server;
        s->connection = request->connection;
        s->who = request->identity;
        s->fd = -1;
        atomic_init(&s->references, 2);
        pthread_mutex_init(&s->lock, NULL);
        err = enter(&request->server->streams, s, &error);
        if (err != TET_OK)
            pthread_mutex_destroy(&s->lock);
    }
    if (err != TET_OK) {
        free(s);
        http_reply_error(reply, &error, NULL);
        http_reply_header(reply, "Retry-After", "10");
        return NULL;
    }
    atomic_fetch_sub(&s->server->connections, 1); // it counts as a stream now
    http_reply_static(reply, MHD_HTTP_OK, type, "", 0);
    http_reply_header(reply, "X-Accel-Buffering", "no"); // a proxy is to pass it on at once
    reply->stream = s;
    reply->close = true;
    return s;
}

struct MHD_Response *stream_response(struct http_stream *s)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(s->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const unsigned patience_ms = IDLE_TIMEOUT_S * 1000u;
    const int at_once = 1;
    if (info != NULL) {
        (void)setsockopt(info->connect_fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms,
                         sizeof patience_ms);
        (void)setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
        pthread_mutex_lock(&s->lock);
        s->fd = s->server->tls.certificate == NULL ? info->connect_fd : -1;
        pthread_mutex_unlock(&s->lock);
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, take, s, NULL);
    if (response != NULL) // no chunks
        (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return response;
}

void stream_close(struct http_stream *s)
{
    if (s == NULL)
        return;
    struct streams *all = &s->server->streams;
    pthread_mutex_lock(&all->lock);
    *s->to_this = s->next_stream;
    if (s->next_stream != NULL)
        s->next_stream->to_this = s->to_this;
    if (--all->n == 0)
        pthread_cond_broadcast(&all->none);
    pthread_mutex_unlock(&all->lock);
    atomic_fetch_add(&s->server->connections, 1);
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    s->connection = NULL;
    pthread_mutex_unlock(&s->lock);
    unreference(s);
}

void streams_create(struct streams *all, size_t max)
{
    all->max = max;
    pthread_mutex_init(&all->lock, NULL);
    clock_cond(&all->none);
}

void streams_destroy(struct streams *all)
{
    pthread_cond_destroy(&all->none);
    pthread_mutex_destroy(&all->lock);
}

void streams_await(struct streams *all, uint32_t timeout_ms)
{
    struct timespec until;
    clock_in(&until, timeout_ms);
    pthread_mutex_lock(&all->lock);
    while (all->n > 0)
        if (pthread_cond_timedwait(&all->none, &all->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&all->lock);
}

/* What waits is not for somebody who may not come in any more; a text that is half sent ends. */
static void end_at_once(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->n > (s->taken > 0))
        drop_last(s);
    s->instead = NULL;
    s->ended = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

void http_streams_review(struct http_server *server, http_good_fn *good, void *context)
{
    struct streams *all = &server->streams;
    pthread_mutex_lock(&all->lock);
    for (struct http_stream *s = all->first; s != NULL; s = s->next_stream)
        if (!good(context, &s->who))
            end_at_once(s);
    pthread_mutex_unlock(&all->lock);
}

void streams_end(struct streams *all)
{
    pthread_mutex_lock(&all->lock);
    all->ending = true;
    for (struct http_stream *s = all->first; s != NULL; s = s->next_stream) {
        pthread_mutex_lock(&s->lock);
        s->ended = true;
        wake(s);
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&all->lock);
}

size_t http_connections(struct http_server *server)
{
    return atomic_load(&server->connections);
}

size_t http_streams(struct http_server *server)
{
    struct streams *all = &server->streams;
    pthread_mutex_lock(&all->lock);
    const size_t n = all->n;
    pthread_mutex_unlock(&all->lock);
    return n;
}
