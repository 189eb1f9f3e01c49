// SPDX-License-Identifier: Apache-2.0
/*
 * Lingering: reads and throws away what a client still sends after it was answered early.
 *
 * A socket closed with unread bytes in it makes the kernel send a reset, and the reset can destroy
 * the reply (413, 411) before the client reads it. libmicrohttpd ends a connection that was
 * answered before its body was read, and reads no more from it. So a duplicate of the socket is
 * kept here and read until the client closes its end, for at most LINGER_MS. Where too many linger,
 * a further one is simply closed: a reset is then the price.
 *
 * One thread; `lock` guards added, n_added and stop.
 */
#include "http/http_private.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct lingering {
    size_t n;
    struct pollfd fds[LINGER_MAX + 1]; // the last one used is the wake-up's
    int64_t until_ms[LINGER_MAX];
};

/* Takes over the added sockets; false: stop. */
static bool take_added(struct lingerer *linger, struct lingering *all)
{
    int64_t until_ms = clock_ms() + LINGER_MS;
    pthread_mutex_lock(&linger->lock);
    for (size_t k = 0; k < linger->n_added; k++) {
        if (all->n == LINGER_MAX) {
            close(linger->added[k]);
            continue;
        }
        all->fds[all->n] = (struct pollfd){.fd = linger->added[k], .events = POLLIN};
        all->until_ms[all->n++] = until_ms;
    }
    linger->n_added = 0;
    bool go_on = !linger->stop;
    pthread_mutex_unlock(&linger->lock);
    return go_on;
}

/* Reads once; false: the client is done, or gone. */
static bool throw_away(int fd)
{
    char bytes[16384];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void serve(struct lingering *all)
{
    int64_t now = clock_ms();
    for (size_t k = all->n; k-- > 0;) {
        bool more = all->fds[k].revents == 0 || throw_away(all->fds[k].fd);
        if (more && now < all->until_ms[k])
            continue;
        close(all->fds[k].fd);
        all->n--;
        all->fds[k] = all->fds[all->n];
        all->until_ms[k] = all->until_ms[all->n];
    }
}

static void *run(void *argument)
{
    struct lingerer *linger = argument;
    struct lingering all = {0};
    while (take_added(linger, &all)) {
        int64_t wait_ms = -1, now = clock_ms();
        for (size_t k = 0; k < all.n; k++) {
            int64_t left = all.until_ms[k] > now ? all.until_ms[k] - now : 0;
            if (wait_ms < 0 || left < wait_ms)
                wait_ms = left;
        }
        all.fds[all.n] = (struct pollfd){.fd = linger->wake, .events = POLLIN};
        if (poll(all.fds, all.n + 1, (int)wait_ms) < 0)
            continue; // EINTR, ENOMEM: look again
        eventfd_t ignored;
        if (all.fds[all.n].revents != 0)
            (void)eventfd_read(linger->wake, &ignored);
        serve(&all);
    }
    for (size_t k = 0; k < all.n; k++)
        close(all.fds[k].fd);
    return NULL;
}

enum tet_err linger_start(struct lingerer *linger, struct tet_error *error)
{
    pthread_mutex_init(&linger->lock, NULL);
    linger->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (linger->wake < 0)
        return tet_error_set(error, TET_INTERNAL, "no event descriptor: %s", strerror(errno));
    int e = pthread_create(&linger->thread, NULL, run, linger);
    if (e == 0)
        return TET_OK;
    close(linger->wake);
    linger->wake = -1;
    return tet_error_set(error, TET_INTERNAL, "a thread cannot be started: %s", strerror(e));
}

void linger_add(struct lingerer *linger, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return;
    pthread_mutex_lock(&linger->lock);
    bool room = linger->n_added < LINGER_MAX && !linger->stop;
    if (room)
        linger->added[linger->n_added++] = copy;
    pthread_mutex_unlock(&linger->lock);
    if (room)
        (void)eventfd_write(linger->wake, 1);
    else
        close(copy);
}

void linger_stop(struct lingerer *linger)
{
    if (linger->wake >= 0) {
        pthread_mutex_lock(&linger->lock);
        linger->stop = true;
        pthread_mutex_unlock(&linger->lock);
        (void)eventfd_write(linger->wake, 1);
        pthread_join(linger->thread, NULL);
        close(linger->wake);
    }
    pthread_mutex_destroy(&linger->lock);
}
