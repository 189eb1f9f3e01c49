// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP server, by libmicrohttpd: connections, bodies, routes, replies. The only part that
 * includes microhttpd.h.
 *
 * Paths and queries are decoded once, after they are split: %2F in a name is never a separator, and
 * names nothing. A Host that is not an address or a name of this server, and an Origin other than the
 * Host and the origins listed, are refused (403): a web page must not use a server on its reader's
 * machine.
 *
 * No client holds a connection for ever: headers, bodies and the reading of replies have times to keep
 * (connections.c). What changes something is told to `done`, in one place for all routes.
 *
 * Threads: a small epoll pool parses and answers. A handler of a route marked `blocking` (it waits
 * for a commit, reads a dataset, or sends much) runs on one of a few helper threads while its
 * connection is suspended, so that /healthz never waits behind it. Handlers are called by many
 * threads at once.
 */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tetrad/error.h>

#include "access/identity.h"

struct http_request; // parse: read it with the functions below
struct http_reply;   // reply: fill it with the functions below
struct http_server;

enum { HTTP_MAX_PARTS = 3 }; // {…} in a route

/* A handler: parse, act, reply. context is the server's. Every path must end in one of the
 * http_reply functions. */
typedef void http_handler_fn(void *context, const struct http_request *request,
                             struct http_reply *reply);

/* Where a handler runs, and where its body is. */
enum http_way {
    HTTP_INLINE,   // false: on the epoll thread; it must not wait
    HTTP_BLOCKING, // true: on a helper
    HTTP_SPOOLED   // on a helper, once the body, which may be large, is in a file: http_body_file
};

struct http_route {
    enum role role;     // who may use it, at least; others get 401 or 403
    const char *method; // "GET" (HEAD is answered from it), "POST", ...
    const char *path;   // "/v1/runs/{id}/weights/{name}.npy"; {id} is a positive decimal number,
                        // others are not empty
    http_handler_fn *handle;
    enum http_way blocking;
    const char *body; // media type that the body must have (it may be empty), or several with ", "
                      // between them; NULL: no body is taken, one that comes is thrown away
};

/* Who sends a request; read from its headers, before its body. TET_UNAUTHORIZED: whoever it is gets no
 * further, whatever the route's role. May be called by many threads at once, and must not wait. */
typedef enum tet_err http_admit_fn(void *context, const struct http_request *request,
                                   struct identity *identity, struct tet_error *error);

/* An answered request, for those who watch. */
struct http_seen {
    const char *method, *path;      // as sent, without the query; hostile
    const struct http_route *route; // NULL: none was found
    int status;
    double seconds; // from its headers to its reply
    size_t bytes;   // of the reply's body; of a stream 0
    const char *user, *id;
};
/* Called for each reply, on an epoll thread; must not wait. */
typedef void http_watch_fn(void *context, const struct http_seen *seen);

/* A short cut for what would go to a helper: replies at once, without waiting for anything, or returns
 * false. Called on the threads that answer. */
typedef bool http_quick_fn(void *context, const struct http_request *request,
                           struct http_reply *reply);
/* Called when a request other than GET has changed something (its status is below 400), before its
 * reply goes out: method, the route's path, the request's path or the reply's Location. */
typedef void http_done_fn(void *context, const struct http_request *request, int status,
                          const char *object);

struct http_options {
    http_quick_fn *quick; // asked before a request goes to a helper; NULL: none
    http_watch_fn *watch; // called with the handlers' context; NULL: nobody watches
    http_admit_fn
        *admit; // called with the handlers' context; NULL: everybody is `local`, an administrator
    const char *listen; // "127.0.0.1:8080", "[::1]:0", "localhost:0"
    uint32_t threads;   // epoll threads, 0: 2
    uint32_t helpers;   // for blocking routes, 0: 8
    uint64_t max_body_bytes;
    uint32_t max_connections; // 0: 1000
    uint32_t
        max_per_address; // connections and streams; 0: a quarter, at most 512, loopback any number
    uint64_t max_total_bytes; // of all bodies that are held at once, 0: 64 MiB
    uint32_t max_streams;     // besides connections, 0: 2000; more are answered 503
    uint32_t max_waiting;     // requests that wait for a helper, 0: 256; more are answered 503
    /* Of HTTP_SPOOLED routes, which may be chunked as well. */
    const char *spool_folder;  // where their bodies lie, without a name; NULL: there are no such
    uint64_t max_upload_bytes; // of one body
    uint32_t max_uploads;      // at once, 0: 4; more are answered 503
    http_done_fn *done;        // NULL: nobody wants to know
    bool beyond_loopback;      // other addresses may be listened on
    const char *hosts;         // names besides addresses that Host may have: "a.org,b"; NULL: none
    const char *origins;       // whose pages may use the server: "https://a.org,..."; NULL: none
    const char *proxies;       // whose X-Forwarded-For is believed: "127.0.0.1,10.0.0.0/8"; NULL: none
    const char *tls_certificate, *tls_key; // PEM files; NULL: no TLS
    uint32_t patience_ms; // for headers, and for bodies and replies to start moving; 0: 10,000
};

/* http_listens_beyond: whether an address to listen on is another than loopback, or none. */
bool http_listens_beyond(const char *listen);

/* http_start: listens and serves `routes` (terminated by a NULL method, must outlive the server).
 * port receives the actual port. Errors: TET_ADDRESS (syntax, in use, not allowed), TET_IO and
 * TET_BAD_REQUEST (the certificate, the key, hosts, origins), TET_NO_MEMORY, TET_INTERNAL. */
TET_MUST_CHECK enum tet_err http_start(struct http_server **server,
                                       const struct http_options *options,
                                       const struct http_route *routes, void *context,
                                       uint16_t *port, struct tet_error *error);
/* http_drain: takes no new connections, answers 503 to new requests on old ones, lets requests in
 * flight finish (those whose headers were read), at most for timeout_ms. */
void http_drain(struct http_server *server, uint32_t timeout_ms);
/* http_stop: answers 503 to requests that still wait for a helper, waits for handlers that run (a
 * handler must end by itself), gives finished replies a moment to go out, closes everything. NULL
 * is fine. */
void http_stop(struct http_server *server);

/* ---- the request ---- */

/* Who a request is from: the other end of the connection or, where that is one of `proxies`, the client
 * that its X-Forwarded-For names. */
struct http_peer {
    unsigned char address[16]; // IPv6; an IPv4 one as ::ffff:a.b.c.d
    bool loopback;
};
void http_peer(const struct http_request *request, struct http_peer *peer);
bool http_peer_is_v4(const struct http_peer *peer);
void http_peer_text(const struct http_peer *peer, char text[64]);

const struct http_route *http_route(const struct http_request *request); // the one it came to
const struct identity *http_identity(const struct http_request *request);
http_handler_fn *http_handler(const struct http_request *request); // of its route
int64_t http_id(const struct http_request *request, size_t part);  // the part-th {…} as a number
const char *http_part(const struct http_request *request,
                      size_t part); // ... as text, percent-decoded
const char *http_query(const struct http_request *request,
                       const char *key); // NULL: absent; "" : without a value
const char *http_query_nth(const struct http_request *request, const char *key,
                           size_t nth); // of a key given several times, from 0; NULL: no more
const char *http_header(const struct http_request *request, const char *name);
const char *http_body(const struct http_request *request,
                      size_t *size); // not terminated; NULL with size 0; freed after the handler

/* The body of an HTTP_SPOOLED route. */
struct http_file {
    int fd; // at its beginning, to be read or opened again by /proc/self/fd; closed after the handler
    uint64_t size;
    char sha256[65]; // of its bytes, in hexadecimal digits
};
struct http_file http_body_file(const struct http_request *request);

/* http_body_parts: the parts of a multipart/form-data body, piece by piece, in their order: the
 * visitor sees field and file name (NULL: none) with each piece; a part of no bytes has one piece of
 * size 0. It returns false to stop. Errors: TET_BAD_REQUEST (not such a body, or cut off), TET_IO,
 * TET_NO_MEMORY; TET_OK also where the visitor stopped. */
typedef bool http_part_fn(void *context, const char *field, const char *file, uint64_t offset,
                          const char *bytes, size_t size);
TET_MUST_CHECK enum tet_err http_body_parts(const struct http_request *request, http_part_fn *visit,
                                            void *context, struct tet_error *error);

/* http_query_only: whether all query keys are in the NULL-terminated list; otherwise replies with
 * an error that names the unknown one, and the nearest known. */
bool http_query_only(const struct http_request *request, struct http_reply *reply,
                     const char *const *keys);
/* http_query_uint: the key's value as an unsigned number between low and high, or `missing` where
 * it is absent. false: the value is bad, and the reply says so. */
bool http_query_uint(const struct http_request *request, struct http_reply *reply, const char *key,
                     uint64_t low, uint64_t high, uint64_t missing, uint64_t *value);

/* http_accepts: of the types offered (NULL-terminated, at most 16, without parameters), the one that
 * the client's Accept likes best; of several that it likes equally, the first; the first where there
 * is no Accept; NULL where it accepts none: then answer TET_NOT_ACCEPTABLE. */
const char *http_accepts(const struct http_request *request, const char *const types[]);

/* ---- the reply ---- */
void http_reply_json(struct http_reply *reply, int status,
                     json_t *value); // takes over value; NULL: out of memory
void http_reply_bytes(struct http_reply *reply, int status, const char *type, void *bytes,
                      size_t size); // takes over
void http_reply_static(struct http_reply *reply, int status, const char *type, const void *bytes,
                       size_t size);
/* A reply may be replaced by a later one (headers and ETag stay; on an error the ETag and a
 * Cache-Control are left out). JSON ends with a newline. 503 gets Retry-After: 1 unless it is set.
 */
/* http_reply_error: {"error": {"code", "message", "details"}}; details (may be NULL) is taken over.
 */
void http_reply_error(struct http_reply *reply, const struct tet_error *error, json_t *details);
void http_reply_header(struct http_reply *reply, const char *name, const char *value); // copies
/* http_reply_unchanged: the request changed nothing (a dry run, a repetition): `done` is not told. */
void http_reply_unchanged(struct http_reply *reply);
/* http_reply_etag: sets ETag (tag may be without its quotes) and, where the request's If-None-Match
 * has it, turns the reply into 304 without a body. Call it before building an expensive body: true
 * means the reply is complete.
 */
bool http_reply_etag(const struct http_request *request, struct http_reply *reply, const char *tag);

#endif
