// SPDX-License-Identifier: Apache-2.0
/*
 * Routes: which entry of the table a path and a method belong to.
 *
 * Paths are compared segment by segment, decoded; a pattern's segment is a literal or has one
 * {part} with literals around it. The table is short, so it is searched from its top. Pure
 * functions of the request: no locks.
 */
#include "http/http_private.h"

#include <stdio.h>
#include <string.h>

struct part {
    size_t segment, start, end; // bytes of the segment
    int64_t id;                 // 0: not a number
};

/* {id}: a positive number without leading zeros that fits int64_t; 0 where it is none. */
static int64_t read_id(const char *text, size_t n)
{
    int64_t id = 0;
    if (n == 0 || text[0] == '0')
        return 0;
    for (size_t k = 0; k < n; k++) {
        if (text[k] < '0' || text[k] > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, (int64_t)(text[k] - '0'), &id))
            return 0;
    }
    return id;
}

/* Whether a segment fits the pattern of n bytes; *found: whether it has a part, then in *part. */
static bool segment_fits(const char *pattern, size_t n, const char *segment, struct part *part,
                         bool *found)
{
    const char *open = memchr(pattern, '{', n);
    size_t length = strlen(segment);
    *found = open != NULL;
    if (open == NULL)
        return length == n && memcmp(pattern, segment, n) == 0;
    const char *close = memchr(open, '}', n - (size_t)(open - pattern));
    if (close == NULL)
        return false;
    size_t before = (size_t)(open - pattern);
    size_t after = n - (size_t)(close + 1 - pattern);
    if (length <= before + after || memcmp(pattern, segment, before) != 0 ||
        memcmp(close + 1, segment + length - after, after) != 0)
        return false;
    part->start = before;
    part->end = length - after;
    part->id = read_id(segment + before, part->end - before);
    bool number = close - open == 3 && memcmp(open, "{id}", 4) == 0;
    return !number || part->id > 0;
}

/* Whether the path fits the pattern; then its parts, *n of them. */
static bool path_fits(const char *pattern, const struct http_request *request,
                      struct part parts[HTTP_MAX_PARTS], size_t *n)
{
    size_t segment = 0;
    *n = 0;
    for (const char *p = pattern + 1; *p != '\0'; segment++) {
        const char *end = strchrnul(p, '/');
        struct part part = {.segment = segment};
        bool found;
        if (segment >= request->n_segments ||
            !segment_fits(p, (size_t)(end - p), request->segments[segment], &part, &found))
            return false;
        if (found && *n == HTTP_MAX_PARTS)
            return false;
        if (found)
            parts[(*n)++] = part;
        p = *end == '/' ? end + 1 : end;
    }
    return segment == request->n_segments;
}

static void allow_add(char allow[ROUTE_ALLOW], const char *method)
{
    size_t n = strlen(allow);
    const char *at = strstr(allow, method);
    size_t length = strlen(method);
    if (at != NULL && (at[length] == ',' || at[length] == '\0') && (at == allow || at[-1] == ' '))
        return;
    snprintf(allow + n, ROUTE_ALLOW - n, "%s%s", n > 0 ? ", " : "", method);
}

static void take(struct http_request *request, const struct http_route *route,
                 const struct part *parts, size_t n)
{
    request->route = route;
    request->n_parts = n;
    for (size_t k = 0; k < n; k++) {
        char *segment = request->segments[parts[k].segment];
        segment[parts[k].end] = '\0';
        request->parts[k] = segment + parts[k].start;
        request->ids[k] = parts[k].id;
    }
}

enum tet_err route_find(struct http_request *request, const struct http_route *routes,
                        const char *method, char allow[ROUTE_ALLOW])
{
    struct part parts[HTTP_MAX_PARTS];
    size_t n;
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    allow[0] = '\0';
    request->head = wanted != method;
    for (const struct http_route *route = routes; route->method != NULL; route++) {
        if (!path_fits(route->path, request, parts, &n))
            continue;
        if (strcmp(route->method, wanted) == 0) {
            take(request, route, parts, n);
            return TET_OK;
        }
        allow_add(allow, route->method);
        if (strcmp(route->method, "GET") == 0)
            allow_add(allow, "HEAD");
    }
    if (allow[0] == '\0')
        return TET_NOT_FOUND;
    allow_add(allow, "OPTIONS");
    return TET_METHOD;
}
