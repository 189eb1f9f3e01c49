// SPDX-License-Identifier: Apache-2.0
/*
 * Replies: what a handler fills in, and its way to libmicrohttpd.
 *
 * A reply can be replaced until it is sent (an error over a half-made result). Whatever cannot be
 * made for lack of memory becomes a static error text, so that there is an answer always.
 *
 * A reply belongs to its request's thread: no locks.
 */
#include "http/http_private.h"

#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char type_json[] = "application/json";
static const char no_memory[] =
    "{\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}}\n";

static void drop_content(struct http_reply *reply)
{
    free(reply->owned);
    stream_close(reply->stream);
    reply->stream = NULL;
    reply->owned = NULL;
    reply->bytes = NULL;
    reply->size = 0;
}

void reply_clear(struct http_reply *reply)
{
    drop_content(reply);
    for (size_t k = 0; k < reply->n_headers; k++) {
        free(reply->headers[k].name);
        free(reply->headers[k].value);
    }
    free(reply->etag);
    *reply = (struct http_reply){.close = reply->close};
}

/* Content-Type: texts are UTF-8 and say so. */
static void set_type(struct http_reply *reply, const char *type)
{
    bool text = strcmp(type, type_json) == 0 ||
                (strncmp(type, "text/", 5) == 0 && strstr(type, "charset=") == NULL);
    snprintf(reply->type, sizeof reply->type, "%s%s", type, text ? "; charset=utf-8" : "");
}

void http_reply_static(struct http_reply *reply, int status, const char *type, const void *bytes,
                       size_t size)
{
    drop_content(reply);
    reply->status = status;
    reply->bytes = bytes;
    reply->size = size;
    set_type(reply, type);
}

void http_reply_bytes(struct http_reply *reply, int status, const char *type, void *bytes,
                      size_t size)
{
    http_reply_static(reply, status, type, bytes, size);
    reply->owned = bytes;
}

void reply_lacks_memory(struct http_reply *reply)
{
    http_reply_static(reply, tet_err_status(TET_NO_MEMORY), type_json, no_memory,
                      sizeof no_memory - 1);
}

void http_reply_json(struct http_reply *reply, int status, json_t *value)
{
    char *text = value != NULL ? json_text(value) : NULL;
    size_t n = text != NULL ? strlen(text) : 0;
    char *line = text != NULL ? realloc(text, n + 2) : NULL;
    json_decref(value);
    if (line == NULL) {
        free(text);
        reply_lacks_memory(reply);
        return;
    }
    memcpy(line + n, "\n", 2);
    http_reply_bytes(reply, status, type_json, line, n + 1);
}

static const char *find_header(const struct http_reply *reply, const char *name)
{
    for (size_t k = 0; k < reply->n_headers; k++) {
        if (strcasecmp(reply->headers[k].name, name) == 0)
            return reply->headers[k].value;
    }
    return NULL;
}

void http_reply_error(struct http_reply *reply, const struct tet_error *error, json_t *details)
{
    enum tet_err err = error->err != TET_OK ? error->err : TET_INTERNAL;
    if ((err == TET_STORAGE_FULL || err == TET_STORAGE_FAILS) &&
        find_header(reply, "Retry-After") == NULL)
        http_reply_header(reply, "Retry-After", "10"); // somebody has to make room first
    json_t *message =
        json_string(error->message[0] != '\0' ? error->message : tet_err_message(err));
    if (message == NULL) // not UTF-8, or no memory
        message = json_string(tet_err_message(err));
    json_t *value = json_pack("{s:{s:s, s:o, s:o*}}", "error", "code", tet_err_code(err), "message",
                              message, "details", details);
    http_reply_json(reply, tet_err_status(err), value);
}

void http_reply_header(struct http_reply *reply, const char *name, const char *value)
{
    char *n = NULL, *v = NULL;
    bool fits = reply->n_headers < REPLY_MAX_HEADERS && strpbrk(value, "\r\n") == NULL;
    if (fits && (n = strdup(name)) != NULL && (v = strdup(value)) != NULL) {
        reply->headers[reply->n_headers++] = (struct reply_header){n, v};
        return;
    }
    free(n);
    reply->failed = true;
    reply->no_memory |= fits;
}

/* Whether If-None-Match, a list of entity tags or *, has the quoted tag, weak or not. */
static bool list_has(const char *list, const char *tag)
{
    size_t length = strlen(tag);
    while (*list != '\0') {
        list += strspn(list, " \t,");
        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        if (*list != '"')
            return false;
        const char *end = strchr(list + 1, '"');
        if (end == NULL)
            return false;
        if ((size_t)(end + 1 - list) == length && memcmp(list, tag, length) == 0)
            return true;
        list = end + 1;
    }
    return false;
}

struct match {
    const char *tag;
    bool found;
};

static enum MHD_Result look_for_tag(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    (void)kind;
    struct match *match = context;
    if (value != NULL && strcasecmp(key, "If-None-Match") == 0 && list_has(value, match->tag))
        match->found = true;
    return MHD_YES;
}

bool http_reply_etag(const struct http_request *request, struct http_reply *reply, const char *tag)
{
    size_t n = strlen(tag);
    if (n > 1 && tag[0] == '"' && tag[n - 1] == '"') {
        tag++;
        n -= 2;
    }
    const bool fits = memchr(tag, '"', n) == NULL && strpbrk(tag, "\r\n") == NULL;
    char *etag = fits ? malloc(n + 3) : NULL;
    if (etag == NULL) {
        reply->failed = true;
        reply->no_memory |= fits;
        return false;
    }
    etag[0] = '"';
    memcpy(etag + 1, tag, n);
    memcpy(etag + 1 + n, "\"", 2);
    free(reply->etag);
    reply->etag = etag;
    if (strcmp(request->route->method, "GET") != 0)
        return false;
    struct match match = {.tag = etag};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look_for_tag, &match);
    if (!match.found)
        return false;
    drop_content(reply);
    reply->status = MHD_HTTP_NOT_MODIFIED;
    return true;
}

/* Hands the content over to a libmicrohttpd response; NULL: no memory. */
static struct MHD_Response *make_response(struct http_reply *reply)
{
    if (reply->stream != NULL)
        return stream_response(reply->stream);
    enum MHD_ResponseMemoryMode mode =
        reply->owned != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT;
    /* With MHD_RESPMEM_PERSISTENT the bytes are only read. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->size, (void *)(uintptr_t)reply->bytes, mode);
    if (response != NULL)
        reply->owned = NULL;
    return response;
}

void http_reply_unchanged(struct http_reply *reply)
{
    reply->unchanged = true;
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

/* What belongs to every reply, and to some statuses. */
static bool add_guards(struct MHD_Response *response, const struct http_request *request)
{
    const struct http_reply *reply = &request->reply;
    bool ok = add(response, "X-Content-Type-Options", "nosniff") &&
              add(response, "Referrer-Policy", "no-referrer") &&
              add(response, "X-Frame-Options", "DENY");
    if (request->origin != NULL)
        ok = ok && add(response, "Access-Control-Allow-Origin", request->origin) &&
             add(response, "Access-Control-Expose-Headers", "ETag, Location, Retry-After");
    if (request->server->origins != NULL)
        ok = ok && add(response, "Vary", "Origin");
    if (reply->status == MHD_HTTP_UNAUTHORIZED)
        ok = ok && add(response, "WWW-Authenticate", "Bearer realm=\"tetrad\"");
    if ((reply->status == 503 || reply->status == 429) && find_header(reply, "Retry-After") == NULL)
        ok = ok && add(response, "Retry-After", reply->status == 503 ? "1" : "10");
    return ok;
}

static bool add_headers(struct MHD_Response *response, const struct http_request *request)
{
    const struct http_reply *reply = &request->reply;
    bool error = reply->status >= 400, tagged = reply->etag != NULL && !error;
    bool empty = reply->status == MHD_HTTP_NOT_MODIFIED || reply->status == MHD_HTTP_NO_CONTENT;
    bool ok = add_guards(response, request);
    if (!empty)
        ok &= add(response, "Content-Type", reply->type);
    if (tagged)
        ok &= add(response, "ETag", reply->etag);
    if (error || find_header(reply, "Cache-Control") == NULL)
        ok &= add(response, "Cache-Control", tagged ? "private, no-cache" : "no-store");
    if (reply->close)
        ok &= add(response, "Connection", "close");
    for (size_t k = 0; k < reply->n_headers; k++) {
        const struct reply_header *header = &reply->headers[k];
        if (error && strcasecmp(header->name, "Cache-Control") == 0)
            continue;
        ok &= add(response, header->name, header->value);
    }
    return ok;
}

/* JSON for a client that accepts none: 406. Only of what was read: who changed something hears of it. */
static void check_accept(struct http_request *request)
{
    static const char *const json[] = {type_json, NULL};
    struct http_reply *reply = &request->reply;
    const size_t n = sizeof type_json - 1;
    struct tet_error error = {0};
    if (reply->status != 200 || request->route == NULL || strncmp(reply->type, type_json, n) != 0 ||
        (reply->type[n] != ';' && reply->type[n] != '\0') ||
        strcmp(request->route->method, "GET") != 0 || http_accepts(request, json) != NULL)
        return;
    (void)tet_error_set(&error, TET_NOT_ACCEPTABLE, "this is application/json");
    http_reply_error(reply, &error, NULL);
}

enum MHD_Result reply_send(struct http_request *request)
{
    struct http_reply *reply = &request->reply;
    enum MHD_Result result = MHD_NO;
    if (reply->failed) {
        struct tet_error error = {0};
        (void)tet_error_set(&error, TET_INTERNAL, "the reply's headers cannot be made");
        if (reply->no_memory)
            reply_lacks_memory(reply);
        else
            http_reply_error(reply, &error, NULL);
    } else
        check_accept(request);
    if (atomic_load(&request->server->draining))
        reply->close = true;
    connected_reply(&request->server->all, request->connected, reply->size);
    server_owes(request);
    if (reply->stream != NULL)
        server_forgets(request);
    request->state = REQUEST_SENT;
    const size_t bytes = reply->size;
    struct MHD_Response *response = make_response(reply);
    if (response != NULL && add_headers(response, request) &&
        MHD_add_response_header(response, "X-Request-Id", request->id) == MHD_YES)
        result = MHD_queue_response(request->connection, (unsigned)reply->status, response);
    else
        result = reply_no_memory(request->server, request->connection);
    if (response != NULL)
        MHD_destroy_response(response);
    watch_end(request, bytes);
    return result;
}

struct MHD_Response *reply_make_no_memory(void)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof no_memory - 1, (void *)(uintptr_t)no_memory, MHD_RESPMEM_PERSISTENT);
    if (response != NULL && add(response, "X-Content-Type-Options", "nosniff") &&
        add(response, "Content-Type", type_json) && add(response, "Cache-Control", "no-store") &&
        add(response, "Retry-After", "1") && add(response, "Connection", "close"))
        return response;
    if (response != NULL)
        MHD_destroy_response(response);
    return NULL;
}

enum MHD_Result reply_no_memory(struct http_server *server, struct MHD_Connection *connection)
{
    return MHD_queue_response(connection, (unsigned)tet_err_status(TET_NO_MEMORY),
                              server->no_memory);
}

void reply_send_now(struct http_request *request)
{
    struct http_reply *reply = &request->reply;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char *text = NULL;
    const int n = asprintf(&text,
                           "HTTP/1.1 %d Refused\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                           "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
                           "%sConnection: close\r\n\r\n%.*s",
                           reply->status, reply->type, reply->size,
                           reply->status == 503 ? "Retry-After: 1\r\n" : "", (int)reply->size,
                           (const char *)reply->bytes);
    request->state = REQUEST_SENT;
    /* A few hundred bytes on a socket that nothing was written to: they fit, or the client has gone. */
    if (n > 0 && info != NULL)
        (void)!send(info->connect_fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        free(text);
}
