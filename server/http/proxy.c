// SPDX-License-Identifier: Apache-2.0
/*
 * Who a client is behind a reverse proxy: X-Forwarded-For, from proxies that the server was told of.
 *
 * The header is a list to which each proxy adds whom it spoke with. What a client wrote there itself is
 * at the left, so the last address that is not a proxy's counts, and nothing left of an entry that is
 * no address. From any other peer the header means nothing.
 *
 * Functions of the headers and the connection: no locks.
 */
#include "http/http_private.h"

#include <arpa/inet.h>
#include <string.h>

enum { ENTRY_BYTES = 64, BITS = 128, MAPPED_BITS = 96 };

void peer_settle(struct http_peer *peer)
{
    static const unsigned char one[16] = {[15] = 1};
    peer->loopback = http_peer_is_v4(peer) ? peer->address[12] == 127
                                           : memcmp(peer->address, one, sizeof one) == 0;
}

/* An address of n characters, an IPv4 one mapped; false: it is none. */
static bool parse_address(const char *text, size_t n, struct http_peer *peer)
{
    char entry[ENTRY_BYTES];
    if (n == 0 || n >= sizeof entry)
        return false;
    memcpy(entry, text, n);
    entry[n] = '\0';
    *peer = (struct http_peer){.address = {[10] = 0xFF, [11] = 0xFF}};
    if (inet_pton(AF_INET, entry, peer->address + 12) != 1 &&
        inet_pton(AF_INET6, entry, peer->address) != 1)
        return false;
    peer_settle(peer);
    return true;
}

/* ADDRESS or ADDRESS/BITS of n characters; *bits counts in the mapped form. */
static bool parse_entry(const char *text, size_t n, struct http_peer *peer, size_t *bits)
{
    const char *slash = memchr(text, '/', n);
    const size_t length = slash != NULL ? (size_t)(slash - text) : n;
    char digits[4] = "";
    uint64_t number = 0;
    if (!parse_address(text, length, peer))
        return false;
    *bits = BITS;
    if (slash == NULL)
        return true;
    if (n - length - 1 >= sizeof digits)
        return false;
    memcpy(digits, slash + 1, n - length - 1);
    const size_t before = memchr(text, ':', length) == NULL ? MAPPED_BITS : 0;
    if (!http_text_uint(digits, &number) || number > BITS - before)
        return false;
    *bits = before + (size_t)number;
    return true;
}

static bool begins_alike(const unsigned char *a, const unsigned char *b, size_t bits)
{
    const unsigned mask = 0xFF00u >> bits % 8;
    return memcmp(a, b, bits / 8) == 0 &&
           (bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & mask & 0xFF) == 0);
}

bool proxy_trusted(const char *list, const struct http_peer *peer)
{
    while (list != NULL && *list != '\0') {
        struct http_peer entry;
        size_t bits;
        list += strspn(list, ", ");
        const size_t n = strcspn(list, ", ");
        if (n > 0 && parse_entry(list, n, &entry, &bits) &&
            begins_alike(entry.address, peer->address, bits))
            return true;
        list += n;
    }
    return false;
}

enum tet_err proxy_check_list(const char *list, struct tet_error *error)
{
    while (list != NULL && *list != '\0') {
        struct http_peer entry;
        size_t bits;
        list += strspn(list, ", ");
        const size_t n = strcspn(list, ", ");
        if (n > 0 && !parse_entry(list, n, &entry, &bits))
            return tet_error_set(error, TET_BAD_REQUEST,
                                 "--proxy: found \"%.*s\", allowed addresses such as 127.0.0.1, "
                                 "::1 or 10.0.0.0/8",
                                 (int)(n < 80 ? n : 80), list);
        list += n;
    }
    return TET_OK;
}

struct walk {
    const char *trusted;
    bool found;
    struct http_peer client;
};

/* The entries of one header, of several in their order. */
static enum MHD_Result look(void *context, enum MHD_ValueKind kind, const char *key,
                            const char *value)
{
    struct walk *walk = context;
    (void)kind;
    if (strcasecmp(key, "X-Forwarded-For") != 0)
        return MHD_YES;
    while (value != NULL && *value != '\0') {
        struct http_peer entry;
        value += strspn(value, ", \t");
        const size_t n = strcspn(value, ", \t");
        if (n > 0 && !parse_address(value, n, &entry)) {
            walk->found = false;
        } else if (n > 0 && !proxy_trusted(walk->trusted, &entry)) {
            walk->found = true;
            walk->client = entry;
        }
        value += n;
    }
    return MHD_YES;
}

void http_peer(const struct http_request *request, struct http_peer *peer)
{
    struct walk walk = {.trusted = request->server->all.trusted};
    *peer = request->connected != NULL ? request->connected->peer : (struct http_peer){0};
    if (!proxy_trusted(walk.trusted, peer))
        return;
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look, &walk);
    if (walk.found)
        *peer = walk.client;
}
