// SPDX-License-Identifier: Apache-2.0
/*
 * A request: its target split and decoded, and what handlers read of it.
 *
 * The target is decoded here, not by libmicrohttpd, which decodes before it splits: %2F in a name
 * would become a separator. We split at '?', '/', '&' and '=' first, then decode each piece once.
 * A piece must be UTF-8 without control characters; a path segment with a '/', or "." or "..",
 * names nothing.
 *
 * A request belongs to one thread at a time (http_private.h): no locks.
 */
#include "http/http_private.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"

enum { FOUND = 80 }; // bytes of input repeated in a message

struct http_request *request_new(struct http_server *server, struct MHD_Connection *connection,
                                 const char *uri)
{
    struct http_request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return NULL;
    request->server = server;
    request->connection = connection;
    request->target = strdup(uri);
    if (request->target != NULL)
        return request;
    free(request);
    return NULL;
}

void request_free(struct http_request *request, struct body_budget *budget)
{
    if (request == NULL)
        return;
    reply_clear(&request->reply);
    body_free(&request->body, budget);
    spool_free(request);
    free(request->query);
    free(request->target);
    free(request);
}

/* "http://authority/path" as a proxy would send it: *path behind the authority. */
static enum tet_err skip_authority(struct http_request *request, char **path,
                                   struct tet_error *error)
{
    char *p = request->target;
    *path = p;
    if (*p == '/')
        return TET_OK;
    if (strncasecmp(p, "http://", 7) != 0)
        return tet_error_set(error, TET_BAD_REQUEST, "the request's target is not a path");
    char *slash = strchr(p + 7, '/');
    if (slash == NULL)
        return tet_error_set(error, TET_BAD_REQUEST, "the request's target has no path");
    memmove(p, p + 7, (size_t)(slash - (p + 7))); // the authority, to make room for its end
    p[slash - (p + 7)] = '\0';
    request->authority = p;
    *path = slash;
    return TET_OK;
}

static enum tet_err split_path(struct http_request *request, char *path, struct tet_error *error)
{
    bool known = true;
    char *next = path + 1;
    for (char *at = next; next != NULL && path[1] != '\0'; at = next) {
        next = strchr(at, '/');
        if (next != NULL)
            *next++ = '\0';
        if (!http_text_decode(at, false))
            return tet_error_set(error, TET_BAD_REQUEST,
                                 "the path is not percent-encoded UTF-8 without control "
                                 "characters");
        known = known && *at != '\0' && strchr(at, '/') == NULL && strcmp(at, ".") != 0 &&
                strcmp(at, "..") != 0 && request->n_segments < HTTP_MAX_SEGMENTS;
        if (known)
            request->segments[request->n_segments++] = at;
    }
    return known ? TET_OK : tet_error_set(error, TET_NOT_FOUND, "there is nothing at this path");
}

static enum tet_err split_query(struct http_request *request, char *query, struct tet_error *error)
{
    size_t n = 1;
    for (const char *p = query; (p = strchr(p, '&')) != NULL; p++)
        n++;
    if (n > HTTP_MAX_QUERY)
        return tet_error_set(error, TET_BAD_REQUEST, "the query has more than %d parts",
                             HTTP_MAX_QUERY);
    request->query = calloc(n, sizeof *request->query);
    if (request->query == NULL)
        return tet_error_set(error, TET_NO_MEMORY, "no memory for the query");
    for (char *key = query, *next; key != NULL; key = next) {
        next = strchr(key, '&');
        if (next != NULL)
            *next++ = '\0';
        if (*key == '\0')
            continue;
        char *value = strchr(key, '=');
        if (value != NULL)
            *value++ = '\0';
        else
            value = key + strlen(key);
        if (!http_text_decode(key, true) || !http_text_decode(value, true))
            return tet_error_set(error, TET_BAD_REQUEST,
                                 "the query is not percent-encoded UTF-8 without control "
                                 "characters");
        request->query[request->n_query++] = (struct query_pair){key, value};
    }
    return TET_OK;
}

enum tet_err request_parse(struct http_request *request, struct tet_error *error)
{
    char *path;
    enum tet_err err = skip_authority(request, &path, error);
    if (err != TET_OK)
        return err;
    char *query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    err = split_path(request, path, error);
    if (err == TET_OK && query != NULL)
        err = split_query(request, query, error);
    return err;
}

/* The request's path again: the route's with its parts filled in. */
static void name_object(const struct http_request *request, char *out, size_t size)
{
    size_t part = 0, n = 0;
    for (const char *p = request->route->path; *p != '\0' && n + 1 < size; p++) {
        if (*p != '{') {
            out[n++] = *p;
            continue;
        }
        http_text_shorten(out + n, size - n, http_part(request, part++));
        n += strlen(out + n);
        p = strchr(p, '}');
    }
    out[n] = '\0';
}

/* Tells of a change: what was made, by its Location, or what the path names. */
static void tell(const struct http_request *request, void *context)
{
    const struct http_reply *reply = &request->reply;
    char object[256];
    if (request->server->done == NULL || strcmp(request->route->method, "GET") == 0 ||
        reply->unchanged || reply->status >= 400)
        return;
    name_object(request, object, sizeof object - 8);
    for (size_t k = 0; k < reply->n_headers; k++)
        if (strcasecmp(reply->headers[k].name, "Location") == 0)
            http_text_shorten(object, sizeof object, reply->headers[k].value);
    request->server->done(context, request, reply->status, object);
}

void request_run(struct http_request *request, void *context)
{
    struct tet_error error = {0};
    json_begin();
    if (!body_spooled(request) || spool_finish(request, &error) == TET_OK)
        request->route->handle(context, request, &request->reply);
    else
        http_reply_error(&request->reply, &error, NULL);
    if (!json_whole() && request->reply.stream == NULL) // a table made of JSON, too
        reply_lacks_memory(&request->reply);
    tell(request, context);
    body_free(&request->body, &request->server->budget); // a client with its answer holds nothing
    spool_free(request);
    if (request->reply.status != 0)
        return;
    (void)tet_error_set(&error, TET_INTERNAL, "the server has no answer to this");
    http_reply_error(&request->reply, &error, NULL);
}

const struct http_route *http_route(const struct http_request *request)
{
    return request->route;
}

const struct identity *http_identity(const struct http_request *request)
{
    return &request->identity;
}

http_handler_fn *http_handler(const struct http_request *request)
{
    return request->route->handle;
}

int64_t http_id(const struct http_request *request, size_t part)
{
    return part < request->n_parts ? request->ids[part] : 0;
}

const char *http_part(const struct http_request *request, size_t part)
{
    return part < request->n_parts ? request->parts[part] : NULL;
}

const char *http_query_nth(const struct http_request *request, const char *key, size_t nth)
{
    for (size_t k = 0; k < request->n_query; k++) {
        if (strcmp(request->query[k].key, key) == 0 && nth-- == 0)
            return request->query[k].value;
    }
    return NULL;
}

const char *http_query(const struct http_request *request, const char *key)
{
    return http_query_nth(request, key, 0);
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_body(const struct http_request *request, size_t *size)
{
    *size = request->body.size;
    return request->body.size > 0 ? request->body.bytes : NULL;
}

/* Answers 400 for a query parameter; message is formatted, details made from found and allowed. */
static void refuse_query(struct http_reply *reply, const char *key, const char *found,
                         const char *allowed, const char *hint)
{
    struct tet_error error = {0};
    char name[FOUND], value[FOUND];
    http_text_shorten(name, sizeof name, key);
    http_text_shorten(value, sizeof value, found);
    if (hint != NULL)
        (void)tet_error_set(&error, TET_BAD_REQUEST,
                            "the query parameter '%s' is not known; did you mean '%s'?", name,
                            hint);
    else
        (void)tet_error_set(&error, TET_BAD_REQUEST, "the query parameter '%s' is bad: allowed: %s",
                            name, allowed);
    json_t *detail = json_pack("{s:s, s:s, s:s, s:s*}", "parameter", name, "found", value,
                               "allowed", allowed, "hint", hint);
    http_reply_error(reply, &error, detail == NULL ? NULL : json_pack("[o]", detail));
}

/* The known keys as a text: "limit, cursor", or that there are none. */
static void list_keys(char *out, size_t size, const char *const *keys)
{
    size_t used = 0;
    memcpy(out, "no parameters", sizeof "no parameters");
    for (; *keys != NULL && used + strlen(*keys) + 3 < size; keys++) {
        if (used > 0)
            used = (size_t)(stpcpy(out + used, ", ") - out);
        used = (size_t)(stpcpy(out + used, *keys) - out);
    }
}

bool http_query_only(const struct http_request *request, struct http_reply *reply,
                     const char *const *keys)
{
    char allowed[256];
    for (size_t k = 0; k < request->n_query; k++) {
        const struct query_pair *pair = &request->query[k];
        size_t known = 0;
        while (keys[known] != NULL && strcmp(keys[known], pair->key) != 0)
            known++;
        if (keys[known] != NULL)
            continue;
        struct text_nearest nearest = text_nearest(pair->key);
        for (size_t i = 0; keys[i] != NULL; i++)
            text_consider(&nearest, keys[i]);
        list_keys(allowed, sizeof allowed, keys);
        refuse_query(reply, pair->key, pair->value, allowed, nearest.best);
        return false;
    }
    return true;
}

bool http_query_uint(const struct http_request *request, struct http_reply *reply, const char *key,
                     uint64_t low, uint64_t high, uint64_t missing, uint64_t *value)
{
    char allowed[96];
    const char *text = http_query(request, key);
    *value = missing;
    if (text == NULL)
        return true;
    bool number = http_text_uint(text, value) && *value >= low && *value <= high;
    if (number && http_query_nth(request, key, 1) == NULL)
        return true;
    snprintf(allowed, sizeof allowed, "one whole number from %llu to %llu", (unsigned long long)low,
             (unsigned long long)high);
    refuse_query(reply, key, number ? http_query_nth(request, key, 1) : text, allowed, NULL);
    return false;
}
