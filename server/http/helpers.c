// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers: threads that run the handlers which may wait, while the connection is suspended.
 *
 * One bounded queue, first in first out. A connection is suspended before its request can be seen
 * by a helper, and resumed exactly once: by the helper that ran the handler, or by helpers_stop for
 * a request that still waited. After that the request belongs to its epoll thread again, which is
 * called by libmicrohttpd and sends the reply.
 *
 * Threads: submit from epoll threads, run from the helpers, start and stop from one thread. `lock`
 * guards everything but the threads' array.
 */
#include "http/http_private.h"

#include <stdlib.h>
#include <string.h>

static struct http_request *take(struct helpers *helpers)
{
    struct http_request *request = helpers->head;
    helpers->head = request->next;
    if (helpers->head == NULL)
        helpers->tail = NULL;
    helpers->waiting--;
    request->next = NULL;
    return request;
}

static void *help(void *argument)
{
    struct helpers *helpers = argument;
    pthread_mutex_lock(&helpers->lock);
    for (;;) {
        while (helpers->head == NULL && !helpers->stop)
            pthread_cond_wait(&helpers->wake, &helpers->lock);
        if (helpers->head == NULL)
            break;
        struct http_request *request = take(helpers);
        pthread_mutex_unlock(&helpers->lock);
        request_run(request, helpers->context);
        MHD_resume_connection(request->connection);
        pthread_mutex_lock(&helpers->lock);
    }
    pthread_mutex_unlock(&helpers->lock);
    return NULL;
}

enum tet_err helpers_start(struct helpers *helpers, size_t n, size_t max_waiting, void *context,
                           struct tet_error *error)
{
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_cond_init(&helpers->wake, NULL);
    helpers->max_waiting = max_waiting;
    helpers->context = context;
    helpers->threads = calloc(n, sizeof *helpers->threads);
    if (helpers->threads == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for %zu helper threads", n);
    for (; helpers->n < n; helpers->n++) {
        int e = pthread_create(&helpers->threads[helpers->n], NULL, help, helpers);
        if (e != 0)
            return tet_error_set(error, TET_INTERNAL, "a helper thread cannot be started: %s",
                                 strerror(e));
    }
    return TET_OK;
}

enum tet_err helpers_submit(struct helpers *helpers, struct http_request *request,
                            struct tet_error *error)
{
    enum tet_err err = TET_OK;
    pthread_mutex_lock(&helpers->lock);
    if (helpers->stop) {
        err = tet_error_set(error, TET_BUSY, "the server is stopping");
    } else if (helpers->waiting >= helpers->max_waiting) {
        err = tet_error_set(error, TET_BUSY, "%zu requests wait already; try again soon",
                            helpers->waiting);
    } else {
        request->state = REQUEST_WAITING;
        server_owes(request);
        MHD_suspend_connection(request->connection);
        if (helpers->tail != NULL)
            helpers->tail->next = request;
        else
            helpers->head = request;
        helpers->tail = request;
        helpers->waiting++;
        pthread_cond_signal(&helpers->wake);
    }
    pthread_mutex_unlock(&helpers->lock);
    return err;
}

static void refuse(struct http_request *request)
{
    struct tet_error error = {0};
    (void)tet_error_set(&error, TET_BUSY, "the server is stopping");
    http_reply_error(&request->reply, &error, NULL);
    request->reply.close = true;
    MHD_resume_connection(request->connection);
}

void helpers_stop(struct helpers *helpers)
{
    pthread_mutex_lock(&helpers->lock);
    helpers->stop = true;
    while (helpers->head != NULL)
        refuse(take(helpers));
    pthread_cond_broadcast(&helpers->wake);
    pthread_mutex_unlock(&helpers->lock);
    for (size_t k = 0; k < helpers->n; k++)
        pthread_join(helpers->threads[k], NULL);
    free(helpers->threads);
    pthread_cond_destroy(&helpers->wake);
    pthread_mutex_destroy(&helpers->lock);
}
