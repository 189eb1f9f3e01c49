// SPDX-License-Identifier: Apache-2.0
/*
 * The server: libmicrohttpd's daemon, the way of a request through it, and its end.
 *
 * libmicrohttpd calls answer() on an epoll thread: once when the headers are read, once for each
 * piece of the body, once at its end, and once more when a suspended connection is resumed. What a
 * request is in the middle of is its state.
 *
 * A request that is refused before its body is read is answered at once only where reading the body
 * would be a waste (too large, no length, or the client waits for "100 Continue"); its connection
 * then ends, and the rest of the body lingers (linger.c). Otherwise the body is read and thrown
 * away, and the connection lives on. A body on a route that takes none is thrown away too.
 *
 * Draining counts the requests whose headers are read (active). Stopping additionally gives
 * finished replies (owed) a moment to go out before the daemon closes every connection. No
 * connection may be suspended when the daemon stops: helpers_stop comes first, and refuses what
 * comes after.
 *
 * Threads: answer and completed on epoll threads, server_owes also under helpers.lock; the rest on
 * the thread that owns the server. `lock` guards active and owed.
 */
#include "http/http_private.h"

#include "clock.h"
#include "json.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const size_t body_total_bytes = (size_t)64 << 20;

/* ---- a request ---- */

static void refuse(struct http_request *request, const struct tet_error *error)
{
    reply_clear(&request->reply);
    http_reply_error(&request->reply, error, NULL);
}

/* What a browser asks before a page of an allowed origin may send its request. */
static void answer_options(struct http_request *request, const char *allow)
{
    struct http_reply *reply = &request->reply;
    http_reply_static(reply, MHD_HTTP_NO_CONTENT, "text/plain", "", 0);
    if (request->origin == NULL)
        return;
    http_reply_header(reply, "Access-Control-Allow-Methods", allow);
    http_reply_header(reply, "Access-Control-Allow-Headers",
                      "Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
    http_reply_header(reply, "Access-Control-Max-Age", "600");
}

/* 405 with Allow, or for OPTIONS just the Allow. */
static enum tet_err refuse_method(struct http_request *request, const char *method,
                                  const char *allow, struct tet_error *error)
{
    enum tet_err err = TET_OK;
    if (strcmp(method, "OPTIONS") == 0)
        answer_options(request, allow);
    else
        err = tet_error_set(error, TET_METHOD, "this path takes %s", allow);
    if (err != TET_OK)
        refuse(request, error);
    http_reply_header(&request->reply, "Allow", allow);
    return err;
}

/* Who asks, and whether the route is for them. */
static enum tet_err admit(struct http_request *request, struct tet_error *error)
{
    static const char *const names[] = {"anybody", "viewers", "members", "administrators"};
    struct http_server *server = request->server;
    const enum role wanted = request->route->role;
    struct identity *who = &request->identity;
    *who = (struct identity){.user = "local", .role = ROLE_ADMIN};
    const enum tet_err err =
        server->admit != NULL ? server->admit(server->context, request, who, error) : TET_OK;
    if (err != TET_OK || who->role >= wanted)
        return err;
    return who->role == ROLE_PUBLIC
               ? tet_error_set(error, TET_UNAUTHORIZED,
                               "this needs a token: send Authorization: Bearer TOKEN")
               : tet_error_set(error, TET_FORBIDDEN, "this is for %s", names[wanted]);
}

/* Changes answer with JSON: who takes none is told before anything is changed. */
static enum tet_err judge_accept(const struct http_request *request, struct tet_error *error)
{
    static const char *const json[] = {"application/json", NULL};
    return strcmp(request->route->method, "GET") == 0 || http_accepts(request, json) != NULL
               ? TET_OK
               : tet_error_set(error, TET_NOT_ACCEPTABLE, "the answer is application/json");
}

/* Judges target and headers; a reply is set where the request is refused. */
static void judge(struct http_request *request, const char *method, const char *version)
{
    struct http_server *server = request->server;
    struct tet_error error = {0};
    char allow[ROUTE_ALLOW];
    enum tet_err err = TET_OK;
    bool unread = false, body_unread = false;
    if (atomic_load(&server->draining))
        err = tet_error_set(&error, TET_BUSY, "the server is stopping");
    if (err == TET_OK)
        err = request_parse(request, &error);
    if (err == TET_OK)
        err = guard_judge(request, version, &error);
    if (err == TET_OK)
        err = route_find(request, server->routes, method, allow);
    if (err == TET_OK)
        err = admit(request, &error);
    if (err == TET_OK)
        err = judge_accept(request, &error);
    if (err == TET_METHOD)
        err = refuse_method(request, method, allow, &error);
    else if (err == TET_NOT_FOUND)
        err = tet_error_set(&error, TET_NOT_FOUND, "there is nothing at this path");
    /* Whatever was found so far, the body decides how the connection goes on. */
    struct tet_error body_error = {0};
    const uint64_t max_bytes =
        body_spooled(request) ? server->spooler.max_bytes : server->max_body_bytes;
    enum tet_err body_err = body_judge(request, max_bytes, &body_unread, &body_error);
    if (err == TET_OK && body_err == TET_OK && body_spooled(request))
        body_err = spool_admit(request, &body_error);
    if (request->reply.status == 0 && err != TET_OK)
        refuse(request, &error);
    else if (request->reply.status == 0 && body_err != TET_OK)
        refuse(request, &body_error);
    unread = request->reply.status != 0 && body_unread;
    request->reply.close = request->reply.close || unread;
}

static void linger(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL)
        linger_add(&request->server->linger, info->connect_fd);
}

static enum MHD_Result begin(struct http_request *request, const char *method, const char *url,
                             const char *version)
{
    struct http_server *server = request->server;
    request->state = REQUEST_BODY;
    watch_begin(request, method, url);
    request->counted = true;
    pthread_mutex_lock(&server->lock);
    server->active++;
    pthread_mutex_unlock(&server->lock);
    judge(request, method, version);
    if (!connected_headers(&server->all, request->connected))
        return MHD_NO;
    if (!request->reply.close)
        return MHD_YES;
    linger(request);
    return reply_send(request);
}

/* The file cannot be written, or too much comes: the rest may be gigabytes, so it is not waited for. */
static enum MHD_Result abandon(struct http_request *request, const struct tet_error *error)
{
    refuse(request, error);
    request->reply.close = true;
    reply_send_now(request);
    linger(request);
    return MHD_NO;
}

/* *left: how many of the bytes are to come again. */
static enum MHD_Result receive(struct http_request *request, const char *bytes, size_t size,
                               size_t *left)
{
    struct tet_error error = {0};
    struct connected *connected = request->connected;
    bool taken = true;
    *left = 0;
    if (!connected_body(&request->server->all, request->connected, size,
                        body_spooled(request) ? UPLOAD_RATE : BODY_RATE))
        return MHD_NO;
    if (request->reply.status != 0 || request->route->body == NULL)
        return MHD_YES;
    if (body_spooled(request)) {
        if (spool_take(request, bytes, size, &taken, &error) != TET_OK)
            return abandon(request, &error);
        *left = taken ? 0 : size; // not taken: suspended, hands off; the connection stays ours
        if (!taken)
            connected_held(connected);
        return MHD_YES;
    }
    if (body_append(&request->body, &request->server->budget, bytes, size, &error) == TET_OK)
        return MHD_YES;
    body_free(&request->body, &request->server->budget);
    refuse(request, &error);
    return MHD_YES;
}

static enum MHD_Result finish(struct http_request *request)
{
    struct http_server *server = request->server;
    struct tet_error error = {0};
    if (!connected_handled(request->connected))
        return MHD_NO; // it was told that it is late
    if (request->reply.status != 0)
        return reply_send(request);
    if (!request->route->blocking) {
        request_run(request, server->context);
        return reply_send(request);
    }
    if (server->quick != NULL && server->quick(server->context, request, &request->reply))
        return reply_send(request);
    if (helpers_submit(&server->helpers, request, &error) == TET_OK)
        return MHD_YES; // it may be with a helper already: hands off
    refuse(request, &error);
    return reply_send(request);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *bytes,
                              size_t *size, void **request_context)
{
    struct http_server *server = context;
    struct http_request *request = *request_context;
    if (request == NULL)
        return reply_no_memory(server, connection);
    json_begin();
    switch (request->state) {
    case REQUEST_NEW:
        return begin(request, method, url, version);
    case REQUEST_BODY:
        if (*size == 0)
            return finish(request);
        return receive(request, bytes, *size, size);
    case REQUEST_WAITING:
        return reply_send(request);
    case REQUEST_SENT:
        break;
    }
    return MHD_YES;
}

static void *see_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    struct http_request *request = request_new(server, connection, uri);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (request != NULL && info != NULL)
        request->connected = info->socket_context;
    if (request != NULL)
        connected_line(&server->all, request->connected);
    /* libmicrohttpd 0.9.75 leaves a connection without an answer where a query has more parts than
     * the connection's memory can list. We read the query from our copy, so its own, which it has
     * found but not read yet and would write to, is made empty. */
    char *query = (char *)(uintptr_t)strchr(uri, '?');
    if (query != NULL && query[1] != '\0')
        query[1] = '\0';
    return request;
}

static void completed(void *context, struct MHD_Connection *connection, void **request_context,
                      enum MHD_RequestTerminationCode why)
{
    (void)connection, (void)why;
    struct http_server *server = context;
    struct http_request *request = *request_context;
    *request_context = NULL;
    if (request == NULL)
        return;
    connected_idle(&server->all, request->connected);
    pthread_mutex_lock(&server->lock);
    server->active -= request->counted;
    server->owed -= request->owed;
    if (server->active == 0 || server->owed == 0)
        pthread_cond_broadcast(&server->fewer);
    pthread_mutex_unlock(&server->lock);
    request_free(request, &server->budget);
}

void server_owes(struct http_request *request)
{
    struct http_server *server = request->server;
    if (request->owed)
        return;
    request->owed = true;
    pthread_mutex_lock(&server->lock);
    server->owed++;
    pthread_mutex_unlock(&server->lock);
}

void server_forgets(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    server->active -= request->counted;
    server->owed -= request->owed;
    request->counted = request->owed = false;
    if (server->active == 0 || server->owed == 0)
        pthread_cond_broadcast(&server->fewer);
    pthread_mutex_unlock(&server->lock);
}

/* ---- start ---- */

static size_t keep_encoded(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text); // we decode ourselves: request.c
}

static void count_connection(void *context, struct MHD_Connection *connection,
                             void **socket_context, enum MHD_ConnectionNotificationCode what)
{
    struct http_server *server = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info != NULL ? connections_find(&server->all, info->connect_fd) : NULL;
        return;
    }
    connections_remove(&server->all, *socket_context);
    *socket_context = NULL;
    atomic_fetch_sub(&server->connections, 1); // the acceptor has counted it
}

static enum tet_err start_daemon(struct http_server *server, const struct http_options *options,
                                 struct tet_error *error)
{
    uint32_t threads = options->threads > 0 ? options->threads : 2;
    /* The acceptor keeps the limit; this one only has to be above it, in each thread's share. */
    size_t connections = (size_t)threads * (server->max_connections + server->streams.max + 64);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                     MHD_USE_NO_LISTEN_SOCKET | (server->tls.key != NULL ? MHD_USE_TLS : 0);
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls.certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls.key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities},
        {MHD_OPTION_END, 0, NULL}};
    /* A pool of one is none: libmicrohttpd then uses its one internal thread. */
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, answer, server, MHD_OPTION_THREAD_POOL_SIZE,
        threads > 1 ? (unsigned)threads : 0u, MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_URI_LOG_CALLBACK, see_uri, server,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed,
        server, MHD_OPTION_NOTIFY_CONNECTION, count_connection, server, MHD_OPTION_ARRAY,
        server->tls.key != NULL ? tls : tls + 3, MHD_OPTION_END);
    if (server->daemon != NULL)
        return TET_OK;
    return server->tls.key != NULL
               ? tet_error_set(
                     error, TET_IO,
                     "--tls-cert %s and --tls-key %s cannot be used: they are damaged, or "
                     "do not belong together",
                     options->tls_certificate, options->tls_key)
               : tet_error_set(error, TET_INTERNAL, "the HTTP server cannot be started: %s",
                               strerror(errno));
}

static void init(struct http_server *server, const struct http_options *options,
                 const struct http_route *routes, void *context)
{
    size_t total = options->max_total_bytes > 0 ? options->max_total_bytes : body_total_bytes;
    server->acceptor.listen_fd = server->acceptor.wake = -1;
    server->routes = routes;
    server->watch = options->watch;
    server->admit = options->admit;
    server->quick = options->quick;
    server->done = options->done;
    server->beyond_loopback = options->beyond_loopback;
    server->context = context;
    server->max_connections = options->max_connections > 0 ? options->max_connections : 1000;
    connections_init(&server->all, server->max_connections, options->max_per_address,
                     options->patience_ms > 0 ? options->patience_ms : 10000, &server->linger);
    server->max_body_bytes = options->max_body_bytes;
    server->budget.limit = total;
    streams_create(&server->streams, options->max_streams > 0 ? options->max_streams : 2000);
    server->linger.wake = -1;
    server->spooler.folder = options->spool_folder;
    server->spooler.max_bytes = options->max_upload_bytes;
    server->spooler.max_uploads = options->max_uploads > 0 ? options->max_uploads : SPOOL_UPLOADS;
    pthread_mutex_init(&server->spooler.lock, NULL);
    pthread_cond_init(&server->spooler.wake, NULL);
    pthread_mutex_init(&server->lock, NULL);
    clock_cond(&server->fewer);
}

static enum tet_err keep_list(char **list, const char *given, struct tet_error *error)
{
    *list = given != NULL ? strdup(given) : NULL;
    return given == NULL || *list != NULL
               ? TET_OK
               : tet_error_set(error, TET_NO_MEMORY, "no memory for the HTTP server");
}

static enum tet_err read_options(struct http_server *server, const struct http_options *options,
                                 struct tet_error *error)
{
    enum tet_err err = guard_check_list("host", options->hosts, false, error);
    if (err == TET_OK)
        err = guard_check_list("cors-origin", options->origins, true, error);
    if (err == TET_OK)
        err = proxy_check_list(options->proxies, error);
    if (err == TET_OK)
        err = keep_list(&server->all.trusted, options->proxies, error);
    if (err == TET_OK)
        err = keep_list(&server->hosts, options->hosts, error);
    if (err == TET_OK)
        err = keep_list(&server->origins, options->origins, error);
    if (err == TET_OK)
        err = tls_read(&server->tls, options->tls_certificate, options->tls_key, error);
    return err;
}

enum tet_err http_start(struct http_server **server, const struct http_options *options,
                        const struct http_route *routes, void *context, uint16_t *port,
                        struct tet_error *error)
{
    sigset_t all, before;
    *server = NULL;
    struct http_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for the HTTP server");
    init(s, options, routes, context);
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    enum tet_err err =
        helpers_start(&s->helpers, options->helpers > 0 ? options->helpers : 8,
                      options->max_waiting > 0 ? options->max_waiting : 256, context, error);
    if (err == TET_OK)
        err = linger_start(&s->linger, error);
    else
        pthread_mutex_init(&s->linger.lock, NULL);
    if (err == TET_OK && s->spooler.folder != NULL)
        err = spooler_start(&s->spooler, error);
    if (err == TET_OK)
        err = read_options(s, options, error);
    s->all.silent = s->tls.key != NULL;
    if (err == TET_OK)
        err = connections_start(&s->all, error);
    if (err == TET_OK && (s->no_memory = reply_make_no_memory()) == NULL)
        err = tet_error_set(error, TET_NO_MEMORY, "no memory for the HTTP server");
    if (err == TET_OK)
        err = listen_open(&s->acceptor.listen_fd, options->listen, options->beyond_loopback, port,
                          error);
    if (err == TET_OK)
        err = start_daemon(s, options, error);
    if (err == TET_OK)
        err = acceptor_start(s, error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != TET_OK) {
        http_stop(s);
        return err;
    }
    *server = s;
    return TET_OK;
}

/* ---- the end ---- */

/* Waits until *count is 0, at most for timeout_ms. */
static void await_none(struct http_server *server, const size_t *count, uint32_t timeout_ms)
{
    struct timespec until;
    clock_in(&until, timeout_ms);
    pthread_mutex_lock(&server->lock);
    while (*count > 0) {
        if (pthread_cond_timedwait(&server->fewer, &server->lock, &until) == ETIMEDOUT)
            break;
    }
    pthread_mutex_unlock(&server->lock);
}

static void quiet(struct http_server *server)
{
    atomic_store(&server->draining, true);
    acceptor_stop(server);
    streams_end(&server->streams);
}

void http_drain(struct http_server *server, uint32_t timeout_ms)
{
    quiet(server);
    await_none(server, &server->active, timeout_ms);
    streams_await(&server->streams,
                  STOP_GRACE_MS); // a client that does not read keeps nobody longer
}

void http_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    quiet(server);
    spooler_stop(&server->spooler);
    helpers_stop(&server->helpers);
    await_none(server, &server->owed, STOP_GRACE_MS);
    streams_await(&server->streams, STOP_GRACE_MS);
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    connections_stop(&server->all);
    if (server->no_memory != NULL)
        MHD_destroy_response(server->no_memory);
    linger_stop(&server->linger);
    streams_destroy(&server->streams);
    tls_free(&server->tls);
    free(server->hosts);
    free(server->origins);
    free(server->all.trusted);
    pthread_cond_destroy(&server->fewer);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->spooler.wake);
    pthread_mutex_destroy(&server->spooler.lock);
    free(server);
}
