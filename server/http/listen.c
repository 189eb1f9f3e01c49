// SPDX-License-Identifier: Apache-2.0
/*
 * The listening socket: from "ADDRESS:PORT" to a bound, non-blocking socket.
 *
 * Addresses other than loopback only where the caller allows them: it has seen that clients need
 * tokens. Called by the thread that starts the server.
 */
#include "http/http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_LENGTH = 64 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum tet_err bad_syntax(const char *address, struct tet_error *error)
{
    char found[80];
    http_text_shorten(found, sizeof found, address);
    return tet_error_set(error, TET_ADDRESS,
                         "'%s' is not an address to listen on: write ADDRESS:PORT with a port from "
                         "0 to 65535, for example 127.0.0.1:8080, [::1]:8080 or localhost:8080",
                         found);
}

static enum tet_err not_loopback(const char *address, struct tet_error *error)
{
    return tet_error_set(
        error, TET_ADDRESS,
        "%s is not a loopback address: to serve it, first make an access token with "
        "`tetrad token create --user NAME --role admin`; without one, allowed are "
        "127.0.0.1, [::1] and localhost",
        address);
}

/* Splits "HOST:PORT" or "[HOST]:PORT"; *v6: it was in brackets. */
static bool split(const char *address, char host[HOST_LENGTH], bool *v6, uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    uint64_t number;
    if (colon == NULL || strlen(colon + 1) > 5 || !http_text_uint(colon + 1, &number) ||
        number > 65535)
        return false;
    size_t n = (size_t)(colon - address);
    *v6 = address[0] == '[';
    if (*v6) {
        if (n < 3 || address[n - 1] != ']')
            return false;
        address++;
        n -= 2;
    }
    if (n >= HOST_LENGTH || (!*v6 && memchr(address, ':', n) != NULL))
        return false;
    memcpy(host, address, n);
    host[n] = '\0';
    *port = (uint16_t)number;
    return true;
}

static bool is_loopback(const union address *address)
{
    return address->any.sa_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr)
                                              : ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
}

static enum tet_err parse(const char *text, union address *address, socklen_t *size,
                          struct tet_error *error)
{
    char host[HOST_LENGTH];
    bool v6;
    uint16_t port;
    *address = (union address){0};
    if (!split(text, host, &v6, &port))
        return bad_syntax(text, error);
    if (v6) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        *size = sizeof address->v6;
        if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) != 1)
            return bad_syntax(text, error);
        return TET_OK;
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons(port);
    *size = sizeof address->v4;
    if (host[0] == '\0' || strcmp(host, "*") == 0) // conventionally: every address
        return TET_OK;
    if (strcasecmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) != 1)
        return bad_syntax(text, error);
    return TET_OK;
}

bool http_listens_beyond(const char *listen)
{
    union address where;
    socklen_t size;
    return parse(listen, &where, &size, NULL) == TET_OK && !is_loopback(&where);
}

enum tet_err listen_open(int *fd, const char *address, bool beyond, uint16_t *port,
                         struct tet_error *error)
{
    union address where;
    socklen_t size = 0;
    const int one = 1;
    *fd = -1;
    enum tet_err err = parse(address, &where, &size, error);
    if (err == TET_OK && !beyond && !is_loopback(&where))
        err = not_loopback(address, error);
    if (err != TET_OK)
        return err;
    int s = socket(where.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* SO_REUSEADDR: a restart need not wait for old connections; a second server is refused all
     * the same. */
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (where.any.sa_family == AF_INET6 &&
         setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0) ||
        bind(s, &where.any, size) != 0 || listen(s, BACKLOG) != 0 ||
        getsockname(s, &where.any, &size) != 0) {
        if (errno == EADDRINUSE)
            err = tet_error_set(error, TET_ADDRESS, "%s is in use", address);
        else
            err = tet_error_set(error, TET_ADDRESS, "%s cannot be used: %s", address,
                                strerror(errno));
        if (s >= 0)
            close(s);
        return err;
    }
    *port = ntohs(where.any.sa_family == AF_INET6 ? where.v6.sin6_port : where.v4.sin_port);
    *fd = s;
    return TET_OK;
}
