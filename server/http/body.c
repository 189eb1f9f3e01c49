// SPDX-License-Identifier: Apache-2.0
/*
 * Bodies of requests: whether they are taken, and their memory.
 *
 * A body grows as it arrives, never beyond its Content-Length, and every byte is charged to one
 * budget for all connections: a client that announces much and sends little holds little.
 *
 * Threads: a body belongs to its request's thread; the budget is atomic.
 */
#include "http/http_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4096 };

static enum MHD_Result count_value(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    (void)kind, (void)value;
    size_t *n = context;
    *n += strcasecmp(key, "Content-Length") == 0;
    return MHD_YES;
}

/* Whether `type` is the media type `wanted`, perhaps with parameters, whose charset is UTF-8. */
static bool media_type_fits(const char *type, const char *wanted)
{
    size_t n = strlen(wanted);
    if (strncasecmp(type, wanted, n) != 0)
        return false;
    type += n + strspn(type + n, " \t");
    while (*type == ';') {
        type += 1 + strspn(type + 1, " \t");
        if (strncasecmp(type, "charset=", 8) == 0) {
            const char *charset = type + 8 + (type[8] == '"');
            if (strncasecmp(charset, "utf-8", 5) != 0 || strchr("\"; \t", charset[5]) == NULL)
                return false;
        }
        type += strcspn(type, ";");
    }
    return *type == '\0';
}

/* ... or one of a list. */
static bool one_fits(const char *type, const char *wanted)
{
    char one[64];
    for (const char *at = wanted; *at != '\0'; at += strspn(at, ", ")) {
        size_t n = strcspn(at, ",");
        snprintf(one, sizeof one, "%.*s", (int)n, at);
        if (media_type_fits(type, one))
            return true;
        at += n;
    }
    return false;
}

static enum tet_err judge_type(const struct http_request *request, struct tet_error *error)
{
    const char *wanted = request->route->body;
    const char *type = http_header(request, "Content-Type");
    const bool several = strchr(wanted, ',') != NULL;
    const char *encoding = http_header(request, "Content-Encoding");
    if (type == NULL)
        return tet_error_set(error, TET_MEDIA_TYPE, "the body needs Content-Type: %s%s",
                             several ? "one of " : "", wanted);
    if (!one_fits(type, wanted))
        return tet_error_set(
            error, TET_MEDIA_TYPE,
            "the body's Content-Type must be %s%s, in UTF-8 where it says a charset",
            several ? "one of " : "", wanted);
    if (encoding != NULL && strcasecmp(encoding, "identity") != 0)
        return tet_error_set(error, TET_MEDIA_TYPE, "the body must not have a Content-Encoding");
    return TET_OK;
}

bool body_spooled(const struct http_request *request)
{
    return request->route != NULL && request->route->blocking == HTTP_SPOOLED;
}

enum tet_err body_judge(struct http_request *request, uint64_t max_bytes, bool *unread,
                        struct tet_error *error)
{
    size_t lengths = 0;
    const char *length = http_header(request, "Content-Length");
    const char *coding = http_header(request, "Transfer-Encoding");
    const bool spooled = body_spooled(request);
    *unread = true;
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_value, &lengths);
    if (lengths > 1)
        return tet_error_set(error, TET_BAD_REQUEST, "there is more than one Content-Length");
    if (coding != NULL && length != NULL)
        return tet_error_set(error, TET_BAD_REQUEST,
                             "there are a Transfer-Encoding and a Content-Length");
    if (coding != NULL && !(spooled && strcasecmp(coding, "chunked") == 0))
        return tet_error_set(error, TET_NO_LENGTH,
                             "a body needs a Content-Length; Transfer-Encoding is not taken");
    if (length != NULL && !http_text_uint(length, &request->body.length))
        return tet_error_set(error, TET_BAD_REQUEST, "the Content-Length is no number");
    if (request->body.length > max_bytes)
        return tet_error_set(
            error, TET_TOO_LARGE, "the body has %llu bytes; at most %llu are taken",
            (unsigned long long)request->body.length, (unsigned long long)max_bytes);
    /* From here on the body is short, unless it would go into a file: what is refused is read and thrown away, so that the
     * connection can go on, unless the client waits for leave to send it. */
    *unread = spooled || (request->body.length > 0 && http_header(request, "Expect") != NULL);
    if (request->route == NULL || request->route->body == NULL)
        return TET_OK;
    if (length == NULL && coding == NULL)
        return tet_error_set(error, TET_NO_LENGTH, "a body needs a Content-Length");
    return judge_type(request, error);
}

static bool charge(struct body_budget *budget, size_t bytes)
{
    size_t used = atomic_load(&budget->used);
    do {
        if (bytes > budget->limit - used)
            return false;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
    return true;
}

enum tet_err body_append(struct body *body, struct body_budget *budget, const char *bytes,
                         size_t size, struct tet_error *error)
{
    if (size > body->length - body->size)
        return tet_error_set(error, TET_BAD_REQUEST, "the body is longer than its Content-Length");
    if (size > body->capacity - body->size) {
        size_t capacity = body->capacity > 0 ? 2 * body->capacity : FIRST_BYTES;
        if (capacity < body->size + size)
            capacity = body->size + size;
        if (capacity > body->length)
            capacity = (size_t)body->length;
        if (!charge(budget, capacity - body->capacity))
            return tet_error_set(error, TET_BUSY,
                                 "too many bodies are being received; try again soon");
        char *grown = realloc(body->bytes, capacity);
        if (grown == NULL) {
            atomic_fetch_sub(&budget->used, capacity - body->capacity);
            return tet_error_set(error, TET_NO_MEMORY, "no memory for the body");
        }
        body->bytes = grown;
        body->capacity = capacity;
    }
    memcpy(body->bytes + body->size, bytes, size);
    body->size += size;
    return TET_OK;
}

void body_free(struct body *body, struct body_budget *budget)
{
    free(body->bytes);
    atomic_fetch_sub(&budget->used, body->capacity);
    body->bytes = NULL;
    body->size = body->capacity = 0;
}
