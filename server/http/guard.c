// SPDX-License-Identifier: Apache-2.0
/*
 * The guard against other people's web pages in the browser of somebody who works on this machine.
 *
 * While there is no token, everybody who reaches loopback is an administrator, so a page from elsewhere
 * must not speak for its reader. Rebinding (a foreign name that resolves to our address) shows in the
 * Host header, a request across sites in the Origin header. So Host must be loopback, a name that the
 * server was told, or the very address that the connection came to: an address cannot be rebound. Origin
 * must be the Host, or one that the server was told; programs send none.
 *
 * Functions of the headers and the connection: no locks.
 */
#include "http/http_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

enum { HOST_BYTES = 256 };

/* The host of "host" or "host:port", in lower case; false: it is neither. */
static bool host_of(const char *authority, char host[HOST_BYTES])
{
    uint64_t port;
    const bool v6 = authority[0] == '[';
    const char *end = v6 ? strchr(authority, ']') : strchrnul(authority, ':');
    if (end == NULL)
        return false;
    end += v6;
    const size_t n = (size_t)(end - authority);
    if (n >= HOST_BYTES || (*end != '\0' && (*end != ':' || !http_text_uint(end + 1, &port))))
        return false;
    for (size_t i = 0; i < n; i++)
        host[i] = (char)tolower((unsigned char)authority[i]);
    host[n] = '\0';
    return true;
}

/* One entry of a list: a name or an address as Host has it, without a port; or an origin. */
static bool is_entry(const char *text, size_t n, bool origin)
{
    char entry[HOST_BYTES], host[HOST_BYTES];
    if (n >= sizeof entry)
        return false;
    memcpy(entry, text, n);
    entry[n] = '\0';
    const char *authority = entry;
    if (origin && strncmp(entry, "http://", 7) != 0 && strncmp(entry, "https://", 8) != 0)
        return false;
    if (origin)
        authority = strchr(entry, '/') + 2;
    return strpbrk(authority, "/*?#@\\\"<> ") == NULL && host_of(authority, host) &&
           host[0] != '\0' && (origin || strlen(host) == n);
}

enum tet_err guard_check_list(const char *option, const char *list, bool origin,
                              struct tet_error *error)
{
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", ");
        const size_t n = strcspn(list, ", ");
        if (n > 0 && !is_entry(list, n, origin))
            return tet_error_set(error, TET_BAD_REQUEST, "--%s: found \"%.*s\", allowed %s", option,
                                 (int)(n < 80 ? n : 80), list,
                                 origin ? "origins such as https://lab.example.org, no path"
                                        : "names such as lab.example.org, no port");
        list += n;
    }
    return TET_OK;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

/* Whether a list with commas (NULL: an empty one) has the text. */
static bool list_has(const char *list, const char *text)
{
    const size_t length = strlen(text);
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", ");
        const size_t n = strcspn(list, ", ");
        if (n == length && n > 0 && strncasecmp(list, text, n) == 0)
            return true;
        list += n;
    }
    return false;
}

/* Whether the host is the address that the connection came to. */
static bool is_local_address(const struct http_request *request, const char *host)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } here;
    char text[INET6_ADDRSTRLEN + 2] = "[";
    struct in6_addr given, *address = &here.v6.sin6_addr;
    socklen_t size = sizeof here;
    if (request->connected == NULL || getsockname(request->connected->fd, &here.any, &size) != 0)
        return false;
    if (here.any.sa_family == AF_INET)
        return inet_ntop(AF_INET, &here.v4.sin_addr, text, sizeof text) != NULL &&
               strcmp(text, host) == 0;
    const size_t n = strlen(host);
    if (host[0] != '[' || n < 4 || n - 2 >= INET6_ADDRSTRLEN)
        return false;
    memcpy(text, host + 1, n - 2);
    text[n - 2] = '\0';
    return inet_pton(AF_INET6, text, &given) == 1 && memcmp(&given, address, sizeof given) == 0;
}

static bool is_ours(const struct http_request *request, const char *authority)
{
    char host[HOST_BYTES];
    return host_of(authority, host) &&
           (is_loopback(host) || list_has(request->server->hosts, host) ||
            (request->server->beyond_loopback && is_local_address(request, host)));
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

enum tet_err guard_judge(struct http_request *request, const char *version, struct tet_error *error)
{
    struct headers headers = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look, &headers);
    const char *host = request->authority != NULL ? request->authority : headers.host;
    if (headers.hosts > 1 || headers.origins > 1)
        return tet_error_set(error, TET_BAD_REQUEST, "there is more than one %s",
                             headers.hosts > 1 ? "Host" : "Origin");
    if (host == NULL && strcmp(version, MHD_HTTP_VERSION_1_0) != 0)
        return tet_error_set(error, TET_BAD_REQUEST, "the request has no Host");
    if (host != NULL && !is_ours(request, host))
        return tet_error_set(error, TET_FORBIDDEN,
                             "the Host header must be localhost, 127.0.0.1, [::1]%s",
                             request->server->beyond_loopback || request->server->hosts != NULL
                                 ? ", the server's address or a name that it was started with"
                                 : "");
    if (headers.origin == NULL || is_same(headers.origin, host))
        return TET_OK;
    if (!list_has(request->server->origins, headers.origin))
        return tet_error_set(error, TET_FORBIDDEN,
                             "pages of another origin may not use this server");
    request->origin = headers.origin;
    return TET_OK;
}
