// SPDX-License-Identifier: Apache-2.0
/*
 * The acceptor: one thread that takes connections and hands them to libmicrohttpd.
 *
 * libmicrohttpd could listen itself, but then taking no more connections is MHD_quiesce_daemon,
 * which in 0.9.75 races with its epoll threads and aborts the program. A connection beyond the
 * limit, or its address's, is answered 503 here, without being read, unless an idle one can make room
 * for it (connections.c).
 *
 * Threads: its own; start and stop are called by the thread that owns the server. The number of
 * connections is atomic: epoll threads count them.
 */
#include "http/http_private.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PAUSE_MS = 100,   // where the process has no descriptor left
    ACCEPT_MAX = 128, // between two looks at `wake`
    SPARE = 64        // connections beyond the limit, while those that made room end
};

static const char full[] = "HTTP/1.1 503 Service Unavailable\r\n"
                           "Connection: close\r\n"
                           "Content-Type: application/json; charset=utf-8\r\n"
                           "Cache-Control: no-store\r\n"
                           "X-Content-Type-Options: nosniff\r\n"
                           "Referrer-Policy: no-referrer\r\n"
                           "X-Frame-Options: DENY\r\n"
                           "Retry-After: 1\r\n"
                           "Content-Length: 85\r\n"
                           "\r\n"
                           "{\"error\":{\"code\":\"busy\",\"message\":\"there are too many "
                           "connections; try again soon\"}}\n";

static void refuse(struct http_server *server, int fd)
{
    if (server->tls.key == NULL) // else nothing can be said before a handshake
        (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    linger_add(&server->linger, fd);
    close(fd);
}

static bool has_room(struct http_server *server)
{
    const size_t n = atomic_load(&server->connections), max = server->max_connections;
    return n < max || (n < max + SPARE && connections_make_room(&server->all));
}

/* The library tells of every connection that it closes but one that it had no memory to begin: its entry would stay,
 * count, and in time end another connection that has the same descriptor by then. */
static void forget_lost(struct http_server *server, int fd)
{
    struct connected *lost = connections_find(&server->all, fd);
    if (lost == NULL)
        return;
    connections_remove(&server->all, lost);
    atomic_fetch_sub(&server->connections, 1);
}

/* Takes what waits, but no more than ACCEPT_MAX, so that a flood of connections cannot keep the thread
 * from seeing that it is to stop; false: there is no descriptor or memory for the next. */
static bool take(struct http_server *server)
{
    for (int n = 0; n < ACCEPT_MAX; n++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int fd = accept4(server->acceptor.listen_fd, (struct sockaddr *)&peer, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return errno == EAGAIN;
        forget_lost(server, fd);
        if (!has_room(server) || !connections_add(&server->all, fd, (struct sockaddr *)&peer)) {
            refuse(server, fd);
            continue;
        }
        /* Counted from here on, not from when one of the library's threads takes it up: a flood would fill its
         * queue past the library's own limit meanwhile, and 0.9.75 then locks up. */
        atomic_fetch_add(&server->connections, 1);
        if (MHD_add_connection(server->daemon, fd, (struct sockaddr *)&peer, size) == MHD_YES)
            continue;
        forget_lost(server, fd); // it has closed it
    }
    return true;
}

static void *run(void *argument)
{
    struct http_server *server = argument;
    struct acceptor *acceptor = &server->acceptor;
    bool room = true;
    for (;;) {
        struct pollfd fds[2] = {{.fd = acceptor->wake, .events = POLLIN},
                                {.fd = acceptor->listen_fd, .events = POLLIN}};
        int n = poll(fds, room ? 2 : 1, room ? -1 : PAUSE_MS);
        if (n < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN)
            break;
        room = take(server);
        if (n > 0 && fds[0].revents != 0)
            break;
    }
    return NULL;
}

enum tet_err acceptor_start(struct http_server *server, struct tet_error *error)
{
    struct acceptor *acceptor = &server->acceptor;
    acceptor->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (acceptor->wake < 0)
        return tet_error_set(error, TET_INTERNAL, "no event descriptor: %s", strerror(errno));
    int e = pthread_create(&acceptor->thread, NULL, run, server);
    if (e != 0)
        return tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s", strerror(e));
    acceptor->running = true;
    return TET_OK;
}

void acceptor_stop(struct http_server *server)
{
    struct acceptor *acceptor = &server->acceptor;
    if (acceptor->running) {
        (void)eventfd_write(acceptor->wake, 1);
        pthread_join(acceptor->thread, NULL);
        acceptor->running = false;
    }
    if (acceptor->wake >= 0)
        close(acceptor->wake);
    if (acceptor->listen_fd >= 0)
        close(acceptor->listen_fd);
    acceptor->wake = acceptor->listen_fd = -1;
}
