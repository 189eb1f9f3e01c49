// SPDX-License-Identifier: Apache-2.0
/*
 * The guard against other people's web pages in the browser of somebody who works on this machine.
 *
 * Everybody who reaches loopback is an administrator, so a page from elsewhere must not speak for
 * its reader. Rebinding (a foreign name that resolves to 127.0.0.1) shows in the Host header, a
 * request across sites in the Origin header; programs send a loopback Host and no Origin.
 *
 * Pure functions of the headers: no locks.
 */
#include "http/http_private.h"

#include <arpa/inet.h>
#include <string.h>

/* Whether "host" or "host:port" is loopback. */
static bool is_loopback(const char *authority)
{
    char host[64];
    struct in_addr v4;
    uint64_t port;
    bool v6 = authority[0] == '[';
    const char *end = v6 ? strchr(authority, ']') : strchrnul(authority, ':');
    if (end == NULL)
        return false;
    end += v6;
    size_t n = (size_t)(end - authority);
    if (n >= sizeof host || (*end != '\0' && (*end != ':' || !http_text_uint(end + 1, &port))))
        return false;
    memcpy(host, authority, n);
    host[n] = '\0';
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

struct headers {
    const char *host, *origin;
    size_t hosts, origins;
};

static enum MHD_Result look(void *context, enum MHD_ValueKind kind, const char *key,
                            const char *value)
{
    (void)kind;
    struct headers *headers = context;
    if (strcasecmp(key, "Host") == 0) {
        headers->host = value != NULL ? value : "";
        headers->hosts++;
    } else if (strcasecmp(key, "Origin") == 0) {
        headers->origin = value != NULL ? value : "";
        headers->origins++;
    }
    return MHD_YES;
}

/* Whether the origin is the page of `host` itself, over http or (behind a proxy) https. */
static bool is_same(const char *origin, const char *host)
{
    const char *authority = strncmp(origin, "http://", 7) == 0    ? origin + 7
                            : strncmp(origin, "https://", 8) == 0 ? origin + 8
                                                                  : NULL;
    return authority != NULL && host != NULL && strcasecmp(authority, host) == 0;
}

enum tet_err guard_judge(const struct http_request *request, const char *version,
                         struct tet_error *error)
{
    struct headers headers = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look, &headers);
    const char *host = request->authority != NULL ? request->authority : headers.host;
    if (headers.hosts > 1 || headers.origins > 1)
        return tet_error_set(error, TET_BAD_REQUEST, "there is more than one %s",
                             headers.hosts > 1 ? "Host" : "Origin");
    if (host == NULL && strcmp(version, MHD_HTTP_VERSION_1_0) != 0)
        return tet_error_set(error, TET_BAD_REQUEST, "the request has no Host");
    if (host != NULL && !is_loopback(host))
        return tet_error_set(error, TET_FORBIDDEN,
                             "the Host header must be localhost, 127.0.0.1 or [::1]");
    if (headers.origin != NULL && !is_same(headers.origin, host))
        return tet_error_set(error, TET_FORBIDDEN,
                             "pages of another origin may not use this server");
    return TET_OK;
}
